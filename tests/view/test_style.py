"""Colours are told apart by everybody, and one number has one colour."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import BadParameter, UnknownName
from workbench.view import style

THEMES = ("light", "dark")
# What a person without red or green cones sees of linear RGB. Machado, Oliveira and Fernandes 2009,
# Table 1, severity 1.
SIGHT = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
# Linear RGB to cones, and cones to OKLab. Ottosson 2020.
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(hexadecimal):
    share = np.array(style.rgb(hexadecimal)) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def seen(hexadecimal, sight):
    """OKLab, 0 to 100, of what somebody sees of a colour."""
    light = np.clip(SIGHT[sight] @ linear(hexadecimal), 0, 1)
    return 100 * OKLAB @ np.cbrt(CONES @ light)


def contrast(a, b):
    """WCAG 2's ratio of two colours."""
    dark, bright = sorted(linear(c) @ [0.2126, 0.7152, 0.0722] for c in (a, b))
    return (bright + 0.05) / (dark + 0.05)


def test_the_simulation_knows_the_classic_trap():
    """A red and a green that are far apart for most, and nearly one for others."""
    red, green = "#C0504D", "#7F7F2A"
    far, near = (
        np.linalg.norm(seen(red, sight) - seen(green, sight))
        for sight in ("all cones", "deuteranopia")
    )
    assert far > 2 * near


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", THEMES)
def test_roles_are_told_apart_with_every_kind_of_colour_vision(theme, sight):
    for (a, one), (b, other) in itertools.combinations(style.ROLES[theme].items(), 2):
        distance = np.linalg.norm(seen(one, sight) - seen(other, sight))
        assert distance > 10, f"{a} and {b}"


@pytest.mark.parametrize("theme", THEMES)
def test_roles_and_words_stand_out_from_the_paper(theme):
    paper = style.colour("paper", theme)
    for role in style.ROLES[theme]:
        assert contrast(style.colour(role, theme), paper) > 1.85, role
    assert contrast(style.colour("ink", theme), paper) > 10
    assert contrast(style.colour("soft", theme), paper) > 4.5


def test_both_themes_name_the_same_things():
    for table in (style.ROLES, style.PAPER, style.DIVERGING):
        assert set(table) == set(THEMES)
    assert set(style.ROLES["light"]) == set(style.ROLES["dark"])
    assert set(style.PAPER["light"]) == set(style.PAPER["dark"])


@pytest.mark.parametrize("theme", THEMES)
def test_names_have_the_colour_of_their_role_and_others_none_that_means_something(theme):
    names = ["STDPose", "k = 1", "optical flow", "k = 2", "paper"]
    palette = style.palette(names, theme)
    assert list(palette) == names
    assert palette["STDPose"] == style.colour("ours", theme) == style.colour("OTPose", theme)
    assert palette["optical flow"] == style.colour("rival", theme)
    assert [palette[name] for name in ("k = 1", "k = 2", "paper")] == style.series(3)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", THEMES)
def test_the_diverging_scale_grows_on_both_sides_of_a_neutral_middle(theme, sight):
    lab = np.array([seen(stop, sight) for stop in style.DIVERGING[theme]])
    assert np.linalg.norm(lab[2, 1:]) < 2.5, "the middle has a hue"
    lightness = lab[:, 0] if theme == "light" else -lab[:, 0]
    assert (np.diff(lightness[:3]) > 8).all() and (np.diff(lightness[2:]) < -8).all()
    assert np.linalg.norm(lab[1] - lab[3]) > 10 and np.linalg.norm(lab[0] - lab[4]) > 10
    less, more = lightness[2] - lightness[[0, 4]]
    assert less < more - 15, "what is ignored stands out as much as what is looked at"


# --- attention


@pytest.mark.parametrize("keys", [5, 7, 211])
@pytest.mark.parametrize("theme", THEMES)
def test_uniform_attention_is_neutral_whatever_the_number_of_keys(keys, theme):
    times = style.times_uniform(np.full((2, keys), 1 / keys))
    np.testing.assert_allclose(times, 1)
    middle = style.rgb(style.DIVERGING[theme][2])
    assert (style.attention_colours(times, theme) == middle).all()


