"""HANet: the released network (outputs and intermediates) and its loss."""

from __future__ import annotations

import torch

from workbench import checkpoint
from workbench.models.hanet import (
    RELEASED,
    HANet,
    HANetConfig,
    released_key,
    released_loss,
    released_terms,
    sine_position,
)
from workbench.taps import record

from .harness import Check, Result


def compute_network(header: dict[str, str], t: dict) -> Result:
    x = torch.tensor(t["in.x"])
    length, levels, hidden = x.shape[1], int(header["enc_layers"]), int(header["hidden"])
    settings = RELEASED | {"pre_norm": header["pre_norm"] == "True"}
    config = HANetConfig(
        channels=x.shape[2], coordinates=1, interval=int(header["sample_interval"]), dim=hidden, levels=levels,
        decoder_levels=int(header["dec_layers"]), heads=int(header["nheads"]), mlp_ratio=int(header["dim_feedforward"]) / hidden,
        kernel=t["weight.transformer.decoder_embed.weight"].shape[-1], **settings,
    )  # fmt: skip
    model = HANet(config).eval()
    weights = {k.removeprefix("weight."): torch.tensor(v) for k, v in t.items() if k.startswith("weight.")}
    checkpoint.load_into(model, weights, key_map=lambda name: released_key(name, levels))
    with torch.no_grad(), record(model) as taps:
        out = model(x, dense=True)
        fast = model(x)
    seen = {name: taps.calls(name)[0] for name in taps}
    frame_first = {"mid.tpe_volume": seen["volume"], "mid.encoder_embed": seen["embedded"]}
    frame_first |= {f"mid.enc{i}": seen[f"levels.{i}.out"] for i in range(levels)}
    frame_first |= {"mid.motion_embed_in": seen["motion_in"], "mid.memory": seen["memory"]}
    frame_first |= {"mid.decoder_out": seen["decoded"]}
    result = {"out.final": fast["xy"], "out.refined": out["refined"]}
    result |= {k: v.transpose(0, 1) for k, v in frame_first.items()}
    result |= {f"mid.offset{i}": seen[f"offset_taps.{i}"].permute(1, 2, 0) for i in range(levels)}
    result |= {"mid.interp": seen["line"].transpose(1, 2), "mid.decoder_tgt": seen["value"].transpose(1, 2)}
    for i in range(levels):
        code = sine_position(torch.arange(length), length, hidden * 2**i)
        result[f"out.pos_embed{i}"] = code[:, None].expand(-1, len(x), -1)
    assert torch.allclose(fast["xy"], out["xy"], atol=1e-5)
    left = {
        "out.final_legacy_int_mask": "what an integer mask does under torch 1.10: explained in the errata, not followed"
    }
    return Result({k: v.numpy() for k, v in result.items()}, left)


NETWORK = Check("hanet", lambda h: h.get("cls") == "lib.models.HANet.HANet", compute_network)


def compute_loss(header: dict[str, str], t: dict) -> Result:
    final, refined = (torch.tensor(t[f"in.{k}"], requires_grad=True) for k in ("final", "refined"))
    truth, hidden, padded = (torch.tensor(t[f"in.{k}"]) for k in ("gt", "encoder_mask", "decoder_mask"))
    weights = float(t["in.lamada"].item()), float(t["in.w_decoder"].item())
    out = {}
    for norm in (1, 2):
        terms = released_terms(final, refined, truth, hidden == 0, padded == 0, norm)
        by_channel, top = released_loss(terms, *weights)
        out |= {f"out.l{norm}_terms": terms, f"out.per_channel_l{norm}": by_channel, f"out.topk_l{norm}": top}
    out["out.l1_loss"] = out["out.per_channel_l1"].sum()
    out["out.final_loss"] = out["out.l1_loss"] + out["out.topk_l1"]
    out["out.grad_final"], out["out.grad_refined"] = torch.autograd.grad(out["out.final_loss"], (final, refined))
    return Result({k: v.detach().numpy() for k, v in out.items()})


LOSS = Check("hanet_loss", lambda h: h.get("cls") == "lib.core.loss.HANetLoss", compute_loss)
