"""Sequences of people: Human3.6M, JHMDB, 3DPW, AIST++, and these four as DeciWatch's authors give
them out.

None of them says what is occluded: labelled joints are visibility 2 with `occlusion_known=False`.
`split` takes the names that a release itself uses, None everything. Of many bad records the first
is raised with their count (`on_bad="raise"`), or all stand in the warnings (`"report"`); pictures
that are not there are one warning. Errors of all readers here: `MissingFile`, `EmptyFile`,
`BadFile`, `BadRecord` with the sequence or row, `UnsafeFile`, and `UnknownName` for a split, view
or estimator that is not there.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import BadFile, BadParameter, BadRecord, MissingFile, WorkbenchError, unknown
from ..geometry import box_of_points, cxcywh_to_xyxy, project
from ..records import Camera, Clip, Detections, Motion, Picture, Pose, Reading, Track, Video
from ..skeletons import skeleton
from .checks import each, numbers_of, settle, texts_of
from .coco import read_coco
from .register import as_dict, reader
from .results import BOX_UNIT_PX, OPENPOSE
from .safe import read_bytes, read_json, read_npy, read_npz, read_variables, safe_unpickle

AIST_VIEWS = tuple(f"c{i:02}" for i in range(1, 10))
_NEAR_MM = 1.0  # joints nearer to the camera's plane are not projected; unstated; ours


# --- what all share -------------------------------------------------------------------------------


def _files(path: Path, pattern: str, depth: int) -> tuple[Path, list[Path]]:
    """A release's folder and its files of that pattern; or one such file, and the folder so many
    levels above it.
    """
    if os.path.isfile(path):
        return Path(os.path.normpath(path.absolute().parent / "/".join([".."] * depth))), [path]
    files = sorted(
        f
        for f in path.glob(pattern)
        if not f.name.startswith(".") and not f.parent.name.startswith(".")
    )
    if not files:
        raise MissingFile(
            f"no {pattern}", file=path, remedy="name the folder of the release, or one of its files"
        )
    return path, files


def _first(roots: Sequence[Path], names: Sequence[str]) -> Path | None:
    return next(
        (root / name for root in roots for name in names if os.path.isfile(root / name)), None
    )


def _choose(kind: str, name: str, known: Iterable[str], path: Path) -> str:
    if name not in known:
        raise unknown(kind, name, known, file=path)
    return name


def _dict(content: object, path: Path, **where) -> Mapping:
    if type(content) is not dict:
        raise BadFile(
            f"{type(content).__name__}, a dict expected",
            file=path,
            remedy="check the layout",
            **where,
        )
    return content


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in read_bytes(path).decode("latin1").splitlines() if line.strip()]


def _absent(lost: Sequence[str], total: int, root: Path) -> list[WorkbenchError]:
    problem, remedy = (
        f"{len(lost)} of {total} clips lack pictures or video",
        "only pixels need them",
    )
    return [MissingFile(problem, file=root, record=lost[0], remedy=remedy)] if lost else []


def _clip(
    folder: Path, pictures: Sequence[str], tracks: Sequence[Track], name: str, bare: list[str], **kw
) -> Clip:
    """A clip of picture files; its name is added to `bare` where the last of them is not there."""
    if not os.path.isfile(folder / pictures[-1]):
        bare.append(name)
    return Clip(
        Video(str(folder), len(pictures), **kw), tracks, tuple(map(Picture, pictures)), name
    )


def _track(
    name: str, number: int, xy: np.ndarray, labelled: np.ndarray, xyz=None, boxes=None
) -> Track:
    """A track whose joints [t k] are labelled as said; boxes tight around them where none are
    given (ours).
    """
    seen = labelled.any(1)
    if boxes is None:
        boxes = np.zeros((len(xy), 4))
        boxes[seen] = box_of_points(xy[seen], labelled[seen])
    return Track(
        name,
        number,
        np.where(labelled[..., None], xy, 0),
        2 * labelled,
        seen,
        np.where(seen[:, None], boxes, 0),
        occlusion_known=False,
        xyz_camera_mm=None if xyz is None else np.where(labelled[..., None], xyz, 0),
    )


def _projected(
    name: str, number: int, camera: Camera, xyz: np.ndarray, usable: np.ndarray
) -> Track:
    """A track from camera-space joints in mm; those [t k] not usable, or behind the camera, are
    not labelled.
    """
    labelled = usable & (np.where(usable, xyz[..., 2], 0) > _NEAR_MM)
    xy = np.zeros((*xyz.shape[:2], 2))
    xy[labelled] = project(camera, xyz[labelled])
    return _track(name, number, xy, labelled, xyz)


@cache
def _tree(name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Joint names of a skeleton, and each joint's parent on the shortest way to the root."""
    s = skeleton(name)
    parents, queue = {s.root: -1}, [s.root]
    for i in queue:
        new = [j for j in np.flatnonzero(s.adjacency[i]).tolist() if j not in parents]
        parents.update(dict.fromkeys(new, i))
        queue += new
    return s.joints, tuple(parents[i] for i in range(len(s)))


