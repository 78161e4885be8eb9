"""OTPose behind the single-frame estimator: harm what that one sees, and watch flows, masks,
attention, offsets and the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ...data.windows import Window, Windows, normalised
from ...errors import BadParameter
from ...models.otpose import FLOWS, N_FEATURES
from ...occlusion import cover
from ...predict import ClipEstimator
from ...predict.borrowed import KEY, degraded, heard, readings, true_places
from ...taps import tap_table, uniform, without_heads
from .. import steps
from ..attention import Axis
from ..estimates import MEAN, SINGLE, Edits, Inside, looked, occlusion_known, peaks
from ..explorer import (
    Compared,
    Control,
    Explorer,
    choice,
    collected,
    far,
    heads_of,
    number,
    opacity,
    step,
    switch,
)
from ..panels import Arrows, Bar, Bars, Click, Heat, People, Picture, Tabs, around, marks_of
from ..stage import brush_controls, covered, painted, patch, patch_grid
from ..steps import Case, Step, Stepper

FINAL = "OTPose"
FRAMES = ("t-2", "t-1", "t", "t+1", "t+2")
MAPS = ("flow", "mask", "psi", "phi", "out")  # taps that are a map of every joint


# --- what the network does ------------------------------------------------------------------------


def look_inside(
    estimator: ClipEstimator,
    rough: Float[Tensor, "n 5 k h w"],
    names: Sequence[str] | None = None,
    *,
    distance: Float[Tensor, "1 5"] | None = None,
    edit: Edits | None = None,
) -> Inside:
    """Everything behind the heatmaps. names: taps, None for all; edit: as in `taps.record`;
    distance: instead of the frames'.
    """
    model = estimator.model
    names = [n for n in tap_table(model) if not n.startswith("maps.")] if names is None else names
    distance = None if distance is None else distance.expand(len(rough), -1)
    return looked(estimator, names, edit, heatmaps=rough, distance=distance)


# --- attention and refinement ---------------------------------------------------------------------


def attention_taps(estimator: ClipEstimator) -> dict[str, list[str]]:
    """Branch -> the taps of its layers' attention."""
    config = estimator.model.config
    layers = range(config.layers)
    return {f"branch {b}": [f"branch.{b}.blocks.{n}.map" for n in layers] for b in config.branches}


def attention_axes(estimator: ClipEstimator) -> dict[str, tuple[Axis, Axis]]:
    """Branch -> what asks and what answers: every joint's eight features, in the model's order."""
    axes = {}
    for branch, channels in estimator.model.channels.items():
        features = [feature for _, feature in channels[:N_FEATURES]]
        axes[f"branch {branch}"] = (Axis.of_channels(estimator.skeleton, features),) * 2
    return axes


def attention_maps(
    estimator: ClipEstimator, inside: Inside
) -> dict[str, Float[np.ndarray, "layer head c c"]]:
    """Branch -> attention of the first person."""
    return {
        name: np.stack([inside.taps[tap][0] for tap in taps])
        for name, taps in attention_taps(estimator).items()
    }


# --- the trick in one screen ----------------------------------------------------------------------

PIPELINE = ("five heatmaps", "sums and masks", "transformers", "reading and answer")
Answers = Mapping[str, Float[np.ndarray, "n k 2"]]  # by who says it, px of the crop
Place = tuple[int, int]  # person, joint


def answered(estimator: ClipEstimator, rough: Float[Tensor, "n 5 k h w"]) -> Answers:
    """Where single frame, plain mean of the five frames' heatmaps, and OTPose see everybody."""
    parts = [look_inside(estimator, part, ()).xy_crop for part in rough.split(32)]
    return {
        SINGLE: peaks(estimator, rough[:, KEY]),
        MEAN: peaks(estimator, rough.mean(1)),
        FINAL: np.concatenate(parts),
    }


def extremes(
    answers: Answers, truth: Float[np.ndarray, "n k 2"], use: Bool[np.ndarray, "n k"]
) -> tuple[Place, Place]:
    """The joint that OTPose helps most and the one that it harms most against the better one of
    single frame and mean, among those to `use`.
    """
    off = {who: np.linalg.norm(xy - truth, axis=-1) for who, xy in answers.items()}
    gain = np.minimum(off[SINGLE], off[MEAN]) - off[FINAL]
    ends = steps.extremes(gain.ravel(), use.ravel())[:2]
    return tuple(divmod(end, truth.shape[1]) for end in ends)


