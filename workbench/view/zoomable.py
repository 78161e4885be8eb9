"""Figures that a reader zooms into, and whose points say their numbers below the mouse, drawn by
plotly. All others are `paper`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import count

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from IPython.display import display
from jaxtyping import Num
from plotly.subplots import make_subplots

from . import style
from .tools import CONFIG, PLOTLY_MIME

# How the line of who says where a joint is looks over time.
VOICES = {
    "truth": ("lines", {"width": 3}, {}),
    "input": ("lines+markers", {"width": 1}, {"size": 4}),
    "refined P'": ("markers", {}, {"size": 8, "symbol": "diamond-open"}),
    "final Pₛ": ("lines", {"width": 2.5}, {}),
}
PLAIN = ("lines+markers", {"width": 2}, {"size": 5})


def plain(words: str) -> str:
    """Words that plotly does not take for markup."""
    return escape(words, quote=False)


class Zoomable(go.Figure):
    """A figure that notebooks and pages show."""

    _ipython_display_ = _repr_html_ = None  # plotly's own: of a renderer, and 4 MB

    def _repr_mimebundle_(self, *_, **__) -> dict:
        drawn = json.loads(self.to_json()) | {"config": CONFIG}
        return {PLOTLY_MIME: drawn, "text/plain": "a figure by plotly"}

    def show(self) -> None:
        """Displays the figure where it does not stand last in a cell."""
        display(self)


def _finished(figure: Zoomable, numbers: pd.DataFrame, title: str, height: int) -> Zoomable:
    """With paper and ink, which pages turn into the reader's, a legend above, a title, and its
    numbers, for the toolbar's CSV.
    """
    ink, soft, line, tint, paper = map(style.colour, ("ink", "soft", "line", "tint", "paper"))
    axis = {"gridcolor": line, "linecolor": line, "zerolinecolor": line, "automargin": True}
    look = {
        "font": {"family": style.FONT, "size": 13, "color": ink},
        "paper_bgcolor": paper,
        "plot_bgcolor": paper,
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {"bgcolor": tint, "bordercolor": soft, "font": {"size": 12, "color": ink}},
        "legend": {"orientation": "h", "y": 1.01, "yanchor": "bottom"},
        "margin": {"l": 60, "r": 20, "t": 100, "b": 50},
        "title": {"x": 0.01, "xanchor": "left", "y": 1 - 12 / height, "yanchor": "top"},
    }
    meta = json.loads(numbers.to_json(orient="split", index=False))
    return figure.update_layout(
        template={"layout": look}, title_text=plain(title), height=height, meta=meta
    )


def time_panels(
    panels: Mapping[str, Mapping[str, tuple[Num[np.ndarray, "t"], Num[np.ndarray, "t"]]]],
    *,
    shaded: Sequence[tuple[int, int]] = (),
    title: str = "",
) -> Zoomable:
    """Panels over each other that share the frames: title of y -> name -> (frames, values).
    Counterpart of HANet Fig. 5.

    Names with a role have its colour. shaded: first and last frames of bursts of occlusion.
    """
    figure = make_subplots(
        len(panels), 1, shared_xaxes=True, vertical_spacing=0.04, figure=Zoomable()
    )
    rows, seen = [], set()
    for row, (y_title, lines) in enumerate(panels.items(), 1):
        palette = style.palette(list(lines))
        for name, (frames, values) in lines.items():
            mode, line, marker = VOICES.get(name, PLAIN)
            figure.add_scatter(
                x=frames,
                y=values,
                mode=mode,
                name=plain(name),
                legendgroup=name,
                showlegend=name not in seen,
                line=line | {"color": palette[name]},
                marker=marker | {"color": palette[name]},
                hovertemplate="%{fullData.name}, frame %{x}: %{y:.2f}<extra></extra>",
                row=row,
                col=1,
            )
            seen.add(name)
            rows += [(y_title, name, *point) for point in zip(frames, values)]
        figure.update_yaxes(title=plain(y_title), row=row, col=1)
    figure.update_xaxes(title="frame", row=len(panels), col=1)
    for first, last in shaded:
        look = {"fillcolor": style.colour("hidden"), "opacity": 0.22, "line_width": 0}
        look |= {"layer": "below", "name": "burst of occlusion", "legendgroup": "burst"}
        look |= {"showlegend": (first, last) == shaded[0], "yref": "paper", "y0": 0, "y1": 1}
        figure.add_shape(x0=first - 0.5, x1=last + 0.5, **look)
    numbers = pd.DataFrame(rows, columns=["panel", "who", "frame", "value"])
    return _finished(figure, numbers, title, 130 + 220 * len(panels))


def front(points: Sequence[Mapping], *, title: str = "") -> Zoomable:
    """Accuracy against calm: points of "method", "setting", "accel" (px a frame squared) and
    "pck_0.05" (percent). Rivals have one colour, and a mark each.
    """
    figure, table, symbols = Zoomable(), pd.DataFrame(points), count(1)
    for name, own in table.groupby("method", sort=False):
        role = style.ROLE_OF.get(name)
        figure.add_scatter(
            x=own["accel"],
            y=own["pck_0.05"],
            mode="markers",
            name=plain(name),
            marker={
                "color": style.colour(role or "rival"),
                "symbol": 0 if role else next(symbols),
                "size": 9 if len(own) > 1 else 14,
            },
            hovertext=own["setting"].map(plain),
            hovertemplate="%{fullData.name} %{hovertext}<br>"
            "%{x:.2f} px/frame², %{y:.1f} %<extra></extra>",
        )
    ticks = [0.5, 1, 2, 5, 10, 20]
    calm = "Accel, px/frame² (log scale; left is calmer)"
    figure.update_xaxes(title=calm, type="log", tickvals=ticks)
    figure.update_yaxes(title="PCK@0.05, % (up is nearer)")
    return _finished(figure, table, title, 460)
