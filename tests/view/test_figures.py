"""Figures hold the data that they were given, titles, units and legends."""

from __future__ import annotations

import base64
import inspect
import json
import re

import cv2
import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.colors import sample_colorscale

from workbench.made.hands import sample_hands
from workbench.made.noise import DetectorNoise
from workbench.skeletons import skeleton
from workbench.view import figures, style

HAND = skeleton("hand21")


@pytest.fixture
def hands(rng):
    xy = rng.normal(100, 30, (5, 21, 2)).astype(np.float32)
    return xy, xy + 5, rng.random((5, 21)), rng.random((5, 21)) < 0.3


def names(figure: go.Figure) -> set[str]:
    return {t.name for t in figure.data if t.showlegend is not False}


def test_bones_are_one_line_with_gaps(hands):
    x, y = figures.bones(hands[0][0], HAND)
    assert (
        len(x) == 3 * len(HAND.edges)
        and np.isnan(x[2::3]).all()
        and np.isnan(y).sum() == len(HAND.edges)
    )
    assert (x[0], x[1]) == (hands[0][0, 0, 0], hands[0][0, 1, 0])


def test_grid_draws_an_arrow_for_each_replaced_joint(hands):
    detected, refined, confidence, replaced = hands
    figure = figures.refinement_grid(
        detected, refined, confidence, replaced, HAND, "t", truth=refined, captions=["a"] * 5
    )
    arrows = [t for t in figure.data if t.name == "moved by PORT"]
    assert [t.marker.symbol.count("arrow") for t in arrows] == replaced.sum(1).tolist()
    assert all("moved 7.1 px" in text for t in arrows for text in t.hovertext)
    moved = np.stack((arrows[0].x, arrows[0].y), -1).reshape(-1, 3, 2)
    np.testing.assert_allclose(moved[:, 0], detected[0, replaced[0]])
    np.testing.assert_allclose(moved[:, 1], refined[0, replaced[0]])
    assert names(figure) >= {"ground truth", "detector", "moved by PORT"}
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1], (
        "y points down, as in a picture"
    )


def test_error_by_confidence_bins_and_marks_delta():
    confidence = np.array([0.05, 0.06, 0.95, 1.0])
    figure = figures.error_by_confidence(
        confidence, np.array([4.0, 6.0, 1.0, 1.0]), np.ones(4), 0.3, "t"
    )
    boxes = [t for t in figure.data if t.type == "box"]
    lines = [t for t in figure.data if t.type == "scatter"]
    assert [len(b.median) for b in boxes] == [2, 2] and boxes[0].median[0] == 5.0
    assert list(lines[0].y) == [5.0, 1.0] and list(lines[1].y) == [1.0, 1.0]
    assert figure.layout.shapes[0].x0 == 0.3 and "delta" in figure.layout.annotations[0].text
    assert "px" in figure.layout.yaxis.title.text and "confidence" in figure.layout.xaxis.title.text


def test_change_by_occlusions_groups_by_count():
    figure = figures.change_by_occlusions(np.array([0, 2, 2]), np.array([0.0, -1.0, -3.0]), "t")
    assert [len(t.y) for t in figure.data] == [1, 2]
    assert "2 poses, mean -2.00 px" in figure.data[1].name


def test_attention_frames_masked_rows_and_names_joints():
    masked = np.zeros(21, bool)
    masked[[3, 7]] = True
    figure = figures.joint_matrices(
        {"a": np.eye(21), "b": HAND.adjacency.copy()}, HAND, masked=masked, title="t"
    )
    assert figure.data[0].x[3] == "thumb3" and len(figure.layout.shapes) == 4
    assert {s.y0 for s in figure.layout.shapes} == {2.5, 6.5}


