from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.data.coco import read_coco
from workbench.errors import BadFile, BadParameter, BadRecord, EmptyFile, MissingFile, UnknownName, WorkbenchError
from workbench.skeletons import skeleton

K = 15
KEYPOINTS = [v for i in range(K) for v in (10 + i, 20 + i / 2, i % 3)]


def content(*changes, skeleton_name="jhmdb15", **top):
    joints = list(skeleton(skeleton_name).joints)
    annotation = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 50], "keypoints": KEYPOINTS}
    return {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b/c.jpg", "vid_id": 5}],
        "categories": [{"id": 1, "name": "person", "keypoints": joints, "skeleton": [[17, 99]]}],
        "annotations": [{**annotation, "id": i + 1, **change} for i, change in enumerate(changes or ({},))],
        **top,
    }


def write(tmp_path, value):
    path = tmp_path / "a.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_a_record_becomes_a_pose(tmp_path):
    pose, bad = read_coco(write(tmp_path, content({}, {"image_id": 8, "id": "x"})))
    assert (pose.skeleton, bad, pose.occlusion_known) == ("jhmdb15", [], True)
    assert pose.ids == ("1", "x") and pose.images == ("a.jpg", "b/c.jpg") and pose.groups == ("a.jpg", "5")
    np.testing.assert_array_equal(pose.boxes_xyxy[0], [10, 20, 40, 70])
    np.testing.assert_array_equal(pose.visibility[0], [i % 3 for i in range(K)])
    np.testing.assert_array_equal(pose.xy_frame[0, :4], [[0, 0], [11, 20.5], [12, 21], [0, 0]])  # 0 and 3 unlabelled


def test_flags_that_say_nothing_about_occlusion_become_2(tmp_path):
    pose, _ = read_coco(write(tmp_path, content()), occlusion_known=False)
    np.testing.assert_array_equal(pose.visibility[0], [2 * (i % 3 > 0) for i in range(K)])
    assert not pose.occlusion_known


def test_nested_keypoints_and_a_named_skeleton(tmp_path):
    rows = [[float(i), 2.0 * i, 1] for i in range(21)]
    value = content({"keypoints": rows}, categories=[])
    pose, _ = read_coco(write(tmp_path, value), skeleton="hand21_rhd")
    np.testing.assert_array_equal(pose.xy_frame[0], [[i, 2 * i] for i in range(21)])
    with pytest.raises(BadFile, match="0 categories name keypoints"):
        read_coco(write(tmp_path, value))
    with pytest.raises(UnknownName, match="hand21_rhd"):
        read_coco(write(tmp_path, value), skeleton="hand21_rdh")
    with pytest.raises(UnknownName, match="no known skeleton has these 2 joints"):
        read_coco(write(tmp_path, content(categories=[{"keypoints": ["a", "b"]}])))


def test_no_annotations_are_no_poses(tmp_path):
    pose, bad = read_coco(write(tmp_path, content(annotations=[])))
    assert len(pose) == 0 and pose.xy_frame.shape == (0, K, 2) and not bad


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
}


@pytest.mark.parametrize("text", BAD)
def test_bad_records_are_named_and_the_good_ones_can_be_kept(tmp_path, text):
    path = write(tmp_path, content({}, BAD[text], {}))
    with pytest.raises(BadRecord, match=text) as caught:
        read_coco(path)
    assert caught.value.file == str(path) and "1 of 3 annotations are bad" in str(caught.value)
    name = "annotations[1]" if "id is float" in text else "annotation 1" if "duplicate" in text else "annotation 2"
    assert caught.value.record == name
    pose, bad = read_coco(path, on_bad="report")
    assert pose.ids == ("1", "3") and [b.record for b in bad] == [name]


def test_a_video_id_of_null_is_no_group(tmp_path):
    picture = {"id": 7, "file_name": "a.jpg"}
    assert read_coco(write(tmp_path, content(images=[picture | {"vid_id": None}])))[0].groups == ("a.jpg",)
    with pytest.raises(BadRecord, match="annotation 1: vid_id is list"):
        read_coco(write(tmp_path, content(images=[picture | {"vid_id": [1]}])))


def test_options_that_are_none_are_refused(tmp_path):
    path = write(tmp_path, content())
    with pytest.raises(BadParameter, match="on_bad is 'foo'"):
        read_coco(path, on_bad="foo")
    with pytest.raises(UnknownName, match="skeleton ''"):
        read_coco(path, skeleton="")
    with pytest.raises(UnknownName, match="no known skeleton") as caught:
        read_coco(write(tmp_path, content(categories=[{"keypoints": ["a", "b"]}])))
    assert caught.value.file == str(path)


