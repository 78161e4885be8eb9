"""Values of `metrics.json`: COCO's evaluator, and MMPose's functions where `metrics` has
a counterpart.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench import geometry, metrics
from workbench.data.scoring import score_files

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def values(parity_root):
    return json.loads((parity_root / "metrics.json").read_text())


def test_coco_s_numbers(values, tmp_path):
    stored = values["coco"]
    for name in ("gt", "dets"):
        (tmp_path / name).write_text(json.dumps(stored[name]))
    ours = score_files(tmp_path / "dets", tmp_path / "gt")["rows"][0]["metrics"]
    wanted = stored["out"]["stats"]
    assert {key: ours[key] for key in wanted} == pytest.approx(wanted, abs=1e-9)


def test_coco_s_similarities(values):
    stored = values["coco"]
    sigmas = np.array(stored["out"]["sigmas"])
    for key, wanted in stored["out"]["oks_by_image"].items():
        image = int(key.split(",")[0])
        people = [a for a in stored["gt"]["annotations"] if a["image_id"] == image]
        found = sorted(
            (d for d in stored["dets"] if d["image_id"] == image), key=lambda d: -d["score"]
        )[:20]
        truth, pred = (
            np.array([a["keypoints"] for a in rows]).reshape(-1, 17, 3) for rows in (people, found)
        )
        boxes = geometry.xywh_to_xyxy(np.array([a["bbox"] for a in people]))
        areas = np.array([a["area"] for a in people])
        ours = metrics.oks(pred[..., :2], truth[..., :2], truth[..., 2] > 0, areas, sigmas, boxes)
        np.testing.assert_allclose(ours, np.array(wanted), rtol=1e-6, atol=1e-9)


def test_mmpose_s_pck_and_errors(values):
    """MMPose divides x and y by sizes of their own, leaves the limit out, and shares of joints
    nobody has are -1.
    """
    given, out = values["mmpose"]["inp"], values["mmpose"]["out"]
    pred, truth, use, sizes = (
        np.array(given[key]) for key in ("pred", "gt", "mask", "norm_factor")
    )
    use = use & (sizes > 0).all(1)[:, None]
    scale = np.where(sizes > 0, sizes, 1)[:, None]
    for threshold in (0.05, 0.1, 0.2):
        wanted = out[f"pck@{threshold:g}"]
        ours = metrics.pck(pred / scale, truth / scale, np.ones(len(pred)), threshold, use)
        np.testing.assert_allclose(np.nan_to_num(ours, nan=-1), wanted["acc"])
        assert (
            np.nanmean(ours) == pytest.approx(wanted["avg"])
            and np.isfinite(ours).sum() == wanted["cnt"]
        )
    mask = np.array(given["mask"])
    assert metrics.joint_distances(pred, truth)[mask].mean() == pytest.approx(out["epe"])


def test_mmpose_s_oks(values):
    """MMPose's similarity for suppression: all joints, and the mean of the two areas as the
    scale.
    """
    given, out = values["mmpose"]["inp"], values["mmpose"]["out"]
    poses = np.array(given["oks_keypoints"]).reshape(-1, 7, 3)
    areas, rest = np.array(given["oks_area"]), slice(1, None)
    use, boxes = np.ones(poses[rest, :, 0].shape, bool), np.zeros((len(poses) - 1, 4))
    scale = (areas[0] + areas[rest]) / 2
    ours = metrics.oks(
        poses[:1, :, :2], poses[rest, :, :2], use, scale, np.array(given["sigmas"]), boxes
    )
    np.testing.assert_allclose(ours[0], out["oks_iou_0_vs_rest"], rtol=1e-6)  # stored from fp32
