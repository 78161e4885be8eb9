"""Procedural hands: anatomy in 3D, the camera, and how they compare with real hands."""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.made.hands import hand_joints_mm, hands_in_camera, sample_hands
from workbench.skeletons import RHD_FROM_HAND21

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


def test_the_rhd_order_is_the_same_hands_with_fingers_from_the_tip():
    palm, tip = (
        sample_hands(13, np.random.default_rng(5), skeleton=s) for s in ("hand21", "hand21_rhd")
    )
    np.testing.assert_array_equal(tip.xy_frame, palm.xy_frame[:, list(RHD_FROM_HAND21)])
    np.testing.assert_array_equal(tip.visibility, palm.visibility[:, list(RHD_FROM_HAND21)])


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
