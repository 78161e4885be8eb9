"""STDPose trained and measured: labels carried between labelled frames of rendered clips, and poses
without any labels.

The world "fast_people" (`made.worlds`) is frozen: clips of sixteen frames of people who kick, turn,
punch and dance. A single-frame estimator learns first, from where OTPose's stands; everything
behind it learns with it frozen, one network for all intervals and for both tasks. Every variant has
the same windows and budget.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch.nn.attention import SDPBackend, sdpa_kernel

from .. import checkpoint, metrics, propagate
from ..data.windows import Augment, Windows
from ..errors import BadParameter, MissingData, unknown
from ..made.worlds import WORLDS
from ..models import build, config_of
from ..models.stdpose import TABLE_4, STDPose, STDPoseConfig
from ..predict import Condition, Propagator, between_inputs
from ..records import Clip, Detections, Pose
from ..train import Batch, BatchSource, TrainConfig
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
from .crops import AUGMENT, PADDING, Rendered, key_batches, shipped_card, window_config
from .measures import PERCENT, blurred, posetrack_scores
from .published import (
    POSETRACK,
    Boxes,
    begun,
    named,
    pictures_of,
    read_boxes,
    read_posetrack_half,
    read_public_weights,
    settings,
)

INTERVALS = (2, 3, 5, 7, 9, 15)  # T
RATIOS = (7, 4, 2)  # T of Table 3
TASKS = ("propagation", "estimation", "pseudo")
LEARNER = "estimators"  # who learns from labels and pseudo-labels, in protocols
# head sizes from one frame to the next: a joint so fast is blurred, the shutter being open half the
# time or so
FAST = 0.3
RIVAL = "single frame"
STRANGER = ", somebody else's picture"
WITHOUT = ", joints wiped"
WIPED = 0.2  # share of joints, where maps alone must fail  # ours
FAR = 15  # T from which that is measured: labels are too far apart to tell the joint
GIVEN = 0.7  # share of windows of rendered clips that are told labels in training  # unstated; ours
ESTIMATOR = ("backbone.", "head.")  # the single-frame estimator's tensors
SMALL = config_of("stdpose", "small")
# Table 6, height x width; small networks read half of it
SIZES = {"224x168": (168, 224), "384x288": (288, 384)}
TABLE_5 = {
    f"k{k:g}_theta{theta:g}": {"k": k, "theta": theta}
    for theta in (0.0, 0.2, 0.5, 0.7)
    for k in (0.5, 1.0, 1.5, 2.0, 5.0)
    if (k, theta) != (SMALL.k, SMALL.theta)  # which is "stdpose"
}
# what all rows learn, beside what was shipped: each term of information pulls with a tenth of the
# heatmap loss's gradient, the mask compares like with like, the fused feature is asked for joints
WHOLE = replace(SMALL, mi_estimator="gaussian", mi_share=0.1, dam_reads="own", fused_weight=1.0)
# rows beside the paper's: the heatmaps' way with STDA and without TFF, whose tokens are the key
# frame's own then; a mask that reads labels; the other estimator of information
OURS = {
    "tks_stda": {"tff": False, "dam": False, "mi": False},
    "e_labels": {**TABLE_4["e"], "dam_reads": "used"},
    "variational": {"mi_estimator": "variational"},
}
# what differs from the whole; (a) is the frozen estimator
CHANGES = {"stdpose": {}} | {row: TABLE_4[row] for row in "bcde"} | OURS | TABLE_5
# rows of Table 4 and the row that each is compared with, where that is measured beside it
BEFORE = {"tks_stda": "c", "d": "tks_stda", "e": "d", "e_labels": "d", "stdpose": "e"}
BEFORE |= {"variational": "e"}
FRAME_TRAIN = replace(crops.TRAIN, steps=1_500, lr=1e-3, warmup_steps=100)
# of what is shipped  # unstated; ours
SHIP = TrainConfig(
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
# of rows: ten minutes each on a core that imitates bf16
TRAIN = replace(SHIP, steps=1_000, warmup_steps=100, ema=0.99)
FRAME = replace(SMALL, **TABLE_4["a"], frozen=False)


def learning(config: STDPoseConfig) -> Variant:
    """How a network behind the frozen estimator learns: some joints' maps are wiped, so that the
    picture has something to say.
    """
    return Variant(config, TRAIN, ship=SHIP, data={"wiped": WIPED})


# "frame" is the estimator that all go on from, "pseudo" one of Table 3
VARIANTS = (
    {
        "frame": Variant(FRAME, FRAME_TRAIN, "otpose"),
        "pseudo": Variant(FRAME, replace(FRAME_TRAIN, steps=500), "otpose"),
    }
    | {name: learning(replace(WHOLE, **change)) for name, change in CHANGES.items()}
    | {name: learning(replace(WHOLE, size=(w // 2, h // 2))) for name, (w, h) in SIZES.items()}
)


@dataclass(frozen=True)
class Fast(Rendered):
    """What STDPose learns from.

    new_clips: of the training split, after those that the propagator has learned from: Table 3's.
    """

    new_clips: int = 150


DATA = Fast(WORLDS["fast_people"], {"train": 600, "val": 40, "test": 120})


# --- data -----------------------------------------------------------------------------------------


def people(
    split: str,
    interval: int,
    config: STDPoseConfig = SMALL,
    *,
    n: int | None = None,
    data: Rendered = DATA,
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
    source = key_batches(windows, size)

    def alone(step: int, rng: np.random.Generator) -> Batch:
        return {name: v for name, v in source(step, rng).items() if name != "distance"}

    return alone


def gap_batches(
    sets: Sequence[Windows], size: int, given: float = GIVEN, wiped: float = 0.0
) -> BatchSource:
    """For what lies behind: an interval a batch, the neighbours' labels told to this share of its
    people, the network's own maps wiped of this share of their joints.
    """

    def source(_step: int, rng: np.random.Generator) -> Batch:
        windows = sets[int(rng.integers(len(sets)))]
        batch = windows.batch(rng.integers(len(windows), size=size), rng)
        inputs = between_inputs(batch)
        told = torch.from_numpy(rng.random((size, 1, 1)) < given).float()
        inputs["auxiliary_weights"] *= told
        if wiped:
            at = rng.random(inputs["auxiliary_weights"][:, 0].shape) < wiped
            inputs["wiped"] = torch.from_numpy(at).float()
        return inputs | {"xy_crop": batch["xy_crop"][:, 1], "weights": batch["weights"][:, 1]}

    return source


# --- training -------------------------------------------------------------------------------------


def _given(options: Options, usual: float) -> float:
    return usual if options.given is None else options.given


def training_kernel(device: str, precision: str) -> AbstractContextManager:
    """Attention by the open softmax where a CPU learns in bf16: the fused kernel's backward takes
    five times as long there, at 144 tokens; else as torch chooses.
    """
    return sdpa_kernel(SDPBackend.MATH) if (device, precision) == ("cpu", "bf16") else nullcontext()


def _learns(
    model: STDPose,
    batches: Callable[[int], BatchSource],
    settings: TrainConfig,
    words: Mapping,
    label: str,
    text: str = "people",
) -> Training:
    """With the terms of Eq. 5 that the network has."""
    config = model.config
    terms = {
        "heatmap": True,
        "frame": config.frame_weight,
        "fused": config.fused_weight and config.tff and config.stda,
        "mutual_feature": config.mi and config.tff,
        "mutual_heatmap": config.mi and config.tks,
    }
    losses = dict.fromkeys((name for name, there in terms.items() if there), 1.0)
    return Training(
        "stdpose", model, batches, settings, losses, words, label, text, kernel=training_kernel
    )


def _started(
    recipe: Recipe, variant: str, size: tuple[int, int] | None, seed: int
) -> tuple[STDPose, dict]:
    """A single-frame estimator that begins where OTPose's stands, and words of its card."""
    chosen = recipe.variants[variant]
    start = recipe.weights(chosen.start)
    config = replace(chosen.config, size=size or chosen.config.size)
    model = fresh("stdpose", config, seed, start, part=ESTIMATOR, cut="maps.")
    words = {"clips": recipe.own.clips["train"], "frame": checkpoint.read_card(start).get("frame")}
    return model, {**recipe.own.words, **words}


