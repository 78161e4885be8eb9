"""STDPose between labelled frames: its mask, where its heatmap tokens look, who fills a gap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from ... import geometry, propagate
from ...data.windows import Window, Windows
from ...errors import BadParameter
from ...models.stdpose import PATCH, DynamicAwareMask
from ...predict import Propagator
from ...predict.between import (
    PARTS,
    Seen,
    blanked,
    errors,
    even,
    everywhere,
    exchanged,
    scales,
    see,
    squares,
    token_at,
    token_grid,
)
from ...records import Detections
from ...taps import tap_table, without_heads
from .. import estimates, steps, style
from ..attention import Axis
from ..estimates import FLOW, LINE, SINGLE, Edits, Inside
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
    switch,
)
from ..panels import (
    Bar,
    Bars,
    Click,
    Heat,
    Lines,
    People,
    Picture,
    Tabs,
    around,
    marks_of,
)
from ..stage import Answers, Played, Scene, Stage, apart, brush_controls, covered, patch
from ..steps import Case, Step, Stepper

FINAL = "STDPose"
FRAMES = ("left", "key", "right")
# which labels are told -> whether the left one is, and the right one
TOLD = {
    "both labels": (1, 1),
    "the left one": (1, 0),
    "the right one": (0, 1),
    "none (estimation)": (0, 0),
}
CROSS = "stda.blocks.{}.cross_attention.attention.map"
Number = float | int
# T -> windows, and by name what fills them
Carried = Mapping[int, tuple[Windows, Mapping[str, Detections]]]


# --- what the network does ------------------------------------------------------------------------


def look_inside(
    propagator: Propagator,
    seen: Seen,
    names: Sequence[str] | None = None,
    *,
    told: Sequence[int] = (1, 1),
    edit: Edits | None = None,
) -> Inside:
    """Everything behind the backbone. names: taps, None for all; told: whether the left and the
    right label are given; edit: as in `taps.record`.
    """
    model = propagator.model
    known = seen["auxiliary_weights"]
    if names is None:
        names = [name for name in tap_table(model) if not name.startswith("backbone.")]
    known = known * torch.tensor(told, dtype=known.dtype, device=known.device)[:, None]
    return estimates.looked(propagator, names, edit, **{**seen, "auxiliary_weights": known})


# --- what is carried ------------------------------------------------------------------------------


def carry_all(
    propagator: Propagator, single: Propagator, windows: Windows
) -> dict[str, Detections]:
    """The poses between labels by everybody; single: sees no labels and no other frames."""
    return {
        LINE: propagate.linear(windows),
        FLOW: propagate.farneback(windows, progress=False),
        SINGLE: single.carry(windows, given=False),
        FINAL: propagator.carry(windows),
    }


def dimmed(crop: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Dark and grey, so that maps stand out on it."""
    return np.repeat(crop.mean(-1, keepdims=True) / 2, 3, -1).astype(np.uint8)


# --- the trick in one screen ----------------------------------------------------------------------

PIPELINE = ("maps of three frames", "mask and merging", "token attention", "answer")
RIVALS = (LINE, FLOW, SINGLE)
SHORT = {LINE: "line", FLOW: "flow", SINGLE: "single"}  # where there is little room
WAYS = ("further off", "nearer")
CHEAP = (LINE, FLOW)  # what fills a gap without any training
Place = tuple[int, int]  # window, joint


def extremes(windows: Windows, filled: Mapping[str, Detections]) -> tuple[Place, Place]:
    """The joint that STDPose helps most and the one that it harms most against the best rival,
    among those that both labels and the key frame know. filled: of `carry_all`.
    """
    off = {who: errors(windows, filled[who]) for who in (*RIVALS, FINAL)}
    gain = np.min([off[who] for who in RIVALS], 0) - off[FINAL]
    use = np.isfinite(gain) & (filled[LINE].confidence == 1)
    ends = steps.extremes(gain.ravel(), use.ravel())[:2]
    return tuple(divmod(end, gain.shape[1]) for end in ends)


def gap_picture(
    windows: Windows, filled: Mapping[str, Detections], place: Place
) -> tuple[Picture, Float[np.ndarray, "2"], dict[str, Float[np.ndarray, "2"]]]:
    """Three frames cut about a joint and all answers: at the left two with their labels, half as
    large, then the key frame without any; there the joint's true place, and where everybody puts
    it, px.
    """
    row, j = place
    pair, n, _ = windows.items[row].tolist()
    track = windows.pairs[pair][0].tracks[n]
    times = windows.frames_of(row).tolist()
    frames = [windows.frame(pair, t) for t in times]
    everybody = {who: filled[who].xy_frame[row, j] for who in (*RIVALS, FINAL)}
    size = frames[0].shape[1::-1]
    box = np.array(around(track.xy_frame[times, j], *everybody.values(), pad=0.6)).reshape(2, 2)
    start, end = box.round().astype(int).clip(0, size)
    (x0, y0), (w, h) = start, (end - start) // 2  # of the smaller ones
    before, key, after = (f[y0 : y0 + 2 * h, x0 : x0 + 2 * w] for f in frames)
    halves = [f.reshape(h, 2, w, 2, 3).mean((1, 3)) for f in (before, after)]
    halves[0][-1] = 255
    sides = np.pad(np.vstack(halves), ((0, 0), (0, 2), (0, 0)), constant_values=255)
    at = np.array([(0, 0), (w + 2, 0), (0, h)], np.float32)
    poses = track.xy_frame[times] - start
    known = (track.visibility[times] > 0) & ((poses > 0) & (poses < (2 * w, 2 * h))).all(-1)
    labels = np.where(known[..., None], poses / 2 + at[:, None], np.nan)[::2]
    notes = [{"at": xy.tolist(), "words": "", "ring": 9} for xy in labels[:, j]]
    title = f"frames {times[0]} and {times[2]} with labels, and frame {times[1]}, enlarged"
    people = [People("labels", "truth", labels, small=True)]
    whole = np.hstack((sides.astype(np.uint8), key))
    picture = Picture(title, [whole], people, notes=notes, wide=3)
    return picture, poses[1, j] + at[1], {n: xy - start + at[1] for n, xy in everybody.items()}


