"""Where files that travel with the package lie, and how every file is written: beside its place,
then renamed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .errors import BadParameter, MissingFile

_PACKAGE = Path(__file__).resolve().parent

RUNS = "WORKBENCH_RUNS"  # in the environment of kernels whose outputs go into a run's pages


def resource(name: str) -> Path:
    """Path of a file or folder that travels with the package, such as `data_manifests`;
    `MissingFile` otherwise.

    In a clone they lie at the repository root, in a wheel inside the package.
    """
    for root in (_PACKAGE / "_resources", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise MissingFile(
        "not part of this installation",
        file=name,
        remedy="install the package again, or work in a clone",
    )


def write_beside(path: Path, write: Callable[[Path], object]) -> Path:
    """Calls write(temporary path in the same folder), flushes it to disk and renames it: a
    reader sees all or nothing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        with open(beside, "rb") as f:
            os.fsync(f.fileno())
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o666 & ~umask)  # safetensors writes files that only their owner can read
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def check_writable(path: Path) -> None:
    """Refuses a file that cannot be written before work starts, not after it; makes its folder."""
    if path.is_dir():
        raise BadParameter("is a folder", file=path, remedy="name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise BadParameter("its folder cannot be written", file=path, remedy="choose another place")
