"""PORT's recipe: what the batches hold, that folds do not leak, what the rows say. Trainings
here take 25 steps at most.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from tests.recipes.small import QUICK, measured, trained
from workbench import checkpoint, predict
from workbench.errors import BadParameter, BadRecord, MissingData, UnknownName
from workbench.made.bodies import sample_bodies
from workbench.made.hands import sample_hands
from workbench.made.noise import DetectorNoise
from workbench.models import build, config_of
from workbench.predict import PortRefiner, RefineRule
from workbench.recipes import bodies
from workbench.recipes import port as recipe
from workbench.recipes.base import Options, Recipe
from workbench.records import Detections, Prediction
from workbench.skeletons import RHD_FROM_HAND21, skeleton
from workbench.train import TrainConfig, settings_of

HANDS = ("denoise", "faithful", "leak_free", "procedural")
SHORT = TrainConfig(steps=25, batch_size=32, lr=1e-3, warmup_steps=5)


@pytest.fixture(scope="module")
def synthetic():
    return recipe.pairs("synthetic", n=211, seed=5)


def score(xy_frame, truth) -> dict[str, float]:
    """Mean errors, px."""
    return {name: v.mean() for name, v in recipe.errors(xy_frame, truth).items()}


def test_pairs_are_rows_of_each_other(synthetic):
    truth, detected = synthetic
    assert len(truth) == len(detected) == 211 and truth.skeleton == detected.skeleton == "hand21"
    again = recipe.pairs("synthetic", n=211, seed=5)
    np.testing.assert_array_equal(again[1].xy_frame, detected.xy_frame)
    assert not np.array_equal(recipe.pairs("synthetic", n=211, seed=6)[0].xy_frame, truth.xy_frame)
    with pytest.raises(UnknownName, match="port_panoptic"):
        recipe.pairs("port_panoptc")


def test_folds_keep_groups_whole_and_are_balanced():
    groups = ["video"] * 40 + [f"picture{i // 2}" for i in range(60)]
    fold = recipe.fold_of(groups)
    assert {len(set(fold[np.array(groups) == g])) for g in groups} == {1}
    assert np.bincount(fold).tolist() == [40, 16, 16, 14, 14]


def test_masked_batches_hide_the_ratio_and_answer_the_truth(synthetic):
    truth, _ = synthetic
    config = config_of("port", "paper")
    source = recipe.masked_batches(lambda n, rng: truth.xy_frame[:n], config, 17, 0.4)
    batch = source(0, np.random.default_rng(1))
    assert batch["mask"].sum(1).tolist() == [8] * 17
    assert torch.equal(batch["xy"], batch["truth"])
    seen = torch.where(batch["mask"][..., None], torch.nan, batch["xy"])
    # centred on visible joints
    torch.testing.assert_close(seen.nanmean(1), torch.zeros(17, 2), atol=1e-5, rtol=0)
    again = source(0, np.random.default_rng(1))
    assert torch.equal(batch["xy"], again["xy"])


def test_noisy_batches_mark_the_least_confident(synthetic):
    config = config_of("port", "denoise")
    batch = recipe.noisy_batches(sample_hands, config, 64)(0, np.random.default_rng(1))
    error = (batch["xy"] - batch["truth"]).norm(dim=-1)
    mask = batch["mask"]
    assert mask.any(1).all() and 0.1 < mask.float().mean() < 0.6
    assert error[mask].mean() > 1.5 * error[~mask].mean()
    lowest_seen = torch.where(mask, 2.0, batch["confidence"]).amin(1)
    highest_hidden = torch.where(mask, batch["confidence"], -1.0).amax(1)
    assert (highest_hidden <= lowest_seen).all()
    assert all(torch.isfinite(v.float()).all() for v in batch.values())


def test_the_rule_comes_from_quantiles_of_the_training_rows():
    confidence = np.tile(np.linspace(0, 1, 101)[:, None], (1, 21))
    rule = recipe.quantile_rule(confidence, 0, 0.1, 0.3, source="here")
    assert (rule.delta[5], rule.delta[0]) == pytest.approx((0.1, 0.3)) and rule.blend == 1.0
    assert recipe.quantile_rule(confidence, 0, 0.1, 0.0, source="").delta[0] == 0.0


def test_a_perfect_detector_gets_no_credit_and_shrinking_is_exposed(synthetic):
    truth, _ = synthetic
    perfect = DetectorNoise(scale=1e-6, miss=-9.0, miss_slope=0.0).apply(
        truth, np.random.default_rng(1)
    )
    values = score(perfect.xy_frame, truth)
    measures = {"epe", "p_epe", "p_epe_pred_to_gt", "p_epe_rigid", "epe_absolute"}
    assert max(values.values()) < 0.01 and set(values) == measures
    _, detected = synthetic
    plain = score(detected.xy_frame, truth)
    small = score(recipe.shrunk(detected, 0.9), truth)
    assert small["p_epe"] == pytest.approx(0.9 * plain["p_epe"], rel=1e-4)
    assert small["p_epe_pred_to_gt"] == pytest.approx(plain["p_epe_pred_to_gt"], rel=1e-4)


def test_shipped_weights_repair_synthetic_hands(synthetic):
    """The row of the card, on other hands: replaced joints get better, beyond what shrinking
    gives.
    """
    truth, detected = synthetic
    result = recipe.evaluate_refiner(predict.load("port"), truth, detected, data="synthetic")
    rows = {r["method"]: r["metrics"] for r in result["rows"]}
    assert rows["port"]["replaced_error"] < 0.9 * rows["port"]["replaced_error_detector"]
    assert rows["port"]["p_epe_pred_to_gt"] < rows["shrink_control"]["p_epe_pred_to_gt"] - 0.3
    assert rows["port"]["epe"] < rows["shrink_control"]["epe"] < 1.05 * rows["detector"]["epe"]
    assert rows["shrink_control"]["size_change"] == rows["port"]["size_change"]
    assert "synthetic" in result["protocol"] and "by hand" in result["protocol"]
    (ours,) = (r for r in result["rows"] if r["method"] == "port")
    low, high = ours["intervals"]["replaced_change"]
    assert low < rows["port"]["replaced_change"] < high < 0


def test_the_paper_s_recipe_learns_from_made_hands_too(small):
    chosen = small("port")
    for name, leak_free in (("masked_made", False), ("masked_made_leak_free", True)):
        learned = chosen.train(name, QUICK)
        model = learned.predictor.model
        assert model.config.leak_free is leak_free and model.config.confidence is False
        card = checkpoint.read_card(learned.weights)
        assert card["recipe"] == "masked joint modelling, procedural hands"


def test_random_weights_do_not(synthetic):
    truth, detected = synthetic
    refiner = predict.load("port")
    torch.manual_seed(3)
    control = PortRefiner(build("port", refiner.model.config), refiner.rule, "random weights")
    values, _ = recipe.replaced_error(control.refine(detected), truth, detected)
    assert values["replaced_error"] > values["replaced_error_detector"]


def test_the_shipped_card_says_how_it_was_made():
    card = checkpoint.read_card(predict.weights_path("port"))
    assert card["command"].startswith("workbench train port --s")
    assert card["noise"] == asdict(recipe.NOISE), "the recipe has changed: train again"
    assert card["train"] == json.loads(json.dumps(settings_of(recipe.PROCEDURAL_TRAIN)))
    assert predict.weights_path("port").stat().st_size < 4e6
    truth, detected = recipe.pairs("synthetic", seed=recipe.TEST_SEED)
    values = score(predict.load("port").refine(detected).xy_frame, truth)
    assert values["epe"] == pytest.approx(card["metrics"]["port"]["epe"], rel=1e-3)


def test_the_shipped_card_for_bodies_says_how_it_was_made():
    path = predict.weights_path("port", "coco17")
    card, files = checkpoint.read_card(path), recipe.DATA.files
    assert card["command"].startswith("workbench train port --skeleton coco17 --seed 0")
    assert card["train"] == json.loads(json.dumps(settings_of(bodies.TRAIN)))
    assert path.stat().st_size < 4e6 and f"{files} files each of" in card["rule"]["source"]
    refiner = predict.load("port", skeleton="coco17")
    made = [file for _, file in bodies.made_files(files, recipe.TEST_SEED, ["worse"])]
    before, after = (
        100 * np.concatenate([bodies.worth(xy(d), truth).oks for truth, d in made]).mean()
        for xy in (lambda d: d.xy_frame, lambda d: refiner.refine(d).xy_frame)
    )
    metrics = card["metrics"]
    assert before == pytest.approx(metrics["detector, worse"]["oks"], rel=1e-4)
    assert after == pytest.approx(metrics["port, worse"]["oks"], rel=1e-4)
    assert after > before


def test_the_shipped_file_is_what_the_recipe_would_train(tmp_path):
    """So that no evaluation trains it again, for an hour."""
    learned = replace(recipe.RECIPE, folder=tmp_path).train("procedural", Options(device="cpu"))
    assert learned.weights == predict.weights_path("port") and not list(tmp_path.iterdir())


def test_shipping_chooses_a_rule(small, tmp_path):
    path = small("port").ship(tmp_path / "w.safetensors", QUICK)
    source = predict.load(str(path)).rule.source
    assert source.endswith("53 procedural hands with simulated detections")
    assert source.startswith(("lowest 10% of the joints", "lowest 20% of the joints"))


def test_bodies_are_shipped_where_they_are_asked_for(small, tmp_path):
    path = small("port").ship(tmp_path / "port_coco17.safetensors", QUICK, skeleton="coco17")
    card = checkpoint.read_card(path)
    assert predict.load(str(path)).skeleton.name == card["skeleton"] == "coco17"
    assert card["command"] == "workbench train port --skeleton coco17 --seed 0 --steps 2"
    assert "procedural bodies" in card["licence"] and "64 bodies a kind" in card["metrics_data"]
    rule = predict.load(str(path)).rule
    assert rule.share == bodies.SHARE and rule.margin in (*bodies.MARGINS, 1.0)


@pytest.fixture
def short(small) -> Recipe:
    """Twenty-five steps a fold and fewer; the procedural weights are the shipped ones."""
    chosen = small("port")
    variants = dict(recipe.VARIANTS)
    for name in ("faithful", "leak_free", "denoise"):
        train = replace(SHORT, steps=10) if name == "denoise" else SHORT
        variants[name] = replace(variants[name], train=train)
    own = replace(chosen.own, candidates=((0.1, 0.1),), paper_train=replace(SHORT, steps=3))
    return replace(chosen, variants=variants, own=own, weights=predict.weights_path)


@pytest.mark.realdata
def test_rows_on_real_hands_with_capped_training(data_root, short, monkeypatch):
    """25 steps a fold: the numbers mean nothing yet, the protocol does. Folds are cached and
    reused.
    """
    monkeypatch.setenv("WORKBENCH_DATA", str(data_root))
    asked = {"device": "cpu", "progress": False}
    result = short.evaluate("port_panoptic", **asked)
    rows = result["rows"]
    methods = ("port", "shrink_control", "shrink_control_each")
    assert [(r["method"], r.get("variant")) for r in measured(result)] == [
        ("detector", None),
        *((method, v) for v in HANDS for method in methods),
    ]
    detector = rows[0]
    assert detector["metrics"]["epe"] == pytest.approx(15.2702, abs=5e-5) and detector["n"] == 846
    assert detector["metrics"]["p_epe"] == pytest.approx(7.7593, abs=5e-5)
    assert detector["metrics"]["p_epe_pred_to_gt"] == pytest.approx(7.7372, abs=5e-5)
    assert detector["metrics"]["p_epe_rigid"] == pytest.approx(8.424, abs=5e-4)
    assert detector["metrics"]["epe_absolute"] == pytest.approx(9.7497, abs=5e-5)
    low, high = detector["intervals"]["epe"]
    assert low < 15.27 < high and high - low > 1, "whole videos are resampled"
    assert {r["kind"] for r in rows} == {"measured", "paper"}
    assert "grouped by 220" in result["protocol"] and "25 steps" in result["protocol"]
    rules = {tuple(r["rules"]) for r in rows if r["method"] == "port"}
    assert len(rules) == 1, "every variant has the folds' deltas"
    port = rows[1]
    assert len(port["rules"]) == 5 and all("training folds" in rule for rule in port["rules"])
    change = port["metrics"]["epe"] - detector["metrics"]["epe"]
    assert port["metrics"]["epe_change"] == pytest.approx(change, abs=1e-6)
    low, high = port["intervals"]["epe_change"]
    assert low <= change <= high and high - low < 1, "changes are paired"
    each = rows[3]["metrics"]
    assert port["metrics"]["p_epe_against_shrink"] == pytest.approx(
        port["metrics"]["p_epe"] - each["p_epe"], abs=1e-6
    )
    made = trained(short)
    assert len(made) == 15, "three variants are trained in five folds, the fourth is shipped"
    again = short.evaluate("port_panoptic", **asked)
    assert again["rows"] == rows and trained(short) == made


@pytest.mark.realdata
def test_the_user_s_training_annotations_are_used(data_root, short, tmp_path):
    """With panoptic_train.json present its hands train, once for all folds; one that holds test
    pictures is refused.
    """
    root = tmp_path / "panoptic"
    shutil.copytree(data_root / "port_panoptic", root)
    test, train = (root / "annotations" / f"panoptic_{part}.json" for part in ("test", "train"))
    train.write_bytes(test.read_bytes())
    asked = {"variants": ("faithful",), "device": "cpu", "progress": False}
    with pytest.raises(BadRecord, match="220 of its videos and pictures are also in the test set"):
        short.evaluate(f"port_panoptic:{root}", **asked)
    content = json.loads(test.read_text())
    # made: the test hands under names of other pictures stand in for training hands
    for image in content["images"]:
        image["file_name"] = f"hand_labels/manual_train/9{image['id']}_01_l.jpg"
    train.write_text(json.dumps(content))
    protocol = short.evaluate(f"port_panoptic:{root}", **asked)["protocol"]
    assert "Trained on the 846 hands of panoptic_train.json" in protocol and "3 steps" in protocol
    assert len(trained(short)) == 1, "one training for all rows, not one a fold"
    capped = short.evaluate(f"port_panoptic:{root}", **asked, steps=2)
    assert capped["protocol"].find("CAPPED at 2 steps a training") > 0


def test_on_synthetic_hands_nothing_is_trained():
    for asked in ({"steps": 5}, {"variants": ("faithful",)}):
        with pytest.raises(BadParameter, match="nothing is trained"):
            recipe.RECIPE.evaluate("synthetic", **asked)


def test_shrinking_each_hand_by_its_own_factor(synthetic):
    _, detected = synthetic
    factor = np.linspace(0.5, 1.5, len(detected))
    small = recipe.shrunk(detected, factor)
    np.testing.assert_array_equal(small[:, 0], detected.xy_frame[:, 0])
    answer = Prediction("hand21", small, detected.confidence, detected.confidence > 2)
    np.testing.assert_allclose(recipe.size_change(answer, detected), factor, rtol=1e-4)


def test_missing_data_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingData, match="workbench data fetch port_panoptic"):
        recipe.RECIPE.evaluate("port_panoptic")


def test_sweep_compares_settings(small):
    asked = {"full": False, "device": "cpu", "recipe": small("port")}
    found = recipe.sweep(["linear", "{1,2}"], [0.1, 0.4], **asked)
    assert [r["setting"] for r in found["projection"]] == ["linear", "{1,2}"]
    assert [r["setting"] for r in found["masking"]] == ["10%", "40%"]
    assert found["projection"][1]["p_epe"] == found["masking"][1]["p_epe"], (
        "the same setting is trained once"
    )
    first = found["projection"][0]
    assert first["paper"] == 7.65 and first["size"] != 1
    (twice,) = recipe.sweep(["linear"], [], **asked | {"full": True})["projection"]
    assert twice["low"] < twice["p_epe"] < twice["high"], "two seeds"
    assert found["detector"][0]["p_epe"] > 0
    assert recipe.sweep_settings(full=True)[0] == list(recipe.PROJECTIONS)


def test_one_weight_makes_every_projection_as_large(small):
    """Table III compares networks of different sizes, unless one W serves all powers."""
    asked = {"full": False, "device": "cpu", "recipe": small("port")}
    found = recipe.sweep(["linear", "{1,2}", "{1,2,3}"], [], **asked)
    sizes = {name: [row["parameters"] for row in found[name]] for name in ("projection", "one W")}
    assert sizes == {"projection": [335_314, 532_050, 728_786], "one W": [335_314] * 3}
    own, shared = found["projection"], found["one W"]
    assert own[0] == shared[0], "of one power there is one W"
    assert own[1]["p_epe"] != shared[1]["p_epe"]
    assert [row["paper"] for row in shared] == [row["paper"] for row in own]


def test_errors_are_of_labelled_joints(synthetic):
    truth, detected = (each.select(slice(5)) for each in synthetic)
    flags = truth.visibility.copy()
    flags[0, 7:] = 0
    flags[1, 0] = 0
    flags[2, 2:] = 0
    some = recipe.errors(detected.xy_frame, replace(truth, visibility=flags))
    whole = recipe.errors(detected.xy_frame, truth)
    seven = [np.tile(xy[:1, :7], (1, 3, 1)) for xy in (detected.xy_frame, truth.xy_frame)]
    first = recipe.errors(seven[0], replace(truth.select(slice(1)), xy_frame=seven[1]))
    for name, values in whole.items():
        np.testing.assert_array_equal(some[name][3:], values[3:])
        assert some[name][0] == pytest.approx(first[name][0])
    assert np.isnan(some["epe"][:3]).tolist() == [False, True, False], "no root"
    assert np.isnan(some["p_epe_rigid"][:3]).tolist() == [False, False, True], "two joints"
    distance = np.linalg.norm(detected.xy_frame[2, :2] - truth.xy_frame[2, :2], axis=-1)
    assert some["epe_absolute"][2] == pytest.approx(distance.mean(), rel=1e-5)


def test_the_replaced_joints_error_is_that_of_labelled_ones(synthetic):
    truth, detected = (each.select(slice(2)) for each in synthetic)
    flags = truth.visibility.copy()
    flags[:, 4] = 0
    truth = replace(truth, visibility=flags, groups=("a", "b"))
    xy, replaced = detected.xy_frame.copy(), np.zeros((2, 21), bool)
    xy[:, [3, 4]] += [[30.0, 0], [500, 0]]
    replaced[:, [3, 4]] = True
    answer = Prediction("hand21", xy, detected.confidence, replaced)
    values, ends = recipe.replaced_error(answer, truth, detected)
    wanted = np.linalg.norm(xy[:, 3] - truth.xy_frame[:, 3], axis=-1).mean()
    assert values["replaced_error"] == pytest.approx(wanted, rel=1e-5)
    assert values["replaced_share"] == 2 / 21 and set(ends) == {"replaced_change"}
    values, ends = recipe.replaced_error(answer, replace(truth, groups=("a", "a")), detected)
    assert values["replaced_change"] and not ends, "no interval of one group"


def test_of_hands_weights_that_saw_none_of_them_choose_delta(small, synthetic):
    truth, detected = (each.select(slice(31)) for each in synthetic)
    truth = replace(truth, groups=[f"hand {i}" for i in range(31)])
    chosen = small("port")
    folds = recipe.Folds(chosen, replace(QUICK, steps=2), truth, detected, None)
    assert folds.refiner("faithful", 0).rule == folds.rule(0, "procedural")
    recipes = [checkpoint.read_card(path)["recipe"] for path in trained(chosen)]
    assert sorted(recipes) == ["denoise on procedural hands", "masked joint modelling"]


def written(folder, truth, detected):
    """The same people as COCO's annotations and results, a picture each."""
    joints = [*skeleton(truth.skeleton).joints]
    images = [{"id": i, "file_name": f"{group}.jpg"} for i, group in enumerate(truth.groups)]
    people = [
        {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "area": 900.0}
        | {"bbox": [low[0], low[1], high[0] - low[0], high[1] - low[1]]}
        | {"keypoints": np.c_[xy, flags].ravel().tolist()}
        for i, (xy, flags, (low, high)) in enumerate(
            zip(truth.xy_frame, truth.visibility, truth.boxes_xyxy.reshape(-1, 2, 2).tolist())
        )
    ]
    category = [{"id": 1, "name": "person", "keypoints": joints}]
    content = {"images": images, "annotations": people, "categories": category}
    said = np.concatenate((detected.xy_frame, detected.confidence[..., None]), 2)
    results = [
        {"image_id": i, "category_id": 1, "score": 0.5, "keypoints": row.ravel().tolist()}
        for i, row in enumerate(said.astype(float))
    ]
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "results.json").write_text(json.dumps(results))
    return {"data": str(folder / "truth.json"), "detections": folder / "results.json"}


