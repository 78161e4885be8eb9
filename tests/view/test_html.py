from __future__ import annotations

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.browser.lab import CHROMIUM, chromium
from workbench.runs import Run
from workbench.view import paper, style, zoomable
from workbench.view.html import (
    SCRIPT,
    WIDGET_MIME,
    _hero,
    _trick,
    formula,
    index_page,
    notebook_page,
    publish,
)
from workbench.view.live import PAGE, policy
from workbench.view.panels import SLIDES, Bar, Bars, Picture
from workbench.view.tools import PLOTLY_MIME

FIGURE = paper.curves([{"who": "truth", "x": x, "y": x} for x in range(3)])._repr_mimebundle_()
LINES = {"px": {"truth": (np.arange(2), np.arange(2))}}
ZOOMED = zoomable.time_panels(LINES, title="t")._repr_mimebundle_()
WIDGET = {"model_id": "1", "version_major": 2, "version_minor": 0}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _shown(data: dict) -> nbformat.NotebookNode:
    return new_code_cell("show()", outputs=[new_output("display_data", data=data)])


def _page(tmp_path: Path, *cells, error: dict | None = None) -> str:
    path = tmp_path / "07_page.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), path)
    return notebook_page(path, error=error)


# --- formulas


def test_a_formula_becomes_mathml():
    assert re.search(
        r"<mfrac><mrow><mn>1</mn></mrow><mrow><mi>K</mi></mrow></mfrac>", formula(r"\frac{1}{K}")
    )
    assert 'display="block"' in formula("x", block=True)


def test_limits_of_a_sum_stand_below_and_above():
    assert "<munderover>" in formula(r"\sum_{k=0}^{K} A^k", block=True)
    assert "<msup>" in formula(r"\sum_{k=0}^{K} A^k", block=True)


def test_aligned_equations_become_rows_and_columns():
    mathml = formula(r"\begin{aligned} a &= b \\ c &= \arg\max_d e \end{aligned}", block=True)
    assert (mathml.count("<mtr>"), mathml.count("<mtd")) == (2, 4)
    assert "&amp;" not in mathml


def test_a_less_than_sign_stays_text():
    assert "&lt;" in formula(r"c_i < \delta")


@pytest.mark.parametrize("latex", [r"\unheardof{x}", r"\bad{", r"a^b^c"])
def test_what_cannot_be_converted_stays_readable(latex):
    assert formula(latex) == f"<code>{latex}</code>"


# --- pages


def test_figures_of_a_page_stand_in_it_and_have_their_tools_once(tmp_path):
    page = _page(tmp_path, _shown(FIGURE), _shown(FIGURE))
    assert page.count('<div class="wb-sheet"><svg class="wb-figure"') == 2
    assert page.count("tools.render();</script></body>") == 1
    assert FIGURE["image/png"] not in page, "the picture is for viewers without scripts"
    assert '<html lang="en">' in page and "prefers-color-scheme: dark" in page


def test_one_plotly_script_serves_the_figures_that_need_it_and_sends_nothing(tmp_path):
    zoomed = _shown(ZOOMED)
    zoomed.outputs[0].data[PLOTLY_MIME]["config"]["showSendToCloud"] = True
    page = _page(tmp_path, zoomed, _shown(ZOOMED | {WIDGET_MIME: WIDGET}))
    assert page.count('class="plotly-graph-div"') == 2 and page.count("plotly.js v") == 1
    assert page.count('"showSendToCloud": false') == 2
    assert page.count('"modeBarButtonsToRemove": ["toImage"]') == 2
    assert page.count("tools.render();</script></body>") == 1
    assert page.count(style.plotly_css()) == 1
    assert "plotly.js v" not in _page(tmp_path, _shown(FIGURE))


def test_other_svgs_stay_pictures(tmp_path):
    hostile = '<svg xmlns="http://www.w3.org/2000/svg"><script>document.hacked = 1</script></svg>'
    page = _page(tmp_path, _shown({"image/svg+xml": hostile}))
    assert "document.hacked" not in page and "wb-sheet" not in page


