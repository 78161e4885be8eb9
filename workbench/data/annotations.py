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
from jaxtyping import Float

from ..errors import BadRecord, MissingFile, WorkbenchError
from ..geometry import box_of_points, enlarge
from ..records import Picture, Pose
from ..skeletons import skeleton
from .checks import FLOAT32_MAX, settle, xyxy_columns, xyxy_from_xywh

# sets whose flag 1 means occluded; elsewhere it means labelled
OCCLUSION_STATED = ("coco17", "crowdpose14")
# PoseTrack's boxes are its joints' extent times this (holds for the published files)
POSETRACK_BOX = 1.3


class Person(NamedTuple):
    """A person as a file states it, of the right shape and with finite numbers; px of the frame."""

    row: int  # where in the file
    id: str
    picture: str  # its id
    keypoints: Float[np.ndarray, "k 3"]  # x, y and flag; zeros where no joints are stated
    box_xywh: Float[np.ndarray, "4"] | None = None
    head_xyxy: Float[np.ndarray, "4"] | None = None
    area: float | None = None  # px^2
    crowd: bool = False
    num_keypoints: object = None  # as stated
    category: object = None  # as stated
    track_id: object = None  # as stated

    @property
    def counts(self) -> bool:
        """Whether evaluators look at this person: no crowd, with joints that are labelled."""
        labelled = bool(self.keypoints[:, 2].any())
        return labelled and not self.crowd and self.num_keypoints != 0


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
    people: Sequence[Person]
    n_people: int  # with the bad ones
    bad_pictures: Sequence[BadRecord] = ()
    bad_people: dict[int, BadRecord] = field(default_factory=dict)  # by row in the file
    notes: Sequence[BadRecord] = ()  # what is left out or incomplete, though nothing is damaged
    folder: Path | None = None  # in which the pictures must be; None: wherever they are


