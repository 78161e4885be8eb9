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
from .register import as_dict, reader
from .safe import MAX_FILE_BYTES, read_json, read_npz, read_text, safe_unpickle

COCO17 = SKELETONS["coco17"].joints
BLAZEPOSE = tuple(
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer "
    "left_ear right_ear mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_pinky right_pinky left_index right_index left_thumb right_thumb "
    "left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel right_heel "
    "left_foot_index right_foot_index".split()
)  # MediaPipe Pose Landmarker, landmarks 0 to 32
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


def _object(value: object, **where) -> dict:
    if type(value) is not dict:
        raise BadRecord(f"{type(value).__name__}, object expected", **where)
    return value


def _list(item: Mapping, key: str, **where) -> list:
    if type(item.get(key)) is not list:
        raise BadRecord(f"{key} is not a list", **where)
    return item[key]


def _length(value: object) -> int:
    return len(value) if type(value) is list else 0


def _count(value: object, what: str, **where) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise BadRecord(f"{what} is {str(value)[:40]}, a number from 0 expected", **where)
    return value


def _track(item: Mapping, **where) -> int | None:
    return None if item.get("track_id") is None else _count(item["track_id"], "track_id", **where)


def _triples(item: dict, key: str, n: int, joints: Sequence[int], **where):
    """Joints [k 3] of a list of n times x, y, confidence, flat or one list a joint, and what
    puts one back.
    """
    keypoints, values = numbers(item, key, 3 * n, **where).reshape(n, 3), item[key]
    nested = type(values[0]) is list
    if nested and any(len(value) != 3 for value in values):
        raise BadRecord(f"{key} is nested, but not in lists of three", **where)

    def put(j: int, x: float, y: float) -> None:
        if nested:
            values[joints[j]][:2] = x, y
        else:
            values[3 * joints[j] : 3 * joints[j] + 2] = x, y

    return keypoints[list(joints)], put


# --- MMPose 0.x -----------------------------------------------------------------------------------

_COLUMNS = ("preds", "boxes", "image_paths", "bbox_ids")


def _batch_ids(value: object, **where) -> list[int]:
    value = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if type(value) not in (list, tuple) or not all(
        type(v) in (int, np.int32, np.int64) and -(2**63) <= v < 2**63 for v in value
    ):
        problem = "missing" if value is None else "not a list of 64-bit integers"
        raise BadRecord(f"bbox_ids is {problem}", **where)
    return [int(v) for v in value]


def _batch(batch: object, k: int | None, **where) -> list[Row]:
    """The rows of one batch {preds [b k 3], boxes [b 6], image_paths, bbox_ids}."""
    if type(batch) is not dict:
        problem = f"{type(batch).__name__}, a dict with {', '.join(_COLUMNS)} expected"
        raise BadRecord(problem, **where)
    preds = numbers_of(batch.get("preds"), "preds", (None, k, 3), **where).astype(np.float32)
    n, k = preds.shape[:2]
    if not k:
        raise BadRecord("preds have no joints", **where)
    boxes = numbers_of(batch.get("boxes"), "boxes", (n, 6), **where)
    images = texts_of(batch.get("image_paths"), "image_paths", **where)
    ids = _batch_ids(batch.get("bbox_ids"), **where)
    for key, column in (("image_paths", images), ("bbox_ids", ids)):
        if len(column) != n:
            raise BadRecord(f"{key} has {len(column)} entries, {n} expected", **where)
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
            raise BadRecord(problem.format(ids[good.argmin()]), **where)
    return [Row(str(ids[i]), preds[i], None, corners[i], scores[i], images[i]) for i in range(n)]


