"""Procedural hands and bodies: anatomy in 3D, the camera, hidden joints, and how they compare
with real hands.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.errors import BadParameter, UnknownName
from workbench.made.bodies import (
    BODY_LIMITS,
    BODY_SKELETONS,
    _hidden,
    body_bones_mm,
    body_joints_mm,
    hand_joints_mm,
    hands_in_camera,
    head_offsets_mm,
    pose_body,
    sample_bodies,
    sample_hands,
    skeleton_joints,
)
from workbench.skeletons import RHD_FROM_HAND21, skeleton

N = 997


def right_hands(n=N, seed=3):
    """Hands in their own frame, the left ones mirrored back by the order of their knuckles."""
    xyz = hand_joints_mm(n, np.random.default_rng(seed))
    return xyz * np.where(xyz[:, 5, 0] > xyz[:, 17, 0], 1, -1)[:, None, None] ** [1, 0, 0]


def bend(first, second):
    """Degrees by which the second bone turns palmwards from the first, about the finger's
    sideways axis.
    """
    towards = np.cross(first, second)
    angle = np.degrees(np.arctan2(np.linalg.norm(towards, axis=-1), (first * second).sum(-1)))
    return np.where(towards[..., 0] >= 0, angle, -angle)


@pytest.mark.parametrize("sample", [sample_hands, sample_bodies])
def test_the_same_seed_gives_the_same_arrays_and_another_seed_does_not(sample):
    a, b, c = (sample(13, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(a.xy_frame, b.xy_frame)
    np.testing.assert_array_equal(a.visibility, b.visibility)
    assert np.abs(a.xy_frame - c.xy_frame).max() > 10
    blind = sample(13, np.random.default_rng(5), occlusion=False)
    np.testing.assert_array_equal(a.xy_frame, blind.xy_frame)
    assert a.occlusion_known and not blind.occlusion_known and (blind.visibility == 2).all()


def test_no_finger_bends_backwards_or_beyond_its_limit():
    fingers = right_hands()[:, 5:].reshape(N, 4, 4, 3)
    bones = np.diff(fingers, axis=2)
    pip, dip = bend(bones[:, :, 0], bones[:, :, 1]), bend(bones[:, :, 1], bones[:, :, 2])
    assert pip.min() > -5.01 and pip.max() < 110.01 and np.ptp(pip) > 100
    assert dip.min() > -10.01 and dip.max() < 90.01
    assert np.corrcoef(pip.ravel(), dip.ravel())[0, 1] > 0.9  # DIP follows PIP
    straight = bend(fingers[:, :, 0] * [0, 1, 1], bones[:, :, 0] * [0, 1, 1])
    assert -40 < straight.min() and straight.max() < 115  # MCP limit plus the cupped palm


def test_hand_bones_have_published_proportions_and_the_thumb_is_on_its_side():
    xyz = right_hands()
    middle = np.linalg.norm(np.diff(xyz[:, 9:13], axis=1), axis=-1).mean(0)
    # mm: proximal, middle, distal
    np.testing.assert_allclose(middle, [44.6 + 4.5, 26.3, 17.4 + 0.5], rtol=0.02)
    assert 78 < np.linalg.norm(xyz[:, 9], axis=-1).mean() < 92
    assert (xyz[:, 2, 0] > 0).mean() > 0.99  # the thumb's knuckle is on the radial side
    assert (np.diff(xyz[:, 5:18:4, 0], axis=1) < 0).all()  # knuckles in order
    # left and right hands
    assert abs((hand_joints_mm(N, np.random.default_rng(3))[:, 5, 0] > 0).mean() - 0.5) < 0.06


def test_hand_families_are_all_there():
    xyz = right_hands()
    reach = np.linalg.norm(xyz[:, 8::4], axis=-1)  # wrist to the four fingertips
    straight = reach > 130
    assert (straight.sum(1) == 4).mean() > 0.05  # open
    assert (straight.sum(1) == 0).mean() > 0.05  # fist and hook
    assert (straight[:, 0] & ~straight[:, 1:].any(1)).mean() > 0.02  # pointing
    pinch = np.linalg.norm(xyz[:, 4] - xyz[:, 8], axis=-1)
    assert (pinch < 25).mean() > 0.03 and (pinch > 100).mean() > 0.05


def test_hands_in_camera_are_rigid_and_a_pinhole_picture():
    own = hand_joints_mm(N, np.random.default_rng(3))
    xyz_camera, xy_frame = hands_in_camera(N, np.random.default_rng(3))
    i, j = np.triu_indices(21, 1)
    gap = [np.linalg.norm(x[:, i] - x[:, j], axis=-1) for x in (own, xyz_camera)]
    np.testing.assert_allclose(*gap, atol=1e-6)
    own, xyz_camera = own - own[:, :1], xyz_camera - xyz_camera[:, :1]
    triple = [
        np.einsum("nc,nc->n", np.cross(x[:, 2], x[:, 5]), x[:, 17]) for x in (own, xyz_camera)
    ]
    np.testing.assert_allclose(*triple, atol=1e-3)  # turned, not mirrored
    xyz_camera, _ = hands_in_camera(N, np.random.default_rng(3))
    ray = xyz_camera[..., :2] / xyz_camera[..., 2:]
    focal = np.ptp(xy_frame, axis=1) / np.ptp(ray, axis=1)
    np.testing.assert_allclose(focal[:, 0], focal[:, 1])
    centre = xy_frame - focal[:, None] * ray
    np.testing.assert_allclose(centre, np.broadcast_to(centre[:, :1], centre.shape), atol=1e-6)


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


def test_the_rhd_order_is_the_same_hands_with_fingers_from_the_tip():
    palm, tip = (
        sample_hands(13, np.random.default_rng(5), skeleton=s) for s in ("hand21", "hand21_rhd")
    )
    np.testing.assert_array_equal(tip.xy_frame, palm.xy_frame[:, list(RHD_FROM_HAND21)])
    np.testing.assert_array_equal(tip.visibility, palm.visibility[:, list(RHD_FROM_HAND21)])


def test_a_capsule_hides_what_lies_behind_it_and_nothing_else():
    joint = np.array([[[0.0, 0, 1000], [0, 30, 1000], [0, 0, 900]]])
    bone = np.array([[[-20.0, 0, 950]]]), np.array([[[20.0, 0, 950]]])
    np.testing.assert_array_equal(
        _hidden(joint, *bone, np.array([8.0]), 8.0), [[True, False, False]]
    )
    # the joint's own bone points at the camera
    towards = np.array([[[0.0, 0, 1000]]]), np.array([[[0.0, 0, 960]]])
    np.testing.assert_array_equal(
        _hidden(joint, *towards, np.array([8.0]), 8.0), [[True, False, False]]
    )
    touching = np.array([[[-20.0, 0, 995]]]), np.array([[[20.0, 0, 995]]])
    assert not _hidden(joint, *touching, np.array([8.0]), 8.0).any()


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


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(UnknownName, match="hand21_rhd"):
        sample_hands(3, np.random.default_rng(0), skeleton="hand_rhd")
    with pytest.raises(UnknownName, match="coco17"):
        sample_bodies(3, np.random.default_rng(0), skeleton="coco")
    for sample in (sample_hands, sample_bodies):
        with pytest.raises(BadParameter, match="n is 0"):
            sample(0, np.random.default_rng(0))


@pytest.mark.realdata
def test_procedural_hands_lie_nearer_to_real_hands_than_other_peoples_hands_do(data_root):
    """Median distance to the nearest neighbour after a similarity without reflection, over the
    long side.
    """
    file = json.loads((data_root / "port_panoptic/annotations/panoptic_test.json").read_text())
    names = {image["id"]: image["file_name"].split("/")[-1] for image in file["images"]}
    real = np.array([np.reshape(a["keypoints"], (21, 3))[:, :2] for a in file["annotations"]])
    source = np.array([names[a["image_id"]].split("_")[0] for a in file["annotations"]])
    made = sample_hands(20011, np.random.default_rng(0), occlusion=False).xy_frame.astype(float)

    def unit(xy):
        z = xy[..., 0] + 1j * xy[..., 1]
        z = z - z.mean(1, keepdims=True)
        return z / np.linalg.norm(z, axis=1, keepdims=True)

    def distance(library, barred=False):
        z, w = unit(real), unit(library)
        fit = np.where(barred, 0, z @ w.conj().T)
        best = np.abs(fit).argmax(1)
        radius = np.sqrt(((real - real.mean(1, keepdims=True)) ** 2).sum((1, 2)))
        error = np.abs(z - fit[np.arange(len(z)), best][:, None] * w[best]).mean(1) * radius
        return np.median(error / np.ptp(real, axis=1).max(1))

    assert distance(made) < 0.067  # measured 0.063
    assert distance(made) < 0.9 * distance(real, source[:, None] == source)  # measured 0.077
