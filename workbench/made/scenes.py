"""Everything in one clip before it is filmed: who moves where, what stands about, camera, light.

All numbers of this file are our own choice, judged by eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from .gaits import gait_joints_mm
from .joints import Joints, Points, Rng, Times, between, unit
from .mocap import captured_joints
from .people import dress
from .render import Light, Solids, Surfaces, View
from .rooms import Room, draw_room
from .shapes import Palette, draw_furniture, draw_thing, solids, yaw_frame
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
    low, high = recipe.people
    count = int(draw("count").integers(low, high + 1))
    camera = _Camera(recipe, rng)
    motions = [person_joints(recipe, split, draw(f"motion {i}")) for i in range(count)]
    placed = _place(motions, camera, rng)
    sub, at = _instants(recipe, camera, placed, rng.uniform(*recipe.shutter))
    since = (at - (recipe.n_frames - 1) / 2) / recipe.fps
    joints = tuple({name: between(xyz, at + 1) for name, xyz in p.items()} for p in placed)
    actors = []
    for i, person in enumerate(joints):
        rest = {name: xyz[1] for name, xyz in placed[i].items()}
        actors += dress(person, rest, i, draw(f"person {i}"), palette)
    actors += _draw_things(recipe, camera, placed, since, rng, palette)

    rng = draw("room")
    view = camera.view(since)
    turn = yaw_frame(rng.uniform(-np.pi, np.pi))
    standing = camera.view(_clock(recipe)).repeat(recipe.n_frames).position
    taken = np.concatenate([*(p["pelvis"] for p in placed), standing])
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
    kind = None
    if recipe.gaits:
        kind = recipe.gaits[int(rng.integers(len(recipe.gaits)))]
    return gait_joints_mm(n, recipe.fps, rng, kind)


def _place(motions: Sequence[Joints], camera: _Camera, rng: Rng) -> list[Joints]:
    """Turns and moves motions to spots in sight, often in line with one another, if possible
    through nobody's body.
    """
    look = camera.frame[2]
    side = np.array([look[2], 0, -look[0]])
    placed = []
    for motion in motions:
        middle = motion["pelvis"][len(motion["pelvis"]) // 2] * [1, 0, 1]
        tried = []
        for _ in range(12):
            turn = yaw_frame(rng.uniform(-np.pi, np.pi))
            depth = camera.far * rng.uniform(0.62, 1.35)
            across = rng.uniform(-1, 1) * (0.8 * camera.spread) * depth
            if placed and rng.random() < 0.6:
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


def _clock(recipe: World) -> Float[np.ndarray, "n"]:
    """Middles of the exposures, s from the middle of the clip."""
    return (np.arange(recipe.n_frames) - (recipe.n_frames - 1) / 2) / recipe.fps


def _instants(
    recipe: World, camera: _Camera, placed: Sequence[Joints], shutter: float
) -> tuple[int, Float[np.ndarray, "instants"]]:
    """Sub-frames of a frame, and the time of each in frames: as many as it takes that joints move
    2 px at most from one to the next, but for the fastest 5 %.
    """
    n = recipe.n_frames
    view = camera.view(_clock(recipe)).repeat(n)
    xyz = view.to_camera(np.stack([xyz[1:-1] for p in placed for xyz in p.values()], 1))
    xy = view.to_frame(np.concatenate([xyz[..., :2], np.maximum(xyz[..., 2:], 500)], -1))
    step = np.quantile(np.linalg.norm(np.diff(xy, axis=0), axis=-1), 0.95) if n > 1 else 0.0
    sub = int(np.clip(1 + 2 * np.ceil((step * shutter - 2) / 4), 1, recipe.sub_frames))
    within = (np.arange(sub) - sub // 2) / sub * shutter
    return sub, (np.arange(n)[:, None] + within).ravel()


def _draw_light(rng: Rng) -> Light:
    sun = unit(rng.normal(0, 1, 3) * [1, 0, 1] + [0, rng.uniform(0.5, 1.8), 0])
    bright = rng.uniform(0.85, 1.5)
    share = rng.uniform(0.3, 0.75)
    tint = 1 + rng.normal(0, 0.06) * np.array([1, 0, -1])
    return Light(sun, 1.35 * bright * share * tint, bright * (1 - share) * tint[::-1])


# --- things ---------------------------------------------------------------------------------------


def _draw_things(
    recipe: World,
    camera: _Camera,
    placed: Sequence[Joints],
    since: Float[np.ndarray, "instants"],
    rng: Rng,
    palette: Palette,
) -> list[tuple]:
    """Things between the camera and somebody, through nobody, at times `since` (s)."""
    low, high = recipe.occluders
    wanted = rng.integers(low, high + 1)
    things = []
    for _ in range(6 * wanted):
        share = rng.uniform(0.4, 0.85)
        person = placed[rng.integers(len(placed))]["pelvis"][1 + recipe.n_frames // 2]
        spot = (camera.eye + share * (person - camera.eye)) * [1, 0, 1]
        spot = spot + rng.normal(0, 250) * camera.frame[0]
        speed = rng.normal(0, 700, 3) * [1, 0, 1] * (rng.random() < 0.4)
        path = spot + _clock(recipe)[:, None] * speed
        size = rng.uniform(0.15, 0.5) * share * camera.far * camera.spread
        gap = min(_distance(path, p["pelvis"][1:-1]) for p in placed)
        if wanted and gap > 250 + size / 2:
            things += draw_thing(spot + since[:, None] * speed, size, rng, palette)
            wanted -= 1
    return things
