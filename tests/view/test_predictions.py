"""Predictions without a browser: what is right, near and off, and what is exported."""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.errors import BadParameter, UnknownName
from workbench.skeletons import skeleton
from workbench.view.panels import Bar, Bars, People, Picture
from workbench.view.predictions import Predictions

KIN = skeleton("coco17")
EVIL = "<img src=x onerror=alert(1)>"
PLACES = np.arange(34.0).reshape(17, 2)
PICTURE = Picture("crop", [np.zeros((40, 40, 3), np.uint8)], [People("us", "ours", PLACES)])


@pytest.fixture
def chapter():
    return Predictions("04")


def chosen(chapter, question="Which?", options=("a", "b"), answer="b"):
    return chapter.choose(question, options, answer=answer, because="b is larger.")


def dragged(chapter):
    look = {"axes": ("x", "error, px"), "start": 2.0, "y_range": (0.0, 9.0), "unit": "px"}
    x, y = np.arange(3.0), np.array([1.0, 2.0, 6.0])
    return chapter.drag("How does it go?", x, y, tolerance=0.5, because="It rises.", **look)


def commit(prediction, *given):
    prediction.choose(given=list(given), committed=True)
    return prediction.grade


def test_nothing_is_graded_before_the_reader_commits(chapter):
    one = chosen(chapter)
    one.choose(given=[1])
    assert one.grade == "" and not one.row()["committed"]
    assert chapter.score() == {"questions": 1, "committed": 0, "right": 0, "near": 0}


def test_one_choice_is_right(chapter):
    assert commit(chosen(chapter), 1) == "right"
    assert commit(chosen(chapter), 0) == "off"


def test_measured_options_are_bars_beside_the_answer(chapter):
    one = chosen(chapter, options={"a": 1.0, "b": 3.0})
    assert one.panels["asked"] == []
    (((bars,),)) = one.panels["answered"]
    assert bars.bars == [Bar("a", 1.0, "soft"), Bar("b", 3.0, "ours")]


def test_the_joint_with_the_largest_value_is_right_and_two_are_near(chapter):
    values = np.full(17, np.nan)
    values[[3, 5, 9, 10]] = 4.0, 8.0, 2.0, 1.0
    one = chapter.click("Which joint?", PICTURE, values, KIN, because="That one.")
    assert [commit(one, j) for j in (5, 3, 9, 10, 0)] == ["right", "near", "near", "off", "off"]
    assert one.row()["given"] == ["nose"] and one.row()["measured"] == ["left_shoulder"]
    assert one.panels["asked"][0][0].click.control == "given"


@pytest.mark.parametrize(("given", "grade"), [(11, "right"), (8.9, "near"), (16.01, "off")])
def test_numbers_have_a_tolerance(chapter, given, grade):
    one = chapter.number("How many?", 12.0, tolerance=2.0, unit="px", because="12 px.")
    assert commit(one, given) == grade
    assert one.asks_for["says"] == "right: within 2 px; near: 4"


@pytest.mark.parametrize(
    ("place", "grade"), [((33, 44), "right"), ((36, 48), "near"), ((30, 51), "off")]
)
def test_a_place_is_judged_by_its_distance_from_the_truth(chapter, place, grade):
    others = {"straight line": np.array([30.0, 46.0]), "STDPose": np.array([33.0, 44.0])}
    look = {"tolerance": 5.0, "because": "There.", "kin": KIN}
    one = chapter.place("Where?", PICTURE, np.array([30.0, 40.0]), others, **look)
    assert commit(one, *place) == grade
    picture, bars = one.panels["answered"][0]
    assert [note["at"] for note in picture.notes] == [[30, 40], [30, 46], [33, 44]]
    assert [note["words"] for note in picture.notes] == ["truth", "", ""]
    named = chapter.place(
        "Where?", PICTURE, np.zeros(2), others, roles={"STDPose": "rival"}, **look
    )
    assert [bar.role for bar in named.panels["answered"][0][1].bars] == ["soft", "rival"]
    assert [(bar.label, bar.value) for bar in bars.bars] == [("straight line", 6), ("STDPose", 5)]
    assert one.panels["asked"][0][0].notes == () and one.figure() is not None
    with pytest.raises(BadParameter, match="place of 'a'"):
        chapter.place("Where?", PICTURE, np.zeros(2), {"a": np.array([np.nan, 0])}, **look)


def test_what_was_computed_is_not_called_measured(chapter):
    one = chapter.number("How much?", 3.0, tolerance=1, because="", by="Eq. 2")
    assert one.asks_for["by"] == "Eq. 2" and one.panels["answered"][0][0].title == "Eq. 2"


def test_a_curve_is_judged_by_its_mean_distance(chapter):
    one = dragged(chapter)
    grades = [commit(one, *y) for y in ((1, 2, 7.5), (1, 2, 9), (2, 2, 9))]
    assert grades == ["right", "near", "off"]
    assert [line.name for line in one.panels["asked"][0][0].lines] == []
    assert [line.name for line in one.panels["answered"][0][0].lines] == ["measured"]
    with pytest.raises(BadParameter, match="3 numbers"):
        commit(one, 1, 2)


def test_what_answers_nothing_is_refused(chapter):
    with pytest.raises(UnknownName):
        chosen(chapter, answer="c")
    with pytest.raises(BadParameter, match="measure it first"):
        chapter.number("How many?", np.nan, tolerance=1.0, because="")
    with pytest.raises(BadParameter, match="values of shape"):
        chapter.click("Which?", PICTURE, np.zeros(3), KIN, because="")
    look = {"axes": ("", ""), "start": 0, "tolerance": 1, "y_range": (0, 1), "because": ""}
    with pytest.raises(BadParameter, match="the curve is"):
        chapter.drag("?", np.arange(2), np.array([1.0, np.nan]), **look)
    assert chapter.made == {}


def test_the_score_counts_and_a_cell_that_runs_again_asks_anew(chapter):
    commit(chosen(chapter), 1)
    commit(dragged(chapter), 1, 2, 9)
    commit(chosen(chapter, "Another?"), 0)
    assert chapter.score() == {"questions": 3, "committed": 3, "right": 1, "near": 1}
    chosen(chapter)
    assert chapter.score() == {"questions": 3, "committed": 2, "right": 0, "near": 1}


def test_the_export_is_json_with_every_answer(chapter):
    commit(chosen(chapter, "Größer?"), 1)
    dragged(chapter)
    out = json.loads(chapter.export())
    assert (out["chapter"], out["questions"], out["committed"], out["right"]) == ("04", 2, 1, 1)
    first, second = out["predictions"]
    assert first["question"] == "Größer?" and first["given"] == ["b"] == first["measured"]
    assert second["given"] == [] and second["measured"] == [1.0, 2.0, 6.0]
    assert second["grade"] == "" and "on average" in second["says"]


def test_without_scripts_the_answer_lies_below_a_fold(chapter):
    after = [Bars("", "", [Bar("a", 1.0, "ours")])]
    options = {"answer": "b", "because": f"b {EVIL}", "after": after}
    one = chapter.choose(f"Which {EVIL}?", [EVIL, "b"], **options)
    twin = one.twin()["text/html"]
    question, _, answer = twin.partition("<details>")
    assert "Which &lt;img" in question and "data:image/png" not in question
    assert "b &lt;img" in answer and "data:image/png" in answer
    assert EVIL not in twin and EVIL not in one.fragment()
    assert one.fragment().endswith("</details></noscript>")
