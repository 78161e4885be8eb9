"""Manifests: what a data set or weight file is, who may have it, where it lies, how it is fetched,
checked, unpacked.

Places, in this order: the PATH of `NAME:PATH`; `$WORKBENCH_DATA/<layout.root>` (an absolute path);
the user's cache, where `fetch` writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Literal, NamedTuple

import pooch
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from tqdm.auto import tqdm

from .. import skeletons
from ..errors import (
    BadFile,
    BadParameter,
    ChecksumMismatch,
    MissingData,
    MissingFile,
    UnknownName,
    UnsafeFile,
    unknown,
)
from ..resources import resource

MAX_UNPACKED_BYTES = 100 * 2**30
MAX_UNPACKED_RATIO = 200  # unpacked over packed; annotations reach about 20, a bomb 1,000 and more
MAX_MEMBERS = 2_000_000
_RATIO_FREE_BYTES = 2**20  # below this size no ratio is too large
_AFTER_BYTES = 2**26  # what may follow the last member of a tar file; writers pad by some kB
_CHUNK = 2**20
_BAR_FROM_BYTES = 64 * 2**20  # smaller files are hashed before a bar could be read


# --- schema ---------------------------------------------------------------------------------------


def _escapes(path: str) -> bool:
    """Whether a path of a manifest or archive is anything but a plain path below its root."""
    pure = PurePosixPath(path)
    odd = any(c in path for c in "\\\0") or path[1:2] == ":"
    return odd or not pure.parts or pure.is_absolute() or ".." in pure.parts


def _relative(path: str) -> str:
    if _escapes(path):
        raise ValueError(f"{path!r} is not a relative path below the data set's root")
    return path


def _known_skeleton(name: str) -> str:
    try:
        skeletons.skeleton(name)
    except UnknownName as error:
        raise ValueError(f"{error.problem}; {error.remedy}") from None
    return name


RelativePath = Annotated[str, AfterValidator(_relative)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Download(_Strict):
    """One file to fetch. A size or checksum that nobody could take is null, never invented."""

    path: RelativePath  # below layout.root
    url: Annotated[str, Field(pattern=r"^https?://")]
    bytes: Annotated[int, Field(ge=0)] | None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
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

    root: RelativePath | list[RelativePath]
    files: dict[str, RelativePath | list[RelativePath]]
    optional: list[str] = []

    @property
    def roots(self) -> list[str]:
        return [self.root] if isinstance(self.root, str) else self.root

    @model_validator(mode="after")
    def _optional_files_exist(self):
        if stray := set(self.optional) - set(self.files):
            raise ValueError(f"optional names {sorted(stray)}, which are not in files")
        return self

    def alternatives(self, key: str) -> list[str]:
        value = self.files[key]
        return [value] if isinstance(value, str) else value


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
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:
        # the last four: values that are none of their type
        raise BadFile(f"not YAML: {error}", file=path) from None
    try:
        result = Manifest.model_validate(content)
    except ValidationError as error:
        fields = [".".join(map(str, e["loc"])) or "manifest" for e in error.errors()]
        problems = [f"{field}: {e['msg']}" for field, e in zip(fields, error.errors(), strict=True)]
        raise BadFile("; ".join(problems), file=path, record=fields[0]) from None
    if result.name != path.stem:
        raise BadFile(
            f"name is {result.name!r}, the file is called {path.stem!r}", file=path, record="name"
        )
    return result


def manifests() -> dict[str, Manifest]:
    """Every manifest that travels with the package, by name."""
    return {
        path.stem: read_manifest(path) for path in sorted(resource("data_manifests").glob("*.yaml"))
    }


def manifest(name: str) -> Manifest:
    """The manifest of that name; `UnknownName` with near matches otherwise."""
    known = manifests()
    if name not in known:
        raise unknown("data set", name, known)
    return known[name]


# --- places ---------------------------------------------------------------------------------------


def _cache(layout: Layout) -> Path:
    return Path(pooch.os_cache("occlusion-workbench")) / layout.roots[0]


def _places(spec: str) -> tuple[Manifest, list[Path]]:
    name, colon, path = spec.partition(":")
    found = manifest(name)
    if found.layout is None:
        if colon:
            raise BadParameter(
                f"{name} reads no files, so {spec!r} names no place", remedy=f"say {name}"
            )
        return found, []
    if colon:
        given = Path(os.path.abspath(os.path.expanduser(path)))
        if not path or not os.path.isdir(given):
            raise MissingFile(
                "no such folder",
                file=path or spec,
                remedy=f"say {name}:PATH with the folder of {name}",
            )
        return found, [given, *(given / root for root in found.layout.roots)]
    shared = os.path.expanduser(os.environ.get("WORKBENCH_DATA", ""))
    if shared and not os.path.isabs(shared):  # a notebook runs in a folder of its own
        remedy = "set it to an absolute path"
        raise BadParameter(
            f"{shared!r} is not an absolute path", record="WORKBENCH_DATA", remedy=remedy
        )
    return found, [Path(shared) / root for root in found.layout.roots if shared] + [
        _cache(found.layout)
    ]


def _here(root: Path, path: str) -> list[Path]:
    """What stands under `root` for a path of a layout: a file, a folder (path/), or all files
    that match a pattern.
    """
    if "*" in path:
        return sorted(found for found in root.glob(path) if found.is_file())
    there = root / path
    return (
        [there] if (os.path.isdir(there) if path.endswith("/") else os.path.isfile(there)) else []
    )


def _missing(layout: Layout, root: Path) -> list[str]:
    """Keys of the layout's required files of which no alternative stands under `root`, as
    readable paths.
    """
    return [
        " or ".join(layout.alternatives(key))
        for key in layout.files
        if key not in layout.optional and not any(_here(root, p) for p in layout.alternatives(key))
    ]


def locate(spec: str) -> tuple[Manifest, Path]:
    """The manifest of `NAME` or `NAME:PATH` and the folder that holds all its required files.

    An empty path for a source without files (synthetic). `MissingData` says what is missing, where
    it was looked for and how the user gets it.
    """
    found, places = _places(spec)
    if found.layout is None:
        return found, Path()
    for place in places:
        if not _missing(found.layout, place):
            return found, place
    problem = "; ".join(
        f"{place} lacks {', '.join(_missing(found.layout, place))}" for place in places
    )
    get = f"workbench data fetch {found.name}" if found.access == "direct" else found.instructions
    raise MissingData(
        problem,
        record=found.name,
        remedy=f"{get}; or name its folder by {found.name}:PATH or set WORKBENCH_DATA",
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
    quiet = not progress or size < _BAR_FROM_BYTES
    with (
        path.open("rb") as file,
        tqdm(total=size, unit="B", unit_scale=True, desc=path.name, disable=quiet) as bar,
    ):
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _check(path: Path, expected: Download | None, required: bool, progress: bool) -> FileCheck:
    if os.path.isdir(path):
        return FileCheck(path, "mismatch", "a folder, a file expected", required)
    if not os.path.exists(path):
        return FileCheck(path, "missing", "" if required else "optional", required)
    size = path.stat().st_size
    if expected and expected.bytes not in (None, size):
        return FileCheck(path, "mismatch", f"{size} bytes, {expected.bytes} expected", required)
    if expected is None or expected.sha256 is None:
        return FileCheck(path, "unverified", "no checksum is known", required)
    try:
        got = sha256_of(path, progress=progress)
    except OSError as error:
        return FileCheck(path, "mismatch", f"cannot be read: {error.strerror}", required)
    if got != expected.sha256:
        return FileCheck(path, "mismatch", f"sha256 {got}, {expected.sha256} expected", required)
    return FileCheck(path, "ok", "", required)


def _checks(found: Manifest, root: Path, progress: bool) -> list[FileCheck]:
    expected = {d.path: d for d in found.downloads}
    checks, named = [], set()
    for key in found.layout.files:
        paths = found.layout.alternatives(key)
        named.update(paths)
        required = key not in found.layout.optional
        several = [p for p in paths if "*" in p or p.endswith("/")]
        checks += [
            FileCheck(f, "unverified", "no checksum is known", required)
            for p in several
            for f in _here(root, p)
        ]
        if here := [p for p in paths if p not in several and os.path.exists(root / p)]:
            checks += [_check(root / p, expected.get(p), required, progress) for p in here]
        elif not any(_here(root, p) for p in several):
            checks.append(
                FileCheck(root / paths[0], "missing", "" if required else "optional", required)
            )
    loose = [d for d in found.downloads if d.path not in named]
    return checks + [_check(root / d.path, d, not d.unpack, progress) for d in loose]


def verify(spec: str, *, progress: bool = False) -> list[FileCheck]:
    """The state of every file of `NAME` or `NAME:PATH` where it lies, complete or not; nothing
    is fetched.
    """
    found, places = _places(spec)
    if found.layout is None:
        return []
    root = min(places, key=lambda place: len(_missing(found.layout, place)))
    return _checks(found, root, progress)


def _download(item: Download, target: Path, progress: bool) -> None:
    """One file, written beside its place and renamed once size and checksum hold."""
    if target.is_dir():
        raise BadFile(
            "a folder stands where the file belongs",
            file=target,
            remedy="remove it and fetch again",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        part = Path(folder) / target.name
        try:
            pooch.HTTPDownloader(progressbar=progress)(item.url, str(part), None)
        except OSError as error:  # what requests raises derives from it
            raise MissingData(
                f"{item.url} could not be fetched: {error}",
                file=target,
                remedy="check the connection and fetch again",
            ) from None
        check = _check(part, item, True, progress)
        if check.status == "mismatch":
            raise ChecksumMismatch(
                f"what {item.url} gave was thrown away: {check.detail}",
                file=target,
                remedy="fetch again; if it stays, the source has changed and the manifest needs a new version",
            )
        os.replace(part, target)


def fetch(name: str, *, root: str | Path | None = None, progress: bool = True) -> list[FileCheck]:
    """Fetches what is not there yet into the user's cache (or `root`), and returns the state of
    every file.

    A file without a known checksum is fetched and stays `unverified`. Errors: `MissingData` with
    the user's part where access is not direct or the source does not answer; `ChecksumMismatch`,
    after which the file does not exist.
    """
    found = manifest(name)
    if found.access != "direct":
        raise MissingData(
            f"access by {found.access} only, nothing was fetched",
            record=name,
            remedy=found.instructions,
        )
    if found.layout is None:
        return []
    root = Path(root) if root else _cache(found.layout)
    for item in found.downloads:
        target, unpacked = root / item.path, root / item.folder
        if item.unpack and unpacked.exists():
            continue
        if _check(target, item, True, progress).status in ("missing", "mismatch"):
            _download(item, target, progress)
        if item.unpack:
            unpack(target, unpacked, progress=progress)
    return _checks(found, root, progress)


# --- archives -------------------------------------------------------------------------------------


class _Member(NamedTuple):
    name: str
    size: int
    kind: str  # "file", "folder", or what makes it unsafe
    open: Callable[[], IO[bytes]]


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        mode = stat.S_IFMT(info.external_attr >> 16)
        kind = "folder" if info.is_dir() else "file"
        if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "link or device"
        yield _Member(info.filename, info.file_size, kind, lambda info=info: archive.open(info))


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        kind = "folder" if info.isdir() else "file" if info.isreg() else "link or device"
        yield _Member(info.name, info.size, kind, lambda info=info: archive.extractfile(info))
    left = _AFTER_BYTES
    # on to the compressor's own checksum, which tarfile leaves unread
    while chunk := archive.fileobj.read(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise tarfile.ReadError(f"more than {_AFTER_BYTES} bytes follow the last member")


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    """The members of a zip or tar file, whatever it is compressed with; damage becomes
    `BadFile`.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield _zip_members(opened)
        else:
            with tarfile.open(archive) as opened:
                yield _tar_members(opened)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        KeyError,
        IndexError,
        OverflowError,
        MemoryError,
    ) as error:
        # tarfile goes on with all that it tried
        detail = str(error).partition("\n")[0] or type(error).__name__
        raise BadFile(f"cannot be unpacked as a zip or tar file: {detail}", file=archive) from None


