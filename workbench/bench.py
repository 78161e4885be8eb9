"""How fast the models are here: rates with parameters and FLOPs, and the machine that they were taken on."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from .errors import unknown
from .models import config_of
from .models.layers import count_parameters, forward_flops
from .models.port import Port
from .predict import PortRefiner, RefineRule
from .recipes import port as port_recipe
from .train import accelerator


def _median_rate(step: Callable[[], object], device: str, seconds: float) -> float:
    """Calls a second: median of at least five calls after two to warm up, in about `seconds`."""
    times, stop = [], time.perf_counter() + seconds
    for i in range(10_000):
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        if i >= 2:
            times.append(time.perf_counter() - start)
        if len(times) >= 5 and time.perf_counter() > stop:
            break
    return 1 / float(np.median(times))


def _bench_port(device: str, seconds: float) -> list[dict]:
    rows = []
    truth, detected = port_recipe.pairs("synthetic", n=1024)
    for name in ("paper", "denoise"):
        config = config_of("port", name)
        model = Port(config).to(device)
        optimiser = torch.optim.Adam(model.parameters())
        sources = {
            "paper": port_recipe.masked_batches(
                lambda n, rng: truth.xy_frame[rng.integers(len(truth), size=n)], config, 128
            ),
            "denoise": port_recipe.noisy_batches(port_recipe.sample_hands, config, 128),
        }
        count = iter(range(10_000_000))
        for precision in ("fp32", "bf16"):

            def make_batch(source=sources[name], count=count):
                return source(0, np.random.default_rng(next(count)))

            batch = {k: v.to(device) for k, v in make_batch().items()}

            def step(batch=batch, model=model, optimiser=optimiser, bf16=precision == "bf16"):
                with torch.autocast(device, torch.bfloat16, enabled=bf16):
                    loss = model(**batch)["loss.nll"]
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()

            rows.append(
                {
                    "method": "port", "configuration": name, "precision": precision,
                    "train steps/s, batch 128": _median_rate(step, device, seconds),
                    "batches made/s": _median_rate(make_batch, "cpu", seconds / 2),
                }
            )  # fmt: skip
        refiner = PortRefiner(model, RefineRule((0.3,) * 21), name)
        rows[-2]["refined hands/s"] = len(detected) * _median_rate(
            lambda r=refiner: r.refine(detected), device, seconds
        )
        one = {k: v[:1].to(device) for k, v in batch.items() if k != "truth"}
        for row in rows[-2:]:
            row["parameters"] = count_parameters(model)
            row["MFLOP a hand, forward"] = forward_flops(model, **one) / 1e6
    return rows


BENCHES = {"port": _bench_port}


def bench(name: str = "port", *, device: str = "auto", seconds: float = 3.0) -> dict:
    """{protocol, hardware, rows}: medians over `seconds` of calls each, one process, this machine's threads."""
    if name not in BENCHES:
        raise unknown("benchmark", name, BENCHES)
    device = accelerator(device).device.type
    hardware = (
        torch.cuda.get_device_name() if device == "cuda" else f"{platform.processor() or platform.machine()}, CPU"
    )
    protocol = f"median of calls in about {seconds:g} s after two to warm up, torch {torch.__version__}"
    protocol += f", {torch.get_num_threads()} threads"
    return {"schema_version": 1, "protocol": protocol, "hardware": hardware, "rows": BENCHES[name](device, seconds)}
