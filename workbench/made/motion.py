"""Motion before made cameras: 2D sequences with a simulated detector and bursts of occlusion.

Real human motion (BVH clips) or procedural gaits go through random cameras to 2D and are disturbed
by a detector-noise model with bursts of occlusion, so that the input is as bad as HANet's on
Sub-JHMDB. Clips are split by style; the noise was calibrated on training clips before any model was
trained, and then frozen (`MotionWorld.digest`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from ..errors import unknown
from ..occlusion import mask_runs
from ..records import Pose
from ..skeletons import skeleton
from .bodies import skeleton_joints
from .gaits import gait_joints_mm
from .joints import Rng, Times, Xy, Xyz
from .mocap import body_joints, captured_motions
from .noise import DetectorNoise

JOINTS = skeleton("jhmdb15")
_Ways = Float[np.ndarray, "n t k 2"]
_Flags = Bool[np.ndarray, "n t k"]


@dataclass(frozen=True)
class MotionWorld:
    """How motion becomes detections. Every field is part of the digest; a change makes a new
    world.
    """

    cameras: str = "right-handed, from above"  # the first world saw people mirrored, from below
    frame_wh: tuple[int, int] = (320, 240)  # Sub-JHMDB
    fps: int = 30
    pitch_deg: tuple[float, float] = (8.0, 6.0)  # mean, std of the camera's tilt
    distance_mm: tuple[float, float] = (4000.0, 8000.0)
    height_px: tuple[float, float] = (120.0, 180.0)  # of two metres at the middle of the way
    burst_rate: float = 1 / 40  # bursts a frame
    burst_frames: tuple[int, int] = (5, 25)
    burst_share: tuple[float, float] = (0.1, 0.4)  # of the joints, along the bones
    renewal: float = 1 / 8  # how often a lasting error is drawn anew, a frame
    lasting: tuple[float, float] = (0.5, 0.8)  # share of lasting errors: seen joints, hidden joints
    box: float = 1.2  # person box over the box of the joints
    noise: tuple[tuple[str, float], ...] = (("scale", 0.045), ("miss", -1.7))
    test_styles: tuple[str, ...] = (
        "active",
        "exhausted",
        "elderly",
        "masculine",
        "feminine",
        "happy",
        "proud",
    )

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


WORLD = MotionWorld()
# near twins of test styles (elderly, exhausted), which training therefore does not see either
TWIN_STYLES = ("old", "tired")
# of the training styles, those that settings are searched on
SEARCH_STYLES = ("youthful", "angry", "musical")
# "train" is all that may be learned from; "fit" and "search" divide it for the choice of settings
SPLITS = {"train": 1, "test": 2, "fit": 3, "search": 4}


@dataclass(frozen=True)
class OtherDetector:
    """A detector of another kind than the one that networks learn with: who knows that noise well
    gains nothing here. Joints drift slowly, shake a little, stay where they were last seen while
    hidden, and pairs are exchanged for a while; sizes are shares of the person's box.

    Set so that the input's PCK@0.05 on training motions is about that of `MotionWorld`.
    """

    drift: float = 0.032  # std of an error that is forgotten within `memory` frames
    memory: float = 9.0
    shake: float = 0.011  # scale of a Laplace jitter, anew in every frame
    exchanges: float = 1 / 90  # a pair and frame
    exchanged: float = 7.0  # frames, in the mean


OTHER = OtherDetector()


@dataclass(frozen=True, eq=False)
class Sequence2D:
    """One person before one camera: truth, what a detector said, and where bursts of occlusion
    lay.
    """

    name: str
    xy_frame: Xy  # px
    detected: Xy  # px
    hidden: Bool[np.ndarray, "t k"]

    @cached_property
    def sizes(self) -> Times:
        """Longer side of the person's box, px."""
        return WORLD.box * np.ptp(self.xy_frame, axis=1).max(-1)


# --- data -----------------------------------------------------------------------------------------


