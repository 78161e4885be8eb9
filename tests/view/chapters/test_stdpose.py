"""STDPose's explorers without a browser: what they compute, draw and say, and what a page holds."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench import geometry, load, propagate
from workbench.errors import BadParameter
from workbench.models import build
from workbench.models.stdpose import TABLE_4, modified_sigmoid
from workbench.predict import Propagator
from workbench.predict.between import strongest
from workbench.recipes import stdpose as recipe
from workbench.records import Clip, Detections, Track, Video
from workbench.view import style
from workbench.view.chapters import stdpose as view
from workbench.view.panels import Bars, Lines, Picture
from workbench.view.stage import patch

TINY = tiny("stdpose")
UPPER = [patch(view.PATCH, view.PATCH, 2 * view.PATCH, (0, 0))]  # four of six image tokens
K, (W, H), N = TINY.joints, TINY.grid, 7


@pytest.fixture(scope="module")
def propagator():
    torch.manual_seed(3)
    return Propagator(build("stdpose", TINY))


@pytest.fixture(scope="module")
def clip():
    """Two people in seven frames."""
    rng, tracks = np.random.default_rng(7), []
    for n in range(2):
        flags = np.tile(rng.permutation(np.repeat([0, 1, 2], (1, 6, 8))), (N, 1))
        speed = rng.uniform(-2, 2, 2) * np.arange(N)[:, None, None] ** 1.5
        xy = (rng.uniform(12, 68, (K, 2)) + speed) * (flags > 0)[..., None]
        boxes = np.array([[4.0 + 3 * n, 4, 76, 76]]).repeat(N, 0)
        tracks.append(Track("posetrack15", n + 5, xy, flags, np.ones(N, bool), boxes))
    return Clip(Video("made", N, 80, 80, 12.0), tuple(tracks), name="made")


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(8).integers(0, 256, (N, 80, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def sets(propagator, clip, frames):
    """Labels three and six frames apart."""
    return {T: propagator.windows([(clip, frames)], interval=T) for T in (3, 6)}


@pytest.fixture(scope="module")
def sparse(propagator, clip, frames):
    """The user's own: labels in the first and last frame alone."""
    tracks = []
    for track in clip.tracks:
        given = np.isin(np.arange(N), (0, N - 1))
        flags = track.visibility * given[:, None]
        xy = track.xy_frame * (flags > 0)[..., None]
        tracks.append(replace(track, xy_frame=xy, visibility=flags, labelled=given))
    return {1: propagator.windows([(replace(clip, tracks=tracks), frames)])}


@pytest.fixture(scope="module")
def seen(propagator, sets):
    return view.see(propagator, sets[3])


@pytest.fixture(scope="module")
def inside(propagator, seen):
    return view.look_inside(propagator, seen)


@pytest.fixture(scope="module")
def carried(propagator, sets):
    single = Propagator(build("stdpose", replace(TINY, **TABLE_4["a"])))
    return {
        T: (windows, view.carry_all(propagator, single, windows)) for T, windows in sets.items()
    }


# --- what the network does ---


def test_behind_the_features_it_is_the_whole_network(propagator, sets, inside, seen):
    assert len(sets[3]) == 8
    for given, found in (
        (True, inside),
        (False, view.look_inside(propagator, seen, (), told=(0, 0))),
    ):
        answer = propagator.carry(sets[3], given=given).xy_frame
        np.testing.assert_allclose(
            geometry.apply(sets[3].affines(), answer), found.xy_crop, atol=1e-2
        )
    assert {"frames", "tks.space", "dam.residual", view.CROSS.format(0), "out"} <= set(inside.taps)
    some = view.see(propagator, sets[3], [5, 2])
    torch.testing.assert_close(some["features"], seen["features"][[5, 2]], atol=1e-4, rtol=1e-4)


def test_told_labels_take_the_place_of_estimates(propagator, seen):
    known = seen["auxiliary_weights"][:, 0].numpy() > 0
    for told in view.TOLD.values():
        taps = view.look_inside(propagator, seen, ["estimated", "frames"], told=told).taps
        same = (taps["estimated"] == taps["frames"]).all((-2, -1))
        assert same[:, 1].all()
        np.testing.assert_array_equal(same[:, 0], ~(known & bool(told[0])))
        assert same[:, 2].all() != bool(told[1])


def test_the_control_keeps_the_estimator_and_nothing_else(propagator, seen, inside):
    control = propagator.random_control(1)
    taps = view.look_inside(control, seen, ["estimated", "tks.out"]).taps
    np.testing.assert_array_equal(taps["estimated"], inside.taps["estimated"])
    assert (taps["tks.out"] != inside.taps["tks.out"]).any()


