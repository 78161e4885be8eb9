"""Readers of sequences. Human3.6M and MMPose's JHMDB are real samples; every other file here is
made, in the published layout.
"""

from __future__ import annotations

import json
import pickle
import random

import numpy as np
import pytest
import scipy.io

from workbench import geometry
from workbench.data import sequences as s
from workbench.errors import (
    BadFile,
    BadRecord,
    EmptyFile,
    MissingFile,
    UnknownName,
    UnsafeFile,
    WorkbenchError,
)
from workbench.skeletons import skeleton

T = 5


def columns(*rows):
    """An array of objects, as numpy makes of sequences that differ in length."""
    out = np.empty(len(rows), object)
    out[:] = rows
    return out


def dump(path, content, protocol=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


# --- Human3.6M ------------------------------------------------------------------------------------

NAMES = [
    "S9/S9_Walking_1.54138969/S9_Walking_1.54138969_000001.jpg",
    "S11/S11_Eating.55011271/S11_Eating.55011271_7.jpg",
]


@pytest.fixture
def h36m(tmp_path, rng):
    part = np.concatenate([rng.uniform(0, 1000, (2, 17, 2)), np.ones((2, 17, 1))], 2)
    xyz = np.concatenate(
        [rng.uniform(-1, 1, (2, 17, 2)), np.full((2, 17, 1), 4.0), np.ones((2, 17, 1))], 2
    )
    arrays = {
        "imgname": np.array(NAMES),
        "center": np.array([[100, 50], [300.0, 400]]),
        "scale": np.array([1.5, 2]),
    }
    save(tmp_path / "annotation_body3d/fps50/h36m_test.npz", part=part, S=xyz, **arrays)
    column = {"T": [1, 2, 3], "f": [1000, 1001], "c": [500, 501], "k": [0, 0, 0], "p": [0, 0]}
    camera = {k: np.array(v, float)[:, None] for k, v in column.items()} | {
        "R": np.eye(3),
        "w": 1000,
        "h": 1002,
    }
    dump(tmp_path / "annotation_body3d/cameras.pkl", {("S9", "54138969"): camera}, 3)
    detected = tmp_path / "joint_2d_det_files/cpn_ft_h36m_dbb_test.npy"
    detected.parent.mkdir()
    np.save(detected, part + np.array([2, 0, -0.5]))
    return tmp_path


def arrays_of(path):
    with np.load(path) as archive:
        return dict(archive)


def test_h36m_rows_boxes_groups_and_detections(h36m):
    found = s.read_h36m(h36m)
    assert (found.reader, found.warnings, found.poses.skeleton) == ("h36m", (), "h36m17")
    np.testing.assert_allclose(
        found.poses.boxes_xyxy, [[-50, -100, 250, 200], [100, 200, 500, 600]]
    )
    assert found.poses.groups == ("S9_Walking_1", "S11_Eating") and not found.poses.occlusion_known
    np.testing.assert_allclose(found.poses.xyz_camera_mm[:, :, 2], 4000)
    np.testing.assert_allclose(
        found.detections.xy_frame - found.poses.xy_frame,
        np.broadcast_to([2, 0], (2, 17, 2)),
        atol=1e-3,
    )
    np.testing.assert_allclose(found.detections.confidence, 0.5)
    camera = found.cameras["S9.54138969"]
    np.testing.assert_allclose(camera.position_mm, [1000, 2000, 3000])
    assert camera.size_wh == (1000, 1002)
    by_file = s.read_h36m(h36m / "annotation_body3d/fps50/h36m_test.npz")
    assert by_file.detections and by_file.cameras and len(by_file.poses) == 2
    assert s.read_h36m(h36m, split="test").poses.ids == ("0", "1")
    with pytest.raises(MissingFile, match="train"):
        s.read_h36m(h36m, split="train")
    with pytest.raises(UnknownName, match="'test'"):
        s.read_h36m(h36m, split="tset")


@pytest.mark.parametrize(
    ("key", "at", "value", "match"),
    [
        ("part", (1, 3, 0), np.nan, "not finite"),
        ("S", (1, 3, 2), np.inf, "not finite"),
        ("part", (1, 3, 2), 2, "flag"),
        ("scale", (1,), 0, "box"),
        ("imgname", (1,), "x.jpg", "no name like"),
    ],
)
def test_h36m_one_bad_row(h36m, key, at, value, match):
    path = h36m / "annotation_body3d/fps50/h36m_test.npz"
    arrays = arrays_of(path)
    arrays[key][at] = value
    save(path, **arrays)
    if value == np.inf:
        # infinity is no gap: the whole column is refused
        with pytest.raises(BadRecord, match="not finite"):
            s.read_h36m(h36m)
        return
    with pytest.raises(BadRecord, match=f"row 1 .*{match}.*1 of 2 rows"):
        s.read_h36m(h36m)
    found = s.read_h36m(h36m, on_bad="report")
    assert found.poses.ids == found.detections.ids == ("0",) and "row 1" in str(found.warnings[0])


def test_h36m_refusals(h36m):
    path = h36m / "annotation_body3d/fps50/h36m_test.npz"
    arrays = arrays_of(path)
    save(path, **{**arrays, "imgname": columns(*NAMES)})
    with pytest.raises(
        BadFile, match=r"imgname: holds Python objects.*Remedy: save it as an array"
    ):
        s.read_h36m(path)
    save(path, **{k: v for k, v in arrays.items() if k != "S"})
    with pytest.raises(BadFile, match="lacks S; it holds"):
        s.read_h36m(path)
    save(path, **{**arrays, "part": arrays["part"][:, :16]})
    with pytest.raises(BadRecord, match=r"part has shape \(2, 16, 3\), \(2, 17, 3\) expected"):
        s.read_h36m(path)
    videopose = save(h36m / "data_2d_h36m_gt.npz", positions_2d=columns({"S1": {}}))
    with pytest.raises(BadFile, match=r"lacks imgname.*holds positions_2d"):
        s.read_h36m(videopose)
    path.unlink()
    with pytest.raises(MissingFile, match="none of"):
        s.read_h36m(h36m)


@pytest.mark.realdata
def test_h36m_sample_projects_to_its_labels(data_root):
    root = data_root / "mmpose_samples" / "h36m"
    found = s.read_h36m(root)
    assert (
        len(found.poses) == len(found.detections) == 3
        and len(found.cameras) == 44
        and not found.warnings
    )
    worlds = json.loads((root / "h36m_coco.json").read_text())["annotations"]
    for row, image in enumerate(found.poses.images):
        subject, _, camera = s.h36m_names(image)
        camera = found.cameras[f"{subject}.{camera}"]
        for space, xyz in (
            ("camera", found.poses.xyz_camera_mm[row].astype(np.float64)),
            ("world", 1000 * np.reshape(worlds[row]["keypoints_3d"], (17, 4))[:, :3]),
        ):
            error = np.linalg.norm(
                geometry.project(camera, xyz, space) - found.poses.xy_frame[row], axis=1
            ).max()
            # OpenCV's model, with twice the tangential term, is up to 0.22 px off
            assert error < 1e-3, (image, space)
    assert np.linalg.norm(found.detections.xy_frame - found.poses.xy_frame, axis=2).mean() < 10
    as_json = s.read_h36m_cameras(root / "cameras.json")
    assert as_json.keys() == found.cameras.keys()
    np.testing.assert_array_equal(as_json["S1.54138969"].focal, found.cameras["S1.54138969"].focal)


# --- JHMDB ----------------------------------------------------------------------------------------


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
    found = s.read_jhmdb(jhmdb)
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
    alone = s.read_jhmdb(jhmdb / "joint_positions/catch/a_0/joint_positions.mat")
    np.testing.assert_array_equal(alone.clips[0].tracks[0].boxes_xyxy, track.boxes_xyxy)


def test_jhmdb_splits(jhmdb):
    assert [c.name for c in s.read_jhmdb(jhmdb, split="train1").clips] == ["catch/a_0"]
    assert [c.name for c in s.read_jhmdb(jhmdb, split="test1").clips] == ["catch/b@(7)_0"]
    found = s.read_jhmdb(jhmdb, split="sub_test1")
    assert [c.name for c in found.clips] == ["catch/a_0"] and found.warnings[
        0
    ].record == "catch/lost"
    with pytest.raises(UnknownName, match="sub_test1"):
        s.read_jhmdb(jhmdb, split="sub_tst1")
    with pytest.raises(MissingFile, match="split3"):
        s.read_jhmdb(jhmdb, split="train3")


def test_jhmdb_bad_clips(jhmdb):
    bad = jhmdb / "joint_positions/catch/a_0/joint_positions.mat"
    scipy.io.savemat(bad, {"pos_img": np.zeros((2, 14, T))})
    with pytest.raises(
        BadRecord, match=r"catch/a_0: pos_img has shape \(2, 14, 5\).*1 of 3 sequences"
    ):
        s.read_jhmdb(jhmdb)
    worse = jhmdb / "joint_positions/walk/c_1/joint_positions.mat"
    worse.write_bytes(worse.read_bytes()[:300])
    found = s.read_jhmdb(jhmdb, on_bad="report")
    assert len(found.clips) == 1 and [type(w) for w in found.warnings[:2]] == [BadRecord, BadFile]
    scipy.io.savemat(bad, {"pos_img": np.full((2, 15, T), np.nan)})
    with pytest.raises(BadRecord, match="not finite"):
        s.read_jhmdb(bad)
    scipy.io.savemat(bad, {"pos_world": np.zeros((2, 15, T))})
    with pytest.raises(BadRecord, match="pos_img is missing"):
        s.read_jhmdb(bad)
    with pytest.raises(MissingFile):
        s.read_jhmdb(jhmdb / "splits")


@pytest.mark.realdata
def test_jhmdb_of_mmpose_counts_from_zero(data_root):
    found = s.read_jhmdb(data_root / "mmpose_samples" / "jhmdb")
    assert found.reader == "jhmdb" and len(found.poses) == 2 and (found.poses.visibility == 2).all()
    np.testing.assert_allclose(found.poses.xy_frame[0, 0], [97.851746, 91.59851], rtol=1e-6)
    np.testing.assert_array_equal(found.poses.boxes_xyxy[0], [78, 61, 132, 220])


# --- 3DPW -----------------------------------------------------------------------------------------


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
    found = s.read_threedpw(threedpw, split="test")
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
        s.read_threedpw(threedpw, split="train")


def test_threedpw_what_records_refuse_names_file_and_record(threedpw, rng):
    content = threedpw_content(rng)
    content["cam_poses"][:, 0, 3] = 1e37  # in mm more than float32 holds
    path = dump(threedpw / "sequenceFiles/test/far.pkl", content)
    with np.errstate(over="ignore"), pytest.raises(BadRecord, match=rf"{path}, .*not finite"):
        s.read_threedpw(path)


def test_threedpw_joints_behind_the_camera_and_nan_where_invalid(threedpw, rng):
    content = threedpw_content(rng)
    content["jointPositions"][0][0, 0] = -5  # x of the pelvis: 1 m behind
    content["jointPositions"][0][3] = np.nan  # its camera is not valid
    content["cam_poses"][3] = np.nan
    content["campose_valid"][1][3] = 0
    (clip,) = s.read_threedpw(dump(threedpw / "x.pkl", content)).clips
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
        s.read_threedpw(threedpw)
    found = s.read_threedpw(threedpw, on_bad="report")
    assert len(found.clips) == 1 and "bad.pkl" in found.warnings[0].file


def test_unsafe_pickles_stay_unsafe(threedpw):
    path = threedpw / "sequenceFiles/test/evil.pkl"
    path.write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafeFile, match=r"evil.pkl"):
        s.read_threedpw(threedpw)
    assert isinstance(s.read_threedpw(threedpw, on_bad="report").warnings[0], UnsafeFile)


