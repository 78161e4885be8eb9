"""What travels between readers, models and metrics: frozen records, validated where they are made.
No I/O.

Coordinates are `xy_frame`: px, integer = pixel centre. Boxes are `xyxy` px inside. Visibility is
kept apart from coordinates: 0 not labelled, 1 labelled but occluded, 2 visible. An occluded joint
has coordinates; an unlabelled one has (0, 0). NaN never enters a record. Arrays are read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import NoneType, UnionType
from typing import NamedTuple, get_args, get_type_hints

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int64

from .errors import BadRecord, WorkbenchError
from .skeletons import skeleton


class _ArrayField(NamedTuple):
    """What a record's jaxtyping annotation says of one of its fields."""

    name: str
    axes: tuple[str | int, ...]  # a name or a length
    dtype: np.dtype
    optional: bool

    def array(self, value: object, sizes: dict[str, int], record: str | None) -> np.ndarray:
        """The value as a read-only copy; `BadRecord` where it does not fit. An axis that has no
        length in `sizes` yet gets this one.
        """
        try:
            array = np.array(value, self.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            problem = f"{self.name} is not an array of {self.dtype.name}: {error}"
            raise BadRecord(problem, record=record) from None
        fits = array.ndim == len(self.axes) and all(
            got == (sizes.setdefault(axis, got) if type(axis) is str else axis)
            for axis, got in zip(self.axes, array.shape)
        )
        if not fits:
            wanted = ", ".join(str(sizes.get(axis, axis)) for axis in self.axes)
            problem = f"{self.name} has shape {array.shape}, expected ({wanted})"
            raise BadRecord(problem, record=record)
        if self.dtype.kind == "f" and not np.isfinite(array).all():
            first = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
            raise BadRecord(
                f"{self.name} has a value that is not finite at {first}",
                record=record,
                remedy="mark the joint as not labelled (visibility 0) or drop the record",
            )
        array.setflags(write=False)
        return array


@cache
def _array_fields(record: type) -> list[_ArrayField]:
    found = []
    for name, hint in get_type_hints(record).items():
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        for kind in kinds:
            if hasattr(kind, "dim_str"):
                axes = (int(axis) if axis.isdigit() else axis for axis in kind.dim_str.split())
                dtype = np.dtype(kind.dtypes[0])
                found.append(_ArrayField(name, tuple(axes), dtype, NoneType in kinds))
    return found


@cache
def _text_fields(record: type) -> list[str]:
    hints = get_type_hints(record)
    return [name for name, hint in hints.items() if hint == tuple[str, ...]]


class _Record:
    """Makes the arrays of a record what its annotations say: of that dtype and those axes (an axis
    has one length wherever it is named), finite, read-only copies.
    """

    def _sizes(self) -> dict[str, int]:
        """Lengths of axes that do not come from an array."""
        return {"k": len(skeleton(self.skeleton))} if hasattr(self, "skeleton") else {}

    def _label(self) -> str | None:
        """What errors call the record."""
        return None

    def __post_init__(self):
        sizes = self._sizes()
        for declared in _array_fields(type(self)):
            value = getattr(self, declared.name)
            if value is not None or not declared.optional:
                array = declared.array(value, sizes, self._label())
                object.__setattr__(self, declared.name, array)


class _Rows(_Record):
    """Records that hold n rows of one kind: length, row selection, and tuples of one text a row
    (or of none).
    """

    def __post_init__(self):
        super().__post_init__()
        for name in _text_fields(type(self)):
            texts = tuple(map(str, getattr(self, name)))
            if len(texts) not in (0, len(self)):
                raise BadRecord(f"{name} has {len(texts)} entries, expected {len(self)}")
            object.__setattr__(self, name, texts)

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
    xy_frame: Float32[np.ndarray, "n k 2"]  # px
    visibility: Int8[np.ndarray, "n k"]  # 0 not labelled, 1 occluded, 2 visible
    boxes_xyxy: Float32[np.ndarray, "n 4"]  # px
    # False: the data set says nothing about occlusion, labelled joints are 2
    occlusion_known: bool = True
    ids: tuple[str, ...] = ()  # annotation ids, as strings
    images: tuple[str, ...] = ()  # file names as the annotation states them
    groups: tuple[str, ...] = ()  # source video or picture; a split never divides a group
    # px^2 of the segmented person, as the annotation states it
    areas: Float32[np.ndarray, "n"] | None = None
    crowd: Bool[np.ndarray, "n"] | None = None  # a group marked as one (COCO iscrowd)
    head_boxes_xyxy: Float32[np.ndarray, "n 4"] | None = None  # px; zeros where none is stated
    xyz_camera_mm: Float32[np.ndarray, "n k 3"] | None = None

    def __post_init__(self):
        super().__post_init__()
        flags = np.unique(self.visibility)
        if not np.isin(flags, (0, 1, 2)).all():
            raise BadRecord(f"visibility has values outside 0, 1, 2: {flags.tolist()}")

    @property
    def labelled(self) -> Bool[np.ndarray, "n k"]:
        return self.visibility > 0


@dataclass(frozen=True, eq=False)
class Detections(_Rows):
    """n detected poses: what an estimator says, never ground truth. Confidence is the detector's
    own, 0 to about 1.
    """

    skeleton: str
    xy_frame: Float32[np.ndarray, "n k 2"]  # px
    confidence: Float32[np.ndarray, "n k"]
    boxes_xyxy: Float32[
        np.ndarray, "n 4"
    ]  # px, the person or hand box that the estimator looked at
    scores: Float32[np.ndarray, "n"] | None = None  # one an instance; None: mean joint confidence
    images: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    source: str = ""  # file or model
    frames: Int64[np.ndarray, "n"] | None = None  # index of the video frame, from 0
    tracks: Int64[np.ndarray, "n"] | None = None  # which person of the video, from 0

    def __post_init__(self):
        super().__post_init__()
        if self.scores is None:
            scores = self.confidence.mean(1)
            scores.setflags(write=False)
            object.__setattr__(self, "scores", scores)


@dataclass(frozen=True, eq=False)
class Prediction(_Rows):
    """n refined or estimated poses with where they came from."""

    skeleton: str
    xy_frame: Float32[np.ndarray, "n k 2"]  # px
    confidence: Float32[np.ndarray, "n k"]
    replaced: Bool[np.ndarray, "n k"]  # joints whose coordinates the method changed
    method: str = ""
    detections: Detections | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class PersonBoxes(_Rows):
    """n detected persons without joints: what a person detector says."""

    boxes_xyxy: Float32[np.ndarray, "n 4"]  # px
    scores: Float32[np.ndarray, "n"]
    images: tuple[str, ...] = ()  # picture ids or file names as the file states them

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
    ignore: tuple[
        Float32[np.ndarray, "m 2"], ...
    ] = ()  # polygons, px, in which nobody was labelled

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
class Track(_Record):
    """One person through t frames; `labelled` marks the frames with annotations (sparse labels)."""

    skeleton: str
    track_id: int
    xy_frame: Float32[np.ndarray, "t k 2"]  # px
    visibility: Int8[np.ndarray, "t k"]
    labelled: Bool[np.ndarray, "t"]
    boxes_xyxy: Float32[np.ndarray, "t 4"]  # px; zeros where the frame is not labelled
    occlusion_known: bool = True
    xyz_camera_mm: Float32[np.ndarray, "t k 3"] | None = None
    head_boxes_xyxy: Float32[np.ndarray, "t 4"] | None = None  # px; zeros where none is stated

    def _label(self) -> str:
        return f"track {self.track_id}"


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
class Camera(_Record):
    """A pinhole with lens distortion: x_camera = rotation (x_world - position), px = focal *
    distorted(x / z) + centre.
    """

    rotation: Float64[np.ndarray, "3 3"]  # world to camera; camera x right, y down, z away
    position_mm: Float64[np.ndarray, "3"]  # of the camera, in the world
    focal: Float64[np.ndarray, "2"]  # px
    centre: Float64[np.ndarray, "2"]  # px
    radial: Float64[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3))  # k1, k2, k3
    tangential: Float64[np.ndarray, "2"] = field(default_factory=lambda: np.zeros(2))  # p1, p2
    size_wh: tuple[int, int] | None = None
    name: str = ""

    def _label(self) -> str | None:
        return self.name or None


