"""JupyterLab in a real browser: cells run, a control reaches the kernel, the figure follows,
nothing leaves.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.lab import CHROMIUM, SCREENSHOTS, OpenNotebook, chromium, jupyterlab
from tests.notebooks import write_notebook
from workbench.runs import notebook_paths

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


def with_input(page, name: str) -> int:
    """Which of the page's explorers has a control of this name."""
    roots = page.locator(".workbench-view:not(.workbench-view *)")
    has = [roots.nth(i).locator(f"input[name='{name}']").count() for i in range(roots.count())]
    return has.index(1)


class Shown:
    """An explorer in a page."""

    def __init__(self, page, notebook: OpenNotebook, number: int = 0):
        self.page = page
        self.notebook = notebook
        self.root = page.locator(".workbench-view:not(.workbench-view *)").nth(number)

    def said(self) -> str:
        return self.root.locator(".verdict").first.inner_text()

    def picture(self, number: int) -> str:
        canvas = self.root.locator("canvas:visible").nth(number)
        return canvas.evaluate("canvas => canvas.toDataURL()")

    def push(self, control: str, key: str) -> None:
        slider = self.root.locator(f"input[name='{control}']")
        slider.scroll_into_view_if_needed()
        slider.focus()
        self.page.keyboard.press(key)

    def spot(self, number: int, x: float, y: float) -> tuple[float, float]:
        """A place in a canvas, by shares of its size, in px of the page."""
        canvas = self.root.locator("canvas:visible").nth(number)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def answer(self, before: str, what: str) -> None:
        self.notebook.wait(lambda: self.said() != before, 30, what)


@pytest.mark.skipif("02_port" not in notebook_paths(), reason="no PORT chapter yet")
def test_delta_and_a_click_move_the_port_chapter(tmp_path):
    with opened(tmp_path, "02_port") as (page, notebook):
        port = Shown(page, notebook, with_input(page, "delta"))
        before, hand = port.said(), port.picture(0)
        port.push("delta", "End")
        port.answer(before, "answer to delta")
        assert "21 joints hidden" in port.said()
        notebook.wait(lambda: port.picture(0) != hand, 20, "other hand")
        before = port.said()
        page.mouse.click(*port.spot(1, 0.3, 0.07))  # the first bar: the wrist
        port.answer(before, "answer to the click")
        assert "20 joints hidden" in port.said()


@pytest.mark.skipif(
    "03_hanet" not in notebook_paths(), reason="the HANet chapter does not exist yet"
)
def test_a_lie_and_its_place_move_the_hanet_chapter(tmp_path):
    with opened(tmp_path, "03_hanet") as (page, notebook):
        hanet = Shown(page, notebook, with_input(page, "at frame"))
        said, drawn = hanet.said(), [hanet.picture(0), hanet.picture(1)]
        hanet.push("at frame", "Home")
        hanet.answer(said, "answer to the place")
        notebook.wait(lambda: hanet.picture(1) != drawn[1], 20, "pose of another frame")
        assert hanet.picture(0) != drawn[0] and "frames 0 to 7" in hanet.said()
        said = hanet.said()
        hanet.root.locator("select[name='lie']").select_option(index=5)
        hanet.answer(said, "answer to the lie")
        assert "all joints" in hanet.said() and "→" in hanet.said()


BRUSH = """from workbench.made.worlds import sample_clip
from workbench.skeletons import skeleton
from workbench.view.stage import Scene, Stage
made = sample_clip("synthetic_tiny", "train", 0)
joints = skeleton(made.clip.tracks[0].skeleton)
Stage(joints, [Scene.of(made.clip, made.frames)], size_px=24, name="brush").show()"""


def test_the_brush_paints_and_flags_follow(tmp_path):
    """Drawn with the mouse, over the whole picture: flags follow, and go back without paint."""
    with opened(tmp_path, "brush", BRUSH) as (page, notebook):
        stage = Shown(page, notebook)
        unpainted, blank = stage.said(), stage.picture(0)
        assert "paint: 0 joints" in unpainted
        notebook.drag(stage.spot(0, 0.35, 0.2), stage.spot(0, 0.65, 0.8))
        stage.answer(unpainted, "answer to the mouse")
        assert "joints in frames" in stage.said() and stage.picture(0) != blank
        page.locator(".menus summary:has-text('more')").click()
        page.locator("button:has-text('clear paint')").click()
        notebook.wait(lambda: stage.said() == unpainted, 20, "flags without paint")
        notebook.wait(lambda: stage.picture(0) == blank, 20, "first picture again")


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
    """k moves the mask, paint blanks out image tokens and their maps follow, the player goes on
    by itself.
    """
    with opened(tmp_path, "stdpose", *STDPOSE) as (page, notebook):
        mask, look, player = (Shown(page, notebook, i) for i in range(3))
        before = mask.said()
        moved, shown = mask.picture(1), mask.picture(2)
        mask.push("k", "End")
        notebook.wait(lambda: mask.said() != before, 30, "answer to k")
        notebook.wait(lambda: mask.picture(2) != shown, 30, "other mask")
        assert mask.picture(1) == moved, "what moved stays"
        assert look.said().startswith("0 of 48 image tokens out")
        look.root.locator("canvas:visible").nth(1).click()
        notebook.wait(
            lambda: look.said().startswith("4 of 48 image tokens out"), 30, "answer to the paint"
        )
        look.root.locator("button[role=tab]:has-text('attention')").click()
        notebook.wait(lambda: look.root.locator(".thumb:visible").count() == 8, 30, "maps")
        first = player.picture(0)
        play = player.root.locator("label.frame button")
        play.click()
        notebook.wait(lambda: player.picture(0) != first, 30, "next frame of the player")
        play.click()
        assert player.root.locator("label.frame output").inner_text() != "0"
