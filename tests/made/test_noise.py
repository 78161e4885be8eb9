"""The detector's noise model, against hand-checkable cases and a real detector."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import spearmanr

from workbench.errors import BadParameter, BadRecord
from workbench.made.bodies import sample_bodies
from workbench.made.hands import sample_hands
from workbench.made.noise import DetectorNoise
from workbench.records import Detections, Pose
from workbench.skeletons import skeleton


def test_the_same_seed_gives_the_same_detections_and_the_pose_is_left_alone(rng):
    pose = sample_hands(13, rng)
    before = pose.xy_frame.copy()
    a, b, c = (DetectorNoise().apply(pose, np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(a.xy_frame, b.xy_frame)
    np.testing.assert_array_equal(a.confidence, b.confidence)
    assert np.abs(a.xy_frame - c.xy_frame).max() > 1
    np.testing.assert_array_equal(pose.xy_frame, before)
    assert (
        a.ids == pose.ids
        and a.skeleton == "hand21"
        and (0 <= a.confidence).all()
        and (a.confidence <= 1).all()
    )


def error_of(pose, detections):
    """Errors as a fraction of each pose's long side."""
    size = np.ptp(pose.xy_frame, axis=1).max(1)
    return np.linalg.norm(detections.xy_frame - pose.xy_frame, axis=-1) / size[:, None]


@pytest.mark.parametrize("sample", [sample_hands, sample_bodies])
def test_confidence_falls_with_error_and_with_occlusion_but_noisily(sample, rng):
    pose = sample(1009, rng)
    found = DetectorNoise().apply(pose, rng)
    error = error_of(pose, found)
    assert -0.85 < spearmanr(found.confidence.ravel(), error.ravel())[0] < -0.4
    hidden = pose.visibility == 1
    assert found.confidence[hidden].mean() < found.confidence[~hidden].mean() - 0.1
    assert np.median(error[hidden]) > 1.3 * np.median(error[~hidden])
    blind = Pose(
        pose.skeleton, pose.xy_frame, np.full_like(pose.visibility, 2), pose.boxes_xyxy, False
    )
    same = DetectorNoise().apply(blind, rng)
    assert abs(same.confidence[hidden].mean() - same.confidence[~hidden].mean()) < 0.05


def test_errors_scale_with_the_object_and_go_along_the_bones(rng):
    pose = sample_hands(2003, rng)
    double = Pose("hand21", 2 * pose.xy_frame, pose.visibility, 2 * pose.boxes_xyxy)
    a, b = (DetectorNoise().apply(p, np.random.default_rng(5)) for p in (pose, double))
    np.testing.assert_allclose(b.xy_frame, 2 * a.xy_frame, atol=0.01)
    log = np.log(error_of(pose, a) + 0.005)
    neighbours, strangers = (np.corrcoef(log[:, i], log[:, j])[0, 1] for i, j in ((7, 8), (4, 20)))
    assert neighbours > strangers + 0.1 > 0.2


def test_without_jitter_every_error_is_a_miss_onto_another_joint(rng):
    pose = sample_hands(101, rng)
    noise = DetectorNoise(miss=9.0, miss_slope=0.0, miss_blur=1e-4)
    found = noise.apply(pose, rng).xy_frame
    gap = np.linalg.norm(found[:, :, None] - pose.xy_frame[:, None], axis=-1)
    assert gap.min(-1).max() < 1.0
    assert (gap.argmin(-1) != np.arange(21)).mean() > 0.98
    always = DetectorNoise(miss=9.0, miss_slope=0.0, miss_blur=1e-4, swap=1e6)
    body = sample_bodies(101, rng)
    swapped = always.apply(body, rng).xy_frame[:, 5:]
    np.testing.assert_allclose(
        swapped, body.xy_frame[:, skeleton("coco17").flip_index][:, 5:], atol=1.0
    )


def test_structured_errors_keep_a_limb_together(rng):
    pose = sample_hands(1009, rng)
    quiet = {"scale": 1e-6, "miss": -9.0, "miss_slope": 0.0}
    alone = DetectorNoise(**quiet).apply(pose, rng).xy_frame - pose.xy_frame
    assert np.abs(alone).max() < 0.1
    turned = DetectorNoise(**quiet, limb=0.5).apply(pose, rng)
    error = turned.xy_frame - pose.xy_frame
    assert np.abs(error[:, [0, 1, 5, 9, 13, 17]]).max() < 0.1, (
        "the wrist and the base of each finger stay"
    )
    tip, before = error[:, 8].ravel(), error[:, 7].ravel()
    assert np.corrcoef(tip, before)[0, 1] > 0.9 and tip.std() > before.std()
    swapped = DetectorNoise(**quiet, limb_swap=1e6).apply(pose, rng)
    hard = swapped.confidence[:, 5:9].mean(1) < 0.3
    there = np.linalg.norm(
        swapped.xy_frame[hard][:, 6, None] - pose.xy_frame[hard][:, [2, 10, 14, 18]], axis=-1
    )
    assert np.median(there.min(1)) < 0.1, "the whole finger is answered at another one"
    moved = DetectorNoise(**quiet, shift=0.2).apply(pose, rng).xy_frame - pose.xy_frame
    assert np.ptp(moved, axis=1).max() < 0.1 < np.abs(moved).mean()


