"""Figures hold the data that they were given, titles, units and legends."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from workbench.skeletons import skeleton
from workbench.view import figures

HAND = skeleton("hand21")


@pytest.fixture
def hands(rng):
    xy = rng.normal(100, 30, (5, 21, 2)).astype(np.float32)
    return xy, xy + 5, rng.random((5, 21)), rng.random((5, 21)) < 0.3


def names(figure: go.Figure) -> set[str]:
    return {t.name for t in figure.data if t.showlegend is not False}


def test_bones_are_one_line_with_gaps(hands):
    x, y = figures.bones(hands[0][0], HAND)
    assert len(x) == 3 * len(HAND.edges) and x[2] is None and y[5] is None
    assert (x[0], x[1]) == (hands[0][0, 0, 0], hands[0][0, 1, 0])


def test_grid_draws_an_arrow_for_each_replaced_joint(hands):
    detected, refined, confidence, replaced = hands
    figure = figures.refinement_grid(detected, refined, confidence, replaced, HAND, truth=refined, captions=["a"] * 5)
    arrows = [t for t in figure.data if t.hovertext and "moved" in str(t.hovertext)]
    assert len(arrows) == replaced.sum()
    assert "moved 7.1 px" in arrows[0].hovertext
    assert names(figure) >= {"ground truth", "detector", "moved by PORT"}
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1], "y points down, as in a picture"


def test_error_by_confidence_bins_and_marks_delta():
    confidence = np.array([0.05, 0.06, 0.95, 1.0])
    figure = figures.error_by_confidence(confidence, np.array([4.0, 6.0, 1.0, 1.0]), np.ones(4), 0.3)
    boxes = [t for t in figure.data if t.type == "box"]
    lines = [t for t in figure.data if t.type == "scatter"]
    assert [len(b.median) for b in boxes] == [2, 2] and boxes[0].median[0] == 5.0
    assert list(lines[0].y) == [5.0, 1.0] and list(lines[1].y) == [1.0, 1.0]
    assert figure.layout.shapes[0].x0 == 0.3 and "delta" in figure.layout.annotations[0].text
    assert "px" in figure.layout.yaxis.title.text and "confidence" in figure.layout.xaxis.title.text


def test_change_by_occlusions_groups_by_count():
    figure = figures.change_by_occlusions(np.array([0, 2, 2]), np.array([0.0, -1.0, -3.0]))
    assert [len(t.y) for t in figure.data] == [1, 2]
    assert "2 poses, mean -2.00 px" in figure.data[1].name


def test_attention_frames_masked_rows_and_names_joints():
    masked = np.zeros(21, bool)
    masked[[3, 7]] = True
    figure = figures.joint_matrices({"a": np.eye(21), "b": HAND.adjacency.copy()}, HAND, masked=masked, title="t")
    assert figure.data[0].x[3] == "thumb3" and len(figure.layout.shapes) == 4
    assert {s.y0 for s in figure.layout.shapes} == {2.5, 6.5}


def test_sweep_keeps_the_paper_in_a_panel_of_its_own():
    rows = [
        {"setting": "a", "v": 1.0, "low": 0.5, "high": 1.25, "paper": 7.0},
        {"setting": "b", "v": 2.0, "low": 1.5, "high": 3.0, "paper": 8.0},
    ]
    figure = figures.sweep(rows, "v", x_title="K", y_title="P-EPE, px", title="t", baseline=4.0)
    measured, paper = figure.data
    assert list(measured.error_y.array) == [0.25, 1.0] and list(measured.error_y.arrayminus) == [0.5, 0.5]
    assert (measured.yaxis, paper.yaxis) == ("y", "y2") and paper.error_y.array is None and list(paper.y) == [7.0, 8.0]
    assert [a.text for a in figure.layout.annotations] == ["measured", "paper", "detector"]
    alone = figures.sweep([{"setting": "a", "v": 1.0}], "v", x_title="", y_title="", title="")
    assert len(alone.data) == 1 and alone.data[0].error_y.array is None


def test_every_figure_has_a_title_and_readable_text(hands):
    detected, refined, confidence, replaced = hands
    made = [
        figures.pose_figure({"p": {"xy_frame": detected[0], "colour": "red"}}, HAND, "t"),
        figures.refinement_grid(detected, refined, confidence, replaced, HAND),
        figures.flow_of_shapes(["a", "b"], ["1", "2"], ["x", "y"], title="t"),
    ]
    for figure in made:
        assert figure.layout.title.text and figure.layout.font.size >= 12 and figure.layout.height >= 150
