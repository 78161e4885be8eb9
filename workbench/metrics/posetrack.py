"""PoseTrack's average precision by joint (PCKh), with the regions that its program leaves out."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Bool, Float, Num

from ..errors import BadParameter
from ..records import Detections, Picture, Pose
from ..skeletons import skeleton
from .coco import rows_by_picture
from .distances import joints_of

# predicted [p k 2] px, their scores [p k], truth [g k 2] px, labelled [g k], head sizes [g] px
Frame = tuple[np.ndarray, ...]
GROUPS = {  # columns of PoseTrack's tables, joints by their names without sides
    "Head": ("nose", "head_bottom", "head_top"),
    "Shoulder": ("shoulder",),
    "Elbow": ("elbow",),
    "Wrist": ("wrist",),
    "Hip": ("hip",),
    "Knee": ("knee",),
    "Ankle": ("ankle",),
}


def head_sizes(boxes_xyxy: Num[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
    """0.6 of the diagonal of each head box: what PoseTrack's PCKh is a share of."""
    boxes = np.asarray(boxes_xyxy, np.float64)
    return 0.6 * np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1)


def _right(frame: Frame, threshold: float) -> Bool[np.ndarray, "p k"]:
    """Which predicted joints of a frame are right, see `pckh_ap`."""
    pred, score, truth, labelled, sizes = frame
    away = np.linalg.norm(np.asarray(pred, np.float64)[:, None] - truth[None], axis=-1)
    hit = labelled & np.isfinite(score)[:, None] & (away <= threshold * sizes[:, None])
    right = np.zeros(score.shape, bool)
    share = hit.sum(-1) / np.maximum(labelled.sum(-1), 1)  # [prediction person]
    if share.size:
        # each prediction stands for one person, and each person takes the best of these
        share = np.where(np.arange(len(truth)) == share.argmax(1)[:, None], share, 0)
        persons = np.flatnonzero(share.max(0) > 0)
        best = share.argmax(0)[persons]
        right[best] = hit[best, persons]
    return right


def pckh_ap(
    frames: Iterable[Frame],
    threshold: float = 0.5,
    counts: Num[np.ndarray, "r f"] | None = None,
) -> Float[np.ndarray, "*r k"]:
    """Average precision of each joint as PoseTrack defines it, 0 to 1; NaN for a joint that is
    never labelled. HANet Table 3.

    frames: of each labelled frame what is predicted [p k 2] with scores [p k] (-inf: the pose lacks
    that joint), and the truth [g k 2], which of it is labelled [g k], and head sizes [g]
    (`head_sizes`). counts: how often each frame counts, r times over, for intervals; the answer is
    [r k] then. A joint is right within `threshold` head sizes. A prediction may only stand for the
    person of whose labelled joints it has the largest share right, and a person takes the best of
    these; all joints of the other predictions are wrong. The area lies under the highest precision
    at each recall or beyond; joints of equal score keep their order. Unlike PoseTrack's program,
    which drops frames without people, such a frame counts if the caller gives it.
    """
    frames = list(frames)
    scores = np.concatenate([score for _, score, *_ in frames])
    right = np.concatenate([_right(frame, threshold) for frame in frames])
    labels = np.array([labelled.sum(0) for _, _, _, labelled, _ in frames])
    frame = np.repeat(np.arange(len(frames)), [len(score) for _, score, *_ in frames])
    order = np.argsort(-scores, axis=0, kind="stable")
    right = np.take_along_axis(right, order, 0)
    exists = np.isfinite(np.take_along_axis(scores, order, 0))
    frame = frame[order]

    def areas(count: np.ndarray) -> np.ndarray:
        weight = count[frame] * exists
        found = weight * right
        precision = found.cumsum(0) / np.maximum(weight.cumsum(0), 1)
        highest = np.maximum.accumulate(precision[::-1])[::-1]
        with np.errstate(invalid="ignore"):
            return (found * highest).sum(0) / (count @ labels)

    if counts is None:
        return areas(np.ones(len(labels), int))
    return np.array([areas(count) for count in counts])


