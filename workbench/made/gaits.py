"""People who move without any file: feet are planned on the floor, legs follow by inverse
kinematics.

A stance foot stands where it was put down and rolls over heel and ball, so nothing slides; the
pelvis comes as low as the shorter reach of the two legs asks. Arms, trunk and head follow curves of
angles inside `synthetic.BODY_LIMITS`. Lengths mm, angles degrees, time s; y up, floor at y = 0, x
to the left of somebody who faces +z.

Timing and stride follow commonly quoted figures of gait (walking: stance 0.62 of a cycle, about 1.3
m/s; running: stance about a third); every number of the tables below is our own choice, judged by
eye.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.spatial.transform import Rotation

from ..errors import BadParameter, unknown
from .bodies import BODY_LIMITS, body_bones_mm, head_offsets_mm, pose_body

MAX_FRAMES = 10**6
Joints = dict[str, Float[np.ndarray, "t 3"]]


class _Steps(NamedTuple):
    """Locomotion: a body that travels, and feet that are put down under it."""

    speed: tuple[float, float]  # m/s for a stature of 1.7 m
    cadence: tuple[float, float]  # cycles (two steps) a second: a + b * speed
    duty: float  # part of a cycle that a foot stands
    apart: float  # between the feet, of stature
    lift: float  # of the ball of the foot in mid-swing, of stature
    # of the foot by time since its touchdown (0 to 1: stance, to 2: swing); > 0 heel up
    pitch: dict[float, float]
    # swing, bend of the elbow, how much that bend follows the swing
    arms: tuple[float, float, float]
    lean: float
    # of the pelvis, of stature; a walker's own comes from the reach of the legs
    bounce: float = 0.0
    height: float = 1.0  # of the pelvis, of standing
    direction: float = 0.0  # of travel, from where the body faces
    turning: float = 20.0  # degrees that the heading wanders to each side


_WALK_PITCH = {0: -17, 0.16: 0, 0.45: 0, 0.75: 21, 1: 56, 1.15: 60, 1.5: 18, 1.82: -15}
_BACK_PITCH = {0: 26, 0.3: 4, 0.45: 0, 0.75: 0, 1: -12, 1.2: 0, 1.6: 28}
_RUN_PITCH = {0: -4, 0.15: 0, 0.4: 3, 0.75: 28, 1: 60, 1.35: 90, 1.65: 35, 1.9: -4}
_FLAT_PITCH = {0: 6, 0.2: 0, 0.7: 0, 1: 14, 1.4: 24}
_STEPS = {
    "walk": _Steps((0.85, 1.45), (0.5, 0.42), 0.62, 0.1, 0.015, _WALK_PITCH, (22, 20, 0.5), -3),
    "turn": _Steps(
        (0.7, 1.2), (0.5, 0.42), 0.62, 0.12, 0.015, _WALK_PITCH, (18, 20, 0.5), -3, turning=75
    ),
    "run": _Steps(
        (2.2, 3.6), (1.15, 0.13), 0.28, 0.09, 0.11, _RUN_PITCH, (38, 88, 0.35), 11, 0.017, 0.965
    ),
    "walk_back": _Steps(
        (0.6, 1.0), (0.5, 0.42), 0.62, 0.12, 0.03, _BACK_PITCH, (9, 22, 0.3), 5, direction=180
    ),
    "side_step": _Steps(
        (0.4, 0.75), (0.45, 0.5), 0.6, 0.23, 0.04, _FLAT_PITCH, (4, 40, 0.2), 5, 0, 0.97, 90, 8
    ),
    "dance": _Steps(
        (0.05, 0.3), (0.75, 0.6), 0.58, 0.17, 0.05, _FLAT_PITCH, (0, 0, 0), 4, 0.012, 0.955, 60, 50
    ),
}


class _Action(NamedTuple):
    """Something done on the spot, again and again: values at `times` (parts of a round),
    periodic, smooth between.
    """

    seconds: tuple[float, float]  # a round
    times: tuple[float, ...]
    curves: dict[str, tuple[float, ...]]


# Beside angles: pelvis height (of standing), forward, side; of each foot forward, side, up (of leg
# length) and pitch; heading. What is not named stays as `_STAND` has it. Actions are right-handed;
# half of the people
# mirror them.
_STAND = dict.fromkeys(BODY_LIMITS, 0.0) | {
    "trunk_bend": 3.0,
    "head_nod": 3.0,
    "height": 0.99,
    "heading": 0.0,
}
_STAND |= {f"pelvis_{axis}": 0.0 for axis in ("forward", "side")}
for _side in ("left", "right"):
    _STAND |= {
        f"{_side}_shoulder_abduction": 8.0,
        f"{_side}_elbow": 15.0,
        f"{_side}_shoulder_flexion": 2.0,
    }
    _STAND |= {f"{_side}_foot_{axis}": 0.0 for axis in ("forward", "side", "up", "pitch")}
_ACTIONS = {
    "idle": _Action(
        (5, 9),
        (0, 0.35, 0.5, 0.85),
        {
            "pelvis_side": (0.06, 0.06, -0.06, -0.06),
            "trunk_side": (3, 3, -3, -3),
            "head_turn": (25, -10, -30, 5),
            "height": (0.985, 0.985, 0.985, 0.985),
            "right_elbow": (20, 60, 60, 25),
            "head_nod": (5, 14, 2, 5),
            "right_shoulder_rotation": (5, 40, 40, 5),
        },
    ),
    "wave": _Action(
        (1.6, 2.6),
        (0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875),
        {
            "right_shoulder_abduction": (95, 100, 95, 100, 95, 100, 95, 100),
            "right_shoulder_flexion": (20,) * 8,
            "right_shoulder_rotation": (-58, -56) * 4,
            "right_elbow": (50, 105, 50, 105, 50, 105, 50, 105),
            "trunk_side": (-4, -2) * 4,
            "head_turn": (-6, 6) * 4,
        },
    ),
    "sit": _Action(
        (4.5, 8),
        (0, 0.15, 0.25, 0.35, 0.62, 0.72, 0.82),
        {
            "height": (0.99, 0.95, 0.72, 0.57, 0.57, 0.72, 0.95),
            "lean": (0, 22, 38, 2, 2, 38, 18),
            "pelvis_forward": (0, -0.12, -0.32, -0.41, -0.41, -0.3, -0.08),
            "trunk_bend": (3, 10, 14, 5, 8, 16, 8),
            "left_shoulder_flexion": (2, 15, 45, 42, 40, 45, 10),
            "left_elbow": (15, 20, 25, 55, 55, 20, 15),
            "right_shoulder_flexion": (2, 15, 45, 42, 40, 45, 10),
            "right_elbow": (15, 20, 25, 55, 55, 20, 15),
            "head_nod": (5, 8, 10, 5, 12, 8, 5),
        },
    ),
    "pick_up": _Action(
        (2.8, 4.5),
        (0, 0.15, 0.32, 0.42, 0.62, 0.8),
        {
            "height": (0.99, 0.88, 0.6, 0.6, 0.88, 0.99),
            "lean": (0, 22, 38, 38, 20, 0),
            "pelvis_forward": (0, -0.1, -0.17, -0.17, -0.08, 0),
            "trunk_bend": (3, 20, 36, 36, 15, 2),
            "right_shoulder_flexion": (2, 40, 84, 80, 45, 50),
            "right_elbow": (15, 25, 6, 10, 60, 95),
            "left_shoulder_flexion": (2, 10, 45, 45, 15, 5),
            "left_elbow": (15, 35, 70, 70, 30, 15),
            "head_nod": (5, 15, 25, 25, 25, 22),
            "right_foot_forward": (0.1,) * 6,
            "left_foot_forward": (-0.1,) * 6,
            "left_foot_pitch": (0, 10, 38, 38, 10, 0),
        },
    ),
    "reach": _Action(
        (2.6, 4.2),
        (0, 0.25, 0.4, 0.55, 0.8),
        {
            "right_shoulder_flexion": (2, 120, 160, 158, 60),
            "right_elbow": (15, 55, 12, 14, 70),
            "trunk_side": (0, 8, 14, 13, 2),
            "trunk_bend": (3, -4, -8, -8, 4),
            "head_nod": (5, -15, -28, -26, 10),
            "height": (0.985, 0.995, 1.09, 1.09, 0.985),
            "right_foot_pitch": (0, 5, 36, 35, 0),
            "left_foot_pitch": (0, 5, 38, 36, 0),
            "left_shoulder_flexion": (2, 10, 15, 15, 5),
        },
    ),
    "kick": _Action(
        (1.7, 2.6),
        (0, 0.2, 0.36, 0.46, 0.56, 0.7, 0.86),
        {
            "right_foot_forward": (-0.15, -0.6, 0.1, 0.8, 0.75, 0.15, -0.15),
            "right_foot_up": (0, 0.22, 0.22, 0.72, 0.6, 0.15, 0),
            "right_foot_pitch": (0, 70, 35, -25, -10, 10, 0),
            "lean": (4, 14, 2, -9, -8, 0, 4),
            "height": (0.96, 0.95, 0.96, 0.985, 0.98, 0.96, 0.96),
            "pelvis_forward": (0, 0.05, 0.06, 0.1, 0.06, 0, 0),
            "trunk_twist": (0, -18, 5, 20, 15, 5, 0),
            "left_shoulder_flexion": (15, 55, 30, 15, 15, 20, 15),
            "right_shoulder_flexion": (15, -25, 25, 55, 50, 25, 15),
            "left_shoulder_abduction": (15, 40, 50, 55, 50, 25, 15),
            "right_shoulder_abduction": (15, 40, 30, 35, 35, 25, 15),
            "left_elbow": (45, 40, 50, 60, 60, 50, 45),
            "right_elbow": (45, 35, 50, 40, 40, 45, 45),
            "pelvis_side": (0.06, 0.1, 0.11, 0.11, 0.1, 0.08, 0.06),
        },
    ),
    "punch": _Action(
        (1.1, 1.7),
        (0, 0.16, 0.3, 0.5, 0.66, 0.8),
        {
            "right_shoulder_flexion": (42, 106, 70, 42, 38, 42),
            "right_elbow": (122, 12, 80, 122, 124, 122),
            "left_shoulder_flexion": (58, 50, 54, 58, 104, 78),
            "left_elbow": (112, 118, 116, 112, 8, 75),
            "right_shoulder_rotation": (20, 5, 10, 20, 20, 20),
            "left_shoulder_rotation": (25, 25, 25, 25, 5, 15),
            "trunk_twist": (-12, 30, 15, -12, -22, -16),
            "lean": (7, 12, 9, 7, 10, 8),
            "heading": (-22,) * 6,
            "height": (0.93, 0.92, 0.935, 0.93, 0.92, 0.935),
            "pelvis_forward": (0, 0.09, 0.04, 0, 0.05, 0.02),
            "left_foot_forward": (0.3,) * 6,
            "right_foot_forward": (-0.28,) * 6,
            "head_turn": (18, -8, 5, 18, 22, 18),
            "right_foot_pitch": (12, 35, 20, 12, 14, 12),
            "trunk_bend": (8, 12, 9, 8, 10, 8),
        },
    ),
    "jump": _Action(
        (1.6, 2.0),
        (0, 0.13, 0.22, 0.3, 0.36, 0.41, 0.46, 0.51, 0.58, 0.66, 0.85),
        {
            "height": (0.985, 0.8, 0.76, 0.9, 1.07, 1.2, 1.245, 1.2, 1.05, 0.82, 0.95),
            "pelvis_forward": (0, -0.08, -0.1, -0.04, 0, 0, 0, 0, 0, -0.08, -0.02),
            "lean": (0, 24, 30, 20, 9, 3, 2, 5, 10, 24, 8),
            "trunk_bend": (3, 14, 17, 10, 4, 1, 0, 2, 6, 14, 5),
            **{
                f"{side}_{name}": values
                for side in ("left", "right")
                for name, values in {
                    "foot_up": (0, 0, 0, 0, 0.02, 0.16, 0.22, 0.16, 0.02, 0, 0),
                    "foot_pitch": (0, 0, 3, 20, 50, 46, 38, 32, 24, 0, 0),
                    "shoulder_flexion": (5, -22, -28, 20, 80, 125, 145, 142, 110, 55, 15),
                    "elbow": (15, 20, 22, 30, 30, 24, 20, 20, 28, 38, 20),
                }.items()
            },
        },
    ),
}
GAITS = (*_STEPS, *_ACTIONS)

_HEEL, _BALL, _ANKLE, _SOLE = (
    -0.03,
    0.075,
    0.039,
    0.012,
)  # of stature; ankle to heel and ball, heights of ankle and ball
_REACH, _STRETCH = 0.993, 0.999  # of the leg: where the pelvis yields, and what no foot gets beyond


class _Plan(NamedTuple):
    """Where pelvis and feet shall be: pelvis [t 3] mm, yaw [t] rad; feet by side: ankle of the flat
    foot [t 3], yaw [t], pitch [t], and how free it is: 0 where the pelvis must stay in its reach,
    to 1 early in its swing.
    """

    pelvis: np.ndarray
    yaw: np.ndarray
    feet: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
    angles: dict[str, np.ndarray]


def gait_joints_mm(
    n_frames: int, fps: float, rng: np.random.Generator, kind: str | None = None
) -> Joints:
    """One person of random proportions moving for n frames: joints by name as
    `synthetic.body_joints_mm`, and `left_toes`, `right_toes` (the balls of the feet).

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
    bone = body_bones_mm(1, rng)
    head = head_offsets_mm(bone["stature"], rng)
    t = np.arange(n_frames) / fps
    size = {name: float(length[0, 0]) for name, length in bone.items()}
    plan = _steps(t, size, rng, kind) if kind in _STEPS else _action(t, size, rng, _ACTIONS[kind])
    angles, place = _legs(plan, size)
    # eyes level
    angles["head_nod"] = angles["head_nod"] - 30 * np.tanh(
        (angles["lean"] + angles["trunk_bend"]) / 40
    )
    angles = {name: np.clip(angles[name], *limits) for name, limits in BODY_LIMITS.items()}
    turn = Rotation.from_euler("Y", plan.yaw[:, None])
    joints = {name: turn.apply(xyz) + place for name, xyz in pose_body(bone, head, angles).items()}
    for side, (_, foot_yaw, pitch, _) in plan.feet.items():
        foot = Rotation.from_euler("YX", np.stack([foot_yaw, np.radians(pitch)], -1))
        toes = np.array([0, _SOLE - _ANKLE, _BALL]) * size["stature"]
        joints[f"{side}_toes"] = joints[f"{side}_ankle"] + foot.apply(toes)
    return _mirrored(joints) if rng.random() < 0.5 else joints


