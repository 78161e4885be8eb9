"""COCO-style keypoint annotations (COCO, CrowdPose, PoseTrack, JHMDB, hand sets) and person
detections, record by record.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import (
    BadFile,
    BadRecord,
    MissingFile,
    UnknownName,
)
from ..geometry import box_of_points, enlarge, xywh_to_xyxy
from ..records import PersonBoxes, Picture, Pose, Reading
from ..skeletons import skeleton as skeleton_by_name
from ..skeletons import skeleton_of_joints
from .checks import (
    FLOAT32_MAX,
    box_columns,
    check_on_bad,
    columns,
    identifier,
    image_id,
    number,
    numbers,
    settle,
    table,
    xyxy_from_xywh,
)
from .register import reader
from .safe import read_json

# sets whose flag 1 means occluded; elsewhere it means labelled
OCCLUSION_STATED = ("coco17", "crowdpose14")
# PoseTrack's boxes are its joints' extent times this (holds for the published files)
POSETRACK_BOX = 1.3
CROWD_EDGES_EVALUATOR = (0.2, 0.8)  # CrowdPose API: easy below, medium below, hard the rest
CROWD_EDGES_PAPER = (0.1, 0.8)  # Li et al., CVPR 2019, in the text
ANNOTATION_FILES = (  # below a data set's folder, as released
    "annotations/person_keypoints_*.json",
    "annotations_trainval2017/annotations/person_keypoints_*.json",
    "annotations/crowdpose_*.json",
    "json/crowdpose_*.json",
    "person_keypoints_*.json",
    "crowdpose_*.json",
)
_PICTURE_FOLDERS = (".", "images", "val2017", "train2017", "test2017", "val", "train", "test")


def _of_other_categories(content: Mapping) -> list[bool]:
    """Which annotations are of another category than the one that has joints.

    That category names keypoints; where none does, it is the one of the first annotation that has
    some. An annotation of a category that is not listed is only passed over if it has no joints.
    """
    listed = content.get("categories")
    listed = [c for c in listed if type(c) is dict and "id" in c] if type(listed) is list else []
    named = [c["id"] for c in listed if c.get("keypoints")]
    people = (
        [a for a in content["annotations"] if type(a) is dict and a.get("keypoints")]
        if not named
        else []
    )
    wanted = named or [a["category_id"] for a in people[:1] if "category_id" in a]
    unwanted = [c["id"] for c in listed] if named else []

    def other(annotation) -> bool:
        if (
            not wanted
            or type(annotation) is not dict
            or annotation.get("category_id") in (None, *wanted)
        ):
            return False
        return not annotation.get("keypoints") or annotation["category_id"] in unwanted

    return [other(annotation) for annotation in content["annotations"]]


def _joints_as_scored(
    keypoints: Float[np.ndarray, "n k 3"],
) -> tuple[Float[np.ndarray, "n k 3"], Bool[np.ndarray, "n"]]:
    """Joints as pycocotools sees them, and in whom that changes something: labelled by a flag
    above 0, else nowhere.
    """
    flags = keypoints[:, :, 2]
    odd = np.isfinite(flags) & ~np.isin(flags, (0, 1, 2))
    nowhere = (flags <= 0) & ~np.isfinite(keypoints[:, :, :2]).all(2)
    mended = np.where(nowhere[:, :, None], 0, keypoints)
    mended[:, :, 2] = np.where(odd, 2 * (flags > 0), flags)
    return mended, (odd | nowhere).any(1)


def _joints_of(categories, path: Path) -> str:
    stated = [c.get("keypoints") for c in categories if isinstance(c, dict) and c.get("keypoints")]
    if len(stated) != 1 or type(stated[0]) is not list:
        problem, remedy = (
            f"{len(stated)} categories name keypoints, one expected",
            "keep one, or say skeleton=...",
        )
        raise BadFile(problem, file=path, record="categories", remedy=remedy)
    try:  # "root (pelvis)" of Human3.6M conversions is the joint "root"
        return skeleton_of_joints(
            [re.sub(r"\s*\(.*\)$", "", str(joint)) for joint in stated[0]]
        ).name
    except UnknownName as error:
        raise UnknownName(
            error.problem, file=path, record="categories", remedy=error.remedy
        ) from None


def _polygons(image: Mapping, **where) -> tuple[Float[np.ndarray, "m 2"], ...]:
    """PoseTrack's ignore_regions_x and _y, lists of lists, as polygons."""
    sides = [image.get(f"ignore_regions_{axis}") or [] for axis in "xy"]
    if not all(type(side) is list and all(type(line) is list for line in side) for side in sides):
        raise BadRecord("ignore regions are no lists of lists", **where)
    if [*map(len, sides[0])] != [*map(len, sides[1])]:
        raise BadRecord("ignore_regions_x and ignore_regions_y differ in length", **where)
    return tuple(
        np.stack(
            [numbers({"ignore region": side}, "ignore region", len(x), **where) for side in (x, y)],
            1,
        )
        for x, y in zip(*sides)
        if x
    )


