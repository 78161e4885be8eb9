"""HANet over time: what a window becomes inside the model, the method step by step, and a
detector that lies about it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import BadParameter
from ...made.motion import JOINTS, WORLD, Sequence2D
from ...metrics import joint_distances
from ...models.hanet import HANet, HANetConfig, acceleration, neighbours, velocity
from ...predict import SequenceRefiner
from ...taps import without_heads
from ..attention import Axis
from ..estimates import Edits
from ..explorer import (
    Compared,
    Control,
    choice,
    collected,
    heads_of,
    number,
    scrubber,
    step,
    switch,
)
from ..panels import (
    HIDDEN,
    VISIBLE,
    Bar,
    Bars,
    Line,
    Lines,
    People,
    Picture,
    Tabs,
    around,
    spans,
)
from ..steps import Case, Extremes, Step, Stepper, extremes

ENCODER = "encoder levels"
STACKS = {  # maps of attention -> the taps of their layers
    ENCODER: "levels.{}.attention.attention.map",
    "decoder, frame to frame": "decoder.{}.self_attention.attention.map",
    "decoder, frame to read motion": "decoder.{}.cross_attention.attention.map",
}


# --- inside ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Inside:
    """One window of T frames, of which n are read, on its way through HANet; px."""

    read: Int[np.ndarray, "n"]  # numbers of the read frames
    refined: Float[np.ndarray, "n k d"]  # P' of Eq. 6
    # what each encoder level adds to the input, as averaged in Eq. 6
    offsets: Float[np.ndarray, "l n k d"]
    final: Float[np.ndarray, "t k d"]  # P_s of Eq. 8
    maps: dict[str, Float[np.ndarray, "layer head q m"]]  # of attention, by STACKS


def taps_of(model: HANet) -> dict[str, list[str]]:
    """Names of STACKS -> the taps of their layers, where the model has any."""
    names = {}
    for stack, tap in STACKS.items():
        layers = getattr(model, tap.partition(".")[0])
        names |= {stack: [tap.format(i) for i in range(len(layers))]} if len(layers) else {}
    return names


def look_inside(
    refiner: SequenceRefiner, detected: Float[np.ndarray, "t k d"], *, edit: Edits | None = None
) -> Inside:
    """Refines at most one window and keeps what the taps said. edit: as in `taps.record`."""
    model, t = refiner.model, len(detected)
    names = ("refined", "offset_taps.*", "*attention.map")
    final, taps = refiner.look(detected, names=names, edit=edit)
    centre, size = (part[0, 0] for part in refiner.frame(detected[None]))
    interval = model.config.interval
    n = len(range(0, t, interval))

    def px(x: Tensor) -> np.ndarray:
        return x[0, :n].reshape(n, *detected.shape[1:]).double().cpu().numpy() * size

    parts = [taps[name] for name in taps if name.startswith("offset_taps")]
    # released: one linear map for all levels; its bias belongs to none
    if model.to_pose is not None:
        parts = [part @ model.to_pose.weight.detach().T for part in parts]
    share = model.config.levels if model.config.hierarchical else 1
    kept = {len(range(0, refiner.window, interval)): n, refiner.window: t}  # no padding
    maps = {}
    for stack, layers in taps_of(model).items():
        weights = np.stack([taps[layer][0].float().cpu().numpy() for layer in layers])
        q, k = (kept[count] for count in weights.shape[2:])
        maps[stack] = weights[:, :, :q, :k]
    offsets = np.stack([px(part) for part in parts]) / share
    return Inside(np.arange(n) * interval, px(taps["refined"]) + centre, offsets, final, maps)


def looks(inside: Inside, other: Inside | None = None, *, blind: bool = False, **options) -> dict:
    """Arguments of `AttentionView`. Tokens are frames, numbered as in the window.

    blind: no frame may look at itself in the encoder. options: of the view.
    """
    numbers = (np.arange(len(inside.final)), inside.read)
    axes = {len(frames): Axis("frame", tuple(map(str, frames))) for frames in numbers}
    pairs = {name: tuple(axes[n] for n in maps.shape[2:]) for name, maps in inside.maps.items()}
    allowed = {ENCODER: ~np.eye(len(inside.read), dtype=bool)} if blind else None
    rest = {} if other is None else {"other": other.maps}
    return {"maps": inside.maps, "axes": pairs, "allowed": allowed, **rest, **options}


def offset_names(n: int, config: HANetConfig) -> list[str]:
    """Of n offsets of Eq. 6: Z_0's, where the paper takes it, and every level's."""
    first = int(n == config.levels)
    return [f"level {i + first}" if i or first else "Z₀" for i in range(n)]


# --- over time ------------------------------------------------------------------------------------


def motion(
    xy: Float[np.ndarray, "t k d"],
) -> tuple[Float[np.ndarray, "t k d"], Float[np.ndarray, "t k d"]]:
    """Velocity (units a frame) and acceleration (a frame squared) of every frame, as HANet Eq. 2
    takes them.
    """
    x = torch.from_numpy(np.ascontiguousarray(xy, np.float64)).flatten(1)[None]
    previous, following = neighbours(x)
    v = velocity(x, previous)
    both = v, acceleration(velocity(following, x), v)
    return tuple(part[0].numpy().reshape(xy.shape) for part in both)


def jerks(xy: Float[np.ndarray, "t k d"]) -> Float[np.ndarray, "t"]:
    """How large the acceleration of every frame is, mean of all joints; px a frame squared."""
    return np.linalg.norm(motion(xy)[1], axis=-1).mean(1)


def listening(lines: Sequence[Line], more: str = "", **look) -> Lines:
    """A dot a read frame: the acceleration of its input, and the attention that it gets."""
    x = "mean acceleration of the input, px/frame²"
    return Lines(f"one dot a read frame{more}", x, "attention, %", lines, **look)


# --- the trick in one screen ----------------------------------------------------------------------

PIPELINE = ("noisy track", "velocity, acceleration", "offsets by level", "attention", "refinement")
ENDS = ("left_wrist", "right_wrist", "left_ankle", "right_ankle")
LEAST = 5  # frames of the bursts among which the cases are found
MOVES = 10.0  # px, at least, that the joint moves in them: who stands still is easily found
CALM = 10.0  # px, at most, of mean error in the frames around a burst
NEAR = 15.0  # px, at most, of any error of a track that lies are told about


class Burst(NamedTuple):
    """A joint that is hidden for some frames of the first window of a sequence. path: how far it
    really moves there; before, after: its mean error there by the detector and by HANet;
    elsewhere: the detector's in the other frames; px. seen: it never leaves the picture.
    """

    sequence: int
    joint: int
    first: int
    last: int
    path: float
    before: float
    after: float
    elsewhere: float
    seen: bool

    @property
    def frames(self) -> slice:
        return slice(self.first, self.last + 1)


def bursts_of(refiner: SequenceRefiner, sequences: Sequence[Sequence2D]) -> list[Burst]:
    """Every burst of occlusion of at least `LEAST` frames that begins and ends within the first
    window of a sequence.
    """
    found = []
    for i, one in enumerate(sequences):
        rows = slice(0, refiner.window)
        truth, detected = one.xy_frame[rows], one.detected[rows]
        final = refiner.refine(detected)
        before, after = (joint_distances(xy, truth) for xy in (detected, final))
        ways = np.linalg.norm(np.diff(truth, axis=0), axis=-1)
        for j, hidden in enumerate(one.hidden[rows].T):
            for first, last in spans(hidden):
                if last - first + 1 >= LEAST and first > 0 and last < len(truth) - 1:
                    here = slice(first, last + 1)
                    told = ways[first:last, j].sum(), before[here, j].mean(), after[here, j].mean()
                    rest = np.delete(before[:, j], np.r_[here]).mean()
                    told = map(float, (*told, rest))
                    found.append(Burst(i, j, first, last, *told, in_picture(truth[:, j])))
    return found


def in_picture(xy: Float[np.ndarray, "t 2"]) -> bool:
    """Whether a joint never leaves the picture."""
    return bool(((xy >= 0) & (xy < WORLD.frame_wh)).all())


def find(bursts: Sequence[Burst], kin: Skeleton = JOINTS) -> tuple[Extremes, Extremes]:
    """Of the bursts that hide a wrist or an ankle which moves by `MOVES`: whose error falls most
    and least (or grows most), among those in the picture on a calm track, and among all.
    """
    gain = np.array([each.before - each.after for each in bursts])
    use = np.array([kin.joints[b.joint] in ENDS and b.path >= MOVES for b in bursts], bool)
    calm = np.array([b.seen and b.elsewhere <= CALM for b in bursts], bool)
    return extremes(gain, use & calm), extremes(gain, use)


def trick(
    refiner: SequenceRefiner,
    sequences: Sequence[Sequence2D],
    bursts: Sequence[Burst],
    *,
    data: str = "synthetic",
    **options,
) -> Stepper:
    """The method step by step, on the burst that it bridges best on a calm track and on the one
    where it harms most, as `find` finds them. data: named in the rule.
    """
    (calm, every), cases = find(bursts, refiner.skeleton), []
    for name, which in (("it helps", calm.best), ("it does not", every.worst)):
        burst = bursts[which]
        told = Told(refiner, sequences[burst.sequence], burst)
        rule = (
            f"How this was found: in the first windows of {len(sequences)} sequences ({data}), "
            f"{every.count} bursts of at least {LEAST} frames hide a wrist or an ankle that moves "
            f"by at least {MOVES:.0f} px; {calm.count} of these stay in the picture on a calm "
            f"track (elsewhere off by at most {CALM:.0f} px on average). "
        )
        least = "grows most" if burst.after > burst.before else "falls least"
        ways = [(least, f"all {every.count}, calm or not,"), ("falls most", "the calm ones")]
        word, of = ways[which == calm.best]
        rule += f"Of {of} this is where the error {word}: {step(burst.before, burst.after)} "
        rule += f"(sequence {burst.sequence}, frames {burst.first} to {burst.last})."
        cases.append(Case(name, rule, told.steps))
    return Stepper(refiner.skeleton, PIPELINE, cases, **{"name": "hanet_steps", **options})


@dataclass(frozen=True, eq=False)
class Told:
    """One burst on its way through HANet, told in five steps; px."""

    refiner: SequenceRefiner
    sequence: Sequence2D
    burst: Burst

    @property
    def steps(self) -> list[Step]:
        told = (self.track, self.kinematics, self.offsets, self.attention, self.refinement)
        return [tell(box) for tell, box in zip(told, PIPELINE)]

    @property
    def rows(self) -> slice:
        return slice(0, self.refiner.window)

    @property
    def truth(self) -> Float[np.ndarray, "t k 2"]:
        return self.sequence.xy_frame[self.rows]

    @property
    def detected(self) -> Float[np.ndarray, "t k 2"]:
        return self.sequence.detected[self.rows]

    @cached_property
    def inside(self) -> Inside:
        return look_inside(self.refiner, self.detected)

    @property
    def joint(self) -> str:
        return self.refiner.skeleton.joints[self.burst.joint].replace("_", " ")

    @cached_property
    def axis(self) -> int:
        """The axis along which the detector errs most in the burst: 0 or 1."""
        off = np.abs(self.detected - self.truth)[self.burst.frames, self.burst.joint]
        return int(off.mean(0).argmax())

    def one(self, xy: Float[np.ndarray, "n k 2"]) -> Float[np.ndarray, "n"]:
        return xy[:, self.burst.joint, self.axis]

    def lines(self, title: str, unit: str, lines: Sequence[Line], **look) -> Lines:
        hidden = self.sequence.hidden[self.rows, self.burst.joint]
        shaded = [(float(first), float(last), "hidden") for first, last in spans(hidden)]
        ends = (-0.5, len(self.truth) - 0.5)
        return Lines(title, "frame", unit, lines, shaded=shaded, x_range=ends, **look)

    def voices(self, values: Callable, *more: tuple[str, str]) -> list[Line]:
        """A line of truth and input each, and of more: (name, role)."""
        of = {"truth": self.truth, "input": self.detected, "final": self.inside.final}
        times = np.arange(len(self.truth), dtype=float)
        names = (("truth", "truth"), ("input", "detector"), *more)
        return [Line(name, times, values(of[name]), role) for name, role in names]

    @property
    def pose(self) -> Picture:
        """Truth and input in the middle of the burst; a cross: the joint is hidden there."""
        at = (self.burst.first + self.burst.last) // 2
        marks = np.where(self.sequence.hidden[at], HIDDEN, VISIBLE)
        people = [
            People("truth", "truth", self.truth[at], small=True),
            People("input, ✕ hidden", "detector", self.detected[at], marks),
        ]
        box = around(self.truth[at], self.detected[at], pad=0.08)
        return Picture(f"the body, frame {at}", people=people, box=box)

    def track(self, box: str) -> Step:
        name = "xy"[self.axis]
        burst, elsewhere = self.burst, self.outside(self.off)
        lucky = bool(burst.before < elsewhere.mean())
        words = (
            f"The detector looks at every frame by itself. In frames {burst.first} to {burst.last} "
            f"something hides the {self.joint} (shaded: all frames in which it is hidden): a "
            f"burst. It guesses there{', and well' * lucky}: off by {burst.before:.1f} px on "
            f"average; elsewhere by {elsewhere.mean():.1f} px, at worst {elsewhere.max():.0f}. "
            "HANet gets this track and nothing else: no picture, no word about hidden joints."
        )
        panels = [
            self.lines(f"{self.joint}, {name}", f"{name}, px", self.voices(self.one), wide=2.0),
            self.pose,
        ]
        title = "A good guess on a track that jumps" if lucky else "A track that jumps"
        return Step(title, words, box, panels)

    @cached_property
    def off(self) -> Float[np.ndarray, "t"]:
        """How far the input's joint is from the truth."""
        return joint_distances(self.detected, self.truth)[:, self.burst.joint]

    def outside(self, values: Float[np.ndarray, "t"]) -> Float[np.ndarray, "n"]:
        """Values of the frames of the window that are not in the burst."""
        return np.delete(values, range(self.burst.first, self.burst.last + 1))

    def kinematics(self, box: str) -> Step:
        v, a = (lambda xy, i=i: self.one(motion(xy)[i]) for i in (0, 1))
        jumps, real = np.abs(a(self.detected)), np.abs(a(self.truth))
        inner = jumps[self.burst.frames].max()
        words = (
            "Velocity is the change of place from one frame to the next, acceleration the change "
            "of velocity. Bodies are heavy: the true acceleration is at most "
            f"{real.max():.0f} px/frame², that of the input {inner:.0f} in the burst and "
            f"{self.outside(jumps).max():.0f} elsewhere. Jumps tell HANet what not to believe."
        )
        panels = [
            self.lines("velocity", "px/frame", self.voices(v)),
            self.lines("acceleration", "px/frame²", self.voices(a)),
        ]
        equation = (
            r"v_t = \frac{{\color{detector} P_t} - {\color{detector} P_{t-d}}}{d} \qquad "
            r"a_t = \frac{v_{t+d} - v_t}{d}"
        )
        return Step("Jumps show in velocity and acceleration", words, box, panels, equation)

    def offsets(self, box: str) -> Step:
        inside = self.inside
        names = offset_names(len(inside.offsets), self.refiner.model.config)
        parts = inside.offsets[:, :, self.burst.joint, self.axis]
        summed, needed = parts.sum(0), self.one(self.truth - self.detected)[inside.read]
        tones = np.rint(np.linspace(2, 4, len(parts)))  # the ends do not stand out on every paper
        rows = [
            (name, part, int(tone), "both", ((1, 3), (7, 3), ())[i % 3])
            for i, (name, part, tone) in enumerate(zip(names, parts, tones))
        ]
        rows += [("sum", summed, "ours"), ("needed", needed, "truth")]
        lines = [Line(name, inside.read.astype(float), *rest) for name, *rest in rows]
        inner = (inside.read >= self.burst.first) & (inside.read <= self.burst.last)
        moved, far = (np.abs(each[inner]).mean() for each in (summed, needed))
        words = (
            f"The encoder reads one frame in {inside.read[1]}. Each of its levels describes it "
            "by twice as many numbers as the one before, and proposes how far the joint should be "
            f"moved. In frames {self.burst.first} to {self.burst.last} their sum moves it by "
            f"{moved:.1f} px on average; needed were {far:.1f}."
        )
        panels = [self.lines("offset by level", "px", lines)]
        equation = (
            r"{\color{ours} P'} = {\color{detector} P} + {\color{ours} \frac{1}{N_L} "
            r"\sum_\ell x_\ell} \qquad x_\ell = \mathrm{Conv1D}_\ell(Z_\ell)"
        )
        return Step("Every level proposes an offset", words, box, panels, equation)

    def attention(self, box: str) -> Step:
        read, gets = self.inside.read, heard(self.inside)
        jerk = jerks(self.detected)[read]
        third = len(read) // 3
        calm = np.argsort(jerk)
        words = (
            "What is read in the frames is mixed by attention, a share of each read "
            f"frame (dots). HANet sees no error, only motion: the {third} of {len(read)} read "
            f"frames with most acceleration (shaded) get "
            f"{gets[calm[-third:]].sum():.0f} %, the {third} with least "
            f"{gets[calm[:third]].sum():.0f} %; all alike: {100 * third / len(read):.0f} %."
        )
        hidden = self.sequence.hidden[read, self.burst.joint]
        names = {"visible": (~hidden, "ours"), f"{self.joint} hidden": (hidden, "hidden")}
        dots = [
            Line(name, jerk[use], gets[use], role, "dots") for name, (use, role) in names.items()
        ]
        ends = -1.0, float(jerk.max()) + 1
        most = float(jerk[calm[[-third - 1, -third]]].mean())  # lines end half a step before
        by_frame = Line("", read, gets, "ours", "both")
        panels = [
            self.lines("attention that each frame gets", "%", [by_frame]),
            listening(dots, shaded=[(most + 0.5, ends[1], "soft")], x_range=ends),
        ]
        equation = (
            r"{\color{ours} \mathrm{softmax}\Big(\frac{QK^T}{\sqrt{D}}\Big)} V \qquad "
            r"Q, K, V = Z W + E_{pos}"
        )
        return Step("Frames ask frames", words, box, panels, equation)

    def refinement(self, box: str) -> Step:
        inside, burst = self.inside, self.burst
        ends = (self.detected, inside.final)
        pair = [float(joint_distances(xy, self.truth).mean()) for xy in ends]
        bars = [Bar("input", burst.before, "detector"), Bar("HANet", burst.after, "ours")]
        words = (
            "Straight lines join the refined read frames (dots), and a decoder that compares them "
            "with velocities and accelerations corrects every frame. In this case the error of the "
            f"{self.joint} in frames {burst.first} to {burst.last} goes "
            f"{step(burst.before, burst.after)}, of all joints in the window {step(*pair)}."
        )
        name = "xy"[self.axis]
        at = inside.read.astype(float)
        dots = Line("refined P'", at, self.one(inside.refined), "ink", "dots")
        lines = [*self.voices(self.one, ("final", "ours")), dots]
        panels = [
            self.lines(f"{self.joint}, {name}", f"{name}, px", lines, wide=2.0),
            Bars("px from the truth, mean of the burst", "px", bars),
        ]
        equation = (
            r"{\color{ours} P_s} = \mathrm{line}({\color{ink} P'}) + \mathrm{Decoder}\big(V, "
            r"(S_v; S_a; X)\, W_M\big)\, W_D"
        )
        title = f"HANet: {burst.before:.1f} → {burst.after:.1f} px"
        if burst.after > burst.before:
            title += f" here; all joints in all frames: {pair[0]:.1f} → {pair[1]:.1f}"
            own, rest, _ = self.true_in_parts.values()
            blame = self.joint if own < rest else "other joints"
            words += (
                f" Grey bars: HANet's error if we hand it the true track of the {self.joint}, of "
                f"all other joints, of all joints. The {blame} misled it most."
            )
            bars += [Bar(name, px, "soft") for name, px in self.true_in_parts.items()]
        return Step(title, words, box, panels, equation)

    @cached_property
    def true_in_parts(self) -> dict[str, float]:
        """HANet's error in the burst where the input of some joints is the truth; px."""
        one, errors = np.arange(self.truth.shape[1])[:, None] == self.burst.joint, {}
        names = (f"{self.joint} true", "other joints true", "all joints true")
        for name, true in zip(names, (one, ~one, True)):
            final = self.refiner.refine(np.where(true, self.truth, self.detected))
            off = joint_distances(final, self.truth)[self.burst.frames, self.burst.joint]
            errors[name] = float(off.mean())
        return errors


