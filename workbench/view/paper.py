"""Figures for papers, drawn by matplotlib and seaborn without a browser, as wide as one or two
columns of a page.

Sizes are inches, text has 5 to 7 pt, colours come from `style`. pyplot's state is never touched,
and a user's own settings of matplotlib change nothing.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import seaborn
from jaxtyping import Bool, Float, Num, UInt8
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.style import context
from matplotlib.textpath import TextPath

from ..errors import BadParameter, check_choice, unknown
from ..resources import check_writable, write_beside
from ..skeletons import Skeleton
from . import style
from .attention import by_layer
from .figures import bones

INCHES = MappingProxyType({1: 3.5, 2: 7.16})  # by columns of the page: IEEE's
TALLEST = 9.0  # inches that a page has for a figure; ours
DPI = 300
TEXT, SMALL, TINY = 7, 6, 5  # pt of titles, of numbers and legends, of names of tokens
LINE, GAP = 0.14, 0.06  # inches of a line of text, and between panels
NARROWEST, WIDEST = 0.6, 3.0  # inches of one panel
BAR = 2.3  # inches of the scale
ARC = 10.0  # pt of an arc that carries all of the weight
FORMATS = ("svg", "pdf", "png")
WHO = ("truth", "detector", "rival", "ours")  # who says where joints are, the last one on top
# Colours of lines that are called as no role is, in this order; the truth's last.
LINES = ("rival", "ours", "detector", "newly_hidden", "visible", "hidden", "outside", "truth")
# What a band over seeds is: seaborn's name, and words.
BANDS = MappingProxyType(
    {
        "range": (("pi", 100), "lowest to highest"),
        "sd": (("sd", 1), "± 1 standard deviation"),
        "interval": (("ci", 95), "95 % bootstrap interval of the mean"),
    }
)


# --- sheets ---------------------------------------------------------------------------------------


def _settings(theme: str = "light") -> AbstractContextManager:
    """matplotlib's own defaults with our text, ink and paper, whatever the user has set."""
    ink, soft, paper = (style.colour(role, theme) for role in ("ink", "soft", "paper"))
    ours = {
        "axes.axisbelow": True,
        "axes.edgecolor": soft,
        "axes.labelpad": 2,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlepad": 3,
        "font.size": TEXT,
        "grid.alpha": 0.3,
        "grid.color": soft,
        "legend.frameon": False,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "pdf.fonttype": 42,  # TrueType, which publishers ask for
        "text.parse_math": False,  # a dollar in a name is a dollar
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "workbench",  # one figure gives the same bytes each time
    }
    ours |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), ink)
    ours |= dict.fromkeys(("figure.facecolor", "axes.facecolor"), paper)
    ours |= dict.fromkeys(("axes.titlesize", "axes.labelsize"), TEXT)
    ours |= dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), SMALL)
    ours |= dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2)
    thin = ("axes.linewidth", "grid.linewidth", "xtick.major.width", "ytick.major.width")
    ours |= dict.fromkeys(thin, 0.5)
    ours |= dict.fromkeys(("xtick.color", "ytick.color"), soft)
    ours |= dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor"), ink)
    return context(["default", ours])


def _sheet(columns: int, height: float) -> Figure:
    """An empty figure, as wide as so many columns and `height` inches high."""
    if height > TALLEST:
        problem = f"a figure {height:.1f} in high, and a page has {TALLEST:g}"
        raise BadParameter(problem, remedy="draw fewer panels, or several figures")
    figure = Figure((INCHES[columns], height))
    FigureCanvasAgg(figure)
    return figure


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the upper left corner."""
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))


@dataclass(frozen=True)
class _Grid:
    """Where panels of one size lie, row by row; inches. above: what titles take, top: legends."""

    left: float
    width: float
    height: float
    per_row: int
    count: int
    above: float = LINE + GAP
    top: float = 0.0

    @property
    def right(self) -> float:
        return self.left + self.per_row * (self.width + GAP) - GAP

    @property
    def bottom(self) -> float:
        return self.top + -(-self.count // self.per_row) * (self.height + self.above)

    def axes(self, figure: Figure, i: int) -> Axes:
        row, column = divmod(i, self.per_row)
        left = self.left + column * (self.width + GAP)
        top = self.top + self.above + row * (self.height + self.above)
        return _panel(_place(figure, left, top, self.width, self.height))


def _panel(axes: Axes) -> Axes:
    """Axes with a thin frame, without ticks."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    return axes


