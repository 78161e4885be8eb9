"""Errors of poses against ground truth, one value an instance, in the units of the input.

Distances are computed in float64. Averages over instances are the caller's: a protocol says what it
averages.
"""

from __future__ import annotations

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Num

from ..errors import BadParameter, check_choice

Points = Float[np.ndarray, "n k d"]


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


def procrustes(source: Points, target: Points) -> Float[np.ndarray, "n k d"]:
    """Source after the similarity (rotation, translation, scale; no reflection) that brings it
    nearest to the target, by least squares in any dimension d. Source: Umeyama 1991.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    w = 1 / source.shape[1]
    target_mean = (w * target).sum(1, keepdims=True)
    s = source - (w * source).sum(1, keepdims=True)
    t = target - target_mean
    u, d, vt = np.linalg.svd((w * t).swapaxes(-1, -2) @ s)
    sign = np.ones_like(d)
    sign[:, -1] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u * sign[:, None]) @ vt
    spread = (w * s * s).sum((1, 2))
    scale = (d * sign).sum(-1) / np.where(spread > 0, spread, 1)
    return scale[:, None, None] * (s @ rotation.swapaxes(-1, -2)) + target_mean


def p_epe(pred: Points, truth: Points, *, align: str = "truth_to_pred") -> Float[np.ndarray, "n"]:
    """Procrustes-aligned end point error of each instance. PORT Sec. IV.

    "truth_to_pred" is what PORT's tables use: the truth is brought onto the prediction, WITH scale,
    so that smaller predictions get smaller errors without being better. "pred_to_truth" does not
    move when predictions are scaled.
    """
    check_choice("align", align, ("truth_to_pred", "pred_to_truth"))
    source, target = (truth, pred) if align == "truth_to_pred" else (pred, truth)
    return joint_distances(procrustes(source, target), target).mean(-1)


def bootstrap_interval(
    values: Float[np.ndarray, "n"],
    groups: np.ndarray,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """95 % percentile interval of the mean from 2,000 resamples of whole groups (videos, pictures,
    people): rows of one are not independent.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums, counts = np.bincount(index, weights=values), np.bincount(index).astype(float)
    if len(sums) < 2:
        raise BadParameter(f"{len(sums)} group, an interval needs two or more")
    interval = scipy.stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=2000,
        confidence_level=0.95,
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
