"""Hand sets: RHD, CMU Panoptic (with the detections that PORT's authors published) and FPHB, in
their own layouts and in MMPose's COCO-style conversions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import BadFile, BadRecord, MissingFile
from ..records import Camera, Clip, Picture, Pose, Reading, Video
from .checks import each, numbers, settle
from .coco import read_coco
from .readers import any_entry, reader
from .releases import (
    arrays_of,
    boxes_around,
    first_file,
    joined,
    named,
    projected,
    read_pickled_dict,
    release,
    track_of,
)
from .results import read_detections
from .safe import read_json, read_text

DETECTIONS = (  # as published, converted
    "mobilenetv2_panoptic_256x256_test.pkl",
    "mobilenetv2_panoptic_256x256_test.npz",
)
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


class _Hand(NamedTuple):
    """One hand as a file states it."""

    id: str
    image: str
    group: str
    xy: np.ndarray  # [21 2] px
    visibility: np.ndarray  # [21]
    xyz_mm: np.ndarray | None = None  # [21 3] in all hands of a set, or in none


def _inside(xy: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Which points [... 2] a picture of that size shows."""
    return ((xy > -0.5) & (xy < np.array(size_wh) - 0.5)).all(-1)


def _poses(skeleton: str, hands: Sequence[_Hand], occlusion_known: bool) -> Pose:
    ids, images, groups, xy, flags, xyz = zip(*hands) if hands else [()] * 6
    xy = np.array(xy, np.float32).reshape(-1, 21, 2)
    flags = np.array(flags, np.int8).reshape(-1, 21)
    return Pose(
        skeleton,
        np.where(flags[..., None] > 0, xy, 0),
        flags,
        boxes_around(xy, flags > 0),
        occlusion_known,
        ids,
        images,
        groups,
        xyz_camera_mm=np.array(xyz) if hands and xyz[0] is not None else None,
    )


def _row_by_row(
    reading: Reading, read_row: Callable[[int], object], on_bad: str, path: Path
) -> tuple[Reading, list]:
    """The reading without the poses that `read_row` refuses, and what it makes of the others."""
    poses = reading.poses

    def read(row: int) -> tuple[int, object]:
        with named(path, f"annotation {poses.ids[row]}"):
            return row, read_row(row)

    values, bad = each(range(len(poses)), read, "annotations", on_bad, path)
    poses = poses.select([row for row, _ in values])
    reading = replace(reading, poses=poses, warnings=(*reading.warnings, *bad))
    return reading, [value for _, value in values]


# --- RHD ------------------------------------------------------------------------------------------


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
def read_rhd(path: Path, *, on_bad: str = "raise", content: object = None) -> Reading:
    """Rendered hands: `anno_training.pickle` and `anno_evaluation.pickle` of the release, all that
    a folder holds; or MMPose's JSON of one hand a picture (of a folder with several, the test
    set's).

    The release flags each joint as visible or not: visible is 2, hidden inside the picture 1,
    outside of it 0; a hand wholly outside has no row. Ids are "evaluation/00007_left". The
    conversion kept "labelled" only: 2, and occlusion is not known. Both count fingers from the tip
    inwards ("hand21_rhd") and have `xyz_camera_mm`. Errors: those of `safe_unpickle` and
    `read_coco`; `BadRecord` naming the sample or annotation.
    """
    pickles = ("anno_*.pickle", "*/anno_*.pickle", "*/*/*/anno_*.pickle", "*/*/anno_*.pickle")
    conversions = ("annotations/rhd_te*.json", "*rhd*.json", "annotations/rhd_*.json")
    _, files = release(path, "rhd", *pickles, *conversions)
    if files[0].suffix == ".json":
        return _read_rhd_coco(files[0], on_bad, content)
    samples = []
    for file in files:
        samples += [(file, *item) for item in read_pickled_dict(file).items()]
    read, bad = each(samples, _rhd_hands, "samples", on_bad, path)
    poses = _poses("hand21_rhd", [hand for both in read for hand in both], True)
    pictures = [Picture(name, size_wh=RHD_SIZE_WH) for name in dict.fromkeys(poses.images)]
    return Reading(poses=poses, pictures=tuple(pictures), warnings=tuple(bad))


