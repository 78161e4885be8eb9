"""MATLAB 5 files (versions 5 to 7.2) as plain data, after MathWorks' "MAT-File Format": arrays,
text, structures, cells.

scipy's reader follows a file's sizes and nesting in compiled code: one changed byte can end the
interpreter, which no `except` prevents. Here every size is held against the bytes that are there,
and depth and unpacked size are bounded.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import BadFile
from .safe import intact, read_bytes

# 3,800 persons of PoseTrack17; at worst a file asks for a dict for every 8 bytes
MAX_UNPACKED_BYTES = 2**24
MAX_DEPTH = 16  # structures in structures; PoseTrack17 has 5
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = dict(zip((1, 2, 3, 4, 5, 6, 7, 9, 12, 13), "i1 u1 i2 u2 i4 u4 f4 f8 i8 u8".split()))
_TEXT = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)  # classes of arrays
_EMPTY = np.zeros((0, 0))
_EMPTY.setflags(write=False)


def _elements(body: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and bytes of each element; `ValueError` where one reaches beyond the body."""
    at = 0
    while at < len(body):
        kind, size = struct.unpack_from(order + "II", body, at)
        start, step = at + 8, 8 + size + (0 if kind == _COMPRESSED else -size % 8)
        if kind >> 16:  # a small element: size and type share a word, four bytes of data follow
            kind, size, start, step = kind & 0xFFFF, kind >> 16, at + 4, 8
        if start + size > min(len(body), at + step):
            raise ValueError(f"cut off: {size} bytes announced, {len(body) - start} there")
        yield kind, body[start : start + size]
        at += step


def _matrix(kind: int, body: memoryview, order: str, depth: int = 0) -> tuple[str, object]:
    """Name and value of an array."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if kind != _MATRIX:
        raise ValueError(f"an element of type {kind}, an array expected")
    if not len(body):
        return "", _EMPTY
    elements = _elements(body, order)
    (_, flags), (_, dims), (_, name) = itertools.islice(elements, 3)
    (flags,) = struct.unpack_from(order + "I", flags)
    shape = np.frombuffer(dims, order + "i4").tolist()
    if len(shape) > 32 or min(shape) < 0:
        raise ValueError(f"an array of {len(shape)} dimensions, of a shape such as {shape[:3]}")
    what, n, name = flags & 0xFF, math.prod(shape), bytes(name).decode("latin1")
    if n == 0:  # as a list, an array of 2^30 x 0 would be one of 2^30 empty lists
        return name, "" if what == _CHAR else _EMPTY
    kind, data = next(elements, (0, b""))
    if what in _NUMERIC and not flags & 0x800:  # complex numbers are not read
        return name, np.frombuffer(data, order + _NUMBERS[kind]).reshape(shape, order="F")
    if what == _CHAR:
        encoding = _TEXT[kind]
        ending = {"<": "-le", ">": "-be"}[order] if encoding in ("utf-16", "utf-32") else ""
        return name, bytes(data).decode(encoding + ending)
    if what == _CELL:
        elements, keys = itertools.chain([(kind, data)], elements), [""]
    elif what == _STRUCT:
        (width,) = struct.unpack_from(order + "i", data)
        names = bytes(next(elements, (0, b""))[1])
        keys = [
            names[i : i + width].split(b"\0")[0].decode("latin1")
            for i in range(0, len(names), max(width, 1))
        ]
    else:
        raise ValueError(f"an array of class {what}, or of complex numbers")
    values = [_matrix(*part, order, depth + 1)[1] for part in elements]
    k = len(keys)
    if len(values) != n * k:
        raise ValueError(f"{len(values)} values for {k} fields of an array of shape {shape}")
    if what == _CELL:
        return name, values
    return name, [dict(zip(keys, values[i : i + k])) for i in range(0, len(values), k)]


def read_variables(path: str | Path) -> dict[str, object]:
    """The variables of a MATLAB file: arrays of numbers as they are stored, text as str, cells as
    lists, structures as lists of dicts (also a single one), both in column order; whatever is empty
    as an array of shape (0, 0).

    Errors: `BadFile` for a damaged file, one that unpacks to more than `MAX_UNPACKED_BYTES`,
    objects, sparse or complex arrays, and versions 4 and 7.3; `EmptyFile`, `MissingFile`.
    """
    raw = memoryview(read_bytes(path))
    order = {b"IM": "<", b"MI": ">"}.get(bytes(raw[126:128]))
    if order is None or bytes(raw[:10]) == b"MATLAB 7.3":
        raise BadFile(
            "not a MATLAB file of versions 5 to 7.2",
            file=path,
            remedy="save it by MATLAB's save -v7",
        )
    variables, room = {}, MAX_UNPACKED_BYTES
    with intact("a MATLAB file", file=path):
        for kind, body in _elements(raw[128:], order):
            if kind == _COMPRESSED:
                unpacked = zlib.decompressobj().decompress(body, room + 1)
                room -= len(unpacked)
                if room < 0:
                    raise BadFile(f"unpacks to more than {MAX_UNPACKED_BYTES} bytes", file=path)
                ((kind, body),) = _elements(memoryview(unpacked), order)
            name, value = _matrix(kind, body, order)
            variables[name] = value
    return variables
