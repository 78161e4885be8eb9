"""Which reader a path needs, and reading it: one door to every format that the workbench knows.
Readers of what needs no module of its own are here too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np

from ..errors import BadFile, BadParameter, MissingFile, WorkbenchError, unknown
from ..records import Clip, Picture, Reading
from .checks import check_on_bad
from .register import PICKLES, File, Reader, all_readers, any_entry, reader
from .safe import read_bytes, read_npy, read_npz

_PICTURES = tuple(".jpg .jpeg .png .bmp .webp .tif .tiff .gif .ppm .heic .heif .avif".split())
_PICTURE_HEADS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"GIF8", b"P6")
_VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ogv")
_ARCHIVE_HEADS = (b"PK\3\4", b"PK\5\6", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
# a folder with such is not one of pictures alone
_LABELS = (".json", *PICKLES, ".npz", ".npy", ".mat", ".bvh", ".csv")
MAX_DECODED = 3000  # frames, some ten seconds; ours
_LISTED = 1000  # members; the count is of all


@dataclass(frozen=True, eq=False)
class Contents(Reading):
    """A reading of a container: members of an archive, files of a folder, or the values of a
    layout that nobody knows.
    """

    members: tuple[str, ...] = ()  # the first of them
    n_members: int = 0


# --- readers of what has no module of its own -----------------------------------------------------


@reader(
    "picture",
    order=100,
    kind="picture",
    reads="a picture",
    recognised="suffix or first bytes",
    fits=lambda file: (
        file.ends(*_PICTURES) or file.starts(*_PICTURE_HEADS) or file.head[8:12] == b"WEBP"
    ),
)
def read_one_picture(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """A picture, decoded to its end, so that a truncated one is found."""
    from .frames import read_picture

    height, width = read_picture(path).shape[:2]
    picture = Picture(Path(path).name, size_wh=(width, height))
    return Reading("picture", str(path), pictures=(picture,))


@reader(
    "video",
    order=110,
    kind="video",
    reads="a video file",
    recognised="suffix or first bytes",
    fits=lambda file: (
        file.ends(*_VIDEOS)
        or file.starts(b"\x1aE\xdf\xa3")
        or file.head[4:8] == b"ftyp"
        or file.head[8:12] == b"AVI "
    ),
)
@reader(
    "pictures",
    order=920,
    kind="video",
    reads="a folder of pictures, as frames",
    recognised="pictures and no labels",
    fits=lambda file: (
        file.mostly(*_PICTURES) and not any(name.lower().endswith(_LABELS) for name in file.names)
    ),
)
def read_video(
    path: str | Path, *, on_bad: str = "raise", max_frames: int = MAX_DECODED
) -> Reading:
    """A video file or folder of pictures as a clip without people, decoded so that its length is
    true: to the end, or as far as `max_frames`, with a warning. Pictures are stated with their own
    sizes.

    A picture that is damaged, and a video that ends before its header says, are errors, or with
    "report" warnings: the video is as long as it can be decoded.
    """
    from .frames import open_frames, picture_names

    warnings, sizes = [], {}
    with open_frames(path, on_bad=on_bad) as frames:
        i = 0
        while i < min(len(frames), max_frames):  # the length may change on the way
            try:
                height, width = frames[i].shape[:2]
                sizes[i] = (width, height)
            except WorkbenchError as error:
                if on_bad == "raise":
                    raise
                warnings.append(error)
            i += 1
        if (n := len(frames)) > max_frames:
            warnings.append(BadFile(f"frames after {max_frames} of {n} were not tried", file=path))
        pictures = tuple(
            Picture(name, size_wh=sizes.get(i), labelled=False)
            for i, name in enumerate(picture_names(path))
        )
        clip = Clip(frames.video, pictures=pictures, name=Path(path).stem)
        return Reading("video", str(path), clips=(clip,), warnings=tuple(warnings))


def _is_cameras(file: File) -> bool:
    entries = (any_entry(file.json), any_entry(file.pickled))
    return any({"R", "T", "f", "c"} <= set(entry) for entry in entries)


@reader(
    "cameras",
    order=310,
    kind="cameras",
    reads="Human3.6M's cameras",
    recognised="R, T, f, c",
    fits=_is_cameras,
)
def read_cameras(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """Human3.6M's cameras."""
    from .h36m import read_h36m_cameras

    return Reading("cameras", str(path), cameras=read_h36m_cameras(path))


