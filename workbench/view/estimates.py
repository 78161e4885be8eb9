"""Estimators that answer on crops with heatmaps: what one pass leaves, and maps over pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ..codecs import decode_heatmaps, transform
from ..data.windows import Window
from ..metrics import joint_distances
from ..predict import PoseEstimator
from ..skeletons import Skeleton
from . import figures, style

# Who says where a joint is.
SINGLE, MEAN, LINE, FLOW = "single frame", "mean of five frames", "straight line", "optical flow"
ROLES = {
    figures.REAL: "truth",
    SINGLE: "detector",
    MEAN: "rival",
    LINE: "soft",
    FLOW: "rival",
    "OTPose": "ours",
    "STDPose": "ours",
}
COLOURS = {name: style.colour(role) for name, role in ROLES.items()}
Edits = Mapping[str, Callable[[Tensor], Tensor]]
# nothing where a map is 0, so that the picture stays; then from yellow to red
SEE_THROUGH = [[0, "rgba(255,225,77,0)"], [0.4, "rgba(255,170,30,0.6)"], [1, "rgba(200,0,40,0.95)"]]


@dataclass(frozen=True, eq=False)
class Inside:
    """n people in one pass behind the single-frame estimator; maps on the heatmaps' grid."""

    xy_crop: Float[np.ndarray, "n k 2"]  # px
    heatmaps: Float[np.ndarray, "n k h w"]
    taps: dict[str, np.ndarray]


def peaks(estimator: PoseEstimator, maps: Float[Tensor, "n k h w"]) -> Float[np.ndarray, "n k 2"]:
    """Where maps on the heatmaps' grid are highest, px of the crop."""
    return transform(estimator.model.to_crop.cpu(), decode_heatmaps(maps.float().cpu())[0]).numpy()


def error_rows(
    answers: Mapping[str, Float[np.ndarray, "n k 2"]],
    truth: Float[np.ndarray, "n k 2"],
    flags: Int[np.ndarray, "n k"],
) -> list[dict]:
    """Mean distances from the truth, px of the crop, and how far the answers have moved from the
    first.
    """
    rows, first = [], next(iter(answers.values()))
    for name, xy in answers.items():
        away = joint_distances(xy, truth)
        parts = {
            f"{kind} joints, px": away[flags == flag].mean()
            for kind, flag in (("visible", 2), ("occluded", 1))
        }
        rows.append({"": name} | parts | {"answer moves, px": joint_distances(xy, first).mean()})
    return rows


def map_trace(
    to_crop: Float[np.ndarray, "2 3"], grid: Float[np.ndarray, "y x"], opacity: float = 0.8
) -> go.Heatmap:
    """A map over a crop, from 0 to its own highest value, see-through where it is low."""
    x, y = (
        to_crop[i, i] * np.arange(n) + to_crop[i, 2]
        for i, n in ((0, grid.shape[1]), (1, grid.shape[0]))
    )
    return go.Heatmap(
        z=grid,
        x=x,
        y=y,
        zmin=0,
        zmax=max(float(grid.max()), 1e-6),
        colorscale=SEE_THROUGH,
        showscale=False,
        opacity=opacity,
        hovertemplate="(%{x:.0f}, %{y:.0f}) px: %{z:.3g}<extra></extra>",
    )


def maps_over(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    maps: Sequence[Float[np.ndarray, "y x"]],
    captions: Sequence[str],
    title: str,
    to_crop: Float[np.ndarray, "2 3"],
    *,
    cols: int = 5,
    points: Mapping[str, Float[np.ndarray, "n 2"]] | None = None,
) -> go.Figure:
    """Maps over pictures, each on its own scale (the caption says up to what), and a slider of
    their opacity, which needs no kernel. points: name of COLOURS -> a place in each panel, px of
    the crop.
    """
    told = [f"{text}<br>up to {grid.max():.2g}" for text, grid in zip(captions, maps)]
    figure = figures.annotated_pictures(
        [{"picture": p, "caption": c} for p, c in zip(pictures, told)], title, cols=cols
    )
    for i, grid in enumerate(maps):
        figure.add_trace(map_trace(to_crop, grid), i // cols + 1, i % cols + 1)
    for name, places in (points or {}).items():
        for i, (x, y) in enumerate(places):
            mark = {"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": COLOURS[name]}}
            dot = go.Scatter(
                x=[x],
                y=[y],
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=i == 0,
                marker=mark,
            )
            figure.add_trace(dot, i // cols + 1, i % cols + 1)
    change, every = {"method": "restyle"}, list(range(len(maps)))
    steps = [
        change | {"label": f"{o / 5:g}", "args": [{"opacity": o / 5}, every]} for o in range(6)
    ]
    bar = {"prefix": "opacity of the maps: ", "font": {"size": 12}}
    bottom = -44 / (figure.layout.height - 130)
    slider = {
        "active": 4,
        "steps": steps,
        "currentvalue": bar,
        "len": 0.4,
        "y": bottom,
        "pad": {"t": 10},
    }
    return figure.update_layout(
        sliders=[slider], height=figure.layout.height + 104, margin={"t": 90, "b": 144}
    )


def crop_panel(
    window: Window,
    caption: str,
    skeleton: Skeleton,
    poses: Mapping[str, Float[np.ndarray, "k 2"]],
    colours: Mapping[str, str] = COLOURS,
) -> dict:
    """The key frame's crop with the true pose and others (px of the crop, by their names in
    `colours`), for `annotated_pictures`; crosses are occluded.
    """
    t = len(window.crops) // 2
    flags = window.visibility[t]
    drawn = {
        figures.REAL: (
            np.where((flags > 0)[:, None], window.xy_crop[t], np.nan),
            COLOURS[figures.REAL],
            flags == 2,
        )
    }
    drawn |= {name: (xy, colours[name], np.ones(len(xy), bool)) for name, xy in poses.items()}
    return {"picture": window.crops[t], "caption": caption, "skeleton": skeleton, "poses": drawn}
