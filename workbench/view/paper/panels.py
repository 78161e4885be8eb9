"""Panels of explorers as panels.js draws them, and people before and after, for a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke

from ...errors import BadParameter
from ...skeletons import Skeleton
from .. import style
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
    bones,
)
from .sheets import (
    INCHES,
    TINY,
    WIDEST,
    add_legend,
    box_about,
    colours_of,
    fit,
    framed,
    settings,
    sheet,
    show_box,
)

WHO = ("truth", "detector", "rival", "ours")  # who says where joints are, the last one on top
FEWEST = 8  # bars that a panel has room for
FINE = 16  # columns of a map from which on it lies smoothly on a picture; as in panels.js
# Marks of joints: the role of their colour, and matplotlib's marker.
MARKS = MappingProxyType(
    {
        VISIBLE: ("visible", "o"),
        HIDDEN: ("hidden", "X"),
        NEWLY_HIDDEN: ("newly_hidden", "D"),
        OUTSIDE: ("outside", "s"),
    }
)


@dataclass(frozen=True)
class _Shown:
    """What all panels of a figure share. state: of the controls."""

    skeleton: Skeleton | None
    theme: str
    state: Mapping[str, Any]

    def colour(self, role: str | int) -> str:
        return style.colour(role, self.theme)


def panels_figure(
    tabs: Tabs,
    skeleton: Skeleton,
    *,
    state: Mapping[str, Any] = MappingProxyType({}),
    theme: str = "light",
) -> Figure:
    """Panels of an explorer's tabs, row by row, as the browser draws them, below one legend.

    state: an explorer's: "frame" of the scrubber, patches of the occluder ("brush"), and further
    controls, which cursors and the chosen joint show.
    Errors: `BadParameter` where there are no panels, or more than a page holds.
    """
    rows = [row for rows in tabs.values() for row in rows if row]
    if not rows:
        raise BadParameter("no panels", remedy="give at least one row with one panel")
    return _rows(rows, _Shown(skeleton, theme, {"frame": 0, **state}), 2)


def draw_alone(
    figure: Figure,
    panel: Panel,
    skeleton: Skeleton | None,
    state: Mapping[str, Any],
    theme: str,
    box: Sequence[float] | None = None,
) -> None:
    """One panel on all of a figure, without title and key; a picture's box, px, is given."""
    axes = figure.add_axes((0, 0, 1, 1)) if box else figure.add_subplot()
    DRAWN[panel.kind](axes, panel, _Shown(skeleton, theme, {"frame": 0, **state}))
    if box:
        show_box(axes, box)


# --- where panels lie -----------------------------------------------------------------------------


def _rows(
    rows: Sequence[Sequence[Panel]],
    shown: _Shown,
    columns: int,
    per_row: int = 0,
    title: str = "",
) -> Figure:
    """Rows of panels that share the width, or with room for `per_row`, below a title."""
    with settings(shown.theme):
        figure = sheet(columns)
        grid = figure.add_gridspec(len(rows), 1)
        cells = []
        for place, row in zip(grid, rows):
            ratios = [panel.wide for panel in row] + [1] * (per_row - len(row))
            places = place.subgridspec(1, len(ratios), width_ratios=ratios)
            cells.append([])
            for panel, place in zip(row, places):
                axes = figure.add_subplot(place)
                DRAWN[panel.kind](axes, panel, shown)
                letters = int(14 * INCHES[columns] * panel.wide / sum(ratios))
                words = [textwrap.fill(line, letters) for line in panel.title.splitlines()]
                axes.set_title("\n".join(words), loc="left", weight="bold")
                cells[-1].append((axes, *_size(panel)))
        add_legend(figure, title)
        fit(figure, cells, grid)
        for (axes, *_), panel in zip(chain(*cells), chain(*rows)):
            axes.set_aspect("equal" if isinstance(panel, Picture) else "auto")
            axes.apply_aspect()
    return figure


