from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import torch

from tests.data.test_posetrack import content, person, write
from tests.models.tiny import tiny
from workbench import checkpoint, codecs, metrics, predict
from workbench.errors import BadRecord, MissingData, UnknownName
from workbench.made.worlds import cached_clips
from workbench.models import build
from workbench.predict import ClipEstimator, PoseEstimator
from workbench.recipes import otpose as recipe
from workbench.records import Detections
from workbench.skeletons import skeleton

TINY = tiny("otpose")
FRAME = replace(
    tiny("vissimcc", "hrnet"),
    skeleton="posetrack15",
    reasoning=False,
    heatmap_sigma=1.0,
    alignment="udp",
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture
def small_world(monkeypatch, clips, tmp_path):
    """Four clips a split, models of a few thousand parameters, everything in temporary folders."""
    start = checkpoint.save(
        tmp_path / "start.safetensors",
        build("vissimcc", replace(FRAME, skeleton="coco17")),
        {"fingerprint": "made"},
    )
    monkeypatch.setattr(recipe, "cached_clips", partial(cached_clips, folder=clips, progress=False))
    monkeypatch.setattr(recipe, "cache_folder", lambda: tmp_path / "trained")
    monkeypatch.setattr(recipe.single, "cache_folder", lambda: tmp_path / "frames")
    monkeypatch.setattr(recipe, "weights_path", lambda *_: start)
    monkeypatch.setattr(recipe, "CLIPS", {"train": 4, "val": 2, "test": 4})
    monkeypatch.setattr(recipe, "FRAME", FRAME)
    monkeypatch.setattr(recipe, "SMALL", TINY)
    parts = ("branches", "occlusion_encoder", "pseudo_label", "window")
    tiny = {
        n: replace(TINY, **{p: getattr(v, p) for p in parts}) for n, v in recipe.VARIANTS.items()
    }
    monkeypatch.setattr(recipe, "VARIANTS", tiny)
    quick = {"batch_size": 4, "workers": 0, "precision": "no"}
    monkeypatch.setattr(recipe, "TRAIN", replace(recipe.TRAIN, **quick))
    monkeypatch.setattr(recipe, "FRAME_TRAIN", replace(recipe.FRAME_TRAIN, **quick))
    recipe._rendered.cache_clear()
    yield
    recipe._rendered.cache_clear()


def test_only_the_middle_frame_is_labelled(small_world):
    windows = recipe.people("test")
    assert recipe.WORLD.digest() == "5277a08f60b4f063", (
        "a change makes a new world: new name, all rows anew"
    )
    assert set(windows.items[:, 2]) == {2} and len(windows) >= 8
    truth = windows.poses()
    assert truth.head_boxes_xyxy is not None and truth.occlusion_known
    assert set(truth.images) <= {f"crossing_people/test/{i}/2" for i in range(4)}
    assert truth.groups[0] == truth.images[0].removesuffix("/2")


def test_heatmaps_are_made_once_and_belong_to_their_windows(small_world, tmp_path):
    estimator, windows = PoseEstimator(build("vissimcc", FRAME)), recipe.people("test")
    rough = recipe.rough_heatmaps(estimator, windows, tmp_path / "maps", progress=False)
    batch = windows.batch([3])
    with torch.inference_mode():
        own = estimator.model(batch["images"][0])["heatmaps"]
    np.testing.assert_allclose(rough.heatmaps[3], own, rtol=2e-3, atol=2e-3)
    np.testing.assert_array_equal(rough.xy_crop[3], batch["xy_crop"][0, 2])
    written = (tmp_path / "maps" / "heatmaps.npy").stat().st_mtime_ns
    recipe.rough_heatmaps(estimator, windows, tmp_path / "maps", progress=False)
    assert (tmp_path / "maps" / "heatmaps.npy").stat().st_mtime_ns == written
    twice = recipe.rough_heatmaps(estimator, windows, tmp_path / "twice", passes=2, progress=False)
    assert len(twice) == 2 * len(windows) and not np.array_equal(
        twice.xy_crop[: len(windows)], twice.xy_crop[len(windows) :]
    )


def test_mirrored_heatmaps_and_labels_belong_together():
    """Maps whose peak stands on each joint keep it there when a batch mirrors them."""
    config = replace(TINY, size=(64, 96))
    rng, (w, h), k = np.random.default_rng(0), config.grid, config.joints
    at = np.stack([rng.integers(2, w - 2, (9, k)), rng.integers(2, h - 2, (9, k))], -1)
    maps = np.zeros((9, 5, k, h, w), np.float16)
    for i, j in np.ndindex(9, k):
        maps[i, :, j, at[i, j, 1], at[i, j, 0]] = 1
    model = build("otpose", tiny("otpose")).__class__(config)
    xy_crop = at @ model.to_crop[:, :2].numpy().T + model.to_crop[:, 2].numpy()
    weights = (rng.random((9, k)) > 0.3).astype(np.float32)
    batch = recipe.heatmap_batches(
        recipe.Rough(maps, xy_crop.astype(np.float32), weights), 9, config
    )(0, np.random.default_rng(1))
    back, _ = model.decode({"heatmaps": batch["heatmaps"][:, 1]})
    torch.testing.assert_close(back, batch["xy_crop"], atol=1e-3, rtol=0)
    flip = skeleton(config.skeleton).flip_index
    known = {tuple(row) for row in (*weights, *weights[:, flip])}
    assert {tuple(row) for row in batch["weights"].numpy()} <= known
    assert any(tuple(row) not in {tuple(w) for w in weights} for row in batch["weights"].numpy()), (
        "some are mirrored"
    )


def test_rows_of_a_perfect_and_of_a_shifted_estimate(small_world):
    truth = recipe.people("test").poses()
    perfect = Detections(
        truth.skeleton,
        truth.xy_frame,
        np.ones(truth.visibility.shape),
        truth.boxes_xyxy,
        images=truth.images,
    )
    rows = recipe.rows_of("made", perfect, truth)
    assert [r["subset"] for r in rows] == ["all joints", "visible joints", "occluded joints"]
    for row in rows[1:]:
        assert row["metrics"]["AP-Mean"] == pytest.approx(100) and row["metrics"]["PCKh"] == 100
    assert rows[1]["n"] + rows[2]["n"] == rows[0]["n"]
    wrong = replace(
        perfect,
        xy_frame=np.where((truth.visibility == 1)[..., None], truth.xy_frame + 500, truth.xy_frame),
    )
    rows = recipe.rows_of("made", wrong, truth)
    assert (
        rows[1]["metrics"]["AP-Mean"] == pytest.approx(100) and rows[2]["metrics"]["AP-Mean"] == 0
    )
    assert 0 < rows[0]["metrics"]["AP-Mean"] < 100


def test_decoding_comes_back_to_the_frame(small_world):
    windows = recipe.people("test", replace(TINY, size=(96, 128)))
    config, truth = replace(TINY, size=(96, 128)), windows.poses()
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


def test_variants_are_trained_and_measured(small_world):
    result = recipe.evaluate(
        variants=("otpose", "one_branch_no_encoder"), steps=2, device="cpu", progress=False
    )
    ours = [r for r in result["rows"] if r["kind"] == "measured"]
    names = {r["variant"] for r in ours}
    assert (
        names == {"single frame", "mean of five frames", "otpose", "one_branch_no_encoder"}
        and len(ours) == 12
    )
    assert all({"AP-Mean", "AP-Ankle", "PCKh"} <= set(r["metrics"]) for r in ours)
    assert [r["variant"] for r in recipe.flat(result)][:1] == ["single frame"]
    assert "2 steps" in result["protocol"] and result["boxes"] == "ground truth"


def test_the_single_frame_part_stays_as_it_was_trained(small_world):
    _, frame = recipe.train_frame(steps=2, device="cpu", progress=False)
    _, weights = recipe.train_variant("otpose", recipe.TRAIN, cap=2, device="cpu", progress=False)
    before, after = checkpoint.read_tensors(frame), checkpoint.read_tensors(weights)
    maps = [name for name in before if name.startswith("maps.")]
    assert len(maps) > 20 and all(torch.equal(before[name], after[name]) for name in maps)


def test_shipping_writes_a_file_that_loads_and_estimates(small_world, tmp_path):
    path = recipe.ship(
        tmp_path / "otpose.safetensors",
        replace(recipe.TRAIN, steps=2),
        device="cpu",
        progress=False,
    )
    estimator, card = predict.load(str(path)), checkpoint.read_card(path)
    assert isinstance(estimator, ClipEstimator) and {
        "otpose, all joints",
        "single frame, all joints",
    } <= set(card["metrics"])
    windows = recipe.people("test")
    clip, frames = windows.pairs[0]
    boxes = np.stack([t.boxes_xyxy[2] for t in clip.tracks])
    found = estimator.estimate(np.stack([frames[i] for i in range(5)]), boxes)
    with torch.inference_mode():
        maps = estimator.model(windows.batch(range(len(boxes)))["images"])["heatmaps"]
    np.testing.assert_allclose(
        found.xy_frame,
        recipe.detections(codecs.decode_heatmaps(maps), TINY, recipe.people("test", n=1)).xy_frame,
        atol=1e-2,
    )


def test_names_that_are_none_are_refused():
    for call in (
        lambda: recipe.train_variant("otpoes"),
        lambda: recipe.evaluate("synthetik"),
        lambda: recipe.ship("x.safetensors", skeleton="coco17"),
    ):
        with pytest.raises(UnknownName):
            call()


@pytest.fixture
def posetrack18(tmp_path):
    """Two halves in the published layout: seven frames of noise, two people, labels in frames 2
    and 3.
    """
    root, rng = tmp_path / "posetrack18", np.random.default_rng(0)
    for split in ("train", "val"):
        sequence = f"000001_made_{split}"
        value = content(
            *(
                person(t, i, at=20 + 5 * i, bbox=[15 + 5 * i, 15, 50, 60])
                for t in (2, 3)
                for i in (0, 1)
            ),
            sequence=sequence,
        )
        for image in value["images"]:
            image["file_name"] = f"images/{split}/{sequence}/{image['frame_id'] % 100:06d}.jpg"
            (root / image["file_name"]).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(
                str(root / image["file_name"]), rng.integers(0, 255, (96, 128, 3), np.uint8)
            )
        write(root / "annotations" / split, value, f"{sequence}.json")
    return f"posetrack18:{root}"


def test_posetrack_as_the_user_has_it(small_world, posetrack18, monkeypatch):
    monkeypatch.setattr(recipe, "PAPER", TINY)
    result = recipe.evaluate(
        posetrack18, variants=("one_branch",), steps=1, device="cpu", progress=False
    )
    ours = [r for r in result["rows"] if r["kind"] == "measured"]
    assert [(r["variant"], r["subset"]) for r in ours] == [
        (name, "all joints") for name in ("single frame", "mean of five frames", "one_branch")
    ]
    assert (
        "4 people" in result["protocol"]
        and "1 steps of 2 people behind a single-frame" in result["protocol"]
    )
    assert {r["method"] for r in result["rows"] if r["kind"] == "paper"} >= {"OTPose", "DCPose"}
    clips, folder = recipe.read_published(posetrack18, "val")
    batch = recipe.window_batches(recipe.published_windows(clips, folder, TINY), 3)(
        0, np.random.default_rng(0)
    )
    assert batch["images"].shape == (3, 5, 3, 64, 32) and batch["xy_crop"].shape == (3, 15, 2)
    assert batch["distance"].tolist() == [[2, 1, 0, 1, 2]] * 3


def test_posetrack_in_a_detector_s_boxes(small_world, posetrack18, tmp_path, monkeypatch):
    """Of an estimator that knows everybody by the box: perfect boxes give AP 100; a false alarm
    counts by its score.
    """
    weights = str(
        recipe.ship(
            tmp_path / "o.safetensors", replace(recipe.TRAIN, steps=2), device="cpu", progress=False
        )
    )
    clips, folder = recipe.read_published(posetrack18, "val")
    truth, (clip,) = recipe.published_windows(clips, folder, TINY).poses(), clips
    known = {
        (n, *map(round, box)): xy
        for n, box, xy in zip(truth.images, truth.boxes_xyxy.tolist(), truth.xy_frame)
    }

    def knowing(windows, models, **_):
        seen, boxes = windows.poses(), windows.boxes()
        xy = np.stack(
            [
                known.get((n, *map(round, b)), np.zeros((15, 2)))
                for n, b in zip(seen.images, boxes.tolist())
            ]
        )
        return dict.fromkeys(
            models, Detections("posetrack15", xy, np.ones(xy.shape[:2]), boxes, images=seen.images)
        )

    monkeypatch.setattr(recipe, "estimate", knowing)
    assert len(known) == len(truth) == 4
    ids = {p.name: p.id for p in clip.pictures}
    perfect = [
        {
            "image_id": ids[name],
            "category_id": 1,
            "score": 0.5,
            "bbox": [x, y, right - x, bottom - y],
        }
        for name, x, y, right, bottom in known
    ]

    def row(boxes=None):
        file = None if boxes is None else tmp_path / "boxes.json"
        if file:
            file.write_text(json.dumps(boxes))
        result = recipe.evaluate(
            posetrack18, variants=(weights,), boxes=file, device="cpu", progress=False
        )
        assert result["boxes"] == ("detector" if file else "ground truth")
        return result["rows"][0]["metrics"], result["protocol"]

    (own, _), (found, told) = row(), row(perfect)
    assert own["AP-Mean"] == found["AP-Mean"] == pytest.approx(100) and "4 of boxes.json" in told
    assert own["PCKh"] == pytest.approx(100) and "PCKh" not in found
    alarm = perfect[0] | {"bbox": [90, 2, 20, 20]}
    assert row([*perfect, alarm | {"score": 0.1}])[0]["AP-Mean"] == pytest.approx(100)
    assert row([*perfect, alarm | {"score": 0.9}])[0]["AP-Mean"] == pytest.approx(
        80
    )  # four right ones behind a wrong one
    assert row(perfect[:3])[0]["AP-Mean"] == pytest.approx(75)
    with pytest.raises(BadRecord, match="none of 1 boxes"):
        row([perfect[0] | {"image_id": 5}])


def test_posetrack_without_its_training_half(small_world, posetrack18, tmp_path):
    for file in (tmp_path / "posetrack18" / "annotations" / "train").iterdir():
        file.unlink()
    with pytest.raises(MissingData, match="no annotations of train"):
        recipe.evaluate(posetrack18, variants=("otpose",), steps=1, device="cpu", progress=False)


def test_ignored_regions_count_for_nobody(small_world, posetrack18):
    clips, folder = recipe.read_published(posetrack18, "val")
    truth = recipe.published_windows(clips, folder, TINY).poses()
    region = np.array([[0.0, 0], [30, 0], [30, 200], [0, 200]], np.float32)
    pictures = tuple(replace(p, ignore=(region,)) for p in clips[0].pictures)
    inside = metrics.in_ignored(truth, pictures)
    assert 0 < inside.sum() < inside.size
    np.testing.assert_array_equal(
        inside, (truth.xy_frame[..., 0] < 30) & (truth.xy_frame > 0).all(-1)
    )
    found = Detections(
        truth.skeleton,
        truth.xy_frame + 500 * inside[..., None],
        np.ones(inside.shape),
        truth.boxes_xyxy,
        images=truth.images,
    )
    kept = replace(truth, visibility=truth.visibility * ~inside)
    assert recipe.rows_of("made", found, kept)[0]["metrics"]["AP-Mean"] < 99
    assert recipe.rows_of("made", found, kept, left_out=inside)[0]["metrics"][
        "AP-Mean"
    ] == pytest.approx(100)


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
