"""Panels of explorers to print: the same roles, scales, places and numbers as in the browser."""

from __future__ import annotations

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Text
from PIL import Image

from tests.conftest import ROOT
from workbench import load
from workbench.errors import BadParameter, UnknownName
from workbench.recipes import port as recipe
from workbench.skeletons import skeleton
from workbench.view import live, paper, style
from workbench.view.attention import AttentionView, Axis
from workbench.view.chapters.port import PortExplorer
from workbench.view.panels import (
    HIDDEN,
    NEWLY_HIDDEN,
    NOTHING,
    OUTSIDE,
    PAINT,
    SLIDES,
    VISIBLE,
    Arrows,
    Bar,
    Bars,
    Heat,
    Line,
    Lines,
    People,
    Picture,
)
from workbench.view.paper.gallery import _widened
from workbench.view.stage import Scene, Stage, patch

COCO = skeleton("coco17")
XY = np.stack((3.0 + 2 * np.arange(17), 5.0 + 3 * np.arange(17) % 7), 1)
FRAMES = [np.full((23, 41, 3), 40 * i, np.uint8) for i in range(3)]


def drawn(*panels, theme="light", **state):
    return paper.panels_figure({"tab": [panels]}, COCO, state=state, theme=theme)


def coloured(image, *values):
    """Colours that a drawn scale gives values."""
    return image.to_rgba(np.array(values), bytes=True)[..., :3].tolist()


def hexes(colours):
    return {to_hex(colour).upper() for colour in colours}


def marked(axes):
    """Places of joints by the colour that they are drawn in."""
    places = {}
    for dots in axes.collections:
        colours = dots.get_facecolors() if len(dots.get_facecolors()) else dots.get_edgecolors()
        places[to_hex(colours[0]).upper()] = dots.get_offsets().tolist()
    return places


def words(figure):
    return {text.get_text() for text in figure.findobj(Text)}


# --- pictures


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_joints_have_the_roles_of_what_is_known_about_them(theme):
    marks = np.full(17, VISIBLE)
    marks[[2, 3, 5, 7]] = HIDDEN, NEWLY_HIDDEN, OUTSIDE, NOTHING
    figure = drawn(Picture("one", FRAMES, [People("ours", "ours", XY, marks)]), theme=theme)
    places = marked(figure.axes[0])
    role = {name: style.colour(name, theme) for name in style.ROLES[theme]}
    assert places[role["hidden"]] == [XY[2].tolist()]
    assert places[role["newly_hidden"]] == [XY[3].tolist()]
    assert places[role["outside"]] == [XY[5].tolist()]
    assert places[role["ours"]] == np.delete(XY, [2, 3, 5, 7], 0).tolist()
    lines = figure.axes[0].lines[1]
    assert to_hex(lines.get_color()).upper() == role["ours"]
    assert XY[7].tolist() not in lines.get_xydata().tolist(), "a bone to a joint that is not there"


def test_flags_have_colours_of_their_own_and_say_what_they_are():
    marks = np.full(17, VISIBLE)
    marks[:2] = HIDDEN, NEWLY_HIDDEN
    people = People("truth", "truth", XY, marks, flags=True)
    figure = drawn(Picture("", (), [people], box=(0.0, 0.0, 40.0, 20.0)))
    roles = ("visible", "hidden", "newly_hidden")
    assert set(marked(figure.axes[0])) == {style.colour(role) for role in roles}
    assert {"visible", "hidden", "newly hidden"} <= words(figure) and "truth" not in words(figure)


def test_people_and_pictures_are_those_of_the_frame():
    xy = XY[None, None] + np.arange(3)[:, None, None, None]
    people = People("new", 4, xy)
    for frame, at in ((1, None), (7, None), (0, 2)):
        figure = drawn(Picture("one", FRAMES, [people], at=at, rim=(2,)), frame=frame)
        axes, shown = figure.axes[0], min(frame if at is None else at, 2)
        assert (np.asarray(axes.images[0].get_array()) == 40 * shown).all()
        assert marked(axes) == {style.colour(4): (XY + shown).tolist()}
        given = to_hex(axes.spines["left"].get_edgecolor()).upper() == style.colour("truth")
        assert given == (2 == (frame if at is None else at))
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 40.5), (22.5, -0.5))
    box = axes.get_window_extent()
    assert box.width / box.height == pytest.approx(41 / 23)


