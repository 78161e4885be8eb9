"""Bodies out of motion capture, and which split gets which file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pooch
import pytest

from tests.data.seeds import SEEDS
from tests.test_floors import FILES, imported
from workbench.data.bvh import read_bvh
from workbench.errors import BadRecord, MissingData
from workbench.made.bodies import body_joints_mm, skeleton_joints
from workbench.made.mocap import (
    body_joints,
    captured_joints,
    captured_motions,
    deal_out,
    motion_files,
)
from workbench.made.world import SPLITS
from workbench.made.worlds import sample_clip
from workbench.records import Motion


@pytest.fixture(scope="module")
def bandai(data_root):
    return read_bvh(data_root / "bandai_namco").motions


@pytest.mark.realdata
def test_bodies_have_the_joints_of_synthetic_people(bandai):
    synthetic = set(body_joints_mm(1, np.random.default_rng(0)))
    for motion in bandai[::3]:
        joints = body_joints(motion)
        assert set(joints) == synthetic | {"left_toes", "right_toes"}
        hand = motion.xyz_mm[:, motion.joints.index("Hand_L")]
        np.testing.assert_allclose(joints["left_wrist"], hand, atol=1e-9)
        assert skeleton_joints(joints, "jhmdb15").shape == (len(motion.xyz_mm), 15, 3)
        assert 1500 < np.quantile(joints["head_top"][:, 1], 0.9) < 1750
    walk = body_joints(next(m for m in bandai if m.name == "dataset-1_walk_normal_001"))
    assert (walk["nose"] - walk["skull"])[:, 2].min() > 50  # it looks where it goes
    assert (walk["left_ear"] - walk["right_ear"])[:, 0].min() > 50


@pytest.mark.realdata
def test_other_proportions_keep_limbs_rigid_and_feet_in_place(bandai):
    motion = next(m for m in bandai if m.name == "dataset-1_walk_normal_001")
    old, new = body_joints(motion), body_joints(motion, np.random.default_rng(3))
    again = body_joints(motion, np.random.default_rng(3))
    assert all((new[j] == again[j]).all() for j in new)
    ratio = {}
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
        length = [np.linalg.norm(j[f"left_{a}"] - j[f"left_{b}"], axis=1) for j in (old, new)]
        assert np.ptp(length[1]) < 1e-6
        ratio[b] = (length[1] / length[0]).mean()
    assert abs(ratio["knee"] - 1) > 0.005 and ratio["knee"] == pytest.approx(ratio["ankle"])
    assert (
        ratio["elbow"] == pytest.approx(ratio["wrist"])
        and abs(ratio["elbow"] - ratio["knee"]) > 0.005
    )
    stands = old["left_toes"][:, 1] < 50
    slide = [
        np.linalg.norm(np.diff(j["left_toes"][:, ::2], axis=0), axis=1)[stands[1:]]
        for j in (old, new)
    ]
    assert slide[1].mean() < 1.1 * slide[0].mean() + 1  # mm a frame
    assert 25 < new["left_toes"][:, 1].min() < 55


# --- other skeletons ------------------------------------------------------------------------------


def test_mixamo_names_are_known_and_what_lacks_is_listed():
    names = "Hips Spine Spine1 Spine2 Neck Head".split()
    for side in ("Left", "Right"):
        names += [f"{side}{j}" for j in "Arm ForeArm Hand UpLeg Leg Foot ToeBase".split()]
    xyz = np.random.default_rng(0).normal(size=(3, len(names), 3)) * 100
    motion = Motion(tuple(f"mixamorig:{n}" for n in names), (-1,) + (0,) * (len(names) - 1), xyz)
    joints = body_joints(motion)
    np.testing.assert_allclose(joints["right_knee"], xyz[:, names.index("RightLeg")], atol=1e-9)
    with pytest.raises(BadRecord, match=r"left_knee \(lowerlegl or leftleg\) missing, 1 in all"):
        body_joints(Motion(tuple(n.replace("LeftLeg", "Tail") for n in names), motion.parents, xyz))


# --- motions by split -----------------------------------------------------------------------------


def test_motion_capture_is_dealt_out_by_what_is_done_and_how():
    names = [f"dataset-1_walk{i}_normal_{take:03d}.bvh" for i in range(23) for take in (1, 2)]
    dealt = [deal_out([*map(Path, names)], split) for split in SPLITS]
    kinds = [{path.stem.rsplit("_", 1)[0] for path in files} for files in dealt]
    assert [len(k) for k in kinds] == [14, 4, 5] and len(set.union(*kinds)) == 23
    assert sum(map(len, dealt)) == len(names)


def test_too_few_motions_for_three_splits(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    folder = tmp_path / "bandai_namco/one/data"
    folder.mkdir(parents=True)
    for take in (1, 2):
        (folder / f"dataset-1_walk_normal_{take:03d}.bvh").write_text("not read here")
    with pytest.raises(MissingData, match="2 BVH files, too few"):
        for split in SPLITS:
            motion_files("bandai_namco", split)


def test_motion_capture_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path)
    with pytest.raises(MissingData, match="bandai_namco"):
        sample_clip("synthetic_mocap", "train", 0)


@pytest.mark.realdata
def test_people_who_move_as_captured(data_root):
    files = [set(motion_files("bandai_namco", split)) for split in SPLITS]
    assert sum(map(len, files)) == 40 == len(set.union(*files))
    rng = np.random.default_rng(3)
    joints = captured_joints("bandai_namco", "test", 31, 24.0, rng)
    assert len(joints["nose"]) == 31
    thigh = np.linalg.norm(joints["left_hip"] - joints["left_knee"], axis=1)
    assert 300 < thigh.min() and np.ptp(thigh) < 5  # between frames it is not quite rigid
    with pytest.raises(MissingData, match="no motion of"):
        captured_joints("bandai_namco", "test", 4000, 30.0, rng)


def test_nothing_else_of_this_room_reads_data_of_the_users():
    readers = {
        path.stem
        for path in FILES
        if path.parent.name == "made" and "data" in {n.split(".")[0] for n in imported(path)}
    }
    assert readers == {"mocap"}


def test_files_in_other_units_are_refused(tmp_path):
    """A body in metres is a hundredth of its size in centimetres, and so would its errors be."""
    folder = tmp_path / "a" / "data"
    folder.mkdir(parents=True)
    (folder / "walk.bvh").write_bytes(SEEDS["bvh"].raw.replace(b"0 10 0", b"0 170 0"))
    assert len(captured_motions(f"bandai_namco:{tmp_path}")) == 1
    captured_motions.cache_clear()
    (folder / "walk.bvh").write_bytes(SEEDS["bvh"].raw.replace(b"0 10 0", b"0 1.7 0"))
    with pytest.raises(BadRecord, match=r"walk: a body 1[67]\S* mm high, if .* centimetres"):
        captured_motions(f"bandai_namco:{tmp_path}")
