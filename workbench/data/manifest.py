"""Manifests: what a data set or weight file is, who may have it, where it lies, how it is fetched,
checked, unpacked.

Places, in this order: the PATH of `NAME:PATH`; `$WORKBENCH_DATA/<layout.root>` (an absolute path);
the user's cache, where `fetch` writes.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from tqdm.auto import tqdm

from .. import skeletons
from ..caches import cache_root
from ..errors import (
    BadFile,
    BadParameter,
    ChecksumMismatch,
    MissingData,
    MissingFile,
    UnknownName,
    unknown,
)
from ..outputs import alone, named_errors, put, write_text
from ..resources import resource
from .archives import BAR_FROM_BYTES, leaves_root, unpack
from .downloads import transfer

_CHUNK = 2**20

# --- schema ---------------------------------------------------------------------------------------


def _relative(path: str) -> str:
    if leaves_root(path):
        raise ValueError(f"{path!r} is not a relative path below the data set's root")
    return path


def _known_skeleton(name: str) -> str:
    try:
        skeletons.skeleton(name)
    except UnknownName as error:
        raise ValueError(f"{error.problem}; {error.remedy}") from None
    return name


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


RelativePath = Annotated[str, AfterValidator(_relative)]
Alternatives = Annotated[list[RelativePath], BeforeValidator(_listed)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Download(_Strict):
    """One file to fetch. A size or checksum that nobody could take is null, never invented."""

    path: RelativePath  # below layout.root
    url: Annotated[str, Field(pattern=r"^https://|^http://(127\.0\.0\.1|localhost)[:/]")]
    bytes: Annotated[int, Field(ge=0)] | None
    # or its beginning, where the publisher puts that into the file's name
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64}|[0-9a-f]{8})$")] | None
    unpack: bool = False  # into a folder beside it, named as the archive without its suffix

    @property
    def folder(self) -> str:
        return re.sub(r"\.(tar\.\w+|\w+)$", "", self.path)

    @model_validator(mode="after")
    def _archive_and_folder_differ(self):
        if self.unpack and self.folder == self.path:
            raise ValueError(
                f"{self.path!r} has no suffix, so there is no name for the folder to unpack into"
            )
        return self


class Layout(_Strict):
    """Where files lie below the data set's root; a list names alternatives, any one of which will
    do.

    root: the folder's usual names below `$WORKBENCH_DATA`; the first is its name in the cache. A
    file may be a pattern with `*`, which at least one file must match, or the name of a folder with
    a slash at its end.
    """

    root: Alternatives
    files: dict[str, Alternatives]
    optional: list[str] = []

    @model_validator(mode="after")
    def _optional_files_exist(self):
        if stray := set(self.optional) - set(self.files):
            raise ValueError(f"optional names {sorted(stray)}, which are not in files")
        return self

    def file(self, root: Path, key: str) -> Path | None:
        """The first of a key's alternatives that stands under `root`."""
        standing = (file for path in self.files[key] for file in _standing(root, path))
        return next(standing, None)

    def missing(self, root: Path) -> list[str]:
        """The required files of which no alternative stands under `root`, as readable paths."""
        return [
            " or ".join(paths)
            for key, paths in self.files.items()
            if key not in self.optional and not any(_standing(root, path) for path in paths)
        ]


def _standing(root: Path, path: str) -> list[Path]:
    """What stands under `root` for a path of a layout: a file, a folder (path/), or all files
    that match a pattern.
    """
    if "*" in path:
        return sorted(match for match in root.glob(path) if match.is_file())
    exists = os.path.isdir if path.endswith("/") else os.path.isfile
    return [root / path] if exists(root / path) else []


