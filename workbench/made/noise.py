"""What a keypoint detector makes of a pose, simulated: misses, exchanged joints, errors that hang
together, and a confidence that falls with them.

Sizes inside `DetectorNoise` are in units of the object: the long side of the box around its
labelled joints.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.csgraph import shortest_path
from scipy.special import betaincinv, gammaincinv, ndtr, ndtri

from ..errors import BadParameter, BadRecord
from ..geometry import box_of_points
from ..records import Detections, Pose
from ..skeletons import Skeleton, skeleton
from .joints import Rng


@dataclass(frozen=True)
class DetectorNoise:
    """A generative model of a keypoint detector: pose -> detections whose confidence falls with
    error and occlusion.

    Each joint has a latent difficulty z, about standard normal over joints: a part that the
    instance shares, a part correlated along the bones, a shift outwards from the root and a shift
    where the joint is occluded. Given z,
    - confidence is the quantile Phi(-z) of a Beta distribution, so its order is the order of
      difficulty and no more;
    - the error is usually a jitter: a two-dimensional Student t of scale `scale * exp(slope * z)`,
      correlated between joints that are near each other in the picture;
    - with probability Phi(miss + miss_slope * z) it is a miss instead: the detector answers near
      another joint, a near one (the neighbour on the finger, the next finger) rather than a far
      one, or the joint's left/right partner.
    Tails, misses and wrong targets go along the bones as difficulty does: a finger is lost as a
    whole. So confidence orders errors, but noisily. Lengths are fractions of the object's long
    side.

    Beyond that, errors may keep a limb together (`limb`, `limb_swap`) or the whole pose (`whole`,
    `shift`); these four are off by default, are not fitted, and make training data from which a
    model learns more than from joints that err alone.

    The defaults are ours: round numbers, chosen in sight of what `fit` finds for a light hand
    detector on real hands.
    """

    confidence_mean: float = 0.5
    confidence_std: float = 0.22
    shared: float = 0.55  # share of the variance of z that the instance has in common
    chain: float = 0.7  # correlation of the rest of z from one joint to the next on a bone
    # how much harder each joint is than the one before it on the way out from the root
    outward: float = 0.1
    occlusion: float = 1.0  # how much harder an occluded joint is than a visible one
    scale: float = 0.055
    slope: float = 0.5
    dof: float = 5.0
    root_scale: float = 1.1  # the root's jitter over that of another joint as difficult
    reach: float = 0.25  # distance over which the correlation of jitters falls to 1/e
    miss: float = -1.4
    miss_slope: float = 0.8
    miss_reach: float = 0.6  # distance over which the weight of a wrong target falls to 1/e
    miss_blur: float = 0.15  # spread around the wrong target
    # weight of the left/right partner as a wrong target; one joint at no distance has weight 1
    swap: float = 0.3
    # whole limbs turned and stretched about their base: std of the map's entries for the hardest
    limb: float = 0.0
    # whole limbs answered at a like one: probability for the hardest, times 0.45
    limb_swap: float = 0.0
    # the whole pose turned and stretched: std of the map's entries for the hardest
    whole: float = 0.0
    shift: float = 0.0  # the whole pose moved, for the hardest

    def __post_init__(self):
        for name, value in asdict(self).items():
            checks = {
                "a finite number": np.isfinite(value),
                "above 0": name not in _POSITIVE or value > 0,
                "0 to below 1": name not in _SHARES or 0 <= value < 1,
            }
            for expected, good in checks.items():
                if not good:
                    raise BadParameter(f"DetectorNoise.{name} is {value}, expected {expected}")
        if self.confidence_std**2 >= self.confidence_mean * (1 - self.confidence_mean):
            raise BadParameter(
                f"confidence_std {self.confidence_std} is too wide for mean {self.confidence_mean}"
            )

    def apply(self, pose: Pose, rng: Rng) -> Detections:
        """What the detector says about these poses (px, the frame of the pose); every row gets one
        detection.

        Occlusion counts only where `pose.occlusion_known`. A joint that is not labelled is answered
        near the middle of the box, with the confidence of a very hard joint.
        """
        joints = skeleton(pose.skeleton)
        n, k = pose.visibility.shape
        size, unit = _units(pose)
        factor = np.linalg.cholesky(self.chain ** _hops(joints) + 1e-6 * np.eye(k))

        def latent():
            """Standard normal [n k]: an instance's share and one correlated along the bones."""
            along_bones = rng.standard_normal((n, k)) @ factor.T
            instance = rng.standard_normal((n, 1))
            return np.sqrt(self.shared) * instance + np.sqrt(1 - self.shared) * along_bones

        z = self._difficulty(pose, joints, latent())
        distances = _distances(unit)
        near = np.linalg.cholesky(np.exp(-distances / self.reach) + 1e-5 * np.eye(k))
        chi2 = _through(lambda share: 2 * gammaincinv(self.dof / 2, share), latent())
        tail = np.sqrt(self.dof / chi2)
        jitter = self.jitter(z, np.arange(k) == joints.root) * tail
        error = jitter[..., None] * (near @ rng.standard_normal((n, k, 2)))

        missed = latent() < self.miss + self.miss_slope * z
        weights = self._targets(distances, joints) * pose.labelled[:, None]
        target = _pick(weights, ndtr(latent()))
        there = np.take_along_axis(unit, target[..., None], 1) - unit
        there = there + self.miss_blur * (near @ rng.standard_normal((n, k, 2)))
        error = np.where(missed[..., None], there, error)
        if self.limb or self.limb_swap or self.whole or self.shift:
            error = self._structured(error, unit, z, joints, rng)

        middle = (pose.boxes_xyxy[:, :2] + pose.boxes_xyxy[:, 2:])[:, None] / 2
        truth = np.where(pose.labelled[..., None], pose.xy_frame, middle)
        return Detections(
            pose.skeleton,
            truth + size[:, None, None] * error,
            _through(self.confidence_of, -z),
            pose.boxes_xyxy,
            images=pose.images,
            ids=pose.ids,
            source="DetectorNoise (synthetic)",
        )

    def confidence_of(self, share: np.ndarray) -> np.ndarray:
        """The confidence that this share of the joints lies below."""
        m = self.confidence_mean
        both = m * (1 - m) / self.confidence_std**2 - 1
        return betaincinv(m * both, (1 - m) * both, share)

    def jitter(self, z: np.ndarray, at_root: np.ndarray | bool) -> np.ndarray:
        """Scale of the jitter at difficulty z, in long sides of the object."""
        return self.scale * np.exp(self.slope * z) * np.where(at_root, self.root_scale, 1)

    def _difficulty(self, pose: Pose, joints: Skeleton, latent):
        """z [n k], of unit variance at the usual share of occluded joints."""
        occlusion = self.occlusion * pose.occlusion_known
        explained = _OCCLUDED_SHARE * (1 - _OCCLUDED_SHARE) * occlusion**2
        z = self.outward * _outwardness(joints) + np.sqrt(max(1 - explained, 0.1)) * latent
        z = z + occlusion * ((pose.visibility < 2) - _OCCLUDED_SHARE)
        return np.where(pose.labelled, z, np.maximum(z, 2.0))

    def _targets(self, distances, joints: Skeleton):
        """Weight of joint j being mistaken for joint i, [n k k], zero on the diagonal."""
        weights = np.exp(-distances / self.miss_reach)
        for left, right in joints.flip_pairs:
            weights[:, [left, right], [right, left]] += self.swap
        each = np.arange(len(joints))
        weights[:, each, each] = 0
        return weights

    def _structured(self, error, unit, z, joints: Skeleton, rng: Rng):
        """Errors that keep a limb together, as detectors make them: a finger turned, or answered
        at the next finger; and the whole pose turned and moved.
        """
        n = len(z)
        error = error.copy()
        hard = (0.5 + 0.22 * z).clip(0, 1)
        chains = [list(chain) for chain in joints.chains]
        centres = np.stack([unit[:, chain].mean(1) for chain in chains], 1)
        for i, chain in enumerate(chains):
            level = hard[:, chain].mean(1)
            spread = self.limb * (level - 0.1).clip(0.05, 1) ** 1.5
            turn = spread[:, None, None] * rng.standard_normal((n, 2, 2))
            error[:, chain] += (unit[:, chain] - unit[:, chain[:1]]) @ turn
            swapped = rng.random(n) < self.limb_swap * (level - 0.55).clip(0, 0.45)
            like = [j for j, other in enumerate(chains) if j != i and len(other) == len(chain)]
            if like:
                away = np.linalg.norm(centres[:, like] - centres[:, [i]], axis=-1)
                target = _pick(np.exp(-away / self.miss_reach)[:, None], rng.random((n, 1)))[:, 0]
                answered = np.array([chains[j] for j in like])[target]
                there = unit[np.arange(n)[:, None], answered] - unit[:, chain]
                there += 0.5 * error[:, chain]
                error[:, chain] = np.where(swapped[:, None, None], there, error[:, chain])
        level = hard.mean(1)[:, None, None] ** 1.5
        turn = self.whole * level * rng.standard_normal((n, 2, 2))
        error += (unit - unit.mean(1, keepdims=True)) @ turn
        return error + self.shift * level * rng.standard_normal((n, 1, 2))

    @classmethod
    def fit(cls, pose: Pose, detections: Detections) -> DetectorNoise:
        """The model that makes these detections of these poses likely; rows match, unlabelled
        joints are left out.

        Errors are measured in each pose's own long side. Difficulty is the normal score of the
        confidence's rank; jitter and misses follow by maximum likelihood given it, correlations by
        moments along bones. `occlusion` is fitted only where the poses know it; `swap` keeps its
        default. Raises `BadRecord` where rows or joints do not match or fewer than 100 joints are
        labelled.
        """
        if detections.xy_frame.shape != pose.xy_frame.shape or detections.skeleton != pose.skeleton:
            raise BadRecord(
                f"{len(detections)} {detections.skeleton} detections against {len(pose)} "
                f"{pose.skeleton} poses",
                remedy="match the rows first",
            )
        errors = _Errors(pose, detections)
        noise = cls(**errors.difficulty())
        noise = replace(noise, **errors.jitter(noise))
        return replace(noise, reach=errors.reach(noise))

    def diagnose(
        self,
        pose: Pose,
        real: Detections,
        rng: Rng,
        *,
        draws: int = 8,
        bins: int = 20,
    ) -> dict[str, np.ndarray]:
        """How well this model stands for a detector on the poses that it saw; rows match, as in
        `fit`.

        `error_real` and `error_simulated` [10 5]: quantiles `quantiles` (percent) of the joint
        error, in long sides of the object, in each tenth of the joints by confidence, lowest first,
        whose mean confidence is `confidence_tenths` [2 10] (real, simulated); `share_real` and
        `share_simulated` [bins]: share of the joints by confidence between `confidence_edges`.
        Simulated is the mean of `draws`.
        """
        quantiles = np.array([25, 50, 75, 90, 95])
        edges = np.linspace(0, 1, bins + 1)
        size = _units(pose)[0][:, None]
        use = pose.labelled & (size > 0)

        def measure(detections: Detections):
            error_px = np.linalg.norm(detections.xy_frame - pose.xy_frame, axis=-1)
            length = (error_px / np.where(size > 0, size, 1))[use]
            confidence = detections.confidence[use].astype(float)
            tenths = np.array_split(confidence.argsort(kind="stable"), 10)
            rows = [[*np.percentile(length[r], quantiles), confidence[r].mean()] for r in tenths]
            counts, _ = np.histogram(confidence.clip(0, 1), edges)
            return np.array(rows), counts / len(confidence)

        real_rows, real_share = measure(real)
        simulated = [measure(self.apply(pose, rng)) for _ in range(draws)]
        rows, share = (np.mean(values, 0) for values in zip(*simulated, strict=True))
        return {
            "quantiles": quantiles,
            "error_real": real_rows[:, :-1],
            "error_simulated": rows[:, :-1],
            "confidence_tenths": np.stack((real_rows[:, -1], rows[:, -1])),
            "confidence_edges": edges,
            "share_real": real_share,
            "share_simulated": share,
        }