def _scene(axes: Axes, points: np.ndarray, picture: np.ndarray | None) -> None:
    """Px, as long down as across, about the points with a tenth to spare on each side."""
    if picture is not None:
        axes.imshow(picture, aspect="auto")  # whole numbers are pixel centres, as ours are
    box = axes.get_window_extent()
    low, high = points.min(0), points.max(0)
    (x, y), (width, height) = (low + high) / 2, 1.2 * (high - low) + 1e-6
    half = max(height, width * box.height / box.width) / 2
    across = half * box.width / box.height
    axes.set(xlim=(x - across, x + across), ylim=(y + half, y - half))


def _legend(figure: Figure, handles: Sequence) -> None:
    figure.legend(handles=handles, loc="upper center", ncols=4, borderaxespad=0.3)


# --- attention ------------------------------------------------------------------------------------


def attention_figure(
    maps: Float[np.ndarray, "*layer head query key"],
    labels: Sequence[str] | tuple[Sequence[str], Sequence[str]],
    *,
    columns: int = 2,
    heads: Sequence[tuple[int, int]] | None = None,
    skeleton: Skeleton | None = None,
    xy: Num[np.ndarray, "k 2"] | None = None,
    focus: str | int | None = None,
    picture: UInt8[np.ndarray, "h w 3"] | None = None,
    names: Sequence[str] | None = None,
    allowed: Bool[np.ndarray, "*a"] | None = None,
    theme: str = "light",
) -> Figure:
    """Attention maps on the one scale of `style`; where all are drawn, a row is a layer if it has
    room for its heads.

    maps: weights of one sample. labels: names of the tokens, or a pair, queries' and keys'; those
    without room are left out at equal steps. columns: of the page. heads: (layer, head), both from
    0, of the maps to draw; names: their titles. allowed: keys that masks let through, of a shape
    that broadcasts to [layer head query key]. skeleton, xy: the body in px, beside maps from joint
    to joint, over the picture where there is one. focus: the joint that asks: dots have the colours
    of its mean over the maps drawn, and arcs are as wide as its mean weights.
    Errors: `BadParameter` for what does not fit together or on a page, `UnknownName` for a joint.
    """
    check_choice("columns", columns, INCHES)
    weights = by_layer("attention", maps)
    chosen = _heads(weights, heads)
    titles = [_title(weights, head) for head in chosen] if names is None else list(names)
    if len(titles) != len(chosen):
        raise BadParameter(f"{len(titles)} names of {len(chosen)} maps", remedy="name each map")
    focus = _focus(weights, skeleton, xy, focus)
    sides = _sides(labels, weights)
    times = style.times_uniform(weights, allowed=allowed)
    with _settings(theme):
        room = INCHES[columns] * (1 if skeleton is None else 0.7)
        per_row = len(chosen) if heads is not None else weights.shape[1]
        grid = _map_grid(sides, room, per_row, len(chosen))
        foot = grid.bottom + _width(sides[1]) + 1.7 * LINE
        figure = _sheet(columns, foot + 3.3 * LINE)
        for i, (head, title) in enumerate(zip(chosen, titles)):
            axes = grid.axes(figure, i)
            pixels = style.attention_colours(times[head], theme)
            axes.imshow(pixels, aspect="auto", interpolation="nearest")
            axes.set_title(title)
            _label(axes, grid, i, sides, focus)
        _bar(_place(figure, grid.left, foot + 0.5 * LINE, BAR, 0.5 * LINE), theme)
        if skeleton is not None:
            left = grid.right + 3 * GAP
            width = INCHES[columns] - left - GAP
            size = width, min(grid.bottom - grid.above, 2 * width)
            axes = _panel(_place(figure, left, grid.above, *size))
            _scene(axes, xy, picture)
            _bones(axes, xy, skeleton, theme)
            if focus is not None:
                rows = (*map(list, zip(*chosen)), focus)
                _arcs(axes, xy, focus, weights[rows], times[rows], theme)
                axes.set_title(f"{_words(skeleton.joints[focus])} asks")
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


def _words(name: str) -> str:
    return name.replace("_", " ")


