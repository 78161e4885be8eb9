"""Every fixture that a check recognises must agree; a changed value must be caught."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.parity.__main__ import CHECKS, main
from tests.parity.harness import compare, compare_file
from workbench.checkpoint import read_header

pytestmark = pytest.mark.parity

COVERED = {"port_metrics"}


def test_covered_fixtures_agree(parity_root):
    seen = set()
    for path in sorted(parity_root.glob("*.safetensors")):
        if any(c.recognises(read_header(path)) for c in CHECKS):
            name, lines, left_out = compare_file(path, CHECKS)
            seen.add(name)
            assert len(lines) >= 1 and [line for line in lines if not line.ok] == [], path.name
            assert set(left_out) == set(), "every output of this fixture has a counterpart"
    assert seen == COVERED


def test_a_changed_value_fails(parity_root, tmp_path, capsys):
    source = parity_root / "port_metrics.safetensors"
    tensors = load_file(source)
    tensors["out.epe"] = tensors["out.epe"] * np.float32(1.0001)
    changed = tmp_path / "changed.safetensors"
    save_file(tensors, changed, metadata=read_header(source))
    assert main([str(source)]) == 0
    assert main([str(changed)]) == 1
    assert "FAIL out.epe" in capsys.readouterr().out


def test_an_output_nobody_explains_fails(parity_root, tmp_path):
    source = parity_root / "port_metrics.safetensors"
    tensors = {**load_file(source), "out.surprise": np.zeros(3, np.float32)}
    changed = tmp_path / "changed.safetensors"
    save_file(tensors, changed, metadata=read_header(source))
    assert main([str(changed)]) == 1


def test_unreadable_files_are_named(tmp_path, capsys):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x01\x02")
    assert main([str(broken)]) == 2
    assert main([str(tmp_path / "absent.safetensors")]) == 2
    assert str(broken) in capsys.readouterr().err


def test_compare_states_the_bound():
    assert compare("x", np.array([1.0 + 1.05e-5]), np.array([1.0])).ok
    assert not compare("x", np.array([1.0 + 1.2e-5]), np.array([1.0])).ok
    assert compare("x", np.array([1000.0 + 1e-3]), np.array([1000.0])).ok
    assert not compare("x", np.array([np.nan]), np.array([1.0])).ok
    assert not compare("x", np.zeros(2), np.zeros(3)).ok
