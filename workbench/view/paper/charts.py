"""Charts, drawn by seaborn for notebooks and pages alike: distributions, shares, sweeps, lines.

All take, by name, what `chart` takes of the page: `title`, `columns` (1 or 2) and `theme`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Num
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ...errors import BadParameter, unknown
from ...skeletons import Skeleton
from .. import style
from ..panels import SAYS
from .sheets import add_legend, colours_of, framed, in_words, settings, sheet

# What a band over seeds is: seaborn's name, and words.
BANDS = MappingProxyType(
    {
        "range": (("pi", 100), "lowest to highest"),
        "sd": (("sd", 1), "± 1 standard deviation"),
        "interval": (("ci", 95), "95 % bootstrap interval of the mean"),
    }
)
BOXES = MappingProxyType({"whis": (5, 95), "showfliers": False, "linewidth": 0.8, "width": 0.7})
VISIBLE, HIDDEN, _, UNSTATED = SAYS
UNLABELLED = "not labelled"
# Of data sets: name -> skeleton, flags [n k], whether they know about occlusion.
Labels = Mapping[str, tuple[Skeleton, Int[np.ndarray, "n k"], bool]]


@contextmanager
def chart(
    numbers: pd.DataFrame,
    *,
    height: float | int = 2.4,
    panels: tuple[int, int] = (1, 1),
    title: str = "",
    columns: int = 2,
    theme: str = "light",
) -> Iterator[tuple]:
    """Seaborn, the axes of a figure, and its theme; legend and title are added at the end.

    numbers: what the figure shows. height: in; panels: rows and columns of axes. title: of the
    whole; columns: of the page, how wide it is.
    """
    import seaborn  # takes a second, which importing this must not

    with settings(theme, size=7):
        figure = sheet(columns, height)
        figure.numbers = numbers
        axes = figure.subplots(*panels)
        yield seaborn, axes, theme
        for each in figure.axes:
            if each.get_legend():
                each.get_legend().remove()
            for line in each.lines[:]:  # seaborn's own, of a legend: grey, or nothing but a heading
                if line.get_color() == ".2":
                    line.set_color(style.colour("ink", theme))
                if line.get_label() in numbers:
                    line.remove()
        add_legend(figure, title)


# --- errors ---------------------------------------------------------------------------------------


def error_by_confidence(
    confidence: Float[np.ndarray, "m"],
    before: Float[np.ndarray, "m"],
    after: Float[np.ndarray, "m"],
    delta: float,
    *,
    names: tuple[str, str] = ("detector", "with PORT"),
    **page,
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
    middles = (np.clip((confidence * 10).astype(int), 0, 9) + 0.5) / 10
    errors = pd.DataFrame(dict(zip(names, (before, after)))).assign(confidence=middles)
    errors = errors.melt("confidence", var_name="who", value_name="error")
    roles = dict(zip(names, ("detector", "ours")))
    with chart(_boxes(errors, ["confidence", "who"], "error"), **page) as (sns, axes, theme):
        palette = {name: style.colour(role, theme) for name, role in roles.items()}
        look = {"x": "confidence", "y": "error", "hue": "who", "palette": palette, "ax": axes}
        sns.boxplot(errors, **look, **BOXES, native_scale=True, fill=False, legend=False)
        sns.lineplot(errors, **look, marker="o", markeredgewidth=0, errorbar=None)
        axes.axvline(delta, color=style.colour("ink", theme), linestyle="--", linewidth=0.8)
        side = "left" if delta < 0.5 else "right"
        axes.set_title(f"δ = {delta:.2f}", x=delta, horizontalalignment=side, fontsize="medium")
        words = "lines: means of a bin;\nboxes 25 to 75 %, whiskers 5 to 95 % of its joints"
        axes.set(xlabel=f"confidence ({words})", ylabel="joint error, px")
        axes.set(xlim=(0, 1), ylim=(0, None), xticks=np.linspace(0, 1, 6))
    return axes.figure


def change_by_occlusions(
    replaced_count: Num[np.ndarray, "n"], change: Float[np.ndarray, "n"], **page
) -> Figure:
    """Boxes of (error with refinement - detector error) by the number of replaced joints, and means
    as dots. Counterpart of PORT Fig. 5.
    """
    table = pd.DataFrame({"replaced": replaced_count.astype(int), "change": change})
    with chart(_boxes(table, ["replaced"], "change"), **page) as (sns, axes, theme):
        dots = {"marker": "o", "markerfacecolor": style.colour("ink", theme), "markeredgewidth": 0}
        look = {"color": style.colour("ours", theme), "fill": False, "ax": axes, **BOXES}
        sns.boxplot(table, x="replaced", y="change", showmeans=True, meanprops=dots, **look)
        counts = table.groupby("replaced").size()
        axes.set_xticks(range(len(counts)), [f"{k}\nn = {n:,}" for k, n in counts.items()])
        axes.axhline(0, color=style.colour("soft", theme), linewidth=0.8)
        words = "joints below delta in one pose\n(n: poses; boxes 25 to 75 %, whiskers 5 to 95 %)"
        axes.set(xlabel=words, ylabel="change of P-EPE, px\n(below 0 is better)")
    return axes.figure


def _boxes(table: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """What boxes show: counts, means and quantiles of groups."""
    groups = table.groupby(by)[value].describe([0.05, 0.25, 0.5, 0.75, 0.95])
    return groups.drop(columns=["std", "min", "max"]).reset_index()


def sweep(
    rows: Sequence[Mapping],
    value: str,
    *,
    x_title: str,
    y_title: str,
    names: tuple[str, str],
    baseline: float | None = None,
    **page,
) -> Figure:
    """One measured value a setting; beside it the paper's in a panel of its own: other data, other
    scale.

    rows: each has "setting" and the value; "low" and "high" draw its interval where they differ,
    "paper" fills the panel. names: of the panels; baseline: the detector's value.
    """
    table = pd.DataFrame(rows)
    panels = {names[0]: (value, "ours"), names[1]: ("paper", "soft")}
    if "paper" not in table or table["paper"].isna().all():
        del panels[names[1]]
    with chart(table, panels=(1, len(panels)), **page) as (sns, cells, theme):
        for axes, (name, (key, role)) in zip(np.ravel(cells), panels.items()):
            look = {"color": style.colour(role, theme), "marker": "o", "errorbar": None}
            sns.lineplot(
                table.astype({"setting": str}),
                x="setting",
                y=key,
                ax=axes,
                markeredgewidth=0,
                **look,
            )
            axes.set(xlabel=x_title, ylabel="", title=name)
        first = np.ravel(cells)[0]
        first.set_ylabel(y_title)
        if "low" in table and (table["low"] < table["high"]).any():
            ends = np.abs(table[["low", "high"]].to_numpy().T - table[value].to_numpy())
            places = (table["setting"].astype(str), table[value])
            first.errorbar(*places, ends, ecolor=style.colour("ours", theme), fmt="none")
        if baseline is not None:
            colour = style.colour("detector", theme)
            first.axhline(baseline, color=colour, linestyle="--", label="detector")
    return first.figure


def changes(
    rows: Sequence[Mapping], *, x_title: str, by: str = "subset", who: str = "method", **page
) -> Figure:
    """Changes with their intervals, a panel for each `by`, from above as they come. The colour is
    the method's where the interval lies above 0, the rival's where it lies below.

    rows: each has `by`, `who`, "change", "low" and "high".
    """
    table = pd.DataFrame(rows)
    panels, names = list(dict.fromkeys(table[by])), list(dict.fromkeys(table[who]))
    with chart(table, panels=(1, len(panels)), **page) as (_, cells, theme):
        for axes, panel in zip(np.ravel(cells), panels):
            part = table[table[by] == panel]
            for row in part.to_dict("records"):
                role = "ours" if row["low"] > 0 else "rival" if row["high"] < 0 else "soft"
                look = {"color": style.colour(role, theme), "marker": "o"}
                place = -names.index(row[who])
                ends = [[row["change"] - row["low"]], [row["high"] - row["change"]]]
                axes.errorbar([row["change"]], [place], xerr=ends, markersize=4, **look)
            axes.axvline(0, color=style.colour("ink", theme), linewidth=0.8)
            axes.set(title=panel, xlabel=x_title, ylim=(0.5 - len(names), 0.5))
            axes.set_yticks(range(0, -len(names), -1), names if axes is np.ravel(cells)[0] else [])
    return axes.figure


# --- labels ---------------------------------------------------------------------------------------


def visibility_shares(labels: Labels, **page) -> Figure:
    """Shares of the flags by data set."""
    rows = [
        {"data set": name, "label": label, "share": (flags == flag).mean()}
        for name, (_, flags, known) in labels.items()
        for label, flag in ((VISIBLE if known else UNSTATED, 2), (HIDDEN, 1), (UNLABELLED, 0))
    ]
    table = pd.DataFrame(rows)
    roles = {VISIBLE: "visible", UNSTATED: "soft", HIDDEN: "hidden", UNLABELLED: "line"}
    with chart(table, height=1.1 + 0.25 * len(labels), **page) as (sns, axes, theme):
        roles = {name: role for name, role in roles.items() if name in set(table["label"])}
        palette = {name: style.colour(role, theme) for name, role in roles.items()}
        look = {"hue": "label", "palette": palette, "hue_order": list(palette)[::-1]}
        bars = {"multiple": "stack", "discrete": True, "shrink": 0.8, "alpha": 1, "linewidth": 0}
        sns.histplot(table, y="data set", weights="share", ax=axes, **look, **bars)
        _key(axes)
        axes.set(xlabel="share of all joints", ylabel="", xlim=(0, 1))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    return axes.figure


def hidden_by_joint(labels: Labels, **page) -> Figure:
    """How many of the labelled joints are hidden, by kind of joint: left and right are one kind."""
    rows = [
        (re.sub("^(left|right)_", "", joint), name, (f == 1).sum(), (f > 0).sum())
        for name, (skeleton, flags, known) in labels.items()
        for joint, f in zip(skeleton.joints, flags.T)
        if known
    ]
    table = pd.DataFrame(rows, columns=["joint", "set", "hidden", "all"])
    count = table.groupby(["joint", "set"], sort=False).sum().reset_index()
    count["share"] = count["hidden"] / count["all"]
    share = count.pivot(index="joint", columns="set", values="share")
    share = share.loc[count["joint"].unique(), count["set"].unique()]
    with chart(count, height=0.8 + 0.15 * len(share), **page) as (sns, axes, theme):
        scale = {"cmap": colours_of(theme, style.sequential()), "vmin": 0, "vmax": 1}
        bar = {"label": "hidden", "format": PercentFormatter(1)}
        sns.heatmap(share, annot=True, fmt=".0%", ax=axes, cbar_kws=bar, **scale)
        for cell in axes.texts:  # on the cell's own colour, in both themes
            dark = np.mean(to_rgb(cell.get_color())) < 0.5
            cell.set_color(style.ON_PICTURE["dark" if dark else "bright"])
        names = [textwrap.fill(name, 16) for name in share.columns]
        axes.set_xticklabels(names, rotation=0)
        axes.set_yticklabels(map(in_words, share.index))
        axes.set(xlabel="", ylabel="")
        axes.grid(False)
    return axes.figure


def reliability(
    bins: Mapping[str, tuple[Float[np.ndarray, "b"], Float[np.ndarray, "b"], Int[np.ndarray, "b"]]],
    **page,
) -> Figure:
    """Stated probability against frequency: name -> probability, frequency and count of bins,
    `metrics.calibration`'s.

    The areas of the dots grow with the counts; on the dotted line one could take the probabilities
    at their word.
    """
    columns = ("says", "happens", "joints")
    found = {name: pd.DataFrame(dict(zip(columns, parts))) for name, parts in bins.items()}
    table = pd.concat(found, names=["who"]).reset_index("who")
    with chart(table, height=3.2, **page) as (sns, axes, theme):
        look = {"x": "says", "y": "happens", "hue": "who", "ax": axes}
        look["palette"] = style.palette(list(bins), theme)
        soft = style.colour("soft", theme)
        axes.plot([0, 1], [0, 1], linestyle=":", color=soft, label="taken at its word")
        sns.lineplot(table, errorbar=None, **look)
        dots = {"size": "joints", "sizes": (8, 120), "alpha": 0.75, "linewidth": 0}
        sns.scatterplot(table, **look, **dots, legend=False)
        words = "probability that the joint is visible\n(areas of dots: how many joints)"
        axes.set(xlabel=words, ylabel="share of joints that are visible", aspect="equal")
    return axes.figure


def joint_bars(
    bars: Mapping[str, Float[np.ndarray, "k"]], skeleton: Skeleton, *, y_title: str, **page
) -> Figure:
    """One bar a joint and name, side by side; shares are shown in percent."""
    table = pd.DataFrame(dict(bars)).assign(joint=list(map(in_words, skeleton.joints)))
    table = table.melt("joint", var_name="who", value_name="share")
    with chart(table, **page) as (sns, axes, theme):
        look = {"hue": "who", "palette": style.palette(list(bars), theme), "saturation": 1}
        sns.barplot(table, x="joint", y="share", errorbar=None, ax=axes, **look)
        axes.set(xlabel="", ylabel=y_title)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.tick_params("x", rotation=50)
        for name in axes.get_xticklabels():
            name.set(horizontalalignment="right", rotation_mode="anchor")
    return axes.figure


def crowd_histogram(
    crowd_index: Float[np.ndarray, "n"], edges: Mapping[str, tuple[float, float]], **page
) -> Figure:
    """Pictures by crowdIndex; edges: who publishes them -> ends of easy and medium, the last ones
    colour the bars.

    The last bar holds all from 1.2 on.
    """
    places = np.arange(26) / 20  # exactly the edges that are published
    top = places[-1]
    which = np.digitize(crowd_index, list(edges.values())[-1])
    labels = [
        f"{name}: {(which == i).sum():,} pictures"
        for i, name in enumerate(("easy", "medium", "hard"))
    ]
    at = crowd_index.clip(max=top - 1e-6)
    table = pd.DataFrame({"crowdIndex": at, "pictures": np.array(labels)[which]})
    counts = table.groupby([pd.cut(at, places, right=False), "pictures"], observed=True).size()
    with chart(counts.rename("count").reset_index().astype(str), **page) as (sns, axes, theme):
        look = {"hue": "pictures", "palette": dict(zip(labels, style.series(3)))}
        look["hue_order"] = labels[::-1]
        bars = {"multiple": "stack", "alpha": 1, "linewidth": 0, "shrink": 0.94}
        sns.histplot(table, x="crowdIndex", bins=places, ax=axes, **look, **bars)
        _key(axes)
        soft = style.colour("soft", theme)
        for row, (who, ends) in enumerate(edges.items()):
            for edge in ends:
                axes.axvline(edge, color=soft, linestyle=":", linewidth=0.8)
                at = {"xy": (edge, 1), "xycoords": ("data", "axes fraction")}
                look = {"xytext": (2, -8 - 8 * row), "textcoords": "offset points"}
                axes.annotate(f"{edge} {who}", **at, **look)
        axes.set(xlabel=f"crowdIndex (last bar: from {places[-2]:g})", xlim=(0, top))
        axes.set(ylabel="pictures", ylim=(0, 1.2 * axes.get_ylim()[1]))
    return axes.figure


def _key(axes: Axes) -> None:
    """Gives the entries of a histogram's own legend to the axes, where others are found; stacks
    have the first one on top.
    """
    legend = axes.get_legend()
    for patch, text in [*zip(legend.legend_handles, legend.get_texts())][::-1]:
        axes.fill_between([], [], color=patch.get_facecolor(), label=text.get_text())


# --- lines ----------------------------------------------------------------------------------------


def _lines(sns, table: pd.DataFrame, who: str, theme: str, **look) -> None:
    """Lines of a table with dots, a colour for each `who`."""
    palette = style.palette(list(table[who].unique()), theme)
    look = {"style": who, "errorbar": None, "markeredgewidth": 0} | look
    axes = sns.lineplot(table, hue=who, palette=palette, **look)
    whole = pd.api.types.is_integer_dtype(table[look["x"]])
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=whole))


def curves(
    rows: Sequence[Mapping], *, bottom: float | int | None = None, marker: str = "o", **page
) -> Figure:
    """Lines of rows (who, x, y), in this order; their names are the titles of the axes. bottom:
    where y begins.
    """
    table = pd.DataFrame(rows)
    who, x, y = table.columns[:3]
    with chart(table, **page) as (sns, axes, theme):
        _lines(sns, table.astype({who: str}), who, theme, x=x, y=y, marker=marker, ax=axes)
        axes.set_ylim(bottom=bottom)
    return axes.figure


def seed_bands(
    rows: Sequence[Mapping] | pd.DataFrame,
    x: str,
    y: str,
    who: str = "who",
    seed: str = "seed",
    *,
    band: str = "range",
    **page,
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
    with chart(table, **page) as (sns, axes, theme):
        look = {"marker": "o", "errorbar": errorbar, "seed": 0, "ax": axes}
        _lines(sns, table, who, theme, x=x, y=y, **look)
        words = f"{in_words(x)}\n(line: mean, band: {words} of {seeds} seeds)"
        axes.set(xlabel=words, ylabel=in_words(y))
    return axes.figure


def noise_errors(diagnosis: Mapping[str, np.ndarray], *, given: str = "real", **page) -> Figure:
    """Error quantiles by tenth of confidence, as `DetectorNoise.diagnose` found them; given:
    what it was fitted to.
    """
    rows = [
        {"tenth": tenth, "error": error, "detector": name, "quantile": f"{percent} %"}
        for name, which in ((given, "real"), ("simulated", "simulated"))
        for tenth, errors in enumerate(diagnosis[f"error_{which}"], 1)
        for percent, error in zip(diagnosis["quantiles"], errors)
    ]
    table = pd.DataFrame(rows)
    with chart(table, height=3, **page) as (sns, axes, theme):
        palette = {given: style.colour("detector", theme), "simulated": style.colour("soft", theme)}
        look = {"hue": "detector", "style": "quantile", "palette": palette, "errorbar": None}
        sns.lineplot(table, x="tenth", y="error", markers=True, markeredgewidth=0, ax=axes, **look)
        ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
        axes.set(yscale="log", xticks=range(1, 11))
        axes.set_yticks(ticks, ticks, minor=False)
        axes.set_ylabel("joint error, share of the long side (log)")
        axes.set_xlabel("tenth of the joints by confidence,\nleast confident first")
    return axes.figure


def noise_confidence(diagnosis: Mapping[str, np.ndarray], *, given: str = "real", **page) -> Figure:
    """How often the detector is how sure, as `DetectorNoise.diagnose` found it; given: what it
    was fitted to.
    """
    edges = diagnosis["confidence_edges"]
    shares = {given: diagnosis["share_real"], "simulated": diagnosis["share_simulated"]}
    table = pd.DataFrame(shares | {"confidence": (edges[1:] + edges[:-1]) / 2})
    table = table.melt("confidence", var_name="detector", value_name="share")
    with chart(table, **page) as (sns, axes, theme):
        palette = {given: style.colour("detector", theme), "simulated": style.colour("soft", theme)}
        look = {"hue": "detector", "palette": palette, "drawstyle": "steps-mid", "errorbar": None}
        sns.lineplot(table, x="confidence", y="share", ax=axes, **look)
        axes.set(ylabel="share of the joints", ylim=(0, None))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    return axes.figure


# --- shapes and maps ------------------------------------------------------------------------------


def flow_of_shapes(
    names: Sequence[str], shapes: Sequence[str], axes: Sequence[str], **page
) -> Figure:
    """Boxes from left to right with what passes between them: the way of a tensor. Counterpart
    of PORT Fig. 2.
    """
    per_row = 6
    table = pd.DataFrame({"name": names, "shape": shapes, "axes": axes})
    table["text"] = [
        "\n".join(textwrap.fill(words, 18) for words in row) for row in zip(names, shapes, axes)
    ]
    rows = -(-len(names) // per_row)
    with chart(table, height=0.3 + 0.9 * rows, **page) as (_, drawn, theme):
        soft, tint = (style.colour(role, theme) for role in ("soft", "tint"))
        look = {"ha": "center", "va": "center", "fontsize": 6}
        look["bbox"] = {"boxstyle": "round", "facecolor": tint, "edgecolor": soft}
        boxes = [
            drawn.annotate(text, (i % per_row, -(i // per_row)), **look)
            for i, text in enumerate(table["text"])
        ]
        for tail, tip in pairwise(boxes):
            arrow = {"arrowstyle": "->", "color": soft, "patchA": tail, "patchB": tip}
            drawn.annotate("", tip.xy, tail.xy, arrowprops=arrow, zorder=0)
        drawn.set(xlim=(-0.5, per_row - 0.5), ylim=(0.5 - rows, 0.5))
        drawn.set_axis_off()
    return drawn.figure


def map_grid(
    maps: Float[np.ndarray, "n y x"],
    captions: Sequence[str],
    *,
    per_row: int,
    top: float | int | None = None,
    **page,
) -> Figure:
    """Feature maps side by side on one scale about 0, to `top` where one is given: what lies beyond
    has the colour of the end.
    """
    rows, said = -(-len(maps) // per_row), "value" if top is None else "value, cut at both ends"
    top = float(np.abs(maps).max()) if top is None else top
    numbers = pd.concat(map(pd.DataFrame, maps), keys=captions, names=["map", "y"]).reset_index()
    with chart(numbers, height=1.5 * rows, panels=(rows, per_row), **page) as (_, cells, theme):
        cells = np.ravel(cells)
        for axes, values, caption in zip(cells, maps, captions):
            image = framed(axes).imshow(values, colours_of(theme), vmin=-top, vmax=top)
            image.set_gid("turned")
            axes.set_title(caption, fontsize="medium")
        for axes in cells[len(maps) :]:
            axes.remove()
        bar = image.figure.colorbar(image, ax=cells[: len(maps)], label=said, aspect=40)
        bar.ax.set_gid("turned")
    return image.figure
