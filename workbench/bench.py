"""How fast things are here, each beside a floor or a rival: the same work without our part, the
plainest thing that does it, or what one would take instead.

Both are called in turn in one process, so that whatever else slows the machine for a while slows
both: ratios hold where seconds do not.
"""

from __future__ import annotations

import collections
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch
from torch import Tensor, nn

from .data.coco import read_coco
from .data.frames import open_frames, read_picture
from .data.scoring import score_files
from .data.windows import WindowConfig, Windows
from .errors import unknown
from .film import by_frame, draw_refined, write_overlay, write_video
from .made import motion
from .made.bodies import sample_bodies
from .made.worlds import cached_clips, sample_clip
from .memory import keep_freed
from .models import build, config_of, entry
from .models.layers import Cost, count_parameters, forward_cost
from .models.otpose import N_FEATURES
from .models.otpose import Encoder as OTPoseEncoder
from .predict import PortRefiner, RefineRule, SequenceRefiner, load
from .recipes import hanet as hanet_recipe
from .recipes import port as port_recipe
from .recipes import stdpose as stdpose_recipe
from .recipes import vissimcc as vissimcc_recipe
from .records import Clip, Detections, Picture, Prediction, Track, Video
from .skeletons import SKELETONS
from .threads import hardware_in_words, threads_for, threads_in_words
from .train import accelerator
from .view.chapters.hanet import HANetExplorer
from .view.chapters.port import PortExplorer
from .view.chapters.vissimcc import VisSimCCExplorer
from .view.explorer import Explorer
from .view.stage import patch

Step = Callable[[], object]
Batch = Mapping[str, Tensor]
GIGA = 1e9


@dataclass(frozen=True)
class Case:
    """One thing measured, beside its floor: what is called, and what the row says beside it.

    cost: of one call of ours, for the shares of what the machine can do.
    """

    what: str
    ours: Step
    floor: str
    rival: Step
    words: Mapping[str, object] = field(default_factory=dict)
    cost: Cost | None = None


