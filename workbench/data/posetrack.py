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
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int
from pydantic import BeforeValidator, Field

from ..errors import BadFile, BadRecord, WorkbenchError, check_choice
from ..records import Clip, Picture, Reading, Video
from ..skeletons import skeleton
from .annotations import (
    Annotations,
    ListedPicture,
    People,
    check_place,
    column,
    poses_of,
)
from .checks import Number, Record, checked, collected, integral, number, numbers, settle
from .coco import annotation_files, annotations_of, find_pictures
from .matlab import read_variables
from .readers import reader
from .safe import read_json
from .tracks import track_of

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
    check_choice("split", split, ("train", "val", "test"))
    if split != "train":
        return np.arange(0, n_frames, 4)
    start = max((n_frames - 30) // 2, 0)
    return np.arange(start, min(start + 30, n_frames))


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
Value = Annotated[Any, Single]


class Point(Record):
    """A point of a region, or of a person; id and is_visible are those of a joint. px"""

    x: Annotated[Number, Single]
    y: Annotated[Number, Single]
    id: Value = None
    is_visible: Value = None


class Points(Record):
    point: Annotated[list[Point], Several] = Field(default_factory=list)


class AnnoRect(Record):
    """A person of PoseTrack17; the corners are those of the head."""

    x1: Value = None
    y1: Value = None
    x2: Value = None
    y2: Value = None
    track_id: Value = None
    annopoints: Annotated[Points | None, Single] = None

    def keypoints(self) -> Float[np.ndarray, "15 3"]:
        n = len(JOINT_OF_ID)
        joints = np.zeros((n, 3), np.float32)
        for point in self.annopoints.point if self.annopoints else ():
            if type(point.id) is not int or not 0 <= point.id < n:
                raise BadRecord(f"a point with id {point.id!r}, 0 to {n - 1} expected")
            joint = joints[JOINT_OF_ID[point.id]]
            if not joint.any():  # as poseval: of two points with one id the first
                joint[:] = point.x, point.y, point.is_visible not in (0, "0")
        return joints

    def head_xyxy(self) -> Float[np.ndarray, "4"]:
        """Zeros where none is stated."""
        head = [self.x1, self.y1, self.x2, self.y2]
        if head == [None] * 4:
            return np.zeros(4, np.float32)
        corners = numbers({"head": head}, "head", 4).reshape(2, 2)
        return np.sort(corners, axis=0).ravel()  # they may be exchanged


class Named(Record):
    name: Annotated[str, Single]


class Frame(Record):
    """A frame of PoseTrack17. Without is_labeled, it is labelled where somebody is in it."""

    image: Annotated[Named, Single]
    annorect: Annotated[list[Any], Several] = Field(default_factory=list)
    is_labeled: Value = None
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
    pictures, bad_pictures, people, bad_people = {}, {}, [], {}
    for t, item in enumerate(frames):
        with collected(bad_pictures, t, path, f"annolist[{t}]"):
            frame = checked(Frame.model_validate, item)
            check_place(frame.image.name, folder)
        if t in bad_pictures:
            continue
        picture = frame.picture(t)
        pictures[picture.id] = ListedPicture(picture, _folder_of(picture), len(frames))
        for place, rect in enumerate(frame.annorect):
            row, key = len(people) + len(bad_people), f"{t}.{place}"
            with collected(bad_people, row, path, f"annotation {key}"):
                stated = checked(AnnoRect.model_validate, rect)
                keypoints, head = stated.keypoints(), stated.head_xyxy()
                people.append((row, key, picture.id, keypoints, head, stated.track_id))
    rows, keys, shown, keypoints, heads, track_ids = zip(*people) if people else [()] * 6
    nothing = column([None] * len(people))
    return Annotations(
        file=path,
        skeleton="posetrack15",
        pictures=pictures,
        people=People(
            rows=np.array(rows, int),
            ids=column(keys),
            pictures=column(shown),
            keypoints=np.array(keypoints, np.float32).reshape(-1, len(JOINT_OF_ID), 3),
            boxes_xywh=np.full((len(people), 4), np.nan, np.float32),
            heads_xyxy=np.array(heads, np.float32).reshape(-1, 4),
            areas=nothing,
            crowd=column([False] * len(people)),
            num_keypoints=nothing,
            categories=nothing,
            track_ids=column(track_ids),
        ),
        n_people=len(people) + len(bad_people),
        bad_pictures=bad_pictures,
        bad_people=bad_people,
        folder=folder,
    )


def _folder_of(picture: Picture) -> str:
    """Of a frame: its sequence."""
    return str(PurePosixPath(picture.name).parent)


# --- sequences ------------------------------------------------------------------------------------


def _all_frames(folder: str, listed: list[Picture], n_frames: int) -> dict[int, Picture]:
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
            raise BadRecord(f"{name.name} is none of {n_frames} frames, or listed twice")
        frames[frame] = picture
    first, suffix = int(len(digits) != 6), PurePosixPath(listed[-1].name).suffix
    for t in set(range(n_frames)) - set(frames):
        frames[t] = Picture(f"{folder}/{t + first:0{len(digits)}d}{suffix}", labelled=False)
    return {t: frames[t] for t in range(n_frames)}


def _sequences(
    stated: Annotations,
) -> tuple[dict[str, dict[int, Picture]], dict[int, BadRecord]]:
    """The pictures of each sequence by frame, and what is wrong with those that are left out."""
    listed: dict[str, list[ListedPicture]] = {}
    for picture in stated.pictures.values():
        listed.setdefault(_folder_of(picture.picture), []).append(picture)
    sequences, bad, total = {}, {}, 0
    for i, (folder, pictures) in enumerate(listed.items()):
        with collected(bad, i, stated.file, folder):
            n_frames = int(number({"nframes": pictures[0].n_frames}, "nframes") or 0)
            total += max(n_frames, len(pictures))
            if total > MAX_FRAMES:
                problem = f"more than {MAX_FRAMES} frames"
                raise BadFile(problem, file=stated.file, remedy="split the file")
            frames = [picture.picture for picture in pictures]
            sequences[folder] = _all_frames(folder, frames, n_frames)
    return sequences, bad


def _rows_of_tracks(
    people: People, sequences: Mapping[str, Mapping[int, Picture]], path: Path
) -> tuple[dict[str, dict[int, dict[int, int]]], dict[int, BadRecord]]:
    """The row of each person by sequence, track and frame; the people who have no such place."""
    place = {
        picture.id: (folder, t)
        for folder, span in sequences.items()
        for t, picture in span.items()
        if picture.id
    }
    tracks, bad = {folder: {} for folder in sequences}, {}
    records = zip(people.track_ids, people.pictures, people.ids)
    for row, (track, picture, key) in enumerate(records):
        with collected(bad, row, path, f"annotation {key}"):
            if type(track) is not int:
                raise BadRecord(f"track_id is {type(track).__name__}, an integer expected")
            if picture not in place:  # the sequence is bad
                continue
            folder, t = place[picture]
            if tracks[folder].setdefault(track, {}).setdefault(t, row) != row:
                raise BadRecord(f"track {track} stands twice in frame {t} of {folder}")
    return tracks, bad


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
    keep_flat: bool = False,
    on_bad: str = "raise",
    content: object = None,
) -> Reading:
    """Tracked people of PoseTrack17, 18 or 21: one clip a sequence of a file, or of all files of a
    data set's folder.

    path: JSON of PoseTrack18 or 21 or converted from PoseTrack17 (17 joints, the ears never
        labelled), a sequence or many merged; JSON or MATLAB of PoseTrack17 itself (15 joints,
        coordinates as stated).
    images, occlusion_known, keep_flat, on_bad, content: as of `read_coco`. Without `images`, a
        clip's source is the folder in which its pictures are found around the file, or else the
        sequence's folder as stated.
    Tracks span all frames of their sequence; who is stated with a box and no joints is labelled
    there with visibility
    0. `Picture.labelled` is what the file says, `Picture.ignore` holds the polygons in which nobody
        was labelled. A frame that the file does not list gets its name by number. PoseTrack21's
        person_id, across sequences, is not kept. Errors: as of `read_coco`; `BadRecord` too for a
        track that stands twice in a frame.
    """
    path, folder = Path(path), None if images is None else Path(images)
    if os.path.isdir(path):
        options = {"images": images, "occlusion_known": occlusion_known, "keep_flat": keep_flat}
        return _read_folder(path, on_bad, **options)
    stated = _annotations_of(path, content, folder)
    poses, people, warnings = poses_of(
        stated, occlusion_known=occlusion_known, on_bad=on_bad, keep_flat=keep_flat
    )
    sequences, bad_sequences = _sequences(stated)
    tracks, bad_people = _rows_of_tracks(people, sequences, path)
    bad = [*bad_sequences.values(), *bad_people.values()]
    n_records = len(sequences) + len(bad_sequences) + len(poses)
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
            tracks=[track_of(poses, track, row_of, len(span)) for track, row_of in rows],
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
