"""OTPose trained and measured: on rendered clips of people who cross each other, and on PoseTrack
where the user has it.

The world "crossing_people" (`made.worlds`) is frozen: clips of five blurred frames, of which the
middle one alone is labelled. A single-frame estimator learns first, from where VisSimCC's plain one
stands; its heatmaps of all clips are made once, and the temporal part learns from them. Every
variant has the same heatmaps and budget.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor
from tqdm.auto import tqdm

from .. import checkpoint, codecs, geometry, metrics
from ..data.windows import Augment, WindowConfig, Windows, loader
from ..errors import BadParameter, unknown
from ..made.worlds import WORLDS
from ..models import build, config_of
from ..models.otpose import OTPose, OTPoseConfig
from ..models.vissimcc import VisSimCC, VisSimCCConfig
from ..predict import ClipEstimator, PoseEstimator, load
from ..records import Detections
from ..skeletons import skeleton
from ..train import (
    Batch,
    BatchSource,
    TrainConfig,
    choose_device,
    fingerprint,
    share,
    trained_folder,
)
from .base import (
    Learned,
    Options,
    Recipe,
    Scores,
    Task,
    Training,
    Variant,
    loaded,
    paper_rows,
    trained_as,
)
from .crops import PADDING, Rendered, joint_batches, window_config
from .measures import posetrack_rows, posetrack_scores
from .published import (
    POSETRACK,
    Clips,
    read_boxes,
    read_posetrack_half,
    read_public_weights,
    settings,
    shared_joints,
    weighted,
)

OFFSETS = (-2, -1, 0, 1, 2)  # frames from the key frame; Sec. IV-B
SMALL = config_of("otpose", "small")
# The single-frame estimator: the plain network of VisSimCC with heatmaps of PoseTrack's joints.
FRAME = replace(
    config_of("vissimcc", "small"),
    skeleton=SMALL.skeleton,
    reasoning=False,
    output="heatmap",
    heatmap_sigma=SMALL.sigma,
)
FRAME_TRAIN = TrainConfig(
    steps=2_000,
    batch_size=64,
    lr=2e-3,
    warmup_steps=200,
    ema=0.995,
    precision="bf16",
    workers=1,
)
# unstated; ours
TRAIN = TrainConfig(steps=1_000, batch_size=16, lr=1e-3, warmup_steps=100, ema=0.995, clip_norm=1.0)
# of each row of Table V: five rows, three seeds, two core-hours
TABLE_TRAIN = replace(TRAIN, steps=400, precision="bf16")
LAYERS = {f"layers_{n}": {"layers": n, "occlusion_layers": n} for n in (5, 6, 7)}
# what differs from the whole, Table V's row 10
CHANGES = {
    "otpose": {},
    "one_branch_no_encoder": {"branches": ("prev",), "occlusion_encoder": False},  # row 1
    "one_branch": {"branches": ("prev",)},  # row 2
    "no_encoder": {"occlusion_encoder": False},  # row 3
    "flow_label": {"pseudo_label": "flow"},  # row 4
    **LAYERS,  # rows 5 to 7, for the paper's 8
    "window_19": {"window": 19},  # row 8
    "window_36": {"window": 36},  # row 9
}
# "frame" is what all go on from
VARIANTS = {"frame": Variant(FRAME, FRAME_TRAIN, "vissimcc-baseline")} | {
    name: Variant(replace(SMALL, **change), TABLE_TRAIN, "frame", ship=TRAIN)
    for name, change in CHANGES.items()
}
RIVAL = "single frame"


@dataclass(frozen=True)
class Rough:
    """What OTPose learns from: clips, and how their heatmaps by the single frame are made.

    passes: how often the training clips are cropped anew, augmented.
    """

    rendered: Rendered
    passes: int = 2


DATA = Rough(Rendered(WORLDS["crossing_people"], {"train": 2_000, "val": 120, "test": 400}))


# --- data -----------------------------------------------------------------------------------------


def people(
    split: str,
    config: OTPoseConfig | VisSimCCConfig = SMALL,
    *,
    offsets: tuple[int, ...] = OFFSETS,
    n: int | None = None,
    data: Rendered = DATA.rendered,
) -> Windows:
    """Everybody in the middle frames of the first n clips of a split, a window each."""
    return Windows(data.pairs(split, n), window_config(config, offsets))


@dataclass(frozen=True, eq=False)
class RoughHeatmaps:
    """What the single-frame estimator sees in n windows: files of the cache, mapped."""

    heatmaps: Float16[np.ndarray, "n 5 k h w"]
    xy_crop: Float[np.ndarray, "n k 2"]  # of the key frame, px
    weights: Float[np.ndarray, "n k"]

    def __len__(self) -> int:
        return len(self.heatmaps)


HEATMAP_FILES = {"heatmaps": np.float16, "xy_crop": np.float32, "weights": np.float32}


def rough_heatmaps(
    estimator: PoseEstimator,
    windows: Windows,
    folder: Path,
    *,
    passes: int = 0,
    seed: int = 0,
    progress: bool = True,
) -> RoughHeatmaps:
    """Heatmaps of all frames of all windows by a single-frame estimator, made once and kept in
    `folder`.

    passes: so many times over all windows, augmented anew; 0: once, as they are.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".maps-") as beside:
            whole = Path(beside) / "whole"
            whole.mkdir()
            _write_heatmaps(estimator, windows, whole, passes, seed, progress)
            shutil.move(whole, folder)
    files = (folder / f"{name}.npy" for name in HEATMAP_FILES)
    return RoughHeatmaps(*(np.load(file, mmap_mode="r", allow_pickle=False) for file in files))


