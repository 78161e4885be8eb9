"""Whatever is killed, whenever: nothing half is read as whole, and what goes on afterwards ends as
it would have ended.

One kill of each command here; WORKBENCH_KILLS=20 (`pytest tests/test_kills.py`) for more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest

from tests.notebooks import write_notebook
from workbench import checkpoint
from workbench.data.frames import open_frames
from workbench.film import write_video
from workbench.outputs import BESIDE
from workbench.runs import list_runs
from workbench.sweeps import load_sweep

KILLS = int(os.environ.get("WORKBENCH_KILLS", "1"))
pytestmark = pytest.mark.notebook


def ended(code: str, *arguments: object) -> subprocess.Popen:
    """A Python that runs the code, in a process group of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, start_new_session=True, **pipes)


def killed(code: str, *arguments: object, after_s: float) -> bool:
    """Whether it was still there to be killed."""
    process = ended(code, *arguments)
    try:
        process.wait(after_s)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def whole(code: str, *arguments: object) -> float:
    """Runs it to its end; the seconds that it took."""
    start = time.monotonic()
    process = ended(code, *arguments)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return time.monotonic() - start


def kill_often(
    code: str, place: Callable[[str], Path], check: Callable[[Path], None], rng: np.random.Generator
) -> tuple[Path, Path]:
    """Kills it `KILLS` times, each time looking at what is there, and lets it end; the place of an
    undisturbed run, and of this one.
    """
    seconds = whole(code, place("whole"))
    hits = 0
    for _ in range(20 * KILLS):
        start = time.monotonic()
        hit = killed(code, place("killed"), after_s=rng.uniform(0.3, 1.0) * seconds)
        check(place("killed"))
        hits += hit
        if hits == KILLS:
            break
        if not hit:  # it had ended: from the beginning, and no later than it ends
            seconds = min(seconds, time.monotonic() - start)
            rmtree(place("killed"), ignore_errors=True)
            place("killed").unlink(missing_ok=True)
    assert hits
    whole(code, place("killed"))
    left = [path for path in place("killed").parent.rglob("*") if BESIDE.fullmatch(path.name)]
    assert not left, "swept by who wrote next"
    return place("whole"), place("killed")


TRAIN = """
import sys, time
import numpy as np, torch
from torch import nn
from workbench.train import TrainConfig, train

class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
    def forward(self, x, y):
        return {"loss.squared": (self.layer(x) - y).square().mean()}

def batches(step, rng):
    time.sleep(0.01)
    x = torch.tensor(rng.normal(size=(17, 3)), dtype=torch.float32)
    return {"x": x, "y": x.sum(1, keepdim=True)}

torch.manual_seed(1)
config = TrainConfig(steps=200, batch_size=17, lr=0.1, save_every=20, ema=0.9)
options = {"loss_weights": {"squared": 1.0}, "device": "cpu", "progress": False}
train(Line(), batches, config, sys.argv[1], **options)
"""


def test_a_training(tmp_path):
    def check(out):
        model = out / "model.safetensors"
        if model.exists():
            checkpoint.read_tensors(model)  # looks at its sum

    place = lambda name: tmp_path / name / "out"  # noqa: E731
    one, two = kill_often(TRAIN, place, check, np.random.default_rng(0))
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()


RUN = """
import pathlib, sys
from workbench.runs import list_runs, resume_run, run_notebooks
out = pathlib.Path(sys.argv[1])
options = {"out": out, "source": out.parents[1] / "notebooks", "progress": False}
left = [run for run in list_runs(out) if run.status == "interrupted"]
done = resume_run(left[0].id, **options) if left else run_notebooks(["a", "b"], **options)
assert done.status == "completed"
"""
CELL = """import time; time.sleep(0.3)
display({'application/x.workbench.metrics+json': {"n": n}}, raw=True)"""


def test_a_run_of_notebooks(tmp_path):
    (tmp_path / "notebooks").mkdir()
    for i, name in enumerate("ab"):
        path = tmp_path / "notebooks" / f"0{i}_{name}.ipynb"
        write_notebook(path, CELL, parameters=f"n = {i}")

    def check(out):
        assert all(run.status in ("interrupted", "completed") for run in list_runs(out))

    place = lambda name: tmp_path / name / "runs"  # noqa: E731
    one, two = kill_often(RUN, place, check, np.random.default_rng(1))
    (first,) = list_runs(one)
    last = list_runs(two)[0]
    for run in (first, last):
        metrics = {name: entry["metrics"] for name, entry in run.record["notebooks"].items()}
        assert metrics == {"00_a": {"n": 0}, "01_b": {"n": 1}}


