"""OTPose behind the single-frame estimator: harm what that one sees, and watch flows, masks,
attention, offsets and the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from ... import geometry
from ...data.windows import Window, Windows, normalised
from ...errors import BadParameter
from ...models.otpose import FLOWS, N_FEATURES
from ...occlusion import cover
from ...predict import ClipEstimator
from ...taps import tap_table, uniform, without_heads
from .. import steps
from ..attention import Axis
from ..estimates import MEAN, SINGLE, Edits, Inside, looked, occlusion_known, peaks
from ..explorer import Compared, Control, choice, collected, far, heads_of, number, opacity, step
from ..panels import Arrows, Bar, Bars, Click, Heat, People, Picture, Tabs, marks_of
from ..stage import brush_controls, covered, painted, patch, patch_grid
from ..steps import Case, Step, Stepper

FINAL = "OTPose"
FRAMES = ("t-2", "t-1", "t", "t+1", "t+2")
KEY = 2  # of the five frames
SOME = {
    "the key frame": (2,),
    "all but it": (0, 1, 3, 4),
    "all five": (0, 1, 2, 3, 4),
}
MAPS = ("flow", "mask", "psi", "phi", "out")  # taps that are a map of every joint


# --- what the network does ------------------------------------------------------------------------


def rough_heatmaps(estimator: ClipEstimator, windows: Windows) -> Float[Tensor, "n 5 k h w"]:
    """What the single-frame estimator sees in all five frames of everybody: all that the rest of
    the network ever sees.
    """
    with torch.inference_mode():
        parts = np.array_split(np.arange(len(windows)), -(-len(windows) // 16))
        return torch.cat([estimator.rough(windows.batch(part)["images"]) for part in parts])


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


def degraded(
    rough: Float[Tensor, "n 5 k h w"], strength: int | float, *, frames: Sequence[int] = range(5)
) -> Float[Tensor, "n 5 k h w"]:
    """Heatmaps as of a worse estimator: blurred (sigma 2 px) and dimmed (to a tenth) by 0 ... 1."""
    if not strength:
        return rough
    at = list(frames)
    weak = gaussian_blur(rough[:, at].flatten(0, 1), [13, 13], [2 * strength] * 2)
    out = rough.clone()
    out[:, at] = (1 - 0.9 * strength) * weak.unflatten(0, (-1, len(at)))
    return out


def exchanges(taps: Mapping[str, np.ndarray], feature: str, step: int = 1) -> Edits:
    """An edit that takes one of the eight features of all joints from the person `step` rows
    before. Eq. 2 would make masks of the other's flows: they are kept as `taps` have them.
    """
    edits = {feature: lambda x: x.roll(step, 0)}
    if feature.startswith("flow."):
        mask = feature.replace("flow", "mask")
        edits[mask] = lambda x: torch.as_tensor(taps[mask], device=x.device)
    return edits


def under_square(
    windows: Windows, row: int, joint: int, frames: Sequence[int]
) -> UInt8[np.ndarray, "5 h w 3"]:
    """A person's crops with a square, a quarter of the crop wide, painted over the joint's place in
    the key frame, in some frames.
    """
    window, size = windows.sample(row), windows.config.size
    x, y = window.xy_crop[KEY, joint].tolist()
    brush = [patch(x, y, size[0] // 4, (t, t)) for t in frames]
    return np.stack(painted(list(window.crops), covered(brush, size, len(FRAMES))))


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


def readings(
    inside: Inside, joint: int, dilations: Sequence[int], to_crop: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "d 9 5"]:
    """Where the refinement of the first person reads a joint's map around its answer: the nine
    places of a plain convolution (x, y), those that are read instead (x, y), px of the crop, and
    the modulation that they are weighed by.
    """
    parts = (inside.taps[f"refine.{name}"][0, :, joint] for name in ("offsets", "modulation"))
    y, x = np.unravel_index(inside.heatmaps[0, joint].argmax(), inside.heatmaps.shape[2:])
    offsets, modulation = (part[..., y, x] for part in parts)  # (dy, dx) heatmap px
    side = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1)), -1).reshape(9, 2)
    plain = (x, y) + np.array(dilations)[:, None, None] * side
    ends = [at @ to_crop[:, :2].T + to_crop[:, 2] for at in (plain, plain + offsets[..., ::-1])]
    return np.concatenate((*ends, modulation[..., None]), -1)


# --- the trick in one screen ----------------------------------------------------------------------

PIPELINE = ("five heatmaps", "flows", "masks", "transformers", "refinement and answer")
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


def true_places(windows: Windows) -> tuple[Float[np.ndarray, "n k 2"], Int[np.ndarray, "n k"]]:
    """Of the key frames, px of the crop, NaN without a label; and the flags."""
    truth = windows.poses()
    xy = geometry.apply(windows.affines(), truth.xy_frame).astype(np.float32)
    return np.where(truth.labelled[..., None], xy, np.nan), truth.visibility


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


def trick(
    estimator: ClipEstimator,
    windows: Windows,
    rough: Float[Tensor, "n 5 k h w"],
    answers: Answers,
    shown: Int[np.ndarray, "n k"],
    around: Sequence[Float[np.ndarray, "5 _ k 2"]],
    **options,
) -> Stepper:
    """The method step by step, on the joint of `extremes` that it helps and on the one that it
    harms, among those that are hidden in the key frame. answers: of `answered`; shown: in how many
    other frames each joint is seen; around: true places of everybody in each window's frames, px of
    the crop, its own person first.
    """
    truth, flags = true_places(windows)
    use = (flags == 1) & (shown >= 2)
    cases = []
    for place, name in zip(extremes(answers, truth, use), ("it helps", "it does not")):
        told = Told(
            estimator,
            windows.sample(place[0]),
            look_inside(estimator, rough[[place[0]]]),
            rough[place[0]].float().cpu().numpy(),
            {who: xy[place[0]] for who, xy in answers.items()},
            place[1],
            around[place[0]],
        )
        single, mean, ours = (told.away(told.xy[who]) for who in (SINGLE, MEAN, FINAL))
        least = "furthest above" if ours > min(single, mean) else "least below"
        where = "furthest below" if name == "it helps" else least
        rule = (
            f"How this case was found: of {use.sum()} joints in {len(windows.pairs)} test clips "
            "(synthetic) that are hidden in the frame t and visible in two or more other frames, "
            f"the one whose error with OTPose lies {where} that of the better rival: "
            f"single frame {single:.1f}, mean of five frames {mean:.1f}, OTPose {ours:.1f} px."
        )
        cases.append(Case(name, rule, told.steps))
    return Stepper(estimator.skeleton, PIPELINE, cases, **{"name": "otpose_steps", **options})


@dataclass(frozen=True, eq=False)
class Told:
    """One joint of one person on the way through OTPose, told in five steps; px of the crop."""

    estimator: ClipEstimator
    window: Window
    inside: Inside
    rough: Float[np.ndarray, "5 k y x"]
    xy: Mapping[str, Float[np.ndarray, "k 2"]]  # by who says it
    j: int
    around: Float[np.ndarray, "5 _ k 2"]  # where everybody is, the person first

    @property
    def steps(self) -> list[Step]:
        told = (self.maps, self.flows, self.masks, self.transformers, self.answer)
        return [tell(box) for tell, box in zip(told, PIPELINE)]

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

    def peak(self, tap: str) -> float:
        """How far the highest place of a tap's map is from the joint's true place."""
        return self.away(peaks(self.estimator, torch.from_numpy(self.inside.taps[tap]))[0])

    def whom(self, t: int) -> str:
        """The joint that lies nearest to the highest place of the joint's map in a frame."""
        spot = peaks(self.estimator, torch.from_numpy(self.rough[[t]]))[0, self.j]
        off = np.linalg.norm(self.around[t] - spot, axis=-1)
        who, k = np.unravel_index(np.nanargmin(off), off.shape)
        name = self.estimator.skeleton.joints[k].replace("_", " ")
        return f"{'neighbour: ' * bool(who)}{name}"

    def dot(self, name: str, role: str, xy: Float[np.ndarray, "k 2"]) -> People:
        """One joint alone."""
        own = (np.arange(len(xy)) == self.j)[:, None]
        return People(name, role, np.where(own, xy, np.nan))

    def over(
        self, title: str, values: Float[np.ndarray, "y x"], t: int = KEY, top: float = 0.0
    ) -> Picture:
        """A map over the crop of a frame, from 0 to top, or to its highest value."""
        to_crop = self.estimator.model.to_crop.cpu().numpy()
        heat = Heat(values, to_crop, "", 0.0, float(f"{top or values.max():.2g}") or 1.0)
        place = self.dot("truth", "truth", self.around[t, 0])
        return Picture(title, [self.window.crops[t]], [place], heat=heat)

    def taps(self, *names: str) -> list[Picture]:
        maps = {name.replace(".", " "): self.inside.taps[name][0, self.j] for name in names}
        return [self.over(f"{name}, up to {x.max():.2g}", x) for name, x in maps.items()]

    def maps(self, box: str) -> Step:
        values, whom = self.rough[:, self.j], [self.whom(t) for t in range(len(FRAMES))]
        sure = values.max((1, 2))
        top, each = float(sure.max()), enumerate(whom)
        panels = [self.over(f"{FRAMES[t]}: {who}", values[t], t, top) for t, who in each]
        has = [FRAMES[t] for t, who in enumerate(whom) if who == self.joint]
        others = " and ".join(name for name in has if name != FRAMES[KEY])
        first = "hits" if FRAMES[KEY] in has else "misses"
        near = hills(self.estimator, values, self.truth[self.j])
        words = (
            f"The {self.joint} is hidden in the frame t. An estimator of single pictures draws a "
            "map of it in each frame (one scale); above each stands the true joint that the map's "
            f"highest place is nearest to. Frame t {first} the {self.joint} "
            f"({self.away(self.xy[SINGLE]):.1f} px off; its hill is {sure[KEY]:.2f} high). Right "
            f"in the others: {others or 'none'}. But where maps are added up, weaker hills count, "
            f"too: at the true place in t they are {near} high. "
            "Dots are the truth, which the network never sees."
        )
        equation = r"H_{t-2} \quad H_{t-1} \quad {\color{detector} H_t} \quad H_{t+1} \quad H_{t+2}"
        title = f"Frame t {first} it; it is found in {others or 'no other frame'}"
        return Step(title, words, box, panels, equation)

    def flows(self, box: str) -> Step:
        words = (
            "The five maps are added up: the past with t (prev), the future with t (sub), and all "
            "five (total). In prev and sub, frames farther away count less. The highest place of "
            f"the total is {self.peak('flow.total'):.1f} px off. The total is five times the plain "
            'mean: this is the rival "mean of five frames", which costs nothing.'
        )
        equation = (
            r"F_{prev} = {\color{detector} H_t} + \tfrac{1}{2} H_{t-1} + \tfrac{1}{3} H_{t-2} "
            r"\qquad F_{total} = \sum_i H_i"
        )
        panels = self.taps("flow.prev", "flow.sub", "flow.total")
        return Step("Maps are added up", words, box, panels, equation)

    def masks(self, box: str) -> Step:
        words = (
            "Each flow is multiplied, place by place, by the sum of all joints' total flows: high "
            "where joints overlap, and so, says the paper, where occlusion happens. Nothing is "
            f"learned here. The highest place of the total mask is {self.peak('mask.total'):.1f} "
            "px off."
        )
        equation = r"{\color{hidden} M_k} = F_k \otimes \sum_{j} F_{total}^{\,j}"
        panels = self.taps("mask.prev", "mask.sub", "mask.total")
        return Step("Flows are multiplied to masks", words, box, panels, equation)

    def transformers(self, box: str) -> Step:
        shares = heard(attention_maps(self.estimator, self.inside), self.j)
        names = self.estimator.skeleton.joints
        bars = [Bar(*bar) for bar in zip(names, (100 * shares).tolist(), ["ours"] * len(names))]
        rough = torch.from_numpy(self.rough)[None].to(self.estimator.device)
        alike = look_inside(self.estimator, rough, (), edit={"branch.*.map": uniform()})
        words = (
            "Two transformers read the past and the future. A token is one map of one joint, so "
            f"joints ask joints: the {self.joint} gives most of its attention to the "
            f"{names[int(shares.argmax())].replace('_', ' ')} ({shares.max():.0%}). Their answers "
            "phi need not look like the joint: they say where the sum is to be read. In this case "
            f"the {self.joint} is {self.away(self.xy[FINAL]):.1f} px off; if all looked at all "
            f"alike, {self.away(alike.xy_crop[0]):.1f} px."
        )
        panels = [
            *self.taps(*(f"phi.{b}" for b in self.estimator.model.config.branches)),
            Bars("its attention, %", "%", bars, wide=1.2),
        ]
        equation = r"{\color{ours} \mathrm{softmax}\Big(\frac{QK^T}{\sqrt{D}}\Big)} V"
        return Step("Joints ask joints, in past and future", words, box, panels, equation)

    def answer(self, box: str) -> Step:
        roles = {SINGLE: "detector", MEAN: "rival", FINAL: "ours"}
        single, mean, ours = off = [self.away(self.xy[who]) for who in roles]
        bars = [Bar(who, value, role) for (who, role), value in zip(roles.items(), off)]
        dots = [self.dot(who, role, self.xy[who]) for who, role in roles.items()]
        dots.append(self.dot("truth", "truth", self.truth))
        means = {who: np.nanmean(far(self.xy[who], self.truth)) for who in roles}
        told = ", ".join(f"{who} {value:.1f} px" for who, value in means.items())
        to_crop = self.estimator.model.to_crop.cpu().numpy()
        dilations = self.estimator.model.config.dilations
        ends = readings(self.inside, self.j, dilations, to_crop)[len(dilations) // 2]
        arrows = Arrows("ours", ends * (1, 1, 1, 1, 2.4) + (0, 0, 0, 0, 0.8), "read elsewhere")
        crop = [self.window.crops[KEY]]
        panels = [
            self.over("mixed, and where it is read", self.inside.taps["refine.moved"][0, self.j]),
            self.over("the answer P", self.inside.heatmaps[0, self.j]),
            Picture(f"the {self.joint}", crop, dots, wide=1.7),
            Bars(f"{self.joint}, px from the truth", "px", bars, wide=1.4),
        ]
        panels[0] = replace(panels[0], arrows=[arrows])
        words = (
            "Convolutions mix the total flows of all joints; the transformers' answer says where "
            "these maps are read (arrows): by a convolution whose nine arms are moved and weighed. "
            "It reads all joints' mixed maps, not this one alone, so P can peak elsewhere. "
            f"Mean error of all joints: {told}."
        )
        equation = r"P = {\color{ours} \mathrm{Refine}}(F_{total};\, \phi_{prev}, \phi_{sub})"
        title = "Nearer than both rivals" if ours < min(single, mean) else "A rival is nearer"
        return Step(title, words, box, panels, equation)


def hills(
    estimator: ClipEstimator, values: Float[np.ndarray, "5 y x"], xy: Float[np.ndarray, "2"]
) -> str:
    """How high the maps of a joint in the five frames are at a place, px of the crop, in words."""
    to_heatmap = estimator.model.to_heatmap.cpu().numpy()
    at = np.rint(to_heatmap[:, :2] @ xy + to_heatmap[:, 2]).astype(int)
    x, y = at.clip(0, np.subtract(values.shape[:0:-1], 1))
    return ", ".join(f"{value:.2f} ({t})" for t, value in zip(FRAMES, values[:, y, x]))


def heard(
    maps: Mapping[str, Float[np.ndarray, "layer head c c"]], joint: int
) -> Float[np.ndarray, "k"]:
    """Shares of the attention that a joint's features give to each joint's, in the last layer, mean
    of branches and heads. maps: of `attention_maps`.
    """
    mean = np.mean([branch[-1].mean(0) for branch in maps.values()], 0)
    k = len(mean) // N_FEATURES
    folded = mean.reshape(k, N_FEATURES, k, N_FEATURES)
    return folded[joint].sum(-1).mean(0)


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
        names = [*self.maps, "refine.moved"]
        return look_inside(self.models[by], self.person(index).rough[None], names)

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
        dots = [replace(who, xy=np.where((np.arange(len(who.xy)) == j)[:, None], who.xy, np.nan))]

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
        for dilation, ends in zip(self.config.dilations, reads):
            arrows = Arrows("ours", ends * (1, 1, 1, 1, 2.4) + (0, 0, 0, 0, 0.8))
            offsets.append(
                over("refine.moved", f"dilation {dilation} (thick: weighs more)", [arrows])
            )
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
        """Of all joints: what OTPose makes of the single frame's error; without truth, of its
        place.
        """
        use, (single, answer) = found.person.flags > 0, found.xy.values()
        title, low = f"moved, {SINGLE} → {FINAL}, px", 0
        values = far(answer, single)
        if use.any():
            title = f"change of error, {SINGLE} → {FINAL}, px (below 0 is better); ✕: hidden"
            low = -1
            gain = far(answer, found.person.truth) - far(single, found.person.truth)
            values = np.where(use, gain, np.nan)
        end = max(self.config.size[0] / 4, np.nanmax(abs(values)))
        marks = np.where(found.flags == 1, "✕", "").tolist()
        look = {"range": (low * end, end), "click": Click("joint"), "wide": 3.0}
        return self.bars(title, "px", values, marks=marks, **look)

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
        said = f"{joint} has no label"
        if use[j]:
            said = f"{'hidden ' * int(found.flags[j] == 1)}{joint} {step(before[j], after[j])}"
        return (
            f"Error, {SINGLE} → {FINAL}: {said}; all labelled joints "
            f"{step(before[use].mean(), after[use].mean())}; what you changed: "
            f"{(after - plain)[use].mean():+z.1f} px."
        )

    def asks(self) -> Iterable[Mapping]:
        """The other maps and joints, two ways to change the input, and patches in every frame: on a
        grid of two by three, and where the single frame sees the joint that is shown first.
        """
        yield from self.each("map", "joint")
        yield from ({"distance": value} for value in (0, 2))
        yield from ({"degrade": value} for value in (0.5, 1))
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


def rescuers(explorer: OTPoseExplorer, index: int, joint: int) -> dict[str, float]:
    """How far OTPose puts a joint, px of the crop, by the one frame that is painted over as `spots`
    says; the first: nothing is painted.
    """
    squares = spots(explorer, index, joint)
    brushes = [[], *([square] for square in squares.values())]
    rough = torch.stack([explorer.under_paint(index, json.dumps(b))[0] for b in brushes])
    found = look_inside(explorer.estimator, rough, ()).xy_crop[:, joint]
    off = np.linalg.norm(found - explorer.person(index).truth[joint], axis=-1)
    return dict(zip(("nothing", *(FRAMES[t] for t in squares)), off.tolist()))


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
