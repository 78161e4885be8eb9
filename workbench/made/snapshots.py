"""Somebody before a camera drawn at random: the picture, what the flesh hides, and the record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import BadParameter
from ..geometry import box_of_points
from ..records import Pose
from .joints import Frames, Rng, Xy, Xyz

FRAME_WH = (1280, 720)  # px
DISTANCES = (3.0, 30.0)  # from the camera in sizes of the object: strong to weak; unstated, ours


# How samples are blended of families (Dirichlet): mostly one or two, the rest in between; ours.
BLEND = 0.15


def check_count(n: int) -> None:
    """`BadParameter` unless something is asked for."""
    if n < 1:
        raise BadParameter(f"n is {n}, expected a count of samples", remedy="ask for 1 or more")


def photograph(
    xyz: Xyz,
    rotation: Frames,
    rng: Rng,
    long_side_px: tuple[float, float],
    distances: tuple[float, float] = DISTANCES,
) -> tuple[Xyz, Xy]:
    """Points (mm) in camera space (mm) and in the picture (px): a pinhole at `distances`, in sizes
    of the object (log-uniform).

    rotation: object to camera. The focal length is whatever makes the joints' box as long as drawn
    from `long_side_px` (log-uniform), the principal point whatever puts the box at a uniform place
    wholly inside the frame.
    """
    n = len(xyz)
    xyz = xyz - (xyz.max(1, keepdims=True) + xyz.min(1, keepdims=True)) / 2
    extent = np.linalg.norm(xyz, axis=-1).max(1, initial=1e-9)
    distance = 2 * extent * np.exp(rng.uniform(*np.log(distances), n))
    xyz = xyz @ rotation.transpose(0, 2, 1)
    xyz[..., 2] += distance[:, None]
    xy = xyz[..., :2] / xyz[..., 2:]
    low, span = xy.min(1), np.ptp(xy, axis=1)
    focal = np.exp(rng.uniform(*np.log(long_side_px), n)) / span.max(1, initial=1e-9)
    span = span * focal[:, None]
    corner = rng.random((n, 2)) * np.maximum(np.array(FRAME_WH) - 1 - span, 0)
    return xyz, (xy - low[:, None]) * focal[:, None, None] + corner[:, None]


def hidden_by_flesh(
    xyz: Xyz,
    bones: Int[np.ndarray, "b 2"],
    radius_mm: Float[np.ndarray, "b"],
    joint_mm: float,
    rows_at_once: int = 2048,
) -> Bool[np.ndarray, "n k"]:
    """Whether a capsule around a bone of a hand or body stands in front of a joint along its ray.
    xyz: camera space, mm. bones: indices of the joints at their ends. joint_mm: between a joint and
    the surface where it counts as seen.

    In the picture plane of the object's mean depth: of the part of the bone within 0.8 radius of
    the joint, the point nearest to the camera hides the joint if it is nearer by the capsule's
    radius plus half the joint's own flesh.
    """
    if len(xyz) > rows_at_once:
        pieces = np.split(xyz, range(rows_at_once, len(xyz), rows_at_once))
        flesh = (bones, radius_mm, joint_mm, rows_at_once)
        return np.concatenate([hidden_by_flesh(piece, *flesh) for piece in pieces])
    z = xyz[..., 2]
    xy = xyz[..., :2] / xyz[..., 2:] * z.mean(1)[:, None, None]
    first, last = bones.T
    bone = xy[:, last] - xy[:, first]  # [n b 2]
    length2 = np.maximum((bone**2).sum(-1), 1e-6)[:, None]  # [n 1 b]
    to_joint = xy[:, :, None] - xy[:, first][:, None]  # [n k b 2]
    # where along a bone, 0 to 1, the part near the joint has its middle, begins and ends
    middle = np.einsum("nkbc,nbc->nkb", to_joint, bone) / length2
    off2 = np.maximum((to_joint**2).sum(-1) - middle**2 * length2, 0)
    inside2 = (0.8 * radius_mm) ** 2 - off2
    half = np.sqrt(np.maximum(inside2, 0) / length2)
    begin = np.maximum(middle - half, 0)
    end = np.minimum(middle + half, 1)
    start = z[:, None, first]
    slope = z[:, None, last] - start
    nearest = np.minimum(start + begin * slope, start + end * slope)
    before = nearest < z[..., None] - (radius_mm + 0.5 * joint_mm)
    return ((inside2 > 0) & (begin <= end) & before).any(-1)


# What pictures leave of people, shares of all: unstated; ours.
CUT = {"below": 0.6, "left": 0.2, "right": 0.2, "above": 0.1}
KEPT = (0.1, 0.85)  # of a body's extent, where an edge of the picture cuts it
COVERED = 0.45  # people behind something
COVER = (0.1, 0.6)  # its sides, in long sides of the body's box
UNTOLD = 0.5  # hidden joints that an annotator leaves out
MARGIN = (0.02, 0.15)  # between the joints and the sides of the box, in its long sides
LEAST = 3  # joints that are left, or nothing is cut


def cut(pose: Pose, rng: Rng) -> Pose:
    """The same people as pictures show them: some are cut off by an edge, some stand behind
    something.

    A joint beyond an edge has visibility 0 and keeps its place, a hidden one has 0 or 1.
    Boxes surround the labelled joints and end at the edge that cuts.
    """
    n = len(pose)
    xy = pose.xy_frame.astype(float)
    low, high = xy.min(1), xy.max(1)
    size = (high - low).max(1)
    edges = np.stack([low - np.inf, high + np.inf], 1)  # n, low or high, x or y
    sides = {"left": (0, 0), "above": (0, 1), "right": (1, 0), "below": (1, 1)}
    for name, (end, axis) in sides.items():
        away = rng.uniform(*KEPT, n) * (high - low)[:, axis]
        at = high[:, axis] - away if end == 0 else low[:, axis] + away
        edges[:, end, axis] = np.where(rng.random(n) < CUT[name], at, edges[:, end, axis])
    inside = ((xy >= edges[:, :1]) & (xy <= edges[:, 1:])).all(-1)

    middle = low + rng.random((n, 2)) * (high - low)
    half = rng.uniform(*COVER, (n, 2)) * size[:, None] / 2
    covered = (np.abs(xy - middle[:, None]) < half[:, None]).all(-1)
    covered &= (rng.random(n) < COVERED)[:, None]
    visibility = np.where(covered, np.minimum(pose.visibility, 1), pose.visibility)
    untold = (visibility == 1) & (rng.random(covered.shape) < UNTOLD)
    left = inside & ~untold & pose.labelled
    enough = left.sum(1, keepdims=True) >= LEAST
    visibility = np.where(left | ~enough, visibility, 0).astype(np.int8)

    margin = rng.uniform(*MARGIN, (n, 2, 2)) * size[:, None, None] * [[[-1.0], [1.0]]]
    around = box_of_points(pose.xy_frame, visibility > 0).reshape(n, 2, 2) + margin
    edges = np.where(enough[..., None], edges, [[[-np.inf], [np.inf]]])
    boxes = np.clip(around, edges[:, :1], edges[:, 1:]).reshape(n, 4)
    return replace(
        pose, visibility=visibility, boxes_xyxy=boxes.astype(np.float32), occlusion_known=True
    )


def as_pose(skeleton: str, xy_frame: Xy, hidden: Bool[np.ndarray, "n k"] | None) -> Pose:
    """The record of n samples, each a group of its own; boxes are those of the joints. hidden: None
    where occlusion is not known.
    """
    boxes = np.concatenate([xy_frame.min(1), xy_frame.max(1)], -1)
    ids = tuple(f"synthetic{i}" for i in range(len(xy_frame)))
    known = hidden is not None
    visibility = np.where(hidden, 1, 2) if known else np.full(xy_frame.shape[:2], 2)
    return Pose(skeleton, xy_frame, visibility, boxes, known, ids=ids, groups=ids)
