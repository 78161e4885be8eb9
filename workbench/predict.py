"""Detections in, `Prediction` out: the one straight line from px to px."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from . import checkpoint
from .errors import BadParameter, CheckpointMismatch, MissingFile
from .models import build
from .models.port import Port, PortConfig, occluded_joints, replace_occluded
from .records import Detections, Prediction
from .skeletons import Skeleton, skeleton
from .taps import Recording, record


def pose_frame(
    xy_frame: Float[np.ndarray, "n k 2"], use: Bool[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, "n 1 2"], Float[np.ndarray, "n 1 1"]]:
    """Centre and size (root mean square distance from it) of the joints in `use`; of all joints where fewer than 3 are.

    PORT does not say how it normalises; so that a hidden joint cannot move the frame, hidden joints do not count.
    # unstated; ours
    """
    use = np.where(use.sum(1, keepdims=True) >= 3, use, True)[..., None]
    count = use.sum(1, keepdims=True)
    centre = (xy_frame * use).sum(1, keepdims=True) / count
    size = np.sqrt((np.square(xy_frame - centre) * use).sum((1, 2), keepdims=True) / count)
    return centre, np.maximum(size, 1e-3)


@dataclass(frozen=True)
class RefineRule:
    """Which joints PORT replaces and how far it moves them; every number comes from training statistics.

    delta: confidence threshold a joint (PORT Eq. 13; the paper has one for all). blend: share of the reconstruction
    in the replaced joint; 1 is PORT Eq. 14. source: where the numbers come from.
    """

    delta: tuple[float, ...]
    blend: float = 1.0
    source: str = ""


class PortRefiner:
    """PORT with what it needs around it: normalisation, the rule for delta, and px on both sides."""

    def __init__(self, model: Port, rule: RefineRule, name: str = "port"):
        self.model, self.rule, self.name = model.eval(), rule, name
        self.skeleton: Skeleton = skeleton(model.config.skeleton)
        if len(rule.delta) != len(self.skeleton):
            raise BadParameter(f"the rule has {len(rule.delta)} deltas, {self.skeleton.name} has {len(self.skeleton)} joints")

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def to(self, device: str | torch.device) -> PortRefiner:
        self.model.to(device)
        return self

    def _check(self, k: int, name: str) -> None:
        if k != len(self.skeleton) or name != self.skeleton.name:
            raise BadParameter(
                f"detections are {name} with {k} joints, the model knows {self.skeleton.name}",
                remedy=f"load weights trained for {name}",
            )

    def mask(self, detections: Detections, delta: float | None = None) -> Bool[np.ndarray, "n k"]:
        """Joints below delta (PORT Eq. 13), the rule's own when none is given."""
        limit = np.array(self.rule.delta if delta is None else [delta] * len(self.skeleton), np.float32)
        return occluded_joints(torch.tensor(detections.confidence), torch.tensor(limit)).numpy()

    def _inputs(self, xy_frame: np.ndarray, mask: np.ndarray) -> tuple[dict[str, Tensor], np.ndarray, np.ndarray]:
        centre, size = pose_frame(xy_frame, ~mask)
        xy = torch.tensor((xy_frame - centre) / size, dtype=torch.float32, device=self.device)
        return {"xy": xy, "mask": torch.tensor(mask, device=self.device)}, centre, size

    def reconstruct(
        self, xy_frame: Float[np.ndarray, "n k 2"], mask: Bool[np.ndarray, "n k"], batch: int = 4096
    ) -> Float[np.ndarray, "n k 2"]:
        """What PORT makes of every joint, px, hidden or not."""
        parts = []
        for start in range(0, len(xy_frame), batch):
            rows = slice(start, start + batch)
            inputs, centre, size = self._inputs(xy_frame[rows], mask[rows])
            with torch.inference_mode():
                recon = self.model(**inputs)["xy"].float().cpu().numpy()
            parts.append(recon * size + centre)
        return np.concatenate(parts).astype(np.float32) if parts else xy_frame

    def refine(
        self,
        detections: Detections,
        *,
        delta: float | None = None,
        mask: Bool[np.ndarray, "n k"] | None = None,
    ) -> Prediction:
        """Replaces joints below delta, or those of an explicit mask, by their reconstruction (PORT Eq. 14)."""
        self._check(detections.xy_frame.shape[1], detections.skeleton)
        mask = self.mask(detections, delta) if mask is None else mask
        recon = self.reconstruct(detections.xy_frame, mask)
        moved = detections.xy_frame + self.rule.blend * (recon - detections.xy_frame)
        xy = replace_occluded(*(torch.tensor(a) for a in (detections.xy_frame, moved, mask))).numpy()
        return Prediction(self.skeleton.name, xy, detections.confidence, mask, self.name, detections)

    def look(
        self,
        xy_frame: Float[np.ndarray, "n k 2"],
        mask: Bool[np.ndarray, "n k"],
        names: Iterable[str] | None = None,
        edit: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    ) -> tuple[Float[np.ndarray, "n k 2"], Recording]:
        """`reconstruct` with the taps recorded, and edited if asked: (px, recording)."""
        inputs, centre, size = self._inputs(xy_frame, mask)
        with torch.no_grad(), record(self.model, names, edit=edit) as taps:
            recon = self.model(**inputs)["xy"].float().cpu().numpy()
        return (recon * size + centre).astype(np.float32), taps


SHIPPED = {"port": "port_hand21_synthetic"}


def weights_path(name: str = "port") -> Path:
    """The shipped weight file of a method, or the file that is named."""
    path = Path(name)
    return path if path.suffix == ".safetensors" else Path(__file__).with_name("checkpoints") / f"{SHIPPED.get(name, name)}.safetensors"


def load(name: str = "port", *, device: str | torch.device = "cpu") -> PortRefiner:
    """The refiner of a method from its shipped weights, or from a safetensors file that the workbench wrote.

    Its card holds the model's configuration and the rule for delta, so nothing else needs to be named.
    """
    path = weights_path(name)
    if not path.exists():
        raise MissingFile("no such weights", file=path, remedy=f"shipped ones: {', '.join(SHIPPED)}; or name a file")
    card = checkpoint.read_card(path)
    try:
        config = PortConfig(**{**card["config"], "exponents": tuple(card["config"]["exponents"])})
        rule = RefineRule(**{**card["rule"], "delta": tuple(card["rule"]["delta"])})
    except (KeyError, TypeError) as error:
        raise CheckpointMismatch(
            f"the card does not describe a PORT refiner: {error}", file=path, remedy="train it with `workbench train port`"
        ) from None
    model = build("port", config)
    checkpoint.load(path, model)
    return PortRefiner(model, rule, name).to(device)
