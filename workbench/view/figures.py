"""Arrays in, plotly figures out: titles, units, legends; no torch, no files, no state."""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
from jaxtyping import Bool, Float, Int, Num, UInt8
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from .. import geometry
from ..skeletons import Skeleton
from . import style

TRUTH, DETECTED, REFINED = map(style.colour, ("truth", "detector", "ours"))
MASKED, GREY = map(style.colour, ("hidden", "soft"))
CONFIDENCE_SCALE = style.SEQUENTIAL
LAYOUT = {
    "template": style.template(),
    "font": {"size": 13, "family": style.FONT},
    "margin": {"l": 60, "r": 20, "t": 70, "b": 50},
}
# The toolbar of `tools` saves pictures in print quality; plotly's own camera does not.
CONFIG = {
    "showSendToCloud": False,
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["toImage"],
}
# What lines and bars are called, and the role that such a name has. Other names have none.
ROLE_OF = {
    "truth": "truth",
    "ground truth": "truth",
    "detector": "detector",
    "input": "detector",
    "VisNet": "ours",
    "HANet (shipped)": "ours",
    "Savitzky-Golay": "rival",
    "visible": "visible",
    "hidden": "hidden",
    "occluded": "hidden",
    "outside the picture": "outside",
}


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name: its role's, or the next of `style.series`, which mean nothing."""
    plain = [name for name in names if name not in ROLE_OF]
    neutral = dict(zip(plain, style.series(len(plain))))
    return {name: neutral.get(name) or style.colour(ROLE_OF[name]) for name in names}


def page_layout(
    figure: go.Figure, title: str, height: int, width: int | None = None, **kw
) -> go.Figure:
    figure.update_layout(
        **LAYOUT,
        title={"text": title, "x": 0.01, "xanchor": "left"},
        height=height,
        width=width,
        **kw,
    )
    return figure


def bones(
    xy: Num[np.ndarray, "*p k 2"],
    skeleton: Skeleton,
    labelled: Bool[np.ndarray, "*p k"] | None = None,
) -> Num[np.ndarray, "2 m"]:
    """x and y of one line through all bones, or those between labelled joints, with gaps (NaN)
    between them.
    """
    ends = np.array(skeleton.edges)
    segments = (
        xy[..., ends, :] if labelled is None else xy[..., ends, :][labelled[..., ends].all(-1)]
    )
    segments = segments.reshape(-1, 2, 2).astype(float)
    return np.concatenate((segments, np.full_like(segments[:, :1], np.nan)), 1).reshape(-1, 2).T


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
    """Two traces, bones and joints; joints coloured by confidence if given, replaced ones as
    open diamonds.
    """
    x, y = bones(xy_frame, skeleton)
    hover = [
        f"{joint}<br>({px:.1f}, {py:.1f}) px" for joint, (px, py) in zip(skeleton.joints, xy_frame)
    ]
    marker = {"size": 8, "color": colour}
    if confidence is not None:
        hover = [f"{text}<br>confidence {c:.2f}" for text, c in zip(hover, confidence)]
        marker = {
            "size": 9,
            "color": confidence,
            "colorscale": CONFIDENCE_SCALE,
            "cmin": 0,
            "cmax": 1,
            "showscale": colour_bar,
            "colorbar": {"title": "detector<br>confidence", "len": 0.7, "thickness": 12, "y": 0.4},
            "opacity": 1,
            "line": {"width": 1, "color": colour},
        }
    if replaced is not None:
        marker["symbol"] = np.where(replaced, "diamond", "circle").tolist()
        marker["size"] = np.where(replaced, 13, 9).tolist()
    line = go.Scatter(
        x=x,
        y=y,
        mode="lines",
        name=name,
        legendgroup=name,
        showlegend=show_legend,
        hoverinfo="skip",
        line={"color": colour, "width": width},
    )
    dots = go.Scatter(
        x=xy_frame[:, 0],
        y=xy_frame[:, 1],
        mode="markers",
        name=name,
        legendgroup=name,
        showlegend=False,
        marker=marker,
        hovertext=hover,
        hoverinfo="text",
    )
    return [line, dots]


def around(points: Num[np.ndarray, "*n 2"], pad: float = 0.12) -> tuple[list, list]:
    """Ranges of x, and of y pointing down, of a square about the points; pad: share of its side
    that stays free.
    """
    low, high = points.reshape(-1, 2).min(0), points.reshape(-1, 2).max(0)
    (x, y), half = (low + high) / 2, (high - low).max() * (0.5 + pad) + 1e-6
    return [x - half, x + half], [y + half, y - half]


def picture_axes(figure: go.Figure, x: list, y: list, row: int = 1, col: int = 1, **kw) -> None:
    """Equal axes of these ranges; no ticks, the hover says px."""
    anchor = figure.get_subplot(row, col).xaxis.plotly_name.replace("xaxis", "x")
    at = {"row": row, "col": col, "visible": False, **kw}
    figure.update_xaxes(range=x, **at)
    figure.update_yaxes(range=y, scaleanchor=anchor, **at)


