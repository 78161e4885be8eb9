"""HANet's explorer without a browser: hand-checkable parts, and choices that change what is
computed, drawn and said.
"""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
import torch

from workbench import load
from workbench.errors import BadParameter
from workbench.made.motion import JOINTS, Sequence2D
from workbench.made.motion import sequences as made_sequences
from workbench.metrics import joint_distances
from workbench.models import build
from workbench.models.hanet import HANetConfig
from workbench.predict import SequenceRefiner
from workbench.view import exercises
from workbench.view.chapters import hanet
from workbench.view.chapters.hanet import HANetExplorer, Motion2D
from workbench.view.panels import HIDDEN, NEWLY_HIDDEN, VISIBLE

CONFIG = HANetConfig(interval=3, dim=8, levels=2, decoder_levels=1)
WRIST = JOINTS.index("right_wrist")


@pytest.fixture
def refiner():
    torch.manual_seed(3)
    return SequenceRefiner(build("hanet", CONFIG), 13)


@pytest.fixture
def sequences(rng):
    def made(name: str, t: int) -> Sequence2D:
        xy = rng.normal(150, 40, (1, len(JOINTS), 2)) + np.linspace(0, 20, t)[:, None, None]
        hidden = np.zeros((t, len(JOINTS)), bool)
        hidden[2:5, WRIST] = True
        return Sequence2D(name, xy, xy + rng.normal(0, 3, xy.shape), hidden)

    return [made("a/0", 17), made("b/0", 11)]


@pytest.fixture
def explorer(refiner, sequences):
    return HANetExplorer(refiner, sequences)


def drawn(explorer):
    """What was computed, and the panels: place, pose, velocity, offsets, errors."""
    found = explorer.compute(explorer.state)
    first, second = explorer.draw(explorer.state, found)["over time"]
    return found, [*first, *second]


def line(panel, name):
    return next(each for each in panel.lines if each.name == name)


# --- inside


def test_the_inside_adds_up_in_pixels(refiner, sequences):
    detected = sequences[0].detected[:13]
    inside = hanet.look_inside(refiner, detected)
    assert inside.read.tolist() == [0, 3, 6, 9, 12] and inside.offsets.shape == (3, 5, 15, 2)
    np.testing.assert_allclose(
        detected[inside.read] + inside.offsets.sum(0), inside.refined, atol=1e-3
    )
    np.testing.assert_allclose(inside.final, refiner.refine(detected), atol=1e-9)
    assert [m.shape for m in inside.maps.values()] == [
        (2, 4, 5, 5),
        (1, 4, 13, 13),
        (1, 4, 13, 5),
    ]


def test_a_sequence_shorter_than_the_window_shows_no_padding(refiner, sequences):
    inside = hanet.look_inside(refiner, sequences[1].detected)
    assert len(inside.final) == 11 and inside.read.tolist() == [0, 3, 6, 9]
    assert len(inside.refined) == 4
    for maps, shape in zip(inside.maps.values(), [(4, 4), (11, 11), (11, 4)]):
        assert maps.shape[2:] == shape
        np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-6)


def test_released_offsets_come_to_pixels_through_the_shared_map(sequences):
    model = build(
        "hanet", HANetConfig(interval=3, dim=8, levels=2, decoder_levels=1, shared_offset=True)
    )
    model.to_pose.bias.data.zero_()
    detected = sequences[0].detected[:13]
    inside = hanet.look_inside(SequenceRefiner(model, 13), detected)
    np.testing.assert_allclose(
        detected[inside.read] + inside.offsets.sum(0), inside.refined, atol=1e-3
    )


def test_a_switch_keeps_the_weights(refiner, sequences):
    detected = sequences[0].detected[:13]
    same, blind = (refiner.switched(blind=value) for value in (False, True))
    np.testing.assert_array_equal(same.refine(detected), refiner.refine(detected))
    maps = hanet.look_inside(blind, detected).maps[hanet.ENCODER]
    assert (np.diagonal(maps, axis1=2, axis2=3) == 0).all(), "no frame looks at itself"
    assert np.abs(blind.refine(detected) - refiner.refine(detected)).max() > 1e-4


def test_motion_is_eq_2():
    x = np.array([0.0, 0, 3, 3])[:, None, None] * np.ones((1, 1, 2))
    v, a = hanet.motion(x)
    assert v[:, 0, 0].tolist() == [0, 0, 3, 0] and a[:, 0, 1].tolist() == [0, 3, -3, 0]


