"""Visibility-aware reasoning, trained and measured on rendered people: the rows of Tables 1, 3, 5
and 6.

The world "occluded_people" (`made.worlds`) is frozen: single pictures of two to four people among
things, about half of all joints hidden, exact labels. Networks of one table have the same size,
budget and pictures; what differs stands in `VARIANTS`. The names "coco" and "crowdpose" run the
paper's own recipe on what the user has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from tqdm.auto import tqdm

from .. import checkpoint, geometry, metrics
from ..data.windows import Augment, Windows, clips_of, loader
from ..errors import BadParameter, unknown
from ..made.worlds import WORLDS
from ..models import build, config_of
from ..models.vissimcc import VisSimCC, VisSimCCConfig
from ..predict import PoseEstimator, load
from ..records import Detections, Reading
from ..train import BatchSource, TrainConfig, choose_device, share
from .base import Learned, Options, Recipe, Scores, Task, Training, Variant, loaded, paper_rows
from .base import rows as base_rows
from .crops import PADDING, Rendered, joint_batches, window_config
from .measures import coco_scores
from .published import (
    COCO_HALVES,
    Boxes,
    one_picture_clips,
    read_boxes,
    read_coco_half,
    settings,
    weighted,
)

DATA = Rendered(WORLDS["occluded_people"], {"train": 4_000, "val": 200, "test": 500})
FEW = 1_000  # pictures of the small split: a quarter, as minitrain of train2017
SMALL = config_of("vissimcc", "small")
PLAIN = replace(SMALL, reasoning=False)
# Adam: SimCC's. On a core that has bf16 the stem takes an hour, each of the three shipped ones half
# an hour.  # unstated; ours
TRAIN = TrainConfig(
    steps=3_000,
    batch_size=64,
    lr=2e-3,
    warmup_steps=200,
    ema=0.995,
    precision="bf16",
    workers=1,
)


def _variant(
    config: VisSimCCConfig,
    start: str | None = "stem",
    *,
    joints: str = "labelled",
    pictures: int | None = None,
    longer: float = 1.0,
) -> Variant:
    """joints: whose loss counts, or "visible" (Table 1). pictures: of the training split. longer:
    times the steps of `TRAIN`.
    """
    train = replace(TRAIN, steps=round(TRAIN.steps * longer))
    return Variant(config, train, start, data={"joints": joints, "pictures": pictures})


# All go on from one plain estimator, as the paper's Table 1 does; it is the same for all seeds.
# Each table's rows have the same number of steps; the small split, a quarter of the pictures, as
# many passes over them.
VARIANTS = {
    "stem": _variant(PLAIN, None, longer=4.0),
    "baseline": _variant(PLAIN, longer=2.0),  # SimCC; Tables 2, 3 and 5
    "reasoning": _variant(replace(SMALL, visibility="none"), longer=2.0),  # Table 5, no masking
    "masking": _variant(SMALL, longer=2.0),  # the method
    "truth": _variant(replace(SMALL, visibility="truth"), longer=2.0),  # Table 6
    "all": _variant(PLAIN),  # Table 1
    "visible": _variant(PLAIN, joints="visible"),
    "few_stem": _variant(PLAIN, None, pictures=FEW),  # Table 1's small split
    "few_all": _variant(PLAIN, "few_stem", pictures=FEW, longer=0.25),
    "few_visible": _variant(PLAIN, "few_stem", joints="visible", pictures=FEW, longer=0.25),
    # the module in a heatmap estimator, in brief
    "heatmap_stem": _variant(replace(PLAIN, output="heatmap"), longer=1 / 6),
    "heatmap": _variant(replace(PLAIN, output="heatmap"), "heatmap_stem", longer=1 / 6),
    "heatmap_masking": _variant(replace(SMALL, output="heatmap"), "heatmap_stem", longer=1 / 6),
}
SHIPPED = {
    "masking": "vissimcc",
    "reasoning": "vissimcc-reasoning",
    "baseline": "vissimcc-baseline",
}
RIVAL = "baseline"


# --- training -------------------------------------------------------------------------------------


def people(
    split: str,
    config: VisSimCCConfig = SMALL,
    n: int | None = None,
    *,
    data: Rendered = DATA,
) -> Windows:
    """Every person of the first n pictures of a split of the world, a window each."""
    return Windows(data.pairs(split, n), window_config(config))


def losses_of(config: VisSimCCConfig) -> dict[str, float]:
    """The terms of the loss that a network has."""
    learns_visibility = config.reasoning and config.visibility == "predicted"
    return {"pose": 1.0} | ({"visibility": 1.0} if learns_visibility else {})


def single_training(
    windows: Callable[[], Windows],
    model: nn.Module,
    card: Mapping,
    config: TrainConfig,
    label: str,
    joints: str = "labelled",
) -> Training:
    """How an estimator of single crops learns."""
    model = model.to(memory_format=torch.channels_last)

    def batches() -> BatchSource:
        return joint_batches(windows(), share(config.batch_size), joints)

    return Training(model, batches, config, losses_of(model.config), card, label)


def _training(recipe: Recipe, name: str, options: Options) -> Training:
    variant, data = recipe.variants[name], recipe.own
    start = None
    if variant.start is not None:
        start = recipe.train(variant.start, replace(options, seed=0)).weights
    torch.manual_seed(options.seed)
    model = build("vissimcc", variant.config)
    if start is not None:
        checkpoint.load_into(model, checkpoint.read_tensors(start), partial=True)
        if model.reasoning is not None:
            # at first it changes no joint that counts as seen  # unstated; ours
            for part in model.reasoning.project.parameters():
                nn.init.zeros_(part)
    pictures = variant.data["pictures"]
    card = {
        "model": "vissimcc",
        "variant": name,
        "config": asdict(variant.config),
        "padding": PADDING,
        "world": data.world.digest(),
        "pictures": pictures or data.clips["train"],
        "joints": variant.data["joints"],
        "start": variant.start,
        "data": data.world.name,
    }
    windows = partial(people, "train", variant.config, pictures, data=data)
    config = options.settings(variant.train)
    return single_training(windows, model, card, config, name, variant.data["joints"])


def _predictor(model: nn.Module, name: str, card: Mapping) -> PoseEstimator:
    return PoseEstimator(model, name, card["padding"])


# --- answers --------------------------------------------------------------------------------------


def estimate(
    estimator: PoseEstimator, windows: Windows, *, source: str | None = None, progress: bool = False
) -> tuple[Detections, Float[np.ndarray, "n k"] | None]:
    """The pose in each window, px of its picture, and the probabilities of being visible where
    the model states them.
    """
    truth = windows.poses()
    xy, confidence, visibility = [], [], []
    batches = loader(windows, 128, shuffle=False, augment=False, workers=1)
    bar = tqdm(
        total=len(windows), desc=estimator.name, unit="person", disable=not progress, leave=False
    )
    with bar:
        for batch in batches:
            flags = batch["visibility"][:, 0].numpy()
            answer = estimator.read(batch["images"][:, 0], visibility=flags, source=source)
            back = geometry.invert(batch["affine"].double().numpy())
            xy.append(geometry.apply(back, answer.xy_crop.astype(np.float64)))
            confidence.append(answer.confidence)
            visibility.append(answer.visibility)
            bar.update(len(answer.xy_crop))
    poses = Detections(
        truth.skeleton,
        np.concatenate(xy),
        np.concatenate(confidence),
        truth.boxes_xyxy,
        images=truth.images,
    )
    return poses, None if visibility[0] is None else np.concatenate(visibility)


def rows_of(
    variant: str,
    poses: Detections,
    visibility: np.ndarray | None,
    truth,
    *,
    seed: int | None = None,
    **options,
) -> list[dict]:
    """Rows of a variant's answers, see `measures.coco_scores`."""
    words = {"method": "vissimcc", "variant": variant}
    scores = coco_scores(words, poses, visibility, truth, **options)
    return base_rows({variant: scores}, seed=seed)


