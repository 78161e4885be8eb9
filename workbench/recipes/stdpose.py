"""STDPose trained and measured: labels carried between labelled frames of rendered clips, and poses
without any labels.

The world "fast_people" (`made.worlds`) is frozen: clips of sixteen frames of people who kick, turn,
punch and dance. A single-frame estimator learns first, from where OTPose's stands; everything
behind it learns with it frozen, one network for all intervals and for both tasks. Every variant has
the same windows and budget.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from timm.layers import resample_abs_pos_embed
from torch.nn.attention import SDPBackend, sdpa_kernel

from .. import checkpoint, metrics, propagate
from ..data.windows import Augment, Windows
from ..errors import BadParameter, MissingData, unknown
from ..made.worlds import WORLDS
from ..models import build, config_of
from ..models.stdpose import TABLE_4, STDPose, STDPoseConfig
from ..predict import Propagator, between_inputs, load
from ..records import Clip, Detections, Picture, Pose, Track
from ..train import Batch, BatchSource, TrainConfig, choose_device, share
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
from .base import rows as base_rows
from .crops import AUGMENT, PADDING, Rendered, window_config
from .measures import blurred, posetrack_scores
from .published import (
    POSETRACK,
    Clips,
    read_boxes,
    read_posetrack_half,
    read_public_weights,
    settings,
    weighted,
)

INTERVALS = (2, 3, 5, 7, 9, 15)  # T
RATIOS = (7, 4, 2)  # T of Table 3
TASKS = ("propagation", "estimation", "pseudo")
GIVEN = 0.7  # share of training windows whose neighbours' labels are told  # unstated; ours
# head sizes from one frame to the next: a joint so fast is blurred, the shutter being open half the
# time or so
FAST = 0.3
RIVAL = "single frame"
SMALL = config_of("stdpose", "small")
# Table 6, height x width; small networks read half of it
SIZES = {"224x168": (168, 224), "384x288": (288, 384)}
TABLE_5 = {
    f"k{k:g}_theta{theta:g}": {"k": k, "theta": theta}
    for theta in (0.0, 0.2, 0.5, 0.7)
    for k in (0.5, 1.0, 1.5, 2.0, 5.0)
    if (k, theta) != (SMALL.k, SMALL.theta)  # which is "stdpose"
}
# what differs from the whole; (a) is the frozen estimator
CHANGES = {"stdpose": {}} | {row: TABLE_4[row] for row in "bcde"} | TABLE_5
FRAME_TRAIN = TrainConfig(
    steps=1_500,
    batch_size=64,
    lr=1e-3,
    warmup_steps=100,
    ema=0.995,
    precision="bf16",
    workers=1,
)
# unstated; ours
TRAIN = TrainConfig(
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
FRAME = replace(SMALL, **TABLE_4["a"], frozen=False)
# "frame" is the estimator that all go on from, "pseudo" one of Table 3
VARIANTS = (
    {
        "frame": Variant(FRAME, FRAME_TRAIN, "otpose"),
        "pseudo": Variant(FRAME, replace(FRAME_TRAIN, steps=500), "otpose"),
    }
    | {name: Variant(replace(SMALL, **change), TRAIN) for name, change in CHANGES.items()}
    | {
        name: Variant(replace(SMALL, size=(w // 2, h // 2)), TRAIN)
        for name, (w, h) in SIZES.items()
    }
)


@dataclass(frozen=True)
class Fast:
    """What STDPose learns from.

    new_clips: of the training split, after those that the propagator has learned from: Table 3's.
    """

    rendered: Rendered
    new_clips: int = 150


DATA = Fast(Rendered(WORLDS["fast_people"], {"train": 600, "val": 40, "test": 120}))


# --- data -----------------------------------------------------------------------------------------


def people(
    split: str,
    interval: int,
    config: STDPoseConfig = SMALL,
    *,
    n: int | None = None,
    data: Rendered = DATA.rendered,
) -> Windows:
    """Everybody in all frames between labelled ones of the first n clips of a split, every
    `interval`-th frame's labels and boxes being known; a window each.

    Beyond training, frames between labels of which one says that the person is out of sight are
    left out: nothing is carried there, and a line would be judged by joints that nobody labelled.
    """
    windows = propagate.windows_between(
        data.pairs(split, n),
        config.size,
        interval=interval,
        padding=PADDING,
        alignment=config.alignment,
        augment=AUGMENT,
    )
    if split == "train":
        return windows

    def in_sight(i: int) -> bool:
        pair, n, _ = windows.items[i]
        flags = windows.pairs[pair][0].tracks[n].visibility[windows.frames_of(i)[::2]]
        return bool((flags > 0).any(1).all())

    return windows.select(np.array([in_sight(i) for i in range(len(windows))], bool))


def single_batches(windows: Windows, size: int) -> BatchSource:
    """For the single-frame estimator: crops by the boxes that a propagator knows."""

    def source(_step: int, rng: np.random.Generator) -> Batch:
        batch = windows.batch(rng.integers(len(windows), size=size), rng)
        key = {name: batch[name][:, 1] for name in ("xy_crop", "weights")}
        return {"images": batch["images"], **key}

    return source


def gap_batches(sets: Sequence[Windows], size: int, given: float = GIVEN) -> BatchSource:
    """For what lies behind: an interval a batch, the neighbours' labels told to this share of its
    people.
    """

    def source(_step: int, rng: np.random.Generator) -> Batch:
        windows = sets[int(rng.integers(len(sets)))]
        batch = windows.batch(rng.integers(len(windows), size=size), rng)
        inputs = between_inputs(batch)
        told = torch.from_numpy(rng.random((size, 1, 1)) < given).float()
        inputs["auxiliary_weights"] *= told
        return inputs | {"xy_crop": batch["xy_crop"][:, 1], "weights": batch["weights"][:, 1]}

    return source


# --- training -------------------------------------------------------------------------------------


def losses_of(config: STDPoseConfig) -> dict[str, float]:
    """The terms of Eq. 5 that a network has."""
    terms = {
        "frame": config.frame_weight,
        "mutual_feature": config.mi and config.tff,
        "mutual_heatmap": config.mi and config.tks,
    }
    return dict.fromkeys(["heatmap", *(name for name, there in terms.items() if there)], 1.0)


def training_kernel(device: str, precision: str) -> AbstractContextManager:
    """Attention by the open softmax where a CPU learns in bf16: the fused kernel's backward takes
    five times as long there, at 144 tokens; else as torch chooses.
    """
    return sdpa_kernel(SDPBackend.MATH) if (device, precision) == ("cpu", "bf16") else nullcontext()


def _parts(weights: Path, cut: str = "") -> dict[str, torch.Tensor]:
    """The single-frame estimator's tensors in a file."""
    tensors = checkpoint.read_tensors(weights)
    named = {key.removeprefix(cut): v for key, v in tensors.items()}
    return {key: v for key, v in named.items() if key.startswith(("backbone.", "head."))}


