"""Sequences of PoseTrack18, 21 and 17. But for those of `data_root`, the files are made here, in
the published layouts.
"""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.test_matlab import structure
from workbench.data import posetrack
from workbench.data.annotations import POSETRACK_BOX
from workbench.data.posetrack import protocol_frames, read_posetrack
from workbench.errors import (
    BadFile,
    BadParameter,
    BadRecord,
    MissingFile,
    UnknownName,
    WorkbenchError,
)
from workbench.geometry import box_of_points, enlarge
from workbench.skeletons import skeleton

N = 7  # frames
SEQUENCE = "000001_bonn_train"


def person(frame, track, at=10, **change):
    keypoints = [
        v for j in range(17) for v in ((0, 0, 0) if j in (3, 4) else (at + j, at + 2 * j, 1))
    ]
    base = {
        "bbox": [at, at, 31, 53],
        "bbox_head": [at, at, 5, 7],
        "category_id": 1,
        "keypoints": keypoints,
    }
    key = {
        "image_id": 10000010000 + frame,
        "id": (10000010000 + frame) * 100 + track,
        "track_id": track,
    }
    return {**base, **key, **change}


def content(*annotations, n_frames=N, listed=range(N), labelled=(2, 3), sequence=SEQUENCE):
    """Two tracks, of which one is gone in frame 3, as PoseTrack18 publishes them."""
    images = [
        {
            "has_no_densepose": True,
            "is_labeled": t in labelled,
            "file_name": f"images/train/{sequence}/{t:06d}.jpg",
            "nframes": n_frames,
            "frame_id": 10000010000 + t,
            "vid_id": "000001",
            "id": 10000010000 + t,
        }
        for t in listed
    ]
    images[0] |= {"ignore_regions_x": [[1, 5, 3]], "ignore_regions_y": [[2, 2, 7]]}
    category = {
        "id": 1,
        "name": "person",
        "keypoints": list(skeleton("posetrack17").joints),
        "skeleton": [[16, 14]],
    }
    people = annotations or (person(2, 0), person(2, 1, 100), person(3, 1, 110))
    return {"images": images, "annotations": list(people), "categories": [category]}


def write(folder, value, name=f"{SEQUENCE}.json"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value))
    return folder / name


def test_a_file_is_a_clip_with_tracks_through_all_frames(tmp_path):
    reading = read_posetrack(write(tmp_path, content()))
    (clip,) = reading.clips
    assert (reading.reader, reading.warnings, clip.name, clip.video.n_frames) == (
        "posetrack",
        (),
        SEQUENCE,
        N,
    )
    assert clip.video.source == f"images/train/{SEQUENCE}" and clip.video.fps is None
    assert [p.labelled for p in clip.pictures] == [t in (2, 3) for t in range(N)]
    np.testing.assert_array_equal(clip.pictures[0].ignore[0], [[1, 2], [5, 2], [3, 7]])
    first, second = clip.tracks
    assert (first.skeleton, first.track_id, second.track_id, first.occlusion_known) == (
        "posetrack17",
        0,
        1,
        False,
    )
    assert np.flatnonzero(first.labelled).tolist() == [2] and np.flatnonzero(
        second.labelled
    ).tolist() == [2, 3]
    assert (
        first.visibility[2].tolist() == [2, 2, 2, 0, 0, *[2] * 12] and not first.visibility[3].any()
    )
    np.testing.assert_array_equal(second.xy_frame[3, 16], [126, 142])
    np.testing.assert_array_equal(second.boxes_xyxy[[1, 3]], [[0, 0, 0, 0], [110, 110, 141, 163]])
    np.testing.assert_array_equal(
        second.head_boxes_xyxy[[1, 3]], [[0, 0, 0, 0], [110, 110, 115, 117]]
    )


def test_posetrack21_marks_occlusion_and_boxes_without_joints(tmp_path):
    hidden = person(2, 1)["keypoints"]
    hidden[2] = 0  # coordinates and flag 0
    people = (
        person(2, 1, keypoints=hidden, person_id=1024),
        person(3, 1, keypoints=[0] * 51, person_id=1024),
    )
    path = write(tmp_path, content(*people))
    (track,) = read_posetrack(path).clips[0].tracks
    assert track.visibility[2, 0] == 2 and not track.occlusion_known
    assert (
        track.labelled[3]
        and not track.visibility[3].any()
        and track.boxes_xyxy[3].tolist() == [10, 10, 41, 63]
    )
    (track,) = read_posetrack(path, occlusion_known=True).clips[0].tracks
    assert track.visibility[2, :2].tolist() == [1, 2] and track.occlusion_known


