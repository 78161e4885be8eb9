"""Motion capture in BVH files.

A BVH file is a tree of joints with channels, then one row of channel values a frame. Rotations are
intrinsic, in the order of the channels; position channels of a joint stand in the place of its
OFFSET (Bandai Namco writes them for every joint), a joint without them keeps the OFFSET. The format
states no unit: centimetres, as most programs write, unless `unit` says otherwise; a body that is
no body's size then is warned of.
"""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..errors import BadFile, BadParameter, BadRecord, MissingFile
from ..records import Motion, Reading
from .checks import check_on_bad, each
from .readers import as_dict, reader
from .releases import named
from .safe import read_bytes, read_json

MAX_JOINTS = 1000  # a body with fingers and a face has about 150
MAX_COORDINATES = 2**27  # of all joints through all frames: 1 GiB, an hour of a body with fingers

UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "in": 25.4}  # mm
SIZES_MM = (300, 3000)  # of a body, from an infant to more than any adult; ours

END_SITE = -1  # opens a brace as a joint does, but does not move by itself
_CHANNELS = {f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}


@dataclass
class _Joint:
    name: str
    parent: int  # -1 at a root
    offset: list[float] = field(default_factory=list)  # x, y, z in the file's unit
    channels: list[str] = field(default_factory=list)  # such as "Xposition", in the file's order


@reader(
    "bvh",
    order=120,
    kind="motion",
    reads="motion capture",
    recognised="suffix, or HIERARCHY at the start",
    fits=lambda file: file.ends(".bvh") or file.starts(b"HIERARCHY") or file.mostly(".bvh"),
)
def read_bvh(path: Path, *, on_bad: str = "raise", unit: str | float = "cm") -> Reading:
    """The motion of a BVH file, or of every `.bvh` file below a folder, in the order of their
    names.

    Joints are the file's own, in its order; End Sites, which do not move by themselves, are left
    out. World mm, axes as the file has them. unit: of the file's lengths, which no BVH file states:
    a name of `UNITS`, or its length in mm; a body outside `SIZES_MM` is a warning. Labels (content,
    style) come from a JSON file beside it, `{"content": id, "style": id}`, by name where a folder
    `cfg` lists the names (Bandai Namco). on_bad: "report" reads a file that has one row more or
    less than it says, with a warning; in a folder it also keeps the others where one is bad.
    Errors: `BadFile` with the line, `EmptyFile`, `MissingFile`; in a folder that of the first bad
    file, with their count; `BadParameter`.
    """
    check_on_bad(on_bad)
    unit_mm = _length_mm(unit)
    notes: list[BadFile | BadRecord] = []
    if not path.is_dir():
        return Reading(motions=(_motion(path, unit_mm, on_bad, notes),), warnings=tuple(notes))
    files = sorted(path.rglob("*.bvh"))
    if not files:
        raise MissingFile("no .bvh file in this folder or below it", file=path)

    def read(file: Path) -> Motion:
        return _motion(file, unit_mm, on_bad, notes)

    motions, bad = each(files, read, "files", on_bad, path)
    return Reading(motions=tuple(motions), warnings=(*bad, *notes))


def _length_mm(unit: str | float) -> float:
    if str(unit).lower() in UNITS:
        return UNITS[str(unit).lower()]
    try:
        length = float(unit)
    except (TypeError, ValueError):
        length = 0.0
    if not 0 < length < np.inf:
        remedy = f"say {', '.join(UNITS)}, or its length in mm"
        raise BadParameter(f"unit is {str(unit)[:40]!r}", remedy=remedy)
    return length


def odd_size(motion: Motion, file: Path) -> BadRecord | None:
    """A warning about a body that is no body's size, because the unit is another one."""
    low, high = SIZES_MM
    height = motion.height_mm
    if low <= height <= high:
        return None
    return BadRecord(
        f"a body {height:,.4g} mm high: BVH states no unit, and it may be another one (--unit)",
        file=file,
        remedy=f"say the file's unit (unit=; --unit of data inspect): {', '.join(UNITS)}",
    )


def _motion(path: Path, unit_mm: float, on_bad: str, notes: list) -> Motion:
    """A file's motion; what is odd about it is added to the notes."""
    raw = read_bytes(path)
    split = re.search(rb"^[ \t]*MOTION[ \t]*\r?$", raw, re.MULTILINE)
    head = raw[: split.start()] if split else raw[:4096]
    with named(path):
        try:
            text = head.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadFile(f"not a BVH file: not UTF-8 at byte {error.start}") from None
        if text.split(maxsplit=1)[:1] != ["HIERARCHY"]:
            raise BadFile("not a BVH file: it does not begin with HIERARCHY")
        if split is None:
            raise BadFile("no line MOTION: truncated")
        joints = _joints(text)
        rows, fps, claim = _rows(raw[split.end() :], head.count(b"\n") + 1, joints, on_bad)
        with np.errstate(over="ignore", invalid="ignore"):
            xyz = _forward(joints, rows) * unit_mm
        if not np.isfinite(xyz).all():
            raise BadFile("numbers too large for positions")
    motion = Motion(
        joints=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        xyz_mm=xyz,
        fps=fps,
        name=path.stem,
        labels=_labels(path),
    )
    if claim != len(rows):
        problem = f"Frames: says {claim}, {len(rows)} rows are present: these are read"
        notes.append(BadFile(problem, file=path, remedy="correct the number"))
    notes += filter(None, [odd_size(motion, path)])
    return motion


