"""What people and things are made of: surfaces of drawn colours, balls, limbs and boxes; the things
themselves, between the camera and somebody or along the walls; and a body around joints: build,
clothes, hair and colours of one person, and what he or she carries.

All numbers of this file are our own choice, judged by eye.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from .joints import FACE, SIDES, Frame, Frames, Joints, Points, Rng, Vector, both_sides, unit
from .render import BALL, BOX, LIMB, OCCLUDER, Solids, Surfaces

# --- surfaces -------------------------------------------------------------------------------------

# Between these lie skin and hair; sRGB-like, 0 to 1.
SKIN = np.array([[0.27, 0.18, 0.13], [0.48, 0.33, 0.24], [0.73, 0.53, 0.41], [0.91, 0.74, 0.64]])
HAIR = np.array([[0.06, 0.05, 0.05], [0.25, 0.16, 0.1], [0.55, 0.4, 0.22], [0.72, 0.7, 0.68]])
PLAIN = ((0, 0, 0, 0), (0, 0, 0, 0))  # waves of a surface without a pattern


def draw_tone(table: Points, rng: Rng) -> Vector:
    """A colour on the way from one row of a table to the next."""
    at = rng.uniform(0, len(table) - 1.001)
    row = int(at)
    return table[row] + (at % 1) * (table[row + 1] - table[row])


def draw_colour(rng: Rng) -> Vector:
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


def upright_frame(left: Points, up: Points) -> Frames:
    """The frame of that up, and of the left made orthogonal to it."""
    up = unit(up)
    left = unit(left - (left * up).sum(-1, keepdims=True) * up)
    return np.stack([left, up, np.cross(left, up)], 1)


def hanging_frame(frame: Frames, down: Points) -> Frames:
    """The frame turned the shortest way until its second row is -down: so texture keeps to a
    limb that swings.
    """
    down = unit(down)
    start = -frame[:, 1]
    both = (start + down) / np.maximum(1 + (start * down).sum(-1, keepdims=True), 1e-3)
    turned = np.empty((max(len(frame), len(down)), 3, 3))
    across = frame[:, ::2]
    turned[:, ::2] = unit(across - (across * down[:, None]).sum(-1, keepdims=True) * both[:, None])
    turned[:, 1] = -down
    return turned


# --- solids ---------------------------------------------------------------------------------------

HEAD = (*FACE, "head_top", "skull", "skull_base", "neck")
_TRUNK = ("thorax", "spine", "belly", "pelvis")
_LIMBS = both_sides(dict.fromkeys(("shoulder", "elbow", "wrist", "hip", "knee", "ankle")))
# The bit of a joint in `Solids.meets`.
BITS = {name: 1 << i for i, name in enumerate((*HEAD, *_TRUNK, *_LIMBS))}


def part(
    kind, centre, axes, surface, *joints, taper=0.0, cut=9.0, reach=np.inf, owner=OCCLUDER
) -> tuple:
    """One solid as a row for `solids`; see `Solids`. Centre [*#t 3] and axes [*#t 3 3] for all
    instants, or for none that it moves in.

    surface: of all of it, or up to `cut` and beyond. joints: those at which it meets others.
    """
    both = surface if isinstance(surface, tuple) else (surface, surface)
    meets = sum(BITS[name] for name in joints)
    return kind, centre, axes, taper, both, cut, owner, meets, reach


def ball(centre, frame, radii, surface, *joints, scale=1.0, **options) -> tuple:
    """An ellipsoid with three radii, or one, along a frame, in units of `scale` mm."""
    axes = frame * (np.full(3, radii)[:, None] * scale)
    return part(BALL, centre, axes, surface, *joints, **options)


def limb(a, b, frame, radii, surface, *joints, flat=1.0, scale=1.0, **options) -> tuple:
    """From a to b (radii at either, in units of `scale` mm) along the frame that hangs there, as
    deep as `flat` times wide.
    """
    first, last = radii
    r = (first + last) / 2 * scale
    along = (b - a) / 2
    axes = np.empty((*np.broadcast_shapes(frame.shape[:-2], along.shape[:-1]), 3, 3))
    axes[..., 0, :] = frame[..., 0, :] * r
    axes[..., 1, :] = along
    axes[..., 2, :] = frame[..., 2, :] * (r * flat)
    taper = (last - first) / (first + last)
    return part(LIMB, (a + b) / 2, axes, surface, *joints, taper=taper, **options)


def box(centre, frame, half_mm: np.ndarray, surface, **options) -> tuple:
    """A box with these half-edges along a frame."""
    return part(BOX, centre, frame * half_mm[:, None], surface, **options)


def solids(rows: Sequence[tuple], t: int) -> Solids:
    """Balls, limbs and boxes through t instants."""
    kind, centres, axes, *others = zip(*rows)
    centre = np.empty((t, len(rows), 3))
    half_axes = np.empty((t, len(rows), 3, 3))
    for i, (middle, frame) in enumerate(zip(centres, axes)):
        centre[:, i] = middle
        half_axes[:, i] = frame
    return Solids(np.array(kind), centre, half_axes, *map(np.array, others))


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
    middle: Vector, half: Vector, turn: Frame, taken: Points, rng: Rng, palette: Palette
) -> Solids:
    """Boxes along the walls of a room, none where a point in `taken` is.

    middle, half, taken: in the room's own axes; turn: its axes in the world.
    """
    # out of sight: no room is without
    parts = [ball(-1e6 * UP, turn, 1.0, 0)]
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


# --- people; sizes are fractions of stature -------------------------------------------------------


def dress(
    joints: Joints,
    rest: Mapping[str, Vector],
    owner: int,
    rng: Rng,
    palette: Palette,
) -> list[tuple]:
    """A body of a look drawn from rng around the joints, as rows for `solids`; and what it
    carries, which is no part of the person, as in COCO.

    rest: the same person at one instant, from which lengths are taken.
    """
    body = _Body(joints, rest, owner, rng, palette)
    body.add_trunk()
    for side in SIDES:
        body.add_limbs(side)
    body.add_head()
    body.add_load()
    return body.parts


class _Body:
    """Measures and colours of one person, and the parts of the body so far. Surfaces are indices
    into the palette.
    """

    def __init__(self, joints, rest, owner, rng, palette):
        self.joints = joints
        self.owner = owner
        self.rng = rng
        self.palette = palette
        self.parts = []

        def length(a: str, b: str) -> float:
            return float(np.linalg.norm(rest[a] - rest[b]))

        def frame(width: str, top: str, bottom: str) -> Frames:
            left = joints[f"left_{width}"] - joints[f"right_{width}"]
            return upright_frame(left, joints[top] - joints[bottom])

        self.stature = length("head_top", "neck") / 0.13  # mm
        self.chest = frame("shoulder", "thorax", "belly")
        self.hips = frame("hip", "belly", "pelvis")
        self.head = frame("ear", "head_top", "neck")
        # the middle of the breast
        self.breastbone = joints["belly"] + 0.8 * (joints["thorax"] - joints["belly"])
        shoulder = length("left_shoulder", "right_shoulder") / 2 / self.stature
        hip = length("left_hip", "right_hip") / 2 / self.stature

        self.heavy = float(np.exp(rng.normal(0, 0.12)))  # build, about 1
        self.skin = palette.add(draw_tone(SKIN, rng), grain=0.08)
        self.hair = palette.add(draw_tone(HAIR, rng), grain=0.35, cell_mm=5.0)
        self.eye = palette.add((0.08, 0.06, 0.06))
        self.lip = palette.add(draw_tone(SKIN, rng) * [0.85, 0.6, 0.6])
        self.top, self.bottom, self.shoe = (palette.add_stuff(rng) for _ in range(3))
        self.skirted = rng.random() < 0.15
        if self.skirted and rng.random() < 0.5:
            self.top = self.bottom  # a dress
        # how far cloth reaches: 0 the shoulder or hip, 1 elbow or knee, 2 wrist or ankle
        sleeves = [0.0, rng.uniform(0.4, 1), rng.uniform(1.1, 2), 2.0]
        self.sleeve = rng.choice(sleeves, p=[0.1, 0.4, 0.15, 0.35])
        legs = [rng.uniform(0.4, 0.9), rng.uniform(1.2, 1.6), 1.9]
        self.leg = rng.choice(legs, p=[0.25, 0.1, 0.65])
        if self.skirted:
            self.leg = rng.choice([0.55, 1.95], p=[0.7, 0.3])
        # half widths of the trunk, and its depth over them
        self.breast = 0.86 * shoulder * self.heavy**0.5
        self.waist = rng.uniform(0.66, 0.82) * shoulder * self.heavy
        self.seat = hip + 0.042 * self.heavy
        self.flat = rng.uniform(0.62, 0.74) * self.heavy**0.3

    def _add(self, shape, *place, **options):
        """A ball or limb in units of stature."""
        self.parts.append(shape(*place, scale=self.stature, owner=self.owner, **options))

    def add_trunk(self):
        j = self.joints
        upper = ("left_shoulder", "right_shoulder", "thorax", "neck", "spine", "belly")
        lower = ("left_hip", "right_hip", "pelvis", "spine", "belly")
        belly, pelvis, breastbone = j["belly"], j["pelvis"], self.breastbone
        waist, breast, seat, flat = self.waist, self.breast, self.seat, self.flat
        # mm. The trunk counts as seen at a joint only where its surface is near: the far shoulder
        # of a profile is hidden.
        self.reach = 1.5 * flat * seat * self.stature
        near = {"reach": self.reach}
        deep = near | {"flat": flat}
        belt = self.rng.uniform(-0.5, 0.6)  # top and bottom meet: -1 at the pelvis, 1 at the belly
        collar = self.rng.uniform(-0.7, 0.3)  # where top and skin meet on the neck
        self._add(limb, belly, breastbone, self.chest, (waist, breast), self.top, *upper, **deep)
        radii = (breast, 0.056, breast * flat)
        self._add(ball, breastbone, self.chest, radii, self.top, *upper, **near)
        self._add(ball, belly, self.hips, (waist, 0.05, waist * flat), self.top, *lower, **near)
        cloth = (self.bottom, self.top)
        self._add(limb, pelvis, belly, self.hips, (seat, waist), cloth, *lower, cut=belt, **deep)
        radii = (seat, 0.055, seat * flat * 1.06)
        self._add(ball, pelvis, self.hips, radii, self.bottom, *lower, **near)
        root = j["thorax"] - 0.02 * self.stature * self.chest[:, 1]
        skull = j["skull_base"]
        frame = hanging_frame(self.head, root - skull)
        meets = ("neck", "thorax", "skull_base")
        cloth = (self.top, self.skin)
        self._add(limb, root, skull, frame, (0.036, 0.029), cloth, *meets, cut=collar)

    def add_limbs(self, side: str):
        """Arm and leg of one side, with shoulder, hand and foot."""
        j = self.joints
        arm = self._add_limb(
            side, "shoulder elbow wrist", self.chest, (0.03, 0.0235, 0.0165), self.top, self.sleeve
        )
        leg = self._add_limb(
            side, "hip knee ankle", self.hips, (0.05, 0.034, 0.023), self.bottom, self.leg
        )
        base = j["thorax"] + 0.4 * (j["neck"] - j["thorax"])
        meets = f"{side}_shoulder"
        shoulder = j[meets]
        frame = hanging_frame(self.chest, shoulder - base)
        radii = (0.03, 0.0255)
        self._add(limb, base, shoulder, frame, radii, self.top, meets, "thorax", reach=self.reach)
        meets = f"{side}_wrist"
        wrist = j[meets]
        _, up, forward = np.moveaxis(arm, 1, 0)
        palm = wrist + self.stature * (0.0 * forward - 0.042 * up)
        thumb = wrist + self.stature * (0.02 * forward - 0.03 * up)
        # the palm faces the body: thin from left to right, the thumb in front
        frame = arm[:, [2, 1, 0]]
        self._add(ball, palm, frame, (0.024, 0.05, 0.011), self.skin, meets)
        frame = hanging_frame(frame, thumb - wrist)
        self._add(ball, thumb, frame, (0.008, 0.022, 0.008), self.skin, meets)
        meets = f"{side}_ankle"
        ankle = j[meets]
        toes = j[f"{side}_toes"]
        left, up, _ = np.moveaxis(leg, 1, 0)
        frame = upright_frame(np.cross(up, toes - ankle) + 1e-3 * left, toes - ankle)
        heel = ankle - 0.008 * self.stature * up
        middle = ankle + 0.42 * (toes - ankle) - 0.006 * self.stature * up
        self._add(ball, heel, leg, (0.025, 0.032, 0.03), self.shoe, meets)
        self._add(ball, middle, frame, (0.026, 0.085, 0.021), self.shoe, meets)

    def _add_limb(self, side, names: str, frame: Frames, radii, cloth, covered) -> Frames:
        """Two segments between three joints, of that radius at each; the frame of the second.

        frame: of what they hang on. covered: how far the cloth reaches, 0 to 2 joints.
        """
        upper, middle, lower = (f"{side}_{name}" for name in names.split())
        a, b, c = (self.joints[name] for name in (upper, middle, lower))
        first = hanging_frame(frame, b - a)
        second = hanging_frame(first, c - b)
        loose = 1.0 if covered <= 1 else 1.12  # long cloth hangs loose
        r = np.array(radii) * self.heavy * loose
        skin, both = self.skin, (cloth, self.skin)
        self._add(ball, a, first, r[0], cloth if covered > 0 else skin, upper, middle)
        self._add(limb, a, b, first, r[:2], both, upper, middle, cut=2 * covered - 1)
        self._add(ball, b, second, r[1], cloth if covered > 1 else skin, middle, lower)
        self._add(limb, b, c, second, r[1:], both, middle, lower, cut=2 * covered - 3)
        return second

    def _on_head(self, place, radii, surface: int, frame=None):
        """A ball `place` away from the top of the neck, in the head's frame."""
        centre = self.joints["neck"] + self.stature * (np.array(place) @ self.head)
        self._add(ball, centre, self.head if frame is None else frame, radii, surface, *HEAD)

    def add_head(self):
        """Face, perhaps with a beard, and hair or cap."""
        rng = self.rng
        jaw = self.hair if rng.random() < 0.15 else self.skin
        self._on_head((0, 0.07, 0.003), (0.043, 0.06, 0.054), self.skin)
        self._on_head((0, 0.03, 0.017), (0.034, 0.038, 0.037), jaw)
        self._on_head((0, 0.019, 0.045), (0.015, 0.0045, 0.009), self.lip)
        ear = ((0.005, 0.017, 0.014), self.skin)
        eye = ((0.0085, 0.0055, 0.0065), self.eye)
        features = {"nose": ((0.0075, 0.014, 0.011), self.skin)}
        for side in SIDES:
            features |= {f"{side}_ear": ear, f"{side}_eye": eye}
        _, up, forward = np.moveaxis(self.head, 1, 0)
        for name, (radii, surface) in features.items():
            centre = self.joints[name] - 0.006 * self.stature * forward
            self._add(ball, centre, self.head, radii, surface, *HEAD)
        styles = ["short", "long", "tail", "cap", "bald"]
        style = rng.choice(styles, p=[0.42, 0.22, 0.1, 0.16, 0.1])
        cover = self.palette.add_stuff(rng) if style == "cap" else self.hair
        frame = hanging_frame(self.head, rng.uniform(0.25, 0.5) * forward - up)
        if style != "bald":
            radii = np.array([0.046, 0.056, 0.055]) * rng.uniform(1.02, 1.12)
            self._on_head((0, 0.078, -0.008), radii, cover, frame)
        if style == "long":
            radii = (0.045, rng.uniform(0.06, 0.1), 0.028)
            self._on_head((0, 0.03, -0.03), radii, cover)
        if style == "tail":
            frame = hanging_frame(self.head, -up - 0.3 * forward)
            self._on_head((0, 0.05, -0.065), (0.018, 0.05, 0.018), cover, frame)
        if style == "cap":
            self._on_head((0, 0.085, 0.06), (0.035, 0.006, 0.035), cover)

    def add_load(self):
        """A skirt and a backpack, where there are any."""
        rng = self.rng
        if self.skirted:
            pelvis = self.joints["pelvis"]
            knees = (self.joints["left_knee"] + self.joints["right_knee"]) / 2
            hem = pelvis + rng.uniform(0.6, 1.25) * (knees - pelvis)
            wide = self.seat * rng.uniform(1.1, 1.7)
            meets = ("left_hip", "right_hip", "left_knee", "right_knee")
            reach = 1.5 * wide * self.stature
            frame = hanging_frame(self.hips, hem - pelvis)
            radii = (self.seat, wide)
            self._add(limb, pelvis, hem, frame, radii, self.bottom, *meets, flat=0.8, reach=reach)
        if rng.random() < 0.12:
            half = rng.uniform((0.07, 0.1, 0.03), (0.1, 0.15, 0.06)) * self.stature
            behind = self.breast * self.flat * self.stature + half[2]
            centre = self.breastbone - self.chest[:, 2] * behind
            self.parts.append(box(centre, self.chest, half, self.palette.add_stuff(rng)))
