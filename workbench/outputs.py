"""The one door through which files are written.

Everything is made beside its place, synced and put there whole: a reader sees all or nothing. What
is there already may be the user's and stays; who writes over what is its own (a cache, a run's
record) says so. A full disk, missing rights and the like are named errors.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from .errors import BadParameter, Busy, CannotWrite, Taken

# folders of what is being written: host and process are told by the name, so that what a killed
# process has left is known as nobody's
HOST = f"{zlib.crc32(platform.node().encode()):08x}"
BESIDE = re.compile(rf"\.workbench-{HOST}-(\d+)-\w+")

MANY = 64  # files from which on all of the system's are synced at once, which is faster

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
PROBLEMS = {
    errno.EFBIG: ("the file would be larger than is allowed here", "raise the limit (ulimit -f)"),
    errno.EACCES: ("this user may not write there", "choose another place"),
    errno.EPERM: ("this user may not write there", "choose another place"),
    errno.EROFS: ("that disk can only be read", "choose another place"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs"),
    errno.ENAMETOOLONG: ("its name is too long", "choose a shorter one"),
    errno.ENOTDIR: ("a part of its path is a file", "choose another place"),
    errno.EEXIST: ("a part of its path is a file", "choose another place"),
    errno.EISDIR: ("is a folder", "name a file"),
    errno.EIO: ("the disk took less than it was given", "look after it, or choose another place"),
    errno.ELOOP: ("its path is a link that leads nowhere", "choose another place"),
}


# of numpy and torch, which tell that a write fell short, and not why
FELL_SHORT = re.compile(r"\d+ requested and \d+ written|unexpected pos \d+|file write failed")


def free_bytes(path: Path) -> int:
    """Of the disk where a path lies or would lie."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def _errno_of(error: Exception, path: Path) -> int | None:
    """Libraries in other languages tell the number in words, or nothing at all."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if told := re.search(r"os error (\d+)", str(error)):
        return int(told[1])
    if free_bytes(path) < 2**16:
        return errno.ENOSPC
    return errno.EIO if FELL_SHORT.search(str(error)) else None


@contextmanager
def named_errors(path: Path, wanted: int | None = None) -> Iterator[None]:
    """What keeps a file from being written, as `CannotWrite`; wanted: its bytes, where known."""
    try:
        yield
    except (FileNotFoundError, CannotWrite):
        raise
    except Exception as error:
        number = _errno_of(error, path)
        if number in NO_ROOM:
            room = f"no space is left: {free_bytes(path):,} bytes are free"
            room += f", {wanted:,} were wanted" if wanted else ""
            remedy = "make room, or choose another disk"
            raise CannotWrite(f"{room}; nothing was written", file=path, remedy=remedy) from error
        if number not in PROBLEMS:
            raise
        problem, remedy = PROBLEMS[number]
        raise CannotWrite(f"{problem}; nothing was written", file=path, remedy=remedy) from error


# --- places ---------------------------------------------------------------------------------------


def taken(path: Path) -> Taken:
    """The error for a place where something is already."""
    return Taken("is there already", file=path, remedy="name a new one, or remove it first")


def check_new(path: Path, *, over: bool = False) -> None:
    """Refuses a file that cannot be written before work starts, not after it; makes its folder.

    over: what is there may be replaced.
    """
    path = Path(path)
    if path.is_dir():
        raise BadParameter("is a folder", file=path, remedy="name a file")
    if os.path.lexists(path) and not over:
        raise taken(path)
    with named_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise CannotWrite("its folder cannot be written", file=path, remedy="choose another place")


def free_name(path: Path) -> Path:
    """The path itself, or with the first number from 2 on that nothing has."""
    name, number = path, 2
    while os.path.lexists(name):
        name = path.with_name(f"{path.stem}_{number}{path.suffix}")
        number += 1
    return name


def check_room(path: Path, wanted: int) -> None:
    """Refuses what the disk has no room for, before it is begun; wanted: bytes."""
    with named_errors(path, wanted):
        if free_bytes(path) < wanted:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- writing --------------------------------------------------------------------------------------


def _is_dead(name: str) -> bool:
    found = BESIDE.fullmatch(name)
    return found is not None and not psutil.pid_exists(int(found[1]))


def leftovers(folder: Path) -> list[Path]:
    """What killed processes of this machine were writing in a folder."""
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if _is_dead(entry.name)]


_swept: set[Path] = set()


def _sweep(folder: Path) -> None:
    """Removes these once a process and folder, and names them."""
    if folder in _swept:
        return
    _swept.add(folder)
    for left in leftovers(folder):
        shutil.rmtree(left, ignore_errors=True)
        print(f"removed {left}, which a killed process has left", file=sys.stderr)


@contextmanager
def folder_beside(place: Path) -> Iterator[Path]:
    """An empty folder of our own in the same folder as the place, which is made; afterwards gone
    with all that was not moved out of it.
    """
    place = Path(place)
    with named_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place.parent.resolve())
        prefix = f".workbench-{HOST}-{os.getpid()}-"
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that has no such thing
            raise
    finally:
        os.close(handle)


def _settle(part: Path) -> None:
    """On disk, with the rights that files of this user have: some libraries write files, and
    `mkdtemp` folders, that only their owner can read.
    """
    umask = os.umask(0)
    os.umask(umask)
    every = [part, *part.rglob("*")] if part.is_dir() else [part]
    for path in every:
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
    if len(every) > MANY:
        os.sync()
        return
    for path in every:
        _sync(path)


def put(part: Path, path: Path, *, over: bool = False) -> None:
    """Moves a file or folder of the same disk, synced, to its place.

    over: a file that is there is replaced. Errors: `CannotWrite`, `Taken` where something is there.
    """
    with named_errors(path):
        _settle(part)
        if over:
            os.replace(part, path)
        elif part.is_dir():
            try:
                os.rename(part, path)
            except OSError:
                if os.path.lexists(path):
                    raise taken(path) from None
                raise
        else:
            _link(part, path)
        _sync(path.parent)


def _link(part: Path, path: Path) -> None:
    """Not by a rename, which would replace what somebody put there a moment ago."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise taken(path) from None
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise taken(path) from None
        os.replace(part, path)


