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
from workbench.predict import doubted
from workbench.skeletons import skeleton
from workbench.view.chapters import own_video
from workbench.view.panels import HIDDEN, NEWLY_HIDDEN, NOTHING, VISIBLE
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
    return rendered.frames, doubted.answer(refiner, rendered.frames, people, 0.4), truth


def test_port_wins_in_the_first_case_and_loses_a_joint_in_the_second_by_the_rule(clip):
    frames, refined, truth = clip
    found = refined.detections
    use = refined.replaced & truth.labelled
    before = joint_distances(found.xy_frame, truth.xy_frame)
    after = joint_distances(refined.xy_frame, truth.xy_frame)
    tall = np.ptp(found.boxes_xyxy[:, 1::2], axis=1)
    enough = np.flatnonzero(refined.replaced.sum(1) >= doubted.LEAST).tolist()
    (best, worst), many = doubted.chosen(refined, truth)
    assert many == len(enough)
    nearer = {i: ((before - after)[i][use[i]] >= tall[i] / 20).sum() for i in enough}
    left = {i: after[i][use[i]].sum() / before[i][use[i]].sum() for i in enough if nearer[i] >= 3}
    assert left[best] == min(left.values())
    assert after[best][use[best]].mean() < before[best][use[best]].mean() / 2, "it wins clearly"
    rise = {i: ((after - before)[i][use[i]] / tall[i]).max() for i in enough}
    assert rise[worst] == max(rise.values()) > 0.1, "a joint is lost"
    helps, lost = own_video.trick(frames, refined, "PORT", truth).cases
    shown = f"{before[best][use[best]].mean():.1f} → {after[best][use[best]].mean():.1f} px"
    assert helps["steps"][-1]["title"] == f"PORT: error of the doubted joints {shown}"
    assert f"(here {nearer[best]})" in helps["rule"]
    assert shown in helps["rule"] and f"of {many} poses" in helps["rule"]
    assert helps["rule"].startswith("Chosen because PORT helps it most")
    j = int(np.where(use[worst], (after - before)[worst], -np.inf).argmax())
    name = skeleton("coco17").joints[j].replace("_", " ")
    ends = f"{before[worst, j]:.1f} → {after[worst, j]:.1f} px"
    assert lost["steps"][-1]["title"] == f"PORT: error of the {name} {ends}"
    assert "a joint is carried farthest" in lost["rule"]
    assert f"this is in frame {found.frames[worst]}." in lost["rule"]


def test_without_truth_they_are_those_that_move_most_and_least(clip):
    frames, refined, _ = clip
    moves = joint_distances(refined.xy_frame, refined.detections.xy_frame)
    enough = np.flatnonzero(refined.replaced.sum(1) >= doubted.LEAST).tolist()
    mean = {i: moves[i][refined.replaced[i]].mean() for i in enough}
    (most, least), _ = doubted.chosen(refined)
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
    (best, _), _ = doubted.chosen(refined, truth)
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
    assert file.words.startswith("The estimator says")
    mine = own_video.Told(frames, refined.select([best]), "HANet", None)
    assert mine.file("file").words.startswith("Your file says")
    assert mine.doubt("doubt").title == "Which joints are placed anew"
    assert "mark added" not in mine.method("method").words


def test_missing_joints_are_not_drawn(clip):
    _, refined, _ = clip
    one = refined.select([0])
    confidence = one.detections.confidence.copy()
    confidence[0, 3] = 0
    lost = replace(one, detections=replace(one.detections, confidence=confidence))
    told = own_video.Told(clip[0], lost, "PORT", None)
    assert np.isnan(told.before().xy[3]).all()
    assert np.isfinite(told.before().xy).sum() == 2 * 16


