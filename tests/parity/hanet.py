"""HANet: the released network (outputs and intermediates) and its loss."""

from __future__ import annotations

import re

import numpy as np
import torch

from workbench import checkpoint, metrics
from workbench.models.hanet import (
    RELEASED,
    HANet,
    HANetConfig,
    interpolate,
    released_loss,
    released_terms,
    sine_position,
)
from workbench.taps import record

from .harness import Check, Result

RENAMED = (
    (r"^encoder\.(\d+)\.layers\.0\.", r"levels.\1."),
    (r"^decoder\.layers\.", "decoder."),
    (r"^decoder\.norm\.", "decoder_norm."),
    (r"\.self_attn\.", ".self_attention."),
    (r"\.multihead_attn\.", ".cross_attention."),
    (r"^(levels\.\d+)\.self_attention\.", r"\1.attention."),
    (r"\.in_proj_(weight|bias)$", r".in_proj.\1"),
    (r"\.linear1\.", ".mlp.0."),
    (r"\.linear2\.", ".mlp.2."),
    (r"^encoder_embed\.", "embed."),
    (r"^offset_refine\.", "offsets."),
    (r"^encoder_joints_embed\.", "to_pose."),
    (r"^decoder_embed\.", "value_embed."),
    (r"^decoder_joints_embed\.", "head."),
    (r"^prev_v_embed\.", "motion.embed.previous."),
    (r"^next_v_embed\.", "motion.embed.following."),
    (r"^acc_embed\.", "motion.embed.acceleration."),
)


def released_key(name: str, levels: int) -> str | None:
    """Our name of a weight of the released program; None for those that it never uses (last
    widening, encoder norm).
    """
    name = name.removeprefix("module.").removeprefix("transformer.")
    if widening := re.fullmatch(r"projection\.(\d+)\.(\w+)", name):
        level = int(widening[1]) + 1
        return f"levels.{level}.widen.{widening[2]}" if level < levels else None
    if name.startswith(("encoder_norm.", "encoder_pos", "pos_embed")):
        return None
    for old, new in RENAMED:
        name = re.sub(old, new, name)
    return name


def compute_network(header: dict[str, str], t: dict) -> Result:
    x = torch.tensor(t["in.x"])
    length, levels, hidden = x.shape[1], int(header["enc_layers"]), int(header["hidden"])
    settings = RELEASED | {"pre_norm": header["pre_norm"] == "True"}
    config = HANetConfig(
        channels=x.shape[2],
        coordinates=1,
        interval=int(header["sample_interval"]),
        dim=hidden,
        levels=levels,
        decoder_levels=int(header["dec_layers"]),
        heads=int(header["nheads"]),
        mlp_ratio=int(header["dim_feedforward"]) / hidden,
        kernel=t["weight.transformer.decoder_embed.weight"].shape[-1],
        **settings,
    )
    model = HANet(config).eval()
    weights = {
        k.removeprefix("weight."): torch.tensor(v) for k, v in t.items() if k.startswith("weight.")
    }
    ours = {released_key(name, levels): tensor for name, tensor in weights.items()}
    ours.pop(None, None)
    checkpoint.load_into(model, ours)
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
    result |= {
        "mid.interp": seen["line"].transpose(1, 2),
        "mid.decoder_tgt": seen["value"].transpose(1, 2),
    }
    for i in range(levels):
        code = sine_position(torch.arange(length), length, hidden * 2**i)
        result[f"out.pos_embed{i}"] = code[:, None].expand(-1, len(x), -1)
    assert torch.allclose(fast["xy"], out["xy"], atol=1e-5)
    left = {
        "out.final_legacy_int_mask": "what an integer mask does under torch 1.10: "
        "explained in the errata, not followed"
    }
    return Result({k: v.numpy() for k, v in result.items()}, left)


NETWORK = Check("hanet", lambda h: h.get("cls") == "lib.models.HANet.HANet", compute_network)


def compute_loss(header: dict[str, str], t: dict) -> Result:
    final, refined = (torch.tensor(t[f"in.{k}"], requires_grad=True) for k in ("final", "refined"))
    truth, hidden, padded = (
        torch.tensor(t[f"in.{k}"]) for k in ("gt", "encoder_mask", "decoder_mask")
    )
    weights = float(t["in.lamada"].item()), float(t["in.w_decoder"].item())
    out = {}
    for norm in (1, 2):
        terms = released_terms(final, refined, truth, hidden == 0, padded == 0, norm)
        by_channel, top = released_loss(terms, *weights)
        out |= {
            f"out.l{norm}_terms": terms,
            f"out.per_channel_l{norm}": by_channel,
            f"out.topk_l{norm}": top,
        }
    out["out.l1_loss"] = out["out.per_channel_l1"].sum()
    out["out.final_loss"] = out["out.l1_loss"] + out["out.topk_l1"]
    out["out.grad_final"], out["out.grad_refined"] = torch.autograd.grad(
        out["out.final_loss"], (final, refined)
    )
    return Result({k: v.detach().numpy() for k, v in out.items()})


LOSS = Check("hanet_loss", lambda h: h.get("cls") == "lib.core.loss.HANetLoss", compute_loss)


