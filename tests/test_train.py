"""The loop on a problem whose answer is known: a line through noiseless points."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from workbench import checkpoint
from workbench.errors import BadFile, BadParameter, CheckpointMismatch, Taken, TrainingDiverged
from workbench.train import Steps, TrainConfig, learning_rate, settings_of, share, train


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x, y):
        out = self.layer(x)
        return {"y": out, "loss.squared": (out - y).square().mean()}


def batches(step, rng):
    x = torch.tensor(rng.normal(size=(17, 3)), dtype=torch.float32)
    return {"x": x, "y": x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3}


CONFIG = TrainConfig(steps=60, batch_size=17, lr=0.1, warmup_steps=5, save_every=20, seed=3)


def run(out, config=CONFIG, source=batches, seed=1, progress=False, **kw):
    torch.manual_seed(seed)
    model = Line()
    return model, train(
        model,
        source,
        config,
        out,
        loss_weights={"squared": 1.0},
        device="cpu",
        progress=progress,
        **kw,
    )


def test_it_learns_the_line(tmp_path):
    model, result = run(tmp_path, replace(CONFIG, steps=300))
    assert result.history[-1]["loss"] < 1e-3
    torch.testing.assert_close(model.layer.bias, torch.tensor([3.0]), atol=0.05, rtol=0)
    assert checkpoint.read_card(result.weights)["train"]["steps"] == 300
    assert not (tmp_path / "state.pt").exists()


def test_a_model_fresh_from_mixed_precision_answers_as_its_file_does(tmp_path):
    config = replace(CONFIG, precision="bf16")
    (fresh, result), (read, again) = run(tmp_path, config), run(tmp_path, config, seed=2)
    assert again.seconds == 0 and result.seconds > 0
    x = batches(0, np.random.default_rng(0))
    torch.testing.assert_close(fresh(**x)["y"], read(**x)["y"], rtol=0, atol=0)
    torch.testing.assert_close(fresh(**x)["y"], fresh.layer(x["x"]), rtol=0, atol=0)


@pytest.mark.parametrize(("there", "kept"), [(True, "bf16"), (False, "fp32")])
def test_bf16_is_not_imitated(tmp_path, monkeypatch, capsys, there, kept):
    able = {"avx2": True, "avx512_bf16": there, "amx_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    _, result = run(tmp_path, replace(CONFIG, precision="bf16"), progress=True)
    assert checkpoint.read_card(result.weights)["computed_in"] == kept
    assert ("would imitate bf16" in capsys.readouterr().err) != there


class Killed(Exception):
    pass


def dies_at(step_of_death):
    def source(step, rng):
        if step == step_of_death:
            raise Killed
        return batches(step, rng)

    return source


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, ema):
    config = replace(CONFIG, ema=ema)
    whole, _ = run(tmp_path / "whole", config)
    with pytest.raises(Killed):
        run(tmp_path / "cut", config, dies_at(47))
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    resumed, result = run(tmp_path / "cut", config, seed=99)
    assert result.resumed_from == 40
    for a, b in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(a, b)


def test_a_finished_training_is_reused_and_stays_where_it_is(tmp_path):
    first, _ = run(tmp_path)
    again, result = run(tmp_path, source=dies_at(0), seed=99)
    assert result.resumed_from == CONFIG.steps and result.seconds == 0
    assert torch.equal(first.layer.weight, again.layer.weight)
    with pytest.raises(Taken, match=r"model\.safetensors"):  # a new lr is another training
        run(tmp_path, replace(CONFIG, lr=0.2))


def test_a_state_of_other_settings_is_refused(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, source=dies_at(30))
    with pytest.raises(CheckpointMismatch, match="other settings"):
        run(tmp_path, replace(CONFIG, lr=0.2))


def edited(change):
    def damage(path):
        state = torch.load(path, weights_only=True)
        torch.save(change(state) or state, path)

    return damage


def flip_bytes(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(
        255 - b for b in data[len(data) // 2 : len(data) // 2 + 64]
    )
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        flip_bytes,
        edited(lambda s: [1, 2]),
        edited(lambda s: s.pop("history") and None),
        edited(lambda s: s.update(step=10**6)),
        edited(lambda s: s.update(step=-3)),
        edited(lambda s: s.update(step="x")),
        edited(lambda s: s.update(model={})),
        edited(lambda s: s.update(optimiser={})),
        edited(lambda s: s["model"]["layer.bias"].fill_(math.nan) and None),
        edited(lambda s: s["optimiser"]["state"][1]["exp_avg"].fill_(math.inf) and None),
        edited(lambda s: s.update(average={})),
    ],
    ids=[
        "cut",
        "flipped",
        "list",
        "key",
        "late",
        "early",
        "text",
        "empty",
        "optimiser",
        "nan",
        "inf",
        "average",
    ],
)
def test_a_damaged_state_is_named_not_read(tmp_path, damage):
    with pytest.raises(Killed):
        run(tmp_path, source=dies_at(30))
    damage(tmp_path / "state.pt")
    with pytest.raises(BadFile, match=r"state\.pt.*delete it to start over"):
        run(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def spoilt_at(bad_step, value):
    """Batches of which one holds a value that is no number."""

    def source(step, rng):
        batch = batches(step, rng)
        if step == bad_step:
            batch["y"][3] = value
        return batch

    return source


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_the_first_bad_step_is_named_and_the_state_before_it_goes_on(tmp_path, value, ema):
    config = replace(CONFIG, ema=ema, clip_norm=1.0)
    whole, _ = run(tmp_path / "whole", config)
    with pytest.raises(TrainingDiverged, match=f"the loss is {value} at step 44"):
        run(tmp_path / "cut", config, spoilt_at(43, value))
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    resumed, result = run(tmp_path / "cut", config, seed=99)
    assert result.resumed_from == 40
    for a, b in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(a, b)


class Rooted(Line):
    """Its loss is finite everywhere, its gradient not where x is 0."""

    def forward(self, x, y):
        out = super().forward(x, y)
        root = (self.layer.weight * x).square().sum().sqrt()
        return out | {"loss.squared": out["loss.squared"] + root}


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_gradients_that_are_not_finite_stop_at_their_step(tmp_path, clip_norm):
    def source(step, rng):
        batch = batches(step, rng)
        return batch | {"x": 0 * batch["x"]} if step == 29 else batch

    config = replace(CONFIG, clip_norm=clip_norm)
    torch.manual_seed(1)
    with pytest.raises(TrainingDiverged, match="the norm of the gradients is nan at step 30"):
        train(
            Rooted(),
            source,
            config,
            tmp_path,
            loss_weights={"squared": 1.0},
            device="cpu",
            progress=False,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 20


def test_a_rate_that_is_too_high_stops_by_name(tmp_path):
    with pytest.raises(TrainingDiverged, match="the loss is inf at step 2"):
        run(tmp_path, replace(CONFIG, lr=1e30))


@pytest.mark.parametrize("steps", [1, 2])
def test_weights_that_are_not_finite_are_never_written(tmp_path, steps):
    """At the end, and where a state is due: loss and gradients of that step were sound."""
    config = TrainConfig(steps=steps, lr=1e30, weight_decay=1e30, cosine=False, save_every=1)
    with pytest.raises(TrainingDiverged, match="weights are not finite after step 1"):
        run(tmp_path, config)
    assert not list(tmp_path.iterdir())


def test_finished_weights_that_are_not_finite_are_not_reused(tmp_path):
    model, result = run(tmp_path)
    card = checkpoint.read_card(result.weights)
    nn.init.constant_(model.layer.bias, math.nan)
    checkpoint.save(result.weights, model, card, over=True)
    with pytest.raises(BadFile, match=r"not finite.*delete it to start over"):
        run(tmp_path)


def test_schedule():
    config = TrainConfig(steps=104, lr=2.0, warmup_steps=4)
    assert [learning_rate(s, config) for s in range(4)] == [0.5, 1.0, 1.5, 2.0]
    assert learning_rate(4, config) == 2.0
    assert learning_rate(54, config) == pytest.approx(1.0)
    assert learning_rate(103, config) == pytest.approx(1 - math.cos(math.pi / 100), abs=1e-9)


def test_the_rate_drops_at_shares_of_the_steps():
    config = TrainConfig(steps=140, lr=1.0, warmup_steps=2, drops=(90 / 140, 120 / 140))
    assert [learning_rate(s, config) for s in (0, 2, 89, 90, 119, 120, 139)] == pytest.approx(
        [0.5, 1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    assert "drops" in settings_of(config) and "drops" not in settings_of(replace(config, drops=()))


def test_cuda_is_refused_where_there_is_none(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is an accelerator")
    with pytest.raises(BadParameter, match="no accelerator"):
        train(Line(), batches, CONFIG, tmp_path, loss_weights={"squared": 1.0}, device="cuda")


def test_a_process_makes_its_share_of_a_batch(tmp_path, monkeypatch):
    assert share(34) == 34
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert share(34) == 17
    steps = Steps(batches, replace(CONFIG, batch_size=34), 1)
    assert len(steps[0]["x"]) == 17
    with pytest.raises(BadParameter, match="17 samples, 8 expected of each process"):
        Steps(batches, CONFIG, 0)[0]


def test_two_processes_train_one_model(tmp_path):
    """Two gloo processes by torchrun: half a batch each, one result."""
    script = tmp_path / "two.py"
    script.write_text(
        f"""
