"""Small notebooks built in code, for tests of what executes and shows them."""

from __future__ import annotations

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
