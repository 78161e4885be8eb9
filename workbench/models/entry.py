"""What a model file says of its model: how it is built, in which sizes, and what it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Entry:
    """A registered model: how it is built, and one made-up batch of inputs for tests and
    benchmarks.
    """

    build: Callable[[Any], nn.Module]
    configs: Mapping[str, Any]
    # (config, batch size, generator) -> forward's keyword arguments
    example: Callable[[Any, int, torch.Generator], dict[str, Tensor]]
    # configurations that want an accelerator: tests on a CPU leave them out
    large: frozenset[str] = frozenset()
