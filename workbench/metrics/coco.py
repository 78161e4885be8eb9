"""How well detected poses find people: average precision by object keypoint similarity (OKS).

Matching and averaging are pycocotools' (`evaluators`); the similarity is our own, so that
any skeleton and any choice of joints can be scored. Areas are px^2.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from ..errors import BadParameter, BadRecord, check_choice
from ..geometry import box_of_points
from ..records import Detections, Pose
from ..skeletons import skeleton
from .distances import joints_of
from .evaluators import coco_stats

STATS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
BOX_AREA = 0.53  # CrowdPose API: a person's area as a share of the box's
CROWDPOSE_COUNTED = 12  # CrowdPose: num_keypoints leaves out head and neck
MOST_DETECTIONS = 20  # that COCO looks at in a picture
PAIRS_AT_ONCE = 4096  # whose OKS is computed in one go: arrays of some MB


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
    m, n = len(pred), len(truth)
    d, g = np.repeat(np.arange(m), n), np.tile(np.arange(n), m)
    person = truth[g], use[g], areas[g], sigmas, boxes_xyxy[g]
    return paired_oks(pred[d], *person).reshape(m, n)


def paired_oks(
    pred: Float[np.ndarray, "p k 2"],
    truth: Float[np.ndarray, "p k 2"],
    use: Bool[np.ndarray, "p k"],
    areas: Float[np.ndarray, "p"],
    sigmas: Float[np.ndarray, "k"],
    boxes_xyxy: Float[np.ndarray, "p 4"],
) -> Float[np.ndarray, "p"]:
    """`oks` of every prediction and its person."""
    pred = np.asarray(pred, np.float64)
    none = ~use.any(1)
    offset = pred - truth
    low, high = np.split(np.asarray(boxes_xyxy[none], np.float64)[:, None], 2, axis=-1)
    size, alone = high - low, pred[none]
    offset[none] = np.maximum(low - size - alone, 0) + np.maximum(alone - high - size, 0)
    squared = offset[..., 0] ** 2 + offset[..., 1] ** 2
    area = np.asarray(areas, np.float64)[:, None] + np.spacing(1)
    variance = (2 * np.asarray(sigmas, np.float64)) ** 2 * area
    weight = use | none[:, None]
    return (np.exp(-squared / variance / 2) * weight).sum(1) / weight.sum(1)


def ignored(truth: Pose) -> Bool[np.ndarray, "n"]:
    """People who are no miss if nobody finds them: groups marked as crowd, and those without a
    labelled joint.

    In CrowdPose also those of whom only head and neck are labelled: its evaluator goes by
    num_keypoints.
    """
    counted = CROWDPOSE_COUNTED if truth.skeleton == "crowdpose14" else None
    return ~truth.labelled[:, :counted].any(1) | _crowd(truth)


def _crowd(truth: Pose) -> Bool[np.ndarray, "n"]:
    return np.zeros(len(truth), bool) if truth.crowd is None else truth.crowd


def uses_box(truth: Pose, area: str | None) -> bool:
    """Whether OKS takes its scale from boxes: where it is asked for, and in CrowdPose by
    default.
    """
    if area is None:
        return truth.skeleton == "crowdpose14"
    check_choice("area", area, ("stated", "box"))
    return area == "box"


def _box_areas(boxes_xyxy: np.ndarray) -> Float[np.ndarray, "n"]:
    boxes = boxes_xyxy.astype(np.float64)
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def person_areas(truth: Pose, area: str | None = None) -> Float[np.ndarray, "n"]:
    """OKS scale of each person: the area "stated" by the annotation, or 0.53 of the "box". None:
    box for CrowdPose.
    """
    if uses_box(truth, area):
        return _box_areas(truth.boxes_xyxy) * BOX_AREA
    if truth.areas is None:
        raise BadParameter(
            "not every person states an area",
            remedy='say area="box" (--area box) for 0.53 of the box, as CrowdPose',
        )
    return truth.areas.astype(np.float64)


def rows_by_picture(
    owner: Pose | Detections, images: Sequence[str], what: str
) -> list[Int[np.ndarray, "_"]]:
    """Rows of the people of each of these pictures, in their order, each picture once.

    what: how errors call the owner. `BadRecord` for a row of any other picture.
    """
    if len(owner) and not owner.images:
        raise BadParameter(
            f"the {what} do not say to which pictures they belong", remedy="set images"
        )
    rows: dict[str, list[int]] = {name: [] for name in images}
    for row, name in enumerate(owner.images):
        if name not in rows:
            raise BadRecord(
                f"picture {name!r} is none of the {len(rows)} evaluated",
                record=f"{what}, row {row}",
                remedy="name every picture that was looked at, also those without people",
            )
        rows[name].append(row)
    return [np.array(of_picture, int) for of_picture in rows.values()]


def _pairs(
    truth: Pose,
    found: Detections,
    joints: str,
    images: Sequence[str] | None,
    areas: np.ndarray,
    most: int | None,
) -> tuple[list[np.ndarray], list[np.ndarray], list[Float[np.ndarray, "m n"]]]:
    """Of each picture: rows of n people, rows of m detections by falling score, their OKS.

    most: how many detections of a picture are looked at, those of the highest scores.
    """
    joint_set = skeleton(truth.skeleton)
    if skeleton(found.skeleton) is not joint_set:
        raise BadParameter(
            f"{found.skeleton} detections of {truth.skeleton} people", remedy="convert one of them"
        )
    if joint_set.oks_sigmas is None:
        raise BadParameter(f"no OKS sigmas are published for {truth.skeleton}", remedy="use PCK")
    images = truth.images if images is None else images
    people = rows_by_picture(truth, images, "truth")
    rows = [
        r[np.argsort(-found.scores[r], kind="stable")[:most]]
        for r in rows_by_picture(found, images, "detections")
    ]
    use = joints_of(truth, joints)
    pairs = [(d.repeat(len(g)), g[None].repeat(len(d), 0).ravel()) for g, d in zip(people, rows)]
    values = _oks_of_pairs(truth, found, pairs, use, areas, np.array(joint_set.oks_sigmas))
    ends = np.cumsum([len(d) for d, _ in pairs])
    parts = zip(np.split(values, ends[:-1]), people, rows)
    return people, rows, [part.reshape(len(d), len(g)) for part, g, d in parts]


def _oks_of_pairs(
    truth: Pose,
    found: Detections,
    pairs: list[tuple[np.ndarray, np.ndarray]],
    use: Bool[np.ndarray, "n k"],
    areas: Float[np.ndarray, "n"],
    sigmas: Float[np.ndarray, "k"],
) -> Float[np.ndarray, "p"]:
    """OKS of pairs (rows of detections, rows of people), all pictures' one after the other: a
    picture alone has few.
    """
    nobody = np.zeros(0, int)
    of_found = np.concatenate([nobody, *(d for d, _ in pairs)])
    of_truth = np.concatenate([nobody, *(g for _, g in pairs)])
    values = np.empty(len(of_found))
    for start in range(0, len(values), PAIRS_AT_ONCE):
        block = slice(start, start + PAIRS_AT_ONCE)
        d, g = of_found[block], of_truth[block]
        person = truth.xy_frame[g], use[g], areas[g], sigmas, truth.boxes_xyxy[g]
        values[block] = paired_oks(found.xy_frame[d], *person)
    return values


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
    areas = person_areas(truth, area)
    by_area = truth.skeleton != "crowdpose14"
    left_out = ignored(truth) if ignore is None else ignore
    if joints != "labelled":  # else a person without a joint is a miss where `ignore` says so
        left_out = left_out | ~joints_of(truth, joints).any(1)
    crowd = _crowd(truth)
    boxes = box_of_points(found.xy_frame) if found_area == "joints" else found.boxes_xyxy
    extent = _box_areas(boxes)

    people, rows, similarity = _pairs(truth, found, joints, images, areas, MOST_DETECTIONS)
    persons = _records(people, area=areas, ignore=left_out, iscrowd=crowd)
    detections = _records(rows, score=found.scores, area=extent)
    stats = coco_stats(persons, detections, similarity)
    sized = ("_M", "_L")
    return {n: float(v) for n, v in zip(STATS, stats) if by_area or not n.endswith(sized)}


def _records(
    rows: list[Int[np.ndarray, "_"]], **columns: Shaped[np.ndarray, "n"]
) -> list[list[dict]]:
    """Of each picture its rows of the columns, with ids from 1."""
    lists = [column.tolist() for column in columns.values()]
    names = ("id", *columns)
    table = [dict(zip(names, values)) for values in zip(itertools.count(1), *lists)]
    return [[table[row] for row in of_picture.tolist()] for of_picture in rows]


def match(
    truth: Pose, found: Detections, *, images: Sequence[str] | None = None, area: str | None = None
) -> Int[np.ndarray, "n"]:
    """Row of the detection that belongs to each person, -1 for none: the assignment of largest
    total OKS in each picture.

    For scores of joints, which need pairs, where a results file does not say whom a detection is
    of. # unstated; ours
    """
    from scipy.optimize import linear_sum_assignment

    row = np.full(len(truth), -1)
    pairs = _pairs(truth, found, "labelled", images, person_areas(truth, area), None)
    for people, rows, similarity in zip(*pairs):
        d, g = linear_sum_assignment(similarity, maximize=True)
        row[people[g]] = rows[d]
    return row
