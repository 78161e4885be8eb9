from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench import checkpoint, predict
from workbench import metrics as kp
from workbench.errors import MissingData, UnknownName
from workbench.made.worlds import cached_clips
from workbench.models import build
from workbench.predict import PoseEstimator
from workbench.recipes import vissimcc as recipe
from workbench.records import Detections

TINY = tiny("vissimcc")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture
def small_world(monkeypatch, pictures, tmp_path):
    """Seven pictures a split, models of a few thousand parameters, everything in temporary
    folders.
    """
    monkeypatch.setattr(
        recipe, "cached_clips", partial(cached_clips, folder=pictures, progress=False)
    )
    monkeypatch.setattr(recipe, "cache_folder", lambda: tmp_path / "trained")
    monkeypatch.setattr(recipe, "PICTURES", {"train": 7, "val": 3, "test": 7})
    kept = ("reasoning", "visibility", "output")
    tiny = {
        name: replace(
            v,
            config=replace(TINY, **{key: getattr(v.config, key) for key in kept}),
            pictures=v.pictures and 3,
        )
        for name, v in recipe.VARIANTS.items()
    }
    monkeypatch.setattr(recipe, "VARIANTS", tiny)
    monkeypatch.setattr(
        recipe, "TRAIN", replace(recipe.TRAIN, batch_size=5, workers=0, precision="no")
    )
    recipe._rendered.cache_clear()
    yield
    recipe._rendered.cache_clear()


def test_the_world_is_frozen_and_hides_a_lot(small_world):
    assert recipe.WORLD.digest() == "af45f58b54d0a528", (
        "a change makes a new world: new name, all rows anew"
    )
    flags = recipe.people("test").poses().visibility
    assert len(flags) > 7 and 0.25 < (flags == 1).mean() < 0.7


def test_truth_of_windows_follows_their_order(small_world):
    windows = recipe.people("test", TINY)
    truth = windows.poses()
    assert len(truth) == len(windows) == len(truth.images) and len(set(truth.images)) <= 7
    pair, n, _ = windows.items[4]
    np.testing.assert_array_equal(truth.xy_frame[4], windows.pairs[pair][0].tracks[n].xy_frame[0])


def test_visible_joints_alone_count_where_it_is_said(small_world, rng):
    windows = recipe.people("train", TINY)
    both = [
        recipe.joint_batches(windows, 6, joints)(0, np.random.default_rng(3))
        for joints in ("labelled", "visible")
    ]
    assert torch.equal(both[0]["images"], both[1]["images"]) and both[0]["images"].shape == (
        6,
        3,
        64,
        32,
    )
    assert torch.equal(both[0]["weights"], (both[0]["visibility"] > 0).float())
    assert torch.equal(both[1]["weights"], (both[0]["visibility"] == 2).float())
    assert 0 < both[1]["weights"].sum() < both[0]["weights"].sum()


def test_an_estimate_is_what_the_picture_and_its_box_give(small_world):
    """Windows and `PoseEstimator.estimate` cut the same crops and come back to the same pixels."""
    estimator, windows = PoseEstimator(build("vissimcc", TINY)), recipe.people("test", TINY)
    found, seen = recipe.estimate(estimator, windows)
    truth = windows.poses()
    assert seen.shape == truth.visibility.shape and ((seen > 0) & (seen < 1)).all()
    rows = [i for i, image in enumerate(truth.images) if image == truth.images[0]]
    frame = windows.pairs[0][1][0]
    again = estimator.estimate(frame, truth.boxes_xyxy[rows], image=truth.images[0])
    np.testing.assert_allclose(again.xy_frame, found.xy_frame[rows], atol=1e-3)
    np.testing.assert_allclose(again.confidence, found.confidence[rows], rtol=1e-4)
    assert again.images == tuple(truth.images[i] for i in rows)


def test_the_mirror_image_of_a_crop_has_the_mirrored_pose(small_world):
    config = replace(TINY, split=1.0)  # whose bins all have a mirror image
    estimator, windows = PoseEstimator(build("vissimcc", config)), recipe.people("test", config)
    crops = windows.batch(range(6))["images"][:, 0]
    here, there = estimator.read(crops), estimator.read(crops.flip(-1))
    other = np.array(estimator.skeleton.flip_index)
    np.testing.assert_allclose(there.confidence[:, other], here.confidence, rtol=1e-4)
    np.testing.assert_allclose(there.visibility[:, other], here.visibility, rtol=1e-4)
    np.testing.assert_allclose(
        there.xy_crop[:, other, 0], config.size[0] - 1 - here.xy_crop[..., 0], atol=1e-4
    )


def test_nobody_in_the_picture_is_nobody_found():
    estimator = PoseEstimator(build("vissimcc", TINY))
    found = estimator.estimate(np.zeros((40, 50, 3), np.uint8), np.zeros((0, 4)))
    assert len(found) == 0 and found.xy_frame.shape == (0, 17, 2)


