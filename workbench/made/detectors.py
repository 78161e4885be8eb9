"""Keypoint detectors that differ: how far they err, what their confidence is worth, and what they
say where there is no joint.

One `DetectorNoise` is one detector. What learns from one alone believes its confidences; a detector
that it has not met errs more, or less, or says 0.3 where that one said 0.6. So every draw here is
another: other errors, left and right exchanged, joints of a neighbour, guesses at what the picture
cuts off, and confidences on a scale of its own. The ranges are ours: wide, round, fitted to no
detections.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from ..records import Detections, Pose
from ..skeletons import skeleton
from .joints import FACE, Rng
from .noise import DetectorNoise

# parameters of DetectorNoise, drawn evenly; EVEN_LOG, evenly in their logarithm; BLUNDERS, evenly
# from the low end to somewhere below the high one, the same share of the way for all of a detector
EVEN = {
    "confidence_mean": (0.3, 0.7),
    "confidence_std": (0.12, 0.25),
    "shared": (0.3, 0.7),
    "chain": (0.4, 0.85),
    "outward": (0.0, 0.25),
    "occlusion": (0.4, 1.8),
    "slope": (0.2, 1.0),
    "reach": (0.1, 0.4),
    "miss_slope": (0.3, 1.3),
    "miss_reach": (0.3, 1.0),
    "swap": (0.0, 1.5),
}
BLUNDERS = {
    "miss": (-3.5, -1.0),
    "limb": (0.0, 0.6),
    "limb_swap": (0.0, 1.0),
    "whole": (0.0, 0.35),
    "shift": (0.0, 0.08),
}
WORST = {"flipped": 0.15, "neighbour": 0.15}  # share of people, of limbs
BLINDEST = 0.5
EVEN_LOG = {"scale": (0.004, 0.07), "dof": (2.5, 12.0), "miss_blur": (0.04, 0.2)}


@dataclass(frozen=True)
class Detector:
    """One keypoint detector.

    noise: errors and confidence of joints that are there. flipped: share of people whose arms,
    legs or face have left and right exchanged, each part for itself. neighbour: share of limbs that
    are found on somebody else. guesses: how a joint that is not labelled is answered: where the box
    ends before it, anywhere in the box, at another joint; shares. doubt: difficulty of such a joint
    (see `DetectorNoise`), whose confidence is that of as hard a one. warp: confidence is raised to
    this power.
    """

    noise: DetectorNoise
    flipped: float = 0.0
    neighbour: float = 0.0
    guesses: tuple[float, float, float] = (0.0, 1.0, 0.0)
    doubt: float = 1.5
    warp: float = 1.0
    blind: float = 0.0  # std of noise on confidences' order, as normal scores

    @classmethod
    def draw(cls, rng: Rng, *, level: float | None = None, blind: float | None = None) -> Detector:
        """Another detector with every call. level: how much it blunders, 0 to 1 and beyond. None
        draws it, and `blind`, up to `BLINDEST`.
        """
        values = {name: rng.uniform(*ends) for name, ends in EVEN.items()}
        values |= {name: np.exp(rng.uniform(*np.log(ends))) for name, ends in EVEN_LOG.items()}
        level = rng.random() if level is None else level
        for name, (low, high) in BLUNDERS.items():
            values[name] = low + level * rng.random() * (high - low)
        return cls(
            noise=DetectorNoise(**{name: float(value) for name, value in values.items()}),
            **{name: float(most * level * rng.random()) for name, most in WORST.items()},
            guesses=tuple(rng.dirichlet(np.ones(3)).tolist()),
            doubt=float(rng.uniform(0.5, 2.2)),
            warp=float(np.exp(0.6 * rng.standard_normal())),
            blind=float(rng.uniform(0, BLINDEST) if blind is None else blind),
        )

    def apply(self, pose: Pose, rng: Rng) -> Detections:
        """What it says about these people; every row gets one detection, px."""
        joints = skeleton(pose.skeleton)
        said = self.noise.apply(pose, rng)
        xy = self._guessed(pose, said.xy_frame.astype(float), rng)
        xy = self._on_a_neighbour(pose, xy, joints.chains, rng)
        xy, confidence = self._exchanged(joints, xy, said.confidence.astype(float), rng)
        confidence = np.where(pose.labelled, confidence, self._of_nothing(pose, confidence, rng))
        if self.blind:
            confidence = _disordered(confidence, self.blind, rng)
        return replace(
            said,
            xy_frame=xy.astype(np.float32),
            confidence=(confidence.clip(1e-4, 1) ** self.warp).astype(np.float32),
            scores=None,
            source="Detector (synthetic)",
        )

    def _guessed(self, pose: Pose, xy: np.ndarray, rng: Rng) -> np.ndarray:
        """Answers for joints that are not labelled."""
        low, high = pose.boxes_xyxy[:, None, :2], pose.boxes_xyxy[:, None, 2:]
        size = np.ptp(pose.boxes_xyxy.reshape(-1, 2, 2), axis=1).max(1)[:, None, None]
        n, k = pose.visibility.shape
        blur = 0.06 * size * rng.standard_normal((n, k, 2))  # ours
        at_edge = np.clip(pose.xy_frame + blur, low, high)
        anywhere = low + rng.random((n, k, 2)) * (high - low)
        other = (rng.random((n, k, k)) * pose.labelled[:, None]).argmax(-1)
        at_joint = np.take_along_axis(xy, other[..., None], 1) + blur
        kind = rng.choice(3, (n, k, 1), p=self.guesses)
        guess = np.choose(kind, (at_edge, anywhere, at_joint))
        return np.where(pose.labelled[..., None], xy, guess)

    def _on_a_neighbour(self, pose: Pose, xy: np.ndarray, chains, rng: Rng) -> np.ndarray:
        """Limbs answered on the person of the row before, who is as large and stands beside."""
        low, high = pose.xy_frame.min(1), pose.xy_frame.max(1)
        size = (high - low).max(1)
        other = np.roll((pose.xy_frame - low[:, None]) / size[:, None, None], 1, axis=0)
        n = len(xy)
        beside = rng.uniform([-0.6, -0.2], [0.6, 0.2], (n, 2))  # in sizes; ours
        there = (other + beside[:, None]) * size[:, None, None] + low[:, None]
        xy = xy.copy()
        for chain in map(list, chains):
            wrong = rng.random(n) < self.neighbour
            xy[:, chain] = np.where(wrong[:, None, None], there[:, chain], xy[:, chain])
        return xy

    def _exchanged(self, joints, xy: np.ndarray, confidence: np.ndarray, rng: Rng):
        """Left and right exchanged in arms, legs or face."""
        index = np.array(joints.flip_index)
        part = np.array([_part(name) for name in joints.joints])
        wrong = (rng.random((len(xy), 3)) < self.flipped)[:, part]
        return (
            np.where(wrong[..., None], xy[:, index], xy),
            np.where(wrong, confidence[:, index], confidence),
        )

    def _of_nothing(self, pose: Pose, confidence: np.ndarray, rng: Rng) -> np.ndarray:
        """Confidence of joints that are not there: of as hard a one among those that are."""
        there = np.sort(confidence[pose.labelled])
        easy = ndtr(-(self.doubt + 0.7 * rng.standard_normal(confidence.shape)))  # 0.7: ours
        return there[(easy * (len(there) - 1)).astype(int)]


def _disordered(confidence: np.ndarray, noise: float, rng: Rng) -> np.ndarray:
    """The same confidences, less in the order of difficulty."""
    rank = (confidence.argsort(axis=None).argsort() + 0.5) / confidence.size
    order = (ndtri(rank) + noise * rng.standard_normal(rank.shape)).argsort().argsort()
    return np.sort(confidence, axis=None)[order].reshape(confidence.shape)


def _part(joint: str) -> int:
    """Which of arms, legs and face a joint belongs to."""
    if joint in FACE:
        return 2
    return int(any(name in joint for name in ("hip", "knee", "ankle")))