def _batches(document: Document) -> list[Row]:
    """Rows of all batches, which `content` names, in the order of bbox_ids."""
    rows = []
    for record, batch in document.content.items():
        k = len(rows[0].keypoints) if rows else None
        rows += _batch(batch, k, file=document.path, record=record)
        if rows and len(rows) * rows[0].keypoints.nbytes > 4 * MAX_FILE_BYTES:
            problem = "more rows than a file of its size can hold"
            raise BadFile(problem, file=document.path, record=record)
    if not document.content:
        raise BadFile("holds no batches", file=document.path)
    rows.sort(key=lambda row: int(row.id))
    doubles = [ident for ident, times in Counter(row.id for row in rows).items() if times > 1]
    if doubles:
        raise BadRecord(
            f"{len(doubles)} bbox_ids stand more than once",
            file=document.path,
            record=f"bbox_id {doubles[0]}",
            remedy="keep one row of each (distributed evaluation pads its last batch with repeats)",
        )
    return rows


def _read_batches(path: Path) -> dict[str, object]:
    if path.suffix.lower() == ".npz":
        return {"arrays": read_npz(path, (), _COLUMNS)}
    content = safe_unpickle(path)
    if type(content) is not list:
        problem = f"holds a {type(content).__name__}, a list of MMPose result batches expected"
        raise BadFile(problem, file=path)
    return {f"batch {i}": batch for i, batch in enumerate(content)}


# --- COCO results ---------------------------------------------------------------------------------


def _frame_of_image(image: str) -> int | None:
    """The id, or the last number of a file name."""
    last = re.findall(r"-?\d+", image[-40:])
    return int(last[-1]) if last and 0 <= int(last[-1]) < 2**31 else None


