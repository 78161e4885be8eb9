"""PORT's metrics, alignment and skeletons; the authors never published the model itself."""

from __future__ import annotations

import numpy as np
import torch

from workbench import geometry, metrics
from workbench.errors import UnknownName
from workbench.models.port import masked_joint_nll, replace_occluded
from workbench.skeletons import skeleton

from .harness import Check, Result, compare

SKELETON_OF = {
    "fphb": "fphb21",
    "panoptic": "hand21",
    "rhd": "hand21_rhd",
    "h36m": "h36m17",
    "h36m_masked": "h36m17",
    "mpii": "mpii16",
}
MIDDLE_FINGER = 9


def _nearer(candidates: list[np.ndarray], stored: np.ndarray) -> np.ndarray:
    return min(candidates, key=lambda c: compare("", c, stored).excess)


def compute(header: dict[str, str], t: dict[str, np.ndarray]) -> Result:
    gt, pred, mask = (t[f"in.{k}"].astype(np.float64) for k in ("gt", "pred", "mask"))
    out: dict[str, np.ndarray] = {
        "out.epe": metrics.epe(pred, gt).mean(),
        "out.epe_root_relative": metrics.epe(pred, gt, root=0).mean(),
        "out.p_epe_as_called_gt_first": metrics.p_epe(pred, gt, align="truth_to_pred").mean(),
        "out.p_epe_pred_aligned_to_gt": metrics.p_epe(pred, gt, align="pred_to_truth").mean(),
    }
    # The public program turns each detected hand about its wrist so that joint 9 lies on +x, and
    # back, in fp64. What it started from and the turn are both stored rounded to fp32, and either
    # rounding moves a joint at some 100 px by more than the bound. So these outputs are computed
    # twice, from the stored turn and from a turn of our own, and the whole array that is nearer to
    # the stored one is
    # compared, by the same bound.
    local = pred - pred[:, :1]
    out["out.rot_inv"] = geometry.rotation(
        -np.arctan2(local[:, MIDDLE_FINGER, 1], local[:, MIDDLE_FINGER, 0])
    )
    turns = (t["out.rot_inv"].astype(np.float64), out["out.rot_inv"])
    recon = t["in.recon_rotated"].astype(np.float64)
    hidden = torch.tensor(mask > 0)
    rotated = out["out.rotated"] = _nearer(
        [local @ turn.swapaxes(-1, -2) for turn in turns], t["out.rotated"]
    )
    backs = [recon @ turn for turn in turns]
    out["out.recon_back"] = _nearer(backs, t["out.recon_back"])
    refined = [
        replace_occluded(torch.tensor(local), torch.tensor(back), hidden).numpy() for back in backs
    ]
    out["out.refined_localized"] = _nearer(refined, t["out.refined_localized"])
    # It divides Eq. 12 by all coordinates of the batch instead of by the masked joints.
    everything = torch.ones_like(hidden)
    args = torch.tensor(recon), torch.tensor(rotated)
    out["out.mse_masked"] = (masked_joint_nll(*args, hidden) * hidden.sum() / rotated.size).numpy()
    out["out.mse_unmasked"] = (masked_joint_nll(*args, everything) / 2).numpy()
    left_out = {}
    for name in (k for k in t if k.startswith("out.adjacency.")):
        data = name.removeprefix("out.adjacency.")
        try:
            out[name] = skeleton(SKELETON_OF.get(data, data)).adjacency
        except UnknownName:
            left_out[name] = f"no skeleton of the workbench belongs to {data!r}"
    return Result(out, left_out)


CHECK = Check(
    "port_metrics",
    lambda h: "PORT" in h.get("repo", "") and "functions/loss.py" in h.get("cls", ""),
    compute,
)
