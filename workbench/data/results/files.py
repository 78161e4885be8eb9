"""Which format a results file or folder has, and its rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ...errors import BadFile, BadRecord, MissingFile, WorkbenchError
from ...skeletons import SKELETONS, skeleton
from ..readers import File, as_dict
from ..releases import named
from ..safe import read_json, safe_unpickle
from .batches import batch_rows, read_batches
from .coco import coco_rows, dataset_rows
from .deeplabcut import deeplabcut_rows, is_deeplabcut
from .dumps import dump_rows, is_dump
from .mmpose import picture_rows, video_rows
from .openpose import openpose_rows
from .rows import Document, Row
from .sleap import SUFFIXES as OF_SLEAP
from .sleap import read_sleap, sleap_rows
from .tables import read_table, table_rows
from .ultralytics import frame_rows, instance_rows, is_of_joints, line_rows, read_lines

# what is read: heat map peaks dip below 0 and rise above 1, percent and logits do not fit
CONFIDENCE = (-0.01, 10.0)

FORMATS: dict[str, Callable[[Document], Iterator[Row]]] = {
    "batches": batch_rows,
    "dump": dump_rows,
    "coco": coco_rows,
    "dataset": dataset_rows,
    "mmpose": video_rows,
    "pictures": picture_rows,  # a file each
    "openpose": openpose_rows,  # a file a frame
    "table": table_rows,
    "deeplabcut": deeplabcut_rows,
    "ultralytics": instance_rows,  # a file a picture
    "frames": frame_rows,  # a list a frame
    "yolo": line_rows,  # a file a frame
    "sleap": sleap_rows,
}
# a file each: where their names have no number, they are counted
OF_PICTURES = ("pictures", "ultralytics", "yolo")
# formats of which a file is a whole video
WHOLE = ("coco", "dataset", "mmpose", "frames")
ONLY_READ = ("batches", "dump", "sleap")
CELLS = ("table", "deeplabcut")  # whose content is lines of cells
LINES = ("yolo",)  # of words
# by a field of a JSON object, or of the first object of a list; other lists are COCO results
_MARKS = {
    (dict, "people"): "openpose",
    (dict, "annotations"): "dataset",
    (dict, "instance_info"): "mmpose",
    (list, "instances"): "mmpose",
    (list, "keypoint_scores"): "pictures",
    (list, "class"): "ultralytics",
}


_ELSEWHERE = {  # what to do with files of programs that can write others
    ".h5": "write a CSV (deeplabcut.analyze_videos_converth5_to_csv), or of SLEAP give the .slp",
}


def _json_format(content: object, path: Path) -> str:
    first = content
    if type(content) is list:
        first = content[0] if content else None
    for (kind, mark), name in _MARKS.items():
        if type(content) is kind and mark in as_dict(first):
            return name
    if type(content) is list:
        of_lists = bool(content) and all(type(item) is list for item in content)
        return "frames" if of_lists else "coco"
    raise BadFile(
        f"holds a {type(content).__name__}, a list of COCO results expected",
        file=path,
        remedy="give a detector's results: COCO's, MMPose's, OpenPose's or Ultralytics'",
    )


def _parse_folder(path: Path) -> tuple[str, dict[Path, object]]:
    """A folder holds one file a frame or picture: JSON of OpenPose, MMPose or Ultralytics, or lines
    of Ultralytics.
    """
    files = sorted(path.glob("*.json"))
    if not files and (texts := sorted(path.glob("*.txt"))):
        return "yolo", {file: read_lines(file) for file in texts}
    if not files:
        raise MissingFile(
            "no .json or .txt files in this folder", file=path, remedy="name the results' folder"
        )
    documents = {file: read_json(file) for file in files}
    # [] is of a picture without people
    formats = {file: _of_frame(file, held) for file, held in documents.items() if held != []}
    first = next(iter(formats.values()), "pictures")
    for file, name in formats.items():
        if name != first:
            raise _no_frame(file)
    return first, documents


def _of_frame(file: Path, content: object) -> str:
    """The format of a file a frame or picture; `BadFile` where it is a whole video's."""
    name = _json_format(content, file)
    if name == "mmpose" and _of_one_picture(content):
        return "pictures"
    if name in WHOLE:
        raise _no_frame(file)
    return name


def _no_frame(file: Path) -> BadFile:
    return BadFile(
        "a folder of one OpenPose, MMPose or Ultralytics file a frame expected",
        file=file,
        remedy="name the one file that holds the whole video, or move other files away",
    )


