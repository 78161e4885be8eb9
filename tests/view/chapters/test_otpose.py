"""OTPose's explorer without a browser: hand-checkable parts, and controls that change what is
computed, drawn and said.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench import load
from workbench.data.windows import WindowConfig, Windows
from workbench.errors import BadParameter
from workbench.models import build
from workbench.models.otpose import FLOWS, keypoint_flows
from workbench.predict import ClipEstimator
from workbench.predict.borrowed import exchanges, rough_heatmaps
from workbench.recipes import otpose as recipe
from workbench.records import Clip, Track, Video
from workbench.taps import uniform
from workbench.view.chapters import otpose
from workbench.view.estimates import MEAN, SINGLE, Inside, peaks
from workbench.view.panels import NEWLY_HIDDEN
from workbench.view.stage import patch

TINY = tiny("otpose")
K, (W, H) = TINY.joints, TINY.grid
MIDDLE = [patch(TINY.size[0] / 2, TINY.size[1] / 2, TINY.size[0] / 2, (2, 2))]


def some_windows(flags, *, known=True):
    """A window for each row of flags of the key frame."""
    rng = np.random.default_rng(7)
    tracks = []
    for n, of_key in enumerate(flags):
        every = np.zeros((5, K), int)
        every[2] = of_key
        xy = rng.uniform(12, 68, (5, K, 2)) * (every > 0)[..., None]
        box = np.array([[4.0 + 3 * n, 4, 76, 76]]).repeat(5, 0)
        tracks.append(Track("posetrack15", n, xy, every, np.arange(5) == 2, box, known))
    frames = rng.integers(0, 256, (5, 80, 80, 3), dtype=np.uint8)
    clip = Clip(Video("made", 5, 80, 80, 12.0), tuple(tracks))
    return Windows([(clip, frames)], WindowConfig(size=TINY.size))


FLAGS = np.random.default_rng(1).permuted(np.tile(np.repeat([0, 1, 2], (1, 6, 8)), (2, 1)), axis=1)


@pytest.fixture(scope="module")
def estimator():
    torch.manual_seed(3)
    model = build("otpose", TINY)
    for name, p in model.named_parameters():
        if "layer_scale" in name:  # branches whose attention counts
            torch.nn.init.constant_(p, 1.0)
    return ClipEstimator(model)


@pytest.fixture(scope="module")
def windows():
    return some_windows(FLAGS)


@pytest.fixture(scope="module")
def rough(estimator, windows):
    return rough_heatmaps(estimator, windows)


@pytest.fixture
def explorer(estimator, windows):
    return otpose.OTPoseExplorer(estimator, windows)


def panels(explorer, tab):
    found = explorer.compute(explorer.state)
    return [panel for row in explorer.draw(explorer.state, found)[tab] for panel in row]


def heats(explorer, tab):
    return {p.title: p.heat.values for p in panels(explorer, tab) if getattr(p, "heat", None)}


# --- what the network does ---


def test_behind_the_heatmaps_it_is_the_whole_network(estimator, windows, rough):
    inside = otpose.look_inside(estimator, rough)
    with torch.inference_mode():
        found = estimator.model(windows.batch([0, 1])["images"])
        xy, _ = estimator.model.decode(found)
    np.testing.assert_allclose(rough, found["rough"], atol=1e-5)
    np.testing.assert_allclose(inside.heatmaps, found["heatmaps"], atol=1e-5)
    np.testing.assert_allclose(inside.xy_crop, xy, atol=1e-3)
    np.testing.assert_allclose(inside.xy_crop, peaks(estimator, found["heatmaps"]), atol=1e-3)
    assert {"flow.total", "mask.far", "psi", "branch.sub.blocks.1.map"} <= set(inside.taps)
    assert not otpose.look_inside(estimator, rough, ()).taps


def test_distances_and_edits_reach_the_flows(estimator, rough):
    plain = otpose.look_inside(estimator, rough, ["flow.*"])
    free = otpose.look_inside(estimator, rough, ["flow.*"], distance=torch.zeros(1, 5))
    np.testing.assert_allclose(free.taps["flow.prev"], rough[:, :3].sum(1), atol=1e-5)
    np.testing.assert_allclose(free.taps["flow.total"], plain.taps["flow.total"])
    edited = otpose.look_inside(estimator, rough, (), edit={"psi": torch.zeros_like})
    assert np.abs(edited.heatmaps - plain.heatmaps).max() > 0 and not edited.taps["psi"].any()


def test_switches_keep_the_weights(estimator, rough):
    plain = otpose.look_inside(estimator, rough, ()).heatmaps
    same = otpose.look_inside(estimator.switched(), rough, ()).heatmaps
    np.testing.assert_array_equal(same, plain)
    for changes in ({"sigmoid": False}, {"scramble": True}, {"frames": (-2, -1, 0, 1, 1)}):
        other = otpose.look_inside(estimator.switched(**changes), rough, ()).heatmaps
        assert np.abs(other - plain).max() > 0, changes


def test_maps_are_made_worse_where_they_should_be(rough):
    assert otpose.degraded(rough, 0.0) is rough
    spot = torch.zeros(1, 5, K, 31, 29)  # wide enough for all of the blur
    spot[..., 15, 14] = 1
    weak = otpose.degraded(spot, 1.0, frames=(2,))
    changed = (weak != spot).flatten(3).any(-1)[0]
    assert changed[2].all() and changed.sum() == K
    assert weak[0, 2, 4].sum() == pytest.approx(0.1, abs=1e-3), "a tenth, and nothing else is lost"
    assert weak[0, 2, 4].argmax() == spot[0, 2, 4].argmax()
    assert weak[0, 2, 4].max() < 0.01
    assert (otpose.degraded(spot, 0.5) != spot).flatten(3).any(-1).all()


def test_an_exchanged_feature_leaves_the_others(estimator, rough):
    names = ["flow.*", "mask.*", "psi"]
    before = otpose.look_inside(estimator, rough, names)
    for feature in ("flow.far", "mask.prev", "psi"):
        edit = exchanges(before.taps, feature)
        after = otpose.look_inside(estimator, rough, names, edit=edit)
        for name, was in before.taps.items():
            expected = was[::-1] if name == feature else was
            np.testing.assert_allclose(after.taps[name], expected, atol=1e-5)
        assert np.abs(after.heatmaps - before.heatmaps).max() > 0


def test_axes_name_the_model_s_channels_in_their_order(estimator, rough):
    inside = otpose.look_inside(estimator, rough, ["branch.*.map"])
    maps = otpose.attention_maps(estimator, inside)
    for exchanged in (False, True):
        one = estimator.switched(exchanged=exchanged)
        axes = otpose.attention_axes(one)
        assert axes.keys() == maps.keys()
        for branch, channels in one.model.channels.items():
            asks, answers = axes[f"branch {branch}"]
            assert asks.labels == answers.labels == tuple(f"{j} · {f}" for j, f in channels)
            assert asks.joints == one.skeleton.joints
    assert maps["branch sub"].shape == (TINY.layers, TINY.heads, 8 * K, 8 * K)
    np.testing.assert_array_equal(maps["branch sub"][1], inside.taps["branch.sub.blocks.1.map"][0])


def test_arrows_start_on_the_regular_grid_and_end_where_it_reads():
    offsets = np.zeros((1, 2, K, 9, 2, H, W), np.float32)
    modulation = np.zeros((1, 2, K, 9, H, W), np.float32)
    heat = np.zeros((1, K, H, W), np.float32)
    heat[0, 5, 4, 3] = 1  # the answer: x = 3, y = 4
    offsets[0, 1, 5, 0, :, 4, 3] = (1, 2)  # of the tap above to the left: dy = 1, dx = 2
    modulation[0, 1, 5, 8, 4, 3] = 0.5
    taps = {"refine.offsets": offsets, "refine.modulation": modulation}
    inside = Inside(np.zeros((1, K, 2)), heat, taps)
    reads = otpose.readings(inside, 5, (1, 2), np.array([[4.0, 0, 1], [0, 4, 1]]))
    np.testing.assert_allclose(reads[1, 0], [4 * 1 + 1, 4 * 2 + 1, 4 * 3 + 1, 4 * 3 + 1, 0])
    np.testing.assert_allclose(reads[1, 8], [4 * 5 + 1, 4 * 6 + 1] * 2 + [0.5])
    np.testing.assert_allclose(reads[0, 0], [4 * 2 + 1, 4 * 3 + 1] * 2 + [0])


# --- explorer ---


def test_it_starts_with_the_network_s_own_answer(explorer, estimator, windows, rough):
    found = explorer.compute(explorer.state)
    own = otpose.look_inside(estimator, rough[:1])
    np.testing.assert_allclose(found.xy[otpose.FINAL], own.xy_crop[0], atol=1e-4)
    np.testing.assert_allclose(found.xy[SINGLE], peaks(estimator, rough[:1, 2])[0], atol=1e-4)
    j = explorer.estimator.skeleton.index("left_wrist")
    shown = heats(explorer, "answer")
    for t, title in enumerate(otpose.FRAMES):
        np.testing.assert_allclose(shown[title], rough[0, t, j], atol=1e-5)
    np.testing.assert_allclose(shown["mask total"], own.taps["mask.total"][0, j], atol=1e-4)
    flows = heats(explorer, "flows and masks")
    assert list(flows) == [f"flow {k}" for k in FLOWS] + ["psi"] + [f"mask {k}" for k in FLOWS] + [
        "out"
    ]
    np.testing.assert_allclose(flows["out"], own.heatmaps[0, j], atol=1e-5)
    first, *_ = panels(explorer, "answer")
    assert all(frame is own for frame, own in zip(first.frames, found.person.frames))
    np.testing.assert_array_equal(first.frames[2], windows.sample(0).crops[2])


def test_the_sentence_and_the_bars_by_hand(explorer, windows, rough, estimator):
    window, j = windows.sample(0), explorer.estimator.skeleton.index("left_wrist")
    answers = peaks(estimator, rough[:1, 2])[0], otpose.look_inside(estimator, rough[:1]).xy_crop[0]
    errors = [np.linalg.norm(xy - window.xy_crop[2], axis=-1) for xy in answers]
    use = window.visibility[2] > 0
    before, after = (each[use].mean() for each in errors)
    assert f"joints {before:.1f} → {after:.1f} px ({after - before:+.1f})" in explorer.verdict
    assert "you changed" not in explorer.verdict
    *_, bars = panels(explorer, "answer")
    values = np.array([bar.value for bar in bars.bars])
    np.testing.assert_allclose(values[use], (errors[0] - errors[1])[use], atol=1e-3)
    assert np.isnan(values[~use]).all()
    assert [bar.mark == "✕" for bar in bars.bars] == (window.visibility[2] == 1).tolist()
    hidden = "hidden " * int(window.visibility[2, j] == 1)
    said = f"{hidden}left_wrist {errors[0][j]:.1f} →" if use[j] else "left_wrist has no label"
    assert said in explorer.verdict
    nearer = ["ours" if b <= a else "detector" for a, b in zip(*errors)]
    assert [bar.role for bar, of in zip(bars.bars, use) if of] == list(np.array(nearer)[use])


def test_what_the_reader_changed_is_said_of_the_joint_that_is_followed(explorer, windows):
    joint = "head_top" if "head_top" in explorer.kin.joints else explorer.kin.joints[0]
    explorer.choose(joint=joint)
    j, truth = explorer.kin.index(joint), windows.sample(0).xy_crop[2]
    before = explorer.compute(explorer.state).xy[otpose.FINAL]
    explorer.choose(degrade=1.0)
    after = explorer.compute(explorer.state).xy[otpose.FINAL]
    was, now = (np.linalg.norm(xy - truth, axis=-1)[j] for xy in (before, after))
    use = windows.sample(0).visibility[2] > 0
    said = f"{joint} {was:.1f} → {now:.1f} px ({now - was:+z.1f}), " if use[j] else ""
    assert explorer.verdict.startswith(f"What you changed: {said}all joints ")


def test_two_controls_stand_in_sight(explorer):
    seen = [c for c in explorer.declared.values() if not c.more and c.kind != "list"]
    assert [control.name for control in seen] == ["joint", "size"]


def test_every_choice_of_every_control_is_answered(explorer):
    for name, control in explorer.declared.items():
        values = control.options if control.kind == "choice" else (control.low, control.high)
        for value in values if control.kind in ("choice", "number") else ():
            explorer.choose(**{name: value})
            assert "all labelled joints" in explorer.verdict, (name, value)
            assert "nan" not in explorer.verdict
        explorer.choose(**{name: control.value})


def test_map_joint_and_distance(explorer, rough):
    explorer.choose(map="flow.prev", joint="nose", distance=0)
    np.testing.assert_allclose(
        heats(explorer, "answer")["flow prev"], rough[0, :3, 0].sum(0), atol=1e-5
    )
    explorer.choose(distance=2)
    twice = keypoint_flows(rough[:1], torch.tensor([[4, 2, 0, 2, 4]]))["prev"][0, 0]
    np.testing.assert_allclose(heats(explorer, "answer")["flow prev"], twice, atol=1e-5)


def test_a_scale_ends_where_its_own_map_does_as_long_as_nothing_is_changed(explorer, rough):
    def ends():
        tabs = explorer.draw(explorer.state, explorer.compute(explorer.state))
        shown = [p for rows in tabs.values() for row in rows for p in row if p.kind != "bars"]
        return {p.title: (p.heat.low, p.heat.high) for p in shown if p.heat}

    before, j = ends(), explorer.kin.index("left_wrist")
    for t in otpose.FRAMES:  # one scale, to be compared
        assert before[t] == (0, pytest.approx(rough[0, :, j].abs().max().item(), rel=0.05))
    flow = rough[0, :, j].sum(0).abs().max().item()
    assert before["flow total"] == (0, pytest.approx(flow, rel=0.05))
    explorer.choose(**{"degrade": 1.0, "brush": MIDDLE, "distance": 0, "knocked out": LAST_HEAD})
    assert ends() == before
    explorer.choose(joint="nose")
    assert ends() != before


LAST_HEAD = [["branch sub", TINY.layers - 1, TINY.heads - 1]]


def test_the_backbone_is_asked_for_painted_frames_alone(explorer, monkeypatch):
    asked, real = [], explorer.heatmaps
    monkeypatch.setattr(explorer, "heatmaps", lambda crops: asked.append(len(crops)) or real(crops))
    before = explorer.compute(explorer.state)
    explorer.choose(degrade=0.7)
    explorer.choose(degrade=0, joint="nose", size=20)
    assert not asked
    explorer.choose(brush=MIDDLE)
    found = explorer.compute(explorer.state)
    assert asked == [1]
    np.testing.assert_array_equal(found.rough[[0, 1, 3, 4]], before.rough[[0, 1, 3, 4]])
    assert (found.rough[2] != before.rough[2]).any()
    explorer.choose(brush=[{**MIDDLE[0], "frames": [0, 4]}])
    assert asked == [1, 5]
    explorer.choose(brush=[])
    np.testing.assert_allclose(
        explorer.compute(explorer.state).inside.heatmaps, before.inside.heatmaps, atol=1e-6
    )


def test_paint_hides_visible_joints_and_leaves_the_pictures_alone(explorer, windows):
    pictures, window = explorer.pictures, windows.sample(0)
    xy, visible = window.xy_crop[2], window.visibility[2] == 2
    x, y = xy[visible][0]
    explorer.choose(brush=[patch(float(x), float(y), 9.0, (2, 2))])
    assert explorer.pictures == pictures, "the browser paints"
    under = visible & (np.abs(np.rint(xy) - np.rint((x, y))).max(-1) <= 3)
    outside = visible & (np.abs(np.rint(xy) - np.rint((x, y))).max(-1) > 6)
    key = next(panel for panel in panels(explorer, "answer") if panel.title == "t: click a joint")
    newly = key.people[0].marks == NEWLY_HIDDEN
    assert newly[under].all()
    assert under.any()
    assert not newly[outside].any()
    explorer.choose(brush=[patch(float(x), float(y), 9.0, (1, 1))])
    key = next(panel for panel in panels(explorer, "answer") if panel.title == "t: click a joint")
    assert not (key.people[0].marks == NEWLY_HIDDEN).any(), "another frame's paint hides nobody"


def test_degrading_all_frames_and_taking_a_joint_out(explorer):
    before = explorer.compute(explorer.state).rough
    explorer.choose(degrade=0.5)
    assert not (explorer.compute(explorer.state).rough == before).all((2, 3)).any()
    explorer.choose(degrade=0, hidden=[3])
    gone = explorer.compute(explorer.state).rough
    assert not gone[:, 3].any()
    np.testing.assert_array_equal(np.delete(gone, 3, 1), np.delete(before, 3, 1))


def test_a_knocked_out_head_looks_at_all_alike(explorer):
    plain = explorer.compute(explorer.state)
    explorer.attention.restore({"knocked_out": LAST_HEAD})
    assert explorer.state["knocked out"] == LAST_HEAD
    found = explorer.compute(explorer.state)
    for maps in (found.looks["maps"], found.looks["other"]):
        np.testing.assert_allclose(maps["branch sub"][-1, -1], 1 / (8 * K))
    np.testing.assert_array_equal(
        found.looks["maps"]["branch prev"], plain.looks["maps"]["branch prev"]
    )
    assert np.abs(found.inside.heatmaps - plain.inside.heatmaps).max() > 0


def test_a_second_checkpoint_stands_beside_and_answers(estimator, windows):
    rival = estimator.switched(sigmoid=False)
    explorer = otpose.OTPoseExplorer(
        estimator, windows, rival=rival, names=("ours", "theirs"), state={"answered by": "theirs"}
    )
    assert explorer.attention.names == ["ours", "theirs"]
    own = rival.read(windows.batch([0])["images"]).xy_crop[0]
    found = explorer.compute(explorer.state)
    np.testing.assert_allclose(found.xy[otpose.FINAL], own, atol=1e-3)
    key = next(panel for panel in panels(explorer, "answer") if panel.title == "t: click a joint")
    assert [who.role for who in key.people] == ["truth", "detector", "rival"]
    np.testing.assert_array_equal(
        found.looks["maps"]["branch prev"], found.looks["other"]["branch prev"]
    )


@pytest.mark.parametrize("labelled", [True, False])
def test_people_without_labels_are_shown_all_the_same(estimator, labelled):
    """Nobody's labels, or a detector's: no truth is drawn, and no error said."""
    flags = FLAGS if not labelled else np.zeros_like(FLAGS)
    windows = some_windows(flags)
    windows.items = np.array([[0, 0, 2], [0, 1, 2]])
    explorer = otpose.OTPoseExplorer(estimator, windows, labelled=labelled)
    for changes in ({}, {"brush": MIDDLE}, {"person": 1}, {"degrade": 1.0}):
        explorer.choose(**changes)
        assert "rror" not in explorer.verdict
        assert "what you changed moves it by" in explorer.verdict
        assert "nan" not in explorer.verdict
    tabs = explorer.draw(explorer.state, explorer.compute(explorer.state))
    shown = [p for rows in tabs.values() for row in rows for p in row]
    pictures = [p for p in shown if p.kind == "picture"]
    assert not any(who.role == "truth" for p in pictures for who in p.people)
    assert not any(p.rim for p in pictures)
    bars = next(p for p in shown if p.kind == "bars")
    assert all(bar.value >= 0 and not bar.mark for bar in bars.bars)


def test_labels_that_say_nothing_about_occlusion_are_not_told_hidden(estimator):
    explorer = otpose.OTPoseExplorer(estimator, some_windows(FLAGS, known=False))
    assert "hidden" not in explorer.verdict
    *_, bars = panels(explorer, "answer")
    assert not any(bar.mark for bar in bars.bars)
    assert np.isfinite([bar.value for bar in bars.bars]).sum() == (FLAGS[0] > 0).sum()


def test_a_state_is_shown_again(explorer, estimator, windows):
    explorer.choose(person=1, joint="nose", brush=MIDDLE, map="phi.sub", distance=0.5)
    explorer.attention.restore({"fold": "flow", "knocked_out": LAST_HEAD})
    again = otpose.OTPoseExplorer(estimator, windows, state=explorer.permalink())
    assert again.data == explorer.data
    assert again.verdict == explorer.verdict
    assert again.attention.data == explorer.attention.data
    assert again.attention.state == explorer.attention.state
    first = otpose.OTPoseExplorer(estimator, windows, joint="left_ankle").attention.state
    assert (first["fold"], first["focus"]) == ("joint", explorer.kin.index("left_ankle"))


def test_a_page_holds_what_the_kernel_says(explorer, monkeypatch):
    asked = list(explorer.questions())
    start = {"joint": "left_wrist", "brush": [], "map": "mask.total"}
    changed = [[name for name in start if one[name] != start[name]] for one in asked]
    assert max(map(len, changed)) == 1, "no answer holds what the reader did not choose"
    patches = [one["brush"][0] for one in asked if one["brush"]]
    assert {tuple(one["frames"]) for one in patches} == {(t, t) for t in range(5)}
    spots = otpose.spots(explorer, 0, explorer.kin.index("left_wrist"))
    assert list(spots) == [0, 1, 3, 4] and all(spot in patches for spot in spots.values())
    assert {one["joint"] for one in asked} == set(explorer.declared["joint"].options)
    few = [{"map": "psi"}, {"joint": "nose"}, {"brush": patches[4:5]}, {}]
    few = [start | change for change in few]
    monkeypatch.setattr(explorer, "questions", lambda: few)
    stored = json.loads(json.dumps(explorer.kept()))["values"]["stored"]
    for change, answer in zip(few, stored, strict=True):
        explorer.choose(**change)
        assert answer["state"] == change
        assert answer["verdict"] == explorer.verdict
        assert answer["tabs"] == json.loads(json.dumps(explorer.tabs))
        assert base64.b64decode(answer["data"]) == explorer.data
        assert "pictures" not in answer
    names = [answer["attention"]["names"][0] for answer in stored]
    assert names == ["trained", "trained", "trained, before this change", "trained"]


def test_models_without_such_attention_are_refused(windows):
    for changes in ({"window": 19}, {"split_joints": True}):
        estimator = ClipEstimator(build("otpose", replace(TINY, **changes)))
        with pytest.raises(BadParameter, match="from channel to channel"):
            otpose.OTPoseExplorer(estimator, windows)


@pytest.mark.parametrize("variant", ["one_branch", "no_encoder"])
def test_variants_have_the_maps_that_they_have(windows, variant):
    estimator = ClipEstimator(build("otpose", tiny("otpose", variant)))
    explorer = otpose.OTPoseExplorer(estimator, windows)
    assert "psi" not in explorer.declared["map"].options
    assert "psi" not in heats(explorer, "flows and masks")
    assert [m["name"] for m in explorer.attention.maps] == [
        f"branch {name}" for name in estimator.model.config.branches
    ]


# --- the trick in one screen


@pytest.fixture(scope="module")
def answers(estimator, rough):
    return otpose.answered(estimator, rough)


def test_three_answer(estimator, rough, answers):
    assert list(answers) == [SINGLE, MEAN, otpose.FINAL]
    assert np.allclose(answers[MEAN], peaks(estimator, rough.sum(1)))
    assert np.allclose(answers[otpose.FINAL], otpose.look_inside(estimator, rough).xy_crop)


def test_the_cases_have_the_largest_and_smallest_gain_against_the_better_rival():
    truth = np.zeros((2, 3, 2), np.float32)
    off = {
        SINGLE: [[9, 9, 3], [4, 5, 9]],
        MEAN: [[5, 8, 9], [9, 5, 6]],
        otpose.FINAL: [[4, 9, 1], [9, 5, 1]],
    }
    told = {who: truth + np.array(x, np.float32)[..., None] * (1, 0) for who, x in off.items()}
    told = {who: x.astype(np.float32) for who, x in told.items()}
    use = np.ones((2, 3), bool)
    assert otpose.extremes(told, truth, use) == ((1, 2), (1, 0))
    use[1] = False
    assert otpose.extremes(told, truth, use) == ((0, 2), (0, 1))


@pytest.fixture(scope="module")
def told(estimator, windows, rough, answers):
    shown = np.full((len(windows), K), 3)
    around = [np.stack([xy] * 2, 1) for xy in np.random.default_rng(2).uniform(0, 60, (2, 5, K, 2))]
    return otpose.followed(estimator, windows, rough, answers, shown, around)


def test_the_steps_hold_the_tensors_of_the_pass(estimator, windows, rough, answers, told):
    stepper = otpose.trick(*told)
    truth, flags = otpose.true_places(windows)
    places = otpose.extremes(answers, truth, flags == 1)
    for one, (person, j), case in zip(told, places, stepper.told.values()):
        assert one.j == j and f"of {(flags == 1).sum()} joints" in case.rule
        assert [step.lit for step in case.steps] == list(otpose.PIPELINE)
        inside = otpose.look_inside(estimator, rough[[person]])
        maps, flows, heard, answer = (step.panels for step in case.steps)
        assert np.allclose([panel.heat.values for panel in maps[:5]], rough[person, :, j])
        spots = peaks(estimator, rough[person])[:, j]
        near = [np.linalg.norm(one.around[t, 0] - spots[t], axis=-1).argmin() for t in range(5)]
        assert len({(panel.heat.low, panel.heat.high) for panel in maps[:5]}) == 1, "one scale"
        assert np.allclose(answer[0].heat.values, inside.heatmaps[0, j])
        for t, panel in enumerate(maps[:5]):
            grey = panel.people[0]
            assert (grey.role == "soft") == (t != otpose.KEY), "its place in t"
            if t != otpose.KEY:
                np.testing.assert_array_equal(grey.xy[j], truth[person, j])
            name = estimator.skeleton.joints[near[t]].replace("_", " ")
            here = f"{otpose.FRAMES[t]}: {one.heights[t]:.2f} here"
            assert panel.title == f"{here}; top: {name}"
        for name, panel in zip(("flow.prev", "flow.total", "mask.total"), flows):
            assert np.allclose(panel.heat.values, inside.taps[name][0, j], atol=1e-6)
            spot = peaks(estimator, torch.from_numpy(inside.taps[name]))[0, j]
            off = np.linalg.norm(spot - truth[person, j])
            assert panel.title == f"{name.replace('.', ' ')}: {off:.1f} px off"
        assert np.isclose(sum(bar.value for bar in heard[0].bars), 100, atol=1e-3)
        off = [np.linalg.norm(xy[person, j] - truth[person, j]) for xy in answers.values()]
        assert np.allclose([bar.value for bar in answer[-1].bars], off, atol=1e-3)
        rival = (SINGLE, MEAN)[int(np.argmin(off[:2]))]
        title = f"{rival} {min(off[:2]):.1f} px, OTPose {off[2]:.1f} px"
        assert case.steps[-1].title == title


def test_heights_are_read_at_the_true_place(estimator, told):
    one = told[0]
    maps = np.zeros_like(one.rough)
    to_heatmap = estimator.model.to_heatmap.cpu().numpy()
    x, y = np.rint(to_heatmap[:, :2] @ one.truth[one.j] + to_heatmap[:, 2]).astype(int)
    x, y = np.clip((x, y), 0, (W - 1, H - 1))
    maps[(1, 3), one.j, y, x] = 0.5, 0.25
    maps[4, one.j, y - 1, x] = 1.0
    assert replace(one, rough=maps).heights.tolist() == [0, 0.5, 0, 0.25, 0]


def test_a_box_holds_the_joint_and_stays_in_the_crop(told):
    (w, h), truth = TINY.size, told[0].truth[told[0].j]
    other = truth + np.array([3, -2], np.float32)
    x0, y0, x1, y1 = told[0].near(other)
    assert (x1 - x0, y1 - y0) == pytest.approx((w / 3, w / 3))
    assert -0.5 <= x0 < x1 <= w - 0.5 and -0.5 <= y0 < y1 <= h - 0.5
    for x, y in np.clip((truth, other), 0, (w - 1, h - 1)):
        assert x0 <= x <= x1 and y0 <= y <= y1
    x0, y0, x1, y1 = told[0].near(truth - w, truth + w)
    assert (x1 - x0, y1 - y0) == pytest.approx((w, w))


# --- the adding machine


@pytest.mark.parametrize("on", [(1, 1, 1, 1, 1), (0, 0, 1, 0, 0), (1, 0, 0, 1, 0), (0,) * 5])
def test_what_is_switched_on_is_added_up(estimator, told, on):
    machine, one = otpose.AddingMachine(told[0]), told[0]
    machine.choose(**dict(zip(otpose.FRAMES, map(bool, on))))
    found = machine.compute(machine.state)
    maps = torch.from_numpy(one.rough * np.array(on, np.float32)[:, None, None, None])
    np.testing.assert_allclose(found.total, maps.sum(0)[one.j], atol=1e-6)
    (row, (whole, total, bars)) = machine.draw(machine.state, found)[""]
    assert [panel.heat is not None for panel in row] == list(map(bool, on))
    values = total.heat.values
    first = np.linalg.inv(one.estimator.model.to_crop.numpy()[:, :2]) @ (
        total.heat.affine[:, 2] - one.estimator.model.to_crop.numpy()[:, 2]
    )
    x, y = np.rint(first).astype(int)  # what lies in the box is sent alone
    assert np.allclose(values, found.total[y:, x:][: len(values), : len(values[0])])
    lit = np.argwhere((whole.frames[0] != machine.crops[otpose.KEY]).any(-1))
    assert np.allclose(lit.min(0), np.rint(machine.box[1::-1]).clip(0), atol=1)
    if not any(on):
        assert np.isnan(bars.bars[0].value)
        assert machine.verdict == "No frame is on: there is nothing to add up."
        return
    off = [one.away(peaks(estimator, maps.sum(0)[None])[0])]
    assert f"highest {off[0]:.1f} px from" in machine.verdict
    assert (otpose.FINAL in machine.verdict) == all(on), "it has learned with all five alone"
    if all(on):
        off.append(one.away(otpose.look_inside(estimator, maps[None], ()).xy_crop[0]))
        assert machine.verdict.endswith(f"{off[1]:.1f} px.")
    off.append(one.away(one.xy[SINGLE]))
    assert np.allclose([bar.value for bar in bars.bars], off, atol=1e-3)


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_places_of_reading_are_moved_by_a_share_of_the_offsets(estimator, told, share, alike):
    stage, one = otpose.Reading({"a": told[1], "b": told[0]}), told[0]
    stage.choose(case="b", **{otpose.SHIFT: share, otpose.ALIKE: alike})
    edit = {"refine.offsets": lambda x: share * x}
    if alike:
        edit["branch.*.map"] = uniform()
    expected = otpose.look_inside(estimator, torch.from_numpy(one.rough)[None], edit=edit)
    ((total, _, bars),) = stage.draw(stage.state, stage._found)[""]
    np.testing.assert_allclose(stage._found.xy_crop, expected.xy_crop)
    moved = total.arrows[0].ends
    assert np.allclose(moved[:, :2], moved[:, 2:4]) == (share == 0)
    assert moved[:, 4].max() == pytest.approx(5) and moved[:, 4].min() >= 1
    values = {bar.label: bar.value for bar in bars.bars}
    assert np.allclose(values[otpose.FINAL], one.away(expected.xy_crop[0]))
    assert np.allclose(values["OTPose, learned"], one.away(one.xy[otpose.FINAL]), atol=1e-3)
    assert f"→ {one.away(expected.xy_crop[0]):.1f} px" in stage.verdict
    assert ("attention alike" in stage.verdict) == alike


def test_a_page_answers_for_every_reading(told):
    stage = otpose.Reading({"a": told[0], "b": told[1]})
    stored = stage.kept()["values"]["stored"]
    assert len({json.dumps(one["state"]) for one in stored}) == len(stored) == 20
    assert not any("pictures" in one for one in stored), "a page has each picture once"


def test_a_page_answers_every_choice_of_frames(told):
    machine = otpose.AddingMachine(told[0])
    asked = [tuple(one[frame] for frame in otpose.FRAMES) for one in machine.questions()]
    assert len(asked) == len(set(asked)) == 2**5


def test_attention_is_folded_by_joint():
    maps = np.zeros((2, 3, 2 * 8, 2 * 8))
    maps[-1, :, 8:, 3] = 0.75  # all features of joint 1 look at a feature of joint 0
    maps[-1, :, 8:, 9] = 0.25
    assert np.allclose(otpose.heard({"branch prev": maps}, 1), (0.75, 0.25))


# --- the exercise in the explorer


def test_the_exercise_scores_how_far_the_joint_is(estimator, explorer, windows):
    score, truth = otpose.lost(explorer, 0, 4), explorer.person(0).truth[4]
    plain = otpose.look_inside(estimator, explorer.person(0).rough[None]).xy_crop[0, 4]
    now = score(explorer.state, explorer.compute(explorer.state))
    assert np.isclose(now, np.linalg.norm(plain - truth), atol=1e-3)
    spot = otpose.spots(explorer, 0, 4)[4]
    xy = peaks(estimator, explorer.person(0).rough)[4, 4]
    assert spot == patch(*xy.tolist(), TINY.size[0] // 4, (4, 4))
    explorer.choose(brush=[spot])
    rough = explorer.under_paint(0, json.dumps([spot]))[0]
    other = otpose.look_inside(estimator, rough[None]).xy_crop[0, 4]
    now = score(explorer.state, explorer.compute(explorer.state))
    assert np.isclose(now, np.linalg.norm(other - truth), atol=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"brush": [patch(9, 9, 8, (2, 2))]},
        {"brush": [patch(9, 9, 8, (0, 0)), patch(9, 9, 8, (4, 4))]},
        {"brush": [patch(9, 9, 8, (0, 1))]},
        {"degrade": 0.5},
        {"distance": 0.5},
        {"hidden": [4]},
        {"person": 1},
        {"answered by": "random"},
    ],
)
def test_the_exercise_counts_nothing_else(explorer, change):
    score = otpose.lost(explorer, 0, 4)
    assert np.isfinite(score(explorer.state, explorer._found))
    explorer.choose(**change)
    assert np.isnan(score(explorer.state, explorer._found))


@pytest.fixture(scope="module")
def shipped():
    """What chapter 05 shows first: 24 test clips of people who pass each other."""
    own = load("otpose", device="cpu")
    people = recipe.people("test", own.model.config, n=24, data=recipe.PASSING)
    seen = rough_heatmaps(own, people)
    shown = recipe.frames_that_show(people, "test", recipe.PASSING)
    around = recipe.everybody(people, "test", recipe.PASSING)
    return own, people, seen, otpose.answered(own, seen), shown, around


def test_the_shipped_weights_win_and_lose_by_the_rule(shipped):
    own, people, seen, told, shown, around = shipped
    truth, flags = otpose.true_places(people)
    use = (flags == 1) & (shown >= 2)
    off = {who: np.linalg.norm(xy - truth, axis=-1) for who, xy in told.items()}
    best, worst = otpose.extremes(told, truth, use)
    rival = np.minimum(off[SINGLE], off[MEAN])
    assert use[best] and use[worst]
    assert off[otpose.FINAL][best] < 0.5 * rival[best]
    assert off[otpose.FINAL][worst] > 2 * rival[worst]
    helped, harmed = otpose.followed(own, people, seen, told, shown, around)
    helps, harms = otpose.trick(helped, harmed).told.values()
    assert f"OTPose {off[otpose.FINAL][best]:.1f} px" in helps.rule
    # in the one the others' hills stand where t has none, in the other they stand elsewhere
    title = "Frame t misses it; only t-2 tops at the left ankle and is higher here than t"
    assert helps.steps[0].title == title
    assert helped.heights[0] > np.delete(helped.heights, 0).max()
    assert harms.steps[0].title == "Frame t hits it; 4 of 4 others are highest at another joint"
    assert "the sum matters more" in helps.steps[2].words
    assert any("neighbour" in panel.title for panel in harms.steps[0].panels)
    # what the adding machine is to show: one frame less mends the first sum; t alone the second
    assert helped.away(helped.highest(helped.rough.sum(0))) > 15
    assert (
        min(helped.away(helped.highest(np.delete(helped.rough, t, 0).sum(0))) for t in range(5)) < 8
    )
    subsets = np.array(list(np.ndindex(*[2] * 5)), np.float32)[1:]
    sums = np.einsum("st,tkyx->skyx", subsets, harmed.rough)
    found = [harmed.away(harmed.highest(maps)) < 5 for maps in sums]
    assert subsets[found].tolist() == [[0, 0, 1, 0, 0]]


def test_the_exercise_can_be_done_with_the_shipped_weights(shipped):
    own, people, _, told, shown, _ = shipped
    truth, flags = otpose.true_places(people)
    (person, joint), _ = otpose.extremes(told, truth, (flags == 1) & (shown >= 2))
    # two cells of a heatmap further off; in a page, too: such a square is among the stored ones
    reach = np.floor(np.linalg.norm(told[otpose.FINAL][person, joint] - truth[person, joint]) + 8)
    explorer = otpose.OTPoseExplorer(own, people, index=person, joint=people.skeleton.joints[joint])
    score = otpose.lost(explorer, person, joint)
    asked = [one for one in explorer.asks() if one.get("brush")]
    done = [score(s, explorer.compute(s)) >= reach for s in (explorer.state | one for one in asked)]
    assert any(done) and not all(done)
