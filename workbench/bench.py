"""How fast models and their data are here: rates with parameters and FLOPs, and the machine that
they were taken on.
"""

from __future__ import annotations

import itertools
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch

from .data.frames import open_frames
from .data.windows import WindowConfig, Windows, loader
from .errors import unknown
from .made import motion
from .made.hands import sample_hands
from .made.world import World
from .made.worlds import WORLDS, sample_clip
from .models import config_of, entry
from .models.hanet import HANet
from .models.layers import count_parameters, forward_flops
from .models.otpose import N_FEATURES, OTPose, OTPoseConfig
from .models.otpose import Encoder as OTPoseEncoder
from .models.port import Port
from .models.stdpose import STDPose, STDPoseConfig
from .models.vissimcc import VisSimCC, VisSimCCConfig
from .predict import PortRefiner, RefineRule, SequenceRefiner
from .recipes import hanet as hanet_recipe
from .recipes import port as port_recipe
from .recipes import stdpose as stdpose_recipe
from .records import Clip, Picture, Track, Video
from .train import accelerator


def _times(
    steps: dict[str, Callable[[], object]], device: str, seconds: float
) -> dict[str, np.ndarray]:
    """Seconds of the calls of each, called in turn: at least five after two to warm up, in about
    `seconds` each.
    """
    times, stop = {name: [] for name in steps}, time.perf_counter() + seconds * len(steps)
    for i in range(10_000):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            if i >= 2:
                times[name].append(time.perf_counter() - start)
        if i >= 6 and time.perf_counter() > stop:
            break
    return {name: np.array(t) for name, t in times.items()}


def _median_rates(
    steps: dict[str, Callable[[], object]], device: str, seconds: float
) -> dict[str, float]:
    """Calls a second of each, of `_times`."""
    return {name: 1 / float(np.median(t)) for name, t in _times(steps, device, seconds).items()}


def _median_rate(step: Callable[[], object], device: str, seconds: float) -> float:
    return _median_rates({"": step}, device, seconds)[""]


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
            "denoise": port_recipe.noisy_batches(sample_hands, config, 128),
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
                    "method": "port",
                    "configuration": name,
                    "precision": precision,
                    "train steps/s, batch 128": _median_rate(step, device, seconds),
                    "batches made/s": _median_rate(make_batch, "cpu", seconds / 2),
                }
            )
        refiner = PortRefiner(model, RefineRule((0.3,) * 21), name)
        rows[-2]["refined hands/s"] = len(detected) * _median_rate(
            lambda r=refiner: r.refine(detected), device, seconds
        )
        one = {k: v[:1].to(device) for k, v in batch.items() if k != "truth"}
        for row in rows[-2:]:
            row["parameters"] = count_parameters(model)
            row["MFLOP a hand, forward"] = forward_flops(model, **one) / 1e6
    return rows


# The released program's MLPs are four times as wide as their level: the 287 M parameters of its
# Sub-JHMDB weights say so.
HANET_CASES = {  # configuration, frames a window, batch
    "released, 101 frames": (config_of("hanet", "released"), 101, 64),
    f"recipe, {hanet_recipe.WINDOW} frames": (
        hanet_recipe.CONFIGS["hanet"],
        hanet_recipe.WINDOW,
        64,
    ),
}