def turn(xyz_mm: Xyz, rng: Rng, world: MotionWorld = WORLD) -> Xyz:
    """A body (world mm, y up) about the middle of its way in a random standing camera's axes:
    right, down, away, mm.
    """
    yaw = rng.uniform(-np.pi, np.pi)
    pitch = np.radians(rng.normal(*world.pitch_deg))
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    down = np.array(
        [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
    )
    return (xyz_mm - xyz_mm.reshape(-1, 3).mean(0)) @ (down @ about_y).T * [-1, -1, 1]


def photograph(xyz_mm: Xyz, rng: Rng, world: MotionWorld = WORLD) -> Xy:
    """The whole way of a body (world mm, y up) before one standing camera that looks at its
    middle, px.
    """
    xyz = turn(xyz_mm, rng, world)
    distance = max(rng.uniform(*world.distance_mm), 1.5 * np.abs(xyz).max())
    focal = rng.uniform(*world.height_px) * distance / 2000
    return np.array(world.frame_wh) / 2 + focal * xyz[..., :2] / (distance + xyz[..., 2:])


def bursts(n: int, t: int, rng: Rng, world: MotionWorld = WORLD) -> _Flags:
    """Joints that an occluder hides for a while: runs along the bones, a few frames to most of a
    second.
    """
    hidden = np.zeros((n, t, len(JOINTS)), bool)
    for row, count in enumerate(rng.poisson(t * world.burst_rate, n)):
        for _ in range(count):
            first = rng.integers(t)
            length = rng.integers(*world.burst_frames, endpoint=True)
            share = rng.uniform(*world.burst_share)
            hidden[row, first : first + length] |= mask_runs(1, JOINTS, share, rng)[0]
    return hidden


def detect(xy: _Ways, hidden: _Flags, rng: Rng, world: MotionWorld = WORLD) -> _Ways:
    """What the detector says of each frame: partly drawn anew, partly an error that lasts, more
    so while hidden.
    """
    return detect_scored(xy, hidden, rng, world)[0]


def detect_scored(
    xy: _Ways, hidden: _Flags, rng: Rng, world: MotionWorld = WORLD
) -> tuple[_Ways, np.ndarray]:
    """`detect`, and the detector's confidence, which lasts with the error."""
    n, t, k = hidden.shape
    flat = xy.reshape(n * t, k, 2)
    boxes = np.concatenate((flat.min(1), flat.max(1)), -1)
    pose = Pose(JOINTS.name, flat, np.where(hidden.reshape(-1, k), 1, 2), boxes)
    detected = DetectorNoise(**dict(world.noise)).apply(pose, rng)
    error = detected.xy_frame.reshape(xy.shape) - xy
    confidence = detected.confidence.reshape(hidden.shape)
    changed = np.diff(hidden, axis=1, prepend=hidden[:, :1]) != 0
    anew = (rng.random(hidden.shape) < world.renewal) | changed
    since = np.maximum.accumulate(np.where(anew, np.arange(t)[:, None], 0), axis=1)
    lasts = rng.random(hidden.shape) < np.where(hidden, world.lasting[1], world.lasting[0])
    since = np.where(lasts, since, np.arange(t)[:, None])
    lasting_error = np.take_along_axis(error, since[..., None], 1)
    return xy + lasting_error, np.take_along_axis(confidence, since, 1)


def detect_otherwise(
    xy: Float[np.ndarray, "t k 2"],
    hidden: Bool[np.ndarray, "t k"],
    rng: Rng,
    other: OtherDetector = OTHER,
) -> Xy:
    """What a detector of another kind says of a sequence, see `OtherDetector`."""
    t, k = hidden.shape
    size = np.ptp(xy, axis=1).max(-1)[:, None, None] * WORLD.box
    keeps = np.exp(-1 / other.memory)
    drift = rng.standard_normal((t, k, 2))
    for i in range(1, t):
        drift[i] = keeps * drift[i - 1] + np.sqrt(1 - keeps**2) * drift[i]
    error = other.drift * drift + rng.laplace(0, other.shake, (t, k, 2))
    places = xy.copy()
    for one, mirror in JOINTS.flip_pairs:
        for first in np.flatnonzero(rng.random(t) < other.exchanges):
            last = first + rng.geometric(1 / other.exchanged)
            places[first:last, [one, mirror]] = xy[first:last, [mirror, one]]
    seen = np.where(hidden, 0, np.arange(t)[:, None])
    last_seen = np.maximum.accumulate(seen, axis=0)
    places = np.take_along_axis(places, last_seen[..., None], 0)
    return places + size * error


def motions(
    spec: str, split: str, *, copies: int = 1, seed: int = 0, limit: int | None = None
) -> list[tuple[str, np.ndarray]]:
    """(name, xyz world mm [t 15 3]) of one of `SPLITS`: "mocap" or "mocap:PATH" (BVH, by style), or
    "synthetic" (gaits).

    copies: how often each clip comes, with other body proportions each time (not in the test
    split). limit: the first so many alone.
    """
    rng = np.random.default_rng((seed, SPLITS[split]))
    if spec == "synthetic":
        gaits = [
            gait_joints_mm(int(rng.integers(60, 200)), float(WORLD.fps), rng)
            for _ in range(60 * copies)[:limit]
        ]
        return [(f"gait{i}", skeleton_joints(j, JOINTS.name)) for i, j in enumerate(gaits)]
    if spec.partition(":")[0] != "mocap":
        raise unknown("motion", spec, ["mocap", "synthetic"])
    judged, out = split in ("test", "search"), []
    for motion in captured_motions("bandai_namco" + spec.removeprefix("mocap")):
        if in_split(motion.labels[-1], split):
            for _ in range(1 if judged else copies):
                joints = body_joints(motion, None if judged else rng)
                out.append((motion.name, skeleton_joints(joints, JOINTS.name)))
    return out[:limit]


def in_split(style: str, split: str) -> bool:
    """Whether motion capture of a style belongs to a split; near twins of test styles to none."""
    if style in WORLD.test_styles or style in TWIN_STYLES:
        return style in WORLD.test_styles and split == "test"
    return split == "train" or split == ("search" if style in SEARCH_STYLES else "fit")


def sequences(
    spec: str,
    split: str,
    *,
    cameras: int = 3,
    seed: int = 0,
    limit: int | None = None,
    other: OtherDetector | None = None,
) -> list[Sequence2D]:
    """Every motion of a split before some cameras, disturbed; the same seed gives the same
    numbers. limit: of the first so many motions alone. other: disturbs the same pictures of the
    same motions, with the same bursts.
    """
    rng, noise = np.random.default_rng((seed, 7, split == "test")), np.random.default_rng((seed, 8))
    out = []
    for name, xyz in motions(spec, split, seed=seed, limit=limit):
        for camera in range(cameras):
            xy = photograph(xyz, rng)
            hidden = bursts(1, len(xy), rng)
            detected = detect(xy[None], hidden, rng)[0]
            if other is not None:
                detected = detect_otherwise(xy, hidden[0], noise, other)
            out.append(Sequence2D(f"{name}/{camera}", xy, detected, hidden[0]))
    return out