def _motions(
    name: str, joints: str, xyz_mm: np.ndarray, detected: np.ndarray | None, file: Path, **kw
) -> tuple[list[Motion], list[WorkbenchError]]:
    """The motion, cut where a frame has a NaN, as published files do: NAME[first:end] where it
    does not span all.
    """
    whole = np.isfinite(xyz_mm if detected is None else xyz_mm + detected).all((1, 2))
    edges = np.flatnonzero(np.diff(whole, prepend=False, append=False))
    found = []
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        part, title = (
            None if detected is None else detected[a:b],
            name if b - a == len(whole) else f"{name}[{a}:{b}]",
        )
        found.append(Motion(*_tree(joints), xyz_mm[a:b], detected=part, name=title, **kw))
    gaps = f"{(~whole).sum()} of {len(whole)} frames have a NaN, the first is {int(whole.argmin())}: not labelled"
    return found, [] if whole.all() else [BadRecord(gaps, file=file, record=name)]


def _detections(name: str, parts: list[tuple], path: Path) -> Detections | None:
    """Of (joints [n k 3], boxes [n 4] or None: around joints with any confidence (ours), track,
    frames, images).
    """
    if not sum(len(part[0]) for part in parts):
        return None
    boxes = [b if b is not None else box_of_points(j[..., :2], j[..., 2] > 0) for j, b, *_ in parts]
    joints, frames = (np.concatenate([part[i] for part in parts]) for i in (0, 3))
    return Detections(
        name,
        joints[..., :2],
        joints[..., 2],
        np.concatenate(boxes),
        source=str(path),
        frames=frames,
        tracks=np.repeat([part[2] for part in parts], [len(part[0]) for part in parts]),
        images=tuple(image for part in parts for image in part[4]),
    )


# --- Human3.6M ------------------------------------------------------------------------------------


_H36M_NAME = re.compile(r"(?:.*/)?([^/_]+)_([^/.]+)\.([^/_]+)_\w+\.\w+")


def h36m_names(image: str) -> tuple[str, str, str]:
    """Subject, action and camera in a file name such as S1_Directions_1.54138969_000001.jpg;
    `BadRecord` otherwise.
    """
    found = _H36M_NAME.fullmatch(image)
    if not found:
        raise BadRecord(
            "not SUBJECT_ACTION.CAMERA_FRAME.jpg", record=image, remedy="use Human3.6M's file names"
        )
    return found.groups()


def read_h36m_cameras(path: str | Path) -> dict[str, Camera]:
    """Cameras by "S1.54138969" of a cameras.pkl, or of the same as json.

    {(subject, id): {R, T, f, c, k, p, w, h}}: R turns from camera to world, T is the position in m.
    """
    path = Path(path)
    tree = path.suffix == ".json"
    cameras = {}
    for key, entry in _dict(read_json(path) if tree else safe_unpickle(path), path).items():
        name = ".".join(map(str, key)) if type(key) is tuple else str(key)
        where = {"file": path, "record": name}
        entry = _dict(entry, path, record=name)
        position, *lens = (
            numbers_of(entry.get(k), k, (n, 1), tree=tree, **where)[:, 0]
            for k, n in zip("Tfckp", (3, 2, 2, 3, 2))
        )
        size = entry.get("w"), entry.get("h")
        size = size if all(type(s) is int and s > 0 for s in size) else None
        rotation = numbers_of(entry.get("R"), "R", (3, 3), tree=tree, **where)
        cameras[name] = Camera(rotation.T, 1000 * position, *lens, size_wh=size, name=name)
    return cameras


