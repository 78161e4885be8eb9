"""One skeleton for every method: its variants are trained, shipped, measured and compared here.

A recipe is data. Its variants say which networks there are and how they learn, its tasks say what
`--data` names: who answers, what is measured case by case, under which protocol. Everything else
(cached trainings, weight files, means, intervals, paired differences, tables) is written once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from .. import checkpoint, metrics
from ..data.manifest import manifests
from ..errors import BadParameter, unknown
from ..ledger import paper
from ..models import build
from ..models.entry import words_of
from ..outputs import check_new
from ..predict import load, weights_path
from ..train import (
    BatchSource,
    TrainConfig,
    choose_device,
    fingerprint,
    settings_of,
    share,
    train,
    trained_folder,
    training_key,
)

SCHEMA_VERSION = 1
RENDERED = ("synthetic", "masks", "passing")  # data of rendered people, whose boxes are known
METHODS = ("port", "hanet", "vissimcc", "otpose", "stdpose")
HISTORY = 100  # entries of a training's history that a shipped card keeps, at most twice as many


@dataclass(frozen=True)
class Options:
    """What is asked of a training or an evaluation; None leaves a choice to the recipe."""

    data: str = "synthetic"  # NAME or NAME:PATH, or a file
    variants: Sequence[str] | None = None
    seed: int = 0
    steps: int | None = None  # caps every training, for trying out
    device: str = "auto"
    progress: bool = True
    precision: str = "fp32"  # of answers, or "bf16" (mixed)
    boxes: str | Path | None = None  # a detector's, COCO results JSON
    detections: str | Path | None = None  # a detector's poses on the people of `data`
    skeleton: str | None = None  # of `detections`
    weights: str | Path | None = None  # of a public program
    size: tuple[int, int] | None = None  # px of its crops, where the file does not tell
    task: str = "propagation"
    intervals: Sequence[int] | None = None  # T
    given: float | None = None  # share of training windows that are told labels
    frame_weight: float | None = None  # of a loss on the maps of single frames
    anew: bool = False  # the shipped file is not taken for a finished training

    @property
    def name(self) -> str:
        """The data without a path."""
        return self.data.partition(":")[0]

    def settings(self, config: TrainConfig) -> TrainConfig:
        """A training as it is asked for: this seed, and at most so many steps."""
        config = replace(config, seed=self.seed)
        if self.steps is None or self.steps >= config.steps:
            return config
        warmup = min(config.warmup_steps, self.steps // 5)
        return replace(config, steps=self.steps, warmup_steps=warmup)


@dataclass(frozen=True)
class Variant:
    """One network and how it learns.

    start: the variant or weights that it goes on from, which are the same for all seeds. data: what
    its batches hold, in words that the recipe's training knows. ship: settings of the shipped file,
    where rows beside it learn in others.
    """

    config: object
    train: TrainConfig
    start: str | None = None
    ship: TrainConfig | None = None
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Training:
    """What learns, from what, and what the finished training is known by.

    method: of the network, in whose cache it lies. batches: (size) -> the source; it is called only
    where something is left to learn. words: of the weight file's header, beside the network's.
    text: what a step takes so many of, for protocols. folder: further words that the name of the
    cache's folder follows. kernel: (device, precision) -> what the training runs within.
    """

    method: str
    model: nn.Module
    batches: Callable[[int], BatchSource]
    settings: TrainConfig
    losses: Mapping[str, float]
    words: Mapping[str, object]
    label: str
    text: str = "people"
    folder: tuple = ()
    kernel: Callable[[str, str], AbstractContextManager] = lambda device, precision: nullcontext()

    @property
    def card(self) -> dict:
        """What goes into the weight file's header."""
        return {"model": self.method, "config": words_of(self.model.config), **self.words}

    @property
    def key(self) -> str:
        """The "fingerprint" of the weight file's card."""
        return training_key(self.settings, self.losses, self.card)


@dataclass(frozen=True, eq=False)
class Learned:
    """A variant that can answer, and how it learned; steps are None for weights as they were."""

    predictor: object
    weights: Path | None = None
    seed: int | None = None
    steps: int | None = None
    text: str = ""  # for the protocol


