"""A run's gallery and chapter 00 in chromium, from disk without a network: every chapter has a
picture, folds and the switch of code work, and paint over a joint is answered at once.
"""

from __future__ import annotations

import json
import statistics
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import workbench
from tests.browser.lab import CHROMIUM, chromium
from tests.browser.test_attention import WORDS
from tests.browser.test_explorer import PANELS, WATCH, copied, verdict
from tests.browser.test_lab import SCREENSHOTS, Shown
from tests.browser.test_lab import opened as opened_lab
from tests.view.test_html import FIGURE, FOLD
from tests.view.test_html import run as run_of_two  # a fixture
from workbench.runs import notebook_paths
from workbench.view.chapters.hide import ALL, JOINTS
from workbench.view.html import publish
from workbench.view.live import PAGE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}; CHROMIUM names another"
    ),
]
__all__ = ["run_of_two"]


@pytest.fixture(scope="module")
def explorer():
    return workbench.explore("hide")


@pytest.fixture(scope="module")
def fragment(explorer):
    return {PAGE: explorer.fragment(), "text/plain": "hide", **explorer.slides()}


@pytest.fixture
def run(run_of_two, fragment):
    """A run of all chapters, the first of which holds the explorer, a fold and code."""
    run = run_of_two
    entry = run.record["notebooks"].pop("01_a")
    run.record["notebooks"].clear()
    for name, path in notebook_paths().items():
        (title,) = nbformat.read(path, 4).cells[:1]
        shown = fragment if name.startswith("00") else FIGURE
        cells = [
            title,
            new_code_cell("show()", outputs=[new_output("display_data", data=shown)]),
            new_markdown_cell("## In sight"),
            new_markdown_cell("## Eq. 1\n\nAn equation.", metadata=FOLD),
            new_code_cell("check = 1", metadata=FOLD),
        ]
        nbformat.write(new_notebook(cells=cells), run.folder / "notebooks" / f"{name}.ipynb")
        run.record["notebooks"][name] = entry
    publish(run)
    return run


@contextmanager
def opened(run, name, *, scheme="light", width=1440):
    """A page of the run; what it says on its console, or asks for, fails the test."""
    said: list[str] = []
    with chromium(width=width, height=900) as (page, outside):
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.context.set_offline(True)
        page.emulate_media(color_scheme=scheme)
        page.goto((run.folder / f"{name}.html").as_uri())
        yield page
        page.wait_for_timeout(100)
    assert (said, outside) == ([], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_gallery_shows_every_chapter_with_a_picture_and_leads_there(run, scheme):
    with opened(run, "index", scheme=scheme) as page:
        cards = page.locator("a.card")
        assert cards.count() == len(notebook_paths())
        pictures = page.locator("a.card .hero > :is(img, svg, .slides)")
        assert pictures.count() == cards.count()
        sizes = pictures.evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
        assert min(sizes) > 100
        assert all(words.strip() for words in page.locator(".card p:not(.soft)").all_inner_texts())
        assert page.locator("details.fold").get_attribute("open") is None, "the record is behind"
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"gallery_{scheme}.png")
        cards.first.click()
        page.wait_for_selector(PANELS)
        assert page.title().startswith("00 · Start here")


def test_slides_follow_the_pointer_and_the_arrow_keys(run):
    shown = "document.querySelector('.slides picture:not([hidden]) img').alt"
    with opened(run, "index") as page:
        words, box = page.locator(".slides .words"), page.locator(".slides").bounding_box()
        first, seen = words.inner_text(), []
        lines = page.locator(".card").first.locator("li")
        names = lines.all_inner_texts()
        page.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + 20)
        assert words.inner_text() == first and not any("px" in name for name in names)
        assert not any(mark in "".join(names) for mark in "✓✕"), "nothing tells the answer"
        page.locator("li button:text-is('HANet')").click()
        assert page.url.endswith("index.html"), "an answer opens no chapter"
        worst = max(lines.all_inner_texts()[1:], key=lambda said: float(said.split()[-2]))
        asked = page.locator(".asked")
        assert "HANet" in page.locator("li.now").inner_text(), "no line moves below the pointer"
        assert "HANet" not in worst and asked.inner_text() == f"✕ Not right. {worst[2:]}."
        page.reload()
        page.locator(f"li button:text-is('{worst.split()[1].rstrip(':')}')").click()
        assert asked.inner_text() == f"✓ Right. {worst[2:]}."
        for part in (0.05, 0.3, 0.45, 0.6, 0.8, 0.95):
            page.mouse.move(box["x"] + part * box["width"], box["y"] + 20)
            seen.append(words.inner_text())
            assert page.evaluate(shown) == seen[-1]
        assert seen[0] == first and len(set(seen)) == 6 and "STDPose" in seen[-1]
        page.mouse.move(5, 5)
        assert words.inner_text() == first and page.evaluate(shown) == first
        page.locator("a.card").first.focus()
        page.keyboard.press("ArrowRight")
        assert words.inner_text() == seen[1]
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        assert words.inner_text() == first, "the first is the first"


def test_folds_open_and_code_shows_when_asked_for(run):
    with opened(run, "00_start_here") as page:
        code, words = page.locator(".input"), page.locator("text=An equation.")
        assert not code.first.is_visible() and not words.is_visible()
        assert page.locator("nav a:text-is('In sight')").count() == 1
        assert page.locator("nav a:text-is('Eq. 1')").count() == 0, "folded"
        page.locator("details.fold summary").click()
        assert words.is_visible() and not code.last.is_visible()
        page.locator("text=show code").click()
        assert code.first.is_visible() and code.last.is_visible()
        page.locator("text=show code").click()
        assert not code.first.is_visible()