def pose_figure(
    poses: Mapping[str, dict], skeleton: Skeleton, title: str, *, height: int = 480
) -> go.Figure:
    """One picture frame with several poses over each other; poses: name -> keyword arguments of
    `pose_traces`.
    """
    figure = make_subplots()
    for name, kw in poses.items():
        figure.add_traces(pose_traces(skeleton=skeleton, name=name, **kw))
    picture_axes(figure, *around(np.concatenate([kw["xy_frame"] for kw in poses.values()])))
    return page_layout(figure, title, height)


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
    """Arrows from each replaced joint to its new place, coloured by confidence. Counterpart of
    PORT Fig. 3.
    """
    n = len(detected)
    cols = min(n, 3)
    rows = -(-n // cols)
    figure = make_subplots(
        rows, cols, subplot_titles=list(captions), horizontal_spacing=0.02, vertical_spacing=0.1
    )
    for i in range(n):
        row, col = i // cols + 1, i % cols + 1
        look = {"show_legend": i == 0, "width": 1.5}
        if truth is not None:
            for t in pose_traces(truth[i], skeleton, "ground truth", TRUTH, **look):
                figure.add_trace(t.update(opacity=0.65), row, col)
        sure = {"confidence": confidence[i], "colour_bar": i == 0}
        figure.add_traces(
            pose_traces(detected[i], skeleton, "detector", DETECTED, **sure, **look), row, col
        )
        for j in np.flatnonzero(replaced[i]):
            place = float(np.clip(confidence[i, j], 0, 1))
            (colour,) = sample_colorscale(CONFIDENCE_SCALE, [place])
            ends = np.stack((detected[i, j], refined[i, j]))
            figure.add_trace(
                go.Scatter(
                    x=ends[:, 0],
                    y=ends[:, 1],
                    mode="lines+markers",
                    showlegend=False,
                    line={"color": REFINED, "width": 2},
                    marker={
                        "symbol": ["circle", "arrow"],
                        "angleref": "previous",
                        "size": [6, 13],
                        "color": [colour, REFINED],
                        "line": {"width": 0},
                    },
                    hovertext=f"{skeleton.joints[j]}, confidence {confidence[i, j]:.2f}, "
                    f"moved {np.linalg.norm(ends[1] - ends[0]):.1f} px",
                    hoverinfo="text",
                ),
                row,
                col,
            )
        shown = [detected[i], refined[i]] + ([] if truth is None else [truth[i]])
        picture_axes(figure, *around(np.concatenate(shown), pad=0.03), row, col)
    arrow = {"symbol": "arrow-right", "size": 11, "color": REFINED}
    figure.add_trace(
        go.Scatter(x=[None], y=[None], mode="markers", name="moved by PORT", marker=arrow)
    )
    return page_layout(figure, title, 110 + 310 * rows, legend={"orientation": "h", "y": -0.03})


def error_by_confidence(
    confidence: Float[np.ndarray, "m"],
    before: Float[np.ndarray, "m"],
    after: Float[np.ndarray, "m"],
    delta: float,
    *,
    title: str = "Joint error by the detector's confidence",
) -> go.Figure:
    """Boxes of joint error in bins of confidence without and with refinement, with delta.
    Counterpart of PORT Fig. 4.

    Boxes span 25 to 75 %, whiskers 5 to 95 % of a bin.
    """
    bins, top = 10, 0.0
    which = np.clip((confidence * bins).astype(int), 0, bins - 1)
    filled = np.unique(which)
    middle = (filled + 0.5) / bins
    figure = go.Figure()
    for name, error, colour, side in (
        ("detector", before, DETECTED, -1),
        ("with PORT", after, REFINED, 1),
    ):
        at = middle + side * 0.21 / bins
        groups = [error[which == b] for b in filled]
        low, q1, median, q3, high = np.array(
            [np.percentile(g, [5, 25, 50, 75, 95]) for g in groups]
        ).T
        means = np.array([g.mean() for g in groups])
        figure.add_trace(
            go.Box(
                x=at,
                lowerfence=low,
                q1=q1,
                median=median,
                q3=q3,
                upperfence=high,
                name=name,
                marker_color=colour,
                line={"width": 1},
                width=0.36 / bins,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=at,
                y=means,
                mode="lines+markers",
                name=f"mean, {name}",
                line={"color": colour, "width": 2},
                marker={"size": 6},
            )
        )
        top = max(top, high.max())
    line, text = {"color": GREY, "width": 2, "dash": "dash"}, f"delta = {delta:.2f}"
    figure.add_vline(x=delta, line=line, annotation_text=text, annotation_position="top right")
    figure.update_xaxes(
        title="confidence (boxes 25 to 75 %, whiskers 5 to 95 % of the joints in a bin)",
        range=[0, 1],
    )
    figure.update_yaxes(title="joint error, px", range=[0, 1.05 * top])
    return page_layout(figure, title, 460, legend={"orientation": "h", "y": -0.2, "x": 0.0})


def change_by_occlusions(
    replaced_count: Num[np.ndarray, "n"],
    change: Float[np.ndarray, "n"],
    *,
    title: str = "Error change by number of replaced joints",
) -> go.Figure:
    """Boxes of (error with refinement - detector error) by the number of replaced joints.
    Counterpart of PORT Fig. 5.
    """
    figure = go.Figure()
    for count in np.unique(replaced_count):
        of = change[replaced_count == count]
        figure.add_trace(
            go.Box(
                y=of,
                x=np.full(len(of), str(int(count))),
                marker_color=REFINED,
                boxpoints="outliers",
                line={"width": 1},
                showlegend=False,
                name=f"{int(count)} replaced, {len(of)} poses, mean {of.mean():+.2f} px",
                boxmean=True,
            )
        )
    figure.add_hline(y=0, line={"color": style.colour("line"), "width": 1})
    figure.update_xaxes(title="joints below delta in one pose", type="category")
    figure.update_yaxes(title="P-EPE change, px (below 0 is better)")
    return page_layout(figure, title, 400)


def attention_values(weights: Float[np.ndarray, "q k"]) -> dict:
    """z and text of a heatmap on the scale of attention: log2 of multiples of uniform, within its
    ends, and the multiple and the weight in words.
    """
    times = style.times_uniform(weights)
    words = [
        [f"{multiple:.2g}x uniform, weight {weight:.3f}" for multiple, weight in zip(*row)]
        for row in zip(times, weights)
    ]
    return {"z": style.LOG2_RANGE * style.attention_place(times), "text": words}


def attention_map(
    weights: Float[np.ndarray, "q k"],
    asks: np.ndarray,
    answers: np.ndarray,
    hover: str,
    bar: Mapping,
) -> go.Heatmap:
    """Attention on the one scale: a row asks, a column answers. hover: of x and y; bar: how the
    colour bar looks.
    """
    scale = style.attention_scale()
    return go.Heatmap(
        x=answers,
        y=asks,
        name="attention",
        hovertemplate=hover + "<br>%{text}<extra></extra>",
        **scale | {"colorbar": {**bar, **scale["colorbar"]}},
        **attention_values(weights),
    )


def joint_matrices(
    matrices: Mapping[str, Float[np.ndarray, "q k"]],
    skeleton: Skeleton,
    *,
    masked: Bool[np.ndarray, "k"] | None = None,
    groups: Bool[np.ndarray, "k"] | None = None,
    title: str,
) -> go.Figure:
    """Joint-by-joint matrices side by side on the scale of attention; rows of masked joints are
    framed. Counterpart of PORT Fig. 6.

    A row asks, a column answers. groups: joints that come first, ahead of lines that part them
    from the others. Counterpart of Visibility Fig. 2.
    """
    names, n = np.array(skeleton.joints), len(matrices)
    if groups is not None:
        order, cut = np.argsort(~groups, kind="stable"), groups.sum() - 0.5
        names, matrices = names[order], {name: m[order][:, order] for name, m in matrices.items()}
    figure = make_subplots(
        1, n, subplot_titles=list(matrices), horizontal_spacing=0.05, shared_yaxes=True
    )
    hover = "row (asks): %{y}<br>column (answers): %{x}"
    for col, matrix in enumerate(matrices.values(), 1):
        trace = attention_map(matrix, names, names, hover, {"len": 0.9, "thickness": 9})
        figure.add_trace(trace.update(showscale=col == n), 1, col)
        if groups is not None:
            look = {"line": {"color": style.colour("paper"), "width": 2}, "row": 1, "col": col}
            figure.add_vline(x=cut, **look).add_hline(y=cut, **look)
        for j in np.flatnonzero(masked) if masked is not None else ():
            figure.add_shape(
                type="rect",
                x0=-0.5,
                x1=len(names) - 0.5,
                y0=j - 0.5,
                y1=j + 0.5,
                line={"color": style.colour("hidden"), "width": 2},
                row=1,
                col=col,
            )
    figure.update_yaxes(autorange="reversed", tickfont={"size": 10})
    figure.update_xaxes(tickangle=-60, tickfont={"size": 9})
    return page_layout(figure, title, 560 if n == 2 else 480)


def map_grid(
    maps: Float[np.ndarray, "n y x"], captions: Sequence[str], title: str, *, cols: int
) -> go.Figure:
    """Feature maps side by side on one scale about 0."""
    top = float(np.abs(maps).max())
    figure = px.imshow(
        maps,
        facet_col=0,
        facet_col_wrap=cols,
        color_continuous_scale=style.diverging(),
        zmin=-top,
        zmax=top,
        facet_row_spacing=0.1,
        facet_col_spacing=0.01,
    )
    figure.for_each_annotation(
        lambda a: a.update(text=captions[int(a.text.split("=")[1])], font_size=11)
    )
    figure.update_traces(opacity=style.DIVERGING_OPACITY)
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    bar = {"title": "value", "thickness": 10, "len": 0.8}
    return page_layout(figure, title, 120 + 190 * -(-len(maps) // cols), coloraxis_colorbar=bar)


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
    """One measured value a setting; beside it the paper's in a panel of its own: other data, other
    scale.

    rows: each has "setting" and the value; "low" and "high" draw its interval where they differ,
    "paper" fills the panel.
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
                x=labels,
                y=values,
                mode="lines+markers",
                name=names[col - 1],
                line={"color": colour},
                marker={"size": 9, "symbol": symbol},
                showlegend=False,
            ),
            1,
            col,
        )
    if any(r.get("low", 0) < r.get("high", 0) for r in rows):
        up, down = [r["high"] - r[value] for r in rows], [r[value] - r["low"] for r in rows]
        figure.data[0].error_y = {
            "type": "data",
            "symmetric": False,
            "array": up,
            "arrayminus": down,
        }
    if baseline is not None:
        line = {"color": DETECTED, "dash": "dash", "width": 1.5}
        figure.add_hline(y=baseline, line=line, annotation_text="detector", row=1, col=1)
    figure.update_yaxes(title=y_title, col=1)
    figure.update_xaxes(title=x_title, type="category")
    return page_layout(figure, title, 360)


def flow_of_shapes(
    names: Sequence[str], shapes: Sequence[str], axes: Sequence[str], *, title: str
) -> go.Figure:
    """Boxes from left to right with what passes between them: the way of a tensor. Counterpart
    of PORT Fig. 2.
    """
    figure = go.Figure()
    per_row = 6
    for i, (name, shape, axis) in enumerate(zip(names, shapes, axes)):
        x, y = i % per_row, -(i // per_row)
        figure.add_shape(
            type="rect",
            x0=x - 0.44,
            x1=x + 0.44,
            y0=y - 0.3,
            y1=y + 0.3,
            line={"color": GREY, "width": 1.5},
            fillcolor=style.colour("tint"),
            layer="below",
        )
        name, shape, axis = ("<br>".join(textwrap.wrap(text, 18)) for text in (name, shape, axis))
        text = f"<b>{name}</b><br>{shape}<br><i>{axis}</i>"
        figure.add_annotation(x=x, y=y, text=text, showarrow=False, font={"size": 10})
        if i + 1 < len(names):
            nx, ny = (i + 1) % per_row, -((i + 1) // per_row)
            ends = (x + 0.44, y, nx - 0.44, ny) if ny == y else (x, y - 0.3, nx, ny + 0.3)
            figure.add_annotation(
                x=ends[2],
                y=ends[3],
                ax=ends[0],
                ay=ends[1],
                xref="x",
                yref="y",
                axref="x",
                ayref="y",
                showarrow=True,
                arrowhead=2,
                arrowcolor=GREY,
                text="",
            )
    rows = -(-len(names) // per_row)
    figure.update_xaxes(visible=False, range=[-0.55, per_row - 0.45])
    figure.update_yaxes(visible=False, range=[-rows + 0.55, 0.45])
    return page_layout(figure, title, 80 + 120 * rows)


# --- pictures and labels --------------------------------------------------------------------------

PAGE_PX = 900  # width of figures that hold pictures: the column of a page
# What a joint's label says, its colour, plotly's symbol and OpenCV's marker (None: a filled
# circle).
VISIBLE, HIDDEN, NEWLY_HIDDEN, UNSTATED = (
    "visible (2)",
    "hidden (1)",
    "newly hidden (2 → 1)",
    "labelled, nothing said",
)
LOOKS = {
    VISIBLE: (style.colour("visible"), "circle", None),
    HIDDEN: (style.colour("hidden"), "x", cv2.MARKER_TILTED_CROSS),
    NEWLY_HIDDEN: (style.colour("newly_hidden"), "diamond", cv2.MARKER_DIAMOND),
    UNSTATED: (GREY, "square", cv2.MARKER_SQUARE),
}


def joint_states(
    visibility: Int[np.ndarray, "*n k"],
    before: Int[np.ndarray, "*n k"] | None = None,
    *,
    known: bool = True,
) -> np.ndarray:
    """Keys of LOOKS by joint, "" where there is no label; `before` are the flags ahead of an
    occlusion on purpose.
    """
    states = np.where(visibility == 2, VISIBLE if known else UNSTATED, HIDDEN)
    if before is not None:
        states = np.where((visibility == 1) & (before == 2), NEWLY_HIDDEN, states)
    return np.where(visibility > 0, states, "")


def draw_people(
    picture: UInt8[np.ndarray, "h w 3"],
    xy_frame: Float[np.ndarray, "p k 2"],
    states: np.ndarray,
    skeleton: Skeleton,
    *,
    zoom: float = 1.0,
) -> UInt8[np.ndarray, "a b 3"]:
    """The picture enlarged, with bones between labelled joints and every joint marked by its
    state: pixels, not plotly.
    """
    size = (round(picture.shape[1] * zoom), round(picture.shape[0] * zoom))
    out = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA)
    whole = np.array([0.0, 0.0, *picture.shape[1::-1]])
    points = (
        np.rint(geometry.apply(geometry.frame_to_crop(whole, size), xy_frame))
        .clip(-9999, 9999)
        .astype(int)
    )
    for person, state in zip(points.tolist(), states):
        for a, b in skeleton.edges:
            if state[a] and state[b]:
                cv2.line(out, person[a], person[b], (0, 0, 0), 3, cv2.LINE_AA)
                cv2.line(out, person[a], person[b], (255, 255, 255), 1, cv2.LINE_AA)
        for at, name in zip(person, state):
            if name:
                colour, _, marker = LOOKS[name]
                for rim, c in ((2, (255, 255, 255)), (0, tuple(bytes.fromhex(colour[1:])))):
                    if marker is None:
                        cv2.circle(out, at, 4 + rim, c, -1, cv2.LINE_AA)
                    else:
                        cv2.drawMarker(out, at, c, marker, 10 + rim, 3 + rim, cv2.LINE_AA)
    return out


def annotated_pictures(panels: Sequence[Mapping], title: str, *, cols: int = 3) -> go.Figure:
    """Pictures with the people that are labelled in them, joints by what their labels say; hover
    names the joint.

    A panel: `picture` [h w 3] (None: joints alone), `caption`, and as far as there are people
    `skeleton`, `xy_frame` [p k 2], `visibility` [p k]; optional `before` (flags ahead of an
    occlusion), `known` (False: the labels say nothing about occlusion), `box` (xyxy px, drawn),
    `number` (True: joints show their index), `poses` (name -> [k 2], colour, which joints are round
    and not crosses).
    """
    rows, gap = -(-len(panels) // cols), 36  # px between rows, for captions
    shapes = [(4, 5) if p["picture"] is None else p["picture"].shape for p in panels]
    aspects = [
        min(max(h / w for h, w, *_ in shapes[i : i + cols]), 1.4)
        for i in range(0, len(panels), cols)
    ]
    tall = (PAGE_PX - 20) / cols * np.array(aspects)  # px of each row
    whole = tall.sum() + (rows - 1) * gap
    figure = make_subplots(
        rows,
        cols,
        subplot_titles=[p["caption"] for p in panels],
        row_heights=(tall / tall.sum()).tolist(),
        horizontal_spacing=0.012,
        vertical_spacing=gap / whole,
    )
    shown = set()
    for i, panel in enumerate(panels):
        at = {"row": i // cols + 1, "col": i % cols + 1}
        xy = panel.get("xy_frame", np.zeros((0, 0, 2)))
        flags = panel.get("visibility", np.zeros(xy.shape[:2], int))
        if panel["picture"] is not None:
            h, w = panel["picture"].shape[:2]
            picture = {
                "source": data_uri(panel["picture"]),
                "x": -0.5,
                "y": -0.5,
                "sizex": w,
                "sizey": h,
            }
            figure.add_layout_image(picture | {"sizing": "stretch", "layer": "below"}, **at)
            picture_axes(figure, [-0.5, w - 0.5], [h - 0.5, -0.5], **at, constrain="domain")
            figure.update_yaxes(constraintoward="top", **at)
        else:
            picture_axes(figure, *around(xy[flags > 0], pad=0.1), **at)
        if (box := panel.get("box")) is not None:
            figure.add_shape(
                type="rect",
                x0=box[0],
                y0=box[1],
                x1=box[2],
                y1=box[3],
                line={"color": style.ON_PICTURE["bright"], "width": 2},
                **at,
            )
        if xy.size:
            states = joint_states(flags, panel.get("before"), known=panel.get("known", True))
            for trace in _people_traces(
                xy, states, panel["skeleton"], numbers=panel.get("number", False)
            ):
                trace.showlegend = trace.name in LOOKS and trace.name not in shown
                shown.add(trace.name)
                figure.add_trace(trace, **at)
        for name, (pose, colour, round_) in panel.get("poses", {}).items():
            for trace in pose_traces(
                pose, panel["skeleton"], name, colour, show_legend=name not in shown
            ):
                trace.marker.symbol = np.where(round_, "circle", "x").tolist()
                figure.add_trace(trace, **at)
            shown.add(name)
    figure.update_annotations(font_size=12)
    legend = {"orientation": "h", "y": -12 / whole, "yanchor": "top"}
    figure = page_layout(figure, title, round(whole) + 130, PAGE_PX, legend=legend)
    return figure.update_layout(margin={"l": 10, "r": 10, "t": 76, "b": 54})


def jpeg(picture: UInt8[np.ndarray, "h w 3"], longest: int | None = None) -> bytes:
    """An RGB picture as the bytes of a JPEG file, scaled down to a longest side of so many px."""
    if longest and (scale := longest / max(picture.shape[:2])) < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def data_uri(picture: UInt8[np.ndarray, "h w 3"], longest: int = 640) -> str:
    """An RGB picture as text that stands in a page as its source."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture, longest)).decode()


def _people_traces(xy, states, skeleton: Skeleton, *, numbers: bool) -> list[go.Scatter]:
    (x, y), size = bones(xy, skeleton, states != ""), 9 if len(xy) < 5 else 6
    traces = [
        go.Scatter(x=x, y=y, mode="lines", name="", hoverinfo="skip", line={"color": c, "width": w})
        for c, w in ((style.ON_PICTURE["dark"], 3), (style.ON_PICTURE["bright"], 1.5))
    ]
    for name, (colour, symbol, _) in LOOKS.items():
        person, joint = np.nonzero(states == name)
        if len(person):
            at = xy[person, joint]
            traces.append(
                go.Scatter(
                    x=at[:, 0],
                    y=at[:, 1],
                    mode="markers+text" if numbers else "markers",
                    name=name,
                    legendgroup=name,
                    text=joint if numbers else None,
                    textposition="top center",
                    textfont={"size": 12, "color": colour},
                    marker={
                        "color": colour,
                        "symbol": symbol,
                        "size": size,
                        "line": {"color": style.ON_PICTURE["bright"], "width": 1},
                    },
                    hovertext=[
                        f"{skeleton.joints[j]}, person {p}: {name}" for p, j in zip(person, joint)
                    ],
                    hoverinfo="text",
                )
            )
    return traces


def visibility_shares(
    labels: Mapping[str, tuple[Skeleton, Int[np.ndarray, "n k"], bool]], title: str
) -> go.Figure:
    """Shares of the flags by data set. labels: name -> skeleton, flags [n k], whether they know
    about occlusion.
    """
    colours = {label: LOOKS[label][0] for label in (VISIBLE, UNSTATED, HIDDEN)}
    colours["not labelled (0)"] = style.colour("line")
    rows = [
        {"data set": name, "label": label, "share of all joints": (flags == flag).mean()}
        for name, (_, flags, known) in labels.items()
        for flag, label in (
            (2, VISIBLE if known else UNSTATED),
            (1, HIDDEN),
            (0, "not labelled (0)"),
        )
    ]
    order = {"data set": list(labels), "label": list(colours)}
    figure = px.bar(
        rows,
        x="share of all joints",
        y="data set",
        color="label",
        color_discrete_map=colours,
        category_orders=order,
    )
    figure.update_xaxes(tickformat=".0%", range=[0, 1]).update_yaxes(title="")
    return page_layout(
        figure,
        title,
        190 + 30 * len(labels),
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "title": ""},
    )


def hidden_by_joint(
    labels: Mapping[str, tuple[Skeleton, Int[np.ndarray, "n k"], bool]], title: str
) -> go.Figure:
    """How many of the labelled joints are hidden, by kind of joint: left and right are one kind.
    labels as above.
    """
    rows = [
        {
            "joint": re.sub("^(left|right)_", "", joint),
            "set": name,
            "hidden": (f == 1).sum(),
            "all": (f > 0).sum(),
        }
        for name, (skeleton, flags, known) in labels.items()
        for joint, f in zip(skeleton.joints, flags.T)
        if known
    ]
    count = pd.DataFrame(rows).groupby(["joint", "set"], sort=False).sum()
    share = (count["hidden"] / count["all"]).unstack(sort=False)
    figure = px.imshow(
        share,
        text_auto=".0%",
        color_continuous_scale=style.SEQUENTIAL,
        zmin=0,
        zmax=1,
        aspect="auto",
    )
    figure.update_xaxes(title="").update_yaxes(title="")
    return page_layout(
        figure,
        title,
        460,
        coloraxis_colorbar={"title": "hidden", "tickformat": ".0%", "thickness": 10},
    )


def reliability(
    bins: Mapping[str, tuple[Float[np.ndarray, "b"], Float[np.ndarray, "b"], Int[np.ndarray, "b"]]],
    title: str,
) -> go.Figure:
    """Stated probability against frequency: name -> probability, frequency and count of bins,
    `metrics.calibration`'s.

    The areas of the dots grow with the counts; on the dotted line one could take the probabilities
    at their word.
    """
    figure = go.Figure()
    ideal = {"color": GREY, "dash": "dot"}
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="taken at its word", line=ideal, hoverinfo="skip"
    )
    colours = colours_of(list(bins))
    for name, (probability, frequency, count) in bins.items():
        figure.add_scatter(
            x=probability,
            y=frequency,
            mode="lines+markers",
            name=name,
            line={"color": colours[name]},
            customdata=count,
            marker={"size": 6 + 24 * np.sqrt(count / count.max()), "opacity": 0.75},
            hovertemplate="says %{x:.2f}, happens %{y:.2f}<br>"
            "%{customdata:,} joints<extra></extra>",
        )
    figure.update_xaxes(title="probability that the joint is visible", range=[-0.04, 1.04])
    figure.update_yaxes(title="share of joints that are visible", range=[-0.04, 1.04])
    return page_layout(figure, title, 460, 640)


def joint_bars(
    bars: Mapping[str, Float[np.ndarray, "k"]], skeleton: Skeleton, title: str, *, y_title: str
) -> go.Figure:
    """One bar a joint and name, side by side; shares are shown in percent."""
    table = pd.DataFrame(dict(bars), index=list(skeleton.joints))
    colours, labels = colours_of(list(bars)), {"index": "", "variable": ""}
    figure = px.bar(table, barmode="group", labels=labels, color_discrete_map=colours)
    figure.update_yaxes(title=y_title, tickformat=".0%").update_xaxes(tickangle=-50)
    return page_layout(
        figure, title, 420, legend={"orientation": "h", "y": 1, "yanchor": "bottom", "title": ""}
    )


def crowd_histogram(
    crowd_index: Float[np.ndarray, "n"],
    edges: Mapping[str, tuple[float, float]],
    title: str,
    *,
    top: float = 1.25,
) -> go.Figure:
    """Pictures by crowdIndex; edges: who publishes them -> ends of easy and medium, the last ones
    colour the bars.

    The last bar holds all from `top` - 0.05 on.
    """
    names = ("easy", "medium", "hard")
    which = np.digitize(crowd_index, list(edges.values())[-1])
    labels = [f"{name}: {(which == i).sum():,} pictures" for i, name in enumerate(names)]
    figure = px.histogram(
        x=crowd_index.clip(max=top - 1e-6),
        color=np.array(labels)[which],
        category_orders={"color": labels},
        color_discrete_sequence=style.series(3),
    )
    figure.update_traces(xbins={"start": 0, "end": top, "size": 0.05})
    for i, (who, ends) in enumerate(edges.items()):
        for edge in ends:
            line, text = {"dash": "dot", "color": GREY}, f"{edge} {who}"
            figure.add_vline(x=edge, line=line, annotation_text=text, annotation_yshift=-16 * i)
    figure.update_xaxes(title=f"crowdIndex (last bar: from {top - 0.05:g})", range=[0, top])
    figure.update_yaxes(title="pictures")
    return page_layout(
        figure, title, 400, bargap=0.06, legend={"orientation": "h", "y": -0.2, "title": ""}
    )


def noise_errors(
    diagnosis: Mapping[str, np.ndarray], title: str, *, given: str = "real"
) -> go.Figure:
    """Error quantiles by tenth of confidence, as `DetectorNoise.diagnose` found them; given:
    what it was fitted to.
    """
    rows = [
        {"tenth": tenth + 1, "error": error, "detector": name, "quantile": f"{percent} %"}
        for which, name in (("real", given), ("simulated", "simulated"))
        for tenth, errors in enumerate(diagnosis[f"error_{which}"])
        for percent, error in zip(diagnosis["quantiles"], errors)
    ]
    look = {
        "color_discrete_sequence": (DETECTED, GREY),
        "symbol": "quantile",
        "markers": True,
        "log_y": True,
    }
    figure = px.line(rows, x="tenth", y="error", color="detector", **look)
    figure.update_xaxes(title="tenth of the joints by confidence, least confident first", dtick=1)
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
    figure.update_yaxes(title="joint error, share of the long side (log)", tickvals=ticks)
    return page_layout(figure, title, 460)


def noise_confidence(
    diagnosis: Mapping[str, np.ndarray], title: str, *, given: str = "real"
) -> go.Figure:
    """How often the detector is how sure, as `DetectorNoise.diagnose` found it; given: what it
    was fitted to.
    """
    edges = diagnosis["confidence_edges"]
    shares = {given: diagnosis["share_real"], "simulated": diagnosis["share_simulated"]}
    table = pd.DataFrame(shares, index=(edges[1:] + edges[:-1]) / 2).rename_axis("confidence")
    figure = px.line(
        table,
        labels={"variable": "detector"},
        line_shape="hvh",
        color_discrete_sequence=(DETECTED, GREY),
    )
    figure.update_yaxes(title="share of the joints", tickformat=".0%", rangemode="tozero")
    return page_layout(figure, title, 360)


# --- motion ---------------------------------------------------------------------------------------

# Who says where a joint is, and how its line looks over time.
INPUT, ENCODED, FINAL, REAL = "input", "refined P'", "final P<sub>s</sub>", "truth"
VOICES = {
    REAL: (TRUTH, "lines", {"width": 3}, {}),
    INPUT: (DETECTED, "lines+markers", {"width": 1}, {"size": 4}),
    ENCODED: (style.colour("ink"), "markers", {}, {"size": 8, "symbol": "diamond-open"}),
    FINAL: (REFINED, "lines", {"width": 2.5}, {}),
}


def front(points: Sequence[Mapping], title: str) -> go.Figure:
    """Accuracy against calm: points of "method", "setting", "accel" (px a frame squared) and
    "pck_0.05" (percent). Rivals have one colour, and a symbol each.
    """
    figure = go.Figure()
    methods = dict.fromkeys(p["method"] for p in points)
    rivals = [method for method in methods if method not in ROLE_OF]
    for method in methods:
        own = sorted((p for p in points if p["method"] == method), key=lambda p: p["accel"])
        figure.add_scatter(
            x=[p["accel"] for p in own],
            y=[p["pck_0.05"] for p in own],
            name=method,
            text=[p["setting"] for p in own],
            mode="markers",
            marker={
                "color": style.colour(ROLE_OF.get(method, "rival")),
                "size": 9 if len(own) > 1 else 14,
                "symbol": rivals.index(method) + 1 if method in rivals else 0,
            },
            hovertemplate="%{text}<br>Accel %{x:.2f}, PCK@0.05 %{y:.1f}<extra>"
            + method
            + "</extra>",
        )
    figure.update_xaxes(
        title="Accel, px/frame² (log scale; left is calmer)",
        type="log",
        tickvals=[0.5, 1, 2, 5, 10, 20],
    )
    figure.update_yaxes(title="PCK@0.05, % (up is nearer)")
    return page_layout(figure, title, 420, 760)


def spans(flags: Bool[np.ndarray, "t"]) -> list[tuple[int, int]]:
    """First and last frame of every run of True."""
    edges = np.flatnonzero(np.diff(np.pad(flags.astype(np.int8), 1)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2])]