def _mirrored(joints: Joints) -> Joints:
    swap = {"left": "right", "right": "left"}
    names = {name: "_".join(swap.get(part, part) for part in name.split("_")) for name in joints}
    return {name: joints[names[name]] * [-1, 1, 1] for name in joints}


# --- curves ---------------------------------------------------------------------------------------


def _keys(phase: np.ndarray, times, values) -> np.ndarray:
    """A periodic curve (period 1) through values at times: flat at its extremes, never beyond
    them.
    """
    times = np.asarray(times, float)
    return PchipInterpolator(np.concatenate([times - 1, times, times + 1]), np.tile(values, 3))(
        phase % 1
    )


def _drift(t: np.ndarray, rng: np.random.Generator, fastest_hz: float = 0.5) -> np.ndarray:
    """Slow wandering of about unit size: three waves."""
    waves = zip(rng.uniform(fastest_hz / 4, fastest_hz, 3), rng.uniform(0, 2 * np.pi, 3))
    return sum(np.sin(2 * np.pi * hz * t + shift) for hz, shift in waves) / 1.5


def _ease(q: np.ndarray) -> np.ndarray:
    """From 0 to 1 with no velocity and no acceleration at either end (minimum jerk)."""
    return q**3 * (10 - 15 * q + 6 * q**2)


