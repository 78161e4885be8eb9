"""Coordinates to heatmaps and SimCC vectors, and back with confidence. No models."""

from __future__ import annotations

import torch
from jaxtyping import Float, Num
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


def encode_heatmaps(
    xy_heatmap: Float[Tensor, "*b k 2"],
    weights: Num[Tensor, "*b k"],
    size: tuple[int, int],
    sigma: float = 2.0,
    quantised: bool = False,
) -> Float[Tensor, "*b k h w"]:
    """A Gaussian of peak 1 around each joint on a grid of size (width, height); zeros where the weight is 0.

    sigma: heatmap px. quantised: the peak stands on the nearest pixel (halves round up), as models of the `msra`
    alignment were trained; else it stands between pixels where the joint does.
    """
    if quantised:
        xy_heatmap = (xy_heatmap + 0.5).floor()
    x, y = (
        torch.exp((torch.arange(n, device=xy.device) - xy[..., None]) ** 2 / (-2 * sigma**2))
        for n, xy in zip(size, xy_heatmap.unbind(-1))
    )
    return (y * (weights[..., None] > 0))[..., :, None] * x[..., None, :]


def encode_simcc(
    xy_crop: Float[Tensor, "*b k 2"],
    size: tuple[int, int],
    split: float = 2.0,
    sigma: float = 6.0,
) -> tuple[Float[Tensor, "*b k nx"], Float[Tensor, "*b k ny"]]:
    """Distributions over the bins of each axis, sum 1: bin i stands for i / split px of a crop of `size` (width, height).

    sigma: bins, of a Gaussian around the joint. Joints outside the crop get the nearest bins: give them weight 0 in the
    loss. SimCC (Li et al. 2022) Sec. 3.2; sigma 6 at 192x256 is MMPose's configuration.
    """

    def axis(pixels: int, position: Float[Tensor, "*b k"]) -> Tensor:
        n = round(pixels * split)
        at = (position * split).clamp(0, n - 1)
        gaps = torch.arange(n, device=at.device) - at[..., None]
        return torch.softmax(gaps**2 / (-2 * sigma**2), -1)

    return axis(size[0], xy_crop[..., 0]), axis(size[1], xy_crop[..., 1])
