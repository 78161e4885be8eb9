"""Users' own pose results on a video: COCO results, MMPose, OpenPose and landmark tables, read row
by row and written back.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..errors import BadFile, BadParameter, BadRecord, MissingFile
from ..records import Detections, Prediction
from ..resources import write_beside
from ..skeletons import SKELETONS, skeleton
from .checks import image_id, number, numbers, xyxy_from_xywh
from .safe import read_json, read_text

COCO17 = SKELETONS["coco17"].joints
BLAZEPOSE = tuple(
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer "
    "left_ear right_ear mouth_left "
    "mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_pinky right_pinky "
    "left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee "
    "left_ankle right_ankle "
    "left_heel right_heel left_foot_index right_foot_index".split()
)  # MediaPipe Pose Landmarker, landmarks 0 to 32
# Where coco17's joints stand in longer lists: OpenPose's COCO-18 and BODY_25, and Halpe-26 and
# COCO-WholeBody in MMPose.
OPENPOSE = {
    18: (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10),
    25: (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11),
}
MMPOSE_LONGER = {26: tuple(range(17)), 133: tuple(range(17))}
_OPENPOSE_FILE = re.compile(r"(?:.*_)?(\d+)_keypoints\.json")


class Row(NamedTuple):
    """One detected pose of a file. A joint that the file calls missing keeps its coordinates and
    has confidence 0.
    """

    id: str  # where it stands in the file
    keypoints: Float[np.ndarray, "k 3"]  # x px, y px, confidence
    put: Callable[[int, float, float], None]  # writes joint j (of the skeleton) back at (x, y) px
    box_xyxy: np.ndarray | None = None  # px; None: around its joints
    score: float | None = None
    image: str = ""
    frame: int | None = None
    track: int | None = None


def _object(value, **where) -> dict:
    if type(value) is not dict:
        raise BadRecord(f"{type(value).__name__}, object expected", **where)
    return value


def _count(value, what: str, **where) -> int:
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

    def put(j, x, y):
        target, at = (values[joints[j]], 0) if nested else (values, 3 * joints[j])
        target[at : at + 2] = x, y

    return keypoints[list(joints)], put


# --- formats --------------------------------------------------------------------------------------


def _coco(content: list, path: Path, k: int | None) -> Iterator[Row]:
    for i, result in enumerate(content):
        where = {"file": path, "record": f"result {i}"}
        values = _object(result, **where).get("keypoints")
        k = k or (max(len(values) // 3, 1) if type(values) is list else 1)
        keypoints, put = _triples(result, "keypoints", k, range(k), **where)
        score = numbers({"score": [result.get("score")]}, "score", 1, **where)[0]
        box = (
            xyxy_from_xywh(numbers(result, "bbox", 4, **where), **where)
            if "bbox" in result
            else None
        )
        image = image_id(result, **where)
        # the frame: the id, or the last number of a file name
        last = re.findall(r"-?\d+", image[-40:])
        frame = int(last[-1]) if last and 0 <= int(last[-1]) < 2**31 else None
        yield Row(str(i), keypoints, put, box, float(score), image, frame, _track(result, **where))


def _mmpose_instance(
    item, ident: str, frame: int | None, image: str, k: int | None, **where
) -> Row:
    values = _object(item, **where).get("keypoints")
    n = len(values) if type(values) is list else 0
    joints = MMPOSE_LONGER.get(n, range(n)) if k in (None, 17) else range(n)
    if not n or not all(type(point) is list and len(point) == 2 for point in values):
        raise BadRecord("keypoints is not a list of [x, y]", remedy="2D results are read", **where)
    xy = numbers(item, "keypoints", 2 * n, **where).reshape(n, 2)
    confidence = numbers(item, "keypoint_scores", n, **where)
    box = None
    if item.get("bbox") is not None:  # as MMPose writes it, in a list of its own
        box = numbers(item, "bbox", 4, **where)
        if not (box[2:] > box[:2]).all():
            raise BadRecord(
                f"bbox {box.tolist()} has no area", remedy="xyxy in px expected", **where
            )

    def put(j, x, y):
        values[joints[j]][:] = x, y

    keypoints = np.column_stack((xy, confidence))[list(joints)]
    return Row(
        ident,
        keypoints,
        put,
        box,
        number(item, "bbox_score", **where),
        image,
        frame,
        _track(item, **where),
    )


def _mmpose(content, path: Path, k: int | None, picture: int) -> Iterator[Row]:
    """A video's entries of {frame_id, instances}, or the instances of picture number `picture`.

    The inferencer counts frames from 0 and writes the list alone; the demo scripts count from 1 and
    wrap it.
    """
    wrapped = type(content) is dict
    entries = content["instance_info"] if wrapped else content
    if type(entries) is not list:
        raise BadFile(f"instance_info is {type(entries).__name__}, list expected", file=path)
    if not any(type(entry) is dict and "instances" in entry for entry in entries):
        entries, wrapped = [{"frame_id": picture, "instances": entries}], False
    numbers_seen = [entry.get("frame_id") for entry in entries if type(entry) is dict]
    first, seen = int(wrapped and 0 not in numbers_seen), set()
    for i, entry in enumerate(entries):
        where = {"file": path, "record": f"entry {i}"}
        frame = _count(_object(entry, **where).get("frame_id"), "frame_id", **where) - first
        if frame in seen:
            raise BadRecord(f"frame_id {frame + first} stands twice", **where)
        seen.add(frame)
        if type(entry.get("instances")) is not list:
            raise BadRecord("instances is not a list", **where)
        for j, item in enumerate(entry["instances"]):
            where["record"] = f"frame_id {frame + first}, instance {j}"
            yield _mmpose_instance(item, f"{frame}.{j}", frame, path.stem, k, **where)


def _openpose(content, path: Path, frame: int) -> Iterator[Row]:
    people = _object(content, file=path, record="top level").get("people")
    if type(people) is not list:
        raise BadRecord("people is not a list", file=path, record="top level")
    for i, person in enumerate(people):
        where = {"file": path, "record": f"person {i}"}
        values = _object(person, **where).get("pose_keypoints_2d")
        n = len(values) // 3 if type(values) is list else 0
        if n not in OPENPOSE:
            remedy = "run OpenPose with the BODY_25 or COCO model"
            raise BadRecord(
                f"pose_keypoints_2d has {n} joints, 25 or 18 expected", remedy=remedy, **where
            )
        keypoints, put = _triples(person, "pose_keypoints_2d", n, OPENPOSE[n], **where)
        known = keypoints[:, 2] > 0
        if known.sum() > 1 and (np.abs(keypoints[known, :2]) <= 1).all():
            remedy = "run OpenPose with --keypoint_scale 0, which gives px"
            raise BadRecord(
                "all coordinates lie between -1 and 1: they are not px", remedy=remedy, **where
            )
        ident = person.get("person_id")
        track = (
            ident[0] if type(ident) is list and len(ident) == 1 and type(ident[0]) is int else -1
        )
        row = Row(f"{path.name}.{i}", keypoints, put, frame=frame)
        yield row._replace(track=track if 0 <= track < 2**31 else None)


class _Table(NamedTuple):
    columns: list[str]
    lines: list[dict[str, str]]


_COLUMNS = {
    "frame": ("frame",),
    "person": ("person",),
    "joint": ("landmark", "joint"),
    "confidence": ("visibility", "confidence"),
    "x": ("x", "x_px"),
    "y": ("y", "y_px"),
}


def _read_table(path: Path) -> _Table:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        columns, lines = list(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise BadFile(f"not a CSV table: {error}", file=path, remedy="export it again") from None
    if len(set(columns)) != len(columns):
        raise BadFile("two columns have the same name", file=path, record="line 1")
    for i, line in enumerate(lines, 2):
        if None in line or None in line.values():
            raise BadRecord(
                f"not as many cells as the {len(columns)} columns", file=path, record=f"line {i}"
            )
    return _Table(columns, lines)


def _cell(line: Mapping[str, str], column: str, kind: type, **where) -> int | float:
    text = line[column].strip()
    try:
        value = kind(text)
    except ValueError:
        raise BadRecord(f"{column} is {text[:40]!r}, a number expected", **where) from None
    if not abs(value) < 2**31:
        raise BadRecord(f"{column} is {text[:40]}, beyond what is read", **where)
    return value


def _landmarks(
    table: _Table, path: Path, joints: Sequence[str], size_wh: tuple[int, int] | None
) -> Iterator[Row]:
    lower = {name.strip().lower(): name for name in table.columns}
    at = {
        key: next((lower[n] for n in names if n in lower), None) for key, names in _COLUMNS.items()
    }
    if lacking := [" or ".join(_COLUMNS[key]) for key in at if at[key] is None and key != "person"]:
        remedy = "columns: frame, person (optional), landmark, x and y (fractions) or x_px and y_px, visibility"
        raise BadFile(f"no column {', '.join(lacking)}", file=path, record="line 1", remedy=remedy)
    fractions = (at["x"].strip().lower(), at["y"].strip().lower()) == ("x", "y")
    if fractions and size_wh is None:
        remedy = "give the picture's size_wh, or columns x_px and y_px"
        raise BadParameter(
            "x and y are fractions of the picture, whose size is not known",
            file=path,
            remedy=remedy,
        )
    # left edge of pixel 0 is -0.5
    size, shift = (np.array(size_wh, float), 0.5) if fractions else (np.ones(2), 0.0)
    names = BLAZEPOSE if joints == COCO17 else joints
    people: dict[tuple[int, int], dict[str, tuple[int, dict]]] = {}
    for i, line in enumerate(table.lines, 2):
        where = {"file": path, "record": f"line {i}"}
        frame = _count(_cell(line, at["frame"], int, **where), "frame", **where)
        person = _cell(line, at["person"], int, **where) if at["person"] else 0
        name = line[at["joint"]].strip().lower()
        name = (
            names[int(name)]
            if re.fullmatch(r"[0-9]{1,3}", name) and int(name) < len(names)
            else name
        )
        if name not in names and name not in joints:
            raise BadRecord(
                f"{at['joint']} is {name[:40]!r}, a joint's name or number expected", **where
            )
        if name in people.setdefault((frame, person), {}):
            raise BadRecord(f"{name} of frame {frame}, person {person} stands twice", **where)
        people[frame, person][name] = i, line
    for (frame, person), found in people.items():
        if missing := [joint for joint in joints if joint not in found]:
            raise BadRecord(f"no {missing[0]}", file=path, record=f"frame {frame}, person {person}")
        keypoints = np.zeros((len(joints), 3))
        for j, joint in enumerate(joints):
            i, line = found[joint]
            cells = [at["x"], at["y"], at["confidence"]]
            # else the joint is missing
            if any(line[c].strip().lower() not in ("", "nan") for c in cells[:2]):
                keypoints[j] = [_cell(line, c, float, file=path, record=f"line {i}") for c in cells]
                keypoints[j, :2] = keypoints[j, :2] * size - shift

        def put(j, x, y, found=found, keypoints=keypoints):
            line = found[joints[j]][1]
            for column, value in zip((at["x"], at["y"]), (np.array((x, y)) + shift) / size):
                line[column] = repr(float(value))
            if not keypoints[j].any():
                line[at["confidence"]] = "0"

        if keypoints.any():
            yield Row(f"{frame}.{person}", keypoints.astype(np.float32), put, frame=frame)


# --- files ----------------------------------------------------------------------------------------


class Source(NamedTuple):
    """A parsed file, or folder of files, and which format it has."""

    format: str  # "coco", "mmpose" (a video), "pictures" (MMPose, a file each), "openpose" or "csv"
    documents: dict[Path, object]


def _json_format(content, path: Path) -> str:
    first = content[0] if type(content) is list and content else content
    if first is not content and type(first) is not dict:
        return "coco"  # whose reader names the record
    if type(first) is not dict or (
        first is content and not {"people", "instance_info"} & set(content)
    ):
        if content == []:
            raise BadFile("empty list", file=path, remedy="name the skeleton")
        remedy = "COCO results, MMPose and OpenPose files are known here; annotations are read by read_coco"
        raise BadFile(
            f"holds a {type(content).__name__}, a list of COCO results expected",
            file=path,
            remedy=remedy,
        )
    marks = {
        "people": "openpose",
        "instance_info": "mmpose",
        "instances": "mmpose",
        "keypoint_scores": "pictures",
    }
    return next((known for mark, known in marks.items() if mark in first), "coco")


def parse(path: str | Path, content: object = None, *, empty: bool = False) -> Source:
    """The content of a results file or folder, unchecked but for its format; `content` is the JSON
    if already parsed.

    A folder holds one JSON file a frame: OpenPose's, or MMPose's of single pictures. `empty` allows
    an empty list.
    """
    path = Path(path)
    if os.path.isdir(path):
        files = sorted(path.glob("*.json"))
        if not files:
            raise MissingFile(
                "no .json files in this folder", file=path, remedy="name the folder of the results"
            )
        documents = {file: read_json(file) for file in files}
        kinds = {
            file: "pictures" if c == [] else _json_format(c, file) for file, c in documents.items()
        }
        if other := [
            file
            for file in files
            if kinds[file] != kinds[files[0]] or kinds[file] in ("coco", "mmpose")
        ]:
            remedy = "name the one file that holds the whole video, or move other files away"
            raise BadFile(
                "a folder of one OpenPose or MMPose file a frame expected",
                file=other[0],
                remedy=remedy,
            )
        return Source(kinds[files[0]], documents)
    if path.suffix.lower() == ".csv":
        return Source("csv", {path: _read_table(path)})
    content = read_json(path) if content is None else content
    return Source(
        "coco" if empty and content == [] else _json_format(content, path), {path: content}
    )


def rows(
    source: Source, skeleton_name: str | None = None, size_wh: tuple[int, int] | None = None
) -> Iterator[Row]:
    """Every detected pose. skeleton_name: None leaves the number of joints to the file; size_wh:
    the pictures', px.
    """
    joints = skeleton(skeleton_name).joints if skeleton_name else None
    k, many = joints and len(joints), len(source.documents) > 1
    frames = set()
    for i, (path, content) in enumerate(source.documents.items()):
        match source.format:
            case "coco":
                found = _coco(content, path, k)
            case "mmpose" | "pictures":
                found = _mmpose(content, path, k, i)
            case "csv":
                found = _landmarks(content, path, joints or COCO17, size_wh)
            case "openpose":
                stated = _OPENPOSE_FILE.fullmatch(path.name)
                frame = int(stated[1][:12]) if stated else 0
                if (many and not stated) or frame in frames:
                    remedy = "names end in _000000000012_keypoints.json, one a frame"
                    raise BadFile(
                        "its name does not say which frame it is", file=path, remedy=remedy
                    )
                frames.add(frame)
                found = _openpose(content, path, frame)
        for row in found:
            k = k or len(row.keypoints)
            if len(row.keypoints) != k:
                raise BadRecord(
                    f"{len(row.keypoints)} joints, {k} expected", file=path, record=row.id
                )
            yield row


# --- writing --------------------------------------------------------------------------------------


def _plain(values: np.ndarray) -> list[float]:
    """Shortest decimals that read back as the same float32."""
    return [float(str(v)) for v in np.asarray(values, np.float32).ravel()]


def write_like(
    path: str | Path,
    prediction: Prediction,
    like: str | Path,
    size_wh: tuple[int, int] | None = None,
) -> Path:
    """The user's own results file (or folder) again, with nothing changed but the coordinates of
    replaced joints.

    Their confidences stay the detector's. `prediction.detections` are what was read from `like`;
    rows may be fewer.
    """
    path = Path(path)
    if path.resolve() == Path(like).resolve():
        raise BadParameter(
            "would write over the results it was made from", file=path, remedy="name another place"
        )
    source = parse(like, empty=True)
    places = {row.id: row.put for row in rows(source, prediction.skeleton, size_wh)}
    for ident, xy, replaced in zip(
        prediction.detections.ids, prediction.xy_frame, prediction.replaced
    ):
        for j in np.flatnonzero(replaced):
            places[ident](int(j), *_plain(xy[j]))
    for file, content in source.documents.items():
        target = path / file.name if os.path.isdir(like) else path
        if source.format == "csv":
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, content.columns)
            writer.writeheader()
            writer.writerows(content.lines)
            write_beside(
                target,
                lambda p, text=text: p.write_text(text.getvalue(), encoding="utf-8", newline=""),
            )
        else:
            write_beside(
                target,
                lambda p, content=content: p.write_text(json.dumps(content), encoding="utf-8"),
            )
    return path


def write_coco_results(path: str | Path, found: Detections) -> Path:
    """COCO results JSON, image_id = frame, with bbox xywh and track_id; `read_detections` reads
    it back.
    """
    out = []
    for i, keypoints in enumerate(
        np.concatenate((found.xy_frame, found.confidence[..., None]), -1)
    ):
        item = {
            "image_id": int(found.frames[i]) if found.frames is not None else found.images[i],
            "category_id": 1,
        }
        item |= {"keypoints": _plain(keypoints), "score": _plain(found.scores[i : i + 1])[0]}
        box = found.boxes_xyxy[i]
        if (box[2:] > box[:2]).all():
            item["bbox"] = _plain(np.concatenate((box[:2], box[2:] - box[:2])))
        if found.tracks is not None:
            item["track_id"] = int(found.tracks[i])
        out.append(item)
    return write_beside(Path(path), lambda p: p.write_text(json.dumps(out), encoding="utf-8"))


def write_table(path: str | Path, prediction: Prediction) -> Path:
    """One line a joint: frame, person, joint, x_px, y_px, confidence, replaced (0 or 1).
    `read_detections` reads it back.
    """
    found, joints = prediction.detections, skeleton(prediction.skeleton).joints
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("frame", "person", "joint", "x_px", "y_px", "confidence", "replaced"))
    for i, frame in enumerate(found.frames):
        keypoints = np.column_stack((prediction.xy_frame[i], prediction.confidence[i])).astype(
            np.float32
        )
        for joint, values, replaced in zip(joints, keypoints, prediction.replaced[i]):
            writer.writerow((frame, found.tracks[i], joint, *values, int(replaced)))
    return write_beside(
        Path(path), lambda p: p.write_text(text.getvalue(), encoding="utf-8", newline="")
    )
