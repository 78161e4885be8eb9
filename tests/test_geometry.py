from __future__ import annotations

import cv2
import numpy as np
import pytest

from workbench import geometry as g
from workbench.errors import BadParameter
from workbench.records import Camera

A = np.array


def assert_maps(affine, points, expected):
    np.testing.assert_allclose(g.apply(affine, A(points)), expected, atol=1e-12)


ALIGNMENTS = ["centre", "udp", "msra"]


def test_boxes_by_hand():
    np.testing.assert_array_equal(g.xywh_to_xyxy(A([3, 5, 7, 11])), [3, 5, 10, 16])
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
    assert_maps(
        g.frame_to_crop(box, (4, 4), "msra"), [[10.0, 20.0], [18.0, 28.0]], [[0, 0], [4, 4]]
    )
    # a heatmap pixel of stride 4 covers crop pixels 0..3: its centre is at 1.5
    assert_maps(g.crop_to_heatmap((192, 256), (48, 64)), [[1.5, 5.5]], [[0, 1]])
    assert_maps(g.crop_to_heatmap((192, 256), (48, 64), "msra"), [[4.0, 8.0]], [[1, 2]])
    assert_maps(g.crop_to_heatmap((192, 256), (48, 64), "udp"), [[191.0, 255.0]], [[47, 63]])


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_there_and_back(rng, alignment):
    corner = rng.uniform(0, 50, (5, 2))
    boxes = np.concatenate((corner, corner + rng.uniform(7, 60, (5, 2))), -1)
    xy_frame = rng.uniform(0, 100, (5, 11, 2))
    whole = g.compose(
        g.crop_to_heatmap((192, 256), (48, 64), alignment),
        g.frame_to_crop(boxes, (192, 256), alignment),
    )
    np.testing.assert_allclose(
        g.apply(g.invert(whole), g.apply(whole, xy_frame)), xy_frame, atol=1e-9
    )


def test_refusals():
    with pytest.raises(BadParameter, match="no area"):
        g.frame_to_crop(np.array([5.0, 5.0, 5.0, 9.0]), (8, 8))
    with pytest.raises(BadParameter, match="alignment is 'edge'"):
        g.frame_to_crop(np.array([0.0, 0.0, 5.0, 9.0]), (8, 8), "edge")


def camera(**kw):
    turn = A([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])  # looks along world x
    return Camera(turn, A([100.0, 0, 0]), A([1000.0, 2000]), A([500.0, 400]), **kw)


def test_projection_by_hand():
    # 3 right, 4 down, 10 away; from the world: x = 100 + 10, y = 4, z = -3
    expected = [1000 * 0.3 + 500, 2000 * 0.4 + 400]
    np.testing.assert_allclose(g.project(camera(), A([[3.0, 4, 10]])), [expected])
    np.testing.assert_allclose(g.project(camera(), A([110.0, 4, -3]), "world"), expected)
    # r^2 = 0.25; 1 + k1 r^2 + k2 r^4 + k3 r^6 = 1.25 + 0.125 + 0.0625, p1 y + p2 x = 0.04 + 0.06
    lens = camera(radial=A([1.0, 2, 4]), tangential=A([0.1, 0.2]))
    factor = 1.4375 + 0.1
    expected = [1000 * (0.3 * factor + 0.2 * 0.25) + 500, 2000 * (0.4 * factor + 0.1 * 0.25) + 400]
    np.testing.assert_allclose(g.project(lens, A([[[3.0, 4, 10]]])), [[expected]])


def test_radial_projection_is_that_of_opencv(rng):
    xyz = rng.uniform(-1, 1, (7, 3)) + A([0, 0, 5])
    lens = camera(radial=A([-0.2, 0.24, -0.003]))
    matrix = A([[1000.0, 0, 500], [0, 2000, 400], [0, 0, 1]])
    expected, _ = cv2.projectPoints(
        xyz, np.zeros(3), np.zeros(3), matrix, A([-0.2, 0.24, 0, 0, -0.003])
    )
    np.testing.assert_allclose(g.project(lens, xyz), expected[:, 0], atol=1e-9)


def test_projection_refuses():
    with pytest.raises(BadParameter, match="1 points are not in front"):
        g.project(camera(), A([[0.0, 0, 5], [0, 0, 0]]))
    with pytest.raises(BadParameter, match="space is 'root'"):
        g.project(camera(), A([0.0, 0, 5]), "root")
