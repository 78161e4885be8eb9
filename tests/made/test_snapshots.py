"""Hands and bodies before random cameras: pictures, hidden joints, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import BadParameter, UnknownName
from workbench.made.bodies import sample_bodies
from workbench.made.hands import sample_hands
from workbench.made.snapshots import LEAST, cut, hidden_by_flesh
from workbench.skeletons import skeleton

N = 997


@pytest.mark.parametrize("sample", [sample_hands, sample_bodies])
def test_the_same_seed_gives_the_same_arrays_and_another_seed_does_not(sample):
    a, b, c = (sample(13, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(a.xy_frame, b.xy_frame)
    np.testing.assert_array_equal(a.visibility, b.visibility)
    assert np.abs(a.xy_frame - c.xy_frame).max() > 10
    blind = sample(13, np.random.default_rng(5), occlusion=False)
    np.testing.assert_array_equal(a.xy_frame, blind.xy_frame)
    assert a.occlusion_known and not blind.occlusion_known and (blind.visibility == 2).all()


@pytest.mark.parametrize(
    ("sample", "low", "high"), [(sample_hands, 40, 300), (sample_bodies, 80, 600)]
)
def test_boxes_hold_the_joints_and_lie_in_the_frame(sample, low, high):
    pose = sample(N, np.random.default_rng(3))
    np.testing.assert_allclose(pose.boxes_xyxy[:, :2], pose.xy_frame.min(1))
    np.testing.assert_allclose(pose.boxes_xyxy[:, 2:], pose.xy_frame.max(1))
    side = (pose.boxes_xyxy[:, 2:] - pose.boxes_xyxy[:, :2]).max(1)
    assert 0.8 * low < side.min() < 1.2 * low and 0.8 * high < side.max() <= high * 1.001
    assert pose.xy_frame.min() >= 0 and (pose.xy_frame.max((0, 1)) <= [1279, 719]).all()
    assert 0.1 < (pose.visibility == 1).mean() < 0.4


def test_a_capsule_hides_what_lies_behind_it_and_nothing_else():
    joints = [[0.0, 0, 1000], [0, 30, 1000], [0, 0, 900]]
    flesh = (np.array([[3, 4]]), np.array([8.0]), 8.0)
    for bone, hidden in (
        ([[-20.0, 0, 950], [20.0, 0, 950]], [True, False, False]),
        ([[0.0, 0, 1000], [0.0, 0, 960]], [True, False, False]),  # the joint's own, at the camera
        ([[-20.0, 0, 995], [20.0, 0, 995]], [False, False, False]),  # it touches the joint
    ):
        xyz = np.array([joints + bone])
        np.testing.assert_array_equal(hidden_by_flesh(xyz, *flesh)[0, :3], hidden)


def test_samples_do_not_depend_on_how_many_are_looked_at_at_once(rng):
    xyz = rng.normal((0, 0, 1000), 50, (7, 5, 3))
    flesh = (np.array([[0, 1], [1, 2]]), np.array([30.0, 40.0]), 5.0)
    whole = hidden_by_flesh(xyz, *flesh)
    assert whole.any()
    np.testing.assert_array_equal(whole, hidden_by_flesh(xyz, *flesh, rows_at_once=3))


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(UnknownName, match="hand21_rhd"):
        sample_hands(3, np.random.default_rng(0), skeleton="hand_rhd")
    with pytest.raises(UnknownName, match="coco17"):
        sample_bodies(3, np.random.default_rng(0), skeleton="coco")
    for sample in (sample_hands, sample_bodies):
        with pytest.raises(BadParameter, match="n is 0"):
            sample(0, np.random.default_rng(0))


def test_pictures_cut_people_off():
    pose = sample_bodies(499, np.random.default_rng(3), varied=True)
    shown = cut(pose, np.random.default_rng(4))
    np.testing.assert_array_equal(shown.xy_frame, pose.xy_frame)
    labelled = shown.labelled
    assert labelled.sum(1).min() >= LEAST and 0.6 < labelled.mean() < 0.75
    assert ((shown.visibility <= pose.visibility) | ~pose.labelled).all()
    low, high = shown.boxes_xyxy[:, None, :2], shown.boxes_xyxy[:, None, 2:]
    inside = ((pose.xy_frame >= low - 1e-3) & (pose.xy_frame <= high + 1e-3)).all(-1)
    assert inside[labelled].all(), "the box holds what is labelled"
    assert inside[~labelled].mean() < 0.7
    legs = [skeleton("coco17").index(f"{side}_ankle") for side in ("left", "right")]
    assert labelled[:, legs].mean() < labelled[:, 5:7].mean() - 0.15, "half bodies are upper ones"
    again = cut(pose, np.random.default_rng(4))
    np.testing.assert_array_equal(again.visibility, shown.visibility)
