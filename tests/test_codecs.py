from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from workbench import geometry
from workbench.codecs import (
    decode_heatmaps,
    decode_simcc,
    encode_heatmaps,
    encode_simcc,
    encode_simcc_released,
    heatmap_confidence,
    heatmap_loss,
    mirror_heatmaps,
    mirror_simcc,
    simcc_loss,
    soft_argmax,
    transform,
)


def test_soft_argmax_is_the_weighted_mean_position():
    maps = torch.zeros(1, 3, 5, 7)
    maps[0, 0, 2, 3] = 0.4  # one pixel: its centre, whatever its height
    maps[0, 1, 0, 0], maps[0, 1, 4, 6] = 1.0, 3.0
    xy = soft_argmax(maps)
    torch.testing.assert_close(xy[0, :2], torch.tensor([[3.0, 2.0], [4.5, 3.0]]))
    # nothing there: the middle, never NaN
    torch.testing.assert_close(xy[0, 2], torch.tensor([3.0, 2.0]))


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
    # between pixels
    assert maps[0, 1, 1, 4].item() == maps[0, 1, 1, 5].item() == pytest.approx(math.exp(-1 / 32))
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
    coarse = geometry.apply(
        geometry.invert(affine), torch.stack((peak % 23, peak // 23), -1).double().numpy()
    )
    half_pixel = 0.5 * np.array(crop) / (np.array(grid) - (alignment == "udp"))
    assert (np.abs(coarse - xy_crop) <= half_pixel + 1e-6).all() and np.abs(
        coarse - xy_crop
    ).max() > 1


def test_simcc_vectors_are_distributions_around_the_joint():
    x, y = encode_simcc(torch.tensor([[[3.0, 2.5], [-9.0, 99.0]]]), (7, 5), split=2.0, sigma=1.5)
    assert x.shape == (1, 2, 14) and y.shape == (1, 2, 10)
    torch.testing.assert_close(x.sum(-1), torch.ones(1, 2))
    assert x[0, 0].argmax() == 6 and y[0, 0].argmax() == 5
    assert (x[0, 0, 8] / x[0, 0, 6]).item() == pytest.approx(math.exp(-(2**2) / (2 * 1.5**2)))
    assert x[0, 1].argmax() == 0 and y[0, 1].argmax() == 9  # outside: the nearest bin


@pytest.mark.parametrize(("split", "within"), [(1.0, 0.5), (2.0, 0.25), (3.0, 1 / 6)])
def test_simcc_brings_joints_back_within_half_a_bin(split, within):
    xy = torch.rand(11, 5, 2, generator=torch.Generator().manual_seed(3)) * torch.tensor(
        [95.0, 127.0]
    )
    back = torch.stack([v.argmax(-1) / split for v in encode_simcc(xy, (96, 128), split)], -1)
    assert (back - xy).abs().max() <= within + 1e-4


def test_released_simcc_labels_are_densities_cut_at_the_border():
    xy = torch.tensor([[[3.0, 2.5], [-9.0, 2.5], [3.0, 2.5], [-3.0, 2.0]]])
    labelled = torch.tensor([[True, True, False, True]])
    x, y, weight = encode_simcc_released(xy, labelled, (7, 5), 2.0, 1.5)
    assert weight.tolist() == [[1, 0, 0, 1]], (
        "4.5 px are taken for 3 sigma: the last reaches 7 - 1.5 < 3 px into the crop"
    )
    assert x[0, 0, 6].item() == pytest.approx(1 / (1.5 * math.sqrt(2 * math.pi)))
    assert not x[0, 1:3].any() and x[0, 3].sum() < 0.01 and y[0, 3].argmax() == 4


def test_simcc_vectors_are_read_where_they_are_highest():
    xy = torch.tensor([[[3.0, 2.5], [6.5, 0.0]]])
    x, y = encode_simcc(xy, (7, 5), 2.0, 1.0)
    back, confidence = decode_simcc(x, y, 2.0)
    torch.testing.assert_close(back, xy)
    torch.testing.assert_close(confidence, torch.minimum(x.amax(-1), y.amax(-1)))


def test_heatmaps_are_read_a_quarter_towards_the_higher_neighbour():
    maps = torch.zeros(1, 3, 5, 7)
    maps[0, 0, 2, 3], maps[0, 0, 2, 4], maps[0, 0, 1, 3] = 1.0, 0.5, 0.25
    maps[0, 1, 0, 6] = 2.0  # a corner stays
    maps[0, 2, 4, 3], maps[0, 2, 4, 2] = 1.0, 0.5  # the lower border: along x alone
    xy, value = decode_heatmaps(maps)
    assert xy.tolist() == [[[3.25, 1.75], [6, 0], [2.75, 4]]] and value.tolist() == [[1, 2, 1]]


def test_heatmaps_are_read_where_the_public_programs_leave_a_pixel_as_it_is():
    maps = torch.full((1, 2, 5, 7), -3.0)
    maps[0, 0, 1, 3], maps[0, 0, 1, 4] = 1.0, 0.5  # next to the border: (3, 1) there
    maps[0, 1, 2, 3], maps[0, 1, 3, 3] = -1.0, -2.0  # nothing above 0: (0, 0) there
    xy, value = decode_heatmaps(maps)
    assert xy.tolist() == [[[3.25, 1], [3, 2.25]]] and value.tolist() == [[1, -1]]


@pytest.mark.parametrize("split", [1.0, 2.0, 3.0])
def test_mirrored_simcc_vectors_come_back(split):
    xy = torch.tensor([[[3.0, 2.0], [1.0, 4.0]]])
    # a picture 7 px wide; the joints change names
    mirrored = torch.stack((6 - xy[..., 0], xy[..., 1]), -1)[:, [1, 0]]
    x, y = mirror_simcc(*encode_simcc(mirrored, (7, 5), split, 1.0), (1, 0), split)
    torch.testing.assert_close(decode_simcc(x, y, split)[0], xy)


@pytest.mark.parametrize(("alignment", "within"), [("centre", 1e-4), ("udp", 1e-4), ("msra", 0.3)])
def test_mirrored_heatmaps_come_back(alignment, within):
    crop, grid = (64, 48), (16, 12)
    affine = torch.tensor(geometry.crop_to_heatmap(crop, grid, alignment), dtype=torch.float32)
    xy = torch.tensor([[[30.0, 20.0], [25.0, 27.0]]])
    mirrored = torch.stack((63 - xy[..., 0], xy[..., 1]), -1)[:, [1, 0]]
    there, here = (p @ affine[:, :2].T + affine[:, 2] for p in (mirrored, xy))
    maps = encode_heatmaps(there, torch.ones(1, 2), grid, sigma=1.0)
    back = soft_argmax(mirror_heatmaps(maps, (1, 0), alignment))
    assert (back - here).abs().max() < within, (
        "in msra a pixel is a quarter too much, as the public programs have it"
    )


def test_heatmap_loss_sums_squares_of_labelled_joints():
    target = torch.rand(2, 3, 5, 7)
    maps = target.clone()
    maps[0, 0, 1, 1] -= 3
    maps[0, 1, 2, 2] += 2
    maps[1, 2, 0, 0] += 1
    maps[1, 2, 4, 6] -= 2
    weights = torch.tensor([[1.0, 0, 1], [1, 1, 1]])
    # Eq. 1 over two people
    assert heatmap_loss(maps, target, weights).item() == pytest.approx((9 + 1 + 4) / 2)


def test_simcc_loss_is_a_divergence():
    torch.manual_seed(5)
    target = encode_simcc(torch.rand(2, 3, 2) * 6, (7, 5))
    weights = torch.ones(2, 3)
    scores = tuple(torch.randn_like(t) for t in target)
    predicted = [s.exp() / s.exp().sum(-1, keepdim=True) for s in scores]
    joints = [(t * (t / p).log()).sum(-1) for t, p in zip(target, predicted)]
    expected = (joints[0] + joints[1]).sum() / 6
    assert simcc_loss(scores, target, weights).item() == pytest.approx(expected.item(), rel=1e-5)
    same = tuple(t.log() for t in target)
    assert simcc_loss(same, target, weights).item() == pytest.approx(0, abs=1e-6)
    flat = tuple(torch.zeros_like(t) for t in target)
    # against the uniform distribution
    by_joint = sum((t * (t * t.shape[-1]).log()).sum(-1) for t in target)
    assert simcc_loss(flat, target, weights).item() == pytest.approx(
        by_joint.mean().item(), rel=1e-5
    )
    weights[0] = 0
    assert simcc_loss(flat, target, weights).item() == pytest.approx(
        by_joint[1].sum().item() / 6, rel=1e-5
    )
    parts = [(t[1] * (t[1] * t.shape[-1]).log()).mean(-1).sum().item() / 6 for t in target]
    assert simcc_loss(flat, target, weights, mean_bins=True).item() == pytest.approx(
        sum(parts), rel=1e-5
    )


def test_cut_heatmaps_end_at_so_many_sigmas():
    maps = encode_heatmaps(
        torch.tensor([[[10.0, 8.0], [-2.6, 3.0]]]), torch.ones(1, 2), (21, 17), 2.0, True, 3.0
    )
    assert maps[0, 0, 8, 4] > 0 and not maps[0, 0, :, :4].any() and not maps[0, 0, 15:].any()
    assert maps[0, 1, 3, 4] > 0 and not maps[0, 1, :, 5:].any(), (
        "-2.6 is rounded towards the picture, to -2"
    )


def test_points_keep_their_precision_under_autocast(rng):
    affine, xy = (
        torch.tensor(rng.normal(size=(2, 3))).float(),
        torch.tensor(rng.uniform(0, 300, (4, 5, 2))).float(),
    )
    with torch.autocast("cpu", torch.bfloat16):
        found = transform(affine, xy)
    np.testing.assert_allclose(
        found, geometry.apply(affine.double().numpy(), xy.double().numpy()), rtol=1e-5, atol=1e-4
    )
