"""JupyterLab in a real browser: cells run, a control reaches the kernel, the figure follows,
nothing leaves.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.lab import CHROMIUM, OpenNotebook, chromium, jupyterlab
from tests.notebooks import write_notebook
from workbench.runs import notebook_paths

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(os.environ.get("WORKBENCH_SCREENSHOTS") or ROOT / "runs" / "browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}; CHROMIUM names another"
    ),
]
FIGURE = """import io, ipywidgets as W, numpy as np
from PIL import Image
def picture(value):
    data = io.BytesIO()
    Image.fromarray(np.full((40, 60), int(255 * value), 'u1')).save(data, 'png')
    return data.getvalue()"""
WIDGET = """delta = W.FloatSlider(0.2, min=0, max=1, step=0.1, description='delta')
image = W.Image(value=picture(0.2))
def redraw(change):
    image.value = picture(change.new)
delta.observe(redraw, 'value')
W.VBox([delta, image])"""

PLOTS = "[...document.querySelectorAll('.jupyter-widgets .js-plotly-plot')]"


@contextmanager
def opened(tmp_path: Path, name: str, *cells: str, height: int = 1500) -> Iterator[tuple]:
    """A chapter, or a notebook of this name with these cells, run in a page; afterwards it is
    photographed, and neither an error nor a request to the outside may have come up.
    """
    folder = tmp_path / "folder"
    folder.mkdir()
    if cells:
        write_notebook(folder / f"{name}.ipynb", *cells)
    else:
        shutil.copy(notebook_paths()[name], folder)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with jupyterlab(folder, tmp_path / "private") as address:
        with chromium(home=address.partition("/doc/")[0], width=1500, height=height) as (
            page,
            outside,
        ):
            notebook = OpenNotebook(page, address.format(path=f"{name}.ipynb"))
            notebook.run_all()
            assert notebook.errors() == []
            yield page, notebook
            page.screenshot(path=SCREENSHOTS / f"{name}.png")
            assert notebook.errors() == [] and outside == []


def _move_delta(tmp_path: Path, name: str, *cells: str, within_s: float = 20, then=None) -> None:
    """Moves a notebook's `delta` by the keyboard and holds the page to what the module says."""
    with opened(tmp_path, name, *cells, height=1300) as (page, notebook):
        slider = notebook.slider("delta")
        output = notebook.output_around(slider)
        before = notebook.pixels_without(output, slider)
        page.wait_for_timeout(500)
        assert notebook.pixels_without(output, slider) == before, "the figure moves by itself"
        value = slider.locator(".widget-readout").inner_text()
        assert notebook.press(slider, "ArrowRight") != value
        notebook.wait(
            lambda: notebook.pixels_without(output, slider) != before,
            within_s,
            "change of the figure",
        )
        if then is not None:
            then(page, notebook)


def test_the_driver_sees_the_kernel_redraw(tmp_path):
    _move_delta(tmp_path, "small", "# Small", FIGURE, WIDGET)


def test_the_driver_sees_when_nothing_redraws(tmp_path):
    """The same page with the callback left out must fail, or the test above proves nothing."""
    deaf = WIDGET.replace("delta.observe(redraw, 'value')\n", "")
    with pytest.raises(TimeoutError, match="no change of the figure"):
        _move_delta(tmp_path, "deaf", FIGURE, deaf, within_s=3)


@pytest.mark.skipif("02_port" not in notebook_paths(), reason="the PORT chapter does not exist yet")
def test_delta_moves_the_port_chapter(tmp_path):
    _move_delta(tmp_path, "02_port", then=_click_a_joint)


LIVE = "[...document.querySelectorAll('.jupyter-widgets .js-plotly-plot')][0]"


def _click_a_joint(page, notebook: OpenNotebook) -> None:
    """The live figure is whole after an update, and a click on a joint changes who is hidden."""
    drawn = page.evaluate(
        f"() => {LIVE}._fullData.map(t => [t.name, t.type, (t.z || t.x || []).length])"
    )
    assert ["attention", "heatmap", 21] in drawn and ["detector", "scatter", 21] in drawn
    readout = page.locator(".port-readout")
    before = readout.inner_text()
    joint = f"""() => {{
        const traces = [...{LIVE}.querySelectorAll('.scatterlayer .trace')];
        const detector = traces.filter(t => t.querySelectorAll('path.point').length == 21).at(-1);
        const box = detector.querySelectorAll('path.point')[12].getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }}"""
    notebook.click(page.evaluate(joint))
    notebook.wait(lambda: readout.inner_text() != before, 20, "answer to the click")
    assert "middle_finger4" in before + readout.inner_text()