_POSITIVE = ("scale", "dof", "root_scale", "reach", "miss_reach", "miss_blur", "confidence_std")
_SHARES = ("confidence_mean", "shared", "chain")
# of joints in pictures of people and hands that handle things, unstated; ours
_OCCLUDED_SHARE = 0.3


def _through(quantile, normal):
    """Standard normal values mapped to another distribution by its quantile function (by a table
    of 257 points).
    """
    grid = np.linspace(-4, 4, 257)
    return np.interp(normal, grid, quantile(ndtr(grid)))


def _pick(weights, chance):
    """Which of the last axis [... k j] a chance [... k] between 0 and 1 falls on, by weight."""
    heaped = weights.cumsum(-1)
    return (heaped < chance[..., None] * heaped[..., -1:]).sum(-1).clip(max=heaped.shape[-1] - 1)


def _units(pose: Pose):
    """Long side (px, [n]) of the labelled joints' box, and the joints [n k 2] in units of it;
    unlabelled ones lie in its middle.
    """
    xy = pose.xy_frame.astype(float)
    labelled = pose.labelled[..., None]
    joints_box = box_of_points(xy, pose.labelled)
    box = np.where(pose.labelled.any(1)[:, None], joints_box, pose.boxes_xyxy.astype(float))
    low, high = box[:, :2], box[:, 2:]
    size = (high - low).max(1)
    xy = np.where(labelled, xy, ((low + high) / 2)[:, None])
    return size, (xy - low[:, None]) / np.where(size > 0, size, 1)[:, None, None]