@reader(
    "archive",
    order=910,
    kind="archive",
    reads="a zip or tar file's list",
    recognised="suffix or first bytes",
    fits=lambda file: file.ends(".zip", ".tar", ".tgz") or file.starts(*_ARCHIVE_HEADS),
)
def read_archive(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """What a zip or tar file would unpack to. Nothing is unpacked; `UnsafeFile` where
    `data.archives.unpack` refuses.
    """
    from .archives import safe_members

    names = [member.name for member in safe_members(Path(path)) if member.kind == "file"]
    return Contents("archive", str(path), members=tuple(names[:_LISTED]), n_members=len(names))


@reader(
    "folder",
    order=930,
    kind="folder",
    reads="any other folder's list",
    recognised="a folder",
    fits=lambda file: file.folder,
)
def read_folder(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """Which reader each file of a folder needs, of the first `_LISTED`; nothing more is read. A
    file that cannot be read is a warning.
    """
    names = File(Path(path)).names
    if not names:
        raise BadFile("an empty folder", file=path, remedy="check the path")
    members, warnings = [], []
    for name in names[:_LISTED]:
        try:
            file = File(Path(path) / name)
            fitting = None if file.folder else _recognised(file)
            need = fitting.name if fitting else "unknown"
            members.append(f"{name}/" if file.folder else f"{name}: {need}")
        except WorkbenchError as error:
            members.append(f"{name}: {type(error).__name__}")
            warnings.append(error)
    return Contents(
        "folder", str(path), members=tuple(members), n_members=len(names), warnings=tuple(warnings)
    )


@reader(
    "contents",
    order=900,
    kind="contents",
    reads="values of an unknown layout",
    recognised=".npz, .npy, .mat, .pkl",
    fits=lambda file: file.ends(".npz", ".npy", ".mat", *PICKLES) or file.starts(b"\x93NUMPY"),
)
def read_contents(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """The values of an npz, npy, MATLAB or pickle file of no layout that the workbench knows."""
    file = File(Path(path))
    if file.ends(".npz"):
        values = read_npz(path, file.arrays, objects=True)
    elif file.ends(*PICKLES):
        values = file.pickled
    else:
        values = file.variables or read_npy(path)
    items = list(values.items()) if isinstance(values, Mapping) else [("", values)]
    lines = tuple(f"{str(key)[:60]} {_outline(value)}".strip() for key, value in items[:_LISTED])
    return Contents("contents", str(path), members=lines, n_members=len(items))


def _outline(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    length = f" of {len(value)}" if isinstance(value, list | tuple | dict) else ""
    return type(value).__name__ + length


# --- reading --------------------------------------------------------------------------------------


@cache
def known_manifests() -> dict:
    """`manifest.manifests`, read once."""
    from .manifest import manifests

    return manifests()


def _of_manifest(name: str) -> Reader:
    """The reader that a data set's manifest names, for the data set's folder."""
    entry = known_manifests()[name]
    if not entry.reader or entry.kind != "dataset":
        raise BadParameter(
            f"{name} is {entry.kind}, not files to read", remedy="see `workbench data list`"
        )
    module, _, function = entry.reader.partition(":")
    function = getattr(import_module(module), function)
    return Reader(name, "data set", function, entry.title, "its manifest's layout")


def _of_layout(folder: Path) -> Reader | None:
    """The reader of the data set whose layout the folder has; of several, the one whose name the
    path ends in.
    """
    sets = [
        entry
        for entry in known_manifests().values()
        if entry.kind == "dataset" and not entry.layout.missing(folder)
    ]
    path = folder.absolute().as_posix()
    named = [s for s in sets if any(path.endswith(f"/{root}") for root in s.layout.root)]
    names = {entry.reader: entry.name for entry in named or sets}
    if len(names) > 1:
        remedy = f"say {' or '.join(f'{name}:{folder}' for name in sorted(names.values()))}"
        raise BadParameter("has the layout of several data sets", file=folder, remedy=remedy)
    return _of_manifest(min(names.values())) if names else None


def _recognised(file: File) -> Reader | None:
    if not file.folder and not file.head:
        read_bytes(file.path)  # raises EmptyFile
    return next((entry for entry in all_readers().values() if entry.fits(file)), None)


def _named(name: str) -> Reader:
    known = all_readers()
    if name in known:
        return known[name]
    if name not in known_manifests():
        raise unknown("reader", name, {*known, *known_manifests()})
    return _of_manifest(name)


def _located(spec: str) -> tuple[Reader, Path]:
    """The reader and the folder of a data set, NAME or NAME:PATH."""
    from .manifest import locate

    name = spec.partition(":")[0]
    if name not in known_manifests():
        sets = (m.name for m in known_manifests().values() if m.kind == "dataset" and m.reader)
        remedy = f"check the path, or name a data set: {', '.join(sets)}"
        raise MissingFile("no such file or folder", file=spec, remedy=remedy)
    return _of_manifest(name), locate(spec)[1]


def recognise(path: str | Path, reader: str | None = None) -> tuple[File, Reader]:
    """What lies at a path, or where a manifest's name leads, and the reader that it needs or
    that is named.
    """
    chosen, place = None, Path(path)
    if not os.path.exists(path):
        chosen, place = _located(str(path))
    if reader is not None:
        chosen = _named(reader)
    file = File(place)
    if chosen is None and file.folder:
        chosen = _of_layout(place)
    chosen = chosen or _recognised(file)
    if chosen is None:
        remedy = f"if it is one of these, name the reader (--reader): {', '.join(all_readers())}"
        raise BadFile("nothing that a reader knows", file=path, remedy=remedy)
    return file, chosen


def read_with(path: str | Path, reader: str | None, on_bad: str) -> tuple[File, Reader, Reading]:
    """As `read`, with what lies there and the reader that read it."""
    check_on_bad(on_bad)
    file, chosen = recognise(path, reader)
    return file, chosen, chosen.read(file, on_bad)


def read(path: str | Path, reader: str | None = None, *, on_bad: str = "raise") -> Reading:
    """What a file or folder holds, whatever it is.

    path: a file, a folder, or NAME or NAME:PATH of a manifest. reader: a name of
    `register.all_readers()`, or of a manifest for a folder; None recognises it by its first bytes,
    its content, the folder's layout.
    on_bad: "raise" the first bad record with the count of all, or "report" them in `warnings` and
    keep the others. Errors: `MissingFile`, `EmptyFile`, `BadFile`, `BadRecord`, `UnsafeFile`,
    `UnknownName`, `BadParameter`, `MissingData`.
    """
    return read_with(path, reader, on_bad)[2]
