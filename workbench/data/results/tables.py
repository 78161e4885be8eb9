"""Tables of landmarks, one line a joint: what people write who loop over MediaPipe's answers, and
our own.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import BadFile, BadRecord
from ...skeletons import SKELETONS
from ..checks import integral
from ..releases import named
from ..safe import MAX_CELLS, TOO_MUCH, limit, read_text
from .rows import COCO17, VIDEO_KEYS, Document, Place, Row, check_one_video, count

_PAIRS = "shoulder elbow wrist pinky index thumb hip knee ankle heel foot_index".split()
BLAZEPOSE = (  # MediaPipe Pose Landmarker, landmarks 0 to 32
    *"nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye".split(),
    *"right_eye_outer left_ear right_ear mouth_left mouth_right".split(),
    *(f"{side}_{part}" for part in _PAIRS for side in ("left", "right")),
)
_FINGERS = {
    "thumb": "thumb_cmc thumb_mcp thumb_ip thumb_tip",
    **{
        f"{ours}": " ".join(f"{theirs}_finger_{part}" for part in ("mcp", "pip", "dip", "tip"))
        for ours, theirs in zip(
            ("forefinger", "middle_finger", "ring_finger"), ("index", "middle", "ring")
        )
    },
    "pinky_finger": "pinky_mcp pinky_pip pinky_dip pinky_tip",
}
# MediaPipe Hand Landmarker's names of hand21's joints
MEDIAPIPE_HAND = {
    theirs: f"{finger}{i}"
    for finger, names in _FINGERS.items()
    for i, theirs in enumerate(names.split(), 1)
}
_TITLES = {  # of columns, in lower case
    "frame": ("frame", "frame_id", "frame_number"),
    "person": ("person", "person_id", "track_id"),
    "joint": ("landmark", "joint"),
    "x": ("x", "x_px"),
    "y": ("y", "y_px"),
    "confidence": ("visibility", "confidence", "likelihood", "score"),
}
_OPTIONAL = ("person", "confidence")
_EMPTY = ("", "nan", "none", "null", "na", "n/a", "#n/a")  # of a joint that is missing
NOT_FRACTIONS = 2.0  # landmarks outside of the picture stay below


def read_table(path: Path) -> list[list[str]]:
    """The cells of a CSV file, titles first; empty lines, and empty cells behind the last column,
    are left out.
    """
    text = read_text(path)
    first = text.split("\n", 1)[0]
    if first.count(";") > first.count(","):
        raise BadFile(
            "its columns are parted by semicolons",
            file=path,
            remedy="export it with commas between columns and points in numbers "
            "(pandas: read_csv(..., sep=';', decimal=',').to_csv(...))",
        )
    try:
        rows = [*_bounded(csv.reader(io.StringIO(text, newline=""), strict=True), path)]
    except csv.Error as error:
        raise BadFile(f"not a CSV table: {error}", file=path) from None
    lines = [row for row in rows if any(cell.strip() for cell in row)]
    titles = lines[0] if lines else []
    while titles and not titles[-1].strip():
        titles.pop()
    for line in lines[1:]:
        while len(line) > len(titles) and not line[-1].strip():
            line.pop()
    if len(titles) == 1:
        with named(path):
            columns_of(titles)
    for i, line in enumerate(lines, 1):
        if len(line) != len(titles):
            problem = f"not as many cells as the {len(titles)} columns"
            remedy = None
            if len(line) > len(titles) and i > 1:
                remedy = "export numbers with points: decimal commas part cells"
            raise BadRecord(problem, file=path, record=f"line {i}", remedy=remedy)
    return lines or [titles]


def _bounded(rows: Iterable[list[str]], path: Path) -> Iterator[list[str]]:
    """Rows as they come, up to `MAX_CELLS`."""
    cells, most = 0, limit(MAX_CELLS)
    for row in rows:
        cells += len(row)
        if cells > most:
            raise BadFile(f"more than {most:,.0f} cells", file=path, remedy=TOO_MUCH)
        yield row


def columns_of(titles: Sequence[str]) -> dict[str, int | None]:
    """Where the columns are; None for a person or a confidence that the file does not name."""
    titles = [title.strip().lower() for title in titles]
    if len(set(titles)) != len(titles):
        raise BadFile("two columns have the same name", record="line 1")
    columns = {
        key: next((titles.index(name) for name in names if name in titles), None)
        for key, names in _TITLES.items()
    }
    lacking = [key for key in columns if columns[key] is None and key not in _OPTIONAL]
    if lacking:
        raise BadFile(
            f"no column {', '.join(' or '.join(_TITLES[key]) for key in lacking)}",
            record="line 1",
            remedy="columns: frame, person (optional), landmark, x and y (fractions) or x_px and "
            "y_px, visibility",
        )
    return columns


def _number(line: Sequence[str], column: int, titles: Sequence[str]) -> float:
    text = line[column].strip()
    try:
        value = float(text)
    except ValueError:
        raise BadRecord(f"{titles[column]} is {text[:40]!r}, a number expected") from None
    if not abs(value) < 2**31:
        raise BadRecord(f"{titles[column]} is {text[:40]}, beyond what is read")
    return value


def _whole(line: Sequence[str], column: int, titles: Sequence[str]) -> int:
    value = integral(_number(line, column, titles))
    return count(value, titles[column])


def _who(line: Sequence[str], column: int | None) -> int | str:
    """A person's number or name; 3.0 is 3."""
    if column is None:
        return 0
    text = line[column].strip()
    try:
        value = integral(float(text))
    except ValueError:
        value = text[:80]
    if value == "" or type(value) is float:
        raise BadRecord(f"person is {text[:40]!r}, a number or name expected")
    return value


