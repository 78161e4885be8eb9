"""Files of others, opened so that nothing in them is executed and no size is believed: whole,
bounded, text in UTF-8, or a named error.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Shaped
from pydantic_core import from_json

from ..errors import BadFile, BadParameter, EmptyFile, MissingFile, UnsafeFile, WorkbenchError

# raised for files that one trusts, as in WORKBENCH_LIMITS=4; of archives, too
LIMITS = "WORKBENCH_LIMITS"
MAX_FILE_BYTES = 2**30  # COCO train2017 keypoints take 240 MB
# unpacked; the largest published member, AIST++ training joints, takes 2 GB
MAX_ARRAY_BYTES = 4 * 2**30
MAX_RATIO = 200  # unpacked over packed, above _RATIO_FREE_BYTES
_RATIO_FREE_BYTES = 2**26
MAX_CELLS = 30_000_000  # of a table: 33 landmarks in 150,000 frames
MAX_CONTAINERS = 30_000_000  # lists and objects of a JSON file; COCO train2017 has some millions
MAX_ALIKE = 100  # keys of a dict of a pickle that hash to the same


def limit(usual: int | float) -> float:
    """A stated limit, times what `LIMITS` in the environment says."""
    told = os.environ.get(LIMITS, "1")
    try:
        times = float(told)
    except ValueError:
        times = math.nan
    if not 0 < times < 1e6:  # nor is NaN
        raise BadParameter(f"{told!r} is no factor", record=LIMITS, remedy="say 4")
    return usual * times


TOO_MUCH = f"split the file, or raise the limits where you trust it ({LIMITS}=4)"


@contextmanager
def intact(kind: str, **where) -> Iterator[None]:
    """Whatever a damaged file brings up in a parser inside is a `BadFile`: not of this kind."""
    try:
        yield
    except WorkbenchError:
        raise
    except Exception as error:  # parsers of damaged files raise nearly anything
        raise BadFile(
            f"truncated, or not {kind}: {type(error).__name__} {error}"[:300], **where
        ) from None


# --- whole files ----------------------------------------------------------------------------------


def file_size(path: Path) -> int:
    """Bytes of a file: `MissingFile` where there is none, `EmptyFile` where there are none."""
    if not os.path.isfile(path):  # unlike Path.is_file, no error for a name too long
        raise MissingFile("no such file", file=path, remedy="check the path")
    if not (size := path.stat().st_size):
        raise EmptyFile("empty file, zero bytes", file=path, remedy="get the file again")
    return size


def read_bytes(path: str | Path, first: int = -1) -> bytes:
    """A whole file, or its first bytes. `MissingFile`, `EmptyFile`, or `BadFile` where it may not
    be read or is above `MAX_FILE_BYTES`.
    """
    path = Path(path)
    most = int(limit(MAX_FILE_BYTES))
    if (size := file_size(path)) > most:
        problem = f"{size} bytes, at most {most} are read at once"
        raise BadFile(problem, file=path, remedy=TOO_MUCH)
    try:
        with path.open("rb") as file:
            return file.read(first)
    except OSError as error:
        raise BadFile(
            f"cannot be read: {error.strerror}", file=path, remedy="check its permissions"
        ) from None


def read_text(path: str | Path) -> str:
    """A whole file in UTF-8, with or without a mark in front; `BadFile` for anything else."""
    if b"\0" in read_bytes(path, 2**16):  # before gigabytes of it are read
        problem = "not UTF-8 text: it holds zero bytes"
        raise BadFile(problem, file=path, remedy="save the file as text in UTF-8")
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(
            f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}",
            file=path,
            remedy="save the file as UTF-8",
        ) from None


def read_json(path: str | Path):
    """The content of a JSON file in UTF-8; `BadFile` for anything else. NaN and Infinity come as
    floats: check them.
    """
    text = read_text(path)
    if text.count("[") + text.count("{") > (most := limit(MAX_CONTAINERS)):
        problem = f"more than {most:,.0f} lists and objects"
        raise BadFile(problem, file=path, remedy=TOO_MUCH)
    try:
        return from_json(text)  # the same values in half the time
    except ValueError:  # half a surrogate pair or more nesting, which json takes; or its error
        pass
    try:
        return json.loads(text)
    # RecursionError is a RuntimeError; a ValueError may be an integer of thousands of digits
    except (ValueError, MemoryError, RuntimeError) as error:
        detail = "nested too deeply" if isinstance(error, RuntimeError) else error
        raise BadFile(f"not JSON: {detail}", file=path) from None


# --- pickles --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Global:
    """Stands for one allowed global. Not callable, nothing to set: only `load_reduce` gives it a
    meaning.
    """

    name: str


_GLOBALS = (  # numpy 2 says _core for core; protocols 0 to 2 write an empty array by bytes()
    "numpy.ndarray numpy.dtype _codecs.encode __builtin__.bytes numpy.core.multiarray.scalar "
    "numpy.core.multiarray._reconstruct numpy.core.numeric._frombuffer"
).split()
_PLAIN_OPCODES = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT GLOBAL "
    "STACK_GLOBAL"
).split()


class _DataUnpickler(pickle._Unpickler):
    """The interpreter's own pickle reader, cut down to plain data and numpy arrays.

    The Python class and not its C twin: that one allocates its memo by an index that the file
    chooses (ten bytes can ask for 64 GiB). Opcodes outside the list, persistent ids and extension
    codes among them, are refused; REDUCE and BUILD know the allowed globals only and never call
    what lies on the stack.

    objects: arrays of objects come as what they are in files: arrays of plain data and of arrays.
    """

    def __init__(self, raw: bytes, path: Path, objects: bool = False):
        super().__init__(io.BytesIO(raw), encoding="latin1")  # numpy arrays of Python 2 need latin1
        self.path = path
        self.objects = objects
        self.budget = 4 * len(raw) + 4096  # bytes that arrays and strings may take, memo or not
        self.alike: Counter[int] = Counter()  # keys that are no text, by their hashes

    def refuse(self, problem: str, remedy: str = "") -> NoReturn:
        raise UnsafeFile(
            f"refused, nothing of it was run: {problem}",
            file=self.path,
            remedy=remedy
            or "do not trust this file; export detections as npz or COCO results JSON",
        )

    def spend(self, n_bytes: int) -> None:
        self.budget -= n_bytes
        if self.budget < 0:
            self.refuse("it describes far more data than the file holds")

    def find_class(self, module: str, name: str) -> _Global:
        if f"{module}.{name}".replace("numpy._core.", "numpy.core.", 1) not in _GLOBALS:
            tensors = module.partition(".")[0] == "torch"
            remedy = "save arrays in the place of tensors (.numpy()), or COCO results JSON"
            problem = f"it asks for the global {f'{module}.{name}'[:100]!r}"
            self.refuse(problem, remedy if tensors else "")
        return _Global(name)

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
        match function.name, args:
            case "encode", (str(text), "latin1" | "latin-1"):
                self.spend(len(text))
                made = text.encode("latin1")
            case "dtype", (str(code), *_) if re.fullmatch(
                r"[<>|=]?[biufSU]\d{1,9}" + r"|O8?" * self.objects, code
            ):
                # a dtype with a copy of its own, or BUILD would change numpy's shared one
                made = np.dtype(code, copy=True)
            case "dtype", (code, *_):
                code = str(code)[:40]
                self.refuse(f"it holds an array of dtype {code!r}, only numbers and text are read")
            case "bytes", ():
                made = b""
            case "_reconstruct", (_Global(name="ndarray"), *_):
                made = np.empty(0, np.uint8)
            case "_frombuffer", (data, dtype, shape, "C" | "F" as order):
                made = self.array(shape, dtype, data, order)
            case "scalar", (dtype, data):
                made = self.array((1,), dtype, data, "C")[0]
            case _:
                self.refuse(f"it calls {function.name} with unusual arguments")
        self.stack[-1] = made

    def load_build(self):
        state = self.stack.pop()
        target = self.stack[-1]
        empty = type(target) is np.ndarray and target.size == 0
        match state:
            case (int(), "<" | ">" | "=" | "|" as order, *_) if isinstance(target, np.dtype):
                target.__setstate__(target.newbyteorder(order).__reduce__()[2])
            case (int(), tuple(shape), np.dtype(kind="O"), _, list(items)) if empty:
                if not all(type(n) is int for n in shape) or math.prod(shape) != len(items):
                    raise ValueError(f"{len(items)} objects for another shape")
                self.spend(8 * len(items))
                target.__setstate__((1, shape, np.dtype(object), False, items))
            case (int(), tuple(shape), np.dtype() as dtype, int() as fortran, data) if empty:
                array = self.array(shape, dtype, data, "F" if fortran else "C")
                state = (1, array.shape, array.dtype, bool(fortran), array.tobytes("A"))
                target.__setstate__(state)
            case _:
                self.refuse(f"it sets the state of a {type(target).__name__}")

    def put(self, target, items) -> None:
        if type(target) is not dict:
            raise pickle.UnpicklingError("items for something that is not a dict")
        plain = (type(None), str, bytes, int, float, np.generic)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # nested tuples as keys are refused: hashing them can take forever
            parts = key if type(key) is tuple else (key,)
            if not all(isinstance(part, plain) for part in parts):
                self.refuse("it has a dict key that is neither a plain value nor a tuple of them")
            if type(key) is not str and key not in target:
                self.alike[hash((id(target), hash(key)))] += 1
                if self.alike[hash((id(target), hash(key)))] > MAX_ALIKE:
                    self.refuse("keys of a dict are made to collide")
            target[key] = value

    def load_setitem(self):
        items = self.stack[-2:]
        del self.stack[-2:]
        self.put(self.stack[-1], items)

    def load_setitems(self):
        items = self.pop_mark()
        self.put(self.stack[-1], items)

    def load_dict(self):
        items = self.pop_mark()
        self.append({})
        self.put(self.stack[-1], items)

    def load_other(self):
        self.refuse("it has an opcode that builds objects or reaches outside the file")

    dispatch = {  # noqa: RUF012
        **dict.fromkeys(pickle._Unpickler.dispatch, load_other),
        **{
            code[0]: pickle._Unpickler.dispatch[code[0]]
            for code in (getattr(pickle, name) for name in _PLAIN_OPCODES)
        },
        pickle.REDUCE[0]: load_reduce,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        # as bytes: no allocation by a stated length
        pickle.BYTEARRAY8[0]: pickle._Unpickler.load_binbytes8,
    }


def safe_unpickle(path: str | Path):
    """What a pickle (any protocol, numpy 1 or 2) says as lists, tuples, dicts, plain values and
    numpy arrays of numbers or text; it may share or contain itself, so do not walk it blindly.

    `UnsafeFile` for any other global, call, opcode or object dtype: nothing of the file is ever
    run. `BadFile` for a truncated or broken one.
    """
    path = Path(path)
    with intact("a pickle", file=path):
        return _DataUnpickler(read_bytes(path), path).load()


# --- arrays ---------------------------------------------------------------------------------------


def _array(raw: bytes, objects: bool, **where) -> np.ndarray | list:
    stream = io.BytesIO(raw)
    with intact("an npy array", **where):
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_2_0
        if version == (1, 0):
            read = np.lib.format.read_array_header_1_0
        shape, fortran, dtype = read(stream)
        if dtype.kind in "biufSU":
            if math.prod(shape) * dtype.itemsize != len(raw) - stream.tell():
                raise ValueError(f"{len(raw) - stream.tell()} bytes for shape {shape} of {dtype}")
            array = np.frombuffer(raw, dtype, offset=stream.tell())
            return array.reshape(shape, order="F" if fortran else "C")
    if dtype.kind != "O" or not objects:
        raise BadFile(
            f"holds Python objects (dtype {dtype})"[:200],
            remedy="save it as an array of numbers or text (dtype float32, int64, U, S)",
            **where,
        )
    with intact("an array of objects", **where):
        array = _DataUnpickler(stream.read(), where["file"], objects=True).load()
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            raise TypeError("it is another thing")
    return list(array)


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
    Errors: `MissingFile`, `EmptyFile`; `BadFile` for a broken file, a key that is missing or there
    twice, objects, a bomb; `UnsafeFile`.
    """
    path = Path(path)
    size = file_size(path)
    with intact("an npz file", file=path), zipfile.ZipFile(path) as archive:
        names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
        members = dict(zip(names, archive.infolist()))
        if twice := [key for key in (*keys, *optional) if names.count(key) > 1]:
            problem = f"holds {twice[0]!r} {names.count(twice[0])} times"[:300]
            raise BadFile(problem, file=path, remedy="keep one of them")
        if lost := [key for key in keys if key not in members]:
            held = ", ".join(list(members)[:12]) or "nothing"
            raise BadFile(
                f"lacks {', '.join(lost)}; it holds {held}"[:300],
                file=path,
                remedy="prepare it in this layout, as plain arrays",
            )
        wanted = [key for key in (*keys, *optional) if key in members]
        total = sum(members[key].file_size for key in wanted)
        if total > limit(min(MAX_ARRAY_BYTES, max(_RATIO_FREE_BYTES, MAX_RATIO * size))):
            problem = f"{size} bytes unpack to {total}, more than is read"
            raise BadFile(problem, file=path, remedy=TOO_MUCH)
        raw = {key: archive.read(members[key]) for key in wanted}
    return {key: _array(raw.pop(key), objects, file=path, record=key) for key in wanted}
