"""transformers' detectors and ViTPose, with tiny models as `hf download` brings them."""

from __future__ import annotations

import json
import socket
import sys

import numpy as np
import pytest
import torch

from tests.data.hugging_face_models import peaked, save_detector, save_vitpose
from workbench.data.finder import find_people, load_finder
from workbench.data.hugging_face import VitPose
from workbench.errors import BadFile, BadParameter, CheckpointMismatch, MissingData


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "detector": save_detector(folder / "detector"),
        "vitpose": save_vitpose(folder / "vitpose", peaked()),
        "experts": save_vitpose(folder / "experts"),
    }


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """Nothing asks the network for anything: hosts that were looked for, none at the end."""
    hosts = []

    def refuse(host, *_, **__):
        hosts.append(host)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield hosts
    assert not hosts


def spec(place) -> str:
    return f"transformers:{place}"


def test_a_detector_finds_boxes_of_people_without_joints(places, rng):
    """The middle half of a 103 x 81 picture; softmax of (0, 2, 0) is 0.787."""
    frames = rng.integers(0, 255, (2, 81, 103, 3), np.uint8)
    finder = load_finder(spec(places["detector"]))
    people = find_people(frames, finder)
    assert people.frames.tolist() == 5 * [0] + 5 * [1]
    np.testing.assert_allclose(people.boxes_xyxy, 10 * [[25.75, 20.25, 77.25, 60.75]], rtol=1e-5)
    np.testing.assert_allclose(people.scores, 0.787, atol=1e-3)
    assert people.skeleton == "coco17"
    assert (people.confidence == 0).all()
    assert people.source == spec(places["detector"])
    assert len(find_people(frames, finder, min_score=0.8)) == 0


def test_a_detector_is_shown_the_picture_as_it_is(places, rng):
    """Bytes from 0 to 255, which its processor scales itself."""
    frames = rng.integers(0, 255, (1, 81, 103, 3), np.uint8)
    finder = load_finder(spec(places["detector"]))
    shown = []
    finder.model.register_forward_pre_hook(
        lambda _module, _args, given: shown.append(given["pixel_values"]), with_kwargs=True
    )
    find_people(frames, finder)
    wanted = finder.processor(images=frames[0], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(shown[0], wanted, rtol=0, atol=0)


def test_only_people_are_taken(tmp_path, rng):
    """Every query is a dog."""
    finder = load_finder(spec(save_detector(tmp_path / "dogs", ("person", "dog"))))
    frames = rng.integers(0, 255, (1, 81, 103, 3), np.uint8)
    assert len(find_people(frames, finder, min_score=0.0)) == 0
    with pytest.raises(BadParameter, match='no label is "person": cat, dog'):
        load_finder(spec(save_detector(tmp_path / "beasts", ("cat", "dog"))))


def test_vitpose_reads_the_boxes_of_a_picture(places, rng):
    frame = rng.integers(0, 255, (81, 103, 3), np.uint8)
    boxes = np.array([[20.0, 8, 50, 48], [31.0, 12, 70, 60]])
    estimator = VitPose(spec(places["vitpose"]))
    both = estimator.estimate(frame, boxes)
    assert (both.skeleton, both.source) == ("coco17", spec(places["vitpose"]))
    for row in (0, 1):
        alone = estimator.estimate(frame[None], boxes[[row]])
        np.testing.assert_allclose(both.xy_frame[row], alone.xy_frame[0], rtol=0, atol=1e-3)
    # the first joint's peak lies near the middle (5.5) of the second patch of the second row
    size = 1.25 * (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) * [0.75, 1]
    corner = boxes.reshape(2, 2, 2).mean(1) - size / 2
    xy_heatmap = (both.xy_frame[:, 0] - corner) / size * [23, 31]
    np.testing.assert_allclose(xy_heatmap, 5.5, atol=1)


def test_the_first_of_several_experts_is_asked(places, rng):
    frame = rng.integers(0, 255, (81, 103, 3), np.uint8)
    estimator = VitPose(spec(places["experts"]))
    heard = []
    estimator.model.register_forward_pre_hook(
        lambda _module, _args, given: heard.append(given["dataset_index"]), with_kwargs=True
    )
    people = estimator.estimate(frame, np.array([[20.0, 8, 50, 48], [31.0, 12, 70, 60]]))
    assert heard[0].tolist() == [0, 0]
    assert np.isfinite(people.xy_frame).all()


def test_what_is_not_here_is_named_and_never_fetched():
    pytest.importorskip("transformers")
    name = "nobody/no-such-model"
    for opened in (load_finder, VitPose):
        with pytest.raises(MissingData, match=f"{name}: no such model.*hf download {name}; or"):
            opened(spec(name))
        with pytest.raises(BadParameter, match="names no model"):
            opened("transformers")


def test_a_model_is_found_where_hf_download_put_it(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--somebody--vitpose"
    save_vitpose(cached / "snapshots" / "1234", peaked())
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("1234")
    assert VitPose("transformers:somebody/vitpose").name == "transformers:somebody/vitpose"


def test_transformers_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    for opened in (load_finder, VitPose):
        with pytest.raises(MissingData, match=r"pip install 'occlusion-workbench\[estimators\]'"):
            opened("transformers:somebody/something")


def test_other_models_are_refused(places, tmp_path):
    labels = tuple(f"joint {j}" for j in range(17))
    with pytest.raises(BadParameter, match="yolos of 17 outputs, not ViTPose of 17 joints"):
        VitPose(spec(save_detector(tmp_path / "detector", labels)))
    with pytest.raises(BadParameter, match="vitpose of 21 outputs"):
        save_vitpose(tmp_path / "hand", peaked())
        change(tmp_path / "hand", num_labels=21)
        VitPose(spec(tmp_path / "hand"))
    with pytest.raises(BadFile, match="no AutoModelForObjectDetection"):
        load_finder(spec(places["vitpose"]))


def change(folder, **fields) -> None:
    """Rewrites fields of a model's configuration."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if "num_labels" in fields:
        del config["id2label"], config["label2id"]
    path.write_text(json.dumps(config | fields))


def test_weights_that_are_not_whole_or_not_safe_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save_vitpose(tmp_path / "vitpose", peaked())
    tensors = load_file(folder / "model.safetensors")
    del tensors["head.conv.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointMismatch, match=r"lacks 1 weights: head\.conv\.weight"):
        VitPose(spec(folder))
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(BadFile, match="VitPoseForPoseEstimation"):
        VitPose(spec(folder))
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(BadFile, match="weights must be safetensors"):
        VitPose(spec(folder))


def test_weights_of_half_precision_are_read_in_full(tmp_path, rng):
    folder = save_vitpose(tmp_path / "vitpose", peaked())
    frame, boxes = rng.integers(0, 255, (81, 103, 3), np.uint8), np.array([[20.0, 8, 50, 48]])
    estimator = VitPose(spec(folder))
    wanted = estimator.estimate(frame, boxes)
    estimator.model.half().save_pretrained(folder)
    estimator = VitPose(spec(folder))
    assert estimator.model.dtype == torch.float32
    np.testing.assert_allclose(estimator.estimate(frame, boxes).xy_frame, wanted.xy_frame, atol=0.1)


def test_code_of_a_model_is_never_run(tmp_path):
    folder = save_vitpose(tmp_path / "vitpose", peaked())
    change(folder, model_type="trap", auto_map={"AutoConfig": "trap.Trap"})
    (folder / "trap.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\n")
    with pytest.raises(BadFile, match="AutoConfig"):
        VitPose(spec(folder))
    assert not (tmp_path / "run").exists()
