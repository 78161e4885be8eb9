"""The room around a scene: floor, four walls, a ceiling or sky; and the shadows on its floor.

World: mm, y up, floor at y = 0. Light is linear. Over pixels there is nothing but + - * / sqrt and
comparisons, which every machine rounds alike. What rooms look like is our own choice, judged by
eye.
"""

from __future__ import annotations

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


@dataclass(frozen=True, eq=False)
class Room:
    """Floor, four walls and a ceiling or sky around the camera; textures are linear colours with
    their mip levels.
    """

    centre: Vector  # mm, of the floor
    half: Vector  # half width, height, half depth, mm
    turn: Frame  # rows: the room's axes in the world
    texture: Float[np.ndarray, "n 3"]  # all levels of all faces, lit, one texel a row
    # of each face: where a level starts in `texture`, and its edge, a power of 2
    level: Int[np.ndarray, "6 levels 2"]
    texel_mm: Float[np.ndarray, "6"]  # size of a texel of level 0


# --- made -----------------------------------------------------------------------------------------


def draw_room(centre: Vector, half: Vector, turn: Frame, light: Light, rng: Rng) -> Room:
    """A room of that size and place, lit, with its mip levels."""
    one, two, ground = (_picture(rng, is_ground) for is_ground in (False, False, True))
    sky = np.full((EDGE, EDGE, 3), 0.6 + 0.25 * draw_colour(rng), np.float32)
    faces = []
    inwards = (-turn[0], turn[0], -turn[2], turn[2], turn[1])
    for picture, normal in zip((one, two, two, one, ground), inwards):
        sun = max(normal @ light.direction, 0.0) * light.diffuse
        lit = light.ambient * (0.72 + 0.28 * normal[1]) + sun
        faces.append(picture * lit.astype(np.float32))
    pieces, level, start = [], np.zeros((6, LEVELS, 2), int), 0
    for face, picture in enumerate([*faces, sky]):
        for k in range(LEVELS):
            level[face, k] = start, len(picture)
            pieces.append(picture.reshape(-1, 3))
            start += len(pieces[-1])
            picture = (picture[::2] + picture[1::2]) * np.float32(0.5)
            picture = (picture[:, ::2] + picture[:, 1::2]) * np.float32(0.5)
    across = [2 * half[axis] / EDGE for axis in (2, 2, 0, 0)]
    texel_mm = np.array([*across, rng.uniform(8, 16), 20.0])
    return Room(centre, half, turn, np.concatenate(pieces), level, texel_mm)


def _picture(rng: Rng, ground: bool):
    """A wall or floor [e e 3], linear: paint and stains; tiles, planks or bricks; posters, doors,
    windows.
    """
    # stains: noise of four sizes, wrapped around, so that it repeats without a seam
    layers = []
    for cells in (4, 16, 64, EDGE):
        small = np.pad(rng.integers(0, 256, (cells, cells), np.uint8), 1, mode="wrap")
        k = EDGE // cells
        big = cv2.resize(small, None, fx=k, fy=k, interpolation=cv2.INTER_LINEAR_EXACT)
        layers.append(big[k:-k, k:-k].astype(np.float32))
    shares = rng.dirichlet([1, 1, 1, 0.5]) * rng.uniform(0.15, 0.9)
    stains = sum(share * (layer / 255 - 0.5) for share, layer in zip(shares, layers))
    paint = draw_colour(rng) * (0.6 if ground else 1.0) + 0.1 * ground
    picture = (1 + stains[..., None]) * paint
    if rng.random() < 0.6:
        high, wide = rng.choice([8, 16, 32, 64], 2)
        darker = rng.uniform(0.55, 1.25)
        rows = np.arange(EDGE)
        picture[rows % high == 0] *= darker
        if rng.random() < 0.6:
            shifted = rows + (rows[:, None] // high % 2) * (wide // 2)
            picture[shifted % wide == 0] *= darker
    if not ground:
        for _ in range(rng.choice([0, rng.integers(0, 14), rng.integers(10, 30)])):
            # a poster, door or window, some with a frame, some with lines
            w, h = rng.integers(EDGE // 32, EDGE // 4, 2)
            x, y = rng.integers(0, EDGE, 2)
            frame = rng.integers(2, 6)
            patch = picture[y : y + h, x : x + w]
            patch *= 0.15
            patch += 0.85 * draw_colour(rng)
            if rng.random() < 0.5:
                patch[frame:-frame, frame:-frame] = draw_colour(rng)
            if rng.random() < 0.4:
                patch[:: rng.integers(3, 12)] *= 0.7
    return np.clip(picture, 0, 1).astype(np.float32) ** 2


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
    levels = room.level.shape[1]
    u = np.where(face < 2, at[2], at[0])
    v = np.where(face < FLOOR, at[1], at[2])
    cell = face * np.uint8(levels)
    for k in range(levels - 1):
        cell += spread > np.float32(1.5 * 2**k)
    start, edge = room.level.reshape(-1, 2).T.astype(np.int32)
    face_mm = np.repeat(room.texel_mm * room.level[:, 0, 1], levels)
    scale = (edge / face_mm).astype(np.float32)[cell]
    edge = edge[cell]
    u, v = (np.floor(c * scale).astype(np.int32) & (edge - 1) for c in (u, v))
    return room.texture[start[cell] + v * edge + u]


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
