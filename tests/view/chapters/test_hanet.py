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
    """What was computed, and the panels: place, pose, who is heard, costs."""
    found = explorer.compute(explorer.state)
    first, second, *_ = explorer.draw(explorer.state, found)["over time"]
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
    (calm, every), gains = hanet.find(bursts), {}
    for i, burst in enumerate(bursts):
        one = test[burst.sequence]
        rows = slice(burst.first, burst.last + 1)
        assert one.hidden[rows, burst.joint].all() and burst.last - burst.first + 1 >= hanet.LEAST
        assert not one.hidden[[burst.first - 1, burst.last + 1], burst.joint].any()
        window = slice(0, refiner.window)
        truth, detected = one.xy_frame[window, burst.joint], one.detected[window]
        path = np.linalg.norm(np.diff(truth[rows], axis=0), axis=-1).sum()
        if JOINTS.joints[burst.joint] in hanet.ENDS and path >= hanet.MOVES:
            final = refiner.refine(detected)
            off = [
                np.linalg.norm(each[:, burst.joint] - truth, axis=-1) for each in (detected, final)
            ]
            before, after = (each[rows].mean() for each in off)
            gains[i] = before - after
            np.testing.assert_allclose([burst.before, burst.after], [before, after])
            around = np.delete(off[0], np.arange(burst.first, burst.last + 1))
            assert burst.elsewhere == pytest.approx(around.mean())
            inside = (truth >= 0) & (truth < (320, 240))
            assert burst.seen == inside.all()
    quiet = {i: g for i, g in gains.items() if bursts[i].seen and bursts[i].elsewhere <= hanet.CALM}
    assert (every.count, calm.count) == (len(gains), len(quiet))
    assert gains[calm.best] == max(quiet.values()), "it wins"
    assert bursts[calm.best].after < 0.5 * bursts[calm.best].before, "clearly"
    assert gains[every.worst] == min(gains.values()) < -1, "it loses"
    cases = hanet.trick(refiner, test, bursts).cases
    titles = [case["steps"][0]["title"] for case in cases]
    assert titles == ["A track that jumps", "A good guess on a track that jumps"]
    for case, which in zip(cases, (calm.best, every.worst)):
        burst = bursts[which]
        said = f"sequence {burst.sequence}, frames {burst.first} to {burst.last}"
        assert said in case["rule"], case["name"]
        last = case["steps"][-1]
        assert last["title"].startswith(f"HANet: {burst.before:.1f} → {burst.after:.1f} px")
        assert ("Grey bars" in last["words"]) == (which == every.worst)
    assert "Of the calm ones this is where the error falls most" in cases[0]["rule"]
    assert f"Of all {every.count}, calm or not, this is where the error grows" in cases[1]["rule"]


def test_the_harm_is_explained_by_inputs_that_are_true_in_parts(shipped):
    refiner, test, bursts = shipped
    burst = bursts[hanet.find(bursts)[1].worst]
    told = hanet.Told(refiner, test[burst.sequence], burst)
    errors = []
    for joints in ([burst.joint], [k for k in range(15) if k != burst.joint], list(range(15))):
        xy = told.detected.copy()
        xy[:, joints] = told.truth[:, joints]
        off = joint_distances(refiner.refine(xy), told.truth)[burst.frames, burst.joint]
        errors.append(off.mean())
    last = told.steps[-1]
    assert [bar.value for bar in last.panels[1].bars[2:]] == pytest.approx(errors)
    assert errors[1] < errors[0] and "The other joints misled it most" in last.words


def test_the_steps_show_the_tensors_of_the_pass(shipped):
    refiner, test, bursts = shipped
    burst = bursts[hanet.find(bursts)[0].best]
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
    maps = inside.maps[hanet.ENCODER][-1]
    gets = attention.panels[0].lines[0].y
    np.testing.assert_allclose(gets, 100 * maps.mean((0, 1)))
    assert gets.sum() == pytest.approx(100)
    jerks = np.linalg.norm(hanet.motion(told.detected)[1], axis=-1).mean(1)[inside.read]
    lost = told.sequence.hidden[inside.read, burst.joint]
    seen, hidden = attention.panels[1].lines
    for dots, use in ((seen, ~lost), (hidden, lost)):
        np.testing.assert_allclose(dots.x, jerks[use])
        np.testing.assert_array_equal(dots.y, gets[use])
    ((first, last, _),) = attention.panels[1].shaded
    most = (jerks > first - 0.5) & (jerks < last + 0.5)
    assert most.sum() == 5 and f"get {gets[most].sum():.0f} %" in attention.words
    np.testing.assert_allclose(line(refinement.panels[0], "final").y, inside.final[at])
    values = [bar.value for bar in refinement.panels[1].bars]
    np.testing.assert_allclose(values, [burst.before, burst.after])


