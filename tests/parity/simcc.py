"""SimCC on ResNet and HRNet: public weights into timm's networks, outputs, labels, loss with its
gradients, decoding.
"""

from __future__ import annotations

import json

import torch
from torch.nn import Conv2d
from torch.nn.functional import mse_loss

from workbench import checkpoint, codecs
from workbench.models.published import estimator_weights, public_weights
from workbench.models.vissimcc import VisSimCC, VisSimCCConfig
from workbench.taps import record

from .harness import Check, Result


def compute(header: dict[str, str], t: dict) -> Result:
    weights = {
        k.removeprefix("weight."): torch.tensor(v) for k, v in t.items() if k.startswith("weight.")
    }
    size = tuple(map(int, header["image_WxH"].split("x")))
    split, sigma = float(header["split_ratio"]), float(header["sigma"])
    deconv = tuple(json.loads(header["deconv_filters"].replace("None", "[]")))

    def count(prefix: str) -> int:
        return len({k.removeprefix(prefix).split(".")[0] for k in weights if k.startswith(prefix)})

    if header["cls"] == "PoseHighResolutionNet":
        widths = len(weights["layer1.0.bn1.weight"]), *json.loads(header["channels"])
        modules = (count(f"stage{i}.") for i in (2, 3, 4))
        network = {"backbone": "hrnet_w32", "widths": widths}
        network["depths"] = count("layer1."), *modules, count("stage2.0.branches.0.")
    else:
        stages = (1, 2, 3, 4)
        network = {
            "backbone": "resnet50",
            "widths": tuple(len(weights[f"layer{i}.0.bn1.weight"]) for i in stages),
        }
        network["depths"] = tuple(count(f"layer{i}.") for i in stages)
    config = VisSimCCConfig(
        size=size,
        deconv=deconv,
        head_kernel=int(header["final_kernel"]),
        split=split,
        sigma=sigma,
        alignment="msra",
        reasoning=False,
        mean_loss=True,
        released_labels=True,
        **network,
    )
    model = VisSimCC(config).eval()
    channels, *kernel = weights["final_layer.weight"].shape[1:]
    # any number of joints
    model.maps.head.final = Conv2d(channels, int(header["K"]), kernel, padding=kernel[0] // 2)
    checkpoint.load_into(model, estimator_weights(public_weights(weights)))
    with record(model, ["maps.out", "classify.x", "classify.y"]) as taps, torch.no_grad():
        found = model(torch.tensor(t["in.image"]))
    logits = tuple(taps[f"classify.{axis}"].requires_grad_() for axis in "xy")
    xy, score = model.decode(found)
    joints, labelled = (
        torch.tensor(t["in.joints"])[..., :2],
        torch.tensor(t["in.joints_vis"])[..., 0] > 0,
    )
    *target, weight = codecs.encode_simcc_released(joints, labelled, size, split, sigma)
    loss = codecs.simcc_loss(logits, tuple(target), weight, mean_bins=True)
    grads = torch.autograd.grad(loss, logits)
    maps = taps["maps.out"]
    heat = codecs.encode_heatmaps(
        joints / 4, labelled.float(), model.grid, sigma, quantised=True, cut=3.0
    )
    heat_weight = (heat.amax((-2, -1)) > 0).float()
    mse = codecs.heatmap_loss(maps, heat, heat_weight) / (2 * maps[0].numel())
    assert torch.allclose(mse, mse_loss(maps * heat_weight[..., None, None], heat) / 2)
    out = {
        "mid.heatmap": maps,
        "out.pred_x": logits[0],
        "out.pred_y": logits[1],
        "out.grad_pred_x": grads[0],
        "out.grad_pred_y": grads[1],
        "out.kl_loss": loss,
        "out.target_x": target[0],
        "out.target_y": target[1],
        "out.target_weight": weight[..., None],
        "out.decoded_xy": xy,
        "out.decoded_score": score[..., None],
        "out.heatmap_target": heat,
        "out.heatmap_target_weight": heat_weight[..., None],
        "out.heatmap_mse": mse,
    }
    reason = (
        "of SimDR, SimCC's earlier form with one bin for a label: the paper's method uses "
        "Gaussian labels"
    )
    left = dict.fromkeys((k for k in t if k.startswith(("out.simdr_", "out.nmt"))), reason)
    return Result({k: v.detach().numpy() for k, v in out.items()}, left)


CHECK = Check("simcc", lambda h: "SimCC" in h.get("repo", "") and "split_ratio" in h, compute)
