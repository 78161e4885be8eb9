"""Panels of explorers as panels.js draws them, and people before and after, for a page."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke

from ...errors import BadParameter, check_choice, unknown
from ...skeletons import Skeleton
from .. import style
from ..figures import bones
from ..panels import (
    HIDDEN,
    NEWLY_HIDDEN,
    NOTHING,
    OUTSIDE,
    PAINT,
    SAYS,
    VISIBLE,
    Arrows,
    Bars,
    Heat,
    Lines,
    Panel,
    People,
    Picture,
    Tabs,
)
from .sheets import (
    INCHES,
    LINE,
    SMALL,
    TALLEST,
    WIDEST,
    add_legend,
    axes_at,
    box_about,
    framed,
    key_of,
    label_ticks,
    scale_bar,
    settings,
    sheet,
    show_box,
    width_of,
)

SPACE = 0.14  # inches between panels
PX = 0.5  # pt of a browser's px
WHO = ("truth", "detector", "rival", "ours")  # who says where joints are, the last one on top
# Marks of joints: the role of their colour, and matplotlib's marker.
MARKS = MappingProxyType(
    {
        VISIBLE: ("visible", {"marker": "o"}),
        HIDDEN: ("hidden", {"marker": "x"}),
        NEWLY_HIDDEN: ("newly_hidden", {"marker": "D", "fillstyle": "none"}),
        OUTSIDE: ("outside", {"marker": "s"}),
    }
)


@dataclass(frozen=True)
class _Shown:
    """What all panels of a figure share. state: of the controls; keyed: each has its own legend,
    and hidden joints a colour of their own instead of their people's.
    """

    skeleton: Skeleton
    theme: str
    state: Mapping[str, Any] = field(default_factory=dict)
    keyed: bool = True

    def colour(self, role: str | int) -> str:
        return style.colour(role, self.theme)


def panels_figure(
    tabs: Tabs,
    skeleton: Skeleton,
    *,
    frame: int = 0,
    brush: Sequence[Mapping] = (),
    state: Mapping[str, Any] = MappingProxyType({}),
    columns: int = 2,
    theme: str = "light",
) -> Figure:
    """Panels of an explorer's tabs, row by row, as the browser draws them.

    frame: of the scrubber; brush: patches of the occluder, as in an explorer's state; state: values
    of further controls, which cursors, spans and the chosen joint show. columns: of the page.
    Errors: `BadParameter` where there are no panels, or more than a page holds.
    """
    check_choice("columns", columns, INCHES)
    rows = [row for rows in tabs.values() for row in rows if row]
    if not rows:
        raise BadParameter("no panels", remedy="give at least one row with one panel")
    shown = _Shown(skeleton, theme, {"frame": frame, "brush": brush, **state})
    with settings(theme):
        return _rows(rows, shown, columns)


# --- where panels lie -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cell:
    """A panel, the inches that it has across, its title in lines, and the keys of its legend."""

    panel: Panel
    width: float
    title: str
    keys: Sequence[Line2D]

    @classmethod
    def of(cls, panel: Panel, width: float, shown: _Shown) -> _Cell:
        bar = 1.0 if getattr(panel, "heat", None) else 0.0
        title = textwrap.fill(panel.title, max(int(16 * (width - bar)), 9))
        return cls(panel, width, title, _keys(panel, shown) if shown.keyed else ())

    @property
    def per_line(self) -> int:
        """Keys that stand side by side."""
        longest = max((len(key.get_label()) for key in self.keys), default=0)
        return max(int(self.width / (0.055 * longest + 0.25)), 1)

    @property
    def above(self) -> float:
        """Inches that title and legend take."""
        lines = (self.title.count("\n") + 1) * bool(self.title)
        return LINE * (lines - (-len(self.keys) // self.per_line)) + 0.04

    @property
    def height(self) -> float:
        """Inches that the panel wants below them."""
        if isinstance(self.panel, Lines):
            return 1.6
        if isinstance(self.panel, Bars):
            return 0.13 * len(self.panel.bars)
        x0, y0, x1, y1 = self.panel.bounds
        return min(self.width * (y1 - y0) / (x1 - x0), WIDEST)


def _keys(panel: Panel, shown: _Shown) -> list[Line2D]:
    """Who is who, or what the joints' colours say; names of lines."""
    keys = []
    for i, line in enumerate(getattr(panel, "lines", ())):
        if line.name:
            keys.append(key_of(line.name, shown.colour(i if line.role is None else line.role)))
    for people in getattr(panel, "people", ()):
        if people.flags:
            looks = zip(MARKS.values(), SAYS)
            keys += [key_of(says, shown.colour(role), **look) for (role, look), says in looks]
        else:
            keys.append(key_of(people.name, shown.colour(people.role)))
    return keys


