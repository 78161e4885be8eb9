"""Chapter 08's views: which cases are shown by which rule, with truth and without; what the
exercise measures; boxes alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench import load
from workbench.data.tracks import poses_of
from workbench.exploration import explore
from workbench.made.noise import DetectorNoise
from workbench.made.worlds import WORLDS, sample_clip
from workbench.metrics import joint_distances
from workbench.view.chapters import own_video
from workbench.view.chapters.port import PortExplorer
from workbench.view.panels import NEWLY_HIDDEN, NOTHING, VISIBLE
from workbench.view.stage import patch


@pytest.fixture(scope="module")
def clip():
    """The chapter's clip: frames, what PORT makes of a simulated estimator, and the truth."""
    world = replace(
        WORLDS["synthetic"], name="your_video", size_wh=(640, 480), n_frames=30, people=(3, 3)
    )
    rendered = sample_clip(world, "test", 2)
    truth, frame = poses_of(rendered.clip)
    noise = DetectorNoise(scale=DetectorNoise.scale / 2)
    people = noise.apply(truth, np.random.default_rng(0))
    people = replace(people, frames=frame, tracks=np.arange(len(truth)) % 3)
    refiner = load("port", skeleton="coco17")
    return rendered.frames, own_video.answer(refiner, rendered.frames, people, 0.4), truth


def test_port_wins_in_the_first_case_and_loses_in_the_second_by_the_rule(clip):
    frames, refined, truth = clip
    use = refined.replaced & truth.labelled
    before = joint_distances(refined.detections.xy_frame, truth.xy_frame)
    after = joint_distances(refined.xy_frame, truth.xy_frame)
    enough = np.flatnonzero(refined.replaced.sum(1) >= own_video.LEAST)
    left = {i: after[i][use[i]].sum() / before[i][use[i]].sum() for i in enough.tolist()}
    (best, worst), many = own_video.chosen(refined, truth)
    assert many == len(left)
    assert left[best] == min(left.values()) < 0.5, "it wins clearly"
    assert left[worst] == max(left.values()) > 1.0, "it loses"
    helps, harms = own_video.trick(frames, refined, "PORT", truth).cases
    assert helps["steps"][-1]["title"] == "Nearer to the truth"
    assert harms["steps"][-1]["title"] == "Further away from it"
    shown = f"{before[best][use[best]].mean():.1f} → {after[best][use[best]].mean():.1f} px"
    assert shown in helps["rule"] and f"found: {many} times" in helps["rule"]


def test_without_truth_they_are_those_that_move_most_and_least(clip):
    frames, refined, _ = clip
    moves = joint_distances(refined.xy_frame, refined.detections.xy_frame)
    enough = np.flatnonzero(refined.replaced.sum(1) >= own_video.LEAST).tolist()
    mean = {i: moves[i][refined.replaced[i]].mean() for i in enough}
    (most, least), _ = own_video.chosen(refined)
    assert mean[most] == pytest.approx(max(mean.values()))
    assert mean[least] == pytest.approx(min(mean.values()))
    stepper = own_video.trick(frames, refined, "PORT", data="street.mp4")
    assert [case["name"] for case in stepper.cases] == ["moved most", "moved least"]
    assert f"{mean[most]:.1f} px" in stepper.cases[0]["rule"]
    assert all("Nobody knows the truth" in case["rule"] for case in stepper.cases)
    assert all("street.mp4" in case["rule"] for case in stepper.cases)


def test_one_person_is_one_case_and_nobody_moved_is_said(clip):
    frames, refined, _ = clip
    one = refined.select([int(refined.replaced.sum(1).argmax())])
    still = replace(one, replaced=np.zeros_like(one.replaced))
    for each in (one, still):
        stepper = own_video.trick(frames, each, "PORT")
        (case,) = stepper.cases
        assert len(case["steps"]) == 4 and "nan" not in str(case)
    assert "not at all" in case["steps"][2]["words"]


def test_the_steps_show_who_was_replaced_and_how_far_it_moved(clip):
    frames, refined, truth = clip
    (best, _), _ = own_video.chosen(refined, truth)
    told = own_video.Told(frames, refined.select([best]), "PORT", truth.select([best]))
    file, doubt, method, back = told.steps
    replaced = refined.replaced[best]
    roles = [bar.role for bar in doubt.panels[1].bars]
    assert roles == ["hidden" if each else "soft" for each in replaced]
    values = [bar.value for bar in doubt.panels[1].bars]
    np.testing.assert_allclose(values, refined.detections.confidence[best])
    ends = method.panels[0].arrows[0].ends
    np.testing.assert_allclose(ends[:, 2:4], refined.xy_frame[best][replaced])
    assert file.panels[0].box is None and file.panels[1].box == told.box
    assert [panel.title for panel in back.panels[:2]] == ["before", "after"]
    assert doubt.title == "Which joints are doubted" and "mark added" in method.words
    assert file.words.startswith("The example file says")
    mine = own_video.Told(frames, refined.select([best]), "HANet", None)
    assert mine.file("file").words.startswith("Your file says")
    assert mine.doubt("doubt").title == "Which joints are placed anew"
    assert "mark added" not in mine.method("method").words


