"""PORT, pose by pose: which joints are replaced, in which frame of coordinates, and how far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import BadParameter
from ..models.port import Port, occluded_joints, replace_occluded
from ..records import Detections, Prediction
from ..skeletons import skeleton
from .base import Predictor


def pose_weights(
    mask: Bool[np.ndarray, "n k"], confidence: Float[np.ndarray, "n k"], frame: str
) -> Float[np.ndarray, "n k"]:
    """How much each joint counts in the frame of its pose.

    PORT does not say how it normalises.  # unstated; ours
    "visible": joints that are not masked, so that a hidden joint cannot move the frame; all where
    fewer than 3 are left. "confidence": the square of the confidence, masked or not.
    """
    if frame == "confidence":
        return np.square(confidence) + 1e-6
    seen = ~mask
    return np.where(seen.sum(1, keepdims=True) >= 3, seen, True).astype(np.float32)


def pose_frame(
    xy: Float[np.ndarray, "n k 2"], weights: Float[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, "n 1 2"], Float[np.ndarray, "n 1 1"]]:
    """Weighted centre of each pose, and its size: root mean square distance from it, never 0."""
    w = (weights / weights.sum(1, keepdims=True))[..., None]
    centre = (xy * w).sum(1, keepdims=True)
    size = np.sqrt((np.square(xy - centre) * w).sum((1, 2), keepdims=True))
    return centre, np.maximum(size, 1e-3)


@dataclass(frozen=True)
class RefineRule:
    """Which joints PORT replaces and how far it moves them; every number comes from training
    statistics.

    delta: confidence threshold a joint (PORT Eq. 13; the paper has one for all). blend: share of
    the reconstruction in the replaced joint; 1 is PORT Eq. 14. mirror: average over the pose and
    its mirror image. source: where the numbers come from.
    """

    delta: tuple[float, ...]
    blend: float = 1.0
    mirror: bool = False
    source: str = ""


class PortRefiner(Predictor):
    """PORT with what it needs around it: normalisation, the rule for delta, and px on both
    sides.
    """

    batch = 128  # poses that the model sees at once

    def __init__(self, model: Port, rule: RefineRule, name: str = "port"):
        super().__init__(model, name, model.config.skeleton)
        self.rule = rule
        if len(rule.delta) != len(self.skeleton):
            raise BadParameter(
                f"the rule has {len(rule.delta)} deltas, {self.skeleton.name} has "
                f"{len(self.skeleton)} joints"
            )

    @classmethod
    def from_card(cls, model: Port, card: Mapping, name: str) -> Predictor:
        rule = RefineRule(**{**card["rule"], "delta": tuple(card["rule"]["delta"])})
        return cls(model, rule, name)

    def mask(self, detections: Detections, delta: float | None = None) -> Bool[np.ndarray, "n k"]:
        """Joints below delta (PORT Eq. 13), the rule's own when none is given."""
        self.check_skeleton(detections)
        limit = np.array(self.rule.delta, np.float32)
        if delta is not None:
            limit[:] = delta
        if not np.isfinite(limit).all():
            raise BadParameter(
                f"delta is {delta}", remedy="give a finite number, usually between 0 and 1"
            )
        return occluded_joints(torch.tensor(detections.confidence), torch.tensor(limit)).numpy()

    def _placed(
        self, detections: Detections, mask: Bool[np.ndarray, "n k"]
    ) -> tuple[dict[str, Tensor], Float[np.ndarray, "n 1 2"], Float[np.ndarray, "n 1 1"]]:
        """What the model reads of poses, and their centres and sizes, px."""
        self.check_skeleton(detections)
        weights = pose_weights(mask, detections.confidence, self.model.config.frame)
        centre, size = pose_frame(detections.xy_frame, weights)
        # what a detector did not find at all has no coordinates worth reading: it starts at the
        # pose's centre
        xy = np.where(detections.confidence[..., None] > 0, detections.xy_frame, centre)
        arrays = {"xy": (xy - centre) / size, "mask": mask, "confidence": detections.confidence}
        inputs = {name: torch.tensor(v, device=self.device) for name, v in arrays.items()}
        return inputs, centre, size

    def inputs(self, detections: Detections, mask: Bool[np.ndarray, "n k"]) -> dict[str, Tensor]:
        """What the model reads of poses: "xy", counted from a pose's centre in its sizes, "mask"
        and "confidence".
        """
        return self._placed(detections, mask)[0]

    def one_pass(
        self, detections: Detections, mask: Bool[np.ndarray, "n k"], *, mirror: bool = False
    ) -> Float[np.ndarray, "n k 2"]:
        """What PORT makes of every joint in one batch, px; mirror: the mean with the mirror
        image.
        """
        inputs, centre, size = self._placed(detections, mask)
        recon = self.model(**inputs)["xy"]
        if mirror:
            sign = torch.tensor([-1.0, 1.0], device=self.device)
            other = torch.tensor(self.skeleton.flip_index, device=self.device)
            mirrored = {name: value[:, other] for name, value in inputs.items()}
            mirrored["xy"] = mirrored["xy"] * sign
            recon = (recon + self.model(**mirrored)["xy"][:, other] * sign) / 2
        return (recon.float().cpu().numpy() * size + centre).astype(np.float32)

    def reconstruct(
        self, detections: Detections, mask: Bool[np.ndarray, "n k"]
    ) -> Float[np.ndarray, "n k 2"]:
        """What PORT makes of every joint by its rule, px, hidden or not."""
        shape = detections.confidence.shape
        if mask.shape != shape or mask.dtype != bool:
            raise BadParameter(
                f"the mask is {mask.dtype} {mask.shape}, bool {shape} expected",
                remedy="one truth value for each joint of each row",
            )
        parts = [np.zeros((0, len(self.skeleton), 2), np.float32)]
        with self.inference():
            for start in range(0, len(detections), self.batch):
                rows = slice(start, start + self.batch)
                part = detections.select(rows)
                parts.append(self.one_pass(part, mask[rows], mirror=self.rule.mirror))
        return np.concatenate(parts)

    def refine(
        self,
        detections: Detections,
        *,
        delta: float | None = None,
        mask: Bool[np.ndarray, "n k"] | None = None,
    ) -> Prediction:
        """Replaces joints below delta, or those of an explicit mask, by their reconstruction
        (PORT Eq. 14).
        """
        self.check_skeleton(detections)
        mask = self.mask(detections, delta) if mask is None else mask
        recon = self.reconstruct(detections, mask)
        moved = detections.xy_frame + self.rule.blend * (recon - detections.xy_frame)
        parts = map(torch.tensor, (detections.xy_frame, moved, mask))
        xy = replace_occluded(*parts).numpy()
        return Prediction(
            self.skeleton.name, xy, detections.confidence, mask, self.name, detections
        )