class Manifest(_Strict):
    """One data set, weight file or synthetic source."""

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    title: str
    kind: Literal["dataset", "weights", "synthetic"]
    licence: str
    access: Literal["direct", "registration", "request"]
    instructions: str | None = None  # what the user must do where access is not direct
    homepage: str | None = None
    citation: str | None = None
    layout: Layout | None = None
    downloads: list[Download] = []
    skeleton: Annotated[str, AfterValidator(_known_skeleton)] | None = None
    reader: Annotated[str, Field(pattern=r"^workbench\.(data|made)(\.\w+)+:\w+$")] | None = None
    crop_wh: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None  # px, of weights
    visibility: str | None = None  # what the labels' flags mean, and how they become 0, 1, 2
    notes: str | None = None

    @model_validator(mode="after")
    def _consistent(self):
        if (self.layout is None) != (self.kind == "synthetic"):
            raise ValueError("a layout is what every kind but synthetic has")
        if self.access != "direct" and not self.instructions:
            raise ValueError(f"access by {self.access} needs instructions: what the user must do")
        if self.layout and self.access == "direct" and not self.downloads:
            raise ValueError("direct access needs downloads")
        return self


class _Loader(yaml.SafeLoader):
    """The safe loader, which would take the last of two equal keys without a word."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        if double := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {double[0]} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


# what YAML raises for text that is none, and for values that are none of their type
_NOT_YAML = (
    yaml.YAMLError,
    RecursionError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)


def read_manifest(path: str | Path) -> Manifest:
    """The manifest in a YAML file; `MissingFile`, or `BadFile` naming file and field for
    anything outside the schema.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise MissingFile("no such manifest", file=path) from None
    except OSError as error:
        raise BadFile(f"cannot be read: {error.strerror}", file=path) from None
    except _NOT_YAML as error:
        raise BadFile(f"not YAML: {error}", file=path) from None
    try:
        result = Manifest.model_validate(content)
    except ValidationError as invalid:
        objections = [
            (".".join(map(str, error["loc"])) or "manifest", error["msg"])
            for error in invalid.errors()
        ]
        problem = "; ".join(map(": ".join, objections))
        raise BadFile(problem, file=path, record=objections[0][0]) from None
    if result.name != path.stem:
        problem = f"name is {result.name!r}, the file is called {path.stem!r}"
        raise BadFile(problem, file=path, record="name")
    return result


def _shipped() -> dict[str, Path]:
    return {path.stem: path for path in sorted(resource("data_manifests").glob("*.yaml"))}


def manifests() -> dict[str, Manifest]:
    """Every manifest that travels with the package, by name."""
    return {name: read_manifest(path) for name, path in _shipped().items()}


def manifest(name: str) -> Manifest:
    """The manifest of that name; `UnknownName` with near matches otherwise."""
    shipped = _shipped()
    if name not in shipped:
        raise unknown("data set", name, shipped)
    return read_manifest(shipped[name])


# --- places ---------------------------------------------------------------------------------------


def _cache(layout: Layout) -> Path:
    return cache_root() / layout.root[0]


def _shared_root() -> Path | None:
    """The folder of `$WORKBENCH_DATA`. It is absolute: a notebook runs in a folder of its own."""
    shared = os.path.expanduser(os.environ.get("WORKBENCH_DATA", ""))
    if shared and not os.path.isabs(shared):
        problem, remedy = f"{shared!r} is not an absolute path", "set it to an absolute path"
        raise BadParameter(problem, record="WORKBENCH_DATA", remedy=remedy)
    return Path(shared) if shared else None


def _places(spec: str) -> tuple[Manifest, list[Path]]:
    """The manifest of `NAME` or `NAME:PATH`, and where its files may lie."""
    name, colon, path = spec.partition(":")
    entry = manifest(name)
    if entry.layout is None:
        if colon:
            problem = f"{name} reads no files, so {spec!r} names no place"
            raise BadParameter(problem, remedy=f"say {name}")
        return entry, []
    if colon:
        named = Path(os.path.abspath(os.path.expanduser(path)))
        if not path or not os.path.isdir(named):
            remedy = f"say {name}:PATH with the folder of {name}"
            raise MissingFile("no such folder", file=path or spec, remedy=remedy)
        return entry, [named, *(named / root for root in entry.layout.root)]
    return entry, _usual_places(entry.layout)


def _usual_places(layout: Layout) -> list[Path]:
    shared = _shared_root()
    places = [shared / root for root in layout.root] if shared else []
    return [*places, _cache(layout)]


