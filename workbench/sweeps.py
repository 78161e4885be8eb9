"""A notebook over a grid of parameters, by dask: on this machine, or wherever the user's own
scheduler has workers.

A sweep's folder holds `sweep.json` (what is asked for, and where it comes from) and, for each point
of the grid, `points/<n>/` with the executed copy and `result.json`, which is there as soon as the
point has ended. Nothing else remembers what is done: a killed sweep, a killed worker, a scheduler
that is gone lose no result, and no point that has one is executed again. Each point is a papermill
process of its own.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from .errors import BadFile, BadParameter, Busy, unknown
from .outputs import alone, write_text
from .provenance import provenance, sha256_of_source
from .runs import (
    Jobs,
    check_parameters,
    find_notebook,
    kernel_environment,
    notebook_parameters,
    notebook_paths,
)

SCHEMA_VERSION = 1
MOST_POINTS = 100_000
RETRIES = 2  # of a point that fails
# workers that may die under one point before it counts as what kills them; dask's usual 3 is many
# where a point takes an hour
DEATHS = 2
GPU_LOCKS = Path(os.environ.get("TMPDIR", "/tmp")) / f"occlusion-workbench-gpus-{os.getuid()}"


@dataclass(frozen=True)
class Sweep:
    """One sweep's folder, and its sweep.json."""

    folder: Path
    record: dict

    @property
    def id(self) -> str:
        return self.folder.name

    def place(self, n: int) -> Path:
        return self.folder / "points" / f"{n:06d}"

    def result(self, n: int) -> dict | None:
        """What came of a point, None where it has not ended."""
        file = self.place(n) / "result.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    @property
    def left(self) -> list[int]:
        """Points that have not completed."""
        results = enumerate(map(self.result, range(len(self.record["points"]))))
        return [n for n, result in results if not result or result["status"] != "completed"]

    def table(self) -> pd.DataFrame:
        """A row a point: its parameters, how it ended, its metrics."""
        rows = []
        for n, point in enumerate(self.record["points"]):
            result = self.result(n) or {"status": "pending"}
            metrics = result.get("metrics") or {}
            error = (result.get("error") or {}).get("message", "")
            row = {**point, "status": result["status"], "error": error}
            numbers = {k: v for k, v in metrics.items() if isinstance(v, int | float)}
            rows.append(row | {k if k not in row else f"metric {k}": v for k, v in numbers.items()})
        return pd.DataFrame(rows)


# --- what is asked for ----------------------------------------------------------------------------


def parsed_grid(texts: Sequence[str]) -> dict[str, list[str]]:
    """`mask_ratio=.1,.2` and so on, as they stand on the command line; `BadParameter`."""
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise BadParameter("expected NAME=VALUE,VALUE", record=text)
        if name in grid:
            raise BadParameter("stands there twice", record=name)
        grid[name] = values.split(",")
    return grid


def _points(path: Path, grid: Mapping[str, Sequence], given: Mapping[str, object]) -> list[dict]:
    """The grid's points in typed values, in the order of the grid, the last name fastest."""
    if not grid:
        raise BadParameter("no grid", remedy="say --grid NAME=VALUE,VALUE")
    if twice := grid.keys() & given.keys():
        raise BadParameter("stands in the grid, too", record=f"-p {min(twice)}")
    if (n := math.prod(map(len, grid.values()))) > MOST_POINTS:
        raise BadParameter(f"{n:,} points, at most {MOST_POINTS:,}", remedy="sweep in parts")
    typed = {
        name: [check_parameters(path, {name: value})[name] for value in values]
        for name, values in grid.items()
    }
    for name, values in typed.items():
        if len(set(map(repr, values))) < len(values):
            raise BadParameter("a value stands there twice", record=name)
    return [dict(zip(typed, point)) for point in itertools.product(*typed.values())]


def begin(
    name: str,
    grid: Mapping[str, Sequence],
    given: Mapping[str, object] | None = None,
    *,
    profile: str = "fast",
    device: str = "auto",
    cell_timeout_s: int | None = 1800,
    out: Path | str = "sweeps",
    source: Path | None = None,
) -> Sweep:
    """A new sweep of a notebook, of which nothing is executed yet: `execute`.

    grid: parameter -> its values; given: parameters that all points share. Errors: `UnknownName`,
    `BadParameter` for what the notebook does not declare or takes in another type.
    """
    stem = find_notebook(name, source)
    path = notebook_paths(source)[stem]
    settings = {"profile": profile, "device": device}
    declared = notebook_parameters(path)
    shared = {**(given or {}), **{k: v for k, v in settings.items() if k in declared}}
    shared = {name: value for name, value in shared.items() if name not in grid}
    shared = check_parameters(path, shared)
    points = [shared | point for point in _points(path, grid, given or {})]
    record = {
        "schema_version": SCHEMA_VERSION,
        "notebook": stem,
        "source_sha256": sha256_of_source(path),
        "grid": list(grid),
        "cell_timeout_s": cell_timeout_s,
        "points": points,
        "provenance": provenance(),
    }
    folder = Path(out).resolve() / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    write_text(folder / "sweep.json", json.dumps(record, indent=1, allow_nan=False))
    return Sweep(folder, record)


