"""The explorer without a browser: controls change what is computed, and both pictures hold the same arrays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from workbench import load
from workbench.recipes import port as recipe
from workbench.view import explorers


@pytest.fixture
def explorer():
    truth, detected = recipe.pairs("synthetic", n=7, seed=3)
    return explorers.PortExplorer(load("port"), detected, truth, index=2)


def traces(figure):
    return {(t.name, t.mode if t.type == "scatter" else t.type): t for t in figure.data}


def test_delta_hides_what_is_below_it(explorer):
    explorer.delta.value = 0.0
    assert not explorer.mask().any() and "0 hidden" in explorer.readout.value
    explorer.delta.value = 1.0
    assert explorer.mask().all()
    np.testing.assert_array_equal(traces(explorer.figure)["detector", "markers"].marker.symbol, ["x"] * 21)


def test_the_live_figure_follows(explorer):
    explorer.delta.value = 0.0
    before = np.array(traces(explorer.figure)["attention", "heatmap"].z)
    explorer.delta.value = 1.0
    after = traces(explorer.figure)
    assert np.abs(np.array(after["attention", "heatmap"].z) - before).max() > 1e-4
    state = explorer.compute()
    np.testing.assert_allclose(after["refined", "markers"].x, state["refined"][:, 0])
    np.testing.assert_allclose(np.array(after["attention", "heatmap"].z), state["attention"], atol=1e-6)
    np.testing.assert_allclose(state["attention"].sum(1), 1, atol=1e-5)


def test_a_click_flips_a_joint_and_a_new_hand_forgets_it(explorer):
    explorer.delta.value = 0.0
    explorer._on_click(None, SimpleNamespace(point_inds=[5]), None)
    assert explorer.mask().tolist() == [i == 5 for i in range(21)]
    assert "forefinger1" in explorer.readout.value
    explorer._on_click(None, SimpleNamespace(point_inds=[5]), None)
    assert not explorer.mask().any()
    explorer._on_click(None, SimpleNamespace(point_inds=[5]), None)
    explorer.hand.value = 4
    assert not explorer.clicked.any()


def test_only_the_detector_s_joints_answer_to_the_mouse(explorer):
    answering = [key for key, t in traces(explorer.figure).items() if t.type == "scatter" and t.hoverinfo != "skip"]
    assert answering == [("detector", "markers")]


def test_heads_and_layers_choose_the_map(explorer):
    mean = explorer.compute()["attention"]
    maps = []
    for head in range(4):
        explorer.head.value = head
        maps.append(explorer.compute()["attention"])
    np.testing.assert_allclose(np.mean(maps, 0), mean, atol=1e-6)
    explorer.layer.value = 1
    assert np.abs(explorer.compute()["attention"] - maps[-1]).max() > 1e-3


def test_the_static_twin_is_the_same_picture(explorer):
    explorer.delta.value = 0.5
    static, live = traces(explorer.static()), traces(explorer.figure)
    assert static.keys() == live.keys()
    for key in static:
        for axis in ("x", "y"):
            if key[1] != "heatmap":
                assert list(static[key][axis]) == list(live[key][axis]), key
    assert "static copy" in explorer.static().layout.title.text


def test_groups_of_updates_share_their_properties(explorer):
    """A browser resets what one of several traces in a message lacks."""
    for group in explorer._updates(explorer.compute()):
        assert len({frozenset(values) for values in group.values()}) == 1


def test_without_truth_there_is_no_error_to_show():
    _, detected = recipe.pairs("synthetic", n=3, seed=3)
    explorer = explorers.PortExplorer(load("port"), detected)
    assert "error" not in explorer.readout.value and ("ground truth", "lines") not in traces(explorer.figure)


def test_show_displays_the_widget_with_its_twin(explorer, monkeypatch):
    shown = []
    monkeypatch.setattr(explorers, "display", lambda bundle, raw: shown.append(bundle))
    explorer.show()
    assert {"application/vnd.jupyter.widget-view+json", explorers.PLOTLY} <= set(shown[0])
    assert shown[0][explorers.PLOTLY]["config"]["showSendToCloud"] is False