def _sides(labels: Sequence, weights: np.ndarray) -> list[list[str]]:
    """Names of queries and of keys."""
    alike = all(isinstance(label, str) for label in labels)
    sides = [[_words(name) for name in side] for side in ((labels, labels) if alike else labels)]
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


def _width(names: Sequence[str]) -> float:
    """Inches that the longest name of a token takes."""
    return max(TextPath((0, 0), text, size=TINY).get_extents().width for text in names) / 72


def _map_grid(sides: list[list[str]], room: float, per_row: int, count: int) -> _Grid:
    """Maps as large as `room`, in inches, lets them be, in proportion to their tokens within 2."""
    left = LINE + _width(sides[0]) + 2 * GAP
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


def _label(axes: Axes, grid: _Grid, i: int, sides: list[list[str]], focus: int | None) -> None:
    """A frame about the row that asks, and names of tokens along the outer maps."""
    if focus is not None:
        row = Rectangle((-0.5, focus - 0.5), len(sides[1]), 1, fill=False, clip_on=False)
        axes.add_patch(row).set(edgecolor=rcParams["text.color"], linewidth=0.8)
    if i % grid.per_row == 0:
        _ticks(axes.yaxis, sides[0], grid.height, focus)
        axes.set_ylabel("asks")
    if i + grid.per_row >= grid.count:
        _ticks(axes.xaxis, sides[1], grid.width, focus)
        axes.tick_params("x", rotation=90)
        axes.set_xlabel("answers")


def _ticks(axis: Axis, names: list[str], inches: float, focus: int | None) -> None:
    """As many names as can be read, at equal steps, among them that of the focus."""
    step = int(np.ceil(1.1 * TINY / 72 * len(names) / inches))
    step += step % 2 == 0 and len(names) > step  # an even one names the joints of one side alone
    first = (focus or 0) % step
    axis.set_ticks(range(first, len(names), step), names[first::step], fontsize=TINY)


def _bar(axes: Axes, theme: str) -> None:
    """The scale of all maps."""
    scale = style.attention_scale(theme)
    colours = style.scale_colours(np.linspace(-1, 1, 257), theme)[None]
    axes.imshow(colours, aspect="auto", extent=(scale["zmin"], scale["zmax"], 0, 1))
    _panel(axes).set_xlabel(scale["colorbar"]["title"])
    axes.set_xticks(scale["colorbar"]["tickvals"], scale["colorbar"]["ticktext"])
    for end, side in ((0, "left"), (-1, "right")):
        axes.get_xticklabels()[end].set_horizontalalignment(side)


def _bones(axes: Axes, xy: np.ndarray, skeleton: Skeleton, theme: str) -> None:
    axes.plot(*bones(xy, skeleton), color=style.colour("line", theme), linewidth=2)
    axes.scatter(*xy.T, s=14, color=style.colour("ink", theme), zorder=4)


def _arcs(
    axes: Axes, xy: np.ndarray, focus: int, weights: np.ndarray, times: np.ndarray, theme: str
) -> None:
    """Arcs as wide as the mean weights, [map key], joints in the colours of the scale."""
    ink = style.colour("ink", theme)
    line = {"color": ink, "alpha": 0.8}
    bend = {"arrowstyle": "-", "connectionstyle": "arc3,rad=0.25", "shrinkA": 0, "shrinkB": 0}
    for joint, weight in enumerate(np.mean(weights, 0)):
        if joint != focus:
            arc = FancyArrowPatch(xy[focus], xy[joint], **bend, **line, zorder=3)
            axes.add_patch(arc).set_linewidth(ARC * weight)
    colours = style.attention_colours(np.mean(times, 0), theme) / 255
    axes.scatter(*xy.T, s=14, c=colours, edgecolors=ink, linewidths=0.5, zorder=4)
    axes.scatter(*xy[focus], s=45, facecolors="none", edgecolors=ink, linewidths=1, zorder=4)
    axes.set_xlabel(f"mean of {len(weights)} maps" if len(weights) > 1 else "")
    key = Line2D([], [], linewidth=ARC / 4, label="25 % weight", **line)
    place = (0.5, -1.7 * LINE * axes.figure.dpi / axes.get_window_extent().height)
    axes.legend(handles=[key], loc="upper center", bbox_to_anchor=place, handlelength=1.5)


