"""Hand sets: RHD, CMU Panoptic (with the detections that PORT's authors published) and FPHB, in
their own layouts and in MMPose's COCO-style conversions.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..errors import BadFile, BadRecord, MissingFile, WorkbenchError
from ..geometry import box_of_points, project
from ..records import Camera, Clip, Picture, Pose, Reading, Track, Video
from .checks import each, numbers, numbers_of
from .coco import read_coco
from .register import any_entry, reader
from .results import read_detections
from .safe import read_bytes, read_json, safe_unpickle

DETECTIONS = (
    "mobilenetv2_panoptic_256x256_test.pkl",
    "mobilenetv2_panoptic_256x256_test.npz",
)  # as published, converted
_LARGEST = 1e9  # mm or px; what is above, NaN and infinity too, is no place
RHD_SIZE_WH = (320, 320)  # px, every picture of RHD
# FPHB's text files go wrist, the five knuckles, then by finger PIP, DIP, TIP: this index of a
# file's joints is hand21's i.
FPHB_TO_HAND21 = (0, *(j for f in range(5) for j in (1 + f, 6 + 3 * f, 7 + 3 * f, 8 + 3 * f)))
_FPHB_ROTATION = np.array(
    [
        [0.999988496304, -0.00468848412856, 0.000982563360594],
        [0.00469115935266, 0.999985218048, -0.00273845880292],
        [-0.000969709653873, 0.00274303671904, 0.99999576807],
    ]
)
# the colour sensor; from the set's own page, github.com/guiggh/hand_pose_action
FPHB_CAMERA = Camera(
    rotation=_FPHB_ROTATION,
    position_mm=-_FPHB_ROTATION.T @ np.array([25.7, 1.22, 3.902]),
    focal=np.array([1395.749023, 1395.749268]),
    centre=np.array([935.732544, 540.681030]),
    size_wh=(1920, 1080),
    name="color",
)


def _inside(xy: Float[np.ndarray, "*n k 2"], size_wh: tuple[int, int]) -> np.ndarray:
    """Which points a picture of that size shows."""
    return ((xy > -0.5) & (xy < np.array(size_wh) - 0.5)).all(-1)


def _boxes(xy: Float[np.ndarray, "n k 2"], labelled: np.ndarray) -> np.ndarray:
    """Tight boxes around labelled joints; zeros where there is none."""
    return np.where(
        labelled.any(-1)[:, None], np.nan_to_num(box_of_points(xy, labelled), posinf=0, neginf=0), 0
    )


def _reading(
    reader: str, path: Path, rows: list[dict], bad: list, skeleton: str, *, occlusion_known, size_wh
) -> Reading:
    """Rows of xy [21 2], visibility [21], id, image, and xyz [21 3] mm where the set has it; a
    picture is a group.
    """
    xy = np.array([row["xy"] for row in rows], np.float32).reshape(-1, 21, 2)
    flags = np.array([row["visibility"] for row in rows], np.int8).reshape(-1, 21)
    images = tuple(row["image"] for row in rows)
    poses = Pose(
        skeleton=skeleton,
        xy_frame=np.where(flags[..., None] > 0, xy, 0),
        visibility=flags,
        boxes_xyxy=_boxes(xy, flags > 0),
        occlusion_known=occlusion_known,
        ids=tuple(row["id"] for row in rows),
        images=images,
        groups=tuple(row.get("group", row["image"]) for row in rows),
        xyz_camera_mm=np.array([row["xyz"] for row in rows]) if rows and "xyz" in rows[0] else None,
    )
    pictures = tuple(Picture(name, size_wh=size_wh) for name in dict.fromkeys(images))
    return Reading(reader, str(path), poses=poses, pictures=pictures, warnings=tuple(bad))


def _files(root: Path, patterns: tuple[str, ...], data: str) -> list[Path]:
    """The files under `root` by the first pattern that any matches; `root` itself where it is a
    file.
    """
    if os.path.isfile(root):
        return [root]
    found = (sorted(root.glob(pattern)) for pattern in patterns)
    if files := next(filter(None, found), None):
        return files
    remedy = f"see `workbench data show {data}` for the layout"
    raise MissingFile(f"no such file, or a folder without {patterns[0]}", file=root, remedy=remedy)


# --- RHD ------------------------------------------------------------------------------------------


def _rhd_hands(item: tuple[Path, object, object]) -> list[dict]:
    """The hands of a sample that show in its picture."""
    file, key, sample = item
    where = {"file": file, "record": f"sample {str(key)[:40]}"}
    if type(key) is not int or type(sample) is not dict:
        raise BadRecord("a number and a dict with xyz, uv_vis, K expected", **where)
    xyz, uv_vis = (
        numbers_of(sample.get(name), name, (42, 3), **where) for name in ("xyz", "uv_vis")
    )
    if not np.isin(uv_vis[:, 2], (0, 1)).all():
        raise BadRecord("visibility flags other than 0 and 1", **where)
    flags = np.where(_inside(uv_vis[:, :2], RHD_SIZE_WH), 1 + uv_vis[:, 2].astype(int), 0)
    rows, split = [], file.absolute().parent.name
    for side, s in (("left", slice(0, 21)), ("right", slice(21, 42))):
        row = {
            "xy": uv_vis[s, :2],
            "visibility": flags[s],
            "xyz": 1000 * xyz[s],
            "id": f"{split}/{key:05d}_{side}",
        }
        rows += [row | {"image": f"{split}/color/{key:05d}.png"}] if flags[s].any() else []
    return rows


def _read_rhd_coco(path: Path, on_bad: str, content: object) -> Reading:
    content = read_json(path) if content is None else content
    found = read_coco(
        path, skeleton="hand21_rhd", occlusion_known=False, on_bad=on_bad, content=content
    )
    by_id = {str(a.get("id")): a for a in reversed(content["annotations"]) if type(a) is dict}

    def joints_mm(row: int) -> tuple:
        where = {"file": path, "record": f"annotation {found.poses.ids[row]}"}
        return row, numbers(by_id[found.poses.ids[row]], "joint_cam", 63, **where)

    kept, bad = each(range(len(found.poses)), joints_mm, "annotations", on_bad, path)
    poses = found.poses.select([row for row, _ in kept])
    poses = replace(
        poses, xyz_camera_mm=np.array([joints for _, joints in kept]).reshape(-1, 21, 3)
    )
    return replace(found, reader="rhd", poses=poses, warnings=(*found.warnings, *bad))


@reader(
    "rhd",
    order=220,
    kind="annotations",
    reads="RHD's pickles or MMPose's JSON",
    recognised="uv_vis; joint_cam",
    fits=lambda file: (
        "joint_cam" in file.first("annotations") or "uv_vis" in any_entry(file.pickled)
    ),
)
def read_rhd(path: str | Path, *, on_bad: str = "raise", content: object = None) -> Reading:
    """Rendered hands: `anno_training.pickle` and `anno_evaluation.pickle` of the release, all that
    a folder holds; or MMPose's JSON of one hand a picture (of a folder with several, the test
    set's).

    The release flags each joint as visible or not: visible is 2, hidden inside the picture 1,
    outside of it 0; a hand wholly outside has no row. Ids are "evaluation/00007_left". The
    conversion kept "labelled" only: 2, and occlusion is not known. Both count fingers from the tip
    inwards ("hand21_rhd") and have `xyz_camera_mm`. Errors: those of `safe_unpickle` and
    `read_coco`; `BadRecord` naming the sample or annotation.
    """
    path = Path(path)
    patterns = ("anno_*.pickle", "*/anno_*.pickle", "*/*/*/anno_*.pickle", "*/*/anno_*.pickle")
    files = _files(
        path, (*patterns, "annotations/rhd_te*.json", "*rhd*.json", "annotations/rhd_*.json"), "rhd"
    )
    if files[0].suffix == ".json":
        return _read_rhd_coco(files[0], on_bad, content)
    samples = []
    for file in files:
        if type(found := safe_unpickle(file)) is not dict:
            raise BadFile(f"holds a {type(found).__name__}, a dict of samples expected", file=file)
        samples += [(file, *item) for item in found.items()]
    hands, bad = each(samples, _rhd_hands, "samples", on_bad, path)
    return _reading(
        "rhd",
        path,
        [hand for both in hands for hand in both],
        bad,
        "hand21_rhd",
        occlusion_known=True,
        size_wh=RHD_SIZE_WH,
    )


# --- CMU Panoptic ---------------------------------------------------------------------------------


def panoptic_source(file_name: str) -> str:
    """The video or picture that a Panoptic hand was cut from: what a split must never divide.

    `Berry_roof_story.flv_000054_l.jpg` is frame 54 of the video `Berry_roof_story.flv`;
    `000973096_03_l.jpg` is the left hand of person 3 in the MPII picture `000973096`. Both hands
    and all persons of a picture share its group.
    """
    name = file_name.rsplit("/", 1)[-1]
    found = re.fullmatch(r"(.+\.flv)_\d+_[lr]\.\w+|(\d+)_\d+_[lr]\.\w+", name)
    if not found:
        raise BadRecord(
            "neither VIDEO.flv_FRAME_SIDE nor PICTURE_PERSON_SIDE",
            record=file_name,
            remedy="use Panoptic's file names",
        )
    return found[1] or found[2]


@reader(
    "panoptic",
    order=230,
    kind="annotations",
    reads="Panoptic hands by MMPose",
    recognised="head_size",
    fits=lambda file: "head_size" in file.first("annotations"),
)
def read_panoptic(path: str | Path, *, on_bad: str = "raise", content: object = None) -> Reading:
    """Hands of a Panoptic annotation file (test or train); flags say nothing about occlusion,
    groups are sources.

    Errors: those of `read_coco`; `BadRecord` for a hand with a joint that is not labelled (Panoptic
    labels all 21), or whose file name is none of Panoptic's.
    """
    path = Path(path)
    found = read_coco(
        path, skeleton="hand21", occlusion_known=False, on_bad=on_bad, content=content
    )
    poses = found.poses

    def whole(row: int) -> tuple:
        where = {"file": path, "record": f"annotation {poses.ids[row]}"}
        if gaps := int((~poses.labelled[row]).sum()):
            raise BadRecord(
                f"{gaps} joints are not labelled (flag 0), 21 expected",
                remedy="drop this annotation",
                **where,
            )
        try:
            return row, panoptic_source(poses.images[row])
        except BadRecord as error:
            raise BadRecord(
                f"{poses.images[row]}: {error.problem}", remedy=error.remedy, **where
            ) from None

    kept, bad = each(range(len(poses)), whole, "annotations", on_bad, path)
    poses = replace(
        poses.select([row for row, _ in kept]), groups=tuple(group for _, group in kept)
    )
    return replace(found, reader="panoptic", poses=poses, warnings=(*found.warnings, *bad))


def _cmu_hand(item: tuple[Path, str, object, str, object]) -> dict:
    """One hand of CMU's own files: 21 x, y, flag, where only flag 1 is a label."""
    file, name, hand, points, image = item
    where = {"file": file, "record": name}
    if type(hand) is not dict or type(image) is not str:
        raise BadRecord(f"an object with {points} and the picture's name expected", **where)
    joints = numbers(hand, points, 63, **where).reshape(21, 3)
    row = {"xy": joints[:, :2], "visibility": 2 * (joints[:, 2] == 1), "id": name, "image": image}
    return row | {"group": re.sub(r"_\d+_[lr]$|_[lr]$", "", Path(image).stem)}