# --- AIST++ ---------------------------------------------------------------------------------------

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
    found = s.read_aist(aist, split="pose_test")
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
    found = s.read_aist(aist / f"keypoints3d/{DANCE}.pkl", views=("c02",))
    assert len(found.clips) == 1 and len(found.detections) == T
    assert not s.read_aist(aist, views=()).clips
    assert not s.read_aist(aist, split="pose_train").motions
    (aist / "ignore_list.txt").write_text(DANCE)
    ignored = s.read_aist(aist)
    assert not ignored.motions and "ignore_list" in str(ignored.warnings[0])
    with pytest.raises(UnknownName, match="pose_test"):
        s.read_aist(aist, split="pose_tst")
    (aist / "cameras/mapping.txt").unlink()
    (aist / "ignore_list.txt").unlink()
    assert not s.read_aist(aist).clips


def test_aist_refusals(aist):
    path = aist / f"keypoints2d/{DANCE}.pkl"
    dump(path, {"keypoints2d": np.zeros((9, T - 1, 17, 3))})
    with pytest.raises(BadRecord, match="keypoints2d has shape"):
        s.read_aist(aist)
    path.unlink()
    cameras = json.loads((aist / "cameras/setting1.json").read_text())
    for key, value, match in (
        ("distortions", [0, 0, 0.1, 0, 0], "tangential"),
        ("matrix", [[1, 2], [3]], "matrix is not an array"),
        ("rotation", None, "rotation is missing"),
    ):
        (aist / "cameras/setting1.json").write_text(json.dumps([cameras[0] | {key: value}]))
        with pytest.raises(BadRecord, match=f"setting1.c01: {match}"):
            s.read_aist(aist)