def frame_training(
    recipe: Recipe, options: Options, size: tuple[int, int] | None = None
) -> Training:
    """The single-frame estimator of crops of this size: seed 0, the same for all variants."""
    chosen, data = recipe.variants["frame"], recipe.own
    model, words = _started(recipe, "frame", size, 0)
    model = model.to(memory_format=torch.channels_last)
    settings = replace(options, seed=0).settings(chosen.train)

    def batches(size: int) -> BatchSource:
        return single_batches(people("train", 2, model.config, data=data), size)

    return _learns(model, batches, settings, words | {"start": chosen.start}, "single frame")


def _training(recipe: Recipe, name: str, options: Options) -> Training:
    if name == "frame":
        return frame_training(recipe, options)
    chosen, data = recipe.variants[name], recipe.own
    settings, config = options.settings(chosen.train), chosen.config
    first, weights = frame_training(recipe, options, config.size), recipe.weights("stdpose")
    # the shipped file holds the estimator, where its card says that it is of this training
    shipped = weights.exists() and checkpoint.read_card(weights).get("frame") == first.key
    if not shipped:
        weights = recipe.learn(first, options).weights
    model = fresh("stdpose", config, settings.seed, weights, part=ESTIMATOR)
    model.backbone.to(memory_format=torch.channels_last)  # a quarter faster on CPUs
    words = {
        **data.words,
        "clips": data.clips["train"],
        "variant": name,
        "frame": first.key,
        "given": (told := _given(options, GIVEN)),
        **chosen.data,
    }
    text = f"people behind one single-frame estimator, labels told to {told:.0%} of them"
    wiped = chosen.data.get("wiped", 0.0)

    def batches(size: int) -> BatchSource:
        sets = [people("train", interval, config, data=data) for interval in INTERVALS]
        return gap_batches(sets, size, told, wiped)

    return _learns(model, batches, settings, words, name, text)


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


