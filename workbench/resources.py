"""Where files that travel with the package lie."""

from __future__ import annotations

from pathlib import Path

from .errors import MissingFile

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