# --- rendered people ------------------------------------------------------------------------------


def _is_weights(name: str) -> bool:
    return name in SHIPPED.values() or Path(name).suffix == ".safetensors"


def _learn(recipe: Recipe, options: Options, name: str) -> Learned:
    """A variant: the shipped weights where nothing else is asked for, trained, or weights that are
    named.
    """
    shipped = recipe.shipped.get(name)
    if options.variants is None and shipped is not None:
        if recipe.weights(shipped).exists():
            return loaded(recipe, shipped, options)
    if name not in recipe.variants and _is_weights(name):
        return loaded(recipe, name, options)
    return recipe.train(name, options)


def _networks(recipe: Recipe, options: Options, learned: Mapping[str, Learned]) -> str:
    """How the networks of an evaluation learned, in words."""
    trained = {name: one.steps for name, one in learned.items() if one.steps is not None}
    if not trained:
        return "shipped weights"
    starts = sorted({recipe.variants[name].start for name in trained} - {None})
    after = [
        f"{options.settings(recipe.variants[start].train).steps:,} of {start}" for start in starts
    ]
    steps = " or ".join(f"{n:,}" for n in sorted(set(trained.values())))
    batch = recipe.variants[min(trained)].train.batch_size
    return (
        f"networks: {steps} steps of {batch} people after {' or '.join(after) or 'none'}, a plain "
        "estimator that is the same for all seeds"
    )


