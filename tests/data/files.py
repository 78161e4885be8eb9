"""Files of others, made and damaged for the tests of readers."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import EmptyFile, WorkbenchError


def ragged(*rows) -> np.ndarray:
    """An array of objects, as numpy makes of sequences that differ in length."""
    out = np.empty(len(rows), object)
    out[:] = rows
    return out


def dump(path: Path, content, protocol: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def save(path: Path, **arrays) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


def check_damaged(root: Path, file: str, read: Callable) -> None:
    """Reads the folder 40 times with that file damaged: errors are named ones, and there are
    some; an empty file is one.
    """
    path = root / file
    raw, chance = path.read_bytes(), random.Random(3)
    refused = 0
    for _ in range(40):
        damaged = bytearray(raw[: chance.randrange(len(raw))] if chance.random() < 0.2 else raw)
        for _ in range(chance.choice((1, 1, 3, 9)) if damaged else 0):
            damaged[chance.randrange(len(damaged))] = chance.choice((0, 255, chance.randrange(256)))
        path.write_bytes(bytes(damaged))
        try:
            read(root)
        except WorkbenchError as error:
            refused += 1
            assert "\n" not in str(error)
    path.write_bytes(b"")
    with pytest.raises(EmptyFile):
        read(root)
    assert refused > 3
