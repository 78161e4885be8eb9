"""Users' own pose results: COCO results, MMPose, OpenPose and landmark tables, read row by row and
written back. Nothing in them is executed.

Each format is one function that walks over a parsed file and yields its rows. A row also knows how
to put a joint back where it came from, so that a file can be written again with nothing changed but
the joints that a method replaced.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..errors import BadFile, BadParameter, BadRecord, MissingFile
from ..geometry import box_of_points, cxcywh_to_xyxy
from ..records import Detections, Prediction, Reading
from ..resources import write_beside
from ..skeletons import SKELETONS
from ..skeletons import skeleton as skeleton_by_name
from .checks import image_id, number, numbers, numbers_of, texts_of, xyxy_from_xywh
from .readers import as_dict, reader
from .releases import named
from .safe import MAX_FILE_BYTES, read_json, read_npz, read_text, safe_unpickle

COCO17 = SKELETONS["coco17"].joints
_PAIRS = "shoulder elbow wrist pinky index thumb hip knee ankle heel foot_index".split()
BLAZEPOSE = (  # MediaPipe Pose Landmarker, landmarks 0 to 32
    *"nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye".split(),
    *"right_eye_outer left_ear right_ear mouth_left mouth_right".split(),
    *(f"{side}_{part}" for part in _PAIRS for side in ("left", "right")),
)
# Where coco17's joints stand in longer lists: OpenPose's COCO-18 and BODY_25, and Halpe-26 and
# COCO-WholeBody in MMPose.
OPENPOSE = {
    18: (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10),
    25: (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11),
}
MMPOSE_LONGER = (26, 133)  # lists that begin with coco17
BOX_UNIT_PX = 200  # MMPose states box sizes in units of 200 px
# what is read: heat map peaks dip below 0 and rise above 1, percent and logits do not fit
CONFIDENCE = (-0.01, 10.0)
# what a file without joint names most often means
USUAL_SKELETON = {14: "crowdpose14", 17: "coco17", 21: "hand21"}


class Row(NamedTuple):
    """One detected pose of a file. A joint that the file calls missing keeps its coordinates and
    has confidence 0.
    """

    id: str  # where it stands in the file
    keypoints: Float[np.ndarray, "k 3"]  # x px, y px, confidence
    # writes joint j (of the skeleton) back at (x, y) px; None: the format is only read
    put: Callable[[int, float, float], None] | None
    box_xyxy: np.ndarray | None = None  # px; None: around its joints
    score: float | None = None
    image: str = ""
    frame: int | None = None
    track: int | None = None


class Document(NamedTuple):
    """A parsed file, and what its format needs to know from outside."""

    path: Path
    content: object
    frame: int  # of a file that is one frame
    joints: tuple[str, ...] | None  # of the skeleton that was named
    size_wh: tuple[int, int] | None  # px, of the pictures


def _list(item: object, key: str) -> list:
    value = as_dict(item).get(key)
    if type(value) is not list:
        raise BadRecord(f"{key} is not a list")
    return value


def _length(item: object, key: str) -> int:
    value = as_dict(item).get(key)
    return len(value) if type(value) is list else 0


def _count(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise BadRecord(f"{what} is {str(value)[:40]}, a number from 0 expected")
    return value


def _track(item: Mapping) -> int | None:
    return None if item.get("track_id") is None else _count(item["track_id"], "track_id")


def _points(item: object, key: str, n: int, width: int, joints: Sequence[int]):
    """Joints [k width] of a list of n times x, y, ..., flat or one list a joint, and what puts
    one back.
    """
    points, values = numbers(as_dict(item), key, n * width).reshape(n, width), item[key]
    nested = type(values[0]) is list
    if nested and any(len(value) != width for value in values):
        raise BadRecord(f"{key} is nested, but not in lists of {width}")

    def put(j: int, x: float, y: float) -> None:
        place, at = (values[joints[j]], 0) if nested else (values, width * joints[j])
        place[at : at + 2] = x, y

    return points[list(joints)], put


# --- MMPose 0.x -----------------------------------------------------------------------------------

_COLUMNS = ("preds", "boxes", "image_paths", "bbox_ids")


def _batch_ids(value: object) -> list[int]:
    value = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if type(value) not in (list, tuple) or not all(
        type(v) in (int, np.int32, np.int64) and -(2**63) <= v < 2**63 for v in value
    ):
        raise BadRecord("bbox_ids is not a list of 64-bit integers")
    return list(map(int, value))


def _batch(batch: object, k: int | None) -> list[Row]:
    """The rows of one batch {preds [b k 3], boxes [b 6], image_paths, bbox_ids}."""
    if type(batch) is not dict:
        raise BadRecord(f"{type(batch).__name__}, a dict with {', '.join(_COLUMNS)} expected")
    preds = numbers_of(batch.get("preds"), "preds", (None, k, 3)).astype(np.float32)
    n, k = preds.shape[:2]
    if not k:
        raise BadRecord("preds have no joints")
    boxes = numbers_of(batch.get("boxes"), "boxes", (n, 6))
    images = texts_of(batch.get("image_paths"), "image_paths")
    ids = _batch_ids(batch.get("bbox_ids"))
    for key, column in (("image_paths", images), ("bbox_ids", ids)):
        if len(column) != n:
            raise BadRecord(f"{key} has {len(column)} entries, {n} expected")
    with np.errstate(over="ignore"):
        cxcywh = boxes[:, :4] * (1, 1, BOX_UNIT_PX, BOX_UNIT_PX)
        corners = cxcywh_to_xyxy(cxcywh).astype(np.float32)
        scores = (boxes[:, 5] * preds[:, :, 2].mean(1)).astype(np.float32)
    area = np.isfinite(corners).all(1) & (corners[:, 2:] > corners[:, :2]).all(1)
    checks = {
        "box of bbox_id {} has size <= 0": (boxes[:, 2:4] > 0).all(1),
        "box of bbox_id {} is beyond what float32 can hold": area,
        "score of bbox_id {} is beyond what float32 can hold": np.isfinite(scores),
    }
    for problem, good in checks.items():
        if not good.all():
            raise BadRecord(problem.format(ids[good.argmin()]))
    return [Row(str(ids[i]), preds[i], None, corners[i], scores[i], images[i]) for i in range(n)]


def _batches(document: Document) -> list[Row]:
    """Rows of all batches, which `content` names, in the order of bbox_ids."""
    if not document.content:
        raise BadFile("holds no batches")
    rows = []
    for record, batch in document.content.items():
        with named(document.path, record):
            rows += _batch(batch, len(rows[0].keypoints) if rows else None)
            if rows and len(rows) * rows[0].keypoints.nbytes > 4 * MAX_FILE_BYTES:
                raise BadFile("more rows than a file of its size can hold")
    rows.sort(key=lambda row: int(row.id))
    doubles = [ident for ident, times in Counter(row.id for row in rows).items() if times > 1]
    if doubles:
        raise BadRecord(
            f"{len(doubles)} bbox_ids stand more than once",
            record=f"bbox_id {doubles[0]}",
            remedy="keep one row of each (distributed evaluation pads its last batch with repeats)",
        )
    return rows


def _read_batches(path: Path) -> dict[str, object]:
    if path.suffix.lower() == ".npz":
        return {"arrays": read_npz(path, (), _COLUMNS)}
    content = safe_unpickle(path)
    if type(content) is not list:
        raise BadFile(
            f"holds a {type(content).__name__}, a list of MMPose result batches expected", file=path
        )
    return {f"batch {i}": batch for i, batch in enumerate(content)}


# --- COCO results ---------------------------------------------------------------------------------


def _coco(document: Document) -> Iterator[Row]:
    k = len(document.joints) if document.joints else None
    for i, result in enumerate(document.content):
        with named(document.path, f"result {i}"):
            k = k or max(_length(result, "keypoints") // 3, 1)
            keypoints, put = _points(result, "keypoints", k, 3, range(k))
            score = numbers({"score": [result.get("score")]}, "score", 1)[0]
            box = xyxy_from_xywh(numbers(result, "bbox", 4)) if "bbox" in result else None
            image = image_id(result)
            # the id, or the last number of a file name
            numbers_in = re.findall(r"-?\d+", image[-40:]) or ["-1"]
            frame = int(numbers_in[-1])
            frame = frame if 0 <= frame < 2**31 else None
            row = Row(str(i), keypoints, put, box, float(score), image, frame, _track(result))
        yield row


# --- MMPose 1.x -----------------------------------------------------------------------------------


def _mmpose_instance(item: object, joints: Sequence[str] | None) -> Row:
    """One instance; its place in the file is the caller's to tell."""
    n = _length(item, "keypoints")
    if not n or not all(type(point) is list and len(point) == 2 for point in item["keypoints"]):
        raise BadRecord("keypoints is not a list of [x, y]", remedy="2D results are read")
    reduced = n in MMPOSE_LONGER and len(joints or COCO17) == 17
    used = range(17 if reduced else n)
    xy, put = _points(item, "keypoints", n, 2, used)
    confidence = numbers(item, "keypoint_scores", n)[list(used)]
    box = None
    if item.get("bbox") is not None:  # as MMPose writes it, in a list of its own
        box = numbers(item, "bbox", 4)
        if not (box[2:] > box[:2]).all():
            raise BadRecord(f"bbox {box.tolist()} has no area", remedy="xyxy in px expected")
    score = number(item, "bbox_score")
    return Row("", np.column_stack((xy, confidence)), put, box, score, track=_track(item))


