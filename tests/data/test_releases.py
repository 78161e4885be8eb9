from __future__ import annotations

import numpy as np
import pytest

from tests.data.files import dump
from workbench.data import releases
from workbench.errors import BadFile, BadRecord, MissingFile, UnsafeFile
from workbench.records import Camera, Clip, Reading, Video
from workbench.skeletons import skeleton

PATTERNS = ("sets/*/*.pkl", "*/*.pkl")


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def test_a_release_is_its_folder_or_one_of_its_files(tmp_path):
    touch(tmp_path, "sets/b/2.pkl", "sets/a/1.pkl", "sets/a/._1.pkl", "sets/.c/3.pkl")
    files = [tmp_path / "sets/a/1.pkl", tmp_path / "sets/b/2.pkl"]
    assert releases.release(tmp_path, "jhmdb", *PATTERNS) == (tmp_path, files)
    assert releases.release(files[1], "jhmdb", *PATTERNS) == (tmp_path, files[1:])
    # the second pattern, where the first matches nothing
    assert releases.release(tmp_path / "sets", "jhmdb", *PATTERNS)[1] == files
    with pytest.raises(MissingFile, match=r"sets/\*/\*\.pkl.*data show jhmdb"):
        releases.release(tmp_path / "sets/a", "jhmdb", *PATTERNS)


def test_the_first_file_is_looked_for_folder_by_folder(tmp_path):
    touch(tmp_path, "a/2", "b/1", "b/2")
    folders = [tmp_path / "a", tmp_path / "b"]
    assert releases.first_file(folders, ["1", "2"]) == tmp_path / "a/2"
    assert releases.first_file(folders, ["3"]) is None


def test_errors_are_named_once(tmp_path):
    with pytest.raises(BadRecord) as caught, releases.named(tmp_path, "outer"):
        with releases.named(tmp_path / "file", "inner"):
            raise BadRecord("odd", remedy="mend it")
    error = caught.value
    assert (error.file, error.record) == (str(tmp_path / "file"), "inner")
    assert (error.problem, error.remedy) == ("odd", "mend it")
    with pytest.raises(UnsafeFile, match="own, 3: evil"), releases.named(tmp_path, "3"):
        raise UnsafeFile("evil", file="own")


def test_what_is_no_dict_is_named(tmp_path):
    path = dump(tmp_path / "a.pkl", [1])
    with pytest.raises(BadFile, match=r"a\.pkl: holds a list, a dict expected"):
        releases.read_pickled_dict(path)


def test_joints_behind_the_camera_are_not_projected():
    camera = Camera(np.eye(3), np.zeros(3), np.array([100, 100]), np.array([7, 11]))
    xyz = np.array([[[1, 2, 10], [1, 2, -10], [np.nan] * 3, [0, 0, 0.5], [1, 2, 10]]], float)
    usable = np.array([[True, True, True, True, False]])
    xy, ahead = releases.projected(camera, xyz, usable)
    assert ahead.tolist() == [[True, False, False, False, False]]
    np.testing.assert_allclose(xy[0, 0], [17, 31])
    assert not xy[0, 1:].any()


def test_boxes_around_nobody_are_zeros():
    xy = np.array([[[1, 2], [5, 3], [9, 9]], [[1, 2], [5, 3], [9, 9]]], float)
    labelled = np.array([[True, True, False], [False] * 3])
    assert releases.boxes_around(xy, labelled).tolist() == [[1, 2, 5, 3], [0] * 4]
    track = releases.track_of("hand21", 3, np.ones((2, 21, 2)), np.zeros((2, 21), bool))
    assert not track.boxes_xyxy.any() and not track.labelled.any() and not track.xy_frame.any()


def test_motions_end_where_frames_are_lost(tmp_path):
    xyz = np.arange(7 * 17 * 3, dtype=float).reshape(7, 17, 3)
    detected = xyz + 1
    detected[3, 5] = np.nan
    motions, (warning,) = releases.motions_of(tmp_path, "a", "coco17", xyz, detected, fps=11)
    assert [motion.name for motion in motions] == ["a[0:3]", "a[4:7]"]
    np.testing.assert_array_equal(motions[1].detected, xyz[4:] + 1)
    assert "1 of 7 frames have a NaN, the first is 3" in warning.problem
    assert warning.record == "a" and warning.file == str(tmp_path)
    (whole,), none = releases.motions_of(tmp_path, "a", "coco17", xyz)
    assert whole.name == "a" and none == [] and whole.parents == skeleton("coco17").parents


def test_readings_become_one_in_their_order(tmp_path):
    def reading(n):
        keypoints = np.full((n, 17, 3), n, float)
        seen = releases.detections_of("coco17", keypoints, [f"v{n}"] * n, person=n)
        clip = Clip(Video(str(tmp_path / f"{n}.mp4"), n or None), name=f"clip {n}")
        return Reading(detections=seen, clips=(clip,), warnings=(BadRecord(f"gap {n}"),))

    (tmp_path / "2.mp4").write_text("x")
    sequences = (0, 2, 3, "bad")

    def read(n):
        if n == "bad":
            raise BadRecord("odd")
        return reading(n)

    found = releases.read_sequences(tmp_path, sequences, read, "report")
    assert [clip.name for clip in found.clips] == [
        "clip 0",
        "clip 2",
        "clip 3",
    ]
    assert found.detections.images == ("v2", "v2", "v3", "v3", "v3")
    assert found.detections.tracks.tolist() == [2, 2, 3, 3, 3]
    assert found.detections.source == str(tmp_path)
    assert [warning.problem for warning in found.warnings] == [
        "odd",
        "2 of 3 clips lack pictures or video",
        "gap 0",
        "gap 2",
        "gap 3",
    ]
    with pytest.raises(BadRecord, match=r"bad: odd.*1 of 4 sequences"):
        releases.read_sequences(tmp_path, sequences, read, "raise")
    assert releases.concatenated([reading(0).detections, None]) is None


def test_detections_are_frames_in_which_a_joint_was_found():
    keypoints = np.full((5, 17, 3), 7.0)
    keypoints[0, 2] = np.nan
    keypoints[1, :, 2] = 0
    keypoints[3, 1:, 2] = 0
    keypoints[3, 0, :2] = 11, 13
    seen = releases.detections_of("coco17", keypoints, list("abcde"), person=3)
    assert seen.images == ("c", "d", "e") and seen.frames.tolist() == [2, 3, 4]
    assert seen.tracks.tolist() == [3, 3, 3]
    assert seen.boxes_xyxy.tolist() == [[7] * 4, [11, 13, 11, 13], [7] * 4]
    boxes = np.arange(20.0).reshape(5, 4)
    stated = releases.detections_of("coco17", keypoints, list("abcde"), boxes=boxes)
    assert stated.boxes_xyxy[0].tolist() == [8, 9, 10, 11]
