"""STDPose trained and measured: labels carried between labelled frames of rendered clips, and poses
without any labels.

The world "fast_people" (`made.worlds`) is frozen: clips of sixteen frames of people who kick, turn,
punch and dance. A single-frame estimator learns first, from where OTPose's stands; everything
behind it learns with it frozen, one network for all intervals and for both tasks. Every variant has
the same windows and budget.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from timm.layers import resample_abs_pos_embed
from torch.nn.attention import SDPBackend, sdpa_kernel

from .. import checkpoint, metrics, propagate
from .. import metrics as kp
from ..data.coco import read_person_boxes
from ..data.windows import Augment, WindowConfig, Windows, detected_windows
from ..errors import BadParameter, MissingData, unknown
from ..made.worlds import WORLDS, cached_clips
from ..models import build, config_of
from ..models.published import public_weights
from ..models.stdpose import TABLE_4, STDPose, STDPoseConfig
from ..predict import Propagator, between_inputs, load, weights_path
from ..records import Clip, Picture, Pose, Track
from ..train import (
    Batch,
    TrainConfig,
    choose_device,
    fingerprint,
    settings_of,
    share,
    train,
    trained_folder,
    training_key,
)
from . import otpose
from . import vissimcc as single

SCHEMA_VERSION = 1
flat = single.flat  # rows for a table
paper_rows = partial(single.paper_rows, of="stdpose", prefix="AP-")
WORLD = WORLDS["fast_people"]
CLIPS = {"train": 600, "val": 40, "test": 120}
# of the training split, after those that the propagator has learned from: Table 3's
NEW_CLIPS = 150
INTERVALS = (2, 3, 5, 7, 9, 15)  # T
RATIOS = (7, 4, 2)  # T of Table 3
TASKS = ("propagation", "estimation", "pseudo")
PADDING = 1.25
GIVEN = 0.7  # share of training windows whose neighbours' labels are told  # unstated; ours
FAST = (
    # head sizes from one frame to the next: a joint so fast is blurred, the shutter being open half
    # the time or so
    0.3
)
SMALL = config_of("stdpose", "small")
FRAME = replace(SMALL, **TABLE_4["a"], frozen=False)
# Table 6, height x width; small networks read half of it
SIZES = {"224x168": (168, 224), "384x288": (288, 384)}
TABLE_5 = {
    f"k{k:g}_theta{theta:g}": {"k": k, "theta": theta}
    for theta in (0.0, 0.2, 0.5, 0.7)
    for k in (0.5, 1.0, 1.5, 2.0, 5.0)
}
del TABLE_5["k1.5_theta0.5"]  # "stdpose"
# (a) is the frozen estimator
CHANGES = {"stdpose": {}} | {row: TABLE_4[row] for row in "bcde"} | TABLE_5
VARIANTS = {name: replace(SMALL, **change) for name, change in CHANGES.items()}
VARIANTS |= {name: replace(SMALL, size=(w // 2, h // 2)) for name, (w, h) in SIZES.items()}
START = "otpose"  # the shipped weights whose single-frame estimator this one goes on from
FRAME_TRAIN = TrainConfig(
    steps=1_500, batch_size=64, lr=1e-3, warmup_steps=100, ema=0.995, precision="bf16", workers=1
)
PSEUDO_TRAIN = replace(FRAME_TRAIN, steps=500)  # an estimator of Table 3
# unstated; ours
TRAIN = SHIPPED_TRAIN = TrainConfig(
    steps=4_000,
    batch_size=16,
    lr=1e-3,
    warmup_steps=200,
    weight_decay=0.01,
    clip_norm=1.0,
    ema=0.998,
    precision="bf16",
    workers=1,
)
AUGMENT = Augment(scale=(0.75, 1.25), rotation_degrees=30.0, half_body=0.0)


cache_folder = partial(trained_folder, "stdpose")


# --- data -----------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _rendered(split: str, n: int) -> tuple:
    return tuple(cached_clips(WORLD, split, n))


def people(
    split: str, interval: int, config: STDPoseConfig = SMALL, *, n: int | None = None
) -> Windows:
    """Everybody in all frames between labelled ones of the first n clips of a split (default:
    `CLIPS`), every `interval`-th frame's labels and boxes being known; a window each.

    Beyond training, frames between labels of which one says that the person is out of sight are
    left out: nothing is carried there, and a line would be judged by joints that nobody labelled.
    """
    options = {"padding": PADDING, "alignment": config.alignment, "augment": AUGMENT}
    pairs = _rendered(split, CLIPS[split] if n is None else n)
    windows = propagate.windows_between(pairs, config.size, interval=interval, **options)
    if split != "train":
        sides = [
            (pairs[p][0].tracks[n].visibility, windows.frames_of(i)[::2])
            for i, (p, n, _) in enumerate(windows.items)
        ]
        windows.items = windows.items[
            np.array([(flags[at] > 0).any(1).all() for flags, at in sides], bool)
        ]
    return windows


def single_batches(windows: Windows, size: int) -> Callable[[int, np.random.Generator], Batch]:
    """What `train` takes for the single-frame estimator: crops by the boxes that a propagator
    knows.
    """

    def make(step: int, rng: np.random.Generator) -> Batch:
        batch = windows.batch(rng.integers(len(windows), size=size), rng)
        return {
            "images": batch["images"],
            "xy_crop": batch["xy_crop"][:, 1],
            "weights": batch["weights"][:, 1],
        }

    return make


def gap_batches(
    sets: Sequence[Windows], size: int, given: float = GIVEN
) -> Callable[[int, np.random.Generator], Batch]:
    """What `train` takes for what lies behind: an interval a batch, the neighbours' labels told
    to this share of its people.
    """

    def make(step: int, rng: np.random.Generator) -> Batch:
        windows = sets[int(rng.integers(len(sets)))]
        batch = windows.batch(rng.integers(len(windows), size=size), rng)
        inputs = between_inputs(batch)
        inputs["auxiliary_weights"] *= torch.from_numpy(rng.random((size, 1, 1)) < given).float()
        return inputs | {"xy_crop": batch["xy_crop"][:, 1], "weights": batch["weights"][:, 1]}

    return make


# --- training -------------------------------------------------------------------------------------


def _key(model: STDPose, settings: TrainConfig, card: dict) -> tuple[dict[str, float], str]:
    """The terms of Eq. 5 that the model has, and what the finished training is known by."""
    config = model.config
    terms = {
        "frame": config.frame_weight,
        "mutual_feature": config.mi and config.tff,
        "mutual_heatmap": config.mi and config.tks,
    }
    losses = dict.fromkeys(["heatmap", *(name for name, there in terms.items() if there)], 1.0)
    return losses, training_key(settings, losses, card)


def _shipped(what: str, key: str) -> Path | None:
    """The shipped file, if its card says that "fingerprint" or "frame" is of this training."""
    path = weights_path("stdpose")
    return path if path.exists() and checkpoint.read_card(path).get(what) == key else None


def training_kernel(device: str, precision: str) -> AbstractContextManager:
    """Attention by the open softmax where a CPU learns in bf16: the fused kernel's backward takes
    five times as long there, at 144 tokens; else as torch chooses.
    """
    return sdpa_kernel(SDPBackend.MATH) if (device, precision) == ("cpu", "bf16") else nullcontext()


def _train(
    model: STDPose,
    batches,
    card: dict,
    settings: TrainConfig,
    *,
    anew: bool = False,
    device: str,
    progress: bool,
    label: str,
):
    folder, (losses, key) = (
        cache_folder() / fingerprint(settings_of(settings), card),
        _key(model, settings, card),
    )
    weights = None if anew else _shipped("fingerprint", key)
    if weights is not None:
        checkpoint.load(weights, model.to(choose_device(device)))
    else:
        options = {
            "loss_weights": losses,
            "card": card,
            "device": device,
            "progress": progress,
            "label": label,
        }
        with training_kernel(choose_device(device), settings.precision):
            weights = train(model, batches, settings, folder, **options).weights
    return Propagator(model, label, PADDING), weights


def _parts(weights: Path, *prefixes: str, cut: str = "") -> dict[str, torch.Tensor]:
    tensors = checkpoint.read_tensors(weights)
    return {
        k.removeprefix(cut): v
        for k, v in tensors.items()
        if k.removeprefix(cut).startswith(prefixes)
    }


def _card(config: STDPoseConfig, **more) -> dict:
    return {
        "model": "stdpose",
        "config": asdict(config),
        "padding": PADDING,
        "world": WORLD.digest(),
        "data": WORLD.name,
        "clips": CLIPS["train"],
        **more,
    }


def _frame(steps: int | None, size: tuple[int, int]) -> tuple[STDPose, TrainConfig, dict]:
    """The single-frame estimator of a size before its training (seed 0, the same for all
    variants), settings and card.
    """
    config = replace(FRAME, size=size)
    settings, start = (
        replace(FRAME_TRAIN, steps=min(FRAME_TRAIN.steps, steps or FRAME_TRAIN.steps)),
        weights_path(START),
    )
    torch.manual_seed(settings.seed)
    model = build("stdpose", config)
    checkpoint.load_into(model, _parts(start, "backbone.", "head.", cut="maps."), partial=True)
    card = _card(config, start=START, frame=checkpoint.read_card(start).get("frame"))
    return model.to(memory_format=torch.channels_last), settings, card


def train_frame(
    *,
    size: tuple[int, int] | None = None,
    steps: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> tuple[Propagator, Path]:
    """The single-frame estimator of crops of this size, and its weight file; cached. steps: a
    cap, for tests.
    """
    model, settings, card = _frame(steps, size or FRAME.size)
    batches = single_batches(people("train", 2, model.config), share(settings.batch_size))
    return _train(
        model, batches, card, settings, device=device, progress=progress, label="single frame"
    )


def train_variant(
    variant: str,
    settings: TrainConfig = TRAIN,
    *,
    cap: int | None = None,
    anew: bool = False,
    given: float = GIVEN,
    device: str = "auto",
    progress: bool = True,
) -> tuple[Propagator, Path]:
    """A variant trained behind the single-frame estimator, and its weight file; cached. cap: most
    steps, for tests.

    What the shipped file holds, the estimator or the whole, is trained again only if `anew`.
    """
    if variant not in VARIANTS:
        raise unknown("variant of STDPose", variant, VARIANTS)
    config = VARIANTS[variant]
    _, frame = _key(*_frame(cap, config.size))
    weights = None if anew else _shipped("frame", frame)
    if weights is None:
        _, weights = train_frame(size=config.size, steps=cap, device=device, progress=progress)
    torch.manual_seed(settings.seed)
    model = build("stdpose", config)
    checkpoint.load_into(model, _parts(weights, "backbone.", "head."), partial=True)
    settings = replace(settings, steps=min(settings.steps, cap or settings.steps))
    card = _card(config, variant=variant, frame=frame, given=given)
    sets = [people("train", interval, config) for interval in INTERVALS]
    batches = gap_batches(sets, share(settings.batch_size), given)
    return _train(
        model, batches, card, settings, anew=anew, device=device, progress=progress, label=variant
    )


def single_frame(propagator: Propagator) -> Propagator:
    """The estimator inside, by itself: Table 4 (a)."""
    model = build("stdpose", replace(propagator.model.config, **TABLE_4["a"]))
    weights = propagator.model.state_dict()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    alone = Propagator(model, "single frame", propagator.padding).to(propagator.device)
    alone.precision = propagator.precision
    return alone


def ship(
    out: str | Path,
    settings: TrainConfig = TRAIN,
    *,
    skeleton: str = "posetrack15",
    device: str = "auto",
    progress: bool = True,
) -> Path:
    """Trains STDPose, single-frame estimator included, measures it and writes its weight file."""
    if skeleton != WORLD.skeleton:
        raise unknown("skeleton of STDPose", skeleton, [WORLD.skeleton])
    # of the single-frame estimator, too
    cap = settings.steps if settings.steps < TRAIN.steps else None
    propagator, weights = train_variant(
        "stdpose", settings, cap=cap, anew=True, device=device, progress=progress
    )
    card = checkpoint.read_card(weights)
    rows = measured({"stdpose": propagator}, intervals=(7,), progress=progress)
    card |= {
        "skeleton": skeleton,
        "history": card["history"][:: max(len(card["history"]) // 100, 1)],
        "metrics": {f"{r['method']}, T = {r['T']}, {r['subset']}": r["metrics"] for r in rows},
        "metrics_data": f"{WORLD.name} {WORLD.digest()}, {CLIPS['test']} test clips, labels of every 7th frame given",
        "command": f"workbench train stdpose --seed {settings.seed} --steps {settings.steps}",
        "licence": "Apache-2.0; trained on rendered people alone",
    }
    return checkpoint.save(Path(out), propagator.model, card)


# --- rows -----------------------------------------------------------------------------------------


def fast_joints(windows: Windows, truth: Pose) -> Bool[np.ndarray, "n k"]:
    """Labelled joints of the key frames that move by `FAST` head sizes or more a frame: the mean of
    the step before and the step after, as far as these frames label the joint; who has no head is
    not judged.
    """
    steps, known = (
        np.zeros((2, *truth.visibility.shape)),
        np.zeros((2, *truth.visibility.shape), bool),
    )
    for row, (pair, n, t) in enumerate(windows.items.tolist()):
        track = windows.pairs[pair][0].tracks[n]
        for side, other in enumerate((t - 1, t + 1)):
            if 0 <= other < len(track.labelled):
                steps[side, row] = np.linalg.norm(
                    track.xy_frame[other] - track.xy_frame[t], axis=-1
                )
                known[side, row] = track.visibility[other] > 0
    step = (steps * known).sum(0) / np.maximum(known.sum(0), 1)
    heads = metrics.head_sizes(truth.head_boxes_xyxy)[:, None]
    return truth.labelled & known.any(0) & (heads > 0) & (step >= FAST * heads)


def rows_at(
    windows: Windows,
    models: Mapping[str, Propagator],
    *,
    task: str,
    interval: int,
    seed: int | None = None,
    pictures: Sequence[Picture] = (),
    detected: tuple[Windows, np.ndarray] | None = None,
    progress: bool = True,
) -> list[dict]:
    """Rows of windows at an interval: the straight line and optical flow (propagation alone), the
    single frame, each model.

    Subsets: all joints; where the truth tells occlusion, visible, occluded and blurred
    (`fast_joints`) ones. The single frame is the first model's. pictures: whose ignored regions
    count for nobody. detected: windows in a detector's boxes and their scores, to estimate in
    instead.
    """
    rows, given, truth = [], task == "propagation", windows.poses()
    windows, scores = (windows, None) if detected is None else detected
    if given:
        found = {
            "linear": propagate.linear(windows),
            "farneback": propagate.farneback(windows, progress=progress),
        }
    else:
        found = {}
    found["single frame"] = single_frame(next(iter(models.values()))).carry(
        windows, given=False, progress=progress
    )
    found |= {
        name: model.carry(windows, given=given, progress=progress) for name, model in models.items()
    }
    kept = replace(truth, visibility=truth.visibility * ~kp.in_ignored(truth, pictures))
    fast = fast_joints(windows, truth) if truth.occlusion_known else None
    for name, poses in found.items():
        if scores is not None:  # unstated; ours
            poses = replace(poses, confidence=poses.confidence * scores[:, None])
        left_out = kp.in_ignored(poses, pictures)
        of = otpose.rows_of(name, poses, kept, seed=seed, left_out=left_out, paired=scores is None)
        if fast is not None:
            blurred = replace(truth, visibility=truth.visibility * fast)
            row = otpose.rows_of(name, poses, blurred, seed=seed, left_out=truth.labelled & ~fast)[
                0
            ]
            of.append(row | {"subset": "blurred joints"})
        rows += [
            r | {"method": "stdpose" if name in models else name, "T": interval, "task": task}
            for r in of
        ]
    return rows


def rows_by_size(
    models: Mapping[str, Propagator], rows_of: Callable[[Mapping[str, Propagator]], list[dict]]
) -> list[dict]:
    """The rows of models of one size of crops after the other; line and flow, which read no
    crops, stand there once.
    """
    rows, sizes = [], dict.fromkeys(m.model.config.size for m in models.values())
    for i, size in enumerate(sizes):
        of = rows_of({name: m for name, m in models.items() if m.model.config.size == size})
        if i:
            other = {"single frame": {"variant": "single frame, {1} x {0}".format(*size)}}
            of = [r | other.get(r["method"], {}) for r in of if r["method"] not in propagate.WAYS]
        rows += of
    return rows


def measured(
    models: Mapping[str, Propagator],
    *,
    task: str = "propagation",
    intervals: Sequence[int] = INTERVALS,
    split: str = "test",
    seed: int | None = None,
    progress: bool = True,
) -> list[dict]:
    """`rows_at` of rendered clips, by interval."""

    def rows_of(group: Mapping[str, Propagator], interval: int) -> list[dict]:
        windows = people(split, interval, next(iter(group.values())).model.config)
        return rows_at(windows, group, task=task, interval=interval, seed=seed, progress=progress)

    return [
        row
        for interval in intervals
        for row in rows_by_size(models, partial(rows_of, interval=interval))
    ]


def sparse_pairs(pairs: Sequence[tuple], interval: int) -> list[tuple]:
    """The same clips with the labels of every `interval`-th frame alone, counted from the first
    labelled one.
    """

    def every(track: Track, start: int) -> Track:
        kept = track.labelled & ((np.arange(len(track.labelled)) - start) % interval == 0)
        hidden = {
            name: getattr(track, name) * kept[:, None] for name in ("visibility", "boxes_xyxy")
        }
        return replace(
            track, labelled=kept, xy_frame=track.xy_frame * kept[:, None, None], **hidden
        )

    starts = [
        min((int(t.labelled.argmax()) for t in clip.tracks if t.labelled.any()), default=0)
        for clip, _ in pairs
    ]
    return [
        (replace(clip, tracks=[every(t, start) for t in clip.tracks]), frames)
        for (clip, frames), start in zip(pairs, starts)
    ]


def carried_pairs(
    propagator: Propagator, pairs: Sequence[tuple], interval: int, *, progress: bool = True
) -> list[tuple]:
    """Clips of `sparse_pairs` with the frames between labels labelled by the propagator: Table 3's
    pseudo-labels. Nothing is carried over a labelled frame in which a person is missing.
    """
    windows = propagator.windows(pairs)
    near = [int(np.ptp(windows.frames_of(i))) <= interval for i in range(len(windows))]
    windows.items = windows.items[np.array(near, bool)]
    found, out = propagator.carry(windows, progress=progress), []
    names = ("xy_frame", "visibility", "labelled", "boxes_xyxy")
    for pair, (clip, frames) in enumerate(windows.pairs):
        made = [{name: getattr(track, name).copy() for name in names} for track in clip.tracks]
        for row in np.flatnonzero(windows.items[:, 0] == pair).tolist():
            (_, n, t), (left, _, right) = (
                windows.items[row].tolist(),
                windows.frames_of(row).tolist(),
            )
            known = (clip.tracks[n].visibility[[left, right]] > 0).all(0)
            values = (found.xy_frame[row] * known[:, None], 2 * known, True, found.boxes_xyxy[row])
            for name, value in zip(names, values):
                made[n][name][t] = value
        out.append(
            (replace(clip, tracks=[replace(t, **new) for t, new in zip(clip.tracks, made)]), frames)
        )
    return out


def _labelled(pairs: Sequence[tuple]) -> tuple[float, str]:
    """Share of people's frames with labels, percent, and a fingerprint of these."""
    tracks = [track for clip, _ in pairs for track in clip.tracks]
    places = np.concatenate([track.xy_frame.ravel() for track in tracks])
    share_ = 100 * float(np.mean([track.labelled.mean() for track in tracks]))
    return share_, hashlib.sha256(places.tobytes()).hexdigest()[:16]


