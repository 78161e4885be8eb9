"""Human3.6M as prepared for MMPose, and its cameras."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import BadRecord, MissingFile
from ..geometry import cxcywh_to_xyxy
from ..records import Camera, Detections, Pose, Reading
from .checks import numbers_of, settle, texts_of
from .readers import any_entry, reader
from .releases import arrays_of, choose, first_file, mapping_of, named, release
from .results.batches import BOX_UNIT_PX
from .safe import read_json, read_npy, read_npz, safe_unpickle

ANNOTATIONS = (
    "{}_h36m_body3d.npz",
    "annotation_body3d/fps50/h36m_{}.npz",
    "annotation_body3d/fps10/h36m_{}.npz",
)
DETECTIONS = ("{}_h36m_2d_detection.npy", "joint_2d_det_files/cpn_ft_h36m_dbb_{}.npy")
CAMERAS = (
    "cameras.pkl",
    "cameras.json",
    "annotation_body3d/cameras.pkl",
    "annotation_body3d/cameras.json",
)
_NAME = re.compile(r"(?:.*/)?([^/_]+)_([^/.]+)\.([^/_]+)_\w+\.\w+")
_LENS = {"R": (3, 3), "T": (3, 1), "f": (2, 1), "c": (2, 1), "k": (3, 1), "p": (2, 1)}


def h36m_names(image: str) -> tuple[str, str, str]:
    """Subject, action and camera in a file name such as S1_Directions_1.54138969_000001.jpg;
    `BadRecord` otherwise.
    """
    names = _NAME.fullmatch(image)
    if not names:
        raise BadRecord(
            "not SUBJECT_ACTION.CAMERA_FRAME.jpg", record=image, remedy="use Human3.6M's file names"
        )
    return names.groups()


def read_h36m_cameras(path: str | Path) -> dict[str, Camera]:
    """Cameras by "S1.54138969" of a cameras.pkl, or of the same as json.

    {(subject, id): {R, T, f, c, k, p, w, h}}: R turns from camera to world, T is the position in m.
    Errors: those of the file; `BadFile` where it holds no dicts; `BadRecord` with the camera.
    """
    path = Path(path)
    tree = path.suffix == ".json"
    with named(path):
        entries = mapping_of(read_json(path) if tree else safe_unpickle(path))
    cameras = {}
    for key, entry in entries.items():
        name = ".".join(map(str, key)) if type(key) is tuple else str(key)
        with named(path, name):
            rotation, position, *lens = arrays_of(mapping_of(entry), _LENS, tree=tree)
            size = entry.get("w"), entry.get("h")
            size = size if all(type(side) is int and side > 0 for side in size) else None
            position = 1000 * position.ravel()
            lens = [values.ravel() for values in lens]
            cameras[name] = Camera(rotation.T, position, *lens, size_wh=size, name=name)
    return cameras


@reader(
    "cameras",
    order=310,
    kind="cameras",
    reads="Human3.6M's cameras",
    recognised="R, T, f, c",
    fits=lambda file: any(
        {"R", "T", "f", "c"} <= set(any_entry(content)) for content in (file.json, file.pickled)
    ),
)
def read_cameras(path: Path, *, on_bad: str = "raise") -> Reading:
    """Human3.6M's cameras."""
    return Reading(cameras=read_h36m_cameras(path))


