from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.growth import LINEAR, growth
from workbench.data.coco import (
    CROWD_EDGES_EVALUATOR,
    CROWD_EDGES_PAPER,
    crowd_bins,
    find_pictures,
    read_coco,
    read_json,
    read_person_boxes,
    results_of,
)
from workbench.errors import (
    BadFile,
    BadParameter,
    BadRecord,
    EmptyFile,
    MissingFile,
    UnknownName,
    WorkbenchError,
)
from workbench.skeletons import skeleton

K = 15
KEYPOINTS = [v for i in range(K) for v in (10 + i, 20 + i / 2, i % 3)]


def content(*changes, skeleton_name="jhmdb15", **top):
    joints = list(skeleton(skeleton_name).joints)
    annotation = {
        "id": 1,
        "image_id": 7,
        "category_id": 1,
        "bbox": [10, 20, 30, 50],
        "keypoints": KEYPOINTS,
    }
    return {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b/c.jpg", "vid_id": 5}],
        "categories": [{"id": 1, "name": "person", "keypoints": joints, "skeleton": [[17, 99]]}],
        "annotations": [
            {**annotation, "id": i + 1, **change} for i, change in enumerate(changes or ({},))
        ],
        **top,
    }


def write(tmp_path, value):
    path = tmp_path / "a.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_a_record_becomes_a_pose(tmp_path):
    value = content({}, {"image_id": 8, "id": "x"})
    reading = read_coco(write(tmp_path, value), occlusion_known=True)
    pose = reading.poses
    assert (pose.skeleton, reading.warnings, pose.occlusion_known) == ("jhmdb15", (), True)
    assert (reading.reader, reading.source) == ("coco", str(tmp_path / "a.json"))
    assert (
        pose.ids == ("1", "x")
        and pose.images == ("a.jpg", "b/c.jpg")
        and pose.groups == ("a.jpg", "5")
    )
    np.testing.assert_array_equal(pose.boxes_xyxy[0], [10, 20, 40, 70])
    np.testing.assert_array_equal(pose.visibility[0], [i % 3 for i in range(K)])
    # 0 and 3 unlabelled
    np.testing.assert_array_equal(pose.xy_frame[0, :4], [[0, 0], [11, 20.5], [12, 21], [0, 0]])


def test_flags_that_say_nothing_about_occlusion_become_2(tmp_path):
    path = write(tmp_path, content())
    pose = read_coco(path).poses  # known by the skeleton: JHMDB says nothing
    assert not pose.occlusion_known and read_coco(path, occlusion_known=True).poses.occlusion_known
    np.testing.assert_array_equal(pose.visibility[0], [2 * (i % 3 > 0) for i in range(K)])
    value = content({"keypoints": [5, 6, 1] * 14}, skeleton_name="crowdpose14")
    reading = read_coco(write(tmp_path, value))
    assert reading.poses.occlusion_known and (reading.poses.visibility == 1).all()
    assert reading.reader == "crowdpose" and not reading.warnings


def flagged(*flags):
    """A person of coco17, whose flags go round."""
    return {"keypoints": [v for j in range(17) for v in (5 + j, 6, flags[j % len(flags)])]}


NO_FLAG_2 = "no joint has flag 2, so that 1 may mean labelled"


@pytest.mark.parametrize(
    ("flags", "known"),
    [
        ([[1]], False),
        ([[0, 1], [1]], False),
        ([[1], [1, 1, 2]], True),
        ([[2]], True),
        ([[0, 2]], True),
        ([[0]], True),
        ([], True),
    ],
)
def test_coco_flags_of_0_and_1_alone_may_mean_labelled(tmp_path, flags, known):
    changes = [flagged(*one) for one in flags]
    value = content(*changes, skeleton_name="coco17")
    value["annotations"] = value["annotations"][: len(flags)]
    path = write(tmp_path, value)
    reading = read_coco(path)
    pose = reading.poses
    assert pose.occlusion_known == known
    assert [NO_FLAG_2 in str(w) for w in reading.warnings] == [True] * (not known)
    stated = read_coco(path, occlusion_known=True)
    assert stated.poses.occlusion_known and not stated.warnings, "who says it is believed"
    if not known:
        np.testing.assert_array_equal(pose.visibility, 2 * stated.poses.visibility)


def test_all_of_a_file_says_what_its_flags_mean(tmp_path):
    """A flag 2 counts wherever it stands, also where its person or picture is left out."""
    other = flagged(2)
    for changes in ({"image_id": 99}, {"bbox": [5, 5, -1, 4]}, {"image_id": 8}):
        value = content(flagged(1), {**other, **changes}, skeleton_name="coco17")
        (tmp_path / "a.jpg").write_bytes(b"x")
        reading = read_coco(write(tmp_path, value), images=tmp_path, on_bad="report")
        assert reading.poses.ids == ("1",) and reading.poses.occlusion_known
        assert (reading.poses.visibility == 1).all()


