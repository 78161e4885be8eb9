"""Somebody before a camera drawn at random: the picture, what the flesh hides, and the record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import BadParameter
from ..records import Pose

FRAME_WH = (1280, 720)  # px
DISTANCES = (3.0, 30.0)  # from the camera in sizes of the object: strong to weak; unstated, ours


@dataclass(frozen=True, eq=False)
class Flesh:
    """Capsules around the bones of a hand or body, which hide what lies behind them."""

    bones: Int[np.ndarray, "b 2"]  # indices of the joints at their ends
    radius_mm: Float[np.ndarray, "b"]
    joint_mm: float  # between a joint and the surface where it counts as seen


def check_count(n: int) -> None:
    """`BadParameter` unless something is asked for."""
    if n < 1:
        raise BadParameter(f"n is {n}, expected a count of samples", remedy="ask for 1 or more")


def blend_weights(
    n: int, families: int, rng: np.random.Generator
) -> Float[np.ndarray, "n families"]:
    """How n samples are blended of families: mostly one or two, the rest in between (Dirichlet
    0.15; ours).
    """
    return rng.dirichlet(np.full(families, 0.15), n)


def photograph(
    xyz: Float[np.ndarray, "n k 3"],
    rotation: Float[np.ndarray, "n 3 3"],
    rng: np.random.Generator,
    long_side_px: tuple[float, float],
) -> tuple[Float[np.ndarray, "n k 3"], Float[np.ndarray, "n k 2"]]:
    """Points (mm) in camera space (mm) and in the picture (px): a pinhole at `DISTANCES`
    (log-uniform).

    rotation: object to camera. The focal length is whatever makes the joints' box as long as drawn
    from `long_side_px` (log-uniform), the principal point whatever puts the box at a uniform place
    wholly inside the frame.
    """
    n = len(xyz)
    xyz = xyz - (xyz.max(1, keepdims=True) + xyz.min(1, keepdims=True)) / 2
    extent = np.linalg.norm(xyz, axis=-1).max(1, initial=1e-9)
    distance = 2 * extent * np.exp(rng.uniform(*np.log(DISTANCES), n))
    xyz = xyz @ rotation.transpose(0, 2, 1)
    xyz[..., 2] += distance[:, None]
    xy = xyz[..., :2] / xyz[..., 2:]
    low, span = xy.min(1), np.ptp(xy, axis=1)
    focal = np.exp(rng.uniform(*np.log(long_side_px), n)) / span.max(1, initial=1e-9)
    span = span * focal[:, None]
    corner = rng.random((n, 2)) * np.maximum(np.array(FRAME_WH) - 1 - span, 0)
    return xyz, (xy - low[:, None]) * focal[:, None, None] + corner[:, None]


def hidden_by_flesh(
    xyz: Float[np.ndarray, "n k 3"], flesh: Flesh, rows_at_once: int = 2048
) -> Bool[np.ndarray, "n k"]:
    """Whether a capsule stands in front of a joint along its ray. xyz: camera space, mm.

    In the picture plane of the object's mean depth: of the part of the bone within 0.8 radius of
    the joint, the point nearest to the camera hides the joint if it is nearer by the capsule's
    radius plus half the joint's own flesh.
    """
    chunks = range(0, len(xyz), rows_at_once)
    return np.concatenate([_hidden(xyz[i : i + rows_at_once], flesh) for i in chunks])


def _hidden(xyz: Float[np.ndarray, "n k 3"], flesh: Flesh) -> Bool[np.ndarray, "n k"]:
    z = xyz[..., 2]
    xy = xyz[..., :2] / xyz[..., 2:] * z.mean(1)[:, None, None]
    first, last = flesh.bones.T
    bone = xy[:, last] - xy[:, first]  # [n b 2]
    length2 = np.maximum((bone**2).sum(-1), 1e-6)[:, None]  # [n 1 b]
    to_joint = xy[:, :, None] - xy[:, first][:, None]  # [n k b 2]
    # where along a bone, 0 to 1, the part near the joint has its middle, begins and ends
    middle = np.einsum("nkbc,nbc->nkb", to_joint, bone) / length2
    off2 = np.maximum((to_joint**2).sum(-1) - middle**2 * length2, 0)
    inside2 = (0.8 * flesh.radius_mm) ** 2 - off2
    half = np.sqrt(np.maximum(inside2, 0) / length2)
    begin = np.maximum(middle - half, 0)
    end = np.minimum(middle + half, 1)
    z_first, z_last = z[:, None, first], z[:, None, last]
    slope = z_last - z_first
    nearest = np.minimum(z_first + begin * slope, z_first + end * slope)
    before = nearest < z[..., None] - (flesh.radius_mm + 0.5 * flesh.joint_mm)
    return ((inside2 > 0) & (begin <= end) & before).any(-1)


def as_pose(
    skeleton: str,
    xy_frame: Float[np.ndarray, "n k 2"],
    hidden: Bool[np.ndarray, "n k"],
    occlusion_known: bool,
) -> Pose:
    """The record of n samples, each a group of its own; boxes are those of the joints."""
    boxes = np.concatenate([xy_frame.min(1), xy_frame.max(1)], -1)
    ids = tuple(f"synthetic{i}" for i in range(len(xy_frame)))
    visibility = np.where(hidden, 1, 2)
    return Pose(skeleton, xy_frame, visibility, boxes, occlusion_known, ids=ids, groups=ids)
