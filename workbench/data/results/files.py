"""Which format a results file or folder has, and its rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ...errors import BadFile, BadRecord, MissingFile
from ...skeletons import SKELETONS, skeleton
from ..readers import as_dict
from ..releases import named
from ..safe import read_json
from .batches import batch_rows, read_batches
from .coco import coco_rows
from .mmpose import picture_rows, video_rows
from .openpose import openpose_rows
from .rows import Document, Row
from .tables import read_table, table_rows

# what a file without joint names most often means
USUAL_SKELETON = {14: "crowdpose14", 17: "coco17", 21: "hand21"}

# what is read: heat map peaks dip below 0 and rise above 1, percent and logits do not fit
CONFIDENCE = (-0.01, 10.0)

FORMATS: dict[str, Callable[[Document], Iterator[Row]]] = {
    "batches": batch_rows,
    "coco": coco_rows,
    "mmpose": video_rows,
    "pictures": picture_rows,  # a file each
    "openpose": openpose_rows,  # a file a frame
    "table": table_rows,
}
ONLY_READ = ("batches",)
# by a field of a JSON object, or of the first object of a list; other lists are COCO results
_MARKS = {
    (dict, "people"): "openpose",
    (dict, "instance_info"): "mmpose",
    (list, "instances"): "mmpose",
    (list, "keypoint_scores"): "pictures",
}


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
        if name == "mmpose" and _of_one_picture(content):
            name = "pictures"
        first = first or name
        if name != first or name in ("coco", "mmpose"):
            raise BadFile(
                "a folder of one OpenPose or MMPose file a frame expected",
                file=file,
                remedy="name the one file that holds the whole video, or move other files away",
            )
    return first, documents


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
        case ".pkl" | ".pickle" | ".npz":
            return "batches", {path: read_batches(path)}
        case ".csv":
            return "table", {path: read_table(path)}
        case ".json":
            content = read_json(path) if content is None else content
            return _json_format(content, path), {path: content}
        case suffix:
            raise BadFile(
                f"suffix {suffix!r} is none of .pkl, .pickle, .npz, .json, .csv",
                file=path,
                remedy="rename or export",
            )


def skeletons_of(k: int) -> str:
    known = ", ".join(s.name for s in SKELETONS.values() if len(s) == k) or "none is known"
    return f"name a skeleton of {k} joints: {known}"


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
