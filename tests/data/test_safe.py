"""Files of others: what is plain survives, what is damaged or hostile is refused and never runs."""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.data import safe
from workbench.data.checks import numbers_of, texts_of
from workbench.data.results import read_detections
from workbench.data.safe import read_npy, read_npz, safe_unpickle
from workbench.errors import BadFile, BadRecord, EmptyFile, MissingFile, UnsafeFile, WorkbenchError

# --- pickles --------------------------------------------------------------------------------------


def write(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_and_arrays_survive(tmp_path, protocol):
    content = {
        ("S1", "54138969"): {
            "R": np.arange(6.0).reshape(2, 3),
            "F": np.asfortranarray(np.arange(6).reshape(2, 3)),
        },
        "scalar": np.float64(2.5),
        "text": np.array(["a", "bcd"]),
        "big": np.arange(5, dtype=">i4"),
        "flag": (True, None, -7, 1 << 70, b"\xff", "\xfc"),
        "empty": np.zeros((0, 7), np.int16),
    }
    found = safe_unpickle(write(tmp_path / "c.pkl", content, protocol))
    assert found["flag"] == content["flag"] and found["scalar"] == 2.5
    for key in ("text", "big", "empty"):
        np.testing.assert_array_equal(found[key], content[key])
        assert found[key].dtype.newbyteorder("=") == content[key].dtype.newbyteorder("=")
        assert found[key].shape == content[key].shape
    for key in "RF":
        np.testing.assert_array_equal(found["S1", "54138969"][key], content["S1", "54138969"][key])
    assert found["big"].astype(int).tolist() == [0, 1, 2, 3, 4]


def test_a_dtype_of_the_file_never_changes_numpys_own(tmp_path):
    hostile = (  # dtype("f8", False, False) is numpy's shared one; BUILD would turn its byte order
        b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x89\x87R(K\x03X\x01\x00\x00\x00>NNNJ\xff\xff\xff\xffJ"
        b"\xff\xff\xff\xffK\x00tb."
    )
    (tmp_path / "d.pkl").write_bytes(hostile)
    assert safe_unpickle(tmp_path / "d.pkl") == np.dtype(">f8")
    assert np.dtype("f8") == np.dtype("<f8") and np.zeros(1)[0] == 0


class _Reduce:
    def __init__(self, *value):
        self.value = value

    def __reduce__(self):
        return self.value


def _marker_calls(marker):
    command = f"touch {marker}"
    return {
        "os.system": _Reduce(os.system, (command,)),
        "eval": _Reduce(eval, (f"open({str(marker)!r}, 'w')",)),
        "exec": _Reduce(exec, (f"open({str(marker)!r}, 'w')",)),
        "getattr": _Reduce(builtins.getattr, (str, "join")),
        "numpy.load": _Reduce(np.load, (str(marker), None, True)),
        "nested": [{"preds": _Reduce(np.dtype, (_Reduce(os.system, (command,)),))}],
        "as state": _Reduce(np.ndarray, (1,), {"x": _Reduce(os.system, (command,))}),
        "as dict key": {("a", _Reduce(os.system, (command,))): 1},
        "list items": _Reduce(list, (), None, iter([_Reduce(os.system, (command,))])),
        "numpy class itself": _Reduce(np.ndarray, ((10**9,),)),
        "bytearray": _Reduce(bytearray, (10**9,)),
        "object array": np.array([{}, 1], object),
        "structured array": np.zeros(2, [("a", "f4")]),
        "datetime": np.zeros(2, "M8[s]"),
        "set": {1, 2},
    }


def _with_os(marker):
    module = os.system.__module__.encode()
    command = b"touch " + os.fsencode(marker)
    short = bytes([len(command)]) + command
    return {
        "codecs rot13": b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        "codecs no encoding": b"c_codecs\nencode\n(Vx\ntR.",
        "codecs decode": b"c_codecs\ndecode\n(Vx\nVlatin1\ntR.",
        "stack_global": b"\x80\x04\x8c"
        + bytes([len(module)])
        + module
        + b"\x8c\x06system\x8c"
        + short
        + b"\x85R.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.__new__\x85R.",
        "dotted through numpy": b"\x80\x04\x8c\x05numpy\x8c\x10os.system" + b"\x00" * 7 + b"\x93.",
        "module in name": b"\x80\x04\x8c\x16numpy.core.multiarray \x8c\x0c_reconstruct\x93.",
        "stack_global of a reduced name": b"\x80\x04c_codecs\nencode\n\x8c\x02os\x8c\x06latin1"
        b"\x86R\x8c\x06system\x93.",
        "inst": b"(V" + command + b"\ni" + module + b"\nsystem\n.",
        "inst of an allowed global": b"(inumpy\ndtype\n.",
        "obj": b"(cnumpy\ndtype\nVO\no.",
        "newobj": b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85\x81.",
        "ext": b"\x80\x02\x82\x01.",
        "persid": b"Pabc\n.",
        "binpersid": b"Vabc\nQ.",
        "global called twice": b"cnumpy\ndtype\n(Vf8\nI0\nI1\ntR(VO8\ntR.",
        "build on a global": b"cnumpy\nndarray\n}b.",
        "build on a list": b"](K\x01Vx\ntb.",
        "subarray dtype": b"cnumpy\ndtype\n(V(1000000,)f8\nI0\nI1\ntR.",
        "memo of 64 GiB": b"\x80\x02]r\xff\xff\xff\xff.",
        "frame of 2**62": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"].",
        "bytes of 2**40": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",
        "bytearray of 2**40": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
        "hash bomb": b"\x80\x02)" + b"2\x86" * 64 + b"q\x00}h\x00K\x01s.",
        "deep tuple": b"\x80\x02)" + b"\x85" * 100_000 + b".",
        "numbers without end": b"I" + b"9" * 5000 + b"\n.",
        "getattr chain": b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(Vos\ntRVsystem\ntR(V"
        + command
        + b"\ntR.",
        "text as function": b"Vos.system\n(V" + command + b"\ntR.",
        "shape beyond data": b"cnumpy.core.numeric\n_frombuffer\n(Vabcd\n"
        b"cnumpy\ndtype\n(Vf4\nI0\nI1\ntR(I7\ntVC\ntR.",
    }


def test_hostile_pickles_never_run(tmp_path):
    marker = tmp_path / "ran"
    for name, value in _marker_calls(marker).items():
        for protocol in range(6):
            try:
                path = write(tmp_path / "bad.pkl", value, protocol)
            # some of them cannot be written in old protocols
            except (TypeError, pickle.PicklingError):
                continue
            with pytest.raises(UnsafeFile):
                safe_unpickle(path)
                pytest.fail(f"{name} in protocol {protocol} was read")
            assert not marker.exists(), name


@pytest.mark.parametrize("name", _with_os("x"))
def test_hand_made_pickles_end_as_named_errors(tmp_path, name):
    marker = tmp_path / "ran"
    path = tmp_path / "bad.pkl"
    path.write_bytes(_with_os(marker)[name])
    with pytest.raises(WorkbenchError) as caught:
        read_detections(path)
    assert str(path) in str(caught.value)
    assert not marker.exists()


def test_repeated_data_is_bounded(tmp_path):
    array = np.zeros(100_000, np.uint8).tobytes()
    bomb = b"\x80\x03]B" + struct.pack("<I", len(array)) + array + b"q\x01a("
    bomb += b"cnumpy.core.numeric\n_frombuffer\n(h\x01"
    bomb += b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x89\x88\x87R(J\xa0\x86\x01\x00t"
    bomb += b"X\x01\x00\x00\x00CtR"
    one = bomb[bomb.index(b"cnumpy.core.numeric") :]
    path = tmp_path / "bomb.pkl"
    # one buffer, made into arrays again and again from the memo
    path.write_bytes(bomb + one * 50 + b"e.")
    with pytest.raises(UnsafeFile, match="more data than the file holds"):
        safe_unpickle(path)
    path.write_bytes(bomb + b"e.")
    assert safe_unpickle(path)[1].nbytes == 100_000


@pytest.mark.realdata
def test_the_bad_pickle_is_refused_and_does_not_run(data_root):
    with pytest.raises(UnsafeFile, match=r"posix\.system"):
        safe_unpickle(data_root / "bad" / "executes_on_load.pkl")
    assert not os.path.exists("/tmp/pose_bad_pickle_ran_shared")


@pytest.mark.realdata
def test_human36m_cameras(data_root):
    folder = data_root / "mmpose_samples" / "h36m"
    cameras = safe_unpickle(folder / "cameras.pkl")
    same = json.loads((folder / "cameras.json").read_text())
    assert len(cameras) == 44
    for key, camera in cameras.items():
        for field in "RTfckp":
            np.testing.assert_allclose(
                np.ravel(camera[field]), np.ravel(same[".".join(key)][field])
            )


# --- arrays ---------------------------------------------------------------------------------------


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


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    path = pack(tmp_path / "a.npz", x=npy(np.arange(3)), z=npy(np.arange(4)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", npy(np.arange(5)))
    assert list(read_npz(path, ("z",))) == ["z"]
    for asked in ((("x",), ()), (("z",), ("x",)), (("x", "x"), ())):
        with pytest.raises(BadFile, match=r"a\.npz: holds 'x' 2 times"):
            read_npz(path, *asked)


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
    assert safe.MAX_ARRAY_BYTES > 5_916_474 * 14 * 3 * 8  # AIST++ training joints, float64