@reader(
    "h36m",
    order=330,
    kind="annotations",
    reads="Human3.6M by MMPose",
    recognised="npz with imgname, part, S",
    fits=lambda file: {"imgname", "part", "S"} <= set(file.arrays),
)
def read_h36m(path: str | Path, *, split: str | None = None, on_bad: str = "raise") -> Reading:
    """Poses of Human3.6M as prepared for MMPose, with xyz_camera_mm, row by row with 2D detections
    where there are any.

    path: the folder, or an npz with imgname, center, scale, part [n 17 3] (px, flag) and S [n 17 4]
        (camera space m, flag). In the folder: cameras.pkl or .json (or in annotation_body3d), and
        detections [n 17 3] (px, confidence), test_h36m_2d_detection.npy or
        joint_2d_det_files/cpn_ft_h36m_dbb_test.npy.
    split: "train" (S1, 5, 6, 7, 8) or "test" (S9, 11); None takes test where the folder has it.
    Boxes are the squares that center and scale (200 px) state, for detections too. Groups are
    subject and action: four cameras see the same motion. The camera of a row is
    `cameras[f"{subject}.{camera}"]` by `h36m_names`.
    """
    path = Path(path)
    splits = (
        ("test", "train") if split is None else (_choose("split", split, ("test", "train"), path),)
    )
    layouts = (
        "{}_h36m_body3d.npz",
        "annotation_body3d/fps50/h36m_{}.npz",
        "annotation_body3d/fps10/h36m_{}.npz",
    )
    npz = (
        path
        if os.path.isfile(path)
        else _first([path], [form.format(s) for s in splits for form in layouts])
    )
    if npz is None:
        raise MissingFile(
            f"none of {', '.join(layouts)}, {{}} being {' or '.join(splits)}", file=path
        )
    split, roots = "train" if "train" in npz.name else "test", [path, *npz.absolute().parents[:3]]
    where = {"file": npz}
    content = read_npz(npz, ("imgname", "center", "scale", "part", "S"))
    images = texts_of(content["imgname"], "imgname", **where)
    n = len(images)
    shapes = {"part": (n, 17, 3), "S": (n, 17, 4), "center": (n, 2), "scale": (n,)}
    part, xyz, centre, scale = (
        numbers_of(content[key], key, s, gaps=True, **where) for key, s in shapes.items()
    )
    found = _first(
        roots, (f"{split}_h36m_2d_detection.npy", f"joint_2d_det_files/cpn_ft_h36m_dbb_{split}.npy")
    )
    seen = (
        part
        if found is None
        else numbers_of(read_npy(found), "the array", (n, 17, 3), gaps=True, file=found)
    )
    flags = np.stack((part[..., 2], xyz[..., 3]), -1)
    checks = {
        "a value that is not finite": ~np.all(
            [np.isfinite(array).all((1, 2)) for array in (part, xyz, seen)], 0
        ),
        "a flag other than 0 and 1": ~((flags == 0) | (flags == 1)).all((1, 2)),
        "a box without centre or size": ~(np.isfinite(centre).all(1) & (scale > 0)),
        "no name like S1_Directions_1.54138969_000001.jpg": np.array(
            [not _H36M_NAME.fullmatch(image) for image in images], bool
        ),
    }
    bad = {row: what for what, rows in checks.items() for row in np.flatnonzero(rows).tolist()}
    errors = [
        BadRecord(f"has {bad[row]}", record=f"row {row} ({images[row]})", **where)
        for row in sorted(bad)
    ]
    settle(errors, n, "rows", on_bad, npz)
    rows = np.setdiff1d(np.arange(n), list(bad))
    labelled = (flags[rows] > 0).all(2)
    kept = {"ids": tuple(map(str, rows)), "images": tuple(images[i] for i in rows)}
    kept["boxes_xyxy"] = cxcywh_to_xyxy(
        np.concatenate((centre, *[BOX_UNIT_PX * scale[:, None]] * 2), 1)[rows]
    )
    poses = Pose(
        "h36m17",
        np.where(labelled[..., None], part[rows, :, :2], 0),
        2 * labelled,
        occlusion_known=False,
        **kept,
        groups=tuple("_".join(h36m_names(image)[:2]) for image in kept["images"]),
        xyz_camera_mm=np.where(labelled[..., None], 1000 * xyz[rows, :, :3], 0),
    )
    detections = found and Detections(
        "h36m17", seen[rows, :, :2], seen[rows, :, 2], source=str(found), **kept
    )
    cameras = _first(
        roots,
        [f"{sub}cameras{end}" for sub in ("", "annotation_body3d/") for end in (".pkl", ".json")],
    )
    if cameras is None:
        errors.append(
            MissingFile(
                "no cameras.pkl or cameras.json", file=npz, remedy="only projections need it"
            )
        )
    cameras = read_h36m_cameras(cameras) if cameras else {}
    return Reading("h36m", str(path), poses, detections, cameras=cameras, warnings=tuple(errors))


