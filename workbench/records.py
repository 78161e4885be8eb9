"""What travels between readers, models and metrics: frozen records, validated where they are made. No I/O.

Coordinates are `xy_frame`: px, integer = pixel centre. Boxes are `xyxy` px inside. Visibility is kept apart from
coordinates: 0 not labelled, 1 labelled but occluded, 2 visible. An occluded joint has coordinates; an unlabelled one has
(0, 0). NaN never enters a record. Arrays are read-only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from .errors import BadRecord
from .skeletons import skeleton


def _array(owner, name: str, shape: tuple[int | None, ...], dtype, record=None) -> np.ndarray:
    """Casts a field, checks its shape (None = any) and that it is finite, and makes it read-only."""
    value = getattr(owner, name)
    try:
        array = np.array(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise BadRecord(f"{name} is not an array of {np.dtype(dtype).name}: {error}", record=record) from None
    if array.ndim != len(shape) or any(want is not None and want != got for want, got in zip(shape, array.shape)):
        expected = tuple("any" if s is None else s for s in shape)
        raise BadRecord(f"{name} has shape {array.shape}, expected {expected}", record=record)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise BadRecord(
            f"{name} has a value that is not finite at {first}",
            record=record,
            remedy="mark the joint as not labelled (visibility 0) or drop the record",
        )
    array.setflags(write=False)
    object.__setattr__(owner, name, array)
    return array


def _strings(owner, name: str, n: int) -> None:
    value = tuple(str(v) for v in getattr(owner, name))
    if value and len(value) != n:
        raise BadRecord(f"{name} has {len(value)} entries, expected {n}")
    object.__setattr__(owner, name, value)


class _Rows:
    """Records that hold n rows of one kind: length and row selection."""

    def __len__(self) -> int:
        return len(self.xy_frame)

    def select(self, rows):
        """The same record with the rows that an index array, slice or boolean mask chooses."""
        rows = np.arange(len(self))[rows]
        changed = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                changed[f.name] = value[rows]
            elif isinstance(value, tuple) and value:
                changed[f.name] = tuple(value[i] for i in rows)
            elif isinstance(value, _Rows):
                changed[f.name] = value.select(rows)
        return replace(self, **changed)


@dataclass(frozen=True, eq=False)
class Pose(_Rows):
    """n annotated poses (ground truth) of one skeleton with k joints, each in its own picture frame."""

    skeleton: str
    xy_frame: Float[np.ndarray, "n k 2"]  # px
    visibility: Int[np.ndarray, "n k"]  # 0 not labelled, 1 occluded, 2 visible
    boxes_xyxy: Float[np.ndarray, "n 4"]  # px
    occlusion_known: bool = True  # False: the data set says nothing about occlusion, labelled joints are 2
    ids: tuple[str, ...] = ()  # annotation ids, as strings
    images: tuple[str, ...] = ()  # file names as the annotation states them
    groups: tuple[str, ...] = ()  # source video or picture; a split never divides a group

    def __post_init__(self):
        k = len(skeleton(self.skeleton))
        n = len(self.xy_frame)
        _array(self, "xy_frame", (n, k, 2), np.float32)
        flags = _array(self, "visibility", (n, k), np.int8)
        _array(self, "boxes_xyxy", (n, 4), np.float32)
        if ((flags < 0) | (flags > 2)).any():
            raise BadRecord(f"visibility has values outside 0, 1, 2: {np.unique(flags).tolist()}")
        for name in ("ids", "images", "groups"):
            _strings(self, name, n)

    @property
    def labelled(self) -> Bool[np.ndarray, "n k"]:
        return self.visibility > 0


@dataclass(frozen=True, eq=False)
class Detections(_Rows):
    """n detected poses: what an estimator says, never ground truth. Confidence is the detector's own, 0 to about 1."""

    skeleton: str
    xy_frame: Float[np.ndarray, "n k 2"]  # px
    confidence: Float[np.ndarray, "n k"]
    boxes_xyxy: Float[np.ndarray, "n 4"]  # px, the person or hand box that the estimator looked at
    scores: Float[np.ndarray, "n"] | None = None  # one an instance; None: mean joint confidence
    images: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    source: str = ""  # file or model

    def __post_init__(self):
        k = len(skeleton(self.skeleton))
        n = len(self.xy_frame)
        _array(self, "xy_frame", (n, k, 2), np.float32)
        confidence = _array(self, "confidence", (n, k), np.float32)
        _array(self, "boxes_xyxy", (n, 4), np.float32)
        if self.scores is None:
            object.__setattr__(self, "scores", confidence.mean(1) if n else np.zeros(0))
        _array(self, "scores", (n,), np.float32)
        for name in ("ids", "images"):
            _strings(self, name, n)


@dataclass(frozen=True, eq=False)
class Prediction(_Rows):
    """n refined or estimated poses with where they came from."""

    skeleton: str
    xy_frame: Float[np.ndarray, "n k 2"]  # px
    confidence: Float[np.ndarray, "n k"]
    replaced: Bool[np.ndarray, "n k"]  # joints whose coordinates the method changed
    method: str = ""
    detections: Detections | None = field(default=None, repr=False)

    def __post_init__(self):
        k = len(skeleton(self.skeleton))
        n = len(self.xy_frame)
        _array(self, "xy_frame", (n, k, 2), np.float32)
        _array(self, "confidence", (n, k), np.float32)
        _array(self, "replaced", (n, k), bool)


@dataclass(frozen=True, eq=False)
class Video:
    """A source of frames, described and not opened: readers fetch pixels lazily."""

    source: str
    width: int
    height: int
    n_frames: int
    fps: float

    def __post_init__(self):
        if min(self.width, self.height, self.n_frames) < 1 or not self.fps > 0:
            raise BadRecord(
                f"video of {self.width}x{self.height} px, {self.n_frames} frames, {self.fps} fps", record=self.source
            )


@dataclass(frozen=True, eq=False)
class Track:
    """One person through t frames; `labelled` marks the frames with annotations (sparse labels)."""

    skeleton: str
    track_id: int
    xy_frame: Float[np.ndarray, "t k 2"]  # px
    visibility: Int[np.ndarray, "t k"]
    labelled: Bool[np.ndarray, "t"]
    boxes_xyxy: Float[np.ndarray, "t 4"]  # px
    occlusion_known: bool = True
    xyz_camera_mm: Float[np.ndarray, "t k 3"] | None = None

    def __post_init__(self):
        k = len(skeleton(self.skeleton))
        t = len(self.xy_frame)
        record = f"track {self.track_id}"
        _array(self, "xy_frame", (t, k, 2), np.float32, record)
        _array(self, "visibility", (t, k), np.int8, record)
        _array(self, "labelled", (t,), bool, record)
        _array(self, "boxes_xyxy", (t, 4), np.float32, record)
        if self.xyz_camera_mm is not None:
            _array(self, "xyz_camera_mm", (t, k, 3), np.float32, record)


@dataclass(frozen=True, eq=False)
class Clip:
    """A video and the people in it; every track spans all its frames."""

    video: Video
    tracks: Sequence[Track] = ()

    def __post_init__(self):
        object.__setattr__(self, "tracks", tuple(self.tracks))
        for track in self.tracks:
            if len(track.xy_frame) != self.video.n_frames:
                raise BadRecord(
                    f"track spans {len(track.xy_frame)} frames, the video has {self.video.n_frames}",
                    file=self.video.source,
                    record=f"track {track.track_id}",
                )
