"""Visibility-aware reasoning behind the backbone: what a crop becomes there, and the explorer that
switches joints and paints occluders.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ... import geometry
from ...data.windows import Window, Windows, normalised
from ...errors import BadParameter
from ...occlusion import cover
from ...predict import PoseEstimator
from ...predict.masked import MASK, Inside, Rescue, feature_maps, look_inside
from ...skeletons import Skeleton
from ...taps import without_heads
from ..attention import Axis
from ..estimates import occlusion_known
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
    switch,
)
from ..live import read_state
from ..panels import (
    OUTSIDE,
    VISIBLE,
    Arrows,
    Bar,
    Bars,
    Click,
    Heat,
    People,
    Picture,
    Tabs,
    around,
    marks_of,
)
from ..stage import covered, painted, patch_grid
from ..steps import Case, Step, Stepper, extremes

NAIVE, AWARE = "naive", "aware"


def percent(probability: Float[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """Cut off after a digit, so that none below a half reads as one."""
    return np.floor(1000 * probability) / 10


def rimmed(ends: Sequence | np.ndarray) -> list[Arrows]:
    """Arrows that are seen on every picture; ends: of `Arrows`."""
    return [Arrows("paper", np.add(ends, [0, 0, 0, 0, 3])), Arrows("ours", np.array(ends))]


# --- the trick in one screen ----------------------------------------------------------------------

PLAIN = "plain"  # the same estimator without the module
OFF = "mask off"  # the method's own weights, every map let through
FORCED = "mask on"  # the naive transformer under the method's mask
PIPELINE = ("a map a joint", "VisNet", "mask", "transformer", "answer")
MOST_HIDDEN = 8  # joints of 17 at least, of the people among whom the stepper's are found


def trick(
    aware: PoseEstimator,
    naive: PoseEstimator,
    windows: Windows,
    maps: Mapping[str, Float[Tensor, "n k y x"]],
    oks: Mapping[str, Float[np.ndarray, "n"]],
    least: int = MOST_HIDDEN,
    **options,
) -> Stepper:
    """The method step by step, on the person whom the mask helps most and on the one whom it harms
    most: `extremes` of the gain in OKS against the naive transformer. maps: of all people, by name
    of an estimator; oks: percent, of NAIVE and AWARE, in the pass that is shown.
    """
    flags = windows.batch(range(len(windows)))["visibility"][:, 0].numpy()
    found, cases = extremes(oks[AWARE] - oks[NAIVE], (flags == 1).sum(1) >= least), []
    for name, person, word in (
        ("it helps", found.best, "gains"),
        ("it does not", found.worst, "loses"),
    ):
        change = step(oks[NAIVE][person], oks[AWARE][person], unit="points")
        rule = (
            f"How this person was found: of {found.count} test people (synthetic) with at least "
            f"{least} hidden joints, the one who {word} most from the naive network to the aware "
            f"one by OKS, the likeness of two poses (100 points: the same): {change}."
        )
        cases.append(Case(name, rule, Told.of(aware, naive, windows, maps, person).steps))
    return Stepper(aware.skeleton, PIPELINE, cases, **{"name": "vissimcc_steps", **options})


@dataclass(frozen=True, eq=False)
class Told:
    """One person on the way through the module, told in five steps; px of the crop."""

    aware: PoseEstimator
    window: Window
    naive: Inside
    open: Inside  # aware's, with its mask switched off
    forced: Inside  # naive's, under aware's mask
    ours: Inside
    features: Float[np.ndarray, "k y x"]

    @classmethod
    def of(
        cls,
        aware: PoseEstimator,
        naive: PoseEstimator,
        windows: Windows,
        maps: Mapping[str, Float[Tensor, "n k y x"]],
        person: int,
    ) -> Told:
        """One of the people whose maps these are."""
        own, theirs = (maps[each.name][[person]] for each in (aware, naive))
        ours = look_inside(aware, own)
        mask = torch.from_numpy(ours.mask).to(theirs)
        return cls(
            aware,
            windows.sample(person),
            look_inside(naive, theirs),
            look_inside(aware, own, edit={MASK: torch.ones_like}),
            look_inside(naive, theirs, edit={MASK: lambda _: mask}),
            ours,
            own[0].float().cpu().numpy(),
        )

    @property
    def steps(self) -> list[Step]:
        told = (self.maps, self.visnet, self.mask, self.transformer, self.answer)
        return [tell(box) for tell, box in zip(told, PIPELINE)]

    @property
    def four(self) -> dict[str, Inside]:
        """The answers by whether the network learned with a mask, and whether one is in use."""
        return {NAIVE: self.naive, FORCED: self.forced, OFF: self.open, AWARE: self.ours}

    @cached_property
    def off(self) -> dict[str, np.ndarray]:
        """Who is how far from the truth at each joint."""
        return {
            name: far(inside.xy_crop[0], self.window.xy_crop[0])
            for name, inside in self.four.items()
        }

    @property
    def px(self) -> dict[str, dict[str, float]]:
        """Mean errors by kind of joints and by who answers."""
        followed = np.arange(len(self.hidden)) == self.j
        kinds = {"all joints": self.labelled, "hidden": self.hidden, self.joint: followed}
        return {
            kind: {name: float(off[use].mean()) for name, off in self.off.items()}
            for kind, use in kinds.items()
        }

    def gains(self) -> tuple[float, float, float]:
        """Px that the mean error falls by learning with the mask, by using it without, by both."""
        px = self.px["all joints"]
        return tuple(px[NAIVE] - px[name] for name in (OFF, FORCED, AWARE))

    @cached_property
    def crop(self) -> UInt8[np.ndarray, "h w 3"]:
        return self.window.crops[0]  # one array, so that a browser gets it once

    @property
    def hidden(self) -> Bool[np.ndarray, "k"]:
        return self.window.visibility[0] == 1

    @property
    def labelled(self) -> Bool[np.ndarray, "k"]:
        return self.window.visibility[0] > 0

    @property
    def passes(self) -> Bool[np.ndarray, "k"]:
        return self.ours.mask[0] == 1

    @property
    def j(self) -> int:
        """The joint that is followed: the hidden one whose error changes most from naive."""
        return int(np.where(self.hidden, np.abs(self.off[AWARE] - self.off[NAIVE]), -1).argmax())

    @property
    def joint(self) -> str:
        return self.aware.skeleton.joints[self.j].replace("_", " ")

    def real(
        self, name: str, marks: Int[np.ndarray, "k"] | None = None, small: bool = True
    ) -> People:
        """The true pose, NaN where there is no label; crosses: hidden, or by other marks."""
        xy = np.where(self.labelled[:, None], self.window.xy_crop[0], np.nan)
        if marks is None:
            marks = marks_of(self.window.visibility[0])
        return People(name, "truth", xy, marks, small=small)

    def picture(self, title: str, *people: People, **look) -> Picture:
        return Picture(title, [self.crop], list(people), **look)

    def map_of(self, j: int, title: str, times: float | int = 1) -> Picture:
        """A joint's map, on one scale for all features of the person."""
        model, top = self.aware.model, float(np.abs(self.features).max())
        (w, h), grid = model.config.size, model.grid
        to_crop = geometry.invert(geometry.crop_to_heatmap((w, h), grid))
        heat = Heat(times * self.features[j], to_crop, "feature", -top, top, diverging=True)
        return Picture(title, heat=heat, box=(0.0, 0.0, w - 1.0, h - 1.0))

    def maps(self, box: str) -> Step:
        words = (
            f"We want the person whose pose is drawn: {self.hidden.sum()} of "
            f"{self.labelled.sum()} labelled joints are hidden. The backbone makes a map for each "
            "all the same, from whatever pixels stand there. A map's numbers have no unit."
        )
        panels = [
            self.picture("the person asked for", self.real("truth, ✕ hidden", small=False)),
            self.map_of(self.j, f"map of the {self.joint}"),
        ]
        equation = r"{\color{ours} x_i} \quad \text{one map a joint}"
        return Step("Every joint gets a map, seen or not", words, box, panels, equation)

    def visnet(self, box: str) -> Step:
        roles = np.where(self.passes, "visible", "hidden").tolist()
        said = percent(self.ours.probability[0]).tolist()
        bars = [Bar(*bar) for bar in zip(self.aware.skeleton.joints, said, roles, self.squares)]
        right = int((self.passes == (self.window.visibility[0] == 2)).sum())
        words = (
            "A small network looks at each map alone and gives the probability that the joint is "
            "visible. From 50 % on it counts as seen, else (■) as not. Here it is right about "
            f"{right} of {len(bars)}."
        )
        believed = np.where(self.passes, VISIBLE, OUTSIDE)
        panels = [
            self.picture("what VisNet believes", self.real("truth, ■ not seen", believed, False)),
            Bars("probability of being visible, %", "%", bars, range=(0.0, 100.0)),
        ]
        equation = r"{\color{visible} \hat{y}_i} = \mathrm{sigmoid}(\mathcal{V}(x_i))"
        return Step("VisNet says which joints are seen", words, box, panels, equation)

    @property
    def squares(self) -> list[str]:
        """A mark at every masked joint."""
        return np.where(self.passes, "", "■").tolist()

    def mask(self, box: str) -> Step:
        mask, names = self.ours.mask[0], self.aware.skeleton.joints
        j = self.j if mask[self.j] < 1 else int(mask.argmin())
        off = ~self.passes & self.hidden
        words = (
            f"The maps of {(~self.passes).sum()} joints (■) are multiplied by 0.01, others pass as "
            f"they are. Masked are {off.sum()} of the {self.hidden.sum()} hidden joints: "
            "what covers them is meant to be kept from speaking; whether it is, is tested below. "
            "VisNet lets the others through."
        )
        panels = [
            self.map_of(j, f"{names[j]}, before"),
            self.map_of(j, f"{names[j]}, after", float(mask[j])),
        ]
        equation = (
            r"\tilde{x}_i = {\color{hidden} M_i}\, x_i \qquad {\color{hidden} M_i} = 0.01 "
            r"\text{ where } {\color{visible} \hat{y}_i} < 0.5 \text{, else } 1"
        )
        return Step("Maps of unseen joints are turned down", words, box, panels, equation)

    def transformer(self, box: str) -> Step:
        row, xy = self.ours.attention[0, 0].mean(0)[self.j], self.ours.xy_crop[0]
        others = [k for k in np.argsort(-row).tolist() if k != self.j][:4]
        ends = [[*xy[self.j], *xy[k], 14 * row[k]] for k in others]
        words = (
            f"The {self.joint} asks all joints, masked ones (■), too. Of its attention (first "
            f"block, mean of its heads) {row[self.j]:.0%} stays with itself. Lines: the four "
            f"others to whom it listens most, with {row[others].sum():.0%}; "
            f"{(~self.passes[others]).sum()} of these four are masked. The mask turns down what a "
            "joint says, not whether it is asked."
        )
        masked = np.where(self.passes, VISIBLE, OUTSIDE)
        pose = People("aware, ■ masked", "ours", xy, masked, small=True)
        given = (100 * row).tolist()
        roles = np.where(np.isin(range(len(row)), others), "ours", "soft").tolist()
        bars = [Bar(*bar) for bar in zip(self.aware.skeleton.joints, given, roles, self.squares)]
        panels = [
            self.picture("who is listened to", pose, arrows=rimmed(ends)),
            Bars(f"attention of the {self.joint}, %", "%", bars),
        ]
        equation = r"{\color{ours} \mathrm{softmax}\Big(\frac{QK^T}{\sqrt{d_h}}\Big)} V"
        return Step("Joints ask joints", words, box, panels, equation)

    def answer(self, box: str) -> Step:
        px, roles = self.px, {NAIVE: "rival", AWARE: "ours"}
        bars = [
            Bar(f"{name}, {kind}", px[kind][name], roles[name]) for kind in px for name in roles
        ]
        one = step(px[self.joint][NAIVE], px[self.joint][AWARE])
        words = (
            "Naive: the same network, which learned without a mask. Aware: the method. In this "
            f"case the {self.joint} goes {one}. How much of this is the mask in use, and how much "
            "the training with it? Two switches below tell."
        )
        panels = [
            self.picture(
                f"{name} network",
                self.real("truth, ✕ hidden"),
                People(name, roles[name], self.four[name].xy_crop[0]),
            )
            for name in roles
        ]
        panels.append(Bars("distance from the truth, px", "px", bars))
        before, after = (px["all joints"][name] for name in roles)
        title = f"{NAIVE} {before:.1f} → VisSimCC ({AWARE}) {after:.1f} px from the truth"
        return Step(title, words, box, panels)


