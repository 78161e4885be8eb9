"""OTPose's released pieces: flows and masks, encoders, residual steps, refinement, loss."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from workbench.models.otpose import (
    RELEASED,
    Encoder,
    OTPoseConfig,
    Refine,
    branch_features,
    keypoint_flows,
    occlusion_masks,
    released_errors,
    released_loss,
    steps_blocks,
)
from workbench.taps import record

from .harness import Check, Result

_NAMES = (
    (r"^stem\.(\d+)\.attn\.(query|key|value)_conv\.", r"blocks.\1.\2.0.conv."),
    (r"^stem\.(\d+)\.attn\.(query|key|value)_norm\.", r"blocks.\1.\2.0.norm."),
    (r"^stem\.(\d+)\.attn\.(query|key|value)\.", r"blocks.\1.\2.0.mix."),
    (r"^stem\.(\d+)\.attn\.proj\.", r"blocks.\1.project."),
    (r"^stem\.(\d+)\.ln(\d)\.", r"blocks.\1.norm\2."),
    (r"^stem\.(\d+)\.mlp\.0\.", r"blocks.\1.mlp.0."),
    (r"^stem\.(\d+)\.mlp\.\d\.", r"blocks.\1.mlp.2."),
    (r"^stem\.(\d+)\.drop_path_attn\.scale$", r"blocks.\1.layer_scale1"),
    (r"^stem\.(\d+)\.drop_path_mlp\.scale$", r"blocks.\1.layer_scale2"),
    (r"^def_fuse\.", "fuse."),
    (r"^offset_mask_combine_conv\.", "combine."),
    (r"(^|\.)layers\.(\d+)\.", r"\1\2."),
    (r"conv_bn_relu1\.", "first."),
    (r"conv_bn_relu2_(\d)_(\d)\.", lambda m: f"steps.{int(m[1]) - 1}.{int(m[2]) - 1}."),
    (r"conv_bn_relu3\.", "last."),
    (r"(downsample|shortcut)\.", "shortcut."),
    (r"(first|last|shortcut|steps\.\d\.\d)\.conv\.", r"\1.0."),
    (r"(first|last|shortcut|steps\.\d\.\d)\.bn\.", r"\1.1."),
    (r"^offsets_list\.(\d)\.0\.", r"offset.\1."),
    (r"^masks_list\.(\d)\.0\.", r"mask.\1."),
    (r"^modulated_deform_conv_list\.(\d)\.deform_conv\.(weight|bias)$", r"\2.\1"),
)


def our_weights(t: Mapping, model: torch.nn.Module) -> dict[str, Tensor]:
    """A fixture's weights by our names and in our shapes."""
    shapes, ours = {k: v.shape for k, v in model.state_dict().items()}, {}
    for key, value in t.items():
        if not key.startswith("weight."):
            continue
        name = key.removeprefix("weight.")
        for old, new in _NAMES:
            name = re.sub(old, new, name)
        if name in shapes:
            ours[name] = torch.tensor(value).reshape(shapes[name])
        elif not re.match(r"pos_embd|branch\.", name):
            raise KeyError(f"weight.{name}")
    return ours


def flow_mask(header: dict[str, str], t: dict) -> Result:
    order = [3, 1, 0, 2, 4]  # in time, out of cur, prev, next, pprev, nnext
    heatmaps = (
        torch.tensor(t["in.heatmaps_cur_prev_next_pprev_nnext"])
        .unflatten(0, (5, -1))[order]
        .transpose(0, 1)
    )
    margins = torch.tensor(t["in.margin_prev_next_pprev_nnext"]).float()
    distance = torch.stack(
        (margins[:, 2], margins[:, 0], torch.zeros(len(margins)), margins[:, 1], margins[:, 3]), 1
    )
    flows = keypoint_flows(heatmaps, distance)
    masks = occlusion_masks(flows)
    known = {"mask": masks, "flow": flows, "psi": {"total": torch.tensor(t["in.context_encoding"])}}
    out = {
        "F_prev": flows["prev"],
        "F_total": flows["total"],
        "M_total": masks["total"],
        "squeezed": flows["total"].sum(1, keepdim=True).expand_as(flows["total"]),
    }
    for name, kind in (("x1", "prev"), ("x2", "sub")):
        out[name] = torch.stack(
            [known[what][k] for what, k in branch_features(kind, exchanged=True)], 2
        ).flatten(1, 2)
    return Result({f"out.{k}": v.numpy() for k, v in out.items()})


