"""PORT trained and measured: what `train port` and `evaluate port` run.

Two trainings stand side by side.
- `faithful`: masked joint modelling as Sec. III-D and IV-B print it, on ground truth alone.
- `denoise`: masked joints keep their noisy coordinates and the confidence is a third channel;
  procedural hands disturbed by a detector-noise model, then the real truth of the training folds
  under the same noise. Ours, not the paper's.
What is shipped for bodies goes on from there: `bodies` says how.
Every threshold is chosen on training folds. Poses of one video or picture never stand on both sides
of a fold.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from .. import checkpoint, metrics
from ..data.hands import read_panoptic, read_port_panoptic
from ..data.manifest import locate
from ..data.pairing import Pairs, in_order_of, read_pairs
from ..errors import BadParameter, BadRecord, unknown
from ..geometry import rotation
from ..made.bodies import sample_bodies
from ..made.hands import sample_hands
from ..made.noise import DetectorNoise
from ..models import build, config_of
from ..models.layers import count_parameters
from ..models.port import Port, PortConfig
from ..occlusion import mask_joints
from ..predict import (
    PortRefiner,
    RefineRule,
    place_missing,
    pose_frame,
    pose_weights,
    refine_people,
    weights_path,
)
from ..records import Detections, Pose, Prediction
from ..skeletons import skeleton, titled
from ..train import Batch, BatchSource, TrainConfig
from . import bodies
from .base import (
    Learned,
    Options,
    Recipe,
    Scores,
    Task,
    Training,
    Variant,
    loaded,
    measure,
    paired,
    paper_rows,
    rows,
)

FOLDS = 5
MASK_RATIO = 0.4  # PORT Sec. IV-B
TEST_SEED = 20_261  # of the synthetic test set
# skeletons with shipped weights -> procedural poses, and what they are
SAMPLERS = {"hand21": sample_hands, "coco17": sample_bodies}
KINDS = {"hand21": "hands", "coco17": "bodies"}

# Sec. IV-B: Adam, 5e-4, batch 128, 1,000 warm-up steps, cosine. 100 epochs of about 16,000 hands
# are 12,500 steps.
PAPER_TRAIN = TrainConfig(
    steps=12_500, batch_size=128, lr=5e-4, warmup_steps=1_000, precision="bf16"
)
# On 677 hands a fold the curve is flat long before; the same recipe, shorter.
FAITHFUL_TRAIN = replace(PAPER_TRAIN, steps=1_500, warmup_steps=150)
PROCEDURAL_TRAIN = TrainConfig(
    steps=16_000,
    batch_size=64,
    lr=1e-3,
    warmup_steps=200,
    clip_norm=1.0,
    ema=0.998,
    precision="bf16",
    save_every=500,
)
FINETUNE_TRAIN = replace(PROCEDURAL_TRAIN, steps=300, lr=2e-4, warmup_steps=30, ema=0.99)
# What a detector does to a hand: single joints by DetectorNoise's defaults, and whole fingers or
# the whole hand. Set once by hand, in sight of how real errors hang together (neighbouring joints'
# errors correlate at .77); never tuned on scores.
STRUCTURE = {"limb": 0.5, "limb_swap": 0.9, "whole": 0.25, "shift": 0.065}
NOISE = DetectorNoise(**STRUCTURE)
# part of what a cached training is; raise it when batches change in a way that settings do not show
RECIPE_VERSION = 2
DENOISE = config_of("port", "denoise")
VARIANTS = {
    "denoise": Variant(DENOISE, FINETUNE_TRAIN, "procedural"),
    "faithful": Variant(PortConfig(), FAITHFUL_TRAIN),
    "leak_free": Variant(PortConfig(leak_free=True), FAITHFUL_TRAIN),
    # is it the recipe or the 677 hands? the paper's recipe, on as many made hands as it likes
    "masked_made": Variant(PortConfig(), PAPER_TRAIN),
    "masked_made_leak_free": Variant(PortConfig(leak_free=True), PAPER_TRAIN),
    "procedural": Variant(DENOISE, PROCEDURAL_TRAIN),
    "bodies_start": Variant(replace(DENOISE, skeleton="coco17"), PROCEDURAL_TRAIN),
    "bodies": Variant(config_of("port", "abstain"), bodies.TRAIN, "bodies_start"),
}
OF_BODIES = ("bodies_start", "bodies")
# of hands, what learns from made ones alone, as many as the training asks for
MADE = ("procedural", "masked_made", "masked_made_leak_free")


@dataclass(frozen=True)
class Hands:
    """What PORT learns from and is judged by, in numbers.

    candidates: quantiles of all joints' and of the root's confidences that delta may be; Eq. 14 as
    printed replaces whole joints (blend 1), so nothing else is chosen. sweep: steps, seeds and
    test hands of a point of Table III, in full and in short.
    """

    test: int = 2_000  # poses of the synthetic test set
    ship: int = 4_000  # poses on which the shipped rule is chosen
    files: int = 20  # made files of each kind on which the rule for bodies is chosen, and judged
    candidates: tuple[tuple[float, float], ...] = tuple(
        (joints, root) for joints in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6) for root in (0.1, 0.2)
    )
    paper_train: TrainConfig = PAPER_TRAIN
    sweep: Mapping[bool, tuple[int, int, int]] = field(
        default_factory=lambda: {False: (150, 1, 500), True: (1_500, 3, 2_000)}
    )


DATA = Hands()


# --- data -----------------------------------------------------------------------------------------


def pairs(
    data: str = "synthetic", *, n: int | None = None, seed: int = 0, skeleton: str = "hand21"
) -> tuple[Pose, Detections]:
    """Truth and detections, row by row: procedural hands and a simulated detector, or a data set's
    own.

    data: "synthetic", "port_panoptic" or "port_panoptic:PATH". n: how many procedural hands, or
    rows drawn at random. skeleton: of the procedural poses, hand21 or coco17.
    """
    manifest, root = locate(data)
    rng = np.random.default_rng((seed, 1, 7))  # no training step's stream
    if manifest.name == "synthetic":
        truth = SAMPLERS[skeleton](n or DATA.test, rng)
        return truth, NOISE.apply(truth, rng)
    if manifest.name != "port_panoptic":
        raise unknown("data set of PORT", manifest.name, ["synthetic", "port_panoptic"])
    hands = read_port_panoptic(root)
    truth, detected = hands.poses, hands.detections
    if n is not None and n < len(truth):
        rows = np.sort(rng.choice(len(truth), n, replace=False))
        return truth.select(rows), detected.select(rows)
    return truth, detected


def fold_of(groups: Sequence[str], folds: int = FOLDS) -> Int[np.ndarray, n]:
    """Fold of each row; a group stays whole. Largest groups first, each to the fold that is
    lightest so far.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < folds:
        raise BadParameter(f"{len(names)} groups do not fill {folds} folds")
    counts = np.bincount(index)
    load, fold = np.zeros(folds, int), np.zeros(len(names), int)
    for g in np.argsort(-counts, kind="stable"):
        fold[g] = load.argmin()
        load[fold[g]] += counts[g]
    return fold[index]