def _size(panel: Panel) -> tuple[float, float]:
    """Height of a width of 1, and inches that it is at most."""
    if isinstance(panel, Picture):
        x0, y0, x1, y1 = panel.bounds
        return (y1 - y0) / (x1 - x0), WIDEST
    return np.inf, 1.3 if isinstance(panel, Lines) else 0.13 * max(len(panel.bars), FEWEST)


# --- pictures -------------------------------------------------------------------------------------


def _picture(axes: Axes, panel: Picture, shown: _Shown) -> None:
    framed(axes).set_facecolor(shown.colour("tint"))
    frame = shown.state["frame"] if panel.at is None else panel.at
    if len(panel.frames):
        axes.imshow(panel.frames[min(frame, len(panel.frames) - 1)], aspect="auto", zorder=0)
    for stroke in shown.state.get("brush", ()) if panel.brush else ():
        size, (first, last) = stroke["size"], stroke["frames"]
        for x, y in stroke["points"] if first <= frame <= last else ():
            look = {"facecolor": np.array(PAINT) / 255, "zorder": 0.5}
            axes.add_patch(Rectangle((x - size / 2, y - size / 2), size, size, **look))
    if panel.heat:
        _heat(axes, panel.heat, frame, shown)
    for people in panel.people:
        _people(axes, people, frame, shown)
    for arrows in panel.arrows:
        _arrows(axes, arrows, shown)
    around = [withStroke(linewidth=2, foreground=shown.colour("paper"))]
    for note in panel.notes:
        look = {"textcoords": "offset points", "weight": "bold", "path_effects": around}
        axes.annotate(note["words"], note["at"], (3, 3), fontsize=TINY, zorder=6, **look)
        if "role" in note:
            axes.plot(*note["at"], "o", ms=5, mfc="none", mec=shown.colour(note["role"]))
    show_box(axes, panel.bounds)
    if panel.outline is not None:
        x0, y0, x1, y1 = panel.outline
        look = {"fill": False, "color": style.ON_PICTURE["bright"]}
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, **look))
    if frame in panel.rim:
        axes.spines[:].set(color=shown.colour("truth"), linewidth=2)


def _heat(axes: Axes, heat: Heat, frame: int, shown: _Shown) -> None:
    """Opaque alone; over a picture the more see-through the less there is. Its scale is below."""
    values = heat.at(frame)
    part = np.clip((values - heat.low) / (heat.high - heat.low), 0, 1)
    amount = np.abs(2 * part - 1) if heat.diverging else part
    alpha = shown.state.get("opacity", 0.85) * np.nan_to_num(amount) ** 0.6
    (a, _, c), (_, e, f) = np.asarray(heat.affine, float)
    rows, columns = values.shape
    smooth = axes.images and not heat.diverging and columns >= FINE
    image = axes.imshow(
        values,
        colours_of(shown.theme, None if heat.diverging else style.sequential()),
        aspect="auto",
        interpolation="bilinear" if smooth else "nearest",
        alpha=alpha if axes.images else np.isfinite(values) * 1.0,
        vmin=heat.low,
        vmax=heat.high,
        extent=(c - a / 2, c + a * (columns - 0.5), f + e * (rows - 0.5), f - e / 2),
        zorder=1,
        gid="turned" if heat.diverging else None,
    )
    words = list(heat.ends) or [f"{heat.low:.3g}", f"{heat.high:.3g}"]
    _scale(axes, image, [heat.low, heat.high], words)


def _scale(axes: Axes, drawn: ScalarMappable, ends: list[float | int], words: list[str]) -> None:
    """What the ends of a scale stand for, below a panel."""
    below = axes.inset_axes((0, -0.06, 1, 0.03))
    bar = axes.figure.colorbar(drawn, cax=below, orientation="horizontal")
    bar.ax.set_gid(drawn.get_gid())
    bar.set_ticks(ends, labels=words)


