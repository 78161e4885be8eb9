"""Cells that take long say so while they run."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import nbformat
import papermill
from nbformat.v4 import new_code_cell, new_notebook

from workbench.view import waiting


def test_in_a_kernel_a_long_cell_says_how_long_it_took_and_a_short_one_nothing(tmp_path):
    watch = "import time\nfrom workbench.view import waiting\nwaiting.watch()\nwaiting.watch()"
    cells = [watch, "time.sleep(0.2)", "time.sleep(2.6)", "1 + 1"]
    made = new_notebook(cells=[new_code_cell(code) for code in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(made, tmp_path / "in.ipynb")
    done = papermill.execute_notebook(
        tmp_path / "in.ipynb", tmp_path / "out.ipynb", progress_bar=False
    )
    shown = [
        [out.data for out in cell.outputs if out.output_type == "display_data"]
        for cell in done.cells
    ]
    assert [len(each) for each in shown] == [0, 0, 1, 0], "one line, of the long cell"
    assert re.fullmatch(r"<small>took [2-9] s</small>", shown[2][0]["text/html"])


def test_the_line_moves_while_a_cell_runs(monkeypatch):
    lines = []

    def show(line, display_id):
        lines.append(line.data)
        return SimpleNamespace(update=lambda line: lines.append(line.data))

    monkeypatch.setattr(waiting, "display", show)
    monkeypatch.setattr(waiting, "AFTER_S", 0.2)
    monkeypatch.setattr(waiting, "EVERY_S", 0.2)
    clock = waiting._Clock()
    clock.start()
    time.sleep(1.1)
    clock.stop()
    assert len(lines) >= 3 and all(line.startswith("<small>computing … ") for line in lines[:-1])
    assert re.fullmatch(r"<small>took \d s</small>", lines[-1])
    clock.start()
    clock.stop()
    assert "took" in lines[-1] and not clock.thread.is_alive()
