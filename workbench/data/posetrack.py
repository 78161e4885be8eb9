"""PoseTrack 2017, 2018 and 2021 as published: a file a sequence, people tracked through frames that
are labelled sparsely.

PoseTrack18 and 21 are COCO-like JSON; what converters make of PoseTrack17 is too, in one file or
many. PoseTrack17 itself is a MATLAB structure `annolist`, which poseval's converter writes out as
JSON.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int

from ..errors import BadFile, BadParameter, BadRecord, WorkbenchError
from ..records import Clip, Picture, Pose, Reading, Track, Video
from ..skeletons import skeleton
from .checks import number, settle
from .coco import annotation_files, find_pictures, read_coco
from .register import reader
from .safe import read_json, read_variables

ANNOTATION_FILES = (  # below the data set's folder: 18 and 17, 21, and a folder of sequences itself
    "annotations/*/*.json",
    "posetrack_data/annotations/*/*.json",
    "posetrack_data/*/*.json",
    "annotations/*/*.mat",
    "posetrack_data/annotations/*/*.mat",
    "*.json",
    "*.mat",
)
MAX_FRAMES = 2**20  # of one file; all of PoseTrack18 has 150,000
MAX_PERSON_FRAMES = 2**22  # tracks times frames of one file; 0.6 GB
# joint ids of PoseTrack17, poseval: the neck is what later releases call head_bottom
_POSETRACK17 = (
    "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow "
    "right_shoulder "
    "left_shoulder left_elbow left_wrist head_bottom nose head_top"
).split()
_JOINT_OF_ID = [skeleton("posetrack15").index(name) for name in _POSETRACK17]


def protocol_frames(n_frames: int, split: str) -> Int[np.ndarray, "n"]:
    """The frames that PoseTrack labels: 30 from the centre ("train"), every fourth ("val", "test");
    OTPose Sec. IV.

    What a file's own flags say goes before; this is for videos without them, and for making sparse
    labels.
    """
    if split not in ("train", "val", "test"):
        raise BadParameter(f"split is {split!r}", remedy="choose train, val or test")
    start = max((n_frames - 30) // 2, 0)
    return (
        np.arange(start, min(start + 30, n_frames))
        if split == "train"
        else np.arange(0, n_frames, 4)
    )


# --- PoseTrack17 ----------------------------------------------------------------------------------


def _many(item: object, key: str) -> list:
    """A field that is a MATLAB array of structures: nothing, one structure, or a list of them."""
    value = item.get(key) if type(item) is dict else None
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return value if type(value) is list else [] if value is None else [value]


def _field(item: object, key: str) -> object:
    """A field out of the arrays of one element that MATLAB makes of everything; None where there
    is none.
    """
    value = item.get(key) if type(item) is dict else None
    value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    while type(value) is list:
        value = value[0] if len(value) == 1 else None
    return int(value) if type(value) is float and value.is_integer() else value


def _person(person: object, **where) -> dict:
    """One of `annorect` as a COCO annotation of posetrack15, without id and picture."""
    keypoints = [0] * (3 * len(_JOINT_OF_ID))
    for point in _many(_field(person, "annopoints"), "point"):
        joint, x, y = (_field(point, key) for key in ("id", "x", "y"))
        if type(joint) is not int or not 0 <= joint < len(_JOINT_OF_ID):
            raise BadRecord(
                f"a point with id {joint!r}, 0 to {len(_JOINT_OF_ID) - 1} expected", **where
            )
        at = 3 * _JOINT_OF_ID[joint]
        if keypoints[at : at + 3] == [0, 0, 0]:  # as poseval: of two points with one id the first
            keypoints[at : at + 3] = x, y, int(_field(point, "is_visible") not in (0, "0"))
    head = [_field(person, key) for key in ("x1", "y1", "x2", "y2")]
    head = None if head == [None] * 4 else head
    return {"keypoints": keypoints, "head_box": head, "track_id": _field(person, "track_id")}


def _from_annolist(content: Mapping, path: Path) -> tuple[dict, list[BadRecord]]:
    """PoseTrack17's structure as COCO annotations of posetrack15, and the persons left out."""
    frames = _many(content, "annolist")
    images, annotations, bad = [], [], []
    for t, frame in enumerate(frames):
        people = _many(frame, "annorect")
        labelled = _field(frame, "is_labeled")
        regions = [_many(region, "point") for region in _many(frame, "ignore_regions")]
        regions = {
            f"ignore_regions_{axis}": [
                [_field(point, axis) for point in region] for region in regions
            ]
            for axis in "xy"
        }
        image = {
            "id": t,
            "file_name": _field(_field(frame, "image"), "name"),
            "nframes": len(frames),
            **regions,
        }
        images.append(image | {"is_labeled": bool(people) if labelled is None else labelled})
        for i, person in enumerate(people):
            key = f"{t}.{i}"  # frame and person, from 0
            try:
                found = _person(person, file=path, record=f"annotation {key}")
                annotations.append({"id": key, "image_id": t, **found})
            except BadRecord as error:
                bad.append(error)
    category = {"keypoints": list(skeleton("posetrack15").joints)}
    return {"images": images, "annotations": annotations, "categories": [category]}, bad