def _rows(
    rows: Sequence[Sequence[Panel]],
    shown: _Shown,
    columns: int,
    share: float = 0.0,
    top: float = 0.06,
) -> Figure:
    """Panels below a margin of `top` inches, in rows that are `share` wide, or what each needs."""
    room = INCHES[columns] - SPACE
    cells = []
    for row in rows:
        unit = room / (share or sum(panel.wide for panel in row))
        cells.append([_Cell.of(panel, unit * panel.wide - SPACE, shown) for panel in row])
    above = [max(cell.above for cell in row) for row in cells]
    heights = [max(cell.height for cell in row) for row in cells]
    left_over = TALLEST - top - sum(above) - SPACE * len(rows)
    shrink = min(left_over / sum(heights), 1.0)
    if shrink < 0.3:
        problem = f"{len(rows)} rows of panels for a page of {TALLEST:g} in"
        raise BadParameter(problem, remedy="draw fewer panels, or several figures")
    figure = sheet(columns, top + sum(above) + shrink * sum(heights) + SPACE * len(rows))
    for row, over, height in zip(cells, above, heights):
        left = SPACE
        for cell in row:
            _draw(figure, cell, left, top, over, shrink * height, shown)
            left += cell.width + SPACE
        top += over + shrink * height + SPACE
    return figure


def _draw(
    figure: Figure,
    cell: _Cell,
    left: float,
    top: float,
    above: float,
    height: float,
    shown: _Shown,
) -> None:
    """One panel with its title and legend."""
    panel, width = cell.panel, cell.width
    if isinstance(panel, Picture):
        x0, y0, x1, y1 = panel.bounds
        zoom = min(width / (x1 - x0), height / (y1 - y0))
        left += (width - zoom * (x1 - x0)) / 2
        width, height = zoom * (x1 - x0), zoom * (y1 - y0)
    place = (left, top + above, width, height)
    axes = DRAWN[panel.kind](figure, panel, place, shown)
    wide, high = figure.get_size_inches()
    look = {"verticalalignment": "top", "weight": "bold"}
    figure.text(left / wide, 1 - top / high, cell.title, **look)
    if cell.keys:
        look = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": cell.per_line}
        add_legend(axes, cell.keys, borderpad=0, handletextpad=0.2, columnspacing=1, **look)
    if getattr(panel, "heat", None):
        _heat_bar(figure, panel.heat, left + width, top, shown)


# --- pictures -------------------------------------------------------------------------------------


def _picture(figure: Figure, panel: Picture, place: Sequence[float], shown: _Shown) -> Axes:
    axes = framed(axes_at(figure, *place))
    axes.set_facecolor(shown.colour("tint"))
    frame = shown.state.get("frame", 0) if panel.at is None else panel.at
    if len(panel.frames):
        axes.imshow(panel.frames[min(frame, len(panel.frames) - 1)], aspect="auto", zorder=0)
    for stroke in shown.state.get("brush", ()) if panel.brush else ():
        size, (first, last) = stroke["size"], stroke["frames"]
        for x, y in stroke["points"] if first <= frame <= last else ():
            patch = Rectangle((x - size / 2, y - size / 2), size, size, zorder=0.5)
            axes.add_patch(patch).set(facecolor=np.array(PAINT) / 255, linewidth=0)
    if panel.heat:
        _heat(axes, panel.heat, frame, bool(len(panel.frames)), shown)
    for people in panel.people:
        _people(axes, people, frame, shown, _chosen(panel, shown))
    show_box(axes, panel.bounds)
    for arrows in panel.arrows:
        _arrows(axes, arrows, shown)
    if frame in panel.rim:
        axes.spines[:].set(color=shown.colour("truth"), linewidth=4 * PX)
    return axes