# --- charts ---------------------------------------------------------------------------------------


def _chart(columns: int, x_title: str, y_title: str) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, and room for a legend above them."""
    figure = _sheet(columns, 2.4)
    axes = _place(figure, 0.45, 0.25, INCHES[columns] - 0.55, 1.7)
    axes.set(xlabel=x_title, ylabel=y_title)
    axes.grid(axis="y")
    return figure, axes


def error_by_confidence(
    confidence: Float[np.ndarray, "m"],
    before: Float[np.ndarray, "m"],
    after: Float[np.ndarray, "m"],
    delta: float,
    *,
    names: tuple[str, str] = ("detector", "with PORT"),
    columns: int = 1,
    theme: str = "light",
) -> Figure:
    """Boxes of joint error, px, in tenths of confidence, without and with refinement, with delta.
    Counterpart of PORT Fig. 4.

    Boxes span 25 to 75 %, whiskers 5 to 95 % of the joints in a bin; lines join the means.
    Errors: `BadParameter` for arrays that do not fit or are not finite.
    """
    check_choice("columns", columns, INCHES)
    sizes = {np.shape(values) for values in (confidence, before, after)}
    if len(sizes) > 1 or sizes == {(0,)} or not np.isfinite([confidence, before, after]).all():
        raise BadParameter(
            f"confidence and errors of shapes {sorted(sizes)}, or not finite",
            remedy="give one finite number a joint in each, and at least one joint",
        )
    bins = 10
    which = np.clip((confidence * bins).astype(int), 0, bins - 1)
    filled = np.unique(which)
    words = "confidence\n(boxes 25 to 75 %, whiskers 5 to 95 % of the joints in a bin)"
    with _settings(theme):
        figure, axes = _chart(columns, words, "joint error, px")
        top, lines = 0.0, []
        for name, error, role, side in zip(names, (before, after), ("detector", "ours"), (-1, 1)):
            at = (filled + 0.5 + 0.21 * side) / bins
            groups = [error[which == b] for b in filled]
            _boxes(axes, groups, at, 0.36 / bins, style.colour(role, theme))
            means = [group.mean() for group in groups]
            look = {"color": style.colour(role, theme), "label": f"mean, {name}"}
            lines += axes.plot(at, means, "o-", **look)
            top = max(top, *(np.percentile(group, 95) for group in groups), *means)
        axes.axvline(delta, color=rcParams["text.color"], linestyle="--", linewidth=0.8)
        side, away = ("left", 3) if delta < 0.8 else ("right", -3)
        look = {"textcoords": "offset points", "horizontalalignment": side}
        axes.annotate(f"δ = {delta:.2f}", (delta, top), (away, 0), **look)
        axes.set(xlim=(0, 1), ylim=(0, 1.08 * top), xticks=np.linspace(0, 1, 6))
        _legend(figure, lines)
    return figure


def _boxes(axes: Axes, groups: list, at: np.ndarray, width: float, colour: str) -> None:
    cuts = [np.percentile(group, [5, 25, 50, 75, 95]) for group in groups]
    names = ("whislo", "q1", "med", "q3", "whishi")
    line = {"color": colour, "linewidth": 0.6}
    axes.bxp(
        [dict(zip(names, cut)) for cut in cuts],
        positions=at,
        widths=width,
        manage_ticks=False,
        showfliers=False,
        showcaps=False,
        patch_artist=True,
        boxprops={"facecolor": (colour, 0.3), "edgecolor": colour, "linewidth": 0.6},
        whiskerprops=line,
        medianprops=line | {"linewidth": 1},
    )


def seed_bands(
    rows: Sequence[Mapping] | pd.DataFrame,
    x: str,
    y: str,
    who: str = "who",
    seed: str = "seed",
    *,
    band: str = "range",
    columns: int = 1,
    theme: str = "light",
) -> Figure:
    """Means over seeds as lines, with a band that the figure names: "range", "sd" or "interval".

    rows: one a `who`, `x` and `seed`, with a number in `y`. Who is called as a role of `style` has
    its colour; others take those that are left, in their order.
    Errors: `UnknownName` for columns and bands, `BadParameter` for rows that do not say one thing.
    """
    check_choice("columns", columns, INCHES)
    if band not in BANDS:
        raise unknown("band", band, BANDS)
    table = pd.DataFrame(rows)
    for name in (x, y, who, seed):
        if name not in table:
            raise unknown("column", name, map(str, table.columns))
    table = table.astype({who: str})
    table[y] = pd.to_numeric(table[y], errors="coerce")
    if table.duplicated([who, x, seed]).any() or not np.isfinite(table[y]).all():
        raise BadParameter(
            f"a seed with two values of {y!r} at one {x!r}, or one that is not finite",
            remedy="give one finite row for each line, place and seed",
        )
    palette = _palette(list(table[who].unique()), theme)
    counts = sorted({*table.groupby([who, x])[seed].size()})
    seeds = " to ".join(map(str, sorted({counts[0], counts[-1]})))
    errorbar, words = BANDS[band]
    words = f"{_words(x)}\n(line: mean, band: {words} of {seeds} seeds)"
    with _settings(theme):
        figure, axes = _chart(columns, words, _words(y))
        look = {"hue": who, "style": who, "palette": palette, "marker": "o", "markeredgewidth": 0}
        seaborn.lineplot(table, x=x, y=y, errorbar=errorbar, seed=0, ax=axes, **look)
        low, high = axes.dataLim.intervaly
        spare = 0.05 * (high - low)
        if len(places := table[x].unique()) <= 10:
            axes.set_xticks(places)
        axes.set(xlabel=words, ylabel=_words(y), ylim=(low - spare, high + spare))
        _legend(figure, axes.get_legend_handles_labels()[0])
        axes.get_legend().remove()
    return figure


def _palette(names: list[str], theme: str) -> dict[str, str]:
    """The colours of roles: a name's own, or one that no other has."""
    known = style.ROLES[theme]
    if len(names) > len(known):
        raise BadParameter(f"{len(names)} lines for {len(known)} colours", remedy="draw fewer")
    left = (role for role in LINES if role not in names)
    return {name: known[name if name in known else next(left)] for name in names}