# --- DeciWatch's files ----------------------------------------------------------------------------


def sequence_names(name, t):
    return np.array([f"{name}/{i:05}" for i in range(t)])


@pytest.fixture
def deciwatch(tmp_path, rng):
    lengths, names = (3, 5, 4), ("downtown_bus_00", "downtown_bus_00", "flat_guitar_01")
    images = columns(*(sequence_names(*pair) for pair in zip(names, lengths)))
    truth = [rng.normal(size=(t, 51)) for t in lengths]
    pose, shape = (
        [rng.normal(size=(t, 72)) for t in lengths],
        [rng.normal(size=(t, 10)) for t in lengths],
    )
    smpl = {"pose": columns(*pose), "shape": columns(*shape)}
    save(
        tmp_path / "groundtruth_poses/pw3d/pw3d_gt_test.npz",
        imgname=images,
        joints_3d=columns(*truth),
        **smpl,
    )
    for estimator, shift in (("pare", 0.1), ("spin", 0.2)):
        guess = columns(*((x + shift).reshape(-1, 17, 3) for x in truth))
        path = tmp_path / f"detected_poses/pw3d/{estimator}/pw3d_{estimator}_test.npz"
        save(
            path,
            imgname=images,
            joints_3d=guess,
            camera=columns(*(np.zeros((t, 3)) for t in lengths)),
            **smpl,
        )
    clips = columns(*(sequence_names(f"catch/{n}", t) for n, t in (("a", 3), ("b", 5))))
    joints = columns(*(rng.uniform(0, 200, (t, 15, 2)) for t in (3, 5)))
    boxes = columns(*(np.tile([10, 20, 60.0, 120], (t, 1)) for t in (3, 5)))
    own = {"bbox": boxes, "imgshape": np.array([[240, 320, 3]] * 2)}
    save(
        tmp_path / "groundtruth_poses/jhmdb/jhmdb_gt_train.npz",
        imgname=clips,
        joints_2d=joints,
        **own,
    )
    guess = columns(*(x.reshape(len(x), -1) + 3 for x in joints))
    save(
        tmp_path / "detected_poses/jhmdb/simplepose/jhmdb_simplepose_train.npz",
        imgname=clips,
        joints_2d=guess,
    )
    return tmp_path