def _mmpose(document: Document) -> Iterator[Row]:
    """A video's entries of {frame_id, instances}, or the instances of one picture.

    The inferencer counts frames from 0 and writes the list alone; the demo scripts count from 1 and
    wrap it.
    """
    entries, path = document.content, document.path
    wrapped = type(entries) is dict
    if wrapped:
        entries = entries["instance_info"]
    if type(entries) is not list:
        raise BadFile(f"instance_info is {type(entries).__name__}, list expected")
    if not any("instances" in as_dict(entry) for entry in entries):
        entries, wrapped = [{"frame_id": document.frame, "instances": entries}], False
    first = int(wrapped and 0 not in [as_dict(entry).get("frame_id") for entry in entries])
    frames = set()
    for i, entry in enumerate(entries):
        with named(path, f"entry {i}"):
            frame_id = _count(as_dict(entry).get("frame_id"), "frame_id")
            frame = frame_id - first
            if frame in frames:
                raise BadRecord(f"frame_id {frame_id} stands twice")
            frames.add(frame)
            instances = _list(entry, "instances")
        for j, item in enumerate(instances):
            with named(path, f"frame_id {frame_id}, instance {j}"):
                row = _mmpose_instance(item, document.joints)
            yield row._replace(id=f"{frame}.{j}", image=path.stem, frame=frame)