def test_names_too_long_and_files_that_may_not_be_read_are_named(tmp_path, monkeypatch):
    path = write(tmp_path, content(images=[{"id": 7, "file_name": "x" * 5000}]))
    with pytest.raises(BadRecord, match="annotation 1: missing image xxx"):
        read_coco(path, images=tmp_path)
    with pytest.raises(MissingFile):
        read_coco("x" * 5000)
    with pytest.raises(MissingFile, match="images folder"):
        read_coco(path, images="x" * 5000)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(BadFile, match=r"a\.json: cannot be read: Permission denied"):
        read_coco(path)


def test_pictures_must_exist_where_a_folder_is_given(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    path = write(tmp_path, content({}, {"image_id": 8}))
    assert len(read_coco(path)[0]) == 2
    pose, bad = read_coco(path, images=tmp_path, on_bad="report")
    assert pose.images == ("a.jpg",) and "missing image b/c.jpg" in str(bad[0])
    with pytest.raises(MissingFile, match="images folder"):
        read_coco(path, images=tmp_path / "none")
    for name in ("../a.jpg", str(tmp_path / "a.jpg")):
        _, bad = read_coco(
            write(tmp_path, content(images=[{"id": 7, "file_name": name}])), images=tmp_path, on_bad="report"
        )
        assert "leaves the images folder" in str(bad[0])


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
        (content(images=[{"id": 7}]), BadRecord, r"images\[0\]: an object with file_name"),
        (content(images=[{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}]), BadRecord, "stands for two files"),
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
    assert len(read_coco(path)[0]) == 1  # a byte order mark is UTF-8 too
    with pytest.raises(MissingFile):
        read_coco(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "bbox", "keypoints"]), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    field=st.sampled_from(["id", "image_id", "bbox", "keypoints", "images", "annotations", "categories"]), value=JSON
)
def test_any_value_in_any_field_ends_as_a_named_error_or_a_finite_pose(tmp_path, field, value):
    top = field in ("images", "annotations", "categories")
    path = write(tmp_path, content(**{field: value}) if top else content({field: value}))
    try:
        pose, _ = read_coco(path, on_bad="report")
    except WorkbenchError:
        return
    assert np.isfinite(pose.xy_frame).all() and np.isfinite(pose.boxes_xyxy).all()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        ("missing_image", r"annotation 1: missing image does_not_exist\.jpg.*1 of 2"),
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
        pose, bad = read_coco(data_root / "bad" / f"{name}.json", images=data_root / "bad", on_bad="report")
        assert (len(pose), len(bad), pose.ids) == (1, n_bad, ("442619",))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("path", "skeleton_name", "n", "flags"),  # flags: joints of visibility 0, 1, 2, as the files count them
    [
        ("crowdpose/annotations/crowdpose_val.json", "crowdpose14", 8527, (40747, 51590, 27041)),
        ("coco_mini/annotations/person_keypoints_val2017.json", "coco17", 118, (1354, 92, 560)),
        ("mmpose_samples/posetrack18/annotations/val/012834_mpii_test.json", "posetrack17", 11, (45, 142, 0)),
        ("mmpose_samples/jhmdb/test_jhmdb_sub1.json", "jhmdb15", 2, (0, 0, 30)),
        ("mmpose_samples/h36m/h36m_coco.json", "h36m17", 3, (0, 51, 0)),
        ("mmpose_samples/panoptic/test_panoptic.json", "hand21", 2, (0, 42, 0)),
    ],
)
def test_real_files(data_root, path, skeleton_name, n, flags):
    pose, _ = read_coco(data_root / path)
    assert (pose.skeleton, len(pose)) == (skeleton_name, n)
    assert tuple(np.bincount(pose.visibility.ravel(), minlength=3)) == flags


@pytest.mark.realdata
def test_rhd_counts_fingers_from_the_tip(data_root):
    pose, _ = read_coco(
        data_root / "mmpose_samples" / "rhd" / "test_rhd.json", skeleton="hand21_rhd", occlusion_known=False
    )
    lengths = {}
    for order in ("hand21_rhd", "hand21"):
        start, end = np.transpose(skeleton(order).edges)
        lengths[order] = np.linalg.norm(pose.xy_frame[:, start] - pose.xy_frame[:, end], axis=2).sum(1)
    assert (lengths["hand21_rhd"] < 0.9 * lengths["hand21"]).all()  # the wrong order reaches from the wrist to the tips
    np.testing.assert_allclose(pose.xy_frame[0, 0], [245.8, 73.98], atol=1e-4)