def test_one_person_is_shown_close_and_the_exercise_counts_its_frame_alone():
    stage = explore(["port"], delta=0.4, person=1, frame=3, size_px=9)
    both = explore(["port"], delta=0.4)
    found = stage.compute(stage.state)
    for name, xy in found.answers.items():
        np.testing.assert_array_equal(xy, both.plain[0][name][:, [1]])
    assert "none of this person's joints" in stage.say(stage.state, found)
    xy = found.plain["detector"][3, 0]
    plain, score = found.plain["PORT"][3, 0], {}
    for j, (x, y) in enumerate(xy.round()):
        state = stage.state | {"brush": [patch(x, y, 9, (0, 9))]}
        score[j] = np.linalg.norm(stage.compute(state).answers["PORT"][3, 0, j] - plain[j])
    np.testing.assert_allclose(stage.one_by_one(), list(score.values()))
    j = max(score, key=score.get)
    assert score[j] > 1
    state = stage.state | {"brush": [patch(*xy[j].round(), 9, (0, 9))]}
    found = stage.compute(state)
    assert own_video.spoken(stage.kin)[j] in stage.say(state, found)
    later = own_video.OnePerson(stage.kin, stage.clips, stage.ask, first=2, frame=3)
    assert later.say(later.state, later._found).startswith("Frame 5:"), "as the video counts"
    assert set(later.declared) == {"size", "brush"}, "one frame counts, and is shown alone"
    truth = plain + np.array([30.0, 40.0])
    truth[0] = np.nan
    stage.judge_by(truth)
    off = np.linalg.norm(found.answers["PORT"][3, 0, j] - truth[j])
    np.testing.assert_allclose(stage.away(found.plain, found)[1:], 50)
    assert np.isnan(stage.one_by_one()[0]) and stage.one_by_one()[j] == pytest.approx(off - 50)
    assert "from the truth; without paint 50.0 px" in stage.say(state, found)
    other = stage.state | {"brush": [patch(*xy[j].round(), 9, (5, 9))]}
    said = stage.say(other, stage.compute(other))
    assert "none of this person's joints" in said, "another frame does not count"
    first, second = stage.draw(state, found)["stage"][0]
    for panel in (first, second):
        real = panel.people[0]
        assert real.marks[j] == NEWLY_HIDDEN, "the diamond is the truth"
        np.testing.assert_array_equal(real.xy, truth)
    assert np.isnan(first.people[1].xy[j]).all(), "what is covered is lost"
    assert not len(first.arrows[0].ends)
    end = np.concatenate((found.answers["PORT"][3, 0, j], truth[j]))
    assert np.isclose(second.arrows[0].ends[:, :4], end).all(1).any()
    assert [panel.people[1].name for panel in (first, second)] == ["the estimator", "PORT"]
    corner = stage.state | {"brush": [patch(-5, -5, 4, (0, 5))]}
    said = stage.say(corner, stage.compute(corner))
    assert "none of this person's joints" in said, "no joint lies there"


@pytest.fixture(scope="module")
def bench(clip):
    frames, refined, truth = clip
    names = ("it helps", "a good joint lost")
    people = dict(zip(names, doubted.chosen(refined, truth)[0]))
    port = load("port", skeleton="coco17")
    return own_video.Doubt(port, frames, refined.detections, truth, people=people)


def test_the_bench_shows_what_delta_doubts_and_does_to_the_error(clip, bench):
    _, refined, truth = clip
    row = bench.rows["it helps"]
    bench.choose(person="it helps", delta=0.4)
    found = bench._found
    np.testing.assert_array_equal(found.refined.replaced[0], refined.replaced[row])
    np.testing.assert_allclose(found.refined.xy_frame[0], refined.xy_frame[row])
    tabs = bench.draw(bench.state, found)
    (((picture, lines, everybody),), ((confidence,),)) = tabs.values()
    before, after = picture.people[-2:]
    assert (before.marks == np.where(refined.replaced[row], HIDDEN, VISIBLE)).all()
    np.testing.assert_allclose(after.xy, refined.xy_frame[row])
    dots, one = everybody.lines
    known = truth.labelled
    px = [
        (joint_distances(each.xy_frame, truth.xy_frame) * known).sum(1) / known.sum(1)
        for each in (refined.detections, refined)
    ]
    np.testing.assert_allclose(dots.x, px[0], rtol=1e-5)
    np.testing.assert_allclose(dots.y, px[1] - px[0], atol=1e-3)
    assert (one.x == dots.x[row]).all() and one.y.tolist() == [0, dots.y[row]]
    worse = (dots.y > 0).sum()
    assert f"{(dots.y < 0).sum()} are better than before, {worse} worse" in bench.verdict
    below = refined.detections.confidence[row] < 0.4
    assert [bar.mark == "✕" for bar in confidence.bars] == below.tolist()
    curves = {line.name: line.y for line in lines.lines}
    at = doubted.DELTAS.index(0.4)
    away = {
        n: each.xy_frame[row]
        for n, each in (("PORT", refined), ("the estimator", refined.detections))
    }
    for name, xy in away.items():
        px = np.linalg.norm(xy - truth.xy_frame[row], axis=1)[truth.labelled[row]].mean()
        assert curves[name][at] == pytest.approx(px, rel=1e-4)
    assert np.ptp(curves["the estimator"]) == 0 and lines.cursor == "delta"
    first = lines.y_range
    assert f"{curves['the estimator'][at]:.1f} → {curves['PORT'][at]:.1f} px" in bench.verdict
    bench.choose(delta=1.0)
    assert "no neighbour is left" in bench.verdict, "the control can do nothing then"
    bench.choose(delta=0.0, person="a good joint lost")
    assert "0 of 17 joints" in bench.verdict and "no neighbour" not in bench.verdict
    assert bench.draw(bench.state, bench._found)["doubt"][0][1].y_range == first, "one axis for all"
    assert len(list(bench.asks())) == 3 * 21
    kept = bench.kept()["values"]["stored"]
    assert all("pictures" not in answer for answer in kept), "a page has them once"