def test_one_file_of_a_folder_that_says_nothing_speaks_for_all(tmp_path):
    (tmp_path / "annotations").mkdir()
    for i, (split, flag) in enumerate((("train", 2), ("val", 1))):
        value = content({"id": i, **flagged(flag, 1)}, skeleton_name="coco17")
        place = tmp_path / "annotations" / f"person_keypoints_{split}.json"
        place.write_text(json.dumps(value))
    reading = read_coco(tmp_path)
    assert reading.poses.occlusion_known is False and (reading.poses.visibility == 2).all()
    assert [NO_FLAG_2 in str(w) for w in reading.warnings] == [True]


def test_nested_keypoints_and_a_named_skeleton(tmp_path):
    rows = [[float(i), 2.0 * i, 1] for i in range(21)]
    value = content({"keypoints": rows}, categories=[])
    pose = read_coco(write(tmp_path, value), skeleton="hand21_rhd").poses
    np.testing.assert_array_equal(pose.xy_frame[0], [[i, 2 * i] for i in range(21)])
    with pytest.raises(BadFile, match="0 categories name keypoints"):
        read_coco(write(tmp_path, value))
    with pytest.raises(UnknownName, match="hand21_rhd"):
        read_coco(write(tmp_path, value), skeleton="hand21_rdh")


def test_an_animal_s_joints_are_a_skeleton_of_their_own(tmp_path):
    names = ["Snout", "L_Ear", "R_Ear"]
    category = {"keypoints": names, "skeleton": [[1, 2], [1, 3], [1, 9], "odd", [2, "x"]]}
    row = {"keypoints": [1, 2, 2, 3, 4, 1, 0, 0, 0]}
    reading = read_coco(write(tmp_path, content(row, categories=[category])))
    pose, own = reading.poses, skeleton(reading.poses.skeleton)
    assert "the file's own 3 joints (snout, left_ear, right_ear, ...)" in str(reading.warnings[0])
    assert own.joints == ("snout", "left_ear", "right_ear") and own.edges == ((0, 1), (0, 2))
    assert own.flip_pairs == ((1, 2),) and own.oks_sigmas is None
    assert pose.labelled.tolist() == [[True, True, False]] and not pose.occlusion_known
    again = read_coco(write(tmp_path, content(row, categories=[category]))).poses
    assert again.skeleton == pose.skeleton
    with pytest.raises(UnknownName, match="two joints are called 'a'") as caught:
        read_coco(write(tmp_path, content(categories=[{"keypoints": ["a", "A"]}])))
    assert caught.value.file
    coco = list(skeleton("coco17").joints)
    with pytest.raises(UnknownName, match="coco17's joints in another order"):
        read_coco(write(tmp_path, content(categories=[{"keypoints": coco[::-1]}])))


def test_a_missing_skeleton_is_asked_for_where_there_is_an_option(tmp_path):
    with pytest.raises(BadFile, match=r"skeleton=; --skeleton of score, propagate and data insp"):
        read_coco(write(tmp_path, content(categories=[])))


def test_persons_without_joints_are_persons(tmp_path):
    nobody = {"keypoints": [], "num_keypoints": 0}
    bare = {"keypoints": None, "num_keypoints": 0}
    pose = read_coco(write(tmp_path, content({}, nobody, bare, {"keypoints": []}))).poses
    assert pose.ids == ("1", "2", "3", "4")
    assert pose.labelled.any(1).tolist() == [True, False, False, False]
    assert (pose.boxes_xyxy == [10, 20, 40, 70]).all() and not pose.xy_frame[1:].any()
    for change in ({"num_keypoints": 3}, {"num_keypoints": False}, {"bbox": None, **nobody}):
        with pytest.raises(BadRecord, match=r"annotation 1: (keypoints|bbox) is missing"):
            read_coco(write(tmp_path, content({"keypoints": None, **change})))


def test_ids_that_restart_in_every_image_are_told_apart(tmp_path):
    two = {"id": 2}
    restarting = content({}, two, {"id": 1, "image_id": 8}, two | {"image_id": 8})
    reading = read_coco(write(tmp_path, restarting))
    assert reading.poses.ids == (
        "1 of image 7",
        "2 of image 7",
        "1 of image 8",
        "2 of image 8",
    )
    assert reading.poses.images == ("a.jpg", "a.jpg", "b/c.jpg", "b/c.jpg")
    (warning,) = reading.warnings
    assert "ids of annotations restart in other images" in str(warning)
    assert warning.record == "annotation 1 of image 7"
    reading = read_coco(
        write(tmp_path, content({}, two | {"image_id": 8}, {"id": 1, "image_id": 8}))
    )
    assert reading.poses.ids == ("1 of image 7", "2", "1 of image 8")
    restarting["annotations"].append(restarting["annotations"][0])
    path = write(tmp_path, restarting)
    with pytest.raises(BadRecord, match="annotation 1 of image 7: duplicate annotation id"):
        read_coco(path)
    assert len(read_coco(path, on_bad="report").poses) == 4