def test_forbidden_keys_do_not_count():
    weights = np.array([[0.5, 0.25, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]])
    allowed = np.array([[True, True, True, False], [True, False, False, False]])
    times = style.times_uniform(weights, allowed=allowed)
    np.testing.assert_allclose(times[0, :3], [1.5, 0.75, 0.75])
    assert times[1, 0] == 1 and np.isnan(times[~allowed]).all()
    assert (style.attention_colours(times)[~allowed] == style.rgb(style.colour("none"))).all()


def test_keys_may_lie_on_another_axis_and_masks_broadcast():
    weights = np.full((3, 5), 1 / 3)
    np.testing.assert_allclose(style.times_uniform(weights, axis=0), 1)
    times = style.times_uniform(weights.T, allowed=np.array([True, True, False]))
    np.testing.assert_allclose(times[:, :2], 2 / 3)
    with pytest.raises(BadParameter, match="broadcasts"):
        style.times_uniform(weights, allowed=np.ones(4, bool))


def test_the_ends_are_fixed_and_what_lies_beyond_is_clipped():
    place = style.attention_place(np.array([0.0, 1 / 64, 1 / 16, 0.25, 1, 2, 16, 999]))
    np.testing.assert_allclose(place, [-1, -1, -1, -0.5, 0, 0.25, 1, 1])
    assert style.attention_ticks()[::2] == ["≤ 1/16x", "1x", "≥ 16x"]
    assert style.attention_ticks(difference=True)[::2] == ["≤ −4x", "0", "≥ +4x"]


@pytest.mark.parametrize("theme", THEMES)
def test_what_has_no_role_stands_out_from_the_paper_and_is_no_role_s(theme):
    for count in (1, 2, 5):
        colours = style.series(count)
        assert len(set(colours)) == count
        for colour in colours:
            assert contrast(colour, style.colour("paper", theme)) > 1.85
            assert colour.upper() not in style.ROLES[theme].values()


@pytest.mark.parametrize("theme", THEMES)
def test_words_in_colour_are_legible(theme):
    assert set(style.WORDS[theme]) == set(style.WORDS["light"])
    for name, value in style.WORDS[theme].items():
        for paper in ("paper", "tint"):
            assert contrast(value, style.colour(paper, theme)) > 4.5, name
    assert contrast(style.colour("soft", theme), style.colour("tint", theme)) > 4.5


# --- CSS


@pytest.mark.parametrize("selector", [":root", ".workbench"])
def test_css_holds_every_colour_of_both_themes(selector):
    css = style.css_variables(selector)
    for theme in THEMES:
        for role, value in (style.ROLES[theme] | style.PAPER[theme]).items():
            assert f"--wb-{role.replace('_', '-')}: {value};" in css
    assert "prefers-color-scheme: dark" in css and "var(--jp-ui-font-color1, #1D2733)" in css
    assert css.count("{") == css.count("}")


def test_names_that_do_not_exist_are_refused():
    with pytest.raises(UnknownName, match="truth"):
        style.colour("thruth")
    with pytest.raises(UnknownName, match="theme"):
        style.attention_colours(np.ones(2), "grey")


def test_plotly_s_colours_follow_the_theme():
    css = style.plotly_css()
    for role, value in (style.ROLES["light"] | style.PAPER["light"]).items():
        variable = f"var(--wb-{role.replace('_', '-')})"
        for part in ("fill", "stroke"):
            rule = f'[style*="{part}: rgb{style.rgb(value)}"] {{ {part}: {variable} !important'
            assert css.count(rule) == 1, role
    assert css.count("{") == css.count("}")


def test_colours_of_an_svg_follow_the_theme():
    drawn = " ".join((*style.ROLES["light"].values(), *style.PAPER["light"].values(), "#123456"))
    words = style.followed(drawn.lower()).split("#123456")[0].strip().split(" var")
    roles = [*style.ROLES["light"], *style.PAPER["light"]]
    assert len(words) == len(roles)
    for role, word in zip(roles, words):
        name, colour = role.replace("_", "-"), style.colour(role).lower()
        assert word.removeprefix("var") == f"(--wb-{name}, {colour})"
    assert style.followed("#123456 #FFFFFF") == "#123456 #FFFFFF"


def test_canvases_have_the_pages_typeface():
    """A canvas knows no variables: its words name the typeface once more."""
    assert style.FONT in Path(style.__file__).with_name("pens.js").read_text(encoding="utf-8")
    assert f"--wb-font: {style.FONT};" in style.css_variables()
