from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from tests.recipes.small import (
    ASKED,
    CLIP,
    FRAME,
    QUICK,
    measured,
    trained,
    write_posetrack18,
)
from workbench import checkpoint, codecs, metrics, predict
from workbench.errors import BadParameter, BadRecord, MissingData, UnknownName
from workbench.made.worlds import sample_clip
from workbench.models import build
from workbench.models.layers import count_parameters
from workbench.predict import ClipEstimator
from workbench.recipes import otpose as recipe
from workbench.recipes.crops import key_batches
from workbench.recipes.measures import posetrack_rows, posetrack_scores, weighted
from workbench.recipes.published import pictures_of, read_boxes, read_posetrack_half
from workbench.records import Detections
from workbench.skeletons import skeleton


@pytest.fixture
def people(small):
    """(split, configuration) -> everybody in four clips."""
    data = small("otpose").own
    return lambda split, config=CLIP, **options: recipe.people(split, config, data=data, **options)


def test_only_the_middle_frame_is_labelled(people):
    windows = people("test")
    assert recipe.DATA.world.digest() == "5277a08f60b4f063", (
        "a change makes a new world: new name, all rows anew"
    )
    assert set(windows.items[:, 2]) == {2} and len(windows) >= 8
    truth = windows.poses()
    assert truth.head_boxes_xyxy is not None and truth.occlusion_known
    assert set(truth.images) <= {f"crossing_people/test/{i}/2" for i in range(4)}
    assert truth.groups[0] == truth.images[0].removesuffix("/2")


def test_heatmaps_are_made_once_and_belong_to_their_windows(people, tmp_path):
    maps, windows = build("vissimcc", FRAME).maps.eval(), people("test")
    rough = recipe.rough_heatmaps(maps, windows, tmp_path / "maps", progress=False)
    batch = windows.batch([3])
    with torch.inference_mode():
        own = maps(batch["images"][0])
    np.testing.assert_allclose(rough["heatmaps"][3], own, rtol=2e-3, atol=2e-3)
    np.testing.assert_array_equal(rough["xy_crop"][3], batch["xy_crop"][0, 2])
    written = (tmp_path / "maps" / "heatmaps.npy").stat().st_mtime_ns
    recipe.rough_heatmaps(maps, windows, tmp_path / "maps", progress=False)
    assert (tmp_path / "maps" / "heatmaps.npy").stat().st_mtime_ns == written
    twice = recipe.rough_heatmaps(maps, windows, tmp_path / "twice", passes=2, progress=False)
    first, second = np.split(twice["xy_crop"], 2)
    assert len(first) == len(windows) and not np.array_equal(first, second), "augmented anew"


def test_mirrored_heatmaps_and_labels_belong_together():
    """Maps whose peak stands on each joint keep it there when a batch mirrors them."""
    config = replace(CLIP, size=(64, 96))
    rng, (w, h), k = np.random.default_rng(0), config.grid, config.joints
    at = np.stack([rng.integers(2, w - 2, (9, k)), rng.integers(2, h - 2, (9, k))], -1)
    maps = np.zeros((9, 5, k, h, w), np.float16)
    for i, j in np.ndindex(9, k):
        maps[i, :, j, at[i, j, 1], at[i, j, 0]] = 1
    model = build("otpose", tiny("otpose")).__class__(config)
    xy_crop = at @ model.to_crop[:, :2].numpy().T + model.to_crop[:, 2].numpy()
    weights = (rng.random((9, k)) > 0.3).astype(np.float32)
    rough = {"heatmaps": maps, "xy_crop": xy_crop.astype(np.float32), "weights": weights}
    batch = recipe.heatmap_batches(rough, 9, config)(0, np.random.default_rng(1))
    back, _ = model.decode({"heatmaps": batch["heatmaps"][:, 1]})
    torch.testing.assert_close(back, batch["xy_crop"], atol=1e-3, rtol=0)
    flip = skeleton(config.skeleton).flip_index
    known = {tuple(row) for row in (*weights, *weights[:, flip])}
    assert {tuple(row) for row in batch["weights"].numpy()} <= known
    unturned = {tuple(row) for row in weights}
    assert any(tuple(row) not in unturned for row in batch["weights"].numpy()), "some are mirrored"


def as_found(truth, xy_frame) -> Detections:
    """The truth's people with these joints, all sure."""
    sure = np.ones(truth.visibility.shape)
    return Detections(truth.skeleton, xy_frame, sure, truth.boxes_xyxy, images=truth.images)