def test_a_picture_listed_twice_is_a_warning_or_two_pictures(tmp_path):
    value = content()
    value["images"].append(value["images"][0] | {"width": 9})
    reading = read_coco(write(tmp_path, value))
    (warning,) = reading.warnings
    assert warning.record == "image 7" and "1 images repeat the id and the name" in str(warning)
    assert len(reading.pictures) == 2 and reading.pictures[0].size_wh is None
    value["images"][2]["file_name"] = "other.jpg"
    with pytest.raises(BadRecord, match="image id 7 stands for two files"):
        read_coco(write(tmp_path, value))


@pytest.mark.parametrize(
    ("box", "out"),
    [
        ([10, 20, 30, 50], False),
        ([-20, -10, 60, 60], False),  # a third of it is inside
        ([70, 20, 100, 50], False),
        ([5000, 20, 30, 50], True),
        ([10, -500, 30, 50], True),
        ([90, 70, 100, 100], True),
        ([0, 0, 1000, 800], True),  # in the pixels of a larger picture
    ],
)
def test_a_box_far_outside_its_picture_is_a_warning(tmp_path, box, out):
    value = content({}, {"bbox": box})
    value["images"][0] |= {"width": 100, "height": 80}
    reading = read_coco(write(tmp_path, value))
    assert len(reading.poses) == 2 and len(reading.warnings) == out
    for warning in reading.warnings:
        assert warning.record == "annotation 2"
        assert "1 people have a box that lies mostly outside its picture" in str(warning)
    del value["images"][0]["width"]
    assert not read_coco(write(tmp_path, value)).warnings, "no size, nothing to lie outside of"


def test_boxes_without_area_are_kept_where_none_is_needed(tmp_path):
    path = write(tmp_path, content({}, {"bbox": [10, 20, 0, 50]}))
    with pytest.raises(BadRecord, match="bbox width <= 0: 0"):
        read_coco(path)
    reading = read_coco(path, keep_flat=True)
    assert reading.poses.ids == ("1", "2") and "the person is kept" in str(reading.warnings[0])
    with pytest.raises(BadRecord, match="bbox width <= 0: -1"):
        read_coco(write(tmp_path, content({}, {"bbox": [10, 20, -1, 50]})), keep_flat=True)


# --- results --------------------------------------------------------------------------------------


def test_results_are_a_list_or_annotations_with_scores(tmp_path):
    path = tmp_path / "r.json"
    rows = [{"image_id": 1, "category_id": 1, "keypoints": [1, 2, 0.5], "score": 0.25}]
    assert results_of(rows, path) == (rows, {}, [])
    images = [{"id": 1.0, "file_name": "a.jpg"}, {"id": 2}, "x", {"file_name": "b"}]
    results = results_of({"images": images, "annotations": rows}, path)
    assert results == (rows, {"1": "a.jpg", "None": "b"}, [])
    assert results_of({"annotations": []}, path) == ([], {}, [])
    for content, text in (
        (
            {"annotations": [{"image_id": 1, "keypoints": [1, 2, 2]}, 5]},
            "annotations without a sco",
        ),
        ({"annotations": [{"keypoints": [1, 2, 2], "scores": ["a"]}]}, "annotations without a sc"),
        ({"results": rows}, "holds a dict, a list of results expected.*keypoints, score}"),
        ({"annotations": 5}, "holds a dict"),
        (None, "holds a NoneType"),
    ):
        with pytest.raises(BadFile, match=text) as raised:
            results_of(content, path)
        assert raised.value.file == str(path) and "score}" in raised.value.remedy


def test_scores_of_joints_become_confidences(tmp_path):
    person = {"image_id": 1, "keypoints": [1, 2, 1, 3, 4, 1], "scores": [0.25, 0.75]}
    given = {"annotations": [person, person | {"score": 0.125}]}
    rows, _, warnings = results_of(given, tmp_path / "r.json")
    assert [row["score"] for row in rows] == [0.5, 0.125]
    assert rows[0]["keypoints"] == [1, 2, 0.25, 3, 4, 0.75] and rows[1]["image_id"] == 1
    assert person["keypoints"] == [1, 2, 1, 3, 4, 1] and "score" not in person
    assert [str(w).partition("r.json: ")[2] for w in warnings] == [
        "1 people state scores of joints alone: each is scored by their mean. "
        "Remedy: correct or drop the record"
    ]


def test_no_annotations_are_no_poses(tmp_path):
    reading = read_coco(write(tmp_path, content(annotations=[])))
    assert reading.poses.xy_frame.shape == (0, K, 2) and not reading.warnings
    assert [p.id for p in reading.pictures] == ["7", "8"]  # pictures without a person stay


