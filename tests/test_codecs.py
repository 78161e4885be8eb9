from __future__ import annotations

import torch

from workbench.codecs import heatmap_confidence, soft_argmax


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
