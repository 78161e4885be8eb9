"""Chapter 08: people of the user's own on their way through a method and back into their file.
All of it works without truth; where there is one, it decides which cases are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ...occlusion import cover
from ...predict import Predictor, doubted
from ...predict.doubted import DELTAS, ESTIMATOR, by_delta, chosen, moves
from ...records import Detections, Pose, Prediction
from ...skeletons import Skeleton, skeleton
from ..explorer import Control, Explorer, choice, far, number, step
from ..panels import (
    HIDDEN,
    NEWLY_HIDDEN,
    VISIBLE,
    Arrows,
    Bar,
    Bars,
    Line,
    Lines,
    People,
    Picture,
    Tabs,
    around,
)
from ..stage import NAMES, Played, Stage, patch
from ..steps import Case, Step, Stepper

Frames = Sequence[UInt8[np.ndarray, "h w 3"]] | UInt8[np.ndarray, "t h w 3"]
PIPELINE = ("file", "doubt", "method", "back to the file")
OURS, YOURS = ESTIMATOR, "your file"  # with truth, without
HELPED = ("it helps", "a good joint lost")


# --- one person, step by step ---------------------------------------------------------------------


def trick(
    frames: Frames,
    refined: Prediction,
    who: str,
    truth: Pose | None = None,
    *,
    data: str = "synthetic",
    delta: float | None = None,
    **options,
) -> Stepper:
    """Two people on their way through the method `who`, see `chosen`. data: named in the rule;
    delta: PORT's, None: the weights' own rule.
    """
    rows, many = chosen(refined, truth)
    joints = skeleton(refined.skeleton)
    names = HELPED if truth is not None else ("moved most", "moved least")
    cases = []
    for name, row in zip(names, rows):
        one = refined.select([row]), truth and truth.select([row])
        told = Told(frames, one[0], who, one[1], delta)
        told = replace(told, joint=told.spoilt if name == names[1] and truth is not None else None)
        rule = doubted.rule(*one, who, many, data, first=name == names[0])
        cases.append(Case(name, rule, told.steps))
    return Stepper(joints, PIPELINE, cases, **{"name": "own_video_steps", **options})


@dataclass(frozen=True, eq=False)
class Told:
    """One person in one frame, told in four steps; px of the frame. truth: their row, or None;
    joint: the one that the last step is about, None: all.
    """

    frames: Frames | Mapping[int, UInt8[np.ndarray, "h w 3"]]
    refined: Prediction
    who: str
    truth: Pose | None
    delta: float | None = None
    joint: int | None = None

    @property
    def spoilt(self) -> int:
        """The joint that is carried farthest from its place."""
        before, after = self.off
        return int(np.where(self.judged, after - before, -np.inf).argmax())

    @property
    def steps(self) -> list[Step]:
        told = (self.file, self.doubt, self.method, self.back)
        return [tell(box) for tell, box in zip(told, PIPELINE)]

    @property
    def found(self) -> Detections:
        return self.refined.detections

    @property
    def t(self) -> int:
        return int(self.found.frames[0])

    @property
    def moved(self) -> Bool[np.ndarray, "k"]:
        """Joints that are placed anew and stood somewhere before."""
        return self.refined.replaced[0] & (self.found.confidence[0] > 0)

    @property
    def moves(self) -> Float[np.ndarray, "k"]:
        return far(self.refined.xy_frame[0], self.found.xy_frame[0])

    @property
    def judged(self) -> Bool[np.ndarray, "k"]:
        return self.moved & self.truth.labelled[0]

    @cached_property
    def off(self) -> tuple[np.ndarray, np.ndarray]:
        """How far the file and the method are from the truth at each joint."""
        true = self.truth.xy_frame[0]
        return far(self.found.xy_frame[0], true), far(self.refined.xy_frame[0], true)

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """What is shown: the person's box, and all of its joints."""
        points = [self.found.boxes_xyxy[0].reshape(2, 2), self.refined.xy_frame[0]]
        if self.truth is not None:
            points.append(self.truth.xy_frame[0][self.truth.labelled[0]])
        x0, y0, x1, y1 = around(*points, pad=0.08)
        free = max(0.0, 0.8 * (y1 - y0) - (x1 - x0)) / 2  # no narrow strip
        return x0 - free, y0, x1 + free, y1

    def picture(self, title: str, *people: People, judged: bool = True, **look) -> Picture:
        look = {"box": self.box, **look}
        real = []
        if judged and self.truth is not None:
            xy = np.where(self.truth.labelled[0][:, None], self.truth.xy_frame[0], np.nan)
            real = [People("truth", "truth", xy, small=True)]
        return Picture(title, [np.asarray(self.frames[self.t])], [*real, *people], **look)

    @property
    def word(self) -> str:
        """What a ✕ says."""
        return marked_as(self.who)

    @property
    def file_name(self) -> str:
        return YOURS if self.truth is None else OURS

    def before(self, name: str = "", marked: bool = True) -> People:
        name = name or f"{self.file_name}, ✕ {self.word}"
        known = self.found.confidence[0] > 0
        xy = np.where(known[:, None], self.found.xy_frame[0], np.nan)
        marks = np.where(self.refined.replaced[0] & marked, HIDDEN, VISIBLE)
        return People(name, "detector", xy, marks)

    def after(self) -> People:
        return People(self.who, "ours", self.refined.xy_frame[0])

    def bars(self, title: str, unit: str, values: np.ndarray, role: str) -> Bars:
        new = self.refined.replaced[0]
        looks = np.where(new, role, "soft").tolist(), np.where(new, "✕", "").tolist()
        names = skeleton(self.refined.skeleton).joints
        return Bars(title, unit, [Bar(*bar) for bar in zip(names, values.tolist(), *looks)])

    def file(self, box: str) -> Step:
        missing = int((self.found.confidence[0] <= 0).sum())
        words = (
            f"{self.file_name.capitalize()} says where this person's {self.moves.size} joints are "
            f"in frame {self.t}; "
            f"{missing or 'none'} of them {'is' if missing < 2 else 'are'} missing. Which of these "
            "places are wrong it does not say."
        )
        pose = self.before(self.file_name, marked=False)
        whole = self.picture("the whole frame", pose, judged=False, box=None, wide=1.4)
        close = self.picture("this person", pose, judged=False)
        return Step("An estimator's pose", words, box, [whole, close])

    def doubt(self, box: str) -> Step:
        n, k = int(self.refined.replaced[0].sum()), self.moves.size
        rule = (
            f"is below delta = {self.delta:.2f}" if self.delta else "the weights' own rule doubts"
        )
        how = f"those whose confidence c {rule}, and missing ones"
        limit = rf" = {self.delta:.2f}" if self.delta else ""
        told = r"{\color{hidden} m_n} = [\, {\color{detector} c_n} < \delta" + limit + r" \,]"
        if self.who != NAMES["port"]:
            how, told = "all that it knows, whatever the estimator's confidence", ""
        words = f"{self.who} places {n} of {k} joints anew: {how}. A ✕ marks them: {self.word}."
        confidence = self.bars("the estimator's confidence", "", self.found.confidence[0], "hidden")
        panels = [self.picture(f"✕ {self.word}", self.before()), confidence]
        return Step(f"Which joints are {self.word}", words, box, panels, told)

    def method(self, box: str) -> Step:
        moved = self.moved
        ends = np.column_stack((self.found.xy_frame[0], self.refined.xy_frame[0]))
        ends = np.column_stack((ends, np.full(len(ends), 1.8)))[moved]
        far_ = self.moves[moved]
        size = (
            f"{far_.mean():.1f} px on average" if far_.size else "not at all: none stood anywhere"
        )
        words = f"{self.who} gives these joints new places. They move {size}. All others stay."
        if self.who == NAMES["port"]:
            words += doubted.READS
        arrows = [Arrows("ours", ends, f"moved by {self.who}")]
        moves = np.where(moved, self.moves, 0)
        panels = [
            self.picture("from the old place to the new one", self.before(), arrows=arrows),
            self.bars("how far each joint moves, px", "px", moves, "ours"),
        ]
        return Step("They get new places", words, box, panels)

    def back(self, box: str) -> Step:
        panels: list = [
            self.picture("before", self.before()),
            self.picture("after", self.after()),
        ]
        words = "Nobody knows the truth here: look whether the new places are likely."
        title = "The new places go into the file"
        if self.truth is not None and self.judged.any():
            kinds = {self.word: self.judged, "all joints": self.truth.labelled[0]}
            pairs = {name: [off[use].mean() for off in self.off] for name, use in kinds.items()}
            one, every = (step(*pair) for pair in pairs.values())
            words = (
                f"In this case the mean error of the joints {self.word} goes {one}, of all joints "
                f"{every}."
            )
            which = f"{self.word} joints" if " " not in self.word else f"joints {self.word}"
            title = "{}: error of the {} {:.1f} → {:.1f} px"
            title = title.format(self.who, which, *pairs[self.word])
            if self.who == NAMES["port"]:
                words += doubted.went_by(self.refined, self.truth)
            if self.joint is not None:
                name = spoken(skeleton(self.refined.skeleton))[self.joint]
                ends = [off[self.joint] for off in self.off]
                pairs = {name: ends} | pairs
                title = "{}: error of the {} {:.1f} → {:.1f} px".format(self.who, name, *ends)
                at = {"words": name, "aside": 12, "ring": 8}
                panels[:2] = [
                    replace(panel, notes=[{**at, "at": each.xy_frame[0, self.joint].tolist()}])
                    for panel, each in zip(panels, (self.found, self.refined))
                ]
            panels.append(Bars("distance from the truth, px", "px", self.pairs(pairs)))
        return Step(title, f"{words} In the file only these coordinates change.", box, panels)

    def pairs(self, pairs: Mapping[str, Sequence[float]]) -> list[Bar]:
        return [
            Bar(f"{who}, {name}", float(px), role)
            for name, pair in pairs.items()
            for px, who, role in zip(pair, (self.file_name, self.who), ("detector", "ours"))
        ]


