"""Procedural hands and bodies: forward kinematics inside joint limits, random camera,
self-occlusion. Reads no file.

Every hand and body is drawn from the generator that the caller passes: the same seed gives the same
arrays. Lengths are mm, angles degrees; coordinates named `xyz_camera_mm` are camera space (x right,
y down, z away from the camera) and `xy_frame` px. Synthetic people are synthetic: numbers taken on
them say so.

Sources, numbers as commonly quoted from them. Hand bones: Buryanov and Kotiuk, "Proportions of hand
segments", Int. J. Morphol. 28(3), 2010 (means of X-rays). Finger limits and the DIP-PIP coupling of
2/3: Lin, Wu and Huang, "Modeling the constraints of human hand motion", 2000, after Rijpkema and
Girard, 1991. Body segments: Drillis and Contini, 1966, as fractions of stature in Winter,
"Biomechanics and Motor Control of Human Movement", Fig. 4.1. What is marked `unstated; ours` is our
choice, the marked joints' offsets and thumb angles in sight of real hands' labels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from ..errors import BadParameter, unknown
from ..records import Pose
from ..skeletons import RHD_FROM_HAND21, SKELETONS

FRAME_WH = (1280, 720)  # px

# --- hands ----------------------------------------------------------------------------------------
# Hand frame of a right hand: x radial (towards the thumb), y distal (wrist to fingers), z palmar;
# origin at the wrist.

# mm, thumb to little finger: metacarpal; proximal, middle, distal phalanx (the thumb has no middle
# one).
_METACARPAL = np.array([46.2, 68.1, 64.6, 58.0, 53.7])
_PHALANGES = np.array(
    [
        [31.6, 21.7, 0.0],
        [39.8, 22.4, 15.8],
        [44.6, 26.3, 17.4],
        [41.4, 25.7, 17.3],
        [32.7, 18.1, 16.0],
    ]
)
# People mark the knuckle, which lies short of the joint's centre of rotation, and the middle of the
# fingertip.
_KNUCKLE, _TIP = 4.5, np.array([4.0, 1.0, 0.5, -0.5, -1.0])  # mm; unstated, ours
# mm from the wrist to where the metacarpals begin; unstated, ours
_CARPUS = np.array(
    [[20.0, 25.0, 10.0], [10.0, 25.0, 0.0], [2.0, 25.0, 0.0], [-6.0, 24.0, 0.0], [-13.0, 23.0, 2.0]]
)  # ours
# direction of the metacarpals in the palm plane, unstated; ours
_FAN = np.array([11.0, 0.0, -14.0, -28.0])
# direction of the straight fingers at no abduction, unstated; ours
_REST = np.array([4.0, 0.0, -4.0, -10.0])
# how far a flexing finger turns towards the scaphoid, unstated; ours
_TILT = np.array([-4.0, 0.0, 5.0, 10.0])
# palmar turn of the metacarpals when the palm cups, unstated; ours
_CUP = np.array([3.0, 0.0, 8.0, 17.0])
_MCP_LIMITS, _PIP_LIMITS, _DIP_LIMITS, _SPREAD_LIMIT = (
    (-25.0, 90.0),
    (-5.0, 110.0),
    (-10.0, 90.0),
    17.0,
)
# thumb: radial and palmar abduction of the metacarpal, pronation, flexion of MCP and IP
_THUMB_LIMITS = np.array([[5.0, 65.0], [-10.0, 60.0], [-25.0, 50.0], [-10.0, 60.0], [-20.0, 80.0]])

# Families, blended continuously: MCP and PIP of the four fingers, spread, the five thumb angles.
# Unstated; ours.
_HAND_FAMILIES = np.array(
    [
        # MCP                PIP                spread  thumb
        [-2, 0, 0, -2, 4, 4, 4, 6, 9, 48, 6, 15, 5, 0],  # open
        [-8, -8, -8, -10, 8, 8, 8, 10, 15, 60, 9, 15, 0, -5],  # spread
        [22, 28, 34, 38, 28, 34, 38, 38, 0, 35, 24, 10, 15, 15],  # relaxed
        [72, 78, 80, 80, 98, 100, 100, 95, -2, 22, 32, 25, 38, 42],  # fist
        [3, 76, 80, 78, 6, 98, 100, 95, 0, 22, 34, 25, 38, 40],  # pointing
        [0, 0, 78, 76, 6, 6, 98, 92, 9, 18, 36, 25, 40, 45],  # two fingers
        [45, 30, 28, 22, 50, 38, 32, 28, 2, 35, 39, -12, 25, 20],  # pinch
        [52, 55, 58, 58, 42, 45, 45, 42, -1, 32, 42, -8, 22, 25],  # all tips together
        [5, 5, 8, 8, 85, 88, 85, 80, 1, 40, 19, 10, 15, 20],  # hook
        [65, 68, 68, 66, 10, 10, 10, 12, 0, 30, 29, 0, 15, 10],  # flat, bent at the knuckles
        [75, 80, 82, 80, 95, 98, 98, 92, -2, 58, 2, 15, 0, -8],  # thumb up
    ],
    dtype=float,
)
# mm of flesh around a bone, unstated; ours
_HAND_JOINT_RADIUS, _PALM_RADIUS, _THENAR_RADIUS = 8.0, 11.0, 12.0


def _weights(n: int, families: int, rng: np.random.Generator) -> np.ndarray:
    """Blending weights [n families]: mostly one or two families, the rest in between (Dirichlet
    0.15; ours).
    """
    return rng.dirichlet(np.full(families, 0.15), n)


def hand_joints_mm(n: int, rng: np.random.Generator) -> Float[np.ndarray, "n 21 3"]:
    """n hands in their own frame (mm, wrist at the origin, hand21 order), left and right in equal
    parts.

    Right hands: x towards the thumb, y from wrist to middle finger, z out of the palm; left hands
    are mirrored in x. Raises `BadParameter` for n below 1.
    """
    _check_count(n)
    families = np.concatenate(
        [np.repeat(_HAND_FAMILIES[None], n, 0), _free_hands(n, rng)[:, None]], 1
    )
    w = _weights(n, families.shape[1], rng)
    # of all hands, each finger on its own, as in finger spelling; unstated, ours
    free = rng.random(n) < 0.3
    w[free] = 0.35 * w[free]
    w[free, -1] += 0.65
    angles = np.einsum("nf,nfa->na", w, families)
    shared, own = rng.normal(0, 5, (n, 1, 2)), rng.normal(0, 7, (n, 4, 2))  # unstated; ours
    curl = angles[:, :8].reshape(n, 2, 4).transpose(0, 2, 1) + shared + own
    mcp, pip = np.clip(curl[..., 0], *_MCP_LIMITS), np.clip(curl[..., 1], *_PIP_LIMITS)
    dip = np.clip(2 / 3 * pip + rng.normal(0, 7, (n, 4)), *_DIP_LIMITS)
    # A flexed knuckle cannot abduct (Lin et al.); fingers do not cross: one spread and a little of
    # each finger's own.
    spread = (angles[:, 8] + rng.normal(0, 4, n))[:, None] * np.array(
        [1.0, 0.1, -0.7, -1.4]
    ) + rng.normal(0, 2, (n, 4))
    spread = np.clip(spread, -_SPREAD_LIMIT, _SPREAD_LIMIT) * np.cos(np.radians(np.maximum(mcp, 0)))

    size = 1 + 0.08 * rng.standard_normal((n, 1))
    bones = _PHALANGES + [[_KNUCKLE, 0, 0]] * 5
    bones[0, 1] += _TIP[0]
    bones[1:, 2] += _TIP[1:]
    metacarpal = (_METACARPAL - _KNUCKLE) * size * np.exp(0.04 * rng.standard_normal((n, 5)))
    phalanx = bones * (size * np.exp(0.05 * rng.standard_normal((n, 5))))[..., None]
    phalanx = phalanx * np.exp(0.04 * rng.standard_normal((n, 5, 3)))
    base = _CARPUS * size[..., None] * np.exp(0.1 * rng.standard_normal((n, 1, 3)))

    xyz = np.zeros((n, 21, 3))
    # Four fingers: metacarpal in the cupped palm, then flexion in the plane of (direction d, pad
    # p).
    closed = (mcp.mean(1) + pip.mean(1)) / 200
    cup = np.clip(0.2 + 0.6 * closed + 0.2 * rng.standard_normal(n), -0.2, 1.2)
    fan = np.radians(_FAN) * np.exp(0.12 * rng.standard_normal((n, 1)))
    rise = np.radians(_CUP) * cup[:, None]
    along = np.stack([np.sin(fan) * np.cos(rise), np.cos(fan) * np.cos(rise), np.sin(rise)], -1)
    knuckle = base[:, 1:] + metacarpal[:, 1:, None] * along
    turn, tilt = np.radians(_REST + spread), np.radians(_TILT)
    d = np.stack([np.sin(turn), np.cos(turn), np.zeros_like(turn)], -1)
    side = np.stack([np.cos(turn), -np.sin(turn), np.zeros_like(turn)], -1)
    p = np.sin(tilt)[:, None] * side + np.cos(tilt)[:, None] * np.array([0.0, 0.0, 1.0])
    xyz[:, 5::4] = knuckle
    bend = rise
    for i, flexion in enumerate((mcp, pip, dip)):
        bend = bend + np.radians(flexion)
        knuckle = knuckle + phalanx[:, 1:, i, None] * (
            np.cos(bend)[..., None] * d + np.sin(bend)[..., None] * p
        )
        xyz[:, 6 + i :: 4] = knuckle

    # Thumb: its metacarpal leaves the palm by two abductions, and its pad faces the fingers, turned
    # by pronation.
    thumb = angles[:, 9:] + rng.normal(0, (7, 7, 7, 9, 10), (n, 5))  # unstated; ours
    thumb = np.radians(np.clip(thumb, *_THUMB_LIMITS.T))
    radial, palmar, pronation, mcp, ip = thumb.T
    d = np.stack(
        [np.sin(radial) * np.cos(palmar), np.cos(radial) * np.cos(palmar), np.sin(palmar)], -1
    )
    ulnar = np.stack([-np.cos(radial), np.sin(radial), np.zeros(n)], -1)
    p = np.cos(pronation)[:, None] * ulnar + np.sin(pronation)[:, None] * np.cross(d, ulnar)
    xyz[:, 1] = base[:, 0]
    bend = np.zeros(n)
    for i, (length, flexion) in enumerate(
        zip((metacarpal[:, 0], phalanx[:, 0, 0], phalanx[:, 0, 1]), (0, mcp, ip))
    ):
        bend = bend + flexion
        xyz[:, 2 + i] = xyz[:, 1 + i] + length[:, None] * (
            np.cos(bend)[:, None] * d + np.sin(bend)[:, None] * p
        )
    xyz[rng.random(n) < 0.5, :, 0] *= -1
    return xyz


def _free_hands(n: int, rng: np.random.Generator) -> np.ndarray:
    """Angles of one more family [n 14]: each finger straight, curled or between, on its own; a
    random thumb.
    """
    curl = rng.beta(0.5, 0.5, (n, 1, 4))
    flexion = curl * np.array([[78.0], [100.0]]) + rng.normal(0, 12, (n, 2, 4))
    low, high = _THUMB_LIMITS.T
    return np.concatenate(
        [flexion.reshape(n, 8), rng.normal(3, 6, (n, 1)), rng.uniform(low, high, (n, 5))], 1
    )


def hands_in_camera(
    n: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n 21 3"], Float[np.ndarray, "n 21 2"]]:
    """n hands in 3D (mm, camera space) and in the picture (px), in hand21 order: those of
    `sample_hands`, same seed.

    Raises `BadParameter` for n below 1.
    """
    xyz = hand_joints_mm(n, rng)
    rotation = Rotation.from_quat(rng.standard_normal((n, 4))).as_matrix()  # uniform over rotations
    return _photograph(xyz, rotation, rng, (40.0, 300.0))


def sample_hands(
    n: int, rng: np.random.Generator, *, skeleton: str = "hand21", occlusion: bool = True
) -> Pose:
    """n hands as a camera sees them: any view direction, boxes 40 to 300 px long in a 1280x720
    frame.

    skeleton: hand21 (palm outwards) or hand21_rhd (tip inwards). occlusion=False skips the
    self-occlusion test, calls every joint visible and sets `occlusion_known` false; coordinates are
    the same either way. Raises `UnknownName` for another skeleton and `BadParameter` for n below 1.
    """
    order = {"hand21": slice(None), "hand21_rhd": list(RHD_FROM_HAND21)}
    if skeleton not in order:
        raise unknown("hand skeleton", skeleton, order)
    xyz_camera, xy_frame = hands_in_camera(n, rng)
    hidden = (
        _hidden(xyz_camera, *_hand_capsules(xyz_camera))
        if occlusion
        else np.zeros(xy_frame.shape[:2], bool)
    )
    return _pose(skeleton, xy_frame[:, order[skeleton]], hidden[:, order[skeleton]], occlusion)


def _hand_capsules(xyz: np.ndarray):
    """Ends [n 20 3] twice and radii [20] of the flesh around the bones; the palm is the five
    bones from the wrist.
    """
    edges = np.array(SKELETONS["hand21"].edges)
    radius = np.where(edges[:, 0] == 0, _PALM_RADIUS, _HAND_JOINT_RADIUS)
    radius[edges[:, 0] == 1] = _THENAR_RADIUS
    return xyz[:, edges[:, 0]], xyz[:, edges[:, 1]], radius, _HAND_JOINT_RADIUS


# --- bodies ---------------------------------------------------------------------------------------
# Body frame: x to the subject's left, y up, z forward. Segments hang down from their joint; angles
# in degrees.

# Fractions of stature, Winter Fig. 4.1 (shoulder 0.818, hip 0.530, knee 0.285, ankle 0.039, eye
# 0.936, chin 0.870). The joints that people mark lie inside the widths given there (shoulders
# 0.259, hips 0.191): 0.21 and
# 0.12, ours.
_BODY = {"trunk": 0.288, "neck": 0.052, "shoulder": 0.105, "hip": 0.06}
_BODY |= {"arm": 0.186, "forearm": 0.146, "thigh": 0.245, "shank": 0.246}
LEG_OF_STATURE = _BODY["thigh"] + _BODY["shank"]
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
BODY_LIMITS = _AXIAL | {
    f"{side}_{name}": limits for side in ("left", "right") for name, limits in _LIMB.items()
}
# Families: lean, trunk_bend, head_nod; then one limb set for the left and one for the right side.
# Unstated; ours.
_BODY_FAMILIES = np.array(
    [  # axial     left: arm           leg              right: arm         leg
        [0, 3, 5, 0, 8, 0, 15, 2, 5, 5, 4, 0, 8, 0, 15, 2, 5, 5, 4],  # standing
        [4, 3, 3, 25, 8, 0, 30, -10, 2, 0, 15, -20, 8, 0, 25, 30, 2, 0, 12],  # walking
        [12, 8, -5, 45, 10, 10, 90, -12, 3, 0, 75, -35, 10, 10, 90, 60, 3, 0, 75],  # running
        [3, 12, 8, 35, 12, 25, 60, 85, 12, 5, 88, 35, 12, 25, 60, 85, 12, 5, 88],  # sitting
        [0, 0, -8, 150, 25, 0, 20, 3, 8, 5, 5, 150, 25, 0, 20, 3, 8, 5, 5],  # both arms up
        [0, 2, 0, 5, 10, 0, 15, 2, 6, 5, 5, 130, 40, 0, 60, 2, 6, 5, 5],  # one arm up
        [0, 0, 0, 5, 85, 0, 10, 3, 12, 8, 5, 5, 85, 0, 10, 3, 12, 8, 5],  # arms out
        # hands on hips, arms crossed
        [0, 4, 8, 15, 25, 60, 105, 2, 7, 5, 5, 15, 25, 60, 105, 2, 7, 5, 5],
        [0, 4, 10, 35, 8, 30, 100, 2, 5, 5, 5, 35, 8, 30, 100, 2, 5, 5, 5],  # holding something
        # crouching
        [30, 25, -15, 40, 10, 0, 30, 105, 15, 10, 120, 40, 10, 0, 30, 105, 15, 10, 120],
        [45, 35, -10, 75, 10, 0, 20, 50, 6, 5, 15, 75, 10, 0, 20, 50, 6, 5, 15],  # bending down
        [10, 5, -5, 60, 20, 10, 70, 65, 12, 5, 85, 20, 20, 10, 60, -15, 8, 5, 40],  # lunge, kick
    ],
    dtype=float,
)
# unstated; ours
_BODY_NOISE = np.array([5, 6, 6, 8, 10, 10, 18, *(15, 10, 20, 18, 10, 6, 10, 10) * 2], dtype=float)

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


def body_bones_mm(n: int, rng: np.random.Generator) -> dict[str, Float[np.ndarray, "n 1"]]:
    """Lengths of the bones of n bodies by name, with their `stature` (mm)."""
    stature = rng.normal(1690, 95, (n, 1))  # mm, adults of both sexes; unstated, ours
    width, length = np.exp(0.07 * rng.standard_normal((2, n, 1)))
    bone = {b: f * stature * np.exp(0.04 * rng.standard_normal((n, 1))) for b, f in _BODY.items()}
    bone = {b: v * (width if b in ("shoulder", "hip") else length**0.5) for b, v in bone.items()}
    return bone | {"stature": stature}


def head_offsets_mm(
    stature_mm: Float[np.ndarray, "n 1"], rng: np.random.Generator
) -> dict[str, Float[np.ndarray, "n 3"]]:
    """Points of n heads by name, from the top of the neck in the head's own frame (mm; x left, y
    up, z forward).
    """
    shape = (len(stature_mm), 3)
    return {
        j: np.array(xyz) * (stature_mm * np.exp(0.03 * rng.standard_normal(shape)))
        for j, xyz in HEAD_OFFSETS.items()
    }


def body_joints_mm(n: int, rng: np.random.Generator) -> dict[str, Float[np.ndarray, "n 3"]]:
    """Joints of n bodies by name (mm; x to the subject's left, y up, z forward; pelvis at the
    origin).

    Raises `BadParameter` for n below 1.
    """
    _check_count(n)
    bone = body_bones_mm(n, rng)
    blend = _weights(n, len(_BODY_FAMILIES), rng) @ _BODY_FAMILIES
    # families are straight: no side bend, twist, turn of their own
    blend = np.insert(blend, [2, 2, 3, 3], 0.0, axis=1)
    low, high = np.array([*BODY_LIMITS.values()]).T
    angles = np.clip(blend + _BODY_NOISE * rng.standard_normal(blend.shape), low, high)
    swapped = np.concatenate(
        [angles[:, :7] * [1, 1, -1, -1, 1, -1, -1], angles[:, 15:], angles[:, 7:15]], 1
    )
    angles = np.where(rng.random((n, 1)) < 0.5, swapped, angles)  # left and right in equal parts
    return pose_body(bone, head_offsets_mm(bone["stature"], rng), dict(zip(BODY_LIMITS, angles.T)))


def pose_body(
    bone: Mapping[str, Float[np.ndarray, "#n 1"]],
    head_offset: Mapping[str, Float[np.ndarray, "#n 3"]],
    angles: Mapping[str, Float[np.ndarray, "n"]],
) -> dict[str, Float[np.ndarray, "n 3"]]:
    """Forward kinematics of bodies: joints by name (mm; x to the subject's left, y up, z forward;
    pelvis at the origin).

    bone, head_offset: of `body_bones_mm` and `head_offsets_mm`; one row where all n poses are the
    same person's. angles: degrees, every name of `BODY_LIMITS`.
    """

    def turn(order: str, *degrees):
        return Rotation.from_euler(order, np.stack(degrees, -1), degrees=True)

    pelvis = turn("X", angles["lean"])
    trunk = pelvis * turn("XZY", angles["trunk_bend"], angles["trunk_side"], angles["trunk_twist"])
    head = trunk * turn("YXZ", angles["head_turn"], angles["head_nod"], angles["head_side"])
    up, down, left = np.eye(3)[1], -np.eye(3)[1], np.eye(3)[0]
    joints = {"pelvis": np.zeros((len(angles["lean"]), 3))}
    half = pelvis.apply(up * bone["trunk"] * 0.35)  # the lower trunk moves with the pelvis
    joints["belly"] = half
    joints["thorax"] = half + trunk.apply(up * bone["trunk"] * 0.65)
    joints["spine"] = (joints["pelvis"] + joints["thorax"]) / 2
    joints["neck"] = (
        joints["thorax"] + (trunk.apply(up * bone["neck"]) + head.apply(up * bone["neck"])) / 2
    )
    for name, offset in head_offset.items():
        joints[name] = joints["neck"] + head.apply(offset)
    for side, sign in (("left", 1), ("right", -1)):
        limb = {name: angles[f"{side}_{name}"] for name in _LIMB}
        # Flexion swings forward about x, abduction away from the body about z, rotation turns about
        # the bone itself. A raised arm lifts its shoulder by up to 0.03 of stature (unstated;
        # ours).
        raised = np.clip(
            np.maximum(limb["shoulder_flexion"], limb["shoulder_abduction"]) / 170, 0, 1
        )[:, None]
        joint = joints["thorax"] + trunk.apply(
            sign * left * bone["shoulder"] + up * 0.03 * bone["stature"] * raised
        )
        flexion, abduction, rotation = (
            limb[f"shoulder_{a}"] for a in ("flexion", "abduction", "rotation")
        )
        arm = trunk * turn("XZY", -flexion, sign * abduction, -sign * rotation)
        forearm = arm * turn("X", -limb["elbow"])
        joints[f"{side}_shoulder"] = joint
        joints[f"{side}_elbow"] = elbow = joint + arm.apply(down * bone["arm"])
        joints[f"{side}_wrist"] = elbow + forearm.apply(down * bone["forearm"])
        joint = pelvis.apply(sign * left * bone["hip"])
        thigh = pelvis * turn(
            "XZY", -limb["hip_flexion"], sign * limb["hip_abduction"], sign * limb["hip_rotation"]
        )
        shank = thigh * turn("X", limb["knee"])
        joints[f"{side}_hip"] = joint
        joints[f"{side}_knee"] = knee = joint + thigh.apply(down * bone["thigh"])
        joints[f"{side}_ankle"] = knee + shank.apply(down * bone["shank"])
    return joints


def skeleton_joints(
    joints: Mapping[str, Float[np.ndarray, "n 3"]], skeleton: str
) -> Float[np.ndarray, "n k 3"]:
    """Joints by name, as `body_joints_mm` calls them, in the order and under the names of one of
    `BODY_SKELETONS`.

    Raises `UnknownName` for another skeleton.
    """
    if skeleton not in BODY_SKELETONS:
        raise unknown("body skeleton", skeleton, BODY_SKELETONS)
    rename = BODY_SKELETONS[skeleton]
    return np.stack([joints[rename.get(j, j)] for j in SKELETONS[skeleton].joints], 1)


def sample_bodies(
    n: int, rng: np.random.Generator, *, skeleton: str = "coco17", occlusion: bool = True
) -> Pose:
    """n bodies as an upright camera sees them: standing, walking, sitting, reaching; 80 to 600 px
    long in 1280x720.

    skeleton: coco17, crowdpose14, posetrack15, jhmdb15 or h36m17. Joints without a bone of their
    own are made up: `thorax` is the middle between the shoulders at rest, `spine` the middle
    between pelvis and thorax, `belly` where the trunk bends; the `neck` of CrowdPose and JHMDB and
    the `head_bottom` of PoseTrack are the top of the neck; the `head` of JHMDB is the middle of the
    skull; H36M's `neck_base` is the base of the skull, its feet are the ankles. The same seed gives
    the same bodies in every skeleton. occlusion=False skips the self-occlusion test, calls every
    joint visible and sets `occlusion_known` false. Raises `UnknownName` for another skeleton and
    `BadParameter` for n below 1.
    """
    if skeleton not in BODY_SKELETONS:
        raise unknown("body skeleton", skeleton, BODY_SKELETONS)
    joints = body_joints_mm(n, rng)
    names = tuple(joints)
    # An upright camera looks at any side of the person, a little from above; one person in 20 lies.
    # Unstated; ours.
    yaw, pitch, roll = rng.uniform(-180, 180, n), rng.normal(8, 10, n), rng.normal(0, 5, n)
    roll = np.where(rng.random(n) < 0.05, rng.choice([-90, 90], n) + 3 * roll, roll)
    turned = Rotation.from_euler("ZXY", np.stack([roll, pitch, yaw], -1), degrees=True).as_matrix()
    camera = np.diag([1.0, -1.0, -1.0]) @ turned  # y down, z away from the camera
    xyz_camera, xy_frame = _photograph(
        np.stack([joints[j] for j in names], 1), camera, rng, (80.0, 600.0)
    )
    hidden = np.zeros(xy_frame.shape[:2], bool)
    if occlusion:
        hidden = _hidden(xyz_camera, *_body_capsules(xyz_camera, names))
        face = [names.index(j) for j in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
        # these lie on the surface of the head
        outward = xyz_camera[:, face] - xyz_camera[:, [names.index("skull")]]
        hidden[:, face] |= outward[..., 2] > 0.3 * np.linalg.norm(outward, axis=-1)
    rename = BODY_SKELETONS[skeleton]
    order = [names.index(rename.get(j, j)) for j in SKELETONS[skeleton].joints]
    return _pose(skeleton, xy_frame[:, order], hidden[:, order], occlusion)


# Flesh around each bone, mm: unstated; ours.
_BODY_CAPSULES = {
    "left_shoulder-left_elbow": 45,
    "left_elbow-left_wrist": 38,
    "left_hip-left_knee": 75,
    "left_knee-left_ankle": 50,
    "right_shoulder-right_elbow": 45,
    "right_elbow-right_wrist": 38,
    "right_hip-right_knee": 75,
    "right_knee-right_ankle": 50,
    "left_shoulder-left_hip": 85,
    "right_shoulder-right_hip": 85,
    "thorax-pelvis": 95,
    "neck-thorax": 50,
    "skull-skull_base": 72,
}
_BODY_FLESH = 25.0  # mm between a joint and the surface where it counts as seen; unstated, ours


def _body_capsules(xyz: np.ndarray, names: tuple[str, ...]):
    ends = np.array([[names.index(j) for j in bone.split("-")] for bone in _BODY_CAPSULES])
    return (
        xyz[:, ends[:, 0]],
        xyz[:, ends[:, 1]],
        np.array([*_BODY_CAPSULES.values()], float),
        _BODY_FLESH,
    )


# --- camera, occlusion ----------------------------------------------------------------------------


def _check_count(n: int) -> None:
    if n < 1:
        raise BadParameter(f"n is {n}, expected a count of samples", remedy="ask for 1 or more")


def _photograph(
    xyz: Float[np.ndarray, "n k 3"],
    rotation: Float[np.ndarray, "n 3 3"],
    rng: np.random.Generator,
    long_side_px,
) -> tuple[Float[np.ndarray, "n k 3"], Float[np.ndarray, "n k 2"]]:
    """Camera space (mm) and picture (px): a pinhole 3 to 30 object sizes away (log-uniform: strong
    to weak).

    The focal length is whatever makes the joints' box as long as drawn (log-uniform), the principal
    point whatever puts the box at a uniform place wholly inside the frame.
    """
    n = len(xyz)
    xyz = xyz - (xyz.max(1, keepdims=True) + xyz.min(1, keepdims=True)) / 2
    extent = np.linalg.norm(xyz, axis=-1).max(1, initial=1e-9)
    distance = 2 * extent * np.exp(rng.uniform(np.log(3), np.log(30), n))  # unstated; ours
    xyz = xyz @ rotation.transpose(0, 2, 1)
    xyz[..., 2] += distance[:, None]
    xy = xyz[..., :2] / xyz[..., 2:]
    low, span = xy.min(1), np.ptp(xy, axis=1)
    size = np.exp(rng.uniform(*np.log(long_side_px), n)) / span.max(1, initial=1e-9)
    span = span * size[:, None]
    corner = rng.random((n, 2)) * np.maximum(np.array(FRAME_WH) - 1 - span, 0)
    return xyz, (xy - low[:, None]) * size[:, None, None] + corner[:, None]


def _hidden(xyz, start, end, radius, joint_radius, chunk: int = 2048) -> Bool[np.ndarray, "n k"]:
    """Whether a capsule [start, end] of that radius stands in front of a joint along its ray.

    In the picture plane of the object's mean depth: of the part of the bone within 0.8 radius of
    the joint, the point nearest to the camera hides the joint if it is nearer by the capsule's
    radius plus half the joint's own flesh.
    """
    out = np.zeros(xyz.shape[:2], bool)
    for i in range(0, len(xyz), chunk):
        rows = slice(i, i + chunk)
        depth = xyz[rows, :, 2].mean(1)[:, None]
        (p, zp), (a, za), (b, zb) = (
            (v[rows, :, :2] / v[rows, :, 2:] * depth[..., None], v[rows, :, 2])
            for v in (xyz, start, end)
        )
        bone = b - a
        length2 = np.maximum((bone**2).sum(-1), 1e-6)[:, None]  # [n 1 bones]
        to = p[:, :, None] - a[:, None]  # [n k bones 2]
        middle = np.einsum("nkbc,nbc->nkb", to, bone) / length2
        off2 = (0.8 * radius) ** 2 - np.maximum((to**2).sum(-1) - middle**2 * length2, 0)
        half = np.sqrt(np.maximum(off2, 0) / length2)
        first, last = np.maximum(middle - half, 0), np.minimum(middle + half, 1)
        za, zb = za[:, None], zb[:, None]
        nearest = np.minimum(za + first * (zb - za), za + last * (zb - za))
        front = (
            (off2 > 0) & (first <= last) & (nearest < zp[..., None] - (radius + 0.5 * joint_radius))
        )
        out[rows] = front.any(-1)
    return out


def _pose(name: str, xy_frame: np.ndarray, hidden: np.ndarray, known: bool) -> Pose:
    boxes = np.concatenate([xy_frame.min(1), xy_frame.max(1)], -1)
    ids = tuple(f"synthetic{i}" for i in range(len(xy_frame)))
    return Pose(name, xy_frame, np.where(hidden, 1, 2), boxes, known, ids=ids, groups=ids)