# --- JHMDB ----------------------------------------------------------------------------------------


def _jhmdb_split(root: Path, split: str) -> set[str]:
    """ACTION/CLIP of a split such as "test1" or "sub_train3", from
    (sub_)splits/ACTION_test_split1.txt.
    """
    known = [
        f"{sub}{kind}{i}" for sub in ("", "sub_") for kind in ("train", "test") for i in (1, 2, 3)
    ]
    folder = "sub_splits" if _choose("split", split, known, root).startswith("sub_") else "splits"
    flag, end = "1" if "train" in split else "2", f"_test_split{split[-1]}.txt"
    _, files = _files(root, f"{folder}/*{end}", 0)
    rows = [
        (file.name.removesuffix(end), *line.rpartition(" "))
        for file in files
        for line in _lines(file)
    ]
    if odd := [row for row in rows if row[3] not in ("0", "1", "2")]:
        raise BadRecord(
            "CLIP.avi and 1 (train) or 2 (test) expected",
            file=root / folder,
            record=repr(odd[0][1:])[:80],
        )
    return {
        f"{action}/{clip.strip().removesuffix('.avi')}"
        for action, clip, _, own in rows
        if own == flag
    }


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
    labelled. Boxes: around the puppet mask, else around joints.
    """
    path = Path(path)
    released = os.path.isdir(path / "joint_positions")
    if path.suffix == ".json" or not (released or os.path.isfile(path)):
        _, (file, *_) = _files(path, "*.json", 0)
        found = read_coco(file, skeleton="jhmdb15", occlusion_known=False, on_bad=on_bad)
        xy = np.where(found.poses.labelled[..., None], found.poses.xy_frame - 1, 0)
        poses = replace(found.poses, xy_frame=xy, boxes_xyxy=found.poses.boxes_xyxy - 1)
        return replace(found, reader="jhmdb", poses=poses)
    root, files = _files(path, "joint_positions/*/*/joint_positions.mat", 3)
    named = {f"{file.parent.parent.name}/{file.parent.name}": file for file in files}
    chosen = set(named) if split is None else _jhmdb_split(root, split)
    bare = []

    def clip(name: str) -> Clip:
        where = {"file": named[name], "record": name}
        stated = numbers_of(
            read_variables(named[name]).get("pos_img"), "pos_img", (2, 15, None), **where
        )
        xy = stated.transpose(2, 1, 0) - 1
        if not (t := len(xy)):
            raise BadRecord("pos_img has no frames", **where)
        boxes, mask, size = box_of_points(xy), root / "puppet_mask" / name / "puppet_mask.mat", {}
        if os.path.isfile(mask):
            inside = (
                numbers_of(
                    read_variables(mask).get("part_mask"), "part_mask", (None,) * 3, file=mask
                )
                > 0
            )
            size = {"height": inside.shape[0], "width": inside.shape[1]}
            for i in np.flatnonzero(inside[:, :, :t].any((0, 1))):
                y, x = np.nonzero(inside[:, :, i])
                boxes[i] = x.min(), y.min(), x.max() + 1, y.max() + 1
        track = _track("jhmdb15", 0, xy, np.ones((t, 15), bool), boxes=boxes)
        pictures = [f"{i + 1:05}.png" for i in range(t)]
        return _clip(root / "Rename_Images" / name, pictures, [track], name, bare, **size)

    clips, warnings = each(sorted(chosen & set(named)), clip, "sequences", on_bad, path)
    warnings += [
        MissingFile("no joint_positions.mat", file=root, record=name)
        for name in sorted(chosen - set(named))
    ]
    return Reading(
        "jhmdb",
        str(path),
        clips=tuple(clips),
        warnings=(*warnings, *_absent(bare, len(clips), root)),
    )


# --- 3DPW -----------------------------------------------------------------------------------------


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
    with campose_valid 0 are not labelled. poses2d, OpenPose's 18 joints, are what a detector said:
    `detections` (coco17, without the neck), one row for each person and frame with any joint;
    `tracks` is the person, `frames` the frame, `images` SEQUENCE/image_00000.jpg. The camera moves:
    `cameras` holds each sequence's lens, at the origin.
    """
    path, folder = Path(path), "*"
    if split is not None:
        folder = _choose("split", split, ("train", "validation", "test"), path)
    root, files = _files(path, f"sequenceFiles/{folder}/*.pkl", 2)
    bare, cameras = [], {}

    def sequence(file: Path) -> tuple[Clip, list[tuple]]:
        content = _dict(safe_unpickle(file), file)
        name = content["sequence"] if type(content.get("sequence")) is str else file.stem
        where = {"file": file, "record": name}
        people = content.get("jointPositions"), content.get("campose_valid")
        if not all(
            (type(p) is list or getattr(p, "ndim", 0) > 1) and len(p) == len(people[0])
            for p in people
        ):
            raise BadRecord(
                "jointPositions and campose_valid are no lists with an array for each person",
                **where,
            )
        poses = numbers_of(content.get("cam_poses"), "cam_poses", (None, 4, 4), gaps=True, **where)
        lens = numbers_of(content.get("cam_intrinsics"), "cam_intrinsics", (3, 3), **where)
        if not (t := len(poses)):
            raise BadRecord("cam_poses has no frames", **where)
        cameras[name] = Camera(np.eye(3), np.zeros(3), np.diag(lens)[:2], lens[:2, 2], name=name)
        pictures, tracks, rows = [f"image_{i:05}.jpg" for i in range(t)], [], []
        for person in range(len(people[0])):
            where["record"] = f"{name}, person {person}"
            usable = numbers_of(people[1][person], "campose_valid", (t,), **where) > 0
            world = numbers_of(
                people[0][person], "jointPositions", (t, 72), gaps=True, **where
            ).reshape(t, 24, 3)
            if not (np.isfinite(world[usable]).all() and np.isfinite(poses[usable]).all()):
                raise BadRecord(
                    "a frame with a valid camera has a value that is not finite", **where
                )
            xyz = 1000 * (world @ poses[:, :3, :3].swapaxes(1, 2) + poses[:, None, :3, 3])
            tracks.append(
                _projected("smpl24", person, cameras[name], xyz, np.repeat(usable[:, None], 24, 1))
            )
            if type(found := content.get("poses2d")) is list and person < len(found):
                seen = numbers_of(found[person], "poses2d", (t, 3, 18), **where).swapaxes(1, 2)[
                    :, OPENPOSE[18]
                ]
                frames = np.flatnonzero(seen[..., 2].any(1))
                rows.append(
                    (seen[frames], None, person, frames, [f"{name}/{pictures[i]}" for i in frames])
                )
        return _clip(root / "imageFiles" / name, pictures, tracks, name, bare, fps=30), rows

    found, warnings = each(files, sequence, "sequences", on_bad, path)
    detections = _detections("coco17", [row for _, rows in found for row in rows], path)
    clips, warnings = (
        tuple(clip for clip, _ in found),
        (*warnings, *_absent(bare, len(found), root)),
    )
    return Reading(
        "threedpw", str(path), None, detections, clips=clips, cameras=cameras, warnings=warnings
    )