def test_rows_of_a_perfect_and_of_a_shifted_estimate(people):
    truth = people("test").poses()
    perfect = as_found(truth, truth.xy_frame)
    rows = posetrack_rows("otpose", "made", perfect, truth)
    assert [r["subset"] for r in rows] == ["all joints", "visible joints", "occluded joints"]
    for row in rows[1:]:
        assert row["metrics"]["AP-Mean"] == pytest.approx(100) and row["metrics"]["PCKh"] == 100
    assert rows[1]["n"] + rows[2]["n"] == rows[0]["n"]
    wrong = as_found(truth, truth.xy_frame + 500 * (truth.visibility == 1)[..., None])
    rows = posetrack_rows("otpose", "made", wrong, truth)
    of_all, visible, occluded = (row["metrics"]["AP-Mean"] for row in rows)
    assert visible == pytest.approx(100) and occluded == 0 < of_all < 100


def test_decoding_comes_back_to_the_frame(people):
    windows = people("test", replace(CLIP, size=(96, 128)))
    config, truth = replace(CLIP, size=(96, 128)), windows.poses()
    to_heatmap = build("vissimcc", replace(FRAME, size=(96, 128))).to_heatmap.numpy()
    maps = torch.zeros(len(windows), config.joints, *config.grid[::-1])
    for i in range(len(windows)):
        batch = windows.batch([i])
        at = batch["xy_crop"][0, 2].numpy() @ to_heatmap[:, :2].T + to_heatmap[:, 2]
        for j, (x, y) in enumerate(np.round(at).astype(int)):
            maps[i, j, min(max(y, 0), 31), min(max(x, 0), 23)] = 1
    found = recipe.detections(codecs.decode_heatmaps(maps), config, windows)
    use = windows.batch(range(len(windows)))["weights"][:, 2].numpy() > 0
    pixel = windows.affines()[:, 0, 0][:, None]  # crop px of a frame px
    away = np.linalg.norm(found.xy_frame - truth.xy_frame, axis=-1) * pixel
    assert away[use].max() < 4, "within a pixel of the grid of 4 px"


def test_variants_are_trained_and_measured(small):
    chosen = small("otpose")
    result = chosen.evaluate(variants=("otpose", "one_branch_no_encoder", "dcpose"), **ASKED)
    ours = measured(result)
    rivals = {"single frame": None, "mean of five frames": "single frame", "otpose": "single frame"}
    rivals |= dict.fromkeys(("one_branch_no_encoder", "dcpose"), "otpose")
    assert list(dict.fromkeys(r["variant"] for r in ours)) == list(rivals)
    for r in ours:
        assert {"AP-Mean", "PCKh"} <= set(r["metrics"])
        assert r.get("paired", {}).get("PCKh", {}).get("rival") == rivals[r["variant"]]
    assert "2 steps" in result["protocol"] and result["boxes"] == "ground truth"
    cards = [checkpoint.read_card(path) for path in trained(chosen)]
    variants = sorted(card.get("variant", "frame") for card in cards)
    assert variants == ["dcpose", "frame", "one_branch_no_encoder", "otpose"], "one frame for all"
    assert len(list(chosen.folder.glob("heatmaps-train-*"))) == 1, "and one set of heatmaps"
    elsewhere = chosen.evaluate("passing", variants=("otpose", "dcpose"), **ASKED)
    assert len(trained(chosen)) == 4, "the same networks are judged in both worlds"
    assert "3 rendered test clips (world passing_people" in elsewhere["protocol"]


def test_temporal_parts_learn_from_as_many_clips_of_either_world(small):
    data = small("otpose").own
    windows = recipe.mixed_people(CLIP, data=data)
    names = [clip.name for clip, _ in windows.pairs]
    worlds = ("crossing_people", "passing_people")
    assert names == [f"{world}/train/{i}" for world in worlds for i in range(2)]
    assert set(windows.items[:, 2]) == {2}, "labels of the middle frames alone"
    assert data.mix["clips"] == 4 and data.mix["data"] == "crossing_people+passing_people"


