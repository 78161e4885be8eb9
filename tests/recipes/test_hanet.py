from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.recipes.small import ASKED, QUICK, measured
from workbench import checkpoint
from workbench.errors import BadParameter
from workbench.made import motion
from workbench.made.motion import WORLD
from workbench.models import build
from workbench.models.layers import count_parameters
from workbench.predict import SequenceRefiner
from workbench.recipes import hanet as recipe


def test_networks_are_of_equal_size():
    sizes = {
        name: count_parameters(build("hanet", recipe.CONFIGS[name]))
        for name in ("hanet", "plain", "no_hierarchy")
    }
    assert max(sizes.values()) < 1.1 * min(sizes.values()) and max(sizes.values()) < 1e6, sizes


def test_a_window_is_in_the_frame_of_its_detections(rng):
    pool = [xyz for _, xyz in motion.motions("synthetic", "train", limit=5)]
    batch = recipe.window_batches(pool, 11, 7)(0, rng)
    assert batch["xy"].shape == batch["truth"].shape == (7, 11, 30)
    xy = batch["xy"].reshape(7, 11, 15, 2).numpy()
    np.testing.assert_allclose(np.median(xy, axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(np.median(np.ptp(xy, axis=2).max(-1), axis=1), 1, rtol=1e-4)


def test_windows_short_and_long_come_back_whole(rng):
    refiner = SequenceRefiner(build("hanet", recipe.SMALL), recipe.WINDOW)
    for t in (1, 2, 17, 43, 44, 101):
        assert refiner.refine(rng.normal(100, 30, (t, 15, 2))).shape == (t, 15, 2)
    xy = rng.normal(100, 30, (61, 15, 2))
    moved = refiner.refine(xy * 3 + 40)
    np.testing.assert_allclose(moved, refiner.refine(xy) * 3 + 40, rtol=1e-3, atol=1e-2)


def test_rows_and_protocol(small, tmp_path):
    chosen = small("hanet")
    result = chosen.evaluate("synthetic", variants=("hanet",), **ASKED)
    known, other = "noise as in training", "another noise"
    everything = measured(result)
    assert {(row["method"], row["subset"]) for row in everything} == {
        (name, subset) for name in ("input", "linear", "hanet") for subset in (known, other)
    }
    ours = [row for row in everything if row["subset"] == known]
    assert [row["method"] for row in ours] == ["input", "linear", "hanet"]
    assert ours[1]["setting"] in ([3], [5])
    for row in ours:
        low, high = row["intervals"]["pck_0.05"]
        assert low <= row["metrics"]["pck_0.05"] <= high and row["metrics"]["epe_inside"] > 0
        assert row["n"] == 15 and row["seed"] == 0
    assert WORLD.digest() in result["protocol"] and "2 steps of 3 windows" in result["protocol"]
    assert len(chosen.flat(result)) == len(result["rows"]) > 3, "the paper's rows beside ours"
    card = checkpoint.read_card(chosen.ship(tmp_path / "w.safetensors", QUICK))
    assert card["metrics"]["hanet"]["pck_0.2"] > 0 and card["data"] == "synthetic"
    assert card["metrics"]["input"]["pck_0.05"] == ours[0]["metrics"]["pck_0.05"]


def test_refiners_are_measured_as_they_stand(small):
    chosen = small("hanet")
    test = motion.sequences("synthetic", "test", limit=3)
    blank = SequenceRefiner(build("hanet", chosen.variants["hanet"].config), recipe.WINDOW)
    how = {"networks": "random weights", "seed": 4, "own": chosen.own}
    result = recipe.evaluate_refiners({"ours": blank}, test, "synthetic", **how)
    ours = measured(result)
    assert [(r["method"], r["seed"], r["n"]) for r in ours] == [
        ("input", 4, 9),
        ("linear", 4, 9),
        ("ours", 4, 9),
    ]
    assert "ours: random weights" in result["protocol"]
    assert ours[2]["paired"]["accel"]["rival"] == "input"


def test_one_clip_is_no_test_set(small):
    chosen = small("hanet")
    one = replace(chosen, own=replace(chosen.own, limit=1))
    with pytest.raises(BadParameter, match="two clips"):
        one.evaluate("synthetic", **ASKED)


def test_every_network_beside_reads_what_its_name_says():
    """Of a window, which frames move the answer: perturbed one by one."""
    small = {"dim": 8, "levels": 1, "decoder_levels": 1, "channels": 4}
    read = {}
    for name in ("hanet", "hanet_sparse", "plain", "plain_dense", "neighbours", "flow"):
        model = build("hanet", replace(recipe.CONFIGS[name], **small)).eval().double()
        xy = torch.rand(1, 13, 4, dtype=torch.float64)
        with torch.no_grad():
            before = model(xy)["xy"]
            moved = [xy.clone() for _ in range(13)]
            for t, each in enumerate(moved):
                each[0, t] += 1
            read[name] = [not torch.equal(model(each)["xy"], before) for each in moved]
    every_third = [t % 3 == 0 for t in range(13)]
    assert read["hanet_sparse"] == read["plain"] == every_third
    for name in ("hanet", "plain_dense", "neighbours", "flow"):
        assert all(read[name]), name


def test_settings_are_searched_on_styles_that_their_trainings_do_not_see(small):
    chosen = small("hanet")
    result = chosen.evaluate("synthetic", variants=("hanet_5", "plain_dense_5"), **ASKED)
    rows = measured(result)
    assert {row["subset"] for row in rows} == {"noise as in training"}
    assert next(r for r in rows if r["method"] == "hanet_5")["paired"]["accel"]["rival"] == "input"
    with pytest.raises(BadParameter, match="different splits"):
        chosen.evaluate("synthetic", variants=("hanet_5", "hanet"), **ASKED)
