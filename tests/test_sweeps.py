"""A grid on several workers of which one is killed: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import psutil
import pytest
from typer.testing import CliRunner

from tests.notebooks import write_notebook
from workbench import cli, sweeps
from workbench.errors import BadParameter, Busy, UnknownName
from workbench.outputs import alone

pytestmark = pytest.mark.notebook
pytest.importorskip("distributed")
# each start leaves a line, so that what is done twice is seen; `gate`, where given, is waited for
CELLS = """import os, time
with open(log, "a") as file:
    file.write(f"{ratio} {seed} {os.getpid()}\\n")
while gate and not os.path.exists(gate):
    time.sleep(0.05)
if fails and ratio == 0.2 and not os.path.exists(log + ".once"):
    open(log + ".once", "w").close()
    raise ValueError("this time")
shown = {"px": ratio * 10 + seed, "error": 1}
display({'application/x.workbench.metrics+json': shown}, raw=True)"""
PARAMETERS = "ratio = 0.1\nseed = 0\nlog = ''\ngate = ''\nfails = False\nprofile = 'fast'"
GRID = {"ratio": ["0.1", "0.2"], "seed": ["0", "1"]}


@pytest.fixture
def place(tmp_path):
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks" / "01_one.ipynb", CELLS, parameters=PARAMETERS)
    return {"source": tmp_path / "notebooks"}, tmp_path


def begin(place, grid=GRID, **given):
    options, folder = place
    given = {"log": str(folder / "log"), **given}
    return sweeps.begin("one", grid, given, out=folder / "sweeps", **options)


def starts(folder):
    return [line.rsplit(" ", 1)[0] for line in (folder / "log").read_text().splitlines()]


def test_a_grid_is_checked_before_anything_starts(place):
    assert sweeps.parsed_grid(["a=1,2", "b=x"]) == {"a": ["1", "2"], "b": ["x"]}
    for texts in (["a"], ["a="], ["a=1", "a=2"]):
        with pytest.raises(BadParameter):
            sweeps.parsed_grid(texts)
    for grid, error in (
        ({}, BadParameter),
        ({"ratios": ["1"]}, BadParameter),
        ({"seed": ["0", "x"]}, BadParameter),
        ({"seed": ["0", "0"]}, BadParameter),
        ({"log": ["a"]}, BadParameter),  # given to all, too
        ({"seed": map(str, range(200_000))}, BadParameter),
    ):
        with pytest.raises(error):
            begin(place, {name: list(values) for name, values in grid.items()})
    assert not (place[1] / "sweeps").exists()
    chosen = begin(place)
    assert [(p["ratio"], p["seed"]) for p in chosen.record["points"]] == [
        (0.1, 0),
        (0.1, 1),
        (0.2, 0),
        (0.2, 1),
    ]
    assert sweeps.load_sweep(chosen.id, place[1] / "sweeps").record == chosen.record
    with pytest.raises(UnknownName, match="did you mean"):
        sweeps.load_sweep(chosen.id[:-1], place[1] / "sweeps")


def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(place):
    options, folder = place
    gate = folder / "gate"
    chosen = begin(place, {"ratio": ["0.1", "0.2", "0.3"], "seed": ["0", "1"]}, gate=str(gate))
    killed = []

    def kill_one():
        """The worker of a point that has begun, while all wait at the gate."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (folder / "log").exists():
            time.sleep(0.05)
        kernel = psutil.Process(int((folder / "log").read_text().split()[2]))
        runner = kernel.parent()  # papermill's process, then dask's worker
        killed.append(starts(folder)[0])
        os.kill(runner.parent().pid, signal.SIGKILL)
        time.sleep(1)
        gate.touch()

    thread = threading.Thread(target=kill_one)
    thread.start()
    sweeps.execute(chosen, jobs=2, progress=False, **options)
    thread.join()
    assert killed and chosen.left == []
    table = chosen.table()
    assert list(table["status"]) == ["completed"] * 6
    assert list(table["px"]) == pytest.approx([1, 2, 2, 3, 3, 4])
    begun = starts(folder)
    # what the dead worker had begun is begun again, and nothing else
    assert sorted(begun) == sorted([*set(begun), *killed])
    before = {n: (chosen.place(n) / "result.json").stat().st_mtime_ns for n in range(6)}
    sweeps.execute(chosen, jobs=2, progress=False, **options)
    assert starts(folder) == begun
    assert before == {n: (chosen.place(n) / "result.json").stat().st_mtime_ns for n in range(6)}


