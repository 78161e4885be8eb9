"""People and pictures as files of annotations state them, whatever the format, and the poses that
they become.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from ..errors import BadRecord, MissingFile, WorkbenchError
from ..geometry import box_of_points, enlarge
from ..records import Picture, Pose
from .checks import FLOAT32_MAX, collected, placed, settle, xyxy_columns, xyxy_from_xywh

# sets whose flag 1 means occluded; elsewhere it means labelled
OCCLUSION_STATED = ("coco17", "crowdpose14")
# of these, those in whose joints many programs write 1 for whatever is labelled
OCCLUSION_DOUBTED = ("coco17",)
OUTSIDE = 0.25  # of a box is in its picture at least, where it is no error; ours
# PoseTrack's boxes are its joints' extent times this (holds for the published files)
POSETRACK_BOX = 1.3


class People(NamedTuple):
    """n people as a file states them, in columns of the right shape and with finite numbers; px of
    the frame.
    """

    rows: Int[np.ndarray, "n"]  # where in the file
    ids: Shaped[np.ndarray, "n"]  # text
    pictures: Shaped[np.ndarray, "n"]  # their ids
    keypoints: Float[np.ndarray, "n k 3"]  # x, y and flag; zeros where no joints are stated
    boxes_xywh: Float[np.ndarray, "n 4"]  # NaN where none is stated
    heads_xyxy: Float[np.ndarray, "n 4"]  # zeros where none is stated
    areas: Shaped[np.ndarray, "n"]  # px^2, or None
    crowd: Shaped[np.ndarray, "n"]
    num_keypoints: Shaped[np.ndarray, "n"]  # as stated, and so are the others
    categories: Shaped[np.ndarray, "n"]
    track_ids: Shaped[np.ndarray, "n"]

    def select(self, rows: Bool[np.ndarray, "n"] | Int[np.ndarray, "m"]) -> People:
        return People(*(values[rows] for values in self))


def column(values: Sequence) -> Shaped[np.ndarray, "n"]:
    """An array of whatever objects."""
    return np.fromiter(values, object, len(values))


class ListedPicture(NamedTuple):
    """A picture that a file lists."""

    picture: Picture
    group: str  # video or picture; a split never divides a group
    n_frames: object = None  # of its video, as stated


@dataclass(frozen=True)
class Annotations:
    """What a file states, before it becomes arrays."""

    file: Path
    skeleton: str
    pictures: dict[str, ListedPicture]  # by id
    people: People
    n_people: int  # with the bad ones
    bad_pictures: dict[int, BadRecord] = field(default_factory=dict)  # by place in the file
    bad_people: dict[int, BadRecord] = field(default_factory=dict)  # by row in the file
    notes: Sequence[BadRecord] = ()  # what is left out or incomplete, though nothing is damaged
    folder: Path | None = None  # in which the pictures must be; None: wherever they are


def check_place(name: str, folder: Path | None) -> None:
    """`BadRecord` for a picture whose name leads out of the pictures' folder."""
    if folder is None:
        return
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise BadRecord(f"image {name!r} leaves the images folder")


def poses_of(
    stated: Annotations, *, occlusion_known: bool | None, on_bad: str, keep_flat: bool = False
) -> tuple[Pose, People, tuple[WorkbenchError, ...]]:
    """The poses of a file, the people whose they are, and the warnings; `on_bad` and errors as of
    `read_coco`.

    occlusion_known: None decides by the skeleton, and by the flags where all labelled joints have
        flag 1 in a set of `OCCLUSION_DOUBTED`: they then say nothing, with a warning.
    keep_flat: keep everybody whose box has no width or height, with a warning. Otherwise who counts
        for nothing is left out, and who counts is bad.
    """
    if stated.folder and not os.path.isdir(stated.folder):
        raise MissingFile("no such images folder", file=stated.folder)
    people = stated.people
    boxes, boxed = xyxy_columns(people.boxes_xywh)
    flagged = np.isin(people.keypoints[:, :, 2], (0, 1, 2)).all(1)
    listed = np.array([key in stated.pictures for key in people.pictures], bool)
    sound = flagged & boxed & listed
    bad, notes = dict(stated.bad_people), list(stated.notes)
    for i in np.flatnonzero(~sound).tolist():
        record = f"annotation {people.ids[i]}"
        with collected(bad, int(people.rows[i]), stated.file, record):
            if not flagged[i]:
                values = np.unique(people.keypoints[i, :, 2]).tolist()
                remedy = (
                    "state x, y and a flag of each joint; predictions, which state confidences, "
                )
                remedy += "are for score and predict"
                raise BadRecord(f"visibility flags {values}, 0, 1, 2 expected", remedy=remedy)
            if not boxed[i]:
                box, note = _odd_box(people, i, keep_flat)
                notes += [placed(note, stated.file, record)] if note else []
                if box is None:
                    continue
                boxes[i] = box
            if not listed[i]:
                raise BadRecord(f"image id {people.pictures[i]} does not exist, or is bad")
            sound[i] = True
    errors = [*stated.bad_pictures.values(), *(bad[row] for row in sorted(bad))]
    n_pictures = len(stated.bad_pictures)
    what = "records" if n_pictures else "annotations"
    settle(errors, stated.n_people + n_pictures, what, on_bad, stated.file)
    absent = _absent(stated, Counter(people.pictures[sound]))
    sound &= np.array([key not in absent for key in people.pictures], bool)
    if occlusion_known is None:
        occlusion_known = stated.skeleton in OCCLUSION_STATED
        if doubts := _doubts(stated):
            occlusion_known = False
            notes += doubts
    people, boxes = people.select(sound), boxes[sound]
    notes += _outside(stated, people, boxes)
    poses = _poses(stated, people, boxes, occlusion_known)
    return poses, people, (*errors, *notes, *absent.values())


