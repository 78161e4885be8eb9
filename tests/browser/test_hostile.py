"""Names, labels and ids of files that carry markup: on every page they are text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.notebooks import write_notebook
from workbench.film import write_video
from workbench.runs import run_notebooks
from workbench.view.html import publish

from .lab import CHROMIUM, OpenNotebook, chromium, jupyterlab

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}"),
]
HOSTILE = '<img src=x onerror="window.hit=1"><svg onload=window.hit=2><script>window.hit=3</script>'
AS_NAME = HOSTILE.replace("/", "")  # of files
LIVE = """() => [window.hit ?? 0, [...document.querySelectorAll('*')].filter(
  e => [...e.attributes].some(a => a.name.startsWith('on'))).map(e => e.outerHTML)]"""


def look(page, path):
    """What was executed, and elements with handlers."""
    page.goto(path.as_uri())
    page.wait_for_timeout(700)
    return page.evaluate(LIVE)


CELLS = f"""import numpy as np
from IPython.display import HTML, Markdown, display
from workbench.errors import BadRecord
from workbench.view import notebook, paper
evil = {HOSTILE!r}
notebook.table([{{evil: evil, "n": 1.5}}], evil)
notebook.report({{evil: 1.0}}, protocol=evil)
figure = paper.curves([{{"a": evil, "x": 0, "y": 1}}, {{"a": evil, "x": 1, "y": 2}}], title=evil)
figure.show()
print(evil)
[evil]"""


def test_words_of_files_are_text_in_the_pages_of_a_run(tmp_path):
    source = tmp_path / "notebooks"
    source.mkdir()
    name = f"seed = 0\nprofile = 'fast'\nwhat = {HOSTILE!r}"
    write_notebook(source / "01_said.ipynb", CELLS, parameters=name)
    fails = f"raise BadRecord({HOSTILE!r}, file={HOSTILE!r}, record={HOSTILE!r})"
    write_notebook(source / "02_fails.ipynb", CELLS, fails, parameters=name)
    run = run_notebooks(["said", "fails"], out=tmp_path / "runs", source=source, progress=False)
    assert run.record["notebooks"]["01_said"]["error"] is None
    publish(run)
    with chromium() as (page, outside):
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        for name in ("index", "01_said", "02_fails"):
            assert look(page, run.folder / f"{name}.html") == [0, []], name
            assert "window.hit" in page.locator("body").inner_text()
        assert outside == [] and said == []


def test_outputs_that_are_markup_run_nothing(tmp_path):
    """Whoever displays HTML means it; what it would execute is stopped by the page's policy."""
    source = tmp_path / "notebooks"
    source.mkdir()
    shows = "from IPython.display import HTML, Markdown, display\n"
    shows += f"display(HTML({HOSTILE!r}))\ndisplay(Markdown({HOSTILE!r}))"
    write_notebook(source / "01_shows.ipynb", shows, parameters="seed = 0")
    run = run_notebooks(["shows"], out=tmp_path / "runs", source=source, progress=False)
    publish(run)
    with chromium() as (page, _):
        hit, _ = look(page, run.folder / "01_shows.html")
        assert hit == 0
    policy = (run.folder / "01_shows.html").read_text().partition("script-src")[2]
    assert "unsafe-inline" not in policy.partition(";")[0]


@pytest.fixture
def hostile_files(tmp_path):
    """A video, and COCO results, whose every name and id carries markup."""
    rng = np.random.default_rng(0)
    video = write_video(
        tmp_path / f"{AS_NAME}.webm", rng.integers(0, 255, (4, 96, 128, 3), np.uint8)
    )
    people = [
        {
            "image_id": frame,
            "category_id": 1,
            "keypoints": np.c_[rng.uniform(20, 90, (17, 2)), np.full(17, 0.3)].ravel().tolist(),
            "score": 0.5,
            "track_id": HOSTILE,
            "id": f"{HOSTILE}{frame}",
        }
        for frame in range(4)
    ]
    content = {
        "images": [
            {"id": i, "file_name": f"{AS_NAME}/{i:06d}.jpg", "width": 128, "height": 96}
            for i in range(4)
        ],
        "annotations": people,
        "categories": [{"id": 1, "name": HOSTILE}],
        "info": {"description": HOSTILE},
    }
    (tmp_path / f"{AS_NAME}.json").write_text(json.dumps(content))
    return video, tmp_path / f"{AS_NAME}.json"


def test_a_video_and_results_with_markup_go_through_chapter_08_as_text(tmp_path, hostile_files):
    video, results = hostile_files
    given = {"video": str(video), "keypoints": str(results), "out": AS_NAME, "first_frame": 0}
    run = run_notebooks(
        ["08_your_own_video"],
        {**given, "skeleton": "coco17"},
        out=tmp_path / "runs",
        progress=False,
    )
    assert run.record["notebooks"]["08_your_own_video"]["error"] is None
    publish(run)
    with chromium() as (page, outside):
        for name in ("index", "08_your_own_video"):
            assert look(page, run.folder / f"{name}.html") == [0, []], name
        assert outside == [] and "window.hit" in page.locator("body").inner_text()


def test_an_explorer_s_page_and_widget_show_names_as_text(tmp_path, hostile_files):
    from workbench import explore

    video, results = hostile_files
    for method in ("port", "hanet"):
        given = {"video": str(video), "keypoints": str(results), "skeleton": "coco17"}
        explorer = explore(method, **given, first_frame=0)
        (tmp_path / "page.html").write_text(explorer.page(HOSTILE), encoding="utf-8")
        with chromium() as (page, outside):
            assert look(page, tmp_path / "page.html") == [0, []], method
            assert outside == []


SHOWS = """import pandas as pd
from workbench import explore
from workbench.data.readers import read
given = {"video": VIDEO, "keypoints": RESULTS, "skeleton": "coco17", "first_frame": 0}
explore("port", **given).show()
explore("hanet", **given).show()
read(RESULTS)"""


def test_words_of_files_are_text_in_jupyterlab(tmp_path, hostile_files):
    """Live, where no policy stands behind the escaping: tables, figures, widgets, errors."""
    video, results = hostile_files
    folder = tmp_path / "folder"
    folder.mkdir()
    fails = f"raise BadRecord({HOSTILE!r}, file={HOSTILE!r}, record={HOSTILE!r})"
    shows = SHOWS.replace("VIDEO", repr(str(video))).replace("RESULTS", repr(str(results)))
    write_notebook(folder / "all.ipynb", CELLS, shows, fails, parameters="seed = 0")
    with jupyterlab(folder, tmp_path / "private") as address:
        with chromium(home=address.partition("/doc/")[0]) as (page, outside):
            notebook = OpenNotebook(page, address.format(path="all.ipynb"))
            notebook.run_all()
            notebook.wait(notebook.errors, 30, "error of the last cell")
            (error,) = notebook.errors()
            assert "BadRecord" in error and "window.hit" in error
            assert page.locator(".workbench-view").count() >= 2
            hit, live = page.evaluate(LIVE)
            assert hit == 0 and not [text for text in live if "window.hit" in text], live
            assert outside == []