def _card_of(config: STDPoseConfig, data: Rendered, **more) -> dict:
    return {
        "model": "stdpose",
        "config": asdict(config),
        "padding": PADDING,
        "world": data.world.digest(),
        "data": data.world.name,
        "clips": data.clips["train"],
        **more,
    }


def _learns(
    model: STDPose, batches: Callable[[], BatchSource], config: TrainConfig, card: dict, label: str
) -> Training:
    losses = losses_of(model.config)
    return Training(model, batches, config, losses, card, label, kernel=training_kernel)


def _started(recipe: Recipe, variant: str, size: tuple[int, int] | None, seed: int) -> STDPose:
    """A single-frame estimator that begins where OTPose's stands."""
    chosen = recipe.variants[variant]
    start = recipe.weights(chosen.start)
    torch.manual_seed(seed)
    model = build("stdpose", replace(chosen.config, size=size or chosen.config.size))
    checkpoint.load_into(model, _parts(start, cut="maps."), partial=True)
    return model


def frame_training(
    recipe: Recipe, options: Options, size: tuple[int, int] | None = None
) -> Training:
    """The single-frame estimator of crops of this size: seed 0, the same for all variants."""
    chosen, data = recipe.variants["frame"], recipe.own.rendered
    start = recipe.weights(chosen.start)
    model = _started(recipe, "frame", size, 0).to(memory_format=torch.channels_last)
    frame = checkpoint.read_card(start).get("frame")
    card = _card_of(model.config, data, start=chosen.start, frame=frame)
    config = replace(options, seed=0).settings(chosen.train)

    def batches() -> BatchSource:
        windows = people("train", 2, model.config, data=data)
        return single_batches(windows, share(config.batch_size))

    return _learns(model, batches, config, card, "single frame")


def _shipped_frame(recipe: Recipe, key: str) -> Path | None:
    """The shipped file, if its card says that its estimator is of this training."""
    path = recipe.weights("stdpose")
    return path if path.exists() and checkpoint.read_card(path).get("frame") == key else None