def _sequence(windows: np.ndarray, step: int) -> np.ndarray:
    """One sequence from windows that begin `step` frames apart: the mean of all that cover a
    frame.
    """
    n, w = windows.shape[:2]
    total = np.zeros((w + (n - 1) * step, *windows.shape[2:]))
    count = np.zeros(total.shape)
    for i, window in enumerate(windows.astype(np.float64)):
        covered = slice(i * step, i * step + w)
        total[covered] += window
        count[covered] += 1
    return total / count


def _lines(windows: np.ndarray, step: int) -> np.ndarray:
    """Every window from its read frames alone, by straight lines."""
    return interpolate(torch.tensor(windows[:, ::step]).double(), step, windows.shape[1]).numpy()


def compute_metrics(header: dict[str, str], t: dict) -> Result:
    step = int(header["N"])
    pred, truth = t["in.3d.pred"], t["in.3d.gt"]
    out = {
        "out.3d.mpjpe": metrics.epe(pred, truth),
        "out.3d.pampjpe": metrics.p_epe(pred, truth, align="pred_to_truth"),
        "out.3d.accel": metrics.accel(pred, truth),
        "out.sequence": _sequence(t["in.windows"], step),
    }
    size = t["in.pck.imgshape"][0][::-1]
    for threshold in (0.05, 0.1, 0.2):
        two = (t[f"in.pck.{k}"].astype(np.float64) * size for k in ("pred", "gt"))
        out[f"out.pck.{threshold:g}"] = metrics.pck(
            *two, metrics.box_sizes(t["in.pck.bbox"]), threshold
        )
    reason = (
        "output minus a row of the input's read frames that is neither their mean over frames "
        "nor over sequences"
    )
    left = dict.fromkeys(
        (f"out.eval3d.relative_improvement_{kind}" for kind in ("mpjpe", "pampjpe")), reason
    )
    return Result(out | _table_2d(t, step) | _table_3d(t, step), left)


def _sequences(t: dict, kind: str):
    for i in range(sum(k.startswith(f"in.{kind}.seq") and k.endswith(".final") for k in t)):
        yield {k.rsplit(".", 1)[1]: v for k, v in t.items() if k.startswith(f"in.{kind}.seq{i}.")}


def _table_2d(t: dict, step: int) -> dict:
    """Means over sequences of PCK: input, its straight lines, refined read frames (`denosie`),
    final (`output`).
    """
    rows: dict[str, list[float]] = {}
    for s in _sequences(t, "eval2d"):
        size = s["imgshape"][0][::-1].astype(np.float64)
        windows = {
            "input": s["pred"][0],
            "linear_interp": _lines(s["pred"][0], step),
            "output": s["final"],
        }
        made = {k: _sequence(w, step) for k, w in windows.items()}
        made |= {"denosie": _sequence(s["refined"], step)[::step], "read": made["input"][::step]}
        truth = _sequence(s["gt"][0], step)
        boxes = metrics.box_sizes(_sequence(s["bbox"][0], step).astype(int))
        for name, values in made.items():
            every = step if name in ("denosie", "read") else 1
            two = [v.reshape(len(v), -1, 2) * size for v in (values, truth[::every])]
            for threshold, short in ((0.05, "005"), (0.1, "01"), (0.2, "02")):
                rows.setdefault(f"{name}_pck_{short}", []).append(
                    metrics.pck(*two, boxes[::every], threshold).mean()
                )
    out = {k: np.mean(v) for k, v in rows.items()}
    for short in ("005", "01", "02"):
        gain = out[f"output_pck_{short}"] - out[f"input_pck_{short}"]
        out[f"improvement_pck_{short}"] = gain
        out[f"relative_improvement_pck_{short}"] = out[f"output_pck_{short}"] - out.pop(
            f"read_pck_{short}"
        )
    return {f"out.eval2d.{k}": v for k, v in out.items()}


def _table_3d(t: dict, step: int) -> dict:
    """Means over the frames of all sequences, root joint subtracted, mm."""
    rows: dict[str, list[np.ndarray]] = {}
    for s in _sequences(t, "eval3d"):
        windows = {
            "input": s["pred"][0],
            "linear_interp": _lines(s["pred"][0], step),
            "output": s["final"],
        }
        made = {k: _sequence(w, step) for k, w in windows.items()} | {
            "decoder": _sequence(s["refined"], step)[::step]
        }
        truth = _sequence(s["gt"][0], step)
        for name, values in made.items():
            every = step if name == "decoder" else 1
            p, g = (v.reshape(len(v), -1, 3) * 1000 for v in (values, truth[::every]))
            p, g = p - p[:, :1], g - g[:, :1]
            found = (
                metrics.epe(p, g),
                metrics.p_epe(p, g, align="pred_to_truth"),
                metrics.accel(p, g),
            )
            for kind, value in zip(("mpjpe", "pampjpe", "accel"), found):
                rows.setdefault(f"{name}_{kind}", []).append(value)
    out = {k: np.concatenate(v).mean() for k, v in rows.items()}
    out["decoder_interp_pampjpe"] = out["decoder_pampjpe"]
    for kind in ("mpjpe", "pampjpe", "accel"):
        out[f"improvement_{kind}"] = out[f"output_{kind}"] - out[f"input_{kind}"]
    return {f"out.eval3d.{k}": v for k, v in out.items()}


METRICS = Check(
    "hanet_metrics", lambda h: h.get("cls") == "lib.utils.eval_metrics", compute_metrics
)