def test_deciwatch_motions_with_detections(deciwatch):
    found = s.read_deciwatch(deciwatch, dataset="pw3d", estimator="spin")
    assert [m.name for m in found.motions] == [
        "downtown_bus_00",
        "downtown_bus_00#2",
        "flat_guitar_01",
    ]
    motion = found.motions[1]
    assert motion.xyz_mm.shape == (5, 17, 3) and motion.fps == 30 and motion.space == "root"
    np.testing.assert_allclose(motion.detected - motion.xyz_mm, 200)
    assert not found.warnings
    chosen = s.read_deciwatch(deciwatch / "groundtruth_poses/pw3d/pw3d_gt_test.npz")
    np.testing.assert_allclose(chosen.motions[0].detected - chosen.motions[0].xyz_mm, 100)
    assert "pare, spin are there, those of pare" in str(chosen.warnings[0])
    with pytest.raises(UnknownName, match="spin"):
        s.read_deciwatch(deciwatch, dataset="pw3d", estimator="spn")
    with pytest.raises(UnknownName, match="pw3d_gt_test"):
        s.read_deciwatch(deciwatch, dataset="pw3d", split="train")


def test_deciwatch_jhmdb(deciwatch):
    found = s.read_deciwatch(deciwatch, dataset="jhmdb", split="train")
    assert [c.name for c in found.clips] == ["catch/a", "catch/b"] and len(found.detections) == 8
    track = found.clips[1].tracks[0]
    np.testing.assert_allclose(found.detections.xy_frame[3:], track.xy_frame + 3, rtol=1e-6)
    np.testing.assert_array_equal(track.boxes_xyxy[4], [10, 20, 60, 120])
    assert found.detections.frames.tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert (
        found.detections.images[3] == "catch/b/00000" and (found.detections.confidence == 1).all()
    )
    assert (found.clips[0].video.width, found.clips[0].video.height) == (320, 240)