def _training(recipe: Recipe, name: str, options: Options) -> Training:
    if name == "frame":
        return frame_training(recipe, options)
    chosen, data = recipe.variants[name], recipe.own.rendered
    config = chosen.config
    first = frame_training(recipe, options, config.size)
    weights = None if options.anew else _shipped_frame(recipe, first.key)
    if weights is None:
        weights = recipe.learn(first, options).weights
    torch.manual_seed(options.seed)
    model = build("stdpose", config)
    checkpoint.load_into(model, _parts(weights), partial=True)
    given = GIVEN if options.given is None else options.given
    card = _card_of(config, data, variant=name, frame=first.key, given=given)
    train = options.settings(chosen.train)

    def batches() -> BatchSource:
        sets = [people("train", interval, config, data=data) for interval in INTERVALS]
        return gap_batches(sets, share(train.batch_size), given)

    return _learns(model, batches, train, card, name)


def _predictor(model: STDPose, name: str, card: Mapping) -> Propagator:
    return Propagator(model, name, card["padding"])


def single_frame(propagator: Propagator) -> Propagator:
    """The estimator inside, by itself: Table 4 (a)."""
    model = build("stdpose", replace(propagator.model.config, **TABLE_4["a"]))
    weights = propagator.model.state_dict()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    alone = Propagator(model, RIVAL, propagator.padding).to(propagator.device)
    alone.precision = propagator.precision
    return alone


# --- answers --------------------------------------------------------------------------------------


def fast_joints(windows: Windows, truth: Pose) -> Bool[np.ndarray, "n k"]:
    """Labelled joints of the key frames that move by `FAST` head sizes or more a frame: the mean of
    the step before and the step after, as far as these frames label the joint; who has no head is
    not judged.
    """
    steps = np.zeros((2, *truth.visibility.shape))
    known = np.zeros((2, *truth.visibility.shape), bool)
    for row, (pair, n, t) in enumerate(windows.items.tolist()):
        track = windows.pairs[pair][0].tracks[n]
        for side, other in enumerate((t - 1, t + 1)):
            if 0 <= other < len(track.labelled):
                away = track.xy_frame[other] - track.xy_frame[t]
                steps[side, row] = np.linalg.norm(away, axis=-1)
                known[side, row] = track.visibility[other] > 0
    step = (steps * known).sum(0) / np.maximum(known.sum(0), 1)
    heads = metrics.head_sizes(truth.head_boxes_xyxy)[:, None]
    return truth.labelled & known.any(0) & (heads > 0) & (step >= FAST * heads)


@dataclass(frozen=True, eq=False)
class Answer:
    """Poses of one way, and the truth that they are judged by."""

    words: Mapping[str, object]
    poses: Detections
    truth: Pose
    fast: Bool[np.ndarray, "n k"] | None
    left_out: Bool[np.ndarray, "n k"]
    aligned: bool = True


def answers_at(
    windows: Windows,
    models: Mapping[str, Propagator],
    *,
    task: str,
    interval: int,
    pictures: Sequence[Picture] = (),
    detected: tuple[Windows, np.ndarray] | None = None,
    progress: bool = True,
) -> dict[str, Answer]:
    """Answers for windows at an interval: the straight line and optical flow (propagation alone),
    the single frame, which is the first model's, each model.

    pictures: whose ignored regions count for nobody. detected: windows in a detector's boxes and
    their scores, to estimate in instead.
    """
    told, truth = task == "propagation", windows.poses()
    fast = fast_joints(windows, truth) if truth.occlusion_known else None
    seen, scores = (windows, None) if detected is None else detected
    ways = {"linear": propagate.linear, "farneback": propagate.farneback} if told else {}
    poses = {name: way(seen, progress=progress) for name, way in ways.items()}
    networks = {RIVAL: single_frame(next(iter(models.values())))}
    for name, network in (networks | dict(models)).items():
        given = told and name in models
        poses[name] = network.carry(seen, given=given, progress=progress)
    judged = replace(truth, visibility=truth.visibility * ~metrics.in_ignored(truth, pictures))
    out = {}
    for name, each in poses.items():
        each = weighted(each, scores)
        method = "stdpose" if name in models else name
        words = {"method": method, "variant": name, "T": interval, "task": task}
        left_out = metrics.in_ignored(each, pictures)
        out[name] = Answer(words, each, judged, fast, left_out, scores is None)
    return out


def scores_of(answer: Answer) -> list[Scores]:
    """Rows of all joints; where the truth tells occlusion, of visible, occluded and blurred
    (`fast_joints`) ones.
    """
    options = {"left_out": answer.left_out, "aligned": answer.aligned}
    found = posetrack_scores(answer.words, answer.poses, answer.truth, **options)
    if answer.fast is None:
        return found
    slow = answer.truth.labelled & ~answer.fast
    moving = blurred(answer.truth, answer.fast)
    first = posetrack_scores(answer.words, answer.poses, moving, left_out=slow)[0]
    return [*found, replace(first, words={**first.words, "subset": "blurred joints"})]


