"""HANet's data, trainings, protocol and rows: what `train hanet` and `evaluate hanet` run.

Real human motion (BVH clips) goes through random cameras to 2D and is disturbed by a detector-noise
model with bursts of occlusion, so that the input is as good as the paper's on Sub-JHMDB. Clips are
split by style; noise was calibrated on training clips before any model was trained, and then frozen
(`MotionWorld.digest`). The shipped weights come from procedural gaits alone: the motion capture is
CC BY-NC.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.signal import savgol_filter

from .. import checkpoint, metrics
from ..data.bvh import read_bvh
from ..data.manifest import locate
from ..errors import BadParameter, unknown
from ..made.bodies import skeleton_joints
from ..made.gaits import gait_joints_mm
from ..made.mocap import body_joints
from ..made.noise import DetectorNoise
from ..models import build
from ..models.hanet import HANet, HANetConfig, interpolate
from ..occlusion import mask_runs
from ..predict import SequenceRefiner
from ..records import Pose
from ..skeletons import skeleton
from ..train import Batch, TrainConfig, fingerprint, settings_of, share, train, trained_folder

SCHEMA_VERSION = 1
JOINTS = skeleton("jhmdb15")
THRESHOLDS = (0.05, 0.1, 0.2)


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

    @property
    def detector(self) -> DetectorNoise:
        return DetectorNoise(**dict(self.noise))


WORLD = MotionWorld()


@dataclass(frozen=True, eq=False)
class Sequence2D:
    """One person before one camera: truth, what a detector said, and where bursts of occlusion
    lay.
    """

    name: str
    xy_frame: Float[np.ndarray, "t k 2"]  # px
    detected: Float[np.ndarray, "t k 2"]  # px
    hidden: Bool[np.ndarray, "t k"]

    @property
    def sizes(self) -> Float[np.ndarray, "t"]:
        """Longer side of the person's box, px."""
        return WORLD.box * np.ptp(self.xy_frame, axis=1).max(-1)


# --- data -----------------------------------------------------------------------------------------


