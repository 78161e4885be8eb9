"""A body around joints: build, clothes, hair and colours of one person, and what he or she carries.

All numbers are our own choice, judged by eye; sizes are fractions of stature.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .joints import SIDES, Frames, Joints, Rng, Vector
from .shapes import (
    HAIR,
    HEAD,
    SKIN,
    Palette,
    ball,
    box,
    draw_tone,
    hanging_frame,
    limb,
    upright_frame,
)


def dress(
    joints: Joints,
    rest: Mapping[str, Vector],
    owner: int,
    rng: Rng,
    palette: Palette,
) -> list[tuple]:
    """A body of a look drawn from rng around the joints, as rows for `shapes.solids`; and what it
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

    def _ball(self, *shape, **options) -> None:
        self.parts.append(ball(*shape, scale=self.stature, owner=self.owner, **options))

    def _limb(self, *shape, **options) -> None:
        self.parts.append(limb(*shape, scale=self.stature, owner=self.owner, **options))

    def add_trunk(self) -> None:
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
        self._limb(belly, breastbone, self.chest, (waist, breast), self.top, *upper, **deep)
        radii = (breast, 0.056, breast * flat)
        self._ball(breastbone, self.chest, radii, self.top, *upper, **near)
        self._ball(belly, self.hips, (waist, 0.05, waist * flat), self.top, *lower, **near)
        cloth = (self.bottom, self.top)
        self._limb(pelvis, belly, self.hips, (seat, waist), cloth, *lower, cut=belt, **deep)
        radii = (seat, 0.055, seat * flat * 1.06)
        self._ball(pelvis, self.hips, radii, self.bottom, *lower, **near)
        root = j["thorax"] - 0.02 * self.stature * self.chest[:, 1]
        skull = j["skull_base"]
        frame = hanging_frame(self.head, root - skull)
        meets = ("neck", "thorax", "skull_base")
        cloth = (self.top, self.skin)
        self._limb(root, skull, frame, (0.036, 0.029), cloth, *meets, cut=collar)

    def add_limbs(self, side: str) -> None:
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
        self._limb(base, shoulder, frame, radii, self.top, meets, "thorax", reach=self.reach)
        meets = f"{side}_wrist"
        wrist = j[meets]
        _, up, forward = np.moveaxis(arm, 1, 0)
        palm = wrist + self.stature * (0.0 * forward - 0.042 * up)
        thumb = wrist + self.stature * (0.02 * forward - 0.03 * up)
        # the palm faces the body: thin from left to right, the thumb in front
        frame = arm[:, [2, 1, 0]]
        self._ball(palm, frame, (0.024, 0.05, 0.011), self.skin, meets)
        frame = hanging_frame(frame, thumb - wrist)
        self._ball(thumb, frame, (0.008, 0.022, 0.008), self.skin, meets)
        meets = f"{side}_ankle"
        ankle = j[meets]
        toes = j[f"{side}_toes"]
        left, up, _ = np.moveaxis(leg, 1, 0)
        frame = upright_frame(np.cross(up, toes - ankle) + 1e-3 * left, toes - ankle)
        heel = ankle - 0.008 * self.stature * up
        middle = ankle + 0.42 * (toes - ankle) - 0.006 * self.stature * up
        self._ball(heel, leg, (0.025, 0.032, 0.03), self.shoe, meets)
        self._ball(middle, frame, (0.026, 0.085, 0.021), self.shoe, meets)

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
        self._ball(a, first, r[0], cloth if covered > 0 else skin, upper, middle)
        self._limb(a, b, first, r[:2], both, upper, middle, cut=2 * covered - 1)
        self._ball(b, second, r[1], cloth if covered > 1 else skin, middle, lower)
        self._limb(b, c, second, r[1:], both, middle, lower, cut=2 * covered - 3)
        return second

    def _on_head(self, place, radii, surface: int, frame=None) -> None:
        """A ball `place` away from the top of the neck, in the head's frame."""
        centre = self.joints["neck"] + self.stature * (np.array(place) @ self.head)
        self._ball(centre, self.head if frame is None else frame, radii, surface, *HEAD)

    def add_head(self) -> None:
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
            self._ball(centre, self.head, radii, surface, *HEAD)
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

    def add_load(self) -> None:
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
            self._limb(pelvis, hem, frame, radii, self.bottom, *meets, flat=0.8, reach=reach)
        if rng.random() < 0.12:
            half = rng.uniform((0.07, 0.1, 0.03), (0.1, 0.15, 0.06)) * self.stature
            behind = self.breast * self.flat * self.stature + half[2]
            centre = self.breastbone - self.chest[:, 2] * behind
            self.parts.append(box(centre, self.chest, half, self.palette.add_stuff(rng)))
