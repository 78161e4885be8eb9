from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from workbench import geometry
from workbench.codecs import encode_heatmaps, encode_simcc, heatmap_confidence, soft_argmax


def test_soft_argmax_is_the_weighted_mean_position():
    maps = torch.zeros(1, 3, 5, 7)
    maps[0, 0, 2, 3] = 0.4  # one pixel: its centre, whatever its height
    maps[0, 1, 0, 0], maps[0, 1, 4, 6] = 1.0, 3.0
    xy = soft_argmax(maps)
    torch.testing.assert_close(xy[0, :2], torch.tensor([[3.0, 2.0], [4.5, 3.0]]))
    torch.testing.assert_close(xy[0, 2], torch.tensor([3.0, 2.0]))  # nothing there: the middle, never NaN


def test_confidence_reads_the_nearest_pixel():
    maps = torch.arange(35.0).reshape(1, 1, 5, 7)
    xy = torch.tensor([[[2.4, 1.6]]])
    assert heatmap_confidence(maps, xy).item() == 2 * 7 + 2
    outside = torch.tensor([[[99.0, -3.0]]])
    assert heatmap_confidence(maps, outside).item() == 6
    half = torch.tensor([[[1.5, 0.0]]])
    assert heatmap_confidence(maps, half).item() == 2


def test_a_heatmap_is_a_gaussian_of_peak_one():
    xy = torch.tensor([[[3.0, 2.0], [4.5, 1.0], [3.0, 2.0]]])
    maps = encode_heatmaps(xy, torch.tensor([[1.0, 2.0, 0.0]]), (7, 5), sigma=2.0)
    assert maps.shape == (1, 3, 5, 7)
    assert maps[0, 0, 2, 3] == 1
    assert maps[0, 0, 2, 5].item() == pytest.approx(math.exp(-0.5))  # one sigma to the right
    assert maps[0, 0, 4, 1].item() == pytest.approx(math.exp(-1.0))  # one sigma both ways
    assert maps[0, 1, 1, 4].item() == maps[0, 1, 1, 5].item() == pytest.approx(math.exp(-1 / 32))  # between pixels
    assert not maps[0, 2].any()
    rounded = encode_heatmaps(xy, torch.ones(1, 3), (7, 5), sigma=2.0, quantised=True)
    assert rounded[0, 1, 1, 5] == 1  # halves round up


def test_no_axis_is_mistaken_for_another():
    maps = encode_heatmaps(torch.tensor([[[[6.0, 0.0]]]]), torch.ones(1, 1, 1), (7, 5), sigma=0.5)
    assert maps.shape == (1, 1, 1, 5, 7) and int(maps.argmax()) == 6


@pytest.mark.parametrize("alignment", ["centre", "msra", "udp"])
def test_heatmaps_bring_joints_back_within_what_their_grid_allows(alignment):
    crop, grid = (96, 128), (23, 31)
    rng = np.random.default_rng(7)
    xy_crop = np.stack((rng.uniform(30, 66, (1, 13)), rng.uniform(40, 88, (1, 13))), -1)
    affine = geometry.crop_to_heatmap(crop, grid, alignment)
    xy = torch.from_numpy(geometry.apply(affine, xy_crop))
    ones = torch.ones(1, 13)
    maps = encode_heatmaps(xy, ones, grid, sigma=1.0)
    back = geometry.apply(geometry.invert(affine), soft_argmax(maps).numpy())
    assert np.abs(back - xy_crop).max() < 0.05  # px of the crop; the tails are cut by the border
    peak = encode_heatmaps(xy, ones, grid, sigma=1.0, quantised=True).flatten(2).argmax(-1)
    coarse = geometry.apply(geometry.invert(affine), torch.stack((peak % 23, peak // 23), -1).double().numpy())
    half_pixel = 0.5 * np.array(crop) / (np.array(grid) - (alignment == "udp"))
    assert (np.abs(coarse - xy_crop) <= half_pixel + 1e-6).all() and np.abs(coarse - xy_crop).max() > 1


def test_simcc_vectors_are_distributions_around_the_joint():
    x, y = encode_simcc(torch.tensor([[[3.0, 2.5], [-9.0, 99.0]]]), (7, 5), split=2.0, sigma=1.5)
    assert x.shape == (1, 2, 14) and y.shape == (1, 2, 10)
    torch.testing.assert_close(x.sum(-1), torch.ones(1, 2))
    assert x[0, 0].argmax() == 6 and y[0, 0].argmax() == 5
    assert (x[0, 0, 8] / x[0, 0, 6]).item() == pytest.approx(math.exp(-(2**2) / (2 * 1.5**2)))
    assert x[0, 1].argmax() == 0 and y[0, 1].argmax() == 9  # outside: the nearest bin


@pytest.mark.parametrize(("split", "within"), [(1.0, 0.5), (2.0, 0.25), (3.0, 1 / 6)])
def test_simcc_brings_joints_back_within_half_a_bin(split, within):
    xy = torch.rand(11, 5, 2, generator=torch.Generator().manual_seed(3)) * torch.tensor([95.0, 127.0])
    back = torch.stack([v.argmax(-1) / split for v in encode_simcc(xy, (96, 128), split)], -1)
    assert (back - xy).abs().max() <= within + 1e-4
