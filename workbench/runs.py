"""Notebooks executed by papermill into runs/<id>/, with everything that is needed to do it again in
run.json.

A run folder holds `run.json` (always whole: written beside and renamed), `notebooks/<stem>.ipynb`
(executed copies, partial where a notebook failed) and what `report` writes. A notebook's outcome
stands in run.json alone, never in its copy. A run that was killed still says `running` there, but
its process is gone: it reads as `interrupted` and can be resumed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import nbformat
import papermill
import psutil
from papermill.exceptions import PapermillException, PapermillExecutionError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from pydantic import BaseModel, Field, ValidationError
from tqdm.auto import tqdm

from . import processes
from .errors import BadFile, BadParameter, unknown
from .outputs import alone, free_name, write_beside, write_text
from .provenance import provenance, sha256_of_source
from .resources import RUNS, resource

SCHEMA_VERSION = 1
KERNEL_GB = 2.0  # the largest chapter was seen at 1.8
METRICS_MIME = "application/x.workbench.metrics+json"
SETTINGS = {"profile": ("fast", "full", "paper"), "device": ("auto", "cpu", "cuda")}
# A cell's failure, a dead kernel and a cell's time-out are a RuntimeError or TimeoutError of
# nbclient; papermill's own metadata calls the last two "completed", so only the exception counts.
FAILURES = (PapermillException, RuntimeError, TimeoutError)


# --- what of run.json this package reads; anything more is kept as it is --------------------------


class _Failure(BaseModel):
    type: str
    message: str


class _Entry(BaseModel):
    status: Literal["pending", "running", "completed", "failed"]
    parameters: dict
    given: dict
    start: int | None = None
    duration_s: float = 0.0
    error: _Failure | None = None
    metrics: dict = {}
    inputs: dict = {}


class _Process(BaseModel):
    pid: Annotated[int, Field(ge=0, lt=2**31)]
    host: str
    created: float


class _Record(BaseModel):
    schema_version: Literal[SCHEMA_VERSION]
    status: Literal["running", "completed", "failed", "interrupted"]
    profile: str
    device: str
    cell_timeout_s: int | None
    started: str
    duration_s: float
    earlier: list[dict]
    process: _Process
    provenance: dict
    notebooks: dict[str, _Entry]


@dataclass(frozen=True)
class Run:
    """One run folder and its run.json as last read."""

    folder: Path
    record: dict
    problem: str | None = None  # why run.json cannot be used (`list_runs` alone gives such runs)

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def status(self) -> str:
        """`running`, `completed`, `failed`, `damaged`, or `interrupted`: run.json says running,
        its process is gone.
        """
        status = self.record["status"]
        if status == "running" and not _alive(self.record["process"]):
            status = "interrupted"
        # stopped after its last notebook
        return "completed" if status == "interrupted" and not self.left else status

    def notebooks(self, *status: str) -> list[str]:
        """Names of the notebooks in any of these states (all of them if none is given)."""
        return [
            name
            for name, entry in self.record["notebooks"].items()
            if not status or entry["status"] in status
        ]

    @property
    def left(self) -> list[str]:
        """Notebooks that have not completed: what `resume` would run."""
        return self.notebooks("pending", "running", "failed")


def notebook_paths(source: Path | None = None) -> dict[str, Path]:
    """The notebooks by name (file stem), in order. `source` is the clone's or wheel's folder
    unless given.
    """
    return {path.stem: path for path in sorted((source or resource("notebooks")).glob("*.ipynb"))}


def find_notebook(name: str, source: Path | None = None) -> str:
    """The full name for `02_port`, `02_port.ipynb` or `port`; `UnknownName` with near matches
    for anything else.
    """
    known = notebook_paths(source)
    short = {stem.partition("_")[2]: stem for stem in known}
    stem = name.removesuffix(".ipynb")
    if stem in known:
        return stem
    if stem in short:
        return short[stem]
    raise unknown("notebook", name, known)


def notebook_parameters(path: Path) -> dict[str, object]:
    """Name and default of every parameter that a notebook's `parameters` cell declares; defaults
    must be literals.
    """
    try:
        declared = papermill.inspect_notebook(str(path))
    except (ValueError, LookupError, AttributeError, TypeError, nbformat.ValidationError) as error:
        raise BadFile(
            f"not a notebook that can be run: {str(error).partition(chr(10))[0]}", file=path
        ) from None
    defaults = {}
    for name, parameter in declared.items():
        try:
            defaults[name] = ast.literal_eval(parameter["default"])
        except (ValueError, SyntaxError):
            raise BadFile(
                f"the default {parameter['default']} is not a literal", file=path, record=name
            ) from None
    return defaults


def _typed(value: object, default: object, where: dict) -> object:
    """`value` as the type of `default`: text is parsed, anything else must fit. The default None
    takes any literal.
    """
    expected = type(default)
    if isinstance(value, str) and expected is not str:
        text = value.strip()
        try:
            value = ast.literal_eval({"true": "True", "false": "False"}.get(text.lower(), text))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass  # still text: refused below, unless anything goes
    try:
        if expected is float and type(value) is int:
            value = float(value)
        # what run.json cannot hold is refused too: NaN, infinity, objects
        json.dumps(value, allow_nan=False)
        fits = default is None or type(value) is expected
    except (TypeError, ValueError, OverflowError, RecursionError):
        fits = False
    if not fits:
        raise BadParameter(f"expected {expected.__name__}, as in {default!r}", **where)
    return list(value) if isinstance(value, tuple) else value  # JSON and papermill know no tuples


def check_parameters(path: Path, given: Mapping[str, object]) -> dict[str, object]:
    """A notebook's given parameters in their declared types; `BadParameter` names what is
    unknown or ill-typed.
    """
    declared = notebook_parameters(path)
    for name in given:
        if name not in declared:
            hint = unknown("parameter", name, declared)
            raise BadParameter(hint.problem, file=path.stem, record=name, remedy=hint.remedy)
    return {
        name: _typed(v, declared[name], {"file": path.stem, "record": f"{name}={v}"})
        for name, v in given.items()
    }


def _plan(
    names: Iterable[str],
    given: Mapping[str, object],
    settings: Mapping[str, str],
    source: Path | None,
) -> dict:
    """Notebook -> its entry in run.json. A parameter goes to every chosen notebook that declares
    it, one at least.
    """
    paths = notebook_paths(source)
    chosen = sorted({find_notebook(name, source) for name in names})
    if not chosen:
        raise BadParameter("there is no notebook to run", record=source)
    declared = {name: notebook_parameters(paths[name]) for name in chosen}
    known = set().union(*declared.values())
    plan = {}
    for name in chosen:
        # what nobody declares is checked, and so refused, with every notebook
        wanted = {k: v for k, v in given.items() if k in declared[name] or k not in known}
        wanted |= {k: v for k, v in settings.items() if k in declared[name]}
        given_here = check_parameters(paths[name], wanted)
        every = {**declared[name], **given_here}
        seed = every.get("seed")
        if type(seed) is int and not 0 <= seed < 2**63:
            raise BadParameter(
                "a seed is an integer from 0 to 2**63 - 1", file=name, record=f"seed={seed}"
            )
        plan[name] = {"status": "pending", "seed": seed, "parameters": every, "given": given_here}
        plan[name]["source_sha256"] = sha256_of_source(paths[name])
    return plan


def run_notebooks(
    names: Iterable[str],
    parameters: Mapping[str, object] | None = None,
    *,
    profile: str = "fast",
    device: str = "auto",
    out: Path | str = "runs",
    cell_timeout_s: int | None = 1800,
    source: Path | None = None,
    report: Callable[[Run], None] | None = None,
    progress: bool = True,
    jobs: int = 1,
) -> Run:
    """Executes notebooks, `jobs` at once, into a new folder `out/<id>`; a failing one does not
    stop the others.

    Everything is checked before the first kernel starts. `profile` and `device` reach the notebooks
    that declare a parameter of that name. `report` is called with the run at the start and after
    every notebook (it writes the pages). Raises `UnknownName`, `BadParameter`; how the notebooks
    fared is in the returned run.
    """
    given, settings = dict(parameters or {}), {"profile": profile, "device": device}
    _check_settings(settings, given)
    plan = _plan(names, given, settings, source)
    folder = Path(out).resolve() / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    (folder / "notebooks").mkdir(parents=True)
    record = {
        "schema_version": SCHEMA_VERSION,
        "status": "running",
        "profile": profile,
        "device": device,
        "cell_timeout_s": cell_timeout_s,
        "started": _now(),
        "duration_s": 0.0,
        # process and provenance of earlier starts; an entry's `start` counts them, then the last
        # one
        "earlier": [],
        "notebooks": plan,
    }
    return _execute(Run(folder, record), source, report, progress, jobs)


def _check_settings(settings: Mapping[str, str], given: Mapping[str, object]) -> None:
    """Settings of the whole run: known values, and not given as a notebook's parameter, too."""
    for name, value in settings.items():
        if name in given:
            raise BadParameter(
                f"{name} is a setting of the whole run",
                record=name,
                remedy=f"use --{name} {given[name]}",
            )
        if value not in SETTINGS[name]:
            raise BadParameter(
                f"{name} {value!r} is none of {', '.join(SETTINGS[name])}", record=name
            )
    if settings["device"] == "cuda":
        import torch  # a second to import; only this question needs it

        if not torch.cuda.is_available():
            raise BadParameter(
                "no CUDA device is available", record="device", remedy="use --device auto or cpu"
            )