# --- delta ----------------------------------------------------------------------------------------


class Doubted(NamedTuple):
    """refined, truth: one person's row; curves: name -> their mean error by delta, px, or without
    truth how far their joints move.
    """

    refined: Prediction
    truth: Pose | None
    curves: Mapping[str, Float[np.ndarray, "d"]]


class Doubt(Explorer):
    """Move PORT's delta, and see one person's joints doubted and placed anew, and the error over
    all deltas. people: name -> their row; with truth, whom doubting all costs most beside the
    best delta joins them.
    A page holds every answer.
    """

    def __init__(
        self,
        predictor: Predictor,
        frames: Frames,
        found: Detections,
        truth: Pose | None = None,
        *,
        people: Mapping[str, int],
        **options,
    ):
        self.truth = truth
        self.answers, self.curves = by_delta(predictor, frames, found, truth)
        self.rows = dict(people)
        if truth is not None:
            self.changes = self.curves["PORT"] - self.curves[OURS]
            most = doubted.hurt_by_all(self.curves["PORT"], found)
            self.rows = {BETWEEN: most} | self.rows
        times = [int(found.frames[row]) for row in self.rows.values()]
        self.frames = {t: np.asarray(frames[t]) for t in times}
        super().__init__(skeleton(found.skeleton), **{"name": "doubt", **options})

    def declare(self) -> list[Control]:
        return [choice("person", self.rows), number("delta", 0.0, 1.0, step=DELTAS[1])]

    @staticmethod
    def at(state: Mapping) -> int:
        """Which of `DELTAS` it is."""
        return round(state["delta"] / DELTAS[1])

    def compute(self, state: Mapping) -> Doubted:
        row = self.rows[state["person"]]
        refined = self.answers[DELTAS[self.at(state)]].select([row])
        curves = {name: px[:, row] for name, px in self.curves.items()}
        return Doubted(refined, self.truth and self.truth.select([row]), curves)

    def draw(self, state: Mapping, found: Doubted) -> Tabs:
        for frame in self.frames.values():  # the same with every answer: a page has them once
            self._number(frame)
        told = Told(self.frames, found.refined, NAMES["port"], found.truth)
        last = self.answers[DELTAS[-1]].select([self.rows[state["person"]]])
        box = replace(told, refined=last).box  # one under all deltas
        title = "mean error of this pose, px" if found.truth else "how far joints move, px"
        roles = {OURS: "detector", "control": "rival"}
        lines = [
            Line(name, np.array(DELTAS), px, roles.get(name, "ours"))
            for name, px in found.curves.items()
        ]
        before = replace(told.before("before, ✕ doubted"), role="soft")
        picture = told.picture("before and after", before, told.after(), box=box, wide=1.5)
        top = 1.05 * max(px[:, [*self.rows.values()]].max() for px in self.curves.values())
        curve = Lines(title, "delta", "px", lines, cursor="delta", y_range=(0, top))
        panels = [picture, curve]
        if found.truth is not None:
            panels.append(self.everybody(state))
        confidence = told.bars("confidence", "", found.refined.detections.confidence[0], "hidden")
        return {"doubt": [panels], "confidence": [[confidence]]}

    def everybody(self, state: Mapping) -> Lines:
        """By how much each pose's mean error changes at this delta."""
        x, change = self.curves[OURS][0], self.changes[self.at(state)]
        one = [self.rows[state["person"]]] * 2
        lines = [
            Line("", x, change, "soft", "dots"),
            Line("this pose", x[one], np.array([0, change[one[0]]]), "ours", "both"),
        ]
        ends = [(each.min() - 2, each.max() + 2) for each in (x, self.changes)]
        title = f"{len(x)} poses: change of error, px"
        return Lines(title, "error before, px", "below 0: better", lines, (), "", *ends)

    def say(self, state: Mapping, found: Doubted) -> str:
        count = int(found.refined.replaced.sum())
        words = f"delta = {state['delta']:.2f}: {count} of {len(self.kin)} joints are doubted."
        if found.truth is None:
            return f"{words} They move {moves(found.refined)[0]:.1f} px on average."
        px = [each[self.at(state)] for each in found.curves.values()]
        return f"{words} {doubted.said(*px, self.changes[self.at(state)], found.refined)}"

    def asks(self) -> Iterable[Mapping]:
        for person, delta in product(self.rows, DELTAS):
            yield {"person": person, "delta": delta}

    def left(self, state: Mapping, found: Doubted) -> float:
        """The score of an exercise: the mean error of the pose whose best delta lies in between;
        NaN for another.
        """
        own = state["person"] == BETWEEN
        return float(found.curves["PORT"][self.at(state)]) if own else float("nan")