def test_the_lies_are_told_about_the_calm_track_that_moves_furthest(shipped):
    refiner, test, _ = shipped
    index, joint, axis = hanet.calmest(refiner, test)
    ways = {}
    for i, one in enumerate(test):
        for name in hanet.ENDS:
            j = JOINTS.index(name)
            truth, detected = one.xy_frame[:43, j], one.detected[:43, j]
            off = np.linalg.norm(detected - truth, axis=-1)
            inside = ((truth >= 0) & (truth < (320, 240))).all()
            if not one.hidden[:43, j].any() and inside and off.max() <= hanet.NEAR:
                for k in (0, 1):
                    ways[i, name, "xy"[k]] = np.abs(np.diff(truth[:, k])).sum()
    assert ways[index, joint, axis] == max(ways.values())


def test_hanet_stops_listening_to_what_shakes_and_believes_a_body_that_stands_aside(shipped):
    refiner, test, _ = shipped
    index, joint, axis = hanet.calmest(refiner, test)
    explorer = HANetExplorer(refiner, test, index=index, joint=joint, state={"axis": axis})
    _, _, shakes, _, body_shakes, aside = hanet.LIES
    cost, kept = {}, {}
    for lie in (shakes, body_shakes, aside):
        explorer.choose(lie=lie, **{"at frame": 18})
        found, _ = drawn(explorer)
        cost[lie] = hanet.harm(explorer.state, found)
        read = (found.inside.read >= 18) & (found.inside.read < 18 + hanet.LASTS)
        before, now = (hanet.heard(each)[read].sum() for each in (found.plain, found.inside))
        kept[lie] = now / before
    assert kept[body_shakes] < 0.1 < kept[shakes] < 0.5 < kept[aside]
    assert max(cost[shakes], cost[body_shakes]) < 0.25 * hanet.LIE < 0.7 * hanet.LIE < cost[aside]


def test_the_exercise_can_be_done_in_the_explorer(explorer):
    explorer.choose(lie=list(hanet.LIES)[3], **{"at frame": 1})
    found, _ = drawn(explorer)
    answers = found.plain.final, found.inside.final
    old, new = (joint_distances(xy, found.truth)[1:9, WRIST].mean() for xy in answers)
    assert hanet.harm(explorer.state, found) == pytest.approx(new - old) != 0
    harms = {}
    for lie, (whole, signs) in hanet.LIES.items():
        if signs.any() and not whole:
            explorer.choose(lie=lie, **{"at frame": 2})
            rise, tried, now = drawn(explorer)[1][3].lines
            assert tried.y == now.y and json.loads(tried.trail)["lie"] == lie
            assert now.x == [2] and now.y == rise.y[2]
            assert rise.y[2] == pytest.approx(hanet.harm(explorer.state, explorer._found))
            harms |= {(lie, at): px for at, px in enumerate(rise.y)}
    (lie, at), worst = max(harms.items(), key=lambda each: each[1])
    change = {"lie": lie, "at frame": at}

    def alone(state, found):
        return np.nan if hanet.LIES[state["lie"]][0] else hanet.harm(state, found)

    exercises.goal(explorer, "Fool it.", alone, reach=worst, higher=True, counts="a lie")
    assert list(explorer.asks())[-1]["at frame"] == explorer.last_frame - hanet.LASTS + 1
    for asked in explorer.asks():
        explorer.choose(**asked)
        shown = ["elsewhere" in [each.name for each in drawn(explorer)[1][3].lines]]
        assert shown == ["Reached" in explorer.goal], "or the plot does the exercise"
        if asked["lie"] == hanet.NOTHING or hanet.LIES[asked["lie"]][0]:
            assert "Not counted: a lie" in explorer.goal
        else:
            assert ("Reached" in explorer.goal) == (asked == change), asked


