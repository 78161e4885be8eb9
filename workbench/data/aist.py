"""AIST++: dances, seen by nine cameras."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import BadFile, BadRecord
from ..records import Camera, Clip, Detections, Reading, Video
from .register import as_dict, reader
from .releases import (
    array_of,
    arrays_of,
    choose,
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
from .safe import read_json

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
    path: str | Path,
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
    path = Path(path)
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
    settings, cameras = _cameras(root)
    read = partial(_read_dance, root, views, settings, cameras)
    reading = read_sequences("aist", path, files, read, on_bad, notes)
    return replace(reading, cameras=cameras)


def _cameras(root: Path) -> tuple[dict[str, str], dict[str, Camera]]:
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
                cameras[name] = _camera(name, entry)
    return settings, cameras


def _camera(name: str, entry: Mapping) -> Camera:
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


def _read_dance(
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
        videos = {view: name.replace("cAll", view) for view in views}
        clips = []
        for view, video in videos.items():
            camera = cameras.get(f"{settings.get(name)}.{view}")
            if camera:
                clips.append(_clip(root / "videos" / f"{video}.mp4", camera, world))
        motions, gaps = motions_of(file, name, "coco17", world, fps=60)
        seen = _seen(root / "keypoints2d" / file.name, len(world), videos)
    return Reading("aist", str(file), detections=seen, clips=clips, motions=motions, warnings=gaps)


def _clip(file: Path, camera: Camera, world_mm: np.ndarray) -> Clip:
    """The dance [t 17 3] as a camera sees it."""
    xyz = (world_mm - camera.position_mm) @ camera.rotation.T
    xy, ahead = projected(camera, xyz, np.isfinite(world_mm).all(2))
    track = track_of("coco17", 0, xy, ahead, xyz)
    width, height = camera.size_wh or (None, None)
    return Clip(Video(str(file), len(xy), width, height, 60), [track], name=file.stem)


def _seen(file: Path, n_frames: int, videos: Mapping[str, str]) -> Detections | None:
    """What the detector saw in each view's video; a NaN says that it found nobody."""
    if not (videos and os.path.isfile(file)):
        return None
    content, shape = read_pickled_dict(file), (9, n_frames, 17, 3)
    keypoints = array_of(content, "keypoints2d", shape, gaps=True, file=file)
    return concatenated(
        detections_of("coco17", keypoints[AIST_VIEWS.index(view)], [video] * n_frames)
        for view, video in videos.items()
    )
