from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.recipes.small import ASKED, POSE, QUICK, measured, trained
from workbench import checkpoint, metrics
from workbench.errors import BadParameter, MissingData
from workbench.models import build
from workbench.predict import PoseEstimator
from workbench.recipes import vissimcc as recipe
from workbench.recipes.base import Recipe
from workbench.recipes.crops import joint_batches
from workbench.recipes.measures import SUBSETS, person_oks
from workbench.recipes.published import read_coco_half
from workbench.records import Detections
from workbench.skeletons import skeleton


@pytest.fixture
def people(small):
    """(split, configuration) -> everybody in seven pictures."""
    data = small("vissimcc").own
    return lambda split, config=POSE: recipe.people(split, config, data=data)


def test_the_world_is_frozen_and_hides_a_lot(people):
    assert recipe.DATA.world.digest() == "af45f58b54d0a528", (
        "a change makes a new world: new name, all rows anew"
    )
    flags = people("test").poses().visibility
    assert len(flags) > 7 and 0.25 < (flags == 1).mean() < 0.7


def test_truth_of_windows_follows_their_order(people):
    windows = people("test", POSE)
    truth = windows.poses()
    assert len(truth) == len(windows) == len(truth.images) and len(set(truth.images)) <= 7
    pair, n, _ = windows.items[4]
    np.testing.assert_array_equal(truth.xy_frame[4], windows.pairs[pair][0].tracks[n].xy_frame[0])


def test_visible_joints_alone_count_where_it_is_said(people, rng):
    windows = people("train", POSE)
    both = [
        joint_batches(windows, 6, joints)(0, np.random.default_rng(3))
        for joints in ("labelled", "visible")
    ]
    assert torch.equal(both[0]["images"], both[1]["images"])
    assert both[0]["images"].shape == (6, 3, 64, 32)
    assert torch.equal(both[0]["weights"], (both[0]["visibility"] > 0).float())
    assert torch.equal(both[1]["weights"], (both[0]["visibility"] == 2).float())
    assert 0 < both[1]["weights"].sum() < both[0]["weights"].sum()


def test_an_estimate_is_what_the_picture_and_its_box_give(people):
    """Windows and `PoseEstimator.estimate` cut the same crops and come back to the same pixels."""
    estimator, windows = PoseEstimator(build("vissimcc", POSE)), people("test", POSE)
    found, seen = recipe.estimate(estimator, windows)
    truth = windows.poses()
    assert seen.shape == truth.visibility.shape and ((seen > 0) & (seen < 1)).all()
    rows = [i for i, image in enumerate(truth.images) if image == truth.images[0]]
    frame = windows.pairs[0][1][0]
    again = estimator.estimate(frame, truth.boxes_xyxy[rows], image=truth.images[0])
    np.testing.assert_allclose(again.xy_frame, found.xy_frame[rows], atol=1e-3)
    np.testing.assert_allclose(again.confidence, found.confidence[rows], rtol=1e-4)
    assert again.images == tuple(truth.images[i] for i in rows)


def test_the_mirror_image_of_a_crop_has_the_mirrored_pose(people):
    config = replace(POSE, split=1.0)  # whose bins all have a mirror image
    estimator, windows = PoseEstimator(build("vissimcc", config)), people("test", config)
    crops = windows.batch(range(6))["images"][:, 0]
    here, there = estimator.read(crops), estimator.read(crops.flip(-1))
    other = np.array(estimator.skeleton.flip_index)
    np.testing.assert_allclose(there.confidence[:, other], here.confidence, rtol=1e-4)
    np.testing.assert_allclose(there.visibility[:, other], here.visibility, rtol=1e-4)
    np.testing.assert_allclose(
        there.xy_crop[:, other, 0], config.size[0] - 1 - here.xy_crop[..., 0], atol=1e-4
    )


def test_nobody_in_the_picture_is_nobody_found():
    estimator = PoseEstimator(build("vissimcc", POSE))
    found = estimator.estimate(np.zeros((40, 50, 3), np.uint8), np.zeros((0, 4)))
    assert len(found) == 0 and found.xy_frame.shape == (0, 17, 2)


