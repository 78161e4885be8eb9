"""COCO results, and what AlphaPose and OpenPose write in their layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...errors import BadRecord
from ..checks import image_id, numbers, xyxy_from_xywh
from ..readers import as_dict
from .rows import Document, Place, Row, n_joints, points_of, track_of

# who a person is: COCO's and AlphaPose's words
TRACKS = ("track_id", "idx")


def _place(result: Mapping) -> Place:
    """image_id is a number, also as text, or a picture's name."""
    text = image_id(result)
    negative = text.removeprefix("-").isdecimal()
    return Place(number=int(text)) if negative and len(text) < 20 else Place(text)


def _box(result: Mapping):
    """bbox, or AlphaPose's box, both xywh."""
    key = next((key for key in ("bbox", "box") if result.get(key) not in (None, [])), None)
    return None if key is None else xyxy_from_xywh(numbers(result, key, 4))


def coco_rows(document: Document) -> Iterator[Row]:
    (content,) = document.contents.values()
    k = None
    for i, result in enumerate(content):
        row = None
        with document.record(f"result {i}"):
            result = as_dict(result)
            n = n_joints(result, "keypoints", 3)
            if k is None:
                used = document.first_of(n or 1)
                longer = len(used) < n
                asked = document.joints and len(document.joints)
                k = n if longer else asked or n or 1
                used = used if longer else [*range(k)]
            keypoints, put = points_of(result, "keypoints", k, 3, used)
            score = numbers({"score": [result.get("score")]}, "score", 1)[0]
            place = _place(result)
            row = Row(
                str(i),
                keypoints,
                put,
                place,
                _box(result),
                float(score),
                track_of(result, *TRACKS),
            )
            document.seen.append(place)
        if row is not None:
            yield row


def check_results(content: list) -> None:
    """`BadRecord` for a list of something else."""
    if content and type(content[0]) is not dict:
        raise BadRecord(f"a list of {type(content[0]).__name__}, COCO results expected")