def _picture(image: object, **where) -> tuple[Picture, str]:
    """A picture, and its group: the video id where one is stated, else the folder of a frame,
    else the picture.
    """
    if type(image) is not dict or type(name := image.get("file_name")) is not str:
        raise BadRecord("an object with file_name expected", **where)
    size_wh = tuple(number(image, side, **where) for side in ("width", "height"))
    if any(side is not None and side < 1 for side in size_wh):
        raise BadRecord(f"a picture of width and height {size_wh}", **where)
    picture = Picture(
        name=name,
        id=str(identifier(image, "id", **where)),
        size_wh=None if None in size_wh else (int(size_wh[0]), int(size_wh[1])),
        labelled=bool(image.get("is_labeled", True)),
        crowd_index=number(image, "crowdIndex", **where),
        ignore=_polygons(image, **where),
    )
    if image.get("vid_id") is not None:
        return picture, str(identifier(image, "vid_id", **where))
    return picture, str(PurePosixPath(name).parent) if "nframes" in image else name


def _pictures(
    content, folder: Path | None, path: Path
) -> tuple[dict, list[BadRecord], dict[str, str]]:
    """Pictures with their groups by id; the bad ones; id and name of those that are not in the
    folder.
    """
    found, bad, absent = {}, [], {}
    for i, image in enumerate(table(content, "images", path)):
        where = {"file": path, "record": f"images[{i}]"}
        try:
            picture, group = _picture(image, **where)
            if found.setdefault(picture.id, (picture, group))[0].name != picture.name:
                raise BadRecord(f"image id {picture.id} stands for two files", **where)
            if folder and (
                PurePosixPath(picture.name).is_absolute()
                or ".." in PurePosixPath(picture.name).parts
            ):
                del found[picture.id]
                raise BadRecord(f"image {picture.name!r} leaves the images folder", **where)
            if folder and not os.path.isfile(folder / picture.name):
                absent[picture.id] = picture.name
        except BadRecord as error:
            bad.append(error)
    return found, bad, absent


def _head_box(annotation: Mapping, **where) -> Float[np.ndarray, "4"]:
    """xyxy of the head: bbox_head is xywh (PoseTrack18, 21), head_box xyxy (PoseTrack17
    converted); zeros without one.
    """
    key = "bbox_head" if annotation.get("bbox_head") else "head_box"
    if not annotation.get(key):
        return np.zeros(4, np.float32)
    head = numbers(annotation, key, 4, **where)
    with np.errstate(over="ignore"):
        head = xywh_to_xyxy(head) if key == "bbox_head" else head
    if not np.isfinite(head).all():
        raise BadRecord(f"{key} is beyond what float32 can hold", **where)
    return np.concatenate([np.minimum(head[:2], head[2:]), np.maximum(head[:2], head[2:])])


def annotation_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """The files of the first pattern that any matches; `MissingFile` where none does."""
    found = next((found for pattern in patterns if (found := sorted(folder.glob(pattern)))), None)
    if found is None:
        raise MissingFile(
            f"none of {', '.join(patterns)}", file=folder, remedy="name the annotation file itself"
        )
    return found