def encoder(header: dict[str, str], t: dict) -> Result:
    x = torch.tensor(t["in.x"])
    _, stem, strided = (int(n) for n in re.findall(r"\d+", header["arch"]))
    d, h, w = x.shape[1:]
    config = OTPoseConfig(size=(4 * w, 4 * h), **RELEASED)
    ours = Encoder(d, stem, int(header["n_head"]), config).eval()
    ours.load_state_dict(our_weights(t, ours))
    code = torch.tensor(t["weight.pos_embd"])[0, :, : h * w].unflatten(-1, (h, w)).movedim(0, -1)
    torch.testing.assert_close(ours.position, code, rtol=1e-5, atol=1e-6)
    first, seen = ours.blocks[0], {}

    def watch(module, name, what):
        def keep(_, taken, made):
            seen[name] = taken[0] if what == "in" else made

        module.register_forward_hook(keep)

    for module, name, what in (
        (first, "block0_in", "in"),
        (first, "block0_out", "out"),
        (first.norm1, "block0_attn_in", "out"),
        (first.query[0], "block0_q", "out"),
        (first.key[0], "block0_k", "out"),
        (first.value[0], "block0_v", "out"),
        (first.project, "block0_attn_before_proj", "in"),
        (first.project, "block0_attn_out", "out"),
    ):
        watch(module, name, what)
    with torch.no_grad():
        out = {"out.feat0": ours(x).flatten(2)}
    out |= {f"mid.{k}": v.flatten(1, 2).mT for k, v in seen.items()}
    reason = "strided blocks behind the stem, which the paper does not have"
    skipped = {f"out.feat{i + 1}": reason for i in range(strided)} | {
        f"mid.branch{i}_out": reason for i in range(strided)
    }
    return Result({k: v.numpy() for k, v in out.items()}, skipped)


def rsb(header: dict[str, str], t: dict) -> Result:
    ours = steps_blocks(
        int(header["in_planes"]), int(header["out_planes"]), int(header["num_blocks"])
    ).eval()
    ours.load_state_dict(our_weights(t, ours), strict=False)
    x = torch.tensor(t["in.x"])
    with torch.no_grad():
        return Result({"mid.block0": ours[0](x).numpy(), "out.y": ours(x).numpy()})


def refine(header: dict[str, str], t: dict) -> Result:
    total = torch.tensor(t["in.F_total"])
    config = OTPoseConfig(
        refine_channels=int(header["def_ch"]),
        refine_blocks=int(header["num_blocks"]),
        sigmoid=False,
        dilations=tuple(int(n) for n in header["dilations"].split(",")),
    )
    ours = Refine(config, total.shape[1]).eval()
    ours.load_state_dict(our_weights(t, ours), strict=False)
    with torch.no_grad(), record(ours, ["*", "combine"]) as taps:
        out = {
            "out.output_heatmaps": ours(
                total, [torch.tensor(t[f"in.phi_{n}"]) for n in ("prev", "sub")]
            )
        }
    out |= {"mid.def_heatmaps": taps["moved"], "mid.trans_heatmaps": taps["combine"]}
    for i in range(len(config.dilations)):
        out |= {
            f"mid.offset{i}": taps["offsets"][:, i].flatten(1, 3),
            f"mid.mask{i}": taps["modulation"][:, i].flatten(1, 2),
        }
        out[f"mid.warped{i}"] = taps["warped"][:, i]
    return Result({k: v.numpy() for k, v in out.items()})


def loss(header: dict[str, str], t: dict) -> Result:
    names = ("pred_s", "pred_t", "context_encoding", "intersection")
    given = {n: torch.tensor(t[f"in.{n}"], requires_grad=True) for n in names}
    target, weights = torch.tensor(t["in.target"]), torch.tensor(t["in.target_weight"])[..., 0]
    k = int(header["topk"])
    label = (target + given["intersection"]) / 2
    errors = {
        "pose": released_errors(given["pred_s"], target, weights, given["pred_t"]),
        "occ": released_errors(given["context_encoding"], label, weights),
        "JointsMSE_OHKM": released_errors(given["pred_s"], target, weights),
    }
    total = released_loss(errors["pose"], k) + released_loss(errors["occ"], k)
    grads = torch.autograd.grad(total, list(given.values()), retain_graph=True)
    out = {"out.total": total}
    for name, each in errors.items():
        end = "" if name == "JointsMSE_OHKM" else "_s"
        mean = each.mean(0).sum() / each.shape[1]
        ohkm = (0.5 * each).topk(k).values.mean()
        out |= {
            f"out.{name}.final_loss": released_loss(each, k),
            f"out.{name}.mse_loss{end}": mean,
            f"out.{name}.ohkm_loss{end}": ohkm,
        }
    out |= {f"out.grad_{n}": g for n, g in zip(names, grads)}
    return Result({k: v.detach().numpy() for k, v in out.items()})


CHECKS = [
    Check("otpose_flow_mask", lambda h: "317-359" in h.get("cls", ""), flow_mask),
    Check("otpose_encoder", lambda h: h.get("cls", "").endswith("ConvTransformer"), encoder),
    Check("otpose_rsb", lambda h: "RSB" in h.get("cls", ""), rsb),
    Check("otpose_refine", lambda h: "375-392" in h.get("cls", ""), refine),
    Check("otpose_loss", lambda h: "ST_OHKW" in h.get("cls", ""), loss),
]