# --- poses ----------------------------------------------------------------------------------------


def before_after(
    poses: Sequence[Mapping[str, np.ndarray]],
    skeleton: Skeleton,
    *,
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]] | None = None,
    captions: Sequence[str] = (),
    names: Mapping[str, str] = MappingProxyType({}),
    columns: int = 2,
    theme: str = "light",
) -> Figure:
    """Panels of people as truth, detector and we have them, each around its own people.

    poses: for each panel role -> px, [p k 2] or [k 2], of "truth", "detector", "rival" and "ours",
    and perhaps "visibility" [p k] or [k]: 1 makes a joint a cross, 0 leaves the truth's out.
    pictures: RGB, one a panel. names: role -> words of the legend.
    Errors: `UnknownName` for roles, `BadParameter` for what does not fit.
    """
    check_choice("columns", columns, INCHES)
    counts = {len(given) for given in (poses, pictures or poses, captions or poses)}
    if len(counts) > 1 or not poses:
        raise BadParameter(
            f"{len(poses)} panels, {len(pictures or ())} pictures, {len(captions)} captions",
            remedy="give at least one panel, and a picture and a caption for each or none at all",
        )
    panels = [_people(panel, skeleton) for panel in poses]
    per_row = min(len(panels), 2 * columns)
    side = min((INCHES[columns] - GAP) / per_row - GAP, WIDEST)
    captions = [textwrap.fill(text, int(18 * side)) for text in captions] or [""] * len(panels)
    above = LINE * max(text.count("\n") + 1 for text in captions) * any(captions) + GAP
    left = (INCHES[columns] - per_row * (side + GAP) + GAP) / 2
    grid = _Grid(left, side, side, per_row, len(panels), above, top=1.5 * LINE)
    with _settings(theme):
        figure = _sheet(columns, grid.bottom + GAP)
        for i, (people, caption) in enumerate(zip(panels, captions)):
            axes = grid.axes(figure, i)
            axes.set_title(caption)
            points = np.concatenate([xy[labelled] for xy, labelled, _ in people.values()])
            _scene(axes, points, pictures[i] if pictures else None)
            for role, pose in people.items():
                _pose(axes, skeleton, role, style.colour(role, theme), *pose)
        _legend(figure, _keys(panels, names, theme))
    return figure