def trick(
    propagator: Propagator,
    windows: Windows,
    filled: Mapping[str, Detections],
    show: Sequence[str] = ("it helps", "it does not"),
    **options,
) -> Stepper:
    """The method step by step, on the joint of `extremes` that it helps and on the one that it
    harms. filled: of `carry_all`; show: which of the two.
    """
    off = {who: errors(windows, filled[who]) for who in (*RIVALS, FINAL)}
    cases = []
    for (row, j), name in zip(extremes(windows, filled), ("it helps", "it does not")):
        if name not in show:
            continue
        *rivals, ours = (off[who][row, j] for who in (*RIVALS, FINAL))
        where = "above" if ours > min(rivals) else "below"
        told = ", ".join(f"{who} {off[who][row, j]:.1f}" for who in off)
        rule = (
            f"How this case was found: of all joints that both labels know, in {len(windows)} "
            f"windows (one person in one unlabelled frame) of {len(windows.pairs)} test clips "
            f"(synthetic), the one whose error with STDPose lies furthest {where} that of the best "
            f"rival: {told} px of the picture."
        )
        cases.append(Case(name, rule, Told.of(propagator, windows, filled, row, j).steps))
    return Stepper(propagator.skeleton, PIPELINE, cases, **{"name": "stdpose_steps", **options})


