"""Five methods under one brush: each answers as its own predictor does, the case follows its rule,
and what a page stores is small.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import workbench
from workbench import geometry
from workbench.errors import BadParameter, UnknownName
from workbench.predict import refine_people
from workbench.predict.sequences import refine_tracks
from workbench.view.chapters import hide
from workbench.view.chapters.hide import (
    ALL,
    ALL_AWAY,
    AWAY,
    BREAKS,
    JOINTS,
    NOTHING_AWAY,
    OFF,
    ONE,
    RECOVERS,
    SHARED,
    SIDES,
)
from workbench.view.panels import NEWLY_HIDDEN, NOTHING
from workbench.view.stage import NAMES, painted, patch, without_covered


@pytest.fixture(scope="module")
def explorer():
    return workbench.explore("hide")


@pytest.fixture(scope="module")
def case(explorer):
    return explorer.case


@pytest.fixture(scope="module")
def mask(explorer, case):
    """The first wrist under paint in all frames."""
    return mask_of(explorer, ALL)


def mask_of(explorer, span):
    brush = json.dumps([explorer.patch(explorer.case.joint)])
    return np.stack([explorer.mask(brush, span, t) for t in range(len(explorer.case.frames))])


@pytest.fixture(scope="module")
def answers(explorer, mask):
    return explorer.answers(mask)


# --- who answers


def test_joints_under_paint_are_missing_for_port_as_from_its_own_door(explorer, mask, answers):
    key = explorer.case.key
    seen = without_covered(explorer.contest.people, mask)
    assert seen.confidence[key, JOINTS.index(explorer.case.joint)] == 0
    port = explorer.contest.predictors["port"].fitted(explorer.contest.people)
    found = refine_people(port, seen.select([key]), missing_alone=True)
    assert np.allclose(answers["PORT"].xy[SHARED], found.xy_frame[0, SHARED], atol=1e-3)
    assert np.isnan(answers["PORT"].bare[JOINTS.index(explorer.case.joint)]).all(), "no joint left"


def test_hanet_answers_as_from_its_own_door(explorer, mask, answers):
    key = explorer.case.key
    seen = without_covered(explorer.contest.people, mask)
    found = refine_tracks(explorer.contest.predictors["hanet"], seen)
    known = np.isfinite(answers["HANet"].xy).all(1)
    assert known.sum() == 12, "the limbs"
    assert np.allclose(answers["HANet"].xy[known], found.xy_frame[key, known], atol=1e-2)
    assert np.isnan(answers["HANet"].bare).all(), "one frame is no track"


def _frames(case, mask, numbers):
    return np.stack([painted([case.frames[t]], mask[[t]])[0] for t in numbers])


def test_vissimcc_answers_as_from_its_own_door(explorer, case, mask, answers):
    single = copy.copy(explorer.contest.predictors["vissimcc"])
    single.mirror = False
    (frame,) = _frames(case, mask, [case.key])
    found = single.estimate(frame, case.boxes_xyxy[[case.key]])
    assert np.allclose(answers["VisSimCC"].xy[SHARED], found.xy_frame[0, SHARED], atol=1e-3)
    down = {"reasoning.mask": lambda own: torch.full_like(own, single.model.config.hidden)}
    crops, affine = single.crops(frame, case.boxes_xyxy[[case.key]])
    looked, _ = single.look(images=crops, names=[*down], edit=down)
    xy = single.model.decode(looked)[0].cpu().numpy().astype(float)
    own = geometry.apply(geometry.invert(affine[0]), xy)[0]
    assert np.allclose(answers["VisSimCC"].bare[SHARED], own[SHARED], atol=1e-2)


def test_otpose_answers_as_from_its_own_door_and_without_the_others(explorer, case, mask, answers):
    clip, key = explorer.contest.predictors["otpose"], case.key
    box, near = case.boxes_xyxy[[key]], [key - 2, key - 1, key, key + 1, key + 2]
    for found, numbers in (
        (answers["OTPose"].xy, near),
        (answers["OTPose"].bare, [key] * 5),
    ):
        own = clip.estimate(_frames(case, mask, numbers), box, numbers=near).xy_frame[0]
        for j in SHARED:
            theirs = own[clip.skeleton.index(JOINTS.joints[j])]
            assert np.allclose(found[j], theirs, atol=1e-3)


def test_stdpose_is_told_labels_of_both_sides_and_then_of_none(explorer, case, mask, answers):
    between, key = explorer.contest.predictors["stdpose"], case.key
    sides = [key - SIDES, key, key + SIDES]
    parts = [between.crops(f, case.boxes_xyxy[[key]]) for f in _frames(case, mask, sides)]
    affine = parts[0][1]
    labels, weights = np.zeros((1, 2, 15, 2), np.float32), np.zeros((1, 2, 15), np.float32)
    for j, name in enumerate(between.skeleton.joints):
        if name in JOINTS.joints:
            at = JOINTS.index(name)
            labels[0, :, j] = geometry.apply(affine, case.xy[sides[::2], at])
            weights[0, :, j] = case.visibility[sides[::2], at] > 0
    for name, told in (("xy", (1, 1)), ("bare", (0, 0))):
        with between.inference():
            found = between.model(
                images=torch.stack([part for part, _ in parts], 1),
                auxiliary_xy_crop=torch.from_numpy(labels),
                auxiliary_weights=torch.from_numpy(weights * np.array(told)[:, None]).float(),
                distance=torch.full((1, 2), float(SIDES)),
            )
        own = geometry.apply(geometry.invert(affine), between.model.decode(found)[0].numpy())[0]
        ours = getattr(answers["STDPose"], name)
        for j in SHARED:
            at = between.skeleton.index(JOINTS.joints[j])
            assert np.allclose(ours[j], own[at], atol=1e-2), name


def test_unpainted_frames_are_looked_at_once(explorer, case, monkeypatch):
    clip, looked = explorer.contest.predictors["otpose"], []
    monkeypatch.setattr(
        clip.model.maps,
        "forward",
        lambda x, own=clip.model.maps.forward: looked.append(1) or own(x),
    )
    for _ in range(2):
        explorer.answers(mask_of(explorer, ONE))
    assert len(looked) == 2, "the painted frame alone"


# --- the explorer


def test_it_begins_with_the_wrist_under_paint_and_says_who_breaks(explorer, case):
    assert explorer.state["brush"] == [explorer.patch(case.joint)]
    assert explorer.state["paint in"] == ONE
    first, second, *_ = explorer.verdict.splitlines()
    assert first.startswith(f"In frame {case.key} paint covers the {case.joint.replace('_', ' ')};")
    for row in explorer._found.rows:
        outcome = explorer.outcome(row)
        assert row.name in second.partition(outcome)[2].partition(" · ")[0]
    assert "synthetic" in explorer.notes and "px" in explorer.notes


def test_paint_in_all_frames_follows_the_joint_and_no_frame_shows_it(explorer, case, mask):
    at = JOINTS.index(case.joint)
    for t, (x, y) in enumerate(np.rint(case.xy[:, at]).astype(int)):
        inside = 0 <= y < case.size_wh[1] and 0 <= x < case.size_wh[0]
        assert not inside or mask[t, y, x], f"frame {t} shows it"
    alone = mask_of(explorer, ONE)
    assert alone[case.key].any() and not np.delete(alone, case.key, 0).any()
    assert (alone[case.key] == mask[case.key]).all()
    brush = [explorer.patch(case.joint)]
    found = explorer.compute({"brush": brush, "paint in": ALL})
    assert "no frame shows it" in explorer.say({AWAY: NOTHING_AWAY}, found)
    before = explorer.under(json.dumps(brush), ONE).rows
    changed = {row.name for row, old in zip(found.rows, before) if row.now != old.now}
    assert changed == {"HANet", "OTPose", "STDPose"}, "who looks at other frames"
    shown = explorer.draw({"brush": brush, "paint in": ALL, AWAY: NOTHING_AWAY}, found)
    ((stage,), *_), ((first, last),) = shown.values()
    for panel, t in ((first, case.key - SIDES), (last, case.key + SIDES)):
        seen = painted([case.frames[t]], mask[[t]])[0]
        assert panel.at == t and (panel.frames[0] == seen).all()
    assert stage.brush and (stage.frames[0] == case.frames[case.key]).all(), (
        "painted by the browser"
    )


def test_a_joint_that_is_hidden_anyway_has_the_diamond_of_the_paint_too(explorer, case):
    left = JOINTS.index("left_knee")
    assert case.visibility[case.key, left] == 1, "hidden without paint"
    state = {"brush": [explorer.patch("right_knee")], "paint in": ONE, AWAY: NOTHING_AWAY}
    found = explorer.compute(state)
    assert found.hidden[left] and "left knee" in explorer.say(state, found)
    ((stage,), *_) = explorer.draw(state, found)["answers"]
    assert stage.people[0].marks[left] == NEWLY_HIDDEN
    assert "at least one of them." in explorer.say(state, found)


def test_without_what_may_help_the_same_is_shown_for_each(explorer, case):
    state = {"brush": [explorer.patch(case.joint)], "paint in": ONE}
    found = explorer.compute(state)
    panels = {
        away: [
            panel for row in explorer.draw(state | {AWAY: away}, found)["answers"] for panel in row
        ]
        for away in hide.TAKEN
    }
    for i, row in enumerate(found.rows):
        for away, (_, *answers, _) in panels.items():
            gone = away in (row.source, ALL_AWAY)
            xy = row.bare if gone else row.xy
            assert np.array_equal(answers[i].people[1].xy, xy, equal_nan=True)
            assert answers[i].title.startswith(hide.OUTCOMES[explorer.outcome(row, away)])
            assert answers[i].title.endswith(f"{'without' if gone else 'has'} {row.source}")
    for away, (*_, errors) in panels.items():
        px = [explorer.px(row, away) for row in found.rows]
        assert np.array_equal([bar.value for bar in errors.bars], np.round(px, 1), equal_nan=True)
        assert errors.range == (0, 0.25 * case.height), "one axis for all"
        for bar, row in zip(errors.bars, found.rows):
            assert bar.ends == (row.before + explorer.limit,) * 2
            breaks = bar.mark == hide.OUTCOMES[BREAKS]
            assert breaks != (bar.value <= bar.ends[0]), "the tick is where a method breaks"
    words = explorer.say(state | {AWAY: ALL_AWAY}, found)
    assert all(f"{row.source} (" in words and row.name in words for row in found.rows)
    words = explorer.say(state | {AWAY: "both labels"}, found)
    assert "Gone: both labels (STDPose)" in words and "other" not in words


def test_the_exercise_is_reached_by_the_paint_that_fewest_survive(explorer):
    explorer.fewest()
    assert f"({len(SHARED)} joints, one frame or all)?" in explorer.goal
    assert "Not yet" in explorer.goal
    states = [ask for ask in explorer.asks() if ask["brush"] and ask[AWAY] == NOTHING_AWAY]
    counts = [len(explorer.holding(explorer.compute(state))) for state in states]
    assert min(counts) < len(explorer.holding(explorer._found))
    best = states[int(np.argmin(counts))]
    said = explorer.judge(best, explorer.compute(best))
    assert "Reached: only" in said and f"the goal: {min(counts)}." in said
    assert "Paint first" in explorer.judge(best, explorer.compute(best | {"brush": []}))
    assert "Not counted" in explorer.judge(best | {AWAY: "other frames"}, explorer.compute(best))


def test_joints_at_which_a_method_holds_are_counted(explorer):
    counts = {}
    for j in SHARED:
        for row in explorer.rows(JOINTS.joints[j], ALL):
            counts[row.name] = counts.get(row.name, 0) + (explorer.outcome(row) == RECOVERS)
    assert explorer.held(ALL) == counts and len(explorer.tried) == len(SHARED)
    once = explorer.held(ONE)
    alone = {name: once[name] - counts[name] for name in ("PORT", "VisSimCC")}
    assert set(alone.values()) == {0}, "who reads one frame alone cannot notice others"
    assert explorer.held(ONE, ALL_AWAY)["HANet"] == 0


def test_what_makes_no_difference_and_what_nothing_shows_is_said(explorer, case):
    brush = [explorer.patch(case.joint)]
    found = explorer.compute({"brush": brush, "paint in": ONE})
    for span, away, said in (
        (ONE, ALL_AWAY, "40 of the 41 frames show it. Gone: "),
        (ONE, ALL_AWAY, "No difference to STDPose: the pictures suffice here."),
        (ALL, ALL_AWAY, "no frame shows it. Gone: "),
        (ALL, ALL_AWAY, "No difference to STDPose:"),  # OTPose breaks with help and without
    ):
        found = explorer.compute({"brush": brush, "paint in": span})
        assert said in explorer.say({AWAY: away}, found)
    found = explorer.compute({"brush": [explorer.patch("right_elbow")], "paint in": ALL})
    said = explorer.say({AWAY: NOTHING_AWAY}, found)
    hanet = {row.name: row.now - row.before for row in found.rows}["HANet"]
    assert f"no frame shows it. HANet's error rises by {hanet:.1f} px and OTPose's" in said
    assert f"a rise of {explorer.limit:.1f} px still counts as holding." in said


def test_paint_beside_every_joint_stays_where_it_is(explorer):
    stroke = patch(2, 2, 4, (0, 40))
    assert (
        explorer.led(stroke, 0)["points"] == stroke["points"] == explorer.led(stroke, 40)["points"]
    )


def test_an_error_is_of_the_covered_joints_alone(explorer, case):
    at = JOINTS.index(case.joint)
    (row,) = [row for row in explorer._found.rows if row.name == "OTPose"]
    by_hand = np.linalg.norm(row.xy[at] - case.xy[case.key, at])
    assert row.now == pytest.approx(by_hand)
    (same,) = [row for row in explorer.rows(case.joint) if row.name == "OTPose"]
    assert same.now == pytest.approx(by_hand)
    (off,) = explorer.off(row.xy, explorer._found.hidden)
    assert off.ends[0, :4] == pytest.approx([*row.xy[at], *case.xy[case.key, at]])


def test_outcomes_are_of_what_the_paint_adds(explorer):
    limit, height = explorer.limit, explorer.case.height
    assert limit == pytest.approx(0.05 * height)
    nowhere = np.zeros((17, 2))
    row = hide.Row("x", nowhere, 1.0, 1.0, "labels", nowhere, limit + 1.1)
    outcomes = [
        explorer.outcome(replace(row, now=now, before=before))
        for now, before in ((limit + 0.9, 1.0), (limit + 1.1, 1.0), (0.0, 0.11 * height))
    ]
    assert outcomes == [RECOVERS, BREAKS, OFF]
    assert explorer.outcome(replace(row, now=float("nan"))) == BREAKS
    assert (explorer.outcome(row), explorer.outcome(row, ALL_AWAY)) == (RECOVERS, BREAKS)


def test_panels_show_everybody_in_the_asked_frame(explorer, case):
    ((stage,), *rows), ((first, last),) = explorer.draw(explorer.state, explorer._found).values()
    *below, added = [panel for row in rows for panel in row]
    assert stage.brush and len(added.bars) == 5
    assert [panel.people[1].name for panel in below] == [*NAMES.values()]
    at = JOINTS.index(case.joint)
    for panel in below:
        truth, ours = panel.people
        assert panel.at == case.key and panel.brush and ours.xy.shape == (17, 2)
        assert truth.marks[at] == NEWLY_HIDDEN
        assert truth.marks[JOINTS.index("left_eye")] == NOTHING, "which not all five know"
        x0, y0, x1, y1 = panel.box
        assert x1 - x0 < 0.75 * case.height, "close to the joint"
        for x, y in (ours.xy[at], case.xy[case.key, at]):
            assert x0 < x < x1 and y0 < y < y1
    assert {first.at, last.at} == {case.key - SIDES, case.key + SIDES}


def test_slides_say_what_their_numbers_are(explorer):
    ((shown,),) = [explorer.slides().values()]
    said = [slide["words"] for slide in shown["slides"][1:]]
    for words, row in zip(said, explorer._found.rows):
        mark = hide.OUTCOMES[explorer.outcome(row)]
        assert words == f"{mark} {row.name}: off by {row.now:.1f} px"
    assert len(said) == len(NAMES)


def test_paint_beside_the_person_hides_nothing(explorer):
    far = [patch(2, 2, 4, (0, 40))]
    found = explorer.compute({"brush": far, "paint in": ONE})
    assert not found.hidden.any()
    assert explorer.say({}, found).startswith("Nothing of the person is under paint")
    none = explorer.compute({"brush": [], "paint in": ALL})
    assert [row.now for row in none.rows] == [row.before for row in none.rows]


def test_a_page_answers_over_every_joint_in_one_frame_and_in_all(explorer, case):
    asked = list(explorer.asks())
    first = {"brush": [], "paint in": ONE, AWAY: NOTHING_AWAY}
    assert len(asked) == 2 * len(hide.TAKEN) * 14 and asked[0] == first
    kept = explorer.kept()
    stored = kept["values"]["stored"]
    assert len(stored) == len(asked)
    assert all("pictures" not in answer for answer in stored), "which the page has once"
    assert len(json.dumps(kept)) < 6e6
    assert len({answer["verdict"] for answer in stored}) > 30


def test_only_its_own_clip_is_shown_and_the_remedy_names_the_way(tmp_path):
    for given in ({"weights": "x.safetensors"}, {"made": 3}):
        with pytest.raises(BadParameter, match=r"explore\(\['port', 'otpose'\], video"):
            workbench.explore("hide", **given)
    with pytest.raises(UnknownName):
        workbench.explore(["hide", "port"])
