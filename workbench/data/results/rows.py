"""What all formats of results share: a detected pose as a file states it, and what a file knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...errors import BadRecord, UnknownName
from ...skeletons import SKELETONS, Skeleton, chosen_joints, own_skeleton, titled
from ..checks import FLOAT32_MAX, integral, numbers, placed
from ..readers import as_dict

COCO17 = SKELETONS["coco17"]
# what says that a record is of one of several videos; numbers of frames then say too little
VIDEO_KEYS = ("video_id", "vid_id", "video", "video_name", "camera", "camera_id", "cam", "view")
# Lists that begin with coco17: Halpe-26, COCO-WholeBody, Halpe-136
LONGER = (26, 133, 136)
# what a file without joint names most often means
USUAL_SKELETON = {14: "crowdpose14", 17: "coco17", 21: "hand21"}


class Place(NamedTuple):
    """Where a record belongs, as its file says it: a picture's name, or a number."""

    image: str = ""
    number: int | None = None


class Row(NamedTuple):
    """One detected pose of a file."""

    id: str  # where it stands in the file
    keypoints: Float[np.ndarray, "k 3"]  # x px, y px, confidence
    # writes joint j (of the skeleton) back at (x, y) px; None: the format is only read
    put: Callable[[int, float, float], None] | None
    place: Place = Place()
    box_xyxy: np.ndarray | None = None  # px; None: around its joints
    score: float | None = None
    track: int | str | None = None  # as the file calls the person
    fractions: bool = False  # of the picture, in the place of px
    origin_px: float = -0.5  # where their 0 lies: by default the left edge of pixel 0


@dataclass
class Document:
    """A parsed file or folder of one format, and what is found out while it is read."""

    path: Path
    format: str
    contents: dict[Path, object]  # of each of its files
    joints: Skeleton | None = None  # as asked for
    seen: list[Place] = field(default_factory=list)  # with and without people
    bad: list[BadRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    first_frame: int | None = None  # what it counts from, where that is sure
    of_video: str | None = None  # that is called so; None: whatever the video is called
    counts_from: int = 0  # what its format usually counts from, where no 0 comes up
    of_nothing: bool = False  # it is an empty list
    named: Skeleton | None = None  # that its own names of joints say, mapped or not

    @contextmanager
    def record(self, name: str, file: Path | None = None) -> Iterator[None]:
        """Puts aside a `BadRecord` of a record, which then is left out."""
        try:
            yield
        except BadRecord as error:
            self.bad.append(placed(error, file or self.path, error.record or name))

    def note(self, text: str) -> None:
        """Says it, once."""
        if text not in self.notes:
            self.notes.append(text)

    def choose(
        self, names: Sequence[str], bones: Sequence[tuple[int, int]] | None = None
    ) -> list[int]:
        """Where the joints of the skeleton stand in a list of names that the file states.

        bones: of a format for any animal, whose joints are a skeleton of their own where no known
        one has them. `BadRecord` where no skeleton has the joints.
        """
        try:
            self.named, places = chosen_joints(names, self.joints)
        except UnknownName as error:
            if bones is not None and self.joints is None:
                return self._own(names, bones)
            remedy = error.remedy
            if self.joints is None:
                remedy += "; no method has weights for others. Give joints these names to use them"
            raise BadRecord(error.problem, file=self.path, remedy=remedy) from None
        return places

    def _own(self, names: Sequence[str], bones: Sequence[tuple[int, int]]) -> list[int]:
        try:
            self.named = own_skeleton(names, bones)
        except UnknownName as error:
            raise BadRecord(error.problem, file=self.path, remedy=error.remedy) from None
        self.note(f"no known skeleton has {titled(self.named.name)}: they are taken as they are")
        return [*range(len(names))]

    def first_of(self, n: int) -> list[int]:
        """Which of n joints without names are used: coco17 of the longer lists that begin with
        it.
        """
        if n in LONGER and (self.joints or COCO17) is COCO17:
            return [*range(len(COCO17))]
        return [*range(n)]


def check_one_video(key: str, values: Collection[object]) -> None:
    """`BadRecord` where records of numbered frames are of several videos."""
    different = sorted({*map(str, values)})
    if len(different) > 1:
        raise BadRecord(
            f"results of several videos: {key} is {', '.join(different[:5])}",
            remedy="keep those of one video",
        )


def list_of(item: object, key: str) -> list:
    value = as_dict(item).get(key)
    if type(value) is not list:
        raise BadRecord(f"{key} is not a list")
    return value


def length(item: object, key: str) -> int:
    value = as_dict(item).get(key)
    return len(value) if type(value) is list else 0


def n_joints(item: object, key: str, width: int) -> int:
    """Of a flat list, or one with a list a joint."""
    value = as_dict(item).get(key)
    nested = type(value) is list and bool(value) and type(value[0]) is list
    return length(item, key) // (1 if nested else width)


def count(value: object, what: str, below: int = 2**31) -> int:
    """A whole number from 0; 3.0 is 3."""
    value = integral(value)
    if type(value) is not int or not 0 <= value < below:
        raise BadRecord(f"{what} is {str(value)[:40]}, a number from 0 expected")
    return value


def track_of(item: Mapping, *keys: str) -> int | str | None:
    """The person's id under the first key that states one: a whole number or text; AlphaPose puts
    it into lists.
    """
    value = next((item[key] for key in keys if item.get(key) is not None), None)
    while type(value) is list and len(value) == 1:
        (value,) = value
    value = integral(value)
    if type(value) is str and value.strip():
        value = re.sub(r"^(\d+)\.0$", r"\1", value.strip())[:80]
        return int(value) if value.isdecimal() and len(value) < 10 else value
    if value is None:
        return None
    return count(value, next(key for key in keys if item.get(key) is not None), 2**63)


def _finite(value: object) -> object:
    """None and what is not finite as a 0, which is a missing joint's."""
    if value is None or (type(value) is float and not abs(value) <= FLOAT32_MAX):
        return 0.0
    return value


def points_of(item: object, key: str, n: int, width: int, joints: Sequence[int]):
    """Joints [k width] of a list of n times x, y, ..., flat or one list a joint, and what puts
    one back. A joint with a value that is null or not finite is all 0.
    """
    values = as_dict(item).get(key)
    nested = type(values) is list and bool(values) and type(values[0]) is list
    if nested and any(type(v) is not list or len(v) != width for v in values):
        raise BadRecord(f"{key} is nested, but not in lists of {width}")
    flat = [*chain.from_iterable(values)] if nested else values
    try:
        points = numbers({key: flat}, key, n * width).reshape(n, width)
    except BadRecord:
        if type(flat) is not list:
            raise
        repaired = [_finite(value) for value in flat]
        points = numbers({key: repaired}, key, n * width).reshape(n, width)
        same = [a is b for a, b in zip(flat, repaired)]
        points[~np.reshape(same, (n, width)).all(1)] = 0

    def put(j: int, x: float, y: float) -> None:
        place, at = (values[joints[j]], 0) if nested else (values, width * joints[j])
        place[at : at + 2] = x, y

    return points[list(joints)], put
