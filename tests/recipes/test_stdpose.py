from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.models.tiny import tiny
from tests.recipes.small import GAP, QUICK, measured, trained, write_posetrack18
from workbench import checkpoint, propagate
from workbench.errors import BadParameter, MissingData, UnknownName
from workbench.models import build
from workbench.predict import Condition, Propagator, load
from workbench.recipes import stdpose as recipe
from workbench.recipes.base import Learned, Options, rows
from workbench.recipes.measures import weighted
from workbench.recipes.published import read_boxes, read_posetrack_half
from workbench.taps import record

ONCE = replace(QUICK, steps=1)
ASKED = {"steps": 1, "device": "cpu", "progress": False}
OTHER = f"stdpose{recipe.STRANGER}"


@pytest.fixture
def data(small):
    """Two clips a split."""
    return small("stdpose").own


def test_windows_are_all_frames_between_labels(data):
    assert recipe.DATA.world.digest() == "3ec4711c855d42d2", (
        "a change makes a new world: new name, all rows anew"
    )
    for interval in (7, 15, 2):
        keys = {t for t in range(14 if interval < 15 else 15) if t % interval}
        windows = recipe.people("test", interval, GAP, data=data)
        assert set(windows.items[:, 2].tolist()) <= keys and len(windows) >= len(keys)
        whole = [windows.frames_of(i).tolist() for i in range(len(windows))]
        assert all(left < key < right for left, key, right in whole)
        assert {right - left for left, _, right in whole} == {interval}


def test_labels_are_told_to_most_people_and_the_keys_are_never(data):
    sets = [recipe.people("train", interval, GAP, data=data) for interval in (7, 15)]
    make, told = recipe.gap_batches(sets, 16), []
    for step in range(12):
        batch = make(step, np.random.default_rng(step))
        assert batch["auxiliary_xy_crop"].shape == (16, 2, 15, 2)
        assert batch["xy_crop"].shape == (16, 15, 2)
        assert batch["distance"].sum(1).unique().numel() <= 2 and (batch["distance"] > 0).all()
        told += (batch["auxiliary_weights"].flatten(1).sum(1) > 0).tolist()
        rng = np.random.default_rng(step)
        windows = sets[int(rng.integers(2))]
        whole = windows.batch(rng.integers(len(windows), size=16), rng)["xy_crop"]
        torch.testing.assert_close(batch["auxiliary_xy_crop"], whole[:, ::2])
        torch.testing.assert_close(batch["xy_crop"], whole[:, 1])
    assert 0.55 < np.mean(told) < 0.85
    told = {"auxiliary_xy_crop", "auxiliary_weights"}
    assert set(batch) == {"images", "distance", "xy_crop", "weights"} | told


def test_maps_are_wiped_of_the_share_that_is_asked_for(data):
    sets = [recipe.people("train", 7, GAP, data=data)]
    plain, make = (recipe.gap_batches(sets, 16, 0.7, share) for share in (0.0, 0.2))
    wiped = []
    for step in range(12):
        batch, same = (one(step, np.random.default_rng(step)) for one in (make, plain))
        wiped.append(batch.pop("wiped"))
        assert batch.keys() == same.keys()
        assert all(torch.equal(batch[name], same[name]) for name in batch)
    wiped = torch.stack(wiped)
    assert wiped.shape == (12, 16, 15) and set(wiped.unique().tolist()) == {0, 1}
    assert 0.15 < wiped.mean() < 0.25