# --- OpenPose -------------------------------------------------------------------------------------


def _openpose(document: Document) -> Iterator[Row]:
    path, key = document.path, "pose_keypoints_2d"
    with named(path, "top level"):
        people = _list(document.content, "people")
    for i, person in enumerate(people):
        with named(path, f"person {i}"):
            n = _length(person, key) // 3
            if n not in OPENPOSE:
                raise BadRecord(
                    f"{key} has {n} joints, 25 or 18 expected",
                    remedy="run OpenPose with the BODY_25 or COCO model",
                )
            keypoints, put = _points(person, key, n, 3, OPENPOSE[n])
            known = keypoints[:, 2] > 0
            if known.sum() > 1 and (np.abs(keypoints[known, :2]) <= 1).all():
                raise BadRecord(
                    "all coordinates lie between -1 and 1: they are not px",
                    remedy="run OpenPose with --keypoint_scale 0, which gives px",
                )
        track = None
        if _length(person, "person_id") == 1:  # [-1] where nobody is tracked
            (track,) = person["person_id"]
            track = track if type(track) is int and 0 <= track < 2**31 else None
        yield Row(f"{path.name}.{i}", keypoints, put, frame=document.frame, track=track)


# --- landmark tables ------------------------------------------------------------------------------

_TITLES = {  # of columns, in lower case
    "frame": ("frame",),
    "person": ("person",),
    "joint": ("landmark", "joint"),
    "x": ("x", "x_px"),
    "y": ("y", "y_px"),
    "confidence": ("visibility", "confidence"),
}


def _read_table(path: Path) -> list[list[str]]:
    """The cells of a CSV file, titles first; empty lines are left out."""
    text = io.StringIO(read_text(path), newline="")
    try:
        lines = list(filter(None, csv.reader(text, strict=True)))
    except csv.Error as error:
        raise BadFile(f"not a CSV table: {error}", file=path) from None
    titles = lines[0] if lines else []
    if len(set(titles)) != len(titles):
        raise BadFile("two columns have the same name", file=path, record="line 1")
    for i, line in enumerate(lines, 1):
        if len(line) != len(titles):
            raise BadRecord(
                f"not as many cells as the {len(titles)} columns", file=path, record=f"line {i}"
            )
    return lines or [titles]