@dataclass(frozen=True, eq=False)
class Scores:
    """What one row measures, before means are taken.

    values: by case (a person, a pose, a sequence), NaN where it is not measured. groups: the clip,
    video or picture of each case, which is drawn whole. whole: measures that are no means. draws:
    some of these, where they are percent, as shares (0 to 1) in resampled groups, the same groups
    for every row. ends: intervals that are drawn elsewhere. alike: the same groups are drawn for
    every measure.
    """

    words: Mapping[str, object]  # method, variant, subset, ...
    n: int
    values: Mapping[str, Float[np.ndarray, m]] = field(default_factory=dict)
    groups: Sequence[str] | np.ndarray = ()
    whole: Mapping[str, float] = field(default_factory=dict)
    draws: Mapping[str, Float[np.ndarray, r]] = field(default_factory=dict)
    ends: Mapping[str, Sequence[float]] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    alike: bool = True


@dataclass(frozen=True, eq=False)
class Task:
    """A protocol: who answers, what is measured, and what stands beside it.

    learn: (variant, case) -> a predictor, trained, cached or loaded. scores: (case, predictors by
    name) -> rows by the name of who answered, those of rivals too. protocol: to which is added how
    the networks learned. cases: what all of this is done for in turn, such as every interval T.
    rival: whom rows are compared with on the same cases, by the name of its answer; rivals: of
    those who are compared with another answer, where that is there.
    """

    variants: Sequence[str]
    learn: Callable[[str, object], Learned]
    scores: Callable[[object, Mapping[str, object]], Mapping[str, Sequence[Scores]]]
    protocol: str
    rival: str | None = None
    rivals: Mapping[str, str] = field(default_factory=dict)
    cases: Sequence[object] = (None,)
    paper: Sequence[dict] = ()
    boxes: str | None = None  # in which people were estimated
    seed: int | None = None  # of rows whose answer names none
    steps: bool = False  # rows say how long their network learned