def followed(
    estimator: ClipEstimator,
    windows: Windows,
    rough: Float[Tensor, "n 5 k h w"],
    answers: Answers,
    shown: Int[np.ndarray, "n k"],
    around: Sequence[Float[np.ndarray, "5 _ k 2"]],
) -> tuple[Told, Told]:
    """The joint of `extremes` that OTPose helps and the one that it harms, among those that are
    hidden in the key frame and seen in two others. answers: of `answered`; shown: in how many
    other frames each joint is seen; around: true places of everybody in each window's frames, px of
    the crop, its own person first.
    """
    truth, flags = true_places(windows)
    use = (flags == 1) & (shown >= 2)
    among = f"{use.sum()} joints in {len(windows.pairs)} test clips (synthetic)"
    return tuple(
        Told(
            estimator,
            windows.sample(person),
            look_inside(estimator, rough[[person]]),
            rough[person].float().cpu().numpy(),
            {who: xy[person] for who, xy in answers.items()},
            j,
            around[person],
            among,
        )
        for person, j in extremes(answers, truth, use)
    )


def trick(helped: Told, harmed: Told, **options) -> Stepper:
    """The method step by step, on both joints of `followed`."""
    cases = []
    for told, name in ((helped, "it helps"), (harmed, "it does not")):
        single, mean, ours = (told.away(told.xy[who]) for who in (SINGLE, MEAN, FINAL))
        least = "furthest above" if ours > min(single, mean) else "least below"
        where = "furthest below" if told is helped else least
        rule = (
            f"How this case was found: of {told.among} that are hidden in the frame t and visible "
            f"in two or more other frames, the one whose error with OTPose lies {where} that of "
            f"the better rival: single frame {single:.1f}, mean of five frames {mean:.1f}, OTPose "
            f"{ours:.1f} px."
        )
        cases.append(Case(name, rule, told.steps))
    skeleton = helped.estimator.skeleton
    return Stepper(skeleton, PIPELINE, cases, **{"name": "otpose_steps", **options})