ASKED = {"device": "cpu", "progress": False}


def test_any_detections_with_truth_are_evaluated(tmp_path, synthetic):
    truth, detected = (each.select(slice(31)) for each in synthetic)
    truth = replace(truth, groups=[f"hand {i}" for i in range(31)])
    files = written(tmp_path, truth, detected)
    result = recipe.RECIPE.evaluate(**files, **ASKED)
    detector, *times, port, each, every = result["rows"]
    refiner = predict.load("port")
    wanted = recipe.evaluate_refiner(refiner, truth, detected, data="truth.json")["rows"]
    for key, value in wanted[1]["metrics"].items():
        assert port["metrics"][key] == pytest.approx(value, rel=1e-4, abs=1e-4), key
    assert (port["method"], port["variant"], port["subset"]) == ("port", "shipped", "truth.json")
    assert (each["method"], every["method"]) == ("shrink_control", "shrink_control_each")
    assert [row["method"] for row in times] == ["times 0.97", "times 0.95"]
    for row, factor in zip(times, (0.97, 0.95)):
        smaller = factor * detector["metrics"]["p_epe"]
        assert row["metrics"]["p_epe"] == pytest.approx(smaller, rel=1e-4), "without learning"
        assert row["metrics"]["p_epe_pred_to_gt_change"] == pytest.approx(0, abs=1e-4)
    assert port["paired"]["p_epe_rigid"]["rival"] == "detector" and detector["n"] == 31
    text = result["protocol"]
    assert "31 hand21 people of truth.json, detections of results.json. shipped" in text
    assert "root-relative ones to wrist" in text and "MobileNetV2" in text
    order = list(RHD_FROM_HAND21)
    tips = replace(truth, skeleton="hand21_rhd", xy_frame=truth.xy_frame[:, order])
    said = {"xy_frame": detected.xy_frame[:, order], "confidence": detected.confidence[:, order]}
    files = written(tmp_path, tips, replace(detected, skeleton="hand21_rhd", **said))
    again = recipe.RECIPE.evaluate(**files, **ASKED)["rows"]
    assert again == result["rows"], "fingers from the tip inwards"


