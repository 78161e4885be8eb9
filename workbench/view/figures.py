"""Arrays in, plotly figures out: titles, units, legends; no torch, no files, no state."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float, Int, Num, UInt8
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from ..skeletons import Skeleton
from . import style

TRUTH, DETECTED, REFINED = map(style.colour, ("truth", "detector", "ours"))
MASKED, GREY = map(style.colour, ("hidden", "soft"))
CONFIDENCE_SCALE = style.SEQUENTIAL
LAYOUT = {
    "template": style.template(),
    "margin": {"l": 60, "r": 20, "t": 70, "b": 50},
}
ABOVE = {"orientation": "h", "y": 1, "yanchor": "bottom", "title": ""}  # a legend's place
# The toolbar of `tools` saves pictures in print quality; plotly's own camera does not.
CONFIG = {
    "showSendToCloud": False,
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["toImage"],
}
INPUT, ENCODED, FINAL, REAL = "input", "refined P'", "final P<sub>s</sub>", "truth"


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
    segments = xy[..., ends, :].astype(float)
    if labelled is not None:
        segments = segments[labelled[..., ends].all(-1)]
    segments = segments.reshape(-1, 2, 2)
    gaps = np.full_like(segments[:, :1], np.nan)
    return np.concatenate((segments, gaps), 1).reshape(-1, 2).T


def places(
    xy: Num[np.ndarray, "n 2"], name: str, hover: Sequence[str] | None = None, **look
) -> go.Scatter:
    """Joints, or a line through places, below a name of the legend."""
    hovers = {"hovertext": hover, "hoverinfo": "skip" if hover is None else "text"}
    look = {"mode": "markers", "legendgroup": name} | hovers | look
    return go.Scatter(x=xy[:, 0], y=xy[:, 1], name=name, **look)


def pose_traces(
    xy_frame: Float[np.ndarray, "k 2"],
    skeleton: Skeleton,
    name: str,
    colour: str | None = None,
    *,
    confidence: Float[np.ndarray, "k"] | None = None,
    marked: Bool[np.ndarray, "k"] | None = None,
    symbol: str = "diamond",
    width: float = 2,
    size: float = 8,
    opacity: float = 1,
) -> list[go.Scatter]:
    """Two traces, bones and joints; joints on the figure's colour axis by confidence if given, the
    marked ones with a symbol of their own. colour: the name's, unless given.
    """
    colour = colour or style.palette([name])[name]
    x, y = bones(xy_frame, skeleton)
    hover = [
        f"{joint}<br>({x:.1f}, {y:.1f}) px" for joint, (x, y) in zip(skeleton.joints, xy_frame)
    ]
    marker = {"size": size, "color": colour}
    if confidence is not None:
        hover = [f"{text}<br>confidence {c:.2f}" for text, c in zip(hover, confidence)]
        rim = {"width": 1, "color": colour}
        marker = {"size": 9, "color": confidence, "coloraxis": "coloraxis", "line": rim}
    if marked is not None:
        marker["symbol"] = np.where(marked, symbol, "circle").tolist()
        if symbol == "diamond":
            marker["size"] = np.where(marked, 13, marker["size"]).tolist()
    marker["opacity"] = 1  # plotly's own is less where sizes differ
    line = {"color": colour, "width": width}
    return [
        places(np.stack((x, y), 1), name, mode="lines", line=line, opacity=opacity),
        places(xy_frame, name, hover, marker=marker, opacity=opacity, showlegend=False),
    ]


def arrows(
    tails: Float[np.ndarray, "n 2"],
    tips: Float[np.ndarray, "n 2"],
    name: str,
    hover: Sequence[str],
    colour: str,
    *,
    starts: Sequence[str] | None = None,
    dash: str = "solid",
) -> go.Scatter:
    """An arrow from each tail to its tip, with a text. starts: colours of dots on the tails."""
    ends = np.stack((tails, tips, np.full_like(tips, np.nan)), 1).reshape(-1, 2)
    colours = [(start, colour, colour) for start in starts or [colour] * len(tails)]
    marker = {
        "symbol": ["circle", "arrow", "circle"] * len(tails),
        "angleref": "previous",
        "size": [6 if starts else 1, 12, 1] * len(tails),
        "color": np.ravel(colours).tolist(),
        "line": {"width": 0},
    }
    line = {"color": colour, "width": 2, "dash": dash}
    hover = np.repeat(hover, 3).tolist()
    return places(ends, name, hover, mode="lines+markers", line=line, marker=marker)


def around(
    points: Num[np.ndarray, "n 2"], side: float | None = None, pad: float = 0.08
) -> tuple[list, list]:
    """Ranges of x, and of y pointing down, of a square about the points that are not NaN. side:
    its own, px, where the points do not decide; pad: the share of it that stays free.
    """
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    (x, y), half = (low + high) / 2, (side or (high - low).max()) * (0.5 + pad) + 1e-6
    return [x - half, x + half], [y + half, y - half]


def picture_axes(figure: go.Figure, x: list, y: list, row: int = 1, col: int = 1, **kw) -> None:
    """Equal axes of these ranges; no ticks, the hover says px."""
    anchor = figure.get_subplot(row, col).xaxis.plotly_name.replace("xaxis", "x")
    at = {"row": row, "col": col, "visible": False, **kw}
    figure.update_xaxes(range=x, **at)
    figure.update_yaxes(range=y, scaleanchor=anchor, **at)


def refinement_grid(
    detected: Float[np.ndarray, "n k 2"],
    refined: Float[np.ndarray, "n k 2"],
    confidence: Float[np.ndarray, "n k"],
    replaced: Bool[np.ndarray, "n k"],
    skeleton: Skeleton,
    title: str,
    *,
    captions: Sequence[str],
    truth: Float[np.ndarray, "n k 2"] | None = None,
) -> go.Figure:
    """Arrows from each replaced joint to its new place, coloured by confidence. Counterpart of
    PORT Fig. 3.
    """
    panels = []
    for i, moved in enumerate(map(np.flatnonzero, replaced)):
        poses = {"detector": {"xy_frame": detected[i], "confidence": confidence[i], "width": 1.5}}
        if truth is not None:
            below = {"xy_frame": truth[i], "width": 1.5, "opacity": 0.65}
            poses = {"ground truth": below, **poses}
        away = np.linalg.norm(refined[i] - detected[i], axis=-1)
        words = [
            f"{skeleton.joints[j]}, confidence {confidence[i, j]:.2f}, moved {away[j]:.1f} px"
            for j in moved
        ]
        starts = sample_colorscale(CONFIDENCE_SCALE, confidence[i, moved].clip(0, 1).tolist())
        ends = (detected[i, moved], refined[i, moved])
        panel = {"skeleton": skeleton, "poses": poses, "caption": captions[i]}
        if len(moved):
            panel["traces"] = [arrows(*ends, "moved by PORT", words, REFINED, starts=starts)]
        panels.append(panel)
    return annotated_pictures(panels, title, cols=min(len(panels), 3), aspect=1.0)


def flow_of_shapes(
    names: Sequence[str], shapes: Sequence[str], axes: Sequence[str], *, title: str
) -> go.Figure:
    """Boxes from left to right with what passes between them: the way of a tensor. Counterpart
    of PORT Fig. 2.
    """
    figure, per_row = go.Figure(), 6
    rows = -(-len(names) // per_row)
    for i, texts in enumerate(zip(names, shapes, axes)):
        (y, x), (next_y, next_x) = divmod(i, per_row), divmod(i + 1, per_row)
        box = {"x0": x - 0.44, "x1": x + 0.44, "y0": y - 0.3, "y1": y + 0.3}
        look = {"line": {"color": GREY, "width": 1.5}, "fillcolor": style.colour("tint")}
        figure.add_shape(layer="below", **box, **look)
        name, shape, axis = ("<br>".join(textwrap.wrap(text, 18)) for text in texts)
        text = f"<b>{name}</b><br>{shape}<br><i>{axis}</i>"
        figure.add_annotation(x=x, y=y, text=text, showarrow=False, font={"size": 10})
        if i + 1 < len(names):
            ends = {"ax": x + 0.44, "ay": y, "x": next_x - 0.44, "y": y}
            if next_y > y:
                ends = {"ax": x, "ay": y + 0.3, "x": next_x, "y": next_y - 0.3}
            look = {"axref": "x", "ayref": "y", "arrowhead": 2, "arrowcolor": GREY}
            figure.add_annotation(text="", **ends, **look)
    figure.update_xaxes(visible=False, range=[-0.55, per_row - 0.45])
    figure.update_yaxes(visible=False, range=[rows - 0.55, -0.45])
    return page_layout(figure, title, 80 + 120 * rows)


# --- pictures and labels --------------------------------------------------------------------------

PAGE_PX = 900  # width of figures that hold pictures: the column of a page
# What a joint's label says, its colour and plotly's symbol.
VISIBLE, HIDDEN, NEWLY_HIDDEN, UNSTATED = (
    "visible (2)",
    "hidden (1)",
    "newly hidden (2 → 1)",
    "labelled, nothing said",
)
LOOKS = {
    VISIBLE: (style.colour("visible"), "circle"),
    HIDDEN: (style.colour("hidden"), "x"),
    NEWLY_HIDDEN: (style.colour("newly_hidden"), "diamond"),
    UNSTATED: (GREY, "square"),
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


def annotated_pictures(
    panels: Sequence[Mapping],
    title: str,
    *,
    cols: int = 3,
    aspect: float = 0.8,
    one_scale: bool = False,
) -> go.Figure:
    """Pictures with the people that are labelled in them, joints by what their labels say, or
    people and poses alone; hover names the joint.

    A panel: `caption`; as far as there are `picture` [h w 3]; `skeleton`, `xy_frame` [p k 2],
    `visibility` [p k], `before` (flags ahead of an occlusion), `known` (False: the labels say
    nothing about occlusion), `number` (True: joints show their index); `poses` (name -> keyword
    arguments of `pose_traces`); `traces` of its own; `box` (xyxy px, drawn).
    aspect: height over width of panels without a picture; one_scale: those have one scale.
    """
    rows, gap = -(-len(panels) // cols), 36  # px between rows, for captions
    pictures = [panel.get("picture") for panel in panels]
    aspects = [aspect if p is None else p.shape[0] / p.shape[1] for p in pictures]
    highest = [min(max(aspects[i : i + cols]), 1.4) for i in range(0, len(panels), cols)]
    tall = (PAGE_PX - 20) / cols * np.array(highest)  # px of each row
    whole = tall.sum() + (rows - 1) * gap
    figure = make_subplots(
        rows,
        cols,
        subplot_titles=[p["caption"] for p in panels],
        row_heights=(tall / tall.sum()).tolist(),
        horizontal_spacing=0.012,
        vertical_spacing=gap / whole,
    )
    drawn = [_panel_traces(panel) for panel in panels]
    points = {i: _points(drawn[i]) for i, picture in enumerate(pictures) if picture is None}
    side = max(np.ptp(xy, 0).max() for xy in points.values()) if one_scale else None
    shown = set()
    for i, (panel, traces) in enumerate(zip(panels, drawn)):
        at = {"row": i // cols + 1, "col": i % cols + 1}
        if i in points:
            picture_axes(figure, *around(points[i], side), **at)
        else:
            _lay(figure, pictures[i], at)
        if (box := panel.get("box")) is not None:
            ends = dict(zip(("x0", "y0", "x1", "y1"), box))
            figure.add_shape(line={"color": style.ON_PICTURE["bright"], "width": 2}, **ends, **at)
        for trace in traces:
            if trace.showlegend is not False:
                trace.showlegend = trace.name not in shown
                shown.add(trace.name)
            figure.add_trace(trace, **at)
    figure.update_annotations(font_size=12)
    legend = {"orientation": "h", "y": -12 / whole, "yanchor": "top"}
    figure = page_layout(figure, title, round(whole) + 130, PAGE_PX, legend=legend)
    bar = {"title": "detector<br>confidence", "len": 0.7, "thickness": 12, "y": 0.4}
    sure = {"colorscale": CONFIDENCE_SCALE, "cmin": 0, "cmax": 1, "colorbar": bar}
    figure.layout.coloraxis = sure
    return figure.update_layout(margin={"l": 10, "r": 10, "t": 76, "b": 54})


def _points(traces: Sequence[go.Scatter]) -> np.ndarray:
    """All places of some traces that are not gaps, [n 2]."""
    xy = np.concatenate([np.stack((trace.x, trace.y), -1) for trace in traces])
    return xy[~np.isnan(xy).any(-1)]


def _lay(figure: go.Figure, picture: np.ndarray, at: dict) -> None:
    """A picture below a panel, at the top of it."""
    h, w = picture.shape[:2]
    place = {"x": -0.5, "y": -0.5, "sizex": w, "sizey": h, "sizing": "stretch", "layer": "below"}
    figure.add_layout_image(source=data_uri(picture), **place, **at)
    top = {"constrain": "domain", "constraintoward": "top"}
    picture_axes(figure, [-0.5, w - 0.5], [h - 0.5, -0.5], **at, **top)


def jpeg(picture: UInt8[np.ndarray, "h w 3"], longest: int | None = None) -> bytes:
    """An RGB picture as the bytes of a JPEG file, scaled down to a longest side of so many px."""
    if longest and (scale := longest / max(picture.shape[:2])) < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def data_uri(picture: UInt8[np.ndarray, "h w 3"], longest: int = 640) -> str:
    """An RGB picture as text that stands in a page as its source."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture, longest)).decode()


