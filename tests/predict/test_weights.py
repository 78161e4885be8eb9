"""Which weights a name stands for, and what is refused before they are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.models.test_published import RESNET, authors, estimator
from workbench import checkpoint, load
from workbench.errors import BadParameter, CheckpointMismatch, MissingFile
from workbench.models import build
from workbench.predict import SHIPPED, PoseEstimator, described, weights_path


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
