"""Visibility-aware reasoning, trained and measured on rendered people: the rows of Tables 1, 3, 5
and 6.

The world "occluded_people" (`made.worlds`) is frozen: single pictures of two to four people among
things, about half of all joints hidden, exact labels. Networks of one table have the same size,
budget and pictures; what differs stands in `VARIANTS`. The names "coco" and "crowdpose" run the
paper's own recipe on what the user has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import nn
from tqdm.auto import tqdm

from .. import checkpoint, geometry, metrics
from ..data.windows import Augment, Windows, clips_of, loader
from ..errors import BadParameter
from ..made.worlds import WORLDS
from ..models import config_of
from ..models.vissimcc import VisSimCC, VisSimCCConfig
from ..predict import PoseEstimator
from ..records import Clip, Detections, Pose, Reading, Video
from . import crops, real
from .base import (
    Learned,
    Options,
    Recipe,
    Scores,
    Task,
    Training,
    Variant,
    fresh,
    loaded,
    paper_rows,
    rows,
)
from .crops import PADDING, Rendered, joint_training, shipped_card, window_config
from .measures import coco_scores, weighted
from .published import Boxes, named, read_boxes, read_coco_half, settings

DATA = Rendered(WORLDS["occluded_people"], {"train": 4_000, "val": 200, "test": 500})
FEW = 1_000  # pictures of the small split: a quarter, as minitrain of train2017
SMALL = config_of("vissimcc", "small")
PLAIN = replace(SMALL, reasoning=False)
# as many parameters as the method, none of which tells a joint of another
ALONE = replace(SMALL, visibility="none", attention=False, mlp_ratio=6)
# On a core that has bf16 the stem takes an hour, each of the three shipped ones half an hour.
TRAIN = replace(crops.TRAIN, steps=3_000)


def _variant(
    config: VisSimCCConfig,
    start: str | None = "stem",
    *,
    joints: str = "labelled",
    pictures: int | None = None,
    longer: float = 1.0,
    precision: str = TRAIN.precision,
) -> Variant:
    """joints: whose loss counts, or "visible" (Table 1). pictures: of the training split. longer:
    times the steps of `TRAIN`.
    """
    train = replace(TRAIN, steps=round(TRAIN.steps * longer), precision=precision)
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
    # what the module adds to the shipped plain estimator, a seed in half an hour on a core
    "more": _variant(PLAIN, "vissimcc-baseline"),
    "more_alone": _variant(ALONE, "vissimcc-baseline"),
    "more_reasoning": _variant(replace(SMALL, visibility="none"), "vissimcc-baseline"),
    "more_masking": _variant(SMALL, "vissimcc-baseline"),
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
# whom rows are compared with: the first that is asked for
RIVALS = ("more_reasoning", "baseline")


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


def _training(recipe: Recipe, name: str, options: Options) -> Training:
    variant, data = recipe.variants[name], recipe.own
    settings, pictures = options.settings(variant.train), variant.data["pictures"]
    start, text = None, "people"
    words = {}
    if variant.start in recipe.shipped.values():
        start = recipe.weights(variant.start)
        card = checkpoint.read_card(start)
        words = {"start_fingerprint": card.get("fingerprint")}
        text = f"people after the shipped weights {variant.start}"
    elif variant.start is not None:
        first = recipe.train(variant.start, replace(options, seed=0))
        start = first.weights
        text = (
            f"people after {first.steps:,} of {variant.start}, a plain estimator that is the same "
            "for all seeds"
        )
    model = fresh("vissimcc", variant.config, settings.seed, start)
    if start is not None and model.reasoning is not None:
        # at first it changes no joint that counts as seen  # unstated; ours
        for part in model.reasoning.project.parameters():
            nn.init.zeros_(part)
    words |= {
        **data.words,
        "variant": name,
        "pictures": pictures or data.clips["train"],
        "joints": variant.data["joints"],
        "start": variant.start,
    }
    windows = partial(people, "train", variant.config, pictures, data=data)
    return joint_training(model, windows, settings, words, name, text, variant.data["joints"])


# --- answers --------------------------------------------------------------------------------------


def estimate(
    estimator: PoseEstimator,
    windows: Windows,
    *,
    source: str | None = None,
    wrong: float = 0.0,
    progress: bool = False,
) -> tuple[Detections, Float[np.ndarray, "n k"] | None]:
    """The pose in each window, px of its picture, and the probabilities of being visible where
    the model states them.

    source: what the mask follows, None: the model's own. wrong: the share of joints whose label of
    visibility is turned round before; a larger share turns the same ones and others.
    """
    truth = windows.poses()
    turned = np.random.default_rng(0).random(truth.visibility.shape) < wrong
    xy, confidence, visibility = [], [], []
    batches = loader(windows, 128, shuffle=False, augment=False, workers=1)
    bar = tqdm(
        total=len(windows), desc=estimator.name, unit="person", disable=not progress, leave=False
    )
    with bar:
        for batch in batches:
            flags = batch["visibility"][:, 0].numpy()
            part, turned = turned[: len(flags)], turned[len(flags) :]
            flags = np.where(part, np.where(flags == 2, 1, 2), flags)
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
    variant: str, poses: Detections, visibility: np.ndarray | None, truth: Pose, **options
) -> list[dict]:
    """Rows of a variant's answers, see `measures.coco_scores`."""
    words = {"method": "vissimcc", "variant": variant}
    return rows({variant: coco_scores(words, poses, visibility, truth, **options)})


