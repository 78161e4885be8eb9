"""Estimators that answer on crops with heatmaps: what one pass leaves, and maps over pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ..codecs import decode_heatmaps, transform
from ..data.windows import Window, Windows
from ..metrics import joint_distances
from ..predict import PoseEstimator
from ..skeletons import Skeleton
from . import style
from .panels import HIDDEN, NOTHING, VISIBLE, Arrows, Heat, People, Picture

# Who says where a joint is.
SINGLE, MEAN, LINE, FLOW = "single frame", "mean of five frames", "straight line", "optical flow"
Edits = Mapping[str, Callable[[Tensor], Tensor]]


@dataclass(frozen=True, eq=False)
class Inside:
    """n people in one pass behind the single-frame estimator; maps on the heatmaps' grid."""

    xy_crop: Float[np.ndarray, "n k 2"]  # px
    heatmaps: Float[np.ndarray, "n k h w"]
    taps: dict[str, np.ndarray]


def peaks(estimator: PoseEstimator, maps: Float[Tensor, "n k h w"]) -> Float[np.ndarray, "n k 2"]:
    """Where maps on the heatmaps' grid are highest, px of the crop."""
    return transform(estimator.model.to_crop.cpu(), decode_heatmaps(maps.float().cpu())[0]).numpy()


def looked(
    estimator: PoseEstimator, names: Sequence[str], edit: Edits | None, **inputs: Tensor | None
) -> Inside:
    """What an estimator of heatmaps makes of inputs of its model. names, edit: as of
    `taps.record`.
    """
    found, taps = estimator.look(**inputs, names=names, edit=edit)
    xy, _ = estimator.model.decode(found)
    arrays = {name: taps[name].float().cpu().numpy() for name in taps}
    return Inside(xy.float().cpu().numpy(), found["heatmaps"].float().cpu().numpy(), arrays)


def occlusion_known(windows: Windows, row: int) -> bool:
    """Whether the labels of a window's person say anything about occlusion."""
    pair, track, _ = windows.items[row]
    return windows.pairs[pair][0].tracks[track].occlusion_known


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


def map_panels(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    maps: Sequence[Float[np.ndarray, "y x"]],
    captions: Sequence[str],
    to_crop: Float[np.ndarray, "2 3"],
    *,
    truth: Float[np.ndarray, "n 2"] | None = None,
) -> list[Picture]:
    """Maps over pictures, each on a scale of its own. truth: a place in each panel, px of the crop;
    NaN has none.
    """
    panels = []
    for i, (picture, caption, grid) in enumerate(zip(pictures, captions, maps)):
        heat = Heat(grid, to_crop, caption, 0, max(float(grid.max()), 1e-6))
        spots = []
        if truth is not None:
            spots.append(Arrows("truth", np.array([[*truth[i], *truth[i], 2]]), "truth"))
        panels.append(Picture(caption, [picture], heat=heat, arrows=spots))
    return panels


def crop_panel(
    window: Window, caption: str, skeleton: Skeleton, poses: Mapping[str, Float[np.ndarray, "k 2"]]
) -> Picture:
    """The key frame's crop with the true pose and others, px of the crop; crosses are occluded."""
    t = len(window.crops) // 2
    marks = np.array([NOTHING, HIDDEN, VISIBLE])[window.visibility[t]]
    people = [People("truth", "truth", window.xy_crop[t], marks, skeleton=skeleton)]
    for name, xy in poses.items():
        people.append(People(name, style.ROLE_OF[name], xy, skeleton=skeleton))
    return Picture(caption, [window.crops[t]], people)