def answers_by_size(
    models: Mapping[str, Propagator],
    answers_of: Callable[[Mapping[str, Propagator]], dict[str, Answer]],
) -> dict[str, Answer]:
    """Answers of models of one size of crops after the other; line and flow, which read no crops,
    stand there once.
    """
    out: dict[str, Answer] = {}
    for size in dict.fromkeys(m.model.config.size for m in models.values()):
        group = {name: m for name, m in models.items() if m.model.config.size == size}
        answers = answers_of(group)
        if out:
            answers = {k: v for k, v in answers.items() if k not in propagate.WAYS}
            other = answers.pop(RIVAL)
            title = "single frame, {1} x {0}".format(*size)
            out[title] = replace(other, words={**other.words, "variant": title})
        out |= answers
    return out


# --- labels of every T-th frame, Table 3 ----------------------------------------------------------


def sparse_pairs(pairs: Sequence[tuple], interval: int) -> list[tuple]:
    """The same clips with the labels of every `interval`-th frame alone, counted from the first
    labelled one.
    """

    def every(track: Track, start: int) -> Track:
        at = (np.arange(len(track.labelled)) - start) % interval == 0
        labelled = track.labelled & at
        return replace(
            track,
            labelled=labelled,
            xy_frame=track.xy_frame * labelled[:, None, None],
            visibility=track.visibility * labelled[:, None],
            boxes_xyxy=track.boxes_xyxy * labelled[:, None],
        )

    def sparse(clip: Clip) -> Clip:
        firsts = [int(t.labelled.argmax()) for t in clip.tracks if t.labelled.any()]
        tracks = [every(track, min(firsts, default=0)) for track in clip.tracks]
        return replace(clip, tracks=tracks)

    return [(sparse(clip), frames) for clip, frames in pairs]


CARRIED = ("xy_frame", "visibility", "labelled", "boxes_xyxy")


def carried_pairs(
    propagator: Propagator, pairs: Sequence[tuple], interval: int, *, progress: bool = True
) -> list[tuple]:
    """Clips of `sparse_pairs` with the frames between labels labelled by the propagator: Table 3's
    pseudo-labels. Nothing is carried over a labelled frame in which a person is missing.
    """
    windows = propagator.windows(pairs)
    near = [int(np.ptp(windows.frames_of(i))) <= interval for i in range(len(windows))]
    windows = windows.select(np.array(near, bool))
    poses = propagator.carry(windows, progress=progress)
    copies = [
        [{name: getattr(track, name).copy() for name in CARRIED} for track in clip.tracks]
        for clip, _ in windows.pairs
    ]
    for row, (pair, n, t) in enumerate(windows.items.tolist()):
        left, _, right = windows.frames_of(row).tolist()
        flags = windows.pairs[pair][0].tracks[n].visibility
        known = (flags[[left, right]] > 0).all(0)
        arrays = copies[pair][n]
        arrays["xy_frame"][t] = poses.xy_frame[row] * known[:, None]
        arrays["visibility"][t] = 2 * known
        arrays["labelled"][t] = True
        arrays["boxes_xyxy"][t] = poses.boxes_xyxy[row]
    out = []
    for (clip, frames), made in zip(windows.pairs, copies):
        tracks = [replace(track, **arrays) for track, arrays in zip(clip.tracks, made)]
        out.append((replace(clip, tracks=tracks), frames))
    return out


def share_labelled(pairs: Sequence[tuple]) -> float:
    """Share of people's frames with labels, percent."""
    tracks = [track for clip, _ in pairs for track in clip.tracks]
    return 100 * float(np.mean([track.labelled.mean() for track in tracks]))


def places_digest(pairs: Sequence[tuple]) -> str:
    """A fingerprint of all labels' places."""
    tracks = [track for clip, _ in pairs for track in clip.tracks]
    places = np.concatenate([track.xy_frame.ravel() for track in tracks])
    return hashlib.sha256(places.tobytes()).hexdigest()[:16]


def label_cases(intervals: Sequence[int]) -> list[tuple[str, int]]:
    """What Table 3's estimators learn from, and every which frame has labels."""
    kinds = ("labels alone", "with pseudo-labels")
    return [(kind, interval) for interval in intervals for kind in kinds] + [("all labels", 1)]


