"""PORT's data, trainings, protocol and tables: what `train port` and `evaluate port` run.

Two trainings stand side by side.
- `faithful`: masked joint modelling as Sec. III-D and IV-B print it, on ground truth alone.
- `denoise`: masked joints keep their noisy coordinates and the confidence is a third channel;
  procedural hands disturbed by a detector-noise model, then the real truth of the training folds
  under the same noise. Ours, not the paper's.
Every threshold is chosen on training folds. Poses of one video or picture never stand on both sides
of a fold.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from .. import checkpoint, metrics
from ..data.hands import read_panoptic, read_port_panoptic
from ..data.manifest import locate
from ..errors import BadParameter, BadRecord, unknown
from ..geometry import rotation
from ..made.bodies import sample_bodies, sample_hands
from ..made.noise import DetectorNoise
from ..models import build, config_of
from ..models.port import Port, PortConfig
from ..occlusion import mask_joints
from ..predict import PortRefiner, RefineRule, load, pose_frame, pose_weights, weights_path
from ..records import Detections, Pose, Prediction
from ..skeletons import skeleton
from ..train import (
    Batch,
    TrainConfig,
    TrainResult,
    choose_device,
    fingerprint,
    settings_of,
    share,
    train,
    trained_folder,
)

SCHEMA_VERSION = 1
FOLDS = 5
MASK_RATIO = 0.4  # PORT Sec. IV-B
TEST_SEED, TEST_HANDS = 20_261, 2_000  # the synthetic test set of `evaluate port --data synthetic`
SHIP_HANDS = 4_000  # hands on which the shipped rule is chosen
# skeletons with shipped weights -> procedural poses
SAMPLERS = {"hand21": sample_hands, "coco17": sample_bodies}
_KIND = {"hand21": "hands", "coco17": "bodies"}

# Sec. IV-B: Adam, 5e-4, batch 128, 1,000 warm-up steps, cosine. 100 epochs of about 16,000 hands
# are 12,500 steps.
PAPER_TRAIN = TrainConfig(steps=12_500, batch_size=128, lr=5e-4, warmup_steps=1_000)
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
SHIPPED_TRAIN = PROCEDURAL_TRAIN
# What a detector does to a hand: single joints by DetectorNoise's defaults, and whole fingers or
# the whole hand. Set once by hand, in sight of how real errors hang together (neighbouring joints'
# errors correlate at .77);
# never tuned on scores.
STRUCTURE = {"limb": 0.5, "limb_swap": 0.9, "whole": 0.25, "shift": 0.065}
NOISE = DetectorNoise(**STRUCTURE)
# part of what a cached training is; raise it when batches change in a way that settings do not show
RECIPE = 2


# --- data -----------------------------------------------------------------------------------------


def pairs(
    data: str = "synthetic", *, n: int | None = None, seed: int = 0, skeleton: str = "hand21"
) -> tuple[Pose, Detections]:
    """Truth and detections, row by row: procedural hands and a simulated detector, or a data set's
    own.

    data: "synthetic", "port_panoptic" or "port_panoptic:PATH". n: how many procedural hands, or
    rows drawn at random. skeleton: of the procedural poses, hand21 or coco17.
    """
    found, root = locate(data)
    rng = np.random.default_rng((seed, 1, 7))  # no training step's stream
    if found.name == "synthetic":
        truth = SAMPLERS[skeleton](n or TEST_HANDS, rng)
        return truth, NOISE.apply(truth, rng)
    if found.name != "port_panoptic":
        raise unknown("data set of PORT", found.name, ["synthetic", "port_panoptic"])
    hands = read_port_panoptic(root)
    truth, detected = hands.poses, hands.detections
    if n is not None and n < len(truth):
        rows = np.sort(rng.choice(len(truth), n, replace=False))
        return truth.select(rows), detected.select(rows)
    return truth, detected


def fold_of(groups: Sequence[str], folds: int = FOLDS) -> Int[np.ndarray, "n"]:
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
    arrays = {
        "xy": (xy - centre) / size,
        "truth": (truth - centre) / size,
        "confidence": confidence,
    }
    return {k: torch.tensor(v, dtype=torch.float32) for k, v in arrays.items()} | {
        "mask": torch.tensor(mask)
    }


def masked_batches(
    poses: Callable[[int, np.random.Generator], np.ndarray],
    config: PortConfig,
    size: int,
    ratio: float = MASK_RATIO,
) -> Callable[[int, np.random.Generator], Batch]:
    """Masked joint modelling (PORT Sec. III-D): truth in, `ratio` of its joints hidden, truth out.

    poses(n, rng) -> xy [n k 2]. Turns and mirrors are ours: the paper names no augmentation.
    """

    def source(_step: int, rng: np.random.Generator) -> Batch:
        xy = poses(size, rng)
        xy = xy @ _augmented(xy, rng, 0.0)
        mask = mask_joints(*xy.shape[:2], ratio, rng)
        return _batch(xy, xy, mask, (~mask).astype(np.float32), config)

    return source


def noisy_batches(
    poses: Callable[[int, np.random.Generator], Pose],
    config: PortConfig,
    size: int,
    noise: DetectorNoise = NOISE,
) -> Callable[[int, np.random.Generator], Batch]:
    """Denoising: detections of a simulated detector in, joints below a random confidence
    quantile marked, truth out.
    """

    def source(_step: int, rng: np.random.Generator) -> Batch:
        pose = poses(size, rng)
        found = noise.apply(pose, rng)
        confidence = found.confidence.copy()
        linear = _augmented(
            pose.xy_frame, rng, 0.15, upright=bool(skeleton(pose.skeleton).flip_pairs)
        )
        truth = pose.xy_frame @ linear
        error = (
            (found.xy_frame - pose.xy_frame)
            @ linear
            * np.exp(0.25 * rng.standard_normal((size, 1, 1)))
        )
        # some joints get the error and confidence of a bad joint of another pose: isolated misses
        # on easy hands
        low = np.argwhere(confidence < np.quantile(confidence, 0.3))
        take = rng.random(confidence.shape) < 0.2 * rng.random((size, 1))
        row, joint = low[rng.integers(len(low), size=take.sum())].T
        scale = np.ptp(truth, axis=1).max(-1)
        error[take] = error[row, joint] * (scale[np.nonzero(take)[0]] / scale[row])[:, None]
        confidence[take] = confidence[row, joint]
        limit = np.quantile(confidence, rng.uniform(0.03, 0.6, size))
        mask = confidence < limit[:, None]
        lowest = np.zeros_like(mask)
        np.put_along_axis(lowest, confidence.argsort(1)[:, :3], True, 1)
        mask = np.where(mask.any(1, keepdims=True), mask, lowest)
        return _batch(truth + error, truth, mask, confidence, config)

    return source


def _drawn(pose: Pose) -> Callable[[int, np.random.Generator], Pose]:
    """Rows of a fixed set, drawn at random."""
    return lambda n, rng: pose.select(rng.integers(len(pose), size=n))


def _mixed(real: Pose) -> Callable[[int, np.random.Generator], Pose]:
    """Half real truth, half procedural hands."""

    def draw(n: int, rng: np.random.Generator) -> Pose:
        a, b = _drawn(real)(n // 2, rng), sample_hands(n - n // 2, rng)
        flags = np.concatenate((a.visibility, b.visibility))
        xy, boxes = (
            np.concatenate((getattr(a, f), getattr(b, f))) for f in ("xy_frame", "boxes_xyxy")
        )
        return Pose(a.skeleton, xy, np.where(flags > 0, 2, 0), boxes, occlusion_known=False)

    return draw


# --- trainings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """A PORT with where its weights lie; the rule for delta is chosen afterwards, on training
    detections.
    """

    model: Port
    result: TrainResult


cache_folder = partial(trained_folder, "port")


def _digest(pose: Pose) -> str:
    return hashlib.sha256(pose.xy_frame.tobytes() + pose.visibility.tobytes()).hexdigest()[:16]


def _weights_digest(model: Port) -> str:
    return hashlib.sha256(
        b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    ).hexdigest()[:16]


def _train(
    config: PortConfig,
    source,
    settings: TrainConfig,
    loss: str,
    card: Mapping,
    *,
    out: Path | None = None,
    start: Port | None = None,
    device: str = "auto",
    progress: bool = True,
    label: str = "port",
) -> Trained:
    torch.manual_seed(settings.seed)
    model = build("port", config) if start is None else copy.deepcopy(start)
    card = {"model": "port", "config": asdict(config), "recipe_version": RECIPE, **card}
    out = out or cache_folder() / fingerprint(settings_of(settings), loss, card)
    result = train(
        model,
        source,
        settings,
        out,
        loss_weights={loss: 1.0},
        card=card,
        device=device,
        progress=progress,
        label=label,
    )
    return Trained(model.eval().cpu(), result)


def train_procedural(
    settings: TrainConfig = PROCEDURAL_TRAIN, *, config: PortConfig | None = None, **options
) -> Trained:
    """The `denoise` training on procedural poses alone: no file is read, no real hand or body is
    seen.
    """
    config = config or config_of("port", "denoise")
    sampler = SAMPLERS[config.skeleton]
    source = noisy_batches(sampler, config, share(settings.batch_size))
    card = {
        "recipe": f"denoise on procedural {_KIND[config.skeleton]}",
        "noise": NOISE.to_dict(),
        "data": f"workbench.data.synthetic:{sampler.__name__}",
    }
    return _train(config, source, settings, "distance", card, label="procedural", **options)


def train_finetuned(
    start: Port,
    truth: Pose,
    noise: DetectorNoise,
    settings: TrainConfig = FINETUNE_TRAIN,
    **options,
) -> Trained:
    """The `denoise` training continued on real truth under simulated noise, half a batch of it
    procedural.
    """
    source = noisy_batches(_mixed(truth), start.config, share(settings.batch_size), noise)
    card = {
        "recipe": "denoise, finetuned",
        "noise": noise.to_dict(),
        "truth": _digest(truth),
        "start": _weights_digest(start),
    }
    return _train(start.config, source, settings, "distance", card, start=start, **options)


def train_faithful(
    truth: Pose,
    settings: TrainConfig = FAITHFUL_TRAIN,
    *,
    config: PortConfig | None = None,
    ratio: float = MASK_RATIO,
    **options,
) -> Trained:
    """Masked joint modelling on ground truth, as the paper prints it."""
    config = config or PortConfig(skeleton=truth.skeleton)
    source = masked_batches(
        lambda n, rng: _drawn(truth)(n, rng).xy_frame, config, share(settings.batch_size), ratio
    )
    card = {"recipe": "masked joint modelling", "ratio": ratio, "truth": _digest(truth)}
    return _train(config, source, settings, "nll", card, **options)


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


# Eq. 14 as printed replaces whole joints (blend 1), so only the two quantiles are chosen.
CANDIDATES = [(joints, root) for joints in (0.05, 0.1, 0.2, 0.3) for root in (0.1, 0.2)]


def choose_rule(model: Port, truth: Pose, detected: Detections, name: str) -> RefineRule:
    """The candidate with the lowest sum of relative EPE and relative P-EPE (prediction to truth)
    on training rows.
    """
    root = skeleton(truth.skeleton).root

    def cost(xy):
        return sum(
            (
                metrics.epe(xy, truth.xy_frame, root=root).mean(),
                metrics.p_epe(xy, truth.xy_frame, align="pred_to_truth").mean(),
            )
            / np.array(base)
        )

    base = (
        metrics.epe(detected.xy_frame, truth.xy_frame, root=root).mean(),
        metrics.p_epe(detected.xy_frame, truth.xy_frame, align="pred_to_truth").mean(),
    )
    best = (np.inf, None)
    for joints, of_root in CANDIDATES:
        source = f"lowest {joints:.0%} of the joints and {of_root:.0%} of the root's by confidence, {name}"
        rule = quantile_rule(detected.confidence, root, joints, of_root, source=source, mirror=True)
        best = min(
            best,
            (cost(PortRefiner(model, rule).refine(detected).xy_frame), rule),
            key=lambda t: t[0],
        )
    return best[1]


# --- rows -----------------------------------------------------------------------------------------


def errors(xy_frame: Float[np.ndarray, "n k 2"], truth: Pose) -> dict[str, Float[np.ndarray, "n"]]:
    """EPE (root-relative) and P-EPE both ways of each pose, px."""
    return {
        "epe": metrics.epe(xy_frame, truth.xy_frame, root=skeleton(truth.skeleton).root),
        "p_epe": metrics.p_epe(xy_frame, truth.xy_frame, align="truth_to_pred"),
        "p_epe_pred_to_gt": metrics.p_epe(xy_frame, truth.xy_frame, align="pred_to_truth"),
    }


def _means(each: Mapping[str, np.ndarray], groups: Sequence[str], seed: int) -> tuple[dict, dict]:
    """Means and their bootstrap intervals by group; the same groups are drawn for every value."""
    groups = np.asarray(groups)
    intervals = {
        k: metrics.bootstrap_interval(v, groups, np.random.default_rng(seed))
        for k, v in each.items()
    }
    return {k: float(v.mean()) for k, v in each.items()}, intervals


def score(
    xy_frame: Float[np.ndarray, "n k 2"], truth: Pose, groups: Sequence[str], seed: int = 0
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Mean errors, px, with bootstrap intervals by group."""
    return _means(errors(xy_frame, truth), groups, seed)


