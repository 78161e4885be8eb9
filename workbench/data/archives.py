"""Zip and tar files: listed member by member, refused as a whole where one is unsafe, unpacked."""

from __future__ import annotations

import contextlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from tqdm.auto import tqdm

from ..errors import BadFile, BadParameter, MissingFile, UnsafeFile
from ..outputs import check_room, folder_beside, named_errors, put
from .safe import LIMITS, limit

MAX_UNPACKED_BYTES = 100 * 2**30
MAX_UNPACKED_RATIO = 200  # unpacked over packed; annotations reach about 20, a bomb 1,000 and more
MAX_MEMBERS = 2_000_000
MAX_NAME = 4_096  # characters of a member's name, and its parents'
MAX_NAMES = 2**28  # of all of them
MAX_HEADER_BYTES = 2**20  # of what a tar file says beside a member: long names, extended headers
BAR_FROM_BYTES = 64 * 2**20  # less is done before a bar could be read
_RATIO_FREE_BYTES = 2**20  # below this size no ratio is too large
_AFTER_BYTES = 2**26  # what may follow the last member of a tar file; writers pad by some kB
_CHUNK = 2**20
_ZIP_TAIL = 2**17  # bytes at a zip's end: its last record, a comment of at most 64 KiB, zip64's
# what zipfile and tarfile raise for damaged archives, as fuzzing showed
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # NotImplementedError too
    ValueError,
    LookupError,
    OverflowError,
    MemoryError,
)


DISTRUST = "do not trust this archive; get it from its publisher"
RAISE = f"get it from its publisher; where you trust it, {LIMITS}=4 raises the limits"


def leaves_root(path: str) -> bool:
    """Whether a path of a manifest or archive is anything but a plain path below its root."""
    pure = PurePosixPath(path)
    odd = any(c in path for c in "\\\0") or path[1:2] == ":"
    return odd or not pure.parts or pure.is_absolute() or ".." in pure.parts


class Member(NamedTuple):
    """A file or folder in an archive, not unpacked."""

    name: str
    size: int  # bytes, unpacked, as the archive states it
    kind: str  # "file", "folder", or what makes it unsafe
    open: Callable[[], IO[bytes]]


def _check_zip(archive: Path) -> None:
    """Before zipfile makes an object of each member that the file's own list names."""
    with open(archive, "rb") as file:
        tail_at = max(file.seek(0, os.SEEK_END) - _ZIP_TAIL, 0)
        file.seek(tail_at)
        tail = file.read()
        end = tail.rfind(b"PK\5\6")
        size = int.from_bytes(tail[end + 12 : end + 16], "little")
        if size == 2**32 - 1:  # stands in the record of larger files, which ends right before
            record = tail.rfind(b"PK\6\6", 0, end)
            size = int.from_bytes(tail[record + 40 : record + 48], "little")
            end = record
        if size > limit(MAX_NAMES):
            raise UnsafeFile(f"a list of members of {size} bytes", file=archive, remedy=RAISE)
        file.seek(max(tail_at + end - size, 0))
        members = file.read(size).count(b"PK\1\2")
    if members > (most := int(limit(MAX_MEMBERS))):
        raise UnsafeFile(f"{members} members, at most {most} are read", file=archive, remedy=RAISE)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = stat.S_IFMT(info.external_attr >> 16)
        kind = "folder" if info.is_dir() else "file"
        if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "link or device"
        yield Member(info.filename, info.file_size, kind, lambda info=info: archive.open(info))