def test_nobody_stands_at_nan():
    xy = XY.copy()
    xy[4] = np.nan
    figure = drawn(Picture("", (), [People("a", "rival", xy)], box=(0.0, 0.0, 40.0, 20.0)))
    assert marked(figure.axes[0]) == {style.colour("rival"): np.delete(XY, 4, 0).tolist()}


def test_the_brush_lies_where_the_state_says():
    brush = [patch(11.0, 7.0, 6.0, (1, 2)), patch(20.0, 9.0, 4.0, (0, 0))]
    panel = Picture("", FRAMES, brush=True)
    (stroke,) = (p for p in drawn(panel, frame=1, brush=brush).axes[0].patches)
    assert isinstance(stroke, Rectangle) and stroke.get_bbox().extents.tolist() == [8, 4, 14, 10]
    assert hexes([stroke.get_facecolor()]) == {"#" + bytes(PAINT).hex().upper()}
    assert not drawn(Picture("", FRAMES), frame=1, brush=brush).axes[0].patches


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_heat_has_the_colours_of_its_scale(theme):
    values = np.array([[[0, 0, 0]], [[2.0, 5.0, 8.0]]])
    affine = np.array([[4.0, 0, 3], [0, 6, 2]])
    ends = {"low": 2.0, "high": 8.0}
    for diverging, stops in ((False, style.sequential()), (True, style.DIVERGING[theme])):
        heat = Heat(values, affine, "heat", **ends, diverging=diverging)
        figure = drawn(Picture("", (), heat=heat, box=(0.0, 0.0, 20.0, 9.0)), frame=1, theme=theme)
        image = figure.axes[0].images[0]
        expected = [stops[i] for i in (0, len(stops) // 2, -1)]
        if diverging:
            expected = [style.rgb(stop) for stop in expected]
        expected = [list(map(int, each)) for each in expected]
        assert coloured(image, *image.get_array()[0]) == expected
        assert (image.get_alpha() == 1).all(), "see-through without a picture"
        assert image.get_extent() == [1, 13, 5, -1]
        (bar,) = figure.axes[0].child_axes
        (mesh,) = (mesh for mesh in bar.collections if mesh.get_array() is not None)
        assert coloured(mesh, 2.0, 5.0, 8.0) == expected
        assert bar.get_xlim() == (2, 8) and {"2", "8"} <= words(figure)
    over = drawn(Picture("", FRAMES, heat=heat), frame=1, opacity=0.5)
    alpha = over.axes[0].images[1].get_alpha()[0]
    assert alpha.tolist() == [0.5, 0, 0.5], "over a picture the middle shows it"


def test_arrows_lead_from_place_to_place():
    ends = np.array([[1.0, 2, 9, 8, 3], [5, 5, 5, 5, 1]])
    axes = drawn(Picture("", (), arrows=[Arrows("ours", ends)], box=(0.0, 0.0, 20.0, 9.0))).axes[0]
    (arrow,) = (p for p in axes.patches if isinstance(p, FancyArrowPatch))
    assert [tuple(end) for end in arrow._posA_posB] == [(1, 2), (9, 8)]
    assert marked(axes) == {style.colour("ours"): [[5, 5]]}


# --- lines and bars


def test_a_line_s_data_are_the_panel_s():
    x, y = np.arange(5.0), np.array([3.0, np.nan, 7.0, np.nan, 5.0])
    lines = [Line("a", x, x**2, "ours", dash=(4, 3)), Line("", x, y), Line("c", x, y, 3, "dots")]
    panel = Lines("error", "frame", "px", lines, [(1.0, 2.0, "hidden")], cursor="frame")
    figure = drawn(panel, frame=3)
    axes = figure.axes[0]
    for line, one in zip(axes.lines, lines):
        np.testing.assert_array_equal(line.get_xydata(), np.stack((one.x, one.y), 1))
    colours = [to_hex(line.get_color()).upper() for line in axes.lines]
    assert colours[:3] == [style.colour(role) for role in ("ours", 1, 3)]
    assert axes.lines[0].is_dashed() and axes.lines[2].get_linestyle() == "None"
    assert axes.lines[1].get_markevery().tolist() == [True, False, True, False, True]
    assert set(axes.lines[3].get_xdata()) == {3}, "the cursor"
    shaded = [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches]
    assert shaded == [(0.5, 2.5)]
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 4), pytest.approx((-0.96, 16.96)))
    assert {"error", "frame", "px", "a", "c"} <= words(figure)
    given = drawn(Lines("", "", "", lines, x_range=(-1.0, 9.0), y_range=(0.0, 2.0))).axes[0]
    assert (given.get_xlim(), given.get_ylim()) == ((-1, 9), (0, 2))