def _rhd_hands(item: tuple[Path, object, object]) -> list[_Hand]:
    """The hands of a sample that show in its picture."""
    file, key, sample = item
    with named(file, f"sample {str(key)[:40]}"):
        if type(key) is not int or type(sample) is not dict:
            raise BadRecord("a number and a dict with xyz, uv_vis, K expected")
        xyz, uv_vis = arrays_of(sample, {"xyz": (42, 3), "uv_vis": (42, 3)})
        xy, visible = uv_vis[:, :2], uv_vis[:, 2]
        if not np.isin(visible, (0, 1)).all():
            raise BadRecord("visibility flags other than 0 and 1")
    flags = np.where(_inside(xy, RHD_SIZE_WH), 1 + visible.astype(int), 0)
    split = file.absolute().parent.name
    image = f"{split}/color/{key:05d}.png"
    hands = []
    for side, part in (("left", slice(0, 21)), ("right", slice(21, 42))):
        if flags[part].any():
            name = f"{split}/{key:05d}_{side}"
            hands.append(_Hand(name, image, image, xy[part], flags[part], 1000 * xyz[part]))
    return hands


def _read_rhd_coco(path: Path, on_bad: str, content: object) -> Reading:
    content = read_json(path) if content is None else content
    options = {"occlusion_known": False, "on_bad": on_bad, "content": content}
    reading = read_coco(path, skeleton="hand21_rhd", **options)
    ids = reading.poses.ids
    by_id = {str(a.get("id")): a for a in reversed(content["annotations"]) if type(a) is dict}
    reading, joints = _row_by_row(
        reading, lambda row: numbers(by_id[ids[row]], "joint_cam", 63), on_bad, path
    )
    xyz = np.array(joints).reshape(-1, 21, 3)
    return replace(reading, reader="rhd", poses=replace(reading.poses, xyz_camera_mm=xyz))


# --- CMU Panoptic ---------------------------------------------------------------------------------


def panoptic_source(file_name: str) -> str:
    """The video or picture that a Panoptic hand was cut from: what a split must never divide.

    `Berry_roof_story.flv_000054_l.jpg` is frame 54 of the video `Berry_roof_story.flv`;
    `000973096_03_l.jpg` is the left hand of person 3 in the MPII picture `000973096`. Both hands
    and all persons of a picture share its group. `BadRecord` for other names.
    """
    name = file_name.rsplit("/", 1)[-1]
    source = re.fullmatch(r"(.+\.flv)_\d+_[lr]\.\w+|(\d+)_\d+_[lr]\.\w+", name)
    if not source:
        raise BadRecord(
            f"{file_name} is neither VIDEO.flv_FRAME_SIDE nor PICTURE_PERSON_SIDE",
            remedy="use Panoptic's file names",
        )
    return source[1] or source[2]


@reader(
    "panoptic",
    order=230,
    kind="annotations",
    reads="Panoptic hands by MMPose",
    recognised="head_size",
    fits=lambda file: "head_size" in file.first("annotations"),
)
def read_panoptic(path: Path, *, on_bad: str = "raise", content: object = None) -> Reading:
    """Hands of a Panoptic annotation file (test or train); flags say nothing about occlusion,
    groups are sources.

    Errors: those of `read_coco`; `BadRecord` for a hand with a joint that is not labelled (Panoptic
    labels all 21), or whose file name is none of Panoptic's.
    """
    options = {"occlusion_known": False, "on_bad": on_bad, "content": content}
    reading = read_coco(path, skeleton="hand21", **options)
    poses = reading.poses

    def source(row: int) -> str:
        if gaps := int((~poses.labelled[row]).sum()):
            raise BadRecord(
                f"{gaps} joints are not labelled (flag 0), 21 expected",
                remedy="drop this annotation",
            )
        return panoptic_source(poses.images[row])

    reading, groups = _row_by_row(reading, source, on_bad, path)
    return replace(reading, reader="panoptic", poses=replace(reading.poses, groups=tuple(groups)))