BAD = {
    r"length 44 \(45 expected\)": {"keypoints": KEYPOINTS[:-1]},
    "keypoints is missing": {"keypoints": None},
    r"keypoints\[3\] is str": {"keypoints": [*KEYPOINTS[:3], "1", *KEYPOINTS[4:]]},
    r"keypoints\[0\] is bool": {"keypoints": [True, *KEYPOINTS[1:]]},
    "not finite at 4": {"keypoints": [*KEYPOINTS[:4], float("nan"), *KEYPOINTS[5:]]},
    "not finite at 0": {"keypoints": [float("-inf"), *KEYPOINTS[1:]]},
    "not finite at 1": {"keypoints": [KEYPOINTS[0], 1e300, *KEYPOINTS[2:]]},
    "keypoints has a value that is not finite": {"keypoints": [10**400, *KEYPOINTS[1:]]},
    "visibility flags .*3.0": {"keypoints": [*KEYPOINTS[:-1], 3]},
    "bbox width <= 0: -225": {"bbox": [277, 45, -225, 333]},
    "bbox height <= 0: 0": {"bbox": [277, 45, 5, 0]},
    "bbox has a value that is not finite": {"bbox": [0, 0, float("nan"), 1]},
    r"bbox has length 3 \(4 expected\)": {"bbox": [1, 2, 3]},
    "bbox .* none that float32 can hold": {"bbox": [1e38, 1e38, 3e38, 3e38]},
    "bbox .* has no area": {"bbox": [1e10, 0, 1e-3, 5]},
    "duplicate annotation id": {"id": 1},
    "duplicate annotation id.*keep": {"id": "1"},
    "image id 9 does not exist": {"image_id": 9},
    "image_id is list": {"image_id": [7]},
    "id is float": {"id": float("nan")},
    "area has a value that is not finite": {"area": float("inf")},
    "area is str, number expected": {"area": "5"},
    "iscrowd is 2": {"iscrowd": 2},
    r"bbox_head has length 1 \(4 expected\)": {"bbox_head": [1]},
}


@pytest.mark.parametrize("text", BAD)
def test_bad_records_are_named_and_the_good_ones_can_be_kept(tmp_path, text):
    path = write(tmp_path, content({}, BAD[text], {}))
    with pytest.raises(BadRecord, match=text) as caught:
        read_coco(path)
    assert caught.value.file == str(path) and "1 of 3 annotations are bad" in str(caught.value)
    name = (
        "annotations[1]"
        if text == "id is float"
        else "annotation 1"
        if "duplicate" in text
        else "annotation 2"
    )
    assert caught.value.record == name
    reading = read_coco(path, on_bad="report")
    assert reading.poses.ids == ("1", "3") and [w.record for w in reading.warnings] == [name]
    np.testing.assert_array_equal(reading.poses.xy_frame[0], reading.poses.xy_frame[1])


def test_other_categories_need_no_joints(tmp_path):
    value = content(
        {}, {"category_id": 2, "keypoints": None, "bbox": None}, {"category_id": 3, "id": 1}
    )
    value["categories"] += [{"id": 2, "name": "car"}]
    path = write(tmp_path, value)
    with pytest.raises(BadRecord, match="annotation 1: duplicate annotation id"):
        read_coco(path)
    reading = read_coco(path, on_bad="report")
    assert reading.poses.ids == ("1",) and "1 annotations of other categories" in str(
        reading.warnings[1]
    )
    value["categories"] = []
    reading = read_coco(write(tmp_path, value), skeleton="jhmdb15", on_bad="report")
    assert "1 annotations of other categories" in str(reading.warnings[1]), (
        "the first with joints says which"
    )


@pytest.mark.parametrize(
    "fields", [{"keypoints": [5, 6, 0] * K}, {"num_keypoints": 0}, {"iscrowd": 1}]
)
def test_who_counts_for_nothing_may_have_a_box_without_area(tmp_path, fields):
    path = write(tmp_path, content({}, {"bbox": [5, 6, 0, 7], **fields}))
    reading = read_coco(path)
    assert reading.poses.ids == ("1",) and reading.warnings[0].record == "annotation 2"
    assert "has no area, the person is left out" in str(reading.warnings[0])
    for box, text in (([5, 6, -1, 0], "width <= 0: -1"), ([3e38, 0, 3e38, 0], "float32")):
        with pytest.raises(BadRecord, match=text):
            read_coco(write(tmp_path, content({}, {"bbox": box, **fields})))


def test_pictures_carry_what_is_stated(tmp_path):
    picture = {
        "id": 7,
        "file_name": "v/000003.jpg",
        "width": 31,
        "height": 17,
        "crowdIndex": 1.25,
        "is_labeled": False,
        "nframes": 5,
        "ignore_regions_x": [[1, 2, 3.5], []],
        "ignore_regions_y": [[4, 5, 6], []],
    }
    reading = read_coco(write(tmp_path, content({}, images=[picture])))
    (found,) = reading.pictures
    assert (found.name, found.id, found.size_wh, found.crowd_index) == (
        "v/000003.jpg",
        "7",
        (31, 17),
        1.25,
    )
    assert not found.labelled and len(found.ignore) == 1
    np.testing.assert_array_equal(found.ignore[0], [[1, 4], [2, 5], [3.5, 6]])
    assert reading.poses.groups == ("v",)  # frames of one folder belong together
    assert (
        read_coco(write(tmp_path, content(images=[{"id": 7, "file_name": "a.jpg"}])))
        .pictures[0]
        .size_wh
        is None
    )


