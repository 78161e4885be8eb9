"""What people and things are made of: surfaces of drawn colours, and balls, limbs and boxes; and
the things themselves, between the camera and somebody or along the walls.

All numbers of this file are our own choice, judged by eye.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from .joints import FACE, SIDES, Frame, Frames, Points, Rng, Vector, unit
from .render import BALL, BOX, LIMB, OCCLUDER, Solids, Surfaces

# --- surfaces -------------------------------------------------------------------------------------

# Between these lie skin and hair; sRGB-like, 0 to 1.
SKIN = np.array([[0.27, 0.18, 0.13], [0.48, 0.33, 0.24], [0.73, 0.53, 0.41], [0.91, 0.74, 0.64]])
HAIR = np.array([[0.06, 0.05, 0.05], [0.25, 0.16, 0.1], [0.55, 0.4, 0.22], [0.72, 0.7, 0.68]])
PLAIN = ((0, 0, 0, 0), (0, 0, 0, 0))  # waves of a surface without a pattern


def draw_tone(table: Float[np.ndarray, "n 3"], rng: Rng) -> np.ndarray:
    """A colour on the way from one row of a table to the next."""
    at = rng.uniform(0, len(table) - 1.001)
    row = int(at)
    return table[row] + (at % 1) * (table[row + 1] - table[row])


def draw_colour(rng: Rng) -> np.ndarray:
    """sRGB-like, 0 to 1; muted more often than bright."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.beta(1.1, 2.6), rng.uniform(0.1, 0.92)))


class Palette:
    """Collects the surfaces of one clip."""

    def __init__(self):
        self.rows = []

    def add(self, colour, other=None, waves=PLAIN, grain=0.1, cell_mm=12.0) -> int:
        """Index of a new surface of one or two sRGB-like colours; see `Surfaces`."""
        pair = np.array([colour, colour if other is None else other]) ** 2
        self.rows.append((pair.T, waves, grain, 1 / cell_mm))
        return len(self.rows) - 1

    def add_stuff(self, rng: Rng, scale: float = 1.0) -> int:
        """Cloth, or at a larger scale whatever objects are made of: plain, striped along or
        across, checked, banded.
        """
        colour, other = draw_colour(rng), draw_colour(rng)
        mix = rng.uniform(0.3, 1)
        along, across = 1 / rng.uniform(24, 130, 2) / scale
        # of the first wave across and along, of the second across
        patterns = np.array(
            [
                (0, 0, 0),
                (0, along, 0),
                (0, 0, across),
                (0, along, across),
                (across, along, 0),
                (0, along / 4, 0),
            ]
        )
        first, second, third = rng.choice(patterns, p=[0.45, 0.2, 0.08, 0.12, 0.07, 0.08])
        waves = ((first, second, 0, rng.random()), (third, 0, 0, rng.random()))
        grain = rng.uniform(0.05, 0.4)
        mixed = mix * other + (1 - mix) * colour
        return self.add(colour, mixed, waves, grain, scale * rng.uniform(5, 45))

    def surfaces(self, rng: Rng) -> Surfaces:
        """All of them, with the noise of their grain."""
        noise = rng.integers(0, 256, (32, 32, 32)) / 255 - 0.5
        noise = sum(np.roll(noise, step, axis) for axis in range(3) for step in (-1, 0, 1)) / 4.5
        columns = (np.stack(column, -1).astype(np.float32) for column in zip(*self.rows))
        return Surfaces(*columns, noise.astype(np.float32))


# --- frames: rows are left, up and forward --------------------------------------------------------


def yaw_frame(angle: float) -> Frame:
    """The frame of somebody who has turned left by so many radians."""
    return Rotation.from_euler("y", angle).as_matrix().T


def upright_frame(left: np.ndarray, up: np.ndarray) -> Frames:
    """The frame of that up, and of the left made orthogonal to it."""
    up = unit(up)
    left = unit(left - (left * up).sum(-1, keepdims=True) * up)
    return np.stack([left, up, np.cross(left, up)], 1)


def hanging_frame(frame: Frames, down: np.ndarray) -> Frames:
    """The frame turned the shortest way until its second row is -down: so texture keeps to a
    limb that swings.
    """
    down = unit(down)
    start = -frame[:, 1]
    both = (start + down) / np.maximum(1 + (start * down).sum(-1, keepdims=True), 1e-3)
    left, forward = (
        unit(v - (v * down).sum(-1, keepdims=True) * both) for v in (frame[:, 0], frame[:, 2])
    )
    return np.stack([left, -down, forward], 1)


# --- solids ---------------------------------------------------------------------------------------

HEAD = (*FACE, "head_top", "skull", "skull_base", "neck")
_LIMB_JOINTS = [
    f"{side}_{name}"
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in SIDES
]
# The bit of a joint in `Solids.meets`.
BITS = {
    name: 1 << i
    for i, name in enumerate((*HEAD, "thorax", "spine", "belly", "pelvis", *_LIMB_JOINTS))
}


def part(
    kind: int,
    centre: Float[np.ndarray, "*#t 3"],
    axes: Float[np.ndarray, "*#t 3 3"],
    surface: int | tuple[int, int],
    *joints: str,
    taper=0.0,
    cut=9.0,
    reach=np.inf,
    owner=OCCLUDER,
) -> tuple:
    """One solid as a row for `solids`; see `Solids`. Arrays for all instants, or for none that it
    moves in.

    surface: of all of it, or up to `cut` and beyond. joints: those at which it meets others.
    """
    both = surface if isinstance(surface, tuple) else (surface, surface)
    meets = sum(BITS[name] for name in joints)
    return kind, centre, axes, taper, both, cut, owner, meets, reach