def test_a_page_without_figures_carries_no_script(tmp_path):
    assert len(_page(tmp_path, new_markdown_cell("# Small"))) < 20_000


def test_widgets_keep_their_static_twin_or_say_where_they_live(tmp_path):
    twin = {WIDGET_MIME: WIDGET, "image/png": PIXEL, "text/plain": "Image()"}
    page = _page(
        tmp_path,
        _shown(twin),
        _shown({WIDGET_MIME: WIDGET, "text/plain": "FloatSlider(value=0.5)"}),
    )
    assert f"data:image/png;base64,{PIXEL}" in page
    assert page.count("A live control stands here") == 1
    assert "FloatSlider" not in page


def test_markdown_keeps_formulas_links_and_folded_solutions(tmp_path):
    text = "# Hands $x$\n\n## Eq. 4\n\nSee [next](03_hanet.ipynb#a) and [out](https://a.org/b.ipynb).\n\n"
    text += "$$\\hat{A}^k$$\n\n<details><summary>Solution</summary>\n\n**Seven.**\n\n</details>"
    page = _page(tmp_path, new_markdown_cell(text))
    assert "<title>Hands x</title>" in page
    assert 'href="03_hanet.html#a"' in page
    assert 'href="https://a.org/b.ipynb"' in page
    assert page.count("<math") == 2
    assert "<details><summary>Solution</summary>" in page
    assert "<strong>Seven.</strong>" in page
    assert '<a href="#Eq.-4">Eq. 4</a>' in page


def test_outputs_that_show_nothing_take_no_room(tmp_path):
    nothing = _shown({WIDGET_MIME: WIDGET, "text/html": "", "text/plain": ""})
    assert "output_area" not in _page(tmp_path, nothing).partition("<body>")[2]


FOLD = {"tags": ["fold"]}


def test_cells_tagged_fold_are_folded_under_their_heading_and_left_out_of_the_contents(tmp_path):
    page = _page(
        tmp_path,
        new_markdown_cell("# T\n\n## Seen"),
        new_markdown_cell("## Eq. 1 `x`\n\nAn equation.", metadata=FOLD),
        new_code_cell("check()", metadata=FOLD),
        new_markdown_cell("### Below\n\nit.", metadata=FOLD),
        new_markdown_cell("## Eq. 2", metadata=FOLD),
        new_markdown_cell("In sight again."),
        new_code_cell("draw()", metadata=FOLD),
    )
    nav = page[page.index("<nav") : page.index("</nav>")]
    assert nav.count('<a href="#') == 1 and ">Seen</a>" in nav
    first, second, third = page.split('<details class="fold">')[1:]
    assert first.startswith(
        '<summary id="Eq.-1-x"><b>Eq. 1 <code>x</code></b> check it yourself</summary>'
    )
    for words in ("An equation.", "check</span>", ">Below"):
        assert words in first.partition("</details>")[0]
    assert second.startswith('<summary id="Eq.-2">') and "In sight again." in second
    assert "In sight again." not in second.partition("</details>")[0]
    assert third.startswith("<summary>check it yourself</summary>")


def test_cells_tagged_answer_wait_for_the_prediction_above(tmp_path):
    told = new_markdown_cell("It is 3.", metadata={"tags": ["answer"]})
    page = _page(tmp_path, new_markdown_cell("Before."), told, new_markdown_cell("After."))
    before, _, rest = page.partition('<div class="answer">')
    depth, ends = 1, 0  # of the tags in it
    for tag in re.finditer(r"<(/?)div\b", rest):
        depth += -1 if tag[1] else 1
        if not depth:
            ends = tag.start()
            break
    assert "Before." in before and "It is 3." in rest[:ends] and "After." in rest[ends:]


