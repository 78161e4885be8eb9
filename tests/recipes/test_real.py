"""Rows about real pictures: what they measure, on made clips and made answers, and on the real
ones where these are here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from workbench.data.readers import read
from workbench.errors import MissingData
from workbench.film import write_video
from workbench.models import build
from workbench.predict import ClipEstimator
from workbench.recipes import real
from workbench.recipes.base import recipe
from workbench.recipes.measures import person_oks
from workbench.recipes.otpose import SingleFrame
from workbench.records import Detections
from workbench.skeletons import skeleton

from ..models.tiny import OTPOSE

K = len(skeleton("coco17"))


def people(xy: np.ndarray, confidence=1.0) -> Detections:
    """One person of 100 px in every frame."""
    n = len(xy)
    sure = np.broadcast_to(np.asarray(confidence, float), (n, K))
    boxes, frames = np.tile([0, 0, 50, 100], (n, 1)), np.arange(n)
    zeros = np.zeros(n, int)
    return Detections("coco17", xy, sure, boxes, frames=frames, tracks=zeros)


def still(n: int) -> np.ndarray:
    return np.tile(np.arange(2.0 * K).reshape(K, 2), (n, 1, 1))


def clip(said: Detections) -> real.RealClip:
    return real.RealClip("made", Path("made.mp4"), said)


ALL = np.ones(K, bool)


def test_who_stands_still_is_still():
    xy = still(5)
    values = real.clip_values(xy, clip(people(xy)), ALL)
    assert np.isnan(values["jitter"]).tolist() == [True, False, False, False, True]
    assert all(np.nanmax(values[key]) == 0 for key in ("jitter", "bones", "sure, moved"))
    assert np.isnan(values["unsure, to next"]).all()


def test_a_step_there_and_back_is_jitter_and_a_longer_bone():
    xy = still(5)
    xy[2, skeleton("coco17").index("left_ankle")] += (3, 4)
    values = real.clip_values(xy, clip(people(still(5))), ALL)
    np.testing.assert_allclose(values["jitter"][1:-1], np.array([5, 10, 5]) / K, rtol=1e-5)
    np.testing.assert_allclose(values["sure, moved"], [0, 0, 5 / K, 0, 0], rtol=1e-5, atol=1e-9)
    assert values["bones"][2] > 0 and (values["bones"][[0, 1, 3, 4]] == 0).all()


def test_an_unsure_joint_is_compared_with_where_it_is_seen_next():
    said = still(3)
    said[0, 9] += 30
    confidence = np.ones((3, K))
    confidence[0, 9] = 0.1
    shown = clip(people(said, confidence))
    near, far = (real.clip_values(xy, shown, ALL)["unsure, to next"] for xy in (still(3), said))
    assert near[0] == 0 and far[0] == pytest.approx(30 * np.sqrt(2), rel=1e-5)
    assert np.isnan(near[1:]).all()
    left_out = np.arange(K) != 9
    assert np.isnan(real.clip_values(said, shown, left_out)["unsure, to next"]).all()


def test_blocks_of_a_person_are_drawn_together():
    groups = clip(people(still(30))).groups
    assert [int((groups == name).sum()) for name in dict.fromkeys(groups)] == [12, 12, 6]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A clip of 20 frames whose person walks on, as its results say."""
    place = tmp_path / "real_clips"
    place.mkdir()
    frames = np.zeros((20, 120, 160, 3), np.uint8)
    write_video(place / "walk.webm", iter(frames), fps=25.0)
    (place / "walk.webm").rename(place / "walk.mp4")
    rows = []
    for t in range(20):
        xy = still(1)[0] + (20 + 3 * t, 20)
        keypoints = np.column_stack([xy, np.full(K, 0.9)]).ravel().tolist()
        rows.append({"image_id": t, "category_id": 1, "keypoints": keypoints, "score": 0.9})
    (place / "walk.json").write_text(json.dumps(rows))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    return place


def rows_of(method, data, **asked):
    found = recipe(method).evaluate(data, progress=False, device="cpu", **asked)
    return found, {(row["method"], row.get("subset")): row for row in found["rows"]}


def test_labels_are_carried_on_a_line_where_people_walk_on_a_line(folder):
    found, rows = rows_of("stdpose", "real_clips")
    assert rows["linear", None]["metrics"]["away"] < 0.01
    assert rows["stdpose", None]["metrics"]["away"] > 1
    assert rows["stdpose", None]["n"] == 14  # frames between 0, 8 and 16
    assert "walk (20 frames, 1 tracks)" in found["protocol"]


def test_results_of_clips_are_read_as_a_set(folder):
    detections = read(folder, "real_clips").detections
    assert len(detections) == 20 and set(detections.images) == {"walk"}
    assert detections.xy_frame[3, 0].tolist() == pytest.approx([29, 21])


def test_who_walks_on_a_line_has_no_jitter(folder):
    _, rows = rows_of("hanet", "real_clips")
    assert rows["estimator", None]["metrics"]["jitter"] < 0.01
    assert rows["hanet", None]["metrics"]["sure, moved"] > 0
    assert rows["hanet", None]["paired"]["jitter"]["rival"] == "savgol"
    with pytest.raises(MissingData, match="real_clips"):
        (folder / "walk.json").unlink()
        rows_of("hanet", "real_clips")


def test_the_single_frame_is_what_the_estimator_inside_sees_in_the_middle():
    whole = ClipEstimator(build("otpose", OTPOSE))
    alone = SingleFrame(whole)
    crops = torch.rand(2, 5, 3, *whole.model.config.size[::-1])
    found = alone.forward(crops, slice(0, 2))["heatmaps"]
    torch.testing.assert_close(found, whole.model.maps(crops[:, 2]), atol=1e-5, rtol=1e-4)
    assert alone.name == "single frame" and whole.name == "otpose"


@pytest.mark.realdata
def test_real_people_are_judged_beside_the_estimator(data_root):
    found, rows = rows_of("vissimcc", "real_detections", variants=["vissimcc"])
    assert rows["estimator", "all joints"]["metrics"]["oks"] == pytest.approx(56.18, abs=0.01)
    ours = rows["vissimcc", "all joints"]
    assert ours["n"] == 68 and 15 < ours["metrics"]["oks"] < 30
    assert ours["paired"]["oks"]["interval"][1] < 0
    assert "68 real people of 32 pictures" in found["protocol"]


@pytest.mark.realdata
def test_joints_that_a_method_does_not_know_are_judged_for_nobody(data_root, monkeypatch):
    file, truth, said = real.read_in_truth_boxes("real_detections")
    some = slice(0, 4)
    few = (file, truth.select(some), said.select(some))
    monkeypatch.setattr(real, "read_in_truth_boxes", lambda data: few)
    _, rows = rows_of("otpose", "real_detections")
    known = [j in skeleton("posetrack15").joints for j in skeleton("coco17").joints]
    judged = replace(truth, visibility=truth.visibility * known).select(some)
    expected = 100 * np.nanmean(person_oks(said.select(some), judged))
    assert rows["estimator", "all joints"]["metrics"]["oks"] == pytest.approx(expected, abs=1e-3)
    others = rows["single frame", "all joints"], rows["otpose", "all joints"]
    assert {row["n"] for row in others} == {int(judged.labelled.any(1).sum())}


@pytest.mark.realdata
def test_the_clips_that_results_show(data_root):
    _, rows = rows_of("hanet", f"real_clips:{data_root}")
    assert rows["estimator", None]["n"] == 90
    assert rows["hanet", None]["metrics"]["jitter"] < rows["one_euro", None]["metrics"]["jitter"]
