"""PORT's explorer without a browser: what a choice computes, draws and says."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from workbench import load
from workbench.errors import BadParameter
from workbench.metrics import joint_distances, p_epe
from workbench.recipes import port as recipe
from workbench.view import exercises
from workbench.view.chapters import port
from workbench.view.chapters.port import PortExplorer
from workbench.view.panels import HIDDEN, VISIBLE


@pytest.fixture(scope="module")
def world():
    """A refiner, what a detector said of seven hands, and the truth."""
    truth, detected = recipe.pairs("synthetic", n=7, seed=3)
    return load("port"), detected, truth


@pytest.fixture
def explorer(world):
    return PortExplorer(*world, index=2)


@pytest.fixture(scope="module")
def hands():
    """As the chapter shows them in its fast profile."""
    truth, detected = recipe.pairs("synthetic", n=600, seed=0)
    return load("port"), detected, truth


# --- the trick in one screen


def test_port_wins_in_the_first_case_and_loses_in_the_second_by_the_rule(hands):
    refiner, detected, truth = hands
    found = port.find(*hands)
    below = refiner.mask(detected)
    before = joint_distances(detected.xy_frame, truth.xy_frame)
    after = joint_distances(refiner.refine(detected, mask=below).xy_frame, truth.xy_frame)
    left = {
        i: after[i][below[i]].mean() / before[i][below[i]].mean()
        for i in np.flatnonzero(below.sum(1) >= port.LEAST)
    }
    assert found.count == len(left)
    wins = [i for i in left if left[i] <= 0.5]
    tips = truth.xy_frame[:, 4::4]
    gaps = np.linalg.norm(tips[:, 1:] - tips[:, :-1], axis=-1).min(1)
    apart = gaps / np.ptp(truth.xy_frame, axis=1).max(1)
    assert len(wins) > 1 and found.best == max(wins, key=lambda i: apart[i]), "clearly, and spread"
    assert left[found.worst] == max(left.values()) > 1.1, "it loses"
    rank = sorted(left.values()).index(left[found.middle])
    assert abs(rank - len(left) / 2) <= 1
    cases = port.trick(refiner, detected, truth).cases
    for case, i in zip(cases, (found.best, found.worst)):
        pair = (each[i][below[i]].mean() for each in (before, after))
        assert case["steps"][-1]["title"] == "PORT: {:.1f} → {:.1f} px".format(*pair)
    best, worst = (each["rule"] for each in cases)
    assert f"number {found.best} " in best and f"{100 * (left[found.best] - 1):+.0f}%" in best
    assert f"number {found.worst}: " in worst and "worst" in worst


def test_the_steps_show_the_tensors_of_the_pass(hands):
    refiner, detected, truth = hands
    row = detected.select([15])
    told = port.Told(refiner, row, truth.xy_frame[15])
    hidden, tokens, attention, reconstruction, answer = told.steps
    mask = refiner.mask(row)[0]
    alone, said, sure = hidden.panels
    for hand, xy in ((alone, told.truth), (said, told.detected)):
        drawn = np.stack([each.xy for each in hand.people])
        assert len(drawn) == 5 and len({each.role for each in hand.people}) == 5, "a tone a finger"
        np.testing.assert_allclose(np.nanmean(drawn, 0), xy, rtol=1e-6)
        assert np.isfinite(drawn).all(-1).sum(0).tolist() == [5] + 20 * [1], "the wrist is in all"
    assert all((each.marks == np.where(mask, HIDDEN, VISIBLE)).all() for each in said.people)
    roles = [bar.role for bar in sure.bars]
    assert roles == ["hidden" if m else "detector" for m in mask]
    names = ["embedding.out", "encoder.3.attention.map"]
    _, taps = refiner.look(row, mask[None], names=names)
    mixed, token = tokens.panels
    bare, whole = (line.y for line in token.lines)
    np.testing.assert_allclose(whole, taps["embedding.out"][0, told.j].numpy(), atol=1e-6)
    learned = refiner.model.embedding.mask_embedding.detach().numpy()
    np.testing.assert_allclose(whole - bare, learned, atol=1e-6)
    assert told.joint in token.title
    ends = mixed.arrows[0].ends
    near = np.flatnonzero(bones(refiner, told.j) > 0)
    np.testing.assert_allclose(ends[:, :2], told.detected[near[near != told.j]])
    np.testing.assert_allclose(ends[:, 2:4], told.detected[[told.j] * len(ends)])
    maps = taps["encoder.3.attention.map"][0].mean(0).numpy()
    bars = attention.panels[1].bars
    np.testing.assert_allclose([bar.value for bar in bars], 100 * maps[told.j], rtol=1e-5)
    asked = attention.panels[0].arrows[0].ends
    strongest = np.sort(np.delete(maps[told.j], told.j))[::-1][:5]
    np.testing.assert_allclose(asked[:, 4], 25 * strongest, rtol=1e-5)
    crossed = [bar.mark.startswith("✕") for bar in bars]
    assert crossed == mask.tolist() and any(crossed)
    seen = sum(bar.value for bar in bars if not bar.mark.startswith("✕"))
    assert f"{(~mask).sum()} believed joints get {seen:.0f}%" in attention.words
    near = [bar.label for bar in bars if "far" not in bar.mark]
    assert near == [n for n, w in zip(refiner.skeleton.joints, bones(refiner, told.j)) if w > 0]
    far = sum(bar.value for bar in bars if "far" in bar.mark)
    assert f"{far:.0f}% of what it listens to" in attention.words
    moves = np.linalg.norm(told.recon - told.detected, axis=-1)
    used, unused = (each.ends for each in reconstruction.panels[0].arrows)
    np.testing.assert_allclose(np.hypot(*(used[:, 2:4] - used[:, :2]).T), moves[mask], rtol=1e-5)
    assert len(used) + len(unused) == len(mask)
    drawn = [bar.value for bar in reconstruction.panels[1].bars]
    np.testing.assert_allclose(drawn, moves[mask])
    before, after = (
        joint_distances(xy[None], truth.xy_frame[[15]])[0] for xy in (told.detected, told.refined)
    )
    drawn = [bar.value for bar in answer.panels[2].bars]
    ends = (mask, mask | True)
    pairs = [each[use].mean() for use in ends for each in (before, after)]
    np.testing.assert_allclose(drawn, pairs, rtol=1e-6)
    assert told.mask[told.j]


def bones(refiner, joint):
    """How many ways of at most two bones lead from a joint to each."""
    graph = (refiner.skeleton.adjacency > 0) | np.eye(len(refiner.skeleton), dtype=bool)
    return np.linalg.matrix_power(graph.astype(int), 2)[joint]


def test_the_exercise_can_be_done_by_a_switch(hands):
    refiner, detected, truth = hands
    explorer = PortExplorer(*hands, index=405)

    def measure(state, found):
        return float(np.linalg.norm(found.refined - truth.xy_frame[405], axis=-1).mean())

    below = refiner.mask(detected.select([405]))
    masks = np.concatenate((below, below ^ np.eye(21, dtype=bool)))
    turned = refiner.refine(detected.select([405] * 22), mask=masks).xy_frame
    before, *after = np.linalg.norm(turned - truth.xy_frame[405], axis=-1).mean(1).tolist()
    joint = int(np.argmin(after))
    assert after[joint] < before
    exercises.goal(explorer, "Turn one over.", measure, reach=after[joint] + 0.1)
    assert f"Now {before:.2f} px" in explorer.goal and "Not yet" in explorer.goal
    assert f"of all joints {before:.2f} px" in explorer.verdict, "one measure for both"
    explorer.choose(hidden=[joint])
    assert f"Now {after[joint]:.2f} px" in explorer.goal and "Reached" in explorer.goal
    kept = [answer["goal"] for answer in explorer.kept()["values"]["stored"]]
    assert sum("Reached" in goal for goal in kept) >= 1, "a page can do it, too"
    sign = "hidden" if drawn(explorer)[0].mask[joint] else "believed"
    said = f"{explorer.kin.joints[joint]} {sign} by your click: {after[joint] - before:+.2f} px"
    assert said in explorer.verdict


# --- the explorer


def drawn(explorer):
    found = explorer.compute(explorer.state)
    return found, explorer.draw(explorer.state, found)["pose"][0]


def test_controls_in_sight_leave_room_for_those_of_the_maps(explorer):
    assert [c.name for c in explorer.declare() if not c.more and c.kind != "list"] == [
        "pose",
        "delta",
    ]


def test_delta_hides_what_is_below_it_and_a_click_turns_a_joint_over(explorer):
    explorer.choose(delta=0)
    found, (hand, sure, _) = drawn(explorer)
    assert not found.mask.any() and "0 joints hidden" in explorer.verdict
    explorer.choose(hidden=[5])
    found, (hand, sure, _) = drawn(explorer)
    assert np.flatnonzero(found.mask).tolist() == [5]
    marks = next(p.marks for p in hand.people if p.name == "detector")
    assert marks.tolist() == [HIDDEN if j == 5 else VISIBLE for j in range(21)]
    assert [bar.label for bar in sure.bars if bar.mark] == [explorer.refiner.skeleton.joints[5]]
    explorer.choose(delta=1)
    found, _ = drawn(explorer)
    assert np.flatnonzero(~found.mask).tolist() == [5]


def test_an_arrow_leads_from_each_hidden_joint_to_where_port_puts_it(explorer):
    explorer.choose(delta=0, hidden=[3, 8])
    found, (hand, *_) = drawn(explorer)
    refined = explorer.refiner.refine(explorer.detections.select([2]), mask=found.mask[None])
    ends = hand.arrows[0].ends
    np.testing.assert_allclose(ends[:, :2], explorer.detections.xy_frame[2, [3, 8]])
    np.testing.assert_allclose(ends[:, 2:4], refined.xy_frame[0, [3, 8]])


def test_bars_are_changes_of_the_error(explorer):
    found, (_, sure, errors) = drawn(explorer)
    assert len(errors.bars) == len(sure.bars), "in the same lines: the names are short"
    truth = explorer.truth.xy_frame[[2]]
    before, after = (joint_distances(xy[None], truth)[0] for xy in (found.detected, found.refined))
    np.testing.assert_allclose([bar.value for bar in errors.bars], after - before)
    assert (after != before).any() and "<0 better" in errors.title


def test_a_head_that_is_out_looks_everywhere_alike_in_both_models(explorer):
    explorer.choose(**{"knocked out": [["encoder attention", 1, 2]]})
    found, _ = drawn(explorer)
    for maps in (found.looks["maps"], found.looks["other"]):
        weights = maps["encoder attention"]
        np.testing.assert_allclose(weights[1, 2], 1 / 21, rtol=1e-6)
        assert np.abs(weights[1, 1] - 1 / 21).max() > 1e-4
    assert np.abs(found.refined - found.plain).max() > 1e-4


def test_the_maps_hide_by_turning_over(explorer):
    explorer.choose(delta=0.5, hidden=[])
    found, _ = drawn(explorer)
    hidden = np.flatnonzero(found.mask).tolist()
    looks = {"hidden": hidden[1:], "knocked_out": []}
    assert explorer.from_attention(looks, found) == {"hidden": hidden[:1], "knocked out": []}


def test_without_truth_the_sentence_says_how_the_answer_moves(world):
    refiner, detected, _ = world
    explorer = PortExplorer(refiner, detected)
    for hidden in ([], [4], list(range(21))):
        explorer.choose(hidden=hidden)
        assert "moves" in explorer.verdict
        assert not any(word in explorer.verdict for word in ("nan", "error"))
    _, (hand, _, bars) = drawn(explorer)
    assert {p.role for p in hand.people} == {"detector", "ours"} and "moved" in bars.title


def test_labels_that_are_somebody_s_detections_are_no_truth(world):
    explorer = PortExplorer(*world, labelled=False)
    found, (hand, *_) = drawn(explorer)
    assert found.truth is None and "error" not in explorer.verdict
    assert "truth" not in {each.role for each in hand.people}


def test_every_choice_can_be_made(explorer):
    for control in explorer.declare():
        for value in control.options or (control.low, control.high):
            explorer.choose(**{control.name: value} if control.kind != "list" else {})
            assert "nan" not in explorer.verdict and explorer.verdict
    with pytest.raises(BadParameter, match="delta"):
        explorer.choose(delta=1.5)


def test_a_state_comes_back(explorer, world):
    explorer.choose(pose=4, delta=0.4, hidden=[1], **{"refined by": "random"})
    again = PortExplorer(*world, state=explorer.permalink())
    assert again.data == explorer.data and again.verdict == explorer.verdict
    assert json.loads(again.permalink()) == json.loads(explorer.permalink())


def test_a_page_answers_as_the_kernel_does(world):
    explorer = PortExplorer(*world, index=2, stored=[5])
    stored = explorer.kept()["values"]["stored"]
    joints, deltas = 21, 12
    assert len(stored) == deltas * (1 + joints) + deltas
    asked = [answer["state"] for answer in stored]
    for pose in (2, 5):
        known = {s["delta"] for s in asked if s["pose"] == pose and not s["hidden"]}
        assert known >= {0, 0.1, 0.5, 1}, "delta is live for both"
    both = next(i for i, s in enumerate(asked) if (s["hidden"], s["delta"]) == ([3], 0.5))
    other = next(i for i, s in enumerate(asked) if s["pose"] == 5)
    assert "data" not in stored[other]["attention"], "maps of its own pose alone"
    for answer in (stored[0], stored[13], stored[100], stored[both], stored[other]):
        explorer.choose(**answer["state"])
        assert base64.b64decode(answer["data"]) == explorer.data
        assert answer["verdict"] == explorer.verdict
        kept = answer["attention"]
        if "data" in kept:
            assert base64.b64decode(kept["data"]) == explorer.attention.data
        else:
            assert "before this change" in kept["names"][0]
    assert "data" in stored[0]["attention"] and "data" not in stored[both]["attention"]


def test_the_zero_of_the_changes_stays_where_it_is(explorer):
    ranges = []
    for choice in ({"delta": 0.2}, {"delta": 0.9}, {"hidden": [4]}):
        explorer.choose(**choice)
        _, (_, sure, errors) = drawn(explorer)
        ranges.append(errors.range)
        assert f"{explorer.state['delta']:.2f}" in sure.title, "the bars say their delta"
    assert all(low == -high for low, high in ranges)
    other = PortExplorer(explorer.refiner, explorer.detections, explorer.truth, index=2)
    _, (_, _, errors) = drawn(other)
    assert errors.range[1] == max(abs(bar.value) for bar in errors.bars) > 1, "it fits the pose"
    assert max(abs(bar.value) for bar in errors.bars) <= ranges[-1][1]


def test_a_question_marks_the_joint_and_tips_have_names(hands):
    refiner, detected, truth = hands
    picture = port.Told(refiner, detected.select([15]), truth.xy_frame[15]).seen("which?", 8)
    first, *_, asks = picture.people
    np.testing.assert_allclose(first.xy, detected.xy_frame[15])
    np.testing.assert_allclose(asks.xy[8], detected.xy_frame[15, 8])
    assert np.isfinite(asks.xy).all(1).sum() == 1 and asks.name == "forefinger4, which asks"
    notes = {note["words"]: note["at"] for note in picture.notes}
    assert len(notes) == 5
    assert notes["forefinger"] == detected.xy_frame[15, 8].tolist()


# --- a metric that can be cheated


def test_shrinking_alone_beats_port_by_the_scaled_measure_and_not_by_the_rigid_one(hands):
    refiner, detected, truth = hands
    refined = refiner.refine(detected)
    shrink = port.Shrinking(refiner.skeleton, detected, truth, refined, 141)
    exercises.goal(
        shrink, "Cheat.", lambda _, xy: shrink.means(xy)["scaled"], reach=shrink.port["scaled"]
    )
    xy = recipe.shrunk(detected, 0.75)
    ways = {"scaled": "truth_to_pred", "rigid": "rigid"}
    assert "Not yet" in shrink.goal
    shrink.choose(**{"smaller by": 25})
    assert "Reached" in shrink.goal
    *pictures, panel = shrink.draw(shrink.state, shrink.compute(shrink.state))["hand"][0]
    bars = panel.bars
    for i, (name, way) in enumerate(ways.items()):
        ours = p_epe(refined.xy_frame, truth.xy_frame, align=way).mean()
        cheat = p_epe(xy, truth.xy_frame, align=way).mean()
        assert [bar.value for bar in bars[2 * i : 2 * i + 2]] == pytest.approx([cheat, ours])
        assert (cheat < ours) == (name == "scaled"), "the rigid measure sees through it"
        real, said = (people.xy for people in pictures[i].people)
        np.testing.assert_allclose(said, xy[141])
        off = np.linalg.norm(real - said, axis=-1).mean()
        assert off == pytest.approx(p_epe(xy[[141]], truth.xy_frame[[141]], align=way)[0])
        assert f"{cheat:.2f} px" in shrink.verdict


def test_a_page_knows_every_size(hands):
    refiner, detected, truth = hands
    rows = np.arange(9)
    some, real = detected.select(rows), truth.select(rows)
    shrink = port.Shrinking(refiner.skeleton, some, real, refiner.refine(some), 2)
    stored = shrink.kept()["values"]["stored"]
    assert [each["state"]["smaller by"] for each in stored] == list(range(41))
    shrink.choose(**{"smaller by": 17})
    assert base64.b64decode(stored[17]["data"]) == shrink.data
    assert stored[17]["verdict"] == shrink.verdict
