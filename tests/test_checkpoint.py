from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from workbench import checkpoint
from workbench.errors import BadFile, CheckpointMismatch, EmptyFile, MissingFile, Taken


def test_card_and_weights_round_trip(tmp_path):
    model = nn.Linear(3, 2)
    path = checkpoint.save(tmp_path / "deep" / "w.safetensors", model, {"seed": 5, "data": ["a"]})
    other = nn.Linear(3, 2)
    report = checkpoint.load(path, other)
    assert torch.equal(model.weight, other.weight) and report.loaded == ("weight", "bias")
    assert checkpoint.read_card(path) == {"seed": 5, "data": ["a"]}
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_nothing_loads_by_halves_unasked(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.ones(2, 3), "extra": torch.ones(1)}, path)
    model = nn.Linear(3, 2)
    before = model.weight.detach().clone()
    with pytest.raises(CheckpointMismatch, match=r"1 missing \(bias\), 1 unexpected \(extra\)"):
        checkpoint.load(path, model)
    assert torch.equal(model.weight, before)
    report = checkpoint.load(path, model, partial=True)
    assert report.loaded == ("weight",) and report.missing == ("bias",) and not report.complete
    assert torch.equal(model.weight, torch.ones(2, 3))


def test_misshapen_keys_show_both_shapes(tmp_path):
    path = checkpoint.save(tmp_path / "w.safetensors", nn.Linear(5, 2))
    with pytest.raises(CheckpointMismatch, match=r"weight: file \(2, 5\), model \(2, 3\)"):
        checkpoint.load(path, nn.Linear(3, 2))


def test_files_that_are_no_checkpoints_are_named(tmp_path):
    model = nn.Linear(3, 2)
    with pytest.raises(MissingFile, match="absent"):
        checkpoint.load(tmp_path / "absent", model)
    (tmp_path / "empty").touch()
    with pytest.raises(EmptyFile, match="empty"):
        checkpoint.load(tmp_path / "empty", model)
    whole = checkpoint.save(tmp_path / "whole", model).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-5])
    with pytest.raises(BadFile, match="cut"):
        checkpoint.load(tmp_path / "cut", model)
    torch.save(model.state_dict(), tmp_path / "pickle.pt")
    with pytest.raises(BadFile, match="not a whole safetensors"):
        checkpoint.load(tmp_path / "pickle.pt", model)


def test_published_torch_files_are_read_as_tensors_alone(tmp_path):
    weights = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    torch.save({"state_dict": weights, "meta": {"epoch": 210}}, tmp_path / "whole.pth")
    torch.save(weights, tmp_path / "plain.pth")
    save_file(weights, tmp_path / "safe.safetensors")
    for name in ("whole.pth", "plain.pth", "safe.safetensors"):
        found = checkpoint.read_public(tmp_path / name)
        assert found.keys() == weights.keys() and torch.equal(found["weight"], weights["weight"])
    torch.save({"state_dict": weights, "meta": nn.Linear(1, 1)}, tmp_path / "code.pth")
    whole = (tmp_path / "plain.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "empty.pth").touch()
    for name in ("code.pth", "cut.pth", "list.pth", "empty.pth"):
        with pytest.raises((BadFile, EmptyFile), match=name):
            checkpoint.read_public(tmp_path / name)
    with pytest.raises(MissingFile, match="absent"):
        checkpoint.read_public(tmp_path / "absent.pth")


def test_the_counter_of_batch_norms_may_be_absent():
    model = nn.BatchNorm1d(3)
    tensors = {k: v for k, v in model.state_dict().items() if k != "num_batches_tracked"}
    assert checkpoint.load_into(
        nn.Sequential(model), {f"0.{k}": v for k, v in tensors.items()}
    ).complete


def test_the_same_weights_and_card_are_the_same_bytes(tmp_path):
    model, card = nn.Linear(3, 2), {"b": 1, "a": [2]}
    one, two = (checkpoint.save(tmp_path / name, model, card) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    with pytest.raises(Taken):
        checkpoint.save(one, model, card)


def test_no_flipped_bit_goes_unseen(tmp_path):
    whole = checkpoint.save(tmp_path / "whole", nn.Linear(3, 2), {"a": 1}).read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for i in range(start, len(whole)):
        path = tmp_path / f"{i}.safetensors"
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :])
        with pytest.raises(BadFile, match="not those that were written"):
            checkpoint.load(path, nn.Linear(3, 2))