def ordered_corners(box_xyxy: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """A box whose corners may be exchanged, from the smaller coordinates to the larger ones."""
    return np.concatenate(
        [np.minimum(box_xyxy[:2], box_xyxy[2:]), np.maximum(box_xyxy[:2], box_xyxy[2:])]
    )


def check_place(name: str, folder: Path | None, **where) -> None:
    """`BadRecord` for a picture whose name leads out of the pictures' folder."""
    if folder is None:
        return
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise BadRecord(f"image {name!r} leaves the images folder", **where)


def poses_of(
    stated: Annotations, *, occlusion_known: bool | None, on_bad: str, keep_flat: bool = False
) -> tuple[Pose, list[Person], tuple[WorkbenchError, ...]]:
    """The poses of a file, the person of each, and the warnings; `on_bad` and errors as of
    `read_coco`.

    keep_flat: keep everybody whose box has no width or height, with a warning. Otherwise who counts
        for nothing is left out, and who counts is bad.
    """
    if stated.folder and not os.path.isdir(stated.folder):
        raise MissingFile("no such images folder", file=stated.folder)
    boxes, bad, notes = _boxes(stated, keep_flat)
    errors = [*stated.bad_pictures, *(bad[row] for row in sorted(bad))]
    n_pictures = len(stated.bad_pictures)
    what = "records" if n_pictures else "annotations"
    settle(errors, stated.n_people + n_pictures, what, on_bad, stated.file)
    sound = [person for person in stated.people if person.row in boxes]
    absent = _absent(stated, Counter(person.picture for person in sound))
    people = [person for person in sound if person.picture not in absent]
    poses = _poses(stated, people, [boxes[person.row] for person in people], occlusion_known)
    return poses, people, (*errors, *notes, *absent.values())


def _boxes(
    stated: Annotations, keep_flat: bool
) -> tuple[dict[int, Float[np.ndarray, "4"]], dict[int, BadRecord], list[BadRecord]]:
    """By row in the file the xyxy boxes of those who are sound, and what is wrong with the others;
    what is to be said of some.
    """
    people = stated.people
    unstated = np.zeros(4, np.float32)
    xywh = [unstated if person.box_xywh is None else person.box_xywh for person in people]
    xyxy, boxed = xyxy_columns(np.array(xywh).reshape(-1, 4))
    k = len(skeleton(stated.skeleton))
    flags = np.array([person.keypoints[:, 2] for person in people]).reshape(-1, k)
    flagged = ((flags == 0) | (flags == 1) | (flags == 2)).all(1)
    boxes, bad, notes = {}, dict(stated.bad_people), list(stated.notes)
    for person, box, has_area, flags_known in zip(people, xyxy, boxed, flagged):
        listed = person.picture in stated.pictures
        if flags_known and has_area and listed:
            boxes[person.row] = box
            continue
        where = {"file": stated.file, "record": f"annotation {person.id}"}
        try:
            if not flags_known:
                values = np.unique(person.keypoints[:, 2]).tolist()
                raise BadRecord(f"visibility flags {values}, 0, 1, 2 expected", **where)
            if not has_area:
                box, note = _odd_box(person, keep_flat, **where)
                notes += [note] if note else []
            if box is not None and not listed:
                raise BadRecord(f"image id {person.picture} does not exist, or is bad", **where)
            if box is not None:
                boxes[person.row] = box
        except BadRecord as error:
            bad[person.row] = error
    return boxes, bad, notes


def _odd_box(
    person: Person, keep_flat: bool, **where
) -> tuple[Float[np.ndarray, "4"] | None, BadRecord | None]:
    """The xyxy box of a person who states none or one of no area, None where the person is left
    out; and what is to be said of it. `BadRecord` for the box of a person who counts.
    """
    xywh = person.box_xywh
    if xywh is None:
        extent = box_of_points(person.keypoints[:, :2], person.keypoints.any(1))
        if (extent[2:] > extent[:2]).all():
            return np.clip(enlarge(extent, POSETRACK_BOX), -FLOAT32_MAX, FLOAT32_MAX), None
        return None, BadRecord("neither a box nor joints enough to draw one", **where)
    flat = bool(xywh[2:].min() == 0 and (keep_flat or not person.counts))
    box = xyxy_from_xywh(xywh, flat, **where)
    if not flat:
        return box, None
    problem = f"bbox {xywh.tolist()} has no area, the person is "
    problem += "kept" if keep_flat else "left out"
    return box if keep_flat else None, BadRecord(problem, remedy="correct the box", **where)


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
    people: Sequence[Person],
    boxes: Sequence[Float[np.ndarray, "4"]],
    occlusion_known: bool | None,
) -> Pose:
    name = stated.skeleton
    known = name in OCCLUSION_STATED if occlusion_known is None else occlusion_known
    keypoints = np.array([person.keypoints for person in people], np.float32)
    keypoints = keypoints.reshape(-1, len(skeleton(name)), 3)
    flags = keypoints[:, :, 2].astype(np.int8)
    if name.startswith("posetrack"):  # poseval: labelled is whatever is not 0, 0, 0
        flags = keypoints.any(2) * (1 + (flags > 0)).astype(np.int8)
    pictures = [stated.pictures[person.picture] for person in people]
    areas = [person.area for person in people]
    heads = [np.zeros(4) if p.head_xyxy is None else p.head_xyxy for p in people]
    return Pose(
        skeleton=name,
        xy_frame=np.where(flags[:, :, None] > 0, keypoints[:, :, :2], 0),
        visibility=flags if known else 2 * (flags > 0).astype(np.int8),
        boxes_xyxy=np.reshape(boxes, (-1, 4)),
        occlusion_known=known,
        ids=tuple(person.id for person in people),
        images=tuple(listed.picture.name for listed in pictures),
        groups=tuple(listed.group for listed in pictures),
        areas=None if None in areas else areas,
        crowd=[person.crowd for person in people],
        head_boxes_xyxy=heads if np.any(heads) else None,
    )
