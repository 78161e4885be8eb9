"""Small notebooks built in code, for tests of what executes and shows them.

`python -m tests.notebooks` closes the folds of the committed notebooks in JupyterLab, too.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def write_notebook(path: Path, *cells: str, parameters: str | None = None) -> Path:
    """A notebook whose cells are code, or Markdown where the text starts with `#` and a space or
    with `$`.
    """
    made = [
        new_markdown_cell(t) if t.startswith(("# ", "## ", "$")) else new_code_cell(t)
        for t in cells
    ]
    if parameters is not None:
        made.insert(0, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    nbformat.write(new_notebook(cells=made, metadata=KERNEL), path)
    return path


def part_headings(notebook: nbformat.NotebookNode) -> None:
    """A heading that begins a fold stands alone in its cell: JupyterLab hides what follows a closed
    heading, and not what stands below it in the same cell.
    """
    parted = []
    for cell in notebook.cells:
        fold = "fold" in cell.metadata.get("tags", []) and cell.cell_type == "markdown"
        heading, _, text = cell.source.partition("\n")
        parted.append(cell)
        if fold and heading.startswith("#### ") and text.strip():
            cell.source = heading
            metadata = {"tags": ["fold"]}
            told = new_markdown_cell(text.strip(), id=f"{cell.id}-told", metadata=metadata)
            parted.append(told)
    notebook.cells = parted


def close_folds(notebook: nbformat.NotebookNode) -> None:
    """What JupyterLab needs for cells tagged `fold`: headings that begin a section of them are
    closed, code of those that stand under none is hidden.
    """
    level = 0  # of the closed heading
    for cell in notebook.cells:
        fold = "fold" in cell.metadata.get("tags", [])
        heading = re.match(r"(#+) ", cell.source) if cell.cell_type == "markdown" else None
        if heading and (not level or len(heading[1]) <= level):
            level = len(heading[1]) if fold else 0
            cell.metadata.pop("jp-MarkdownHeadingCollapsed", None)
            if fold:
                cell.metadata["jp-MarkdownHeadingCollapsed"] = True
        if fold and cell.cell_type == "code":
            cell.metadata["jupyter"] = {**cell.metadata.get("jupyter", {}), "source_hidden": True}


if __name__ == "__main__":
    for path in sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, 4)
        part_headings(notebook)
        close_folds(notebook)
        nbformat.write(notebook, path)