@reader(
    "cmu_hands",
    order=240,
    kind="annotations",
    reads="CMU's own hand files",
    recognised="hand_pts; joint_self",
    fits=lambda file: "hand_pts" in file.fields or "joint_self" in file.first("root"),
)
def read_cmu_hands(path: Path, *, on_bad: str = "raise", content: object = None) -> Reading:
    """CMU's own files: `hand_labels/manual_train|manual_test/*.json` (a hand each, `hand_pts`), or
    `hand143_panopticdb/hands_v143_14817.json` (a list `root`, `joint_self`); a folder gives the
    former, else the latter.

    Labelled joints are 2, occlusion is not known. Errors: `BadRecord` naming the file or the entry
    of `root`.
    """
    manual = ("manual_*/*.json", "*/manual_*/*.json", "*/*/manual_*/*.json", "*_[lr].json")
    lists = ("hands_v*.json", "*/hands_v*.json", "*/*/hands_v*.json")
    items = []
    _, files = release(path, "cmu_panoptic_hands", *manual, *lists)
    for file in files:
        stated = read_json(file) if content is None else content
        if type(stated) is dict and type(stated.get("root")) is list:
            for i, hand in enumerate(stated["root"]):
                image = hand.get("img_paths") if type(hand) is dict else None
                items.append((file, f"root[{i}]", hand, "joint_self", image))
        else:
            name = file.name if file == path else file.relative_to(path).as_posix()
            items.append((file, name, stated, "hand_pts", f"{name[:-5]}.jpg"))
    hands, bad = each(items, _cmu_hand, "hands", on_bad, path)
    poses = _poses("hand21", hands, False)
    pictures = tuple(map(Picture, dict.fromkeys(poses.images)))
    return Reading(poses=poses, pictures=pictures, warnings=tuple(bad))


def _cmu_hand(item: tuple[Path, str, object, str, object]) -> _Hand:
    """One hand of CMU's own files: 21 x, y, flag, where only flag 1 is a label."""
    file, name, hand, points, image = item
    with named(file, name):
        if type(hand) is not dict or type(image) is not str:
            raise BadRecord(f"an object with {points} and the picture's name expected")
        joints = numbers(hand, points, 63).reshape(21, 3)
    group = re.sub(r"_\d+_[lr]$|_[lr]$", "", Path(image).stem)
    return _Hand(name, image, group, joints[:, :2], 2 * (joints[:, 2] == 1))


def read_port_panoptic(root: str | Path, *, on_bad: str = "raise") -> Reading:
    """The 846 annotated hands and, row by row, what the MobileNetV2 detector saw, matched by file
    name: row i of `poses` and of `detections` is the same hand.

    root: the folder of the manifest `port_panoptic`. The published pickle is preferred to its npz
    copy. Errors: `MissingFile`; `BadRecord` where a hand has no detection, or a file name stands
    twice.
    """
    root = Path(root)
    reading = read_panoptic(root / "annotations" / "panoptic_test.json", on_bad=on_bad)
    path = first_file([root], DETECTIONS)
    if path is None:
        raise MissingFile(
            f"none of {', '.join(DETECTIONS)}",
            file=root,
            remedy="workbench data fetch port_panoptic",
        )
    detections = read_detections(path, skeleton="hand21")
    names = (image[max(image.find("hand_labels/"), 0) :] for image in detections.images)
    row_of = {name: row for row, name in enumerate(names)}
    images = reading.poses.images
    for names, rows, file in ((set(images), images, root), (row_of, detections, path)):
        if len(names) != len(rows):
            raise BadRecord("a file name stands twice, so rows cannot be matched", file=file)

    lost = [image for image in images if image not in row_of]
    problem = f"{len(lost)} of {len(images)} hands have no detection"
    bad = [BadRecord(problem, file=path, record=image) for image in lost]
    settle(bad, len(images), "hands", on_bad, path)
    rows = [row for row, image in enumerate(images) if image in row_of]
    return replace(
        reading,
        reader="port_panoptic",
        source=str(root),
        poses=reading.poses.select(rows),
        detections=detections.select([row_of[images[row]] for row in rows]),
        warnings=(*reading.warnings, *bad),
    )


