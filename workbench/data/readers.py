"""Which reader a path needs, and reading it: one door to every format that the workbench knows.
Readers are registered beside their functions: what each one reads and how it knows its files. Those
of what needs no module of its own are here too.

A reader is a function `read_x(path, *, on_bad) -> records.Reading` under this decorator:

    @reader("coco", order=300, kind="annotations", reads="COCO-style keypoints",
            recognised="images, annotations", fits=lambda file: "images" in file.fields)

Where the function takes `content`, it gets the file's JSON, which the sniffers have parsed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, wraps
from importlib import import_module
from inspect import signature
from pathlib import Path

import numpy as np

from ..errors import BadFile, BadParameter, MissingFile, WorkbenchError, unknown
from ..records import Clip, Picture, Reading
from .archives import open_archive, safe_members
from .checks import check_on_bad
from .frames import animated, open_frames, picture_names, read_picture
from .manifest import locate, manifests
from .matlab import read_variables
from .safe import read_bytes, read_json, read_npy, read_npz, safe_unpickle

PICKLES = (".pkl", ".pickle")
# modules of this package in which readers are registered, imported when a file is to be recognised
MODULES = "results coco posetrack hands clips h36m deciwatch bvh".split()


class File:
    """What lies at a path, opened only as far as it is asked for. It may be a folder. What it is
    not (JSON, a pickle, ...) is None or empty.
    """

    def __init__(self, path: Path):
        self.path, self.suffix = path, path.suffix.lower()
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):  # not there, too long, a loop of links, a NUL
            raise MissingFile(
                "no such file or folder", file=path, remedy="check the path"
            ) from None
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
        """The first bytes."""
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
        if self.folder:
            return None
        start = self.head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        return read_json(self.path) if self.suffix == ".json" or start in (b"{", b"[") else None

    @cached_property
    def pickled(self) -> object:
        return safe_unpickle(self.path) if self.ends(*PICKLES) else None

    @cached_property
    def variables(self) -> Mapping[str, object]:
        """Of a MATLAB file."""
        return read_variables(self.path) if self.ends(".mat") else {}

    @cached_property
    def arrays(self) -> tuple[str, ...]:
        """Names in an npz."""
        if not self.ends(".npz"):
            return ()
        with open_archive(self.path) as members:
            return tuple(member.name.removesuffix(".npy") for member in members)

    @property
    def fields(self) -> dict:
        """Of a JSON object."""
        return as_dict(self.json)

    def first(self, key: str = "") -> dict:
        """The first object of a JSON list, or of the list under `key`."""
        items = self.json if type(self.json) is list else self.fields.get(key)
        return as_dict(items[0] if type(items) is list and items else None)

    @property
    def joints(self) -> list:
        """Joint names of a COCO-style file's first category."""
        names = self.first("categories").get("keypoints") if self.fields else None
        return names if type(names) is list else []

    def starts(self, *heads: bytes) -> bool:
        return self.head.startswith(heads)

    def ends(self, *suffixes: str) -> bool:
        return not self.folder and self.suffix in suffixes

    def mostly(self, *endings: str) -> bool:
        """Whether most files of the folder end so."""
        files = [name.lower() for name in self.names if "." in name[1:]]
        return 0 < len(files) <= 2 * sum(name.endswith(endings) for name in files)


def as_dict(value: object) -> dict:
    """A dict as it is, an empty one for anything else."""
    return value if type(value) is dict else {}


def any_entry(value: object) -> dict:
    """One value of a dict of dicts, an empty one where there is none."""
    return as_dict(next(iter(as_dict(value).values()), None))


@dataclass(frozen=True)
class Reader:
    """A format, or a data set of a manifest: what it is, and the function that reads it."""

    name: str
    kind: str  # of what is read: annotations, sequences, picture, ...
    function: Callable[..., Reading]
    reads: str  # in words
    recognised: str  # by what, in words
    fits: Callable[[File], object] = lambda file: False
    # The lowest that fits reads; no two are equal. 100: suffix or first bytes tell. 200: the marks
    # of one set in a layout that others have too. 300: a layout of its own. 400: users' results.
    # 900: whatever is left.
    order: int = 0

    @property
    def address(self) -> str:
        """The function as manifests name it, "module:name"."""
        return f"{self.function.__module__}:{self.function.__name__}"

    def takes(self, option: str) -> bool:
        """Whether the function has such a parameter."""
        return option in signature(self.function).parameters

    def read(self, file: File, on_bad: str, **options) -> Reading:
        """The function's reading. options: of the function, None where not given; `BadParameter`
        for one that it does not have.
        """
        options = {name: value for name, value in options.items() if value is not None}
        for name in options:
            if not self.takes(name):
                problem = f"{name} says nothing about {self.reads}"
                raise BadParameter(problem, file=file.path, remedy=f"leave --{name} out")
        if self.takes("content") and file.json is not None:
            options["content"] = file.json
        return self.function(file.path, on_bad=on_bad, **options)


