"""People who move without any file: feet are planned on the floor, legs follow by inverse
kinematics.

A stance foot stands where it was put down and rolls over heel and ball, so nothing slides; the
pelvis comes as low as the shorter reach of the two legs asks. Arms, trunk and head follow curves of
angles inside `bodies.BODY_LIMITS`. Lengths mm, angles degrees unless they say radians, time s; y
up, floor at y = 0, x to the left of somebody who faces +z.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.spatial.transform import Rotation

from ..errors import BadParameter, unknown
from .bodies import BODY_LIMITS, body_bones_mm, head_offsets_mm, pose_body, turn_joints
from .joints import Joints, Points, Rng, Times, both_sides, mirrored

MAX_FRAMES = 10**6
_SIDES = (("left", 1), ("right", -1))
_BALL = 0.075  # from the ankle forward to the ball of the foot, of stature
_HEEL = -0.03  # and to the heel
_ANKLE = 0.039  # its height over the floor, of stature
_SOLE = 0.012  # height of the ball of the foot over the floor, of stature
_REACH = 0.993  # of the leg: where the pelvis yields
_STRETCH = 0.999  # of the leg: what no foot gets beyond

Angles = dict[str, Times]

# --- what people do -------------------------------------------------------------------------------

# Timing and stride follow commonly quoted figures of gait (walking: stance 0.62 of a cycle, about
# 1.3 m/s; running: stance about a third); every number of the tables below is our own choice,
# judged by eye.


class Steps(NamedTuple):
    """Locomotion: a body that travels, and feet that are put down under it."""

    speed: tuple[float, float]  # m/s for a stature of 1.7 m
    apart: float  # between the feet, of stature
    lift: float  # of the ball of the foot in mid-swing, of stature
    # of the foot by time since its touchdown (0 to 1: stance, to 2: swing); > 0 heel up
    pitch: Mapping[float, float]
    swing: float  # of the arms
    elbow: float  # its bend
    follow: float  # how much that bend follows the swing
    lean: float
    cadence: tuple[float, float] = (0.5, 0.42)  # cycles (two steps) a second: a + b * speed
    duty: float = 0.62  # part of a cycle that a foot stands
    # of the pelvis, of stature; a walker's own comes from the reach of the legs
    bounce: float = 0.0
    height: float = 1.0  # of the pelvis, of standing
    direction: float = 0.0  # of travel, from where the body faces
    turning: float = 20.0  # degrees that the heading wanders to each side


_WALK = {0: -17, 0.16: 0, 0.45: 0, 0.75: 21, 1: 56, 1.15: 60, 1.5: 18, 1.82: -15}
_BACK = {0: 26, 0.3: 4, 0.45: 0, 0.75: 0, 1: -12, 1.2: 0, 1.6: 28}
_RUN = {0: -4, 0.15: 0, 0.4: 3, 0.75: 28, 1: 60, 1.35: 90, 1.65: 35, 1.9: -4}
_FLAT = {0: 6, 0.2: 0, 0.7: 0, 1: 14, 1.4: 24}
STEPS = {
    "walk": Steps((0.85, 1.45), 0.1, 0.015, _WALK, 22, 20, 0.5, -3),
    "turn": Steps((0.7, 1.2), 0.12, 0.015, _WALK, 18, 20, 0.5, -3, turning=75),
    "run": Steps(
        *((2.2, 3.6), 0.09, 0.11, _RUN, 38, 88, 0.35, 11, (1.15, 0.13), 0.28),
        bounce=0.017,
        height=0.965,
    ),
    "walk_back": Steps((0.6, 1.0), 0.12, 0.03, _BACK, 9, 22, 0.3, 5, direction=180),
    "side_step": Steps(
        *((0.4, 0.75), 0.23, 0.04, _FLAT, 4, 40, 0.2, 5, (0.45, 0.5), 0.6),
        height=0.97,
        direction=90,
        turning=8,
    ),
    "dance": Steps(
        *((0.05, 0.3), 0.17, 0.05, _FLAT, 0, 0, 0, 4, (0.75, 0.6), 0.58, 0.012, 0.955),
        direction=60,
        turning=50,
    ),
}
# Centre and spread of a dancer's angles.
_SHOULDER = {"flexion": (60, 55), "abduction": (55, 35), "rotation": (0, 40)}
DANCE = both_sides({f"shoulder_{way}": row for way, row in _SHOULDER.items()})
DANCE |= both_sides({"elbow": (65, 50)}) | {"trunk_twist": (0, 24), "trunk_side": (0, 14)}
DANCE |= {"lean": (4, 8), "head_turn": (0, 25), "head_side": (0, 12)}

# Beside angles: pelvis height (of standing), forward, side; of each foot forward, side, up (of leg
# length) and pitch; heading. What is not named stays as `STAND` has it. Actions are right-handed;
# half of the people mirror them.
STAND = dict.fromkeys((*BODY_LIMITS, "heading", "pelvis_forward", "pelvis_side"), 0.0)
STAND |= {"trunk_bend": 3.0, "head_nod": 3.0, "height": 0.99}
STAND |= both_sides({"shoulder_abduction": 8.0, "elbow": 15.0, "shoulder_flexion": 2.0})
STAND |= both_sides({f"foot_{way}": 0.0 for way in ("forward", "side", "up", "pitch")})


class Action(NamedTuple):
    """Something done on the spot, again and again: values at `times` (parts of a round), periodic,
    smooth between; fewer values than times come again and again.
    """

    seconds: np.ndarray  # shortest and longest round
    times: np.ndarray
    curves: dict[str, np.ndarray]


def _actions(table: str) -> dict[str, Action]:
    """Blocks of rows: name and seconds; times; curves, "both_" for left and right alike."""
    actions = {}
    for block in table.split("\n\n"):
        rows = [line.split() for line in block.split("\n") if line]
        name, *seconds = rows[0]
        curves = {}
        for curve, *values in rows[2:]:
            keys = np.array(values, float)
            one = curve.removeprefix("both_")
            curves |= {curve: keys} if one == curve else both_sides({one: keys})
        actions[name] = Action(np.array(seconds, float), np.array(rows[1], float), curves)
    return actions


ACTIONS = _actions("""
idle 5 9
0 .35 .5 .85
pelvis_side .06 .06 -.06 -.06
trunk_side 3 3 -3 -3
head_turn 25 -10 -30 5
height .985
right_elbow 20 60 60 25
head_nod 5 14 2 5
right_shoulder_rotation 5 40 40 5