# --- FPHB -----------------------------------------------------------------------------------------


@reader(
    "fphb",
    order=370,
    kind="sequences",
    reads="First-Person Hand Action",
    recognised="skeleton.txt",
    fits=lambda file: file.path.name == "skeleton.txt" and not file.folder,
)
def read_fphb(path: Path, *, on_bad: str = "raise") -> Reading:
    """First-person hands: one `skeleton.txt`, or the data set's folder with
    `Hand_pose_annotation_v1*/Subject_k/action/n`.

    Joints were measured by magnetic sensors, in world mm; they are projected into the colour
    picture by the published calibration, and those outside of it are 0. Sensors say nothing about
    occlusion: the others are 2. Joints come in our order (each finger from the palm outwards),
    frames in the order of their numbers. Errors: `BadRecord` naming the line; `BadFile` where a
    file holds no frame.
    """
    annotations = "Hand_pose_annotation_v1*/*/*/*/skeleton.txt"
    _, files = release(path, "fphb", annotations, "*/*/*/skeleton.txt", "**/skeleton.txt")
    readings = [_read_action(file, on_bad) for file in files]
    if files == [path] and not readings[0].clips:
        raise readings[0].warnings[0]
    return replace(joined(path, readings), cameras={"color": FPHB_CAMERA})


def _read_action(file: Path, on_bad: str) -> Reading:
    """One `skeleton.txt`: a line a frame, its number and 21 joints in world mm."""
    lines = [(n, line) for n, line in enumerate(read_text(file).splitlines(), 1) if line.strip()]
    rows = {}  # by number of the frame: that number, and its joints

    def read(item: tuple[int, str]) -> None:
        number, line = item
        words = line.split()
        with named(file, f"line {number}"):
            if len(words) != 64:
                raise BadRecord(f"{len(words)} numbers, 64 expected: the frame and 21 joints")
            try:
                values = np.array(words, np.float64)
            except ValueError as error:
                raise BadRecord(f"not numbers: {error}") from None
            if not (np.abs(values) < _LARGEST).all() or values[0] < 0 or values[0] % 1:
                raise BadRecord("a value that is not finite, or a frame that is no whole number")
            if values[0] in rows:
                raise BadRecord(f"frame {int(values[0])} stands twice", remedy="keep one of them")
        rows[values[0]] = values

    _, bad = each(lines, read, "lines", on_bad, file)
    if not rows:
        bad = bad or [BadFile("holds no frame", file=file)]
        if on_bad == "raise":
            raise bad[0]
        return Reading(warnings=bad)
    clip = _clip("/".join(file.parts[-4:-1]), np.array([rows[frame] for frame in sorted(rows)]))
    return Reading(clips=(clip,), warnings=bad)


def _clip(name: str, rows: np.ndarray) -> Clip:
    """Frames [t 64] as the colour sensor saw them."""
    world = rows[:, 1:].reshape(-1, 21, 3)[:, FPHB_TO_HAND21]
    xyz = (world - FPHB_CAMERA.position_mm) @ FPHB_CAMERA.rotation.T
    xy, ahead = projected(FPHB_CAMERA, xyz, True)
    width, height = size_wh = FPHB_CAMERA.size_wh
    track = track_of("hand21", 0, xy, ahead & _inside(xy, size_wh))
    # sensors place each joint in each frame, in the picture or not
    track = replace(track, labelled=np.ones(len(rows), bool), xyz_camera_mm=xyz)
    video = Video(f"Video_files/{name}/color", len(rows), width, height)
    names = [f"color_{int(frame):04d}.jpeg" for frame in rows[:, 0]]
    return Clip(video, [track], [Picture(picture, size_wh=size_wh) for picture in names], name)
