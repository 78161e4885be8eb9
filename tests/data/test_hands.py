from __future__ import annotations

import json
import pickle
import shutil
from collections import Counter

import numpy as np
import pytest

from workbench.data.hands import (
    DETECTIONS,
    panoptic_source,
    read_cmu_hands,
    read_fphb,
    read_port_panoptic,
    read_rhd,
)
from workbench.errors import BadFile, BadRecord, MissingFile


def test_hands_of_one_video_or_picture_share_their_source():
    assert panoptic_source("hand_labels/manual_test/ex2_2.flv_000055_r.jpg") == "ex2_2.flv"
    assert panoptic_source("ex2_2.flv_000056_l.jpg") == "ex2_2.flv"
    assert (
        panoptic_source("a/000973096_03_l.jpg")
        == panoptic_source("a/000973096_05_r.jpg")
        == "000973096"
    )
    with pytest.raises(BadRecord, match="holiday"):
        panoptic_source("holiday.jpg")


@pytest.fixture
def small(tmp_path):
    """Three hands whose detections stand in another order, their paths under a folder of the
    detector's own.
    """
    names = [f"hand_labels/t/00000{i}_01_l.jpg" for i in range(3)]
    annotations = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [],
        "annotations": [
            {"id": i, "image_id": i, "bbox": [0, 0, 5, 7], "keypoints": [10 * i, 1, 1] * 21}
            for i in range(3)
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "panoptic_test.json").write_text(json.dumps(annotations))
    order = [2, 0, 1]

    def save(order=tuple(order), prefix="data/panoptic/"):
        preds = np.array([np.full((21, 3), 10 * i) for i in order], np.float32) / np.float32(
            [1, 1, 100]
        )
        np.savez(
            tmp_path / DETECTIONS[1],
            preds=preds,
            boxes=np.ones((len(order), 6), np.float32),
            image_paths=[prefix + names[i] for i in order],
            bbox_ids=np.arange(len(order)),
        )

    save()
    return tmp_path, save


def test_rows_are_matched_by_file_name(small):
    root, _ = small
    found = read_port_panoptic(root)
    pose, detections = found.poses, found.detections
    np.testing.assert_array_equal(pose.xy_frame[:, 0, 0], [0, 10, 20])
    np.testing.assert_array_equal(detections.xy_frame[:, 0, 0], [0, 10, 20])
    assert pose.groups == ("000000", "000001", "000002") and not pose.occlusion_known
    assert (pose.visibility == 2).all()


def test_a_hand_with_an_unlabelled_joint_is_named(small):
    root, _ = small
    file = root / "annotations" / "panoptic_test.json"
    content = json.loads(file.read_text())
    content["annotations"][1]["keypoints"][5] = 0
    file.write_text(json.dumps(content))
    with pytest.raises(
        BadRecord, match=r"annotation 1: 1 joints are not labelled.*drop.*1 of 3"
    ) as caught:
        read_port_panoptic(root)
    assert caught.value.file == str(file)


def test_hands_without_a_match_are_named(small):
    root, save = small
    save(order=(0, 2))
    with pytest.raises(BadRecord, match=r"000001_01_l\.jpg: 1 of 3 hands have no detection"):
        read_port_panoptic(root)
    save(order=(0, 1, 2, 2))
    with pytest.raises(BadRecord, match="stands twice"):
        read_port_panoptic(root)
    (root / DETECTIONS[1]).unlink()
    with pytest.raises(MissingFile, match="workbench data fetch port_panoptic"):
        read_port_panoptic(root)


@pytest.mark.realdata
def test_the_published_hands(data_root, tmp_path):
    root = data_root / "port_panoptic"
    found = read_port_panoptic(root)
    pose, detections = found.poses, found.detections
    assert len(pose) == len(detections) == 846 and detections.source.endswith(".pkl")
    assert all(d.endswith(p) for d, p in zip(detections.images, pose.images, strict=True))
    assert (pose.visibility == 2).all() and not pose.occlusion_known

    groups = Counter(pose.groups)
    videos = {g: n for g, n in groups.items() if g.endswith(".flv")}
    assert len(groups) == 220 and len(videos) == 4
    # sign language frames, MPII pictures
    assert sum(videos.values()) == 447 and sum(groups.values()) - 447 == 399
    # a frame, or one person of a picture
    people = Counter(image[: -len("_l.jpg")] for image in pose.images)
    assert Counter(people.values()) == {2: 385, 1: 76}

    relative = [r.xy_frame.astype(float) - r.xy_frame[:, :1] for r in (pose, detections)]
    epe = np.linalg.norm(relative[0] - relative[1], axis=-1).mean()
    assert epe == pytest.approx(15.2702, abs=5e-5)  # PORT Table I, MobileNetV2: 15.27

    shutil.copytree(root, tmp_path / "npz", ignore=shutil.ignore_patterns("*.pkl"))
    converted = read_port_panoptic(tmp_path / "npz").detections
    assert converted.source.endswith(".npz") and converted.images == detections.images
    for field in ("xy_frame", "confidence", "boxes_xyxy", "scores"):
        np.testing.assert_array_equal(getattr(converted, field), getattr(detections, field))