OVER = f"{PLOTS}.find(p => p._fullData.length > 9)"


@pytest.mark.skipif(
    "03_hanet" not in notebook_paths(), reason="the HANet chapter does not exist yet"
)
def test_frame_and_drag_move_the_hanet_chapter(tmp_path):
    """The scrubber moves line, pose and row; dragging over a plot hides the joint there, and the
    answer follows.
    """
    with opened(tmp_path, "03_hanet") as (page, notebook):
        said, slider = page.locator(".hanet-readout"), notebook.slider("frame")
        output = notebook.output_around(slider)
        before, text = notebook.pixels_without(output, slider), said.inner_text()
        for _ in range(4):
            notebook.press(slider, "ArrowRight")
        notebook.wait(lambda: said.inner_text() != text, 20, "other read frame in the readout")
        notebook.wait(
            lambda: notebook.pixels_without(output, slider) != before, 20, "change of the figures"
        )
        notebook.settle(output)
        text, final = (
            said.inner_text(),
            f"() => [...{OVER}._fullData.find(t => t.name.startsWith('final')).y]",
        )
        notebook.wait(lambda: page.evaluate(f"() => !!{OVER}"), 30, "the curves over time")
        answer = page.evaluate(final)
        drag_area = f"{OVER}.querySelector('.xy .drag').getBoundingClientRect()"
        box = f"() => (b => [b.x, b.y, b.width, b.height])({drag_area})"
        x, y, width, height = page.evaluate(box)
        notebook.drag((x + 0.3 * width, y + 0.5 * height), (x + 0.6 * width, y + 0.6 * height))
        notebook.wait(lambda: said.inner_text() != text, 30, "answer to the drag")
        notebook.wait(lambda: page.evaluate(final) != answer, 30, "other final pose")
        assert "hidden joints" in said.inner_text()


SWITCHED = f"{PLOTS}.find(p => p._fullLayout.yaxis4)"


@pytest.mark.skipif(
    "04_visibility" not in notebook_paths(), reason="the visibility chapter does not exist yet"
)
def test_switch_and_click_move_the_visibility_chapter(tmp_path):
    """A joint's switch moves readout, map and distributions; a click on a joint in the picture
    moves its switch.
    """
    with opened(tmp_path, "04_visibility") as (page, notebook):
        said, output = (
            page.locator(".visibility-readout"),
            notebook.output_around(notebook.slider("arrows from")),
        )
        page.locator('button:has-text("all visible")').click()
        notebook.wait(lambda: "Masked: 0 joints" in said.inner_text(), 20, "answer to the button")
        notebook.settle(output)
        first_label = f"{SWITCHED}._fullLayout.yaxis4.ticktext[0]"
        drawn = f"() => [{first_label}, {SWITCHED}._fullData.at(-1).z.flat()]"
        name, weights = page.evaluate(drawn)
        nose = page.locator(".visibility-switches .widget-toggle-buttons").first
        nose.locator("button").nth(2).click()
        notebook.wait(lambda: "Masked: 1 joints" in said.inner_text(), 20, "answer to the switch")
        notebook.wait(lambda: page.evaluate(drawn)[1] != weights, 20, "other attention")
        assert name == "nose" and "✖ nose" in page.evaluate(drawn)[0]
        notebook.settle(output)
        visible = page.locator(".visibility-switches button.mod-active:nth-child(2)")
        assert visible.count() == 16
        joint = f"""() => {{
            const points = [...{SWITCHED}.querySelectorAll('.scatterlayer .trace')]
                .map(t => [...t.querySelectorAll('path.point')]).filter(p => p.length == 17).at(-1);
            const box = points[10].getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }}"""
        notebook.click(page.evaluate(joint))
        notebook.wait(lambda: visible.count() != 16, 20, "other switch after the click")
        notebook.settle(output)


