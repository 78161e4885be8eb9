"""Attention maps for a page, alone or beside the body that they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from ...errors import BadParameter, check_choice
from ...skeletons import Skeleton
from .. import style
from ..figures import bones
from .sheets import (
    DPI,
    GAP,
    INCHES,
    LINE,
    WIDEST,
    add_legend,
    axes_at,
    box_about,
    framed,
    in_words,
    key_of,
    label_ticks,
    scale_bar,
    settings,
    sheet,
    show_box,
    width_of,
)

NARROWEST = 0.6  # inches of one map
ARC = 10.0  # pt of an arc that carries all of the weight


@dataclass(frozen=True)
class _Grid:
    """Where maps of one size lie, row by row; inches. above: what titles take."""

    left: float
    width: float
    height: float
    per_row: int
    count: int
    above: float = LINE + GAP

    @property
    def right(self) -> float:
        return self.left + self.per_row * (self.width + GAP) - GAP

    @property
    def bottom(self) -> float:
        return -(-self.count // self.per_row) * (self.height + self.above)

    def axes(self, figure: Figure, i: int) -> Axes:
        row, column = divmod(i, self.per_row)
        left = self.left + column * (self.width + GAP)
        top = self.above + row * (self.height + self.above)
        return framed(axes_at(figure, left, top, self.width, self.height))


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
    picture: UInt8[np.ndarray, "h w 3"] | None = None,
    names: Sequence[str] | None = None,
    allowed: Bool[np.ndarray, "*a"] | None = None,
    other: Float[np.ndarray, "*layer head query key"] | None = None,
    show: str = "main",
    about: str = "",
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
    its mean weights. about: words beside the name of the scale.
    Errors: `BadParameter` for what does not fit together or on a page, `UnknownName` for a joint.
    """
    check_choice("columns", columns, INCHES)
    weights = style.by_layer("attention", maps)
    chosen = _heads(weights, heads)
    titles = [_title(weights, head) for head in chosen] if names is None else list(names)
    if len(titles) != len(chosen):
        raise BadParameter(f"{len(titles)} names of {len(chosen)} maps", remedy="name each map")
    focus = _focus(weights, skeleton, xy, focus)
    sides = _sides(labels, weights)
    values, shares = _compared(weights, other, show, allowed)
    with settings(theme):
        room = INCHES[columns] * (1 if skeleton is None else 0.7)
        per_row = len(chosen) if heads is not None else weights.shape[1]
        grid = _map_grid(sides, room, per_row, len(chosen))
        foot = grid.bottom + width_of(sides[1]) + 1.7 * LINE
        figure = sheet(columns, foot + 3.3 * LINE)
        for i, (head, title) in enumerate(zip(chosen, titles)):
            axes = grid.axes(figure, i)
            pixels = style.scale_colours(_placed(values[head], show), theme)
            axes.imshow(pixels, aspect="auto", interpolation="nearest")
            axes.set_title(title)
            _label(axes, grid, i, sides, focus, inward)
        _scale(figure, grid.left, foot + 0.5 * LINE, show, about, theme)
        if skeleton is not None:
            left = grid.right + 3 * GAP
            width = INCHES[columns] - left - GAP
            size = width, min(grid.bottom - grid.above, 2 * width)
            axes = framed(axes_at(figure, left, grid.above, *size))
            if picture is not None:
                axes.imshow(picture, aspect="auto")  # whole numbers are pixel centres, as ours are
            show_box(axes, box_about(xy, size[0] / size[1]))
            axes.plot(*bones(xy, skeleton), color=style.colour("line", theme), linewidth=2)
            axes.scatter(*xy.T, s=14, color=style.colour("ink", theme), zorder=4)
            if focus is not None:
                rows = tuple(map(list, zip(*chosen)))
                row = (*rows, slice(None), focus) if inward else (*rows, focus)
                place = _placed(np.mean(values[row], 0), show)
                _arcs(axes, xy, focus, place, np.mean(shares[row], 0), show, theme)
                axes.set_xlabel(f"mean of {len(chosen)} maps" if len(chosen) > 1 else "")
                joint = in_words(skeleton.joints[focus])
                axes.set_title(f"who looks at {joint}" if inward else f"{joint} asks")
    return figure


def _heads(weights: np.ndarray, heads: Sequence | None) -> list[tuple[int, int]]:
    known = list(np.ndindex(weights.shape[:2]))
    chosen = known if heads is None else [tuple(head) for head in heads]
    if not chosen or not set(chosen) <= set(known):
        problem = f"heads {chosen} of {weights.shape[0]} layers with {weights.shape[1]} heads"
        raise BadParameter(problem, remedy="give pairs of (layer, head), both from 0, or None")
    return chosen


def _title(weights: np.ndarray, head: tuple[int, int]) -> str:
    """Counted from 1, as in a notebook's view."""
    return f"L{head[0] + 1} H{head[1] + 1}" if len(weights) > 1 else f"head {head[1] + 1}"


