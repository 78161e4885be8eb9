"""Attention maps for a page, alone or beside the body that they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num, UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from ...errors import BadParameter, check_choice
from ...skeletons import Skeleton
from .. import style
from ..panels import bones
from .sheets import (
    DPI,
    WIDEST,
    add_legend,
    box_about,
    colours_of,
    fit,
    framed,
    in_words,
    label_ticks,
    settings,
    sheet,
    show_box,
)

NARROWEST = 0.66  # inches of one map with its gap
# What maps show, and what their scale is called.
SHOWS = {"main": "times uniform", "difference": "difference of times uniform", "ratio": "ratio"}
ARC = 10.0  # pt of an arc that carries all of the weight


def attention_figure(
    maps: Float[np.ndarray, "*layer head query key"],
    labels: Sequence[str] | tuple[Sequence[str], Sequence[str]],
    *,
    columns: int = 2,
    heads: Sequence[tuple[int, int]] | None = None,
    skeleton: Skeleton | None = None,
    xy: Num[np.ndarray, "k 2"] | None = None,
    focus: str | int | None = None,
    inward: bool = False,
    marked: Bool[np.ndarray, "query"] | None = None,
    picture: UInt8[np.ndarray, "h w 3"] | None = None,
    names: Sequence[str] | None = None,
    allowed: Bool[np.ndarray, "*a"] | None = None,
    other: Float[np.ndarray, "*layer head query key"] | None = None,
    show: str = "main",
    about: str = "",
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Attention maps on the one scale of `style`; where all are drawn, a row is a layer if it has
    room for its heads.

    maps: weights of one sample. labels: names of the tokens, or a pair, queries' and keys'; those
    without room are left out at equal steps. columns: of the page. heads: (layer, head), both from
    0, of the maps to draw; names: their titles. allowed: keys that masks let through, of a shape
    that broadcasts to [layer head query key]. other: weights of another model; show: "main", or
    the "difference" from them or the "ratio" to them. skeleton, xy: the body in px, beside maps
    from joint to joint, over the picture where there is one. focus: the joint that asks (inward:
    that answers): dots have the colours of its mean over the maps drawn, and arcs are as wide as
    its mean weights. marked: queries whose rows are framed in the colour of the hidden. about:
    words beside the name of the scale; title: of the whole.
    Errors: `BadParameter` for what does not fit together or on a page, `UnknownName` for a joint.
    """
    weights = style.by_layer("attention", maps)
    known = list(np.ndindex(weights.shape[:2]))
    chosen = known if heads is None else [tuple(head) for head in heads]
    titles = names or [f"L{layer + 1} H{head + 1}" for layer, head in chosen]
    if not chosen or not set(chosen) <= set(known) or len(titles) != len(chosen):
        raise BadParameter(
            f"heads {chosen} and {len(titles)} names of maps {weights.shape}",
            remedy="give pairs of (layer, head), both from 0, each with a name or none",
        )
    focus = _focus(weights, skeleton, xy, focus)
    sides = _sides(labels, weights)
    values, shares = _compared(weights, other, show, allowed)
    said = {SHOWS[show]: values, "weight": weights}
    said = {name: [of[head] for head in chosen] for name, of in said.items()}
    per_row = weights.shape[1] if heads is None else len(chosen)
    ink, hidden = (style.colour(role, theme) for role in ("ink", "hidden"))
    with settings(theme):
        figure = sheet(columns)
        figure.numbers = _numbers(titles, sides, said)
        rows, beside = _grid(figure, sides, per_row, len(chosen), skeleton is not None, focus)
        cells = list(figure.axes)
        for axes, head, name in zip(cells, chosen, titles):
            pixels = style.scale_colours(_placed(values[head], show), theme)
            axes.imshow(pixels, aspect="auto", interpolation="nearest", gid="turned")
            axes.set_title(name)
            for row in () if marked is None else np.flatnonzero(marked):
                axes.axhspan(row - 0.5, row + 0.5, fill=False, clip_on=False, color=hidden)
            if focus is not None:
                mark = axes.axvspan if inward else axes.axhspan
                mark(focus - 0.5, focus + 0.5, fill=False, clip_on=False, color=ink)
        if skeleton is not None:
            body = _body(figure.add_subplot(beside), xy, skeleton, picture, theme)
        if focus is not None:
            seen = [np.swapaxes(v, 2, 3) if inward else v for v in (values, shares)]
            value, share = (np.mean([v[head][focus] for head in chosen], 0) for v in seen)
            _arcs(body, xy, focus, _placed(value, show), share, show, theme)
            joint = in_words(skeleton.joints[focus])
            body.set_title(f"who looks at {joint}" if inward else f"{joint} asks")
            body.set_xlabel(f"mean of {len(chosen)} maps" if len(chosen) > 1 else "")
        _scale(figure, cells, show, about, theme)
        add_legend(figure, title)
        fit(figure, rows)
        if skeleton is not None:  # as high as the maps
            box, low = body.get_position(), cells[-1].get_position().y0
            body.set_position((box.x0, low, box.width, box.y1 - low))
            box = body.get_window_extent()
            show_box(body, box_about(xy, box.width / box.height))
    return figure