def test_fast_joints_are_those_that_move(data):
    windows = recipe.people("test", 7, GAP, data=data)
    truth = windows.poses()
    fast = recipe.fast_joints(windows, truth)
    assert 0.02 < fast.mean() < 0.8 and not (fast & ~truth.labelled).any()
    still = []
    for clip, frames in windows.pairs:
        tracks = [replace(t, xy_frame=t.xy_frame[:1].repeat(16, 0)) for t in clip.tracks]
        still.append((replace(clip, tracks=tracks), frames))
    frozen = propagate.windows_between(still, GAP.size, interval=7)
    assert not recipe.fast_joints(frozen, frozen.poses()).any()
    gone = []
    # a still joint without a label in every second frame: its place there is 0, 0
    for clip, frames in still:
        hidden = np.arange(16)[:, None] % 2 == 0
        tracks = [
            replace(t, visibility=t.visibility * ~hidden, xy_frame=t.xy_frame * ~hidden[..., None])
            for t in clip.tracks
        ]
        gone.append((replace(clip, tracks=tracks), frames))
    vanished = propagate.windows_between(gone, GAP.size, interval=7)
    truth = vanished.poses()
    assert truth.labelled.any() and not recipe.fast_joints(vanished, truth).any()


def test_a_variant_learns_behind_a_frozen_estimator_and_is_measured(small):
    chosen = small("stdpose")
    learned, frame = (chosen.train(name, QUICK) for name in ("stdpose", "frame"))
    own, before = (checkpoint.read_tensors(each.weights) for each in (learned, frame))
    shared = [name for name in before if name.startswith(("backbone.", "head."))]
    assert shared and all(torch.equal(own[name], before[name]) for name in shared), (
        "frozen, statistics too"
    )
    started = checkpoint.read_tensors(chosen.weights("otpose"))
    assert any(not torch.equal(before[name], started[f"maps.{name}"]) for name in shared), (
        "the frame's own training"
    )
    task = chosen.tasks["synthetic"](chosen, QUICK)
    ours = rows(task.scores(7, {"stdpose": learned.predictor}))
    names = ["linear", "farneback", "single frame", "stdpose", OTHER]
    assert list(dict.fromkeys(r["variant"] for r in ours)) == names
    assert {r["method"] for r in ours} == {*names[:4]}
    subsets = ["all joints", "visible joints", "occluded joints", "blurred joints"]
    assert [r["subset"] for r in ours[:4]] == subsets and {r["T"] for r in ours} == {7}
    by = {(r["variant"], r["subset"]): r for r in ours}
    line = by["linear", "all joints"]
    assert line["metrics"]["AP-Mean"] > 40 > by["stdpose", "all joints"]["metrics"]["AP-Mean"]
    assert by["linear", "visible joints"]["n"] + by["linear", "occluded joints"]["n"] == line["n"]
    assert 0 < by["linear", "blurred joints"]["n"] < line["n"]
    assert by["linear", "blurred joints"]["metrics"]["PCKh"] < line["metrics"]["PCKh"], (
        "a line is worst at fast joints"
    )


def test_what_the_shipped_file_holds_is_not_trained_again(small, tmp_path):
    """Neither the estimator in it nor the whole; what has other settings is, and so is all behind
    the estimator for `workbench train`.
    """
    first = small("stdpose")
    settings = {name: replace(v, train=v.ship or v.train) for name, v in first.variants.items()}
    first = replace(first, variants=settings)  # rows learn as what is shipped
    shipped = first.ship(tmp_path / "weights" / "stdpose.safetensors", QUICK)
    chosen = replace(first, folder=tmp_path / "elsewhere")

    def names() -> list[str]:
        cards = (checkpoint.read_card(path) for path in trained(chosen))
        return sorted(card.get("variant", "frame") for card in cards)

    assert chosen.train("stdpose", QUICK).weights == shipped and names() == []
    weights = chosen.train("e", QUICK).weights
    own, before = checkpoint.read_tensors(weights), checkpoint.read_tensors(shipped)
    estimator = [name for name in own if name.startswith(("backbone.", "head."))]
    assert estimator and all(torch.equal(own[name], before[name]) for name in estimator)
    assert names() == ["e"], "behind the shipped estimator"
    chosen.train("stdpose", replace(QUICK, seed=1))
    assert names() == ["e", "stdpose"]
    chosen.train("stdpose", replace(QUICK, anew=True))
    assert names() == ["e", "stdpose", "stdpose"]


