"""Worlds of rendered people: recipes that become clips with exact joints, visibility, boxes and
tracks. Synthetic.

A `World` is a frozen recipe; (recipe, split, index) gives one clip, always the same. Every clip
draws its own people, motions and room from generators that nobody else uses, so train, val and test
share none of them; motion capture is dealt out to the splits by what is done and how. All numbers
of this file are our own choice, judged by eye.

Visibility comes from the depth buffer in the middle of the shutter, at the pixel of the joint: 2
where that pixel sees a limb of this person that meets others at this joint (the trunk only where
its surface is near the joint; joints of the face only where they face the camera), or something
behind the joint; 1 where it sees anything else: another limb, another person, an object; 0 outside
the picture, with coordinates (0, 0). `xyz_camera_mm` stays exact for all joints. A box is that of
the person's whole silhouette, hidden parts too, clipped to the picture; a head box, of skull, hair
and cap.
"""

from __future__ import annotations

import colorsys
import contextlib
import functools
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pooch
from jaxtyping import Float, Int16, UInt8
from scipy.spatial.transform import Rotation
from tqdm.auto import tqdm

from ..data import manifest
from ..data.bvh import body_joints, read_bvh
from ..errors import BadFile, BadParameter, MissingData, unknown
from ..records import Clip, Track, Video
from ..skeletons import skeleton
from . import render
from .bodies import BODY_SKELETONS, skeleton_joints
from .gaits import GAITS, gait_joints_mm
from .render import BALL, BOX, LIMB, OCCLUDER, Light, Projected, Room, Solids, Surfaces, View, join

RENDERER = 1  # counts changes of anything that changes a pixel or a label: part of every digest
SPLITS = ("train", "val", "test")
Joints = dict[str, Float[np.ndarray, "t 3"]]


@dataclass(frozen=True)
class World:
    """A recipe. Ranges are inclusive; what is drawn at random is drawn once a clip."""

    name: str
    motion: str = "gaits"  # or "mocap": BVH files of the data set `data`
    data: str | None = None  # NAME or NAME:PATH of a manifest
    size_wh: tuple[int, int] = (320, 240)  # px
    n_frames: int = 21
    fps: float = 15.0
    people: tuple[int, int] = (1, 4)
    occluders: tuple[int, int] = (0, 3)
    moving_camera: float = 0.5  # share of clips
    # at most so many are averaged within the shutter, as few as motion needs; 1: no motion blur
    sub_frames: int = 7
    shutter: tuple[float, float] = (0.05, 0.6)  # of the time between two frames
    skeleton: str = "coco17"
    label_stride: int = 1  # every such frame is labelled
    label_first: int = 0  # from this one on
    gaits: tuple[str, ...] = ()  # what people do, of `gaits.GAITS`; empty: any of them
    seed: int = 0

    def __post_init__(self):
        if skeleton(self.skeleton).name not in BODY_SKELETONS:
            raise unknown("body skeleton", self.skeleton, BODY_SKELETONS)
        ranges = {name: getattr(self, name) for name in ("people", "occluders", "shutter")}
        wrong = [
            name for name in ("n_frames", "fps", "label_stride") if not getattr(self, name) > 0
        ]
        wrong += [
            name for name, (low, high) in ranges.items() if not (name == "people") <= low <= high
        ]
        wrong += ["motion"] * (
            self.motion not in ("gaits", "mocap") or (self.motion == "mocap") != bool(self.data)
        )
        wrong += ["label_first"] * (not 0 <= self.label_first < self.n_frames)
        wrong += ["gaits"] * (
            not set(self.gaits) <= set(GAITS) or bool(self.gaits and self.motion != "gaits")
        )
        wrong += ["size_wh"] * (min(self.size_wh) < 16) + ["sub_frames"] * (
            self.sub_frames % 2 != 1
        )
        if wrong:
            raise BadParameter(
                f"world {self.name!r} cannot have "
                f"{', '.join(f'{name}={getattr(self, name)!r}' for name in wrong)}",
                remedy="counts from 1, ranges as (low, high), 16 px and more, odd sub_frames, data with mocap alone",
            )

    def digest(self) -> str:
        """Hexadecimal hash of the recipe and the renderer: equal digests mean equal pixels and
        labels.
        """
        younger = ("label_first", "gaits")  # they count where they are used
        fields = {
            name: value for name, value in asdict(self).items() if value or name not in younger
        }
        recipe = json.dumps({"renderer": RENDERER, **fields}, sort_keys=True)
        return hashlib.sha256(recipe.encode()).hexdigest()[:16]


WORLDS = {
    w.name: w
    for w in (
        World("synthetic"),
        World("synthetic_mocap", "mocap", "bandai_namco", n_frames=19, fps=30.0),
        World(
            "occluded_people",
            size_wh=(256, 192),
            n_frames=1,
            people=(2, 4),
            occluders=(1, 4),
            sub_frames=1,
        ),  # single pictures, about half of all joints hidden
        World(
            "crossing_people",
            size_wh=(256, 192),
            n_frames=5,
            fps=12.0,
            people=(2, 4),
            occluders=(1, 4),
            sub_frames=5,
            shutter=(0.2, 0.9),
            skeleton="posetrack15",
            label_stride=5,
            label_first=2,
        ),  # clips with blur, of which the middle frame alone is labelled
        World(
            "fast_people",
            size_wh=(256, 192),
            n_frames=16,
            fps=12.0,
            people=(1, 3),
            occluders=(0, 3),
            moving_camera=0.3,
            sub_frames=5,
            shutter=(0.3, 0.9),
            skeleton="posetrack15",
            gaits=("turn", "run", "dance", "kick", "punch", "jump", "wave", "side_step"),
        ),  # longer clips of people who move fast and on curves, all frames labelled
        World(
            "synthetic_tiny",
            size_wh=(96, 80),
            n_frames=3,
            people=(1, 2),
            occluders=(0, 1),
            sub_frames=3,
        ),
    )
}


def world(name: str | World) -> World:
    """The world of that name; `UnknownName` with near matches otherwise."""
    if isinstance(name, World):
        return name
    if name not in WORLDS:
        raise unknown("world", name, WORLDS)
    return WORLDS[name]