@dataclass(frozen=True, eq=False)
class Told:
    """One window on the way through STDPose, told in four steps; places are px of the crop, errors
    px of the picture.
    """

    propagator: Propagator
    window: Window
    seen: Seen  # and of somebody else: of the window half of all windows further on
    inside: Inside
    xy: Mapping[str, Float[np.ndarray, "k 2"]]  # by who says it
    j: int  # the joint that is followed
    scale: Float[np.ndarray, "2"]  # px of the crop a px of the picture

    @classmethod
    def of(
        cls,
        propagator: Propagator,
        windows: Windows,
        filled: Mapping[str, Detections],
        row: int,
        j: int,
    ) -> Told:
        seen = see(propagator, windows, [row, (row + len(windows) // 2) % len(windows)])
        affine = windows.affines()[[row]]
        xy = {
            who: geometry.apply(affine, filled[who].xy_frame[[row]])[0] for who in (*RIVALS, FINAL)
        }
        inside = look_inside(propagator, seen)
        scale = np.diag(affine[0][:, :2])  # across and down: boxes are cut to whole px
        return cls(propagator, windows.sample(row), seen, inside, xy, j, scale)

    @property
    def steps(self) -> list[Step]:
        told = (self.maps, self.mask, self.attention, self.answer)
        return [tell(box) for tell, box in zip(told, PIPELINE)]

    @property
    def joint(self) -> str:
        return self.propagator.skeleton.joints[self.j].replace("_", " ")

    @property
    def truth(self) -> Float[np.ndarray, "3 k 2"]:
        """NaN where nothing is labelled."""
        known = self.window.visibility[..., None] > 0
        return np.where(known, self.window.xy_crop, np.nan)

    def away(self, xy: Float[np.ndarray, "k 2"]) -> float:
        """How far the followed joint is from its true place."""
        return float(self.off(xy)[self.j])

    def off(self, xy: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "k"]:
        return far(xy / self.scale, self.truth[1] / self.scale)

    def dot(self, name: str, role: str, xy: Float[np.ndarray, "k 2"]) -> People:
        """One joint alone."""
        own = (np.arange(len(xy)) == self.j)[:, None]
        return People(name, role, np.where(own, xy, np.nan))

    def over(
        self, title: str, values: np.ndarray, t: int = 1, low: float = 0, high: float = 0, **look
    ) -> Picture:
        """A map over the crop of one of the three frames, by default to its highest value, with the
        true place of the joint.
        """
        to_crop = self.propagator.model.to_crop.double().cpu().numpy()
        high = high or float(f"{values.max():.2g}") or 1.0
        heat = Heat(values, to_crop, "", low, high, diverging=low < 0)
        place = self.dot("truth", "truth", self.truth[t])
        return Picture(title, [self.window.crops[t]], [place], heat=heat, **look)

    def maps(self, box: str) -> Step:
        frames = self.window.frames.tolist()
        values = self.inside.taps["frames"][0, :, self.j]
        flags = self.window.visibility[1]
        hidden, labelled = (flags == 1).sum(), (flags > 0).sum()
        kinds = ("label", "estimated", "label")
        panels = [self.over(f"frame {frames[t]}, {kinds[t]}", values[t], t) for t in range(3)]
        words = (
            f"Frames {frames[0]} and {frames[2]} are labelled, frame {frames[1]} is not; there "
            f"{hidden} of {labelled} joints are hidden. Each gives a map of the {self.joint}: at "
            "the sides a hill on the label, in the middle what an estimator of single pictures "
            f"believes (the single frame): {self.away(self.xy[SINGLE]):.1f} px off. A straight "
            f"line from label to label is {self.away(self.xy[LINE]):.1f} px off; optical flow, "
            f"which follows the pixels from both labels, {self.away(self.xy[FLOW]):.1f} px."
        )
        equation = r"{\color{truth} H_l} \qquad {\color{detector} H_t} \qquad {\color{truth} H_r}"
        return Step("Two labels, and a frame without one", words, box, panels, equation)

    def mask(self, box: str) -> Step:
        residual = self.inside.taps["dam.residual"][0, :, self.j]
        mask = self.inside.taps["dam.out"][0]
        times = mask * mask.size
        own = self.propagator.model.config.dam_reads == "own"
        role = "detector" if own else "truth"
        words = (
            "Convolutions merge the three maps. A mask is laid on the result: of all joints' "
            "differences between the frames' maps one mask is made, here from "
            f"{times.min():.2f} to {times.max():.2f} times an even one."
        )
        moves = float(np.abs(residual[0]).max()) or 1.0
        top = float(f"{max(2.0, times.max()):.2g}")
        panels = [
            self.over("middle minus left", residual[0], low=-moves, high=moves),
            self.over(f"mask, 0 to {top:g} × even", times, high=top),
        ]
        equation = (
            r"{\color{ours} M_t} = \mathrm{softmax}\Big(\mathrm{Conv}\big(\mathrm{Sig}_m("
            r"{\color{detector} H_t} - {\color{" + role + r"} H_{l,r}})\big)\Big) \qquad "
            r"\tilde{H}_t \odot {\color{ours} M_t}"
        )
        return Step("Maps are merged, and a mask is laid on them", words, box, panels, equation)

    def attention(self, box: str) -> Step:
        model, ours = self.propagator.model, self.inside
        token = int(token_at(model, ours.xy_crop[0])[self.j])
        taken = ours.taps[CROSS.format(model.config.blocks - 1)][0, :, token].mean(0)
        patches = np.array([[PATCH, 0, (PATCH - 1) / 2], [0, PATCH, (PATCH - 1) / 2]])
        shares = 100 * taken.reshape(token_grid(model)[::-1])
        heat = Heat(shares, patches, "", 0, float(f"{shares.max():.2g}"))
        blank = blanked(np.ones((1, len(taken)), bool))
        blind = look_inside(self.propagator, self.seen, (), edit=blank)
        off = [self.away(each.xy_crop[0]) for each in (blind, ours)]
        title = f"where it looks, up to {shares.max():.2g} % a patch"
        truth = self.dot("truth", "truth", self.truth[1])
        panels = [
            self.over(f"maps ask a blank: {off[0]:.1f} px off", blind.heatmaps[0, self.j]),
            Picture(title, [dimmed(self.window.crops[1])], [truth], heat=heat),
            self.over(f"maps ask pictures: {off[1]:.1f} px off", ours.heatmaps[0, self.j]),
        ]
        words = (
            f"A piece of the merged maps (the {self.joint} lies in it) asks all patches of the "
            "pictures; bright ones get most of its attention. At the left the answer's map if "
            "every patch says the same, at the right the real one."
        )
        equation = (
            r"\mathrm{softmax}\Big(\frac{{\color{ours} Q}\, {\color{detector} K}^T}{\sqrt{D}}\Big)"
            r" {\color{detector} V} \quad \text{Q: maps; K, V: pictures}"
        )
        return Step("Maps ask the picture", words, box, panels, equation)

    def answer(self, box: str) -> Step:
        roles = {who: style.ROLE_OF[who] for who in (*RIVALS, FINAL)}
        *rivals, ours = off = [self.away(self.xy[who]) for who in roles]
        bars = [Bar(who, px, role) for (who, role), px in zip(roles.items(), off)]
        marks = marks_of(self.window.visibility[1])
        real = People("truth, ✕ hidden", "truth", self.truth[1], marks, small=True)
        dots = [self.dot(SHORT.get(who, who), role, self.xy[who]) for who, role in roles.items()]
        dots.append(self.dot("truth", "truth", self.truth[1]))
        crop = [self.window.crops[1]]
        near = around(*(people.xy for people in dots), pad=0.35)
        panels = [
            Picture(f"the {self.joint}, enlarged", crop, dots, box=near, wide=1.5),
            Picture("whole pose", crop, [real, People(FINAL, "ours", self.xy[FINAL])], wide=1.2),
            Bars(f"{self.joint}, px from the truth", "px", bars, wide=1.5),
        ]
        told = ", ".join(f"{who} {np.nanmean(self.off(self.xy[who])):.1f} px" for who in roles)
        words = f"Mean error of all this person's joints: {told}."
        equation = r"{\color{ours} \bar{H}_t} = \mathrm{Head}(\hat{H}_t^N)"
        title = f"best rival {min(rivals):.1f} px, {FINAL} {ours:.1f} px"
        return Step(title, words, box, panels, equation)


# --- the switchboard ------------------------------------------------------------------------------


class Switchboard(Explorer):
    """Labels, pictures and mask, each a person's own or somebody else's: what the joint of each
    case does. mean: how far a part alone moves joints on average, px of the picture.
    """

    def __init__(self, cases: Sequence[Told], mean: Mapping[str, float], **options):
        self.cases, self.mean = cases, mean
        self.crops = [told.window.crops[1] for told in cases]
        # the largest error of all choices, so that one scale holds for all
        self.top = max(off for state in self.asks() for _, off in self.off(self.compute(state)))
        super().__init__(cases[0].propagator.skeleton, **{"name": "switchboard", **options})

    def declare(self) -> list[Control]:
        return [switch(part, label=f"somebody else's {part}") for part in PARTS]

    def compute(self, state: Mapping) -> list[Inside]:
        edit = exchanged(part for part in PARTS if state[part])
        return [look_inside(told.propagator, told.seen, (), edit=edit) for told in self.cases]

    def off(self, found: Sequence[Inside]) -> list[tuple[float, float]]:
        """Of each case's joint: how far it has moved, and its error, px of the picture."""
        out = []
        for told, inside in zip(self.cases, found):
            way = (inside.xy_crop[0] - told.inside.xy_crop[0])[told.j] / told.scale
            out.append((float(np.linalg.norm(way)), told.away(inside.xy_crop[0])))
        return out

    def draw(self, state: Mapping, found: Sequence[Inside]) -> Tabs:
        row, bars = [], []
        for told, crop, inside, (_, off) in zip(self.cases, self.crops, found, self.off(found)):
            one = told.over(f"{told.joint}: {off:.1f} px off", inside.heatmaps[0, told.j], wide=1.1)
            before = told.dot("own", "soft", told.inside.xy_crop[0])
            now = told.dot("now", "ours", inside.xy_crop[0])
            row.append(replace(one, frames=[crop], people=[*one.people, before, now]))
            own = told.away(told.inside.xy_crop[0])
            bars += [Bar(f"{told.joint}: own", own, "soft")]
            bars += [Bar(f"{told.joint}: now", off, "ours")]
        row.append(Bars("px from the truth", "px", bars, range=(0, self.top)))
        return {"": [row]}

    def say(self, state: Mapping, found: Sequence[Inside]) -> str:
        on = [part for part in PARTS if state[part]]
        told = "; ".join(
            f"the {told.joint} moves {moved:.1f} px and is {off:.1f} px off"
            for told, (moved, off) in zip(self.cases, self.off(found))
        )
        if not on:
            return f"All is their own: {told}."
        mean = f" On average it moves a joint by {self.mean[on[0]]:.1f} px." * (len(on) == 1)
        return f"Somebody else's {' + '.join(on)}: {told}.{mean}"

    def asks(self) -> Iterable[Mapping]:
        return (dict(zip(PARTS, on)) for on in product((False, True), repeat=len(PARTS)))


# --- an exercise in the explorer ------------------------------------------------------------------

BLOCK = 2  # tokens a side
LEAST = 0.1  # px of the picture: below it nothing is said to have changed


@dataclass(frozen=True, eq=False)
class Blind:
    """What a joint's error becomes without a square of image tokens, for each place of it."""

    before: float  # px
    after: Float[np.ndarray, "y x"]  # px, by the square's upper left token


def blind_spots(
    propagator: Propagator, seen: Seen, truth: Float[np.ndarray, "k 2"], joint: int
) -> Blind:
    """Every square of `BLOCK` by `BLOCK` image tokens blanked out. seen: of one window; truth: px
    of the crop.
    """
    columns, rows = token_grid(propagator.model)
    places = [(y, x) for y in range(rows - BLOCK + 1) for x in range(columns - BLOCK + 1)]
    chosen = np.zeros((len(places) + 1, rows, columns), bool)  # the last one: nothing
    for i, (y, x) in enumerate(places):
        chosen[i, y : y + BLOCK, x : x + BLOCK] = True
    many = {name: part.expand(len(chosen), *part.shape[1:]) for name, part in seen.items()}
    tried = look_inside(propagator, many, (), edit=blanked(chosen.reshape(len(chosen), -1)))
    off = np.linalg.norm(tried.xy_crop[:, joint] - truth[joint], axis=-1)
    return Blind(float(off[-1]), off[:-1].reshape(rows - BLOCK + 1, columns - BLOCK + 1))


def lost(explorer: LookExplorer, joint: int, most: int) -> Callable[[Mapping, Looked], float]:
    """The score of an exercise in the explorer: how far a joint is off, px of the crop; NaN where
    more than `most` image tokens are blanked out.
    """

    def measure(state: Mapping, found: Looked) -> float:
        if found.blanked.sum() > most:
            return float("nan")
        return float(explorer.away(found.gap, found.inside)[joint])

    return measure


def worth(explorer: LookExplorer, joint: int, blind: Blind) -> Callable[[Mapping, Looked], str]:
    """What a reached goal of `lost` teaches: what the reader's square took and cost, and its rank
    among all squares. blind: of the window that the explorer shows now.
    """
    place = explorer._found.gap.place

    def told(state: Mapping, found: Looked) -> str:
        gap, share = found.gap, found.asked[found.blanked].sum()
        own, now = (explorer.away(gap, each)[joint] for each in (found.before, found.inside))
        said = f"Yours took {share:.0%} of the attention and cost {now - own:+.1f} px"
        if gap.place != place or state["knocked out"]:
            return f"{said}."
        more, less = ((blind.after / gap.scale > now + by).sum() for by in (0.01, -0.01))
        tied = f" (shared by {less - more})" * bool(less - more > 1)
        looked = squares(found.asked, token_grid(explorer.models[explorer.names[0]].model), BLOCK)
        top = blind.after.flat[looked.argmax()]
        cost = (top - blind.before) / gap.scale
        return (
            f"{said}; rank {1 + more}{tied} of {blind.after.size} by cost. The square with most "
            f"attention ({looked.max():.0%}) costs {cost:+.1f} px: "
            f"{'yes' if top > blind.after.max() - 0.01 else 'no'}."
        )

    return told


# --- explorers ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Gap:
    """A person in a frame between two labels; places are px of the crop."""

    place: tuple[str, int]  # T, number of the window
    frames: list[int]
    crops: list[np.ndarray]  # left, key, right
    seen: Mapping[str, Seen]  # by the model's name
    truth: Float[np.ndarray, "3 k 2"]  # NaN where nothing is labelled
    marks: Int[np.ndarray, "3 k"]
    scale: float  # px of the crop a px of the picture
    dim: UInt8[np.ndarray, "h w 3"]  # the key frame's crop
    passes: dict[tuple, Inside] = field(default_factory=dict)


class Between(Compared):
    """A person in a frame between two labels. The backbone runs once a person, frame and gap; the
    rest with every change.

    sets: T -> windows; gaps in which the first person does not stand are left out. interval, index:
    of the window that is shown first. options: of `Compared`; a rival has the same backbone.
    """

    def __init__(
        self,
        propagator: Propagator,
        sets: Mapping[int, Windows],
        *,
        interval: int | None = None,
        index: int = 0,
        **options,
    ):
        gap = next(iter(sets)) if interval is None else interval
        if not len(sets[gap]):
            remedy = "label a person in two frames or more, with frames between them"
            raise BadParameter(f"nobody stands between labels {gap} frames apart", remedy=remedy)
        number("index", index, len(sets[gap]) - 1).checked(index)
        people = {T: set(map(tuple, windows.items[:, :2].tolist())) for T, windows in sets.items()}
        *person, key = sets[gap].items[index].tolist()
        self.sets = {str(T): sets[T] for T in sets if tuple(person) in people[T]}
        self.people = sorted(set.intersection(*(people[int(T)] for T in self.sets)))
        self.config = propagator.model.config
        self.to_crop = propagator.model.to_crop.double().cpu().numpy()
        self.gap: Gap | None = None
        person = self.people.index(tuple(person))
        self.begin = {"person": person, "key frame": key, "gap T": str(gap)}
        super().__init__(propagator, len(self.people), **options)

    def places(self, **of_joint) -> list[Control]:
        """Which gap: person and key frame in sight, then joint, gap and what is told."""
        begin = self.begin
        last = max(int(windows.items[:, 2].max()) for windows in self.sets.values())
        return [
            number("person", begin["person"], len(self.people) - 1, more=True),
            number("key frame", begin["key frame"], last),
            self.joints(**of_joint),
            choice("gap T", self.sets, begin["gap T"], more=True),
            choice("told", TOLD, more=True),
        ]

    def find(self, state: Mapping) -> Gap:
        """The chosen person's window whose key frame is nearest to the chosen one: labelled frames
        have none.
        """
        windows = self.sets[state["gap T"]]
        own = np.flatnonzero((windows.items[:, :2] == self.people[state["person"]]).all(1))
        row = int(own[np.abs(windows.items[own, 2] - state["key frame"]).argmin()])
        if self.gap is None or self.gap.place != (state["gap T"], row):
            self.forget_pictures()
            window = windows.sample(row)
            flags = window.visibility * np.array([[1], [self.labelled], [1]])
            self.gap = Gap(
                (state["gap T"], row),
                window.frames.tolist(),
                list(window.crops),
                {name: see(model, windows, [row]) for name, model in self.models.items()},
                np.where((flags > 0)[..., None], window.xy_crop, np.nan),
                marks_of(flags, known=estimates.occlusion_known(windows, row)),
                float(scales(windows)[row]),
                dimmed(window.crops[1]),
            )
        return self.gap

    def plain(self, gap: Gap, name: str, told: str, edit: Edits | None = None) -> Inside:
        """What the model of this name makes of a gap, every tap, once for each; what is edited
        counts by its names.
        """
        asked = (name, told, *(edit or ()))
        if asked not in gap.passes:
            own = self.models[name], gap.seen[name]
            gap.passes[asked] = look_inside(*own, told=TOLD[told], edit=edit)
        return gap.passes[asked]

    def key_picture(self, gap: Gap, inside: Inside, words: str, needs: str, **options) -> Picture:
        """The key frame's crop with everybody; a click chooses the joint."""
        maps = torch.from_numpy(inside.taps["estimated"][:, 1])
        single = estimates.peaks(self.models[self.names[0]], maps)[0]
        people = [
            People(SHORT[SINGLE], "detector", single),
            People(FINAL, "ours", inside.xy_crop[0]),
        ]
        if np.isfinite(gap.truth[1]).any():
            people.insert(0, People("truth", "truth", gap.truth[1], gap.marks[1]))
        title = f"frame {gap.frames[1]}: {words}"
        click = Click("joint", needs=needs)
        return Picture(title, [gap.crops[1]], people, click=click, **options)

    def away(self, gap: Gap, inside: Inside) -> Float[np.ndarray, "k"]:
        """Errors in the key frame, px of the picture; NaN without a label."""
        return far(inside.xy_crop[0], gap.truth[1]) / gap.scale

    def by_joint(self, gap: Gap, inside: Inside, before: Inside, what: str, needs: str) -> Bars:
        """How each joint's error changes; without any truth, how far the joint moves. The axis
        reaches 1 px at least.
        """
        values = self.away(gap, inside) - self.away(gap, before)
        title, low = f"error against {what}, px (< 0: better)", -1.0
        if not np.isfinite(values).any():
            values = far(inside.xy_crop[0], before.xy_crop[0]) / gap.scale
            title, low = f"px away from {what}", 0.0
        top = max(1.0, float(np.nanmax(np.abs(values))))
        look = {"range": (low * top, top), "wide": 1.7}
        if not np.nanmax(np.abs(values)) >= LEAST:
            return Bars(title, "px", [Bar("every joint", 0.0, "ours")], **look)
        return self.bars(title, "px", values, click=Click("joint", needs=needs), **look)

    def change(self, state: Mapping, gap: Gap, inside: Inside, others: Mapping) -> str:
        """Mean error, and by how much it differs from others'; without any truth, how far the
        answer lies from theirs.
        """
        asked, key = state["key frame"], gap.frames[1]
        words = f"frame {key}: " if asked == key else f"frame {key}, the nearest to {asked}: "
        error = self.away(gap, inside)
        known = np.isfinite(error).any()
        parts = [f"mean error {np.nanmean(error):.2f} px"] if known else []
        for name, other in others.items():
            if known:
                parts.append(f"{np.nanmean(error - self.away(gap, other)):+.2f} against {name}")
            else:
                moved = far(inside.xy_crop[0], other.xy_crop[0]).mean() / gap.scale
                parts.append(f"{moved:.2f} px away from {name}")
        return f"{words}{', '.join(parts)}."

    def asks(self) -> Iterable[Mapping]:
        left, _, right = self.gap.frames
        return ({"key frame": frame} for frame in range(left + 1, right))


@dataclass(frozen=True, eq=False)
class Masked:
    """One answer under a mask, under the model's own, and under one that is the same everywhere."""

    gap: Gap
    inside: Inside
    shipped: Inside
    even: Inside


class MaskExplorer(Between):
    """The dynamic-aware mask: move k and theta, and see curve, residuals, mask and answer."""

    def __init__(self, propagator: Propagator, sets: Mapping[int, Windows], **options):
        super().__init__(propagator, sets, name="mask", **options)

    def declare(self) -> list[Control]:
        config = self.config
        *sight, joint, gap, told = self.places(needs="drawing")
        return [
            *sight,
            number("k", config.k, 10.0, step=0.1),
            number("theta", config.theta, 1.0, step=0.01, label="θ"),
            joint,
            gap,
            told,
            choice("weights", self.names, more=True),
            opacity(0.85),
        ]

    def compute(self, state: Mapping) -> Masked:
        gap = self.find(state)
        name, told = state["weights"], state["told"]
        return Masked(
            gap,
            self.masked(gap, state),
            self.plain(gap, name, told),
            self.plain(gap, name, told, {"dam.out": even}),
        )

    def masked(self, gap: Gap, state: Mapping) -> Inside:
        """What the model makes of a gap with the chosen mask in the place of its own."""
        name = state["weights"]
        model = self.models[name].model
        own = model.dam
        changes = {knob: float(state[knob]) for knob in ("k", "theta")}
        other = DynamicAwareMask(replace(model.config, **changes))
        other.load_state_dict(own.state_dict())
        # in the layout that predictors give their models
        model.dam = other.to(self.models[name].device, memory_format=torch.channels_last)
        taps = ["dam.residual", "dam.out", "estimated"]
        try:
            return look_inside(self.models[name], gap.seen[name], taps, told=TOLD[state["told"]])
        finally:
            model.dam = own

    def draw(self, state: Mapping, found: Masked) -> Tabs:
        j = self.kin.index(state["joint"])
        gap, taps = found.gap, found.inside.taps
        residual = taps["dam.residual"][0, :, j]
        mask = taps["dam.out"][0]
        key = self.key_picture(gap, found.inside, "click a joint", "drawing")
        row = [
            self.map(gap, "key − left", residual[0], -1, 1),
            self.map(gap, "mask, × even", mask * mask.size, 0, 4),
            self.map(gap, "key − right", residual[1], -1, 1),
            self.by_joint(gap, found.inside, found.even, "an even mask", "drawing"),
        ]
        return {"mask": [[key, *row]]}

    def map(self, gap: Gap, title: str, values: np.ndarray, low: Number, high: Number) -> Picture:
        """A map over a crop, on a scale that stays as it is."""
        heat = Heat(values, self.to_crop, title, low, high, diverging=low < 0)
        return Picture(title, [gap.crops[1]], heat=heat)

    def say(self, state: Mapping, found: Masked) -> str:
        times = found.inside.taps["dam.out"] * found.inside.taps["dam.out"].size
        others = {"the mask as shipped": found.shipped, "an even mask": found.even}
        change = self.change(state, found.gap, found.inside, others)
        moved = far(found.inside.xy_crop[0], found.even.xy_crop[0]).max() / found.gap.scale
        nothing = "This mask changes nothing here: no joint moves. " * bool(moved < LEAST)
        return f"{nothing}From {times.min():.2f} to {times.max():.2f} times even, {change}"

    def asks(self) -> Iterable[Mapping]:
        yield from ({"k": k} for k in (0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0))
        yield from ({"theta": theta} for theta in (0.0, 0.2, 0.7, 1.0))
        yield from self.each("joint", "told", "weights")
        yield from super().asks()


LOOKED = "heatmap token → image token"


@dataclass(frozen=True, eq=False)
class Looked:
    """An answer with image tokens blanked out."""

    gap: Gap
    inside: Inside
    before: Inside  # nothing blanked out, no head knocked out
    token: int  # in which the joint's answer lies, before
    asked: Float[np.ndarray, "token"]  # its attention, before
    blanked: Bool[np.ndarray, "token"]
    looks: dict  # of the attention view


class LookExplorer(Between):
    """Where the tokens of heatmaps look in the picture: paint over the picture, and the image
    tokens under the paint are blanked out; a click on the maps turns one over; knock out heads.
    """

    has_attention = True
    stores_attention = False

    def __init__(self, propagator: Propagator, sets: Mapping[int, Windows], **options):
        self.grid = token_grid(propagator.model)
        # one kind for both sides: a place of the heatmaps asks places of the picture
        self.axis = Axis.of_grid("place", *self.grid[::-1])
        self.taps = [CROSS.format(block) for block in range(propagator.model.config.blocks)]
        self.token = -1
        super().__init__(propagator, sets, name="look", **options)
        if options.get("state") is None:
            self.attention.restore({"head": [LOOKED, len(self.taps) - 1, 0], "focus": self.token})

    def declare(self) -> list[Control]:
        size, _, brush = brush_controls(BLOCK * PATCH, self.config.padded[1])
        return [
            *self.places(),
            replace(size, needs="nothing"),  # of the next stroke
            brush,
            opacity(0.6),
            collected("hidden", range(len(self.axis.labels))),
            collected("knocked out", heads_of({LOOKED: self.taps}, self.config.heads)),
        ]

    def compute(self, state: Mapping) -> Looked:
        gap = self.find(state)
        before = self.plain(gap, self.names[0], state["told"])
        model = self.models[self.names[0]].model
        token = int(token_at(model, before.xy_crop[0])[self.kin.index(state["joint"])])
        asked = before.taps[self.taps[-1]][0, :, token].mean(0)
        middles = slice(PATCH // 2, None, PATCH), slice(PATCH // 2, None, PATCH)
        chosen = covered(state["brush"], self.config.padded, 1)[:, *middles].reshape(1, -1)
        chosen[0, state["hidden"]] ^= True
        edit = blanked(chosen) | without_heads(state["knocked out"], {LOOKED: self.taps})
        own, other = (
            look_inside(
                model,
                gap.seen[name],
                [*self.taps, "estimated"],
                told=TOLD[state["told"]],
                edit=edit,
            )
            for name, model in self.models.items()
        )
        maps = [{LOOKED: np.stack([each.taps[t][0] for t in self.taps])} for each in (own, other)]
        (width, height), crop = self.config.padded, gap.crops[1]
        looks = {
            "maps": maps[0],
            "axes": (self.axis, self.axis),
            "other": maps[1],
            "names": self.names,
            "picture": np.pad(crop, ((0, height - len(crop)), (0, width - crop.shape[1]), (0, 0))),
            "hidden": np.flatnonzero(chosen[0]).tolist(),
            "knocked_out": state["knocked out"],
        }
        return Looked(gap, own, before, token, asked, chosen[0], looks)

    def look(self, state: Mapping, found: Looked) -> dict:
        """The maps' row follows the joint's token where that becomes another one."""
        if self.attention is not None and found.token != self.token:
            self.attention.choice = self.attention.choice | {"focus": found.token}
        self.token = found.token
        return found.looks

    def draw(self, state: Mapping, found: Looked) -> Tabs:
        gap, shape = found.gap, self.grid[::-1]
        patches = np.array([[PATCH, 0, (PATCH - 1) / 2], [0, PATCH, (PATCH - 1) / 2]])
        shares = 100 * found.asked.reshape(shape)
        looked = Heat(shares, patches, "", 0, float(f"{shares.max():.2g}"))
        title = f"press to blank; looked at: up to {shares.max():.2g} %"
        bars = self.by_joint(gap, found.inside, found.before, "all it sees", "model")
        words = "click a joint"
        return {
            "answer": [
                [
                    self.key_picture(gap, found.inside, words, "model", wide=1.7),
                    Picture(title, [gap.dim], heat=looked, at=0, brush=True, wide=1.7),
                    bars,
                ]
            ]
        }

    def say(self, state: Mapping, found: Looked) -> str:
        count, share = found.blanked.sum(), found.asked[found.blanked].sum()
        heads = len(state["knocked out"])
        without = f" and {heads} heads" if heads else ""
        change = self.change(state, found.gap, found.inside, {"all it sees": found.before})
        return (
            f"{count} of {found.blanked.size} image tokens{without} out ({share:.0%} of "
            f"{state['joint']}'s attention), {change}"
        )

    def asks(self) -> Iterable[Mapping]:
        (w, h), size = self.grid, BLOCK * PATCH
        for y, x in np.ndindex(h - 1, w - 1):
            yield {"brush": [patch(PATCH * (x + 1), PATCH * (y + 1), size, (0, 0))]}
        yield from ({"hidden": [token]} for token in range(w * h))
        yield from self.each("joint")
        for head in np.ndindex(len(self.taps), self.config.heads):
            yield {"knocked out": [[LOOKED, *head]]}
        yield from super().asks()


class PropagationPlayer(Stage):
    """A clip with the labels of every T-th frame, and four who fill the rest: choose clip, gap and
    who is strong, play, and see the error by frame. A rim says that the frame's labels are given.

    carried: T -> windows of the same clips, and who fills them, as of `carry_all`. index: of the
    clip. labelled: False: labels are somebody's detections. Where nobody knows the frames between
    labels, the sentence says how far the answers are from the first, the straight line.
    """

    def __init__(
        self,
        carried: Carried,
        *,
        interval: int | None = None,
        index: int = 0,
        labelled: bool = True,
        fps: float = 4.0,
        **options,
    ):
        first = next(iter(carried.values()))[0]
        numbers = set.intersection(*(set(w.items[:, 0].tolist()) for w, _ in carried.values()))
        self.places = [f"clip {pair}" for pair in sorted(numbers)], list(map(str, carried))
        self.begin_at = f"clip {index}", str(next(iter(carried)) if interval is None else interval)
        self.filled: dict[str, Answers] = {}
        self.away = {
            str(T): {who: errors(windows, found) for who, found in poses.items()}
            for T, (windows, poses) in carried.items()
        }
        scenes = [
            scene for pair in sorted(numbers) for scene in self.scenes(carried, pair, labelled)
        ]
        super().__init__(
            first.skeleton,
            scenes,
            lambda scene, _frames, _mask: self.filled[scene.name],
            roles=style.ROLE_OF,
            paints=False,
            name="player",
            fps=fps,
            **options,
        )

    def scenes(self, carried: Carried, pair: int, labelled: bool) -> Iterable[Scene]:
        """The clip at every gap; all share its pictures."""
        frames: list[np.ndarray] = []
        for gap, (windows, poses) in carried.items():
            clip = windows.pairs[pair][0]
            frames = frames or [windows.frame(pair, t) for t in range(clip.video.n_frames)]
            rows = np.flatnonzero(windows.items[:, 0] == pair)
            _, tracks, keys = windows.items[rows].T
            shape = len(frames), len(clip.tracks), len(windows.skeleton), 2
            filled = {who: np.full(shape, np.nan) for who in poses}
            for who, found in poses.items():
                filled[who][keys, tracks] = found.xy_frame[rows]
            given = np.unique([windows.frames_of(row)[::2] for row in rows.tolist()]).tolist()
            about = {"name": f"clip {pair}, T = {gap}", "given": given}
            self.filled[about["name"]] = filled
            yield Scene.of(clip, frames, **about) if labelled else Scene(frames, **about)

    def declare(self) -> list[Control]:
        frame, *others = (control for control in super().declare() if control.name != "clip")
        clips, gaps = self.places
        clip, gap = self.begin_at
        strong = choice("strong", self.away[gap], FINAL)
        clip = choice("clip", clips, clip, more=True)
        return [frame, clip, choice("gap T", gaps, gap), strong, *others]

    def number_of_clip(self, state: Mapping) -> int:
        clips, gaps = self.places
        return clips.index(state["clip"]) * len(gaps) + gaps.index(state["gap T"])

    def draw(self, state: Mapping, found: Played) -> Tabs:
        """A picture cut about all people, the strong one above the others, beside the curves."""
        ((picture,), *curves) = super().draw(state, found)["stage"]
        now, box, strong = self.now, None, state["strong"]
        if now.truth is not None:
            box = around(now.truth[now.visibility > 0], pad=0.05)
        people = [replace(who, small=who.name != strong) for who in picture.people]
        people.sort(key=lambda who: not who.small)
        whole = replace(picture, title=f"strong: {strong}", box=box, people=people)
        return {"stage": [[whole, *(replace(each, wide=1.3) for each in chain(*curves))]]}

    def means(self, state: Mapping, found: Played) -> dict[str, float]:
        """Over the frames for which no gap has labels, so that gaps can be compared."""
        near = [clip.given for clip in self.clips if clip.name.startswith(f"{state['clip']},")]
        use = ~np.isin(np.arange(len(self.now.frames)), np.concatenate(near))
        use = use[:, None, None, None]
        answers = {who: np.where(use, xy, np.nan) for who, xy in found.answers.items()}
        return super().means(state, replace(found, answers=answers))

    def curve(self, state: Mapping, found: Played) -> Lines:
        """Errors by frame, from 0; bands where labels are given."""
        lines = super().curve(state, found)
        bands = [(t, t, "truth") for t in self.now.given]
        top = np.nan_to_num([line.y for line in lines.lines]).max(initial=1.0)
        title = f"error of {state['error of']}; bands: labels are given"
        ends = -0.5, len(self.now.frames) - 0.5
        y_range = 0, 1.05 * float(top)
        return replace(lines, title=title, shaded=bands, x_range=ends, y_range=y_range)

    def say(self, state: Mapping, found: Played) -> str:
        of = state.get("error of", "all joints")
        means = self.means(state, found)
        if means:
            *others, (ours, mean) = means.items()
            ways = [(who, abs(theirs - mean), theirs > mean) for who, theirs in others]
            told = [f"{by:.1f} px {WAYS[nearer]} than the {who}" for who, by, nearer in ways]
            words = (
                f"This clip, labels {state['gap T']} frames apart, {of}: {ours} {mean:.1f} px off, "
            )
            return (
                f"{words}{', '.join(told)}.\n{everywhere(self.away[state['gap T']], of, self.kin)}"
            )
        joints = slice(None) if of == "all joints" else [self.kin.index(of)]
        (first, line), *others = ((who, xy[..., joints, :]) for who, xy in found.answers.items())
        far = [f"{who} is {apart(xy, line):.1f} px away" for who, xy in others]
        return f"Nobody knows the truth of {of} here; from the {first}, {', '.join(far)}."

    def asks(self) -> Iterable[Mapping]:
        """This clip at every gap, joint by joint."""
        names = [name for name in ("gap T", "strong", "error of") if name in self.declared]
        options = product(*(self.declared[name].options for name in names))
        return (dict(zip(names, each)) for each in options)
