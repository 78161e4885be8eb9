"""The attention view without a browser: one scale, states that come back, what leaves the kernel,
and who is asked when something changes.
"""

from __future__ import annotations

import asyncio
import json
import re

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.models.tiny import tiny
from workbench import load
from workbench.errors import BadParameter, UnknownName
from workbench.models import MODELS, build, entry
from workbench.recipes import port as recipe
from workbench.resources import RUNS
from workbench.skeletons import skeleton
from workbench.taps import record
from workbench.view import live, style
from workbench.view.attention import Answer, AttentionView, Axis, attention_of, packed
from workbench.view.html import WIDGET_MIME, notebook_page

FRAMES = Axis.numbered("frame", 5)


def weights(rng, *shape):
    return rng.dirichlet(np.full(shape[-1], 0.5), shape[:-1]).astype(np.float32)


def unpacked(data, *shape):
    return np.frombuffer(data, "<f2").reshape(shape).astype(np.float64)


@pytest.fixture
def maps(rng):
    return {"encoder": weights(rng, 2, 3, 5, 5)}


@pytest.fixture(scope="module")
def looked():
    """PORT, a hand's detections, and what it and one with random weights recorded of it."""
    refiner = load("port")
    detected = recipe.pairs("synthetic", n=2, seed=3)[1]
    mask = refiner.mask(detected)
    names = ["encoder.*.attention.map"]
    recordings = [
        predictor.look(detected, mask, names=names)[1]
        for predictor in (refiner, refiner.random_control())
    ]
    return refiner.skeleton, detected, *recordings


# --- one scale


def test_one_multiple_has_one_colour_in_every_head_layer_and_model(rng):
    """Three models whose maps have other sizes and other extremes; 3x uniform stands in all."""
    colours = set()
    for keys in (7, 11, 101):
        for peak in (4.0, keys / 2):
            row = np.full(keys, 0.5 / keys)
            row[:2] = peak / keys, 3.0 / keys
            trained = np.broadcast_to(row, (2, 3, keys, keys)).astype(np.float32)
            data = unpacked(packed({"maps": trained}), 2, 3, keys, keys)
            cell = style.attention_colours(data)[..., 1, :]
            colours |= set(map(tuple, cell.reshape(-1, 3).tolist()))
    assert len(colours) == 1


@pytest.mark.parametrize("keys", [3, 21, 192])
def test_uniform_is_neutral_after_the_way_to_the_browser(keys):
    uniform = np.full((2, keys, keys), 1 / keys, np.float32)
    times = unpacked(packed({"maps": uniform}), 2, keys, keys)
    assert (style.attention_colours(times) == style.rgb(style.DIVERGING["light"][2])).all()


def test_half_precision_costs_what_is_said(rng):
    given = {"maps": weights(rng, 4, 3, 37, 37)}
    exact = given["maps"].astype(np.float64) * 37
    error = np.abs(unpacked(packed(given), 4, 3, 37, 37) - exact)
    assert (error <= np.maximum(exact * 2.0**-11, 2.0**-25) * 1.0001).all()
    shown, true = (style.attention_colours(t).astype(int) for t in (exact + error, exact))
    assert np.abs(shown - true).max() <= 1


def test_forbidden_keys_leave_as_nan(rng):
    causal = np.tril(np.ones((5, 5), bool))
    given = np.where(causal, 1.0, 0) / causal.sum(1, keepdims=True)
    maps = {"maps": given[None].astype(np.float32)}
    times = unpacked(packed(maps, {"maps": causal}), 5, 5)
    assert np.isnan(times[~causal]).all() and (times[causal] == 1).all()
    view = AttentionView(maps, (FRAMES, FRAMES), allowed={"maps": causal})
    assert view.data == packed(maps, {"maps": causal})


def test_the_module_is_given_the_scales_of_style(maps):
    view = AttentionView(maps, (FRAMES, FRAMES))
    assert view.scale["log2"] == style.LOG2_RANGE
    assert [tuple(stop) for stop in view.scale["dark"]] == [
        style.rgb(stop) for stop in style.DIVERGING["dark"]
    ]


# --- state


def test_a_state_comes_back(maps, rng):
    other = {"encoder": weights(rng, 2, 3, 5, 5)}
    view = AttentionView(maps, (FRAMES, FRAMES), other=other)
    view.hidden = [1, 4]
    view.knocked_out = [["encoder", 1, 2]]
    view.choice = {**view.choice, "head": ["encoder", 1, 0], "show": "ratio", "direction": "in"}
    state = json.loads(json.dumps(view.state))
    again = AttentionView(maps, (FRAMES, FRAMES), other=other, state=state)
    assert again.state == state == view.state
    assert again.hidden == [1, 4] and again.choice["show"] == "ratio"


