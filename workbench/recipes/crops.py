"""Crops of rendered people: what the methods that read pictures learn from and are judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..data.windows import Augment, WindowConfig, Windows
from ..made.world import World
from ..made.worlds import cached_clips
from ..models.vissimcc import VisSimCC
from ..train import Batch, BatchSource, TrainConfig
from .base import Learned, Options, Recipe, Training, rows

PADDING = 1.25  # of a person's box; OTPose Sec. IV-B, STDPose Sec. 3
# milder than HRNet's: trainings are shorter
AUGMENT = Augment(scale=(0.75, 1.25), rotation_degrees=30.0, half_body=0.0)
# of estimators of single crops: Adam, SimCC's  # unstated; ours
TRAIN = TrainConfig(
    steps=2_000,
    batch_size=64,
    lr=2e-3,
    warmup_steps=200,
    ema=0.995,
    precision="bf16",
    workers=1,
)


@lru_cache(maxsize=8)
def _clips(world: World, split: str, n: int, folder: Path | None) -> tuple:
    return tuple(cached_clips(world, split, n, folder=folder))


@dataclass(frozen=True)
class Rendered:
    """A frozen world, and how many clips of each split a recipe takes of it.

    folder: of the clips; None: the user's cache.
    """

    world: World
    clips: Mapping[str, int]
    folder: Path | None = None

    def pairs(self, split: str, n: int | None = None) -> tuple:
        """(clip, frames) of the first n clips of a split, the recipe's own number by default."""
        return _clips(self.world, split, self.clips[split] if n is None else n, self.folder)

    @property
    def name(self) -> str:
        """Name and digest, for protocols and cards."""
        return f"{self.world.name} {self.world.digest()}"

    @property
    def words(self) -> dict:
        """Of the cards of what learns from it."""
        return {"padding": PADDING, "world": self.world.digest(), "data": self.world.name}


def window_config(
    config, offsets: tuple[int, ...] = (0,), augment: Augment = AUGMENT
) -> WindowConfig:
    """Crops as a model wants them; offsets: frames beside the key frame."""
    return WindowConfig(
        size=config.size,
        offsets=offsets,
        padding=PADDING,
        alignment=config.alignment,
        augment=augment,
    )


def joint_batches(windows: Windows, size: int, joints: str = "labelled") -> BatchSource:
    """Crops of single pictures with their labels; joints: whose loss counts, or "visible"."""

    def source(_step: int, rng: np.random.Generator) -> Batch:
        drawn = windows.batch(rng.integers(len(windows), size=size), rng)
        batch = {name: drawn[name][:, 0] for name in ("visibility", "xy_crop")}
        images = drawn["images"][:, 0]
        batch["images"] = images.contiguous(memory_format=torch.channels_last)
        batch["weights"] = (batch["visibility"] > (joints == "visible")).float()
        return batch

    return source


def joint_training(
    model: VisSimCC,
    windows: Callable[[], Windows],
    settings: TrainConfig,
    words: Mapping,
    label: str,
    text: str = "people",
    joints: str = "labelled",
) -> Training:
    """How an estimator of single crops learns."""
    losses = {"pose": 1.0}
    if model.config.reasoning and model.config.visibility == "predicted":
        losses["visibility"] = 1.0
    model = model.to(memory_format=torch.channels_last)
    batches = lambda size: joint_batches(windows(), size, joints)  # noqa: E731
    return Training("vissimcc", model, batches, settings, losses, words, label, text)


def key_batches(windows: Windows, size: int) -> BatchSource:
    """Crops of several frames with the key frame's labels, and how far from it they are."""
    key = windows.config.key

    def source(_step: int, rng: np.random.Generator) -> Batch:
        batch = windows.batch(rng.integers(len(windows), size=size), rng)
        labels = {name: batch[name][:, key] for name in ("xy_crop", "weights")}
        return {"images": batch["images"], "distance": frame_distance(batch, key), **labels}

    return source


def frame_distance(batch: Batch, key: int) -> Int[Tensor, "b t"]:
    """How many frames a batch's crops are from the key frame: where a clip begins or ends, its
    first or last frame stands in.
    """
    return (batch["frames"] - batch["frames"][:, key : key + 1]).abs()


def shipped_card(
    recipe: Recipe,
    variant: str,
    learned: Learned,
    options: Options,
    *,
    title: str,
    of: str,
    case: object = None,
) -> dict:
    """What a shipped file says of its rows on rendered people; title: of a row, by its words; of:
    what was measured, after how many clips.
    """
    task = recipe.tasks["synthetic"](recipe, options)
    lines = rows(task.scores(case, {variant: learned.predictor}))
    return {
        "metrics": {title.format(**line): line["metrics"] for line in lines},
        "metrics_data": f"{recipe.own.name}, {recipe.own.clips['test']} test {of}",
        "licence": "Apache-2.0; trained on rendered people alone",
    }
