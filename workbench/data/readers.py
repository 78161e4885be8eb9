"""Which reader a path needs, reading it, and what there is in it: one door to every format that
the workbench knows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from inspect import signature
from pathlib import Path

import numpy as np

from ..errors import BadFile, BadParameter, BadRecord, MissingFile, WorkbenchError, unknown
from ..records import Clip, Picture, Reading
from .coco import CROWD_EDGES_EVALUATOR, crowd_bins, find_pictures
from .safe import read_bytes, read_json

_PICTURES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".gif",
    ".ppm",
    ".heic",
    ".heif",
    ".avif",
)
_PICTURE_HEADS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"GIF8", b"P6")
_VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ogv")
_ARCHIVE_HEADS = (b"PK\3\4", b"PK\5\6", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
_PICKLES = (".pkl", ".pickle")
_LABELS = (
    ".json",
    *_PICKLES,
    ".npz",
    ".npy",
    ".mat",
    ".bvh",
    ".csv",
)  # a folder with such is not one of pictures alone
_DECODED = 3000  # frames, some ten seconds; ours
_LISTED = 1000  # members, in full; the count is of all


@dataclass(frozen=True, eq=False)
class Contents(Reading):
    """A reading of a container: members of an archive, files of a folder, or the values of a
    layout that nobody knows.
    """

    members: tuple[str, ...] = ()  # the first of them
    n_members: int = 0


class Found:
    """What lies at a path, looked at only as far as it is asked for. What it is not (JSON, a
    pickle, ...) is None.
    """

    def __init__(self, path: Path):
        self.path, self.suffix = path, path.suffix.lower()
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):  # not there, too long, a loop of links, a NUL
            sets = (name for name, m in _manifests().items() if m.kind == "dataset" and m.reader)
            remedy = f"check the path, or name a data set: {', '.join(sets)}"
            raise MissingFile("no such file or folder", file=path, remedy=remedy) from None
        self.folder = stat.S_ISDIR(mode)
        if not self.folder and not stat.S_ISREG(mode):
            raise BadFile(
                "a device, pipe or socket", file=path, remedy="name a regular file or a folder"
            )
        if not os.access(path, os.R_OK):
            raise BadFile(
                "cannot be read: permission denied", file=path, remedy="check its permissions"
            )

    @cached_property
    def head(self) -> bytes:
        if self.folder:
            return b""
        try:
            with open(self.path, "rb") as file:
                return file.read(512)
        except OSError as error:
            raise BadFile(f"cannot be read: {error.strerror}", file=self.path) from None

    @cached_property
    def names(self) -> list[str]:
        """Of the files and folders in a folder."""
        return sorted(os.listdir(self.path)) if self.folder else []

    @cached_property
    def json(self) -> object:
        starts = self.head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")
        return (
            read_json(self.path) if not self.folder and (self.suffix == ".json" or starts) else None
        )

    @cached_property
    def pickled(self) -> object:
        from .safe import safe_unpickle

        return safe_unpickle(self.path) if not self.folder and self.suffix in _PICKLES else None

    @cached_property
    def variables(self) -> Mapping[str, object]:
        """Of a MATLAB file."""
        from .safe import read_variables

        return read_variables(self.path) if not self.folder and self.suffix == ".mat" else {}

    @cached_property
    def arrays(self) -> tuple[str, ...]:
        """Names in an npz."""
        from .manifest import _members

        if self.folder or self.suffix != ".npz":
            return ()
        with _members(self.path) as members:
            return tuple(member.name.removesuffix(".npy") for member in members)

    def first(self, key: str) -> dict:
        """The first object of a JSON list, or of the list under `key`."""
        listed = self.json if type(self.json) is list else _keys(self.json).get(key)
        return _keys(listed[0] if type(listed) is list and listed else None)

    def starts(self, *heads: bytes) -> bool:
        return self.head.startswith(heads)

    def ends(self, *suffixes: str) -> bool:
        return not self.folder and self.suffix in suffixes

    def mostly(self, *endings: str) -> bool:
        """Whether most files of the folder end so."""
        files = [name.lower() for name in self.names if "." in name[1:]]
        return 0 < len(files) <= 2 * sum(name.endswith(endings) for name in files)


def _keys(value: object) -> dict:
    return value if type(value) is dict else {}


def _one(value: object) -> dict:
    """Any value of a dict, where it is a dict."""
    return _keys(next(iter(_keys(value).values()), None))


@dataclass(frozen=True)
class Reader:
    """A format: what it is, how it is recognised, and the function that reads it, imported when
    it is needed.
    """

    name: str
    function: str  # "module:name"
    kind: str
    reads: str
    recognised: str
    fits: Callable[[Found], object]

    def read(self, found: Found, on_bad: str) -> Reading:
        module, _, name = self.function.partition(":")
        function = getattr(import_module(module), name)
        parsed = "content" in signature(function).parameters and found.json is not None
        return function(found.path, on_bad=on_bad, **({"content": found.json} if parsed else {}))


# --- readers of what has no module of its own -----------------------------------------------------


def read_one_picture(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """A picture, decoded to its end, so that a truncated one is found."""
    from .frames import read_picture

    height, width = read_picture(path).shape[:2]
    return Reading(
        "picture", str(path), pictures=(Picture(Path(path).name, size_wh=(width, height)),)
    )


def read_video(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """A video file or folder of pictures as a clip without people, decoded so that its length is
    true: to the end, or as far as `_DECODED` frames, with a warning. Pictures are stated with their
    own sizes.

    A picture that is damaged, and a video that ends before its header says, are errors, or with
    "report" warnings: the video is as long as it can be decoded.
    """
    from .frames import open_frames, picture_names

    warnings, sizes = [], {}
    with open_frames(path, on_bad=on_bad) as frames:
        i = 0
        while i < min(len(frames), _DECODED):  # the length may change on the way
            try:
                height, width = frames[i].shape[:2]
                sizes[i] = (width, height)
            except WorkbenchError as error:
                if on_bad == "raise":
                    raise
                warnings.append(error)
            i += 1
        if (n := len(frames)) > _DECODED:
            warnings.append(BadFile(f"frames after {_DECODED} of {n} were not tried", file=path))
        names = enumerate(picture_names(path) if os.path.isdir(path) else ())
        pictures = tuple(Picture(name, size_wh=sizes.get(i), labelled=False) for i, name in names)
        clip = Clip(frames.video, pictures=pictures, name=Path(path).stem)
        return Reading("video", str(path), clips=(clip,), warnings=tuple(warnings))


def read_results(path: str | Path, *, on_bad: str = "raise", content: object = None) -> Reading:
    """Users' own results; a bad row is an error with either `on_bad`. Landmarks that are fractions
    of a picture of unknown size stay fractions, with a warning.
    """
    from .detections import read_detections

    try:
        return Reading("detections", str(path), detections=read_detections(path, content=content))
    except BadParameter as error:
        found = read_detections(path, content=content, size_wh=(1, 1))
        return Reading("detections", str(path), detections=found, warnings=(error,))


def read_cameras(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """Human3.6M's cameras."""
    from .h36m import read_h36m_cameras

    return Reading("cameras", str(path), cameras=read_h36m_cameras(path))


