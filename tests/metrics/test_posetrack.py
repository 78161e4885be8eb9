"""PoseTrack's average precision: by hand, and beside its own program."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.growth import LINEAR, growth
from workbench import metrics
from workbench.errors import BadParameter
from workbench.records import Detections, Pose
from workbench.skeletons import skeleton


def test_ap_of_sparse_labels_by_hand():
    """Two persons and three predictions in one frame, one joint each side of the limit; heads of
    10 px, limit 5 px.
    """
    np.testing.assert_allclose(metrics.head_sizes(np.array([[0.0, 0, 6, 8]])), [6])
    truth = np.array([[[0.0, 0], [50, 0]], [[0, 100], [50, 100]]])
    pred = np.array([[[5.0, 0], [55.1, 0]], [[0, 100], [50, 100]], [[0, 101], [90, 90]]])
    score = np.array([[0.9, 0.9], [0.5, 0.8], [0.7, -np.inf]])
    labelled = np.array([[True, True], [True, False]])
    frame = (pred, score, truth, labelled, np.array([10.0, 10]))
    # joint 0, by score: right, wrong (the second person is taken), right: 1/2 * 1 + 1/2 * 2/3;
    # joint 1: 0.9 wrong, 0.8 wrong
    np.testing.assert_allclose(metrics.pckh_ap([frame]), [5 / 6, 0])
    nobody = (pred[:1], np.array([[1.0, -np.inf]]), truth[:0], labelled[:0], np.zeros(0))
    np.testing.assert_allclose(
        metrics.pckh_ap([frame, nobody])[0], 1 / 2 * (2 / 4) + 1 / 2 * (2 / 4)
    )
    counts = np.array([[1, 1], [2, 1], [1, 3]])
    copied = [metrics.pckh_ap([frame] * a + [nobody] * b) for a, b in counts]
    np.testing.assert_allclose(metrics.pckh_ap([frame, nobody], counts=counts), copied)
    unseen = (pred[:0], score[:0], truth, np.array([[True, False]] * 2), np.array([10.0, 10]))
    by_joint = metrics.pckh_ap([unseen])
    assert by_joint[0] == 0 and np.isnan(by_joint[1])


@pytest.mark.realdata
def test_ap_of_sparse_labels_agrees_with_posetrack_s_program(parity_root):
    case = json.loads((parity_root / "metrics.json").read_text())["poseval"]

    def people(frame: dict, ignore: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = []
        for rect in frame["annorect"]:
            xy, score = np.zeros((15, 2)), np.full(15, -np.inf)
            for point in rect["annopoints"][0]["point"]:
                at = (point["x"][0], point["y"][0])
                if not any(cv2.pointPolygonTest(polygon, at, False) > 0 for polygon in ignore):
                    xy[point["id"][0]], score[point["id"][0]] = at, point.get("score", [0])[0]
            if np.isfinite(score).any():
                rows.append(
                    (
                        xy,
                        score,
                        [rect[key][0] for key in ("x1", "y1", "x2", "y2")]
                        if "x1" in rect
                        else [0] * 4,
                    )
                )
        columns = zip(*rows) if rows else ((), (), ())
        shapes = ((-1, 15, 2), (-1, 15), (-1, 4))
        return tuple(np.array(c, float).reshape(shape) for c, shape in zip(columns, shapes))

    frames = []
    for truth, pred in zip(case["gt"]["annolist"], case["pred"]["annolist"], strict=True):
        regions = truth.get("ignore_regions", [])
        ignore = [
            np.float32([(p["x"][0], p["y"][0]) for p in region["point"]]) for region in regions
        ]
        (xy, known, heads), (found, score, _) = people(truth, ignore), people(pred, ignore)
        if truth["annorect"]:  # it drops the others
            frames.append((found, score, xy, np.isfinite(known), metrics.head_sizes(heads)))
    by_joint = 100 * metrics.pckh_ap(frames)
    np.testing.assert_allclose(
        [*by_joint, by_joint.mean()], case["out"]["ap_per_joint_then_total"], atol=1e-9
    )


def test_posetrack_ap_groups_joints_by_name():
    k, names = 15, skeleton("posetrack15").joints
    xy = np.stack([np.arange(2 * k, dtype=float).reshape(k, 2) * 9 + 300 * i for i in range(3)])
    truth = Pose(
        "posetrack15",
        xy,
        np.where(np.isin(names, ["nose", "left_wrist"]), [[1], [2], [2]], 2),
        np.tile([0.0, 0, 900, 900], (3, 1)),
        images=("a", "a", "b"),
        head_boxes_xyxy=np.tile([0.0, 0, 30, 40], (3, 1)),
    )
    shift = np.zeros((3, k, 2))
    shift[:, names.index("left_wrist"), 0] = 16  # half of 0.6 * 50 px is 15
    found = Detections(
        "posetrack15", xy + shift, np.ones((3, k)), truth.boxes_xyxy, images=truth.images
    )
    ap = metrics.posetrack_ap(truth, found)
    assert list(ap) == ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean"]
    assert (
        ap["Wrist"] == 0.5
        and ap["Head"] == ap["Ankle"] == 1
        and ap["Mean"] == pytest.approx(14 / 15)
    )
    occluded = metrics.posetrack_ap(truth, found, "occluded")
    assert (
        occluded["Head"] == 1
        and occluded["Wrist"] == 0
        and np.isnan(occluded["Hip"])
        and occluded["Mean"] == 0.5
    )
    with pytest.raises(BadParameter, match="paired row by row"):
        metrics.posetrack_ap(truth, found.select([0, 1]), "visible")
    with pytest.raises(BadParameter, match="head boxes"):
        metrics.posetrack_ap(replace(truth, head_boxes_xyxy=None), found)
    assert metrics.posetrack_ap(truth, found.select([0]))["Head"] == pytest.approx(1 / 3), (
        "two of three people are not found"
    )


def test_interval_of_posetrack_ap_draws_whole_groups(rng):
    n, k = 60, 15
    xy = rng.uniform(0, 200, (n, k, 2))
    pictures, clips = tuple(f"p{i // 2}" for i in range(n)), tuple(f"c{i // 6}" for i in range(n))
    truth = Pose(
        "posetrack15",
        xy,
        np.full((n, k), 2),
        np.tile([0.0, 0, 200, 200], (n, 1)),
        images=pictures,
        groups=clips,
        head_boxes_xyxy=np.tile([0.0, 0, 30, 40], (n, 1)),
    )
    bad = (np.arange(n) // 6 % 2 == 0)[:, None, None]  # every other clip is all wrong
    found = Detections(
        "posetrack15", xy + 500 * bad, rng.random((n, k)), truth.boxes_xyxy, images=pictures
    )
    mean = metrics.posetrack_ap(truth, found)["Mean"]
    draws = metrics.posetrack_ap_draws(truth, found, rng=np.random.default_rng(0))
    low, high = np.quantile(draws, (0.025, 0.975))
    assert low < mean < high and high - low > 0.3, "five of ten clips: wide"
    by_picture = metrics.posetrack_ap_draws(
        replace(truth, groups=pictures), found, rng=np.random.default_rng(0), resamples=200
    )
    assert len(by_picture) == 200
    assert np.ptp(np.quantile(by_picture, (0.025, 0.975))) < high - low, "thirty tell more than ten"
    again = metrics.posetrack_ap_draws(truth, found, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(again, draws)
    with pytest.raises(BadParameter, match="1 group"):
        metrics.posetrack_ap_draws(replace(truth, groups=("c",) * n), found, rng=rng)


def test_ap_costs_in_proportion_to_the_frames(rng):
    def make(n):
        xy = rng.uniform(0, 200, (n, 15, 2))
        pictures = tuple(f"p{i // 2}" for i in range(n))
        boxes, heads = (np.tile([0.0, 0, side, side], (n, 1)) for side in (200, 30))
        truth = Pose(
            "posetrack15", xy, np.full((n, 15), 2), boxes, images=pictures, head_boxes_xyxy=heads
        )
        found = Detections("posetrack15", xy, rng.random((n, 15)), boxes, images=pictures)
        return lambda: metrics.posetrack_ap(truth, found)

    assert growth(make, 2000) < LINEAR
