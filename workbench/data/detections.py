"""Detector results as people have them: MMPose pickles and JSON, npz, COCO results, OpenPose folders, landmark tables.

Nothing in them is executed.
"""

from __future__ import annotations

import io
import itertools
import lzma
import os
import pickle
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float, Int

from ..errors import BadFile, BadRecord, UnsafeFile
from ..geometry import box_of_points
from ..records import Detections
from ..skeletons import SKELETONS
from ..skeletons import skeleton as skeleton_by_name
from .coco import MAX_FILE_BYTES, read_bytes
from .results import COCO17, Row, parse, rows

BOX_UNIT_PX = 200  # MMPose states box sizes in units of 200 px
CONFIDENCE = (-0.01, 10.0)  # what is read: heat map peaks dip below 0 and rise above 1, percent and logits do not fit
USUAL_SKELETON = {14: "crowdpose14", 17: "coco17", 21: "hand21"}  # what a file without joint names most often means


# --- pickles as plain data ----------------------------------------------------------------------------------------


class _Global:
    """Stands for one allowed global. Not callable, nothing to set: only `_call` gives it a meaning."""

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
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT GLOBAL STACK_GLOBAL"
).split()
_OTHER_OPCODES = (  # build objects, reach outside the file, or hash whatever they are given
    "INST OBJ NEWOBJ NEWOBJ_EX EXT1 EXT2 EXT4 PERSID BINPERSID NEXT_BUFFER READONLY_BUFFER EMPTY_SET ADDITEMS FROZENSET"
).split()
_MALFORMED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError,
    OverflowError, MemoryError, RecursionError, NameError, struct.error,
)  # fmt: skip


class _DataUnpickler(pickle._Unpickler):
    """The interpreter's own pickle reader, cut down to plain data and numpy arrays.

    The Python class and not its C twin: that one allocates its memo by an index that the file chooses (ten bytes can
    ask for 64 GiB). Opcodes outside the list, persistent ids and extension codes among them, are refused; REDUCE and
    BUILD know the allowed globals only and never call what lies on the stack.
    """

    dispatch = {  # noqa: RUF012
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in (getattr(pickle, name) for name in _PLAIN_OPCODES)
    }

    def __init__(self, raw: bytes, path: Path):
        super().__init__(io.BytesIO(raw), encoding="latin1")  # numpy arrays of Python 2 need latin1
        self.path, self.budget = path, 4 * len(raw) + 4096  # bytes that arrays and strings may take, memo or not

    def refuse(self, problem: str) -> NoReturn:
        raise UnsafeFile(
            f"refused, nothing of it was run: {problem}",
            file=self.path,
            remedy="do not trust this file; export detections as npz or COCO results JSON",
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
                self.refuse(f"it holds an array of dtype {str(code)[:40]!r}, only numbers and text are read")
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
            case (int(), str(order), *_) if isinstance(target, np.dtype) and order in ("<", ">", "=", "|"):
                target.__setstate__(target.newbyteorder(order).__reduce__()[2])
            case (int(), tuple(shape), np.dtype() as dtype, bool() | int() as fortran, data) if (
                type(target) is np.ndarray and target.size == 0
            ):
                array = self.array(shape, dtype, data, "F" if fortran else "C")
                target.__setstate__((1, array.shape, array.dtype, bool(fortran), array.tobytes("A")))
            case _:
                self.refuse(f"it sets the state of a {type(target).__name__}")

    dispatch[pickle.BUILD[0]] = load_build

    def put(self, target, items) -> None:
        if type(target) is not dict:
            raise pickle.UnpicklingError("items for something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # nested tuples as keys are refused: hashing them can take forever
            parts = key if type(key) is tuple else (key,)
            if not all(part is None or isinstance(part, (str, bytes, int, float, np.generic)) for part in parts):
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

    dispatch.update(dict.fromkeys((getattr(pickle, name)[0] for name in _OTHER_OPCODES), load_other))
    dispatch[pickle.BYTEARRAY8[0]] = pickle._Unpickler.load_binbytes8  # as bytes: no allocation by a stated length


def safe_unpickle(path: str | Path):
    """What a pickle (any protocol, numpy 1 or 2) says as lists, tuples, dicts, plain values and numpy arrays of numbers
    or text; it may share or contain itself, so do not walk it blindly.

    `UnsafeFile` for any other global, call, opcode or object dtype: nothing of the file is ever run. `BadFile` for a
    truncated or broken one.
    """
    path = Path(path)
    try:
        return _DataUnpickler(read_bytes(path), path).load()
    except _MALFORMED as error:
        detail = f"{type(error).__name__} {error}".strip()[:200]
        raise BadFile(f"truncated, or not a pickle: {detail}", file=path, remedy="get the file again") from None


# --- detections ---------------------------------------------------------------------------------------------------


_COLUMNS = ("preds", "boxes", "image_paths", "bbox_ids")


class _Columns(NamedTuple):
    keypoints: Float[np.ndarray, "n k 3"]  # x px, y px, confidence
    boxes_xyxy: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, "n"]
    images: tuple[str, ...]
    ids: tuple[str, ...]
    frames: Int[np.ndarray, "n"] | None = None
    tracks: Int[np.ndarray, "n"] | None = None


def _column(batch: dict, key: str, shape: tuple[int | None, ...], **where) -> np.ndarray:
    """An array of finite numbers of a batch, as float32; None in `shape` is any length."""
    value = batch.get(key)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise BadRecord(f"{key} is {'missing' if value is None else 'not an array of numbers'}", **where)
    if value.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, value.shape)):
        expected = ", ".join("any" if s is None else str(s) for s in shape)
        raise BadRecord(f"{key} has shape {value.shape}, ({expected}) expected", **where)
    with np.errstate(over="ignore"):
        value = value.astype(np.float32)
    if not np.isfinite(value).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
        raise BadRecord(f"{key} has a value that is not finite at {at}", **where)
    return value


