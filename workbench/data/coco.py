"""COCO-style keypoint annotations (COCO, CrowdPose, PoseTrack, JHMDB, hand sets) and person
detections, record by record.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import AfterValidator, BeforeValidator, Field

from ..errors import BadFile, BadRecord, MissingFile, UnknownName
from ..geometry import xywh_to_xyxy
from ..records import PersonBoxes, Picture, Reading
from ..skeletons import skeleton as skeleton_by_name
from ..skeletons import skeleton_of_joints
from .annotations import (
    Annotations,
    ListedPicture,
    People,
    check_place,
    column,
    poses_of,
)
from .checks import (
    FLOAT32_MAX,
    Identifier,
    LooseIdentifier,
    Number,
    Record,
    all_checked,
    check_on_bad,
    checked,
    collected,
    columns,
    name_or_number,
    numbers,
    settle,
    table,
    uncollected,
    xyxy_columns,
    xyxy_from_xywh,
)
from .readers import reader
from .releases import concatenated
from .safe import read_json

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
KEYS = {  # of an annotation, by columns of `People`
    "ids": "id",
    "pictures": "image_id",
    "areas": "area",
    "crowd": "iscrowd",
    "num_keypoints": "num_keypoints",
    "categories": "category_id",
    "track_ids": "track_id",
}
_PICTURE_FOLDERS = (".", "images", "val2017", "train2017", "test2017", "val", "train", "test")


# --- shapes ---------------------------------------------------------------------------------------


def _zero_or_one(value: object) -> bool:
    if value not in (0, 1):
        raise ValueError(f"is {value!r}, 0 or 1 expected"[:80])
    return bool(value)


Length = Annotated[float, Field(strict=True, ge=1, le=FLOAT32_MAX)]  # px
Four = Annotated[list[Number], Field(min_length=4, max_length=4)]
OptionalFour = Annotated[Four | None, BeforeValidator(lambda value: value or None)]


class Image(Record):
    """A picture as COCO states it. CrowdPose adds crowdIndex, JHMDB nframes; PoseTrack vid_id,
    nframes, is_labeled and, px, the corners of the polygons in which nobody was labelled.
    """

    id: Identifier
    file_name: str
    width: Length | None = None
    height: Length | None = None
    vid_id: Identifier | None = None
    nframes: Any = None
    is_labeled: Any = True
    crowdIndex: Number | None = None
    ignore_regions_x: list[list[Number]] | None = None
    ignore_regions_y: list[list[Number]] | None = None

    def _polygons(self) -> tuple[Float[np.ndarray, "m 2"], ...]:
        xs, ys = self.ignore_regions_x or [], self.ignore_regions_y or []
        if [*map(len, xs)] != [*map(len, ys)]:
            raise BadRecord("ignore_regions_x and ignore_regions_y differ in length")
        return tuple(np.stack((x, y), 1) for x, y in zip(xs, ys) if x)

    def listed(self) -> ListedPicture:
        """The picture; its group is the video id where one is stated, else the folder of a frame,
        else the picture.
        """
        sized = self.width is not None and self.height is not None
        picture = Picture(
            name=self.file_name,
            id=self.id,
            size_wh=(int(self.width), int(self.height)) if sized else None,
            labelled=bool(self.is_labeled),
            crowd_index=self.crowdIndex,
            ignore=self._polygons(),
        )
        is_frame = "nframes" in self.model_fields_set
        group = str(PurePosixPath(self.file_name).parent) if is_frame else self.file_name
        group = group if self.vid_id is None else self.vid_id
        return ListedPicture(picture, group, self.nframes)


class Annotation(Record):
    """What is checked of a person but for keypoints and bbox, which are read as columns.
    PoseTrack18 and 21 add a track_id and bbox_head, which is xywh; conversions of PoseTrack17
    head_box, which is xyxy.
    """

    id: Identifier
    image_id: Identifier
    area: Number | None = None
    iscrowd: Annotated[Any, AfterValidator(_zero_or_one)] = 0
    bbox_head: OptionalFour = None
    head_box: OptionalFour = None
    num_keypoints: Any = None
    category_id: Any = None
    track_id: Any = None

    def head_xyxy(self) -> Float[np.ndarray, "4"]:
        """Zeros where none is stated."""
        head = np.array(self.bbox_head or self.head_box or [0] * 4, np.float32)
        if self.bbox_head:
            with np.errstate(over="ignore"):
                head = xywh_to_xyxy(head)
            if not np.isfinite(head).all():
                raise BadRecord("bbox_head is beyond what float32 can hold")
        # corners of head_box may be exchanged
        return np.sort(head.reshape(2, 2), axis=0).ravel()


class PersonBox(Record):
    """A detected person of a results file without joints; bbox is read as a column."""

    image_id: LooseIdentifier
    score: Number
    category_id: Any = 1


# --- from a file's content to what it states ------------------------------------------------------


def skeleton_of(content: object, path: Path) -> str:
    """The skeleton whose joints the file's one category with joints names."""
    categories = [c for c in table(content, "categories", path) if type(c) is dict]
    stated = [c["keypoints"] for c in categories if c.get("keypoints")]
    if len(stated) != 1 or type(stated[0]) is not list:
        problem = f"{len(stated)} categories name keypoints, one expected"
        remedy = "keep one, or say skeleton=..."
        raise BadFile(problem, file=path, record="categories", remedy=remedy)
    # "root (pelvis)" of Human3.6M conversions is the joint "root"
    joints = [re.sub(r"\s*\(.*\)$", "", str(joint)) for joint in stated[0]]
    try:
        return skeleton_of_joints(joints).name
    except UnknownName as error:
        raise UnknownName(
            error.problem, file=path, record="categories", remedy=error.remedy
        ) from None


