"""OTPose trained and measured: on rendered clips of people who cross each other, and on PoseTrack
where the user has it.

The world "crossing_people" (`made.worlds`) is frozen: clips of five blurred frames, of which the
middle one alone is labelled. A single-frame estimator learns first, from where VisSimCC's plain one
stands; its heatmaps of all clips are made once, and the temporal part learns from them. Every
variant has the same heatmaps and budget.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Tensor
from tqdm.auto import tqdm

from .. import checkpoint, codecs, geometry, metrics
from .. import metrics as kp
from ..data.coco import annotation_files, find_pictures, read_person_boxes
from ..data.manifest import locate
from ..data.posetrack import read_posetrack
from ..data.windows import Augment, WindowConfig, Windows, detected_windows, loader
from ..errors import BadParameter, MissingData, unknown
from ..made.worlds import WORLDS, cached_clips
from ..models import build, config_of
from ..models.otpose import OTPose, OTPoseConfig
from ..models.published import public_weights
from ..models.vissimcc import VisSimCC, VisSimCCConfig
from ..predict import ClipEstimator, load, weights_path
from ..records import Clip, Detections, Pose, Track
from ..skeletons import skeleton
from ..train import (
    Batch,
    TrainConfig,
    choose_device,
    fingerprint,
    settings_of,
    share,
    train,
    trained_folder,
)
from . import vissimcc as single

SCHEMA_VERSION = 1
flat = single.flat  # rows for a table
paper_rows = partial(single.paper_rows, of="otpose", prefix="AP-")
WORLD = WORLDS["crossing_people"]
CLIPS = {"train": 2_000, "val": 120, "test": 400}
# how often the training clips are cropped anew, augmented, for the temporal part's heatmaps
PASSES = 2
PADDING = 1.25
SMALL, PAPER = config_of("otpose", "small"), config_of("otpose", "paper")
# The single-frame estimator: the plain network of VisSimCC with heatmaps of PoseTrack's joints.
FRAME = replace(
    config_of("vissimcc", "small"),
    skeleton=SMALL.skeleton,
    reasoning=False,
    output="heatmap",
    heatmap_sigma=SMALL.sigma,
)
VARIANTS = {
    "otpose": SMALL,  # Table V row 10
    "one_branch_no_encoder": replace(SMALL, branches=("prev",), occlusion_encoder=False),  # row 1
    "one_branch": replace(SMALL, branches=("prev",)),  # row 2
    "no_encoder": replace(SMALL, occlusion_encoder=False),  # row 3
    "flow_label": replace(SMALL, pseudo_label="flow"),  # row 4
    **{
        f"layers_{n}": replace(SMALL, layers=n, occlusion_layers=n) for n in (5, 6, 7)
    },  # rows 5 to 7, for the paper's 8
    "window_19": replace(SMALL, window=19),  # row 8
    "window_36": replace(SMALL, window=36),  # row 9
}
# the shipped weights whose backbone the single-frame estimator goes on from
START = "vissimcc-baseline"
FRAME_TRAIN = TrainConfig(
    steps=2_000, batch_size=64, lr=2e-3, warmup_steps=200, ema=0.995, precision="bf16", workers=1
)
# unstated; ours
TRAIN = SHIPPED_TRAIN = TrainConfig(
    steps=1_000, batch_size=16, lr=1e-3, warmup_steps=100, ema=0.995, clip_norm=1.0
)
TABLE_TRAIN = replace(
    TRAIN, steps=400, precision="bf16"
)  # of each row of Table V: five rows, three seeds, two core-hours
AUGMENT = Augment(scale=(0.75, 1.25), rotation_degrees=30.0, half_body=0.0)


cache_folder = partial(trained_folder, "otpose")


# --- data -----------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _rendered(split: str, n: int) -> tuple:
    return tuple(cached_clips(WORLD, split, n))


def people(
    split: str,
    config: OTPoseConfig | VisSimCCConfig | None = None,
    *,
    offsets: tuple[int, ...] = (-2, -1, 0, 1, 2),
    n: int | None = None,
) -> Windows:
    """Everybody in the middle frames of the first n clips of a split (default: `CLIPS`), a
    window each.
    """
    config = config or SMALL
    cut = WindowConfig(
        size=config.size,
        offsets=offsets,
        padding=PADDING,
        alignment=config.alignment,
        augment=AUGMENT,
    )
    return Windows(_rendered(split, CLIPS[split] if n is None else n), cut)


@dataclass(frozen=True, eq=False)
class Rough:
    """What the single-frame estimator sees in n windows: files of the cache, mapped."""

    heatmaps: Float16[np.ndarray, "n 5 k h w"]
    xy_crop: Float[np.ndarray, "n k 2"]  # of the key frame, px
    weights: Float[np.ndarray, "n k"]

    def __len__(self) -> int:
        return len(self.heatmaps)


def rough_heatmaps(
    estimator,
    windows: Windows,
    folder: Path,
    *,
    passes: int = 0,
    seed: int = 0,
    progress: bool = True,
) -> Rough:
    """Heatmaps of all frames of all windows by a single-frame estimator, made once and kept in
    `folder`.

    passes: so many times over all windows, augmented anew; 0: once, as they are.
    """
    names, n = ("heatmaps", "xy_crop", "weights"), len(windows) * max(passes, 1)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".maps-") as beside:
            k, (w, h) = len(windows.skeleton), estimator.model.grid
            shapes, whole = ((n, 5, k, h, w), (n, k, 2), (n, k)), Path(beside) / "whole"
            whole.mkdir()
            files = [
                np.lib.format.open_memmap(
                    whole / f"{name}.npy", "w+", np.float16 if name == "heatmaps" else np.float32, s
                )
                for name, s in zip(names, shapes)
            ]
            bar, at = (
                tqdm(total=n, desc="heatmaps", unit="person", disable=not progress, leave=False),
                0,
            )
            for i in range(max(passes, 1)):
                batches = loader(
                    windows, 32, shuffle=False, augment=passes > 0, seed=seed + i, workers=1
                )
                for batch in batches:
                    images, rows = (
                        batch["images"].to(estimator.device),
                        slice(at, at + len(batch["images"])),
                    )
                    with torch.inference_mode():
                        flat = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
                        maps = estimator.model(flat)["heatmaps"].unflatten(0, images.shape[:2])
                    key = windows.config.key
                    for file, value in zip(
                        files, (maps, batch["xy_crop"][:, key], batch["weights"][:, key])
                    ):
                        file[rows] = value.cpu().numpy()
                    at = rows.stop
                    bar.update(len(images))
            bar.close()
            for file in files:
                file.flush()
            shutil.move(whole, folder)
    return Rough(
        *(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names)
    )


def heatmap_batches(
    rough: Rough, size: int, config: OTPoseConfig
) -> Callable[[int, np.random.Generator], Batch]:
    """What `train` takes: heatmaps of five frames and the key frame's labels, half of them
    mirrored.
    """
    flip = skeleton(config.skeleton).flip_index.tolist()

    def make(step: int, rng: np.random.Generator) -> Batch:
        rows = np.sort(rng.integers(len(rough), size=size))
        maps = torch.from_numpy(np.asarray(rough.heatmaps[rows], np.float32))
        xy, weights = (
            torch.from_numpy(np.array(part[rows])) for part in (rough.xy_crop, rough.weights)
        )
        turned = torch.from_numpy(rng.random(size) < 0.5)
        back = codecs.mirror_heatmaps(maps.flatten(0, 1), flip, config.alignment).unflatten(
            0, maps.shape[:2]
        )
        other = xy[:, flip] * torch.tensor([-1.0, 1.0]) + torch.tensor([config.size[0] - 1.0, 0.0])
        return {
            "heatmaps": torch.where(turned[:, None, None, None, None], back, maps),
            "xy_crop": torch.where(turned[:, None, None], other, xy),
            "weights": torch.where(turned[:, None], weights[:, flip], weights),
        }

    return make


# --- training -------------------------------------------------------------------------------------


def train_frame(*, steps: int | None = None, device: str = "auto", progress: bool = True):
    """The single-frame estimator (seed 0, the same for all variants), and its weight file;
    cached. steps: a cap, for tests.
    """
    settings = replace(FRAME_TRAIN, steps=min(FRAME_TRAIN.steps, steps or FRAME_TRAIN.steps))
    torch.manual_seed(settings.seed)
    model = build("vissimcc", FRAME)
    start = weights_path(START, "coco17")
    tensors = {
        k: v for k, v in checkpoint.read_tensors(start).items() if k.startswith("maps.backbone.")
    }
    checkpoint.load_into(model, tensors, partial=True)
    card = {
        "model": "vissimcc",
        "config": asdict(FRAME),
        "padding": PADDING,
        "world": WORLD.digest(),
        "data": WORLD.name,
        "clips": CLIPS["train"],
        "start": START,
        "start_fingerprint": checkpoint.read_card(start).get("fingerprint"),
    }
    return single.train_on(
        people("train", FRAME, offsets=(0,)),
        model,
        card,
        settings,
        device=device,
        progress=progress,
        label="frame",
    )


def rough_of(
    split: str, estimator, weights: Path, *, progress: bool = True
) -> tuple[Windows, Rough]:
    """A split's windows, and their heatmaps by the single-frame estimator; augmented for
    training alone.
    """
    passes = PASSES if split == "train" else 0
    windows = people(split)
    made = {
        "weights": checkpoint.read_card(weights)["fingerprint"],
        "clips": CLIPS[split],
        "passes": passes,
    }
    folder = cache_folder() / f"heatmaps-{split}-{fingerprint(made, asdict(windows.config))}"
    return windows, rough_heatmaps(estimator, windows, folder, passes=passes, progress=progress)


def train_variant(
    variant: str,
    settings: TrainConfig = TRAIN,
    *,
    cap: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> tuple[ClipEstimator, Path]:
    """A variant trained on the heatmaps of the world's clips, and its weight file; cached. cap:
    most steps, for tests.
    """
    if variant not in VARIANTS:
        raise unknown("variant of OTPose", variant, VARIANTS)
    estimator, weights = train_frame(steps=cap, device=device, progress=progress)
    _, rough = rough_of("train", estimator, weights, progress=progress)
    torch.manual_seed(settings.seed)
    config = VARIANTS[variant]
    model = build("otpose", config)
    maps = {k: v for k, v in checkpoint.read_tensors(weights).items() if k.startswith("maps.")}
    checkpoint.load_into(model, maps, partial=True)
    model.maps.requires_grad_(False)  # and never called: heatmaps are given
    card = {
        "model": "otpose",
        "variant": variant,
        "config": asdict(config),
        "padding": PADDING,
        "world": WORLD.digest(),
        "data": WORLD.name,
        "clips": CLIPS["train"],
        "passes": PASSES,
        "frame": checkpoint.read_card(weights)["fingerprint"],
    }
    settings = replace(settings, steps=min(settings.steps, cap or settings.steps))
    losses = {"prediction": 1.0} | ({"occlusion": 1.0} if config.occlusion_encoder else {})
    result = train(
        model,
        heatmap_batches(rough, share(settings.batch_size), config),
        settings,
        cache_folder() / fingerprint(settings_of(settings), card),
        loss_weights=losses,
        card=card,
        device=device,
        progress=progress,
        label=variant,
    )
    return ClipEstimator(model, variant, PADDING), result.weights


# --- rows -----------------------------------------------------------------------------------------


Answers = tuple[Float[Tensor, "n k 2"], Float[Tensor, "n k"]]  # xy_heatmap px and confidence


def detections(answers: Answers, config: OTPoseConfig, windows: Windows) -> Detections:
    """Answers of all windows as poses, px of their key frames."""
    truth, to_heatmap = (
        windows.poses(),
        geometry.crop_to_heatmap(config.size, config.grid, config.alignment),
    )
    xy_crop = geometry.apply(geometry.invert(to_heatmap), answers[0].double().numpy())
    xy_frame = geometry.apply(geometry.invert(windows.affines()), xy_crop)
    return Detections(
        truth.skeleton, xy_frame, answers[1].numpy(), truth.boxes_xyxy, images=truth.images
    )


def rows_of(
    variant: str,
    found: Detections,
    truth: Pose,
    *,
    seed: int | None = None,
    left_out: Bool[np.ndarray, "n k"] | None = None,
    paired: bool = True,
) -> list[dict]:
    """PoseTrack AP by group of joints and mean, and the share of joints within half a head size
    ("PCKh"), of all, and where the truth says it of visible and occluded joints; percent. Intervals
    (95 % by clip) of AP-Mean and PCKh. paired: the poses belong to the people row by row; PCKh
    needs that.
    """
    rows, sizes = [], metrics.head_sizes(truth.head_boxes_xyxy)
    right = metrics.hits(found.xy_frame, truth.xy_frame, sizes, 0.5) if paired else None
    for subset, joints in list(single.KINDS.items())[: None if truth.occlusion_known else 1]:
        use = kp.joints_of(truth, joints)
        values = {
            f"AP-{name}": 100 * v
            for name, v in kp.posetrack_ap(truth, found, joints, left_out=left_out).items()
            if v >= 0
        }
        several, intervals = len(set(truth.groups)) > 1, {}
        if several:
            ap = kp.posetrack_ap_interval(
                truth, found, joints, left_out=left_out, rng=np.random.default_rng(0)
            )
            intervals["AP-Mean"] = tuple(100 * v for v in ap)
        if paired:
            at = use.any(1)
            share, groups = (
                100 * (right & use).sum(1)[at] / use.sum(1)[at],
                np.array(truth.groups)[at],
            )
            values["PCKh"] = float(share.mean())
            if len(set(groups)) > 1:
                intervals["PCKh"] = metrics.bootstrap_interval(
                    share, groups, np.random.default_rng(0)
                )
        rows.append(
            {
                "method": "otpose",
                "variant": variant,
                "subset": subset,
                "seed": seed,
                "kind": "measured",
                "n": int(use.sum()),
                "metrics": values,
                "intervals": intervals,
            }
        )
    return rows


def ship(
    out: str | Path,
    settings: TrainConfig = TRAIN,
    *,
    skeleton: str = "posetrack15",
    device: str = "auto",
    progress: bool = True,
) -> Path:
    """Trains OTPose, single-frame estimator included, measures it and writes its weight file."""
    if skeleton != WORLD.skeleton:
        raise unknown("skeleton of OTPose", skeleton, [WORLD.skeleton])
    # of the single-frame estimator, too
    cap = settings.steps if settings.steps < TRAIN.steps else None
    estimator, weights = train_variant(
        "otpose", settings, cap=cap, device=device, progress=progress
    )
    card = checkpoint.read_card(weights)
    card |= {
        "skeleton": skeleton,
        "history": card["history"][:: max(len(card["history"]) // 100, 1)],
        "metrics": {
            f"{r['variant']}, {r['subset']}": r["metrics"]
            for r in measured({"otpose": estimator.model}, progress=progress)
        },
        "metrics_data": f"{WORLD.name} {WORLD.digest()}, {CLIPS['test']} test clips, boxes: ground truth",
        "command": f"workbench train otpose --seed {settings.seed} --steps {settings.steps}",
        "licence": "Apache-2.0; trained on rendered people alone",
    }
    return checkpoint.save(Path(out), estimator.model, card)


def estimate(
    windows: Windows,
    models: Mapping[str, OTPose],
    *,
    precision: str = "fp32",
    progress: bool = True,
) -> dict[str, Detections]:
    """Poses by the single frame, by the mean of five frames' heatmaps, and by each model.

    All models share the single-frame estimator of the first. precision: "fp32" or "bf16" (mixed).
    """
    first = next(iter(models.values()))
    estimator = ClipEstimator(first, "otpose", PADDING)
    estimator.precision = precision
    parts = {"single frame": [], "mean of five frames": []} | {name: [] for name in models}
    batches = loader(windows, 32, shuffle=False, augment=False, workers=1)
    with (
        estimator.inference(),
        tqdm(
            total=len(windows), desc="test", unit="person", disable=not progress, leave=False
        ) as bar,
    ):
        for batch in batches:
            rough = estimator.rough(batch["images"])
            maps = {"single frame": rough[:, 2], "mean of five frames": rough.mean(1)}
            distance = frame_distance(batch, windows.config.key).to(rough.device)
            for name, model in models.items():
                maps[name] = model.eval()(heatmaps=rough, distance=distance)["heatmaps"]
            for name, part in maps.items():  # heatmaps of a whole split would not fit memory
                parts[name].append([v.float().cpu() for v in codecs.decode_heatmaps(part)])
            bar.update(len(rough))
    whole = {name: tuple(torch.cat(v) for v in zip(*found)) for name, found in parts.items()}
    return {name: detections(answers, first.config, windows) for name, answers in whole.items()}


def measured(
    models: Mapping[str, OTPose],
    *,
    seed: int | None = None,
    precision: str = "fp32",
    progress: bool = True,
) -> list[dict]:
    """Rows of `estimate` on the test clips."""
    windows = people("test", next(iter(models.values())).config)
    truth = windows.poses()
    found = estimate(windows, models, precision=precision, progress=progress)
    return [row for name, poses in found.items() for row in rows_of(name, poses, truth, seed=seed)]


def evaluate(
    data: str = "synthetic",
    *,
    variants: Sequence[str] | None = None,
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
    variants: names of `VARIANTS`, which are trained (and cached); by default the shipped weights,
    on PoseTrack "otpose". steps: caps every training, for tests. boxes: a detector's results for
    PoseTrack, COCO JSON; None: ground truth. precision: of answers, "fp32" or "bf16" (mixed).
    """
    name = data.partition(":")[0]
    if boxes is not None and name == "synthetic":
        raise BadParameter(
            "rendered clips have no detector's boxes", remedy="leave boxes out, or name PoseTrack"
        )
    if name not in ("synthetic", *PUBLISHED):
        raise unknown("data of OTPose", name, ("synthetic", *PUBLISHED))
    if name != "synthetic":
        given = {"boxes": boxes, "precision": precision, "device": device, "progress": progress}
        return _evaluate_published(data, variants or ("otpose",), seed, steps, **given)
    if variants is None:
        models, networks = (
            {"otpose": load("otpose", device=choose_device(device)).model},
            "shipped weights",
        )
        shipped = checkpoint.read_card(weights_path("otpose"))["train"]
        seed, count = shipped["seed"], shipped["steps"]
    else:
        settings = replace(TABLE_TRAIN, seed=seed)
        models = {
            name: train_variant(name, settings, cap=steps, device=device, progress=progress)[
                0
            ].model
            for name in variants
        }
        count = min(TABLE_TRAIN.steps, steps or TABLE_TRAIN.steps)
        networks = (
            f"networks: {count:,} steps of {TABLE_TRAIN.batch_size} people in "
            f"{TABLE_TRAIN.precision} on heatmaps of one "
            f"single-frame estimator"
        )
    rows = [
        row | ({"steps": count} if row["variant"] in models else {})
        for row in measured(models, seed=seed, precision=precision, progress=progress)
    ]
    protocol = (
        f"{CLIPS['test']} rendered test clips (world {WORLD.name} {WORLD.digest()}), the middle "
        "one of five frames; boxes: "
        "ground truth; percent; AP-*: PoseTrack's average precision within half a head size; "
        "PCKh: joints within half a "
        f"head size, mean over people; intervals: 95 % by clip; answers in {precision}; {networks}"
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "protocol": protocol,
        "boxes": "ground truth",
        "rows": rows + paper_rows("Table V"),
    }


