from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.data import matlab
from workbench.data.matlab import read_variables
from workbench.errors import BadFile, EmptyFile, MissingFile, WorkbenchError


def structure(**columns):
    """A MATLAB array of structures, 1 x n."""
    n = len(next(iter(columns.values())))
    array = np.empty((1, n), dtype=[(name, object) for name in columns])
    for name, values in columns.items():
        for i, value in enumerate(values):
            array[0, i][name] = value
    return array


def saved(compressed=False, **variables):
    stream = io.BytesIO()
    scipy.io.savemat(stream, variables, do_compression=compressed)
    return stream.getvalue()


VALUES = {
    "number": np.arange(30.0).reshape(2, 3, 5) / 7,
    "counts": np.array([[1, -2], [3, 4]], np.int16),
    "flags": np.array([[True, False]]),
    "text": "Übung",
    "people": structure(
        id=[3, 5], name=["a", ""], at=[structure(x=[1.5], y=[2]), np.zeros((0, 0))]
    ),
}


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes_is_read(tmp_path, compressed):
    path = tmp_path / "a.mat"
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = "x", np.eye(3)
    path.write_bytes(saved(compressed, **VALUES, cells=cells))
    found = read_variables(path)
    for name in ("number", "counts", "flags"):
        np.testing.assert_array_equal(found[name], VALUES[name])
    assert found["number"].dtype == np.float64 and found["counts"].dtype == np.int16
    assert (
        found["text"] == "Übung" and found["cells"][0] == "x" and found["cells"][1].shape == (3, 3)
    )
    first, second = found["people"]
    assert (first["id"].item(), first["name"], second["name"]) == (3, "a", "")
    assert first["at"][0]["x"].item() == 1.5 and second["at"].shape == (0, 0)


def element(kind, body):
    return struct.pack(">II", kind, len(body)) + body + b"\0" * (-len(body) % 8)


def test_the_other_byte_order(tmp_path):
    parts = (
        element(6, struct.pack(">II", 6, 0))
        + element(5, struct.pack(">ii", 1, 2))
        + element(1, b"x")
    )
    array = element(14, parts + element(9, struct.pack(">dd", 2.5, -7)))
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\1\0MI" + array)
    np.testing.assert_array_equal(read_variables(path)["x"], [[2.5, -7]])


def nested(depth):
    """A cell in a cell in a cell."""
    head = (
        struct.pack("<IIII", 6, 8, 1, 0)
        + struct.pack("<IIii", 5, 8, 1, 1)
        + struct.pack("<II", 1, 0)
    )
    size, heads = 0, []
    for _ in range(depth):
        size += len(head)
        heads.append(struct.pack("<II", 14, size) + head)
        size += 8
    return b"MATLAB 5.0".ljust(124) + b"\0\1IM" + b"".join(reversed(heads))


def test_damaged_and_hostile_files_are_named(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    good = saved(x=np.zeros((3, 5)))
    wide = bytearray(good)
    at = good.index(struct.pack("<ii", 3, 5))
    cases = {
        "truncated.*cut off": good[:-9],
        "versions 5 to 7.2": b"MATLAB 7.3".ljust(124) + b"\0\2IM",
        "not a MATLAB file": b"\x89HDF",
        "nested too deeply": nested(100_000),
        "class 5,": saved(x=scipy.sparse.eye_array(3, format="csc")),
        "class 6, or of complex": saved(x=np.array([1j])),
    }
    for text, raw in cases.items():
        path.write_bytes(raw)
        with pytest.raises(BadFile, match=text):
            read_variables(path)
    for shape in ((2**31 - 1, 2**31 - 1), (-3, -5), (3, 4)):
        wide[at : at + 8] = struct.pack("<ii", *shape)
        path.write_bytes(wide)
        with pytest.raises(BadFile, match="truncated, or not a MATLAB file"):
            read_variables(path)
    wide[at : at + 8] = struct.pack("<ii", 2**30, 0)
    path.write_bytes(wide)
    assert read_variables(path)["x"].shape == (0, 0)
    bomb = zlib.compress(bytes(2**22))
    path.write_bytes(good[:128] + struct.pack("<II", 15, len(bomb)) + bomb)
    monkeypatch.setattr(matlab, "MAX_UNPACKED_BYTES", 2**20)
    with pytest.raises(BadFile, match="unpacks to more than"):
        read_variables(path)
    path.write_bytes(b"")
    with pytest.raises(EmptyFile):
        read_variables(path)
    with pytest.raises(MissingFile):
        read_variables(tmp_path / "none.mat")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    where=st.floats(0, 1),
    new=st.binary(max_size=8),
    removed=st.integers(0, 8),
    compressed=st.booleans(),
)
def test_mutated_files_end_as_named_errors(tmp_path, where, new, removed, compressed):
    raw = saved(compressed, **VALUES)
    at = int(where * len(raw))
    path = tmp_path / "a.mat"
    path.write_bytes(raw[:at] + new + raw[at + removed :])
    try:
        read_variables(path)
    except WorkbenchError:
        pass