@dataclass(frozen=True)
class Bench:
    """Where it is measured, and in about how many seconds each row is.

    configs: by method and name, beside those of `models.MODELS`. product: side of the matrices
    whose product says what the machine can do.
    """

    device: str = "cpu"
    seconds: float = 3.0
    configs: Mapping[tuple[str, str], object] = field(default_factory=dict)
    product: int = 1024

    def config(self, method: str, name: str) -> object:
        """A configuration by its name."""
        return self.configs.get((method, name)) or config_of(method, name)

    def times(self, *steps: Step) -> np.ndarray:
        """Seconds [step call] of calls in turn: five or more after one to warm up."""
        times, stop = [], time.perf_counter() + self.seconds
        while len(times) < 6 or (time.perf_counter() < stop and len(times) < 10_000):
            times.append([self._seconds(step) for step in steps])
        return np.array(times[1:]).T

    def _seconds(self, step: Step) -> float:
        start = time.perf_counter()
        step()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def row(self, case: Case) -> dict:
        """Medians, and the median and the middle half of the ratios of neighbouring calls."""
        ours, rival = self.times(case.ours, case.rival)
        low, middle, high = np.quantile(ours / rival, (0.25, 0.5, 0.75))
        seconds = float(np.median(ours))
        row = {
            "what": case.what,
            **case.words,
            "ms": 1e3 * seconds,
            "ms, 90 %": 1e3 * float(np.quantile(ours, 0.9)),
            "beside": case.floor,
            "ms, beside": 1e3 * float(np.median(rival)),
            "ratio": float(middle),
            "ratio, middle half": f"{low:.2f}-{high:.2f}",
        }
        if case.cost:
            flops, moved = (count / GIGA for count in case.cost)
            product = self.machine[case.words.get("precision", "fp32")]
            row |= {"GFLOP": flops, "GFLOP/s": flops / seconds}
            row["% of a matrix product's rate"] = 100 * flops / seconds / product
            # more than 100 where caches serve
            row |= {"GB": moved, "% of a copy's rate": 100 * moved / seconds / self.machine["copy"]}
        if self.device == "cuda":
            row["GB of the GPU, at most"] = torch.cuda.max_memory_allocated() / GIGA
        return row

    def mixed(self, precision: str) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16")

    def batch(self, method: str, config: object, size: int) -> dict[str, Tensor]:
        """A made-up batch for a model; what is built next has the same weights every time."""
        torch.manual_seed(0)
        batch = entry(method).example(config, size, torch.Generator().manual_seed(0))
        return {name: value.to(self.device) for name, value in batch.items()}

    def model(self, model: nn.Module) -> nn.Module:
        return model.to(self.device, memory_format=torch.channels_last)

    def learner(self, model: nn.Module, batch: Batch, precision: str, loss: str = "") -> Step:
        """A training step: forward in this precision, backward, and the optimiser's.

        loss: the term that is learned from; all by default.
        """
        optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])

        def step() -> None:
            model.train()
            kernel = stdpose_recipe.training_kernel(self.device, precision)
            with threads_for(model), kernel:
                with self.mixed(precision):
                    terms = model(**batch)
                total = sum(v for k, v in terms.items() if k.startswith(f"loss.{loss}"))
                optimiser.zero_grad(set_to_none=True)
                total.backward()
                optimiser.step()

        return step

    def forward(self, model: nn.Module, inputs: Batch, precision: str = "fp32") -> Step:
        """One forward call, and decoding where a model has that."""

        def step() -> None:
            model.eval()
            with threads_for(model), torch.inference_mode(), self.mixed(precision):
                answer = model(**inputs)
                if hasattr(model, "decode"):
                    model.decode(answer)

        return step

    @cached_property
    def machine(self) -> dict[str, float]:
        """GFLOP/s of a matrix product in fp32 and bf16; GB/s read and written by a copy of what no
        cache holds.
        """
        n, rates = self.product, {}
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            a, b = (torch.rand(n, n, device=self.device).to(dtype) for _ in range(2))
            (times,) = self.times(partial(torch.matmul, a, b))
            rates[name] = 2 * n**3 / float(np.median(times)) / GIGA
        large = torch.ones(2**25, device=self.device)  # 134 MB
        (times,) = self.times(partial(torch.empty_like(large).copy_, large))
        rates["copy"] = 2 * large.nbytes / float(np.median(times)) / GIGA
        return rates

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that make sense here: bf16 alone on a GPU, none where the processor has to imitate
        it.
        """
        if self.device == "cuda":
            return ("bf16",)
        return ("fp32", "bf16") if self.machine["bf16"] > self.machine["fp32"] else ("fp32",)

    def sizes(self, method: str, sizes: Mapping[str, int], times: int) -> Iterator[tuple]:
        """(configuration's name, configuration, people a call, precision) of what this device can
        hold; a GPU takes `times` as many people.
        """
        on_gpu = self.device == "cuda"
        for name, size in sizes.items():
            if on_gpu or name not in entry(method).large:
                for precision in self.precisions:
                    people = size * (times if on_gpu else 1)
                    yield name, self.config(method, name), people, precision


def _words(method: str, name: str, precision: str, size: int, model: nn.Module) -> dict:
    parameters = count_parameters(model)
    words = {"method": method, "configuration": name, "precision": precision, "batch": size}
    return words | {"parameters": parameters}


# --- the five methods -----------------------------------------------------------------------------


class _TorchEncoder(nn.Module):
    """torch's own encoder of PORT's size, from tokens to tokens."""

    def __init__(self, config: port_recipe.PortConfig):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            config.dim, config.heads, config.mlp_ratio * config.dim, 0.0, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.depth, enable_nested_tensor=False)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        return {"loss.x": self.encoder(tokens).square().mean()}


def port_cases(bench: Bench, size: int = 128) -> Iterator[Case]:
    """Learning and answering beside torch's own encoder; refining beside the model alone."""
    config = bench.config("port", "denoise")
    batch, model = bench.batch("port", config, size), build("port", config).to(bench.device)
    plain = _TorchEncoder(config).to(bench.device)
    tokens = {"tokens": torch.rand(size, len(batch["xy"][0]), config.dim, device=bench.device)}
    inputs = {k: v for k, v in batch.items() if k != "truth"}
    cost = forward_cost(model, **inputs)
    for precision in bench.precisions:
        words = _words("port", "denoise", precision, size, model)
        learn = bench.learner(model, batch, precision, "distance")
        other = bench.learner(plain, tokens, precision)
        yield Case("training step", learn, "torch's encoder", other, words)
        ours, other = (
            bench.forward(m, x, precision) for m, x in ((model, inputs), (plain, tokens))
        )
        yield Case("forward", ours, "torch's encoder", other, words, cost)
    refiner = PortRefiner(model, RefineRule((0.3,) * 21))
    _, detected = port_recipe.pairs("synthetic", n=size)
    words = {"method": "port", "configuration": "denoise", "batch": size}
    rival = bench.forward(model, inputs)
    yield Case("refining, px to px", partial(refiner.refine, detected), "forward", rival, words)


RELEASED_FRAMES = 101  # a window of the released program


def hanet_cases(bench: Bench, size: int = 64) -> Iterator[Case]:
    """The fast path, which carries the read frames alone through the encoder, beside the dense
    one; the live stream beside one window.
    """
    released = bench.config("hanet", "released"), RELEASED_FRAMES
    recipe = hanet_recipe.CONFIGS["hanet"], hanet_recipe.WINDOW
    pool = [xyz for _, xyz in motion.motions("synthetic", "train")]
    for name, (config, window) in (("released", released), ("recipe", recipe)):
        source = hanet_recipe.window_batches(pool, window, size)
        batch = {k: v.to(bench.device) for k, v in source(0, np.random.default_rng(0)).items()}
        model = build("hanet", config).to(bench.device)
        words = _words("hanet", name, "fp32", size, model)
        learn, dense = (
            bench.learner(model, {**batch, "dense": dense}, "fp32") for dense in (False, True)
        )
        yield Case("training step", learn, "dense path", dense, words)
        fast, dense = (
            bench.forward(model, {"xy": batch["xy"], "dense": dense}) for dense in (False, True)
        )
        cost = forward_cost(model, batch["xy"])
        yield Case("forward", fast, "dense path", dense, words, cost)
    refiner = SequenceRefiner(model, window)
    stream = refiner.stream(8)
    poses = itertools.cycle(batch["xy"][:, 0].cpu().double().numpy().reshape(size, -1, 2))
    for _ in range(window):
        stream.push(next(poses))
    one = bench.forward(model, {"xy": batch["xy"][:1]})
    words |= {"batch": 1}
    yield Case("a pose of a stream", lambda: stream.push(next(poses)), "one window", one, words)


# configuration -> people a call; a GPU takes eight times as many, and what is too large for others
VISSIMCC_SIZES = {"paper": 8, "small": 64}
OTPOSE_SIZES = {"paper": 1, "small": 16}
STDPOSE_SIZES = {"paper": 4, "small": 16}


def vissimcc_cases(bench: Bench, sizes: Mapping[str, int] | None = None) -> Iterator[Case]:
    """SimCC with the module beside plain SimCC."""
    for name, config, size, precision in bench.sizes("vissimcc", sizes or VISSIMCC_SIZES, 8):
        batch = bench.batch("vissimcc", config, size)
        batch["images"] = batch["images"].contiguous(memory_format=torch.channels_last)
        images = {"images": batch["images"]}
        module, plain = (
            bench.model(build("vissimcc", config, reasoning=flag)) for flag in (True, False)
        )
        words = _words("vissimcc", name, precision, size, module)
        steps = (bench.learner(model, batch, precision) for model in (module, plain))
        yield Case("training step", next(steps), "plain SimCC", next(steps), words)
        steps = (bench.forward(model, images, precision) for model in (module, plain))
        cost = forward_cost(module, **images)
        yield Case("forward", next(steps), "plain SimCC", next(steps), words, cost)


def otpose_cases(
    bench: Bench,
    sizes: Mapping[str, int] | None = None,
    encoders: tuple[str, ...] = ("paper", "small"),
) -> Iterator[Case]:
    """Five crops to joints beside the backbone alone; the temporal encoder beside a matrix product
    of as many operations.
    """
    for name, config, size, precision in bench.sizes("otpose", sizes or OTPOSE_SIZES, 8):
        batch = bench.batch("otpose", config, size)
        model = bench.model(build("otpose", config))
        images = {"images": batch["images"]}
        words = _words("otpose", name, precision, size, model)
        crops = {"images": batch["images"].flatten(0, 1)}
        backbone = bench.forward(model.maps, crops, precision)
        ours = bench.forward(model, images, precision)
        yield Case(
            "forward", ours, "backbone alone", backbone, words, forward_cost(model, **images)
        )
        step = bench.learner(model, batch, precision)
        yield Case("training step", step, "backbone forward", backbone, words)
    for name, precision in itertools.product(encoders, bench.precisions):
        yield encoder_case(bench, name, bench.config("otpose", name), precision)


def encoder_case(bench: Bench, name: str, config: object, precision: str) -> Case:
    """OTPose's temporal encoder of one person."""
    channels, (w, h) = config.joints * N_FEATURES, config.grid
    encoder = OTPoseEncoder(channels, config.layers, config.heads, config).to(bench.device)
    maps = {"maps": torch.rand(1, channels, h, w, device=bench.device)}
    cost = forward_cost(encoder, **maps)
    rows = max(round(cost.flops / 2 / 2048**2), 1)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.rand(n, 2048, device=bench.device).to(kind) for n in (rows, 2048))
    words = _words("otpose", name, precision, 1, encoder)
    ours = bench.forward(encoder, maps, precision)
    return Case(
        "temporal encoder", ours, "a matrix product", partial(torch.matmul, a, b), words, cost
    )