def test_oks_of_each_person_with_the_own_pose(people, rng):
    truth = people("test", POSE).poses()
    xy = truth.xy_frame + rng.normal(0, 3, truth.xy_frame.shape).astype(np.float32)
    found = Detections(
        truth.skeleton, xy, np.ones(xy.shape[:2]), truth.boxes_xyxy, images=truth.images
    )
    own = person_oks(found, truth, "visible")
    use = truth.visibility == 2
    np.testing.assert_array_equal(np.isfinite(own), use.any(1))
    areas, sigmas = metrics.person_areas(truth, "box"), skeleton(truth.skeleton).oks_sigmas
    table = metrics.oks(xy, truth.xy_frame, use, areas, np.array(sigmas), truth.boxes_xyxy)
    np.testing.assert_allclose(own[use.any(1)], np.diag(table)[use.any(1)])
    perfect = replace(found, xy_frame=truth.xy_frame)
    for row in recipe.rows_of("made", perfect, None, truth, boxes="ground truth"):
        assert (row["metrics"]["AP"], row["metrics"]["oks"]) == pytest.approx((100, 100))


def test_rows_of_trained_variants(small):
    chosen, names = small("vissimcc"), ("baseline", "masking", "truth", "visible")
    result = chosen.evaluate(variants=names, **ASKED)
    ours = measured(result)
    assert [r["variant"] for r in ours[::3]] == list(names)
    assert [r["subset"] for r in ours[:3]] == list(SUBSETS)
    assert ["visibility_accuracy" in r["metrics"] for r in ours] == [i == 3 for i in range(12)]
    assert ["oks" in r.get("paired", {}) for r in ours] == [i >= 3 for i in range(12)]
    assert recipe.DATA.world.digest() in result["protocol"]
    assert "2 steps of 3 people after 2 of stem" in result["protocol"]
    assert any(r["kind"] == "paper" for r in result["rows"])


def test_the_small_split_and_heatmaps_say_what_they_went_on_from(small):
    """Table 1's small split, and the module in a heatmap estimator, each after its own plain
    start.
    """
    chosen = small("vissimcc")
    result = chosen.evaluate(variants=("few_all", "heatmap_masking"), **ASKED)
    for name, start in (("few_all", "few_stem"), ("heatmap_masking", "heatmap_stem")):
        assert f"{name}: 2 steps of 3 people after 2 of {start}" in result["protocol"]
    ours = measured(result)
    assert [r["variant"] for r in ours[::3]] == ["few_all", "heatmap_masking"]
    assert {r["steps"] for r in ours} == {2} and "visibility_accuracy" in ours[3]["metrics"]
    steps = {name: variant.train.steps for name, variant in recipe.VARIANTS.items()}
    assert steps["few_all"] == 750 and steps["all"] == 3_000
    assert steps["masking"] == steps["baseline"] == steps["reasoning"] == 6_000


def test_shipped_rows_bear_the_seed_of_their_weights(small, tmp_path):
    """Three files are shipped; where nothing else is asked for, they are judged."""
    chosen = small("vissimcc")
    out = tmp_path / "weights" / "vissimcc.safetensors"
    assert chosen.ship(out, replace(QUICK, seed=3)) == out
    files = sorted(path.stem for path in out.parent.iterdir())
    assert files == sorted(recipe.SHIPPED.values())
    result = chosen.evaluate(seed=7, device="cpu", progress=False)
    ours = measured(result)
    assert {r["seed"] for r in ours} == {3} and "shipped weights" in result["protocol"]
    assert {r["variant"] for r in ours} == set(recipe.SHIPPED)
    (named, *_) = measured(chosen.evaluate(variants=[str(out)], device="cpu", progress=False))
    alike = next(r for r in ours if r["variant"] == "masking")
    assert named["variant"] == str(out) and named["metrics"] == alike["metrics"]


def still(chosen: Recipe) -> Recipe:
    """Trainings that change nothing."""
    variants = {
        name: replace(v, train=replace(v.train, lr=1e-9, warmup_steps=0, ema=None))
        for name, v in chosen.variants.items()
    }
    return replace(chosen, variants=variants)


def test_a_variant_goes_on_from_another(small):
    chosen, once = still(small("vissimcc")), replace(QUICK, steps=1)
    before, after = (chosen.train(name, once) for name in ("baseline", "visible"))
    assert before.weights != after.weights
    card = checkpoint.read_card(after.weights)
    assert card["joints"] == "visible" and card["start"] == "stem"
    models = (each.predictor.model for each in (before, after))
    for (name, a), b in zip(next(models).named_parameters(), next(models).parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0, msg=name)