def _synthetic(recipe: Recipe, options: Options) -> Task:
    if options.boxes is not None:
        raise BadParameter(
            "rendered people have no detector's boxes", remedy="leave boxes out, or name COCO"
        )
    data, precision = recipe.own, options.precision or "fp32"
    names = options.variants or tuple(recipe.shipped)
    for name in names:
        if name not in recipe.variants and not _is_weights(name):
            raise unknown("variant of VisSimCC", name, recipe.variants)

    def answers(_case, predictors: Mapping[str, PoseEstimator]) -> dict:
        out = {}
        for name, estimator in predictors.items():
            estimator.precision = precision
            windows = people("test", estimator.model.config, data=data)
            poses, visibility = estimate(estimator, windows, progress=options.progress)
            out[name] = poses, visibility, windows.poses()
        return out

    def score(name: str, answer: tuple, _case) -> list[Scores]:
        words = {"method": "vissimcc", "variant": name}
        return coco_scores(words, *answer, boxes="ground truth")

    def protocol(learned: Mapping) -> str:
        by_name = {name: one for (name, _), one in learned.items()}
        return (
            f"{len(people('test', data=data))} people in {data.clips['test']} rendered test "
            f"pictures (world {data.name}), boxes: ground truth, mean with the mirror image; "
            "percent; AP and AR by OKS with the scale 0.53 of the box; PCK within 5 % of the box's "
            "longer side; oks: mean over people, 95 % by picture; answers in "
            f"{precision}; {_networks(recipe, options, by_name)}"
        )

    return Task(
        variants=names,
        learn=lambda name, _case: _learn(recipe, options, name),
        answers=answers,
        score=score,
        protocol=protocol,
        rival=RIVAL,
        paper=paper_rows("vissimcc", "Table 1", "Table 3", "Table 5", "Table 6"),
        stated={"boxes": "ground truth"},
    )


# --- COCO and CrowdPose ---------------------------------------------------------------------------

EPOCHS = 140  # ResNet-50; Sec. 5.1
DROPS = (90 / 140, 120 / 140)
PEOPLE = 64  # a step  # unstated; ours


def published_windows(reading: Reading, folder: Path, config: VisSimCCConfig) -> Windows:
    """Everybody with labelled joints, augmented as the paper's baseline does: HRNet's."""
    augment = Augment(scale=(0.7, 1.3), rotation_degrees=40.0, half_body=0.3)
    pairs = [(clip, folder) for clip in clips_of(reading)]
    return Windows(pairs, window_config(config, augment=augment))


def published_variants(paper: VisSimCCConfig, skeleton: str) -> dict[str, VisSimCCConfig]:
    """The paper's networks with a set's joints."""
    base = replace(paper, skeleton=skeleton)
    return {
        "baseline": replace(base, reasoning=False),
        "reasoning": replace(base, visibility="none"),
        "masking": base,
        "truth": replace(base, visibility="truth"),
    }


def _train_published(recipe: Recipe, options: Options, name: str, config) -> Learned:
    """Table 2's recipe: ResNet-50, 256 x 192, 140 epochs, the rate a tenth after 90 and 120."""
    windows = published_windows(*read_coco_half(options.data, "train"), config)
    train = settings(options, EPOCHS, len(windows), PEOPLE, tried=PEOPLE, lr=1e-3, drops=DROPS)
    torch.manual_seed(options.seed)
    tried = options.steps is not None
    model = build("vissimcc", config) if tried else VisSimCC(config, pretrained=True)
    card = {
        "model": "vissimcc",
        "variant": name,
        "config": asdict(config),
        "padding": PADDING,
        "data": options.data,
    }
    learned = recipe.learn(single_training(lambda: windows, model, card, train, name), options)
    start = "random" if tried else "ImageNet"
    text = (
        f"{train.steps:,} steps of {PEOPLE} people from {start} weights, {len(windows)} people to "
        "learn from"
    )
    return replace(learned, told=text, steps=None)


def _named(options: Options, name: str, joints: str) -> Learned:
    """Weights of ours, or of a public program where the file is `options.weights`."""
    device = choose_device(options.device)
    if name != str(options.weights):
        return Learned(load(name, device=device))
    public = {"weights": name, "size": options.size, "skeleton": joints}
    estimator = load("vissimcc", device=device, **public)
    return Learned(estimator, told=f"public weights {Path(name).name}")