@reader(
    "cmu_hands",
    order=240,
    kind="annotations",
    reads="CMU's own hand files",
    recognised="hand_pts; joint_self",
    fits=lambda file: "hand_pts" in file.fields or "joint_self" in file.first("root"),
)
def read_cmu_hands(path: str | Path, *, on_bad: str = "raise", content: object = None) -> Reading:
    """CMU's own files: `hand_labels/manual_train|manual_test/*.json` (a hand each, `hand_pts`), or
    `hand143_panopticdb/hands_v143_14817.json` (a list `root`, `joint_self`); a folder gives the
    former, else the latter.

    Labelled joints are 2, occlusion is not known. Errors: `BadRecord` naming the file or the entry
    of `root`.
    """
    path, hands = Path(path), []
    manual = ("manual_*/*.json", "*/manual_*/*.json", "*/*/manual_*/*.json", "*_[lr].json")
    for file in _files(
        path,
        (*manual, "hands_v*.json", "*/hands_v*.json", "*/*/hands_v*.json"),
        "cmu_panoptic_hands",
    ):
        found = read_json(file) if content is None else content
        if type(found) is dict and type(found.get("root")) is list:
            images = (
                hand.get("img_paths") if type(hand) is dict else None for hand in found["root"]
            )
            rows = enumerate(zip(found["root"], images))
            hands += [(file, f"root[{i}]", hand, "joint_self", image) for i, (hand, image) in rows]
        else:
            name = file.name if file == path else file.relative_to(path).as_posix()
            hands.append((file, name, found, "hand_pts", f"{name[:-5]}.jpg"))
    rows, bad = each(hands, _cmu_hand, "hands", on_bad, path)
    return _reading("cmu_hands", path, rows, bad, "hand21", occlusion_known=False, size_wh=None)