def test_the_single_frame_inside_is_the_estimator_itself(small, data):
    chosen = small("stdpose")
    propagator, frame = (chosen.train(name, ONCE).predictor for name in ("stdpose", "frame"))
    windows = recipe.people("test", 15, GAP, n=1, data=data)
    inside, own = (p.carry(windows, given=False) for p in (recipe.single_frame(propagator), frame))
    np.testing.assert_allclose(inside.xy_frame, own.xy_frame, atol=1e-3)


def test_evaluation_states_its_protocol(small):
    chosen = small("stdpose")
    result = chosen.evaluate(variants=["e"], intervals=(15,), **ASKED)
    assert recipe.DATA.world.digest() in result["protocol"]
    assert "1 steps of 3 people" in result["protocol"] and "answers in fp32" in result["protocol"]
    assert {r["T"] for r in measured(result)} == {15}
    assert any(r["kind"] == "paper" for r in result["rows"])
    estimation = chosen.evaluate(task="estimation", variants=["e"], **ASKED)
    methods = {r["method"] for r in measured(estimation)}
    assert methods == {"single frame", "stdpose"}, "no labels, no line between them"
    assert "no labels given" in estimation["protocol"]
    for wrong in ({"task": "guess"}, {"data": "nowhere"}, {"variants": ["z"]}):
        with pytest.raises(UnknownName):
            chosen.evaluate(**wrong, progress=False)


def test_answers_are_in_the_precision_that_is_asked_for(small):
    chosen = small("stdpose")
    options = Options(variants=("e",), steps=1, precision="bf16", device="cpu", progress=False)
    task = chosen.tasks["synthetic"](chosen, options)
    assert task.learn("e", 7).predictor.precision == "bf16"
    assert "answers in bf16" in task.protocol


def test_the_shipped_file_loads_as_a_propagator(small, tmp_path):
    path = small("stdpose").ship(tmp_path / "out" / "made.safetensors", QUICK)
    loaded = load(str(path))
    assert isinstance(loaded, Propagator) and loaded.model.config == GAP
    card = checkpoint.read_card(path)
    assert "stdpose, T = 7, occluded joints" in card["metrics"]
    assert card["skeleton"] == "posetrack15"


def test_pseudo_labels_are_labels_and_what_is_carried_between(data):
    propagator = Propagator(build("stdpose", GAP))
    pairs = data.pairs("train", 2)
    sparse = recipe.sparse_pairs(pairs, 7)
    dense = recipe.carried_pairs(propagator, sparse, 7, progress=False)
    found = propagator.carry(propagator.windows(sparse))
    rows = iter(range(len(found)))
    for (whole, _), (few, _), (clip, _) in zip(pairs, sparse, dense):
        for truth, kept, track in zip(whole.tracks, few.tracks, clip.tracks):
            own = np.flatnonzero(kept.labelled)
            assert set(own) <= {0, 7, 14} and not kept.xy_frame[~kept.labelled].any()
            np.testing.assert_array_equal(track.xy_frame[own], truth.xy_frame[own])
            for t in np.flatnonzero(track.labelled & ~kept.labelled):
                row = next(rows)
                known = track.visibility[t] > 0
                np.testing.assert_allclose(
                    track.xy_frame[t][known], found.xy_frame[row][known], rtol=1e-6
                )
            assert truth.labelled.all() and not track.labelled[15], "nothing after the last label"


def test_table_3_compares_labels_alone_with_pseudo_labels(small):
    chosen = small("stdpose")
    result = chosen.evaluate(task="pseudo", variants=["e"], intervals=(7,), **ASKED)
    ours = [r for r in measured(result) if r["subset"] == "all joints"]
    kinds = [("labels alone", 7), ("with pseudo-labels", 7), ("all labels", 1)]
    assert [(r["variant"], r["T"]) for r in ours] == kinds
    shares = [r["metrics"]["labelled"] for r in ours]
    assert shares[0] == shares[1] == pytest.approx(100 * 3 / 16) and shares[2] == 100
    assert "2 rendered clips that the propagator" in result["protocol"]


def test_another_propagator_s_labels_are_learned_anew(small):
    chosen = small("stdpose")
    carriers = [Propagator(build("stdpose", GAP)) for _ in range(2)]
    for p in carriers[1].model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    for carrier in carriers:
        task = recipe._pseudo(chosen, ONCE, Learned(carrier))
        for kind in ("labels alone", "with pseudo-labels"):
            task.learn("", (kind, 7))
    cards = [checkpoint.read_card(path) for path in trained(chosen)]
    kinds = sorted(card["labels"] for card in cards)
    assert kinds == ["labels alone", "with pseudo-labels", "with pseudo-labels"]


def test_nothing_is_carried_over_a_labelled_frame_in_which_somebody_is_missing(data):
    (clip, frames), *_ = data.pairs("train", 1)
    away = np.isin(np.arange(16), [5, 6, 7, 8])
    tracks = [
        replace(t, labelled=~away, visibility=t.visibility * ~away[:, None]) for t in clip.tracks
    ]
    # labels at 0, 4, 12
    (sparse,) = recipe.sparse_pairs([(replace(clip, tracks=tracks), frames)], 4)
    carrier = Propagator(build("stdpose", GAP))
    ((dense, _),) = recipe.carried_pairs(carrier, [sparse], 4, progress=False)
    assert np.flatnonzero(dense.tracks[0].labelled).tolist() == [0, 1, 2, 3, 4, 12]


def test_sizes_of_table_6_have_estimators_of_their_own(small):
    chosen = small("stdpose")
    wide = replace(chosen.variants["stdpose"], config=replace(GAP, size=(64, 96)))
    chosen = replace(chosen, variants={**chosen.variants, "384x288": wide})
    result = chosen.evaluate(variants=["e", "384x288"], intervals=(7,), **ASKED)
    ours = [r for r in measured(result) if r["subset"] == "all joints"]
    once = ["linear", "farneback", "single frame", "e"]
    more = ["single frame, 96 x 64", "384x288"]
    names = [r["variant"] for r in ours if not r["variant"].endswith(recipe.STRANGER)]
    assert names == [*once, *more]
    cards = [checkpoint.read_card(path) for path in trained(chosen)]
    sizes = sorted(card["config"]["size"] for card in cards)
    assert sizes == [[32, 64], [32, 64], [64, 96], [64, 96]]


def test_somebody_else_s_picture_and_wiped_joints(small):
    """Of each row, against itself; who has no image tokens answers as before, and what is wiped is
    judged of all.
    """
    chosen = small("stdpose")
    result = chosen.evaluate(variants=["c", "tks_stda", "e"], intervals=(15,), **ASKED)
    assert "wiped: 20% of the joints" in result["protocol"]
    by = {(r["variant"], r["subset"]): r for r in measured(result)}
    wiped = {name for name, subset in by if subset == "wiped joints"}
    ours = {name + more for name in ("c", "tks_stda", "e") for more in ("", recipe.STRANGER)}
    assert wiped == {"linear", "farneback", "single frame", *ours}
    shares = {by[name, "wiped joints"]["n"] / by[name, "all joints"]["n"] for name in wiped}
    assert all(0.15 < share < 0.25 for share in shares) and len(shares) == 1
    for name in ("c", "tks_stda", "e"):
        pair = by[name + recipe.STRANGER, "all joints"]["paired"]["PCKh"]
        assert pair["rival"] == name
        assert (pair["difference"] == 0 and pair["interval"] == [0, 0]) or name != "c"
    assert by["tks_stda", "all joints"]["paired"]["PCKh"]["rival"] == "c"
    assert by["e", "all joints"]["paired"]["PCKh"]["rival"] == "single frame", "d is not here"


