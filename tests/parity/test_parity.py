"""Every fixture that a check recognises must agree; a changed value must be caught."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.parity import otpose
from tests.parity.__main__ import CHECKS, main
from tests.parity.harness import compare, compare_file
from workbench.checkpoint import read_header

pytestmark = pytest.mark.parity

COVERED = {
    "port_metrics",
    "hanet",
    "hanet_loss",
    "hanet_metrics",
    "simcc",
    "vitpose",
    "visibility",
    *(check.name for check in otpose.CHECKS),
}
EXPLAINED = {  # outputs that are explained instead of followed
    "out.final_legacy_int_mask",
    "out.eval3d.relative_improvement_mpjpe",
    "out.eval3d.relative_improvement_pampjpe",
    "out.feat1",
    "out.feat2",
    "mid.branch0_out",
    "mid.branch1_out",
    "out.nmt_loss_ls0.1",
    "out.nmtnorm_loss_ls0.1",
    "out.simdr_int_target",
    "out.simdr_target_weight",
}


def test_covered_fixtures_agree(parity_root):
    seen = set()
    for path in sorted(parity_root.glob("*.safetensors")):
        if any(c.recognises(read_header(path)) for c in CHECKS):
            name, lines, left_out = compare_file(path, CHECKS)
            seen.add(name)
            assert len(lines) >= 1 and [line for line in lines if not line.ok] == [], path.name
            assert set(left_out) <= EXPLAINED, (
                "every other output of this fixture has a counterpart"
            )
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


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("in.gt", None, "needs the tensor 'in.gt'"),
        ("out.rot_inv", None, "needs the tensor 'out.rot_inv'"),
        ("in.pred", np.ones((2, 5, 2)), "cannot be computed"),
        ("in.mask", np.ones((3, 21)), "cannot be computed"),
        ("in.pred", np.full((4, 21, 2), np.nan), "LinAlgError"),
    ],
)
def test_a_damaged_fixture_is_named_and_the_next_one_still_compared(
    parity_root, tmp_path, capsys, name, value, problem
):
    source, damaged = parity_root / "port_metrics.safetensors", tmp_path / "damaged.safetensors"
    tensors = load_file(source)
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value.astype(np.float32)
    save_file(tensors, damaged, metadata=read_header(source))
    assert main([str(damaged), str(source)]) == 2
    said = capsys.readouterr()
    assert f"BadFile: {damaged}" in said.err and problem in said.err
    assert "worst of 16" in said.out


@pytest.mark.parametrize("std_px", [45, 400])
def test_the_turn_agrees_at_any_scale(parity_root, tmp_path, rng, std_px):
    """The public program's turn, from coordinates that fp32 holds exactly: stored, only its
    results are rounded.
    """
    source, scaled = parity_root / "port_metrics.safetensors", tmp_path / "scaled.safetensors"
    tensors = load_file(source)
    pred, recon = (rng.normal(0, std_px, (7, 21, 2)).astype(np.float32) for _ in range(2))
    local = (pred - pred[:, :1].astype(np.float64)).astype(np.float64)
    x, y = local[:, 9].T / np.hypot(*local[:, 9].T)
    turn = np.stack([np.stack([x, y], -1), np.stack([-y, x], -1)], 1)
    hidden = np.arange(21) % 3 == 0
    back = recon @ turn
    new = {
        "in.gt": pred,
        "in.pred": pred,
        "in.mask": np.tile(hidden, (7, 1)),
        "in.recon_rotated": recon,
        "out.rot_inv": turn,
        "out.rotated": local @ turn.swapaxes(1, 2),
        "out.recon_back": back,
        "out.refined_localized": np.where(hidden[:, None], back, local),
    }
    tensors |= {k: np.ascontiguousarray(v, np.float32) for k, v in new.items()}
    save_file(tensors, scaled, metadata=read_header(source))
    lines = {line.name: line for line in compare_file(scaled, CHECKS)[1]}
    assert all(lines[name].ok for name in new if name.startswith("out."))
    tensors["out.rotated"] = tensors["out.rotated"] + np.float32(2e-3)
    save_file(tensors, scaled, metadata=read_header(source))
    assert not {line.name: line for line in compare_file(scaled, CHECKS)[1]}["out.rotated"].ok


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
