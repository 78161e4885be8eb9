"""What records of others must hold, and what becomes of those that do not.

The shape of a record is a pydantic model of the types below; `checked` says as a `BadRecord` what
it objects to.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, compress
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Num
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)

from ..errors import (
    BadFile,
    BadRecord,
    EmptyFile,
    MissingFile,
    UnsafeFile,
    WorkbenchError,
    check_choice,
)
from ..geometry import xywh_to_xyxy

FLOAT32_MAX = float(np.finfo(np.float32).max)
Shape = TypeVar("Shape")


# --- shapes ---------------------------------------------------------------------------------------


def integral(value):
    """A float without a fraction as its integer, since tables export ids as 7.0; anything else
    as it is.
    """
    return int(value) if type(value) is float and value.is_integer() else value


def _name(value: object) -> str:
    if type(value) not in (int, str):
        raise ValueError(f"is {type(value).__name__}, an integer or string expected")
    return str(value)


def _flattened(values: object) -> object:
    """A list of lists as one list."""
    if type(values) is list and values and {*map(type, values)} == {list}:
        return [*chain.from_iterable(values)]
    return values


# a number that is finite in float32
Number = Annotated[float, Field(strict=True, ge=-FLOAT32_MAX, le=FLOAT32_MAX)]
Numbers = Annotated[list[Number], FailFast()]
# an integer or a string, as text: 7 and "7" are one name
Identifier = Annotated[str, PlainValidator(_name)]
# where tables were exported: 7.0 is 7
LooseIdentifier = Annotated[Identifier, BeforeValidator(integral)]
_numbers = TypeAdapter(Numbers).validate_python
_optional_number = TypeAdapter(Number | None).validate_python
name_or_number = TypeAdapter(Identifier).validate_python
_loose_identifier = TypeAdapter(LooseIdentifier).validate_python


class Record(BaseModel):
    """Base of the shapes of records: no value is converted, and what no field names is passed
    over.
    """

    model_config = ConfigDict(strict=True, extra="ignore")


def checked(shape: Callable[[object], Shape], value: object, name: str = "", **where) -> Shape:
    """What a validator of pydantic makes of a value, such as `Model.model_validate`; `BadRecord`
    with its first objection. name: of the value, where it is no record.
    """
    try:
        return shape(value)
    except ValidationError as error:
        problem = _objection(error.errors(include_url=False)[0], name)
        raise BadRecord(problem, **where) from None


def all_checked(shape: type[Shape], records: list) -> list[Shape | None]:
    """What `checked` makes of all records at once by a model; None where it raises."""
    try:
        return TypeAdapter(list[shape]).validate_python(records)
    except ValidationError as error:
        bad = {objection["loc"][0] for objection in error.errors(include_url=False)}
    return [None if row in bad else shape.model_validate(r) for row, r in enumerate(records)]


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection: a file's content is millions of objects, none of them garbage,
    and to look through them takes longer than to read them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


_EXPECTED = {
    "float_type": "number",
    "list_type": "list",
    "string_type": "text",
    "model_type": "object",
}


def _objection(error: Mapping[str, Any], name: str) -> str:
    """An error of pydantic in our words."""
    kind, value, limits = error["type"], error["input"], error.get("ctx", {})
    *outer, last = [name, *error["loc"]] if name else error["loc"] or [""]
    place = "".join(f"[{part}]" if type(part) is int else f".{part}" for part in (*outer, last))
    place = place.lstrip(".")
    beyond_float = kind == "float_type" and type(value) is int
    if beyond_float or FLOAT32_MAX in (limits.get("le"), -limits.get("ge", 0)):
        at = f" at {last}" if type(last) is int else ""
        return f"{place.removesuffix(f'[{last}]')} has a value that is not finite{at}"
    if kind == "missing" or (value is None and kind in _EXPECTED):
        return f"{place} is missing"
    if kind in ("too_short", "too_long"):
        expected = limits.get("min_length", limits.get("max_length"))
        return f"{place} has length {len(value)} ({expected} expected)"
    if kind == "value_error":
        return f"{place} {limits['error']}".strip()
    if kind in _EXPECTED:
        problem = f"{type(value).__name__}, {_EXPECTED[kind]} expected"
        return f"{place} is {problem}" if place else problem
    return f"{place} is {repr(value)[:80]}: {error['msg']}"


def numbers(item: Mapping, key: str, n: int, **where) -> Float[np.ndarray, "n"]:
    """The n finite numbers under `key` (flat, or nested one level as in RHD) as float32;
    `BadRecord` otherwise.
    """
    stated = item.get(key)
    values = checked(_numbers, _flattened(stated) if n > 1 else stated, key, **where)
    if len(values) != n:
        raise BadRecord(f"{key} has length {len(values)} ({n} expected)", **where)
    return np.array(values, np.float32)


def columns(
    records: Sequence, key: str, n: int
) -> tuple[Float[np.ndarray, "m n"], Bool[np.ndarray, "m"]]:
    """`numbers` of all records at once, and of which: flat lists that hold nothing else. Where a
    row is not, ask `numbers` for its values or the error.
    """
    values = [record.get(key) if type(record) is dict else None for record in records]
    good = [type(v) is list and len(v) == n for v in values]
    if not {*map(type, chain.from_iterable(compress(values, good)))} <= {int, float}:
        good = [flat and {*map(type, v)} <= {int, float} for flat, v in zip(good, values)]
    good, rows = np.array(good, bool), np.zeros((len(values), n), np.float32)
    plain = chain.from_iterable(compress(values, good))
    try:
        with np.errstate(over="ignore"):
            rows[good] = np.fromiter(plain, np.float32).reshape(-1, n)
    except OverflowError:  # an integer beyond float64
        good[:] = False
    return rows, good & np.isfinite(rows).all(1)


def xyxy_columns(
    boxes_xywh: Float[np.ndarray, "n 4"],
) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, "n"]]:
    """`xyxy_from_xywh` of all boxes at once, and which have an area."""
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = xywh_to_xyxy(boxes_xywh.astype(np.float64)).astype(np.float32)
    return boxes, np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)


def number(item: Mapping, key: str, **where) -> float | None:
    """The finite number under `key`, None where it is missing or null; `BadRecord` for anything
    else.
    """
    return checked(_optional_number, item.get(key), key, **where)


def image_id(result: Mapping, **where) -> str:
    """The picture of a detection or result as text; 7.0 is 7. `BadRecord` where it is neither an
    integer nor a string.
    """
    return checked(_loose_identifier, result.get("image_id"), "image_id", **where)


def table(content: object, key: str, path: Path) -> list:
    """The list of records under `key` of a COCO-style file; `BadFile` where there is none."""
    if type(content) is not dict or type(content.get(key)) is not list:
        remedy = "a COCO annotation file is an object with images, annotations, categories"
        raise BadFile(f"no list of {key} at the top level", file=path, remedy=remedy)
    return content[key]


def xyxy_from_xywh(
    box_xywh: Float[np.ndarray, "4"], flat: bool = False, **where
) -> Float[np.ndarray, "4"]:
    """Corners of a box given by its corner, width and height, px; `BadRecord` where width or height
    is not positive, or not positive any more in float32. flat: they may be 0.
    """
    for side, length in zip(("width", "height"), box_xywh[2:]):
        if length < 0 or (length == 0 and not flat):
            remedy = "correct the box or drop the record"
            raise BadRecord(f"bbox {side} <= 0: {length:g}", remedy=remedy, **where)
    box, has_area = (values[0] for values in xyxy_columns(box_xywh[None]))
    if not (has_area or (flat and np.isfinite(box).all())):
        problem = f"bbox {box_xywh.tolist()} has no area, or none that float32 can hold"
        raise BadRecord(problem, **where)
    return box


# --- arrays of files that are no JSON -------------------------------------------------------------


def numbers_of(
    value: object,
    what: str,
    shape: tuple[int | None, ...],
    *,
    gaps: bool = False,
    tree: bool = False,
    **where,
) -> Num[np.ndarray, "*shape"]:
    """An array of numbers as float64 in a shape (None: any length); `BadRecord` where it is another
    thing, has another shape, or a value that is not finite in float32.

    gaps: NaN may stand. tree: lists do as well; say so for JSON only, for a pickle's list may
    contain itself.
    """
    if (tree and type(value) is list) or (
        isinstance(value, np.ndarray) and value.dtype.kind == "O"
    ):
        try:
            value = np.array(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            value = "no numbers"
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise BadRecord(
            f"{what} is {'missing' if value is None else 'not an array of numbers'}", **where
        )
    if value.ndim != len(shape) or any(
        want not in (None, got) for want, got in zip(shape, value.shape)
    ):
        expected = ", ".join("any" if s is None else str(s) for s in shape)
        raise BadRecord(f"{what} has shape {value.shape}, ({expected}) expected", **where)
    with np.errstate(over="ignore"):
        whole = np.isfinite(value.astype(np.float32)) | (gaps & np.isnan(value))
    if not whole.all():
        at = tuple(int(i) for i in np.argwhere(~whole)[0])
        raise BadRecord(
            f"{what} has a value that is not finite at {at}", remedy="drop or correct it", **where
        )
    return value.astype(np.float64)


def texts_of(value: object, what: str, **where) -> list[str]:
    """A list or 1-D array of text as strings; `BadRecord` otherwise."""
    items = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if type(items) not in (list, tuple) or not all(
        isinstance(item, (str, bytes)) for item in items
    ):
        raise BadRecord(f"{what} is no list of text", **where)
    return [item.decode("latin1") if isinstance(item, bytes) else str(item) for item in items]


# --- what becomes of records that are bad ---------------------------------------------------------


def check_on_bad(on_bad: str) -> None:
    """`BadParameter` for anything but "raise" and "report"."""
    check_choice("on_bad", on_bad, ("raise", "report"))


def settle(bad: Collection[WorkbenchError], n: int, what: str, on_bad: str, path: Path) -> None:
    """Raises the first error with the count of all, unless they are to be reported."""
    check_on_bad(on_bad)
    if bad and on_bad == "raise":
        first = next(iter(bad))
        count = f"{len(bad)} of {n} {what} are bad; "
        count += "on_bad='report' (--on-bad report) keeps the others"
        remedy = f"{first.remedy}. {count}" if first.remedy else count
        raise type(first)(
            first.problem, file=first.file or path, record=first.record, remedy=remedy
        )


def placed(error: BadRecord, file: Path, record: str) -> BadRecord:
    """An error that knows neither file nor record, with both."""
    return BadRecord(error.problem, file=file, record=record, remedy=error.remedy)


@contextmanager
def collected(bad: dict[int, BadRecord], row: int, file: Path, record: str) -> Iterator[None]:
    """Puts aside a `BadRecord` that is raised inside, `placed`."""
    try:
        yield
    except BadRecord as error:
        bad[row] = placed(error, file, record)


def each(
    items: Sequence, read: Callable, what: str, on_bad: str, path: Path
) -> tuple[list, list[WorkbenchError]]:
    """What `read` makes of each file or sequence, and the errors of those that are left out;
    `settle`d.
    """
    check_on_bad(on_bad)
    kept, bad = [], []
    for item in items:
        try:
            kept.append(read(item))
        except (BadRecord, BadFile, EmptyFile, MissingFile, UnsafeFile) as error:
            file = error.file or path  # records know neither file nor record
            record = error.record or (item if str(item) != str(file) else None)
            bad.append(type(error)(error.problem, file=file, record=record, remedy=error.remedy))
    settle(bad, len(items), what, on_bad, path)
    return kept, bad
