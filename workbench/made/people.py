"""A body around joints: build, clothes, hair and colours of one person, and what he or she carries.

What is drawn (`draw_look`) comes first, what it is shaped like (`dress`) follows without chance.
All numbers are our own choice, judged by eye; sizes are fractions of stature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .joints import SIDES, Frames, Joints, Points, Vector
from .render import OCCLUDER, Solids
from .shapes import (
    HAIR,
    HEAD,
    SKIN,
    Palette,
    Part,
    ball,
    box,
    draw_tone,
    hanging_frame,
    limb,
    solids,
    upright_frame,
)


@dataclass(frozen=True)
class Look:
    """What one person looks like; surfaces are indices into a palette."""

    heavy: float  # build, about 1
    skin: int
    hair: int
    eye: int
    lip: int
    top: int
    bottom: int
    shoe: int
    # How far cloth reaches: 0 the shoulder or hip, 1 elbow or knee, 2 wrist or ankle.
    sleeve: float
    leg: float
    waist: float  # over the width of the shoulders, before `heavy`
    flat: float  # depth of the trunk over its width, before `heavy`
    belt: float  # where top and bottom meet, -1 at the pelvis to 1 at the belly
    collar: float  # where top and skin meet on the neck
    jaw: int  # a surface: skin, or hair for a beard
    style: str  # of the hair
    cover: int  # surface of hair or cap
    back: float  # how far it lies back
    volume: float  # of hair over skull
    long: float  # down the neck
    skirt: tuple[float, float] | None  # length over that to the knees, width over the seat's
    backpack: tuple[Vector, int] | None  # half-edges, surface


def draw_look(rng: np.random.Generator, palette: Palette) -> Look:
    """The look of one person, whose surfaces are added to the palette."""
    heavy = float(np.exp(rng.normal(0, 0.12)))
    skin = palette.add(draw_tone(SKIN, rng), grain=0.08)
    hair = palette.add(draw_tone(HAIR, rng), grain=0.35, cell_mm=5.0)
    eye = palette.add((0.08, 0.06, 0.06))
    lip = palette.add(draw_tone(SKIN, rng) * [0.85, 0.6, 0.6])
    top, bottom, shoe = (palette.add_stuff(rng) for _ in range(3))
    skirted = rng.random() < 0.15
    if skirted and rng.random() < 0.5:
        top = bottom  # a dress
    sleeves = [0.0, rng.uniform(0.4, 1), rng.uniform(1.1, 2), 2.0]
    sleeve = rng.choice(sleeves, p=[0.1, 0.4, 0.15, 0.35])
    legs = [rng.uniform(0.4, 0.9), rng.uniform(1.2, 1.6), 1.9]
    leg = rng.choice(legs, p=[0.25, 0.1, 0.65])
    if skirted:
        leg = rng.choice([0.55, 1.95], p=[0.7, 0.3])
    waist, flat = rng.uniform(0.66, 0.82), rng.uniform(0.62, 0.74)
    belt, collar = rng.uniform(-0.5, 0.6), rng.uniform(-0.7, 0.3)
    jaw = hair if rng.random() < 0.15 else skin
    style = rng.choice(["short", "long", "tail", "cap", "bald"], p=[0.42, 0.22, 0.1, 0.16, 0.1])
    return Look(
        *(heavy, skin, hair, eye, lip, top, bottom, shoe, sleeve, leg, waist, flat, belt, collar),
        jaw=jaw,
        style=style,
        cover=palette.add_stuff(rng) if style == "cap" else hair,
        back=rng.uniform(0.25, 0.5),
        volume=0.0 if style == "bald" else rng.uniform(1.02, 1.12),
        long=rng.uniform(0.06, 0.1) if style == "long" else 0.0,
        skirt=(rng.uniform(0.6, 1.25), rng.uniform(1.1, 1.7)) if skirted else None,
        backpack=_draw_backpack(rng, palette),
    )


def _draw_backpack(rng: np.random.Generator, palette: Palette) -> tuple[Vector, int] | None:
    if rng.random() >= 0.12:
        return None
    return rng.uniform((0.07, 0.1, 0.03), (0.1, 0.15, 0.06)), palette.add_stuff(rng)


@dataclass(frozen=True, eq=False)
class _Figure:
    """Joints with what is measured on them: frames of the trunk and head, widths of stature."""

    joints: Joints
    look: Look
    stature: float  # mm
    chest: Frames
    hips: Frames
    head: Frames
    shoulder: float
    hip: float

    @property
    def waist(self) -> float:
        return self.look.waist * self.shoulder * self.look.heavy

    @property
    def breast(self) -> float:
        return 0.86 * self.shoulder * self.look.heavy**0.5

    @property
    def seat(self) -> float:
        return self.hip + 0.042 * self.look.heavy

    @property
    def flat(self) -> float:
        return self.look.flat * self.look.heavy**0.3

    @property
    def reach(self) -> float:
        """mm. The trunk counts as seen at a joint only where its surface is near: the far shoulder
        of a profile is hidden.
        """
        return 1.5 * self.flat * self.seat * self.stature

    @property
    def breastbone(self) -> Points:
        """The middle of the breast."""
        belly, thorax = self.joints["belly"], self.joints["thorax"]
        return belly + 0.8 * (thorax - belly)

    def ball(self, *shape, **options) -> Part:
        return ball(*shape, scale=self.stature, **options)

    def limb(self, *shape, **options) -> Part:
        return limb(*shape, scale=self.stature, **options)


def _figure(joints: Joints, rest: Mapping[str, Vector], look: Look) -> _Figure:
    def length(a: str, b: str) -> float:
        return float(np.linalg.norm(rest[a] - rest[b]))

    def frame(width: str, top: str, bottom: str) -> np.ndarray:
        left = joints[f"left_{width}"] - joints[f"right_{width}"]
        return upright_frame(left, joints[top] - joints[bottom])

    stature = length("head_top", "neck") / 0.13
    return _Figure(
        joints,
        look,
        stature,
        chest=frame("shoulder", "thorax", "belly"),
        hips=frame("hip", "belly", "pelvis"),
        head=frame("ear", "head_top", "neck"),
        shoulder=length("left_shoulder", "right_shoulder") / 2 / stature,
        hip=length("left_hip", "right_hip") / 2 / stature,
    )


def dress(
    joints: Joints,
    rest: Mapping[str, Vector],
    owner: int,
    rng: np.random.Generator,
    palette: Palette,
) -> list[Solids]:
    """A body of a look drawn from rng around the joints; and what it carries, which is no part of
    the person, as in COCO.

    rest: the same person at one instant, from which lengths are taken.
    """
    figure = _figure(joints, rest, draw_look(rng, palette))
    body = [*_trunk(figure)]
    for side in SIDES:
        body += _limbs(figure, side)
    body += [*_face(figure), *_hair(figure), *_skirt(figure)]
    t = len(joints["pelvis"])
    groups = [solids(body, owner, t)]
    if figure.look.backpack:
        groups.append(solids([_backpack(figure)], OCCLUDER, t))
    return groups


def _trunk(f: _Figure) -> Iterator[Part]:
    look, j = f.look, f.joints
    upper = ("left_shoulder", "right_shoulder", "thorax", "neck", "spine", "belly")
    lower = ("left_hip", "right_hip", "pelvis", "spine", "belly")
    belly, pelvis, breastbone = j["belly"], j["pelvis"], f.breastbone
    waist, breast, seat, flat = f.waist, f.breast, f.seat, f.flat
    deep = {"flat": flat, "reach": f.reach}
    near = {"reach": f.reach}
    yield f.limb(belly, breastbone, f.chest, (waist, breast), look.top, *upper, **deep)
    yield f.ball(breastbone, f.chest, (breast, 0.056, breast * flat), look.top, *upper, **near)
    yield f.ball(belly, f.hips, (waist, 0.05, waist * flat), look.top, *lower, **near)
    cloth = (look.bottom, look.top)
    yield f.limb(pelvis, belly, f.hips, (seat, waist), cloth, *lower, cut=look.belt, **deep)
    yield f.ball(pelvis, f.hips, (seat, 0.055, seat * flat * 1.06), look.bottom, *lower, **near)
    root = j["thorax"] - 0.02 * f.stature * f.chest[:, 1]
    frame = hanging_frame(f.head, root - j["skull_base"])
    meets = ("neck", "thorax", "skull_base")
    cloth = (look.top, look.skin)
    yield f.limb(root, j["skull_base"], frame, (0.036, 0.029), cloth, *meets, cut=look.collar)


def _limbs(f: _Figure, side: str) -> Iterator[Part]:
    """Arm and leg of one side, with shoulder, hand and foot."""
    look, j = f.look, f.joints
    arm = _Limb.of(f, side, ("shoulder", "elbow", "wrist"), f.chest)
    leg = _Limb.of(f, side, ("hip", "knee", "ankle"), f.hips)
    yield from arm.parts(f, np.array([0.03, 0.0235, 0.0165]), look.top, look.sleeve)
    yield from leg.parts(f, np.array([0.05, 0.034, 0.023]), look.bottom, look.leg)
    base = j["thorax"] + 0.4 * (j["neck"] - j["thorax"])
    shoulder = j[f"{side}_shoulder"]
    frame = hanging_frame(f.chest, shoulder - base)
    meets = (f"{side}_shoulder", "thorax")
    yield f.limb(base, shoulder, frame, (0.03, 0.0255), look.top, *meets, reach=f.reach)
    yield from _hand(f, arm)
    yield from _foot(f, leg, j[f"{side}_toes"])


@dataclass(frozen=True, eq=False)
class _Limb:
    """Three joints, and the frames of the two segments between them."""

    names: tuple[str, ...]
    points: tuple[Points, ...]
    first: Frames
    second: Frames

    @classmethod
    def of(cls, f: _Figure, side: str, joints: tuple[str, ...], frame: np.ndarray) -> _Limb:
        names = tuple(f"{side}_{name}" for name in joints)
        a, b, c = points = tuple(f.joints[name] for name in names)
        first = hanging_frame(frame, b - a)
        return cls(names, points, first, hanging_frame(first, c - b))

    def parts(self, f: _Figure, radii: np.ndarray, cloth: int, covered: float) -> Iterator[Part]:
        """covered: how far the cloth reaches, 0 to 2 joints."""
        a, b, c = self.points
        skin = f.look.skin
        r = radii * f.look.heavy * (1.0 if covered <= 1 else 1.12)  # long cloth hangs loose
        upper, lower, both = self.names[:2], self.names[1:], (cloth, skin)
        yield f.ball(a, self.first, r[0], cloth if covered > 0 else skin, *upper)
        yield f.limb(a, b, self.first, r[:2], both, *upper, cut=2 * covered - 1)
        yield f.ball(b, self.second, r[1], cloth if covered > 1 else skin, *lower)
        yield f.limb(b, c, self.second, r[1:], both, *lower, cut=2 * covered - 3)


def _hand(f: _Figure, arm: _Limb) -> Iterator[Part]:
    wrist, meets = arm.points[-1], arm.names[-1]
    _, up, forward = np.moveaxis(arm.second, 1, 0)
    palm = wrist + f.stature * (0.0 * forward - 0.042 * up)
    thumb = wrist + f.stature * (0.02 * forward - 0.03 * up)
    # the palm faces the body: thin from left to right, the thumb in front
    frame = arm.second[:, [2, 1, 0]]
    yield f.ball(palm, frame, (0.024, 0.05, 0.011), f.look.skin, meets)
    frame = hanging_frame(frame, thumb - wrist)
    yield f.ball(thumb, frame, (0.008, 0.022, 0.008), f.look.skin, meets)


def _foot(f: _Figure, leg: _Limb, toes: np.ndarray) -> Iterator[Part]:
    ankle, meets = leg.points[-1], leg.names[-1]
    left, up, _ = np.moveaxis(leg.second, 1, 0)
    frame = upright_frame(np.cross(up, toes - ankle) + 1e-3 * left, toes - ankle)
    heel = ankle - 0.008 * f.stature * up
    middle = ankle + 0.42 * (toes - ankle) - 0.006 * f.stature * up
    yield f.ball(heel, leg.second, (0.025, 0.032, 0.03), f.look.shoe, meets)
    yield f.ball(middle, frame, (0.026, 0.085, 0.021), f.look.shoe, meets)


def _on_head(f: _Figure, place, radii, surface: int, frame=None) -> Part:
    """A ball `place` away from the top of the neck, in the head's frame."""
    centre = f.joints["neck"] + f.stature * (np.array(place) @ f.head)
    return f.ball(centre, f.head if frame is None else frame, radii, surface, *HEAD)


