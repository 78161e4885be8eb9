"""Arrays in, plotly figures out: titles, units, legends; no torch, no files, no state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float, Num
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from ..skeletons import Skeleton

# Okabe and Ito's palette, told apart with every kind of colour vision.
TRUTH, DETECTED, REFINED, MASKED, GREY = "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#7f7f7f"
CONFIDENCE_SCALE = "Cividis"
LAYOUT = {
    "template": "plotly_white",
    "font": {"size": 13, "family": "system-ui, sans-serif"},
    "margin": {"l": 60, "r": 20, "t": 70, "b": 50},
    "hoverlabel": {"font_size": 12},
}
CONFIG = {"showSendToCloud": False, "displaylogo": False, "responsive": True}


def _layout(figure: go.Figure, title: str, height: int, width: int | None = None, **kw) -> go.Figure:
    figure.update_layout(
        **LAYOUT, title={"text": title, "x": 0.01, "xanchor": "left"}, height=height, width=width, **kw
    )
    return figure


def bones(xy: Float[np.ndarray, "k 2"], skeleton: Skeleton) -> tuple[list, list]:
    """x and y of one line through all bones, with gaps (None) between them."""
    x, y = [], []
    for a, b in skeleton.edges:
        x += [xy[a, 0], xy[b, 0], None]
        y += [xy[a, 1], xy[b, 1], None]
    return x, y


def pose_traces(
    xy_frame: Float[np.ndarray, "k 2"],
    skeleton: Skeleton,
    name: str,
    colour: str,
    *,
    confidence: Float[np.ndarray, "k"] | None = None,
    replaced: Bool[np.ndarray, "k"] | None = None,
    show_legend: bool = True,
    width: float = 2,
    colour_bar: bool = False,
) -> list[go.Scatter]:
    """Two traces, bones and joints; joints coloured by confidence if given, replaced ones as open diamonds."""
    x, y = bones(xy_frame, skeleton)
    hover = [
        f"{joint}<br>({px:.1f}, {py:.1f}) px" + (f"<br>confidence {c:.2f}" if confidence is not None else "")
        for joint, (px, py), c in zip(
            skeleton.joints, xy_frame, confidence if confidence is not None else xy_frame[:, 0]
        )
    ]
    marker = {"size": 8, "color": colour}
    if confidence is not None:
        marker = {
            "size": 9, "color": confidence, "colorscale": CONFIDENCE_SCALE, "cmin": 0, "cmax": 1, "showscale": colour_bar,
            "colorbar": {"title": "detector<br>confidence", "len": 0.7, "thickness": 12, "y": 0.4}, "opacity": 1,
            "line": {"width": 1, "color": colour},
        }  # fmt: skip
    if replaced is not None:
        marker["symbol"] = np.where(replaced, "diamond", "circle").tolist()
        marker["size"] = np.where(replaced, 13, 9).tolist()
    line = go.Scatter(
        x=x, y=y, mode="lines", name=name, legendgroup=name, showlegend=show_legend, hoverinfo="skip",
        line={"color": colour, "width": width},
    )  # fmt: skip
    dots = go.Scatter(
        x=xy_frame[:, 0], y=xy_frame[:, 1], mode="markers", name=name, legendgroup=name, showlegend=False,
        marker=marker, hovertext=hover, hoverinfo="text",
    )  # fmt: skip
    return [line, dots]


def _picture_axes(
    figure: go.Figure, points: np.ndarray, row: int | None = None, col: int | None = None, pad: float = 0.12
):
    """Equal axes with y down around the points; no ticks, the hover says px."""
    low, high = points.reshape(-1, 2).min(0), points.reshape(-1, 2).max(0)
    middle, half = (low + high) / 2, (high - low).max() / 2 * (1 + 2 * pad) + 1e-6
    kw = {} if row is None else {"row": row, "col": col}
    figure.update_xaxes(range=[middle[0] - half, middle[0] + half], showgrid=False, zeroline=False, visible=False, **kw)
    figure.update_yaxes(
        range=[middle[1] + half, middle[1] - half], showgrid=False, zeroline=False, visible=False,
        scaleanchor=None if row is None else f"x{'' if row == col == 1 else _axis_number(figure, row, col)}", **kw,
    )  # fmt: skip


def _axis_number(figure: go.Figure, row: int, col: int) -> str:
    return figure.get_subplot(row, col).xaxis.plotly_name.removeprefix("xaxis")


def pose_figure(poses: Mapping[str, dict], skeleton: Skeleton, title: str, *, height: int = 480) -> go.Figure:
    """One picture frame with several poses over each other; poses: name -> keyword arguments of `pose_traces`."""
    figure = go.Figure()
    for name, kw in poses.items():
        figure.add_traces(pose_traces(skeleton=skeleton, name=name, **kw))
    _picture_axes(figure, np.concatenate([kw["xy_frame"] for kw in poses.values()]))
    figure.update_yaxes(scaleanchor="x")
    return _layout(figure, title, height)


def refinement_grid(
    detected: Float[np.ndarray, "n k 2"],
    refined: Float[np.ndarray, "n k 2"],
    confidence: Float[np.ndarray, "n k"],
    replaced: Bool[np.ndarray, "n k"],
    skeleton: Skeleton,
    *,
    truth: Float[np.ndarray, "n k 2"] | None = None,
    captions: Sequence[str] = (),
    title: str = "Refinement arrows, coloured by the detector's confidence",
) -> go.Figure:
    """Arrows from each replaced joint to its new place, coloured by confidence. Counterpart of PORT Fig. 3."""
    n = len(detected)
    cols = min(n, 3)
    rows = -(-n // cols)
    titles = list(captions) + [""] * (n - len(captions))
    figure = make_subplots(rows, cols, subplot_titles=titles, horizontal_spacing=0.02, vertical_spacing=0.1)
    for i in range(n):
        row, col = i // cols + 1, i % cols + 1
        first = i == 0
        if truth is not None:
            for t in pose_traces(truth[i], skeleton, "ground truth", TRUTH, show_legend=first, width=1.5):
                figure.add_trace(t.update(opacity=0.65), row, col)
        for t in pose_traces(
            detected[i], skeleton, "detector", GREY, confidence=confidence[i], show_legend=first, width=1.5
        ):
            figure.add_trace(t, row, col)
        for j in np.flatnonzero(replaced[i]):
            colour = sample_colorscale(CONFIDENCE_SCALE, [float(np.clip(confidence[i, j], 0, 1))])[0]
            ends = np.stack((detected[i, j], refined[i, j]))
            figure.add_trace(
                go.Scatter(
                    x=ends[:, 0], y=ends[:, 1], mode="lines+markers", showlegend=False,
                    line={"color": REFINED, "width": 2},
                    marker={
                        "symbol": ["circle", "arrow"], "angleref": "previous", "size": [6, 13],
                        "color": [colour, REFINED], "line": {"width": 0},
                    },
                    hovertext=f"{skeleton.joints[j]}, confidence {confidence[i, j]:.2f}, "
                    f"moved {np.linalg.norm(ends[1] - ends[0]):.1f} px",
                    hoverinfo="text",
                ), row, col,
            )  # fmt: skip
        shown = [detected[i], refined[i]] + ([] if truth is None else [truth[i]])
        _picture_axes(figure, np.concatenate(shown), row, col, pad=0.03)
    figure.add_trace(
        go.Scatter(
            x=[None], y=[None], mode="markers", name="moved by PORT",
            marker={
                "symbol": "arrow-right", "size": 11, "color": REFINED, "showscale": False,
            },
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[None], y=[None], mode="markers", showlegend=False,
            marker={
                "color": [0], "colorscale": CONFIDENCE_SCALE, "cmin": 0, "cmax": 1, "showscale": True,
                "colorbar": {"title": "detector<br>confidence", "len": 0.8, "thickness": 12},
            },
        )
    )  # fmt: skip
    return _layout(figure, title, 110 + 310 * rows, legend={"orientation": "h", "y": -0.03})


def error_by_confidence(
    confidence: Float[np.ndarray, "m"],
    before: Float[np.ndarray, "m"],
    after: Float[np.ndarray, "m"],
    delta: float,
    *,
    bins: int = 10,
    unit: str = "px",
    title: str = "Joint error by the detector's confidence",
) -> go.Figure:
    """Boxes of joint error in bins of confidence without and with refinement, with delta. Counterpart of PORT Fig. 4.

    Boxes span 25 to 75 %, whiskers 5 to 95 % of a bin.
    """
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.digitize(confidence, edges) - 1, 0, bins - 1)
    filled = np.unique(which)
    middle, top = (edges[:-1] + edges[1:])[filled] / 2, 0.0
    figure = go.Figure()
    for name, error, colour, side in (("detector", before, DETECTED, -1), ("with PORT", after, REFINED, 1)):
        at = middle + side * 0.21 / bins
        groups = [error[which == b] for b in filled]
        low, q1, median, q3, high = np.array([np.percentile(g, [5, 25, 50, 75, 95]) for g in groups]).T
        means = np.array([g.mean() for g in groups])
        figure.add_trace(
            go.Box(
                x=at, lowerfence=low, q1=q1, median=median, q3=q3, upperfence=high, name=name, marker_color=colour,
                line={"width": 1}, width=0.36 / bins,
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=at, y=means, mode="lines+markers", name=f"mean, {name}", line={"color": colour, "width": 2},
                marker={"size": 6},
            )
        )  # fmt: skip
        top = max(top, high.max())
    figure.add_vline(
        x=delta,
        line={"color": "#b00020", "width": 2, "dash": "dash"},
        annotation_text=f"delta = {delta:.2f}",
        annotation_position="top right",
    )
    figure.update_xaxes(title="confidence (boxes 25 to 75 %, whiskers 5 to 95 % of the joints in a bin)", range=[0, 1])
    figure.update_yaxes(title=f"joint error, {unit}", range=[0, 1.05 * top])
    return _layout(figure, title, 460, legend={"orientation": "h", "y": -0.2, "x": 0.0})


def change_by_occlusions(
    replaced_count: Num[np.ndarray, "n"],
    change: Float[np.ndarray, "n"],
    *,
    unit: str = "px",
    title: str = "Error change by number of replaced joints",
) -> go.Figure:
    """Boxes of (error with refinement - detector error) by the number of replaced joints. Counterpart of PORT Fig. 5."""
    figure = go.Figure()
    for count in np.unique(replaced_count):
        of = change[replaced_count == count]
        figure.add_trace(
            go.Box(
                y=of, x=np.full(len(of), str(int(count))), marker_color=REFINED, boxpoints="outliers", line={"width": 1},
                showlegend=False, name=f"{int(count)} replaced, {len(of)} poses, mean {of.mean():+.2f} {unit}", boxmean=True,
            )
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": GREY, "width": 1})
    figure.update_xaxes(title="joints below delta in one pose", type="category")
    figure.update_yaxes(title=f"P-EPE change, {unit} (below 0 is better)")
    return _layout(figure, title, 400)


def joint_matrices(
    matrices: Mapping[str, Float[np.ndarray, "q k"]],
    skeleton: Skeleton,
    *,
    masked: Bool[np.ndarray, "k"] | None = None,
    title: str,
) -> go.Figure:
    """Joint-by-joint matrices side by side; rows of masked joints are framed. Counterpart of PORT Fig. 6.

    A row asks, a column answers. Each panel has its own colour scale.
    """
    names, n = list(skeleton.joints), len(matrices)
    gap = 0.14 if n == 2 else 0.09
    figure = make_subplots(1, n, subplot_titles=list(matrices), horizontal_spacing=gap, shared_yaxes=True)
    for col, matrix in enumerate(matrices.values(), 1):
        bar = {
            "x": figure.get_subplot(1, col).xaxis.domain[1] + 0.005,
            "xanchor": "left",
            "len": 0.9,
            "thickness": 9,
            "nticks": 4,
        }
        figure.add_trace(
            go.Heatmap(
                z=matrix, x=names, y=names, colorscale="Cividis", zmin=0,
                colorbar=bar | {"title": "weight" if col == n else ""},
                hovertemplate="row (asks): %{y}<br>column (answers): %{x}<br>%{z:.3f}<extra></extra>",
            ), 1, col,
        )  # fmt: skip
        for j in np.flatnonzero(masked) if masked is not None else ():
            figure.add_shape(
                type="rect", x0=-0.5, x1=len(names) - 0.5, y0=j - 0.5, y1=j + 0.5,
                line={"color": MASKED, "width": 2}, row=1, col=col,
            )  # fmt: skip
    figure.update_yaxes(autorange="reversed", tickfont={"size": 10})
    figure.update_xaxes(tickangle=-60, tickfont={"size": 9})
    return _layout(figure, title, 560 if n == 2 else 480)


def sweep(
    rows: Sequence[Mapping],
    value: str,
    *,
    x_title: str,
    y_title: str,
    title: str,
    names: tuple[str, str] = ("measured", "paper"),
    baseline: float | None = None,
) -> go.Figure:
    """One measured value a setting; beside it the paper's in a panel of its own: other data, other scale.

    rows: each has "setting" and the value; "low" and "high" draw its interval where they differ, "paper" fills the panel.
    """
    labels, measured = [r["setting"] for r in rows], [r[value] for r in rows]
    paper = [r.get("paper") for r in rows]
    panels = [(measured, REFINED, "circle")]
    if any(v is not None for v in paper):
        panels.append((paper, GREY, "square-open"))
    figure = make_subplots(1, len(panels), subplot_titles=names, horizontal_spacing=0.12)
    for col, (values, colour, symbol) in enumerate(panels, 1):
        figure.add_trace(
            go.Scatter(
                x=labels, y=values, mode="lines+markers", name=names[col - 1], line={"color": colour},
                marker={"size": 9, "symbol": symbol}, showlegend=False,
            ), 1, col,
        )  # fmt: skip
    if any(r.get("low", 0) < r.get("high", 0) for r in rows):
        up, down = [r["high"] - r[value] for r in rows], [r[value] - r["low"] for r in rows]
        figure.data[0].error_y = {"type": "data", "symmetric": False, "array": up, "arrayminus": down}
    if baseline is not None:
        line = {"color": DETECTED, "dash": "dash", "width": 1.5}
        figure.add_hline(y=baseline, line=line, annotation_text="detector", row=1, col=1)
    figure.update_yaxes(title=y_title, col=1)
    figure.update_xaxes(title=x_title, type="category")
    return _layout(figure, title, 360)


def flow_of_shapes(names: Sequence[str], shapes: Sequence[str], axes: Sequence[str], *, title: str) -> go.Figure:
    """Boxes from left to right with what passes between them: the way of a tensor. Counterpart of PORT Fig. 2."""
    figure = go.Figure()
    per_row = 6
    for i, (name, shape, axis) in enumerate(zip(names, shapes, axes)):
        x, y = i % per_row, -(i // per_row)
        figure.add_shape(
            type="rect", x0=x - 0.44, x1=x + 0.44, y0=y - 0.3, y1=y + 0.3, line={"color": DETECTED, "width": 1.5},
            fillcolor="#eef5fb", layer="below",
        )  # fmt: skip
        figure.add_annotation(
            x=x, y=y, text=f"<b>{name}</b><br>{shape}<br><i>{axis}</i>", showarrow=False, font={"size": 10}
        )
        if i + 1 < len(names):
            nx, ny = (i + 1) % per_row, -((i + 1) // per_row)
            ends = (x + 0.44, y, nx - 0.44, ny) if ny == y else (x, y - 0.3, nx, ny + 0.3)
            figure.add_annotation(
                x=ends[2], y=ends[3], ax=ends[0], ay=ends[1], xref="x", yref="y", axref="x", ayref="y", showarrow=True,
                arrowhead=2, arrowcolor=GREY, text="",
            )  # fmt: skip
    rows = -(-len(names) // per_row)
    figure.update_xaxes(visible=False, range=[-0.55, per_row - 0.45])
    figure.update_yaxes(visible=False, range=[-rows + 0.55, 0.45])
    return _layout(figure, title, 80 + 120 * rows)
