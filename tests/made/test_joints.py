"""Moments between frames, and mirror images."""

from __future__ import annotations

import numpy as np

from workbench.made.joints import between, mirrored


def test_curves_pass_through_the_frames(rng):
    xyz = rng.normal(0, 1, (7, 3))
    np.testing.assert_array_equal(between(xyz, np.arange(6.0)), xyz[:6])
    np.testing.assert_allclose(between(xyz, np.array([6.0])), xyz[6:])
    line = np.arange(7.0)[:, None] * [1.0, 2, 3]
    np.testing.assert_allclose(
        between(line, np.array([2.25, 3.5])), [[2.25, 4.5, 6.75], [3.5, 7, 10.5]]
    )


def test_a_mirror_image_exchanges_left_and_right():
    joints = {"left_hip": np.array([[2.0, 3, 5]]), "right_hip": np.array([[-7.0, 3, 5]])}
    joints["nose"] = np.array([[1.0, 9, 5]])
    other = mirrored(joints)
    assert other["left_hip"].tolist() == [[7, 3, 5]] and other["right_hip"].tolist() == [[-2, 3, 5]]
    assert other["nose"].tolist() == [[-1, 9, 5]]
    again = mirrored(other)
    assert all((again[name] == joints[name]).all() for name in joints)