def stream(recipe: World, split: str, index: int, role: str) -> np.random.Generator:
    """The generator of one role ("room", "person 0", ...) in one clip; no two clips, splits or
    roles share one.

    It follows from the world's name and seed alone: the same scene may be filmed larger, or without
    motion blur.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    key = hashlib.sha256(f"{recipe.name}/{recipe.seed}/{split}/{index}/{role}".encode()).digest()
    return np.random.default_rng(np.frombuffer(key, np.uint32))


# --- motion ---------------------------------------------------------------------------------------


def motion_files(data: str, split: str) -> list[Path]:
    """The BVH files of that split: about 60, 20 and 20 % of all pairs of content and style, none in
    two splits.

    `MissingData` where the data set is not on this machine, or has too few files.
    """
    found, root = manifest.locate(data)
    files = sorted(root.rglob("*.bvh"), key=lambda path: path.name)
    # dataset-1_walk_tired_001.bvh
    kinds = ["_".join(path.stem.split("_")[1:-1]) or path.stem for path in files]
    shuffled = sorted(set(kinds), key=lambda kind: hashlib.sha256(kind.encode()).digest())
    cuts, at = [0, *(round(k * len(shuffled)) for k in (0.6, 0.8, 1))], SPLITS.index(split)
    mine = shuffled[cuts[at] : cuts[at + 1]]
    if not mine:
        raise MissingData(
            f"{len(files)} BVH files, too few for three splits", file=root, record=found.name
        )
    return [path for path, kind in zip(files, kinds) if kind in mine]


@functools.lru_cache(maxsize=64)
def _motion(path: Path):
    return read_bvh(path).motions[0]


def _joints(recipe: World, split: str, rng: np.random.Generator) -> Joints:
    """One person's motion, world mm, with a frame more at either end than the clip has."""
    n = recipe.n_frames + 2
    if recipe.motion == "gaits":
        kind = recipe.gaits[int(rng.integers(len(recipe.gaits)))] if recipe.gaits else None
        return gait_joints_mm(n, recipe.fps, rng, kind)
    files = motion_files(recipe.data, split)
    for i in rng.permutation(len(files)):
        motion = _motion(files[i])
        spare = len(motion.xyz_mm) - 1 - (n - 1) / recipe.fps * motion.fps  # frames
        if spare >= 0:
            break
    else:
        raise MissingData(
            f"no motion of {n} frames for {split}", file=files[0].parent, remedy="shorten n_frames"
        )
    joints = body_joints(motion, rng)
    at = rng.uniform(0, spare) + np.arange(n) / recipe.fps * motion.fps
    if rng.random() < 0.5:
        other = {"left": "right", "right": "left"}
        joints = {
            "_".join(other.get(w, w) for w in name.split("_")): v * [-1, 1, 1]
            for name, v in joints.items()
        }
    return {name: _between(xyz, at) for name, xyz in joints.items()}


def _between(xyz: Float[np.ndarray, "t 3"], at: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n 3"]:
    """Positions at fractional frames, on cubic curves through the frames (Catmull-Rom); exact at
    the frames.
    """
    i = np.clip(np.floor(at).astype(int), 0, len(xyz) - 2)
    u = (at - i)[:, None]
    p0, p1, p2, p3 = (xyz[np.clip(i + k, 0, len(xyz) - 1)] for k in (-1, 0, 1, 2))
    return p1 + u / 2 * (
        p2 - p0 + u * (2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * (p1 - p2) + p3 - p0))
    )


# --- surfaces -------------------------------------------------------------------------------------

# Between these lie skin and hair; sRGB-like, 0 to 1.
_SKIN = np.array([[0.27, 0.18, 0.13], [0.48, 0.33, 0.24], [0.73, 0.53, 0.41], [0.91, 0.74, 0.64]])
_HAIR = np.array([[0.06, 0.05, 0.05], [0.25, 0.16, 0.1], [0.55, 0.4, 0.22], [0.72, 0.7, 0.68]])