def test_oks_of_each_person_with_the_own_pose(small_world, rng):
    truth = recipe.people("test", TINY).poses()
    xy = truth.xy_frame + rng.normal(0, 3, truth.xy_frame.shape).astype(np.float32)
    found = Detections(
        truth.skeleton, xy, np.ones(xy.shape[:2]), truth.boxes_xyxy, images=truth.images
    )
    own = recipe.person_oks(found, truth, "visible")
    use = truth.visibility == 2
    np.testing.assert_array_equal(np.isfinite(own), use.any(1))
    areas, sigmas = (
        kp.person_areas(truth, "box"),
        np.array(recipe.skeleton(truth.skeleton).oks_sigmas),
    )
    table = kp.oks(xy, truth.xy_frame, use, areas, sigmas, truth.boxes_xyxy)
    np.testing.assert_allclose(own[use.any(1)], np.diag(table)[use.any(1)])
    perfect = replace(found, xy_frame=truth.xy_frame)
    rows = {
        r["subset"]: r["metrics"]
        for r in recipe.rows_of("made", perfect, None, truth, boxes="ground truth")
    }
    assert all(
        m["AP"] == pytest.approx(100) and m["oks"] == pytest.approx(100) for m in rows.values()
    )


def test_rows_of_trained_variants(small_world):
    result = recipe.evaluate(
        variants=("baseline", "masking", "truth", "visible"), steps=2, device="cpu", progress=False
    )
    measured = [r for r in result["rows"] if r["kind"] == "measured"]
    assert [r["variant"] for r in measured[::3]] == ["baseline", "masking", "truth", "visible"]
    assert [r["subset"] for r in measured[:3]] == [
        "all joints",
        "visible joints",
        "occluded joints",
    ]
    for row in measured:
        low, high = row["intervals"]["oks"]
        assert low <= row["metrics"]["oks"] <= high and row["seed"] == 0
    assert ["visibility_accuracy" in r["metrics"] for r in measured] == [i == 3 for i in range(12)]
    assert (
        recipe.WORLD.digest() in result["protocol"]
        and "2 steps of 5 people after 2 of" in result["protocol"]
    )
    json.dumps(result)
    assert len(recipe.flat(result)) == len(result["rows"]) and any(
        r["kind"] == "paper" for r in result["rows"]
    )


def test_the_small_split_and_heatmaps_say_what_they_went_on_from(small_world):
    """Table 1's small split, and the module in a heatmap estimator, each after its own plain
    start.
    """
    result = recipe.evaluate(
        variants=("few_all", "heatmap_masking"), steps=2, device="cpu", progress=False
    )
    assert "1 steps of 5 people after 2 of few_stem or 1 of heatmap_stem" in result["protocol"]
    measured = [r for r in result["rows"] if r["kind"] == "measured"]
    assert [r["variant"] for r in measured[::3]] == ["few_all", "heatmap_masking"]
    assert {r["steps"] for r in measured} == {1} and "visibility_accuracy" in measured[3]["metrics"]
    assert (
        recipe.steps_of("few_all") == 750
        and recipe.steps_of("masking") == recipe.steps_of("baseline") == 6_000
    )


def test_shipped_rows_bear_the_seed_of_their_weights(small_world, monkeypatch, tmp_path):
    shipped = recipe.ship(
        tmp_path / "vissimcc_coco17_synthetic.safetensors",
        replace(recipe.TRAIN, steps=2),
        device="cpu",
        progress=False,
    )
    monkeypatch.setattr(recipe, "weights_path", lambda *_: shipped)
    monkeypatch.setattr(recipe, "load", lambda *_, **__: predict.load(str(shipped)))
    rows = recipe.evaluate(seed=7, progress=False)["rows"]
    assert {r["seed"] for r in rows if r["kind"] == "measured"} == {0}


def test_a_variant_goes_on_from_another(small_world):
    settings = replace(recipe.TRAIN, steps=1, lr=1e-9, warmup_steps=0, ema=None)
    before, first = recipe.train_variant("baseline", settings, device="cpu", progress=False)
    after, second = recipe.train_variant("visible", settings, device="cpu", progress=False)
    assert first != second and checkpoint.read_card(second)["joints"] == "visible"
    for (name, a), b in zip(before.model.named_parameters(), after.model.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0, msg=name)


def test_the_module_enters_a_trained_estimator_without_moving_what_is_seen(small_world):
    settings = replace(recipe.TRAIN, steps=1, lr=1e-9, warmup_steps=0, ema=None)
    plain, _ = recipe.train_variant("baseline", settings, device="cpu", progress=False)
    whole, _ = recipe.train_variant("masking", settings, device="cpu", progress=False)
    crops = recipe.people("test", TINY).batch(range(4))["images"][:, 0]
    seen = np.full((4, 17), 2)
    there = whole.read(crops, visibility=seen, source="truth")
    np.testing.assert_allclose(there.confidence, plain.read(crops).confidence, rtol=1e-3)
    hidden = whole.read(crops, visibility=seen - 1, source="truth")
    assert np.abs(hidden.confidence - there.confidence).max() > 1e-4