def in_ignored(owner: Detections | Pose, pictures: Iterable[Picture]) -> Bool[np.ndarray, "n k"]:
    """Joints inside the regions where nobody was labelled: PoseTrack's program counts them
    neither as found nor as labelled.
    """
    regions = {picture.name: picture.ignore for picture in pictures}
    inside = np.zeros(owner.xy_frame.shape[:2], bool)
    for row, name in enumerate(owner.images):
        for polygon in regions.get(name) or ():
            corners = np.float32(polygon)
            inside[row] |= [
                cv2.pointPolygonTest(corners, xy, False) > 0 for xy in owner.xy_frame[row].tolist()
            ]
    return inside


def posetrack_ap(
    truth: Pose,
    found: Detections,
    joints: str = "labelled",
    left_out: Bool[np.ndarray, "n k"] | None = None,
) -> dict[str, float]:
    """PoseTrack's AP by group of joints and their mean over all joints ("Mean"), 0 to 1. See
    `pckh_ap`. Joints that are never labelled have no part in either, and a group of none but such
    is NaN.

    Frames are told apart by `images`; the truth needs head boxes. joints: as in `joints_of`; for
    "visible" and "occluded" the poses must be paired row by row with the truth, and their other
    joints are left out: they are no mistakes. left_out: more joints of `found` of which the same
    holds (those in regions where nobody was labelled).
    """
    by_joint = pckh_ap(_frames(truth, found, joints, left_out))
    joint_set = skeleton(truth.skeleton).joints
    parts = [name.removeprefix("left_").removeprefix("right_") for name in joint_set]
    scores = {}
    for group, members in (GROUPS | {"Mean": parts}).items():
        values = by_joint[np.isin(parts, members) & np.isfinite(by_joint)]
        scores[group] = float(values.mean()) if values.size else np.nan
    return scores


def posetrack_ap_draws(
    truth: Pose,
    found: Detections,
    joints: str = "labelled",
    left_out: Bool[np.ndarray, "n k"] | None = None,
    *,
    rng: np.random.Generator,
    resamples: int = 500,
) -> Float[np.ndarray, "r"]:
    """`posetrack_ap`'s "Mean", 0 to 1, of resampled groups (videos, clips) of the truth, drawn
    whole: the same state of `rng` draws the same groups for every set of detections.

    Joints that a resample holds no label of have no part in its mean. `BadParameter` for fewer
    than two groups.
    """
    frames = _frames(truth, found, joints, left_out)
    by_picture = dict(zip(truth.images, truth.groups))
    names, group = np.unique(list(by_picture.values()), return_inverse=True)
    if len(names) < 2:
        raise BadParameter(f"{len(names)} group, an interval needs two or more")
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return np.nanmean(pckh_ap(frames, counts=drawn[:, group]), 1)


def _frames(
    truth: Pose, found: Detections, joints: str, left_out: Bool[np.ndarray, "n k"] | None
) -> list[Frame]:
    """What `pckh_ap` takes, a tuple a picture of the truth, in order of first appearance."""
    if truth.head_boxes_xyxy is None:
        raise BadParameter(
            "PoseTrack's AP needs head boxes",
            remedy="PoseTrack's annotations and rendered clips have them",
        )
    use = joints_of(truth, joints)
    confidence = np.asarray(found.confidence, np.float64)
    if joints != "labelled":
        if found.images != truth.images:
            raise BadParameter(
                f"{joints} joints alone need poses that are paired row by row with the truth"
            )
        confidence = np.where(use, confidence, -np.inf)
    if left_out is not None:
        confidence = np.where(left_out, -np.inf, confidence)
    heads = head_sizes(truth.head_boxes_xyxy)
    people = rows_by_picture(truth, truth.images, "truth")
    poses = rows_by_picture(found, truth.images, "prediction")
    return [
        (found.xy_frame[p], confidence[p], truth.xy_frame[g], use[g], heads[g])
        for g, p in zip(people, poses)
    ]