def test_missing_joints_and_labels_have_no_place_of_their_own(tmp_path, synthetic):
    """Joints that were not found stand by their neighbours, in the detector's row, too."""
    truth, detected = (each.select(slice(31)) for each in synthetic)
    truth = replace(truth, groups=[f"hand {i}" for i in range(31)])
    xy, confidence = detected.xy_frame.copy(), detected.confidence.copy()
    xy[::2, 8] = confidence[::2, 8] = 0
    detected = replace(detected, xy_frame=xy, confidence=confidence)
    files = written(tmp_path, truth, detected)
    detector, _, _, port = recipe.RECIPE.evaluate(**files, **ASKED)["rows"][:4]
    assert detector["metrics"]["epe"] < 0.8 * recipe.errors(xy, truth)["epe"].mean()
    assert port["metrics"]["replaced_share"] > 16 / (31 * 21)
    assert port["metrics"]["epe"] < detector["metrics"]["epe"]


def test_the_shipped_weights_for_bodies_take_any_detections(tmp_path):
    truth, detected = bodies.sample_file(29, np.random.default_rng(3))
    truth = replace(truth, groups=[f"person {i}" for i in range(29)])
    files = written(tmp_path, truth, detected)
    result = recipe.RECIPE.evaluate(**files, **ASKED)
    refined = predict.load("port", skeleton="coco17").refine(detected)
    port = result["rows"][3]["metrics"]
    assert port["replaced_share"] == pytest.approx(refined.replaced.mean(), abs=1e-3)
    wanted = recipe.errors(refined.xy_frame, truth)["epe_absolute"].mean()
    assert port["epe_absolute"] == pytest.approx(wanted, rel=1e-3)
    assert "coco17 people" in result["protocol"] and "to nose" in result["protocol"]