def _sides(labels: Sequence, weights: np.ndarray) -> list[list[str]]:
    """Names of queries and of keys."""
    alike = all(isinstance(label, str) for label in labels)
    sides = [[in_words(name) for name in side] for side in ((labels, labels) if alike else labels)]
    if [len(side) for side in sides] != list(weights.shape[2:]):
        raise BadParameter(
            f"{[len(side) for side in sides]} labels for maps of {weights.shape[2:]} tokens",
            remedy="name every token, or give a pair: names of queries, names of keys",
        )
    return sides


def _focus(
    weights: np.ndarray, skeleton: Skeleton | None, xy: np.ndarray | None, focus: str | int | None
) -> int | None:
    """Index of the joint that asks, once body and maps are known to fit."""
    if skeleton is None and xy is None and focus is None:
        return None
    if skeleton is None or xy is None:
        raise BadParameter("half a body", remedy="give both skeleton and xy, for a focus as well")
    if {*weights.shape[2:], len(xy)} != {len(skeleton)} or not np.isfinite(xy).all():
        raise BadParameter(
            f"maps of {weights.shape[2:]} and {len(xy)} places for {len(skeleton)} joints",
            remedy="draw a body beside maps from joint to joint, with a finite place for each",
        )
    focus = skeleton.index(focus) if isinstance(focus, str) else focus
    if focus is not None and focus not in range(len(skeleton)):
        raise BadParameter(f"no joint {focus}", remedy=f"give a name, or 0 to {len(xy) - 1}")
    return focus


def _compared(
    weights: np.ndarray, other: np.ndarray | None, show: str, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What the maps say, and widths of arcs as shares of `ARC`."""
    check_choice("show", show, ("main", "difference", "ratio"))
    times = style.times_uniform(weights, allowed=allowed)
    if show == "main":
        return times, weights
    if other is None or style.by_layer("other", other).shape != weights.shape:
        raise BadParameter(f"a {show} of nothing", remedy="give other weights of the same shape")
    other = style.by_layer("other", other)
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


def _map_grid(sides: list[list[str]], room: float, per_row: int, count: int) -> _Grid:
    """Maps as large as `room`, in inches, lets them be, in proportion to their tokens within 2."""
    left = LINE + width_of(sides[0]) + 2 * GAP
    per_row = min(per_row, max(int((room - left) / (NARROWEST + GAP)), 1))
    queries, keys = map(len, sides)
    ratio = min(max(queries / keys, 0.5), 2)
    width = min((room - left) / per_row - GAP, WIDEST / max(ratio, 1))
    height = width * ratio
    if keys > width * DPI or queries > height * DPI:
        raise BadParameter(
            f"{queries} x {keys} tokens on {width:.1f} x {height:.1f} in have less than a dot each",
            remedy="choose fewer heads, shorter labels, or average neighbouring tokens beforehand",
        )
    return _Grid(left, width, height, per_row, count)


def _label(
    axes: Axes, grid: _Grid, i: int, sides: list[list[str]], focus: int | None, inward: bool
) -> None:
    """A frame about the row or column of the focus, and names of tokens along the outer maps."""
    asks, answers = (None, focus) if inward else (focus, None)
    if focus is not None:
        width, height = (1, len(sides[0])) if inward else (len(sides[1]), 1)
        corner = ((answers or 0) - 0.5, (asks or 0) - 0.5)
        row = axes.add_patch(Rectangle(corner, width, height, fill=False, clip_on=False))
        row.set(edgecolor=rcParams["text.color"], linewidth=0.8)
    if i % grid.per_row == 0:
        label_ticks(axes.yaxis, sides[0], grid.height, asks)
        axes.set_ylabel("asks")
    if i + grid.per_row >= grid.count:
        label_ticks(axes.xaxis, sides[1], grid.width, answers)
        axes.tick_params("x", rotation=90)
        axes.set_xlabel("answers")


def _scale(figure: Figure, left: float, top: float, show: str, about: str, theme: str) -> None:
    """The scale of all maps."""
    bar = style.attention_scale(theme, difference=show == "difference")
    colours = style.scale_colours(np.linspace(-1, 1, 257), theme)
    axes = scale_bar(figure, (left, top, 2.3, 0.5 * LINE), colours, (bar["zmin"], bar["zmax"]))
    axes.set_xticks(bar["colorbar"]["tickvals"], bar["colorbar"]["ticktext"])
    for end, side in ((0, "left"), (-1, "right")):
        axes.get_xticklabels()[end].set_horizontalalignment(side)
    name = "ratio" if show == "ratio" else bar["colorbar"]["title"]["text"]
    axes.set_xlabel(f"{name} ({about})" if about else name, loc="left")


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
    words = {"main": "25 % weight", "difference": "± 25 % weight", "ratio": "8x or 1/8x"}[show]
    key = key_of(words, ink, "", linestyle="-", linewidth=ARC / 4, alpha=0.8)
    below = (0.5, -1.7 * LINE * axes.figure.dpi / axes.get_window_extent().height)
    add_legend(axes, [key], bbox_to_anchor=below, handlelength=1.5)