def test_a_state_is_a_copy(maps):
    view = AttentionView(maps, (FRAMES, FRAMES))
    view.state["head"][1] = 1
    assert view.state["head"] == ["encoder", 0, 0]


@pytest.mark.parametrize(
    "state, error, word",
    [
        ({"shows": "main"}, UnknownName, "show"),
        ({"show": "mean"}, UnknownName, "main"),
        ({"direction": "up"}, UnknownName, "direction"),
        ({"head": ["encoder", 2, 0]}, BadParameter, "no head"),
        ({"knocked_out": [["decoder", 0, 0]]}, BadParameter, "decoder"),
        ({"head": 3}, BadParameter, "from 0"),
        ({"focus": -1}, BadParameter, "no row"),
    ],
)
def test_a_state_of_something_else_is_refused(maps, state, error, word):
    with pytest.raises(error, match=word):
        AttentionView(maps, (FRAMES, FRAMES), state=state)


# --- what is refused


def test_maps_and_axes_that_do_not_fit_are_refused(maps):
    with pytest.raises(BadParameter, match="no maps"):
        AttentionView({}, (FRAMES, FRAMES))
    with pytest.raises(BadParameter, match="5 tokens for 4 labels"):
        AttentionView(maps, (FRAMES, Axis.numbered("frame", 4)))
    with pytest.raises(BadParameter, match="grid"):
        AttentionView(maps, (FRAMES, Axis("image token", FRAMES.labels, (2, 3))))
    with pytest.raises(UnknownName, match="encoder"):
        AttentionView(maps, {"decoder": (FRAMES, FRAMES)})
    with pytest.raises(BadParameter, match="of one sample"):
        AttentionView({"encoder": np.ones((2, 2, 3, 5, 5))}, (FRAMES, FRAMES))
    with pytest.raises(BadParameter, match="same maps"):
        AttentionView(maps, (FRAMES, FRAMES), other={"encoder": maps["encoder"][:1]})
    with pytest.raises(UnknownName, match="dark"):
        AttentionView(maps, (FRAMES, FRAMES), theme="darks")


def test_a_body_has_a_place_for_every_joint(maps):
    with pytest.raises(BadParameter, match="3 places for the 17"):
        AttentionView(maps, (FRAMES, FRAMES), skeleton=skeleton("coco17"), xy=np.ones((3, 2)))


# --- answers


def test_hiding_and_knocking_out_ask_for_new_maps(maps, rng):
    states, new = [], weights(rng, 2, 3, 5, 5)

    def answer(state):
        states.append(state)
        return Answer({"encoder": new}, sentence=f"{len(state['hidden'])} hidden")

    view = AttentionView(maps, (FRAMES, FRAMES), on_change=answer)
    assert view.answers and not states
    view.hidden = [2]
    view.knocked_out = [["encoder", 0, 1]]
    assert [s["hidden"] for s in states] == [[2], [2]]
    assert states[-1]["knocked_out"] == [["encoder", 0, 1]]
    assert view.data == packed({"encoder": new}) and view.verdict == "1 hidden"


def test_newer_input_supersedes_older(maps):
    asked = []

    def answer(state):
        asked.append(state["hidden"])
        return maps

    async def several():
        view = AttentionView(maps, (FRAMES, FRAMES), on_change=answer)
        for turn, hidden in enumerate(([0], [0, 1], [0, 1, 3]), 1):
            view.asked = turn
            view.hidden = hidden
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        return view

    view = asyncio.run(several())
    assert asked == [[0, 1, 3]] and view.answered == view.asked == 3


def test_an_error_is_shown_and_raised(maps):
    def answer(state):
        raise BadParameter("too much is hidden")

    view = AttentionView(maps, (FRAMES, FRAMES), on_change=answer)
    before, view.asked = view.data, 1
    with pytest.raises(BadParameter):
        view.hidden = [0, 1, 2, 3, 4]
    assert "too much is hidden" in view.verdict and view.data == before
    assert view.answered == 1, "the browser would wait for ever"