# --- PoseTrack ------------------------------------------------------------------------------------

PUBLISHED = {"posetrack17": ("Table I",), "posetrack18": ("Table III",), "posetrack21": ()}
# 12 epochs of warm-up and 38 of half a cosine, people a step; Sec. IV-B
EPOCHS, WARMUP, PEOPLE = 50, 12, 32
FRAME_EPOCHS = 20
WEIGHTS = "hrnet_pose_coco"  # where HRNet-W48 begins, if the user has it; else ImageNet's weights


def _with_joints(clip: Clip, joints: str) -> Clip:
    """A clip whose people have the joints of another skeleton, by name."""
    wanted = skeleton(joints)

    def chosen(track: Track) -> Track:
        names = skeleton(track.skeleton).joints
        at = [names.index(name) for name in wanted.joints]
        return replace(
            track,
            skeleton=joints,
            xy_frame=track.xy_frame[:, at],
            visibility=track.visibility[:, at],
        )

    return replace(clip, tracks=[chosen(track) for track in clip.tracks])


def read_published(data: str, split: str) -> tuple[list[Clip], Path]:
    """Clips of the "train" or "val" half of PoseTrack with the paper's 15 joints, and the folder of
    their pictures.

    `MissingData` where one of them is not on this machine.
    """
    found, root = locate(data)
    files = [
        f
        for f in annotation_files(root, found.layout.files["annotations"])
        if split in (f.parent.name, *f.stem.split("_"))
    ]
    if not files:
        raise MissingData(f"no annotations of {split}", file=root, remedy=found.instructions)
    clips = [_with_joints(clip, SMALL.skeleton) for f in files for clip in read_posetrack(f).clips]
    folder = find_pictures(files[0], [picture.name for picture in clips[0].pictures])
    if folder is None:
        raise MissingData(
            f"the pictures of {files[0].name} are not here", file=root, remedy=found.instructions
        )
    return clips, folder