def _joint(text: str, numbered: Sequence[str], joints: Sequence[str]) -> str | None:
    """A joint by its name, MediaPipe's names of enums and hands among them, or its number."""
    name = re.sub(r"^<?(\w+\.)*(pose|hand)landmark\.|: \d+>$", "", text.strip().lower())
    name = re.sub(r"[\s-]+", "_", name)
    if re.fullmatch(r"[0-9]{1,3}(\.0)?", name) and int(float(name)) < len(numbered):
        return numbered[int(float(name))]
    if name in MEDIAPIPE_HAND and MEDIAPIPE_HAND[name] in joints:
        return MEDIAPIPE_HAND[name]
    return name if name in numbered or name in joints else None


def _people(
    document: Document, columns: Mapping[str, int], joints: Sequence[str]
) -> dict[tuple[int, int | str], dict[str, tuple[int, list[str]]]]:
    """By (frame, person), in the order of the file, the line and its number of every joint."""
    people = {}
    ((path, (titles, *lines)),) = document.contents.items()
    numbered = BLAZEPOSE if joints == COCO17.joints else joints  # MediaPipe's numbers
    for i, line in enumerate(lines, 2):
        with document.record(f"line {i}", path):
            frame = _whole(line, columns["frame"], titles)
            who = _who(line, columns["person"])
            stated = line[columns["joint"]]
            joint = _joint(stated, numbered, joints)
            if joint is None:
                title = titles[columns["joint"]]
                raise BadRecord(f"{title} is {stated[:40]!r}, a joint's name or number expected")
            if joint in people.setdefault((frame, who), {}):
                raise BadRecord(f"{joint} of frame {frame}, person {who} stands twice")
            people[frame, who][joint] = i, line
    return people


def _joints(document: Document, columns: Mapping[str, int], lines: Sequence) -> tuple[str, ...]:
    """Of the skeleton asked for, or of a hand where the first names are a hand's, or of a body."""
    if document.joints is None:
        names = {line[columns["joint"]].strip().lower() for line in lines[: len(BLAZEPOSE)]}
        names = {name.removeprefix("handlandmark.") for name in names}
        document.named = SKELETONS["hand21"] if names & MEDIAPIPE_HAND.keys() else COCO17
    return (document.joints or document.named).joints