def test_sweep_keeps_the_paper_in_a_panel_of_its_own():
    rows = [
        {"setting": "a", "v": 1.0, "low": 0.5, "high": 1.25, "paper": 7.0},
        {"setting": "b", "v": 2.0, "low": 1.5, "high": 3.0, "paper": 8.0},
    ]
    figure = figures.sweep(
        rows,
        "v",
        x_title="K",
        y_title="P-EPE, px",
        title="t",
        baseline=4.0,
        names=("measured", "paper"),
    )
    measured, paper = figure.data
    assert list(measured.error_y.array) == [0.25, 1.0] and list(measured.error_y.arrayminus) == [
        0.5,
        0.5,
    ]
    assert (
        (measured.yaxis, paper.yaxis) == ("y", "y2")
        and paper.error_y.array is None
        and list(paper.y) == [7.0, 8.0]
    )
    assert [a.text for a in figure.layout.annotations] == ["measured", "paper", "detector"]
    alone = figures.sweep(
        [{"setting": "a", "v": 1.0}],
        "v",
        x_title="",
        y_title="",
        title="",
        names=("measured", "paper"),
    )
    assert len(alone.data) == 1 and alone.data[0].error_y.array is None


def test_a_label_has_a_state():
    states = figures.joint_states(np.array([0, 1, 2, 1]), np.array([0, 1, 2, 2]))
    assert states.tolist() == ["", figures.HIDDEN, figures.VISIBLE, figures.NEWLY_HIDDEN]
    assert figures.joint_states(np.array([2, 0]), known=False).tolist() == [figures.UNSTATED, ""]


@pytest.fixture
def panel(rng):
    picture = rng.integers(0, 255, (30, 50, 3)).astype(np.uint8)
    flags = np.tile([2, 1, 0], (2, 7))
    return {
        "picture": picture,
        "caption": "c",
        "skeleton": HAND,
        "xy_frame": rng.uniform(5, 25, (2, 21, 2)),
        "visibility": flags,
    }


def test_pictures_carry_their_labels(panel):
    after = panel | {
        "before": np.where(panel["visibility"] == 1, 2, panel["visibility"]),
        "box": np.array([1, 2, 9, 8]),
    }
    blind = {**panel, "picture": None, "known": False, "number": True}
    figure = figures.annotated_pictures(
        [panel, after, {"picture": panel["picture"], "caption": "nobody"}, blind], "t", cols=3
    )
    assert [a.text for a in figure.layout.annotations] == ["c", "c", "nobody", "c"]
    count = {t.name: len(t.x) for t in figure.data if t.name}
    assert count == dict.fromkeys(
        (figures.VISIBLE, figures.HIDDEN, figures.NEWLY_HIDDEN, figures.UNSTATED), 14
    )
    assert names(figure) == set(figures.LOOKS), "each state once in the legend"
    assert (
        figure.data[-1].hovertext[0] == f"{HAND.joints[0]}, person 0: {figures.UNSTATED}"
        and figure.data[-1].text[1] == 3
    )
    lines = next(t for t in figure.data if t.mode == "lines")
    both = (panel["visibility"] > 0)[:, np.array(HAND.edges)].all(-1).sum()
    assert len(lines.x) == 3 * both and np.isnan(lines.x[2::3]).all()
    assert len(figure.layout.images) == 3 and figure.layout.shapes[0].x1 == 9
    assert figure.layout.yaxis.range == (29.5, -0.5) and figure.layout.xaxis.range == (-0.5, 49.5)
    raw = base64.b64decode(figure.layout.images[0].source.split(",")[1])
    back = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(back.mean((0, 1)) - panel["picture"].mean((0, 1))).max() < 3, "red stays red"


def test_statistics_split_only_what_is_known():
    known = np.tile(np.array([2, 1, 0], np.int8), (5, 7))
    labels = {"a": (HAND, known, True), "b": (HAND, 2 * (known > 0), False)}
    bars = {t.name: dict(zip(t.y, t.x)) for t in figures.visibility_shares(labels, "t").data}
    third = pytest.approx(1 / 3)
    assert bars[figures.VISIBLE] == {"a": third} and bars[figures.UNSTATED] == {
        "b": pytest.approx(2 / 3)
    }
    assert bars[figures.HIDDEN] == {"a": third, "b": 0} and bars["not labelled (0)"] == {
        "a": third,
        "b": third,
    }
    shares = figures.hidden_by_joint(labels, "t").data[0]
    assert list(shares.x) == ["a"] and list(shares.y[:4]) == ["wrist", "thumb1", "thumb2", "thumb3"]
    np.testing.assert_array_equal(np.ravel(shares.z[:4]), [0, 1, np.nan, 0])  # thumb2 has no label