def test_bars_are_as_long_as_their_values():
    bars = [Bar("up", 4.0, "ours"), Bar("gone", np.nan, 2), Bar("down", -0.0042, "hidden", "✕")]
    figure = drawn(Bars("change", "px", bars), joint="up")
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches if bar.get_width() == bar.get_width()] == [
        4,
        -0.0042,
    ]
    assert hexes([axes.patches[0].get_facecolor()]) == {style.colour("ours")}
    assert axes.get_xlim() == (-0.0042, 4)
    assert {"+4", "-0.0042", "up", "gone", "✕ down"} <= words(figure)
    wide = drawn(Bars("change", "px", [Bar("up", 4.0, "ours", ends=(-1.0, 6.0))])).axes[0]
    assert wide.get_xlim() == (-1, 6) and wide.collections[0].get_segments()[0][:, 0].tolist() == [
        -1,
        6,
    ]
    weights = {label.get_text(): label.get_weight() for label in axes.get_yticklabels()}
    assert weights == {"up": "bold", "gone": "normal", "✕ down": "normal"}


# --- sheets


def test_hostile_words_stay_text():
    bad = ["$\\frac", "<b>$x_{$", "_hidden", "", "$$"]
    people = [People(name, "ours", XY) for name in bad]
    lines = [Line(name, np.arange(2.0), np.arange(2.0)) for name in bad]
    figure = drawn(
        Picture(bad[0], FRAMES, people),
        Lines(bad[1], bad[0], bad[1], lines),
        Bars(bad[0], "px", [Bar(name, 1.0, "ours") for name in bad]),
    )
    assert set(bad[:3]) <= words(figure)
    assert Image.open(io.BytesIO(paper.png(figure))).size[0] == 930


def test_rows_stand_below_each_other_and_share_their_width():
    bars = Bars("", "", [Bar("a", 1.0, "ours")])
    wide = Picture("long words about the picture " * 3, FRAMES, wide=2.0)
    figure = paper.panels_figure({"a": [[wide, Picture("two", FRAMES)]], "b": [[bars]]}, COCO)
    assert figure.get_size_inches()[0] == 7.16
    first, second, last = (axes.get_position() for axes in figure.axes)
    assert first.width == pytest.approx(2 * second.width, rel=0.02)
    assert last.y1 < min(first.y0, second.y0) and first.y1 == pytest.approx(second.y1)
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 > 0 and box.x1 < width and box.y0 > 0 and box.y1 < height, "cut off"


def test_a_page_holds_what_it_can():
    row = [Picture("", FRAMES)]
    assert paper.panels_figure({"a": [row] * 4}, COCO).get_size_inches()[1] <= 9 + 1e-6
    for tabs in ({}, {"a": []}, {"a": [[]]}, {"a": [row] * 30}):
        with pytest.raises(BadParameter, match="Remedy"):
            paper.panels_figure(tabs, COCO)
    with pytest.raises(BadParameter, match="box"):
        drawn(Picture("", ()))
    with pytest.raises(UnknownName):
        drawn(Picture("", FRAMES, [People("a", "nobody", XY)]))


# --- explorers


@pytest.fixture
def hands():
    truth, detected = recipe.pairs("synthetic", n=3, seed=3)
    return PortExplorer(load("port"), detected, truth, index=1)


@pytest.fixture
def stage(rng):
    frames = [rng.integers(0, 255, (120, 160, 3)).astype(np.uint8) for _ in range(5)]
    truth = np.broadcast_to(3 * XY, (5, 2, 17, 2)) + np.array([0.0, 20.0])[:, None, None]
    scene = Scene(frames, truth, np.full((5, 2, 17), 2))

    def ask(clip, frames, mask):
        return {"STDPose": clip.truth + 1 + mask.any((1, 2))[:, None, None, None]}

    return Stage(COCO, [scene], ask, roles={"STDPose": "ours"}, frame=1)


