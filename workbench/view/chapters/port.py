"""PORT: hide joints of a pose, and watch the refined joints and who looks at whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ...metrics import p_epe
from ...predict import PortRefiner
from ...records import Detections, Pose, Prediction
from ...taps import record, without_heads
from ..attention import attention_arguments, on_picture
from ..explorer import Compared, Control, choice, collected, far, heads_of, number, step
from ..panels import HIDDEN, VISIBLE, Arrows, Bars, Click, People, Picture, Tabs, around

MAPS = "encoder.*.attention.map"


def refinement(
    truth: Pose, detected: Detections, refined: Prediction, rows: Sequence[int]
) -> list[Picture]:
    """Arrows from each replaced joint to its new place, of these rows; detected joints have the
    colours of their confidence. Counterpart of PORT Fig. 3.
    """
    panels = []
    for row in rows:
        before, after, moved = detected.xy_frame[row], refined.xy_frame[row], refined.replaced[row]
        people = [
            People("truth", "truth", truth.xy_frame[row]),
            People("detector", "detector", before, confidence=detected.confidence[row]),
        ]
        ends = np.column_stack((before, after, np.full(len(before), 2)))[moved]
        arrows = [Arrows("ours", ends, "moved by PORT")]
        panels.append(Picture(f"hand {row}: {moved.sum()} replaced", (), people, arrows=arrows))
    return panels


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
    or None. pictures: one a row, or None. options: of `Compared`.
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
        **options,
    ):
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
        row = self.detections.select([index])
        below = self.refiner.mask(row, float(state["delta"]))
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

    def placed(self, index: int) -> dict:
        """Where the attention view shows the joints: on the picture where there is one."""
        xy = self.detections.xy_frame[index]
        if self.shown is None:
            return {"xy": xy}
        picture, xy = on_picture(self.shown[index], xy)
        return {"picture": picture, "xy": xy}

    def draw(self, state: Mapping, found: Refined) -> Tabs:
        marks = np.where(found.mask, HIDDEN, VISIBLE)
        people = [
            People("detector", "detector", found.detected, marks),
            People("refined", "ours", found.refined),
        ]
        if found.truth is not None:
            people.insert(0, People("truth", "truth", found.truth))
        frames = () if self.shown is None else (self.shown[state["pose"]],)
        everybody = [each.xy for each in people]
        hand = Picture(
            "click a joint to hide it",
            frames,
            people,
            arrows=[Arrows("ours", moved(found))],
            box=around(*everybody, pad=0.15),
            click=Click("hidden", "toggle"),
            wide=1.3,
        )
        return {"pose": [[hand, self.sure(found), self.errors(found)]]}

    def sure(self, found: Refined) -> Bars:
        """Confidence of every joint; a cross: hidden from PORT."""
        roles = np.where(found.mask, "hidden", "detector").tolist()
        marks = np.where(found.mask, "✕", "").tolist()
        look = {"range": (0.0, 1.0), "click": Click("hidden", "toggle")}
        return self.bars("detector's confidence", "", found.confidence, roles, marks, **look)

    def errors(self, found: Refined) -> Bars:
        """What PORT changes at every joint, px: of the error; without a truth, of the place."""
        if found.truth is None:
            return self.bars("moved by PORT, px", "px", far(found.refined, found.detected))
        change = far(found.refined, found.truth) - far(found.detected, found.truth)
        return self.bars("change of error, px (below 0 is better)", "px", change)

    def say(self, state: Mapping, found: Refined) -> str:
        hidden = int(found.mask.sum())
        if found.truth is None:
            return (
                f"{hidden} joints hidden: {state['refined by']} PORT moves them by "
                f"{far(found.refined, found.detected).max():.1f} px at most; your changes move its "
                f"answer by {far(found.refined, found.plain).mean():.2f} px on average."
            )
        before, after, plain = (
            float(p_epe(xy[None], found.truth[None], align="pred_to_truth")[0])
            for xy in (found.detected, found.refined, found.plain)
        )
        return (
            f"{hidden} joints hidden: P-EPE {step(before, after, 2)}; "
            f"what you changed: {after - plain:+z.2f} px."
        )

    def asks(self) -> Iterable[Mapping]:
        """Every joint alone, turned over."""
        return ({"hidden": joints} for joints in ([], *([j] for j in range(len(self.kin)))))


def moved(found: Refined) -> Float[np.ndarray, "n 5"]:
    """Arrows from hidden joints to where PORT puts them."""
    ends = np.concatenate((found.detected, found.refined), 1)[found.mask]
    return np.column_stack((ends, np.full(len(ends), 1.6)))
