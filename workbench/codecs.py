"""Heatmaps to coordinates and confidence. No models."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def soft_argmax(heatmaps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k 2"]:
    """Expected position of each heatmap, `xy_heatmap` px, counted from 0 at a pixel's centre. PORT Eq. 1.

    The heatmaps are weights and are divided by their sum (Eq. 1 writes them as already normalised); pass
    `logits.flatten(2).softmax(-1).view_as(logits)` for raw scores. An all-zero heatmap gives the middle of the picture.
    The paper counts pixels from 1, we from 0.
    """
    h, w = heatmaps.shape[-2:]
    total = heatmaps.sum((-2, -1), keepdim=True)
    weights = torch.where(total > 0, heatmaps / total.clamp_min(torch.finfo(heatmaps.dtype).tiny), 1 / (h * w))
    x = (weights.sum(-2) * torch.arange(w, dtype=heatmaps.dtype, device=heatmaps.device)).sum(-1)
    y = (weights.sum(-1) * torch.arange(h, dtype=heatmaps.dtype, device=heatmaps.device)).sum(-1)
    return torch.stack((x, y), -1)


def heatmap_confidence(heatmaps: Float[Tensor, "b k h w"], xy_heatmap: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k"]:
    """Value of each heatmap at its joint, rounded to the nearest pixel inside the picture. PORT Eq. 2.

    Halves round up (the paper's brackets do not say).  # unstated; ours
    """
    h, w = heatmaps.shape[-2:]
    x, y = (xy_heatmap + 0.5).floor().long().unbind(-1)
    index = y.clamp(0, h - 1) * w + x.clamp(0, w - 1)
    return heatmaps.flatten(2).gather(-1, index[..., None]).squeeze(-1)