def ball(centre, frame, radii, surface, *joints: str, scale=1.0, **options) -> tuple:
    """An ellipsoid with three radii, or one, along a frame, in units of `scale` mm."""
    axes = frame * (np.broadcast_to(radii, 3)[:, None] * scale)
    return part(BALL, centre, axes, surface, *joints, **options)


def limb(a, b, frame, radii, surface, *joints: str, flat=1.0, scale=1.0, **options) -> tuple:
    """From a to b (radii at either, in units of `scale` mm) along the frame that hangs there, as
    deep as `flat` times wide.
    """
    first, last = radii
    r = (first + last) / 2 * scale
    rows = (frame[..., 0, :] * r, (b - a) / 2, frame[..., 2, :] * (r * flat))
    axes = np.stack(np.broadcast_arrays(*rows), -2)
    taper = (last - first) / (first + last)
    return part(LIMB, (a + b) / 2, axes, surface, *joints, taper=taper, **options)


def box(centre, frame, half_mm: np.ndarray, surface, **options) -> tuple:
    """A box with these half-edges along a frame."""
    return part(BOX, centre, frame * half_mm[:, None], surface, **options)


def solids(rows: Sequence[tuple], t: int) -> Solids:
    """Balls, limbs and boxes through t instants."""
    kind, centre, axes, *others = zip(*rows)
    centre = np.stack([np.broadcast_to(v, (t, 3)) for v in centre], 1)
    axes = np.stack([np.broadcast_to(v, (t, 3, 3)) for v in axes], 1)
    return Solids(np.array(kind), centre, axes, *map(np.array, others))


# --- things that stand about; lengths mm ----------------------------------------------------------

UP = np.array([0.0, 1.0, 0.0])


def draw_thing(path: Points, size: float, rng: Rng, palette: Palette) -> list[tuple]:
    """An object about so many mm wide whose foot follows the path: board, crate, pole, sign, or a
    plant of a pot and eighteen leaves.
    """
    frame = yaw_frame(rng.uniform(-np.pi, np.pi))
    kind = rng.choice(["board", "crate", "pole", "sign", "plant"], p=[0.25, 0.2, 0.2, 0.15, 0.2])
    stuff = (palette.add_stuff(rng, 3.0), palette.add_stuff(rng, 3.0))
    cut = rng.uniform(-1, 1.5)
    tall = size * rng.uniform(0.5, 2.0)
    lifted = rng.choice([0.0, rng.uniform(200, 900)])
    if kind == "plant":
        pot = path + 0.25 * size * UP
        parts = [limb(path, pot, frame, (0.17 * size, 0.22 * size), stuff[0])]
        stripes = ((0, 0.02, 0, 0), (0, 0, 0, 0))
        green = palette.add((0.15, 0.3, 0.1), (0.3, 0.5, 0.16), stripes, grain=0.4, cell_mm=20.0)
        for way in unit(rng.normal(0, 1, (18, 3)) * [1, 0.6, 1] + [0, 0.9, 0]):
            long = size * rng.uniform(0.2, 0.38)
            leaf = hanging_frame(frame[None], -way[None])[0]
            radii = (size * rng.uniform(0.05, 0.12), long, size * 0.02)
            parts.append(ball(pot + way * long, leaf, radii, green))
        return parts
    if kind == "pole":
        r = size * rng.uniform(0.08, 0.2)
        top = path + rng.choice([1400.0, 3500.0]) * UP
        return [limb(path, top, frame, (r, r * rng.uniform(0.6, 1)), stuff, cut=cut)]
    if kind == "sign":
        centre = path + rng.uniform(700, 2000) * UP
        radii = (size / 2, size / 2 * rng.uniform(0.7, 1.3), 15.0)
        pole = limb(path, centre, frame, (22.0, 22.0), stuff[0])
        return [pole, ball(centre, frame, radii, stuff[1])]
    deep = 12.0
    if kind == "crate":
        deep = size * rng.uniform(0.3, 0.5)
        lifted = 0.0
    half = np.array([size / 2, tall / 2, deep])
    return [box(path + (lifted + tall / 2) * UP, frame, half, stuff, cut=cut)]


def draw_furniture(
    middle: Vector,
    half: Vector,
    turn: Frame,
    taken: Float[np.ndarray, "n 3"],
    rng: Rng,
    palette: Palette,
) -> Solids:
    """Boxes along the walls of a room, none where a point in `taken` is.

    middle, half, taken: in the room's own axes; turn: its axes in the world.
    """
    # out of sight: no room is without
    parts = [ball(np.array([0, -1e6, 0]), turn, 1.0, 0)]
    for _ in range(rng.integers(1, 8)):
        wall = rng.choice([0, 2])
        size = rng.uniform([150, 200, 150], [700, 1100, 350])
        spot = rng.uniform(-half, half)
        if wall == 0:
            size = size[::-1]
        spot[wall] = rng.choice([-1, 1]) * (half[wall] - size[wall])
        spot[1] = size[1]
        stuff = (palette.add_stuff(rng, 5.0), palette.add_stuff(rng, 5.0))
        cut = rng.uniform(-1, 2)
        gaps = np.abs(taken - middle - spot)[:, [0, 2]].max(1)
        if (gaps > 300 + size.max()).all():
            parts.append(box((middle + spot) @ turn, turn, size, stuff, cut=cut))
    return solids(parts, 1)
