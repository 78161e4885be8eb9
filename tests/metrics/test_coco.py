"""COCO's average precision: by hand, and beside pycocotools."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.growth import LINEAR, growth
from workbench import metrics
from workbench.errors import BadParameter, BadRecord
from workbench.records import Pose
from workbench.skeletons import skeleton

from .people import detections, people, whole

SIGMAS = np.array(skeleton("coco17").oks_sigmas)


def test_oks_by_hand():
    truth, use = np.zeros((2, 17, 2)), np.zeros((2, 17), bool)
    use[0, [0, 5]] = True
    boxes = np.array([[0.0, 0, 10, 20], [100, 100, 110, 120]])
    pred = np.zeros((1, 17, 2))
    pred[0, 5] = (0, 2 * 0.079 * np.sqrt(2) * 30)  # exp(-1) at an area of 30^2
    pred[0, 7] = (1e4, 0)  # does not count
    assert metrics.oks(pred, truth, use, np.full(2, 900.0), SIGMAS, boxes)[0, 0] == pytest.approx(
        (1 + np.exp(-1)) / 2
    )
    # nobody's joints count: within [90, 120] x [80, 140] nothing is wrong, and from there on
    # distance is measured
    pred[0] = (90, 140)
    assert metrics.oks(pred, truth, use, np.full(2, 900.0), SIGMAS, boxes)[0, 1] == 1
    pred[0, 0] = (90, 140 + 2 * 0.026 * np.sqrt(2) * 30)
    assert metrics.oks(pred, truth, use, np.full(2, 900.0), SIGMAS, boxes)[0, 1] == pytest.approx(
        (16 + np.exp(-1)) / 17
    )


def test_one_of_two_people_found():
    truth = people(np.full((2, 17), 2), ["a", "a"])
    found = detections(whole(truth)[:1], [0.5], ["a"])
    scores = metrics.keypoint_ap(truth, found)
    assert list(scores) == list(metrics.STATS)
    assert (
        scores["AP"] == scores["AP50"] == scores["AP_M"] == pytest.approx(51 / 101)
    )  # recalls 0, 0.01, ... 0.5 of 101
    assert scores["AR"] == 0.5 and scores["AP_L"] == scores["AR_L"] == -1


def test_a_false_alarm_counts_by_its_score_and_size():
    truth = people(np.full((1, 17), 2), ["a"])
    alarm = whole(truth)[0] + (1000, 0)
    for score, ap in ((0.4, 1), (0.6, 0.5)):
        found = detections([whole(truth)[0], alarm], [0.5, score], ["a", "a"])
        assert metrics.keypoint_ap(truth, found)["AP"] == pytest.approx(ap)
    big = detections([whole(truth)[0], whole(truth)[0] * 3 + (1000, 0)], [0.5, 0.6], ["a", "a"])
    scores = metrics.keypoint_ap(truth, big)
    assert (scores["AP"], scores["AP_M"]) == pytest.approx((0.5, 1)), (
        "a large false alarm is none for medium people"
    )
    boxed = replace(big, boxes_xyxy=np.array([[0, 0, 50, 100], [1000, 0, 1050, 100]]))
    assert metrics.keypoint_ap(truth, boxed, found_area="boxes")["AP_M"] == pytest.approx(0.5)


def test_pictures_without_people_count_when_they_are_named():
    truth = people(np.full((1, 17), 2), ["a"])
    found = detections([whole(truth)[0], whole(truth)[0]], [0.5, 0.6], ["a", "empty"])
    assert metrics.keypoint_ap(truth, found, images=["a", "empty"])["AP"] == pytest.approx(0.5)
    with pytest.raises(
        BadRecord, match=r"detections, row 1: picture 'empty' is none of the 1 evaluated"
    ):
        metrics.keypoint_ap(truth, found)
    with pytest.raises(BadRecord, match="truth, row 0: picture 'a'"):
        metrics.keypoint_ap(truth, found, images=["empty"])
    with pytest.raises(BadParameter, match="do not say to which pictures"):
        metrics.keypoint_ap(replace(truth, images=()), found)


def test_nothing_found_is_0_and_nobody_there_is_minus_1():
    truth, none = people(np.full((2, 17), 2), ["a", "b"]), detections([], [], [])
    scores = metrics.keypoint_ap(truth, none)
    assert scores["AP"] == scores["AR"] == scores["AR_M"] == 0
    assert set(metrics.keypoint_ap(truth.select([]), none, images=["a"]).values()) == {-1}
    found = detections(whole(truth), [1, 1], ["a", "b"])
    assert set(metrics.keypoint_ap(truth.select([]), found, images=["a", "b"]).values()) == {-1}


def test_only_the_20_best_of_a_picture_are_looked_at():
    truth = people(np.full((1, 17), 2), ["a"])
    alarms = np.repeat(whole(truth) + np.array((1000, 0)), 20, 0)
    found = detections([*alarms, whole(truth)[0]], [0.9] * 20 + [0.8], ["a"] * 21)
    assert metrics.keypoint_ap(truth, found)["AR"] == 0
    assert metrics.keypoint_ap(truth, found.select(slice(1, None)))["AR"] == 1


def test_groups_and_people_without_labels_are_left_out():
    flags = np.full((3, 17), 2)
    flags[1] = 0
    truth = people(flags, ["a"] * 3, crowd=[False, False, True])
    near = whole(truth)
    # both ignored people are found twice, within their widened boxes: neither hits nor false alarms
    found = detections(
        [near[1] + 1, near[1], near[2], near[2], near[0]], [0.9, 0.8, 0.7, 0.6, 0.5], ["a"] * 5
    )
    assert metrics.ignored(truth).tolist() == [False, True, True]
    one = metrics.keypoint_ap(truth, found)
    assert one["AR"] == 1
    assert one["AP"] == pytest.approx(0.5), (
        "a person without labels takes one detection, a group any number"
    )
    assert metrics.keypoint_ap(truth, found.select([1, 2, 3, 4]))["AP"] == pytest.approx(1)


def test_who_has_no_label_may_still_be_a_miss():
    flags = np.full((2, 17), 2)
    flags[1] = 0
    truth, near = people(flags, ["a", "a"]), whole(people(flags, ["a", "a"]))
    nobody_out = np.zeros(2, bool)
    alone, both = (detections(near[:n], [0.9, 0.8][:n], ["a"] * n) for n in (1, 2))
    assert metrics.keypoint_ap(truth, alone)["AR"] == 1
    assert metrics.keypoint_ap(truth, alone, ignore=nobody_out)["AR"] == 0.5
    assert metrics.keypoint_ap(truth, both, ignore=nobody_out)["AR"] == 1, (
        "found by what lies within the widened box"
    )
    assert metrics.keypoint_ap(truth, alone, joints="visible", ignore=nobody_out)["AR"] == 1


def test_crowdpose_scales_by_boxes_and_leaves_out_heads_without_bodies():
    flags = np.full((2, 14), 1)
    flags[1, :12] = 0
    truth = people(flags, ["a", "a"], areas=None)
    assert metrics.ignored(truth).tolist() == [False, True]
    assert metrics.person_areas(truth).tolist() == [2650, 2650]
    found = detections(whole(truth), [0.5, 0.9], ["a", "a"], "crowdpose14")
    scores = metrics.keypoint_ap(truth, found)
    assert list(scores) == ["AP", "AP50", "AP75", "AR", "AR50", "AR75"] and scores[
        "AP"
    ] == pytest.approx(1)
    with pytest.raises(BadParameter, match="not every person states an area"):
        metrics.keypoint_ap(truth, found, area="stated")
    with pytest.raises(BadParameter, match="choose stated or box"):
        metrics.keypoint_ap(truth, found, area="mask")


def test_table_3_scores_joints_of_one_visibility():
    flags = np.full((2, 17), 2)
    flags[0, :8], flags[1, 16] = 1, 0  # who stands second has no occluded joint
    truth = people(flags, ["a", "a"])
    xy = whole(truth)
    xy[0, :8] += 100  # occluded joints are far off
    found = detections(xy, [0.5, 0.9], ["a", "a"])
    assert metrics.keypoint_ap(truth, found, joints="visible")["AP"] == pytest.approx(1)
    occluded = metrics.keypoint_ap(truth, found, joints="occluded")
    assert occluded["AP"] == occluded["AR"] == 0, "only the first person counts, and is missed"
    xy[0] = whole(truth)[0]
    found = detections(xy, [0.5, 0.9], ["a", "a"])
    assert metrics.keypoint_ap(truth, found, joints="occluded")["AP"] == pytest.approx(1), (
        "the second is no false alarm"
    )
    far = detections([*xy, xy[0] + (1000, 0)], [0.5, 0.9, 0.8], ["a"] * 3)
    assert metrics.keypoint_ap(truth, far, joints="occluded")["AP"] == pytest.approx(0.5)


def test_visibility_that_is_not_known_is_refused():
    truth = people(np.full((1, 17), 2), ["a"], occlusion_known=False)
    found = detections(whole(truth), [1], ["a"])
    for call in (
        lambda: metrics.keypoint_ap(truth, found, joints="visible"),
        lambda: metrics.keypoint_ap(truth, found, joints="occluded"),
        lambda: metrics.visibility_accuracy(np.ones((1, 17)), truth),
    ):
        with pytest.raises(BadParameter, match="does not say which are occluded"):
            call()
    assert list(metrics.pck_by_visibility(whole(truth), truth)) == ["PCK-All"]
    with pytest.raises(BadParameter, match="choose labelled, visible or occluded"):
        metrics.keypoint_ap(truth, found, joints="hidden")


def test_skeletons_must_be_one_and_have_sigmas():
    truth = people(np.full((1, 17), 2), ["a"])
    with pytest.raises(BadParameter, match="crowdpose14 detections of coco17 people"):
        metrics.keypoint_ap(truth, detections([], [], [], "crowdpose14"))
    with pytest.raises(BadParameter, match="no OKS sigmas"):
        metrics.keypoint_ap(
            replace(truth, skeleton="h36m17"), replace(detections([], [], []), skeleton="h36m17")
        )


def test_all_numbers_are_pycocotools_own(rng):
    """Random pictures, scores with ties, groups, people without labels; and by visibility, with
    flags set to 0 by hand.
    """
    k, n = 17, 60
    images = [str(i) for i in rng.integers(0, 20, n)]
    flags = rng.choice([0, 1, 2], (n, k)) * (rng.random((n, 1)) < 0.9)
    corner = rng.integers(0, 300, (n, 2))
    boxes = np.concatenate((corner, corner + rng.integers(20, 200, (n, 2))), 1)
    all_xy = corner[:, None] + rng.random((n, k, 2)) * (boxes[:, None, 2:] - boxes[:, None, :2])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) // 2
    crowd = rng.random(n) < 0.1
    truth = Pose(
        "coco17",
        all_xy * (flags > 0)[..., None],
        flags,
        boxes,
        images=images,
        areas=areas,
        crowd=crowd,
    )
    rows = np.repeat(np.arange(n), rng.integers(0, 4, n))
    xy = all_xy[rows] + rng.normal(size=(len(rows), k, 2)) * rng.choice(
        [1, 5, 60], (len(rows), 1, 1)
    )
    scores = rng.integers(0, 9, len(rows)) / 8
    found = detections(xy, scores, [images[r] for r in rows])
    for joints, wanted in (("labelled", (1, 2)), ("visible", (2,)), ("occluded", (1,))):
        kept = truth.visibility * np.isin(truth.visibility, wanted)
        keypoints = np.concatenate((truth.xy_frame, kept[..., None]), -1).reshape(n, -1)
        gts = [
            {
                "id": i + 1,
                "image_id": int(images[i]),
                "category_id": 1,
                "iscrowd": int(crowd[i]),
                "area": int(areas[i]),
                "bbox": [*corner[i], *(boxes[i, 2:] - corner[i])],
                "keypoints": keypoints[i].tolist(),
                "num_keypoints": int((kept[i] > 0).sum()),
            }
            for i in range(n)
        ]
        points = (
            np.concatenate((found.xy_frame, found.confidence[..., None]), -1)
            .reshape(len(rows), -1)
            .tolist()
        )
        results = [
            {"image_id": int(images[r]), "category_id": 1, "keypoints": p, "score": float(s)}
            for r, p, s in zip(rows, points, scores)
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            coco.dataset = {
                "images": [{"id": i} for i in range(20)],
                "annotations": gts,
                "categories": [{"id": 1}],
            }
            coco.createIndex()
            theirs = COCOeval(coco, coco.loadRes(results), "keypoints")
            theirs.evaluate()
            theirs.accumulate()
            theirs.summarize()
        ours = metrics.keypoint_ap(truth, found, joints=joints, images=[str(i) for i in range(20)])
        np.testing.assert_allclose(list(ours.values()), theirs.stats, atol=1e-9)
        assert 0.05 < ours["AP"] < 0.95


# --- by visibility --------------------------------------------------------------------------------


def test_match_pairs_for_the_largest_total():
    truth = people(np.full((3, 17), 2), ["a", "a", "b"])
    xy = whole(truth)
    found = detections([xy[1] + 3, xy[1], xy[0] + 2, xy[0]], [0.9, 0.1, 0.5, 0.4], ["a"] * 4)
    assert metrics.match(truth, found).tolist() == [3, 1, -1], (
        "whatever the scores; nobody is left for the third"
    )


def test_match_in_a_crowd(rng):
    """More pairs than are computed in one go, and pictures before and behind it."""
    n = 71
    truth = people(np.full((n, 17), 2), ["a", *["crowd"] * (n - 2), "b"])
    order = rng.permutation(n)
    images = [truth.images[row] for row in order]
    found = detections(whole(truth)[order], rng.random(n), images)
    assert (order[metrics.match(truth, found)] == np.arange(n)).all()


def test_ap_costs_in_proportion_to_the_pictures():
    def make(n):
        pictures = [f"p{i // 2}" for i in range(n)]
        truth = people(np.full((n, 17), 2), pictures)
        found = detections(whole(truth), np.linspace(0.1, 1, n), pictures)
        return lambda: metrics.keypoint_ap(truth, found)

    assert growth(make, 100) < LINEAR
