from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench import checkpoint
from workbench.errors import UnknownName
from workbench.models import build
from workbench.models.layers import count_parameters
from workbench.predict import SequenceRefiner
from workbench.recipes import hanet as recipe


@pytest.fixture(scope="module")
def test_set():
    return recipe.sequences("synthetic", "test", cameras=1)[:11]


def test_the_world_is_frozen():
    assert recipe.WORLD.digest() == "44b15308010ae1a1", (
        "a change makes a new world: new name, all rows anew"
    )


def test_the_camera_sees_a_body_upright_and_whole(rng):
    (_, xyz), *_ = recipe.motions("synthetic", "test")
    xy = recipe.photograph(xyz, rng)
    head, ankle = (recipe.JOINTS.index(j) for j in ("head", "right_ankle"))
    assert (xy[:, head, 1] < xy[:, ankle, 1]).mean() > 0.95
    assert 40 < np.ptp(xy, axis=1)[:, 1].mean() < 220


def test_the_camera_mirrors_nobody_and_looks_down(rng):
    """Left hip, up and the way that the knees bend keep their order; a camera above is nearer to
    the head.
    """
    (_, xyz), *_ = recipe.motions("synthetic", "train")
    for body in (xyz, recipe.turn(xyz, rng, replace(recipe.WORLD, pitch_deg=(30.0, 0.0)))):
        at = {j: body[:, i] for i, j in enumerate(recipe.JOINTS.joints)}
        bend = at["left_knee"] - (at["left_hip"] + at["left_ankle"]) / 2
        sides = np.cross(at["left_hip"] - at["right_hip"], at["head"] - at["belly"])
        assert np.sum(sides * bend, -1).mean() > 0
    assert (at["head"][:, 2] < at["left_ankle"][:, 2]).mean() > 0.9


def test_bursts_last_and_hang_together(rng):
    hidden = recipe.bursts(53, 199, rng)
    lengths = np.diff(np.flatnonzero(np.diff(np.pad(hidden[:, :, 3].ravel().astype(int), 1))))[::2]
    assert 0.02 < hidden.mean() < 0.2 and np.median(lengths) >= 5


def test_errors_last_longer_inside_bursts(rng):
    xy = np.tile(np.linspace(50, 150, 30).reshape(15, 2), (7, 101, 1, 1))
    hidden = np.zeros((7, 101, 15), bool)
    hidden[:, 50:] = True
    error = recipe.detect(xy, hidden, rng) - xy
    same = (np.abs(np.diff(error, axis=1)) < 1e-4).all(-1)
    assert same[:, 50:].mean() > same[:, :49].mean() + 0.15
    size = np.linalg.norm(error, axis=-1)
    assert size[:, 50:].mean() > 1.2 * size[:, :50].mean()


@pytest.mark.realdata
def test_the_input_is_as_good_as_the_paper_s(data_root):
    """Sub-JHMDB, SimpleBaseline: 56.9 / 81.3 / 94.4; calibrated on training clips alone."""
    train = recipe.sequences("mocap", "train", cameras=1, seed=1)
    found = recipe.measures([s.detected for s in train], train)
    assert found["pck_0.05"].mean() == pytest.approx(57, abs=3)
    assert found["pck_0.1"].mean() == pytest.approx(81, abs=3)
    assert found["pck_0.2"].mean() == pytest.approx(94, abs=2)


@pytest.mark.realdata
def test_no_clip_and_no_style_stands_on_both_sides(data_root):
    names = {
        split: {name for name, _ in recipe.motions("mocap", split)} for split in ("train", "test")
    }
    styles = {split: {name.split("_")[2] for name in found} for split, found in names.items()}
    assert len(names["train"]) + len(names["test"]) == 40 and not names["train"] & names["test"]
    assert styles["test"] <= set(recipe.WORLD.test_styles) and not styles["train"] & styles["test"]


def test_filters_do_what_they_are_called():
    t = np.arange(31.0)[:, None, None]
    line = np.concatenate((2 * t, 5 - t), -1)
    np.testing.assert_allclose(recipe._lines(line, 3), line, atol=1e-4)
    np.testing.assert_allclose(recipe._savgol(line, 9, 1), line, atol=1e-9)
    noisy = line + np.random.default_rng(1).normal(0, 1, line.shape)
    calm = recipe.one_euro(noisy, 30.0, 0.5)
    assert np.abs(np.diff(calm, 2, axis=0)).mean() < 0.3 * np.abs(np.diff(noisy, 2, axis=0)).mean()
    np.testing.assert_allclose(recipe.one_euro(np.ones((5, 2, 2)), 30.0), 1)


def test_networks_are_of_equal_size():
    sizes = {
        name: count_parameters(build("hanet", recipe.VARIANTS[name]))
        for name in ("hanet", "plain", "no_hierarchy")
    }
    assert max(sizes.values()) < 1.1 * min(sizes.values()) and max(sizes.values()) < 1e6, sizes


def test_a_window_is_in_the_frame_of_its_detections(rng):
    pool = [xyz for _, xyz in recipe.motions("synthetic", "train")][:5]
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


def test_rows_and_protocol(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(recipe, "TRAIN", replace(recipe.TRAIN, batch_size=4, workers=0))
    monkeypatch.setattr(
        recipe, "FILTERS", {name: (f, tried[:2]) for name, (f, tried) in recipe.FILTERS.items()}
    )
    whole = recipe.motions
    monkeypatch.setattr(recipe, "motions", lambda *args, **kw: whole(*args, **kw)[:7])
    result = recipe.evaluate(
        "synthetic", variants=("hanet",), steps=3, device="cpu", progress=False
    )
    methods = [row["method"] for row in result["rows"] if row["kind"] == "measured"]
    assert methods == ["input", "linear", "savgol", "one_euro", "hanet"]
    for row in result["rows"][:5]:
        low, high = row["intervals"]["pck_0.05"]
        assert low <= row["metrics"]["pck_0.05"] <= high and row["metrics"]["epe_inside"] > 0
    assert recipe.WORLD.digest() in result["protocol"] and len(recipe.flat(result)) == 8
    path = recipe.ship(
        tmp_path / "w.safetensors",
        replace(recipe.TRAIN, steps=3, warmup_steps=1),
        device="cpu",
        progress=False,
    )
    card = checkpoint.read_card(path)
    assert card["metrics"]["hanet"]["pck_0.2"] > 0 and card["data"] == "synthetic"
    with pytest.raises(UnknownName, match="hanet"):
        recipe.train_variant("synthetic", "hanett")
    with pytest.raises(UnknownName, match="mocap"):
        whole("mocapp", "test")