def test_folds_of_one_cell_close_and_headings_of_hostile_files_open_nothing(tmp_path):
    path = tmp_path / "a.ipynb"
    cells = [new_markdown_cell("## <b>x</details>", metadata=FOLD), new_markdown_cell("after")]
    nbformat.write(new_notebook(cells=cells), path)
    page = notebook_page(path)
    assert page.count('<details class="fold">') == 1
    assert "script-src 'none'" in page


def test_the_parameters_of_a_run_stay_in_the_fold_of_the_defaults(tmp_path):
    injected = {"tags": ["injected-parameters"]}
    page = _page(
        tmp_path,
        new_markdown_cell("#### Set-up", metadata=FOLD),
        new_code_cell("seed = 0", metadata=FOLD),
        new_code_cell("seed = 7", metadata=injected),
        new_code_cell("1", metadata=FOLD),
        new_markdown_cell("In sight."),
        new_code_cell("2", metadata=injected),
    )
    assert page.count('<details class="fold">') == 1
    folded, _, seen = page.partition("</details>")
    assert ">7</span>" in folded and ">2</span>" in seen


def test_code_is_hidden_until_the_switch_is_on_and_no_script_does_that(tmp_path):
    page = _page(tmp_path, new_code_cell("1"))
    assert '<input id="code" type="checkbox"/> show code' in page
    assert "body:not(:has(#code:checked)) .input { display: none }" in page
    assert "script-src 'none'" in page


def test_units_stay_with_their_numbers(tmp_path):
    table = {"text/html": "<table><tr><th>error, px</th><td>8.1 px</td><td>9 pxs</td></tr></table>"}
    page = _page(tmp_path, new_markdown_cell("From 8.0 to 8.1 px, 3 % of `8.1 px`."), _shown(table))
    for words in ("8.1\u00a0px, 3\u00a0% of", "<th>error,\u00a0px</th><td>8.1\u00a0px</td>"):
        assert words in page
    assert "<code>8.1 px</code>" in page and "<td>9 pxs</td>" in page


def test_a_rate_is_no_mail_address(tmp_path):
    assert "mailto" not in _page(tmp_path, new_markdown_cell("PCK@0.05 and PCK&#64;0.1"))


def test_metrics_are_readable_and_inputs_stay_in_the_record(tmp_path):
    metrics = {
        "epe": 15.270199,
        "rows": [{"method": "port", "metrics": {"n": 846}}],
        "inputs": {"a.npz": "ff"},
    }
    page = _page(tmp_path, _shown({"application/x.workbench.metrics+json": metrics}))
    assert '<th>epe</th><td class="number">15.27</td>' in page
    assert "<th>metrics.n</th>" in page
    assert "a.npz" not in page


def test_latex_output_becomes_mathml(tmp_path):
    assert "<mfrac>" in _page(
        tmp_path, _shown({"text/latex": r"$\displaystyle \frac{a}{b}$", "text/plain": "a/b"})
    )


def test_a_failure_stands_on_top_escaped(tmp_path):
    page = _page(
        tmp_path,
        new_markdown_cell("# T"),
        error={"type": "ValueError", "message": "<b>", "cell": 1},
    )
    assert '<p class="failure">ValueError: &lt;b&gt;</p>' in page


# --- the run folder