def _of_other_categories(content: Mapping) -> list[bool]:
    """Which annotations are of another category than the one that has joints.

    That category names keypoints; where none does, it is the one of the first annotation that has
    some. An annotation of a category that is not listed is only passed over if it has no joints.
    """
    listed = content.get("categories")
    listed = [c for c in listed if type(c) is dict and "id" in c] if type(listed) is list else []
    annotations = [a if type(a) is dict else {} for a in content["annotations"]]
    wanted = [c["id"] for c in listed if c.get("keypoints")]
    unwanted = [c["id"] for c in listed] if wanted else []
    if not wanted:
        first = next((a for a in annotations if a.get("keypoints")), {})
        wanted = [first["category_id"]] if "category_id" in first else []
    if not wanted:
        return [False] * len(annotations)
    return [
        a.get("category_id") not in (None, *wanted)
        and (not a.get("keypoints") or a["category_id"] in unwanted)
        for a in annotations
    ]


def _pictures(
    content: Mapping, path: Path, folder: Path | None
) -> tuple[dict[str, ListedPicture], dict[int, BadRecord]]:
    """The pictures by id, and by row those that are bad."""
    pictures, bad = {}, {}
    images = table(content, "images", path)
    for row, stated in enumerate(all_checked(Image, images)):
        with collected(bad, row, path, f"images[{row}]"):
            listed = (stated or checked(Image.model_validate, images[row])).listed()
            name, key = listed.picture.name, listed.picture.id
            if key in pictures and pictures[key].picture.name != name:
                raise BadRecord(f"image id {key} stands for two files")
            check_place(name, folder)
            pictures.setdefault(key, listed)
    return pictures, bad


def _name(annotation: object, row: int) -> str:
    """What errors call an annotation: by its id, or where it stands if it has none."""
    key = annotation.get("id") if type(annotation) is dict else None
    return f"annotation {key}" if type(key) in (int, str) else f"annotations[{row}]"


