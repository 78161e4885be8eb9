"""Configurations of prime sizes, small enough for a CPU in tests; `tiny` names them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from workbench.errors import unknown
from workbench.models import hanet, otpose, stdpose, vissimcc
from workbench.models.hanet import HANetConfig
from workbench.models.otpose import OTPoseConfig
from workbench.models.port import PortConfig
from workbench.models.stdpose import STDPoseConfig
from workbench.models.vissimcc import VisSimCCConfig

HANET = HANetConfig(channels=10, interval=3, dim=8, levels=2, decoder_levels=2, heads=2)
PORT = PortConfig(dim=12, depth=2, heads=2, head_dim=6)
VISSIMCC = VisSimCCConfig(
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
VISSIMCC_HRNET = replace(
    VISSIMCC,
    skeleton="crowdpose14",
    backbone="hrnet_w18_small",
    widths=(4, 4, 6, 8, 10),
    depths=(1, 1, 1, 1, 1),
    deconv=(),
    output="heatmap",
)
VISSIMCC_VIT = replace(
    VISSIMCC,
    backbone="vit_tiny_patch16_224",
    widths=(12, 2),
    depths=(2,),
    deconv=(),
    head_kernel=3,
    head_upsample=4,
    output="heatmap",
    reasoning=False,
)
OTPOSE = OTPoseConfig(
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
STDPOSE = STDPoseConfig(
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
    mi_estimator="gaussian",
    mi_channels=8,
    frame_weight=1.0,
)
STDPOSE_HRNET = replace(
    STDPOSE,
    size=(32, 64),
    backbone="hrnet_w18_small",
    widths=(4, 4, 6, 8, 10),
    depths=(1, 1, 1, 1, 1),
    token_channels=12,
    frame_weight=0.0,
)

TINY = {
    "port": {
        "": PORT,
        # the other ends of the switches
        "plain": replace(PORT, se=False, exponents=(), shared_weight=True),
        "leak_free": replace(PORT, leak_free=True),
    },
    "hanet": {
        "": HANET,
        "released": replace(HANET, **hanet.RELEASED),
        "plain": replace(
            HANET,
            hierarchical=False,
            flow=False,
            velocity=False,
            acceleration=False,
            affine=False,
            neighbours=False,
            norms=(),
        ),
    },
    "vissimcc": {
        "": VISSIMCC,
        "released": replace(VISSIMCC, **vissimcc.RELEASED),
        "plain": replace(VISSIMCC, reasoning=False),
        "naive": replace(VISSIMCC, visibility="none", residual="none"),
        "hrnet": VISSIMCC_HRNET,
        "vit": VISSIMCC_VIT,
    },
    "otpose": {
        "": OTPOSE,
        "released": replace(OTPOSE, **otpose.RELEASED | {"layers": 2, "occlusion_layers": 1}),
        "one_branch": replace(OTPOSE, branches=("prev",), occlusion_encoder=False),
        "no_encoder": replace(OTPOSE, occlusion_encoder=False),
        "flow_label": replace(OTPOSE, pseudo_label="flow"),
        "window": replace(OTPOSE, window=19),
        "difference": replace(
            OTPOSE, temporal="difference", occlusion_encoder=False, difference_channels=7
        ),
    },
    "stdpose": {
        "": STDPOSE,
        **{row: replace(STDPOSE, **fields) for row, fields in stdpose.TABLE_4.items() if fields},
        "printed": replace(STDPOSE, mi_estimator="printed"),
        "variational": replace(
            STDPOSE, mi_estimator="variational", mi_share=0.3, dam_reads="own", fused_weight=0.5
        ),
        "padded": replace(STDPOSE, size=(24, 40), alignment="msra", frame_weight=0.0),
        "hrnet": STDPOSE_HRNET,
        "hrnet_b": replace(STDPOSE_HRNET, **stdpose.TABLE_4["b"], frame_weight=1.0),
    },
}


def tiny(model: str, variant: str = "", **overrides) -> Any:
    """The tiny configuration of a model, or one of its variants, with fields replaced."""
    if variant not in TINY[model]:
        raise unknown(f"tiny {model}", variant, TINY[model])
    return replace(TINY[model][variant], **overrides)
