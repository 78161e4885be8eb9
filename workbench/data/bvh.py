"""Motion capture in BVH files, and bodies of the joint names of `synthetic` out of it.

A BVH file is a tree of joints with channels, then one row of channel values a frame. Rotations are
intrinsic, in the order of the channels; position channels of a joint stand in the place of its
OFFSET (Bandai Namco writes them for every joint), a joint without them keeps the OFFSET. The format
states no unit: centimetres unless `unit_mm` says otherwise.
"""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..errors import BadFile, BadParameter, BadRecord, MissingFile
from ..made.bodies import HEAD_OFFSETS, LEG_OF_STATURE, head_offsets_mm
from ..records import Motion, Reading
from .checks import check_on_bad, each
from .register import reader
from .safe import read_bytes, read_json

MAX_JOINTS = 1000  # a body with fingers and a face has about 150
MAX_COORDINATES = 2**27  # of all joints through all frames: 1 GiB, an hour of a body with fingers
Joints = dict[str, Float[np.ndarray, "t 3"]]

# What a BVH body does not have; `body_joints` makes it up from the joints that are there.
MADE_UP = ("thorax", "spine", *HEAD_OFFSETS)


class _Joint(NamedTuple):
    name: str
    parent: int
    offset: list[float]
    channels: list[str]


@reader(
    "bvh",
    order=120,
    kind="motion",
    reads="motion capture",
    recognised="suffix, or HIERARCHY at the start",
    fits=lambda file: file.ends(".bvh") or file.starts(b"HIERARCHY") or file.mostly(".bvh"),
)
def read_bvh(path: str | Path, *, on_bad: str = "raise", unit_mm: float = 10.0) -> Reading:
    """The motion of a BVH file, or of every `.bvh` file below a folder, in the order of their
    names.

    Joints are the file's own, in its order; End Sites, which do not move by themselves, are left
    out. World mm, axes as the file has them. unit_mm: the length of the file's unit (10:
    centimetres). Labels (content, style) come from a JSON file beside it, `{"content": id, "style":
    id}`, by name where a folder `cfg` lists the names (Bandai Namco). on_bad: in a folder, "raise"
    at a bad file or "report" it and keep the others. Errors: `BadFile` with the line, `EmptyFile`,
    `MissingFile`; in a folder that of the first bad file, with their count; `BadParameter`.
    """
    check_on_bad(on_bad)
    if not 0 < unit_mm < np.inf:
        raise BadParameter(f"unit_mm is {unit_mm}, a length above 0 expected")
    path = Path(path)
    if not path.is_dir():
        return Reading("bvh", str(path), motions=(_motion(path, unit_mm),))
    files = sorted(path.rglob("*.bvh"))
    if not files:
        raise MissingFile("no .bvh file in this folder or below it", file=path)
    motions, bad = each(files, lambda file: _motion(file, unit_mm), "files", on_bad, path)
    return Reading("bvh", str(path), motions=tuple(motions), warnings=tuple(bad))


def _motion(path: Path, unit_mm: float) -> Motion:
    raw = read_bytes(path)
    split = re.search(rb"^[ \t]*MOTION[ \t]*\r?$", raw, re.MULTILINE)
    head = raw[: split.start()] if split else raw[:4096]
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(f"not a BVH file: not UTF-8 at byte {error.start}", file=path) from None
    if text.split(maxsplit=1)[:1] != ["HIERARCHY"]:
        raise BadFile("not a BVH file: it does not begin with HIERARCHY", file=path)
    if split is None:
        raise BadFile("no line MOTION: truncated", file=path, remedy="get the file again")
    joints = _hierarchy(text, path)
    rows, fps = _rows(raw[split.end() :], head.count(b"\n") + 1, joints, path)
    with np.errstate(over="ignore", invalid="ignore"):
        xyz = _forward(joints, rows) * unit_mm
    if not np.isfinite(xyz).all():
        raise BadFile("numbers too large for positions", file=path)
    return Motion(
        joints=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        xyz_mm=xyz,
        fps=fps,
        name=path.stem,
        labels=_labels(path),
    )