def read_port_panoptic(root: str | Path, *, on_bad: str = "raise") -> Reading:
    """The 846 annotated hands and, row by row, what the MobileNetV2 detector saw, matched by file
    name: row i of `poses` and of `detections` is the same hand.

    root: the folder of the manifest `port_panoptic`. The published pickle is preferred to its npz
    copy. Errors: `MissingFile`; `BadRecord` where a hand has no detection, or a file name stands
    twice.
    """
    root = Path(root)
    found = read_panoptic(root / "annotations" / "panoptic_test.json", on_bad=on_bad)
    path = next((root / name for name in DETECTIONS if (root / name).is_file()), None)
    if path is None:
        raise MissingFile(
            f"none of {', '.join(DETECTIONS)}",
            file=root,
            remedy="workbench data fetch port_panoptic",
        )
    detections = read_detections(path, skeleton="hand21")
    row_of = {
        image[max(image.find("hand_labels/"), 0) :]: row
        for row, image in enumerate(detections.images)
    }
    images = found.poses.images
    for names, rows, file in ((set(images), images, root), (row_of, detections, path)):
        if len(names) != len(rows):
            raise BadRecord("a file name stands twice, so rows cannot be matched", file=file)

    def row(image: str) -> str:
        if image not in row_of:
            lost = sum(image not in row_of for image in images)
            raise BadRecord(
                f"{lost} of {len(images)} hands have no detection", file=path, record=image
            )
        return image

    kept, bad = each(images, row, "hands", on_bad, path)
    poses = found.poses.select([images.index(image) for image in kept]) if bad else found.poses
    return replace(
        found,
        reader="port_panoptic",
        source=str(root),
        poses=poses,
        detections=detections.select([row_of[image] for image in kept]),
        warnings=(*found.warnings, *bad),
    )


