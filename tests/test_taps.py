from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import TapError, UnknownName
from workbench.taps import Tap, record, tap_table


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3, bias=False)
        nn.init.eye_(self.linear.weight)
        self.maps = nn.ModuleDict({k: Tap("b channel") for k in ("first", "second")})
        self.unused = Tap("b")

    def forward(self, x):
        return self.maps["second"](self.linear(self.maps["first"](x)) * 2)


X = torch.arange(6.0).reshape(2, 3)


def test_record_catches_detaches_and_removes():
    model = Toy()
    x = X.clone().requires_grad_()
    with record(model, ["maps.*"]) as taps:
        out = model(x)
    assert torch.equal(taps["maps.first"], X) and torch.equal(taps["maps.second"], 2 * X)
    assert not taps["maps.second"].requires_grad and out.requires_grad
    assert not any(m._forward_hooks for m in model.modules())
    assert tap_table(model) == {
        "maps.first": ("b", "channel"),
        "maps.second": ("b", "channel"),
        "unused": ("b",),
    }


def test_an_edit_goes_on_and_is_what_is_recorded():
    model = Toy()
    with record(model, ["maps.second"], edit={"maps.first": torch.zeros_like}) as taps:
        out = model(X)
    assert torch.equal(out, torch.zeros(2, 3)) and torch.equal(
        taps["maps.first"], torch.zeros(2, 3)
    )
    assert torch.equal(model(X), 2 * X)


def test_edit_must_keep_the_shape():
    model = Toy()
    with (
        pytest.raises(TapError, match=r"'maps.first' gave \(3,\)"),
        record(model, [], edit={"maps.first": lambda x: x[0]}),
    ):
        model(X)
    assert not any(m._forward_hooks for m in model.modules())


def test_hooks_go_when_the_body_fails():
    model = Toy()
    with pytest.raises(ZeroDivisionError), record(model, ["maps.first"]):
        1 / 0
    assert not any(m._forward_hooks for m in model.modules())


def test_a_tap_that_never_fired_is_named():
    model = Toy()
    with (
        pytest.raises(TapError, match="never fired: unused"),
        record(model, ["unused", "maps.first"]),
    ):
        model(X)


def test_unknown_names_get_suggestions():
    with (
        pytest.raises(UnknownName, match=r"did you mean 'maps\.first'"),
        record(Toy(), ["maps.frist"]),
    ):
        pass


def test_any_submodule_by_name_and_every_call():
    model = Toy()
    with record(model, ["linear"]) as taps:
        model(X)
        model(2 * X)
    assert [c.sum().item() for c in taps.calls("linear")] == [15.0, 30.0]
    assert torch.equal(taps["linear"], 2 * X)


def test_compiled_models_are_seen_through():
    model = Toy()
    compiled = torch.compile(model, backend="aot_eager")
    compiled(X)  # compiled before the hooks are there: they would record nothing
    with record(compiled, ["maps.second"]) as taps:
        compiled(X)
    assert torch.equal(taps["maps.second"], 2 * X)


def test_looking_and_counting_load_no_compiler():
    code = """
import sys
import torch
from workbench.models.layers import forward_cost
from workbench.taps import Tap, record
model = torch.nn.Sequential(torch.nn.Linear(3, 3), Tap("b channel"))
with record(model) as taps:
    model(torch.zeros(2, 3))
assert taps["1"].shape == (2, 3) and forward_cost(model, torch.zeros(2, 3)).flops == 36
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_taps_add_no_operation_to_a_compiled_graph():
    def operations(model):
        counts = []

        def backend(graph, _inputs):
            counts.append(sum(node.op.startswith("call") for node in graph.graph.nodes))
            return graph

        torch.compile(model, backend=backend, fullgraph=True)(X)
        return counts

    class Bare(Toy):
        def forward(self, x):
            return self.linear(x) * 2

    assert operations(Toy()) == operations(Bare()) == [2]


def test_what_was_caught_saves_to_npz(tmp_path):
    model = Toy()
    with record(model, ["maps.*"]) as taps:
        model(X)
    path = taps.save(tmp_path / "caught")
    with np.load(path, allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["maps.second"], 2 * X.numpy())
        assert str(saved["maps.second:axes"]) == "b channel"
    assert [p.name for p in tmp_path.iterdir()] == ["caught.npz"]


def test_what_was_caught_survives_operations_in_place():
    model = nn.Sequential(Tap("b channel"), nn.ReLU(inplace=True))
    with record(model, ["0"]) as taps:
        out = model(X - 3)
    assert torch.equal(taps["0"], X - 3) and out.min() == 0
    x = X.clone()
    with record(model, [], edit={"0": torch.Tensor.zero_}):
        model(x)
    assert torch.equal(x, X), "an edit in place does not reach the caller's input"


def test_shared_and_compiled_children_answer_to_their_names():
    model = Toy()
    model.again = model.linear
    with record(model, ["again"]) as taps:
        model(X)
    assert torch.equal(taps["again"], X)
    outer = nn.Sequential(torch.compile(Toy(), backend="aot_eager"))
    with record(outer, ["0.maps.second"]) as taps:
        outer(X)
    assert torch.equal(taps["0.maps.second"], 2 * X) and "0.maps.first" in tap_table(outer)


def test_edits_that_cannot_be_are_named():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    model = nn.Sequential(Pair())
    with (
        pytest.raises(TapError, match="'0' gives tuple"),
        record(model, [], edit={"0": torch.zeros_like}),
    ):
        model(X)
    both = {"maps.*": torch.zeros_like, "maps.first": torch.ones_like}
    with (
        pytest.raises(TapError, match=r"two edits change 'maps\.first'"),
        record(Toy(), [], edit=both),
    ):
        pass


def test_saving_keeps_dots_in_names_and_makes_folders(tmp_path):
    model = Toy()
    with record(model, ["maps.first"]) as taps:
        model(X)
    assert taps.save(tmp_path / "deep" / "v1.2") == tmp_path / "deep" / "v1.2.npz"
