"""Each error of `mutations.yaml`, made in a copy of the tree, fails the test that the ledger names
for its equation.

Six errors are drawn by a hash of the tree, others with every commit; WORKBENCH_MUTATIONS=all tries
them all.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.conftest import ROOT
from workbench.ledger import ledger

DRAWN = 6
SKIPPED = shutil.ignore_patterns("__pycache__", "checkpoints", "browser", "parity", "view")


class Mutation(NamedTuple):
    paper: str
    file: str
    equation: str
    error: str
    old: str
    new: str

    @property
    def test(self) -> str:
        """Of the equation, by the ledger."""
        equations = ledger().papers[self.paper].equations
        return next(item.test for item in equations if item.name == self.equation)

    @property
    def title(self) -> str:
        return f"{self.paper} {self.equation}: {self.error}"


def all_mutations() -> list[Mutation]:
    listed = yaml.safe_load((ROOT / "tests" / "mutations.yaml").read_text(encoding="utf-8"))
    return [
        Mutation(paper, file, equation, error, old, new)
        for paper, files in listed.items()
        for file, equations in files.items()
        for equation, errors in equations.items()
        for error, (old, new) in errors.items()
    ]


def hash_of_tree() -> str:
    digest = hashlib.sha256()
    for folder in ("workbench", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".yaml"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


MUTATIONS = all_mutations()
TREE = hash_of_tree()


def chosen() -> list[Mutation]:
    if os.environ.get("WORKBENCH_MUTATIONS") == "all":
        return MUTATIONS
    return random.Random(TREE).sample(MUTATIONS, DRAWN)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of what the named tests need."""
    copy = tmp_path_factory.mktemp("mutated")
    for folder in ("workbench", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=SKIPPED)
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def run(tree: Path, *tests: str) -> subprocess.CompletedProcess:
    """pytest on the copy, without what takes time to load. What is compiled is kept nowhere: it
    could outlive a change.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "WORKBENCH_NO_TYPECHECK": "1"}
    options = ["-x", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=tree, env=env, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def test_the_list_follows_the_code():
    """What is replaced stands in its file once, and no equation is without errors."""
    text = {m.file: (ROOT / m.file).read_text(encoding="utf-8") for m in MUTATIONS}
    for mutation in MUTATIONS:
        assert text[mutation.file].count(mutation.old) == 1, mutation
        compile(text[mutation.file].replace(mutation.old, mutation.new), mutation.title, "exec")
    implemented = {
        (key, item.name)
        for key, paper in ledger().papers.items()
        for item in paper.equations
        if item.status == "implemented"
    }
    assert {(m.paper, m.equation) for m in MUTATIONS} == implemented


@pytest.mark.mutation
def test_the_copy_without_errors_passes(tree):
    done = run(tree, *sorted({m.test for m in MUTATIONS}))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.mutation
@pytest.mark.parametrize("mutation", [pytest.param(m, id=m.title) for m in chosen()])
def test_an_error_is_noticed(tree, mutation, record_property):
    record_property("mutation", f"{TREE} {mutation.title}")
    file = tree / mutation.file
    text = file.read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        done = run(tree, mutation.test)
    finally:
        file.write_text(text, encoding="utf-8")
    # 1: a test failed; anything else is none or no test
    assert done.returncode == 1, f"{mutation.test} passes\n{done.stdout[-3000:]}"