# --- FPHB -----------------------------------------------------------------------------------------


def _read_skeleton(path: Path, on_bad: str) -> tuple[Clip | None, list[WorkbenchError]]:
    """One `skeleton.txt`: a line a frame, its number and 21 joints in world mm."""
    try:
        lines = read_bytes(path).decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise BadFile(
            f"not a text file: byte 0x{error.object[error.start]:02x}", file=path
        ) from None
    seen: set[int] = set()

    def row(item) -> np.ndarray | None:
        number, line = item
        where = {"file": path, "record": f"line {number}"}
        words = line.split()
        if not words:
            return None
        if len(words) != 64:
            raise BadRecord(f"{len(words)} numbers, 64 expected: the frame and 21 joints", **where)
        try:
            values = np.array(words, np.float64)
        except ValueError as error:
            raise BadRecord(f"not numbers: {error}", **where) from None
        if not (np.abs(values) < _LARGEST).all() or values[0] < 0 or values[0] % 1:
            raise BadRecord(
                "a value that is not finite, or a frame that is not a whole number", **where
            )
        if values[0] in seen:
            raise BadRecord(
                f"frame {int(values[0])} stands twice", remedy="keep one of them", **where
            )
        seen.add(values[0])
        return values

    rows, bad = each([*enumerate(lines, 1)], row, "lines", on_bad, path)
    rows = sorted((values for values in rows if values is not None), key=lambda values: values[0])
    if not rows:
        return None, bad or [BadFile("holds no frame", file=path)]
    rows = np.array(rows)
    xyz_world = rows[:, 1:].reshape(-1, 21, 3)[:, FPHB_TO_HAND21]
    xyz_camera = (xyz_world - FPHB_CAMERA.position_mm) @ FPHB_CAMERA.rotation.T
    front = xyz_camera[..., 2] > 1
    xy = project(FPHB_CAMERA, np.where(front[..., None], xyz_camera, (0, 0, 1)))
    shown = front & _inside(xy, FPHB_CAMERA.size_wh)
    track = Track(
        skeleton="hand21",
        track_id=0,
        xy_frame=np.where(shown[..., None], xy, 0),
        visibility=2 * shown,
        labelled=np.ones(len(rows), bool),
        boxes_xyxy=_boxes(xy, shown),
        occlusion_known=False,
        xyz_camera_mm=xyz_camera,
    )
    name = "/".join(path.parts[-4:-1])
    width, height = FPHB_CAMERA.size_wh
    pictures = tuple(
        Picture(f"color_{int(i):04d}.jpeg", size_wh=FPHB_CAMERA.size_wh) for i in rows[:, 0]
    )
    return Clip(
        Video(f"Video_files/{name}/color", len(rows), width, height), (track,), pictures, name
    ), bad