def test_levels_have_names():
    assert hanet.offset_names(3, CONFIG) == ["Z₀", "level 1", "level 2"]
    assert hanet.offset_names(2, CONFIG) == ["level 1", "level 2"]


def test_tokens_are_numbered_as_the_frames_of_the_window(refiner, sequences):
    arguments = hanet.looks(hanet.look_inside(refiner, sequences[0].detected[:13]))
    read, every = ("0", "3", "6", "9", "12"), tuple(map(str, range(13)))
    labels = [tuple(axis.labels for axis in pair) for pair in arguments["axes"].values()]
    assert labels == [(read, read), (every, every), (every, read)]
    assert {axis.kind for pair in arguments["axes"].values() for axis in pair} == {"frame"}
    assert arguments["allowed"] is None


# --- the trick in one screen


@pytest.fixture(scope="module")
def shipped():
    """What the chapter shows in its fast profile: weights, sequences, bursts."""
    refiner, test = load("hanet"), made_sequences("synthetic", "test")
    return refiner, test, hanet.bursts_of(refiner, test)


def test_hanet_wins_in_the_first_case_and_loses_in_the_second_by_the_rule(shipped):
    refiner, test, bursts = shipped
    found, gains = hanet.find(bursts), {}
    for i, burst in enumerate(bursts):
        one = test[burst.sequence]
        rows = slice(burst.first, burst.last + 1)
        assert one.hidden[rows, burst.joint].all() and burst.last - burst.first + 1 >= hanet.LEAST
        assert not one.hidden[[burst.first - 1, burst.last + 1], burst.joint].any()
        truth = one.xy_frame[rows, burst.joint]
        path = np.linalg.norm(np.diff(truth, axis=0), axis=-1).sum()
        if JOINTS.joints[burst.joint] in hanet.ENDS and path >= hanet.MOVES:
            final = refiner.refine(one.detected[: refiner.window])
            off = [each[rows, burst.joint] - truth for each in (one.detected, final)]
            before, after = (np.linalg.norm(each, axis=-1).mean() for each in off)
            gains[i] = before - after
            np.testing.assert_allclose([burst.before, burst.after], [before, after])
    assert found.count == len(gains)
    assert gains[found.best] == max(gains.values()), "it wins"
    assert bursts[found.best].after < 0.5 * bursts[found.best].before, "clearly"
    assert gains[found.worst] == min(gains.values()) < -1, "it loses"
    cases = hanet.trick(refiner, test, bursts).cases
    titles = [case["steps"][0]["title"] for case in cases]
    assert titles == ["A track that jumps", "A good guess on a track that jumps"]
    best, worst = (each["rule"] for each in cases)
    assert f"sequence {bursts[found.best].sequence}, " in best and "falls most" in best
    assert f"sequence {bursts[found.worst].sequence}, " in worst and "grows most" in worst


def test_the_steps_show_the_tensors_of_the_pass(shipped):
    refiner, test, bursts = shipped
    burst = bursts[hanet.find(bursts).best]
    told = hanet.Told(refiner, test[burst.sequence], burst)
    track, kinematics, offsets, attention, refinement = told.steps
    inside = hanet.look_inside(refiner, told.detected)
    at = np.s_[:, burst.joint, told.axis]
    np.testing.assert_array_equal(line(track.panels[0], "input").y, told.detected[at])
    assert (burst.first, burst.last, "hidden") in track.panels[0].shaded
    for panel, moved in zip(kinematics.panels, hanet.motion(told.detected)):
        np.testing.assert_allclose(line(panel, "input").y, moved[at])
    summed = inside.offsets.sum(0)[at]
    np.testing.assert_allclose(line(offsets.panels[0], "sum").y, summed)
    np.testing.assert_allclose(line(refinement.panels[0], "refined P'").y, inside.refined[at])
    maps = inside.maps[hanet.ENCODER][-1].mean(0)
    np.testing.assert_allclose(attention.panels[0].heat.values, np.log2(len(maps) * maps))
    asks = int(attention.panels[1].title.split()[2]) // 3
    assert burst.first <= 3 * asks <= burst.last
    np.testing.assert_allclose([bar.value for bar in attention.panels[1].bars], 100 * maps[asks])
    np.testing.assert_allclose(line(refinement.panels[0], "final").y, inside.final[at])
    values = [bar.value for bar in refinement.panels[2].bars]
    np.testing.assert_allclose(values, [burst.before, burst.after])


