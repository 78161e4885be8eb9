"""The room around a scene: floor, four walls, a ceiling or sky; and the shadows on its floor.

World: mm, y up, floor at y = 0. Light is linear. Over pixels there is nothing but + - * / sqrt and
comparisons, which every machine rounds alike. What rooms look like is our own choice, judged by
eye.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from .joints import Frame, Rng, Times, Vector
from .people import draw_colour
from .render import Light, View

EDGE = 512  # texels of a face
LEVELS = 5  # of detail, each of half the edge
FLOOR = 4  # among the faces [+x, -x, +z, -z], floor, ceiling


class Texture:
    """Linear colours of the six faces of a room with their mip levels, lit. A level of a face is
    painted when it is first seen: most of them never are.
    """

    def __init__(self, pictures: Sequence[Wall | Sky], lights: Float[np.ndarray, "faces 3"]):
        """pictures, lights: of each face, and the light that falls on it."""
        self._pictures = pictures
        self._lights = lights.astype(np.float32)
        self._painted = {}

    def level(self, face: int, k: int) -> Float[np.ndarray, "3 e e"]:
        """One of `LEVELS`, from the finest; e is a power of 2."""
        if (face, k) not in self._painted:
            self._painted[face, k] = self._paint(face, k)
        return self._painted[face, k]

    def _paint(self, face: int, k: int):
        if k == 0:
            return self._pictures[face].linear * self._lights[face][:, None, None]
        finer = self.level(face, k - 1)
        if finer.shape[1] == 1:
            return finer
        finer = (finer[:, ::2] + finer[:, 1::2]) * np.float32(0.5)
        return (finer[..., ::2] + finer[..., 1::2]) * np.float32(0.5)


@dataclass(frozen=True, eq=False)
class Room:
    """Floor, four walls and a ceiling or sky around the camera."""

    centre: Vector  # mm, of the floor
    half: Vector  # half width, height, half depth, mm
    turn: Frame  # rows: the room's axes in the world
    texture: Texture
    texel_mm: Float[np.ndarray, "6"]  # size of a texel of level 0


# --- made -----------------------------------------------------------------------------------------


def draw_room(centre: Vector, half: Vector, turn: Frame, light: Light, rng: Rng) -> Room:
    """A room of that size and place, lit, with its mip levels."""
    one, two, ground = (Wall(rng, is_ground) for is_ground in (False, False, True))
    sky = Sky(0.6 + 0.25 * draw_colour(rng))
    lights = []
    for normal in (-turn[0], turn[0], -turn[2], turn[2], turn[1]):
        sun = max(normal @ light.direction, 0.0) * light.diffuse
        lights.append(light.ambient * (0.72 + 0.28 * normal[1]) + sun)
    texture = Texture((one, two, two, one, ground, sky), np.array([*lights, np.ones(3)]))
    across = [2 * half[axis] / EDGE for axis in (2, 2, 0, 0)]
    texel_mm = np.array([*across, rng.uniform(8, 16), 20.0])
    return Room(centre, half, turn, texture, texel_mm)


class Sky:
    """A face of one linear colour."""

    def __init__(self, colour: Vector):
        self.linear = colour.astype(np.float32)[:, None, None]


class Wall:
    """A wall or floor: paint and stains; tiles, planks or bricks; posters, doors, windows. What
    they are is drawn at once, the picture is painted when it is asked for.
    """

    def __init__(self, rng: Rng, ground: bool):
        # stains: noise of four sizes
        cells = (4, 16, 64, EDGE)
        self._stains = [rng.integers(0, 256, (n, n), np.uint8) for n in cells]
        self._shares = rng.dirichlet([1, 1, 1, 0.5]) * rng.uniform(0.15, 0.9)
        self._paint = draw_colour(rng) * (0.6 if ground else 1.0) + 0.1 * ground
        self.tiles = None
        if rng.random() < 0.6:
            high, wide = rng.choice([8, 16, 32, 64], 2)
            darker = rng.uniform(0.55, 1.25)
            self.tiles = high, wide, darker, rng.random() < 0.6
        posters = 0 if ground else rng.choice([0, rng.integers(0, 14), rng.integers(10, 30)])
        self._posters = [_Poster(rng) for _ in range(posters)]

    @functools.cached_property
    def linear(self) -> Float[np.ndarray, "3 e e"]:
        stained = np.zeros((EDGE, EDGE))
        for stain in map(_stain, self._stains, self._shares):
            stained += stain
        stained += 1
        picture = np.empty((3, EDGE, EDGE), np.float32)
        plane = np.empty_like(stained)
        for channel, paint in enumerate(self._paint):  # each fits the processor's cache
            np.multiply(stained, paint, out=plane)
            if self.tiles:
                high, wide, darker, upright = self.tiles
                rows = plane.reshape(-1, high, EDGE)
                rows[:, 0] *= darker
                if upright:  # every second row of tiles is shifted by half a tile
                    rows[::2, :, ::wide] *= darker
                    rows[1::2, :, wide // 2 :: wide] *= darker
            for poster in self._posters:
                poster.hang(plane, channel)
            picture[channel] = np.clip(plane, 0, 1, out=plane)
        return np.square(picture, out=picture)


def _stain(noise: UInt8[np.ndarray, "n n"], share: float) -> Float[np.ndarray, "e e"]:
    """Noise as large as a face, wrapped around, so that it repeats without a seam."""
    k = EDGE // len(noise)
    if k > 1:
        padded = np.pad(noise, 1, mode="wrap")
        big = cv2.resize(padded, None, fx=k, fy=k, interpolation=cv2.INTER_LINEAR_EXACT)
        noise = big[k:-k, k:-k]
    levels = np.arange(256, dtype=np.float32) / 255 - 0.5
    return cv2.LUT(noise, share * levels)


class _Poster:
    """A poster, door or window, some with a frame, some with lines."""

    def __init__(self, rng: Rng):
        w, h = rng.integers(EDGE // 32, EDGE // 4, 2)
        x, y = rng.integers(0, EDGE, 2)
        self._place = slice(y, y + h), slice(x, x + w)
        self._frame = rng.integers(2, 6)
        self._colour = draw_colour(rng)
        self._inside = draw_colour(rng) if rng.random() < 0.5 else None
        self._lines = rng.integers(3, 12) if rng.random() < 0.4 else None

    def hang(self, plane: Float[np.ndarray, "e e"], channel: int) -> None:
        patch = plane[self._place]
        patch *= 0.15
        patch += 0.85 * self._colour[channel]
        if self._inside is not None:
            patch[self._frame : -self._frame, self._frame : -self._frame] = self._inside[channel]
        if self._lines is not None:
            patch[:: self._lines] *= 0.7


# --- seen -----------------------------------------------------------------------------------------


def room_pixels(
    room: Room, view: View, t: int, shift=(0.0, 0.0)
) -> tuple[Float[np.ndarray, "h w 3"], Int[np.ndarray, "n"], Float[np.ndarray, "n 2"]]:
    """Linear colours; flat indices of the floor's pixels, and their world x, z (mm).

    shift: px by which the rays are moved inside their pixels.
    """
    turn = room.turn @ view.rotation[t].T  # camera to room
    eye = room.turn @ (view.position[t] - room.centre)
    width, height = view.size_wh
    x = ((np.arange(width) + shift[0] - view.middle[0]) / view.focal).astype(np.float32)
    y = ((np.arange(height) + shift[1] - view.middle[1]) / view.focal).astype(np.float32)[:, None]
    ray = [np.float32(row[0]) * x + np.float32(row[1]) * y + np.float32(row[2]) for row in turn]
    (left, low, back), (right, high, front) = room.half * [1, 0, 1] + eye, room.half - eye
    walls = [(0, 1, right), (0, -1, left), (2, 1, front), (2, -1, back), (1, -1, low), (1, 1, high)]
    w = np.zeros((height, width), np.float32)
    face = np.zeros((height, width), np.uint8)
    for k, (axis, sign, gap) in enumerate(walls):  # the nearest way out: inverse depth is largest
        here = ray[axis] * np.float32(sign / gap)
        nearer = here > w
        np.copyto(w, here, where=nearer)
        np.copyto(face, np.uint8(k), where=nearer)
    z = 1 / w
    at = [r * z + np.float32(e) for r, e in zip(ray, eye)]
    # Texels under a pixel along its longer side choose the mip level.
    gaps = np.array([gap for *_, gap in walls])
    spread = (1 / (view.focal * gaps * room.texel_mm)).astype(np.float32)[face] * z * z
    colour = _texels(room, face, spread, at)
    floor = np.flatnonzero(face == FLOOR)
    level = np.stack([at[0].ravel()[floor], at[2].ravel()[floor]], -1)
    world = level @ room.turn[[0, 2]][:, [0, 2]] + room.centre[[0, 2]]
    return colour, floor, world


def _texels(room: Room, face, spread, at):
    """Colours [h w 3] of pixels that see a face at a place (x, y, z in the room, mm), `spread`
    texels wide.
    """
    cells = face * np.uint8(LEVELS)
    for k in range(LEVELS - 1):
        cells += spread > np.float32(1.5 * 2**k)
    colour = np.empty((*face.shape, 3), np.float32)
    for cell in np.flatnonzero(np.bincount(cells.ravel())):
        side, level = divmod(int(cell), LEVELS)
        pixels = np.flatnonzero(cells == cell)
        picture = room.texture.level(side, level)
        edge = picture.shape[-1]
        scale = np.float32(1 / (room.texel_mm[side] * 2**level))
        across = 2 if side < 2 else 0
        up = 1 if side < FLOOR else 2
        u, v = (
            np.floor(at[axis].ravel()[pixels] * scale).astype(np.int32) & (edge - 1)
            for axis in (across, up)
        )
        colour.reshape(-1, 3)[pixels] = picture.reshape(3, -1)[:, v * edge + u].T
    return colour


SHADOW_EDGE = 256  # texels of the shadow map
SHADOW_MM = 40.0  # size of one


def shadow_cells(xz: Float[np.ndarray, "*n 2"], middle: Float[np.ndarray, "2"]) -> np.ndarray:
    """Texels (x, z) of the shadow map around `middle` in which points of the floor lie (mm)."""
    return np.floor((xz - middle) / SHADOW_MM + SHADOW_EDGE / 2)


def shadow_map(
    ends: Float[np.ndarray, "n 2 3"], radius: Times, middle: Float[np.ndarray, "2"], light: Light
) -> UInt8[np.ndarray, "z x"]:
    """How much light capsules with these ends (world, mm) take from each floor texel, 0 to 255,
    around `middle` (x, z).
    """
    picture = np.zeros((SHADOW_EDGE, SHADOW_EDGE), np.uint8)
    fallen = ends - ends[..., 1:2] * (light.direction / max(light.direction[1], 0.3))
    cells = np.clip(shadow_cells(fallen[..., [0, 2]], middle), -999, 999).astype(int)
    for (start, stop), r in zip(cells.tolist(), radius):
        cv2.line(picture, start, stop, 255, max(1, round(2 * r / SHADOW_MM)))
    return cv2.blur(cv2.blur(picture, (5, 5)), (5, 5))