# --- two switches ---------------------------------------------------------------------------------

TRAINED, USED, PLACE = "trained with the mask", "mask in use", "person"
PERSON = "this person"
WHICH = dict(zip(product((False, True), repeat=2), (NAIVE, FORCED, OFF, AWARE)))


class Switches(Explorer):
    """A network that learned with the mask or without, and the mask in use or not: four answers
    for a person, and how each changes what many people get.

    tell: of a person's number. people: their numbers, first whom the method harms most. oks:
    percent of these people, by the names of the four. means: of the changes against both switches
    off, mean and 95 % interval as text, by the same names.
    """

    def __init__(
        self,
        tell: Callable[[int], Told],
        people: Sequence[int],
        oks: Mapping[str, Float[np.ndarray, "n"]],
        means: Mapping[str, tuple[float, str]],
        kin: Skeleton,
        **options,
    ):
        self.tell, self.people, self.means = lru_cache(len(people))(tell), people, means
        self.changes = {name: each - oks[NAIVE] for name, each in oks.items()}
        super().__init__(kin, **{"name": "vissimcc_switches", **options})

    def declare(self) -> list[Control]:
        last = len(self.people)
        place = number(PLACE, last, last, 1, label="person, by the gain of both")
        return [switch(TRAINED), switch(USED), place]

    def compute(self, state: Mapping) -> Told:
        return self.tell(self.people[state[PLACE] - 1])

    def draw(self, state: Mapping, found: Told) -> Tabs:
        for place in self.places:  # the same pictures with every answer: a page has them once
            self._number(self.tell(self.people[place - 1]).crop)
        chosen = WHICH[state[TRAINED], state[USED]]
        real = found.window.xy_crop[0][found.labelled]
        box = around(real, *(each.xy_crop[0] for each in found.four.values()), pad=0.05)
        row, bars = [], []
        for (trained, used), name in WHICH.items():
            words = f"{('without', 'with')[trained]}, mask {('off', 'on')[used]}"
            mark, role = "▸ " * (name == chosen), "ours" if trained else "rival"
            truth, answer = ("", "answer") if used else ("truth, ✕ hidden", "")  # side by side
            people = [found.real(truth), People(answer, role, found.four[name].xy_crop[0])]
            row.append(found.picture(f"{mark}trained {words}", *people, box=box))
            value = found.px["all joints"][name]
            bars.append(Bar(words, value, role if mark else "soft", mark.strip()))
        row.append(Bars("mean error, px (trained, mask)", "px", bars, wide=1.7))
        return {"switches": [row, [self.strip(chosen, state[PLACE] - 1)]]}

    def strip(self, name: str, one: int) -> Picture:
        """A dot a person, in heaps of like changes; x: points of OKS."""
        ends = np.concatenate([*self.changes.values()]) / 10
        low, high = 10 * np.floor(ends.min()), 10 * np.ceil(ends.max())
        size = (high - low) / 120  # of a heap
        x = np.rint(self.changes[name] / size) * size
        rank = np.array([(x[:i] == now).sum() for i, now in enumerate(x)])
        y = -rank * size * min(1, 10 / max(rank.max(), 1))
        mean, interval = self.means[name]
        about = np.array(
            [[mean, 2 * size, float(end), 2 * size, 3.0] for end in interval.split(" to ")]
        )
        zero = [[0.0, k * size, 0.0, k * size, 0.0] for k in range(-11, 3)]
        dots = np.column_stack((x, y, x, y, np.full(len(x), 1.6)))
        notes = [{"at": [x[one], y[one]], "words": "", "ring": 7, "role": "ink", "name": PERSON}]
        scale = np.arange(low + 10, high, 10)
        notes += [{"at": [at, 4.2 * size], "words": f"{at:+.0f}" if at else "0"} for at in scale]
        notes.append({"at": [about[0, 2] - 8 * size, 2 * size], "words": "mean, 95 %"})
        return Picture(
            f"{len(x)} people: points of OKS against both switches off; right is better",
            arrows=[Arrows("soft", np.array(zero)), Arrows("soft", dots), Arrows("ours", about)],
            box=(low, -12 * size, high, 5.5 * size),
            notes=notes,
        )

    def say(self, state: Mapping, found: Told) -> str:
        who = WHICH[state[TRAINED], state[USED]]
        px, one = found.px["all joints"], found.px[found.joint]
        said = f"{PERSON.capitalize()}: {px[who]:.1f} px"
        if who == NAIVE:
            return f"{said}; the {found.joint} is {one[who]:.1f} px astray."
        mean, interval = self.means[who]
        return (
            f"{said} ({px[who] - px[NAIVE]:+.1f} against both switches off). "
            f"{len(self.people)} people: {mean:+.1f} points of OKS [{interval}]."
        )

    @property
    def places(self) -> list[int]:
        """Of those whom a page answers for: evenly from the most harmed to the most helped."""
        last = len(self.people)
        return np.unique(np.linspace(1, last, min(last, 8)).round().astype(int)).tolist()

    def asks(self) -> Iterable[Mapping]:
        for place, (trained, used) in product(self.places, WHICH):
            yield {PLACE: place, TRAINED: trained, USED: used}


