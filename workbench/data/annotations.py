"""People and pictures as files of annotations state them, whatever the format, and the poses that
they become.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

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


@dataclass(frozen=True, slots=True)
class Person:
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


@dataclass(frozen=True)
class ListedPicture:
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
    place = PurePosixPath(name)
    if folder and (place.is_absolute() or ".." in place.parts):
        raise BadRecord(f"image {name!r} leaves the images folder", **where)


def box_as_stated(
    person: Person, *, keep_flat: bool, **where
) -> tuple[Float[np.ndarray, "4"] | None, BadRecord | None]:
    """The xyxy box of a person whose box is not simply one, None where the person is left out; and
    what is to be said of it. `BadRecord` for a box of no area of a person who counts.
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


def poses_of(
    stated: Annotations,
    *,
    occlusion_known: bool | None,
    on_bad: str,
    keep_flat: bool = False,
) -> tuple[Pose, list[Person], tuple[WorkbenchError, ...]]:
    """The poses of a file, the person of each, and the warnings; `on_bad` and errors as of
    `read_coco`.

    keep_flat: keep everybody whose box has no width or height, with a warning. Otherwise who counts
        for nothing is left out, and who counts is bad.
    """
    if stated.folder and not os.path.isdir(stated.folder):
        raise MissingFile("no such images folder", file=stated.folder)
    people = stated.people
    k = len(skeleton(stated.skeleton))
    keypoints = np.array([person.keypoints for person in people]).reshape(-1, k, 3)
    unstated = np.zeros(4, np.float32)
    xywh = [unstated if person.box_xywh is None else person.box_xywh for person in people]
    boxes, boxed = xyxy_columns(np.array(xywh).reshape(-1, 4))
    known_flags = np.isin(keypoints[:, :, 2], (0, 1, 2)).all(1)
    listed = np.array([p.picture in stated.pictures for p in people], bool)

    bad, notes = dict(stated.bad_people), list(stated.notes)
    good = known_flags & boxed & listed
    for row in np.flatnonzero(~good).tolist():
        person = people[row]
        where = {"file": stated.file, "record": f"annotation {person.id}"}
        try:
            if not known_flags[row]:
                flags = np.unique(keypoints[row, :, 2]).tolist()
                raise BadRecord(f"visibility flags {flags}, 0, 1, 2 expected", **where)
            if not boxed[row]:
                box, note = box_as_stated(person, keep_flat=keep_flat, **where)
                notes += [note] if note else []
                if box is None:
                    continue
                boxes[row] = box
            if not listed[row]:
                raise BadRecord(f"image id {person.picture} does not exist, or is bad", **where)
            good[row] = True
        except BadRecord as error:
            bad[person.row] = error
    errors = [*stated.bad_pictures, *(bad[row] for row in sorted(bad))]
    n_pictures = len(stated.bad_pictures)
    what = "records" if n_pictures else "annotations"
    settle(errors, stated.n_people + n_pictures, what, on_bad, stated.file)

    names = _absent(stated)
    absent = np.array([p.picture in names for p in people], bool)
    lost = Counter(people[row].picture for row in np.flatnonzero(good & absent).tolist())
    kept = good & ~absent
    persons = [people[row] for row in np.flatnonzero(kept).tolist()]
    poses = _arrays(stated, persons, keypoints[kept], boxes[kept], occlusion_known)
    return poses, persons, (*errors, *notes, *_missing(stated, names, lost))


def _arrays(
    stated: Annotations,
    persons: Sequence[Person],
    keypoints: Float[np.ndarray, "n k 3"],
    boxes: Float[np.ndarray, "n 4"],
    occlusion_known: bool | None,
) -> Pose:
    name = stated.skeleton
    known = name in OCCLUSION_STATED if occlusion_known is None else occlusion_known
    flags = keypoints[:, :, 2].astype(np.int8)
    if name.startswith("posetrack"):  # poseval: labelled is whatever is not 0, 0, 0
        flags = keypoints.any(2) * (1 + (flags > 0)).astype(np.int8)
    pictures = [stated.pictures[person.picture] for person in persons]
    areas = [person.area for person in persons]
    heads = [np.zeros(4) if p.head_xyxy is None else p.head_xyxy for p in persons]
    return Pose(
        skeleton=name,
        xy_frame=np.where(flags[:, :, None] > 0, keypoints[:, :, :2], 0),
        visibility=flags if known else 2 * (flags > 0).astype(np.int8),
        boxes_xyxy=boxes,
        occlusion_known=known,
        ids=tuple(person.id for person in persons),
        images=tuple(listed.picture.name for listed in pictures),
        groups=tuple(listed.group for listed in pictures),
        areas=None if None in areas else areas,
        crowd=[person.crowd for person in persons],
        head_boxes_xyxy=heads if np.any(heads) else None,
    )


def _absent(stated: Annotations) -> dict[str, str]:
    """Id and name of the pictures that are not in the folder."""
    if stated.folder is None:
        return {}
    names = {key: listed.picture.name for key, listed in stated.pictures.items()}
    return {key: name for key, name in names.items() if not os.path.isfile(stated.folder / name)}


def _missing(stated: Annotations, absent: dict[str, str], lost: Counter[str]) -> list[MissingFile]:
    """A warning for each picture that is not in the folder."""
    count = f"({len(absent)} of {len(stated.pictures)} images are missing)"
    return [
        MissingFile(
            f"missing image {name}, {lost[key]} poses left out {count}",
            file=stated.file,
            record=f"image {key}",
            remedy=f"put it into {stated.folder}",
        )
        for key, name in absent.items()
    ]
