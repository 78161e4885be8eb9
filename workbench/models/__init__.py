"""The models by name; a model's file is imported when it is asked for, and with it what it needs:
timm alone takes longer than torch.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

from torch import nn

from ..errors import unknown
from .entry import Entry

# where the `ENTRY` of each model is
MODELS = {name: f"{__name__}.{name}" for name in ("port", "hanet", "vissimcc", "otpose", "stdpose")}


def entry(name: str) -> Entry:
    """The registered model of that name; `UnknownName` with near matches otherwise."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return import_module(MODELS[name]).ENTRY


def config_of(name: str, config: str = "paper", **overrides) -> Any:
    """A named configuration, with fields replaced; unknown fields are refused by name."""
    known = entry(name).configs
    if config not in known:
        raise unknown(f"configuration of {name}", config, known)
    base = known[config]
    for key in overrides:
        if key not in base.__dataclass_fields__:
            raise unknown(f"field of {type(base).__name__}", key, base.__dataclass_fields__)
    return replace(base, **overrides)


def build(name: str, config: str | Any = "paper", **overrides) -> nn.Module:
    """A model with fresh weights, from a configuration's name or a configuration."""
    if isinstance(config, str):
        config = config_of(name, config)
    return entry(name).build(replace(config, **overrides))
