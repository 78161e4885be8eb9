"""VisSimCC behind its backbone: what feature maps become there under masks of one's own, and the
mask of a single joint that helps another one most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .. import geometry
from ..errors import BadParameter
from ..metrics import joint_distances
from ..models.vissimcc import SOURCES
from ..records import Detections, Pose
from .estimate import PoseEstimator

Edits = Mapping[str, Callable[[Tensor], Tensor]]  # of `taps.record`
MASK = "reasoning.mask"


@dataclass(frozen=True, eq=False)
class Inside:
    """n people in one pass through a SimCC estimator, without the mirror image; px of the crop."""

    xy_crop: Float[np.ndarray, "n k 2"]
    confidence: Float[np.ndarray, "n k"]
    x: Float[np.ndarray, "n k bins_x"]  # SimCC's distributions
    y: Float[np.ndarray, "n k bins_y"]
    probability: Float[np.ndarray, "n k"] | None = None  # VisNet's, of being visible
    mask: Float[np.ndarray, "n k"] | None = None
    # by block and head: row asks, column answers
    attention: Float[np.ndarray, "n l h q k"] | None = None


def feature_maps(
    estimator: PoseEstimator, crops: Float[Tensor, "n 3 h w"]
) -> Float[Tensor, "n k y x"]:
    """One map a joint: all that the rest of the network ever sees of normalised crops. The slow
    half of an estimate.
    """
    with torch.inference_mode():
        return torch.cat(
            [estimator.model.maps(part.to(estimator.device)) for part in crops.split(64)]
        )


def look_inside(
    estimator: PoseEstimator,
    maps: Float[Tensor, "n k y x"],
    *,
    visibility: Int[np.ndarray, "n k"] | None = None,
    source: str | None = None,
    edit: Edits | None = None,
) -> Inside:
    """Everything behind `feature_maps`, with what the taps said. visibility, source: as of
    `VisibilityReasoning`, so that flags 2 and 1 with "truth" force a mask; edit: as in
    `taps.record`. `BadParameter` for an estimator of heatmaps.
    """
    model = estimator.model
    if model.config.output != "simcc":
        raise BadParameter(
            f"{estimator.name} answers with {model.config.output}s",
            remedy="look into a SimCC estimator",
        )
    reasons = model.reasoning is not None
    names = [MASK, "reasoning.blocks.*.attention.map"] if reasons else []
    flags = visibility
    if flags is not None:
        flags = torch.as_tensor(np.asarray(flags), device=maps.device)
    found, taps = estimator.look(maps=maps, visibility=flags, source=source, names=names, edit=edit)
    xy, confidence = model.decode(found)
    parts = {"xy_crop": xy, "confidence": confidence, "x": found["x"], "y": found["y"]}
    if reasons:
        blocks = [taps[name] for name in taps if name.endswith("attention.map")]
        parts |= {"mask": taps[MASK], "attention": torch.stack(blocks, 1)}
    if "visibility" in found:
        parts["probability"] = found["visibility"]
    return Inside(**{name: part.float().cpu().numpy() for name, part in parts.items()})


def placed(inside: Inside, affine: Float[np.ndarray, "n 2 3"], truth: Pose) -> Detections:
    """The answers in px of the pictures, in the order of the truth. affine: xy_frame -> xy_crop."""
    to_frame = geometry.invert(np.asarray(affine, np.float64))
    xy = geometry.apply(to_frame, inside.xy_crop.astype(np.float64))
    return Detections(truth.skeleton, xy, inside.confidence, truth.boxes_xyxy, images=truth.images)


OWN = 0.5  # px


@dataclass(frozen=True)
class Rescue:
    """What a hidden joint's map that was let through did to another joint of a person. joint: who
    is helped by masking; switched: whose mask is turned over; before, after: its distance from the
    truth, px; labels: with the true labels as mask.
    """

    joint: str
    switched: str
    before: float
    after: float
    labels: float


def rescue(
    aware: PoseEstimator,
    maps: Float[Tensor, "1 k y x"],
    truth: Float[np.ndarray, "k 2"],
    flags: Int[np.ndarray, "k"],
) -> Rescue:
    """The best mask of a single hidden joint that VisNet let through, by the gain of another one;
    where there is any, one that helps by `OWN` px more than the joint's own mask. maps: of one
    person, of `feature_maps`; truth: px of the crop, NaN where there is no label.
    """
    count = len(truth)
    said, told = (look_inside(aware, maps, visibility=flags[None], source=s) for s in SOURCES[:2])
    turned = np.where(np.eye(count, dtype=bool), said.mask != 1, said.mask == 1)
    mask = torch.from_numpy(np.where(turned, 1, aware.model.config.hidden)).to(maps)
    tried = look_inside(aware, maps.expand(count, -1, -1, -1), edit={MASK: lambda _: mask})
    before, labels = (joint_distances(each.xy_crop, truth[None])[0] for each in (said, told))
    after = joint_distances(tried.xy_crop, np.repeat(truth[None], count, 0))
    let = ((flags == 1) & (said.mask[0] == 1))[:, None]
    likely = let * 2.0 + (after + OWN < after.diagonal())
    gains = before - np.maximum(after, labels)
    switch, j = np.unravel_index(np.nanargmax(gains + 1e3 * likely), after.shape)
    names = aware.skeleton.joints
    return Rescue(names[j], names[switch], *map(float, (before[j], after[switch, j], labels[j])))