def locate(spec: str) -> tuple[Manifest, Path]:
    """The manifest of `NAME` or `NAME:PATH` and the folder that holds all its required files.

    An empty path for a source without files (synthetic). `MissingData` says what is missing, where
    it was looked for and how the user gets it.
    """
    entry, places = _places(spec)
    return entry, _complete(entry, places)


def fetched_weights(spec: str) -> tuple[Manifest, Path] | None:
    """The manifest of weights, `NAME` or `NAME:PATH`, and their file: of several, the first that
    the layout names. None where no weights have that name; `MissingData` where they are not here.
    """
    name = spec.partition(":")[0]
    if name not in _shipped() or manifest(name).kind != "weights":
        return None
    entry, root = locate(spec)
    return entry, entry.layout.file(root, next(iter(entry.layout.files)))


def folder_of(entry: Manifest) -> Path:
    """`locate` of a manifest that was read before, in the usual places."""
    return _complete(entry, _usual_places(entry.layout) if entry.layout else [])


def _complete(entry: Manifest, places: list[Path]) -> Path:
    """The first of these folders that holds all required files."""
    if entry.layout is None:
        return Path()
    lacking = {place: entry.layout.missing(place) for place in places}
    for place, paths in lacking.items():
        if not paths:
            return place
    get = f"workbench data fetch {entry.name}" if entry.access == "direct" else entry.instructions
    raise MissingData(
        "; ".join(f"{place} lacks {', '.join(paths)}" for place, paths in lacking.items()),
        record=entry.name,
        remedy=f"{get}; or name its folder by {entry.name}:PATH or set WORKBENCH_DATA",
    )


# --- verify and fetch -----------------------------------------------------------------------------


@dataclass(frozen=True)
class FileCheck:
    """What became of one file; `unverified` is present but without a checksum to hold it
    against.
    """

    path: Path
    status: Literal["ok", "missing", "mismatch", "unverified"]
    detail: str = ""
    required: bool = True

    @property
    def bad(self) -> bool:
        return self.status == "mismatch" or (self.status == "missing" and self.required)


def sha256_of(path: str | Path, *, progress: bool = False) -> str:
    """SHA-256 of a file in hexadecimal, read in pieces; with a bar for large files if
    `progress`.
    """
    path, digest = Path(path), hashlib.sha256()
    size = path.stat().st_size
    quiet = not progress or size < BAR_FROM_BYTES
    with (
        path.open("rb") as file,
        tqdm(total=size, unit="B", unit_scale=True, desc=path.name, disable=quiet) as bar,
    ):
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _compare(path: Path, expected: Download | None, progress: bool) -> tuple[str, str]:
    """Status and detail of a file that exists."""
    if os.path.isdir(path):
        return "mismatch", "a folder, a file expected"
    size = path.stat().st_size
    if expected and expected.bytes not in (None, size):
        return "mismatch", f"{size} bytes, {expected.bytes} expected"
    first = _first_sum(path)
    known = expected.sha256 if expected else None
    if known is None and not first.exists():
        return "unverified", "no checksum is known"
    try:
        digest = sha256_of(path, progress=progress)
    except OSError as error:
        return "mismatch", f"cannot be read: {error.strerror}"
    if known is not None:
        wrong = f"sha256 {digest}, {known} expected"
        return ("ok", "") if digest.startswith(known) else ("mismatch", wrong)
    if digest != first.read_text(encoding="utf-8").strip():
        return "mismatch", f"sha256 {digest}, not what was fetched"
    return "unverified", "as it was fetched; no checksum is known"


def _first_sum(path: Path) -> Path:
    """Where the sum of a file stands as it was fetched, if nobody could state one before."""
    return path.with_name(f".{path.name}.sha256")


def _absent(path: Path, required: bool) -> FileCheck:
    return FileCheck(path, "missing", "" if required else "optional", required)


def _check(path: Path, expected: Download | None, required: bool, progress: bool) -> FileCheck:
    if not os.path.exists(path):
        return _absent(path, required)
    return FileCheck(path, *_compare(path, expected, progress), required)


def data_place(name: str) -> Path | None:
    """Folder of a data set on this machine, or None where it is not there."""
    try:
        return locate(name)[1]
    except MissingData:
        return None