def test_shipping_writes_three_files_that_load(small_world, tmp_path):
    settings = replace(recipe.TRAIN, steps=1, warmup_steps=0)
    out = recipe.ship(
        tmp_path / "vissimcc_coco17_synthetic.safetensors", settings, device="cpu", progress=False
    )
    files = sorted(p.name for p in tmp_path.glob("*.safetensors"))
    assert files == sorted(
        f"{name}_coco17_synthetic.safetensors" for name in recipe.SHIPPED.values()
    )
    assert out.name == "vissimcc_coco17_synthetic.safetensors"
    estimator, card = predict.load(str(out)), checkpoint.read_card(out)
    assert (
        estimator.model.config == recipe.VARIANTS["masking"].config
        and estimator.padding == recipe.PADDING
    )
    assert set(card["metrics"]) == set(recipe.KINDS) and card["command"].startswith(
        "workbench train vissimcc --seed 0"
    )
    with pytest.raises(UnknownName, match="hand21"):
        recipe.ship(out, settings, skeleton="hand21")


def test_names_that_are_none_are_refused(small_world):
    with pytest.raises(UnknownName, match="masking"):
        recipe.train_variant("maskin", recipe.TRAIN)
    with pytest.raises(UnknownName, match="masking"):
        recipe.evaluate(variants=("maskin",))
    with pytest.raises(UnknownName, match="crowdpose"):
        recipe.evaluate("crowdpos")


@pytest.fixture
def tiny_paper(monkeypatch, tmp_path):
    whole = recipe.config_of
    monkeypatch.setattr(
        recipe, "config_of", lambda name, config: TINY if config == "paper" else whole(name, config)
    )
    monkeypatch.setattr(recipe, "cache_folder", lambda: tmp_path / "trained")


def test_coco_as_the_user_has_it(tiny_paper, data_root, tmp_path):
    """The sample's pictures, as both halves: training, rows of all, visible and occluded joints,
    and the paper's beside.
    """
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (tmp_path / "coco" / split).symlink_to(data_root / "coco_mini" / "val2017")
        source = data_root / "coco_mini" / "annotations" / "person_keypoints_val2017.json"
        content = json.loads(source.read_text())
        content["images"] = content["images"][:9]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
        (tmp_path / "coco" / "annotations" / f"person_keypoints_{split}.json").write_text(
            json.dumps(content)
        )
    result = recipe.evaluate(
        f"coco:{tmp_path / 'coco'}", variants=("masking",), steps=1, device="cpu", progress=False
    )
    measured = [r for r in result["rows"] if r["kind"] == "measured"]
    assert [r["subset"] for r in measured] == list(recipe.KINDS) and measured[0]["pictures"] == 9
    assert result["boxes"] == "ground truth" and "1 steps" in result["protocol"]
    assert {r["method"] for r in result["rows"] if r["kind"] == "paper"} >= {"SimCC"}
    small = recipe.evaluate(
        f"coco:{tmp_path / 'coco'}", variants=("vissimcc",), device="cpu", progress=False
    )
    shipped = [r for r in small["rows"] if r["kind"] == "measured"]
    assert [r["variant"] for r in shipped] == ["vissimcc"] * 3, "on crops of its own size"
    assert "visibility_accuracy" in shipped[0]["metrics"]
    reading, _ = recipe.read_published(f"coco:{tmp_path / 'coco'}", "test")
    ids = {p.name: p.id for p in reading.pictures}
    people = [
        i
        for i in range(len(reading.poses))
        if reading.poses.labelled[i].any() and not reading.poses.crowd[i]
    ]
    corners = reading.poses.boxes_xyxy.astype(float)
    perfect = [
        {
            "image_id": int(ids[reading.poses.images[i]]),
            "category_id": 1,
            "score": 1.0,
            "bbox": [*corners[i, :2], *(corners[i, 2:] - corners[i, :2])],
        }
        for i in people
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(perfect))
    given = {"variants": ("vissimcc",), "device": "cpu", "progress": False}
    detected = recipe.evaluate(f"coco:{tmp_path / 'coco'}", boxes=tmp_path / "boxes.json", **given)
    assert detected["boxes"] == "detector" and "boxes: detector" in detected["protocol"]
    for a, b in zip(shipped, (r for r in detected["rows"] if r["kind"] == "measured")):
        assert "oks" not in b["metrics"] and a["metrics"]["AP"] == pytest.approx(
            b["metrics"]["AP"], abs=0.2
        )


def test_coco_without_its_training_half(tiny_paper, data_root):
    with pytest.raises(MissingData, match="train2017"):
        recipe.evaluate(f"coco:{data_root / 'coco_mini'}", variants=("masking",), steps=1)