def _names(batch: dict, key: str, n: int, kinds: str, types: tuple[type, ...], **where) -> list:
    """A list (or 1-D array of those kinds) of n file names or ids."""
    value = batch.get(key)
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in kinds:
        value = value.tolist()
    if type(value) not in (list, tuple) or not all(type(v) in types for v in value):
        raise BadRecord(f"{key} is {'missing' if value is None else 'not a list of names or numbers'}", **where)
    if len(value) != n:
        raise BadRecord(f"{key} has {len(value)} entries, {n} expected", **where)
    return list(value)


def _from_batches(batches: list[tuple[str, object]], path: Path) -> _Columns:
    """Rows of all batches in the order of bbox_ids."""
    parts, k, n_bytes = [], None, 0
    for record, batch in batches:
        where = {"file": path, "record": record}
        if type(batch) is not dict:
            raise BadRecord(
                f"{type(batch).__name__}, a dict with preds, boxes, image_paths, bbox_ids expected", **where
            )
        preds = _column(batch, "preds", (None, k, 3), **where)
        n, k = preds.shape[:2]
        if not k:
            raise BadRecord("preds have no joints", **where)
        n_bytes += preds.nbytes
        if n_bytes > 4 * MAX_FILE_BYTES:
            raise BadFile("more rows than a file of its size can hold", **where)
        boxes = _column(batch, "boxes", (n, 6), **where)
        images = _names(batch, "image_paths", n, "U", (str,), **where)
        ids = _names(batch, "bbox_ids", n, "iu", (int, np.int32, np.int64), **where)
        if (boxes[:, 2:4] <= 0).any():
            raise BadRecord(f"box of bbox_id {ids[int((boxes[:, 2:4] <= 0).any(1).argmax())]} has size <= 0", **where)
        with np.errstate(over="ignore"):
            half = BOX_UNIT_PX / 2 * boxes[:, 2:4]
            corners = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
            scores = boxes[:, 5] * preds[:, :, 2].mean(1)
        whole = np.isfinite(corners).all(1) & (corners[:, 2:] > corners[:, :2]).all(1)
        for name, good in (("box", whole), ("score", np.isfinite(scores))):
            if not good.all():
                raise BadRecord(f"{name} of bbox_id {ids[int(good.argmin())]} is beyond what float32 can hold", **where)
        parts.append((preds, corners, scores, images, ids))
    if not parts:
        raise BadFile("holds no batches", file=path, remedy="get or export the file again")
    preds, corners, scores = (np.concatenate([part[i] for part in parts]) for i in (0, 1, 2))
    images, ids = ([value for part in parts for value in part[i]] for i in (3, 4))
    order = sorted(range(len(ids)), key=ids.__getitem__)
    ids = [int(ids[i]) for i in order]
    if doubles := sorted({a for a, b in itertools.pairwise(ids) if a == b}):
        raise BadRecord(
            f"{len(doubles)} bbox_ids stand more than once",
            file=path,
            record=f"bbox_id {doubles[0]}",
            remedy="keep one row of each (distributed evaluation pads its last batch with repeats)",
        )
    return _Columns(
        preds[order],
        corners[order],
        scores[order],
        tuple(images[i] for i in order),
        tuple(map(str, ids)),
    )


