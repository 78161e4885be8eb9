"""OTPose trained and measured: on rendered clips of people who cross or pass each other, and on
PoseTrack where the user has it.

Two worlds (`made.worlds`) are frozen: clips of five blurred frames, of which the middle one alone
is labelled. In "crossing_people" most hidden joints are seen in none of the other frames, in
"passing_people" most of them in two or more: there a method can borrow what it does not see. A
single-frame estimator learns first, from "crossing_people", from where VisSimCC's plain one stands;
its heatmaps of clips of both worlds are made once, and the temporal part learns from them. Every
variant has the same heatmaps and budget, and is judged in both worlds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from .. import checkpoint, codecs, geometry
from ..caches import check_seal, seal
from ..data.windows import Augment, WindowConfig, Windows, loader
from ..made.worlds import WORLDS
from ..models import config_of
from ..models.backbones import KeypointMaps
from ..models.otpose import OTPose, OTPoseConfig
from ..models.vissimcc import VisSimCC, VisSimCCConfig
from ..outputs import alone, check_room, folder_beside, put
from ..predict import ClipEstimator, PoseEstimator
from ..records import Clip, Detections, Pose
from ..skeletons import skeleton
from ..train import Batch, BatchSource, TrainConfig, fingerprint, trained_folder
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
    trained_as,
)
from .crops import (
    PADDING,
    Rendered,
    frame_distance,
    joint_training,
    key_batches,
    shipped_card,
    window_config,
)
from .measures import PERCENT, blurred, posetrack_scores
from .published import (
    begun,
    named,
    pictures_of,
    read_boxes,
    read_posetrack_half,
    read_public_weights,
    settings,
    shared_joints,
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
# unstated; ours
TRAIN = TrainConfig(
    steps=1_000,
    batch_size=16,
    lr=1e-3,
    warmup_steps=100,
    ema=0.995,
    clip_norm=1.0,
    precision="bf16",
)
# of each row: five minutes on a core that has bf16
TABLE_TRAIN = replace(TRAIN, batch_size=8)
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
    # what parts are worth here that Table V keeps
    "no_attention": {"attention": False},
    "no_refinement": {"refinement": False},
    # maps that are less sharp from the start
    "paper_initial": {"initial_std": 0.001},
    "pixel_scale": {"pixel_scale": True},
    "pixel_scale_paper_initial": {"pixel_scale": True, "initial_std": 0.001},
    # a rival that reads the same heatmaps, of the same size
    "dcpose": {
        "temporal": "difference",
        "occlusion_encoder": False,
        "difference_channels": 110,
    },
}
# "frame" is what all go on from
VARIANTS = {"frame": Variant(FRAME, crops.TRAIN, "vissimcc-baseline")} | {
    name: Variant(replace(SMALL, **change), TABLE_TRAIN, "frame", ship=TRAIN)
    for name, change in CHANGES.items()
}
RIVAL = "single frame"
MEAN = "mean of five frames"

PASSING = Rendered(WORLDS["passing_people"], {"train": 1_000, "val": 120, "test": 400})


@dataclass(frozen=True)
class Rough(Rendered):
    """What OTPose learns from, and how heatmaps of it by the single frame are made.

    passing: of the other world; temporal parts learn from its training clips and as many of this
    one's. passes: how often these are cropped anew, augmented.
    """

    passing: Rendered = PASSING
    passes: int = 2

    @property
    def mix(self) -> dict:
        """What temporal parts learn from, in words of cards."""
        two = (self, self.passing)
        return {
            "padding": PADDING,
            "world": "+".join(data.world.digest() for data in two),
            "data": "+".join(data.world.name for data in two),
            "clips": 2 * self.passing.clips["train"],
            "passes": self.passes,
        }


DATA = Rough(WORLDS["crossing_people"], {"train": 2_000, "val": 120, "test": 400})


# --- data -----------------------------------------------------------------------------------------


def people(
    split: str,
    config: OTPoseConfig | VisSimCCConfig = SMALL,
    *,
    offsets: tuple[int, ...] = OFFSETS,
    n: int | None = None,
    data: Rendered = DATA,
) -> Windows:
    """Everybody in the middle frames of the first n clips of a split, a window each."""
    return Windows(data.pairs(split, n), window_config(config, offsets))


def mixed_people(config: OTPoseConfig = SMALL, *, data: Rough = DATA) -> Windows:
    """Everybody in the middle frames of training clips, as many of either world."""
    half = data.passing.clips["train"]
    pairs = (*data.pairs("train", half), *data.passing.pairs("train"))
    return Windows(pairs, window_config(config, OFFSETS))


def filmed_again(windows: Windows, split: str, data: Rendered) -> list[Clip]:
    """The clips of windows, sharp and with labels in every frame: the same scenes."""
    told = replace(data.world, sub_frames=1, label_stride=1, label_first=0)
    return [clip for clip, _ in replace(data, world=told).pairs(split, len(windows.pairs))]


def frames_that_show(windows: Windows, split: str, data: Rendered) -> Int[np.ndarray, "n k"]:
    """In how many other frames of its clip each joint of each window's person is seen. Labels say
    nothing of these: see `filmed_again`.
    """
    clips = filmed_again(windows, split, data)
    shown = []
    for pair, n, key in windows.items.tolist():
        flags = clips[pair].tracks[n].visibility
        shown.append((np.delete(flags, key, 0) == 2).sum(0))
    return np.array(shown)


def everybody(windows: Windows, split: str, data: Rendered) -> list[Float[np.ndarray, "t p k 2"]]:
    """True places of the people of each window's clip in its frames, px of the crop, its own
    person first; NaN without a label. See `filmed_again`.
    """
    clips, found = filmed_again(windows, split, data), []
    for row, (pair, n, _) in enumerate(windows.items.tolist()):
        tracks = sorted(clips[pair].tracks, key=lambda track: track is not clips[pair].tracks[n])
        frames = windows.frames_of(row)
        xy = np.stack([track.xy_frame[frames] for track in tracks], 1)
        known = np.stack([track.visibility[frames] > 0 for track in tracks], 1)
        xy = geometry.apply(windows.affines()[row], xy)
        found.append(np.where(known[..., None], xy, np.nan).astype(np.float32))
    return found


# what the single-frame estimator sees in n windows, and the key frame's labels: files of the cache,
# mapped; heatmaps [n 5 k h w], xy_crop [n k 2] px, weights [n k]
HEATMAP_FILES = {"heatmaps": np.float16, "xy_crop": np.float32, "weights": np.float32}


def rough_heatmaps(
    maps: KeypointMaps,
    windows: Windows,
    folder: Path,
    *,
    passes: int = 0,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Heatmaps of all frames of all windows by a single-frame estimator, as it stands, made once
    and kept in `folder`.

    passes: so many times over all windows, augmented anew; 0: once, as they are.
    """
    with alone(folder, "heatmaps"):
        if not folder.is_dir():
            with folder_beside(folder) as beside:
                whole = beside / "whole"
                whole.mkdir()
                _write_heatmaps(maps, windows, whole, passes, progress)
                seal(whole)
                put(whole, folder)
    check_seal(folder)
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in HEATMAP_FILES}