def test_the_start_is_the_same_for_all_seeds(small):
    chosen, once = small("vissimcc"), replace(QUICK, steps=1)
    for seed in (0, 1):
        chosen.train("baseline", replace(once, seed=seed))
    cards = [checkpoint.read_card(p) for p in chosen.folder.glob("*/model.safetensors")]
    variants = sorted((card["variant"], card["train"]["seed"]) for card in cards)
    assert variants == [("baseline", 0), ("baseline", 1), ("stem", 0)]


def test_the_module_enters_a_trained_estimator_without_moving_what_is_seen(small, people):
    chosen, once = still(small("vissimcc")), replace(QUICK, steps=1)
    plain, whole = (chosen.train(name, once).predictor for name in ("baseline", "masking"))
    crops = people("test").batch(range(4))["images"][:, 0]
    seen = np.full((4, 17), 2)
    there = whole.read(crops, visibility=seen, source="truth")
    np.testing.assert_allclose(there.confidence, plain.read(crops).confidence, rtol=1e-3)
    hidden = whole.read(crops, visibility=seen - 1, source="truth")
    assert np.abs(hidden.confidence - there.confidence).max() > 1e-4


def test_what_the_module_adds_to_the_shipped_plain_estimator(small):
    """Same start, seeds of their own; the one without attention is no smaller than the method."""
    chosen, names = still(small("vissimcc")), ("more_alone", "more_reasoning", "more_masking")
    chosen.ship(chosen.weights("vissimcc"), QUICK)
    result = chosen.evaluate(variants=names, **ASKED | {"steps": 1})
    assert "people after the shipped weights vissimcc-baseline" in result["protocol"]
    paired = [row.get("paired", {}).get("oks", {}).get("rival") for row in measured(result)[::3]]
    assert paired == ["more_reasoning", None, "more_reasoning"]
    start = chosen.weights("vissimcc-baseline")
    tensors = checkpoint.read_tensors(start)
    files = {checkpoint.read_card(f)["variant"]: f for f in trained(chosen)}
    for name in names:
        card = checkpoint.read_card(files[name])
        assert card["start_fingerprint"] == checkpoint.read_card(start)["fingerprint"]
        learned = checkpoint.read_tensors(files[name])["classify.x.weight"]
        torch.testing.assert_close(learned, tensors["classify.x.weight"], atol=1e-6, rtol=0)
    sizes = {
        name: sum(p.numel() for p in build("vissimcc", recipe.VARIANTS[name].config).parameters())
        for name in names
    }
    assert 1 <= sizes["more_alone"] / sizes["more_masking"] < 1.02


def test_rendered_people_have_no_detector(small):
    with pytest.raises(BadParameter, match="no detector's boxes"):
        small("vissimcc").evaluate(boxes="x.json")


@pytest.fixture
def coco(data_root, tmp_path):
    """The sample's pictures, as both halves."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (root / split).symlink_to(data_root / "coco_mini" / "val2017")
        source = data_root / "coco_mini" / "annotations" / "person_keypoints_val2017.json"
        content = json.loads(source.read_text())
        content["images"] = content["images"][:9]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
        file = root / "annotations" / f"person_keypoints_{split}.json"
        file.write_text(json.dumps(content))
    return f"coco:{root}"


def test_coco_as_the_user_has_it(small, coco):
    """Training, rows of all, visible and occluded joints, and the paper's beside."""
    asked = {"variants": ("masking",), "steps": 1, "device": "cpu", "progress": False}
    result = small("vissimcc").evaluate(coco, **asked)
    ours = measured(result)
    assert [r["subset"] for r in ours] == list(SUBSETS) and ours[0]["pictures"] == 9
    assert result["boxes"] == "ground truth" and "1 steps" in result["protocol"]
    assert {r["method"] for r in result["rows"] if r["kind"] == "paper"} >= {"SimCC"}
    seen = small("vissimcc").evaluate(coco, **{**asked, "variants": ("visible",)})
    assert "visible joints" in seen["protocol"] and len(measured(seen)) == 3


