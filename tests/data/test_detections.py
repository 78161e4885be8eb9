from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.data.detections import read_detections
from workbench.errors import BadFile, BadRecord, EmptyFile, MissingFile, UnknownName, WorkbenchError

K = 21


def batch(rng, ids):
    n = len(ids)
    return {
        "preds": (rng.uniform(0, 100, (n, K, 3)) / [1, 1, 100]).astype(np.float32),
        "boxes": np.tile(np.array([50, 60, 0.5, 0.25, 5000, 0.5], np.float32), (n, 1)),
        "image_paths": [f"set/{i}.jpg" for i in ids],
        "bbox_ids": list(ids),
        "output_heatmap": None,
    }


def write(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.fixture
def batches(rng):
    return [batch(rng, [3, 1, 4]), batch(rng, [0, 2])]


def npz_of(path, batches):
    columns = {
        key: np.concatenate([b[key] for b in batches])
        for key in ("preds", "boxes", "image_paths", "bbox_ids")
    }
    np.savez_compressed(path, **columns)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_rows_come_in_the_order_of_bbox_ids(batches, tmp_path, protocol):
    found = read_detections(write(tmp_path / "d.pkl", batches, protocol))
    assert found.ids == ("0", "1", "2", "3", "4")
    assert found.images[3] == "set/3.jpg"
    assert found.skeleton == "hand21"
    np.testing.assert_array_equal(found.xy_frame[3], batches[0]["preds"][0, :, :2])
    np.testing.assert_array_equal(found.confidence[0], batches[1]["preds"][0, :, 2])
    # 50 -+ 200 * 0.5 / 2, 60 -+ 200 * 0.25 / 2
    np.testing.assert_allclose(found.boxes_xyxy[0], [0, 35, 100, 85])
    np.testing.assert_allclose(found.scores, found.confidence.mean(1) / 2, rtol=1e-6)


@pytest.mark.parametrize("old", [True, False])
def test_both_numpy_spellings(batches, tmp_path, old):
    raw = pickle.dumps([*batches, batch(np.random.default_rng(1), [9])], 2)
    assert b"numpy._core.multiarray" in raw or b"numpy.core.multiarray" in raw
    raw = raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    path = tmp_path / "d.pickle"
    path.write_bytes(
        raw if old else raw.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    )
    assert len(read_detections(path)) == 6


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (lambda b: b[1].pop("boxes"), BadRecord, "batch 1: boxes is missing"),
        (
            lambda b: b[1].update(preds=b[1]["preds"][:, :19]),
            BadRecord,
            r"batch 1: preds has shape \(2, 19, 3\)",
        ),
        (lambda b: b[0].update(preds=b[0]["preds"][0]), BadRecord, "batch 0: preds has shape"),
        (
            lambda b: b[0]["preds"].__setitem__((1, 2, 0), np.nan),
            BadRecord,
            r"preds .* not finite at \(1, 2, 0\)",
        ),
        (lambda b: b[0]["boxes"].__setitem__((1, 2), np.inf), BadRecord, "boxes .* not finite"),
        (
            lambda b: b[0]["boxes"].__setitem__((1, 2), 0),
            BadRecord,
            "box of bbox_id 1 has size <= 0",
        ),
        (
            lambda b: b[0]["boxes"].__setitem__((1, 2), 3e38),
            BadRecord,
            "batch 0: box of bbox_id 1 is beyond",
        ),
        (
            lambda b: b[0]["boxes"].__setitem__((1, slice(0, 3)), [1e9, 0, 1e-3]),
            BadRecord,
            "box of bbox_id 1 is beyond",
        ),
        (
            lambda b: (b[0]["boxes"][1:, 5:].fill(3e38), b[0]["preds"][..., 2].fill(2)),
            BadRecord,
            "score of bbox_id 1",
        ),
        (
            lambda b: b[0]["preds"].__setitem__((1, 2, 2), -0.02),
            BadRecord,
            "bbox_id 1: confidence -0.02 of joint 2",
        ),
        (
            lambda b: b[0]["preds"].__setitem__((1, 2, 2), 10.1),
            BadRecord,
            "bbox_id 1: confidence 10.1 of joint 2",
        ),
        (
            lambda b: b[0]["bbox_ids"].__setitem__(0, 2),
            BadRecord,
            "bbox_id 2: 1 bbox_ids stand more than once",
        ),
        (
            lambda b: b[0]["bbox_ids"].__setitem__(0, 2**70),
            BadRecord,
            "bbox_ids holds an integer beyond 64 bits",
        ),
        (lambda b: b[0]["image_paths"].pop(), BadRecord, "image_paths has 2 entries, 3 expected"),
        (lambda b: b[0].update(image_paths=[1, 2, 3]), BadRecord, "image_paths is no list of text"),
        (lambda b: b.__setitem__(0, "x"), BadRecord, "batch 0: str"),
        (lambda b: b.clear(), BadFile, "no batches"),
    ],
)
def test_bad_batches_are_named(batches, tmp_path, change, kind, text):
    change(batches)
    path = write(tmp_path / "d.pkl", batches)
    with pytest.raises(kind, match=text) as caught:
        read_detections(path)
    assert caught.value.file == str(path)


def test_bad_files_are_named(batches, tmp_path):
    path = write(tmp_path / "d.pkl", batches)
    with pytest.raises(BadRecord, match="21 joints, 17 expected by coco17"):
        read_detections(path, skeleton="coco17")
    with pytest.raises(UnknownName, match="hand21"):
        read_detections(path, skeleton="hand22")
    whole = path.read_bytes()
    for cut in (1, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadFile, match="truncated"):
            read_detections(path)
    path.write_bytes(b"")
    with pytest.raises(EmptyFile):
        read_detections(path)
    with pytest.raises(MissingFile):
        read_detections(tmp_path / "none.pkl")
    with pytest.raises(BadFile, match=r"\.txt"):
        read_detections(tmp_path / "d.txt")
    with pytest.raises(BadFile, match="holds a dict"):
        read_detections(write(path, {}))