def _chosen(panel: Picture, shown: _Shown) -> int | None:
    """The joint that a click has chosen."""
    joint = shown.state.get("joint")
    clicked = panel.click is not None and panel.click.control == "joint"
    return shown.skeleton.index(joint) if clicked and joint in shown.skeleton.joints else None


def _heat_colours(heat: Heat, values: np.ndarray, theme: str) -> np.ndarray:
    place = np.clip(2 * (values - heat.low) / (heat.high - heat.low) - 1, -1, 1)
    return style.scale_colours(place, theme, None if heat.diverging else style.sequential())


def _heat(axes: Axes, heat: Heat, frame: int, pictured: bool, shown: _Shown) -> None:
    """Opaque alone; over a picture the more see-through the less there is."""
    values = heat.at(frame)
    part = (values - heat.low) / (heat.high - heat.low)
    amount = np.clip(np.abs(2 * part - 1) if heat.diverging else part, 0, 1)
    alpha = shown.state.get("opacity", 0.85) * amount**0.6 if pictured else np.ones_like(amount)
    alpha = np.uint8(255 * np.where(np.isnan(values), 0, alpha))
    pixels = np.dstack((_heat_colours(heat, values, shown.theme), alpha))
    (a, _, c), (_, e, f) = np.asarray(heat.affine, float)
    rows, columns = values.shape
    extent = (c - a / 2, c + a * (columns - 0.5), f + e * (rows - 0.5), f - e / 2)
    axes.imshow(pixels, aspect="auto", interpolation="nearest", extent=extent, zorder=1)


def _heat_bar(figure: Figure, heat: Heat, right: float, top: float, shown: _Shown) -> None:
    """The scale at the end of the title's line, with its ends."""
    colours = _heat_colours(heat, np.linspace(heat.low, heat.high, 129), shown.theme)
    width, height = 0.4, 0.45 * LINE
    high = _number(heat.high)
    left = right - width - width_of([high], SMALL) - 0.03
    axes = scale_bar(figure, (left, top + 0.3 * LINE, width, height), colours, (0, 1))
    look = {"textcoords": "offset points", "verticalalignment": "center", "fontsize": SMALL}
    axes.annotate(_number(heat.low), (0, 0.4), (-2, 0), horizontalalignment="right", **look)
    axes.annotate(high, (1, 0.4), (2, 0), horizontalalignment="left", **look)


def _people(
    axes: Axes, people: People, frame: int, shown: _Shown, chosen: int | None = None
) -> None:
    xy, marks = people.at(frame)
    colour, paper = shown.colour(people.role), shown.colour("paper")
    thick = 1.8 if people.role == "truth" else 0.9  # seen below the others
    line, below = ("#FFFFFF", "#000000") if people.flags else (colour, paper)
    lines = bones(xy, shown.skeleton, marks != NOTHING)
    if axes.images or people.flags:  # below everybody's lines, so that nobody's hides another's
        axes.plot(*lines, linewidth=thick + 1.2, color=below, zorder=1.5)
    axes.plot(*lines, linewidth=thick, color=line)
    size = (3 if people.small else 8) * thick
    ring = "#FFFFFF" if people.flags else paper
    for mark, (role, look) in MARKS.items():
        own = people.flags or (mark != VISIBLE and shown.keyed)
        at = xy[marks == mark]
        if len(at):
            _joints(axes, at, look["marker"], shown.colour(role) if own else colour, ring, size)
    if chosen is not None:
        ring = {"facecolors": "none", "edgecolors": shown.colour("ink"), "linewidths": 1.5 * PX}
        axes.scatter(*xy[:, chosen][marks[:, chosen] != NOTHING].T, s=81, zorder=5, **ring)


