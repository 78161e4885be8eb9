"""Questions whose answer stays covered until the reader has committed to one.

The answer is measured by the cell that asks, never typed in. A chapter's score counts in the page,
and can be taken away as JSON there and by `Predictions.export`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from types import MappingProxyType

import numpy as np
import traitlets
from jaxtyping import Float, Num

from ..errors import BadParameter, unknown
from ..skeletons import Skeleton, skeleton
from .explorer import Control, Explorer
from .panels import Bar, Bars, Click, Line, Lines, Panel, Picture, Tabs
from .steps import picture_tag
from .style import ROLE_OF

ASKED, ANSWERED = "asked", "answered"
GRADES = ("right", "near", "off")
NEAR_JOINTS = 3  # the first of them count as near
MEASURED = "ours"  # role of what was measured
Rows = Sequence[Sequence[Panel]]


class Prediction(Explorer):
    """One question; made by `Predictions`.

    asks: chapter, question, kind, options (words that can be chosen, joints, or nothing), unit,
    measured (numbers), grades (of each option) or tolerance (the largest mean distances that are
    right, and near), says (the tolerance in words), because (the answer in words). Of a state,
    `given` is what the reader says, as numbers, and `committed` whether the answer is uncovered.
    """

    view = traitlets.Unicode("prediction").tag(sync=True)
    asks_for = traitlets.Dict().tag(sync=True)

    def __init__(self, asks: Mapping, asked: Rows, answered: Rows, kin: Skeleton, **options):
        self.panels = {ASKED: asked, ANSWERED: answered}
        super().__init__(kin, **{"name": "prediction", **options})
        self.asks_for = dict(asks)

    def declare(self) -> list[Control]:
        return [
            Control("given", "list", [], needs="nothing"),
            Control("committed", "switch", False, needs="nothing"),
        ]

    def compute(self, state: Mapping) -> None:
        """All that is shown was measured before."""

    def draw(self, state: Mapping, found: None) -> Tabs:
        return self.panels

    def say(self, state: Mapping, found: None) -> str:
        return ""

    @property
    def grade(self) -> str:
        """Of what is given: "right", "near", "off"; "" before the reader commits. Errors:
        `BadParameter` for numbers that answer nothing.
        """
        given, asks = self.state["given"], self.asks_for
        if not self.state["committed"]:
            return ""
        numbers = np.array(given, float)
        length = 1 if asks["options"] else len(asks["measured"])
        if numbers.shape != (length,) or not np.isfinite(numbers).all():
            raise BadParameter(f"the answer is {given}", remedy=f"give {length} numbers")
        if asks["options"]:
            return asks["grades"][int(numbers[0])]
        right, near = asks["tolerance"]
        far = np.abs(numbers - asks["measured"])
        apart = np.hypot(*far) if asks["kind"] == "place" else far.mean()
        return GRADES[0 if apart <= right else 1 if apart <= near else 2]

    def row(self) -> dict:
        """The question, what was given and measured, and the grade, for JSON."""
        asks, given = self.asks_for, list(self.state["given"])
        if asks["options"]:
            given = [asks["options"][int(i)] for i in given]
        row = {name: asks[name] for name in ("question", "kind", "unit", "says")}
        row |= {"given": given, "committed": self.state["committed"]}
        return row | {"measured": asks["measured"], "grade": self.grade}

    def figure(self, tab: str = ""):
        state = ANSWERED if self.state["committed"] else ASKED
        return super().figure(tab or state)

    def twin(self) -> dict[str, str]:
        """The question, and below a fold the answer."""
        from . import paper  # matplotlib takes its time, and few need it

        tags = []
        for tab, rows in self.panels.items():
            drawn = paper.png(self.figure(tab)) if any(rows) else b""
            tags.append(picture_tag(drawn, self.asks_for["question"]))
        return {"text/html": self.folded(*tags)}

    def folded(self, asked: str = "", answered: str = "") -> str:
        """Question and covered answer as HTML, with what stands below each."""
        asks = self.asks_for
        options = asks["options"] if asks["kind"] == "choice" else ()
        items = "".join(f"<li>{escape(option)}</li>" for option in options)
        return (
            f"<p><b>Predict:</b> {escape(asks['question'])}</p>"
            f"{f'<ul>{items}</ul>' if items else ''}{asked}<details><summary>Answer</summary>"
            f"<p>{escape(asks['because'])}</p>{answered}</details>"
        )

    def without_scripts(self) -> str:
        return self.folded()


class Predictions:
    """Those of a chapter, whose name the export bears. `because`: the answer as a sentence, with
    the measured numbers. `panels`: a row that stands with the question; `after`: with the answer.
    """

    def __init__(self, chapter: str):
        self.chapter = chapter
        self.made: dict[str, Prediction] = {}

    def choose(
        self,
        question: str,
        options: Mapping[str, float | int | np.number] | Sequence[str],
        *,
        answer: str | Sequence[str],
        because: str,
        unit: str = "",
        panels: Sequence[Panel] = (),
        after: Sequence[Panel] = (),
        by: str = "measured",
    ) -> Prediction:
        """One of several. options: words, or the measured value of each, which are shown as bars
        with the answer. answer: what is right; several where nothing shows which is. by: what
        says so. Errors: `UnknownName` for an answer that is none of them.
        """
        words = [str(option) for option in options]
        right = [answer] if isinstance(answer, str) else list(answer)
        for one in right:
            if one not in words:
                raise unknown("answer", one, words)
        values = list(options.values()) if isinstance(options, Mapping) else []
        shown = [*(after or panels)]
        if values:
            roles = (MEASURED if word in right else "soft" for word in words)
            bars = [Bar(*bar) for bar in zip(words, values, roles)]
            shown.append(Bars(_titled(by, unit), unit, bars))
        grades = ["right" if word in right else "off" for word in words]
        asks = {"options": words, "grades": grades, "measured": right, "unit": unit, "by": by}
        says = "one is right" if len(right) == 1 else f"{len(right)} are right"
        return self._made("choice", question, because, says, asks, panels, shown)

    def click(
        self,
        question: str,
        picture: Picture,
        values: Num[np.ndarray, "k"],
        kin: Skeleton,
        *,
        because: str,
        unit: str = "px",
    ) -> Prediction:
        """A joint of the first people of a picture: the one with the largest value is right, the
        next two are near. NaN: nobody can choose the joint rightly.
        """
        values = np.asarray(values, float)
        if values.shape != (len(kin),) or not np.isfinite(values).any():
            raise BadParameter(f"values of shape {values.shape}", remedy="give one a joint")
        order = np.argsort(-np.nan_to_num(values, nan=-np.inf)).tolist()
        grades = np.full(len(kin), "off", object)
        grades[order[:NEAR_JOINTS]] = "near"
        grades[order[0]] = "right"
        asked = replace(picture, click=Click("given", needs="nothing"))
        roles = [MEASURED if j == order[0] else "soft" for j in range(len(kin))]
        bars = [Bar(*bar) for bar in zip(kin.joints, values.tolist(), roles)]
        after = [asked, Bars(_titled("measured", unit), unit, bars)]
        asks = {"options": list(kin.joints), "grades": grades.tolist(), "unit": unit}
        asks["measured"] = [kin.joints[order[0]]]
        says = f"right: this joint; near: one of the first {NEAR_JOINTS}"
        return self._made("joint", question, because, says, asks, [asked], after, kin)

    def place(
        self,
        question: str,
        picture: Picture,
        truth: Float[np.ndarray, "2"],
        others: Mapping[str, Float[np.ndarray, "2"]],
        *,
        tolerance: float | int,
        because: str,
        unit: str = "px",
        kin: Skeleton | None = None,
        roles: Mapping[str, str | int] = MappingProxyType({}),
    ) -> Prediction:
        """A place in a picture, px of its box. truth: the right one; others: where each rival puts
        it, by name; they stand beside the reader's with the answer, and the errors of all as bars.
        tolerance: how far off is right; twice of it is near. roles: colours of rivals, by name.
        """
        places = {name: np.asarray(xy, float) for name, xy in {"truth": truth, **others}.items()}
        for name, xy in places.items():
            if xy.shape != (2,) or not np.isfinite(xy).all():
                raise BadParameter(f"the place of {name!r} is {xy}", remedy="give x and y, px")
        known = {name: ROLE_OF.get(name, i) for i, name in enumerate(places)}
        roles = {**known, **roles, "truth": "truth"}
        notes = [
            {"at": xy.tolist(), "words": "", "ring": 7, "name": name, "role": roles[name]}
            for name, xy in places.items()
        ]
        notes[0] |= {"words": "truth", "aside": 12, "name": "", "ring": 5, "full": True}
        right = places.pop("truth")
        errors = {name: float(np.hypot(*(xy - right))) for name, xy in places.items()}
        bars = [Bar(name, error, roles[name]) for name, error in errors.items()]
        asked = replace(picture, click=Click("given", needs="nothing"))
        after = [replace(picture, notes=[*picture.notes, *notes]), Bars("error, px", unit, bars)]
        asks = {"options": [], "measured": right.tolist(), "unit": unit}
        asks["rivals"] = list(errors.values())
        asks["tolerance"] = [tolerance, 2 * tolerance]
        says = f"right: within {tolerance:g} {unit}; near: {2 * tolerance:g}"
        return self._made("place", question, because, says, asks, [asked], after, kin)

    def drag(
        self,
        question: str,
        x: Num[np.ndarray, "n"],
        y: Num[np.ndarray, "n"],
        *,
        axes: tuple[str, str],
        start: float | int,
        tolerance: float | int,
        y_range: tuple[float | int, float | int],
        because: str,
        unit: str = "",
        title: str = "drag the curve",
        beside: Sequence[Line] = (),
    ) -> Prediction:
        """A curve y over x. axes: titles with units; start: the height where the reader's curve
        begins; tolerance: the mean distance that is right, twice of it is near; beside: lines that
        are given.
        """
        x, y = np.asarray(x, float), np.asarray(y, float)
        if not len(y) or not np.isfinite(y).all():
            raise BadParameter(f"the curve is {y}", remedy="measure it first")
        axes = Lines(title, *axes, list(beside), x_range=_ends(x), y_range=y_range)
        line = Line("measured", x, y, MEASURED, "both")
        answered = Lines(title, axes.x, axes.y, [*beside, line], **_ranges(axes))
        asks = {"options": [], "measured": y.tolist(), "unit": unit, "x": x.tolist()}
        asks |= {"tolerance": [tolerance, 2 * tolerance], "start": start}
        says = f"right: within {tolerance:g} {unit} on average; near: {2 * tolerance:g}"
        return self._made("curve", question, because, says, asks, [axes], [answered])

    def number(
        self,
        question: str,
        answer: float | int | np.number,
        *,
        tolerance: float | int,
        because: str,
        unit: str = "",
        panels: Sequence[Panel] = (),
        after: Sequence[Panel] = (),
        by: str = "measured",
    ) -> Prediction:
        """A number. tolerance: how far off is right; twice of it is near. by: what says so, such
        as an equation.
        """
        answer = float(answer)
        if not np.isfinite(answer):
            raise BadParameter(f"the answer is {answer}", remedy="measure it first")
        asks = {"options": [], "measured": [answer], "unit": unit, "by": by}
        asks["tolerance"] = [tolerance, 2 * tolerance]
        says = f"right: within {tolerance:g} {unit}; near: {2 * tolerance:g}"
        shown = [*(after or panels)]
        if not any(isinstance(one, Bars) and one.unit == unit for one in after):
            shown.append(Bars(_titled(by, unit), unit, [Bar(by, answer, MEASURED)]))
        return self._made("number", question, because, says, asks, panels, shown)

    def _made(
        self,
        kind: str,
        question: str,
        because: str,
        says: str,
        asks: Mapping,
        asked: Sequence[Panel],
        answered: Sequence[Panel],
        kin: Skeleton | None = None,
    ) -> Prediction:
        words = {"chapter": self.chapter, "kind": kind, "question": question, "by": "measured"}
        words |= {"because": because, "says": says}
        rows = ([list(row)] if row else [] for row in (asked, answered))
        made = Prediction({**words, **asks}, *rows, kin or skeleton("coco17"))
        self.made[question] = made  # a cell that runs again asks anew
        return made

    def score(self) -> dict[str, int]:
        """How many questions there are, how many the reader has committed to, right and near."""
        grades = [one.grade for one in self.made.values()]
        counts = {grade: grades.count(grade) for grade in GRADES[:2]}
        return {"questions": len(grades), "committed": len(grades) - grades.count(""), **counts}

    def export(self) -> str:
        """Chapter, score and every answer as JSON, as the button in a page gives it."""
        rows = [one.row() for one in self.made.values()]
        out = {"chapter": self.chapter, **self.score(), "predictions": rows}
        return json.dumps(out, ensure_ascii=False, indent=1)


def _titled(words: str, unit: str) -> str:
    return f"{words}, {unit}" if unit else words


def _ends(x: Float[np.ndarray, "n"]) -> tuple[float, float]:
    free = 0.04 * float(np.ptp(x)) or 1.0
    return float(x.min()) - free, float(x.max()) + free


def _ranges(axes: Lines) -> dict:
    return {"x_range": axes.x_range, "y_range": axes.y_range}