def scores_of(
    words: Mapping[str, object],
    poses: Detections,
    windows: Windows,
    box_scores: np.ndarray | None = None,
) -> list[Scores]:
    """Rows of all joints; where the truth tells occlusion, of visible, occluded and blurred
    (`fast_joints`) ones. box_scores: as of `posetrack_scores`.
    """
    truth, pictures = windows.poses(), pictures_of(windows.pairs)
    found = posetrack_scores(words, poses, truth, pictures=pictures, box_scores=box_scores)
    if not truth.occlusion_known:
        return found
    fast = fast_joints(windows, truth)
    slow, moving = truth.labelled & ~fast, blurred(truth, fast)
    first = posetrack_scores(words, poses, moving, left_out=slow)[0]
    return [*found, replace(first, words={**first.words, "subset": "blurred joints"})]


def answers(
    windows: Windows,
    models: Mapping[str, Propagator],
    *,
    given: bool = True,
    ways: bool = True,
    title: str = RIVAL,
    strangers: bool = False,
    wiped: Bool[np.ndarray, "n k"] | None = None,
    progress: bool = True,
) -> dict[str, Detections]:
    """Poses by the straight line and optical flow (`ways`), the single frame, which is the first
    model's, and each model, told the labels at both sides if `given`; title: of the single frame;
    strangers: each model once more, with somebody else's picture; wiped: these once more without
    these joints' maps.
    """
    poses, how = {}, {"given": given, "progress": progress}
    for name, way in propagate.WAYS.items() if given and ways else ():
        poses[name] = way(windows, progress=progress)
    alone = single_frame(next(iter(models.values())))
    poses[title] = alone.carry(windows, given=False, progress=progress)
    for name, model in models.items():
        asked = {name: Condition()}
        if strangers:
            asked[name + STRANGER] = Condition(strangers=True)
        if wiped is not None:
            asked |= {key + WITHOUT: replace(one, wiped=wiped) for key, one in asked.items()}
        poses |= model.carry_each(windows, asked, **how)
    return poses


def wiped_score(
    words: Mapping[str, object],
    poses: Detections,
    truth: Pose,
    wiped: Bool[np.ndarray, "n k"],
) -> Scores:
    """The row of wiped joints, where maps alone must fail. Who reads no maps answers as ever, and
    so does the single frame: what it sees of these joints is in the picture.
    """
    left_out = truth.labelled & ~wiped
    first = posetrack_scores(words, poses, blurred(truth, wiped), left_out=left_out)[0]
    return replace(first, words={**first.words, "subset": "wiped joints"})


