from __future__ import annotations

import pickle

import numpy as np
import pytest

from workbench.errors import BadRecord, UnknownName, WorkbenchError
from workbench.records import Clip, Detections, Motion, Pose, Prediction, Track, Video


def pose(n=3, **changes):
    fields = {
        "skeleton": "crowdpose14",
        "xy_frame": np.arange(n * 28, dtype=float).reshape(n, 14, 2),
        "visibility": np.full((n, 14), 2),
        "boxes_xyxy": np.tile([0, 1, 5, 7], (n, 1)),
        "ids": [f"id{i}" for i in range(n)],
        "groups": list("abc"[:n]),
    }
    return Pose(**{**fields, **changes})


def test_arrays_are_cast_copied_and_read_only():
    xy = np.zeros((3, 14, 2))
    made = pose(xy_frame=xy)
    xy[:] = 5
    assert made.xy_frame.dtype == np.float32 and made.xy_frame.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        made.xy_frame[0, 0, 0] = 1


def test_rows_are_selected_everywhere():
    made = pose().select([2, 0])
    assert made.ids == ("id2", "id0") and made.groups == ("c", "a")
    assert made.xy_frame[0, 0, 0] == 56 and len(made) == 2
    assert len(pose().select(np.array([True, False, True]))) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xy_frame": np.zeros((3, 13, 2))}, r"xy_frame has shape \(3, 13, 2\)"),
        ({"visibility": np.full((3, 14), 3)}, "outside 0, 1, 2"),
        ({"boxes_xyxy": np.zeros((2, 4))}, "boxes_xyxy has shape"),
        ({"ids": ["one"]}, "ids has 1 entries"),
        ({"xy_frame": "no"}, "not an array"),
        ({"areas": np.zeros(2)}, r"areas has shape \(2,\), expected \(3\)"),
    ],
)
def test_wrong_fields_are_named(changes, message):
    with pytest.raises(BadRecord, match=message):
        pose(**changes)


def test_nan_never_enters():
    xy = np.zeros((3, 14, 2))
    xy[1, 5, 0] = np.nan
    with pytest.raises(BadRecord, match=r"not finite at \(1, 5, 0\).*Remedy"):
        pose(xy_frame=xy)


def test_unknown_skeleton_suggests():
    with pytest.raises(UnknownName, match="crowdpose14"):
        pose(skeleton="crowdpose")


def test_detections_score_defaults_to_mean_confidence():
    made = Detections("hand21", np.zeros((2, 21, 2)), np.full((2, 21), 0.25), np.zeros((2, 4)))
    np.testing.assert_array_equal(made.scores, [0.25, 0.25])
    prediction = Prediction(
        "hand21", made.xy_frame, made.confidence, np.zeros((2, 21)), "none", made
    )
    assert len(prediction.select([1]).detections) == 1


def test_a_clip_checks_its_tracks():
    video = Video("v.mp4", 5, 64, 48, 30.0)
    track = Track(
        "jhmdb15", 7, np.zeros((5, 15, 2)), np.ones((5, 15)), np.ones(5), np.zeros((5, 4))
    )
    assert Clip(video, [track]).tracks == (track,)
    with pytest.raises(BadRecord, match=r"v\.mp4, track 7: track spans 5 frames, the video has 4"):
        Clip(Video("v.mp4", 4, 64, 48, 30.0), [track])
    with pytest.raises(BadRecord, match="0 frames"):
        Video("v.mp4", 0, 64, 48, 30.0)


def test_errors_are_one_line_and_cross_processes():
    error = BadRecord(
        "length 50 (51 expected)", file="a.json", record="annotation 3", remedy="fix\nit"
    )
    assert str(error) == "BadRecord: a.json, annotation 3: length 50 (51 expected). Remedy: fix it"
    again = pickle.loads(pickle.dumps(error))
    assert (
        type(again) is BadRecord and str(again) == str(error) and isinstance(again, WorkbenchError)
    )


def test_the_height_of_a_body_is_that_of_what_branches():
    """A root that stays at the origin while the body walks away makes nobody tall."""
    away = np.array([0.0, 0, 9000])
    body = [[0, 900, 0], [0, 1700, 0], [100, 0, 0]]
    xyz = [[[0, 0, 0], *(np.array(body) + t * away)] for t in range(3)]
    joints = ("reference", "hips", "head", "foot")
    assert Motion(joints, (-1, 0, 1, 1), xyz).height_mm == 1700
    # a mere chain, and joints that do not stand in the order of the tree
    assert Motion(joints, (-1, 0, 1, 2), xyz[:1]).height_mm == 1700
    order = [3, 1, 0, 2]
    moved = np.array(xyz)[:, order]
    assert Motion(joints, (1, 2, -1, 1), moved).height_mm == 1700
    assert Motion(("a",), (-1,), np.zeros((0, 1, 3))).height_mm == 0
    assert Motion(("a", "b"), (1, 0), np.zeros((2, 2, 3))).height_mm == 0
