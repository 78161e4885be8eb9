"""The published sets that users bring, COCO, CrowdPose and PoseTrack, and the trainings on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import nn

from .. import checkpoint
from ..data.coco import annotation_files, find_pictures, read_coco, read_person_boxes
from ..data.manifest import locate
from ..data.posetrack import read_posetrack
from ..data.windows import Windows, detected_windows
from ..errors import MissingData
from ..models.published import public_weights
from ..predict import load
from ..propagate import renamed
from ..records import Clip, PersonBoxes, Picture, Reading
from ..skeletons import skeleton
from ..train import TrainConfig, choose_device
from .base import Learned, Options, fresh

# name -> (part of the annotation file's name for training, for testing)
COCO_HALVES = {"coco": ("train2017", "val2017"), "crowdpose": ("_train.", "_val.")}
POSETRACK = ("posetrack17", "posetrack18", "posetrack21")
POSETRACK_JOINTS = "posetrack15"  # OTPose Sec. IV, STDPose Sec. 4
TRIED = 2  # people a step where a training is only tried out


def settings(
    options: Options, epochs: int, n: int, people: int, *, tried: int = TRIED, **more
) -> TrainConfig:
    """So many epochs of n people, `people` a step, in bf16; what is only tried out takes few."""
    return TrainConfig(
        steps=options.steps or epochs * max(n // people, 1),
        batch_size=people if options.steps is None else tried,
        precision="bf16",
        seed=options.seed,
        workers=min(4, os.cpu_count() or 1),
        **more,
    )


def _annotations(data: str, part: str, wanted: Callable[[Path], bool]) -> tuple[list[Path], dict]:
    """A data set's annotation files of a half, and where and how its user gets what is missing."""
    manifest, root = locate(data)
    files = annotation_files(root, manifest.layout.files["annotations"])
    files, where = list(filter(wanted, files)), {"file": root, "remedy": manifest.instructions}
    if not files:
        raise MissingData(f"no annotations of {part}", **where)
    return files, where


def _pictures_of(file: Path, pictures: Sequence[Picture], where: dict) -> Path:
    folder = find_pictures(file, [picture.name for picture in pictures])
    if folder is None:
        raise MissingData(f"the pictures of {file.name} are not here", **where)
    return folder


def read_coco_half(data: str, split: str) -> tuple[Reading, Path]:
    """Annotations of the "train" or "test" half of COCO or CrowdPose, and the folder of their
    pictures. `MissingData` where one of them is not on this machine.
    """
    part = COCO_HALVES[data.partition(":")[0]][split == "test"]
    (file, *_), where = _annotations(data, part.strip("._"), lambda file: part in file.name)
    reading = read_coco(file)
    return reading, _pictures_of(file, reading.pictures, where)


def read_posetrack_half(data: str, split: str) -> list[tuple[Clip, Path]]:
    """The "train" or "val" half of PoseTrack with the papers' 15 joints, as `Windows` takes it:
    clips, and the folder of their pictures.

    `MissingData` where annotations or pictures are not on this machine.
    """

    def wanted(file: Path) -> bool:
        return split in (file.parent.name, *file.stem.split("_"))

    files, where = _annotations(data, split, wanted)
    clips = [clip for file in files for clip in read_posetrack(file).clips]
    folder = _pictures_of(files[0], clips[0].pictures, where)
    joints = POSETRACK_JOINTS
    return [
        (replace(clip, tracks=[renamed(track, joints) for track in clip.tracks]), folder)
        for clip in clips
    ]


def pictures_of(pairs: Sequence[tuple]) -> list[Picture]:
    """Of all clips."""
    return [picture for clip, _ in pairs for picture in clip.pictures]


# --- a detector's boxes ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Boxes:
    """In which boxes people are estimated: the truth's, or those of a file of a detector's."""

    file: str | Path | None = None
    boxes: PersonBoxes | None = None

    @property
    def kind(self) -> str:
        """As rows and protocols state it."""
        return "ground truth" if self.boxes is None else "detector"

    @property
    def text(self) -> str:
        """For protocols, in full."""
        if self.boxes is None:
            return self.kind
        name = Path(self.file).name
        return f"{len(self.boxes)} of {name}, their scores times the joints' confidences"

    def windows(
        self, windows: Windows, joints: str | None = None
    ) -> tuple[Windows, Float[np.ndarray, n] | None]:
        """A window a box in the same clips, and the boxes' scores; the truth's as they are."""
        if self.boxes is None:
            return windows, None
        joints = joints or windows.skeleton.name
        return detected_windows(windows.pairs, self.boxes, joints, windows.config, file=self.file)


def read_boxes(file: str | Path | None) -> Boxes:
    """Boxes of a COCO results file; None: the truth's."""
    return Boxes(file, None if file is None else read_person_boxes(file).boxes)


# --- weights --------------------------------------------------------------------------------------


def named(name: str, options: Options, **public) -> Learned:
    """Weights as they are, by a method's name or a file's; public: options of `load`."""
    device = choose_device(options.device)
    predictor = load(name, device=device, precision=options.precision, **public)
    return Learned(predictor, text="weights as named")


def begun(
    method: str, config: object, options: Options, start_weights: Callable[[nn.Module], str | None]
) -> tuple[nn.Module, str]:
    """A network to train, and what it goes on from: `start_weights`, which says what it has loaded,
    or ImageNet's where that has nothing; random ones where a training is only tried out.
    """
    model = fresh(method, config, options.seed)
    start = "random" if options.steps else start_weights(model)
    if start is None:
        return type(model)(config, pretrained=True), "ImageNet"
    return model, start


def read_public_weights(name: str, key: str) -> tuple[dict, Path] | None:
    """Published tensors under our names, and their file, by the manifest's name; None where the
    user has none.
    """
    try:
        manifest, root = locate(name)
    except MissingData:
        return None
    file = manifest.layout.file(root, key)
    return None if file is None else (public_weights(checkpoint.read_public(file)), file)


def shared_joints(tensors: Mapping, final: nn.Module, joints: str, theirs: str = "coco17") -> dict:
    """A head's last layer for the joints that both skeletons have; the others begin as `final`
    does.
    """
    ours, known = skeleton(joints).joints, skeleton(theirs).joints
    out = dict(tensors)
    for name, parameter in final.named_parameters():
        whole = parameter.detach().clone()
        for i, joint in enumerate(ours):
            if joint in known:
                whole[i] = tensors[f"head.final.{name}"][known.index(joint)]
        out[f"head.final.{name}"] = whole
    return out
