"""PORT: the method step by step, and hiding joints of a pose to watch the refined joints and who
looks at whom.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...metrics import joint_distances, p_epe, procrustes
from ...models.port import adjacency_powers
from ...predict import PortRefiner
from ...records import Detections, Pose, Prediction
from ...skeletons import Skeleton
from ...taps import record, without_heads
from ..attention import attention_arguments, on_picture
from ..explorer import (
    Compared,
    Control,
    Explorer,
    choice,
    collected,
    far,
    heads_of,
    number,
    step,
)
from ..panels import (
    HIDDEN,
    VISIBLE,
    Arrows,
    Bar,
    Bars,
    Click,
    Line,
    Lines,
    People,
    Picture,
    Tabs,
    around,
)
from ..steps import Case, Extremes, Step, Stepper, extremes

MAPS = "encoder.*.attention.map"


def named(xy: Float[np.ndarray, "k 2"], kin: Skeleton, joints: Sequence[int] = ()) -> list[dict]:
    """Notes with the names of these joints; of none, of all ends, such as fingertips."""
    ends = np.flatnonzero((kin.adjacency > 0).sum(1) == 1)
    names = {j: kin.joints[j] for j in joints or ends}
    if not joints:
        names = {j: name.removesuffix("4").removesuffix("_finger") for j, name in names.items()}
    return [{"at": xy[j].tolist(), "words": name, "aside": 8} for j, name in names.items()]


def fingers(
    xy: Float[np.ndarray, "k 2"], kin: Skeleton, marks: Int[np.ndarray, "k"] | None = None
) -> list[People]:
    """A hand whose fingers have a tone each, from the wrist to the tip; marks: of its joints."""
    names = dict.fromkeys(name[:-1] for name in kin.joints if name != kin.joints[kin.root])
    own = [[j == kin.root or n[:-1] == name for j, n in enumerate(kin.joints)] for name in names]
    tones = (5, "soft", 3, 2, 4)  # no two alike beside each other
    return [
        People("", tone, np.where(np.array(rows)[:, None], xy, np.nan), marks, small=marks is None)
        for tone, rows in zip(tones, own)
    ]


# --- the trick in one screen ----------------------------------------------------------------------

PIPELINE = ("hidden joints", "masked tokens", "attention", "reconstruction", "answer")
LEAST = 6  # joints below delta, at least, of the hands among which the cases are found


def spread(xy: Float[np.ndarray, "n k 2"], kin: Skeleton) -> Float[np.ndarray, "n"]:
    """How far the nearest two fingertips side by side are from each other, in long sides of the
    hand.
    """
    tips = xy[:, (kin.adjacency > 0).sum(1) == 1]
    return np.linalg.norm(np.diff(tips, axis=1), axis=-1).min(1) / np.ptp(xy, axis=1).max(1)


def find(refiner: PortRefiner, detected: Detections, truth: Pose) -> Extremes:
    """Of poses with at least `LEAST` joints below delta: those whose replaced joints lose the
    largest share of their error, px summed, the least (or gain most), and one in the middle. Where
    some lose half of it or more, the best is the one of these whose fingertips are furthest apart.
    """
    refined = refiner.refine(detected)
    before, after = (
        np.where(refined.replaced, joint_distances(each.xy_frame, truth.xy_frame), 0).sum(1)
        for each in (detected, refined)
    )
    many = refined.replaced.sum(1) >= LEAST
    found = extremes(1 - after / np.where(before > 0, before, 1), many)
    wins = many & (after <= before / 2)
    if not wins.any():
        return found
    apart = np.where(wins, spread(truth.xy_frame, refiner.skeleton), -1)
    return found._replace(best=int(apart.argmax()))


def trick(
    refiner: PortRefiner, detected: Detections, truth: Pose, *, data: str = "synthetic", **options
) -> Stepper:
    """The method step by step, on a pose that it helps and on the one that it harms most, as `find`
    finds them. data: named in the rule.
    """
    found = find(refiner, detected, truth)
    cases = []
    for name, row in (("it helps", found.best), ("it does not", found.worst)):
        told = Told(refiner, detected.select([row]), truth.xy_frame[row])
        before, after = (each[told.mask].mean() for each in told.off)
        way = "best" if row == found.best else "worst"
        which = f"By share of their error PORT does {way} on number {row}"
        if after <= before / 2:
            which = "Of those where PORT takes away half of these joints' mean error or more, "
            which += f"number {row} has the fingertips furthest apart"
        rule = (
            f"How this hand was found: {found.count} of {len(truth)} hands ({data}) have at least "
            f"{LEAST} joints whose confidence is below delta. {which}: {step(before, after)}, "
            f"{after / before - 1:+.0%}."
        )
        cases.append(Case(name, rule, told.steps))
    return Stepper(refiner.skeleton, PIPELINE, cases, **{"name": "port_steps", **options})


@dataclass(frozen=True, eq=False)
class Told:
    """One pose on its way through PORT, told in five steps; px of the picture."""

    refiner: PortRefiner
    row: Detections
    truth: Float[np.ndarray, "k 2"]

    @property
    def steps(self) -> list[Step]:
        told = (self.hidden, self.tokens, self.attention, self.reconstruction, self.answer)
        return [tell(box) for tell, box in zip(told, PIPELINE)]

    @cached_property
    def mask(self) -> Bool[np.ndarray, "k"]:
        return self.refiner.mask(self.row)[0]

    @cached_property
    def taps(self) -> Mapping[str, Tensor]:
        names = ["embedding.out", self.last]
        return self.refiner.look(self.row, self.mask[None], names=names)[1]

    @property
    def delta(self) -> float:
        """Of most joints; some have their own."""
        return float(np.median(self.refiner.rule.delta))

    @property
    def last(self) -> str:
        return f"encoder.{len(self.refiner.model.encoder) - 1}.attention.map"

    @property
    def detected(self) -> Float[np.ndarray, "k 2"]:
        return self.row.xy_frame[0]

    @cached_property
    def recon(self) -> Float[np.ndarray, "k 2"]:
        return self.refiner.reconstruct(self.row, self.mask[None])[0]

    @cached_property
    def refined(self) -> Float[np.ndarray, "k 2"]:
        return self.refiner.refine(self.row, mask=self.mask[None]).xy_frame[0]

    @cached_property
    def off(self) -> tuple[np.ndarray, np.ndarray]:
        """How far detector and PORT are from the truth at each joint."""
        return far(self.detected, self.truth), far(self.refined, self.truth)

    @cached_property
    def j(self) -> int:
        """The joint that is followed: the replaced one whose error changes most."""
        before, after = self.off
        return int(np.where(self.mask, np.abs(after - before), -1).argmax())

    @property
    def joint(self) -> str:
        return self.refiner.skeleton.joints[self.j]

    def picture(self, title: str, *people: People, **look) -> Picture:
        look = {"box": around(self.truth, self.detected, self.refined, pad=0.06)} | look
        return Picture(title, people=list(people), **look)

    @property
    def real(self) -> People:
        return People("truth", "truth", self.truth, small=True)

    @property
    def marks(self) -> Int[np.ndarray, "k"]:
        return np.where(self.mask, HIDDEN, VISIBLE)

    def said(self, small: bool = False) -> People:
        words = "detector, ✕ below delta"
        return People(words, "detector", self.detected, self.marks, small=small)

    def seen(self, title: str, joint: int) -> Picture:
        """What the detector said, without the truth: for a question about a joint."""
        kin, xy = self.refiner.skeleton, self.detected
        own = np.where(np.arange(len(xy))[:, None] == joint, xy, np.nan)
        first = People("", "line", xy, self.marks)  # joints of it can be clicked
        asks = People(f"{kin.joints[joint]}, which asks", "ours", own)
        return self.picture(
            title,
            first,
            *fingers(xy, kin, self.marks),
            asks,
            box=around(xy, pad=0.1),
            notes=named(xy, kin),
        )

    def hidden(self, box: str) -> Step:
        roles = np.where(self.mask, "hidden", "detector").tolist()
        names = self.refiner.skeleton.joints
        marks = np.where(self.mask, "✕", "").tolist()
        bars = [Bar(*bar) for bar in zip(names, self.row.confidence[0].tolist(), roles, marks)]
        believed = self.off[0][~self.mask].mean()
        words = (
            "The detector gives every joint a place and a confidence. PORT does not believe the "
            f"{self.mask.sum()} of {len(bars)} joints whose confidence is below delta: they "
            f"count as hidden. The others are off by {believed:.1f} px on average."
        )
        alone = fingers(self.truth, self.refiner.skeleton)
        said = fingers(self.detected, self.refiner.skeleton, self.marks)
        ends = [named(xy, self.refiner.skeleton) for xy in (self.truth, self.detected)]
        panels = [
            self.picture("the hand as it is", *alone, notes=ends[0]),
            self.picture("what the detector said; ✕ below delta", *said, notes=ends[1]),
            Bars(f"confidence; delta {self.delta:.2f}", "", bars, range=(0.0, 1.0)),
        ]
        equation = r"{\color{hidden} m_n} = [\, {\color{detector} c_n} < \delta \,]"
        return Step("Which joints are not believed", words, box, panels, equation)

    def tokens(self, box: str) -> Step:
        kin, j, xy = self.refiner.skeleton, self.j, self.detected
        learned = self.refiner.model.embedding.mask_embedding.detach().cpu().numpy()
        z = self.taps["embedding.out"][0, j].cpu().numpy()
        ways = adjacency_powers(torch.tensor(kin.adjacency), (1, 2)).mean(0).numpy()[j]
        near = [k for k in np.flatnonzero(ways).tolist() if k != j]
        ends = np.array([[*xy[k], *xy[j], 10 * ways[k]] for k in near])
        look = {"arrows": [Arrows("ours", ends, "mixed in")], "notes": named(xy, kin, [j])}
        numbers = np.arange(1.0, len(z) + 1)
        lines = [
            Line("mixed along the bones", numbers, z - learned, "detector"),
            Line("+ E: its token", numbers, z, "hidden"),
        ]
        words = (
            f"Every joint becomes a token: a row of {len(z)} numbers without a unit, mixed from "
            "its own coordinates and those of its neighbours, at most two bones away (MSGC). "
            f"{self.joint} is hidden (✕): to its row one learned row E is added, the same for "
            "every hidden joint."
        )
        panels = [
            self.picture(f"what is mixed into {self.joint}", self.said(small=True), **look),
            Lines(
                f"the token of {self.joint}", f"one of its {len(z)} numbers", "", lines, wide=1.5
            ),
        ]
        equation = (
            r"Z = \mathrm{MSGC}(A, {\color{detector} J}) + {\color{hidden} m} "
            r"\odot {\color{hidden} E^{mask}}"
        )
        return Step("Hidden joints are marked, not dropped", words, box, panels, equation)

    def attention(self, box: str) -> Step:
        kin = self.refiner.skeleton
        given = self.taps[self.last][0].mean(0).cpu().numpy()
        row = given[self.j]
        near = adjacency_powers(torch.tensor(kin.adjacency), (2,))[0].numpy()[self.j] > 0
        others = [k for k in np.argsort(-row).tolist() if k != self.j][:5]
        xy, asked, seen = self.detected, [self.j, *others], ~self.mask
        ends = np.array([[*xy[self.j], *xy[k], 25 * row[k]] for k in others])
        words = (
            f"Along the bones {self.joint} could hear {near.sum()} joints; attention reaches the "
            f"whole hand: {row[~near].sum():.0%} of what it listens to is over two bones away "
            f"(arrows: the five asked most). The {seen.sum()} believed joints get "
            f"{row[seen].sum():.0%}; hidden ones (✕) keep where the detector saw them, and are "
            "asked, too."
        )
        look = {"arrows": [Arrows("ours", ends, "attention")], "notes": named(xy, kin, asked)}
        look |= {"box": around(xy[asked], pad=0.3), "wide": 1.3}
        bars = [
            Bar(
                name,
                100 * share,
                "soft" if close else "ours",
                ("✕" * off + " far" * (not close)).strip(),
            )
            for name, share, close, off in zip(kin.joints, row.tolist(), near, self.mask.tolist())
        ]
        panels = [
            self.picture(f"whom {self.joint} asks", People("detector", "line", xy), **look),
            Bars(
                f"its attention, %; all alike: {100 / len(bars):.1f}; far: over 2 bones", "%", bars
            ),
        ]
        equation = (
            r"Q, K, V = \frac{1}{|\mathcal{K}|} \sum_k \tilde{A}^k Z W_k \qquad "
            r"{\color{ours} \mathrm{softmax}\Big(\frac{QK^T}{\sqrt{D}}\Big)} V"
        )
        return Step("Hidden joints ask the whole hand", words, box, panels, equation)

    def reconstruction(self, box: str) -> Step:
        kin, moves = self.refiner.skeleton, far(self.recon, self.detected)
        ends = np.column_stack((self.detected, self.recon, np.full(len(moves), 1.6)))
        arrows = [Arrows("ours", ends[self.mask]), Arrows("soft", ends[~self.mask])]
        nobody = np.full_like(self.detected, np.nan)
        keys = People("used", "ours", nobody), People("not used", "soft", nobody)
        words = (
            "From its token each joint gets two numbers: how far it should move in x and in y. "
            f"Hidden joints are moved by {moves[self.mask].mean():.1f} px on average. The "
            "offsets of the others are not used. (SE: a gate for every column.)"
        )
        bars = [Bar(kin.joints[j], moves[j], "ours") for j in np.flatnonzero(self.mask)]
        panels = [
            self.picture("the offsets", self.real, self.said(small=True), *keys, arrows=arrows),
            Bars("how far hidden joints are moved, px", "px", bars),
        ]
        equation = (
            r"J^{recon} = {\color{detector} J} + "
            r"{\color{ours} (\mathrm{SE}(Z) \odot Z)\, W'}"
        )
        return Step("Every joint gets an offset", words, box, panels, equation)

    def answer(self, box: str) -> Step:
        pairs = [[off[use].mean() for off in self.off] for use in (self.mask, ..., self.j)]
        bars = [
            Bar(f"{who}, {which}", float(value), role)
            for which, pair in zip(("hidden", "all"), pairs)
            for value, (who, role) in zip(pair, (("detector", "detector"), ("PORT", "ours")))
        ]
        hidden, hand, one = (step(*pair) for pair in pairs)
        words = (
            "Hidden joints take their new place, all others stay. In this case their mean error "
            f"goes {hidden}, that of {self.joint} {one}, of the whole hand {hand}."
        )
        panels = [
            self.picture("detector", self.real, self.said()),
            self.picture("with PORT", self.real, People("PORT", "ours", self.refined)),
            Bars("distance from the truth, px", "px", bars),
        ]
        equation = (
            r"\hat{J} = (1 - {\color{hidden} m}) \odot {\color{detector} J} + "
            r"{\color{hidden} m} \odot {\color{ours} J^{recon}}"
        )
        title = f"PORT: {pairs[0][0]:.1f} → {pairs[0][1]:.1f} px"
        return Step(title, words, box, panels, equation)


# --- the explorer ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Refined:
    """One pose on its way through PORT; px of the picture."""

    detected: Float[np.ndarray, "k 2"]
    confidence: Float[np.ndarray, "k"]
    mask: Bool[np.ndarray, "k"]  # joints that PORT does not see
    refined: Float[np.ndarray, "k 2"]
    plain: Float[np.ndarray, "k 2"]  # the answer with the rule's own mask, no head knocked out
    truth: Float[np.ndarray, "k 2"] | None
    looks: dict  # of the attention view


class PortExplorer(Compared):
    """One pose: hide joints by a click, move delta, knock out heads, and see the change.

    refiner: what repairs. detections: what the detector said; truth: ground truth of the same rows,
    or None. pictures: one a row, or None. stored: further poses that a page answers for, at every
    delta. options: of `Compared`.
    A joint is hidden where its confidence is below delta, flipped where it was clicked.
    """

    has_attention = True

    def __init__(
        self,
        refiner: PortRefiner,
        detections: Detections,
        truth: Pose | None = None,
        *,
        pictures: Sequence[np.ndarray] | None = None,
        stored: Sequence[int] = (),
        **options,
    ):
        self.others = stored
        self.refiner = refiner
        self.detections = detections
        self.truth = truth
        self.shown = pictures
        layers = range(len(refiner.model.encoder))
        self.layers = {"encoder attention": [MAPS.replace("*", str(layer)) for layer in layers]}
        super().__init__(refiner, len(detections), name="port", **options)

    def declare(self) -> list[Control]:
        delta = round(float(np.median(self.refiner.rule.delta)), 2)
        return [
            number("pose", self.first, len(self.detections) - 1),
            number("delta", delta, 1, step=0.01),
            choice("refined by", self.names, more=True),
            collected("hidden", range(len(self.kin))),
            collected("knocked out", heads_of(self.layers, self.refiner.model.config.heads)),
        ]

    def compute(self, state: Mapping) -> Refined:
        index = state["pose"]
        row, below = self.below(state)
        mask = below.copy()
        mask[0, state["hidden"]] ^= True
        edit = without_heads(state["knocked out"], self.layers)
        first, other = (
            model.look(row, mask, names=[MAPS], edit=edit)[1] for model in self.models.values()
        )
        by = self.models[state["refined by"]]
        with record(by.model, (), edit=edit):
            refined = by.refine(row, mask=mask).xy_frame[0]
        looks = attention_arguments(first, by.skeleton, other=other, names=self.names)
        return Refined(
            row.xy_frame[0],
            row.confidence[0],
            mask[0],
            refined,
            by.refine(row, mask=below).xy_frame[0],
            None if self.truth is None or not self.labelled else self.truth.xy_frame[index],
            looks | self.placed(index) | {"hidden": np.flatnonzero(mask[0]).tolist()},
        )

    @property
    def word(self) -> str:
        """What a ✕ at a joint says: chapter 08, with people on pictures, has a word of its own."""
        return "hidden" if self.shown is None else "doubted"

    def below(self, state: Mapping) -> tuple[Detections, Bool[np.ndarray, "1 k"]]:
        """The pose of a state, and its joints below delta."""
        row = self.detections.select([state["pose"]])
        return row, self.refiner.mask(row, float(state["delta"]))

    def placed(self, index: int) -> dict:
        """Where the attention view shows the joints: on the picture where there is one."""
        xy = self.detections.xy_frame[index]
        if self.shown is None:
            return {"xy": xy}
        picture, xy = on_picture(self.shown[index], xy)
        return {"picture": picture, "xy": xy}

    def draw(self, state: Mapping, found: Refined) -> Tabs:
        marks = np.where(found.mask, HIDDEN, VISIBLE)
        moved = np.where(found.mask[:, None], found.refined, np.nan)
        people = [
            People("detector", "detector", found.detected, marks),
            People("refined", "ours", moved, small=True),
        ]
        if found.truth is not None:
            people.insert(0, People("truth", "truth", found.truth, small=True))
        frames = () if self.shown is None else (self.shown[state["pose"]],)
        ends = np.column_stack((found.detected, found.refined, np.full(len(moved), 1.6)))
        hand = Picture(
            f"click a joint: {self.word} (✕) or believed",
            frames,
            people,
            arrows=[Arrows("ours", ends[found.mask])],
            box=around(*(each.xy for each in people), pad=0.06),
            click=Click("hidden", "toggle"),
            notes=() if frames else named(found.detected, self.kin),
            wide=2.1,
        )
        bars = self.bars(
            f"confidence; delta {state['delta']:.2f}",
            "",
            found.confidence,
            np.where(found.mask, "hidden", "detector").tolist(),
            np.where(found.mask, "✕", "").tolist(),
            range=(0.0, 1.0),
            click=Click("hidden", "toggle"),
        )
        return {"pose": [[hand, bars, self.errors(found)]]}

    def errors(self, found: Refined) -> Bars:
        """What PORT changes at every joint, px: of the error; without a truth, of the place. Names
        are short: those of the bars beside them stand in the same lines.
        """
        change, title, look = far(found.refined, found.detected), "moved by PORT, px", {}
        if found.truth is not None:
            before = far(found.detected, found.truth)
            change = far(found.refined, found.truth) - before
            top = float(np.nanmax(np.abs([1, *change])))  # both sides: 0 stays where it is
            title, look = "error change, px (<0 better)", {"range": (-top, top)}
        short = [re.sub("([a-z])[a-z]*_?", r"\1", name) for name in self.kin.joints]
        return Bars(title, "px", list(map(Bar, short, change.tolist(), repeat("ours"))), **look)

    def say(self, state: Mapping, found: Refined) -> str:
        hidden = int(found.mask.sum())
        if found.truth is None:
            return (
                f"{hidden} joints hidden: {state['refined by']} PORT moves them by "
                f"{far(found.refined, found.detected).max():.1f} px at most; your changes move its "
                f"answer by {far(found.refined, found.plain).mean():.2f} px on average."
            )
        poses = found.detected, found.refined, found.plain
        given, mean, own = (far(xy, found.truth).mean() for xy in poses)
        names = [
            self.kin.joints[j] + (" hidden", " believed")[not found.mask[j]]
            for j in state["hidden"]
        ]
        what = f"{' and '.join(names)} by your click" if names else "your switches"
        yours = f"; {what}: {mean - own:+z.2f} px"
        return (
            f"{hidden} joints {self.word}: mean error of all joints {mean:.2f} px, the detector's "
            f"{given:.2f}{yours * bool(mean != own)}."
        )

    def asks(self) -> Iterable[Mapping]:
        """Delta in steps of 0.1, with every joint alone turned over; other poses at every delta."""
        own = self.declared["delta"].value
        deltas = sorted({own, *np.linspace(0, 1, 11).round(1).tolist()})
        alone = [[], *([j] for j in range(len(self.kin)))]
        yield from ({"delta": delta, "hidden": hidden} for delta in deltas for hidden in alone)
        yield from ({"pose": i, "delta": d, "hidden": []} for i in self.others for d in deltas)

    def recompute_at(self, state: Mapping) -> dict:
        """Maps of delta alone, or of clicks alone: more would be too many for a page."""
        own = self.declared["delta"].value
        alone = not state["hidden"] or state["delta"] == own
        self.stores_attention = alone and state["pose"] == self.first
        return super().recompute_at(state)


# --- a metric that can be cheated -----------------------------------------------------------------


class Shrinking(Explorer):
    """What a smaller answer alone is worth: every pose made smaller about its root, its P-EPE with
    scale and rigid, beside what PORT reaches (refined). index: of the pose that is drawn.
    """

    def __init__(
        self, kin: Skeleton, detections: Detections, truth: Pose, refined: Prediction, index: int
    ):
        self.xy, self.truth, self.index = detections.xy_frame, truth.xy_frame, index
        self.port = self.means(refined.xy_frame)
        super().__init__(kin, name="port_shrink")

    def declare(self) -> list[Control]:
        return [number("smaller by", 0, 40, label="make every hand smaller by, %")]

    def means(self, xy: Float[np.ndarray, "n k 2"]) -> dict[str, float]:
        """Both measures, px, mean of all poses."""
        ways = {"scaled": "truth_to_pred", "rigid": "rigid"}.items()
        return {name: float(p_epe(xy, self.truth, align=way).mean()) for name, way in ways}

    def compute(self, state: Mapping) -> Float[np.ndarray, "n k 2"]:
        root = self.xy[:, [self.kin.root]]
        return root + (1 - state["smaller by"] / 100) * (self.xy - root)

    def draw(self, state: Mapping, found: np.ndarray) -> Tabs:
        xy, real = (each[[self.index]] for each in (found, self.truth))
        box, panels = around(self.xy[self.index], self.truth[self.index], pad=0.2), []
        for name, words in (("scaled", "moved, turned, scaled"), ("rigid", "moved and turned")):
            truth = procrustes(real, xy, rigid=name == "rigid")[0]
            people = [People("truth", "truth", truth), People("detector", "detector", xy[0])]
            panels.append(Picture(f"{name}: the truth is {words}", people=people, box=box))
        now = self.means(found)
        bars = [
            Bar(f"{who}, {name}", values[name], role)
            for name in now
            for who, values, role in (("smaller", now, "detector"), ("PORT", self.port, "ours"))
        ]
        top = 1.5 * max(self.means(self.xy).values())
        return {"hand": [[*panels, Bars("P-EPE of all hands, px", "px", bars, range=(0.0, top))]]}

    def say(self, state: Mapping, found: np.ndarray) -> str:
        first, now = self.means(self.xy), self.means(found)
        told = [
            f"{name} {step(first[name], now[name], 2)}, PORT {self.port[name]:.2f}" for name in now
        ]
        return f"All {len(found)} hands {state['smaller by']} % smaller: P-EPE {'; '.join(told)}."

    def asks(self) -> Iterable[Mapping]:
        control = self.declared["smaller by"]
        return ({"smaller by": n} for n in range(control.high + 1))
