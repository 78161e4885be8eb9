"""The models by name, each with its configurations and the inputs that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import unknown
from ..skeletons import skeleton
from . import hanet, otpose, vissimcc
from .hanet import HANet, HANetConfig
from .otpose import OTPose, OTPoseConfig
from .port import Port, PortConfig
from .published import public_model as public_model
from .stdpose import STDPose, STDPoseConfig
from .vissimcc import VisSimCC, VisSimCCConfig


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


def _port_example(config: PortConfig, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
    n = len(skeleton(config.skeleton))
    xy = torch.randn(batch, n, 2, generator=generator)
    mask = torch.zeros(batch, n, dtype=torch.bool)
    mask[:, ::3] = True
    truth = xy + 0.1 * torch.randn(batch, n, 2, generator=generator)
    return {
        "xy": xy,
        "mask": mask,
        "truth": truth,
        "confidence": torch.rand(batch, n, generator=generator),
    }


def _hanet_example(
    config: HANetConfig, batch: int, generator: torch.Generator
) -> dict[str, Tensor]:
    t = 2 * config.interval + 1
    truth = torch.randn(batch, t, config.channels, generator=generator)
    xy = truth + 0.3 * torch.randn(batch, t, config.channels, generator=generator)
    weight = (
        torch.rand(batch, t, config.channels // config.coordinates, generator=generator) > 0.1
    ).float()
    return {"xy": xy, "truth": truth, "weight": weight}


def _vissimcc_example(
    config: VisSimCCConfig, batch: int, generator: torch.Generator
) -> dict[str, Tensor]:
    w, h = config.size
    k = len(skeleton(config.skeleton))
    return {
        "images": torch.randn(batch, 3, h, w, generator=generator),
        "visibility": torch.randint(0, 3, (batch, k), generator=generator),
        "xy_crop": torch.rand(batch, k, 2, generator=generator) * torch.tensor([w - 1.0, h - 1.0]),
    }


def _otpose_example(
    config: OTPoseConfig, batch: int, generator: torch.Generator
) -> dict[str, Tensor]:
    w, h = config.size
    return {
        "images": torch.randn(batch, 5, 3, h, w, generator=generator),
        "xy_crop": torch.rand(batch, config.joints, 2, generator=generator)
        * torch.tensor([w - 1.0, h - 1.0]),
        "weights": (torch.rand(batch, config.joints, generator=generator) > 0.1).float(),
    }


def _stdpose_example(
    config: STDPoseConfig, batch: int, generator: torch.Generator
) -> dict[str, Tensor]:
    w, h = config.size
    xy_crop = torch.rand(batch, 3, config.joints, 2, generator=generator) * torch.tensor(
        [w - 1.0, h - 1.0]
    )
    weights = (torch.rand(batch, 3, config.joints, generator=generator) > 0.1).float()
    return {
        "images": torch.randn(batch, 3, 3, h, w, generator=generator),
        "auxiliary_xy_crop": xy_crop[:, ::2],
        "auxiliary_weights": weights[:, ::2],
        "distance": torch.randint(1, 7, (batch, 2), generator=generator),
        "xy_crop": xy_crop[:, 1],
        "weights": weights[:, 1],
    }


VISSIMCC_SMALL = VisSimCCConfig(
    size=(96, 128),
    backbone="hrnet_w18_small",
    widths=(16, 16, 32, 48, 64),
    depths=(1, 1, 1, 1, 1),
    deconv=(),
    sigma=3.5,
    dim=64,
    visnet=(48, 24),
)
OTPOSE_SMALL = OTPoseConfig(
    size=(96, 128),
    backbone="hrnet_w18_small",
    widths=(16, 16, 32, 48, 64),
    depths=(1, 1, 1, 1, 1),
    sigma=1.5,
    occlusion_layers=2,
    layers=2,
    mlp_ratio=2,
    refine_channels=12,
    refine_blocks=1,
    dilations=(1, 2, 3, 4, 5),
    initial_std=None,
)  # a third of the paper's grid, and a third of its dilations


STDPOSE_SMALL = STDPoseConfig(
    size=(96, 128),
    backbone="hrnet_w18_small",
    widths=(16, 16, 32, 48, 64),
    depths=(1, 1, 1, 1, 1),
    token_channels=96,
    frozen=True,
    deconv=(40, 24),
    sigma=1.5,
    layers=2,
    blocks=2,
    heads=4,
    mlp_ratio=2,
    tks_channels=32,
    mi_channels=32,
)

MODELS: dict[str, Entry] = {
    "port": Entry(
        Port,
        {
            "paper": PortConfig(),
            "denoise": PortConfig(denoise=True, residual=True, confidence=True, frame="confidence"),
        },
        _port_example,
    ),
    "hanet": Entry(
        HANet,
        {
            "paper": HANetConfig(),
            # the Sub-JHMDB weights have dim 256: 287 M parameters
            "released": HANetConfig(mlp_ratio=4.0, **hanet.RELEASED),
        },
        _hanet_example,
    ),
    "vissimcc": Entry(
        VisSimCC,
        {
            "small": VISSIMCC_SMALL,
            "paper": VisSimCCConfig(),
            "released": VisSimCCConfig(**vissimcc.RELEASED),
        },
        _vissimcc_example,
    ),
    "otpose": Entry(
        OTPose,
        {
            "small": OTPOSE_SMALL,
            "paper": OTPoseConfig(),
            "released": OTPoseConfig(**otpose.RELEASED),
        },
        _otpose_example,
        large=frozenset({"paper", "released"}),
    ),
    "stdpose": Entry(
        STDPose,
        {"small": STDPOSE_SMALL, "paper": STDPoseConfig()},
        _stdpose_example,
        large=frozenset({"paper"}),
    ),
}


def entry(name: str) -> Entry:
    """The registered model of that name; `UnknownName` with near matches otherwise."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]


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