def published_config(config: OTPoseConfig) -> WindowConfig:
    """Scaling, truncating (half bodies), rotation and flipping in training (Sec. IV-B)."""
    return WindowConfig(size=config.size, padding=PADDING, alignment=config.alignment)


def published_windows(clips: Sequence[Clip], folder: Path, config: OTPoseConfig) -> Windows:
    """Everybody in every labelled frame."""
    return Windows([(clip, folder) for clip in clips], published_config(config))


def frame_distance(batch: Batch, key: int) -> Int[Tensor, "b 5"]:
    """How many frames a batch's crops are from the key frame: where a clip begins or ends, its
    first or last frame stands in.
    """
    return (batch["frames"] - batch["frames"][:, key : key + 1]).abs()


def window_batches(windows: Windows, size: int) -> Callable[[int, np.random.Generator], Batch]:
    """What `train` takes: five crops and the key frame's labels."""

    def make(step: int, rng: np.random.Generator) -> Batch:
        batch, key = windows.batch(rng.integers(len(windows), size=size), rng), windows.config.key
        return {
            "images": batch["images"],
            "xy_crop": batch["xy_crop"][:, key],
            "weights": batch["weights"][:, key],
            "distance": frame_distance(batch, key),
        }

    return make


def weights_at_hand(name: str, key: str) -> Path | None:
    """The user's file of published weights, by the manifest's name, if it is on this machine."""
    try:
        found, root = locate(name)
    except MissingData:
        return None
    return next(
        (root / file for file in found.layout.alternatives(key) if (root / file).is_file()), None
    )