def _read_folder(path: Path, **options) -> Reading:
    """All annotation files of the folder as one reading."""
    files = annotation_files(path, ANNOTATION_FILES)
    # CrowdPose's trainval repeats the others
    files = [f for f in files if "trainval" not in f.name] or files
    names = ", ".join(f.name for f in files)
    readings = [read_coco(file, **options) for file in files]
    poses = [reading.poses for reading in readings]
    if len({p.skeleton for p in poses}) > 1:
        raise BadFile(
            f"files of different skeletons: {names}", file=path, remedy="name one of them"
        )
    if double := [key for key, n in Counter(key for p in poses for key in p.ids).items() if n > 1]:
        raise BadRecord(f"stands in two of {names}", file=path, record=f"annotation {double[0]}")
    joined = {}
    for f in fields(Pose):
        values = [getattr(p, f.name) for p in poses]
        if any(value is None for value in values):
            joined[f.name] = None
        elif isinstance(values[0], np.ndarray):
            joined[f.name] = np.concatenate(values)
        else:
            joined[f.name] = sum(values, ()) if isinstance(values[0], tuple) else values[0]
    return Reading(
        reader=readings[0].reader,
        source=", ".join(map(str, files)),
        poses=Pose(**joined),
        pictures=tuple(p for reading in readings for p in reading.pictures),
        warnings=tuple(w for reading in readings for w in reading.warnings),
    )


