"""What every chapter does first and last: one set-up call, tables, and metrics that a run can
read.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, display
from jaxtyping import Float

from ..data.manifest import data_place as data_place
from ..data.manifest import presence, sha256_of
from ..errors import BadParameter
from ..ledger import paper
from ..metrics import bootstrap_interval
from ..predict import SHIPPED, weights_path
from ..resources import RUNS
from ..threads import hardware_in_words
from ..train import choose_device
from .tools import show_tools
from .waiting import watch

METRICS = "application/x.workbench.metrics+json"
MISSING = "missing"
SHOWN = "torch torchvision timm numpy opencv-python seaborn plotly ipywidgets".split()
SHOWN += ["jupyterlab", "papermill"]


@dataclass(frozen=True)
class Setup:
    """What the set-up call found."""

    device: str
    profile: str
    seed: int
    rng: np.random.Generator

    @property
    def full(self) -> bool:
        return self.profile != "fast"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB" if path.exists() else MISSING


def _readiness(words: str, missing: Sequence[str], rows: Sequence[tuple[str, str]]) -> str:
    """One line, and rows that it folds, as HTML."""
    ready = f"<b>Ready.</b> {escape(words)}"
    if missing:
        names = escape(", ".join(missing))
        ready = f"<b>Not ready: {names} missing.</b> Run <code>make</code> again. {escape(words)}"
    listed = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows)
    return f"<details><summary>{ready}</summary><table>{listed}</table></details>"


def setup(
    *, device: str = "auto", profile: str = "fast", seed: int = 0, data: Sequence[str] = ()
) -> Setup:
    """Seeds, chooses the device, gives figures theme and tools, and says in one line whether the
    machine is ready; versions, data and weights are folded behind it. From here on cells that take
    long say so while they run.
    """
    if profile not in ("fast", "full", "paper"):
        raise BadParameter(f"profile is {profile!r}", remedy="choose fast, full or paper")
    device = choose_device(device)
    torch.manual_seed(seed)
    rows = [("python", platform.python_version()), *((p, _version(p)) for p in SHOWN)]
    for method, joints in SHIPPED.items():
        paths = [weights_path(method, name) for name in joints]
        rows += [(f"weights: {path.stem}", _size(path)) for path in paths]
    missing = [name for name, found in rows if found == MISSING]
    rows += [(f"data: {d}", presence(d)) for d in data]
    words = f"{device} ({hardware_in_words(device)}), profile {profile}, seed {seed}"
    display(HTML(_readiness(words, missing, rows)))
    show_tools()
    if RUNS not in os.environ:
        watch()
    return Setup(device, profile, seed, np.random.default_rng(seed))


def table(rows: Sequence[Mapping], caption: str, digits: int | None = 3) -> None:
    """A table with a caption, rounded; missing entries are blank. The caption states the
    protocol. digits: None: as they came.
    """
    frame = pd.DataFrame(rows).rename(columns=lambda name: escape(str(name)))

    def form(column: str) -> Callable:
        values = frame[column].dropna()
        own = (
            0
            if (values % 1 == 0).all()
            else max(len(repr(float(v)).partition(".")[2]) for v in values)
        )
        return f"{{:.{own if digits is None else digits}f}}".format

    numbers = {column: form(column) for column in frame.select_dtypes("float").columns}
    style = frame.style.hide(axis="index").format(numbers, na_rep="", escape="html")
    style = style.set_caption(escape(caption))
    top = (
        "caption-side: top; text-align: left; font-weight: 600; padding: 6px 0; white-space: nowrap"
    )
    looks = {"caption": top, "th, td": "text-align: left; padding: 3px 14px 3px 0"}
    display(
        style.set_table_styles(
            [{"selector": place, "props": look} for place, look in looks.items()]
        )
    )


def paper_table(key: str, which: str) -> None:
    """A paper's published rows from the ledger, marked as the paper's."""
    found = paper(key).table(which)
    rows = [{name.replace("_", " "): value for name, value in row.items()} for row in found.rows]
    table(rows, f"{which}: {found.title} (paper)", digits=None)


def report(metrics: Mapping, *, protocol: str, inputs: Sequence[str | Path] = ()) -> None:
    """States the protocol and leaves the metrics where `workbench run` reads them."""
    values = {
        k: (None if v is None or not np.isfinite(v) else float(v)) for k, v in metrics.items()
    }
    bundle = {
        **values,
        "protocol": protocol,
        "inputs": {Path(p).name: sha256_of(p) for p in inputs},
    }
    text = f"Protocol: {protocol}. {len(values)} metrics go to the run's record."
    told = f"<em>{escape(text)}</em>"  # not Markdown: names of files may stand in a protocol
    display({METRICS: bundle, "text/html": told, "text/plain": text}, raw=True)


def mean_and_interval(
    values: Float[np.ndarray, "n"], groups: np.ndarray, rng: np.random.Generator
) -> tuple[float, str]:
    """Mean of the values that are not NaN, and its 95 % interval as text, resampled by group."""
    use = np.isfinite(values)
    low, high = bootstrap_interval(values[use], groups[use], rng)
    return float(values[use].mean()), f"{low:.1f} to {high:.1f}"
