"""Where files that travel with the package lie: at the repository root in a clone, inside the package in a wheel."""

from __future__ import annotations

from pathlib import Path

from .errors import MissingFile

_PACKAGE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """Path of a file or folder that travels with the package, such as `data_manifests`; `MissingFile` otherwise."""
    for root in (_PACKAGE / "_resources", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise MissingFile(
        "not part of this installation", file=name, remedy="install the package again, or work in a clone"
    )