def test_left_and_right_are_one_kind_of_joint():
    flags = np.full((3, 17), 2)
    flags[0, skeleton("coco17").index("left_wrist")] = 1
    flags[:2, skeleton("coco17").index("right_wrist")] = 0
    shares = figures.hidden_by_joint({"a": (skeleton("coco17"), flags, True)}, "t").data[0]
    assert len(shares.y) == 9 and shares.z[list(shares.y).index("wrist")][0] == pytest.approx(1 / 4)


def test_crowd_bars_hold_every_picture_once():
    index = np.array([0.0, 0.1999, 0.2, 0.79, 0.8, 1.19, 1.2, 3.02])
    figure = figures.crowd_histogram(index, {"paper": (0.1, 0.8), "evaluator": (0.2, 0.8)}, "t")
    assert [t.name for t in figure.data] == [
        "easy: 2 pictures",
        "medium: 2 pictures",
        "hard: 4 pictures",
    ]
    assert [len(t.x) for t in figure.data] == [2, 2, 4] and max(
        figure.data[2].x
    ) < 1.25 == figure.data[2].xbins.end
    assert [a.text for a in figure.layout.annotations] == [
        "0.1 paper",
        "0.8 paper",
        "0.2 evaluator",
        "0.8 evaluator",
    ]


def test_noise_figures_show_what_was_diagnosed(rng):
    pose = sample_hands(53, rng)
    found = DetectorNoise().diagnose(pose, DetectorNoise().apply(pose, rng), rng, draws=2)
    lines = {t.name: t for t in figures.noise_errors(found, "t").data}
    assert len(lines) == 10
    np.testing.assert_allclose(lines["simulated, 50 %"].y, found["error_simulated"][:, 1])
    real, simulated = figures.noise_confidence(found, "t").data
    np.testing.assert_allclose(real.y, found["share_real"])
    assert (real.name, simulated.name) == ("real", "simulated")


def test_every_figure_has_a_title_and_readable_text(hands, panel):
    detected, refined, confidence, replaced = hands
    made = [
        figures.annotated_pictures([panel], "t"),
        figures.crowd_histogram(np.array([0.5]), {"paper": (0.1, 0.8)}, "t"),
        figures.refinement_grid(
            detected, refined, confidence, replaced, HAND, "t", captions="abcde"
        ),
        figures.flow_of_shapes(["a", "b"], ["1", "2"], ["x", "y"], title="t"),
    ]
    for figure in made:
        assert (
            figure.layout.title.text
            and figure.layout.template.layout.font.size >= 12
            and figure.layout.height >= 150
        )


def test_runs_of_frames_have_ends():
    assert figures.spans(np.array([1, 1, 0, 0, 1], bool)) == [(0, 1), (4, 4)]
    assert figures.spans(np.zeros(3, bool)) == []
    line = {figures.REAL: (np.arange(5), np.arange(5))}
    shapes = figures.time_panels({"px": line}, "t", shaded=[(0, 1), (4, 4)]).layout.shapes
    assert [(s.x0, s.x1) for s in shapes] == [(-0.5, 1.5), (3.5, 4.5)]
    assert [s.showlegend for s in shapes] == [True, False]


def test_panels_over_time_share_frames_and_colours():
    frames = np.arange(5)
    lines = {figures.REAL: (frames, frames * 2.0), "level 1": (frames[::2], frames[::2] + 1.0)}
    figure = figures.time_panels(
        {"x, px": lines, "v, px/frame": {figures.REAL: (frames, frames)}}, "t", shaded=[(1, 2)]
    )
    truth, level, again = figure.data
    (key,) = figure.layout.shapes
    assert (
        truth.line.color == again.line.color == figures.TRUTH and level.line.color != figures.TRUTH
    )
    assert list(level.x) == [0, 2, 4] and list(level.y) == [1, 3, 5]
    assert names(figure) == {figures.REAL, "level 1"}
    assert (key.name, key.fillcolor) == ("burst of occlusion", style.colour("hidden"))
    assert (figure.layout.yaxis.title.text, figure.layout.yaxis2.title.text) == (
        "x, px",
        "v, px/frame",
    )
    assert figure.layout.xaxis2.title.text == "frame" and figure.layout.shapes[0].x1 == 2.5