def _face(f: _Figure) -> Iterator[Part]:
    look = f.look
    yield _on_head(f, (0, 0.07, 0.003), (0.043, 0.06, 0.054), look.skin)
    yield _on_head(f, (0, 0.03, 0.017), (0.034, 0.038, 0.037), look.jaw)
    yield _on_head(f, (0, 0.019, 0.045), (0.015, 0.0045, 0.009), look.lip)
    ear, eye = (0.005, 0.017, 0.014), (0.0085, 0.0055, 0.0065)
    features = {"nose": ((0.0075, 0.014, 0.011), look.skin)}
    for side in SIDES:
        features |= {f"{side}_ear": (ear, look.skin), f"{side}_eye": (eye, look.eye)}
    for name, (radii, surface) in features.items():
        centre = f.joints[name] - 0.006 * f.stature * f.head[:, 2]
        yield f.ball(centre, f.head, radii, surface, *HEAD)


def _hair(f: _Figure) -> Iterator[Part]:
    look = f.look
    _, up, forward = np.moveaxis(f.head, 1, 0)
    if look.style != "bald":
        radii = np.array([0.046, 0.056, 0.055]) * look.volume
        frame = hanging_frame(f.head, look.back * forward - up)
        yield _on_head(f, (0, 0.078, -0.008), radii, look.cover, frame)
    if look.style == "long":
        yield _on_head(f, (0, 0.03, -0.03), (0.045, look.long, 0.028), look.hair)
    if look.style == "tail":
        frame = hanging_frame(f.head, -up - 0.3 * forward)
        yield _on_head(f, (0, 0.05, -0.065), (0.018, 0.05, 0.018), look.hair, frame)
    if look.style == "cap":
        yield _on_head(f, (0, 0.085, 0.06), (0.035, 0.006, 0.035), look.cover)


def _skirt(f: _Figure) -> Iterator[Part]:
    if not f.look.skirt:
        return
    length, width = f.look.skirt
    pelvis = f.joints["pelvis"]
    knees = (f.joints["left_knee"] + f.joints["right_knee"]) / 2
    hem = pelvis + length * (knees - pelvis)
    wide = f.seat * width
    meets = ("left_hip", "right_hip", "left_knee", "right_knee")
    yield f.limb(
        *(pelvis, hem, hanging_frame(f.hips, hem - pelvis), (f.seat, wide), f.look.bottom, *meets),
        flat=0.8,
        reach=1.5 * wide * f.stature,
    )


def _backpack(f: _Figure) -> Part:
    half, surface = f.look.backpack
    half = half * f.stature
    behind = f.breast * f.flat * f.stature + half[2]
    return box(f.breastbone - f.chest[:, 2] * behind, f.chest, half, surface)