@dataclass(frozen=True, eq=False)
class Told:
    """One joint of one person on the way through OTPose, told in four steps; px of the crop."""

    estimator: ClipEstimator
    window: Window
    inside: Inside
    rough: Float[np.ndarray, "5 k y x"]
    xy: Mapping[str, Float[np.ndarray, "k 2"]]  # by who says it
    j: int
    around: Float[np.ndarray, "5 _ k 2"]  # where everybody is, the person first
    among: str  # whom it was chosen from, in words

    @property
    def steps(self) -> list[Step]:
        told = (self.maps, self.flows, self.transformers, self.answer)
        return [tell(box) for tell, box in zip(told, PIPELINE)]

    @cached_property
    def crops(self) -> list[UInt8[np.ndarray, "h w 3"]]:
        return list(self.window.crops)  # the same arrays, so that a browser gets them once

    @property
    def joint(self) -> str:
        return self.estimator.skeleton.joints[self.j].replace("_", " ")

    @property
    def truth(self) -> Float[np.ndarray, "k 2"]:
        known = self.window.visibility[KEY][:, None] > 0
        return np.where(known, self.window.xy_crop[KEY], np.nan)

    def away(self, xy: Float[np.ndarray, "k 2"]) -> float:
        """How far the joint is from its true place."""
        return float(far(xy, self.truth)[self.j])

    def highest(self, maps: Float[np.ndarray, "k y x"]) -> Float[np.ndarray, "k 2"]:
        """Where maps are highest."""
        return peaks(self.estimator, torch.from_numpy(maps)[None])[0]

    def whom(self, t: int, spot: Float[np.ndarray, "2"]) -> str:
        """The joint whose true place in a frame is nearest."""
        off = np.linalg.norm(self.around[t] - spot, axis=-1)
        who, k = np.unravel_index(np.nanargmin(off), off.shape)
        return bool(who) * "neighbour's " + self.estimator.skeleton.joints[k].replace("_", " ")

    @property
    def heights(self) -> Float[np.ndarray, "5"]:
        """Of the joint's five maps at its true place in the key frame."""
        to_heatmap = self.estimator.model.to_heatmap.cpu().numpy()
        values = self.rough[:, self.j]
        at = np.rint(to_heatmap[:, :2] @ self.truth[self.j] + to_heatmap[:, 2]).astype(int)
        x, y = at.clip(0, np.subtract(values.shape[:0:-1], 1))
        return values[:, y, x]

    def near(self, *points: Float[np.ndarray, "*_ 2"]) -> tuple[float, float, float, float]:
        """A square about points and the joint's true place, a third of the crop wide at least."""
        w, h = self.estimator.model.config.size
        x0, y0, x1, y1 = around(self.truth[self.j], *points, pad=0.1)
        side = min(max(x1 - x0, y1 - y0, w / 3), w)
        corner = np.subtract((x0 + x1, y0 + y1), side) / 2
        corner = corner.clip(-0.5, np.array((w, h)) - 0.5 - side)
        return (*corner.tolist(), *(corner + side).tolist())

    def fan(self, inside: Inside) -> Float[np.ndarray, "9 5"]:
        """`readings` of the middle dilation."""
        model, dilations = self.estimator.model, self.estimator.model.config.dilations
        reads = readings(inside, self.j, dilations, model.to_crop.cpu().numpy())
        return reads[len(dilations) // 2]

    def dot(self, name: str, role: str, xy: Float[np.ndarray, "*p k 2"]) -> People:
        """One joint alone."""
        own = (np.arange(xy.shape[-2]) == self.j)[:, None]
        return People(name, role, np.where(own, xy, np.nan))

    def over(
        self, title: str, values: Float[np.ndarray, "y x"], t: int = KEY, top: float = 0.0, **look
    ) -> Picture:
        """A map over the crop of a frame, from 0 to top, or to its highest value, and where the
        joint is in this frame and in the key frame. Of a box, what lies in it is sent alone.
        """
        model = self.estimator.model
        to_crop = model.to_crop.cpu().numpy().copy()
        low, high = np.reshape(look.get("box", (0, 0, *model.config.size)), (2, 2))
        top = float(f"{top or values.max():.2g}") or 1.0
        scale = to_crop.diagonal()
        free = max(1, int(17 - (high - low)[0] / scale[0]))  # 16 columns are drawn smoothly
        x, y = (np.floor((low - to_crop[:, 2]) / scale).astype(int) - free).clip(0)
        end_x, end_y = np.ceil((high - to_crop[:, 2]) / scale).astype(int) + free
        to_crop[:, 2] += scale * (x, y)
        heat = Heat(values[y:end_y, x:end_x], to_crop, "", 0.0, top)
        dots = [self.dot("truth", "truth", self.around[t, 0]), *look.pop("dots", ())]
        if t != KEY:
            dots.insert(0, self.dot("its place in t", "soft", self.truth))
        seen = [one for one in dots if ((low <= one.xy) & (one.xy <= high)).all(-1).any()]
        return Picture(title, [self.crops[t]], seen, heat=heat, **look)

    def maps(self, box: str) -> Step:
        values = self.rough[:, self.j]
        top, panels, there = float(values.max()), [], self.heights.round(2).tolist()
        whose = [self.whom(t, self.highest(maps)[self.j]) for t, maps in enumerate(self.rough)]
        for t, frame in enumerate(FRAMES):
            panels.append(
                self.over(f"{frame}: {there[t]:.2f} here; top: {whose[t]}", values[t], t, top)
            )
        joint = self.joint
        words = (
            f"The {joint} is hidden in frame t. The single frame draws a map of it in each "
            "frame, all on one scale. Adding works place by place. So look at one place in all "
            "five frames: where the joint is in t (grey dot; in t the truth). Each title says how "
            "high that frame's map is there, and on which joint its top lies."
        )
        equation = r"H_{t-2} \quad H_{t-1} \quad {\color{detector} H_t} \quad H_{t+1} \quad H_{t+2}"
        high = [t for t, who in enumerate(whose) if who == joint and there[t] > there[KEY]]
        high = " and ".join(FRAMES[t] for t in high) or "no other frame"
        title = f"Frame t misses it; only {high} tops at the {joint} and is higher here than t"
        if whose[KEY] == joint:
            wrong = sum(who != joint for who in whose)
            title = f"Frame t hits it; {wrong} of 4 others are highest at another joint"
        return Step(title, words, box, panels, equation)

    def flows(self, box: str) -> Step:
        panels, off = [], {}
        for name in ("flow.prev", "flow.total", "mask.total"):
            maps = self.inside.taps[name][0]
            spot = self.highest(maps)
            off[name] = self.away(spot)
            dots = [self.dot("highest place", "rival", spot)]
            title = f"{name.replace('.', ' ')}: {off[name]:.1f} px off"
            panels.append(self.over(title, maps[self.j], dots=dots))
        words = (
            "All five maps are added up to the total flow; t and the two before it to prev, in "
            "which far frames count less. The highest place of the total is the answer of a rival "
            'that costs nothing, "mean of five frames". A mask is a flow times all joints\' summed '
            "total flows: high where joints overlap. Nothing is learned so far."
        )
        equation = (
            r"F_{prev} = {\color{detector} H_t} + \tfrac{1}{2} H_{t-1} + \tfrac{1}{3} H_{t-2} "
            r"\qquad F_{total} = \sum_i H_i \qquad M_k = F_k \otimes \sum_{j} F_{total}^{\,j}"
        )
        return Step("Maps are added up", words, box, panels, equation)

    def transformers(self, box: str) -> Step:
        shares = heard(attention_maps(self.estimator, self.inside), self.j)
        names = self.estimator.skeleton.joints
        bars = [Bar(*bar) for bar in zip(names, (100 * shares).tolist(), ["ours"] * len(names))]
        rough = torch.from_numpy(self.rough)[None].to(self.estimator.device)
        alike = look_inside(self.estimator, rough, (), edit={"branch.*.map": uniform()})
        fan = self.fan(self.inside)
        ends = fan[:, :4].reshape(-1, 2)
        where = {"box": around(ends, self.truth[self.j], self.xy[FINAL][self.j]), "wide": 1.4}
        dots = [self.dot(FINAL, "ours", self.xy[FINAL])]
        panels = [
            Bars(f"whom the {self.joint} listens to, %", "%", bars, wide=1.2),
            self.over(
                f"enlarged at the {self.joint}: where the sum is read",
                self.inside.taps["flow.total"][0, self.j],
                **where,
                dots=dots,
                arrows=drawn(fan),
            ),
        ]
        single, mean, ours = (self.away(self.xy[who]) for who in (SINGLE, MEAN, FINAL))
        same = self.away(alike.xy_crop[0])
        more = "the sum" if abs(mean - single) > abs(same - ours) else "attention"
        words = (
            "A token is one map of one joint, so joints ask joints, in past and future: the "
            f"{self.joint} listens most to the {names[int(shares.argmax())].replace('_', ' ')} "
            f"({shares.max():.0%}). What comes out is no picture of the joint: it moves the nine "
            "places where the sums are read (grey dots) along arrows; a thick one counts more. "
            "In this case "
            f"attention all alike gives {same:.1f} instead of {ours:.1f} px, adding up frames "
            f"{mean:.1f} instead of {single:.1f}: {more} matters more."
        )
        equation = r"{\color{ours} \mathrm{softmax}\Big(\frac{QK^T}{\sqrt{D}}\Big)} V"
        return Step("Joints ask joints where to read", words, box, panels, equation)

    def answer(self, box: str) -> Step:
        roles = {SINGLE: "detector", MEAN: "rival", FINAL: "ours"}
        *rivals, ours = off = [self.away(self.xy[who]) for who in roles]
        bars = [Bar(who, value, role) for (who, role), value in zip(roles.items(), off)]
        dots = [self.dot(who, role, self.xy[who]) for who, role in roles.items()]
        dots.append(self.dot("truth", "truth", self.truth))
        means = {who: np.nanmean(far(self.xy[who], self.truth)) for who in roles}
        told = ", ".join(f"{who} {value:.1f} px" for who, value in means.items())
        box_ = self.near(*(self.xy[who][self.j] for who in roles))
        crop = [self.window.crops[KEY]]
        panels = [
            self.over("the answer P, a map", self.inside.heatmaps[0, self.j]),
            Picture(f"the {self.joint}, enlarged", crop, dots, box=box_, wide=1.5),
            Bars(f"{self.joint}, px from the truth", "px", bars, wide=1.2),
        ]
        words = (
            "Convolutions mix the total flows of all joints, and read the mixture at the moved "
            "places. That makes the map P; its highest place is OTPose's answer. Mean error of all "
            f"this person's joints: {told}."
        )
        equation = r"P = {\color{ours} \mathrm{Refine}}(F_{total};\, \phi_{prev}, \phi_{sub})"
        rival = min(rivals)
        title = f"{[*roles][off.index(rival)]} {rival:.1f} px, {FINAL} {ours:.1f} px"
        return Step(title, words, box, panels, equation)


def drawn(reads: Float[np.ndarray, "9 5"]) -> list[Arrows]:
    """Of `readings`: where they start, and arrows, the thicker the more a place counts."""
    starts = np.column_stack((reads[:, :2], reads[:, :2], np.full(len(reads), 2.0)))
    wide = 1 + 4 * reads[:, 4:] / max(reads[:, 4].max(), 1e-9)
    return [Arrows("ours", np.hstack((reads[:, :4], wide)), "read instead"), Arrows("soft", starts)]


# --- the adding machine ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Added:
    """Some frames of five; px of the crop."""

    total: Float[np.ndarray, "y x"]
    xy: Mapping[str, Float[np.ndarray, "k 2"]]  # by who says it


class AddingMachine(Explorer):
    """Frames switched on and off: where the sum of a joint's heatmaps is highest, and, with all
    five, where OTPose sees the joint. Pictures are enlarged about the joint, and brighter.
    """

    def __init__(self, told: Told, **options):
        self.told = told
        self.crops = [(255 * (c / 255) ** 0.6).astype(np.uint8) for c in told.window.crops]
        spots = [told.highest(maps)[told.j] for maps in told.rough]
        found = (xy[told.j] for xy in told.xy.values())
        self.box = told.near(*spots, *told.around[:, 0, told.j], *found)
        x0, y0, x1, y1 = np.rint(self.box).astype(int).clip(0)
        self.whole = self.crops[KEY].copy()
        self.whole[y0 : y1 + 1, x0 : x1 + 1][[0, -1]] = 255
        self.whole[y0 : y1 + 1, x0 : x1 + 1][:, [0, -1]] = 255
        super().__init__(told.estimator.skeleton, **{"name": "adding", **options})

    def declare(self) -> list[Control]:
        return [switch(frame, True) for frame in FRAMES]

    def compute(self, state: Mapping) -> Added:
        on = np.array([state[frame] for frame in FRAMES], np.float32)
        maps = self.told.rough * on[:, None, None, None]
        total = maps.sum(0)
        given = torch.from_numpy(maps)[None].to(self.told.estimator.device)
        found = {"their sum": self.told.highest(total)}
        if on.all():  # it never learned with fewer
            found[FINAL] = look_inside(self.told.estimator, given, ()).xy_crop[0]
        known = {who: xy if on.any() else np.full_like(xy, np.nan) for who, xy in found.items()}
        return Added(total[self.told.j], known)

    def draw(self, state: Mapping, found: Added) -> Tabs:
        told, row = self.told, []
        top = float(told.rough[:, told.j].max())
        for t, frame in enumerate(FRAMES):
            title = (
                f"{frame}, {told.heights[t]:.2f} at the joint" if state[frame] else f"{frame}: off"
            )
            others = [told.dot("of others", "ink", told.around[t, 1:])]
            one = told.over(title, told.rough[t, told.j], t, top, box=self.box, dots=others)
            heat = one.heat if state[frame] else None
            row.append(replace(one, frames=[self.crops[t]], heat=heat))
        look = {"their sum": "rival", FINAL: "ours"}
        dots = [told.dot(who, look[who], xy) for who, xy in found.xy.items()]
        total = told.over("their sum, on t", found.total, dots=dots, box=self.box, wide=1.4)
        off = {**found.xy, "single frame t": told.xy[SINGLE]}
        bars = [Bar(who, told.away(xy), look.get(who, "detector")) for who, xy in off.items()]
        ends = 0, told.estimator.model.config.size[0]  # one scale for every choice
        errors = Bars(f"{told.joint}, px off", "px", bars, range=ends, wide=1.6)
        total = replace(total, frames=[self.crops[KEY]])
        return {"": [row, [Picture("t, whole; box: enlarged", [self.whole]), total, errors]]}

    def say(self, state: Mapping, found: Added) -> str:
        on = [frame for frame in FRAMES if state[frame]]
        if not on:
            return "No frame is on: there is nothing to add up."
        told, (spot, *ours) = self.told, found.xy.values()
        return (
            f"{' + '.join(on)}: the sum is highest {told.away(spot):.1f} px from the {told.joint} "
            f"(nearest joint there: {told.whom(KEY, spot[told.j])})."
        ) + "".join(f" {FINAL}, given all five: {told.away(xy):.1f} px." for xy in ours)

    def asks(self) -> Iterable[Mapping]:
        return (dict(zip(FRAMES, on)) for on in product((True, False), repeat=len(FRAMES)))


# --- the reading ----------------------------------------------------------------------------------

SHIFT, ALIKE = "offsets", "attention alike"


class Reading(Explorer):
    """The places where the sum is read, moved by nothing up to the learned offsets, and attention
    as it is or alike. told: by the names of the cases.
    """

    def __init__(self, told: Mapping[str, Told], **options):
        self.told = told
        kin = next(iter(told.values())).estimator.skeleton
        super().__init__(kin, **{"name": "otpose_reading", **options})

    def declare(self) -> list[Control]:
        shift = number(SHIFT, 0.0, 1.0, step=0.25, label="offsets: 0 to learned")
        return [shift, switch(ALIKE), choice("case", self.told)]

    def compute(self, state: Mapping) -> Inside:
        told = self.told[state["case"]]
        rough = torch.from_numpy(told.rough)[None].to(told.estimator.device)
        edit = {"refine.offsets": lambda x: state[SHIFT] * x}
        edit |= {"branch.*.map": uniform()} if state[ALIKE] else {}
        return look_inside(told.estimator, rough, ["flow.total", "refine.*"], edit=edit)

    def draw(self, state: Mapping, found: Inside) -> Tabs:
        for told in self.told.values():
            self._number(told.crops[KEY])
        told = self.told[state["case"]]
        fan, near = (told.fan(each) for each in (found, told.inside))
        box = around(near[:, :4].reshape(-1, 2), told.truth[told.j], told.xy[FINAL][told.j])
        dots = [told.dot(FINAL, "ours", found.xy_crop[0])]
        look = {"dots": dots, "box": box}
        total, answer = (each[0, told.j] for each in (found.taps["flow.total"], found.heatmaps))
        off = {**told.xy, "OTPose, learned": told.xy[FINAL], FINAL: found.xy_crop[0]}
        roles = {SINGLE: "detector", MEAN: "rival", FINAL: "ours"}
        bars = [Bar(who, told.away(xy), roles.get(who, "soft")) for who, xy in off.items()]
        row = [
            told.over("where the sum is read", total, arrows=drawn(fan), **look),
            told.over("what is read: the answer P", answer, **look),
            Bars(f"{told.joint}, px off", "px", bars),
        ]
        return {"": [row]}

    def say(self, state: Mapping, found: Inside) -> str:
        told = self.told[state["case"]]
        mean, ours = (told.away(xy) for xy in (told.xy[MEAN], found.xy_crop[0]))
        return (
            f"The sum is highest {mean:.1f} px from the {told.joint}. Read with "
            f"{state[SHIFT]:.0%} of the learned offsets{', attention alike' * state[ALIKE]}: "
            f"{step(mean, ours)}."
        )

    def asks(self) -> Iterable[Mapping]:
        for case, alike, i in product(self.told, (False, True), range(5)):
            yield {"case": case, ALIKE: alike, SHIFT: i / 4}


# --- explorer -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Person:
    """Five crops as they are, and what is known of the key frame; px of the crop."""

    frames: list[UInt8[np.ndarray, "h w 3"]]
    truth: Float[np.ndarray, "k 2"]
    flags: Int[np.ndarray, "k"]  # 0 where nobody knows, 2 where nothing is said about occlusion
    rough: Float[Tensor, "5 k y x"]  # the single frame's heatmaps


@dataclass(frozen=True, eq=False)
class Passed:
    """A person on the way through OTPose; px of the crop."""

    person: Person
    flags: Int[np.ndarray, "k"]  # under the paint
    rough: Float[np.ndarray, "5 k y x"]  # the single frame's heatmaps, as OTPose gets them
    inside: Inside
    xy: dict[str, Float[np.ndarray, "k 2"]]
    plain: Inside  # where nothing is changed
    looks: dict  # of the attention view


class OTPoseExplorer(Compared):
    """One person: paint over the five frames, make the single frame worse, take joints or heads
    out, and see what follows.

    estimator: OTPose. windows: people in five frames. options: of `Compared`; a rival has the same
    configuration.
    The backbone runs once a person, and again for frames that are painted over. Errors:
    `BadParameter` for attention that is not from channel to channel.
    """

    has_attention = True
    stores_attention = False

    def __init__(self, estimator: ClipEstimator, windows: Windows, **options):
        self.estimator = estimator
        self.config = estimator.model.config
        self.windows = windows
        self.to_crop = estimator.model.to_crop.cpu().numpy()
        self.maps = [n for n in tap_table(estimator.model) if n.split(".")[0] in MAPS]
        # each holds its last answer
        self.person = lru_cache(1)(self.read)
        self.seen = lru_cache(1)(self.under_paint)
        self.plain = lru_cache(1)(self.unchanged)
        self.passed = lru_cache(1)(self.answered)
        options |= {"name": "otpose", "last_frame": len(FRAMES) - 1}
        super().__init__(estimator, len(windows), **options)
        if "attention" not in (options.get("state") or ""):
            focus = self.kin.index(self.state["joint"])
            self.attention.restore({"fold": "joint", "focus": focus})

    def check(self) -> None:
        if self.config.window is not None or self.config.split_joints:
            raise BadParameter(
                "attention is not from channel to channel", remedy="window=None, split_joints=False"
            )

    def declare(self) -> list[Control]:
        w, h = self.config.size
        size, *paint = brush_controls(max(w // 4, 4), max(w, h), "this frame")
        return [
            number("person", self.first, len(self.windows) - 1, more=True),
            self.joints(needs="drawing"),
            replace(size, needs="nothing"),  # of the next stroke
            *paint,
            choice("map", self.maps, "mask.total", needs="drawing", more=True),
            number("degrade", 0, 1, step=0.05, more=True, label="blur all frames"),
            number("distance", 1, 2, step=0.25, more=True, label="distance x"),
            choice("answered by", self.models, more=True),
            opacity(0.85),
            collected("hidden", range(len(self.kin))),
            collected("knocked out", heads_of(attention_taps(self.estimator), self.config.heads)),
        ]

    # --- computed ---------------------------------------------------------------------------------

    def heatmaps(self, crops: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "t k y x"]:
        """What the single-frame estimator sees."""
        images = normalised(torch.from_numpy(crops)).to(self.estimator.device)
        with self.estimator.inference():
            return self.estimator.model.maps(images).float()

    def read(self, index: int) -> Person:
        self.forget_pictures()
        window = self.windows.sample(index)
        flags = window.visibility[KEY] * self.labelled
        if not occlusion_known(self.windows, index):
            flags = np.where(flags > 0, 2, 0)
        rough = self.heatmaps(window.crops)
        return Person(list(window.crops), window.xy_crop[KEY], flags, rough)

    def under_paint(self, index: int, brush: str) -> tuple[Tensor, np.ndarray]:
        """The single frame's heatmaps, and the flags of the key frame."""
        person, mask = self.person(index), covered(json.loads(brush), self.config.size, len(FRAMES))
        rough, at = person.rough.clone(), np.flatnonzero(mask.any((1, 2)))
        if len(at):
            rough[at] = self.heatmaps(np.stack(painted(person.frames, mask))[at])
        return rough, cover(person.flags, person.truth, mask[KEY])

    def unchanged(self, index: int, by: str) -> Inside:
        return look_inside(self.models[by], self.person(index).rough[None], self.maps)

    def compute(self, state: Mapping) -> Passed:
        asked = {name: state[name] for name, of in self.declared.items() if of.needs == "model"}
        return self.passed(json.dumps(asked))

    def answered(self, asked: str) -> Passed:
        """asked: the part of a state that takes the model, as JSON."""
        state = json.loads(asked)
        index, by = state["person"], state["answered by"]
        rough, flags = self.seen(index, json.dumps(state["brush"]))
        used = degraded(rough[None], state["degrade"]).clone()
        used[:, :, state["hidden"]] = 0
        look = {
            "names": [*self.maps, "branch.*.map", "refine.*"],
            "distance": state["distance"] * self.estimator.model.distance[None].to(used),
            "edit": without_heads(state["knocked out"], attention_taps(self.estimator)),
        }
        insides = {name: look_inside(model, used, **look) for name, model in self.models.items()}
        inside = insides[by]
        maps, other = (attention_maps(self.estimator, each) for each in insides.values())
        looks = {
            "maps": maps,
            "other": other,
            "axes": attention_axes(self.estimator),
            "names": tuple(insides),
            "skeleton": self.kin,
            "xy": inside.xy_crop[0],
            "hidden": state["hidden"],
            "knocked_out": state["knocked out"],
        }
        xy = {SINGLE: peaks(self.estimator, used[:, KEY])[0], FINAL: inside.xy_crop[0]}
        plain = self.plain(index, by)
        return Passed(self.person(index), flags, used[0].cpu().numpy(), inside, xy, plain, looks)

    # --- drawn ------------------------------------------------------------------------------------

    def heat(self, values: Float[np.ndarray, "y x"], usual: np.ndarray, signs: bool) -> Heat:
        """A map on a scale that ends where it is highest as long as nothing is changed."""
        top = float(f"{abs(usual).max():.2g}") or 1.0
        return Heat(values, self.to_crop, "", -top if signs else 0.0, top, signs)

    def draw(self, state: Mapping, found: Passed) -> Tabs:
        j = self.kin.index(state["joint"])
        frames, flags = found.person.frames, found.person.flags
        people = self.people(state, found)
        who = people[0 if flags[j] else -1]  # on the chosen joint's maps
        own = np.where((np.arange(len(who.xy)) == j)[:, None], who.xy, np.nan)
        dots = [replace(who, xy=own, marks=None)]

        def over(name: str, title: str = "", arrows: Sequence[Arrows] = ()) -> Picture:
            maps = (inside.taps[name][0, j] for inside in (found.inside, found.plain))
            heat = self.heat(*maps, name.startswith("phi"))
            return Picture(title or name.replace(".", " "), frames, dots, heat, arrows, at=KEY)

        rim = [KEY] * bool(flags.any())
        usual = found.person.rough[:, j].cpu().numpy()
        row = []
        for t, frame in enumerate(FRAMES):
            heat = self.heat(found.rough[t, j], usual, False)
            row.append(Picture(frame, frames, heat=heat, at=t, brush=True, rim=rim))
        key = Picture("t: click a joint", frames, people, at=KEY, wide=1.2, click=Click("joint"))
        flows, masks = ([over(f"{what}.{kind}") for kind in FLOWS] for what in ("flow", "mask"))
        psi = [over(name) for name in self.maps if name == "psi"]
        offsets = []
        reads = readings(found.inside, j, self.config.dilations, self.to_crop)
        seen = found.xy[FINAL][j]
        size = self.config.size[0] / 6
        for dilation, ends in zip(self.config.dilations, reads):
            one = over("flow.total", f"{dilation} cells apart", drawn(ends))
            shown = around(seen - size, seen + size, reads[..., 2:4], pad=0.05)
            offsets.append(replace(one, box=shown))
        return {
            "answer": [row, [key, over(state["map"]), self.changes(found)]],
            "flows and masks": [[*flows, *psi], [*masks, over("out")]],
            "offsets": [offsets],
        }

    def people(self, state: Mapping, found: Passed) -> list[People]:
        """Truth, single frame, and OTPose."""
        rival = state["answered by"] != self.names[0]
        roles = {SINGLE: "detector", FINAL: "rival" if rival else "ours"}
        people = [People(who, roles[who], xy, small=True) for who, xy in found.xy.items()]
        if found.person.flags.any():
            marks = marks_of(found.flags, found.person.flags)
            people.insert(0, People("truth", "truth", found.person.truth, marks, small=True))
        return people

    def changes(self, found: Passed) -> Bars:
        """Of all joints: how much nearer OTPose is than the single frame; without truth, how far
        from it.
        """
        use, (single, answer) = found.person.flags > 0, found.xy.values()
        title, low = f"moved, {SINGLE} → {FINAL}, px", 0
        values = far(answer, single)
        if use.any():
            title = f"how much nearer {FINAL} is than the {SINGLE}, px; ✕: hidden"
            low = -1
            gain = far(single, found.person.truth) - far(answer, found.person.truth)
            values = np.where(use, gain, np.nan)
        end = max(self.config.size[0] / 4, np.nanmax(abs(values)))
        marks = np.where(found.flags == 1, "✕", "").tolist()
        roles = np.where(values < 0, "detector", "ours").tolist()  # whoever is nearer
        look = {"range": (low * end, end), "click": Click("joint"), "wide": 3.0}
        return self.bars(title, "px", values, roles, marks, **look)

    def say(self, state: Mapping, found: Passed) -> str:
        joint = state["joint"]
        j, use = self.kin.index(joint), found.person.flags > 0
        single, answer = found.xy.values()
        if not use.any():
            moved = far(answer, found.plain.xy_crop[0])
            return (
                f"{FINAL} puts {joint} {far(answer, single)[j]:.1f} px from the single frame's "
                f"place; what you changed moves it by {moved[j]:.1f} px, all joints by "
                f"{moved.mean():.1f} px on average."
            )
        told = (single, answer, found.plain.xy_crop[0])
        before, after, plain = (far(xy, found.person.truth) for xy in told)
        said, yours = f"{joint} has no label", ""
        if use[j]:
            said = f"{'hidden ' * int(found.flags[j] == 1)}{joint} {step(before[j], after[j])}"
            yours = f"{joint} {step(plain[j], after[j])}, "
        mine = f"What you changed: {yours}all joints {(after - plain)[use].mean():+z.1f} px. "
        return (
            f"{mine * bool((answer != found.plain.xy_crop[0]).any())}"
            f"Error, {SINGLE} → {FINAL}: {said}; all labelled joints "
            f"{step(before[use].mean(), after[use].mean())}."
        )

    def asks(self) -> Iterable[Mapping]:
        """The other joints, and patches in every frame: on a grid of two by three, and where the
        single frame sees the joint that is shown first.
        """
        yield from self.each("joint")
        w, h = self.config.size
        for t in range(len(FRAMES)):
            yield from patch_grid((w, h), self.state["size"], (w / 2, h / 3), (t, t))
        j = self.kin.index(self.state["joint"])
        yield from ({"brush": [one]} for one in spots(self, self.state["person"], j).values())


# --- an exercise in the explorer ------------------------------------------------------------------


def spots(explorer: OTPoseExplorer, index: int, joint: int) -> dict[int, dict]:
    """For each frame but t a square over the place where the single frame sees a joint there."""
    xy = peaks(explorer.estimator, explorer.person(index).rough)[:, joint].tolist()
    size = explorer.config.size[0] // 4
    return {t: patch(*xy[t], size, (t, t)) for t in range(len(FRAMES)) if t != KEY}


def lost(explorer: OTPoseExplorer, index: int, joint: int) -> Callable[[Mapping, Passed], float]:
    """The score of an exercise in the explorer: how far OTPose puts a joint of a person, px of the
    crop; NaN where the key frame or several frames are painted over, or anything else is changed.
    """
    usual = {name: explorer.declared[name].value for name in ("degrade", "distance", "hidden")}
    usual |= {"person": index, "knocked out": [], "answered by": explorer.names[0]}

    def measure(state: Mapping, found: Passed) -> float:
        spans = {tuple(stroke["frames"]) for stroke in state["brush"]}
        allowed = len(spans) < 2 and all(first == last != KEY for first, last in spans)
        if not allowed or any(state[name] != value for name, value in usual.items()):
            return float("nan")
        return float(far(found.xy[FINAL], found.person.truth)[joint])

    return measure
