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
from workbench import checkpoint, propagate
from workbench.errors import BadParameter, MissingData, UnknownName
from workbench.made.worlds import cached_clips
from workbench.models import build
from workbench.models.stdpose import TABLE_4
from workbench.predict import Propagator, load
from workbench.recipes import stdpose as recipe

TINY = replace(tiny("stdpose", "hrnet"), frozen=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture
def small_world(monkeypatch, clips, tmp_path):
    """Two clips a split, models of a few thousand parameters, everything in temporary folders."""
    frame = replace(TINY, **TABLE_4["a"], frozen=False)
    torch.manual_seed(1)
    estimator = torch.nn.ModuleDict({"maps": build("stdpose", frame)})
    start = checkpoint.save(tmp_path / "start.safetensors", estimator, {"frame": "made"})
    monkeypatch.setattr(recipe, "cached_clips", partial(cached_clips, folder=clips, progress=False))
    monkeypatch.setattr(recipe, "cache_folder", lambda: tmp_path / "trained")
    monkeypatch.setattr(recipe, "weights_path", lambda *_: start)
    monkeypatch.setattr(recipe, "CLIPS", {"train": 2, "val": 1, "test": 2})
    monkeypatch.setattr(recipe, "FRAME", frame)
    monkeypatch.setattr(recipe, "SMALL", TINY)
    monkeypatch.setattr(
        recipe,
        "VARIANTS",
        {"stdpose": TINY} | {row: replace(TINY, **TABLE_4[row]) for row in "bcde"},
    )
    quick = {"batch_size": 3, "workers": 0, "precision": "no"}
    monkeypatch.setattr(recipe, "TRAIN", replace(recipe.TRAIN, **quick))
    monkeypatch.setattr(recipe, "FRAME_TRAIN", replace(recipe.FRAME_TRAIN, **quick))
    recipe._rendered.cache_clear()
    yield
    recipe._rendered.cache_clear()


def test_windows_are_all_frames_between_labels(small_world):
    assert recipe.WORLD.digest() == "3ec4711c855d42d2", (
        "a change makes a new world: new name, all rows anew"
    )
    for interval, keys in (
        (7, {*range(1, 7), *range(8, 14)}),
        (15, set(range(1, 15))),
        (2, set(range(1, 14, 2))),
    ):
        windows = recipe.people("test", interval, TINY)
        assert set(windows.items[:, 2].tolist()) <= keys and len(windows) >= len(keys)
        whole = [windows.frames_of(i).tolist() for i in range(len(windows))]
        assert all(left < key < right for left, key, right in whole)
        assert {right - left for left, _, right in whole} == {interval}


def test_labels_are_told_to_most_people_and_the_keys_are_never(small_world):
    sets = [recipe.people("train", interval, TINY) for interval in (7, 15)]
    make, told = recipe.gap_batches(sets, 16), []
    for step in range(12):
        batch = make(step, np.random.default_rng(step))
        assert batch["auxiliary_xy_crop"].shape == (16, 2, 15, 2) and batch["xy_crop"].shape == (
            16,
            15,
            2,
        )
        assert batch["distance"].sum(1).unique().numel() <= 2 and (batch["distance"] > 0).all()
        told += (batch["auxiliary_weights"].flatten(1).sum(1) > 0).tolist()
        rng = np.random.default_rng(step)
        windows = sets[int(rng.integers(2))]
        whole = windows.batch(rng.integers(len(windows), size=16), rng)["xy_crop"]
        torch.testing.assert_close(batch["auxiliary_xy_crop"], whole[:, ::2])
        torch.testing.assert_close(batch["xy_crop"], whole[:, 1])
    assert 0.55 < np.mean(told) < 0.85
    assert set(batch) == {
        "images",
        "distance",
        "auxiliary_xy_crop",
        "auxiliary_weights",
        "xy_crop",
        "weights",
    }


def test_fast_joints_are_those_that_move(small_world):
    windows = recipe.people("test", 7, TINY)
    truth = windows.poses()
    fast = recipe.fast_joints(windows, truth)
    assert 0.02 < fast.mean() < 0.8 and not (fast & ~truth.labelled).any()
    still = []
    for clip, frames in windows.pairs:
        tracks = [replace(t, xy_frame=t.xy_frame[:1].repeat(16, 0)) for t in clip.tracks]
        still.append((replace(clip, tracks=tracks), frames))
    frozen = propagate.windows_between(still, TINY.size, interval=7)
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
    vanished = propagate.windows_between(gone, TINY.size, interval=7)
    assert (
        vanished.poses().labelled.any() and not recipe.fast_joints(vanished, vanished.poses()).any()
    )


def test_a_variant_learns_behind_a_frozen_estimator_and_is_measured(small_world, tmp_path):
    propagator, weights = recipe.train_variant("stdpose", recipe.TRAIN, cap=2, progress=False)
    _, frame = recipe.train_frame(steps=2, progress=False)
    own, before = checkpoint.read_tensors(weights), checkpoint.read_tensors(frame)
    shared = [name for name in before if name.startswith(("backbone.", "head."))]
    assert shared and all(torch.equal(own[name], before[name]) for name in shared), (
        "frozen, statistics too"
    )
    started = checkpoint.read_tensors(recipe.weights_path())
    assert any(not torch.equal(before[name], started[f"maps.{name}"]) for name in shared), (
        "the frame's own training"
    )
    rows = recipe.measured({"stdpose": propagator}, intervals=(7,), progress=False)
    methods = ["linear", "farneback", "single frame", "stdpose"]
    assert list(dict.fromkeys(r["method"] for r in rows)) == methods
    subsets = ["all joints", "visible joints", "occluded joints", "blurred joints"]
    assert [r["subset"] for r in rows[:4]] == subsets and {r["T"] for r in rows} == {7}
    by = {(r["method"], r["subset"]): r for r in rows}
    line = by["linear", "all joints"]
    assert line["metrics"]["AP-Mean"] > 40 > by["stdpose", "all joints"]["metrics"]["AP-Mean"]
    assert by["linear", "visible joints"]["n"] + by["linear", "occluded joints"]["n"] == line["n"]
    assert 0 < by["linear", "blurred joints"]["n"] < line["n"]
    assert by["linear", "blurred joints"]["metrics"]["PCKh"] < line["metrics"]["PCKh"], (
        "a line is worst at fast joints"
    )


def test_what_the_shipped_file_holds_is_not_trained_again(small_world, monkeypatch, tmp_path):
    """Neither the estimator in it nor the whole; what has other settings is, and so is all for
    `workbench train`.
    """
    start, shipped = recipe.weights_path(), tmp_path / "shipped.safetensors"
    settings = replace(recipe.TRAIN, steps=2)
    recipe.ship(shipped, settings, progress=False)
    monkeypatch.setattr(
        recipe, "weights_path", lambda name: shipped if name == "stdpose" else start
    )
    monkeypatch.setattr(recipe, "cache_folder", lambda: tmp_path / "elsewhere")

    def trained() -> list[str]:
        cards = (checkpoint.read_card(p) for p in recipe.cache_folder().glob("*/model.safetensors"))
        return sorted(card.get("variant", "frame") for card in cards)

    _, weights = recipe.train_variant("stdpose", settings, cap=2, progress=False)
    assert weights == shipped and trained() == []
    _, weights = recipe.train_variant("e", settings, cap=2, progress=False)
    own, before = checkpoint.read_tensors(weights), checkpoint.read_tensors(shipped)
    assert all(
        torch.equal(own[name], before[name])
        for name in own
        if name.startswith(("backbone.", "head."))
    )
    assert trained() == ["e"], "behind the shipped estimator"
    recipe.train_variant("stdpose", replace(settings, seed=1), cap=2, progress=False)
    assert trained() == ["e", "stdpose"]
    recipe.train_variant("stdpose", settings, cap=2, anew=True, progress=False)
    assert trained() == ["e", "frame", "stdpose", "stdpose"]


def test_the_single_frame_inside_is_the_estimator_itself(small_world):
    propagator, _ = recipe.train_variant("stdpose", recipe.TRAIN, cap=1, progress=False)
    frame, _ = recipe.train_frame(steps=1, progress=False)
    windows = recipe.people("test", 15, TINY, n=1)
    inside, own = (p.carry(windows, given=False) for p in (recipe.single_frame(propagator), frame))
    np.testing.assert_allclose(inside.xy_frame, own.xy_frame, atol=1e-3)


def test_evaluation_states_its_protocol(small_world):
    result = recipe.evaluate(variants=["e"], intervals=(15,), steps=1, progress=False)
    assert (
        recipe.WORLD.digest() in result["protocol"] and "1 steps of 3 people" in result["protocol"]
    )
    kinds = {(r["kind"], r["method"] if r["kind"] == "measured" else "") for r in result["rows"]}
    assert ("measured", "stdpose") in kinds and any(kind == "paper" for kind, _ in kinds)
    estimation = recipe.evaluate(task="estimation", variants=["e"], steps=1, progress=False)
    methods = {r["method"] for r in estimation["rows"] if r["kind"] == "measured"}
    assert methods == {"single frame", "stdpose"}, "no labels, no line between them"
    for wrong in ({"task": "guess"}, {"data": "nowhere"}, {"variants": ["z"]}):
        with pytest.raises(UnknownName):
            recipe.evaluate(**wrong, progress=False)


def test_the_shipped_file_loads_as_a_propagator(small_world, tmp_path):
    path = recipe.ship(
        tmp_path / "out" / "made.safetensors", replace(recipe.TRAIN, steps=2), progress=False
    )
    loaded = load(str(path))
    assert isinstance(loaded, Propagator) and loaded.model.config == TINY
    card = checkpoint.read_card(path)
    assert (
        "stdpose, T = 7, occluded joints" in card["metrics"] and card["skeleton"] == "posetrack15"
    )


def test_pseudo_labels_are_labels_and_what_is_carried_between(small_world):
    propagator = Propagator(build("stdpose", TINY))
    pairs = recipe._rendered("train", 2)
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


def test_table_3_compares_labels_alone_with_pseudo_labels(small_world, monkeypatch):
    monkeypatch.setattr(recipe, "NEW_CLIPS", 2)
    monkeypatch.setattr(
        recipe,
        "PSEUDO_TRAIN",
        replace(recipe.PSEUDO_TRAIN, batch_size=3, workers=0, precision="no"),
    )
    rows = recipe.pseudo_rows(
        Propagator(build("stdpose", TINY)), intervals=(7,), steps=1, progress=False
    )
    kinds = [(r["variant"], r["T"]) for r in rows if r["subset"] == "all joints"]
    assert kinds == [("labels alone", 7), ("with pseudo-labels", 7), ("all labels", 1)]
    shares = [r["metrics"]["labelled"] for r in rows if r["subset"] == "all joints"]
    labelled = recipe.Propagator(build("stdpose", TINY))
    for p in labelled.model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    trained = len(list(recipe.cache_folder().iterdir()))
    recipe.pseudo_rows(labelled, intervals=(7,), steps=1, progress=False)
    assert len(list(recipe.cache_folder().iterdir())) == trained + 1, (
        "another propagator's labels are learned anew"
    )
    assert shares[0] == shares[1] == pytest.approx(100 * 3 / 16) and shares[2] == 100


def test_nothing_is_carried_over_a_labelled_frame_in_which_somebody_is_missing(small_world):
    (clip, frames), *_ = recipe._rendered("train", 1)
    away = np.isin(np.arange(16), [5, 6, 7, 8])
    tracks = [
        replace(t, labelled=~away, visibility=t.visibility * ~away[:, None]) for t in clip.tracks
    ]
    # labels at 0, 4, 12
    (sparse,) = recipe.sparse_pairs([(replace(clip, tracks=tracks), frames)], 4)
    carrier = Propagator(build("stdpose", TINY))
    ((dense, _),) = recipe.carried_pairs(carrier, [sparse], 4, progress=False)
    assert np.flatnonzero(dense.tracks[0].labelled).tolist() == [0, 1, 2, 3, 4, 12]


def test_sizes_of_table_6_have_estimators_of_their_own(small_world, monkeypatch):
    wide = replace(TINY, size=(64, 96))
    monkeypatch.setattr(recipe, "VARIANTS", recipe.VARIANTS | {"384x288": wide})
    result = recipe.evaluate(variants=["e", "384x288"], steps=1, progress=False)
    rows = [r for r in result["rows"] if r["kind"] == "measured" and r["subset"] == "all joints"]
    assert [r["variant"] for r in rows] == [
        "linear",
        "farneback",
        "single frame",
        "e",
        "single frame, 96 x 64",
        "384x288",
    ]
    cards = [
        checkpoint.read_card(path) for path in recipe.cache_folder().glob("*/model.safetensors")
    ]
    assert sorted(card["config"]["size"] for card in cards) == [
        [32, 64],
        [32, 64],
        [64, 96],
        [64, 96],
    ]


def test_variants_are_the_rows_of_tables_4_to_6():
    assert len(recipe.TABLE_5) == 19 and {"b", "c", "d", "e", "k5_theta0", "k0.5_theta0.7"} <= set(
        recipe.VARIANTS
    )
    assert recipe.VARIANTS["k2_theta0.2"] == replace(recipe.SMALL, k=2.0, theta=0.2)
    sizes = {
        name: recipe._published_config(name).size
        for name in ("stdpose", "224x168", "384x288", "k2_theta0.2")
    }
    assert sizes == {
        "stdpose": (192, 256),
        "224x168": (168, 224),
        "384x288": (288, 384),
        "k2_theta0.2": (192, 256),
    }
    assert recipe.VARIANTS["224x168"].size == (84, 112) and recipe.VARIANTS["224x168"].padded == (
        96,
        112,
    )
    assert recipe._published_config("a").frame_weight == 0 and not recipe._published_config("e").mi


def published(root, there=(range(7), range(7))):
    """Two halves in PoseTrack18's layout: seven frames of noise, all labelled, people in these
    of them.
    """
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        sequence = f"000001_made_{split}"
        people = [
            person(t, i, at=20 + 5 * i + t, bbox=[15, 15, 50, 60])
            for t in range(7)
            for i, at in enumerate(there)
            if t in at
        ]
        value = content(*people, labelled=range(7), sequence=sequence)
        for image in value["images"]:
            image["file_name"] = f"images/{split}/{sequence}/{image['frame_id'] % 100:06d}.jpg"
            (root / image["file_name"]).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(
                str(root / image["file_name"]), rng.integers(0, 255, (96, 128, 3), np.uint8)
            )
        write(root / "annotations" / split, value, f"{sequence}.json")
    return f"posetrack18:{root}"


@pytest.fixture
def posetrack18(tmp_path):
    return published(tmp_path / "posetrack18")


def test_labels_of_posetrack_are_those_of_every_t_th_frame_of_the_video(
    small_world, monkeypatch, tmp_path
):
    """0, 3 and 6, whenever somebody comes; who is gone between two of them is looked for, and
    found by mistake.
    """
    data = published(tmp_path / "posetrack18", (range(7), (0, 2, 3, 4, 5, 6), range(2, 7)))
    windows = recipe.published_windows(*recipe.otpose.read_published(data, "val"), TINY, 3)
    assert sorted(windows.items[:, 1:].tolist()) == [
        [0, 1],
        [0, 2],
        [0, 4],
        [0, 5],
        [1, 1],
        [1, 2],
        [1, 4],
        [1, 5],
        [2, 4],
        [2, 5],
    ]
    assert windows.poses().labelled.any(1).sum() == 9, "nobody in frame 1 is the second person"
    monkeypatch.setattr(recipe, "PAPER", replace(TINY, frozen=False))
    result = recipe.evaluate(
        data, variants=["stdpose", "d"], intervals=(3,), steps=1, device="cpu", progress=False
    )
    assert "9 of 10 people in labelled frames" in result["protocol"], (
        "the third one's first frame has no label before it"
    )
    ours = [r for r in result["rows"] if r["kind"] == "measured"]
    assert [r["variant"] for r in ours] == [
        "linear",
        "farneback",
        "single frame",
        "stdpose",
        "d",
    ], "others once"
    assert 70 < ours[0]["metrics"]["AP-Mean"] < 99.9 and ours[0]["metrics"]["PCKh"] == 100, (
        "a mistake, all else right"
    )


def test_table_3_on_posetrack(small_world, posetrack18, monkeypatch):
    monkeypatch.setattr(recipe, "PAPER", replace(TINY, frozen=False))
    options = {"task": "pseudo", "steps": 1, "device": "cpu", "progress": False}
    result = recipe.evaluate(posetrack18, intervals=(3,), **options)
    ours = [r for r in result["rows"] if r["kind"] == "measured"]
    assert [(r["variant"], r["T"]) for r in ours] == [
        ("labels alone", 3),
        ("with pseudo-labels", 3),
        ("all labels", 1),
    ]
    assert [r["metrics"]["labelled"] for r in ours] == [
        pytest.approx(300 / 7),
        pytest.approx(300 / 7),
        100,
    ]
    for told in (
        "labels alone, T = 3: stdpose: 1 steps of 2 people from random weights, 6 to learn from",
        "14 to learn",
    ):
        assert told in result["protocol"]
    assert any(r["kind"] == "paper" and r.get("method") == "FAMI-Pose" for r in result["rows"])
    for data, variants in ((posetrack18, ["e"]), ("synthetic", ["e", "stdpose"])):
        with pytest.raises(BadParameter, match="asks one network"):
            recipe.evaluate(data, variants=variants, **options)


def test_estimators_look_as_far_as_they_learned(small_world, posetrack18, monkeypatch):
    monkeypatch.setattr(recipe, "PAPER", replace(TINY, frozen=False))
    seen = {}
    for task, intervals in (("propagation", (3,)), ("estimation", None)):
        recipe.evaluate(
            posetrack18, task=task, intervals=intervals, steps=1, device="cpu", progress=False
        )
        for path in recipe.cache_folder().glob("*/model.safetensors"):
            seen[checkpoint.read_card(path)["task"]] = load(str(path))
    assert {task: propagator.reach for task, propagator in seen.items()} == {
        "propagation": 3,
        "estimation": 1,
    }
    crops = torch.rand(2, 3, 3, *TINY.size[::-1], generator=torch.Generator().manual_seed(0))
    found = seen["estimation"].read(crops)
    inputs = {"images": crops, "distance": torch.ones(2, 2)}
    with torch.inference_mode():
        xy, _ = seen["estimation"].model.eval().decode(seen["estimation"].model(**inputs))
    np.testing.assert_allclose(found.xy_crop, xy.numpy(), atol=1e-3)


def test_labels_can_be_kept_from_the_training(small_world):
    result = recipe.evaluate(variants=["e"], intervals=(15,), given=0.0, steps=1, progress=False)
    assert "labels told to 0% of them" in result["protocol"]
    with pytest.raises(BadParameter, match="share from 0 to 1"):
        recipe.evaluate(given=1.5)


def test_posetrack_as_the_user_has_it(small_world, posetrack18, monkeypatch):
    monkeypatch.setattr(recipe, "PAPER", replace(TINY, frozen=False))
    options = {
        "variants": ["stdpose"],
        "intervals": (3,),
        "steps": 1,
        "device": "cpu",
        "progress": False,
    }
    for task, methods in (
        ("propagation", ["linear", "farneback", "single frame", "stdpose"]),
        ("estimation", ["single frame", "stdpose"]),
    ):
        result = recipe.evaluate(posetrack18, task=task, **options)
        ours = [r for r in result["rows"] if r["kind"] == "measured"]
        gap, people, seen = (
            (3, 8, "8 of 8 people") if task == "propagation" else (1, 14, "14 people")
        )
        assert [(r["method"], r["subset"], r["T"]) for r in ours] == [
            (name, "all joints", gap) for name in methods
        ]
        assert f"{seen} in labelled frames" in result["protocol"]
        assert f"random weights, {people} to learn from" in result["protocol"]
        assert ("labels told to 70% of them" in result["protocol"]) == (task == "propagation")
        assert "STDPose" in {r.get("method") for r in result["rows"] if r["kind"] == "paper"}
        if task == "propagation":
            assert ours[0]["metrics"]["AP-Mean"] > 90, "everybody moves on a line here"
    with pytest.raises(MissingData, match="between labels 8 frames apart"):
        recipe.evaluate(posetrack18, **options | {"intervals": (8,), "variants": ["e"]})


def test_estimation_in_a_detector_s_boxes(small_world, posetrack18, monkeypatch, tmp_path):
    """Perfect boxes are the ground truth's, with poses and all; a box less is a person less."""
    monkeypatch.setattr(recipe, "PAPER", replace(TINY, frozen=False))
    clips, _ = recipe.otpose.read_published(posetrack18, "val")
    (clip,), seen = clips, []
    perfect = [
        {"image_id": clip.pictures[t].id, "category_id": 1, "score": 0.5, "bbox": [15, 15, 50, 60]}
        for t in range(7)
        for _ in clip.tracks
    ]
    rows_of = recipe.otpose.rows_of
    monkeypatch.setattr(
        recipe.otpose,
        "rows_of",
        lambda name, found, *a, **kw: seen.append(found) or rows_of(name, found, *a, **kw),
    )
    options = {"task": "estimation", "steps": 1, "device": "cpu", "progress": False}
    kinds = [recipe.evaluate(posetrack18, **options)["boxes"]]
    for boxes in (perfect, perfect[:-1]):
        (tmp_path / "boxes.json").write_text(json.dumps(boxes))
        result = recipe.evaluate(posetrack18, boxes=tmp_path / "boxes.json", **options)
        kinds.append(result["boxes"])
        assert "PCKh" not in result["rows"][0]["metrics"]
    assert (
        kinds == ["ground truth", "detector", "detector"]
        and [len(f) for f in seen] == [14] * 4 + [13] * 2
    )
    order = [np.lexsort((f.frames, f.tracks)) for f in (seen[1], seen[3])]
    own, other = (f.select(o) for f, o in zip((seen[1], seen[3]), order))
    np.testing.assert_allclose(own.xy_frame, other.xy_frame, atol=1e-3)
    np.testing.assert_allclose(0.5 * own.confidence, other.confidence, atol=1e-5)
    for given in ({"task": "propagation"}, {"task": "estimation", "data": "synthetic"}):
        with pytest.raises(BadParameter, match="detector's boxes"):
            recipe.evaluate(**{"data": posetrack18, "boxes": "boxes.json"} | given)


def test_published_positions_are_fitted_to_the_grid(monkeypatch, tmp_path):
    """Weights of crops of 192 x 256 in a network that reads 288 x 384."""
    torch.manual_seed(0)
    config = tiny("stdpose")
    net = {"size": (48, 64)}, {"size": (96, 128)}
    small, large = (build("stdpose", replace(config, **size)) for size in net)
    state = {k: v.clone() for k, v in small.state_dict().items() if k.startswith("backbone.")}
    ramp = torch.arange(4.0)[:, None].expand(4, 3).reshape(1, 12, 1)
    state["backbone.net.pos_embed"] = ramp.expand_as(state["backbone.net.pos_embed"]).clone()
    monkeypatch.setattr(recipe.otpose, "weights_at_hand", lambda *_: tmp_path / "vitpose.pth")
    monkeypatch.setattr(recipe.checkpoint, "read_public", lambda _: {})
    monkeypatch.setattr(recipe, "public_weights", lambda _: state)
    assert recipe.start_weights(large) == "COCO (vitpose.pth)"
    rows = large.backbone.net.pos_embed.reshape(8, 6, -1)
    assert (rows.diff(dim=0) > 0).all() and torch.allclose(rows[:, :1], rows, atol=1e-4)
    monkeypatch.setattr(recipe.otpose, "weights_at_hand", lambda *_: None)
    assert recipe.start_weights(large) is None
