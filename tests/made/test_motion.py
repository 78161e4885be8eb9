"""Motion before made cameras: nobody is mirrored, occlusion comes in bursts, errors last there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.errors import UnknownName
from workbench.made import motion
from workbench.made.motion import JOINTS, WORLD
from workbench.recipes.sequences import measure_bursts


def test_the_world_is_frozen():
    assert WORLD.digest() == "44b15308010ae1a1", (
        "a change makes a new world: new name, all rows anew"
    )


def test_the_camera_sees_a_body_upright_and_whole(rng):
    (_, xyz), *_ = motion.motions("synthetic", "test")
    xy = motion.photograph(xyz, rng)
    head, ankle = (JOINTS.index(j) for j in ("head", "right_ankle"))
    assert (xy[:, head, 1] < xy[:, ankle, 1]).mean() > 0.95
    assert 40 < np.ptp(xy, axis=1)[:, 1].mean() < 220


def test_the_camera_mirrors_nobody_and_looks_down(rng):
    """Left hip, up and the way that the knees bend keep their order; a camera above is nearer to
    the head.
    """
    (_, xyz), *_ = motion.motions("synthetic", "train")
    for body in (xyz, motion.turn(xyz, rng, replace(WORLD, pitch_deg=(30.0, 0.0)))):
        at = {j: body[:, i] for i, j in enumerate(JOINTS.joints)}
        bend = at["left_knee"] - (at["left_hip"] + at["left_ankle"]) / 2
        sides = np.cross(at["left_hip"] - at["right_hip"], at["head"] - at["belly"])
        assert np.sum(sides * bend, -1).mean() > 0
    assert (at["head"][:, 2] < at["left_ankle"][:, 2]).mean() > 0.9


def test_bursts_last_and_hang_together(rng):
    hidden = motion.bursts(53, 199, rng)
    lengths = np.diff(np.flatnonzero(np.diff(np.pad(hidden[:, :, 3].ravel().astype(int), 1))))[::2]
    assert 0.02 < hidden.mean() < 0.2 and np.median(lengths) >= 5


def test_errors_last_longer_inside_bursts(rng):
    xy = np.tile(np.linspace(50, 150, 30).reshape(15, 2), (7, 101, 1, 1))
    hidden = np.zeros((7, 101, 15), bool)
    hidden[:, 50:] = True
    error = motion.detect(xy, hidden, rng) - xy
    same = (np.abs(np.diff(error, axis=1)) < 1e-4).all(-1)
    assert same[:, 50:].mean() > same[:, :49].mean() + 0.15
    size = np.linalg.norm(error, axis=-1)
    assert size[:, 50:].mean() > 1.2 * size[:, :50].mean()


@pytest.mark.realdata
def test_the_input_is_as_good_as_the_paper_s(data_root):
    """Sub-JHMDB, SimpleBaseline: 56.9 / 81.3 / 94.4; calibrated on training clips alone."""
    train = motion.sequences("mocap", "train", cameras=1, seed=1)
    found, _ = measure_bursts([s.detected for s in train], train)
    assert found["pck_0.05"].mean() == pytest.approx(57, abs=3)
    assert found["pck_0.1"].mean() == pytest.approx(81, abs=3)
    assert found["pck_0.2"].mean() == pytest.approx(94, abs=2)


@pytest.mark.realdata
def test_no_clip_and_no_style_stands_on_both_sides(data_root):
    names = {
        split: {name for name, _ in motion.motions("mocap", split)} for split in ("train", "test")
    }
    styles = {split: {name.split("_")[2] for name in found} for split, found in names.items()}
    assert len(names["train"]) + len(names["test"]) == 40 and not names["train"] & names["test"]
    assert styles["test"] <= set(WORLD.test_styles) and not styles["train"] & styles["test"]


def test_a_limit_makes_the_first_of_all():
    whole = motion.sequences("synthetic", "test", cameras=1)[:3]
    few = motion.sequences("synthetic", "test", cameras=1, limit=3)
    for a, b in zip(whole, few, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(a.detected, b.detected)
        np.testing.assert_array_equal(a.hidden, b.hidden)


def test_the_same_seed_gives_the_same_sequences():
    first, again = (motion.sequences("synthetic", "train", seed=2, limit=2) for _ in range(2))
    other = motion.sequences("synthetic", "train", seed=3, limit=2)
    assert [s.name for s in first] == [
        "gait0/0",
        "gait0/1",
        "gait0/2",
        "gait1/0",
        "gait1/1",
        "gait1/2",
    ]
    np.testing.assert_array_equal(first[4].detected, again[4].detected)
    assert (
        first[0].detected.shape != other[0].detected.shape
        or (first[0].detected != other[0].detected).any()
    )
    with pytest.raises(UnknownName, match="mocap"):
        motion.motions("mocapp", "test")
