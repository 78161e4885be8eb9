"""Files of results against files of annotations: every score of `metrics`, in rows, with its
protocol.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from .. import metrics
from ..errors import BadFile, BadRecord, UnknownName, WorkbenchError, check_choice
from ..geometry import box_of_points, xywh_to_xyxy
from ..records import Detections, Picture, Pose
from ..skeletons import skeleton as skeleton_by_name
from . import coco
from .annotations import People, poses_of
from .checks import (
    FLOAT32_MAX,
    LooseIdentifier,
    Number,
    Record,
    all_checked,
    checked,
    collected,
    columns,
    integral,
    name_or_number,
    numbers,
    settle,
    table,
)
from .coco import Results, annotations_of, results_of, skeleton_of
from .pairing import name_by_parts, name_parts
from .results.rows import USUAL_SKELETON
from .safe import read_json

# from which the poses were estimated; none: bottom-up
BOXES = ("ground truth", "detector", "none", "not stated")
CROWD_EDGES = {"evaluator": coco.CROWD_EDGES_EVALUATOR, "paper": coco.CROWD_EDGES_PAPER}


LEVELS = ("easy", "medium", "hard")  # CrowdPose's, as `coco.crowd_bins` numbers them


def _flat(truth: Pose) -> Bool[np.ndarray, "n"]:
    """Whose box has no width or no height."""
    return (truth.boxes_xyxy[:, 2:] <= truth.boxes_xyxy[:, :2]).any(1)


def _shown(people: Pose | Detections, images: Iterable[str]) -> Bool[np.ndarray, "n"]:
    """Who is in one of these pictures."""
    images = set(images)
    return np.array([image in images for image in people.images], bool)


def _posetrack_ap(truth: Pose, found: Detections, pictures: Sequence[Picture]) -> dict[str, float]:
    seen = found.select(_shown(found, truth.images))
    kept = replace(truth, visibility=truth.visibility * ~metrics.in_ignored(truth, pictures))
    ap = metrics.posetrack_ap(kept, seen, left_out=metrics.in_ignored(seen, pictures))
    return {f"PoseTrack AP-{name}": value for name, value in ap.items() if np.isfinite(value)}


def _pck(
    truth: Pose,
    found: Detections,
    pair: Int[np.ndarray, "n"],
    ignore: Bool[np.ndarray, "n"],
    threshold: float,
) -> list[dict[str, float]]:
    """PCK of all, visible and occluded joints of people paired with detections (-1: missed)."""
    nobody = np.full((1, *truth.xy_frame.shape[1:]), np.nan)
    xy = np.concatenate((found.xy_frame.astype(np.float64), nobody))[pair]
    sized = ~ignore & ~_flat(truth)  # PCK is a share of the box
    pck = metrics.pck_by_visibility(xy[sized], truth.select(sized), threshold)
    names = ("PCK-All", "PCK-Visible", "PCK-Occluded")
    return [{name: pck[name]} if name in pck else {} for name in names]


def _protocol(truth: Pose, n_pictures: int, boxes: str, area: str | None, threshold: float) -> str:
    joint_set = skeleton_by_name(truth.skeleton)
    scale = "0.53 of the box" if metrics.uses_box(truth, area) else "the stated area"
    protocol = (
        f"{n_pictures} pictures, {len(truth)} people; poses from boxes: {boxes}; AP and AR by OKS "
        "0.50 to 0.95 as in pycocotools, "
        f"the 20 best detections a picture, {joint_set.name} with sigmas of "
        f"{joint_set.sigma_source}, scale {scale}; "
        f"PCK within {threshold:g} of the box's longer side, mean of joints, people paired with "
        "detections by largest total OKS"
    )
    if truth.head_boxes_xyxy is not None:
        protocol += "; PoseTrack AP: joints within half a head size, by their own confidences, "
        protocol += "in frames with people"
    if not truth.occlusion_known:
        protocol += "; the truth does not say which joints are occluded, so nothing is split by "
        protocol += "visibility"
    return protocol


def score(
    truth: Pose,
    found: Detections,
    *,
    boxes: str,
    pictures: Sequence[Picture] | None = None,
    area: str | None = None,
    found_area: str = "joints",
    ignore: Bool[np.ndarray, "n"] | None = None,
    threshold: float = metrics.PCK_THRESHOLD,
) -> dict:
    """{schema_version, protocol, boxes, rows: [{subset, kind, n, pictures, metrics}]}, n people who
    count, metrics 0 to 1.

    Rows: all joints; visible and occluded joints where the truth tells them apart; where pictures
    state a crowdIndex, CrowdPose's easy, medium and hard by the edges of its evaluator (0.2, 0.8:
    published numbers) and of its paper (0.1, 0.8). Metrics: `keypoint_ap`'s, and PCK of the people
    that `match` pairs, whom nobody found missed. Who has a box of no width or height is left out of
    PCK. Where people have head boxes, PoseTrack's AP too, by joints' own confidences, in the frames
    with people, regions where nobody was labelled left out. boxes: from which the poses were
    estimated, one of `BOXES`; always stated, never guessed. pictures: all that were looked at, in
    order of their ids; None: those with people in them. Other parameters and errors: as of
    `keypoint_ap`, `pck_by_visibility`.
    """
    check_choice("boxes", boxes, BOXES)
    names = list(dict.fromkeys(truth.images if pictures is None else (p.name for p in pictures)))
    out = metrics.ignored(truth) if ignore is None else ignore

    def row(subset: str, joints: str = "labelled", among: Sequence[str] = names) -> dict:
        inside = _shown(truth, among) if among is not names else np.ones(len(truth), bool)
        people, left_out = truth.select(inside), out[inside]
        scores = metrics.keypoint_ap(
            people,
            found if among is names else found.select(_shown(found, among)),
            joints=joints,
            images=among,
            ignore=left_out,
            area=area,
            found_area=found_area,
        )
        counted = metrics.joints_of(people, joints).any(1) | (joints == "labelled")
        n = int((counted & ~left_out).sum())
        head = {"subset": subset, "kind": "measured", "n": n, "pictures": len(among)}
        return head | {"metrics": scores}

    rows = [row("all joints")]
    if truth.head_boxes_xyxy is not None:
        rows[0]["metrics"] |= _posetrack_ap(truth.select(~out), found, pictures or ())
    if truth.occlusion_known:
        rows += [row("visible joints", "visible"), row("occluded joints", "occluded")]
    pair = metrics.match(truth, found, images=names, area=area)
    for scored, pck in zip(rows, _pck(truth, found, pair, out, threshold)):
        scored["metrics"] |= pck
    crowded = [p for p in pictures or () if p.crowd_index is not None]
    for publisher, edges in CROWD_EDGES.items() if crowded else ():
        bins = coco.crowd_bins(np.array([p.crowd_index for p in crowded], float), edges)
        for i, level in enumerate(LEVELS):
            among = [p.name for p, b in zip(crowded, bins) if b == i]
            subset = f"{level} ({publisher}'s edges {edges[0]:g}, {edges[1]:g})"
            rows.append(row(subset, among=among))
    protocol = _protocol(truth, len(names), boxes, area, threshold)
    return {"schema_version": 1, "protocol": protocol, "boxes": boxes, "rows": rows}


class Result(Record):
    """A pose of a results file, but for keypoints and bbox, which are read as columns."""

    image_id: LooseIdentifier
    score: Number


def read_results(
    path: str | Path,
    skeleton: str,
    *,
    category: int | None = None,
    content: object = None,
    on_bad: str = "raise",
) -> tuple[Detections, list[BadRecord], bool]:
    """Poses of a COCO results file, [{image_id, keypoints, score, category_id?, bbox?}] or what
    `results_of` makes such a list of, for scoring and nothing else.

    `images` are the picture ids as text. Confidences may be any finite numbers. Also what was left
    out (results of another category, which pycocotools passes over; bad ones with on_bad="report"),
    and whether every result states a box; where one does not, all boxes are the joints' extent.
    Errors: `BadFile`, `EmptyFile`, `MissingFile`, `BadRecord`: a score that is missing is one, as
    in pycocotools, since AP goes by the order of scores.
    """
    path, k = Path(path), len(skeleton_by_name(skeleton))
    content, _, notes = results_of(read_json(path) if content is None else content, path)
    keypoints, whole = columns(content, "keypoints", 3 * k)
    xywh, boxed = columns(content, "bbox", 4)
    bad, rows, scores, images = {}, [], [], []
    for row, result in enumerate(all_checked(Result, content)):
        stated = content[row]
        with collected(bad, row, path, f"result {row}"):
            if type(stated) is dict and category not in (None, stated.get("category_id", category)):
                continue
            result = result or checked(Result.model_validate, stated)
            if not whole[row]:
                keypoints[row] = numbers(stated, "keypoints", 3 * k)
            rows.append(row)
            scores.append(result.score)
            images.append(result.image_id)
    warnings = [*bad.values(), *notes]
    settle(bad.values(), len(content), "results", on_bad, path)
    if others := len(content) - len(rows) - len(bad):
        problem = f"{others} results of other categories than {category} are left out"
        warnings.append(BadRecord(problem, file=path))
    joints, all_boxed = keypoints.reshape(-1, k, 3)[rows], bool(boxed.all())
    xy = joints[:, :, :2]
    corners = xywh_to_xyxy(xywh[rows]) if all_boxed else box_of_points(xy)
    ids = map(str, rows)
    found = Detections(skeleton, xy, joints[:, :, 2], corners, scores, images, ids, str(path))
    return found, warnings, all_boxed


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

    predictions: a list of results, or a data-set file whose annotations state scores
        (`coco.results_of`). Where its pictures have other names than the annotations' of these ids,
        they are found by name, with a warning.
    skeleton: None takes it from the category's joint names, or from their number (17 coco17, 14
        crowdpose14).
    on_bad: "raise" at a bad record or at a result in a picture that the annotations do not have
        (pycocotools refuses these too), or "report" them in the warnings and score the others.
    What pycocotools scores although it is no label to learn from is scored with a warning: boxes of
    no width or height, joints of other flags than 0, 1, 2 (above 0 labelled, and then visible),
    joints of flag 0 with coordinates that are not finite. People whose picture is not listed are
    passed over with a warning, as are annotations of another category than the one with joints.
    Where num_keypoints is stated it decides who is left out, as in the evaluators, also against the
    joints' flags. False alarms have the size of their boxes if every result states one, else of
    their joints, as in pycocotools. Of pictures only the id is read, the name of predictions' own
    pictures, and crowdIndex. AP and AR are pycocotools' own with four exceptions: it takes whoever
    finds the person of annotation id 0 for a false alarm (warned of); of annotations with one id in
    several pictures it sees the last (warned of); coordinates and areas are float32 here, which
    matters within 1e-7 of a threshold; and a PoseTrack joint of flag 0 that has coordinates is
    labelled here, see `read_coco`.
    """
    path, content = Path(annotations), read_json(annotations)
    name = skeleton or _skeleton_of(content, path)
    truth = _truth(path, content, name, area, on_bad)
    found, boxed, warnings = _found(Path(predictions), content["images"], name, truth, on_bad)
    result = score(
        truth.poses,
        found,
        boxes=boxes,
        pictures=truth.pictures,
        area=area,
        found_area="boxes" if boxed else "joints",
        ignore=truth.ignore,
    )
    return result | {"warnings": [str(warning) for warning in (*truth.warnings, *warnings)]}


