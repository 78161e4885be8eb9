"""Errors of poses against ground truth, one value an instance, in the units of the input; scores by
visibility: which joints count, PCK of each kind, how true probabilities are.

Distances are computed in float64. Averages over instances are the caller's: a protocol says what it
averages.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from ..errors import BadParameter, check_choice
from ..records import Pose

Points = Float[np.ndarray, "n k d"]
LEVEL = 0.95  # of all intervals; ours
RESAMPLES = 2000  # ours


def joint_distances(pred: Points, truth: Points) -> Float[np.ndarray, "n k"]:
    """Euclidean distance of each joint."""
    return np.linalg.norm(np.asarray(pred, np.float64) - np.asarray(truth, np.float64), axis=-1)


def epe(pred: Points, truth: Points, *, root: int | None = None) -> Float[np.ndarray, "n"]:
    """End point error: mean joint distance of each instance. PORT Sec. IV.

    root: joint index subtracted from both first (root-relative, PORT's Table I: the wrist); None
    compares as they stand.
    """
    pred, truth = np.asarray(pred, np.float64), np.asarray(truth, np.float64)
    if root is not None:
        pred = pred - pred[:, [root]]
        truth = truth - truth[:, [root]]
    return joint_distances(pred, truth).mean(-1)


def procrustes(
    source: Points, target: Points, *, rigid: bool = False
) -> Float[np.ndarray, "n k d"]:
    """Source after the similarity (rotation, translation, scale; no reflection) that brings it
    nearest to the target, by least squares in any dimension d. rigid: without scale. Source:
    Umeyama 1991.
    """
    # in one order of memory, so that equal poses have equal sums
    source, target = (np.ascontiguousarray(points, np.float64) for points in (source, target))
    w = 1 / source.shape[1]
    target_mean = (w * target).sum(1, keepdims=True)
    s = source - (w * source).sum(1, keepdims=True)
    t = target - target_mean
    u, d, vt = np.linalg.svd((w * t).swapaxes(-1, -2) @ s)
    sign = np.ones_like(d)
    sign[:, -1] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u * sign[:, None]) @ vt
    turned = s @ rotation.swapaxes(-1, -2)
    if rigid:
        return turned + target_mean
    spread = (w * s * s).sum((1, 2))
    scale = (d * sign).sum(-1) / np.where(spread > 0, spread, 1)
    return scale[:, None, None] * turned + target_mean


def p_epe(pred: Points, truth: Points, *, align: str = "truth_to_pred") -> Float[np.ndarray, "n"]:
    """Procrustes-aligned end point error of each instance. PORT Sec. IV.

    "truth_to_pred" is what PORT's tables use: the truth is brought onto the prediction, WITH scale,
    so that smaller predictions get smaller errors without being better. "pred_to_truth" does not
    move when predictions are scaled. "rigid" is what PORT's text says: turned and moved, never
    scaled, so that the direction makes no difference and a smaller answer is a wrong one.
    """
    check_choice("align", align, ("truth_to_pred", "pred_to_truth", "rigid"))
    source, target = (pred, truth) if align == "pred_to_truth" else (truth, pred)
    aligned = procrustes(source, target, rigid=align == "rigid")
    return joint_distances(aligned, target).mean(-1)


def bootstrap_interval(
    values: Float[np.ndarray, "n"],
    groups: np.ndarray,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Percentile interval (`LEVEL`) of the mean from `RESAMPLES` of whole groups (videos, pictures,
    people): rows of one are not independent.
    """
    import scipy.stats

    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums, counts = np.bincount(index, weights=values), np.bincount(index).astype(float)
    if len(sums) < 2:
        raise BadParameter(f"{len(sums)} group, an interval needs two or more")
    interval = scipy.stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return float(interval.low), float(interval.high)


# --- sequences ------------------------------------------------------------------------------------


def box_sizes(boxes_xyxy: Num[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
    """Longer side of each box: what HANet's PCK is a share of. The public program cuts the
    corners to whole pixels first.
    """
    boxes = np.asarray(boxes_xyxy, np.float64)
    return (boxes[:, 2:] - boxes[:, :2]).max(-1)


def torso_sizes(xy: Float[np.ndarray, "n k 2"], a: int, b: int) -> Float[np.ndarray, "n"]:
    """Distance of two joints of the truth, such as left shoulder and right hip: PCK "by torso"."""
    return joint_distances(xy[:, [a]], xy[:, [b]])[:, 0]


def hits(
    pred: Points, truth: Points, sizes: Float[np.ndarray, "n"], threshold: float
) -> Bool[np.ndarray, "n k"]:
    """Joints within `threshold` sizes of the truth, the limit included, as HANet counts (MMPose
    leaves it out).
    """
    return joint_distances(pred, truth) <= threshold * np.asarray(sizes)[:, None]


def pck(
    pred: Points,
    truth: Points,
    sizes: Float[np.ndarray, "n"],
    threshold: float,
    use: Bool[np.ndarray, "n k"] | None = None,
) -> Float[np.ndarray, "k"]:
    """Percentage of correct keypoints by joint, 0 to 1; NaN where a joint is never labelled.

    sizes: of each instance, px (`box_sizes`, `torso_sizes`). Padding of short sequences does not
    belong in here: the public program counts it, and there the untouched input hits and every
    prediction misses.
    """
    good = hits(pred, truth, sizes, threshold)
    use = np.ones_like(good) if use is None else use
    with np.errstate(invalid="ignore"):
        return (good & use).sum(0) / use.sum(0)


def accel(
    pred: Float[np.ndarray, "t k d"], truth: Float[np.ndarray, "t k d"]
) -> Float[np.ndarray, "u"]:
    """Acceleration error of frames 1 to t - 2: mean joint distance of the second differences, in
    units a frame squared (the papers' tables have no fps factor).
    """
    difference = np.asarray(pred, np.float64) - np.asarray(truth, np.float64)
    return np.linalg.norm(np.diff(difference, 2, axis=0), axis=-1).mean(-1)


# --- by visibility -------------------------------------------------------------------------------

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