# --- an exercise in the explorer ------------------------------------------------------------------

LIE = 40.0  # px by which a lie moves the detector's answer
LASTS = 8  # frames
NOTHING = "nothing"
# what the reader makes of the detector: one joint or all; a sign a frame, along the shown axis
LIES = {
    NOTHING: (False, np.zeros(1)),
    "this joint jumps for 1 frame": (False, np.ones(1)),
    "this joint shakes for 8 frames": (False, np.tile([1.0, -1.0], LASTS // 2)),
    "this joint stands aside for 8 frames": (False, np.ones(LASTS)),
    "all joints shake for 8 frames": (True, np.tile([1.0, -1.0], LASTS // 2)),
    "all joints stand aside for 8 frames": (True, np.ones(LASTS)),
}


def calmest(refiner: SequenceRefiner, sequences: Sequence[Sequence2D]) -> tuple[int, str, str]:
    """Sequence, joint and axis that the explorer begins with: of all wrists and ankles that in the
    first window nothing hides, that stay in the picture, and whose detector is never off by more
    than `NEAR`, the one that moves furthest, and the axis along which it does.
    """
    found = {}
    for i, one in enumerate(sequences):
        rows = slice(0, refiner.window)
        truth, detected, hidden = one.xy_frame[rows], one.detected[rows], one.hidden[rows]
        off = joint_distances(detected, truth)
        for name in ENDS:
            j = refiner.skeleton.index(name)
            if not hidden[:, j].any() and off[:, j].max() <= NEAR and in_picture(truth[:, j]):
                ways = np.abs(np.diff(truth[:, j], axis=0)).sum(0)
                found[i, name, "xy"[ways.argmax()]] = float(ways.max())
    return max(found, key=found.get)


def harm(state: Mapping, found: Refined) -> float:
    """The score of an exercise in the explorer: by how much HANet's mean error of what the lie
    moves rises in its frames, px; NaN without a lie or a truth.
    """
    if found.truth is None or not found.moved.any():
        return float("nan")
    answers = found.plain.final, found.inside.final
    plain, after = (joint_distances(xy, found.truth)[found.moved].mean() for xy in answers)
    return float(after - plain)


# --- the explorer ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Motion2D:
    """One person's detections over time, px, such as a user's own: as a `Sequence2D`, but what is
    not known is None.
    """

    name: str
    detected: Float[np.ndarray, "t k 2"]
    xy_frame: Float[np.ndarray, "t k 2"] | None = None
    hidden: Bool[np.ndarray, "t k"] | None = None


@dataclass(frozen=True, eq=False)
class Refined:
    """A window under the reader's hands; px. Its first frame is number `start` of the sequence."""

    start: int
    given: Float[np.ndarray, "t k 2"]  # what the detector said
    detected: Float[np.ndarray, "t k 2"]  # what HANet reads
    here: slice  # the frames that are looked at
    moved: Bool[np.ndarray, "t k"]  # by the lie
    truth: Float[np.ndarray, "t k 2"] | None
    inside: Inside
    plain: Inside  # by the same model, nothing changed
    looks: dict  # of the attention view

    @property
    def voices(self) -> list[tuple[str, str, np.ndarray]]:
        """Name, role and poses of who says where the joints are."""
        said = [("input", "detector", self.detected), ("HANet", "ours", self.inside.final)]
        return said if self.truth is None else [("truth", "truth", self.truth), *said]

    @property
    def reference(self) -> Float[np.ndarray, "t k 2"]:
        """What distances are from."""
        return self.given if self.truth is None else self.truth


def heard(inside: Inside) -> Float[np.ndarray, "n"]:
    """How much of the attention in the encoder's last level each read frame gets, over all frames
    that ask and all heads, percent.
    """
    return 100 * inside.maps[ENCODER][-1].mean((0, 1))


class HANetExplorer(Compared):
    """One window of a sequence over time: make the detector lie, move the lie through the window,
    and see what HANet makes of it, and which frames it stops listening to.

    refiner: what refines. sequences: made ones, or `Motion2D` of somebody's own. options: of
    `Compared`. Errors: `BadParameter` for no sequence, and for poses that are not all numbers.
    """

    has_attention = True

    def __init__(
        self,
        refiner: SequenceRefiner,
        sequences: Sequence[Sequence2D | Motion2D],
        *,
        joint: str = "right_wrist",
        **options,
    ):
        bad = [one.name for one in sequences if not np.isfinite(one.detected).all()]
        if bad or not all(len(one.detected) for one in sequences) or not sequences:
            raise BadParameter(f"no poses, or not all numbers: {', '.join(bad)}")
        self.refiner = refiner
        self.sequences = sequences
        longest = max(len(one.detected) for one in sequences)
        self.plain = lru_cache(1)(self.unchanged)
        self.costs = lru_cache(len(LIES))(self.everywhere)
        self.ends = min(longest, refiner.window) - 1, max(longest - refiner.window, 0)
        options |= {"name": "hanet", "joint": joint, "last_frame": self.ends[0]}
        super().__init__(refiner, len(sequences), **options)
        if "attention" not in (options.get("state") or ""):
            at = self.state["at frame"] // refiner.model.config.interval
            self.attention.restore({"focus": at})

    def declare(self) -> list[Control]:
        last, starts = self.ends
        heads = self.refiner.model.config.heads
        end = max(last - LASTS + 1, 0)
        controls = [
            choice("lie", LIES, NOTHING, label="let the detector lie"),
            scrubber(end // 2, end, name="at frame", needs="model"),
            self.joints(more=True),
            number("sequence", self.first, len(self.sequences) - 1, more=True),
            number("from frame", 0, starts, more=True),
            choice("axis", "xy", more=True),
            choice("refined by", self.models, more=True),
            switch("blind", label="blind to itself (erratum)", more=True),
            collected("knocked out", heads_of(taps_of(self.refiner.model), heads)),
        ]
        return [each for each in controls if each.kind != "number" or each.high]

    # --- what takes a model -----------------------------------------------------------------------

    def window(self, state: Mapping) -> tuple[int, np.ndarray, np.ndarray | None]:
        """Number of the first frame, and detections and truth of the window. The sliders then end
        with this sequence; a state may say more, as it may come with another one.
        """
        of = self.sequences[state.get("sequence", 0)]
        last = max(len(of.detected) - self.refiner.window, 0)
        start = int(min(state.get("from frame", 0), last))
        rows = slice(start, start + self.refiner.window)
        self.last_frame = min(len(of.detected), self.refiner.window) - 1
        wide = dict(self.declared)
        ends = {"at frame": max(self.last_frame - LASTS + 1, 0), "from frame": last}
        self.redeclare(**{n: replace(wide[n], high=end) for n, end in ends.items() if n in wide})
        self.declared = wide
        known = self.labelled and of.xy_frame is not None
        return start, np.asarray(of.detected[rows]), of.xy_frame[rows] if known else None

    def unchanged(self, by: str, index: int, start: int) -> Inside:
        xy = self.sequences[index].detected[start : start + self.refiner.window]
        return look_inside(self.models[by], np.asarray(xy))

    def everywhere(self, asked: str) -> Float[np.ndarray, "n"]:
        """The `harm` of a lie at every first frame. asked: a state, as JSON."""
        state = json.loads(asked)
        places = range(len(self.window(state)[1]) - LASTS + 1)
        return np.array([harm({}, self.compute(state | {"at frame": at})) for at in places])

    def compute(self, state: Mapping) -> Refined:
        start, given, truth = self.window(state)
        whole, signs = LIES[state["lie"]]
        first = min(state["at frame"], len(given) - 1)
        signs = signs[: len(given) - first]
        lies = np.zeros_like(given)
        joints = ... if whole else self.kin.index(state["joint"])
        lie = lies[first : first + len(signs), joints, "xy".index(state["axis"])]
        lie += LIE * (signs[:, None] if whole else signs)
        edit = without_heads(state["knocked out"], taps_of(self.refiner.model))
        inside, blind = {}, []
        for name, model in self.models.items():
            model = model.switched(blind=True) if state["blind"] else model
            inside[name] = look_inside(model, given + lies, edit=edit)
            blind.append(model.model.config.blind)
        chosen = {"names": tuple(inside), "knocked_out": state["knocked out"], "hidden": []}
        return Refined(
            start,
            given,
            given + lies,
            slice(first, min(first + (len(signs) if signs.any() else LASTS), len(given))),
            (lies != 0).any(-1),
            truth,
            inside[state["refined by"]],
            self.plain(state["refined by"], state.get("sequence", 0), start),
            looks(*inside.values(), blind=all(blind), **chosen),
        )

    # --- what is shown ----------------------------------------------------------------------------

    def draw(self, state: Mapping, found: Refined) -> Tabs:
        below = [self.listening(found)]
        if found.truth is not None:
            below.append(self.costs_of(state, found))
        return {"over time": [[self.track(state, found), self.pose(state, found)], below]}

    def pose(self, state: Mapping, found: Refined) -> Picture:
        """The body in the first shaded frame, in a box that has room for the lie."""
        at = found.here.start
        people = [People(name, role, xy[at], small=True) for name, role, xy in found.voices]
        aside = LIE * np.eye(2)["xy".index(state["axis"])]
        box = around(found.reference[at], found.reference[at] + aside, found.given[at], pad=0.1)
        return Picture(f"the body in frame {at}", people=people, box=box)

    def track(self, state: Mapping, found: Refined) -> Lines:
        """The joint's place. The scale stays when the detector lies."""
        joint, axis = self.kin.index(state["joint"]), "xy".index(state["axis"])
        times, lied = np.arange(float(len(found.given))), bool(found.moved.any())
        role = "newly_hidden" if lied else "soft"
        shaded = [(found.here.start, found.here.stop - 1, role)]
        lines = [Line(n, times, xy[:, joint, axis], r) for n, r, xy in found.voices]
        known = np.concatenate((found.given, found.reference))[:, joint, axis]
        room = (float(known.min()) - LIE - 15, float(known.max()) + LIE + 15)
        title = state["joint"].replace("_", " ") + ": the shaded frames lie" * lied
        look = {"x_range": (-0.5, len(times) - 0.5), "y_range": room, "wide": 2.0}
        return Lines(title, "frame", f"{state['axis']}, px", lines, shaded, **look)

    def listening(self, found: Refined) -> Lines:
        """Who jumps, and who is heard; of frames that lie also from where the lie took them. The
        scale is that of lies about one joint, or about all.
        """
        read, lies = found.inside.read, found.moved.any(1)[found.inside.read]
        pairs = (found.given, found.plain), (found.detected, found.inside)
        (was, before), (x, y) = pairs = [(jerks(xy)[read], heard(of)) for xy, of in pairs]
        ways = np.full((2, lies.sum(), 3), np.nan)  # a gap behind each
        ways[:, :, :2] = np.transpose(pairs, (1, 2, 0))[:, lies]
        lines = [Line("", *ways.reshape(2, -1), "soft", dash=(4, 3))]
        for name, use, role in (("they lie", lies, "ours"), ("others", ~lies, "soft")):
            lines.append(Line(name, x[use], y[use], role, "dots"))
        most = float(was.max()) + 4 * LIE * max(found.moved.mean(1).max(), 1 / len(self.kin))
        ends = {"x_range": (0.0, most), "y_range": (-2.0, 2 * float(before.max()))}
        return listening(lines, "; dashed: what the lie did" * bool(lies.any()), **ends)

    def costs_of(self, state: Mapping, found: Refined) -> Lines:
        """What the lie costs here; elsewhere, too, once nothing is asked any more."""
        lines, goal = [], self.judge(state, found)
        places = np.arange(len(found.given) - LASTS + 1.0)
        if found.moved.any():
            here = np.array([found.here.start]), np.array([harm(state, found)])
            asked = json.dumps({**state, "at frame": 0})
            lines.append(Line("tried", *here, "soft", "dots", trail=asked))
            lines.append(Line("this lie", *here, "ours", "dots"))
            if not goal or " Reached." in goal:
                lines.insert(0, Line("elsewhere", places, self.costs(asked), "soft"))
        ends = {"x_range": (-1.0, float(len(places))), "y_range": (-LIE / 4, LIE)}
        title = "mean error that the lie adds to HANet"
        return Lines(title, "first shaded frame", "px more", lines, **ends)

    def off(self, state: Mapping, found: Refined) -> list[list[float]]:
        """Mean distance of input and HANet from the truth before and after the lie, of what it
        moves in its frames; px.
        """
        cells = found.moved
        if not cells.any():
            cells = found.here, self.kin.index(state["joint"])
        pairs = (found.given, found.detected), (found.plain.final, found.inside.final)
        return [
            [float(joint_distances(xy, found.reference)[cells].mean()) for xy in pair]
            for pair in pairs
        ]

    def say(self, state: Mapping, found: Refined) -> str:
        index = state.get("sequence", 0)
        of = self.sequences[index]
        name = of.name if isinstance(of, Motion2D) else f"sequence {index}"
        here = found.here
        whose = "all joints" if LIES[state["lie"]][0] else state["joint"].replace("_", " ")
        ends = (
            f"s {here.start} to {here.stop - 1}" if here.stop > here.start + 1 else f" {here.start}"
        )
        text = f"{name}, {whose}, frame{ends}"
        (was, given), (before, after) = self.off(state, found)
        whom = "truth" if found.truth is not None else "detector"
        if not found.moved.any() and np.array_equal(found.inside.final, found.plain.final):
            return f"{text}: {state['refined by']} HANet is {after:.1f} px from the {whom}."
        read = np.isin(found.inside.read, np.r_[here])
        shares = (float(heard(each)[read].sum()) for each in (found.plain, found.inside))
        listens = f"; attention to these frames {step(*shares, 0, '%')}" * bool(read.any())
        text += f": {state['refined by']} HANet {step(before, after)} from the {whom}"
        return f"{text}, the input {step(was, given)}{listens}."

    def asks(self) -> Iterable[Mapping]:
        """Every lie at every place."""
        places = range(self.declared["at frame"].high + 1)
        yield from ({"lie": lie, "at frame": at} for lie in LIES for at in places)

    def recompute_at(self, state: Mapping) -> dict:
        """Maps of the first state alone: more would be too large for a page."""
        self.stores_attention = all(state[n] == self.state[n] for n in ("lie", "at frame"))
        return super().recompute_at(state)
