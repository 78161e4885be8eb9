"""Imports only go down the floors that CONTRIBUTING.md draws; data and models never meet; no
model imports another.
"""

from __future__ import annotations

import ast

import pytest

from tests.conftest import ROOT

FLOORS = [
    {"errors", "skeletons", "records", "taps", "checkpoint", "ledger", "resources"},
    {"geometry", "codecs", "occlusion", "metrics", "keypoint_ap", "train"},
    {"data", "models"},
    {"made", "film"},
    {"predict", "runs"},
    {"propagate"},
    {"recipes"},
    {"view", "bench"},
    {"cli"},
    {"__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
FILES = sorted((ROOT / "workbench").rglob("*.py"))


def imported(path):
    """Our own modules that a file imports, as paths below the package: "errors",
    "data.manifest".
    """
    own = path.relative_to(ROOT / "workbench").with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = list(own[: len(own) - node.level])
            named = base + (node.module.split(".") if node.module else [])
            yield from [".".join(named)] if named else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            yield from [
                n.removeprefix("workbench.") for n in names if n and n.startswith("workbench.")
            ]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT / "workbench")))
def test_imports_go_down(path):
    own = path.relative_to(ROOT / "workbench").with_suffix("").parts
    if own == ("__init__",):
        return
    floor = own[0]
    for name in imported(path):
        other = name.split(".")[0]
        if other == floor or other not in LEVEL:
            continue
        down = LEVEL[other] < LEVEL[floor] or (
            LEVEL[other] == LEVEL[floor] and LEVEL[floor] in (0, 1)
        )
        assert down, (
            f"{'.'.join(own)} imports {name}: data and models stand side by side, everything else "
            "points down"
        )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workbench" / "models").glob("*.py")), ids=lambda p: p.stem
)
def test_models_do_not_import_each_other(path):
    if path.stem == "__init__":
        return
    others = {n for n in imported(path) if n.startswith("models.")} - {
        "models.layers",
        "models.backbones",
    }
    assert others == set()


def test_every_module_has_a_floor():
    names = {p.relative_to(ROOT / "workbench").with_suffix("").parts[0] for p in FILES}
    assert names <= set(LEVEL), names - set(LEVEL)