def presence(name: str) -> str:
    """As in "yes", "made on the spot" or "no (application)"; for a table of data sets."""
    found = manifest(name)
    if found.kind == "synthetic":
        return "made on the spot"
    return "yes" if data_place(name) else f"no ({found.access})"


def _check_all(entry: Manifest, root: Path, progress: bool) -> list[FileCheck]:
    """Every file of the layout, then the downloads that the layout does not name."""
    expected = {item.path: item for item in entry.downloads}
    checks, named = [], set()
    for key, paths in entry.layout.files.items():
        named.update(paths)
        required = key not in entry.layout.optional
        checks_of_key = []
        for path in paths:
            if "*" in path or path.endswith("/"):
                checks_of_key += [
                    FileCheck(file, "unverified", "no checksum is known", required)
                    for file in _standing(root, path)
                ]
            elif os.path.exists(root / path):
                checks_of_key.append(_check(root / path, expected.get(path), required, progress))
        checks += checks_of_key or [_absent(root / paths[0], required)]
    loose = [item for item in entry.downloads if item.path not in named]
    return checks + [_check(root / item.path, item, not item.unpack, progress) for item in loose]


def verify(spec: str, *, progress: bool = False) -> list[FileCheck]:
    """The state of every file of `NAME` or `NAME:PATH` where it lies, complete or not; nothing
    is fetched.
    """
    entry, places = _places(spec)
    if entry.layout is None:
        return []
    root = min(places, key=lambda place: len(entry.layout.missing(place)))
    return _check_all(entry, root, progress)


def _download(item: Download, target: Path, progress: bool) -> None:
    """One file, put to its place once size and checksum hold. What a broken transfer has left
    beside it is gone on with where the checksum is known.
    """
    if target.is_dir():
        remedy = "remove it and fetch again"
        raise BadFile("a folder stands where the file belongs", file=target, remedy=remedy)
    with named_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    transfer(item.url, part, item.bytes, goes_on=item.sha256 is not None, progress=progress)
    check = _check(part, item, True, progress)
    if check.status == "mismatch":
        part.unlink()
        raise ChecksumMismatch(
            f"what {item.url} gave was thrown away: {check.detail}",
            file=target,
            remedy="fetch again; if it stays, the source has changed and the manifest needs a "
            "new version",
        )
    if item.sha256 is None:
        write_text(_first_sum(target), sha256_of(part), over=True)
    put(part, target, over=True)


def unverifiable(name: str) -> list[str]:
    """Addresses of what `fetch` would bring and nobody could state a checksum of."""
    entry = manifest(name)
    root = _cache(entry.layout) if entry.layout else Path()
    absent = [item for item in entry.downloads if not (root / item.path).exists()]
    return [item.url for item in absent if item.sha256 is None and not _there(root, item)]


def _there(root: Path, item: Download) -> bool:
    return item.unpack and (root / item.folder).exists()


def fetch(name: str, *, unverified: bool = False, progress: bool = True) -> list[FileCheck]:
    """Fetches what is not there yet into the user's cache, and returns the state of
    every file.

    unverified: also what nobody could state a checksum of; its sum is kept, and later looks hold it
    to that. Errors: `MissingData` with the user's part where access is not direct, the source does
    not answer or that is not said; `ChecksumMismatch`, after which the file does not exist;
    `UnsafeFile` where a source is not https, or longer than stated.
    """
    entry = manifest(name)
    if entry.access != "direct":
        raise MissingData(
            f"access by {entry.access} only, nothing was fetched",
            record=name,
            remedy=entry.instructions,
        )
    if entry.layout is None:
        return []
    root = _cache(entry.layout)
    if not unverified and (urls := unverifiable(name)):
        problem = f"nobody could state a checksum of {', '.join(urls)}"
        remedy = "fetch it all the same with --unverified (unverified=True); its sum is kept"
        raise MissingData(problem, record=name, remedy=remedy)
    with alone(root, "a fetch"):
        for item in entry.downloads:
            target, unpacked = root / item.path, root / item.folder
            if _there(root, item):
                continue
            if _check(target, item, True, progress).status in ("missing", "mismatch"):
                _download(item, target, progress)
            if item.unpack:
                unpack(target, unpacked, progress=progress)
    return _check_all(entry, root, progress)