def test_panels_of_poses_have_one_scale_where_asked(hands):
    real, final = hands[0].astype(float), hands[1][0].astype(float)
    both = {
        figures.REAL: {"xy_frame": real[0]},
        figures.FINAL: {"xy_frame": final, "colour": "red"},
    }
    small = {figures.REAL: {"xy_frame": 0.1 * real[1]}}
    panels = [
        {"caption": caption, "skeleton": HAND, "poses": poses}
        for caption, poses in {"frame 0": both, "frame 5": small}.items()
    ]
    for one_scale in (True, False):
        figure = figures.annotated_pictures(panels, "t", one_scale=one_scale)
        (left, right), (low, high) = (figure.layout[axis].range for axis in ("xaxis", "xaxis2"))
        assert (right - left == pytest.approx(high - low)) == one_scale
        assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]
        assert low < min(0.1 * real[1][:, 0]) < max(0.1 * real[1][:, 0]) < high
    assert names(figure) == {figures.REAL, figures.FINAL}
    assert figure.data[0].line.color == figures.TRUTH, "the name's colour"
    assert [a.text for a in figure.layout.annotations] == ["frame 0", "frame 5"]


def test_marked_joints_of_a_pose_have_a_symbol(hands):
    xy, marked = hands[0][0], np.arange(21) == 3
    _, dots = figures.pose_traces(xy, HAND, "detector", confidence=hands[2][0], marked=marked)
    assert dots.marker.symbol == tuple(np.where(marked, "diamond", "circle"))
    assert dots.marker.size == tuple(np.where(marked, 13, 9))
    assert list(dots.marker.color) == list(hands[2][0])


def test_arrows_start_at_the_last_pose():
    early, late = np.zeros((21, 2)), np.ones((21, 2))
    late[3] = 7.0
    arrows = {"velocity, px/frame": (late - early, 2.0)}
    figure = figures.kinematics_figure({"frame 0": early, "frame 1": late}, arrows, HAND, "t")
    arrow = figure.data[-1]
    assert (arrow.x[9], arrow.x[10]) == (7.0, 21.0) and np.isnan(arrow.x[11])
    assert (
        "2 times" in arrow.name
        and arrow.hovertext[9] == f"{HAND.joints[3]}: velocity, px/frame 9.9 px"
    )


def test_matrices_share_a_scale():
    m = np.arange(441.0).reshape(21, 21) / 2100
    figure = figures.joint_matrices({"a": m, "b": m / 2}, HAND, title="t")
    first = figure.data[0]
    assert list(first.x) == list(HAND.joints)
    assert first.z[1][3] == pytest.approx(np.log2(21 * m[1, 3]))
    assert first.text[1][3] == "0.24x uniform, weight 0.011"
    assert {(t.zmin, t.zmax) for t in figure.data} == {(-4.0, 4.0)}
    assert [t.showscale for t in figure.data] == [False, True]


def test_feature_maps_share_a_scale_about_zero():
    maps = np.stack([np.full((4, 3), v) for v in (-2.0, 1.0, 0.0, 0.5, 1.5)])
    figure = figures.map_grid(maps, list("abcde"), "t", cols=3)
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-2, 2) and len(
        figure.data
    ) == 5
    caption = {a.text: (round(a.x, 1), round(a.y, 1)) for a in figure.layout.annotations}
    assert (
        set(caption) == set("abcde")
        and caption["a"][0] < caption["c"][0]
        and caption["a"][1] > caption["e"][1]
    )


def test_reliability_shows_counts_and_the_ideal():
    bins = {"VisNet": (np.array([0.2, 0.9]), np.array([0.1, 1.0]), np.array([4, 1]))}
    ideal, line = figures.reliability(bins, "t").data
    assert (
        list(ideal.x) == list(ideal.y) == [0, 1]
        and list(line.y) == [0.1, 1.0]
        and list(line.customdata) == [4, 1]
    )
    assert np.array(line.marker.size).tolist() == [30, 18], "areas by count"


def test_bars_stand_by_joint():
    figure = figures.joint_bars(
        {"a": np.linspace(0, 1, 21), "b": np.zeros(21)}, HAND, "t", y_title="share"
    )
    assert [t.name for t in figure.data] == ["a", "b"] and figure.data[0].x[20] == HAND.joints[20]
    assert figure.data[0].y[20] == 1 and figure.layout.yaxis.title.text == "share"


