"""JHMDB: a made release, and a real sample of MMPose's file."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import scipy.io

from tests.data.files import check_damaged
from workbench.data.clips import read_jhmdb
from workbench.errors import BadFile, BadRecord, MissingFile, UnknownName

T = 5


@pytest.fixture
def jhmdb(tmp_path):
    for n, name in enumerate(("catch/a_0", "catch/b@(7)_0", "walk/c_1")):
        folder = tmp_path / "joint_positions" / name
        folder.mkdir(parents=True)
        xy = np.arange(2 * 15 * T, dtype=float).reshape(2, 15, T) + 10 * n
        content = {"pos_img": xy, "pos_world": xy / 7, "scale": np.ones((1, T)), "viewpoint": "ENE"}
        scipy.io.savemat(folder / "joint_positions.mat", content, do_compression=bool(n % 2))
    for folder, rows in {
        "splits": "a_0.avi 1\nb@(7)_0.avi 2\n",
        "sub_splits": "a_0.avi 2\nlost.avi 2\n",
    }.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "catch_test_split1.txt").write_text(rows)
    mask = np.zeros((240, 320, T - 1), np.uint8)
    mask[100:111, 50:60, 0] = 1
    (tmp_path / "puppet_mask/catch/a_0").mkdir(parents=True)
    scipy.io.savemat(
        tmp_path / "puppet_mask/catch/a_0/puppet_mask.mat", {"part_mask": mask}, do_compression=True
    )
    return tmp_path


def test_jhmdb_release(jhmdb):
    found = read_jhmdb(jhmdb)
    assert [clip.name for clip in found.clips] == ["catch/a_0", "catch/b@(7)_0", "walk/c_1"]
    clip, (track,) = found.clips[0], found.clips[0].tracks
    # joint 3 of frame 2 is x = 3 T + 2, y = 15 T + 3 T + 2, counted from 1
    np.testing.assert_array_equal(track.xy_frame[2, 3], [3 * T + 1, 18 * T + 1])
    assert (track.visibility == 2).all() and track.labelled.all() and not track.occlusion_known
    np.testing.assert_array_equal(track.boxes_xyxy[0], [50, 100, 60, 111])  # the mask's
    # no mask there
    np.testing.assert_array_equal(
        track.boxes_xyxy[T - 1], [T - 2, 16 * T - 2, 15 * T - 2, 30 * T - 2]
    )
    assert (clip.video.width, clip.video.height, clip.video.n_frames) == (320, 240, T)
    assert clip.pictures[0].name == "00001.png" and clip.video.source.endswith(
        "Rename_Images/catch/a_0"
    )
    assert len(found.warnings) == 1 and "3 of 3 clips lack" in str(found.warnings[0])
    alone = read_jhmdb(jhmdb / "joint_positions/catch/a_0/joint_positions.mat")
    np.testing.assert_array_equal(alone.clips[0].tracks[0].boxes_xyxy, track.boxes_xyxy)


def test_jhmdb_splits(jhmdb):
    assert [c.name for c in read_jhmdb(jhmdb, split="train1").clips] == ["catch/a_0"]
    assert [c.name for c in read_jhmdb(jhmdb, split="test1").clips] == ["catch/b@(7)_0"]
    found = read_jhmdb(jhmdb, split="sub_test1")
    assert [c.name for c in found.clips] == ["catch/a_0"] and found.warnings[
        0
    ].record == "catch/lost"
    with pytest.raises(UnknownName, match="sub_test1"):
        read_jhmdb(jhmdb, split="sub_tst1")
    with pytest.raises(MissingFile, match="split3"):
        read_jhmdb(jhmdb, split="train3")


def test_jhmdb_bad_clips(jhmdb):
    bad = jhmdb / "joint_positions/catch/a_0/joint_positions.mat"
    scipy.io.savemat(bad, {"pos_img": np.zeros((2, 14, T))})
    with pytest.raises(
        BadRecord, match=r"catch/a_0: pos_img has shape \(2, 14, 5\).*1 of 3 sequences"
    ):
        read_jhmdb(jhmdb)
    worse = jhmdb / "joint_positions/walk/c_1/joint_positions.mat"
    worse.write_bytes(worse.read_bytes()[:300])
    found = read_jhmdb(jhmdb, on_bad="report")
    assert len(found.clips) == 1 and [type(w) for w in found.warnings[:2]] == [BadRecord, BadFile]
    scipy.io.savemat(bad, {"pos_img": np.full((2, 15, T), np.nan)})
    with pytest.raises(BadRecord, match="not finite"):
        read_jhmdb(bad)
    scipy.io.savemat(bad, {"pos_world": np.zeros((2, 15, T))})
    with pytest.raises(BadRecord, match="pos_img is missing"):
        read_jhmdb(bad)
    with pytest.raises(MissingFile):
        read_jhmdb(jhmdb / "splits")


@pytest.mark.realdata
def test_jhmdb_of_mmpose_counts_from_zero(data_root):
    found = read_jhmdb(data_root / "mmpose_samples" / "jhmdb")
    assert found.reader == "jhmdb" and len(found.poses) == 2 and (found.poses.visibility == 2).all()
    np.testing.assert_allclose(found.poses.xy_frame[0, 0], [97.851746, 91.59851], rtol=1e-6)
    np.testing.assert_array_equal(found.poses.boxes_xyxy[0], [78, 61, 132, 220])


@pytest.mark.parametrize(
    "file",
    [
        "joint_positions/walk/c_1/joint_positions.mat",
        "puppet_mask/catch/a_0/puppet_mask.mat",
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_end_in_named_errors(jhmdb, file):
    check_damaged(jhmdb, file, read_jhmdb)


def test_damaged_splits_end_in_named_errors(jhmdb):
    check_damaged(jhmdb, "splits/catch_test_split1.txt", partial(read_jhmdb, split="test1"))