# --- sequences ------------------------------------------------------------------------------------


def _all_frames(
    folder: str, listed: list[Picture], n_frames: int, path: Path
) -> dict[int, Picture]:
    """The pictures of a sequence by frame. Where a file lists only some of its frames, their
    numbers place them, and the others are named in the same way: six digits count from 0
    (PoseTrack18, 21), others from 1 (17, JHMDB).
    """
    if len(listed) >= n_frames:
        return dict(enumerate(listed))
    frames, digits = {}, ""
    for picture in listed:
        name = PurePosixPath(picture.name)
        digits = re.match(r"[0-9]{0,12}", name.stem)[0]
        frame = int(digits or -1) - (len(digits) != 6)
        if not 0 <= frame < n_frames or frame in frames:
            raise BadRecord(
                f"{name.name} is none of {n_frames} frames, or listed twice",
                file=path,
                record=folder,
            )
        frames[frame] = picture
    first, suffix = int(len(digits) != 6), PurePosixPath(listed[-1].name).suffix
    for t in set(range(n_frames)) - set(frames):
        frames[t] = Picture(f"{folder}/{t + first:0{len(digits)}d}{suffix}", labelled=False)
    return {t: frames[t] for t in range(n_frames)}


def _by_id(records: list) -> dict[str, dict]:
    """Of records with one id the first, which is the one that `read_coco` keeps."""
    return {str(record.get("id")): record for record in reversed(records) if type(record) is dict}


def _track(poses: Pose, track_id: int, row_of: dict[int, int], n_frames: int) -> Track:
    """The rows of one person, each at its frame."""

    def spread(values: np.ndarray) -> np.ndarray:
        out = np.zeros((n_frames, *values.shape[1:]), values.dtype)
        out[list(row_of)] = values[list(row_of.values())]
        return out

    heads = poses.head_boxes_xyxy
    return Track(
        skeleton=poses.skeleton,
        track_id=track_id,
        xy_frame=spread(poses.xy_frame),
        visibility=spread(poses.visibility),
        labelled=spread(np.ones(len(poses), bool)),
        boxes_xyxy=spread(poses.boxes_xyxy),
        occlusion_known=poses.occlusion_known,
        head_boxes_xyxy=None if heads is None else spread(heads),
    )


def _read_folder(path: Path, on_bad: str, **options) -> Reading:
    files, clips, bad = annotation_files(path, ANNOTATION_FILES), [], []
    for file in files:
        try:
            reading = read_posetrack(file, on_bad=on_bad, **options)
            clips += reading.clips
            bad += reading.warnings
        except WorkbenchError as error:
            if on_bad == "raise":
                raise
            bad.append(error)
    source = f"{path}: {len(files)} files from {files[0].relative_to(path)} to {files[-1].relative_to(path)}"
    return Reading(reader="posetrack", source=source, clips=tuple(clips), warnings=tuple(bad))