def resume_run(
    run_id: str,
    *,
    out: Path | str = "runs",
    source: Path | None = None,
    report: Callable[[Run], None] | None = None,
    progress: bool = True,
    jobs: int = 1,
) -> Run:
    """Runs again, with the same parameters, the notebooks of an earlier run that have not
    completed.

    The entry of every notebook says in `start` which start ran it: n of `earlier`, or one more for
    the last. Raises `BadParameter` where nothing is left or the run still goes on, `Busy` where
    somebody else resumes it, `UnknownName`, and what `load_run` raises.
    """
    with alone(load_run(run_id, out).folder / "run.json", "this run", wait=False):
        run = load_run(run_id, out)
        if run.status == "running":
            process = run.record["process"]
            raise BadParameter(
                f"still running as process {process['pid']} on {process['host']}", file=run.folder
            )
        if not run.left:
            raise BadParameter("nothing is left to run", file=run.folder, remedy="start a new run")
        known = notebook_paths(source)
        for name in run.left:  # before anything starts
            if name not in known:
                raise unknown("notebook", name, known, file=run.folder / "run.json")
        run.record["earlier"].append(
            {"process": run.record["process"], "provenance": run.record["provenance"]}
        )
        return _execute(run, source, report, progress, jobs)


def load_run(run_id: str, out: Path | str = "runs") -> Run:
    """The run with this id in folder `out`; `UnknownName` with near matches, `BadFile` if its
    run.json is not ours.
    """
    file = Path(out).resolve() / run_id / "run.json"
    if Path(run_id).name != run_id or not os.path.lexists(file):
        raise unknown(
            "run", run_id, (path.parent.name for path in Path(out).glob("*/run.json")), file=out
        )
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        json.dumps(record, allow_nan=False)  # what could not be written again
        _Record.model_validate(record, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or None
        raise BadFile(
            f"not a run.json of schema_version {SCHEMA_VERSION}: {first['msg']}",
            file=file,
            record=where,
        ) from None
    except OSError as error:
        raise BadFile(f"cannot be read: {error.strerror}", file=file) from None
    except (ValueError, RecursionError) as error:
        raise BadFile(
            f"not JSON: {error}", file=file, remedy="remove the run's folder, or restore the file"
        ) from None
    return Run(file.parent, record)


def list_runs(out: Path | str = "runs") -> list[Run]:
    """All runs in folder `out`, oldest first; one whose run.json cannot be used is `damaged` and
    says its `problem`.
    """
    runs = []
    for path in sorted(Path(out).glob("*/run.json")):
        try:
            runs.append(load_run(path.parent.name, out))
        except BadFile as error:
            runs.append(Run(path.parent, {"status": "damaged", "notebooks": {}}, error.problem))
    return runs


def filled_in(notebook: str, name: str, parameters: Mapping[str, object]) -> Path:
    """A copy of a shipped notebook with these parameters, in the present folder; files are named by
    their whole path. What is not given, and what the notebook does not declare, stays out. A file
    of that name is left alone: the copy then has a number.
    """
    source = resource("notebooks") / f"{notebook}.ipynb"
    declared = notebook_parameters(source)
    values = {
        key: str(value.resolve()) if isinstance(value, Path) else value
        for key, value in parameters.items()
        if value and key in declared
    }
    copy = parameterize_notebook(load_notebook_node(str(source)), values)
    path = free_name(Path.cwd() / f"{name}.ipynb")
    return write_beside(path, lambda beside: nbformat.write(copy, beside))


COPIES = ".chapters.json"  # sha256 of every chapter's copy as it was made


def _sum(copy: Path) -> str:
    """Of a file's content; "" for a link to nothing, or a folder."""
    return hashlib.sha256(copy.read_bytes()).hexdigest() if copy.is_file() else ""


def chapter_copies(folder: Path) -> list[str]:
    """Copies of the shipped notebooks in a folder, for readers to run, change and save; what has
    to be said of them, a line each.

    A copy that nobody has changed follows its chapter. One that somebody has changed, were it only
    by running and saving it, is theirs: it is never written over or removed, and where the chapter
    has changed since, that is said. What was deleted comes back.
    """
    state, said = folder / COPIES, []
    try:
        known = dict(json.loads(state.read_text(encoding="utf-8")))
    except FileNotFoundError:
        known = {}
    except (ValueError, TypeError) as error:
        raise BadFile(f"not what lab wrote: {error}", file=state, remedy="remove it") from None
    for name, chapter in notebook_paths().items():
        copy, text = folder / chapter.name, chapter.read_bytes()
        made, now = known.get(name), hashlib.sha256(text).hexdigest()
        there = os.path.lexists(copy)
        mine = _sum(copy) if there else made
        if there and mine not in (made, now):
            if made != now:
                why = "the chapter has changed since, and a renamed copy makes room for a new one"
                said.append(f"{copy} keeps your changes; {why}")
            continue
        if there and mine != now:
            said.append(f"{copy} follows the chapter, which has changed")
        if not there or mine != now:
            write_beside(copy, lambda part, text=text: part.write_bytes(text), over=there)
        known[name] = now
    write_text(state, json.dumps(known, indent=1), over=True)
    return said


def lab_command(notebook: Path, *, port: int = 8888) -> list[str]:
    """The command that serves JupyterLab at a notebook and its folder: loopback only, and Jupyter's
    own random token stays on.
    """
    options = [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={notebook.parent}",
        "--LabApp.news_url=None",
        f"--LabApp.default_url=/lab/tree/{notebook.name}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    return [sys.executable, "-m", "jupyterlab", *options]


def usual_jobs() -> int:
    """Notebooks at once that this machine has processors and free memory for, at most 4."""
    free_gb = psutil.virtual_memory().available / 1e9
    return max(1, min(4, os.cpu_count() or 1, int(free_gb / KERNEL_GB)))


def _execute(
    run: Run,
    source: Path | None,
    report: Callable[[Run], None] | None,
    progress: bool,
    jobs: int,
) -> Run:
    record, todo, paths = run.record, run.left, notebook_paths(source)
    process = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "created": psutil.Process().create_time(),
    }
    jobs = min(jobs, len(todo))
    with kernel_environment(jobs):
        record.update(status="running", process=process, provenance=provenance())
    _save(run, report)
    earlier_s, began = record["duration_s"], time.perf_counter()
    writing = threading.Lock()

    def execute(name: str, how: Callable[[dict], dict]) -> None:
        entry, start = record["notebooks"][name], time.perf_counter()
        task = {
            "notebook": str(paths[name]),
            "copy": str(run.folder / "notebooks" / paths[name].name),
            "parameters": entry["given"],
            "timeout_s": record["cell_timeout_s"],
        }
        with writing:
            entry.update(status="running", started=_now(), start=len(record["earlier"]), error=None)
            _save(run)
        outcome = how(task)
        with writing:
            entry.update(outcome)
            entry["duration_s"] = round(time.perf_counter() - start, 3)
            record["duration_s"] = round(earlier_s + time.perf_counter() - began, 3)
            _save(run, report)
            bar.update()

    bar = tqdm(total=len(todo), unit="notebook", disable=not progress)
    try:
        with kernel_environment(jobs), bar:
            if jobs == 1:
                for name in todo:
                    bar.set_description(name)
                    execute(name, partial(_execute_one, progress=progress))
            else:
                # the longest first, as far as their files tell
                todo.sort(key=lambda name: -paths[name].stat().st_size)
                with Jobs(jobs) as pool:
                    pool.each(partial(execute, how=pool.execute), todo)
        record.update(status="failed" if run.left else "completed", finished=_now())
    finally:
        if record["status"] == "running":
            record["status"] = "interrupted"
        _save(run, report)
    return run


class Jobs:
    """Notebooks executed at the same time, each by a process of its own: papermill changes the
    process that it runs in.

    Whoever leaves early takes them along; a process ends, too, when this one is gone.
    """

    def __init__(self, jobs: int):
        self._pool = ThreadPoolExecutor(jobs)
        self._alive: set[subprocess.Popen] = set()

    def __enter__(self) -> Jobs:
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._alive):
            process.terminate()
        self._pool.shutdown()

    def each(self, function: Callable[[str], None], names: Iterable[str]) -> None:
        for future in as_completed([self._pool.submit(function, name) for name in names]):
            future.result()

    def execute(self, task: Mapping) -> dict:
        """`_execute_one` there; a process that dies is a failure."""
        with processes.start("workbench.runs:execute_asked") as process:
            self._alive.add(process)
            # an open pipe says that this process lives
            with suppress(BrokenPipeError):
                print(json.dumps(task), file=process.stdin, flush=True)
            lines = process.stdout.read().splitlines()
            self._alive.discard(process)
        if process.returncode == 0 and lines:
            return json.loads(lines[-1])
        message = f"its process ended with code {process.returncode}"
        return _outcome({"type": "DeadProcess", "message": message, "cell": None}, {})


