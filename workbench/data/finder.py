"""People in a video, found by torchvision's keypoint detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..errors import ChecksumMismatch, MissingData
from ..records import Detections
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
    return model.eval()


def load_finder(spec: str = FINDER, *, device: str | torch.device = "cpu") -> nn.Module:
    """The finder with its published weights, which must be on this machine: nothing is fetched
    here.

    Errors: `MissingData` whose remedy says how to get them; `ChecksumMismatch` where the file's
    sha256 is not its manifest's.
    """
    try:
        entry, folder = locate(spec)
    except MissingData as error:
        raise MissingData(
            error.problem,
            record=error.record,
            remedy=f"{error.remedy}; or bring your own results with --keypoints FILE",
        ) from None
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
    return model.to(device)


def find_people(
    frames: Iterable[np.ndarray],
    finder: nn.Module,
    *,
    batch: int = 4,
    min_score: float = 0.7,  # unstated; ours
    progress: bool = False,
) -> Detections:
    """Every person in RGB uint8 frames [h w 3], coco17, px, in the order of frames; runs where the
    finder's weights lie.

    torchvision states a joint's score as a logit: confidence is sigmoid(score - 2).  # unstated;
    ours
    """
    from scipy.special import expit

    total = getattr(getattr(frames, "video", None), "n_frames", None)
    columns = {key: [np.zeros((0, *shape))] for key, shape in _SHAPES.items()}
    index: list[int] = []
    with (
        tqdm(total=total, desc="finding people", unit="frame", disable=not progress) as bar,
        torch.inference_mode(),
    ):
        for i, result in enumerate(_results(frames, finder, batch)):
            sure = result["scores"] >= min_score
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
        source=FINDER,
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
