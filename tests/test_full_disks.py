"""Every command on a disk that is full: a named error that says where, and nothing half is left.

`ulimit -f` stands for a disk on which no file finds room; a small tmpfs, where it may be mounted,
is one that fills up on the way.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tests.notebooks import write_notebook
from workbench.film import write_video
from workbench.outputs import BESIDE
from workbench.runs import run_notebooks

pytestmark = pytest.mark.notebook
CARRY = (
    "propagate {here}/film.webm --labels {here}/truth.json --skeleton coco17 --method linear "
    "--first-frame 0"
)
COMMANDS = {
    "train": "train port --steps 2 --out {disk}/port.safetensors",
    "evaluate": "evaluate port --data synthetic --json {disk}/evaluate.json",
    "score": "score {here}/results.json --truth {here}/truth.json --json {disk}/score.json",
    "bench": "bench --method port --seconds 0.1 --json {disk}/bench.json",
    "predict": "predict port {here}/film.webm --keypoints {here}/mine.json --force --out {disk}/p",
    "overlay": f"{CARRY} --out {{here}}/carried.json --overlay {{disk}}/overlay.webm",
    "propagate": f"{CARRY} --out {{disk}}/carried.json",
    "explore": "explore port --image {here}/picture.png --keypoints {here}/one.json "
    "--html {disk}/page.html",
    "run": "run one --out {disk}/runs",
    "sweep": "sweep one --grid n=1,2 --out {disk}/sweeps",
    "export": "runs export {run} --out {here}/runs --to {disk}/run.zip",
}
CODE = """
    import json, pathlib, sys
    from typer.testing import CliRunner
    from workbench import cli, runs
    from workbench.recipes import port
    from dataclasses import replace
    here, commands = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
    runs.resource = lambda name: here / name
    own = replace(port.DATA, test=101, ship=53, files=2)
    recipe = replace(port.RECIPE, own=own, folder=here / "trained")
    for name, words in commands.items():
        found = CliRunner().invoke(cli.app, words, obj={"port": recipe})
        print(json.dumps([name, type(found.exception).__name__, str(found.exception)]), flush=True)
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """What the commands read, and a run."""
    folder = tmp_path_factory.mktemp("here")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (12, 96, 128, 3), np.uint8)
    write_video(folder / "film.webm", pictures)
    import cv2

    cv2.imwrite(str(folder / "picture.png"), pictures[0])
    flat = [v for j in range(17) for v in (20.0 + 3 * j, 10.0 + 4 * j, 0.05 if j < 3 else 0.9)]
    results = [
        {"image_id": i, "category_id": 1, "keypoints": flat, "score": 0.7} for i in range(12)
    ]
    truth = [
        {"id": i + 1, "image_id": i, "category_id": 1, "track_id": 1, "num_keypoints": 17}
        | {"keypoints": [v if k % 3 < 2 else 2 for k, v in enumerate(flat)]}
        | {"bbox": [10, 5, 80, 80], "area": 6400, "iscrowd": 0}
        for i in (0, 11)
    ]
    images = [{"id": i, "file_name": f"{i:06d}.jpg", "width": 128, "height": 96} for i in range(12)]
    labels = {"images": images, "annotations": truth}
    labels |= {"categories": [{"id": 1, "name": "person"}]}
    for name, content in (("mine", results), ("one", results[:1]), ("truth", labels)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "results.json").write_text(json.dumps([results[0], results[11]]))
    (folder / "notebooks").mkdir()
    shown = "display({'application/x.workbench.metrics+json': {'px': n}}, raw=True)"
    source = folder / "notebooks"
    write_notebook(source / "01_one.ipynb", shown, parameters="n = 0")
    run_notebooks(["one"], out=folder / "runs", source=source, progress=False)
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)]
    done = subprocess.run(["mount", *options], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs may be mounted: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def ended(here: Path, disk: Path, names, limit: int | None = None) -> dict[str, tuple[str, str]]:
    """What each command ended with, one after the other in a process. limit: bytes a file."""

    def small():
        if limit:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    run = next(iter(sorted(path.name for path in (here / "runs").glob("*"))), "none")
    words = {
        name: [word.format(disk=disk, here=here, run=run) for word in COMMANDS[name].split()]
        for name in names
    }
    command = [sys.executable, "-c", textwrap.dedent(CODE), str(here), json.dumps(words)]
    env = os.environ | {"XDG_CACHE_HOME": str(here / "cache")}
    options = {"capture_output": True, "text": True, "preexec_fn": small, "env": env}
    done = subprocess.run(command, timeout=600, **options)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    assert [row[0] for row in rows] == list(names), done.stderr
    return {name: (kind, text) for name, kind, text in rows}


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if BESIDE.fullmatch(path.name)]


def test_where_no_file_finds_room_every_command_says_so(here, tmp_path):
    for name, (kind, text) in ended(here, tmp_path, COMMANDS, limit=150).items():
        assert kind == "CannotWrite" and "nothing was written" in text, (name, kind, text)
        first = here if name in ("train", "overlay") else tmp_path  # states, poses
        assert str(first) in text, (name, text)
    assert left(tmp_path) == [] and left(here) == []


def test_on_a_full_disk_every_command_says_so(here, small_disk):
    filler = small_disk / "filler"
    with pytest.raises(OSError), open(filler, "wb", 0) as file:
        while True:
            file.write(bytes(4096))
    for name, (kind, text) in ended(here, small_disk, COMMANDS).items():
        assert kind == "CannotWrite" and str(small_disk) in text, (name, kind, text)
        assert "no space is left: 0 bytes are free" in text or "0 of 12 frames" in text, text
    assert [path.name for path in small_disk.rglob("*") if path.is_file()] == ["filler"]
    assert left(small_disk) == [] and left(here) == []


@pytest.mark.parametrize("name", ["run", "predict"])
def test_a_disk_that_fills_up_on_the_way_is_named(here, small_disk, name):
    ((kind, text),) = ended(here, small_disk, [name]).values()
    assert kind == "CannotWrite" and str(small_disk) in text
    assert left(small_disk) == []
