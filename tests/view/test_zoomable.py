"""Figures by plotly: what they show, in which colours, and with which numbers."""

from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
import pytest
from IPython.core.formatters import DisplayFormatter

from workbench.view import style, zoomable
from workbench.view.tools import PLOTLY_MIME

FRAMES = np.arange(5)


@pytest.fixture
def figure() -> go.Figure:
    every = {"truth": (FRAMES, FRAMES * 2.0), "level 1": (FRAMES[::2], FRAMES[::2] + 1.0)}
    panels = {"x, px": every, "v, px/frame": {"truth": (FRAMES, FRAMES)}}
    return zoomable.time_panels(panels, shaded=[(1, 2), (4, 4)], title="made")


def test_panels_over_time_share_frames_and_colours(figure):
    truth, level, below = figure.data
    assert truth.line.color == below.line.color == style.colour("truth")
    assert [level.line.color] == style.series(1)
    assert list(level.x) == [0, 2, 4] and list(level.y) == [1, 3, 5]
    layout = figure.layout
    assert (layout.yaxis.title.text, layout.yaxis2.title.text) == ("x, px", "v, px/frame")
    assert layout.xaxis.matches == "x2" and layout.xaxis2.title.text == "frame"
    assert [trace.showlegend for trace in figure.data] == [True, True, False]
    assert truth.name == "truth" and "frame %{x}: %{y:.2f}" in truth.hovertemplate


def test_bursts_are_shaded_and_named_once(figure):
    first, last = figure.layout.shapes
    assert (first.x0, first.x1, last.x0, last.x1) == (0.5, 2.5, 3.5, 4.5)
    assert first.fillcolor == style.colour("hidden") and (first.y0, first.y1) == (0, 1)
    assert first.showlegend and not last.showlegend


def test_names_from_outside_are_no_markup():
    lines = {"<b>a</b> %{x}": (FRAMES, FRAMES)}
    figure = zoomable.time_panels({"<i>y</i>": lines}, title="<b>t</b>")
    (trace,) = figure.data
    assert trace.name == "&lt;b&gt;a&lt;/b&gt; %{x}" and trace.name not in trace.hovertemplate
    assert (figure.layout.title.text, figure.layout.yaxis.title.text) == (
        "&lt;b&gt;t&lt;/b&gt;",
        "&lt;i&gt;y&lt;/i&gt;",
    )
    assert figure.layout.meta["data"][0][:2] == ["<i>y</i>", "<b>a</b> %{x}"]


def test_paper_and_ink_are_the_light_theme_s_and_nothing_else_has_a_colour(figure):
    layout = figure.layout.template.layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == style.colour("paper")
    assert layout.font.color == layout.hoverlabel.font.color == style.colour("ink")
    assert layout.xaxis.gridcolor == layout.yaxis.gridcolor == style.colour("line")


def test_its_numbers_stand_in_it(figure):
    numbers = figure.layout.meta
    assert numbers["columns"] == ["panel", "who", "frame", "value"]
    assert len(numbers["data"]) == 5 + 3 + 5 and numbers["data"][6] == ["x, px", "level 1", 2, 3.0]


def test_a_notebook_shows_it_without_plotly_s_own_display(figure):
    bundle, _ = DisplayFormatter().format(figure)
    assert set(bundle) == {PLOTLY_MIME, "text/plain"}
    assert "toImage" in bundle[PLOTLY_MIME]["config"]["modeBarButtonsToRemove"]
    assert json.loads(json.dumps(bundle)) == bundle


def test_the_front_has_a_point_a_setting():
    points = [
        {"method": "savgol", "setting": "(9, 1)", "accel": 3.0, "pck_0.05": 60.0},
        {"method": "HANet (shipped)", "setting": "", "accel": 0.8, "pck_0.05": 87.0},
        {"method": "savgol", "setting": "(31, 1)", "accel": 1.0, "pck_0.05": 40.0},
        {"method": "mean", "setting": "3", "accel": 1.0, "pck_0.05": 41.0},
    ]
    figure = zoomable.front(points)
    savgol, ours, mean = figure.data
    assert (list(savgol.x), list(savgol.y)) == ([3, 1], [60, 40])
    assert list(savgol.hovertext) == ["(9, 1)", "(31, 1)"] and figure.layout.xaxis.type == "log"
    assert ours.marker.color == style.colour("ours") and ours.marker.size > savgol.marker.size
    assert savgol.marker.color == mean.marker.color == style.colour("rival")
    assert len({trace.marker.symbol for trace in figure.data}) == 3
    assert figure.layout.meta["data"][0] == ["savgol", "(9, 1)", 3.0, 60.0]