def test_deciwatch_everything_at_once_and_smpl(deciwatch):
    found = s.read_deciwatch(deciwatch)
    assert (len(found.clips), len(found.motions)) == (2, 3)
    smpl = s.read_smpl(deciwatch / "groundtruth_poses/pw3d/pw3d_gt_test.npz", estimator="pare")
    assert [name for name, _ in smpl] == ["downtown_bus_00", "downtown_bus_00", "flat_guitar_01"]
    own = smpl[1][1]
    assert {k: v.shape for k, v in own.items()} == {
        "pose_rad": (5, 24, 3),
        "shape": (5, 10),
        "detected_pose_rad": (5, 24, 3),
        "detected_shape": (5, 10),
    }
    np.testing.assert_array_equal(own["pose_rad"], own["detected_pose_rad"])


def test_deciwatch_equal_lengths_need_no_objects(tmp_path, rng):
    joints = rng.normal(size=(2, 3, 42))
    images = np.stack([sequence_names(name, 3) for name in "ab"])
    joints[1, 1] = np.nan
    found = s.read_deciwatch(
        save(tmp_path / "aist_gt_validate.npz", imgname=images, joints_3d=joints)
    )
    assert [m.name for m in found.motions] == ["a", "b[0:1]", "b[2:3]"]
    assert (
        found.motions[0].detected is None and found.motions[0].joints == skeleton("3dpw14").joints
    )
    assert "1 of 3 frames have a NaN" in str(found.warnings[0])
    images = columns(*images)
    images[:] = [list(row) for row in images]  # a list of text in each
    again = s.read_deciwatch(
        save(tmp_path / "aist_gt_validate.npz", imgname=images, joints_3d=joints)
    )
    assert len(again.motions) == 3


