"""A run again: checked, changed, beside others, or taken along."""

from __future__ import annotations

import base64
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import nbformat

from .errors import BadParameter
from .outputs import write_beside, write_text
from .runs import Run, run_notebooks

# Metrics of another processor, GPU, number of threads or version may differ by so much, of the
# number itself: sums are added up in another order.  # ours
TOLERANCE = 1e-3
FIGURES = ("image/svg+xml", "image/png", "image/jpeg")


# --- what differs ---------------------------------------------------------------------------------


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """A tree of dicts and lists as (dotted name, value)."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{name}.{i}")
    else:
        yield name, value


def differences(a: Mapping, b: Mapping) -> dict[str, tuple]:
    """Name -> both values, where two trees say different things; None for what one lacks."""
    left, right = dict(_leaves(a)), dict(_leaves(b))
    names = dict.fromkeys((*left, *right))
    return {
        name: (left.get(name), right.get(name))
        for name in names
        if left.get(name) != right.get(name)
    }


def circumstances(run: Run, names: Sequence[str] | None = None) -> dict:
    """What of a run's record may change its metrics, by kind; names: of notebooks, None for all."""
    origin, every = run.record["provenance"], run.record["notebooks"]
    entries = every if names is None else {name: every[name] for name in names}
    git = {k: v for k, v in (origin.get("git") or {}).items() if k in ("commit", "diff_sha256")}
    return {
        "code": git | {name: e.get("source_sha256") for name, e in entries.items()},
        "data": {"sets": origin.get("data", {})}
        | {name: entry.get("inputs", {}) for name, entry in entries.items()},
        "weights": origin["weights"],
        "versions": {"python": origin["python"], **origin["packages"]},
        "hardware": origin["hardware"],
        "threads": origin.get("threads", {}),
        "parameters": {name: e["parameters"] for name, e in entries.items()},
    }


def metrics_of(run: Run) -> dict[str, dict[str, object]]:
    """Notebook -> metric -> value; nested ones with dotted names."""
    entries = run.record["notebooks"].items()
    return {name: dict(_leaves(e.get("metrics") or {})) for name, e in entries}


# --- verify ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """A metric of a run and of its repeat."""

    notebook: str
    metric: str
    before: object
    after: object
    status: str  # "same", "close", "differs"


@dataclass(frozen=True)
class Verification:
    """A run, what came of executing it again, and what was not the same around it."""

    run: Run
    repeat: Run
    checks: tuple[Check, ...]
    same_bits: bool  # were asked for: same machine, versions and threads
    differs: Mapping[str, dict[str, tuple]]  # kind -> name -> both values

    @property
    def holds(self) -> bool:
        """Every metric is the same, or close where the circumstances are others."""
        good = ("same",) if self.same_bits else ("same", "close")
        return self.repeat.status == "completed" and all(c.status in good for c in self.checks)


def _status(before: object, after: object, tolerance: float | int) -> str:
    if before == after:
        return "same"
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (before, after))
    if numbers and math.isclose(before, after, rel_tol=tolerance, abs_tol=tolerance * 1e-3):
        return "close"
    return "differs"


def verify(
    run: Run,
    *,
    out: Path | str = "runs",
    tolerance: float | int = TOLERANCE,
    device: str | None = None,
    report: Callable[[Run], None] | None = None,
    progress: bool = True,
    jobs: int = 1,
    source: Path | None = None,
) -> Verification:
    """Executes a run's completed notebooks again, each in a new process with the same parameters,
    into a new run, and compares every metric: bit by bit where processor, versions and threads are
    the same, else within `tolerance` of the number. device: another one than the run's.

    Errors: `BadParameter` for a run of which nothing has completed.
    """
    names = run.notebooks("completed")
    if not names:
        raise BadParameter("no notebook of it has completed", file=run.folder)
    changed = {} if device in (None, run.record["device"]) else {"device": device}
    repeat = _again(run, names, changed, out, report, progress, jobs, source)
    before, after = metrics_of(run), metrics_of(repeat)
    checks = tuple(
        Check(name, metric, value, after[name].get(metric), status)
        for name in names
        for metric, value in (before[name] | dict.fromkeys(after[name]) | before[name]).items()
        if (status := _status(value, after[name].get(metric), tolerance))
    )
    kinds, now = circumstances(run, names), circumstances(repeat, names)
    differs = {kind: found for kind in kinds if (found := differences(kinds[kind], now[kind]))}
    same = not changed and not any(k in differs for k in ("versions", "hardware", "threads"))
    return Verification(run, repeat, checks, same, differs)


