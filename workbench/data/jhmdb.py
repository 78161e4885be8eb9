"""JHMDB: its release, and MMPose's COCO-style file of it."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import BadRecord, MissingFile
from ..geometry import box_of_points
from ..records import Reading
from .coco import read_coco
from .matlab import read_variables
from .register import reader
from .releases import (
    array_of,
    choose,
    clip_of_pictures,
    named,
    read_sequences,
    release,
    text_lines,
    track_of,
)

SPLITS = tuple(
    f"{sub}{part}{i}" for sub in ("", "sub_") for part in ("train", "test") for i in "123"
)


@reader(
    "jhmdb",
    order=200,
    kind="sequences",
    reads="JHMDB, its release or MMPose's JSON",
    recognised="pos_img; 15 joints",
    fits=lambda file: "pos_img" in file.variables or file.joints[:2] == ["neck", "belly"],
)
def read_jhmdb(path: str | Path, *, split: str | None = None, on_bad: str = "raise") -> Reading:
    """Clips of JHMDB with one person, 15 joints, of the official release; or poses of MMPose's
    COCO-style file.

    path: the folder of the release (joint_positions/ACTION/CLIP/joint_positions.mat with pos_img [2
        15 t]; splits, sub_splits, Rename_Images and puppet_mask where unpacked), one
        joint_positions.mat, or (a folder with) *.json.
    split: "train1" to "test3", or those of Sub-JHMDB, "sub_train1" to "sub_test3".
    The release counts pixels from 1: we subtract 1 px. All 15 joints are there even where none was
    annotated: occluded joints, and such outside of the frame, stand where the neutral puppet has
    them (the release's README), and nothing marks them; evaluations count them all, so they stay
    labelled. Boxes: around the puppet mask, else around joints. Pictures that are not there are one
    warning. Errors: `MissingFile`, `EmptyFile`, `BadFile`, `UnknownName` for a split, `BadRecord`
    with ACTION/CLIP (`on_bad="raise"`: the first, with the count).
    """
    path = Path(path)
    released = os.path.isdir(path / "joint_positions") or os.path.isfile(path)
    if path.suffix == ".json" or not released:
        _, files = release(path, "jhmdb", "*.json")
        return _read_coco_style(files[0], on_bad)
    root, files = release(path, "jhmdb", "joint_positions/*/*/joint_positions.mat")
    lost = []
    if split is not None:
        wanted, known = _clips_of_split(root, split), {_name(file) for file in files}
        files = [file for file in files if _name(file) in wanted]
        lost = sorted(wanted - known)
    lost = [MissingFile("no joint_positions.mat", file=root, record=name) for name in lost]
    return read_sequences("jhmdb", path, files, partial(_read_clip, root), on_bad, lost)


def _read_coco_style(file: Path, on_bad: str) -> Reading:
    reading = read_coco(file, skeleton="jhmdb15", occlusion_known=False, on_bad=on_bad)
    poses = reading.poses
    xy = np.where(poses.labelled[..., None], poses.xy_frame - 1, 0)
    poses = replace(poses, xy_frame=xy, boxes_xyxy=poses.boxes_xyxy - 1)
    return replace(reading, reader="jhmdb", poses=poses)


def _name(file: Path) -> str:
    """ACTION/CLIP, as a split and the folders of pictures and masks call it."""
    return f"{file.parent.parent.name}/{file.parent.name}"


def _clips_of_split(root: Path, split: str) -> set[str]:
    """ACTION/CLIP of each clip in a split, from (sub_)splits/ACTION_test_split1.txt."""
    folder = "sub_splits" if choose("split", split, SPLITS, root).startswith("sub_") else "splits"
    flag = "1" if "train" in split else "2"
    end = f"_test_split{split[-1]}.txt"
    names = set()
    for file in release(root, "jhmdb", f"{folder}/*{end}")[1]:
        for line in text_lines(file):
            clip, _, part = line.rpartition(" ")
            if part not in ("0", "1", "2"):
                problem = "CLIP.avi and 1 (train) or 2 (test) expected"
                raise BadRecord(problem, file=file, record=repr(line)[:80])
            if part == flag:
                action = file.name.removesuffix(end)
                names.add(f"{action}/{clip.strip().removesuffix('.avi')}")
    return names


def _read_clip(root: Path, file: Path) -> Reading:
    name = _name(file)
    with named(file, name):
        xy = array_of(read_variables(file), "pos_img", (2, 15, None)).transpose(2, 1, 0) - 1
        if not len(xy):
            raise BadRecord("pos_img has no frames")
        boxes, size = box_of_points(xy), {}
        mask_file = root / "puppet_mask" / name / "puppet_mask.mat"
        if os.path.isfile(mask_file):
            # which pixels [h w t] the puppet covers
            parts = read_variables(mask_file)
            mask = array_of(parts, "part_mask", (None, None, None), file=mask_file) > 0
            size = {"height": mask.shape[0], "width": mask.shape[1]}
            for i in np.flatnonzero(mask[:, :, : len(xy)].any((0, 1))):
                y, x = np.nonzero(mask[:, :, i])
                boxes[i] = x.min(), y.min(), x.max() + 1, y.max() + 1
        track = track_of("jhmdb15", 0, xy, np.ones(xy.shape[:2], bool), boxes=boxes)
        pictures = [f"{i + 1:05}.png" for i in range(len(xy))]
        clip = clip_of_pictures(root / "Rename_Images" / name, pictures, [track], name, **size)
    return Reading("jhmdb", str(file), clips=(clip,))
