"""The visibility explorer without a browser: hand-checkable parts, and switches that change what
is computed and drawn.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench.data.windows import WindowConfig, Windows, normalised
from workbench.errors import BadParameter
from workbench.models import build
from workbench.predict import PoseEstimator
from workbench.records import Clip, Pose, Track, Video
from workbench.taps import record
from workbench.view import figures, visibility

TINY = tiny("vissimcc")
K = 17


class SomeSeen(torch.nn.Module):
    """A VisNet that believes in every third joint."""

    def forward(self, feature):
        return torch.where(torch.arange(K) % 3 == 0, 1.0, -2.0).expand(len(feature), K)


@pytest.fixture(scope="module")
def estimators():
    torch.manual_seed(3)
    aware = PoseEstimator(build("vissimcc", TINY), "aware")
    aware.model.reasoning.visnet = SomeSeen()
    with torch.no_grad():
        naive = PoseEstimator(build("vissimcc", replace(TINY, visibility="none")), "naive")
        for estimator in (aware, naive):  # a transformer whose answer counts
            torch.nn.init.normal_(estimator.model.reasoning.project.weight, std=0.5)
    return aware, naive


@pytest.fixture
def windows(rng):
    def clip(i: int, people: int) -> tuple[Clip, np.ndarray]:
        flags = rng.permutation(np.repeat([0, 1, 2], (1, 7, 9)))[None]
        tracks = tuple(
            Track(
                "coco17",
                n,
                rng.uniform(8, 70, (1, K, 2)),
                flags,
                np.array([True]),
                np.array([[4.0 + 9 * n, 4, 76, 76]]),
            )
            for n in range(people)
        )
        video = Video(f"made/{i}", 1, 80, 80, 15.0)
        return Clip(video, tracks), rng.integers(0, 256, (1, 80, 80, 3), dtype=np.uint8)

    return Windows([clip(0, 2), clip(1, 1)], WindowConfig(size=TINY.size, offsets=(0,)))


@pytest.fixture
def explorer(estimators, windows):
    return visibility.VisibilityExplorer(*estimators, windows)


def crops_of(windows) -> torch.Tensor:
    return windows.batch(range(len(windows)))["images"][:, 0]


def test_behind_the_maps_it_is_the_whole_network(estimators, windows):
    crops = crops_of(windows)
    for estimator in estimators:
        inside = visibility.look_inside(estimator, visibility.feature_maps(estimator, crops))
        with (
            torch.inference_mode(),
            record(estimator.model, ["reasoning.blocks.1.attention.map"]) as taps,
        ):
            found = estimator.model(crops)
        xy, confidence = (part.numpy() for part in estimator.model.decode(found))
        np.testing.assert_allclose(inside.xy_crop, xy)
        np.testing.assert_allclose(inside.confidence, confidence, atol=1e-6)
        np.testing.assert_allclose(inside.x, found["x"].numpy(), atol=1e-6)
        last = taps["reasoning.blocks.1.attention.map"].numpy()
        np.testing.assert_allclose(inside.attention[:, 1], last, atol=1e-6)
    assert inside.probability is None and (inside.mask == 1).all(), "the naive one masks nothing"


def test_labels_force_a_mask_and_the_model_stays_as_it_was(estimators, windows):
    aware, _ = estimators
    maps = visibility.feature_maps(aware, crops_of(windows))
    flags = np.where(np.arange(K) < 5, 2, 1)[None].repeat(len(maps), 0)
    inside = visibility.look_inside(aware, maps, visibility=flags, source="truth")
    np.testing.assert_allclose(inside.mask, np.where(flags == 2, 1, 0.01))
    assert aware.model.maps is not None and "maps.backbone" in dict(aware.model.named_modules())
    turned = visibility.look_inside(
        aware, maps, edit={"reasoning.mask": lambda m: torch.ones_like(m)}
    )
    unmasked = visibility.look_inside(aware, maps, source="none")
    np.testing.assert_array_equal(turned.xy_crop, unmasked.xy_crop)


def test_a_plain_estimator_has_no_inside(windows):
    plain = PoseEstimator(build("vissimcc", replace(TINY, reasoning=False)), "plain")
    inside = visibility.look_inside(plain, visibility.feature_maps(plain, crops_of(windows)))
    assert inside.attention is None and inside.mask is None and inside.xy_crop.shape == (3, K, 2)


def test_other_estimators_are_refused(estimators, windows):
    heatmaps = PoseEstimator(build("vissimcc", replace(TINY, output="heatmap")), "maps")
    with pytest.raises(BadParameter, match="maps answers with heatmaps"):
        visibility.look_inside(heatmaps, visibility.feature_maps(heatmaps, crops_of(windows)))
    with pytest.raises(BadParameter, match="with VisNet"):
        visibility.VisibilityExplorer(*estimators[::-1], windows)


def test_answers_come_back_to_their_pictures(estimators, windows):
    aware, _ = estimators
    batch = windows.batch(range(3))
    inside = visibility.look_inside(aware, visibility.feature_maps(aware, batch["images"][:, 0]))
    truth = Pose(
        "coco17",
        np.zeros((3, K, 2)),
        np.ones((3, K), int),
        np.zeros((3, 4)),
        images=("a", "a", "b"),
    )
    found = visibility.placed(inside, batch["affine"].numpy(), truth)
    a = windows.sample(1).affine
    np.testing.assert_allclose(
        found.xy_frame[1] @ a[:, :2].T + a[:, 2], inside.xy_crop[1], atol=1e-3
    )
    assert found.images == ("a", "a", "b")


def test_shares_of_attention_by_hand():
    row = np.array([0.5, 0.3, 0.2])
    attention = np.tile(row, (1, 2, 2, 3, 1))
    attention[0, 1, :, 2] = [0, 0, 1]  # the third joint, in the second block, looks at itself alone
    on, of = np.array([[False, True, True]]), np.array([[True, False, False]])
    assert visibility.attention_share(attention, on, of) == pytest.approx([0.5])
    assert visibility.attention_share(
        attention, on, np.array([[True, False, True]])
    ) == pytest.approx([0.625])
    assert np.isnan(visibility.attention_share(attention, on, ~on & on)).all()


def test_exchanged_features_are_the_neighbours():
    maps = torch.arange(3.0)[:, None, None, None].expand(3, 2, 1, 1)
    away = visibility.exchanged(maps, np.array([[True, False]] * 3), 1)
    assert away[:, 0].flatten().tolist() == [0, 1, 2] and away[:, 1].flatten().tolist() == [2, 0, 1]


def test_a_mean_with_its_interval_leaves_out_who_has_none(rng):
    values = np.array([1.0, 1, np.nan, 3, 3])
    mean, interval = visibility.mean_and_interval(values, np.array(list("aabcc")), rng)
    assert mean == 2 and interval == "1.0 to 3.0"


def test_arrows_start_at_the_threshold_and_join_nobody_to_itself():
    weights = np.array([[0.6, 0.2, 0.2], [0.05, 0.05, 0.9], [0.0, 0.5, 0.5]])
    xy = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    weak, middle, strong = visibility.attention_edges(weights, xy, 0.2)
    assert strong.T[:2].tolist() == [[10, 0], [1.5, 8.5]], (
        "from who asks most of the way to who answers"
    )
    assert [part.shape[1] for part in (weak, middle, strong)] == [6, 3, 3] and np.isnan(weak[0, 2])
    assert sum(part.shape[1] for part in visibility.attention_edges(weights, xy, 0.91)) == 0


def trace(explorer, name, mode="markers"):
    return next(t for t in explorer.figure.data if t.name == name and t.mode == mode)


def test_switches_start_as_visnet_says(explorer, estimators, windows):
    told = explorer.auto.probability[0]
    assert (explorer.seen() == (told >= 0.5)).all() and 0 < explorer.seen().sum() < K
    assert explorer.switches[0].description == f"nose {told[0]:.2f}"
    aware, _ = estimators
    images = normalised(torch.from_numpy(windows.sample(0).crops))
    np.testing.assert_allclose(
        explorer.state[visibility.AWARE].xy_crop,
        aware.model.decode(aware.model(images))[0].detach(),
    )
    np.testing.assert_allclose(
        trace(explorer, visibility.AWARE).x, explorer.state[visibility.AWARE].xy_crop[0, :, 0]
    )
    known = np.flatnonzero(explorer.flags > 0)
    np.testing.assert_allclose(
        np.array(trace(explorer, figures.REAL).x)[known], explorer.truth[known, 0]
    )
    assert len(known) < K and np.isnan(trace(explorer, figures.REAL).x).sum() == K - len(known)


def test_a_switch_forces_one_joint_and_everything_follows(explorer, monkeypatch):
    monkeypatch.setattr(visibility, "feature_maps", None)  # the backbone is not asked again
    j = int(np.flatnonzero(explorer.seen())[0])
    naive, before = explorer.state[visibility.NAIVE], explorer.state[visibility.AWARE]
    said, z = explorer.readout.value, np.array(explorer.figure.data[-1].z)
    explorer.switches[j].value = 2
    after = explorer.state[visibility.AWARE]
    assert (
        after.mask[0, j] == np.float32(0.01)
        and (np.delete(after.mask, j) == np.delete(before.mask, j)).all()
    )
    assert explorer.state[visibility.NAIVE] is naive
    assert (
        np.abs(after.attention - before.attention).max() > 1e-4
        and np.abs(explorer.figure.data[-1].z - z).max() > 1e-4
    )
    assert (
        trace(explorer, visibility.AWARE).marker.symbol[j] == "x" and explorer.readout.value != said
    )
    assert "✖" in explorer.figure.layout.yaxis4.ticktext[j]
    explorer.switches[j].value = 0
    np.testing.assert_array_equal(explorer.state[visibility.AWARE].xy_crop, before.xy_crop)


def test_a_click_moves_the_switch_on(explorer):
    for expected in (1, 2, 0):
        explorer._on_click(None, SimpleNamespace(point_inds=[9]), None)
        assert explorer.switches[9].value == expected and explorer.joint.value == "left_wrist"
    explorer._on_click(None, SimpleNamespace(point_inds=[]), None)
    assert explorer.switches[9].value == 0


def test_buttons_set_all_switches(explorer):
    computed = []
    compute = explorer.compute
    explorer.compute = lambda: computed.append(1) or compute()
    explorer.set("all visible")
    assert explorer.seen().all() and len(computed) == 1, "one answer for 17 switches"
    explorer.set("true labels")
    np.testing.assert_array_equal(explorer.seen(), explorer.flags == 2)
    explorer.set_all["all hidden"].click()
    assert not explorer.seen().any() and "Masked: <b>17</b>" in explorer.readout.value
    explorer.set("all predicted")
    assert {each.value for each in explorer.switches} == {0}


def test_the_joint_s_distributions_lie_along_the_edges(explorer):
    explorer.joint.value = "nose"
    name, split = f"{visibility.AWARE} x", TINY.split
    across, down = (
        next(t for t in explorer.figure.data if t.name == f"{visibility.AWARE} {a}") for a in "xy"
    )
    assert across.name == name and (across.xaxis, across.yaxis, down.xaxis, down.yaxis) == (
        "x2",
        "y2",
        "x3",
        "y3",
    )
    np.testing.assert_allclose(across.y, explorer.state[visibility.AWARE].x[0, 0])
    np.testing.assert_allclose(across.x, np.arange(round(32 * split)) / split)
    np.testing.assert_allclose(down.x, explorer.state[visibility.AWARE].y[0, 0])
    top = across.x[np.argmax(across.y)], down.y[np.argmax(down.x)]
    np.testing.assert_allclose(top, explorer.state[visibility.AWARE].xy_crop[0, 0], atol=1e-5)


def test_choices_of_map_and_arrows(explorer):
    explorer.whose.value, explorer.block.value, explorer.head.value = visibility.NAIVE, 1, 0
    weights = explorer.state[visibility.NAIVE].attention[0, 1, 0]
    np.testing.assert_allclose(explorer.figure.data[-1].z, weights)
    explorer.threshold.value, explorer.drawn.value = 0.0, False
    drawn = [sum(len(t.x) for t in explorer.figure.data[:3])]
    explorer.drawn.value = True
    drawn.append(sum(len(t.x) for t in explorer.figure.data[:3]))
    assert drawn == [3 * K * (K - 1), 3 * (K - 1)]
    explorer.set("true labels")
    explorer.group.value = True
    order = [*np.flatnonzero(explorer.flags == 2), *np.flatnonzero(explorer.flags != 2)]
    np.testing.assert_allclose(explorer.figure.data[-1].z, weights[order][:, order])
    assert (
        len(explorer.figure.layout.shapes) == 3
        and explorer.figure.layout.shapes[1].x0 == explorer.seen().sum() - 0.5
    )


def test_pictures_people_and_weights(explorer):
    assert (explorer.picture.max, explorer.person.max) == (1, 1)
    source, j = explorer.figure.layout.images[0].source, 4
    explorer.switches[j].value = 1
    explorer.weights.value = True
    assert explorer.switches[j].value == 1, "the switches stay, the weights are others"
    explorer.person.value = 1
    assert explorer.switches[j].value == 0 and explorer.figure.layout.images[0].source != source
    explorer.picture.value = 1
    assert (explorer.person.max, explorer.person.value) == (0, 0)


def test_the_twin_is_the_picture(explorer):
    explorer.set("all hidden")
    twin, alone = explorer.static(), explorer.static(attention=False)
    assert [t.name for t in twin.data] == [t.name for t in explorer.figure.data]
    np.testing.assert_array_equal(twin.data[-1].z, explorer.figure.data[-1].z)
    assert "picture 0, person 0, left_wrist" in twin.layout.title.text
    assert {t.type for t in alone.data} == {"scatter"} and len(alone.data) == len(twin.data) - 4
    assert alone.layout.width < twin.layout.width


def test_the_module_is_drawn_with_its_shapes(estimators, windows):
    aware, _ = estimators
    with torch.inference_mode(), record(aware.model) as taps:
        xy = aware.model.decode(aware.model(crops_of(windows)[:1]))[0][0].numpy()
    figure = visibility.module_figure(
        windows.sample(0).crops[0], taps, xy, windows.skeleton, "made"
    )
    texts = [a.text for a in figure.layout.annotations if a.text]
    assert texts[0] == "crop<br>3 x 64 x 32" and "17 x 48, 17 x 96" in texts[-1] and len(texts) == 6
    maps, said, masked, *_ = figure.data
    p = taps["reasoning.visibility"][0].numpy()
    np.testing.assert_allclose(np.ravel(said.z)[:K], p)
    h, w = taps["maps.out"].shape[2:]
    np.testing.assert_allclose(np.array(maps.z)[:h, :w], taps["maps.out"][0, 0])
    np.testing.assert_allclose(
        np.array(masked.z)[:h, w + 1 : 2 * w + 1], taps["reasoning.masked"][0, 1].view(h, w)
    )


def test_a_crop_with_poses_is_a_panel(windows):
    window = windows.sample(0)
    panel = visibility.crop_panel(
        windows, 0, "made", {visibility.NAIVE: np.zeros((K, 2), np.float32)}
    )
    pose, colour, _ = panel["poses"][visibility.NAIVE]
    np.testing.assert_allclose(pose, np.tile(window.affine[:, 2], (K, 1)))
    truth, _, round_ = panel["poses"][figures.REAL]
    assert (np.isnan(truth[:, 0]) == (window.visibility[0] == 0)).all() and (
        round_ == (window.visibility[0] == 2)
    ).all()
    figure = figures.annotated_pictures([panel, panel], "made")
    assert [t.name for t in figure.data if t.showlegend].count(visibility.NAIVE) == 1
    assert colour in [t.line.color for t in figure.data]