def _coco(document: Document) -> Iterator[Row]:
    k = len(document.joints) if document.joints else None
    for i, result in enumerate(document.content):
        where = {"file": document.path, "record": f"result {i}"}
        values = _object(result, **where).get("keypoints")
        k = k or max(_length(values) // 3, 1)
        keypoints, put = _triples(result, "keypoints", k, range(k), **where)
        score = numbers({"score": [result.get("score")]}, "score", 1, **where)[0]
        box = None
        if "bbox" in result:
            box = xyxy_from_xywh(numbers(result, "bbox", 4, **where), **where)
        image = image_id(result, **where)
        frame, track = _frame_of_image(image), _track(result, **where)
        yield Row(str(i), keypoints, put, box, float(score), image, frame, track)


# --- MMPose 1.x -----------------------------------------------------------------------------------


def _mmpose_instance(item: object, document: Document, **where) -> Row:
    """One instance; its place in the file is the caller's to tell."""
    values = _object(item, **where).get("keypoints")
    n = _length(values)
    if not n or not all(_length(point) == 2 for point in values):
        raise BadRecord("keypoints is not a list of [x, y]", remedy="2D results are read", **where)
    reduced = n in MMPOSE_LONGER and len(document.joints or COCO17) == 17
    joints = slice(17 if reduced else n)
    xy = numbers(item, "keypoints", 2 * n, **where).reshape(n, 2)
    confidence = numbers(item, "keypoint_scores", n, **where)
    box = None
    if item.get("bbox") is not None:  # as MMPose writes it, in a list of its own
        box = numbers(item, "bbox", 4, **where)
        if not (box[2:] > box[:2]).all():
            problem = f"bbox {box.tolist()} has no area"
            raise BadRecord(problem, remedy="xyxy in px expected", **where)

    def put(j: int, x: float, y: float) -> None:
        values[j][:] = x, y

    score, track = number(item, "bbox_score", **where), _track(item, **where)
    keypoints = np.column_stack((xy, confidence))[joints]
    return Row("", keypoints, put, box, score, document.path.stem, track=track)


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
        raise BadFile(f"instance_info is {type(entries).__name__}, list expected", file=path)
    if not any(type(entry) is dict and "instances" in entry for entry in entries):
        entries, wrapped = [{"frame_id": document.frame, "instances": entries}], False
    stated = [entry.get("frame_id") for entry in entries if type(entry) is dict]
    first = int(wrapped and 0 not in stated)
    frames = set()
    for i, entry in enumerate(entries):
        where = {"file": path, "record": f"entry {i}"}
        frame_id = _count(_object(entry, **where).get("frame_id"), "frame_id", **where)
        frame = frame_id - first
        if frame in frames:
            raise BadRecord(f"frame_id {frame_id} stands twice", **where)
        frames.add(frame)
        for j, item in enumerate(_list(entry, "instances", **where)):
            where["record"] = f"frame_id {frame_id}, instance {j}"
            yield _mmpose_instance(item, document, **where)._replace(id=f"{frame}.{j}", frame=frame)


# --- OpenPose -------------------------------------------------------------------------------------

_OPENPOSE_FILE = re.compile(r"(?:.*_)?(\d+)_keypoints\.json")


def _openpose(document: Document) -> Iterator[Row]:
    path = document.path
    where = {"file": path, "record": "top level"}
    for i, person in enumerate(_list(_object(document.content, **where), "people", **where)):
        where["record"] = f"person {i}"
        n = _length(_object(person, **where).get("pose_keypoints_2d")) // 3
        if n not in OPENPOSE:
            remedy = "run OpenPose with the BODY_25 or COCO model"
            problem = f"pose_keypoints_2d has {n} joints, 25 or 18 expected"
            raise BadRecord(problem, remedy=remedy, **where)
        keypoints, put = _triples(person, "pose_keypoints_2d", n, OPENPOSE[n], **where)
        known = keypoints[:, 2] > 0
        if known.sum() > 1 and (np.abs(keypoints[known, :2]) <= 1).all():
            remedy = "run OpenPose with --keypoint_scale 0, which gives px"
            problem = "all coordinates lie between -1 and 1: they are not px"
            raise BadRecord(problem, remedy=remedy, **where)
        ident = person.get("person_id")  # [-1] where nobody is tracked
        tracked = _length(ident) == 1 and type(ident[0]) is int and 0 <= ident[0] < 2**31
        track = ident[0] if tracked else None
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


class Table(NamedTuple):
    """A CSV file as text."""

    columns: list[str]
    lines: list[dict[str, str]]


def _read_table(path: Path) -> Table:
    table = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        columns, lines = list(table.fieldnames or ()), list(table)
    except csv.Error as error:
        raise BadFile(f"not a CSV table: {error}", file=path, remedy="export it again") from None
    if len(set(columns)) != len(columns):
        raise BadFile("two columns have the same name", file=path, record="line 1")
    for i, line in enumerate(lines, 2):
        if None in line or None in line.values():
            problem = f"not as many cells as the {len(columns)} columns"
            raise BadRecord(problem, file=path, record=f"line {i}")
    return Table(columns, lines)


def _cell(line: Mapping[str, str], column: str, kind: type, **where) -> int | float:
    text = line[column].strip()
    try:
        value = kind(text)
    except ValueError:
        raise BadRecord(f"{column} is {text[:40]!r}, a number expected", **where) from None
    if not abs(value) < 2**31:
        raise BadRecord(f"{column} is {text[:40]}, beyond what is read", **where)
    return value


def _columns_of(table: Table, path: Path) -> dict[str, str | None]:
    """What the file calls its columns; None for a person that it does not name."""
    stated = {name.strip().lower(): name for name in table.columns}
    columns = {
        key: next((stated[title] for title in titles if title in stated), None)
        for key, titles in _TITLES.items()
    }
    lacking = [key for key, column in columns.items() if column is None and key != "person"]
    if lacking:
        raise BadFile(
            f"no column {', '.join(' or '.join(_TITLES[key]) for key in lacking)}",
            file=path,
            record="line 1",
            remedy="columns: frame, person (optional), landmark, x and y (fractions) or x_px and "
            "y_px, visibility",
        )
    return columns


def _joint(text: str, joints: Sequence[str], column: str, **where) -> str:
    """A joint's name, or MediaPipe's number of it."""
    names = BLAZEPOSE if joints == COCO17 else joints
    name = text.strip().lower()
    if re.fullmatch(r"[0-9]{1,3}", name) and int(name) < len(names):
        name = names[int(name)]
    if name not in names and name not in joints:
        problem = f"{column} is {name[:40]!r}, a joint's name or number expected"
        raise BadRecord(problem, **where)
    return name


# the lines of one person in one frame, with their numbers, by joint
Person = dict[str, tuple[int, dict[str, str]]]


def _people(
    table: Table, columns: Mapping, joints: Sequence[str], path: Path
) -> dict[tuple[int, int], Person]:
    """Persons by (frame, person) in the order of the file, each with a line for every joint."""
    people: dict[tuple[int, int], Person] = {}
    for i, line in enumerate(table.lines, 2):
        where = {"file": path, "record": f"line {i}"}
        frame = _count(_cell(line, columns["frame"], int, **where), "frame", **where)
        person = _cell(line, columns["person"], int, **where) if columns["person"] else 0
        joint = _joint(line[columns["joint"]], joints, columns["joint"], **where)
        if joint in people.setdefault((frame, person), {}):
            raise BadRecord(f"{joint} of frame {frame}, person {person} stands twice", **where)
        people[frame, person][joint] = i, line
    for (frame, person), lines in people.items():
        if missing := [joint for joint in joints if joint not in lines]:
            raise BadRecord(f"no {missing[0]}", file=path, record=f"frame {frame}, person {person}")
    return people


class _Cells(NamedTuple):
    """The columns of a joint's place, and how px are made of them: x * size - shift."""

    x: str
    y: str
    confidence: str
    size: Float[np.ndarray, "2"]
    shift: float


def _cells(columns: Mapping, document: Document) -> _Cells:
    names = [columns[key] for key in ("x", "y", "confidence")]
    if [name.strip().lower() for name in names[:2]] != ["x", "y"]:
        return _Cells(*names, size=np.ones(2), shift=0.0)
    if document.size_wh is None:
        problem = "x and y are fractions of the picture, whose size is not known"
        remedy = "give the picture's size_wh, or columns x_px and y_px"
        raise BadParameter(problem, file=document.path, remedy=remedy)
    # the left edge of pixel 0 is -0.5
    return _Cells(*names, size=np.array(document.size_wh, float), shift=0.5)


def _landmarks(
    ident: str, frame: int, person: Person, joints: Sequence[str], cells: _Cells, path: Path
) -> Row:
    keypoints = np.zeros((len(joints), 3))
    for j, joint in enumerate(joints):
        i, line = person[joint]
        if all(line[column].strip().lower() in ("", "nan") for column in cells[:2]):
            continue  # the joint is missing
        where = {"file": path, "record": f"line {i}"}
        keypoints[j] = [_cell(line, column, float, **where) for column in cells[:3]]
        keypoints[j, :2] = keypoints[j, :2] * cells.size - cells.shift

    def put(j: int, x: float, y: float) -> None:
        line = person[joints[j]][1]
        for column, value in zip(cells[:2], (np.array((x, y)) + cells.shift) / cells.size):
            line[column] = repr(float(value))
        if not keypoints[j].any():
            line[cells.confidence] = "0"

    return Row(ident, keypoints.astype(np.float32), put, frame=frame)


def _table_rows(document: Document) -> Iterator[Row]:
    path, joints = document.path, document.joints or COCO17
    columns = _columns_of(document.content, path)
    cells = _cells(columns, document)
    for (frame, person), lines in _people(document.content, columns, joints, path).items():
        row = _landmarks(f"{frame}.{person}", frame, lines, joints, cells, path)
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


# what a JSON object, or the first object of a list, has; other lists are COCO results
_OBJECT_MARKS = {"people": "openpose", "instance_info": "mmpose"}
_LIST_MARKS = {"instances": "mmpose", "keypoint_scores": "pictures"}


class _Source(NamedTuple):
    """A parsed file, or folder of files, and which of `_FORMATS` it has."""

    format: str
    documents: dict[Path, object]


def _json_format(content: object, path: Path) -> str:
    if content == []:
        raise BadFile("empty list", file=path, remedy="name the skeleton")
    if type(content) is list:
        marks, fields, otherwise = _LIST_MARKS, as_dict(content[0]), "coco"
    else:
        marks, fields, otherwise = _OBJECT_MARKS, as_dict(content), None
    known = next((known for mark, known in marks.items() if mark in fields), otherwise)
    if known is None:
        raise BadFile(
            f"holds a {type(content).__name__}, a list of COCO results expected",
            file=path,
            remedy="COCO results, MMPose and OpenPose files are known here; annotations are read "
            "by read_coco",
        )
    return known


def _parse_folder(path: Path) -> _Source:
    """A folder holds one JSON file a frame: OpenPose's, or MMPose's of single pictures."""
    documents = {file: read_json(file) for file in sorted(path.glob("*.json"))}
    if not documents:
        remedy = "name the folder of the results"
        raise MissingFile("no .json files in this folder", file=path, remedy=remedy)
    formats = {
        file: "pictures" if content == [] else _json_format(content, file)
        for file, content in documents.items()
    }
    first = next(iter(formats.values()))
    for file, known in formats.items():
        if known != first or known in ("coco", "mmpose"):
            raise BadFile(
                "a folder of one OpenPose or MMPose file a frame expected",
                file=file,
                remedy="name the one file that holds the whole video, or move other files away",
            )
    return _Source(first, documents)


def _parse(path: Path, content: object = None, *, empty: bool = False) -> _Source:
    """The content of a results file or folder, unchecked but for its format.

    content: the JSON, if it has been parsed already. empty: allows an empty list.
    """
    if os.path.isdir(path):
        return _parse_folder(path)
    match path.suffix.lower():
        case ".pkl" | ".pickle" | ".npz":
            return _Source("batches", {path: _read_batches(path)})
        case ".csv":
            return _Source("table", {path: _read_table(path)})
        case ".json":
            content = read_json(path) if content is None else content
            known = "coco" if empty and content == [] else _json_format(content, path)
            return _Source(known, {path: content})
        case suffix:
            known = ".pkl, .pickle, .npz, .json, .csv"
            problem = f"suffix {suffix!r} is none of {known}"
            raise BadFile(problem, file=path, remedy="rename or export")


def _frames_of_files(source: _Source) -> list[int]:
    """The frame that each file is: the number in its name with OpenPose, else its place."""
    if source.format != "openpose":
        return list(range(len(source.documents)))
    frames = []
    for path in source.documents:
        name = _OPENPOSE_FILE.fullmatch(path.name)
        frame = int(name[1][:12]) if name else 0
        if frame in frames or (len(source.documents) > 1 and not name):
            remedy = "names end in _000000000012_keypoints.json, one a frame"
            problem = "its name does not say which frame it is"
            raise BadFile(problem, file=path, remedy=remedy)
        frames.append(frame)
    return frames


def _rows(source: _Source, skeleton: str | None, size_wh: tuple[int, int] | None) -> Iterator[Row]:
    """Every detected pose. skeleton: None leaves the number of joints to the file."""
    joints = skeleton_by_name(skeleton).joints if skeleton else None
    k = len(joints) if joints else None
    frames = _frames_of_files(source)
    for (path, content), frame in zip(source.documents.items(), frames):
        for row in _FORMATS[source.format](Document(path, content, frame, joints, size_wh)):
            n = len(row.keypoints)
            k = k or n
            if n != k:
                problem, remedy = f"{n} joints, {k} expected", None
                if skeleton:
                    problem += f" by {skeleton}"
                    remedy = f"name a skeleton of {n} joints: {_skeletons_of(n)}"
                raise BadRecord(problem, file=path, record=row.id, remedy=remedy)
            yield row


# --- detections -----------------------------------------------------------------------------------


def _skeletons_of(k: int) -> str:
    return ", ".join(s.name for s in SKELETONS.values() if len(s) == k) or "none is known"


def _box(row: Row) -> Float[np.ndarray, "4"]:
    """The stated box, or the one around the known joints."""
    if row.box_xyxy is not None:
        return row.box_xyxy
    known = row.keypoints[:, 2] > 0
    return box_of_points(row.keypoints[known if known.any() else slice(None), :2])


def _tracks(rows: Sequence[Row], path: Path) -> list[int] | None:
    untracked = [row for row in rows if row.track is None]
    if len(untracked) == len(rows):
        return None
    if untracked:
        remedy = "give every detection a track_id, or none"
        problem = "no track_id, others have one"
        raise BadRecord(problem, file=path, record=untracked[0].id, remedy=remedy)
    return [row.track for row in rows]


def _check_confidence(rows: Sequence[Row], kind: str, path: Path) -> None:
    low, high = CONFIDENCE
    for row in rows:
        confidence = row.keypoints[:, 2]
        outside = (confidence < low) | (confidence > high)
        if outside.any():
            joint = int(outside.argmax())
            raise BadRecord(
                f"confidence {confidence[joint]:g} of joint {joint} is outside {list(CONFIDENCE)}",
                file=path,
                record=f"{kind} {row.id}",
                remedy="export confidences from 0 to about 1",
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
    k = len(skeleton_by_name(skeleton)) if skeleton else None
    source = _parse(path, content, empty=skeleton is not None)
    rows = list(_rows(source, skeleton, size_wh))
    _check_confidence(rows, "bbox_id" if source.format == "batches" else "result", path)
    k = len(rows[0].keypoints) if rows else k or len(COCO17)
    name = skeleton or USUAL_SKELETON.get(k)
    if name is None:
        problem = f"{k} joints and no skeleton named"
        remedy = f"name a skeleton of {k} joints: {_skeletons_of(k)}"
        raise BadRecord(problem, file=path, record="keypoints", remedy=remedy)
    framed = all(row.frame is not None for row in rows)
    keypoints = np.array([row.keypoints for row in rows], np.float32).reshape(-1, k, 3)
    with np.errstate(over="ignore"):
        scores = [row.keypoints[:, 2].mean() if row.score is None else row.score for row in rows]
        scores = np.array(scores, np.float32)
    return Detections(
        name,
        xy_frame=keypoints[:, :, :2],
        confidence=keypoints[:, :, 2],
        boxes_xyxy=np.array([_box(row) for row in rows], np.float32).reshape(-1, 4),
        scores=scores,
        images=[row.image for row in rows],
        ids=[row.id for row in rows],
        source=str(path),
        frames=[row.frame for row in rows] if framed else None,
        tracks=_tracks(rows, path),
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
def read_results(path: str | Path, *, on_bad: str = "raise", content: object = None) -> Reading:
    """Users' own results; a bad row is an error with either `on_bad`. Landmarks that are fractions
    of a picture of unknown size stay fractions, with a warning.
    """
    try:
        return Reading("detections", str(path), detections=read_detections(path, content=content))
    except BadParameter as error:
        found = read_detections(path, content=content, size_wh=(1, 1))
        return Reading("detections", str(path), detections=found, warnings=(error,))


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
    source = _parse(like, empty=True)
    if source.format == "batches":
        raise BadFile("this format is only read", file=like, remedy="write COCO results")
    rows = {row.id: row for row in _rows(source, prediction.skeleton, size_wh)}
    for ident, xy, replaced in zip(
        prediction.detections.ids, prediction.xy_frame, prediction.replaced
    ):
        for j in np.flatnonzero(replaced):
            rows[ident].put(int(j), *_plain(xy[j]))
    for file, content in source.documents.items():
        if isinstance(content, Table):
            text = _csv([content.columns, *(list(line.values()) for line in content.lines)])
        else:
            text = json.dumps(content)
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