@reader(
    "fphb",
    order=370,
    kind="sequences",
    reads="First-Person Hand Action",
    recognised="skeleton.txt",
    fits=lambda file: file.path.name == "skeleton.txt" and not file.folder,
)
def read_fphb(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """First-person hands: one `skeleton.txt`, or the data set's folder with
    `Hand_pose_annotation_v1*/Subject_k/action/n`.

    Joints were measured by magnetic sensors, in world mm; they are projected into the colour
    picture by the published calibration, and those outside of it are 0. Sensors say nothing about
    occlusion: the others are 2. Joints come in our order (each finger from the palm outwards),
    frames in the order of their numbers. Errors: `BadRecord` naming the line; `BadFile` where a
    file holds no frame.
    """
    path = Path(path)
    patterns = (
        "Hand_pose_annotation_v1*/*/*/*/skeleton.txt",
        "*/*/*/skeleton.txt",
        "**/skeleton.txt",
    )
    clips, warnings = [], []
    for file in _files(path, patterns, "fphb"):
        clip, bad = _read_skeleton(file, on_bad)
        if clip is None and (on_bad == "raise" or file == path):
            raise bad[0]
        clips += [clip] if clip else []
        warnings += bad
    return Reading(
        "fphb",
        str(path),
        clips=tuple(clips),
        cameras={"color": FPHB_CAMERA},
        warnings=tuple(warnings),
    )