def _columns_of(titles: Sequence[str]) -> dict[str, int | None]:
    """Where the columns are; None for a person that the file does not name."""
    titles = [title.strip().lower() for title in titles]
    columns = {
        key: next((titles.index(name) for name in names if name in titles), None)
        for key, names in _TITLES.items()
    }
    lacking = [key for key, column in columns.items() if column is None and key != "person"]
    if lacking:
        raise BadFile(
            f"no column {', '.join(' or '.join(_TITLES[key]) for key in lacking)}",
            record="line 1",
            remedy="columns: frame, person (optional), landmark, x and y (fractions) or x_px and "
            "y_px, visibility",
        )
    return columns


def _cell(line: Sequence[str], column: int, titles: Sequence[str], kind: type) -> int | float:
    text = line[column].strip()
    try:
        value = kind(text)
    except ValueError:
        raise BadRecord(f"{titles[column]} is {text[:40]!r}, a number expected") from None
    if not abs(value) < 2**31:
        raise BadRecord(f"{titles[column]} is {text[:40]}, beyond what is read")
    return value


def _people(
    document: Document, columns: Mapping[str, int], joints: Sequence[str]
) -> dict[tuple[int, int], dict[str, tuple[int, list[str]]]]:
    """By (frame, person), in the order of the file, the line and its number of every joint."""
    people = {}
    titles, *lines = document.content
    numbered = BLAZEPOSE if joints == COCO17 else joints  # MediaPipe's numbers
    for i, line in enumerate(lines, 2):
        with named(document.path, f"line {i}"):
            frame = _count(_cell(line, columns["frame"], titles, int), "frame")
            who = columns["person"]
            person = 0 if who is None else _cell(line, who, titles, int)
            joint = line[columns["joint"]].strip().lower()
            if re.fullmatch(r"[0-9]{1,3}", joint) and int(joint) < len(numbered):
                joint = numbered[int(joint)]
            if joint not in numbered and joint not in joints:
                title = titles[columns["joint"]]
                raise BadRecord(f"{title} is {joint[:40]!r}, a joint's name or number expected")
            if joint in people.setdefault((frame, person), {}):
                raise BadRecord(f"{joint} of frame {frame}, person {person} stands twice")
        people[frame, person][joint] = i, line
    for (frame, person), stated in people.items():
        if missing := [joint for joint in joints if joint not in stated]:
            raise BadRecord(f"no {missing[0]}", record=f"frame {frame}, person {person}")
    return people


def _table_rows(document: Document) -> Iterator[Row]:
    joints, titles = document.joints or COCO17, document.content[0]
    columns = _columns_of(titles)
    cells = [columns[key] for key in ("x", "y", "confidence")]
    size, shift = (1, 1), 0.0  # px are x * size - shift
    if [titles[column].strip().lower() for column in cells[:2]] == ["x", "y"]:
        if document.size_wh is None:
            raise BadParameter(
                "x and y are fractions of the picture, whose size is not known",
                remedy="give the picture's size_wh, or columns x_px and y_px",
            )
        size, shift = document.size_wh, 0.5  # the left edge of pixel 0 is -0.5

    def row_of(ident: str, frame: int, person: Mapping) -> Row:
        keypoints = np.zeros((len(joints), 3))
        for j, joint in enumerate(joints):
            i, line = person[joint]
            if all(line[column].strip().lower() in ("", "nan") for column in cells[:2]):
                continue  # the joint is missing
            with named(document.path, f"line {i}"):
                keypoints[j] = [_cell(line, column, titles, float) for column in cells]
            keypoints[j, :2] = keypoints[j, :2] * size - shift

        def put(j: int, x: float, y: float) -> None:
            line = person[joints[j]][1]
            for column, value in zip(cells, (np.array((x, y)) + shift) / size):
                line[column] = repr(float(value))
            if not keypoints[j].any():
                line[columns["confidence"]] = "0"

        return Row(ident, keypoints.astype(np.float32), put, frame=frame)

    for (frame, person), lines in _people(document, columns, joints).items():
        row = row_of(f"{frame}.{person}", frame, lines)
        if row.keypoints.any():
            yield row


# --- files ----------------------------------------------------------------------------------------