# --- an exercise in the explorer ------------------------------------------------------------------


def distance_of(joint: str, kin: Skeleton, person: int) -> Callable[[Mapping, Answered], float]:
    """The score of an exercise in the explorer: how far a joint of a person is from its true
    place, px; NaN for others, and where nobody knows that.
    """
    j = kin.index(joint)

    def measure(state: Mapping, found: Answered) -> float:
        if found.truth is None or state["person"] != person:
            return float("nan")
        return float(far(found.ours.xy_crop[0], found.truth)[j])

    return measure


def lesson(
    best: Rescue, kin: Skeleton, flags: Int[np.ndarray, "k"]
) -> Callable[[Mapping, Answered], str]:
    """What a reached goal of `distance_of` teaches, by whose masks the reader turned over. flags:
    the true ones of the person.
    """
    names, j = [name.replace("_", " ") for name in kin.joints], kin.index(best.joint)
    kinds = "outside the picture", "hidden", "visible"

    def told(state: Mapping, found: Answered) -> str:
        turned = state["switches"]
        if not turned or state["mask"] != AS_SAID or state["brush"] or state["knocked out"]:
            return "Which joint did it? Turn single masks."
        let = (flags == 1) & found.base
        who = "; ".join(
            f"The {names[i]} is {kinds[flags[i]]}{', and VisNet had let it through' * int(let[i])}"
            for i in turned
        )
        what = "moved" if found.passes[turned].any() else "pushed"
        owner = "its map" if len(turned) < 2 else "their maps"
        now = far(found.ours.xy_crop[0], found.truth)[j]
        px = f"{best.before:.1f} → {now:.1f} px; {best.labels:.1f} px with the true labels as mask"
        return f"{who}: {owner} {what} the {names[j]}{', too' * (j not in turned)} ({px})."

    return told