# --- what pycocotools sees in a file of results ---------------------------------------------------


def _found(
    path: Path, images: list, skeleton: str, truth: Truth, on_bad: str
) -> tuple[Detections, bool, list[BadRecord]]:
    """Results in the truth's pictures, their scores as ranks, whether each states a box, and the
    warnings. images: as the annotation file lists them.
    """
    given = results_of(read_json(path), path)
    results, notes = _in_pictures_of(images, given, path)
    if given.names and truth.category is not None:
        _check_category(results, truth.category, path)
    found, bad, boxed = read_results(
        path, skeleton, category=truth.category, content=results, on_bad=on_bad
    )
    exact = np.array([results[int(i)]["score"] for i in found.ids], float)
    # ranks: float32 would make ties
    found = replace(found, scores=np.unique(exact, return_inverse=True)[1])
    known = _shown(found, (picture.name for picture in truth.pictures))
    unknown = []
    for i in np.flatnonzero(~known):
        problem = f"image id {found.images[i]} is not in {truth.file}"
        unknown.append(BadRecord(problem, file=path, record=f"result {found.ids[i]}"))
    settle(unknown, len(found), "results", on_bad, path)
    return found.select(known), boxed, [*given.warnings, *notes, *bad, *unknown]


def _check_category(results: list, category: int | str, path: Path) -> None:
    """`BadFile` where none of the results is of the annotations' category: programs number the
    categories of a data set by themselves.
    """
    stated = [result.get("category_id", category) for result in results if type(result) is dict]
    if stated and category not in stated:
        problem = f"category_id is {str(stated[0])[:40]}, that of the annotations is {category}"
        remedy = "give all that are of its category the annotations' id"
        raise BadFile(problem, file=path, record="result 0", remedy=remedy)


