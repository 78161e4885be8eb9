"""What a model file says of its model: how it is built, in which sizes, and what it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

# metadata of a configuration's field that older weight files do not know; it is off by default
LATER = {"later": True}


def words_of(config: Any) -> dict[str, Any]:
    """A configuration as a card keeps it: `LATER` fields stand there only where they are used."""
    values = asdict(config)
    unused = {f.name for f in fields(config) if f.metadata == LATER and values[f.name] == f.default}
    return {name: value for name, value in values.items() if name not in unused}


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
