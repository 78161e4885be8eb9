"""Files of results against files of annotations: every score of `metrics`, in rows, with its
protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from .. import metrics as kp
from ..errors import BadFile, BadParameter, BadRecord, UnknownName
from ..geometry import box_of_points, xywh_to_xyxy
from ..records import Detections, Picture, Pose
from ..skeletons import skeleton as skeleton_by_name
from . import checks, coco
from .detections import USUAL_SKELETON
from .safe import read_json

# from which the poses were estimated; none: bottom-up
BOXES = ("ground truth", "detector", "none", "not stated")
CROWD_EDGES = {"evaluator": coco.CROWD_EDGES_EVALUATOR, "paper": coco.CROWD_EDGES_PAPER}


def _flat(truth: Pose) -> Bool[np.ndarray, "n"]:
    """Whose box has no width or no height."""
    return (truth.boxes_xyxy[:, 2:] <= truth.boxes_xyxy[:, :2]).any(1)


def _posetrack_ap(truth: Pose, found: Detections, pictures: Sequence[Picture]) -> dict[str, float]:
    seen = found.select(
        np.isin(found.images, list(set(truth.images))) if len(found) else np.zeros(0, bool)
    )
    kept = replace(truth, visibility=truth.visibility * ~kp.in_ignored(truth, pictures))
    ap = kp.posetrack_ap(kept, seen, left_out=kp.in_ignored(seen, pictures))
    return {f"PoseTrack AP-{name}": value for name, value in ap.items() if np.isfinite(value)}


def score(
    truth: Pose,
    found: Detections,
    *,
    boxes: str,
    pictures: Sequence[Picture] | None = None,
    area: str | None = None,
    found_area: str = "joints",
    ignore: Bool[np.ndarray, "n"] | None = None,
    threshold: float = kp.PCK_THRESHOLD,
) -> dict:
    """{schema_version, protocol, boxes, rows: [{subset, kind, n, pictures, metrics}]}, n people who
    count, metrics 0 to 1.

    Rows: all joints; visible and occluded joints where the truth tells them apart; where pictures
    state a crowdIndex, CrowdPose's easy, medium and hard by the edges of its evaluator (0.2, 0.8:
    published numbers) and of its paper (0.1, 0.8). Metrics: `keypoint_ap`, and PCK of the people
    that `match` pairs, whom nobody found missed. Who has a box of no width or height is left out of
    PCK. Where people have head boxes, PoseTrack's AP too, by joints' own confidences, in the frames
    with people, regions where nobody was labelled left out. boxes: from which the poses were
    estimated, one of `BOXES`; always stated, never guessed. pictures: all that were looked at, in
    order of their ids; None: those with people in them. Other parameters and errors: as of
    `keypoint_ap`, `pck_by_visibility`.
    """
    if boxes not in BOXES:
        raise BadParameter(f"boxes is {boxes!r}", remedy=f"choose one of {', '.join(BOXES)}")
    names = list(dict.fromkeys(truth.images if pictures is None else (p.name for p in pictures)))
    out = kp.ignored(truth) if ignore is None else ignore
    options = {"area": area, "found_area": found_area}

    def row(subset: str, joints: str = "labelled", among: Sequence[str] = names) -> dict:
        if among is names:
            people, detections, left_out = truth, found, out
        else:
            inside = set(among)
            some = np.array([image in inside for image in truth.images], bool)
            people, left_out = truth.select(some), out[some]
            detections = found.select(np.array([image in inside for image in found.images], bool))
        metrics = kp.keypoint_ap(
            people, detections, joints=joints, images=among, ignore=left_out, **options
        )
        n = int(((kp.joints_of(people, joints).any(1) | (joints == "labelled")) & ~left_out).sum())
        return {
            "subset": subset,
            "kind": "measured",
            "n": n,
            "pictures": len(among),
            "metrics": metrics,
        }

    rows = [row("all joints")]
    if truth.head_boxes_xyxy is not None:
        rows[0]["metrics"] |= _posetrack_ap(truth.select(~out), found, pictures or ())
    if truth.occlusion_known:
        rows += [row("visible joints", "visible"), row("occluded joints", "occluded")]
    pair = kp.match(truth, found, images=names, area=area)
    xy = np.concatenate(
        (found.xy_frame.astype(np.float64), np.full((1, *truth.xy_frame.shape[1:]), np.nan))
    )[pair]
    sized = ~out & ~_flat(truth)  # PCK is a share of the box
    pck = kp.pck_by_visibility(xy[sized], truth.select(sized), threshold)
    for kind, scored in zip(("PCK-All", "PCK-Visible", "PCK-Occluded"), rows):
        scored["metrics"] |= {kind: pck[kind]} if kind in pck else {}
    crowded = [p for p in pictures or () if p.crowd_index is not None]
    for publisher, edges in CROWD_EDGES.items() if crowded else ():
        bins = coco.crowd_bins(np.array([p.crowd_index for p in crowded], float), edges)
        for i, level in enumerate(("easy", "medium", "hard")):
            among = [p.name for p, b in zip(crowded, bins) if b == i]
            rows.append(
                row(f"{level} ({publisher}'s edges {edges[0]:g}, {edges[1]:g})", among=among)
            )
    joint_set = skeleton_by_name(truth.skeleton)
    scale = "0.53 of the box" if kp.uses_box(truth, area) else "the stated area"
    protocol = (
        f"{len(names)} pictures, {len(truth)} people; poses from boxes: {boxes}; AP and AR by OKS "
        "0.50 to 0.95 with pycocotools, "
        f"the 20 best detections a picture, {joint_set.name} with sigmas of "
        f"{joint_set.sigma_source}, scale {scale}; "
        f"PCK within {threshold:g} of the box's longer side, mean of joints, people paired with "
        "detections by largest total OKS"
    )
    if truth.head_boxes_xyxy is not None:
        protocol += "; PoseTrack AP: joints within half a head size, by their own confidences, in frames with people"
    if not truth.occlusion_known:
        protocol += (
            "; the truth does not say which joints are occluded, so nothing is split by visibility"
        )
    return {"schema_version": 1, "protocol": protocol, "boxes": boxes, "rows": rows}


def read_results(
    path: str | Path,
    skeleton: str,
    *,
    category: int | None = None,
    content: object = None,
    on_bad: str = "raise",
) -> tuple[Detections, list[BadRecord], bool]:
    """Poses of a COCO results file, [{image_id, keypoints, score, category_id?, bbox?}], for
    scoring and nothing else.

    `images` are the picture ids as text. Confidences may be any finite numbers. Also what was left
    out (results of another category, which pycocotools passes over; bad ones with on_bad="report"),
    and whether every result states a box; where one does not, all boxes are the joints' extent.
    Errors: `BadFile`, `EmptyFile`, `MissingFile`, `BadRecord`: a score that is missing is one, as
    in pycocotools, since AP goes by the order of scores.
    """
    path, k = Path(path), len(skeleton_by_name(skeleton))
    content = read_json(path) if content is None else content
    if type(content) is not list:
        raise BadFile(f"holds a {type(content).__name__}, a list of results expected", file=path)
    keypoints, whole = checks.columns(content, "keypoints", 3 * k)
    xywh, boxed = checks.columns(content, "bbox", 4)
    bad, kept, others = [], [], 0
    for i, result in enumerate(content):
        where = {"file": path, "record": f"result {i}"}
        try:
            if type(result) is not dict:
                raise BadRecord(f"{type(result).__name__}, object expected", **where)
            if result.get("category_id", category) != category and category is not None:
                others += 1
                continue
            if not whole[i]:
                keypoints[i] = checks.numbers(result, "keypoints", 3 * k, **where)
            if (value := checks.number(result, "score", **where)) is None:
                raise BadRecord(
                    "score is missing", remedy="state one a result: AP goes by their order", **where
                )
            image = checks.image_id(result, **where)
            kept.append((i, value, image))
        except BadRecord as error:
            bad.append(error)
    checks.settle(bad, len(content), "results", on_bad, path)
    if others:
        bad.append(
            BadRecord(
                f"{others} results of other categories than {category} are left out", file=path
            )
        )
    rows, scores, images = map(list, zip(*kept)) if kept else ([], [], [])
    joints, stated = keypoints.reshape(-1, k, 3)[rows], bool(boxed.all())
    xy = joints[:, :, :2]
    corners = xywh_to_xyxy(xywh[rows]) if stated else box_of_points(xy)
    found = Detections(
        skeleton, xy, joints[:, :, 2], corners, scores, images, map(str, rows), str(path)
    )
    return found, bad, stated


def score_files(
    predictions: str | Path,
    annotations: str | Path,
    *,
    boxes: str = "not stated",
    skeleton: str | None = None,
    area: str | None = None,
    on_bad: str = "raise",
) -> dict:
    """`score` of a COCO results file against a COCO-style annotation file, and `warnings`: what was
    left out, as text.

    skeleton: None takes it from the category's joint names, or from their number (17 coco17, 14
    crowdpose14). on_bad: "raise" at a bad record or at a result in a picture that the annotations
    do not have (pycocotools refuses these
        too), or "report" them in the warnings and score the others.
    Where num_keypoints is stated it decides who is left out, as in the evaluators, also against the
    joints' flags. False alarms have the size of their boxes if every result states one, else of
    their joints, as in pycocotools. What pycocotools passes over is a warning: see `scoring` of
    `read_coco`; of pictures only the id is read, and crowdIndex. AP and AR are pycocotools' own
    with three exceptions: it takes whoever finds the person of annotation id 0 for a false alarm
    (warned of); coordinates and areas are float32 here, which matters within 1e-7 of a threshold;
    and a PoseTrack joint of flag 0 that has coordinates is labelled here, see `read_coco`.
    """
    path, content = Path(annotations), read_json(annotations)
    name = skeleton or _skeleton_of(content, path)
    images, persons = (checks.table(content, key, path) for key in ("images", "annotations"))
    content = content | {
        "images": [*map(_picture, images)],
        "annotations": [*map(_whole_ids, persons)],
    }
    reading = coco.read_coco(path, skeleton=name, on_bad=on_bad, content=content, scoring=True)
    stated = {
        str(a["id"]): a for a in reversed(content["annotations"]) if type(a) is dict and "id" in a
    }
    people = [stated[i] for i in reading.poses.ids]
    named = [{"category_id": 1} | a for a in people]
    where = [{"file": path, "record": f"annotation {i}"} for i in reading.poses.ids]
    if (
        len(categories := {checks.identifier(a, "category_id", **w) for a, w in zip(named, where)})
        > 1
    ):
        remedy = "split the file: one category is scored at a time"
        raise BadFile(f"people of {len(categories)} categories", file=path, remedy=remedy)
    truth = replace(reading.poses, images=[str(a["image_id"]) for a in people])
    out, odd = _left_out(truth, people, path)
    if (flat := _flat(truth) & ~out).any() and kp.uses_box(truth, area):
        problem = "bbox has no area, and OKS takes its scale from it"
        flat_boxes = [
            BadRecord(problem, remedy="correct the box", **where[i]) for i in np.flatnonzero(flat)
        ]
        checks.settle(flat_boxes, len(truth), "annotations", on_bad, path)
        truth, out, odd = truth.select(~flat), out[~flat], [*odd, *flat_boxes]
    # pycocotools sorts by the type
    names = any(type(i["id"]) is str for i in content["images"] if type(i) is dict)
    pictures = sorted(
        (replace(p, name=p.id) for p in reading.pictures),
        key=lambda p: p.id if names else int(p.id),
    )
    results = read_json(predictions)
    category = next(iter(categories), None)
    found, bad, boxed = read_results(
        predictions, name, category=category, content=results, on_bad=on_bad
    )
    exact = np.array([results[int(i)]["score"] for i in found.ids], float)
    # ranks: float32 would make ties
    found = replace(found, scores=np.unique(exact, return_inverse=True)[1])
    known = np.isin(found.images, [p.name for p in pictures]) if len(found) else np.zeros(0, bool)
    unknown = [
        BadRecord(
            f"image id {found.images[i]} is not in {path}",
            file=predictions,
            record=f"result {found.ids[i]}",
        )
        for i in np.flatnonzero(~known)
    ]
    checks.settle(unknown, len(found), "results", on_bad, Path(predictions))
    result = score(
        truth,
        found.select(known),
        boxes=boxes,
        pictures=pictures,
        area=area,
        found_area="boxes" if boxed else "joints",
        ignore=out,
    )
    return result | {
        "warnings": [str(warning) for warning in (*reading.warnings, *odd, *bad, *unknown)]
    }


def _whole_ids(record: object) -> object:
    """A picture or annotation whose ids 7.0 are 7."""
    if type(record) is not dict:
        return record
    return record | {
        key: checks.integral(record[key])
        for key in ("id", "image_id", "category_id")
        if key in record
    }


def _picture(image: object) -> object:
    """What is read of a picture: its id, as its name too where it states none, CrowdPose's
    index, PoseTrack's regions.
    """
    if type(image) is not dict:
        return image
    bare = _whole_ids(
        {
            key: image.get(key)
            for key in ("id", "crowdIndex", "file_name", "ignore_regions_x", "ignore_regions_y")
        }
    )
    return bare if type(bare["file_name"]) is str else bare | {"file_name": str(bare["id"])}


def _left_out(
    truth: Pose, people: Sequence[dict], path: Path
) -> tuple[Bool[np.ndarray, "n"], list[BadRecord]]:
    """Who is no miss: num_keypoints 0, or where it is not stated no joint that counts, and
    crowds. And what is odd there.
    """
    silent = kp.ignored(replace(truth, crowd=np.zeros(len(truth), bool)))
    stated = [a.get("num_keypoints") for a in people]
    empty = np.array(
        [s == 0 if type(s) in (int, float) else no for s, no in zip(stated, silent)], bool
    )
    warnings = []
    for rows, said in (
        (empty & ~silent, "num_keypoints 0 although joints are labelled: left out"),
        (
            ~empty & silent,
            "num_keypoints above 0 although no joint that counts is labelled: not left out",
        ),
    ):
        if (some := np.flatnonzero(rows & ~truth.crowd)).size:
            problem, record = (
                f"{some.size} people state {said}, as in pycocotools",
                f"annotation {truth.ids[some[0]]}",
            )
            warnings.append(
                BadRecord(problem, file=path, record=record, remedy="correct num_keypoints")
            )
    if "0" in truth.ids:
        problem = "pycocotools takes whoever finds this person for a false alarm, here it is a hit"
        warnings.append(
            BadRecord(problem, file=path, record="annotation 0", remedy="count annotations from 1")
        )
    return empty | truth.crowd, warnings


def _skeleton_of(content: object, path: Path) -> str:
    """By the category's joint names, else by their number: results are scored also where nobody
    named the joints.
    """
    try:
        return coco._joints_of(checks.table(content, "categories", path), path)
    except (BadFile, UnknownName):
        rows = [
            a.get("keypoints")
            for a in checks.table(content, "annotations", path)
            if type(a) is dict
        ]
        n = next((len(row) // 3 for row in rows if type(row) is list and row), 0)
        if n not in USUAL_SKELETON:
            raise
        return USUAL_SKELETON[n]