def _people(axes: Axes, people: People, frame: int, shown: _Shown) -> None:
    xy, marks = people.at(frame)
    colour, paper = shown.colour(people.role), shown.colour("paper")
    thick = 1.8 if people.role == "truth" else 0.9  # seen below the others
    lines = bones(xy, people.skeleton or shown.skeleton, marks != NOTHING)
    # below everybody's lines, so that nobody's hides another's
    axes.plot(*lines, linewidth=thick + 1.2, color=paper, zorder=1.5)
    axes.plot(*lines, linewidth=thick, color=colour, label="" if people.flags else people.name)
    around = [withStroke(linewidth=1, foreground=paper)]
    for mark, (role, marker) in MARKS.items():
        at = xy[marks == mark]
        look = {"color": colour, "s": (3 if people.small else 8) * thick}
        if people.flags or mark != VISIBLE:
            look = {"color": shown.colour(role), "s": 16, "label": SAYS[mark - VISIBLE]}
        if people.confidence is not None:
            sure = people.confidence.reshape(marks.shape)[marks == mark]
            scale = {"c": sure, "vmin": 0, "vmax": 1, "s": 16}
            look = {**scale, "cmap": colours_of(shown.theme, style.sequential())}
        if not len(at):
            continue
        dots = axes.scatter(
            *at.T, marker=marker, linewidths=0, zorder=3, path_effects=around, **look
        )
        if people.confidence is not None and mark == VISIBLE:
            _scale(axes, dots, [0.0, 1.0], ["confidence 0", "1"])
    for number, place in enumerate(xy[0]) if people.numbers else ():
        axes.annotate(number, place, (0, 3), textcoords="offset points", ha="center")


def _arrows(axes: Axes, arrows: Arrows, shown: _Shown) -> None:
    """Each from x, y to x, y, with a width of its own; a dot where both are one place."""
    colour = shown.colour(arrows.role)
    axes.plot([], [], color=colour, label=arrows.name)
    for *ends, thick in np.asarray(arrows.ends, float)[np.isfinite(arrows.ends).all(1)]:
        start, end = np.reshape(ends, (2, 2))
        if (start == end).all():
            axes.scatter(*end, s=(1 + thick) ** 2, color=colour, zorder=5)
            continue
        look = {"arrowstyle": "->", "mutation_scale": 7, "shrinkA": 0, "shrinkB": 0}
        arrow = FancyArrowPatch(start, end, color=colour, zorder=5, **look)
        axes.add_patch(arrow).set_linewidth(thick / 2)


# --- lines and bars -------------------------------------------------------------------------------


def _lines(axes: Axes, panel: Lines, shown: _Shown) -> None:
    axes.set(xlabel=panel.x, ylabel=panel.y)
    axes.margins(0, 0.06)
    for i, line in enumerate(panel.lines):
        there = np.pad(np.isfinite(np.asarray(line.y, float)), 1)
        alone = there[1:-1] & ~there[:-2] & ~there[2:]
        look = {"color": shown.colour(i if line.role is None else line.role), "linewidth": 1}
        look["linestyle"] = (0, np.array(line.dash) / 2) if line.dash else "-"
        look |= {"dots": {"linestyle": ""}, "line": {"markevery": alone}}.get(line.look, {})
        axes.plot(line.x, line.y, marker=".", label=line.name, **look)
    axes.set(xlim=panel.x_range or axes.get_xlim(), ylim=panel.y_range or axes.get_ylim())
    for first, last, role in panel.shaded:
        axes.axvspan(first - 0.5, last + 0.5, color=shown.colour(role), alpha=0.2, linewidth=0)
    if panel.cursor in shown.state:
        axes.axvline(shown.state[panel.cursor], color=shown.colour("ink"), dashes=(3, 2), lw=0.5)