@dataclass(frozen=True, eq=False)
class Motion(_Record):
    """Joints in space through t frames, with no picture behind them: motion capture and 3D pose
    files.

    joints: names, of a known skeleton or the file's own; parents: index of each joint's parent, -1
    at the root.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    xyz_mm: Float64[np.ndarray, "t k 3"]
    fps: float | None = None
    space: str = "world"  # world, camera or root (relative to the root joint)
    name: str = ""
    labels: tuple[str, ...] = ()  # what is done and how, as the data set says: ("walk", "tired")
    # an estimator's answer for the same frames, mm
    detected: Float64[np.ndarray, "t k 3"] | None = None

    def _sizes(self) -> dict[str, int]:
        return {"k": len(self.joints)}

    def _label(self) -> str | None:
        return self.name or None

    def __post_init__(self):
        super().__post_init__()
        k = len(self.joints)
        if len(self.parents) != k or any(not -1 <= p < k for p in self.parents):
            raise BadRecord(
                f"{len(self.parents)} parents for {k} joints, or one outside", record=self._label()
            )

    @property
    def height_mm(self) -> float:
        """The longest side of the box around the joints, the median of some hundred frames: about
        the height of a body that stands. Joints above the first that branches are left out: they
        may stay where the body started.
        """
        above, joint = [], -1
        while self.parents.count(joint) == 1 and joint not in above:
            above.append(joint)
            joint = self.parents.index(joint)
        branches = self.parents.count(joint) > 1
        body = [i for i in range(len(self.joints)) if not (branches and i in above)]
        some = self.xyz_mm[:: len(self.xyz_mm) // 100 + 1, body]
        return float(np.median(np.ptp(some, axis=1).max(1))) if some.size else 0.0


@dataclass(frozen=True, eq=False)
class Reading:
    """What a reader found in a file or folder; what there is none of is None or empty.

    Rows of `poses` and `detections` match one another only where the reader says so. `warnings` are
    records that were left out or are incomplete, each with file and record: nothing is skipped in
    silence.
    """

    reader: str = ""
    source: str = ""
    poses: Pose | None = None
    detections: Detections | None = None
    boxes: PersonBoxes | None = None
    clips: tuple[Clip, ...] = ()
    motions: tuple[Motion, ...] = ()
    pictures: tuple[Picture, ...] = ()
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    warnings: tuple[WorkbenchError, ...] = ()
