"""Figures in chromium: they follow the theme, and their toolbar saves what they show."""

from __future__ import annotations

import csv
import io
import struct
import xml.etree.ElementTree as ElementTree
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from tests.browser.lab import CHROMIUM, chromium
from tests.browser.test_lab import SCREENSHOTS, opened
from workbench.skeletons import skeleton
from workbench.view import paper, style, zoomable
from workbench.view.html import notebook_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}; CHROMIUM names another"
    ),
]
HOSTILE = "=1+1 <img src=x onerror='document.hacked=1'> \"a\""
FRAMES = range(5)
TITLE = "Lines & marks"
JOINTS = skeleton("hand21").joints
SHEET = ":is(.wb-sheet, .js-plotly-plot)"
SVG = "{http://www.w3.org/2000/svg}"


def over_time() -> Figure:
    """Lines, one of them with a name that nobody should trust."""
    late = {"who": HOSTILE}
    rows = [{"who": "truth", "frame": t, "x, px": 2.5 * t} for t in FRAMES]
    return paper.curves(
        rows + [late | {"frame": t, "x, px": t + 0.25} for t in FRAMES], title=TITLE
    )


def zoomed() -> zoomable.Zoomable:
    """The same by plotly, with a gap and a burst."""
    every = np.arange(5)
    late = np.where(every == 3, np.nan, every + 0.25)
    lines = {"truth": (every, every * 2.5), HOSTILE: (every, late)}
    return zoomable.time_panels({"x, px": lines}, shaded=[(1, 2)], title=TITLE)


both = pytest.mark.parametrize("made", [over_time, zoomed], ids=["paper", "plotly"])


def attention() -> Figure:
    weights = np.random.default_rng(7).dirichlet(np.ones(21), 21)
    both = np.stack((weights, np.full((21, 21), 1 / 21)))
    return paper.attention_figure(both, JOINTS, names=["a", "uniform"], title="Maps")


@contextmanager
def opened_figures(tmp_path, *made, scheme="light", blocks=False):
    """A run's page with these figures, from disk and offline; errors and requests fail the test.
    blocks: the page's policy stops something, and says so.
    """
    outputs = [new_output("display_data", data=figure._repr_mimebundle_()) for figure in made]
    cell = new_code_cell("show()  # them", outputs=outputs)
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    (tmp_path / "n.html").write_text(notebook_page(tmp_path / "n.ipynb"), encoding="utf-8")
    errors = []
    with chromium(width=1100, height=900) as (page, outside):
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.context.set_offline(True)
        page.emulate_media(color_scheme=scheme)
        page.goto((tmp_path / "n.html").as_uri())
        page.wait_for_function(
            f"document.querySelectorAll('{SHEET} > .wb-tools').length === {len(made)}"
        )
        page.wait_for_timeout(300)
        yield page
        page.wait_for_timeout(100)
        stopped = [error for error in errors if "Content Security Policy" in error]
        assert bool(stopped) == blocks and len(errors) == len(stopped) and outside == []


def pixels_of(page, selector=SHEET) -> np.ndarray:
    """What an element looks like, [h w 3]."""
    shot = page.locator(selector).first.screenshot(animations="disabled")
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def share_of(pixels, colour: str) -> float:
    """Of the pixels, how many have a colour."""
    return float((np.abs(pixels - style.rgb(colour)).max(-1) <= 3).mean())


def saved(page, kind: str, tmp_path) -> Path:
    page.locator(SHEET).first.hover()
    with page.expect_download() as download:
        page.locator(f".wb-tools button:text-is('{kind}')").first.click()
    assert download.value.suggested_filename == f"figure.{kind.lower()}"
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


# --- theme