# --- batches --------------------------------------------------------------------------------------


# How a batch of `noisy_batches` differs from what the simulated detector says; chosen together with
# the noise, by hand; never tuned on scores.  # ours
SHEAR = 0.15  # std of a small linear distortion of every pose
ERROR_SCALE = 0.25  # std of the log factor of each pose's errors
BAD = 0.3  # quantile of confidence below which a joint counts as a bad one
BORROWED = 0.2  # most joints of a pose that get the error of a bad joint of another
MASKED = (0.03, 0.6)  # quantiles of confidence below which joints are hidden
LEAST = 3  # joints are hidden where the quantile hides none


def _augmented(
    xy: Float[np.ndarray, "b k 2"], rng: np.random.Generator, shear: float, upright: bool = False
) -> Float[np.ndarray, "b 2 2"]:
    """A random turn, mirror and (with `shear`) small linear distortion for each pose; the last
    alone where `upright`.
    """
    if upright:  # bodies: the sampler mirrors and tilts them as they come
        return np.eye(2) + shear * rng.standard_normal((len(xy), 2, 2))
    turn = rotation(rng.uniform(0, 2 * np.pi, len(xy)))
    turn[rng.random(len(xy)) < 0.5, 0] *= -1
    return turn @ (np.eye(2) + shear * rng.standard_normal((len(xy), 2, 2)))


def _batch(xy, truth, mask, confidence, config: PortConfig) -> Batch:
    centre, size = pose_frame(xy, pose_weights(mask, confidence, config.frame))
    arrays = {"xy": (xy - centre) / size, "truth": (truth - centre) / size}
    arrays["confidence"] = confidence
    batch = {key: torch.tensor(v, dtype=torch.float32) for key, v in arrays.items()}
    return batch | {"mask": torch.tensor(mask)}


def masked_batches(
    poses: Callable[[int, np.random.Generator], np.ndarray],
    config: PortConfig,
    size: int,
    ratio: float = MASK_RATIO,
) -> BatchSource:
    """Masked joint modelling (PORT Sec. III-D): truth in, `ratio` of its joints hidden, truth out.

    poses(n, rng) -> xy [n k 2]. Turns and mirrors are ours: the paper names no augmentation.
    """

    def source(_step: int, rng: np.random.Generator) -> Batch:
        xy = poses(size, rng)
        xy = xy @ _augmented(xy, rng, 0.0)
        mask = mask_joints(*xy.shape[:2], ratio, rng)
        return _batch(xy, xy, mask, (~mask).astype(np.float32), config)

    return source


def _borrow(
    error: np.ndarray, confidence: np.ndarray, scale: np.ndarray, rng: np.random.Generator
) -> None:
    """Some joints get the error and confidence of a bad joint of another pose, in units of the
    poses' sizes: isolated misses on easy hands. In place.
    """
    low = np.argwhere(confidence < np.quantile(confidence, BAD))
    take = rng.random(confidence.shape) < BORROWED * rng.random((len(confidence), 1))
    row, joint = low[rng.integers(len(low), size=take.sum())].T
    error[take] = error[row, joint] * (scale[np.nonzero(take)[0]] / scale[row])[:, None]
    confidence[take] = confidence[row, joint]