def _from_pickle(path: Path) -> _Columns:
    content = safe_unpickle(path)
    if type(content) is not list:
        raise BadFile(f"holds a {type(content).__name__}, a list of MMPose result batches expected", file=path)
    return _from_batches([(f"batch {i}", batch) for i, batch in enumerate(content)], path)


def _from_npz(path: Path) -> _Columns:
    raw = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            total = sum(info.file_size for info in archive.infolist())
        if total > 4 * MAX_FILE_BYTES:
            raise BadFile(f"unpacks to {total} bytes, at most {4 * MAX_FILE_BYTES} are read", file=path)
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            content = {
                key: archive[key] for key in archive.files if key in ("preds", "boxes", "image_paths", "bbox_ids")
            }
    except (
        *_MALFORMED, OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError,
        SyntaxError, tokenize.TokenError,
    ) as error:  # fmt: skip
        raise BadFile(f"not a whole npz file of plain arrays: {error}"[:300], file=path) from None
    return _from_batches([("arrays", content)], path)


def _from_rows(found: Iterable[Row], k: int | None, path: Path) -> _Columns:
    """Rows of a results file; a row without a box gets the one around its known joints."""
    found = list(found)
    k = len(found[0].keypoints) if found else k or len(COCO17)
    boxes = np.zeros((len(found), 4), np.float32)
    for box, row in zip(boxes, found):
        known = row.keypoints[:, 2] > 0
        around = box_of_points(row.keypoints[known if known.any() else slice(None), :2])
        box[:] = around if row.box_xyxy is None else row.box_xyxy
    tracked = [row.track is not None for row in found]
    if any(tracked) and not all(tracked):
        remedy = "give every detection a track_id, or none"
        raise BadRecord("no track_id, others have one", file=path, record=found[tracked.index(False)].id, remedy=remedy)
    framed = all(row.frame is not None for row in found)
    with np.errstate(over="ignore"):
        scores = [row.keypoints[:, 2].mean() if row.score is None else row.score for row in found]
    return _Columns(
        np.array([row.keypoints for row in found], np.float32).reshape(-1, k, 3),
        boxes,
        np.array(scores, np.float32),
        tuple(row.image for row in found),
        tuple(row.id for row in found),
        np.array([row.frame for row in found], np.int64) if framed else None,
        np.array([row.track for row in found]) if any(tracked) else None,
    )