def test_report_leaves_a_bad_hand_out_with_its_detection(small):
    root, save = small
    file = root / "annotations" / "panoptic_test.json"
    content = json.loads(file.read_text())
    content["annotations"][1]["keypoints"][5] = 0
    file.write_text(json.dumps(content))
    save(order=(2, 1))
    found = read_port_panoptic(root, on_bad="report")
    assert found.poses.ids == ("2",) and found.detections.xy_frame[0, 0, 0] == 20
    assert [w.record for w in found.warnings] == ["annotation 1", "hand_labels/t/000000_01_l.jpg"]


# --- RHD: files made in the published layout ------------------------------------------------------


def rhd_sample():
    """A left hand along a line in the picture, its joint 2 hidden and joint 3 outside; a right
    hand outside of it.
    """
    k = np.array([[300, 0, 160], [0, 300, 160], [0, 0, 1]], np.float32)
    xyz = np.zeros((42, 3), np.float32)
    xyz[:21, 0], xyz[:, 2] = np.arange(21) * 0.01 - 0.1, 0.5  # 6 px apart
    xyz[3, 1], xyz[21:, 0] = -0.4, 2
    uv = (xyz @ k.T)[:, :2] / xyz[:, 2:]
    visible = np.ones((42, 1), np.float32)
    visible[[2, 3]] = 0
    visible[21:] = 0
    return {"xyz": xyz, "uv_vis": np.concatenate((uv, visible), 1), "K": k}


@pytest.fixture
def rhd(tmp_path):
    def write(samples, split="evaluation", protocol=2):
        (tmp_path / split).mkdir(exist_ok=True)
        path = tmp_path / split / f"anno_{split}.pickle"
        path.write_bytes(pickle.dumps(samples, protocol))
        return path

    return write


@pytest.mark.parametrize("protocol", [2, 4])
def test_rhd_says_what_is_hidden(rhd, protocol):
    found = read_rhd(rhd({7: rhd_sample()}, protocol=protocol))
    poses = found.poses
    assert poses.skeleton == "hand21_rhd" and poses.occlusion_known
    assert poses.ids == ("evaluation/00007_left",) and poses.images == (
        "evaluation/color/00007.png",
    )  # the right one is outside
    assert poses.visibility[0, :5].tolist() == [2, 2, 1, 0, 2]
    np.testing.assert_allclose(poses.xy_frame[0, :5, 0], [100, 106, 112, 0, 124], rtol=1e-5)
    np.testing.assert_allclose(poses.xyz_camera_mm[0, 1], [-90, 0, 500], rtol=1e-5)
    np.testing.assert_allclose(poses.boxes_xyxy, [[100, 160, 220, 160]], rtol=1e-5)
    assert found.pictures[0].size_wh == (320, 320)


def test_rhd_folder_holds_both_splits(rhd):
    rhd({0: rhd_sample()}, "training")
    root = rhd({0: rhd_sample(), 1: rhd_sample()}).parents[1]
    poses = read_rhd(root).poses
    assert poses.ids == ("evaluation/00000_left", "evaluation/00001_left", "training/00000_left")
    assert poses.xyz_camera_mm.shape == (3, 21, 3)
    (root / "none").mkdir()
    with pytest.raises(MissingFile, match="data show rhd"):
        read_rhd(root / "none")


def test_rhd_names_the_sample(rhd):
    sample = rhd_sample()
    sample["uv_vis"][4, 0] = np.nan
    path = rhd({3: rhd_sample(), 5: sample, 6: {"xyz": np.zeros((21, 3))}, "x": 1})
    with pytest.raises(BadRecord, match=r"sample 5: uv_vis.*not finite.*3 of 4 samples"):
        read_rhd(path)
    found = read_rhd(path, on_bad="report")
    assert len(found.poses) == 1 and [w.record for w in found.warnings] == [
        "sample 5",
        "sample 6",
        "sample x",
    ]
    with pytest.raises(BadFile, match="holds a list"):
        read_rhd(rhd([1]))


@pytest.mark.realdata
def test_rhd_conversion_has_joints_in_space(data_root):
    found = read_rhd(data_root / "mmpose_samples" / "rhd")
    poses = found.poses
    assert len(poses) == 2 and poses.skeleton == "hand21_rhd" and not poses.occlusion_known
    for row, focal in enumerate((299.0, 305.9)):  # as its own cam_param says, centre 160, 160
        x, y, z = poses.xyz_camera_mm[row].T
        np.testing.assert_allclose(
            focal * np.stack((x, y), 1) / z[:, None] + 160, poses.xy_frame[row], atol=0.1
        )
    bones = np.linalg.norm(np.diff(poses.xyz_camera_mm[:, 5:9], axis=1), axis=2)
    # the forefinger's last bone stands first: it is the short one
    assert (bones[:, 2] > 1.3 * bones[:, 0]).all()


