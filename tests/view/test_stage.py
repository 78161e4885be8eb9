"""The stage: what paint covers, whose flags change, and what everybody answers under it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.errors import BadParameter, UnknownName
from workbench.records import Detections, Prediction
from workbench.skeletons import skeleton
from workbench.view.panels import NEWLY_HIDDEN
from workbench.view.stage import (
    PAINT,
    Scene,
    Stage,
    apart,
    covered,
    over_time,
    painted,
    patch,
    without_covered,
)

BODY = skeleton("coco17")
T, W, H = 5, 40, 30


@pytest.fixture
def scene(rng):
    frames = list(rng.integers(0, 255, (T, H, W, 3)).astype(np.uint8))
    truth = np.zeros((T, 1, 17, 2), np.float32)
    truth[..., 0] = 2 * np.arange(17) + 1
    truth[..., 1] = 10
    return Scene(frames, truth, np.full((T, 1, 17), 2, np.int8), name="made", given=(0, 4))


def ask(scene, frames, mask):
    """A shifts everybody by 3 px, B by 1 px and by 4 px more under paint."""
    off = np.where(mask.any((1, 2)), 5.0, 1.0)[:, None, None]
    away = np.stack((off, np.zeros_like(off)), -1)
    return {"A": scene.truth + np.float32((3, 0)), "B": scene.truth + away}


def test_a_patch_covers_its_square_in_its_frames():
    mask = covered([patch(10, 5, 4, (1, 2))], (W, H), T)
    rows, columns = np.nonzero(mask[1])
    assert mask.any((1, 2)).tolist() == [False, True, True, False, False]
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 6, 8, 11)


def test_strokes_at_the_border_and_outside_are_cut_off():
    mask = covered([patch(0, 0, 6, (0, 9)), patch(-50, 500, 8, (0, 0))], (W, H), T)
    assert mask.sum() == T * 9 and mask[:, :3, :3].all()


def test_only_frames_under_paint_are_new_pictures(scene):
    mask = covered([patch(10, 5, 4, (1, 1))], (W, H), T)
    frames = painted(scene.frames, mask)
    assert [a is b for a, b in zip(frames, scene.frames)] == [True, False, True, True, True]
    assert (frames[1][mask[1]] == PAINT).all()


def test_flags_under_paint_change_and_are_marked(scene):
    stage = Stage(BODY, [scene], frame=2)
    assert stage.verdict == "Newly hidden by the paint: 0 joints"
    stage.choose(brush=[patch(1, 10, 5, (2, 3))])
    assert stage.verdict.endswith(": 4 joints in frames 2 to 3")  # joints at x = 1 and 3
    people = stage.draw(stage.state, stage._found)["stage"][0][0].people[0]
    assert (people.marks == NEWLY_HIDDEN).sum() == 4 and people.flags


def test_errors_and_their_signed_change(scene):
    stage = Stage(BODY, [scene], ask, roles={"A": "ours"}, apart=True)
    assert "A 3.0 px (+0.0); B 1.0 px (+0.0)" in stage.verdict
    stage.choose(brush=[patch(20, 20, 6, (0, 1))])
    assert "A 3.0 px (+0.0); B 2.6 px (+1.6)" in stage.verdict  # (5 + 5 + 1 + 1 + 1) / 5
    first, curve = stage.draw(stage.state, stage._found)["stage"]
    assert [panel.title for panel in first] == ["A", "B"] and first[0].rim == (0, 4)
    lines = {line.name: line for line in curve[0].lines if line.name}
    np.testing.assert_allclose(lines["B"].y, [5, 5, 1, 1, 1])
    assert lines["A"].role == "ours" and curve[0].shaded == [(0, 1, "hidden")]


def test_a_change_is_of_joints_that_are_found_with_and_without_paint(scene):
    """Whoever drops the joints under paint, here the worst, gains nothing by it."""

    def drops(scene, frames, mask):
        away = np.tile(np.arange(17.0), (T, 1, 1))
        xy = scene.truth + np.stack((away, 0 * away), -1)
        lost = mask.any((1, 2))[:, None, None] & (np.arange(17) == 16)
        return {"A": np.where(lost[..., None], np.nan, xy)}

    stage = Stage(BODY, [scene], drops)
    stage.choose(brush=[patch(20, 20, 6, (0, 4))])
    assert "A 7.5 px (+0.0, 5 joints lost)" in stage.verdict


def test_without_truth_nobody_is_wrong(scene):
    bare = Scene(scene.frames)
    stage = Stage(BODY, [bare], lambda clip, frames, mask: ask(scene, frames, mask))
    assert "B differs from A by 2.0 px" in stage.verdict and "nan" not in stage.verdict
    stage.choose(brush=[patch(20, 20, 6, (0, 4))])
    assert stage.verdict == "A moves by 0.0 px; B moves by 4.0 px"
    assert "error of" not in stage.state


def test_who_is_never_seen_breaks_nothing(scene):
    nobody = np.full_like(scene.truth, np.nan)
    stage = Stage(BODY, [scene], lambda *_: {"A": nobody})
    assert "nan" not in stage.verdict and "A" not in stage.verdict


def test_the_state_comes_back_as_json_and_wrong_ones_are_refused(scene):
    stage = Stage(BODY, [scene], ask)
    stage.choose(brush=[patch(1, 10, 5, (0, 4))], size=9)
    again = Stage(BODY, [scene], ask, state=stage.permalink())
    assert again.state == json.loads(json.dumps(stage.state)) and again.data == stage.data
    with pytest.raises(UnknownName, match="colour"):
        stage.choose(colour=3)
    with pytest.raises(BadParameter, match="from 4"):
        stage.choose(size=1)
    with pytest.raises(UnknownName, match="all joints"):
        stage.choose(**{"error of": "tail"})


def test_a_page_s_answers_are_the_kernel_s(scene):
    stage = Stage(BODY, [scene], ask, grid=2)
    before = stage.data
    stored = stage.kept()["values"]["stored"]
    assert stage.data == before and len(stored) == 3  # two on the grid, and no paint
    stage.choose(**stored[1]["state"])
    assert stored[1]["verdict"] == stage.verdict and stored[1]["tabs"] == stage.tabs


def test_another_clip_has_its_own_length_and_pictures(scene):
    short = Scene(scene.frames[:3], scene.truth[:3], scene.visibility[:3], name="short")
    stage = Stage(BODY, [scene, short], ask)
    assert len(stage.picture_ends) == T
    stage.choose(clip="short")
    frame = next(control for control in stage.controls if control["name"] == "frame")
    assert frame["high"] == 2 and stage.last_frame == 2 and len(stage.picture_ends) == 3


def test_no_frames_are_refused():
    with pytest.raises(BadParameter, match="no frames"):
        Stage(BODY, [])


# --- people over time


def people(rng, confidence):
    xy = rng.uniform(5, 25, (3, 17, 2))
    boxes = np.tile([0.0, 0, 30, 30], (3, 1))
    return Detections(
        "coco17", xy, confidence, boxes, frames=np.array([0, 1, 1]), tracks=np.array([4, 4, 7])
    )


def test_people_stand_by_frame_and_track(rng):
    confidence = np.ones((3, 17))
    confidence[0, 5] = 0
    found = people(rng, confidence)
    xy = over_time(found, T)
    assert xy.shape == (T, 2, 17, 2) and np.isnan(xy[2:]).all() and np.isnan(xy[0, 1]).all()
    np.testing.assert_array_equal(xy[1, 1], found.xy_frame[2])
    assert np.isnan(xy[0, 0, 5]).all() and np.isfinite(xy[0, 0, 4]).all()
    replaced = np.zeros((3, 17), bool)
    replaced[0, 5] = True
    refined = Prediction("coco17", found.xy_frame, confidence, replaced, "port", found)
    assert np.isfinite(over_time(refined, T)[0, 0, 5]).all(), "a refiner has put it somewhere"


def test_a_detector_does_not_see_through_paint(rng):
    found = people(rng, np.ones((3, 17)))
    x, y = found.xy_frame[1, 3]
    mask = covered([patch(x, y, 3, (1, 1))], (W, H), T)
    seen = without_covered(found, mask)
    assert seen.confidence[1, 3] == 0 and seen.confidence[0].all()
    assert found.confidence.all()


def test_distances_of_what_both_have():
    one = np.array([[0.0, 0], [3, 4], [np.nan, 1]])
    assert apart(one, np.zeros_like(one)) == 2.5 and np.isnan(apart(one[2:], one[2:]))


def test_without_a_brush_a_page_answers_whose_error_is_drawn(scene):
    stage = Stage(BODY, [scene], ask, paints=False)
    asked = [change["error of"] for change in stage.asks()]
    assert asked == ["all joints", *BODY.joints]
    curve = stage.curve(stage.state, stage.compute(stage.state))
    assert "paint" not in stage.verdict + curve.title
    assert not list(Stage(BODY, [scene], paints=False).asks())  # labels alone: no errors
