"""Readers, registered beside their functions: what each one reads and how it knows its files.

A reader is a function `read_x(path, *, on_bad) -> records.Reading` under this decorator:

    @reader("coco", order=300, kind="annotations", reads="COCO-style keypoints",
            recognised="images, annotations", fits=lambda file: "images" in file.fields)

Where the function takes `content`, it gets the file's JSON, which the sniffers have parsed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from inspect import signature
from pathlib import Path

from ..errors import BadFile, MissingFile
from ..records import Reading
from .matlab import read_variables
from .safe import read_json, safe_unpickle

PICKLES = (".pkl", ".pickle")
# modules of this package in which readers are registered, imported when a file is to be recognised
MODULES = "readers results coco posetrack hands clips h36m deciwatch bvh".split()


class File:
    """What lies at a path, opened only as far as it is asked for. It may be a folder. What it is
    not (JSON, a pickle, ...) is None or empty.
    """

    def __init__(self, path: Path):
        self.path, self.suffix = path, path.suffix.lower()
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):  # not there, too long, a loop of links, a NUL
            problem = "no such file or folder"
            raise MissingFile(problem, file=path, remedy="check the path") from None
        self.folder = stat.S_ISDIR(mode)
        if not self.folder and not stat.S_ISREG(mode):
            remedy = "name a regular file or a folder"
            raise BadFile("a device, pipe or socket", file=path, remedy=remedy)
        if not os.access(path, os.R_OK):
            problem = "cannot be read: permission denied"
            raise BadFile(problem, file=path, remedy="check its permissions")

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
        from .archives import open_archive

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

    def read(self, file: File, on_bad: str) -> Reading:
        options = {"on_bad": on_bad}
        if "content" in signature(self.function).parameters and file.json is not None:
            options["content"] = file.json
        return self.function(file.path, **options)


REGISTERED: dict[str, Reader] = {}  # `all_readers` sorts them


def reader(name: str, **fields) -> Callable:
    """Registers the function below as the reader of a format; the fields are those of `Reader`."""

    def register(function: Callable[..., Reading]) -> Callable[..., Reading]:
        entry = Reader(name, function=function, **fields)
        for other in REGISTERED.values():
            if other.order == entry.order and other.name != name:
                raise ValueError(f"{name} and {other.name} have the same order, {other.order}")
        REGISTERED[name] = entry
        return function

    return register


def all_readers() -> dict[str, Reader]:
    """Every registered reader by name, in the order in which they are tried."""
    for module in MODULES:
        import_module(f"{__package__}.{module}")
    return dict(sorted(REGISTERED.items(), key=lambda item: item[1].order))
