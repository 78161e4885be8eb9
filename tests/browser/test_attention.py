"""The attention view in chromium: from disk without a network it answers to pointer and keys, and
in JupyterLab hovering sends nothing to the kernel.
"""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import xml.etree.ElementTree as ElementTree
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.browser.lab import CHROMIUM, chromium
from tests.browser.test_lab import SCREENSHOTS, opened
from workbench import load
from workbench.recipes import port as recipe
from workbench.skeletons import skeleton
from workbench.view import style
from workbench.view.attention import AttentionView, Axis, attention_of
from workbench.view.html import WIDGET_MIME, notebook_page
from workbench.view.live import PAGE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}; CHROMIUM names another"
    ),
]
VIEW_JS = Path(style.__file__).parent
PIXELS = """canvas => {
    const picture = canvas.getContext('2d');
    const { width, height } = canvas;
    return [...picture.getImageData(0, 0, width, height).data];
}"""

# Where a canvas says what when the pointer stands there: words -> place in px of the page.
WORDS = """canvas => {
    const said = document.querySelector('.said');
    const box = canvas.getBoundingClientRect();
    const places = {};
    for (let y = 2; y < box.height; y += 4) {
        for (let x = 2; x < box.width; x += 4) {
            const [clientX, clientY] = [box.x + x, box.y + y];
            canvas.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY }));
            places[said.textContent] ||= [clientX, clientY];
        }
    }
    return places;
}"""


@pytest.fixture(scope="module")
def port_view():
    """PORT on one hand, a third of whose joints are hidden, beside random weights."""
    refiner = load("port")
    detected = recipe.pairs("synthetic", n=3, seed=3)[1].select([1])
    mask = detected.confidence < np.quantile(detected.confidence, 0.3)
    trained, random = (
        predictor.look(detected, mask, names=["encoder.*.attention.map"])[1]
        for predictor in (refiner, refiner.random_control())
    )
    state = {"hidden": np.flatnonzero(mask[0]).tolist(), "focus": 8}
    xy = detected.xy_frame[0]
    return attention_of(trained, refiner.skeleton, other=random, xy=xy, state=state)


@contextmanager
def opened_page(tmp_path, html, *, scheme="light", width=1280, ready=".thumb canvas"):
    """A page from disk, offline; errors and requests fail the test."""
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    errors = []
    with chromium(width=width, height=720) as (page, outside):
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.context.set_offline(True)
        page.emulate_media(color_scheme=scheme)
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector(f".workbench-view {ready}")
        page.wait_for_timeout(200)
        yield page
        page.wait_for_timeout(100)
        assert errors == [] and outside == []


def place_on(page, selector, x, y):
    """A place in an element, given as shares of its size, in px of the page."""
    box = page.locator(selector).bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def picture_of(page, selector):
    return page.locator(selector).evaluate("canvas => canvas.toDataURL()")


def listed(page):
    return page.locator(".workbench-view ol").inner_text()


# --- a page without a kernel


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hovering_lights_row_arcs_and_list_without_a_network(tmp_path, port_view, scheme):
    with opened_page(tmp_path, port_view.page(), scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollHeight") <= 720
        assert page.locator(".bar > :not(.save)").count() <= 5
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"attention_{scheme}.png")
        before, side, row = listed(page), picture_of(page, ".side"), picture_of(page, ".map")
        page.mouse.move(*place_on(page, ".map", 0.6, 0.15))
        page.wait_for_timeout(100)
        assert "looks at" in page.locator(".said").inner_text()
        assert listed(page) != before
        assert picture_of(page, ".side") != side and picture_of(page, ".map") != row
        paper = page.locator(".workbench-view").evaluate("e => getComputedStyle(e).background")
        assert f"rgb{style.rgb(style.colour('paper', scheme))}" in paper


def test_a_joint_of_the_body_shows_whom_it_looks_at_and_who_looks_at_it(tmp_path, port_view):
    with opened_page(tmp_path, port_view.page()) as page:
        places = page.locator(".side").evaluate(WORDS)
        assert set(port_view.body["joints"]) <= set(places)
        place = places["wrist"]
        page.mouse.move(*place)
        page.wait_for_timeout(100)
        asks = page.locator(".asks")
        assert asks.inner_text() == "wrist looks at"
        out = picture_of(page, ".side")
        page.locator("button:has-text('arrows')").click()
        page.wait_for_timeout(100)
        assert asks.inner_text() == "Who looks at wrist" and picture_of(page, ".side") != out
        page.mouse.click(*place)
        page.wait_for_timeout(50)
        assert "needs a kernel" in page.locator(".said").inner_text()