def execute_asked() -> None:
    """In a process of its own: executes the notebook that the first line of standard input asks
    for (JSON), and prints what came of it. Ends with its parent.
    """
    task = json.loads(sys.stdin.readline())

    def follow() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    print("\n" + json.dumps(_execute_one(task)), flush=True)


def _execute_one(task: Mapping, *, progress: bool = False) -> dict:
    """Executes one notebook; its status, error, metrics and inputs for run.json."""
    copy, error = Path(task["copy"]), None
    bar = {"desc": "  cells", "leave": False, "position": 1}
    try:
        papermill.execute_notebook(
            task["notebook"],
            copy,
            parameters=task["parameters"],
            kernel_name="python3",
            cwd=copy.parent,
            # the kernel's errors, not its advice
            extra_arguments=["--Application.log_level=40"],
            execution_timeout=task["timeout_s"],
            progress_bar=bar if progress else False,
            # after every cell, megabytes of pictures take longer than the cells; twice a minute
            request_save_on_cell_execute=False,
        )
    except FAILURES as failure:
        error = _describe(failure)
    metrics = {}
    try:
        metrics = read_metrics(copy) if copy.exists() else {}
    except BadFile as problem:
        error = error or _describe(problem)
    return _outcome(error, metrics)


def _outcome(error: dict | None, metrics: dict) -> dict:
    """A notebook's part of run.json."""
    inputs = metrics.pop("inputs", {})
    status = "failed" if error else "completed"
    return {"status": status, "error": error, "metrics": metrics, "inputs": inputs}


