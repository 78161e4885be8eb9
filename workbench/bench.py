"""How fast models and their data are here: rates with parameters and FLOPs, and the machine that
they were taken on.
"""

from __future__ import annotations

import itertools
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch
from torch import Tensor, nn

from .data.frames import open_frames
from .data.windows import WindowConfig, Windows, loader
from .errors import unknown
from .made import motion
from .made.hands import sample_hands
from .made.world import World
from .made.worlds import WORLDS, sample_clip
from .models import build, config_of, entry
from .models.hanet import HANetConfig
from .models.layers import count_parameters, forward_flops
from .models.otpose import N_FEATURES, OTPoseConfig
from .models.otpose import Encoder as OTPoseEncoder
from .models.stdpose import STDPoseConfig
from .models.vissimcc import VisSimCCConfig
from .predict import PortRefiner, RefineRule, SequenceRefiner
from .recipes import hanet as hanet_recipe
from .recipes import port as port_recipe
from .recipes import stdpose as stdpose_recipe
from .records import Clip, Picture, Track, Video
from .train import accelerator

Step = Callable[[], object]
Batch = Mapping[str, Tensor]


def total_loss(found: Mapping[str, Tensor]) -> Tensor:
    """The sum of a forward's loss terms."""
    return sum(value for name, value in found.items() if name.startswith("loss."))


def maker(source: Callable[[int, np.random.Generator], Batch]) -> Callable[[], Batch]:
    """Makes one batch of a source after another, each from its own seed."""
    seeds = itertools.count()
    return lambda: source(0, np.random.default_rng(next(seeds)))


@dataclass(frozen=True)
class Bench:
    """Where it is measured, and in about how many seconds each number is.

    configs: by method and name, beside those of `models.MODELS`.
    """

    device: str
    seconds: float
    configs: Mapping[tuple[str, str], object] = field(default_factory=dict)

    def config(self, method: str, name: str) -> object:
        """A configuration by its name."""
        return self.configs.get((method, name)) or config_of(method, name)

    def times(self, steps: Mapping[str, Step]) -> dict[str, np.ndarray]:
        """Seconds of the calls of each, called in turn: at least five after two to warm up."""
        times = {name: [] for name in steps}
        stop = time.perf_counter() + self.seconds * len(steps)
        for i in range(10_000):
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                if self.device == "cuda":
                    torch.cuda.synchronize()
                if i >= 2:
                    times[name].append(time.perf_counter() - start)
            if i >= 6 and time.perf_counter() > stop:
                break
        return {name: np.array(t) for name, t in times.items()}

    def rates(self, steps: Mapping[str, Step]) -> dict[str, float]:
        """Calls a second of each: medians."""
        return {name: 1 / float(np.median(t)) for name, t in self.times(steps).items()}

    def rate(self, step: Step) -> float:
        return self.rates({"": step})[""]

    def made_rate(self, make: Step) -> float:
        """Batches made a second, on the processor."""
        return Bench("cpu", self.seconds / 2).rate(make)

    def mixed(self, precision: str) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16")

    def on_device(self, batch: Batch) -> dict[str, Tensor]:
        return {name: value.to(self.device) for name, value in batch.items()}

    def example(self, method: str, config: object, size: int) -> dict[str, Tensor]:
        """A made-up batch for a model; what is built next has the same weights every time."""
        torch.manual_seed(0)
        made = entry(method).example(config, size, torch.Generator().manual_seed(0))
        return self.on_device(made)

    def learner(
        self,
        model: nn.Module,
        batch: Batch,
        precision: str,
        kind: type[torch.optim.Optimizer] = torch.optim.Adam,
        loss_of: Callable[[Mapping[str, Tensor]], Tensor] = total_loss,
    ) -> Step:
        """A training step: forward in this precision, backward, and the optimiser's."""
        optimiser = kind([p for p in model.parameters() if p.requires_grad])

        def step() -> None:
            with self.mixed(precision):
                loss = loss_of(model(**batch))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

        return step

    def answerer(self, model: nn.Module, inputs: Batch, precision: str) -> Step:
        """Forward and decoding."""

        def step() -> None:
            with torch.inference_mode(), self.mixed(precision):
                model.decode(model(**inputs))

        return step

    def cases(
        self, method: str, sizes: Mapping[str, int], times: int
    ) -> Iterator[tuple[str, object, int, str]]:
        """(configuration's name, configuration, people a step, precision) of what this device can
        hold; a GPU takes `times` as many people, in bf16 alone.
        """
        on_gpu = self.device == "cuda"
        for name, size in sizes.items():
            if on_gpu or name not in entry(method).large:
                for precision in ("bf16",) if on_gpu else ("fp32", "bf16"):
                    people = size * (times if on_gpu else 1)
                    yield name, self.config(method, name), people, precision