BAD_PICTURES = {
    "vid_id is list": {"vid_id": [1]},
    "crowdIndex .* not finite": {"crowdIndex": float("nan")},
    "width is 0": {"width": 0, "height": 5},
    "differ in length": {"ignore_regions_x": [[1]], "ignore_regions_y": [[1, 2]]},
    r"ignore_regions_x\[0\] is int, list expected": {
        "ignore_regions_x": [1],
        "ignore_regions_y": [1],
    },
    r"ignore_regions_x\[0\]\[0\] is str, number expected": {
        "ignore_regions_x": [["a"]],
        "ignore_regions_y": [[1]],
    },
    "file_name is int, text expected": {"file_name": 5},
    "leaves the images folder": {"file_name": "../a.jpg"},
    "image '/a.jpg' leaves": {"file_name": "/a.jpg"},
}


@pytest.mark.parametrize("text", BAD_PICTURES)
def test_bad_pictures_are_named_and_take_their_poses_along(tmp_path, text):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.jpg").write_bytes(b"x")
    images = [
        {"id": 7, "file_name": "a.jpg"} | BAD_PICTURES[text],
        {"id": 8, "file_name": "b/c.jpg", "vid_id": None},
    ]
    path = write(tmp_path, content({}, {"image_id": 8}, images=images))
    with pytest.raises(BadRecord, match=text) as caught:
        read_coco(path, images=tmp_path)
    assert caught.value.record == "images[0]"
    reading = read_coco(path, images=tmp_path, on_bad="report")
    assert [w.record for w in reading.warnings] == ["images[0]", "annotation 1"]
    assert (
        reading.poses.ids == ("2",)
        and reading.poses.groups == ("b/c.jpg",)
        and len(reading.pictures) == 1
    )


def test_areas_crowds_and_heads(tmp_path):
    a = {
        "area": 12.5,
        "iscrowd": 1,
        "bbox_head": [3, 4, 5, 6],
        "segmentation": {"counts": [3, 4], "size": [5, 7]},
    }
    b = {"area": 2, "head_box": [9, 8, 7, 6]}  # its corners exchanged
    pose = read_coco(write(tmp_path, content(a, b))).poses
    assert pose.areas.tolist() == [12.5, 2] and pose.crowd.tolist() == [True, False]
    np.testing.assert_array_equal(pose.head_boxes_xyxy, [[3, 4, 8, 10], [7, 6, 9, 8]])
    pose = read_coco(write(tmp_path, content(a, {}))).poses
    assert pose.areas is None  # never a made-up area
    np.testing.assert_array_equal(pose.head_boxes_xyxy[1], np.zeros(4))
    assert read_coco(write(tmp_path, content())).poses.head_boxes_xyxy is None


def test_posetrack_persons_may_lack_joints_or_a_box(tmp_path):
    # the second has coordinates: labelled, and occluded
    points = [0, 0, 0] * 13 + [10, 20, 1, 30, 60, 0]
    base = {"bbox": [], "keypoints": points}
    value = content(
        base, {"keypoints": []}, {**base, "keypoints": [0] * 45}, skeleton_name="posetrack15"
    )
    reading = read_coco(write(tmp_path, value))
    pose = reading.poses
    # 20 x 40 times 1.3
    np.testing.assert_allclose(pose.boxes_xyxy[0], [20 - 13, 40 - 26, 20 + 13, 40 + 26])
    assert pose.visibility[0, 13:].tolist() == [2, 2] and not pose.occlusion_known
    assert not pose.labelled[1].any() and pose.boxes_xyxy[1].tolist() == [10, 20, 40, 70]
    assert (
        "neither a box nor joints" in str(reading.warnings[0])
        and reading.warnings[0].record == "annotation 3"
    )
    known = read_coco(write(tmp_path, value), occlusion_known=True).poses
    assert known.visibility[0, 13:].tolist() == [2, 1] and known.occlusion_known
    with pytest.raises(BadRecord, match="bbox has length 0"):  # nowhere else
        read_coco(write(tmp_path, content({"bbox": []})))


def test_a_folder_is_read_as_released(tmp_path):
    with pytest.raises(MissingFile, match="person_keypoints"):
        read_coco(tmp_path)
    (tmp_path / "annotations").mkdir()
    for i, split in enumerate(("train", "val", "trainval")):
        value = content({"id": 10 + i, "keypoints": [1, 2, 2] * 14}, skeleton_name="crowdpose14")
        (tmp_path / "annotations" / f"crowdpose_{split}.json").write_text(json.dumps(value))
    reading = read_coco(tmp_path)
    # trainval repeats the others
    assert reading.poses.ids == ("10", "11") and len(reading.pictures) == 4
    assert [name.rsplit("/")[-1] for name in reading.source.split(", ")] == [
        "crowdpose_train.json",
        "crowdpose_val.json",
    ]
    double = content({"id": 10, "keypoints": [1, 2, 2] * 14}, skeleton_name="crowdpose14")
    (tmp_path / "annotations" / "crowdpose_val.json").write_text(json.dumps(double))
    with pytest.raises(BadRecord, match="annotation 10: stands in two of"):
        read_coco(tmp_path)
    (tmp_path / "annotations" / "crowdpose_val.json").write_text(json.dumps(content()))
    with pytest.raises(BadFile, match="different skeletons"):
        read_coco(tmp_path)


