"""The ledger may not name a symbol, test or cell that does not exist, nor claim more than its
kind allows.
"""

from __future__ import annotations

import ast
import importlib
import json
from functools import cache

import pytest

from tests.conftest import ROOT
from workbench.cli import app
from workbench.errors import UnknownName
from workbench.ledger import ledger, paper

ITEMS = [
    pytest.param(key, kind, item, id=f"{key}-{item.name}")
    for key, p in ledger().papers.items()
    for kind in ("equations", "tables", "figures")
    for item in getattr(p, kind)
]
EXPECTED = {
    "port": {"equations": 14, "tables": 3, "figures": 6},
    "hanet": {"equations": 11, "tables": 5, "figures": 7},
    "vissimcc": {"equations": 8, "tables": 6, "figures": 5},
    "otpose": {"equations": 8, "tables": 5, "figures": 6},
    "stdpose": {"equations": 13, "tables": 6, "figures": 5},
}


@cache
def cell_ids(notebook: str) -> set[str]:
    return {
        cell["id"] for cell in json.loads((ROOT / notebook).read_text(encoding="utf-8"))["cells"]
    }


@cache
def test_names(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


test_names.__test__ = False


@pytest.mark.parametrize(("key", "kind", "item"), ITEMS)
def test_what_it_names_exists(key, kind, item):
    if item.symbol:
        module, _, name = item.symbol.partition(":")
        assert hasattr(importlib.import_module(module), name), item.symbol
    if item.test:
        file, _, name = item.test.partition("::")
        assert name in test_names(file), item.test
    if item.shown and item.shown.startswith("notebooks/"):
        file, _, cell = item.shown.partition("#")
        assert cell in cell_ids(file), item.shown
    elif item.shown:
        words = item.shown.split()
        commands = {c.name or c.callback.__name__ for c in app.registered_commands}
        assert words[0] == "workbench" and words[1] in commands, item.shown


@pytest.mark.parametrize(("key", "kind", "item"), ITEMS)
def test_it_claims_what_its_kind_allows(key, kind, item):
    if kind == "equations":
        assert item.status in ("implemented", "definition")
        if item.status == "implemented":
            assert item.symbol and item.test and item.shown
        else:
            assert item.note
    else:
        assert item.status in ("reproduced", "direction", "waiting", "illustration")
        if item.status in ("reproduced", "direction"):
            assert item.shown
        if item.status in ("direction", "waiting") and kind == "tables":
            assert item.needs, "a table says what data it needs"
        if item.status == "reproduced":
            assert item.test
        if item.status == "waiting":
            assert item.note


def test_every_numbered_item_is_there():
    counts = {
        k: {kind: len(getattr(p, kind)) for kind in EXPECTED[k]} for k, p in ledger().papers.items()
    }
    assert counts == EXPECTED
    for p in ledger().papers.values():
        assert [item.name for item in p.equations] == [
            f"Eq. {i}" for i in range(1, len(p.equations) + 1)
        ]
        assert all(e.where and e.says and e.follow for e in p.errata)


def test_names_are_found_or_refused():
    assert paper("port").table("Table II").rows[-1] == {"model": "PORT", "parameters_million": 0.5}
    with pytest.raises(UnknownName, match="Table I"):
        paper("port").table("Table 1")
    with pytest.raises(UnknownName, match="did you mean 'port'"):
        paper("prot")