import sys; sys.path.insert(0, {str(os.getcwd())!r})
from tests.test_train import Line, batches
from workbench.train import TrainConfig, train
import torch
torch.manual_seed(1)
config = TrainConfig(steps=40, batch_size=34, lr=0.1, seed=3)
how = {{"loss_weights": {{"squared": 1.0}}, "device": "cpu", "progress": False}}
result = train(Line(), batches, config, {str(tmp_path / "out")!r}, **how)
print("loss", result.history[-1]["loss"])
"""
    )
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(script),
    ]
    env = {**os.environ, "WORKBENCH_NO_TYPECHECK": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=env, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    losses = {line for line in done.stdout.splitlines() if line.startswith("loss")}
    assert len(losses) == 1  # both processes report the same mean
    assert (tmp_path / "out" / "model.safetensors").exists()


TWIN = """
import sys, time
import numpy as np, torch
from tests.test_train import CONFIG, Line, batches
from workbench.train import train

def slow(step, rng):
    if step == 0:
        print("begun", flush=True)
    time.sleep(0.3)  # longer in all than the other takes to start
    return batches(step, rng)

torch.manual_seed(1)
options = {"loss_weights": {"squared": 1.0}, "device": "cpu", "progress": False}
print(train(Line(), slow, CONFIG, sys.argv[1], **options).seconds == 0)
"""


def test_of_two_that_train_the_same_the_second_waits_and_reuses(tmp_path):
    command = [sys.executable, "-c", TWIN, str(tmp_path / "out")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first = subprocess.Popen(command, **pipes)
    assert first.stdout.readline() == "begun\n"
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert first.communicate()[0].split() == ["False"]
    assert second.stdout.split() == ["True"], "not a step was taken again"
    assert f"the same training by process {first.pid}" in second.stderr