def test_before_and_after_leave_missing_joints_out(clip):
    frames, refined, _ = clip
    t = 11
    rows = np.flatnonzero(refined.detections.frames == t)
    confidence = refined.detections.confidence.copy()
    confidence[rows[0], 3] = 0
    lost = replace(refined, detections=replace(refined.detections, confidence=confidence))
    lost = replace(lost, replaced=np.where(confidence == 0, False, refined.replaced))
    before, after = own_video.before_after(frames, lost, t, "PORT")
    for panel in (before, after):
        assert np.isnan(panel.people[0].xy[0, 3]).all()
        assert np.isfinite(panel.people[0].xy).sum() == 2 * (len(rows) * 17 - 1)


def test_one_person_is_shown_close_and_the_exercise_counts_its_frame_alone():
    stage = explore(["port"], delta=0.4, person=1, frame=3, size_px=9)
    both = explore(["port"], delta=0.4)
    found = stage.compute(stage.state)
    for name, xy in found.answers.items():
        np.testing.assert_array_equal(xy, both.plain[0][name][:, [1]])
    assert stage.pulled(stage.state, found) == 0, "nothing is painted"
    xy = found.plain["detector"][3, 0]
    score = {}
    for j, (x, y) in enumerate(xy.round()):
        state = stage.state | {"brush": [patch(x, y, 9, (0, 9))]}
        score[j] = stage.pulled(state, stage.compute(state))
    assert own_video.within_reach(stage)[0][-1] == pytest.approx(max(score.values()))
    assert max(score.values()) > 1
    j = max(score, key=score.get)
    state = stage.state | {"brush": [patch(*xy[j].round(), 9, (0, 9))]}
    found = stage.compute(state)
    joint, px = stage.farthest(found)
    at = stage.kin.index(joint.replace(" ", "_"))
    assert np.abs(xy[at].round() - xy[j].round()).max() <= 5, "it lies under the patch"
    away = np.linalg.norm(found.answers["PORT"][3, 0, at] - found.plain["PORT"][3, 0, at])
    tall = np.ptp(found.plain["PORT"][3, 0, :, 1])
    assert px == pytest.approx(away) and score[j] == pytest.approx(100 * px / tall)
    assert joint in stage.say(state, found) and f"{px:.1f} px" in stage.say(state, found)
    other = stage.state | {"brush": [patch(*xy[j].round(), 9, (5, 9))]}
    assert stage.pulled(other, stage.compute(other)) == 0, "another frame does not count"
    first, second = stage.draw(state, found)["stage"][0]
    for panel in (first, second):
        assert panel.people[0].marks[3, 0, at] == NEWLY_HIDDEN and panel.rim == (3,)
    corner = stage.state | {"brush": [patch(-5, -5, 4, (0, 5))]}
    assert stage.pulled(corner, stage.compute(corner)) == 0, "no joint lies there"


def test_delta_is_one_and_the_exercise_with_it_can_be_done(clip):
    frames, refined, truth = clip
    (best, _), _ = own_video.chosen(refined, truth)
    found = refined.detections
    explorer = PortExplorer(
        load("port", skeleton="coco17").fitted(found),
        found,
        truth,
        pictures=[frames[t] for t in found.frames],
        index=best,
        state={"delta": 0.4},
    )
    assert explorer._found.mask.sum() == refined.replaced[best].sum(), "as in the steps"
    told = own_video.trick(frames, refined, "PORT", truth, delta=0.4).cases[0]["steps"][1]
    assert "delta = 0.40" in told["words"]
    explorer.set_goal(own_video.thrifty(explorer))
    goals = {}
    for change in explorer.asks():
        if "delta" in change and not change["hidden"]:
            state = explorer.state | change
            goals[change["delta"]] = explorer.judge(state, explorer.compute(state))
    reached = [delta for delta, words in goals.items() if words.endswith("Reached.")]
    assert 0 < len(reached) < 11 and not goals[0.0].endswith("Reached."), "not by doing nothing"
    assert "Not yet." in goals[1.0], "nor by doubting all joints"
    assert "still reads their old places" in goals[1.0]
    every = explorer.compute(explorer.state | {"delta": 1.0, "hidden": []})
    assert every.mask.all()
    small = (np.linalg.norm(every.refined - every.detected, axis=1) < 1).sum()
    assert f"{small} move by less than 1 px" in goals[1.0]
    assert "old places" not in goals[0.4]


def test_the_first_step_shows_what_the_file_says_alone(clip):
    frames, refined, truth = clip
    for case in own_video.trick(frames, refined, "PORT", truth).told.values():
        for panel in case.steps[0].panels:
            (only,) = panel.people
            assert only.role == "detector" and set(np.unique(only.marks)) <= {NOTHING, VISIBLE}
        assert "PORT sees no picture" in case.steps[-1].words


def test_of_boxes_alone_the_answer_is_what_was_found(clip):
    frames, refined, _ = clip
    one = refined.detections.select([0])
    nothing = replace(one, xy_frame=0 * one.xy_frame, confidence=0 * one.confidence)
    estimator = load("vissimcc-baseline")
    answer = own_video.answer(estimator, frames[:1], nothing, None)
    assert not answer.replaced.any()
    np.testing.assert_array_equal(answer.detections.xy_frame, answer.xy_frame)
    assert (answer.detections.confidence > 0).any() and answer.xy_frame.any()
    assert own_video.answer(estimator, frames[:1], one, None).replaced.all()