def place_missing(detections: Detections) -> Detections:
    """Joints of confidence 0, which a file calls missing, moved to the mean of their known
    neighbours on the bones.

    A refiner looks at the place of a joint that it replaces, and files put missing joints at (0,
    0).  # unstated; ours
    A pose without any known joint stays as it is.
    """
    bones = skeleton(detections.skeleton).adjacency
    known = detections.confidence > 0
    xy = np.where(known[..., None], detections.xy_frame, 0)
    for _ in bones:
        count = known @ bones
        new = ~known & (count > 0)
        around = np.einsum("jk,nkc->njc", bones, xy) / np.maximum(count, 1)[..., None]
        xy = np.where(new[..., None], around, xy)
        known = known | new
    somebody = known.any(1)[:, None, None]
    return replace(detections, xy_frame=np.where(somebody, xy, detections.xy_frame))


def refine_people(
    refiner: PortRefiner, detections: Detections, *, delta: float | None = None
) -> Prediction:
    """`refiner.refine` for results as users have them: missing joints are replaced too, from where
    `place_missing` puts them; poses of fewer than three known joints are left alone.
    `Prediction.detections` are those that were given.
    """
    known = detections.confidence > 0
    placed = place_missing(detections)
    mask = (refiner.mask(placed, delta) | ~known) & (known.sum(1) >= 3)[:, None]
    refined = refiner.refine(placed, mask=mask)
    xy = np.where(mask[..., None], refined.xy_frame, detections.xy_frame)
    return replace(refined, xy_frame=xy, detections=detections)
