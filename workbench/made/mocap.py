"""People who move as somebody was captured: bodies of ours out of BVH motions.

The one place of this room that opens files of the user's, by way of `data.manifest` and
`data.bvh`: a world with motion capture deals a data set's files out to its splits. `body_joints`
itself takes a record.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data import manifest
from ..data.bvh import odd_size, read_bvh
from ..errors import BadRecord, MissingData
from ..records import Motion
from .bodies import LEG_OF_STATURE, head_offsets_mm
from .joints import SIDES, Joints, Rng, between, mirrored, unit
from .world import SPLITS

# --- one body -------------------------------------------------------------------------------------


# Our parts and what BVH files call them, without case, separators and namespace: Bandai Namco;
# CMU, Mixamo, LAFAN1.
_FILE_NAMES = {
    "belly": ("spine",),
    "chest": ("chest", "spine2", "spine1"),
    "throat": ("neck",),
    "neck": ("head",),
}
# Joint, what it hangs on, and which proportion scales that piece. Legs also scale the way that the
# pelvis travels.
_TREE = {"belly": ("pelvis", "trunk"), "thorax": ("belly", "trunk"), "neck": ("thorax", "neck")}
for _side in SIDES:
    for _joint, _first, _other, _parent, _proportion in (
        ("shoulder", "upperarm", "arm", "thorax", "width"),
        ("elbow", "lowerarm", "forearm", f"{_side}_shoulder", "arm"),
        ("wrist", "hand", "hand", f"{_side}_elbow", "arm"),
        ("hip", "upperleg", "upleg", "pelvis", "width"),
        ("knee", "lowerleg", "leg", f"{_side}_hip", "leg"),
        ("ankle", "foot", "foot", f"{_side}_knee", "leg"),
        ("toes", "toes", "toebase", f"{_side}_ankle", "leg"),
    ):
        _FILE_NAMES[f"{_side}_{_joint}"] = (_first + _side[0], _side + _other)
        _TREE[f"{_side}_{_joint}"] = (_parent, _proportion)
# of the way from chest to the base of the neck: where the shoulders hang in Bandai Namco's skeleton
_SHOULDERS = 0.8


def body_joints(motion: Motion, rng: Rng | None = None) -> Joints:
    """Joints by name as `bodies.body_joints_mm`, and `left_toes`, `right_toes`, of a motion that
    `read_bvh` read.

    World mm, y up, floor at y = 0 as the file has them. What such files lack is made up: `thorax`
    lies between chest and the base of the neck, `spine` between pelvis and thorax; the head
    (`bodies.HEAD_OFFSETS`) is average, sits on the file's Head (the base of the skull, our `neck`)
    and looks where the shoulders face, since positions do not say how it turns. `pelvis` is the
    middle between the hips. rng: draws other proportions of legs, trunk, neck, arms, width and
    head; limbs stay rigid, feet stand where they did. Raises `BadRecord` that lists the missing
    joints of another skeleton.
    """
    captured = _parts(motion)
    captured["pelvis"] = (captured["left_hip"] + captured["right_hip"]) / 2
    spine_top = captured["throat"] - captured["chest"]
    captured["thorax"] = captured["chest"] + _SHOULDERS * spine_top

    scale = dict.fromkeys(("leg", "trunk", "neck", "arm", "width"), 1.0)
    if rng is not None:
        size = np.exp(0.06 * rng.standard_normal())  # spreads of ours, about those of adults
        scale = {name: size * np.exp(0.04 * rng.standard_normal()) for name in scale}
    body = {"pelvis": captured["pelvis"] * scale["leg"]}
    for joint, (parent, proportion) in _TREE.items():
        piece = captured[joint] - captured[parent]
        body[joint] = body[parent] + scale[proportion] * piece
    body["spine"] = (body["pelvis"] + body["thorax"]) / 2

    thigh, shank = (
        np.linalg.norm(captured[f"left_{a}"] - captured[f"left_{b}"], axis=1).mean()
        for a, b in (("hip", "knee"), ("knee", "ankle"))
    )
    stature = np.full((1, 1), (thigh + shank) / LEG_OF_STATURE)
    # left, up and forward of a head that is held as neck and shoulders are
    up = unit(captured["neck"] - captured["throat"]) + unit(spine_top)
    forward = unit(np.cross(captured["left_shoulder"] - captured["right_shoulder"], up))
    head = np.stack([unit(np.cross(up, forward)), unit(up), forward], -1)
    for name, offset in head_offsets_mm(stature * scale["trunk"], rng).items():
        body[name] = body["neck"] + head @ offset[0]
    return body


def _parts(motion: Motion) -> Joints:
    """The parts of `_FILE_NAMES` in a motion, whatever its file calls them."""
    columns = {}
    for i, joint in enumerate(motion.joints):
        name = joint.lower().rpartition(":")[2]
        columns[re.sub(r"[^a-z0-9]|mixamorig", "", name)] = i
    parts, missing = {}, []
    for part, names in _FILE_NAMES.items():
        column = next((columns[name] for name in names if name in columns), None)
        if column is None:
            missing.append(f"{part} ({' or '.join(names)})")
        else:
            parts[part] = motion.xyz_mm[:, column]
    if missing:
        raise BadRecord(
            f"not the joints of a body: {', '.join(missing[:5])} missing, {len(missing)} in all",
            record=motion.name or None,
            remedy="rename the file's joints as Bandai Namco, CMU or Mixamo do",
        )
    return parts


# --- motions by split -----------------------------------------------------------------------------


@functools.cache
def captured_motions(data: str) -> tuple[Motion, ...]:
    """All motions of a data set of BVH files (NAME or NAME:PATH of a manifest), read once.
    `BadRecord` for a body that is no body's size in centimetres.
    """
    return _motions(manifest.locate(data)[1])


def _motions(path: Path) -> tuple[Motion, ...]:
    motions = read_bvh(path).motions
    for motion in motions:
        if odd_size(motion, path):
            problem = f"a body {motion.height_mm:,.4g} mm high, if the file is in centimetres"
            remedy = "scale the files to centimetres"
            raise BadRecord(problem, file=path, record=motion.name, remedy=remedy)
    return motions


def motion_files(data: str, split: str) -> list[Path]:
    """The BVH files of that split in a data set (NAME or NAME:PATH of a manifest).

    `MissingData` where the data set is not on this machine, or has too few files.
    """
    found, root = manifest.locate(data)
    files = sorted(root.rglob("*.bvh"), key=lambda path: path.name)
    dealt = deal_out(files, split)
    if not dealt:
        raise MissingData(
            f"{len(files)} BVH files, too few for three splits", file=root, record=found.name
        )
    return dealt


def deal_out(files: Sequence[Path], split: str) -> list[Path]:
    """What a split gets: about 60, 20 and 20 % of all pairs of content and style, none in two
    splits.
    """
    # dataset-1_walk_tired_001.bvh
    kinds = ["_".join(path.stem.split("_")[1:-1]) or path.stem for path in files]
    shuffled = sorted(set(kinds), key=lambda kind: hashlib.sha256(kind.encode()).digest())
    cuts = [round(share * len(shuffled)) for share in (0, 0.6, 0.8, 1)]
    at = SPLITS.index(split)
    chosen = shuffled[cuts[at] : cuts[at + 1]]
    return [path for path, kind in zip(files, kinds) if kind in chosen]


@functools.lru_cache(maxsize=64)
def _motion(path: Path) -> Motion:
    return _motions(path)[0]


def captured_joints(data: str, split: str, n_frames: int, fps: float, rng: Rng) -> Joints:
    """Somebody of other proportions who moves for n frames as in a file of that split, perhaps
    mirrored; world mm.

    Raises `MissingData` where no motion of the split is that long.
    """
    files = motion_files(data, split)
    for i in rng.permutation(len(files)):
        motion = _motion(files[i])
        spare = len(motion.xyz_mm) - 1 - (n_frames - 1) / fps * motion.fps  # frames
        if spare >= 0:
            break
    else:
        raise MissingData(
            f"no motion of {n_frames} frames for {split}",
            file=files[0].parent,
            remedy="shorten n_frames",
        )
    joints = body_joints(motion, rng)
    at = rng.uniform(0, spare) + np.arange(n_frames) / fps * motion.fps
    if rng.random() < 0.5:
        joints = mirrored(joints)
    return {name: between(xyz, at) for name, xyz in joints.items()}