def learn_pseudo(
    recipe: Recipe, carrier: Propagator, case: tuple[str, int], options: Options
) -> tuple[Learned, float]:
    """A single-frame estimator from OTPose's, trained on clips that the propagator never saw, and
    the share of labelled frames, percent.
    """
    kind, interval = case
    data = recipe.own
    first = data.rendered.clips["train"]
    pairs = data.rendered.pairs("train", first + data.new_clips)[first:]
    labels = sparse_pairs(pairs, interval)
    learn = labels
    if kind == "with pseudo-labels":
        learn = carried_pairs(carrier, labels, interval, progress=options.progress)
    chosen = recipe.variants["pseudo"]
    model = _started(recipe, "pseudo", None, options.seed)
    start = recipe.weights(chosen.start)
    card = _card_of(
        chosen.config,
        data.rendered,
        labels=kind,
        interval=interval,
        frame=checkpoint.read_card(start).get("frame"),
    )
    card |= {"clips": data.new_clips, "places": places_digest(learn)}
    train = options.settings(chosen.train)
    cut = window_config(chosen.config, (0, 0, 0))
    batches = lambda: single_batches(Windows(learn, cut), share(train.batch_size))  # noqa: E731
    training = _learns(model, batches, train, card, f"{kind}, T = {interval}")
    return recipe.learn(training, options), share_labelled(labels)


# --- rendered clips -------------------------------------------------------------------------------


def _check(options: Options) -> None:
    task, made = options.task or "propagation", options.name == "synthetic"
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    if options.boxes is not None and (made or task != "estimation"):
        raise BadParameter(
            "only estimation on PoseTrack looks into a detector's boxes", remedy="leave boxes out"
        )
    if task == "pseudo" and len(options.variants or ()) > made:
        raise BadParameter(
            "Table 3 asks one network, on PoseTrack the whole", remedy="leave variants out"
        )
    if options.given is not None and not 0 <= options.given <= 1:
        raise BadParameter(
            f"labels are given to {options.given:g} of the training windows",
            remedy="a share from 0 to 1",
        )


def _learn(recipe: Recipe, options: Options, name: str) -> Learned:
    """A variant, or the shipped weights where none is asked for."""
    if options.variants is None:
        learned = loaded(recipe, "stdpose", options)
    else:
        learned = replace(recipe.train(name, options), steps=None)
    learned.predictor.precision = options.precision or "fp32"
    return learned


def _networks(recipe: Recipe, options: Options) -> str:
    """How the networks of an evaluation learned, in words."""
    if options.variants is None:
        return "shipped weights"
    train = options.settings(recipe.variants[options.variants[0]].train)
    given = GIVEN if options.given is None else options.given
    return (
        f"networks: {train.steps:,} steps of {train.batch_size} people behind one single-frame "
        f"estimator, labels told to {given:.0%} of them"
    )


def _synthetic(recipe: Recipe, options: Options) -> Task:
    _check(options)
    task = options.task or "propagation"
    learn = cache(partial(_learn, recipe, options))
    names = options.variants or ("stdpose",)
    for name in names:
        if name not in recipe.variants or name in ("frame", "pseudo"):
            raise unknown("variant of STDPose", name, recipe.variants)
    if task == "pseudo":
        return _pseudo(recipe, options, learn(names[0]).predictor)
    several = options.variants is None and task == "propagation"
    seed = options.seed
    if options.variants is None:
        seed = trained_as(recipe.weights("stdpose")).get("seed")
    data = recipe.own.rendered

    def answers(interval: int, models: Mapping[str, Propagator]) -> dict:
        def of(group: Mapping[str, Propagator]) -> dict[str, Answer]:
            config = next(iter(group.values())).model.config
            windows = people("test", interval, config, data=data)
            how = {"task": task, "interval": interval, "progress": options.progress}
            return answers_at(windows, group, **how)

        return answers_by_size(models, of)

    def protocol(learned: Mapping) -> str:
        told = "labels and boxes of every T-th frame given"
        if task != "propagation":
            told = "no labels given, boxes as in propagation"
        return (
            f"{data.clips['test']} rendered test clips of {data.world.n_frames} frames (world "
            f"{data.name}), all frames between labelled ones; {told}, boxes on the line between; "
            "percent; AP-*: PoseTrack's average precision within half a head size; PCKh: joints "
            f"within half a head size, mean over people; intervals: 95 % by clip; blurred: {FAST} "
            f"head sizes a frame or faster; answers in {options.precision or 'fp32'}; "
            f"{_networks(recipe, options)}"
        )

    tables = ("Table 1", "Table 4") if task == "propagation" else ("Table 2",)
    return Task(
        variants=names,
        learn=lambda name, _interval: learn(name),
        answers=answers,
        score=lambda _name, answer, _interval: scores_of(answer),
        protocol=protocol,
        rival=RIVAL,
        cases=tuple(options.intervals or (INTERVALS if several else (7,))),
        paper=paper_rows("stdpose", *tables, prefix="AP-"),
        stated={"boxes": "between labels"},
        seed=seed,
    )


