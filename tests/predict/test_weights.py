"""Which weights a name stands for, and what is refused before they are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.models.test_published import HRNET, RESNET, VIT_SIMPLE, authors, estimator, transformers
from workbench import checkpoint, load
from workbench.errors import BadParameter, CheckpointMismatch, MissingData, MissingFile
from workbench.models import build
from workbench.predict import SHIPPED, PoseEstimator, described, named_file, weights_path


def test_files_that_are_no_refiner_are_named(tmp_path):
    with pytest.raises(MissingFile, match="prot"):
        load("prot")
    bare = checkpoint.save(tmp_path / "bare.safetensors", build("port"))
    with pytest.raises(CheckpointMismatch, match=r"bare\.safetensors.*does not describe"):
        load(str(bare))
    half = checkpoint.save(tmp_path / "half.safetensors", build("port"), {"model": "port"})
    with pytest.raises(CheckpointMismatch, match="does not describe port: 'config'"):
        load(str(half))


def test_what_reads_no_pictures_has_one_precision():
    for name, precision in (("port", "bf16"), ("hanet", "bf16"), ("otpose", "fp16")):
        with pytest.raises(BadParameter, match=precision):
            load(name, precision=precision)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_file_in_the_place_of_the_shipped_one(name):
    path, card = described(name)
    assert path == weights_path(name) and card["model"] == name.partition("-")[0]
    one, other = load(name), load(name, weights=path)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters()))
    with pytest.raises(BadParameter, match="the weights' card states their size"):
        load(name, weights=path, size=(96, 128))


def test_files_for_another_method_are_refused(tmp_path):
    with pytest.raises(BadParameter, match="port from weights of hanet"):
        load("port", weights=weights_path("hanet"))
    bare = checkpoint.save(tmp_path / "bare.safetensors", build("port"))
    with pytest.raises(BadParameter, match="hanet from published weights"):
        load("hanet", weights=bare)
    with pytest.raises(MissingFile, match=r"none\.pth"):
        load("vissimcc", weights=tmp_path / "none.pth")


def test_a_published_checkpoint_becomes_an_estimator(tmp_path, rng):
    theirs = estimator(RESNET)
    torch.save({"state_dict": authors(theirs)}, tmp_path / "theirs.pth")
    options = {"weights": tmp_path / "theirs.pth", "size": RESNET.size, "skeleton": "coco17"}
    loaded = load("vissimcc", precision="bf16", **options)
    assert (loaded.name, loaded.precision) == ("vissimcc", "bf16")
    frame = rng.integers(0, 255, (60, 80, 3), np.uint8)
    box = np.array([[5.0, 5, 40, 55]])
    loaded.precision = "fp32"
    poses, own = (e.estimate(frame, box) for e in (loaded, PoseEstimator(theirs)))
    np.testing.assert_allclose(poses.xy_frame, own.xy_frame, atol=1e-3)
    with pytest.raises(BadParameter, match="skeleton"):
        load("vissimcc", **{**options, "skeleton": None})


def test_fetched_weights_are_named_and_their_manifest_says_what_they_do_not(tmp_path, monkeypatch):
    """17 joints are COCO's or PoseTrack's, and an HRNet's crops have any size."""
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    vitpose = estimator(replace(VIT_SIMPLE, widths=(384, 12), depths=(1,)))
    (tmp_path / "vitpose_base_simple").mkdir()
    file = tmp_path / "vitpose_base_simple" / "model.safetensors"
    save_file(transformers(vitpose), file)
    loaded = load("vissimcc", weights="vitpose_base_simple")
    assert (loaded.skeleton.name, loaded.model.config.size) == ("coco17", VIT_SIMPLE.size)
    torch.testing.assert_close(loaded.model.state_dict(), vitpose.state_dict(), rtol=0, atol=1e-7)
    assert named_file("vitpose_base_simple") == (file, {"skeleton": "coco17", "size": None})
    elsewhere = load("vissimcc", weights=f"vitpose_base_simple:{file.parent}")
    assert elsewhere.skeleton.name == "coco17"
    hrnet = estimator(replace(HRNET, skeleton="coco17", size=(192, 256)))
    file = tmp_path / "hrnet_pose_coco" / "pose_hrnet_w32_256x192.pth"
    file.parent.mkdir()
    torch.save(authors(hrnet), file)
    loaded = load("vissimcc", weights=Path("hrnet_pose_coco"), skeleton="posetrack17")
    assert (loaded.skeleton.name, loaded.model.config.size) == ("coco17", (192, 256))
    assert loaded.model.config.alignment == "msra"
    with pytest.raises(BadParameter, match="hanet from published weights"):
        described("hanet", weights="vitpose_base_simple")


def test_weights_that_are_not_fetched_say_how(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    with pytest.raises(MissingData, match="workbench data fetch simcc_res50_coco"):
        load("vissimcc", weights="simcc_res50_coco")
    with pytest.raises(MissingFile, match="coco: no such weights"):  # no weights: a data set
        load("vissimcc", weights="coco")


def test_a_file_of_that_name_comes_before_fetched_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    theirs = estimator(RESNET)
    torch.save(authors(theirs), tmp_path / "vitpose_base_simple")
    loaded = load("vissimcc", weights="vitpose_base_simple", size=RESNET.size, skeleton="coco17")
    torch.testing.assert_close(loaded.model.state_dict(), theirs.state_dict(), rtol=0, atol=0)
