"""PoseTrack 2017, 2018 and 2021 as published: a file a sequence, people tracked through frames that
are labelled sparsely.

PoseTrack18 and 21 are COCO-like JSON; what converters make of PoseTrack17 is too, in one file or
many. PoseTrack17 itself is a MATLAB structure `annolist`, which poseval's converter writes out as
JSON.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int
from pydantic import BeforeValidator, Field

from ..errors import BadFile, BadParameter, BadRecord, WorkbenchError
from ..records import Clip, Picture, Pose, Reading, Track, Video
from ..skeletons import skeleton
from .annotations import (
    Annotations,
    ListedPicture,
    Person,
    check_place,
    ordered_corners,
    poses_of,
)
from .checks import Number, Record, checked, integral, number, numbers, settle
from .coco import annotation_files, annotations_of, find_pictures
from .matlab import read_variables
from .readers import reader
from .safe import read_json

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
JOINT_OF_ID = [skeleton("posetrack15").index(name) for name in _POSETRACK17]


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


def _listed(value: object) -> object:
    """A MATLAB array of structures as a list: nothing, one structure, or several."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if value is None:
        return []
    return value if type(value) is list else [value]


def _single(value: object) -> object:
    """What MATLAB holds in arrays of one element; None for an empty one, or one of several."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    while type(value) is list:
        value = value[0] if len(value) == 1 else None
    return integral(value)


Several = BeforeValidator(_listed)
Single = BeforeValidator(_single)


class Point(Record):
    """A point of a region, or of a person; id and is_visible are those of a joint. px"""

    x: Annotated[Number, Single]
    y: Annotated[Number, Single]
    id: Annotated[Any, Single] = None
    is_visible: Annotated[Any, Single] = None


class Points(Record):
    point: Annotated[list[Point], Several] = Field(default_factory=list)


class AnnoRect(Record):
    """A person of PoseTrack17; the corners are those of the head."""

    x1: Annotated[Any, Single] = None
    y1: Annotated[Any, Single] = None
    x2: Annotated[Any, Single] = None
    y2: Annotated[Any, Single] = None
    track_id: Annotated[Any, Single] = None
    annopoints: Annotated[Points | None, Single] = None

    def keypoints(self, **where) -> Float[np.ndarray, "15 3"]:
        n = len(JOINT_OF_ID)
        joints = np.zeros((n, 3), np.float32)
        for point in self.annopoints.point if self.annopoints else ():
            if type(point.id) is not int or not 0 <= point.id < n:
                raise BadRecord(f"a point with id {point.id!r}, 0 to {n - 1} expected", **where)
            joint = joints[JOINT_OF_ID[point.id]]
            if not joint.any():  # as poseval: of two points with one id the first
                joint[:] = point.x, point.y, point.is_visible not in (0, "0")
        return joints

    def head_xyxy(self, **where) -> Float[np.ndarray, "4"] | None:
        head = [self.x1, self.y1, self.x2, self.y2]
        if head == [None] * 4:
            return None
        return ordered_corners(numbers({"head": head}, "head", 4, **where))


class Named(Record):
    name: Annotated[str, Single]


class Frame(Record):
    """A frame of PoseTrack17. Without is_labeled, it is labelled where somebody is in it."""

    image: Annotated[Named, Single]
    annorect: Annotated[list[Any], Several] = Field(default_factory=list)
    is_labeled: Annotated[Any, Single] = None
    ignore_regions: Annotated[list[Points], Several] = Field(default_factory=list)

    def picture(self, t: int) -> Picture:
        stated = self.is_labeled
        regions = (region.point for region in self.ignore_regions)
        return Picture(
            name=self.image.name,
            id=str(t),
            labelled=bool(self.annorect if stated is None else stated),
            ignore=tuple([(p.x, p.y) for p in region] for region in regions if region),
        )


def _annolist(content: Mapping, path: Path, folder: Path | None) -> Annotations:
    """What PoseTrack17's structure states; people are named by frame and place in it, from 0."""
    frames = _listed(content["annolist"])
    pictures, bad_pictures, people, bad_people = {}, [], [], {}
    for t, item in enumerate(frames):
        where = {"file": path, "record": f"annolist[{t}]"}
        try:
            frame = checked(Frame.model_validate, item, **where)
            check_place(frame.image.name, folder, **where)
        except BadRecord as error:
            bad_pictures.append(error)
            continue
        picture = frame.picture(t)
        pictures[picture.id] = ListedPicture(picture, _folder_of(picture), len(frames))
        for place, rect in enumerate(frame.annorect):
            row, key = len(people) + len(bad_people), f"{t}.{place}"
            try:
                where = {"file": path, "record": f"annotation {key}"}
                stated = checked(AnnoRect.model_validate, rect, **where)
                person = Person(
                    row=row,
                    id=key,
                    picture=picture.id,
                    keypoints=stated.keypoints(**where),
                    head_xyxy=stated.head_xyxy(**where),
                    track_id=stated.track_id,
                )
                people.append(person)
            except BadRecord as error:
                bad_people[row] = error
    return Annotations(
        file=path,
        skeleton="posetrack15",
        pictures=pictures,
        people=people,
        n_people=len(people) + len(bad_people),
        bad_pictures=bad_pictures,
        bad_people=bad_people,
        folder=folder,
    )