@pytest.fixture
def run(tmp_path):
    entry = {"parameters": {"n": 3, "profile": "fast"}, "seed": None, "given": {}}
    record = {
        "schema_version": 1,
        "status": "failed",
        "profile": "fast",
        "device": "cpu",
        "started": "2026-01-01T00:00:00+00:00",
        "duration_s": 2.5,
        "notebooks": {
            "01_a": {
                **entry,
                "status": "completed",
                "duration_s": 2.0,
                "metrics": {"epe": 15.25},
                "inputs": {"x": "ab"},
            },
            "02_b": {
                **entry,
                "status": "failed",
                "duration_s": 0.5,
                "error": {"type": "E", "message": "a < b"},
            },
            "03_c": {**entry, "status": "pending"},
        },
        "provenance": {
            "git": {"commit": "0123456789abcdef", "dirty": True},
            "python": "3.12.1",
            "packages": {"torch": "2.15.0"},
            "hardware": {
                "platform": "Linux",
                "cpu": "some",
                "cores": 2,
                "memory_gb": 8.0,
                "gpu": None,
            },
            "weights": {},
        },
    }
    (tmp_path / "notebooks").mkdir()
    title = "# 01 · First: what it *does*\n\n**Bold.**"
    cells = [new_markdown_cell(title), _shown(FIGURE), _shown({"image/png": PIXEL})]
    for name, made in (("01_a", cells), ("02_b", [new_markdown_cell("# Second")])):
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=made), path)
    return Run(tmp_path, record)


def test_the_index_says_what_ended_how_and_where_it_comes_from(run):
    page = index_page(run)
    for text in (
        '<a class="card" href="01_a.html">',
        "<h2>01 · First</h2><p>what it does</p>",
        '<span class="state failed">failed</span>',
        "E: a &lt; b",
        '<span class="state pending">pending</span>',
        "15.25",
        "0123456789ab, with uncommitted changes",
        "2.15.0",
        '<span class="state completed">completed</span> 2.0&nbsp;s',
        "td.number { white-space: nowrap }",
    ):
        assert text in page
    assert 'href="03_c.html"' not in page
    assert "<script" not in page, "no slides, no script"
    assert page.count('class="card"') == 3, "every notebook has a card, also one that is left"
    assert page.index("The run's record") < page.index("15.25"), "numbers lie behind the fold"
    assert page.count('<div class="hero"><svg class="wb-figure"') == 1


def test_the_picture_of_a_card_is_the_cell_tagged_hero_or_the_first_of_all(run):
    path = run.folder / "notebooks" / "01_a.ipynb"
    copy = nbformat.read(path, 4)
    assert "svg" in _hero(copy), "the first"
    copy.cells[2].metadata["tags"] = ["hero"]
    assert _hero(copy).startswith('<img alt="" src="data:image/webp;base64,')
    page = "<p>an explorer with all its arrays</p>"
    copy.cells[2].outputs[0].data[PAGE] = page
    assert _hero(copy).startswith("<img"), "the picture beside what an explorer holds"
    del copy.cells[2].outputs[0].data["image/png"]
    assert "svg" in _hero(copy), "the first of all"
    copy.cells[2].outputs[0].data["image/png"] = "bm90IGEgcGljdHVyZQ=="
    assert "svg" in _hero(copy), "that is no picture"


def test_slides_stand_before_the_picture_and_are_checked(run):
    path = run.folder / "notebooks" / "01_a.ipynb"
    copy = nbformat.read(path, 4)
    at = {
        "first <img>": Picture("", [np.zeros((9, 9, 3), np.uint8)]),
        "last": Bars("", "", [Bar("a", 1.0, "truth")]),
    }
    copy.cells[2].outputs[0].data |= paper.slides(at, None, first=-1)
    copy.cells[2].metadata["tags"] = ["hero"]
    hero = _hero(copy)
    assert hero.count("<picture") == 2 and hero.count(" hidden>") == 1
    assert 'alt="first &lt;img&gt;"' in hero and '<span class="words">last</span>' in hero
    nbformat.write(copy, path)
    page = index_page(run)
    assert policy(f"<script>{SCRIPT}</script>") in page and SCRIPT in page
    good = copy.cells[2].outputs[0].data[SLIDES]
    for bad in (
        {},
        [],
        {"first": 0, "slides": [{"words": "a", "light": "bm8=", "dark": "bm8="}]},
        {"first": 0, "slides": [good["slides"][0] | {"light": '"><img src=x onerror=alert(1)>'}]},
        {"first": 0, "slides": [{"words": "a", "light": "", "dark": ""}]},
        good | {"first": "a"},
    ):
        copy.cells[2].outputs[0].data[SLIDES] = bad
        assert _hero(copy).startswith('<img alt="" src="data:image/webp'), bad
    copy.cells[2].outputs[0].data[SLIDES] = good | {"first": 99}
    assert _hero(copy).count(" hidden>") == 1, "some slide is shown, whatever number is asked for"