def _write_heatmaps(
    maps: KeypointMaps, windows: Windows, folder: Path, passes: int, progress: bool
) -> None:
    n, k, (w, h) = len(windows) * max(passes, 1), len(windows.skeleton), maps.grid
    shapes = {"heatmaps": (n, 5, k, h, w), "xy_crop": (n, k, 2), "weights": (n, k)}
    bytes_of = [np.dtype(HEATMAP_FILES[name]).itemsize * math.prod(shapes[name]) for name in shapes]
    check_room(folder, sum(bytes_of))  # a mapped file that finds none ends the process
    files = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shapes[name])
        for name, dtype in HEATMAP_FILES.items()
    }
    key, at, device = windows.config.key, 0, next(maps.parameters()).device
    with tqdm(total=n, desc="heatmaps", unit="person", disable=not progress, leave=False) as bar:
        for seed in range(max(passes, 1)):
            options = {"augment": passes > 0, "seed": seed, "workers": 1}
            for batch in loader(windows, 32, shuffle=False, **options):
                images = batch["images"].to(device)
                with torch.inference_mode():
                    crops = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
                    heatmaps = maps(crops).unflatten(0, images.shape[:2])
                rows = slice(at, at + len(images))
                files["heatmaps"][rows] = heatmaps.cpu().numpy()
                for name in ("xy_crop", "weights"):
                    files[name][rows] = batch[name][:, key].cpu().numpy()
                at = rows.stop
                bar.update(len(images))
    for file in files.values():
        file.flush()


