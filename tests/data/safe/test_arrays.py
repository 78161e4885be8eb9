"""Made files: npz and npy as numpy writes them, whole, damaged, and hostile."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.data.checks import numbers_of, texts_of
from workbench.data.safe import arrays
from workbench.data.safe.arrays import read_npy, read_npz
from workbench.errors import BadFile, BadRecord, EmptyFile, MissingFile, UnsafeFile, WorkbenchError


def ragged():
    out = np.empty(3, object)
    out[:] = [np.arange(n * 5.0).reshape(n, 5) for n in (2, 3, 7)]
    return out


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def pack(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name + ".npy", raw)
    return path


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.eye(3, 5)),
        np.array(["a", "bcd"]),
        np.float32(7),
    ],
)
def test_plain_arrays_come_as_numpy_wrote_them(tmp_path, array):
    np.savez(tmp_path / "a.npz", x=array, y=ragged())
    found = read_npz(tmp_path / "a.npz", ("x",), ("z",))
    np.testing.assert_array_equal(found["x"], array)
    assert list(found) == ["x"]
    (tmp_path / "a.npy").write_bytes(npy(array))
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), array)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_objects_come_as_lists_where_they_are_asked_for(tmp_path, protocol):
    header = npy(ragged())
    raw = header[: header.index(b"\n") + 1] + pickle.dumps(ragged(), protocol)
    path = pack(tmp_path / "a.npz", x=raw)
    found = read_npz(path, ("x",), objects=True)["x"]
    assert type(found) is list
    for got, want in zip(found, ragged(), strict=True):
        np.testing.assert_array_equal(got, want)
    with pytest.raises(BadFile, match="x: holds Python objects"):
        read_npz(path, ("x",))


def test_nothing_is_run(tmp_path):
    header = npy(ragged())
    raw = (
        header[: header.index(b"\n") + 1]
        + b"cposix\nsystem\n(S'touch "
        + bytes(tmp_path)
        + b"/ran'\ntR."
    )
    with pytest.raises(UnsafeFile, match="system"):
        read_npz(pack(tmp_path / "a.npz", x=raw), ("x",), objects=True)
    assert not (tmp_path / "ran").exists()


def test_refusals(tmp_path):
    with pytest.raises(MissingFile):
        read_npz(tmp_path / "no.npz", ("x",))
    (tmp_path / "empty.npz").touch()
    with pytest.raises(EmptyFile):
        read_npz(tmp_path / "empty.npz", ("x",))
    with pytest.raises(BadFile, match="lacks y, z; it holds x"):
        read_npz(pack(tmp_path / "a.npz", x=npy(np.eye(2))), ("x", "y", "z"))
    with pytest.raises(BadFile, match="unpack to 67108865"):
        read_npz(pack(tmp_path / "bomb.npz", x=bytes(2**26 + 1)), ("x",))
    header = npy(np.zeros(3)).replace(b"(3,)", b"(9**", 1)
    with pytest.raises(BadFile, match="not an npy array"):
        read_npz(pack(tmp_path / "a.npz", x=header), ("x",))
    huge = (
        npy(np.zeros((3, 1)))
        .replace(b"(3, 1), }", b"(3, 9" + b"9" * 12 + b"), }")
        .replace(b" " * 12, b"", 1)
    )
    (tmp_path / "huge.npy").write_bytes(huge)  # 24 TB by its header
    with pytest.raises(BadFile):
        read_npy(tmp_path / "huge.npy")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    st.integers(0, 1000),
)
def test_mutated_objects_end_in_named_errors(tmp_path_factory, changes, cut):
    raw = bytearray(npy(ragged()))
    for at, value in changes:
        raw[at % len(raw)] = value
    # the checksum fits
    path = pack(tmp_path_factory.getbasetemp() / "mutated.npz", x=bytes(raw[: len(raw) - cut]))
    try:
        read_npz(path, ("x",), objects=True)
    except WorkbenchError as error:
        assert "mutated.npz" in str(error)


def test_numbers_of(rng):
    where = {"file": "f", "record": "r"}
    np.testing.assert_array_equal(
        numbers_of(np.eye(2, dtype=np.uint8), "x", (2, None), **where), np.eye(2)
    )
    np.testing.assert_array_equal(
        numbers_of([[1, 2.5]], "x", (1, 2), tree=True, **where), [[1, 2.5]]
    )
    np.testing.assert_array_equal(
        numbers_of(np.array([1, np.nan]), "x", (2,), gaps=True, **where), [1, np.nan]
    )
    np.testing.assert_array_equal(
        numbers_of(np.array([[1, 2]], object), "x", (1, 2), **where), [[1, 2]]
    )
    itself = []
    itself.append(itself)
    for value, match in (
        (None, "x is missing"),
        (itself, "not an array of numbers"),
        (np.array(["a"]), "not an array of numbers"),
        (np.array([itself, 3], object), "not an array of numbers"),
        (np.zeros((2, 2)), r"x has shape \(2, 2\), \(any\) expected"),
        (np.array([1e39]), "not finite"),
        (np.array([np.inf]), r"not finite at \(0,\)"),
    ):
        with pytest.raises(BadRecord, match=f"BadRecord: f, r: .*{match}"):
            numbers_of(value, "x", (None,), **where)


def test_texts_of():
    assert texts_of(np.array([b"a", b"\xdc"]), "x") == ["a", "Ü"] and texts_of(["b"], "x") == ["b"]
    for value in ("abc", None, [1], np.array([["a"]])):
        with pytest.raises(BadRecord, match="x is no list of text"):
            texts_of(value, "x")


def test_limits_are_far_above_what_is_published():
    assert arrays.MAX_ARRAY_BYTES > 5_916_474 * 14 * 3 * 8  # AIST++ training joints, float64