@reader(
    "posetrack",
    order=210,
    kind="sequences",
    reads="PoseTrack17, 18, 21",
    recognised="annolist; vid_id",
    fits=lambda file: (
        "annolist" in file.variables
        or "annolist" in file.fields
        or {"vid_id", "frame_id"} <= set(file.first("images"))
    ),
)
def read_posetrack(
    path: str | Path,
    *,
    images: str | Path | None = None,
    occlusion_known: bool = False,
    on_bad: str = "raise",
    content: object = None,
) -> Reading:
    """Tracked people of PoseTrack17, 18 or 21: one clip a sequence of a file, or of all files of a
    data set's folder.

    path: JSON of PoseTrack18 or 21 or converted from PoseTrack17 (17 joints, the ears never
        labelled), a sequence or many merged; JSON or MATLAB of PoseTrack17 itself (15 joints,
        coordinates as stated).
    images, occlusion_known, on_bad, content: as of `read_coco`. Without `images`, a clip's source
        is the folder in which its pictures are found around the file, or else the sequence's folder
        as stated.
    Tracks span all frames of their sequence; who is stated with a box and no joints is labelled
    there with visibility
    0. `Picture.labelled` is what the file says, `Picture.ignore` holds the polygons in which nobody
        was labelled. A frame that the file does not list gets its name by number. PoseTrack21's
        person_id, across sequences, is not kept. Errors: as of `read_coco`; `BadRecord` too for a
        track that stands twice in a frame.
    """
    path = Path(path)
    if os.path.isdir(path):
        return _read_folder(path, on_bad, images=images, occlusion_known=occlusion_known)
    if content is None:
        content = read_variables(path) if path.suffix.lower() == ".mat" else read_json(path)
    unread = []
    if path.suffix.lower() == ".mat" and "annolist" not in content:
        raise BadFile(
            "holds no structure annolist",
            file=path,
            remedy="is it an annotation file of PoseTrack17?",
        )
    if type(content) is dict and "annolist" in content:
        content, unread = _from_annolist(content, path)
        settle(unread, len(unread) + len(content["annotations"]), "persons", on_bad, path)
    elif type(content) is dict:
        content = {"annotations": [], **content}  # the test split has none
    order = "posetrack17" if type(content) is dict and not content.get("categories") else None
    options = {"images": images, "occlusion_known": occlusion_known, "on_bad": on_bad}
    reading = read_coco(path, skeleton=order, content=content, **options)
    poses, bad = reading.poses, []

    sequences, spans, place, total = {}, {}, {}, 0
    stated, annotation_of = (_by_id(content[key]) for key in ("images", "annotations"))
    for picture in reading.pictures:
        sequences.setdefault(str(PurePosixPath(picture.name).parent), []).append(picture)
    for folder, listed in sequences.items():
        try:
            n_frames = number(stated[listed[0].id], "nframes", file=path, record=folder) or 0
            total += max(int(n_frames), len(listed))
            if total > MAX_FRAMES:
                raise BadFile(f"more than {MAX_FRAMES} frames", file=path, remedy="split the file")
            spans[folder] = _all_frames(folder, listed, int(n_frames), path)
            place |= {picture.id: (folder, t) for t, picture in spans[folder].items() if picture.id}
        except BadRecord as error:
            bad.append(error)

    tracks = {folder: {} for folder in spans}
    for row, key in enumerate(poses.ids):
        where = {"file": path, "record": f"annotation {key}"}
        annotation = annotation_of[key]
        folder, t = place.get(str(annotation["image_id"]), (None, 0))
        try:
            if type(track := annotation.get("track_id")) is not int:
                raise BadRecord(f"track_id is {type(track).__name__}, an integer expected", **where)
            if (
                folder is not None
                and tracks[folder].setdefault(track, {}).setdefault(t, row) != row
            ):
                raise BadRecord(f"track {track} stands twice in frame {t} of {folder}", **where)
        except BadRecord as error:
            bad.append(error)
    settle(bad, len(sequences) + len(poses), "sequences and annotations", on_bad, path)
    if sum(len(tracks[folder]) * len(spans[folder]) for folder in spans) > MAX_PERSON_FRAMES:
        raise BadFile(
            f"tracks times frames are more than {MAX_PERSON_FRAMES}",
            file=path,
            remedy="split the file",
        )

    found = images or find_pictures(path, [picture.name for picture in reading.pictures])
    clips = []
    for folder, span in spans.items():
        size_wh = span[0].size_wh or next(
            (p.size_wh for p in span.values() if p.size_wh), (None, None)
        )
        clip = Clip(
            video=Video(str(found or folder), len(span), *size_wh),
            tracks=[
                _track(poses, track, rows, len(span))
                for track, rows in sorted(tracks[folder].items())
            ],
            pictures=tuple(span.values()),
            name=PurePosixPath(folder).name or path.stem,
        )
        clips.append(clip)
    return Reading(
        reader="posetrack",
        source=str(path),
        clips=tuple(clips),
        warnings=(*unread, *reading.warnings, *bad),
    )