def test_the_picture_is_another_person_s_and_rows_stay_in_order(data):
    windows = recipe.people("test", 7, GAP, data=data)
    torch.manual_seed(0)
    model = build("stdpose", GAP)
    for part in model.parameters():
        torch.nn.init.normal_(part, std=0.3)
    propagator, seen = Propagator(model), []
    plain = propagator.carry(windows)
    other = propagator.carry_each(windows, {"": Condition(strangers=True)})[""]
    asked = {
        "nothing": np.zeros((len(windows), 15), bool),
        "all": np.ones((len(windows), 15), bool),
    }
    found = propagator.carry_each(windows, {name: Condition(at) for name, at in asked.items()})
    again = found["nothing"]
    assert not np.array_equal(found["all"].confidence, plain.confidence)
    np.testing.assert_array_equal(plain.frames, other.frames)
    np.testing.assert_array_equal(plain.tracks, other.tracks)
    np.testing.assert_allclose(again.xy_frame, plain.xy_frame, atol=1e-6)
    assert not np.array_equal(other.confidence, plain.confidence)
    with record(model, ["features", "tokens"]) as taps:
        propagator.carry_each(windows, {"": Condition(strangers=True)})
    for read, tokens in zip(taps.calls("features"), taps.calls("tokens")):
        with torch.inference_mode():
            own = model.cut(read.flatten(0, 1)).unflatten(0, read.shape[:2])
        torch.testing.assert_close(tokens, own.roll(1, 0))
        seen.append(len(tokens))
    assert sum(seen) == len(windows) and min(seen) > 1


def test_variants_are_the_rows_of_tables_4_to_6():
    configs = {name: variant.config for name, variant in recipe.VARIANTS.items()}
    assert len(recipe.TABLE_5) == 19
    assert {"b", "c", "d", "e", "k5_theta0", "k0.5_theta0.7"} <= set(configs)
    assert configs["k2_theta0.2"] == replace(recipe.WHOLE, k=2.0, theta=0.2)
    paper = recipe.RECIPE.paper
    sizes = {"stdpose": (192, 256), "224x168": (168, 224), "384x288": (288, 384)}
    sizes["k2_theta0.2"] = sizes["stdpose"]
    assert {name: recipe.published_config(paper, name).size for name in sizes} == sizes
    assert configs["224x168"].size == (84, 112) and configs["224x168"].padded == (96, 112)
    assert {recipe.published_config(paper, name).frame_weight for name in ("a", "e")} == {0}
    ours = [recipe.published_config(paper, name, 1.0).frame_weight for name in ("a", "stdpose")]
    assert ours == [0, 1], "the single frame's own loss is its loss"
    assert not recipe.published_config(paper, "e").mi


# --- PoseTrack ------------------------------------------------------------------------------------


@pytest.fixture
def posetrack18(tmp_path):
    return write_posetrack18(tmp_path / "posetrack18")


def test_labels_of_posetrack_are_those_of_every_t_th_frame_of_the_video(small, tmp_path):
    """0, 3 and 6, whenever somebody comes; who is gone between two of them is looked for, and
    found by mistake.
    """
    there = (range(7), (0, 2, 3, 4, 5, 6), range(2, 7))
    spec = write_posetrack18(tmp_path / "posetrack18", there)
    windows = recipe.published_windows(read_posetrack_half(spec, "val"), GAP, 3)
    places = sorted(map(tuple, windows.items[:, 1:].tolist()))
    assert places == [(n, t) for n in (0, 1) for t in (1, 2, 4, 5)] + [(2, 4), (2, 5)]
    assert windows.poses().labelled.any(1).sum() == 9, "nobody in frame 1 is the second person"
    result = small("stdpose").evaluate(spec, variants=["stdpose", "d"], intervals=(3,), **ASKED)
    assert "9 of 10 people in labelled frames" in result["protocol"], (
        "the third one's first frame has no label before it"
    )
    cards = [checkpoint.read_card(path) for path in trained(small("stdpose"))]
    assert {card.get("given") for card in cards} - {None} == {0.0}, "as in the paper"
    assert "labels told to 0% of them" in result["protocol"]
    ours = measured(result)
    names = ["linear", "farneback", "single frame", "stdpose", "d"]
    assert [r["variant"] for r in ours] == names, "others once"
    line = ours[0]["metrics"]
    assert 70 < line["AP-Mean"] < 99.9 and line["PCKh"] == 100, "a mistake, all else right"


