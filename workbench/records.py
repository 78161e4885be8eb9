"""What travels between readers, models and metrics: frozen records, validated where they are made.
No I/O.

Coordinates are `xy_frame`: px, integer = pixel centre. Boxes are `xyxy` px inside. Visibility is
kept apart from coordinates: 0 not labelled, 1 labelled but occluded, 2 visible. An occluded joint
has coordinates; an unlabelled one has (0, 0). NaN never enters a record. Arrays are read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from .errors import BadRecord, WorkbenchError
from .skeletons import skeleton


def _array(owner, name: str, shape: tuple[int | None, ...], dtype, record=None) -> np.ndarray:
    """Casts a field, checks its shape (None = any) and that it is finite, and makes it
    read-only.
    """
    value = getattr(owner, name)
    try:
        array = np.array(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise BadRecord(
            f"{name} is not an array of {np.dtype(dtype).name}: {error}", record=record
        ) from None
    if array.ndim != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape)
    ):
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


def _optional(owner, name: str, shape: tuple[int | None, ...], dtype, record=None) -> None:
    if getattr(owner, name) is not None:
        _array(owner, name, shape, dtype, record)


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
    """n annotated poses (ground truth) of one skeleton with k joints, each in its own picture
    frame.
    """

    skeleton: str
    xy_frame: Float[np.ndarray, "n k 2"]  # px
    visibility: Int[np.ndarray, "n k"]  # 0 not labelled, 1 occluded, 2 visible
    boxes_xyxy: Float[np.ndarray, "n 4"]  # px
    # False: the data set says nothing about occlusion, labelled joints are 2
    occlusion_known: bool = True
    ids: tuple[str, ...] = ()  # annotation ids, as strings
    images: tuple[str, ...] = ()  # file names as the annotation states them
    groups: tuple[str, ...] = ()  # source video or picture; a split never divides a group
    # px^2 of the segmented person, as the annotation states it
    areas: Float[np.ndarray, "n"] | None = None
    crowd: Bool[np.ndarray, "n"] | None = None  # a group marked as one (COCO iscrowd)
    head_boxes_xyxy: Float[np.ndarray, "n 4"] | None = None  # px; zeros where none is stated
    xyz_camera_mm: Float[np.ndarray, "n k 3"] | None = None

    def __post_init__(self):
        k = len(skeleton(self.skeleton))
        n = len(self.xy_frame)
        _array(self, "xy_frame", (n, k, 2), np.float32)
        flags = _array(self, "visibility", (n, k), np.int8)
        _array(self, "boxes_xyxy", (n, 4), np.float32)
        if ((flags < 0) | (flags > 2)).any():
            raise BadRecord(f"visibility has values outside 0, 1, 2: {np.unique(flags).tolist()}")
        _optional(self, "areas", (n,), np.float32)
        _optional(self, "crowd", (n,), bool)
        _optional(self, "head_boxes_xyxy", (n, 4), np.float32)
        _optional(self, "xyz_camera_mm", (n, k, 3), np.float32)
        for name in ("ids", "images", "groups"):
            _strings(self, name, n)

    @property
    def labelled(self) -> Bool[np.ndarray, "n k"]:
        return self.visibility > 0


@dataclass(frozen=True, eq=False)
class Detections(_Rows):
    """n detected poses: what an estimator says, never ground truth. Confidence is the detector's
    own, 0 to about 1.
    """

    skeleton: str
    xy_frame: Float[np.ndarray, "n k 2"]  # px
    confidence: Float[np.ndarray, "n k"]
    boxes_xyxy: Float[np.ndarray, "n 4"]  # px, the person or hand box that the estimator looked at
    scores: Float[np.ndarray, "n"] | None = None  # one an instance; None: mean joint confidence
    images: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    source: str = ""  # file or model
    frames: Int[np.ndarray, "n"] | None = None  # index of the video frame, from 0
    tracks: Int[np.ndarray, "n"] | None = None  # which person of the video, from 0

    def __post_init__(self):
        k = len(skeleton(self.skeleton))
        n = len(self.xy_frame)
        _optional(self, "frames", (n,), np.int64)
        _optional(self, "tracks", (n,), np.int64)
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
class PersonBoxes(_Rows):
    """n detected persons without joints: what a person detector says."""

    boxes_xyxy: Float[np.ndarray, "n 4"]  # px
    scores: Float[np.ndarray, "n"]
    images: tuple[str, ...] = ()  # picture ids or file names as the file states them

    def __post_init__(self):
        n = len(self.boxes_xyxy)
        _array(self, "boxes_xyxy", (n, 4), np.float32)
        _array(self, "scores", (n,), np.float32)
        _strings(self, "images", n)

    def __len__(self) -> int:
        return len(self.boxes_xyxy)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture or frame as its annotation describes it; pixels are fetched by `data.frames`,
    lazily.
    """

    name: str  # file name as the annotation states it
    id: str = ""
    size_wh: tuple[int, int] | None = None  # px, where stated
    labelled: bool = True  # False: a frame between sparse labels
    # CrowdPose: how much persons cover each other, 0 to 1 and a little above
    crowd_index: float | None = None
    ignore: tuple[Float[np.ndarray, "m 2"], ...] = ()  # polygons, px, in which nobody was labelled

    def __post_init__(self):
        polygons = tuple(np.array(polygon, np.float32) for polygon in self.ignore)
        for polygon in polygons:
            if polygon.ndim != 2 or polygon.shape[1] != 2 or not np.isfinite(polygon).all():
                raise BadRecord(
                    "an ignore region is not a polygon of finite points", record=self.name
                )
            polygon.setflags(write=False)
        object.__setattr__(self, "ignore", polygons)