def _hierarchy(text: str, path: Path) -> list[_Joint]:
    """The tree above MOTION; braces may stand on lines of their own or not."""
    joints: list[_Joint] = []
    opened: list[int] = []  # joints whose braces are open; -1 for an End Site
    pending = None  # the joint that awaits its "{"
    number = 1

    def bad(problem: str) -> BadFile:
        return BadFile(problem, file=path, record=f"line {number}")

    def numbers(words: list[str]) -> list[float]:
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = []
        if len(values) != 3 or not np.isfinite(values).all():
            raise bad(f"OFFSET {' '.join(words)[:40]!r}, three numbers expected")
        return values

    for number, line in enumerate(text.splitlines(), 1):  # noqa: B007  `bad` uses it
        for statement in filter(None, map(str.strip, re.split(r"([{}])", line))):
            word, *rest = statement.split()
            inside = opened[-1] if opened else None
            if (word == "{") != (pending is not None):
                raise bad(
                    f"{statement[:40]!r}, "
                    f"{'a {' if pending is not None else 'a name before it'} expected"
                )
            if word == "{":
                opened.append(pending)
                pending = None
            elif word == "}" and opened:
                opened.pop()
            elif word == "HIERARCHY" and not joints:
                continue
            elif (
                word in ("ROOT", "JOINT")
                and rest
                and (word == "ROOT") == (inside is None)
                and inside != -1
            ):
                if len(joints) == MAX_JOINTS:
                    raise bad(f"more than {MAX_JOINTS} joints")
                pending = len(joints)
                joints.append(_Joint(" ".join(rest), -1 if inside is None else inside, [], []))
            elif [word, *rest] == ["End", "Site"] and inside not in (None, -1):
                pending = -1
            elif word == "OFFSET" and inside is not None:
                values = numbers(rest)
                if inside >= 0:
                    joints[inside].offset[:] = values
            elif word == "CHANNELS" and inside not in (None, -1) and not joints[inside].channels:
                channels = [channel.capitalize() for channel in rest[1:]]
                if rest[:1] != [str(len(channels))] or len(set(channels)) < len(channels):
                    raise bad(
                        f"CHANNELS {' '.join(rest)[:60]!r}: the count does not fit, or one stands "
                        "twice"
                    )
                if odd := [c for c in channels if not re.fullmatch("[XYZ](position|rotation)", c)]:
                    raise bad(f"unknown channel {odd[0][:40]!r}")
                joints[inside].channels[:] = channels
            else:
                raise bad(f"{statement[:40]!r} is not expected here")
    if opened or pending is not None:
        raise bad(f"{len(opened) + (pending is not None)} brackets are not closed before MOTION")
    names = [joint.name for joint in joints]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BadFile(f"two joints are called {min(twice)!r}", file=path)
    if lacking := [joint.name for joint in joints if not joint.offset]:
        raise BadFile("a joint without OFFSET", file=path, record=lacking[0])
    return joints


