"""COCO-style keypoint annotations (COCO, CrowdPose, PoseTrack, JHMDB, hand sets) into `Pose`, record by record.

Also the two doors that every reader of user files goes through: `read_bytes` and `read_json`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from ..errors import BadFile, BadParameter, BadRecord, EmptyFile, MissingFile, UnknownName
from ..records import Pose
from ..skeletons import skeleton as skeleton_by_name
from ..skeletons import skeleton_of_joints

MAX_FILE_BYTES = 2**30  # COCO train2017 keypoints take 240 MB


def read_bytes(path: str | Path) -> bytes:
    """A whole file. `MissingFile`, `EmptyFile`, or `BadFile` where it may not be read or is above `MAX_FILE_BYTES`."""
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path.is_file, no error for a name too long
        raise MissingFile("no such file", file=path, remedy="check the path")
    size = path.stat().st_size
    if not size:
        raise EmptyFile("zero bytes", file=path, remedy="get the file again")
    if size > MAX_FILE_BYTES:
        raise BadFile(f"{size} bytes, at most {MAX_FILE_BYTES} are read at once", file=path, remedy="split the file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFile(f"cannot be read: {error.strerror}", file=path, remedy="check its permissions") from None


def read_json(path: str | Path):
    """The content of a JSON file in UTF-8; `BadFile` for anything else. NaN and Infinity come as floats: check them."""
    raw = read_bytes(path)
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        at = error.start
        raise BadFile(
            f"not UTF-8: byte 0x{error.object[at]:02x} at offset {at}", file=path, remedy="save the file as UTF-8"
        ) from None
    except RecursionError:
        raise BadFile("not usable JSON: nested too deeply", file=path) from None
    except (ValueError, MemoryError) as error:  # JSONDecodeError, or an integer of thousands of digits
        raise BadFile(
            f"not JSON: {error or 'out of memory'}", file=path, remedy="get or export the file again"
        ) from None


def numbers(item: Mapping, key: str, n: int, **where) -> Float[np.ndarray, "n"]:
    """The n finite numbers under `key` (flat, or nested one level as in RHD) as float32; `BadRecord` otherwise."""
    values = item.get(key)
    if type(values) is not list:
        raise BadRecord(f"{key} is {'missing' if values is None else type(values).__name__}, list expected", **where)
    if n > 1 and values and all(type(v) is list for v in values):
        values = [number for row in values for number in row]
    if len(values) != n:
        raise BadRecord(f"{key} has length {len(values)} ({n} expected)", **where)
    if odd := [i for i, v in enumerate(values) if type(v) not in (int, float)]:
        raise BadRecord(f"{key}[{odd[0]}] is {type(values[odd[0]]).__name__}, number expected", **where)
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, np.float32)
    except OverflowError:
        array = np.full(n, np.inf, np.float32)
    if not np.isfinite(array).all():
        raise BadRecord(f"{key} has a value that is not finite at {int(np.argmin(np.isfinite(array)))}", **where)
    return array


def xyxy_from_xywh(box_xywh: Float[np.ndarray, "4"], **where) -> Float[np.ndarray, "4"]:
    """Corners of a box given by its corner, width and height, px; `BadRecord` where width or height is not positive, or
    not positive any more in float32.
    """
    for side, length in zip(("width", "height"), box_xywh[2:]):
        if length <= 0:
            raise BadRecord(f"bbox {side} <= 0: {length:g}", remedy="correct the box or drop the record", **where)
    x, y, width, height = box_xywh.astype(np.float64)
    with np.errstate(over="ignore"):
        box = np.array([x, y, x + width, y + height]).astype(np.float32)
    if not (np.isfinite(box).all() and (box[2:] > box[:2]).all()):
        raise BadRecord(f"bbox {box_xywh.tolist()} has no area, or none that float32 can hold", **where)
    return box


def identifier(item: Mapping, key: str, **where) -> int | str:
    """An integer or string that names something; `BadRecord` where it is missing or of another type."""
    if type(item.get(key)) not in (int, str):
        raise BadRecord(f"{key} is {type(item.get(key)).__name__}, an integer or string expected", **where)
    return item[key]


def _joints_of(categories, path: Path) -> str:
    stated = [c.get("keypoints") for c in categories if isinstance(c, dict) and c.get("keypoints")]
    if len(stated) != 1 or type(stated[0]) is not list:
        raise BadFile(
            f"{len(stated)} categories name keypoints, one expected",
            file=path,
            record="categories",
            remedy="name the skeleton explicitly",
        )
    try:  # "root (pelvis)" of Human3.6M conversions is the joint "root"
        return skeleton_of_joints([re.sub(r"\s*\(.*\)$", "", str(joint)) for joint in stated[0]]).name
    except UnknownName as error:
        raise UnknownName(error.problem, file=path, record="categories", remedy=error.remedy) from None


def _table(content, key: str, path: Path) -> list:
    if type(content) is not dict or type(content.get(key)) is not list:
        raise BadFile(
            f"no list of {key} at the top level",
            file=path,
            remedy="a COCO annotation file is an object with images, annotations, categories",
        )
    return content[key]


def _images(content, path: Path) -> dict[int | str, dict]:
    found = {}
    for i, image in enumerate(_table(content, "images", path)):
        where = {"file": path, "record": f"images[{i}]"}
        if type(image) is not dict or type(image.get("file_name")) is not str:
            raise BadRecord("an object with file_name expected", **where)
        key = identifier(image, "id", **where)
        if found.setdefault(key, image)["file_name"] != image["file_name"]:
            raise BadRecord(f"image id {key} stands for two files", **where)
    return found


def _check_picture(name: str, folder: Path, **where) -> None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise BadRecord(f"image {name!r} leaves the images folder", **where)
    if not os.path.isfile(folder / name):
        raise BadRecord(f"missing image {name}", remedy=f"put it into {folder}, or drop the record", **where)


def read_coco(
    path: str | Path,
    *,
    skeleton: str | None = None,
    images: str | Path | None = None,
    occlusion_known: bool = True,
    on_bad: str = "raise",
) -> tuple[Pose, list[BadRecord]]:
    """Annotated poses of a COCO-style file, and the records that were left out (empty unless `on_bad="report"`).

    skeleton: its name; None takes it from the category's joint names. RHD's files carry the Panoptic names in another
        order, so they need "hand21_rhd".
    images: the folder of the pictures, where each must exist; None looks for none.
    on_bad: "raise" at a bad record, or "report" it and keep the others.
    occlusion_known: False for sets whose flags say only "labelled" (PoseTrack, JHMDB, hands): labelled joints become 2.
    Coordinates px in the frame as stated, boxes xywh to xyxy; joints of flag 0 become (0, 0). Every annotation is kept,
    also crowds and persons without a labelled joint: `pose.select(pose.labelled.any(1))` leaves the others.
    Groups are the video id where images state one, else the picture.
    Errors: `BadRecord` with file and annotation id (`on_bad="raise"`: the first, with the count), `BadFile`,
    `EmptyFile`, `MissingFile`, `UnknownName`, `BadParameter`.
    """
    if on_bad not in ("raise", "report"):
        raise BadParameter(f"on_bad is {on_bad!r}, 'raise' or 'report' expected")
    path, folder = Path(path), None if images is None else Path(images)
    if folder and not os.path.isdir(folder):
        raise MissingFile("no such images folder", file=folder)
    content = read_json(path)
    annotations, pictures = _table(content, "annotations", path), _images(content, path)
    name = _joints_of(_table(content, "categories", path), path) if skeleton is None else skeleton
    k = len(skeleton_by_name(name))

    kept, bad = {}, []
    for i, annotation in enumerate(annotations):
        where = {"file": path, "record": f"annotations[{i}]"}
        try:
            if type(annotation) is not dict:
                raise BadRecord(f"{type(annotation).__name__}, object expected", **where)
            key = str(identifier(annotation, "id", **where))  # 7 and "7" would be one id of the pose
            where["record"] = f"annotation {key}"
            if key in kept:
                raise BadRecord("duplicate annotation id", remedy="keep one of them", **where)
            keypoints = numbers(annotation, "keypoints", 3 * k, **where).reshape(k, 3)
            if not np.isin(keypoints[:, 2], (0, 1, 2)).all():
                raise BadRecord(f"visibility flags {np.unique(keypoints[:, 2]).tolist()}, 0, 1, 2 expected", **where)
            box_xyxy = xyxy_from_xywh(numbers(annotation, "bbox", 4, **where), **where)
            picture = pictures.get(identifier(annotation, "image_id", **where))
            if picture is None:
                raise BadRecord(f"image id {annotation['image_id']} does not exist", **where)
            if folder:
                _check_picture(picture["file_name"], folder, **where)
            group = "file_name" if picture.get("vid_id") is None else "vid_id"
            kept[key] = keypoints, box_xyxy, picture["file_name"], str(identifier(picture, group, **where))
        except BadRecord as error:
            bad.append(error)
    if bad and on_bad == "raise":
        count = f"{len(bad)} of {len(annotations)} annotations are bad; on_bad='report' keeps the others"
        remedy = f"{bad[0].remedy}. {count}" if bad[0].remedy else count
        raise BadRecord(bad[0].problem, file=path, record=bad[0].record, remedy=remedy)

    keypoints, boxes, files, groups = zip(*kept.values()) if kept else ((), (), (), ())
    keypoints = np.array(keypoints, np.float32).reshape(-1, k, 3)
    flags = keypoints[:, :, 2]
    pose = Pose(
        skeleton=name,
        xy_frame=np.where(flags[:, :, None] > 0, keypoints[:, :, :2], 0),
        visibility=flags.astype(np.int8) if occlusion_known else 2 * (flags > 0).astype(np.int8),
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        occlusion_known=occlusion_known,
        ids=tuple(kept),
        images=files,
        groups=groups,
    )
    return pose, bad