def _in_pictures_of(images: list, given: Results, path: Path) -> tuple[list, list[BadRecord]]:
    """Results with the ids that an annotation file gives their pictures, where both files name
    them, and a warning where these are others. A picture whose name is not there, or there twice,
    goes by its name, which is no id.
    """
    ends = defaultdict(list)  # ids and names of pictures by the last part of the name
    for image in images:
        if type(image) is dict and type(image.get("file_name")) is str:
            parts = name_parts(image["file_name"])
            ends[parts[-1]].append((str(integral(image.get("id"))), parts))
    if not (ends and given.names):
        return given.rows, []
    ids = {key: name_by_parts(key, name, ends) for key, name in given.names.items()}
    rows, n_changed = [], 0
    for row in given.rows:
        key = str(integral(row.get("image_id"))) if type(row) is dict else None
        changed = ids.get(key, key) != key
        rows.append(row | {"image_id": ids[key]} if changed else row)
        n_changed += changed
    problem = f"{n_changed} results have other image ids than the annotations: they go by file_name"
    return rows, [BadRecord(problem, file=path)] if n_changed else []


# --- what pycocotools sees in a file of annotations -----------------------------------------------


class Truth(NamedTuple):
    """A file of annotations as pycocotools scores it; pictures are named by their ids, in its
    order.
    """

    file: Path
    poses: Pose
    ignore: Bool[np.ndarray, "n"]  # who is no miss
    pictures: list[Picture]
    category: int | str | None
    warnings: list[WorkbenchError]


