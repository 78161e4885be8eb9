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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pooch
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from . import checkpoint
from .errors import BadFile, BadParameter, CheckpointMismatch
from .resources import write_beside

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
    precision: str = "no"  # "no" or "bf16", accelerate's mixed precision
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
        return config.lr * 0.1 ** sum(step >= share * config.steps for share in config.drops)
    if not config.cosine:
        return config.lr
    done = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def fingerprint(*parts) -> str:
    """Hash of JSON-able settings: what a training state belongs to."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def trained_folder(method: str) -> Path:
    """Where a method's trained models are kept and reused."""
    return Path(pooch.os_cache("occlusion-workbench")) / "trained" / method


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


class _Steps(Dataset):
    """Item i is batch i; the generator's seed is (seed, step, rank)."""

    def __init__(self, source: BatchSource, config: TrainConfig, rank: int):
        self.source, self.seed, self.steps, self.rank = source, config.seed, config.steps, rank
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
    if device not in ("auto", "cpu", "cuda"):
        raise BadParameter(f"device is {device!r}", remedy="choose auto, cpu or cuda")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise BadParameter(
            "device is 'cuda', but torch sees no accelerator here", remedy="use auto or cpu"
        )
    return device


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


def _save_state(path: Path, state: dict) -> None:
    write_beside(path, lambda beside: torch.save(state, beside))


STATE_KEYS = {"fingerprint", "step", "model", "optimiser", "average", "history"}


def _load_state(path: Path, key: str, config: TrainConfig) -> dict:
    """A state of this training, whole and sound; anything else is a named error, never a start
    from nonsense.
    """
    remedy = "delete it to start over"
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not check the sums
            if archive.testzip() is not None:
                raise BadFile(
                    "training state is damaged: a checksum inside is wrong",
                    file=path,
                    remedy=remedy,
                )
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        zipfile.BadZipFile,
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        KeyError,
        OSError,
    ) as error:
        raise BadFile(
            f"training state cannot be read: {type(error).__name__}", file=path, remedy=remedy
        ) from error
    if not isinstance(state, dict) or set(state) != STATE_KEYS:
        raise BadFile("not a training state", file=path, remedy=remedy)
    if state["fingerprint"] != key:
        raise CheckpointMismatch(
            "this training state belongs to other settings",
            file=path,
            remedy="choose another folder, or delete it to start over",
        )
    weights = [state["model"]] + ([state["average"]] if config.ema is not None else [])
    sound = (
        isinstance(state["step"], int)
        and 0 < state["step"] < config.steps
        and isinstance(state["history"], list)
        and all(
            isinstance(w, dict) and all(torch.isfinite(t).all() for t in w.values())
            for w in weights
        )
    )
    if not sound:
        raise BadFile(
            "training state holds a step, history or weights that cannot be",
            file=path,
            remedy=remedy,
        )
    return state


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
    """
    out = Path(out)
    weights, state_path = out / "model.safetensors", out / "state.pt"
    key = training_key(config, loss_weights, card)
    if weights.exists() and checkpoint.read_card(weights).get("fingerprint") == key:
        checkpoint.load(weights, model.to(choose_device(device)))
        history = tuple(checkpoint.read_card(weights).get("history", ()))
        return TrainResult(weights, history, config.steps, 0.0)

    engine = accelerator(device, config.precision)
    if config.batch_size % engine.num_processes:
        raise BadParameter(
            f"batch_size {config.batch_size} does not divide among {engine.num_processes} processes"
        )
    kind = torch.optim.AdamW if config.weight_decay else torch.optim.Adam
    optimiser = kind(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    first, history = 0, []
    average = (
        {k: v.detach().clone() for k, v in model.state_dict().items()}
        if config.ema is not None
        else None
    )
    if state_path.exists():
        state = _load_state(state_path, key, config)
        try:
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadFile(
                f"training state does not fit the model: {error}",
                file=state_path,
                remedy="delete it to start over",
            ) from error
        average = state["average"]
        first, history = state["step"], state["history"]
    model.train()
    wrapped, optimiser = engine.prepare(model, optimiser)
    if average is not None:
        average = {k: v.to(engine.device) for k, v in average.items()}
    loader = DataLoader(
        _Steps(batches, config, engine.process_index),
        batch_size=None,
        sampler=range(first, config.steps),
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
    )
    started, window = time.perf_counter(), []
    show = progress and engine.is_main_process
    calm = 0.1 if sys.stderr.isatty() else 10.0  # seconds between lines in a log
    with tqdm(
        total=config.steps,
        initial=first,
        desc=label,
        unit="step",
        disable=not show,
        leave=False,
        mininterval=calm,
    ) as bar:
        for step, batch in zip(range(first, config.steps), loader):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, config)
            batch = {k: v.to(engine.device, non_blocking=True) for k, v in batch.items()}
            with engine.autocast():
                output = wrapped(**batch)
                loss = sum(w * output[f"loss.{name}"] for name, w in loss_weights.items())
            optimiser.zero_grad(set_to_none=True)
            engine.backward(loss)
            if config.clip_norm is not None:
                engine.clip_grad_norm_(wrapped.parameters(), config.clip_norm)
            optimiser.step()
            if average is not None:
                decay = min(config.ema, (1 + step) / (10 + step))
                for name, value in model.state_dict().items():
                    if value.is_floating_point():
                        average[name].lerp_(value, 1 - decay)
                    else:
                        average[name].copy_(value)
            window.append(loss.detach())
            last = step + 1 == config.steps
            if len(window) >= 50 or last or (step + 1) % config.save_every == 0:
                mean = engine.reduce(torch.stack(window).mean(), "mean").item()
                if not math.isfinite(mean):
                    raise BadParameter(
                        f"the loss is {mean} at step {step + 1}",
                        remedy="lower lr, or look at the batch of that step",
                    )
                history.append({"step": step + 1, "loss": mean, "lr": learning_rate(step, config)})
                bar.set_postfix(loss=f"{mean:.4g}", refresh=False)
                window = []
            bar.update()
            if (step + 1) % config.save_every == 0 and not last and engine.is_main_process:
                _save_state(
                    state_path,
                    {
                        "fingerprint": key,
                        "step": step + 1,
                        "model": model.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "average": average,
                        "history": history,
                    },
                )
    # accelerate's, which would go on in reduced precision
    for name in ("forward", "_original_forward"):
        model.__dict__.pop(name, None)
    if average is not None:
        model.load_state_dict(average)
    seconds = time.perf_counter() - started
    if engine.is_main_process:
        full = {
            **(card or {}),
            "fingerprint": key,
            "train": settings_of(config),
            "history": history,
        }
        checkpoint.save(weights, model, full)
        state_path.unlink(missing_ok=True)
    engine.wait_for_everyone()
    return TrainResult(weights, tuple(history), first, seconds)