def _again(
    run: Run,
    names: Sequence[str],
    changed: Mapping[str, object],
    out: Path | str,
    report: Callable[[Run], None] | None,
    progress: bool,
    jobs: int,
    source: Path | None,
) -> Run:
    """A new run of these notebooks with what was given to them, and what is changed."""
    record, settings = run.record, ("profile", "device")
    given: dict[str, object] = {}
    for name in names:
        own = record["notebooks"][name]["given"]
        given |= {key: value for key, value in own.items() if key not in settings}
    options = {key: record[key] for key in (*settings, "cell_timeout_s")}
    options |= {key: changed[key] for key in settings if key in changed}
    given |= {key: value for key, value in changed.items() if key not in settings}
    rules = {"out": out, "report": report, "progress": progress, "jobs": jobs, "source": source}
    return run_notebooks(names, given, **options, **rules)


def rerun(
    run: Run,
    changed: Mapping[str, object],
    *,
    out: Path | str = "runs",
    report: Callable[[Run], None] | None = None,
    progress: bool = True,
    jobs: int = 1,
    source: Path | None = None,
) -> Run:
    """All notebooks of a run once more, into a new one, with some parameters changed; what was
    given before stays given. Errors: those of `run_notebooks`.
    """
    return _again(run, run.notebooks(), changed, out, report, progress, jobs, source)


# --- compare --------------------------------------------------------------------------------------


def compared(runs: Sequence[Run]) -> dict[str, list[tuple[str, list]]]:
    """Runs side by side: "metrics", "parameters" and what else differs -> rows of (name, a value a
    run). Metrics are all there, of the rest what is not the same everywhere.
    """
    if len(runs) < 2:
        raise BadParameter("one run alone", remedy="name two or more")
    columns = [dict(_leaves(metrics_of(run))) for run in runs]
    parts = {"metrics": _rows(columns)}
    for kind in circumstances(runs[0]):
        columns = [dict(_leaves(circumstances(run)[kind])) for run in runs]
        rows = [(name, values) for name, values in _rows(columns) if len(set(map(str, values))) > 1]
        if rows:
            parts[kind] = rows
    return parts


def _rows(columns: Sequence[Mapping[str, object]]) -> list[tuple[str, list]]:
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name) for column in columns]) for name in names]


def figures(run: Run, name: str) -> list[str]:
    """What a notebook drew, in order, as addresses that stand in a page."""
    drawn = []
    for cell in nbformat.read(run.folder / "notebooks" / f"{name}.ipynb", 4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            mime = next((mime for mime in FIGURES if mime in data), None)
            if mime is not None:
                text = data[mime]
                if mime.endswith("xml"):  # as a picture: nothing in it is executed
                    text = base64.b64encode(text.encode()).decode()
                drawn.append(f"data:{mime};base64,{text.strip()}")
    return drawn


def write_comparison(runs: Sequence[Run], path: Path) -> Path:
    """One page, that asks nobody for anything: numbers side by side, and figures. Errors:
    `CannotWrite` where something is there.
    """
    shared = [n for n in runs[0].notebooks() if all(n in r.notebooks("completed") for r in runs)]
    rows = {}
    for name in shared:
        drawn = [figures(run, name) for run in runs]
        most = max(map(len, drawn))
        rows[name] = [[d[i] if i < len(d) else None for d in drawn] for i in range(most)]
    text = Path(__file__).with_suffix(".html.j2").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, trim_blocks=True).from_string(text)
    return write_text(path, template.render(runs=runs, parts=compared(runs), figures=rows))


# --- export ---------------------------------------------------------------------------------------


def export(run: Run, path: Path) -> Path:
    """One zip that opens offline: pages, executed notebooks, run.json, and the versions of all
    packages as `pip install -r` reads them. Errors: `CannotWrite` where something is there.
    """
    packages = run.record["provenance"]["packages"]
    pins = "".join(f"{name}=={version}\n" for name, version in packages.items())
    inside = sorted(p for p in run.folder.rglob("*") if p.is_file() and not p.is_symlink())
    shown = [p for p in inside if not any(part.startswith(".") for part in _parts(run, p))]

    def write(part: Path) -> None:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in shown:
                archive.write(file, str(Path(run.id, *_parts(run, file))))
            archive.writestr(f"{run.id}/requirements.txt", pins)

    return write_beside(path, write)


def _parts(run: Run, path: Path) -> tuple[str, ...]:
    return path.relative_to(run.folder).parts