@pytest.mark.parametrize("passing", [False, True])
def test_who_else_sees_a_hidden_joint(small, passing):
    """By the same clips with labels in all frames; rows tell hidden joints by it."""
    data = small("otpose").own
    data = data.passing if passing else data
    windows = recipe.people("test", CLIP, data=data)
    shown, truth = recipe.frames_that_show(windows, "test", data), windows.poses()
    for row, (pair, n, key) in enumerate(windows.items.tolist()):
        dense = sample_clip(replace(data.world, label_stride=1, label_first=0), "test", pair)
        flags = dense.clip.tracks[n].visibility
        np.testing.assert_array_equal(flags[key], truth.visibility[row])
        others = [t for t in range(5) if t != key]
        np.testing.assert_array_equal(shown[row], sum(flags[t] == 2 for t in others))
    around = recipe.everybody(windows, "test", data)
    for row, (pair, _, key) in enumerate(windows.items.tolist()):
        own = np.where(truth.labelled[row, :, None], windows.sample(row).xy_crop[key], np.nan)
        np.testing.assert_allclose(around[row][key, 0], own, atol=1e-2)
        assert around[row].shape[:2] == (5, len(windows.pairs[pair][0].tracks))
    rows = recipe.shown_scores({"variant": "x"}, as_found(truth, truth.xy_frame), truth, shown)
    hidden = shown[truth.visibility == 1]
    counts = [(hidden == 0).sum(), np.isin(hidden, (1, 2)).sum(), (hidden >= 3).sum()]
    assert [row.n for row in rows] == counts and min(counts) > 0
    assert {np.mean(row.values["PCKh"]) for row in rows} == {100.0}
    wrong = truth.xy_frame + 500 * (shown == 0)[..., None]
    rows = recipe.shown_scores({}, as_found(truth, wrong), truth, shown)
    assert [np.mean(row.values["PCKh"]) for row in rows] == [0, 100, 100]


def test_rows_go_on_from_the_single_frame_in_the_shipped_file(small, tmp_path):
    chosen = small("otpose")
    place = tmp_path / "weights" / "otpose.safetensors"
    card = checkpoint.read_card(chosen.ship(place, QUICK))
    elsewhere = replace(chosen, folder=tmp_path / "elsewhere")
    learned = elsewhere.train("no_attention", QUICK)
    assert trained(elsewhere) == [learned.weights], "no single frame is trained"
    assert checkpoint.read_card(learned.weights)["frame"] == card["frame"]
    own, shipped = (checkpoint.read_tensors(path) for path in (learned.weights, place))
    names = [name for name in shipped if name.startswith("maps.")]
    assert all(torch.equal(own[name], shipped[name]) for name in names)
    elsewhere.train("no_attention", replace(QUICK, anew=True))
    assert len(trained(elsewhere)) == 1, "nor where what is shipped is made anew"


def test_the_rival_is_as_large():
    def size(name: str) -> int:
        model = build("otpose", recipe.VARIANTS[name].config)
        return count_parameters(model) - count_parameters(model.maps)

    assert size("dcpose") == pytest.approx(size("otpose"), rel=0.05)


def test_the_single_frame_part_stays_as_it_was_trained(small):
    chosen = small("otpose")
    frame, learned = (chosen.train(name, QUICK) for name in ("frame", "otpose"))
    before, after = (checkpoint.read_tensors(each.weights) for each in (frame, learned))
    maps = [name for name in before if name.startswith("maps.")]
    assert len(maps) > 20 and all(torch.equal(before[name], after[name]) for name in maps)
    start = checkpoint.read_tensors(chosen.weights("vissimcc-baseline"))
    moved = [name for name in maps if name.startswith("maps.backbone.")]
    assert any(not torch.equal(start[name], before[name]) for name in moved)


def test_shipping_writes_a_file_that_loads_and_estimates(small, people, tmp_path):
    path = small("otpose").ship(tmp_path / "otpose.safetensors", QUICK)
    estimator, card = predict.load(str(path)), checkpoint.read_card(path)
    assert isinstance(estimator, ClipEstimator)
    assert {"otpose, all joints", "single frame, all joints"} <= set(card["metrics"])
    assert {len(name.split(", ")) for name in card["metrics"]} == {2}, "variant, subset"
    windows = people("test")
    clip, frames = windows.pairs[0]
    boxes = np.stack([t.boxes_xyxy[2] for t in clip.tracks])
    found = estimator.estimate(np.stack([frames[i] for i in range(5)]), boxes)
    with torch.inference_mode():
        maps = estimator.model(windows.batch(range(len(boxes)))["images"])["heatmaps"]
    here = recipe.detections(codecs.decode_heatmaps(maps), CLIP, people("test", n=1))
    np.testing.assert_allclose(found.xy_frame, here.xy_frame, atol=1e-2)