def _softmin(width: float, *values: np.ndarray) -> np.ndarray:
    return -width * np.logaddexp.reduce([-v / width for v in values])


def _ahead(yaw: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(yaw), np.zeros_like(yaw), np.cos(yaw)], -1)


def _floor(yaw: np.ndarray, forward, side, up) -> np.ndarray:
    """[t 3] from parts ahead of, to the left of and above a body that faces `yaw`."""
    parts = np.broadcast_arrays(forward, side, up, yaw)[:3]
    return (
        parts[0][:, None] * _ahead(yaw)
        + parts[1][:, None] * _ahead(yaw + np.pi / 2)
        + parts[2][:, None] * [0, 1, 0]
    )


# --- plans ----------------------------------------------------------------------------------------


def _steps(t: np.ndarray, size: Mapping[str, float], rng: np.random.Generator, kind: str) -> _Plan:
    s, stature = _STEPS[kind], size["stature"]
    metres = rng.uniform(*s.speed)
    cadence = (
        (s.cadence[0] + s.cadence[1] * metres) * np.sqrt(1700 / stature) * rng.uniform(0.95, 1.05)
    )
    grid = np.arange(t[0] - 4 / cadence, t[-1] + 4 / cadence, 1 / 30)
    wander = np.radians(s.turning) * _drift(grid, rng, 0.16)
    heading = CubicSpline(grid, wander - np.interp(0, grid, wander))
    direction = np.radians(s.direction)
    speed = metres * 1000 * np.sqrt(stature / 1700) * (1 + 0.08 * _drift(grid, rng))
    way = CubicSpline(grid, speed[:, None] * _ahead(heading(grid) + direction)).antiderivative()
    phase = cadence * t + rng.random()

    # Under the body at mid-stance: a walker's ankle and a little more, a runner's ball of the foot.
    behind = _BALL * (0.33 if s.duty > 0.5 else 0.9)
    feet = {}
    for side, sign, shift in (("left", 1, 0.0), ("right", -1, 0.5)):
        cycle, u = np.divmod(phase + shift, 1)
        swing = np.clip((u - s.duty) / (1 - s.duty), 0, 1)

        def footprint(n, sign=sign, shift=shift):
            middle = (n + s.duty / 2 - shift - phase[0]) / cadence
            yaw = heading(middle)
            place = (
                way(middle)
                - way(0)
                + _floor(yaw, -behind * stature, sign * s.apart / 2 * stature, 0)
            )
            return place, yaw + sign * np.radians(7)

        (here, yaw), (there, next_yaw) = footprint(cycle), footprint(cycle + 1)
        go = _ease(swing**0.85)  # early: a foot that has pushed off hurries after the body
        flat = here + go[:, None] * (there - here)
        flat[:, 1] = (_ANKLE + s.lift * 16 * swing**2 * (1 - swing) ** 2) * stature
        key = np.array([*s.pitch])
        key = np.where(key < 1, key * s.duty, s.duty + (key - 1) * (1 - s.duty))
        pitch, free = _keys(u, key, [*s.pitch.values()]), 6.75 * swing * (1 - swing) ** 2
        feet[side] = flat, yaw + go * (next_yaw - yaw), pitch, free

    left = 2 * np.pi * phase  # 0 where the left foot touches down
    bob = np.cos(2 * (left - np.pi * s.duty))
    sway = np.cos(left - np.pi * s.duty)
    yaw = heading(t)
    stand = (size["thigh"] + size["shank"]) * 0.995 + _ANKLE * stature
    pelvis = (
        way(t)
        - way(0)
        + _floor(yaw, 0, 0.012 * stature * sway, stand * s.height - s.bounce * stature * bob)
    )
    twist = np.radians((4 + 3 * min(metres, 2)) * np.cos(direction)) * np.cos(left)
    rest = {name: np.full(len(t), value) for name, value in _STAND.items() if name in BODY_LIMITS}
    moves = {
        "lean": s.lean + 1.0 * bob,
        "trunk_twist": 2 * np.degrees(twist),
        "trunk_side": -3 * sway,
    }
    moves |= {"head_turn": -0.8 * np.degrees(twist) + 25 * np.clip(heading(t + 0.6) - yaw, -1, 1)}
    arm_swing, bend, follow = s.arms
    for side, sign in (("left", -1), ("right", 1)):
        forward = sign * arm_swing * rng.uniform(0.7, 1.2) * np.cos(left - 0.2)
        moves[f"{side}_shoulder_flexion"] = 3 + forward
        moves[f"{side}_elbow"] = bend * rng.uniform(0.8, 1.15) + follow * forward
    if kind == "run":
        moves |= {f"{side}_shoulder_rotation": np.full(len(t), 18.0) for side in ("left", "right")}
    if kind == "dance":
        moves |= _dance(t, left, rng)
    return _Plan(pelvis, yaw - twist, feet, _wandering(t, rest | moves, rng))


