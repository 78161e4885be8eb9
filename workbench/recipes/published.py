"""The published sets that users bring, COCO, CrowdPose and PoseTrack, and the trainings on them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import nn

from .. import checkpoint
from ..data.coco import annotation_files, find_pictures, read_coco, read_person_boxes
from ..data.manifest import locate
from ..data.posetrack import read_posetrack
from ..data.windows import WindowConfig, Windows, detected_windows
from ..errors import MissingData
from ..models.published import public_weights
from ..records import Clip, Detections, PersonBoxes, Picture, Reading, Track, Video
from ..skeletons import skeleton
from ..train import TrainConfig
from .base import Options

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


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one half of PoseTrack, and the folder of their pictures."""

    clips: list[Clip]
    folder: Path

    @property
    def pairs(self) -> list[tuple[Clip, Path]]:
        """As `Windows` takes them."""
        return [(clip, self.folder) for clip in self.clips]

    @property
    def pictures(self) -> list[Picture]:
        """Of all clips."""
        return [picture for clip in self.clips for picture in clip.pictures]


def read_posetrack_half(data: str, split: str) -> Clips:
    """The "train" or "val" half of PoseTrack with the papers' 15 joints.

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
    return Clips(clips, _pictures_of(files[0], names, root, remedy))


# --- a detector's boxes ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Boxes:
    """In which boxes people are estimated: the truth's, or those of a file of a detector's."""

    file: str | Path | None
    boxes: PersonBoxes | None

    @property
    def kind(self) -> str:
        """As rows and protocols state it."""
        return "ground truth" if self.boxes is None else "detector"

    def windows(
        self, pairs: list[tuple[Clip, Path]], joints: str, config: WindowConfig
    ) -> tuple[Windows, Float[np.ndarray, n]]:
        """A window a box, and the boxes' scores."""
        return detected_windows(pairs, self.boxes, joints, config, file=self.file)


def read_boxes(file: str | Path | None) -> Boxes:
    """Boxes of a COCO results file; None: the truth's."""
    return Boxes(file, None if file is None else read_person_boxes(file).boxes)


def weighted(poses: Detections, scores: Float[np.ndarray, n] | None) -> Detections:
    """Joints' confidences times the score of the box that they were estimated in.

    # unstated; ours
    """
    if scores is None:
        return poses
    return replace(poses, confidence=poses.confidence * scores[:, None])


def one_picture_clips(pictures: list[Picture], folder: Path) -> list[tuple[Clip, Path]]:
    """A clip of one frame without people for each picture."""
    return [(Clip(Video("", 1, *(p.size_wh or ())), (), (p,), p.name), folder) for p in pictures]


# --- weights that trainings go on from ------------------------------------------------------------


def public_file(name: str, key: str) -> Path | None:
    """The user's file of published weights, by the manifest's name, if it is on this machine."""
    try:
        manifest, root = locate(name)
    except MissingData:
        return None
    files = (root / file for file in manifest.layout.files[key])
    return next((file for file in files if file.is_file()), None)


def read_public_weights(name: str, key: str) -> tuple[dict, Path] | None:
    """Published tensors under our names, and their file; None where the user has none."""
    file = public_file(name, key)
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
