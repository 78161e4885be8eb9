"""Recognise a fixture by its header, compute what it asks for, compare every output or say why
not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from workbench.checkpoint import read_header, read_tensors
from workbench.errors import BadFile, UnknownName

ABSOLUTE, RELATIVE = 1e-5, 1e-6


@dataclass
class Result:
    """What a check computed, by the fixture's names ("out.epe", "mid.enc0"), and what it leaves
    out with the reason.
    """

    computed: dict[str, np.ndarray]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    name: str
    recognises: Callable[[dict[str, str]], bool]
    compute: Callable[[dict[str, str], dict[str, np.ndarray]], Result]


@dataclass(frozen=True)
class Line:
    name: str
    worst: float  # largest |a - b|
    excess: float  # largest |a - b| / (1e-5 + 1e-6 |b|); above 1 is a failure
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.excess <= 1


def compare(name: str, ours: np.ndarray, theirs: np.ndarray) -> Line:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape and not (ours.size == theirs.size == 1):
        return Line(name, np.inf, np.inf, f"shape {ours.shape}, expected {theirs.shape}")
    ours = ours.reshape(theirs.shape)
    difference = np.abs(ours - theirs)
    if not np.isfinite(difference).all():
        return Line(name, np.inf, np.inf, "not finite")
    if not difference.size:
        return Line(name, 0.0, 0.0, "empty")
    return Line(
        name,
        float(difference.max()),
        float((difference / (ABSOLUTE + RELATIVE * np.abs(theirs))).max()),
    )


def compare_file(path: str | Path, checks: list[Check]) -> tuple[str, list[Line], dict[str, str]]:
    """(name of the check, one line an output that was compared, name -> reason for those that
    were not).
    """
    header = read_header(path)
    check = next((c for c in checks if c.recognises(header)), None)
    if check is None:
        raise UnknownName(
            f"no check recognises this header (cls {header.get('cls', 'absent')!r})",
            file=path,
            remedy=f"known kinds: {', '.join(c.name for c in checks)}",
        )
    try:
        tensors = {k: v.numpy() for k, v in read_tensors(path).items()}
        result = check.compute(header, tensors)
    except KeyError as error:
        raise BadFile(f"a fixture of {check.name} needs the tensor {error}", file=path) from None
    except (ValueError, TypeError, RuntimeError, IndexError, np.linalg.LinAlgError) as error:
        problem = (
            f"{check.name} cannot be computed from these tensors: {type(error).__name__}: {error}"
        )
        raise BadFile(problem[:300], file=path) from None
    wanted = {k for k in tensors if k.startswith(("out.", "mid."))}
    lines = [
        compare(k, result.computed[k], tensors[k]) for k in sorted(wanted & result.computed.keys())
    ]
    lines += [
        Line(k, np.inf, np.inf, "neither computed nor explained")
        for k in sorted(wanted - result.computed.keys() - result.left_out.keys())
    ]
    return check.name, lines, {k: v for k, v in result.left_out.items() if k in wanted}
