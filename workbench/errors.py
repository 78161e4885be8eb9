"""Named errors. Each says what was expected, what came, where (file, record) and what to do
about it, on one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class WorkbenchError(Exception):
    """Base of every error that the workbench raises on purpose; the command line prints it as
    one line and exits 2.
    """

    usual_remedy: str | None = None  # said where an error was given none of its own

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        record: object = None,
        remedy: str | None = None,
    ):
        # names in files of others may be as long as the file
        self.problem = problem[:1000]
        self.remedy = remedy
        self.file = None if file is None else str(file)
        self.record = None if record is None else str(record)[:200]
        super().__init__(str(self))

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.file, self.record) if part)
        text = f"{type(self).__name__}: " + (f"{where}: " if where else "") + self.problem
        if remedy := self.remedy or self.usual_remedy:
            text = text.rstrip(".") + f". Remedy: {remedy}"
        return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))

    def __reduce__(self):  # keeps file, record and remedy when an error crosses a process boundary
        return _rebuild, (type(self), self.problem, self.file, self.record, self.remedy)


def _rebuild(kind, problem, file, record, remedy):
    return kind(problem, file=file, record=record, remedy=remedy)


class MissingFile(WorkbenchError):
    """A file or folder that was named does not exist."""


class CannotWrite(WorkbenchError):
    """A file that was not written: something is there already, the disk is full, rights are
    missing.
    """


class Taken(CannotWrite):
    """Something is there already."""


class Busy(WorkbenchError):
    """Another process is at work on the same thing."""


class EmptyFile(WorkbenchError):
    """A file of zero bytes."""


class BadFile(WorkbenchError):
    """A file that is not what it says it is: truncated, not UTF-8, not JSON, a wrong layout."""

    usual_remedy = "get or export the file again"


class BadRecord(WorkbenchError):
    """One record inside a readable file breaks the format; `record` names it."""

    usual_remedy = "correct or drop the record"


class UnsafeFile(WorkbenchError):
    """A file that would execute code or write outside its folder; nothing of it was run or
    written.
    """


class ChecksumMismatch(WorkbenchError):
    """A file's sha256 is not the one its manifest states."""


class MissingData(WorkbenchError):
    """A data set that is not on this machine; the remedy says how the user gets it."""


class UnknownName(WorkbenchError):
    """A name (data set, skeleton, tap, notebook, model, parameter) that nothing answers to."""


class BadParameter(WorkbenchError):
    """A parameter of the wrong type or outside its range."""


class CheckpointMismatch(WorkbenchError):
    """Weights that do not fit the model; the message lists missing, unexpected and misshapen
    keys.
    """


class TapError(WorkbenchError):
    """A tap that was asked for but never fired, an output that cannot be copied or saved, or an
    edit that changed a tensor's shape.
    """


class IncompleteAttribution(WorkbenchError):
    """An attribution that does not sum to the change of the output that it is to explain."""


class TrainingDiverged(WorkbenchError):
    """A training whose loss, gradients or weights are no finite numbers any more."""


def unknown(kind: str, name: str, known: Iterable[str], **where) -> UnknownName:
    """An `UnknownName` that suggests near matches, or lists what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    remedy = (
        f"did you mean {', '.join(map(repr, near))}?"
        if near
        else f"choose one of: {', '.join(known) or '(none)'}"
    )
    return UnknownName(f"unknown {kind} {name!r}", remedy=remedy, **where)


def check_choice(what: str, value: object, known: Iterable) -> None:
    """`BadParameter` where the value of an option is none of those that there are."""
    known = list(known)
    if value not in known:
        raise BadParameter(
            f"{what} is {value!r}",
            remedy=f"choose {', '.join(map(str, known[:-1]))} or {known[-1]}",
        )
