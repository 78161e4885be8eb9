"""OpenPose: a folder of one JSON file a frame, or a single one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import BadFile, BadRecord
from .rows import Document, Place, Row, length, list_of, points_of, track_of

KEY = "pose_keypoints_2d"
# where coco17's joints stand in COCO-18 and BODY_25
JOINTS = {
    18: (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10),
    25: (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11),
}
# of one video, frames from 0 in twelve digits; of several, or of pictures, the picture's name
_VIDEO = re.compile(r"(.*_)?(\d{12})_keypoints\.json")
_FILE = re.compile(r"(.+)_keypoints\.json")


def _places(document: Document) -> list[Place]:
    """The frame or the picture that each file is."""
    paths, places = list(document.contents), []
    of_video = all(_VIDEO.fullmatch(path.name) for path in paths)
    of_video = of_video and len({_VIDEO.fullmatch(path.name)[1] for path in paths}) == 1
    for path in paths:
        name = _FILE.fullmatch(path.name)
        if of_video:
            place = Place(number=int(_VIDEO.fullmatch(path.name)[2]))
        elif name:
            place = Place(name[1])
        elif len(paths) == 1:
            place = Place(path.stem)
        else:
            raise BadFile(
                "its name does not say which frame it is",
                file=path,
                remedy="names end in _000000000012_keypoints.json, or are PICTURE_keypoints.json",
            )
        places.append(place)
    return places


def _person(document: Document, person: object, path: Path, i: int, place: Place) -> Row:
    n = length(person, KEY) // 3
    if n not in JOINTS:
        raise BadRecord(
            f"{KEY} has {n} joints, 25 or 18 expected",
            remedy="run OpenPose with the BODY_25 or COCO model",
        )
    keypoints, put = points_of(person, KEY, n, 3, JOINTS[n])
    known = keypoints[:, 2] > 0
    if known.sum() > 1 and (np.abs(keypoints[known, :2]) <= 1).all():
        raise BadRecord(
            "all coordinates lie between -1 and 1: they are not px",
            remedy="run OpenPose with --keypoint_scale 0, which gives px",
        )
    track = None
    if length(person, "person_id") == 1 and person["person_id"] != [-1]:  # nobody is tracked
        track = track_of(person, "person_id")
    return Row(f"{path.name}.{i}", keypoints, put, place, track=track)


def openpose_rows(document: Document) -> Iterator[Row]:
    for (path, content), place in zip(document.contents.items(), _places(document)):
        document.seen.append(place)
        people = []
        with document.record("top level", path):
            people = list_of(content, "people")
        for i, person in enumerate(people):
            row = None
            with document.record(f"person {i}", path):
                row = _person(document, person, path, i, place)
            if row is not None:
                yield row
