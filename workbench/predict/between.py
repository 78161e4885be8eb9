"""What STDPose is given between labels, interventions in it (its mask made even, image tokens
blanked out, parts exchanged for somebody else's), where its tokens lie, and errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .. import geometry
from ..data.windows import Windows
from ..metrics import joint_distances
from ..models.stdpose import PATCH, STDPose
from ..records import Detections
from ..skeletons import Skeleton
from ..taps import swapped
from .estimate import Propagator, between_inputs

# what the network is given of n people, features in the place of pictures
Seen = Mapping[str, Tensor]
Edits = dict[str, Callable[[Tensor], Tensor]]  # of `taps.record`


def see(propagator: Propagator, windows: Windows, rows: Sequence[int] | None = None) -> Seen:
    """The network's arguments for windows (all by default), pictures read by the backbone: what
    is slow, once.
    """
    rows = np.arange(len(windows)) if rows is None else np.asarray(rows)
    parts = []
    with torch.inference_mode():
        for part in np.array_split(rows, max(-(-len(rows) // 32), 1)):
            given = between_inputs(windows.batch(part))
            inputs = {name: value.to(propagator.device) for name, value in given.items()}
            parts.append(inputs | {"features": propagator.model.features_of(inputs.pop("images"))})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def even(x: Tensor) -> Tensor:
    """An edit: the same everywhere, with the same sum."""
    return x.mean((-2, -1), keepdim=True).expand_as(x)


def blanked(chosen: Bool[np.ndarray, "n token"]) -> Edits:
    """An edit: the image tokens of these places say no more than the mean of the picture's
    tokens.
    """

    def edit(fused: Tensor) -> Tensor:
        at = torch.as_tensor(chosen, device=fused.device).view(-1, 1, *fused.shape[2:])
        return torch.where(at, fused.mean((2, 3), keepdim=True), fused)

    return {"tff.out": edit}


# what can be somebody else's -> its tap, and which of its three frames; none: all of it
PARTS = {
    "left label": ("frames", [0]),
    "right label": ("frames", [2]),
    "pictures": ("tff.out", []),
    "mask": ("dam.out", []),
}


def exchanged(parts: Iterable[str], step: int = 1) -> Edits:
    """An edit: these of `PARTS` are those of the person so many rows before."""
    frames: dict[str, list[int]] = {}
    for tap, at in map(PARTS.get, parts):
        frames[tap] = frames.get(tap, []) + at
    return {tap: swapped(step, at) for tap, at in frames.items()}


def strongest(weights: Float[np.ndarray, "n token"], count: int) -> Bool[np.ndarray, "n token"]:
    """So many highest places of each row; negate the weights for the lowest."""
    return weights.argsort(1).argsort(1) >= weights.shape[1] - count


def token_grid(model: STDPose) -> tuple[int, int]:
    """Columns and rows of tokens, of heatmaps and picture alike."""
    width, height = model.config.padded
    return width // PATCH, height // PATCH


def token_at(model: STDPose, xy_crop: Float[np.ndarray, "*n k 2"]) -> Int[np.ndarray, "*n k"]:
    """Number of the heatmap token in which a place lies, or of the nearest one."""
    columns, rows = token_grid(model)
    to_heatmap = geometry.invert(model.to_crop.double().cpu().numpy())
    xy = geometry.apply(to_heatmap, np.asarray(xy_crop, float)) + 0.5
    x, y = np.moveaxis((xy // 2 ** len(model.config.deconv)).astype(int), -1, 0)
    return y.clip(0, rows - 1) * columns + x.clip(0, columns - 1)


def errors(windows: Windows, found: Detections) -> Float[np.ndarray, "n k"]:
    """Distances from the truth, px of the picture; NaN where the truth has no label."""
    truth = windows.poses()
    return np.where(truth.labelled, joint_distances(found.xy_frame, truth.xy_frame), np.nan)


def scales(windows: Windows) -> Float[np.ndarray, "n"]:
    """How many px of the crop a px of the picture is, by window."""
    return np.sqrt(np.abs(np.linalg.det(windows.affines()[..., :2])))


def squares(
    values: Float[np.ndarray, "token"], grid: tuple[int, int], side: int
) -> Float[np.ndarray, "y x"]:
    """Sums over every square of so many tokens a side, by its upper left one. grid: of
    `token_grid`.
    """
    rows = np.reshape(values, grid[::-1])
    return np.lib.stride_tricks.sliding_window_view(rows, (side, side)).sum((2, 3))


def everywhere(away: Mapping[str, Float[np.ndarray, "n k"]], joint: str, skeleton: Skeleton) -> str:
    """Everybody's mean error over all windows, each counted once, in words. away: who -> `errors`;
    joint: one, or another word for all.
    """
    joints = [skeleton.index(joint)] if joint in skeleton.joints else slice(None)
    means = []
    for who, px in away.items():
        rows = [row[np.isfinite(row)].mean() for row in px[:, joints] if np.isfinite(row).any()]
        means.append(f"{who} {np.mean(rows):.1f} px")
    return f"All {len(px)} windows: {', '.join(means)}."


# who may be shown to be nearest to the truth between labels
NEAREST = ("straight line", "optical flow", "STDPose", "none")
Ends = tuple[float, float]


def nearest(against_line: Ends, against_flow: Ends, flow_against_line: Ends) -> str:
    """Which of `NEAREST` is nearer than both others by intervals that do not hold 0. Each: ends of
    the interval by which the first is nearer than the second, the first two of STDPose.
    """
    line, flow, ours, none = NEAREST
    if min(against_line[0], against_flow[0]) > 0:
        return ours
    if against_flow[1] < 0 < flow_against_line[0]:
        return flow
    return line if max(against_line[1], flow_against_line[1]) < 0 else none
