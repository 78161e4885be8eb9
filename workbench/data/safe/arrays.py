"""Arrays from npz and npy files of others: nothing in them is run, and memory stays bounded by
their size.
"""

from __future__ import annotations

import io
import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from ...errors import BadFile
from .files import file_size, read_bytes
from .pickles import MALFORMED, DataUnpickler

# unpacked; the largest published member, AIST++ training joints, takes 2 GB
MAX_ARRAY_BYTES = 4 * 2**30
MAX_RATIO = 200  # unpacked over packed, above _RATIO_FREE_BYTES
_RATIO_FREE_BYTES = 2**26
_REMEDY = "get or export the file again"
_BROKEN_NPY = (
    ValueError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    OverflowError,
    RecursionError,
    MemoryError,
)
_BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class _Unpickler(DataUnpickler):
    """Plain data, and arrays of objects as what they are in files: lists of plain data and of
    arrays.
    """

    dispatch = dict(DataUnpickler.dispatch)  # noqa: RUF012

    def load_reduce(self):
        match self.stack[-2:]:
            case [function, ("O8" | "O", *_)] if getattr(function, "_name", None) == "dtype":
                self.stack[-2:] = [np.dtype(object)]
            case _:
                super().load_reduce()

    dispatch[b"R"[0]] = load_reduce

    def load_build(self):
        match self.stack[-2:]:
            case [np.dtype(kind="O"), tuple()]:
                self.stack.pop()
            case [
                np.ndarray(size=0) as target,
                (int(), tuple(shape), np.dtype(kind="O"), _, list(items)),
            ]:
                if not all(type(n) is int for n in shape) or math.prod(shape) != len(items):
                    raise ValueError(f"{len(items)} objects for another shape")
                self.spend(8 * len(items))
                target.__setstate__((1, shape, np.dtype(object), False, items))
                self.stack.pop()
            case _:
                super().load_build()

    dispatch[b"b"[0]] = load_build


def _array(raw: bytes, objects: bool, **where) -> np.ndarray | list:
    stream = io.BytesIO(raw)
    try:
        header = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0
            if header == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(stream)
        if dtype.kind in "biufSU":
            if math.prod(shape) * dtype.itemsize != len(raw) - stream.tell():
                raise ValueError(f"{len(raw) - stream.tell()} bytes for shape {shape} of {dtype}")
            array = np.frombuffer(raw, dtype, offset=stream.tell())
            return array.reshape(shape, order="F" if fortran else "C")
    except _BROKEN_NPY as error:
        raise BadFile(
            f"truncated, or not an npy array: {error}"[:300], remedy=_REMEDY, **where
        ) from None
    if dtype.kind != "O" or not objects:
        remedy = "save it as an array of numbers or text (dtype float32, int64, U, S)"
        raise BadFile(f"holds Python objects (dtype {dtype})"[:200], remedy=remedy, **where)
    try:
        found = _Unpickler(raw[stream.tell() :], where["file"]).load()
    except MALFORMED as error:
        raise BadFile(
            f"a broken array of objects: {error}"[:300], remedy=_REMEDY, **where
        ) from None
    if not isinstance(found, np.ndarray) or found.ndim == 0:
        raise BadFile("an array of objects expected", remedy=_REMEDY, **where)
    return list(found)


def read_npy(path: str | Path) -> Shaped[np.ndarray, "*shape"]:
    """The array in an npy file. `BadFile` where it is truncated or holds objects; `MissingFile`,
    `EmptyFile`.
    """
    return _array(read_bytes(path), objects=False, file=Path(path))


def read_npz(
    path: str | Path, keys: Sequence[str], optional: Sequence[str] = (), *, objects: bool = False
) -> dict[str, np.ndarray | list]:
    """The arrays of these keys, and of the optional ones that are there; nothing else of the file
    is unpacked.

    objects: also read arrays of Python objects (ragged sequences, as DeciWatch's files hold), as
        lists of what plain data and arrays they consist of; nothing is run. Otherwise they are
        refused.
    Errors: `MissingFile`, `EmptyFile`; `BadFile` for a broken file, a missing key, objects, a bomb;
    `UnsafeFile`.
    """
    path = Path(path)
    size = file_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if lost := [key for key in keys if key not in members]:
                held = ", ".join(list(members)[:12]) or "nothing"
                remedy = "prepare it in this layout, as plain arrays"
                raise BadFile(
                    f"lacks {', '.join(lost)}; it holds {held}"[:300], file=path, remedy=remedy
                )
            wanted = [key for key in (*keys, *optional) if key in members]
            total = sum(members[key].file_size for key in wanted)
            if total > min(MAX_ARRAY_BYTES, max(_RATIO_FREE_BYTES, MAX_RATIO * size)):
                raise BadFile(
                    f"{size} bytes unpack to {total}, more than is read",
                    file=path,
                    remedy="split the file",
                )
            raw = {key: archive.read(members[key]) for key in wanted}
    except _BROKEN_ZIP as error:
        raise BadFile(
            f"truncated, or not an npz file: {error}"[:300], file=path, remedy=_REMEDY
        ) from None
    return {key: _array(raw.pop(key), objects, file=path, record=key) for key in wanted}
