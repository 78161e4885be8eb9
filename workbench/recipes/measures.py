"""What answers on people are judged by: PoseTrack's AP and PCKh, COCO's AP with OKS by person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from .. import metrics
from ..data.scoring import score
from ..records import Detections, Picture, Pose
from ..skeletons import skeleton
from .base import Scores, rows

# rows of people whose labels tell occlusion, and which joints count in each
SUBSETS = {
    "all joints": "labelled",
    "visible joints": "visible",
    "occluded joints": "occluded",
}

PERCENT = "percent; AP-*: PoseTrack's average precision within half a head size"


def weighted(poses: Detections, scores: Float[np.ndarray, n] | None) -> Detections:
    """Joints' confidences times the score of the box that they were estimated in.

    # unstated; ours
    """
    if scores is None:
        return poses
    return replace(poses, confidence=poses.confidence * scores[:, None])


def posetrack_scores(
    words: Mapping[str, object],
    poses: Detections,
    truth: Pose,
    *,
    pictures: Sequence[Picture] = (),
    box_scores: Float[np.ndarray, n] | None = None,
    left_out: Bool[np.ndarray, "n k"] | None = None,
) -> list[Scores]:
    """PoseTrack's AP by group of joints and mean, and the share of joints within half a head size
    ("PCKh"), of all, and where the truth says it of visible and occluded joints; percent.

    pictures: whose ignored regions count for nobody. box_scores: of a detector's boxes, by which
    the poses count; they belong to nobody row by row, which PCKh needs. left_out: joints that
    count for nobody, by default those in ignored regions.
    """
    truth, poses = blurred(truth, ~metrics.in_ignored(truth, pictures)), weighted(poses, box_scores)
    if left_out is None:
        left_out = metrics.in_ignored(poses, pictures)
    found = []
    for subset, joints in list(SUBSETS.items())[: None if truth.occlusion_known else 1]:
        use = metrics.joints_of(truth, joints)
        arguments, values, groups = (truth, poses, joints), {}, np.array(truth.groups)
        by_group = metrics.posetrack_ap(*arguments, left_out=left_out)
        whole = {f"AP-{name}": 100 * v for name, v in by_group.items() if v >= 0}
        draws = {}
        if len(set(truth.groups)) > 1:
            rng = np.random.default_rng(0)
            draws["AP-Mean"] = metrics.posetrack_ap_draws(*arguments, left_out=left_out, rng=rng)
        if box_scores is None:
            judged = use.any(1)
            groups = groups[judged]
            heads = metrics.head_sizes(truth.head_boxes_xyxy)
            right = metrics.hits(poses.xy_frame, truth.xy_frame, heads, 0.5)
            values["PCKh"] = 100 * (right & use).sum(1)[judged] / use.sum(1)[judged]
        own = {**words, "subset": subset}
        found.append(Scores(own, int(use.sum()), values, groups, whole, draws))
    return found


def posetrack_rows(
    method: str, variant: str, poses: Detections, truth: Pose, **options
) -> list[dict]:
    """`posetrack_scores` (its options) as rows."""
    words = {"method": method, "variant": variant}
    return rows({variant: posetrack_scores(words, poses, truth, **options)})


def area_of(truth: Pose) -> str | None:
    """Where OKS takes its scale from: rendered people state no area, so 0.53 of the box."""
    return "box" if truth.areas is None else None


def person_oks(poses: Detections, truth: Pose, joints: str = "labelled") -> Float[np.ndarray, n]:
    """OKS of each person with the pose from the own box, 0 to 1; NaN where no joint counts."""
    use = metrics.joints_of(truth, joints)
    areas = metrics.person_areas(truth, area_of(truth))
    sigmas = np.array(skeleton(truth.skeleton).oks_sigmas)
    oks = np.full(len(truth), np.nan)
    for i in np.flatnonzero(use.any(1)):
        row = slice(i, i + 1)
        arrays = (poses.xy_frame[row], truth.xy_frame[row], use[row], areas[row])
        oks[i] = metrics.oks(*arrays, sigmas, truth.boxes_xyxy[row]).item()
    return oks


def coco_scores(
    words: Mapping[str, object],
    poses: Detections,
    visibility: Float[np.ndarray, "n k"] | None,
    truth: Pose,
    **options,
) -> list[Scores]:
    """`score`'s rows (its options), percent, and of people who are paired with a pose row by row
    mean OKS ("oks") and the accuracy of VisNet's visibility.
    """
    groups, found = np.array(truth.images), []
    same_boxes = np.array_equal(poses.boxes_xyxy, truth.boxes_xyxy)
    aligned = poses.images == truth.images and same_boxes
    for row in score(truth, poses, area=area_of(truth), **options)["rows"]:
        joints = SUBSETS.get(row["subset"])
        values, own, judged = {}, {}, np.zeros(len(truth), bool)
        if aligned and joints:
            oks = person_oks(poses, truth, joints)
            judged = np.isfinite(oks)
            values["oks"] = 100 * oks[judged]
            own["oks"] = float(oks[judged].mean())
        if aligned and joints == "labelled" and visibility is not None and truth.occlusion_known:
            own["visibility_accuracy"] = metrics.visibility_accuracy(visibility, truth)
        # below 0: nobody to judge by
        whole = {key: 100 * v for key, v in {**row["metrics"], **own}.items() if v >= 0}
        extra = {"pictures": row["pictures"]}
        told = {**words, "subset": row["subset"]}
        found.append(Scores(told, row["n"], values, groups[judged], whole, extra=extra))
    return found


def blurred(truth: Pose, fast: Bool[np.ndarray, "n k"]) -> Pose:
    """The truth with those joints alone labelled."""
    return replace(truth, visibility=truth.visibility * fast)