def _panel_traces(panel: Mapping) -> list:
    """What a panel of `annotated_pictures` shows over its picture."""
    traces = []
    if "xy_frame" in panel:
        known = panel.get("known", True)
        states = joint_states(panel["visibility"], panel.get("before"), known=known)
        numbers = panel.get("number", False)
        traces += _people_traces(panel["xy_frame"], states, panel["skeleton"], numbers=numbers)
    for name, look in panel.get("poses", {}).items():
        traces += pose_traces(skeleton=panel["skeleton"], name=name, **look)
    return traces + panel.get("traces", [])


def _people_traces(xy, states, skeleton: Skeleton, *, numbers: bool) -> list[go.Scatter]:
    line, size = np.stack(bones(xy, skeleton, states != ""), 1), 9 if len(xy) < 5 else 6
    bright, dark = style.ON_PICTURE["bright"], style.ON_PICTURE["dark"]
    traces = [
        places(line, "", mode="lines", line={"color": c, "width": w}, showlegend=False)
        for c, w in ((dark, 3), (bright, 1.5))
    ]
    for name, (colour, symbol) in LOOKS.items():
        person, joint = np.nonzero(states == name)
        if not len(person):
            continue
        words = [f"{skeleton.joints[j]}, person {p}: {name}" for p, j in zip(person, joint)]
        rim = {"color": bright, "width": 1}
        marker = {"color": colour, "symbol": symbol, "size": size, "line": rim}
        dots = places(xy[person, joint], name, words, marker=marker)
        if numbers:
            font = {"size": 12, "color": colour}
            dots.update(mode="markers+text", text=joint, textposition="top center", textfont=font)
        traces.append(dots)
    return traces


