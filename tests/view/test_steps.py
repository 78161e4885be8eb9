"""The stepper without a browser: what it sends, refuses and shows without scripts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.errors import BadParameter, UnknownName
from workbench.skeletons import skeleton
from workbench.view.formulas import formula
from workbench.view.panels import SLIDES, Bar, Bars, Heat, Picture
from workbench.view.steps import Case, Step, Stepper, extremes

KIN = skeleton("coco17")
BOXES = ("crop", "mask", "answer")
EVIL = "<img src=x onerror=alert(1)>"


def told(name="it helps", count=3, lit=BOXES, **look):
    grid = Picture("map", heat=Heat(np.eye(2), np.eye(2, 3), "map"), box=(-0.5, -0.5, 1.5, 1.5))
    panels = [grid, Bars("size", "px", [Bar("a", 2.0, "ours")])]
    equation = r"\tilde{x} = {\color{hidden} M} \odot x"
    steps = [Step(f"{name} {i}", "Look.", lit[i % 3], panels, equation) for i in range(count)]
    return Case(name, f"rule of {name}", steps)


def stepper(*cases):
    return Stepper(KIN, BOXES, cases or (told(), told("it does not", 4)))


def test_everything_is_sent_at_once_and_asks_no_kernel():
    shown = stepper()
    tabs = [f"it helps {i}" for i in (1, 2, 3)] + [f"it does not {i}" for i in (1, 2, 3, 4)]
    assert list(shown.tabs) == tabs
    assert [control["needs"] for control in shown.controls] == ["nothing", "nothing"]
    kept = shown.kept()["values"]
    assert kept["view"] == "steps" and kept["stored"] == []
    assert [step["lit"] for step in kept["cases"][0]["steps"]] == list(BOXES)
    assert kept["cases"][1]["rule"] == "rule of it does not"
    assert json.loads(shown.permalink()) == {"tab": "", "case": "it helps", "step": 1}


def test_a_state_is_restored_and_refused():
    shown = stepper()
    shown.choose(case="it does not", step=4)
    assert shown.state["step"] == 4
    with pytest.raises(UnknownName):
        shown.choose(case="perhaps")
    with pytest.raises(BadParameter):
        shown.choose(step=5)


@pytest.mark.parametrize("count", [2, 6])
def test_too_few_and_too_many_steps_are_refused(count):
    with pytest.raises(BadParameter, match=f"has {count} steps"):
        stepper(told(count=count))
    with pytest.raises(BadParameter, match="no case"):
        Stepper(KIN, BOXES, [])


def test_a_box_that_is_not_in_the_pipeline_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'mask'"):
        stepper(told(lit=("crop", "masc", "answer")))


def test_a_term_has_the_colour_of_a_role():
    equation = stepper().cases[0]["steps"][0]["equation"]
    assert '<mstyle style="color: var(--wb-hidden)"><mi>M</mi></mstyle>' in equation
    assert 'mathcolor="red"' in formula(r"{\color{red} M}")  # nobody's role stays as it is


def test_without_scripts_it_is_words_and_a_picture():
    twin = stepper().twin()["text/html"]
    assert twin.count("<li>") == 3 and "<math" in twin and "data:image/png;base64," in twin
    assert "rule of it helps" in twin and "rule of it does not" in twin
    page = stepper().fragment().partition("<noscript>")[2]
    assert page.count("<li>") == 3 and "rule of it does not" in page


def test_the_gallery_gets_a_picture_of_each_step_of_the_first_case():
    shown = stepper().slides()[SLIDES]
    assert [one["words"] for one in shown["slides"]] == [f"it helps {i}" for i in range(3)]
    assert shown["first"] == 2, "the answer, until somebody points"
    assert all(one["light"] != one["dark"] for one in shown["slides"])


def test_words_are_text():
    shown = stepper(told(EVIL))
    assert EVIL not in shown.twin()["text/html"] and EVIL not in shown.fragment()
    assert EVIL not in formula(rf"\text{{{EVIL}}}")


def test_the_extremes_are_of_those_in_use():
    gain = np.array([9.0, 1.0, -2.0, 3.0, -8.0, 2.0])
    use = np.array([False, True, True, True, False, True])
    assert extremes(gain, use) == (3, 2, 5, 4)  # best, worst, middle, how many
    with pytest.raises(BadParameter, match="2 cases"):
        extremes(gain[:3], use[:3])