def load_sweep(sweep_id: str, out: Path | str = "sweeps") -> Sweep:
    """The sweep with this id; `UnknownName` with near matches, `BadFile` if it is not ours."""
    file = Path(out).resolve() / sweep_id / "sweep.json"
    if Path(sweep_id).name != sweep_id or not file.exists():
        known = (path.parent.name for path in Path(out).glob("*/sweep.json"))
        raise unknown("sweep", sweep_id, known, file=out)
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        whole = record["schema_version"] == SCHEMA_VERSION and record["points"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFile(f"not a sweep.json: {error}", file=file) from None
    if not whole:
        raise BadFile(f"not a sweep.json of schema_version {SCHEMA_VERSION}", file=file)
    return Sweep(file.parent, record)


# --- executing ------------------------------------------------------------------------------------


def execute_point(task: Mapping) -> str:
    """In a worker: executes a point in a process of its own, unless it has a result already; how it
    ended. `RuntimeError` where it failed, so that the scheduler tries again.
    """
    place = Path(task["place"])
    threads = kernel_environment(task["jobs"])
    with alone(place, "this point"), _own_gpu(task["gpus"]), threads:
        done = place / "result.json"
        if done.exists():
            before = json.loads(done.read_text(encoding="utf-8"))
            if before["status"] == "completed":
                return before["status"]
        place.mkdir(parents=True, exist_ok=True)
        with Jobs(1) as jobs:
            outcome = jobs.execute(task)
        write_text(done, json.dumps(outcome, allow_nan=False), over=True)
    if outcome["status"] != "completed":
        error = outcome["error"] or {}
        raise RuntimeError(f"{error.get('type')}: {error.get('message')}")
    return outcome["status"]


@contextmanager
def _own_gpu(count: int) -> Iterator[None]:
    """One GPU of this machine that no other point computes on; waits for none: there are as many
    points at once as GPUs, or they share.
    """
    for n in range(count):
        try:
            with ExitStack() as stack:
                stack.enter_context(alone(GPU_LOCKS / str(n), "a point", wait=False))
                kept = stack.pop_all()
        except Busy:
            continue
        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = str(n)
        try:
            with kept:
                yield
        finally:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
            if before is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = before
        return
    yield


@contextmanager
def _client(scheduler: str | None, jobs: int):
    """A client of the user's own scheduler, or of a cluster of processes on this machine."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        problem = "dask.distributed is not installed"
        remedy = "pip install 'occlusion-workbench[sweep]'"
        raise BadParameter(problem, remedy=remedy) from None
    quiet = {"distributed.scheduler.allowed-failures": DEATHS, "distributed.admin.log-length": 0}
    with dask.config.set(quiet), ExitStack() as stack:
        if scheduler is None:
            options = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
            scheduler = stack.enter_context(LocalCluster(**options, silence_logs=50))
        try:
            client = stack.enter_context(Client(scheduler, timeout=30))
        except (OSError, ValueError) as error:
            problem = f"no scheduler answers: {error}"
            remedy = "start one (dask scheduler), and workers"
            raise BadParameter(problem, record=scheduler, remedy=remedy) from None
        yield client


def execute(
    sweep: Sweep,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    retries: int = RETRIES,
    source: Path | None = None,
    progress: bool = True,
) -> Sweep:
    """Executes what is left of a sweep, `jobs` points at once on this machine, or as many as the
    workers of `scheduler` ("tcp://host:8786"; they see the same files) take.

    A point that fails is tried again `retries` times, and its failure is its result; others go on.
    Errors: `Busy` where somebody executes it already, `BadParameter`.
    """
    from .train import choose_device  # and torch

    path = notebook_paths(source)[sweep.record["notebook"]]
    gpus = 0
    if choose_device("auto") == "cuda":
        import torch

        gpus = torch.cuda.device_count()
    tasks = {
        n: {
            "place": str(sweep.place(n)),
            "notebook": str(path),
            "copy": str(sweep.place(n) / path.name),
            "parameters": sweep.record["points"][n],
            "timeout_s": sweep.record["cell_timeout_s"],
            "gpus": gpus,
            "jobs": jobs,
        }
        for n in sweep.left
    }
    with alone(sweep.folder / "sweep.json", "this sweep", wait=False):
        with _client(scheduler, jobs) as client:
            from distributed import as_completed

            futures = [
                client.submit(
                    execute_point, task, key=f"{sweep.id}-{n}", retries=retries, pure=False
                )
                for n, task in tasks.items()
            ]
            ended = as_completed(futures, raise_errors=False)
            bar = tqdm(ended, total=len(futures), unit="point", disable=not progress)
            for _ in bar:
                pass
    return sweep


def figure_rows(sweep: Sweep, metric: str | None = None) -> tuple[str, str, pd.DataFrame] | None:
    """(x, metric, rows of x, metric, "who" and "seed") for a figure with seed bands: x is the first
    swept number that is no seed, who the values of all others. None where there is no such number,
    or nothing has completed with a number. Errors: `UnknownName` for a metric that no point has.
    """
    table, record = sweep.table(), sweep.record
    metrics = table.columns[len(record["points"][0]) + 2 :]  # after status and error
    known = [name for name in metrics if table[name].notna().any()]
    if metric is not None and metric not in known:
        raise unknown("metric", metric, known)
    swept = [name for name in record["grid"] if name != "seed"]
    x = next((name for name in swept if pd.api.types.is_numeric_dtype(table[name])), None)
    if x is None or not known:
        return None
    metric = metric or known[0]
    others = [f"{name} = " + table[name].astype(str) for name in swept if name != x]
    who = others[0].str.cat(others[1:], sep=", ") if others else metric
    rows = table.assign(who=who, seed=table["seed"] if "seed" in table else 0)
    rows = rows[table["status"] == "completed"]
    return x, metric, rows[[x, metric, "who", "seed"]].dropna()
