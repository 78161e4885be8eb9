"""Scores by visibility: which joints count, PCK of each kind, how true probabilities are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import BadParameter, check_choice
from ..records import Pose
from .distances import box_sizes, hits

JOINTS = ("labelled", "visible", "occluded")
# unstated; ours (the public program: 5 % of the heat map's sides, that is of an enlarged box)
PCK_THRESHOLD = 0.05


def joints_of(truth: Pose, joints: str = "labelled") -> Bool[np.ndarray, "n k"]:
    """The labelled, the visible or the occluded joints. `BadParameter` where the data set does
    not say which are occluded.
    """
    check_choice("joints", joints, JOINTS)
    if joints == "labelled":
        return truth.labelled
    if not truth.occlusion_known:
        raise BadParameter(
            f"{joints} joints are asked for, and the truth does not say which are occluded",
            remedy="score labelled joints, or data that state it (COCO, CrowdPose)",
        )
    return truth.visibility == (2 if joints == "visible" else 1)


def pck_by_visibility(
    pred: Float[np.ndarray, "n k 2"], truth: Pose, threshold: float = PCK_THRESHOLD
) -> dict[str, float]:
    """PCK-All, -Visible and -Occluded of Visibility Table 1, 0 to 1: hits by joint, averaged over
    joints.

    A hit is within `threshold` of the longer side of the person's box (unstated; ours). pred: px,
    one row a person; a row of NaN is a person whom nobody found, all joints missed. Kinds that no
    joint is of are left out, and visible and occluded where the truth does not tell them apart. The
    public program averages batches, and strictly.
    """
    good = hits(pred, truth.xy_frame, box_sizes(truth.boxes_xyxy), threshold)
    kinds = {"PCK-All": "labelled"}
    if truth.occlusion_known:
        kinds |= {"PCK-Visible": "visible", "PCK-Occluded": "occluded"}
    scores = {}
    for name, joints in kinds.items():
        use = joints_of(truth, joints)
        count = use.sum(0)
        if count.any():
            right = (good & use).sum(0)
            scores[name] = float((right[count > 0] / count[count > 0]).mean())
    return scores


def visibility_accuracy(probability: Float[np.ndarray, "n k"], truth: Pose) -> float:
    """Share of joints whose visibility is told rightly, 0 to 1; visible from 0.5 on. Visibility
    Table 6.

    A joint that is not labelled counts as not visible (footnote 1). `BadParameter` where the truth
    does not say which joints are occluded.
    """
    right = (np.asarray(probability) >= 0.5) == joints_of(truth, "visible")
    if not right.size:
        raise BadParameter("no joint to judge")
    return float(right.mean())


class Calibration(NamedTuple):
    """Of each bin that is not empty: mean probability, how often it happened, how many there
    were.
    """

    probability: Float[np.ndarray, "b"]
    frequency: Float[np.ndarray, "b"]
    count: Int[np.ndarray, "b"]

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of probability and frequency, weighted by
        count.
        """
        return float(np.average(np.abs(self.probability - self.frequency), weights=self.count))


def calibration(
    probability: Float[np.ndarray, "*n"], happened: Bool[np.ndarray, "*n"], bins: int = 10
) -> Calibration:
    """Stated probability against frequency in `bins` equal bins of 0 to 1: VisNet's against visible
    joints, confidences against hits. `BadParameter` outside 0 to 1 or where there is nothing.
    """
    p = np.asarray(probability, np.float64).ravel()
    if not p.size or not ((p >= 0) & (p <= 1)).all():
        raise BadParameter(
            "probabilities from 0 to 1 expected, at least one", remedy="apply a sigmoid to logits"
        )
    which = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    some = count > 0

    def bin_means(values: np.ndarray) -> np.ndarray:
        return np.bincount(which, weights=values, minlength=bins)[some] / count[some]

    return Calibration(bin_means(p), bin_means(np.asarray(happened).ravel()), count[some])
