"""Models of Hugging Face's transformers: an object detector finds people, ViTPose says their
joints. Nothing is fetched here, no code of a model's repository is run, and weights are safetensors
alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..errors import BadFile, BadParameter, CheckpointMismatch, MissingData
from ..records import Detections
from ..skeletons import skeleton

HUB = "transformers"  # transformers:PLACE, a model's name or folder


def _library() -> Any:
    """The package; `MissingData` where it is not installed."""
    try:
        import transformers
    except ImportError:
        raise MissingData(
            "transformers, which runs these models, is not installed",
            remedy="pip install 'occlusion-workbench[estimators]'",
        ) from None
    return transformers


def _folder(spec: str) -> str:
    """Where a model lies: the folder that is named, or the one into which `hf download` put it.

    transformers is shown folders alone: by a name it would ask the network, `local_files_only` or
    not. Errors: `BadParameter`; `MissingData` for a model that is not here.
    """
    from huggingface_hub import try_to_load_from_cache

    place = spec.partition(":")[2]
    if not place:
        raise BadParameter(f"{spec!r} names no model", remedy=f"say {HUB}:NAME or {HUB}:FOLDER")
    if os.path.isdir(place):
        return place
    file = try_to_load_from_cache(place, "config.json")
    if not isinstance(file, str):
        raise MissingData(
            "no such model on this machine",
            record=place,
            remedy=f"hf download {place}; or name its folder: {HUB}:FOLDER",
        )
    return os.path.dirname(file)


def _opened(kind: Any, folder: str, **options) -> Any:
    """A model, its configuration or its processor, of a class of transformers; `BadFile` for
    anything else.
    """
    here = {"local_files_only": True, "trust_remote_code": False}
    try:
        return kind.from_pretrained(folder, **here, **options)
    except Exception as error:  # files of others trip it in any way
        problem = str(error).strip().partition("\n")[0]
        raise BadFile(
            f"no {kind.__name__}: {type(error).__name__}: {problem}",
            file=folder,
            remedy="name another model; its weights must be safetensors",
        ) from None


def _model(kind: Any, folder: str) -> nn.Module:
    """`CheckpointMismatch` where weights are missing, which would be random ones."""
    options = {"use_safetensors": True, "output_loading_info": True}
    model, report = _opened(kind, folder, **options)
    lacking = sorted(map(str, report["missing_keys"]))
    if lacking:
        raise CheckpointMismatch(
            f"{type(model).__name__} lacks {len(lacking)} weights: {', '.join(lacking[:5])}",
            file=folder,
            remedy="name a whole model",
        )
    return model.float().eval()


class BoxFinder(nn.Module):
    """An object detector of transformers, which `finder.find_people` asks: boxes of people, every
    joint missing.

    spec: transformers:NAME_OR_FOLDER. Errors: `MissingData`, `BadFile`, `CheckpointMismatch`;
    `BadParameter` for a detector that has no label "person".
    """

    min_score = 0.3  # as in transformers' example of ViTPose

    def __init__(self, spec: str):
        super().__init__()
        library, folder = _library(), _folder(spec)
        self.name = spec
        self.processor = _opened(library.AutoImageProcessor, folder)
        self.model = _model(library.AutoModelForObjectDetection, folder)
        labels = self.model.config.id2label
        self.people = [number for number, label in labels.items() if label.lower() == "person"]
        if not self.people:
            raise BadParameter(
                f'no label is "person": {", ".join(list(labels.values())[:5])}',
                file=folder,
                remedy="name a detector of people",
            )

    def forward(self, pictures: Sequence[Float[Tensor, "3 h w"]]) -> list[dict[str, Tensor]]:
        """People of each picture (0 to 1), as torchvision's detectors state them."""
        return [self._people(picture) for picture in pictures]

    def _people(self, picture: Float[Tensor, "3 h w"]) -> dict[str, Tensor]:
        pixels = (255 * picture).round().byte()
        read = self.processor(images=pixels, return_tensors="pt").to(picture.device)
        (found,) = self.processor.post_process_object_detection(
            self.model(**read), threshold=0.0, target_sizes=[tuple(picture.shape[1:])]
        )
        people = torch.isin(found["labels"], torch.tensor(self.people, device=picture.device))
        n = int(people.sum())
        return {
            "boxes": found["boxes"][people],
            "scores": found["scores"][people],
            "keypoints": picture.new_zeros(n, 17, 3),
            "keypoints_scores": picture.new_full((n, 17), -torch.inf),  # logits
        }


class VitPose:
    """transformers' ViTPose with its own processor and decoding, as `predict.estimate_people` asks
    it: a picture and boxes in, px of the picture out.

    spec: transformers:NAME_OR_FOLDER. Errors: `MissingData`, `BadFile`, `CheckpointMismatch`;
    `BadParameter` for another network, or joints that are not COCO's 17.
    """

    reach = 0  # frames that it looks at before and after its own
    skeleton = skeleton("coco17")

    def __init__(self, spec: str, device: str | torch.device = "cpu"):
        library, folder = _library(), _folder(spec)
        config = _opened(library.AutoConfig, folder)
        k = len(self.skeleton)
        if config.model_type != "vitpose" or config.num_labels != k:
            raise BadParameter(
                f"{config.model_type} of {config.num_labels} outputs, not ViTPose of {k} joints",
                file=folder,
                remedy="name a ViTPose model of COCO, such as usyd-community/vitpose-base-simple",
            )
        self.name = spec
        self.processor = _opened(library.VitPoseImageProcessor, folder)
        self.model = _model(library.VitPoseForPoseEstimation, folder).to(device)

    def estimate(
        self,
        frame: UInt8[np.ndarray, "*t h w 3"],
        boxes_xyxy: Float[np.ndarray, "n 4"],
        *,
        numbers: Sequence[int] | None = None,
    ) -> Detections:
        """The pose in each box of an RGB picture (t, where it is there, is 1)."""
        boxes = np.asarray(boxes_xyxy, np.float64)
        boxes_xywh = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)
        picture = frame.reshape(frame.shape[-3:])
        crops = self.processor(picture, boxes=[boxes_xywh.tolist()], return_tensors="pt")
        pixels = crops["pixel_values"].to(self.model.device)
        # of a mixture of experts, the first knows COCO
        expert = torch.zeros(len(boxes), dtype=torch.long, device=pixels.device)
        with torch.inference_mode():
            answer = self.model(pixels, dataset_index=expert)
        (poses,) = self.processor.post_process_pose_estimation(answer, boxes=[boxes_xywh])
        return Detections(
            self.skeleton.name,
            np.stack([pose["keypoints"].numpy() for pose in poses]),
            np.stack([pose["scores"].numpy() for pose in poses]),
            boxes_xyxy,
            source=self.name,
        )
