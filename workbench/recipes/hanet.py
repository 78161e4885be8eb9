"""HANet trained and measured: on motion before made cameras, and on the sets of the paper.

The networks learn from motion capture or procedural gaits in the world of `made.motion`; the
shipped weights come from gaits alone, because the motion capture is CC BY-NC. `SETS` are what
`recipes.sequences` knows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ..errors import BadParameter
from ..made import motion
from ..made.motion import JOINTS, WORLD, Sequence2D
from ..models import config_of
from ..models.hanet import HANetConfig
from ..predict import SequenceRefiner
from ..train import Batch, BatchSource, TrainConfig
from . import real
from . import sequences as known
from .base import (
    Learned,
    Options,
    Recipe,
    Scores,
    Task,
    Training,
    Variant,
    fresh,
    measure,
    paper_rows,
    rows,
)
from .filters import FILTERS, Filter, chosen_filters, filtered, near

WINDOW = 43
RIVALS = ("plain_dense", "plain")  # the first that answers
# Sizes and lambda_s were chosen on styles held out of the training clips, 1,500 steps each: 20 for
# HANet, 1 for its rival, whose best it is. With lambda_s = 1 HANet's mutual target is an L1 term as
# strong as the truth's, so that nothing pulls a pose that lies between the two: it learned worst.
SMALL = HANetConfig(
    interval=3, dim=64, levels=2, decoder_levels=3, dense_neighbours=True, final_weight=20.0
)
NO_KINEMATICS = dict.fromkeys(("flow", "velocity", "acceleration", "affine", "neighbours"), False)
# DeciWatch's idea at equal size: a plain transformer over the read frames, no kinematics, no
# hierarchy, no mutual learning.
PLAIN = HANetConfig(
    interval=3,
    dim=112,
    levels=3,
    decoder_levels=3,
    dense_neighbours=True,
    hierarchical=False,
    norms=(),
    **NO_KINEMATICS,
)
# The same with what HANet reads: with every third frame the ones before and after, so all of them
PLAIN_DENSE = replace(PLAIN, neighbours=True)
BARE = replace(SMALL, **NO_KINEMATICS)
WIDE = replace(BARE, neighbours=True)  # reads all frames, makes no kinematics of them
CONFIGS = {
    "hanet": SMALL,
    "hanet_sparse": replace(SMALL, dense_neighbours=False),  # reads every third frame alone
    "plain": PLAIN,  # so does this
    "plain_dense": PLAIN_DENSE,
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
    "neighbours": WIDE,  # the same steps where every row reads all frames
    "neighbours_flow": replace(WIDE, flow=True),
    "neighbours_velocity": replace(WIDE, flow=True, velocity=True),
    "neighbours_acceleration": replace(WIDE, flow=True, velocity=True, acceleration=True),
    # at their own sizes, which want a GPU; every third frame is read, as by the others here
    "paper": replace(config_of("hanet", "paper"), interval=SMALL.interval),
    "released": replace(config_of("hanet", "released"), interval=SMALL.interval),
}
# What the choice of lambda_s is made among, for HANet and its rival alike, in trainings of so many
# steps on "fit", judged on "search"
SEARCHED = {
    f"{name}_{weight}": replace(CONFIGS[name], final_weight=float(weight))
    for name in ("hanet", "plain_dense")
    for weight in (1, 5, 20, 60)
}
SEARCH_STEPS = 1_500
# AdamW, 1e-3, warm-up, cosine: Sec. 4.4. Steps and batch fit a quarter of an hour on two cores.
# # unstated; ours
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
VARIANTS = {name: Variant(config, TRAIN) for name, config in CONFIGS.items()} | {
    name: Variant(config, replace(TRAIN, steps=SEARCH_STEPS), data={"split": "fit"})
    for name, config in SEARCHED.items()
}


@dataclass(frozen=True)
class Motion:
    """What HANet learns from and is judged by.

    limit: of motions, for trying out. filters: name -> (filter, settings that are tried).
    """

    filters: Mapping[str, tuple[Filter, list[tuple]]] = field(default_factory=lambda: FILTERS)
    limit: int | None = None


DATA = Motion()


def window_batches(
    pool: Sequence[np.ndarray],
    window: int,
    size: int,
    *,
    see: Callable = motion.photograph,
    answer: Callable = motion.detect,
) -> BatchSource:
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
        detected = answer(xy, motion.bursts(size, window, rng), rng)
        return known.framed(detected, xy)

    return source


# --- training -------------------------------------------------------------------------------------


def _learns(
    config: HANetConfig,
    batches: Callable[[int], BatchSource],
    words: Mapping,
    settings: TrainConfig,
    label: str,
) -> Training:
    """With the terms of Eq. 11 that the network has."""
    model = fresh("hanet", config, settings.seed)
    losses = dict.fromkeys(("refined", "final", *(("online",) if config.norms else ())), 1.0)
    return Training("hanet", model, batches, settings, losses, words, label, "windows")


def _training(recipe: Recipe, name: str, options: Options) -> Training:
    variant = recipe.variants[name]
    how = {"copies": 4, "seed": options.seed, "limit": recipe.own.limit}
    moves = motion.motions(options.data, variant.data.get("split", "train"), **how)
    names = sorted({title for title, _ in moves})
    words = {
        "world": WORLD.digest(),
        "data": options.name,
        "window": WINDOW,
        "motions": hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16],
    }
    batches = partial(window_batches, [xyz for _, xyz in moves], WINDOW)
    return _learns(variant.config, batches, words, options.settings(variant.train), name)


# --- measuring ------------------------------------------------------------------------------------

# columns of the paper's tables, as ours are called
COLUMNS = {"Sho": "shoulder", "Elb": "elbow", "Wri": "wrist", "Ank": "ankle"}
COLUMNS |= {f"PCK@{t:g}": f"pck_{t:g}" for t in known.THRESHOLDS}


def paper_table(table: str, **where) -> list[dict]:
    """The paper's rows of a table, under our names of the measures."""
    lines = paper_rows("hanet", table, where=where)
    for line in lines:
        named = {COLUMNS.get(key, key.lower()): v for key, v in line["metrics"].items()}
        line["metrics"] = named
    return lines