def test_maps_of_another_shape_are_no_answer(maps):
    view = AttentionView(maps, (FRAMES, FRAMES))
    with pytest.raises(BadParameter, match="same model"):
        view.show_maps({"encoder": maps["encoder"][:, :2]})


# --- from a recording


def test_port_s_recording_becomes_a_view(looked):
    hand, detected, trained, random = looked
    view = attention_of(trained, hand, sample=1, other=random, xy=detected.xy_frame[1])
    (only,) = view.maps
    taps = [trained[name][1].numpy() for name in trained]
    assert only["name"] == "encoder attention" and only["shape"] == [len(taps), 4, 21, 21]
    assert only["query"]["kind"] == only["key"]["kind"] == "joint"
    times = unpacked(view.data, *only["shape"])
    np.testing.assert_allclose(times, 21 * np.stack(taps), rtol=1e-3, atol=1e-6)
    assert view.other_data != view.data and len(view.body["xy"]) == 21


def test_a_recording_without_attention_is_refused(looked):
    refiner = load("port")
    detected = looked[1]
    seen = refiner.look(detected, refiner.mask(detected), names=["recon"])[1]
    with pytest.raises(BadParameter, match="recon"):
        attention_of(seen, refiner.skeleton)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_s_recording_becomes_a_view(name):
    """Whatever the tokens are, and however many stacks of layers."""
    config = tiny(name)
    torch.manual_seed(0)
    model = build(name, config).eval()
    example = entry(name).example(config, 2, torch.Generator().manual_seed(0))
    with torch.no_grad(), record(model) as taps:
        model(**example)
    body = skeleton(config.skeleton) if hasattr(config, "skeleton") else None
    view = attention_of(taps, body)
    heads = sum(tap.shape[1] for key, tap in taps.items() if taps.axes[key][:2] == ("b", "head"))
    assert sum(m["shape"][0] * m["shape"][1] for m in view.maps) == heads
    kinds = {view.maps[0]["query"]["kind"], view.maps[0]["key"]["kind"]}
    assert kinds == {"joint"} if name in ("port", "vissimcc") else "joint" not in kinds
    assert 'data-view="' in view.fragment()


def test_flows_of_a_joint_stand_together():
    axis = Axis.of_channels(skeleton("coco17"), ("psi", "prev", "sub"))
    assert axis.labels[:4] == ("nose · psi", "nose · prev", "nose · sub", "left_eye · psi")
    assert len(axis.labels) == 17 * 3


# --- pages


def test_a_page_holds_all_it_needs_and_data_stay_data(maps):
    bad = "</script><img src=x onerror=alert(1)>"
    axis = Axis("frame", (bad, "1", "2", "3", "4"))
    page = AttentionView(maps, (axis, axis), theme="dark").page(title=bad)
    assert page.count("</script>") == 2 and "<img" not in page
    assert "default-src 'none'" in page and '<html lang="en" data-theme="dark">' in page
    assert not re.search(r"(src|href)=[\"']?https?:", page)
    stored = json.loads(re.search(r'"application/json">(.*?)</script>', page, re.S)[1])
    assert stored["values"]["maps"][0]["query"]["labels"][0] == bad


def test_a_run_s_page_keeps_the_live_module(maps, tmp_path):
    fragment = AttentionView(maps, (FRAMES, FRAMES)).fragment()
    data = {WIDGET_MIME: {"model_id": "1"}, live.PAGE: fragment}
    output = new_output("display_data", data=data)
    nbformat.write(
        new_notebook(cells=[new_code_cell("show()", outputs=[output])]), tmp_path / "07_page.ipynb"
    )
    page = notebook_page(tmp_path / "07_page.ipynb")
    assert "mount(storedModel(" in page and "Content-Security-Policy" in page


def test_show_displays_the_widget_and_the_fragment(maps, monkeypatch):
    shown = []
    monkeypatch.setattr(live, "display", lambda bundle, raw: shown.append(bundle))
    monkeypatch.delenv(RUNS, raising=False)
    AttentionView(maps, (FRAMES, FRAMES)).show()
    assert {WIDGET_MIME, "image/png"} <= set(shown[0]) and live.PAGE not in shown[0]
    monkeypatch.setenv(RUNS, "1")
    AttentionView(maps, (FRAMES, FRAMES)).show()
    assert {WIDGET_MIME, live.PAGE} <= set(shown[1])


def test_the_module_puts_no_markup_into_the_page():
    """Words from data reach the page by textContent and title alone."""
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in live.MODULE
    assert len(live.MODULE.encode()) < 102_500
