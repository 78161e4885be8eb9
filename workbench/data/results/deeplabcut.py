"""DeepLabCut's tables, and Lightning Pose's, which have the same three or four lines of titles: a
line a frame, three columns a joint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import BadFile, BadRecord
from ..numbering import before_export
from .rows import Document, Place, Row
from .tables import Cells, row_of_cells

TITLES = ("scorer", "individuals", "bodyparts", "coords")  # of lines, in their first cells
COORDINATES = ("x", "y", "likelihood")  # further ones are left alone
# as DeepLabCut calls the pictures that it takes out of a video, by its frames from 0
_EXTRACTED = re.compile(r"img\d+\.png")


class Header(NamedTuple):
    """What the lines of titles say."""

    lines: int
    index: int  # so many first columns say which frame or picture a line is
    # individual ("" of a single one) -> body part -> coordinate -> column
    people: dict[str, dict[str, dict[str, int]]]


def is_deeplabcut(cells: Sequence[Sequence[str]]) -> bool:
    return bool(cells and cells[0]) and cells[0][0].strip().lower() in TITLES


def header_of(cells: Sequence[Sequence[str]]) -> Header:
    lines = {}
    for line in cells[: len(TITLES)]:
        title = line[0].strip().lower()
        if title not in TITLES:
            break
        lines[title] = [cell.strip() for cell in line]
    lacking = [title for title in ("bodyparts", "coords") if title not in lines]
    if lacking:
        raise BadFile(
            f"no line of titles that begins with {' or '.join(lacking)}",
            remedy="a table of DeepLabCut has lines scorer, individuals (of several), bodyparts "
            "and coords",
        )
    kinds = [kind.lower() for kind in lines["coords"]]
    if "z" in kinds:
        raise BadFile("has columns z", remedy="2D results are read: give those of one camera")
    individuals = lines.get("individuals", [""] * len(kinds))
    people = {}
    for column, kind in enumerate(kinds):
        if kind not in COORDINATES:
            continue
        part = lines["bodyparts"][column]
        columns = people.setdefault(individuals[column], {}).setdefault(part, {})
        if kind in columns:
            raise BadFile(f"{part} has two columns {kind}", remedy="keep those of one scorer")
        columns[kind] = column
    parts = [part for person in people.values() for part in person.items()]
    lacking = [name for name, columns in parts if not {"x", "y"} <= {*columns}]
    if lacking or not parts:
        raise BadFile(f"no columns x and y of {lacking[0] if lacking else 'any body part'}")
    index = next((i for i, kind in enumerate(kinds) if i and kind), 1)
    return Header(len(lines), index, people)


def _joints(document: Document, header: Header) -> dict[str, list[dict[str, int]]]:
    """The columns of the skeleton's joints, of each individual that has them."""
    names = [*next(iter(header.people.values()))]
    chosen = [names[place] for place in document.choose(names, bones=())]
    people = {}
    for who, parts in header.people.items():
        if {*chosen} <= {*parts}:
            people[who] = [parts[name] for name in chosen]
        else:
            document.notes.append(f"{who} has other body parts and is left out")
    if not all("likelihood" in joint for joints in people.values() for joint in joints):
        document.notes.append("no likelihood, as of labels by hand: every joint counts as seen")
    return people


def _place(cells: Sequence[str]) -> Place:
    """A frame's number from 0, or a picture's path, which newer files write in three columns."""
    text = "/".join(cell.strip() for cell in cells)
    if re.fullmatch(r"\d{1,9}(\.0)?", text):
        return Place(number=int(float(text)))
    if not text.strip("/"):
        raise BadRecord("does not say which frame it is")
    return Place(text)


def deeplabcut_rows(document: Document) -> Iterator[Row]:
    ((path, cells),) = document.contents.items()
    header = header_of(cells)
    people = _joints(document, header)
    titles = [" ".join(column).strip() for column in zip(*cells[1 : header.lines])]
    places = set()
    for i, line in enumerate(cells[header.lines :], header.lines + 1):
        place = None
        with document.record(f"line {i}", path):
            place = _place(line[: header.index])
            if place in places:
                raise BadRecord(f"{place.image or place.number} stands twice")
            places.add(place)
            document.seen.append(place)
        if place is not None:
            yield from _poses(document, path, line, i, place, people, titles)
    names = [before_export(place.image).name for place in places if place.image]
    if all(map(_EXTRACTED.fullmatch, names)):
        document.first_frame = 0


def _poses(document, path: Path, line, i: int, place: Place, people, titles) -> Iterator[Row]:
    """One of each individual that was found."""
    for who, joints in people.items():
        row = None
        record = f"line {i}"
        with document.record(record, path):
            cells = [Cells(line, record, j["x"], j["y"], j.get("likelihood")) for j in joints]
            row = row_of_cells(path, cells, titles)
        if row is not None and row.keypoints.any():
            ident = f"{i}.{who}" if who else str(i)
            yield row._replace(id=ident, place=place, track=who or 0)