# --- the explorer


def test_controls_in_sight_leave_room_for_those_of_the_maps(explorer):
    sight = [c.name for c in explorer.declare() if not c.more and c.kind != "list"]
    assert sight == ["lie", "at frame"]


@pytest.mark.parametrize("lie", hanet.LIES)
def test_a_lie_moves_the_input_in_its_frames_and_nothing_else(explorer, lie):
    whole, signs = hanet.LIES[lie]
    explorer.choose(lie=lie, axis="y", **{"at frame": 3})
    found, (place, _, dots, cost) = drawn(explorer)
    moved = found.detected - explorer.sequences[0].detected[:13]
    want = np.zeros_like(moved)
    want[3 : 3 + len(signs), ... if whole else WRIST, 1] = (
        hanet.LIE * signs[:, None] if whole else hanet.LIE * signs
    )
    np.testing.assert_allclose(moved, want, atol=1e-9)
    np.testing.assert_array_equal(found.moved, want.any(-1))
    np.testing.assert_array_equal(line(place, "input").y, found.detected[:, WRIST, 1])
    for name, use in (("they lie", want.any((1, 2))), ("others", ~want.any((1, 2)))):
        use = use[found.inside.read]
        jerks = np.linalg.norm(hanet.motion(found.detected)[1], axis=-1).mean(1)
        np.testing.assert_allclose(line(dots, name).x, jerks[found.inside.read][use])
        np.testing.assert_allclose(line(dots, name).y, hanet.heard(found.inside)[use])
    began = dots.lines[0].x.reshape(-1, 3)[:, 0]
    jerks = np.linalg.norm(hanet.motion(found.given)[1], axis=-1).mean(1)
    np.testing.assert_allclose(began, jerks[found.inside.read][want.any((1, 2))[found.inside.read]])
    assert len(cost.lines) == (0 if lie == hanet.NOTHING else 3), "nothing is asked: all places"
    last = 3 + (hanet.LASTS if lie == hanet.NOTHING else len(signs)) - 1
    role = "soft" if lie == hanet.NOTHING else "newly_hidden"
    assert place.shaded == [(3, last, role)]


def test_axis_and_joint_choose_what_is_drawn(explorer):
    explorer.choose(joint="left_ankle", axis="y")
    found, (place, pose, dots, _) = drawn(explorer)
    j = JOINTS.index("left_ankle")
    np.testing.assert_array_equal(line(place, "truth").y, found.truth[:, j, 1])
    np.testing.assert_array_equal(line(place, "HANet").y, found.inside.final[:, j, 1])
    assert place.y == "y, px"
    np.testing.assert_allclose(line(dots, "others").y, hanet.heard(found.inside))
    at = int(pose.title.split()[-1])
    np.testing.assert_array_equal(pose.people[0].xy, found.truth[at])


def test_scales_stay_when_the_detector_lies(explorer):
    kinds = {False: set(), True: set()}  # a lie about all joints jumps more
    for lie, (whole, _) in hanet.LIES.items():
        explorer.choose(lie=lie)
        place, _, dots, cost = drawn(explorer)[1]
        kinds[whole].add((place.y_range, dots.x_range, dots.y_range, cost.y_range))
        low, high = place.y_range
        assert low < line(place, "input").y.min() and line(place, "input").y.max() < high
        assert all(each.x.max(initial=0) <= dots.x_range[1] for each in dots.lines[1:])
    assert [len(ranges) for ranges in kinds.values()] == [1, 1]


def test_switches_say_what_they_cost(explorer):
    assert "→" not in explorer.verdict
    explorer.choose(blind=True)
    found, _ = drawn(explorer)
    here = np.s_[found.here, WRIST]
    blind, plain = (
        joint_distances(x, found.truth)[here].mean()
        for x in (found.inside.final, found.plain.final)
    )
    assert f"{plain:.1f} → {blind:.1f} px ({blind - plain:+z.1f})" in explorer.verdict
    assert (found.looks["allowed"][hanet.ENCODER] == ~np.eye(5, dtype=bool)).all()