# --- motion ---------------------------------------------------------------------------------------

# How the line of who says where a joint is looks over time.
VOICES = {
    REAL: ("lines", {"width": 3}, {}),
    INPUT: ("lines+markers", {"width": 1}, {"size": 4}),
    ENCODED: ("markers", {}, {"size": 8, "symbol": "diamond-open"}),
    FINAL: ("lines", {"width": 2.5}, {}),
}


def spans(flags: Bool[np.ndarray, "t"]) -> list[tuple[int, int]]:
    """First and last frame of every run of True."""
    edges = np.flatnonzero(np.diff(np.pad(flags.astype(np.int8), 1)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2])]


def time_panels(
    panels: Mapping[str, Mapping[str, tuple[Num[np.ndarray, "t"], Num[np.ndarray, "t"]]]],
    title: str,
    *,
    shaded: Sequence[tuple[int, int]] = (),
) -> go.Figure:
    """Panels over each other that share the frames: title of y -> name -> (frames, values).
    Counterpart of HANet Fig. 5.

    Names of VOICES look the same everywhere, others a colour of `style.palette`. shaded: first and
    last frames of bursts of occlusion.
    """
    figure = make_subplots(len(panels), 1, shared_xaxes=True, vertical_spacing=0.04)
    seen = set()
    for row, (y_title, lines) in enumerate(panels.items(), 1):
        colours = style.palette(list(lines))
        for name, (frames, values) in lines.items():
            plain = ("lines+markers", {"width": 2}, {"size": 5})
            mode, line, marker = VOICES.get(name, plain)
            figure.add_scatter(
                x=frames,
                y=values,
                mode=mode,
                name=name,
                legendgroup=name,
                showlegend=name not in seen,
                line=line | {"color": colours[name]},
                marker=marker | {"color": colours[name]},
                hovertemplate=f"{name}, frame %{{x}}: %{{y:.2f}}<extra></extra>",
                row=row,
                col=1,
            )
            seen.add(name)
        figure.update_yaxes(title=y_title, row=row, col=1)
    for i, (first, last) in enumerate(shaded):
        look = {"fillcolor": MASKED, "opacity": 0.22, "line_width": 0, "layer": "below"}
        key = {
            "name": "burst of occlusion",
            "showlegend": i == 0,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
        }
        figure.add_shape(x0=first - 0.5, x1=last + 0.5, **look, **key)
    figure.update_xaxes(title="frame", row=len(panels), col=1)
    height = 130 + 220 * len(panels)
    figure = page_layout(figure, title, height, legend=ABOVE | {"y": 1.01})
    return figure.update_layout(margin_t=100, title={"y": 1 - 12 / height, "yanchor": "top"})