def _doubts(stated: Annotations) -> list[BadRecord]:
    """A warning where flag 1 may mean labelled, because no joint of the whole file has flag 2."""
    flags = stated.people.keypoints[:, :, 2]
    if stated.skeleton not in OCCLUSION_DOUBTED or not (flags > 0).any() or (flags == 2).any():
        return []
    problem = "no joint has flag 2, so that 1 may mean labelled: nothing is split by visibility"
    return [BadRecord(problem, file=stated.file, remedy="give the joints that are seen flag 2")]


def _outside(
    stated: Annotations, people: People, boxes: Float[np.ndarray, "n 4"]
) -> list[BadRecord]:
    """A warning about boxes of which less than `OUTSIDE` lies in a picture that states its size."""
    sizes = [stated.pictures[key].picture.size_wh or (np.inf, np.inf) for key in people.pictures]
    stated_size = np.array(sizes, np.float64).reshape(-1, 2)
    low, high = np.split(boxes.astype(np.float64), 2, axis=1)
    bounded = np.isfinite(stated_size).all(1)
    sides = np.clip(high, 0, stated_size) - np.clip(low, 0, stated_size)
    out = bounded & (sides.prod(1) < OUTSIDE * (high - low).prod(1))
    problem = f"{out.sum()} people have a box that lies mostly outside its picture"
    remedy = "state bbox as x, y, width, height in px of the picture whose size is stated"
    return [
        BadRecord(problem, file=stated.file, record=f"annotation {people.ids[i]}", remedy=remedy)
        for i in np.flatnonzero(out)[:1]
    ]


def _odd_box(
    people: People, i: int, keep_flat: bool
) -> tuple[Float[np.ndarray, "4"] | None, BadRecord | None]:
    """The xyxy box of a person who states none or one of no area, None where the person is left
    out; and what is to be said of it. `BadRecord` for the box of a person who counts: no crowd,
    with joints that are labelled.
    """
    xywh, keypoints = people.boxes_xywh[i], people.keypoints[i]
    if np.isnan(xywh).any():
        extent = box_of_points(keypoints[:, :2], keypoints.any(1))
        if (extent[2:] > extent[:2]).all():
            return np.clip(enlarge(extent, POSETRACK_BOX), -FLOAT32_MAX, FLOAT32_MAX), None
        return None, BadRecord("neither a box nor joints enough to draw one")
    counts = keypoints[:, 2].any() and not people.crowd[i] and people.num_keypoints[i] != 0
    flat = bool(xywh[2:].min() == 0 and (keep_flat or not counts))
    box = xyxy_from_xywh(xywh, flat)
    if not flat:
        return box, None
    problem = f"bbox {xywh.tolist()} has no area, the person is "
    problem += "kept" if keep_flat else "left out"
    return box if keep_flat else None, BadRecord(problem, remedy="correct the box")


def _absent(stated: Annotations, n_people: Counter[str]) -> dict[str, MissingFile]:
    """A warning for each picture that is not in the folder, by its id."""
    if stated.folder is None:
        return {}
    names = {key: listed.picture.name for key, listed in stated.pictures.items()}
    lost = [key for key, name in names.items() if not os.path.isfile(stated.folder / name)]
    count = f"({len(lost)} of {len(names)} images are missing)"
    return {
        key: MissingFile(
            f"missing image {names[key]}, {n_people[key]} poses left out {count}",
            file=stated.file,
            record=f"image {key}",
            remedy=f"put it into {stated.folder}",
        )
        for key in lost
    }


def _poses(
    stated: Annotations,
    people: People,
    boxes: Float[np.ndarray, "n 4"],
    occlusion_known: bool,
) -> Pose:
    name = stated.skeleton
    flags = people.keypoints[:, :, 2].astype(np.int8)
    if name.startswith("posetrack"):  # poseval: labelled is whatever is not 0, 0, 0
        flags = people.keypoints.any(2) * (1 + (flags > 0)).astype(np.int8)
    pictures = [stated.pictures[key] for key in people.pictures]
    return Pose(
        skeleton=name,
        xy_frame=np.where(flags[:, :, None] > 0, people.keypoints[:, :, :2], 0),
        visibility=flags if occlusion_known else 2 * (flags > 0).astype(np.int8),
        boxes_xyxy=boxes,
        occlusion_known=occlusion_known,
        ids=people.ids,
        images=tuple(listed.picture.name for listed in pictures),
        groups=tuple(listed.group for listed in pictures),
        areas=None if None in people.areas else people.areas,
        crowd=people.crowd,
        head_boxes_xyxy=people.heads_xyxy if people.heads_xyxy.any() else None,
    )