# --- the tree above MOTION ------------------------------------------------------------------------


def _joints(text: str) -> list[_Joint]:
    """The tree, read statement by statement; braces may stand on lines of their own or not."""
    joints: list[_Joint] = []
    opened: list[int] = []  # indices of the joints whose braces are open, or END_SITE
    awaited = None  # what the next "{" opens
    for number, line in enumerate(text.splitlines(), 1):
        for statement in filter(None, map(str.strip, re.split(r"([{}])", line))):
            with named(None, f"line {number}"):
                awaited = _take(statement, joints, opened, awaited)
    missing = len(opened) + (awaited is not None)
    if missing:
        raise BadFile(f"{missing} brackets are not closed before MOTION", record=f"line {number}")
    names = [joint.name for joint in joints]
    for joint in joints:
        if names.count(joint.name) > 1:
            raise BadFile(f"two joints are called {joint.name!r}")
        if not joint.offset:
            raise BadFile("a joint without OFFSET", record=joint.name)
    return joints


def _take(
    statement: str, joints: list[_Joint], opened: list[int], awaited: int | None
) -> int | None:
    """One statement: a brace, or a word with what belongs to it. What the next "{" opens."""
    if (statement == "{") != (awaited is not None):
        wanted = "a name before it" if statement == "{" else "a {"
        raise BadFile(f"{statement[:40]!r}, {wanted} expected")
    inside = opened[-1] if opened else None
    joint = None if inside in (None, END_SITE) else joints[inside]
    keyword, *words = statement.split()
    match [keyword.upper(), *words]:
        case ["{"]:
            opened.append(awaited)
        case ["}"] if opened:
            opened.pop()
        case ["HIERARCHY", *_] if not joints:
            pass
        case ["ROOT" | "JOINT" as kind, *words] if words and (
            joint if kind == "JOINT" else inside is None
        ):
            if len(joints) == MAX_JOINTS:
                raise BadFile(f"more than {MAX_JOINTS} joints")
            joints.append(_Joint(" ".join(words), inside if joint else -1))
            return len(joints) - 1
        case ["END", site, *_] if joint and site.lower() == "site":  # some exporters name it
            return END_SITE
        case ["OFFSET", *words] if inside is not None:
            offset = _offset(words)
            if joint:
                joint.offset = offset
        case ["CHANNELS", n, *words] if joint and not joint.channels:
            joint.channels = [word.capitalize() for word in words]
            if n != str(len(words)) or len(_CHANNELS & {*joint.channels}) < len(words):
                raise BadFile(
                    f"{statement[:60]!r}: how many, and which, such as Zrotation, expected"
                )
        case _:
            raise BadFile(f"{statement[:40]!r} is not expected here")
    return None


def _check_commas(text: str, record: str | None = None) -> None:
    """`BadFile` for numbers as programs write them under a German or French locale."""
    comma = re.search(r"[-+\d.]*\d,\d[\d,.eE+-]*", text)
    if comma:
        raise BadFile(
            f"numbers have a decimal comma ({comma[0][:20]})",
            record=record,
            remedy="export it under a locale with decimal points, or replace each comma by a point",
        )


def _offset(words: list[str]) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
        _check_commas(" ".join(words))
    if len(values) != 3 or not np.isfinite(values).all():
        raise BadFile(f"OFFSET {' '.join(words)[:40]!r}, three numbers expected")
    return values


# --- the rows below MOTION ------------------------------------------------------------------------