def test_the_front_has_a_point_a_setting():
    points = [
        {"method": "savgol", "setting": "(9, 1)", "accel": 3.0, "pck_0.05": 60.0},
        {"method": "HANet", "setting": "", "accel": 0.8, "pck_0.05": 87.0},
        {"method": "savgol", "setting": "(31, 1)", "accel": 1.0, "pck_0.05": 40.0},
    ]
    figure = figures.front(points, "made")
    assert [t.name for t in figure.data] == [
        "savgol",
        "HANet",
    ] and figure.layout.xaxis.type == "log"
    assert list(figure.data[0].x) == [1.0, 3.0]
    assert list(figure.data[0].hovertext) == ["(31, 1)", "(9, 1)"]


# --- one colour, one meaning


@pytest.fixture
def every_figure(hands, panel, rng):
    """All figures of the module, by the name of what makes them, from small made-up data."""
    detected, refined, confidence, replaced = hands
    after = panel | {"before": np.full((2, 21), 2), "box": np.array([1, 2, 9, 8])}
    drawn = {figures.REAL: {"xy_frame": detected[0], "marked": replaced[0], "symbol": "x"}}
    blind = {**panel, "picture": None, "known": False, "number": True, "poses": drawn}
    flags = np.tile(np.array([2, 1, 0], np.int8), (5, 7))
    labels = {"a": (HAND, flags, True), "b": (HAND, 2 * (flags > 0), False)}
    rows = [{"setting": "a", "v": 1.0, "low": 0.5, "high": 1.5, "paper": 2.0}]
    share, frames = rng.random(21), np.arange(7)
    few = detected[0].astype(float)
    curve = (np.array([0.2, 0.9]), np.array([0.1, 1.0]), np.array([4, 1]))
    spoken = (figures.REAL, figures.INPUT, figures.ENCODED, figures.FINAL, "Savitzky-Golay")
    lines = dict.fromkeys((*spoken, "level 1", "level 2"), (frames, frames))
    truth = sample_hands(53, rng)
    noise = DetectorNoise().diagnose(truth, DetectorNoise().apply(truth, rng), rng, draws=2)
    points = [
        {"method": m, "setting": "", "accel": 1.0, "pck_0.05": 60.0}
        for m in ("HANet (shipped)", "input", "savgol", "mean")
    ]
    joints = dict.fromkeys(("VisNet", "visible", "hidden", "outside the picture", "b"), share)
    return {
        "refinement_grid": figures.refinement_grid(
            detected, refined, confidence, replaced, HAND, "t", truth=refined, captions="abcde"
        ),
        "error_by_confidence": figures.error_by_confidence(share, share, share, 0.3, "t"),
        "change_by_occlusions": figures.change_by_occlusions(np.arange(3) % 2, share[:3], "t"),
        "joint_matrices": figures.joint_matrices(
            {"a": np.eye(21), "b": np.full((21, 21), 1 / 21)},
            HAND,
            masked=replaced[0],
            title="t",
        ),
        "map_grid": figures.map_grid(rng.normal(size=(3, 4, 5)), list("abc"), "t", cols=3),
        "sweep": figures.sweep(
            rows, "v", x_title="", y_title="", title="t", baseline=4.0, names=("measured", "paper")
        ),
        "flow_of_shapes": figures.flow_of_shapes(["a", "b"], ["1", "2"], ["x", "y"], title="t"),
        "annotated_pictures": figures.annotated_pictures([panel, after, blind], "t"),
        "visibility_shares": figures.visibility_shares(labels, "t"),
        "hidden_by_joint": figures.hidden_by_joint(labels, "t"),
        "reliability": figures.reliability({"VisNet": curve, "control": curve}, "t"),
        "joint_bars": figures.joint_bars(joints, HAND, "t", y_title="share"),
        "crowd_histogram": figures.crowd_histogram(share, {"paper": (0.1, 0.8)}, "t"),
        "noise_errors": figures.noise_errors(noise, "t"),
        "noise_confidence": figures.noise_confidence(noise, "t"),
        "front": figures.front(points, "t"),
        "time_panels": figures.time_panels({"px": lines}, "t", shaded=[(1, 2)]),
        "kinematics_figure": figures.kinematics_figure(
            {"frame 0": few, "frame 1": few + 1}, {"v": (few, 2.0), "a": (few, 1.0)}, HAND, "t"
        ),
    }


