"""HANet over time: what a window becomes inside the model, the method step by step, and hiding
joints by a drag over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import BadParameter
from ...made.motion import JOINTS, Sequence2D, detect
from ...metrics import joint_distances
from ...models.hanet import HANet, HANetConfig, acceleration, neighbours, velocity
from ...predict import SequenceRefiner
from ...taps import without_heads
from .. import style
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
    NEWLY_HIDDEN,
    VISIBLE,
    Bar,
    Bars,
    Click,
    Heat,
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


# --- the trick in one screen ----------------------------------------------------------------------

PIPELINE = ("noisy track", "velocity, acceleration", "offsets by scale", "attention", "refinement")
ENDS = ("left_wrist", "right_wrist", "left_ankle", "right_ankle")
LEAST = 5  # frames of the bursts among which the cases are found
MOVES = 10.0  # px, at least, that the joint moves in them: who stands still is easily found


class Burst(NamedTuple):
    """A joint that is hidden for some frames of the first window of a sequence. path: how far it
    really moves there; before, after: its mean error there by the detector and by HANet; px.
    """

    sequence: int
    joint: int
    first: int
    last: int
    path: float
    before: float
    after: float

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
                    found.append(Burst(i, j, first, last, *map(float, told)))
    return found


def find(bursts: Sequence[Burst], kin: Skeleton = JOINTS) -> Extremes:
    """Of the bursts that hide a wrist or an ankle which moves by `MOVES`: where the error falls
    most, least (or grows most), and one in the middle.
    """
    gain = np.array([each.before - each.after for each in bursts])
    use = [kin.joints[each.joint] in ENDS and each.path >= MOVES for each in bursts]
    return extremes(gain, np.array(use, bool))


def trick(
    refiner: SequenceRefiner,
    sequences: Sequence[Sequence2D],
    bursts: Sequence[Burst],
    *,
    data: str = "synthetic",
    **options,
) -> Stepper:
    """The method step by step, on the burst that it bridges best and on the one where it harms
    most, as `find` finds them. data: named in the rule.
    """
    found, cases = find(bursts, refiner.skeleton), []
    for name, which in (("it helps", found.best), ("it does not", found.worst)):
        burst = bursts[which]
        least = "grows most" if burst.after > burst.before else "falls least"
        word = "falls most" if which == found.best else least
        told = Told(refiner, sequences[burst.sequence], burst)
        rule = (
            f"How this was found: in the first windows of {len(sequences)} sequences ({data}), "
            f"{found.count} bursts of at least {LEAST} frames hide a wrist or an ankle that moves "
            f"by at least {MOVES:.0f} px. Here (the {told.joint} of sequence {burst.sequence}, "
            f"frames {burst.first} to {burst.last}) its mean error {word}: "
            f"{step(burst.before, burst.after)}."
        )
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

    def pose(self, title: str, *more: tuple[str, Float[np.ndarray, "t k 2"], str]) -> Picture:
        """Everybody in the middle of the burst; a cross: the joint is hidden there."""
        at = (self.burst.first + self.burst.last) // 2
        marks = np.where(self.sequence.hidden[at], HIDDEN, VISIBLE)
        people = [
            People("truth", "truth", self.truth[at], small=True),
            People("input, ✕ hidden", "detector", self.detected[at], marks, small=bool(more)),
        ]
        people += [People(name, role, xy[at], small=True) for name, xy, role in more]
        box = around(self.truth[at], self.detected[at], pad=0.08)
        return Picture(f"{title}, frame {at}", people=people, box=box)

    def track(self, box: str) -> Step:
        name = "xy"[self.axis]
        burst, elsewhere = self.burst, self.outside(self.off)
        lucky = bool(burst.before < elsewhere.mean())
        words = (
            f"The detector looks at every frame by itself. In frames {burst.first} to {burst.last} "
            f"something hides the {self.joint} (shaded: all frames in which it is hidden). "
            f"It guesses{' well' * lucky}, off by {burst.before:.1f} px on average; in the other "
            f"frames by {elsewhere.mean():.1f}, at worst {elsewhere.max():.0f}: it errs without an "
            "occluder, too. HANet gets this track and nothing else: no picture, no word about "
            "hidden joints. It begins with the flow, the mean of three poses in a row."
        )
        panels = [
            self.lines(f"{self.joint}, {name}", f"{name}, px", self.voices(self.one), wide=2.0),
            self.pose("the whole body"),
        ]
        equation = (
            r"\bar{P}_t = \frac{1}{3} \big({\color{detector} P_t} + {\color{detector} P_{t+d}} "
            r"+ {\color{detector} P_{t-d}}\big)"
        )
        title = "A good guess on a track that jumps" if lucky else "A track that jumps"
        return Step(title, words, box, panels, equation)

    @cached_property
    def off(self) -> Float[np.ndarray, "t"]:
        """How far the input's joint is from the truth."""
        return joint_distances(self.detected, self.truth)[:, self.burst.joint]

    def outside(self, values: Float[np.ndarray, "t"]) -> Float[np.ndarray, "n"]:
        """Values of the frames of the window that are not in the burst."""
        return np.delete(values, range(self.burst.first, self.burst.last + 1))

    def kinematics(self, box: str) -> Step:
        v, a = (lambda xy, i=i: self.one(motion(xy)[i]) for i in (0, 1))
        jerks, real = np.abs(a(self.detected)), np.abs(a(self.truth))
        inner = jerks[self.burst.frames].max()
        still = spans(jerks[self.burst.frames] <= real.max())
        first, last = np.add(max(still, key=np.ptp, default=(0, -1)), self.burst.first)
        off, told = self.off[first : last + 1], ""
        if len(off) > 2 and off.min() > MOVES:
            told = (
                f" In frames {first} to {last} the input moves as calmly as a real joint, "
                f"{off.mean():.0f} px from the truth: the edges give that away, not the middle."
            )
        words = (
            "Velocity is the change of place from one frame to the next, acceleration the change "
            "of velocity. Bodies are heavy, so real joints do neither abruptly: here the true "
            f"acceleration is at most {real.max():.0f} px/frame², that of the input {inner:.0f} in "
            f"the burst and {self.outside(jerks).max():.0f} in the other frames. Jumps tell HANet "
            f"which tracks not to believe.{told}"
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
        lines = offset_lines(inside, names, self.burst.joint, self.axis, self.truth - self.detected)
        inner = (inside.read >= self.burst.first) & (inside.read <= self.burst.last)
        sizes = np.abs(inside.offsets[:, inner, self.burst.joint, self.axis]).mean(1)
        said = ", ".join(f"{name} {size:.1f}" for name, size in zip(names, sizes))
        moved = np.abs(inside.offsets.sum(0)[inner, self.burst.joint, self.axis]).mean()
        needed = np.abs(self.one(self.truth - self.detected)[inside.read[inner]]).mean()
        words = (
            f"The encoder reads one frame in {inside.read[1]}. Each of its levels is twice as wide "
            "as the one before, and proposes how far the joint should be moved. Mean size in "
            f"frames {self.burst.first} to {self.burst.last}, px: {said}. Their sum moves the "
            f"joint by {moved:.1f} px there; needed were {needed:.1f}."
        )
        panels = [self.lines("offset by level", "px", lines)]
        equation = (
            r"{\color{ours} P'} = {\color{detector} P} + {\color{ours} \frac{1}{N_L} "
            r"\sum_\ell x_\ell} \qquad x_\ell = \mathrm{Conv1D}_\ell(Z_\ell)"
        )
        return Step("Every level proposes an offset", words, box, panels, equation)

    def attention(self, box: str) -> Step:
        read, maps = self.inside.read, self.inside.maps[ENCODER]
        given = maps[-1].mean(0)
        inner = self.sequence.hidden[read, self.burst.joint]
        asks = int(np.abs(read - (self.burst.first + self.burst.last) / 2).argmin())
        off = joint_distances(self.detected, self.truth).mean(1)[read]
        most, least = int(given[asks].argmax()), int(given[asks].argmin())
        bars = [
            Bar(f"{t}: {far:.0f} px off", 100 * w, *(("hidden", "✕") if lost else ("visible", "")))
            for t, far, w, lost in zip(read, off, given[asks].tolist(), inner)
        ]
        words = (
            f"How can an offset be known? Frame {read[asks]} asks all frames. It listens most to "
            f"frame {read[most]}, where the input's joints are off by {off[most]:.1f} px on "
            f"average, and least to frame {read[least]} ({off[least]:.1f} px): beside each bar "
            f"stands how far off that frame is. ✕: the {self.joint} is hidden there, but not "
            "always wrong. (Last level, mean of its heads; colours say how many times "
            "an even share, by powers of 2.)"
        )
        times = np.log2(style.times_uniform(given))
        low, high = -style.LOG2_RANGE, style.LOG2_RANGE
        scale = {"diverging": True, "ends": (f"1/{2**high:g}x", f"{2**high:g}x")}
        who = Heat(times, np.eye(2, 3), "log2 of times uniform", low, high, **scale)
        end = len(read) - 0.5
        panels = [
            Picture("a row asks a column, in time", heat=who, box=(-0.5, -0.5, end, end)),
            Bars(f"whom frame {read[asks]} asks, % of attention", "%", bars, wide=1.3),
        ]
        equation = (
            r"{\color{ours} \mathrm{softmax}\Big(\frac{QK^T}{\sqrt{D}}\Big)} V \qquad "
            r"Q, K, V = Z W + E_{pos}"
        )
        return Step("Frames ask frames", words, box, panels, equation)

    def refinement(self, box: str) -> Step:
        inside, burst = self.inside, self.burst
        ends = (self.detected, inside.final)
        everything = step(*(float(joint_distances(xy, self.truth).mean()) for xy in ends))
        bars = [Bar("input", burst.before, "detector"), Bar("HANet", burst.after, "ours")]
        words = (
            "The sums (dots) are joined by lines, and a decoder that compares them with velocities "
            "and accelerations corrects every frame. In this case the error of the "
            f"{self.joint} in frames {burst.first} to {burst.last} goes "
            f"{step(burst.before, burst.after)}, of all joints in the window {everything}."
        )
        name = "xy"[self.axis]
        at = inside.read.astype(float)
        dots = Line("refined P'", at, self.one(inside.refined), "ink", "dots")
        lines = [*self.voices(self.one, ("final", "ours")), dots]
        panels = [
            self.lines(f"{self.joint}, {name}", f"{name}, px", lines, wide=1.6),
            self.pose("the whole body", ("final", inside.final, "ours")),
            Bars("px from the truth in the burst", "px", bars),
        ]
        better = burst.after < burst.before
        equation = (
            r"{\color{ours} P_s} = \mathrm{line}({\color{ink} P'}) + \mathrm{Decoder}\big(V, "
            r"(S_v; S_a; X)\, W_M\big)\, W_D"
        )
        title = "Nearer to the truth" if better else "Further away from it"
        return Step(title, words, box, panels, equation)


# --- an exercise in the explorer ------------------------------------------------------------------

MOST = 8  # frames that may be hidden in it


def harm(explorer: HANetExplorer) -> Callable[[Mapping, Refined], float]:
    """The score of an exercise in the explorer: by how much HANet's mean error rises in the frames
    in which the reader hides the joint that is chosen now, px; NaN for more than `MOST` frames,
    where anything else is changed, and where nobody knows the truth.
    """
    needed = {name for name, c in explorer.declared.items() if c.needs == "model"} - {"span"}
    usual = {name: explorer.state[name] for name in needed}.items()

    def measure(state: Mapping, found: Refined) -> float:
        lost = found.hidden
        if found.truth is None or not 0 < lost.sum() <= MOST or not usual <= state.items():
            return float("nan")
        answers = found.plain, found.inside.final
        plain, after = (joint_distances(xy, found.truth)[lost].mean() for xy in answers)
        return float(after - plain)

    return measure


def worst_span(explorer: HANetExplorer, every: int = 3) -> tuple[tuple[int, int], float]:
    """Of the spans of `MOST` frames that begin at each `every`-th frame of the window, the one
    in which hiding the chosen joint does most `harm`, and how much, px.
    """
    found, measure = {}, harm(explorer)
    for first in range(0, explorer.last_frame - MOST + 2, every):
        span = (first, first + MOST - 1)
        state = {**explorer.state, "span": list(span)}
        found[span] = measure(state, explorer.compute(state))
    worst = max(found, key=found.get)
    return worst, found[worst]


# --- the explorer ---------------------------------------------------------------------------------

NOTHING, ONE, LIMB, ALL = "nothing", "this joint", "it and its neighbours", "all joints"
LOST, HELD = "a guess", "no move"


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
    guess: Float[np.ndarray, "t k 2"]  # what it says where it sees nothing
    detected: Float[np.ndarray, "t k 2"]  # what HANet reads
    hidden: Bool[np.ndarray, "t k"]  # by the reader
    bursts: Bool[np.ndarray, "t k"]  # hidden before
    truth: Float[np.ndarray, "t k 2"] | None
    inside: Inside
    plain: Float[np.ndarray, "t k 2"]  # the answer by the same model, nothing changed
    looks: dict  # of the attention view

    @property
    def voices(self) -> list[tuple[str, str, np.ndarray]]:
        """Name, role and poses of who says where the joints are."""
        said = [("input", "detector", self.detected), ("final", "ours", self.inside.final)]
        return said if self.truth is None else [("truth", "truth", self.truth), *said]

    @property
    def reference(self) -> Float[np.ndarray, "t k 2"]:
        """What distances are from."""
        return self.given if self.truth is None else self.truth


def offset_lines(
    inside: Inside,
    names: Sequence[str],
    joint: int,
    axis: int,
    needed: Float[np.ndarray, "t k 2"] | None = None,
) -> list[Line]:
    """What the levels add to a coordinate, their sum, and what was needed, where that is known;
    px.
    """
    parts = inside.offsets[:, :, joint, axis]
    tones = np.rint(np.linspace(2, 4, len(parts)))  # the ends do not stand out on every paper
    names = [name.removeprefix("level ") for name in names]
    rows = [(name, part, int(tone), "both") for name, part, tone in zip(names, parts, tones)]
    rows.append(("sum", parts.sum(0), "ours"))
    if needed is not None:
        rows.append(("needed", needed[inside.read, joint, axis], "truth"))
    return [Line(name, inside.read.astype(float), *rest) for name, *rest in rows]


class HANetExplorer(Compared):
    """One window of a sequence over time: move through it, hide a joint by a drag over its line,
    and see what HANet makes of it, and which frame looks at which.

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
        self.ends = min(longest, refiner.window) - 1, max(longest - refiner.window, 0)
        options |= {"name": "hanet", "joint": joint, "last_frame": self.ends[0]}
        super().__init__(refiner, len(sequences), **options)
        if "attention" not in (options.get("state") or ""):
            self.attention.restore({"focus": self.state["frame"] // refiner.model.config.interval})

    def declare(self) -> list[Control]:
        last, starts = self.ends
        interval, heads = self.refiner.model.config.interval, self.refiner.model.config.heads
        says = (LOST, HELD) if self.kin is JOINTS else (HELD,)
        controls = [
            scrubber(last // 2 // interval * interval, last),
            self.joints(),
            choice("hide", (NOTHING, ONE, LIMB, ALL), ONE),
            number("sequence", self.first, len(self.sequences) - 1, more=True),
            number("from frame", 0, starts, more=True),
            choice("axis", "xy", needs="drawing", more=True),
            choice("detector says", says, more=True),
            choice("refined by", self.models, more=True),
            switch("blind", label="blind to itself (erratum)", more=True),
            collected("span", (), [last // 3, last // 2]),
            collected("knocked out", heads_of(taps_of(self.refiner.model), heads)),
        ]
        return [each for each in controls if each.kind != "number" or each.high]

    # --- what takes a model -----------------------------------------------------------------------

    def hidden(self, state: Mapping, frames: int) -> Bool[np.ndarray, "t k"]:
        """What the reader hides."""
        joint = self.kin.index(state["joint"])
        here = np.arange(len(self.kin)) == joint
        limb = here | (self.kin.adjacency[joint] > 0)
        joints = {NOTHING: here & False, ONE: here, LIMB: limb, ALL: here | True}[state["hide"]]
        if len(state["span"]) not in (0, 2) or any(type(t) is not int for t in state["span"]):
            raise BadParameter(f"span is {state['span']}", remedy="give its first and last frame")
        first, last = state["span"] or (0, -1)
        times = np.arange(frames)
        return ((times >= first) & (times <= last))[:, None] & joints

    def window(self, state: Mapping) -> tuple[int, list[np.ndarray | None]]:
        """Number of the first frame, and detections, truth and bursts of the window. The sliders
        then end with this sequence; a state may say more, as it may come with another one.
        """
        of = self.sequences[state.get("sequence", 0)]
        last = max(len(of.detected) - self.refiner.window, 0)
        start = int(min(state.get("from frame", 0), last))
        rows = slice(start, start + self.refiner.window)
        parts = (of.detected, of.xy_frame if self.labelled else None, of.hidden)
        self.last_frame = min(len(of.detected), self.refiner.window) - 1
        wide = dict(self.declared)
        ends = {"frame": self.last_frame, "from frame": last}
        self.redeclare(**{n: replace(wide[n], high=end) for n, end in ends.items() if n in wide})
        self.declared = wide
        return start, [None if part is None else np.asarray(part)[rows] for part in parts]

    def guess(
        self, state: Mapping, given: np.ndarray, truth: np.ndarray | None
    ) -> Float[np.ndarray, "t k 2"]:
        """What the detector says of joints that it cannot see. A guess is never luckier than what
        it said before: of the two, the one that is further from the truth counts.
        """
        if state["detector says"] == HELD:
            before = int(min((state["span"] or [0])[0], len(given))) - 1
            return np.broadcast_to(given[max(before, 0)], given.shape)
        xy = (given if truth is None else truth)[None]
        guess = detect(xy, np.ones(xy.shape[:3], bool), np.random.default_rng(self.seed))[0]
        luckier = joint_distances(guess, xy[0]) < joint_distances(given, xy[0])
        return np.where(luckier[..., None], given, guess)

    def compute(self, state: Mapping) -> Refined:
        start, (given, truth, bursts) = self.window(state)
        hidden = self.hidden(state, len(given))
        guess = self.guess(state, given, truth)
        detected = np.where(hidden[..., None], guess, given)
        edit = without_heads(state["knocked out"], taps_of(self.refiner.model))
        inside, blind = {}, []
        for name, model in self.models.items():
            model = model.switched(blind=True) if state["blind"] else model
            inside[name] = look_inside(model, detected, edit=edit)
            blind.append(model.model.config.blind)
        chosen = {"names": tuple(inside), "knocked_out": state["knocked out"], "hidden": []}
        return Refined(
            start,
            given,
            guess,
            detected,
            hidden,
            np.zeros_like(hidden) if bursts is None else bursts,
            truth,
            inside[state["refined by"]],
            self.models[state["refined by"]].refine(given),
            looks(*inside.values(), blind=all(blind), **chosen),
        )

    # --- what is shown ----------------------------------------------------------------------------

    def draw(self, state: Mapping, found: Refined) -> Tabs:
        place, *rest = self.curves(state, found)
        return {"over time": [[place, self.pose(found)], rest]}

    def pose(self, found: Refined) -> Picture:
        marks = np.where(found.hidden, NEWLY_HIDDEN, np.where(found.bursts, HIDDEN, VISIBLE))
        said = {"detector": marks[:, None]}
        people = [
            People(name, role, xy[:, None], said.get(role), small=True)
            for name, role, xy in found.voices
        ]
        box = around(found.reference, pad=0.06)
        return Picture("click a joint to choose it", people=people, box=box, click=Click("joint"))

    def curves(self, state: Mapping, found: Refined) -> Iterator[Lines]:
        """Place, velocity, offsets and errors of the joint over the window. Their scales are those
        of what the detector says, so they stay when something is hidden.
        """
        joint, axis = self.kin.index(state["joint"]), "xy".index(state["axis"])
        inside, hides, last = found.inside, state["hide"] != NOTHING, len(found.given) - 1
        times = np.arange(last + 1.0)
        panel = partial(
            Lines,
            x="frame of the window",
            shaded=[(float(a), float(b), "hidden") for a, b in spans(found.bursts[:, joint])],
            cursor="frame",
            span="span" if hides else "",
            x_range=(-0.5, last + 0.5),
        )

        def one(xy: np.ndarray) -> np.ndarray:
            return xy[:, joint, axis]

        def speed(xy: np.ndarray) -> np.ndarray:
            return one(motion(xy)[0])

        def away(xy: np.ndarray) -> np.ndarray:
            return joint_distances(xy, found.reference)[:, joint]

        def voices(values: Callable[[np.ndarray], np.ndarray]) -> list[Line]:
            return [Line(name, times, values(xy), role) for name, role, xy in found.voices]

        known = one(np.concatenate((found.given, found.guess, found.reference)))
        refined = Line("refined", times[inside.read], one(inside.refined), "ink", "dots")
        title = state["joint"] + ": drag to hide it (yellow)" * hides
        title += "; other shade: bursts" * bool(found.bursts[:, joint].any())
        ends = (float(known.min()) - 3, float(known.max()) + 3)
        unit = f"{state['axis']}, px"
        yield panel(title, y=unit, lines=[*voices(one), refined], y_range=ends, wide=2.0)
        top = max(float(np.abs(speed(found.given)).max()), 1.0)
        yield panel("velocity", y="px/frame", lines=voices(speed), y_range=(-top, top))
        top = 1.5 * max(*away(found.given), *away(found.plain), 5.0)
        names = offset_names(len(inside.offsets), self.refiner.model.config)
        needed = None if found.truth is None else found.truth - found.detected
        added = offset_lines(inside, names, joint, axis, needed)
        yield panel("offset by level", y="px", lines=added, y_range=(-top, top))
        title = "distance from the detector" if found.truth is None else "error"
        errors = [line for line in voices(away) if line.role != "truth"]
        if not np.array_equal(inside.final, found.plain):
            title += "; dashed: unchanged"
            errors.append(Line("", times, away(found.plain), "ours", dash=(4, 3)))
        yield panel(title, y="px", lines=errors, y_range=(0.0, top))

    def say(self, state: Mapping, found: Refined) -> str:
        index = state.get("sequence", 0)
        of = self.sequences[index]
        name = of.name if isinstance(of, Motion2D) else f"sequence {index}"
        lost, final = found.hidden, found.inside.final
        end = found.start + len(lost) - 1
        text = f"{name}, frames {found.start} to {end}: {state['refined by']} HANet"
        before, after, plain = (
            joint_distances(xy, found.reference) for xy in (found.detected, final, found.plain)
        )
        moved = joint_distances(final, found.plain)
        if found.truth is None:
            text += f" moves joints by {joint_distances(final, found.detected).mean():.1f} px"
        else:
            text += f", error {step(before.mean(), after.mean())}"
        if not moved.any():
            return f"{text}."
        what, where, cells = "what you changed", "", ...
        if lost.any():
            who = ALL if state["hide"] == ALL else state["joint"]
            times = np.flatnonzero(lost.any(1))
            switched = bool(state["knocked out"]) or state["blind"]
            what = f"{who}{' and neighbours' * (state['hide'] == LIMB)} hidden in frames "
            what += f"{times[0]} to {times[-1]}{' and your switches' * switched}"
            where, cells = " there", lost
        if found.truth is None:
            return f"{text}; {what}: its answer moves by {moved[cells].mean():.2f} px{where}."
        change = step(plain[cells].mean(), after[cells].mean(), 2, f"px{where}")
        if where:
            given = joint_distances(found.given, found.reference)
            change += f"; the input there {step(given[cells].mean(), before[cells].mean())}"
        return f"{text}; {what}: {change}."

    def asks(self) -> Iterable[Mapping]:
        """The other axis, all that can be hidden, every joint, a gap of `MOST` frames anywhere."""
        yield from self.each("axis", "hide", "joint")
        ends = ([i, i + MOST - 1] for i in range(self.last_frame - MOST + 2))
        yield from ({"hide": ONE, "span": end} for end in ends)

    def recompute_at(self, state: Mapping) -> dict:
        """Maps of the first gap alone: more would be too large for a page."""
        own = (state[name] == self.state[name] for name in ("span", "joint", "axis"))
        self.stores_attention = all(own)
        return super().recompute_at(state)