@reader(
    "h36m",
    order=330,
    kind="annotations",
    reads="Human3.6M by MMPose",
    recognised="npz with imgname, part, S",
    fits=lambda file: {"imgname", "part", "S"} <= set(file.arrays),
)
def read_h36m(path: Path, *, split: str | None = None, on_bad: str = "raise") -> Reading:
    """Poses of Human3.6M as prepared for MMPose, with xyz_camera_mm, row by row with 2D detections
    where there are any.

    path: the folder, or an npz with imgname, center, scale, part [n 17 3] (px, flag) and S [n 17 4]
        (camera space m, flag). In the folder: cameras.pkl or .json (or in annotation_body3d), and
        detections [n 17 3] (px, confidence), test_h36m_2d_detection.npy or
        joint_2d_det_files/cpn_ft_h36m_dbb_test.npy.
    split: "train" (S1, 5, 6, 7, 8) or "test" (S9, 11); None takes test where the folder has it.
    Boxes are the squares that center and scale (200 px) state, for detections too. Groups are
    subject and action: four cameras see the same motion. The camera of a row is
    `cameras[f"{subject}.{camera}"]` by `h36m_names`. Nothing says what is occluded. Errors:
    `MissingFile`, `EmptyFile`, `BadFile`, `UnsafeFile`, `UnknownName` for a split, `BadRecord` with
    the row (`on_bad="raise"`: the first, with the count) or the whole column.
    """
    splits = ("test", "train")
    if split is not None:
        splits = (choose("split", split, splits, path),)
    _, (npz,) = release(path, "h36m", *(name.format(s) for s in splits for name in ANNOTATIONS))
    part = "train" if "train" in npz.name else "test"
    folders = [path, *npz.absolute().parents[:3]]
    detected = first_file(folders, [name.format(part) for name in DETECTIONS])
    camera_file = first_file(folders, CAMERAS)
    columns = _columns(npz, detected)
    n = len(columns["imgname"])
    errors = _bad_rows(columns, npz)
    warnings = list(errors.values())
    settle(warnings, n, "rows", on_bad, npz)

    rows = np.setdiff1d(np.arange(n), list(errors))
    columns = {key: column[rows] for key, column in columns.items()}
    poses, detections, cameras = _poses(rows, columns), None, {}
    if detected:
        xy, confidence = columns["detected"][..., :2], columns["detected"][..., 2]
        shared = {"images": poses.images, "ids": poses.ids, "source": str(detected)}
        detections = Detections("h36m17", xy, confidence, poses.boxes_xyxy, **shared)
    if camera_file:
        cameras = read_h36m_cameras(camera_file)
    else:
        warnings.append(
            MissingFile(
                "no cameras.pkl or cameras.json", file=npz, remedy="only projections need it"
            )
        )
    return Reading(poses=poses, detections=detections, cameras=cameras, warnings=tuple(warnings))


def _columns(npz: Path, detected: Path | None) -> dict[str, np.ndarray]:
    """imgname [n], part [n 17 3], S [n 17 4], center [n 2], scale [n], and detected [n 17 3]: of
    the detections, or part again where there are none. Numbers may be NaN.
    """
    with named(npz):
        content = read_npz(npz, ("imgname", "center", "scale", "part", "S"))
        images = texts_of(content["imgname"], "imgname")
        n = len(images)
        shapes = {"part": (n, 17, 3), "S": (n, 17, 4), "center": (n, 2), "scale": (n,)}
        columns = dict(zip(shapes, arrays_of(content, shapes, gaps=True)))
    columns |= {"imgname": np.array(images, object), "detected": columns["part"]}
    if detected:
        seen = numbers_of(read_npy(detected), "the array", (n, 17, 3), gaps=True, file=detected)
        columns["detected"] = seen
    return columns


def _bad_rows(columns: Mapping[str, np.ndarray], file: Path) -> dict[int, BadRecord]:
    """An error for each row that is no label, in their order."""
    images, joints, xyz, seen = (columns[key] for key in ("imgname", "part", "S", "detected"))
    flags = np.stack((joints[..., 2], xyz[..., 3]), -1)
    whole = [np.isfinite(array).all((1, 2)) for array in (joints, xyz, seen)]
    checks = {
        "a value that is not finite": np.all(whole, 0),
        "a flag other than 0 and 1": np.isin(flags, (0, 1)).all((1, 2)),
        "a box without centre or size": np.isfinite(columns["center"]).all(1)
        & (columns["scale"] > 0),
        "no name like S1_Directions_1.54138969_000001.jpg": np.array(
            [_NAME.fullmatch(image) for image in images], bool
        ),
    }
    errors = {}
    for problem, good in checks.items():
        for row in np.flatnonzero(~good).tolist():
            record = f"row {row} ({images[row]})"
            errors[row] = BadRecord(f"has {problem}", file=file, record=record)
    return dict(sorted(errors.items()))


def _poses(rows: np.ndarray, columns: Mapping[str, np.ndarray]) -> Pose:
    """Poses of these rows of the file. A joint is labelled where both its flags say so."""
    joints, xyz = columns["part"], columns["S"]
    labelled = (joints[..., 2] > 0) & (xyz[..., 3] > 0)
    size = BOX_UNIT_PX * columns["scale"][:, None]
    images = columns["imgname"]
    return Pose(
        "h36m17",
        np.where(labelled[..., None], joints[..., :2], 0),
        2 * labelled,
        cxcywh_to_xyxy(np.concatenate((columns["center"], size, size), 1)),
        occlusion_known=False,
        ids=tuple(map(str, rows)),
        images=tuple(images),
        groups=tuple("_".join(h36m_names(image)[:2]) for image in images),
        xyz_camera_mm=np.where(labelled[..., None], 1000 * xyz[..., :3], 0),
    )
