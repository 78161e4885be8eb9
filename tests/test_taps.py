from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import NamedTuple

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


# --- outputs that are no tensors ------------------------------------------------------------------


class Instances:
    """An object that no library knows, as detectors' heads return it."""

    def __init__(self, joints):
        self.joints = joints


@dataclass(frozen=True, slots=True)
class Frozen:
    joints: object


class Named(NamedTuple):
    joints: object


class Output(OrderedDict):
    """Items that are attributes, too, as transformers' ModelOutput has them."""

    def __init__(self, **items):
        super().__init__()
        for key, value in items.items():
            self[key] = value

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        object.__setattr__(self, key, value)


def cycle(x):
    ring = Instances([x])
    ring.joints.append(ring)
    return ring


class Head(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(x + 0.0)


class InPlace(nn.Module):
    """Writes into what its head gave, as code that scales to pixels does."""

    def __init__(self, wrap, unwrap):
        super().__init__()
        self.head = Head(wrap)
        self.unwrap = unwrap
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        given = self.head(x * self.scale)
        self.unwrap(given).data.mul_(640)
        return given


WRAPS = {
    "list of an object": (lambda x: [Instances(x)], lambda y: y[0].joints),
    "frozen dataclass with slots": (Frozen, lambda y: y.joints),
    "named tuple": (Named, lambda y: y.joints),
    "mapping with attributes": (lambda x: Output(joints=x), lambda y: y.joints),
    "items of a mapping with attributes": (lambda x: Output(joints=x), lambda y: y["joints"]),
    "nested dict": (lambda x: {"a": ({"b": [x]},)}, lambda y: y["a"][0]["b"][0]),
    "torch's return type": (lambda x: torch.max(x[None], 0), lambda y: y.values),
    "deque": (lambda x: deque([x]), lambda y: y[0]),
    "what holds itself": (cycle, lambda y: y.joints[1].joints[0]),
    "a parameter": (lambda x: [nn.Parameter(x)], lambda y: y[0]),
}


@pytest.mark.parametrize("kind", WRAPS)
def test_whatever_holds_tensors_is_copied_and_detached(kind):
    wrap, unwrap = WRAPS[kind]
    model = InPlace(wrap, unwrap)
    with record(model, ["head"]) as taps:
        given = model(torch.full((2,), 0.5))
    caught = unwrap(taps["head"])
    assert type(taps["head"]) is type(given) and unwrap(given).tolist() == [320, 320]
    assert caught.tolist() == [0.5, 0.5] and not caught.requires_grad


@pytest.mark.parametrize("wrap", [lambda x: (y for y in [x]), lambda x: [open(__file__), x]])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_cannot_be_copied_is_named(wrap):
    model = nn.Sequential(Head(wrap))
    with (
        pytest.raises(
            TapError, match=r"'0' gives (generator|list), which cannot be copied: cannot"
        ),
        record(model, ["0"]),
    ):
        model(X)
    assert not model[0]._forward_hooks


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_is_refused_by_name():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    for model, name, said in (
        (scripted, "0", "the model is scripted"),
        (nn.Sequential(nn.Identity(), scripted), "1", "1 is scripted"),
        (nn.Sequential(nn.Identity(), scripted), "1.0", "1.0 is scripted"),
    ):
        with pytest.raises(TapError, match=f"TorchScript .* {said}"), record(model, [name]):
            model(X)
    beside = nn.Sequential(nn.Identity(), scripted)
    with record(beside, ["0"]) as taps:
        beside(X)
    assert torch.equal(taps["0"], X), "what stands beside it is seen"


def saved(wrap, tmp_path):
    model = Head(wrap)
    with record(model, [""]) as taps:
        model(X)
    with np.load(taps.save(tmp_path / "a.npz", over=True), allow_pickle=False) as file:
        return {key: file[key].tolist() for key in file if not key.endswith(":axes")}


def test_several_tensors_are_saved_by_place_and_key(tmp_path):
    attention = nn.MultiheadAttention(6, 2, batch_first=True).eval()
    x = torch.ones(2, 5, 6)
    with record(attention, [""]) as taps:
        output, weights = attention(x, x, x)
    with np.load(taps.save(tmp_path / "a.npz"), allow_pickle=False) as file:
        assert sorted(file) == [".0", ".1", ":axes"]
        assert np.array_equal(file[".0"], output.detach()) and file[".1"].shape == weights.shape
    row = X[0].tolist()
    tree = saved(lambda x: {"a": [x[0], None, (2, "text")], "b": Frozen(Instances(x[0]))}, tmp_path)
    assert tree == {".a.0": row, ".a.2.0": 2, ".a.2.1": "text", ".b.joints.joints": row}


def test_tensors_that_numpy_does_not_know_are_saved(tmp_path):
    row = X[0].tolist()
    assert saved(lambda x: x[0].bfloat16(), tmp_path) == {"": row}
    assert saved(lambda x: x[0].to(torch.float8_e4m3fn), tmp_path) == {"": row}
    assert saved(lambda x: (x[0] + 0j).conj(), tmp_path) == {"": row}
    entries = {".indices": [[0, 1], [1, 2]], ".values": [5, 7], ".shape": [2, 3]}
    matrix = torch.tensor([[0, 5, 0], [0, 0, 7]])
    assert saved(lambda x: matrix.to_sparse(), tmp_path) == entries
    assert saved(lambda x: matrix.to_sparse_csr(), tmp_path) == entries


@pytest.mark.parametrize("layout", [torch.jagged, torch.strided])
def test_the_parts_of_nested_tensors_are_saved(layout, tmp_path):
    row = X[0].tolist()
    parts = saved(
        lambda x: torch.nested.as_nested_tensor([x[0], x[0, :2]], layout=layout), tmp_path
    )
    assert parts == {".0": row, ".1": row[:2]}


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda x: {1, 2}, "'' gave set, which an npz cannot hold"),
        (lambda x: [torch.relu], "'.0' gave builtin_function_or_method"),
        (lambda x: x.to("meta"), "on meta, which numpy cannot hold"),
        (lambda x: {"0": x, 0: x}, "two outputs would be saved as '.0'"),
        (cycle, "'' gave what holds itself"),
    ],
)
def test_what_cannot_be_saved_says_why(wrap, said, tmp_path):
    with pytest.raises(TapError, match=said):
        saved(wrap, tmp_path)
    assert not [*tmp_path.iterdir()]
