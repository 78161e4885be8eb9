"""Procedural bodies: kinematics, cameras, and the skeletons that show them."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import UnknownName
from workbench.made.bodies import (
    BODY_LIMITS,
    BODY_SKELETONS,
    body_bones_mm,
    body_joints_mm,
    head_offsets_mm,
    pose_body,
    sample_bodies,
    skeleton_joints,
)
from workbench.skeletons import skeleton

N = 997


def test_body_joints_bend_the_way_people_do():
    joints = body_joints_mm(N, np.random.default_rng(3))
    for side, sign in (("left", 1), ("right", -1)):
        shoulder, elbow, wrist, hip, knee, ankle = (
            joints[f"{side}_{j}"] for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        )
        assert (sign * hip[:, 0] > 0).all()
        folded = np.degrees(np.arccos(np.clip(_cosine(knee - hip, ankle - knee), -1, 1)))
        assert folded.max() <= 140.01 and folded.max() > 90
        # A shank turns about the thigh's sideways axis only, backwards: never towards the front of
        # the thigh.
        front = np.cross([1.0, 0, 0], knee - hip) * -1  # forward of a thigh that hangs down
        little_turned = np.abs((knee - hip)[:, 0]) < 60
        bent = little_turned & (folded > 30)
        assert ((ankle - knee) * front).sum(-1)[bent].max() < 0.35 * 400 * 400
        assert np.quantile(((ankle - knee) * front).sum(-1)[bent], 0.95) < 0
        ratio = np.linalg.norm(wrist - elbow, axis=-1) / np.linalg.norm(elbow - shoulder, axis=-1)
        assert abs(np.median(ratio) - 0.146 / 0.186) < 0.02
    across = [np.abs(joints[f"{side}_wrist"][:, 0]).mean() for side in ("left", "right")]
    assert abs(across[0] / across[1] - 1) < 0.1  # left and right in equal parts


def _cosine(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_bodies_stand_upright_and_show_their_left_on_the_right_when_they_face_us():
    pose = sample_bodies(N, np.random.default_rng(3))
    nose, shoulders, ankles = pose.xy_frame[:, 0], pose.xy_frame[:, 5:7], pose.xy_frame[:, 15:]
    assert (nose[:, 1] < ankles[..., 1].min(1)).mean() > 0.88
    broad = np.ptp(shoulders[..., 0], axis=1) > 0.15 * np.ptp(pose.xy_frame[..., 1], axis=1)
    facing = (pose.visibility[:, :3] == 2).all(1) & broad
    upright = nose[:, 1] < shoulders[..., 1].min(1)
    assert (shoulders[:, 0, 0] > shoulders[:, 1, 0])[facing & upright].mean() > 0.97
    behind = (pose.visibility[:, :3] == 1).all(1)
    assert (shoulders[:, 0, 0] < shoulders[:, 1, 0])[behind & upright].mean() > 0.85
    assert 0.2 < behind.mean() < 0.6


def test_bodies_are_the_same_people_in_every_version():
    pose = sample_bodies(13, np.random.default_rng(5))
    # px: nose, left wrist, right ankle
    expected = [[512.8695, 403.7081], [484.8476, 405.5151], [550.1091, 474.2792]]
    np.testing.assert_allclose(pose.xy_frame[7, [0, 9, 16]], expected, atol=1e-3)
    assert (pose.visibility == 1).sum() == 58


def test_a_body_is_posed_by_its_angles():
    rng = np.random.default_rng(3)
    bone = body_bones_mm(1, rng)
    head = head_offsets_mm(bone["stature"], rng)
    angles = {name: np.zeros(5) for name in BODY_LIMITS}
    angles["left_elbow"] = np.array([0.0, 30, 60, 90, 120])
    angles["right_hip_flexion"] = np.full(5, 90.0)
    joints = pose_body(bone, head, angles)
    assert set(joints) == set(body_joints_mm(1, rng)) and joints["nose"].shape == (5, 3)
    forearm = joints["left_wrist"] - joints["left_elbow"]
    length = bone["forearm"][0, 0]
    np.testing.assert_allclose(forearm[0], [0, -length, 0], atol=1e-9)  # hangs down
    np.testing.assert_allclose(forearm[3], [0, 0, length], atol=1e-9)  # points ahead
    np.testing.assert_allclose(
        joints["right_knee"] - joints["right_hip"], [[0, 0, bone["thigh"][0, 0]]] * 5, atol=1e-9
    )
    in_order = skeleton_joints(joints, "jhmdb15")
    for i, name in enumerate(skeleton("jhmdb15").joints):
        np.testing.assert_array_equal(in_order[:, i], joints["skull" if name == "head" else name])
    with pytest.raises(UnknownName, match="jhmdb15"):
        skeleton_joints(joints, "jhmdb")


@pytest.mark.parametrize("name", sorted(BODY_SKELETONS))
def test_every_skeleton_shows_the_same_bodies(name):
    coco, other = (
        sample_bodies(13, np.random.default_rng(5), skeleton=s) for s in ("coco17", name)
    )
    shared = [j for j in skeleton("coco17").joints if j in skeleton(name).joints]
    assert len(shared) >= 10
    a, b = ([skeleton(s).index(j) for j in shared] for s in ("coco17", name))
    np.testing.assert_array_equal(coco.xy_frame[:, a], other.xy_frame[:, b])
    np.testing.assert_array_equal(coco.visibility[:, a], other.visibility[:, b])
