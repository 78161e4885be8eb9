"""What stands about: things between the camera and somebody, and furniture along the walls.

All numbers are our own choice, judged by eye; lengths mm.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from .joints import Frame, Points, Vector, unit
from .render import OCCLUDER, Solids
from .shapes import Palette, Part, ball, box, hanging_frame, limb, solids, yaw_frame

UP = np.array([0.0, 1.0, 0.0])


def draw_thing(path: Points, size: float, rng: np.random.Generator, palette: Palette) -> Solids:
    """An object about so many mm wide whose foot follows the path: board, crate, pole, sign or
    plant.
    """
    frame = yaw_frame(rng.uniform(-np.pi, np.pi))
    kind = rng.choice(["board", "crate", "pole", "sign", "plant"], p=[0.25, 0.2, 0.2, 0.15, 0.2])
    stuff = (palette.add_stuff(rng, 3.0), palette.add_stuff(rng, 3.0))
    cut = rng.uniform(-1, 1.5)
    tall = size * rng.uniform(0.5, 2.0)
    lifted = rng.choice([0.0, rng.uniform(200, 900)])
    if kind == "plant":
        parts = [*_plant(path, size, frame, stuff, rng, palette)]
    elif kind == "pole":
        r = size * rng.uniform(0.08, 0.2)
        top = path + rng.choice([1400.0, 3500.0]) * UP
        parts = [limb(path, top, frame, (r, r * rng.uniform(0.6, 1)), stuff, cut=cut)]
    elif kind == "sign":
        centre = path + rng.uniform(700, 2000) * UP
        radii = (size / 2, size / 2 * rng.uniform(0.7, 1.3), 15.0)
        pole = limb(path, centre, frame, (22.0, 22.0), stuff[0])
        parts = [pole, ball(centre, frame, radii, stuff[1])]
    else:
        deep = 12.0
        if kind == "crate":
            deep, lifted = size * rng.uniform(0.3, 0.5), 0.0
        half = np.array([size / 2, tall / 2, deep])
        parts = [box(path + (lifted + tall / 2) * UP, frame, half, stuff, cut=cut)]
    return solids(parts, OCCLUDER, len(path))


def _plant(path, size, frame, stuff, rng: np.random.Generator, palette: Palette) -> Iterator[Part]:
    """A pot and eighteen leaves."""
    pot = path + 0.25 * size * UP
    yield limb(path, pot, frame, (0.17 * size, 0.22 * size), stuff[0])
    stripes = ((0, 0.02, 0, 0), (0, 0, 0, 0))
    green = palette.add((0.15, 0.3, 0.1), (0.3, 0.5, 0.16), stripes, grain=0.4, cell_mm=20.0)
    for way in unit(rng.normal(0, 1, (18, 3)) * [1, 0.6, 1] + [0, 0.9, 0]):
        long = size * rng.uniform(0.2, 0.38)
        leaf = hanging_frame(frame[None], -way[None])[0]
        radii = (size * rng.uniform(0.05, 0.12), long, size * 0.02)
        yield ball(pot + way * long, leaf, radii, green)


def draw_furniture(
    middle: Vector,
    half: Vector,
    turn: Frame,
    taken: Float[np.ndarray, "n 3"],
    rng: np.random.Generator,
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
    return solids(parts, OCCLUDER, 1)
