"""Small or empty files that ask for hours or gigabytes are refused within seconds and megabytes."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
import tarfile
import time

import pytest

from workbench.data import archives, safe
from workbench.data.archives import safe_members, unpack
from workbench.data.results import tables
from workbench.errors import BadFile, BadParameter, UnsafeFile

ZEROS = 2**30
SECONDS = 20
MEGABYTES = 900  # of the whole process; the package itself takes some 100


def zeros(path, n=ZEROS):
    """A file of zeros that takes no room."""
    with open(path, "wb") as file:
        file.truncate(n)
    return path


def long_names(path):
    """2 MB that state headers of 2 GB beside a member."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**31
    with gzip.open(path, "wb", 1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(2**31 // 2**22):
            file.write(bytes(2**22))
    return path


def many_members(path, n=3_000_000):
    """A zip whose list names as many members, none of them there."""
    entry = b"PK\1\2" + bytes(24) + b"\1\0" + bytes(16) + b"a"
    end = b"PK\5\6" + bytes(8) + (len(entry) * n).to_bytes(4, "little") + bytes(6)
    path.write_bytes(entry * n + end)
    return path


def colliding(path):
    """60,000 keys of one hash."""
    numbers = (pickle.encode_long(i * (2**61 - 1)) for i in range(1, 60_001))
    keys = b"".join(pickle.LONG1 + bytes([len(n)]) + n + pickle.NONE for n in numbers)
    start = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK
    path.write_bytes(start + keys + pickle.SETITEMS + pickle.STOP)
    return path


CASES = {
    "zip of zeros": (lambda p: zeros(p / "a.zip"), "list(archives.safe_members(path))"),
    "zip of members": (lambda p: many_members(p / "a.zip"), "list(archives.safe_members(path))"),
    "csv of zeros": (lambda p: zeros(p / "a.csv"), "tables.read_table(path)"),
    "json of zeros": (lambda p: zeros(p / "a.json"), "safe.read_json(path)"),
    "long names": (lambda p: long_names(p / "a.tar.gz"), "list(archives.safe_members(path))"),
    "colliding keys": (lambda p: colliding(p / "a.pkl"), "safe.safe_unpickle(path)"),
}
CODE = r"""
import pathlib, re, sys, time
from workbench.data import archives, safe
from workbench.data.results import tables
from workbench.errors import WorkbenchError
path, start = pathlib.Path(sys.argv[1]), time.monotonic()
try:
    {call}
except WorkbenchError as error:
    print(type(error).__name__, time.monotonic() - start)
    # of this program, not of who started it, whose peak getrusage tells
    print(int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is in other units")
@pytest.mark.parametrize("kind", CASES)
def test_hostile_files_cost_seconds_and_megabytes(tmp_path, kind):
    make, call = CASES[kind]
    command = [sys.executable, "-c", CODE.format(call=call), str(make(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * SECONDS)
    (name, seconds), (peak,) = map(str.split, done.stdout.splitlines())
    assert name in ("BadFile", "UnsafeFile"), done.stderr
    assert float(seconds) < SECONDS and int(peak) < MEGABYTES, (seconds, peak)


def test_tables_and_trees_have_a_limit_that_can_be_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_CELLS", 10)
    monkeypatch.setattr(safe, "MAX_CONTAINERS", 4)
    table, tree = tmp_path / "a.csv", tmp_path / "a.json"
    table.write_text("a,b\n" + "1,2\n" * 5)
    tree.write_text("[[],[],[],[]]")
    for read, path in ((tables.read_table, table), (safe.read_json, tree)):
        with pytest.raises(BadFile, match=r"more than .*WORKBENCH_LIMITS=4"):
            read(path)
        monkeypatch.setenv("WORKBENCH_LIMITS", "4")
        assert len(read(path)) > 3
        monkeypatch.setenv("WORKBENCH_LIMITS", "many")
        with pytest.raises(BadParameter, match="WORKBENCH_LIMITS"):
            read(path)
        monkeypatch.delenv("WORKBENCH_LIMITS")


def test_archives_without_members_or_with_endless_names_are_refused(tmp_path, monkeypatch):
    empty = tmp_path / "empty.tar.gz"
    empty.write_bytes(gzip.compress(bytes(2**20)))
    with pytest.raises(BadFile, match="without members"):
        unpack(empty, tmp_path / "out")
    with tarfile.open(tmp_path / "long.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("a/" * 3_000))
    with pytest.raises(UnsafeFile, match="more than 4096 characters"):
        list(safe_members(tmp_path / "long.tar"))
    monkeypatch.setattr(archives, "MAX_NAMES", 100)
    with tarfile.open(tmp_path / "many.tar", "w") as archive:
        for i in range(30):
            archive.addfile(tarfile.TarInfo(f"member_{i:03d}"))
    with pytest.raises(UnsafeFile, match="all names above 100"):
        list(safe_members(tmp_path / "many.tar"))


def test_honest_dicts_with_many_number_keys_are_read(tmp_path):
    start, frames = time.monotonic(), {i: float(i) for i in range(200_000)}
    frames |= {(i, -1): i for i in range(1000)} | {-1: 1, -2: 2, 0.5: 3}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(frames))
    assert safe.safe_unpickle(tmp_path / "a.pkl") == frames
    assert time.monotonic() - start < SECONDS