def rival_of(names: Sequence[str]) -> str | None:
    return next((name for name in RIVALS if name in names), None)


# --- rendered people ------------------------------------------------------------------------------


def _synthetic(recipe: Recipe, options: Options) -> Task:
    data, shipped = recipe.own, recipe.shipped.values()

    def is_weights(name: str) -> bool:
        return name in shipped or Path(name).suffix == ".safetensors"

    ours = [name for name in options.variants or () if not is_weights(name)]
    recipe.chosen(replace(options, variants=ours))

    def learn(name: str, _case) -> Learned:
        """The shipped weights where nothing else is asked for, else trained ones, or a file's."""
        file = name if is_weights(name) else None
        if options.variants is None and recipe.weights(recipe.shipped[name]).exists():
            file = recipe.shipped[name]
        return recipe.train(name, options) if file is None else loaded(recipe, file, options)

    def scores(_case, predictors: Mapping[str, PoseEstimator]) -> dict[str, list[Scores]]:
        out = {}
        for name, estimator in predictors.items():
            windows = people("test", estimator.model.config, data=data)
            answer = estimate(estimator, windows, progress=options.progress)
            words = {"method": "vissimcc", "variant": name}
            out[name] = coco_scores(words, *answer, windows.poses(), boxes="ground truth")
        return out

    protocol = (
        f"{len(people('test', data=data))} people in {data.clips['test']} rendered test pictures "
        f"(world {data.name}), boxes: ground truth, mean with the mirror image; percent; AP and AR "
        "by OKS with the scale 0.53 of the box; PCK within 5 % of the box's longer side; oks: mean "
        f"over people, 95 % by picture; answers in {options.precision}"
    )
    names = options.variants or tuple(recipe.shipped)
    return Task(
        variants=names,
        learn=learn,
        scores=scores,
        protocol=protocol,
        rival=rival_of(names),
        paper=paper_rows("vissimcc", "Table 1", "Table 3", "Table 5", "Table 6"),
        boxes="ground truth",
        steps=True,
    )


MASKS = {  # name -> what the mask follows, and the share of labels that are wrong
    "VisNet's mask": (None, 0.0),
    "no mask": ("none", 0.0),
    "true labels": ("truth", 0.0),
    "10 % wrong": ("truth", 0.10),
    "11 % wrong, as the paper's VisNet": ("truth", 0.11),
    "20 % wrong": ("truth", 0.20),
    "as many wrong as VisNet": ("truth", None),
    "30 % wrong": ("truth", 0.30),
}
OWN_MASK = next(iter(MASKS))