@dataclass(frozen=True, eq=False)
class Recipe:
    """A method: variants, what they learn from, what they are judged by, what is shipped.

    skeletons: of the weight files, the usual one first; where there are several, a variant is
    shipped for its own. training: (recipe, variant, options) -> a training on the data that the
    workbench makes. predictor: (model, name, card) -> what answers. shipped: variants with weight
    files, and the files' names. card: (recipe, variant, learned, options) -> what a shipped card
    says of rows and licence. steps: of the main training, as `--steps` counts them. own: whatever
    else the method's training and tasks need. paper: the network in the paper's own size, for sets
    that users bring. columns: measures that tables show, by title; None: all by their names.
    compared: measures whose paired differences tables show. options: of `Options`, beyond those
    that every method takes. files: the task on whatever has truth: data that `tasks` does not name,
    and detections.
    """

    name: str
    title: str
    variants: Mapping[str, Variant]
    training: Callable[[Recipe, str, Options], Training]
    predictor: Callable[[nn.Module, str, Mapping], object]
    tasks: Mapping[str, Callable[[Recipe, Options], Task]]
    shipped: Mapping[str, str]
    card: Callable[[Recipe, str, Learned, Options], dict]
    skeletons: tuple[str, ...]
    steps: int
    own: object = None
    paper: object = None
    compared: tuple[str, ...] = ()
    columns: Mapping[str, str] | None = None
    options: frozenset[str] = frozenset()
    files: Callable[[Recipe, Options], Task] | None = None
    folder: Path | None = None  # of cached trainings; None: the user's cache
    weights: Callable[[str], Path] = weights_path  # where shipped files lie

    # --- training ---------------------------------------------------------------------------------

    def learn(self, training: Training, options: Options) -> Learned:
        """The finished training: that of the shipped file or of the cache, or made now."""
        device, settings, card = choose_device(options.device), training.settings, training.card
        weights = None if options.anew else self._shipped_weights(settings, card)
        if weights is not None:
            checkpoint.load(weights, training.model.to(device))
        else:
            folder = self.folder or trained_folder(training.method)
            with training.kernel(device, settings.precision):
                weights = train(
                    training.model,
                    training.batches(share(settings.batch_size)),
                    settings,
                    folder / fingerprint(settings_of(settings), *training.folder, card),
                    loss_weights=training.losses,
                    card=card,
                    device=device,
                    progress=options.progress,
                    label=training.label,
                ).weights
        predictor = self.predictor(training.model, training.label, card)
        predictor.precision = options.precision
        text = f"{settings.steps:,} steps of {settings.batch_size} {training.text}"
        return Learned(predictor, weights, settings.seed, settings.steps, text)

    def train(self, variant: str, options: Options) -> Learned:
        """A variant trained on what the workbench makes; what it goes on from is trained first."""
        if variant not in self.variants:
            raise unknown(f"variant of {self.title}", variant, self.variants)
        return self.learn(self.training(self, variant, options), options)

    def _shipped_weights(self, settings: TrainConfig, card: Mapping) -> Path | None:
        """The shipped file whose card says what this very training would, if there is one."""
        words = json.loads(json.dumps({"train": settings_of(settings), **card}))
        for path in map(self.weights, self.shipped.values()):
            if path.exists() and words.items() <= checkpoint.read_card(path).items():
                return path
        return None

    # --- shipping ---------------------------------------------------------------------------------

    def ship(self, out: str | Path, options: Options, *, skeleton: str | None = None) -> Path:
        """Trains what is shipped, measures it, and writes a file each: `out`, and beside it others,
        their names begun as in `shipped`.
        """
        skeleton = skeleton or self.skeletons[0]
        if skeleton not in self.skeletons:
            raise unknown(f"skeleton of {self.title}", skeleton, self.skeletons)
        if options.steps is not None and options.steps >= self.steps:
            options = replace(options, steps=None)
        places = self._places(Path(out), skeleton)
        for place in places.values():
            check_new(place)
        written = []
        for variant, place in places.items():
            chosen = self._as_shipped(variant)
            learned = chosen.train(variant, replace(options, anew=True))
            card = checkpoint.read_card(learned.weights)
            history = card["history"]
            card |= {
                "skeleton": skeleton,
                "history": history[:: max(len(history) // HISTORY, 1)],
                "command": self._command(options, skeleton),
                **self.card(self, variant, learned, options),
            }
            written.append(checkpoint.save(place, learned.predictor.model, card))
        return written[0]

    def _places(self, out: Path, skeleton: str) -> dict[str, Path]:
        """Where each variant that is shipped for a skeleton is written."""
        several = len(self.skeletons) > 1
        return {
            variant: out.with_name(out.name.replace(self.name, name, 1))
            for variant, name in self.shipped.items()
            if not several or self.variants[variant].config.skeleton == skeleton
        }

    def _as_shipped(self, variant: str) -> Recipe:
        """The recipe in whose variant the shipped file's settings stand."""
        chosen = self.variants[variant]
        chosen = replace(chosen, train=chosen.ship or chosen.train)
        return replace(self, variants={**self.variants, variant: chosen})

    def _command(self, options: Options, skeleton: str) -> str:
        steps = self.steps if options.steps is None else options.steps
        joints = "" if skeleton == self.skeletons[0] else f" --skeleton {skeleton}"
        return f"workbench train {self.name}{joints} --seed {options.seed} --steps {steps}"

    # --- measuring --------------------------------------------------------------------------------

    def evaluate(self, data: str = "synthetic", **asked) -> dict:
        """A method's protocol on a data set: {schema_version, protocol, rows}, see `rows`.

        data: NAME or NAME:PATH of `tasks`, or what `files` takes. asked: fields of `Options`.
        Trainings are cached.
        """
        known = {"variants", "seed", "steps", "device", "progress", *self.options}
        asked = {name: value for name, value in asked.items() if value is not None}
        if odd := [f"--{name}" for name in asked if name not in known]:
            raise BadParameter(f"{self.name} has no {', '.join(odd)}", remedy="leave it out")
        options = Options(data, **asked)
        if options.precision not in ("fp32", "bf16"):
            problem = f"precision is {options.precision!r}"
            raise BadParameter(problem, remedy="choose fp32 or bf16")
        task = self._task(options)
        if options.boxes is not None and options.name in RENDERED:
            problem = "rendered people have no detector's boxes"
            raise BadParameter(problem, remedy="leave boxes out, or name other data")
        return measure(task(self, options))

    def _task(self, options: Options) -> Callable[[Recipe, Options], Task]:
        """What the data ask for."""
        if options.skeleton is not None and options.detections is None:
            problem = "skeleton says whose joints detections have, and there are none"
            raise BadParameter(problem, remedy="name them by --detections FILE, or leave it out")
        named = self.tasks.get(options.name)
        if self.files is not None:
            given = Path(options.data).exists() or options.name in manifests()
            if options.detections is not None or (named is None and given):
                return self.files
        if named is None:
            raise unknown(f"data of {self.title}", options.name, self.tasks)
        return named

    def chosen(self, options: Options, *usual: str, without: Sequence[str] = ()) -> Sequence[str]:
        """The variants that are asked for, the usual ones by default; `UnknownName` for others
        than the recipe's, and for those that others go on from alone.
        """
        known = self.variants.keys() - set(without)
        for name in options.variants or ():
            if name not in known:
                raise unknown(f"variant of {self.title}", name, known)
        return options.variants or usual

    def flat(self, result: Mapping) -> list[dict]:
        """Rows for a table: words, measures, paired differences with their intervals."""
        measured = {key for row in result["rows"] for key in row["metrics"]}
        columns = {title: key for title, key in (self.columns or {}).items() if key in measured}
        return [flat_row(row, columns or None, self.compared) for row in result["rows"]]


def measure(task: Task) -> dict:
    """What a task comes to: {schema_version, protocol, rows}."""
    networks, lines = {}, []
    for case in task.cases:
        learned = {variant: task.learn(variant, case) for variant in task.variants}
        scores = task.scores(case, {name: one.predictor for name, one in learned.items()})
        how = {"rival": task.rival, "rivals": task.rivals, "seed": task.seed, "steps": task.steps}
        lines += rows(scores, learned, **how)
        for name, one in learned.items():
            networks.setdefault(one.text, {})[name] = None
    told = [f"{', '.join(names)}: {text}" for text, names in networks.items() if text]
    return {
        "schema_version": SCHEMA_VERSION,
        "protocol": "; ".join((task.protocol, *told)),
        **({} if task.boxes is None else {"boxes": task.boxes}),
        "rows": lines + list(task.paper),
    }


def fresh(
    method: str,
    config: object,
    seed: int,
    start: Path | None = None,
    *,
    part: str | tuple[str, ...] = "",
    cut: str = "",
) -> nn.Module:
    """A network of this seed, with those tensors of the weight file `start` that it has.

    part: how the names of these begin. cut: what is cut off the names in the file before.
    """
    torch.manual_seed(seed)
    model = build(method, config)
    tensors = {} if start is None else checkpoint.read_tensors(start)
    named = {key.removeprefix(cut): tensor for key, tensor in tensors.items()}
    chosen = {key: tensor for key, tensor in named.items() if key.startswith(part)}
    checkpoint.load_into(model, chosen, partial=True)
    return model


def loaded(recipe: Recipe, name: str, options: Options) -> Learned:
    """Shipped weights by their name, or a file, with the seed of their card where it says one."""
    path = recipe.weights(name)
    device = choose_device(options.device)
    predictor = load(str(path), device=device, precision=options.precision)
    predictor.name = name
    text = "shipped weights" if name in recipe.shipped.values() else "weights as named"
    return Learned(predictor, path, trained_as(path).get("seed"), text=text)


def trained_as(path: Path) -> dict:
    """The settings that a weight file was trained with, where there is one whose card says so."""
    return checkpoint.read_card(path).get("train", {}) if path.exists() else {}


def recipe(method: str) -> Recipe:
    """A method's recipe by its name."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    return import_module(f"{__package__}.{method}").RECIPE


# --- rows -----------------------------------------------------------------------------------------


def _interval(values: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> list | None:
    """95 % of the mean of what is finite, drawn by group; None where there are not two groups."""
    use = np.isfinite(values)
    if len(set(groups[use].tolist())) < 2:
        return None
    return list(metrics.bootstrap_interval(values[use], groups[use], rng))


def _quantiles(draws: np.ndarray) -> list[float]:
    """95 % of resampled shares, percent; a resample in which nothing counts (NaN) is left out."""
    ends = [(1 - metrics.LEVEL) / 2, (1 + metrics.LEVEL) / 2]
    return [100 * float(v) for v in np.nanquantile(draws, ends)]


def intervals(scores: Scores) -> dict[str, list[float]]:
    """95 % bootstrap intervals of a row's measures, by group."""
    groups, one = np.asarray(scores.groups), np.random.default_rng(0)
    found = {
        key: _interval(v, groups, np.random.default_rng(0) if scores.alike else one)
        for key, v in scores.values.items()
    }
    found |= {key: _quantiles(draws) for key, draws in scores.draws.items()}
    found |= {key: list(ends) for key, ends in scores.ends.items()}
    return {key: interval for key, interval in found.items() if interval is not None}


def paired(scores: Scores, rival: Scores, name: str) -> dict[str, dict]:
    """Differences to a rival on the same cases: {measure: {rival, difference, interval}}.

    Where a measure is a mean, cases of both are subtracted one by one, and the mean difference is
    resampled by group; where it is none, both are taken from the same resampled groups.
    """
    found = {}
    for key in scores.values.keys() & rival.values.keys():
        if len(scores.values[key]) == len(rival.values[key]):
            away = scores.values[key] - rival.values[key]
            interval = _interval(away, np.asarray(scores.groups), np.random.default_rng(0))
            if interval is not None:
                found[key] = float(np.nanmean(away)), interval
    for key in scores.draws.keys() & rival.draws.keys():
        away = scores.draws[key] - rival.draws[key]
        found[key] = scores.whole[key] - rival.whole[key], _quantiles(away)
    return {
        key: {"rival": name, "difference": difference, "interval": interval}
        for key, (difference, interval) in sorted(found.items())
    }


def row(scores: Scores, *, seed: int | None = None, **more) -> dict:
    """A measured row: {method, variant, subset, ..., seed, kind, n, metrics, intervals}."""
    means = {key: float(np.nanmean(v)) for key, v in scores.values.items() if np.isfinite(v).any()}
    return {
        **scores.words,
        "seed": seed,
        "kind": "measured",
        "n": scores.n,
        "metrics": means | dict(scores.whole),
        "intervals": intervals(scores),
        **scores.extra,
        **more,
    }


def rows(
    scores: Mapping[str, Sequence[Scores]],
    learned: Mapping[str, Learned] | None = None,
    *,
    rival: str | None = None,
    rivals: Mapping[str, str] | None = None,
    seed: int | None = None,
    steps: bool = False,
) -> list[dict]:
    """Rows of all answers, with the paired differences to the rival's row of the same subset.

    Arguments as of `Task`.
    """
    learned, out, rivals = learned or {}, [], rivals or {}
    for name, parts in scores.items():
        who = learned.get(name, Learned(None, seed=seed))
        against = rivals[name] if rivals.get(name) in scores else rival
        others = {each.words.get("subset"): each for each in scores.get(against, ())}
        for part in parts:
            made = row(part, seed=who.seed)
            other = others.get(part.words.get("subset"))
            if other is not None and name != against:
                made["paired"] = paired(part, other, against)
            if steps and who.steps is not None:
                made["steps"] = who.steps
            out.append(made)
    return out


def paper_rows(
    method: str,
    *tables: str,
    prefix: str = "",
    where: Mapping[str, object] | None = None,
) -> list[dict]:
    """A paper's rows of tables, as `evaluate` prints them: words say what a row is, numbers are
    measures.

    prefix: of the measures' names; where: fields that a row must have.
    """
    found = []
    for line in (line for table in tables for line in paper(method).table(table).rows):
        if any(line.get(key) != value for key, value in (where or {}).items()):
            continue
        words = {key: v for key, v in line.items() if isinstance(v, str) or key == "T"}
        numbers = {f"{prefix}{key}": v for key, v in line.items() if key not in words}
        found.append({**words, "kind": "paper", "metrics": numbers})
    return found


# --- tables ---------------------------------------------------------------------------------------

WORDS = ("method", "variant", "task", "T", "subset", "data", "backbone", "boxes")


def with_interval(value: float, interval: Sequence[float]) -> str:
    """A signed difference as text."""
    return f"{value:+.2f} [{interval[0]:+.2f}, {interval[1]:+.2f}]"


def flat_row(
    line: Mapping, columns: Mapping[str, str] | None, compared: Sequence[str] = ()
) -> dict:
    """One row for a table."""
    measures, intervals = line["metrics"], line.get("intervals", {})
    titles = columns or {"PCK" if key.startswith("PCK-") else key: key for key in measures}
    shown = {title: measures.get(key) for title, key in titles.items()}
    for title, key in titles.items():
        if key.endswith("_change") and key in intervals:
            shown[title] = with_interval(measures[key], intervals[key])
    names = {key: title for title, key in titles.items()}
    for key in (key for key in compared if key in line.get("paired", {})):
        pair = line["paired"][key]
        title = f"{names.get(key, key)}, against {pair['rival']}"
        shown[title] = with_interval(pair["difference"], pair["interval"])
    return (
        {key: line[key] for key in WORDS if key in line}
        | shown
        | {key: line.get(key) for key in ("n", "seed", "steps", "kind")}
    )
