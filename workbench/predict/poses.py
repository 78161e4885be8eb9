"""PORT, pose by pose: which joints are replaced, in which frame of coordinates, and how far."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import BadParameter
from ..models.port import Port, occluded_joints, replace_occluded
from ..records import Detections, Prediction
from ..skeletons import Skeleton, skeleton
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


LEAST = 1e-30  # confidence of what was not found, but stands in its place


@dataclass(frozen=True)
class RefineRule:
    """Which joints PORT replaces and how far it moves them; every number comes from training
    statistics.

    delta: confidence threshold a joint (PORT Eq. 13; the paper has one for all). blend: share of
    the reconstruction in the replaced joint; 1 is PORT Eq. 14. mirror: average over the pose and
    its mirror image. source: where the numbers come from.

    Three more are ours, not the paper's. share: delta is what this share of a file's confidences
    lie below, whatever detector wrote it, and not a number that another detector gave. margin: of
    the joints below delta those are replaced alone whose reconstruction is expected to be closer to
    the truth than the detection, by so much closeness (0 to 1, `models.port.closeness`); a model
    without a judge has none. floor: where PORT itself disagrees less with a file, the detector is
    too good for it, and nothing is replaced; see `Judged.disagreement`.
    """

    delta: tuple[float, ...]
    blend: float = 1.0
    mirror: bool = False
    source: str = ""
    share: float | None = None
    margin: float | None = None
    floor: float = 0.0


class Judged(NamedTuple):
    """What PORT says of joints, hidden or not. `xy_frame`: where it puts them, px. `gain`: by how
    much closer to the truth than the detection it expects that to be, -1 to 1; infinite without a
    judge. `apart`: from the detection, in tolerances (`JudgeHead`); 0 without one.
    """

    xy_frame: Float[np.ndarray, "n k 2"]
    gain: Float[np.ndarray, "n k"]
    apart: Float[np.ndarray, "n k"]

    def disagreement(self, known: Bool[np.ndarray, "n k"]) -> float:
        """With these people as a whole: what four joints of five lie less apart than."""
        return float(np.quantile(self.apart[known], 0.8)) if known.any() else 0.0


def as_simulated(
    confidence: Float[np.ndarray, "n k"], known: Float[np.ndarray, "m"]
) -> Float[np.ndarray, "n k"]:
    """What the simulated detector of training says of joints of the same rank: confidences as one
    that PORT knows would have put them.  # ours, not the paper's

    known: sorted confidences of the same detector, of any people. Any rising function of all
    confidences changes nothing. A missing joint (0) stays 0.
    """
    from ..made.noise import DetectorNoise  # scipy, which hands do without

    below, to = (np.searchsorted(known, confidence, side) for side in ("left", "right"))
    count = max(len(known), 1)
    ranks = ((below + to) / (2 * count)).clip(0.5 / count, 1 - 0.5 / count)
    simulated = DetectorNoise().confidence_of(ranks)
    return np.where(confidence > 0, simulated, 0).astype(np.float32)


class PortRefiner(Predictor):
    """PORT with what it needs around it: normalisation, the rule for delta, and px on both
    sides.
    """

    batch = 128  # poses that the model sees at once

    def __init__(self, model: Port, rule: RefineRule, name: str = "port"):
        super().__init__(model, name, model.config.skeleton)
        self.rule = rule
        self.known: Float[np.ndarray, m] | None = None  # sorted confidences, see `fitted`
        if len(rule.delta) != len(self.skeleton):
            raise BadParameter(
                f"the rule has {len(rule.delta)} deltas, {self.skeleton.name} has "
                f"{len(self.skeleton)} joints"
            )

    @classmethod
    def from_card(cls, model: Port, card: Mapping, name: str) -> Predictor:
        rule = RefineRule(**{**card["rule"], "delta": tuple(card["rule"]["delta"])})
        return cls(model, rule, name)

    def fitted(self, detections: Detections) -> PortRefiner:
        """The same refiner for the detector that wrote these detections: it counts in ranks among
        their confidences, and takes its share for delta. No truth is asked for. `refine` does it by
        itself; who looks at single poses of a file does it first.

        A refiner whose rule has no share, or that is fitted, comes back as it is.
        """
        if self.rule.share is None or self.known is not None:
            return self
        other = copy.copy(self)
        other.known = np.sort(detections.confidence[detections.confidence > 0])
        if len(other.known):
            delta = float(np.quantile(other.known, self.rule.share))
            other.rule = replace(self.rule, delta=(delta,) * len(self.skeleton))
        return other

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
        confidence = detections.confidence
        if self.model.config.ranked:
            own = np.sort(confidence[confidence > 0]) if self.known is None else self.known
            confidence = as_simulated(confidence, own)
        weights = pose_weights(mask, confidence, self.model.config.frame)
        centre, size = pose_frame(detections.xy_frame, weights)
        # what a detector did not find at all has no coordinates worth reading: it starts at the
        # pose's centre
        xy = np.where(detections.confidence[..., None] > 0, detections.xy_frame, centre)
        arrays = {"xy": (xy - centre) / size, "mask": mask, "confidence": confidence}
        inputs = {name: torch.tensor(v, device=self.device) for name, v in arrays.items()}
        return inputs, centre, size

    def inputs(self, detections: Detections, mask: Bool[np.ndarray, "n k"]) -> dict[str, Tensor]:
        """What the model reads of poses: "xy", counted from a pose's centre in its sizes, "mask"
        and "confidence".
        """
        return self._placed(detections, mask)[0]

    def _answers(
        self, detections: Detections, mask: Bool[np.ndarray, "n k"], mirror: bool
    ) -> Judged:
        """Of one batch."""
        inputs, centre, size = self._placed(detections, mask)
        answer = self.model(**inputs)
        recon, close = answer["xy"], answer.get("closeness")
        if mirror:
            sign = torch.tensor([-1.0, 1.0], device=self.device)
            other = torch.tensor(self.skeleton.flip_index, device=self.device)
            mirrored = {name: value[:, other] for name, value in inputs.items()}
            mirrored["xy"] = mirrored["xy"] * sign
            answer = self.model(**mirrored)
            recon = (recon + answer["xy"][:, other] * sign) / 2
            close = None if close is None else (close + answer["closeness"][:, other]) / 2
        xy = (recon.float().cpu().numpy() * size + centre).astype(np.float32)
        if close is None:
            return Judged(
                xy, np.full(mask.shape, np.inf, np.float32), np.zeros_like(mask, np.float32)
            )
        apart = (recon - inputs["xy"]).norm(dim=-1) / self.model.judge.tolerance
        gain = close[..., 1] - close[..., 0]
        return Judged(xy, *(values.float().cpu().numpy() for values in (gain, apart)))

    def one_pass(
        self, detections: Detections, mask: Bool[np.ndarray, "n k"], *, mirror: bool = False
    ) -> Float[np.ndarray, "n k 2"]:
        """What PORT makes of every joint in one batch, px; mirror: the mean with the mirror
        image.
        """
        return self._answers(detections, mask, mirror).xy_frame

    def judged(self, detections: Detections, mask: Bool[np.ndarray, "n k"]) -> Judged:
        """What PORT makes of every joint by its rule, hidden or not, and how sure it is."""
        shape = detections.confidence.shape
        if mask.shape != shape or mask.dtype != bool:
            raise BadParameter(
                f"the mask is {mask.dtype} {mask.shape}, bool {shape} expected",
                remedy="one truth value for each joint of each row",
            )
        fitted, k = self.fitted(detections), len(self.skeleton)
        nobody = np.zeros((0, k), np.float32)
        parts = [(np.zeros((0, k, 2), np.float32), nobody, nobody)]
        with self.inference():
            for start in range(0, len(detections), self.batch):
                rows = slice(start, start + self.batch)
                part = detections.select(rows)
                parts.append(fitted._answers(part, mask[rows], self.rule.mirror))
        return Judged(*map(np.concatenate, zip(*parts, strict=True)))

    def reconstruct(
        self, detections: Detections, mask: Bool[np.ndarray, "n k"]
    ) -> Float[np.ndarray, "n k 2"]:
        """What PORT makes of every joint by its rule, px, hidden or not."""
        return self.judged(detections, mask).xy_frame

    def refine(
        self,
        detections: Detections,
        *,
        delta: float | None = None,
        mask: Bool[np.ndarray, "n k"] | None = None,
        abstain: bool | None = None,
    ) -> Prediction:
        """Replaces joints below delta, or those of an explicit mask, by their reconstruction
        (PORT Eq. 14).

        abstain: leave those of them alone whose reconstruction is not expected to be closer by the
        rule's margin, and all where these people as a whole are below its floor; by default where
        neither delta nor mask are given. Missing joints are replaced in any case: nothing stands
        against their reconstruction.
        """
        self.check_skeleton(detections)
        by_rule = delta is None and mask is None
        fitted = self.fitted(detections)
        mask = fitted.mask(detections, delta) if mask is None else mask
        judged, known = fitted.judged(detections, mask), detections.confidence > LEAST
        if self.rule.margin is not None and (by_rule if abstain is None else abstain):
            closer = judged.gain > self.rule.margin
            mask = mask & (closer & (judged.disagreement(known) >= self.rule.floor) | ~known)
        moved = detections.xy_frame + self.rule.blend * (judged.xy_frame - detections.xy_frame)
        parts = map(torch.tensor, (detections.xy_frame, moved, mask))
        xy = replace_occluded(*parts).numpy()
        return Prediction(
            self.skeleton.name, xy, detections.confidence, mask, self.name, detections
        )


def place_missing(detections: Detections) -> Detections:
    """Joints of confidence 0, which a file calls missing, moved to the mean of their known
    neighbours on the bones; where the other side's bone is known, as far from its own end as that
    one reaches along the trunk.

    A refiner looks at the place of a joint that it replaces, and files put missing joints at (0,
    0).  # unstated; ours
    A pose without any known joint stays as it is.
    """
    joints = skeleton(detections.skeleton)
    bones = joints.adjacency
    given = known = detections.confidence > 0
    xy = np.where(known[..., None], detections.xy_frame, 0)
    for _ in bones:
        count = known @ bones
        new = ~known & (count > 0)
        around = np.einsum("jk,nkc->njc", bones, xy) / np.maximum(count, 1)[..., None]
        xy = np.where(new[..., None], around, xy)
        known = known | new
    trunk, upright = _trunk(joints, xy, given)
    for joint, end in enumerate(joints.parents) if upright.any() else ():
        twin, other = joints.flip_index[[joint, end]]
        use = upright & ~given[:, joint] & given[:, twin] & given[:, other] & (twin != joint)
        bone = ((xy[:, twin] - xy[:, other]) * trunk).sum(1, keepdims=True) * trunk
        xy[use, joint] = (xy[:, end] + bone)[use]
    somebody = known.any(1)[:, None, None]
    return replace(detections, xy_frame=np.where(somebody, xy, detections.xy_frame))


def _trunk(
    joints: Skeleton, xy: Float[np.ndarray, "n k 2"], known: Bool[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, "n"]]:
    """The direction from shoulders to hips, and of whom it is known."""
    names = [f"{side}_{part}" for part in ("shoulder", "hip") for side in ("left", "right")]
    if not {*names} <= {*joints.joints}:
        return np.zeros((len(xy), 2)), np.zeros(len(xy), bool)
    ends = [joints.index(name) for name in names]
    way = xy[:, ends[2:]].mean(1) - xy[:, ends[:2]].mean(1)
    length = np.linalg.norm(way, axis=1, keepdims=True)
    return way / np.maximum(length, 1e-6), known[:, ends].all(1) & (length[:, 0] > 1)


def readable(detections: Detections) -> Detections:
    """As PORT reads results: missing joints stand where `place_missing` puts them, and have the
    least of confidences, `LEAST`.
    """
    placed = place_missing(detections)
    return replace(placed, confidence=np.maximum(placed.confidence, np.float32(LEAST)))


def refine_people(
    refiner: PortRefiner,
    detections: Detections,
    *,
    delta: float | None = None,
    missing_alone: bool = False,
) -> Prediction:
    """`refiner.refine` for results as users have them: missing joints are replaced too, from
    where they are `readable`; poses of fewer than three known joints are left alone.
    `Prediction.detections` are those that were given. A delta that is given is the paper's rule
    (Eq. 13 and 14): nothing below it is left alone. missing_alone: no other joints are replaced.
    """
    known = detections.confidence > 0
    refiner = refiner.fitted(detections)
    below = np.zeros_like(known) if missing_alone else refiner.mask(detections, delta)
    mask = (below | ~known) & (known.sum(1) >= 3)[:, None]
    refined = refiner.refine(readable(detections), mask=mask, abstain=delta is None)
    replaced = refined.replaced | (mask & ~known)
    xy = np.where(replaced[..., None], refined.xy_frame, detections.xy_frame)
    kept = {"confidence": detections.confidence, "detections": detections}
    return replace(refined, xy_frame=xy, replaced=replaced, **kept)