def _refined(refiner: SequenceRefiner, detected: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [refiner.refine(xy) for xy in detected]


def _task(
    tests: Mapping[str, Sequence],
    measure: Callable[[Sequence[np.ndarray], Sequence], known.Measured],
    filters: Callable[[], Mapping[str, tuple[Filter, tuple]]],
    *,
    variants: Sequence[str],
    cases: Sequence[int | None] = (None,),
    **fields,
) -> Task:
    """The input and filters, which stand there once, and the networks of every window T of `cases`.

    tests: sequences by the name of their subset, "" where there is one alone. filters: makes them
    and their settings. fields: of the task.
    """

    def rows_of(name: str, answer: Callable, extra: Mapping, **words) -> list[Scores]:
        found = []
        for subset, test in tests.items():
            values, clips = measure(answer([s.detected for s in test]), test)
            own = {"method": name, **({"subset": subset} if subset else {}), **words}
            found.append(Scores(own, len(test), values, clips, extra=extra, alike=False))
        return found

    def scores(window: int | None, refiners: Mapping[str, SequenceRefiner]) -> dict:
        out, words = {}, {} if window is None else {"T": window}
        if window == cases[0]:
            out["input"] = rows_of("input", lambda detected: detected, {})
            for name, (apply, setting) in filters().items():
                answer = partial(filtered, apply, setting=setting)
                out[name] = rows_of(name, answer, {"setting": list(setting)})
        for name, refiner in refiners.items():
            out[name] = rows_of(name, partial(_refined, refiner), {}, **words)
        return out

    rival = next((name for name in RIVALS if name in variants), "input")
    return Task(variants=variants, scores=scores, cases=cases, rival=rival, **fields)


# --- motion before made cameras -------------------------------------------------------------------


def _motion_task(tests: Mapping[str, Sequence], data: str, own: Motion, **fields) -> Task:
    """The protocol on sequences of "mocap" or "synthetic" motion, by the name of a subset."""

    def filters() -> Mapping[str, tuple[Filter, tuple]]:
        train = motion.sequences(data, "train", cameras=1, seed=1, limit=own.limit)
        return chosen_filters(train, near, own.filters)

    kind = "gaits" if data == "synthetic" else "motion capture"
    count = len(next(iter(tests.values())))
    protocol = (
        f"HANet on {count} sequences ({kind}, styles that training does not see, 3 cameras each), "
        f"detector simulated (world {WORLD.digest()}; another noise: {motion.OTHER}): PCK against "
        f"{WORLD.box:g} times the joints' longer side, percent; Accel px a frame squared; epe px "
        "inside and outside of bursts of occlusion; means over sequences, 95 % intervals by clip; "
        "filters' settings have the best PCK@0.05 on training sequences"
    )
    paper = paper_table("Table 1", data="Sub-JHMDB")
    return _task(tests, known.measure_bursts, filters, protocol=protocol, paper=paper, **fields)


def evaluate_refiners(
    refiners: Mapping[str, SequenceRefiner],
    test: Sequence[Sequence2D],
    data: str,
    *,
    networks: str,
    seed: int = 0,
    own: Motion = DATA,
) -> dict:
    """The rows of refiners as they stand; networks: how these learned."""

    def learn(name: str, _case) -> Learned:
        return Learned(refiners[name], seed=seed, text=networks)

    task = _motion_task({"": test}, data, own, variants=tuple(refiners), learn=learn, seed=seed)
    return measure(task)


def _motion(recipe: Recipe, options: Options) -> Task:
    """Networks that learn from "train" on the test split, with the noise of training and with
    another; the searched ones, which learn from "fit", on "search".
    """
    own, names = recipe.own, options.variants or ("plain_dense", "hanet")
    splits = {recipe.variants[n].data.get("split", "train") for n in names if n in recipe.variants}
    if len(splits) > 1:
        problem = f"{', '.join(names)} learn from different splits"
        raise BadParameter(problem, remedy="ask for the searched ones by themselves")
    searched = splits == {"fit"}
    see = partial(motion.sequences, options.data, "search" if searched else "test", limit=own.limit)
    tests = {"noise as in training": see()}
    if not searched:
        tests["another noise"] = see(other=motion.OTHER)
    test = next(iter(tests.values()))
    if len(set(known.clips_of(test).tolist())) < 2:
        problem = f"{len(test)} test sequences of {options.data}"
        raise BadParameter(problem, remedy="two clips of the test styles, or more")
    return _motion_task(
        tests,
        options.data,
        own,
        variants=names,
        learn=lambda name, _case: recipe.train(name, options),
        seed=options.seed,
    )


# --- the sets of the paper ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class KnownSet:
    """Sequences of a set, window T and interval N, what is measured, what stands beside it."""

    test: Sequence[known.Known]
    train: Sequence[known.Known]  # filters choose their settings on these
    windows: tuple[int, ...]
    interval: int
    measure: Callable[[Sequence[np.ndarray], Sequence[known.Known]], known.Measured]
    protocol: str
    paper: Sequence[dict] = ()
    batches: Callable[[int, int], BatchSource] | None = None  # (window, size); None: of `train`


PLANE = (
    "PCK of the file's box and of the torso (left shoulder to right hip), percent, means over "
    "sequences; by part at 0.2 of the box, under its own name (the public program's columns hold "
    "other joints); Accel px a frame squared"
)
SPACE = "MPJPE and PA-MPJPE mm relative to the root, Accel mm a frame squared, means over frames"
JOINTS_ALONE = (
    "; from the files' joints (the paper refines SMPL parameters and measures joints of the body "
    "model)"
)
TURNS = (
    "mean angle of the joint rotations, degrees, of SMPL parameters as 6D rotations; the paper's "
    "MPJPE needs the SMPL body model, and is not measured"
)


def _published_set(
    read: Callable, measures: Callable, text: str, table: str, options: Options
) -> KnownSet:
    published = known.PUBLISHED[options.name.removesuffix("_smpl")]
    train, test, left = known.read_published(options.data, published, read)
    return KnownSet(
        test,
        train,
        published.windows,
        published.interval,
        measures,
        f"HANet on {len(test)} test sequences of {options.name}, input from "
        f"{published.estimator}: {text}{left}",
        paper_table(table, data=published.title),
    )


def _mocap3d(options: Options) -> KnownSet:
    spec = options.data.replace("mocap3d", "mocap", 1)
    moves = [xyz for _, xyz in motion.motions(spec, "train", copies=4)]
    test = known.space_sequences(spec, "test")
    space = {"see": known.camera_space, "answer": known.detect_space}
    return KnownSet(
        test,
        known.space_sequences(spec, "train", cameras=1, seed=1),
        (WINDOW,),
        SMALL.interval,
        known.measure_space,
        f"HANet in 3D on {len(test)} sequences (motion capture, test styles, 3 cameras each), "
        f"estimator simulated (world {known.WORLD_3D.digest()}): MPJPE and PA-MPJPE mm relative to "
        "the root, Accel mm a frame squared, inside and outside of bursts of occlusion",
        batches=partial(window_batches, moves, **space),
    )


def _sparse(options: Options) -> KnownSet:
    spec = options.data.partition(":")[2] or "synthetic"
    test = known.scenes(spec, "test")
    return KnownSet(
        test,
        known.scenes(spec, "train"),
        (5,),
        1,
        known.measure_people,
        f"HANet with sparse labels on {len(test)} people in scenes of {known.SCENE_PEOPLE} ({spec} "
        f"motion, every fourth frame labelled, detector simulated, world {WORLD.digest()}): "
        "PoseTrack's mAP of labelled joints within half of "
        f"{known.HEAD_SHARE:g} times the person's box, percent; scores are the detector's; the "
        "paper's rows are PoseTrack",
        paper_table("Table 3"),
    )


_TURNS = (known.read_turns, known.measure_turns, TURNS, "Table 2")
_BODIES = (known.read_space, known.measure_space, SPACE + JOINTS_ALONE, "Table 2")
_PUBLISHED = {
    "jhmdb": (known.read_plane, known.measure_plane, PLANE, "Table 1"),
    "h36m": (known.read_space, known.measure_space, SPACE, "Table 2"),
    "threedpw": _BODIES,
    "aist": _BODIES,
    "threedpw_smpl": _TURNS,
    "aist_smpl": _TURNS,
}
SETS: dict[str, Callable[[Options], KnownSet]] = {
    name: partial(_published_set, *how) for name, how in _PUBLISHED.items()
} | {"mocap3d": _mocap3d, "sparse": _sparse}


def _set_training(
    recipe: Recipe, options: Options, chosen: KnownSet, name: str, window: int
) -> Training:
    """A variant in the coordinates of a set."""
    _, k, d = chosen.test[0].truth.shape
    config = recipe.variants[name].config
    config = replace(config, channels=k * d, coordinates=d, interval=chosen.interval)
    words = {"window": window, "data": options.name, "key": known.digest_of(chosen.train)}
    batches = chosen.batches or partial(known.known_batches, chosen.train)
    train = options.settings(recipe.variants["hanet"].train)
    return _learns(config, partial(batches, window), words, train, f"{name}, T = {window}")


def _set(recipe: Recipe, options: Options) -> Task:
    """Each variant is trained on the set's training split with every T of the protocol."""
    names = recipe.chosen(options, "plain_dense", "hanet")
    chosen = SETS[options.name](options)
    if not (chosen.test and chosen.train):
        problem = f"{len(chosen.train)} training and {len(chosen.test)} test sequences"
        raise BadParameter(f"{problem} of {options.data}", remedy="clips of both splits")
    some = chosen.train[:: max(len(chosen.train) // 50, 1)]

    def learn(name: str, window: int) -> Learned:
        return recipe.learn(_set_training(recipe, options, chosen, name, window), options)

    return _task(
        {"": chosen.test},
        chosen.measure,
        lambda: chosen_filters(some, known.error, recipe.own.filters),
        variants=names,
        cases=chosen.windows,
        learn=learn,
        protocol=f"{chosen.protocol}; N = {chosen.interval}; 95 % intervals by clip; filters' "
        "settings have the least mean error on training sequences",
        paper=chosen.paper,
        seed=options.seed,
    )


# --- the recipe -----------------------------------------------------------------------------------


def _card(recipe: Recipe, variant: str, learned: Learned, options: Options) -> dict:
    """What the shipped file says of its rows."""
    task = _motion(replace(recipe, own=replace(recipe.own, filters={})), options)
    scores = task.scores(None, {variant: learned.predictor})
    lines = rows({name: parts[:1] for name, parts in scores.items()})
    return {
        "metrics": {line["method"]: line["metrics"] for line in lines},
        "metrics_data": f"synthetic, {lines[0]['n']} sequences of gaits, world {WORLD.digest()}",
        "licence": "Apache-2.0; trained on procedural gaits alone, under a simulated detector as "
        "bad as the paper's input row",
    }


RECIPE = Recipe(
    name="hanet",
    title="HANet",
    variants=VARIANTS,
    training=_training,
    predictor=lambda model, name, card: SequenceRefiner(model.cpu(), card["window"], name),
    tasks={"mocap": _motion, "synthetic": _motion, "real_clips": real.clips}
    | dict.fromkeys(SETS, _set),
    shipped={"hanet": "hanet"},
    card=_card,
    skeletons=(JOINTS.name,),
    steps=TRAIN.steps,
    own=DATA,
    compared=("pck_0.05", "accel", *real.COMPARED),
)