def start_weights(model: VisSimCC) -> str | None:
    """HRNet-W48 of COCO into a single-frame estimator, where the user has it; its last layer for
    the joints that both have.

    What was found; None: no file.
    """
    file = weights_at_hand(WEIGHTS, "w48")
    if file is None:
        return None
    tensors = public_weights(checkpoint.read_public(file))
    ours, theirs = skeleton(model.config.skeleton).joints, skeleton("coco17").joints
    shared = [(i, theirs.index(name)) for i, name in enumerate(ours) if name in theirs]
    for name, own in model.maps.head.final.named_parameters():
        whole = own.detach().clone()
        for i, j in shared:
            whole[i] = tensors[f"head.final.{name}"][j]
        tensors[f"head.final.{name}"] = whole
    checkpoint.load_into(model.maps, tensors, file=file)
    return f"COCO ({file.name})"


def train_published_frame(
    clips: Sequence[Clip],
    folder: Path,
    config: OTPoseConfig,
    data: str,
    seed: int,
    steps: int | None,
    **how,
) -> tuple[Path, str]:
    """The single-frame estimator on the labelled frames alone, before anything looks at its maps;
    what it began with.

    20 epochs at 1e-4, a tenth after 10 and 15: HRNet's on PoseTrack; OTPose names the network
    alone.
    """
    frame = replace(
        config_of("vissimcc", "paper"),
        skeleton=config.skeleton,
        size=config.size,
        backbone=config.backbone,
        widths=config.widths,
        depths=config.depths,
        deconv=config.deconv,
        heatmap_sigma=config.sigma,
        alignment=config.alignment,
        reasoning=False,
        output="heatmap",
    )
    windows = Windows([(clip, folder) for clip in clips], single.window_config(frame, Augment()))
    settings = TrainConfig(
        steps=steps or FRAME_EPOCHS * max(len(windows) // PEOPLE, 1),
        batch_size=PEOPLE if steps is None else 2,
        lr=1e-4,
        drops=(0.5, 0.75),
        precision="bf16",
        seed=seed,
        workers=min(4, os.cpu_count() or 1),
    )
    torch.manual_seed(seed)
    model = build("vissimcc", frame)
    start = "random" if steps else start_weights(model)
    if start is None:
        model, start = VisSimCC(frame, pretrained=True), "ImageNet"
    card = {
        "model": "vissimcc",
        "config": asdict(frame),
        "padding": PADDING,
        "data": data,
        "start": start,
    }
    return single.train_on(windows, model, card, settings, label="single frame", **how)[1], start


def _evaluate_published(
    data, variants, seed: int, steps: int | None, *, boxes, precision, device, progress
) -> dict:
    """The paper's settings: HRNet-W48, 384 x 288, AdamW at 1e-5; boxes: ground truth, or a
    detector's as the paper's are.
    """
    clips, folder = read_published(data, "val")
    shown = [picture for clip in clips for picture in clip.pictures]
    detected = None if boxes is None else read_person_boxes(boxes).boxes
    told_boxes = (
        "ground truth"
        if boxes is None
        else f"{len(detected)} of {Path(boxes).name}, their scores times the joints' confidences"
    )
    rows, told = [], "weights as named"
    changed = ("branches", "occlusion_encoder", "pseudo_label", "window")
    deeper = {f"layers_{n}": {"layers": n, "occlusion_layers": n} for n in (5, 6, 7)}
    for variant in variants:
        if variant not in VARIANTS:
            model = load(variant, device=choose_device(device)).model
        else:
            config = replace(
                PAPER,
                **{name: getattr(VARIANTS[variant], name) for name in changed},
                **deeper.get(variant, {}),
            )
            how = {"device": device, "progress": progress}
            learn, pictures = read_published(data, "train")
            frame, start = train_published_frame(learn, pictures, config, data, seed, steps, **how)
            windows = published_windows(learn, pictures, config)
            epoch = max(len(windows) // PEOPLE, 1)
            settings = TrainConfig(
                steps=steps or EPOCHS * epoch,
                batch_size=PEOPLE if steps is None else 2,
                lr=1e-5,
                weight_decay=0.01,
                warmup_steps=0 if steps else WARMUP * epoch,
                precision="bf16",
                seed=seed,
                workers=min(4, os.cpu_count() or 1),
            )
            torch.manual_seed(seed)
            model = build("otpose", config)
            maps = {
                k: v for k, v in checkpoint.read_tensors(frame).items() if k.startswith("maps.")
            }
            checkpoint.load_into(model, maps, partial=True)
            card = {
                "model": "otpose",
                "variant": variant,
                "config": asdict(config),
                "padding": PADDING,
                "data": data,
                "frame": checkpoint.read_card(frame)["fingerprint"],
            }
            losses = {"prediction": 1.0} | ({"occlusion": 1.0} if config.occlusion_encoder else {})
            train(
                model,
                window_batches(windows, share(settings.batch_size)),
                settings,
                cache_folder() / fingerprint(settings_of(settings), card),
                loss_weights=losses,
                card=card,
                label=variant,
                **how,
            )
            told = (
                f"{settings.steps:,} steps of {settings.batch_size} people behind a single-frame "
                "estimator that went on from "
                f"{start} weights, {len(windows)} people to learn from"
            )
        test = published_windows(clips, folder, model.config)
        truth, scores = test.poses(), None
        kept = replace(truth, visibility=truth.visibility * ~kp.in_ignored(truth, shown))
        if boxes is not None:
            pairs, config = [(clip, folder) for clip in clips], model.config
            test, scores = detected_windows(
                pairs, detected, config.skeleton, published_config(config), file=boxes
            )
        for name, found in estimate(
            test, {variant: model}, precision=precision, progress=progress
        ).items():
            if scores is not None:  # unstated; ours
                found = replace(found, confidence=found.confidence * scores[:, None])
            left_out = kp.in_ignored(found, shown)
            rows += rows_of(name, found, kept, seed=seed, left_out=left_out, paired=scores is None)
    protocol = (
        f"{data.partition(':')[0]}: {len(clips)} validation clips, {len(truth)} people in labelled "
        f"frames; boxes: {told_boxes}; "
        "percent; AP-*: PoseTrack's average precision within half a head size, ignored regions "
        "left out; "
        f"answers in {precision}; {told}"
    )
    rows += paper_rows(*PUBLISHED[data.partition(":")[0]])
    kind = "ground truth" if boxes is None else "detector"
    return {"schema_version": SCHEMA_VERSION, "protocol": protocol, "boxes": kind, "rows": rows}
