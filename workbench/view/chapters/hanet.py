"""HANet over time: what a window becomes inside the model, and hiding joints by a drag over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

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
    Arrows,
    Click,
    Line,
    Lines,
    People,
    Picture,
    Tabs,
    around,
    spans,
)

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


def kinematics(
    poses: Mapping[str, Float[np.ndarray, "k 2"]],
    moves: Mapping[str, tuple[Float[np.ndarray, "k 2"], float]],
    skeleton: Skeleton,
) -> Picture:
    """Poses over each other, oldest first, and arrows from the last one. Counterpart of HANet
    Fig. 1.

    moves: name -> (vectors in px, how many times enlarged they are drawn).
    """
    last = list(poses.values())[-1]
    # the middle of the neutral colours stands out from both papers
    people = [
        People(name, i, xy, skeleton=skeleton) for i, (name, xy) in enumerate(poses.items(), 2)
    ]
    arrows = []
    for (name, (vectors, times)), role in zip(moves.items(), ("ink", "soft")):
        ends = np.column_stack((last, last + times * vectors, np.full(len(last), 2)))
        arrows.append(Arrows(role, ends, f"{name}, drawn {times:g} times as long"))
    return Picture("", people=people, arrows=arrows)


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


def offset_lines(found: Refined, names: Sequence[str], joint: int, axis: int) -> list[Line]:
    """What the levels add to a coordinate, their sum, and what was needed; px."""
    inside = found.inside
    parts = inside.offsets[:, :, joint, axis]
    tones = 1 + np.rint(np.linspace(0, 3, len(parts)))  # the ends do not stand out on any paper
    names = [name.removeprefix("level ") for name in names]
    rows = [(name, part, int(tone), "both") for name, part, tone in zip(names, parts, tones)]
    rows.append(("sum", parts.sum(0), "ours"))
    if found.truth is not None:
        needed = (found.truth - found.detected)[inside.read, joint, axis]
        rows.append(("needed", needed, "truth"))
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
        """What the detector says of joints that it cannot see."""
        if state["detector says"] == HELD:
            before = int(min((state["span"] or [0])[0], len(given))) - 1
            return np.broadcast_to(given[max(before, 0)], given.shape)
        xy = (given if truth is None else truth)[None]
        return detect(xy, np.ones(xy.shape[:3], bool), np.random.default_rng(self.seed))[0]

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
        title += "; bursts: red" * bool(found.bursts[:, joint].any())
        ends = (float(known.min()) - 3, float(known.max()) + 3)
        unit = f"{state['axis']}, px"
        yield panel(title, y=unit, lines=[*voices(one), refined], y_range=ends, wide=2.0)
        top = max(float(np.abs(speed(found.given)).max()), 1.0)
        yield panel("velocity", y="px/frame", lines=voices(speed), y_range=(-top, top))
        top = 1.5 * max(*away(found.given), *away(found.plain), 5.0)
        names = offset_names(len(inside.offsets), self.refiner.model.config)
        added = offset_lines(found, names, joint, axis)
        yield panel("offset by level", y="px", lines=added, y_range=(-top, top))
        title = "distance from the detector" if found.truth is None else "error"
        errors = [line for line in voices(away) if line.role != "truth"]
        if not np.array_equal(inside.final, found.plain):
            title += "; dashed: unchanged"
            errors.append(Line("", times, away(found.plain), "ours", dash=(4, 3)))
        yield panel(title, y="px", lines=errors, y_range=(0.0, top))

    def say(self, state: Mapping, found: Refined) -> str:
        name = self.sequences[state.get("sequence", 0)].name
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
        return f"{text}; {what}: {change}."

    def asks(self) -> Iterable[Mapping]:
        """Everything that can be hidden of the chosen joint, along both axes."""
        return (hide | axis for axis in self.each("axis") for hide in self.each("hide"))