wave 1.6 2.6
0 .125 .25 .375 .5 .625 .75 .875
right_shoulder_abduction 95 100
right_shoulder_flexion 20
right_shoulder_rotation -58 -56
right_elbow 50 105
trunk_side -4 -2
head_turn -6 6

sit 4.5 8
0 .15 .25 .35 .62 .72 .82
height .99 .95 .72 .57 .57 .72 .95
lean 0 22 38 2 2 38 18
pelvis_forward 0 -.12 -.32 -.41 -.41 -.3 -.08
trunk_bend 3 10 14 5 8 16 8
both_shoulder_flexion 2 15 45 42 40 45 10
both_elbow 15 20 25 55 55 20 15
head_nod 5 8 10 5 12 8 5

pick_up 2.8 4.5
0 .15 .32 .42 .62 .8
height .99 .88 .6 .6 .88 .99
lean 0 22 38 38 20 0
pelvis_forward 0 -.1 -.17 -.17 -.08 0
trunk_bend 3 20 36 36 15 2
right_shoulder_flexion 2 40 84 80 45 50
right_elbow 15 25 6 10 60 95
left_shoulder_flexion 2 10 45 45 15 5
left_elbow 15 35 70 70 30 15
head_nod 5 15 25 25 25 22
right_foot_forward .1
left_foot_forward -.1
left_foot_pitch 0 10 38 38 10 0