def heatmap_batches(
    rough: Mapping[str, np.ndarray], size: int, config: OTPoseConfig
) -> BatchSource:
    """Heatmaps of five frames and the key frame's labels, half of them mirrored."""
    flip = skeleton(config.skeleton).flip_index.tolist()
    sign, width = torch.tensor([-1.0, 1.0]), torch.tensor([config.size[0] - 1.0, 0.0])

    def source(_step: int, rng: np.random.Generator) -> Batch:
        rows = np.sort(rng.integers(len(rough["heatmaps"]), size=size))
        maps, xy, weights = (torch.tensor(rough[name][rows]).float() for name in HEATMAP_FILES)
        mirrored = torch.from_numpy(rng.random(size) < 0.5)
        turned = codecs.mirror_heatmaps(maps.flatten(0, 1), flip, config.alignment)
        turned = turned.unflatten(0, maps.shape[:2])
        return {
            "heatmaps": torch.where(mirrored[:, None, None, None, None], turned, maps),
            "xy_crop": torch.where(mirrored[:, None, None], xy[:, flip] * sign + width, xy),
            "weights": torch.where(mirrored[:, None], weights[:, flip], weights),
        }

    return source


# --- training -------------------------------------------------------------------------------------


def _frame_training(recipe: Recipe, options: Options) -> Training:
    """The single-frame estimator: seed 0, the same for all variants."""
    variant, data = recipe.variants["frame"], recipe.own
    start = recipe.weights(variant.start)
    model = fresh("vissimcc", variant.config, 0, start, part="maps.backbone.")
    words = {
        **data.words,
        "clips": data.clips["train"],
        "start": variant.start,
        "start_fingerprint": checkpoint.read_card(start).get("fingerprint"),
    }
    settings = replace(options, seed=0).settings(variant.train)
    windows = partial(people, "train", variant.config, offsets=(0,), data=data)
    return joint_training(model, windows, settings, words, "frame")


def losses_of(config: OTPoseConfig) -> dict[str, float]:
    """The terms of Eq. 9 that a network has."""
    return {"prediction": 1.0} | ({"occlusion": 1.0} if config.occlusion_encoder else {})


def _frame(recipe: Recipe, options: Options) -> tuple[Path, str]:
    """A file with the single-frame estimator that all go on from, and what it is known by: the
    shipped one's, which stays when the rest is shipped anew, so that rows and STDPose still
    compare; its own where there is none.
    """
    shipped = recipe.weights("otpose")
    if shipped.exists():
        return shipped, checkpoint.read_card(shipped)["frame"]
    learned = recipe.train("frame", options)
    return learned.weights, checkpoint.read_card(learned.weights)["fingerprint"]


def _training(recipe: Recipe, name: str, options: Options) -> Training:
    if name == "frame":
        return _frame_training(recipe, options)
    variant, data = recipe.variants[name], recipe.own
    settings, (frame, key) = options.settings(variant.train), _frame(recipe, options)
    model = fresh("otpose", variant.config, settings.seed, frame, part="maps.")
    model.maps.requires_grad_(False)  # and never called: heatmaps are given
    words = {**data.mix, "variant": name, "frame": key}
    text = "people of both worlds on heatmaps of one single-frame estimator"

    def batches(size: int) -> BatchSource:
        windows = mixed_people(recipe.variants["otpose"].config, data=data)
        root = recipe.folder or trained_folder(recipe.name)
        folder = root / f"heatmaps-train-{fingerprint(data.mix, key, asdict(windows.config))}"
        # in use, and apart from the model that learns
        maps = deepcopy(model.maps).eval().to(memory_format=torch.channels_last)
        how = {"passes": data.passes, "progress": options.progress}
        rough = rough_heatmaps(maps, windows, folder, **how)
        return heatmap_batches(rough, size, variant.config)

    return Training(
        "otpose", model, batches, settings, losses_of(variant.config), words, name, text
    )


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
            maps = {RIVAL: rough[:, 2], MEAN: rough.mean(1)}
            distance = frame_distance(batch, windows.config.key).to(rough.device)
            for name, model in models.items():
                maps[name] = model.eval()(heatmaps=rough, distance=distance)["heatmaps"]
            for name, part in maps.items():  # heatmaps of a whole split would not fit memory
                decoded = [v.float().cpu() for v in codecs.decode_heatmaps(part)]
                parts.setdefault(name, []).append(decoded)
            bar.update(len(rough))
    whole = {name: tuple(torch.cat(v) for v in zip(*each)) for name, each in parts.items()}
    return {name: detections(each, first.config, windows) for name, each in whole.items()}


