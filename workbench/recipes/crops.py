"""Crops of rendered people: what the methods that read pictures learn from and are judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ..data.windows import Augment, WindowConfig, Windows
from ..made.world import World
from ..made.worlds import cached_clips
from ..train import Batch

PADDING = 1.25  # of a person's box; OTPose Sec. IV-B, STDPose Sec. 3
# milder than HRNet's: trainings are shorter
AUGMENT = Augment(scale=(0.75, 1.25), rotation_degrees=30.0, half_body=0.0)


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


def joint_batches(
    windows: Windows, size: int, joints: str = "labelled"
) -> Callable[[int, np.random.Generator], Batch]:
    """Crops of single pictures with their labels; joints: whose loss counts, or "visible"."""

    def source(_step: int, rng: np.random.Generator) -> Batch:
        drawn = windows.batch(rng.integers(len(windows), size=size), rng)
        batch = {name: drawn[name][:, 0] for name in ("visibility", "xy_crop")}
        images = drawn["images"][:, 0]
        batch["images"] = images.contiguous(memory_format=torch.channels_last)
        batch["weights"] = (batch["visibility"] > (joints == "visible")).float()
        return batch

    return source