def _distances(unit):
    x, y = unit[..., 0], unit[..., 1]
    # 4 times np.linalg.norm's rate
    return np.sqrt((x[:, :, None] - x[:, None]) ** 2 + (y[:, :, None] - y[:, None]) ** 2)


@cache
def _hops(joints: Skeleton):
    """Bones between joints [k k]; as many as there are joints where no bones lead."""
    hops = shortest_path(joints.adjacency, unweighted=True)
    return np.where(np.isfinite(hops), hops, len(joints))


def _outwardness(joints: Skeleton):
    """Bones between each joint and the root, less their mean over the joints but the root; 0 at
    the root itself.
    """
    out = _hops(joints)[joints.root]
    away = np.arange(len(joints)) != joints.root
    return np.where(away, out - out[away].mean(), 0)


# --- fitting --------------------------------------------------------------------------------------


class _Errors:
    """A detector's errors on n poses, and the parameters that make them likely."""

    def __init__(self, pose: Pose, detections: Detections):
        from scipy.stats import rankdata

        size, self.unit = _units(pose)  # [n k 2] the poses, in long sides of the object
        self.pose = pose
        self.joints = skeleton(pose.skeleton)
        self.use = pose.labelled & (size > 0)[:, None]  # [n k]
        if self.use.sum() < 100:
            raise BadRecord(
                f"{self.use.sum()} labelled joints are too few for a fit",
                remedy="give 100 or more",
            )
        error = detections.xy_frame.astype(float) - pose.xy_frame
        self.error = error / np.where(size > 0, size, 1)[:, None, None]  # in long sides, too
        self.confidence = detections.confidence.astype(float)[self.use]
        # difficulty [n k]: the normal score of the confidence's rank; 0 where not labelled
        self.z = np.zeros(self.use.shape)
        self.z[self.use] = -ndtri((rankdata(self.confidence) - 0.5) / self.use.sum())

    def difficulty(self) -> dict[str, float]:
        """Confidence's mean and std, `outward`, `occlusion` where known, `shared` and `chain`."""
        z, use = self.z, self.use
        outwards = np.broadcast_to(_outwardness(self.joints), z.shape)
        away = use & (np.arange(len(self.joints)) != self.joints.root)
        fitted = {"outward": np.polyfit(outwards[away], z[away], 1)[0]}
        rest = z - fitted["outward"] * outwards
        hidden = use & (self.pose.visibility == 1)
        if self.pose.occlusion_known and hidden.any():
            fitted["occlusion"] = rest[hidden].mean() - rest[use & ~hidden].mean()
            rest = rest - fitted["occlusion"] * (hidden - hidden[use].mean())

        # Correlation by number of bones between: `shared` of it at any distance, the rest falls.
        hops = _hops(self.joints)
        pair = use[:, :, None] & use[:, None]
        product = np.where(pair, rest[:, :, None] * rest[:, None], 0).sum(0)
        moment = product / np.maximum(pair.sum(0), 1) / rest[use].var()
        reached, weight = np.unique(hops[hops > 0], return_counts=True)
        by_hop = np.array([moment[hops == h].mean() for h in reached])

        def loss(p):
            shared, chain = p
            return (weight * (shared + (1 - shared) * chain**reached - by_hop) ** 2).sum()

        shared, chain = minimize(loss, (0.4, 0.6), bounds=[(0, 0.99), (0, 0.99)]).x
        values = self.confidence.clip(0, 1)
        fitted |= {"confidence_mean": values.mean(), "confidence_std": values.std()}
        fitted |= {"shared": shared, "chain": chain}
        return {name: float(value) for name, value in fitted.items()}

    def jitter(self, start: DetectorNoise) -> dict[str, float]:
        """Jitter and misses by maximum likelihood; what must be positive is fitted as its
        logarithm.
        """
        names = "scale slope dof root_scale miss miss_slope miss_reach miss_blur".split()
        log = np.isin(names, _POSITIVE)
        apart = _distances(self.unit)[self.use]
        answered = (self.unit + self.error)[:, :, None]
        from_target = np.linalg.norm(answered - self.unit[:, None], axis=-1)[self.use]
        length = np.linalg.norm(self.error, axis=-1)[self.use]
        z = self.z[self.use]
        row, joint = np.nonzero(self.use)
        valid = self.use[row] & (np.arange(len(self.joints)) != joint[:, None])

        def parameters(p) -> dict[str, float]:
            return dict(zip(names, np.where(log, np.exp(p), p).tolist()))

        def loss(p):
            noise = replace(start, **parameters(p))
            s, nu = noise.jitter(z, joint == self.joints.root), noise.dof
            jitter = (1 + (length / s) ** 2 / nu) ** (-nu / 2 - 1) / (2 * np.pi * s**2)
            weight = np.where(valid, np.exp(-apart / noise.miss_reach), 0)
            blur = noise.miss_blur
            there = (weight * np.exp(-((from_target / blur) ** 2) / 2)).sum(1)
            there = there / (2 * np.pi * blur**2) / np.maximum(weight.sum(1), 1e-12)
            rate = ndtr(noise.miss + noise.miss_slope * z)
            return -np.log((1 - rate) * jitter + rate * there + 1e-12).mean()

        first = np.array([getattr(start, name) for name in names])
        first[log] = np.log(first[log])
        bounds = [(np.log(2), np.log(60)) if name == "dof" else (-6, 4) for name in names]
        return parameters(minimize(loss, first, method="L-BFGS-B", bounds=bounds).x)

    def reach(self, noise: DetectorNoise) -> float:
        """Distance at which the correlation of jitters along bones falls to 1/e; errors above three
        scales are left out.
        """
        white = self.error / noise.jitter(self.z, False)[..., None]
        use = self.use & (np.linalg.norm(white, axis=-1) < 3)
        i, j = np.array(self.joints.edges).T
        pair = use[:, i] & use[:, j]
        apart = np.linalg.norm(self.unit[:, i] - self.unit[:, j], axis=-1)[pair]
        product = (white[:, i] * white[:, j]).sum(-1)[pair]
        power = (white[use] ** 2).sum(-1).mean()

        def loss(log_reach):
            return ((product / power - np.exp(-apart / np.exp(log_reach[0]))) ** 2).mean()

        return float(np.exp(minimize(loss, [np.log(0.25)], bounds=[(-4, 2)]).x[0]))
