"""COCO-style keypoint annotations (COCO, CrowdPose, PoseTrack, JHMDB, hand sets) and person
detections, record by record.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import AfterValidator, BeforeValidator, Field

from ..errors import BadFile, BadRecord, MissingFile, UnknownName
from ..geometry import xywh_to_xyxy
from ..records import PersonBoxes, Picture, Reading
from ..skeletons import known_joints, own_skeleton, skeleton_of_joints, titled
from ..skeletons import skeleton as skeleton_by_name
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
    integral,
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


def bones_of(category: Mapping) -> list[tuple[int, int]]:
    """A category's bones as index pairs from 0, of those that are pairs of numbers; files count
    from 1.
    """
    stated = category.get("skeleton")
    pairs = stated if type(stated) is list else []
    pairs = [p for p in pairs if type(p) is list and len(p) == 2 and {*map(type, p)} == {int}]
    return [(i - 1, j - 1) for i, j in pairs]


def skeleton_of(content: object, path: Path, *, own: bool = False) -> str:
    """The skeleton whose joints the file's one category with joints names; own: also one of the
    file's own, where no known one has them.
    """
    categories = [c for c in table(content, "categories", path) if type(c) is dict]
    categories = [c for c in categories if c.get("keypoints")]
    stated = [c["keypoints"] for c in categories]
    if len(stated) != 1 or type(stated[0]) is not list:
        problem = f"{len(stated)} categories name keypoints, one expected"
        remedy = "let one category list the names of its joints as keypoints, or name the skeleton "
        remedy += "(skeleton=; --skeleton of score, propagate and data inspect)"
        raise BadFile(problem, file=path, record="categories", remedy=remedy)
    # "root (pelvis)" of Human3.6M conversions is the joint "root"
    joints = [re.sub(r"\s*\(.*\)$", "", str(joint)) for joint in stated[0]]
    try:
        if own and not known_joints(joints):
            return own_skeleton(joints, bones_of(categories[0])).name
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
) -> tuple[dict[str, ListedPicture], dict[int, BadRecord], list[BadRecord]]:
    """The pictures by id, by row those that are bad, and a warning where some are listed twice."""
    pictures, bad, twice = {}, {}, []
    images = table(content, "images", path)
    for row, stated in enumerate(all_checked(Image, images)):
        with collected(bad, row, path, f"images[{row}]"):
            listed = (stated or checked(Image.model_validate, images[row])).listed()
            name, key = listed.picture.name, listed.picture.id
            if key in pictures and pictures[key].picture.name != name:
                raise BadRecord(f"image id {key} stands for two files")
            check_place(name, folder)
            if pictures.setdefault(key, listed) is not listed:
                twice.append(f"image {key}")
    problem = f"{len(twice)} images repeat the id and the name of another one, which is taken"
    notes = [BadRecord(problem, file=path, record=key) for key in twice[:1]]
    return pictures, bad, notes


def _name(annotation: object, row: int) -> str:
    """What errors call an annotation: by its id, or where it stands if it has none."""
    key = annotation.get("id") if type(annotation) is dict else None
    return f"annotation {key}" if type(key) in (int, str) else f"annotations[{row}]"


def _of_which_image(names: Sequence[str], annotations: Sequence) -> list[str]:
    """What each annotation's name needs beside its id: where ids restart in every image (CVAT), the
    image.
    """
    images = defaultdict(set)
    stated = [str(a.get("image_id"))[:80] if type(a) is dict else "" for a in annotations]
    for name, image in zip(names, stated):
        images[name].add(image)
    return [
        f" of image {image}" if len(images[name]) > 1 else "" for name, image in zip(names, stated)
    ]


def _jointless(annotation: Mapping, posetrack: bool) -> bool:
    """Whether a person is stated to have no joints: by an empty list, or by none at all where
    num_keypoints is 0, or the file is PoseTrack's.
    """
    if "keypoints" not in annotation and posetrack:
        return True
    stated, count = annotation.get("keypoints"), annotation.get("num_keypoints")
    return stated == [] or (stated is None and type(count) in (int, float) and count == 0)


def _people(
    content: Mapping, skeleton: str, others: Bool[np.ndarray, "n"], path: Path
) -> tuple[People, dict[int, BadRecord], list[BadRecord]]:
    """People of a skeleton, by row the annotations that are bad, and a warning where ids restart in
    every image.
    """
    annotations, n_numbers = content["annotations"], 3 * len(skeleton_by_name(skeleton))
    keypoints, whole = columns(annotations, "keypoints", n_numbers)
    boxes, boxed = columns(annotations, "bbox", 4)
    heads = np.zeros((len(annotations), 4), np.float32)
    stated = all_checked(Annotation, annotations)
    names = [_name(annotation, row) for row, annotation in enumerate(annotations)]
    images = [""] * len(names)
    if len({*names}) < len(names):
        images = _of_which_image(names, annotations)
        names = [name + image for name, image in zip(names, images)]
    first = {name: row for row, name in reversed([*enumerate(names)])}
    plain = [person is not None and not (person.bbox_head or person.head_box) for person in stated]
    plain = whole & boxed & ~others & np.array(plain, bool)
    if len(first) < len(names):
        plain &= [first[name] == row for row, name in enumerate(names)]
    # PoseTrack also states people without a box
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
            if not whole[row] and not _jointless(annotation, optional):
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
    people = people._replace(ids=people.ids + column([images[row] for row in rows]))
    problem = "ids of annotations restart in other images (CVAT): each is named with its image"
    restarted = [name for name, image in zip(names, images) if image]
    return people, bad, [BadRecord(problem, file=path, record=name) for name in restarted[:1]]


def annotations_of(
    content: object,
    path: Path,
    *,
    skeleton: str | None = None,
    own: bool = False,
    folder: Path | None = None,
) -> Annotations:
    """What a COCO-style file states; parameters and errors as of `read_coco`, whose `images` is
    `folder` here.
    """
    annotations = table(content, "annotations", path)
    pictures, bad_pictures, twice = _pictures(content, path, folder)
    name = skeleton_of(content, path, own=own) if skeleton is None else skeleton
    others = np.array(_of_other_categories(content), bool)
    people, bad, restarted = _people(content, name, others, path)
    problem = (
        f"{others.sum()} annotations of other categories than the one with joints are left out"
    )
    left_out = [BadRecord(problem, file=path)] if others.any() else []
    return Annotations(
        file=path,
        skeleton=name,
        pictures=pictures,
        people=people,
        n_people=len(annotations),
        bad_pictures=bad_pictures,
        bad_people=bad,
        notes=[*twice, *restarted, *left_out],
        folder=folder,
    )


# --- results --------------------------------------------------------------------------------------

LISTED = "a list of {image_id, category_id, keypoints, score}"


class Results(NamedTuple):
    """COCO results as a list, however a file holds them."""

    rows: list  # as stated, not checked
    names: dict[str, str]  # of pictures, by id, where the file states them
    warnings: list[BadRecord]


def results_of(content: object, path: Path) -> Results:
    """What a file of COCO results holds: the list itself, or the annotations of a data-set file of
    predictions, whose scores they state (exports of FiftyOne, PoseTrack submissions).

    `scores` of joints (PoseTrack) become their confidences; who states no score of his own then has
    their mean, with a warning. `BadFile` where the file holds neither, or annotations of which none
    states a score.
    """
    if type(content) is list:
        return Results(content, {}, [])
    if type(content) is not dict or type(content.get("annotations")) is not list:
        problem = f"holds a {type(content).__name__}, a list of results expected"
        raise BadFile(problem, file=path, remedy=f"write COCO results: {LISTED}")
    annotations = content["annotations"]
    rows = [_with_scores(a) if type(a) is dict else a for a in annotations]
    if annotations and not any(type(row) is dict and "score" in row for row in rows):
        problem = "holds annotations without a score: labels, or predictions that lost theirs"
        raise BadFile(problem, file=path, remedy=f"give predictions: {LISTED}, a score in each")
    images = content["images"] if type(content.get("images")) is list else []
    names = {
        str(integral(image.get("id"))): image["file_name"]
        for image in images
        if type(image) is dict and type(image.get("file_name")) is str
    }
    means = sum(row is not a and "score" not in a for row, a in zip(rows, annotations))
    problem = f"{means} people state scores of joints alone: each is scored by their mean"
    return Results(rows, names, [BadRecord(problem, file=path)] if means else [])


def _with_scores(annotation: dict) -> dict:
    """With the scores of its joints as their confidences, where it states them."""
    scores, values = annotation.get("scores"), annotation.get("keypoints")
    lists = type(scores) is type(values) is list and 0 < 3 * len(scores) == len(values)
    if not lists or not {*map(type, scores)} <= {int, float}:
        return annotation
    try:
        mean = sum(scores) / len(scores)
    except OverflowError:  # an integer beyond float64
        return annotation
    joints = list(values)
    joints[2::3] = scores
    return {"score": mean, **annotation, "keypoints": joints}


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
    if len({p.occlusion_known for p in poses}) > 1:  # one says nothing, so all do not
        options |= {"occlusion_known": False}
        poses = [read_coco(file, **options).poses for file in files]
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
    keep_flat: bool = False,
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
        labelled joints become 2. None decides by the skeleton (`OCCLUSION_STATED`), and takes a
        COCO file without a single flag 2 for one of these, with a warning. With True, PoseTrack's
        joints of flag 0 that have coordinates become 1: releases 17 and 21 mark occluded joints so,
        and the evaluators count them as labelled.
    keep_flat: keep people in a box of no width or height, with a warning, where no box is needed.
    on_bad: "raise" at a bad record, or "report" it in `warnings` and keep the others.
    content: the parsed file, where the caller has it.
    Annotations of another category than the one with joints are left out with a warning, and so are
    people who count for nothing (no labelled joint, num_keypoints 0, crowds) in a box of no width
    or height. Coordinates px in the frame as stated, boxes xywh to xyxy; joints that are not
    labelled become (0, 0). Every annotation is kept, also crowds and persons without a labelled
    joint: `poses.select(poses.labelled.any(1))` leaves the others. Persons without joints have an
    empty list of keypoints, or none and num_keypoints 0. An id that stands in several images (CVAT
    counts by image) is named with its image, "3 of image 7", with a warning; so is a picture that
    is listed twice, and a box that lies mostly outside its picture. PoseTrack states persons
    without a box: it is then the joints' extent times `POSETRACK_BOX`, and who has no joints either
    is left out with a warning. Areas are there where every pose states one (CrowdPose states none).
    Groups are the video id where pictures state one, the folder of frames, else the picture.
    Errors: `BadRecord` with file and annotation id (`on_bad="raise"`: the first, with the count),
    `BadFile`, `EmptyFile`, `MissingFile`, `UnknownName`, `BadParameter`.
    """
    check_on_bad(on_bad)
    path, folder = Path(path), None if images is None else Path(images)
    if os.path.isdir(path):
        options = {"skeleton": skeleton, "images": images, "occlusion_known": occlusion_known}
        return _read_folder(path, keep_flat=keep_flat, on_bad=on_bad, **options)
    content = read_json(path) if content is None else content
    stated = annotations_of(content, path, skeleton=skeleton, own=True, folder=folder)
    poses, _, warnings = poses_of(
        stated, occlusion_known=occlusion_known, on_bad=on_bad, keep_flat=keep_flat
    )
    return Reading(
        reader="crowdpose" if stated.skeleton == "crowdpose14" else "coco",
        source=str(path),
        poses=poses,
        pictures=tuple(listed.picture for listed in stated.pictures.values()),
        warnings=(*_own_joints(stated), *warnings),
    )


def _own_joints(stated: Annotations) -> list[BadRecord]:
    """A warning of joints that are no known skeleton's: a misspelt one makes it another's."""
    whose = titled(stated.skeleton)
    if whose == stated.skeleton:
        return []
    problem = f"no known skeleton has {whose}: they are taken as they are"
    remedy = "if they are a known one's, name it (skeleton=; --skeleton)"
    return [BadRecord(problem, file=stated.file, record="categories", remedy=remedy)]


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