def _are_tracks(people: Iterable[tuple[int, int | str]]) -> bool:
    """Whether persons are called by names or ids: the numbers 0, 1, ... of every frame may just
    count those that were found.
    """
    frames = defaultdict(set)
    for frame, who in people:
        frames[frame].add(who)
    return any(ids != {*range(len(ids))} for ids in frames.values())


def table_rows(document: Document) -> Iterator[Row]:
    ((path, (titles, *lines)),) = document.contents.items()
    columns = columns_of(titles)
    joints = _joints(document, columns, lines)
    low = [title.strip().lower() for title in titles]
    for key in set(VIDEO_KEYS) & set(low):
        check_one_video(key, [line[low.index(key)].strip() for line in lines])
    if "replaced" in low and low[columns["joint"]] == "joint":
        document.first_frame = 0  # our own
    if columns["confidence"] is None:
        document.notes.append("no column visibility or confidence: every joint counts as seen")
    fractions = [low[columns[key]] for key in ("x", "y")] == ["x", "y"]
    people = _people(document, columns, joints)
    _check_fractions(document, people, columns, fractions)
    tracked = document.first_frame == 0 or _are_tracks(people)
    for (frame, who), person in people.items():
        row = None
        document.seen.append(Place(number=frame))
        with document.record(f"frame {frame}, person {who}", path):
            if missing := [joint for joint in joints if joint not in person]:
                remedy = None
                if any(line[columns["joint"]].strip().isdecimal() for _, line in person.values()):
                    remedy = "numbers are MediaPipe's, 0 to 32; call joints of other models by name"
                raise BadRecord(f"no {missing[0]}", remedy=remedy)
            row = _row(path, person, joints, columns, titles)
        if row is not None and row.keypoints.any():
            yield row._replace(
                id=f"{frame}.{who}",
                place=Place(number=frame),
                track=who if tracked else None,
                fractions=fractions,
            )


def _check_fractions(document: Document, people, columns, fractions: bool) -> None:
    """`BadFile` where columns that hold fractions by their names hold px."""
    if not fractions:
        return
    cells = [columns["x"], columns["y"]]
    values = []
    for person in people.values():
        for _, line in person.values():
            for column in cells:
                try:
                    values.append(abs(float(line[column])))
                except ValueError:
                    continue
    values = np.array([value for value in values if np.isfinite(value)])
    if len(values) and np.median(values) > NOT_FRACTIONS:
        raise BadFile(
            f"columns x and y hold values up to {values.max():g}: these are no fractions of a "
            "picture",
            record="line 1",
            remedy="if they are px, call the columns x_px and y_px",
        )


def _row(path: Path, person: Mapping, joints, columns, titles) -> Row:
    x, y, sure = (columns[key] for key in ("x", "y", "confidence"))
    cells = [Cells(person[joint][1], f"line {person[joint][0]}", x, y, sure) for joint in joints]
    return row_of_cells(path, cells, titles)


class Cells(NamedTuple):
    """Where a table says a joint."""

    line: list[str]
    record: str
    x: int
    y: int
    sure: int | None  # the column of its confidence; None: it counts as seen


def row_of_cells(path: Path, cells: Sequence[Cells], titles: Sequence[str]) -> Row:
    """A row of a table's joints; those without a number are missing. titles: of the columns."""
    keypoints = np.zeros((len(cells), 3))
    for j, (line, record, *at, sure) in enumerate(cells):
        if any(line[column].strip().lower() in _EMPTY for column in at):
            continue  # the joint is missing
        with named(path, record):
            keypoints[j, :2] = [_number(line, column, titles) for column in at]
            keypoints[j, 2] = 1.0 if sure is None else _sure(line, sure, titles)

    def put(j: int, x: float, y: float) -> None:
        line, _, *at, sure = cells[j]
        for column, value in zip(at, (x, y)):
            line[column] = repr(float(value))
        if not keypoints[j].any() and sure is not None:
            line[sure] = "0"

    return Row("", keypoints, put)


def _sure(line: Sequence[str], column: int, titles: Sequence[str]) -> float:
    text = line[column].strip().lower()
    return 0.0 if text in _EMPTY else _number(line, column, titles)
