"""AIST++: made files in the published layout."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from tests.data.files import check_damaged, dump
from workbench.data.clips import read_aist
from workbench.errors import BadRecord, UnknownName
from workbench.skeletons import skeleton

T = 5

DANCE = "gBR_sBM_cAll_d04_mBR0_ch01"


@pytest.fixture
def aist(tmp_path, rng):
    xyz = rng.uniform(-50, 50, (T, 17, 3)) + np.array([0, 0, 400])
    xyz[2, 3] = np.nan
    dump(
        tmp_path / f"keypoints3d/{DANCE}.pkl",
        {"keypoints3d": xyz * np.nan, "keypoints3d_optim": xyz},
        4,
    )
    seen = rng.uniform(1, 1000, (9, T, 17, 3)).astype(np.float32)
    seen[0, 1] = np.nan
    content = {
        "keypoints2d": seen,
        "det_scores": np.ones((9, T), np.float32),
        "timestamps": np.arange(T),
    }
    dump(tmp_path / f"keypoints2d/{DANCE}.pkl", content, 4)
    cameras = [
        {
            "name": name,
            "size": [1920, 1080],
            "matrix": [[1500, 0, 960], [0, 1500, 540], [0, 0, 1]],
            "rotation": [0, np.pi * i, 0],
            "translation": [0, 10, 1000 * i],
            "distortions": [0.1, 0, 0, 0, 0],
        }
        for i, name in enumerate(("c01", "c02"))
    ]
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras/setting1.json").write_text(json.dumps(cameras))
    (tmp_path / "cameras/mapping.txt").write_text(f"{DANCE} setting1\n")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/pose_test.txt").write_text(DANCE.replace("cAll", "c01") + "\n")
    (tmp_path / "splits/pose_train.txt").write_text("gWA_sFM_cAll_d27_mWA2_ch21\n")
    return tmp_path


def test_aist_motions_clips_and_detections(aist):
    xyz = pickle.loads((aist / f"keypoints3d/{DANCE}.pkl").read_bytes())["keypoints3d_optim"]
    found = read_aist(aist, split="pose_test")
    assert [m.name for m in found.motions] == [f"{DANCE}[0:2]", f"{DANCE}[3:5]"]
    motion = found.motions[1]
    np.testing.assert_allclose(motion.xyz_mm, 10 * xyz[3:])
    assert (
        motion.fps == 60 and motion.space == "world" and motion.joints == skeleton("coco17").joints
    )
    assert motion.parents.count(-1) == 1
    assert [c.name for c in found.clips] == [DANCE.replace("cAll", v) for v in ("c01", "c02")]
    first, second = (clip.tracks[0] for clip in found.clips)
    assert (
        first.visibility[2].tolist() == [2, 2, 2, 0] + 13 * [2] and not first.xy_frame[2, 3].any()
    )
    x, y, z = xyz[0, 0] + [0, 10, 0]
    r2 = (x * x + y * y) / (z * z)
    np.testing.assert_allclose(
        first.xy_frame[0, 0], 1500 * np.array([x, y]) / z * (1 + 0.1 * r2) + [960, 540], rtol=1e-5
    )
    x, y, z = xyz[0, 0]
    np.testing.assert_allclose(
        second.xyz_camera_mm[0, 0], 10 * np.array([-x, y + 10, 1000 - z]), rtol=1e-5
    )
    video = found.clips[0].video
    assert (video.width, video.height, video.fps) == (1920, 1080, 60)
    assert len(found.detections) == 9 * T - 1 and found.detections.frames[:4].tolist() == [
        0,
        2,
        3,
        4,
    ]
    assert found.detections.images[0] == DANCE.replace("cAll", "c01")
    texts = " | ".join(map(str, found.warnings))
    assert "1 of 5 frames have a NaN, the first is 2" in texts and "2 of 2 clips lack" in texts


def test_aist_views_splits_and_ignored(aist):
    found = read_aist(aist / f"keypoints3d/{DANCE}.pkl", views=("c02",))
    assert len(found.clips) == 1 and len(found.detections) == T
    assert not read_aist(aist, views=()).clips
    assert not read_aist(aist, split="pose_train").motions
    (aist / "ignore_list.txt").write_text(DANCE)
    ignored = read_aist(aist)
    assert not ignored.motions and "ignore_list" in str(ignored.warnings[0])
    with pytest.raises(UnknownName, match="pose_test"):
        read_aist(aist, split="pose_tst")
    (aist / "cameras/mapping.txt").unlink()
    (aist / "ignore_list.txt").unlink()
    assert not read_aist(aist).clips


def test_aist_refusals(aist):
    path = aist / f"keypoints2d/{DANCE}.pkl"
    dump(path, {"keypoints2d": np.zeros((9, T - 1, 17, 3))})
    with pytest.raises(BadRecord, match="keypoints2d has shape"):
        read_aist(aist)
    path.unlink()
    cameras = json.loads((aist / "cameras/setting1.json").read_text())
    for key, value, match in (
        ("distortions", [0, 0, 0.1, 0, 0], "tangential"),
        ("matrix", [[1, 2], [3]], "matrix is not an array"),
        ("rotation", None, "rotation is missing"),
    ):
        (aist / "cameras/setting1.json").write_text(json.dumps([cameras[0] | {key: value}]))
        with pytest.raises(BadRecord, match=f"setting1.c01: {match}"):
            read_aist(aist)


@pytest.mark.parametrize(
    "file",
    [
        f"keypoints3d/{DANCE}.pkl",
        f"keypoints2d/{DANCE}.pkl",
        "cameras/setting1.json",
        "cameras/mapping.txt",
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_end_in_named_errors(aist, file):
    check_damaged(aist, file, read_aist)
