"""Hand sets: CMU Panoptic with the detections that PORT's authors published."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ..errors import BadRecord, MissingFile
from ..records import Detections, Pose
from .coco import read_coco
from .detections import read_detections

DETECTIONS = (
    "mobilenetv2_panoptic_256x256_test.pkl",
    "mobilenetv2_panoptic_256x256_test.npz",
)  # as published, converted


def panoptic_source(file_name: str) -> str:
    """The video or picture that a Panoptic hand was cut from: what a split must never divide.

    `Berry_roof_story.flv_000054_l.jpg` is frame 54 of the video `Berry_roof_story.flv`; `000973096_03_l.jpg` is the
    left hand of person 3 in the MPII picture `000973096`. Both hands and all persons of a picture share its group.
    """
    name = file_name.rsplit("/", 1)[-1]
    found = re.fullmatch(r"(.+\.flv)_\d+_[lr]\.\w+|(\d+)_\d+_[lr]\.\w+", name)
    if not found:
        raise BadRecord(
            "neither VIDEO.flv_FRAME_SIDE nor PICTURE_PERSON_SIDE", record=file_name, remedy="use Panoptic's file names"
        )
    return found[1] or found[2]


def read_panoptic(path: str | Path) -> Pose:
    """Hands of a Panoptic annotation file (test or train); flags say nothing about occlusion, groups are sources.

    Errors: those of `read_coco`; `BadRecord` for a hand with a joint that is not labelled (Panoptic labels all 21).
    """
    pose, _ = read_coco(path, skeleton="hand21", occlusion_known=False)
    if (gaps := ~pose.labelled.all(1)).any():
        raise BadRecord(
            f"{gaps.sum()} hands have joints that are not labelled (flag 0), 21 labelled joints expected",
            file=path,
            record=f"annotation {pose.ids[int(gaps.argmax())]}",
            remedy="drop these annotations",
        )
    return replace(pose, groups=tuple(map(panoptic_source, pose.images)))


def read_port_panoptic(root: str | Path) -> tuple[Pose, Detections]:
    """The 846 annotated hands and, row by row, what the MobileNetV2 detector saw, matched by file name.

    root: the folder of the manifest `port_panoptic`. The published pickle is preferred to its npz copy.
    Errors: `MissingFile`; `BadRecord` where a hand has no detection, or a file name stands twice.
    """
    root = Path(root)
    pose = read_panoptic(root / "annotations" / "panoptic_test.json")
    path = next((root / name for name in DETECTIONS if (root / name).is_file()), None)
    if path is None:
        raise MissingFile(f"none of {', '.join(DETECTIONS)}", file=root, remedy="workbench data fetch port_panoptic")
    detections = read_detections(path, skeleton="hand21")
    row_of = {image[max(image.find("hand_labels/"), 0) :]: row for row, image in enumerate(detections.images)}
    for names, rows, file in ((set(pose.images), pose, root), (row_of, detections, path)):
        if len(names) != len(rows):
            raise BadRecord("a file name stands twice, so rows cannot be matched", file=file)
    if lost := [image for image in pose.images if image not in row_of]:
        raise BadRecord(f"{len(lost)} of {len(pose)} hands have no detection", file=path, record=lost[0])
    return pose, detections.select([row_of[image] for image in pose.images])