def test_the_sentence_says_what_a_lie_costs_there(explorer):
    explorer.choose(lie=list(hanet.LIES)[2], **{"at frame": 4})
    found, _ = drawn(explorer)
    away = [found.plain.final, found.inside.final, found.given, found.detected]
    old, new, was, given = (joint_distances(x, found.truth)[4:12, WRIST].mean() for x in away)
    said = f"{old:.1f} → {new:.1f} px ({new - old:+z.1f}) from the truth, the input {was:.1f} → "
    assert said + f"{given:.1f} px" in explorer.verdict
    read = np.isin(found.inside.read, range(4, 12))
    before, now = (hanet.heard(each)[read].sum() for each in (found.plain, found.inside))
    assert f"attention to these frames {before:.0f} → {now:.0f} %" in explorer.verdict
    assert explorer.verdict.startswith("sequence 0, right wrist, frames 4 to 11: ")


def test_a_head_that_is_out_looks_everywhere_alike_in_both_models(explorer):
    explorer.choose(**{"knocked out": [[hanet.ENCODER, 1, 2]]})
    found, _ = drawn(explorer)
    for maps in (found.looks["maps"], found.looks["other"]):
        np.testing.assert_allclose(maps[hanet.ENCODER][1, 2], 0.2, rtol=1e-6)
        assert np.abs(maps[hanet.ENCODER][1, 1] - 0.2).max() > 1e-4
    assert np.abs(found.inside.final - found.plain.final).max() > 1e-6
    assert explorer.attention.knocked_out == [[hanet.ENCODER, 1, 2]]


def test_another_sequence_has_its_own_frames(explorer):
    explorer.choose(**{"from frame": 4})
    found, _ = drawn(explorer)
    assert found.start == 4
    np.testing.assert_array_equal(found.truth, explorer.sequences[0].xy_frame[4:])
    explorer.choose(sequence=1)
    found, _ = drawn(explorer)
    assert (found.start, len(found.truth), explorer.last_frame) == (0, 11, 10)
    limits = {c["name"]: c["high"] for c in explorer.controls}
    assert (limits["at frame"], limits["from frame"]) == (11 - hanet.LASTS, 0)
    assert explorer.attention.maps[0]["query"]["labels"] == ["0", "3", "6", "9"]
    explorer.choose(sequence=0, **{"at frame": 5, "from frame": 3})
    assert drawn(explorer)[0].start == 3


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
    for lie in hanet.LIES:
        explorer.choose(lie=lie)
        found, panels = drawn(explorer)
        assert not any(word in explorer.verdict for word in ("nan", "truth"))
        assert ("→" in explorer.verdict) == (lie != hanet.NOTHING)
        assert np.isnan(hanet.harm(explorer.state, found))
        assert found.truth is None and {p.role for p in panels[1].people} == {"detector", "ours"}
        assert all(np.isfinite(each.y).all() for each in panels[0].lines + panels[2].lines[1:])
        assert len(panels) == 3, "nobody knows what the lie costs"


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
    lie = list(hanet.LIES)[-1]
    explorer.choose(sequence=1, joint="neck", lie=lie, blind=True, **{"at frame": 2})
    again = HANetExplorer(refiner, sequences, state=explorer.permalink())
    assert again.data == explorer.data and again.verdict == explorer.verdict
    assert json.loads(again.permalink()) == json.loads(explorer.permalink())
    assert again.attention.data == explorer.attention.data


def test_maps_begin_where_the_lie_does(explorer):
    labels = explorer.attention.maps[0]["query"]["labels"]
    assert labels[explorer.attention.choice["focus"]] == "0" and explorer.state["at frame"] == 2


def test_a_page_answers_as_the_kernel_does(explorer):
    stored = explorer.kept()["values"]["stored"]
    asked = [answer["state"] for answer in stored]
    pairs = {(s["lie"], s["at frame"]) for s in asked}
    assert pairs == {(lie, at) for lie in hanet.LIES for at in range(13 - hanet.LASTS + 1)}
    for i in (0, 1, 3, 9, len(stored) - 1):
        explorer.choose(**asked[i])
        assert base64.b64decode(stored[i]["data"]) == explorer.data
        assert stored[i]["verdict"] == explorer.verdict
    assert "data" in stored[0]["attention"] and "data" not in stored[-1]["attention"]
