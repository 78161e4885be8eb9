"""Errors of poses, by hand and beside published numbers."""

from __future__ import annotations

import numpy as np
import pytest

from workbench import geometry, metrics
from workbench.errors import BadParameter


def test_epe_by_hand():
    truth = np.zeros((2, 3, 2))
    pred = truth.copy()
    pred[0, 1] = (3, 4)  # one joint off by 5
    pred[1] += (0, 2)  # the whole pose off by 2
    np.testing.assert_allclose(metrics.epe(pred, truth), [5 / 3, 2])
    np.testing.assert_allclose(metrics.epe(pred, truth, root=0), [5 / 3, 0])


@pytest.mark.parametrize("d", [2, 3])
def test_procrustes_undoes_a_similarity(rng, d):
    truth = rng.normal(size=(5, 7, d)) * 40
    turn = np.linalg.qr(rng.normal(size=(5, d, d)))[0]
    turn[np.linalg.det(turn) < 0, :, 0] *= -1
    moved = 1.7 * truth @ turn.swapaxes(-1, -2) + rng.normal(size=(5, 1, d))
    np.testing.assert_allclose(metrics.procrustes(moved, truth), truth, atol=1e-9)
    assert metrics.p_epe(moved, truth).max() < 1e-9


def test_procrustes_never_mirrors(rng):
    truth = rng.normal(size=(5, 7, 2))
    mirrored = truth * (-1, 1)
    assert metrics.p_epe(mirrored, truth).min() > 0.1


def test_a_rigid_alignment_turns_and_moves_and_never_scales(rng):
    truth = rng.normal(0, 10, (5, 21, 2))
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = truth @ turn.T + (3, -8)
    assert metrics.p_epe(moved, truth, align="rigid").max() < 1e-9
    small = metrics.p_epe(0.9 * moved, truth, align="rigid")
    centred = truth - truth.mean(1, keepdims=True)
    np.testing.assert_allclose(small, 0.1 * np.linalg.norm(centred, axis=-1).mean(1), rtol=1e-6)
    pred = truth + rng.normal(0, 1, truth.shape)
    there, back = (
        metrics.joint_distances(metrics.procrustes(a, b, rigid=True), b).mean(1)
        for a, b in ((truth, pred), (pred, truth))
    )
    np.testing.assert_allclose(there, back, rtol=1e-9)
    np.testing.assert_allclose(metrics.p_epe(pred, truth, align="rigid"), there, rtol=1e-9)


def test_shrinking_lowers_only_the_paper_s_p_epe(rng):
    truth = rng.normal(size=(11, 21, 2)) * 30
    pred = truth + rng.normal(size=truth.shape) * 8
    both = {a: metrics.p_epe(pred, truth, align=a) for a in ("truth_to_pred", "pred_to_truth")}
    small = {a: metrics.p_epe(0.9 * pred, truth, align=a) for a in both}
    np.testing.assert_allclose(small["truth_to_pred"], 0.9 * both["truth_to_pred"])
    np.testing.assert_allclose(small["pred_to_truth"], both["pred_to_truth"])
    with pytest.raises(BadParameter, match="choose truth_to_pred"):
        metrics.p_epe(pred, truth, align="both")


def test_a_degenerate_pose_gives_a_finite_error():
    truth = np.arange(10.0).reshape(1, 5, 2)
    assert np.isfinite(metrics.p_epe(np.zeros((1, 5, 2)), truth, align="pred_to_truth")).all()


def test_bootstrap_resamples_groups(rng):
    values = np.repeat(rng.normal(size=13), 50)  # 13 groups of 50 identical rows
    groups = np.repeat(np.arange(13), 50)
    low, high = metrics.bootstrap_interval(values, groups, np.random.default_rng(1))
    assert low < values.mean() < high
    expected = 2 * 1.96 * np.std(values) / np.sqrt(13)
    assert 0.6 * expected < high - low < 1.4 * expected, "rows of a group are not independent"
    assert (low, high) == metrics.bootstrap_interval(values, groups, np.random.default_rng(1))
    with pytest.raises(BadParameter, match="1 group"):
        metrics.bootstrap_interval(values, np.zeros(650), np.random.default_rng(1))


@pytest.mark.realdata
def test_the_public_detections_score_as_published(data_root):
    """PORT Table I, MobileNetV2 on CMU Panoptic: 15.27 / 7.76; aligned the other way 7.7372."""
    from workbench.data.hands import read_port_panoptic

    hands = read_port_panoptic(data_root / "port_panoptic")
    truth, detected = hands.poses, hands.detections
    args = detected.xy_frame, truth.xy_frame
    assert metrics.epe(*args, root=0).mean() == pytest.approx(15.2702, abs=5e-5)
    assert metrics.epe(*args).mean() == pytest.approx(9.7497, abs=5e-5)
    assert metrics.p_epe(*args).mean() == pytest.approx(7.7593, abs=5e-5)
    assert metrics.p_epe(*args, align="pred_to_truth").mean() == pytest.approx(7.7372, abs=5e-5)
    for factor, row in {0.97: (15.17, 7.53), 0.95: (15.23, 7.37)}.items():
        wrist = detected.xy_frame[:, :1]
        small = wrist + factor * (detected.xy_frame - wrist)
        assert metrics.epe(small, truth.xy_frame, root=0).mean() == pytest.approx(row[0], abs=5e-3)
        assert metrics.p_epe(small, truth.xy_frame).mean() == pytest.approx(row[1], abs=5e-3)


def test_rotation_turns_x_towards_y():
    np.testing.assert_allclose(geometry.rotation(np.array(np.pi / 2)) @ [1, 0], [0, 1], atol=1e-12)


def test_pck_counts_the_limit_and_leaves_out_what_has_no_label():
    truth = np.zeros((3, 2, 2))
    pred = np.zeros((3, 2, 2))
    pred[:, 0, 0] = 4.0, 5.0, 5.001  # box 100 px: 0.05 of it is 5
    use = np.array([[True, False], [True, False], [True, False]])
    sizes = metrics.box_sizes(np.array([[0, 0, 100, 40]] * 3))
    np.testing.assert_array_equal(sizes, [100, 100, 100])
    by_joint = metrics.pck(pred, truth, sizes, 0.05, use)
    assert by_joint[0] == pytest.approx(2 / 3) and np.isnan(by_joint[1])
    assert metrics.torso_sizes(np.array([[[0.0, 0], [3, 4], [9, 9]]]), 0, 1) == 5


def test_accel_is_zero_for_a_constant_drift_and_has_units():
    t = np.arange(7.0)
    truth = np.stack((t**2, t), -1)[:, None]
    assert np.abs(metrics.accel(truth + 3 * t[:, None, None], truth)).max() < 1e-12
    # acceleration 2 a frame squared
    bent = truth + np.stack((0.5 * 2.0 * t**2, 0 * t), -1)[:, None]
    np.testing.assert_allclose(metrics.accel(bent, truth), [2.0] * 5)
