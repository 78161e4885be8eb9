"""Fixtures for data that a machine may or may not have, and the switch that forbids their tests to
skip.

WORKBENCH_DATA and WORKBENCH_PARITY are absolute paths to real samples and to outputs of the public
implementations. WORKBENCH_REQUIRE is a comma-separated list of markers whose tests must run: there
a skip is a failure.
"""

from __future__ import annotations

import os
import pkgutil
from pathlib import Path

# These models are tiny: threads gain nothing, and stall each other on a busy machine. Kernels and
# commands inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
# Shapes in signatures are checked in every test. Records check themselves, with named errors; the
# compile test runs without the hook, because checked calls break the graph.
if not os.environ.get("WORKBENCH_NO_TYPECHECK"):
    modules = (m.name for m in pkgutil.iter_modules([str(ROOT / "workbench")], "workbench."))
    checked = [name for name in modules if name != "workbench.records"]
    jaxtyping.install_import_hook(checked, "beartype.beartype")

REQUIRED = {name for name in os.environ.get("WORKBENCH_REQUIRE", "").split(",") if name}


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    path = Path(value)
    if not path.is_absolute() or not path.is_dir():
        pytest.fail(f"{variable}={value} is not an absolute path of a folder")
    return path


@pytest.fixture(scope="session")
def data_root() -> Path:
    return _folder("WORKBENCH_DATA")


@pytest.fixture(scope="session")
def parity_root() -> Path:
    return _folder("WORKBENCH_PARITY")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    required = REQUIRED & {mark.name for mark in item.iter_markers()}
    if report.skipped and required:
        report.outcome = "failed"
        report.longrepr = (
            f"skipped although {', '.join(sorted(required))} is required here: {report.longrepr}"
        )
    return report


# Minutes each: begun first, so that no worker is left with one at the end.
LONGEST = ("test_runs_in_the_fast_profile", "test_rows_on_real_hands")


def pytest_collection_modifyitems(config, items):
    import torch

    items.sort(key=lambda item: not item.name.startswith(LONGEST))

    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no accelerator"))


def pytest_terminal_summary(terminalreporter):
    """Which errors `test_mutations.py` drew, and the hash of the tree that they were drawn by."""
    reports = [r for name in ("passed", "failed") for r in terminalreporter.getreports(name)]
    drawn = [dict(report.user_properties).get("mutation") for report in reports]
    for line in filter(None, drawn):
        terminalreporter.write_line(f"mutation, drawn by {line}")