def _rows(body: bytes, line: int, joints: list[_Joint], path: Path) -> tuple[np.ndarray, float]:
    """The rows [t channels] below MOTION, and the frame rate. line: number of the line MOTION."""
    if not (width := sum(len(joint.channels) for joint in joints)):
        raise BadFile("no joint has channels", file=path)
    lines = ((number, text) for number, text in enumerate(io.BytesIO(body), line) if text.strip())
    values = []
    for key in ("Frames", "Frame Time"):
        number, text = next(lines, (line, b""))
        found = re.fullmatch(
            rb"%b:\s*((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)" % key.encode(), text.strip()
        )
        if found is None:
            got = text.strip()[:40].decode("latin1")
            raise BadFile(
                f"{key}: and a number expected, got {got!r}", file=path, record=f"line {number}"
            )
        values.append(float(found[1]))
    frames, seconds = values
    if not (1 <= frames < 1e18 and frames % 1 == 0 and 1e-6 <= seconds <= 1e6):
        raise BadFile(
            f"{frames:g} frames of {seconds:g} s each", file=path, record=f"line {number}"
        )
    frames = int(frames)
    # a value takes two bytes, so a claim alone costs no memory
    most = min(frames, len(body) // (2 * width) + 1)
    if most * len(joints) * 3 > MAX_COORDINATES:
        raise BadFile(
            f"{frames} frames of {len(joints)} joints are more than is read at once", file=path
        )
    rows, whole, broken = np.empty((most, width)), 0, None
    for number, text in lines:
        words = text.split()
        if len(words) != width:
            broken = broken or (number, len(words))
            continue
        if whole < most:
            try:
                rows[whole] = [float(word) for word in words]
            except ValueError as error:
                raise BadFile(f"{error}", file=path, record=f"line {number}") from None
        whole += 1
    if whole != frames or broken:
        problem = f"Frames: says {frames}, {whole} whole rows are present"
        if broken:
            problem += f" and a row of {broken[1]} values where {width} are expected"
        record = f"line {broken[0] if broken else number}"
        raise BadFile(
            problem, file=path, record=record, remedy="get the file again, it may be truncated"
        )
    if not np.isfinite(rows).all():
        bad = int(np.argmin(np.isfinite(rows).all(1)))
        raise BadFile("a value that is not finite", file=path, record=f"frame {bad}")
    return rows, round(1 / seconds, 3)


def _forward(joints: list[_Joint], rows: np.ndarray) -> np.ndarray:
    """Positions [t k 3] in the file's unit."""
    xyz, turned, at = np.zeros((len(rows), len(joints), 3)), [], 0
    for i, joint in enumerate(joints):
        local, turn = np.tile(np.array(joint.offset), (len(rows), 1)), np.eye(3)[None]
        for channel, values in zip(joint.channels, rows[:, at : at + len(joint.channels)].T):
            axis = "XYZ".index(channel[0])
            if channel.endswith("position"):
                local[:, axis] = values
            else:
                turn = turn @ _about(axis, np.radians(values))
        at += len(joint.channels)
        if joint.parent >= 0:
            local = xyz[:, joint.parent] + (turned[joint.parent] @ local[..., None])[..., 0]
            turn = turned[joint.parent] @ turn
        xyz[:, i] = local
        turned.append(turn)
    return xyz


def _about(axis: int, radians: np.ndarray) -> np.ndarray:
    """Rotations [t 3 3] about one axis; for this much data four times as fast as scipy's
    from_euler.
    """
    turn = np.zeros((len(radians), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn[:, axis, axis] = 1
    turn[:, i, i] = turn[:, j, j] = np.cos(radians)
    turn[:, j, i] = np.sin(radians)
    turn[:, i, j] = -turn[:, j, i]
    return turn


def _labels(path: Path) -> tuple[str, ...]:
    file = path.with_suffix(".json")
    if not file.is_file():
        return ()
    content = read_json(file)
    if type(content) is not dict or not {"content", "style"} & set(content):
        return ()  # a file of another kind
    labels = []
    for key in ("content", "style"):
        value = content.get(key)
        if type(value) is not int or value < 0:
            raise BadRecord(f"{key} is {str(value)[:40]!r}, a number expected", file=file)
        listed = path.parent.parent / "cfg" / f"{key}_label.txt"
        names = read_bytes(listed).decode("utf-8", "replace").split() if listed.is_file() else []
        labels.append(names[value].split("_", 1)[-1] if value < len(names) else str(value))
    return tuple(labels)


# --- bodies ---------------------------------------------------------------------------------------

# Our parts and what BVH files call them, without case, separators and namespace: Bandai Namco; CMU,
# Mixamo, LAFAN1.
_PARTS = {
    "belly": ("spine",),
    "chest": ("chest", "spine2", "spine1"),
    "throat": ("neck",),
    "neck": ("head",),
}
for _side, _s in (("left", "l"), ("right", "r")):
    _PARTS |= {
        f"{_side}_shoulder": (f"upperarm{_s}", f"{_side}arm"),
        f"{_side}_elbow": (f"lowerarm{_s}", f"{_side}forearm"),
        f"{_side}_wrist": (f"hand{_s}", f"{_side}hand"),
        f"{_side}_hip": (f"upperleg{_s}", f"{_side}upleg"),
        f"{_side}_knee": (f"lowerleg{_s}", f"{_side}leg"),
        f"{_side}_ankle": (f"foot{_s}", f"{_side}foot"),
        f"{_side}_toes": (f"toes{_s}", f"{_side}toebase"),
    }
# of the way from chest to the base of the neck: where the shoulders hang in Bandai Namco's skeleton
_SHOULDERS = 0.8
# Joint, what it hangs on, and which proportion scales that piece. Legs also scale the way that the
# pelvis travels.
_TREE = {"belly": ("pelvis", "trunk"), "thorax": ("belly", "trunk"), "neck": ("thorax", "neck")}
for _side in ("left", "right"):
    for _chain, _scale in (
        ("thorax shoulder", "width"),
        ("pelvis hip", "width"),
        ("shoulder elbow wrist", "arm"),
        ("hip knee ankle toes", "leg"),
    ):
        _names = [j if j in ("thorax", "pelvis") else f"{_side}_{j}" for j in _chain.split()]
        _TREE |= {child: (parent, _scale) for parent, child in itertools.pairwise(_names)}


def body_joints(motion: Motion, rng: np.random.Generator | None = None) -> Joints:
    """Joints by name as `synthetic.body_joints_mm`, and `left_toes`, `right_toes`, of a motion that
    `read_bvh` read.

    World mm, y up, floor at y = 0 as the file has them. `MADE_UP` names the joints that such files
    lack: `thorax` lies between chest and the base of the neck, `spine` between pelvis and thorax;
    the head is average, sits on the file's Head (the base of the skull, our `neck`) and looks where
    the shoulders face, since positions do not say how it turns. `pelvis` is the middle between the
    hips. rng: draws other proportions of legs, trunk, neck, arms, width and head; limbs stay rigid,
    feet stand where they did. Raises `BadRecord` that lists the missing joints of another skeleton.
    """
    names = {
        re.sub(r"[^a-z0-9]|mixamorig", "", joint.lower().rpartition(":")[2]): i
        for i, joint in enumerate(motion.joints)
    }
    found = {
        part: next((names[n] for n in other if n in names), None) for part, other in _PARTS.items()
    }
    if missing := [
        f"{part} ({' or '.join(_PARTS[part])})" for part, i in found.items() if i is None
    ]:
        problem = (
            f"not the joints of a body: {', '.join(missing[:5])} missing, {len(missing)} in all"
        )
        remedy = "rename the file's joints as Bandai Namco, CMU or Mixamo do"
        raise BadRecord(problem, record=motion.name or None, remedy=remedy)
    part = {name: motion.xyz_mm[:, i] for name, i in found.items()}
    old = {name: part[name] for name in part if name not in ("chest", "throat")}
    old["pelvis"] = (part["left_hip"] + part["right_hip"]) / 2
    old["thorax"] = part["chest"] + _SHOULDERS * (part["throat"] - part["chest"])

    scale = dict.fromkeys(("leg", "trunk", "neck", "arm", "width"), 1.0)
    if rng is not None:
        size = np.exp(0.06 * rng.standard_normal())  # spreads of ours, about those of adults
        scale = {name: 1.0 * size * np.exp(0.04 * rng.standard_normal()) for name in scale}
    new = {"pelvis": old["pelvis"] * scale["leg"]}
    for joint, (parent, name) in _TREE.items():
        new[joint] = new[parent] + scale[name] * (old[joint] - old[parent])
    new["spine"] = (new["pelvis"] + new["thorax"]) / 2

    legs = [
        np.linalg.norm(old[f"left_{a}"] - old[f"left_{b}"], axis=1).mean()
        for a, b in (("hip", "knee"), ("knee", "ankle"))
    ]
    stature = np.full((1, 1), sum(legs) / LEG_OF_STATURE)
    offsets = {j: np.array(xyz) * stature for j, xyz in HEAD_OFFSETS.items()}
    if rng is not None:
        offsets = head_offsets_mm(stature * scale["trunk"], rng)
    up = _unit(old["neck"] - part["throat"]) + _unit(part["throat"] - part["chest"])
    left = old["left_shoulder"] - old["right_shoulder"]
    ahead = _unit(np.cross(left, up))
    frame = np.stack([_unit(np.cross(up, ahead)), _unit(up), ahead], -1)
    return new | {name: new["neck"] + (frame @ xyz[0]) for name, xyz in offsets.items()}


def _unit(xyz: np.ndarray) -> np.ndarray:
    return xyz / np.maximum(np.linalg.norm(xyz, axis=-1, keepdims=True), 1e-9)
