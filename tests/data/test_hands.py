from __future__ import annotations

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from workbench.data.hands import DETECTIONS, panoptic_source, read_port_panoptic
from workbench.errors import BadRecord, MissingFile


def test_hands_of_one_video_or_picture_share_their_source():
    assert panoptic_source("hand_labels/manual_test/ex2_2.flv_000055_r.jpg") == "ex2_2.flv"
    assert panoptic_source("ex2_2.flv_000056_l.jpg") == "ex2_2.flv"
    assert panoptic_source("a/000973096_03_l.jpg") == panoptic_source("a/000973096_05_r.jpg") == "000973096"
    with pytest.raises(BadRecord, match="holiday"):
        panoptic_source("holiday.jpg")


@pytest.fixture
def small(tmp_path):
    """Three hands whose detections stand in another order, their paths under a folder of the detector's own."""
    names = [f"hand_labels/t/00000{i}_01_l.jpg" for i in range(3)]
    annotations = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [],
        "annotations": [
            {"id": i, "image_id": i, "bbox": [0, 0, 5, 7], "keypoints": [10 * i, 1, 1] * 21} for i in range(3)
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "panoptic_test.json").write_text(json.dumps(annotations))
    order = [2, 0, 1]

    def save(order=tuple(order), prefix="data/panoptic/"):
        preds = np.array([np.full((21, 3), 10 * i) for i in order], np.float32) / np.float32([1, 1, 100])
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
    pose, detections = read_port_panoptic(root)
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
    with pytest.raises(BadRecord, match=r"annotation 1: 1 hands have joints that are not labelled.*drop") as caught:
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
    pose, detections = read_port_panoptic(root)
    assert len(pose) == len(detections) == 846 and detections.source.endswith(".pkl")
    assert all(d.endswith(p) for d, p in zip(detections.images, pose.images, strict=True))
    assert (pose.visibility == 2).all() and not pose.occlusion_known

    groups = Counter(pose.groups)
    videos = {g: n for g, n in groups.items() if g.endswith(".flv")}
    assert len(groups) == 220 and len(videos) == 4
    assert sum(videos.values()) == 447 and sum(groups.values()) - 447 == 399  # sign language frames, MPII pictures
    people = Counter(image[: -len("_l.jpg")] for image in pose.images)  # a frame, or one person of a picture
    assert Counter(people.values()) == {2: 385, 1: 76}

    relative = [r.xy_frame.astype(float) - r.xy_frame[:, :1] for r in (pose, detections)]
    epe = np.linalg.norm(relative[0] - relative[1], axis=-1).mean()
    assert epe == pytest.approx(15.2702, abs=5e-5)  # PORT Table I, MobileNetV2: 15.27

    shutil.copytree(root, tmp_path / "npz", ignore=shutil.ignore_patterns("*.pkl"))
    _, converted = read_port_panoptic(tmp_path / "npz")
    assert converted.source.endswith(".npz") and converted.images == detections.images
    for field in ("xy_frame", "confidence", "boxes_xyxy", "scores"):
        np.testing.assert_array_equal(getattr(converted, field), getattr(detections, field))