def _save(run: Run, report: Callable[[Run], None] | None = None) -> None:
    """Writes run.json, and with `report` the pages."""
    text = json.dumps(run.record, indent=1, allow_nan=False)
    write_text(run.folder / "run.json", text, over=True)
    if report:
        report(run)


@contextmanager
def kernel_environment(jobs: int) -> Iterator[None]:
    """A kernel inherits this process's environment: inline figures, the `python3` of this
    installation, threads that sleep while they wait, its share of the processors, and that its
    outputs go into a run's pages.
    """
    usual = {"OMP_WAIT_POLICY": "PASSIVE"}
    if jobs > 1:
        usual["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    wanted = {name: os.environ.get(name, value) for name, value in usual.items()} | {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "JUPYTER_PREFER_ENV_PATH": "1",
        RUNS: "1",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _describe(error: BaseException) -> dict:
    kind, message, cell = type(error).__name__, str(error).partition("\n")[0], None
    if isinstance(error, PapermillExecutionError):
        kind, message, cell = error.ename, error.evalue, error.cell_index
    # named errors say their kind
    return {"type": kind, "message": message.removeprefix(f"{kind}: "), "cell": cell}


def read_metrics(path: Path) -> dict:
    """What a notebook displayed as metrics, merged in cell order; a number that is not finite
    becomes null.

    A notebook says `display({METRICS_MIME: {...}}, raw=True)`; the key `inputs` there maps file to
    sha256. `BadFile` names the cell where either is not an object.
    """
    metrics: dict = {}
    for i, cell in enumerate(nbformat.read(path, 4).cells):
        for output in cell.get("outputs", []):
            shown = output.get("data", {}).get(METRICS_MIME, {})
            if not isinstance(shown, dict) or not isinstance(shown.get("inputs", {}), dict):
                raise BadFile(
                    "displayed metrics and their inputs must be objects",
                    file=path,
                    record=f"cell {i}",
                )
            metrics |= shown
    return _finite(metrics)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if value in ("nan", "inf", "-inf"):  # how a kernel sends them
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _alive(process: Mapping) -> bool:
    """Whether the process that wrote run.json still exists (a reused pid has another creation
    time).
    """
    if process["host"] != socket.gethostname():
        return False  # another machine, or a container that is gone: nothing here still writes
    try:
        return abs(psutil.Process(process["pid"]).create_time() - process["created"]) < 1
    except psutil.NoSuchProcess:
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