def turn(
    xyz_mm: Float[np.ndarray, "t k 3"], rng: np.random.Generator, world: MotionWorld = WORLD
) -> Float[np.ndarray, "t k 3"]:
    """A body (world mm, y up) about the middle of its way in a random standing camera's axes:
    right, down, away, mm.
    """
    yaw, pitch = rng.uniform(-np.pi, np.pi), np.radians(rng.normal(*world.pitch_deg))
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    down = np.array(
        [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
    )
    return (xyz_mm - xyz_mm.reshape(-1, 3).mean(0)) @ (down @ about_y).T * [-1, -1, 1]


def photograph(
    xyz_mm: Float[np.ndarray, "t k 3"], rng: np.random.Generator, world: MotionWorld = WORLD
) -> Float[np.ndarray, "t k 2"]:
    """The whole way of a body (world mm, y up) before one standing camera that looks at its
    middle, px.
    """
    xyz = turn(xyz_mm, rng, world)
    distance = max(rng.uniform(*world.distance_mm), 1.5 * np.abs(xyz).max())
    focal = rng.uniform(*world.height_px) * distance / 2000
    return np.array(world.frame_wh) / 2 + focal * xyz[..., :2] / (distance + xyz[..., 2:])


def bursts(
    n: int, t: int, rng: np.random.Generator, world: MotionWorld = WORLD
) -> Bool[np.ndarray, "n t k"]:
    """Joints that an occluder hides for a while: runs along the bones, a few frames to most of a
    second.
    """
    hidden = np.zeros((n, t, len(JOINTS)), bool)
    for row, count in enumerate(rng.poisson(t * world.burst_rate, n)):
        for _ in range(count):
            first, length = rng.integers(t), rng.integers(*world.burst_frames, endpoint=True)
            hidden[row, first : first + length] |= mask_runs(
                1, JOINTS, rng.uniform(*world.burst_share), rng
            )[0]
    return hidden


def detect(
    xy: Float[np.ndarray, "n t k 2"],
    hidden: Bool[np.ndarray, "n t k"],
    rng: np.random.Generator,
    world: MotionWorld = WORLD,
) -> Float[np.ndarray, "n t k 2"]:
    """What the detector says of each frame: partly drawn anew, partly an error that lasts, more
    so while hidden.
    """
    return detect_scored(xy, hidden, rng, world)[0]


def detect_scored(
    xy: Float[np.ndarray, "n t k 2"],
    hidden: Bool[np.ndarray, "n t k"],
    rng: np.random.Generator,
    world: MotionWorld = WORLD,
) -> tuple[Float[np.ndarray, "n t k 2"], Float[np.ndarray, "n t k"]]:
    """`detect`, and the detector's confidence, which lasts with the error."""
    n, t, k = hidden.shape
    flat = xy.reshape(n * t, k, 2)
    boxes = np.concatenate((flat.min(1), flat.max(1)), -1)
    pose = Pose(JOINTS.name, flat, np.where(hidden.reshape(-1, k), 1, 2), boxes)
    found = world.detector.apply(pose, rng)
    error, confidence = (
        found.xy_frame.reshape(xy.shape) - xy,
        found.confidence.reshape(hidden.shape),
    )
    changed = np.diff(hidden, axis=1, prepend=hidden[:, :1]) != 0
    anew = (rng.random(hidden.shape) < world.renewal) | changed
    since = np.maximum.accumulate(np.where(anew, np.arange(t)[:, None], 0), axis=1)
    lasts = rng.random(hidden.shape) < np.where(hidden, world.lasting[1], world.lasting[0])
    since = np.where(lasts, since, np.arange(t)[:, None])
    return xy + np.take_along_axis(error, since[..., None], 1), np.take_along_axis(
        confidence, since, 1
    )


@cache
def _motions(spec: str) -> tuple:
    name = "bandai_namco" + spec.removeprefix("mocap")
    return read_bvh(locate(name)[1]).motions


def motions(
    spec: str, split: str, *, copies: int = 1, seed: int = 0
) -> list[tuple[str, np.ndarray]]:
    """(name, xyz world mm [t 15 3]) of a split: "mocap" or "mocap:PATH" (BVH, by style), or
    "synthetic" (gaits).

    copies: how often each clip comes, with other body proportions each time (not in the test
    split).
    """
    rng = np.random.default_rng((seed, {"train": 1, "test": 2}[split]))
    if spec == "synthetic":
        draws = [
            (f"gait{i}", gait_joints_mm(int(rng.integers(60, 200)), float(WORLD.fps), rng))
            for i in range(60 * copies)
        ]
        return [(name, skeleton_joints(joints, JOINTS.name)) for name, joints in draws]
    if spec.partition(":")[0] != "mocap":
        from .hanet_data import SETS

        raise unknown("data set of HANet", spec, ["mocap", "synthetic", *SETS])
    test = split == "test"
    chosen = [m for m in _motions(spec) if (m.labels[-1] in WORLD.test_styles) == test]
    bodies = (
        (m.name, body_joints(m, None if test else rng))
        for m in chosen
        for _ in range(1 if test else copies)
    )
    return [(name, skeleton_joints(joints, JOINTS.name)) for name, joints in bodies]


def sequences(spec: str, split: str, *, cameras: int = 3, seed: int = 0) -> list[Sequence2D]:
    """Every motion of a split before some cameras, disturbed; the same seed gives the same
    numbers.
    """
    rng, found = np.random.default_rng((seed, 7, split == "test")), []
    for name, xyz in motions(spec, split, seed=seed):
        for camera in range(cameras):
            xy = photograph(xyz, rng)
            hidden = bursts(1, len(xy), rng)
            found.append(
                Sequence2D(f"{name}/{camera}", xy, detect(xy[None], hidden, rng)[0], hidden[0])
            )
    return found


def window_batches(
    pool: Sequence[np.ndarray],
    window: int,
    size: int,
    *,
    see: Callable = photograph,
    answer: Callable = detect,
) -> Callable[[int, np.random.Generator], Batch]:
    """Windows of random motions before random cameras, half of them backwards, in the frame of
    their detections.
    """

    def source(_step: int, rng: np.random.Generator) -> Batch:
        parts = []
        for i in rng.integers(len(pool), size=size):
            xyz = pool[i]
            first = int(rng.integers(max(len(xyz) - window, 0) + 1))
            part = xyz[np.minimum(np.arange(first, first + window), len(xyz) - 1)]
            parts.append(see(part[:: rng.choice([-1, 1])], rng))
        xy = np.stack(parts)
        found = answer(xy, bursts(size, window, rng), rng)
        centre, scale = SequenceRefiner.frame(found)
        arrays = {"xy": (found - centre) / scale, "truth": (xy - centre) / scale}
        return {
            key: torch.tensor(v.reshape(size, window, -1), dtype=torch.float32)
            for key, v in arrays.items()
        }

    return source


# --- trainings ------------------------------------------------------------------------------------

WINDOW = 43
# Sizes and lambda_s were chosen on styles held out of the training clips, 1,500 steps each. With
# lambda_s = 1 the mutual target is an L1 term as strong as the truth's, so that nothing pulls a
# pose that lies between the
# two: it learned worst.
SMALL = HANetConfig(
    interval=3, dim=64, levels=2, decoder_levels=3, dense_neighbours=True, final_weight=20.0
)
# DeciWatch's idea at equal size: a plain transformer over the read frames, no kinematics, no
# hierarchy, no mutual learning.
PLAIN = HANetConfig(
    interval=3,
    dim=112,
    levels=3,
    decoder_levels=3,
    dense_neighbours=True,
    hierarchical=False,
    flow=False,
    velocity=False,
    acceleration=False,
    affine=False,
    neighbours=False,
    norms=(),
)
BARE = replace(
    SMALL, flow=False, velocity=False, acceleration=False, affine=False, neighbours=False
)
VARIANTS = {
    "hanet": SMALL,
    "plain": PLAIN,
    "no_hierarchy": replace(SMALL, dim=120, hierarchical=False),  # Table 4, rows 1 and 2
    "no_mutual": replace(SMALL, norms=()),
    "mutual_l1": replace(SMALL, norms=(1,)),
    "mutual_l2": replace(SMALL, norms=(2,)),
    "equal_weights": replace(SMALL, final_weight=1.0),  # lambda_s = 1 in Eq. 11
    "levels_1": replace(SMALL, dim=96, levels=1),  # Table 4, N_L, at about equal size
    "levels_3": replace(SMALL, dim=32, levels=3),
    "no_kinematics": BARE,  # Table 5, from the first row on
    "flow": replace(BARE, flow=True),
    "velocity": replace(BARE, flow=True, velocity=True),
    "acceleration": replace(BARE, flow=True, velocity=True, acceleration=True),
}
# AdamW, 1e-3, warm-up, cosine: Sec. 4.4. Steps and batch fit a quarter of an hour on two cores.  #
# unstated; ours
TRAIN = TrainConfig(
    steps=4_000,
    batch_size=64,
    lr=1e-3,
    warmup_steps=200,
    weight_decay=1e-4,
    clip_norm=1.0,
    ema=0.998,
    workers=1,
    save_every=500,
)


cache_folder = partial(trained_folder, "hanet")


SHIPPED_TRAIN = TRAIN


def train_variant(
    spec: str,
    variant: str,
    settings: TrainConfig = TRAIN,
    *,
    device: str = "auto",
    progress: bool = True,
) -> tuple[SequenceRefiner, Path]:
    """HANet, or an ablation of it, trained on the training split of "mocap" or "synthetic", and
    its weight file; cached.
    """
    if variant not in VARIANTS:
        raise unknown("variant of HANet", variant, VARIANTS)
    torch.manual_seed(settings.seed)
    model = build("hanet", VARIANTS[variant])
    moves = motions(spec, "train", copies=4, seed=settings.seed)
    names = sorted({name for name, _ in moves})
    config = asdict(VARIANTS[variant])
    card = {
        "model": "hanet",
        "config": config,
        "world": WORLD.digest(),
        "data": spec.partition(":")[0],
        "window": WINDOW,
    }
    card["motions"] = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]
    batches = window_batches([xyz for _, xyz in moves], WINDOW, share(settings.batch_size))
    return train_on(batches, model, card, settings, device=device, progress=progress, label=variant)


