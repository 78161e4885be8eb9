"""How well detected poses find people: average precision by object keypoint similarity (OKS), and
scores by visibility.

Matching and averaging are pycocotools'; the similarity is our own, so that any skeleton and any
choice of joints can be scored. Errors of poses that are matched already, and PoseTrack's mean
average precision, are in `metrics`; files of results are scored in `data.scoring`. Areas are px^2.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from pycocotools.cocoeval import COCOeval
from scipy.optimize import linear_sum_assignment

from .errors import BadParameter, BadRecord
from .geometry import box_of_points
from .metrics import box_sizes, head_sizes, hits, pckh_ap
from .records import Detections, Picture, Pose
from .skeletons import skeleton

JOINTS = ("labelled", "visible", "occluded")
STATS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
BOX_AREA = 0.53  # CrowdPose API: a person's area as a share of the box's
CROWDPOSE_COUNTED = 12  # CrowdPose: num_keypoints leaves out head and neck
# unstated; ours (the public program: 5 % of the heat map's sides, that is of an enlarged box)
PCK_THRESHOLD = 0.05


def oks(
    pred: Float[np.ndarray, "m k 2"],
    truth: Float[np.ndarray, "n k 2"],
    use: Bool[np.ndarray, "n k"],
    areas: Float[np.ndarray, "n"],
    sigmas: Float[np.ndarray, "k"],
    boxes_xyxy: Float[np.ndarray, "n 4"],
) -> Float[np.ndarray, "m n"]:
    """Object keypoint similarity of every prediction to every person, 0 to 1; px. Visibility Sec.
    5.2, with s^2 = area.

    use: the joints that count, the delta of the formula. A person without one is compared by COCO's
    rule for people without labels: each predicted joint by how far it lies outside the box, taken
    three times as wide and high.
    """
    pred, boxes = np.asarray(pred, np.float64)[:, None], np.asarray(boxes_xyxy, np.float64)[:, None]
    size, none = boxes[..., 2:] - boxes[..., :2], ~use.any(1)
    outside = np.maximum(boxes[..., :2] - size - pred, 0) + np.maximum(
        pred - boxes[..., 2:] - size, 0
    )
    offset = np.where(none[:, None, None], outside, pred - truth)
    variance = (2 * np.asarray(sigmas, np.float64)) ** 2 * (
        np.asarray(areas, np.float64)[:, None] + np.spacing(1)
    )
    weight = use | none[:, None]
    return (np.exp(-(offset**2).sum(-1) / variance / 2) * weight).sum(-1) / weight.sum(-1)


def joints_of(truth: Pose, joints: str = "labelled") -> Bool[np.ndarray, "n k"]:
    """The labelled, the visible or the occluded joints. `BadParameter` where the data set does
    not say which are occluded.
    """
    if joints not in JOINTS:
        raise BadParameter(f"joints is {joints!r}", remedy=f"choose one of {', '.join(JOINTS)}")
    if joints == "labelled":
        return truth.labelled
    if not truth.occlusion_known:
        remedy = "score labelled joints, or data that state it (COCO, CrowdPose)"
        raise BadParameter(
            f"{joints} joints are asked for, and the truth does not say which are occluded",
            remedy=remedy,
        )
    return truth.visibility == (2 if joints == "visible" else 1)


def ignored(truth: Pose) -> Bool[np.ndarray, "n"]:
    """People who are no miss if nobody finds them: groups marked as crowd, and those without a
    labelled joint.

    In CrowdPose also those of whom only head and neck are labelled: its evaluator goes by
    num_keypoints.
    """
    counted = truth.labelled[:, : CROWDPOSE_COUNTED if truth.skeleton == "crowdpose14" else None]
    return ~counted.any(1) | (False if truth.crowd is None else truth.crowd)


def uses_box(truth: Pose, area: str | None) -> bool:
    """Whether OKS takes its scale from boxes: where it is asked for, and in CrowdPose by
    default.
    """
    if area not in (None, "stated", "box"):
        raise BadParameter(f"area is {area!r}", remedy="choose stated or box")
    return area == "box" or (area is None and truth.skeleton == "crowdpose14")


def person_areas(truth: Pose, area: str | None = None) -> Float[np.ndarray, "n"]:
    """OKS scale of each person: the area "stated" by the annotation, or 0.53 of the "box". None:
    box for CrowdPose.
    """
    if uses_box(truth, area):
        boxes = truth.boxes_xyxy.astype(np.float64)
        return (boxes[:, 2:] - boxes[:, :2]).prod(1) * BOX_AREA
    if truth.areas is None:
        raise BadParameter(
            "not every person states an area",
            remedy='say area="box" for 0.53 of the box, as CrowdPose',
        )
    return truth.areas.astype(np.float64)


class _Pairs(NamedTuple):
    """Of each picture: rows of the truth, the 20 best rows of the detections, and their OKS
    [detections people].
    """

    people: list[np.ndarray]
    found: list[np.ndarray]
    similarity: list[np.ndarray]


def _rows_by_picture(
    owner: Pose | Detections, index: dict[str, int], what: str
) -> list[np.ndarray]:
    if len(owner) and not owner.images:
        raise BadParameter(
            f"the {what} do not say to which pictures they belong", remedy="set images"
        )
    rows: list[list[int]] = [[] for _ in index]
    for row, name in enumerate(owner.images):
        if name not in index:
            remedy = "name every picture that was looked at, also those without people, or drop the record"
            raise BadRecord(
                f"picture {name!r} is none of the {len(index)} evaluated",
                record=f"{what}, row {row}",
                remedy=remedy,
            )
        rows[index[name]].append(row)
    return [np.array(r, int) for r in rows]


def _pairs(
    truth: Pose,
    found: Detections,
    joints: str,
    images: Sequence[str] | None,
    areas: np.ndarray,
    keep: int | None,
) -> _Pairs:
    joint_set = skeleton(truth.skeleton)
    if skeleton(found.skeleton) is not joint_set:
        raise BadParameter(
            f"{found.skeleton} detections of {truth.skeleton} people", remedy="convert one of them"
        )
    if joint_set.oks_sigmas is None:
        raise BadParameter(f"no OKS sigmas are published for {truth.skeleton}", remedy="use PCK")
    index = {
        name: i for i, name in enumerate(dict.fromkeys(truth.images if images is None else images))
    }
    people, rows = (
        _rows_by_picture(truth, index, "truth"),
        _rows_by_picture(found, index, "detections"),
    )
    rows = [r[np.argsort(-found.scores[r], kind="stable")[:keep]] for r in rows]
    use, sigmas = joints_of(truth, joints), np.array(joint_set.oks_sigmas)
    xy, points = (owner.xy_frame.astype(np.float64) for owner in (truth, found))
    boxes = truth.boxes_xyxy.astype(np.float64)
    similarity = [
        oks(points[d], xy[g], use[g], areas[g], sigmas, boxes[g])
        if len(d) and len(g)
        else np.zeros((0, len(g)))
        for g, d in zip(people, rows)
    ]
    return _Pairs(people, rows, similarity)


class _Evaluator(COCOeval):
    """pycocotools' evaluation of people, detections and similarities that are given instead of
    read and computed.
    """

    def __init__(self, people: dict, found: dict, similarity: list[np.ndarray], by_area: bool):
        super().__init__(iouType="keypoints")
        self._gts, self._dts, self._similarity = (
            defaultdict(list, people),
            defaultdict(list, found),
            similarity,
        )
        self.params.imgIds, self.params.catIds = list(range(len(similarity))), [0]
        if not by_area:
            self.params.areaRng, self.params.areaRngLbl = (
                self.params.areaRng[:1],
                self.params.areaRngLbl[:1],
            )

    def _prepare(self):
        """Nothing is left to prepare."""

    def computeOks(self, picture, category):
        return self._similarity[picture]


def keypoint_ap(
    truth: Pose,
    found: Detections,
    *,
    joints: str = "labelled",
    images: Sequence[str] | None = None,
    area: str | None = None,
    found_area: str = "joints",
    ignore: Bool[np.ndarray, "n"] | None = None,
) -> dict[str, float]:
    """COCO's ten numbers (`STATS`), 0 to 1: precision and recall by OKS at 0.50 to 0.95, the 20
    best detections a picture.

    joints: which count, after Visibility Table 3. With "visible" or "occluded" the formula's delta
        is v = 2 or v = 1, and who has no such joint is left out as COCO leaves out people without
        labels: no miss, and whatever is found within the box taken three times as wide and high is
        no false alarm. That last part: unstated; ours.
    images: the pictures that were looked at, in COCO's order of ids (it decides between equal
        scores); None: those in which the truth has people, which misses false alarms in empty
        pictures.
    area: OKS scale, see `person_areas`; M is 32^2 to 96^2 px^2 of it, L what is larger (left out
        for CrowdPose, whose evaluator has neither).
    found_area: a false alarm counts for medium or large by the extent of its "joints", or by its
        "boxes", which is what pycocotools takes where a results file states them.
    ignore: who is left out; `ignored` by default. Who is not, and has no labelled joint, is found
        by whatever lies within the box taken three times as wide and high, as in pycocotools.
    Where nobody counts a number is -1, as COCO's evaluator says it. Sources: pycocotools; CrowdPose
    API for CrowdPose. Errors: `BadParameter`; `BadRecord` for a detection in a picture that is not
    among `images`.
    """
    areas, by_area = person_areas(truth, area), truth.skeleton != "crowdpose14"
    left_out = ignored(truth) if ignore is None else ignore
    if joints != "labelled":  # else a person without a joint is a miss where `ignore` says so
        left_out = left_out | ~joints_of(truth, joints).any(1)
    crowd = np.zeros(len(truth), bool) if truth.crowd is None else truth.crowd
    corners = (
        box_of_points(found.xy_frame) if found_area == "joints" else found.boxes_xyxy
    ).astype(np.float64)
    extent = (corners[:, 2:] - corners[:, :2]).prod(1)
    people, rows, similarity = _pairs(truth, found, joints, images, areas, 20)
    gts = {
        (i, 0): [
            {
                "id": int(g) + 1,
                "ignore": bool(left_out[g]),
                "area": areas[g],
                "iscrowd": int(crowd[g]),
            }
            for g in picture
        ]
        for i, picture in enumerate(people)
    }
    dts = {
        (i, 0): [{"id": int(d) + 1, "score": found.scores[d], "area": extent[d]} for d in picture]
        for i, picture in enumerate(rows)
    }
    with redirect_stdout(io.StringIO()):
        evaluator = _Evaluator(gts, dts, similarity, by_area)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return {name: float(v) for name, v in zip(STATS, evaluator.stats) if by_area or name[-2] != "_"}


# --- by visibility --------------------------------------------------------------------------------


def match(
    truth: Pose, found: Detections, *, images: Sequence[str] | None = None, area: str | None = None
) -> Int[np.ndarray, "n"]:
    """Row of the detection that belongs to each person, -1 for none: the assignment of largest
    total OKS in each picture.

    For scores of joints, which need pairs, where a results file does not say whom a detection is
    of. # unstated; ours
    """
    pairs, row = (
        _pairs(truth, found, "labelled", images, person_areas(truth, area), None),
        np.full(len(truth), -1),
    )
    for people, rows, similarity in zip(*pairs):
        d, g = linear_sum_assignment(similarity, maximize=True)
        row[people[g]] = rows[d]
    return row


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
    good = hits(
        np.asarray(pred, np.float64),
        truth.xy_frame.astype(np.float64),
        box_sizes(truth.boxes_xyxy),
        threshold,
    )
    scores = {}
    for name, joints in zip(
        ("PCK-All", "PCK-Visible", "PCK-Occluded"), JOINTS[: 3 if truth.occlusion_known else 1]
    ):
        use = joints_of(truth, joints)
        if (count := use.sum(0)).any():
            scores[name] = float(((good & use).sum(0)[count > 0] / count[count > 0]).mean())
    return scores


def visibility_accuracy(
    probability: Float[np.ndarray, "n k"],
    truth: Pose,
    *,
    labelled_only: bool = False,
    threshold: float = 0.5,
) -> float:
    """Share of joints whose visibility is told rightly, 0 to 1; visible from `threshold` on.
    Visibility Table 6.

    A joint that is not labelled counts as not visible (footnote 1), or not at all with
    labelled_only. `BadParameter` where the truth does not say which joints are occluded.
    """
    right = (np.asarray(probability) >= threshold) == joints_of(truth, "visible")
    use = truth.labelled if labelled_only else np.ones_like(right)
    if not use.any():
        raise BadParameter(
            "no joint to judge",
            remedy="drop people without labelled joints only where others are left",
        )
    return float(right[use].mean())


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
    p, happened = np.asarray(probability, np.float64).ravel(), np.asarray(happened).ravel()
    if not p.size or not ((p >= 0) & (p <= 1)).all():
        raise BadParameter(
            "probabilities from 0 to 1 expected, at least one", remedy="apply a sigmoid to logits"
        )
    which = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    some = count > 0
    sums = [
        np.bincount(which, weights=w, minlength=bins)[some] / count[some] for w in (p, happened)
    ]
    return Calibration(*sums, count[some])


# --- PoseTrack ------------------------------------------------------------------------------------

GROUPS = {  # columns of PoseTrack's tables, joints by their names without sides
    "Head": ("nose", "head_bottom", "head_top"),
    "Shoulder": ("shoulder",),
    "Elbow": ("elbow",),
    "Wrist": ("wrist",),
    "Hip": ("hip",),
    "Knee": ("knee",),
    "Ankle": ("ankle",),
}


def in_ignored(owner: Detections | Pose, pictures: Iterable[Picture]) -> Bool[np.ndarray, "n k"]:
    """Joints inside the regions where nobody was labelled: PoseTrack's program counts them
    neither as found nor as labelled.
    """
    regions = {picture.name: picture.ignore for picture in pictures if picture.ignore}
    inside = np.zeros(owner.xy_frame.shape[:2], bool)
    for row, name in enumerate(owner.images):
        for polygon in regions.get(name, ()):
            at = [
                cv2.pointPolygonTest(np.float32(polygon), xy, False) > 0
                for xy in owner.xy_frame[row].tolist()
            ]
            inside[row] |= at
    return inside


def posetrack_ap(
    truth: Pose,
    found: Detections,
    joints: str = "labelled",
    threshold: float = 0.5,
    left_out: Bool[np.ndarray, "n k"] | None = None,
) -> dict[str, float]:
    """PoseTrack's AP by group of joints and their mean over all joints ("Mean"), 0 to 1. See
    `metrics.pckh_ap`. Joints that are never labelled have no part in either, and a group of none
    but such is NaN.

    Frames are told apart by `images`; the truth needs head boxes. joints: as in `joints_of`; for
    "visible" and "occluded" the poses must be paired row by row with the truth, and their other
    joints are left out: they are no mistakes. left_out: more joints of `found` of which the same
    holds (those in regions where nobody was labelled).
    """
    by_joint, names = (
        pckh_ap(_frames(truth, found, joints, left_out), threshold),
        skeleton(truth.skeleton).joints,
    )
    members = {
        group: [
            by_joint[i]
            for i, name in enumerate(names)
            if name.removeprefix("left_").removeprefix("right_") in parts
        ]
        for group, parts in GROUPS.items()
    }
    means = {group: np.array(values) for group, values in members.items()} | {"Mean": by_joint}
    return {
        group: float(v[np.isfinite(v)].mean()) if np.isfinite(v).any() else np.nan
        for group, v in means.items()
    }


def posetrack_ap_draws(
    truth: Pose,
    found: Detections,
    joints: str = "labelled",
    threshold: float = 0.5,
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
    return np.nanmean(pckh_ap(frames, threshold, drawn[:, group]), 1)


def _frames(
    truth: Pose, found: Detections, joints: str, left_out: Bool[np.ndarray, "n k"] | None
) -> list[tuple[np.ndarray, ...]]:
    """What `pckh_ap` takes, a tuple a picture of the truth, in order of first appearance."""
    if truth.head_boxes_xyxy is None:
        raise BadParameter(
            "PoseTrack's AP needs head boxes",
            remedy="PoseTrack's annotations and rendered clips have them",
        )
    index = {name: i for i, name in enumerate(dict.fromkeys(truth.images))}
    use, confidence = joints_of(truth, joints), np.asarray(found.confidence, np.float64)
    if joints != "labelled":
        if found.images != truth.images:
            raise BadParameter(
                f"{joints} joints alone need poses that are paired row by row with the truth"
            )
        confidence = np.where(use, confidence, -np.inf)
    if left_out is not None:
        confidence = np.where(left_out, -np.inf, confidence)
    heads = head_sizes(truth.head_boxes_xyxy)
    rows = zip(
        _rows_by_picture(truth, index, "truth"), _rows_by_picture(found, index, "prediction")
    )
    return [
        (found.xy_frame[b], confidence[b], truth.xy_frame[a], use[a], heads[a]) for a, b in rows
    ]
