"""What holds for every registered model in every configuration: written once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from tests.models.tiny import TINY
from workbench import checkpoint
from workbench.models import MODELS, build, entry
from workbench.taps import record, tap_table

CASES = {
    f"{name}-{config}": (name, e.configs[config])
    for name, e in ((name, entry(name)) for name in MODELS)
    for config in e.configs
    if config not in e.large
}
CASES |= {
    f"{name}-tiny_{variant}".removesuffix("_"): (name, config)
    for name, variants in TINY.items()
    for variant, config in variants.items()
}
EVERY_CONFIGURATION = pytest.mark.parametrize(("name", "config"), CASES.values(), ids=CASES)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def made(name, config, device="cpu", batch=3):
    torch.manual_seed(11)
    model = build(name, config).to(device)
    inputs = entry(name).example(config, batch, torch.Generator().manual_seed(5))
    return model, {k: v.to(device) for k, v in inputs.items()}


@pytest.mark.parametrize("device", DEVICES)
@EVERY_CONFIGURATION
def test_observing_changes_nothing_and_every_tap_fires(name, config, device):
    model, inputs = made(name, config, device)
    model.eval()
    plain = model(**inputs)
    with record(model) as taps:
        seen = model(**inputs)
    assert plain.keys() == seen.keys()
    for key in plain:
        assert torch.equal(plain[key], seen[key]), key
    table = tap_table(model)
    assert set(taps) == set(table) and table
    for tap, axes in table.items():
        assert axes and taps[tap].dim() == len(axes), (
            f"{tap} has axes {axes} and shape {tuple(taps[tap].shape)}"
        )
        assert not taps[tap].requires_grad and len(taps.calls(tap)) == 1
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("device", DEVICES)
@EVERY_CONFIGURATION
def test_every_layer_in_bf16_is_near_itself(name, config, device):
    """Kernels of half precision that are wrong do exist: a network learns around one, and
    answers differently in fp32.
    """
    model, inputs = made(name, config, device, batch=8)
    apart, kinds = {}, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)

    def compare(path):
        def hook(layer, given, exact):
            with torch.autocast(device, torch.bfloat16):
                mixed = type(layer).forward(layer, *given).float()
            apart[path] = ((mixed - exact).norm() / exact.norm().clamp_min(1e-6)).item()

        return hook

    for path, layer in model.named_modules():
        if isinstance(layer, kinds):
            layer.register_forward_hook(compare(path))
    with torch.no_grad():
        model(**inputs)
    assert apart and not {path: value for path, value in apart.items() if value > 0.05}


@pytest.mark.parametrize("device", DEVICES)
@EVERY_CONFIGURATION
def test_every_parameter_gets_a_gradient(name, config, device):
    model, inputs = made(name, config, device)
    model.train()
    for parameter, value in model.named_parameters():
        if "layer_scale" in parameter:  # begins at 0, which would hide what it scales
            torch.nn.init.ones_(value)
    losses = {k: v for k, v in model(**inputs).items() if k.startswith("loss.")}
    assert losses and all(v.dim() == 0 for v in losses.values())
    sum(losses.values()).backward()
    frozen = ("backbone.", "head.") if getattr(config, "frozen", False) else ()
    unused = {n for n, _ in model.named_parameters() if n.startswith(frozen)}
    without = {
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    }
    assert without == unused


@EVERY_CONFIGURATION
def test_a_batch_is_its_rows(name, config):
    model, inputs = made(name, config)
    model, inputs = (
        model.double().eval(),
        {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()},
    )
    whole = model(**inputs)
    alone = model(**{k: v[1:2] for k, v in inputs.items()})
    for key in whole:
        if not key.startswith("loss."):
            torch.testing.assert_close(whole[key][1:2], alone[key], rtol=1e-5, atol=1e-7)


@EVERY_CONFIGURATION
def test_weights_travel(name, config, tmp_path):
    model, inputs = made(name, config)
    path = checkpoint.save(tmp_path / "w.safetensors", model, {"model": name})
    torch.manual_seed(12)
    other = build(name, config)
    report = checkpoint.load(path, other)
    assert report.complete and checkpoint.read_card(path) == {"model": name}
    for key, value in model(**inputs).items():
        assert torch.equal(value, other(**inputs)[key])


COMPILED = """
import torch
from tests.models.tiny import tiny
from workbench.models import MODELS, build, entry
from workbench.taps import record, tap_table
for name in MODELS:
    model = build(name, tiny(name)).eval()
    inputs = entry(name).example(tiny(name), 3, torch.Generator().manual_seed(5))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for key, value in model(**inputs).items():
        torch.testing.assert_close(compiled(**inputs)[key], value)
    with record(compiled) as taps:
        compiled(**inputs)
    assert set(taps) == set(tap_table(model)), name
    print(name)
"""


def test_tiny_models_compile_to_one_graph_and_are_seen_through_it():
    """In a process of its own, without shape checking, which would break the graph; one for all,
    because the compiler takes longer to start than to work.
    """
    env = {**os.environ, "WORKBENCH_NO_TYPECHECK": "1"}
    command = [sys.executable, "-c", COMPILED]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    compiled = done.stdout.split()
    assert (done.returncode, compiled) == (0, list(MODELS)), done.stderr[-2000:]


EVERY_SIZE = [(name, config) for name in MODELS for config in entry(name).configs]


@pytest.mark.parametrize(("name", "config"), EVERY_SIZE)
def test_the_paper_s_sizes_answer_without_memory_or_a_gpu(name, config):
    """On torch's meta device: shapes alone, of what is too large to compute here."""
    e = entry(name)
    with torch.device("meta"):
        model = build(name, e.configs[config]).eval()
    inputs = e.example(e.configs[config], 2, torch.Generator().manual_seed(5))
    asked = {k: v.to("meta") for k, v in inputs.items() if k not in ("xy_crop", "weights")}
    with torch.no_grad():
        answer = model(**asked)
    batched = [value for value in answer.values() if value.dim()]
    assert batched and all(value.device.type == "meta" for value in batched)
    assert all(len(value) == 2 for value in batched)