def test_the_exercise_can_be_done_in_the_explorer(explorer):
    explorer.choose(span=[1, 3])
    found, _ = drawn(explorer)
    answers = found.plain, found.inside.final
    old, new = (joint_distances(xy, found.truth)[1:4, WRIST].mean() for xy in answers)
    score = hanet.harm(explorer)
    assert score(explorer.state, found) == pytest.approx(new - old) != 0
    (first, last), worst = hanet.worst_span(explorer, every=1)
    assert last - first + 1 == hanet.MOST
    exercises.goal(explorer, "Hide it.", score, reach=worst, higher=True)
    for start in range(explorer.last_frame - hanet.MOST + 2):
        explorer.choose(span=[start, start + hanet.MOST - 1])
        assert ("Reached" in explorer.goal) == (start == first)
    refused = {"span": [0, hanet.MOST]}, {"hide": hanet.ALL}, {"joint": "neck"}, {"sequence": 1}
    refused += {"blind": True}, {"refined by": "random"}, {"knocked out": [[hanet.ENCODER, 1, 2]]}
    before = explorer.state | {"span": [0, 3]}
    for more in refused:
        explorer.choose(**before)
        assert "the goal" in explorer.goal and "Nothing to measure" not in explorer.goal
        explorer.choose(**more)
        assert "Nothing to measure" in explorer.goal, more


# --- the explorer


def test_controls_in_sight_leave_room_for_those_of_the_maps(explorer):
    sight = [c.name for c in explorer.declare() if not c.more and c.kind != "list"]
    assert sight == ["frame", "joint", "hide"]


def test_a_drag_hides_the_joint_in_these_frames_and_the_answer_follows(explorer):
    explorer.choose(hide=hanet.NOTHING)
    plain, (place, *_) = drawn(explorer)
    assert not plain.hidden.any() and place.span == "", "nothing is hidden, nothing shaded"
    explorer.choose(hide=hanet.ONE, span=[4, 7])
    found, (place, *_) = drawn(explorer)
    assert np.argwhere(found.hidden).tolist() == [[t, WRIST] for t in range(4, 8)]
    np.testing.assert_array_equal(line(place, "input").y[4:8], found.guess[4:8, WRIST, 0])
    kept = ~found.hidden
    np.testing.assert_array_equal(found.detected[kept], explorer.sequences[0].detected[:13][kept])
    assert np.abs(line(place, "final").y - plain.inside.final[:, WRIST, 0]).max() > 1e-3
    assert place.span == "span" and place.cursor == "frame"


@pytest.mark.parametrize("span", [[], [40, 90]])
def test_a_span_without_frames_hides_nothing(explorer, span):
    explorer.choose(span=span, **{"detector says": hanet.HELD})
    found, _ = drawn(explorer)
    assert not found.hidden.any()
    np.testing.assert_array_equal(found.plain, found.inside.final)


def test_hidden_joints_can_stand_still_and_come_with_neighbours(explorer):
    explorer.choose(hide=hanet.LIMB, span=[4, 6], **{"detector says": hanet.HELD})
    found, _ = drawn(explorer)
    joints = np.flatnonzero(found.hidden[5])
    assert [JOINTS.joints[j] for j in joints] == ["right_elbow", "right_wrist"]
    held = explorer.sequences[0].detected[[3, 3, 3]]
    np.testing.assert_array_equal(found.detected[4:7, joints], held[:, joints])


def test_hiding_never_makes_the_input_better(explorer):
    explorer.choose(hide=hanet.ALL, span=[0, 12])
    found, _ = drawn(explorer)
    given, detected = (joint_distances(x, found.truth) for x in (found.given, found.detected))
    assert (detected >= given).all() and (detected > given).any() and (detected == given).any()


def test_the_frame_computes_nothing(explorer):
    computed = []
    explorer.compute = computed.append
    explorer.choose(frame=11)
    assert not computed


