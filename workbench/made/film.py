"""A scene becomes a clip: pixels, and labels from the buffers that made them.

Visibility comes from the depth buffer in the middle of the shutter, at the pixel of the joint: 2
where that pixel sees a limb of this person that meets others at this joint (the trunk only where
its surface is near the joint; joints of the face only where they face the camera), or something
behind the joint; 1 where it sees anything else: another limb, another person, an object; 0 outside
the picture, with coordinates (0, 0). `xyz_camera_mm` stays exact for all joints. A box is that of
the person's whole silhouette, hidden parts too, clipped to the picture; a head box, of skull, hair
and cap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, Int16, UInt8

from ..records import Clip, Track, Video
from .bodies import body_joint_names, skeleton_joints
from .joints import FACE, SIDES, Joints, unit
from .render import BACKGROUND, NEAR_MM, OCCLUDER, Projected
from .rooms import SHADOW_EDGE, room_pixels, shadow_cells, shadow_map
from .scenes import Scene
from .shapes import BITS
from .world import World


@dataclass(frozen=True, eq=False)
class Rendered:
    """One clip with its pixels."""

    clip: Clip
    frames: UInt8[np.ndarray, "t h w 3"]  # RGB
    # mid-shutter: a track's id, BACKGROUND or OCCLUDER of `render`
    owner: Int16[np.ndarray, "t h w"]


def film(s: Scene, recipe: World, rng: np.random.Generator, title: str = "") -> Rendered:
    """Pixels and labels of a scene; rng moves the sub-frames inside their pixels and makes the
    sensor's noise.
    """
    exposed = _expose(s, rng)
    head = (exposed.actors.solids.meets & BITS["nose"]) > 0
    tracks = []
    for person, joints in enumerate(s.joints):
        xy, flags, xyz = _labels(recipe, joints, person, exposed)
        boxes, heads = (
            exposed.actors.person_box(person, part)[s.sub // 2 :: s.sub] for part in (True, head)
        )
        chosen = (np.arange(recipe.n_frames) - recipe.label_first) % recipe.label_stride == 0
        labelled = boxes.any(1) & chosen
        keep = labelled[:, None]
        tracks.append(
            Track(
                recipe.skeleton,
                person,
                xy * keep[..., None],
                flags * keep,
                labelled,
                boxes * keep,
                xyz_camera_mm=xyz,
                head_boxes_xyxy=heads * keep,
            )
        )
    video = Video(title or recipe.name, recipe.n_frames, *recipe.size_wh, recipe.fps)
    furniture = np.full(exposed.first - 1, OCCLUDER)
    owners = np.concatenate([[BACKGROUND], furniture, exposed.actors.solids.owner])
    return Rendered(
        Clip(video, tracks, name=title), exposed.frames, owners.astype(np.int16)[exposed.ids]
    )


# --- pixels ---------------------------------------------------------------------------------------

# Capsules that cast shadows, with their radius (of 1700 mm).
_BONES = {("thorax", "pelvis"): 0.085, ("neck", "head_top"): 0.04} | {
    (f"{side}_{a}", f"{side}_{b}"): radius
    for side in SIDES
    for a, b, radius in (
        ("shoulder", "elbow", 0.028),
        ("elbow", "wrist", 0.02),
        ("hip", "knee", 0.045),
        ("knee", "ankle", 0.03),
        ("ankle", "toes", 0.025),
    )
}
_DARKEST = np.float32(0.6 / 255)  # what a shadow takes from a pixel for each of its 255 levels


class _Picture(NamedTuple):
    """A picture that is being drawn, and where shadows fall in it."""

    colour: Float[np.ndarray, "h w 3"]  # linear
    w: Float[np.ndarray, "h w"]  # inverse depth of what stands before the room, 1/mm
    ids: Int[np.ndarray, "h w"]  # its number; 0 is the room
    floor: Int[np.ndarray, "n"]  # flat indices of pixels that see the floor
    cell: Int[np.ndarray, "n 2"]  # their texels of the shadow map


@dataclass(frozen=True, eq=False)
class _Exposed:
    """Frames, and by frame the buffers in the middle of the shutter."""

    frames: UInt8[np.ndarray, "n h w 3"]
    ids: Int[np.ndarray, "n h w"]  # numbers of solids
    w: Float[np.ndarray, "n h w"]  # inverse depth
    actors: Projected  # at all instants
    first: int  # number of the first of them


def _expose(s: Scene, rng: np.random.Generator) -> _Exposed:
    n, sub = len(s.gain), s.sub
    moves = len(s.view.position) > 1
    actors = Projected(s.actors, s.view.repeat(n * sub))
    first = len(s.furniture.kind) + 1
    jitter = rng.random((sub, 2)) - 0.5
    jitter[sub // 2] = 0
    pelvises = np.concatenate([j["pelvis"] for j in s.joints])
    middle = np.round(pelvises.mean(0)[[0, 2]])
    furniture = _standing(s)
    stills = [] if moves else [_backdrop(s, furniture, middle, 0, shift) for shift in jitter]
    frames, ids, depths = [], [], []
    for frame in range(n):
        light = np.zeros((*s.view.size_wh[::-1], 3), np.float32)
        dark = _shadows(s, frame * sub + sub // 2, middle)
        for k, shift in enumerate(jitter):
            i = frame * sub + k
            if moves:
                picture = _backdrop(s, furniture, middle, i, shift)
            else:
                picture = _Picture(*(array.copy() for array in stills[k]))
            flat = picture.colour.reshape(-1, 3)
            x, z = picture.cell.T
            flat[picture.floor] *= (1 - _DARKEST * dark[z, x])[:, None]
            _draw(actors, picture, s, i, first, shift)
            light += picture.colour
            if k == sub // 2:
                ids.append(picture.ids)
                depths.append(picture.w)
        exposure = np.float32(s.gain[frame] / sub)
        frames.append(develop(light * exposure, s.lens, s.noise, rng))
    return _Exposed(np.stack(frames), np.stack(ids), np.stack(depths), actors, first)


def _standing(s: Scene) -> Projected:
    """The furniture, at every instant that the camera has."""
    centre, axes = (
        np.repeat(v, len(s.view.position), 0) for v in (s.furniture.centre, s.furniture.axes)
    )
    return Projected(replace(s.furniture, centre=centre, axes=axes), s.view)


def _backdrop(s: Scene, furniture: Projected, middle, i: int, shift) -> _Picture:
    """The room with its furniture at instant i."""
    colour, floor, world = room_pixels(s.room, s.view, i, shift)
    w = np.zeros(colour.shape[:2], np.float32)
    ids = np.zeros(colour.shape[:2], np.int32)
    cell = shadow_cells(world, middle).astype(int)
    _draw(furniture, _Picture(colour, w, ids, floor, cell), s, i, 1, shift)
    inside = ((cell >= 0) & (cell < SHADOW_EDGE)).all(1)
    clear = inside & (ids.ravel()[floor] == 0)
    return _Picture(defocus(colour, s.depth_blur), w, ids, floor[clear], cell[clear])


def _draw(solids: Projected, picture: _Picture, s: Scene, i: int, first: int, shift) -> None:
    """Draws solids at instant i into a picture, numbered from `first`."""
    solids.raster(i, picture.w, picture.ids, first, shift)
    seen = np.flatnonzero(picture.ids >= first)
    numbers = picture.ids.ravel()[seen] - first
    colours = solids.shade(i, seen, numbers, picture.w.ravel()[seen], s.surfaces, s.light, shift)
    picture.colour.reshape(-1, 3)[seen] = colours


def _shadows(s: Scene, i: int, middle: Float[np.ndarray, "2"]) -> UInt8[np.ndarray, "z x"]:
    """The shadow map of all people at instant i."""
    a, b = (
        np.stack([joints[bone[end]][i] for joints in s.joints for bone in _BONES]) for end in (0, 1)
    )
    radii = np.array([1700 * radius for _ in s.joints for radius in _BONES.values()])
    return shadow_map(a, b, radii, middle, s.light)


_LINEAR = (np.arange(256, dtype=np.float32) / np.float32(255)) ** 2


def defocus(linear: Float[np.ndarray, "h w 3"], sigma: float) -> Float[np.ndarray, "h w 3"]:
    """The picture out of focus by that sigma (px): blurred as 8-bit values, which rounds alike
    everywhere.
    """
    if not sigma:
        return linear
    return _LINEAR[cv2.GaussianBlur(_levels(linear), (0, 0), sigma)]


def develop(
    linear: Float[np.ndarray, "h w 3"], lens: float, noise: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Linear light to the RGB of a camera: tone curve (square root), lens blur of sigma `lens` px,
    sensor noise of sigma `noise` grey levels.
    """
    picture = _levels(linear)
    if lens > 0:
        picture = cv2.GaussianBlur(picture, (3, 3) if lens < 0.8 else (5, 5), lens)
    dice = np.frombuffer(rng.bytes(2 * picture.size), np.uint8).reshape(2, *picture.shape)
    grains = dice[0].astype(np.float32) + dice[1] - np.float32(255)  # triangular, sigma 104.5
    noisy = picture + grains * np.float32(noise / 104.5) + np.float32(0.5)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _levels(linear: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Linear light by the tone curve, 0 to 255."""
    curve = np.sqrt(np.clip(linear, 0, 1)) * np.float32(255)
    return (curve + np.float32(0.5)).astype(np.uint8)


# --- labels ---------------------------------------------------------------------------------------


def _labels(
    recipe: World, joints: Joints, person: int, exposed: _Exposed
) -> tuple[Float[np.ndarray, "n k 2"], Int[np.ndarray, "n k"], Float[np.ndarray, "n k 3"]]:
    """xy_frame, visibility and camera mm of one person at the middle of each exposure."""
    actors = exposed.actors
    solids = actors.solids
    sub = len(actors.rect) // len(exposed.frames)
    size = np.array(recipe.size_wh)
    names = body_joint_names(recipe.skeleton)
    xyz, skull = (
        actors.view.to_camera(v)[sub // 2 :: sub]
        for v in (skeleton_joints(joints, recipe.skeleton), joints["skull"])
    )
    ahead = xyz[..., 2] > NEAR_MM
    xy = actors.view.to_frame(np.where(ahead[..., None], xyz, 1.0))
    inside = ahead & (xy >= -0.5).all(-1) & (xy < size - 0.5).all(-1)
    x, y = np.moveaxis(np.clip(np.round(xy), 0, size - 1).astype(int), -1, 0)
    away = (unit(xyz - skull[:, None]) * unit(xyz)).sum(-1) > 0.3  # from the camera
    averted = np.isin(names, FACE) & away

    frame = np.arange(len(xy))[:, None]
    w = exposed.w[frame, y, x].astype(float)
    before = xyz[..., 2] - 1 / np.maximum(w, 1e-9)  # of the surface, mm
    part = exposed.ids[frame, y, x] - exposed.first
    bits = np.array([BITS[name] for name in names])
    meets = (part >= 0) & (solids.owner[part] == person) & (solids.meets[part] & bits > 0)
    shown = (meets & (before < solids.reach[part])) | (before < 0)
    flags = np.where(inside, 1 + (shown & ~averted), 0)
    return np.where(inside[..., None], xy, 0.0), flags, xyz