def replaced_error(
    prediction: Prediction, truth: Pose, detected: Detections, seed: int = 0
) -> tuple[dict, dict]:
    """The replaced joints' own error (px, unaligned) with PORT and of the detector, and their
    difference by group.
    """
    hidden = prediction.replaced
    if not hidden.any():
        return {"replaced_share": 0.0}, {}
    after = metrics.joint_distances(prediction.xy_frame, truth.xy_frame)[hidden]
    before = metrics.joint_distances(detected.xy_frame, truth.xy_frame)[hidden]
    groups = np.broadcast_to(np.asarray(truth.groups)[:, None], hidden.shape)[hidden]
    values = {
        "replaced_share": float(hidden.mean()),
        "replaced_error": float(after.mean()),
        "replaced_error_detector": float(before.mean()),
        "replaced_change": float((after - before).mean()),
    }
    interval = metrics.bootstrap_interval(after - before, groups, np.random.default_rng(seed))
    return values, {"replaced_change": interval}


def size_change(prediction: Prediction, detected: Detections) -> Float[np.ndarray, "n"]:
    """Refined over detected size of each pose (root mean square distance from its centre)."""
    everywhere = np.ones(detected.confidence.shape)
    sizes = [
        pose_frame(xy.astype(np.float64), everywhere)[1]
        for xy in (prediction.xy_frame, detected.xy_frame)
    ]
    return (sizes[0] / sizes[1])[:, 0, 0]


