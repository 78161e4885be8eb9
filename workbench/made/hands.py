"""Procedural hands: forward kinematics inside joint limits, random camera, self-occlusion.

Every hand is drawn from the generator that the caller passes: the same seed gives the same arrays.
Lengths are mm, angles degrees; coordinates named `xyz_camera_mm` are camera space (x right, y down,
z away from the camera) and `xy_frame` px. Hand frame of a right hand: x radial (towards the thumb),
y distal (wrist to fingers), z palmar; origin at the wrist. Synthetic people are synthetic: numbers
taken on them say so.

Sources, numbers as commonly quoted from them. Bones: Buryanov and Kotiuk, "Proportions of hand
segments", Int. J. Morphol. 28(3), 2010 (means of X-rays). Finger limits and the DIP-PIP coupling of
2/3: Lin, Wu and Huang, "Modeling the constraints of human hand motion", 2000, after Rijpkema and
Girard, 1991. What is marked `unstated; ours` is our choice, the marked joints' offsets and thumb
angles in sight of real hands' labels.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import unknown
from ..records import Pose
from ..skeletons import RHD_FROM_HAND21, SKELETONS
from .joints import Rng, Xy, Xyz
from .snapshots import BLEND, as_pose, check_count, hidden_by_flesh, photograph

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
# fingertip: mm; unstated, ours.
_KNUCKLE = 4.5
_TIP = np.array([4.0, 1.0, 0.5, -0.5, -1.0])
# mm from the wrist to where the metacarpals begin; unstated, ours
_CARPUS = np.array(
    [[20.0, 25.0, 10.0], [10.0, 25.0, 0.0], [2.0, 25.0, 0.0], [-6.0, 24.0, 0.0], [-13.0, 23.0, 2.0]]
)
# Of the four fingers; unstated, ours.
_FAN = np.array([11.0, 0.0, -14.0, -28.0])  # direction of the metacarpals in the palm plane
_REST = np.array([4.0, 0.0, -4.0, -10.0])  # of the straight fingers at no abduction
_TILT = np.array([-4.0, 0.0, 5.0, 10.0])  # how far a flexing finger turns towards the scaphoid
_CUP = np.array([3.0, 0.0, 8.0, 17.0])  # palmar turn of the metacarpals when the palm cups
_SPREAD = np.array([1.0, 0.1, -0.7, -1.4])  # share of the hand's spread
_MCP_LIMITS = (-25.0, 90.0)
_PIP_LIMITS = (-5.0, 110.0)
_DIP_LIMITS = (-10.0, 90.0)
_SPREAD_LIMIT = 17.0
# thumb: radial and palmar abduction of the metacarpal, pronation, flexion of MCP and IP
_THUMB_LIMITS = np.array([[5.0, 65.0], [-10.0, 60.0], [-25.0, 50.0], [-10.0, 60.0], [-20.0, 80.0]])

# Families, blended continuously: MCP and PIP of the four fingers, spread, the five thumb angles.
# Unstated; ours.
_FAMILIES = np.array(
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


# Flesh around the bones (the palm is the five from the wrist), mm; unstated, ours.
_BONES = np.array(SKELETONS["hand21"].edges)
_RADIUS = np.select([_BONES[:, 0] == 0, _BONES[:, 0] == 1], [11.0, 12.0], 8.0)  # palm, thenar


def hand_joints_mm(n: int, rng: Rng) -> Xyz:
    """n hands in their own frame (mm, wrist at the origin, hand21 order), left and right in equal
    parts.

    Right hands: x towards the thumb, y from wrist to middle finger, z out of the palm; left hands
    are mirrored in x. Raises `BadParameter` for n below 1.
    """
    check_count(n)
    angles = _blended_angles(n, rng)
    flexion, spread = _finger_angles(angles, rng)
    bones = _bones(n, rng)
    xyz = np.zeros((n, 21, 3))
    xyz[:, 5:] = _fingers(flexion, spread, bones, rng)
    xyz[:, 1:5] = _thumb(angles[:, 9:], bones, rng)
    xyz[rng.random(n) < 0.5, :, 0] *= -1
    return xyz


def _blended_angles(n: int, rng: Rng):
    """Angles [n 14] in the order of `_FAMILIES`. Of all hands 0.3 have each finger mostly on its
    own, as in finger spelling (unstated; ours).
    """
    # one more family: each finger straight, curled or between, on its own; a random thumb
    curl = rng.beta(0.5, 0.5, (n, 1, 4))
    flexion = curl * np.array([[78.0], [100.0]]) + rng.normal(0, 12, (n, 2, 4))
    spread = rng.normal(3, 6, (n, 1))
    thumb = rng.uniform(*_THUMB_LIMITS.T, (n, 5))
    free = np.concatenate([flexion.reshape(n, 8), spread, thumb], 1)
    families = np.concatenate([np.repeat(_FAMILIES[None], n, 0), free[:, None]], 1)
    weights = rng.dirichlet(np.full(families.shape[1], BLEND), n)
    spelling = rng.random(n) < 0.3
    weights[spelling] *= 0.35
    weights[spelling, -1] += 0.65
    return np.einsum("nf,nfa->na", weights, families)


def _finger_angles(angles, rng: Rng):
    """Flexion [3 n 4] of MCP, PIP and DIP, and abduction [n 4] of the four fingers, degrees."""
    n = len(angles)
    shared = rng.normal(0, 5, (n, 1, 2))  # unstated; ours
    of_finger = rng.normal(0, 7, (n, 4, 2))  # unstated; ours
    curl = angles[:, :8].reshape(n, 2, 4).transpose(0, 2, 1) + shared + of_finger
    mcp = np.clip(curl[..., 0], *_MCP_LIMITS)
    pip = np.clip(curl[..., 1], *_PIP_LIMITS)
    dip = np.clip(2 / 3 * pip + rng.normal(0, 7, (n, 4)), *_DIP_LIMITS)
    # A flexed knuckle cannot abduct (Lin et al.); fingers do not cross: one spread and a little of
    # each finger's own.
    of_hand = angles[:, 8] + rng.normal(0, 4, n)
    spread = of_hand[:, None] * _SPREAD + rng.normal(0, 2, (n, 4))
    spread = np.clip(spread, -_SPREAD_LIMIT, _SPREAD_LIMIT)
    return np.stack([mcp, pip, dip]), spread * np.cos(np.radians(np.maximum(mcp, 0)))


def _bones(n: int, rng: Rng):
    """mm, from knuckle to knuckle as people mark them: where the metacarpals begin [n 5 3], their
    lengths [n 5] and those of the phalanges [n 5 3]. Sizes differ by hand, finger and bone.
    """

    def spread(deviation: float, *shape: int) -> np.ndarray:
        return np.exp(deviation * rng.standard_normal((n, *shape)))

    size = 1 + 0.08 * rng.standard_normal((n, 1))
    phalanges = _PHALANGES + np.array([_KNUCKLE, 0, 0])
    phalanges[0, 1] += _TIP[0]
    phalanges[1:, 2] += _TIP[1:]
    metacarpal = (_METACARPAL - _KNUCKLE) * size * spread(0.04, 5)
    phalanx = phalanges * (size * spread(0.05, 5))[..., None]
    phalanx = phalanx * spread(0.04, 5, 3)
    return _CARPUS * size[..., None] * spread(0.1, 1, 3), metacarpal, phalanx


def _fingers(flexion, spread, bones, rng: Rng):
    """Joints [n 16 3] of the four fingers: metacarpals in the cupped palm, then flexion in the
    plane of a finger's direction and the direction of its pad.
    """
    n = len(spread)
    base, metacarpal, phalanx = bones
    closed = (flexion[0].mean(1) + flexion[1].mean(1)) / 200
    cup = np.clip(0.2 + 0.6 * closed + 0.2 * rng.standard_normal(n), -0.2, 1.2)
    fan = np.radians(_FAN) * np.exp(0.12 * rng.standard_normal((n, 1)))
    rise = np.radians(_CUP) * cup[:, None]
    knuckle = base[:, 1:] + metacarpal[:, 1:, None] * _direction(fan, rise)
    along = _direction(np.radians(_REST + spread), 0)
    tilt = np.radians(_TILT)[:, None]
    pad = np.sin(tilt) * _radial(along) + np.cos(tilt) * np.array([0.0, 0.0, 1.0])
    lengths = np.moveaxis(phalanx[:, 1:], -1, 0)
    return _chain(knuckle, lengths, np.radians(flexion), rise, along, pad).reshape(n, 16, 3)


def _thumb(angles, bones, rng: Rng):
    """Joints [n 4 3] of the thumb: its metacarpal leaves the palm by two abductions, and its pad
    faces the fingers, turned by pronation.
    """
    n = len(angles)
    base, metacarpal, phalanx = bones
    angles = angles + rng.normal(0, (7, 7, 7, 9, 10), (n, 5))  # unstated; ours
    radial, palmar, pronation, mcp, ip = np.radians(np.clip(angles, *_THUMB_LIMITS.T)).T
    along = _direction(radial, palmar)
    ulnar = -_radial(_direction(radial, 0))
    pad = np.cos(pronation)[:, None] * ulnar + np.sin(pronation)[:, None] * np.cross(along, ulnar)
    lengths = (metacarpal[:, 0], phalanx[:, 0, 0], phalanx[:, 0, 1])
    return _chain(base[:, 0], lengths, (0, mcp, ip), np.zeros(n), along, pad)


def _direction(turn, rise):
    """Unit vectors turned from y towards x, and then towards z, radians."""
    level = np.cos(rise)
    parts = (np.sin(turn) * level, np.cos(turn) * level, np.sin(rise))
    return np.stack(np.broadcast_arrays(*parts), -1)


def _radial(along):
    """What lies a quarter turn towards the thumb from directions in the palm plane."""
    return along[..., [1, 0, 2]] * [1, -1, 1]


def _chain(start, lengths, flexions, bend, along, pad):
    """Joints [*n j 3] of a finger from `start` on: every bone is bent on from `along` towards
    `pad`, radians.
    """
    joints = [start]
    for length, flexion in zip(lengths, flexions):
        bend = bend + flexion
        direction = np.cos(bend)[..., None] * along + np.sin(bend)[..., None] * pad
        joints.append(joints[-1] + length[..., None] * direction)
    return np.stack(joints, -2)


def hands_in_camera(n: int, rng: Rng) -> tuple[Xyz, Xy]:
    """n hands in 3D (mm, camera space) and in the picture (px), in hand21 order: those of
    `sample_hands`, same seed.

    Raises `BadParameter` for n below 1.
    """
    xyz = hand_joints_mm(n, rng)
    rotation = Rotation.from_quat(rng.standard_normal((n, 4))).as_matrix()  # uniform over rotations
    return photograph(xyz, rotation, rng, (40.0, 300.0))


def sample_hands(n: int, rng: Rng, *, skeleton: str = "hand21", occlusion: bool = True) -> Pose:
    """n hands as a camera sees them: any view direction, boxes 40 to 300 px long in a 1280x720
    frame.

    skeleton: hand21 (palm outwards) or hand21_rhd (tip inwards). occlusion=False skips the
    self-occlusion test, calls every joint visible and sets `occlusion_known` false; coordinates are
    the same either way. Raises `UnknownName` for another skeleton and `BadParameter` for n below 1.
    """
    orders = {"hand21": range(21), "hand21_rhd": RHD_FROM_HAND21}
    if skeleton not in orders:
        raise unknown("hand skeleton", skeleton, orders)
    xyz_camera, xy_frame = hands_in_camera(n, rng)
    order = list(orders[skeleton])
    hidden = None
    if occlusion:
        hidden = hidden_by_flesh(xyz_camera, _BONES, _RADIUS, 8.0)[:, order]
    return as_pose(skeleton, xy_frame[:, order], hidden)