def _folder_of(picture: Picture) -> str:
    """Of a frame: its sequence."""
    return str(PurePosixPath(picture.name).parent)


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


def _sequences(stated: Annotations) -> tuple[dict[str, dict[int, Picture]], list[BadRecord]]:
    """The pictures of each sequence by frame, and what is wrong with those that are left out."""
    listed: dict[str, list[ListedPicture]] = {}
    for picture in stated.pictures.values():
        listed.setdefault(_folder_of(picture.picture), []).append(picture)
    sequences, bad, total = {}, [], 0
    for folder, pictures in listed.items():
        where = {"file": stated.file, "record": folder}
        try:
            n_frames = int(number({"nframes": pictures[0].n_frames}, "nframes", **where) or 0)
            total += max(n_frames, len(pictures))
            if total > MAX_FRAMES:
                problem = f"more than {MAX_FRAMES} frames"
                raise BadFile(problem, file=stated.file, remedy="split the file")
            frames = [picture.picture for picture in pictures]
            sequences[folder] = _all_frames(folder, frames, n_frames, stated.file)
        except BadRecord as error:
            bad.append(error)
    return sequences, bad


def _rows_of_tracks(
    people: Sequence[Person], sequences: Mapping[str, Mapping[int, Picture]], path: Path
) -> tuple[dict[str, dict[int, dict[int, int]]], list[BadRecord]]:
    """The row of each person by sequence, track and frame; the people who have no such place."""
    place = {
        picture.id: (folder, t)
        for folder, span in sequences.items()
        for t, picture in span.items()
        if picture.id
    }
    tracks, bad = {folder: {} for folder in sequences}, []
    for row, person in enumerate(people):
        track, where = person.track_id, {"file": path, "record": f"annotation {person.id}"}
        try:
            if type(track) is not int:
                raise BadRecord(f"track_id is {type(track).__name__}, an integer expected", **where)
            if person.picture not in place:  # the sequence is bad
                continue
            folder, t = place[person.picture]
            if tracks[folder].setdefault(track, {}).setdefault(t, row) != row:
                raise BadRecord(f"track {track} stands twice in frame {t} of {folder}", **where)
        except BadRecord as error:
            bad.append(error)
    return tracks, bad


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
    first, last = (file.relative_to(path) for file in (files[0], files[-1]))
    source = f"{path}: {len(files)} files from {first} to {last}"
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
    path, folder = Path(path), None if images is None else Path(images)
    if os.path.isdir(path):
        return _read_folder(path, on_bad, images=images, occlusion_known=occlusion_known)
    stated = _annotations_of(path, content, folder)
    poses, people, warnings = poses_of(stated, occlusion_known=occlusion_known, on_bad=on_bad)
    sequences, bad = _sequences(stated)
    tracks, bad_people = _rows_of_tracks(people, sequences, path)
    bad += bad_people
    n_records = len({_folder_of(p.picture) for p in stated.pictures.values()}) + len(poses)
    settle(bad, n_records, "sequences and annotations", on_bad, path)
    if sum(len(tracks[name]) * len(sequences[name]) for name in sequences) > MAX_PERSON_FRAMES:
        problem = f"tracks times frames are more than {MAX_PERSON_FRAMES}"
        raise BadFile(problem, file=path, remedy="split the file")

    names = [listed.picture.name for listed in stated.pictures.values()]
    root = folder or find_pictures(path, names)
    clips = []
    for name, span in sequences.items():
        size_wh = next((p.size_wh for p in span.values() if p.size_wh), (None, None))
        rows = sorted(tracks[name].items())
        clip = Clip(
            video=Video(str(root or name), len(span), *size_wh),
            tracks=[_track(poses, track, row_of, len(span)) for track, row_of in rows],
            pictures=tuple(span.values()),
            name=PurePosixPath(name).name or path.stem,
        )
        clips.append(clip)
    return Reading("posetrack", str(path), clips=tuple(clips), warnings=(*warnings, *bad))


def _annotations_of(path: Path, content: object, folder: Path | None) -> Annotations:
    """What a file of any of the releases states."""
    matlab = path.suffix.lower() == ".mat"
    if content is None:
        content = read_variables(path) if matlab else read_json(path)
    if type(content) is dict and "annolist" in content:
        return _annolist(content, path, folder)
    if matlab:
        remedy = "is it an annotation file of PoseTrack17?"
        raise BadFile("holds no structure annolist", file=path, remedy=remedy)
    order = None
    if type(content) is dict:
        content = {"annotations": [], **content}  # the test split has none
        order = None if content.get("categories") else "posetrack17"
    return annotations_of(content, path, skeleton=order, folder=folder)
