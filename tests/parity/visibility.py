"""The released visibility module: VisNet, masks, transformer, classifiers, losses and gradients."""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from workbench import codecs
from workbench.models.published import renamed
from workbench.models.vissimcc import (
    RELEASED,
    VisibilityReasoning,
    VisSimCCConfig,
    label_mask,
    released_visibility_loss,
)
from workbench.taps import record

from .harness import Check, Result

RENAMED = (
    (r"^visnet\.conv([123])\.", lambda number: f"reasoning.visnet.{2 * int(number[1]) - 2}."),
    (r"^encoder\.embedding_layer\.embed\.(\d)\.", r"reasoning.embed.\1."),
    (r"^encoder\.fc\.", "reasoning.project."),
    (r"^encoder\.layers\.", "reasoning.blocks."),
    (r"\.attention\.(query|key|value)_matrix\.", r".\1."),
    (r"\.attention\.out\.", ".project."),
    (r"\.feed_forward\.", ".mlp."),
    (r"^output\.mlp_head_([xy])\.", r"classify.\1."),
)


def released_weights(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the released module under our names; its convolutions over one position become
    linear maps.
    """
    ours = renamed(tensors, RENAMED)
    one_position = re.compile(r".*\.visnet\..*weight$")
    return {k: v.squeeze(-1) if one_position.match(k) else v for k, v in ours.items()}


def compute(header: dict[str, str], t: dict) -> Result:
    heatmap = torch.tensor(t["in.heatmap"], requires_grad=True)
    weights = released_weights(
        {k.removeprefix("weight."): torch.tensor(v) for k, v in t.items() if k[:7] == "weight."}
    )
    config = VisSimCCConfig(
        dim=int(header["embed"]),
        layers=int(header["layers"]),
        heads=int(header["heads"]),
        mlp_ratio=int(header["expansion"]),
        visnet=tuple(len(weights[f"reasoning.visnet.{i}.bias"]) for i in (0, 2)),
        **{**RELEASED, "visibility": "predicted", "raw_labels": False},
    )
    feature = heatmap.flatten(2)
    module = VisibilityReasoning(feature.shape[-1], config).eval()
    module.load_state_dict(
        {k.removeprefix("reasoning."): v for k, v in weights.items() if k.startswith("reasoning.")}
    )
    heads = [weights[f"classify.{axis}.weight"] for axis in "xy"]

    def run(source: str, labels=None, raw: bool = False) -> tuple[torch.Tensor, torch.Tensor, dict]:
        module.config = replace(config, raw_labels=raw)
        with record(module, ["mask"]) as taps:
            found = module(feature, labels, source)
        return found["feature"], taps["mask"], found

    labels = torch.tensor(t["in.visibility_raw012"]).long()
    encoded, mask, found = run("predicted")
    true, true_mask, _ = run("truth", labels)
    shipped, shipped_mask, _ = run("truth", labels, raw=True)
    logits = tuple(encoded @ w.T for w in heads)
    target = tuple(torch.tensor(t[f"in.target_{axis}"]) for axis in "xy")
    pose = codecs.simcc_loss(
        logits, target, torch.tensor(t["in.target_weight"])[..., 0], mean_bins=True
    )
    visible = labels == 2
    vis = released_visibility_loss(found["logits"], visible)
    total = pose + config.visibility_weight * vis
    grads = torch.autograd.grad(total, (heatmap, module.visnet[0].weight))
    out = {
        "visnet_prob": found["visibility"],
        "visnet_category": (found["visibility"] >= config.threshold).float(),
        "mask.pred": mask,
        "mask.gt_binary": true_mask,
        "mask.raw_state_as_shipped": shipped_mask,
        "mask.get_GT_visibility_mask(raw)": label_mask(labels, config.hidden),
        "gt_binary": visible.float(),
        "encoder": encoded,
        "encoder_gtmask": true,
        "encoder_nomask": run("none")[0],
        "encoder_rawmask_as_shipped": shipped,
        "pred_x": logits[0],
        "pred_y": logits[1],
        "pred_x_rawmask_as_shipped": shipped @ heads[0].T,
        "kl_loss": pose,
        "visibility_ce": vis,
        "total_lambda1": total,
        "grad_heatmap": grads[0],
        "grad_visnet_conv1_weight": grads[1][..., None],
    }
    return Result({f"out.{k}": v.detach().numpy() for k, v in out.items()})


CHECK = Check("visibility", lambda h: "Occluded-Pose-Reasoning" in h.get("repo", ""), compute)
