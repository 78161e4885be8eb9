"""What `describe` says of files: counts, pictures that are not there, the same keys always."""

from __future__ import annotations

import pytest

from tests.data.seeds import SEEDS, as_json, coco, put
from workbench.data.describe import describe


def test_the_counts(tmp_path):
    tree = coco("crowdpose14", {"crowdIndex": 0.3})
    tree["images"][1]["crowdIndex"] = 0.8
    tree["annotations"][0]["keypoints"][:6] = [0, 0, 0, 5, 5, 1]
    tree["annotations"][1]["keypoints"] = [0] * 42
    tree["annotations"][1]["iscrowd"] = 1
    found = describe(put(tmp_path, "a.json", as_json(tree)))
    assert (found["schema_version"], found["skeletons"], found["images"]) == (1, ["crowdpose14"], 2)
    assert (found["people"], found["labelled"], found["crowds"]) == (2, 1, 1)
    assert found["joints"] == {"0": 15, "1": 1, "2": 12} and found["occlusion_known"] is True
    assert found["crowd_index"] == {"easy": 0, "medium": 1, "hard": 1, "edges": [0.2, 0.8]}
    assert "labelled but not visible" in found["visibility"]
    assert found["sequences"] is None  # stills


def test_tracks_and_motions(tmp_path):
    found = describe(put(tmp_path, "a.json", SEEDS["posetrack18"].raw))
    assert (found["sequences"], found["frames"], found["tracks"], found["people"]) == (1, 3, 1, 2)
    (warning,) = found["warnings"]["records"]
    assert warning["problem"].startswith("3 of the 3 pictures of its sequences are missing, ")
    found = describe(put(tmp_path, "b.bvh", SEEDS["bvh"].raw))
    assert (found["kind"], found["frames"], found["in_space"]) == ("motion", 3, True)
    assert found["motion"]["joints"] == [2] and found["motion"]["seconds"] == pytest.approx(
        0.1, abs=1e-4
    )


def test_the_keys_are_the_same_for_everything(tmp_path):
    keys = {tuple(describe(put(tmp_path, seed.file, seed.raw))) for seed in SEEDS.values()}
    assert len(keys) == 1


def test_pictures_that_are_not_there(tmp_path):
    path = put(tmp_path, "annotations/a.json", as_json(coco("coco17")))
    assert [w["problem"] for w in describe(path)["warnings"]["records"]] == [
        "none of its 2 pictures is here"
    ]
    put(tmp_path, "images/000_01_l.jpg", b"x")
    (warning,) = describe(path)["warnings"]["records"]
    assert warning["record"] == "001_01_r.jpg" and "1 of 2 pictures" in warning["problem"]
    put(tmp_path, "images/001_01_r.jpg", b"x")
    assert describe(path)["warnings"] == {"count": 0, "records": []}
    away = put(
        tmp_path,
        "annotations/b.json",
        as_json(coco("coco17", {"file_name": "../images/000_01_l.jpg"})),
    )
    (warning,) = describe(away)["warnings"]["records"]
    assert warning["problem"] == "the picture's name leaves the folder"


# --- real samples ---------------------------------------------------------------------------------