@reader(
    "coco",
    order=300,
    kind="annotations",
    reads="COCO-style keypoints",
    recognised="images, annotations",
    fits=lambda file: {"images", "annotations"} & set(file.fields),
)
def read_coco(
    path: str | Path,
    *,
    skeleton: str | None = None,
    images: str | Path | None = None,
    occlusion_known: bool | None = None,
    on_bad: str = "raise",
    content: object = None,
    scoring: bool = False,
) -> Reading:
    """Annotated poses and pictures of a COCO-style file, or of all that a data set's folder holds
    (`source` names them).

    skeleton: its name; None takes it from the category's joint names. RHD's files carry the
        Panoptic names in another order, so they need "hand21_rhd".
    images: the folder of the pictures. A picture that is not there is a warning, and its poses are
        left out; None looks for none.
    occlusion_known: False for sets whose flags say only "labelled" (PoseTrack, JHMDB, hands):
        labelled joints become 2. None decides by the skeleton (`OCCLUSION_STATED`). With True,
        PoseTrack's joints of flag 0 that have coordinates become 1: releases 17 and 21 mark
        occluded joints so, and the evaluators count them as labelled.
    on_bad: "raise" at a bad record, or "report" it in `warnings` and keep the others.
    content: the parsed file, where the caller has it.
    scoring: True keeps with a warning what pycocotools scores, but is no label to learn from: boxes
        of no width or height, joints of other flags than 0, 1, 2 (above 0 labelled, and then
        visible), joints of flag 0 with coordinates that are not finite. People whose picture is not
        listed are left out with a warning.
    Annotations of another category than the one with joints are left out with a warning, and so are
    people who count for nothing (no labelled joint, num_keypoints 0, crowds) in a box of no width
    or height. Coordinates px in the frame as stated, boxes xywh to xyxy; joints that are not
    labelled become (0, 0). Every annotation is kept, also crowds and persons without a labelled
    joint: `poses.select(poses.labelled.any(1))` leaves the others. PoseTrack states persons without
    joints or without a box: the box is then the joints' extent times `POSETRACK_BOX`, and who has
    neither is left out with a warning. Areas are there where every pose states one (CrowdPose
    states none). Groups are the video id where pictures state one, the folder of frames, else the
    picture. Errors: `BadRecord` with file and annotation id (`on_bad="raise"`: the first, with the
    count), `BadFile`, `EmptyFile`, `MissingFile`, `UnknownName`, `BadParameter`.
    """
    check_on_bad(on_bad)
    path, folder = Path(path), None if images is None else Path(images)
    if folder and not os.path.isdir(folder):
        raise MissingFile("no such images folder", file=folder)
    if os.path.isdir(path):
        options = {
            "skeleton": skeleton,
            "images": images,
            "occlusion_known": occlusion_known,
            "on_bad": on_bad,
        }
        return _read_folder(path, **options)
    content = read_json(path) if content is None else content
    annotations, (pictures, bad, absent) = (
        table(content, "annotations", path),
        _pictures(content, folder, path),
    )
    n_pictures = len(bad)  # that are bad
    name = _joints_of(table(content, "categories", path), path) if skeleton is None else skeleton
    k = len(skeleton_by_name(name))
    posetrack = name.startswith("posetrack")

    rows, whole = columns(annotations, "keypoints", 3 * k)
    keypoints = rows.reshape(-1, k, 3)  # a view: rows that are mended below are mended in both
    kept, incomplete, lost, seen, unlisted = {}, [], Counter(), set(), []
    others = _of_other_categories(content)
    if scoring:
        keypoints[:], mended = _joints_as_scored(keypoints)
        whole |= mended & np.isfinite(rows).all(1)
        if (some := np.flatnonzero(mended & whole & ~np.array(others, bool))).size:
            problem = f"{some.size} annotations have visibility flags other than 0, 1, 2, or joints nowhere with flag 0"
            record = f"annotation {annotations[some[0]].get('id')}"
            remedy = "as in pycocotools, flags above 0 are labelled (and here visible), others not"
            incomplete.append(BadRecord(problem, file=path, record=record, remedy=remedy))
    whole &= np.isin(keypoints[:, :, 2], (0, 1, 2)).all(1)
    boxes, boxed = box_columns(annotations)
    listed = {str(image.get("id")) for image in content["images"] if type(image) is dict}
    for i, annotation in enumerate(annotations):
        where = {"file": path, "record": f"annotations[{i}]"}
        try:
            if type(annotation) is not dict:
                raise BadRecord(f"{type(annotation).__name__}, object expected", **where)
            # 7 and "7" would be one id of the pose
            key = str(identifier(annotation, "id", **where))
            where["record"] = f"annotation {key}"
            if key in seen:
                raise BadRecord("duplicate annotation id", remedy="keep one of them", **where)
            seen.add(key)
            if others[i]:
                continue
            if not whole[i] and not (posetrack and annotation.get("keypoints", []) == []):
                rows[i] = numbers(annotation, "keypoints", 3 * k, **where)
                if not np.isin(flags := keypoints[i, :, 2], (0, 1, 2)).all():
                    raise BadRecord(
                        f"visibility flags {np.unique(flags).tolist()}, 0, 1, 2 expected", **where
                    )
            if not boxed[i] and not (posetrack and annotation.get("bbox", []) == []):
                xywh = numbers(annotation, "bbox", 4, **where)
                nobody = not keypoints[i, :, 2].any() or annotation.get("num_keypoints") == 0
                nobody = nobody or annotation.get("iscrowd") == 1
                flat = bool(xywh[2:].min() == 0 and (scoring or nobody))
                boxes[i] = xyxy_from_xywh(xywh, flat, **where)
                if flat:
                    problem = f"bbox {xywh.tolist()} has no area, the person is {'kept' if scoring else 'left out'}"
                    incomplete.append(BadRecord(problem, remedy="correct the box", **where))
                    if not scoring:
                        continue
            elif not boxed[i]:
                extent = box_of_points(keypoints[i, :, :2], keypoints[i].any(1))
                if not (extent[2:] > extent[:2]).all():
                    incomplete.append(
                        BadRecord("neither a box nor joints enough to draw one", **where)
                    )
                    continue
                boxes[i] = np.clip(enlarge(extent, POSETRACK_BOX), -FLOAT32_MAX, FLOAT32_MAX)
            picture, group = pictures.get(
                image := str(identifier(annotation, "image_id", **where)), (None, None)
            )
            if picture is None and scoring and image not in listed:
                unlisted.append(key)
                continue
            if picture is None:
                raise BadRecord(f"image id {image} does not exist, or is bad", **where)
            head, area = _head_box(annotation, **where), number(annotation, "area", **where)
            if (crowd := annotation.get("iscrowd", 0)) not in (0, 1):
                raise BadRecord(f"iscrowd is {crowd!r}, 0 or 1 expected"[:80], **where)
            if image in absent:
                lost[image] += 1
            else:
                kept[key] = i, head, area, bool(crowd), picture.name, group
        except BadRecord as error:
            bad.append(error)
    settle(
        bad, len(annotations) + n_pictures, "records" if n_pictures else "annotations", on_bad, path
    )
    if unlisted:
        problem = f"{len(unlisted)} people in pictures that are not listed are left out"
        incomplete.append(BadRecord(problem, file=path, record=f"annotation {unlisted[0]}"))
    if any(others):
        problem = (
            f"{sum(others)} annotations of other categories than the one with joints are left out"
        )
        incomplete.append(BadRecord(problem, file=path))

    known = name in OCCLUSION_STATED if occlusion_known is None else occlusion_known
    use, heads, areas, crowd, files, groups = (
        map(list, zip(*kept.values())) if kept else [[] for _ in range(6)]
    )
    keypoints, boxes = keypoints[use], boxes[use]
    flags = keypoints[:, :, 2].astype(np.int8)
    if posetrack:  # poseval: labelled is whatever is not 0, 0, 0
        flags = keypoints.any(2) * (1 + (flags > 0)).astype(np.int8)
    heads = np.array(heads, np.float32).reshape(-1, 4)
    poses = Pose(
        skeleton=name,
        xy_frame=np.where(flags[:, :, None] > 0, keypoints[:, :, :2], 0),
        visibility=flags if known else 2 * (flags > 0).astype(np.int8),
        boxes_xyxy=boxes,
        occlusion_known=known,
        ids=tuple(kept),
        images=files,
        groups=groups,
        areas=None if None in areas else np.array(areas, np.float32),
        crowd=np.array(crowd, bool),
        head_boxes_xyxy=heads if heads.any() else None,
    )
    count = f"({len(absent)} of {len(pictures)} images are missing)"
    where = {"file": path, "remedy": f"put it into {folder}"}
    missing = [
        MissingFile(
            f"missing image {image}, {lost[i]} poses left out {count}", record=f"image {i}", **where
        )
        for i, image in absent.items()
    ]
    return Reading(
        reader="crowdpose" if name == "crowdpose14" else "coco",
        source=str(path),
        poses=poses,
        pictures=tuple(picture for picture, _ in pictures.values()),
        warnings=(*bad, *incomplete, *missing),
    )