def test_thirty_hovers_a_second_are_kept(tmp_path, port_view):
    """Each hover is drawn before the next frame of the screen; the best of three rounds counts."""
    sweep = """async () => {
        const map = document.querySelector('.map');
        const list = document.querySelector('ol');
        const box = map.getBoundingClientRect();
        const texts = new Set();
        const start = performance.now();
        for (let i = 0; i < 60; i++) {
            const clientX = box.x + 0.6 * box.width;
            const clientY = box.y + (0.08 + 0.011 * i) * box.height;
            map.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY }));
            await new Promise(requestAnimationFrame);
            texts.add(list.textContent);
        }
        return [60 / ((performance.now() - start) / 1000), texts.size];
    }"""
    with opened_page(tmp_path, port_view.page()) as page:
        rounds = [page.evaluate(sweep) for _ in range(3)]
        assert min(texts for _, texts in rounds) >= 15
        assert max(rate for rate, _ in rounds) > 30


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_head_trained_or_random_has_the_colours_of_style(tmp_path, port_view, theme):
    _, heads, rows, columns = port_view.maps[0]["shape"]
    view = AttentionView.fragment(port_view)
    page_text = port_view.page().replace("<html", f'<html data-theme="{theme}"', 1)
    assert view in page_text
    with opened_page(tmp_path, page_text) as page:
        for show, data in (("main", port_view.data), ("other", port_view.other_data)):
            page.locator("select[name=show]").select_option(show)
            drawn = page.evaluate(f"[...document.querySelectorAll('.thumb canvas')].map({PIXELS})")
            times = np.frombuffer(data, "<f2").reshape(-1, rows, columns).astype(float)
            expected = style.attention_colours(times, theme).astype(int)
            seen = np.array(drawn).reshape(-1, rows, columns, 4)[..., :3]
            assert len(seen) == 4 * heads and np.abs(seen - expected).max() <= 1


def test_modes_orders_and_keys(tmp_path, port_view):
    with opened_page(tmp_path, port_view.page()) as page:
        pressed = page.locator(".thumb[aria-pressed=true]")
        said = page.locator(".said")
        pictures = set()
        for show in ("main", "other", "difference", "ratio"):
            page.locator("select[name=show]").select_option(show)
            page.wait_for_timeout(60)
            pictures.add(picture_of(page, ".map"))
        assert len(pictures) == 4 and " : 1" in listed(page)
        page.locator("select[name=show]").select_option("main")
        for order in ("entropy", "bones", "change"):
            page.locator("select[name=order]").select_option(order)
            notes = page.locator(".thumb span").all_inner_texts()
            scores = [float(note.split()[1]) for note in notes]
            assert scores == sorted(scores, reverse=True) and len(set(scores)) > 3
        page.locator("select[name=order]").select_option("model")
        page.locator(".map").focus()
        asks = page.locator(".asks").inner_text()
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(60)
        assert page.locator(".asks").inner_text() != asks
        page.keyboard.press("ArrowRight")
        assert pressed.get_attribute("title").endswith("layer 1, head 2")
        page.keyboard.press("k")
        assert "needs a kernel" in said.inner_text()
        page.locator("button:has-text('pin A')").click()
        assert "A is kept" in said.inner_text()
        page.locator("select[name=show]").select_option("difference")
        page.wait_for_timeout(60)
        assert "+" not in listed(page), "nothing has changed since"


def test_what_is_saved(tmp_path, port_view):
    """300 dots to the inch, words as text, and the numbers that the map shows."""
    with opened_page(tmp_path, port_view.page()) as page:
        page.locator(".save summary").click()
        files = {}
        for words in ("PNG", "SVG", "CSV"):
            with page.expect_download() as waiting:
                page.locator(f"details button:has-text('{words}')").click()
            files[words] = Path(waiting.value.path()).read_bytes()
        page.locator("details button:has-text('copy state')").click()
        state = json.loads(page.locator("textarea").input_value())
    assert state == port_view.state
    width, height = struct.unpack(">II", files["PNG"][16:24])
    assert width > 2000 and height > 1500
    at = files["PNG"].index(b"pHYs")
    assert struct.unpack(">IIB", files["PNG"][at + 4 : at + 13]) == (11811, 11811, 1)
    words = {e.text for e in ElementTree.fromstring(files["SVG"]).iter() if e.text}
    assert {"wrist", "asks: joint", "times uniform"} <= words
    rows = list(csv.reader(io.StringIO(files["CSV"].decode())))
    assert rows[0] == ["times uniform", *port_view.body["joints"]] and len(rows) == 22
    saved = np.array([row[1:] for row in rows[1:]], float)
    np.testing.assert_allclose(
        saved, np.frombuffer(port_view.data, "<f2", 21 * 21).reshape(21, 21), rtol=1e-3
    )


