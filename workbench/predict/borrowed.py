"""OTPose behind the single-frame estimator, without a view: what that one sees, made worse, taken
from somebody else, and whom a joint's attention goes to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from .. import geometry
from ..data.windows import Windows
from ..models.otpose import N_FEATURES
from ..taps import swapped
from .estimate import ClipEstimator

Edits = Mapping[str, Callable[[Tensor], Tensor]]  # of `taps.record`
KEY = 2  # of the five frames


def rough_heatmaps(estimator: ClipEstimator, windows: Windows) -> Float[Tensor, "n 5 k h w"]:
    """What the single-frame estimator sees in all five frames of everybody: all that the rest of
    the network ever sees.
    """
    with torch.inference_mode():
        parts = np.array_split(np.arange(len(windows)), -(-len(windows) // 16))
        return torch.cat([estimator.rough(windows.batch(part)["images"]) for part in parts])


def degraded(
    rough: Float[Tensor, "n 5 k h w"], strength: int | float, *, frames: Sequence[int] = range(5)
) -> Float[Tensor, "n 5 k h w"]:
    """Heatmaps as of a worse estimator: blurred (sigma 2 px) and dimmed (to a tenth) by 0 ... 1."""
    if not strength:
        return rough
    at = list(frames)
    weak = gaussian_blur(rough[:, at].flatten(0, 1), [13, 13], [2 * strength] * 2)
    out = rough.clone()
    out[:, at] = (1 - 0.9 * strength) * weak.unflatten(0, (-1, len(at)))
    return out


def exchanges(taps: Mapping[str, np.ndarray], feature: str, step: int = 1) -> Edits:
    """An edit that takes one of the eight features of all joints from the person `step` rows
    before. Eq. 2 would make masks of the other's flows: they are kept as `taps` have them.
    """
    edits = {feature: swapped(step)}
    if feature.startswith("flow."):
        mask = feature.replace("flow", "mask")
        edits[mask] = lambda x: torch.as_tensor(taps[mask], device=x.device)
    return edits


def true_places(windows: Windows) -> tuple[Float[np.ndarray, "n k 2"], Int[np.ndarray, "n k"]]:
    """Of the key frames, px of the crop, NaN without a label; and the flags."""
    truth = windows.poses()
    xy = geometry.apply(windows.affines(), truth.xy_frame).astype(np.float32)
    return np.where(truth.labelled[..., None], xy, np.nan), truth.visibility


def heard(
    maps: Mapping[str, Float[np.ndarray, "layer head c c"]], joint: int
) -> Float[np.ndarray, "k"]:
    """Shares of the attention that a joint's features give to each joint's, in the last layer, mean
    of branches and heads. maps: of `attention_maps`.
    """
    mean = np.mean([branch[-1].mean(0) for branch in maps.values()], 0)
    k = len(mean) // N_FEATURES
    folded = mean.reshape(k, N_FEATURES, k, N_FEATURES)
    return folded[joint].sum(-1).mean(0)


def readings(
    inside: object, joint: int, dilations: Sequence[int], to_crop: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "d 9 5"]:
    """Where the refinement of the first person reads a joint's map around its answer: the nine
    places of a plain convolution (x, y), those that are read instead (x, y), px of the crop, and
    the modulation that they are weighed by. inside: has taps and heatmaps, as of `look_inside`.
    """
    parts = (inside.taps[f"refine.{name}"][0, :, joint] for name in ("offsets", "modulation"))
    y, x = np.unravel_index(inside.heatmaps[0, joint].argmax(), inside.heatmaps.shape[2:])
    offsets, modulation = (part[..., y, x] for part in parts)  # (dy, dx) heatmap px
    side = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1)), -1).reshape(9, 2)
    plain = (x, y) + np.array(dilations)[:, None, None] * side
    ends = [at @ to_crop[:, :2].T + to_crop[:, 2] for at in (plain, plain + offsets[..., ::-1])]
    return np.concatenate((*ends, modulation[..., None]), -1)