def _pseudo(recipe: Recipe, options: Options, carrier: Propagator) -> Task:
    """Table 3 in small: labels of every T-th frame alone; these, and what STDPose makes of the
    frames between; and all.
    """
    data = recipe.own

    @cache
    def windows() -> Windows:
        return people("test", 2, recipe.variants["pseudo"].config, data=data.rendered)

    def answers(case: tuple[str, int], _models: Mapping) -> dict:
        learned, labelled = learn_pseudo(recipe, carrier, case, options)
        poses = learned.predictor.carry(windows(), given=False, progress=options.progress)
        return {case[0]: (poses, labelled)}

    def score(name: str, answer: tuple, case: tuple[str, int]) -> list[Scores]:
        poses, labelled = answer
        words = {"method": RIVAL, "variant": name, "T": case[1], "task": "pseudo"}
        found = posetrack_scores(words, poses, windows().poses())
        return [replace(each, whole={**each.whole, "labelled": labelled}) for each in found]

    def protocol(_learned: Mapping) -> str:
        train = options.settings(recipe.variants["pseudo"].train)
        return (
            f"single-frame estimators after {train.steps:,} steps of {train.batch_size} people of "
            f"{data.new_clips} rendered clips that the propagator ({_networks(recipe, options)}) "
            f"never saw (world {data.rendered.name}), {data.rendered.clips['test']} test clips, "
            "every second frame; labelled: share of frames with labels of their own, percent"
        )

    return Task(
        variants=(),
        learn=None,
        answers=answers,
        score=score,
        protocol=protocol,
        cases=label_cases(options.intervals or RATIOS),
        paper=paper_rows("stdpose", "Table 3", prefix="AP-"),
        stated={"boxes": "between labels"},
        seed=options.seed,
    )


# --- PoseTrack ------------------------------------------------------------------------------------

EPOCHS = 20  # App. B
DROPS = (12 / 20, 16 / 20)
PEOPLE = 32  # a step  # unstated; ours
AROUND = (-1, 0, 1)  # a labelled frame beside the frames before and after
# a ViT-B that learned poses on COCO, if the user has it; else ImageNet's
WEIGHTS = "vitpose_base_simple"


def published_windows(
    half: Clips, config: STDPoseConfig, interval: int, task: str = "propagation"
) -> Windows:
    """Everybody in every labelled frame of a video between two labelled ones that are `interval`
    apart, every T-th from the video's first, if labelled in both; for estimation everybody in every
    labelled frame, in the own box, beside the frames before and after. Augmented as App. B says.

    Who is labelled at both sides and not in between is looked for, too: what is found there is a
    mistake.
    """
    if task == "estimation":
        return Windows(half.pairs, window_config(config, AROUND, Augment()))
    options = {"padding": PADDING, "alignment": config.alignment, "common": True}
    windows = propagate.windows_between(half.pairs, config.size, interval=interval, **options)

    def judged(i: int) -> bool:
        pair, _, key = windows.items[i]
        apart = int(np.ptp(windows.frames_of(i)))
        return windows.pairs[pair][0].pictures[key].labelled and apart == interval

    windows = windows.select(np.array([judged(i) for i in range(len(windows))], bool))
    if not len(windows):
        problem = f"no labelled frame between labels {interval} frames apart"
        raise MissingData(problem, file=half.folder, remedy="name a smaller interval")
    return windows


def people_between(clips: Sequence[Clip], interval: int) -> int:
    """Labelled people in the frames whose labels are not given."""
    count = 0
    for clip in clips:
        seen = [track.labelled & (track.visibility > 0).any(1) for track in clip.tracks]
        there = np.array(seen)
        if there.any():
            first = int(there.any(0).argmax())
            count += there.sum() - there[:, first::interval].sum()
    return int(count)