def shade(spans: Sequence[tuple[int, int]], colour: str = MASKED) -> list[dict]:
    """Shapes over frames first to last, from top to bottom of a figure whose panels share the x
    axis "x".
    """
    look = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "line_width": 0}
    return [
        look | {"x0": a - 0.5, "x1": b + 0.5, "fillcolor": colour, "opacity": 0.22}
        for a, b in spans
    ]


def shade_key(name: str, colour: str = MASKED) -> go.Scatter:
    """What shaded frames are, for the legend."""
    mark = {"symbol": "square", "size": 12, "color": colour, "opacity": 0.4}
    return go.Scatter(x=[None], y=[None], mode="markers", name=name, marker=mark)


def time_traces(
    lines: Mapping[str, tuple[Num[np.ndarray, "t"], Num[np.ndarray, "t"]]], *, legend: bool = True
) -> list[go.Scatter]:
    """Lines over frames: name -> (frames, values). Those of VOICES look the same everywhere,
    others run from dark to light.
    """
    colours = colours_of([name for name in lines if name not in VOICES])
    traces = []
    for name, (frames, values) in lines.items():
        colour, mode, line, marker = VOICES.get(
            name, (colours.get(name), "lines+markers", {"width": 2}, {"size": 5})
        )
        traces.append(
            go.Scatter(
                x=frames,
                y=values,
                mode=mode,
                name=name,
                legendgroup=name,
                showlegend=legend,
                line=line | {"color": colour},
                marker=marker | {"color": colour},
                hovertemplate=f"{name}, frame %{{x}}: %{{y:.2f}}<extra></extra>",
            )
        )
    return traces


