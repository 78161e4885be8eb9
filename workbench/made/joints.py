"""People in motion as joints by name, and what every module of this room asks of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# Through t frames or instants.
Times = Float[np.ndarray, "t"]
Points = Float[np.ndarray, "t 3"]
Frames = Float[np.ndarray, "t 3 3"]  # rows are left, up and forward
Vector = Float[np.ndarray, "3"]
Frame = Float[np.ndarray, "3 3"]
Joints = dict[str, Points]  # of one person, mm
Xyz = Float[np.ndarray, "n k 3"]  # n people, or one at n instants: mm
Xy = Float[np.ndarray, "n k 2"]  # px

Rng = np.random.Generator

SIDES = ("left", "right")
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


def both_sides(rows: dict) -> dict:
    """The rows of a table, each for left and right: `elbow` becomes `left_elbow`, `right_elbow`."""
    return {f"{side}_{name}": row for side in SIDES for name, row in rows.items()}


def unit(v: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Vectors of length 1; zero stays zero."""
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def mirrored(joints: Joints) -> Joints:
    """The person with left and right exchanged, and x turned about."""
    other = {"left": "right", "right": "left"}
    swapped = {}
    for name, xyz in joints.items():
        partner = "_".join(other.get(word, word) for word in name.split("_"))
        swapped[partner] = xyz * [-1, 1, 1]
    return swapped


def between(
    xyz: Float[np.ndarray, "*k t 3"], at: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "*k n 3"]:
    """Positions at fractional frames, on cubic curves through the frames (Catmull-Rom); exact at
    the frames.
    """
    last = xyz.shape[-2] - 1
    i = np.clip(np.floor(at).astype(int), 0, last - 1)
    u = (at - i)[:, None]
    p0, p1, p2, p3 = (xyz[..., np.clip(i + k, 0, last), :] for k in (-1, 0, 1, 2))
    quadratic = 2 * p0 - 5 * p1 + 4 * p2 - p3
    cubic = 3 * (p1 - p2) + p3 - p0
    return p1 + u / 2 * (p2 - p0 + u * (quadratic + u * cubic))
