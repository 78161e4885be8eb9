from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench import bench
from workbench.models import build
from workbench.models.layers import count_parameters


def test_bench_of_vissimcc_sets_the_module_beside_the_plain_estimator(monkeypatch):
    monkeypatch.setattr(bench, "VISSIMCC_CASES", {"small": 3})
    rows = bench.bench("vissimcc", device="cpu", seconds=0.1)["rows"]
    assert [(row["configuration"], row["precision"], row["batch"]) for row in rows] == [
        ("small", "fp32", 3),
        ("small", "bf16", 3),
    ]
    module = build("vissimcc", "small").reasoning
    for row in rows:
        assert row["parameters, module"] - row["parameters, plain"] == count_parameters(module)
        assert row["VisNet, MB"] == pytest.approx(4e-6 * count_parameters(module.visnet))
        assert row["GFLOP an image, module"] > row["GFLOP an image, plain"] > 0
        for what in ("train", "inference"):
            assert min(row[f"{what} images/s, {kind}"] for kind in ("plain", "module")) > 0
            assert f"{what}, the module adds %" in row


def test_bench_of_vissimcc_compares_call_by_call(monkeypatch):
    times = {"plain": np.array([1.0, 2, 2, 9, 9]), "module": np.array([1.1, 2.2, 2.4, 9, 9.9])}
    monkeypatch.setattr(bench, "_times", lambda *_: times)
    row = bench._vissimcc_row("tiny", tiny("vissimcc"), 6, "fp32", "cpu", 0.1)
    assert row["train images/s, plain"] == 3 and row["inference images/s, module"] == pytest.approx(
        2.5
    )
    assert row["train, the module adds %"] == pytest.approx(10)


def test_bench_of_vissimcc_times_the_precision_that_it_names_and_channels_last(monkeypatch):
    seen, forward = set(), bench.VisSimCC.forward

    def spy(self, images, *rest, **labels):
        if labels or not self.training:  # not the count of FLOPs
            channels_last = images.is_contiguous(memory_format=torch.channels_last)
            seen.add((self.training, self.maps(images).dtype, channels_last))
        return forward(self, images, *rest, **labels)

    monkeypatch.setattr(bench.VisSimCC, "forward", spy)
    monkeypatch.setattr(
        bench,
        "_times",
        lambda steps, *_: {name: np.array(step() or [1.0]) for name, step in steps.items()},
    )
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        seen.clear()
        bench._vissimcc_row("tiny", tiny("vissimcc"), 2, precision, "cpu", 0.1)
        assert seen == {(True, dtype, True), (False, dtype, True)}


def test_bench_of_otpose_sets_its_encoder_beside_a_matrix_product(monkeypatch):
    monkeypatch.setattr(bench, "OTPOSE_ENCODERS", ("small",))
    monkeypatch.setattr(bench, "OTPOSE_MODELS", {"small": 2})
    rows = bench.bench("otpose", device="cpu", seconds=0.1)["rows"]
    assert [(r["part"], r["precision"]) for r in rows] == [
        ("temporal encoder", "fp32"),
        ("temporal encoder", "bf16"),
        ("whole model", "fp32"),
        ("whole model", "bf16"),
    ]
    assert rows[0]["D"] == 120 and rows[0]["change against fp32, % of what is added"] == 0
    assert 0 < rows[1]["change against fp32, % of what is added"] < 10
    for row in rows[:2]:
        assert row["GFLOP"] > 0 and row["share of the product's rate, %"] > 0
    assert min(row["windows/s"] for row in rows[2:]) > 0


def test_bench_of_stdpose_learns_and_carries(monkeypatch):
    monkeypatch.setattr(bench, "STDPOSE_MODELS", {"small": 2})
    rows = bench.bench("stdpose", device="cpu", seconds=0.1)["rows"]
    assert [r["precision"] for r in rows] == ["fp32", "bf16"] and rows[0]["parameters"] == rows[1][
        "parameters"
    ] > 0
    assert all(r["training windows/s"] > 0 and r["propagated windows/s"] > 0 for r in rows)


def test_the_share_of_the_product_s_rate_is_taken_call_by_call(monkeypatch):
    monkeypatch.setattr(bench, "forward_flops", lambda *_: 2 * 2048**3)
    monkeypatch.setattr(
        bench,
        "_times",
        lambda *_: {"encoder": np.array([2.0, 20, 4]), "product": np.array([1.0, 10, 2])},
    )
    row = bench._otpose_encoder_row("tiny", tiny("otpose"), "fp32", "cpu", 0.1)
    assert row["share of the product's rate, %"] == pytest.approx(50)