def _joints(axes: Axes, xy: np.ndarray, marker: str, colour: str, ring: str, size: float) -> None:
    look = {"marker": marker, "s": size, "color": colour, "zorder": 3}
    if marker in "xD":
        around = [withStroke(linewidth=2.4, foreground=ring)]
        look |= {"s": 16, "linewidth": 1.2, "zorder": 4, "path_effects": around}
    else:
        look |= {"edgecolors": ring, "linewidths": 0.4}
    if marker == "D":
        look |= {"color": None, "facecolors": "none", "edgecolors": colour}
    axes.scatter(*xy.T, **look)


def _arrows(axes: Axes, arrows: Arrows, shown: _Shown) -> None:
    """Each from x, y to x, y, with a width of its own; a dot where both are one place."""
    colour = shown.colour(arrows.role)
    for *ends, thick in np.asarray(arrows.ends, float)[np.isfinite(arrows.ends).all(1)]:
        start, end = np.reshape(ends, (2, 2))
        far = np.hypot(*(axes.transData.transform(end) - axes.transData.transform(start)))
        if far * 72 / axes.figure.dpi < 3 * PX:
            axes.scatter(*end, s=(2 * PX * (1 + thick)) ** 2, color=colour, zorder=5)
            continue
        look = {"arrowstyle": "->", "mutation_scale": 14 * PX, "shrinkA": 0, "shrinkB": 0}
        arrow = FancyArrowPatch(start, end, color=colour, zorder=5, **look)
        axes.add_patch(arrow).set_linewidth(PX * thick)


# --- lines and bars -------------------------------------------------------------------------------


def _number(value: float | int) -> str:
    """Three digits, as the browser writes them."""
    if value == 0:
        return "0"
    if abs(value) < 0.01:
        return f"{value:.0e}".replace("e-0", "e-")
    return np.format_float_positional(float(f"{value:.2e}"), trim="-")


def _range(panel: Lines, axis: str) -> tuple[float, float]:
    """Ends of an axis: those given, or of what is finite."""
    if (given := getattr(panel, f"{axis}_range")) is not None:
        return tuple(map(float, given))
    values = np.concatenate(
        [np.asarray(getattr(line, axis), float) for line in panel.lines] or [[]]
    )
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    spare = (0.06 * (high - low) or 1.0) if axis == "y" else 0.0
    return float(low - spare), float(high + spare if high + spare > low - spare else low + 1)


def _lines(figure: Figure, panel: Lines, place: Sequence[float], shown: _Shown) -> Axes:
    left, top, width, height = place
    axes = axes_at(figure, left + 0.36, top, width - 0.4, height - 0.32)
    axes.set(xlabel=panel.x, ylabel=panel.y, xlim=_range(panel, "x"), ylim=_range(panel, "y"))
    axes.grid(axis="y")
    span = shown.state.get(panel.span) or ()
    for first, last, role in (*panel.shaded, *([(*span, "newly_hidden")] if span else [])):
        axes.axvspan(first - 0.5, last + 0.5, color=shown.colour(role), alpha=0.2, linewidth=0)
    for i, line in enumerate(panel.lines):
        there = np.pad(np.isfinite(np.asarray(line.y, float)), 1)
        alone = there[1:-1] & ~there[:-2] & ~there[2:]
        look = {"color": shown.colour(i if line.role is None else line.role), "marker": "o"}
        look |= {"markersize": 6 * PX, "linewidth": 2 * PX, "markeredgewidth": 0}
        look["linestyle"] = "" if line.look == "dots" else "-"
        if line.dash and line.look != "dots":
            look["dashes"] = [PX * part for part in line.dash]
        axes.plot(line.x, line.y, markevery=alone if line.look == "line" else None, **look)
    if panel.cursor in shown.state:
        axes.axvline(shown.state[panel.cursor], color=shown.colour("ink"), dashes=(3, 2), lw=PX)
    return axes


