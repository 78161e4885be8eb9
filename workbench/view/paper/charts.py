"""Charts for a page: boxes of errors by confidence, and lines with bands over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...errors import BadParameter, check_choice, unknown
from .. import style
from .sheets import INCHES, add_legend, axes_at, in_words, settings, sheet

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


def _chart(columns: int, x_title: str, y_title: str) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, and room for a legend above them."""
    figure = sheet(columns, 2.4)
    axes = axes_at(figure, 0.45, 0.25, INCHES[columns] - 0.55, 1.7)
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
    with settings(theme):
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
        add_legend(figure, lines)
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
    words = f"{in_words(x)}\n(line: mean, band: {words} of {seeds} seeds)"
    import seaborn  # takes a second, which no other figure needs

    with settings(theme):
        figure, axes = _chart(columns, words, in_words(y))
        look = {"hue": who, "style": who, "palette": palette, "marker": "o", "markeredgewidth": 0}
        seaborn.lineplot(table, x=x, y=y, errorbar=errorbar, seed=0, ax=axes, **look)
        low, high = axes.dataLim.intervaly
        spare = 0.05 * (high - low)
        if len(places := table[x].unique()) <= 10:
            axes.set_xticks(places)
        axes.set(xlabel=words, ylabel=in_words(y), ylim=(low - spare, high + spare))
        add_legend(figure, axes.get_legend_handles_labels()[0])
        axes.get_legend().remove()
    return figure


def _palette(names: list[str], theme: str) -> dict[str, str]:
    """The colours of roles: a name's own, or one that no other has."""
    known = style.ROLES[theme]
    if len(names) > len(known):
        raise BadParameter(f"{len(names)} lines for {len(known)} colours", remedy="draw fewer")
    left = (role for role in LINES if role not in names)
    return {name: known[name if name in known else next(left)] for name in names}