def time_panels(
    panels: Mapping[str, Mapping[str, tuple[Num[np.ndarray, "t"], Num[np.ndarray, "t"]]]],
    title: str,
    *,
    shaded: Sequence[tuple[int, int]] = (),
    shaded_name: str = "burst of occlusion",
) -> go.Figure:
    """Panels over each other that share the frames: title of y -> name -> (frames, values).
    Counterpart of HANet Fig. 5.

    shaded: first and last frames of spans that stand out.
    """
    figure = make_subplots(len(panels), 1, shared_xaxes=True, vertical_spacing=0.04)
    seen = set()
    for row, (y_title, lines) in enumerate(panels.items(), 1):
        for trace in time_traces(lines):
            trace.showlegend = trace.name not in seen
            seen.add(trace.name)
            figure.add_trace(trace, row, 1)
        figure.update_yaxes(title=y_title, row=row, col=1)
    if shaded:
        figure.add_trace(shade_key(shaded_name))
    figure.update_xaxes(title="frame", row=len(panels), col=1)
    legend = {"orientation": "h", "y": 1.01, "yanchor": "bottom"}
    figure = page_layout(
        figure, title, 130 + 220 * len(panels), legend=legend, shapes=shade(shaded)
    )
    return figure.update_layout(
        margin_t=100, title={"y": 1 - 12 / figure.layout.height, "yanchor": "top"}
    )


