"""The stepper and predictions in chromium: from disk without a network, and in JupyterLab."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.browser.lab import CHROMIUM
from tests.browser.test_attention import opened_page, picture_of
from tests.browser.test_explorer import shot
from tests.browser.test_lab import opened
from tests.conftest import ROOT
from tests.view.test_steps import stepper
from workbench.skeletons import skeleton
from workbench.view import style
from workbench.view.live import policy
from workbench.view.panels import People, Picture
from workbench.view.predictions import Predictions

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}; CHROMIUM names another"
    ),
]
EVIL = "<img src=x onerror='document.title=1'>"
KIN = skeleton("coco17")
CELLS = (
    f"import sys\n\nsys.path.insert(0, {str(ROOT)!r})",
    "from tests.view.test_steps import stepper\n\nstepper().show()",
    "from tests.browser.test_teach import questions\n\nchapter, asked = questions()",
    "for one in asked:\n    one.show()",
    "print('in the kernel:', chapter.score())",
)
COLOUR = "e => getComputedStyle(e).color"


def questions():
    """A chapter with one question of each kind."""
    chapter = Predictions("test")
    y, x = np.divmod(np.arange(17.0), 4)
    people = People("us", "ours", np.stack((40 * x + 30, 30 * y + 30), 1))
    picture = Picture("crop", [np.full((180, 180, 3), 90, np.uint8)], [people])
    look = {"axes": ("x", "error, px"), "start": 1.0, "y_range": (0.0, 9.0), "unit": "px"}
    curve = np.arange(4.0), np.array([2.0, 4.0, 6.0, 8.0])
    asked = [
        chapter.choose(f"Which {EVIL}?", {"a": 1.0, EVIL: 3.0}, answer=EVIL, because="The second."),
        chapter.click("Which joint?", picture, np.arange(17.0), KIN, because="The last one."),
        chapter.drag("How?", *curve, tolerance=1.0, because="It rises.", **look),
        chapter.number("How many?", 12.5, tolerance=2, because="12.5 px.", unit="px"),
    ]
    return chapter, asked


@contextmanager
def page_of(tmp_path, *widgets, scheme="light"):
    """Widgets and HTML below each other in a page from disk."""
    parts = [each if isinstance(each, str) else each.fragment() for each in widgets]
    inside = "".join(parts)
    rule = f'<meta http-equiv="Content-Security-Policy" content="{policy(inside)}">'
    css = f"<style>{style.css_variables()} body {{ background: var(--wb-paper); }}</style>"
    html = (
        f'<!DOCTYPE html><meta charset="utf-8">{rule}<link rel="icon" href="data:,">{css}{inside}'
    )
    with opened_page(tmp_path, html, scheme=scheme, ready=".bar") as page:
        yield page


def walk(page, scheme="light"):
    """Steps by keys and buttons; nothing is asked of anybody."""
    root = page.locator(".steps")
    title, lit = root.locator(".verdict"), root.locator(".pipeline [aria-current]")
    at, canvas = root.locator("output"), ".steps canvas >> nth=0"
    assert title.inner_text() == "1 · it helps 0" and lit.inner_text() == "crop"
    before = picture_of(page, canvas)
    root.focus()
    page.keyboard.press("ArrowRight")
    assert title.inner_text() == "2 · it helps 1" and lit.inner_text() == "mask"
    term, role = root.locator("math mstyle"), style.rgb(style.colour("hidden", scheme))
    assert term.evaluate(COLOUR) == f"rgb{role}"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # there is no fourth
    assert at.inner_text() == "3 of 3"
    page.keyboard.press("ArrowLeft")
    root.get_by_role("tab", name="it does not").click()
    assert title.inner_text() == "1 · it does not 0"
    rule = root.locator(".rule")
    assert not rule.is_visible() and rule.text_content() == "rule of it does not"
    next_at = root.get_by_role("button", name="next").bounding_box()
    for _ in range(2):
        root.get_by_role("button", name="next").click()
    assert root.get_by_role("button", name="next").bounding_box() == next_at  # below the pointer
    page.wait_for_timeout(150)
    assert at.inner_text() == "3 of 4" and before.startswith("data:image/png")
    press_on(page, root)


def press_on(page, root):
    """Keys go on after clicks: on a picture, which is redrawn; on "next", which the end disables;
    on a case, whose button is made anew."""
    at = root.locator("output")

    def pressed(keys, expected):
        for key in keys:
            page.keyboard.press(f"Arrow{key}")
            page.wait_for_timeout(80)  # the model's own message redraws, too
        assert at.inner_text() == expected

    root.locator("canvas").first.click()
    pressed(["Left", "Left"], "1 of 4")
    pressed(["Left", "Left", "Right"], "2 of 4")
    pressed(["Right"] * 4, "4 of 4")
    pressed(["Left"], "3 of 4")
    root.get_by_role("button", name="next").click()
    assert at.inner_text() == "4 of 4"
    pressed(["Left", "Left"], "2 of 4")
    root.get_by_role("tab", name="it helps").click()
    assert root.locator(".verdict").inner_text() == "1 · it helps 0"  # each from its beginning
    pressed(["Right", "Right"], "3 of 3")
    pressed(["Left", "Left", "Left"], "1 of 3")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_arrow_keys_move_the_stepper(tmp_path, scheme):
    with page_of(tmp_path, stepper(), scheme=scheme) as page:
        walk(page, scheme)
        shot(page, f"steps_{scheme}")


def answer_all(page):
    """Right, near, right and off; the answers stay covered until then."""
    cards = page.locator(".prediction")
    words, scores = cards.locator(".words"), cards.locator("output")
    assert cards.count() == 4 and "".join(words.all_inner_texts()).strip() == ""
    commit = [cards.nth(i).get_by_role("button", name="commit") for i in range(4)]
    assert all(one.is_disabled() for one in commit)
    cards.nth(0).locator("label").nth(1).click()
    cards.nth(1).locator("canvas").first.focus()
    for key in ("ArrowUp", "ArrowUp", "Enter"):  # the last joint but one
        page.keyboard.press(key)
    canvas = cards.nth(2).locator("canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 80, box["y"] + 0.7 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 25, box["y"] + 0.17 * box["height"], steps=30)
    page.mouse.up()
    cards.nth(3).locator("input").fill("90")
    assert "".join(words.all_inner_texts()).strip() == ""
    assert not scores.first.is_visible()
    for one in commit:
        one.click()
    page.wait_for_timeout(200)
    texts = words.all_inner_texts()
    assert texts[0] == f"✓ Right. You: {EVIL}. The second."
    assert texts[1].startswith("≈ Near. You: ") and " Right: right_ankle. The last one." in texts[1]
    assert texts[3] == "✕ Not right. You: 90 px. Measured: 12.5 px."
    assert texts[2].startswith("✓ Right. You: ") and texts[2].endswith("It rises.")
    assert scores.nth(3).inner_text().startswith("4 of 4 predicted in this chapter: ")
    cards.nth(3).locator("input").evaluate("e => e.disabled || (() => { throw e })()")


def exported(page):
    with page.expect_download() as download:
        page.locator(".prediction").nth(2).get_by_text("answers as JSON").click()
    return json.loads(Path(download.value.path()).read_text(encoding="utf-8"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_prediction_is_covered_until_the_reader_commits(tmp_path, scheme):
    chapter, asked = questions()
    with page_of(tmp_path, *asked, scheme=scheme) as page:
        shot(page, f"predictions_open_{scheme}")
        answer_all(page)
        out = exported(page)
        shot(page, f"predictions_{scheme}")
        assert page.title() == ""  # nothing of a file ran
    given = [row["given"] for row in out["predictions"]]
    for one, words in zip(asked, given):  # Python judges as the page does
        options = one.asks_for["options"]
        numbers = [options.index(word) for word in words] if options else words
        one.choose(given=numbers, committed=True)
    assert json.loads(chapter.export()) == out
    assert out["committed"] == 4 and [row["grade"] for row in out["predictions"]][3] == "off"


def test_a_page_can_show_the_answer_without_one(tmp_path):
    _, asked = questions()
    with page_of(tmp_path, *asked) as page:
        card = page.locator(".prediction").nth(3)
        card.get_by_role("button", name="show without an answer").click()
        assert card.locator(".words").inner_text() == "12.5 px."
        assert card.locator("output").inner_text().startswith("0 of 4 predicted")


def test_a_place_is_pressed_and_stands_beside_the_rivals(tmp_path):
    chapter = Predictions("place")
    picture = Picture("crop", [np.full((180, 180, 3), 90, np.uint8)])
    others = {"straight line": np.array([90.0, 150.0])}
    look = {"tolerance": 15.0, "because": "There.", "kin": KIN}
    one = chapter.place("Where?", picture, np.array([90.0, 90.0]), others, **look)
    with page_of(tmp_path, one) as page:
        card = page.locator(".prediction")
        commit, canvas = card.get_by_role("button", name="commit"), card.locator("canvas").first
        assert commit.is_disabled()
        before = picture_of(page, ".prediction canvas >> nth=0")
        box = canvas.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        for key in ("ArrowLeft", "ArrowLeft", "ArrowUp"):
            page.keyboard.press(key)
        page.wait_for_timeout(150)
        assert picture_of(page, ".prediction canvas >> nth=0") != before  # the reader's mark
        commit.click()
        page.wait_for_timeout(150)
        assert re.match(
            r"✓ Right. You: [\d.]+ px away, nearer than 1 of 1. There.",
            card.locator(".words").inner_text(),
        )
        assert card.locator("canvas").count() == 2  # with the errors of all
        shot(page, "place")


def test_what_tells_the_answer_waits_below_its_question(tmp_path):
    chapter = Predictions("answers")
    first, second = (
        chapter.number(q, 1.0, tolerance=1, because="1.", by="Eq. 2") for q in ("One?", "Two?")
    )
    told = [f'<div class="answer" id="{i}">It is 1.</div>' for i in ("a", "b", "c")]
    inside = [first.fragment(), *told[:2], "<p>In sight.</p>", second.fragment(), told[2]]
    with page_of(tmp_path, *inside) as page:

        def seen():
            return [page.locator(f"#{i}").is_visible() for i in ("a", "b", "c")]

        page.wait_for_timeout(200)
        assert seen() == [False] * 3 and page.locator("text=In sight.").is_visible()
        page.locator(".prediction").nth(0).locator("input").fill("2")
        page.locator(".prediction").nth(0).get_by_role("button", name="commit").click()
        assert seen() == [True, True, False]
        words = page.locator(".prediction").nth(0).locator(".words").inner_text()
        assert words == "✓ Right. You: 2. 1."
        page.locator(".prediction").nth(1).get_by_text("show without an answer").click()
        assert seen() == [True] * 3


def test_both_in_jupyterlab(tmp_path):
    """Run All leaves the questions open; the kernel knows what the reader said."""
    with opened(tmp_path, "teach", *CELLS, height=3600) as (page, notebook):
        walk(page)
        assert not page.get_by_role("button", name="show without an answer").first.is_visible()
        answer_all(page)
        out = exported(page)
        page.locator(".jp-CodeCell").last.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        said = page.locator(".jp-OutputArea-output", has_text="in the kernel:")
        counts = {name: out[name] for name in ("questions", "committed", "right", "near")}
        notebook.wait(lambda: str(counts) in said.inner_text(), 20, "score in the kernel")