def _write_heatmaps(estimator, windows, folder: Path, passes: int, seed: int, progress) -> None:
    n, k, (w, h) = len(windows) * max(passes, 1), len(windows.skeleton), estimator.model.grid
    shapes = {"heatmaps": (n, 5, k, h, w), "xy_crop": (n, k, 2), "weights": (n, k)}
    files = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shapes[name])
        for name, dtype in HEATMAP_FILES.items()
    }
    key, at = windows.config.key, 0
    with tqdm(total=n, desc="heatmaps", unit="person", disable=not progress, leave=False) as bar:
        for i in range(max(passes, 1)):
            options = {"augment": passes > 0, "seed": seed + i, "workers": 1}
            for batch in loader(windows, 32, shuffle=False, **options):
                images = batch["images"].to(estimator.device)
                with torch.inference_mode():
                    crops = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
                    maps = estimator.model(crops)["heatmaps"].unflatten(0, images.shape[:2])
                rows = slice(at, at + len(images))
                files["heatmaps"][rows] = maps.cpu().numpy()
                files["xy_crop"][rows] = batch["xy_crop"][:, key].cpu().numpy()
                files["weights"][rows] = batch["weights"][:, key].cpu().numpy()
                at = rows.stop
                bar.update(len(images))
    for file in files.values():
        file.flush()


def heatmap_batches(rough: RoughHeatmaps, size: int, config: OTPoseConfig) -> BatchSource:
    """Heatmaps of five frames and the key frame's labels, half of them mirrored."""
    flip = skeleton(config.skeleton).flip_index.tolist()
    sign, width = torch.tensor([-1.0, 1.0]), torch.tensor([config.size[0] - 1.0, 0.0])

    def source(_step: int, rng: np.random.Generator) -> Batch:
        rows = np.sort(rng.integers(len(rough), size=size))
        maps = torch.from_numpy(np.asarray(rough.heatmaps[rows], np.float32))
        xy = torch.from_numpy(np.array(rough.xy_crop[rows]))
        weights = torch.from_numpy(np.array(rough.weights[rows]))
        mirrored = torch.from_numpy(rng.random(size) < 0.5)
        turned = codecs.mirror_heatmaps(maps.flatten(0, 1), flip, config.alignment)
        turned = turned.unflatten(0, maps.shape[:2])
        return {
            "heatmaps": torch.where(mirrored[:, None, None, None, None], turned, maps),
            "xy_crop": torch.where(mirrored[:, None, None], xy[:, flip] * sign + width, xy),
            "weights": torch.where(mirrored[:, None], weights[:, flip], weights),
        }

    return source


def frame_distance(batch: Batch, key: int) -> Int[Tensor, "b 5"]:
    """How many frames a batch's crops are from the key frame: where a clip begins or ends, its
    first or last frame stands in.
    """
    return (batch["frames"] - batch["frames"][:, key : key + 1]).abs()