def test_what_fails_is_tried_again_and_the_others_go_on(place):
    options, folder = place
    chosen = begin(place, fails=True)
    sweeps.execute(chosen, jobs=1, retries=0, progress=False, **options)
    assert len(chosen.left) == 1 and "this time" in " ".join(chosen.table()["error"])
    with alone(chosen.folder / "sweep.json", "this sweep"), pytest.raises(Busy):
        sweeps.execute(chosen, progress=False, **options)
    sweeps.execute(chosen, jobs=1, progress=False, **options)
    assert chosen.left == [] and len(starts(folder)) == 5


@pytest.mark.parametrize(
    ("grid", "x", "who"),
    [
        ({"seed": ["0", "1"]}, None, None),
        ({"gate": ["a", "b"], "seed": ["0"]}, None, None),
        ({"ratio": ["0.1", "0.2"]}, "ratio", {"px"}),
        (
            {"gate": ["a", "b"], "ratio": ["0.1", "0.2"], "fails": ["true", "false"]},
            "ratio",
            {f"gate = {g}, fails = {f}" for g in "ab" for f in (True, False)},
        ),
    ],
)
def test_a_figure_has_a_line_for_all_that_is_no_seed(place, grid, x, who):
    """As if all had run; what is told apart by nothing would be two values at one place."""
    chosen = begin(place, grid)
    for n, point in enumerate(chosen.record["points"]):
        outcome = {"status": "completed", "error": None, "metrics": {"px": point.get("ratio", 0)}}
        sweeps.write_text(chosen.place(n) / "result.json", json.dumps(outcome))
    found = sweeps.figure_rows(chosen)
    assert (found and found[0]) == x
    if x:
        assert set(found[2]["who"]) == who
        assert not found[2].duplicated([x, "who", "seed"]).any()
    with pytest.raises(UnknownName, match="metric"):
        sweeps.figure_rows(chosen, "mm")


def test_a_scheduler_that_does_not_answer_is_named(place):
    chosen = begin(place)
    with pytest.raises(BadParameter, match="no scheduler answers"):
        sweeps.execute(chosen, scheduler="tcp://127.0.0.1:9", progress=False, **place[0])


def test_a_scheduler_of_the_user_s_own_and_its_workers(place, monkeypatch):
    """As `dask scheduler` and `dask worker` in other terminals: none of ours is started."""
    options, folder = place
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    start = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--no-dashboard",
        "--port",
        "0",
    ]
    file = folder / "scheduler.json"
    work = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-dashboard"]
    work += ["--nthreads", "1", "--no-nanny", "--scheduler-file", str(file)]
    with ExitStack() as stack:
        for command in ([*start, "--scheduler-file", str(file)], work, work):
            process = subprocess.Popen(command, env=env, cwd=folder, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            while not file.exists():
                time.sleep(0.1)
        monkeypatch.setattr("distributed.LocalCluster", None)
        address = json.loads(file.read_text())["address"]
        chosen = begin(place)
        sweeps.execute(chosen, scheduler=address, progress=False, **options)
    assert list(chosen.table()["px"]) == pytest.approx([1, 2, 2, 3])
    assert sorted(starts(folder)) == sorted(set(starts(folder))) and len(starts(folder)) == 4


def test_the_command_ends_in_a_table_and_a_figure_with_bands(place, monkeypatch):
    folder = place[1]
    monkeypatch.setattr("workbench.runs.resource", lambda name: folder / name)
    grid = ["--grid", "ratio=0.1,0.2", "--grid", "seed=0,1", "-p", f"log={folder / 'log'}"]
    out = ["--out", str(folder / "sweeps"), "--jobs", "2", "--metric", "px"]
    done = CliRunner().invoke(cli.app, ["sweep", "one", *grid, *out])
    assert done.exit_code == 0, (done.output, done.exception)
    (place_,) = (folder / "sweeps").iterdir()
    lines = (place_ / "table.csv").read_text().splitlines()
    assert len(lines) == 5 and "ratio" in lines[0]
    assert (place_ / "px.svg").read_text().startswith("<")
    again = CliRunner().invoke(cli.app, ["sweep", "--resume", place_.name, *out])
    assert again.exit_code == 0 and "0 points" in again.output
