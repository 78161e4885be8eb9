"""What people and things are made of: surfaces of drawn colours, and balls, limbs and boxes.

All numbers of this file are our own choice, judged by eye.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from .joints import FACE, SIDES, Frame, Frames, unit
from .render import BALL, BOX, LIMB, Solids, Surfaces

# --- surfaces -------------------------------------------------------------------------------------

# Between these lie skin and hair; sRGB-like, 0 to 1.
SKIN = np.array([[0.27, 0.18, 0.13], [0.48, 0.33, 0.24], [0.73, 0.53, 0.41], [0.91, 0.74, 0.64]])
HAIR = np.array([[0.06, 0.05, 0.05], [0.25, 0.16, 0.1], [0.55, 0.4, 0.22], [0.72, 0.7, 0.68]])
PLAIN = ((0, 0, 0, 0), (0, 0, 0, 0))  # waves of a surface without a pattern


def draw_tone(table: Float[np.ndarray, "n 3"], rng: np.random.Generator) -> np.ndarray:
    """A colour on the way from one row of a table to the next."""
    at = rng.uniform(0, len(table) - 1.001)
    row = int(at)
    return table[row] + (at % 1) * (table[row + 1] - table[row])


def draw_colour(rng: np.random.Generator) -> np.ndarray:
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

    def add_stuff(self, rng: np.random.Generator, scale: float = 1.0) -> int:
        """Cloth, or at a larger scale whatever objects are made of: plain, striped along or
        across, checked, banded.
        """
        colour, other = draw_colour(rng), draw_colour(rng)
        mix = rng.uniform(0.3, 1)
        along, across = 1 / rng.uniform(24, 130, 2) / scale
        patterns = [
            ((0, 0, 0), (0, 0, 0)),
            ((0, along, 0), (0, 0, 0)),
            ((0, 0, 0), (across, 0, 0)),
            ((0, along, 0), (across, 0, 0)),
            ((across, along, 0), (0, 0, 0)),
            ((0, along / 4, 0), (0, 0, 0)),
        ]
        pattern = patterns[rng.choice(6, p=[0.45, 0.2, 0.08, 0.12, 0.07, 0.08])]
        waves = [(*wave, rng.random()) for wave in pattern]
        grain = rng.uniform(0.05, 0.4)
        mixed = mix * other + (1 - mix) * colour
        return self.add(colour, mixed, waves, grain, scale * rng.uniform(5, 45))

    def surfaces(self, rng: np.random.Generator) -> Surfaces:
        """All of them, with the noise of their grain."""
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


@dataclass(frozen=True, eq=False)
class Part:
    """One solid that may move; see `Solids`. Arrays for all instants, or for none that it moves
    in.
    """

    kind: int
    centre: Float[np.ndarray, "*#t 3"]
    axes: Float[np.ndarray, "*#t 3 3"]
    surface: int | tuple[int, int]  # of all of it, or up to `cut` and beyond
    joints: tuple[str, ...] = ()  # those at which it meets others
    taper: float = 0.0
    cut: float = 9.0
    reach: float = np.inf


def ball(centre, frame, radii, surface, *joints: str, scale=1.0, **options) -> Part:
    """An ellipsoid with three radii, or one, along a frame, in units of `scale` mm."""
    axes = frame * (np.broadcast_to(radii, 3)[:, None] * scale)
    return Part(BALL, centre, axes, surface, joints, **options)


def limb(a, b, frame, radii, surface, *joints: str, flat=1.0, scale=1.0, **options) -> Part:
    """From a to b (radii at either, in units of `scale` mm) along the frame that hangs there, as
    deep as `flat` times wide.
    """
    first, last = radii
    r = (first + last) / 2 * scale
    rows = (frame[..., 0, :] * r, (b - a) / 2, frame[..., 2, :] * (r * flat))
    axes = np.stack(np.broadcast_arrays(*rows), -2)
    taper = (last - first) / (first + last)
    return Part(LIMB, (a + b) / 2, axes, surface, joints, taper=taper, **options)


def box(centre, frame, half_mm: np.ndarray, surface, **options) -> Part:
    """A box with these half-edges along a frame."""
    return Part(BOX, centre, frame * half_mm[:, None], surface, **options)


def solids(parts: Sequence[Part], owner: int, t: int) -> Solids:
    """The parts of one owner through t instants."""
    pairs = [p.surface if isinstance(p.surface, tuple) else (p.surface,) * 2 for p in parts]
    return Solids(
        kind=np.array([p.kind for p in parts]),
        centre=np.stack([np.broadcast_to(p.centre, (t, 3)) for p in parts], 1),
        axes=np.stack([np.broadcast_to(p.axes, (t, 3, 3)) for p in parts], 1),
        taper=np.array([p.taper for p in parts]),
        surface=np.array(pairs),
        cut=np.array([p.cut for p in parts]),
        owner=np.full(len(parts), owner),
        meets=np.array([sum(BITS[name] for name in p.joints) for p in parts]),
        reach=np.array([p.reach for p in parts]),
    )
