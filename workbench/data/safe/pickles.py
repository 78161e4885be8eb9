"""Pickles of others as plain data: lists, dicts, numbers, text and numpy arrays. Nothing in them
is executed.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
from pathlib import Path
from typing import NoReturn

import numpy as np

from ...errors import BadFile, UnsafeFile
from .files import read_bytes


class _Global:
    """Stands for one allowed global. Not callable, nothing to set: only `_call` gives it a
    meaning.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str):
        self._name = name


_GLOBALS = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",  # how protocols 0 to 2 write an empty array: bytes()
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): "scalar" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "frombuffer" for core in ("core", "_core")},
}
_PLAIN_OPCODES = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT GLOBAL "
    "STACK_GLOBAL"
).split()
_OTHER_OPCODES = (  # build objects, reach outside the file, or hash whatever they are given
    "INST OBJ NEWOBJ NEWOBJ_EX EXT1 EXT2 EXT4 PERSID BINPERSID NEXT_BUFFER READONLY_BUFFER "
    "EMPTY_SET ADDITEMS FROZENSET"
).split()
MALFORMED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    RecursionError,
    NameError,
    struct.error,
)


class DataUnpickler(pickle._Unpickler):
    """The interpreter's own pickle reader, cut down to plain data and numpy arrays.

    The Python class and not its C twin: that one allocates its memo by an index that the file
    chooses (ten bytes can ask for 64 GiB). Opcodes outside the list, persistent ids and extension
    codes among them, are refused; REDUCE and BUILD know the allowed globals only and never call
    what lies on the stack.
    """

    dispatch = {  # noqa: RUF012
        code[0]: pickle._Unpickler.dispatch[code[0]]
        for code in (getattr(pickle, name) for name in _PLAIN_OPCODES)
    }

    def __init__(self, raw: bytes, path: Path):
        super().__init__(io.BytesIO(raw), encoding="latin1")  # numpy arrays of Python 2 need latin1
        # bytes that arrays and strings may take, memo or not
        self.path, self.budget = path, 4 * len(raw) + 4096

    def refuse(self, problem: str) -> NoReturn:
        remedy = "do not trust this file; export detections as npz or COCO results JSON"
        raise UnsafeFile(
            f"refused, nothing of it was run: {problem}", file=self.path, remedy=remedy
        )

    def spend(self, n_bytes: int) -> None:
        self.budget -= n_bytes
        if self.budget < 0:
            self.refuse("it describes far more data than the file holds")

    def find_class(self, module: str, name: str) -> _Global:
        if (module, name) not in _GLOBALS:
            self.refuse(f"it asks for the global {f'{module}.{name}'[:100]!r}")
        return _Global(_GLOBALS[module, name])

    def array(self, shape, dtype, data, order: str) -> np.ndarray:
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(dtype, np.dtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array without a dtype or bytes")
        self.spend(len(data))
        return np.frombuffer(data, dtype).reshape(shape, order=order).copy(order=order)

    def load_reduce(self):
        args = self.stack.pop()
        function = self.stack[-1]
        if type(function) is not _Global or type(args) is not tuple:
            self.refuse("it calls something that is not an allowed global")
        match function._name, args:
            case "encode", (str(text), "latin1" | "latin-1"):
                self.spend(len(text))
                made = text.encode("latin1")
            case "encode", (str(), other, *_):
                self.refuse(f"it encodes by {str(other)[:40]!r}, only latin1 is allowed")
            case "dtype", (str(code), *_) if re.fullmatch(r"[<>|=]?[biufSU]\d{1,9}", code):
                # a dtype with a copy of its own, or BUILD would change numpy's shared one
                made = np.dtype(code, copy=True)
            case "dtype", (code, *_):
                self.refuse(
                    f"it holds an array of dtype {str(code)[:40]!r}, only numbers and text are read"
                )
            case "bytes", ():
                made = b""
            case "reconstruct", (_Global(_name="ndarray"), *_):
                made = np.empty(0, np.uint8)
            case "frombuffer", (data, dtype, shape, "C" | "F" as order):
                made = self.array(shape, dtype, data, order)
            case "scalar", (dtype, data):
                made = self.array((1,), dtype, data, "C")[0]
            case _:
                self.refuse(f"it calls {function._name} with unusual arguments")
        self.stack[-1] = made

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_build(self):
        state = self.stack.pop()
        target = self.stack[-1]
        match state:
            case (int(), str(order), *_) if isinstance(target, np.dtype) and order in (
                "<",
                ">",
                "=",
                "|",
            ):
                target.__setstate__(target.newbyteorder(order).__reduce__()[2])
            case (int(), tuple(shape), np.dtype() as dtype, bool() | int() as fortran, data) if (
                type(target) is np.ndarray and target.size == 0
            ):
                array = self.array(shape, dtype, data, "F" if fortran else "C")
                target.__setstate__(
                    (1, array.shape, array.dtype, bool(fortran), array.tobytes("A"))
                )
            case _:
                self.refuse(f"it sets the state of a {type(target).__name__}")

    dispatch[pickle.BUILD[0]] = load_build

    def put(self, target, items) -> None:
        if type(target) is not dict:
            raise pickle.UnpicklingError("items for something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # nested tuples as keys are refused: hashing them can take forever
            parts = key if type(key) is tuple else (key,)
            if not all(
                part is None or isinstance(part, (str, bytes, int, float, np.generic))
                for part in parts
            ):
                self.refuse("it has a dict key that is neither a plain value nor a tuple of them")
            target[key] = value

    def load_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self.put(self.stack[-1], [key, value])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self):
        items = self.pop_mark()
        self.put(self.stack[-1], items)

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def load_dict(self):
        items = self.pop_mark()
        self.append({})
        self.put(self.stack[-1], items)

    dispatch[pickle.DICT[0]] = load_dict

    def load_other(self):
        self.refuse("it has an opcode that builds objects or reaches outside the file")

    dispatch.update(
        dict.fromkeys((getattr(pickle, name)[0] for name in _OTHER_OPCODES), load_other)
    )
    # as bytes: no allocation by a stated length
    dispatch[pickle.BYTEARRAY8[0]] = pickle._Unpickler.load_binbytes8


def safe_unpickle(path: str | Path):
    """What a pickle (any protocol, numpy 1 or 2) says as lists, tuples, dicts, plain values and
    numpy arrays of numbers or text; it may share or contain itself, so do not walk it blindly.

    `UnsafeFile` for any other global, call, opcode or object dtype: nothing of the file is ever
    run. `BadFile` for a truncated or broken one.
    """
    path = Path(path)
    try:
        return DataUnpickler(read_bytes(path), path).load()
    except MALFORMED as error:
        detail = f"{type(error).__name__} {error}".strip()[:200]
        raise BadFile(
            f"truncated, or not a pickle: {detail}", file=path, remedy="get the file again"
        ) from None