def _truth(path: Path, content: dict, name: str, area: str | None, on_bad: str) -> Truth:
    images = [_bare_picture(image) for image in table(content, "images", path)]
    ids = [image["id"] for image in images if type(image) is dict]
    annotations = [_whole_ids(annotation) for annotation in table(content, "annotations", path)]
    seen = [_as_seen(annotation) for annotation in annotations]
    changed = np.array([new is not old for new, old in zip(seen, annotations)], bool)
    stated = annotations_of(content | {"images": images, "annotations": seen}, path, skeleton=name)
    people = stated.people
    notes = _note(
        people.ids[changed[people.rows]],
        "annotations have visibility flags other than 0, 1, 2, or joints nowhere with flag 0",
        path,
        remedy="as in pycocotools, flags above 0 are labelled (and here visible), others not",
    )
    listed = {str(key) for key in ids}
    inside = np.array([picture in listed for picture in people.pictures], bool)
    notes += _note(people.ids[~inside], "people in pictures that are not listed are left out", path)
    stated = replace(stated, people=people.select(inside), notes=[*notes, *stated.notes])
    poses, people, warnings = poses_of(stated, occlusion_known=None, on_bad=on_bad, keep_flat=True)
    poses = replace(poses, images=people.pictures)
    ignore, odd_counts = _left_out(poses, people, path)
    errors = []
    if metrics.uses_box(poses, area):
        flat = _flat(poses) & ~ignore
        problem, remedy = "bbox has no area, and OKS takes its scale from it", "correct the box"
        for key in people.ids[flat]:
            where = {"file": path, "record": f"annotation {key}"}
            errors.append(BadRecord(problem, remedy=remedy, **where))
        settle(errors, len(poses), "annotations", on_bad, path)
        poses, ignore = poses.select(~flat), ignore[~flat]
    # pycocotools sorts by the type
    numbered = not any(type(key) is str for key in ids)
    pictures = [replace(p.picture, name=key) for key, p in stated.pictures.items()]
    pictures.sort(key=lambda picture: int(picture.id) if numbered else picture.id)
    category = _category(people, path)
    return Truth(path, poses, ignore, pictures, category, [*warnings, *odd_counts, *errors])


