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
        row = {
            "": name,
            "visible joints, px": away[flags == 2].mean(),
            "occluded joints, px": away[flags == 1].mean(),
            "answer moves, px": joint_distances(xy, first).mean(),
        }
        rows.append(row)
    return rows


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
    their opacity, which needs no kernel. points: name of a role -> a place in each
    panel, px of the crop.
    """
    panels, looks = [], {"colorscale": SEE_THROUGH, "showscale": False, "showlegend": False}
    looks |= {"hovertemplate": "(%{x:.0f}, %{y:.0f}) px: %{z:.3g}<extra></extra>", "opacity": 0.8}
    for i, (picture, text, grid) in enumerate(zip(pictures, captions, maps)):
        y, x = (np.arange(n) for n in grid.shape)
        at = {"x": to_crop[0, 0] * x + to_crop[0, 2], "y": to_crop[1, 1] * y + to_crop[1, 2]}
        traces = [go.Heatmap(z=grid, zmin=0, zmax=max(float(grid.max()), 1e-6), **at, **looks)]
        for name, places in (points or {}).items():
            line = {"width": 2, "color": style.colour(name)}
            mark = {"symbol": "x-thin", "size": 9, "line": line}
            traces.append(figures.places(places[[i]], name, marker=mark))
        caption = f"{text}<br>up to {grid.max():.2g}"
        panels.append({"picture": picture, "caption": caption, "traces": traces})
    figure = figures.annotated_pictures(panels, title, cols=cols)
    which = [i for i, trace in enumerate(figure.data) if trace.type == "heatmap"]
    steps = [
        {"method": "restyle", "label": f"{o / 5:g}", "args": [{"opacity": o / 5}, which]}
        for o in range(6)
    ]
    slider = {
        "active": 4,
        "steps": steps,
        "currentvalue": {"prefix": "opacity of the maps: ", "font": {"size": 12}},
        "len": 0.4,
        "y": -44 / (figure.layout.height - 130),
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
) -> dict:
    """The key frame's crop with the true pose and others, px of the crop, for
    `annotated_pictures`; crosses are occluded.
    """
    t = len(window.crops) // 2
    flags = window.visibility[t]
    labelled = np.where((flags > 0)[:, None], window.xy_crop[t], np.nan)
    drawn = {figures.REAL: {"xy_frame": labelled, "marked": flags != 2, "symbol": "x"}}
    drawn |= {name: {"xy_frame": xy} for name, xy in poses.items()}
    return {"picture": window.crops[t], "caption": caption, "skeleton": skeleton, "poses": drawn}