_FORMATS: dict[str, Callable[[Document], Iterable[Row]]] = {
    "batches": _batches,
    "coco": _coco,
    "mmpose": _mmpose,  # a video
    "pictures": _mmpose,  # a file each
    "openpose": _openpose,  # a file a frame
    "table": _table_rows,
}
# by a field of a JSON object, or of the first object of a list; other lists are COCO results
_MARKS = {
    (dict, "people"): "openpose",
    (dict, "instance_info"): "mmpose",
    (list, "instances"): "mmpose",
    (list, "keypoint_scores"): "pictures",
}
_OPENPOSE_FILE = re.compile(r"(?:.*_)?(\d+)_keypoints\.json")


def _json_format(content: object, path: Path) -> str:
    first = content
    if type(content) is list:
        first = content[0] if content else None
    for (kind, mark), name in _MARKS.items():
        if type(content) is kind and mark in as_dict(first):
            return name
    if type(content) is list:
        return "coco"
    raise BadFile(
        f"holds a {type(content).__name__}, a list of COCO results expected",
        file=path,
        remedy="annotations are read by read_coco",
    )


def _parse_folder(path: Path) -> tuple[str, dict[Path, object]]:
    """A folder holds one JSON file a frame: OpenPose's, or MMPose's of single pictures."""
    documents = {file: read_json(file) for file in sorted(path.glob("*.json"))}
    if not documents:
        raise MissingFile(
            "no .json files in this folder", file=path, remedy="name the folder of the results"
        )
    first = None
    for file, content in documents.items():
        name = "pictures" if content == [] else _json_format(content, file)
        first = first or name
        if name != first or name in ("coco", "mmpose"):
            raise BadFile(
                "a folder of one OpenPose or MMPose file a frame expected",
                file=file,
                remedy="name the one file that holds the whole video, or move other files away",
            )
    return first, documents


def _parse(path: Path, content: object = None) -> tuple[str, dict[Path, object]]:
    """Which of `_FORMATS` a results file or folder has, and the content of each file, unchecked.

    content: the JSON, if it has been parsed already.
    """
    if os.path.isdir(path):
        return _parse_folder(path)
    match path.suffix.lower():
        case ".pkl" | ".pickle" | ".npz":
            return "batches", {path: _read_batches(path)}
        case ".csv":
            return "table", {path: _read_table(path)}
        case ".json":
            content = read_json(path) if content is None else content
            return _json_format(content, path), {path: content}
        case suffix:
            raise BadFile(
                f"suffix {suffix!r} is none of .pkl, .pickle, .npz, .json, .csv",
                file=path,
                remedy="rename or export",
            )


def _frames_of_files(format: str, paths: Sequence[Path]) -> list[int]:
    """The frame that each file is: the number in its name with OpenPose, else its place."""
    if format != "openpose":
        return list(range(len(paths)))
    frames = []
    for path in paths:
        name = _OPENPOSE_FILE.fullmatch(path.name)
        frame = int(name[1][:12]) if name else 0
        if frame in frames or (len(paths) > 1 and not name):
            raise BadFile(
                "its name does not say which frame it is",
                file=path,
                remedy="names end in _000000000012_keypoints.json, one a frame",
            )
        frames.append(frame)
    return frames


def _rows(
    format: str,
    documents: Mapping[Path, object],
    skeleton: str | None,
    size_wh: tuple[int, int] | None,
) -> Iterator[Row]:
    """Every detected pose. skeleton: None leaves the number of joints to the file."""
    joints = skeleton_by_name(skeleton).joints if skeleton else None
    k = len(joints) if joints else None
    frames = _frames_of_files(format, list(documents))
    for (path, content), frame in zip(documents.items(), frames):
        with named(path):
            for row in _FORMATS[format](Document(path, content, frame, joints, size_wh)):
                n = len(row.keypoints)
                k = k or n
                if n != k:
                    by = f" by {skeleton}" if skeleton else ""
                    raise BadRecord(
                        f"{n} joints, {k} expected{by}",
                        record=row.id,
                        remedy=_name_one_of(n) if skeleton else None,
                    )
                yield row


# --- detections -----------------------------------------------------------------------------------


def _name_one_of(k: int) -> str:
    known = ", ".join(s.name for s in SKELETONS.values() if len(s) == k) or "none is known"
    return f"name a skeleton of {k} joints: {known}"


def _box(row: Row) -> np.ndarray:
    """The stated box, or the one around the known joints."""
    if row.box_xyxy is not None:
        return row.box_xyxy
    known = row.keypoints[:, 2] > 0
    return box_of_points(row.keypoints[known if known.any() else slice(None), :2])