def test_deciwatch_refusals(deciwatch):
    path = deciwatch / "groundtruth_poses/pw3d/pw3d_gt_test.npz"
    with np.load(path, allow_pickle=True) as archive:  # our own file
        held = dict(archive)
    broken = held["joints_3d"].copy()
    broken[1] = broken[1][:, :48]
    save(path, **held | {"joints_3d": broken})
    with pytest.raises(
        BadRecord, match=r"sequence 1 \(downtown_bus_00\): joints_3d has shape \(5, 48\).*1 of 3"
    ):
        s.read_deciwatch(path)
    assert len(s.read_deciwatch(path, on_bad="report").motions) == 2
    other = held["imgname"].copy()
    other[0] = sequence_names("elsewhere", 3)
    save(path, **held | {"imgname": other})
    with pytest.raises(BadRecord, match="not those of the ground truth"):
        s.read_deciwatch(path)
    save(path, **held | {"joints_3d": held["joints_3d"][:2]})
    with pytest.raises(BadFile, match="sequences by column"):
        s.read_deciwatch(path)
    save(path, **held | {"imgname": columns(*[{"a": 1}] * 3)})
    with pytest.raises(BadRecord, match="imgname is no list of text"):
        s.read_deciwatch(path)
    with pytest.raises(UnknownName, match="ground truth"):
        s.read_deciwatch(deciwatch / "detected_poses/pw3d/spin/pw3d_spin_test.npz")


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fixture", "path", "read"),
    [
        ("h36m", "annotation_body3d/fps50/h36m_test.npz", s.read_h36m),
        ("h36m", "annotation_body3d/cameras.pkl", s.read_h36m),
        ("h36m", "joint_2d_det_files/cpn_ft_h36m_dbb_test.npy", s.read_h36m),
        ("jhmdb", "joint_positions/walk/c_1/joint_positions.mat", s.read_jhmdb),
        ("jhmdb", "puppet_mask/catch/a_0/puppet_mask.mat", s.read_jhmdb),
        ("jhmdb", "splits/catch_test_split1.txt", lambda p: s.read_jhmdb(p, split="test1")),
        ("threedpw", "sequenceFiles/test/office_phoneCall_00.pkl", s.read_threedpw),
        ("aist", f"keypoints3d/{DANCE}.pkl", s.read_aist),
        ("aist", f"keypoints2d/{DANCE}.pkl", s.read_aist),
        ("aist", "cameras/setting1.json", s.read_aist),
        ("aist", "cameras/mapping.txt", s.read_aist),
        ("deciwatch", "groundtruth_poses/pw3d/pw3d_gt_test.npz", s.read_deciwatch),
        (
            "deciwatch",
            "detected_poses/jhmdb/simplepose/jhmdb_simplepose_train.npz",
            s.read_deciwatch,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_end_in_named_errors(request, fixture, path, read):
    root = request.getfixturevalue(fixture)
    raw, chance = (root / path).read_bytes(), random.Random(3)
    refused = 0
    for _ in range(40):
        damaged = bytearray(raw[: chance.randrange(len(raw))] if chance.random() < 0.2 else raw)
        for _ in range(chance.choice((1, 1, 3, 9)) if damaged else 0):
            damaged[chance.randrange(len(damaged))] = chance.choice((0, 255, chance.randrange(256)))
        (root / path).write_bytes(bytes(damaged))
        try:
            read(root)
        except WorkbenchError as error:
            refused += 1
            assert "\n" not in str(error)
    (root / path).write_bytes(b"")
    with pytest.raises(EmptyFile):
        read(root)
    assert refused > 3
