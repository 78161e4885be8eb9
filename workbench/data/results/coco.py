"""COCO results, and what AlphaPose and OpenPose write in their layout; data sets in COCO's layout
whose annotations are predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from ...errors import BadFile, BadRecord
from ..checks import (
    checked,
    image_id,
    integral,
    name_or_number,
    numbers,
    table,
    xyxy_from_xywh,
)
from ..coco import bones_of
from ..readers import as_dict
from .rows import (
    VIDEO_KEYS,
    Document,
    Place,
    Row,
    check_one_video,
    length,
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


# --- data sets ------------------------------------------------------------------------------------


def dataset_rows(document: Document) -> Iterator[Row]:
    """{images, annotations, categories}: images name the pictures, categories the joints.

    A joint's confidence is its third number, or stands in `scores` (PoseTrack). Where all third
    numbers are flags (0, 1, 2), labelled joints count as seen, and annotations without a score are
    ground truth: `BadFile`.
    """
    ((path, content),) = document.contents.items()
    annotations = table(content, "annotations", path)
    posed = [a for a in map(as_dict, annotations) if a.get("keypoints")]
    flags = not any(_beyond_flags(a) or a.get("scores") for a in posed)
    if posed and flags and all(a.get("score") is None for a in posed):
        raise BadFile(
            "annotations without scores whose joints have flags (0, 1, 2): these are ground truth, "
            "no predictions",
            remedy="give a detector's results; `workbench score` and `workbench propagate` take "
            "ground truth (--truth, --labels)",
        )
    if len(posed) < len(annotations):
        document.note(f"{len(annotations) - len(posed)} annotations without keypoints are left out")
    if posed and flags:
        document.note("third numbers of joints are flags: every joint above 0 counts as seen")
    pictures = _pictures(document, content)
    n, used = _joints(document, content, posed)
    for i, annotation in enumerate(annotations):
        if not as_dict(annotation).get("keypoints"):
            continue
        row = None
        with document.record(f"annotation {annotation.get('id', i)}"):
            row = _annotated(annotation, n, used, flags, pictures)
        if row is not None:
            yield row._replace(id=str(i))


def are_predictions(content: Mapping) -> bool:
    """Whether annotations of a data set state scores, and confidences in the place of flags."""
    annotations = content.get("annotations")
    scored = [
        annotation
        for annotation in map(as_dict, annotations if type(annotations) is list else ())
        if annotation.get("score") is not None and length(annotation, "keypoints")
    ]
    return any(map(_beyond_flags, scored))


def _beyond_flags(annotation: Mapping) -> bool:
    """Whether a third number is none of 0, 1, 2."""
    values = annotation["keypoints"]
    if type(values) is list and all(type(point) is list for point in values):
        values = [*chain.from_iterable(values)]
    return type(values) is not list or any(value not in (0, 1, 2) for value in values[2::3])


def _pictures(document: Document, content: Mapping) -> dict[str, Place]:
    """The place of each image by its id: its name, or where it has none its id."""
    places = {}
    for i, image in enumerate(content["images"] if type(content.get("images")) is list else []):
        with document.record(f"image {i}"):
            image = as_dict(image)
            place = _place({"image_id": image.get("id")}, False)
            ident = image_id({"image_id": image.get("id")})
            name = image.get("file_name")
            if ident in places:
                raise BadRecord(f"id {ident} stands twice", remedy="give images ids of their own")
            places[ident] = Place(name) if type(name) is str and name else place
    document.seen += places.values()
    return places


def _joints(document: Document, content: Mapping, posed: Sequence) -> tuple[int, list[int]]:
    """How many joints an annotation has, and where the skeleton's stand."""
    listed = content.get("categories")
    listed = map(as_dict, listed if type(listed) is list else [])
    wanted = {str(integral(annotation.get("category_id"))) for annotation in posed}
    listed = [c for c in listed if str(integral(c.get("id"))) in wanted]
    named = [c["keypoints"] for c in listed if length(c, "keypoints")]
    if len(named) > 1 and any(names != named[0] for names in named):
        raise BadFile(
            f"{len(named)} categories name different keypoints",
            record="categories",
            remedy="keep the annotations of one category in the file",
        )
    if named:
        bones = bones_of(next(c for c in listed if length(c, "keypoints")))
        return len(named[0]), document.choose([str(name) for name in named[0]], bones)
    n = n_joints(posed[0], "keypoints", 3) if posed else 0
    return n, document.first_of(n)


def _annotated(annotation: Mapping, n: int, used: Sequence[int], flags: bool, pictures) -> Row:
    keypoints, put = points_of(annotation, "keypoints", n, 3, used)
    if flags:
        keypoints[:, 2] = keypoints[:, 2] > 0
    elif annotation.get("scores"):
        scores = numbers(annotation, "scores", n)[list(used)]
        keypoints[:, 2] = np.where(keypoints[:, :2].any(1), scores, 0)
    ident = image_id(annotation)
    if ident not in pictures:
        raise BadRecord(f"image_id {ident[:40]} is no image's id")
    score = annotation.get("score")
    score = None if score is None else float(numbers({"score": [score]}, "score", 1)[0])
    return Row("", keypoints, put, pictures[ident], _box(annotation), score, _track(annotation))
