"""Coordinates to heatmaps and SimCC vectors, and back with confidence. No models."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Num
from torch import Tensor


def soft_argmax(heatmaps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k 2"]:
    """Expected position of each heatmap, `xy_heatmap` px, counted from 0 at a pixel's centre. PORT
    Eq. 1.

    The heatmaps are weights and are divided by their sum (Eq. 1 writes them as already normalised);
    pass `logits.flatten(2).softmax(-1).view_as(logits)` for raw scores. An all-zero heatmap gives
    the middle of the picture. The paper counts pixels from 1, we from 0.
    """
    h, w = heatmaps.shape[-2:]
    total = heatmaps.sum((-2, -1), keepdim=True)
    weights = torch.where(
        total > 0, heatmaps / total.clamp_min(torch.finfo(heatmaps.dtype).tiny), 1 / (h * w)
    )
    x = (weights.sum(-2) * torch.arange(w, dtype=heatmaps.dtype, device=heatmaps.device)).sum(-1)
    y = (weights.sum(-1) * torch.arange(h, dtype=heatmaps.dtype, device=heatmaps.device)).sum(-1)
    return torch.stack((x, y), -1)


def heatmap_confidence(
    heatmaps: Float[Tensor, "b k h w"], xy_heatmap: Float[Tensor, "b k 2"]
) -> Float[Tensor, "b k"]:
    """Value of each heatmap at its joint, rounded to the nearest pixel inside the picture. PORT Eq.
    2.

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
    cut: float | None = None,
) -> Float[Tensor, "*b k h w"]:
    """A Gaussian of peak 1 around each joint on a grid of size (width, height); zeros where the
    weight is 0.

    sigma: heatmap px. quantised: the peak stands on the nearest pixel (halves round up; outside
    towards 0), as models of the `msra` alignment were trained; else it stands between pixels where
    the joint does. cut: zeros from so many sigmas on (3 in those models), along either axis.
    """
    if quantised:
        xy_heatmap = (xy_heatmap + 0.5).trunc()

    def axis(n: int, at: Tensor) -> Tensor:
        gaps = torch.arange(n, device=at.device) - at[..., None]
        values = torch.exp(gaps**2 / (-2 * sigma**2))
        return values if cut is None else values * (gaps.abs() <= cut * sigma)

    x, y = axis(size[0], xy_heatmap[..., 0]), axis(size[1], xy_heatmap[..., 1])
    return (y * (weights[..., None] > 0))[..., :, None] * x[..., None, :]


def encode_simcc(
    xy_crop: Float[Tensor, "*b k 2"],
    size: tuple[int, int],
    split: float = 2.0,
    sigma: float = 6.0,
) -> tuple[Float[Tensor, "*b k nx"], Float[Tensor, "*b k ny"]]:
    """Distributions over the bins of each axis, sum 1: bin i stands for i / split px of a crop of
    `size` (width, height).

    sigma: bins, of a Gaussian around the joint. Joints outside the crop get the nearest bins: give
    them weight 0 in the loss. SimCC (Li et al. 2022) Sec. 3.2; sigma 6 at 192x256 is MMPose's
    configuration.
    """

    def axis(pixels: int, position: Float[Tensor, "*b k"]) -> Tensor:
        n = round(pixels * split)
        at = (position * split).clamp(0, n - 1)
        gaps = torch.arange(n, device=at.device) - at[..., None]
        return torch.softmax(gaps**2 / (-2 * sigma**2), -1)

    return axis(size[0], xy_crop[..., 0]), axis(size[1], xy_crop[..., 1])


def encode_simcc_released(
    xy_crop: Float[Tensor, "*b k 2"],
    labelled: Bool[Tensor, "*b k"],
    size: tuple[int, int],
    split: float = 2.0,
    sigma: float = 6.0,
) -> tuple[Float[Tensor, "*b k nx"], Float[Tensor, "*b k ny"], Float[Tensor, "*b k"]]:
    """The public SimCC program's labels and their weights: Gaussian densities, cut off at the
    border and not renormalised.

    A joint has weight 0, and zeros, where it is not labelled or where [xy - 3 sigma, xy + 3 sigma]
    misses the crop; there the program takes sigma for px although it is in bins, so that joints
    outside keep weight 1.
    """
    low, high = (xy_crop - 3 * sigma).trunc(), (xy_crop + 3 * sigma + 1).trunc()
    inside = (low < torch.tensor(size, device=xy_crop.device)) & (high >= 0)
    weight = (labelled & inside.all(-1)).to(xy_crop.dtype)

    def axis(pixels: int, at: Tensor) -> Tensor:
        gaps = torch.arange(round(pixels * split), device=at.device) - (at * split)[..., None]
        return (
            torch.exp(gaps**2 / (-2 * sigma**2))
            / (sigma * math.sqrt(2 * math.pi))
            * weight[..., None]
        )

    return axis(size[0], xy_crop[..., 0]), axis(size[1], xy_crop[..., 1]), weight


def decode_simcc(
    x: Float[Tensor, "b k nx"], y: Float[Tensor, "b k ny"], split: float = 2.0
) -> tuple[Float[Tensor, "b k 2"], Float[Tensor, "b k"]]:
    """`xy_crop` px at the highest bins, and confidence: the lower of the two probabilities. On
    the tensors' device.
    """
    (px, ix), (py, iy) = x.max(-1), y.max(-1)
    return torch.stack((ix, iy), -1).to(x.dtype) / split, torch.minimum(px, py)