def frame_map(
    weights: Float[np.ndarray, "q k"],
    asks: Int[np.ndarray, "q"],
    answers: Int[np.ndarray, "k"],
    bar: Mapping,
) -> go.Heatmap:
    """Attention from frame to frame: a row asks, a column answers; the axes are frame numbers of
    the window.
    """
    return attention_map(
        weights,
        asks,
        answers,
        "frame %{y} looks at frame %{x}",
        {"thickness": 9, **bar},
    )


def frame_maps(
    maps: Mapping[str, tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q"], Int[np.ndarray, "k"]]],
    title: str,
    *,
    cols: int = 3,
    shaded: Sequence[tuple[int, int]] = (),
) -> go.Figure:
    """Attention maps, name -> (weights, frames that ask, frames that answer), on the one scale;
    shaded columns framed.

    Counterpart of the attention in HANet Fig. 3; a token is a read frame, never a joint.
    """
    rows = -(-len(maps) // cols)
    figure = make_subplots(
        rows,
        cols,
        subplot_titles=list(maps),
        horizontal_spacing=0.07,
        vertical_spacing=0.22 / max(rows, 1),
    )
    for i, (weights, asks, answers) in enumerate(maps.values()):
        at = {"row": i // cols + 1, "col": i % cols + 1}
        trace = frame_map(weights, asks, answers, {}).update(showscale=not i)
        figure.add_trace(trace, **at)
        for a, b in shaded:
            line = {"color": style.colour("hidden"), "width": 2}
            figure.add_shape(
                type="rect",
                x0=a - 0.5,
                x1=b + 0.5,
                y0=asks[0] - 1,
                y1=asks[-1] + 1,
                line=line,
                **at,
            )
        figure.update_yaxes(autorange="reversed", **at)
        figure.update_xaxes(title="frame that answers" if at["row"] == rows else "", **at)
        if at["col"] == 1:
            figure.update_yaxes(title="frame that asks", **at)
    return page_layout(figure, title, 110 + 300 * rows)


def pose_strip(
    frames: Mapping[str, Mapping[str, Float[np.ndarray, "k 2"]]],
    skeleton: Skeleton,
    title: str,
    *,
    height: int = 330,
) -> go.Figure:
    """Poses of several frames side by side on one scale: caption -> name of VOICES -> px.
    Counterpart of HANet Fig. 4.
    """
    figure = make_subplots(1, len(frames), subplot_titles=list(frames), horizontal_spacing=0.01)
    points = [np.stack(list(poses.values())) for poses in frames.values()]
    side = max(np.ptp(p.reshape(-1, 2), 0).max() for p in points)
    for col, (poses, xy) in enumerate(zip(frames.values(), points), 1):
        for name, pose in poses.items():
            for trace in pose_traces(
                pose, skeleton, name, VOICES[name][0], show_legend=col == 1, width=2.5
            ):
                figure.add_trace(
                    trace.update(opacity=0.8, marker_size=5 if trace.mode == "markers" else None),
                    1,
                    col,
                )
        middle = (xy.reshape(-1, 2).min(0) + xy.reshape(-1, 2).max(0)) / 2
        (left, right), (low, high) = around(middle + np.array([[-side], [side]]) / 2, pad=0.04)
        picture_axes(figure, [left, right], [low, high], 1, col)
    return page_layout(figure, title, height, legend={"orientation": "h", "y": -0.02})


def kinematics_figure(
    poses: Mapping[str, Float[np.ndarray, "k 2"]],
    arrows: Mapping[str, tuple[Float[np.ndarray, "k 2"], float]],
    skeleton: Skeleton,
    title: str,
) -> go.Figure:
    """Poses over each other, oldest first and lightest, and arrows from the last one, in ink:
    the second kind dotted. Counterpart of HANet Fig. 1.

    arrows: name -> (vectors in px, how many times enlarged they are drawn).
    """
    figure, last = make_subplots(), list(poses.values())[-1]
    shades = style.series(len(poses))[::-1]
    for (name, xy), colour in zip(poses.items(), shades):
        figure.add_traces(pose_traces(xy, skeleton, name, colour))
    ink = style.colour("ink")
    for (name, (vectors, times)), dash in zip(arrows.items(), ("solid", "dot")):
        ends = np.stack((last, last + times * vectors, np.full_like(last, np.nan)), 1).reshape(
            -1, 2
        )
        sizes = np.linalg.norm(vectors, axis=-1)
        figure.add_trace(
            go.Scatter(
                x=ends[:, 0],
                y=ends[:, 1],
                mode="lines+markers",
                name=f"{name}, drawn {times:g} times as long",
                line={"color": ink, "width": 2, "dash": dash},
                hoverinfo="text",
                marker={
                    "symbol": ["circle", "arrow", "circle"] * len(last),
                    "angleref": "previous",
                    "color": ink,
                    "size": [1, 11, 1] * len(last),
                },
                hovertext=[
                    f"{j}: {name} {s:.1f} px"
                    for j, s in zip(skeleton.joints, sizes)
                    for _ in range(3)
                ],
            )
        )
    picture_axes(figure, *around(np.stack(list(poses.values()))))
    return page_layout(figure, title, 520)