def test_variants_learn_fold_by_fold_from_whoever_is_given(tmp_path, small):
    """Of Human3.6M's joints nothing is shipped: the paper's recipe learns from the truth."""
    chosen, rng = small("port"), np.random.default_rng(3)
    truth = sample_bodies(23, rng, skeleton="h36m17")
    flags = truth.visibility.copy()
    flags[0, 3] = 0
    truth = replace(truth, visibility=flags, groups=[f"scene {i}" for i in range(23)])
    said = {"xy_frame": truth.xy_frame + rng.normal(0, 3, truth.xy_frame.shape)}
    said["confidence"] = rng.random((23, 17))
    detected = Detections("h36m17", boxes_xyxy=truth.boxes_xyxy, **said)
    files = written(tmp_path, truth, detected)
    result = chosen.evaluate(**files, **ASKED, steps=2)
    variants = [row["variant"] for row in result["rows"] if row["method"] == "port"]
    assert variants == ["faithful", "leak_free"] and len(trained(chosen)) == 10
    assert "by weights that have seen these" in result["protocol"]
    assert "in 5 folds, grouped by 23 sources" in result["protocol"]
    card = checkpoint.read_card(trained(chosen)[0])
    assert card["config"]["skeleton"] == "h36m17"
    faithful, leak_free = (row for row in result["rows"] if row["method"] == "port")
    against = leak_free["against"]["faithful"]
    assert "against" not in faithful and set(leak_free["against"]) == {"faithful"}
    apart = leak_free["metrics"]["p_epe_rigid"] - faithful["metrics"]["p_epe_rigid"]
    low, high = against["p_epe_rigid"]["interval"]
    assert against["p_epe_rigid"]["difference"] == pytest.approx(apart) and low < apart < high
    assert set(against) == set(recipe.errors(detected.xy_frame, truth)), "measures alone"
    rules = result["rows"][3]["rules"]
    assert len(rules) == 5 and all("training folds" in rule for rule in rules)
    for variant in ("shipped", "denoise", "bodies"):
        with pytest.raises(UnknownName, match="variant of PORT on h36m17"):
            chosen.evaluate(**files, **ASKED, variants=(variant,))
    flags[:, 5] = 0
    files = written(tmp_path, replace(truth, visibility=flags), detected)
    with pytest.raises(BadParameter, match="no pose of the training folds has all its joints"):
        chosen.evaluate(**files, **ASKED, steps=2)


