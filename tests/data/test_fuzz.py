"""Damaged files of every format: readers may raise named errors and nothing else, quickly.

The suite tries the same few files every time; `WORKBENCH_FUZZ=2000 pytest tests/data/test_fuzz.py`
tries so many new ones of each format.
"""

from __future__ import annotations

import copy
import json
import os
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.seeds import SEEDS
from workbench.data.describe import describe
from workbench.errors import WorkbenchError

CPU_S = 3.0  # for files of some kB; a runaway takes minutes

ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        3,
        2**63,
        10**400,
        0.5,
        -1e308,
        1e39,
        float("nan"),
        float("inf"),
        "",
        "x",
        "../x",
        "\0",
        "\ud800",
        [],
        [[]],
        [0],
        ["x"],
        {},
        {"x": 1},
        [None] * 51,
        [1e39] * 51,
        b"x",
        (1, 2),
        np.zeros(0),
        np.full((2, 17, 3), np.nan),
        np.array(["x"]),
        np.array(3),
        np.zeros((1, 42), np.complex64),
        np.zeros((2, 0, 3)),
        -np.ones((3, 17, 3), np.int8),
    ]
)


def places(tree, path=()) -> list[tuple]:
    """Every place in a tree, as the keys that lead to it."""
    found = [path]
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list | tuple)
        else ()
    )
    for key, value in items:
        found += places(value, (*path, key))
    return found


@st.composite
def damaged_tree(draw, name: str):
    """The tree with one to three places replaced, dropped, doubled, or arrays cut and retyped."""
    tree = copy.deepcopy(SEEDS[name].tree)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(tree)))
        if not path:
            return copy.deepcopy(draw(ODD))
        owner = tree
        for key in path[:-1]:
            owner = owner[key]
        if isinstance(owner, tuple):
            continue
        value = owner[path[-1]]
        action = draw(st.sampled_from(("odd", "drop", "double", "array")))
        if action == "array" and isinstance(value, np.ndarray) and value.ndim:
            changed = draw(
                st.sampled_from(
                    (value[:-1], value[..., :1], value.astype(str), value.T, value[None])
                )
            )
            owner[path[-1]] = changed
        elif action == "drop":
            del owner[path[-1]]
        elif action == "double" and isinstance(owner, list):
            owner.append(copy.deepcopy(value))
        else:
            owner[path[-1]] = copy.deepcopy(draw(ODD))
    return tree


@st.composite
def damaged_bytes(draw, name: str) -> bytes:
    """The bytes with some flipped, replaced, inserted, repeated or cut away."""
    raw = bytearray(SEEDS[name].raw)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(raw) - 1, 0)))
        n = draw(st.sampled_from((1, 1, 4, 64)))
        match draw(st.sampled_from(("flip", "set", "insert", "repeat", "delete", "cut"))):
            case "flip" if raw:
                raw[at] ^= 1 << draw(st.integers(0, 7))
            case "set":
                raw[at : at + n] = draw(st.binary(min_size=n, max_size=n))
            case "insert":
                raw[at:at] = draw(
                    st.sampled_from(
                        (
                            b"\0",
                            b"\xff" * 8,
                            b"9" * 30,
                            b"[" * 2000,
                            b"-",
                            b"nan",
                            b"\n",
                            b"{",
                            b"\xef\xbb\xbf",
                        )
                    )
                )
            case "repeat":
                raw[at:at] = raw[at : at + 64]
            case "delete":
                del raw[at : at + n]
            case "cut":
                del raw[at:]
    return bytes(raw)


def check(folder, file: str, raw: bytes, on_bad: str) -> None:
    path = folder / file
    path.write_bytes(raw)
    start = time.process_time()
    try:
        text = json.dumps(describe(path, on_bad=on_bad), allow_nan=False)
        assert "schema_version" in text
    except WorkbenchError as error:
        assert "\n" not in str(error) and len(str(error)) < 5000
        str(error).encode("utf-8", "backslashreplace")
    assert time.process_time() - start < CPU_S


_CALM = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
MORE = int(os.environ.get("WORKBENCH_FUZZ", "0"))
FEW = settings(
    max_examples=MORE or 20,
    derandomize=not MORE,
    deadline=None,
    database=None,
    suppress_health_check=_CALM,
)
# what decoders say of damaged pictures
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
BOTH = st.sampled_from(("raise", "report"))


@pytest.mark.parametrize("name", SEEDS)
def test_the_seed_is_whole_and_recognised(name, tmp_path):
    seed = SEEDS[name]
    (tmp_path / seed.file).write_bytes(seed.raw)
    assert describe(tmp_path / seed.file)["reader"] in (seed.reader, name)


@pytest.mark.parametrize("name", SEEDS)
@FEW
@given(data=st.data())
def test_damaged_bytes_end_in_named_errors(name, data, tmp_path):
    seed = SEEDS[name]
    check(tmp_path, seed.file, data.draw(damaged_bytes(name)), data.draw(BOTH))


@pytest.mark.parametrize("name", [name for name, seed in SEEDS.items() if seed.encode is not bytes])
@FEW
@given(data=st.data())
def test_damaged_trees_end_in_named_errors(name, data, tmp_path):
    seed = SEEDS[name]
    try:
        raw = seed.encode(data.draw(damaged_tree(name)))
    # a tree that this format cannot say
    except (TypeError, ValueError, OverflowError, AttributeError):
        return
    check(tmp_path, seed.file, raw, data.draw(BOTH))