def _of_one_picture(content: object) -> bool:
    items = as_dict(content).get("instance_info")
    return type(items) is list and not any("instances" in as_dict(item) for item in items)


def parse(path: Path, content: object = None) -> tuple[str, dict[Path, object]]:
    """Which of `FORMATS` a results file or folder has, and the content of each file, unchecked.

    content: the JSON, if it has been parsed already.
    """
    if os.path.isdir(path):
        return _parse_folder(path)
    match path.suffix.lower():
        case ".pkl" | ".pickle":
            content = safe_unpickle(path)
            if is_dump(content):
                return "dump", {path: content}
            return "batches", {path: read_batches(path, content)}
        case ".npz":
            return "batches", {path: read_batches(path)}
        case ".csv":
            cells = read_table(path)
            return "deeplabcut" if is_deeplabcut(cells) else "table", {path: cells}
        case suffix if suffix in OF_SLEAP:
            return "sleap", {path: read_sleap(path)}
        case ".txt":
            return "yolo", {path: read_lines(path)}
        case ".json":
            content = read_json(path) if content is None else content
            return _json_format(content, path), {path: content}
        case suffix:
            raise BadFile(
                f"suffix {suffix!r} is none of .pkl, .pickle, .npz, .json, .csv, .txt, "
                f"{', '.join(OF_SLEAP)}",
                file=path,
                remedy=_ELSEWHERE.get(suffix, "rename or export"),
            )


def holds_results(file: File) -> bool:
    """Whether a file, or a folder most of whose files are such, has one of the formats that `parse`
    tells apart. Of a folder the first file that says something is looked at.
    """
    if file.ends(".csv", *OF_SLEAP) or type(file.pickled) is list:
        return True
    content = file.json
    try:
        if content is not None:
            return bool(_json_format(content, file.path))
        if file.mostly(".json"):
            return _holds_frames(file.path)
        return {"preds", "boxes"} <= {*file.arrays} or _holds_lines(file)
    except WorkbenchError:
        return False


def _holds_frames(folder: Path) -> bool:
    files = sorted(folder.glob("*.json"))
    contents = ((file, read_json(file)) for file in files)
    said = next((pair for pair in contents if pair[1] != []), None)
    return bool(files) and (said is None or bool(_of_frame(*said)))


def _holds_lines(file: File) -> bool:
    """Whether a text file, or a folder of such, holds Ultralytics' lines with joints."""
    names = [name for name in file.names if name.endswith(".txt")] if file.mostly(".txt") else []
    paths = [file.path] if file.ends(".txt") else [file.path / name for name in names]
    lines = next(filter(None, map(read_lines, paths)), [])
    return bool(lines) and is_of_joints(lines[0])


def skeletons_of(k: int) -> str:
    known = ", ".join(s.name for s in SKELETONS.values() if len(s) == k) or "none is known"
    return f"name a skeleton of {k} joints (--skeleton): {known}"


def rows_of(path: Path, joints: str | None, content: object = None) -> tuple[Document, list[Row]]:
    """Every detected pose of a file or folder that is not bad, and what was found on the way.

    joints: the skeleton's name, None leaves the joints to the file.
    """
    format, contents = parse(path, content)
    document = Document(path, format, contents, skeleton(joints) if joints else None)
    document.of_nothing = format == "coco" and not any(contents.values())
    document.counts_from = int(format == "mmpose" and type(*contents.values()) is dict)
    what = "bbox_id" if format == "batches" else "result"
    rows, k = [], len(document.joints) if document.joints else None
    with named(path):
        for row in FORMATS[format](document):
            k = k or len(row.keypoints)
            with document.record(f"{what} {row.id}"):
                check_row(row, k, joints)
                rows.append(row)
    return document, rows


def check_row(row: Row, k: int, joints: str | None) -> None:
    """`BadRecord` for another number of joints, or a confidence that cannot be one."""
    n = len(row.keypoints)
    if n != k:
        by = f" by {joints}" if joints else ""
        remedy = skeletons_of(n) if joints else None
        raise BadRecord(f"{n} joints, {k} expected{by}", remedy=remedy)
    low, high = CONFIDENCE
    confidence = row.keypoints[:, 2]
    outside = (confidence < low) | (confidence > high)
    if outside.any():
        joint = int(outside.argmax())
        raise BadRecord(
            f"confidence {confidence[joint]:g} of joint {joint} is outside [{low}, {high}]",
            remedy="export confidences from 0 to about 1",
        )