def test_shipped_rows_bear_steps_and_seed_of_their_weights(small, tmp_path):
    chosen = small("otpose")
    chosen.ship(tmp_path / "weights" / "otpose.safetensors", replace(QUICK, seed=3))
    result = chosen.evaluate(seed=7, device="cpu", progress=False)
    ours = {r["variant"]: r for r in measured(result)}
    assert (ours["otpose"]["seed"], ours["otpose"]["steps"]) == (3, 2)
    assert "shipped weights" in result["protocol"]


def test_what_others_go_on_from_is_no_variant_of_tables(small):
    for name in ("frame", "otpoes"):
        with pytest.raises(UnknownName, match="variant of OTPose"):
            small("otpose").evaluate(variants=(name,))
    for data in ("synthetic", "passing"):
        with pytest.raises(BadParameter, match="no detector's boxes"):
            small("otpose").evaluate(data, boxes="x.json")


# --- PoseTrack ------------------------------------------------------------------------------------


@pytest.fixture
def posetrack18(tmp_path):
    """Two people who stand still, labels in frames 2 and 3 of seven."""
    return write_posetrack18(tmp_path / "posetrack18", labelled=(2, 3), still=True)


@pytest.fixture
def windows(posetrack18):
    """Everybody in every labelled frame."""
    pairs = read_posetrack_half(posetrack18, "val")
    return recipe.Windows(pairs, recipe.published_config(CLIP))


def test_posetrack_as_the_user_has_it(small, posetrack18, windows):
    asked = {"steps": 1, "device": "cpu", "progress": False}
    result = small("otpose").evaluate(posetrack18, variants=("one_branch",), **asked)
    assert [(r["variant"], r["subset"]) for r in measured(result)] == [
        (name, "all joints") for name in ("single frame", "mean of five frames", "one_branch")
    ]
    assert "4 people" in result["protocol"]
    assert "1 steps of 2 people behind a single-frame" in result["protocol"]
    assert {r["method"] for r in result["rows"] if r["kind"] == "paper"} >= {"OTPose", "DCPose"}
    batch = key_batches(windows, 3)(0, np.random.default_rng(0))
    assert batch["images"].shape == (3, 5, 3, 64, 32) and batch["xy_crop"].shape == (3, 15, 2)
    assert batch["distance"].tolist() == [[2, 1, 0, 1, 2]] * 3


def test_posetrack_is_augmented_in_the_four_ways_of_the_paper():
    """Sec. IV-B: scaling, truncating, rotation and flipping; padding of a quarter."""
    config = recipe.published_config(recipe.RECIPE.paper)
    ours = config.augment
    assert ours.scale[0] < 1 < ours.scale[1] and ours.rotation_degrees > 0
    assert ours.half_body > 0 and ours.flip == 0.5
    assert config.padding == 1.25 and config.offsets == (-2, -1, 0, 1, 2)


def as_results(windows, score=0.5) -> list[dict]:
    """The truth's boxes as a detector writes them."""
    truth, ids = windows.poses(), {p.name: p.id for p in pictures_of(windows.pairs)}
    return [
        {"image_id": ids[name], "category_id": 1, "score": score, "bbox": [x, y, x2 - x, y2 - y]}
        for name, (x, y, x2, y2) in zip(truth.images, truth.boxes_xyxy.tolist())
    ]


def test_posetrack_in_a_detector_s_boxes(small, posetrack18, windows, tmp_path):
    """Perfect boxes give the poses of the truth's, weighted by the boxes' scores."""
    chosen = small("otpose")
    weights = str(chosen.ship(tmp_path / "o.safetensors", QUICK))
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(as_results(windows)))
    model, found = predict.load(weights).model, []
    for boxes, kind in ((None, "ground truth"), (file, "detector")):
        seen, scores = read_boxes(boxes).windows(windows)
        found.append(weighted(recipe.estimate(seen, {"ours": model})["ours"], scores))
        asked = {"variants": (weights,), "boxes": boxes, "device": "cpu", "progress": False}
        result = chosen.evaluate(posetrack18, **asked)
        assert result["boxes"] == kind
        assert ("PCKh" in result["rows"][0]["metrics"]) == (boxes is None)
        assert ("4 of boxes.json" in result["protocol"]) == (boxes is not None)
    orders = [np.lexsort((f.boxes_xyxy[:, 0], f.images)) for f in found]
    own, other = (f.select(order) for f, order in zip(found, orders))
    np.testing.assert_allclose(own.xy_frame, other.xy_frame, atol=1e-3)
    np.testing.assert_allclose(0.5 * own.confidence, other.confidence, atol=1e-5)


