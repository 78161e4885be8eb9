"""One training loop for every method, on accelerate: CPU, one GPU, or several by `torchrun`.

Batches are a pure function of (step, generator), so that a run that was killed goes on exactly
where its last checkpoint stood. State is written beside and renamed; it holds tensors and plain
values only, and is read with weights_only.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from . import checkpoint
from .caches import cache_root
from .errors import BadFile, BadParameter, CheckpointMismatch, TrainingDiverged, check_choice
from .outputs import alone, taken, write_beside
from .precision import computes_bf16, wrong_kernels
from .threads import threads_for

Batch = dict[str, Tensor]
# (step, generator) -> forward's keyword arguments
BatchSource = Callable[[int, np.random.Generator], Batch]


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation only; what the batches hold is the recipe's."""

    steps: int
    batch_size: int = 128
    lr: float = 5e-4
    warmup_steps: int = 0  # linear, from lr / warmup_steps
    cosine: bool = True  # to 0 at the last step
    # instead: a tenth of the rate after each of these shares of the steps
    drops: tuple[float, ...] = ()
    weight_decay: float = 0.0  # decoupled (AdamW) when above 0, plain Adam otherwise
    clip_norm: float | None = None
    ema: float | None = None  # decay of the averaged weights that are kept; None keeps the last
    # "no" or "bf16", accelerate's mixed precision; fp32 all the same where bf16 is imitated
    precision: str = "no"
    seed: int = 0
    save_every: int = 500  # steps between resumable states
    workers: int = 0  # processes that make batches

    def __post_init__(self):
        if self.steps < 1 or self.batch_size < 1 or self.save_every < 1 or self.seed < 0:
            raise BadParameter(
                "steps, batch_size and save_every must be 1 or more, the seed 0 or more"
            )


@dataclass(frozen=True)
class TrainResult:
    """Where a training ended."""

    weights: Path
    # {step, loss, lr}, mean loss since the entry before
    history: tuple[dict, ...] = field(repr=False)
    resumed_from: int  # step; `steps` when a finished training was found and reused
    seconds: float


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then half a cosine to zero (PORT Sec. IV-B), or drops by steps (Visibility
    Sec. 5.1).
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.drops:
        return config.lr * 0.1 ** sum(step >= drop * config.steps for drop in config.drops)
    if not config.cosine:
        return config.lr
    done = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def fingerprint(*parts) -> str:
    """Hash of JSON-able settings: what a training state belongs to."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def trained_folder(method: str) -> Path:
    """Where a method's trained models are kept and reused."""
    return cache_root() / "trained" / method


def settings_of(config: TrainConfig) -> dict:
    """The settings as a card keeps them; those that older cards do not know stand there only
    where they are used.
    """
    return {k: v for k, v in asdict(config).items() if k != "drops" or v}


def training_key(
    config: TrainConfig, loss_weights: Mapping[str, float], card: Mapping | None = None
) -> str:
    """What a finished training is known by: all that changes its weights; its card says it as
    "fingerprint".
    """
    return fingerprint(
        settings_of(replace(config, save_every=1, workers=0)), dict(loss_weights), dict(card or {})
    )


def share(batch_size: int) -> int:
    """How much of a batch this process makes, one of those that torchrun started."""
    return batch_size // int(os.environ.get("WORLD_SIZE", "1"))


class Steps(Dataset):
    """Item i is batch i; the generator's seed is (seed, step, rank)."""

    def __init__(self, source: BatchSource, config: TrainConfig, rank: int):
        self.source = source
        self.seed = config.seed
        self.steps = config.steps
        self.rank = rank
        self.most = share(config.batch_size) if "WORLD_SIZE" in os.environ else math.inf

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        batch = self.source(step, np.random.default_rng((self.seed, step, self.rank)))
        if (n := len(next(iter(batch.values())))) > self.most:
            raise BadParameter(
                f"{n} samples, {self.most} expected of each process",
                remedy="make `train.share` of a batch",
            )
        return batch


def choose_device(device: str) -> str:
    """`auto` becomes the accelerator when there is one; an accelerator that is not there is
    refused by name.
    """
    check_choice("device", device, ("auto", "cpu", "cuda"))
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise BadParameter(
            "device is 'cuda', but torch sees no accelerator here", remedy="use auto or cpu"
        )
    return device