def test_axis_and_joint_choose_what_is_drawn(explorer):
    explorer.choose(joint="left_ankle", axis="y")
    found, (place, pose, speed, offsets, errors) = drawn(explorer)
    j = JOINTS.index("left_ankle")
    np.testing.assert_array_equal(line(place, "truth").y, found.truth[:, j, 1])
    np.testing.assert_array_equal(line(place, "refined").y, found.inside.refined[:, j, 1])
    assert place.y == "y, px"
    steps = np.diff(found.truth[:, j, 1], prepend=found.truth[0, j, 1])
    np.testing.assert_allclose(line(speed, "truth").y, steps, atol=1e-9)
    summed = sum(line(offsets, name).y for name in ("Z₀", "1", "2"))
    np.testing.assert_allclose(line(offsets, "sum").y, summed)
    away = joint_distances(found.inside.final, found.truth)[:, j]
    np.testing.assert_array_equal(line(errors, "final").y, away)
    np.testing.assert_array_equal(pose.people[0].xy, found.truth[:, None])


def test_scales_stay_when_something_is_hidden(refiner, sequences):
    for weights in refiner.model.parameters():
        weights.data.zero_()  # it believes the detector
    explorer = HANetExplorer(refiner, sequences)
    explorer.choose(hide=hanet.NOTHING)
    before = [(p.x_range, p.y_range) for p in drawn(explorer)[1] if p.kind == "lines"]
    explorer.choose(hide=hanet.ALL, span=[0, 12])
    found, panels = drawn(explorer)
    assert joint_distances(found.detected, found.truth)[:, WRIST].max() > 15
    assert before == [(p.x_range, p.y_range) for p in panels if p.kind == "lines"]


def test_marks_and_shades_say_who_hid_a_joint(explorer):
    explorer.choose(span=[4, 7])
    _, (place, pose, *_) = drawn(explorer)
    marks = next(p.marks for p in pose.people if p.role == "detector")[:, 0, WRIST]
    assert marks.tolist() == [
        *[VISIBLE] * 2,
        *[HIDDEN] * 2,
        *[NEWLY_HIDDEN] * 4,
        *[VISIBLE] * 5,
    ]
    assert place.shaded == [(2, 4, "hidden")]


def test_switches_say_what_they_cost(explorer):
    explorer.choose(hide=hanet.NOTHING)
    assert "changed" not in explorer.verdict
    explorer.choose(blind=True)
    found, _ = drawn(explorer)
    blind, plain = (
        joint_distances(x, found.truth).mean() for x in (found.inside.final, found.plain)
    )
    assert f"{plain:.2f} → {blind:.2f} px ({blind - plain:+.2f})" in explorer.verdict
    assert (found.looks["allowed"][hanet.ENCODER] == ~np.eye(5, dtype=bool)).all()
    explorer.choose(hide=hanet.ONE)
    assert "and your switches" in explorer.verdict


def test_the_sentence_says_what_hiding_costs_there(explorer):
    explorer.choose(span=[4, 7])
    found, _ = drawn(explorer)
    away = [joint_distances(x, found.truth)[4:8, WRIST] for x in (found.plain, found.inside.final)]
    old, new = (each.mean() for each in away)
    said = f"right_wrist hidden in frames 4 to 7: {old:.2f} → {new:.2f} px there ({new - old:+.2f})"
    given, guess = (
        joint_distances(x, found.truth)[4:8, WRIST].mean() for x in (found.given, found.guess)
    )
    assert f"the input there {given:.1f} → {guess:.1f} px" in explorer.verdict
    assert explorer.verdict.startswith("sequence 0, frames 0 to 12: ") and said in explorer.verdict


def test_a_head_that_is_out_looks_everywhere_alike_in_both_models(explorer):
    explorer.choose(**{"knocked out": [[hanet.ENCODER, 1, 2]]})
    found, _ = drawn(explorer)
    for maps in (found.looks["maps"], found.looks["other"]):
        np.testing.assert_allclose(maps[hanet.ENCODER][1, 2], 0.2, rtol=1e-6)
        assert np.abs(maps[hanet.ENCODER][1, 1] - 0.2).max() > 1e-4
    assert np.abs(found.inside.final - found.plain).max() > 1e-6
    assert explorer.attention.knocked_out == [[hanet.ENCODER, 1, 2]]