reach 2.6 4.2
0 .25 .4 .55 .8
right_shoulder_flexion 2 120 160 158 60
right_elbow 15 55 12 14 70
trunk_side 0 8 14 13 2
trunk_bend 3 -4 -8 -8 4
head_nod 5 -15 -28 -26 10
height .985 .995 1.09 1.09 .985
right_foot_pitch 0 5 36 35 0
left_foot_pitch 0 5 38 36 0
left_shoulder_flexion 2 10 15 15 5

kick 1.7 2.6
0 .2 .36 .46 .56 .7 .86
right_foot_forward -.15 -.6 .1 .8 .75 .15 -.15
right_foot_up 0 .22 .22 .72 .6 .15 0
right_foot_pitch 0 70 35 -25 -10 10 0
lean 4 14 2 -9 -8 0 4
height .96 .95 .96 .985 .98 .96 .96
pelvis_forward 0 .05 .06 .1 .06 0 0
trunk_twist 0 -18 5 20 15 5 0
left_shoulder_flexion 15 55 30 15 15 20 15
right_shoulder_flexion 15 -25 25 55 50 25 15
left_shoulder_abduction 15 40 50 55 50 25 15
right_shoulder_abduction 15 40 30 35 35 25 15
left_elbow 45 40 50 60 60 50 45
right_elbow 45 35 50 40 40 45 45
pelvis_side .06 .1 .11 .11 .1 .08 .06

punch 1.1 1.7
0 .16 .3 .5 .66 .8
right_shoulder_flexion 42 106 70 42 38 42
right_elbow 122 12 80 122 124 122
left_shoulder_flexion 58 50 54 58 104 78
left_elbow 112 118 116 112 8 75
right_shoulder_rotation 20 5 10 20 20 20
left_shoulder_rotation 25 25 25 25 5 15
trunk_twist -12 30 15 -12 -22 -16
lean 7 12 9 7 10 8
heading -22
height .93 .92 .935 .93 .92 .935
pelvis_forward 0 .09 .04 0 .05 .02
left_foot_forward .3
right_foot_forward -.28
head_turn 18 -8 5 18 22 18
right_foot_pitch 12 35 20 12 14 12
trunk_bend 8 12 9 8 10 8