def test_frames_that_are_not_listed_are_named_by_number(tmp_path):
    (clip,) = read_posetrack(write(tmp_path, content(listed=[2, 3]))).clips
    assert [p.name.rsplit("/")[-1] for p in clip.pictures] == [f"{t:06d}.jpg" for t in range(N)]
    assert [p.labelled for p in clip.pictures] == [t in (2, 3) for t in range(N)]
    assert clip.tracks[1].labelled.nonzero()[0].tolist() == [2, 3]
    value = content(person(2, 0), listed=[2, 3])
    for image in value["images"]:  # PoseTrack17's names have eight digits and count from 1
        image["file_name"] = f"images/train/000001_bonn/{image['file_name'][-10:]:0>12}"
    (clip,) = read_posetrack(write(tmp_path, value)).clips
    assert clip.pictures[0].name.endswith("/00000001.jpg") and clip.tracks[0].labelled.nonzero()[
        0
    ].tolist() == [1]
    for name in ("000009.jpg", "x.jpg", "000003.jpg"):
        value["images"][0]["file_name"], value["images"][1]["file_name"] = (
            f"a/{name}",
            "a/000003.jpg",
        )
        with pytest.raises(BadRecord, match=f"{name} is none of 7 frames, or listed twice"):
            read_posetrack(write(tmp_path, value))
        reading = read_posetrack(write(tmp_path, value), on_bad="report")
        assert reading.clips == () and len(reading.warnings) == 1


BAD = {
    "track 0 stands twice in frame 2": person(2, 0, id=5),
    "track_id is NoneType": person(3, 0, track_id=None),
    "length 50": person(3, 0, keypoints=[1] * 50),
    "image id 7 does not exist": person(3, 0, image_id=7),
}


@pytest.mark.parametrize("text", BAD)
def test_bad_persons_are_named_and_left_out(tmp_path, text):
    path = write(tmp_path, content(person(2, 0), person(3, 1), BAD[text]))
    with pytest.raises(BadRecord, match=text) as caught:
        read_posetrack(path)
    assert caught.value.record == f"annotation {BAD[text]['id']}"
    reading = read_posetrack(path, on_bad="report")
    assert [w.record for w in reading.warnings] == [caught.value.record]
    assert [t.track_id for t in reading.clips[0].tracks] == [0, 1]


def test_merged_files_and_folders_hold_many_clips(tmp_path):
    other = content(person(3, 4), sequence="000002_bonn_train")
    for row in other["images"] + other["annotations"]:
        row["id"] += 10**6
        row["image_id"] = row.get("image_id", 0) + 10**6
    merged = content()
    merged["images"] += other["images"]
    merged["annotations"] += other["annotations"]
    clips = read_posetrack(write(tmp_path, merged, "merged.json")).clips
    assert [(c.name, len(c.tracks)) for c in clips] == [(SEQUENCE, 2), ("000002_bonn_train", 1)]

    with pytest.raises(MissingFile, match="posetrack_data"):
        read_posetrack(write(tmp_path / "none", {}, "a.txt").parent)
    for below in (
        "annotations/train",
        "posetrack_data/annotations/train",
        "posetrack_data/train",
        ".",
    ):
        root = tmp_path / "sets" / below.replace("/", "_").replace(".", "flat")
        write(root / below, content())
        write(root / below, other, "000002_bonn_train.json")
        reading = read_posetrack(root)
        assert [c.name for c in reading.clips] == [
            SEQUENCE,
            "000002_bonn_train",
        ] and "2 files" in reading.source
    write(root, "{", "000000.json")
    with pytest.raises(BadFile, match=r"000000\.json"):
        read_posetrack(root)
    reading = read_posetrack(root, on_bad="report")
    assert len(reading.clips) == 2 and "000000.json" in str(reading.warnings[0])


def test_pictures_are_found_or_named(tmp_path):
    path = write(tmp_path / "annotations" / "train", content())
    folder = tmp_path / "images" / "train" / SEQUENCE
    folder.mkdir(parents=True)
    (folder / "000002.jpg").write_bytes(b"x")
    assert read_posetrack(path).clips[0].video.source == str(tmp_path)
    reading = read_posetrack(path, images=tmp_path)
    # frame 3 has no picture
    assert [t.labelled.nonzero()[0].tolist() for t in reading.clips[0].tracks] == [[2], [2]]
    assert len(reading.warnings) == N - 1


def test_the_test_split_has_pictures_only(tmp_path):
    value = {"images": content()["images"]}
    (clip,) = read_posetrack(write(tmp_path, value)).clips
    assert clip.tracks == () and len(clip.pictures) == N
    with pytest.raises(BadFile, match="no list of images"):
        read_posetrack(write(tmp_path, {"annotations": []}))
    with pytest.raises(BadFile, match="no list of annotations"):
        read_posetrack(write(tmp_path, [5]))
    with pytest.raises(UnknownName):
        read_posetrack(write(tmp_path, {**value, "categories": [{"keypoints": ["tail"]}]}))