# --- PORT -----------------------------------------------------------------------------------------


def port_rows(bench: Bench) -> list[dict]:
    """Both recipes: batches of 128 hands that are made while it learns, and hands refined."""
    truth, detected = port_recipe.pairs("synthetic", n=1024)

    def hands(n: int, rng: np.random.Generator) -> np.ndarray:
        return truth.xy_frame[rng.integers(len(truth), size=n)]

    paper, denoise = (config_of("port", name) for name in ("paper", "denoise"))
    sources = {
        "paper": (paper, port_recipe.masked_batches(hands, paper, 128)),
        "denoise": (denoise, port_recipe.noisy_batches(sample_hands, denoise, 128)),
    }
    rows = []
    for name, (config, source) in sources.items():
        model, make_batch = build("port", config).to(bench.device), maker(source)
        for precision in ("fp32", "bf16"):
            batch = bench.on_device(make_batch())
            step = bench.learner(
                model.train(), batch, precision, loss_of=lambda found: found["loss.nll"]
            )
            row = {"method": "port", "configuration": name, "precision": precision}
            row["train steps/s, batch 128"] = bench.rate(step)
            row["batches made/s"] = bench.made_rate(make_batch)
            refiner = PortRefiner(model, RefineRule((0.3,) * 21), name)
            if precision == "fp32":
                rate = bench.rate(partial(refiner.refine, detected))
                row["refined hands/s"] = len(detected) * rate
            one = {k: v[:1] for k, v in batch.items() if k != "truth"}
            row["parameters"] = count_parameters(model)
            row["MFLOP a hand, forward"] = forward_flops(model, **one) / 1e6
            rows.append(row)
    return rows


# --- HANet ----------------------------------------------------------------------------------------

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


def hanet_rows(
    bench: Bench, cases: Mapping[str, tuple[HANetConfig, int, int]] = HANET_CASES
) -> list[dict]:
    """The fast path, which carries the read frames alone through the encoder, beside the dense
    one, call by call in turn.
    """
    pool = [xyz for _, xyz in motion.motions("synthetic", "train")]
    return [_hanet_row(bench, pool, name, *case) for name, case in cases.items()]


