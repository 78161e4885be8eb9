"""People in a video: who finds them, torchvision's keypoint detector by default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..errors import ChecksumMismatch, MissingData, unknown
from ..records import Detections
from .hugging_face import HUB, BoxFinder
from .manifest import locate, sha256_of

FINDER = "torchvision_keypointrcnn"
# what is kept of each person
_SHAPES = {"keypoints": (17, 3), "keypoints_scores": (17,), "boxes": (4,), "scores": ()}


def build_finder(**options) -> nn.Module:
    """Keypoint R-CNN (ResNet-50 with FPN, coco17) as torchvision builds it for its published
    weights, without them.
    """
    from torchvision.models.detection import KeypointRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops import FrozenBatchNorm2d

    model = KeypointRCNN(
        resnet_fpn_backbone(backbone_name="resnet50", weights=None), num_classes=2, **options
    )
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0  # which the published weights were trained with
    model.name = FINDER
    model.min_score = 0.7  # unstated; ours
    return model.eval()


def _keypoint_finder(spec: str) -> nn.Module:
    """Keypoint R-CNN with its published weights; `ChecksumMismatch` where the file's sha256 is not
    its manifest's.
    """
    entry, folder = locate(spec)
    (item,) = entry.downloads
    path = folder / item.path
    if (digest := sha256_of(path)) != item.sha256:
        raise ChecksumMismatch(
            f"sha256 {digest}, {item.sha256} expected",
            file=path,
            remedy="remove it and fetch again",
        )
    model = build_finder()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


FINDERS = {FINDER: _keypoint_finder, HUB: BoxFinder}  # name -> from NAME or NAME:PLACE
BOXES_ALONE = (HUB,)  # who says no joints


def load_finder(spec: str = FINDER, *, device: str | torch.device = "cpu") -> nn.Module:
    """A finder, `NAME` or `NAME:PLACE`, with its weights, which must be on this machine: nothing is
    fetched here.

    Errors: `UnknownName`; `MissingData` whose remedy says how to get it; what the finder raises.
    """
    name = spec.partition(":")[0]
    if name not in FINDERS:
        raise unknown("finder", name, FINDERS)
    try:
        return FINDERS[name](spec).to(device)
    except MissingData as error:
        raise MissingData(
            error.problem,
            record=error.record,
            remedy=f"{error.remedy}; or bring your own results with --keypoints FILE",
        ) from None


def find_people(
    frames: Iterable[np.ndarray],
    finder: nn.Module,
    *,
    batch: int = 4,
    min_score: float | None = None,
    progress: bool = False,
) -> Detections:
    """Every person in RGB uint8 frames [h w 3], coco17, px, in the order of frames; runs where the
    finder's weights lie. min_score: of a person; None: the finder's own.

    Joints are missing (confidence 0) where the finder says boxes alone. torchvision states a
    joint's score as a logit: confidence is sigmoid(score - 2), which is ours.
    """
    from scipy.special import expit

    least = finder.min_score if min_score is None else min_score
    total = getattr(getattr(frames, "video", None), "n_frames", None)
    columns = {key: [np.zeros((0, *shape))] for key, shape in _SHAPES.items()}
    index: list[int] = []
    with (
        tqdm(total=total, desc="finding people", unit="frame", disable=not progress) as bar,
        torch.inference_mode(),
    ):
        for i, result in enumerate(_results(frames, finder, batch)):
            sure = result["scores"] >= least
            for key, column in columns.items():
                column.append(result[key][sure].float().cpu().numpy())
            index += [i] * int(sure.sum())
            bar.update()
    found = {key: np.concatenate(column) for key, column in columns.items()}
    return Detections(
        "coco17",
        xy_frame=found["keypoints"][:, :, :2],
        confidence=expit(found["keypoints_scores"] - 2),
        boxes_xyxy=found["boxes"],
        scores=found["scores"],
        ids=tuple(map(str, range(len(index)))),
        source=finder.name,
        frames=index,
    )


def _results(
    frames: Iterable[np.ndarray], finder: nn.Module, batch: int
) -> Iterator[dict[str, Tensor]]:
    """What the finder says of each frame; it sees `batch` of them at once."""
    device, stream = next(finder.parameters()).device, iter(frames)
    while pictures := list(islice(stream, batch)):
        yield from finder(
            [torch.tensor(p, device=device).permute(2, 0, 1).float() / 255 for p in pictures]
        )