def _note(
    ids: Shaped[np.ndarray, "n"], what: str, path: Path, remedy: str | None = None
) -> list[BadRecord]:
    """A warning about some people, with their number and the first of them; none where there is
    nobody.
    """
    note = {"file": path, "remedy": remedy}
    return [BadRecord(f"{len(ids)} {what}", record=f"annotation {key}", **note) for key in ids[:1]]


def _category(people: People, path: Path) -> int | str | None:
    """The category of all people; who states none is of category 1."""
    categories = set()
    for key, category in zip(people.ids, people.categories):
        category = 1 if category is None else category
        where = {"file": path, "record": f"annotation {key}"}
        checked(name_or_number, category, "category_id", **where)
        categories.add(category)
    if len(categories) > 1:
        remedy = "split the file: one category is scored at a time"
        raise BadFile(f"people of {len(categories)} categories", file=path, remedy=remedy)
    return next(iter(categories), None)


def _whole_ids(record: object) -> object:
    """A picture or annotation whose ids 7.0 are 7."""
    if type(record) is not dict:
        return record
    keys = ("id", "image_id", "category_id")
    return record | {key: integral(record[key]) for key in keys if key in record}


def _bare_picture(image: object) -> object:
    """What is read of a picture: its id, as its name too where it states none, CrowdPose's
    index, PoseTrack's regions.
    """
    if type(image) is not dict:
        return image
    keys = ("id", "crowdIndex", "file_name", "ignore_regions_x", "ignore_regions_y")
    bare = _whole_ids({key: image.get(key) for key in keys})
    return bare if type(bare["file_name"]) is str else bare | {"file_name": str(bare["id"])}


def _as_seen(annotation: object) -> object:
    """An annotation with its joints as pycocotools sees them; the same object where that changes
    nothing.
    """
    values = annotation.get("keypoints") if type(annotation) is dict else None
    if type(values) is not list or not {*map(type, values)} <= {int, float} or len(values) % 3:
        return annotation
    joints = [*zip(values[::3], values[1::3], values[2::3])]
    seen = [_joint_as_seen(*joint) for joint in joints]
    if seen == joints:
        return annotation
    return annotation | {"keypoints": [*chain.from_iterable(seen)]}


def _joint_as_seen(x: Real, y: Real, flag: Real) -> tuple[Real, Real, Real]:
    """A joint is labelled by a flag above 0, and else nowhere."""
    if flag <= 0 and not (abs(x) <= FLOAT32_MAX and abs(y) <= FLOAT32_MAX):
        x = y = 0
    odd = flag not in (0, 1, 2) and abs(flag) <= FLOAT32_MAX
    return x, y, 2 * (flag > 0) if odd else flag


def _left_out(
    truth: Pose, people: People, path: Path
) -> tuple[Bool[np.ndarray, "n"], list[BadRecord]]:
    """Who is no miss: num_keypoints 0, or where it is not stated no joint that counts, and
    crowds. And what is odd there.
    """
    silent = metrics.ignored(replace(truth, crowd=np.zeros(len(truth), bool)))
    counts = zip(people.num_keypoints, silent)
    empty = np.array([n == 0 if type(n) in (int, float) else no for n, no in counts], bool)
    warnings = []
    for rows, what in (
        (empty & ~silent, "0 although joints are labelled: left out"),
        (~empty & silent, "above 0 although no joint that counts is labelled: not left out"),
    ):
        what = f"people state num_keypoints {what}, as in pycocotools"
        warnings += _note(people.ids[rows & ~truth.crowd], what, path, "correct num_keypoints")
    if "0" in truth.ids:
        problem = "pycocotools takes whoever finds this person for a false alarm, here it is a hit"
        where = {"file": path, "record": "annotation 0"}
        warnings.append(BadRecord(problem, remedy="count annotations from 1", **where))
    return empty | truth.crowd, warnings


def _skeleton_of(content: object, path: Path) -> str:
    """By the category's joint names, else by their number: results are scored also where nobody
    named the joints.
    """
    try:
        return skeleton_of(content, path)
    except (BadFile, UnknownName):
        rows = [a.get("keypoints") for a in table(content, "annotations", path) if type(a) is dict]
        n = next((len(row) // 3 for row in rows if type(row) is list and row), 0)
        if n not in USUAL_SKELETON:
            raise
        return USUAL_SKELETON[n]