def _masks(recipe: Recipe, options: Options) -> Task:
    """One network, the shipped one by default, with masks that are right more and less often; and
    the shipped one without a mask in training.
    """
    data = recipe.own
    names = options.variants or (recipe.shipped["masking"],)
    truth = people("test", data=data).poses()

    def answers(name: str, estimator: PoseEstimator) -> dict[str, list[Scores]]:
        out, wrong_of_own = {}, 0.0
        windows = people("test", estimator.model.config, data=data)
        for mask, (source, wrong) in MASKS.items():
            wrong = wrong_of_own if wrong is None else wrong
            how = {"source": source, "wrong": wrong, "progress": options.progress}
            poses, visibility = estimate(estimator, windows, **how)
            if mask == OWN_MASK and visibility is not None:
                wrong_of_own = 1 - metrics.visibility_accuracy(visibility, truth)
            right = {"truth": 1 - wrong, None: 1 - wrong_of_own}.get(source)
            words = {"method": "vissimcc", "variant": f"{name}, {mask}"}
            found = coco_scores(words, poses, None, truth, boxes="ground truth")
            share = {} if right is None else {"mask right": 100 * right}
            out[f"{name}, {mask}"] = [replace(one, whole={**one.whole, **share}) for one in found]
        return out

    def scores(_case, predictors: Mapping[str, PoseEstimator]) -> dict[str, list[Scores]]:
        found = {}
        for name, estimator in predictors.items():
            found |= answers(name, estimator)
        other = loaded(recipe, recipe.shipped["reasoning"], options).predictor
        windows = people("test", other.model.config, data=data)
        poses, _ = estimate(other, windows, progress=options.progress)
        words = {"method": "vissimcc", "variant": other.name}
        found[other.name] = coco_scores(words, poses, None, truth, boxes="ground truth")
        return found

    protocol = (
        f"{len(truth)} people in {data.clips['test']} rendered test pictures (world {data.name}), "
        "boxes: ground truth, mean with the mirror image; the network learned with VisNet's mask; "
        "in use the mask follows it, nothing, or the labels, of which a share is turned round at "
        "random (mask right: of all joints, percent); AP by OKS with the scale 0.53 of the box, "
        "percent; oks: mean over people, 95 % by picture"
    )
    return Task(
        variants=names,
        learn=lambda name, _case: loaded(recipe, name, options),
        scores=scores,
        protocol=protocol,
        rival=f"{names[0]}, {OWN_MASK}",
        boxes="ground truth",
    )


# --- COCO and CrowdPose ---------------------------------------------------------------------------

EPOCHS = 140  # ResNet-50; Sec. 5.1
DROPS = (90 / 140, 120 / 140)
PEOPLE = 64  # a step  # unstated; ours
TABLES = {"coco": ("Table 1", "Table 2", "Table 3"), "crowdpose": ("Table 4",)}
# "all" and "visible" are Table 1's; its small split is not published
ON_COCO = ("baseline", "reasoning", "masking", "truth", "all", "visible")


def published_windows(reading: Reading, folder: Path, config: VisSimCCConfig) -> Windows:
    """Everybody with labelled joints, augmented as the paper's baseline does: HRNet's."""
    augment = Augment(scale=(0.7, 1.3), rotation_degrees=40.0, half_body=0.3)
    pairs = [(clip, folder) for clip in clips_of(reading)]
    return Windows(pairs, window_config(config, augment=augment))


def published_config(recipe: Recipe, name: str, joints: str) -> VisSimCCConfig:
    """The paper's network as a variant has it, with a set's joints."""
    made = recipe.variants[name].config
    changes = {"reasoning": made.reasoning, "visibility": made.visibility}
    return replace(recipe.paper, skeleton=joints, **changes)


def _learn_published(recipe: Recipe, options: Options, name: str, config) -> Learned:
    """Table 2's recipe: ResNet-50, 256 x 192, 140 epochs, the rate a tenth after 90 and 120."""
    windows = published_windows(*read_coco_half(options.data, "train"), config)
    train = settings(options, EPOCHS, len(windows), PEOPLE, tried=PEOPLE, lr=1e-3, drops=DROPS)
    torch.manual_seed(options.seed)
    model = VisSimCC(config, pretrained=options.steps is None)
    start = "ImageNet" if options.steps is None else "random"
    joints = recipe.variants[name].data["joints"]
    counted = {} if joints == "labelled" else {"joints": joints}
    words = {"variant": name, "padding": PADDING, "data": options.data, **counted}
    text = f"people from {start} weights, {len(windows)} people to learn from, {joints} joints"
    training = joint_training(model, lambda: windows, train, words, name, text, joints)
    return recipe.learn(training, options)


