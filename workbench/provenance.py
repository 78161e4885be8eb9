"""Where a result comes from: all that a repeat needs to be the same, or to say why it is not."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

import nbformat
import psutil

from .caches import TRAINED, cache_root, sha256_of_file

PACKAGE = Path(__file__).resolve().parent
MOST_DIFF = 200_000  # characters of uncommitted changes that are kept whole
MOST_READ = 2**26  # bytes of a data set that are read for its content id; of the rest sizes count
THREADS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def provenance() -> dict:
    """Code, packages, machine, threads, shipped weights, trained models and data of this moment."""
    versions = {d.name: d.version for d in distributions()}
    weights = sorted((PACKAGE / "checkpoints").glob("*.safetensors"))
    return {
        "git": _git(PACKAGE.parent),
        "python": platform.python_version(),
        "packages": {name: versions[name] for name in sorted(versions, key=str.lower)},
        "hardware": _hardware(),
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
        "weights": {path.name: sha256_of_file(path) for path in weights},
        "trained": _trained(cache_root() / TRAINED),
        "data": _data(os.environ.get("WORKBENCH_DATA", "")),
    }


def sha256_of_source(notebook: Path) -> str:
    """Of what a notebook's cells say, whatever its outputs and metadata are."""
    cells = nbformat.read(notebook, 4).cells
    text = "\0".join(f"{cell.cell_type}\0{cell.source}" for cell in cells)
    return hashlib.sha256(text.encode()).hexdigest()


def _trained(folder: Path) -> dict[str, str]:
    """Models that runs may find trained, by their place in the cache."""
    models = sorted(folder.glob("*/*/model.safetensors")) if folder.is_dir() else ()
    return {str(path.parent.relative_to(folder)): sha256_of_file(path) for path in models}


def content_id(paths: Iterable[Path], root: Path) -> str:
    """What these files below a folder hold, as sixteen digits: names, sizes, and content as far as
    `MOST_READ` goes, small files first.
    """
    sizes = sorted((path.stat().st_size, str(path.relative_to(root)), path) for path in paths)
    digest, left = hashlib.sha256(), MOST_READ
    for size, name, path in sizes:
        left -= size
        digest.update(f"{name}\0{size}\0{sha256_of_file(path) if left >= 0 else ''}\n".encode())
    return digest.hexdigest()[:16]


def _data(root: str) -> dict[str, str]:
    """Data sets of `$WORKBENCH_DATA`, and what they hold."""
    folders = sorted(path for path in Path(root).iterdir() if path.is_dir()) if root else ()
    return {
        folder.name: content_id((p for p in folder.rglob("*") if p.is_file()), folder)
        for folder in folders
    }


def _hardware() -> dict:
    if hasattr(psutil.Process, "cpu_affinity"):
        cores = len(psutil.Process().cpu_affinity())
    else:
        cores = os.cpu_count()
    return {
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": cores,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": _printed("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"),
    }


def _git(root: Path) -> dict | None:
    """Commit, and what is not in it, of a clone; None for an installed wheel, even inside somebody
    else's repository.
    """
    git = ("git", "-C", str(root))
    commit = _printed(*git, "rev-parse", "HEAD") if (root / ".git").exists() else None
    if commit is None:
        return None
    state = _printed(*git, "status", "--porcelain")
    told = {"commit": commit, "dirty": bool(state)}
    if state:
        diff = _printed(*git, "diff", "HEAD") or ""
        told |= {"changed": state.splitlines(), "diff": diff[:MOST_DIFF]}
        told["diff_sha256"] = hashlib.sha256(diff.encode()).hexdigest()
    return told


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return _printed("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()


def _printed(*command: str) -> str | None:
    """What a command printed, or None where it does not exist or fails."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