def write_beside(path: Path, write: Callable[[Path], object], *, over: bool = False) -> Path:
    """Calls write(temporary path of the same ending on the same disk), and puts what it wrote to
    its place; that.

    over: what is there is ours and replaced. Errors: `CannotWrite`.
    """
    path = Path(path)
    if path.is_dir():
        raise BadParameter("is a folder", file=path, remedy="name a file")
    if os.path.lexists(path) and not over:
        raise taken(path)
    with folder_beside(path) as folder:
        part = folder / path.name
        with named_errors(path):
            write(part)
        put(part, path, over=over)
    return path


def write_text(path: Path, text: str, *, over: bool = False) -> Path:
    """UTF-8, lines as they are; else as `write_beside`."""
    content = text.encode("utf-8")
    return write_beside(path, lambda part: part.write_bytes(content), over=over)


# --- one at a time --------------------------------------------------------------------------------


@contextmanager
def alone(place: Path, what: str, *, wait: bool = True) -> Iterator[None]:
    """Nobody else who asks this of the same place is inside: others wait, and say for whom.

    The lock is the system's, and gone with its owner. place: a file or folder, there or not; the
    lock lies beside it. what: is done there, for the line that says who waits. wait: or raise
    `Busy`.
    """
    lock = place.with_name(f".{place.name}.lock")
    with named_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = f"{what} by {file.read(100) or 'another process'} is under way"
            if not wait:
                remedy = "wait for it, or end it"
                raise Busy(told, file=place, remedy=remedy) from None
            print(f"{place}: {told}; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield
