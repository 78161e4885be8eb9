"""MMPose 1.x: predictions of a video, or of single pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...errors import BadFile, BadRecord
from ..checks import number, numbers
from ..readers import as_dict
from .rows import Document, Place, Row, count, length, list_of, points_of, track_of


def _used(document: Document, meta: object) -> list[int] | None:
    """Where the skeleton's joints stand, as meta_info names them; None where it does not."""
    names = as_dict(meta).get("keypoint_id2name")
    names = dict(enumerate(names)) if type(names) is list else as_dict(names)
    if not names:
        inverse = as_dict(as_dict(meta).get("keypoint_name2id"))
        names = {str(ident): name for name, ident in inverse.items()}
    if not names:
        return _unnamed(document, as_dict(meta).get("dataset_name"))
    ids = [int(key) for key in names if str(key).isdecimal()]
    if sorted(ids) not in ([*range(len(names))], [*range(1, len(names) + 1)]):
        raise BadRecord("keypoint_id2name does not count joints from 0", record="meta_info")
    return document.choose([str(name) for _, name in sorted(zip(ids, names.values()))])


def _unnamed(document: Document, dataset: object) -> None:
    """`BadRecord` for joints without names of another data set than COCO, unless their skeleton is
    stated.
    """
    if document.joints is None and type(dataset) is str and "coco" not in dataset.lower():
        raise BadRecord(
            f"joints of {dataset}, which are not named",
            record="meta_info",
            remedy="name their skeleton (--skeleton), or state keypoint_id2name",
        )


def _instance(document: Document, item: object, used: Sequence[int] | None) -> Row:
    """One instance; its place in the file is the caller's to tell."""
    n = length(item, "keypoints")
    if not n or not all(type(point) is list and len(point) == 2 for point in item["keypoints"]):
        raise BadRecord("keypoints is not a list of [x, y]", remedy="2D results are read")
    used = document.first_of(n) if used is None else used
    if max(used) >= n:
        raise BadRecord(f"keypoints has {n} joints, meta_info names more")
    xy, put = points_of(item, "keypoints", n, 2, used)
    confidence = numbers(item, "keypoint_scores", n)[list(used)]
    box = None
    if item.get("bbox") is not None:  # as MMPose writes it, in a list of its own
        box = numbers(item, "bbox", 4)
        if not (box[2:] > box[:2]).all():
            raise BadRecord(f"bbox {box.tolist()} has no area", remedy="xyxy in px expected")
    score = number(item, "bbox_score")
    track = track_of(item, "track_id")
    return Row("", np.column_stack((xy, confidence)), put, Place(), box, score, track)


def video_rows(document: Document) -> Iterator[Row]:
    """A video's entries of {frame_id, instances}.

    The inferencer counts frames from 0 and writes the list alone; the demo scripts count from 1 and
    wrap it. Both write every frame, also one without people.
    """
    ((path, entries),) = document.contents.items()
    meta = None
    if type(entries) is dict:
        meta, entries = entries.get("meta_info"), entries["instance_info"]
    if type(entries) is not list:
        raise BadFile(f"instance_info is {type(entries).__name__}, list expected", file=path)
    if entries and not any("instances" in as_dict(entry) for entry in entries):
        yield from _instances(document, path, entries, _used(document, meta), Place(path.stem), "0")
        return
    used, frames = _used(document, meta), set()
    for i, entry in enumerate(entries):
        place, instances = Place(), []
        with document.record(f"entry {i}", path):
            place = Place(number=count(as_dict(entry).get("frame_id"), "frame_id"))
            if place in frames:
                raise BadRecord(f"frame_id {place.number} stands twice")
            frames.add(place)
            document.seen.append(place)
            instances = list_of(entry, "instances")
        where = f"frame_id {place.number}, "
        yield from _instances(document, path, instances, used, place, str(i), where)


def picture_rows(document: Document) -> Iterator[Row]:
    """One list of instances a file, each of one picture; files are called as the pictures."""
    for i, (path, content) in enumerate(document.contents.items()):
        meta, instances = None, content
        if type(content) is dict:
            meta, instances = content.get("meta_info"), content["instance_info"]
        place = Place(path.stem)
        document.seen.append(place)
        if type(instances) is not list:
            raise BadFile(f"{type(instances).__name__}, a list of instances expected", file=path)
        yield from _instances(document, path, instances, _used(document, meta), place, str(i))


def _instances(document, path: Path, items, used, place: Place, ident: str, where: str = ""):
    for j, item in enumerate(items):
        row = None
        with document.record(f"{where}instance {j}", path):
            row = _instance(document, item, used)
        if row is not None:
            yield row._replace(id=f"{ident}.{j}", place=place)
