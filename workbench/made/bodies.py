"""Procedural bodies: forward kinematics inside joint limits, random camera, self-occlusion.

Every body is drawn from the generator that the caller passes: the same seed gives the same arrays.
Lengths are mm, angles degrees; `xy_frame` is px. Body frame: x to the subject's left, y up, z
forward; segments hang down from their joint. Synthetic people are synthetic: numbers taken on them
say so.

Segments: Drillis and Contini, 1966, as fractions of stature in Winter, "Biomechanics and Motor
Control of Human Movement", Fig. 4.1, as commonly quoted. What is marked `unstated; ours` is our
choice.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from ..errors import unknown
from ..records import Pose
from ..skeletons import SKELETONS
from .joints import FACE, SIDES, Joints, Points, Rng, Times, Xyz, both_sides
from .snapshots import (
    BLEND,
    DISTANCES,
    as_pose,
    check_count,
    hidden_by_flesh,
    photograph,
)

# Fractions of stature, Winter Fig. 4.1 (shoulder 0.818, hip 0.530, knee 0.285, ankle 0.039, eye
# 0.936, chin 0.870). The joints that people mark lie inside the widths given there (shoulders
# 0.259, hips 0.191): 0.21 and 0.12, ours.
_BONES = {
    "trunk": 0.288,
    "neck": 0.052,
    "shoulder": 0.105,
    "hip": 0.06,
    "arm": 0.186,
    "forearm": 0.146,
    "thigh": 0.245,
    "shank": 0.246,
}
LEG_OF_STATURE = _BONES["thigh"] + _BONES["shank"]
# From the top of the neck, in the head's frame: x left, y up, z forward (fractions of stature, for
# a head about 0.11 long and 0.09 broad; unstated, ours).
HEAD_OFFSETS = {
    "nose": (0.0, 0.036, 0.068),
    "left_eye": (0.018, 0.058, 0.052),
    "right_eye": (-0.018, 0.058, 0.052),
    "left_ear": (0.044, 0.047, -0.002),
    "right_ear": (-0.044, 0.047, -0.002),
    "head_top": (0.0, 0.13, 0.0),
    "skull_base": (0.0, 0.015, 0.01),
    "skull": (0.0, 0.055, 0.005),
}
# Angles, (low, high) after AAOS ranges of motion (Norkin and White), narrowed to what people do
# with ease.
_AXIAL = {
    "lean": (-15, 60),
    "trunk_bend": (-15, 60),
    "trunk_side": (-25, 25),
    "trunk_twist": (-40, 40),
    "head_nod": (-35, 45),
    "head_side": (-30, 30),
    "head_turn": (-70, 70),
}
_LIMB = {
    "shoulder_flexion": (-45, 175),
    "shoulder_abduction": (-5, 170),
    "shoulder_rotation": (-70, 80),
    "elbow": (0, 145),
    "hip_flexion": (-20, 120),
    "hip_abduction": (-15, 45),
    "hip_rotation": (-35, 40),
    "knee": (0, 140),
}
BODY_LIMITS = _AXIAL | both_sides(_LIMB)
# Families: lean, trunk_bend, head_nod; arm and leg of the left side, and of the right if they
# differ. Unstated; ours.
_FAMILIES = [
    [0, 3, 5, 0, 8, 0, 15, 2, 5, 5, 4],  # standing
    [4, 3, 3, 25, 8, 0, 30, -10, 2, 0, 15, -20, 8, 0, 25, 30, 2, 0, 12],  # walking
    [12, 8, -5, 45, 10, 10, 90, -12, 3, 0, 75, -35, 10, 10, 90, 60, 3, 0, 75],  # running
    [3, 12, 8, 35, 12, 25, 60, 85, 12, 5, 88],  # sitting
    [0, 0, -8, 150, 25, 0, 20, 3, 8, 5, 5],  # both arms up
    [0, 2, 0, 5, 10, 0, 15, 2, 6, 5, 5, 130, 40, 0, 60, 2, 6, 5, 5],  # one arm up
    [0, 0, 0, 5, 85, 0, 10, 3, 12, 8, 5],  # arms out
    [0, 4, 8, 15, 25, 60, 105, 2, 7, 5, 5],  # hands on hips, arms crossed
    [0, 4, 10, 35, 8, 30, 100, 2, 5, 5, 5],  # holding something
    [30, 25, -15, 40, 10, 0, 30, 105, 15, 10, 120],  # crouching
    [45, 35, -10, 75, 10, 0, 20, 50, 6, 5, 15],  # bending down
    [10, 5, -5, 60, 20, 10, 70, 65, 12, 5, 85, 20, 20, 10, 60, -15, 8, 5, 40],  # lunge, kick
]
_FAMILIES = np.array([row + row[3:] * (len(row) == 11) for row in _FAMILIES], float)
# unstated; ours
_NOISE = np.array([5, 6, 6, 8, 10, 10, 18, *(15, 10, 20, 18, 10, 6, 10, 10) * 2], dtype=float)

# Of `varied` bodies, unstated; ours: by how much the noise of a pose's angles is stretched (log-
# uniform), and how far the camera is, in sizes of the body.
STRAY = (0.7, 2.5)
NEAR = (0.9, 30.0)

# Flesh around each bone, mm: unstated; ours.
_CAPSULES = {("thorax", "pelvis"): 95.0, ("neck", "thorax"): 50.0, ("skull", "skull_base"): 72.0}
for _side in SIDES:
    for _a, _b, _radius in (
        ("shoulder", "elbow", 45.0),
        ("elbow", "wrist", 38.0),
        ("hip", "knee", 75.0),
        ("knee", "ankle", 50.0),
        ("shoulder", "hip", 85.0),
    ):
        _CAPSULES[f"{_side}_{_a}", f"{_side}_{_b}"] = _radius

# Joints that a skeleton calls by another name than `body_joints_mm`.
BODY_SKELETONS = {
    "coco17": {},
    "crowdpose14": {"head": "head_top"},
    "posetrack15": {"head_bottom": "neck"},
    "jhmdb15": {"head": "skull"},
    "h36m17": {
        "root": "pelvis",
        "neck_base": "skull_base",
        "head": "head_top",
        "left_foot": "left_ankle",
        "right_foot": "right_ankle",
    },
}


def body_joint_names(skeleton: str) -> list[str]:
    """What `body_joints_mm` calls the joints of one of `BODY_SKELETONS`, in its order.

    Raises `UnknownName` for another skeleton.
    """
    if skeleton not in BODY_SKELETONS:
        raise unknown("body skeleton", skeleton, BODY_SKELETONS)
    rename = BODY_SKELETONS[skeleton]
    return [rename.get(joint, joint) for joint in SKELETONS[skeleton].joints]


def skeleton_joints(joints: Joints, skeleton: str) -> Xyz:
    """Joints by name, as `body_joints_mm` calls them, in the order of one of `BODY_SKELETONS`.

    Raises `UnknownName` for another skeleton.
    """
    return np.stack([joints[name] for name in body_joint_names(skeleton)], 1)


# --- kinematics -----------------------------------------------------------------------------------


def body_bones_mm(n: int, rng: Rng) -> dict[str, Float[np.ndarray, "n 1"]]:
    """Lengths of the bones of n bodies by name, with their `stature` (mm)."""
    stature = rng.normal(1690, 95, (n, 1))  # mm, adults of both sexes; unstated, ours
    width, length = np.exp(0.07 * rng.standard_normal((2, n, 1)))
    bones = {}
    for name, share in _BONES.items():
        of_person = np.exp(0.04 * rng.standard_normal((n, 1)))
        build = width if name in ("shoulder", "hip") else length**0.5
        bones[name] = share * stature * of_person * build
    return bones | {"stature": stature}


def head_offsets_mm(stature_mm: Float[np.ndarray, "n 1"], rng: Rng | None) -> Joints:
    """Points of n heads by name, from the top of the neck in the head's own frame (mm; x left, y
    up, z forward). rng: draws the shape of each head; None gives the average.
    """
    offsets = {}
    for name, xyz in HEAD_OFFSETS.items():
        shape = 1.0 if rng is None else np.exp(0.03 * rng.standard_normal((len(stature_mm), 3)))
        offsets[name] = np.array(xyz) * (stature_mm * shape)
    return offsets


def body_joints_mm(n: int, rng: Rng, *, varied: bool = False) -> Joints:
    """Joints of n bodies by name (mm; x to the subject's left, y up, z forward; pelvis at the
    origin).

    varied: each pose strays from its families by a factor of its own, `STRAY`. Raises
    `BadParameter` for n below 1.
    """
    check_count(n)
    bones = body_bones_mm(n, rng)
    blend = rng.dirichlet(np.full(len(_FAMILIES), BLEND), n) @ _FAMILIES
    # families are straight: no side bend, twist, turn of their own
    blend = np.insert(blend, [2, 2, 3, 3], 0.0, axis=1)
    low, high = np.array([*BODY_LIMITS.values()]).T
    stray = np.exp(rng.uniform(*np.log(STRAY), (n, 1))) if varied else 1.0
    angles = np.clip(blend + stray * _NOISE * rng.standard_normal(blend.shape), low, high)
    axial, left, right = np.split(angles, [7, 15], axis=1)
    swapped = np.concatenate([axial * [1, 1, -1, -1, 1, -1, -1], right, left], 1)
    angles = np.where(rng.random((n, 1)) < 0.5, swapped, angles)  # left and right in equal parts
    head = head_offsets_mm(bones["stature"], rng)
    return pose_body(bones, head, dict(zip(BODY_LIMITS, angles.T)))


def pose_body(
    bones: Mapping[str, Float[np.ndarray, "#n 1"]],
    head_offsets: Mapping[str, Float[np.ndarray, "#n 3"]],
    angles: Mapping[str, Times],
) -> Joints:
    """Forward kinematics of bodies: joints by name (mm; x to the subject's left, y up, z forward;
    pelvis at the origin).

    bones, head_offsets: of `body_bones_mm` and `head_offsets_mm`; one row where all n poses are the
    same person's. angles: degrees, every name of `BODY_LIMITS`.
    """
    up = np.array([0.0, 1.0, 0.0])
    pelvis = _turn("X", angles["lean"])
    bend = (angles[f"trunk_{name}"] for name in ("bend", "side", "twist"))
    trunk = pelvis * _turn("XZY", *bend)
    nod = (angles[f"head_{name}"] for name in ("turn", "nod", "side"))
    head = trunk * _turn("YXZ", *nod)

    joints = {"pelvis": np.zeros((len(angles["lean"]), 3))}
    # the lower trunk moves with the pelvis
    joints["belly"] = pelvis.apply(up * bones["trunk"] * 0.35)
    joints["thorax"] = joints["belly"] + trunk.apply(up * bones["trunk"] * 0.65)
    joints["spine"] = (joints["pelvis"] + joints["thorax"]) / 2
    neck = trunk.apply(up * bones["neck"]) + head.apply(up * bones["neck"])
    joints["neck"] = joints["thorax"] + neck / 2
    for name, offset in turn_joints(head, head_offsets).items():
        joints[name] = joints["neck"] + offset
    joints |= _pose_limbs(bones, angles, pelvis, trunk, joints["thorax"])
    return joints


# Of each limb of a side: its joints, its bones, and which way its middle joint bends.
_LIMB_PARTS = (("shoulder elbow wrist", "arm forearm", -1), ("hip knee ankle", "thigh shank", 1))


def _pose_limbs(bones, angles, pelvis: Rotation, trunk: Rotation, thorax: Points) -> Joints:
    """Joints of arms and legs, all four limbs in one go.

    Flexion swings a limb forward about x, abduction away from the body about z, rotation turns
    about the bone itself; then elbow or knee bends.
    """
    left, up, _ = np.eye(3)
    names, starts, turns, knees, lengths = [], [], [], [], []
    for side, sign in (("left", 1), ("right", -1)):
        # A raised arm lifts its shoulder by up to 0.03 of stature (unstated; ours).
        raised = (angles[f"{side}_shoulder_{way}"] for way in ("flexion", "abduction"))
        raised = np.clip(np.maximum(*raised) / 170, 0, 1)[:, None]
        shoulder = sign * left * bones["shoulder"] + up * 0.03 * bones["stature"] * raised
        hip = pelvis.apply(sign * left * bones["hip"])
        for (joints, segments, bends), start in zip(
            _LIMB_PARTS, (thorax + trunk.apply(shoulder), hip)
        ):
            first, middle, last = (f"{side}_{name}" for name in joints.split())
            flexion, abduction, rotation = (
                angles[f"{first}_{way}"] for way in ("flexion", "abduction", "rotation")
            )
            names += [first, middle, last]
            starts.append(start)
            turns.append((-flexion, sign * abduction, bends * sign * rotation))
            knees.append(bends * angles[middle])
            lengths.append([np.broadcast_to(-up * bones[s], start.shape) for s in segments.split()])
    root = Rotation.concatenate([trunk, pelvis, trunk, pelvis])
    upper = root * _turn("XZY", *np.concatenate(turns, 1))
    lower = upper * _turn("X", np.concatenate(knees))
    one, two = np.concatenate(lengths, 1)
    start = np.concatenate(starts)
    middle = start + upper.apply(one)
    last = middle + lower.apply(two)
    places = np.stack([v.reshape(len(starts), -1, 3) for v in (start, middle, last)], 1)
    return dict(zip(names, places.reshape(len(names), -1, 3)))


def turn_joints(turn: Rotation, joints: Mapping[str, Float[np.ndarray, "#n 3"]]) -> Joints:
    """Points by name, each turned by n rotations."""
    n = len(turn)
    xyz = np.concatenate([np.broadcast_to(v, (n, 3)) for v in joints.values()])
    turned = turn[np.tile(np.arange(n), len(joints))].apply(xyz)
    return dict(zip(joints, turned.reshape(-1, n, 3)))


def _turn(axes: str, *degrees: Times) -> Rotation:
    return Rotation.from_euler(axes, np.stack(degrees, -1), degrees=True)


# --- pictures -------------------------------------------------------------------------------------


def sample_bodies(
    n: int,
    rng: Rng,
    *,
    skeleton: str = "coco17",
    occlusion: bool = True,
    varied: bool = False,
) -> Pose:
    """n bodies as an upright camera sees them: standing, walking, sitting, reaching; 80 to 600 px
    long in 1280x720.

    skeleton: coco17, crowdpose14, posetrack15, jhmdb15 or h36m17. Joints without a bone of their
    own are made up: `thorax` is the middle between the shoulders at rest, `spine` the middle
    between pelvis and thorax, `belly` where the trunk bends; the `neck` of CrowdPose and JHMDB and
    the `head_bottom` of PoseTrack are the top of the neck; the `head` of JHMDB is the middle of the
    skull; H36M's `neck_base` is the base of the skull, its feet are the ankles. The same seed gives
    the same bodies in every skeleton. occlusion=False skips the self-occlusion test, calls every
    joint visible and sets `occlusion_known` false. varied: as photographs show people, in wilder
    poses, from near by and from any height; other bodies than without it. Raises `UnknownName` for
    another skeleton and `BadParameter` for n below 1.
    """
    body_joint_names(skeleton)  # refused before anything is drawn
    joints = body_joints_mm(n, rng, varied=varied)
    return photographed(joints, rng, skeleton=skeleton, occlusion=occlusion, varied=varied)


def photographed(
    joints: Joints,
    rng: Rng,
    *,
    skeleton: str = "coco17",
    occlusion: bool = True,
    varied: bool = False,
) -> Pose:
    """Bodies by joints (as of `body_joints_mm`) before the cameras of `sample_bodies`."""
    wanted = body_joint_names(skeleton)
    n = len(joints["pelvis"])
    at = {name: i for i, name in enumerate(joints)}
    xyz = np.stack([*joints.values()], 1)
    # Upright cameras look at any side of the person, a little from above; one person in 20 lies.
    # Unstated; ours.
    yaw = rng.uniform(-180, 180, n)
    pitch = rng.normal(8, 25 if varied else 10, n)
    roll = rng.normal(0, 12 if varied else 5, n)
    roll = np.where(rng.random(n) < 0.05, rng.choice([-90, 90], n) + 3 * roll, roll)
    rotation = np.diag([1.0, -1.0, -1.0]) @ _turn("ZXY", roll, pitch, yaw).as_matrix()  # y down
    distances = NEAR if varied else DISTANCES
    xyz_camera, xy_frame = photograph(xyz, rotation, rng, (80.0, 600.0), distances)
    order = [at[name] for name in wanted]
    if not occlusion:
        return as_pose(skeleton, xy_frame[:, order], None)
    bones = np.array([[at[a], at[b]] for a, b in _CAPSULES])
    # 25 mm: unstated; ours
    hidden = hidden_by_flesh(xyz_camera, bones, np.array([*_CAPSULES.values()]), 25.0)
    face = [at[name] for name in FACE]
    # these lie on the surface of the head
    outward = xyz_camera[:, face] - xyz_camera[:, [at["skull"]]]
    hidden[:, face] |= outward[..., 2] > 0.3 * np.linalg.norm(outward, axis=-1)
    return as_pose(skeleton, xy_frame[:, order], hidden[:, order])