def _check(rows: Sequence[Row], confidence: np.ndarray, kind: str) -> None:
    """`BadRecord` for a confidence that cannot be one, or tracks that some rows lack."""
    low, high = CONFIDENCE
    for i, joint in np.argwhere((confidence < low) | (confidence > high))[:1]:
        raise BadRecord(
            f"confidence {confidence[i, joint]:g} of joint {joint} is outside [{low}, {high}]",
            record=f"{kind} {rows[i].id}",
            remedy="export confidences from 0 to about 1",
        )
    untracked = [row.id for row in rows if row.track is None]
    if 0 < len(untracked) < len(rows):
        raise BadRecord(
            "no track_id, others have one",
            record=untracked[0],
            remedy="give every detection a track_id, or none",
        )


def read_detections(
    path: str | Path,
    *,
    skeleton: str | None = None,
    size_wh: tuple[int, int] | None = None,
    content: object = None,
) -> Detections:
    """Detected poses of one file or folder, told apart by suffix and content:

    .pkl, .pickle  MMPose 0.x results: a list of batches {preds [b k 3], boxes [b 6], image_paths,
                   bbox_ids}
    .npz           the same four arrays, once
    .json          COCO results: [{image_id, category_id, keypoints [3k], score, bbox?, track_id?}]
                   MMPose 1.x: [{frame_id, instances: [{keypoints [k 2], keypoint_scores [k], bbox?,
                   bbox_score?}]}], the same in {meta_info, instance_info}, or one picture's list of
                   instances
                   OpenPose: {people: [{pose_keypoints_2d}]} of BODY_25 or COCO-18
    a folder       one OpenPose file a frame (*_000000000012_keypoints.json), or one MMPose file a
                   picture
    .csv           one line a landmark: frame (from 0), person (optional; 0), landmark (name, or
                   MediaPipe's number 0 to 32), x and y (fractions of the picture, which need
                   size_wh) or x_px and y_px, visibility; further columns are left alone; our own
                   tables with joint and confidence are read too

    skeleton: its name; None means crowdpose14, coco17 or hand21 for as many joints, other counts
        must be named. OpenPose, BlazePose, Halpe-26 and COCO-WholeBody joints are reduced to coco17
        (no neck, mid-hip, feet, face, hands).
    size_wh: px of the pictures. content: the JSON, if it has been parsed already.
    Coordinates px in the frame. MMPose boxes (centre, size in 200 px) and COCO boxes (xywh) become
    xyxy; a result without a box gets the one around its joints of confidence above 0. Scores: as
    stated, of batches box score times mean joint confidence, else the mean confidence. Rows stand
    in the order of bbox_ids, of other files in their own. frames: frame_id from 0 (files wrapped
    with meta_info count from 1), the number in an OpenPose file's name, COCO's image_id or the last
    number in it. A joint that the file calls missing keeps its coordinates, with confidence 0.
    Confidences must lie in `CONFIDENCE`. Errors: `UnsafeFile`, `BadFile`, `EmptyFile`,
    `MissingFile`, `UnknownName`, `BadRecord` with batch or row, `BadParameter` for fractions
    without size_wh.
    """
    path = Path(path)
    format, documents = _parse(path, content)
    rows = list(_rows(format, documents, skeleton, size_wh))
    with named(path):
        if format == "coco" and not rows and skeleton is None:
            raise BadFile("empty list", remedy="name the skeleton")
        k = len(rows[0].keypoints) if rows else len(skeleton_by_name(skeleton or "coco17"))
        keypoints = np.array([row.keypoints for row in rows], np.float32).reshape(-1, k, 3)
        confidence = keypoints[:, :, 2]
        _check(rows, confidence, "bbox_id" if format == "batches" else "result")
        tracks = [row.track for row in rows]
        name = skeleton or USUAL_SKELETON.get(k)
        if name is None:
            raise BadRecord(f"{k} joints and no skeleton named", remedy=_name_one_of(k))
    frames = [row.frame for row in rows]
    with np.errstate(over="ignore"):
        scores = [row.keypoints[:, 2].mean() if row.score is None else row.score for row in rows]
        scores = np.array(scores, np.float32)
    return Detections(
        name,
        xy_frame=keypoints[:, :, :2],
        confidence=confidence,
        boxes_xyxy=np.array([_box(row) for row in rows], np.float32).reshape(-1, 4),
        scores=scores,
        images=[row.image for row in rows],
        ids=[row.id for row in rows],
        source=str(path),
        frames=None if None in frames else frames,
        tracks=None if None in tracks or not rows else tracks,
    )