def _bars(axes: Axes, panel: Bars, shown: _Shown) -> None:
    bars, places = panel.bars, range(len(panel.bars))
    values = np.array([bar.value for bar in bars], float)
    ends = np.array([bar.ends or (np.nan, np.nan) for bar in bars], float).reshape(-1, 2)
    needed = np.concatenate([values, ends.ravel()])
    low, high = panel.range or (np.nanmin([0, *needed]), np.nanmax([1e-9, *needed]))
    names = [f"{bar.mark} {bar.label}".strip() for bar in bars]
    framed(axes).spines[:].set_visible(False)
    axes.set(xlim=(low, high), ylim=(max(len(bars), FEWEST) - 0.5, -0.5))
    axes.set_yticks(places, names, fontsize=TINY)
    axes.tick_params("y", length=0, pad=22 if low < 0 else 2)  # pt; room for a number
    drawn = axes.barh(places, values, 0.72, color=[shown.colour(bar.role) for bar in bars])
    axes.hlines(places, *ends.T, color=shown.colour("ink"), linewidth=1)
    if panel.limit is not None:
        axes.axvline(panel.limit, color=shown.colour("ink"), linewidth=1, linestyle="--")
    form = "{:+.3g}" if low < 0 or panel.signed else "{:.3g}"
    axes.bar_label(drawn, fmt=form, padding=2, fontsize=TINY)
    for label, bar in zip(axes.get_yticklabels(), bars):
        label.set_weight("bold" if shown.state.get("joint") == bar.label else "normal")


DRAWN = MappingProxyType({"picture": _picture, "lines": _lines, "bars": _bars})


# --- poses ----------------------------------------------------------------------------------------


def pictures(
    panels: Sequence[Picture],
    skeleton: Skeleton | None = None,
    *,
    per_row: int = 3,
    aspect: float | int = 1,
    one_scale: bool = False,
    title: str = "",
    columns: int = 2,
    theme: str = "light",
) -> Figure:
    """Pictures with people, maps and arrows, row by row. A panel without picture and box is shown
    around its people.

    skeleton: of people who have none of their own; aspect: height over width of panels around
    people; one_scale: those have one scale.
    Errors: `UnknownName` for roles, `BadParameter` for no panels, nobody and what does not fit.
    """
    if not panels:
        raise BadParameter("no panels", remedy="give at least one")
    free = [panel.box is None and not len(panel.frames) for panel in panels]
    places = {i: _places(panel) for i, panel in enumerate(panels) if free[i]}
    side = max((np.ptp(xy, 0).max() for xy in places.values()), default=0) if one_scale else 0
    boxed = list(panels)
    for i, xy in places.items():
        middle = (xy.min(0) + xy.max(0)) / 2
        ends = np.concatenate((xy, middle + np.array([[-side], [side]]) / 2))
        boxed[i] = replace(panels[i], box=box_about(ends, 1 / aspect))
    per_row = min(per_row, len(panels))
    rows = [boxed[i : i + per_row] for i in range(0, len(panels), per_row)]
    shown = _Shown(skeleton, theme, {"frame": 0})
    numbers = [row for panel in panels for row in _joints(panel, skeleton)]
    figure = _rows(rows, shown, columns, per_row, title)
    figure.numbers = pd.DataFrame(numbers, columns=["panel", "who", "joint", "x", "y", "mark"])
    return figure


def _places(panel: Picture) -> np.ndarray:
    """All places of a panel's people and arrows, px, [n 2]."""
    people = [xy[marks != NOTHING] for xy, marks in (each.at(0) for each in panel.people)]
    ends = [np.reshape(arrows.ends, (-1, 5))[:, :4].reshape(-1, 2) for arrows in panel.arrows]
    there = np.concatenate((np.empty((0, 2)), *people, *ends))
    if not len(there):
        problem = f"panel {panel.title!r} with nobody"
        raise BadParameter(problem, remedy="give poses with visible joints, or a picture")
    return there


def _joints(panel: Picture, skeleton: Skeleton | None) -> Iterator[tuple]:
    """What a panel's people say, a row a joint."""
    for people in panel.people:
        own, (xy, marks) = people.skeleton or skeleton, people.at(0)
        if own is None or xy.shape[1] != len(own):
            problem = f"{people.name}: {xy.shape[1]} joints in panel {panel.title!r}"
            raise BadParameter(problem, remedy="give the skeleton of the people")
        for joint, (x, y), mark in zip(own.joints * len(xy), xy.reshape(-1, 2), marks.ravel()):
            if mark != NOTHING:
                yield panel.title, people.name, joint, x, y, SAYS[mark - VISIBLE]