PREDICT = """
import sys
from workbench import predict
out = sys.argv[1]
folder = out.rsplit("/", 2)[0]
predict.video(f"{folder}/film.webm", f"{folder}/mine.json", out=out, force=True)
"""


def test_a_prediction(tmp_path):
    rng = np.random.default_rng(2)
    write_video(tmp_path / "film.webm", rng.integers(0, 255, (40, 240, 320, 3), np.uint8))
    flat = [v for j in range(17) for v in (20 + 3 * j, 10 + 4 * j, 0.05 if j in (3, 9) else 0.9)]
    items = [{"image_id": f, "category_id": 1, "keypoints": flat, "score": 0.7} for f in range(40)]
    (tmp_path / "mine.json").write_text(json.dumps(items))

    def check(out):
        for path in out.glob("*.webm"):
            with open_frames(path) as frames:
                assert len(list(frames)) == 40
        for path in out.glob("*.json"):
            assert len(json.loads(path.read_text())) == 40

    place = lambda name: tmp_path / name / "out"  # noqa: E731
    one, two = kill_often(PREDICT, place, check, rng)
    for ending in ("refined.json", "joints.csv"):
        (first,), others = one.glob(f"*_{ending}"), [*two.glob(f"*_{ending}")]
        assert others and all(first.read_bytes() == other.read_bytes() for other in others)


PROPAGATE = """
import pathlib, sys
from typer.testing import CliRunner
from workbench import cli
from workbench.errors import Taken
out = pathlib.Path(sys.argv[1])
folder = out.parents[1]
words = ["propagate", str(folder / "clip"), "--labels", str(folder / "labels.json"), "--out"]
words += [str(out), "--method", "farneback", "--first-frame", "0", "--skeleton", "coco17"]
done = CliRunner().invoke(cli.app, words)
assert done.exit_code == 0 or isinstance(done.exception, Taken), done.exception
"""


def test_a_propagation(tmp_path):
    import cv2

    rng = np.random.default_rng(3)
    (tmp_path / "clip").mkdir()
    base = cv2.GaussianBlur(rng.integers(0, 255, (240, 320, 3)).astype(np.uint8), (0, 0), 3)
    for i in range(30):
        cv2.imwrite(str(tmp_path / "clip" / f"{i:06d}.jpg"), np.roll(base, 2 * i, 1))
    people = [
        {
            "id": i + 1,
            "image_id": i,
            "category_id": 1,
            "track_id": 1,
            "keypoints": [v for j in range(17) for v in (60 + 5 * j + 2 * i, 50 + 5 * j, 2)],
            "num_keypoints": 17,
            "bbox": [50 + 2 * i, 40, 110, 110],
        }
        for i in (0, 10, 20, 29)
    ]
    content = {
        "images": [{"id": i, "file_name": f"{i:06d}.jpg"} for i in (0, 10, 20, 29)],
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(content))

    def check(out):
        if out.exists():
            assert len(json.loads(out.read_text())["annotations"]) == 30

    place = lambda name: tmp_path / name / "out.json"  # noqa: E731
    one, two = kill_often(PROPAGATE, place, check, rng)
    assert one.read_bytes() == two.read_bytes()


SWEEP = """
import pathlib, sys
from workbench import sweeps
out = pathlib.Path(sys.argv[1])
source = out.parents[1] / "notebooks"
known = sorted(out.glob("*/sweep.json")) if out.exists() else []
if known:
    chosen = sweeps.load_sweep(known[0].parent.name, out)
else:
    chosen = sweeps.begin("a", {"n": [1, 2]}, out=out, source=source)
sweeps.execute(chosen, jobs=2, source=source, progress=False)
assert not chosen.left
"""


def test_a_sweep(tmp_path):
    pytest.importorskip("distributed")
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks" / "00_a.ipynb", CELL, parameters="n = 0")

    def check(out):
        for file in out.glob("*/sweep.json"):
            load_sweep(file.parent.name, out).table()

    place = lambda name: tmp_path / name / "sweeps"  # noqa: E731
    tables = []
    for out in kill_often(SWEEP, place, check, np.random.default_rng(4)):
        (folder,) = out.iterdir()
        tables.append(load_sweep(folder.name, out).table())
    assert tables[0].equals(tables[1]) and list(tables[0]["status"]) == ["completed"] * 2
