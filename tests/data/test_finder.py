"""The finder, with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.data import finder as module
from workbench.data.finder import FINDER, build_finder, find_people, load_finder
from workbench.data.manifest import manifest
from workbench.errors import ChecksumMismatch, MissingData, UnknownName


@pytest.fixture(scope="module")
def finder():
    torch.manual_seed(0)
    return build_finder(
        min_size=48,
        max_size=64,
        box_detections_per_img=3,
        rpn_post_nms_top_n_test=20,
        box_score_thresh=0.0,
    )


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_found_people_are_detections(finder, batch, rng):
    frames = rng.integers(0, 256, (3, 47, 61, 3), np.uint8)
    one = find_people(frames, finder, batch=batch, min_score=0.0)
    assert (
        one.skeleton == "coco17"
        and one.frames.tolist() == sorted(one.frames.tolist())
        and one.frames.max() == 2
    )
    assert len(one.ids) == len(one) > 3 and 0 <= one.confidence.min() < one.confidence.max() <= 1
    with torch.inference_mode():
        raw = finder([torch.tensor(frames[1]).permute(2, 0, 1) / 255])[0]
    np.testing.assert_allclose(
        one.xy_frame[one.frames == 1], raw["keypoints"][..., :2], rtol=1e-3, atol=0.1
    )
    assert (
        len(find_people(frames, finder, min_score=1.1)) == 0 == len(find_people(frames[:0], finder))
    )


def test_weights_that_are_not_here_are_named_with_both_ways_out(tmp_path):
    ways = r"lacks .*\.pth.*workbench data fetch .*; or bring your own results with --keypoints"
    with pytest.raises(MissingData, match=ways):
        load_finder(f"{FINDER}:{tmp_path}")


def test_weights_must_have_the_checksum_of_their_manifest(tmp_path, monkeypatch):
    (tmp_path / "keypointrcnn_resnet50_fpn_coco-fc266e95.pth").write_bytes(b"x")
    with pytest.raises(ChecksumMismatch, match=r"fc266e953d2b\w+ expected"):
        load_finder(f"{FINDER}:{tmp_path}")
    monkeypatch.setattr(module, "sha256_of", lambda p: "fc266e95" + 56 * "0")
    with pytest.raises(ChecksumMismatch):
        load_finder(f"{FINDER}:{tmp_path}")


def test_weights_load(finder, tmp_path, monkeypatch):
    path = tmp_path / "keypointrcnn_resnet50_fpn_coco-fc266e95.pth"
    torch.save(finder.state_dict(), path)
    monkeypatch.setattr(module, "sha256_of", lambda p: manifest(FINDER).downloads[0].sha256)
    loaded = load_finder(f"{FINDER}:{tmp_path}").state_dict()
    assert all(torch.equal(v, loaded[k]) for k, v in finder.state_dict().items())


def test_finders_are_known_by_name():
    with pytest.raises(UnknownName, match=r"unknown finder 'torchvision'.*torchvision_keypointr"):
        load_finder("torchvision")