def _bars(figure: Figure, panel: Bars, place: Sequence[float], shown: _Shown) -> Axes:
    left, top, width, height = place
    bars = panel.bars
    names = [f"{bar.mark} {bar.label}" if bar.mark else bar.label for bar in bars]
    values = np.array([bar.value for bar in bars], float)
    finite = values[np.isfinite(values)]
    low, high = panel.range or (min(0, *finite, 0), max(0, *finite, 1e-9))
    numbers = 0.3
    room = min(width_of(names) + 0.05, width / 2)
    start = left + room + numbers * (low < 0)
    size = (left + width - numbers - start, min(height, 0.18 * len(bars)))
    axes = axes_at(figure, start, top, *size)
    axes.set(xlim=(low, high), ylim=(len(bars) - 0.5, -0.5), xticks=[])
    axes.spines[:].set_visible(False)
    axes.barh(range(len(bars)), values, 0.72, color=[shown.colour(bar.role) for bar in bars])
    axes.axvline(0, color=shown.colour("line"), linewidth=PX)
    label_ticks(axes.yaxis, names, size[1])
    axes.tick_params("y", length=0, pad=2 + 72 * numbers * (low < 0))
    for label, i in zip(axes.get_yticklabels(), axes.get_yticks()):
        label.set_weight("bold" if shown.state.get("joint") == bars[int(i)].label else "normal")
    for i, value in enumerate(values):
        if not np.isfinite(value) or i not in axes.get_yticks():
            continue
        side, away = ("right", -2) if value < 0 else ("left", 2)
        words = ("+" if low < 0 < value else "") + _number(value)
        look = {"textcoords": "offset points", "horizontalalignment": side, "fontsize": 5}
        axes.annotate(words, (value, i), (away, 0), verticalalignment="center", **look)
    return axes


DRAWN = MappingProxyType({"picture": _picture, "lines": _lines, "bars": _bars})


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
    panels = []
    for i, pose in enumerate(poses):
        people = _poses(pose, skeleton, names)
        box = box_about(np.concatenate([each.xy[each.marks != NOTHING] for each in people]))
        frames = () if pictures is None else pictures[i : i + 1]
        panels.append(Picture(captions[i] if captions else "", frames, people, box=box))
    per_row = min(len(panels), 2 * columns)
    rows = [panels[i : i + per_row] for i in range(0, len(panels), per_row)]
    with settings(theme):
        figure = _rows(
            rows, _Shown(skeleton, theme, keyed=False), columns, float(per_row), 1.5 * LINE
        )
        add_legend(figure, _who([each for panel in panels for each in panel.people], theme))
    return figure


def _poses(
    panel: Mapping[str, np.ndarray], skeleton: Skeleton, names: Mapping[str, str]
) -> list[People]:
    """A panel's people, the last ones on top."""
    for role in panel:
        if role not in (*WHO, "visibility"):
            raise unknown("role of a pose", role, (*WHO, "visibility"))
    people = []
    for role in filter(panel.__contains__, WHO):
        xy = np.asarray(panel[role], float)
        flags = np.asarray(panel.get("visibility", np.full(xy.shape[:-1], 2)))
        fits = xy.ndim in (2, 3) and xy.shape[-2:] == (len(skeleton), 2)
        if not fits or flags.shape != xy.shape[:-1] or not np.isfinite(xy).all():
            raise BadParameter(
                f"{role}: places of shape {xy.shape} with flags of {flags.shape}, or not finite",
                remedy=f"give finite px [people {len(skeleton)} 2] or [{len(skeleton)} 2]",
            )
        marks = np.where(flags == 1, HIDDEN, VISIBLE)
        marks = np.where((flags > 0) | (role != "truth"), marks, NOTHING)
        people.append(People(names.get(role, role), role, xy, marks))
    if not any((each.marks != NOTHING).any() for each in people):
        raise BadParameter(
            "a panel with nobody", remedy="give the truth's, detector's or our poses"
        )
    return people


def _who(people: Sequence[People], theme: str) -> list[Line2D]:
    """The legend of all panels: who, and what a cross is."""
    names = {each.role: each.name for each in people}
    look = {"marker": "o", "linestyle": "-", "markersize": 3.5}
    keys = [key_of(names[who], style.colour(who, theme), **look) for who in WHO if who in names]
    if any((each.marks == HIDDEN).any() for each in people):
        keys.append(key_of("hidden joint", rcParams["text.color"], "x"))
    return keys
