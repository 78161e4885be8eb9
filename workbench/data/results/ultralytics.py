"""Ultralytics: what `to_json()` and `save_txt` write, a file a picture or frame."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...errors import BadFile, BadRecord
from ...geometry import cxcywh_to_xyxy
from ..checks import number, numbers
from ..readers import as_dict
from ..safe import read_text
from .rows import USUAL_SKELETON, Document, Place, Row, count, length, points_of, track_of

CLASSES = ("person", "hand")  # whose joints are known by their number
CORNERS = ("x1", "y1", "x2", "y2")
BOX = 5  # numbers of a line before its joints: class, centre, width, height
FLAGS = ("0", "1", "2")  # of labels, in the place of confidences
_OF_VIDEO = re.compile(r"(.+)_([1-9]\d*)")  # as its frames are called, counted from 1
_UNSEEN = "no confidence of joints: every one that has a place counts as seen"


# --- to_json() ------------------------------------------------------------------------------------


def instance_rows(document: Document) -> Iterator[Row]:
    """A file a picture: a list of {name, class, confidence, box, keypoints, track_id?}."""
    unit = _are_fractions(chain.from_iterable(document.contents.values()))
    for i, (path, items) in enumerate(document.contents.items()):
        yield from _instances(document, path, items, Place(path.stem), str(i), unit)


def frame_rows(document: Document) -> Iterator[Row]:
    """A file of such lists, one a frame."""
    ((path, frames),) = document.contents.items()
    document.first_frame = 0
    unit = _are_fractions(chain.from_iterable(frames))
    for i, items in enumerate(frames):
        yield from _instances(document, path, items, Place(number=i), str(i), unit)


def _are_fractions(items: Iterable) -> bool:
    """Whether all boxes lie in the unit square, as `to_json(normalize=True)` writes them: a person
    in px reaches farther.
    """
    ends = [as_dict(as_dict(item).get("box")).get(key) for item in items for key in CORNERS]
    ends = [end for end in ends if type(end) in (int, float)]
    return bool(ends) and max(ends) <= 1


def _instances(document, path: Path, items, place: Place, ident: str, unit: bool) -> Iterator[Row]:
    document.seen.append(place)
    where = f"frame {place.number}, " if place.image == "" else ""
    for j, item in enumerate(items):
        row = None
        with document.record(f"{where}instance {j}", path):
            row = _instance(document, as_dict(item))
        if row is not None:
            names = {"id": f"{ident}.{j}", "place": place}
            yield row._replace(**names, fractions=unit, origin_px=0.0)


def _instance(document: Document, item: dict) -> Row:
    points = as_dict(item.get("keypoints"))
    n = length(points, "x")
    if not n:
        raise BadRecord("no keypoints", remedy="use a model of poses, such as yolo11n-pose")
    if document.joints is None and item.get("name") not in CLASSES:
        raise BadRecord(
            f"joints of a {str(item.get('name'))[:40]!r}, whose names are not stated",
            remedy="say whose they are (--skeleton), or give results of persons",
        )
    seen = points.get("visible")
    if seen is None:
        seen = [1] * n
        document.note(_UNSEEN)
    if not all(type(values) is list and len(values) == n for values in (points.get("y"), seen)):
        raise BadRecord("keypoints x, y and visible are not lists of one length")
    used = document.first_of(n)
    flat = [*chain.from_iterable(zip(points["x"], points["y"], seen))]
    keypoints = _exactly(flat, n, 3)[used]
    corners = [as_dict(item.get("box")).get(key) for key in CORNERS]
    box = numbers({"box": corners}, "box", 4)
    if not (box[2:] > box[:2]).all():
        raise BadRecord(f"box {box.tolist()} has no area")

    def put(j: int, x: float, y: float) -> None:
        points["x"][used[j]], points["y"][used[j]] = x, y

    score, track = number(item, "confidence"), track_of(item, "track_id")
    return Row("", keypoints, put, Place(), box, score, track)


def _exactly(flat: list, n: int, width: int) -> Float[np.ndarray, "n width"]:
    """As `points_of`, in float64: fractions of large pictures need it."""
    points, _ = points_of({"keypoints": flat}, "keypoints", n, width, range(n))
    stated = points.any(1, keepdims=True)
    return np.where(stated, np.array(flat, np.float64).reshape(n, width), 0)


# --- save_txt -------------------------------------------------------------------------------------


class Layout(NamedTuple):
    """What the numbers of a line are: class, box, joints, confidence?, id?"""

    joints: int
    width: int  # 3: x, y, confidence; 2: x, y
    confidence: bool  # of the person, behind the joints

    @property
    def end(self) -> int:
        return BOX + self.joints * self.width


def read_lines(path: Path) -> list[list[str]]:
    """The numbers of each line; of an empty file, which is a picture without people, none."""
    if os.path.isfile(path) and not os.path.getsize(path):
        return []
    return [line.split() for line in read_text(path).splitlines() if line.strip()]


def is_of_joints(line: Sequence[str]) -> bool:
    """Whether it has as many numbers as a line with the joints of a usual skeleton."""
    lengths = {
        BOX + n * width + more for n in USUAL_SKELETON for width in (2, 3) for more in range(3)
    }
    return len(line) in lengths and all(re.fullmatch(r"[-+.\de]+", text) for text in line)


def layout_of(files: Sequence[Sequence[Sequence[str]]], joints: int | None) -> Layout:
    """The layout that all lines of the files have. joints: their number, None: a usual one.

    Behind the joints may stand a confidence (save_conf) and an id (of a tracked person). Of one
    number: it is an id where it is a whole one from 1, and no picture has one twice, for no
    detector is that sure. `BadFile` where no layout, or more than one, fits.
    """
    lengths = {len(line) for lines in files for line in lines}
    numbers_of = [joints] if joints else USUAL_SKELETON
    fitting = [
        layout
        for layout in (Layout(n, width, False) for n in numbers_of for width in (2, 3))
        if all(0 <= n - layout.end <= 2 for n in lengths)
    ]
    if len(fitting) != 1:
        stated = ", ".join(map(str, sorted(lengths)[:5]))
        ways = " or ".join(f"{way.joints} joints of {way.width}" for way in fitting) or "no joints"
        raise BadFile(
            f"lines of {stated} numbers: {ways} behind a class and a box",
            remedy="say --skeleton; lines are class, box (4), joints (x, y, confidence), and "
            "confidence and id if saved, as a model of poses writes them (save_txt)",
        )
    (layout,) = fitting
    behind = {n - layout.end for n in lengths}
    last = [[line[-1] for line in lines if len(line) == layout.end + 1] for lines in files]
    ids = all(re.fullmatch(r"[1-9]\d*", text) for text in chain.from_iterable(last))
    ids = ids and all(len({*texts}) == len(texts) for texts in last)
    if {0, 2} <= behind or (behind == {0, 1} and not ids):
        raise BadFile(
            "some lines state a confidence behind the joints, others do not",
            remedy="make all files in one run, with save_conf or without",
        )
    return layout._replace(confidence=2 in behind or (behind == {1} and not ids))


def line_rows(document: Document) -> Iterator[Row]:
    """A file a frame or picture, called as it is; a line a person, in fractions."""
    names = [_OF_VIDEO.fullmatch(path.stem) for path in document.contents]
    if all(names) and len({name[1] for name in names}) == 1:
        document.first_frame, document.of_video = 1, names[0][1]
    files = [*document.contents.values()]
    if not any(files):
        document.seen += [Place(path.stem) for path in document.contents]
        return
    layout = layout_of(files, len(document.joints) if document.joints else None)
    _check_labels(files, layout)
    if layout.width == 2:
        document.note(_UNSEEN)
    for i, (path, lines) in enumerate(document.contents.items()):
        place = Place(path.stem)
        document.seen.append(place)
        for j, line in enumerate(lines):
            row = None
            with document.record(f"line {j + 1}", path):
                row = _person(document, line, layout)
            if row is not None:
                yield row._replace(id=f"{i}.{j}", place=place)


def _check_labels(files: Sequence[Sequence[Sequence[str]]], layout: Layout) -> None:
    """`BadFile` for labels by hand, whose third numbers are flags."""
    lines = chain.from_iterable(files)
    stated = chain.from_iterable(line[BOX + 2 : layout.end : 3] for line in lines)
    if layout.width == 3 and {*stated} <= {*FLAGS}:
        raise BadFile(
            "the third number of every joint is a flag (0, 1, 2): these are labels, no predictions",
            remedy="give what a model found (yolo predict ... save_txt=True save_conf=True)",
        )


def _person(document: Document, line: list[str], layout: Layout) -> Row:
    try:
        values = [float(text) for text in line]
    except ValueError:
        raise BadRecord("holds something else than numbers") from None
    kind, *box = numbers({"box": values[:BOX]}, "box", BOX).tolist()
    points = values[BOX : layout.end]
    if kind and document.joints is None:
        remedy = "say whose joints they are (--skeleton)"
        raise BadRecord(f"class {kind:g}, 0 (a person) expected", remedy=remedy)
    if min(box[2:]) <= 0:
        raise BadRecord(f"box {box} has no area")
    keypoints = _exactly(points, layout.joints, layout.width)
    if layout.width == 2:
        keypoints = np.column_stack((keypoints, keypoints.any(1)))
    behind = values[layout.end :]
    score = number({"confidence": behind.pop(0)}, "confidence") if layout.confidence else None
    track = count(behind[0], "id") if behind else None

    def put(j: int, x: float, y: float) -> None:
        at = BOX + j * layout.width
        line[at : at + 2] = repr(float(x)), repr(float(y))

    corners = cxcywh_to_xyxy(np.array(box))
    row = Row("", keypoints, put, Place(), corners, score, track)
    return row._replace(fractions=True, origin_px=0.0)