@reader(
    "person_boxes",
    order=320,
    kind="person boxes",
    reads="detected persons",
    recognised="bbox, no keypoints",
    fits=lambda file: (
        type(file.json) is list
        and "bbox" in file.first()
        and not {"keypoints", "instances"} & set(file.first())
    ),
)
def read_person_boxes(
    path: str | Path, *, on_bad: str = "raise", content: object = None
) -> Reading:
    """Detected persons of a COCO results file without joints: [{image_id, category_id, bbox xywh,
    score}].

    Boxes px in the frame, `images` the picture ids as text. Detections of other categories than 1
    (person) are left out with a warning. Errors as of `read_coco`, records named `detection i`.
    """
    path = Path(path)
    content = read_json(path) if content is None else content
    if type(content) is not list:
        raise BadFile(f"holds a {type(content).__name__}, a list of detections expected", file=path)
    (boxes, boxed), bad, kept = box_columns(content), [], []
    for i, detection in enumerate(content):
        where = {"file": path, "record": f"detection {i}"}
        try:
            if type(detection) is not dict:
                raise BadRecord(f"{type(detection).__name__}, object expected", **where)
            score = number(detection, "score", **where)
            if score is None:
                raise BadRecord("score is missing", **where)
            image = image_id(detection, **where)
            if not boxed[i]:
                boxes[i] = xyxy_from_xywh(numbers(detection, "bbox", 4, **where), **where)
            if detection.get("category_id", 1) == 1:
                kept.append((i, score, image))
        except BadRecord as error:
            bad.append(error)
    settle(bad, len(content), "detections", on_bad, path)
    rows, scores, images = zip(*kept) if kept else ((), (), ())
    if others := len(content) - len(kept) - len(bad):
        bad.append(
            BadRecord(
                f"{others} detections of other categories than 1 (person) are left out", file=path
            )
        )
    found = PersonBoxes(boxes[list(rows)], np.array(scores, np.float32), images)
    return Reading(reader="person_boxes", source=str(path), boxes=found, warnings=tuple(bad))


def crowd_bins(
    crowd_index: Float[np.ndarray, "n"], edges: tuple[float, float] = CROWD_EDGES_EVALUATOR
) -> Int[np.ndarray, "n"]:
    """0 easy, 1 medium, 2 hard: how CrowdPose splits its pictures by crowdIndex, an edge belonging
    to the harder side.

    The evaluator that makes published numbers cuts at 0.2 and 0.8; the paper's text says 0.1 and
    0.8.
    """
    return np.digitize(crowd_index, edges)


def find_pictures(path: str | Path, names: Iterable[str]) -> Path | None:
    """The folder below which the pictures of an annotation file lie: beside it, up to three levels
    above, or in one of the usual subfolders there. None where not one of up to 20 names, evenly
    spread, is found.
    """
    path = Path(os.path.abspath(path))
    names = list(names)
    names = names[:: max(len(names) // 20, 1)][:20]
    bases = ([path] if os.path.isdir(path) else []) + list(path.parents)[:3]
    folders = [base / sub for base in bases for sub in _PICTURE_FOLDERS]
    return next((f for f in folders if any(os.path.isfile(f / n) for n in names)), None)
