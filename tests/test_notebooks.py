"""Notebooks as they are committed: thin, without outputs, and each runs in the fast profile."""

from __future__ import annotations

import ast
import copy
import math
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from tests.browser.lab import CHROMIUM, SCREENSHOTS, chromium
from tests.notebooks import close_folds
from workbench.runs import Run, notebook_parameters, notebook_paths, run_notebooks
from workbench.view.html import formula, publish

NOTEBOOKS = notebook_paths(Path(__file__).parents[1] / "notebooks")
FREE = ("00_start_here", "07_side_by_side")  # all others are told as CONTRIBUTING.md says
CHAPTERS = sorted(NOTEBOOKS.keys() - FREE)
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=list(NOTEBOOKS))


def _code(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@every_notebook
def test_committed_without_outputs(path):
    notebook = nbformat.read(path, 4)
    left = [
        c.id
        for c in _code(path)
        if c.outputs or c.execution_count is not None or "execution" in c.metadata
    ]
    assert not left, "run `jupyter nbconvert --clear-output --inplace`"
    assert not {"papermill", "widgets", "signature"} & set(notebook.metadata)
    assert not [c.id for c in notebook.cells if "papermill" in c.metadata]


@every_notebook
def test_committed_with_stable_cell_ids_and_the_common_kernel(path):
    notebook = nbformat.read(path, 4)
    assert (notebook.nbformat, notebook.nbformat_minor >= 5) == (4, True)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert notebook.metadata.kernelspec.name == "python3"


@every_notebook
def test_committed_cells_are_thin(path):
    for cell in _code(path):
        assert len(cell.source.splitlines()) <= 15, cell.source
        for node in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", cell.source, flags=re.M))):
            assert not isinstance(node, ast.ClassDef), cell.source
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 5, cell.source


def folded(cell) -> bool:
    return "fold" in cell.metadata.get("tags", [])


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_teaches_in_sight_and_folds_the_rest(name):
    """The stepper at its head, predictions, few cells and words; each fold opens with a heading
    that JupyterLab closes, and what follows is not closed with it.
    """
    cells = nbformat.read(NOTEBOOKS[name], 4).cells
    sight = [cell for cell in cells if not folded(cell)]
    code = [cell.source for cell in sight if cell.cell_type == "code"]
    code = [source for source in code if not source.startswith("profile = ")]  # for readers to fill
    first = next(i for i, source in enumerate(code) if ".trick(" in source)
    own = all(re.search(r"\bask\(|\bbrush\b", source) for source in code[:first])
    assert len(code) <= 30 and first <= 2 and own, (
        "nothing but places to find or to paint before it"
    )
    asked = re.compile(r"\.(choose|click|drag|number)\(")
    assert len(set(asked.findall("\n".join(code)))) >= 3
    assert re.search(r"exercises\.goal\(|\.set_goal\(", "\n".join(code)), "done in an explorer"
    words = sum(len(cell.source.split()) for cell in sight if cell.cell_type == "markdown")
    assert words <= 1500
    for before, cell in pairwise(cells):
        if folded(cell) and not folded(before):
            assert re.fullmatch(r"#### .+", cell.source), cell.id
        if folded(before) and not folded(cell):
            assert re.match(r"#{2,3} ", cell.source), cell.id
    for cell in filter(folded, cells):
        if cell.cell_type == "code":
            assert cell.metadata.jupyter.source_hidden, cell.id
        elif cell.source.startswith("#### "):
            assert cell.metadata["jp-MarkdownHeadingCollapsed"], cell.id


@every_notebook
def test_committed_parameters_are_plain_literals(path):
    tagged = [c for c in _code(path) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assigned = {
        node.targets[0].id
        for node in ast.parse(tagged[0].source).body
        if isinstance(node, ast.Assign)
    }
    defaults = notebook_parameters(path)
    assert set(defaults) == assigned
    assert {"profile", "seed"} <= assigned
    assert all(
        isinstance(value, bool | int | float | str | list | None) for value in defaults.values()
    )


@every_notebook
def test_committed_formulas_can_be_shown_offline(path):
    text = "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown")
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S)
    found = re.findall(r"\$\$(.+?)\$\$", text, re.S) + re.findall(
        r"(?<!\$)\$([^$\n]+)\$(?!\$)", text
    )
    assert [latex for latex in found if "<math" not in formula(latex)] == []


@every_notebook
def test_committed_folds_are_closed_in_jupyterlab_too(path):
    notebook = nbformat.read(path, 4)
    closed = copy.deepcopy(notebook)
    close_folds(closed)
    wrong = [a.id for a, b in zip(notebook.cells, closed.cells) if a.metadata != b.metadata]
    assert not wrong, "run `python -m tests.notebooks`"


@every_notebook
def test_committed_nothing_in_sight_lies_under_a_heading_that_jupyterlab_closes(path):
    level = 0  # of the closed heading
    for cell in nbformat.read(path, 4).cells:
        heading = re.match(r"(#+) ", cell.source) if cell.cell_type == "markdown" else None
        if heading and (not level or len(heading[1]) <= level):
            level = len(heading[1]) if cell.metadata.get("jp-MarkdownHeadingCollapsed") else 0
        elif level:
            assert "fold" in cell.metadata.get("tags", []), f"{cell.id}: tag it, or set a heading"


def test_the_first_chapter_leads_to_all_others():
    first, *others = NOTEBOOKS
    text = "\n".join(cell.source for cell in nbformat.read(NOTEBOOKS[first], 4).cells)
    assert [name for name in others if f"]({name}.ipynb)" not in text] == []


@every_notebook
def test_committed_text_holds_no_mail_address(path):
    """JupyterLab makes one of PCK@0.05."""
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.S)
            assert not re.search(r"\w@[\w.]*\w", text), f"{cell.id}: write PCK&#64;0.05"


def _finite(value) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


@pytest.mark.notebook
@every_notebook
def test_runs_in_the_fast_profile(path, tmp_path):
    run = _executes(path, tmp_path, "cpu")
    if Path(CHROMIUM).exists():
        _photographs(run.folder / f"{path.stem}.html")


def _photographs(page: Path) -> None:
    """Keeps the first two screens of a page, light and dark, and looks for what is wrong there."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    with chromium(height=1000) as (tab, outside):
        tab.on("console", lambda message: said.append(message.text))
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme)
            tab.goto(page.as_uri())
            for screen in (1, 2):
                tab.evaluate(f"window.scrollTo(0, {1000 * (screen - 1)})")
                tab.wait_for_timeout(300)
                tab.screenshot(path=SCREENSHOTS / f"{page.stem}_{scheme}_{screen}.png")
            too_wide = "document.documentElement.scrollWidth - window.innerWidth"
            assert tab.evaluate(too_wide) <= 0, "the page scrolls sideways"
        assert said == [] and outside == []


@pytest.mark.gpu
@pytest.mark.notebook
@every_notebook
def test_runs_on_the_gpu(path, tmp_path):
    _executes(path, tmp_path, "cuda")


def _executes(path: Path, out: Path, device: str) -> Run:
    run = run_notebooks(
        [path.stem], device=device, source=path.parent, out=out, report=publish, progress=False
    )
    entry = run.record["notebooks"][path.stem]
    assert entry["error"] is None
    assert entry["metrics"], "the notebook displays no metrics"
    assert _finite(entry["metrics"])
    assert (run.folder / f"{path.stem}.html").stat().st_size > 0
    return run