def test_an_unlabelled_joint_is_answered_in_the_box_with_low_confidence(rng):
    pose = sample_hands(211, rng)
    flags, xy = pose.visibility.copy(), pose.xy_frame.copy()
    flags[:, 3], xy[:, 3] = 0, 0
    found = DetectorNoise().apply(Pose("hand21", xy, flags, pose.boxes_xyxy), rng)
    assert found.confidence[:, 3].mean() < 0.1 < found.confidence[:, 2].mean() - 0.2
    size = np.ptp(pose.boxes_xyxy.reshape(-1, 2, 2), axis=1).max(1)
    middle = (pose.boxes_xyxy[:, :2] + pose.boxes_xyxy[:, 2:]) / 2
    assert np.median(np.linalg.norm(found.xy_frame[:, 3] - middle, axis=-1) / size) < 0.6


def test_fit_finds_the_parameters_that_made_the_detections(rng):
    made = DetectorNoise(
        scale=0.03, slope=0.7, miss=-1.2, miss_slope=0.6, root_scale=2.0, occlusion=0.8, dof=8.0
    )
    pose = sample_hands(3001, rng)
    found = DetectorNoise.fit(pose, made.apply(pose, rng))
    tolerance = {
        "scale": 0.004,
        "slope": 0.06,
        "root_scale": 0.2,
        "occlusion": 0.1,
        "miss": 0.15,
        "miss_slope": 0.12,
    }
    tolerance |= {
        "outward": 0.05,
        "confidence_mean": 0.02,
        "confidence_std": 0.02,
        "miss_blur": 0.03,
        "reach": 0.1,
    }
    tolerance |= {"shared": 0.15, "chain": 0.2}
    for name, within in tolerance.items():
        assert abs(getattr(found, name) - getattr(made, name)) < within, (
            name,
            getattr(found, name),
        )


def test_numbers_go_to_json_and_back_and_bad_ones_are_refused():
    noise = DetectorNoise(scale=0.031)
    assert DetectorNoise(**json.loads(json.dumps(asdict(noise)))) == noise
    for bad in ({"scale": 0.0}, {"shared": 1.0}, {"miss": float("nan")}, {"confidence_std": 0.6}):
        with pytest.raises(BadParameter, match=next(iter(bad))):
            DetectorNoise(**bad)


def test_fit_refuses_rows_that_do_not_match(rng):
    pose = sample_hands(13, rng)
    found = DetectorNoise().apply(pose, rng)
    with pytest.raises(BadRecord, match="match the rows"):
        DetectorNoise.fit(pose, found.select(slice(0, 11)))
    with pytest.raises(BadRecord, match="too few"):
        DetectorNoise.fit(pose.select(slice(0, 3)), found.select(slice(0, 3)))


@pytest.mark.realdata
def test_the_model_makes_the_errors_of_a_real_detector(data_root):
    """Quantiles of the error in each tenth of confidence, real against simulated on the same 846
    hands.
    """
    root = data_root / "port_panoptic"
    hands = json.loads((root / "annotations/panoptic_test.json").read_text())["annotations"]
    xy = np.array([np.reshape(a["keypoints"], (21, 3))[:, :2] for a in hands])
    boxes = np.concatenate([xy.min(1), xy.max(1)], -1)
    with np.load(root / "mobilenetv2_panoptic_256x256_test.npz", allow_pickle=False) as file:
        real = Detections("hand21", file["preds"][..., :2], file["preds"][..., 2], boxes)
    pose = Pose("hand21", xy, np.full(xy.shape[:2], 2), boxes, occlusion_known=False)

    fitted = DetectorNoise.fit(pose, real)
    assert fitted.occlusion == DetectorNoise().occlusion  # these labels say nothing about occlusion
    for noise, rms, worst in ((fitted, 0.11, 0.35), (DetectorNoise(), 0.08, 0.25)):
        said = noise.diagnose(pose, real, np.random.default_rng(0))
        # measured: rms 0.08, worst 0.28 fitted; 0.05, 0.10
        gap = np.log(said["error_simulated"] / said["error_real"])
        assert np.sqrt((gap**2).mean()) < rms and np.abs(gap).max() < worst
        assert np.abs(said["share_real"] - said["share_simulated"]).sum() / 2 < 0.15
    wrong = DetectorNoise(scale=0.07).diagnose(pose, real, np.random.default_rng(0))
    assert (
        np.sqrt((np.log(wrong["error_simulated"] / wrong["error_real"]) ** 2).mean()) > 0.11
    )  # the tolerance can fail


def test_a_diagnosis_counts_every_labelled_joint_once(rng):
    pose = sample_hands(53, rng)
    flags = pose.visibility.copy()
    flags[:, 3] = 0
    pose = Pose("hand21", pose.xy_frame, flags, pose.boxes_xyxy)
    confidence = np.tile(np.linspace(0.05, 0.95, 21), (53, 1))
    real = Detections("hand21", pose.xy_frame + np.array([3, 4]), confidence, pose.boxes_xyxy)
    said = DetectorNoise().diagnose(pose, real, rng, draws=2, bins=10)
    assert said["share_real"].sum() == pytest.approx(1) == said["share_simulated"].sum()
    assert said["share_real"][1] == pytest.approx(1 / 20), (
        "joints 2 and 3 are here, and 3 is not labelled"
    )
    tenths = said["confidence_tenths"]
    assert (
        tenths.shape == (2, 10)
        and (np.diff(tenths[0]) > 0).all()
        and said["error_real"].shape == (10, 5)
    )
    size = np.ptp(pose.xy_frame[:, np.arange(21) != 3], axis=1).max(1)
    assert said["error_real"].min() >= 5 / size.max() and said["error_real"].max() <= 5 / size.min()
    assert (np.diff(said["error_simulated"], axis=1) > 0).all()