def train_on(
    batches: Callable[[int, np.random.Generator], Batch],
    model: HANet,
    card: Mapping,
    settings: TrainConfig,
    *,
    device: str,
    progress: bool,
    label: str,
) -> tuple[SequenceRefiner, Path]:
    """A HANet after its training, and its weight file; one that has this card and these settings
    already is reused.
    """
    weights = {"refined": 1.0, "final": 1.0} | ({"online": 1.0} if model.config.norms else {})
    result = train(
        model,
        batches,
        settings,
        cache_folder() / fingerprint(settings_of(settings), card),
        loss_weights=weights,
        card=card,
        device=device,
        progress=progress,
        label=label,
    )
    return SequenceRefiner(model.eval().cpu(), card["window"], label), result.weights


def ship(
    out: str | Path,
    settings: TrainConfig = SHIPPED_TRAIN,
    *,
    skeleton: str = "jhmdb15",
    device: str = "auto",
    progress: bool = True,
) -> Path:
    """Trains on procedural gaits, measures on others, and writes one file with its card."""
    if skeleton != JOINTS.name:
        raise unknown("skeleton of HANet", skeleton, [JOINTS.name])
    refiner, weights = train_variant(
        "synthetic", "hanet", settings, device=device, progress=progress
    )
    card, test = checkpoint.read_card(weights), sequences("synthetic", "test")
    rows = {
        "input": [s.detected for s in test],
        "hanet": [refiner.refine(s.detected) for s in test],
    }
    card |= {
        "skeleton": skeleton,
        "history": card["history"][:: max(len(card["history"]) // 100, 1)],
        "metrics": {
            name: _row(name, xy, test, settings.seed)["metrics"] for name, xy in rows.items()
        },
        "metrics_data": f"synthetic, {len(test)} sequences of gaits, world {WORLD.digest()}",
        "command": f"workbench train hanet --seed {settings.seed} --steps {settings.steps}",
        "licence": "Apache-2.0; trained on procedural gaits alone, under a simulated detector as bad as the paper's input row",
    }
    return checkpoint.save(out, refiner.model, card)


# --- what a user would otherwise do ---------------------------------------------------------------


def one_euro(
    xy: Float[np.ndarray, "t k d"], fps: float, min_cutoff: float = 1.0, beta: float = 0.0
) -> Float[np.ndarray, "t k d"]:
    """The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012), derivative cut at 1 Hz; speed in
    boxes a second.
    """

    def smoothing(cutoff):
        return 1 / (1 + fps / (2 * np.pi * cutoff))

    out, slope = [xy[0]], np.zeros_like(xy[0])
    for x in xy[1:]:
        slope = slope + smoothing(1.0) * ((x - out[-1]) * fps - slope)
        share = smoothing(min_cutoff + beta * np.linalg.norm(slope, axis=-1, keepdims=True))
        out.append(out[-1] + share * (x - out[-1]))
    return np.stack(out)


def _lines(xy: np.ndarray, every: int) -> np.ndarray:
    read = torch.tensor(xy[::every].reshape(1, -1, xy[0].size))
    return interpolate(read, every, len(xy)).numpy().reshape(xy.shape)


def _savgol(xy: np.ndarray, window: int, order: int) -> np.ndarray:
    window = min(window, len(xy) - 1 + len(xy) % 2)
    return savgol_filter(xy, window, min(order, window - 1), axis=0)


def _euro(xy: np.ndarray, cutoff: float, beta: float) -> np.ndarray:
    size = SequenceRefiner.frame(xy[None])[1].item()
    return one_euro(xy / size, float(WORLD.fps), cutoff, beta) * size


# name -> (filter, settings that are tried on training sequences)
FILTERS: dict[str, tuple[Callable, list[tuple]]] = {
    "linear": (_lines, [(3,), (5,), (10,)]),
    "savgol": (_savgol, [(w, p) for w in (5, 9, 13, 17, 21, 31) for p in (1, 2, 3)]),
    "one_euro": (_euro, [(c, b) for c in (0.5, 1.0, 2.0, 4.0, 8.0) for b in (0.0, 1.0, 5.0, 20.0)]),
}


def _pck_005(xy: np.ndarray, s: Sequence2D) -> float:
    return metrics.hits(xy, s.xy_frame, s.sizes, 0.05).mean()


def chosen_filters(
    train_set: Sequence, score: Callable = _pck_005
) -> dict[str, tuple[Callable, tuple]]:
    """Each filter with the setting that is best on training sequences, by default in PCK@0.05."""

    def mean(apply, setting) -> float:
        return float(np.mean([score(apply(s.detected, *setting), s) for s in train_set]))

    return {
        name: (apply, max(tried, key=lambda t: mean(apply, t)))
        for name, (apply, tried) in FILTERS.items()
    }


# --- rows -----------------------------------------------------------------------------------------


def measures(predicted: Sequence[np.ndarray], truth: Sequence[Sequence2D]) -> dict[str, np.ndarray]:
    """By sequence: PCK in percent, Accel in px a frame squared, and error (px) inside and
    outside of bursts.
    """
    rows = []
    for xy, s in zip(predicted, truth):
        away = metrics.joint_distances(xy, s.xy_frame)
        row = {f"pck_{t:g}": 100 * (away <= t * s.sizes[:, None]).mean() for t in THRESHOLDS}
        row["accel"] = metrics.accel(xy, s.xy_frame).mean() if len(xy) > 2 else np.nan
        for name, use in (("inside", s.hidden), ("outside", ~s.hidden)):
            row[f"epe_{name}"] = away[use].mean() if use.any() else np.nan
            row[f"pck_0.05_{name}"] = (
                100 * (away <= 0.05 * s.sizes[:, None])[use].mean() if use.any() else np.nan
            )
        rows.append(row)
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _row(
    method: str, predicted: Sequence[np.ndarray], truth: Sequence[Sequence2D], seed: int, **more
) -> dict:
    clips = np.array([s.name.partition("/")[0] for s in truth])
    return row(method, measures(predicted, truth), clips, len(truth), seed, **more)


def row(
    method: str, values: Mapping[str, np.ndarray], clips: np.ndarray, n: int, seed: int, **more
) -> dict:
    """A measured row: means of values (NaN: not measured there) with their intervals by clip; n
    sequences.
    """
    rng, intervals = np.random.default_rng(0), {}
    for key, v in values.items():
        use = np.isfinite(v)
        if len(set(clips[use])) > 1:
            intervals[key] = metrics.bootstrap_interval(v[use], clips[use], rng)
    means = {key: float(np.nanmean(v)) for key, v in values.items()}
    return {
        "method": method,
        "seed": seed,
        "kind": "measured",
        "n": n,
        "metrics": means,
        "intervals": intervals,
        **more,
    }


PAPER_ROWS = [  # HANet Table 1, Sub-JHMDB
    {
        "method": method,
        "subset": "sub_jhmdb",
        "kind": "paper",
        "metrics": dict(zip(("pck_0.05", "pck_0.1", "pck_0.2"), values)),
    }
    for method, values in (
        ("input", (56.9, 81.3, 94.4)),
        ("DeciWatch", (79.4, 94.1, 98.8)),
        ("HANet", (91.9, 98.3, 99.6)),
    )
]


def evaluate(
    data: str = "mocap",
    *,
    variants: Sequence[str] | None = None,
    seed: int = 0,
    steps: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> dict:
    """The protocol on motion before made cameras: {schema_version, protocol, rows}. Trained models
    are cached and reused.

    data: "mocap" or "mocap:PATH" (BVH clips), "synthetic" (gaits), or one of `hanet_data.SETS`.
    steps: caps every training, for tests.
    """
    from . import hanet_data

    settings = replace(TRAIN, seed=seed)
    if steps is not None:
        settings = replace(
            settings, steps=steps, warmup_steps=min(settings.warmup_steps, steps // 5)
        )
    if data.partition(":")[0] in hanet_data.SETS:
        return hanet_data.evaluate(data, variants, settings, device=device, progress=progress)
    test = sequences(data, "test")
    if len({s.name.partition("/")[0] for s in test}) < 2:
        raise BadParameter(
            f"{len(test)} test sequences of {data}", remedy="two clips of the test styles, or more"
        )
    refiners = {
        v: train_variant(data, v, settings, device=device, progress=progress)[0]
        for v in variants or ("plain", "hanet")
    }
    networks = f"{settings.steps:,} steps, {settings.batch_size} windows of {WINDOW} frames"
    return evaluate_refiners(refiners, test, data, networks=networks, seed=seed)


def evaluate_refiners(
    refiners: Mapping[str, SequenceRefiner],
    test: Sequence[Sequence2D],
    data: str,
    *,
    networks: str,
    seed: int = 0,
) -> dict:
    """Rows of the input, of filters set on training sequences of `data`, and of refiners;
    networks: how these learned.
    """
    detected = [s.detected for s in test]
    rows = [_row("input", detected, test, seed)]
    for name, (apply, setting) in chosen_filters(
        sequences(data, "train", cameras=1, seed=1)
    ).items():
        rows.append(
            _row(name, [apply(xy, *setting) for xy in detected], test, seed, setting=list(setting))
        )
    rows += [
        _row(name, [r.refine(xy) for xy in detected], test, seed) for name, r in refiners.items()
    ]
    kind = "gaits" if data == "synthetic" else "motion capture"
    protocol = (
        f"HANet on {len(test)} sequences ({kind}, test styles, 3 cameras each), detector simulated "
        f"(world {WORLD.digest()}): "
        f"PCK against {WORLD.box:g} times the joints' longer side, percent; Accel px a frame "
        "squared; epe px inside and "
        "outside of bursts of occlusion; means over sequences, 95 % intervals by clip; filters' "
        "settings have the best "
        f"PCK@0.05 on training sequences; networks: {networks}"
    )
    return {"schema_version": SCHEMA_VERSION, "protocol": protocol, "rows": rows + PAPER_ROWS}


def flat(result: Mapping) -> list[dict]:
    """Rows for a table."""
    return [
        {key: r[key] for key in ("method", "subset", "T") if key in r}
        | {**r["metrics"], "n": r.get("n"), "seed": r.get("seed"), "kind": r["kind"]}
        for r in result["rows"]
    ]