def test_memory_is_bounded_before_it_is_taken(tmp_path, monkeypatch):
    with pytest.raises(BadFile, match="more than 1048576 frames"):
        read_posetrack(write(tmp_path, content(n_frames=10**9)))
    monkeypatch.setattr(posetrack, "MAX_PERSON_FRAMES", 13)
    with pytest.raises(BadFile, match="tracks times frames are more than 13"):
        read_posetrack(write(tmp_path, content()))


def test_protocol_frames():
    assert protocol_frames(41, "train").tolist() == list(range(5, 35))
    assert protocol_frames(11, "train").tolist() == list(range(11))
    assert protocol_frames(11, "val").tolist() == [0, 4, 8] == protocol_frames(11, "test").tolist()
    with pytest.raises(BadParameter, match="split is 'dev'"):
        protocol_frames(11, "dev")


# --- PoseTrack17 ----------------------------------------------------------------------------------

# id, x, y, is_visible
POINTS = [(0, 10.5, 90, 1), (13, 20, 30, 0), (14, 22, 10, None), (12, 0, 0, 0)]


def annolist_json():
    """Two frames as poseval's converter writes them: one with two persons and an ignore region,
    one without anybody.
    """
    points = [
        {"id": [i], "x": [x], "y": [y], "is_visible": [] if visible is None else [visible]}
        for i, x, y, visible in POINTS
    ]
    corners = {"x1": [12], "y1": [8], "x2": [30], "y2": [40]}
    people = [
        {**corners, "track_id": [3], "annopoints": [{"point": points}]},
        {**corners, "track_id": [4], "annopoints": []},
    ]
    region = {"point": [{"x": [1], "y": [2]}, {"x": [5], "y": [2]}, {"x": [3], "y": [7]}]}
    names = [f"images/bonn/000001_bonn/{t + 1:08d}.jpg" for t in range(2)]
    return {
        "annolist": [
            {
                "image": [{"name": names[0]}],
                "imgnum": [1],
                "is_labeled": [1],
                "annorect": people,
                "ignore_regions": [region],
            },
            {
                "image": [{"name": names[1]}],
                "imgnum": [2],
                "is_labeled": [0],
                "annorect": [],
                "ignore_regions": [],
            },
        ]
    }


def annolist_mat():
    """The same as the release holds it."""
    none = np.zeros((0, 0))
    points = structure(
        id=[p[0] for p in POINTS],
        x=[p[1] for p in POINTS],
        y=[p[2] for p in POINTS],
        is_visible=[none if p[3] is None else p[3] for p in POINTS],
    )
    people = structure(
        x1=[12, 12],
        y1=[8, 8],
        x2=[30, 30],
        y2=[40, 40],
        track_id=[3, 4],
        annopoints=[structure(point=[points]), none],
    )
    region = structure(point=[structure(x=[1, 5, 3], y=[2, 2, 7])])
    return structure(
        image=[structure(name=[f"images/bonn/000001_bonn/{t + 1:08d}.jpg"]) for t in range(2)],
        imgnum=[1, 2],
        is_labeled=[1, 0],
        annorect=[people, none],
        ignore_regions=[region, none],
    )


@pytest.mark.parametrize("form", ["json", "mat"])
def test_posetrack17_as_released(tmp_path, form):
    path = tmp_path / "annotations" / "train" / f"000001_bonn.{form}"
    path.parent.mkdir(parents=True)
    if form == "json":
        path.write_text(json.dumps(annolist_json()))
    else:
        scipy.io.savemat(path, {"annolist": annolist_mat()}, do_compression=True)
    reading = read_posetrack(tmp_path)
    (clip,) = reading.clips
    assert (clip.name, clip.video.n_frames) == ("000001_bonn", 2)
    assert [p.labelled for p in clip.pictures] == [True, False]
    np.testing.assert_array_equal(clip.pictures[0].ignore[0], [[1, 2], [5, 2], [3, 7]])
    (track,) = clip.tracks
    assert (track.skeleton, track.track_id) == ("posetrack15", 3)
    at = [skeleton("posetrack15").index(name) for name in ("right_ankle", "nose", "head_top")]
    np.testing.assert_array_equal(track.xy_frame[0, at], [[10.5, 90], [20, 30], [22, 10]])
    assert (np.flatnonzero(track.visibility[0]) == np.sort(at)).all() and (
        track.visibility[0, at] == 2
    ).all()
    np.testing.assert_array_equal(track.head_boxes_xyxy[0], [12, 8, 30, 40])
    centre, half = np.array([16.25, 50]), np.array([11.5, 80]) * POSETRACK_BOX / 2
    np.testing.assert_allclose(track.boxes_xyxy[0], [*(centre - half), *(centre + half)], rtol=1e-6)
    # a head box alone: incomplete
    assert [w.record for w in reading.warnings] == ["annotation 0.1"]
    (track,) = read_posetrack(path, occlusion_known=True).clips[0].tracks
    assert track.visibility[0, at].tolist() == [2, 1, 2]