def _hanet_row(
    bench: Bench, pool: list[np.ndarray], name: str, config: HANetConfig, window: int, size: int
) -> dict:
    torch.manual_seed(0)
    model = build("hanet", config).to(bench.device)
    make_batch = maker(hanet_recipe.window_batches(pool, window, size))
    batch = bench.on_device(make_batch())
    ways = {"fast": False, "dense": True}

    def forward(dense: bool) -> None:
        with torch.inference_mode():
            model(batch["xy"], dense=dense)

    def train(dense: bool) -> None:
        model.zero_grad(set_to_none=True)
        total_loss(model(**batch, dense=dense)).backward()

    row = {"method": "hanet", "configuration": name, "batch": size}
    row["parameters"] = count_parameters(model)
    for path, dense in ways.items():
        flops = forward_flops(model, batch["xy"][:1], dense=dense)
        row[f"GFLOP a window, {path}"] = flops / 1e9
    for what, step in (("forward", forward), ("train", train)):
        rates = bench.rates({path: partial(step, dense) for path, dense in ways.items()})
        row |= {f"{what} steps/s, {path}": rate for path, rate in rates.items()}
        row[f"{what}, fast : dense"] = rates["fast"] / rates["dense"]
    row["batches made/s"] = bench.made_rate(make_batch)
    refiner = SequenceRefiner(model, window)
    xy = 100 * batch["xy"].cpu().double().numpy().reshape(-1, config.channels // 2, 2)[:1000]
    row["refined frames/s"] = len(xy) * bench.rate(partial(refiner.refine, xy))
    stream, poses = refiner.stream(8), itertools.cycle(xy)
    for _ in range(window):
        stream.push(next(poses))
    row["stream frames/s"] = bench.rate(lambda: stream.push(next(poses)))
    row["stream delay, frames"] = stream.delay
    return row


# --- VisSimCC -------------------------------------------------------------------------------------

# configuration -> people a step; on a GPU four times as many
VISSIMCC_SIZES = {"paper": 32, "small": 64}


def vissimcc_rows(bench: Bench, sizes: Mapping[str, int] = VISSIMCC_SIZES) -> list[dict]:
    """SimCC with the module and without it, call by call in turn, channels-last; inference is
    forward and decoding.
    """
    return [vissimcc_row(bench, *case) for case in bench.cases("vissimcc", sizes, 4)]


def vissimcc_row(
    bench: Bench, name: str, config: VisSimCCConfig, size: int, precision: str
) -> dict:
    """A configuration in one precision."""
    batch = bench.example("vissimcc", config, size)
    batch["images"] = batch["images"].contiguous(memory_format=torch.channels_last)
    images = {"images": batch["images"]}
    models = {
        kind: build("vissimcc", config, reasoning=kind == "module").to(
            bench.device, memory_format=torch.channels_last
        )
        for kind in ("plain", "module")
    }
    train = {kind: bench.learner(model, batch, precision) for kind, model in models.items()}
    infer = {kind: bench.answerer(model, images, precision) for kind, model in models.items()}
    row = {"method": "vissimcc", "configuration": name, "precision": precision, "batch": size}
    for kind, model in models.items():
        row[f"parameters, {kind}"] = count_parameters(model)
        row[f"GFLOP an image, {kind}"] = forward_flops(model, batch["images"][:1]) / 1e9
    row["VisNet, MB"] = 4e-6 * count_parameters(models["module"].reasoning.visnet)
    for what, steps in (("train", train), ("inference", infer)):
        for model in models.values():
            model.train(what == "train")
        times = bench.times(steps)
        row |= {f"{what} images/s, {kind}": size / float(np.median(t)) for kind, t in times.items()}
        # call against call: whatever else slows the machine for a while slows both
        slower = float(np.median(times["module"] / times["plain"]))
        row[f"{what}, the module adds %"] = 100 * (slower - 1)
    return row


# --- OTPose ---------------------------------------------------------------------------------------

OTPOSE_ENCODERS = ("paper", "small")  # the temporal encoder alone, one person
# configuration -> people a step; "paper" on a GPU alone, eight times as many
OTPOSE_SIZES = {"paper": 1, "small": 16}


def otpose_rows(
    bench: Bench,
    encoders: tuple[str, ...] = OTPOSE_ENCODERS,
    sizes: Mapping[str, int] = OTPOSE_SIZES,
) -> list[dict]:
    """The temporal encoder against a matrix product, and the whole model from five crops to
    joints.
    """
    cases = itertools.product(encoders, ("fp32", "bf16"))
    rows = [otpose_encoder_row(bench, n, bench.config("otpose", n), p) for n, p in cases]
    return rows + [_otpose_model_row(bench, *case) for case in bench.cases("otpose", sizes, 8)]


def otpose_encoder_row(bench: Bench, name: str, config: OTPoseConfig, precision: str) -> dict:
    """A temporal encoder beside a plain matrix product, call by call in turn: the share of that
    rate which it reaches.
    """
    torch.manual_seed(0)
    device = bench.device
    channels, (w, h) = config.joints * N_FEATURES, config.grid
    encoder = OTPoseEncoder(channels, config.layers, config.heads, config).to(device).eval()
    for parameter, value in encoder.named_parameters():
        if "layer_scale" in parameter:
            torch.nn.init.ones_(value)
    x = torch.rand(1, channels, h, w, device=device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.rand(2048, 2048, device=device, dtype=dtype) for _ in range(2))

    def encode() -> Tensor:
        with torch.inference_mode(), bench.mixed(precision):
            return encoder(x).float()

    times = bench.times({"encoder": encode, "product": lambda: a @ b})
    flops = forward_flops(encoder, x)
    rates = {"encoder": flops / times["encoder"], "product": 2 * 2048**3 / times["product"]}
    with torch.inference_mode():
        exact = encoder(x)
        change = float((encode() - exact).norm() / (exact - x).norm())
    share = float(np.median(rates["encoder"] / rates["product"]))
    return {
        "part": "temporal encoder",
        "configuration": name,
        "precision": precision,
        "D": channels,
        "map": f"{w}x{h}",
        "GFLOP": flops / 1e9,
        "s": float(np.median(times["encoder"])),
        "GFLOP/s": float(np.median(rates["encoder"])) / 1e9,
        "GFLOP/s, matrix product": float(np.median(rates["product"])) / 1e9,
        "share of the product's rate, %": 100 * share,
        "change against fp32, % of what is added": 100 * change,
    }


def _otpose_model_row(
    bench: Bench, name: str, config: OTPoseConfig, size: int, precision: str
) -> dict:
    images = {"images": bench.example("otpose", config, size)["images"]}
    model = build("otpose", config).to(bench.device, memory_format=torch.channels_last).eval()
    on_gpu = bench.device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    rate = size * bench.rate(bench.answerer(model, images, precision))
    memory = torch.cuda.max_memory_allocated() if on_gpu else psutil.Process().memory_info().rss
    return {
        "part": "whole model",
        "configuration": name,
        "precision": precision,
        "batch": size,
        "windows/s": rate,
        "parameters": count_parameters(model),
        "GB, of the GPU or resident": memory / 1e9,
    }


# --- STDPose --------------------------------------------------------------------------------------

# configuration -> people a step; "paper" on a GPU alone, eight times as many
STDPOSE_SIZES = {"paper": 4, "small": 16}


def stdpose_rows(bench: Bench, sizes: Mapping[str, int] = STDPOSE_SIZES) -> list[dict]:
    """Three crops and the labels of two of them to the joints of the third; learning, and
    carrying.
    """
    return [_stdpose_row(bench, *case) for case in bench.cases("stdpose", sizes, 8)]


def _stdpose_row(bench: Bench, name: str, config: STDPoseConfig, size: int, precision: str) -> dict:
    batch = bench.example("stdpose", config, size)
    inputs = {k: v for k, v in batch.items() if k not in ("xy_crop", "weights")}
    model = build("stdpose", config).to(bench.device, memory_format=torch.channels_last)
    step = bench.learner(model, batch, precision, torch.optim.AdamW)

    def learn() -> None:
        with stdpose_recipe.training_kernel(bench.device, precision):
            step()

    row = {"configuration": name, "precision": precision, "batch": size}
    row["parameters"] = count_parameters(model)
    row["training windows/s"] = size * bench.rate(learn)
    model.eval()
    row["propagated windows/s"] = size * bench.rate(bench.answerer(model, inputs, precision))
    if bench.device == "cuda":
        row["GB of the GPU"] = torch.cuda.max_memory_allocated() / 1e9
    return row


# --- data -----------------------------------------------------------------------------------------

# processes, motion blur, people (None: as the world has it)
WORLD_CASES = ((1, True, None), (1, False, None), (1, False, 3), (2, True, None))


def _filmed(recipe: World, index: int) -> tuple[int, int]:
    """Frames and people in frames of one clip, rendered here."""
    made = sample_clip(recipe, "train", index)
    return len(made.frames), sum(int(track.labelled.sum()) for track in made.clip.tracks)


def world_rows(bench: Bench) -> list[dict]:
    """Frames a second of the world "synthetic", on the processor whatever the device; clips
    differ in cost.
    """
    return [_world_row(bench.seconds, *case) for case in WORLD_CASES]


def _world_row(seconds: float, workers: int, blur: bool, crowd: int | None) -> dict:
    recipe = WORLDS["synthetic"]
    if not blur:
        recipe = replace(recipe, sub_frames=1)
    if crowd:
        recipe = replace(recipe, people=(crowd, crowd))
    film = partial(_filmed, recipe)
    made = []
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(film, range(2 * workers)))  # to warm up
        start = time.perf_counter()
        for index in itertools.count(8, 4 * workers):
            made += pool.map(film, range(index, index + 4 * workers))
            if time.perf_counter() >= start + 2 * seconds:
                break
        elapsed = time.perf_counter() - start
    frames, people = map(sum, zip(*made))
    return {
        "world": recipe.name,
        "size": "x".join(map(str, recipe.size_wh)),
        "processes": workers,
        "motion blur": blur,
        "people a frame": people / frames,
        "frames/s": frames / elapsed,
        "frames": frames,
    }


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