def test_another_sequence_has_its_own_frames(explorer):
    explorer.choose(**{"from frame": 4})
    found, _ = drawn(explorer)
    assert found.start == 4 and "frames 4 to 16" in explorer.verdict
    np.testing.assert_array_equal(found.truth, explorer.sequences[0].xy_frame[4:])
    explorer.choose(sequence=1)
    found, _ = drawn(explorer)
    assert (found.start, len(found.truth), explorer.last_frame) == (0, 11, 10)
    limits = {c["name"]: c["high"] for c in explorer.controls}
    assert (limits["frame"], limits["from frame"]) == (10, 0)
    assert explorer.attention.maps[0]["query"]["labels"] == ["0", "3", "6", "9"]
    explorer.choose(sequence=0, frame=12, **{"from frame": 3})
    assert "frames 3 to 15" in explorer.verdict


def test_every_choice_can_be_made(explorer):
    for control in explorer.declare():
        for value in control.options or (control.low, control.high):
            if control.kind not in ("list", "switch"):
                explorer.choose(**{control.name: value})
            assert explorer.verdict and "nan" not in explorer.verdict


@pytest.mark.parametrize("labelled", [True, False])
def test_without_truth_it_says_how_the_answer_moves(refiner, sequences, labelled):
    mine = [Motion2D("mine", s.detected) for s in sequences] if labelled else sequences
    explorer = HANetExplorer(refiner, mine, labelled=labelled)
    for hide in explorer.declared["hide"].options:
        explorer.choose(hide=hide, span=[0, 12])
        found, panels = drawn(explorer)
        assert not any(word in explorer.verdict for word in ("nan", "error"))
        assert ("its answer moves by" in explorer.verdict) == (hide != hanet.NOTHING)
        assert found.truth is None and {p.role for p in panels[1].people} == {"detector", "ours"}
        for panel in (panels[0], *panels[2:]):
            assert all(np.isfinite(each.y).all() for each in panel.lines)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_moment_is_a_sequence_too(refiner, sequences, frames):
    explorer = HANetExplorer(refiner, [Motion2D("mine", sequences[0].detected[:frames])])
    found, _ = drawn(explorer)
    assert len(found.inside.final) == frames and "nan" not in explorer.verdict
    assert "sequence" not in explorer.state and "from frame" not in explorer.state


def test_poses_that_are_not_numbers_are_refused(refiner, sequences):
    wild = np.where(np.arange(30).reshape(15, 2) == 7, np.nan, sequences[0].detected)
    with pytest.raises(BadParameter, match="wild"):
        HANetExplorer(refiner, [Motion2D("wild", wild)])
    with pytest.raises(BadParameter):
        HANetExplorer(refiner, [])


def test_a_state_comes_back(explorer, refiner, sequences):
    explorer.choose(sequence=1, joint="neck", hide=hanet.ALL, span=[2, 5], frame=9, blind=True)
    again = HANetExplorer(refiner, sequences, state=explorer.permalink())
    assert again.data == explorer.data and again.verdict == explorer.verdict
    assert json.loads(again.permalink()) == json.loads(explorer.permalink())
    assert again.attention.data == explorer.attention.data


def test_maps_and_scrubber_begin_at_one_frame(explorer):
    labels = explorer.attention.maps[0]["query"]["labels"]
    assert labels[explorer.attention.choice["focus"]] == str(explorer.state["frame"]) == "6"


def test_a_page_answers_as_the_kernel_does(explorer):
    explorer.choose(span=[4, 4 + hanet.MOST - 1])
    stored = explorer.kept()["values"]["stored"]
    asked = [answer["state"] for answer in stored]
    for name in ("axis", "hide", "joint"):
        assert {s[name] for s in asked} == set(explorer.declared[name].options)
    starts = [s["span"][0] for s in asked if s["hide"] == hanet.ONE and s["joint"] == "right_wrist"]
    assert set(starts) == set(range(13 - hanet.MOST + 1)), "a gap anywhere"
    for i in (0, 1, 3, 9, len(stored) - 1):
        explorer.choose(**asked[i])
        assert base64.b64decode(stored[i]["data"]) == explorer.data
        assert stored[i]["verdict"] == explorer.verdict
    assert "data" in stored[0]["attention"] and "data" not in stored[-1]["attention"]


@pytest.mark.parametrize("span", [[1], [1, 2, 3], ["a", "b"], [0.5, 2]])
def test_a_span_is_two_whole_numbers(explorer, span):
    before = explorer.permalink()
    with pytest.raises(BadParameter, match="span is"):
        explorer.choose(span=span)
    assert explorer.permalink() == before