def _answer_published(
    estimator: PoseEstimator, reading: Reading, folder: Path, boxes: Boxes, progress: bool
) -> tuple:
    """Poses in the truth's boxes, or in a detector's, the accuracy of visibility, and the truth."""
    config = estimator.model.config
    if boxes.boxes is None:
        windows = published_windows(reading, folder, config)
        tracks = [windows.pairs[pair][0].tracks[n] for pair, n, _ in windows.items]
        rows_at = [track.track_id for track in tracks]
        poses, visibility = estimate(estimator, windows, progress=progress)
        poses = replace(poses, boxes_xyxy=reading.poses.boxes_xyxy[rows_at])
        if visibility is None or not reading.poses.occlusion_known:
            return poses, None
        return poses, metrics.visibility_accuracy(visibility, reading.poses.select(rows_at))
    if config.reasoning and config.visibility == "truth":
        problem = f"{estimator.name} wants true labels, a detector's boxes have none"
        raise BadParameter(problem, remedy="leave boxes out")
    pairs = one_picture_clips(list(reading.pictures), folder)
    windows, scores = boxes.windows(pairs, config.skeleton, window_config(config))
    return weighted(estimate(estimator, windows, progress=progress)[0], scores), None


def _published(recipe: Recipe, options: Options) -> Task:
    reading, folder = read_coco_half(options.data, "test")
    boxes, precision = read_boxes(options.boxes), options.precision or "fp32"
    known = published_variants(recipe.paper, reading.poses.skeleton)
    names = options.variants or (() if options.weights else ("baseline", "masking"))
    names = [*names, *([str(options.weights)] if options.weights else [])]

    def learn(name: str, _case) -> Learned:
        learned = (
            _train_published(recipe, options, name, known[name])
            if name in known
            else _named(options, name, reading.poses.skeleton)
        )
        has = learned.predictor.skeleton.name
        if has != reading.poses.skeleton:
            problem = f"{name} has {has}, {reading.poses.skeleton} expected"
            raise BadParameter(problem, remedy="name other weights or data")
        return replace(learned, seed=options.seed)

    def answers(_case, predictors: Mapping[str, PoseEstimator]) -> dict:
        out = {}
        for name, estimator in predictors.items():
            estimator.precision = precision
            out[name] = _answer_published(estimator, reading, folder, boxes, options.progress)
        return out

    def score(name: str, answer: tuple, _case) -> list[Scores]:
        poses, accuracy = answer
        words = {"method": "vissimcc", "variant": name}
        scores = coco_scores(
            words, poses, None, reading.poses, boxes=boxes.kind, pictures=reading.pictures
        )
        if accuracy is not None:
            scores[0].whole["visibility_accuracy"] = 100 * accuracy
        return scores

    def protocol(learned: Mapping) -> str:
        told = [one.told for one in learned.values() if one.told] or ["weights as named"]
        return (
            f"{options.name}: {len(reading.pictures)} pictures, boxes: {boxes.kind}, mean with the "
            f"mirror image; percent; answers in {precision}; {told[-1]}"
        )

    tables = ("Table 2", "Table 3") if options.name == "coco" else ("Table 4",)
    return Task(
        variants=names,
        learn=learn,
        answers=answers,
        score=score,
        protocol=protocol,
        rival=RIVAL,
        paper=paper_rows("vissimcc", *tables),
        stated={"boxes": boxes.kind},
    )


# --- the recipe -----------------------------------------------------------------------------------


def _card(recipe: Recipe, variant: str, learned: Learned, options: Options) -> dict:
    """What the shipped file says of its rows."""
    data = recipe.own
    windows = people("test", learned.predictor.model.config, data=data)
    answer = estimate(learned.predictor, windows, progress=options.progress)
    lines = rows_of(variant, *answer, windows.poses(), boxes="ground truth")
    return {
        "metrics": {line["subset"]: line["metrics"] for line in lines},
        "metrics_data": f"{data.name}, {data.clips['test']} test pictures, boxes: ground truth",
        "licence": "Apache-2.0; trained on rendered people alone",
    }


RECIPE = Recipe(
    name="vissimcc",
    title="VisSimCC",
    variants=VARIANTS,
    training=_training,
    predictor=_predictor,
    tasks={"synthetic": _synthetic} | dict.fromkeys(COCO_HALVES, _published),
    shipped=SHIPPED,
    card=_card,
    skeletons=("coco17",),
    steps=TRAIN.steps,
    own=DATA,
    paper=config_of("vissimcc", "paper"),
    compared=("oks",),
    options=frozenset({"boxes", "precision", "weights", "size"}),
)
