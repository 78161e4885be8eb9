"""Scores by visibility, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from workbench import metrics
from workbench.errors import BadParameter

from .people import people, whole


def test_pck_by_hand():
    flags = np.full((2, 17), 2)
    flags[:, 0], flags[0, 1], flags[1, 16] = 1, 0, 0
    truth = people(flags, ["a", "a"])
    pred = whole(truth)
    pred[0, 0] += (5, 0)  # exactly 5 % of 100 px
    pred[1, 0] += (5.1, 0)
    pred[1, 5] += (0, 40)
    assert metrics.pck_by_visibility(pred, truth) == pytest.approx(
        {"PCK-All": (15 + 0.5 + 0.5) / 17, "PCK-Visible": (15 + 0.5) / 16, "PCK-Occluded": 0.5}
    )
    assert metrics.pck_by_visibility(pred, truth, 0.4)["PCK-All"] == 1
    pred[1] = np.nan  # nobody found the second
    assert metrics.pck_by_visibility(pred, truth)["PCK-Occluded"] == 0.5
    assert metrics.pck_by_visibility(pred, truth)["PCK-All"] == pytest.approx((1 + 15 * 0.5) / 17)
    assert metrics.pck_by_visibility(pred[:0], truth.select([])) == {}


def test_visibility_accuracy_counts_unlabelled_joints_as_not_visible():
    flags = np.array([[2] * 10 + [1] * 4 + [0] * 3])
    truth = people(flags, ["a"])
    probability = np.array([[0.5] * 9 + [0.4] + [0.1] * 3 + [0.9] + [0.2, 0.3, 0.8]])
    assert metrics.visibility_accuracy(probability, truth) == pytest.approx(14 / 17)
    with pytest.raises(BadParameter, match="no joint to judge"):
        metrics.visibility_accuracy(probability[:0], truth.select([]))


def test_calibration_by_hand():
    found = metrics.calibration(
        np.array([0.0, 0.1, 0.9, 1.0, 1.0]), np.array([False, True, True, True, False]), bins=5
    )
    np.testing.assert_allclose(found.probability, [0.05, 2.9 / 3])
    np.testing.assert_allclose(found.frequency, [0.5, 2 / 3])
    assert found.count.tolist() == [2, 3]
    assert found.error == pytest.approx((2 * 0.45 + 3 * 0.3) / 5)
    for bad in ([], [1.2], [np.nan]):
        with pytest.raises(BadParameter, match="from 0 to 1"):
            metrics.calibration(np.array(bad, float), np.ones(len(bad), bool))
