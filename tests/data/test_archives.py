"""Archives: unpacked whole, or refused whole with nothing written."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest

from workbench.data.archives import unpack
from workbench.errors import BadFile, BadParameter, MissingFile, UnsafeFile, WorkbenchError


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in members:
            if isinstance(content, bytes):
                z.writestr(zipfile.ZipInfo(name) if name.endswith("/") else name, content)
            else:
                info = zipfile.ZipInfo(name)
                info.create_system, info.external_attr = 3, (content | 0o777) << 16
                z.writestr(info, "/etc/passwd")
    return path


def make_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as t:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                t.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content.encode(), "../outside"
                t.addfile(info)
    return path


GOOD = [("in/a.txt", b"hello"), ("in/deep/b.bin", b"\0\1"), ("c", b"")]


@pytest.mark.parametrize("kind", ["zip", "w:gz", "w:bz2", "w:xz", "w"])
def test_unpack(tmp_path, kind):
    archive = tmp_path / "x.archive"
    (make_zip(archive, GOOD) if kind == "zip" else make_tar(archive, GOOD, kind))
    target = unpack(archive, tmp_path / "deep" / "target")
    assert {
        str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()
    } == dict(GOOD)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["target"]
    with pytest.raises(BadParameter, match="exists already"):
        unpack(archive, target)


ESCAPES = [
    "../out.txt",
    "in/../../out.txt",
    "/tmp/abs.txt",
    "..\\out.txt",
    "C:\\out.txt",
    "C:/out.txt",
    "..",
]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_paths_that_climb_out_refuse_the_whole_archive(tmp_path, make, name):
    archive = make(tmp_path / "x", [*GOOD, (name, b"evil")])
    with pytest.raises(UnsafeFile, match="leaves the target folder") as caught:
        unpack(archive, tmp_path / "sub" / "target")
    assert caught.value.record == repr(name)
    assert [p.name for p in tmp_path.rglob("*")] == ["x"]  # not even the folder above was made


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_zip, stat.S_IFLNK),
        (make_zip, stat.S_IFIFO),
        (make_tar, tarfile.SYMTYPE.decode()),
        (make_tar, tarfile.LNKTYPE.decode()),
        (make_tar, tarfile.CHRTYPE.decode()),
        (make_tar, tarfile.FIFOTYPE.decode()),
    ],
)
def test_links_and_devices_refuse_the_whole_archive(tmp_path, make, kind):
    archive = make(tmp_path / "x", [*GOOD, ("in/link", kind)])
    with pytest.raises(UnsafeFile, match=r"'in/link'.*is a link or device"):
        unpack(archive, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_bombs_and_doubles_refuse_the_whole_archive(tmp_path, make):
    archive = make(tmp_path / "x", [*GOOD, ("zeros", b"\0" * 5_000_000)])
    with pytest.raises(UnsafeFile, match="above 200 times"):
        unpack(archive, tmp_path / "target")
    with pytest.raises(UnsafeFile, match="above 4999999 bytes"):
        unpack(archive, tmp_path / "target", max_bytes=4_999_999, max_ratio=10**9)
    assert not (tmp_path / "target").exists()
    assert unpack(archive, tmp_path / "target", max_ratio=10**9).is_dir()
    with pytest.raises(UnsafeFile, match="stands twice"):
        unpack(make_tar(tmp_path / "y", [("a", b"1"), ("./a", b"2")]), tmp_path / "target2")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_damaged_archives_leave_nothing(tmp_path, make):
    raw = make(tmp_path / "x", [("a", bytes(range(256)) * 7), ("b", b"2" * 99)]).read_bytes()
    for cut in (0, 10, len(raw) // 2, len(raw) - 9):
        (tmp_path / "cut").write_bytes(raw[:cut])
        with pytest.raises(BadFile, match="cut"):
            unpack(tmp_path / "cut", tmp_path / "target")
        assert {p.name for p in tmp_path.iterdir()} == {"x", "cut"}
    clash = make(tmp_path / "clash", [("a", b"1"), ("a/b", b"2")])
    with pytest.raises(BadFile, match="clash"):
        unpack(clash, tmp_path / "target")
    assert {p.name for p in tmp_path.iterdir()} == {"x", "cut", "clash"}
    with pytest.raises(MissingFile):
        unpack(tmp_path / "none", tmp_path / "target")


def test_flipped_bytes_end_as_named_errors(tmp_path, rng):
    for make in (make_zip, make_tar):
        raw = make(tmp_path / "x", GOOD).read_bytes()
        for i in range(100):
            bad = bytearray(raw)
            for at in rng.integers(0, len(raw), 3):
                bad[at] = rng.integers(0, 256)
            (tmp_path / "bad").write_bytes(bad)
            try:
                unpack(tmp_path / "bad", tmp_path / f"{make.__name__}{i}")
            except WorkbenchError:
                assert not (tmp_path / f"{make.__name__}{i}").exists()


@pytest.mark.realdata
def test_the_bad_archive_is_refused(data_root, tmp_path):
    with pytest.raises(UnsafeFile, match="pose_zip_escape_shared"):
        unpack(data_root / "bad" / "path_traversal.zip", tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