def test_another_mask_by_hand(propagator, seen, inside):
    other = propagator.switched(k=4.0, theta=0.2, backward_weight=0.0)
    taps = view.look_inside(other, seen, ["dam.out"]).taps
    active = modified_sigmoid(torch.from_numpy(inside.taps["dam.residual"][:, 0]), 4.0, 0.2)
    # the left frame's weight: how far the right one is
    near = 2 * seen["distance"][:, 1] / seen["distance"].sum(1)
    # the channels are summed in the beginning
    logits = (active.sum(1) * near[:, None, None]).flatten(1)
    np.testing.assert_allclose(taps["dam.out"].reshape(8, -1), logits.softmax(-1), atol=1e-6)
    again = view.look_inside(propagator, seen, ["dam.out"]).taps["dam.out"]
    np.testing.assert_array_equal(again, inside.taps["dam.out"])


def test_edits_by_hand(propagator, seen, inside):
    np.testing.assert_allclose(
        view.even(torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])), [[[1, 1], [1, 1]]]
    )
    weights = np.array([[0.1, 0.5, 0.4], [0.9, 0.0, 0.1]])
    assert strongest(weights, 2).tolist() == [[False, True, True], [True, False, True]]
    assert strongest(-weights, 1).tolist() == [[True, False, False], [False, True, False]]
    assert not strongest(weights, 0).any() and strongest(weights, 3).all()
    chosen = np.zeros((8, W * H // 16), bool)
    chosen[:, 4] = True  # third row, first column of 2 x 3 tokens
    edit = view.blanked(chosen)
    fused = view.look_inside(propagator, seen, ["tff.out"], edit=edit).taps["tff.out"]
    before = inside.taps["tff.out"]
    np.testing.assert_allclose(fused[:, :, 2, 0], before.mean((2, 3)), atol=1e-6)
    assert (fused != before).any(1).sum((1, 2)).tolist() == [1] * 8


def test_tokens_stand_on_the_crop(propagator):
    model = propagator.model
    assert view.token_grid(model) == (2, 3)
    middles = np.array([[4 * x + 1.5, 4 * y + 1.5] for y in range(3) for x in range(2)])
    places = geometry.apply(model.to_crop.double().numpy(), middles)
    assert view.token_at(model, places).tolist() == list(range(6))
    # heatmap pixels 3 and 4 are the last of one token and the first of the next
    edge = geometry.apply(model.to_crop.double().numpy(), np.array([[[3.4, 0.0], [3.6, 0.0]]]))
    assert view.token_at(model, edge).tolist() == [[0, 1]]
    assert view.token_at(model, np.array([[[-9.0, 99.0]]])).tolist() == [[4]]


# --- what is carried ---


def test_errors_by_hand(sets):
    windows = sets[6]
    truth = windows.poses()
    away = np.arange(1, 11)[:, None, None] * np.array([3.0, 4.0])
    found = Detections("posetrack15", truth.xy_frame + away, np.ones((10, K)), windows.boxes())
    error = view.errors(windows, found)
    assert np.isnan(error[~truth.labelled]).all() and np.isnan(error).sum() == 10
    np.testing.assert_allclose(np.nanmean(error, 1), 5 * np.arange(1, 11), rtol=1e-5)


def test_everybody_fills_the_same_gaps(carried):
    windows, poses = carried[3]
    assert list(poses) == [view.LINE, view.FLOW, view.SINGLE, view.FINAL]
    assert set(poses) <= set(style.ROLE_OF) and {len(found) for found in poses.values()} == {8}
    line = propagate.linear(windows).xy_frame
    np.testing.assert_array_equal(poses[view.LINE].xy_frame, line)
    assert all(np.abs(poses[name].xy_frame - line).max() > 0 for name in list(poses)[1:])


# --- explorers ---


def panels(explorer, tab):
    """By title."""
    tabs = explorer.draw(explorer.state, explorer._found)
    return {panel.title: panel for row in tabs[tab] for panel in row}


def titled(found, words):
    return next(panel for title, panel in found.items() if words in title)


def in_sight(explorer):
    return [c.name for c in explorer.declared.values() if not c.more and c.kind != "list"]


@pytest.fixture
def mask(propagator, sets):
    return view.MaskExplorer(propagator, sets, interval=3)


@pytest.fixture
def look(propagator, sets):
    return view.LookExplorer(propagator, sets, interval=3)


@pytest.fixture
def player(carried):
    return view.PropagationPlayer(carried, interval=3)


def test_what_is_in_sight(mask, look, player):
    assert in_sight(mask) == ["key frame", "k", "theta", "joint"]
    assert in_sight(look) == ["key frame", "joint", "size"]
    assert in_sight(player) == ["frame", "gap T", "strong", "error of"]


def test_the_mask_is_shown_on_scales_that_stay(mask, inside):
    shown = panels(mask, "mask")
    heat = shown["mask, × even"].heat
    np.testing.assert_allclose(heat.values, inside.taps["dam.out"][0] * W * H, atol=1e-4)
    assert (heat.low, heat.high) == (0, 4)
    j = mask.kin.index("left_wrist")
    for direction, name in enumerate(("left", "right")):
        heat = shown[f"key − {name}"].heat
        np.testing.assert_allclose(heat.values, inside.taps["dam.residual"][0, direction, j])
        assert heat.diverging and (heat.low, heat.high) == (-1, 1)
    mask.choose(k=10.0, theta=0.1, joint="nose")
    again = panels(mask, "mask")
    for title in ("mask, × even", "key − left", "key − right"):
        before, after = (found[title].heat for found in (shown, again))
        assert (before.low, before.high) == (after.low, after.high)
        assert (before.values != after.values).any()


def test_k_and_theta_change_mask_and_answer(mask, propagator):
    mask.choose(k=10.0, theta=0.1)
    other = propagator.switched(k=10.0, theta=0.1)
    expected = view.look_inside(other, mask.gap.seen["trained"], ["dam.out"])
    np.testing.assert_array_equal(mask._found.inside.heatmaps, expected.heatmaps)
    assert (mask._found.shipped.heatmaps != expected.heatmaps).any()
    again = view.look_inside(propagator, mask.gap.seen["trained"], ())
    np.testing.assert_array_equal(again.heatmaps, mask._found.shipped.heatmaps)  # left as it was
    mask.choose(k=0.0, theta=0.5)
    np.testing.assert_allclose(mask._found.inside.heatmaps, mask._found.even.heatmaps, atol=1e-5)
    assert "From 1.00 to 1.00 times even" in mask.verdict
    assert mask.verdict.startswith("This mask changes nothing here: no joint moves.")
    bars = titled(panels(mask, "mask"), "error against")
    assert [(bar.label, bar.value) for bar in bars.bars] == [("every joint", 0)]


def test_the_sentence_is_signed_and_counts_the_truth(mask, monkeypatch):
    mask.choose(k=10.0)
    window = mask.sets["3"].sample(mask.gap.place[1])
    truth, known = window.xy_crop[1], window.visibility[1] > 0
    scale = view.scales(mask.sets["3"])[mask.gap.place[1]]
    mean = {}
    for name in ("inside", "shipped", "even"):
        xy = getattr(mask._found, name).xy_crop[0]
        mean[name] = np.linalg.norm(xy - truth, axis=-1)[known].mean() / scale
    now = mean["inside"]
    assert f"mean error {now:.2f} px, {now - mean['shipped']:+.2f} against the mask" in mask.verdict
    assert f"{now - mean['even']:+.2f} against an even mask" in mask.verdict
    monkeypatch.setattr(view, "LEAST", 0.0)
    bars = titled(panels(mask, "mask"), "error against")
    assert [np.isfinite(bar.value) for bar in bars.bars] == known.tolist()
    assert np.nanmean([bar.value for bar in bars.bars]) == pytest.approx(
        now - mean["even"], abs=1e-5
    )
    assert bars.range[1] >= 1, "a small change looks small"


def test_the_backbone_runs_once_a_gap(mask, propagator, monkeypatch):
    asked, read = [], propagator.model.features_of
    monkeypatch.setattr(
        propagator.model, "features_of", lambda images: asked.append(1) or read(images)
    )
    mask.choose(k=3.0)
    mask.choose(joint="nose", told="none (estimation)")
    assert not asked
    mask.choose(person=1)
    assert asked == [1]


def test_gap_frame_person_and_labels(mask, propagator, sets):
    mask.choose(**{"gap T": "6", "key frame": 4})
    assert mask.gap.frames == [0, 4, 6]
    mask.choose(**{"gap T": "3", "key frame": 3})
    assert mask.gap.frames[1] == 2 and "frame 2, the nearest to 3" in mask.verdict
    mask.choose(person=1, **{"key frame": 1})
    row = next(i for i, item in enumerate(sets[3].items.tolist()) if item == [0, 1, 1])
    right = view.look_inside(propagator, view.see(propagator, sets[3], [row]), ())
    np.testing.assert_allclose(mask._found.inside.heatmaps, right.heatmaps, atol=1e-5)
    mask.choose(told="the right one")
    assert np.abs(mask._found.inside.heatmaps - right.heatmaps).max() > 0


def test_gaps_without_the_first_person_are_not_offered(propagator, sets):
    one, both = sets[6], sets[3]
    second = one.select(one.items[:, 1] == 1)
    assert view.MaskExplorer(propagator, {3: both, 6: second}).declared["gap T"].options == ("3",)
    found = view.MaskExplorer(propagator, {3: both, 6: second}, interval=6)
    assert found.declared["gap T"].options == ("3", "6") and found.people == [(0, 1)]


def test_random_weights_and_a_second_checkpoint(propagator, sets, mask):
    before = mask._found.inside.heatmaps
    mask.choose(weights="random")
    assert (mask._found.inside.heatmaps != before).any()
    torch.manual_seed(5)
    second = Propagator(build("stdpose", TINY))
    both = view.MaskExplorer(propagator, sets, rival=second, names=("first", "second"))
    both.choose(weights="second")
    expected = view.look_inside(second, view.see(second, sets[3], [0]), ())
    np.testing.assert_allclose(both._found.inside.heatmaps, expected.heatmaps, atol=1e-5)


def test_what_is_looked_at_is_taken_away(look):
    before = look._found.before
    j = look.kin.index("left_wrist")
    token = view.token_at(look.models["trained"].model, before.xy_crop[0])[j]
    asked = before.taps[view.CROSS.format(0)][0, :, token].mean(0)
    assert look.attention.state["focus"] == token
    assert look.attention.state["head"] == [view.LOOKED, 0, 0]
    np.testing.assert_allclose(look._found.inside.heatmaps, before.heatmaps, atol=1e-6)
    look.choose(brush=[patch(10, 10, 20, (0, 0))])  # the left column's first token alone
    assert np.flatnonzero(look._found.blanked).tolist() == [0]
    look.choose(brush=UPPER)
    assert np.flatnonzero(look._found.blanked).tolist() == [0, 1, 2, 3]
    share = asked[:4].sum()
    assert "4 of 6 image tokens" in look.verdict and f"{share:.0%}" in look.verdict
    shown = panels(look, "answer")
    looked = titled(shown, "press to blank").heat
    np.testing.assert_allclose(np.ravel(looked.values), 100 * asked, atol=1e-4)
    assert looked.low == 0 and looked.high == pytest.approx(100 * asked.max(), rel=0.06)
    change = np.abs(look._found.inside.heatmaps - before.heatmaps).max()
    assert change > 0


def test_the_maps_answer_to_hidden_places_and_heads(look):
    look_at = look.attention
    look.choose(brush=UPPER)
    assert look_at.hidden == [0, 1, 2, 3]
    look_at.hidden = [0, 1, 2, 3, 5]
    assert look.state["hidden"] == [5] and look._found.blanked.sum() == 5
    look_at.hidden = [1, 2, 3, 5]  # a click brings back what the paint took
    assert look.state["hidden"] == [0, 5]
    assert np.flatnonzero(look._found.blanked).tolist() == [1, 2, 3, 5]
    look_at.knocked_out = [[view.LOOKED, 0, 1]]
    assert look.state["knocked out"] == [[view.LOOKED, 0, 1]]
    maps = look._found.looks["maps"][view.LOOKED]
    np.testing.assert_allclose(maps[0, 1], 1 / 6, rtol=1e-6)
    assert (maps[0, 0] != maps[0, 1]).any() and "and 1 heads out" in look.verdict
    assert (look._found.looks["other"][view.LOOKED] != maps).any()


def test_the_row_of_the_maps_follows_the_joint(look):
    tokens = view.token_at(look.models["trained"].model, look._found.before.xy_crop[0])
    for joint, token in zip(look.kin.joints, tokens.tolist()):
        look.choose(joint=joint)
        assert look.attention.state["focus"] == token
    assert len(set(tokens.tolist())) > 1


def test_the_player_shows_labels_and_gaps(player, carried, clip):
    windows, poses = carried[3]
    assert list(player.now.given) == [0, 3, 6]
    row = panels(player, "stage")
    picture, curve = row.values()
    truth, *others, ours = picture.people
    line = others[0]
    assert [who.name for who in others] == list(view.RIVALS) and ours.name == view.FINAL
    assert not ours.small and all(who.small for who in (truth, *others))
    assert (truth.role, line.role) == ("truth", "soft") and picture.rim == (0, 3, 6)
    np.testing.assert_array_equal(truth.xy[:, 1], clip.tracks[1].xy_frame)
    assert np.isnan(line.xy[[0, 3, 6]]).all()
    for i, (_, n, key) in enumerate(windows.items.tolist()):
        np.testing.assert_array_equal(line.xy[key, n], poses[view.LINE].xy_frame[i])
    first = view.errors(windows, poses[view.LINE])[windows.items[:, 2] == 1]
    assert curve.lines[0].y[1] == pytest.approx(np.nanmean(first))
    assert np.isnan(curve.lines[0].y[3]) and [s[0] for s in curve.shaded] == [0, 3, 6]
    means = {who: np.nanmean(view.errors(windows, found)) for who, found in poses.items()}
    for who in view.RIVALS:
        way = "nearer" if means[view.FINAL] < means[who] else "further off"
        assert f"px {way} than the {who}" in player.verdict
        assert f"{who} {means[who]:.1f} px" in player.verdict.split("All 8 windows: ")[1]
    player.choose(strong=view.LINE, **{"error of": "nose"})
    last = panels(player, "stage")["strong: straight line"].people[-1]
    assert last.name == view.LINE and not last.small
    j = windows.skeleton.index("nose")
    rows = [e[j] for e in view.errors(windows, poses[view.LINE]) if np.isfinite(e[j])]
    assert f"windows: {view.LINE} {np.mean(rows):.1f} px" in player.verdict


def test_the_player_keeps_its_pictures_at_another_gap(player, carried):
    pictures = player.pictures
    player.choose(**{"gap T": "6"})
    assert player.pictures == pictures and list(player.now.given) == [0, 6]
    line = panels(player, "stage")["strong: STDPose"].people[1]
    assert np.isfinite(line.xy[1:6]).all() and np.isnan(line.xy[[0, 6]]).all()
    of = view.errors(carried[6][0], carried[6][1][view.FINAL])
    # frame 3 is labelled where T = 3: gaps are compared over the frames that neither labels
    by = [np.nanmean(of[carried[6][0].items[:, 2] == t]) for t in (1, 2, 4, 5)]
    assert f"STDPose {np.mean(by):.1f} px off," in player.verdict


@pytest.mark.parametrize("labelled", [True, False])
def test_labels_between_are_not_needed(propagator, sparse, labelled):
    """The user's own clip: nobody knows the truth of key frames."""
    windows = sparse[1]
    options = {"labelled": labelled}
    explorers = [
        view.MaskExplorer(propagator, sparse, **options),
        view.LookExplorer(propagator, sparse, **options),
        view.PropagationPlayer(
            {1: (windows, view.carry_all(propagator, propagator, windows))}, **options
        ),
    ]
    explorers[0].choose(k=9.0)
    explorers[1].choose(brush=UPPER)
    for explorer in explorers:
        assert "nan" not in explorer.verdict and "error" not in explorer.verdict
        assert "px" in explorer.verdict
        for tab in explorer.draw(explorer.state, explorer._found).values():
            for panel in chain(*tab):
                if isinstance(panel, Bars):
                    assert all(bar.value >= 0 for bar in panel.bars) and "px away" in panel.title
                if isinstance(panel, Lines):
                    assert all(np.isfinite(line.y).any() for line in panel.lines)
                if isinstance(panel, Picture) and not labelled:
                    assert "truth" not in [people.role for people in panel.people]
    key = titled(panels(explorers[0], "mask"), "click a joint")
    assert [people.name for people in key.people] == [view.SHORT[view.SINGLE], view.FINAL]
    (picture, *_) = panels(explorers[2], "stage").values()
    by = {who.name: who.xy for who in picture.people}
    away = np.linalg.norm(by[view.FINAL] - by[view.LINE], axis=-1)[1:6].mean()
    assert "from the straight line" in explorers[2].verdict
    assert f"STDPose is {away:.1f} px away" in explorers[2].verdict


def test_detections_on_every_frame_are_no_truth(propagator, sets, carried):
    """With labels everywhere that are somebody's detections."""
    mask = view.MaskExplorer(propagator, sets, labelled=False)
    assert np.isnan(mask.gap.truth[1]).all() and np.isfinite(mask.gap.truth[0]).any()
    assert "away from the mask as shipped" in mask.verdict
    player = view.PropagationPlayer(carried, labelled=False)
    assert player.now.truth is None and "Nobody knows" in player.verdict


def test_sparse_labels_show_how_far_a_joint_is_from_the_line(propagator, sparse):
    mine = view.carry_all(propagator, propagator, sparse[1])
    own = view.PropagationPlayer({1: (sparse[1], mine)})
    own.choose(**{"error of": "nose"})
    away = mine[view.FINAL].xy_frame - mine[view.LINE].xy_frame
    mean = np.linalg.norm(away, axis=-1)[:, own.kin.index("nose")].mean()
    assert f"STDPose is {mean:.1f} px away" in own.verdict
    assert list(panels(own, "stage")) == ["strong: STDPose"], "no empty curves"


def test_nobody_between_labels_is_refused(propagator, clip, frames):
    short = replace(clip, tracks=[replace(t, labelled=np.arange(N) < 1) for t in clip.tracks])
    windows = propagator.windows([(short, frames)])
    assert len(windows) == 0
    with pytest.raises(BadParameter, match="nobody stands between labels"):
        view.MaskExplorer(propagator, {1: windows})
    with pytest.raises(BadParameter):
        view.PropagationPlayer({1: (windows, {})})


@pytest.mark.parametrize("name", ["mask", "look", "player"])
def test_every_choice_answers(name, request):
    explorer = request.getfixturevalue(name)
    for control in explorer.declared.values():
        ends = {"number": (control.low, control.high), "frame": (control.low, control.high)}
        ends["list"] = (json.loads(json.dumps(control.options[-2:])),)
        for value in ends.get(control.kind, control.options):
            explorer.choose(**{control.name: value})
            assert explorer.verdict and "nan" not in explorer.verdict
            assert explorer._seen[control.name] == value or control.needs == "nothing"
        explorer.choose(**{control.name: control.value})


def test_the_player_cuts_its_pictures_about_the_people(player):
    panel = panels(player, "stage")["strong: STDPose"]
    now = player.now
    low, high = (end(now.truth[now.visibility > 0], axis=0) for end in (np.min, np.max))
    x0, y0, x1, y1 = panel.bounds
    assert x0 <= low[0] <= high[0] <= x1 and y0 <= low[1] <= high[1] <= y1
    assert x1 - x0 < high[0] - low[0] + 0.2 * (high - low).max()


@pytest.mark.parametrize("name", ["mask", "look", "player"])
def test_a_state_comes_back(name, request, propagator, sets, carried):
    explorer = request.getfixturevalue(name)
    changes = {
        "mask": {"k": 4.0, "person": 1, "key frame": 4, "tab": "mask"},
        "look": {"brush": UPPER, "joint": "nose", "knocked out": [[view.LOOKED, 0, 0]]},
        "player": {"gap T": "6", "error of": "nose", "frame": 2},
    }[name]
    explorer.choose(**changes)
    kind, given = type(explorer), carried if name == "player" else (propagator, sets)
    given = (given,) if name == "player" else given
    again = kind(*given, interval=3, state=explorer.permalink())
    assert json.loads(again.permalink()) == json.loads(explorer.permalink())
    assert again.data == explorer.data and again.verdict == explorer.verdict
    if name == "look":
        assert again.attention.data == explorer.attention.data


@pytest.mark.parametrize("name", ["mask", "look", "player"])
def test_a_page_holds_what_the_kernel_says(name, request):
    explorer = request.getfixturevalue(name)
    before = explorer.permalink()
    kept = explorer.kept()["values"]
    stored = kept["stored"]
    assert len(stored) > 5 and explorer.permalink() == before
    pinned = set(stored[0]["state"])
    asked = {c.name for c in explorer.declared.values() if c.needs != "nothing"}
    assert all(set(answer["state"]) == pinned == asked for answer in stored)
    for answer in stored[:: max(len(stored) // 6, 1)]:
        explorer.choose(**answer["state"])
        assert base64.b64decode(answer["data"]) == explorer.data
        assert answer["verdict"] == explorer.verdict and answer["tabs"] == explorer.tabs
        if "pictures" in answer:
            assert base64.b64decode(answer["pictures"]) == explorer.pictures
        else:
            assert name == "player"
        if name == "look":
            assert "data" not in answer["attention"], "too large for a page"


# --- the trick in one screen


@pytest.fixture(scope="module")
def filled(propagator, sets):
    windows = sets[3]
    single = propagator.switched(**TABLE_4["a"])
    return {
        view.LINE: propagate.linear(windows),
        view.FLOW: propagate.farneback(windows, progress=False),
        view.SINGLE: single.carry(windows, given=False),
        view.FINAL: propagator.carry(windows),
    }


def moved(windows, found, by):
    """The truth, so many px further right for each window."""
    xy = windows.poses().xy_frame + np.stack((by, np.zeros_like(by)), -1)[:, None]
    return replace(found, xy_frame=xy)


def test_the_cases_have_the_largest_and_smallest_gain_against_the_best_rival(sets, filled):
    windows = sets[3]
    off = {who: view.errors(windows, found) for who, found in filled.items()}
    gain = np.min([off[who] for who in view.RIVALS], 0) - off[view.FINAL]
    known = (filled[view.LINE].confidence == 1) & np.isfinite(gain)
    best, worst = view.extremes(windows, filled)
    assert gain[best] == gain[known].max() and gain[worst] == gain[known].min()
    # a rival that is always right leaves nothing to gain
    told = filled | {view.FLOW: moved(windows, filled[view.FLOW], np.zeros(len(windows)))}
    best, _ = view.extremes(windows, told)
    assert off[view.FINAL][best] == off[view.FINAL][known].min()


def test_the_frames_of_a_gap_stand_beside_each_other(sets, filled):
    windows, place = sets[3], view.extremes(sets[3], filled)[0]
    row, j = place
    picture, right, others = view.gap_picture(windows, filled, place)
    times, pair = windows.frames_of(row), windows.items[row, 0]
    image, xy = picture.frames[0], filled[view.FINAL].xy_frame[row, j]
    truth = windows.poses().xy_frame[row, j]
    assert list(others) == [*view.RIVALS, view.FINAL]
    shift = others[view.FINAL] - xy
    np.testing.assert_allclose(right - truth, shift, atol=1e-3)
    x, y = np.rint(right).astype(int)
    if 0 <= x < image.shape[1] and 0 <= y < image.shape[0]:
        whole = windows.frame(int(pair), int(times[1]))
        px, py = np.rint(right - shift).astype(int)
        np.testing.assert_array_equal(image[y, x], whole[py, px])
    h = image.shape[0] // 2
    w = (image.shape[1] - 2) // 3
    assert w + 2 <= right[0] < 3 * w + 2, "in the larger picture"
    labels, track = picture.people[0].xy, windows.pairs[pair][0].tracks[windows.items[row, 1]]
    for side, (t, at) in enumerate(((times[0], (0, 0)), (times[2], (0, h)))):
        seen = np.isfinite(labels[side]).all(-1)
        expected = (track.xy_frame[t] + shift - (w + 2, 0)) / 2 + at
        np.testing.assert_allclose(labels[side][seen], expected[seen], atol=1e-3)
        note = np.asarray(picture.notes[side]["at"])
        np.testing.assert_allclose(note, labels[side][j])


def test_the_steps_hold_the_tensors_of_the_pass(propagator, sets, filled):
    windows = sets[3]
    told = view.Told.of(propagator, windows, filled, 1, 4)
    steps = told.steps
    assert [step.lit for step in steps] == list(view.PIPELINE)
    inside = view.look_inside(propagator, view.see(propagator, windows, [1]))
    for step, tap, pick in (
        (0, "frames", lambda x: x[0, :, 4]),
        (1, "dam.residual", lambda x: x[0, :1, 4]),
    ):
        shown = [panel.heat.values for panel in steps[step].panels if panel.kind == "picture"]
        expected = pick(inside.taps[tap])
        assert np.allclose(shown[: len(expected)], expected, atol=1e-6)
    blank = view.blanked(np.ones((1, W * H // 16), bool))
    blind, looks, asked = steps[2].panels
    without = view.look_inside(propagator, told.seen, (), edit=blank)
    for panel, found in ((blind, without), (asked, inside)):
        np.testing.assert_allclose(panel.heat.values, found.heatmaps[0, 4], atol=1e-5)
        assert f"{told.away(found.xy_crop[0]):.1f} px off" in panel.title
    assert looks.title.startswith("where it looks")
    mask = inside.taps["dam.out"][0]
    assert np.allclose(steps[1].panels[1].heat.values, mask * mask.size, atol=1e-5)
    known = np.isfinite(told.truth[1]).all(1)
    off = view.errors(windows, filled[view.FINAL])[1]
    bars = {bar.label: bar.value for bar in steps[3].panels[2].bars}
    assert f"STDPose {off[known].mean():.1f} px." in steps[3].words
    assert np.isclose(bars["STDPose"], off[4], atol=1e-3, equal_nan=True)


def test_the_switchboard_swaps_what_its_switches_say(propagator, sets, filled):
    windows = sets[3]
    cases = [view.Told.of(propagator, windows, filled, row, 4) for row in (1, 6)]
    board = view.Switchboard(cases, dict.fromkeys(view.PARTS, 2.0))
    assert all(moved == 0 for moved, _ in board.off(board._found))
    assert board.verdict.startswith("All is their own")
    for part, (tap, frames) in view.PARTS.items():
        edit = view.exchanged([part])
        taps = view.look_inside(propagator, cases[0].seen, [tap], edit=edit).taps[tap]
        plain = view.look_inside(propagator, cases[0].seen, [tap]).taps[tap]
        swapped = plain[::-1].copy()
        if frames:
            kept = [i for i in range(3) if i not in frames]
            swapped[:, kept] = plain[:, kept]
        np.testing.assert_allclose(taps, swapped, atol=1e-5)
    board.choose(**{"left label": True, "mask": True})
    edit = view.exchanged(["left label", "mask"])
    own, now = (
        view.look_inside(propagator, cases[1].seen, (), edit=each).xy_crop[0, 4] / cases[1].scale
        for each in (None, edit)
    )
    moved, off = board.off(board._found)[1]
    assert moved == pytest.approx(np.linalg.norm(now - own), abs=1e-3)
    assert off == pytest.approx(
        np.linalg.norm(now - cases[1].truth[1, 4] / cases[1].scale), abs=1e-3
    )
    assert "else's left label + mask" in board.verdict
    errors = titled(panels(board, ""), "px from the truth")
    assert errors.bars[3].value == off and errors.range[1] >= max(b.value for b in errors.bars)
    board.choose(**{"left label": False})
    assert board.verdict.endswith("On average it moves a joint by 2.0 px.")
    assert len(board.kept()["values"]["stored"]) == 16


def test_a_blind_spot_is_a_square_of_tokens_without_which_the_joint_is_elsewhere(
    propagator, sets, seen
):
    one = {name: part[:1] for name, part in seen.items()}
    truth = sets[3].sample(0).xy_crop[1]
    found = view.blind_spots(propagator, one, truth, 4)
    plain = view.look_inside(propagator, one).xy_crop[0, 4]
    assert np.isclose(found.before, np.linalg.norm(plain - truth[4]), atol=1e-3)
    columns, rows = view.token_grid(propagator.model)
    assert found.after.shape == (rows - 1, columns - 1)
    chosen = np.zeros((rows, columns), bool)
    chosen[1:3, :2] = True
    other = view.look_inside(propagator, one, edit=view.blanked(chosen.ravel()[None])).xy_crop
    assert np.isclose(found.after[1, 0], np.linalg.norm(other[0, 4] - truth[4]), atol=1e-3)


def test_the_exercise_counts_as_long_as_few_tokens_are_blank(propagator, sets):
    looker = view.LookExplorer(propagator, sets, interval=3, index=0)
    score = view.lost(looker, 4, 2)
    found = looker.compute(looker.state | {"hidden": [1, 3]})
    assert score(looker.state, found) == looker.away(found.gap, found.inside)[4]
    assert np.isnan(score(looker.state, looker.compute(looker.state | {"hidden": [0, 1, 3]})))


@pytest.fixture(scope="module")
def shipped():
    """What chapter 06 shows first: windows of twelve test clips, filled."""
    own = load("stdpose", device="cpu")
    windows = recipe.people("test", 7, own.model.config, n=12)
    told = {
        view.LINE: propagate.linear(windows),
        view.FLOW: propagate.farneback(windows, progress=False),
        view.SINGLE: recipe.single_frame(own).carry(windows, given=False),
        view.FINAL: own.carry(windows),
    }
    return own, windows, told


def test_the_shipped_weights_win_and_lose_by_the_rule(shipped):
    own, windows, told = shipped
    off = {who: view.errors(windows, found) for who, found in told.items()}
    best, worst = view.extremes(windows, told)
    rival = np.min([off[who] for who in view.RIVALS], 0)
    assert off[view.FINAL][best] < 0.5 * rival[best]
    assert off[view.FINAL][worst] > 2 * rival[worst]
    flags = windows.poses().visibility
    assert (flags[best], flags[worst]) == (2, 1), "in sight, and hidden"
    helps, harms = view.trick(own, windows, told).told.values()
    (alone,) = view.trick(own, windows, told, ["it does not"]).told.values()
    assert alone.rule == harms.rule
    assert f"STDPose {off[view.FINAL][worst]:.1f} px" in harms.rule
    assert helps.steps[-1].title == (
        f"best rival {rival[best]:.1f} px, STDPose {off[view.FINAL][best]:.1f} px"
    )
    assert f"STDPose {off[view.FINAL][best]:.1f} px" in helps.rule
    bar = {bar.label: bar.value for bar in helps.steps[-1].panels[2].bars}["STDPose"]
    assert bar == pytest.approx(off[view.FINAL][best], rel=1e-3), "one error, one number"
    row, n = best[0], len(windows)
    clips = windows.items[[row, (row + n // 2) % n], 0]
    assert clips[0] != clips[1], "somebody else is in another clip"


def test_the_exercise_can_be_done_with_the_shipped_weights(shipped):
    own, windows, told = shipped
    (best, j), _ = view.extremes(windows, told)
    truth = windows.sample(best).xy_crop[1]
    blind = view.blind_spots(own, view.see(own, windows, [best]), truth, j)
    assert blind.after.max() > blind.before + 5
    reach = blind.before + 0.7 * (blind.after.max() - blind.before)
    looker = view.LookExplorer(own, {7: windows}, index=best, joint=windows.skeleton.joints[j])
    y, x = np.unravel_index(blind.after.argmax(), blind.after.shape)
    columns, _ = view.token_grid(own.model)
    tokens = [int((y + dy) * columns + x + dx) for dy in (0, 1) for dx in (0, 1)]
    score, scale = view.lost(looker, j, view.BLOCK**2), view.scales(windows)[best]
    found = looker.compute(looker.state | {"hidden": tokens})
    assert score(looker.state, found) >= reach / scale
    # in a page, too: one of the stored squares is this one, and no other count of tokens is needed
    asked = [one for one in looker.asks() if one.get("brush")]
    found = [looker.compute(looker.state | one) for one in asked]
    assert {each.blanked.sum() for each in found} == {view.BLOCK**2}
    done = [score(looker.state, each) >= reach / scale - 1e-3 for each in found]
    assert any(done) and not all(done)
    told = view.worth(looker, j, blind)
    worst = max(found, key=lambda each: score(looker.state, each))
    share, cost = worst.asked[worst.blanked].sum(), (blind.after.max() - blind.before) / scale
    same = np.isclose(blind.after, blind.after.max(), atol=0.01).sum()
    said = f"Yours took {share:.0%} of the attention and cost {cost:+.1f} px; rank 1"
    tied = f" (shared by {same})" if same > 1 else ""
    assert told(looker.state, worst).startswith(f"{said}{tied} of {blind.after.size} by cost.")
    # where the token looks most, among the same squares
    grid = worst.asked.reshape(view.token_grid(own.model)[::-1])
    looked = {
        at: grid[at[0] : at[0] + 2, at[1] : at[1] + 2].sum()
        for at in np.ndindex(*blind.after.shape)
    }
    top = max(looked, key=looked.get)
    cost = (blind.after[top] - blind.before) / scale
    first = "yes" if blind.after[top] > blind.after.max() - 0.01 else "no"
    words = f"attention ({looked[top]:.0%}) costs {cost:+.1f} px: {first}."
    assert told(looker.state, worst).endswith(words)
    least = min(found, key=lambda each: score(looker.state, each))
    assert "rank 1" not in told(looker.state, least)
