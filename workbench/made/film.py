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

import cv2
import numpy as np
from jaxtyping import Float, Int, Int16, UInt8

from ..records import Clip, Track, Video
from .bodies import body_joint_names, skeleton_joints
from .joints import FACE, SIDES, Joints, Rng, unit
from .render import BACKGROUND, NEAR_MM, Projected
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


def film(s: Scene, recipe: World, rng: Rng, title: str = "") -> Rendered:
    """Pixels and labels of a scene; rng moves the sub-frames inside their pixels and makes the
    sensor's noise.
    """
    stage = _Stage(s)
    frames, ids, w = stage.expose(rng)
    solids = stage.actors.solids
    head = (solids.meets & BITS["nose"]) > 0
    chosen = (np.arange(recipe.n_frames) - recipe.label_first) % recipe.label_stride == 0
    tracks = []
    for person, joints in enumerate(s.joints):
        xy, flags, xyz = stage.labels(recipe.skeleton, joints, person, ids, w)
        boxes, heads = (
            stage.actors.person_box(person, part)[s.sub // 2 :: s.sub] for part in (True, head)
        )
        labelled = boxes.any(1) & chosen
        keep = labelled[:, None]
        track = Track(
            recipe.skeleton,
            person,
            xy * keep[..., None],
            flags * keep,
            labelled,
            boxes * keep,
            xyz_camera_mm=xyz,
            head_boxes_xyxy=heads * keep,
        )
        tracks.append(track)
    video = Video(title or recipe.name, recipe.n_frames, *recipe.size_wh, recipe.fps)
    owners = np.concatenate([[BACKGROUND], s.furniture.owner, solids.owner]).astype(np.int16)
    return Rendered(Clip(video, tracks, name=title), frames, owners[ids])


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


class _Stage:
    """A scene before its camera.

    Solids that are seen have numbers: 0 is the room, then furniture, then actors from `first`.
    A picture that is being drawn is linear colour [h w 3]; inverse depth of what stands before the
    room [h w], 1/mm; and its number [h w].
    """

    def __init__(self, s: Scene):
        self.scene = s
        self.actors = Projected(s.actors, s.view.repeat(len(s.gain) * s.sub))
        still = (s.furniture.centre, s.furniture.axes)
        centre, axes = (np.repeat(v, len(s.view.position), 0) for v in still)
        self.furniture = Projected(replace(s.furniture, centre=centre, axes=axes), s.view)
        self.first = len(s.furniture.kind) + 1
        pelvises = np.concatenate([joints["pelvis"] for joints in s.joints])
        self.middle = np.round(pelvises.mean(0)[[0, 2]])

    def expose(
        self, rng: Rng
    ) -> tuple[UInt8[np.ndarray, "n h w 3"], Int[np.ndarray, "n h w"], Float[np.ndarray, "n h w"]]:
        """Frames; and by frame numbers and inverse depth in the middle of the shutter."""
        s, sub = self.scene, self.scene.sub
        moves = len(s.view.position) > 1
        jitter = rng.random((sub, 2)) - 0.5
        jitter[sub // 2] = 0
        stills = [] if moves else [self._backdrop(0, shift) for shift in jitter]
        exposed = []
        for frame, gain in enumerate(s.gain):
            light = np.zeros((*s.view.size_wh[::-1], 3), np.float32)
            dark = self._shadows(frame * sub + sub // 2)
            for k, shift in enumerate(jitter):
                i = frame * sub + k
                backdrop = self._backdrop(i, shift) if moves else map(np.copy, stills[k])
                colour, w, ids, floor, cell = backdrop
                x, z = cell.T
                colour.reshape(-1, 3)[floor] *= (1 - _DARKEST * dark[z, x])[:, None]
                self._draw(self.actors, self.first, (colour, w, ids), i, shift)
                light += colour
                if k == sub // 2:
                    middle = ids, w
            picture = develop(light * np.float32(gain / sub), s.lens, s.noise, rng)
            exposed.append((picture, *middle))
        return tuple(map(np.stack, zip(*exposed)))

    def _backdrop(self, i: int, shift) -> tuple[np.ndarray, ...]:
        """A picture of the room with its furniture at instant i; flat indices of pixels that see
        the floor, and their texels of the shadow map.
        """
        s = self.scene
        colour, floor, world = room_pixels(s.room, s.view, i, shift)
        w = np.zeros(colour.shape[:2], np.float32)
        ids = np.zeros(colour.shape[:2], np.int32)
        self._draw(self.furniture, 1, (colour, w, ids), i, shift)
        cell = shadow_cells(world, self.middle).astype(int)
        inside = ((cell >= 0) & (cell < SHADOW_EDGE)).all(1)
        clear = inside & (ids.ravel()[floor] == 0)
        return defocus(colour, s.depth_blur), w, ids, floor[clear], cell[clear]

    def _draw(self, solids: Projected, first: int, picture, i: int, shift) -> None:
        """Draws solids at instant i into a picture, numbered from `first`."""
        colour, w, ids = picture
        solids.raster(i, w, ids, first, shift)
        seen = np.flatnonzero(ids >= first)
        numbers = ids.ravel()[seen] - first
        s = self.scene
        shaded = solids.shade(i, seen, numbers, w.ravel()[seen], s.surfaces, s.light, shift)
        colour.reshape(-1, 3)[seen] = shaded

    def _shadows(self, i: int) -> UInt8[np.ndarray, "z x"]:
        """The shadow map of all people at instant i."""
        people = self.scene.joints
        a, b = (
            np.stack([joints[bone[end]][i] for joints in people for bone in _BONES])
            for end in (0, 1)
        )
        radii = np.tile([1700 * radius for radius in _BONES.values()], len(people))
        return shadow_map(a, b, radii, self.middle, self.scene.light)

    def labels(
        self, skeleton: str, joints: Joints, person: int, ids, w
    ) -> tuple[Float[np.ndarray, "n k 2"], Int[np.ndarray, "n k"], Float[np.ndarray, "n k 3"]]:
        """xy_frame, visibility and camera mm of one person at the middle of each exposure."""
        view, solids = self.actors.view, self.actors.solids
        middles = slice(self.scene.sub // 2, None, self.scene.sub)
        size = np.array(view.size_wh)
        names = body_joint_names(skeleton)
        xyz = view.to_camera(skeleton_joints(joints, skeleton))[middles]
        skull = view.to_camera(joints["skull"])[middles]
        ahead = xyz[..., 2] > NEAR_MM
        xy = view.to_frame(np.where(ahead[..., None], xyz, 1.0))
        inside = ahead & (xy >= -0.5).all(-1) & (xy < size - 0.5).all(-1)
        x, y = np.moveaxis(np.clip(np.round(xy), 0, size - 1).astype(int), -1, 0)
        away = (unit(xyz - skull[:, None]) * unit(xyz)).sum(-1) > 0.3  # from the camera
        averted = np.isin(names, FACE) & away

        pixel = np.arange(len(xy))[:, None], y, x
        before = xyz[..., 2] - 1 / np.maximum(w[pixel].astype(float), 1e-9)  # of the surface, mm
        part = ids[pixel] - self.first
        bits = np.array([BITS[name] for name in names])
        meets = (part >= 0) & (solids.owner[part] == person) & (solids.meets[part] & bits > 0)
        shown = (meets & (before < solids.reach[part])) | (before < 0)
        flags = np.where(inside, 1 + (shown & ~averted), 0)
        return np.where(inside[..., None], xy, 0.0), flags, xyz


# --- pixels ---------------------------------------------------------------------------------------

_LINEAR = (np.arange(256, dtype=np.float32) / np.float32(255)) ** 2


def defocus(linear: Float[np.ndarray, "h w 3"], sigma: float) -> Float[np.ndarray, "h w 3"]:
    """The picture out of focus by that sigma (px): blurred as 8-bit values, which rounds alike
    everywhere.
    """
    if not sigma:
        return linear
    return _LINEAR[cv2.GaussianBlur(_levels(linear), (0, 0), sigma)]


def develop(
    linear: Float[np.ndarray, "h w 3"], lens: float, noise: float, rng: Rng
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
