"""What estimators' views share, by hand: errors, peaks, maps over pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench.data.windows import Window
from workbench.models import build
from workbench.predict import ClipEstimator
from workbench.skeletons import skeleton
from workbench.view import estimates
from workbench.view.panels import HIDDEN, NOTHING

K, (W, H) = 15, (24, 32)
TO_CROP = np.array([[4.0, 0, 1.5], [0, 4, 1.5]])


@pytest.fixture
def window():
    rng = np.random.default_rng(7)
    flags = np.tile(rng.permutation(np.repeat([0, 1, 2], (1, 6, 8))), (5, 1))
    crops = rng.integers(0, 256, (5, 4 * H, 4 * W, 3), dtype=np.uint8)
    xy = rng.uniform(0, 90, (5, K, 2)).astype(np.float32)
    return Window(crops, xy, flags, np.eye(2, 3), np.arange(5))


def test_errors_by_hand():
    truth = np.zeros((1, 3, 2), np.float32)
    answers = {"a": truth + np.float32((3, 4)), "b": truth + np.float32([[[0, 1], [0, 2], [0, 9]]])}
    one, two = estimates.error_rows(answers, truth, np.array([[2, 1, 0]]))
    both = {"visible joints, px": 5, "occluded joints, px": 5}
    assert one == {"": "a", **both, "answer moves, px": 0}
    assert (two["visible joints, px"], two["occluded joints, px"]) == (1, 2)
    assert two["answer moves, px"] == pytest.approx((18**0.5 + 13**0.5 + 34**0.5) / 3)


def test_peaks_stand_where_maps_are_highest():
    estimator = ClipEstimator(build("otpose", tiny("otpose")))
    w, h = estimator.model.config.grid
    maps = torch.zeros(1, 2, h, w)
    maps[0, 0, 5, 7] = 1
    maps[0, 1, 14, 3] = 1
    to_crop = estimator.model.to_crop.numpy()
    expected = np.array([[7, 5, 1], [3, 14, 1]]) @ to_crop.T
    np.testing.assert_allclose(estimates.peaks(estimator, maps)[0], expected, atol=1)


def test_maps_lie_over_their_pictures(window):
    maps = np.random.default_rng(1).random((5, H, W)).astype(np.float32)
    names, spot = [f"t{n}" for n in range(5)], np.full((5, 2), 7.0)
    panels = estimates.map_panels(list(window.crops), list(maps), names, TO_CROP, truth=spot)
    assert [panel.title for panel in panels] == names
    assert [panel.heat.high for panel in panels] == [pytest.approx(grid.max()) for grid in maps]
    first = panels[0]
    assert (first.frames[0] == window.crops[0]).all() and (first.heat.affine == TO_CROP).all()
    assert first.arrows[0].role == "truth" and first.arrows[0].ends.tolist() == [[7, 7, 7, 7, 2]]
    assert not estimates.map_panels([window.crops[0]], [maps[0]], names, TO_CROP)[0].arrows


def test_a_panel_shows_the_key_frame(window):
    joints = skeleton("posetrack15")
    answer = {"OTPose": np.zeros((K, 2), np.float32)}
    panel = estimates.crop_panel(window, "made", joints, answer)
    truth, ours = panel.people
    assert (panel.frames[0] == window.crops[2]).all()
    flags = window.visibility[2]
    assert ((truth.marks == NOTHING) == (flags == 0)).all()
    assert ((truth.marks == HIDDEN) == (flags == 1)).all()
    assert (ours.name, ours.role) == ("OTPose", "ours")