def test_a_paragraph_all_in_italics_is_a_byline(tmp_path):
    text = "# T\n\n*Somebody: `a` paper.*\n\n*One* word.\n\nA *word*"
    page = _page(tmp_path, new_markdown_cell(text))
    assert '<p class="byline">Somebody: <code>a</code> paper.</p>' in page
    assert "<p><em>One</em> word.</p>" in page and "<p>A <em>word</em></p>" in page


def test_the_end_of_a_chapter_leads_to_the_next(run):
    run.record["notebooks"] = {name: run.record["notebooks"][name] for name in ("01_a", "02_b")}
    publish(run)
    first, last = ((run.folder / f"{name}.html").read_text() for name in ("01_a", "02_b"))
    assert '<a href="02_b.html">Next: 02 b →</a></p></main>' in first and "Next:" not in last


def test_the_trick_is_the_notebook_s_word_or_behind_the_colon_or_bold(run):
    bold = new_notebook(cells=[new_markdown_cell("# 9 · N\n\n**Bold words.** More.")])
    assert _trick(bold, "9 · N") == ("9 · N", "Bold words")
    assert _trick(bold, "9 · N: behind") == ("9 · N", "behind")
    bold.metadata["workbench"] = "no names"
    assert _trick(bold, "9 · N: behind") == ("9 · N", "behind")
    bold.metadata["workbench"] = {"trick": "said <so>", "reads": "a <b>"}
    assert _trick(bold, "9 · N: behind") == ("9 · N", "said <so>")
    nbformat.write(bold, run.folder / "notebooks" / "02_b.ipynb")
    page = index_page(run)
    assert "<p>said &lt;so&gt;</p>" in page and "reads a &lt;b&gt;" in page


def test_publish_writes_the_pages_that_ended_and_leaves_no_parts(run):
    publish(run)
    assert {path.name for path in run.folder.iterdir()} == {
        "notebooks",
        "01_a.html",
        "02_b.html",
        "index.html",
    }


@pytest.mark.browser
@pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}; CHROMIUM names another"
)
def test_a_page_draws_everything_offline_and_asks_for_nothing(tmp_path):
    cells = [
        new_markdown_cell("# Offline\n\n$$\\sum_{k=0}^{K} \\hat{A}^k$$"),
        _shown(FIGURE),
        _shown({"image/png": PIXEL}),
    ]
    (tmp_path / "page.html").write_text(_page(tmp_path, *cells), encoding="utf-8")
    with chromium() as (page, outside):
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector(".wb-sheet > .wb-tools")
        box = page.locator(".wb-figure").bounding_box()
        assert box["width"] > 800 and box["width"] / box["height"] == pytest.approx(
            7.16 / 2.4, 0.01
        )
        assert page.locator("math").bounding_box()["height"] > 40
        assert page.evaluate(
            "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
        )
        assert (outside, complaints) == ([], [])


@pytest.mark.browser
@pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}; CHROMIUM names another"
)
def test_the_policy_stops_what_an_output_asks_for(tmp_path):
    hostile = "<script src='https://example.invalid/x.js'></script><script>fetch('https://example.invalid/y')</script>"
    (tmp_path / "page.html").write_text(
        _page(tmp_path, _shown({"text/html": hostile})), encoding="utf-8"
    )
    with chromium() as (page, _):
        failures: list[str] = []
        page.context.on("requestfailed", lambda request: failures.append(request.failure))
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_timeout(500)
        assert set(failures) <= {"csp"}
        assert failures