def maps_of(rng, *shape):
    weights = np.exp(2 * rng.normal(size=shape))
    return weights / weights.sum(-1, keepdims=True)


@pytest.fixture
def views(hands, stage, rng):
    """Every explorer, and attention of frames and of image tokens."""
    frames = AttentionView(
        {"encoder": maps_of(rng, 2, 4, 13, 13)}, (Axis.numbered("frame", 13),) * 2
    )
    sides = Axis.of_joints(COCO), Axis.of_grid("image token", 12, 8, ahead=1)
    tokens = AttentionView({"cross": maps_of(rng, 3, 17, 97)}, sides)
    return [hands, hands.attention, stage, frames, tokens]


def test_every_explorer_has_a_small_picture(views):
    for view in views:
        picture = view.png()
        with Image.open(io.BytesIO(picture)) as image:
            width, height = view.figure().get_size_inches()
            assert image.size == (int(130 * width), int(130 * height)) and image.width == 930
            assert len(np.unique(np.asarray(image.convert("L")))) > 50
        assert len(picture) < 300_000


def test_noise_is_made_to_fit(rng):
    frame = rng.integers(0, 255, (480, 640, 3)).astype(np.uint8)
    figure = drawn(Picture("", [frame]))
    picture = paper.png(figure, heaviest=60_000)
    assert len(picture) <= 60_000 < len(paper.png(figure)) < 300_000
    assert Image.open(io.BytesIO(picture)).width < 930


def test_a_figure_shows_the_state(stage):
    stage.choose(brush=[patch(30.0, 40.0, 20.0, (0, 1))], frame=1)
    figure = stage.figure()
    (stroke,) = figure.axes[0].patches
    assert stroke.get_bbox().extents.tolist() == [20, 30, 40, 50]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_xdata(), range(5))
    (panel,) = stage.draw(stage.state, stage._found)["stage"][1]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), panel.lines[0].y)
    stage.state = {**stage.state, "frame": 2}  # nothing is computed
    assert not stage.figure().axes[0].patches


def test_the_chosen_tab_and_head_are_shown(hands):
    hands.choose(tab="attention")
    view = hands.attention
    view.restore({"head": ["encoder attention", 1, 2], "focus": 4, "show": "other"})
    times = np.frombuffer(view.other_data, "<f2").reshape(view.maps[0]["shape"])
    figure = hands.figure()
    pixels = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(pixels, style.attention_colours(times[1, 2]), atol=1)
    assert {"▸ L2 H3", "thumb4 asks"} <= words(figure)
    assert any("random" in text for text in words(figure))
    view.restore({"show": "difference", "direction": "in"})
    figure = view.figure()
    main = np.frombuffer(view.data, "<f2").reshape(times.shape)
    place = (main.astype(float) - times)[1, 2] / style.DIFFERENCE_RANGE
    pixels = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(pixels, style.scale_colours(np.clip(place, -1, 1)), atol=1)
    assert {"who looks at thumb4", "≥ +4x"} <= words(figure)
    view.restore({"show": "ratio"})
    place = style.attention_place(main.astype(float) / times)[1, 2]
    pixels = np.asarray(view.figure().axes[0].images[0].get_array())
    np.testing.assert_allclose(pixels, style.scale_colours(place), atol=1)


def test_forbidden_keys_and_folded_flows_are_shown(rng):
    axis = Axis.of_channels(COCO, ("now", "before"))
    maps = maps_of(rng, 1, 34, 34)
    allowed = np.arange(34) % 17 != 16
    maps = np.where(allowed, maps, 0)
    maps /= maps.sum(-1, keepdims=True)
    view = AttentionView(
        {"flows": maps}, (axis, axis), allowed={"flows": allowed}, skeleton=COCO, xy=XY
    )
    pixels = np.asarray(view.figure().axes[0].images[0].get_array())
    assert (pixels[:, [16, 33]] == style.rgb(style.colour("none"))).all()
    view.restore({"fold": "flow"})
    times = np.where(allowed, 32 * maps[0], np.nan).reshape(17, 2, 17, 2)
    pixels = np.asarray(view.figure().axes[0].images[0].get_array())
    expected = style.attention_colours(np.nanmean(times, (0, 2)))
    np.testing.assert_allclose(pixels, expected, atol=1)
    view.restore({"fold": "joint", "focus": 2})
    assert "left eye asks" in words(view.figure()) or "right eye asks" in words(view.figure())