def window_batches(windows: Windows, size: int) -> BatchSource:
    """Five crops and the key frame's labels."""
    key = windows.config.key

    def source(_step: int, rng: np.random.Generator) -> Batch:
        batch = windows.batch(rng.integers(len(windows), size=size), rng)
        return {
            "images": batch["images"],
            "xy_crop": batch["xy_crop"][:, key],
            "weights": batch["weights"][:, key],
            "distance": frame_distance(batch, key),
        }

    return source


# --- training -------------------------------------------------------------------------------------


def _starting(tensors: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {key: v for key, v in tensors.items() if key.startswith(prefixes)}


def _frame_training(recipe: Recipe, options: Options) -> Training:
    """The single-frame estimator: seed 0, the same for all variants."""
    variant, data = recipe.variants["frame"], recipe.own
    start = recipe.weights(variant.start)
    config = replace(options, seed=0).settings(variant.train)
    torch.manual_seed(0)
    model = build("vissimcc", variant.config)
    tensors = _starting(checkpoint.read_tensors(start), "maps.backbone.")
    checkpoint.load_into(model, tensors, partial=True)
    model = model.to(memory_format=torch.channels_last)
    card = {
        "model": "vissimcc",
        "config": asdict(variant.config),
        "padding": PADDING,
        "world": data.rendered.world.digest(),
        "data": data.rendered.world.name,
        "clips": data.rendered.clips["train"],
        "start": variant.start,
        "start_fingerprint": checkpoint.read_card(start).get("fingerprint"),
    }

    def batches() -> BatchSource:
        windows = people("train", variant.config, offsets=(0,), data=data.rendered)
        return joint_batches(windows, share(config.batch_size))

    return Training(model, batches, config, {"pose": 1.0}, card, "frame", method="vissimcc")


def rough_of(
    recipe: Recipe, split: str, frame: Learned, *, progress: bool = True
) -> tuple[Windows, RoughHeatmaps]:
    """A split's windows, and their heatmaps by the single-frame estimator; augmented for training
    alone.
    """
    data = recipe.own
    passes = data.passes if split == "train" else 0
    windows = people(split, recipe.variants["otpose"].config, data=data.rendered)
    words = {
        "weights": checkpoint.read_card(frame.weights)["fingerprint"],
        "clips": data.rendered.clips[split],
        "passes": passes,
    }
    root = recipe.folder or trained_folder(recipe.name)
    folder = root / f"heatmaps-{split}-{fingerprint(words, asdict(windows.config))}"
    options = {"passes": passes, "progress": progress}
    return windows, rough_heatmaps(frame.predictor, windows, folder, **options)


def losses_of(config: OTPoseConfig) -> dict[str, float]:
    """The terms of Eq. 9 that a network has."""
    return {"prediction": 1.0} | ({"occlusion": 1.0} if config.occlusion_encoder else {})


def _training(recipe: Recipe, name: str, options: Options) -> Training:
    if name == "frame":
        return _frame_training(recipe, options)
    variant, data = recipe.variants[name], recipe.own
    frame = recipe.train("frame", options)
    torch.manual_seed(options.seed)
    model = build("otpose", variant.config)
    tensors = _starting(checkpoint.read_tensors(frame.weights), "maps.")
    checkpoint.load_into(model, tensors, partial=True)
    model.maps.requires_grad_(False)  # and never called: heatmaps are given
    card = {
        "model": "otpose",
        "variant": name,
        "config": asdict(variant.config),
        "padding": PADDING,
        "world": data.rendered.world.digest(),
        "data": data.rendered.world.name,
        "clips": data.rendered.clips["train"],
        "passes": data.passes,
        "frame": checkpoint.read_card(frame.weights)["fingerprint"],
    }
    config = options.settings(variant.train)

    def batches() -> BatchSource:
        _, rough = rough_of(recipe, "train", frame, progress=options.progress)
        return heatmap_batches(rough, share(config.batch_size), variant.config)

    return Training(model, batches, config, losses_of(variant.config), card, name)


def _predictor(model, name: str, card: Mapping) -> PoseEstimator:
    kind = PoseEstimator if isinstance(model, VisSimCC) else ClipEstimator
    return kind(model, name, card["padding"])


# --- answers --------------------------------------------------------------------------------------

# xy_heatmap px and confidence
Answers = tuple[Float[Tensor, "n k 2"], Float[Tensor, "n k"]]


def detections(answers: Answers, config: OTPoseConfig, windows: Windows) -> Detections:
    """Answers of all windows as poses, px of their key frames."""
    truth = windows.poses()
    to_heatmap = geometry.crop_to_heatmap(config.size, config.grid, config.alignment)
    xy_crop = geometry.apply(geometry.invert(to_heatmap), answers[0].double().numpy())
    xy_frame = geometry.apply(geometry.invert(windows.affines()), xy_crop)
    confidence = answers[1].numpy()
    return Detections(truth.skeleton, xy_frame, confidence, truth.boxes_xyxy, images=truth.images)


def estimate(
    windows: Windows,
    models: Mapping[str, OTPose],
    *,
    precision: str = "fp32",
    progress: bool = False,
) -> dict[str, Detections]:
    """Poses by the single frame, by the mean of five frames' heatmaps, and by each model.

    All models share the single-frame estimator of the first. precision: "fp32" or "bf16" (mixed).
    """
    first = next(iter(models.values()))
    estimator = ClipEstimator(first, "otpose", PADDING)
    estimator.precision = precision
    parts: dict[str, list] = {}
    batches = loader(windows, 32, shuffle=False, augment=False, workers=1)
    bar = tqdm(total=len(windows), desc="test", unit="person", disable=not progress, leave=False)
    with estimator.inference(), bar:
        for batch in batches:
            rough = estimator.rough(batch["images"])
            maps = {RIVAL: rough[:, 2], "mean of five frames": rough.mean(1)}
            distance = frame_distance(batch, windows.config.key).to(rough.device)
            for name, model in models.items():
                maps[name] = model.eval()(heatmaps=rough, distance=distance)["heatmaps"]
            for name, part in maps.items():  # heatmaps of a whole split would not fit memory
                decoded = [v.float().cpu() for v in codecs.decode_heatmaps(part)]
                parts.setdefault(name, []).append(decoded)
            bar.update(len(rough))
    whole = {name: tuple(torch.cat(v) for v in zip(*each)) for name, each in parts.items()}
    return {name: detections(each, first.config, windows) for name, each in whole.items()}


# --- rendered clips -------------------------------------------------------------------------------


def _synthetic(recipe: Recipe, options: Options) -> Task:
    if options.boxes is not None:
        raise BadParameter(
            "rendered clips have no detector's boxes", remedy="leave boxes out, or name PoseTrack"
        )
    data, precision = recipe.own.rendered, options.precision or "fp32"
    names = options.variants or ("otpose",)
    shipped = {} if options.variants else trained_as(recipe.weights("otpose"))
    for name in names:
        if name not in recipe.variants or name == "frame":
            raise unknown("variant of OTPose", name, set(recipe.variants) - {"frame"})

    def learn(name: str, _case) -> Learned:
        if options.variants is None:
            return replace(loaded(recipe, "otpose", options), steps=shipped["steps"])
        return recipe.train(name, options)

    def answers(_case, predictors: Mapping[str, ClipEstimator]) -> dict:
        models = {name: estimator.model for name, estimator in predictors.items()}
        config = next(iter(models.values())).config
        windows = people("test", config, data=data)
        truth = windows.poses()
        poses = estimate(windows, models, precision=precision, progress=options.progress)
        return {name: (each, truth) for name, each in poses.items()}

    def score(name: str, answer: tuple, _case) -> list[Scores]:
        return posetrack_scores({"method": "otpose", "variant": name}, *answer)

    def protocol(learned: Mapping) -> str:
        networks = "shipped weights"
        if options.variants is not None:
            config = options.settings(recipe.variants[names[0]].train)
            networks = (
                f"networks: {config.steps:,} steps of {config.batch_size} people in "
                f"{config.precision} on heatmaps of one single-frame estimator"
            )
        return (
            f"{data.clips['test']} rendered test clips (world {data.name}), the middle one of five "
            "frames; boxes: ground truth; percent; AP-*: PoseTrack's average precision within half "
            "a head size; PCKh: joints within half a head size, mean over people; intervals: 95 % "
            f"by clip; answers in {precision}; {networks}"
        )

    return Task(
        variants=names,
        learn=learn,
        answers=answers,
        score=score,
        protocol=protocol,
        rival=RIVAL,
        paper=paper_rows("otpose", "Table V", prefix="AP-"),
        stated={"boxes": "ground truth"},
        seed=shipped.get("seed", options.seed),
    )


# --- PoseTrack ------------------------------------------------------------------------------------

# 12 epochs of warm-up and 38 of half a cosine, people a step; Sec. IV-B
EPOCHS = 50
WARMUP = 12
PEOPLE = 32
FRAME_EPOCHS = 20
TABLES = {"posetrack17": ("Table I",), "posetrack18": ("Table III",), "posetrack21": ()}
# where HRNet-W48 begins, if the user has it; else ImageNet's weights
WEIGHTS = "hrnet_pose_coco"


def published_config(config: OTPoseConfig) -> WindowConfig:
    """Scaling, truncating (half bodies), rotation and flipping in training (Sec. IV-B)."""
    return window_config(config, OFFSETS, Augment())


def start_weights(model: VisSimCC) -> str | None:
    """HRNet-W48 of COCO into a single-frame estimator, where the user has it; its last layer for
    the joints that both have. What was loaded, in words; None: no file.
    """
    public = read_public_weights(WEIGHTS, "w48")
    if public is None:
        return None
    tensors, file = public
    tensors = shared_joints(tensors, model.maps.head.final, model.config.skeleton)
    checkpoint.load_into(model.maps, tensors, file=file)
    return f"COCO ({file.name})"


def _train_published_frame(
    recipe: Recipe, half: Clips, config: OTPoseConfig, options: Options
) -> tuple[Path, str]:
    """The single-frame estimator on the labelled frames alone, before anything looks at its maps;
    what it began with.

    20 epochs at 1e-4, a tenth after 10 and 15: HRNet's on PoseTrack; OTPose names the network
    alone.
    """
    alike = {
        name: getattr(config, name)
        for name in ("skeleton", "size", "backbone", "widths", "depths", "deconv", "alignment")
    }
    frame = replace(
        config_of("vissimcc", "paper"),
        heatmap_sigma=config.sigma,
        reasoning=False,
        output="heatmap",
        **alike,
    )
    windows = Windows(half.pairs, window_config(frame, augment=Augment()))
    train = settings(options, FRAME_EPOCHS, len(windows), PEOPLE, lr=1e-4, drops=(0.5, 0.75))
    torch.manual_seed(options.seed)
    model = build("vissimcc", frame)
    start = "random" if options.steps else start_weights(model)
    if start is None:
        model, start = VisSimCC(frame, pretrained=True), "ImageNet"
    model = model.to(memory_format=torch.channels_last)
    card = {
        "model": "vissimcc",
        "config": asdict(frame),
        "padding": PADDING,
        "data": options.data,
        "start": start,
    }
    batches = partial(joint_batches, windows, share(train.batch_size))
    training = Training(
        model, batches, train, {"pose": 1.0}, card, "single frame", method="vissimcc"
    )
    return recipe.learn(training, options).weights, start


def _train_published(recipe: Recipe, options: Options, name: str) -> Learned:
    """The paper's settings: HRNet-W48, 384 x 288, AdamW at 1e-5."""
    config = replace(recipe.paper, **CHANGES[name])
    half = read_posetrack_half(options.data, "train")
    frame, start = _train_published_frame(recipe, half, config, options)
    windows = Windows(half.pairs, published_config(config))
    epoch = max(len(windows) // PEOPLE, 1)
    train = settings(
        options,
        EPOCHS,
        len(windows),
        PEOPLE,
        lr=1e-5,
        weight_decay=0.01,
        warmup_steps=0 if options.steps else WARMUP * epoch,
    )
    torch.manual_seed(options.seed)
    model = build("otpose", config)
    tensors = _starting(checkpoint.read_tensors(frame), "maps.")
    checkpoint.load_into(model, tensors, partial=True)
    card = {
        "model": "otpose",
        "variant": name,
        "config": asdict(config),
        "padding": PADDING,
        "data": options.data,
        "frame": checkpoint.read_card(frame)["fingerprint"],
    }
    batches = partial(window_batches, windows, share(train.batch_size))
    learned = recipe.learn(Training(model, batches, train, losses_of(config), card, name), options)
    text = (
        f"{train.steps:,} steps of {train.batch_size} people behind a single-frame estimator that "
        f"went on from {start} weights, {len(windows)} people to learn from"
    )
    return replace(learned, told=text, steps=None)


def _published(recipe: Recipe, options: Options) -> Task:
    half, boxes = read_posetrack_half(options.data, "val"), read_boxes(options.boxes)
    precision, names = options.precision or "fp32", options.variants or ("otpose",)
    pictures, counts = half.pictures, []

    def learn(name: str, _case) -> Learned:
        if name in CHANGES:
            return _train_published(recipe, options, name)
        return Learned(load(name, device=choose_device(options.device)))

    def answers(_case, predictors: Mapping[str, ClipEstimator]) -> dict:
        out = {}
        for variant, estimator in predictors.items():
            config, scores = estimator.model.config, None
            windows = Windows(half.pairs, published_config(config))
            truth = windows.poses()
            counts.append(len(truth))
            judged = replace(
                truth, visibility=truth.visibility * ~metrics.in_ignored(truth, pictures)
            )
            if boxes.boxes is not None:
                windows, scores = boxes.windows(
                    half.pairs, config.skeleton, published_config(config)
                )
            how = {"precision": precision, "progress": options.progress}
            for name, poses in estimate(windows, {variant: estimator.model}, **how).items():
                key = name if len(predictors) == 1 or name == variant else (name, variant)
                out[key] = weighted(poses, scores), judged
        return out

    def score(name, answer: tuple, _case) -> list[Scores]:
        poses, truth = answer
        words = {"method": "otpose", "variant": name if isinstance(name, str) else name[0]}
        left_out = metrics.in_ignored(poses, pictures)
        aligned = boxes.boxes is None
        return posetrack_scores(words, poses, truth, left_out=left_out, aligned=aligned)

    def protocol(learned: Mapping) -> str:
        told = [one.told for one in learned.values() if one.told] or ["weights as named"]
        kind = "ground truth"
        if boxes.boxes is not None:
            kind = (
                f"{len(boxes.boxes)} of {Path(boxes.file).name}, their scores times the joints' "
                "confidences"
            )
        return (
            f"{options.name}: {len(half.clips)} validation clips, {counts[-1]} people in labelled "
            f"frames; boxes: {kind}; percent; AP-*: PoseTrack's average precision within half a "
            f"head size, ignored regions left out; answers in {precision}; {told[-1]}"
        )

    return Task(
        variants=names,
        learn=learn,
        answers=answers,
        score=score,
        protocol=protocol,
        rival=RIVAL,
        paper=paper_rows("otpose", *TABLES[options.name], prefix="AP-"),
        stated={"boxes": boxes.kind},
        seed=options.seed,
    )


# --- the recipe -----------------------------------------------------------------------------------


def _card(recipe: Recipe, variant: str, learned: Learned, options: Options) -> dict:
    """What the shipped file says of its rows."""
    data = recipe.own.rendered
    model = learned.predictor.model
    windows = people("test", model.config, data=data)
    poses = estimate(windows, {variant: model}, progress=options.progress)
    truth = windows.poses()
    lines = [
        line for name, each in poses.items() for line in posetrack_rows("otpose", name, each, truth)
    ]
    return {
        "metrics": {f"{line['variant']}, {line['subset']}": line["metrics"] for line in lines},
        "metrics_data": f"{data.name}, {data.clips['test']} test clips, boxes: ground truth",
        "licence": "Apache-2.0; trained on rendered people alone",
    }


RECIPE = Recipe(
    name="otpose",
    title="OTPose",
    variants=VARIANTS,
    training=_training,
    predictor=_predictor,
    tasks={"synthetic": _synthetic} | dict.fromkeys(POSETRACK, _published),
    shipped={"otpose": "otpose"},
    card=_card,
    skeletons=(SMALL.skeleton,),
    steps=TRAIN.steps,
    own=DATA,
    paper=config_of("otpose", "paper"),
    compared=("AP-Mean", "PCKh"),
    options=frozenset({"boxes", "precision"}),
)