jump 1.6 2.0
0 .13 .22 .3 .36 .41 .46 .51 .58 .66 .85
height .985 .8 .76 .9 1.07 1.2 1.245 1.2 1.05 .82 .95
pelvis_forward 0 -.08 -.1 -.04 0 0 0 0 0 -.08 -.02
lean 0 24 30 20 9 3 2 5 10 24 8
trunk_bend 3 14 17 10 4 1 0 2 6 14 5
both_foot_up 0 0 0 0 .02 .16 .22 .16 .02 0 0
both_foot_pitch 0 0 3 20 50 46 38 32 24 0 0
both_shoulder_flexion 5 -22 -28 20 80 125 145 142 110 55 15
both_elbow 15 20 22 30 30 24 20 20 28 38 20
""")
GAITS = (*STEPS, *ACTIONS)


# --- a person -------------------------------------------------------------------------------------


class Size(NamedTuple):
    """Lengths of one person, mm."""

    stature: float
    thigh: float
    shank: float
    hip: float  # from the middle to one side

    @property
    def leg(self) -> float:
        return self.thigh + self.shank


class Foot(NamedTuple):
    """Where a foot shall be."""

    flat: Points  # the ankle, were the foot flat
    yaw: Times  # radians
    pitch: Times  # > 0: heel up
    free: Times  # 0 where the pelvis must stay in its reach, to 1 early in its swing


class Plan(NamedTuple):
    """Where pelvis and feet shall be, and the angles of the rest."""

    pelvis: Points
    yaw: Times  # of the pelvis, radians
    feet: dict[str, Foot]  # by side
    angles: Angles


def gait_joints_mm(n_frames: int, fps: float, rng: Rng, kind: str | None = None) -> Joints:
    """One person of random proportions moving for n frames: joints by name as
    `bodies.body_joints_mm`, and `left_toes`, `right_toes` (the balls of the feet).

    World mm, y up, floor at y = 0; the person starts near the origin and faces about +z. kind: one
    of `GAITS`; None draws one. Running, jumping and dancing leave the floor. Rigid in time to
    rounding: limbs, hips, feet, the head and the two parts of the trunk; the shoulder girdle rises
    with the arm and the neck bends. Raises `UnknownName` for another kind and `BadParameter` for a
    count of frames or a rate outside its range.
    """
    if not (0 < n_frames <= MAX_FRAMES and 0 < fps < np.inf):
        raise BadParameter(
            f"{n_frames} frames at {fps} a second",
            remedy=f"ask for 1 to {MAX_FRAMES} at a rate above 0",
        )
    kind = str(rng.choice(GAITS)) if kind is None else kind
    if kind not in GAITS:
        raise unknown("gait", kind, GAITS)
    bones = body_bones_mm(1, rng)
    head = head_offsets_mm(bones["stature"], rng)
    size = Size(*(float(bones[name][0, 0]) for name in Size._fields))
    plan = plan_gait(kind, np.arange(n_frames) / fps, size, rng)
    angles, place = solve_legs(plan, size)
    # eyes level
    bent = angles["lean"] + angles["trunk_bend"]
    angles["head_nod"] = angles["head_nod"] - 30 * np.tanh(bent / 40)
    low, high = np.array([*BODY_LIMITS.values()]).T[..., None]
    angles = dict(zip(BODY_LIMITS, np.clip([angles[name] for name in BODY_LIMITS], low, high)))
    turn = _turn(plan.yaw)
    body = pose_body(bones, head, angles)
    joints = {name: xyz + place for name, xyz in turn_joints(turn, body).items()}
    toes = np.array([0, _SOLE - _ANKLE, _BALL]) * size.stature
    for side, foot in plan.feet.items():
        turn = _turn(foot.yaw, foot.pitch)
        joints[f"{side}_toes"] = joints[f"{side}_ankle"] + turn.apply(toes)
    return mirrored(joints) if rng.random() < 0.5 else joints


def plan_gait(kind: str, t: Times, size: Size, rng: Rng) -> Plan:
    """The plan of one person who does `kind` (of `GAITS`), at times t."""
    if kind in STEPS:
        return _travel(kind, t, size, rng)
    return _act(ACTIONS[kind], t, size, rng)


# --- legs -----------------------------------------------------------------------------------------


def _turn(yaw: Times, *pitch: Times) -> Rotation:
    """By radians of yaw, and degrees of pitch."""
    axes = "YX"[: 1 + len(pitch)]
    return Rotation.from_euler(axes, np.stack([yaw, *np.radians(pitch)], -1))


def _softmin(width: float, *values: Times) -> Times:
    return -width * np.logaddexp.reduce([-v / width for v in values])


def solve_legs(plan: Plan, size: Size) -> tuple[Angles, Points]:
    """The plan's angles with those of hips and knees that put the ankles where the feet want them,
    and the place of the pelvis, which yields to the reach of the legs.
    """
    reach = [plan.pelvis[:, 1]]
    legs = {}  # from hip to ankle, with the pelvis where it is planned
    for side, sign in _SIDES:
        foot = plan.feet[side]
        # A foot rolls over its ball when the heel is up, over its heel when the toes are.
        zero = np.zeros(len(foot.yaw))
        edge = [zero, zero - _ANKLE, np.where(foot.pitch > 0, _BALL, _HEEL)]
        edge = np.stack(edge, -1) * size.stature
        ankle = foot.flat + _turn(foot.yaw).apply(edge) - _turn(foot.yaw, foot.pitch).apply(edge)
        hip = plan.pelvis + _about_body(plan.yaw, 0, size.hip * sign, 0)
        legs[side] = ankle - hip
        aside2 = (legs[side][:, ::2] ** 2).sum(1)
        up = np.sqrt(np.maximum((_REACH * size.leg) ** 2 - aside2, (0.3 * size.leg) ** 2))
        reach.append(ankle[:, 1] + up + 0.5 * size.leg * foot.free)
    height = _softmin(0.004 * size.leg, *reach)
    place = plan.pelvis * [1, 0, 1] + height[:, None] * [0, 1, 0]

    angles = dict(plan.angles)
    upright = _turn(plan.yaw, np.clip(angles["lean"], *BODY_LIMITS["lean"])).inv()
    for side, sign in _SIDES:
        to_ankle = upright.apply(legs[side] - (place - plan.pelvis))
        outwards = sign * (plan.feet[side].yaw - plan.yaw)
        for name, radians in _leg_angles(to_ankle, outwards, sign, size).items():
            angles[f"{side}_{name}"] = np.degrees(radians)
    return angles, place


def _leg_angles(to_ankle: Points, outwards: Times, sign: int, size: Size) -> Angles:
    """Radians of hip and knee that put the ankle there.

    to_ankle: from the hip, in the pelvis's own frame. outwards: how far the foot is turned out,
    radians, which the hip follows inside its limits. sign: 1 for the left.
    """
    far = np.linalg.norm(to_ankle, axis=1)
    near = _softmin(0.004 * size.leg, far, np.full_like(far, _STRETCH * size.leg))
    near = np.maximum(near, 0.35 * size.leg)  # a knee of 140 degrees
    to_ankle = to_ankle * (near / far)[:, None]
    cosine = (size.thigh**2 + size.shank**2 - near**2) / (2 * size.thigh * size.shank)
    knee = np.pi - np.arccos(cosine)
    rotation = np.clip(outwards, *np.radians(BODY_LIMITS["left_hip_rotation"]))
    # The ankle in the frame of a thigh turned by `rotation` alone; then abduction sets its x,
    # flexion the rest.
    back = -size.shank * np.sin(knee)
    x = sign * back * np.sin(rotation)
    y = -(size.thigh + size.shank * np.cos(knee))
    z = back * np.cos(rotation)
    aslant = np.arctan2(y, x)
    abduction = -np.arccos(np.clip(to_ankle[:, 0] / np.hypot(x, y), -1, 1)) - aslant
    y = x * np.sin(abduction) + y * np.cos(abduction)
    flexion = np.arctan2(-z, -y) - np.arctan2(-to_ankle[:, 2], -to_ankle[:, 1])
    turns = {"hip_flexion": flexion, "hip_abduction": sign * abduction}
    turns = {name: (turn + np.pi) % (2 * np.pi) - np.pi for name, turn in turns.items()}
    return turns | {"hip_rotation": rotation, "knee": knee}


# --- curves ---------------------------------------------------------------------------------------


def _keys(phase: Times, times: np.ndarray, curves: Mapping) -> Angles:
    """Periodic curves (period 1) through values at times, by name: flat at their extremes, never
    beyond them.
    """
    around = np.concatenate([times - 1, times, times + 1])
    values = [np.tile(np.resize(values, len(times)), 3) for values in curves.values()]
    through = PchipInterpolator(around, np.stack(values, -1))(phase % 1)
    return dict(zip(curves, np.ascontiguousarray(through.T)))


def _drift(t: Times, rng: Rng, fastest_hz: float = 0.5) -> Times:
    """Slow wandering of about unit size: three waves."""
    rates = rng.uniform(fastest_hz / 4, fastest_hz, 3)
    shifts = rng.uniform(0, 2 * np.pi, 3)
    one, two, three = np.sin(2 * np.pi * rates[:, None] * t + shifts[:, None])
    return (one + two + three) / 1.5


def _ahead(yaw: Times) -> Points:
    return np.stack([np.sin(yaw), np.zeros_like(yaw), np.cos(yaw)], -1)


def _about_body(yaw: Times, forward, side, up) -> Points:
    """Vectors of parts ahead of, to the left of and above a body that faces `yaw` (radians)."""
    forward, side, up = (np.broadcast_to(v, yaw.shape)[:, None] for v in (forward, side, up))
    return forward * _ahead(yaw) + side * _ahead(yaw + np.pi / 2) + up * [0, 1, 0]


def _wandering(t: Times, angles: Angles, rng: Rng) -> Angles:
    """The angles with a person's own offset and a slow drift, so that no two rounds are the
    same.
    """
    moved = dict(angles)
    for name in angles:
        if name in BODY_LIMITS:
            size = 1 if name == "lean" else 2
            moved[name] = angles[name] + (rng.normal() + 0.75 * _drift(t, rng)) * size
    return moved


# --- travel ---------------------------------------------------------------------------------------


def _travel(kind: str, t: Times, size: Size, rng: Rng) -> Plan:
    steps = STEPS[kind]
    walk = _Walk(steps, t, size, rng)
    feet = {"left": walk.foot(1, 0.0), "right": walk.foot(-1, 0.5)}
    left = 2 * np.pi * walk.phase  # 0 where the left foot touches down
    bob = np.cos(2 * (left - np.pi * steps.duty))
    sway = np.cos(left - np.pi * steps.duty)
    yaw = walk.heading(t)
    stand = size.leg * 0.995 + _ANKLE * size.stature
    height = stand * steps.height - steps.bounce * size.stature * bob
    pelvis = walk.place(t) + _about_body(yaw, 0, 0.012 * size.stature * sway, height)
    turned = np.cos(np.radians(steps.direction))
    twist = np.radians((4 + 3 * min(walk.metres, 2)) * turned) * np.cos(left)

    angles = {name: np.full(len(t), STAND[name]) for name in BODY_LIMITS}
    angles["lean"] = steps.lean + 1.0 * bob
    angles["trunk_twist"] = 2 * np.degrees(twist)
    angles["trunk_side"] = -3 * sway
    coming = np.clip(walk.heading(t + 0.6) - yaw, -1, 1)
    angles["head_turn"] = -0.8 * np.degrees(twist) + 25 * coming
    for side, sign in _SIDES:
        forward = -sign * steps.swing * rng.uniform(0.7, 1.2) * np.cos(left - 0.2)
        angles[f"{side}_shoulder_flexion"] = 3 + forward
        angles[f"{side}_elbow"] = steps.elbow * rng.uniform(0.8, 1.15) + steps.follow * forward
        if kind == "run":
            angles[f"{side}_shoulder_rotation"] = np.full(len(t), 18.0)
    if kind == "dance":
        # Wide arms and a trunk that follow the beat and half of it, each dancer's own way.
        for name, (centre, spread) in DANCE.items():
            beat = rng.uniform(0, 2 * np.pi)
            half = rng.uniform(0, 2 * np.pi)
            share = rng.uniform(0.35, 0.8)
            wave = share * np.sin(left + beat) + (1 - share) * np.sin(2 * left + half)
            angles[name] = centre + spread * wave * (0.75 + 0.25 * _drift(t, rng))
    return Plan(pelvis, yaw - twist, feet, _wandering(t, angles, rng))


class _Walk:
    """Where a body travels, and the feet that are put down under it."""

    def __init__(self, steps: Steps, t: Times, size: Size, rng: Rng):
        self.steps = steps
        self.stature = size.stature
        self.metres = rng.uniform(*steps.speed)  # a second, for a stature of 1.7 m
        base, gain = steps.cadence
        pace = (base + gain * self.metres) * np.sqrt(1700 / size.stature)
        self.cadence = pace * rng.uniform(0.95, 1.05)
        grid = np.arange(t[0] - 4 / self.cadence, t[-1] + 4 / self.cadence, 1 / 30)
        wander = np.radians(steps.turning) * _drift(grid, rng, 0.16)
        self.heading = CubicSpline(grid, wander - np.interp(0, grid, wander))  # radians over time
        speed = self.metres * 1000 * np.sqrt(size.stature / 1700) * (1 + 0.08 * _drift(grid, rng))
        direction = self.heading(grid) + np.radians(steps.direction)
        self.way = CubicSpline(grid, speed[:, None] * _ahead(direction)).antiderivative()
        self.phase = self.cadence * t + rng.random()  # cycles since a touchdown of the left foot

    def place(self, at: Times) -> Points:
        return self.way(at) - self.way(0)

    def foot(self, sign: int, shift: float) -> Foot:
        """A foot that stands, and swings to where the body will be. sign: 1 for the left; shift: of
        its touchdown, in cycles.
        """
        steps, stature = self.steps, self.stature
        cycle, since = np.divmod(self.phase + shift, 1)
        swing = np.clip((since - steps.duty) / (1 - steps.duty), 0, 1)
        # Under the body at mid-stance: a walker's ankle and a little more, a runner's ball of the
        # foot.
        behind = _BALL * (0.33 if steps.duty > 0.5 else 0.9)

        def footprint(n: Times):
            middle = (n + steps.duty / 2 - shift - self.phase[0]) / self.cadence
            yaw = self.heading(middle)
            aside = sign * steps.apart / 2 * stature
            place = self.place(middle) + _about_body(yaw, -behind * stature, aside, 0)
            return place, yaw + sign * np.radians(7)

        here, yaw = footprint(cycle)
        there, next_yaw = footprint(cycle + 1)
        # early: a foot that has pushed off hurries after the body; no velocity and no acceleration
        # at either end (minimum jerk)
        early = swing**0.85
        go = early**3 * (10 - 15 * early + 6 * early**2)
        flat = here + go[:, None] * (there - here)
        flat[:, 1] = (_ANKLE + steps.lift * 16 * swing**2 * (1 - swing) ** 2) * stature
        keys = np.array([*steps.pitch])
        keys = np.where(keys < 1, keys * steps.duty, steps.duty + (keys - 1) * (1 - steps.duty))
        pitch = _keys(since, keys, {"pitch": [*steps.pitch.values()]})["pitch"]
        free = 6.75 * swing * (1 - swing) ** 2
        return Foot(flat, yaw + go * (next_yaw - yaw), pitch, free)


# --- on the spot ----------------------------------------------------------------------------------


def _act(action: Action, t: Times, size: Size, rng: Rng) -> Plan:
    period = rng.uniform(*action.seconds)
    phase = t / period + rng.random() + 0.04 * _drift(t, rng, 0.3)
    large = 1 + rng.uniform(-0.12, 0.08) + 0.05 * _drift(t, rng, 0.3)
    value = {name: np.full(len(t), rest) for name, rest in STAND.items()}
    for name, curve in _keys(phase, action.times, action.curves).items():
        moving = large if name in BODY_LIMITS else 1
        value[name] = STAND[name] + moving * (curve - STAND[name])

    yaw = np.radians(value["heading"])
    facing = np.zeros(len(t))
    apart = size.hip * rng.uniform(0.9, 1.5)
    feet = {}
    for side, sign in _SIDES:
        forward, out, up, pitch = (
            value[f"{side}_foot_{axis}"] for axis in ("forward", "side", "up", "pitch")
        )
        aside = sign * apart + out * size.leg
        height = up * size.leg + _ANKLE * size.stature
        flat = _about_body(facing, forward * size.leg, aside, height)
        outwards = sign * np.radians(rng.uniform(5, 12))
        feet[side] = Foot(flat, 0.4 * yaw + outwards, pitch, free=facing)
    height = value["height"] * (size.leg + _ANKLE * size.stature)
    forward, aside = (value[f"pelvis_{axis}"] * size.leg for axis in ("forward", "side"))
    shift = np.stack([_drift(t, rng), np.zeros(len(t)), _drift(t, rng)], -1)
    pelvis = _about_body(facing, forward, aside, height) + 0.008 * size.leg * shift
    return Plan(pelvis, yaw, feet, _wandering(t, value, rng))
