"""Figures to print: what they draw, in which colours, how large, and what their files hold."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch
from PIL import Image

from tests.conftest import ROOT
from workbench.errors import BadParameter, Taken, UnknownName
from workbench.skeletons import skeleton
from workbench.view import paper, style
from workbench.view.panels import Arrows, People, Picture, marks_of

HAND = skeleton("hand21")
XY = np.stack((np.arange(21.0) % 5 * 20, np.arange(21.0) // 5 * 30), 1)
ROWS = [
    {"who": who, "seed": seed, "hidden": hidden, "error": 3.0 + hidden + seed * (1 + hidden)}
    for who in ("ours", "detector", "DeciWatch")
    for seed in range(3)
    for hidden in range(5)
]


def sharp(rng, *shape):
    weights = np.exp(2 * rng.normal(size=shape))
    return weights / weights.sum(-1, keepdims=True)


def drawn_maps(figure):
    """Pixels of the maps, by title."""
    return {
        axes.get_title(): np.asarray(axes.images[0].get_array())
        for axes in figure.axes
        if axes.images and axes.get_title()
    }


def inks(figure):
    """Colours of all lines and filled things, as "#rrggbb"."""
    colours = set()
    for axes in figure.axes:
        colours |= {to_hex(line.get_color()).upper() for line in axes.lines}
        for patch in (*axes.patches, *axes.collections):
            faces = np.atleast_2d(patch.get_facecolor())
            colours |= {to_hex(face).upper() for face in faces if len(face)}
    return colours


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


# --- attention


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("keys", [5, 21])
def test_uniform_attention_is_neutral(theme, keys):
    uniform = np.full((2, 7, keys), 1 / keys)
    figure = paper.attention_figure(uniform, (list("abcdefg"), ["k"] * keys), theme=theme)
    for pixels in drawn_maps(figure).values():
        assert (pixels == style.rgb(style.DIVERGING[theme][2])).all()
    assert to_hex(figure.get_facecolor()).upper() == style.colour("paper", theme)


def test_a_multiple_of_uniform_has_one_colour_in_every_head(rng):
    maps = sharp(rng, 2, 3, 11, 11)
    maps[0, 0, 4, 2] = maps[1, 2, 7, 9] = 3 / 11
    pixels = drawn_maps(paper.attention_figure(maps, [f"t{i}" for i in range(11)]))
    assert list(pixels) == ["L1 H1", "L1 H2", "L1 H3", "L2 H1", "L2 H2", "L2 H3"]
    assert (pixels["L1 H1"][4, 2] == pixels["L2 H3"][7, 9]).all()
    np.testing.assert_array_equal(pixels["L2 H1"], style.attention_colours(11 * maps[1, 0]))


def test_forbidden_keys_have_the_colour_of_no_answer():
    allowed = np.arange(5) < 3
    maps = np.where(allowed, np.full((1, 5, 5), 1 / 3), 0)
    (pixels,) = drawn_maps(paper.attention_figure(maps, list("abcde"), allowed=allowed)).values()
    assert (pixels[:, 3:] == style.rgb(style.colour("none"))).all()
    assert (pixels[:, :3] == style.rgb(style.DIVERGING["light"][2])).all()


def test_heads_are_chosen_and_named(rng):
    maps = sharp(rng, 2, 3, 5, 5)
    figure = paper.attention_figure(maps, list("abcde"), heads=[(1, 0), (0, 2)], names=("x", "y"))
    pixels = drawn_maps(figure)
    np.testing.assert_array_equal(pixels["x"], style.attention_colours(5 * maps[1, 0]))
    np.testing.assert_array_equal(pixels["y"], style.attention_colours(5 * maps[0, 2]))


def test_arcs_are_as_wide_as_the_mean_weights_of_the_joint_that_asks(rng):
    maps = sharp(rng, 2, 21, 21)
    figure = paper.attention_figure(maps, HAND.joints, skeleton=HAND, xy=XY, focus="thumb2")
    body = next(axes for axes in figure.axes if axes.get_title() == "thumb2 asks")
    arcs = [patch for patch in body.patches if isinstance(patch, FancyArrowPatch)]
    expected = np.delete(maps[:, 2].mean(0), 2) * paper.ARC
    np.testing.assert_allclose([arc.get_linewidth() for arc in arcs], expected)
    dots = body.collections[1].get_facecolors()[:, :3] * 255
    np.testing.assert_allclose(dots, style.attention_colours(21 * maps[:, 2].mean(0)), atol=1e-3)
    assert body.get_xlabel() == "mean of 2 maps"
    (x0, x1), (y1, y0) = body.get_xlim(), body.get_ylim()
    box = body.get_window_extent()
    assert (x1 - x0) / (y1 - y0) == pytest.approx(box.width / box.height)


def test_names_are_thinned_until_they_can_be_read(rng):
    many = [f"token {i}" for i in range(97)]
    figure = paper.attention_figure(sharp(rng, 4, 97, 97), many, columns=1)
    axes = figure.axes[0]
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert 3 <= len(boxes) < 97
    assert all(a.y0 >= b.y1 - 1 for a, b in pairwise(boxes)), "names overlap"
    few = paper.attention_figure(sharp(rng, 1, 5, 5), list("abcde"))
    assert [label.get_text() for label in few.axes[0].get_yticklabels()] == list("abcde")


def test_names_are_drawn_as_they_are():
    figure = paper.attention_figure(np.full((1, 2, 2), 0.5), ["$a_{$", "left_b$"])
    assert {"$a {$", "left b$"} <= set(texts(figure))
    paper.png(figure)


def test_the_bar_says_what_is_clipped(rng):
    figure = paper.attention_figure(sharp(rng, 1, 5, 5), list("abcde"))
    ticks = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert ticks == style.attention_ticks()
    (bar,) = (mesh for mesh in figure.axes[-1].collections if mesh.get_array() is not None)
    pixels = bar.to_rgba(np.array([-1.0, 0, 1]), bytes=True)[:, :3]
    assert (pixels == [style.rgb(style.DIVERGING["light"][i]) for i in (0, 2, 4)]).all()


@pytest.mark.parametrize(
    "options, error",
    [
        ({"labels": ["a"]}, BadParameter),
        ({"columns": 3}, BadParameter),
        ({"heads": [(0, 2)]}, BadParameter),
        ({"heads": []}, BadParameter),
        ({"names": ["one"]}, BadParameter),
        ({"focus": 2}, BadParameter),
        ({"skeleton": HAND}, BadParameter),
        ({"skeleton": HAND, "xy": XY, "focus": "thumbs2"}, UnknownName),
        ({"skeleton": HAND, "xy": XY, "focus": 21}, BadParameter),
        ({"skeleton": HAND, "xy": XY[:20]}, BadParameter),
        ({"theme": "grey"}, UnknownName),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(options, error, rng):
    options = {"labels": HAND.joints} | options
    with pytest.raises(error, match="Remedy"):
        paper.attention_figure(sharp(rng, 2, 21, 21), **options)


def test_no_token_has_less_than_a_dot_and_no_figure_is_taller_than_a_page(rng):
    with pytest.raises(BadParameter, match="less than a dot"):
        paper.attention_figure(np.full((4, 700, 700), 1 / 700), ["t"] * 700, columns=1)
    with pytest.raises(BadParameter, match="a page has 9"):
        paper.attention_figure(sharp(rng, 24, 2, 5, 5), list("abcde"))


def test_marked_rows_are_framed_and_the_cells_are_numbers():
    marked = np.arange(21) == 3
    figure = paper.attention_figure(np.eye(21)[None], HAND.joints, marked=marked, title="made")
    (frame,) = figure.axes[0].patches
    assert to_hex(frame.get_edgecolor()).upper() == style.colour("hidden")
    assert (frame.get_y(), frame.get_height()) == (2.5, 1) and "made" in texts(figure)
    table = figure.numbers.set_index(["asks", "answers"])
    assert len(table) == 441 and table.loc[("wrist", "wrist"), "times uniform"] == 21


# --- charts


def test_boxes_and_means_are_those_of_the_bins(rng):
    confidence = rng.uniform(size=997)
    before = rng.gamma(2, 5, 997)
    figure = paper.error_by_confidence(confidence, before, before / 2, 0.35)
    (axes,) = figure.axes
    groups = [before[(confidence * 10).astype(int) == b] for b in range(10)]
    joined = [line for line in axes.lines if len(line.get_ydata()) == 10]
    drawn = {to_hex(line.get_color()).upper(): line for line in joined}
    means = drawn[style.colour("detector")].get_ydata(), drawn[style.colour("ours")].get_ydata()
    np.testing.assert_allclose(means[0], [group.mean() for group in groups])
    np.testing.assert_allclose(means[1], means[0] / 2)
    every = np.concatenate([line.get_ydata() for line in axes.lines])
    for group in groups:
        for percent in (25, 50, 75):
            assert np.isclose(every, np.percentile(group, percent)).any()
    heights = sorted({float(y) for line in axes.lines for y in line.get_ydata()})
    assert heights[-1] == max(group[group <= np.percentile(group, 95)].max() for group in groups)
    assert axes.get_xlim() == (0, 1) and axes.get_ylim()[0] == 0
    assert "δ = 0.35" in texts(figure)


def test_a_band_is_what_the_figure_says_it_is():
    figure = paper.seed_bands(ROWS, "hidden", "error")
    (axes,) = figure.axes
    assert "lowest to highest of 3 seeds" in axes.get_xlabel()
    band = axes.collections[0].get_paths()[0].vertices
    at_two = band[band[:, 0] == 2][:, 1]
    assert (at_two.min(), at_two.max()) == (5, 11)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [4, 6, 8, 10, 12])
    narrow = paper.seed_bands(ROWS, "hidden", "error", band="sd").axes[0]
    assert "standard deviation" in narrow.get_xlabel()
    band = narrow.collections[0].get_paths()[0].vertices
    assert np.ptp(band[band[:, 0] == 2][:, 1]) == pytest.approx(6)
    fewer = paper.seed_bands(
        [row for row in ROWS if row["seed"] or row["hidden"]], "hidden", "error"
    )
    assert "of 2 to 3 seeds" in fewer.axes[0].get_xlabel()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_have_the_colours_of_their_roles_or_neutral_ones(theme):
    (axes,) = paper.seed_bands(ROWS, "hidden", "error", theme=theme).axes
    colours = [to_hex(line.get_color()).upper() for line in axes.lines[:3]]
    assert colours[:2] == [style.colour(role, theme) for role in ("ours", "detector")]
    assert colours[2:] == style.series(1)


@pytest.mark.parametrize(
    "rows, options, error",
    [
        (ROWS, {"band": "rage"}, UnknownName),
        (ROWS, {"seed": "seeds"}, UnknownName),
        (ROWS + ROWS[:1], {}, BadParameter),
        ([ROWS[0] | {"error": np.nan}], {}, BadParameter),
    ],
)
def test_rows_that_do_not_say_one_thing_are_refused(rows, options, error):
    with pytest.raises(error, match="Remedy"):
        paper.seed_bands(rows, "hidden", "error", **options)


# --- poses


def people_of(*names, flags=None):
    """The same hand as somebody says, each a px further; marks of flags."""
    marks = None if flags is None else marks_of(flags)
    return [People(name, name, XY + i, marks) for i, name in enumerate(names)]


def test_people_are_drawn_by_role_with_crosses_for_hidden_joints():
    flags = np.full(21, 2)
    flags[3], flags[8] = 1, 0
    roles = ("truth", "detector", "ours")
    panels = [Picture(title, people=people_of(*roles, flags=flags)) for title in ("one", "two")]
    figure = paper.pictures(panels, HAND)
    assert inks(figure) == {style.colour(role) for role in (*roles, "hidden", "paper")}
    first = figure.axes[0]
    dots, crosses = first.collections[0].get_offsets(), first.collections[1].get_offsets()
    np.testing.assert_array_equal(crosses, XY[[3]])
    np.testing.assert_array_equal(dots, np.delete(XY, [3, 8], 0))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*roles, "hidden"]
    table = figure.numbers
    assert len(table) == 2 * 3 * 20 and set(table["mark"]) == {"visible", "hidden"}
    thumb = table[(table["panel"] == "two") & (table["joint"] == HAND.joints[3])].iloc[1]
    assert (thumb["who"], thumb["x"], thumb["mark"]) == ("detector", XY[3, 0] + 1, "hidden")


def test_people_stand_on_the_pixels_of_their_picture():
    picture = np.zeros((40, 60, 3), np.uint8)
    people = [People("ours", "ours", XY[None] / 3)]
    panel = Picture("", [picture], people, outline=(1, 2, 9, 8))
    figure = paper.pictures([panel], HAND, columns=1)
    (axes,) = figure.axes
    assert axes.images[0].get_extent() == [-0.5, 59.5, 39.5, -0.5]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert axes.patches[0].get_bbox().extents.tolist() == [1, 2, 9, 8]


def test_joints_say_their_confidence_and_number_and_arrows_their_name():
    sure = np.linspace(0, 1, 21)
    people = People("", "truth", XY, confidence=sure, numbers=True, skeleton=HAND)
    ends = np.column_stack((XY, XY + 5, np.full(21, 2.0)))[:2]
    figure = paper.pictures([Picture("", people=[people], arrows=[Arrows("ours", ends, "moved")])])
    axes, bar = figure.axes[0], figure.axes[0].child_axes[0]
    (dots,) = [each for each in axes.collections if len(each.get_offsets()) == 21]
    np.testing.assert_array_equal(dots.get_array(), sure)
    assert [text.get_text() for text in axes.texts] == list(map(str, range(21)))
    assert [tick.get_text() for tick in bar.get_xticklabels()] == ["confidence 0", "1"]
    assert len([p for p in axes.patches if isinstance(p, FancyArrowPatch)]) == 2
    assert "moved" in texts(figure)


@pytest.mark.parametrize("one_scale", [True, False])
def test_panels_of_poses_have_one_scale_where_asked(one_scale):
    large, small = (Picture("", people=[People("truth", "truth", part * XY)]) for part in (1, 0.1))
    figure = paper.pictures([large, small], HAND, one_scale=one_scale)
    left, right = (np.ptp(axes.get_xlim()) for axes in figure.axes)
    assert (left == pytest.approx(right)) == one_scale
    low, high = figure.axes[1].get_xlim()
    assert low < 0.1 * XY[:, 0].min() < 0.1 * XY[:, 0].max() < high


@pytest.mark.parametrize(
    "panels, error",
    [
        ([Picture("", people=[People("our", "our", XY)])], UnknownName),
        ([Picture("", people=[People("ours", "ours", XY[:20])])], BadParameter),
        ([Picture("", people=[People("ours", "ours", XY * np.nan)])], BadParameter),
        ([Picture("", people=[People("truth", "truth", XY, np.zeros(21, int))])], BadParameter),
        ([Picture("")], BadParameter),
        ([], BadParameter),
    ],
)
def test_people_that_do_not_fit_are_refused(panels, error):
    with pytest.raises(error, match="Remedy"):
        paper.pictures(panels, HAND)


# --- files


@pytest.mark.parametrize("columns, inches", [(1, 3.5), (2, 7.16)])
def test_figures_are_as_wide_as_columns(columns, inches, tmp_path, rng):
    confidence = rng.uniform(size=97)
    figures = [
        paper.attention_figure(
            sharp(rng, 2, 21, 21), HAND.joints, columns=columns, skeleton=HAND, xy=XY, focus=3
        ),
        paper.attention_figure(sharp(rng, 1, 13, 7), (["q"] * 13, ["k"] * 7), columns=columns),
        paper.error_by_confidence(confidence, confidence, confidence, 1.0, columns=columns),
        paper.seed_bands(ROWS, "hidden", "error", columns=columns),
        paper.pictures([Picture("", people=people_of("ours"))], HAND, columns=columns),
    ]
    for figure in figures:
        assert figure.get_size_inches()[0] == inches
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert box.x0 > 0 and box.x1 < width and box.y0 > 0 and box.y1 < height, "cut off"
        assert min(t.get_fontsize() for t in figure.findobj(matplotlib.text.Text)) >= 5
    with Image.open(paper.save(figures[0], tmp_path / "a.png")) as image:
        assert image.width == int(inches * 300)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    with Image.open(io.BytesIO(paper.png(figures[0], 72))) as image:
        assert image.width == int(inches * 72)


def test_text_stays_text_and_the_same_figure_gives_the_same_bytes(tmp_path):
    for kind in paper.FORMATS:
        files = [
            paper.save(paper.seed_bands(ROWS, "hidden", "error"), tmp_path / f"{i}.{kind}")
            for i in range(2)
        ]
        assert files[0].read_bytes() == files[1].read_bytes()
    tree = ElementTree.parse(tmp_path / "0.svg")
    words = {element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert {"ours", "detector", "DeciWatch", "error"} <= words
    assert (tmp_path / "0.pdf").read_bytes().startswith(b"%PDF")
    assert b"/Type3" not in (tmp_path / "0.pdf").read_bytes()


def test_nothing_is_written_over_and_other_endings_are_refused(tmp_path):
    figure = paper.seed_bands(ROWS, "hidden", "error")
    mine = tmp_path / "figure.svg"
    mine.write_text("mine")
    with pytest.raises(Taken, match=r"figure\.svg"):
        paper.save(figure, mine)
    assert mine.read_text() == "mine"
    paper.save(figure, mine, over=True)
    assert mine.read_text().startswith("<?xml")
    for name in ("figure.jpg", "figure"):
        with pytest.raises(BadParameter, match="svg, pdf or png"):
            paper.save(figure, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["figure.svg"]


def test_settings_of_the_user_change_nothing_and_are_left_alone():
    plain = paper.png(paper.seed_bands(ROWS, "hidden", "error"))
    with matplotlib.rc_context({"font.size": 30, "xtick.direction": "in", "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert paper.png(paper.seed_bands(ROWS, "hidden", "error")) == plain
        assert dict(matplotlib.rcParams) == before
    from matplotlib import pyplot

    assert not pyplot.get_fignums()


def test_the_example_of_the_guide_runs(tmp_path, monkeypatch):
    guide = (ROOT / "notebooks" / "HOW_TO.md").read_text(encoding="utf-8")
    section = guide.split("## Figures for your paper")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "HOW_TO.md", "exec"), {})
    assert (tmp_path / "error.pdf").read_bytes().startswith(b"%PDF")