class SingleFrame(ClipEstimator):
    """The estimator inside an OTPose, by itself: what it sees in the middle frame."""

    def __init__(self, whole: ClipEstimator):
        super().__init__(whole.model, RIVAL, whole.padding)
        self.precision = whole.precision

    def forward(self, crops: Float[Tensor, "b 5 3 y x"], rows: slice, **_) -> dict[str, Tensor]:
        return {"heatmaps": self.rough(crops)[:, self.reach]}


# occluded joints by how many of the other frames show them, from and up to
SHOWN = {
    "occluded joints seen in no other frame": (0, 0),
    "occluded joints seen in 1 or 2": (1, 2),
    "occluded joints seen in 3 or 4": (3, 4),
}


def shown_scores(
    words: Mapping[str, object], poses: Detections, truth: Pose, shown: Int[np.ndarray, "n k"]
) -> list[Scores]:
    """Rows of `SHOWN`, as far as there are such joints; shown: as `frames_that_show` counts."""
    found = []
    for subset, (low, high) in SHOWN.items():
        chosen = (truth.visibility == 1) & (low <= shown) & (shown <= high)
        if chosen.any():
            others = truth.labelled & ~chosen
            first = posetrack_scores(words, poses, blurred(truth, chosen), left_out=others)[0]
            found.append(replace(first, words={**words, "subset": subset}))
    return found


def _task(
    options: Options,
    windows_of: Callable[[OTPoseConfig], Windows],
    boxes: Boxes,
    *tables: str,
    apart: bool = False,
    shown: Callable[[Windows], Int[np.ndarray, "n k"]] | None = None,
    **fields,
) -> Task:
    """What all sets measure; apart: each model has a single-frame estimator of its own. shown: in
    how many other frames joints are seen, where that is known. fields: of the task.
    """
    how = {"precision": options.precision, "progress": options.progress}

    def scores(_case, predictors: Mapping[str, ClipEstimator]) -> dict:
        out = {}
        models = {name: estimator.model for name, estimator in predictors.items()}
        for group in [{name: m} for name, m in models.items()] if apart else [models]:
            windows = windows_of(next(iter(group.values())).config)
            seen, box_scores = boxes.windows(windows)
            counts = shown(windows) if shown is not None else None
            marks = {"pictures": pictures_of(windows.pairs), "box_scores": box_scores}
            for name, poses in estimate(seen, group, **how).items():
                key = name if name in group or group.keys() == models.keys() else (name, *group)
                words = {"method": "otpose", "variant": name}
                out[key] = posetrack_scores(words, poses, windows.poses(), **marks)
                if shown is not None:
                    out[key] += shown_scores(words, poses, windows.poses(), counts)
        return out

    return Task(
        scores=scores,
        paper=paper_rows("otpose", *tables, prefix="AP-"),
        boxes=boxes.kind,
        **fields,
    )


