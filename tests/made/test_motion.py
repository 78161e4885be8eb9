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
    names = {split: {name for name, _ in motion.motions("mocap", split)} for split in motion.SPLITS}
    styles = {split: {name.split("_")[2] for name in found} for split, found in names.items()}
    assert len(names["train"]) + len(names["test"]) == 38 and not names["train"] & names["test"]
    assert names["fit"] | names["search"] == names["train"] and names["fit"] and names["search"]
    assert styles["test"] <= set(WORLD.test_styles) and not styles["train"] & styles["test"]
    assert not styles["fit"] & styles["search"] and not styles["train"] & {"old", "tired"}


def test_another_detector_sees_the_same_people_and_errs_otherwise():
    known = motion.sequences("synthetic", "test", limit=20)
    others = motion.sequences("synthetic", "test", limit=20, other=motion.OTHER)
    again = motion.sequences("synthetic", "test", limit=20, other=motion.OTHER)
    for a, b, c in zip(known, others, again, strict=True):
        np.testing.assert_array_equal(a.xy_frame, b.xy_frame)
        np.testing.assert_array_equal(a.hidden, b.hidden)
        np.testing.assert_array_equal(b.detected, c.detected)
    found, other = (measure_bursts([s.detected for s in each], each)[0] for each in (known, others))
    assert other["pck_0.05"].mean() == pytest.approx(found["pck_0.05"].mean(), abs=4)
    assert np.nanmean(other["accel"]) < 0.6 * np.nanmean(found["accel"])


def test_a_joint_that_the_other_detector_does_not_see_stays(rng):
    xy = np.cumsum(rng.normal(3, 1, (40, 15, 2)), 0)
    hidden = np.zeros((40, 15), bool)
    hidden[10:20, 4] = True
    still = motion.OtherDetector(drift=0.0, shake=0.0, exchanges=0.0)
    said = motion.detect_otherwise(xy, hidden, rng, still)
    np.testing.assert_allclose(said[~hidden], xy[~hidden])
    np.testing.assert_allclose(said[10:20, 4], np.repeat(xy[9:10, 4], 10, 0))
    swaps = replace(still, exchanges=0.05)
    said = motion.detect_otherwise(xy, np.zeros_like(hidden), rng, swaps)
    moved = np.abs(said - xy).sum(-1) > 1e-9
    pairs = motion.JOINTS.flip_pairs
    assert moved.any() and all((moved[:, a] == moved[:, b]).all() for a, b in pairs)
    assert not moved[:, [j for j in range(15) if j not in np.ravel(pairs)]].any()


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
