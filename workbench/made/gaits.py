"""People who move without any file: feet are planned on the floor, legs follow by inverse
kinematics.

A stance foot stands where it was put down and rolls over heel and ball, so nothing slides; the
pelvis comes as low as the shorter reach of the two legs asks. Arms, trunk and head follow curves of
angles inside `bodies.BODY_LIMITS`. Lengths mm, angles degrees, time s; y up, floor at y = 0, x to
the left of somebody who faces +z.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import BadParameter, unknown
from .bodies import BODY_LIMITS, body_bones_mm, head_offsets_mm, pose_body
from .gait_plans import ANKLE, BALL, Angles, Foot, Plan, Size, about_body, plan_gait
from .gait_tables import GAITS
from .joints import Joints, Points, Times, mirrored

MAX_FRAMES = 10**6
_HEEL = -0.03  # from the ankle forward to the heel, of stature
_SOLE = 0.012  # height of the ball of the foot over the floor, of stature
_REACH = 0.993  # of the leg: where the pelvis yields
_STRETCH = 0.999  # of the leg: what no foot gets beyond


def gait_joints_mm(
    n_frames: int, fps: float, rng: np.random.Generator, kind: str | None = None
) -> Joints:
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
    size = Size(*(float(bones[name][0, 0]) for name in ("stature", "thigh", "shank", "hip")))
    plan = plan_gait(kind, np.arange(n_frames) / fps, size, rng)
    angles, place = solve_legs(plan, size)
    # eyes level
    bent = angles["lean"] + angles["trunk_bend"]
    angles["head_nod"] = angles["head_nod"] - 30 * np.tanh(bent / 40)
    angles = {name: np.clip(angles[name], *limits) for name, limits in BODY_LIMITS.items()}
    turn = _yaw(plan.yaw)
    body = pose_body(bones, head, angles)
    joints = {name: turn.apply(xyz) + place for name, xyz in body.items()}
    toes = np.array([0, _SOLE - ANKLE, BALL]) * size.stature
    for side, foot in plan.feet.items():
        joints[f"{side}_toes"] = joints[f"{side}_ankle"] + _pitched(foot).apply(toes)
    return mirrored(joints) if rng.random() < 0.5 else joints


def _yaw(radians: Times) -> Rotation:
    return Rotation.from_euler("Y", radians[:, None])


def _pitched(foot: Foot) -> Rotation:
    return Rotation.from_euler("YX", np.stack([foot.yaw, np.radians(foot.pitch)], -1))


def _softmin(width: float, *values: Times) -> Times:
    return -width * np.logaddexp.reduce([-v / width for v in values])


def solve_legs(plan: Plan, size: Size) -> tuple[Angles, Points]:
    """The plan's angles with those of hips and knees that put the ankles where the feet want them,
    and the place of the pelvis, which yields to the reach of the legs.
    """
    reach = [plan.pelvis[:, 1]]
    legs = {}  # from hip to ankle, with the pelvis where it is planned
    for side, sign in (("left", 1), ("right", -1)):
        ankle = _ankle(plan.feet[side], size)
        hip = plan.pelvis + about_body(plan.yaw, 0, size.hip * sign, 0)
        legs[side] = ankle - hip
        aside2 = (legs[side][:, ::2] ** 2).sum(1)
        up = np.sqrt(np.maximum((_REACH * size.leg) ** 2 - aside2, (0.3 * size.leg) ** 2))
        reach.append(ankle[:, 1] + up + 0.5 * size.leg * plan.feet[side].free)
    height = _softmin(0.004 * size.leg, *reach)
    place = plan.pelvis * [1, 0, 1] + height[:, None] * [0, 1, 0]

    angles = dict(plan.angles)
    lean = np.clip(angles["lean"], *BODY_LIMITS["lean"])
    upright = Rotation.from_euler("YX", np.stack([plan.yaw, np.radians(lean)], -1)).inv()
    for side, sign in (("left", 1), ("right", -1)):
        to_ankle = upright.apply(legs[side] - (place - plan.pelvis))
        outwards = sign * (plan.feet[side].yaw - plan.yaw)
        for name, radians in _leg_angles(to_ankle, outwards, sign, size).items():
            angles[f"{side}_{name}"] = np.degrees(radians)
    return angles, place


def _ankle(foot: Foot, size: Size) -> Points:
    """Where the ankle is: a foot rolls over its ball when the heel is up, over its heel when the
    toes are.
    """
    zero = np.zeros(len(foot.yaw))
    forward = np.where(foot.pitch > 0, BALL, _HEEL)
    edge = np.stack([zero, zero - ANKLE, forward], -1) * size.stature
    return foot.flat + _yaw(foot.yaw).apply(edge) - _pitched(foot).apply(edge)


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
    return {
        "hip_flexion": _half_turn(flexion),
        "hip_abduction": _half_turn(sign * abduction),
        "hip_rotation": rotation,
        "knee": knee,
    }


def _half_turn(radians: Times) -> Times:
    """The same angles between -pi and pi."""
    return (radians + np.pi) % (2 * np.pi) - np.pi