# --- AIST++ ---------------------------------------------------------------------------------------


def _aist_cameras(root: Path) -> tuple[dict[str, str], dict[str, Camera]]:
    """Each sequence's setting, and the cameras as SETTING.c01; both empty where
    cameras/mapping.txt is not there.
    """
    if not os.path.isfile(mapping := root / "cameras" / "mapping.txt"):
        return {}, {}
    rows = [line.split() for line in _lines(mapping)]
    if odd := [row for row in rows if len(row) != 2]:
        raise BadRecord("SEQUENCE SETTING expected", file=mapping, record=" ".join(odd[0])[:80])
    shapes = {
        "matrix": (3, 3),
        "distortions": (5,),
        "rotation": (3,),
        "translation": (3,),
        "size": (2,),
    }
    cameras = {}
    for setting in sorted({setting for _, setting in rows}):
        file = root / "cameras" / f"{setting}.json"
        if type(entries := read_json(file)) is not list:
            raise BadFile("a list of cameras expected", file=file)
        for i, entry in enumerate(entries):
            name = f"{setting}.{_dict(entry, file, record=f'{setting}[{i}]').get('name')}"
            where = {"file": file, "record": name}
            lens, k, turn, shift, size = (
                numbers_of(entry.get(key), key, s, tree=True, **where) for key, s in shapes.items()
            )
            if k[2:4].any():
                raise BadRecord(
                    "tangential distortion, in OpenCV's sense: AIST++ states none", **where
                )
            turn = Rotation.from_rotvec(turn).as_matrix()
            cameras[name] = Camera(
                turn,
                -10 * turn.T @ shift,
                np.diag(lens)[:2],
                lens[:2, 2],
                k[[0, 1, 4]],
                name=name,
                size_wh=tuple(size.astype(int).tolist()) if (size > 0).all() else None,
            )
    return dict(rows), cameras


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
    sequences of the release's ignore_list.txt are left out, with a warning. `detections`: `images`
    is the video's name, `frames` the frame.
    """
    path = Path(path)
    root, files = _files(path, "keypoints3d/*.pkl", 1)
    if split is not None:
        _choose("split", split, [file.stem for file in root.glob("splits/*.txt")], root)
        names = {
            re.sub(r"_c\d\d_", "_cAll_", name) for name in _lines(root / "splits" / f"{split}.txt")
        }
        files = [file for file in files if file.stem in names]
    ignored = _lines(root / "ignore_list.txt") if os.path.isfile(root / "ignore_list.txt") else []
    notes = [
        BadRecord("on ignore_list.txt", file=file, record=file.stem)
        for file in files
        if file.stem in ignored
    ]
    files = [file for file in files if file.stem not in ignored]
    settings, cameras = _aist_cameras(root)
    bare, clips, motions, rows = [], [], [], []

    def dance(file: Path) -> None:
        name, where = file.stem, {"file": file, "record": file.stem}
        content = _dict(safe_unpickle(file), file)
        key = "keypoints3d_optim" if "keypoints3d_optim" in content else "keypoints3d"
        world = 10 * numbers_of(content.get(key), key, (None, 17, 3), gaps=True, **where)
        if not (t := len(world)):
            raise BadRecord("no frames", **where)
        seen, usable = None, np.isfinite(world).all(2)
        if views and os.path.isfile(found := root / "keypoints2d" / file.name):
            content = _dict(safe_unpickle(found), found)
            own = {"gaps": True, "file": found, "record": name}
            seen = numbers_of(content.get("keypoints2d"), "keypoints2d", (9, t, 17, 3), **own)
        for view in views:
            index, video = (
                AIST_VIEWS.index(_choose("view", view, AIST_VIEWS, root)),
                name.replace("cAll", view),
            )
            if seen is not None:
                # NaN: nobody was found
                frames = np.flatnonzero(np.isfinite(seen[index]).all((1, 2)))
                rows.append((seen[index, frames], None, 0, frames, [video] * len(frames)))
            if camera := cameras.get(f"{settings.get(name)}.{view}"):
                source = root / "videos" / f"{video}.mp4"
                bare.extend([] if os.path.isfile(source) else [video])
                track = _projected(
                    "coco17", 0, camera, (world - camera.position_mm) @ camera.rotation.T, usable
                )
                clips.append(
                    Clip(
                        Video(str(source), t, *(camera.size_wh or (None, None)), 60),
                        [track],
                        (),
                        video,
                    )
                )
        found, gaps = _motions(name, "coco17", world, None, file, fps=60)
        motions.extend(found)
        notes.extend(gaps)

    _, warnings = each(files, dance, "sequences", on_bad, path)
    return Reading(
        "aist",
        str(path),
        None,
        _detections("coco17", rows, path),
        None,
        tuple(clips),
        tuple(motions),
        cameras=cameras,
        warnings=(*warnings, *notes, *_absent(bare, len(clips), root)),
    )


# --- DeciWatch's files ----------------------------------------------------------------------------

DECIWATCH = {  # skeleton, frames a second
    "jhmdb": ("jhmdb15", None),
    "h36m": ("h36m17", 50),
    "pw3d": ("h36m17", 30),
    "aist": ("3dpw14", 60),
}


def _held(
    file: Path, keys: Sequence[str], n: int | None = None, optional: Sequence[str] = ()
) -> dict[str, np.ndarray | list]:
    """Columns with an entry for each of n sequences."""
    held = read_npz(file, keys, optional, objects=True)
    sizes = {key: len(column) if getattr(column, "ndim", 1) else -1 for key, column in held.items()}
    if set(sizes.values()) != {sizes["imgname"] if n is None else n} or -1 in sizes.values():
        raise BadFile(
            f"sequences by column {sizes}, {'equally many' if n is None else n} expected", file=file
        )
    return held


def _rows_of(
    column: np.ndarray | list, i: int, what: str, shape: tuple, gaps: bool = True, **where
) -> np.ndarray:
    """Sequence i of a column in a shape; published files have [t k d] and [t k*d]."""
    value = column[i]
    if isinstance(value, np.ndarray) and value.size and value.ndim > 1:
        value = value.reshape(len(value), -1)
    t, *inner = shape
    return numbers_of(value, what, (t, math.prod(inner)), gaps=gaps, **where).reshape(-1, *inner)


def _pairs(
    path: Path, dataset: str | None, split: str | None, estimator: str | None
) -> Iterator[tuple]:
    """Data set, ground truth, the estimator's file beside it or None, and a warning where there
    was a choice.
    """
    _, files = _files(path, "groundtruth_poses/*/*_gt_*.npz", 0)
    parts = [(file, *file.stem.partition("_gt_")[::2]) for file in files]
    chosen = [
        part
        for part in parts
        if part[1] in ({dataset} if dataset else DECIWATCH) and split in (None, part[2])
    ]
    if not chosen:
        wanted = f"{dataset or 'SET'}_gt_{split or 'SPLIT'}.npz"
        raise unknown("ground truth", wanted, [file.name for file in files], file=path)
    for file, name, part in chosen:
        folder = file.absolute().parent.parent.parent / "detected_poses" / name
        found = {f.parent.name: f for f in sorted(folder.glob(f"*/{name}_*_{part}.npz"))}
        own = (
            next(iter(found), None)
            if estimator is None
            else _choose("estimator", estimator, found, folder)
        )
        problem = f"detections of {', '.join(found)} are there, those of {own} are read"
        note = BadParameter(problem, file=folder, remedy="name an estimator")
        yield name, file, found.get(own), [note] if estimator is None and len(found) > 1 else []


def _deciwatch(
    name: str, file: Path, answer: Path | None, on_bad: str
) -> tuple[list, list, list, list]:
    """Clips, motions, parts of detections, and warnings."""
    (joints, fps), flat = DECIWATCH[name], name == "jhmdb"
    key, d, k = "joints_2d" if flat else "joints_3d", 2 if flat else 3, len(skeleton(joints))
    held = _held(file, ("imgname", key, "bbox", "imgshape") if flat else ("imgname", key))
    said = _held(answer, ("imgname", key), len(held["imgname"])) if answer else None
    clips, motions, parts, gaps, met = [], [], [], [], Counter()

    def sequence(i: int) -> None:
        where = {"file": file, "record": f"sequence {i}"}
        images = texts_of(held["imgname"][i], "imgname", **where)
        if not (t := len(images)):
            raise BadRecord("has no frames", **where)
        source, guess = images[0].rpartition("/")[0], None
        where["record"] += f" ({source})"
        truth = _rows_of(held[key], i, key, (t, k, d), gaps=not flat, **where)
        if said:
            own = where | {"file": answer}
            guess = _rows_of(said[key], i, key, (t, k, d), gaps=not flat, **own)
            if texts_of(said["imgname"][i], "imgname", **own) != images:
                raise BadRecord("its frames are not those of the ground truth", **own)
        met[source] += 1
        title = source if met[source] == 1 else f"{source}#{met[source]}"
        if not flat:
            guess = None if guess is None else 1000 * guess
            found, lost = _motions(title, joints, 1000 * truth, guess, file, fps=fps, space="root")
            motions.extend(found)
            gaps.extend(lost)
            return
        boxes = numbers_of(held["bbox"][i], "bbox", (t, 4), **where)
        shape = (
            numbers_of(held["imgshape"][i], "imgshape", (None,), **where)[:2].astype(int).tolist()
        )
        if len(shape) < 2 or min(shape) < 1:
            raise BadRecord(f"imgshape is {shape}, height and width expected", **where)
        track = _track(joints, 0, truth, np.ones((t, k), bool), boxes=boxes)
        pictures = tuple(Picture(image.rpartition("/")[2]) for image in images)
        clips.append(Clip(Video(source, t, shape[1], shape[0]), [track], pictures, title))
        if guess is not None:  # no confidence is stated: 1; ours
            parts.append((np.insert(guess, 2, 1, axis=2), boxes, 0, np.arange(t), images))

    _, warnings = each(range(len(held["imgname"])), sequence, "sequences", on_bad, file)
    return clips, motions, parts, warnings + gaps


@reader(
    "deciwatch",
    order=340,
    kind="sequences",
    reads="DeciWatch's and HANet's npz",
    recognised="SET_gt_SPLIT.npz",
    fits=lambda file: file.ends(".npz") and "_gt_" in file.path.name,
)
def read_deciwatch(
    path: str | Path,
    *,
    dataset: str | None = None,
    split: str | None = None,
    estimator: str | None = None,
    on_bad: str = "raise",
) -> Reading:
    """Sequences as DeciWatch's authors prepared them (HANet reads these): ground truth and an
    estimator's answer.

    path: a SET_gt_SPLIT.npz, or the folder that has groundtruth_poses/SET/ and
    detected_poses/SET/ESTIMATOR/. dataset: jhmdb, h36m, pw3d or aist; split: train, test (aist also
    validate). estimator: simplepose, fcn, eft, pare, spin, ..., as its folder is called; None takes
    the first, with a warning. jhmdb: a Clip a sequence (joints_2d px, the file's bbox, which PCK is
    measured by, imgshape), and `detections` without confidence (1 is written), row by row: all
    frames of clip after clip, `frames` the frame. The others: a Motion a sequence, `space="root"`
    (m, relative to the root as stated), `detected` beside it; NaN frames are cut out with a
    warning. A second person of a sequence is NAME#2. SMPL parameters: `read_smpl`. Arrays of
    objects in these files are read as lists; nothing in them is run.
    """
    path = Path(path)
    clips, motions, parts, warnings = [], [], [], []
    for name, file, answer, notes in _pairs(path, dataset, split, estimator):
        for all_of, own in zip(
            (clips, motions, parts, warnings), _deciwatch(name, file, answer, on_bad), strict=True
        ):
            all_of.extend(own)
        warnings.extend(notes)
    detections = _detections("jhmdb15", parts, path)
    return Reading(
        "deciwatch",
        str(path),
        None,
        detections,
        None,
        tuple(clips),
        tuple(motions),
        warnings=tuple(warnings),
    )


def read_smpl(
    path: str | Path, *, estimator: str | None = None
) -> list[tuple[str, dict[str, np.ndarray]]]:
    """SMPL parameters in DeciWatch's SET_gt_SPLIT.npz of pw3d and aist, by sequence: its name, and

    pose_rad [t 24 3]: axis-angle of each joint against its parent; shape [t 10], where stated; of
    the estimator beside it (as in `read_deciwatch`), where there is one: detected_pose_rad,
    detected_shape.
    """
    if not os.path.isfile(path):
        raise MissingFile("no such file", file=path, remedy="name one SET_gt_SPLIT.npz")
    _, file, answer, _ = next(_pairs(Path(path), None, None, estimator))
    kinds = {"pose": ("pose_rad", (24, 3)), "shape": ("shape", (10,))}
    held = _held(file, ("imgname", "pose"), optional=("shape",))
    said = _held(answer, ("imgname", "pose"), len(held["imgname"]), ("shape",)) if answer else {}
    found = []
    for i, images in enumerate(held["imgname"]):
        record = f"sequence {i}"
        images = texts_of(images, "imgname", file=file, record=record)
        own = {
            prefix + title: _rows_of(
                columns[key], i, key, (len(images), *inner), False, file=source, record=record
            )
            for prefix, source, columns in (("", file, held), ("detected_", answer, said))
            for key, (title, inner) in kinds.items()
            if key in columns
        }
        found.append((images[0].rpartition("/")[0] if images else "", own))
    return found