def _grid(
    figure: Figure,
    sides: list[list[str]],
    per_row: int,
    count: int,
    beside: bool,
    focus: int | None,
) -> tuple[list[list[tuple[Axes, float, float]]], SubplotSpec]:
    """Rows of axes as `fit` wants them, for maps in proportion to their tokens within 2, with
    names of tokens along the outer ones; and the place beside them.
    """
    queries, keys = map(len, sides)
    whole = figure.get_figwidth()
    names = 0.3 + 0.04 * max(map(len, sides[0]))  # inches; ours
    room = whole * (0.7 if beside else 1) - names
    per_row = min(per_row, max(int(room / NARROWEST), 1))
    ratio = float(np.clip(queries / keys, 0.5, 2))
    width = min(room / per_row, WIDEST / max(ratio, 1))
    if keys > width * DPI or queries > width * ratio * DPI:
        raise BadParameter(
            f"{queries} x {keys} tokens on a map {width:.1f} in wide have less than a dot each",
            remedy="choose fewer heads, or average neighbouring tokens beforehand",
        )
    share = (names + per_row * width) / whole
    left, right = figure.add_gridspec(1, 2, width_ratios=(share, max(1 - share, 1e-3)))
    grid = left.subgridspec(-(-count // per_row), per_row)
    cells = [(framed(figure.add_subplot(grid[i])), ratio, WIDEST) for i in range(count)]
    for axes, *_ in cells[::per_row]:
        label_ticks(axes.yaxis, sides[0], width * ratio, focus)
        axes.set_ylabel("asks")
    for axes, *_ in cells[-per_row:]:
        label_ticks(axes.xaxis, sides[1], width, focus)
        axes.tick_params("x", rotation=90)
        axes.set_xlabel("answers")
    rows = [cells[i : i + per_row] for i in range(0, count, per_row)]
    return rows, right.subgridspec(1, 1)[0]


def _numbers(titles: Sequence[str], sides: list[list[str]], said: Mapping) -> pd.DataFrame:
    """What the maps say, [n query key] by name, a row a cell."""
    places = pd.MultiIndex.from_product([titles, *sides], names=["map", "asks", "answers"])
    columns = {name: np.ravel(values) for name, values in said.items()}
    return pd.DataFrame(columns, index=places).reset_index()


def _scale(figure: Figure, cells: list[Axes], show: str, about: str, theme: str) -> None:
    """The scale of all maps, below them."""
    colours = ScalarMappable(Normalize(-1, 1), colours_of(theme))
    bar = figure.colorbar(colours, ax=cells, location="bottom", aspect=60, pad=0.02)
    ticks = style.attention_ticks(difference=show == "difference")
    bar.set_ticks(np.linspace(-1, 1, 5), labels=ticks)
    name = SHOWS[show]
    bar.ax.set_gid("turned")
    bar.set_label(f"{name} ({about})" if about else name, loc="left")


def _body(
    axes: Axes, xy: np.ndarray, skeleton: Skeleton, picture: np.ndarray | None, theme: str
) -> Axes:
    if picture is not None:
        axes.imshow(picture, aspect="auto")  # whole numbers are pixel centres, as ours are
    axes.plot(*bones(xy, skeleton), color=style.colour("line", theme), linewidth=2)
    axes.scatter(*xy.T, s=14, color=style.colour("ink", theme), zorder=4)
    return framed(axes)


def _sides(labels: Sequence, weights: np.ndarray) -> list[list[str]]:
    """Names of queries and of keys."""
    pair = (labels, labels) if isinstance(labels[0], str) else labels
    sides = [[in_words(name) for name in side] for side in pair]
    if list(map(len, sides)) != list(weights.shape[2:]):
        raise BadParameter(
            f"{list(map(len, sides))} labels of {weights.shape[2:]} tokens",
            remedy="name every token, or give a pair, queries' and keys'",
        )
    return sides


def _focus(
    weights: np.ndarray, skeleton: Skeleton | None, xy: np.ndarray | None, focus: str | int | None
) -> int | None:
    """Index of the joint that asks, once body and maps are known to fit."""
    if skeleton is None and xy is None and focus is None:
        return None
    shapes = {*weights.shape[2:], 0 if xy is None else len(xy)}
    if skeleton is None or shapes != {len(skeleton)} or not np.isfinite(xy).all():
        raise BadParameter(
            f"half a body, or one that is not that of maps {weights.shape}",
            remedy="give skeleton and finite xy of the joints that maps and focus are about",
        )
    if isinstance(focus, str):
        return skeleton.index(focus)
    check_choice("focus", focus, (None, *range(len(skeleton))))
    return focus


def _compared(
    weights: np.ndarray, other: np.ndarray | None, show: str, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What the maps say, and widths of arcs as shares of `ARC`."""
    check_choice("show", show, SHOWS)
    times = style.times_uniform(weights, allowed=allowed)
    if show == "main":
        return times, weights
    other = style.by_layer("other", other)
    if other.shape != weights.shape:
        raise BadParameter(f"other weights of {other.shape}", remedy=f"give {weights.shape}")
    against = style.times_uniform(other, allowed=allowed)
    if show == "difference":
        return times - against, np.abs(weights - other)
    least = 2.0**-24  # below it a half-precision number is 0
    ratio = np.maximum(times, least) / np.maximum(against, least)
    return ratio, np.minimum(np.abs(np.log2(ratio)) / 12, 1 / 3)  # 8x as a quarter of the weight


def _placed(values: np.ndarray, show: str) -> np.ndarray:
    """Where values lie on the scale, -1 to 1."""
    if show == "difference":
        return np.clip(values / style.DIFFERENCE_RANGE, -1, 1)
    return style.attention_place(values)


def _arcs(
    axes: Axes,
    xy: np.ndarray,
    focus: int,
    place: np.ndarray,
    shares: np.ndarray,
    show: str,
    theme: str,
) -> None:
    """Arcs as wide as shares of `ARC`, joints in the colours of their places on the scale."""
    ink = style.colour("ink", theme)
    signs = style.scale_colours(np.where(place > 0, 0.75, -0.75), theme) / 255
    bend = {"arrowstyle": "-", "connectionstyle": "arc3,rad=0.25", "shrinkA": 0, "shrinkB": 0}
    for joint, share in enumerate(shares):
        if joint != focus:
            look = {"color": ink if show == "main" else signs[joint], "alpha": 0.8, "zorder": 3}
            arc = FancyArrowPatch(xy[focus], xy[joint], **bend, **look)
            axes.add_patch(arc).set_linewidth(ARC * share)
    colours = style.scale_colours(place, theme) / 255
    axes.scatter(*xy.T, s=14, c=colours, edgecolors=ink, linewidths=0.5, zorder=4)
    axes.scatter(*xy[focus], s=45, facecolors="none", edgecolors=ink, linewidths=1, zorder=4)
    words = "8x or 1/8x" if show == "ratio" else "25 % weight"
    key = Line2D([], [], color=ink, linewidth=ARC / 4, alpha=0.8, label=words)
    axes.legend(handles=[key], loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=2.5)
