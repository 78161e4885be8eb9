"""Charts hold what they were given, in colours that mean one thing, and follow the theme."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from workbench.made.hands import sample_hands
from workbench.made.noise import DetectorNoise
from workbench.skeletons import skeleton
from workbench.view import paper, style
from workbench.view.panels import SAYS
from workbench.view.paper import charts

HAND = skeleton("hand21")
SVG = "{http://www.w3.org/2000/svg}"


def keys(figure) -> dict[str, str]:
    """What the legend names, and in which colour."""
    (legend,) = figure.legends
    found = {}
    for handle, text in zip(legend.legend_handles, legend.get_texts()):
        line = isinstance(handle, matplotlib.lines.Line2D)
        colour = handle.get_color() if line else np.ravel(handle.get_facecolor())[:3]
        found[text.get_text()] = to_hex(colour).upper()
    return found


def lines(figure) -> list[tuple[list, list]]:
    """Points of all lines that have some."""
    drawn = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) > 1]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in drawn]


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


# --- what they hold


def test_changes_stand_by_number_of_replaced_joints():
    figure = paper.change_by_occlusions(np.array([0, 2, 2]), np.array([0.0, -1.0, -3.0]), title="t")
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0\nn = 1", "2\nn = 2"]
    rows = figure.numbers.set_index("replaced")
    assert rows.loc[2, ["count", "mean", "50%"]].tolist() == [2, -2, -2]
    assert "below 0 is better" in figure.axes[0].get_ylabel() and "t" in texts(figure)


def test_changes_have_their_intervals_and_colour_where_these_leave_0_out():
    rows = [
        {"subset": "s", "method": "a", "change": 2.0, "low": 1.0, "high": 4.0},
        {"subset": "s", "method": "b", "change": 1.0, "low": -1.0, "high": 2.0},
        {"subset": "t", "method": "b", "change": -3.0, "low": -4.0, "high": -0.5},
    ]
    figure = paper.changes(rows, x_title="change")
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["a", "b"]
    ends = [c.get_segments()[0][:, 0].tolist() for c in (*left.collections, *right.collections)]
    assert ends == [[1, 4], [-1, 2], [-4, -0.5]]
    colours = [to_hex(c.get_color()[0]).upper() for c in (*left.collections, *right.collections)]
    assert colours == [style.colour(role) for role in ("ours", "soft", "rival")]


def test_sweep_keeps_the_paper_in_a_panel_of_its_own():
    rows = [
        {"setting": "a", "v": 1.0, "low": 0.5, "high": 1.25, "paper": 7.0},
        {"setting": "b", "v": 2.0, "low": 1.5, "high": 3.0, "paper": 8.0},
    ]
    words = {"x_title": "K", "y_title": "P-EPE, px", "names": ("measured", "paper")}
    figure = paper.sweep(rows, "v", baseline=4.0, **words)
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("measured", "paper")
    assert list(left.lines[0].get_ydata()) == [1, 2] and list(right.lines[0].get_ydata()) == [7, 8]
    (bars,) = left.collections
    ends = [path.vertices[:, 1].tolist() for path in bars.get_paths()]
    np.testing.assert_allclose(ends, [[0.5, 1.25], [1.5, 3.0]])
    assert keys(figure) == {"detector": style.colour("detector")} and not right.collections
    alone = paper.sweep([{"setting": "a", "v": 1.0}], "v", **words)
    assert len(alone.axes) == 1 and not alone.axes[0].collections


def test_maps_beyond_the_top_have_its_colour():
    maps = np.array([[[0.5, -9.0]], [[3.0, 0.0]]])
    whole, cut = (paper.map_grid(maps, ["a", "b"], per_row=2, **top) for top in ({}, {"top": 1}))
    for figure, top in ((whole, 9), (cut, 1)):
        assert {each.get_clim() for axes in figure.axes[:2] for each in axes.images} == {
            (-top, top)
        }
    assert cut.axes[-1].get_ylim() == (-1, 1)


def test_statistics_split_only_what_is_known():
    known = np.tile(np.array([2, 1, 0], np.int8), (5, 7))
    labels = {"a": (HAND, known, True), "b": (HAND, 2 * (known > 0), False)}
    figure = paper.visibility_shares(labels)
    bars = {}
    for bar in figure.axes[0].patches:
        if bar.get_width() > 0:
            colour = to_hex(bar.get_facecolor()).upper()
            bars.setdefault(colour, {})[round(bar.get_y())] = round(bar.get_width(), 6)
    names = {colour: name for name, colour in keys(figure).items()}
    third = round(1 / 3, 6)
    assert {names[colour]: shares for colour, shares in bars.items()} == {
        SAYS[0]: {0: third},
        SAYS[1]: {0: third},
        SAYS[3]: {1: round(2 / 3, 6)},
        "not labelled": {0: third, 1: third},
    }
    shares = paper.hidden_by_joint(labels).numbers
    assert set(shares["set"]) == {"a"}
    np.testing.assert_array_equal(shares["share"][:4], [0, 1, np.nan, 0])  # thumb2 has no label


def test_left_and_right_are_one_kind_of_joint():
    flags = np.full((3, 17), 2)
    flags[0, skeleton("coco17").index("left_wrist")] = 1
    flags[:2, skeleton("coco17").index("right_wrist")] = 0
    shares = paper.hidden_by_joint({"a": (skeleton("coco17"), flags, True)}).numbers
    wrist = shares.set_index("joint").loc["wrist"]
    assert len(shares) == 9 and wrist["share"] == pytest.approx(1 / 4)


def test_crowd_bars_hold_every_picture_once():
    index = np.array([0.0, 0.1999, 0.2, 0.79, 0.8, 1.19, 1.2, 3.02])
    edges = {"paper": (0.1, 0.8), "evaluator": (0.2, 0.8)}
    figure = paper.crowd_histogram(index, edges)
    (axes,) = figure.axes
    assert list(keys(figure)) == ["easy: 2 pictures", "medium: 2 pictures", "hard: 4 pictures"]
    assert sum(bar.get_height() for bar in axes.patches) == 8
    last = [bar for bar in axes.patches if bar.get_height() and bar.get_x() > 1.2 - 1e-6]
    assert [bar.get_height() for bar in last] == [2] and axes.get_xlim() == (0, 1.25)
    said = [text.get_text() for text in axes.texts]
    assert said == ["0.1 paper", "0.8 paper", "0.2 evaluator", "0.8 evaluator"]


def test_noise_figures_show_what_was_diagnosed(rng):
    pose = sample_hands(53, rng)
    found = DetectorNoise().diagnose(pose, DetectorNoise().apply(pose, rng), rng, draws=2)
    drawn = [y for _, y in lines(paper.noise_errors(found))]
    for errors in (*found["error_real"].T, *found["error_simulated"].T):
        assert any(np.allclose(errors, y) for y in drawn if len(y) == len(errors))
    figure = paper.noise_confidence(found, given="stand-in")
    assert list(keys(figure)) == ["stand-in", "simulated"]
    real, simulated = [y for _, y in lines(figure)][:2]
    np.testing.assert_allclose(real, found["share_real"])
    np.testing.assert_allclose(simulated, found["share_simulated"])


def test_feature_maps_share_a_scale_about_zero():
    maps = np.stack([np.full((4, 3), v) for v in (-2.0, 1.0, 0.0, 0.5, 1.5)])
    figure = paper.map_grid(maps, list("abcde"), per_row=3)
    *cells, _ = figure.axes
    assert [axes.get_title() for axes in cells] == list("abcde")
    assert {axes.images[0].get_clim() for axes in cells} == {(-2, 2)}
    figure.draw_without_rendering()
    place = {axes.get_title(): axes.get_position() for axes in cells}
    assert place["a"].x0 < place["c"].x0 and place["a"].y0 > place["e"].y0
    neutral = cells[2].images[0].to_rgba(0.0)
    assert to_hex(neutral).upper() == style.DIVERGING["light"][2]


def test_reliability_shows_counts_and_the_ideal():
    bins = {"VisNet": (np.array([0.2, 0.9]), np.array([0.1, 1.0]), np.array([4, 1]))}
    figure = paper.reliability(bins)
    ideal, line = lines(figure)
    assert ideal == ([0, 1], [0, 1]) and line == ([0.2, 0.9], [0.1, 1.0])
    (dots,) = [c for c in figure.axes[0].collections if len(c.get_offsets())]
    large, small = dots.get_sizes()
    assert large > small and figure.numbers["joints"].tolist() == [4, 1]


def test_bars_stand_by_joint():
    shares = {"a": np.linspace(0, 1, 21), "b": np.zeros(21)}
    figure = paper.joint_bars(shares, HAND, y_title="share")
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert names[1] == HAND.joints[1] and len(names) == 21 and axes.get_ylabel() == "share"
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches[:21]], shares["a"])
    assert list(keys(figure)) == ["a", "b"]


def test_curves_keep_their_order_and_begin_where_asked():
    who = ("straight line", "STDPose", "else")
    rows = [{"who": w, "T": t, "px": t + i} for i, w in enumerate(who) for t in (2, 7)]
    figure = paper.curves(rows, bottom=0)
    (axes,) = figure.axes
    assert lines(figure)[:3] == [([2, 7], [2 + i, 7 + i]) for i in range(3)]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_ylim()[0]) == ("T", "px", 0)
    colours = [style.colour("soft"), style.colour("ours"), *style.series(1)]
    assert keys(figure) == dict(zip(who, colours))


def test_a_tensor_s_way_goes_from_box_to_box():
    names = list("abcdefgh")
    figure = paper.flow_of_shapes(names, ["1 x 2"] * 8, ["head x joint"] * 8)
    boxes = [text for text in figure.axes[0].texts if text.get_text()]
    assert [text.get_text() for text in boxes] == [f"{n}\n1 x 2\nhead x joint" for n in names]
    assert boxes[6].xy == (0, -1), "six in a row"
    arrows = [text for text in figure.axes[0].texts if not text.get_text()]
    assert (arrows[0].xyann, arrows[0].xy) == ((0, 0), (1, 0)) and len(arrows) == 7


# --- one colour, one meaning


@pytest.fixture(params=["light", "dark"], scope="module")
def every_chart(request):
    """All charts, by the name of what makes them, from small made-up data, and their theme."""
    page, rng = {"theme": request.param, "title": "made"}, np.random.default_rng(5)
    flags = np.tile(np.array([2, 1, 0], np.int8), (5, 7))
    labels = {"a": (HAND, flags, True), "b": (HAND, 2 * (flags > 0), False)}
    rows = [{"setting": "a", "v": 1.0, "low": 0.5, "high": 1.5, "paper": 2.0}]
    share = rng.random(21)
    curve = (np.array([0.2, 0.9]), np.array([0.1, 1.0]), np.array([4, 1]))
    truth = sample_hands(53, rng)
    noise = DetectorNoise().diagnose(truth, DetectorNoise().apply(truth, rng), rng, draws=2)
    joints = dict.fromkeys(("VisNet", "visible", "hidden", "outside the picture", "b"), share)
    who = ("truth", "detector", "straight line", "optical flow", "STDPose", "k = 1", "k = 2")
    seeds = [
        {"who": w, "T": t, "px": t + s, "seed": s} for w in who for t in (2, 7) for s in (0, 1)
    ]
    words = {"x_title": "", "y_title": "", "names": ("measured", "paper")}
    return request.param, {
        "error_by_confidence": paper.error_by_confidence(share, share, share, 0.3, **page),
        "change_by_occlusions": paper.change_by_occlusions(np.arange(3) % 2, share[:3], **page),
        "sweep": paper.sweep(rows, "v", baseline=4.0, **words, **page),
        "visibility_shares": paper.visibility_shares(labels, **page),
        "hidden_by_joint": paper.hidden_by_joint(labels, **page),
        "reliability": paper.reliability({"VisNet": curve, "control": curve}, **page),
        "changes": paper.changes(
            [{"subset": "s", "method": "m", "change": 1, "low": 0, "high": 2}], x_title="x", **page
        ),
        "joint_bars": paper.joint_bars(joints, HAND, y_title="share", **page),
        "crowd_histogram": paper.crowd_histogram(share, {"paper": (0.1, 0.8)}, **page),
        "curves": paper.curves([row for row in seeds if not row["seed"]], **page),
        "seed_bands": paper.seed_bands(seeds, "T", "px", **page),
        "noise_errors": paper.noise_errors(noise, **page),
        "noise_confidence": paper.noise_confidence(noise, **page),
        "flow_of_shapes": paper.flow_of_shapes(["a", "b"], ["1", "2"], ["x", "y"], **page),
        "map_grid": paper.map_grid(rng.normal(size=(3, 4, 5)), list("abc"), per_row=3, **page),
    }


# What a name of a legend says about its colour; what is not named here may have no role's.
MEANING = {
    "truth": "truth",
    "detector": "detector",
    "detector, scaled": "detector",
    "times 1": "detector",
    "input": "detector",
    "real": "detector",
    "with PORT": "ours",
    "HANet (shipped)": "ours",
    "VisNet": "ours",
    "STDPose": "ours",
    "optical flow": "rival",
    "savgol": "rival",
    "mean": "rival",
    "visible": "visible",
    "hidden": "hidden",
    "outside the picture": "outside",
}


def test_every_chart_is_walked(every_chart):
    made = {
        name
        for name, function in inspect.getmembers(charts, inspect.isfunction)
        if function.__module__ == charts.__name__
        and function.__annotations__.get("return") == "Figure"
    }
    assert set(every_chart[1]) == made and made <= set(vars(paper))


def test_every_colour_comes_from_the_style(every_chart):
    theme, figures = every_chart
    known = {*style.ROLES[theme].values(), *style.PAPER[theme].values()}
    known |= {*style.ON_PICTURE.values(), *(c for n in range(1, 8) for c in style.series(n))}
    steps = np.linspace(-1, 1, 257)
    for stops in (None, style.sequential()):
        known |= {to_hex(row / 255).upper() for row in style.scale_colours(steps, theme, stops)}
    for name, figure in figures.items():
        svg = paper.sheets._encoded(figure, "svg", 72).decode()
        assert {colour.upper() for colour in re.findall(r"#[0-9a-f]{6}\b", svg)} <= known, name


def test_a_role_s_colour_means_that_role_alone(every_chart):
    theme, figures = every_chart
    roles = {colour: role for role, colour in style.ROLES[theme].items()}
    met = set()
    for name, figure in figures.items():
        for who, colour in keys(figure).items() if figure.legends else ():
            assert roles.get(colour) == MEANING.get(who), f"{name}: {who}"
            met.add(roles.get(colour))
    assert met == {None, *MEANING.values()}


# --- in a notebook


def test_a_shown_figure_follows_the_reader_s_theme(every_chart):
    theme, figures = every_chart
    own = {c.lower() for c in (*style.ROLES["light"].values(), *style.PAPER["light"].values())}
    for name, figure in figures.items() if theme == "light" else ():
        shown = figure._repr_mimebundle_()
        svg = shown["image/svg+xml"]
        assert svg.startswith('<svg class="wb-figure"') and shown["image/png"].startswith("iVBOR")
        alone = set(re.findall(r"(?<!, )#[0-9a-f]{6}\b", svg))
        assert not alone & own, f"{name}: {alone & own} stay as they are"
        assert "var(--wb-paper, #ffffff)" in svg and "var(--wb-ink, #1d2733)" in svg
        root = ElementTree.fromstring(svg)
        (said,) = root.iter("{http://purl.org/dc/elements/1.1/}description")
        table = json.loads(said.text)
        assert list(map(str, table["columns"])) == list(map(str, figure.numbers.columns)), name
        assert len(table["data"]) == len(figure.numbers) > 0, name


def test_maps_are_turned_on_dark_paper(every_chart):
    _, figures = every_chart
    root = ElementTree.fromstring(figures["map_grid"]._repr_mimebundle_()["image/svg+xml"])
    images = list(root.iter(f"{SVG}image"))
    (bar,) = [group for group in root.iter(f"{SVG}g") if group.get("id") == "turned"]
    assert len(list(bar.iter(f"{SVG}image"))) == 1
    assert [image.get("id") for image in images].count("turned") == 3 == len(images) - 1


def test_heavy_tables_stay_out_of_the_page(rng):
    weights = rng.dirichlet(np.ones(101), (1, 101))
    shown = paper.attention_figure(weights, ["t"] * 101)._repr_mimebundle_()
    assert "description" not in shown["image/svg+xml"]


def test_seaborn_is_not_imported_with_the_views():
    code = "import sys; from workbench.view import paper; print('seaborn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
