"""The doors that every file of a user goes through: whole, bounded, in UTF-8, or a named error."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic_core import from_json

from ...errors import BadFile, EmptyFile, MissingFile

MAX_FILE_BYTES = 2**30  # COCO train2017 keypoints take 240 MB


def file_size(path: Path) -> int:
    """Bytes of a file: `MissingFile` where there is none, `EmptyFile` where there are none."""
    if not os.path.isfile(path):  # unlike Path.is_file, no error for a name too long
        raise MissingFile("no such file", file=path, remedy="check the path")
    if not (size := path.stat().st_size):
        raise EmptyFile("empty file, zero bytes", file=path, remedy="get the file again")
    return size


def read_bytes(path: str | Path) -> bytes:
    """A whole file. `MissingFile`, `EmptyFile`, or `BadFile` where it may not be read or is
    above `MAX_FILE_BYTES`.
    """
    path = Path(path)
    if (size := file_size(path)) > MAX_FILE_BYTES:
        raise BadFile(
            f"{size} bytes, at most {MAX_FILE_BYTES} are read at once",
            file=path,
            remedy="split the file",
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFile(
            f"cannot be read: {error.strerror}", file=path, remedy="check its permissions"
        ) from None


def read_text(path: str | Path) -> str:
    """A whole file in UTF-8, with or without a mark in front; `BadFile` for anything else."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}"
        raise BadFile(problem, file=path, remedy="save the file as UTF-8") from None


def read_json(path: str | Path):
    """The content of a JSON file in UTF-8; `BadFile` for anything else. NaN and Infinity come as
    floats: check them.
    """
    text = read_text(path)
    try:
        return from_json(text)  # the same values in half the time
    except ValueError:  # half a surrogate pair or more nesting, which json takes; or its error
        pass
    try:
        return json.loads(text)
    except RecursionError:
        raise BadFile("not usable JSON: nested too deeply", file=path) from None
    # JSONDecodeError, or an integer of thousands of digits
    except (ValueError, MemoryError) as error:
        problem = f"not JSON: {error or 'out of memory'}"
        raise BadFile(problem, file=path, remedy="get or export the file again") from None
