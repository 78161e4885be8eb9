"""Released data sets of people in sequences: JHMDB, 3DPW, AIST++."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import BadFile, BadRecord, MissingFile
from ..geometry import box_of_points
from ..records import Camera, Clip, Reading, Track, Video
from .checks import numbers_of
from .coco import read_coco
from .matlab import read_variables
from .readers import as_dict, reader
from .releases import (
    array_of,
    arrays_of,
    choose,
    clip_of_pictures,
    concatenated,
    detections_of,
    mapping_of,
    motions_of,
    named,
    projected,
    read_pickled_dict,
    read_sequences,
    release,
    text_lines,
    track_of,
)
from .results.openpose import JOINTS as OPENPOSE
from .safe import read_json

# --- JHMDB ----------------------------------------------------------------------------------------

JHMDB_SPLITS = tuple(
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
def read_jhmdb(path: Path, *, split: str | None = None, on_bad: str = "raise") -> Reading:
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
    if path.suffix == ".json" or not (os.path.isdir(path / "joint_positions") or path.is_file()):
        _, (file, *_) = release(path, "jhmdb", "*.json")
        reading = read_coco(file, skeleton="jhmdb15", occlusion_known=False, on_bad=on_bad)
        poses = reading.poses
        xy = np.where(poses.labelled[..., None], poses.xy_frame - 1, 0)
        poses = replace(poses, xy_frame=xy, boxes_xyxy=poses.boxes_xyxy - 1)
        return replace(reading, reader="jhmdb", poses=poses)
    root, files = release(path, "jhmdb", "joint_positions/*/*/joint_positions.mat")
    lost = []
    if split is not None:
        wanted, known = _clips_of_split(root, split), set(map(_jhmdb_name, files))
        files = [file for file in files if _jhmdb_name(file) in wanted]
        lost = sorted(wanted - known)
    lost = [MissingFile("no joint_positions.mat", file=root, record=name) for name in lost]
    return read_sequences(path, files, partial(_jhmdb_clip, root), on_bad, lost)


def _jhmdb_name(file: Path) -> str:
    """ACTION/CLIP, as a split and the folders of pictures and masks call it."""
    return f"{file.parent.parent.name}/{file.parent.name}"


def _clips_of_split(root: Path, split: str) -> set[str]:
    """ACTION/CLIP of each clip in a split, from (sub_)splits/ACTION_test_split1.txt."""
    choose("split", split, JHMDB_SPLITS, root)
    folder = "sub_splits" if split.startswith("sub_") else "splits"
    flag = "1" if "train" in split else "2"
    end = f"_test_split{split[-1]}.txt"
    names = set()
    for file in release(root, "jhmdb", f"{folder}/*{end}")[1]:
        for line in text_lines(file):
            clip, _, part = line.rpartition(" ")
            if part not in ("0", "1", "2"):
                raise BadRecord(
                    "CLIP.avi and 1 (train) or 2 (test) expected", file=file, record=repr(line)[:80]
                )
            if part == flag:
                names.add(f"{file.name.removesuffix(end)}/{clip.strip().removesuffix('.avi')}")
    return names


def _jhmdb_clip(root: Path, file: Path) -> Reading:
    name = _jhmdb_name(file)
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
    return Reading(clips=(clip,))


# --- 3DPW -----------------------------------------------------------------------------------------


@reader(
    "threedpw",
    order=350,
    kind="sequences",
    reads="3DPW",
    recognised="pickle with jointPositions",
    fits=lambda file: "jointPositions" in as_dict(file.pickled),
)
def read_threedpw(path: Path, *, split: str | None = None, on_bad: str = "raise") -> Reading:
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
    if split is not None:
        choose("split", split, ("train", "validation", "test"), path)
    root, files = release(path, "threedpw", f"sequenceFiles/{split or '*'}/*.pkl")
    return read_sequences(path, files, partial(_threedpw_clip, root), on_bad)


def _threedpw_clip(root: Path, file: Path) -> Reading:
    content = read_pickled_dict(file)
    stated = content.get("sequence")
    name = stated if type(stated) is str else file.stem
    with named(file, name):
        joints, valid = content.get("jointPositions"), content.get("campose_valid")
        for column in (joints, valid):
            listed = type(column) is list or getattr(column, "ndim", 0) > 1
            if not listed or len(column) != len(joints):
                raise BadRecord(
                    "jointPositions and campose_valid are no lists with an array for each person"
                )
        poses = array_of(content, "cam_poses", (None, 4, 4), gaps=True)
        lens = array_of(content, "cam_intrinsics", (3, 3))
        if not len(poses):
            raise BadRecord("cam_poses has no frames")
        camera = Camera(np.eye(3), np.zeros(3), np.diag(lens)[:2], lens[:2, 2], name=name)
        pictures = [f"image_{i:05}.jpg" for i in range(len(poses))]
        images = [f"{name}/{picture}" for picture in pictures]
        tracks, seen = [], content.get("poses2d")
        detected = []
        for person in range(len(joints)):
            with named(file, f"{name}, person {person}"):
                tracks.append(_threedpw_track(person, joints[person], valid[person], poses, camera))
                if type(seen) is list and person < len(seen):
                    shape = (len(poses), 3, 18)
                    keypoints = numbers_of(seen[person], "poses2d", shape).swapaxes(1, 2)
                    keypoints = keypoints[:, OPENPOSE[18]]
                    detected.append(detections_of("coco17", keypoints, images, person))
        clip = clip_of_pictures(root / "imageFiles" / name, pictures, tracks, name, fps=30)
    cameras, detections = {name: camera}, concatenated(detected)
    return Reading(detections=detections, clips=(clip,), cameras=cameras)


def _threedpw_track(person: int, joints, valid, poses: np.ndarray, camera: Camera) -> Track:
    """A person of joints [t 72] m in the world, before a camera that poses [t 4 4] move."""
    t = len(poses)
    usable = numbers_of(valid, "campose_valid", (t,)) > 0
    world = numbers_of(joints, "jointPositions", (t, 72), gaps=True).reshape(t, 24, 3)
    if not (np.isfinite(world[usable]).all() and np.isfinite(poses[usable]).all()):
        raise BadRecord("a frame with a valid camera has a value that is not finite")
    xyz = 1000 * (world @ poses[:, :3, :3].swapaxes(1, 2) + poses[:, None, :3, 3])
    xy, ahead = projected(camera, xyz, usable[:, None])
    return track_of("smpl24", person, xy, ahead, xyz)


# --- AIST++ ---------------------------------------------------------------------------------------

AIST_VIEWS = tuple(f"c{i:02}" for i in range(1, 10))
_LENS = {
    "matrix": (3, 3),
    "distortions": (5,),
    "rotation": (3,),
    "translation": (3,),
    "size": (2,),
}


@reader(
    "aist",
    order=360,
    kind="sequences",
    reads="AIST++",
    recognised="pickle with keypoints3d",
    fits=lambda file: {"keypoints3d", "keypoints3d_optim"} & set(as_dict(file.pickled)),
)
def read_aist(
    path: Path,
    *,
    split: str | None = None,
    views: Sequence[str] = AIST_VIEWS,
    on_bad: str = "raise",
) -> Reading:
    """Dances of AIST++: each a Motion (coco17, world, from keypoints3d_optim, else keypoints3d);
    where cameras/ is there, a Clip for each view with the projected joints; where keypoints2d/ is
    there, what its detector saw in these views.

    path: the annotations' folder (keypoints3d, keypoints2d, cameras, splits, ignore_list.txt), or a
    keypoints3d/*.pkl. split: name of a list in splits/, such as "pose_train" or "crossmodal_test".
    views: which cameras; all nine of the 1,408 sequences take some 4 GB, () takes motions alone.
    Files state cm. A NaN frame is not labelled in a clip and cut out of a motion, with a warning;
    sequences of the release's ignore_list.txt are left out, with a warning. Nothing says what is
    occluded. `detections`: `images` is the video's name, `frames` the frame. Videos that are not
    there are one warning. Errors: `MissingFile`, `EmptyFile`, `BadFile`, `UnsafeFile`,
    `UnknownName` for a split or view, `BadRecord` with the sequence (`on_bad="raise"`: the first,
    with the count) or camera.
    """
    root, files = release(path, "aist", "keypoints3d/*.pkl")
    for view in views:
        choose("view", view, AIST_VIEWS, root)
    if split is not None:
        choose("split", split, [file.stem for file in root.glob("splits/*.txt")], root)
        lines = text_lines(root / "splits" / f"{split}.txt")
        names = {re.sub(r"_c\d\d_", "_cAll_", line) for line in lines}
        files = [file for file in files if file.stem in names]
    ignore_list = root / "ignore_list.txt"
    ignored = text_lines(ignore_list) if os.path.isfile(ignore_list) else []
    problem = "on ignore_list.txt"
    notes = [BadRecord(problem, file=f, record=f.stem) for f in files if f.stem in ignored]
    files = [file for file in files if file.stem not in ignored]
    settings, cameras = _aist_cameras(root)
    read = partial(_dance, root, views, settings, cameras)
    reading = read_sequences(path, files, read, on_bad, notes)
    return replace(reading, cameras=cameras)


def _aist_cameras(root: Path) -> tuple[dict[str, str], dict[str, Camera]]:
    """Each sequence's setting, and the cameras as SETTING.c01; both empty where
    cameras/mapping.txt is not there.
    """
    mapping = root / "cameras" / "mapping.txt"
    if not os.path.isfile(mapping):
        return {}, {}
    settings = {}
    for line in text_lines(mapping):
        words = line.split()
        if len(words) != 2:
            raise BadRecord("SEQUENCE SETTING expected", file=mapping, record=line[:80])
        settings[words[0]] = words[1]
    cameras = {}
    for setting in sorted(set(settings.values())):
        file = root / "cameras" / f"{setting}.json"
        entries = read_json(file)
        if type(entries) is not list:
            raise BadFile("a list of cameras expected", file=file)
        for i, entry in enumerate(entries):
            with named(file, f"{setting}[{i}]"):
                name = f"{setting}.{mapping_of(entry).get('name')}"
            with named(file, name):
                cameras[name] = _aist_camera(name, entry)
    return settings, cameras


def _aist_camera(name: str, entry: Mapping) -> Camera:
    """A camera of OpenCV's model: a point of the world in cm is turned, then shifted."""
    lens, distortions, turn, shift, size = arrays_of(entry, _LENS, tree=True)
    if distortions[2:4].any():
        raise BadRecord("tangential distortion, in OpenCV's sense: AIST++ states none")
    rotation = Rotation.from_rotvec(turn).as_matrix()
    return Camera(
        rotation,
        -10 * rotation.T @ shift,
        np.diag(lens)[:2],
        lens[:2, 2],
        distortions[[0, 1, 4]],
        name=name,
        size_wh=tuple(size.astype(int).tolist()) if (size > 0).all() else None,
    )


def _dance(
    root: Path,
    views: Sequence[str],
    settings: Mapping[str, str],
    cameras: Mapping[str, Camera],
    file: Path,
) -> Reading:
    name = file.stem
    with named(file, name):
        content = read_pickled_dict(file)
        key = "keypoints3d_optim" if "keypoints3d_optim" in content else "keypoints3d"
        world = 10 * array_of(content, key, (None, 17, 3), gaps=True)
        if not len(world):
            raise BadRecord("no frames")
        keypoints, seen_file = None, root / "keypoints2d" / file.name
        if views and os.path.isfile(seen_file):
            seen, shape = read_pickled_dict(seen_file), (9, len(world), 17, 3)
            keypoints = array_of(seen, "keypoints2d", shape, gaps=True, file=seen_file)
        clips, seen = [], []
        for view in views:
            video = name.replace("cAll", view)
            camera = cameras.get(f"{settings.get(name)}.{view}")
            if camera:
                clips.append(_dance_clip(root / "videos" / f"{video}.mp4", camera, world))
            if keypoints is not None:  # a NaN says that the detector found nobody
                of_view = keypoints[AIST_VIEWS.index(view)]
                seen.append(detections_of("coco17", of_view, [video] * len(world)))
        motions, gaps = motions_of(file, name, "coco17", world, fps=60)
    seen = concatenated(seen)
    return Reading(detections=seen, clips=clips, motions=motions, warnings=gaps)


def _dance_clip(file: Path, camera: Camera, world_mm: np.ndarray) -> Clip:
    """The dance [t 17 3] as a camera sees it."""
    xyz = (world_mm - camera.position_mm) @ camera.rotation.T
    xy, ahead = projected(camera, xyz, np.isfinite(world_mm).all(2))
    track = track_of("coco17", 0, xy, ahead, xyz)
    width, height = camera.size_wh or (None, None)
    return Clip(Video(str(file), len(xy), width, height, 60), [track], name=file.stem)