@both
def test_a_figure_follows_the_reader_s_theme(tmp_path, made):
    for scheme, other in (("light", "dark"), ("dark", "light")):
        with opened_figures(tmp_path, made(), scheme=scheme) as page:
            pixels = pixels_of(page)
            assert share_of(pixels, style.colour("paper", scheme)) > 0.7
            assert share_of(pixels, style.colour("paper", other)) < 0.01
            assert share_of(pixels, style.colour("truth", scheme)) > 0.0005
            assert share_of(pixels, style.colour("truth", other)) == 0
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"figure_{made.__name__}_{scheme}.png")


def turned(hexadecimal: str) -> str:
    """What the dark theme's filter makes of a colour: inverted, and its hue brought back.
    W3C Filter Effects, hueRotate by 180 degrees.
    """
    weights = np.array([0.213, 0.715, 0.072])
    inverted = style.TURNED + (1 - 2 * style.TURNED) * np.array(style.rgb(hexadecimal)) / 255
    back = 2 * weights @ inverted - inverted
    return f"#{bytes(np.rint(255 * back.clip(0, 1)).astype(np.uint8)).hex()}"


def test_attention_is_dark_on_dark_paper_and_its_bar_says_so(tmp_path):
    with opened_figures(tmp_path, attention(), scheme="dark") as page:
        pixels = pixels_of(page)
        middle = turned(style.DIVERGING["light"][2])
        assert share_of(pixels, middle) > 0.15, "half of the cells are uniform"
        assert (pixels.min(-1) > 235).mean() < 0.01, "something is white"
        bar = pixels_of(page, "g[id='turned'] image")
        row = bar[bar.shape[0] // 2]
        for share, stop in ((0.03, 0), (0.5, 2), (0.97, 4)):
            expected = style.rgb(turned(style.DIVERGING["light"][stop]))
            assert np.abs(row[round(share * (len(row) - 1))] - expected).max() < 16
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "attention_figure_dark.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_of_a_page_are_legible(tmp_path, scheme):
    """Every word's colour against what lies behind it, as WCAG 2 measures it."""
    contrasts = """() => {
        const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
        const light = colour => numbers(colour).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = e => {
            const own = getComputedStyle(e).backgroundColor;
            return numbers(own)[3] === 0 ? behind(e.parentElement) : own;
        };
        const words = [...document.querySelectorAll('main *')].filter(e => !e.closest('svg') &&
            [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) &&
            !e.closest('script, style') && e.getClientRects().length);
        return words.map(e => {
            const [word, paper] = [getComputedStyle(e).color, behind(e)].map(light);
            const ratio = (Math.max(word, paper) + 0.05) / (Math.min(word, paper) + 0.05);
            return [e.className || e.tagName, ratio];
        });
    }"""
    with opened_figures(tmp_path, over_time(), scheme=scheme) as page:
        page.locator("text=show code").click()
        measured = page.evaluate(contrasts)
        assert len(measured) > 5
        assert [word for word in measured if word[1] < 4.5] == []


# --- toolbar


@both
def test_the_bar_shows_on_hover_and_focus(tmp_path, made):
    seen = "getComputedStyle(document.querySelector('.wb-tools')).opacity"
    with opened_figures(tmp_path, made()) as page:
        assert page.evaluate(seen) == "0"
        page.locator(SHEET).hover()
        page.wait_for_function(f"{seen} === '1'")
        page.mouse.move(0, 0)
        page.wait_for_function(f"{seen} === '0'")
        page.locator(".wb-tools button").first.focus()
        page.wait_for_function(f"{seen} === '1'")


@both
def test_svg_is_the_figure_in_its_light_colours(tmp_path, made):
    with opened_figures(tmp_path, made(), scheme="dark") as page:
        root = ElementTree.parse(saved(page, "SVG", tmp_path)).getroot()
        shown = page.locator(f"{SHEET} svg").first.bounding_box()
    width = root.get("width")
    assert width == f"{7.16 * 72:g}pt" if made is over_time else float(width) == shown["width"]
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert TITLE in words and "truth" in words and "frame" in words
    assert any(word.startswith("=1+1") and "onerror" in word for word in words)
    looks = " ".join(e.get("style", "") + e.get("fill", "") for e in root.iter())
    for colour in map(style.colour, ("truth", "paper")):
        assert colour.lower() in looks or f"rgb{style.rgb(colour)}" in looks
    assert "var(" not in looks and not [e for e in root.iter() if e.tag.endswith("script")]


def test_png_has_300_dpi_and_shows_the_figure(tmp_path):
    with opened_figures(tmp_path, attention(), scheme="dark") as page:
        path = saved(page, "PNG", tmp_path)
    data = path.read_bytes()
    per_metre = struct.unpack(">II", data[data.index(b"pHYs") + 4 :][:8])
    assert per_metre == (11811, 11811)
    picture = Image.open(path)
    assert picture.width == pytest.approx(7.16 * 300, abs=1)
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert share_of(pixels, style.colour("paper")) > 0.3
    assert share_of(pixels, style.DIVERGING["light"][2]) > 0.15


def test_csv_has_the_numbers(tmp_path):
    with opened_figures(tmp_path, over_time()) as page:
        head, *rows = csv.reader(io.StringIO(saved(page, "CSV", tmp_path).read_text()))
        assert page.evaluate("document.hacked") is None
    assert head == ["who", "frame", "x, px"]
    truth = [(float(x), float(y)) for name, x, y in rows if name == "truth"]
    assert truth == [(t, 2.5 * t) for t in FRAMES]
    other = [(float(x), float(y)) for name, x, y in rows if name == f"'{HOSTILE}"]
    assert other == [(t, t + 0.25) for t in FRAMES]


def test_csv_of_maps_says_multiple_and_weight(tmp_path):
    figure = attention()
    with opened_figures(tmp_path, figure) as page:
        head, *rows = csv.reader(io.StringIO(saved(page, "CSV", tmp_path).read_text()))
    assert head == ["map", "asks", "answers", "times uniform", "weight"]
    assert len(rows) == 2 * 21 * 21
    name, asks, answers, times, weight = rows[22]
    assert (name, asks, answers) == ("a", "thumb1", "thumb1")
    assert float(times) == pytest.approx(21 * float(weight))


def test_plotly_says_a_point_s_number_and_zooms_and_its_camera_is_gone(tmp_path):
    with opened_figures(tmp_path, zoomed()) as page:
        points = page.locator(".js-plotly-plot .points path.point")
        box = points.nth(1).bounding_box()  # of the line that has dots
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        words = page.locator(".hoverlayer .hovertext").first
        words.wait_for()
        assert "frame 1: 1.25" in words.text_content() and HOSTILE in words.text_content()
        assert page.locator(".modebar-btn[data-title*='Zoom']").count() > 0
        assert page.locator(".modebar-btn[data-title*='Download']").count() == 0
        bar, mode = (page.locator(s).bounding_box() for s in (".wb-tools", ".modebar"))
        assert mode["x"] + mode["width"] <= bar["x"], "one lies on the other"
        assert page.evaluate("document.hacked") is None
        plot = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
        page.mouse.move(plot["x"] + 0.4 * plot["width"], plot["y"] + 40)
        page.mouse.down()
        page.mouse.move(plot["x"] + 0.6 * plot["width"], plot["y"] + plot["height"] - 20, steps=5)
        page.mouse.up()
        page.wait_for_function(
            "document.querySelector('.js-plotly-plot').layout.xaxis.range[0] > 1"
        )


def test_csv_of_plotly_s_lines_leaves_gaps_blank(tmp_path):
    with opened_figures(tmp_path, zoomed()) as page:
        head, *rows = csv.reader(io.StringIO(saved(page, "CSV", tmp_path).read_text()))
    assert head == ["panel", "who", "frame", "value"]
    assert [row[1:] for row in rows[:2]] == [["truth", "0", "0"], ["truth", "1", "2.5"]]
    other = [(frame, value) for _, who, frame, value in rows if who == f"'{HOSTILE}"]
    assert other == [("0", "0.25"), ("1", "1.25"), ("2", "2.25"), ("3", ""), ("4", "4.25")]


# --- JupyterLab


SETUP = """from workbench.view import notebook
notebook.setup(device="cpu")"""
DRAWN = """from workbench.view import paper
paper.curves([{"who": "truth", "x": t, "y": t} for t in range(5)])"""
ZOOMED = """import numpy as np
from workbench.view import zoomable
zoomable.time_panels({"px": {"truth": (np.arange(5), np.arange(5))}})"""
DARK = """() => {
    document.body.dataset.jpThemeLight = 'false';
    const own = document.documentElement.style;
    own.setProperty('--jp-layout-color0', '#111111');
    own.setProperty('--jp-ui-font-color1', '#ffffff');
}"""


@pytest.mark.parametrize("drawn", [DRAWN, ZOOMED], ids=["paper", "plotly"])
def test_in_jupyterlab_figures_follow_its_theme_and_have_the_bar(tmp_path, drawn):
    with opened(tmp_path, "tools", SETUP, drawn) as (page, _):
        page.wait_for_selector(f"{SHEET} > .wb-tools")
        assert share_of(pixels_of(page), style.colour("paper", "light")) > 0.7
        _, *rows = csv.reader(io.StringIO(saved(page, "CSV", tmp_path).read_text()))
        assert [row[-3:] for row in rows] == [["truth", str(t), str(t)] for t in range(5)]
        outputs = page.locator(".jp-CodeCell").first.locator(".jp-OutputArea-child")
        heights = outputs.evaluate_all("all => all.map(e => e.getBoundingClientRect().height)")
        assert len(heights) == 3 and heights[1] == 0, "the widget takes room"
        page.evaluate(DARK)  # what JupyterLab's dark theme says of itself
        pixels = pixels_of(page)
        assert share_of(pixels, "#111111") > 0.7
        assert share_of(pixels, style.colour("truth", "dark")) > 0.0005
        assert share_of(pixels, style.colour("truth", "light")) == 0


# --- JupyterLab shows SVG as images


HEAD = '<svg class="wb-figure" xmlns="http://www.w3.org/2000/svg" width="72pt" height="72pt"'
ODD = [
    f'{HEAD} onload="document.hacked=1"></svg>',
    f"{HEAD}><script>document.hacked=1</script></svg>",
    f'{HEAD}><foreignObject><b xmlns="http://www.w3.org/1999/xhtml">b</b></foreignObject></svg>',
    f"{HEAD}><style>*{{display: none}}</style></svg>",
    f'{HEAD} xmlns:x="http://www.w3.org/1999/xlink"><image x:href="https://a.b/c.png"/></svg>',
    f'{HEAD}><rect fill="url(https://a.b/c#d)"/></svg>',
    f'{HEAD}><a href="javascript:document.hacked=1"><text>a</text></a></svg>',
    f"{HEAD}><g></svg>",
]


def test_an_image_of_an_svg_becomes_a_figure_only_where_it_holds_shapes_and_words(tmp_path):
    ours = over_time()._repr_mimebundle_()["image/svg+xml"]
    put = """words => document.body.append(Object.assign(document.createElement('img'),
        { className: 'put', src: `data:image/svg+xml,${encodeURIComponent(words)}` }))"""
    with opened_figures(tmp_path, over_time(), blocks=True) as page:
        for words in (*ODD, ours):
            page.evaluate(put, words)
        page.wait_for_function(f"document.querySelectorAll('{SHEET} > .wb-tools').length === 2")
        page.wait_for_timeout(200)
        assert page.locator("img.put").count() == len(ODD)
        assert page.evaluate("document.hacked") is None
        numbers = page.locator(SHEET).nth(1)
        numbers.hover()
        with page.expect_download() as download:
            numbers.locator("button:text-is('CSV')").click()
        assert "truth" in Path(download.value.path()).read_text()