def test_table_3_on_posetrack(small, posetrack18):
    chosen = small("stdpose")
    result = chosen.evaluate(posetrack18, intervals=(3,), task="pseudo", **ASKED)
    ours = measured(result)
    assert [(r["variant"], r["T"], r["metrics"]["labelled"]) for r in ours] == [
        ("labels alone", 3, pytest.approx(300 / 7)),
        ("with pseudo-labels", 3, pytest.approx(300 / 7)),
        ("all labels", 1, 100),
    ]
    start = "1 steps of 2 people from random weights"
    assert f"labels alone, T = 3: {start}, 6 to learn from" in result["protocol"]
    assert "14 to learn" in result["protocol"]
    assert any(r["kind"] == "paper" and r.get("method") == "FAMI-Pose" for r in result["rows"])
    for data, variants in ((posetrack18, ["e"]), ("synthetic", ["e", "stdpose"])):
        with pytest.raises(BadParameter, match="asks one network"):
            chosen.evaluate(data, variants=variants, task="pseudo", **ASKED)


def test_estimators_look_as_far_as_they_learned(small, posetrack18):
    chosen, reach = small("stdpose"), {}
    for task, intervals in (("propagation", (3,)), ("estimation", None)):
        chosen.evaluate(posetrack18, task=task, intervals=intervals, **ASKED)
        for path in trained(chosen):
            reach[checkpoint.read_card(path)["task"]] = load(str(path))
    assert {task: p.reach for task, p in reach.items()} == {"propagation": 3, "estimation": 1}
    crops = torch.rand(2, 3, 3, *GAP.size[::-1], generator=torch.Generator().manual_seed(0))
    found = reach["estimation"].read(crops)
    inputs = {"images": crops, "distance": torch.ones(2, 2)}
    model = reach["estimation"].model.eval()
    with torch.inference_mode():
        xy, _ = model.decode(model(**inputs))
    np.testing.assert_allclose(found.xy_crop, xy.numpy(), atol=1e-3)


def test_labels_can_be_kept_from_the_training(small):
    chosen = small("stdpose")
    result = chosen.evaluate(variants=["e"], intervals=(15,), given=0.0, **ASKED)
    assert "labels told to 0% of them" in result["protocol"]
    shares = {checkpoint.read_card(path).get("given") for path in trained(chosen)}
    assert shares == {0.0, None}
    with pytest.raises(BadParameter, match="share from 0 to 1"):
        chosen.evaluate(given=1.5)


@pytest.mark.parametrize("task", ["propagation", "estimation"])
def test_posetrack_as_the_user_has_it(small, posetrack18, task):
    chosen, asked = small("stdpose"), {"task": task, "intervals": (3,), **ASKED}
    result = chosen.evaluate(posetrack18, variants=["stdpose"], **asked)
    ours, text = measured(result), result["protocol"]
    methods, gap, people, seen = ["single frame", "stdpose"], 1, 14, "14 people"
    if task == "propagation":
        methods, gap, people, seen = ["linear", "farneback", *methods], 3, 8, "8 of 8 people"
    assert [(r["method"], r["subset"], r["T"]) for r in ours] == [
        (name, "all joints", gap) for name in methods
    ]
    assert f"{seen} in labelled frames" in text
    assert f"random weights, {people} to learn from" in text
    assert ("labels told to 0% of them" in text) == (task == "propagation")
    assert "STDPose" in {r.get("method") for r in result["rows"] if r["kind"] == "paper"}
    if task == "propagation":
        assert ours[0]["metrics"]["AP-Mean"] > 90, "everybody moves on a line here"
        told = chosen.evaluate(posetrack18, variants=["stdpose"], given=0.7, **asked)
        assert "labels told to 70% of them" in told["protocol"]
        with pytest.raises(MissingData, match="between labels 8 frames apart"):
            chosen.evaluate(posetrack18, variants=["e"], **asked | {"intervals": (8,)})