# --- the explorer ---------------------------------------------------------------------------------

MAPS = "joints ask joints"
AS_SAID, ALL, NONE, LABELS = "as VisNet says", "all visible", "all hidden", "true labels"
SWITCHES, PAINTS = PRESSES = ("switches", "paints")


@dataclass(frozen=True, eq=False)
class Answered:
    """One crop on its way through both models; px of the crop."""

    crop: UInt8[np.ndarray, "h w 3"]
    pixels: UInt8[np.ndarray, "h w 3"]  # under the paint
    truth: Float[np.ndarray, "k 2"] | None  # NaN where there is no label
    marks: Int[np.ndarray, "k"] | None  # of the truth, under the paint
    right: int | None  # joints about which VisNet is right, where the labels tell
    said: Inside  # by VisNet's own mask
    ours: Inside
    rival: Inside
    plain: Inside  # nothing switched, painted or knocked out
    base: Bool[np.ndarray, "k"]  # whom the mask lets through before any switch
    passes: Bool[np.ndarray, "k"]  # and after


class VisSimCCExplorer(Compared):
    """One person: turn the masks of joints over, or paint over the crop, and see the poses, one
    joint's distributions, and who looks at whom.

    aware: a transformer with VisNet; naive: one without, which it is compared with. stored: further
    people that a page answers for. options: of `Compared`; a rival takes aware's mask. One pass,
    without the mirror image. `BadParameter` for models that cannot be compared.
    """

    has_attention = True

    def __init__(
        self,
        aware: PoseEstimator,
        naive: PoseEstimator,
        windows: Windows,
        *,
        names: tuple[str, str] = (AWARE, "random"),
        stored: Sequence[int] = (),
        **options,
    ):
        self.others = stored
        self.config = aware.model.config
        self.windows = windows
        # each holds its last answers
        self.window = lru_cache(1)(self.read)
        self.paint = lru_cache(2)(self.under_paint)
        self.maps_of = lru_cache(6)(self.features)  # three models, with paint and without
        layers = range(self.config.layers)
        self.layers = {MAPS: [f"reasoning.blocks.{layer}.attention.map" for layer in layers]}
        options |= {"name": "vissimcc", "names": names, "beside": {NAIVE: naive}}
        super().__init__(aware, len(windows), **options)
        if "attention" not in read_state(options.get("state") or {}):
            j = self.followed
            alone = self._found.ours.attention[0, 0, :, j, j]
            head = [MAPS, 0, int(alone.argmin())]  # where the joint asks itself least
            self.attention.restore({"focus": j, "head": head})

    def check(self) -> None:
        models = [each.model for each in self.models.values()]
        if not all(each.reasoning for each in models) or not models[0].reasoning.visnet:
            raise BadParameter(
                "a transformer with VisNet and one without are compared",
                remedy="vissimcc, vissimcc-reasoning",
            )
        kinds = {(c.skeleton, c.size, c.layers, c.heads) for c in (m.config for m in models)}
        if len(kinds) > 1:
            raise BadParameter(
                f"joints, crop, blocks and heads are {kinds}", remedy="give models that are alike"
            )

    @property
    def followed(self) -> int:
        """The joint whose distance from the truth is drawn."""
        names = self.kin.joints
        return names.index(self.first_joint) if self.first_joint in names else 0

    def declare(self) -> list[Control]:
        w, h = self.config.size
        presets = (AS_SAID, ALL, NONE, *[LABELS] * self.labelled)
        look = {"needs": "nothing", "more": True, "label": "brush"}
        return [
            number("person", self.first, len(self.windows) - 1),
            choice("mask", presets),
            choice("against", list(self.models)[1:], more=True),
            choice("a press", PRESSES, needs="drawing", more=True),
            number("size", max(w, h) // 6, max(w, h), 4, **look),
            Control("brush", "button", [], options=([],), more=True, label="clear paint"),
            Control("switches", "button", [], options=([],), more=True, label="undo switches"),
            collected("knocked out", heads_of(self.layers, self.config.heads)),
        ]

    # --- computed ---------------------------------------------------------------------------------

    def read(self, person: int) -> tuple[Window, UInt8[np.ndarray, "h w 3"]]:
        window = self.windows.sample(person)
        return window, window.crops[0]

    def under_paint(self, person: int, brush: str) -> tuple[np.ndarray, np.ndarray]:
        """The crop and what the strokes (JSON) cover; the same array where they cover nothing."""
        self.forget_pictures()
        mask = covered(json.loads(brush), self.config.size, 1)
        return painted([self.window(person)[1]], mask)[0], mask[0]

    def features(self, name: str, person: int, brush: str = "[]") -> Float[Tensor, "1 k y x"]:
        """A model's feature maps of a crop under paint."""
        pixels, _ = self.paint(person, brush)
        images = normalised(torch.from_numpy(np.ascontiguousarray(pixels[None])))
        return feature_maps(self.models[name], images)

    def compute(self, state: Mapping) -> Answered:
        switches, joints = state["switches"], range(len(self.kin))
        if not all(type(j) is int and j in joints for j in switches):
            raise BadParameter(f"switches are {switches}", remedy="give numbers of joints")
        name, other = self.names[0], state["against"]
        ours, rival = self.models[name], self.models[other]
        asked = state["person"], json.dumps(state["brush"])
        pixels, under = self.paint(*asked)
        maps = self.maps_of(name, *asked)
        said = look_inside(ours, maps)
        seen = said.mask[0] == 1
        truth, flags, marks, right = self.labels(state["person"], under, seen)
        presets = {AS_SAID: seen, LABELS: flags == 2}
        base = presets.get(state["mask"], np.full_like(seen, state["mask"] == ALL))
        passes = base ^ np.isin(joints, switches)
        mask = torch.from_numpy(np.where(passes, 1, self.config.hidden)[None]).to(maps)
        heads = without_heads(state["knocked out"], self.layers)
        masked = heads | {MASK: lambda _: mask}
        theirs = masked if rival.model.reasoning.visnet else heads
        return Answered(
            self.window(state["person"])[1],
            pixels,
            truth,
            marks,
            right,
            said,
            look_inside(ours, maps, edit=masked),
            look_inside(rival, self.maps_of(other, *asked), source="none", edit=theirs),
            look_inside(ours, self.maps_of(name, state["person"])),
            base,
            passes,
        )

    def labels(self, person: int, under: np.ndarray, seen: Bool[np.ndarray, "k"]) -> tuple:
        """The true pose, flags, marks, and how often VisNet is right; paint hides what it covers.
        None, but for the flags, where nobody knows.
        """
        window, _ = self.window(person)
        before, xy = window.visibility[0], window.xy_crop[0]
        flags = cover(before, xy, under)
        if not self.labelled or not before.any():
            return None, flags, None, None
        known = occlusion_known(self.windows, person)
        truth = np.where(before[:, None] > 0, xy, np.nan)
        right = int((seen == (flags == 2)).sum()) if known else None
        return truth, flags, marks_of(flags, before, known=known), right

    def look(self, state: Mapping, found: Answered) -> dict:
        axis = Axis.of_joints(self.kin)
        return {
            "maps": {MAPS: found.ours.attention[0]},
            "axes": (axis, axis),
            "other": {MAPS: found.rival.attention[0]},
            "names": (self.names[0], state["against"]),
            "skeleton": self.kin,
            "xy": found.ours.xy_crop[0],
            "hidden": np.flatnonzero(~found.passes).tolist(),
        }

    def from_attention(self, looks: Mapping, found: Answered) -> dict:
        """Whoever was hidden or shown in the maps is turned over, or back to the mask's own."""
        hidden = np.isin(np.arange(len(self.kin)), looks["hidden"])
        switches = np.flatnonzero(hidden == found.base).tolist()
        return {"switches": switches, "knocked out": looks["knocked_out"]}

    # --- drawn ------------------------------------------------------------------------------------

    def draw(self, state: Mapping, found: Answered) -> Tabs:
        return {"person": [[self.picture(state, found), self.sure(state, found)]]}

    def picture(self, state: Mapping, found: Answered) -> Picture:
        """The crop with everybody's pose."""
        masked = np.where(found.passes, VISIBLE, OUTSIDE)
        known = found.plain.xy_crop[0] if found.truth is None else found.truth
        people = [People(f"{self.names[0]}, ■ masked", "ours", found.ours.xy_crop[0], masked)]
        if found.truth is not None:
            truth = People("truth, ✕ hidden", "truth", found.truth, found.marks, small=True)
            people.insert(0, truth)
        paints, ends = state["a press"] == PAINTS, np.hstack((found.ours.xy_crop[0], known))
        line = [[*ends[self.followed], 3.0]]
        return Picture(
            "press to paint, or to move paint" if paints else "click a joint to turn its mask over",
            [found.crop if paints else found.pixels],  # the browser lays its paint over the crop
            people,
            arrows=rimmed(line) if np.isfinite(line).all() and found.truth is not None else (),
            box=None if paints else around(known, found.plain.xy_crop[0], pad=0.05),
            click=None if paints else Click("switches", "toggle"),
            brush=paints,
            wide=1.2,
        )

    def sure(self, state: Mapping, found: Answered) -> Bars:
        """VisNet's word on every joint, and whom the mask lets through."""
        roles = np.where(found.passes, "visible", "hidden").tolist()
        you = np.isin(range(len(self.kin)), state["switches"])
        marks = np.where(found.passes, np.where(you, "you ✓", ""), np.where(you, "you ■", "■"))
        look = {"range": (0.0, 100.0), "click": Click("switches", "toggle")}
        p = percent(found.said.probability[0])
        title = f"VisNet: visible? %; masked (■): {state['mask']}"
        return self.bars(title, "%", p, roles, marks.tolist(), **look)

    def say(self, state: Mapping, found: Answered) -> str:
        answers = [each.xy_crop[0] for each in (found.ours, found.plain, found.rival)]
        known = found.truth is not None
        ours, plain, rival = (far(xy, found.truth if known else answers[1]) for xy in answers)
        form = "+z.2f" if known else "z.2f"
        change = f"{np.nanmean(ours) - np.nanmean(plain):{form}} px"
        if known:
            error, theirs = np.nanmean(ours), np.nanmean(rival)
            answer = (
                f"error {error:.2f} px, {state['against']} {theirs:.2f} ({error - theirs:+z.2f})"
            )
            change = f"changed the error by {change}"
        else:
            answer = f"{far(answers[0], answers[2]).mean():.2f} px apart from {state['against']}"
            surer = (found.ours.confidence - found.plain.confidence).mean()
            change = f"moved the answer by {change} (confidence {surer:+z.2f})"
        done = change if self.changed(state) else "changed nothing yet"
        right = "" if found.right is None else f" (VisNet is right about {found.right})"
        masked = (~found.passes).sum()
        return f"{masked} of {len(self.kin)} joints masked{right}: {answer}; you {done}."

    def changed(self, state: Mapping) -> bool:
        """Whether anything is masked, switched, painted or knocked out by the reader."""
        lists = state["switches"] or state["brush"] or state["knocked out"]
        return bool(lists) or state["mask"] != AS_SAID

    def asks(self) -> Iterable[Mapping]:
        """Masks, every joint's mask turned over for some people, for the first one those of
        two joints, patches.
        """
        yield from self.each("mask", "a press")
        joints = range(len(self.kin))
        flips = [[], *([j] for j in joints)]
        people = self.first, *self.others
        yield from ({"person": i, "switches": flip} for i in people for flip in flips)
        yield from ({"switches": list(pair)} for pair in combinations(joints, 2))
        step = self.config.size[0] / 4
        for patch in patch_grid(self.config.size, self.state["size"], (step, step), (0, 0)):
            yield {"a press": PAINTS} | patch

    def recompute_at(self, state: Mapping) -> dict:
        """Maps of one switch for the first person alone: more would be too large for a page."""
        turned = len(state["switches"])
        self.stores_attention = turned < 2 and (state["person"] == self.first or not turned)
        return super().recompute_at(state)