def _refuse(archive: Path, max_bytes: int, max_ratio: int) -> int:
    """Reads the list of members only; `UnsafeFile` at the first that must not be unpacked.
    Returns the total bytes.
    """
    packed, total, seen = archive.stat().st_size, 0, set()
    with _members(archive) as members:
        for member in members:
            total += member.size
            name = str(PurePosixPath(member.name))
            if name == "." and member.kind == "folder":
                continue
            problem = None
            if _escapes(member.name):
                problem = "leaves the target folder"
            elif member.kind not in ("file", "folder"):
                problem = f"is a {member.kind}"
            elif name in seen and member.kind == "file":
                problem = "stands twice in the archive"
            elif total > max_bytes:
                problem = f"brings the unpacked size above {max_bytes} bytes"
            elif total > max(_RATIO_FREE_BYTES, max_ratio * packed):
                problem = (
                    f"brings the unpacked size above {max_ratio} times the archive's {packed} bytes"
                )
            elif len(seen) >= MAX_MEMBERS:
                problem = f"is one more than {MAX_MEMBERS} members"
            if problem:
                raise UnsafeFile(
                    f"refused as a whole, nothing was written: member {problem}",
                    file=archive,
                    record=repr(member.name),
                    remedy="do not trust this archive; get it from its publisher",
                )
            seen.add(name)
    return total