def expected_bin(distribution: Float[Tensor, "*n bins"]) -> Float[Tensor, "*n"]:
    """Mean of each distribution, bins: where `decode_simcc` takes the highest, this has a
    gradient.
    """
    bins = torch.arange(distribution.shape[-1], device=distribution.device)
    return (distribution * bins).sum(-1) / distribution.sum(-1)


def expected_place(
    heatmaps: Float[Tensor, "b k h w"], temperature: float = 0.05
) -> Float[Tensor, "b k 2"]:
    """`xy_heatmap` px expected under a softmax of each whole map: where `decode_heatmaps` takes
    the highest pixel, this has a gradient.

    temperature: of heatmaps with peaks of 1; low ones are drawn to the middle of the map.  # ours
    """
    weights = (heatmaps / temperature).flatten(2).softmax(-1)
    return soft_argmax(weights.view_as(heatmaps))


def transform(affine: Float[Tensor, "2 3"], xy: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
    """Points through an affine map, element by element: a matrix product would round px to bf16
    under autocast.
    """
    return (xy[..., None, :] * affine[:, :2]).sum(-1) + affine[:, 2]


def decode_heatmaps(
    heatmaps: Float[Tensor, "b k h w"],
) -> tuple[Float[Tensor, "b k 2"], Float[Tensor, "b k"]]:
    """`xy_heatmap` px at the highest pixel, moved a quarter of a pixel towards its higher neighbour
    along each axis, after SimpleBaseline and HRNet; and its value. On the tensors' device.

    Along an axis at whose border it lies, a pixel stays. The public programs move it only where
    both its coordinates are above 1 and below the last, and put a joint whose highest value is not
    above 0 at (0, 0); we do neither.
    """
    h, w = heatmaps.shape[-2:]
    flat = heatmaps.flatten(2)
    value, index = flat.max(-1)
    at = torch.stack((index % w, index // w), -1)
    last = torch.tensor((w - 1, h - 1), device=at.device)
    step = torch.tensor((1, w), device=at.device)
    around = [flat.gather(-1, (index[..., None] + s * step).clamp(0, h * w - 1)) for s in (1, -1)]
    inner = (at > 0) & (at < last)
    return at + 0.25 * (around[0] - around[1]).sign() * inner, value


def mirror_simcc(
    x: Float[Tensor, "b k nx"],
    y: Float[Tensor, "b k ny"],
    flip_index: Sequence[int],
    split: float = 2.0,
) -> tuple[Float[Tensor, "b k nx"], Float[Tensor, "b k ny"]]:
    """Distributions of the mirrored crop put back: left and right exchanged, bin i of x to bin
    split (width - 1) - i.

    Bins beyond the last pixel's centre take their neighbour's value, for the mirror of the first
    pixel has none there.
    """
    n = x.shape[-1]
    joints = torch.as_tensor(flip_index, device=x.device)
    bins = (round(n - split) - torch.arange(n, device=x.device)).clamp_min(0)
    return x[:, joints][..., bins], y[:, joints]


def mirror_heatmaps(
    heatmaps: Float[Tensor, "b k h w"], flip_index: Sequence[int], alignment: str = "centre"
) -> Float[Tensor, "b k h w"]:
    """Heatmaps of the mirrored crop put back. `msra` grids begin at a corner: theirs move by a
    pixel, as HRNet does.
    """
    back = heatmaps[:, torch.as_tensor(flip_index, device=heatmaps.device)].flip(-1)
    return torch.cat((back[..., :1], back[..., :-1]), -1) if alignment == "msra" else back


def heatmap_loss(
    heatmaps: Float[Tensor, "b k h w"],
    target: Float[Tensor, "b k h w"],
    weights: Num[Tensor, "b k"],
) -> Float[Tensor, ""]:
    """Squared distance summed over pixels and joints, mean over the batch. Visibility Eq. 1; joints
    of weight 0 are left out.

    SimpleBaseline's program has half the mean over pixels and joints.
    """
    return ((heatmaps - target).square().sum((-2, -1)) * weights).sum(-1).mean()


def simcc_loss(
    logits: tuple[Float[Tensor, "b k nx"], Float[Tensor, "b k ny"]],
    target: tuple[Float[Tensor, "b k nx"], Float[Tensor, "b k ny"]],
    weights: Num[Tensor, "b k"],
    mean_bins: bool = False,
) -> Float[Tensor, ""]:
    """KL divergence of the predicted from the labelled distributions of both axes, mean over joints
    and batch. Visibility Eq. 2.

    Joints of weight 0 add nothing and are counted. mean_bins: averaged over the bins instead of
    summed, as the public programs of SimCC and of the paper do, which makes the loss depend on the
    crop's size.
    """

    def axis(scores: Tensor, label: Tensor) -> Tensor:
        divergence = F.kl_div(scores.log_softmax(-1), label, reduction="none")
        return divergence.mean(-1) if mean_bins else divergence.sum(-1)

    return ((axis(logits[0], target[0]) + axis(logits[1], target[1])) * weights).mean()
