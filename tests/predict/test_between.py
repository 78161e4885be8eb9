"""What is said about errors between labels: sums over squares, means, and who is nearest."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.predict.between import NEAREST, everywhere, nearest, squares
from workbench.skeletons import skeleton


def test_squares_are_summed_by_their_upper_left_token():
    found = squares(np.arange(6.0), (2, 3), 2)
    np.testing.assert_array_equal(found, [[0 + 1 + 2 + 3], [2 + 3 + 4 + 5]])


def test_every_window_counts_once_and_unlabelled_joints_do_not():
    kin = skeleton("coco17")
    px = np.full((3, 17), np.nan)
    px[0, :2], px[1, 0] = (1, 3), 6
    assert everywhere({"flow": px}, "all joints", kin) == "All 3 windows: flow 4.0 px."
    assert everywhere({"flow": px}, kin.joints[1], kin) == "All 3 windows: flow 3.0 px."


@pytest.mark.parametrize(
    ("ends", "who"),
    [
        (((0.1, 1.0), (0.1, 1.0), (-1.0, 1.0)), "STDPose"),
        (((0.1, 1.0), (-1.0, 1.0), (0.1, 1.0)), "none"),
        (((-1.0, 1.0), (-2.0, -1.0), (1.0, 2.0)), "optical flow"),
        (((-1.0, 1.0), (-2.0, -1.0), (-1.0, 2.0)), "none"),
        (((-2.0, -1.0), (-1.0, 1.0), (-2.0, -1.0)), "straight line"),
        (((-2.0, -1.0), (-1.0, 1.0), (-2.0, 1.0)), "none"),
    ],
)
def test_the_nearest_is_shown_to_be_nearer_than_both_others(ends, who):
    assert nearest(*ends) == who and who in NEAREST