def test_bad_persons_of_posetrack17_are_named(tmp_path):
    for change, text in (
        ({"id": [15]}, "a point with id 15"),
        ({"id": []}, "a point with id None"),
        ({"x": ["a"]}, "x is str, number expected"),
        ({"y": []}, "y is missing"),
    ):
        value = annolist_json()
        people = value["annolist"][0]["annorect"]
        people.append(copy.deepcopy(people[0]) | {"track_id": [9]})
        people[2]["annopoints"][0]["point"][0].update(change)
        path = write(tmp_path, value)
        with pytest.raises(BadRecord, match=f"annotation 0.2: .*{text}"):
            read_posetrack(path)
        reading = read_posetrack(path, on_bad="report")
        assert [t.track_id for t in reading.clips[0].tracks] == [3] and len(reading.warnings) == 2
    with pytest.raises(BadRecord, match=r"annolist\[0\]: image is missing"):
        read_posetrack(write(tmp_path, {"annolist": [{"annorect": []}]}))
    scipy.io.savemat(tmp_path / "a.mat", {"other": 5})
    with pytest.raises(BadFile, match="no structure annolist"):
        read_posetrack(tmp_path / "a.mat")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "point", "x"]), inner)
    ),
    max_leaves=5,
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), value=JSON)
def test_any_value_anywhere_ends_as_a_named_error_or_finite_tracks(tmp_path, data, value):
    whole = data.draw(st.sampled_from([content, annolist_json]))()
    spot = whole
    while True:
        keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(spot[key], (dict, list)) or not spot[key] or data.draw(st.booleans()):
            break
        spot = spot[key]
    spot[key] = value
    try:
        clips = read_posetrack(write(tmp_path, whole), on_bad="report").clips
    except WorkbenchError:
        return
    assert all(np.isfinite(track.xy_frame).all() for clip in clips for track in clip.tracks)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    where=st.floats(0, 1),
    new=st.binary(max_size=4),
    removed=st.integers(0, 4),
    form=st.sampled_from(["json", "mat"]),
)
def test_mutated_files_end_as_named_errors(tmp_path, where, new, removed, form):
    path = tmp_path / f"a.{form}"
    if form == "mat":
        scipy.io.savemat(path, {"annolist": annolist_mat()})
    else:
        path.write_text(json.dumps(content()))
    raw = path.read_bytes()
    at = int(where * len(raw))
    path.write_bytes(raw[:at] + new + raw[at + removed :])
    try:
        read_posetrack(path, on_bad="report")
    except WorkbenchError:
        pass


# --- real files -----------------------------------------------------------------------------------


@pytest.mark.realdata
def test_real_posetrack18(data_root):
    root = data_root / "mmpose_samples" / "posetrack18"
    reading = read_posetrack(root)
    assert not reading.warnings
    found = {
        c.name: (c.video.n_frames, len(c.tracks), len(c.pictures[0].ignore)) for c in reading.clips
    }
    assert found == {"003418_mpii_test": (149, 1, 9), "012834_mpii_test": (140, 11, 4)}
    for clip in reading.clips:
        assert clip.video.source == str(root) and (clip.video.width, clip.video.height) == (
            1920,
            1080,
        )
        assert (root / clip.pictures[0].name).is_file() and sum(
            p.labelled for p in clip.pictures
        ) == 1
        for track in clip.tracks:
            assert track.labelled.tolist() == [True] + [False] * (clip.video.n_frames - 1)
            assert not track.visibility[:, 3:5].any()  # ears
            # what POSETRACK_BOX rests on
            box = enlarge(box_of_points(track.xy_frame[0], track.visibility[0] > 0), POSETRACK_BOX)
            np.testing.assert_allclose(track.boxes_xyxy[0], box, atol=1e-3)
    merged = read_posetrack(root / "annotations" / "test_posetrack18_val.json")
    assert {c.name: len(c.tracks) for c in merged.clips} == {
        "003418_mpii_test": 1,
        "012834_mpii_test": 11,
    }


@pytest.mark.realdata
def test_real_jhmdb_conversion_counts_from_1(data_root):
    clips = read_posetrack(data_root / "mmpose_samples" / "jhmdb" / "test_jhmdb_sub1.json").clips
    assert [(c.video.n_frames, len(c.tracks), c.tracks[0].skeleton) for c in clips] == [
        (37, 1, "jhmdb15"),
        (30, 1, "jhmdb15"),
    ]
    assert all(c.tracks[0].labelled[0] and c.pictures[0].name.endswith("/00001.png") for c in clips)