def unpack(
    archive: str | Path,
    target: str | Path,
    *,
    max_bytes: int = MAX_UNPACKED_BYTES,
    max_ratio: int = MAX_UNPACKED_RATIO,
    progress: bool = False,
) -> Path:
    """Unpacks a zip or tar file into `target`, a folder that must not exist yet; it appears whole
    or not at all.

    Every member is checked before the first is written: absolute paths, `..`, links, devices,
    doubles, more than `max_bytes` in all or `max_ratio` times the archive's size raise
    `UnsafeFile`; damage raises `BadFile`.
    """
    archive, target = Path(archive), Path(target)
    if not os.path.isfile(archive):
        raise MissingFile("no such archive", file=archive)
    if target.exists():
        raise BadParameter(
            "the target exists already", file=target, remedy="remove it, or name another folder"
        )
    total = _refuse(archive, max_bytes, max_ratio)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as folder:
        content = Path(folder) / "content"
        content.mkdir()
        quiet = not progress or total < _BAR_FROM_BYTES
        bar = tqdm(total=total, unit="B", unit_scale=True, desc=archive.name, disable=quiet)
        with bar, _members(archive) as members:
            for member in members:
                path = content / member.name
                (path if member.kind == "folder" else path.parent).mkdir(
                    parents=True, exist_ok=True
                )
                if member.kind == "file":
                    with member.open() as source, path.open("xb") as sink:
                        shutil.copyfileobj(source, sink, _CHUNK)
                bar.update(member.size)
        os.replace(content, target)
    return target