def test_a_view_may_be_made_before_it_stands_in_the_page(tmp_path, port_view):
    """As JupyterLab does it, now and then."""
    waiting = "JSON.parse(place.nextElementSibling.textContent)), place)"
    late = """JSON.parse(place.nextElementSibling.textContent)), apart);
    setTimeout(() => place.append(apart), 100)"""
    html = port_view.page()
    assert html.count("mount(storedModel(") == 1 and waiting in html
    # another script than the page's own
    html = re.sub("script-src [^;]*;", "script-src 'unsafe-inline' 'unsafe-eval';", html)
    html = html.replace("mount(storedModel(", "const apart = make('div'); mount(storedModel(")
    with opened_page(tmp_path, html.replace(waiting, late)) as page:
        assert page.locator(".thumb canvas").count() == 16 and len(listed(page)) > 40


def test_words_from_data_stay_words(tmp_path, rng):
    bad = "<img src=x onerror='document.title=1'>"
    axis = Axis("<b>frame", (bad, "=1+1", "2"))
    maps = {bad: rng.dirichlet(np.ones(3), (2, 3)).astype(np.float32)}
    view = AttentionView(maps, (axis, axis), names=(bad, "random"), verdict=bad)
    with opened_page(tmp_path, view.page(title="plain")) as page:
        assert page.title() == "plain" and page.locator("img, b:has(b)").count() == 0
        assert bad in page.locator(".verdict").inner_text()
        page.locator(".save summary").click()
        with page.expect_download() as waiting:
            page.locator("details button:has-text('CSV')").click()
        assert "'=1+1" in Path(waiting.value.path()).read_text()


def test_other_kinds_of_tokens(tmp_path, rng):
    """Channels fold to joints and to flows, frames and picture tokens are cells; joints' arcs are
    drawn nowhere else.
    """
    coco = skeleton("coco17")
    channels = Axis.of_channels(coco, ("psi", "prev", "sub"))
    xy = rng.uniform(0, 200, (17, 2))
    maps = {"branch": rng.dirichlet(np.full(51, 0.3), (2, 2, 51)).astype(np.float32)}
    view = AttentionView(maps, (channels, channels), skeleton=coco, xy=xy)
    with opened_page(tmp_path, view.page()) as page:
        page.locator("details:not(.save) summary").click()
        sizes, first = [], {}
        for fold in ("none", "joint", "flow"):
            page.locator("select[name=fold]").select_option(fold)
            page.wait_for_timeout(60)
            sizes.append(page.locator(".thumb canvas").first.evaluate("c => c.width"))
            first[fold] = page.locator(".asks").inner_text()
        assert sizes == [51, 17, 3]
        assert first == {
            "none": "nose · psi looks at",
            "joint": "nose looks at",
            "flow": "psi looks at",
        }
    pixels = rng.integers(0, 255, (48, 36, 3)).astype(np.uint8)
    maps = {"cross": rng.dirichlet(np.full(12, 0.3), (2, 2, 5)).astype(np.float32)}
    axes = (Axis.numbered("heatmap token", 5), Axis.of_grid("image token", 4, 3))
    with opened_page(tmp_path, AttentionView(maps, axes, picture=pixels).page()) as page:
        page.mouse.move(*place_on(page, ".side", 0.5, 0.5))
        page.wait_for_timeout(60)
        assert page.locator(".said").inner_text().startswith("y")
        assert page.locator(".asks").inner_text() == "heatmap token 0 looks at"


def test_a_run_s_page_answers_to_the_pointer(tmp_path, port_view):
    """Under its policy, on the reader's paper."""
    data = {WIDGET_MIME: {"model_id": "1"}, PAGE: port_view.fragment()}
    outputs = [new_output("display_data", data=data)]
    cells = [new_code_cell("show()", outputs=outputs) for _ in range(2)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "07_page.ipynb")
    html = notebook_page(tmp_path / "07_page.ipynb")
    with opened_page(tmp_path, html, scheme="dark") as page:
        assert page.locator(".thumb").count() == 32
        page.locator(".map").first.hover(position={"x": 240, "y": 100})
        page.wait_for_timeout(60)
        assert "looks at" in page.locator(".said").first.inner_text()
        view = page.locator(".workbench-view").first
        paper = f"rgb{style.rgb(style.colour('paper', 'dark'))}"
        assert view.evaluate("e => getComputedStyle(e).backgroundColor") == paper
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "attention_run_page.png")


# --- the module's numbers