class _Bounded(tarfile.TarInfo):
    """As tarfile's, which believes any length that is stated of what stands beside a member."""

    _BESIDE = (
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
    )

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in self._BESIDE and self.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(archive)


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        archive.members = []  # or all are kept
        kind = "folder" if info.isdir() else "file" if info.isreg() else "link or device"
        yield Member(info.name, info.size, kind, lambda info=info: archive.extractfile(info))
    left = _AFTER_BYTES
    # on to the compressor's own checksum, which tarfile leaves unread
    while chunk := archive.fileobj.read(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise tarfile.ReadError(f"more than {_AFTER_BYTES} bytes follow the last member")


COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # gzip, bz2, xz, zstd


def _check_tar(archive: Path) -> None:
    """Before tarfile looks for a header in gigabytes of something else."""
    with open(archive, "rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    if not head.startswith(COMPRESSED):
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")  # of the first member


@contextlib.contextmanager
def open_archive(archive: Path) -> Iterator[Iterator[Member]]:
    """The members of a zip or tar file, whatever it is compressed with; damage becomes
    `BadFile`.
    """
    try:
        if zipfile.is_zipfile(archive):
            _check_zip(archive)
            with zipfile.ZipFile(archive) as opened:
                yield _zip_members(opened)
        else:
            _check_tar(archive)
            with tarfile.open(archive, tarinfo=_Bounded) as opened:
                yield _tar_members(opened)
    except _DAMAGE as error:
        # tarfile goes on with all that it tried
        detail = str(error).partition("\n")[0] or type(error).__name__
        raise BadFile(f"cannot be unpacked as a zip or tar file: {detail}", file=archive) from None


def safe_members(
    archive: Path, max_bytes: int = MAX_UNPACKED_BYTES, max_ratio: int = MAX_UNPACKED_RATIO
) -> Iterator[Member]:
    """The members of an archive one by one, as long as they may be unpacked; only the list of
    them is read.

    Errors: `UnsafeFile` at the first member that must not be unpacked, `BadFile`.
    """
    packed, total, letters = archive.stat().st_size, 0, 0
    max_bytes, max_ratio, most = (limit(n) for n in (max_bytes, max_ratio, MAX_MEMBERS))
    names = set()
    with open_archive(archive) as members:
        for member in members:
            total, letters = total + member.size, letters + len(member.name)
            name = str(PurePosixPath(member.name))
            if name != "." or member.kind != "folder":
                unsafe = {
                    "leaves the target folder": leaves_root(member.name),
                    f"is a {member.kind}": member.kind not in ("file", "folder"),
                    "stands twice in the archive": name in names and member.kind == "file",
                }
                large = {
                    f"has a name of more than {MAX_NAME} characters": len(name) > MAX_NAME,
                    f"brings all names above {MAX_NAMES} characters": letters > limit(MAX_NAMES),
                    f"brings the unpacked size above {max_bytes:.0f} bytes": total > max_bytes,
                    f"brings the unpacked size above {max_ratio:.0f} times the archive's {packed} "
                    "bytes": total > max(_RATIO_FREE_BYTES, max_ratio * packed),
                    f"is one more than {most:.0f} members": len(names) >= most,
                }
                for problems, remedy in ((unsafe, DISTRUST), (large, RAISE)):
                    if problem := next((text for text, holds in problems.items() if holds), None):
                        problem = f"refused as a whole, nothing was written: member {problem}"
                        record = repr(member.name)
                        raise UnsafeFile(problem, file=archive, record=record, remedy=remedy)
                names.add(name)
            yield member
    if not names and not zipfile.is_zipfile(archive):
        raise BadFile("a tar file without members", file=archive)


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
    total = sum(member.size for member in safe_members(archive, max_bytes, max_ratio))
    check_room(target, total)
    with folder_beside(target) as folder:
        content = folder / "content"
        content.mkdir()
        quiet = not progress or total < BAR_FROM_BYTES
        bar = tqdm(total=total, unit="B", unit_scale=True, desc=archive.name, disable=quiet)
        with bar, open_archive(archive) as members:
            for member in members:
                _write(member, content / member.name)
                bar.update(member.size)
        put(content, target)
    return target


def _write(member: Member, path: Path) -> None:
    if member.kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, path.open("xb") as sink:
        with named_errors(path, member.size):
            shutil.copyfileobj(source, sink, _CHUNK)