def test_a_false_alarm_counts_by_its_score(windows, tmp_path):
    """Of an estimator that knows everybody by the box."""
    truth, perfect = windows.poses(), as_results(windows)
    known = {
        tuple(map(round, box)): xy for box, xy in zip(truth.boxes_xyxy.tolist(), truth.xy_frame)
    }
    assert len(truth) == 4 and len(known) == 2, "who stands still has one box"

    def mean_ap(boxes: list[dict]) -> float:
        file = tmp_path / "boxes.json"
        file.write_text(json.dumps(boxes))
        seen, scores = read_boxes(file).windows(windows)
        places, nobody = seen.boxes(), np.zeros((15, 2))
        xy = np.stack([known.get(tuple(map(round, box)), nobody) for box in places.tolist()])
        images = seen.poses().images
        poses = Detections("posetrack15", xy, np.ones(xy.shape[:2]), places, images=images)
        (row,) = posetrack_scores({}, poses, truth, box_scores=scores)
        return row.whole["AP-Mean"]

    alarm = perfect[0] | {"bbox": [90, 2, 20, 20]}
    assert mean_ap(perfect) == pytest.approx(100)
    assert mean_ap([*perfect, alarm | {"score": 0.1}]) == pytest.approx(100)
    # four right ones behind a wrong one
    assert mean_ap([*perfect, alarm | {"score": 0.9}]) == pytest.approx(80)
    assert mean_ap(perfect[:3]) == pytest.approx(75)
    with pytest.raises(BadRecord, match="none of 1 boxes"):
        mean_ap([perfect[0] | {"image_id": 5}])


def test_posetrack_without_its_training_half(small, posetrack18, tmp_path):
    for file in (tmp_path / "posetrack18" / "annotations" / "train").iterdir():
        file.unlink()
    with pytest.raises(MissingData, match="no annotations of train"):
        small("otpose").evaluate(posetrack18, variants=("otpose",), **ASKED)


def test_ignored_regions_count_for_nobody(windows):
    truth, known = windows.poses(), pictures_of(windows.pairs)
    region = np.array([[0.0, 0], [30, 0], [30, 200], [0, 200]], np.float32)
    pictures = [replace(p, ignore=(region,)) for p in known]
    inside = metrics.in_ignored(truth, pictures)
    assert 0 < inside.sum() < inside.size
    expected = (truth.xy_frame[..., 0] < 30) & (truth.xy_frame > 0).all(-1)
    np.testing.assert_array_equal(inside, expected)
    # mistakes there alone: joints that nobody labelled, found elsewhere in the same region
    xy = np.where(inside[..., None], [3, 150], truth.xy_frame)
    found = as_found(truth, xy)
    for regions, least, most in ((known, 0, 99), (pictures, 99.99, 100.01)):
        (row,) = posetrack_rows("otpose", "made", found, truth, pictures=regions)
        assert least < row["metrics"]["AP-Mean"] < most


def test_public_weights_are_found_where_the_user_keeps_them(monkeypatch, tmp_path):
    """Joints that both sets have begin with COCO's maps, the head's two points alone with
    nothing.
    """
    torch.manual_seed(0)
    whole, ours = (
        build("vissimcc", replace(FRAME, skeleton=name)) for name in ("coco17", "posetrack15")
    )
    folder = tmp_path / "hrnet_pose_coco"
    folder.mkdir()
    state = {
        k.removeprefix("backbone.net.").replace("head.final.", "final_layer."): v
        for k, v in whole.maps.state_dict().items()
    }
    for name in ("hrnet_w32_coco_256x192-c78dce93_20200708.pth", "pose_hrnet_w48_256x192.pth"):
        torch.save(state, folder / name)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    before = ours.maps.head.final.weight.detach().clone()
    assert recipe.start_weights(ours) == "COCO (pose_hrnet_w48_256x192.pth)"
    assert torch.equal(ours.maps.backbone.net.conv1.weight, whole.maps.backbone.net.conv1.weight)
    names, theirs = skeleton("posetrack15").joints, skeleton("coco17").joints
    for i, name in enumerate(names):
        expected = whole.maps.head.final.weight[theirs.index(name)] if name in theirs else before[i]
        assert torch.equal(ours.maps.head.final.weight[i], expected), name
    assert len(set(names) & set(theirs)) == 13
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert recipe.start_weights(ours) is None