def _people(
    content: Mapping, skeleton: str, others: Bool[np.ndarray, "n"], path: Path
) -> tuple[People, dict[int, BadRecord]]:
    """People of a skeleton, and by row the annotations that are bad."""
    annotations, n_numbers = content["annotations"], 3 * len(skeleton_by_name(skeleton))
    keypoints, whole = columns(annotations, "keypoints", n_numbers)
    boxes, boxed = columns(annotations, "bbox", 4)
    heads = np.zeros((len(annotations), 4), np.float32)
    stated = all_checked(Annotation, annotations)
    names = [_name(annotation, row) for row, annotation in enumerate(annotations)]
    first = {name: row for row, name in reversed([*enumerate(names)])}
    plain = [person is not None and not (person.bbox_head or person.head_box) for person in stated]
    plain = whole & boxed & ~others & np.array(plain, bool)
    if len(first) < len(names):
        plain &= [first[name] == row for row, name in enumerate(names)]
    # PoseTrack also states people without joints, and people without a box
    optional = skeleton.startswith("posetrack")
    bad = {}
    for row in np.flatnonzero(~plain).tolist():
        annotation = annotations[row]
        with collected(bad, row, path, names[row]):
            if first[names[row]] != row:
                raise BadRecord("duplicate annotation id", remedy="keep one of them")
            if others[row]:
                checked(name_or_number, annotation.get("id"), "id")
                continue
            person = checked(Annotation.model_validate, annotation)
            if not whole[row] and not (optional and annotation.get("keypoints", []) == []):
                keypoints[row] = numbers(annotation, "keypoints", n_numbers)
            if optional and annotation.get("bbox", []) == []:
                boxes[row] = np.nan
            elif not boxed[row]:
                boxes[row] = numbers(annotation, "bbox", 4)
            heads[row] = person.head_xyxy()
    chosen = ~others
    chosen[list(bad)] = False
    rows = np.flatnonzero(chosen)
    people = People(
        rows=rows,
        keypoints=keypoints.reshape(-1, n_numbers // 3, 3)[rows],
        boxes_xywh=boxes[rows],
        heads_xyxy=heads[rows],
        **{name: column([getattr(stated[row], key) for row in rows]) for name, key in KEYS.items()},
    )
    return people, bad


def annotations_of(
    content: object, path: Path, *, skeleton: str | None = None, folder: Path | None = None
) -> Annotations:
    """What a COCO-style file states; parameters and errors as of `read_coco`, whose `images` is
    `folder` here.
    """
    annotations = table(content, "annotations", path)
    pictures, bad_pictures = _pictures(content, path, folder)
    name = skeleton_of(content, path) if skeleton is None else skeleton
    others = np.array(_of_other_categories(content), bool)
    people, bad = _people(content, name, others, path)
    problem = (
        f"{others.sum()} annotations of other categories than the one with joints are left out"
    )
    return Annotations(
        file=path,
        skeleton=name,
        pictures=pictures,
        people=people,
        n_people=len(annotations),
        bad_pictures=bad_pictures,
        bad_people=bad,
        notes=[BadRecord(problem, file=path)] if others.any() else [],
        folder=folder,
    )


# --- readers --------------------------------------------------------------------------------------


def annotation_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """The files of the first pattern that any matches; `MissingFile` where none does."""
    found = next((found for pattern in patterns if (found := sorted(folder.glob(pattern)))), None)
    if found is None:
        problem = f"none of {', '.join(patterns)}"
        raise MissingFile(problem, file=folder, remedy="name the annotation file itself")
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
        problem = f"files of different skeletons: {names}"
        raise BadFile(problem, file=path, remedy="name one of them")
    if double := [key for key, n in Counter(key for p in poses for key in p.ids).items() if n > 1]:
        raise BadRecord(f"stands in two of {names}", file=path, record=f"annotation {double[0]}")
    return Reading(
        reader=readings[0].reader,
        source=", ".join(map(str, files)),
        poses=concatenated(poses) or poses[0],
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
@uncollected()
def read_coco(
    path: str | Path,
    *,
    skeleton: str | None = None,
    images: str | Path | None = None,
    occlusion_known: bool | None = None,
    on_bad: str = "raise",
    content: object = None,
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
    if os.path.isdir(path):
        return _read_folder(
            path, skeleton=skeleton, images=images, occlusion_known=occlusion_known, on_bad=on_bad
        )
    content = read_json(path) if content is None else content
    stated = annotations_of(content, path, skeleton=skeleton, folder=folder)
    poses, _, warnings = poses_of(stated, occlusion_known=occlusion_known, on_bad=on_bad)
    return Reading(
        reader="crowdpose" if stated.skeleton == "crowdpose14" else "coco",
        source=str(path),
        poses=poses,
        pictures=tuple(listed.picture for listed in stated.pictures.values()),
        warnings=warnings,
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
    xywh, whole = columns(content, "bbox", 4)
    boxes, boxed = xyxy_columns(xywh)
    kept, bad = [], {}
    for row, box in enumerate(all_checked(PersonBox, content)):
        with collected(bad, row, path, f"detection {row}"):
            box = box or checked(PersonBox.model_validate, content[row])
            if not (whole[row] and boxed[row]):
                boxes[row] = xyxy_from_xywh(numbers(content[row], "bbox", 4))
            if box.category_id == 1:
                kept.append((row, box.score, box.image_id))
    warnings = [*bad.values()]
    settle(warnings, len(content), "detections", on_bad, path)
    if others := len(content) - len(kept) - len(bad):
        problem = f"{others} detections of other categories than 1 (person) are left out"
        warnings.append(BadRecord(problem, file=path))
    rows, scores, images = zip(*kept) if kept else ((), (), ())
    persons = PersonBoxes(boxes[list(rows)], scores, images)
    return Reading(reader="person_boxes", source=str(path), boxes=persons, warnings=tuple(warnings))


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
