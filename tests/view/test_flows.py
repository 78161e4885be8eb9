"""OTPose's views without a browser: hand-checkable parts, and controls that change what is
computed and drawn.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench.data.windows import WindowConfig, Windows
from workbench.errors import BadParameter
from workbench.models import build
from workbench.models.otpose import keypoint_flows
from workbench.predict import ClipEstimator
from workbench.records import Clip, Track, Video
from workbench.view import figures, flows

TINY = tiny("otpose")
K, (W, H) = TINY.joints, TINY.grid


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
    rng = np.random.default_rng(7)
    flags = np.zeros((2, 5, K), int)
    flags[:, 2] = rng.permutation(np.repeat([0, 1, 2], (1, 6, 8)))
    tracks = [
        Track(
            "posetrack15",
            n,
            rng.uniform(12, 68, (5, K, 2)) * (flags[n] > 0)[..., None],
            flags[n],
            np.arange(5) == 2,
            np.array([[4.0 + 3 * n, 4, 76, 76]]).repeat(5, 0),
        )
        for n in range(2)
    ]
    frames = rng.integers(0, 256, (5, 80, 80, 3), dtype=np.uint8)
    return Windows(
        [(Clip(Video("made", 5, 80, 80, 12.0), tuple(tracks)), frames)],
        WindowConfig(size=TINY.size),
    )


@pytest.fixture(scope="module")
def rough(estimator, windows):
    return flows.rough_heatmaps(estimator, windows)


@pytest.fixture
def explorer(estimator, windows):
    return flows.FlowExplorer(estimator, windows)


def test_behind_the_heatmaps_it_is_the_whole_network(estimator, windows, rough):
    images = windows.batch([0, 1])["images"]
    inside = flows.look_inside(estimator, rough)
    with torch.inference_mode():
        found = estimator.model(images)
        xy, _ = estimator.model.decode(found)
    np.testing.assert_allclose(rough, found["rough"], atol=1e-5)
    np.testing.assert_allclose(inside.heatmaps, found["heatmaps"], atol=1e-5)
    np.testing.assert_allclose(inside.xy_crop, xy, atol=1e-3)
    np.testing.assert_allclose(inside.xy_crop, flows.peaks(estimator, found["heatmaps"]), atol=1e-3)
    assert {"flow.total", "mask.far", "psi", "branch.sub.blocks.1.map", "refine.offsets"} <= set(
        inside.taps
    )
    assert not flows.look_inside(estimator, rough, ()).taps


def test_distances_and_edits_reach_the_flows(estimator, rough):
    plain = flows.look_inside(estimator, rough, ["flow.*"])
    free = flows.look_inside(estimator, rough, ["flow.*"], distance=torch.zeros(1, 5))
    np.testing.assert_allclose(free.taps["flow.prev"], rough[:, :3].sum(1), atol=1e-5)
    np.testing.assert_allclose(free.taps["flow.total"], plain.taps["flow.total"])
    edited = flows.look_inside(estimator, rough, (), edit={"psi": torch.zeros_like})
    assert np.abs(edited.heatmaps - plain.heatmaps).max() > 0 and not edited.taps["psi"].any()


def test_switches_keep_the_weights(estimator, rough):
    same = flows.look_inside(estimator.switched(), rough, ())
    np.testing.assert_array_equal(same.heatmaps, flows.look_inside(estimator, rough, ()).heatmaps)
    for changes in (
        {"sigmoid": False},
        {"scramble": True},
        {"split_joints": True},
        {"frames": (-2, -1, 0, 1, 1)},
    ):
        other = flows.look_inside(estimator.switched(**changes), rough, ())
        assert np.abs(other.heatmaps - same.heatmaps).max() > 0, changes
    assert estimator.model.config == TINY
    blank = estimator.random_control(1)
    assert (blank.model.branch["prev"].blocks[0].layer_scale1 == 0).all()


def test_maps_are_made_worse_where_they_should_be(rough):
    assert flows.degraded(rough, 0.0) is rough
    spot = torch.zeros(1, 5, K, 31, 29)  # wide enough for all of the blur
    spot[..., 15, 14] = 1
    weak = flows.degraded(spot, 1.0, joint=4, frames=(2,))
    changed = (weak != spot).flatten(3).any(-1)[0]
    assert changed.sum() == 1 and changed[2, 4]
    assert weak[0, 2, 4].sum() == pytest.approx(0.1, abs=1e-3), (
        "dimmed to a tenth, and nothing else is lost"
    )
    assert weak[0, 2, 4].argmax() == spot[0, 2, 4].argmax() and weak[0, 2, 4].max() < 0.01
    assert (flows.degraded(spot, 0.5) != spot).flatten(3).any(-1).all()


def test_paint_covers_its_frames_alone():
    crops = np.zeros((5, 10, 12, 3), np.uint8)
    out = flows.painted(crops, (3, 4), 4, (2, 3))
    covered = (out > 0).any(-1)
    assert (
        covered.sum((1, 2)).tolist() == [0, 0, 16, 16, 0]
        and covered[2, 2:6, 1:5].all()
        and not crops.any()
    )
    assert (flows.painted(crops, (0, 0), 6, (0,))[0] > 0).any(-1).sum() == 9, (
        "cut off at the corner"
    )
    assert not flows.painted(crops, (3, 4), 0).any()


def test_an_exchanged_feature_leaves_the_others(estimator, rough):
    names = ["flow.*", "mask.*", "psi"]
    before = flows.look_inside(estimator, rough, names)
    for feature in ("flow.far", "mask.prev", "psi"):
        after = flows.look_inside(
            estimator, rough, names, edit=flows.exchanges(before.taps, feature)
        )
        for name, was in before.taps.items():
            np.testing.assert_allclose(
                after.taps[name], was[::-1] if name == feature else was, atol=1e-5
            )
        assert np.abs(after.heatmaps - before.heatmaps).max() > 0


def test_errors_by_hand():
    truth = np.zeros((1, 3, 2), np.float32)
    answers = {"a": truth + np.float32((3, 4)), "b": truth + np.float32([[[0, 1], [0, 2], [0, 9]]])}
    one, two = flows.error_rows(answers, truth, np.array([[2, 1, 0]]))
    assert one == {
        "": "a",
        "visible joints, px": 5,
        "occluded joints, px": 5,
        "answer moves, px": 0,
    }
    assert (two["visible joints, px"], two["occluded joints, px"]) == (1, 2) and two[
        "answer moves, px"
    ] > 0


def test_attention_is_folded_by_hand(estimator):
    weights = np.zeros((16, 16), np.float32)
    weights[:, 3] = 0.25  # everybody looks at the first joint's fourth feature
    weights[:, 9] = 0.75  # and at the second joint's second
    np.testing.assert_allclose(flows.folded(weights, "joint"), [[0.25, 0.75]] * 2)
    by = flows.folded(weights, "feature")
    assert (
        by.shape == (8, 8)
        and (by[:, 3] == 0.25).all()
        and (by[:, 1] == 0.75).all()
        and by.sum() == 8
    )
    assert flows.folded(weights, "all") is weights
    channels = estimator.model.channels["sub"]
    names, axis = flows.fold_names(channels, "all")
    ticks, texts = axis["tickvals"], axis["ticktext"]
    assert "psi" in axis["title"]["text"]
    assert len(set(names)) == 8 * K and set(ticks) < set(names) and len(ticks) == len(texts) == K
    assert ticks[3].startswith(texts[3])
    assert flows.fold_names(channels, "joint")[0] == list(estimator.skeleton.joints)
    assert flows.fold_names(channels, "feature")[1]["ticktext"][0] == "mask.total"


def test_arrows_start_on_the_regular_grid_and_end_where_it_reads():
    offsets, modulation = (
        np.zeros((1, 2, K, 9, 2, H, W), np.float32),
        np.zeros((1, 2, K, 9, H, W), np.float32),
    )
    heat = np.zeros((1, K, H, W), np.float32)
    heat[0, 5, 4, 3] = 1  # the answer: x = 3, y = 4
    offsets[0, 1, 5, 0, :, 4, 3] = (1, 2)  # of the tap above to the left: dy = 1, dx = 2
    modulation[0, 1, 5, 8, 4, 3] = 1
    inside = flows.Inside(
        np.zeros((1, K, 2)), heat, {"refine.offsets": offsets, "refine.modulation": modulation}
    )
    line = flows.arrows(inside, 5, 1, 2, np.array([[4.0, 0, 1], [0, 4, 1]]))
    ends = np.stack((line["x"], line["y"]), -1).reshape(9, 5, 2)
    np.testing.assert_allclose(ends[0, [0, 3]], [[4 * 1 + 1, 4 * 2 + 1], [4 * 3 + 1, 4 * 3 + 1]])
    np.testing.assert_allclose(ends[8, [0, 3]], [[4 * 5 + 1, 4 * 6 + 1]] * 2)
    assert np.isnan(ends[:, 4]).all() and "moved (2.0, 1.0)" in line["hovertext"][0]
    sizes = line["marker"]["size"].reshape(9, 5)
    assert sizes[8, 1] == 16 and (sizes[:8, 1] == 4).all()


def test_maps_lie_over_their_pictures(windows, rough, estimator):
    to_crop = estimator.model.to_crop.numpy()
    crops, maps = windows.sample(0).crops, rough[0, :, 3].numpy()
    spot = {figures.REAL: np.full((5, 2), 7.0)}
    figure = flows.maps_over(
        list(crops), list(maps), flows.FRAMES, "made", to_crop, cols=3, points=spot
    )
    assert [t.type for t in figure.data] == ["heatmap"] * 5 + ["scatter"] * 5 and len(
        figure.layout.images
    ) == 5
    first = figure.data[0]
    np.testing.assert_allclose([first.x[0], first.x[-1]], [0, TINY.size[0] - 1], atol=1e-4)
    np.testing.assert_allclose([first.y[0], first.y[-1]], [0, TINY.size[1] - 1], atol=1e-4)
    args = figure.layout.sliders[0].steps[2].args
    assert args[0] == {"opacity": 0.4} and list(args[1]) == [0, 1, 2, 3, 4], (
        "the slider moves maps, not marks"
    )
    assert f"up to {maps[1].max():.2g}" in figure.layout.annotations[1].text
    assert sum(bool(t.showlegend) for t in figure.data[5:]) == 1


def test_pictures_of_attention_and_offsets(estimator, windows, rough):
    inside = flows.look_inside(estimator, rough)
    one = inside.taps["branch.prev.blocks.0.map"][0].mean(0)
    channels = estimator.model.channels["prev"]
    figure = flows.attention_maps({"a": one, "b": one}, channels, "made", by="joint")
    assert np.shape(figure.data[1].z) == (K, K) and figure.layout.xaxis2.ticktext == tuple(
        estimator.skeleton.joints
    )
    np.testing.assert_allclose(np.sum(figure.data[0].z, 1), 1, atol=1e-5)
    to_crop = estimator.model.to_crop.numpy()
    figure = flows.offset_figure(
        windows.sample(0).crops[2], inside, 3, TINY.dilations, "made", to_crop
    )
    assert [t.type for t in figure.data] == ["heatmap"] * 2 + ["scatter"] * 2
    gaps = [np.diff(np.reshape(t.x, (9, 5))[[0, 2], 0])[0] for t in figure.data[2:]]
    assert gaps[1] == pytest.approx(2 * gaps[0]), "the second grid is twice as wide"


def test_a_panel_shows_the_key_frame(windows):
    window = windows.sample(0)
    panel = flows.crop_panel(
        window, "made", windows.skeleton, {flows.FINAL: np.zeros((K, 2), np.float32)}
    )
    truth, _, round_ = panel["poses"][figures.REAL]
    assert panel["picture"] is not window.crops[0] and (panel["picture"] == window.crops[2]).all()
    assert (np.isnan(truth[:, 0]) == (window.visibility[2] == 0)).all()
    assert (round_ == (window.visibility[2] == 2)).all()
    assert figures.annotated_pictures([panel], "made", cols=1).data[-1].name == flows.FINAL


# --- explorer ---


def trace(explorer, name):
    return next(t for t in explorer.figure.data if t.name == name and t.mode == "markers")


def test_it_starts_with_the_network_s_own_answer(explorer, estimator, rough):
    np.testing.assert_allclose(
        trace(explorer, flows.FINAL).x, flows.look_inside(estimator, rough[:1]).xy_crop[0, :, 0]
    )
    np.testing.assert_allclose(
        trace(explorer, flows.SINGLE).y, flows.peaks(estimator, rough[:1, 2])[0, :, 1]
    )
    j = explorer.skeleton.index("left_wrist")
    for t in range(5):
        np.testing.assert_allclose(explorer.figure.data[t].z, rough[0, t, j], atol=1e-5)
    assert (
        "left_wrist" in explorer.readout.value
        and "single frame &rarr; OTPose" in explorer.readout.value
    )


def test_map_joint_and_distance(explorer, rough):
    explorer.map.value, explorer.joint.value, explorer.distance.value = "flow.prev", "nose", 0.0
    np.testing.assert_allclose(explorer.figure.data[5].z, rough[0, :3, 0].sum(0), atol=1e-5)
    explorer.distance.value = 2.0
    twice = keypoint_flows(rough[:1], torch.tensor([[4, 2, 0, 2, 4]]))["prev"][0, 0]
    np.testing.assert_allclose(explorer.figure.data[5].z, twice, atol=1e-5)
    explorer.opacity.value = 0.3
    assert {t.opacity for t in explorer.figure.data[:7]} == {0.3}
    titles = [a.text for a in explorer.figure.layout.annotations]
    assert (
        titles[:5] == list(flows.FRAMES)
        and titles[5].startswith("flow.prev, up to")
        and "reads" in titles[6]
    )


def test_attention_is_chosen_and_folded(explorer):
    explorer.branch.value, explorer.layer.value, explorer.head.value = "sub", 0, 1
    own = explorer.inside.taps["branch.sub.blocks.0.map"][0, 1]
    np.testing.assert_allclose(explorer.figure.data[7].z, flows.folded(own, "joint"))
    explorer.fold.value = "all"
    np.testing.assert_allclose(explorer.figure.data[7].z, own)
    assert len(explorer.figure.layout.xaxis8.ticktext) == K
    explorer.fold.value = "feature"
    assert len(explorer.figure.layout.yaxis8.ticktext) == 8 and np.shape(
        explorer.figure.data[7].z
    ) == (8, 8)


def test_the_backbone_is_asked_for_painted_frames_alone(explorer, monkeypatch):
    asked, real = [], explorer._heatmaps
    monkeypatch.setattr(
        explorer, "_heatmaps", lambda crops: asked.append(len(crops)) or real(crops)
    )
    before, picture = explorer.inside, explorer.figure.layout.images[2].source
    explorer.weaken.value = 0.7
    explorer.dilation.value = 1
    assert not asked and np.abs(explorer.inside.heatmaps - before.heatmaps).max() > 0
    explorer.weaken.value = 0.0
    explorer.size.value = 20
    assert asked == [1] and explorer.figure.layout.images[2].source != picture
    np.testing.assert_array_equal(explorer.rough[[0, 1, 3, 4]], explorer.clean[[0, 1, 3, 4]])
    explorer.frames.value = flows.SOME["all five"]
    assert asked == [1, 5]
    explorer.size.value = 0
    np.testing.assert_allclose(explorer.inside.heatmaps, before.heatmaps, atol=1e-6)


def test_a_click_paints_the_patch_there(explorer):
    before, w = explorer.inside.heatmaps, explorer.config.size[0]
    explorer.clicked(None, SimpleNamespace(xs=[3.4], ys=[5.0]), None)
    assert (explorer.x.value, explorer.y.value, explorer.size.value) == (3, 5, w // 4)
    assert np.abs(explorer.inside.heatmaps - before).max() > 0
    explorer.size.value = w // 2
    explorer.clicked(None, SimpleNamespace(xs=[6], ys=[2]), None)
    assert (explorer.x.value, explorer.y.value, explorer.size.value) == (6, 2, w // 2)


def test_degrading_one_joint_or_all(explorer):
    explorer.weaken.value = 0.5
    j = explorer.skeleton.index(explorer.joint.value)
    others = np.delete(np.arange(K), j)
    same = (explorer.used[0] == explorer.rough).flatten(2).all(-1)
    assert same[:, others].all() and same[[0, 1, 3, 4], j].all() and not same[2, j]
    explorer.of.value = False
    assert not (explorer.used[0] == explorer.rough).flatten(2).all(-1)[2].any()


def test_people_weights_and_the_twin(explorer, rough):
    explorer.weights.value = True
    control = explorer.inside.heatmaps
    explorer.weights.value, explorer.person.value = False, 1
    assert np.abs(control - explorer.inside.heatmaps).max() > 0
    np.testing.assert_allclose(explorer.clean, rough[1], atol=1e-5)
    twin = explorer.static()
    assert [t.name for t in twin.data] == [t.name for t in explorer.figure.data]
    np.testing.assert_array_equal(twin.data[7].z, explorer.figure.data[7].z)
    assert "person 1, left_wrist" in twin.layout.title.text


def test_models_without_such_attention_are_refused(windows):
    for changes in ({"window": 19}, {"split_joints": True}):
        with pytest.raises(BadParameter, match="from channel to channel"):
            flows.FlowExplorer(ClipEstimator(build("otpose", replace(TINY, **changes))), windows)
