"""Visibility-aware reasoning, trained and measured on rendered people: the rows of Tables 1, 3, 5
and 6.

The world "occluded_people" (`made.worlds`) is frozen: single pictures of two to four people among
things, about half of all joints hidden, exact labels. Networks of one table have the same size,
budget and pictures; what differs stands in `VARIANTS`. The names "coco" and "crowdpose" run the
paper's own recipe on what the user has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from tqdm.auto import tqdm

from .. import checkpoint, geometry, metrics
from .. import metrics as kp
from ..data.coco import annotation_files, find_pictures, read_coco, read_person_boxes
from ..data.manifest import locate
from ..data.scoring import score
from ..data.windows import Augment, WindowConfig, Windows, clips_of, detected_windows, loader
from ..errors import BadParameter, MissingData, unknown
from ..ledger import paper
from ..made.worlds import WORLDS, cached_clips
from ..models import build, config_of
from ..models.vissimcc import VisSimCC, VisSimCCConfig
from ..predict import PoseEstimator, load, weights_path
from ..records import Clip, Detections, Pose, Reading, Video
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

SCHEMA_VERSION = 1
WORLD = WORLDS["occluded_people"]
PICTURES = {"train": 4_000, "val": 200, "test": 500}
FEW = 1_000  # pictures of the small split: a quarter, as minitrain of train2017
PADDING = 1.25


@dataclass(frozen=True)
class Variant:
    """One network and how it learns."""

    config: VisSimCCConfig
    start: str | None = "stem"  # the variant whose weights it goes on from
    joints: str = "labelled"  # whose loss counts: or "visible" (Table 1)
    pictures: int | None = None  # of the training split
    longer: float = 1.0  # times the steps of the settings


SMALL = config_of("vissimcc", "small")
PLAIN = replace(SMALL, reasoning=False)
# All go on from one plain estimator, as the paper's Table 1 does; it is the same for all seeds.
# Each table's rows have the same number of steps; the small split, a quarter of the pictures, as
# many passes over them.
VARIANTS = {
    "stem": Variant(PLAIN, None, longer=4.0),
    "baseline": Variant(PLAIN, longer=2.0),  # SimCC; Tables 2, 3 and 5
    "reasoning": Variant(replace(SMALL, visibility="none"), longer=2.0),  # Table 5, without masking
    "masking": Variant(SMALL, longer=2.0),  # the method
    "truth": Variant(replace(SMALL, visibility="truth"), longer=2.0),  # Table 6
    "all": Variant(PLAIN),  # Table 1
    "visible": Variant(PLAIN, joints="visible"),
    "few_stem": Variant(PLAIN, None, pictures=FEW),  # Table 1's small split
    "few_all": Variant(PLAIN, "few_stem", pictures=FEW, longer=0.25),
    "few_visible": Variant(PLAIN, "few_stem", "visible", FEW, longer=0.25),
    # the module in a heatmap estimator, in brief
    "heatmap_stem": Variant(replace(PLAIN, output="heatmap"), longer=1 / 6),
    "heatmap": Variant(replace(PLAIN, output="heatmap"), "heatmap_stem", longer=1 / 6),
    "heatmap_masking": Variant(replace(SMALL, output="heatmap"), "heatmap_stem", longer=1 / 6),
}
SHIPPED = {
    "masking": "vissimcc",
    "reasoning": "vissimcc-reasoning",
    "baseline": "vissimcc-baseline",
}
# Adam: SimCC's. On a core that has bf16 the stem takes an hour, each of the three shipped ones half
# an hour.  # unstated; ours
TRAIN = TrainConfig(
    steps=3_000, batch_size=64, lr=2e-3, warmup_steps=200, ema=0.995, precision="bf16", workers=1
)
SHIPPED_TRAIN = TRAIN
# rows of `score`
KINDS = {"all joints": "labelled", "visible joints": "visible", "occluded joints": "occluded"}
AUGMENT = Augment(
    scale=(0.75, 1.25), rotation_degrees=30.0, half_body=0.0
)  # milder than HRNet's: trainings are shorter


cache_folder = partial(trained_folder, "vissimcc")


# --- data -----------------------------------------------------------------------------------------


def window_config(config: VisSimCCConfig, augment: Augment = AUGMENT) -> WindowConfig:
    """Crops of single pictures as a model wants them."""
    return WindowConfig(
        size=config.size, offsets=(0,), padding=PADDING, alignment=config.alignment, augment=augment
    )


@lru_cache(maxsize=8)
def _rendered(split: str, n: int) -> tuple:
    return tuple(cached_clips(WORLD, split, n))


def people(split: str, config: VisSimCCConfig = SMALL, n: int | None = None) -> Windows:
    """Every person of the first n pictures of a split of the world (default: `PICTURES`), a
    window each.
    """
    return Windows(_rendered(split, PICTURES[split] if n is None else n), window_config(config))


def joint_batches(
    windows: Windows, size: int, joints: str = "labelled"
) -> Callable[[int, np.random.Generator], Batch]:
    """What `train` takes: crops, their labels and which joints count."""

    def make(step: int, rng: np.random.Generator) -> Batch:
        found = windows.batch(rng.integers(len(windows), size=size), rng)
        batch = {name: found[name][:, 0] for name in ("visibility", "xy_crop")}
        batch["images"] = found["images"][:, 0].contiguous(memory_format=torch.channels_last)
        batch["weights"] = (batch["visibility"] > (joints == "visible")).float()
        return batch

    return make


# --- training -------------------------------------------------------------------------------------


def steps_of(variant: str, settings: TrainConfig = TRAIN, cap: int | None = None) -> int:
    """How many steps a variant takes."""
    steps = max(round(settings.steps * VARIANTS[variant].longer), 1)
    return min(steps, cap or steps)


def train_variant(
    variant: str,
    settings: TrainConfig = TRAIN,
    *,
    cap: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> tuple[PoseEstimator, Path]:
    """A variant trained on the world, and its weight file; cached. What it goes on from is trained
    first, with seed 0.

    cap: the most steps that any training takes, for trying out.
    """
    if variant not in VARIANTS:
        raise unknown("variant of VisSimCC", variant, VARIANTS)
    chosen = VARIANTS[variant]
    torch.manual_seed(settings.seed)
    model = build("vissimcc", chosen.config)
    if chosen.start is not None:
        _, weights = train_variant(
            chosen.start, replace(settings, seed=0), cap=cap, device=device, progress=progress
        )
        checkpoint.load_into(model, checkpoint.read_tensors(weights), partial=True)
        # at first it changes no joint that counts as seen  # unstated; ours
        if model.reasoning is not None:
            for part in model.reasoning.project.parameters():
                torch.nn.init.zeros_(part)
    card = {
        "model": "vissimcc",
        "variant": variant,
        "config": asdict(chosen.config),
        "padding": PADDING,
        "world": WORLD.digest(),
        "pictures": chosen.pictures or PICTURES["train"],
        "joints": chosen.joints,
        "start": chosen.start,
        "data": WORLD.name,
    }
    windows = people("train", chosen.config, chosen.pictures)
    settings = replace(settings, steps=steps_of(variant, settings, cap))
    return train_on(
        windows,
        model,
        card,
        settings,
        joints=chosen.joints,
        device=device,
        progress=progress,
        label=variant,
    )


def train_on(
    windows: Windows,
    model,
    card: Mapping,
    settings: TrainConfig,
    *,
    joints: str = "labelled",
    device: str,
    progress: bool,
    label: str,
) -> tuple[PoseEstimator, Path]:
    """An estimator after its training, and its weight file; one that has this card and these
    settings already is reused.
    """
    model = model.to(memory_format=torch.channels_last)
    weights = {"pose": 1.0} | (
        {"visibility": 1.0}
        if model.config.reasoning and model.config.visibility == "predicted"
        else {}
    )
    result = train(
        model,
        joint_batches(windows, share(settings.batch_size), joints),
        settings,
        cache_folder() / fingerprint(settings_of(settings), dict(card)),
        loss_weights=weights,
        card=card,
        device=device,
        progress=progress,
        label=label,
    )
    return PoseEstimator(model, label, PADDING), result.weights


def seed_of(weights: str | Path) -> int | None:
    """The seed that a weight file was trained with, where its card says so."""
    return checkpoint.read_card(weights).get("train", {}).get("seed")


def ship(
    out: str | Path,
    settings: TrainConfig = SHIPPED_TRAIN,
    *,
    skeleton: str = "coco17",
    device: str = "auto",
    progress: bool = True,
) -> Path:
    """Trains the method, the plain estimator and reasoning without masking, measures them, and
    writes a file each: `out`, and beside it the other two, their names begun as in `SHIPPED`.
    """
    if skeleton != WORLD.skeleton:
        raise unknown("skeleton of VisSimCC", skeleton, [WORLD.skeleton])
    out, written = Path(out), []
    for variant, name in SHIPPED.items():
        estimator, weights = train_variant(variant, settings, device=device, progress=progress)
        card, rows = (
            checkpoint.read_card(weights),
            rows_on(variant, estimator, people("test", estimator.model.config)),
        )
        card |= {
            "skeleton": skeleton,
            "history": card["history"][:: max(len(card["history"]) // 100, 1)],
            "metrics": {r["subset"]: r["metrics"] for r in rows},
            "metrics_data": f"{WORLD.name} {WORLD.digest()}, {PICTURES['test']} test pictures, boxes: ground truth",
            "command": f"workbench train vissimcc --seed {settings.seed} --steps {settings.steps}",
            "licence": "Apache-2.0; trained on rendered people alone",
        }
        written.append(
            checkpoint.save(
                out.with_name(out.name.replace("vissimcc", name, 1)), estimator.model, card
            )
        )
    return written[0]


# --- rows -----------------------------------------------------------------------------------------


def estimate(
    estimator: PoseEstimator, windows: Windows, *, source: str | None = None, progress: bool = False
) -> tuple[Detections, Float[np.ndarray, "n k"] | None]:
    """The pose in each window, px of its picture, and the probabilities of being visible where
    the model states them.
    """
    truth, xy, confidence, seen = windows.poses(), [], [], []
    batches = loader(windows, 128, shuffle=False, augment=False, workers=1)
    with tqdm(
        total=len(windows), desc=estimator.name, unit="person", disable=not progress, leave=False
    ) as bar:
        for batch in batches:
            found = estimator.read(
                batch["images"][:, 0], visibility=batch["visibility"][:, 0].numpy(), source=source
            )
            back = geometry.invert(batch["affine"].double().numpy())
            xy.append(geometry.apply(back, found.xy_crop.astype(np.float64)))
            confidence.append(found.confidence)
            seen.append(found.visibility)
            bar.update(len(found.xy_crop))
    told = None if seen[0] is None else np.concatenate(seen)
    confidence = np.concatenate(confidence)
    return Detections(
        truth.skeleton, np.concatenate(xy), confidence, truth.boxes_xyxy, images=truth.images
    ), told


def area_of(truth: Pose) -> str | None:
    """Where OKS takes its scale from: rendered people state no area, so 0.53 of the box."""
    return "box" if truth.areas is None else None


def person_oks(found: Detections, truth: Pose, joints: str = "labelled") -> Float[np.ndarray, "n"]:
    """OKS of each person with the pose from the own box, 0 to 1; NaN where no joint counts."""
    use, areas = kp.joints_of(truth, joints), kp.person_areas(truth, area_of(truth))
    sigmas = np.array(skeleton(truth.skeleton).oks_sigmas)
    own = [
        kp.oks(
            *(v[i : i + 1] for v in (found.xy_frame, truth.xy_frame, use, areas)),
            sigmas,
            truth.boxes_xyxy[i : i + 1],
        )
        for i in range(len(truth))
    ]
    return np.where(use.any(1), np.array(own).reshape(-1), np.nan)


def rows_of(
    variant: str,
    found: Detections,
    seen: np.ndarray | None,
    truth: Pose,
    *,
    seed: int | None = None,
    **options,
) -> list[dict]:
    """Measured rows, percent: those of `score` (its options), and of people who are paired with a
    pose row by row, mean OKS ("oks", 95 % by picture) and the accuracy of VisNet.
    """
    groups, rows = np.array(truth.images), []
    paired = found.images == truth.images and np.array_equal(found.boxes_xyxy, truth.boxes_xyxy)
    for row in score(truth, found, area=area_of(truth), **options)["rows"]:
        kind = KINDS.get(row["subset"])
        if paired and kind:
            oks = person_oks(found, truth, kind)
            use = np.isfinite(oks)
            row["metrics"]["oks"] = float(oks[use].mean())
            if len(set(groups[use])) > 1:
                interval = metrics.bootstrap_interval(
                    100 * oks[use], groups[use], np.random.default_rng(0)
                )
                row["intervals"] = {"oks": interval}
        if paired and kind == "labelled" and seen is not None and truth.occlusion_known:
            row["metrics"]["visibility_accuracy"] = kp.visibility_accuracy(seen, truth)
        # below 0: nobody to judge by
        row["metrics"] = {key: 100 * v for key, v in row["metrics"].items() if v >= 0}
        rows.append({"method": "vissimcc", "variant": variant, "seed": seed, **row})
    return rows


def rows_on(
    name: str,
    estimator: PoseEstimator,
    windows: Windows,
    *,
    seed: int | None = None,
    progress: bool = False,
) -> list[dict]:
    """Rows of an estimator on windows, boxes: ground truth; one that learned with true
    visibility is given it.
    """
    found, seen = estimate(estimator, windows, progress=progress)
    return rows_of(name, found, seen, windows.poses(), boxes="ground truth", seed=seed)


def paper_rows(*tables: str, of: str = "vissimcc", prefix: str = "") -> list[dict]:
    """A paper's rows of tables, as `evaluate` prints them: words say what a row is, numbers are
    percent.
    """
    rows = []
    for own in (row for table in tables for row in paper(of).table(table).rows):
        words = {key: v for key, v in own.items() if isinstance(v, str)}
        numbers = {f"{prefix}{key}": v for key, v in own.items() if key not in words}
        rows.append({**words, "kind": "paper", "metrics": numbers})
    return rows


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
    """The protocol on rendered people or on COCO and CrowdPose: {schema_version, protocol, rows},
    metrics in percent.

    data: "synthetic", "coco[:PATH]" or "crowdpose[:PATH]". variants: names of `VARIANTS`, which are
    trained (and cached), or weights as `load` names them, which are not; by default the shipped
    weights on rendered people where there are some, and elsewhere baseline and masking at the
    paper's settings. steps: caps every training, for tests. boxes: a detector's results for COCO or
    CrowdPose, COCO JSON; None: ground truth. precision: of answers, "fp32" or "bf16" (mixed).
    """
    name = data.partition(":")[0]
    if name not in ("synthetic", *PUBLISHED):
        raise unknown("data of VisSimCC", name, ("synthetic", *PUBLISHED))
    if boxes is not None and name == "synthetic":
        raise BadParameter(
            "rendered people have no detector's boxes", remedy="leave boxes out, or name COCO"
        )
    settings = replace(TRAIN, seed=seed)
    if name != "synthetic":
        given = {"boxes": boxes, "precision": precision, "device": device, "progress": progress}
        return _evaluate_published(data, variants, seed, steps, **given)
    if steps is not None:
        settings = replace(
            settings, steps=steps, warmup_steps=min(settings.warmup_steps, steps // 5)
        )
    estimators, seeds, learn = {}, {}, {}
    for variant in variants or SHIPPED:
        weights = None if variant in VARIANTS else variant
        if weights and weights not in SHIPPED.values() and Path(weights).suffix != ".safetensors":
            raise unknown("variant of VisSimCC", variant, VARIANTS)
        if variants is None and weights_path(SHIPPED[variant], WORLD.skeleton).exists():
            weights = SHIPPED[variant]
        if weights:
            estimators[variant] = load(weights, device=choose_device(device))
            seeds[variant] = seed_of(weights_path(weights, WORLD.skeleton))
        else:
            estimators[variant] = train_variant(
                variant, settings, cap=steps, device=device, progress=progress
            )[0]
            seeds[variant], learn[variant] = seed, steps_of(variant, settings, steps)
    test = people("test")
    networks = "shipped weights"
    if learn:
        starts = sorted({VARIANTS[v].start for v in learn} - {None})
        after = " or ".join(f"{steps_of(start, settings, steps):,} of {start}" for start in starts)
        networks = (
            f"networks: {' or '.join(f'{n:,}' for n in sorted(set(learn.values())))} steps of "
            f"{settings.batch_size} people after "
            f"{after or 'none'}, a plain estimator that is the same for all seeds"
        )
    protocol = (
        f"{len(test)} people in {PICTURES['test']} rendered test pictures (world {WORLD.name} "
        f"{WORLD.digest()}), boxes: ground "
        "truth, mean with the mirror image; percent; AP and AR by OKS with the scale 0.53 of the "
        "box; PCK within 5 % of "
        f"the box's longer side; oks: mean over people, 95 % by picture; answers in "
        f"{precision}; {networks}"
    )
    rows = []
    for variant, estimator in estimators.items():
        estimator.precision = precision
        own = rows_on(
            variant,
            estimator,
            people("test", estimator.model.config),
            seed=seeds[variant],
            progress=progress,
        )
        rows += [row | ({"steps": learn[variant]} if variant in learn else {}) for row in own]
    return {
        "schema_version": SCHEMA_VERSION,
        "protocol": protocol,
        "boxes": "ground truth",
        "rows": rows + paper_rows("Table 1", "Table 3", "Table 5", "Table 6"),
    }


def flat(result: Mapping) -> list[dict]:
    """Rows for a table."""
    words = ("method", "variant", "task", "T", "subset", "data", "backbone", "boxes")
    return [
        {key: r[key] for key in words if key in r}
        | {"PCK" if key.startswith("PCK-") else key: value for key, value in r["metrics"].items()}
        | {"n": r.get("n"), "seed": r.get("seed"), "steps": r.get("steps"), "kind": r["kind"]}
        for r in result["rows"]
    ]


# --- COCO and CrowdPose ---------------------------------------------------------------------------

# name -> (part of the annotation file's name for training, for testing)
PUBLISHED = {"coco": ("train2017", "val2017"), "crowdpose": ("_train.", "_val.")}
EPOCHS, DROPS = 140, (90 / 140, 120 / 140)  # ResNet-50; Sec. 5.1


def read_published(data: str, split: str) -> tuple[Reading, Path]:
    """Annotations of the "train" or "test" half of COCO or CrowdPose, and the folder of their
    pictures.

    `MissingData` where one of them is not on this machine.
    """
    found, root = locate(data)
    part = PUBLISHED[found.name][split == "test"]
    files = [f for f in annotation_files(root, found.layout.files["annotations"]) if part in f.name]
    if not files:
        raise MissingData(
            f"no annotations of {part.strip('._')}", file=root, remedy=found.instructions
        )
    reading = read_coco(files[0])
    folder = find_pictures(files[0], [p.name for p in reading.pictures])
    if folder is None:
        raise MissingData(
            f"the pictures of {files[0].name} are not here", file=root, remedy=found.instructions
        )
    return reading, folder


def published_windows(reading: Reading, folder: Path, config: VisSimCCConfig) -> Windows:
    """Everybody with labelled joints, augmented as the paper's baseline does: HRNet's."""
    augment = Augment(scale=(0.7, 1.3), rotation_degrees=40.0, half_body=0.3)
    return Windows([(clip, folder) for clip in clips_of(reading)], window_config(config, augment))


def _evaluate_published(
    data, variants, seed: int, steps: int | None, *, boxes, precision, device, progress
) -> dict:
    """Table 2's recipe: ResNet-50, 256 x 192, 140 epochs, the rate a tenth after 90 and 120."""
    reading, folder = read_published(data, "test")
    kind = "ground truth" if boxes is None else "detector"
    detected = None if boxes is None else read_person_boxes(boxes).boxes
    base = replace(config_of("vissimcc", "paper"), skeleton=reading.poses.skeleton)
    known = {
        "baseline": replace(base, reasoning=False),
        "reasoning": replace(base, visibility="none"),
        "masking": base,
        "truth": replace(base, visibility="truth"),
    }
    estimators, told = {}, "weights as named"
    for variant in variants or ("baseline", "masking"):
        if variant not in known:
            estimators[variant] = load(variant, device=choose_device(device))
            continue
        learn, pictures = read_published(data, "train")
        windows = published_windows(learn, pictures, known[variant])
        size = 64  # people a step; unstated; ours
        settings = TrainConfig(
            steps=steps or EPOCHS * len(windows) // size,
            batch_size=size,
            lr=1e-3,
            drops=DROPS,
            precision="bf16",
            seed=seed,
            workers=min(4, os.cpu_count() or 1),
        )
        torch.manual_seed(seed)
        model = (
            build("vissimcc", known[variant])
            if steps
            else VisSimCC(known[variant], pretrained=True)
        )
        card = {
            "model": "vissimcc",
            "variant": variant,
            "config": asdict(known[variant]),
            "padding": PADDING,
            "data": data,
        }
        estimators[variant], _ = train_on(
            windows, model, card, settings, device=device, progress=progress, label=variant
        )
        start = "random" if steps else "ImageNet"
        told = f"{settings.steps:,} steps of {size} people from {start} weights, {len(windows)} people to learn from"
    rows = []
    for name, estimator in estimators.items():
        if estimator.skeleton.name != reading.poses.skeleton:
            raise BadParameter(
                f"{name} has {estimator.skeleton.name}, {reading.poses.skeleton} expected",
                remedy="name other weights or data",
            )
        estimator.precision = precision
        config = estimator.model.config
        if boxes is None:
            windows = published_windows(reading, folder, config)
            rows_at = [windows.pairs[pair][0].tracks[n].track_id for pair, n, _ in windows.items]
            found, seen = estimate(estimator, windows, progress=progress)
            found = replace(found, boxes_xyxy=reading.poses.boxes_xyxy[rows_at])
        elif config.reasoning and config.visibility == "truth":
            raise BadParameter(
                f"{name} wants true labels, a detector's boxes have none", remedy="leave boxes out"
            )
        else:
            pairs = [
                (Clip(Video("", 1, *(p.size_wh or ())), (), (p,), p.name), folder)
                for p in reading.pictures
            ]
            windows, scores = detected_windows(
                pairs, detected, config.skeleton, window_config(config), file=boxes
            )
            found, seen = estimate(estimator, windows, progress=progress)[0], None
            found = replace(found, confidence=found.confidence * scores[:, None])  # unstated; ours
        of = rows_of(
            name, found, None, reading.poses, boxes=kind, pictures=reading.pictures, seed=seed
        )
        if seen is not None and reading.poses.occlusion_known:
            right = kp.visibility_accuracy(seen, reading.poses.select(rows_at))
            of[0]["metrics"]["visibility_accuracy"] = 100 * right
        rows += of
    protocol = (
        f"{data.partition(':')[0]}: {len(reading.pictures)} pictures, boxes: {kind}, mean with the "
        "mirror image; percent; "
        f"answers in {precision}; {told}"
    )
    rows += paper_rows(*(("Table 2", "Table 3") if data.startswith("coco") else ("Table 4",)))
    return {"schema_version": SCHEMA_VERSION, "protocol": protocol, "boxes": kind, "rows": rows}