def stdpose_cases(bench: Bench, sizes: Mapping[str, int] | None = None) -> Iterator[Case]:
    """Three crops and the labels of two of them to the joints of the third, beside the backbone
    alone.
    """
    for name, config, size, precision in bench.sizes("stdpose", sizes or STDPOSE_SIZES, 8):
        batch = bench.batch("stdpose", config, size)
        model = bench.model(build("stdpose", config))
        inputs = {k: v for k, v in batch.items() if k not in ("xy_crop", "weights")}
        words = _words("stdpose", name, precision, size, model)
        crops = {"images": batch["images"].flatten(0, 1)}
        backbone = bench.forward(model.backbone, crops, precision)
        ours, cost = bench.forward(model, inputs, precision), forward_cost(model, **inputs)
        yield Case("forward", ours, "backbone alone", backbone, words, cost)
        step = bench.learner(model, batch, precision)
        yield Case("training step", step, "backbone forward", backbone, words)


# --- starts, files, pictures ----------------------------------------------------------------------


def _process(*words: str) -> Step:
    """A fresh interpreter."""
    return partial(subprocess.run, [sys.executable, *words], check=True, capture_output=True)


FIRST_CELL = """
import numpy as np, workbench
from workbench.recipes import port as recipe
from workbench.taps import record
from workbench.view import exercises, notebook, paper
from workbench.view.chapters.port import PortExplorer
"""