def start_weights(model: STDPose) -> str | None:
    """ViTPose-B of COCO into the backbone, where the user has it, its positions fitted to the grid;
    None: no file.
    """
    public = read_public_weights(WEIGHTS, "weights")
    if public is None:
        return None
    tensors, file = public
    start = "backbone."
    backbone = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
    positions, (w, h) = backbone["net.pos_embed"], model.backbone.grid
    rows = round((positions.shape[1] * 4 / 3) ** 0.5)  # of a crop that is a third higher than wide
    backbone["net.pos_embed"] = resample_abs_pos_embed(
        positions, (h, w), (rows, positions.shape[1] // rows), num_prefix_tokens=0
    )
    checkpoint.load_into(model.backbone, backbone, file=file)
    return f"COCO ({file.name})"


def published_config(paper: STDPoseConfig, variant: str) -> STDPoseConfig:
    """The paper's network as a row has it."""
    if variant in SIZES:
        change = {"size": SIZES[variant]}
    else:
        change = TABLE_4["a"] if variant == "a" else CHANGES[variant]
    # the backbone does not know these joints, and Eq. 5 has no loss on the maps that DAM and TKS
    # read  # unstated; ours
    return replace(paper, **{"frame_weight": float(variant != "a")} | change)


def train_published(
    recipe: Recipe, variant: str, windows: Windows, task: str, card: dict, options: Options
) -> Learned:
    """The paper's settings: ViT-B, 256 x 192, AdamW at 2e-4."""
    config = published_config(recipe.paper, variant)
    train = settings(options, EPOCHS, len(windows), PEOPLE, lr=2e-4, drops=DROPS, weight_decay=0.01)
    torch.manual_seed(options.seed)
    model = STDPose(config)
    start = "random" if options.steps else start_weights(model)
    if start is None:
        model, start = STDPose(config, pretrained=True), "ImageNet"
    propagation = task == "propagation"
    given = GIVEN if options.given is None else options.given
    told = given if propagation else 0.0
    card = {
        "model": "stdpose",
        "variant": variant,
        "config": asdict(config),
        "padding": PADDING,
        "task": task,
        "start": start,
        "given": told,
        "reach": Propagator.reach if propagation else 1,
        **card,
    }
    batches = partial(gap_batches, [windows], share(train.batch_size), told)
    learned = recipe.learn(_learns(model, batches, train, card, variant), options)
    learned.predictor.precision = options.precision or "fp32"
    labels = f", labels told to {told:.0%} of them" if propagation else ""
    text = (
        f"{variant}: {train.steps:,} steps of {train.batch_size} people from {start} weights, "
        f"{len(windows)} to learn from{labels}"
    )
    return replace(learned, told=text, steps=None)


def _learn_published(
    recipe: Recipe, options: Options, task: str, variant: str, interval: int
) -> Learned:
    if variant not in (*CHANGES, *SIZES, "a"):
        propagator = load(variant, device=choose_device(options.device))
        propagator.precision = options.precision or "fp32"
        return Learned(propagator, seed=options.seed, told=f"{variant}: weights as named")
    half = read_posetrack_half(options.data, "train")
    windows = published_windows(half, published_config(recipe.paper, variant), interval, task)
    card = {"data": options.data, "interval": interval}
    return train_published(recipe, variant, windows, task, card, options)


def _published(recipe: Recipe, options: Options) -> Task:
    """Boxes on the line between the labelled ones, for estimation people's own, or a detector's as
    in the paper.
    """
    _check(options)
    task = options.task or "propagation"
    if task == "pseudo":
        return _pseudo_published(recipe, options)
    propagation = task == "propagation"
    half, boxes = read_posetrack_half(options.data, "val"), read_boxes(options.boxes)
    kind = "between labels" if propagation else boxes.kind
    intervals = tuple(options.intervals or (7,)) if propagation else (1,)
    counts: dict[str, None] = {}

    def answers(interval: int, models: Mapping[str, Propagator]) -> dict:
        def of(group: Mapping[str, Propagator]) -> dict[str, Answer]:
            first = next(iter(group.values()))
            config, detected = first.model.config, None
            windows = published_windows(half, config, interval, task)
            seen = int(windows.poses().labelled.any(1).sum())
            among = f" of {people_between(half.clips, interval)}" if propagation else ""
            counts[f"{seen}{among} people" + f" at T = {interval}" * (len(intervals) > 1)] = None
            if boxes.boxes is not None:
                cut = window_config(config, AROUND, Augment())
                detected = boxes.windows(half.pairs, first.skeleton.name, cut)
            return answers_at(
                windows,
                group,
                task=task,
                interval=interval,
                pictures=half.pictures,
                detected=detected,
                progress=options.progress,
            )

        return answers_by_size(models, of)

    def protocol(learned: Mapping) -> str:
        among = "between labelled ones T frames apart"
        if not propagation:
            among = "beside the frames before and after"
        told = {name: one.told for (name, _), one in learned.items()}
        return (
            f"{options.name}: {len(half.clips)} validation clips, {', '.join(counts)} in labelled "
            f"frames {among}; task {task}; boxes: {kind}; percent; AP-*: PoseTrack's average "
            "precision within half a head size, ignored regions left out; answers in "
            f"{options.precision or 'fp32'}; {'; '.join(told.values())}"
        )

    return Task(
        variants=options.variants or ("stdpose",),
        learn=partial(_learn_published, recipe, options, task),
        answers=answers,
        score=lambda _name, answer, _interval: scores_of(answer),
        protocol=protocol,
        rival=RIVAL,
        cases=intervals,
        paper=paper_rows("stdpose", "Table 1" if propagation else "Table 2", prefix="AP-"),
        stated={"boxes": kind},
        seed=options.seed,
    )


def _pseudo_published(recipe: Recipe, options: Options) -> Task:
    """Table 3: estimation by STDPose that learned from labels of every T-th frame, from these and
    what a propagator that learned from them made of the frames between, and from all.
    """
    config, told = published_config(recipe.paper, "stdpose"), []
    learn, val = (read_posetrack_half(options.data, split) for split in ("train", "val"))

    @cache
    def test() -> Windows:
        return published_windows(val, config, 1, "estimation")

    def pairs_of(kind: str, interval: int, labels: list[tuple]) -> list[tuple]:
        if kind != "with pseudo-labels":
            return labels
        windows = published_windows(learn, config, interval)
        card = {"data": options.data, "interval": interval}
        carrier = train_published(recipe, "stdpose", windows, "propagation", card, options)
        return carried_pairs(carrier.predictor, labels, interval, progress=options.progress)

    def answers(case: tuple[str, int], _models: Mapping) -> dict:
        kind, interval = case
        labels = sparse_pairs(learn.pairs, interval)
        pairs = pairs_of(kind, interval, labels)
        card = {
            "data": options.data,
            "interval": interval,
            "labels": kind,
            "places": places_digest(pairs),
        }
        windows = Windows(pairs, window_config(config, AROUND, Augment()))
        learned = train_published(recipe, "stdpose", windows, "estimation", card, options)
        told.append(f"{kind}, T = {interval}: {learned.told}")
        how = {"pictures": val.pictures, "progress": options.progress}
        models = {kind: learned.predictor}
        answer = answers_at(test(), models, task="pseudo", interval=interval, **how)[kind]
        return {kind: (answer, share_labelled(labels))}

    def score(_name: str, answer: tuple, _case) -> list[Scores]:
        found = scores_of(answer[0])
        return [replace(each, whole={**each.whole, "labelled": answer[1]}) for each in found]

    def protocol(_learned: Mapping) -> str:
        return (
            f"{options.name}: estimation in {len(val.clips)} validation clips, {len(test())} "
            "people in labelled frames; boxes: ground truth; percent; labelled: share of people's "
            f"frames with labels of their own; answers in {options.precision or 'fp32'}; "
            f"{'; '.join(told)}"
        )

    return Task(
        variants=(),
        learn=None,
        answers=answers,
        score=score,
        protocol=protocol,
        cases=label_cases(options.intervals or RATIOS),
        paper=paper_rows("stdpose", "Table 3", prefix="AP-"),
        stated={"boxes": "ground truth"},
        seed=options.seed,
    )


# --- the recipe -----------------------------------------------------------------------------------


def _card(recipe: Recipe, variant: str, learned: Learned, options: Options) -> dict:
    """What the shipped file says of its rows."""
    data = recipe.own.rendered
    propagator = learned.predictor
    windows = people("test", 7, propagator.model.config, data=data)
    how = {"task": "propagation", "interval": 7, "progress": options.progress}
    answers = answers_at(windows, {variant: propagator}, **how)
    lines = base_rows({name: scores_of(answer) for name, answer in answers.items()})
    return {
        "metrics": {
            f"{line['method']}, T = {line['T']}, {line['subset']}": line["metrics"]
            for line in lines
        },
        "metrics_data": f"{data.name}, {data.clips['test']} test clips, labels of every 7th frame "
        "given",
        "licence": "Apache-2.0; trained on rendered people alone",
    }


RECIPE = Recipe(
    name="stdpose",
    title="STDPose",
    variants=VARIANTS,
    training=_training,
    predictor=_predictor,
    tasks={"synthetic": _synthetic} | dict.fromkeys(POSETRACK, _published),
    shipped={"stdpose": "stdpose"},
    card=_card,
    skeletons=(SMALL.skeleton,),
    steps=TRAIN.steps,
    own=DATA,
    paper=config_of("stdpose", "paper"),
    compared=("AP-Mean", "PCKh"),
    options=frozenset({"task", "intervals", "given", "boxes", "precision"}),
)