@reader(
    "detections",
    order=400,
    kind="detections",
    reads="results: COCO, MMPose, OpenPose's folder, landmarks",
    recognised="keypoints and score; preds and boxes; people; .csv",
    fits=lambda file: (
        file.ends(".csv")
        or {"preds", "boxes"} <= set(file.arrays)
        or file.mostly("_keypoints.json")
        or type(file.json) is list
        or {"instance_info", "people"} & set(file.fields)
        or type(file.pickled) is list
    ),
)
def read_results(path: Path, *, on_bad: str = "raise", content: object = None) -> Reading:
    """Users' own results; a bad row is an error with either `on_bad`. Landmarks that are fractions
    of a picture of unknown size stay fractions, with a warning.
    """
    try:
        return Reading(detections=read_detections(path, content=content))
    except BadParameter as error:
        fractions = read_detections(path, content=content, size_wh=(1, 1))
        return Reading(detections=fractions, warnings=(error,))


# --- writing --------------------------------------------------------------------------------------


def _plain(values: np.ndarray) -> list[float]:
    """Shortest decimals that read back as the same float32."""
    return [float(str(v)) for v in np.asarray(values, np.float32).ravel()]


def _save(path: Path, text: str) -> Path:
    return write_beside(path, lambda beside: beside.write_text(text, "utf-8", newline=""))


def _csv(lines: Iterable[Iterable]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue()


def write_like(
    path: str | Path,
    prediction: Prediction,
    like: str | Path,
    size_wh: tuple[int, int] | None = None,
) -> Path:
    """The user's own results file (or folder) again, with nothing changed but the coordinates of
    replaced joints.

    Their confidences stay the detector's. `prediction.detections` are what was read from `like`;
    rows may be fewer. MMPose's batches (.pkl, .npz) are only read: `BadFile`.
    """
    path, like = Path(path), Path(like)
    if path.resolve() == like.resolve():
        raise BadParameter(
            "would write over the results it was made from", file=path, remedy="name another place"
        )
    format, documents = _parse(like)
    if format == "batches":
        raise BadFile("this format is only read", file=like, remedy="write COCO results")
    rows = {row.id: row for row in _rows(format, documents, prediction.skeleton, size_wh)}
    for ident, xy, replaced in zip(
        prediction.detections.ids, prediction.xy_frame, prediction.replaced
    ):
        for j in np.flatnonzero(replaced):
            rows[ident].put(int(j), *_plain(xy[j]))
    for file, content in documents.items():
        text = _csv(content) if format == "table" else json.dumps(content)
        _save(path / file.name if os.path.isdir(like) else path, text)
    return path


def write_coco_results(path: str | Path, found: Detections) -> Path:
    """COCO results JSON, image_id = frame, with bbox xywh and track_id; `read_detections` reads
    it back.
    """
    results = []
    keypoints = np.concatenate((found.xy_frame, found.confidence[..., None]), -1)
    for i, box in enumerate(found.boxes_xyxy):
        result = {
            "image_id": found.images[i] if found.frames is None else int(found.frames[i]),
            "category_id": 1,
            "keypoints": _plain(keypoints[i]),
            "score": _plain(found.scores[i : i + 1])[0],
        }
        if (box[2:] > box[:2]).all():
            result["bbox"] = _plain(np.concatenate((box[:2], box[2:] - box[:2])))
        if found.tracks is not None:
            result["track_id"] = int(found.tracks[i])
        results.append(result)
    return _save(Path(path), json.dumps(results))


def write_table(path: str | Path, prediction: Prediction) -> Path:
    """One line a joint: frame, person, joint, x_px, y_px, confidence, replaced (0 or 1).
    `read_detections` reads it back.
    """
    found, joints = prediction.detections, skeleton_by_name(prediction.skeleton).joints
    lines = [("frame", "person", "joint", "x_px", "y_px", "confidence", "replaced")]
    for i, frame in enumerate(found.frames):
        keypoints = np.column_stack((prediction.xy_frame[i], prediction.confidence[i]))
        for joint, values, replaced in zip(joints, keypoints, prediction.replaced[i]):
            lines.append((frame, found.tracks[i], joint, *values, int(replaced)))
    return _save(Path(path), _csv(lines))