def test_coco_in_a_detector_s_boxes(small, coco, tmp_path):
    """Perfect boxes of a detector are as good as the truth's; OKS by person needs the truth's."""
    given = {"variants": ("vissimcc",), "device": "cpu", "progress": False}
    chosen = small("vissimcc")
    shipped = measured(chosen.evaluate(coco, **given))
    assert [r["variant"] for r in shipped] == ["vissimcc"] * 3, "on crops of its own size"
    assert "visibility_accuracy" in shipped[0]["metrics"]
    reading, _ = read_coco_half(coco, "test")
    ids = {p.name: p.id for p in reading.pictures}
    poses = reading.poses
    people = np.flatnonzero(poses.labelled.any(1) & ~poses.crowd)
    corners, person = poses.boxes_xyxy.astype(float), {"category_id": 1, "score": 1.0}
    boxes = np.hstack((corners[:, :2], corners[:, 2:] - corners[:, :2])).tolist()
    perfect = [{"image_id": int(ids[poses.images[i]]), "bbox": boxes[i], **person} for i in people]
    (tmp_path / "boxes.json").write_text(json.dumps(perfect))
    detected = chosen.evaluate(coco, boxes=tmp_path / "boxes.json", **given)
    assert detected["boxes"] == "detector" and "boxes: detector" in detected["protocol"]
    for a, b in zip(shipped, measured(detected), strict=True):
        assert "oks" not in b["metrics"] and "visibility_accuracy" not in b["metrics"]
        assert a["metrics"]["AP"] == pytest.approx(b["metrics"]["AP"], abs=0.2)
    with pytest.raises(BadParameter, match="a detector's boxes have none"):
        chosen.evaluate(coco, boxes=tmp_path / "boxes.json", **ASKED, variants=("truth",))


def test_flags_of_0_and_1_alone_split_nothing(small, coco):
    root = Path(coco.partition(":")[2])
    file = root / "annotations" / "person_keypoints_val2017.json"
    content = json.loads(file.read_text())
    for person in content["annotations"]:
        person["keypoints"][2::3] = [min(flag, 1) for flag in person["keypoints"][2::3]]
    file.write_text(json.dumps(content))
    given = {"variants": ("vissimcc",), "device": "cpu", "progress": False}
    result = small("vissimcc").evaluate(coco, **given)
    (ours,) = measured(result)
    assert ours["subset"] == "all joints" and "visibility_accuracy" not in ours["metrics"]
    assert "truth does not say which joints are occluded" in result["protocol"]


def test_coco_without_its_training_half(small, data_root):
    with pytest.raises(MissingData, match="train2017"):
        small("vissimcc").evaluate(
            f"coco:{data_root / 'coco_mini'}", variants=("masking",), **ASKED
        )


def test_masks_that_are_right_more_and_less_often(small, monkeypatch):
    """The labels that a mask follows are those of the test people, some turned round; the more are
    turned, the less often the mask is right.
    """
    chosen = small("vissimcc")
    chosen.ship(chosen.weights("vissimcc"), QUICK)
    seen = {}
    read = PoseEstimator.read

    def spy(self, crops, *, visibility, source):
        seen.setdefault((self.name, source), []).append(visibility)
        return read(self, crops, visibility=visibility, source=source)

    monkeypatch.setattr(PoseEstimator, "read", spy)
    result = chosen.evaluate("masks", device="cpu", progress=False)
    rows = {row["variant"]: row for row in measured(result) if row["subset"] == "all joints"}
    share = {name: row["metrics"].get("mask right") for name, row in rows.items()}
    assert share["vissimcc, true labels"] == 100 and share["vissimcc, 30 % wrong"] == 70
    assert share["vissimcc, as many wrong as VisNet"] == share["vissimcc, VisNet's mask"]
    assert share["vissimcc, no mask"] is None and "vissimcc-reasoning" in rows
    flags = [visibility == 2 for visibility in seen["vissimcc", "truth"]]
    truth, ten, thirty = flags[0], flags[1], flags[5]
    assert (truth ^ ten).mean() == pytest.approx(0.1, abs=0.05)
    assert (truth ^ thirty).mean() == pytest.approx(0.3, abs=0.08)
    assert not ((truth ^ ten) & ~(truth ^ thirty)).any(), "the larger share turns the same ones"
    assert rows["vissimcc-reasoning"]["paired"]["oks"]["rival"] == "vissimcc, VisNet's mask"
