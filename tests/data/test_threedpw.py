"""3DPW: made files in the published layout."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.files import check_damaged, dump
from workbench.data.clips import read_threedpw
from workbench.errors import BadRecord, MissingFile, UnsafeFile
from workbench.skeletons import skeleton

T = 5


def threedpw_content(rng):
    pose = np.tile(np.eye(4), (T, 1, 1))
    pose[:, :3, :3] = [[0, 0, -1], [0, 1, 0], [1, 0, 0]]  # the camera looks along world x
    pose[:, 2, 3] = 4
    seen = np.zeros((T, 3, 18))
    seen[1, :, 2] = 700, 300, 0.5  # right shoulder
    seen[1, :, 1] = 710, 310, 0.5  # neck
    valid = np.ones(T, bool)
    valid[3] = False
    return {
        "sequence": "office_phoneCall_00",
        "jointPositions": [rng.uniform(-1, 1, (T, 72)), rng.uniform(-1, 1, (T, 72))],
        "cam_poses": pose,
        "cam_intrinsics": np.array([[1900, 0, 540], [0, 1910, 960], [0, 0, 1.0]]),
        "campose_valid": [valid, np.ones(T, np.int64)],
        "poses2d": [seen, np.zeros((T, 3, 18))],
        "poses": [np.zeros((T, 72))] * 2,
        "trans": [np.zeros((T, 3))] * 2,
        "betas": [np.zeros(10)] * 2,
        "genders": ["m", "f"],
        "img_frame_ids": np.arange(T) * 2,
        "texture_maps": [],
    }


@pytest.fixture
def threedpw(tmp_path, rng):
    dump(tmp_path / "sequenceFiles/test/office_phoneCall_00.pkl", threedpw_content(rng))
    return tmp_path


def test_threedpw_by_hand(threedpw, rng):
    content = threedpw_content(np.random.default_rng(7))
    found = read_threedpw(threedpw, split="test")
    (clip,) = found.clips
    assert clip.name == "office_phoneCall_00" and clip.video.fps == 30 and len(clip.tracks) == 2
    x, y, z = content["jointPositions"][1][2].reshape(24, 3)[7]
    track = clip.tracks[1]
    np.testing.assert_allclose(
        track.xyz_camera_mm[2, 7], np.array([-z, y, x + 4]) * 1000, rtol=1e-5
    )
    np.testing.assert_allclose(
        track.xy_frame[2, 7], [-1900 * z / (x + 4) + 540, 1910 * y / (x + 4) + 960], rtol=1e-5
    )
    assert (
        (track.visibility == 2).all() and not track.occlusion_known and track.skeleton == "smpl24"
    )
    first = clip.tracks[0]
    assert first.labelled.tolist() == [True, True, True, False, True]
    assert (
        not first.visibility[3].any()
        and not first.xy_frame[3].any()
        and not first.boxes_xyxy[3].any()
    )
    assert (
        len(found.detections) == 1
        and found.detections.frames[0] == 1
        and found.detections.tracks[0] == 0
    )
    np.testing.assert_array_equal(
        found.detections.xy_frame[0, skeleton("coco17").index("right_shoulder")], [700, 300]
    )
    assert (found.detections.confidence > 0).sum() == 1  # the neck is no joint of COCO
    assert found.detections.images == ("office_phoneCall_00/image_00001.jpg",)
    np.testing.assert_array_equal(found.cameras["office_phoneCall_00"].focal, [1900, 1910])
    assert "1 of 1 clips lack pictures" in str(found.warnings[0])
    with pytest.raises(MissingFile, match="sequenceFiles/train"):
        read_threedpw(threedpw, split="train")


def test_threedpw_what_records_refuse_names_file_and_record(threedpw, rng):
    content = threedpw_content(rng)
    content["cam_poses"][:, 0, 3] = 1e37  # in mm more than float32 holds
    path = dump(threedpw / "sequenceFiles/test/far.pkl", content)
    with np.errstate(over="ignore"), pytest.raises(BadRecord, match=rf"{path}, .*not finite"):
        read_threedpw(path)


def test_threedpw_joints_behind_the_camera_and_nan_where_invalid(threedpw, rng):
    content = threedpw_content(rng)
    content["jointPositions"][0][0, 0] = -5  # x of the pelvis: 1 m behind
    content["jointPositions"][0][3] = np.nan  # its camera is not valid
    content["cam_poses"][3] = np.nan
    content["campose_valid"][1][3] = 0
    (clip,) = read_threedpw(dump(threedpw / "x.pkl", content)).clips
    assert (
        clip.tracks[0].visibility[0].tolist() == [0] + 23 * [2] and not clip.tracks[1].labelled[3]
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"jointPositions": None}, "no lists with an array for each person"),
        ({"campose_valid": [np.ones(T)]}, "no lists with an array for each person"),
        ({"cam_poses": np.zeros((T, 3, 4))}, "cam_poses has shape"),
        ({"cam_poses": np.full((T, 4, 4), np.nan)}, "valid camera"),
        ({"cam_intrinsics": None}, "cam_intrinsics is missing"),
        ({"poses2d": [np.zeros((T, 18, 3))] * 2}, "person 0: poses2d has shape"),
        ({"jointPositions": [np.zeros((T + 1, 72))] * 2}, "person 0: jointPositions has shape"),
        ({"cam_poses": np.zeros((0, 4, 4))}, "no frames"),
    ],
)
def test_threedpw_bad_sequences(threedpw, rng, change, match):
    dump(threedpw / "sequenceFiles/test/bad.pkl", threedpw_content(rng) | change)
    with pytest.raises(BadRecord, match=f"{match}.*1 of 2 sequences"):
        read_threedpw(threedpw)
    found = read_threedpw(threedpw, on_bad="report")
    assert len(found.clips) == 1 and "bad.pkl" in found.warnings[0].file


def test_unsafe_pickles_stay_unsafe(threedpw):
    path = threedpw / "sequenceFiles/test/evil.pkl"
    path.write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafeFile, match=r"evil.pkl"):
        read_threedpw(threedpw)
    assert isinstance(read_threedpw(threedpw, on_bad="report").warnings[0], UnsafeFile)


@pytest.mark.parametrize(
    "file",
    [
        "sequenceFiles/test/office_phoneCall_00.pkl",
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_end_in_named_errors(threedpw, file):
    check_damaged(threedpw, file, read_threedpw)
