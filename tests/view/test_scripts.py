"""The code of pages and widgets: what Python puts together has no undefined names and nothing that
is never used or reached, and it stays small.
"""

from __future__ import annotations

import ast
import importlib
import io
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import anywidget
import pytest

from tests.conftest import ROOT
from workbench import view
from workbench.view import html

VIEW = Path(view.__file__).parent
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(VIEW.rglob("*.js"))}
PYTHON = "\n".join(path.read_text(encoding="utf-8") for path in sorted(VIEW.rglob("*.py")))
# aims: 60,000 and 150,000; what there is, so that it does not grow
MOST_SCRIPT = 109_200  # bytes
MOST_PYTHON = 334_800  # characters of code; half of it the steppers and rooms of the chapters


def modules() -> dict[str, str]:
    """The text of the module of every anywidget of our own, by the widget's name, and of pages."""
    texts = {}
    for found in pkgutil.walk_packages(view.__path__, "workbench.view."):
        module = importlib.import_module(found.name)
        for name, kind in vars(module).items():
            if isinstance(kind, type) and issubclass(kind, anywidget.AnyWidget):
                if "_esm" in vars(kind):
                    texts[name] = str(kind._esm)
    return texts | {"page": html.SCRIPT}


def complaints(folder: Path) -> list[dict]:
    """What oxlint says about the scripts in a folder."""
    place = f"{Path(sys.executable).parent}:{ROOT}"
    program = shutil.which("oxlint", path=place) or shutil.which("oxlint")
    assert program, "no oxlint; `make` installs it"
    command = [program, "-c", str(ROOT / ".oxlintrc.json"), "-f", "json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    return json.loads(done.stdout)["diagnostics"]


def origin(text: str, offset: int) -> str:
    """The file that a place in a module comes from."""
    for name, script in SCRIPTS.items():
        start = text.find(script)
        if start <= offset < start + len(script) and start >= 0:
            return name
    return "no file"


def errors(texts: dict[str, str], folder: Path) -> list[str]:
    """What is wrong with modules. A piece that several of them share may hold what one does not
    use, but not what none does, nor Python, which puts calls behind it.
    """
    for name, text in texts.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    wrong, unused = [], {name: set() for name in texts}
    for found in complaints(folder):
        name = Path(found["filename"]).stem
        words = f"{found['code']}: {found['message']}"
        offset = found["labels"][0]["span"]["offset"]
        piece = origin(texts[name], len(texts[name].encode()[:offset].decode()))
        if "no-unused-vars" in found["code"]:
            unused[name].add((piece, words))
        else:
            wrong.append(f"{piece}: {words}")
    for piece, words in set().union(*unused.values()):
        holders = [name for name, text in texts.items() if SCRIPTS.get(piece, "\0") in text]
        word = re.search(r"'(\w+)'", words)[1]
        called = piece in SCRIPTS and re.search(rf"\b{word}\(", PYTHON)
        if not called and all((piece, words) in unused[name] for name in holders):
            wrong.append(f"{piece}: {words}")
    return wrong


def test_every_script_is_part_of_a_widget():
    texts = modules().values()
    assert not [name for name, script in SCRIPTS.items() if not any(script in t for t in texts)]


def test_the_linter_finds_nothing(tmp_path):
    assert errors(modules(), tmp_path) == []


@pytest.mark.parametrize(
    ("mistake", "rule"),
    [
        ("function lost() { return nowhere; }\nlost();", "no-undef"),
        ("const never = 1;", "no-unused-vars"),
        ("function early() { return 1; early(); }\nearly();", "no-unreachable"),
    ],
)
def test_the_linter_finds_mistakes(tmp_path, mistake, rule):
    texts = modules()
    before = errors(texts, tmp_path)
    texts["FigureTools"] += f"\n{mistake}\n"
    (found,) = set(errors(texts, tmp_path)) - set(before)
    assert rule in found


def test_what_a_shared_script_holds_is_used_by_somebody(tmp_path):
    alone = errors({"FigureTools": modules()["FigureTools"]}, tmp_path)
    assert alone and all(line.startswith("pens.js") for line in alone)


def test_scripts_stay_small_and_narrow():
    assert sum(len(script.encode()) for script in SCRIPTS.values()) <= MOST_SCRIPT
    assert len(SCRIPTS["tools.js"].encode()) <= 3_584
    for name, script in SCRIPTS.items():
        assert max(map(len, script.splitlines())) <= 100, name


def code_of(source: str) -> int:
    """Characters of Python without comments, docstrings, indents and empty lines."""
    texts = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                texts.add((node.body[0].lineno, node.body[0].col_offset))
    left = source.splitlines()
    for token in reversed([*tokenize.generate_tokens(io.StringIO(source).readline)]):
        if token.type != tokenize.COMMENT and token.start not in texts:
            continue
        (first, start), (last, end) = token.start, token.end
        left[first - 1 : last] = [left[first - 1][:start] + left[last - 1][end:]]
    return sum(len(line.strip()) for line in left)


def test_code_is_counted_without_comments_and_docstrings():
    source = (
        '"""Title."""\n\n# why\ndef f():\n    """More\n    words.\n    """\n    return "é"  # so\n'
    )
    assert code_of(source) == len('def f():return "é"')


def test_python_stays_small():
    sources = [path.read_text(encoding="utf-8") for path in VIEW.rglob("*.py")]
    assert sum(map(code_of, sources)) <= MOST_PYTHON
