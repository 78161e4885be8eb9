"""Where pelvis and feet of a gait shall be, and how trunk, arms and head move above them.

Lengths mm, angles degrees unless they say radians, time s; y up, floor at y = 0, x to the left of
somebody who faces +z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from .bodies import BODY_LIMITS
from .gait_tables import ACTIONS, DANCE, STAND, STEPS, Action, Steps
from .joints import Points, Times

BALL = 0.075  # from the ankle forward to the ball of the foot, of stature
ANKLE = 0.039  # its height over the floor, of stature

Angles = dict[str, Times]


@dataclass(frozen=True)
class Size:
    """Lengths of one person, mm."""

    stature: float
    thigh: float
    shank: float
    hip: float  # from the middle to one side

    @property
    def leg(self) -> float:
        return self.thigh + self.shank


@dataclass(frozen=True, eq=False)
class Foot:
    """Where a foot shall be."""

    flat: Points  # the ankle, were the foot flat
    yaw: Times  # radians
    pitch: Times  # > 0: heel up
    free: Times  # 0 where the pelvis must stay in its reach, to 1 early in its swing


@dataclass(frozen=True, eq=False)
class Plan:
    """Where pelvis and feet shall be, and the angles of the rest."""

    pelvis: Points
    yaw: Times  # of the pelvis, radians
    feet: dict[str, Foot]  # by side
    angles: Angles


def plan_gait(kind: str, t: Times, size: Size, rng: np.random.Generator) -> Plan:
    """The plan of one person who does `kind` (of `GAITS`), at times t."""
    if kind in STEPS:
        return _travel(kind, t, size, rng)
    return _act(ACTIONS[kind], t, size, rng)


# --- curves ---------------------------------------------------------------------------------------


def _keys(phase: Times, times, values) -> Times:
    """A periodic curve (period 1) through values at times: flat at its extremes, never beyond
    them.
    """
    times = np.asarray(times, float)
    values = np.broadcast_to(values, times.shape)
    around = np.concatenate([times - 1, times, times + 1])
    return PchipInterpolator(around, np.tile(values, 3))(phase % 1)


def _drift(t: Times, rng: np.random.Generator, fastest_hz: float = 0.5) -> Times:
    """Slow wandering of about unit size: three waves."""
    rates = rng.uniform(fastest_hz / 4, fastest_hz, 3)
    shifts = rng.uniform(0, 2 * np.pi, 3)
    waves = (np.sin(2 * np.pi * hz * t + shift) for hz, shift in zip(rates, shifts))
    return sum(waves) / 1.5


def _ease(q: Times) -> Times:
    """From 0 to 1 with no velocity and no acceleration at either end (minimum jerk)."""
    return q**3 * (10 - 15 * q + 6 * q**2)


def _ahead(yaw: Times) -> Points:
    return np.stack([np.sin(yaw), np.zeros_like(yaw), np.cos(yaw)], -1)


def about_body(yaw: Times, forward, side, up) -> Points:
    """Vectors of parts ahead of, to the left of and above a body that faces `yaw` (radians)."""
    forward, side, up, _ = np.broadcast_arrays(forward, side, up, yaw)
    level = forward[:, None] * _ahead(yaw) + side[:, None] * _ahead(yaw + np.pi / 2)
    return level + up[:, None] * [0, 1, 0]


def _wandering(t: Times, angles: Angles, rng: np.random.Generator) -> Angles:
    """The angles with a person's own offset and a slow drift, so that no two rounds are the
    same.
    """
    moved = {}
    for name, value in angles.items():
        if name in BODY_LIMITS:
            size = 1 if name == "lean" else 2
            value = value + (rng.normal() + 0.75 * _drift(t, rng)) * size
        moved[name] = value
    return moved


# --- travel ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Route:
    """Where a body travels; phase: cycles since some touchdown of the left foot."""

    metres: float  # a second, for a stature of 1.7 m
    cadence: float
    heading: CubicSpline  # radians over time
    way: CubicSpline  # mm over time
    phase: Times

    def place(self, at: Times) -> Points:
        return self.way(at) - self.way(0)


def _travel(kind: str, t: Times, size: Size, rng: np.random.Generator) -> Plan:
    steps = STEPS[kind]
    route = _route(steps, t, size, rng)
    feet = {
        "left": _stepping_foot(steps, route, size, 1, 0.0),
        "right": _stepping_foot(steps, route, size, -1, 0.5),
    }
    left = 2 * np.pi * route.phase  # 0 where the left foot touches down
    bob = np.cos(2 * (left - np.pi * steps.duty))
    sway = np.cos(left - np.pi * steps.duty)
    yaw = route.heading(t)
    stand = size.leg * 0.995 + ANKLE * size.stature
    height = stand * steps.height - steps.bounce * size.stature * bob
    pelvis = route.place(t) + about_body(yaw, 0, 0.012 * size.stature * sway, height)
    turned = np.cos(np.radians(steps.direction))
    twist = np.radians((4 + 3 * min(route.metres, 2)) * turned) * np.cos(left)

    angles = {name: np.full(len(t), STAND[name]) for name in BODY_LIMITS}
    angles["lean"] = steps.lean + 1.0 * bob
    angles["trunk_twist"] = 2 * np.degrees(twist)
    angles["trunk_side"] = -3 * sway
    coming = np.clip(route.heading(t + 0.6) - yaw, -1, 1)
    angles["head_turn"] = -0.8 * np.degrees(twist) + 25 * coming
    for side, sign in (("left", -1), ("right", 1)):
        forward = sign * steps.swing * rng.uniform(0.7, 1.2) * np.cos(left - 0.2)
        angles[f"{side}_shoulder_flexion"] = 3 + forward
        angles[f"{side}_elbow"] = steps.elbow * rng.uniform(0.8, 1.15) + steps.follow * forward
        if kind == "run":
            angles[f"{side}_shoulder_rotation"] = np.full(len(t), 18.0)
    if kind == "dance":
        angles |= _dancing(t, left, rng)
    return Plan(pelvis, yaw - twist, feet, _wandering(t, angles, rng))


def _route(steps: Steps, t: Times, size: Size, rng: np.random.Generator) -> _Route:
    metres = rng.uniform(*steps.speed)
    base, gain = steps.cadence
    cadence = (base + gain * metres) * np.sqrt(1700 / size.stature) * rng.uniform(0.95, 1.05)
    grid = np.arange(t[0] - 4 / cadence, t[-1] + 4 / cadence, 1 / 30)
    wander = np.radians(steps.turning) * _drift(grid, rng, 0.16)
    heading = CubicSpline(grid, wander - np.interp(0, grid, wander))
    speed = metres * 1000 * np.sqrt(size.stature / 1700) * (1 + 0.08 * _drift(grid, rng))
    direction = heading(grid) + np.radians(steps.direction)
    way = CubicSpline(grid, speed[:, None] * _ahead(direction)).antiderivative()
    return _Route(metres, cadence, heading, way, cadence * t + rng.random())


def _stepping_foot(steps: Steps, route: _Route, size: Size, sign: int, shift: float) -> Foot:
    """A foot that stands, and swings to where the body will be. sign: 1 for the left; shift: of its
    touchdown, in cycles.
    """
    cycle, since = np.divmod(route.phase + shift, 1)
    swing = np.clip((since - steps.duty) / (1 - steps.duty), 0, 1)
    # Under the body at mid-stance: a walker's ankle and a little more, a runner's ball of the foot.
    behind = BALL * (0.33 if steps.duty > 0.5 else 0.9)

    def footprint(n: Times) -> tuple[np.ndarray, np.ndarray]:
        middle = (n + steps.duty / 2 - shift - route.phase[0]) / route.cadence
        yaw = route.heading(middle)
        aside = sign * steps.apart / 2 * size.stature
        place = route.place(middle) + about_body(yaw, -behind * size.stature, aside, 0)
        return place, yaw + sign * np.radians(7)

    here, yaw = footprint(cycle)
    there, next_yaw = footprint(cycle + 1)
    go = _ease(swing**0.85)  # early: a foot that has pushed off hurries after the body
    flat = here + go[:, None] * (there - here)
    flat[:, 1] = (ANKLE + steps.lift * 16 * swing**2 * (1 - swing) ** 2) * size.stature
    keys = np.array([*steps.pitch])
    keys = np.where(keys < 1, keys * steps.duty, steps.duty + (keys - 1) * (1 - steps.duty))
    pitch = _keys(since, keys, [*steps.pitch.values()])
    free = 6.75 * swing * (1 - swing) ** 2
    return Foot(flat, yaw + go * (next_yaw - yaw), pitch, free)


def _dancing(t: Times, left: Times, rng: np.random.Generator) -> Angles:
    """Wide arms and a trunk that follow the beat and half of it, with phases drawn anew for each
    dancer. left: radians since the left foot's touchdown.
    """
    angles = {}
    for name, (centre, spread) in DANCE.items():
        beat = rng.uniform(0, 2 * np.pi)
        half = rng.uniform(0, 2 * np.pi)
        share = rng.uniform(0.35, 0.8)
        wave = share * np.sin(left + beat) + (1 - share) * np.sin(2 * left + half)
        angles[name] = centre + spread * wave * (0.75 + 0.25 * _drift(t, rng))
    return angles


# --- on the spot ----------------------------------------------------------------------------------


def _act(action: Action, t: Times, size: Size, rng: np.random.Generator) -> Plan:
    period = rng.uniform(*action.seconds)
    phase = t / period + rng.random() + 0.04 * _drift(t, rng, 0.3)
    large = 1 + rng.uniform(-0.12, 0.08) + 0.05 * _drift(t, rng, 0.3)
    value = {name: np.full(len(t), rest) for name, rest in STAND.items()}
    for name, keys in action.curves.items():
        moving = large if name in BODY_LIMITS else 1
        value[name] = STAND[name] + moving * (_keys(phase, action.times, keys) - STAND[name])

    yaw = np.radians(value["heading"])
    facing = np.zeros(len(t))
    apart = size.hip * rng.uniform(0.9, 1.5)
    feet = {}
    for side, sign in (("left", 1), ("right", -1)):
        forward, out, up, pitch = (
            value[f"{side}_foot_{axis}"] for axis in ("forward", "side", "up", "pitch")
        )
        aside = sign * apart + out * size.leg
        height = up * size.leg + ANKLE * size.stature
        flat = about_body(facing, forward * size.leg, aside, height)
        outwards = sign * np.radians(rng.uniform(5, 12))
        feet[side] = Foot(flat, 0.4 * yaw + outwards, pitch, free=facing)
    height = value["height"] * (size.leg + ANKLE * size.stature)
    forward, aside = (value[f"pelvis_{axis}"] * size.leg for axis in ("forward", "side"))
    shift = np.stack([_drift(t, rng), np.zeros(len(t)), _drift(t, rng)], -1)
    pelvis = about_body(facing, forward, aside, height) + 0.008 * size.leg * shift
    return Plan(pelvis, yaw, feet, _wandering(t, value, rng))
