"""Ratios of calls in turn, shares of what the machine can do, and every case at a tiny size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench import bench
from workbench.models.layers import Cost, count_parameters
from workbench.models.vissimcc import VisSimCC

RATES = {"fp32": 100.0, "bf16": 200.0, "copy": 10.0}
NAMES = {"port": "denoise", "hanet": "released", "vissimcc": "tiny", "otpose": "tiny"}
TINY = {(method, name): tiny(method) for method, name in (NAMES | {"stdpose": "tiny"}).items()}
TINY["hanet", "released"] = replace(tiny("hanet", "released"), channels=30)


@dataclass(frozen=True)
class Quick(bench.Bench):
    """Calls each step once, and says that calls took as long as it is told."""

    seconds: float = 0.0
    taken: tuple[tuple[float, ...], ...] = ((1.0,), (2.0,))
    machine = RATES

    def times(self, *steps):
        for step in steps:
            step()
        return np.array(self.taken[: len(steps)])


QUICK = Quick(configs=TINY)


def test_ratios_are_of_neighbouring_calls():
    case = bench.Case("x", lambda: None, "y", lambda: None, cost=Cost(10**9, 2 * 10**9))
    row = Quick(taken=((2.0, 20, 4, 4), (1.0, 10, 2, 4))).row(case)
    assert (row["ms"], row["ms, beside"], row["ratio"]) == (4000, 3000, 2)
    assert row["ratio, middle half"] == "1.75-2.00" and row["beside"] == "y"
    assert row["GFLOP/s"] == 0.25 and row["% of a matrix product's rate"] == 0.25
    assert row["GB"] == 2 and row["% of a copy's rate"] == 100 * 2 / 4 / RATES["copy"]


def test_calls_are_taken_in_turn_after_one_to_warm_up():
    calls = []
    times = bench.Bench("cpu", 0.0).times(lambda: calls.append(0), lambda: calls.append(1))
    assert calls == [0, 1] * 6 and times.shape == (2, 5) and (times >= 0).all()


def test_the_machine_is_measured():
    rates = bench.Bench("cpu", 0.0, product=64).machine
    assert rates.keys() == RATES.keys() and min(rates.values()) > 0


@pytest.mark.parametrize(
    ("bf16", "expected"), [(200.0, ("fp32", "bf16")), (50.0, ("fp32",))], ids=["fast", "imitated"]
)
def test_bf16_is_measured_where_the_processor_has_it(bf16, expected):
    @dataclass(frozen=True)
    class Here(bench.Bench):
        machine = RATES | {"bf16": bf16}

    assert Here().precisions == expected and Here("cuda").precisions == ("bf16",)


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        (bench.port_cases(QUICK, 3), ["training step", "forward"] * 2 + ["refining, px to px"]),
        (
            bench.hanet_cases(QUICK, 3),
            ["training step", "forward"] * 2 + ["a pose of a stream"],
        ),
        (bench.vissimcc_cases(QUICK, {"tiny": 2}), ["training step", "forward"] * 2),
        (
            bench.otpose_cases(QUICK, {"tiny": 2}, ("tiny",)),
            ["forward", "training step"] * 2 + ["temporal encoder"] * 2,
        ),
        (bench.stdpose_cases(QUICK, {"tiny": 2}), ["forward", "training step"] * 2),
        (bench.file_cases(QUICK, 53), ["COCO file read", "scored, three rows"]),
    ],
    ids=["port", "hanet", "vissimcc", "otpose", "stdpose", "files"],
)
def test_every_case_runs(cases, expected):
    rows = [QUICK.row(case) for case in cases]
    assert [row["what"] for row in rows] == expected
    assert all(row["ms"] == 1000 and row["ratio"] == 0.5 and row["beside"] for row in rows)


def test_videos_and_worlds_run():
    videos = bench.video_cases(QUICK, (160, 120), 5)
    rows = [QUICK.row(case) for case in videos]
    worlds = bench.world_cases(QUICK, "synthetic_tiny", "synthetic_tiny", 20)
    rows += [QUICK.row(case) for case in worlds]
    expected = ["overlay written", "frames, last to first", "windows of pictures"]
    assert [row["what"] for row in rows] == [*expected, "clip rendered", "cache filled"]


def test_forward_times_the_precision_that_it_names_and_channels_last(monkeypatch):
    seen, forward = set(), VisSimCC.forward

    def spy(self, images, **labels):
        if labels or not self.training:  # not the count of FLOPs
            channels_last = images.is_contiguous(memory_format=torch.channels_last)
            seen.add((self.training, self.maps(images).dtype, channels_last))
        return forward(self, images, **labels)

    for case in bench.vissimcc_cases(QUICK, {"tiny": 2}):
        precision = case.words["precision"]
        with monkeypatch.context() as patch:
            patch.setattr(VisSimCC, "forward", spy)
            case.ours()
        learning = case.what == "training step"
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        assert seen == {(learning, kind, True)}
        seen.clear()


def test_parameters_and_operations_are_the_model_s():
    case = next(bench.otpose_cases(QUICK, {"tiny": 2}, ("tiny",)))
    model = bench.build("otpose", tiny("otpose"))
    assert (
        case.words["parameters"] == count_parameters(model)
        and case.cost.flops > 0
        and case.cost.bytes > 0
    )


def test_large_configurations_want_a_gpu():
    here = [case[::2] for case in Quick().sizes("otpose", bench.OTPOSE_SIZES, 8)]
    assert [(name, size) for name, size in here] == [("small", 16)] * 2
    there = list(Quick("cuda").sizes("otpose", bench.OTPOSE_SIZES, 8))
    assert [(name, size, p) for name, _, size, p in there] == [
        ("paper", 8, "bf16"),
        ("small", 128, "bf16"),
    ]