def _scores_published(
    words: Mapping, estimator: PoseEstimator, reading: Reading, folder: Path, boxes: Boxes, bar
) -> list[Scores]:
    """Of poses in the truth's boxes, or in a detector's."""
    config, accuracy = estimator.model.config, None
    if boxes.boxes is None:
        windows = published_windows(reading, folder, config)
        poses, visibility = estimate(estimator, windows, progress=bar)
        rows_at = [windows.pairs[pair][0].tracks[n].track_id for pair, n, _ in windows.items]
        people = reading.poses.select(rows_at)
        poses = replace(poses, boxes_xyxy=people.boxes_xyxy)
        if visibility is not None and people.occlusion_known:
            accuracy = metrics.visibility_accuracy(visibility, people)
    elif config.reasoning and config.visibility == "truth":
        problem = f"{estimator.name} wants true labels, a detector's boxes have none"
        raise BadParameter(problem, remedy="leave boxes out")
    else:
        # clips of one frame without people
        clips = [Clip(Video("", 1, *(p.size_wh or ())), (), (p,), p.name) for p in reading.pictures]
        pictures = Windows([(clip, folder) for clip in clips], window_config(config))
        windows, scores = boxes.windows(pictures, config.skeleton)
        poses = weighted(estimate(estimator, windows, progress=bar)[0], scores)
    options = {"boxes": boxes.kind, "pictures": reading.pictures}
    found = coco_scores(words, poses, None, reading.poses, **options)
    if accuracy is not None:
        found[0].whole["visibility_accuracy"] = 100 * accuracy
    return found


def _published(recipe: Recipe, options: Options) -> Task:
    reading, folder = read_coco_half(options.data, "test")
    joints, boxes = reading.poses.skeleton, read_boxes(options.boxes)
    public = [str(options.weights)] if options.weights else []
    names = options.variants or (() if public else ("baseline", "masking"))

    def learn(name: str, _case) -> Learned:
        if name in ON_COCO:
            config = published_config(recipe, name, joints)
            learned = _learn_published(recipe, options, name, config)
        elif name in public:
            how = {"weights": name, "size": options.size, "skeleton": joints}
            text = f"public weights {Path(name).name}"
            learned = replace(named("vissimcc", options, **how), text=text)
        else:
            learned = named(name, options)
        has = learned.predictor.skeleton.name
        if has != joints:
            problem = f"{name} has {has}, {joints} expected"
            raise BadParameter(problem, remedy="name other weights or data")
        return replace(learned, seed=options.seed)

    def scores(_case, predictors: Mapping[str, PoseEstimator]) -> dict[str, list[Scores]]:
        how = (reading, folder, boxes, options.progress)
        return {
            name: _scores_published({"method": "vissimcc", "variant": name}, estimator, *how)
            for name, estimator in predictors.items()
        }

    unsplit = (
        "; the truth does not say which joints are occluded, so nothing is split by visibility"
    )
    return Task(
        variants=[*names, *public],
        learn=learn,
        scores=scores,
        protocol=f"{options.name}: {len(reading.pictures)} pictures, boxes: {boxes.kind}, mean "
        f"with the mirror image; percent; answers in {options.precision}"
        f"{'' if reading.poses.occlusion_known else unsplit}",
        rival=rival_of(names),
        paper=paper_rows("vissimcc", *TABLES[options.name]),
        boxes=boxes.kind,
    )


# --- the recipe -----------------------------------------------------------------------------------


RECIPE = Recipe(
    name="vissimcc",
    title="VisSimCC",
    variants=VARIANTS,
    training=_training,
    predictor=lambda model, name, card: PoseEstimator(model, name, card["padding"]),
    tasks={"synthetic": _synthetic}
    | dict.fromkeys(TABLES, _published)
    | {"masks": _masks, "real_detections": real.stills},
    shipped=SHIPPED,
    card=partial(shipped_card, title="{subset}", of="pictures, boxes: ground truth"),
    skeletons=("coco17",),
    steps=TRAIN.steps,
    own=DATA,
    paper=config_of("vissimcc", "paper"),
    compared=("oks",),
    options=frozenset({"boxes", "precision", "weights", "size"}),
)


def attention_share(
    attention: Float[np.ndarray, "n l h q k"],
    on: Bool[np.ndarray, "n k"],
    of: Bool[np.ndarray, "n q"],
) -> Float[np.ndarray, "n"]:
    """Share of the attention of the joints `of` that the joints `on` receive, 0 to 1: mean over
    blocks, heads and those who ask. NaN for a person without joints that ask.
    """
    given = (attention * on[:, None, None, None]).sum(-1).mean((1, 2))
    return np.where(of.any(1), (given * of).sum(1) / of.sum(1).clip(1), np.nan)
