"""STDPose's views without a browser: hand-checkable parts, and controls that change what is
computed and drawn.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench import geometry, propagate
from workbench.models import build
from workbench.models.stdpose import TABLE_4, modified_sigmoid
from workbench.predict import Propagator
from workbench.records import Clip, Detections, Track, Video
from workbench.skeletons import skeleton
from workbench.view import dynamics, figures

TINY = tiny("stdpose")
K, (W, H), N = TINY.joints, TINY.grid, 7


@pytest.fixture(scope="module")
def propagator():
    torch.manual_seed(3)
    return Propagator(build("stdpose", TINY))


@pytest.fixture(scope="module")
def sets(propagator):
    """Two people in seven frames, labels three and six frames apart."""
    rng, tracks = np.random.default_rng(7), []
    for n in range(2):
        flags = np.tile(rng.permutation(np.repeat([0, 1, 2], (1, 6, 8))), (N, 1))
        xy = (
            rng.uniform(12, 68, (K, 2)) + rng.uniform(-2, 2, 2) * np.arange(N)[:, None, None] ** 1.5
        )
        boxes = np.array([[4.0 + 3 * n, 4, 76, 76]]).repeat(N, 0)
        tracks.append(
            Track("posetrack15", n + 5, xy * (flags > 0)[..., None], flags, np.ones(N, bool), boxes)
        )
    frames = rng.integers(0, 256, (N, 80, 80, 3), dtype=np.uint8)
    pairs = [(Clip(Video("made", N, 80, 80, 12.0), tuple(tracks), name="made"), frames)]
    return {T: propagator.windows(pairs, interval=T) for T in (3, 6)}


@pytest.fixture(scope="module")
def seen(propagator, sets):
    return dynamics.see(propagator, sets[3])


@pytest.fixture(scope="module")
def inside(propagator, seen):
    return dynamics.look_inside(propagator, seen)


@pytest.fixture(scope="module")
def carried(propagator, sets):
    single = Propagator(build("stdpose", replace(TINY, **TABLE_4["a"])))
    return {
        T: (windows, dynamics.carry_all(propagator, single, windows)) for T, windows in sets.items()
    }


# --- what the network does ---


def test_behind_the_features_it_is_the_whole_network(propagator, sets, inside, seen):
    assert len(sets[3]) == 8
    for given, found in (
        (True, inside),
        (False, dynamics.look_inside(propagator, seen, (), told=(0, 0))),
    ):
        answer = propagator.carry(sets[3], given=given).xy_frame
        np.testing.assert_allclose(
            geometry.apply(sets[3].affines(), answer), found.xy_crop, atol=1e-2
        )
    assert {"frames", "tks.space", "dam.residual", dynamics.CROSS.format(0), "out"} <= set(
        inside.taps
    )
    some = dynamics.see(propagator, sets[3], [5, 2])
    torch.testing.assert_close(some["features"], seen["features"][[5, 2]], atol=1e-4, rtol=1e-4)


def test_told_labels_take_the_place_of_estimates(propagator, seen):
    known = seen["auxiliary_weights"][:, 0].numpy() > 0
    for told in dynamics.TOLD.values():
        taps = dynamics.look_inside(propagator, seen, ["estimated", "frames"], told=told).taps
        same = (taps["estimated"] == taps["frames"]).all((-2, -1))
        assert same[:, 1].all()
        np.testing.assert_array_equal(same[:, 0], ~(known & bool(told[0])))
        assert same[:, 2].all() != bool(told[1])


def test_the_control_keeps_the_estimator_and_nothing_else(propagator, seen, inside):
    control = propagator.random_control(1)
    taps = dynamics.look_inside(control, seen, ["estimated", "tks.out"]).taps
    np.testing.assert_array_equal(taps["estimated"], inside.taps["estimated"])
    assert (taps["tks.out"] != inside.taps["tks.out"]).any()


def test_another_mask_by_hand(propagator, seen, inside):
    other = propagator.switched(k=4.0, theta=0.2, backward_weight=0.0)
    taps = dynamics.look_inside(other, seen, ["dam.out"]).taps
    active = modified_sigmoid(torch.from_numpy(inside.taps["dam.residual"][:, 0]), 4.0, 0.2)
    # the left frame's weight: how far the right one is
    near = 2 * seen["distance"][:, 1] / seen["distance"].sum(1)
    # the channels are summed in the beginning
    logits = (active.sum(1) * near[:, None, None]).flatten(1)
    np.testing.assert_allclose(taps["dam.out"].reshape(8, -1), logits.softmax(-1), atol=1e-6)
    again = dynamics.look_inside(propagator, seen, ["dam.out"]).taps["dam.out"]
    np.testing.assert_array_equal(again, inside.taps["dam.out"])


def test_edits_by_hand(propagator, seen, inside):
    np.testing.assert_allclose(
        dynamics.even(torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])), [[[1, 1], [1, 1]]]
    )
    weights = np.array([[0.1, 0.5, 0.4], [0.9, 0.0, 0.1]])
    assert dynamics.strongest(weights, 2).tolist() == [[False, True, True], [True, False, True]]
    assert dynamics.strongest(-weights, 1).tolist() == [[True, False, False], [False, True, False]]
    assert not dynamics.strongest(weights, 0).any() and dynamics.strongest(weights, 3).all()
    chosen = np.zeros((8, W * H // 16), bool)
    chosen[:, 4] = True  # third row, first column of 2 x 3 tokens
    fused = dynamics.look_inside(propagator, seen, ["tff.out"], edit=dynamics.blanked(chosen)).taps[
        "tff.out"
    ]
    before = inside.taps["tff.out"]
    np.testing.assert_allclose(fused[:, :, 2, 0], before.mean((2, 3)), atol=1e-6)
    assert (fused != before).any(1).sum((1, 2)).tolist() == [1] * 8


def test_tokens_stand_on_the_crop(propagator):
    model = propagator.model
    places, to_crop = dynamics.token_places(model), model.to_crop.numpy()
    assert places.shape == (6, 2) and dynamics.token_at(model, places).tolist() == list(range(6))
    np.testing.assert_allclose(
        places[3], [to_crop[0, 0] * 5.5 + to_crop[0, 2], to_crop[1, 1] * 5.5 + to_crop[1, 2]]
    )
    assert dynamics.token_at(model, np.array([[[1.0, 46.0]]])).tolist() == [[4]]


# --- what is carried ---


def test_errors_and_distances_by_hand(sets):
    windows = sets[6]
    assert (
        dynamics.distances(sets[3]).tolist() == [1] * 8
        and dynamics.distances(windows).tolist() == [1, 2, 3, 2, 1] * 2
    )
    truth = windows.poses()
    away = np.arange(1, 11)[:, None, None] * np.array([3.0, 4.0])
    found = Detections("posetrack15", truth.xy_frame + away, np.ones((10, K)), windows.boxes())
    error = dynamics.errors(windows, found)
    assert np.isnan(error[~truth.labelled]).all() and np.isnan(error).sum() == 10
    np.testing.assert_allclose(np.nanmean(error, 1), 5 * np.arange(1, 11), rtol=1e-5)
    rows = dynamics.by_distance(windows, {"made": found})
    means = {row["frames to the nearer label"]: row["mean error, px"] for row in rows}
    assert means == pytest.approx(
        {1: 5 * (1 + 5 + 6 + 10) / 4, 2: 5 * (2 + 4 + 7 + 9) / 4, 3: 5 * (3 + 8) / 2}, rel=1e-5
    )


def test_everybody_fills_the_same_gaps(carried):
    windows, poses = carried[3]
    assert set(poses) | {figures.REAL} == set(dynamics.COLOURS) and {
        len(found) for found in poses.values()
    } == {8}
    line = propagate.linear(windows).xy_frame
    np.testing.assert_array_equal(poses[dynamics.LINE].xy_frame, line)
    assert all(np.abs(poses[name].xy_frame - line).max() > 0 for name in list(poses)[1:])


def test_fast_joints_have_a_column():
    truth = np.zeros((1, 3, 2), np.float32)
    fast = np.array([[False, True, False]])
    row = dynamics.error_rows(
        {"a": truth + np.float32([[[0, 1], [0, 7], [0, 3]]])}, truth, np.array([[2, 2, 1]]), fast
    )[0]
    assert (row["blurred joints, px"], row["visible joints, px"], row["occluded joints, px"]) == (
        7,
        4,
        3,
    )


# --- pictures ---


def test_poses_are_drawn_where_they_are():
    joints = skeleton("posetrack15")
    # one bone is longer than nothing
    poses = {dynamics.FINAL: np.array([[[4.0, 5.0]] * (K - 1) + [[12.0, 5.0]]])}
    out = dynamics.draw_poses(np.zeros((20, 30, 3), np.uint8), poses, joints, zoom=3.0)
    orange = tuple(bytes.fromhex(figures.REFINED[1:]))
    assert (
        out.shape == (60, 90, 3) and tuple(out[16, 13]) == orange and tuple(out[16, 25]) == orange
    )  # the middle of a pixel
    assert not out[50].any() and not out[0].any()
    rim = dynamics.draw_poses(np.zeros((20, 30, 3), np.uint8), poses, joints, labelled=True)
    assert tuple(rim[0, 0]) == tuple(bytes.fromhex(figures.TRUTH[1:])) and tuple(
        rim[39, 59]
    ) == tuple(rim[0, 0])


def test_curves_and_paths_keep_their_colours():
    rows = [
        {"who": who, "T": t, "px": t + i}
        for i, who in enumerate((dynamics.LINE, dynamics.FINAL))
        for t in (2, 7)
    ]
    figure = dynamics.curves(rows, "made")
    assert [(t.name, t.line.color, list(t.y)) for t in figure.data] == [
        (dynamics.LINE, "#222222", [2, 7]),
        (dynamics.FINAL, figures.REFINED, [3, 8]),
    ]
    assert figure.layout.xaxis.title.text == "T" and figure.layout.yaxis.title.text == "px"
    picture = np.zeros((8, 9, 3), np.uint8)
    paths = {
        figures.REAL: np.array([[1.0, 2], [3, 4]]),
        dynamics.LINE: np.array([[1.0, 2], [5, 6]]),
    }
    figure = dynamics.path_figure({"a": picture, "b": picture}, paths, [3, 4], "made")
    assert [t.name for t in figure.data] == [figures.REAL, dynamics.LINE] * 2 and len(
        figure.layout.images
    ) == 2
    assert figure.data[1].text == (f"{dynamics.LINE}, frame 3", f"{dynamics.LINE}, frame 4")


def test_sigmoids_and_what_they_are_fed():
    figure = dynamics.sigmoids(
        {"a": (1.5, 0.5), "b": (5.0, 0.0)}, np.array([0.0, 0.0, 0.0, 1.0], np.float32), "made"
    )
    first, second, bars = figure.data
    assert min(first.y) == pytest.approx(1 / (1 + np.exp(0.75))) and min(second.y) == 0.5
    assert bars.y[30] == 0.75 and sum(bars.y) == 1 and bars.x[30] == pytest.approx(0.02)


# --- explorers ---


@pytest.fixture(scope="module")
def mask_explorer(propagator, sets):
    return dynamics.MaskExplorer(propagator, sets, interval=3)


@pytest.fixture(scope="module")
def look_explorer(propagator, sets):
    return dynamics.LookExplorer(propagator, sets, interval=3)


def test_k_theta_and_weights_change_mask_and_answer(mask_explorer, inside, monkeypatch):
    explorer, asked = mask_explorer, []
    j = explorer.skeleton.index("left_wrist")
    np.testing.assert_allclose(
        explorer.figure.data[5].z, inside.taps["dam.out"][0] * W * H, atol=1e-4
    )
    np.testing.assert_allclose(
        explorer.figure.data[3].z, np.abs(inside.taps["dam.residual"][0, 0, j]), atol=1e-5
    )
    monkeypatch.setattr(dynamics, "see", lambda *a: asked.append(a))
    before, curve = explorer.inside, explorer.figure.data[-2].y
    explorer.k.value, explorer.theta.value, explorer.backward.value = 10.0, 0.1, 0.0
    assert not asked, "the backbone is not run again"
    assert np.abs(explorer.inside.taps["dam.out"] - before.taps["dam.out"]).max() > 0
    x, y = explorer.figure.data[-2].x, explorer.figure.data[-2].y
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-10 * (np.abs(x) - 0.1))), atol=1e-6)
    assert np.abs(y - curve).max() > 0.2
    np.testing.assert_array_equal(explorer.shipped.heatmaps, before.heatmaps)
    assert (
        "the mask as shipped" in explorer.readout.value and "left_wrist" in explorer.readout.value
    )
    explorer.k.value = 0.0
    explorer.theta.value = 0.2
    assert np.ptp(explorer.figure.data[5].z) < 1e-4 and explorer.figure.data[5].zmax == 4, (
        "an even mask is pale"
    )
    explorer.weights.value = True
    assert np.abs(explorer.inside.heatmaps - before.heatmaps).max() > 0
    explorer.weights.value = False
    explorer.k.value, explorer.theta.value, explorer.backward.value = (
        TINY.k,
        TINY.theta,
        TINY.backward_weight,
    )
    np.testing.assert_allclose(explorer.inside.heatmaps, before.heatmaps, atol=1e-6)


def test_each_step_of_the_synthesis_is_shown(mask_explorer):
    explorer, j, seen = mask_explorer, mask_explorer.skeleton.index(mask_explorer.joint.value), []
    for name, tap in dynamics.MERGED.items():
        explorer.merged.value = name
        np.testing.assert_array_equal(
            explorer.figure.data[6].z, np.abs(explorer.inside.taps[tap][0, j])
        )
        assert explorer.figure.layout.annotations[6].text.startswith(f"|{name}|<br>up to ")
        seen.append(np.asarray(explorer.figure.data[6].z))
    assert not any(np.array_equal(a, b) for a, b in pairwise(seen))


def test_a_change_is_one_message_and_an_even_mask_is_asked_once(
    mask_explorer, look_explorer, monkeypatch
):
    asked, sent, even = [], [], dynamics.even
    monkeypatch.setattr(dynamics, "even", lambda x: asked.append(x) or even(x))
    for explorer in (mask_explorer, look_explorer):
        monkeypatch.setattr(
            explorer.figure, "_send_update_msg", lambda *a, **kw: sent.append(kw["relayout_data"])
        )
    for control, value in (
        (mask_explorer.theta, 0.3),
        (mask_explorer.opacity, 0.3),
        (look_explorer.count, 1),
    ):
        control.value = value
    assert len(sent) == 3 and not asked and not any("images" in layout for layout in sent)
    mask_explorer.told.value = (1, 0)
    mask_explorer.weights.value = True
    mask_explorer.frame.value = 5
    assert (
        len(sent) == 6
        and len(asked) == 3
        and ["images" in layout for layout in sent[3:]] == [False, False, True]
    )
    mask_explorer.weights.value, mask_explorer.told.value, mask_explorer.frame.value = (
        False,
        (1, 1),
        1,
    )


def test_gap_frame_person_and_labels(mask_explorer, propagator, sets):
    explorer = mask_explorer
    explorer.gap.value = 6
    assert explorer.window.frames.tolist() == [0, 1, 6]
    explorer.frame.value = 4
    assert (
        explorer.window.frames.tolist() == [0, 4, 6]
        and "between labels 0 and 6" in explorer.readout.value
    )
    explorer.gap.value, explorer.frame.value = 3, 3
    assert (
        explorer.window.frames[1] == 2
        and "Frame 3 is labelled; the nearest between labels is 2" in explorer.readout.value
    )
    explorer.person.value, explorer.frame.value = 1, 1
    row = next(i for i, item in enumerate(sets[3].items.tolist()) if item == [0, 1, 1])
    right = dynamics.look_inside(propagator, dynamics.see(propagator, sets[3], [row]), ())
    np.testing.assert_allclose(explorer.inside.heatmaps, right.heatmaps, atol=1e-5)
    explorer.told.value = (0, 0)
    assert np.abs(explorer.inside.heatmaps - right.heatmaps).max() > 0
    twin = explorer.static()
    assert [t.type for t in twin.data] == [t.type for t in explorer.figure.data] and len(
        twin.layout.images
    ) == 7
    np.testing.assert_array_equal(twin.data[5].z, explorer.figure.data[5].z)
    assert (
        "person 1, frame 1, T = 3, left_wrist" in twin.layout.title.text
        and "synthetic" in twin.layout.title.text
    )


def test_a_token_asks_and_is_clicked(look_explorer, propagator, inside):
    explorer = look_explorer
    at = int(
        dynamics.token_at(propagator.model, inside.xy_crop[0])[
            explorer.skeleton.index("left_wrist")
        ]
    )
    assert explorer.token.value == at
    asked = inside.taps[dynamics.CROSS.format(0)][0, :, at]
    np.testing.assert_allclose(np.ravel(explorer.figure.data[1].z), asked.mean(0), atol=1e-6)
    explorer.clicked(None, SimpleNamespace(point_inds=[(at + 1) % 6]), None)
    assert explorer.token.value == (at + 1) % 6
    explorer.head.value = 1
    asked = inside.taps[dynamics.CROSS.format(0)][0, 1, (at + 1) % 6]
    np.testing.assert_allclose(np.ravel(explorer.figure.data[1].z), asked, atol=1e-6)
    marks = explorer.figure.data[-2].marker
    assert [c == dynamics.CHOSEN for c in marks.color] == [s == "square" for s in marks.symbol]
    assert (
        marks.color.index(dynamics.CHOSEN) == (at + 1) % 6
        and marks.color.count(dynamics.CHOSEN) == 1
    )
    assert explorer.figure.layout.annotations[0].text.startswith("|TKS| of left_wrist")
    assert (np.ravel(explorer.figure.data[2].z) != asked).any(), (
        "the control asks with other weights"
    )


def test_what_is_looked_at_is_taken_away(look_explorer):
    explorer = look_explorer
    explorer.count.value = 0
    np.testing.assert_allclose(explorer.inside.heatmaps, explorer.shipped.heatmaps, atol=1e-6)
    explorer.count.value = 2
    weights = explorer.attention(explorer.shipped)
    assert set(np.flatnonzero(explorer.chosen[0])) == set(np.argsort(weights)[-2:])
    np.testing.assert_array_equal(explorer.figure.data[-1].marker.opacity, explorer.chosen[0])
    explorer.of.value = -1
    assert set(np.flatnonzero(explorer.chosen[0])) == set(np.argsort(weights)[:2])
    explorer.of.value = 0
    assert explorer.chosen.sum() == 2 and "2 image tokens" in explorer.readout.value
    explorer.count.value = 6
    change = np.abs(explorer.inside.heatmaps - explorer.shipped.heatmaps).max()
    assert change > 0 and f"heatmaps by up to {change:.2g}" in explorer.readout.value
    explorer.joint.value = "nose"
    assert (
        explorer.token.value
        == dynamics.token_at(explorer.models[False].model, explorer.shipped.xy_crop[0])[0]
    )
    assert np.shape(explorer.static().data[1].z) == (3, 2)


def test_the_player_shows_labels_and_gaps(carried):
    player = dynamics.PropagationPlayer(carried, interval=3)
    assert player.labelled().tolist() == [0, 3, 6]
    state = player.state()
    assert state["labelled"] and not state["errors"] and list(state["poses"]) == [figures.REAL]
    picture = player.canvas.picture
    player.frame.value = 1
    state, windows = player.state(), carried[3][0]
    assert not state["labelled"] and set(state["poses"]) == {
        figures.REAL,
        dynamics.LINE,
        dynamics.FINAL,
    }
    own = windows.items[:, 2] == 1
    line = carried[3][1][dynamics.LINE]
    np.testing.assert_array_equal(state["poses"][dynamics.LINE], line.xy_frame[own])
    assert state["errors"][dynamics.LINE] == pytest.approx(
        np.nanmean(dynamics.errors(windows, line)[own])
    )
    assert player.canvas.picture != picture and player.lines.layout.shapes[0].x0 == 1
    assert "mean error" in player.readout.value
    player.who[dynamics.FLOW].value = True
    assert dynamics.FLOW in player.state()["poses"]


def test_the_player_s_time_line_follows_the_gap(carried):
    player = dynamics.PropagationPlayer(carried, interval=3)
    names = [t.name for t in player.lines.data]
    assert names == [*dynamics.COLOURS, "labelled frames"] and list(player.lines.data[-1].x) == [
        0,
        3,
        6,
    ]
    assert [y is None for y in player.lines.data[1].y] == [
        True,
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    player.frame.value = 5
    captions = [a.text for a in player.static().layout.annotations]
    assert captions == ["frame 3, labelled", "frame 5", "frame 6, labelled"], (
        "the gap that holds the shown frame"
    )
    player.gap.value = 6
    assert list(player.lines.data[-1].x) == [0, 6] and player.labelled().tolist() == [0, 6]
    assert [y is None for y in player.lines.data[1].y] == [True, *[False] * 5, True]
    player.frame.value = 6
    twin = player.static()
    assert len(twin.layout.images) == 3 and [t.name for t in twin.data] == names
    assert [a.text for a in twin.layout.annotations] == [
        "frame 0, labelled",
        "frame 3",
        "frame 6, labelled",
    ]