def _precision(
    model: nn.Module, batches: BatchSource, config: TrainConfig, device: str
) -> tuple[str, str | None]:
    """What accelerate is to compute in, and why that is not what the settings say."""
    if config.precision != "bf16" or choose_device(device) != "cpu":
        return config.precision, None
    if not computes_bf16("cpu"):
        return "no", "this processor would imitate bf16"
    first = batches(0, np.random.default_rng((config.seed, 0)))
    if wrong := wrong_kernels(model, first):
        return "no", f"bf16 gives wrong numbers here, as in {wrong[0]}"
    return "bf16", None


def accelerator(device: str = "auto", precision: str = "no"):
    """An accelerate engine on "auto", "cpu" or "cuda"; it stands for all processes that torchrun
    started.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    device = choose_device(device)
    # it is a singleton; one process may train on both devices
    AcceleratorState._reset_state(reset_partial_state=True)
    engine = Accelerator(cpu=device == "cpu", mixed_precision=precision)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if engine.num_processes != started:
        raise BadParameter(
            f"{started} processes were started, accelerate joined {engine.num_processes}",
            remedy="start with `torchrun --nproc_per_node N -m workbench ...`",
        )
    return engine


# --- what a killed training needs -----------------------------------------------------------------


def all_finite(tree: object) -> bool:
    """Whether no tensor in it, however deep in dicts and lists, holds a NaN or an infinity."""
    tensors = (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


STATE = "state.pt"
STATE_KEYS = {"fingerprint", "step", "model", "optimiser", "average", "history"}
START_OVER = "delete it to start over"


def _read_state(path: Path) -> object:
    """Whatever a torch file holds; `BadFile` where its sums are wrong or it is none."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not check the sums
            damaged = archive.testzip()
        if damaged is None:
            return torch.load(path, map_location="cpu", weights_only=True)
        problem = "is damaged: a checksum inside is wrong"
    except (
        zipfile.BadZipFile,
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        KeyError,
        OSError,
    ) as error:
        problem = f"cannot be read: {type(error).__name__}"
    raise BadFile(f"training state {problem}", file=path, remedy=START_OVER)


def _load_state(path: Path, key: str, config: TrainConfig) -> dict:
    """A state of this training, whole and sound; anything else is a named error, never a start
    from nonsense.
    """
    state = _read_state(path)
    if not isinstance(state, dict) or set(state) != STATE_KEYS:
        raise BadFile("not a training state", file=path, remedy=START_OVER)
    if state["fingerprint"] != key:
        raise CheckpointMismatch(
            "this training state belongs to other settings",
            file=path,
            remedy=f"choose another folder, or {START_OVER}",
        )
    kinds = {"step": int, "model": dict, "optimiser": dict, "history": list}
    kinds["average"] = type(None) if config.ema is None else dict
    sound = all(isinstance(state[name], kind) for name, kind in kinds.items())
    if not (sound and 0 < state["step"] < config.steps and all_finite(state)):
        raise BadFile(
            "training state holds a step, history or weights that cannot be",
            file=path,
            remedy=START_OVER,
        )
    return state


