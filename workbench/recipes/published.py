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
from ..records import Clip, PersonBoxes, Picture, Reading, Track, Video
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


def _annotations(data: str, wanted) -> tuple[list[Path], Path, str | None]:
    """A data set's annotation files of a half, its folder, and how to get what is missing."""
    manifest, root = locate(data)
    files = annotation_files(root, manifest.layout.files["annotations"])
    return [file for file in files if wanted(file)], root, manifest.instructions


def _pictures_of(file: Path, names: list[str], root: Path, remedy: str | None) -> Path:
    folder = find_pictures(file, names)
    if folder is None:
        raise MissingData(f"the pictures of {file.name} are not here", file=root, remedy=remedy)
    return folder


def read_coco_half(data: str, split: str) -> tuple[Reading, Path]:
    """Annotations of the "train" or "test" half of COCO or CrowdPose, and the folder of their
    pictures. `MissingData` where one of them is not on this machine.
    """
    part = COCO_HALVES[data.partition(":")[0]][split == "test"]
    files, root, remedy = _annotations(data, lambda file: part in file.name)
    if not files:
        raise MissingData(f"no annotations of {part.strip('._')}", file=root, remedy=remedy)
    reading = read_coco(files[0])
    names = [picture.name for picture in reading.pictures]
    return reading, _pictures_of(files[0], names, root, remedy)


def with_joints(clip: Clip, joints: str) -> Clip:
    """A clip whose people have the joints of another skeleton, by name."""

    def chosen(track: Track) -> Track:
        names = skeleton(track.skeleton).joints
        at = [names.index(name) for name in skeleton(joints).joints]
        xy, flags = track.xy_frame[:, at], track.visibility[:, at]
        return replace(track, skeleton=joints, xy_frame=xy, visibility=flags)

    return replace(clip, tracks=[chosen(track) for track in clip.tracks])


def read_posetrack_half(data: str, split: str) -> list[tuple[Clip, Path]]:
    """The "train" or "val" half of PoseTrack with the papers' 15 joints, as `Windows` takes it:
    clips, and the folder of their pictures.

    `MissingData` where annotations or pictures are not on this machine.
    """

    def wanted(file: Path) -> bool:
        return split in (file.parent.name, *file.stem.split("_"))

    files, root, remedy = _annotations(data, wanted)
    if not files:
        raise MissingData(f"no annotations of {split}", file=root, remedy=remedy)
    readings = [read_posetrack(file) for file in files]
    clips = [with_joints(clip, POSETRACK_JOINTS) for each in readings for clip in each.clips]
    names = [picture.name for picture in clips[0].pictures]
    folder = _pictures_of(files[0], names, root, remedy)
    return [(clip, folder) for clip in clips]


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


def one_picture_clips(pictures: Sequence[Picture], folder: Path) -> list[tuple[Clip, Path]]:
    """A clip of one frame without people for each picture."""
    return [(Clip(Video("", 1, *(p.size_wh or ())), (), (p,), p.name), folder) for p in pictures]


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
    files = (root / file for file in manifest.layout.alternatives(key))
    file = next((file for file in files if file.is_file()), None)
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