def _tone(table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    at = rng.uniform(0, len(table) - 1.001)
    return table[int(at)] + (at % 1) * (table[int(at) + 1] - table[int(at)])


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Muted more often than bright."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.beta(1.1, 2.6), rng.uniform(0.1, 0.92)))


class _Palette:
    """Collects the surfaces of one clip."""

    def __init__(self):
        self.rows = []

    def add(self, a, b=None, waves=((0, 0, 0, 0), (0, 0, 0, 0)), grain=0.1, cell_mm=12.0) -> int:
        """Index of a new surface of two sRGB-like colours."""
        pair = np.array([a, a if b is None else b]) ** 2
        self.rows.append((pair.T, waves, grain, 1 / cell_mm))
        return len(self.rows) - 1

    def stuff(self, rng: np.random.Generator, scale: float = 1.0) -> int:
        """Cloth, or at a larger scale whatever objects are made of: plain, striped along or
        across, checked, banded.
        """
        a, b, mix, along, across = (
            _colour(rng),
            _colour(rng),
            rng.uniform(0.3, 1),
            *(1 / rng.uniform(24, 130, 2) / scale),
        )
        one, two = [
            ((0, 0, 0), (0, 0, 0)),
            ((0, along, 0), (0, 0, 0)),
            ((0, 0, 0), (across, 0, 0)),
            ((0, along, 0), (across, 0, 0)),
            ((across, along, 0), (0, 0, 0)),
            ((0, along / 4, 0), (0, 0, 0)),
        ][rng.choice(6, p=[0.45, 0.2, 0.08, 0.12, 0.07, 0.08])]
        waves = ((*one, rng.random()), (*two, rng.random()))
        return self.add(
            a, mix * b + (1 - mix) * a, waves, rng.uniform(0.05, 0.4), scale * rng.uniform(5, 45)
        )

    def surfaces(self, rng: np.random.Generator) -> Surfaces:
        colours, waves, grain, fine = (np.array(column, np.float32) for column in zip(*self.rows))
        noise = rng.integers(0, 256, (32, 32, 32)) / 255 - 0.5
        noise = sum(np.roll(noise, step, axis) for axis in range(3) for step in (-1, 0, 1)) / 4.5
        return Surfaces(
            colours.transpose(1, 2, 0),
            waves.transpose(1, 2, 0),
            grain,
            fine,
            noise.astype(np.float32),
        )


# --- bodies and things ----------------------------------------------------------------------------


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def _yaw(angle: float) -> Float[np.ndarray, "3 3"]:
    """Rows: the axes of somebody who has turned left by so many radians."""
    return Rotation.from_euler("y", angle).as_matrix().T


def _frame(left: np.ndarray, up: np.ndarray) -> Float[np.ndarray, "t 3 3"]:
    """Rows: left made orthogonal to up, up, forward."""
    up = _unit(up)
    left = _unit(left - (left * up).sum(-1, keepdims=True) * up)
    return np.stack([left, up, np.cross(left, up)], 1)


def _hang(frame: np.ndarray, down: np.ndarray) -> Float[np.ndarray, "t 3 3"]:
    """The frame turned the shortest way until its second row is -down: so texture keeps to a
    limb that swings.
    """
    start, d = -frame[:, 1], _unit(down)
    both = (start + d) / np.maximum(1 + (start * d).sum(-1, keepdims=True), 1e-3)
    left, forward = (v - (v * d).sum(-1, keepdims=True) * both for v in (frame[:, 0], frame[:, 2]))
    return np.stack([_unit(left), -d, _unit(forward)], 1)


_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
_HEAD = (*_FACE, "head_top", "skull", "skull_base", "neck")
_PAIRS = [
    f"{side}_{name}"
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]
BITS = {
    name: 1 << i for i, name in enumerate((*_HEAD, "thorax", "spine", "belly", "pelvis", *_PAIRS))
}


class _Group:
    """Collects the solids of one owner; radii are given in units of `scale` mm."""

    def __init__(self, owner: int, scale: float = 1.0):
        self.owner, self.scale, self.rows = owner, scale, []

    def add(self, kind, centre, axes, surface, *joints, taper=0.0, cut=9.0, reach=np.inf) -> None:
        """joints: those at which this solid meets others."""
        pair = surface if isinstance(surface, tuple) else (surface, surface)
        self.rows.append(
            (kind, centre, axes, taper, pair, cut, self.owner, sum(BITS[j] for j in joints), reach)
        )

    def ball(self, centre, frame, radii, *more, **options) -> None:
        self.add(
            BALL,
            centre,
            frame * (np.broadcast_to(radii, 3)[:, None] * self.scale),
            *more,
            **options,
        )

    def limb(self, a, b, frame, ra, rb, *more, flat=1.0, **options) -> None:
        """From a to b (radii ra, rb) along the frame that hangs there, as deep as `flat` times
        wide.
        """
        r = (ra + rb) / 2 * self.scale
        axes = np.stack(
            np.broadcast_arrays(frame[..., 0, :] * r, (b - a) / 2, frame[..., 2, :] * (r * flat)),
            -2,
        )
        self.add(LIMB, (a + b) / 2, axes, *more, taper=(rb - ra) / (ra + rb), **options)

    def solids(self, t: int) -> Solids:
        kind, centre, axes, *rest = zip(*self.rows)
        centre = np.stack([np.broadcast_to(v, (t, 3)) for v in centre], 1)
        axes = np.stack([np.broadcast_to(v, (t, 3, 3)) for v in axes], 1)
        return Solids(np.array(kind), centre, axes, *(np.array(column) for column in rest))


def dress(
    joints: Joints,
    rest: dict[str, Float[np.ndarray, "3"]],
    owner: int,
    rng: np.random.Generator,
    palette: _Palette,
) -> list[Solids]:
    """A body around the joints: build, clothes, hair, colours of one person, drawn from rng; and
    what he or she carries.

    rest: the same person at one instant, from which lengths are taken.
    """

    def length(a, b):
        return float(np.linalg.norm(rest[a] - rest[b]))

    j, s = joints, length("head_top", "neck") / 0.13  # stature, mm
    body, heavy = _Group(owner, s), float(np.exp(rng.normal(0, 0.12)))
    skin, hair = (
        palette.add(_tone(_SKIN, rng), grain=0.08),
        palette.add(_tone(_HAIR, rng), grain=0.35, cell_mm=5.0),
    )
    dark, lip = palette.add((0.08, 0.06, 0.06)), palette.add(_tone(_SKIN, rng) * [0.85, 0.6, 0.6])
    top, bottom, shoe = (palette.stuff(rng) for _ in range(3))
    skirt = rng.random() < 0.15
    top = bottom if skirt and rng.random() < 0.5 else top  # a dress
    # How far cloth reaches: 0 the shoulder or hip, 1 elbow or knee, 2 wrist or ankle.
    sleeve = rng.choice(
        [0.0, rng.uniform(0.4, 1), rng.uniform(1.1, 2), 2.0], p=[0.1, 0.4, 0.15, 0.35]
    )
    leg = rng.choice([rng.uniform(0.4, 0.9), rng.uniform(1.2, 1.6), 1.9], p=[0.25, 0.1, 0.65])
    leg = rng.choice([0.55, 1.95], p=[0.7, 0.3]) if skirt else leg

    chest = _frame(j["left_shoulder"] - j["right_shoulder"], j["thorax"] - j["belly"])
    hips = _frame(j["left_hip"] - j["right_hip"], j["belly"] - j["pelvis"])
    head = _frame(j["left_ear"] - j["right_ear"], j["head_top"] - j["neck"])
    shoulder, hip = (
        length("left_shoulder", "right_shoulder") / 2 / s,
        length("left_hip", "right_hip") / 2 / s,
    )
    waist, breast, seat = (
        rng.uniform(0.66, 0.82) * shoulder * heavy,
        0.86 * shoulder * heavy**0.5,
        hip + 0.042 * heavy,
    )
    flat = rng.uniform(0.62, 0.74) * heavy**0.3

    # The trunk counts as seen at a joint only where its surface is near: the far shoulder of a
    # profile is hidden.
    reach = 1.5 * flat * seat * s
    upper = (top, "left_shoulder", "right_shoulder", "thorax", "neck", "spine", "belly")
    lower = ("left_hip", "right_hip", "pelvis", "spine", "belly")
    high, base = (
        (j["belly"] + 0.8 * (j["thorax"] - j["belly"])),
        j["thorax"] + 0.4 * (j["neck"] - j["thorax"]),
    )
    body.limb(j["belly"], high, chest, waist, breast, *upper, flat=flat, reach=reach)
    body.ball(high, chest, (breast, 0.056, breast * flat), *upper, reach=reach)
    body.ball(j["belly"], hips, (waist, 0.05, waist * flat), top, *lower, reach=reach)
    belt = rng.uniform(-0.5, 0.6)
    body.limb(
        j["pelvis"],
        j["belly"],
        hips,
        seat,
        waist,
        (bottom, top),
        *lower,
        cut=belt,
        flat=flat,
        reach=reach,
    )
    body.ball(j["pelvis"], hips, (seat, 0.055, seat * flat * 1.06), bottom, *lower, reach=reach)
    root, collar = j["thorax"] - 0.02 * s * chest[:, 1], rng.uniform(-0.7, 0.3)
    neck = ((top, skin), "neck", "thorax", "skull_base")
    body.limb(
        root, j["skull_base"], _hang(head, root - j["skull_base"]), 0.036, 0.029, *neck, cut=collar
    )

    limbs = (
        (("shoulder", "elbow", "wrist"), chest, np.array([0.03, 0.0235, 0.0165]), top, sleeve),
        (("hip", "knee", "ankle"), hips, np.array([0.05, 0.034, 0.023]), bottom, leg),
    )
    for side in ("left", "right"):
        tip = {}
        for names, frame, radii, cloth, covered in limbs:
            names = [f"{side}_{name}" for name in names]
            a, b, c = (j[name] for name in names)
            r = radii * heavy * (1.0 if covered <= 1 else 1.12)  # long cloth hangs loose
            one = _hang(frame, b - a)
            two = _hang(one, c - b)
            body.ball(a, one, r[0], cloth if covered > 0 else skin, *names[:2])
            body.limb(a, b, one, r[0], r[1], (cloth, skin), *names[:2], cut=2 * covered - 1)
            body.ball(b, two, r[1], cloth if covered > 1 else skin, *names[1:])
            body.limb(b, c, two, r[1], r[2], (cloth, skin), *names[1:], cut=2 * covered - 3)
            tip[names[2]] = c, two
        a = j[f"{side}_shoulder"]
        body.limb(
            base,
            a,
            _hang(chest, a - base),
            0.03,
            0.0255,
            top,
            f"{side}_shoulder",
            "thorax",
            reach=reach,
        )
        (c, fore), on = tip[f"{side}_wrist"], (skin, f"{side}_wrist")
        palm, thumb = (
            c + s * (z * fore[:, 2] - y * fore[:, 1]) for y, z in ((0.042, 0.0), (0.03, 0.02))
        )
        # the palm faces the body: thin from left to right, the thumb in front
        hand = fore[:, [2, 1, 0]]
        body.ball(palm, hand, (0.024, 0.05, 0.011), *on)
        body.ball(thumb, _hang(hand, thumb - c), (0.008, 0.022, 0.008), *on)
        (c, shank), on, toes = tip[f"{side}_ankle"], (shoe, f"{side}_ankle"), j[f"{side}_toes"]
        foot = _frame(np.cross(shank[:, 1], toes - c) + 1e-3 * shank[:, 0], toes - c)
        body.ball(c - 0.008 * s * shank[:, 1], shank, (0.025, 0.032, 0.03), *on)
        body.ball(c + 0.42 * (toes - c) - 0.006 * s * shank[:, 1], foot, (0.026, 0.085, 0.021), *on)

    def part(at, radii, surface, frame=head):  # of the head; place and radii in statures
        centre = (
            j[at] - 0.006 * s * head[:, 2]
            if isinstance(at, str)
            else j["neck"] + s * (np.array(at) @ head)
        )
        body.ball(centre, frame, radii, surface, *_HEAD)

    part((0, 0.07, 0.003), (0.043, 0.06, 0.054), skin)
    # the jaw, or a beard
    part((0, 0.03, 0.017), (0.034, 0.038, 0.037), hair if rng.random() < 0.15 else skin)
    part((0, 0.019, 0.045), (0.015, 0.0045, 0.009), lip)
    part("nose", (0.0075, 0.014, 0.011), skin)
    for side in ("left", "right"):
        part(f"{side}_ear", (0.005, 0.017, 0.014), skin)
        part(f"{side}_eye", (0.0085, 0.0055, 0.0065), dark)
    style = rng.choice(["short", "long", "tail", "cap", "bald"], p=[0.42, 0.22, 0.1, 0.16, 0.1])
    cover, back = palette.stuff(rng) if style == "cap" else hair, rng.uniform(0.25, 0.5)
    if style != "bald":
        part(
            (0, 0.078, -0.008),
            np.array([0.046, 0.056, 0.055]) * rng.uniform(1.02, 1.12),
            cover,
            _hang(head, back * head[:, 2] - head[:, 1]),
        )
    if style == "long":
        part((0, 0.03, -0.03), (0.045, rng.uniform(0.06, 0.1), 0.028), hair)
    if style == "tail":
        part(
            (0, 0.05, -0.065),
            (0.018, 0.05, 0.018),
            hair,
            _hang(head, -head[:, 1] - 0.3 * head[:, 2]),
        )
    if style == "cap":
        part((0, 0.085, 0.06), (0.035, 0.006, 0.035), cover)
    if skirt:
        end = j["pelvis"] + rng.uniform(0.6, 1.25) * (
            (j["left_knee"] + j["right_knee"]) / 2 - j["pelvis"]
        )
        wide, on = (
            seat * rng.uniform(1.1, 1.7),
            ("left_hip", "right_hip", "left_knee", "right_knee"),
        )
        body.limb(
            j["pelvis"],
            end,
            _hang(hips, end - j["pelvis"]),
            seat,
            wide,
            bottom,
            *on,
            flat=0.8,
            reach=1.5 * wide * s,
        )
    carried = _Group(OCCLUDER)
    if rng.random() < 0.12:  # a backpack; no part of the person, as in COCO
        size = (
            np.array([rng.uniform(0.07, 0.1), rng.uniform(0.1, 0.15), rng.uniform(0.03, 0.06)]) * s
        )
        carried.add(
            BOX,
            high - chest[:, 2] * (breast * flat * s + size[2]),
            chest * size[:, None],
            palette.stuff(rng),
        )
    return [group.solids(len(high)) for group in (body, carried) if group.rows]


def _thing(
    path: Float[np.ndarray, "t 3"], size: float, rng: np.random.Generator, palette: _Palette
) -> Solids:
    """An object about so many mm wide whose foot follows the path: board, crate, pole, sign or
    plant.
    """
    thing, up, frame = _Group(OCCLUDER), np.array([0.0, 1.0, 0.0]), _yaw(rng.uniform(-np.pi, np.pi))
    kind = rng.choice(["board", "crate", "pole", "sign", "plant"], p=[0.25, 0.2, 0.2, 0.15, 0.2])
    stuff, cut = (palette.stuff(rng, 3.0), palette.stuff(rng, 3.0)), rng.uniform(-1, 1.5)
    tall, lifted = size * rng.uniform(0.5, 2.0), rng.choice([0.0, rng.uniform(200, 900)])
    if kind in ("board", "crate"):
        deep, lifted = (12.0, lifted) if kind == "board" else (size * rng.uniform(0.3, 0.5), 0.0)
        axes = np.array([size / 2, tall / 2, deep])
        thing.add(BOX, path + (lifted + tall / 2) * up, frame * axes[:, None], stuff, cut=cut)
    elif kind == "pole":
        r = size * rng.uniform(0.08, 0.2)
        thing.limb(
            path,
            path + rng.choice([1400.0, 3500.0]) * up,
            frame,
            r,
            r * rng.uniform(0.6, 1),
            stuff,
            cut=cut,
        )
    elif kind == "sign":
        centre = path + rng.uniform(700, 2000) * up
        thing.limb(path, centre, frame, 22.0, 22.0, stuff[0])
        thing.ball(centre, frame, (size / 2, size / 2 * rng.uniform(0.7, 1.3), 15.0), stuff[1])
    else:
        pot = path + 0.25 * size * up
        thing.limb(path, pot, frame, 0.17 * size, 0.22 * size, stuff[0])
        green = palette.add(
            (0.15, 0.3, 0.1), (0.3, 0.5, 0.16), ((0, 0.02, 0, 0), (0, 0, 0, 0)), 0.4, 20.0
        )
        for way in _unit(rng.normal(0, 1, (18, 3)) * [1, 0.6, 1] + [0, 0.9, 0]):
            long = size * rng.uniform(0.2, 0.38)
            leaf = _hang(frame[None], -way[None])[0]
            thing.ball(
                pot + way * long, leaf, (size * rng.uniform(0.05, 0.12), long, size * 0.02), green
            )
    return thing.solids(len(path))


# --- scenes ---------------------------------------------------------------------------------------


def _picture(rng: np.random.Generator, edge: int, ground: bool) -> Float[np.ndarray, "e e 3"]:
    """A wall or floor, linear: paint and stains; tiles, planks or bricks; posters, doors,
    windows.
    """
    layers = []
    for cells in (4, 16, 64, edge):  # wrapped around, so that it repeats without a seam
        small, k = (
            np.pad(rng.integers(0, 256, (cells, cells), np.uint8), 1, mode="wrap"),
            edge // cells,
        )
        big = cv2.resize(small, None, fx=k, fy=k, interpolation=cv2.INTER_LINEAR_EXACT)
        layers.append(big[k:-k, k:-k].astype(np.float32))
    stains = sum(
        k * (v / 255 - 0.5)
        for k, v in zip(rng.dirichlet([1, 1, 1, 0.5]) * rng.uniform(0.15, 0.9), layers)
    )
    picture = (1 + stains)[..., None] * (_colour(rng) * (0.6 if ground else 1.0) + 0.1 * ground)
    if rng.random() < 0.6:
        (high, wide), darker, rows = (
            rng.choice([8, 16, 32, 64], 2),
            rng.uniform(0.55, 1.25),
            np.arange(edge),
        )
        picture[rows % high == 0] *= darker
        if rng.random() < 0.6:
            picture[(rows + (rows[:, None] // high % 2) * (wide // 2)) % wide == 0] *= darker
    for _ in range(0 if ground else rng.choice([0, rng.integers(0, 14), rng.integers(10, 30)])):
        (w, h), (x, y), frame = (
            rng.integers(edge // 32, edge // 4, 2),
            rng.integers(0, edge, 2),
            rng.integers(2, 6),
        )
        patch = picture[y : y + h, x : x + w]
        patch *= 0.15
        patch += 0.85 * _colour(rng)
        if rng.random() < 0.5:
            patch[frame:-frame, frame:-frame] = _colour(rng)
        if rng.random() < 0.4:
            patch[:: rng.integers(3, 12)] *= 0.7
    return np.clip(picture, 0, 1).astype(np.float32) ** 2


def _room(centre, half, turn, light: Light, rng: np.random.Generator) -> Room:
    """Walls [+x, -x, +z, -z], floor and ceiling, lit, with their mip levels."""
    edge, one, two, ground = 512, *(_picture(rng, 512, ground) for ground in (False, False, True))
    sky = np.full((edge, edge, 3), 0.6 + 0.25 * _colour(rng), np.float32)
    faces = [(one, -turn[0]), (two, turn[0]), (two, -turn[2]), (one, turn[2]), (ground, turn[1])]
    tones = [
        light.ambient * (0.72 + 0.28 * n[1]) + max(n @ light.direction, 0.0) * light.diffuse
        for _, n in faces
    ]
    pieces, level, start = [], np.zeros((6, 5, 2), int), 0
    for face, picture in enumerate(
        [p * t.astype(np.float32) for (p, _), t in zip(faces, tones)] + [sky]
    ):
        for k in range(level.shape[1]):
            level[face, k] = start, len(picture)
            pieces.append(picture.reshape(-1, 3))
            start += len(pieces[-1])
            picture = (picture[::2] + picture[1::2]) * np.float32(0.5)
            picture = (picture[:, ::2] + picture[:, 1::2]) * np.float32(0.5)
    texel = np.array([2 * half[i] / edge for i in (2, 2, 0, 0)] + [rng.uniform(8, 16), 20.0])
    return Room(centre, half, turn, np.concatenate(pieces), level, texel)


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything in one clip of n frames at n * sub instants: what `film` turns into pixels and
    labels.
    """

    joints: tuple[Joints, ...]  # of each person, world mm
    actors: Solids  # people and what may stand before them
    furniture: Solids  # what never moves, at one instant
    surfaces: Surfaces
    view: View  # one instant where the camera stands still
    room: Room
    light: Light
    sub: int  # sub-frames, odd
    gain: Float[np.ndarray, "n"]  # exposure
    lens: float  # sigma of its blur, px
    depth_blur: float  # sigma of the background's, px
    noise: float  # sigma of the sensor's, grey levels


def _place(
    motions: Sequence[Joints], eye, look, spread: float, far: float, rng: np.random.Generator
) -> list[Joints]:
    """Turns and moves motions to spots in sight, often in line with one another, if possible
    through nobody's body.
    """
    placed, side = [], np.array([look[2], 0, -look[0]])
    for motion in motions:
        tried = []
        for _ in range(12):
            turn, depth = _yaw(rng.uniform(-np.pi, np.pi)), far * rng.uniform(0.62, 1.35)
            across = rng.uniform(-1, 1) * spread * depth
            if placed and rng.random() < 0.6:
                other = placed[rng.integers(len(placed))]["pelvis"]
                to = other[len(other) // 2] - eye
                across = (to @ side) * depth / max(to @ look, 1.0) + rng.normal(0, 250)
            middle = motion["pelvis"][len(motion["pelvis"]) // 2] * [1, 0, 1]
            spot = eye * [1, 0, 1] + depth * look + across * side
            here = {name: (xyz - middle) @ turn + spot for name, xyz in motion.items()}
            apart = [
                ((here["pelvis"] - p["pelvis"])[:, [0, 2]] ** 2).sum(1).min() ** 0.5 - 600
                for p in placed
            ]
            tried.append((min([*apart, ((here["pelvis"] - eye) @ look).min() - 1300]), here))
            if tried[-1][0] > 0:
                break
        placed.append(max(tried, key=lambda t: t[0])[1])
    return placed


def scene(recipe: World, split: str, index: int) -> Scene:
    """The scene of one clip."""
    draw, n = functools.partial(stream, recipe, split, index), recipe.n_frames
    rng, palette, count = (
        draw("scene"),
        _Palette(),
        int(draw("count").integers(recipe.people[0], recipe.people[1] + 1)),
    )

    # The camera stands still, or pans, travels and shakes in a hand.
    far, azimuth, field = (
        rng.uniform(2900, 5400),
        rng.uniform(-np.pi, np.pi),
        np.radians(rng.uniform(38, 66)),
    )
    eye = np.array(
        [0, rng.choice([rng.normal(1450, 220), rng.uniform(500, 2600)], p=[0.7, 0.3]), 0]
    )
    ahead, down, roll = (
        _yaw(azimuth),
        np.arctan2(eye[1] - rng.uniform(650, 1100), far),
        rng.normal(0, 0.02),
    )
    pan, travel, moves = (
        rng.normal(0, [0.12, 0.04]),
        rng.normal(0, [350, 50, 210]),
        rng.random() < recipe.moving_camera,
    )
    hand, phase = (
        rng.normal(0, 1, (5, 3)) * rng.uniform(0, 0.008),
        rng.uniform(0, 2 * np.pi, (5, 3)),
    )

    def camera(since: np.ndarray) -> View:
        since = since[:, None] if moves else np.zeros((1, 1))
        shake = moves * (hand * np.sin(2 * np.pi * since[..., None] * [0.7, 1.9, 3.1] + phase)).sum(
            -1
        )
        angles = np.concatenate([since * pan + shake[:, 3:] + [azimuth, down], since * 0 + roll], 1)
        turned = Rotation.from_euler("YXZ", angles).as_matrix().swapaxes(1, 2)
        return View(
            np.diag([-1.0, -1.0, 1.0]) @ turned,  # x right, y down, z away
            eye + (since * travel + 500 * shake[:, :3]) @ ahead,
            recipe.size_wh[0] / 2 / np.tan(field / 2),
            recipe.size_wh,
        )

    spread = np.tan(field / 2)
    motions = [_joints(recipe, split, draw(f"motion {i}")) for i in range(count)]
    placed = _place(motions, eye, ahead[2], 0.8 * spread, far, rng)

    # As many sub-frames as it takes that joints move 2 px at most from one to the next, but for the
    # fastest 5 %.
    clock, shutter = (np.arange(n) - (n - 1) / 2) / recipe.fps, rng.uniform(*recipe.shutter)
    view = camera(clock).repeat(n)
    xyz = view.to_camera(np.stack([xyz[1:-1] for p in placed for xyz in p.values()], 1))
    xy = view.to_frame(np.concatenate([xyz[..., :2], np.maximum(xyz[..., 2:], 500)], -1))
    step = np.quantile(np.linalg.norm(np.diff(xy, axis=0), axis=-1), 0.95) if n > 1 else 0.0
    sub = int(np.clip(1 + 2 * np.ceil((step * shutter - 2) / 4), 1, recipe.sub_frames))
    at = (np.arange(n)[:, None] + (np.arange(sub) - sub // 2) / sub * shutter).ravel()
    since = (at - (n - 1) / 2) / recipe.fps
    joints = tuple({name: _between(xyz, at + 1) for name, xyz in p.items()} for p in placed)
    rests = [{name: xyz[1] for name, xyz in p.items()} for p in placed]
    people = [
        part
        for i, j in enumerate(joints)
        for part in dress(j, rests[i], i, draw(f"person {i}"), palette)
    ]

    # Things between the camera and somebody, through nobody; furniture along the walls.
    things, wanted = [], int(rng.integers(recipe.occluders[0], recipe.occluders[1] + 1))
    for _ in range(6 * wanted):
        share, target = rng.uniform(0.4, 0.85), placed[rng.integers(count)]["pelvis"][1 + n // 2]
        spot = (eye + share * (target - eye)) * [1, 0, 1] + rng.normal(0, 250) * ahead[0]
        speed = rng.normal(0, 700, 3) * [1, 0, 1] * (rng.random() < 0.4)
        path, size = spot + clock[:, None] * speed, rng.uniform(0.15, 0.5) * share * far * spread
        gap = min(((path - p["pelvis"][1:-1])[:, [0, 2]] ** 2).sum(1).min() ** 0.5 for p in placed)
        if len(things) < wanted and gap > 250 + size / 2:
            things.append(_thing(spot + since[:, None] * speed, size, rng, palette))
    rng = draw("room")
    turn, flat = (
        _yaw(rng.uniform(-np.pi, np.pi)),
        np.concatenate([p["pelvis"] for p in placed] + [view.position]),
    )
    flat = flat @ turn.T * [1, 0, 1]
    low, high = (
        flat.min(0) - 900 * rng.uniform(1, 3.5, 3),
        flat.max(0) + 900 * rng.uniform(1, 3.5, 3),
    )
    middle, half, crates = (low + high) / 2 * [1, 0, 1], (high - low) / 2, _Group(OCCLUDER)
    half[1] = rng.uniform(2500, 4500)
    crates.ball(np.array([0, -1e6, 0]), turn, 1.0, 0)  # out of sight: no room is without
    for _ in range(rng.integers(1, 8)):
        wall, box, spot = (
            rng.choice([0, 2]),
            rng.uniform([150, 200, 150], [700, 1100, 350]),
            rng.uniform(-half, half),
        )
        box = box[[2, 1, 0]] if wall == 0 else box
        spot[wall], spot[1] = rng.choice([-1, 1]) * (half[wall] - box[wall]), box[1]
        pair, cut = (palette.stuff(rng, 5.0), palette.stuff(rng, 5.0)), rng.uniform(-1, 2)
        if (np.abs(flat - middle - spot)[:, [0, 2]].max(1) > 300 + box.max()).all():
            crates.add(BOX, (middle + spot) @ turn, turn * box[:, None], pair, cut=cut)

    sun = _unit(rng.normal(0, 1, 3) * [1, 0, 1] + [0, rng.uniform(0.5, 1.8), 0])
    bright, share, tint = (
        rng.uniform(0.85, 1.5),
        rng.uniform(0.3, 0.75),
        1 + rng.normal(0, 0.06) * np.array([1, 0, -1]),
    )
    light = Light(sun, 1.35 * bright * share * tint, bright * (1 - share) * tint[::-1])
    drift, pulse = (
        rng.normal(0, 0.15) * (rng.random() < 0.3),
        rng.uniform(0.3, 2) * np.arange(n) / recipe.fps,
    )
    return Scene(
        joints,
        join([*people, *things]),
        crates.solids(1),
        palette.surfaces(rng),
        camera(since),
        _room(middle @ turn, half, turn, light, rng),
        light,
        sub,
        1 + drift * np.sin(2 * np.pi * pulse + rng.uniform(0, 6)),
        rng.uniform(0.45, 1.0),
        rng.choice([0.0, rng.uniform(0.6, 2.2)]),
        rng.uniform(1.0, 5.0),
    )


# --- film -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Rendered:
    """One clip with its pixels."""

    clip: Clip
    frames: UInt8[np.ndarray, "t h w 3"]  # RGB
    # mid-shutter: a track's id, BACKGROUND or OCCLUDER of `render`
    owner: Int16[np.ndarray, "t h w"]


# Capsules that cast shadows, with their radius (of 1700 mm).
_BONES = [("thorax", "pelvis", 0.085), ("neck", "head_top", 0.04)] + [
    (f"{side}_{a}", f"{side}_{b}", r)
    for side in ("left", "right")
    for a, b, r in (
        ("shoulder", "elbow", 0.028),
        ("elbow", "wrist", 0.02),
        ("hip", "knee", 0.045),
        ("knee", "ankle", 0.03),
        ("ankle", "toes", 0.025),
    )
]


def _expose(s: Scene, rng: np.random.Generator):
    """Frames; by frame the mid-shutter buffers: solids' numbers and inverse depth; the actors
    and their first number.
    """
    (width, height), n, sub, moves = s.view.size_wh, len(s.gain), s.sub, len(s.view.position) > 1
    actors, first = Projected(s.actors, s.view.repeat(n * sub)), len(s.furniture.kind) + 1
    instants = len(s.view.position)
    furniture = [np.repeat(v, instants, 0) for v in (s.furniture.centre, s.furniture.axes)]
    furniture = Projected(replace(s.furniture, centre=furniture[0], axes=furniture[1]), s.view)
    jitter = rng.random((sub, 2)) - 0.5
    jitter[sub // 2] = 0
    middle = np.round(np.concatenate([j["pelvis"] for j in s.joints]).mean(0)[[0, 2]])
    bones = [np.stack([j[bone[end]] for j in s.joints for bone in _BONES], 1) for end in (0, 1)]
    radii = np.array([1700 * r for _ in s.joints for *_, r in _BONES])

    def backdrop(i, shift):
        w, ids = np.zeros((height, width), np.float32), np.zeros((height, width), np.int32)
        colour, floor, world = render.room_pixels(s.room, s.view, i, shift)
        furniture.raster(i, w, ids, 1, shift)
        seen = np.flatnonzero(ids)
        args = seen, ids.ravel()[seen] - 1, w.ravel()[seen], s.surfaces, s.light, shift
        colour.reshape(-1, 3)[seen] = furniture.shade(i, *args)
        cell = np.floor((world - middle) / render.SHADOW_MM + render.SHADOW_EDGE / 2).astype(int)
        clear = ((cell >= 0) & (cell < render.SHADOW_EDGE)).all(1) & (ids.ravel()[floor] == 0)
        return render.defocus(colour, s.depth_blur), w, ids, floor[clear], cell[clear]

    stills = None if moves else [backdrop(0, shift) for shift in jitter]
    frames, buffers = np.empty((n, height, width, 3), np.uint8), []
    for frame in range(n):
        light = np.zeros((height, width, 3), np.float32)
        dark = render.shadow_map(
            *(end[frame * sub + sub // 2] for end in bones), radii, middle, s.light
        )
        for k, shift in enumerate(jitter):
            i = frame * sub + k
            colour, w, ids, floor, cell = (
                backdrop(i, shift) if moves else (v.copy() for v in stills[k])
            )
            flat = colour.reshape(-1, 3)
            flat[floor] *= (1 - np.float32(0.6 / 255) * dark[cell[:, 1], cell[:, 0]])[:, None]
            actors.raster(i, w, ids, first, shift)
            seen = np.flatnonzero(ids >= first)
            args = seen, ids.ravel()[seen] - first, w.ravel()[seen], s.surfaces, s.light, shift
            flat[seen] = actors.shade(i, *args)
            light += colour
            if k == sub // 2:
                buffers.append((ids, w))
        frames[frame] = render.develop(
            light * np.float32(s.gain[frame] / sub), s.lens, s.noise, rng
        )
    return frames, buffers, actors, first


def _labels(recipe: World, joints: Joints, person: int, actors: Projected, first: int, buffers):
    """xy_frame [t k 2], flags [t k] and camera mm [t k 3] of one person at the middle of each
    exposure.
    """
    rename, sub, size = (
        BODY_SKELETONS[recipe.skeleton],
        len(actors.rect) // len(buffers),
        np.array(recipe.size_wh),
    )
    names = [rename.get(name, name) for name in skeleton(recipe.skeleton).joints]
    middle, solids = slice(sub // 2, None, sub), actors.solids
    xyz, skull = (
        actors.view.to_camera(v)[middle]
        for v in (skeleton_joints(joints, recipe.skeleton), joints["skull"])
    )
    ahead = xyz[..., 2] > render.NEAR_MM
    xy = actors.view.to_frame(np.where(ahead[..., None], xyz, 1.0))
    inside = ahead & (xy >= -0.5).all(-1) & (xy < size - 0.5).all(-1)
    x, y = np.moveaxis(np.clip(np.round(xy), 0, size - 1).astype(int), -1, 0)
    out = xyz - skull[:, None]
    turned = (_unit(out) * _unit(xyz)).sum(-1) > 0.3  # away from the camera
    bits, face, flags = (
        np.array([BITS[name] for name in names]),
        np.isin(names, _FACE),
        np.zeros(xy.shape[:2], np.int8),
    )
    for t, (ids, w) in enumerate(buffers):
        # of the surface, mm
        before = xyz[t, :, 2] - 1 / np.maximum(w[y[t], x[t]].astype(float), 1e-9)
        part = ids[y[t], x[t]] - first
        own = (part >= 0) & (solids.owner[part] == person) & (solids.meets[part] & bits > 0)
        shown = (own & (before < solids.reach[part])) | (before < 0)
        flags[t] = np.where(inside[t], 1 + (shown & ~(face & turned[t])), 0)
    return np.where(inside[..., None], xy, 0.0), flags, xyz


def film(s: Scene, recipe: World, rng: np.random.Generator, title: str = "") -> Rendered:
    """Pixels and labels of a scene; rng moves the sub-frames inside their pixels and makes the
    sensor's noise.
    """
    frames, buffers, actors, first = _expose(s, rng)
    owners = np.concatenate(
        [[render.BACKGROUND], np.full(first - 1, OCCLUDER), actors.solids.owner]
    ).astype(np.int16)
    tracks, head = [], (actors.solids.meets & BITS["nose"]) > 0
    for person, joints in enumerate(s.joints):
        xy, flags, xyz = _labels(recipe, joints, person, actors, first, buffers)
        boxes, heads = (
            actors.person_box(person, part)[s.sub // 2 :: s.sub] for part in (True, head)
        )
        labelled = boxes.any(1) & (
            (np.arange(len(boxes)) - recipe.label_first) % recipe.label_stride == 0
        )
        keep = labelled[:, None]
        args = xy * keep[..., None], flags * keep, labelled, boxes * keep
        tracks.append(
            Track(recipe.skeleton, person, *args, xyz_camera_mm=xyz, head_boxes_xyxy=heads * keep)
        )
    video = Video(title or recipe.name, recipe.n_frames, *recipe.size_wh, recipe.fps)
    return Rendered(
        Clip(video, tracks, name=title), frames, np.stack([owners[ids] for ids, _ in buffers])
    )


def sample_clip(name: str | World, split: str, index: int) -> Rendered:
    """Clip `index` of a split ("train", "val", "test") of a world; the same arguments give the same
    pixels and labels.

    Errors: `UnknownName` for the world or split; `MissingData` where the world's motion capture is
    not on this machine.
    """
    recipe = world(name)
    title = f"{recipe.name}/{split}/{index}"
    return film(scene(recipe, split, index), recipe, stream(recipe, split, index, "sensor"), title)


# --- cache ----------------------------------------------------------------------------------------

_STORED = ("xy_frame", "visibility", "labelled", "boxes_xyxy", "xyz_camera_mm", "head_boxes_xyxy")


@dataclass(frozen=True)
class Stored:
    """An array in a file, mapped anew for every look: any number may be held open, and sent to
    other processes.
    """

    path: Path

    def _mapped(self) -> np.ndarray:
        with _damage_named(self.path):
            return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self._mapped())

    def __getitem__(self, i) -> np.ndarray:
        return np.array(self._mapped()[i])


@contextlib.contextmanager
def _damage_named(path: Path):
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BadFile(
            f"a cached clip is damaged: {error}", file=path, remedy="remove its folder"
        ) from None


@dataclass(frozen=True)
class Clips(Sequence):
    """Clips on disk, as pairs of a `Clip` and its frames, which are read when they are looked
    at.
    """

    recipe: World
    split: str
    folders: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, i: int) -> tuple[Clip, Stored]:
        folder, recipe = self.folders[i], self.recipe
        with _damage_named(folder), np.load(folder / "tracks.npz", allow_pickle=False) as stored:
            rows = list(zip(*(stored[name] for name in _STORED)))
        tracks = [
            Track(recipe.skeleton, k, **dict(zip(_STORED, row))) for k, row in enumerate(rows)
        ]
        title = f"{recipe.name}/{self.split}/{int(folder.name)}"
        video = Video(title, recipe.n_frames, *recipe.size_wh, recipe.fps)
        return Clip(video, tracks, name=title), Stored(folder / "frames.npy")


def _store(recipe: World, split: str, target: Path) -> None:
    """Renders one clip beside its place and renames it: what stands there is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".clip-") as folder:
        made, whole = sample_clip(recipe, split, int(target.name)), Path(folder) / "clip"
        whole.mkdir()
        np.save(whole / "frames.npy", made.frames)
        np.savez(
            whole / "tracks.npz",
            **{f: np.stack([getattr(t, f) for t in made.clip.tracks]) for f in _STORED},
        )
        try:
            os.replace(whole, target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise


def cached_clips(
    name: str | World,
    split: str,
    n: int,
    *,
    folder: str | Path | None = None,
    workers: int = 1,
    progress: bool = True,
) -> Clips:
    """The first n clips of a split, rendered once and kept under `folder` (default: the user's
    cache) by their recipe.

    workers: processes that render what is missing (a script that asks for more than one needs the
    main guard).
    """
    recipe = world(name)
    stream(recipe, split, 0, "")  # an unknown split is named before anything is written
    key = f"{recipe.name}-{recipe.digest()}"
    if recipe.data:  # what is drawn depends on which motions are there
        names = " ".join(path.name for path in motion_files(recipe.data, split))
        key += "-" + hashlib.sha256(names.encode()).hexdigest()[:8]
    root = Path(folder) if folder else Path(pooch.os_cache("occlusion-workbench")) / "worlds"
    folders = tuple(root / key / split / f"{i:06d}" for i in range(n))
    missing = [place for place in folders if not place.is_dir()]
    make = functools.partial(_store, recipe, split)
    calm = 0.1 if sys.stderr.isatty() else 10.0  # seconds between lines in a log
    with tqdm(
        total=len(missing),
        desc=f"{recipe.name} {split}",
        unit="clip",
        disable=not (progress and missing),
        mininterval=calm,
    ) as bar:
        if workers > 1 and missing:
            with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
                for _ in pool.map(make, missing):
                    bar.update()
        else:
            for place in missing:
                make(place)
                bar.update()
    return Clips(recipe, split, folders)