def _lowest(confidence: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Joints below a random quantile of the batch's confidences, never none of a pose."""
    limit = np.quantile(confidence, rng.uniform(*MASKED, len(confidence)))
    mask = confidence < limit[:, None]
    lowest = np.zeros_like(mask)
    np.put_along_axis(lowest, confidence.argsort(1)[:, :LEAST], True, 1)
    return np.where(mask.any(1, keepdims=True), mask, lowest)


def noisy_batches(
    poses: Callable[[int, np.random.Generator], Pose],
    config: PortConfig,
    size: int,
    noise: DetectorNoise = NOISE,
) -> BatchSource:
    """Denoising: detections of a simulated detector in, joints below a random confidence quantile
    marked, truth out.
    """

    def source(_step: int, rng: np.random.Generator) -> Batch:
        pose = poses(size, rng)
        detected = noise.apply(pose, rng)
        confidence = detected.confidence.copy()
        upright = bool(skeleton(pose.skeleton).flip_pairs)
        linear = _augmented(pose.xy_frame, rng, SHEAR, upright)
        truth = pose.xy_frame @ linear
        factor = np.exp(ERROR_SCALE * rng.standard_normal((size, 1, 1)))
        error = (detected.xy_frame - pose.xy_frame) @ linear * factor
        _borrow(error, confidence, np.ptp(truth, axis=1).max(-1), rng)
        mask = _lowest(confidence, rng)
        return _batch(truth + error, truth, mask, confidence, config)

    return source


def _drawn(pose: Pose) -> Callable[[int, np.random.Generator], Pose]:
    """Rows of a fixed set, drawn at random."""
    return lambda n, rng: pose.select(rng.integers(len(pose), size=n))


def _mixed(real: Pose) -> Callable[[int, np.random.Generator], Pose]:
    """Half real truth, half procedural hands."""

    def draw(n: int, rng: np.random.Generator) -> Pose:
        a = _drawn(real)(n // 2, rng)
        b = sample_hands(n - n // 2, rng)
        flags = np.concatenate((a.visibility, b.visibility))
        xy = np.concatenate((a.xy_frame, b.xy_frame))
        boxes = np.concatenate((a.boxes_xyxy, b.boxes_xyxy))
        return Pose(a.skeleton, xy, np.where(flags > 0, 2, 0), boxes, occlusion_known=False)

    return draw


# --- trainings ------------------------------------------------------------------------------------


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]


def _learns(
    config: PortConfig,
    batches: Callable[[int], BatchSource],
    settings: TrainConfig,
    loss: str,
    words: Mapping,
    label: str,
    start: Port | None = None,
) -> Training:
    """batches: (size) -> source. start: whose weights it goes on from."""
    torch.manual_seed(settings.seed)
    model = build("port", config) if start is None else copy.deepcopy(start)
    words = {"recipe_version": RECIPE_VERSION, **words}
    folder = (loss,)
    return Training("port", model, batches, settings, {loss: 1.0}, words, label, "poses", folder)


def finetuning(
    start: Port, truth: Pose, noise: DetectorNoise, settings: TrainConfig, label: str
) -> Training:
    """The `denoise` training continued on real truth under simulated noise, half a batch of it
    procedural.
    """
    words = {
        "recipe": "denoise, finetuned",
        "noise": asdict(noise),
        "truth": _digest(truth.xy_frame, truth.visibility),
        "start": _digest(*(p.detach().numpy() for p in start.parameters())),
    }
    config = start.config
    batches = lambda size: noisy_batches(_mixed(truth), config, size, noise)  # noqa: E731
    return _learns(config, batches, settings, "distance", words, label, start)


def faithful_training(
    truth: Pose, settings: TrainConfig, config: PortConfig, label: str
) -> Training:
    """Masked joint modelling on ground truth, as the paper prints it."""
    key = _digest(truth.xy_frame, truth.visibility)
    words = {"recipe": "masked joint modelling", "ratio": MASK_RATIO, "truth": key}
    draw = _drawn(truth)
    batches = partial(masked_batches, lambda n, rng: draw(n, rng).xy_frame, config)
    return _learns(config, batches, settings, "nll", words, label)


def bodies_training(start: Port, variant: Variant, settings: TrainConfig) -> Training:
    """The `denoise` training on bodies continued on people of many detectors, with a judge."""
    torch.manual_seed(settings.seed)
    model = build("port", variant.config)
    checkpoint.load_into(model, start.state_dict(), partial=True)
    words = {
        "recipe_version": RECIPE_VERSION,
        "recipe": "denoise on procedural bodies, then on those of many detectors",
        "data": "workbench.recipes.bodies:sample_file",
        "start": _digest(*(p.detach().numpy() for p in start.parameters())),
    }
    batches = partial(bodies.file_batches, variant.config)
    losses = bodies.LOSSES
    return Training("port", model, batches, settings, losses, words, "bodies", "poses", ("bodies",))


def _training(recipe: Recipe, name: str, options: Options) -> Training:
    """What is shipped: the `denoise` training on procedural poses alone, no file is read, no real
    hand or body is seen; of bodies, that goes on. The other variants learn from the user's hands,
    fold by fold.
    """
    if name not in (*MADE, *OF_BODIES):
        raise BadParameter(f"{name} is trained on real hands", remedy="name --data port_panoptic")
    variant = recipe.variants[name]
    settings = options.settings(variant.train)
    if name == "bodies":
        start = recipe.train(variant.start, options).predictor.model.cpu()
        return bodies_training(start, variant, settings)
    config, sampler = variant.config, SAMPLERS[variant.config.skeleton]
    if name.startswith("masked_made"):
        return _masked_made(config, settings, name)
    words = {
        "recipe": f"denoise on procedural {KINDS[config.skeleton]}",
        "noise": asdict(NOISE),
        # as the sampler was called when this recipe was fixed
        "data": f"workbench.data.synthetic:{sampler.__name__}",
    }
    batches = partial(noisy_batches, sampler, config)
    return _learns(config, batches, settings, "distance", words, name)


def made_hands(n: int, rng: np.random.Generator) -> Float[np.ndarray, "n k 2"]:
    return sample_hands(n, rng, occlusion=False).xy_frame


def _masked_made(
    config: PortConfig, settings: TrainConfig, label: str, ratio: float = MASK_RATIO
) -> Training:
    """Masked joint modelling on procedural hands."""
    words = {"recipe": "masked joint modelling, procedural hands", "ratio": ratio}
    batches = partial(masked_batches, made_hands, config, ratio=ratio)
    return _learns(config, batches, settings, "nll", words, label)


def _predictor(model: Port, name: str, card: Mapping) -> PortRefiner:
    """A refiner that replaces nothing yet: the rule for delta is chosen afterwards."""
    rule = RefineRule((0.0,) * len(skeleton(model.config.skeleton)), source="none yet")
    return PortRefiner(model.eval().cpu(), rule)


# --- the rule for delta ---------------------------------------------------------------------------


def quantile_rule(
    confidence: Float[np.ndarray, "n k"],
    root: int,
    joints: float,
    of_root: float,
    *,
    source: str,
    **fields,
) -> RefineRule:
    """Delta as a quantile of the training detections' confidences: one over all joints, and the
    root's own over the root's.
    """
    delta = np.full(confidence.shape[1], np.quantile(confidence, joints))
    delta[root] = np.quantile(confidence[:, root], of_root) if of_root > 0 else 0.0
    return RefineRule(tuple(float(d) for d in delta), source=source, **fields)


def choose_rule(
    model: Port,
    truth: Pose,
    detected: Detections,
    name: str,
    candidates: Sequence[tuple[float, float]] = DATA.candidates,
) -> RefineRule:
    """The candidate with the lowest sum of relative EPE and relative P-EPE (prediction to truth) on
    training rows.
    """
    root = skeleton(truth.skeleton).root
    base = errors(detected.xy_frame, truth)
    rules = []
    for joints, of_root in candidates:
        source = (
            f"lowest {joints:.0%} of the joints and {of_root:.0%} of the root's by confidence, "
            f"{name}"
        )
        quantiles = (root, joints, of_root)
        rules.append(quantile_rule(detected.confidence, *quantiles, source=source, mirror=True))

    def cost(rule: RefineRule) -> float:
        refined = errors(refine_people(PortRefiner(model, rule), detected).xy_frame, truth)
        keys = ("epe", "p_epe_pred_to_gt")
        return sum(np.nanmean(refined[key]) / np.nanmean(base[key]) for key in keys)

    return min(rules, key=cost)


# --- rows -----------------------------------------------------------------------------------------


def errors(xy_frame: Float[np.ndarray, "n k 2"], truth: Pose) -> dict[str, Float[np.ndarray, n]]:
    """EPE (root-relative, and as it stands) and P-EPE of each pose: with scale both ways, and
    rigid; px. Of labelled joints; NaN for root-relative EPE where the root is not one, and for
    P-EPE of fewer than three, which some similarity brings together.
    """
    found: dict[str, np.ndarray] = {}
    patterns, which = np.unique(truth.labelled, axis=0, return_inverse=True)
    for i, labelled in enumerate(patterns):
        rows = np.flatnonzero(which.ravel() == i)
        joints = np.flatnonzero(labelled)
        parts = (np.ascontiguousarray(xy[rows][:, joints]) for xy in (xy_frame, truth.xy_frame))
        root = np.flatnonzero(joints == skeleton(truth.skeleton).root)
        for name, values in _errors(*parts, root.tolist()).items():
            found.setdefault(name, np.full(len(truth), np.nan))[rows] = values
    return found


def _errors(
    answer: Float[np.ndarray, "n j 2"], truth: Float[np.ndarray, "n j 2"], root: Sequence[int]
) -> dict[str, Float[np.ndarray, n]]:
    """`errors` of joints that are all labelled. root: its index among them, or none."""
    found = {"epe": metrics.epe(answer, truth, root=root[0])} if root else {}
    if truth.shape[1] > 2:
        aligned = {"p_epe": "truth_to_pred", "p_epe_pred_to_gt": "pred_to_truth"}
        for name, align in (aligned | {"p_epe_rigid": "rigid"}).items():
            found[name] = metrics.p_epe(answer, truth, align=align)
    return found | {"epe_absolute": metrics.epe(answer, truth)}


def replaced_error(
    prediction: Prediction, truth: Pose, detected: Detections
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """The replaced joints' own error (px, unaligned) with PORT and of the detector, and their
    difference; and 95 % of this by group, where there are two.
    """
    share = {"replaced_share": float(prediction.replaced.mean())}
    hidden = prediction.replaced & truth.labelled
    if not hidden.any():
        return share, {}
    after, before = (
        metrics.joint_distances(xy, truth.xy_frame)[hidden]
        for xy in (prediction.xy_frame, detected.xy_frame)
    )
    groups = np.broadcast_to(np.asarray(truth.groups)[:, None], hidden.shape)[hidden]
    means = {
        "replaced_error": float(after.mean()),
        "replaced_error_detector": float(before.mean()),
        "replaced_change": float((after - before).mean()),
    }
    if len(set(groups.tolist())) < 2:
        return share | means, {}
    ends = metrics.bootstrap_interval(after - before, groups, np.random.default_rng(0))
    return share | means, {"replaced_change": ends}


def size_change(prediction: Prediction, detected: Detections) -> Float[np.ndarray, n]:
    """Refined over detected size of each pose (root mean square distance from its centre)."""
    everywhere = np.ones(detected.confidence.shape)
    refined, given = (
        pose_frame(xy.astype(np.float64), everywhere)[1]
        for xy in (prediction.xy_frame, detected.xy_frame)
    )
    return (refined / given)[:, 0, 0]


def shrunk(
    detected: Detections, factor: float | Float[np.ndarray, n]
) -> Float[np.ndarray, "n k 2"]:
    """All detections scaled about their root joint, by one factor or one each: what a smaller
    answer alone is worth.
    """
    origin = detected.xy_frame[:, [skeleton(detected.skeleton).root]]
    return origin + np.reshape(factor, (-1, 1, 1)) * (detected.xy_frame - origin)


def scores_of(
    prediction: Prediction, truth: Pose, detected: Detections, variant: str, data: str, extra: dict
) -> dict[str, list[Scores]]:
    """A refinement, its shrink control (all hands by the mean size change), and the stricter
    control (each hand by its own): what a smaller answer alone is worth.

    `*_change` is against the detector, `*_against_shrink` against the stricter control.
    """
    sizes, base = size_change(prediction, detected), errors(detected.xy_frame, truth)
    size, strict = float(sizes.mean()), shrunk(detected, sizes)

    def row(method: str, xy_frame: np.ndarray, against: Mapping, whole: Mapping, **more):
        each = errors(xy_frame, truth)
        values = each | {f"{key}_change": v - base[key] for key, v in each.items()}
        values |= {f"{key}_against_shrink": each[key] - v for key, v in against.items()}
        words = {"method": method, "variant": variant, "subset": data}
        whole = {"size_change": size, **whole}
        return [Scores(words, len(truth), values, truth.groups, whole, **more)]

    control = errors(strict, truth)
    whole, ends = replaced_error(prediction, truth, detected)
    return {
        variant: row("port", prediction.xy_frame, control, whole, ends=ends, extra=extra),
        f"{variant}, shrunk": row("shrink_control", shrunk(detected, size), {}, {}),
        f"{variant}, each shrunk": row("shrink_control_each", strict, {}, {}),
    }


def _against(scores: Scores, others: Mapping[str, Scores], measures: Iterable[str]) -> Scores:
    """With "against" for the row: paired differences to other variants, by their names."""
    if not others:
        return scores
    own = replace(scores, values={name: scores.values[name] for name in measures})
    against = {name: paired(own, other, name) for name, other in others.items()}
    return replace(scores, extra={**scores.extra, "against": against})


METRICS_TEXT = (
    "epe: root-relative, which Table I must mean, epe_absolute: as it stands; p_epe: truth aligned "
    "to prediction with scale (the paper's numbers), p_epe_pred_to_gt: prediction to truth, "
    "p_epe_rigid: without scale (the paper's text, Sec. IV); px, mean over joints, then hands; "
    "95 % bootstrap intervals by {groups}"
)
DISCLOSURE = (
    "The simulated detector's round constants were chosen in sight of these detections' "
    "statistics, variants, steps and candidate quantiles in sight of pooled results; weights and "
    "delta are clean of the judged fold"
)


def pose_task(
    truth: Pose,
    detected: Detections,
    data: str,
    variants: Sequence[str],
    learn: Callable[[str], Callable[[Detections], tuple[Prediction, dict]]],
    protocol: str,
    *,
    groups: str = "source video or picture",
    seed: int = 0,
    paper: Sequence[dict] = (),
    factors: Sequence[float] = (),
) -> Task:
    """What all evaluations of PORT measure; learn: (variant) -> what refines, and says what its row
    says beside its measures. factors: by which the detections are scaled, a row each.
    """

    def scores(_case, refiners: Mapping[str, Callable]) -> dict[str, list[Scores]]:
        words = {"method": "detector", "subset": data}
        base = errors(detected.xy_frame, truth)
        out = {"detector": [Scores(words, len(truth), base, truth.groups)]}
        for factor in factors:
            each = errors(shrunk(detected, factor), truth)
            values = each | {f"{key}_change": v - base[key] for key, v in each.items()}
            words = {"method": f"times {factor}", "subset": data}
            out[words["method"]] = [Scores(words, len(truth), values, truth.groups)]
        for name, refine in refiners.items():
            prediction, extra = refine(detected)
            found = scores_of(prediction, truth, detected, name, data, extra)
            earlier = {other: out[other][0] for other in refiners if other in out}
            out |= found | {name: [_against(found[name][0], earlier, base)]}
        return out

    return Task(
        variants=variants,
        learn=lambda name, _case: Learned(learn(name), seed=seed),
        scores=scores,
        protocol=f"{protocol}. {METRICS_TEXT.format(groups=groups)}",
        rival="detector",
        paper=paper,
        seed=seed,
    )


def refiner_task(
    refiner: PortRefiner, truth: Pose, detected: Detections, *, data: str, seed: int = 0
) -> Task:
    """Of one refiner as it stands, with the rule that its card holds."""
    what = KINDS.get(truth.skeleton, truth.skeleton)
    kind, source, groups = f"{data} {what}", "published detections", "source video or picture"
    if data == "synthetic":
        source, groups = "simulated detector", "hand"
    text = (
        f"PORT ({refiner.name}) on {len(truth)} {kind}, {source}; weights and delta from "
        f"procedural {what} alone"
    )
    text = text if data == "synthetic" else f"{text}. {DISCLOSURE}"
    refine = lambda detected: (refine_people(refiner, detected), {})  # noqa: E731
    fields = {"groups": groups, "seed": seed}
    return pose_task(truth, detected, data, ("procedural",), lambda _name: refine, text, **fields)


def evaluate_refiner(refiner: PortRefiner, truth: Pose, detected: Detections, **options) -> dict:
    """Rows of `refiner_task`."""
    return measure(refiner_task(refiner, truth, detected, **options))


# --- real hands in folds --------------------------------------------------------------------------


def training_set(path: Path, truth: Pose) -> Pose | None:
    """The user's panoptic_train.json; refused where it shares a video or picture with the test
    hands.
    """
    if not path.exists():
        return None
    poses = read_panoptic(path).poses
    if shared := sorted(set(poses.groups) & set(truth.groups)):
        raise BadRecord(
            f"{len(shared)} of its videos and pictures are also in the test set",
            file=path,
            record=shared[0],
            remedy="use the published training annotations",
        )
    return poses


@dataclass(eq=False)
class Folds:
    """Five grouped folds: everything that is trained or chosen for one fold sees the other four
    alone.

    full_train: the user's training annotations, in place of the folds' truth.
    """

    recipe: Recipe
    options: Options
    truth: Pose
    detected: Detections
    full_train: Pose | None

    def __post_init__(self):
        self.fold = fold_of(self.truth.groups)

    @cache  # noqa: B019  as `rule`
    def made(self, variant: str) -> Port:
        """Weights from procedural hands alone: the shipped ones where they are what would be
        trained.
        """
        return self.recipe.train(variant, self.options).predictor.model.cpu()

    @property
    def procedural(self) -> Port:
        return self.made("procedural")

    @property
    def of_hands(self) -> bool:
        return self.truth.skeleton == "hand21"

    def others(self, f: int) -> tuple[Pose, Detections]:
        """What is known when fold f is judged."""
        rows = np.flatnonzero(self.fold != f)
        return self.truth.select(rows), self.detected.select(rows)

    @cache  # noqa: B019  one study lives as long as one evaluation
    def rule(self, f: int, variant: str) -> RefineRule:
        """Of hands chosen with weights that have seen no real one, so that the training rows are
        new to them: a variant's own where it learned from made hands, else procedural ones'. Other
        bodies have none: as in the paper with those that have learned from the training rows.
        """
        candidates = self.recipe.own.candidates
        model = self.made(variant) if self.of_hands else self.learned(variant, f)
        return choose_rule(model, *self.others(f), "training folds", candidates)

    def settings(self, variant: str) -> TrainConfig:
        """How long a variant learns: as the paper says where there is as much to learn from."""
        train = self.recipe.variants[variant].train
        if self.full_train is not None and variant in ("faithful", "leak_free"):
            train = self.recipe.own.paper_train
        return self.options.settings(train)

    @cache  # noqa: B019  as `rule`
    def learned(self, variant: str, f: int) -> Port:
        """Weights that have learned from the others' truth, of poses all of whose joints it
        states.
        """
        truth, detected = self.others(f)
        whole = truth.labelled.all(1)
        learn_from = self.full_train or truth.select(whole)
        if not len(learn_from):
            problem = "no pose of the training folds has all its joints labelled"
            raise BadParameter(problem, remedy="judge the shipped weights: leave variants out")
        label, train = f"{variant}, fold {f + 1}/{FOLDS}", self.settings(variant)
        if variant == "denoise":
            noise = DetectorNoise.fit(truth.select(whole), detected.select(whole))
            noise = replace(noise, **STRUCTURE)
            training = finetuning(self.procedural, learn_from, noise, train, label)
        else:
            config = replace(self.recipe.variants[variant].config, skeleton=truth.skeleton)
            training = faithful_training(learn_from, train, config, label)
        return self.recipe.learn(training, self.options).predictor.model

    def refiner(self, variant: str, f: int) -> PortRefiner:
        """What judges fold f."""
        if variant in MADE:
            return PortRefiner(self.made(variant), self.rule(f, variant))
        chosen_with = "procedural" if self.of_hands else variant
        return PortRefiner(self.learned(variant, f), self.rule(f, chosen_with))

    def refine(self, variant: str, detected: Detections) -> tuple[Prediction, dict]:
        """The folds' detections, each fold by what was made without it, put together again; the
        sources of the rules.
        """
        xy, replaced = detected.xy_frame.copy(), np.zeros(detected.confidence.shape, bool)
        rules = []
        for f in range(FOLDS):
            refiner, test = self.refiner(variant, f), np.flatnonzero(self.fold == f)
            part = refine_people(refiner, detected.select(test))
            xy[test], replaced[test] = part.xy_frame, part.replaced
            rules.append(refiner.rule.source)
        confidence = detected.confidence
        whole = Prediction(detected.skeleton, xy, confidence, replaced, variant, detected)
        return whole, {"rules": rules}


def _folds_protocol(folds: Folds) -> str:
    hands, groups = len(folds.truth), len(set(folds.truth.groups))
    options, train = folds.options, folds.recipe.variants["faithful"].train
    where = (
        f"Trained on the truth of the other {FOLDS - 1} of {FOLDS} folds, grouped by {groups} "
        "videos and pictures"
    )
    if folds.full_train is not None:
        train = folds.recipe.own.paper_train
        where = f"Trained on the {len(folds.full_train)} hands of panoptic_train.json"
    capped = f". CAPPED at {options.steps} steps a training" if options.steps else ""
    return (
        f"PORT on {hands} CMU Panoptic test hands, published MobileNetV2 detections (boxes from "
        f"the truth). {where}; delta from the detections of the other folds, since none on "
        "training hands are published; pooled out-of-fold. Variants: denoise = procedural hands, "
        "then the real truth (ours); faithful = the paper's model and loss, "
        f"{train.steps:,} steps, with turns and mirrors; leak_free = faithful with masked joints "
        "out of Eq. 5; procedural = weights from procedural hands alone; masked_made, "
        "masked_made_leak_free = the paper's model, loss and schedule on procedural hands alone. "
        "All choose delta among the same candidates and answer with the mean of both mirror "
        "images. shrink_control: all detections scaled by the mean size change that PORT causes; "
        "shrink_control_each: each hand by its own. "
        f"{DISCLOSURE}{capped}"
    )


def _panoptic(recipe: Recipe, options: Options) -> Task:
    """The truth of five grouped folds trains, unless annotations/panoptic_train.json is there: then
    it does, with the paper's schedule.
    """
    usual = [name for name in recipe.variants if name not in (*OF_BODIES, *MADE[1:])]
    names = recipe.chosen(options, *usual, without=OF_BODIES)
    truth, detected = pairs(options.data, seed=options.seed)
    file = locate(options.data)[1] / "annotations" / "panoptic_train.json"
    folds = Folds(recipe, options, truth, detected, training_set(file, truth))
    # PORT Table I, MobileNetV2 on CMU Panoptic
    table = paper_rows("port", "Table I", where={"data": "CMU Panoptic"})
    return pose_task(
        truth,
        detected,
        options.name,
        names,
        lambda name: partial(folds.refine, name),
        _folds_protocol(folds),
        seed=options.seed,
        paper=[line for line in table if line["method"].startswith("MobileNetV2")],
    )


def _synthetic(recipe: Recipe, options: Options) -> Task:
    """The shipped weights on other procedural hands, or on other bodies and detectors."""
    asked = set(recipe.chosen(options, "procedural"))
    if options.steps is not None or asked not in ({"procedural"}, {"bodies"}):
        raise BadParameter(
            "on synthetic hands (or --variants bodies) the shipped weights are judged, nothing is "
            "trained",
            remedy="leave out variants and steps",
        )
    if asked == {"bodies"}:
        return _bodies_task(
            recipe,
            options,
            lambda refiner: bodies.made_scores(refiner, recipe.own.files, TEST_SEED),
            f"PORT on made people, {recipe.own.files} files of {bodies.PEOPLE} for each kind, "
            "every file of another detector; weights and rule from other made people",
            "file",
        )
    known = pairs("synthetic", n=recipe.own.test, seed=TEST_SEED)
    refiner = loaded(recipe, "port", options).predictor
    return refiner_task(refiner, *known, data="synthetic", seed=options.seed)


def _bodies_task(
    recipe: Recipe,
    options: Options,
    scores: Callable[[PortRefiner], dict[str, list[Scores]]],
    protocol: str,
    groups: str,
) -> Task:
    """Of the shipped weights for bodies as they stand."""
    path = str(weights_path("port", "coco17"))
    return Task(
        variants=("bodies",),
        learn=lambda _name, _case: replace(loaded(recipe, path, options), text="shipped weights"),
        scores=lambda _case, refiners: scores(refiners["bodies"]),
        protocol=f"{protocol}. {bodies.PROTOCOL.format(groups=groups)}",
        rival="detector",
        seed=options.seed,
    )


def _real_detections(recipe: Recipe, options: Options) -> Task:
    """The shipped weights for bodies on what a real estimator says of COCO's people."""
    if options.steps is not None or set(recipe.chosen(options, "bodies")) != {"bodies"}:
        raise BadParameter(
            "the shipped weights for bodies are judged, nothing is trained",
            remedy="leave out variants and steps",
        )
    file, truth, detected = bodies.read_in_truth_boxes(options.data)
    return _bodies_task(
        recipe,
        options,
        lambda refiner: bodies.file_scores([(truth, detected)], refiner, options.name, [truth.ids]),
        f"PORT on {len(truth)} people of {len(set(truth.images))} COCO pictures, {file.name}: an "
        "estimator's answers in true boxes, taken as one file; weights and rule from made people "
        "alone",
        "person",
    )


# --- any detections with truth --------------------------------------------------------------------

# who may be asked for on other people's data, by what has learned on whom
IN_FOLDS = ("faithful", "leak_free")
OF_HANDS = ("denoise", *IN_FOLDS, *MADE)
SHIPPED = "shipped"  # weights and rule of the shipped file, as they stand
FACTORS = (0.97, 0.95)  # detections made smaller about their root, a row each; ours
FILES_TEXT = (
    "PORT on {people} {skeleton} people of {data}, detections of {detections}{notes}. shipped: "
    "weights and rule as they are, from procedural poses alone{seen}{folds}. Errors: of labelled "
    "joints, root-relative ones to {root}; joints that the detector did not find stand by their "
    "neighbours in every row. times 0.97, times 0.95, shrink_control: all detections scaled about "
    "their root, the last by the mean size change that PORT causes; shrink_control_each: each by "
    "its own"
)
PANOPTIC_TEXT = (
    " under a simulated detector whose round constants were chosen in sight of MobileNetV2's "
    "published detections on CMU Panoptic"
)
FOLDS_TEXT = (
    "; other variants in {folds} folds, grouped by {groups} sources: trained on the truth of the "
    "other folds, {steps:,} steps at most, delta chosen on their detections{seen}"
)


def read_people(options: Options) -> Pairs:
    """The user's people, row by row with what the detector says; hands in the order of joints that
    PORT's weights have.
    """
    pairs = read_pairs(options.data, options.detections, skeleton=options.skeleton)
    joints = sorted(skeleton(pairs.truth.skeleton).joints)
    same = (name for name in SAMPLERS if sorted(skeleton(name).joints) == joints)
    name = next(same, pairs.truth.skeleton)
    truth, detected = (in_order_of(each, name) for each in pairs[:2])
    if not truth.groups:
        names = truth.images or map(str, range(len(truth)))
        truth = replace(truth, groups=tuple(names))
    return Pairs(truth, place_missing(detected), pairs.notes)


def _asked(options: Options, name: str) -> Sequence[str]:
    """The variants that are asked for on people of a skeleton, by default the shipped weights, or
    where there are none what the paper prints.
    """
    known = OF_HANDS if name == "hand21" else IN_FOLDS
    if name in SAMPLERS:
        known = (SHIPPED, *known)
    for variant in options.variants or ():
        if variant not in known:
            raise unknown(f"variant of PORT on {titled(name)}", variant, known)
    return options.variants or (known if SHIPPED not in known else (SHIPPED,))


def _files(recipe: Recipe, options: Options) -> Task:
    """Whatever has truth: the shipped weights, or variants fold by fold."""
    truth, detected, notes = read_people(options)
    name, asked = truth.skeleton, _asked(options, truth.skeleton)
    if options.steps is not None and {*asked} <= {SHIPPED}:
        remedy = "leave steps out, or name variants"
        raise BadParameter("the shipped weights are judged, nothing is trained", remedy=remedy)
    folds = None
    if {*asked} != {SHIPPED}:
        folds = Folds(recipe, options, truth, detected, None)

    def learn(variant: str) -> Callable[[Detections], tuple[Prediction, dict]]:
        if variant != SHIPPED:
            return partial(folds.refine, variant)
        refiner = loaded(recipe, str(weights_path("port", name)), options).predictor
        return lambda detected: (refine_people(refiner, detected), {})

    data = Path(options.data).name if Path(options.data).exists() else options.name
    text = FILES_TEXT.format(
        people=len(truth),
        skeleton=name,
        data=data,
        detections=Path(options.detections or detected.source or data).name,
        notes="".join(f"; {note}" for note in notes),
        seen=PANOPTIC_TEXT if name == "hand21" else "",
        folds="" if folds is None else _folds_text(folds),
        root=skeleton(name).joints[skeleton(name).root],
    )
    fields = {"seed": options.seed, "factors": FACTORS}
    return pose_task(truth, detected, data, asked, learn, text, **fields)


def _folds_text(folds: Folds) -> str:
    train = folds.settings("faithful")
    seen = "" if folds.of_hands else ", by weights that have seen these, as in the paper"
    groups = len(set(folds.truth.groups))
    return FOLDS_TEXT.format(folds=FOLDS, groups=groups, steps=train.steps, seen=seen)


# --- the shipped checkpoint -----------------------------------------------------------------------


def _card(recipe: Recipe, variant: str, learned: Learned, options: Options) -> dict:
    """The rule, chosen on other procedural poses, and what the shipped file says of its rows."""
    model, own = learned.predictor.model, recipe.own
    joints = model.config.skeleton
    what = KINDS[joints]
    if variant == "bodies":
        rule = bodies.choose_rule(learned.predictor, own.files, options.seed + 1)
        scores = bodies.made_scores(PortRefiner(model, rule), own.files, TEST_SEED)
        lines = rows(scores, rival="detector")
        measured = {f"{line['method']}, {line['subset']}": line["metrics"] for line in lines}
        data = f"synthetic, {own.files} files of {bodies.PEOPLE} bodies a kind, seed {TEST_SEED}"
        detector = (
            "simulated detectors of wide, round ranges, fitted to no detections; how good one real "
            "estimator is (mean OKS) and how its confidences spread was known"
        )
    else:
        known = pairs("synthetic", n=own.ship, seed=options.seed + 1, skeleton=joints)
        name = f"{own.ship:,} procedural {what} with simulated detections"
        rule = choose_rule(model, *known, name, own.candidates)
        test = pairs("synthetic", n=own.test, seed=TEST_SEED, skeleton=joints)
        lines = evaluate_refiner(PortRefiner(model, rule), *test, data="synthetic")["rows"]
        measured = {line["method"]: line["metrics"] for line in lines}
        data = f"synthetic, {own.test} {what}, seed {TEST_SEED}"
        detector = (
            "a simulated detector whose round constants were chosen in sight of public detections"
        )
    return {
        "rule": asdict(rule),
        "metrics": measured,
        "metrics_data": data,
        "licence": f"Apache-2.0; trained on procedural {what} alone, under {detector}",
    }


RECIPE = Recipe(
    name="port",
    title="PORT",
    variants=VARIANTS,
    training=_training,
    predictor=_predictor,
    tasks={
        "synthetic": _synthetic,
        "port_panoptic": _panoptic,
        "real_detections": _real_detections,
    },
    shipped={"procedural": "port", "bodies": "port"},
    card=_card,
    skeletons=tuple(SAMPLERS),
    steps=PROCEDURAL_TRAIN.steps,
    own=DATA,
    columns={
        "EPE": "epe",
        "absolute": "epe_absolute",
        "P-EPE": "p_epe",
        "to truth": "p_epe_pred_to_gt",
        "rigid": "p_epe_rigid",
        "EPE change": "epe_change",
        "to truth change": "p_epe_pred_to_gt_change",
        "rigid change": "p_epe_rigid_change",
        "replaced joints' error": "replaced_change",
        "size": "size_change",
        "OKS, %": "oks",
        "error, % of scale": "error",
        "replaced": "replaced_share",
    },
    compared=("oks", "error"),
    options=frozenset({"detections", "skeleton"}),
    files=_files,
)


# --- ablations, Table III -------------------------------------------------------------------------

# exponents of the feature projection, and the paper's P-EPE
PROJECTIONS = {
    "linear": ((), 7.65),
    "{1}": ((1,), 7.54),
    "{2}": ((2,), 7.40),
    "{3}": ((3,), 7.64),
    "{1,2}": ((1, 2), 7.36),
    "{1,3}": ((1, 3), 7.43),
    "{2,3}": ((2, 3), 7.38),
    "{1,2,3}": ((1, 2, 3), 7.39),
}
PAPER_MASKING = {0.1: 7.63, 0.2: 7.57, 0.3: 7.45, 0.4: 7.36, 0.5: 7.39, 0.6: 7.37}


def sweep_settings(full: bool) -> tuple[list[str], list[float]]:
    """Points of the two sweeps: all of Table III in full, a few otherwise."""
    return (list(PROJECTIONS), list(PAPER_MASKING)) if full else (["linear", "{1,2}"], [0.1, 0.4])


def sweep_protocol(full: bool) -> str:
    """What a point of the sweep is, in words."""
    steps, seeds, hands = DATA.sweep[full]
    return f"{steps:,} steps, {seeds} seed{'s' if seeds > 1 else ''}, {hands:,} test hands"


def _ablated(
    trainings: Sequence[Training],
    recipe: Recipe,
    rule: RefineRule,
    truth: Pose,
    detected: Detections,
    options: Options,
) -> dict[str, float | int]:
    """What trainings that differ in their seeds alone come to."""
    each = []
    for training in trainings:
        model = recipe.learn(training, options).predictor.model
        refined = PortRefiner(model, rule).refine(detected)
        found = errors(refined.xy_frame, truth)
        means = (found["p_epe"].mean(), found["p_epe_pred_to_gt"].mean())
        each.append((*means, size_change(refined, detected).mean()))
    p_epe, to_truth, size = np.mean(each, 0)
    lowest, highest = np.min(each, 0)[0], np.max(each, 0)[0]
    row = {"parameters": count_parameters(model), "p_epe": p_epe, "low": lowest, "high": highest}
    return row | {"p_epe_pred_to_gt": to_truth, "size": size}


def sweep(
    projections: Sequence[str],
    ratios: Sequence[float],
    *,
    full: bool,
    device: str = "auto",
    seed: int = 0,
    recipe: Recipe = RECIPE,
) -> dict[str, list[dict]]:
    """Masked joint modelling on procedural hands for each setting; refined test hands, lowest 10 %
    replaced, wrist kept.

    {"projection": rows, "one W": rows, "masking": rows, "detector": [row]}; a row has setting,
    parameters, p_epe (mean of the seeds) with low and high, p_epe_pred_to_gt, size (over the
    detected one), and the paper's P-EPE. "projection" has a W for each power, so that more powers
    make a larger network; "one W" shares it, as Eq. 4 prints it, and all are of one size.
    """
    steps, seeds, hands = recipe.own.sweep[full]
    batch = 128 if full else 64
    train = replace(FAITHFUL_TRAIN, steps=steps, warmup_steps=steps // 10, batch_size=batch)
    known = pairs("synthetic", n=hands, seed=TEST_SEED)
    confidence = pairs("synthetic", n=2_000, seed=seed + 1)[1].confidence
    rule = quantile_rule(confidence, 0, 0.1, 0.0, source="lowest 10 %")
    options = Options(device=device, progress=False)

    @cache
    def point(config: PortConfig, ratio: float = MASK_RATIO) -> dict[str, float | int]:
        settings = [replace(train, seed=s) for s in range(seed, seed + seeds)]
        trainings = [_masked_made(config, each, "port", ratio) for each in settings]
        return _ablated(trainings, recipe, rule, *known, options)

    def projected(name: str, one_weight: bool) -> dict:
        exponents, paper = PROJECTIONS[name]
        # of a single power, one W and a W for each are the same network
        shared = one_weight and len(exponents) > 1
        config = PortConfig(exponents=exponents, shared_weight=shared)
        return {"setting": name, **point(config), "paper": paper}

    base = errors(known[1].xy_frame, known[0])
    base = {key: base[key].mean() for key in ("p_epe", "p_epe_pred_to_gt")}
    return {
        "projection": [projected(name, one_weight=False) for name in projections],
        "one W": [projected(name, one_weight=True) for name in projections],
        "masking": [
            {"setting": f"{r:.0%}", **point(PortConfig(), r), "paper": PAPER_MASKING.get(r)}
            for r in ratios
        ],
        "detector": [{"setting": "detector", "parameters": 0, **base, "size": 1.0}],
    }
