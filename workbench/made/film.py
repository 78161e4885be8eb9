"""Everything in one clip before it is filmed: who moves where, what stands about, camera, light;
and how that scene becomes a clip: pixels, and labels from the buffers that made them. Numbers
without a source are our own choice, judged by eye.

Visibility comes from the depth buffer in the middle of the shutter, at the pixel of the joint: 2
where that pixel sees a limb of this person that meets others at this joint (the trunk only where
its surface is near the joint; joints of the face only where they face the camera), or something
behind the joint; 1 where it sees anything else: another limb, another person, an object; 0 outside
the picture, with coordinates (0, 0). `xyz_camera_mm` stays exact for all joints. A box is that of
the person's whole silhouette, hidden parts too, clipped to the picture; a head box, of skull, hair
and cap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
from jaxtyping import Float, Int16, UInt8
from scipy.spatial.transform import Rotation

from ..records import Clip, Track, Video
from .bodies import body_joint_names, skeleton_joints
from .gaits import gait_joints_mm
from .joints import FACE, SIDES, Joints, Points, Rng, Times, between, unit
from .mocap import captured_joints
from .people import BITS, Palette, draw_furniture, draw_thing, dress, solids, yaw_frame
from .render import BACKGROUND, NEAR_MM, Light, Projected, Solids, Surfaces, View
from .rooms import SHADOW_EDGE, Room, draw_room, room_pixels, shadow_cells, shadow_map
from .world import World


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


def scene(recipe: World, split: str, index: int) -> Scene:
    """The scene of one clip."""
    draw = partial(recipe.stream, split, index)
    rng, palette = draw("scene"), Palette()
    people = range(draw("count").integers(*recipe.people, endpoint=True))
    camera = _Camera(recipe, rng)
    motions = [person_joints(recipe, split, draw(f"motion {i}")) for i in people]
    placed = _place(recipe, motions, camera, rng)
    still = camera.view(_clock(recipe)).repeat(recipe.n_frames)
    sub, at = _instants(recipe, still, placed, rng.uniform(*recipe.shutter))
    since = (at - (recipe.n_frames - 1) / 2) / recipe.fps
    joints = tuple(dict(zip(p, between(np.stack([*p.values()]), at + 1))) for p in placed)
    actors = []
    for i, person in enumerate(joints):
        rest = {name: xyz[1] for name, xyz in placed[i].items()}
        actors += dress(person, rest, i, draw(f"person {i}"), palette)
    actors += _draw_things(recipe, camera, placed, since, rng, palette)

    rng = draw("room")
    view = camera.view(since)
    turn = yaw_frame(rng.uniform(-np.pi, np.pi))
    taken = np.concatenate([*(p["pelvis"] for p in placed), still.position])
    taken = taken @ turn.T * [1, 0, 1]
    low = taken.min(0) - 900 * rng.uniform(1, 3.5, 3)
    high = taken.max(0) + 900 * rng.uniform(1, 3.5, 3)
    middle = (low + high) / 2 * [1, 0, 1]
    half = (high - low) / 2
    half[1] = rng.uniform(2500, 4500)
    furniture = draw_furniture(middle, half, turn, taken, rng, palette)
    light = _draw_light(rng)
    drift = rng.normal(0, 0.15) * (rng.random() < 0.3)
    pulse = rng.uniform(0.3, 2) * np.arange(recipe.n_frames) / recipe.fps
    return Scene(
        joints,
        solids(actors, len(since)),
        furniture,
        palette.surfaces(rng),
        view,
        draw_room(middle @ turn, half, turn, light, rng),
        light,
        sub,
        gain=1 + drift * np.sin(2 * np.pi * pulse + rng.uniform(0, 6)),
        lens=rng.uniform(0.45, 1.0),
        depth_blur=rng.choice([0.0, rng.uniform(0.6, 2.2)]),
        noise=rng.uniform(1.0, 5.0),
    )


# --- people ---------------------------------------------------------------------------------------


def person_joints(recipe: World, split: str, rng: Rng) -> Joints:
    """One person's motion, world mm, with a frame more at either end than the clip has."""
    n = recipe.n_frames + 2
    if recipe.motion == "mocap":
        return captured_joints(recipe.data, split, n, recipe.fps, rng)
    kind = recipe.gaits[rng.integers(len(recipe.gaits))] if recipe.gaits else None
    return gait_joints_mm(n, recipe.fps, rng, kind)


