"""Hide it yourself: one brush over a made clip, and what five methods make of the person under it.

PORT and HANet get joints, those that a single-frame estimator finds in the unpainted pictures: a
joint under paint is missing. VisSimCC, OTPose and STDPose get the painted pictures; STDPose also
labels of two other frames, as in propagation. All are asked for one frame and in the same box.

Where the rescue comes from is measured: what a method leans on (`contest.SOURCES`) is taken away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from ...made.moving_wrist import JOINTS, SHARED, SIDES, Case
from ...occlusion import cover
from ...predict import Predictor
from ...predict.contest import SOURCES, Answer, Contest, Row, told_allowed, told_gone
from ..explorer import Control, Explorer, choice
from ..panels import (
    NEWLY_HIDDEN,
    NOTHING,
    VISIBLE,
    Arrows,
    Bar,
    Bars,
    People,
    Picture,
    Tabs,
    around,
)
from ..stage import NAMES, brush_controls, covered, painted, patch, without_covered

ONE, ALL = SPANS = ("one frame", "all frames")  # what is painted; in all, paint follows a joint
FAR = 0.05  # of the person's height: a method breaks that is so much further off under the paint
RECOVERS, BREAKS, OFF = "holds", "breaks", "is off even without paint"
OUTCOMES = {RECOVERS: "✓", BREAKS: "✕", OFF: "–"}
LOST = 0.1  # and so far off it has lost the joints without any
AWAY = "take away"  # what may help
NOTHING_AWAY, ALL_AWAY = "nothing", "all of these"
TAKEN = (NOTHING_AWAY, *dict.fromkeys(SOURCES.values()), ALL_AWAY)
NOTHING_LEFT = "nothing left to read"
AXIS = 0.25  # of the person's height: the end of the bars' axis
ANSWERS = "answers"  # a tab, as view.css lays it out
NOTES = (
    "Diamond: a joint under your paint. Yellow line: from a method's answer to the truth. "
    "Titles: error without paint → under it, px.\n"
    "✓ holds: paint adds at most {2:.1f} px to the error of the covered joints, 5 % of the "
    "person's height. ✕ breaks: more; its bar passes its tick. Paint can also help, by chance.\n"
    "Made people (synthetic), so the truth is known. PORT and HANet read joints: what a "
    "single-frame estimator found without paint, less the joints under it. The others read the "
    "painted pictures; STDPose also the labels of frames {0} and {1}."
)


# --- the explorer ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Found:
    visibility: Int[np.ndarray, "t k"]  # under the paint
    under: Bool[np.ndarray, "t k"]  # labelled joints under it, also those hidden without it
    hidden: Bool[np.ndarray, "k"]  # of these, what is asked for in the asked frame
    rows: Sequence[Row]


class HideExplorer(Explorer):
    """Paint over a wrist: five small panels show who breaks and who holds, and who still does
    without what it leans on. A page answers for a patch over every joint, in the asked frame and in
    all frames. predictors: as of `Contest`.
    """

    def __init__(self, case: Case, predictors: Mapping[str, Predictor], **options):
        self.case = case
        self.contest = Contest(case, predictors)
        self.limit = FAR * case.height
        self.plain = self.answers(np.zeros((len(case.frames), *case.size_wh[::-1]), bool))
        # more than a page asks for
        self.under, self.beside = (lru_cache(64)(each) for each in (self.answered, self.sides))
        options |= {"name": "hide", "last_frame": len(case.frames) - 1}
        super().__init__(JOINTS, **options)
        self.notes = NOTES.format(*self.near[::2], self.limit)

    @property
    def near(self) -> tuple[int, int, int]:
        """The asked frame between the two that STDPose has labels of."""
        return self.case.key - SIDES, self.case.key, self.case.key + SIDES

    def patch(self, joint: str) -> dict:
        """A patch of the brush over a joint, as wide as a fifth of the person is high."""
        x, y = self.case.xy[self.case.key, JOINTS.index(joint)].round(1)
        return patch(x, y, round(self.case.height / 5), (0, len(self.case.frames) - 1))

    def declare(self) -> list[Control]:
        case = self.case
        size, _, clear = brush_controls(round(case.height / 5), max(case.size_wh))
        return [
            choice("paint in", SPANS),
            choice(AWAY, TAKEN, needs="drawing"),
            replace(size, more=True, needs="drawing"),
            replace(clear, value=[self.patch(case.joint)], more=False),
        ]

    def led(self, stroke: Mapping, t: int) -> dict:
        """A stroke in frame t: it moves with the joint that it covers in the asked frame, the
        nearest to it.
        """
        xy, points = self.case.xy, np.array(stroke["points"], float)
        away = np.abs(xy[self.case.key, SHARED][:, None] - points).max(-1).min(1)
        j = SHARED[away.argmin()]
        shift = xy[t, j] - xy[self.case.key, j] if away.min() < stroke["size"] / 2 else 0.0
        return {**stroke, "points": (points + shift).tolist(), "frames": [0, 0]}

    def mask(self, brush: str, span: str, t: int) -> Bool[np.ndarray, "h w"]:
        """What the strokes of a brush, as JSON, cover in frame t."""
        strokes = json.loads(brush) if span == ALL or t == self.case.key else []
        return covered([self.led(stroke, t) for stroke in strokes], self.case.size_wh, 1)[0]

    def sides(self, brush: str, span: str) -> list[UInt8[np.ndarray, "h w 3"]]:
        """The frames on both sides under the paint."""
        masks = np.stack([self.mask(brush, span, t) for t in self.near[::2]])
        return painted([self.case.frames[t] for t in self.near[::2]], masks)

    def compute(self, state: Mapping) -> Found:
        self.forget_pictures()  # of other paint
        return self.under(json.dumps(state["brush"]), state["paint in"])

    def answered(self, brush: str, span: str) -> Found:
        """What everybody makes of the strokes of a brush, as JSON."""
        case, key = self.case, self.case.key
        mask = np.stack([self.mask(brush, span, t) for t in range(len(case.frames))])
        flags = cover(case.visibility, case.xy, mask)
        under = cover(np.full_like(flags, 2), case.xy, mask) == 1
        under = under & (case.visibility > 0) & np.isin(np.arange(len(JOINTS)), SHARED)
        hidden = under[key]
        answers = self.answers(mask) if mask.any() else self.plain
        rows = [self.row(*each, hidden) for each in zip(answers.items(), SOURCES.values())]
        return Found(flags, under, hidden, rows)

    def answers(self, mask: Bool[np.ndarray, "t h w"]) -> dict[str, Answer]:
        """name -> answer; mask: what is painted over."""
        people = without_covered(self.contest.people, mask)
        found = self.contest.answers(painted(self.case.frames, mask), people)
        return {NAMES[method]: answer for method, answer in found.items()}

    def error(self, xy: Float[np.ndarray, "k 2"], hidden: Bool[np.ndarray, "k"]) -> float:
        """Mean distance of the hidden joints from the truth, of all where none is hidden, px."""
        case = self.case
        use = hidden if hidden.any() else case.visibility[case.key] > 0
        away = np.linalg.norm(xy - case.xy[case.key], axis=1)[use]
        return float(np.nanmean(away)) if np.isfinite(away).any() else float("nan")

    def row(self, given: tuple[str, Answer], source: str, hidden: Bool[np.ndarray, "k"]) -> Row:
        """What the paint did to a method, and does without its source."""
        name, answer = given
        shared = np.isin(np.arange(len(JOINTS)), SHARED)[:, None]  # those that all five know
        places = (
            np.where(shared, xy, np.nan) for xy in (answer.xy, self.plain[name].xy, answer.bare)
        )
        xy, plain, bare = places
        now, before, lost = (self.error(each, hidden) for each in (xy, plain, bare))
        return Row(name, xy, now, before, source, bare, lost)

    def rows(self, joint: str, span: str = ONE) -> Sequence[Row]:
        """Everybody with a joint under its patch."""
        return self.under(json.dumps([self.patch(joint)]), span).rows

    @staticmethod
    def lacks(row: Row, away: str) -> bool:
        """Whether its source is what is taken away, one of `TAKEN`."""
        return away in (row.source, ALL_AWAY)

    def px(self, row: Row, away: str) -> float:
        """Its error under the paint, and without its source if that is taken away."""
        return row.lost if self.lacks(row, away) else row.now

    def outcome(self, row: Row, away: str = NOTHING_AWAY) -> str:
        """Of `OUTCOMES`."""
        if row.before > LOST * self.case.height:
            return OFF
        return RECOVERS if self.px(row, away) - row.before <= self.limit else BREAKS

    def holding(self, found: Found, away: str = NOTHING_AWAY) -> list[str]:
        """Who holds."""
        return [row.name for row in found.rows if self.outcome(row, away) == RECOVERS]

    @property
    def tried(self) -> list[dict]:
        """The patch over each joint, one after another."""
        return [self.patch(JOINTS.joints[j]) for j in SHARED]

    def held(self, span: str, away: str = NOTHING_AWAY) -> dict[str, int]:
        """Method -> at how many joints it holds, each under its patch."""
        found = [self.under(json.dumps([one]), span) for one in self.tried]
        names = [name for each in found for name in self.holding(each, away)]
        return {row.name: names.count(row.name) for row in found[0].rows}

    def fewest(self) -> None:
        """Sets an exercise: the paint under which fewest hold of all that a page answers."""
        states = [ask for ask in self.asks() if ask["brush"] and ask[AWAY] == NOTHING_AWAY]
        least = min(len(self.holding(self.compute(state))) for state in states)

        over = f"{len(self.tried)} joints, one frame or all"
        task = f"Exercise: under which paint do fewest hold ({over})?"

        def judge(state: Mapping, found: Found) -> str:
            if state.get(AWAY, NOTHING_AWAY) != NOTHING_AWAY:
                return f"{task} Not counted while help is taken away."
            names = self.holding(found)
            count = len(names)
            if not found.hidden.any():
                return f"{task} Paint first; the goal: {least}. Not yet."
            done = count <= least
            left = (
                f"only {r.name} holds, {r.now:.1f} px; without {r.source} {r.lost:.1f} px"
                for r in found.rows
                if r.name in names
            )
            end = f"Reached: {'; '.join(left)}." if done else "Not yet."
            return f"{task} Now {count} of {len(found.rows)}, the goal: {least}. {end}"

        self.set_goal(judge)

    def draw(self, state: Mapping, found: Found) -> Tabs:
        before, key, after = self.near
        for ask in self.asks():  # the same pictures with every answer, so that a page has them once
            for frame in self.beside(json.dumps(ask["brush"]), ask["paint in"]):
                self._number(frame)
        first, last = self.beside(json.dumps(state["brush"]), state["paint in"])
        away = state[AWAY]
        stage = self.shown(found, f"frame {key}: paint here", key, brush=True)
        answers = [
            self.shown(
                found,
                self.title(row, found, away),
                key,
                people=[People(row.name, "ours", self.place(row, away))],
                arrows=self.off(self.place(row, away), found.hidden),
                box=self.square(found),
                brush=True,
            )
            for row in found.rows
        ]
        beside = [
            self.shown(found, f"frame {before}", before, [first]),
            self.shown(found, f"frame {after}", after, [last]),
        ]
        answers.append(self.errors(found, away))
        return {ANSWERS: [[stage], answers[:3], answers[3:]], "frames on both sides": [beside]}

    def shown(self, found: Found, title: str, t: int, frames=(), people=(), **look) -> Picture:
        """Frame t with the truth."""
        case, seen = self.case, np.isin(np.arange(len(JOINTS)), SHARED)
        marks = np.where(case.visibility[t] > 0, VISIBLE, NOTHING) * seen
        marks = np.where(found.under[t], NEWLY_HIDDEN, marks)
        truth = People("truth", "truth", case.xy[t], marks)
        look = {"box": self.room(), "at": t} | look
        return Picture(title, frames or [case.frames[t]], [truth, *people], **look)

    def slides(self) -> dict[str, dict]:
        """What is painted, and what each method makes of it."""
        from .. import paper  # matplotlib takes its time, and few need it

        rows = self.draw(self._seen, self._found)[ANSWERS]
        stage, *answers = [panel for row in rows for panel in row]
        words = [self.slide(row, self._found) for row in self._found.rows]
        panels = dict(zip((f"frame {self.case.key}", *words), (stage, *answers)))
        worst = max(enumerate(self._found.rows, 1), key=lambda row: row[1].now)[0]
        ask = "One joint is covered. Who misses it most?"
        return paper.slides(panels, self.kin, state=self.state, ask=ask, right=worst)

    def room(self) -> tuple[float, float, float, float]:
        """What is shown to paint on: the person near the asked frame, px."""
        case, near = self.case, slice(self.case.key - SIDES, self.case.key + SIDES + 1)
        box = around(case.xy[near][:, SHARED], pad=0.1)
        return tuple(np.clip(box, -0.5, np.tile(case.size_wh, 2) - 0.5).tolist())

    def square(self, found: Found) -> tuple[float, float, float, float]:
        """A square about the covered joints and where everybody has them; else the person."""
        truth = self.case.xy[self.case.key]
        if not found.hidden.any():
            return around(truth[SHARED], pad=0.12)
        places = np.concatenate([xy[found.hidden] for xy in (truth, *(r.xy for r in found.rows))])
        x0, y0, x1, y1 = around(places, pad=0.1)
        x, y, half = (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0, self.case.height / 2) / 2
        return x - half, y - half, x + half, y + half

    def place(self, row: Row, away: str) -> Float[np.ndarray, "k 2"]:
        return row.bare if self.lacks(row, away) else row.xy

    def title(self, row: Row, found: Found, away: str) -> str:
        px = self.px(row, away)
        given = f"without {row.source}" if self.lacks(row, away) else f"has {row.source}"
        if not found.hidden.any():
            return f"{row.name} {px:.1f} px off; {given}"
        mark = OUTCOMES[self.outcome(row, away)]
        if not np.isfinite(px):
            return f"{mark} {row.name}: {NOTHING_LEFT}; {given}"
        return f"{mark} {row.name} {row.before:.1f} → {px:.1f}; {given}"

    def slide(self, row: Row, found: Found) -> str:
        """A title for who sees no other panel."""
        if not found.hidden.any():
            return row.name
        return f"{OUTCOMES[self.outcome(row)]} {row.name}: off by {row.now:.1f} px"

    def off(self, xy: Float[np.ndarray, "k 2"], hidden: Bool[np.ndarray, "k"]) -> list[Arrows]:
        """From where a method has the covered joints to the truth."""
        ends = np.column_stack((xy, self.case.xy[self.case.key], np.full(len(xy), 1.2)))
        ends = ends[hidden & np.isfinite(xy).all(1)]
        return [Arrows("newly_hidden", ends)] if len(ends) else []

    def errors(self, found: Found, away: str) -> Bars:
        """Of the covered joints by method, on one axis under all paint; a tick where it breaks."""
        bars = [
            Bar(
                row.name,
                round(self.px(row, away), 1),
                "ours" if self.outcome(row, away) == BREAKS else "soft",
                OUTCOMES[self.outcome(row, away)],
                (row.before + self.limit,) * 2,
            )
            for row in found.rows
        ]
        some = bars if found.hidden.any() else []
        title = "error, px; breaks past its tick" if some else "nothing is covered"
        return Bars(title, "px", some, range=(0, AXIS * self.case.height))

    def say(self, state: Mapping, found: Found) -> str:
        key, n = self.case.key, len(self.case.frames)
        if not found.hidden.any():
            return f"Nothing of the person is under paint in frame {key}.\nPress on a joint."
        *most, last = (self.kin.joints[j].replace("_", " ") for j in found.hidden.nonzero()[0])
        joints = " and ".join(filter(None, (", ".join(most), last)))
        shown = (found.visibility[:, found.hidden] == 2).any(1).sum()
        it, one = ("it", "it") if found.hidden.sum() == 1 else ("them", "at least one of them")
        rest = f"{shown} of the {n} frames show {one}" if shown else f"no frame shows {it}"
        away = state[AWAY]
        gone = [row for row in found.rows if self.lacks(row, away)]
        held = self.holding(found, away)
        if gone:
            rest += told_gone(gone, held)
        elif not shown:
            rest += told_allowed(found.rows, held, self.limit)
        who = {
            what: [row.name for row in found.rows if self.outcome(row, away) == what]
            for what in OUTCOMES
        }
        said = [
            f"{OUTCOMES[what]} {what}: {', '.join(names)}" for what, names in who.items() if names
        ]
        return f"In frame {key} paint covers the {joints}; {rest}.\n{' · '.join(said)}"

    def asks(self) -> Iterable[Mapping]:
        brushes = [[], *([one] for one in self.tried)]
        for span, away, brush in product(SPANS, TAKEN, brushes):
            yield {"paint in": span, AWAY: away, "brush": brush}