# What a name says about the colour of a trace; what is not named here may have no role's.
MEANING = {
    "ground truth": "truth",
    figures.REAL: "truth",
    "detector": "detector",
    "mean, detector": "detector",
    figures.INPUT: "detector",
    "input": "detector",
    "real": "detector",
    "moved by PORT": "ours",
    "with PORT": "ours",
    "mean, with PORT": "ours",
    figures.FINAL: "ours",
    "HANet (shipped)": "ours",
    "VisNet": "ours",
    "measured": "ours",
    "Savitzky-Golay": "rival",
    "savgol": "rival",
    "mean": "rival",
    figures.VISIBLE: "visible",
    "visible": "visible",
    figures.HIDDEN: "hidden",
    "hidden": "hidden",
    "burst of occlusion": "hidden",
    figures.NEWLY_HIDDEN: "newly_hidden",
    "outside the picture": "outside",
}


def role_of(trace) -> str | None:
    """The role that a trace has by its name; PORT's arrows and changes are ours."""
    name = trace.name or ""
    if "replaced" in name or "moved" in str(trace.hovertext):
        return "ours"
    return MEANING.get(name) or MEANING.get(name.partition(", ")[0])


def colours_in(part) -> set[str]:
    """Every colour that a part of a figure names."""
    text = json.dumps(part.to_plotly_json(), default=lambda array: array.tolist())
    return set(re.findall(r"#[0-9A-Fa-f]{3,8}\b|rgba?\([^)]*\)", text))


def test_every_figure_is_walked(every_figure):
    made = {
        name
        for name, function in inspect.getmembers(figures, inspect.isfunction)
        if function.__module__ == figures.__name__
        and function.__annotations__.get("return") == "go.Figure"
    }
    assert set(every_figure) == made - {"page_layout"}


def test_every_colour_comes_from_the_style(every_figure):
    known = {*style.ROLES["light"].values(), *style.PAPER["light"].values()}
    known |= {*style.ON_PICTURE.values(), *style.DIVERGING["light"]}
    known |= {colour for count in range(1, 8) for colour in style.series(count)}
    known |= set(sample_colorscale(style.SEQUENTIAL, np.linspace(0, 1, 4001).tolist()))
    known |= colours_in(go.Heatmap(colorscale=style.SEQUENTIAL))
    for name, figure in every_figure.items():
        assert figure.layout.template == style.template(), name
        figure.layout.template = None
        for part in (*figure.data, figure.layout):
            assert colours_in(part) <= known, name


def test_every_line_and_mark_names_its_colour(every_figure):
    """What names none gets one of the template's, whatever it is called."""
    for name, figure in every_figure.items():
        for trace in figure.data:
            if trace.type == "heatmap":
                continue
            lines = trace.type == "scatter" and "lines" in trace.mode
            own = trace.line.color if lines else trace.marker.color
            assert own is not None, f"{name}: {trace.name}"


def test_a_role_s_colour_means_that_role_alone(every_figure):
    roles = {colour: role for role, colour in style.ROLES["light"].items()}
    met = set()
    for name, figure in every_figure.items():
        for trace in figure.data:
            own = {roles[colour] for colour in colours_in(trace) if colour in roles}
            assert own == ({role_of(trace)} - {None}), f"{name}: {trace.name}"
            met |= own
    assert met == set(roles.values())


def test_uniform_attention_is_neutral_and_has_words(every_figure):
    neutral = style.DIVERGING["light"][2]
    trace = every_figure["joint_matrices"].data[1]
    place = (trace.z[0][0] - trace.zmin) / (trace.zmax - trace.zmin)
    (at,) = [colour for where, colour in trace.colorscale if where == pytest.approx(place)]
    assert at == neutral and trace.text[0][0].startswith("1x uniform, weight ")
    assert "%{text}" in trace.hovertemplate


def test_all_maps_have_one_scale(every_figure):
    scale = style.attention_scale()
    for trace in every_figure["joint_matrices"].data:
        assert (trace.zmin, trace.zmax) == (scale["zmin"], scale["zmax"])
        assert [list(stop) for stop in trace.colorscale] == scale["colorscale"]