def window_rows(bench: Bench) -> list[dict]:
    """Windows from pictures and from arrays, by crop, frames a window and threads."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = _made_clips(folder)
        arrays = [(clip, np.stack(list(open_frames(clip, root)))) for clip, root in files]
        cases = itertools.product(
            (("JPEG 640x480", files), ("array 640x480", arrays)),
            ((288, 384), (96, 128)),
            ((0,), (-2, -1, 0, 1, 2)),
            (0, 1, 2),
        )
        for (source, pairs), size, offsets, threads in cases:
            config = WindowConfig(size, offsets)
            row = {"source": source, "crop": f"{size[0]}x{size[1]}"}
            row |= {"frames a window": len(offsets), "threads": threads}
            rows.append(row | _windows_read(bench, Windows(pairs, config), threads))
    return rows


def _windows_read(bench: Bench, windows: Windows, threads: int) -> dict:
    """Whole epochs, after one to warm up."""

    def epoch(n: int) -> int:
        batches = loader(windows, 16, seed=(0, n), workers=threads, device=bench.device)
        return sum(len(batch["index"]) for batch in batches)

    process = psutil.Process()
    epoch(0)
    start, resident, made = time.perf_counter(), process.memory_info().rss, 0
    for epochs in itertools.count(1):
        made += epoch(epochs)
        if time.perf_counter() - start >= bench.seconds:
            break
    rate = made / (time.perf_counter() - start)
    held = process.memory_info().rss
    return {
        "person windows/s, mean of whole epochs": rate,
        "epochs": epochs + 1,
        "resident MB": held / 1e6,
        "resident MB grown since the first epoch": (held - resident) / 1e6,
    }


BENCHES: Mapping[str, Callable[[Bench], list[dict]]] = {
    "windows": window_rows,
    "port": port_rows,
    "hanet": hanet_rows,
    "vissimcc": vissimcc_rows,
    "otpose": otpose_rows,
    "stdpose": stdpose_rows,
    "synthetic": world_rows,
}


def bench(name: str = "port", *, device: str = "auto", seconds: float = 3.0) -> dict:
    """{protocol, hardware, rows}: medians over `seconds` of calls each, one process, this
    machine's threads.
    """
    if name not in BENCHES:
        raise unknown("benchmark", name, BENCHES)
    device = accelerator(device).device.type
    if device == "cuda":
        hardware = torch.cuda.get_device_name()
    else:
        hardware = f"{platform.processor() or platform.machine()}, CPU"
    protocol = (
        f"median of calls in about {seconds:g} s after two to warm up, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    return {
        "schema_version": 1,
        "protocol": protocol,
        "hardware": hardware,
        "rows": BENCHES[name](Bench(device, seconds)),
    }