def read_archive(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """What a zip or tar file would unpack to. Nothing is unpacked; `UnsafeFile` where
    `data.manifest.unpack` refuses.
    """
    from .manifest import MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO, _members, _refuse

    _refuse(Path(path), MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO)
    with _members(Path(path)) as members:
        names = [member.name for member in members if member.kind == "file"]
    return Contents("archive", str(path), members=tuple(names[:_LISTED]), n_members=len(names))


def read_folder(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """Which reader each file of a folder needs; nothing more is read. A file that cannot be read
    is a warning.
    """
    members, warnings = [], []
    for name in Found(Path(path)).names:
        try:
            found = Found(Path(path) / name)
            reader = None if found.folder or len(members) >= _LISTED else _recognised(found)
            members.append(
                f"{name}/" if found.folder else f"{name}: {reader.name if reader else 'unknown'}"
            )
        except WorkbenchError as error:
            members.append(f"{name}: {type(error).__name__}")
            warnings.append(error)
    if not members:
        raise BadFile("an empty folder", file=path, remedy="check the path")
    return Contents(
        "folder",
        str(path),
        members=tuple(members[:_LISTED]),
        n_members=len(members),
        warnings=tuple(warnings),
    )


def read_contents(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """The values of an npz, npy, MATLAB or pickle file of no layout that the workbench knows."""
    from .safe import read_npy, read_npz

    found = Found(Path(path))
    if found.suffix == ".npz":
        values = read_npz(path, found.arrays, objects=True)
    else:
        values = found.variables or (found.pickled if found.suffix in _PICKLES else read_npy(path))
    items = list(values.items()) if isinstance(values, Mapping) else [("", values)]
    lines = tuple(f"{str(key)[:60]} {_outline(value)}".strip() for key, value in items[:_LISTED])
    return Contents("contents", str(path), members=lines, n_members=len(items))


def _outline(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__ + (
        f" of {len(value)}" if isinstance(value, list | tuple | dict) else ""
    )


# --- the table: the first that fits reads ---------------------------------------------------------


def _camera(value: dict) -> bool:
    return {"R", "T", "f", "c"} <= set(value)


def _joints(found: Found) -> list:
    """Joint names of a COCO-style file's first category."""
    names = found.first("categories").get("keypoints") if type(found.json) is dict else None
    return names if type(names) is list else []


_HERE, _HANDS = (f"workbench.data.{module}:" for module in ("readers", "hands"))
READERS: dict[str, Reader] = {
    name: Reader(name, *rest)
    for name, *rest in (
        (
            "picture",
            f"{_HERE}read_one_picture",
            "picture",
            "a picture",
            "suffix or first bytes",
            lambda f: f.ends(*_PICTURES) or f.starts(*_PICTURE_HEADS) or f.head[8:12] == b"WEBP",
        ),
        (
            "video",
            f"{_HERE}read_video",
            "video",
            "a video file",
            "suffix or first bytes",
            lambda f: (
                f.ends(*_VIDEOS)
                or f.starts(b"\x1aE\xdf\xa3")
                or f.head[4:8] == b"ftyp"
                or f.head[8:12] == b"AVI "
            ),
        ),
        (
            "bvh",
            "workbench.data.bvh:read_bvh",
            "motion",
            "motion capture",
            "suffix, or HIERARCHY at the start",
            lambda f: f.ends(".bvh") or f.starts(b"HIERARCHY") or f.mostly(".bvh"),
        ),
        (
            "jhmdb",
            "workbench.data.jhmdb:read_jhmdb",
            "sequences",
            "JHMDB, its release or MMPose's JSON",
            "pos_img; 15 joints",
            lambda f: "pos_img" in f.variables or _joints(f)[:2] == ["neck", "belly"],
        ),
        (
            "posetrack",
            "workbench.data.posetrack:read_posetrack",
            "sequences",
            "PoseTrack17, 18, 21",
            "annolist; vid_id",
            lambda f: (
                "annolist" in f.variables
                or "annolist" in _keys(f.json)
                or {"vid_id", "frame_id"} <= {*f.first("images")}
            ),
        ),
        (
            "rhd",
            f"{_HANDS}read_rhd",
            "annotations",
            "RHD's pickles or MMPose's JSON",
            "uv_vis; joint_cam",
            lambda f: "joint_cam" in f.first("annotations") or "uv_vis" in _one(f.pickled),
        ),
        (
            "panoptic",
            f"{_HANDS}read_panoptic",
            "annotations",
            "Panoptic hands by MMPose",
            "head_size",
            lambda f: "head_size" in f.first("annotations"),
        ),
        (
            "cmu_hands",
            f"{_HANDS}read_cmu_hands",
            "annotations",
            "CMU's own hand files",
            "hand_pts; joint_self",
            lambda f: "hand_pts" in _keys(f.json) or "joint_self" in f.first("root"),
        ),
        (
            "coco",
            "workbench.data.coco:read_coco",
            "annotations",
            "COCO-style keypoints",
            "images, annotations",
            lambda f: {"images", "annotations"} & set(_keys(f.json)),
        ),
        (
            "cameras",
            f"{_HERE}read_cameras",
            "cameras",
            "Human3.6M's cameras",
            "R, T, f, c",
            lambda f: _camera(_one(f.json)) or _camera(_one(f.pickled)),
        ),
        (
            "person_boxes",
            "workbench.data.coco:read_person_boxes",
            "person boxes",
            "detected persons",
            "bbox, no keypoints",
            lambda f: (
                type(f.json) is list
                and "bbox" in f.first("")
                and not {"keypoints", "instances"} & set(f.first(""))
            ),
        ),
        (
            "h36m",
            "workbench.data.h36m:read_h36m",
            "annotations",
            "Human3.6M by MMPose",
            "npz with imgname, part, S",
            lambda f: {"imgname", "part", "S"} <= set(f.arrays),
        ),
        (
            "deciwatch",
            "workbench.data.deciwatch:read_deciwatch",
            "sequences",
            "DeciWatch's and HANet's npz",
            "SET_gt_SPLIT.npz",
            lambda f: f.ends(".npz") and "_gt_" in f.path.name,
        ),
        (
            "threedpw",
            "workbench.data.threedpw:read_threedpw",
            "sequences",
            "3DPW",
            "pickle with jointPositions",
            lambda f: "jointPositions" in _keys(f.pickled),
        ),
        (
            "aist",
            "workbench.data.aist:read_aist",
            "sequences",
            "AIST++",
            "pickle with keypoints3d",
            lambda f: {"keypoints3d", "keypoints3d_optim"} & set(_keys(f.pickled)),
        ),
        (
            "fphb",
            f"{_HANDS}read_fphb",
            "sequences",
            "First-Person Hand Action",
            "skeleton.txt",
            lambda f: f.path.name == "skeleton.txt" and not f.folder,
        ),
        (
            "detections",
            f"{_HERE}read_results",
            "detections",
            "results: COCO, MMPose, OpenPose's folder, landmarks",
            "keypoints and score; preds and boxes; people; .csv",
            lambda f: (
                f.ends(".csv")
                or {"preds", "boxes"} <= set(f.arrays)
                or f.mostly("_keypoints.json")
                or type(f.json) is list
                or {"instance_info", "people"} & set(_keys(f.json))
                or type(f.pickled) is list
            ),
        ),
        (
            "contents",
            f"{_HERE}read_contents",
            "contents",
            "values of an unknown layout",
            ".npz, .npy, .mat, .pkl",
            lambda f: f.ends(".npz", ".npy", ".mat", *_PICKLES) or f.starts(b"\x93NUMPY"),
        ),
        (
            "archive",
            f"{_HERE}read_archive",
            "archive",
            "a zip or tar file's list",
            "suffix or first bytes",
            lambda f: f.ends(".zip", ".tar", ".tgz") or f.starts(*_ARCHIVE_HEADS),
        ),
        (
            "pictures",
            f"{_HERE}read_video",
            "video",
            "a folder of pictures, as frames",
            "pictures and no labels",
            lambda f: (
                f.mostly(*_PICTURES) and not any(name.lower().endswith(_LABELS) for name in f.names)
            ),
        ),
        (
            "folder",
            f"{_HERE}read_folder",
            "folder",
            "any other folder's list",
            "a folder",
            lambda f: f.folder,
        ),
    )
}


# --- reading --------------------------------------------------------------------------------------


@cache
def _manifests() -> dict:
    from .manifest import manifests

    return manifests()


def _of_manifest(name: str) -> Reader:
    """The reader that a data set's manifest names, for the data set's folder."""
    found = _manifests()[name]
    if not found.reader or found.kind != "dataset":
        raise BadParameter(
            f"{name} is {found.kind}, not files to read", remedy="see `workbench data list`"
        )
    return Reader(
        name, found.reader, "data set", found.title, "its manifest's layout", lambda f: f.folder
    )


def _of_folder(found: Found) -> Reader | None:
    """The reader of the data set whose layout the folder has; of several, the one whose name the
    path ends in.
    """
    from .manifest import _missing

    sets = [
        m
        for m in _manifests().values()
        if m.kind == "dataset" and not _missing(m.layout, found.path)
    ]
    path = found.path.absolute().as_posix()
    named = [m for m in sets if any(path.endswith(f"/{root}") for root in m.layout.roots)]
    names = {m.reader: m.name for m in named or sets}
    if len(names) > 1:
        remedy = f"say {' or '.join(f'{name}:{found.path}' for name in sorted(names.values()))}"
        raise BadParameter("has the layout of several data sets", file=found.path, remedy=remedy)
    return _of_manifest(min(names.values())) if names else None


def _recognised(found: Found) -> Reader | None:
    if not found.folder and not found.head:
        read_bytes(found.path)  # raises EmptyFile
    return next((reader for reader in READERS.values() if reader.fits(found)), None)


def recognise(path: str | Path, reader: str | None = None) -> tuple[Found, Reader]:
    """What lies at a path, or where a manifest's name leads, and the reader that it needs or
    that is named.
    """
    chosen = place = None
    if not os.path.exists(path) and (name := str(path).partition(":")[0]) in _manifests():
        from .manifest import locate

        chosen, place = _of_manifest(name), locate(str(path))[1]
    if reader is not None and reader not in READERS and reader not in _manifests():
        raise unknown("reader", reader, {*READERS, *_manifests()})
    if reader is not None:
        chosen = READERS.get(reader) or _of_manifest(reader)
    found = Found(place or Path(path))
    chosen = chosen or (_of_folder(found) if found.folder else None) or _recognised(found)
    if chosen is None:
        remedy = f"if it is one of these, name the reader (--reader): {', '.join(READERS)}"
        raise BadFile("nothing that a reader knows", file=path, remedy=remedy)
    return found, chosen


def _read(path: str | Path, reader: str | None, on_bad: str) -> tuple[Found, Reader, Reading]:
    if on_bad not in ("raise", "report"):
        raise BadParameter(f"on_bad is {on_bad!r}, 'raise' or 'report' expected")
    found, chosen = recognise(path, reader)
    return found, chosen, chosen.read(found, on_bad)


def read(path: str | Path, reader: str | None = None, *, on_bad: str = "raise") -> Reading:
    """What a file or folder holds, whatever it is.

    path: a file, a folder, or NAME or NAME:PATH of a manifest. reader: a name of `READERS`, or of a
    manifest for a folder; None recognises it by its first bytes, its content, the folder's layout.
    on_bad: "raise" the first bad record with the count of all, or "report" them in `warnings` and
    keep the others. Errors: `MissingFile`, `EmptyFile`, `BadFile`, `BadRecord`, `UnsafeFile`,
    `UnknownName`, `BadParameter`, `MissingData`.
    """
    return _read(path, reader, on_bad)[2]


# --- describing -----------------------------------------------------------------------------------


def _absent(reading: Reading, path: Path) -> list[WorkbenchError]:
    """Pictures that are not beside the annotations: one warning for those of sequences, and
    where none is; else one each.
    """
    frames = [
        Path(clip.video.source) / picture.name
        for clip in reading.clips
        for picture in clip.pictures
    ]
    if frames and (lost := [frame for frame in frames if not os.path.isfile(frame)]):
        remedy = "labels are read without; lay the pictures beside them"
        problem = f"{len(lost)} of the {len(frames)} pictures of its sequences are missing, {lost[0]} the first"
        return [MissingFile(problem, file=path, remedy=remedy)]
    names = list(dict.fromkeys(reading.poses.images)) if reading.poses is not None else []
    # pictures lie by subject and clip, names may leave that away
    if names and reading.poses.skeleton == "h36m17":
        names = [
            n if "/" in n else f"{n.partition('_')[0]}/{n.rpartition('_')[0]}/{n}" for n in names
        ]
    folder = find_pictures(path, names)
    if names and folder is None:
        problem = f"none of its {len(names)} pictures is here"
        return [
            MissingFile(
                problem, file=path, remedy="labels are read without; lay the pictures beside them"
            )
        ]
    away = [name for name in names if os.path.isabs(name) or ".." in Path(name).parts]
    lost = [name for name in names if name not in away and not os.path.isfile(folder / name)]
    count = f"{len(lost)} of {len(names)} pictures are missing in {folder}"
    told = [MissingFile(f"missing image {name} ({count})", file=path, record=name) for name in lost]
    return told + [
        BadRecord("the picture's name leaves the folder", file=path, record=name) for name in away
    ]


def _range(values: list) -> dict[str, int | float] | None:
    stated = [v for v in values if v is not None]
    return {"min": min(stated), "max": max(stated)} if stated else None


def _distinct(values) -> int | None:
    return (
        None
        if values is None
        else len(set(values if isinstance(values, tuple) else values.tolist()))
    )


def _labels(reading: Reading) -> dict:
    """People, joints and pictures of annotations."""
    poses, clips = reading.poses, reading.clips
    tracks = [track for clip in clips for track in clip.tracks]
    labelled = ([poses] if poses is not None else []) + tracks
    flags = [r.visibility if r is poses else r.visibility[r.labelled] for r in labelled]
    counts = sum(
        (np.bincount(f.ravel(), minlength=3) for f in flags), np.zeros(3, np.int64)
    ).tolist()
    known = {r.occlusion_known for r in labelled}
    pictures = [*reading.pictures, *(picture for clip in clips for picture in clip.pictures)]
    sizes = [p.size_wh for p in pictures if p.size_wh]
    sizes += [(c.video.width, c.video.height) for c in clips if c.video.width]
    # a still is no sequence
    groups = poses.groups if poses is not None and poses.groups != poses.images else None
    crowded = np.array([p.crowd_index for p in reading.pictures if p.crowd_index is not None])
    bins = np.bincount(crowd_bins(crowded), minlength=3).tolist()
    return {
        "images": len(pictures) or (_distinct(poses.images) if poses is not None else None),
        "labelled_images": sum(p.labelled for p in pictures) if pictures else None,
        "sequences": len(clips) + len(reading.motions) or _distinct(groups),
        "frames": sum(c.video.n_frames for c in clips) + sum(len(m.xyz_mm) for m in reading.motions)
        or None,
        "people": sum(map(len, flags)) if labelled else None,
        "labelled": sum(int((f > 0).any(1).sum()) for f in flags) if labelled else None,
        "joints": {str(flag): n for flag, n in enumerate(counts)} if labelled else None,
        "occlusion_known": known.pop() if len(known) == 1 else None,
        "tracks": len(tracks) or None,
        "crowds": int(poses.crowd.sum()) if poses is not None and poses.crowd is not None else None,
        "crowd_index": {
            **dict(zip(("easy", "medium", "hard"), bins)),
            "edges": list(CROWD_EDGES_EVALUATOR),
        }
        if len(crowded)
        else None,
        "in_space": bool(reading.motions) or any(r.xyz_camera_mm is not None for r in labelled),
        "size": {
            side: _range([size[i] for size in sizes]) for i, side in enumerate(("width", "height"))
        }
        if sizes
        else None,
        "fps": _range([c.video.fps for c in clips] + [m.fps for m in reading.motions]),
    }


def _estimates(reading: Reading) -> dict:
    """Detections and boxes, which are nobody's annotation."""
    found, boxes = reading.detections, reading.boxes
    return {
        "detections": None
        if found is None
        else {
            "people": len(found),
            "images": _distinct(found.images),
            "frames": _distinct(found.frames),
            "tracks": _distinct(found.tracks),
            "confidence": _range(found.confidence.ravel().tolist()),
        },
        "boxes": None
        if boxes is None
        else {"people": len(boxes), "images": _distinct(boxes.images)},
    }


def _note(chosen: Reader, reading: Reading) -> str | None:
    """What the manifest of the labels' set says about visibility: the set of that name, else of
    reader and skeleton.
    """
    labelled = [
        r
        for r in (reading.poses, *(t for clip in reading.clips for t in clip.tracks))
        if r is not None
    ]
    skeletons = {r.skeleton for r in labelled}
    fits = skeletons | ({None} if chosen.kind == "data set" else set())
    if not fits:
        return None
    sets = [m for m in _manifests().values() if m.kind == "dataset" and m.skeleton in fits]
    best = max(
        sets,
        key=lambda m: (m.name in (chosen.name, reading.reader), m.reader == chosen.function),
        default=None,
    )
    return best.visibility if best else None


def _motion(reading: Reading) -> dict:
    motions = reading.motions
    return {
        "motions": len(motions),
        "joints": sorted({len(m.joints) for m in motions}),
        "seconds": sum(len(m.xyz_mm) / m.fps for m in motions if m.fps) or None,
        "detected": sum(m.detected is not None for m in motions),
        "labels": sorted({label for m in motions for label in m.labels}),
    }


def describe(path: str | Path, reader: str | None = None, *, on_bad: str = "raise") -> dict:
    """What there is at a path, as plain values under stable keys (`schema_version` 1); what there
    is none of is None.

    people: annotated persons or hands, one a frame; `labelled` those with a labelled joint. joints:
    how many have visibility 0, 1, 2; `visibility` is the manifest's word on what the set's own
    flags mean. Errors: those of `read`.
    """
    found, chosen, reading = _read(path, reader, on_bad)
    posed = [r for r in (reading.poses, reading.detections) if r is not None]
    warnings = [*reading.warnings, *_absent(reading, found.path)]
    fields = ("file", "record", "problem", "remedy")
    return {
        "schema_version": 1,
        "path": str(found.path),
        "kind": chosen.kind,
        "reader": reading.reader,
        "skeletons": sorted(
            {r.skeleton for r in [*posed, *(t for clip in reading.clips for t in clip.tracks)]}
        ),
        **_labels(reading),
        "visibility": _note(chosen, reading),
        **_estimates(reading),
        "motion": _motion(reading) if reading.motions else None,
        "cameras": len(reading.cameras) or None,
        "members": {"count": reading.n_members, "names": list(reading.members)}
        if isinstance(reading, Contents)
        else None,
        "warnings": {
            "count": len(warnings),
            "records": [
                {"error": type(w).__name__, **{name: getattr(w, name) for name in fields}}
                for w in warnings
            ],
        },
    }