FACTS = {  # as the samples' own description states them
    "mmpose_samples/coco/test_coco.json": {
        "reader": "coco",
        "images": 3,
        "people": 9,
        "labelled": 7,
    },
    "mmpose_samples/coco/test_coco_det_AP_H_56.json": {"boxes": {"people": 81, "images": 3}},
    "mmpose_samples/crowdpose/test_crowdpose.json": {
        "reader": "crowdpose",
        "images": 1,
        "people": 3,
        "labelled": 2,
    },
    "mmpose_samples/crowdpose/test_crowdpose_det_AP_40.json": {"boxes": {"people": 3, "images": 1}},
    "mmpose_samples/posetrack18": {
        "reader": "posetrack",
        "sequences": 2,
        "tracks": 12,
        "labelled_images": 2,
    },
    "mmpose_samples/posetrack18/annotations/val/003418_mpii_test.json": {
        "sequences": 1,
        "people": 1,
    },
    "mmpose_samples/posetrack18/annotations/val/012834_mpii_test.json": {
        "sequences": 1,
        "people": 11,
    },
    "mmpose_samples/posetrack18/annotations/test_posetrack18_val.json": {
        "sequences": 2,
        "people": 12,
    },
    "mmpose_samples/posetrack18/annotations/test_posetrack18_human_detections.json": {
        "boxes": {"people": 200, "images": 2}
    },
    "mmpose_samples/posetrack18/videos/000001_mpiinew_test/000001_mpiinew_test.mp4": {"frames": 5},
    "mmpose_samples/jhmdb/test_jhmdb_sub1.json": {
        "skeletons": ["jhmdb15"],
        "people": 2,
        "occlusion_known": False,
    },
    "mmpose_samples/h36m/test_h36m_body3d.npz": {
        "skeletons": ["h36m17"],
        "people": 3,
        "in_space": True,
        "cameras": 44,
    },
    "mmpose_samples/h36m/h36m_coco.json": {"skeletons": ["h36m17"], "people": 3},
    "mmpose_samples/h36m/cameras.pkl": {"cameras": 44},
    "mmpose_samples/h36m/cameras.json": {"cameras": 44},
    "mmpose_samples/h36m/test_h36m_2d_detection.npy": {
        "members": {"count": 1, "names": ["float64 (3, 17, 3)"]}
    },
    "mmpose_samples/panoptic/test_panoptic.json": {
        "skeletons": ["hand21"],
        "people": 2,
        "sequences": 1,
    },
    "mmpose_samples/rhd/test_rhd.json": {
        "skeletons": ["hand21_rhd"],
        "people": 2,
        "in_space": True,
    },
    "mmpose_samples/rhd/00111.png": {
        "size": {"width": {"min": 320, "max": 320}, "height": {"min": 320, "max": 320}}
    },
    "port_panoptic": {
        "reader": "port_panoptic",
        "people": 846,
        "sequences": 220,
        "joints": {"0": 0, "1": 0, "2": 17766},
    },
    "crowdpose/annotations/crowdpose_val.json": {
        "images": 2000,
        "people": 8527,
        "crowds": 106,
        "joints": {"0": 40747, "1": 51590, "2": 27041},
        "crowd_index": {"easy": 411, "medium": 1240, "hard": 349, "edges": [0.2, 0.8]},
    },
    "coco_mini": {
        "images": 42,
        "people": 118,
        "labelled": 68,
        "crowds": 1,
        "joints": {"0": 1354, "1": 92, "2": 560},
    },
    "eval_examples/coco_gt.json": {"images": 3, "people": 9},
    "eval_examples/crowdpose_gt.json": {"images": 2, "people": 4},
    "bandai_namco": {"sequences": 40, "frames": 8508, "fps": {"min": 30.0, "max": 30.0}},
    "clips/two_people_hug.mp4": {
        "frames": 72,
        "size": {"width": {"min": 1920, "max": 1920}, "height": {"min": 1080, "max": 1080}},
    },
    "clips/street_pedestrians.mp4": {"frames": 5, "fps": {"min": 5.0, "max": 5.0}},
    "bad/control_ok.json": {"images": 1, "people": 1, "joints": {"0": 0, "1": 0, "2": 17}},
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", FACTS)
def test_real_samples_are_what_their_description_says(name, data_root):
    found = describe(data_root / name)
    assert {key: found[key] for key in FACTS[name]} == FACTS[name]


@pytest.mark.realdata
@pytest.mark.parametrize("name, people", [("coco", 55), ("crowdpose", 6)])
def test_real_predictions(name, people, data_root):
    assert (
        describe(data_root / "eval_examples" / f"{name}_preds.json")["detections"]["people"]
        == people
    )
