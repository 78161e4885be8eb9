"""Imports only go down the floors that CONTRIBUTING.md draws: no circle, no recipe of another, no
private name of another file.
"""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter

import pytest

from tests.conftest import ROOT

FLOORS = [
    {"errors", "skeletons", "records", "taps", "attention", "checkpoint", "ledger", "resources"}
    | {"memory", "processes", "threads", "outputs", "caches", "precision", "provenance"},
    {"geometry", "codecs", "occlusion", "metrics", "train", "attribution"},
    {"data", "models", "measured"},
    {"made", "film"},
    {"predict", "runs"},
    {"propagate", "reruns", "sweeps"},
    {"recipes"},
    {"view"},
    {"exploration", "bench"},
    {"side_by_side"},
    {"cli"},
    {"__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
PACKAGE = ROOT / "workbench"
FILES = sorted(PACKAGE.rglob("*.py"))
# rooms of `recipes` that all recipes stand on
SHARED = {"base", "bodies", "crops", "filters", "measures", "published", "real", "sequences"}


def parts_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts


def name_of(path):
    """The module's name below the package: "errors", "data.manifest", "made" for its __init__."""
    return ".".join(part for part in parts_of(path) if part != "__init__")


def imports(path):
    """(our own module below the package, names taken from it), anywhere in a file."""
    parts = parts_of(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = list(parts[: len(parts) - node.level])
            module = base + (node.module.split(".") if node.module else [])
            yield ".".join(module), [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("workbench"):
            names = [alias.name for alias in node.names]
            yield node.module.removeprefix("workbench").strip("."), names
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("workbench."):
                    yield alias.name.removeprefix("workbench."), []


MODULES = {name_of(path) for path in FILES}


def imported(path):
    """Our own modules that a file imports."""
    for module, names in imports(path):
        inside = {".".join(filter(None, (module, name))) for name in names} & MODULES
        yield from inside
        if module and (module in MODULES) and len(inside) < max(len(names), 1):
            yield module


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    parts = parts_of(path)
    if parts == ("__init__",):
        return
    floor = parts[0]
    for name in imported(path):
        other = name.split(".")[0]
        if other == floor or other not in LEVEL:
            continue
        level, below = LEVEL[floor], LEVEL[other]
        assert below < level or (below == level and level in (0, 1)), (
            f"{name_of(path)} imports {name}: data and models stand side by side, everything else "
            "points down"
        )


def test_no_circle():
    graph = {name_of(path): set(imported(path)) - {name_of(path)} for path in FILES}
    for name, others in graph.items():
        # a package's __init__ only passes names on from the files inside
        graph[name] = {o for o in others if o != name.rpartition(".")[0]}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_uses_another_s_private_name(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = set()
    for module, names in imports(path):
        private = [n for n in names if n.startswith("_") and not n.startswith("__")]
        assert not private, f"{name_of(path)} takes {private} from {module}"
        modules |= {n for n in names if ".".join(filter(None, (module, n))) in MODULES}
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
    }
    assert not used, f"{name_of(path)} uses {used}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").glob("*.py")), ids=lambda p: p.stem)
def test_models_do_not_import_each_other(path):
    if path.stem in ("__init__", "published"):  # which stand on the models
        return
    others = {n for n in imported(path) if n.startswith("models.")}
    shared = {"models.entry", "models.layers", "models.backbones"}
    assert others <= shared | {name_of(path)}


@pytest.mark.parametrize("path", sorted((PACKAGE / "recipes").glob("*.py")), ids=lambda p: p.stem)
def test_recipes_do_not_import_each_other(path):
    others = {n.split(".")[1] for n in imported(path) if n.startswith("recipes.")}
    assert others <= SHARED | {path.stem}


@pytest.mark.parametrize("path", sorted((PACKAGE / "view").glob("*.py")), ids=lambda p: p.stem)
def test_view_stands_on_predict_and_records_not_on_recipes(path):
    assert not [name for name in imported(path) if name.split(".")[0] == "recipes"]


def test_every_module_has_a_floor():
    assert {parts_of(path)[0] for path in FILES} <= set(LEVEL)