def test_a_parsed_file_is_not_read_again(tmp_path):
    value = content({}, {})
    assert len(read_coco(tmp_path / "never_opened.json", content=value).poses) == 2
    assert value == content({}, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud800"', "\ud800"),
        ("[" * 300 + "]" * 300, None),
        ("[-0, -0.0, 1e999, 1e-400, 0.1]", [0, -0.0, float("inf"), 0.0, 0.1]),
        ('{"a": 1, "b": NaN, "a": 2}', None),
        (f"[{10**400}]", [10**400]),
    ],
)
def test_json_is_what_the_standard_library_reads(tmp_path, text, value):
    found = read_json(write(tmp_path, text))
    assert repr(found) == repr(json.loads(text))
    assert value is None or found == value


def test_records_are_named_alike_alone_and_among_others(tmp_path):
    """A file that is sound is read in columns; one bad record changes nothing for the others."""
    sound = read_coco(write(tmp_path, content({}, {}, {}))).poses
    reading = read_coco(write(tmp_path, content({}, {"area": "big"}, {})), on_bad="report")
    assert [error.record for error in reading.warnings] == ["annotation 2"]
    kept = sound.select([0, 2])
    assert reading.poses.ids == kept.ids
    np.testing.assert_array_equal(reading.poses.xy_frame, kept.xy_frame)
    np.testing.assert_array_equal(reading.poses.boxes_xyxy, kept.boxes_xyxy)


def test_pictures_are_found_where_releases_lay_them(tmp_path):
    path = tmp_path / "set" / "annotations" / "val" / "a.json"
    path.parent.mkdir(parents=True)
    names = ["x/1.jpg", "x/2.jpg"]
    assert find_pictures(path, names) is None
    for folder in (tmp_path / "set" / "val2017", tmp_path / "set", path.parent):
        (folder / "x").mkdir(parents=True)
        (folder / "x" / "2.jpg").write_bytes(b"x")
        assert find_pictures(path, names) == folder  # the nearest wins


def test_detected_persons(tmp_path):
    rows = [
        {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 5], "score": 0.75},
        {"image_id": 8, "category_id": 62, "bbox": [1, 2, 3, 5], "score": 0.5},
        {"image_id": "9", "category_id": 1, "bbox": [0, 0, 7, 11], "score": 1},
    ]
    path = write(tmp_path, rows)
    reading = read_person_boxes(path)
    assert reading.boxes.images == ("7", "9") and reading.boxes.scores.tolist() == [0.75, 1]
    np.testing.assert_array_equal(reading.boxes.boxes_xyxy, [[1, 2, 4, 7], [0, 0, 7, 11]])
    assert "1 detections of other categories" in str(reading.warnings[0])
    for change, text in (
        ({"bbox": [1, 2, 0, 5]}, "width <= 0"),
        ({"score": None}, "score is missing"),
        ({"score": float("nan")}, "score .* not finite"),
        ({"image_id": None}, "image_id is NoneType"),
        ({"image_id": 7.5}, "image_id is float"),
    ):
        path = write(tmp_path, [*rows[::2], rows[0] | change])
        with pytest.raises(BadRecord, match=f"detection 2: .*{text}.*1 of 3 detections"):
            read_person_boxes(path)
        reading = read_person_boxes(path, on_bad="report")
        assert len(reading.boxes) == 2 and len(reading.warnings) == 1
    assert read_person_boxes(write(tmp_path, [rows[0] | {"image_id": 7.0}])).boxes.images == ("7",)
    assert len(read_person_boxes(write(tmp_path, [])).boxes) == 0
    with pytest.raises(BadFile, match="a list of detections"):
        read_person_boxes(write(tmp_path, {}))
    with pytest.raises(BadRecord, match="detection 0: int"):
        read_person_boxes(write(tmp_path, [5]))


def test_crowd_bins_leave_the_edge_to_the_harder_side():
    index = np.array([0.0, 0.1, 0.19, 0.2, 0.79, 0.8, 3.02])
    assert crowd_bins(index).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert crowd_bins(index, CROWD_EDGES_PAPER).tolist() == [0, 1, 1, 1, 1, 2, 2]
    assert CROWD_EDGES_EVALUATOR == (0.2, 0.8)


def test_options_that_are_none_are_refused(tmp_path):
    path = write(tmp_path, content())
    with pytest.raises(BadParameter, match="on_bad is 'foo'"):
        read_coco(path, on_bad="foo")
    with pytest.raises(UnknownName, match="skeleton ''"):
        read_coco(path, skeleton="")
    with pytest.raises(UnknownName, match="two joints are called") as caught:
        read_coco(write(tmp_path, content(categories=[{"keypoints": ["a", "a"]}])))
    assert caught.value.file == str(path)


