"""MMPose 1.x: what `--dump` writes, a pickle of one entry a picture, which is only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...errors import BadRecord
from ..checks import integral, numbers_of
from ..readers import as_dict
from .rows import Document, Place, Row


def is_dump(content: object) -> bool:
    return type(content) is list and bool(content) and "pred_instances" in as_dict(content[0])


def dump_rows(document: Document) -> Iterator[Row]:
    """A list of {img_path, img_id, pred_instances: {keypoints [n k 2], keypoint_scores [n k],
    bboxes [n 4], bbox_scores [n]}}; top-down models write an entry a person.
    """
    ((path, entries),) = document.contents.items()
    for i, entry in enumerate(entries):
        rows = []
        with document.record(f"entry {i}", path):
            place = _place(as_dict(entry))
            document.seen.append(place)
            rows = _people(document, as_dict(entry).get("pred_instances"))
        for j, row in enumerate(rows):
            yield row._replace(id=f"{i}.{j}", place=place)


def _place(entry: Mapping) -> Place:
    name, number = entry.get("img_path"), integral(entry.get("img_id"))
    if type(name) is str and name:
        return Place(name)
    if isinstance(number, int | np.integer) and 0 <= number < 2**63:
        return Place(number=int(number))
    raise BadRecord("neither img_path nor img_id")


def _people(document: Document, found: object) -> list[Row]:
    if type(found) is not dict:
        raise BadRecord(f"pred_instances is a {type(found).__name__}, a dict of arrays expected")
    stated = found.get("keypoints")
    if isinstance(stated, np.ndarray) and not stated.size:
        return []
    xy = numbers_of(stated, "keypoints", (None, None, 2))
    n, k = xy.shape[:2]
    confidence = numbers_of(found.get("keypoint_scores"), "keypoint_scores", (n, k))
    keypoints = np.concatenate((xy, confidence[..., None]), -1)[:, document.first_of(k)]
    boxes, scores = [None] * n, [None] * n
    if found.get("bboxes") is not None:
        boxes = numbers_of(found["bboxes"], "bboxes", (n, 4))
        if not (boxes[:, 2:] > boxes[:, :2]).all():
            raise BadRecord("bboxes have one without area", remedy="xyxy in px expected")
    if found.get("bbox_scores") is not None:
        scores = numbers_of(found["bbox_scores"], "bbox_scores", (n,)).tolist()
    return [Row("", keypoints[i], None, Place(), boxes[i], scores[i]) for i in range(n)]