def test_the_exercise_is_to_doubt_neither_too_little_nor_too_much(bench):
    px = bench.curves["PORT"]
    row = bench.rows[own_video.BETWEEN]
    tall = np.ptp(bench.answers[0.0].detections.boxes_xyxy[:, 1::2], axis=1)
    assert row == int(((px[-1] - px.min(0)) / tall).argmax())
    scores = {}
    for state in bench.asks():
        score = bench.left(state, bench.compute(state))
        assert np.isnan(score) == (state["person"] != own_video.BETWEEN)
        if np.isfinite(score):
            scores[state["delta"]] = score
    np.testing.assert_allclose(list(scores.values()), px[:, row])
    everybody = bench.answers[1.0]
    said = doubted.all_doubted(px, everybody, bench.truth)
    use = everybody.replaced & bench.truth.labelled
    before, after = (
        joint_distances(each.xy_frame, bench.truth.xy_frame)
        for each in (everybody.detections, everybody)
    )
    broken = use & (before > 0.1 * tall[:, None])
    for part in (broken, use & ~broken):
        assert f"{part.sum()}: {before[part].mean():.1f} → {after[part].mean():.1f} px" in said
    worse = px[-1] - px[0]
    assert f"in {(worse > 0).sum()} of {len(worse)} poses, by at most {worse.max():.1f} px" in said
    costs, mean = doubted.cost(px, everybody, bench.truth), px.mean(1)
    assert "doubting too much costs little" in costs and mean[-1] < 1.1 * mean.min() < mean[0]
    for at in (mean.min(), mean[-1], mean[0]):
        assert f"{at:.1f} px" in costs
    i, j = np.unravel_index(np.where(use, after - before, -np.inf).argmax(), use.shape)
    name = skeleton("coco17").joints[j].replace("_", " ")
    assert f"{name} {before[i, j]:.1f} → {after[i, j]:.1f} px" in costs
    one = doubted.this_one(px[:, row])
    assert f"({px[:, row].min():.1f} px), {px[-1, row]:.1f} px where all are" in one
    reached = [d for d, score in scores.items() if score <= np.ceil(px[::2, row].min())]
    assert 0 < min(reached) and max(reached) < 1 and len(reached) < 5


def test_without_truth_the_bench_says_how_far_joints_move(clip):
    frames, refined, _ = clip
    port = load("port", skeleton="coco17")
    bench = own_video.Doubt(port, frames, refined.detections, people={"moved most": 3})
    assert list(bench.rows) == ["moved most"]
    bench.choose(delta=1.0)
    assert "17 of 17 joints" in bench.verdict and "px on average" in bench.verdict
    ((_, lines),) = bench.draw(bench.state, bench._found)["doubt"]
    assert [line.name for line in lines.lines] == ["PORT"] and lines.lines[0].y[0] == 0


def test_the_first_step_shows_what_the_file_says_alone(clip):
    frames, refined, truth = clip
    for case in own_video.trick(frames, refined, "PORT", truth).told.values():
        for panel in case.steps[0].panels:
            (only,) = panel.people
            assert only.role == "detector" and set(np.unique(only.marks)) <= {NOTHING, VISIBLE}
        every = bool(case.steps[1].words.startswith("PORT places 17 of 17"))
        assert ("All joints are doubted" in case.steps[-1].words) == every
        assert ("PORT sees no picture" in case.steps[-1].words) != every


def test_of_boxes_alone_the_answer_is_what_was_found(clip):
    frames, refined, _ = clip
    one = refined.detections.select([0])
    nothing = replace(one, xy_frame=0 * one.xy_frame, confidence=0 * one.confidence)
    estimator = load("vissimcc-baseline")
    answer = doubted.answer(estimator, frames[:1], nothing, None)
    assert not answer.replaced.any()
    np.testing.assert_array_equal(answer.detections.xy_frame, answer.xy_frame)
    assert (answer.detections.confidence > 0).any() and answer.xy_frame.any()
    assert doubted.answer(estimator, frames[:1], one, None).replaced.all()
