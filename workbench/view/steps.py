"""The trick of a method in one screen: a few states that a reader steps through, on a case where
it wins and on one where it loses. Everything is sent at once, so that a page asks no kernel.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import NamedTuple

import numpy as np
import traitlets
from jaxtyping import Bool, Float

from ..errors import BadParameter, unknown
from ..skeletons import Skeleton
from .explorer import Control, Explorer, choice, number
from .formulas import formula
from .panels import Panel, Picture, Tabs

STEPS = range(3, 6)  # how many a case has


@dataclass(frozen=True, eq=False)
class Step:
    """One state. words: one or two plain sentences. lit: the box of the pipeline whose tensor is
    shown. equation: LaTeX; \\color{hidden}{M} gives a term the colour of a role of `style`.
    """

    title: str
    words: str
    lit: str
    panels: Sequence[Panel]
    equation: str = ""


@dataclass(frozen=True, eq=False)
class Case:
    """name: "it helps", "it does not". rule: by which it was chosen, as a sentence with numbers."""

    name: str
    rule: str
    steps: Sequence[Step]


class Stepper(Explorer):
    """Cases, step by step, by buttons and arrow keys.

    pipeline: names of the boxes in their order. cases: the first is shown first. options: of
    `Explorer`. Errors: `BadParameter` for fewer than 3 or more than 5 steps, `UnknownName` for a
    box that is not in the pipeline.
    """

    view = traitlets.Unicode("steps").tag(sync=True)
    pipeline = traitlets.List().tag(sync=True)
    cases = traitlets.List().tag(sync=True)

    def __init__(
        self, skeleton: Skeleton, pipeline: Sequence[str], cases: Sequence[Case], **options
    ):
        self.told = {case.name: case for case in cases}
        if not cases:
            raise BadParameter("no case", remedy="give at least one")
        for case in cases:
            if len(case.steps) not in STEPS:
                remedy = f"tell it in {STEPS[0]} to {STEPS[-1]}"
                raise BadParameter(f"{case.name!r} has {len(case.steps)} steps", remedy=remedy)
            for step in case.steps:
                if step.lit not in pipeline:
                    raise unknown("box of the pipeline", step.lit, pipeline)
        super().__init__(skeleton, **{"name": "steps", **options})
        self.pipeline = list(pipeline)
        self.cases = [
            {"name": case.name, "rule": case.rule, "steps": [_told(each) for each in case.steps]}
            for case in cases
        ]

    def declare(self) -> list[Control]:
        last = max(len(case.steps) for case in self.told.values())
        return [
            choice("case", self.told, needs="nothing"),
            number("step", 1, last, 1, needs="nothing"),
        ]

    def compute(self, state: Mapping) -> None:
        """All that is shown was computed before."""

    def draw(self, state: Mapping, found: None) -> Tabs:
        return {
            f"{case.name} {i}": [list(step.panels)]
            for case in self.told.values()
            for i, step in enumerate(case.steps, 1)
        }

    def say(self, state: Mapping, found: None) -> str:
        return self.told[state["case"]].rule

    def figure(self, tab: str = ""):
        """All steps of the chosen case, a row each, as matplotlib's figure."""
        from . import paper  # matplotlib takes its time, and few need it

        rows = {}
        for i, step in enumerate(self.told[self.state["case"]].steps, 1):
            first, *others = step.panels
            title = f"{i} · {first.title}"
            rows[str(i)] = [[replace(first, title=title), *others]]
        return paper.panels_figure(rows, self.kin, state=self.state, theme=self.theme or "light")

    def twin(self) -> dict[str, str]:
        """The chosen case as words and one picture; of the others the rule. Its last step alone is
        the picture that runs are compared by.
        """
        from . import paper  # matplotlib takes its time, and few need it

        told = self.without_scripts() + picture_tag(self.png(), self.state["case"])
        last = {"": [list(self.told[self.state["case"]].steps[-1].panels)]}
        small = paper.panels_figure(last, self.kin, state=self.state, theme=self.theme or "light")
        picture = base64.b64encode(paper.png(small)).decode()
        return {"text/html": told, "image/png": picture}

    def slides(self) -> dict[str, dict]:
        """A picture of each step of the first case; the last one stands for all."""
        from . import paper  # matplotlib takes its time, and few need it

        steps = next(iter(self.told.values())).steps
        panels = {step.title: _telling(step) for step in steps}
        return paper.slides(panels, self.kin, state=self.state, first=-1)

    def without_scripts(self) -> str:
        rules = "".join(
            f"<p><b>{escape(one.name)}:</b> {escape(one.rule)}</p>" for one in self.told.values()
        )
        steps = "".join(
            f"<li><b>{escape(step.title)}</b> {escape(step.words)} {formula(step.equation)}</li>"
            for step in self.told[self.state["case"]].steps
        )
        return f"{rules}<ol>{steps}</ol>"


class Extremes(NamedTuple):
    """Numbers of those with the largest, the least and the middle gain, and of how many."""

    best: int
    worst: int
    middle: int
    count: int


def extremes(gain: Float[np.ndarray, "n"], use: Bool[np.ndarray, "n"]) -> Extremes:
    """A rule by which cases are found: whom a method helps most and least among those that `use`
    names. Errors: `BadParameter` for fewer than three.
    """
    among = np.flatnonzero(use)
    if len(among) < 3:
        raise BadParameter(f"{len(among)} cases to choose from", remedy="show more, or ask less")
    order = among[np.argsort(gain[among], kind="stable")].tolist()
    return Extremes(order[-1], order[0], order[len(order) // 2], len(order))


def picture_tag(png: bytes, words: str) -> str:
    """A picture inside of HTML; "" for none."""
    if not png:
        return ""
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'


def _telling(step: Step) -> Panel:
    """The panel that says most of a step by itself: its last picture, else the first panel."""
    pictures = [panel for panel in step.panels if isinstance(panel, Picture)]
    return (pictures or step.panels[:1])[-1]


def _told(step: Step) -> dict:
    equation = formula(step.equation, block=True) if step.equation else ""
    return {"title": step.title, "words": step.words, "lit": step.lit, "equation": equation}
