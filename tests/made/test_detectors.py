"""Detectors that differ, each property against a pose on which it can be seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.made.bodies import sample_bodies
from workbench.made.detectors import Detector
from workbench.made.noise import DetectorNoise
from workbench.made.snapshots import cut
from workbench.skeletons import skeleton

EXACT = DetectorNoise(scale=1e-6, miss=-9.0, miss_slope=0.0)
BODY = skeleton("coco17")


def people(n=97):
    return cut(sample_bodies(n, np.random.default_rng(3), varied=True), np.random.default_rng(4))


def said(detector, pose, seed=5):
    return detector.apply(pose, np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_detector_and_answers():
    pose = people()
    before = pose.xy_frame.copy()
    a, b, c = (Detector.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert a == b and a != c
    np.testing.assert_array_equal(said(a, pose).xy_frame, said(b, pose).xy_frame)
    assert np.abs(said(a, pose).xy_frame - said(c, pose).xy_frame).max() > 1
    np.testing.assert_array_equal(pose.xy_frame, before)


def test_joints_that_are_not_there_are_guessed_and_little_believed():
    pose = people()
    lost = ~pose.labelled
    low, high = pose.boxes_xyxy[:, None, :2], pose.boxes_xyxy[:, None, 2:]
    for guesses in np.eye(3):
        found = said(Detector(EXACT, guesses=tuple(guesses)), pose)
        away = np.linalg.norm(found.xy_frame - pose.xy_frame, axis=-1)
        assert away[pose.labelled].max() < 0.1
        inside = ((found.xy_frame >= low - 1e-3) & (found.xy_frame <= high + 1e-3)).all(-1)
        if guesses[2] == 0:
            assert inside[lost].all()
        assert away[lost].mean() > 10
        sure = found.confidence
        assert 0 < sure[lost].mean() < sure[pose.labelled].mean() - 0.1


def test_left_and_right_are_exchanged_with_their_confidence():
    pose = people()
    pose = replace(pose, visibility=np.full_like(pose.visibility, 2))
    right = said(Detector(EXACT), pose)
    wrong = said(Detector(EXACT, flipped=1.0), pose)
    other = BODY.flip_index
    np.testing.assert_allclose(wrong.xy_frame, pose.xy_frame[:, other], atol=0.1)
    np.testing.assert_allclose(wrong.confidence, right.confidence[:, other], rtol=1e-5)


def test_limbs_are_found_on_a_neighbour():
    pose = people()
    pose = replace(pose, visibility=np.full_like(pose.visibility, 2))
    found = said(Detector(EXACT, neighbour=1.0), pose)
    elbow, wrist = (BODY.index(f"left_{name}") for name in ("elbow", "wrist"))

    def direction(xy):
        bone = xy[:, wrist] - xy[:, elbow]
        return bone / np.linalg.norm(bone, axis=-1, keepdims=True)

    theirs = np.roll(pose.xy_frame, 1, axis=0)
    np.testing.assert_allclose(direction(found.xy_frame), direction(theirs), atol=0.01)
    hips = [BODY.index(f"{side}_hip") for side in ("left", "right")]
    np.testing.assert_allclose(found.xy_frame[:, hips], pose.xy_frame[:, hips], atol=0.1)


@pytest.mark.parametrize("change", [{"warp": 3.0}, {"blind": 2.0}])
def test_confidences_on_another_scale_or_in_another_order(change):
    pose = people()
    plain = said(Detector(EXACT), pose).confidence.ravel()
    other = said(Detector(EXACT, **change), pose).confidence.ravel()
    same_order = np.array_equal(plain.argsort(kind="stable"), other.argsort(kind="stable"))
    same_values = np.allclose(np.sort(plain), np.sort(other))
    assert (same_order, same_values) == ("warp" in change, "blind" in change)
    assert np.corrcoef(plain, other)[0, 1] > 0.2