def start_cases(_bench: Bench) -> Iterator[Case]:
    """What stands before any work."""
    torch_alone = _process("-c", "import torch")
    load = _process("-c", "import workbench; workbench.load('port')")
    yield Case('load("port")', load, "import torch", torch_alone)
    yield Case("first cell of 02_port", _process("-c", FIRST_CELL), "import torch", torch_alone)
    nothing = _process("-c", "pass")
    yield Case("workbench --help", _process("-m", "workbench", "--help"), "python", nothing)


def _coco_files(folder: Path, people: int) -> tuple[Path, Path]:
    """Annotations and results of made-up people, some ten a picture."""
    rng = np.random.default_rng(0)
    truth = sample_bodies(people, rng)
    boxes = np.concatenate((truth.boxes_xyxy[:, :2], np.ptp(truth.xy_frame, axis=1)), 1)
    joints = np.concatenate((truth.xy_frame, truth.visibility[..., None]), -1).reshape(people, -1)
    keypoints, boxes = joints.round(2).tolist(), boxes.round(2).tolist()
    annotations = [
        {
            "id": i,
            "image_id": i // 10,
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": keypoints[i],
            "num_keypoints": 17,
            "bbox": boxes[i],
            "area": boxes[i][2] * boxes[i][3] / 2,
        }
        for i in range(people)
    ]
    images = [
        {"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480}
        for i in range(-(-people // 10))
    ]
    names = list(SKELETONS["coco17"].joints)
    categories = [{"id": 1, "name": "person", "keypoints": names, "skeleton": []}]
    joints[:, ::3] += rng.normal(0, 3, (people, 17))
    results = [
        {"image_id": i // 10, "category_id": 1, "keypoints": row, "score": float(score)}
        for i, (row, score) in enumerate(zip(joints.round(2).tolist(), rng.random(people)))
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    files = folder / "truth.json", folder / "results.json"
    for path, value in zip(files, (content, results)):
        path.write_text(json.dumps(value))
    return files


def _evaluated(truth: Path, results: Path) -> None:
    """One row by pycocotools itself."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(io.StringIO()):
        known = COCO(str(truth))
        evaluation = COCOeval(known, known.loadRes(str(results)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()


def _indexed(truth: Path) -> None:
    from pycocotools.coco import COCO

    with redirect_stdout(io.StringIO()):
        COCO(str(truth))


def file_cases(_bench: Bench, people: int = 20_000) -> Iterator[Case]:
    """A COCO file read, and results scored: three rows, by visibility, beside one."""
    words = {"people": people}
    with tempfile.TemporaryDirectory() as folder:
        truth, results = _coco_files(Path(folder), people)
        rival = partial(_indexed, truth)
        yield Case("COCO file read", partial(read_coco, truth), "pycocotools' index", rival, words)
        ours = partial(score_files, results, truth, boxes="ground truth")
        rival = partial(_evaluated, truth, results)
        yield Case("scored, three rows", ours, "pycocotools, one row", rival, words)


def _film(folder: Path, size_wh: tuple[int, int], n: int) -> list[Path]:
    """JPEG pictures of a scene that moves."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    scene = cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC)
    paths = [folder / f"{i:03d}.jpg" for i in range(n)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.roll(scene, 5 * i, 1))
    return paths


def _people(n_frames: int, size_wh: tuple[int, int]) -> Prediction:
    """Two made-up people in every frame."""
    rng = np.random.default_rng(0)
    frames = np.repeat(np.arange(n_frames), 2)
    xy = (rng.uniform(0.2, 0.8, (len(frames), 17, 2)) * size_wh).astype(np.float32)
    boxes = np.concatenate((xy.min(1), xy.max(1)), 1)
    seen = np.ones(xy.shape[:2], np.float32)
    people = Detections("coco17", xy, seen, boxes, frames=frames, tracks=np.arange(len(frames)) % 2)
    return Prediction("coco17", xy, seen, seen > 2, "bench", people)


def video_cases(
    _bench: Bench, size_wh: tuple[int, int] = (1920, 1080), n: int = 24
) -> Iterator[Case]:
    """An overlay of a video of 1080 lines beside encoding alone; its frames from the last to the
    first beside in order; windows beside decoding alone.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _film(folder, size_wh, n)
        people, numbers = _people(n, size_wh), itertools.count()
        with open_frames(folder) as video:
            drawn = [draw_refined(frame, by_frame(people)(i)) for i, frame in enumerate(video)]
        words = {"frames": n, "size": "{}x{}".format(*size_wh)}

        def overlay() -> None:
            with open_frames(folder) as video:
                write_overlay(folder / f"{next(numbers)}.webm", video, people)

        def encode() -> None:
            write_video(folder / f"{next(numbers)}.webm", drawn)

        yield Case("overlay written", overlay, "encoding alone", encode, words)
        path = write_video(folder / "long.webm", itertools.chain(*[drawn] * 4))
        with open_frames(path) as back, open_frames(path) as forth:
            words = {**words, "frames": len(back)}

            def backward() -> None:
                for i in reversed(range(len(back))):
                    back[i]

            ordered = partial(collections.deque, forth, 0)
            yield Case("frames, last to first", backward, "in order", ordered, words)
    with tempfile.TemporaryDirectory() as name:
        n, size_wh = 64, (640, 480)
        paths = _film(Path(name), size_wh, n)
        xy = np.random.default_rng(0).uniform((200, 80), (420, 420), (n, 17, 2))
        boxes = np.tile([180.0, 60, 440, 440], (n, 1))
        track = Track("coco17", 0, xy, np.full((n, 17), 2), np.ones(n, bool), boxes)
        pictures = tuple(Picture(path.name, size_wh=size_wh) for path in paths)
        clip = Clip(Video("bench", n, *size_wh), [track], pictures)
        windows = Windows([(clip, name)], WindowConfig((96, 128), (0,)))
        read = partial(windows.batch, np.arange(16), np.random.default_rng(0))

        def decode() -> None:
            for path in paths[:16]:
                read_picture(path)

        words = {"people": 16, "size": "640x480"}
        yield Case("windows of pictures", read, "decoding alone", decode, words)


def world_cases(
    _bench: Bench, name: str = "synthetic", pictures: str = "occluded_people", n: int = 100
) -> Iterator[Case]:
    """Clips of the frozen worlds rendered, beside the same from the cache; and pictures rendered
    into a cache by as many processes as there are processors, beside one.
    """
    with tempfile.TemporaryDirectory() as folder:
        clips = cached_clips(name, "train", 1, folder=folder, progress=False)

        def read() -> None:
            clip, frames = clips[0]
            [frames[i] for i in range(clip.video.n_frames)]

        index = itertools.count()
        render = lambda: sample_clip(name, "train", next(index) % 3)  # noqa: E731
        video = clips[0][0].video
        words = {"frames": video.n_frames, "size": f"{video.width}x{video.height}"}
        yield Case("clip rendered", render, "read from the cache", read, words)

    def fill(workers: int | None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            cached_clips(pictures, "train", n, folder=folder, workers=workers, progress=False)

    words = {"pictures": n, "processes": os.cpu_count()}
    yield Case("cache filled", partial(fill, None), "by one process", partial(fill, 1), words)


def some_explorers() -> Iterator[tuple[str, Explorer, Mapping, Mapping]]:
    """Name, explorer, and two states of a control that needs its model."""
    truth, detected = port_recipe.pairs("synthetic", n=8, seed=3)
    yield (
        "port, a joint hidden",
        PortExplorer(load("port"), detected, truth),
        {"hidden": [5]},
        {"hidden": [9]},
    )
    yield (
        "hanet, a joint hidden for a while",
        HANetExplorer(load("hanet"), motion.sequences("synthetic", "test")[:2]),
        {"span": [4, 12]},
        {"span": [8, 20]},
    )
    aware, naive = load("vissimcc"), load("vissimcc-reasoning")
    people = vissimcc_recipe.people("test", aware.model.config, 4)
    yield (
        "vissimcc, a patch painted",
        VisSimCCExplorer(aware, naive, people),
        {"brush": [patch(30, 40, 24, (0, 0))]},
        {"brush": [patch(50, 60, 24, (0, 0))]},
    )


# A key, then the frame of the screen that shows its answer: the first one draws, the second has it.
KEY = """selector => new Promise(done => {
  const place = document.querySelector(selector);
  place.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
  requestAnimationFrame(() => requestAnimationFrame(done));
})"""


@contextmanager
def _in_a_browser(*pages: str) -> Iterator[list[Callable]]:
    """`evaluate` of every page, opened side by side in chromium; none where playwright or chromium
    is missing.
    """
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if not chromium:
        yield []
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = [browser.new_page(viewport={"width": 1280, "height": 720}) for _ in pages]
        for page, text in zip(opened, pages):
            page.set_content(text)
            page.wait_for_timeout(500)
        yield [page.evaluate for page in opened]
        browser.close()


def explorer_cases(_bench: Bench) -> Iterator[Case]:
    """From a control's new value in the kernel to the message that shows its answer, beside the
    models' share; and from a key to the screen's next frame in a browser, where there is one,
    beside a page that does nothing.
    """
    for what, explorer, first, second in some_explorers():
        states = itertools.cycle((first, second))
        again = lambda e=explorer, s=states: e.choose(**next(s))  # noqa: E731
        alone = lambda e=explorer: e.compute(dict(e.state))  # noqa: E731
        yield Case(what, again, "its models alone", alone, {"kB": len(explorer.data) // 1000})
        nothing = "<!DOCTYPE html><p tabindex=0>nothing</p>"
        with _in_a_browser(explorer.page(), nothing) as evaluate:
            if evaluate:
                ours = partial(evaluate[0], KEY, ".row canvas")
                rival = partial(evaluate[1], KEY, "p")
                yield Case(f"{what}: a key to pixels, page", ours, "an empty page", rival)


CASES: Mapping[str, Callable[[Bench], Iterator[Case]]] = {
    "port": port_cases,
    "hanet": hanet_cases,
    "vissimcc": vissimcc_cases,
    "otpose": otpose_cases,
    "stdpose": stdpose_cases,
    "starts": start_cases,
    "files": file_cases,
    "videos": video_cases,
    "worlds": world_cases,
    "explorers": explorer_cases,
}


def bench(name: str = "port", *, device: str = "auto", seconds: float = 3.0) -> dict:
    """{schema_version, protocol, hardware, machine, rows} of one of `CASES`, or of all."""
    if name not in (*CASES, "all"):
        raise unknown("benchmark", name, (*CASES, "all"))
    device = accelerator(device).device.type
    keep_freed()  # as every predictor asks
    measured = Bench(device, seconds, product=8192 if device == "cuda" else 1024)
    protocol = (
        "ours and what stands beside it called in turn in one process, medians of about "
        f"{seconds:g} s a row; ratio: of neighbouring calls, median and middle half; torch "
        f"{torch.__version__}, {threads_in_words()}; load {psutil.getloadavg()[0]:.1f}"
    )
    chosen = CASES if name == "all" else {name: CASES[name]}
    rows = [measured.row(case) for cases in chosen.values() for case in cases(measured)]
    return {
        "schema_version": 2,
        "protocol": protocol,
        "hardware": hardware_in_words(device),
        "machine": measured.machine,
        "rows": rows,
    }