def shrunk(
    detected: Detections, factor: float | Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n k 2"]:
    """All detections scaled about their root joint, by one factor or one each: what a smaller
    answer alone is worth.
    """
    origin = detected.xy_frame[:, [skeleton(detected.skeleton).root]]
    return origin + np.reshape(factor, (-1, 1, 1)) * (detected.xy_frame - origin)


def _row(
    method: str,
    data: str,
    n: int,
    values: dict,
    intervals: dict,
    seed: int,
    variant: str | None = None,
    **more,
) -> dict:
    row = {
        "method": method,
        **({"variant": variant} if variant else {}),
        "subset": data,
        "seed": seed,
        "kind": "measured",
        "n": n,
    }
    return row | {"metrics": values, "intervals": {k: list(v) for k, v in intervals.items()}} | more


def rows_of(
    prediction: Prediction,
    truth: Pose,
    detected: Detections,
    *,
    variant: str,
    data: str,
    seed: int,
    **more,
) -> list[dict]:
    """A refinement's row, its shrink control's (all hands by the mean size change), and the
    stricter control's (each hand by its own). `*_change` is against the detector,
    `*_against_shrink` against the stricter control; both are paired.
    """
    own_size = size_change(prediction, detected)
    factor = float(own_size.mean())
    poses = {
        "port": prediction.xy_frame,
        "shrink_control": shrunk(detected, factor),
        "shrink_control_each": shrunk(detected, own_size),
    }
    each = {method: errors(xy, truth) for method, xy in poses.items()}
    base = errors(detected.xy_frame, truth)
    rows = []
    for method, found in each.items():
        differences = {f"{k}_change": v - base[k] for k, v in found.items()}
        if method == "port":
            differences |= {
                f"{k}_against_shrink": v - each["shrink_control_each"][k] for k, v in found.items()
            }
        values, intervals = _means(found | differences, truth.groups, seed)
        if method == "port":
            own, own_interval = replaced_error(prediction, truth, detected, seed)
            values, intervals = values | own, intervals | own_interval
        rows.append(
            _row(
                method, data, len(truth), values | {"size_change": factor}, intervals, seed, variant
            )
        )
    rows[0] |= more
    return rows


def detector_row(truth: Pose, detected: Detections, *, data: str, seed: int) -> dict:
    return _row(
        "detector", data, len(truth), *score(detected.xy_frame, truth, truth.groups, seed), seed
    )


METRICS_TEXT = (
    "epe: root-relative end point error; p_epe: truth aligned to prediction with scale (the "
    "paper's); p_epe_pred_to_gt: "
    "prediction aligned to truth; px, mean over joints, then hands; 95 % bootstrap intervals by "
    "{groups}"
)
DISCLOSURE = (
    "The simulated detector's constants are round numbers chosen in sight of these detections' "
    "statistics, and variants, "
    "steps and candidate quantiles were developed in sight of pooled results; weights and delta "
    "are clean of the judged fold"
)


def _result(protocol: str, rows: Iterable[dict], groups: str) -> dict:
    return {
        "schema_version": SCHEMA_VERSION,
        "protocol": f"{protocol}. {METRICS_TEXT.format(groups=groups)}",
        "rows": list(rows),
    }


def evaluate_refiner(
    refiner: PortRefiner, truth: Pose, detected: Detections, *, data: str, seed: int = 0
) -> dict:
    """Rows of one refiner as it stands, with the rule that its card holds."""
    made = data == "synthetic"
    what = _KIND.get(truth.skeleton, truth.skeleton)
    kind = (
        f"synthetic {what}, simulated detector" if made else f"{data} {what}, published detections"
    )
    protocol = f"PORT ({refiner.name}) on {len(truth)} {kind}; weights and delta from procedural {what} alone"
    if not made:
        protocol += f". {DISCLOSURE}"
    rows = rows_of(
        refiner.refine(detected), truth, detected, variant="procedural", data=data, seed=seed
    )
    return _result(
        protocol,
        [detector_row(truth, detected, data=data, seed=seed), *rows],
        "hand" if made else GROUPS,
    )


GROUPS = "source video or picture"


def flat(result: Mapping) -> list[dict]:
    """Rows for a table: method, variant and metrics side by side, changes with their intervals."""

    def changed(row: Mapping, key: str) -> str | None:
        value, interval = row["metrics"].get(key), row.get("intervals", {}).get(key)
        return (
            None
            if value is None or interval is None
            else f"{value:+.2f} [{interval[0]:+.2f}, {interval[1]:+.2f}]"
        )

    shown = {"epe": "EPE", "p_epe": "P-EPE", "p_epe_pred_to_gt": "P-EPE to truth"}
    return [
        {
            "method": r["method"],
            "variant": r.get("variant"),
            **{text: r["metrics"].get(m) for m, text in shown.items()},
        }
        | {
            "EPE change": changed(r, "epe_change"),
            "P-EPE to truth change": changed(r, "p_epe_pred_to_gt_change"),
        }
        | {
            "replaced joints' error": changed(r, "replaced_change"),
            "size": r["metrics"].get("size_change"),
            "kind": r["kind"],
        }
        for r in result["rows"]
    ]


# --- evaluate -------------------------------------------------------------------------------------

PAPER_ROWS = [
    {
        "method": "detector",
        "subset": "port_panoptic",
        "kind": "paper",
        "n": 846,
        "metrics": {"epe": 15.27, "p_epe": 7.76},
    },
    {
        "method": "port",
        "subset": "port_panoptic",
        "kind": "paper",
        "n": 846,
        "metrics": {"epe": 15.15, "p_epe": 7.46},
    },
]  # PORT Table I, MobileNetV2 on CMU Panoptic
VARIANTS = ("denoise", "faithful", "leak_free", "procedural")


def _out_of_fold(
    truth: Pose,
    detected: Detections,
    fold: np.ndarray,
    refiner_for: Callable[[np.ndarray, int], PortRefiner],
):
    """Each fold refined by what was trained and chosen on the others, put together again; and
    the rules.
    """
    xy, replaced = detected.xy_frame.copy(), np.zeros(detected.confidence.shape, bool)
    rules = []
    for f in np.unique(fold):
        refiner = refiner_for(np.flatnonzero(fold != f), int(f))
        test = np.flatnonzero(fold == f)
        part = refiner.refine(detected.select(test))
        xy[test], replaced[test] = part.xy_frame, part.replaced
        rules.append(refiner.rule.source)
    return Prediction(truth.skeleton, xy, detected.confidence, replaced, "port", detected), rules


def evaluate(
    data: str = "port_panoptic",
    *,
    variants: Sequence[str] | None = None,
    seed: int = 0,
    steps: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> dict:
    """PORT's protocol on a data set: {schema_version, protocol, rows}. Trained folds are cached and
    reused.

    On `port_panoptic` the truth of five grouped folds trains, unless
    annotations/panoptic_train.json is there: then it does, with the paper's schedule. On
    "synthetic" the shipped weights are judged. steps: caps every training, for tests.
    """
    for v in variants or ():
        if v not in VARIANTS:
            raise unknown("variant of PORT", v, VARIANTS)
    truth, detected = pairs(data, seed=TEST_SEED if data == "synthetic" else seed)
    if data == "synthetic":
        if steps is not None or tuple(variants or ("procedural",)) != ("procedural",):
            raise BadParameter(
                "on synthetic hands the shipped weights are judged, nothing is trained",
                remedy="leave out variants and steps",
            )
        return evaluate_refiner(
            load("port", device=choose_device(device)), truth, detected, data=data, seed=seed
        )
    given = locate(data)[1] / "annotations" / "panoptic_train.json"
    study = _Study(
        truth,
        detected,
        _training_set(given, truth),
        seed,
        steps,
        {"device": device, "progress": progress},
    )
    name = data.partition(":")[0]
    rows = [detector_row(truth, detected, data=name, seed=seed)]
    for variant in variants or VARIANTS:
        prediction, used = study.out_of_fold(variant)
        rows += rows_of(
            prediction, truth, detected, variant=variant, data=name, seed=seed, rules=used
        )
    return _result(study.protocol(), rows + PAPER_ROWS, GROUPS)


def _training_set(path: Path, truth: Pose) -> Pose | None:
    """The user's panoptic_train.json; refused where it shares a video or picture with the test
    hands.
    """
    if not path.exists():
        return None
    found = read_panoptic(path).poses
    shared = sorted(set(found.groups) & set(truth.groups))
    if shared:
        raise BadRecord(
            f"{len(shared)} of its videos and pictures are also in the test set",
            file=path,
            record=shared[0],
            remedy="use the published training annotations",
        )
    return found


@dataclass(eq=False)
class _Study:
    """Five grouped folds: everything that is trained or chosen for one fold sees the other four
    alone.
    """

    truth: Pose
    detected: Detections
    full_train: Pose | None  # the user's training annotations, in place of the folds' truth
    seed: int
    steps: int | None
    options: dict

    def __post_init__(self):
        self.fold = fold_of(self.truth.groups)

    @cached_property
    def procedural(self) -> Port:
        """Weights from procedural hands alone: the shipped ones where they are what would be
        trained.
        """
        settings = self.capped(PROCEDURAL_TRAIN)
        card = checkpoint.read_card(weights_path("port"))
        if card.get("train") == settings_of(settings) and card.get("noise") == NOISE.to_dict():
            return load("port").model
        return train_procedural(settings, **self.options).model

    def capped(self, settings: TrainConfig) -> TrainConfig:
        settings = replace(settings, seed=self.seed)
        if self.steps is None or self.steps >= settings.steps:
            return settings
        return replace(
            settings, steps=self.steps, warmup_steps=min(settings.warmup_steps, self.steps // 5)
        )

    def others(self, f: int) -> tuple[Pose, Detections]:
        rows = np.flatnonzero(self.fold != f)
        return self.truth.select(rows), self.detected.select(rows)

    @cache  # noqa: B019  one study lives as long as one evaluation
    def rule(self, f: int) -> RefineRule:
        """Chosen with weights that have seen no real hand, so that the training rows are new to
        them.
        """
        return choose_rule(self.procedural, *self.others(f), "training folds")

    def refiner(self, variant: str, f: int) -> PortRefiner:
        truth, detected = self.others(f)
        label = {**self.options, "label": f"{variant}, fold {f + 1}/{FOLDS}"}
        if variant == "procedural":
            return PortRefiner(self.procedural, self.rule(f))
        if variant == "denoise":
            noise = replace(DetectorNoise.fit(truth, detected), **STRUCTURE)
            train_on = self.full_train or truth
            trained = train_finetuned(
                self.procedural, train_on, noise, self.capped(FINETUNE_TRAIN), **label
            )
            return PortRefiner(trained.model, self.rule(f))
        config = PortConfig(skeleton=truth.skeleton, leak_free=variant == "leak_free")
        settings = self.capped(FAITHFUL_TRAIN if self.full_train is None else PAPER_TRAIN)
        trained = train_faithful(self.full_train or truth, settings, config=config, **label)
        source = "lowest 10% by confidence of the training folds' detections, wrist kept"
        root = skeleton(truth.skeleton).root
        return PortRefiner(
            trained.model, quantile_rule(detected.confidence, root, 0.1, 0.0, source=source)
        )

    def out_of_fold(self, variant: str) -> tuple[Prediction, list[str]]:
        """Every fold refined by what was made without it, put together again; and the rules that
        were used.
        """
        xy, replaced = self.detected.xy_frame.copy(), np.zeros(self.detected.confidence.shape, bool)
        used = []
        for f in range(FOLDS):
            refiner = self.refiner(variant, f)
            test = np.flatnonzero(self.fold == f)
            part = refiner.refine(self.detected.select(test))
            xy[test], replaced[test] = part.xy_frame, part.replaced
            used.append(refiner.rule.source)
        return Prediction(
            self.truth.skeleton, xy, self.detected.confidence, replaced, variant, self.detected
        ), used

    def protocol(self) -> str:
        groups = len(set(self.truth.groups))
        if self.full_train is None:
            where = f"Trained on the truth of the other {FOLDS - 1} of {FOLDS} folds, grouped by {groups} videos and pictures"
            schedule = f"{FAITHFUL_TRAIN.steps:,} steps"
        else:
            where = f"Trained on the {len(self.full_train)} hands of panoptic_train.json"
            schedule = f"{PAPER_TRAIN.steps:,} steps"
        text = (
            f"PORT on {len(self.truth)} CMU Panoptic test hands, published MobileNetV2 detections "
            "(boxes from the truth). "
            f"{where}; delta from the detections of the other folds, since none on training hands "
            "are published; pooled "
            "out-of-fold. Variants: denoise = procedural hands, then the real truth (ours); "
            "faithful = the paper's model and "
            f"loss, {schedule}, with turns and mirrors, lowest 10 % replaced, wrist kept (ours); "
            "leak_free = faithful with "
            "masked joints out of Eq. 5; procedural = weights from procedural hands alone. "
            "shrink_control: all detections "
            "scaled by the mean size change that PORT causes; shrink_control_each: each hand by "
            f"its own. {DISCLOSURE}"
        )
        return text if self.steps is None else f"{text}. CAPPED at {self.steps} steps a training"


# --- the shipped checkpoint -----------------------------------------------------------------------


def ship(
    out: str | Path,
    settings: TrainConfig = PROCEDURAL_TRAIN,
    *,
    skeleton: str = "hand21",
    device: str = "auto",
    progress: bool = True,
) -> Path:
    """Trains on procedural hands or bodies, chooses the rule on SHIP_HANDS others, and writes
    one file with its card.
    """
    if skeleton not in SAMPLERS:
        raise unknown("skeleton with procedural poses", skeleton, SAMPLERS)
    out, what = Path(out), _KIND[skeleton]
    folder = out.with_suffix(".training")
    config = config_of("port", "denoise", skeleton=skeleton)
    trained = train_procedural(
        settings, config=config, out=folder, device=device, progress=progress
    )
    card = checkpoint.read_card(trained.result.weights)
    truth, detected = pairs("synthetic", n=SHIP_HANDS, seed=settings.seed + 1, skeleton=skeleton)
    rule = choose_rule(
        trained.model,
        truth,
        detected,
        f"{SHIP_HANDS:,} procedural {what} with simulated detections",
    )
    test = pairs("synthetic", seed=TEST_SEED, skeleton=skeleton)
    rows = evaluate_refiner(PortRefiner(trained.model, rule), *test, data="synthetic")["rows"]
    card |= {
        "rule": asdict(rule),
        "history": card["history"][:: max(len(card["history"]) // 100, 1)],
        "metrics": {r["method"]: r["metrics"] for r in rows},
        "metrics_data": f"synthetic, {TEST_HANDS} {what}, seed {TEST_SEED}",
        "command": f"workbench train port --skeleton {skeleton} --seed {settings.seed} --steps {settings.steps}",
        "licence": f"Apache-2.0; trained on procedural {what} alone, under a simulated detector whose round constants were "
        "chosen in sight of public detections",
    }
    checkpoint.save(out, trained.model, card)
    shutil.rmtree(folder)
    return out


# --- ablations, Table III -------------------------------------------------------------------------

PROJECTIONS = {
    "linear": (),
    "{1}": (1,),
    "{2}": (2,),
    "{3}": (3,),
    "{1,2}": (1, 2),
    "{1,3}": (1, 3),
    "{2,3}": (2, 3),
    "{1,2,3}": (1, 2, 3),
}
PAPER_PROJECTION = dict(zip(PROJECTIONS, (7.65, 7.54, 7.40, 7.64, 7.36, 7.43, 7.38, 7.39)))
PAPER_MASKING = {0.1: 7.63, 0.2: 7.57, 0.3: 7.45, 0.4: 7.36, 0.5: 7.39, 0.6: 7.37}


def sweep_settings(full: bool) -> tuple[list[str], list[float]]:
    """Points of the two sweeps: all of Table III in full, a few otherwise."""
    return (list(PROJECTIONS), list(PAPER_MASKING)) if full else (["linear", "{1,2}"], [0.1, 0.4])


SWEEP = {False: (200, 1, 500), True: (1_500, 3, 2_000)}  # full -> steps, seeds, test hands


def sweep_protocol(full: bool) -> str:
    """What a point of the sweep is, in words."""
    steps, seeds, hands = SWEEP[full]
    return f"{steps:,} steps, {seeds} seed{'s' if seeds > 1 else ''}, {hands:,} test hands"


def sweep(
    projections: Sequence[str],
    ratios: Sequence[float],
    *,
    full: bool,
    device: str = "auto",
    seed: int = 0,
) -> dict[str, list[dict]]:
    """Masked joint modelling on procedural hands for each setting; refined test hands, lowest 10 %
    replaced, wrist kept.

    {"projection": rows, "masking": rows, "detector": [row]}; a row has setting, p_epe (mean of the
    seeds) with low and high, p_epe_pred_to_gt, size (over the detected one), and the paper's P-EPE.
    """
    steps, seeds, hands = SWEEP[full]
    settings = replace(
        FAITHFUL_TRAIN, steps=steps, warmup_steps=steps // 10, batch_size=128 if full else 64
    )
    truth, detected = pairs("synthetic", n=hands, seed=TEST_SEED)
    rule = quantile_rule(
        pairs("synthetic", n=2_000, seed=seed + 1)[1].confidence, 0, 0.1, 0.0, source="lowest 10 %"
    )

    def point(exponents: tuple[int, ...], ratio: float) -> dict[str, float]:
        config, found = PortConfig(exponents=exponents), []
        for s in range(seed, seed + seeds):
            source = masked_batches(
                lambda n, rng: sample_hands(n, rng, occlusion=False).xy_frame,
                config,
                settings.batch_size,
                ratio,
            )
            card = {"recipe": "masked joint modelling, procedural hands", "ratio": ratio}
            trained = _train(
                config,
                source,
                replace(settings, seed=s),
                "nll",
                card,
                device=device,
                progress=False,
            )
            refined = PortRefiner(trained.model, rule).refine(detected)
            means = {k: v.mean() for k, v in errors(refined.xy_frame, truth).items()}
            found.append(
                (means["p_epe"], means["p_epe_pred_to_gt"], size_change(refined, detected).mean())
            )
        p_epe, to_truth, size = np.mean(found, 0)
        low, high = np.min(found, 0)[0], np.max(found, 0)[0]
        return {
            "p_epe": p_epe,
            "low": low,
            "high": high,
            "p_epe_pred_to_gt": to_truth,
            "size": size,
        }

    wanted = {(PROJECTIONS[p], MASK_RATIO) for p in projections} | {((1, 2), r) for r in ratios}
    made = {key: point(*key) for key in sorted(wanted)}
    base = {k: v.mean() for k, v in errors(detected.xy_frame, truth).items()}
    return {
        "projection": [
            {"setting": p, **made[PROJECTIONS[p], MASK_RATIO], "paper": PAPER_PROJECTION[p]}
            for p in projections
        ],
        "masking": [
            {"setting": f"{r:.0%}", **made[(1, 2), r], "paper": PAPER_MASKING.get(r)}
            for r in ratios
        ],
        "detector": [{"setting": "detector", **base, "size": 1.0}],
    }
