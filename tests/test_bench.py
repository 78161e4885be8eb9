"""Rates that are taken in turn, and rows that say what was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench import bench
from workbench.models import build
from workbench.models.layers import count_parameters
from workbench.models.vissimcc import VisSimCC

TINY = {(method, "tiny"): tiny(method) for method in ("vissimcc", "otpose", "stdpose")}
QUICK = bench.Bench("cpu", 0.1, TINY)


@dataclass(frozen=True)
class Told(bench.Bench):
    """Calls each step once, and says that calls took as long as it is told."""

    taken: tuple[tuple[float, ...], ...] = ((1.0,), (1.0,))

    def times(self, steps):
        for step in steps.values():
            step()
        return dict(zip(steps, map(np.array, self.taken), strict=True))


def test_bench_of_hanet_sets_the_fast_path_beside_the_dense_one():
    config = tiny("hanet", "released")
    cases = {"tiny": (replace(config, channels=30), 13, 3)}
    (row,) = bench.hanet_rows(QUICK, cases)
    assert row["configuration"] == "tiny" and row["stream delay, frames"] == 8
    assert row["GFLOP a window, dense"] > 1.5 * row["GFLOP a window, fast"] > 0
    for what in ("train", "forward"):
        fast, dense = (row[f"{what} steps/s, {path}"] for path in ("fast", "dense"))
        assert row[f"{what}, fast : dense"] == pytest.approx(fast / dense)
    assert min(row[key] for key in ("batches made/s", "refined frames/s", "stream frames/s")) > 0


def test_bench_of_vissimcc_sets_the_module_beside_the_plain_estimator():
    rows = bench.vissimcc_rows(QUICK, {"tiny": 3})
    assert [(row["configuration"], row["precision"], row["batch"]) for row in rows] == [
        ("tiny", "fp32", 3),
        ("tiny", "bf16", 3),
    ]
    module = build("vissimcc", tiny("vissimcc")).reasoning
    for row in rows:
        assert row["parameters, module"] - row["parameters, plain"] == count_parameters(module)
        assert row["VisNet, MB"] == pytest.approx(4e-6 * count_parameters(module.visnet))
        assert row["GFLOP an image, module"] > row["GFLOP an image, plain"] > 0
        for what in ("train", "inference"):
            assert min(row[f"{what} images/s, {kind}"] for kind in ("plain", "module")) > 0
            assert f"{what}, the module adds %" in row


def test_bench_of_vissimcc_compares_call_by_call():
    told = Told("cpu", 0.1, taken=((1.0, 2, 2, 9, 9), (1.1, 2.2, 2.4, 9, 9.9)))
    row = bench.vissimcc_row(told, "tiny", tiny("vissimcc"), 6, "fp32")
    assert row["train images/s, plain"] == 3 and row["inference images/s, module"] == pytest.approx(
        2.5
    )
    assert row["train, the module adds %"] == pytest.approx(10)


def test_bench_of_vissimcc_times_the_precision_that_it_names_and_channels_last(monkeypatch):
    seen, forward = set(), VisSimCC.forward

    def spy(self, images, *rest, **labels):
        if labels or not self.training:  # not the count of FLOPs
            channels_last = images.is_contiguous(memory_format=torch.channels_last)
            seen.add((self.training, self.maps(images).dtype, channels_last))
        return forward(self, images, *rest, **labels)

    monkeypatch.setattr(VisSimCC, "forward", spy)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        seen.clear()
        told = Told("cpu", 0.1)
        bench.vissimcc_row(told, "tiny", tiny("vissimcc"), 2, precision)
        assert seen == {(True, dtype, True), (False, dtype, True)}


def test_bench_of_otpose_sets_its_encoder_beside_a_matrix_product():
    rows = bench.otpose_rows(QUICK, ("tiny",), {"tiny": 2})
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


def test_bench_of_stdpose_learns_and_carries():
    rows = bench.stdpose_rows(QUICK, {"tiny": 2})
    assert [r["precision"] for r in rows] == ["fp32", "bf16"]
    assert rows[0]["parameters"] == rows[1]["parameters"] > 0
    assert all(r["training windows/s"] > 0 and r["propagated windows/s"] > 0 for r in rows)


def test_the_share_of_the_product_s_rate_is_taken_call_by_call():
    told = Told("cpu", 0.1, taken=((2.0, 20, 4), (1.0, 10, 2)))
    row = bench.otpose_encoder_row(told, "tiny", tiny("otpose"), "fp32")
    product = 2 * 2048**3 / 1e9
    assert row["share of the product's rate, %"] == pytest.approx(50 * row["GFLOP"] / product)
    assert row["GFLOP/s, matrix product"] == pytest.approx(product / 2)


def test_large_configurations_want_a_gpu():
    sizes = {"paper": 1, "small": 16}
    here = [case[::2] for case in bench.Bench("cpu", 1.0).cases("otpose", sizes, 8)]
    assert [(name, size) for name, size in here] == [("small", 16)] * 2
    there = list(bench.Bench("cuda", 1.0).cases("otpose", sizes, 8))
    assert [(name, size, p) for name, _, size, p in there] == [
        ("paper", 8, "bf16"),
        ("small", 128, "bf16"),
    ]