@dataclass(frozen=True, eq=False)
class Video:
    """A source of frames, described and not opened; what a data set does not state is None."""

    source: str  # a video file, or the folder that the clip's pictures are named in
    n_frames: int | None  # None: a camera
    width: int | None = None
    height: int | None = None
    fps: float | None = None

    def __post_init__(self):
        stated = [v for v in (self.n_frames, self.width, self.height, self.fps) if v is not None]
        if not all(v > 0 for v in stated):
            raise BadRecord(
                f"video of {self.width}x{self.height} px, {self.n_frames} frames, {self.fps} fps",
                record=self.source,
            )


@dataclass(frozen=True, eq=False)
class Track:
    """One person through t frames; `labelled` marks the frames with annotations (sparse labels)."""

    skeleton: str
    track_id: int
    xy_frame: Float[np.ndarray, "t k 2"]  # px
    visibility: Int[np.ndarray, "t k"]
    labelled: Bool[np.ndarray, "t"]
    boxes_xyxy: Float[np.ndarray, "t 4"]  # px; zeros where the frame is not labelled
    occlusion_known: bool = True
    xyz_camera_mm: Float[np.ndarray, "t k 3"] | None = None
    head_boxes_xyxy: Float[np.ndarray, "t 4"] | None = None  # px; zeros where none is stated

    def __post_init__(self):
        k = len(skeleton(self.skeleton))
        t = len(self.xy_frame)
        record = f"track {self.track_id}"
        _array(self, "xy_frame", (t, k, 2), np.float32, record)
        _array(self, "visibility", (t, k), np.int8, record)
        _array(self, "labelled", (t,), bool, record)
        _array(self, "boxes_xyxy", (t, 4), np.float32, record)
        _optional(self, "xyz_camera_mm", (t, k, 3), np.float32, record)
        _optional(self, "head_boxes_xyxy", (t, 4), np.float32, record)


@dataclass(frozen=True, eq=False)
class Clip:
    """A video and the people in it; every track spans all its frames."""

    video: Video
    tracks: Sequence[Track] = ()
    pictures: tuple[Picture, ...] = ()  # one a frame where frames are files; empty for a video file
    name: str = ""  # the sequence as the data set calls it; a split never divides a name

    def __post_init__(self):
        object.__setattr__(self, "tracks", tuple(self.tracks))
        object.__setattr__(self, "pictures", tuple(self.pictures))
        frames = self.video.n_frames
        if self.pictures and len(self.pictures) != frames:
            raise BadRecord(
                f"{len(self.pictures)} pictures for {frames} frames", file=self.video.source
            )
        for track in self.tracks:
            if len(track.xy_frame) != frames:
                raise BadRecord(
                    f"track spans {len(track.xy_frame)} frames, the video has {frames}",
                    file=self.video.source,
                    record=f"track {track.track_id}",
                )


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole with lens distortion: x_camera = rotation (x_world - position), px = focal *
    distorted(x / z) + centre.
    """

    rotation: Float[np.ndarray, "3 3"]  # world to camera; camera x right, y down, z away
    position_mm: Float[np.ndarray, "3"]  # of the camera, in the world
    focal: Float[np.ndarray, "2"]  # px
    centre: Float[np.ndarray, "2"]  # px
    radial: Float[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3))  # k1, k2, k3
    tangential: Float[np.ndarray, "2"] = field(default_factory=lambda: np.zeros(2))  # p1, p2
    size_wh: tuple[int, int] | None = None
    name: str = ""

    def __post_init__(self):
        _array(self, "rotation", (3, 3), np.float64, self.name or None)
        for name, n in (
            ("position_mm", 3),
            ("focal", 2),
            ("centre", 2),
            ("radial", 3),
            ("tangential", 2),
        ):
            _array(self, name, (n,), np.float64, self.name or None)


@dataclass(frozen=True, eq=False)
class Motion:
    """Joints in space through t frames, with no picture behind them: motion capture and 3D pose
    files.

    joints: names, of a known skeleton or the file's own; parents: index of each joint's parent, -1
    at the root.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    xyz_mm: Float[np.ndarray, "t k 3"]
    fps: float | None = None
    space: str = "world"  # world, camera or root (relative to the root joint)
    name: str = ""
    labels: tuple[str, ...] = ()  # what is done and how, as the data set says: ("walk", "tired")
    # an estimator's answer for the same frames, mm
    detected: Float[np.ndarray, "t k 3"] | None = None

    def __post_init__(self):
        k = len(self.joints)
        t = len(self.xyz_mm)
        _array(self, "xyz_mm", (t, k, 3), np.float64, self.name or None)
        _optional(self, "detected", (t, k, 3), np.float64, self.name or None)
        if len(self.parents) != k or any(not -1 <= p < k for p in self.parents):
            raise BadRecord(
                f"{len(self.parents)} parents for {k} joints, or one outside",
                record=self.name or None,
            )


@dataclass(frozen=True, eq=False)
class Reading:
    """What a reader found in a file or folder; what there is none of is None or empty.

    Rows of `poses` and `detections` match one another only where the reader says so. `warnings` are
    records that were left out or are incomplete, each with file and record: nothing is skipped in
    silence.
    """

    reader: str
    source: str
    poses: Pose | None = None
    detections: Detections | None = None
    boxes: PersonBoxes | None = None
    clips: tuple[Clip, ...] = ()
    motions: tuple[Motion, ...] = ()
    pictures: tuple[Picture, ...] = ()
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    warnings: tuple[WorkbenchError, ...] = ()
