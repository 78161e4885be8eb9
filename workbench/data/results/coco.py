"""COCO results, and what AlphaPose and OpenPose write in their layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...errors import BadRecord
from ..checks import checked, image_id, name_or_number, numbers, xyxy_from_xywh
from ..readers import as_dict
from .rows import (
    VIDEO_KEYS,
    Document,
    Place,
    Row,
    check_one_video,
    n_joints,
    points_of,
    track_of,
)

# who a person is: COCO's, AlphaPose's and CocoVID's words
TRACKS = ("track_id", "idx", "instance_id")


def _track(result: Mapping) -> int | str | None:
    who = track_of(result, *TRACKS)
    return track_of(as_dict(result.get("attributes")), "track_id") if who is None else who


def _are_named(content: Sequence) -> bool:
    """Whether every image has a file_name of its own, which then says what image_id only counts."""
    results = [as_dict(result) for result in content]
    names = {str(result["file_name"]) for result in results if result.get("file_name")}
    images = {str(result.get("image_id")) for result in results}
    return bool(names) and len(names) >= len(images)


def _place(result: Mapping, named: bool) -> Place:
    """image_id is a number, also as text, or a picture's name, unless that is `named`."""
    if named:
        return Place(checked(name_or_number, result.get("file_name"), "file_name"))
    text = image_id(result)
    negative = text.removeprefix("-").isdecimal()
    return Place(number=int(text)) if negative and len(text) < 20 else Place(text)


def _box(result: Mapping):
    """bbox, or AlphaPose's box, both xywh."""
    key = next((key for key in ("bbox", "box") if result.get(key) not in (None, [])), None)
    return None if key is None else xyxy_from_xywh(numbers(result, key, 4))


def coco_rows(document: Document) -> Iterator[Row]:
    (content,) = document.contents.values()
    k, named = None, _are_named(content)
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
            place = _place(result, named)
            row = Row(
                str(i),
                keypoints,
                put,
                place,
                _box(result),
                float(score),
                _track(result),
            )
            document.seen.append(place)
        if row is not None:
            yield row
    _check_fields(document, [*map(as_dict, content)])


def _check_fields(document: Document, results: Sequence[Mapping]) -> None:
    """What fields say that are not read."""
    if any(place.number is not None for place in document.seen):
        for key in VIDEO_KEYS:
            check_one_video(key, [r[key] for r in results if r.get(key) is not None])
    if any(r.get("person_id") is not None for r in results) and not any(map(_track, results)):
        document.notes.append("person_id is left unread: call it track_id, if it says who is who")


def check_results(content: list) -> None:
    """`BadRecord` for a list of something else."""
    if content and type(content[0]) is not dict:
        raise BadRecord(f"a list of {type(content[0]).__name__}, COCO results expected")