def test_folds_and_measures_are_what_they_say(rng):
    times = rng.dirichlet(np.full(6, 0.5), 6) * 6
    other = rng.dirichlet(np.full(6, 0.5), 6) * 6
    edges = [[0, 1], [1, 2], [4, 3]]
    axis = {"kind": "joint x flow", "labels": list("abcdef"), "grid": None}
    axis |= {"joints": ["p", "q", "r"], "flows": ["x", "y"]}

    def head(values):
        made = {
            "rows": 6,
            "columns": 6,
            "query": axis,
            "key": axis,
            "values": values.ravel().tolist(),
        }
        return f"(h => ({{...h, values: Float32Array.from(h.values)}}))({json.dumps(made)})"

    source = "".join((VIEW_JS / name).read_text() for name in ("pens.js", "maps.js"))
    with chromium() as (page, _):
        joint, flow, even, bony, change = page.evaluate(
            f"""() => {{
                {source}
                const [head, other] = [{head(times)}, {head(other)}];
                return [
                    [...folded(head, 'joint').values],
                    [...folded(head, 'flow').values],
                    entropy(head),
                    likeness(head, {edges}),
                    moved(head, other),
                ];
            }}"""
        )
    parts = times.reshape(3, 2, 3, 2)
    np.testing.assert_allclose(joint, parts.mean((1, 3)).ravel(), rtol=1e-5)
    np.testing.assert_allclose(flow, parts.mean((0, 2)).ravel(), rtol=1e-5)
    share = times / 6
    assert even == pytest.approx(-(share * np.log(share)).sum(1).mean() / np.log(6), rel=1e-5)
    bones = np.zeros((6, 6))
    for a, b in edges:
        bones[a, b] = bones[b, a] = 1
    beside = ~np.eye(6, dtype=bool)
    assert bony == pytest.approx(np.corrcoef(times[beside], bones[beside])[0, 1], rel=1e-5)
    assert change == pytest.approx(np.abs(times - other).sum(1).mean() / 12, rel=1e-5)


# --- JupyterLab

PORT = """import numpy as np
from workbench import load
from workbench.recipes import port as recipe
from workbench.view.attention import Answer, attention_of, recorded_maps
refiner = load("port")
row = recipe.pairs("synthetic", n=3, seed=3)[1].select([1])
names = ["encoder.*.attention.map"]
def look(hidden):
    mask = np.isin(np.arange(21), hidden)[None]
    return refiner.look(row, mask, names=names)[1]
def answer(state):
    maps = {name: w for name, (w, _) in recorded_maps(look(state["hidden"])).items()}
    return Answer(maps, sentence=f"{len(state['hidden'])} hidden, {len(state['knocked_out'])} out")
view = attention_of(look([]), refiner.skeleton, xy=row.xy_frame[0], on_change=answer)
view.show()"""
COUNT = """() => {
    window.sent = 0;
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (...words) {
        window.sent += 1;
        return send.apply(this, words);
    };
}"""


def test_in_jupyterlab_hovering_asks_no_kernel_and_hiding_does(tmp_path):
    with opened(tmp_path, "attention", PORT, height=900) as (page, notebook):
        page.wait_for_selector(".workbench-view .thumb canvas")
        page.locator(".workbench-view").scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        page.evaluate(COUNT)
        texts = set()
        for i in range(20):
            page.mouse.move(*place_on(page, ".map", 0.6, 0.1 + 0.03 * i))
            page.wait_for_timeout(40)
            texts.add(listed(page))
        assert len(texts) > 5 and page.evaluate("window.sent") == 0
        page.locator("button:has-text('pin A')").click()
        page.locator("select[name=show]").select_option("difference")
        page.locator(".map").focus()
        before = picture_of(page, ".thumb canvas >> nth=0")
        page.keyboard.press("Enter")
        verdict = page.locator(".verdict")
        notebook.wait(lambda: "1 hidden, 0 out" in verdict.inner_text(), 20, "answer to hiding")
        assert picture_of(page, ".thumb canvas >> nth=0") != before
        assert page.evaluate("window.sent") > 0
        assert "+0." in listed(page), "A is not what it was when it was pinned"
        page.locator("select[name=show]").select_option("main")
        page.locator(".map").focus()
        page.keyboard.press("k")
        notebook.wait(lambda: "1 hidden, 1 out" in verdict.inner_text(), 20, "answer to a head")
        assert page.locator(".workbench-view .out").count() == 1
        light = picture_of(page, ".thumb canvas >> nth=0")
        page.evaluate("document.body.dataset.jpThemeLight = 'false'")
        page.wait_for_timeout(200)
        assert picture_of(page, ".thumb canvas >> nth=0") != light