def _place(recipe: World, motions: Sequence[Joints], camera: _Camera, rng: Rng) -> list[Joints]:
    """Turns and moves motions to spots in sight, often in line with one another (where people pass,
    those alone who run), if possible through nobody's body.
    """
    look = camera.frame[2]
    side = np.array([look[2], 0, -look[0]])
    placed = []
    for motion in motions:
        middle = motion["pelvis"][len(motion["pelvis"]) // 2] * [1, 0, 1]
        runs = recipe.passing and _speed(motion, recipe) > 2000
        tried = []
        for _ in range(12):
            turn = yaw_frame(rng.uniform(-np.pi, np.pi))
            depth = camera.far * rng.uniform(0.62, 1.35)
            if runs:  # across the view, near
                sideways = rng.choice([-0.5, 0.5]) * np.pi + rng.normal(0, 0.3)
                turn = yaw_frame(camera.angles[0] + sideways)
                depth = camera.far * rng.uniform(0.5, 1.0)
            across = rng.uniform(-1, 1) * (0.8 * camera.spread) * depth
            if placed and (runs or not recipe.passing) and rng.random() < 0.6:
                other = placed[rng.integers(len(placed))]["pelvis"]
                to = other[len(other) // 2] - camera.eye
                across = (to @ side) * depth / max(to @ look, 1.0) + rng.normal(0, 250)
            spot = camera.eye * [1, 0, 1] + depth * look + across * side
            person = {name: (xyz - middle) @ turn + spot for name, xyz in motion.items()}
            gaps = [_distance(person["pelvis"], p["pelvis"]) - 600 for p in placed]
            before = ((person["pelvis"] - camera.eye) @ look).min() - 1300
            tried.append((min([*gaps, before]), person))
            if tried[-1][0] > 0:
                break
        placed.append(max(tried, key=lambda t: t[0])[1])
    return placed


def _speed(motion: Joints, recipe: World) -> float:
    """How fast somebody travels, mm a second."""
    way = motion["pelvis"][-1] - motion["pelvis"][0]
    return np.linalg.norm(way) * recipe.fps / (recipe.n_frames + 1)


def _distance(a: Points, b: Points) -> float:
    """Of two paths on the floor where they are nearest, mm."""
    return ((a - b)[:, [0, 2]] ** 2).sum(1).min() ** 0.5


# --- camera and light -----------------------------------------------------------------------------


class _Camera:
    """It stands still, or pans, travels and shakes in a hand."""

    def __init__(self, recipe: World, rng: Rng):
        self.size_wh = recipe.size_wh
        self.far = rng.uniform(2900, 5400)  # about where people are, mm
        azimuth = rng.uniform(-np.pi, np.pi)
        # half the width of the picture over the distance
        self.spread = np.tan(np.radians(rng.uniform(38, 66)) / 2)
        height = rng.choice([rng.normal(1450, 220), rng.uniform(500, 2600)], p=[0.7, 0.3])
        down = np.arctan2(height - rng.uniform(650, 1100), self.far)
        self.eye = np.array([0, height, 0])  # mm
        self.frame = yaw_frame(azimuth)  # rows: left, up, ahead
        self.angles = np.array([azimuth, down])  # where it looks: yaw and pitch, radians
        self.roll = rng.normal(0, 0.02)
        self.pan = rng.normal(0, [0.12, 0.04])  # of yaw and pitch, radians a second
        self.travel = rng.normal(0, [350, 50, 210])  # along the frame, mm a second
        self.moves = rng.random() < recipe.moving_camera
        # three waves of shift and angles
        self.hand = rng.normal(0, 1, (5, 3)) * rng.uniform(0, 0.008)
        self.phase = rng.uniform(0, 2 * np.pi, (5, 3))

    def view(self, since: Times) -> View:
        """At times (s) before and after the middle of the clip; one instant if it stands still."""
        since = since[:, None] if self.moves else np.zeros((1, 1))
        waves = np.sin(2 * np.pi * since[..., None] * [0.7, 1.9, 3.1] + self.phase)
        shake = self.moves * (self.hand * waves).sum(-1)
        turned = since * self.pan + shake[:, 3:] + self.angles
        angles = np.concatenate([turned, since * 0 + self.roll], 1)
        rotation = Rotation.from_euler("YXZ", angles).as_matrix().swapaxes(1, 2)
        return View(
            np.diag([-1.0, -1.0, 1.0]) @ rotation,  # x right, y down, z away
            self.eye + (since * self.travel + 500 * shake[:, :3]) @ self.frame,
            self.size_wh[0] / 2 / self.spread,
            self.size_wh,
        )


def _clock(recipe: World):
    """Middles of the exposures [n], s from the middle of the clip."""
    return (np.arange(recipe.n_frames) - (recipe.n_frames - 1) / 2) / recipe.fps


def _instants(recipe: World, view: View, placed: Sequence[Joints], shutter: float):
    """Sub-frames of a frame, and the time of each in frames: as many as it takes that joints move
    2 px at most from one to the next, but for the fastest 5 %; all where things pass.
    """
    n = recipe.n_frames
    xyz = view.to_camera(np.stack([xyz[1:-1] for p in placed for xyz in p.values()], 1))
    xy = view.to_frame(np.concatenate([xyz[..., :2], np.maximum(xyz[..., 2:], 500)], -1))
    step = np.quantile(np.linalg.norm(np.diff(xy, axis=0), axis=-1), 0.95) if n > 1 else 0.0
    sub = int(np.clip(1 + 2 * np.ceil((step * shutter - 2) / 4), 1, recipe.sub_frames))
    sub = recipe.sub_frames if recipe.passing else sub
    within = (np.arange(sub) - sub // 2) / sub * shutter
    return sub, (np.arange(n)[:, None] + within).ravel()


def _draw_light(rng: Rng) -> Light:
    sun = unit(rng.normal(0, 1, 3) * [1, 0, 1] + [0, rng.uniform(0.5, 1.8), 0])
    bright = rng.uniform(0.85, 1.5)
    share = rng.uniform(0.3, 0.75)
    tint = 1 + rng.normal(0, 0.06) * np.array([1, 0, -1])
    return Light(sun, 1.35 * bright * share * tint, bright * (1 - share) * tint[::-1])


# --- things ---------------------------------------------------------------------------------------


def _draw_things(recipe: World, camera: _Camera, placed, since, rng: Rng, palette: Palette):
    """Things between the camera and somebody, through nobody, at times `since` (s)."""
    wanted = rng.integers(*recipe.occluders, endpoint=True)
    draw_one = _flying_thing if recipe.passing else _standing_thing
    things = []
    for _ in range(6 * wanted):
        spot, speed, size = draw_one(recipe, camera, placed, rng)
        path = spot + _clock(recipe)[:, None] * speed
        gap = min(_distance(path, p["pelvis"][1:-1]) for p in placed)
        if wanted and gap > 250 + size / 2:
            things += draw_thing(spot + since[:, None] * speed, size, rng, palette)
            wanted -= 1
    return things


def _standing_thing(recipe: World, camera: _Camera, placed: Sequence[Joints], rng: Rng):
    """Place in the middle of the clip, velocity (mm a second) and width (mm) of a thing before
    somebody; most stand still.
    """
    share = rng.uniform(0.4, 0.85)
    person = placed[rng.integers(len(placed))]["pelvis"][1 + recipe.n_frames // 2]
    spot = (camera.eye + share * (person - camera.eye)) * [1, 0, 1]
    spot = spot + rng.normal(0, 250) * camera.frame[0]
    speed = rng.normal(0, 700, 3) * [1, 0, 1] * (rng.random() < 0.4)
    return spot, speed, rng.uniform(0.15, 0.5) * share * camera.far * camera.spread


def _flying_thing(recipe: World, camera: _Camera, placed: Sequence[Joints], rng: Rng):
    """The same of a thing that crosses the view near the camera, over a joint in the middle of the
    clip: most of its own width or more from frame to frame.
    """
    share = rng.uniform(0.25, 0.7)
    person = placed[rng.integers(len(placed))]
    joint = person[str(rng.choice([*person]))][1 + recipe.n_frames // 2]
    size = rng.uniform(0.35, 0.65) * share * camera.far * camera.spread
    step = size * rng.choice([-1, 1]) * camera.frame[0]
    spot = (camera.eye + share * (joint - camera.eye)) * [1, 0, 1] + rng.uniform(-0.4, 0.4) * step
    return spot, step * rng.uniform(0.8, 1.6) * recipe.fps, size


# --- the film -------------------------------------------------------------------------------------


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

    def expose(self, rng: Rng):
        """Frames [n h w 3]; and numbers and inverse depth [n h w] in the middle of the shutter."""
        s, sub = self.scene, self.scene.sub
        moves = len(s.view.position) > 1
        jitter = rng.random((sub, 2)) - 0.5
        jitter[sub // 2] = 0
        stills = [] if moves else [self._backdrop(0, shift) for shift in jitter]
        radii = np.tile([1700 * radius for radius in _BONES.values()], len(s.joints))
        exposed = []
        for frame, gain in enumerate(s.gain):
            light = np.zeros((*s.view.size_wh[::-1], 3), np.float32)
            now = frame * sub + sub // 2
            ends = [[p[a][now], p[b][now]] for p in s.joints for a, b in _BONES]
            dark = shadow_map(np.array(ends), radii, self.middle, s.light)
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

    def _backdrop(self, i: int, shift):
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

    def _draw(self, solids: Projected, first: int, picture, i: int, shift):
        """Draws solids at instant i into a picture, numbered from `first`."""
        colour, w, ids = picture
        solids.raster(i, w, ids, first, shift)
        seen = np.flatnonzero(ids >= first)
        numbers = ids.ravel()[seen] - first
        s = self.scene
        shaded = solids.shade(i, seen, numbers, w.ravel()[seen], s.surfaces, s.light, shift)
        colour.reshape(-1, 3)[seen] = shaded

    def labels(self, skeleton: str, joints: Joints, person: int, ids, w):
        """xy_frame [n k 2], visibility [n k] and camera mm [n k 3] of one person at the middle of
        each exposure.
        """
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


def _levels(linear):
    """Linear light [h w 3] by the tone curve, 0 to 255."""
    curve = np.sqrt(np.clip(linear, 0, 1)) * np.float32(255)
    return (curve + np.float32(0.5)).astype(np.uint8)