def kinematics_figure(
    poses: Mapping[str, Float[np.ndarray, "k 2"]],
    moves: Mapping[str, tuple[Float[np.ndarray, "k 2"], float]],
    skeleton: Skeleton,
    title: str,
) -> go.Figure:
    """Poses over each other, oldest first and lightest, and arrows from the last one, in ink:
    the second kind dotted. Counterpart of HANet Fig. 1.

    moves: name -> (vectors in px, how many times enlarged they are drawn).
    """
    last, ink = list(poses.values())[-1], style.colour("ink")
    shades = style.series(len(poses))[::-1]
    drawn = {
        name: {"xy_frame": xy, "colour": colour}
        for (name, xy), colour in zip(poses.items(), shades)
    }
    traces = []
    for (name, (vectors, times)), dash in zip(moves.items(), ("solid", "dot")):
        sizes = np.linalg.norm(vectors, axis=-1)
        words = [f"{joint}: {name} {size:.1f} px" for joint, size in zip(skeleton.joints, sizes)]
        key = f"{name}, drawn {times:g} times as long"
        traces.append(arrows(last, last + times * vectors, key, words, ink, dash=dash))
    panel = {"caption": "", "skeleton": skeleton, "poses": drawn, "traces": traces}
    return annotated_pictures([panel], title, cols=1, aspect=0.45)