def _bench_hanet(device: str, seconds: float) -> list[dict]:
    """The fast path, which carries the read frames alone through the encoder, beside the dense
    one, call by call in turn.
    """
    rows, pool = [], [xyz for _, xyz in motion.motions("synthetic", "train")]
    for name, (config, window, size) in HANET_CASES.items():
        torch.manual_seed(0)
        model, source = HANet(config).to(device), hanet_recipe.window_batches(pool, window, size)
        count = itertools.count()

        def make_batch(source=source, count=count):
            return source(0, np.random.default_rng(next(count)))

        batch = {k: v.to(device) for k, v in make_batch().items()}

        def forward(dense, model=model, xy=batch["xy"]):
            with torch.inference_mode():
                model(xy, dense=dense)

        def train(dense, model=model, batch=batch):
            model.zero_grad(set_to_none=True)
            sum(
                v for k, v in model(**batch, dense=dense).items() if k.startswith("loss.")
            ).backward()

        row = {
            "method": "hanet",
            "configuration": name,
            "batch": size,
            "parameters": count_parameters(model),
        }
        for path, dense in (("fast", False), ("dense", True)):
            row[f"GFLOP a window, {path}"] = (
                forward_flops(model, batch["xy"][:1], dense=dense) / 1e9
            )
        for what, step in (("forward", forward), ("train", train)):
            rates = _median_rates(
                {p: partial(step, p == "dense") for p in ("fast", "dense")}, device, seconds
            )
            row |= {f"{what} steps/s, {path}": rate for path, rate in rates.items()}
            row[f"{what}, fast : dense"] = rates["fast"] / rates["dense"]
        row["batches made/s"] = _median_rate(make_batch, "cpu", seconds / 2)
        refiner = SequenceRefiner(model, window)
        xy = 100 * batch["xy"].cpu().double().numpy().reshape(-1, config.channels // 2, 2)[:1000]
        row["refined frames/s"] = len(xy) * _median_rate(
            lambda r=refiner, xy=xy: r.refine(xy), device, seconds
        )
        stream, poses = refiner.stream(8), itertools.cycle(xy)
        for _ in range(window):
            stream.push(next(poses))
        row |= {
            "stream frames/s": _median_rate(
                lambda s=stream, p=poses: s.push(next(p)), device, seconds
            )
        }
        rows.append(row | {"stream delay, frames": stream.delay})
    return rows


# configuration -> people a step; on a GPU four times as many
VISSIMCC_CASES = {"paper": 32, "small": 64}


def _vissimcc_row(
    name: str, config: VisSimCCConfig, size: int, precision: str, device: str, seconds: float
) -> dict:
    torch.manual_seed(0)
    example = entry("vissimcc").example(config, size, torch.Generator().manual_seed(0))
    batch = {k: v.to(device) for k, v in example.items()}
    batch["images"] = batch["images"].contiguous(memory_format=torch.channels_last)
    models = {
        kind: VisSimCC(replace(config, reasoning=kind == "module")).to(
            device, memory_format=torch.channels_last
        )
        for kind in ("plain", "module")
    }
    optimisers = {kind: torch.optim.Adam(model.parameters()) for kind, model in models.items()}
    mixed = partial(torch.autocast, device, torch.bfloat16, enabled=precision == "bf16")

    def train(kind):
        with mixed():
            loss = sum(v for k, v in models[kind](**batch).items() if k.startswith("loss."))
        optimisers[kind].zero_grad(set_to_none=True)
        loss.backward()
        optimisers[kind].step()

    def infer(kind):
        with torch.inference_mode(), mixed():
            models[kind].decode(models[kind](batch["images"]))

    row = {"method": "vissimcc", "configuration": name, "precision": precision, "batch": size}
    for kind, model in models.items():
        row[f"parameters, {kind}"] = count_parameters(model)
        row[f"GFLOP an image, {kind}"] = forward_flops(model, batch["images"][:1]) / 1e9
    row["VisNet, MB"] = 4e-6 * count_parameters(models["module"].reasoning.visnet)
    for what, step in (("train", train), ("inference", infer)):
        for model in models.values():
            model.train(what == "train")
        times = _times({kind: partial(step, kind) for kind in models}, device, seconds)
        row |= {f"{what} images/s, {kind}": size / float(np.median(t)) for kind, t in times.items()}
        # call against call: whatever else slows the machine for a while slows both
        row[f"{what}, the module adds %"] = 100 * float(
            np.median(times["module"] / times["plain"]) - 1
        )
    return row


def _bench_vissimcc(device: str, seconds: float) -> list[dict]:
    """SimCC with the module and without it, call by call in turn, channels-last; inference is
    forward and decoding.
    """
    precisions, more = (("bf16",), 4) if device == "cuda" else (("fp32", "bf16"), 1)
    return [
        _vissimcc_row(name, config_of("vissimcc", name), more * size, precision, device, seconds)
        for name, size in VISSIMCC_CASES.items()
        for precision in precisions
    ]


OTPOSE_ENCODERS = ("paper", "small")  # the temporal encoder alone, one person
# configuration -> people a step; "paper" on a GPU alone, eight times as many
OTPOSE_MODELS = {"paper": 1, "small": 16}


def _otpose_encoder_row(
    name: str, config: OTPoseConfig, precision: str, device: str, seconds: float
) -> dict:
    """A temporal encoder beside a plain matrix product, call by call in turn: the share of that
    rate which it reaches.
    """
    torch.manual_seed(0)
    channels, (w, h) = config.joints * N_FEATURES, config.grid
    encoder = OTPoseEncoder(channels, config.layers, config.heads, config).to(device).eval()
    for parameter, value in encoder.named_parameters():
        if "layer_scale" in parameter:
            torch.nn.init.ones_(value)
    x = torch.rand(1, channels, h, w, device=device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.rand(2048, 2048, device=device, dtype=dtype) for _ in range(2))

    def encode():
        with (
            torch.inference_mode(),
            torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"),
        ):
            return encoder(x).float()

    times = _times({"encoder": encode, "product": lambda: a @ b}, device, seconds)
    flops = forward_flops(encoder, x)
    rates = {
        "encoder": flops / times["encoder"] / 1e9,
        "product": 2 * 2048**3 / times["product"] / 1e9,
    }
    with torch.inference_mode():
        exact = encoder(x)
        change = float((encode() - exact).norm() / (exact - x).norm())
    return {
        "part": "temporal encoder",
        "configuration": name,
        "precision": precision,
        "D": channels,
        "map": f"{w}x{h}",
        "GFLOP": flops / 1e9,
        "s": float(np.median(times["encoder"])),
        "GFLOP/s": float(np.median(rates["encoder"])),
        "GFLOP/s, matrix product": float(np.median(rates["product"])),
        "share of the product's rate, %": 100
        * float(np.median(rates["encoder"] / rates["product"])),
        "change against fp32, % of what is added": 100 * change,
    }


def _otpose_model_row(
    name: str, config: OTPoseConfig, size: int, precision: str, device: str, seconds: float
) -> dict:
    torch.manual_seed(0)
    example = entry("otpose").example(config, size, torch.Generator().manual_seed(0))
    batch = {k: v.to(device) for k, v in example.items()}
    model = OTPose(config).to(device, memory_format=torch.channels_last).eval()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def infer():
        with (
            torch.inference_mode(),
            torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"),
        ):
            model.decode(model(batch["images"]))

    rate = size * _median_rate(infer, device, seconds)
    memory = (
        torch.cuda.max_memory_allocated() / 1e9
        if device == "cuda"
        else psutil.Process().memory_info().rss / 1e9
    )
    return {
        "part": "whole model",
        "configuration": name,
        "precision": precision,
        "batch": size,
        "windows/s": rate,
        "parameters": count_parameters(model),
        "GB, of the GPU or resident": memory,
    }


def _bench_otpose(device: str, seconds: float) -> list[dict]:
    """The temporal encoder against a matrix product, and the whole model from five crops to
    joints.
    """
    precisions, more = (("bf16",), 8) if device == "cuda" else (("fp32", "bf16"), 1)
    known = {name: config_of("otpose", name) for name in {*OTPOSE_ENCODERS, *OTPOSE_MODELS}}
    rows = [
        _otpose_encoder_row(n, known[n], p, device, seconds)
        for n in OTPOSE_ENCODERS
        for p in ("fp32", "bf16")
    ]
    return rows + [
        _otpose_model_row(name, known[name], more * size, precision, device, seconds)
        for name, size in OTPOSE_MODELS.items()
        if device == "cuda" or name not in entry("otpose").large
        for precision in precisions
    ]


STDPOSE_MODELS = {
    "paper": 4,
    "small": 16,
}  # configuration -> people a step; "paper" on a GPU alone, eight times as many


def _stdpose_row(
    name: str, config: STDPoseConfig, size: int, precision: str, device: str, seconds: float
) -> dict:
    torch.manual_seed(0)
    example = entry("stdpose").example(config, size, torch.Generator().manual_seed(0))
    batch = {k: v.to(device) for k, v in example.items()}
    given = {k: v for k, v in batch.items() if k not in ("xy_crop", "weights")}
    model = STDPose(config).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    mixed = partial(torch.autocast, device, torch.bfloat16, enabled=precision == "bf16")
    row = {
        "configuration": name,
        "precision": precision,
        "batch": size,
        "parameters": count_parameters(model),
    }

    def learn():
        with stdpose_recipe.training_kernel(device, precision):
            with mixed():
                loss = sum(v for k, v in model(**batch).items() if k.startswith("loss."))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
        optimiser.step()

    def carry():
        with torch.inference_mode(), mixed():
            model.decode(model(**given))

    for what, step in (("training windows/s", learn), ("propagated windows/s", carry)):
        model.train(step is learn)
        row[what] = size * _median_rate(step, device, seconds)
    if device == "cuda":
        row["GB of the GPU"] = torch.cuda.max_memory_allocated() / 1e9
    return row


def _bench_stdpose(device: str, seconds: float) -> list[dict]:
    """Three crops and the labels of two of them to the joints of the third; learning, and
    carrying.
    """
    precisions, more = (("bf16",), 8) if device == "cuda" else (("fp32", "bf16"), 1)
    return [
        _stdpose_row(name, config_of("stdpose", name), more * size, precision, device, seconds)
        for name, size in STDPOSE_MODELS.items()
        if device == "cuda" or name not in entry("stdpose").large
        for precision in precisions
    ]


def _filmed(recipe: World, index: int) -> tuple[int, int]:
    """Frames and people in frames of one clip, rendered here."""
    made = sample_clip(recipe, "train", index)
    return len(made.frames), sum(int(track.labelled.sum()) for track in made.clip.tracks)


def _bench_synthetic(device: str, seconds: float) -> list[dict]:
    """Frames a second of the world "synthetic", on the processor whatever the device; clips
    differ in cost.
    """
    rows = []
    for workers, blur, crowd in ((1, True, None), (1, False, None), (1, False, 3), (2, True, None)):
        recipe = replace(WORLDS["synthetic"], **({} if blur else {"sub_frames": 1}))
        recipe = replace(recipe, people=(crowd, crowd)) if crowd else recipe
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            film = partial(_filmed, recipe)
            list(pool.map(film, range(2 * workers)))  # to warm up
            frames, people, index, start = 0, 0, 8, time.perf_counter()
            while time.perf_counter() < start + 2 * seconds:
                for made in pool.map(film, range(index, index + 4 * workers)):
                    frames, people = frames + made[0], people + made[1]
                index += 4 * workers
            rate = frames / (time.perf_counter() - start)
        size = "x".join(map(str, recipe.size_wh))
        rows.append(
            {
                "world": recipe.name,
                "size": size,
                "processes": workers,
                "motion blur": blur,
                "people a frame": people / frames,
                "frames/s": rate,
                "frames": frames,
            }
        )
    return rows


def _made_clips(
    folder: str, clips: int = 6, t: int = 16, size: tuple[int, int] = (640, 480)
) -> list:
    """(clip, folder) of JPEG pictures that a detector's box covers half of, written on the spot."""
    rng = np.random.default_rng(0)
    pairs = []
    for name in map(str, range(clips)):
        (Path(folder) / name).mkdir()
        scene = cv2.resize(
            rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC
        )
        for i in range(t):
            noise = rng.integers(0, 16, scene.shape, dtype=np.uint8)
            cv2.imwrite(f"{folder}/{name}/{i}.jpg", cv2.add(np.roll(scene, 5 * i, 1), noise))
        box_xyxy = np.tile([180.0, 60, 440, 440], (t, 1))
        xy_frame = rng.uniform((200, 80), (420, 420), (t, 17, 2))
        track = Track("coco17", 0, xy_frame, np.full((t, 17), 2), np.ones(t, bool), box_xyxy)
        pictures = tuple(Picture(f"{i}.jpg", size_wh=size) for i in range(t))
        pairs.append((Clip(Video(name, t, *size), [track], pictures), folder))
    return pairs


def _bench_windows(device: str, seconds: float) -> list[dict]:
    process, rows = psutil.Process(), []
    with tempfile.TemporaryDirectory() as folder:
        files = _made_clips(folder)
        arrays = [(clip, np.stack(list(open_frames(clip, root)))) for clip, root in files]
        cases = itertools.product(
            (("JPEG 640x480", files), ("array 640x480", arrays)),
            ((288, 384), (96, 128)),
            ((0,), (-2, -1, 0, 1, 2)),
            (0, 1, 2),
        )
        for (source, pairs), size, offsets, workers in cases:
            config = WindowConfig(size, offsets)
            windows, made, epoch, start = Windows(pairs, config), 0, 0, None
            while start is None or time.perf_counter() - start < seconds:
                for batch in loader(windows, 16, seed=(0, epoch), workers=workers, device=device):
                    made += 0 if start is None else len(batch["index"])
                    del batch
                if start is None:  # the first epoch warms up
                    start, resident = time.perf_counter(), process.memory_info().rss
                epoch += 1
            rows.append(
                {
                    "source": source,
                    "crop": f"{size[0]}x{size[1]}",
                    "frames a window": len(offsets),
                    "threads": workers,
                    "person windows/s, mean of whole epochs": made / (time.perf_counter() - start),
                    "epochs": epoch,
                    "resident MB": process.memory_info().rss / 1e6,
                    "resident MB grown since the first epoch": (
                        process.memory_info().rss - resident
                    )
                    / 1e6,
                }
            )
    return rows


BENCHES = {
    "windows": _bench_windows,
    "port": _bench_port,
    "hanet": _bench_hanet,
    "vissimcc": _bench_vissimcc,
    "otpose": _bench_otpose,
    "stdpose": _bench_stdpose,
    "synthetic": _bench_synthetic,
}


def bench(name: str = "port", *, device: str = "auto", seconds: float = 3.0) -> dict:
    """{protocol, hardware, rows}: medians over `seconds` of calls each, one process, this
    machine's threads.
    """
    if name not in BENCHES:
        raise unknown("benchmark", name, BENCHES)
    device = accelerator(device).device.type
    hardware = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"{platform.processor() or platform.machine()}, CPU"
    )
    protocol = (
        f"median of calls in about {seconds:g} s after two to warm up, torch {torch.__version__}"
    )
    protocol += f", {torch.get_num_threads()} threads"
    return {
        "schema_version": 1,
        "protocol": protocol,
        "hardware": hardware,
        "rows": BENCHES[name](device, seconds),
    }
