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
from workbench.view import estimates, figures

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
    spot = {figures.REAL: np.full((5, 2), 7.0)}
    names = [f"t{n}" for n in range(5)]
    figure = estimates.maps_over(
        list(window.crops), list(maps), names, "made", TO_CROP, cols=3, points=spot
    )
    assert [t.type for t in figure.data] == ["heatmap", "scatter"] * 5
    assert len(figure.layout.images) == 5
    first = figure.data[0]
    np.testing.assert_allclose([first.x[0], first.x[-1]], [1.5, 4 * 23 + 1.5])
    np.testing.assert_allclose([first.y[0], first.y[-1]], [1.5, 4 * 31 + 1.5])
    args = figure.layout.sliders[0].steps[2].args
    assert args[0] == {"opacity": 0.4}
    assert list(args[1]) == [0, 2, 4, 6, 8], "the slider moves maps, not marks"
    assert f"up to {maps[1].max():.2g}" in figure.layout.annotations[1].text
    assert sum(bool(t.showlegend) for t in figure.data[1::2]) == 1


def test_a_panel_shows_the_key_frame(window):
    joints = skeleton("posetrack15")
    answer = {"OTPose": np.zeros((K, 2), np.float32)}
    panel = estimates.crop_panel(window, "made", joints, answer)
    truth, crosses = (panel["poses"][figures.REAL][part] for part in ("xy_frame", "marked"))
    assert (panel["picture"] == window.crops[2]).all()
    assert (np.isnan(truth[:, 0]) == (window.visibility[2] == 0)).all()
    assert (crosses != (window.visibility[2] == 2)).all()
    assert figures.annotated_pictures([panel], "made", cols=1).data[-1].name == "OTPose"