# --- labels of every T-th frame, Table 3 ----------------------------------------------------------


def sparse_pairs(pairs: Sequence[tuple], interval: int) -> list[tuple]:
    """The same clips with the labels of every `interval`-th frame alone, counted from the first
    labelled one.
    """

    out = []
    for clip, frames in pairs:
        firsts = [int(t.labelled.argmax()) for t in clip.tracks if t.labelled.any()]
        start, tracks = min(firsts, default=0), []
        for track in clip.tracks:
            labelled = track.labelled & ((np.arange(len(track.labelled)) - start) % interval == 0)
            places = {
                name: (getattr(track, name).T * labelled).T
                for name in ("xy_frame", "visibility", "boxes_xyxy")
            }
            tracks.append(replace(track, labelled=labelled, **places))
        out.append((replace(clip, tracks=tracks), frames))
    return out


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


def _label_task(
    options: Options,
    pairs: Sequence[tuple],
    test: Windows,
    carrier_of: Callable[[int], Propagator],
    learn: Callable[[Sequence[tuple], dict, str], Learned],
    protocol: str,
) -> Task:
    """Table 3: estimation by who learned from labels of every T-th frame of these clips, from these
    and what a propagator made of the frames between, and from all.

    carrier_of: (T) -> the propagator. learn: (labels, words of the card, label) -> who estimates.
    """
    method, boxes, shares = "stdpose", "ground truth", {}
    if options.name == "synthetic":
        method, boxes = RIVAL, "between labels"

    def learn_labels(_name: str, case: tuple[str, int]) -> Learned:
        kind, interval = case
        labels = sparse_pairs(pairs, interval)
        tracks = [track for clip, _ in labels for track in clip.tracks]
        shares[interval] = 100 * float(np.mean([track.labelled.mean() for track in tracks]))
        if kind == "with pseudo-labels":
            carrier = carrier_of(interval)
            labels = carried_pairs(carrier, labels, interval, progress=options.progress)
        places = hashlib.sha256()
        for clip, _ in labels:
            for track in clip.tracks:
                places.update(track.xy_frame.tobytes())
        words = {"labels": kind, "interval": interval, "places": places.hexdigest()[:16]}
        return learn(labels, words, f"{kind}, T = {interval}")

    def scores(case: tuple[str, int], estimators: Mapping[str, Propagator]) -> dict:
        kind, interval = case
        poses = estimators[LEARNER].carry(test, given=False, progress=options.progress)
        words = {"method": method, "variant": kind, "T": interval, "task": "pseudo"}
        pictures = pictures_of(test.pairs)
        found = posetrack_scores(words, poses, test.poses(), pictures=pictures)
        labelled = {"labelled": shares[interval]}
        return {kind: [replace(each, whole={**each.whole, **labelled}) for each in found]}

    kinds = ("labels alone", "with pseudo-labels")
    cases = [(kind, interval) for interval in options.intervals or RATIOS for kind in kinds]
    return Task(
        variants=(LEARNER,),
        learn=learn_labels,
        scores=scores,
        protocol=f"{protocol}; labelled: share of frames with labels of their own, percent",
        cases=[*cases, ("all labels", 1)],
        paper=paper_rows("stdpose", "Table 3", prefix="AP-"),
        boxes=boxes,
        seed=options.seed,
    )


# --- what both sets measure -----------------------------------------------------------------------


def _check(options: Options) -> None:
    if options.task not in TASKS:
        raise unknown("task", options.task, TASKS)
    if options.boxes is not None and options.task != "estimation":
        problem = "only estimation on PoseTrack looks into a detector's boxes"
        raise BadParameter(problem, remedy="leave boxes out")
    if options.task == "pseudo" and len(options.variants or ()) > (options.name == "synthetic"):
        problem = "Table 3 asks one network, on PoseTrack the whole"
        raise BadParameter(problem, remedy="leave variants out")
    if not 0 <= _given(options, 0.0) <= 1:
        problem = f"labels are given to {options.given:g} of the training windows"
        raise BadParameter(problem, remedy="a share from 0 to 1")