def test_names_too_long_and_files_that_may_not_be_read_are_named(tmp_path, monkeypatch):
    path = write(tmp_path, content(images=[{"id": 7, "file_name": "x" * 5000}]))
    assert "missing image xxx" in str(read_coco(path, images=tmp_path).warnings[0])
    with pytest.raises(MissingFile):
        read_coco("x" * 5000)
    with pytest.raises(MissingFile, match="images folder"):
        read_coco(path, images="x" * 5000)

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(BadFile, match=r"a\.json: cannot be read: Permission denied"):
        read_coco(path)


def test_a_picture_that_is_not_there_is_a_warning(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    path = write(tmp_path, content({}, {"image_id": 8}, {"image_id": 8}))
    assert len(read_coco(path).poses) == 3
    reading = read_coco(path, images=tmp_path)  # incomplete, not damaged: nothing is raised
    assert reading.poses.images == ("a.jpg",) and len(reading.pictures) == 2
    (warning,) = reading.warnings
    assert "missing image b/c.jpg, 2 poses left out (1 of 2 images are missing)" in str(warning)
    with pytest.raises(MissingFile, match="images folder"):
        read_coco(path, images=tmp_path / "none")


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("", EmptyFile, "zero bytes"),
        ("{", BadFile, "not JSON"),
        ("[" * 200_000, BadFile, "nested too deeply|not JSON"),
        ('{"annotations":' + "[" * 200_000 + "]" * 200_000 + "}", BadFile, "nested too deeply"),
        ("1" * 5000, BadFile, "not JSON"),
        ("[]", BadFile, "no list of annotations"),
        ("3", BadFile, "no list of annotations"),
        (content(annotations={}), BadFile, "no list of annotations"),
        (content(images=None), BadFile, "no list of images"),
        (content(categories=7), BadFile, "no list of categories"),
        (content(images=[{"id": 7}]), BadRecord, r"images\[0\]: file_name is missing"),
        (
            content(images=[{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}]),
            BadRecord,
            "stands for two files",
        ),
        (content(annotations=["x"]), BadRecord, r"annotations\[0\]: str"),
    ],
)
def test_bad_files_are_named(tmp_path, value, kind, text):
    path = write(tmp_path, value)
    with pytest.raises(kind, match=text) as caught:
        read_coco(path)
    assert caught.value.file == str(path)


def test_other_encodings_are_named_with_byte_and_offset(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"x": "\xdcbung"}')
    with pytest.raises(BadFile, match="not UTF-8: byte 0xdc at offset 7"):
        read_coco(path)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content()).encode())
    assert len(read_coco(path).poses) == 1  # a byte order mark is UTF-8 too
    with pytest.raises(MissingFile):
        read_coco(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "bbox", "keypoints", "file_name"]), inner)
    ),
    max_leaves=5,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    field=st.sampled_from(
        "id image_id bbox keypoints area iscrowd bbox_head images annotations categories "
        "category_id num_keypoints width vid_id crowdIndex ignore_regions_x is_labeled "
        "nframes".split()
    ),
    value=JSON,
)
def test_any_value_in_any_field_ends_as_a_named_error_or_a_finite_pose(tmp_path, field, value):
    where = content({field: value})
    if field in ("images", "annotations", "categories"):
        where = content(**{field: value})
    elif field in ("width", "vid_id", "crowdIndex", "ignore_regions_x", "is_labeled", "nframes"):
        where["images"][0][field] = value
    path = write(tmp_path, where)
    try:
        pose = read_coco(path, on_bad="report").poses
    except WorkbenchError:
        return
    assert np.isfinite(pose.xy_frame).all() and np.isfinite(pose.boxes_xyxy).all()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=st.floats(0, 1), new=st.binary(max_size=4), removed=st.integers(0, 4))
def test_mutated_files_end_as_named_errors(tmp_path, where, new, removed):
    raw = json.dumps(content()).encode()
    at = int(where * len(raw))
    path = tmp_path / "a.json"
    path.write_bytes(raw[:at] + new + raw[at + removed :])
    try:
        read_coco(path, on_bad="report")
    except WorkbenchError:
        pass


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("keypoints_wrong_length", r"annotation 442619: .*50 \(51 expected\)"),
        ("nan_coordinates", "annotation 442619: .*not finite"),
        ("negative_bbox", "annotation 442619: bbox width <= 0"),
        ("duplicate_annotation_ids", "annotation 442619: duplicate"),
        ("latin1", "not UTF-8: byte 0xdc"),
        ("expected", "no list of annotations"),
    ],
)
def test_the_bad_files(data_root, name, text):
    with pytest.raises(WorkbenchError, match=text) as caught:
        read_coco(data_root / "bad" / f"{name}.json", images=data_root / "bad")
    assert f"{name}.json" in str(caught.value)