def test_maps_of_the_second_name_are_the_second_s(rng):
    maps = {"a": maps_of(rng, 1, 5, 5), "b": maps_of(rng, 1, 7, 7)}
    axes = {name: (Axis.numbered(name, m.shape[-1]),) * 2 for name, m in maps.items()}
    view = AttentionView(maps, axes, state={"head": ["b", 0, 0]})
    pixels = np.asarray(view.figure().axes[0].images[0].get_array())
    np.testing.assert_allclose(pixels, style.attention_colours(7 * maps["b"][0]), atol=1)


def test_a_view_that_no_page_has_room_for_has_no_picture():
    maps = np.full((1, 2, 1024), 1 / 1024)
    view = AttentionView({"a": maps}, (Axis.numbered("q", 2), Axis.numbered("k", 1024)))
    assert view.png() == b""


def test_show_brings_the_picture_along(hands, monkeypatch):
    shown = []
    monkeypatch.setattr(live, "display", lambda bundle, raw: shown.append(bundle))
    hands.attention.show()
    with Image.open(io.BytesIO(base64.b64decode(shown[0]["image/png"]))) as image:
        assert image.width == 930


def test_the_example_of_the_readme_runs(hands, tmp_path, monkeypatch):
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("This figure for my paper")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    workbench = SimpleNamespace(explore=lambda *_, **__: hands)
    exec(code, {"workbench": workbench, "paper": paper})
    assert (
        ">times uniform (encoder attention, trained)<" in (tmp_path / "attention.svg").read_text()
    )
    assert Image.open(tmp_path / "pose.png").width == 2148
    with pytest.raises(UnknownName, match="attention"):
        hands.figure("atention")


# --- slides


@pytest.mark.parametrize(
    ("box", "want"),
    [
        (None, (-0.5, -1.8125, 40.5, 23.8125)),
        ((2.0, 3.0, 10.0, 19.0), (-0.5, 3, 25.1, 19)),  # high, at the left end
        ((20.0, 0.0, 36.0, 2.0), (20, -0.5, 36, 9.5)),  # wide, at the upper end
    ],
)
def test_a_slide_shows_more_of_a_picture_where_there_is_more(box, want):
    assert _widened(Picture("", FRAMES, box=box)) == pytest.approx(want)


def test_a_slide_shows_what_the_panel_shows():
    panel = Picture("", FRAMES, at=2, box=(0.0, 0.0, 16.0, 10.0))
    bars = Bars("", "px", [Bar("a", 1.0, "truth")])
    found = paper.slides({"at 2": panel, "bars": bars}, COCO, first=-1)[SLIDES]
    assert found["first"] == 1 and [one["words"] for one in found["slides"]] == ["at 2", "bars"]
    raw = base64.b64decode(found["slides"][0]["light"])
    pixels = np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))
    assert pixels.shape == (400, 640, 3) and abs(pixels[20:-20, 20:-20].astype(int) - 80).max() < 4
    dark, light = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(found["slides"][1][theme]))))
        for theme in ("dark", "light")
    )
    assert dark[2, 2].mean() < 60 < 220 < light[2, 2].mean()


def test_notes_stand_at_their_places():
    note = {"at": [6, 4], "words": "thumb", "aside": 8}
    figure = drawn(Picture("", FRAMES, notes=[note]))
    (words,) = [one for one in figure.axes[0].texts if one.get_text() == "thumb"]
    assert tuple(words.xy) == (6, 4)


def test_words_may_stand_at_the_ends_of_a_scale():
    heat = Heat(
        np.zeros((2, 2)), np.eye(2, 3), "x", -4.0, 4.0, diverging=True, ends=("1/16x", "16x")
    )
    figure = drawn(Picture("", FRAMES, heat=heat))
    words = {text.get_text() for text in figure.findobj(Text)}
    assert {"1/16x", "16x"} <= words and "-4" not in words
