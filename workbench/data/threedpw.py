"""3DPW: people outdoors before a moving camera."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import BadRecord
from ..records import Camera, Reading, Track
from .checks import numbers_of
from .register import as_dict, reader
from .releases import (
    array_of,
    choose,
    clip_of_pictures,
    concatenated,
    detections_of,
    named,
    projected,
    read_pickled_dict,
    read_sequences,
    release,
    track_of,
)
from .results import OPENPOSE


@reader(
    "threedpw",
    order=350,
    kind="sequences",
    reads="3DPW",
    recognised="pickle with jointPositions",
    fits=lambda file: "jointPositions" in as_dict(file.pickled),
)
def read_threedpw(path: str | Path, *, split: str | None = None, on_bad: str = "raise") -> Reading:
    """Clips of 3DPW with one or two people (smpl24, xyz_camera_mm), and the 2D detections that come
    with them.

    path: the folder (sequenceFiles/SPLIT/*.pkl, imageFiles/SEQUENCE/image_00000.jpg), or one
    sequence's pkl. split: "train", "validation" or "test". xy_frame is the projection of
    jointPositions (m, world) by cam_poses and cam_intrinsics, also outside of the frame. Frames
    with campose_valid 0 are not labelled. Nothing says what is occluded. poses2d, OpenPose's 18
    joints, are what a detector said: `detections` (coco17, without the neck), one row for each
    person and frame with any joint; `tracks` is the person, `frames` the frame, `images`
    SEQUENCE/image_00000.jpg. The camera moves: `cameras` holds each sequence's lens, at the origin.
    Pictures that are not there are one warning. Errors: `MissingFile`, `EmptyFile`, `BadFile`,
    `UnsafeFile`, `UnknownName` for a split, `BadRecord` with the sequence and person
    (`on_bad="raise"`: the first, with the count).
    """
    path = Path(path)
    folder = "*"
    if split is not None:
        folder = choose("split", split, ("train", "validation", "test"), path)
    root, files = release(path, "threedpw", f"sequenceFiles/{folder}/*.pkl")
    return read_sequences("threedpw", path, files, partial(_read_clip, root), on_bad)


def _read_clip(root: Path, file: Path) -> Reading:
    content = read_pickled_dict(file)
    stated = content.get("sequence")
    name = stated if type(stated) is str else file.stem
    with named(file, name):
        people = _people(content)
        poses = array_of(content, "cam_poses", (None, 4, 4), gaps=True)
        lens = array_of(content, "cam_intrinsics", (3, 3))
        if not len(poses):
            raise BadRecord("cam_poses has no frames")
        camera = Camera(np.eye(3), np.zeros(3), np.diag(lens)[:2], lens[:2, 2], name=name)
        pictures = [f"image_{i:05}.jpg" for i in range(len(poses))]
        images = [f"{name}/{picture}" for picture in pictures]
        tracks, seen = [], []
        for person, (joints, valid, keypoints) in enumerate(people):
            with named(file, f"{name}, person {person}"):
                tracks.append(_track(person, joints, valid, poses, camera))
                if keypoints is not None:
                    shape = (len(poses), 3, 18)
                    joints = numbers_of(keypoints, "poses2d", shape).swapaxes(1, 2)
                    seen.append(detections_of("coco17", joints[:, OPENPOSE[18]], images, person))
        clip = clip_of_pictures(root / "imageFiles" / name, pictures, tracks, name, fps=30)
    cameras, detections = {name: camera}, concatenated(seen)
    return Reading("threedpw", str(file), None, detections, clips=(clip,), cameras=cameras)


def _people(content: Mapping) -> list[tuple[object, object, object]]:
    """jointPositions, campose_valid and poses2d (None where there is none) of each person."""
    joints, valid = content.get("jointPositions"), content.get("campose_valid")
    for column in (joints, valid):
        listed = type(column) is list or getattr(column, "ndim", 0) > 1
        if not listed or len(column) != len(joints):
            problem = "jointPositions and campose_valid are no lists with an array for each person"
            raise BadRecord(problem)
    seen = content.get("poses2d")
    seen = seen if type(seen) is list else []
    return list(zip(joints, valid, [*seen, *[None] * len(joints)]))


def _track(person: int, joints, valid, poses: np.ndarray, camera: Camera) -> Track:
    """A person of joints [t 72] m in the world, before a camera that poses [t 4 4] move."""
    t = len(poses)
    usable = numbers_of(valid, "campose_valid", (t,)) > 0
    world = numbers_of(joints, "jointPositions", (t, 72), gaps=True).reshape(t, 24, 3)
    if not (np.isfinite(world[usable]).all() and np.isfinite(poses[usable]).all()):
        raise BadRecord("a frame with a valid camera has a value that is not finite")
    xyz = 1000 * (world @ poses[:, :3, :3].swapaxes(1, 2) + poses[:, None, :3, 3])
    xy, ahead = projected(camera, xyz, usable[:, None])
    return track_of("smpl24", person, xy, ahead, xyz)
