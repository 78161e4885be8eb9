from __future__ import annotations

import numpy as np
import pytest

from workbench import geometry as g
from workbench.errors import BadParameter

A = np.array


def assert_maps(affine, points, expected):
    np.testing.assert_allclose(g.apply(affine, A(points)), expected, atol=1e-12)


ALIGNMENTS = ["centre", "udp", "msra"]


def test_boxes_by_hand():
    np.testing.assert_array_equal(g.xywh_to_xyxy(A([3, 5, 7, 11])), [3, 5, 10, 16])
    np.testing.assert_array_equal(g.xyxy_to_xywh(A([3, 5, 10, 16])), [3, 5, 7, 11])
    np.testing.assert_array_equal(g.cxcywh_to_xyxy(A([5, 5, 4, 2])), [3, 4, 7, 6])
    np.testing.assert_array_equal(g.enlarge(A([0, 0, 10, 20]), 1.25), [-1.25, -2.5, 11.25, 22.5])
    np.testing.assert_array_equal(g.enlarge(A([0, 0, 10, 20]), 1.0, aspect=1.0), [-5, 0, 15, 20])
    points = np.array([[1.0, 9.0], [4.0, 2.0], [100.0, 100.0]])
    np.testing.assert_array_equal(g.box_of_points(points, A([True, True, False])), [1, 2, 4, 9])


def test_conventions_by_hand():
    box = np.array([10.0, 20.0, 18.0, 28.0])
    # centre: a crop of the box's own size is the picture, shifted by whole pixels
    assert_maps(g.frame_to_crop(box, (8, 8)), [[10.0, 20.0], [17.0, 27.0]], [[0, 0], [7, 7]])
    assert_maps(g.frame_to_crop(box, (4, 4), "udp"), [[10.0, 20.0], [18.0, 28.0]], [[0, 0], [3, 3]])
    assert_maps(g.frame_to_crop(box, (4, 4), "msra"), [[10.0, 20.0], [18.0, 28.0]], [[0, 0], [4, 4]])
    # a heatmap pixel of stride 4 covers crop pixels 0..3: its centre is at 1.5
    assert_maps(g.crop_to_heatmap((192, 256), (48, 64)), [[1.5, 5.5]], [[0, 1]])
    assert_maps(g.crop_to_heatmap((192, 256), (48, 64), "msra"), [[4.0, 8.0]], [[1, 2]])
    assert_maps(g.crop_to_heatmap((192, 256), (48, 64), "udp"), [[191.0, 255.0]], [[47, 63]])


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_there_and_back(rng, alignment):
    corner = rng.uniform(0, 50, (5, 2))
    boxes = np.concatenate((corner, corner + rng.uniform(7, 60, (5, 2))), -1)
    xy_frame = rng.uniform(0, 100, (5, 11, 2))
    whole = g.compose(g.crop_to_heatmap((192, 256), (48, 64), alignment), g.frame_to_crop(boxes, (192, 256), alignment))
    np.testing.assert_allclose(g.apply(g.invert(whole), g.apply(whole, xy_frame)), xy_frame, atol=1e-9)


def test_refusals():
    with pytest.raises(BadParameter, match="no area"):
        g.frame_to_crop(np.array([5.0, 5.0, 5.0, 9.0]), (8, 8))
    with pytest.raises(BadParameter, match="alignment is 'edge'"):
        g.frame_to_crop(np.array([0.0, 0.0, 5.0, 9.0]), (8, 8), "edge")