@pytest.mark.parametrize("width", [1440, 700])
def test_the_contents_stay_in_sight(run, width):
    with opened(run, "00_start_here", width=width) as page:
        page.wait_for_selector(PANELS)
        read = page.locator("nav [aria-current]")
        assert read.count() == 0, "nothing before the first section"
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(200)
        assert read.inner_text() == "In sight"
        box = page.locator("nav").bounding_box()
        assert 0 <= box["y"] < 60 and box["height"] < 900
        main = page.locator("h2").first.bounding_box()
        assert width < 1344 or main["x"] > box["x"] + box["width"], "beside the text"
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paint_over_a_joint_changes_the_panels_at_once(run, explorer, scheme):
    with opened(run, "00_start_here", scheme=scheme) as page:
        page.wait_for_selector(PANELS)
        page.wait_for_timeout(400)
        page.screenshot(path=SCREENSHOTS / f"hide_{scheme}.png")
        small = page.locator(PANELS)
        assert small.count() == 7, "the frame, five methods, bars"
        draws = "all => all.map(canvas => canvas.toDataURL())"
        places = {
            words.partition(",")[0]: place
            for words, place in small.first.evaluate(WORDS).items()
            if "," in words
        }
        before, words = small.evaluate_all(draws), verdict(page)
        page.evaluate(WATCH)
        took = []
        for joint in ("left_elbow", "right_ankle", "right_elbow", "left_knee"):
            page.mouse.click(*places[joint])
            page.wait_for_timeout(150)
            took.append(page.evaluate("window.took.at(-1)"))
            (patch,) = json.loads(copied(page, "copy state"))["brush"]
            assert patch == explorer.patch(joint)
            drawn = small.evaluate_all(draws)
            assert all(new != old for new, old in zip(drawn[1:6], before[1:6])), "all five"
            assert joint.replace("_", " ") in verdict(page) != words
            before, words = drawn, verdict(page)
        print(f"paint: {sorted(round(t) for t in took)} ms until the second frame after it")
        assert statistics.median(took) < 50


def test_the_keys_paint_over_a_joint(run, explorer):
    with opened(run, "00_start_here") as page:
        page.wait_for_selector(PANELS)
        page.wait_for_timeout(400)
        for _ in range(2):
            page.locator(PANELS).first.focus()
            page.keyboard.press("ArrowDown")
            joint = page.locator(".said").first.inner_text()
            page.keyboard.press("Enter")
            page.wait_for_timeout(150)
            (patch,) = json.loads(copied(page, "copy state"))["brush"]
            assert patch == explorer.patch(joint)


def test_the_pointer_shows_where_the_paint_would_go(run):
    with opened(run, "00_start_here") as page:
        page.wait_for_selector(PANELS)
        page.wait_for_timeout(400)
        first = page.locator(PANELS).first
        drawn, box = "canvas => canvas.toDataURL()", first.bounding_box()
        before, state = first.evaluate(drawn), copied(page, "copy state")
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.8 * box["height"])
        page.wait_for_timeout(150)
        assert first.evaluate(drawn) != before and copied(page, "copy state") == state
        page.mouse.move(5, 5)
        page.wait_for_timeout(150)
        assert first.evaluate(drawn) == before


def test_held_paint_goes_from_joint_to_joint_and_clear_takes_it_away(run, explorer):
    with opened(run, "00_start_here") as page:
        page.wait_for_selector(PANELS)
        page.wait_for_timeout(400)
        places = {
            words.partition(",")[0]: place
            for words, place in page.locator(PANELS).first.evaluate(WORDS).items()
            if "," in words
        }
        page.mouse.move(*places[explorer.case.joint])
        page.mouse.down()
        page.mouse.move(*places["left_ankle"], steps=25)
        page.mouse.up()
        (patch,) = json.loads(copied(page, "copy state"))["brush"]
        assert patch == explorer.patch("left_ankle")
        before = verdict(page)
        page.locator("select[name='paint in']").select_option(ALL)
        page.wait_for_timeout(100)
        assert "left ankle" in verdict(page) and verdict(page) != before, "at once"
        page.mouse.click(*places["nose"])
        page.wait_for_timeout(100)
        (patch,) = json.loads(copied(page, "copy state"))["brush"]
        assert patch["frames"] == [0, len(explorer.case.frames) - 1]
        nearest = patch["points"][0]
        assert nearest in [explorer.patch(joint)["points"][0] for joint in JOINTS.joints]
        page.locator("button:text-is('clear paint')").click()
        assert "Nothing of the person is under paint" in verdict(page)


def test_the_chapter_answers_live_and_its_folds_are_closed(tmp_path):
    with opened_lab(tmp_path, "00_start_here") as (page, notebook):
        assert page.locator("text=Ready.").is_visible()
        assert not page.locator("text=Data sets and weights").first.is_visible(), "folded"
        hide = Shown(page, notebook)
        before = hide.said()
        took = []
        for x, y in ((0.4, 0.75), (0.45, 0.3)):
            place = hide.spot(0, x, y)
            page.wait_for_timeout(300)
            start = page.evaluate("performance.now()")
            page.mouse.click(*place)
            hide.answer(before, "answer to the paint")
            took.append(page.evaluate("performance.now()") - start)
            before = hide.said()
        print(f"live: {[round(ms) for ms in took]} ms")
