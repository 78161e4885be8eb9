"""JupyterLab in a real browser: cells run, a control reaches the kernel, the figure follows, nothing leaves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.browser.lab import CHROMIUM, OpenNotebook, chromium, jupyterlab
from tests.notebooks import write_notebook
from workbench.runs import notebook_paths

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(os.environ.get("WORKBENCH_SCREENSHOTS") or ROOT / "runs" / "browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}; CHROMIUM names another"),
]
FIGURE = """import io, ipywidgets as W, numpy as np
from PIL import Image
def picture(value):
    data = io.BytesIO(); Image.fromarray(np.full((40, 60), int(255 * value), 'u1')).save(data, 'png')
    return data.getvalue()"""
WIDGET = """delta, image = W.FloatSlider(0.2, min=0, max=1, step=0.1, description='delta'), W.Image(value=picture(0.2))
def redraw(change):
    image.value = picture(change.new)
delta.observe(redraw, 'value')
W.VBox([delta, image])"""


def _move_delta(folder: Path, name: str, tmp_path: Path, *, within_s: float = 20, then=None) -> None:
    """Runs all cells of a notebook, moves its `delta` by the keyboard and holds the page to what the module says."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with jupyterlab(folder, tmp_path / "private") as address:
        home = address.partition("/doc/")[0]
        with chromium(home=home) as (page, outside):
            notebook = OpenNotebook(page, address.format(path=name))
            notebook.run_all()
            assert notebook.errors() == []
            slider = notebook.slider("delta")
            output = notebook.output_around(slider)
            before = notebook.pixels_without(output, slider)
            page.wait_for_timeout(500)
            assert notebook.pixels_without(output, slider) == before, "the figure moves by itself"
            value = slider.locator(".widget-readout").inner_text()
            assert notebook.press(slider, "ArrowRight") != value
            notebook.wait(lambda: notebook.pixels_without(output, slider) != before, within_s, "change of the figure")
            if then is not None:
                then(page, notebook)
            page.screenshot(path=SCREENSHOTS / f"{Path(name).stem}.png")
            assert notebook.errors() == []
            assert outside == []


def test_the_driver_sees_the_kernel_redraw(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    write_notebook(folder / "small.ipynb", "# Small", FIGURE, WIDGET)
    _move_delta(folder, "small.ipynb", tmp_path)


def test_the_driver_sees_when_nothing_redraws(tmp_path):
    """The same page with the callback left out must fail, or the test above proves nothing."""
    folder = tmp_path / "folder"
    folder.mkdir()
    deaf = WIDGET.replace("delta.observe(redraw, 'value')\n", "")
    write_notebook(folder / "deaf.ipynb", FIGURE, deaf)
    with pytest.raises(TimeoutError, match="no change of the figure"):
        _move_delta(folder, "deaf.ipynb", tmp_path, within_s=3)


@pytest.mark.skipif("02_port" not in notebook_paths(), reason="the PORT chapter does not exist yet")
def test_delta_moves_the_port_chapter(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(notebook_paths()["02_port"], folder)
    _move_delta(folder, "02_port.ipynb", tmp_path, then=_click_a_joint)


LIVE = "[...document.querySelectorAll('.jupyter-widgets .js-plotly-plot')][0]"


def _click_a_joint(page, notebook: OpenNotebook) -> None:
    """The live figure is whole after an update, and a click on a joint changes who is hidden."""
    drawn = page.evaluate(f"() => {LIVE}._fullData.map(t => [t.name, t.type, (t.z || t.x || []).length])")
    assert ["attention", "heatmap", 21] in drawn and ["detector", "scatter", 21] in drawn
    readout = page.locator(".port-readout")
    before = readout.inner_text()
    joint = f"""() => {{
        const traces = [...{LIVE}.querySelectorAll('.scatterlayer .trace')];
        const detector = traces.filter(t => t.querySelectorAll('path.point').length == 21).at(-1);
        const box = detector.querySelectorAll('path.point')[12].getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }}"""
    x, y = page.evaluate(joint)
    page.mouse.move(x, y)
    page.wait_for_timeout(500)  # plotly finds the joint under a resting pointer
    page.mouse.click(x, y)
    notebook.wait(lambda: readout.inner_text() != before, 20, "answer to the click")
    assert "middle_finger4" in before + readout.inner_text()