def _dance(t: np.ndarray, left: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Wide arms and a trunk that follow the beat and half of it, with phases drawn anew for each
    dancer.
    """
    arm = {"flexion": (60, 55), "abduction": (55, 35), "rotation": (0, 40)}
    curves = {
        f"{side}_shoulder_{name}": value
        for side in ("left", "right")
        for name, value in arm.items()
    }
    curves |= {
        "left_elbow": (65, 50),
        "right_elbow": (65, 50),
        "trunk_twist": (0, 24),
        "trunk_side": (0, 14),
    }
    curves |= {"lean": (4, 8), "head_turn": (0, 25), "head_side": (0, 12)}
    moves = {}
    for name, (centre, spread) in curves.items():
        beat, half, share = (
            rng.uniform(0, 2 * np.pi),
            rng.uniform(0, 2 * np.pi),
            rng.uniform(0.35, 0.8),
        )
        wave = share * np.sin(left + beat) + (1 - share) * np.sin(2 * left + half)
        moves[name] = centre + spread * wave * (0.75 + 0.25 * _drift(t, rng))
    return moves


def _action(
    t: np.ndarray, size: Mapping[str, float], rng: np.random.Generator, action: _Action
) -> _Plan:
    period = rng.uniform(*action.seconds)
    phase = t / period + rng.random() + 0.04 * _drift(t, rng, 0.3)
    large = 1 + rng.uniform(-0.12, 0.08) + 0.05 * _drift(t, rng, 0.3)
    value = {name: np.full(len(t), rest) for name, rest in _STAND.items()}
    for name, keys in action.curves.items():
        moving = large if name in BODY_LIMITS else 1
        value[name] = _STAND[name] + moving * (_keys(phase, action.times, keys) - _STAND[name])
    leg, stature = size["thigh"] + size["shank"], size["stature"]
    yaw = np.radians(value["heading"])
    facing = np.zeros(len(t))
    apart = size["hip"] * rng.uniform(0.9, 1.5)
    feet = {}
    for side, sign in (("left", 1), ("right", -1)):
        forward, out, up, pitch = (
            value[f"{side}_foot_{axis}"] for axis in ("forward", "side", "up", "pitch")
        )
        flat = _floor(facing, forward * leg, sign * apart + out * leg, up * leg + _ANKLE * stature)
        feet[side] = flat, 0.4 * yaw + sign * np.radians(rng.uniform(5, 12)), pitch, facing
    height = value["height"] * (leg + _ANKLE * stature)
    pelvis = _floor(facing, value["pelvis_forward"] * leg, value["pelvis_side"] * leg, height)
    pelvis = pelvis + 0.008 * leg * np.stack([_drift(t, rng), np.zeros(len(t)), _drift(t, rng)], -1)
    return _Plan(pelvis, yaw, feet, _wandering(t, value, rng))


def _wandering(
    t: np.ndarray, angles: Mapping[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The angles with a person's own offset and a slow drift, so that no two rounds are the
    same.
    """
    return {
        name: value + (rng.normal() + 0.75 * _drift(t, rng)) * (1 if name == "lean" else 2)
        if name in BODY_LIMITS
        else value
        for name, value in angles.items()
    }


# --- legs -----------------------------------------------------------------------------------------


def _legs(plan: _Plan, size: Mapping[str, float]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Angles with those of hips and knees that put the ankles where the feet want them, and the
    pelvis [t 3].
    """
    stature, thigh, shank = size["stature"], size["thigh"], size["shank"]
    leg, zero = thigh + shank, np.zeros(len(plan.yaw))
    ankles, hips, reach = {}, {}, [plan.pelvis[:, 1]]
    for side, (flat, yaw, pitch, free) in plan.feet.items():
        # A foot rolls over its ball when the heel is up, over its heel when the toes are.
        edge = np.stack([zero, zero - _ANKLE, np.where(pitch > 0, _BALL, _HEEL)], -1) * stature
        rolled = Rotation.from_euler("YX", np.stack([yaw, np.radians(pitch)], -1))
        ankles[side] = (
            flat + Rotation.from_euler("Y", yaw[:, None]).apply(edge) - rolled.apply(edge)
        )
        hips[side] = plan.pelvis + _floor(
            plan.yaw, 0, size["hip"] * (1 if side == "left" else -1), 0
        )
        aside = ((ankles[side] - hips[side])[:, ::2] ** 2).sum(1)
        up = np.sqrt(np.maximum((_REACH * leg) ** 2 - aside, (0.3 * leg) ** 2))
        reach.append(ankles[side][:, 1] + up + 0.5 * leg * free)
    place = plan.pelvis * [1, 0, 1] + _softmin(0.004 * leg, *reach)[:, None] * [0, 1, 0]
    angles = dict(plan.angles)
    lean = np.clip(angles["lean"], *BODY_LIMITS["lean"])
    upright = Rotation.from_euler("YX", np.stack([plan.yaw, np.radians(lean)], -1)).inv()
    for side, sign in (("left", 1), ("right", -1)):
        to = upright.apply(ankles[side] - hips[side] - (place - plan.pelvis))
        far = np.linalg.norm(to, axis=1)
        near = _softmin(0.004 * leg, far, np.full_like(far, _STRETCH * leg))
        near = np.maximum(near, 0.35 * leg)  # a knee of 140 degrees
        to = to * (near / far)[:, None]
        knee = np.pi - np.arccos((thigh**2 + shank**2 - near**2) / (2 * thigh * shank))
        out = sign * (plan.feet[side][1] - plan.yaw)
        rotation = np.clip(out, *np.radians(BODY_LIMITS[f"{side}_hip_rotation"]))
        # The ankle in the frame of a thigh turned by `rotation` alone; then abduction sets its x,
        # flexion the rest.
        back = -shank * np.sin(knee)
        x, y, z = (
            sign * back * np.sin(rotation),
            -(thigh + shank * np.cos(knee)),
            back * np.cos(rotation),
        )
        aslant = np.arctan2(y, x)
        abduction = -np.arccos(np.clip(to[:, 0] / np.hypot(x, y), -1, 1)) - aslant
        y = x * np.sin(abduction) + y * np.cos(abduction)
        flexion = np.arctan2(-z, -y) - np.arctan2(-to[:, 2], -to[:, 1])
        for name, radians in (("hip_flexion", flexion), ("hip_abduction", sign * abduction)):
            angles[f"{side}_{name}"] = np.degrees((radians + np.pi) % (2 * np.pi) - np.pi)
        angles[f"{side}_hip_rotation"], angles[f"{side}_knee"] = (
            np.degrees(rotation),
            np.degrees(knee),
        )
    return angles, place