def pseudo_rows(
    propagator: Propagator,
    *,
    intervals: Sequence[int] = RATIOS,
    seed: int = 0,
    steps: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> list[dict]:
    """Table 3 in small: single-frame estimators from OTPose's, trained on clips that the propagator
    never saw.

    Labels of every T-th frame alone; these, and what STDPose makes of the frames between; and all.
    """
    pairs = _rendered("train", CLIPS["train"] + NEW_CLIPS)[CLIPS["train"] :]
    cut = WindowConfig(
        size=FRAME.size,
        offsets=(0, 0, 0),
        padding=PADDING,
        alignment=FRAME.alignment,
        augment=AUGMENT,
    )
    settings = replace(
        PSEUDO_TRAIN, seed=seed, steps=min(PSEUDO_TRAIN.steps, steps or PSEUDO_TRAIN.steps)
    )
    start, test, rows = weights_path(START), people("test", 2, FRAME), []
    cases = [
        (kind, interval)
        for interval in intervals
        for kind in ("labels alone", "with pseudo-labels")
    ]
    for kind, interval in [*cases, ("all labels", 1)]:
        labels = sparse_pairs(pairs, interval)
        pseudo = kind == "with pseudo-labels"
        learn = carried_pairs(propagator, labels, interval, progress=progress) if pseudo else labels
        torch.manual_seed(seed)
        model = build("stdpose", FRAME)
        checkpoint.load_into(model, _parts(start, "backbone.", "head.", cut="maps."), partial=True)
        given = {
            "labels": kind,
            "interval": interval,
            "frame": checkpoint.read_card(start).get("frame"),
        }
        card = _card(FRAME, **given) | {"clips": NEW_CLIPS, "places": _labelled(learn)[1]}
        batches = single_batches(Windows(learn, cut), share(settings.batch_size))
        label = f"{kind}, T = {interval}"
        found, _ = _train(
            model, batches, card, settings, device=device, progress=progress, label=label
        )
        poses = found.carry(test, given=False, progress=progress)
        for row in otpose.rows_of(kind, poses, test.poses(), seed=seed):
            values = row["metrics"] | {"labelled": _labelled(labels)[0]}
            rows.append(
                row | {"method": "single frame", "T": interval, "task": "pseudo", "metrics": values}
            )
    return rows


def evaluate(
    data: str = "synthetic",
    *,
    task: str = "propagation",
    variants: Sequence[str] | None = None,
    intervals: Sequence[int] | None = None,
    given: float = GIVEN,
    seed: int = 0,
    steps: int | None = None,
    boxes: str | Path | None = None,
    precision: str = "fp32",
    device: str = "auto",
    progress: bool = True,
) -> dict:
    """The protocol on rendered clips or on PoseTrack: {schema_version, protocol, rows}, metrics in
    percent.

    data: "synthetic", or "posetrack17[:PATH]" and so on: the paper's recipe on what the user has.
    task: "propagation", where labels of every T-th frame are given, "estimation", where none are,
    or "pseudo": Table 3. variants: names of `VARIANTS`, which are trained (and cached); by default
    the shipped weights, on PoseTrack "stdpose". intervals: T, default `INTERVALS`, 7 for variants,
    estimation and PoseTrack, for Table 3 its own. given: share of training windows that are told
    the neighbours' labels; 0 is the paper's Sec. 4.2. steps: caps every training, for tests. boxes:
    a detector's results for estimation on PoseTrack, COCO JSON; None: ground truth. precision: of
    answers, "fp32" or "bf16" (mixed).
    """
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    name = data.partition(":")[0]
    if name not in ("synthetic", *otpose.PUBLISHED):
        raise unknown("data of STDPose", name, ("synthetic", *otpose.PUBLISHED))
    if boxes is not None and (name == "synthetic" or task != "estimation"):
        raise BadParameter(
            "only estimation on PoseTrack looks into a detector's boxes", remedy="leave boxes out"
        )
    if task == "pseudo" and len(variants or ()) > (name == "synthetic"):
        raise BadParameter(
            "Table 3 asks one network, on PoseTrack the whole", remedy="leave variants out"
        )
    if not 0 <= given <= 1:
        raise BadParameter(
            f"labels are given to {given:g} of the training windows", remedy="a share from 0 to 1"
        )
    options = {"given": given, "seed": seed, "steps": steps, "device": device, "progress": progress}
    if name != "synthetic":
        if task == "pseudo":
            return _pseudo_published(data, intervals or RATIOS, precision=precision, **options)
        intervals = (1,) if task == "estimation" else intervals or (7,)
        return _evaluate_published(
            data,
            task,
            variants or ("stdpose",),
            intervals,
            boxes=boxes,
            precision=precision,
            **options,
        )
    if variants is None:
        models, networks = (
            {"stdpose": load("stdpose", device=choose_device(device))},
            "shipped weights",
        )
    else:
        settings, train_options = (
            replace(TRAIN, seed=seed),
            {"given": given, "device": device, "progress": progress},
        )
        models = {v: train_variant(v, settings, cap=steps, **train_options)[0] for v in variants}
        count = min(TRAIN.steps, steps or TRAIN.steps)
        networks = (
            f"networks: {count:,} steps of {TRAIN.batch_size} people behind one single-frame "
            "estimator, labels told to "
            f"{given:.0%} of them"
        )
    for model in models.values():
        model.precision = precision
    world = f"{WORLD.name} {WORLD.digest()}"
    if task == "pseudo":
        first = next(iter(models.values()))
        rows = pseudo_rows(
            first,
            intervals=intervals or RATIOS,
            seed=seed,
            steps=steps,
            device=device,
            progress=progress,
        )
        protocol = (
            "single-frame estimators after "
            f"{min(PSEUDO_TRAIN.steps, steps or PSEUDO_TRAIN.steps):,} steps of "
            f"{PSEUDO_TRAIN.batch_size} people of {NEW_CLIPS} rendered clips that the propagator "
            f"({networks}) never saw (world "
            f"{world}), {CLIPS['test']} test clips, every second frame; labelled: share of frames "
            "with labels of their own, "
            "percent"
        )
        return _result(protocol, "between labels", rows, "Table 3")
    if intervals is None:
        intervals = INTERVALS if variants is None and task == "propagation" else (7,)
    seed = single.seed_of(weights_path("stdpose")) if variants is None else seed
    rows = measured(models, task=task, intervals=intervals, seed=seed, progress=progress)
    told = "labels and boxes of every T-th frame given"
    if task != "propagation":
        told = "no labels given, boxes as in propagation"
    protocol = (
        f"{CLIPS['test']} rendered test clips of {WORLD.n_frames} frames (world {world}), all "
        "frames "
        f"between labelled ones; {told}, boxes on the line between; percent; AP-*: PoseTrack's "
        "average precision within half "
        "a head size; PCKh: joints within half a head size, mean over people; intervals: 95 % by "
        f"clip; blurred: {FAST} "
        f"head sizes a frame or faster; answers in {precision}; {networks}"
    )
    return _result(
        protocol,
        "between labels",
        rows,
        *(("Table 1", "Table 4") if task == "propagation" else ("Table 2",)),
    )


def _result(protocol: str, boxes: str, rows: list[dict], *tables: str) -> dict:
    rows = rows + paper_rows(*tables)
    return {"schema_version": SCHEMA_VERSION, "protocol": protocol, "boxes": boxes, "rows": rows}


# --- PoseTrack ------------------------------------------------------------------------------------

PAPER = config_of("stdpose", "paper")
EPOCHS, DROPS, PEOPLE = 20, (12 / 20, 16 / 20), 32  # App. B; people a step  # unstated; ours
# a ViT-B that learned poses on COCO, if the user has it; else ImageNet's
WEIGHTS = "vitpose_base_simple"


def estimation_config(config: STDPoseConfig) -> WindowConfig:
    """A labelled frame beside the frames before and after."""
    return WindowConfig(
        size=config.size, offsets=(-1, 0, 1), padding=PADDING, alignment=config.alignment
    )


def published_windows(
    clips: Sequence[Clip],
    folder: Path,
    config: STDPoseConfig,
    interval: int,
    task: str = "propagation",
) -> Windows:
    """Everybody in every labelled frame of a video between two labelled ones that are `interval`
    apart, every T-th from the video's first, if labelled in both; for estimation everybody in every
    labelled frame, in the own box, beside the frames before and after. Augmented as App. B says.

    Who is labelled at both sides and not in between is looked for, too: what is found there is a
    mistake.
    """
    pairs = [(clip, folder) for clip in clips]
    if task == "estimation":
        return Windows(pairs, estimation_config(config))
    options = {"padding": PADDING, "alignment": config.alignment, "common": True}
    windows = propagate.windows_between(pairs, config.size, interval=interval, **options)
    pictures = [windows.pairs[pair][0].pictures[key] for pair, _, key in windows.items.tolist()]
    gaps = [int(np.ptp(windows.frames_of(i))) for i in range(len(windows))]
    kept = [picture.labelled and gap == interval for picture, gap in zip(pictures, gaps)]
    windows.items = windows.items[np.array(kept, bool)]
    if not len(windows):
        remedy = "name a smaller interval"
        raise MissingData(
            f"no labelled frame between labels {interval} frames apart", file=folder, remedy=remedy
        )
    return windows


def _people_between(clips: Sequence[Clip], interval: int) -> int:
    """Labelled people in the frames whose labels are not given."""
    count = 0
    for clip in clips:
        there = np.array([track.labelled & (track.visibility > 0).any(1) for track in clip.tracks])
        if there.any():
            count += there.sum() - there[:, int(there.any(0).argmax()) :: interval].sum()
    return int(count)


def start_weights(model: STDPose) -> str | None:
    """ViTPose-B of COCO into the backbone, where the user has it, its positions fitted to the
    grid; None: no file.
    """
    file = otpose.weights_at_hand(WEIGHTS, "weights")
    if file is None:
        return None
    backbone = {
        k: v
        for k, v in public_weights(checkpoint.read_public(file)).items()
        if k.startswith("backbone.")
    }
    positions, (w, h) = backbone["backbone.net.pos_embed"], model.backbone.grid
    rows = round((positions.shape[1] * 4 / 3) ** 0.5)  # of a crop that is a third higher than wide
    backbone["backbone.net.pos_embed"] = resample_abs_pos_embed(
        positions, (h, w), (rows, positions.shape[1] // rows), num_prefix_tokens=0
    )
    checkpoint.load_into(
        model.backbone, {k.removeprefix("backbone."): v for k, v in backbone.items()}, file=file
    )
    return f"COCO ({file.name})"


def _published_config(variant: str) -> STDPoseConfig:
    change = (
        {"size": SIZES[variant]}
        if variant in SIZES
        else TABLE_4["a"]
        if variant == "a"
        else CHANGES[variant]
    )
    # the backbone does not know these joints, and Eq. 5 has no loss on the maps that DAM and TKS
    # read  # unstated; ours
    return replace(PAPER, **{"frame_weight": float(variant != "a")} | change)


def _trained_published(
    variant: str,
    windows: Windows,
    task: str,
    card: dict,
    *,
    given: float,
    seed: int,
    steps: int | None,
    device: str,
    progress: bool,
) -> tuple[Propagator, str]:
    config = _published_config(variant)
    settings = TrainConfig(
        steps=steps or EPOCHS * max(len(windows) // PEOPLE, 1),
        batch_size=PEOPLE if steps is None else 2,
        lr=2e-4,
        drops=DROPS,
        weight_decay=0.01,
        precision="bf16",
        seed=seed,
        workers=min(4, os.cpu_count() or 1),
    )
    torch.manual_seed(seed)
    model = STDPose(config)
    start = "random" if steps else start_weights(model)
    if start is None:
        model, start = STDPose(config, pretrained=True), "ImageNet"
    told = given if task == "propagation" else 0.0
    card = {
        "model": "stdpose",
        "variant": variant,
        "config": asdict(config),
        "padding": PADDING,
        "task": task,
        "start": start,
        "given": told,
        "reach": Propagator.reach if task == "propagation" else 1,
        **card,
    }
    batches = gap_batches([windows], share(settings.batch_size), told)
    found, _ = _train(
        model, batches, card, settings, device=device, progress=progress, label=variant
    )
    labels = f", labels told to {told:.0%} of them" if task == "propagation" else ""
    return found, (
        f"{variant}: {settings.steps:,} steps of {settings.batch_size} people from {start} "
        f"weights, {len(windows)} to learn "
        f"from{labels}"
    )


def _evaluate_published(data, task, variants, intervals, *, boxes, precision, **options) -> dict:
    """The paper's settings: ViT-B, 256 x 192, AdamW at 2e-4; boxes on the line between the labelled
    ones, for estimation people's own, or a detector's as in the paper.
    """
    kind = (
        "between labels"
        if task == "propagation"
        else "ground truth"
        if boxes is None
        else "detector"
    )
    boxed = None if boxes is None else read_person_boxes(boxes).boxes
    clips, folder = otpose.read_published(data, "val")
    pictures = [picture for clip in clips for picture in clip.pictures]
    rows, told, counts = [], {}, []

    def rows_of(group: Mapping[str, Propagator], interval: int) -> list[dict]:
        first, detected = next(iter(group.values())), None
        test = published_windows(clips, folder, first.model.config, interval, task)
        seen = int(test.poses().labelled.any(1).sum())
        of = f" of {_people_between(clips, interval)}" if task == "propagation" else ""
        counts.append(f"{seen}{of} people" + f" at T = {interval}" * (len(intervals) > 1))
        if boxed is not None:
            pairs, joints = [(clip, folder) for clip in clips], first.skeleton.name
            detected = detected_windows(
                pairs, boxed, joints, estimation_config(first.model.config), file=boxes
            )
        return rows_at(
            test,
            group,
            task=task,
            interval=interval,
            seed=options["seed"],
            pictures=pictures,
            detected=detected,
            progress=options["progress"],
        )

    for interval in intervals:
        models = {}
        for variant in variants:
            if variant in (*VARIANTS, "a"):
                learn = published_windows(
                    *otpose.read_published(data, "train"),
                    _published_config(variant),
                    interval,
                    task,
                )
                card = {"data": data, "interval": interval}
                models[variant], told[variant] = _trained_published(
                    variant, learn, task, card, **options
                )
            else:
                models[variant] = load(variant, device=choose_device(options["device"]))
                told[variant] = f"{variant}: weights as named"
            models[variant].precision = precision
        rows += rows_by_size(models, partial(rows_of, interval=interval))
    among = (
        "between labelled ones T frames apart"
        if task == "propagation"
        else "beside the frames before and after"
    )
    protocol = (
        f"{data.partition(':')[0]}: {len(clips)} validation clips, "
        f"{', '.join(dict.fromkeys(counts))} in labelled frames "
        f"{among}; task {task}; boxes: {kind}; percent; AP-*: PoseTrack's average precision within "
        "half a head size, ignored "
        f"regions left out; answers in {precision}; {'; '.join(told.values())}"
    )
    return _result(protocol, kind, rows, "Table 1" if task == "propagation" else "Table 2")


def _pseudo_published(data, intervals, *, precision, **options) -> dict:
    """Table 3: estimation by STDPose that learned from labels of every T-th frame, from these and
    what a propagator that learned from them made of the frames between, and from all.
    """
    (clips, folder), (val, seen) = (
        otpose.read_published(data, split) for split in ("train", "val")
    )
    config, pairs, rows, told = (
        _published_config("stdpose"),
        [(clip, folder) for clip in clips],
        [],
        [],
    )
    test = published_windows(val, seen, config, 1, "estimation")
    pictures = [picture for clip in val for picture in clip.pictures]
    cases = [
        (kind, interval)
        for interval in intervals
        for kind in ("labels alone", "with pseudo-labels")
    ]
    for kind, interval in [*cases, ("all labels", 1)]:
        labels = sparse_pairs(pairs, interval)
        learn, card = labels, {"data": data, "interval": interval}
        if kind == "with pseudo-labels":
            windows = published_windows(clips, folder, config, interval)
            carrier, _ = _trained_published("stdpose", windows, "propagation", card, **options)
            learn = carried_pairs(carrier, labels, interval, progress=options["progress"])
        labelled, places = _labelled(labels)[0], _labelled(learn)[1]
        windows = Windows(learn, estimation_config(config))
        model, said = _trained_published(
            "stdpose", windows, "estimation", card | {"labels": kind, "places": places}, **options
        )
        model.precision = precision
        told.append(f"{kind}, T = {interval}: {said}")
        of = rows_at(
            test,
            {kind: model},
            task="pseudo",
            interval=interval,
            seed=options["seed"],
            pictures=pictures,
            progress=options["progress"],
        )
        rows += [
            r | {"metrics": r["metrics"] | {"labelled": labelled}}
            for r in of
            if r["method"] == "stdpose"
        ]
    protocol = (
        f"{data.partition(':')[0]}: estimation in {len(val)} validation clips, {len(test)} people "
        "in labelled frames; boxes: "
        "ground truth; percent; labelled: share of people's frames with labels of their own; "
        f"answers in {precision}; "
        f"{'; '.join(told)}"
    )
    return _result(protocol, "ground truth", rows, "Table 3")
