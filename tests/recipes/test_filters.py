from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import savgol_filter

from workbench.made import motion
from workbench.recipes.filters import (
    FILTERS,
    chosen_filters,
    euro_of_boxes,
    filtered,
    kalman,
    median,
    one_euro,
    savgol,
    straight_lines,
)


def test_filters_do_what_they_are_called():
    t = np.arange(31.0)[:, None, None]
    line = np.concatenate((2 * t, 5 - t), -1)
    np.testing.assert_allclose(straight_lines([line], 3)[0], line, atol=1e-4)
    np.testing.assert_allclose(savgol([line], 9, 1)[0], line, atol=1e-9)
    noisy = line + np.random.default_rng(1).normal(0, 1, line.shape)
    calm = one_euro(noisy, 30.0, 0.5)
    assert np.abs(np.diff(calm, 2, axis=0)).mean() < 0.3 * np.abs(np.diff(noisy, 2, axis=0)).mean()
    np.testing.assert_allclose(one_euro(np.ones((5, 2, 2)), 30.0), 1)


def test_a_median_drops_what_lasts_for_less_than_half_its_window():
    xy = np.zeros((20, 2, 2))
    xy[5:7, 0] = 50
    xy[12:16, 1] = 50
    calm = median([xy], 5)[0]
    assert (calm[:, 0] == 0).all() and (calm[12:16, 1] == 50).all()


def test_the_smoother_is_that_of_the_state_space_model(rng):
    """Rauch, Tung and Striebel's recursions, written out, from a start about which nothing is
    known.
    """
    xy, stiffness = np.cumsum(rng.normal(0, 1, (25, 1, 1)), 0), 7.0
    step = np.array([[1.0, 1.0], [0.0, 1.0]])
    noise = np.diag([0.0, 1 / stiffness])
    mean, spread, filtered_states, predicted_states = np.zeros(2), 1e9 * np.eye(2), [], []
    for value in xy.ravel():
        predicted_states.append((mean, spread))
        gain = spread[:, 0] / (spread[0, 0] + 1)
        mean = mean + gain * (value - mean[0])
        spread = spread - np.outer(gain, spread[0])
        filtered_states.append((mean, spread))
        mean, spread = step @ mean, step @ spread @ step.T + noise
    smooth = [filtered_states[-1][0]]
    for (m, p), (ahead, p_ahead) in zip(filtered_states[-2::-1], predicted_states[:0:-1]):
        back = p @ step.T @ np.linalg.inv(p_ahead)
        smooth.append(m + back @ (smooth[-1] - ahead))
    expected = np.array(smooth)[::-1, 0]
    np.testing.assert_allclose(kalman([xy], stiffness)[0].ravel(), expected, atol=1e-4)


def test_short_sequences_are_filtered_with_shorter_windows(rng):
    xy = rng.normal(100, 9, (4, 15, 2))
    for name, (apply, settings) in FILTERS.items():
        assert apply([xy], *settings[-1])[0].shape == xy.shape, name


def test_sequences_side_by_side_are_filtered_as_if_alone(rng, monkeypatch):
    monkeypatch.setattr("workbench.recipes.filters.AT_ONCE", 3)
    sequences = [rng.normal(100, 9, (n, 5, 2)) for n in (23, 31, 4, 13, 97)]
    for name, (apply, settings) in FILTERS.items():
        together = filtered(apply, sequences, settings[-1])
        assert len(together) == len(sequences)
        for xy, smooth in zip(sequences, together):
            np.testing.assert_allclose(
                smooth, apply([xy], *settings[-1])[0], rtol=1e-12, err_msg=f"{name}, {len(xy)}"
            )


def test_savgol_is_scipys_up_to_both_ends(rng):
    sequences = [rng.normal(100, 9, (n, 5, 2)) for n in (23, 11, 97)]
    for xy, smooth in zip(sequences, savgol(sequences, 11, 2)):
        np.testing.assert_allclose(smooth, savgol_filter(xy, 11, 2, axis=0), rtol=1e-12)


def test_one_euro_is_in_units_of_the_pose(rng):
    xy = rng.normal(100, 9, (23, 15, 2))
    np.testing.assert_allclose(
        euro_of_boxes([3 * xy], 1.0, 5.0)[0], 3 * euro_of_boxes([xy], 1.0, 5.0)[0], rtol=1e-5
    )


@pytest.mark.parametrize("best", [(3,), (10,)])
def test_settings_are_the_best_on_training_sequences(best):
    train = motion.sequences("synthetic", "train", cameras=1, limit=2)

    def score(xy, s):
        return -np.abs(xy - straight_lines([s.detected], *best)[0]).mean()

    tried = {"linear": (straight_lines, [(3,), (5,), (10,)])}
    assert chosen_filters(train, score, tried) == {"linear": (straight_lines, best)}