# --- CMU's own files ------------------------------------------------------------------------------


def test_cmu_hand_labels(tmp_path):
    folder = tmp_path / "hand_labels" / "manual_test"
    folder.mkdir(parents=True)
    joints = [[10.0 + j, 5.0, 1] for j in range(21)]
    joints[3] = [0, 0, 0]
    for name in ("a.flv_000001_l", "000097306_02_r"):
        (folder / f"{name}.json").write_text(json.dumps({"hand_pts": joints, "is_left": 1}))
    found = read_cmu_hands(tmp_path / "hand_labels")
    poses = found.poses
    assert poses.images == ("manual_test/000097306_02_r.jpg", "manual_test/a.flv_000001_l.jpg")
    assert poses.groups == ("000097306", "a.flv") and poses.visibility[0, :5].tolist() == [
        2,
        2,
        2,
        0,
        2,
    ]
    assert poses.boxes_xyxy[0].tolist() == [10, 5, 30, 5] and not poses.occlusion_known

    (folder / "b_l.json").write_text(json.dumps({"hand_pts": joints[:20]}))
    with pytest.raises(
        BadRecord,
        match=r"manual_test/b_l.json: hand_pts has length 60 \(63 expected\).*1 of 3 hands",
    ):
        read_cmu_hands(tmp_path / "hand_labels")
    assert len(read_cmu_hands(tmp_path / "hand_labels", on_bad="report").warnings) == 1


def test_cmu_panopticdb(tmp_path):
    path = tmp_path / "hands_v143_14817.json"
    record = {"img_paths": "imgs/00000000.jpg", "joint_self": [[10.0, 5.0, 1.0]] * 21}
    path.write_text(json.dumps({"root": [record, record | {"img_paths": 1}]}))
    with pytest.raises(BadRecord, match=r"root\[1\].*1 of 2 hands"):
        read_cmu_hands(tmp_path)
    found = read_cmu_hands(path, on_bad="report")
    assert found.poses.ids == ("root[0]",) and found.pictures[0].name == "imgs/00000000.jpg"
    assert len(found.warnings) == 1


# --- FPHB: files made in the published layout -----------------------------------------------------


def fphb_line(frame, joints=None):
    """A frame whose joint j stands at x = j mm, 400 mm before the camera."""
    joints = np.array([[j, 0, 400] for j in range(21)], float) if joints is None else joints
    return " ".join(map(str, [frame, *joints.ravel()]))


@pytest.fixture
def fphb(tmp_path):
    def write(*lines, action="put_salt"):
        folder = tmp_path / "Hand_pose_annotation_v1" / "Subject_1" / action / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "skeleton.txt").write_text("\n".join(lines) + "\n")
        return folder / "skeleton.txt"

    return write


def test_fphb_joints_come_in_our_order_and_project(fphb, tmp_path):
    away = np.tile([5000.0, 0, 400], (21, 1))
    fphb(fphb_line(0), fphb_line(2, away))
    found = read_fphb(tmp_path)
    (clip,) = found.clips
    (track,) = clip.tracks
    assert clip.name == "Subject_1/put_salt/1" and [p.name for p in clip.pictures] == [
        "color_0000.jpeg",
        "color_0002.jpeg",
    ]
    # joint j of the file has x = j: wrist, thumb (knuckle 1, then 6 7 8), index (2, then 9 10 11),
    # ...
    order = np.round(track.xyz_camera_mm[0, :, 0] - track.xyz_camera_mm[0, 0, 0]).astype(int)
    assert order.tolist() == [
        0,
        1,
        6,
        7,
        8,
        2,
        9,
        10,
        11,
        3,
        12,
        13,
        14,
        4,
        15,
        16,
        17,
        5,
        18,
        19,
        20,
    ]
    # by hand: R @ (0, 0, 400) + t = (26.093, 0.1246, 403.9003); u = 1395.749 * 26.093 / 403.9 +
    # 935.733
    np.testing.assert_allclose(track.xyz_camera_mm[0, 0], [26.0930, 0.1246, 403.9003], atol=1e-3)
    np.testing.assert_allclose(track.xy_frame[0, 0], [1025.90, 541.11], atol=0.01)
    assert (track.visibility[0] == 2).all() and not track.occlusion_known
    assert (
        (track.visibility[1] == 0).all()
        and (track.boxes_xyxy[1] == 0).all()
        and track.labelled.all()
    )


def test_fphb_names_the_line(fphb):
    path = fphb(
        fphb_line(0), "1 2 3", fphb_line(0), fphb_line("x"), fphb_line(3, np.full((21, 3), np.nan))
    )
    with pytest.raises(BadRecord, match=r"line 2: 3 numbers, 64 expected.*4 of 5 lines"):
        read_fphb(path)
    found = read_fphb(path, on_bad="report")
    assert found.clips[0].video.n_frames == 1 and [w.record for w in found.warnings] == [
        f"line {i}" for i in (2, 3, 4, 5)
    ]
    with pytest.raises(BadFile, match="no frame"):
        read_fphb(fphb(""))