class _Run:
    """All that steps change: the model, its optimiser, the average of its weights, the history."""

    def __init__(self, model: nn.Module, config: TrainConfig):
        self.model = model
        self.config = config
        kind = torch.optim.AdamW if config.weight_decay else torch.optim.Adam
        self.optimiser = kind(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.average: dict[str, Tensor] | None = None
        if config.ema is not None:
            self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.step = 0  # how many are done
        self.history: list[dict] = []

    def restore(self, path: Path, key: str) -> None:
        """Goes back to a state on disk."""
        state = _load_state(path, key, self.config)
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadFile(
                f"training state does not fit the model: {error}", file=path, remedy=START_OVER
            ) from error
        self.average = state["average"]
        self.step = state["step"]
        self.history = state["history"]

    def prepare(self, engine) -> nn.Module:
        """Moves everything to the engine's device; what a step calls in the model's place."""
        self.model.train()
        self.parameters = list(self.model.parameters())
        wrapped, self.optimiser = engine.prepare(self.model, self.optimiser)
        if self.average is not None:
            self.average = {k: v.to(engine.device) for k, v in self.average.items()}
        return wrapped

    def save(self, path: Path, key: str) -> None:
        """Writes a state that `restore` reads."""
        state = {
            "fingerprint": key,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "history": self.history,
        }
        write_beside(path, lambda part: torch.save(state, part), over=True)

    def follow(self) -> None:
        """Moves the average towards the weights of the last step, faster in the beginning."""
        if self.average is None:
            return
        decay = min(self.config.ema, self.step / (9 + self.step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def check_weights(self) -> None:
        """`TrainingDiverged` where a weight or an average is not finite."""
        if not all_finite([self.model.state_dict(), self.average]):
            raise TrainingDiverged(
                f"weights are not finite after step {self.step}", remedy="lower lr"
            )

    def finish(self) -> None:
        """Leaves the model with the weights that are kept, in full precision."""
        # accelerate's, which would go on in reduced precision
        for name in ("forward", "_original_forward"):
            self.model.__dict__.pop(name, None)
        if self.average is not None:
            self.model.load_state_dict(self.average)


# --- the loop -------------------------------------------------------------------------------------

LOOK_EVERY = 50  # steps between looks at losses and norms, which wait on the device until then
SAVE_SECONDS = 60  # a state about so often, whatever a step takes


def _mean_loss(window: list[tuple[Tensor, Tensor]], engine, last: int) -> float:
    """Mean of the losses of the steps up to `last`, over all processes.

    window: of each step since the last look, its loss and the norm of its gradients, on the device.
    `TrainingDiverged` names the first step at which one of them is not finite in any process.
    """
    losses, norms = (torch.stack(column) for column in zip(*window))
    mean = engine.reduce(losses.mean(), "mean").item()
    finite = losses.isfinite() & norms.isfinite()
    everywhere = engine.reduce(finite.float(), "mean") == 1
    if not everywhere.all():
        first = int(everywhere.int().argmin())
        loss, norm = losses[first].item(), norms[first].item()
        problem = f"the norm of the gradients is {norm}"
        if not math.isfinite(loss):
            problem = f"the loss is {loss}"
        raise TrainingDiverged(
            f"{problem} at step {last - len(window) + 1 + first}",
            remedy="lower lr, or look at the batch of that step",
        )
    return mean


def _take_step(
    run: _Run, wrapped: nn.Module, batch: Batch, loss_weights: Mapping[str, float], engine
) -> tuple[Tensor, Tensor]:
    """One step; its loss and the norm of its gradients before clipping, left on the device."""
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(run.step, run.config)
    batch = {k: v.to(engine.device, non_blocking=True) for k, v in batch.items()}
    with engine.autocast():
        output = wrapped(**batch)
        loss = sum(weight * output[f"loss.{name}"] for name, weight in loss_weights.items())
    run.optimiser.zero_grad(set_to_none=True)
    engine.backward(loss)
    if run.config.clip_norm is None:
        norm = get_total_norm(p.grad for p in run.parameters if p.grad is not None)
    else:
        norm = engine.clip_grad_norm_(run.parameters, run.config.clip_norm)
    run.optimiser.step()
    run.step += 1
    run.follow()
    return loss.detach(), norm


def train(
    model: nn.Module,
    batches: BatchSource,
    config: TrainConfig,
    out: str | Path,
    *,
    loss_weights: Mapping[str, float],
    card: Mapping | None = None,
    device: str = "auto",
    progress: bool = True,
    label: str = "train",
) -> TrainResult:
    """Trains and writes `out/model.safetensors`; resumes from `out/state.pt`, reuses a finished
    training.

    model: `forward(**batch)` returns a dict with "loss.<name>" entries; their weighted sum is
    minimised. batches: each process asks for its own `share` of `batch_size`, so several processes
    see a batch of the same size. card: goes into the weight file's header, with the settings and
    the loss at the end; part of what "same training" means. The model itself is left with the final
    (averaged, if `ema`) weights.

    Of two processes that train the same, the second waits for the first, and reuses. Errors:
    `TrainingDiverged` where the loss, the gradients or the weights are no finite numbers any more;
    nothing of that is written, and the last state on disk stays. `Taken` where another training has
    finished in `out`.
    """
    weights, key = Path(out) / "model.safetensors", training_key(config, loss_weights, card)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not several and _is_finished(weights, key):
        return _reuse(weights, model.to(choose_device(device)), config)
    # of processes that torchrun started, the first has the lock, and the others wait for it
    locked = os.environ.get("RANK", "0") == "0"
    with alone(weights.parent, "the same training") if locked else nullcontext():
        precision, why = _precision(model, batches, config, device)
        engine = accelerator(device, precision)
        engine.wait_for_everyone()
        if _is_finished(weights, key):
            return _reuse(weights, model.to(engine.device), config)
        if config.batch_size % engine.num_processes:
            problem = f"batch_size {config.batch_size} does not divide among "
            raise BadParameter(f"{problem}{engine.num_processes} processes")
        shown = progress and engine.is_main_process
        if shown and why is not None:
            tqdm.write(f"{label}: {why}, so it computes in fp32", file=sys.stderr)
        run = _Run(model, config)
        shown = label if shown else None
        first, seconds = _learn(run, batches, loss_weights, engine, weights.parent, key, shown)
        if engine.is_main_process:
            facts = {"fingerprint": key, "train": settings_of(config), "history": run.history}
            facts["computed_in"] = "bf16" if engine.mixed_precision == "bf16" else "fp32"
            checkpoint.save(weights, model, {**(card or {}), **facts})
            (weights.parent / STATE).unlink(missing_ok=True)
        engine.wait_for_everyone()
    return TrainResult(weights, tuple(run.history), first, seconds)


def _is_finished(weights: Path, key: str) -> bool:
    """Whether this very training has; `Taken` where another one has."""
    if not weights.exists():
        return False
    if checkpoint.read_card(weights).get("fingerprint") != key:
        raise taken(weights)
    return True


def _learn(
    run: _Run,
    batches: BatchSource,
    loss_weights: Mapping[str, float],
    engine,
    folder: Path,
    key: str,
    label: str | None,
) -> tuple[int, float]:
    """All steps from where the state in `folder` stands; the first, and the seconds. label: of the
    progress bar, None for none.
    """
    config, state_path = run.config, folder / STATE
    if state_path.exists():
        run.restore(state_path, key)
    first = run.step
    wrapped = run.prepare(engine)
    loader = DataLoader(
        Steps(batches, config, engine.process_index),
        batch_size=None,
        sampler=range(first, config.steps),
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
    )
    started = saved = time.perf_counter()
    window = []
    with threads_for(run.model), _progress_bar(run, label) as bar:
        for batch in loader:
            window.append(_take_step(run, wrapped, batch, loss_weights, engine))
            last = run.step == config.steps
            due = run.step % config.save_every == 0
            if len(window) >= LOOK_EVERY or last or due:
                loss = _mean_loss(window, engine, run.step)
                rate = learning_rate(run.step - 1, config)
                run.history.append({"step": run.step, "loss": loss, "lr": rate})
                bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
                window = []
            bar.update()
            # where losses were looked at, so that the history does not tell when that was
            due |= not window and time.perf_counter() - saved > SAVE_SECONDS
            if last or due:
                run.check_weights()
            if due and not last and engine.is_main_process:
                run.save(state_path, key)
                saved = time.perf_counter()
    run.finish()
    return first, time.perf_counter() - started


def _reuse(weights: Path, model: nn.Module, config: TrainConfig) -> TrainResult:
    """A finished training from its file."""
    checkpoint.load(weights, model)
    if not all_finite(model.state_dict()):
        raise BadFile(
            "finished weights hold values that are not finite", file=weights, remedy=START_OVER
        )
    history = checkpoint.read_card(weights).get("history", ())
    return TrainResult(weights, tuple(history), config.steps, 0.0)


def _progress_bar(run: _Run, label: str | None) -> tqdm:
    calm = 0.1 if sys.stderr.isatty() else 10.0  # seconds between lines in a log
    return tqdm(
        total=run.config.steps,
        initial=run.step,
        desc=label,
        unit="step",
        disable=label is None,
        leave=False,
        mininterval=calm,
    )
