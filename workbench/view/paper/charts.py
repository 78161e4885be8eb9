"""Charts for a page: boxes of errors by confidence, and lines with bands over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...errors import BadParameter, unknown
from .. import style
from .sheets import add_legend, in_words, settings, sheet

# What a band over seeds is: seaborn's name, and words.
BANDS = MappingProxyType(
    {
        "range": (("pi", 100), "lowest to highest"),
        "sd": (("sd", 1), "± 1 standard deviation"),
        "interval": (("ci", 95), "95 % bootstrap interval of the mean"),
    }
)


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
    shapes = {np.shape(values) for values in (confidence, before, after)}
    if len(shapes) > 1 or shapes == {(0,)} or not np.isfinite([confidence, before, after]).all():
        raise BadParameter(
            f"confidence and errors of shapes {sorted(shapes)}, or not finite",
            remedy="give one finite number a joint in each",
        )
    tenths = np.clip((confidence * 10).astype(int), 0, 9)
    filled = np.unique(tenths)
    words = "confidence\n(boxes 25 to 75 %, whiskers 5 to 95 % of the joints in a bin)"
    with settings(theme):
        figure = sheet(columns, 2.4)
        axes = figure.add_subplot(xlabel=words, ylabel="joint error, px")
        for name, error, role, side in zip(names, (before, after), ("detector", "ours"), (-1, 1)):
            at = (filled + 0.5 + 0.21 * side) / 10
            groups = [error[tenths == tenth] for tenth in filled]
            colour = style.colour(role, theme)
            thin = {"color": colour, "linewidth": 0.6}
            axes.boxplot(
                groups,
                positions=at,
                widths=0.036,
                whis=(5, 95),
                manage_ticks=False,
                showfliers=False,
                showcaps=False,
                patch_artist=True,
                boxprops={"facecolor": (colour, 0.3), "edgecolor": colour, "linewidth": 0.6},
                whiskerprops=thin,
                medianprops=thin,
            )
            axes.plot(at, [*map(np.mean, groups)], "o-", color=colour, label=f"mean, {name}")
        axes.axvline(delta, color=style.colour("ink", theme), linestyle="--", linewidth=0.8)
        axes.set(xlim=(0, 1), ylim=(0, None), xticks=np.linspace(0, 1, 6))
        side = "left" if delta < 0.5 else "right"
        axes.set_title(f"δ = {delta:.2f}", x=delta, horizontalalignment=side, fontsize="medium")
        add_legend(figure)
    return figure


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
    its colour; others have neutral ones.
    Errors: `UnknownName` for columns and bands, `BadParameter` for rows that do not say one thing.
    """
    if band not in BANDS:
        raise unknown("band", band, BANDS)
    table = pd.DataFrame(rows)
    for name in (x, y, who, seed):
        if name not in table:
            raise unknown("column", name, map(str, table.columns))
    table = table.astype({who: str, y: float})
    if table.duplicated([who, x, seed]).any() or not np.isfinite(table[y]).all():
        raise BadParameter(
            f"a seed with two values of {y!r} at one {x!r}, or one that is not finite",
            remedy="give one finite row for each line, place and seed",
        )
    counts = table.groupby([who, x])[seed].size()
    seeds = " to ".join(map(str, sorted({counts.min(), counts.max()})))
    errorbar, words = BANDS[band]
    palette = {
        name: style.colour(name if name in style.ROLES["light"] else i, theme)
        for i, name in enumerate(table[who].unique())
    }
    import seaborn  # takes a second, which no other figure needs

    with settings(theme):
        figure = sheet(columns, 2.4)
        axes = figure.add_subplot()
        look = {"hue": who, "style": who, "palette": palette, "marker": "o", "markeredgewidth": 0}
        seaborn.lineplot(table, x=x, y=y, errorbar=errorbar, seed=0, ax=axes, **look)
        axes.get_legend().remove()
        words = f"{in_words(x)}\n(line: mean, band: {words} of {seeds} seeds)"
        axes.set(xlabel=words, ylabel=in_words(y))
        axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
        add_legend(figure)
    return figure