def test_what_files_cannot_be_asked(tmp_path, synthetic):
    truth, detected = (each.select(slice(7)) for each in synthetic)
    files = written(tmp_path, replace(truth, groups=list("abcdefg")), detected)
    with pytest.raises(BadParameter, match="nothing is trained"):
        recipe.RECIPE.evaluate(**files, **ASKED, steps=2)
    with pytest.raises(BadParameter, match="--detections FILE"):
        recipe.RECIPE.evaluate(files["data"], **ASKED)
    with pytest.raises(UnknownName, match="variant of PORT on hand21 'best'"):
        recipe.RECIPE.evaluate(**files, **ASKED, variants=("best",))
    with pytest.raises(BadParameter, match="synthetic is synthetic, not files to read"):
        recipe.RECIPE.evaluate("synthetic", detections=files["detections"], **ASKED)


@pytest.mark.realdata
def test_the_published_detections_as_a_file_of_the_user_s(data_root, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(data_root))
    file = data_root / "port_panoptic" / "mobilenetv2_panoptic_256x256_test.pkl"
    rows = recipe.RECIPE.evaluate("port_panoptic", detections=file, **ASKED)["rows"]
    detector, smaller, _, port = rows[:4]
    assert smaller["metrics"]["p_epe_rigid"] == pytest.approx(8.383, abs=5e-4)
    assert detector["metrics"]["p_epe"] == pytest.approx(7.7593, abs=5e-5) and port["n"] == 846
    assert port["metrics"]["p_epe_rigid"] == pytest.approx(8.043, abs=5e-4)


def test_a_refiner_is_its_equations(synthetic):
    """Eq. 14 with blend 1: masked joints are the reconstruction, the others are untouched."""
    _, detected = synthetic
    torch.manual_seed(2)
    refiner = PortRefiner(build("port"), RefineRule((0.3,) * 21))
    found = refiner.refine(detected)
    hidden = detected.confidence < 0.3
    np.testing.assert_array_equal(found.replaced, hidden)
    np.testing.assert_array_equal(found.xy_frame[~hidden], detected.xy_frame[~hidden])
    recon = refiner.reconstruct(detected, hidden)
    np.testing.assert_allclose(found.xy_frame[hidden], recon[hidden], atol=1e-3)