def read_detections(
    path: str | Path,
    *,
    skeleton: str | None = None,
    size_wh: tuple[int, int] | None = None,
    content: object = None,
) -> Detections:
    """Detected poses of one file or folder, told apart by suffix and content:

    .pkl, .pickle  MMPose 0.x results: a list of batches {preds [b k 3], boxes [b 6], image_paths, bbox_ids}
    .npz           the same four arrays, once
    .json          COCO results: [{image_id, category_id, keypoints [3k], score, bbox?, track_id?}]
                   MMPose 1.x: [{frame_id, instances: [{keypoints [k 2], keypoint_scores [k], bbox?, bbox_score?}]}], the
                   same in {meta_info, instance_info}, or one picture's list of instances
                   OpenPose: {people: [{pose_keypoints_2d}]} of BODY_25 or COCO-18
    a folder       one OpenPose file a frame (*_000000000012_keypoints.json), or one MMPose file a picture
    .csv           one line a landmark: frame (from 0), person (optional; 0), landmark (name, or MediaPipe's number 0 to
                   32), x and y (fractions of the picture, which need size_wh) or x_px and y_px, visibility; further
                   columns are left alone; our own tables with joint and confidence are read too

    skeleton: its name; None means crowdpose14, coco17 or hand21 for as many joints, other counts must be named. OpenPose,
        BlazePose, Halpe-26 and COCO-WholeBody joints are reduced to coco17 (no neck, mid-hip, feet, face, hands).
    size_wh: px of the pictures. content: the JSON, if it has been parsed already.
    Coordinates px in the frame. MMPose boxes (centre, size in 200 px) and COCO boxes (xywh) become xyxy; a result
    without a box gets the one around its joints of confidence above 0. Scores: as stated, of batches box score times
    mean joint confidence, else the mean confidence. Rows stand in the order of bbox_ids, of other files in their own.
    frames: frame_id from 0 (files wrapped with meta_info count from 1), the number in an OpenPose file's name, COCO's
    image_id or the last number in it. A joint that the file calls missing keeps its coordinates, with confidence 0.
    Confidences must lie in `CONFIDENCE`.
    Errors: `UnsafeFile`, `BadFile`, `EmptyFile`, `MissingFile`, `UnknownName`, `BadRecord` with batch or row,
    `BadParameter` for fractions without size_wh.
    """
    path = Path(path)
    expected = None if skeleton is None else len(skeleton_by_name(skeleton))
    kind, suffix = "bbox_id", path.suffix.lower()
    if suffix in (".pkl", ".pickle"):
        columns = _from_pickle(path)
    elif suffix == ".npz":
        columns = _from_npz(path)
    elif suffix in (".json", ".csv") or os.path.isdir(path):
        kind = "result"
        columns = _from_rows(rows(parse(path, content, empty=expected is not None), skeleton, size_wh), expected, path)
    else:
        known = ".pkl, .pickle, .npz, .json, .csv"
        raise BadFile(f"suffix {suffix!r} is none of {known}", file=path, remedy="rename or export")
    outside = (columns.keypoints[:, :, 2] < CONFIDENCE[0]) | (columns.keypoints[:, :, 2] > CONFIDENCE[1])
    if outside.any():
        row, joint = np.argwhere(outside)[0]
        raise BadRecord(
            f"confidence {columns.keypoints[row, joint, 2]:g} of joint {joint} is outside {list(CONFIDENCE)}",
            file=path,
            record=f"{kind} {columns.ids[row]}",
            remedy="export confidences from 0 to about 1",
        )
    k = columns.keypoints.shape[1]
    name = skeleton or USUAL_SKELETON.get(k)
    if name is None or expected not in (None, k):
        fitting = ", ".join(s.name for s in SKELETONS.values() if len(s) == k)
        raise BadRecord(
            f"{k} joints" + (f", {expected} expected by {skeleton}" if skeleton else " and no skeleton named"),
            file=path,
            record="keypoints",
            remedy=f"name a skeleton of {k} joints: {fitting or 'none is known'}",
        )
    return Detections(
        skeleton=name,
        xy_frame=columns.keypoints[:, :, :2],
        confidence=columns.keypoints[:, :, 2],
        boxes_xyxy=columns.boxes_xyxy,
        scores=columns.scores,
        images=columns.images,
        ids=columns.ids,
        source=str(path),
        frames=columns.frames,
        tracks=columns.tracks,
    )