# Who -> px [p k 2], which joints are drawn, and which of them as crosses [p k].
People = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def _people(panel: Mapping[str, np.ndarray], skeleton: Skeleton) -> People:
    """A panel's people, the last ones on top."""
    for role in panel:
        if role not in (*WHO, "visibility"):
            raise unknown("role of a pose", role, (*WHO, "visibility"))
    people = {}
    for role in WHO:
        if role not in panel:
            continue
        xy = np.asarray(panel[role], float)
        flags = np.asarray(panel.get("visibility", np.full(xy.shape[:-1], 2)))
        fits = xy.ndim in (2, 3) and xy.shape[-2:] == (len(skeleton), 2)
        if not fits or flags.shape != xy.shape[:-1] or not np.isfinite(xy).all():
            raise BadParameter(
                f"{role}: places of shape {xy.shape} with flags of {flags.shape}, or not finite",
                remedy=f"give finite px [people {len(skeleton)} 2] or [{len(skeleton)} 2]",
            )
        labelled = (flags > 0) | (role != "truth")
        people[role] = tuple(np.atleast_2d(part) for part in (labelled, flags == 1))
        people[role] = (xy.reshape(-1, len(skeleton), 2), *people[role])
    if not any(labelled.any() for _, labelled, _ in people.values()):
        raise BadParameter(
            "a panel with nobody", remedy="give the truth's, detector's or our poses"
        )
    return people


def _pose(
    axes: Axes,
    skeleton: Skeleton,
    role: str,
    colour: str,
    xy: np.ndarray,
    labelled: np.ndarray,
    hidden: np.ndarray,
) -> None:
    width = 1.8 if role == "truth" else 0.9  # seen below the others
    lines = bones(xy, skeleton, labelled)
    if axes.images:  # paper below everybody's lines, so that nobody's hides another's
        axes.plot(*lines, linewidth=width + 1.2, color=axes.get_facecolor(), zorder=1.5)
    axes.plot(*lines, linewidth=width, color=colour)
    axes.scatter(*xy[labelled & ~hidden].T, s=5 * width, color=colour, zorder=3)
    paper = [withStroke(linewidth=2.4, foreground=axes.get_facecolor())]
    cross = {"marker": "x", "s": 16, "linewidth": 1.2, "zorder": 4, "path_effects": paper}
    axes.scatter(*xy[labelled & hidden].T, color=colour, **cross)


def _keys(panels: Sequence[People], names: Mapping[str, str], theme: str) -> list[Line2D]:
    """The legend of all panels: who, and what a cross is."""
    present = [who for who in WHO if any(who in people for people in panels)]
    keys = []
    for who in present:
        look = {"marker": "o", "color": style.colour(who, theme), "label": names.get(who, who)}
        keys.append(Line2D([], [], **look))
    if any(hidden.any() for people in panels for *_, hidden in people.values()):
        look = {"marker": "x", "color": rcParams["text.color"], "label": "hidden joint"}
        keys.append(Line2D([], [], linestyle="", **look))
    return keys


# --- files ----------------------------------------------------------------------------------------


def png(figure: Figure, dpi: int = 144) -> bytes:
    """The figure as a PNG, such as an output of a notebook shows."""
    return _encoded(figure, "png", dpi)


def save(figure: Figure, path: str | Path, *, dpi: int = DPI, over: bool = False) -> Path:
    """Writes a figure as .svg or .pdf, where maps alone have dots, or as .png; its path.

    Errors: `BadParameter` for other endings, and for a file that is there already unless `over`.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise BadParameter(
            f"no figure is written as {path.suffix or 'a file without an ending'}",
            file=path,
            remedy=f"name a file that ends in .{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}",
        )
    check_writable(path)
    if path.exists() and not over:
        raise BadParameter("is there already", file=path, remedy="name another, or say over=True")
    return write_beside(path, lambda beside: beside.write_bytes(_encoded(figure, kind, dpi)))


def _encoded(figure: Figure, kind: str, dpi: int) -> bytes:
    """Bytes of a file; no date in it, so that the same figure gives the same ones."""
    nothing = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": None}
    file = io.BytesIO()
    with _settings():
        figure.savefig(file, format=kind, dpi=dpi, metadata=nothing[kind])
    return file.getvalue()