REGISTERED: dict[str, Reader] = {}  # `all_readers` sorts them


def reader(name: str, **fields) -> Callable:
    """Registers the function below as the reader of a format; the fields are those of `Reader`. Its
    path may then be text, and its reading tells this name and the path, where it tells none.
    """

    def register(function: Callable[..., Reading]) -> Callable[..., Reading]:
        function = getattr(function, "__wrapped__", function)  # of two formats: each tells its own

        @wraps(function)
        def read(path: str | Path, **options) -> Reading:
            reading = function(Path(path), **options)
            source = reading.source or str(path)
            return replace(reading, reader=reading.reader or name, source=source)

        entry = Reader(name, function=read, **fields)
        for other in REGISTERED.values():
            if other.order == entry.order and other.name != name:
                raise ValueError(f"{name} and {other.name} have the same order, {other.order}")
        REGISTERED[name] = entry
        return read

    return register


def all_readers() -> dict[str, Reader]:
    """Every registered reader by name, in the order in which they are tried."""
    for module in MODULES:
        import_module(f"{__package__}.{module}")
    return dict(sorted(REGISTERED.items(), key=lambda item: item[1].order))


# --- readers of what has no module of its own -----------------------------------------------------

_PICTURES = tuple(".jpg .jpeg .png .bmp .webp .tif .tiff .gif .ppm .heic .heif .avif".split())
_PICTURE_HEADS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"GIF8", b"P6")
_VIDEOS = tuple(
    ".mp4 .avi .mov .mkv .webm .m4v .mpg .mpeg .ogv .wmv .flv .ts .mts .m2ts .3gp .vob".split()
)
# MPEG program streams, Windows Media, Flash, Ogg
_VIDEO_HEADS = (b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"0&\xb2u\x8ef\xcf\x11", b"FLV\1", b"OggS")
_ARCHIVE_HEADS = (b"PK\3\4", b"PK\5\6", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
# a folder with such is not one of pictures alone
_LABELS = (".json", *PICKLES, ".npz", ".npy", ".mat", ".bvh", ".csv")
_LISTED = 1000  # members; the count is of all


@dataclass(frozen=True, eq=False)
class Contents(Reading):
    """A reading of a container: members of an archive, files of a folder, or the values of a
    layout that nobody knows.
    """

    members: tuple[str, ...] = ()  # the first of them
    n_members: int = 0


@reader(
    "picture",
    order=115,
    kind="picture",
    reads="a picture",
    recognised="suffix or first bytes",
    fits=lambda file: (
        file.ends(*_PICTURES) or file.starts(*_PICTURE_HEADS) or file.head[8:12] == b"WEBP"
    ),
)
def read_one_picture(path: Path, *, on_bad: str = "raise") -> Reading:
    """A picture, decoded to its end, so that a truncated one is found; as stored."""
    height, width = read_picture(path).shape[:2]
    picture = Picture(path.name, size_wh=(width, height))
    return Reading(pictures=(picture,))


@reader(
    "video",
    order=110,
    kind="video",
    reads="a video file, or an animated picture",
    recognised="suffix or first bytes",
    fits=lambda file: (
        file.ends(*_VIDEOS)
        or file.starts(*_VIDEO_HEADS)
        or (file.head[4:8] == b"ftyp" and not file.ends(*_PICTURES))
        or file.head[8:12] == b"AVI "
        or (file.ends(".gif", ".webp", ".png") and bool(file.head) and animated(file.path) > 1)
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
def read_video(path: Path, *, on_bad: str = "raise") -> Reading:
    """A video file, an animation or a folder of pictures as a clip without people, decoded to its
    end, so that its length is true. Pictures are stated with their own sizes, upright.

    A picture that is damaged, and a video that was cut, are errors, or with "report" warnings: the
    video is as long as it can be decoded.
    """
    warnings, sizes = [], {}
    with open_frames(path, on_bad=on_bad) as frames:
        names = picture_names(path)
        for i in range(len(names)):
            try:
                height, width = frames[i].shape[:2]
                sizes[i] = (width, height)
            except WorkbenchError as error:
                if on_bad == "raise":
                    raise
                warnings.append(error)
        pictures = tuple(
            Picture(name, size_wh=sizes.get(i), labelled=False) for i, name in enumerate(names)
        )
        clip = Clip(frames.video, pictures=pictures, name=path.stem)
        return Reading(clips=(clip,), warnings=(*frames.warnings, *warnings))


@reader(
    "archive",
    order=910,
    kind="archive",
    reads="a zip or tar file's list",
    recognised="suffix or first bytes",
    fits=lambda file: file.ends(".zip", ".tar", ".tgz") or file.starts(*_ARCHIVE_HEADS),
)
def read_archive(path: Path, *, on_bad: str = "raise") -> Reading:
    """What a zip or tar file would unpack to. Nothing is unpacked; `UnsafeFile` where
    `data.archives.unpack` refuses.
    """
    names = [member.name for member in safe_members(path) if member.kind == "file"]
    return Contents(members=tuple(names[:_LISTED]), n_members=len(names))


@reader(
    "folder",
    order=930,
    kind="folder",
    reads="any other folder's list",
    recognised="a folder",
    fits=lambda file: file.folder,
)
def read_folder(path: Path, *, on_bad: str = "raise") -> Reading:
    """Which reader each file of a folder needs, of the first `_LISTED`; nothing more is read. A
    file that cannot be read is a warning.
    """
    names = File(path).names
    if not names:
        raise BadFile("an empty folder", file=path, remedy="check the path")
    members, warnings = [], []
    for name in names[:_LISTED]:
        try:
            file = File(path / name)
            fitting = None if file.folder else _recognised(file)
            need = fitting.name if fitting else "unknown"
            members.append(f"{name}/" if file.folder else f"{name}: {need}")
        except WorkbenchError as error:
            members.append(f"{name}: {type(error).__name__}")
            warnings.append(error)
    return Contents(members=tuple(members), n_members=len(names), warnings=tuple(warnings))


@reader(
    "contents",
    order=900,
    kind="contents",
    reads="values of an unknown layout",
    recognised=".npz, .npy, .mat, .pkl",
    fits=lambda file: file.ends(".npz", ".npy", ".mat", *PICKLES) or file.starts(b"\x93NUMPY"),
)
def read_contents(path: Path, *, on_bad: str = "raise") -> Reading:
    """The values of an npz, npy, MATLAB or pickle file of no layout that the workbench knows."""
    file = File(path)
    if file.ends(".npz"):
        values = read_npz(path, file.arrays, objects=True)
    elif file.ends(*PICKLES):
        values = file.pickled
    else:
        values = file.variables or read_npy(path)
    items = list(values.items()) if isinstance(values, Mapping) else [("", values)]
    lines = tuple(f"{str(key)[:60]} {_outline(value)}".strip() for key, value in items[:_LISTED])
    return Contents(members=lines, n_members=len(items))


def _outline(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    length = f" of {len(value)}" if isinstance(value, list | tuple | dict) else ""
    return type(value).__name__ + length


# --- reading --------------------------------------------------------------------------------------


known_manifests = cache(manifests)


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
        raise BadParameter(
            "has the layout of several data sets",
            file=folder,
            remedy=f"say {' or '.join(f'{name}:{folder}' for name in sorted(names.values()))}",
        )
    return _of_manifest(min(names.values())) if names else None


def _recognised(file: File) -> Reader | None:
    if not file.folder and not file.head:
        read_bytes(file.path)  # raises EmptyFile
    return next((entry for entry in all_readers().values() if entry.fits(file)), None)


def _located(spec: str) -> tuple[Reader, Path]:
    """The reader and the folder of a data set, NAME or NAME:PATH."""
    name = spec.partition(":")[0]
    if name not in known_manifests():
        sets = (m.name for m in known_manifests().values() if m.kind == "dataset" and m.reader)
        raise MissingFile(
            "no such file or folder",
            file=spec,
            remedy=f"check the path, or name a data set: {', '.join(sets)}",
        )
    return _of_manifest(name), locate(spec)[1]


def recognise(path: str | Path, reader: str | None = None) -> tuple[File, Reader]:
    """What lies at a path, or where a manifest's name leads, and the reader that it needs or
    that is named.
    """
    chosen, place = None, Path(path)
    if not os.path.exists(path):
        chosen, place = _located(str(path))
    if reader is not None:
        known = all_readers()
        if reader not in known and reader not in known_manifests():
            raise unknown("reader", reader, {*known, *known_manifests()})
        chosen = known.get(reader) or _of_manifest(reader)
    file = File(place)
    if chosen is None and file.folder:
        chosen = _of_layout(place)
    chosen = chosen or _recognised(file)
    if chosen is None:
        raise BadFile(
            "nothing that a reader knows",
            file=path,
            remedy=f"if it is one of these, name the reader (--reader): {', '.join(all_readers())}",
        )
    return file, chosen


def read(
    path: str | Path, reader: str | None = None, *, on_bad: str = "raise", **options
) -> Reading:
    """What a file or folder holds, whatever it is.

    path: a file, a folder, or NAME or NAME:PATH of a manifest. reader: a name of
    `register.all_readers()`, or of a manifest for a folder; None recognises it by its first bytes,
    its content, the folder's layout.
    on_bad: "raise" the first bad record with the count of all, or "report" them in `warnings` and
    keep the others. options: of that reader, such as the unit of a BVH file. Errors: `MissingFile`,
    `EmptyFile`, `BadFile`, `BadRecord`, `UnsafeFile`, `UnknownName`, `BadParameter`, `MissingData`.
    """
    check_on_bad(on_bad)
    file, chosen = recognise(path, reader)
    return chosen.read(file, on_bad, **options)