BETWEEN = "best in between"


def spoken(kin: Skeleton) -> list[str]:
    """Names of joints, for readers."""
    return [name.replace("_", " ") for name in kin.joints]


def marked_as(who: str) -> str:
    """What a ✕ at a joint says: PORT replaces what it doubts, others all that they know."""
    return "doubted" if who == NAMES["port"] else "placed anew"


# --- paint over one person ------------------------------------------------------------------------


class OnePerson(Stage):
    """One person on a stage, close. What counts is the frame that it begins with: how far off the
    first method puts a joint under the paint. A page answers for a patch over every joint of that
    frame. person: their number among those that `ask` finds; first: the first frame's number in the
    video; truth: their joints in that frame, NaN without a label; None: the distance is that from
    where the method has them without paint.
    """

    truth: Float[np.ndarray, "k 2"] | None = None

    def __init__(self, skeleton, clips, ask, *, person: int = 0, first: int = 0, **options):
        self.first = first

        def alone(*given) -> Mapping[str, np.ndarray]:
            return {name: xy[:, [person]] for name, xy in ask(*given).items()}

        here = [replace(clip, truth=None, visibility=None) for clip in clips]
        super().__init__(skeleton, here, alone, **options)

    def declare(self) -> list[Control]:
        return [replace(c, more=True) for c in super().declare() if c.name in ("size", "brush")]

    @property
    def t(self) -> int:
        return self.begin[0]

    def judge_by(self, truth: Float[np.ndarray, "k 2"]) -> None:
        """Sets the truth."""
        self.truth = truth
        for name, value in self.recompute_at(self._seen).items():
            setattr(self, name, value)

    def under(self, found: Played) -> Bool[np.ndarray, "k"]:
        """That frame's joints under the paint, where the detector has them without it, else the
        method.
        """
        said, ours = (found.plain[name][self.t, :1] for name in ("detector", self.who(found)))
        xy = np.nan_to_num(np.where(np.isfinite(said), said, ours), nan=-9.0)  # in no picture
        return cover(np.full(xy.shape[:-1], 2), xy, found.mask[[self.t]])[0] == 1

    def right(self, found: Played) -> Float[np.ndarray, "k 2"]:
        """Where the joints belong in that frame."""
        return found.plain[self.who(found)][self.t, 0] if self.truth is None else self.truth

    def away(self, answers: Mapping, found: Played) -> Float[np.ndarray, "k"]:
        """How far off the method has each joint in that frame, px."""
        return far(answers[self.who(found)][self.t, 0], self.right(found))

    def height(self, found: Played) -> float:
        y = found.plain[self.who(found)][self.t, 0, :, 1]
        return float(np.nanmax(y) - np.nanmin(y))

    def who(self, found: Played) -> str:
        """The first method."""
        return list(found.answers)[1]

    def draw(self, state: Mapping, found: Played) -> Tabs:
        under, right = self.under(found), self.right(found)
        marks = np.where(under, NEWLY_HIDDEN, VISIBLE)
        name = "without paint" if self.truth is None else "truth"
        place = People(name, "truth", right, marks, small=True)
        near = [xy[self.t] for xy in found.plain.values()]
        look = {"box": around(right, *near, pad=0.1), "brush": True, "at": 0}
        panels = []
        for name, xy in found.answers.items():
            ends = np.column_stack((xy[self.t, 0], right, np.full(len(right), 1.5)))
            ends = ends[under & np.isfinite(ends).all(1)]
            who = {"detector": ESTIMATOR}.get(name, name)
            people = [place, People(who, self.roles_of.get(name, 1), xy[self.t, 0])]
            title = f"{who}: arrow to the ◇" if who == name else f"{who} loses what you cover"
            arrows = [Arrows("newly_hidden", ends)]
            panels.append(Picture(title, [self.now.frames[self.t]], people, arrows=arrows, **look))
        return {"stage": [panels]}

    def say(self, state: Mapping, found: Played) -> str:
        under, who, at = self.under(found), self.who(found), self.first + self.t
        if not under.any():
            return f"Frame {at}: none of this person's joints is under paint."
        now, before = (self.away(answers, found) for answers in (found.answers, found.plain))
        worst = int(np.where(under, np.nan_to_num(now), -1).argmax())
        names = spoken(self.kin)
        place = "where it puts it without paint" if self.truth is None else "the truth"
        rest = "" if self.truth is None else f"; without paint {before[worst]:.1f} px"
        return (
            f"Frame {at}: you cover the {', '.join(names[j] for j in np.flatnonzero(under))}. "
            f"{who} puts the {names[worst]} {now[worst]:.1f} px "
            f"({now[worst] / self.height(found):.0%} of the person's height) from {place}{rest}."
        )

    def patches(self) -> dict[int, dict]:
        """Joint -> a patch over it in all frames; none where nobody knows it."""
        said, ours = [xy[self.t, 0] for xy in self.plain[0].values()][:2]
        places = enumerate(np.where(np.isfinite(said), said, ours).round())
        size, ends = self.state["size"], (0, self.last_frame)
        return {j: patch(*xy, size, ends) for j, xy in places if np.isfinite(xy).all()}

    def asks(self) -> Iterable[Mapping]:
        yield from ({"brush": brush} for brush in ([], *([one] for one in self.patches().values())))

    def one_by_one(self) -> Float[np.ndarray, "k"]:
        """By how much the method's distance at each joint rises under the patch over it, px; NaN
        where nobody knows.
        """
        px = np.full(len(self.kin), np.nan)
        for j, one in self.patches().items():
            found = self.compute(self.state | {"brush": [one]})
            px[j] = (self.away(found.answers, found) - self.away(found.plain, found))[j]
        return px