def _rendered(recipe: Recipe, options: Options) -> Task:
    """In the world of people who cross, or where "passing" is asked for, who pass."""
    data = recipe.own.passing if options.name == "passing" else recipe.own
    names = recipe.chosen(options, "otpose", without=("frame",))
    shipped = {} if options.variants else trained_as(recipe.weights("otpose"))

    def learn(name: str, _case) -> Learned:
        if options.variants is None:
            return replace(loaded(recipe, "otpose", options), steps=shipped["steps"])
        return recipe.train(name, options)

    return _task(
        options,
        lambda config: people("test", config, data=data),
        read_boxes(None),
        "Table V",
        shown=partial(frames_that_show, split="test", data=data),
        variants=names,
        learn=learn,
        rival=RIVAL,
        rivals=dict.fromkeys(names[1:], names[0]),  # all beside the first variant
        protocol=f"{data.clips['test']} rendered test clips (world {data.name}), the middle one of "
        f"five frames; boxes: ground truth; {PERCENT}; PCKh: joints within half a head size, mean "
        "over people; occluded joints also by how many of the other frames show them; intervals: "
        f"95 % by clip; answers in {options.precision}",
        seed=shipped.get("seed", options.seed),
        steps=True,
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


def _published_frame(
    recipe: Recipe, pairs: Sequence[tuple[Clip, Path]], config: OTPoseConfig, options: Options
) -> tuple[Path, str]:
    """The single-frame estimator on the labelled frames alone, before anything looks at its maps;
    what it began with.

    20 epochs at 1e-4, a tenth after 10 and 15: HRNet's on PoseTrack; OTPose names the network
    alone.
    """
    alike = ("skeleton", "size", "backbone", "widths", "depths", "deconv", "alignment")
    frame = replace(
        config_of("vissimcc", "paper"),
        heatmap_sigma=config.sigma,
        reasoning=False,
        output="heatmap",
        **{name: getattr(config, name) for name in alike},
    )
    windows = Windows(pairs, window_config(frame, augment=Augment()))
    train = settings(options, FRAME_EPOCHS, len(windows), PEOPLE, lr=1e-4, drops=(0.5, 0.75))
    model, start = begun("vissimcc", frame, options, start_weights)
    words = {"padding": PADDING, "data": options.data, "start": start}
    training = joint_training(model, lambda: windows, train, words, "single frame")
    return recipe.learn(training, options).weights, start


def _learn_published(recipe: Recipe, options: Options, name: str) -> Learned:
    """The paper's settings: HRNet-W48, 384 x 288, AdamW at 1e-5."""
    config = replace(recipe.paper, **CHANGES[name])
    pairs = read_posetrack_half(options.data, "train")
    frame, start = _published_frame(recipe, pairs, config, options)
    windows = Windows(pairs, published_config(config))
    warmup = 0 if options.steps else WARMUP * max(len(windows) // PEOPLE, 1)
    rates = {"lr": 1e-5, "weight_decay": 0.01, "warmup_steps": warmup}
    train = settings(options, EPOCHS, len(windows), PEOPLE, **rates)
    model = fresh("otpose", config, options.seed, frame, part="maps.")
    words = {
        "variant": name,
        "padding": PADDING,
        "data": options.data,
        "frame": checkpoint.read_card(frame)["fingerprint"],
    }
    text = (
        f"people behind a single-frame estimator that went on from {start} weights, {len(windows)} "
        "people to learn from"
    )
    batches = partial(key_batches, windows)
    training = Training("otpose", model, batches, train, losses_of(config), words, name, text)
    return recipe.learn(training, options)


def _published(recipe: Recipe, options: Options) -> Task:
    pairs, boxes = read_posetrack_half(options.data, "val"), read_boxes(options.boxes)
    windows_of = lambda config: Windows(pairs, published_config(config))  # noqa: E731

    def learn(name: str, _case) -> Learned:
        if name in CHANGES:
            return _learn_published(recipe, options, name)
        return named(name, options)

    return _task(
        options,
        windows_of,
        boxes,
        *TABLES[options.name],
        apart=True,
        variants=options.variants or ("otpose",),
        learn=learn,
        rival=RIVAL,
        protocol=f"{options.name}: {len(pairs)} validation clips, {len(windows_of(recipe.paper))} "
        f"people in labelled frames; boxes: {boxes.text}; {PERCENT}, ignored regions left out; "
        f"answers in {options.precision}",
        seed=options.seed,
    )


# --- the recipe -----------------------------------------------------------------------------------


RECIPE = Recipe(
    name="otpose",
    title="OTPose",
    variants=VARIANTS,
    training=_training,
    predictor=_predictor,
    tasks=dict.fromkeys(("synthetic", "passing"), _rendered)
    | dict.fromkeys(TABLES, _published)
    | {
        "real_detections": partial(real.stills, alone=SingleFrame),
        "real_clips": partial(real.clips, alone=SingleFrame),
    },
    shipped={"otpose": "otpose"},
    card=partial(shipped_card, title="{variant}, {subset}", of="clips, boxes: ground truth"),
    skeletons=(SMALL.skeleton,),
    steps=TRAIN.steps,
    own=DATA,
    paper=config_of("otpose", "paper"),
    compared=("AP-Mean", "PCKh", *real.COMPARED),
    options=frozenset({"boxes", "precision"}),
)