@pytest.mark.realdata
def test_the_control_and_the_good_record_beside_a_missing_image(data_root):
    for name, n_bad in (("control_ok", 0), ("missing_image", 1), ("duplicate_annotation_ids", 1)):
        reading = read_coco(
            data_root / "bad" / f"{name}.json", images=data_root / "bad", on_bad="report"
        )
        assert (reading.poses.ids, len(reading.warnings)) == (("442619",), n_bad)
    reading = read_coco(data_root / "bad" / "missing_image.json", images=data_root / "bad")
    assert "missing image does_not_exist.jpg, 1 poses left out (1 of 2" in str(reading.warnings[0])


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("path", "skeleton_name", "n", "pictures", "flags"),  # flags: joints of visibility 0, 1, 2
    [
        ("crowdpose", "crowdpose14", 8527, 2000, (40747, 51590, 27041)),
        ("coco_mini", "coco17", 118, 42, (1354, 92, 560)),
        ("mmpose_samples/coco/test_coco.json", "coco17", 9, 3, (48, 7, 98)),
        ("mmpose_samples/crowdpose/test_crowdpose.json", "crowdpose14", 3, 1, (23, 8, 11)),
        (
            "mmpose_samples/posetrack18/annotations/val/012834_mpii_test.json",
            "posetrack17",
            11,
            1,
            (45, 0, 142),
        ),
        (
            "mmpose_samples/posetrack18/annotations/test_posetrack18_val.json",
            "posetrack17",
            12,
            2,
            (51, 0, 153),
        ),
        ("mmpose_samples/jhmdb/test_jhmdb_sub1.json", "jhmdb15", 2, 2, (0, 0, 30)),
        ("mmpose_samples/h36m/h36m_coco.json", "h36m17", 3, 3, (0, 0, 51)),
        ("mmpose_samples/panoptic/test_panoptic.json", "hand21", 2, 2, (0, 0, 42)),
        ("mmpose_samples/rhd/test_rhd.json", "hand21", 2, 2, (0, 0, 42)),
    ],
)
def test_real_files(data_root, path, skeleton_name, n, pictures, flags):
    reading = read_coco(data_root / path)
    pose = reading.poses
    assert (pose.skeleton, len(pose), len(reading.pictures), reading.warnings) == (
        skeleton_name,
        n,
        pictures,
        (),
    )
    assert tuple(np.bincount(pose.visibility.ravel(), minlength=3)) == flags
    assert pose.occlusion_known == (skeleton_name in ("coco17", "crowdpose14"))


@pytest.mark.realdata
def test_real_coco(data_root):
    reading = read_coco(data_root / "coco_mini", images=data_root / "coco_mini" / "val2017")
    pose = reading.poses
    assert pose.labelled.any(1).sum() == 68 and pose.crowd.sum() == 1 and (pose.areas > 0).all()
    assert len({p.name for p in reading.pictures} - set(pose.images)) == 3 and not reading.warnings
    assert (
        find_pictures(data_root / "coco_mini", [p.name for p in reading.pictures])
        == data_root / "coco_mini/val2017"
    )
    assert (
        read_coco(data_root / "mmpose_samples/coco/test_coco.json").poses.labelled.any(1).sum() == 7
    )
    boxes = read_person_boxes(data_root / "mmpose_samples/coco/test_coco_det_AP_H_56.json").boxes
    assert len(boxes) == 81 and set(boxes.images) == {"785", "40083", "196141"}
    path = (
        data_root / "mmpose_samples/posetrack18/annotations/test_posetrack18_human_detections.json"
    )
    assert len(read_person_boxes(path).boxes) == 200


@pytest.mark.realdata
def test_real_crowdpose(data_root):
    path = data_root / "crowdpose" / "annotations" / "crowdpose_val.json"
    content = read_json(path)
    reading = read_coco(path, content=content)
    assert (reading.poses.crowd.sum(), reading.poses.areas) == (106, None)
    counted = np.array([a["num_keypoints"] for a in content["annotations"]])
    # without head and neck
    np.testing.assert_array_equal(reading.poses.labelled[:, :12].sum(1), counted)
    index = np.array([p.crowd_index for p in reading.pictures])
    assert np.bincount(crowd_bins(index)).tolist() == [411, 1240, 349]
    assert (index.max(), (index > 1).sum()) == (3.02, 96)
    assert find_pictures(path, [p.name for p in reading.pictures]) is None


@pytest.mark.realdata
def test_rhd_counts_fingers_from_the_tip(data_root):
    pose = read_coco(
        data_root / "mmpose_samples" / "rhd" / "test_rhd.json", skeleton="hand21_rhd"
    ).poses
    assert not pose.occlusion_known
    lengths = {}
    for order in ("hand21_rhd", "hand21"):
        start, end = np.transpose(skeleton(order).edges)
        lengths[order] = np.linalg.norm(
            pose.xy_frame[:, start] - pose.xy_frame[:, end], axis=2
        ).sum(1)
    # the wrong order reaches from the wrist to the tips
    assert (lengths["hand21_rhd"] < 0.9 * lengths["hand21"]).all()
    np.testing.assert_allclose(pose.xy_frame[0, 0], [245.8, 73.98], atol=1e-4)


def test_reading_costs_in_proportion_to_the_poses(tmp_path):
    def make(n):
        value = content(*[{"image_id": 7 + i // 2} for i in range(n)])
        value["images"] = [{"id": 7 + i, "file_name": f"{i}.jpg"} for i in range(n)]
        path = tmp_path / f"{n}.json"
        path.write_text(json.dumps(value))
        return lambda: read_coco(path)

    assert growth(make, 300) < LINEAR