BRUSH = """from workbench.made.worlds import sample_clip
from workbench.view.explorers import OcclusionBrush
made = sample_clip("synthetic_tiny", "train", 0)
brush = OcclusionBrush(made.clip, made.frames, zoom=5.0, size_px=24)
brush.x.value = brush.y.value = 0
brush.show()"""


def test_the_brush_paints_and_flags_follow(tmp_path):
    """Drawn with the mouse, over the whole picture: no joint stays visible; the sliders and the
    button answer too.
    """
    with opened(tmp_path, "brush", BRUSH) as (page, notebook):
        said, canvas = page.locator(".clip-readout"), page.locator("canvas.workbench-canvas")
        unpainted, blank = said.inner_text(), canvas.screenshot()
        assert "visible (2): 0" not in unpainted
        box = canvas.bounding_box()
        assert (box["width"], box["height"]) == (480, 400)
        page.mouse.move(box["x"] + 1, box["y"] + 1)
        page.mouse.down()
        for y in range(1, 400, 99):
            for x in (1, 240, 479, 1):
                page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
        page.mouse.up()
        notebook.wait(lambda: "visible (2): 0" in said.inner_text(), 20, "answer to the mouse")
        assert (
            page.locator(".brush-readout")
            .inner_text()
            .startswith(unpainted.split("visible (2): ")[1].split("\n")[0])
        )
        page.locator('button:has-text("remove paint")').click()
        for label in ("patch x", "patch y"):
            notebook.press(notebook.slider(label), "Home")
        notebook.wait(lambda: said.inner_text() == unpainted, 20, "picture without paint")
        notebook.wait(lambda: canvas.screenshot() == blank, 20, "first picture again")
        notebook.press(notebook.slider("patch size"), "End")
        notebook.wait(lambda: said.inner_text() != unpainted, 20, "answer to the slider")


STDPOSE = (
    """import torch
from workbench.made.worlds import sample_clip
from workbench.models import build
from workbench.predict import Propagator
from workbench.view.chapters.stdpose import LookExplorer, MaskExplorer, PropagationPlayer, carry_all
torch.manual_seed(0)
propagator = Propagator(build("stdpose", "small"))
made = sample_clip("fast_people", "test", 0)
sets = {7: propagator.windows([(made.clip, made.frames)], interval=7)}
MaskExplorer(propagator, sets).show()""",
    "LookExplorer(propagator, sets).show()",
    "PropagationPlayer({7: (sets[7], carry_all(propagator, propagator, sets[7]))}).show()",
)


def test_the_explorers_of_the_propagation_chapter(tmp_path):
    """k moves the mask, a number blanks out image tokens and their maps follow, the player goes on
    by itself.
    """
    with opened(tmp_path, "stdpose", *STDPOSE) as (page, notebook):
        mask, look, player = (page.locator(".workbench-explorer").nth(i) for i in range(3))

        def picture(explorer, number: int) -> str:
            canvas = explorer.locator(".panels canvas").nth(number)
            return canvas.evaluate("canvas => canvas.toDataURL()")

        def push(explorer, control: str, key: str) -> None:
            slider = explorer.locator(f"input[name='{control}']")
            slider.scroll_into_view_if_needed()
            slider.focus()
            page.keyboard.press(key)

        def said(explorer) -> str:
            return explorer.locator("> .verdict").inner_text()

        before = said(mask)
        left, curve = picture(mask, 0), picture(mask, 3)
        push(mask, "k", "End")
        notebook.wait(lambda: said(mask) != before, 30, "answer to k")
        notebook.wait(lambda: picture(mask, 3) != curve, 30, "other curve")
        assert picture(mask, 0) == left, "the left frame stays"
        push(look, "blank out", "End")
        notebook.wait(lambda: "48 of 48 image tokens out" in said(look), 30, "answer to the number")
        look.locator("button[role=tab]:has-text('attention')").click()
        notebook.wait(lambda: look.locator(".thumb:visible").count() == 8, 30, "maps")
        first = picture(player, 0)
        play = player.locator("label.frame button")
        play.click()
        notebook.wait(lambda: picture(player, 0) != first, 30, "next frame of the player")
        play.click()
        assert player.locator("label.frame output").inner_text() != "0"
