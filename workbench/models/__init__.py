"""The models by name, each with its configurations and the inputs that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import unknown
from ..skeletons import skeleton
from .hanet import RELEASED, HANet, HANetConfig
from .otpose import RELEASED as OTPOSE_RELEASED
from .otpose import OTPose, OTPoseConfig
from .port import Port, PortConfig
from .stdpose import TABLE_4, STDPose, STDPoseConfig
from .vissimcc import RELEASED as VISIBILITY_RELEASED
from .vissimcc import VisSimCC, VisSimCCConfig


@dataclass(frozen=True)
class Entry:
    """A registered model: how it is built, and one made-up batch of inputs for tests and
    benchmarks.
    """

    build: Callable[[Any], nn.Module]
    configs: Mapping[str, Any]
    example: Callable[
        [Any, int, torch.Generator], dict[str, Tensor]
    ]  # (config, batch size, generator) -> forward's kwargs
    # by a released configuration, or frozen
    unused_parameters: Callable[[Any], set[str]] = lambda config: set()
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
    (w, h), k = config.size, len(skeleton(config.skeleton))
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


HANET_TINY = HANetConfig(channels=10, interval=3, dim=8, levels=2, decoder_levels=2, heads=2)
PORT_TINY = PortConfig(dim=12, depth=2, heads=2, head_dim=6)
VISSIMCC_TINY = VisSimCCConfig(
    size=(32, 64),
    backbone="resnet18",
    widths=(8, 8, 12, 16),
    depths=(1, 1, 1, 1),
    deconv=(11, 7),
    split=1.5,
    sigma=3.0,
    dim=10,
    layers=2,
    visnet=(7, 5),
)
VISSIMCC_TINY_HRNET = replace(
    VISSIMCC_TINY,
    skeleton="crowdpose14",
    backbone="hrnet_w18_small",
    widths=(4, 4, 6, 8, 10),
    depths=(1, 1, 1, 1, 1),
    deconv=(),
    output="heatmap",
)
VISSIMCC_TINY_VIT = replace(
    VISSIMCC_TINY,
    backbone="vit_tiny_patch16_224",
    widths=(12, 2),
    depths=(2,),
    deconv=(),
    head_kernel=3,
    head_upsample=4,
    output="heatmap",
    reasoning=False,
)
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
OTPOSE_TINY = OTPoseConfig(
    size=(32, 64),
    backbone="hrnet_w18_small",
    widths=(4, 4, 6, 8, 10),
    depths=(1, 1, 1, 1, 1),
    sigma=1.0,
    occlusion_layers=1,
    layers=2,
    mlp_ratio=1,
    refine_channels=6,
    refine_blocks=1,
    dilations=(1, 2),
    initial_std=None,
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


def _stdpose_frozen(config: STDPoseConfig) -> set[str]:
    """What stays as it is in training."""
    names = (name for name, _ in STDPose(config).named_parameters())
    return {name for name in names if config.frozen and name.startswith(("backbone.", "head."))}


STDPOSE_TINY = STDPoseConfig(
    size=(32, 48),
    backbone="vit_tiny_patch16_224",
    widths=(12, 2),
    depths=(1,),
    deconv=(7, 5),
    sigma=1.0,
    layers=1,
    blocks=1,
    heads=2,
    mlp_ratio=1,
    joint_channels=1,
    tks_channels=6,
    mi_channels=8,
    frame_weight=1.0,
)
STDPOSE_TINY_HRNET = replace(
    STDPOSE_TINY,
    size=(32, 64),
    backbone="hrnet_w18_small",
    widths=(4, 4, 6, 8, 10),
    depths=(1, 1, 1, 1, 1),
    token_channels=12,
    frame_weight=0.0,
)
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
            "tiny": PORT_TINY,
            "tiny_plain": replace(
                PORT_TINY, se=False, exponents=(), shared_weight=True
            ),  # the other ends of the switches
            "tiny_leak_free": replace(PORT_TINY, leak_free=True),
            "paper": PortConfig(),
            "denoise": PortConfig(denoise=True, residual=True, confidence=True, frame="confidence"),
        },
        _port_example,
    ),
    "hanet": Entry(
        HANet,
        {
            "tiny": HANET_TINY,
            "tiny_released": replace(HANET_TINY, **RELEASED),
            "tiny_plain": replace(
                HANET_TINY,
                hierarchical=False,
                flow=False,
                velocity=False,
                acceleration=False,
                affine=False,
                neighbours=False,
                norms=(),
            ),
            "paper": HANetConfig(),
            # the Sub-JHMDB weights have dim 256: 287 M parameters
            "released": HANetConfig(mlp_ratio=4.0, **RELEASED),
        },
        _hanet_example,
    ),
    "vissimcc": Entry(
        VisSimCC,
        {
            "tiny": VISSIMCC_TINY,
            "tiny_released": replace(VISSIMCC_TINY, **VISIBILITY_RELEASED),
            "tiny_plain": replace(VISSIMCC_TINY, reasoning=False),
            "tiny_naive": replace(VISSIMCC_TINY, visibility="none", residual="none"),
            "tiny_hrnet": VISSIMCC_TINY_HRNET,
            "tiny_vit": VISSIMCC_TINY_VIT,
            "small": VISSIMCC_SMALL,
            "paper": VisSimCCConfig(),
            "released": VisSimCCConfig(**VISIBILITY_RELEASED),
        },
        _vissimcc_example,
    ),
    "otpose": Entry(
        OTPose,
        {
            "tiny": OTPOSE_TINY,
            "tiny_released": replace(
                OTPOSE_TINY, **OTPOSE_RELEASED | {"layers": 2, "occlusion_layers": 1}
            ),
            "tiny_one_branch": replace(OTPOSE_TINY, branches=("prev",), occlusion_encoder=False),
            "tiny_no_encoder": replace(OTPOSE_TINY, occlusion_encoder=False),
            "tiny_flow_label": replace(OTPOSE_TINY, pseudo_label="flow"),
            "tiny_window": replace(OTPOSE_TINY, window=19),
            "small": OTPOSE_SMALL,
            "paper": OTPoseConfig(),
            "released": OTPoseConfig(**OTPOSE_RELEASED),
        },
        _otpose_example,
        large=frozenset({"paper", "released"}),
    ),
    "stdpose": Entry(
        STDPose,
        {
            "tiny": STDPOSE_TINY,
            **{
                f"tiny_{row}": replace(STDPOSE_TINY, **fields)
                for row, fields in TABLE_4.items()
                if row != "f"
            },
            "tiny_padded": replace(STDPOSE_TINY, size=(24, 40), alignment="msra", frame_weight=0.0),
            "tiny_hrnet": STDPOSE_TINY_HRNET,
            "tiny_hrnet_b": replace(STDPOSE_TINY_HRNET, **TABLE_4["b"], frame_weight=1.0),
            "small": STDPOSE_SMALL,
            "paper": STDPoseConfig(),
        },
        _stdpose_example,
        unused_parameters=_stdpose_frozen,
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
    made = (
        config_of(name, config, **overrides)
        if isinstance(config, str)
        else replace(config, **overrides)
    )
    return entry(name).build(made)