def test_estimation_in_a_detector_s_boxes(small, posetrack18, tmp_path):
    """Perfect boxes are the ground truth's, with poses and all; a box less is a person less."""
    chosen, file = small("stdpose"), tmp_path / "boxes.json"
    pairs = read_posetrack_half(posetrack18, "val")
    ((clip, _),) = pairs
    perfect = [
        {"image_id": clip.pictures[t].id, "category_id": 1, "score": 0.5, "bbox": [15, 15, 50, 60]}
        for t in range(7)
        for _ in clip.tracks
    ]
    ours = {"stdpose": Propagator(build("stdpose", GAP))}
    windows = recipe.published_windows(pairs, GAP, 1, "estimation")

    def poses(boxes):
        given = None
        if boxes is not None:
            file.write_text(json.dumps(boxes))
            given = file
        kind = "ground truth" if boxes is None else "detector"
        task = chosen.tasks["posetrack18"](
            chosen, Options(posetrack18, task="estimation", boxes=given, **ASKED)
        )
        assert task.boxes == kind and f"boxes: {kind}" in task.protocol
        assert ("PCKh" in task.scores(1, ours)["stdpose"][0].values) == (boxes is None)
        seen, scores = read_boxes(given).windows(windows)
        found = recipe.answers(seen, ours, given=False, progress=False)["stdpose"]
        return weighted(found, scores)

    found, same, fewer = (poses(boxes) for boxes in (None, perfect, perfect[:-1]))
    assert [len(each) for each in (found, same, fewer)] == [14, 14, 13]
    own, other = (f.select(np.lexsort((f.frames, f.tracks))) for f in (found, same))
    np.testing.assert_allclose(own.xy_frame, other.xy_frame, atol=1e-3)
    np.testing.assert_allclose(0.5 * own.confidence, other.confidence, atol=1e-5)
    for given in ({"task": "propagation"}, {"task": "estimation", "data": "synthetic"}):
        with pytest.raises(BadParameter, match="detector's boxes"):
            chosen.evaluate(**{"data": posetrack18, "boxes": "boxes.json"} | given)


def as_published(state: dict) -> dict:
    """A small ViT's tensors as transformers names ViTPose's."""
    named = {}
    for name, tensor in state.items():
        name = name.replace("backbone.net.blocks.", "backbone.encoder.layer.")
        name = name.replace(
            "backbone.net.patch_embed.proj.", "backbone.embeddings.patch_embeddings.projection."
        )
        name = name.replace("backbone.net.norm.", "backbone.layernorm.")
        name = name.replace(".norm1.", ".layernorm_before.").replace(".norm2.", ".layernorm_after.")
        name = name.replace(".attn.proj.", ".attention.output.dense.")
        if ".attn.qkv." in name:
            parts = zip(("query", "key", "value"), tensor.chunk(3))
            for part, third in parts:
                named[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = third.clone()
        elif name == "backbone.net.pos_embed":
            absent = torch.zeros_like(tensor[:, :1])
            place = "backbone.embeddings.position_embeddings"
            named[place] = torch.cat((absent, tensor), 1)
        else:
            named[name] = tensor.clone()
    return named


def test_published_positions_are_fitted_to_the_grid(monkeypatch, tmp_path):
    """Weights of crops of 192 x 256 in a network that reads 288 x 384."""
    torch.manual_seed(0)
    config = tiny("stdpose")
    small, large = (build("stdpose", replace(config, size=size)) for size in ((48, 64), (96, 128)))
    state = {k: v.clone() for k, v in small.state_dict().items() if k.startswith("backbone.")}
    ramp = torch.arange(4.0)[:, None].expand(4, 3).reshape(1, 12, 1)
    state["backbone.net.pos_embed"] = ramp.expand_as(state["backbone.net.pos_embed"]).clone()
    file = tmp_path / "vitpose_base_simple" / "model.safetensors"
    file.parent.mkdir()
    save_file(as_published(state), file)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    assert recipe.start_weights(large) == "COCO (model.safetensors)"
    grid = large.backbone.net.pos_embed.reshape(8, 6, -1)
    assert (grid.diff(dim=0) > 0).all() and torch.allclose(grid[:, :1], grid, atol=1e-4)
    name = "backbone.net.blocks.0.attn.qkv.weight"
    assert torch.equal(large.state_dict()[name], state[name])
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert recipe.start_weights(large) is None