def _task(
    options: Options,
    windows_of: Callable[[int, STDPoseConfig], Windows],
    detector: Boxes,
    *tables: str,
    strangers: bool = False,
    **fields,
) -> Task:
    """Propagation or estimation; models of one size of crops after the other: line and flow, which
    read no crops, stand there once. strangers: each row once more, with somebody else's picture,
    and from `FAR` frames on with joints wiped from the maps. fields: of the task.
    """
    given = options.task == "propagation"

    def words_of(interval: int, names: Collection[str], name: str) -> dict:
        method = "stdpose" if name.removesuffix(STRANGER) in names else name.partition(",")[0]
        return {"method": method, "variant": name, "T": interval, "task": options.task}

    def scores(interval: int, models: Mapping[str, Propagator]) -> dict:
        out: dict[str, list[Scores]] = {}
        for size in dict.fromkeys(m.model.config.size for m in models.values()):
            group = {name: m for name, m in models.items() if m.model.config.size == size}
            windows = windows_of(interval, next(iter(group.values())).model.config)
            seen, box_scores = detector.windows(windows)
            title = "single frame, {1} x {0}".format(*size) if out else RIVAL
            truth, wiped = windows.poses(), None
            if strangers and interval >= FAR:
                wiped = np.random.default_rng(0).random(truth.visibility.shape) < WIPED
            how = {"given": given, "ways": not out, "title": title, "strangers": strangers}
            found = answers(seen, group, wiped=wiped, **how, progress=options.progress)
            for name in [name for name in found if not name.endswith(WITHOUT)]:
                words = words_of(interval, group, name)
                out[name] = scores_of(words, found[name], windows, box_scores)
                if wiped is not None:
                    poses = found.get(name + WITHOUT, found[name])
                    out[name].append(wiped_score(words, poses, truth, wiped))
        return out

    names = fields["variants"]
    return Task(
        scores=scores,
        rival=RIVAL,
        rivals=BEFORE | {name + STRANGER: name for name in names},
        paper=paper_rows("stdpose", *tables, prefix="AP-"),
        **fields,
    )


# --- rendered clips -------------------------------------------------------------------------------


def _pseudo(recipe: Recipe, options: Options, carrier: Learned) -> Task:
    """Single-frame estimators from OTPose's, trained on clips that the propagator never saw."""
    data, chosen = recipe.own, recipe.variants["pseudo"]
    first = data.clips["train"]

    def learn(labels: Sequence[tuple], words: dict, label: str) -> Learned:
        model, known = _started(recipe, "pseudo", None, options.seed)
        words = {**known, **words, "clips": data.new_clips}
        windows = Windows(labels, window_config(chosen.config, (0, 0, 0)))
        batches = partial(single_batches, windows)
        training = _learns(model, batches, options.settings(chosen.train), words, label)
        return recipe.learn(training, replace(options, precision="fp32"))

    return _label_task(
        options,
        data.pairs("train", first + data.new_clips)[first:],
        people("test", 2, chosen.config, data=data),
        lambda _interval: carrier.predictor,
        learn,
        f"single-frame estimators that learned from {data.new_clips} rendered clips that the "
        f"propagator ({carrier.text}) never saw (world {data.name}), {data.clips['test']} test "
        "clips, every second frame",
    )


def _synthetic(recipe: Recipe, options: Options) -> Task:
    _check(options)
    if options.frame_weight is not None:
        problem = "the single frame of rendered clips has learned before, and is frozen"
        raise BadParameter(problem, remedy="leave --frame-weight out")
    data, propagation = recipe.own, options.task == "propagation"
    names = recipe.chosen(options, "stdpose", without=("frame", "pseudo"))

    @cache
    def learn(name: str) -> Learned:
        """A variant, or the shipped weights where none is asked for."""
        if options.variants is None:
            return loaded(recipe, "stdpose", options)
        return recipe.train(name, options)

    if options.task == "pseudo":
        return _pseudo(recipe, options, learn(names[0]))
    seed, intervals = options.seed, (7,)
    if options.variants is None:
        seed = trained_as(recipe.weights("stdpose")).get("seed")
        intervals = INTERVALS if propagation else intervals
    told = "labels and boxes of every T-th frame given"
    if not propagation:
        told = "no labels given, boxes as in propagation"
    return _task(
        options,
        lambda interval, config: people("test", interval, config, data=data),
        read_boxes(None),
        *(("Table 1", "Table 4") if propagation else ("Table 2",)),
        strangers=True,
        variants=names,
        learn=lambda name, _interval: learn(name),
        protocol=f"{data.clips['test']} rendered test clips of {data.world.n_frames} frames (world "
        f"{data.name}), all frames between labelled ones; {told}, boxes on the line between; "
        f"{PERCENT}; PCKh: joints within half a head size, mean over people; intervals: 95 % by "
        f"clip; blurred: {FAST} head sizes a frame or faster; somebody else's picture: the image "
        f"tokens are another person's, all else the own; wiped: {WIPED:.0%} of the joints, of "
        f"which the network's own maps say nothing; answers in {options.precision}",
        cases=tuple(options.intervals or intervals),
        boxes="between labels",
        seed=seed,
    )


