"""Checks of what records hold: numbers, names, boxes, tables; and what becomes of those that fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num

from ..errors import (
    BadFile,
    BadParameter,
    BadRecord,
    EmptyFile,
    MissingFile,
    UnsafeFile,
    WorkbenchError,
)
from ..geometry import xywh_to_xyxy

FLOAT32_MAX = float(np.finfo(np.float32).max)


def check_on_bad(on_bad: str) -> None:
    """`BadParameter` for anything but "raise" and "report"."""
    if on_bad not in ("raise", "report"):
        raise BadParameter(f"on_bad is {on_bad!r}, 'raise' or 'report' expected")


def settle(bad: Sequence[WorkbenchError], n: int, what: str, on_bad: str, path: Path) -> None:
    """Raises the first error with the count of all, unless they are to be reported."""
    check_on_bad(on_bad)
    if bad and on_bad == "raise":
        count = (
            f"{len(bad)} of {n} {what} are bad; on_bad='report' (--on-bad report) keeps the others"
        )
        remedy = f"{bad[0].remedy}. {count}" if bad[0].remedy else count
        raise type(bad[0])(
            bad[0].problem, file=bad[0].file or path, record=bad[0].record, remedy=remedy
        )


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


def table(content, key: str, path: Path) -> list:
    if type(content) is not dict or type(content.get(key)) is not list:
        remedy = "a COCO annotation file is an object with images, annotations, categories"
        raise BadFile(f"no list of {key} at the top level", file=path, remedy=remedy)
    return content[key]


def numbers(item: Mapping, key: str, n: int, **where) -> Float[np.ndarray, "n"]:
    """The n finite numbers under `key` (flat, or nested one level as in RHD) as float32;
    `BadRecord` otherwise.
    """
    values = item.get(key)
    if type(values) is not list:
        raise BadRecord(
            f"{key} is {'missing' if values is None else type(values).__name__}, list expected",
            **where,
        )
    if n > 1 and values and all(type(v) is list for v in values):
        values = [number for row in values for number in row]
    if len(values) != n:
        raise BadRecord(f"{key} has length {len(values)} ({n} expected)", **where)
    if odd := [i for i, v in enumerate(values) if type(v) not in (int, float)]:
        raise BadRecord(
            f"{key}[{odd[0]}] is {type(values[odd[0]]).__name__}, number expected", **where
        )
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, np.float32)
    except OverflowError:
        array = np.full(n, np.inf, np.float32)
    if not np.isfinite(array).all():
        raise BadRecord(
            f"{key} has a value that is not finite at {int(np.argmin(np.isfinite(array)))}", **where
        )
    return array


def columns(
    records: Sequence, key: str, n: int
) -> tuple[Float[np.ndarray, "m n"], Bool[np.ndarray, "m"]]:
    """`numbers` of all records at once, and whether it has nothing to object to; where it has,
    ask it for the error.
    """
    values = [record.get(key) if type(record) is dict else None for record in records]
    good = np.array(
        [type(v) is list and len(v) == n and {*map(type, v)} <= {int, float} for v in values], bool
    )
    rows = np.zeros((len(values), n), np.float32)
    try:
        with np.errstate(over="ignore"):
            rows[good] = np.array(
                [v for v, whole in zip(values, good) if whole], np.float32
            ).reshape(-1, n)
    except OverflowError:  # an integer beyond float64
        good[:] = False
    return rows, good & np.isfinite(rows).all(1)


def box_columns(records: Sequence) -> tuple[Float[np.ndarray, "m 4"], Bool[np.ndarray, "m"]]:
    """`xyxy_from_xywh` of all records at once, and whether it has nothing to object to."""
    xywh, good = columns(records, "bbox", 4)
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = xywh_to_xyxy(xywh.astype(np.float64)).astype(np.float32)
    area = (
        (xywh[:, 2:] > 0).all(1) & np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    )
    return boxes, good & area


def number(item: Mapping, key: str, **where) -> float | None:
    """The finite number under `key`, None where it is missing or null; `BadRecord` for anything
    else.
    """
    value = item.get(key)
    if value is None:
        return None
    # the common case, without an array
    if type(value) in (int, float) and abs(value) < FLOAT32_MAX:
        return float(value)
    return float(numbers({key: [value]}, key, 1, **where)[0])


def xyxy_from_xywh(
    box_xywh: Float[np.ndarray, "4"], flat: bool = False, **where
) -> Float[np.ndarray, "4"]:
    """Corners of a box given by its corner, width and height, px; `BadRecord` where width or height
    is not positive, or not positive any more in float32. flat: they may be 0.
    """
    for side, length in zip(("width", "height"), box_xywh[2:]):
        if length < 0 or (length == 0 and not flat):
            raise BadRecord(
                f"bbox {side} <= 0: {length:g}",
                remedy="correct the box or drop the record",
                **where,
            )
    x, y, width, height = box_xywh.astype(np.float64)
    with np.errstate(over="ignore"):
        box = np.array([x, y, x + width, y + height]).astype(np.float32)
    if not (np.isfinite(box).all() and (flat or (box[2:] > box[:2]).all())):
        raise BadRecord(
            f"bbox {box_xywh.tolist()} has no area, or none that float32 can hold", **where
        )
    return box


def integral(value):
    """A float without a fraction as its integer, since tables export ids as 7.0; anything else
    as it is.
    """
    return int(value) if type(value) is float and value.is_integer() else value


def identifier(item: Mapping, key: str, **where) -> int | str:
    """An integer or string that names something; `BadRecord` where it is missing or of another
    type.
    """
    if type(item.get(key)) not in (int, str):
        raise BadRecord(
            f"{key} is {type(item.get(key)).__name__}, an integer or string expected", **where
        )
    return item[key]


def image_id(result: Mapping, **where) -> str:
    """The picture of a detection or result as text; 7.0 is 7. `BadRecord` where it is neither an
    integer nor a string.
    """
    return str(identifier({"image_id": integral(result.get("image_id"))}, "image_id", **where))


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