def test_npz_is_the_same_as_the_pickle(batches, tmp_path):
    a = read_detections(write(tmp_path / "d.pkl", batches))
    b = read_detections(npz_of(tmp_path / "d.npz", batches))
    assert a.ids == b.ids and a.images == b.images
    for field in ("xy_frame", "confidence", "boxes_xyxy", "scores"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def test_npz_with_objects_or_damage_is_refused(batches, tmp_path):
    path = npz_of(tmp_path / "d.npz", batches)
    whole = path.read_bytes()
    np.savez(path, preds=np.array([{}], object))
    with pytest.raises(BadFile, match="Python objects"):
        read_detections(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFile, match="not an npz file"):
        read_detections(path)
    np.savez(path, preds=np.zeros((1, K, 3)))
    with pytest.raises(BadRecord, match="boxes is missing"):
        read_detections(path)


RESULT = {
    "image_id": 7,
    "category_id": 1,
    "score": 0.5,
    "keypoints": [v / (1 + 99 * (v % 3 == 0)) for v in range(1, 52)],
}


def results(path, *changes):
    path.write_text(json.dumps([{**RESULT, **change} for change in changes]))
    return path


def test_coco_results(tmp_path):
    floats = read_detections(results(tmp_path / "f.json", {"image_id": 7.0}))
    assert (floats.images, floats.frames.tolist()) == (("7",), [7]), "as tables export it"
    found = read_detections(
        results(tmp_path / "r.json", {}, {"bbox": [10, 20, 30, 50], "image_id": "a"})
    )
    assert found.skeleton == "coco17" and found.images == ("7", "a")
    np.testing.assert_array_equal(found.boxes_xyxy, [[1, 2, 49, 50], [10, 20, 40, 70]])
    np.testing.assert_array_equal(found.xy_frame[0, :2], [[1, 2], [4, 5]])
    np.testing.assert_allclose(found.confidence[0, :2], [0.03, 0.06])
    np.testing.assert_array_equal(found.scores, [0.5, 0.5])
    assert len(read_detections(results(tmp_path / "e.json"), skeleton="coco17")) == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"keypoints": RESULT["keypoints"][:-1]}, r"length 50 \(51 expected\)"),
        ({"keypoints": [float("nan"), *RESULT["keypoints"][1:]]}, "not finite at 0"),
        ({"keypoints": [10**400, *RESULT["keypoints"][1:]]}, "not finite"),
        ({"keypoints": ["1", *RESULT["keypoints"][1:]]}, "str, number expected"),
        (
            {"keypoints": [*RESULT["keypoints"][:2], 99.5, *RESULT["keypoints"][3:]]},
            "confidence 99.5 of joint 0",
        ),
        ({"score": None}, "score"),
        ({"score": [1]}, r"score\[0\] is list, number expected"),
        ({"bbox": [3e38, 0, 3e38, 1]}, "none that float32 can hold"),
        ({"image_id": [1]}, "image_id is list"),
        ({"image_id": 7.5}, "image_id is float"),
        ({"bbox": [1, 2, -3, 4]}, "bbox width <= 0: -3"),
    ],
)
def test_bad_coco_results_are_named(tmp_path, change, text):
    path = results(tmp_path / "r.json", {}, change)
    with pytest.raises(BadRecord, match=text) as caught:
        read_detections(path)
    assert (caught.value.file, caught.value.record) == (str(path), "result 1")


def test_annotations_are_not_results(tmp_path):
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(BadFile, match="read_coco"):
        read_detections(tmp_path / "r.json")
    (tmp_path / "r.json").write_text("[]")
    with pytest.raises(BadFile, match="empty list"):
        read_detections(tmp_path / "r.json")


def _bases() -> dict[str, bytes]:
    rng, small = np.random.default_rng(0), io.BytesIO()
    content = [batch(rng, [0, 1])]
    np.savez(small, **{k: np.asarray(v) for k, v in content[0].items() if v is not None})
    bases = {f"{p}.pkl": pickle.dumps([{**content[0], "x": np.float32(1)}], p) for p in range(6)}
    return bases | {"d.npz": small.getvalue(), "r.json": json.dumps([RESULT, RESULT]).encode()}


BASES = _bases()
PIECE = st.binary(max_size=5)
EDITS = st.lists(
    st.tuples(st.floats(0, 1), PIECE, st.integers(0, 5) | st.none()), min_size=1, max_size=4
)  # None: as many bytes as are written, so that what follows stays in place


@pytest.mark.parametrize("base", BASES)
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=EDITS, head=st.booleans())
def test_mutated_files_end_as_named_errors(tmp_path, base, edits, head):
    raw = BASES[base]
    for where, new, removed in edits:  # near the head, where the structure is, or anywhere
        at = int(where * min(len(raw), 400 if head else len(raw)))
        raw = raw[:at] + new + raw[at + (len(new) if removed is None else removed) :]
    path = tmp_path / base
    path.write_bytes(raw or b"x")
    try:
        found = read_detections(path)
    except WorkbenchError:
        return
    assert np.isfinite(found.xy_frame).all() and np.isfinite(found.boxes_xyxy).all()


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "skeleton", "n"), [("coco", "coco17", 55), ("crowdpose", "crowdpose14", 6)]
)
def test_real_coco_results(data_root, name, skeleton, n):
    found = read_detections(data_root / "eval_examples" / f"{name}_preds.json", skeleton=skeleton)
    assert len(found) == n
