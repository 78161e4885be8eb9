"""PORT for bodies: what its batches hold, how its rule is chosen, what rows say. Nothing is
trained here.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench import metrics
from workbench.errors import BadRecord, MissingFile
from workbench.made.detectors import Detector
from workbench.models import build, config_of
from workbench.predict import PortRefiner
from workbench.recipes import bodies
from workbench.skeletons import skeleton


def rng():
    return np.random.default_rng(3)


def test_batches_mark_the_least_confident_and_ask_for_labelled_joints():
    source = bodies.file_batches(config_of("port", "abstain"), 64)
    batch = source(0, rng())
    mask, known, sure = batch["mask"], batch["known"], batch["confidence"]
    assert 0.05 < mask.float().mean() < 0.75 and 0.5 < known.float().mean() < 0.8
    lowest_seen = torch.where(mask, 2.0, sure).amin(1)
    highest_hidden = torch.where(mask, sure, -1.0).amax(1)
    assert (highest_hidden <= lowest_seen).all()
    assert all(torch.isfinite(v.float()).all() for v in batch.values())
    again = source(0, rng())
    assert all(torch.equal(batch[key], again[key]) for key in batch)
    errors = []
    for seed in range(8):
        batch = source(0, np.random.default_rng(seed))
        error = (batch["xy"] - batch["truth"]).norm(dim=-1)
        errors.append([error[m & batch["known"]].mean() for m in (batch["mask"], ~batch["mask"])])
    hidden, seen = np.mean(errors, 0)
    assert hidden > 1.2 * seen


def test_batches_do_not_show_the_scale_of_a_detector_s_confidence():
    """Two detectors that differ in it alone make the same batch."""

    def batch(warp):
        def sample(n, generator):
            pose = bodies.sample_people(n, generator)
            detector = replace(Detector.draw(np.random.default_rng(1)), warp=warp)
            return pose, detector.apply(pose, generator)

        return bodies.file_batches(config_of("port", "abstain"), 16, sample)(0, rng())

    a, b = batch(0.7), batch(1.4)
    assert torch.equal(a["mask"], b["mask"])
    torch.testing.assert_close(a["confidence"], b["confidence"], atol=0.02, rtol=0)


def test_files_of_every_kind_are_what_their_names_say():
    before = {}
    for kind, (truth, detected) in bodies.made_files(3, 5):
        error = bodies.worth(detected.xy_frame, truth).error
        before.setdefault(kind, []).append(np.nanmean(error))
    assert list(before) == list(bodies.KINDS) and {len(v) for v in before.values()} == {3}
    means = {kind: np.mean(errors) for kind, errors in before.items()}
    assert means["better"] < 0.5 * means["alike"] and means["alike"] < means["worse"]


def test_worth_is_oks_and_shares_of_scale():
    truth = bodies.sample_people(7, rng())
    moved = truth.xy_frame + np.float32([3, 4])
    found = bodies.worth(moved, truth)
    area = metrics.person_areas(truth, "box")
    expected = np.where(truth.labelled, 5 / np.sqrt(area)[:, None], np.nan)
    np.testing.assert_allclose(found.error, expected, rtol=1e-4)
    sigmas = np.array(skeleton("coco17").oks_sigmas)
    person = (truth.xy_frame, truth.labelled, area, sigmas, truth.boxes_xyxy)
    np.testing.assert_allclose(found.oks, np.diag(metrics.oks(moved, *person)))


def files(*columns, apart=1.0):
    """Twenty files of a kind. A column a margin of (mean, low, change, joints, share); the others
    lose.
    """
    lost = [[-0.1, -0.2, 1.0, 5, 0.1]] * (len(bodies.MARGINS) - len(columns))
    return [(apart, np.array([*columns, *lost]))] * 20


def test_limits_keep_the_promise_and_gain_the_most():
    good, better = [0.01, 0.0, -1, 5, 0.2], [0.02, 0.0, -1, 5, 0.2]
    bad, worse = [0.03, -0.004, -1, 5, 0.2], [0.03, 0.0, 1, 5, 0.2]
    choose, margins = bodies.choose_limits, bodies.MARGINS
    assert choose({"a": files(good, better)}) == (0.0, margins[1])
    assert choose({"a": files(good, bad)}) == (0.0, margins[0])
    assert choose({"a": files(good, worse)}) == (0.0, margins[0]), "joints must come closer"
    few = files(good, bad)[:1] + files(good, better)[1:]
    assert choose({"a": few}) == (0.0, margins[1]), "one file of twenty may lose"
    assert choose({"a": few[:10]}) == (0.0, margins[0]), "one of ten may not"
    mixed = {"a": files(good, better), "b": files(good, bad)}
    assert choose(mixed) == (0.0, margins[0]), "every kind counts"
    assert choose({"a": files(bad)}) == (0.0, 1.0)


def test_a_floor_leaves_good_detectors_alone():
    good, bad = [0.01, 0.0, -1, 5, 0.2], [-0.01, -0.02, 1, 5, 0.2]
    table = {"a": files(good), "b": files(bad, apart=0.55)}
    assert bodies.choose_limits(table) == (0.6, bodies.MARGINS[0])


def refiner_with(margin):
    torch.manual_seed(1)
    return PortRefiner(build("port", "abstain"), replace(bodies.open_rule(17), margin=margin))


def test_rows_are_paired_with_the_detector():
    file = bodies.sample_file(13, rng())
    fitted = refiner_with(0.0).fitted(file[1])
    mask = fitted.mask(file[1])
    middle = float(np.median(fitted.judged(file[1], mask).gain[mask]))
    people = [[str(i) for i in range(13)]]
    rows = bodies.file_scores([file], refiner_with(middle), "made", people)
    detector, ours, everything = (rows[name][0] for name in bodies.ANSWERS)
    assert detector.n == ours.n == 13 and not detector.whole
    assert 0 < ours.whole["replaced_share"] < everything.whole["replaced_share"]
    assert everything.whole["replaced_share"] == pytest.approx(bodies.SHARE, abs=0.01)
    whole = everything.whole
    change = whole["replaced_error"] - whole["replaced_error_detector"]
    assert whole["replaced_change"] == pytest.approx(change)
    low, high = everything.ends["replaced_change"]
    assert low < change < high
    rows = bodies.file_scores([file], refiner_with(2.0), "made", people)
    np.testing.assert_array_equal(rows["port"][0].values["oks"], detector.values["oks"])
    assert rows["port"][0].whole == {"replaced_share": 0, "replaced_share_labelled": 0}


@pytest.fixture
def estimated(tmp_path, monkeypatch):
    """Three annotated people, one without a labelled joint, and an estimator's answers."""
    categories = [{"id": 1, "name": "person", "keypoints": list(skeleton("coco17").joints)}]
    joints = [[10.0 * j, 5.0 * j, 2] for j in range(17)]
    people = [
        {"id": 7 + i, "image_id": i, "category_id": 1, "bbox": [0, 0, 160, 80], "area": 6400.0}
        | {"iscrowd": 0, "num_keypoints": 17 * (i != 1)}
        | {"keypoints": np.ravel(joints).tolist() if i != 1 else [0] * 51}
        for i in range(3)
    ]
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(3)]
    truth = {"images": images, "annotations": people, "categories": categories}
    said = [[x + 3, y + 4, 0.5] for x, y, _ in joints]
    results = [
        {"image_id": i, "category_id": 1, "annotation_id": 7 + i, "score": 0.5}
        | {"bbox": [0, 0, 160, 80], "keypoints": np.ravel(said).tolist()}
        for i in (2, 1, 0)
    ]
    file = tmp_path / "coco" / "annotations" / "person_keypoints_val2017.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(truth))
    place = tmp_path / "real_detections" / "mine_in_truth_boxes.json"
    place.parent.mkdir()
    place.write_text(json.dumps(results))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    return place, results


def test_answers_are_matched_by_annotation(estimated):
    place, results = estimated
    file, truth, detected = bodies.read_in_truth_boxes("real_detections")
    assert file == place and truth.ids == ("9", "7") and detected.images == ("2", "0")
    np.testing.assert_allclose(bodies.worth(detected.xy_frame, truth).error, 5 / 80, rtol=1e-5)
    results[0]["annotation_id"] = 99
    place.write_text(json.dumps(results))
    with pytest.raises(BadRecord, match="annotation_id 99"):
        bodies.read_in_truth_boxes("real_detections")
    place.with_name("second_in_truth_boxes.json").write_text("[]")
    with pytest.raises(MissingFile, match="2 files"):
        bodies.read_in_truth_boxes("real_detections")