def _rows(
    body: bytes, line: int, joints: list[_Joint], on_bad: str
) -> tuple[np.ndarray, float, int]:
    """The rows [t channels] below MOTION, the frame rate, and how many rows the file says. line:
    number of the line MOTION. on_bad: "report" gives one row more or less than the file says.
    """
    width = sum(len(joint.channels) for joint in joints)
    if not width:
        raise BadFile("no joint has channels")
    lines = ((number, text) for number, text in enumerate(io.BytesIO(body), line) if text.strip())
    frames, _ = _stated("Frames", lines, line)
    seconds, number = _stated("Frame Time", lines, line)
    if not (1 <= frames < 1e18 and frames % 1 == 0 and 1e-6 <= seconds <= 1e6):
        raise BadFile(f"{frames:g} frames of {seconds:g} s each", record=f"line {number}")
    frames = int(frames)
    # a value takes two bytes, so a claim alone costs no memory
    most = min(frames + 1, len(body) // (2 * width) + 1)
    if most * len(joints) * 3 > MAX_COORDINATES:
        raise BadFile(f"{frames} frames of {len(joints)} joints are more than is read at once")

    values = array("d")
    whole = 0
    broken = None  # number and length of the first row that is not whole
    for number, text in lines:
        words = text.split()
        if len(words) != width:
            broken = broken or (number, len(words))
            continue
        if whole < most:
            try:
                values.fromlist([float(word) for word in words])
            except ValueError as error:
                _check_commas(text.decode("latin1"), f"line {number}")
                raise BadFile(f"{error}", record=f"line {number}") from None
        whole += 1
    _check_count(whole, frames, broken, number, width, on_bad)
    rows = np.array(values).reshape(whole, width)
    finite = np.isfinite(rows).all(1)
    if not finite.all():
        raise BadFile("a value that is not finite", record=f"frame {finite.argmin()}")
    return rows, round(1 / seconds, 3), frames


def _check_count(
    whole: int, frames: int, broken: tuple[int, int] | None, line: int, width: int, on_bad: str
) -> None:
    """`BadFile` where there are other rows than the file says; by one it is forgiven on demand.
    line: of the last row.
    """
    near = not broken and whole and abs(whole - frames) == 1
    if (whole == frames and not broken) or (near and on_bad == "report"):
        return
    problem = f"Frames: says {frames}, {whole} whole rows are present"
    if broken:
        line, length = broken
        problem += f" and a row of {length} values where {width} are expected"
    remedy = "correct the number; on_bad='report' (--on-bad report) reads the rows that are there"
    raise BadFile(problem, record=f"line {line}", remedy=remedy if near else None)


def _stated(key: str, lines: Iterator[tuple[int, bytes]], line: int) -> tuple[float, int]:
    """The number behind "key:" on the next line, and the number of that line."""
    number, text = next(lines, (line, b""))
    name, _, value = text.strip().decode("latin1").partition(":")
    try:
        if name != key:
            raise ValueError
        return float(value), number
    except ValueError:
        record = f"line {number}"
        if name == key:
            _check_commas(value, record)
        problem = f"{key}: and a number expected, got {f'{name}:{value}'[:40]!r}"
        raise BadFile(problem, record=record) from None


# --- positions ------------------------------------------------------------------------------------


def _forward(joints: list[_Joint], rows: np.ndarray) -> Float[np.ndarray, "t k 3"]:
    """Positions in the file's unit."""
    t = len(rows)
    xyz = np.zeros((len(joints), 3, t))  # frames last, so that each step runs along memory
    turned = []  # each joint's rotation to the world, [3 3 t]
    values = iter(np.ascontiguousarray(rows.T))
    for i, joint in enumerate(joints):
        local = np.repeat(np.array(joint.offset)[:, None], t, 1)
        above = turned[joint.parent] if joint.parent >= 0 else np.repeat(np.eye(3)[..., None], t, 2)
        turn = above.copy()
        for channel in joint.channels:
            axis = "XYZ".index(channel[0])
            if channel.endswith("position"):
                local[axis] = next(values)
            else:
                _turn(turn, axis, np.radians(next(values)))
        base = xyz[joint.parent] if joint.parent >= 0 else 0.0
        xyz[i] = base + (above * local).sum(1)
        turned.append(turn)
    return np.ascontiguousarray(xyz.transpose(2, 0, 1))


def _turn(turn: Float[np.ndarray, "3 3 t"], axis: int, radians: Float[np.ndarray, "t"]) -> None:
    """Rotations times those about one axis, in place: these mix two columns alone."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    cos, sin = np.cos(radians), np.sin(radians)
    before = turn[:, i].copy()
    turn[:, i] = before * cos + turn[:, j] * sin
    turn[:, j] = turn[:, j] * cos - before * sin


# --- labels ---------------------------------------------------------------------------------------


def _labels(path: Path) -> tuple[str, ...]:
    """Content and style as the JSON file beside a clip says; nothing where there is none."""
    file = path.with_suffix(".json")
    stated = as_dict(read_json(file)) if file.is_file() else {}
    keys = ("content", "style")
    if not set(keys) & set(stated):
        return ()  # none, or a file of another kind
    return tuple(_label(key, stated.get(key), file) for key in keys)


def _label(key: str, number: object, file: Path) -> str:
    if type(number) is not int or number < 0:
        raise BadRecord(f"{key} is {str(number)[:40]!r}, a number expected", file=file)
    listed = file.parent.parent / "cfg" / f"{key}_label.txt"
    names = read_bytes(listed).decode("utf-8", "replace").split() if listed.is_file() else []
    if number >= len(names):
        return str(number)
    return names[number].split("_", 1)[-1]  # dataset-1_walk-back
