"""ViTPose: transformers' weights into timm's ViT, tokens and heatmaps of both heads."""

from __future__ import annotations

import torch

from workbench.models.backbones import Backbone, HeatmapHead, KeypointMaps
from workbench.models.published import public_weights

from .harness import Check, Result


def compute(header: dict[str, str], t: dict) -> Result:
    weights = {
        k.removeprefix("weight."): torch.tensor(v) for k, v in t.items() if k.startswith("weight.")
    }
    h, w = _pair(header["image_HxW"])
    widths = int(header["hidden"]), int(header["heads"])
    backbone = Backbone("vit_base_patch16_224", (w, h), widths, (int(header["depth"]),))
    if header["simple_decoder"] == "True":
        head = {"kernel": 3, "upsample": 4}
    else:
        head = {"deconv": tuple(weights[f"head.deconv{i}.weight"].shape[1] for i in (1, 2))}
    model = KeypointMaps(backbone, HeatmapHead(widths[0], int(header["K"]), **head)).eval()
    ours = public_weights(weights)
    counters = {k: v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")}
    model.load_state_dict(ours | counters)
    with torch.no_grad():
        image = torch.tensor(t["in.image"])
        tokens = backbone(image).flatten(2).mT
        return Result({"out.tokens": tokens.numpy(), "out.heatmaps": model(image).numpy()})


def _pair(text: str) -> tuple[int, int]:
    first, second = text.strip("()").split(",")
    return int(first), int(second)


CHECK = Check("vitpose", lambda h: h.get("cls") == "VitPoseForPoseEstimation", compute)