# --- PoseTrack ------------------------------------------------------------------------------------

EPOCHS = 20  # App. B
DROPS = (12 / 20, 16 / 20)
PEOPLE = 32  # a step  # unstated; ours
AROUND = (-1, 0, 1)  # a labelled frame beside the frames before and after
# a ViT-B that learned poses on COCO, if the user has it; else ImageNet's
WEIGHTS = "vitpose_base_simple"


def published_windows(
    pairs: Sequence[tuple[Clip, Path]],
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
    if task != "propagation":
        return Windows(pairs, window_config(config, AROUND, Augment()))
    options = {"padding": PADDING, "alignment": config.alignment, "common": True}
    windows = propagate.windows_between(pairs, config.size, interval=interval, **options)

    def judged(i: int) -> bool:
        pair, _, key = windows.items[i]
        apart = int(np.ptp(windows.frames_of(i)))
        return windows.pairs[pair][0].pictures[key].labelled and apart == interval

    windows = windows.select(np.array([judged(i) for i in range(len(windows))], bool))
    if not len(windows):
        problem = f"no labelled frame between labels {interval} frames apart"
        raise MissingData(problem, file=pairs[0][1], remedy="name a smaller interval")
    return windows


def people_between(clips: Sequence[Clip], interval: int) -> int:
    """Labelled people in the frames whose labels are not given."""
    count = 0
    for clip in clips:
        there = np.array([t.labelled & (t.visibility > 0).any(1) for t in clip.tracks])
        if there.any():
            first = int(there.any(0).argmax())
            count += there.sum() - there[:, first::interval].sum()
    return int(count)


def start_weights(model: STDPose) -> str | None:
    """ViTPose-B of COCO into the backbone, where the user has it, its positions fitted to the grid;
    None: no file.
    """
    from timm.layers import resample_abs_pos_embed

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


def published_config(
    paper: STDPoseConfig, variant: str, frame_weight: float | None = None
) -> STDPoseConfig:
    """The paper's network as a row has it. frame_weight: of a loss on the maps that DAM and TKS
    read, which the paper has not; the backbone does not know these joints.  # ours
    """
    if variant in SIZES:
        change = {"size": SIZES[variant]}
    else:
        change = TABLE_4["a"] if variant == "a" else CHANGES[variant]
    if frame_weight is not None and variant != "a":
        change = {**change, "frame_weight": frame_weight}
    return replace(paper, **change)


def train_published(
    recipe: Recipe, options: Options, variant: str, windows: Windows, task: str, words: Mapping
) -> Learned:
    """The paper's settings: ViT-B, 256 x 192, AdamW at 2e-4."""
    config = published_config(recipe.paper, variant, options.frame_weight)
    propagation = task == "propagation"
    train = settings(options, EPOCHS, len(windows), PEOPLE, lr=2e-4, drops=DROPS, weight_decay=0.01)
    model, start = begun("stdpose", config, options, start_weights)
    told = _given(options, 0.0) if propagation else 0.0  # the paper tells none
    words = {
        "variant": variant,
        "padding": PADDING,
        "data": options.data,
        "task": task,
        "start": start,
        "given": told,
        "reach": Propagator.reach if propagation else 1,
        **words,
    }
    text = f"people from {start} weights, {len(windows)} to learn from"
    text += f", labels told to {told:.0%} of them" if propagation else ""
    batches = lambda size: gap_batches([windows], size, told)  # noqa: E731
    return recipe.learn(_learns(model, batches, train, words, variant, text), options)


def _learn_published(recipe: Recipe, options: Options, variant: str, interval: int) -> Learned:
    if variant not in (*CHANGES, *SIZES, "a"):
        return replace(named(variant, options), seed=options.seed)
    pairs, config = read_posetrack_half(options.data, "train"), recipe.paper
    windows = published_windows(pairs, published_config(config, variant), interval, options.task)
    words = {"interval": interval}
    return train_published(recipe, options, variant, windows, options.task, words)


def _published(recipe: Recipe, options: Options) -> Task:
    """Boxes on the line between the labelled ones, for estimation people's own, or a detector's as
    in the paper.
    """
    _check(options)
    pairs = read_posetrack_half(options.data, "val")
    if options.task == "pseudo":
        return _pseudo_published(recipe, options, pairs)
    detector, clips = read_boxes(options.boxes), [clip for clip, _ in pairs]
    intervals, boxes, among = (1,), detector.kind, "beside the frames before and after"
    if options.task == "propagation":
        intervals, boxes = tuple(options.intervals or (7,)), "between labels"
        among = "between labelled ones T frames apart"
    counts = []
    for interval in intervals:
        windows = published_windows(pairs, recipe.paper, interval, options.task)
        seen = int(windows.poses().labelled.any(1).sum())
        if options.task == "propagation":
            seen = f"{seen} of {people_between(clips, interval)}"
        counts.append(f"{seen} people" + f" at T = {interval}" * (len(intervals) > 1))
    return _task(
        options,
        lambda interval, config: published_windows(pairs, config, interval, options.task),
        detector,
        "Table 1" if options.task == "propagation" else "Table 2",
        variants=options.variants or ("stdpose",),
        learn=partial(_learn_published, recipe, options),
        protocol=f"{options.name}: {len(pairs)} validation clips, {', '.join(counts)} in labelled "
        f"frames {among}; task {options.task}; boxes: {boxes}; {PERCENT}, ignored regions left "
        f"out; answers in {options.precision}",
        cases=intervals,
        boxes=boxes,
        seed=options.seed,
    )


def _pseudo_published(recipe: Recipe, options: Options, val: Sequence[tuple[Clip, Path]]) -> Task:
    """The propagator learns from the labels of every T-th frame, too."""
    config, told = published_config(recipe.paper, "stdpose"), replace(options, task="propagation")
    test = published_windows(val, config, 1, "estimation")

    def learn(labels: Sequence[tuple], words: dict, label: str) -> Learned:
        windows = published_windows(labels, config, 1, "estimation")
        learned = train_published(recipe, options, "stdpose", windows, "estimation", words)
        return replace(learned, text=f"{label}: {learned.text}")

    return _label_task(
        options,
        read_posetrack_half(options.data, "train"),
        test,
        lambda interval: _learn_published(recipe, told, "stdpose", interval).predictor,
        learn,
        f"{options.name}: estimation in {len(val)} validation clips, {len(test)} people in "
        f"labelled frames; boxes: ground truth; percent; answers in {options.precision}",
    )


# --- the recipe -----------------------------------------------------------------------------------


RECIPE = Recipe(
    name="stdpose",
    title="STDPose",
    variants=VARIANTS,
    training=_training,
    predictor=lambda model, name, card: Propagator(model, name, card["padding"]),
    tasks={"synthetic": _synthetic}
    | dict.fromkeys(POSETRACK, _published)
    | {"real_detections": partial(real.stills, alone=single_frame), "real_clips": real.carried},
    shipped={"stdpose": "stdpose"},
    card=partial(
        shipped_card,
        title="{variant}, T = {T}, {subset}",
        of="clips, labels of every 7th frame given",
        case=7,
    ),
    skeletons=(SMALL.skeleton,),
    steps=SHIP.steps,
    own=DATA,
    paper=config_of("stdpose", "paper"),
    compared=("AP-Mean", "PCKh", *real.COMPARED),
    options=frozenset({"task", "intervals", "given", "frame_weight", "boxes", "precision"}),
)
