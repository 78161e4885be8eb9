"""Sparse labels of a video: a COCO file with the poses of some of its frames, read, and written
back with the poses that were carried to the frames between them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .. import geometry
from ..errors import BadFile, BadParameter, BadRecord, WorkbenchError
from ..records import Clip, Detections, Picture, Pose, Track
from ..resources import write_beside
from ..skeletons import skeleton
from . import checks, coco
from .frames import PICTURE_SUFFIXES, Frames, picture_names
from .people import link
from .safe import read_json

MAX_PX = 1e6  # coordinates of any picture; ours
NEAR = 1.5  # a box enlarged so much holds half of its joints or more; ours
ROBOFLOW = r"(?i)_(jpe?g|png|bmp|webp)\.rf\.[0-9a-z]+\.\w+$"  # what its export makes of .jpg
LABEL_STUDIO = r"[0-9a-f]{8}-"  # what it puts before a name
LIKE = ("width", "height", "video_id", "vid_id", "nframes")  # what an added image copies

# --- what is read of a file -----------------------------------------------------------------------


@dataclass(frozen=True)
class Numbering:
    """Which frame each image of a file shows, and how the file would number and name an image of
    every frame.
    """

    frames: dict[str, int]  # by image id
    numbers: list[int]
    names: list[str]
    first: int | None = None  # the number of the first frame, where images are counted from one
    unclear: dict[str, str] = field(default_factory=dict)  # why an image has no number


@dataclass(frozen=True)
class Labels:
    """Sparse labels of a video, as `read_labels` gives them."""

    content: dict  # of the file, without what was carried earlier
    clip: Clip  # labelled without joints: the person is known to be absent
    numbering: Numbering
    people: dict[tuple[int, int], dict]  # annotations with joints by track and frame
    like: dict  # what the video's images say alike, for new ones
    frame_id: int | None  # of the first frame, where all images state theirs
    video: str  # as the file tells it from others; "" where there is one
    notes: tuple[str, ...]
    warnings: tuple[WorkbenchError, ...]


@dataclass(frozen=True)
class _Image:
    picture: Picture
    stated: dict  # the file's record

    @property
    def id(self) -> str:
        return self.picture.id

    @property
    def path(self) -> PurePosixPath:
        return before_export(self.picture.name)

    @property
    def added(self) -> bool:
        """By an earlier run."""
        return bool(self.stated.get("propagated"))

    @property
    def frame_id(self) -> int | None:
        number = checks.integral(self.stated.get("frame_id"))
        return number if type(number) is int else None

    @property
    def video_id(self) -> str | None:
        number = checks.integral(self.stated.get("video_id", self.stated.get("vid_id")))
        return None if number is None else str(number)

    def error(self, problem: str, remedy: str, path: Path) -> BadRecord:
        record = f"image {self.id} ({self.picture.name})"
        return BadRecord(problem, file=path, record=record, remedy=remedy)


@dataclass(frozen=True)
class _Label:
    """An annotation of the video that no program carried."""

    place: int  # in the file
    key: str
    stated: dict  # the file's record
    frame: int
    row: int | None  # of its pose; None: it has no joints, or none that can be used
    who: str | None = None  # the person's id

    def error(self, problem: str, remedy: str | None, path: Path) -> BadRecord:
        return BadRecord(problem, file=path, record=f"annotation {self.key}", remedy=remedy)


def _record(value: object) -> dict:
    return value if type(value) is dict else {}


def _records(content: dict, key: str) -> list[dict]:
    values = content.get(key)
    return [v for v in values if type(v) is dict] if type(values) is list else []


def _carried(annotation: object) -> bool:
    """Whether a program put it between labels: an earlier run, or CVAT, which says "keyframe":
    false.
    """
    annotation = _record(annotation)
    return bool(annotation.get("propagated")) or (
        _record(annotation.get("attributes")).get("keyframe") is False
    )


def _points(annotation: dict) -> Float[np.ndarray, "k 3"]:
    """Joints and flags as the file has them; none where they cannot be read."""
    try:
        return np.reshape(np.array(annotation["keypoints"], float), (-1, 3))
    except (KeyError, TypeError, ValueError, OverflowError):
        return np.zeros((0, 3))


def _content(path: Path) -> dict:
    """The file, its ids whole numbers where they are 7.0."""
    content = read_json(path)
    try:
        json.dumps(content, allow_nan=False)
    except (ValueError, RecursionError):
        raise BadFile(
            "holds NaN or Infinity, or is nested too deeply", file=path, remedy="correct the file"
        ) from None
    for kind in ("images", "annotations"):
        checks.table(content, kind, path)
        for record in _records(content, kind):
            ids = {key: record[key] for key in ("id", "image_id") if key in record}
            record.update({key: checks.integral(value) for key, value in ids.items()})
    return content


def _given(content: dict) -> dict[int, object]:
    """Annotations that may be labels of people, by their place in the file."""
    jointless = [c.get("id") for c in _records(content, "categories") if not c.get("keypoints")]

    def of_person(annotation: object) -> bool:
        a = _record(annotation)
        other = a and not a.get("keypoints") and a.get("category_id") in jointless
        return not (_carried(annotation) or other)

    return {i: a for i, a in enumerate(content["annotations"]) if of_person(a)}


def _with_box(annotation: dict) -> dict:
    """The annotation; one without a box or area gets that around its joints, as PoseTrack draws
    them, at least a pixel.
    """
    box = annotation.get("bbox")
    flat = type(box) is list and len(box) == 4 and 0 in box[2:]
    if not (flat or box in (None, [])):
        return annotation
    points = _points(annotation)
    if not points.any():
        return annotation | {"bbox": [0, 0, 1, 1]}  # of nobody
    seen = points[:, 2] > 0
    extent = geometry.box_of_points(points[:, :2], seen if seen.any() else points.any(1))
    x0, y0, x1, y1 = geometry.enlarge(extent, coco.POSETRACK_BOX).tolist()
    return annotation | {"bbox": [x0, y0, max(x1 - x0, 1.0), max(y1 - y0, 1.0)]}


def _keys(given: dict[int, object]) -> dict[int, str]:
    """The annotations' ids as text; where ids restart in every image, with the image's."""
    ids = {i: (str(a.get("id")), str(a.get("image_id"))) for i, a in given.items() if _record(a)}
    images = Counter(key for key, _ in set(ids.values()))
    restart = {i for i, (key, _) in ids.items() if images[key] > 1 and "id" in given[i]}
    return {i: f"{key} of image {n}" if i in restart else key for i, (key, n) in ids.items()}


def _poses(content: dict, given: dict[int, object], keys: dict[int, str], path: Path, **options):
    """What `read_coco` makes of the labels under their keys."""
    annotations = []
    for i, a in given.items():
        if _record(a):
            renamed = {} if str(a.get("id")) == keys[i] else {"id": keys[i]}
            a = _with_box(a) | renamed
        annotations.append(a)
    return coco.read_coco(path, content=content | {"annotations": annotations}, **options)


# --- names of images ------------------------------------------------------------------------------


def before_export(name: str) -> PurePosixPath:
    """An image's name as it was before Roboflow's export."""
    return PurePosixPath(re.sub(ROBOFLOW, r".\1", name).replace("\\", "/"))


@dataclass(frozen=True)
class SplitName:
    """A name as text, number, text, number, ..., text."""

    parts: tuple[str, ...]
    changing: tuple[int, ...] = ()  # places of the numbers that differ between the names
    place: int | None = None  # of the frame's number; None where none, or no single one, can be it

    @property
    def prefix(self) -> str:
        """What stands before the last number that changes; all of a name without numbers."""
        last = (*range(1, len(self.parts), 2), *self.changing)[-1:]
        return "".join(self.parts[: last[0]] if last else self.parts)

    @property
    def around(self) -> tuple[str, str]:
        """What stands before and behind the frame's number."""
        return "".join(self.parts[: self.place]), "".join(self.parts[self.place + 1 :])

    def number(self, place: int) -> int:
        """-1 where it has more digits than a time in ns."""
        return int(self.parts[place]) if len(self.parts[place]) < 20 else -1


def split_names(stems: Sequence[str], last: int | None = None) -> list[SplitName]:
    """Names split at their numbers, compared with those that have as many.

    The frame's number is the one that changes, or the only one; of several that change the one
    that never exceeds `last`. The eight hex digits that Label Studio puts before names count as
    text: a letter in one of them gives them away.
    """
    heads = [re.match(LABEL_STUDIO, stem) for stem in stems]
    hashed = any(re.search("[a-f]", head[0]) for head in heads if head)
    split = []
    for stem, head in zip(stems, heads):
        start = head.end() if head and hashed else 0
        text, *others = re.split(r"(\d+)", stem[start:])
        split.append(SplitName((stem[:start] + text, *others)))
    places = {}
    for n in {len(name.parts) for name in split}:
        alike = [name for name in split if len(name.parts) == n]
        numbers = {i: {name.number(i) for name in alike} for i in range(1, n, 2)}
        changing = tuple(i for i in numbers if len(numbers[i]) > 1)
        low = tuple(i for i in changing if last is not None and max(numbers[i]) <= last)
        single = [choice[0] for choice in (changing, low, tuple(numbers)) if len(choice) == 1]
        places[n] = changing, single[0] if single else None
    return [SplitName(name.parts, *places[len(name.parts)]) for name in split]


# --- which of several videos ----------------------------------------------------------------------


class _Video(NamedTuple):
    """What tells a video's images from those of others."""

    folder: tuple[str, ...] = ()
    id: str | None = None
    prefix: str | None = None  # of the names, up to the number that changes

    def called(self, titles: dict[str, str]) -> str:
        title = [titles.get(self.id) or f"video {self.id}"] if self.id else []
        return "/".join((*self.folder, *title, self.prefix or ""))


def _videos(images: Sequence[_Image], source: str, name: str) -> dict[_Video, list[_Image]]:
    """The images by video: by the ids that they state, by folders, and by what stands before the
    number in a name, where that makes two videos or more with two images each.
    """
    own = {PurePosixPath(picture).stem for picture in picture_names(source)}
    groups = defaultdict(list)
    for image in images:
        groups[_Video(image.path.parent.parts, image.video_id)].append(image)
    videos = {}
    for video, members in groups.items():
        stems = [image.path.stem for image in members]
        prefixes = [
            name if stem in own else split.prefix for stem, split in zip(stems, split_names(stems))
        ]
        sizes = Counter(p for p, image in zip(prefixes, members) if not image.added)
        if video.id is None and sum(n > 1 for n in sizes.values()) > 1:
            for prefix, image in zip(prefixes, members):
                videos.setdefault(video._replace(prefix=prefix), []).append(image)
        else:
            videos.setdefault(video, []).extend(members)
    return videos


def _of_video(
    images: Sequence[_Image], content: dict, source: str, path: Path
) -> tuple[list[_Image], str]:
    """The images of one video, and what the file calls it; of several that which is called as the
    source is. Folders and the names that `videos` states are compared from their ends.
    """
    place = Path(os.path.abspath(source))
    suffix = "" if place.is_dir() else place.suffix
    own = (*place.parts[:-1], place.name.removesuffix(suffix))
    titles = {
        str(checks.integral(v.get("id"))): str(v.get("name") or "")
        for v in _records(content, "videos")
    }
    videos = _videos(images, source, own[-1])

    def shared(names: Sequence[str]) -> int:
        same = [a == b for a, b in zip(reversed(names), reversed(own))]
        return [*same, False].index(False)

    def likeness(video: _Video) -> tuple[int, bool]:
        title = PurePosixPath(titles.get(video.id, "").removesuffix(suffix)).parts
        bare = re.sub(r"(?i)[\W_]*(frame|image|img)?[\W_]*$", "", video.prefix or "")
        return max(shared(video.folder), shared(title)), own[-1] in (bare, video.prefix)

    named = [video for video in videos if video != _Video()]
    best = max(map(likeness, named), default=None)
    chosen = [video for video in named if likeness(video) == best]
    if len(chosen) > 1:
        names = ", ".join(sorted(video.called(titles) for video in chosen))
        raise BadRecord(
            f"images of several videos, and none is called {own[-1]}: {names}",
            file=path,
            remedy="call the video or its folder as the file does, or keep one video in the file",
        )
    mine = [members for video, members in videos.items() if video in chosen or video not in named]
    return list(chain(*mine)), chosen[0].called(titles) if len(videos) > 1 else ""


# --- which frame an image shows -------------------------------------------------------------------


def _by_picture(images: Sequence[_Image], pictures: Sequence[str]) -> dict[str, int]:
    """Frames of the images that are called as a picture of the folder, by image id."""
    at = {PurePosixPath(name).stem: frame for frame, name in enumerate(pictures)}
    at |= {name: frame for frame, name in enumerate(pictures)}
    shown = {}
    for image in images:
        stated = PurePosixPath(image.picture.name.replace("\\", "/"))
        uploaded = re.sub("^" + LABEL_STUDIO, "", image.path.stem)
        names = (stated.name, image.path.name, image.path.stem, uploaded)
        frame = next((at[name] for name in names if name in at), None)
        if frame is not None:
            shown[image.id] = frame
    return shown


def _numbered_pictures(pictures: Sequence[str]) -> dict[int, int]:
    """Frames by the number in the picture's name; none where one has no number of its own."""
    names = split_names([before_export(name).stem for name in pictures])
    frames = {name.number(name.place): i for i, name in enumerate(names) if name.place}
    return frames if len(frames) == len(pictures) and -1 not in frames else {}


def _first_number(
    numbers: dict[str, int],
    labelled: Sequence[_Image],
    frames: Frames,
    first_frame: int | None,
    noted: int | None,
    path: Path,
) -> int:
    """0 or 1: as it is stated, as an image proves that has number 0 or the number of the frames,
    or as it is noted; `BadParameter` where nothing says it.
    """
    n = len(frames)
    end = None if frames.warnings else n  # of a video that was cut nobody knows it
    proven = [first for first, number in ((0, 0), (1, end)) if number in numbers.values()]
    for first in (first_frame, *proven, noted):
        if first is not None:
            return first
    names = {numbers[i.id]: i.picture.name for i in labelled if 0 < numbers.get(i.id, -1) < n}
    if not names:
        return 0  # no image is of this video, and each is named as such
    ends = sorted({min(names), max(names)})
    zero, one = (
        ", ".join(f"{names[number]} is frame {number - first}" for number in ends)
        for first in (0, 1)
    )
    raise BadParameter(
        "nothing says whether the number of the video's first frame is 0 or 1",
        file=path,
        remedy=f"say --first-frame 0 ({zero}, of frames 0 to {n - 1}) or --first-frame 1 ({one})",
    )


def _new_names(
    images: Sequence[_Image],
    split: dict[str, SplitName],
    told: dict[str, int],
    numbers: Sequence[int],
    pictures: Sequence[str],
) -> list[str]:
    """Names for images of all frames, numbered so, as those of the images go on, which show the
    frames told; where these follow no one pattern, as the folder's pictures are called, or
    frame_000000.
    """
    if not images:
        return []
    model = images[0].path
    names = {image.id: split[image.id] for image in images}
    patterns = {
        (*name.around, name.number(name.place) - told[key]) if name.place else None
        for key, name in names.items()
    }
    if len(patterns) == 1 and None not in patterns:
        before, behind, offset = patterns.pop()
        digits = min(len(name.parts[name.place]) for name in names.values())
        stems = [f"{before}{number + offset:0{digits}d}{behind}" for number in numbers]
        pictures = [stem + model.suffix for stem in stems]
    elif not pictures:
        pictures = [f"frame_{number:06d}{model.suffix}" for number in numbers]
    return [str(model.parent / name) for name in pictures]


def _numbering(
    images: Sequence[_Image],
    labelled: Sequence[_Image],
    frames: Frames,
    first_frame: int | None,
    noted: int | None,
    path: Path,
) -> Numbering:
    """By the rule that `read_labels` states; images: of the video, labelled: of these."""
    n = len(frames)
    pictures = picture_names(frames.video.source)
    of_number = _numbered_pictures(pictures)
    shown = _by_picture(images, pictures)
    folders = [image.path.parent for image in images if image.id in shown and not image.added]
    if folders:
        names = [str(folders[0] / name) for name in pictures]
        return Numbering(shown, list(of_number or range(n)), names)

    split = dict(zip((i.id for i in images), split_names([i.path.stem for i in images], n)))
    written = {key: name.number(name.place) for key, name in split.items() if name.place}
    ids = {image.id: image.frame_id for image in images if image.frame_id is not None}
    by_id = any(0 <= ids.get(image.id, -1) <= n for image in labelled)
    numbers = ids if by_id else written
    wanted = {numbers[image.id] for image in labelled if image.id in numbers}
    first = None
    as_pictures = first_frame is noted is None and not by_id and wanted <= set(of_number)
    if not (of_number and as_pictures):
        first = _first_number(numbers, labelled, frames, first_frame, noted, path)
        of_number = {first + i: i for i in range(n)}
    told = {key: number for key, number in numbers.items() if number in of_number}
    models = [i for i in labelled if i.id in told] or [i for i in images if i.id in told]
    reason = "no number, or several that change, in its name"
    reason = "states no frame_id, other labelled images do" if by_id else reason
    return Numbering(
        frames={key: of_number[number] for key, number in told.items()},
        numbers=list(of_number),
        names=_new_names(models, split, told, list(of_number), pictures),
        first=first,
        unclear={image.id: reason for image in images if image.id not in numbers},
    )


def _image_error(
    image: _Image, numbering: Numbering, frames: Frames, path: Path
) -> BadRecord | None:
    """Of a labelled image of no frame, or whose stated size is not the frame's: its joints are
    given in other pixels.
    """
    frame, stated = numbering.frames.get(image.id), image.picture.size_wh
    if frame is None:
        reason = numbering.unclear.get(image.id)
        first, last = numbering.numbers[0], numbering.numbers[-1]
        return image.error(
            f"{reason}: it belongs to no frame" if reason else "belongs to no frame of the video",
            f"the video has {len(frames)} frames, here numbered {first} to {last}; name the image "
            "as its frame, state frame_id, or say --first-frame",
            path,
        )
    size = (frames.video.width, frames.video.height)
    if stated not in (None, size) and os.path.isdir(frames.video.source):
        size = frames[frame].shape[1::-1]  # pictures may differ
    if stated in (None, size):
        return None
    return image.error(
        f"{stated[0]}x{stated[1]} px are stated, the frame has {size[0]}x{size[1]}",
        "use the video that was labelled, or scale the labels to this one and correct width and "
        "height",
        path,
    )


def _doubles(labelled: Sequence[_Image], numbering: Numbering, path: Path) -> dict[str, BadRecord]:
    """Of labelled images that mean a frame that another one, of another name, means too."""
    first, errors = {}, {}
    for image in labelled:
        frame = numbering.frames.get(image.id)
        other = first.setdefault(frame, image)
        if frame is not None and other.picture.name != image.picture.name:
            problem = f"means frame {frame}, and so does image {other.id} ({other.picture.name})"
            remedy = "keep the labels of one, or state frame_id"
            errors[image.id] = image.error(problem, remedy, path)
    return errors


@dataclass(frozen=True)
class _Matched:
    """The images of one video."""

    images: list[_Image]
    video: str  # as the file calls it; "" where it has no others
    numbering: Numbering
    errors: dict[str, BadRecord]  # of labelled images, by id


def _matched(
    content: dict,
    pictures: Sequence[Picture],
    labelled: Collection[str],
    frames: Frames,
    first_frame: int | None,
    path: Path,
) -> _Matched:
    """The images of the video among all pictures, with their frames; labelled: ids of images."""
    records = {str(image.get("id")): image for image in reversed(_records(content, "images"))}
    everywhere = [_Image(picture, records[picture.id]) for picture in pictures]
    images, video = _of_video(everywhere, content, frames.video.source, path)
    noted = _record(content.get("propagation")).get("first_frame")
    noted = noted.get(video) if type(noted) is dict else None if video else noted
    noted = checks.integral(noted)
    noted = noted if type(noted) is int and noted in (0, 1) else None
    own = [image for image in images if image.id in labelled]
    numbering = _numbering(images, own, frames, first_frame, noted, path)
    doubles = _doubles(own, numbering, path)
    wrong = {i.id: doubles.get(i.id) or _image_error(i, numbering, frames, path) for i in own}
    at = {key: frame for key, frame in numbering.frames.items() if key not in doubles}
    errors = {key: error for key, error in wrong.items() if error}
    return _Matched(images, video, replace(numbering, frames=at), errors)


# --- who is who -----------------------------------------------------------------------------------


def _labels(
    given: dict[int, object],
    keys: dict[int, str],
    poses: Pose,
    frames: dict[str, int],
    wrong: Collection[str],
) -> list[_Label]:
    """The annotations of the video's frames. Those of wrong images have no pose; nor have those
    whose flags are all 0, unless all are so: PoseTrack's joints have coordinates then.
    """
    rows = {key: row for row, key in enumerate(poses.ids) if poses.labelled[row].any()}
    labels: dict[str, _Label] = {}  # of two with one id the first
    for place, annotation in given.items():
        a = _record(annotation)
        image, key = str(a.get("image_id")), keys.get(place)
        if "id" in a and image in frames:
            row = None if image in wrong else rows.get(key)
            labels.setdefault(key, _Label(place, key, a, frames[image], row))
    flagged = {key for key, label in labels.items() if (_points(label.stated)[:, 2] > 0).any()}
    if any(labels[key].row is not None for key in flagged):
        return [replace(x, row=x.row if key in flagged else None) for key, x in labels.items()]
    return list(labels.values())


def _pose_error(label: _Label, poses: Pose, path: Path) -> BadRecord | None:
    """Of a pose whose numbers are no pixels, or in a box that is none of its own."""
    if label.row is None:
        return None
    xy = poses.xy_frame[label.row, poses.labelled[label.row]]
    box = poses.boxes_xyxy[label.row].astype(float)
    x0, y0, x1, y1 = geometry.enlarge(box, NEAR)
    inside = int(((xy >= (x0, y0)) & (xy <= (x1, y1))).all(1).sum())
    if max(np.abs(xy).max(), np.abs(box).max()) > MAX_PX:
        problem = f"coordinates beyond {MAX_PX:,.0f} px"
    elif box.max() < 1:
        problem = "a box within the first pixel"
    elif 2 * inside < len(xy):
        problem = f"{inside} of {len(xy)} joints lie in or near its box"
    else:
        return None
    pixels = "state joints, and bbox as x, y, width, height, in pixels of the frame"
    return label.error(problem, f"{pixels}, or leave bbox out", path)


def _who(label: _Label, path: Path) -> str | None:
    """The person's track_id, CocoVID's instance_id or the track_id in `attributes`; None where
    there is none.
    """
    ids = [label.stated.get(key) for key in ("track_id", "instance_id")]
    ids.append(_record(label.stated.get("attributes")).get("track_id"))
    who = checks.integral(next((value for value in ids if value is not None), None))
    if who is not None and type(who) not in (int, str):
        raise label.error(f"track_id is {who!r}, an integer or text expected"[:80], None, path)
    return None if who is None else str(who)


def _linked(labels: Sequence[_Label], poses: Pose, n_frames: int) -> dict[str, int]:
    """A track for each pose, by place and shape, within a category: a left hand is never linked
    to a right one.
    """
    kinds = defaultdict(list)
    for label in labels:
        kinds[str(checks.integral(label.stated.get("category_id")))].append(label)
    track_of: dict[str, int] = {}
    for kind in kinds.values():
        own = poses.select([label.row for label in kind])
        people = Detections(
            own.skeleton,
            own.xy_frame,
            own.labelled.astype(np.float32),
            own.boxes_xyxy,
            frames=np.array([label.frame for label in kind], np.int64),
        )
        tracks = link(people, max_gap=n_frames, smoothing=1.0).tracks
        tracks = tracks + 1 + max(track_of.values(), default=-1)
        track_of |= dict(zip((label.key for label in kind), tracks.tolist()))
    return track_of


def _identified(
    labels: Sequence[_Label], poses: Pose, n_frames: int, path: Path
) -> tuple[list[_Label], list[BadRecord], dict[str, int]]:
    """The labels with their people, as far as these are told; what is bad about ids; and the
    tracks of those who had to be linked because nobody has an id, which they then get.
    """
    named, errors = [], []
    for label in labels:
        try:
            named.append(replace(label, who=_who(label, path)))
        except BadRecord as error:
            errors.append(error)
    posed = [label for label in named if label.row is not None]
    nameless = [label for label in posed if label.who is None]
    if len(nameless) < len(posed):
        problem = f"no track_id, {len(posed) - len(nameless)} others have one"
        remedy = "give every person one, or nobody: people are then told apart by place and shape"
        return named, errors + [x.error(problem, remedy, path) for x in nameless], {}
    track_of = _linked(posed, poses, n_frames)
    for i, label in enumerate(named):
        if label.key in track_of:
            track = track_of[label.key]
            stated = label.stated | {"track_id": track}
            named[i] = replace(label, who=str(track), stated=stated)
    return named, errors, track_of


def _track_ids(people: Collection[str]) -> dict[str, int]:
    """Whole numbers for people: their own, where all have such, else in their order."""
    whole = all(who.isdecimal() and len(who) < 19 and str(int(who)) == who for who in people)
    return {who: int(who) if whole else i for i, who in enumerate(people)}


def _placed(
    labels: Sequence[_Label], path: Path
) -> tuple[dict[tuple[int, int], _Label], list[BadRecord]]:
    """One label a track and frame, with a pose rather than without; and the errors of others."""
    track_of = _track_ids(dict.fromkeys(label.who for label in labels))
    placed, errors = {}, []
    for label in sorted(labels, key=lambda label: label.row is None):
        if placed.setdefault((track_of[label.who], label.frame), label) is not label:
            problem = f"two annotations of track {label.who} in a frame"
            remedy = "give every person in a frame a track_id of their own, or keep one of the two"
            errors.append(label.error(problem, remedy, path))
    return placed, errors


def _tracks(poses: Pose, placed: dict[tuple[int, int], _Label], n_frames: int) -> list[Track]:
    """One a person who has a pose, labelled where the file has one, and without joints where it
    has an annotation without.
    """
    shape = (n_frames, len(skeleton(poses.skeleton)))
    tracks = []
    for track in sorted({track for (track, _), label in placed.items() if label.row is not None}):
        mine = [label for (other, _), label in placed.items() if other == track]
        rows = [label.row for label in mine if label.row is not None]
        at = [label.frame for label in mine if label.row is not None]
        xy, flags = np.zeros((*shape, 2)), np.zeros(shape, int)
        boxes, labelled = np.zeros((n_frames, 4)), np.zeros(n_frames, bool)
        xy[at], flags[at] = poses.xy_frame[rows], poses.visibility[rows]
        boxes[at] = poses.boxes_xyxy[rows]
        labelled[[label.frame for label in mine]] = True
        tracks.append(
            Track(poses.skeleton, track, xy, flags, labelled, boxes, poses.occlusion_known)
        )
    return tracks


# --- what is said of it ---------------------------------------------------------------------------


def _taken(placed: dict[tuple[int, int], _Label], matched: _Matched, n_frames: int) -> list[str]:
    """Which frames the first and the last image with a pose were taken for."""
    names = {image.id: image.picture.name for image in matched.images}
    posed = [label for label in placed.values() if label.row is not None]
    shown = sorted((label.frame, str(label.stated["image_id"])) for label in posed)
    if not shown:
        return []
    first, last = (f"{names[key]} as frame {frame}" for frame, key in (shown[0], shown[-1]))
    return [f"taken: {first}, {last} (the video has frames 0 to {n_frames - 1})"]


def _linking(placed: dict[tuple[int, int], _Label], linked: dict[str, int]) -> list[str]:
    if not linked:
        return []
    posed = [track for (track, _), label in placed.items() if label.row is not None]
    return [
        f"no track_id: people were linked by likeness, {len(posed)} poses into {len(set(posed))}; "
        "check them, or state ids"
    ]


def _counts(
    labels: Sequence[_Label],
    matched: _Matched,
    labelled: Collection[str],
    n_pictures: int,
    carried: Sequence[dict],
) -> list[str]:
    """How many annotations and images are not used, and why."""
    at = matched.numbering.frames
    stray = [i for i in matched.images if i.id not in at and i.id not in labelled]
    earlier = sum(bool(a.get("propagated")) for a in carried)
    anew = "are no labels and are carried anew"
    counts = {
        "annotations without joints have no track_id: nobody is taken for absent by them": sum(
            label.who is None and label.row is None for label in labels
        ),
        "images of other videos are left alone": n_pictures - len(matched.images),
        "images without labels belong to no frame and are left alone": len(stray),
        f"poses that were carried earlier {anew}": earlier,
        f"poses between keyframes (keyframe: false) {anew}": len(carried) - earlier,
    }
    return [f"{n} {what}" for what, n in counts.items() if n]


def _absences(placed: dict[tuple[int, int], _Label]) -> list[str]:
    """How many gaps between two poses of a person stay open."""
    by_track = defaultdict(list)
    for (track, _), label in sorted(placed.items(), key=lambda item: item[0]):
        by_track[track].append(label)
    shut = []
    for mine in by_track.values():
        posed = [i for i, label in enumerate(mine) if label.row is not None]
        shut += [(mine[i], mine[j]) for i, j in pairwise(posed) if j - i > 1]
    if not shut:
        return []
    left, right = shut[0]
    return [
        f"{len(shut)} gaps stay open, because an annotation without joints says that the person "
        f"is absent; the first is that of track {left.who} between frames {left.frame} and "
        f"{right.frame}"
    ]


def _alike(matched: _Matched, frames: Frames) -> dict:
    """What all images of the video state alike, and the size of a video file."""
    video = frames.video
    size = {} if os.path.isdir(video.source) else {"width": video.width, "height": video.height}
    ours = [image.stated for image in matched.images if image.id in matched.numbering.frames]
    first = ours[0] if ours else {}
    return size | {
        key: first[key]
        for key in LIKE
        if key in first and all(image.get(key) == first[key] for image in ours)
    }


def _first_frame_id(matched: _Matched) -> int | None:
    """The first frame's, where all images state theirs."""
    at = matched.numbering.frames
    ours = [image for image in matched.images if image.id in at]
    if any(image.frame_id is None for image in ours):
        return None
    first = {image.frame_id - at[image.id] for image in ours}
    return first.pop() if len(first) == 1 else None


# --- reading --------------------------------------------------------------------------------------


def read_labels(
    path: str | Path,
    frames: Frames,
    joints: str | None = None,
    *,
    first_frame: int | None = None,
    on_bad: str = "raise",
) -> Labels:
    """A COCO file of labels of some frames of a video.

    Which frame an image shows: where the video is a folder of pictures and an image is called as
    one of them, that picture. Else the whole number `frame_id` says it, which all labelled images
    must state then. Else the number in `file_name` that changes between the names. In a folder of
    numbered pictures it is the number of a picture; in a video numbers count from the first
    frame's, 0 or 1: `first_frame`, else what the file proves (an image of number 0, or of the
    number of the frames), else what an earlier run noted. `BadParameter` where nothing says it.

    Of a file of several videos, the images are read whose video, folder or name up to the number
    is called as the video (or its folder). People are told apart by `track_id` (a whole number or
    text, also in `attributes`) or `instance_id`, or where nobody has one by place and shape,
    within a category: they then get one. Annotations that were carried earlier ("propagated", and
    what CVAT put between its keyframes) are no labels and are dropped. An annotation without
    joints (or with flags of 0 alone, where others have higher ones) says that the person is
    absent; so does, with `on_bad="report"`, one that is left out.

    joints: the skeleton; None: told by the file. first_frame: 0 or 1. on_bad: "report" also reads
    a video to its end, which may come before its header says. Errors: those of `read_coco`;
    `BadFile`: NaN or Infinity in it; `BadRecord`: a labelled image of no frame, of another one's
    or of another size, images of several videos of which none is this one, people of whom some
    have a track_id, two annotations of one person in a frame, joints that lie far from their box
    or from any picture.
    """
    path = Path(path)
    content = _content(path)
    if on_bad == "report":
        with suppress(WorkbenchError):
            frames[len(frames) - 1]
    given = _given(content)
    keys = _keys(given)
    reading = _poses(content, given, keys, path, skeleton=joints, on_bad=on_bad)
    labelled = {str(_record(a).get("image_id")) for a in given.values()}
    matched = _matched(content, reading.pictures, labelled, frames, first_frame, path)
    at, poses = matched.numbering.frames, reading.poses

    labels = _labels(given, keys, poses, at, matched.errors)
    strange = {x.key: error for x in labels if (error := _pose_error(x, poses, path))}
    labels = [replace(x, row=None) if x.key in strange else x for x in labels]
    labels, unnamed, linked = _identified(labels, poses, len(frames), path)
    placed, twice = _placed([label for label in labels if label.who is not None], path)
    errors = [*matched.errors.values(), *strange.values(), *unnamed, *twice]
    n_records = len(content["images"]) + len(given)
    checks.settle(errors, n_records, "images and annotations", on_bad, path)

    stated = {label.place: label.stated for label in labels}
    annotations = {
        i: stated.get(i, a)
        for i, a in enumerate(content["annotations"])
        if not _carried(a) or str(a.get("image_id")) not in at
    }
    carried = [a for i, a in enumerate(content["annotations"]) if i not in annotations]
    notes = [
        *_taken(placed, matched, len(frames)),
        *_linking(placed, linked),
        *_counts(labels, matched, labelled, len(reading.pictures), carried),
        *_absences(placed),
    ]
    tracks = _tracks(poses, placed, len(frames))
    return Labels(
        content=content | {"annotations": list(annotations.values())},
        clip=Clip(frames.video, tracks, name=path.stem),
        numbering=matched.numbering,
        people={place: x.stated for place, x in placed.items() if x.row is not None},
        like=_alike(matched, frames),
        frame_id=_first_frame_id(matched),
        video=matched.video,
        notes=tuple(notes),
        warnings=(*frames.warnings, *reading.warnings, *errors),
    )


# --- writing --------------------------------------------------------------------------------------


def _digest(annotations: Sequence[object], name: str) -> str:
    """Of the annotations that no program carried, and of the file of labels: says whether
    somebody changed one since.
    """
    labels = [name, *(a for a in annotations if not _carried(a))]
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]


def check_places(source: str, labels: Path, out: Path, overlay: Path | None) -> None:
    """`BadParameter` where writing `out` or `overlay` would destroy the video, the labels, one
    another, or corrections that were made in `out`; or where `overlay` has a suffix that cannot be
    written.
    """
    video, another = Path(source).resolve(), "name another file"
    taken = {Path(labels).resolve(): "the labels", video: "the video"}
    for path in filter(None, (out, overlay)):
        place = path.resolve()
        if place in taken:
            raise BadParameter(f"would write over {taken[place]}", file=path, remedy=another)
        if place.parent == video and place.suffix.lower() in PICTURE_SUFFIXES:
            raise BadParameter("would lie among the video's pictures", file=path, remedy=another)
        taken[place] = "--out"
    if overlay is not None and overlay.suffix != ".webm":
        raise BadParameter(f"suffix {overlay.suffix!r}", file=overlay, remedy="name a .webm file")
    if out.is_file() and out.stat().st_size:
        _check_corrections(labels, out)


def _check_corrections(labels: Path, out: Path) -> None:
    """`BadParameter` where `out` is no COCO file, or holds labels that `labels` does not."""
    try:
        content = read_json(out)
        there = checks.table(content, "annotations", out)
    except BadFile:
        raise BadParameter(
            "is there, and no COCO file", file=out, remedy="name another file"
        ) from None
    if _record(content.get("propagation")).get("labels") == _digest(there, labels.stem):
        return  # as it was written
    given = checks.table(read_json(labels), "annotations", labels)
    known = {json.dumps(a, sort_keys=True) for a in given}
    if any(json.dumps(a, sort_keys=True) not in known for a in there if not _carried(a)):
        remedy = "give it as --labels, or name another --out"
        raise BadParameter("holds corrections", file=out, remedy=remedy)


def _next_id(records: Sequence[object]) -> int:
    ids = [str(record.get("id")) for record in records if type(record) is dict]
    return 1 + max((int(i) for i in ids if i.isdecimal() and len(i) < 19), default=0)


def _added_image(labels: Labels, frame: int, image_id: int) -> dict:
    named = {"id": image_id, "file_name": labels.numbering.names[frame]}
    count = {} if labels.frame_id is None else {"frame_id": labels.frame_id + frame}
    return named | labels.like | {"propagated": True} | count


def _carried_annotation(
    labels: Labels, track: Track, found: Detections, row: int, interpolated: Collection[str]
) -> dict:
    """A pose that was carried, without ids."""
    frame = int(found.frames[row])
    posed = np.flatnonzero(track.visibility.any(1))
    after = int(np.searchsorted(posed, frame))
    sides = posed[after - 1 : after + 1].tolist()
    left, right = (labels.people[track.track_id, side] for side in sides)

    seen = track.visibility[sides] > 0
    flags = np.stack([_points(a)[:, 2] for a in (left, right)]).astype(int)
    flags = np.where(seen.all(0), flags.min(0), (flags * seen).sum(0))
    told = seen.any(0)
    joints = np.concatenate((found.xy_frame[row].round(2) * told[:, None], flags[:, None]), 1)
    x0, y0, x1, y1 = (round(float(v), 2) for v in found.boxes_xyxy[row])
    width, height = (max(round(side, 2), 1.0) for side in (x1 - x0, y1 - y0))
    scores = found.confidence[row].astype(float).round(4)
    who = {key: left[key] for key in ("track_id", "instance_id") if left.get(key) is not None}
    names = skeleton(found.skeleton).joints
    line = [name for name, known in zip(names, told) if known and name in interpolated]
    return {
        **({"category_id": left["category_id"]} if "category_id" in left else {}),
        **(who or {"attributes": {"track_id": left["attributes"]["track_id"]}}),
        "keypoints": [round(float(v), 2) for v in joints.ravel()],
        "num_keypoints": int((flags > 0).sum()),
        "bbox": [x0, y0, width, height],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "propagated": True,
        "method": found.source,
        "between": [labels.numbering.numbers[side] for side in sides],
        "scores": scores.tolist(),
        "score": round(float(scores[told].mean()) if told.any() else 0.0, 4),
        **({"interpolated": line} if line else {}),
    }


def write_propagated(
    path: str | Path, labels: Labels, found: Detections, interpolated: Sequence[str] = ()
) -> Path:
    """The labels' file with an annotation for each pose that was carried, and an image where a
    frame had none.

    What was there stays as it was, but for images that an earlier run added and that nobody is in
    any more. New annotations and images say "propagated": true, annotations also between which of
    the file's frames they lie, the confidence of each joint ("scores") and their mean ("score"); a
    joint's flag is the lower one of its two labels as the file has them, the one there is, or 0.
    Track ids, names and numbers follow the file's. interpolated: joints that only moved on the line
    between their labels although the method is another.
    """
    content, numbering = labels.content, labels.numbering
    images, annotations = list(content["images"]), list(content["annotations"])
    image_of = {}  # a frame's first
    for image in images:
        frame = numbering.frames.get(str(_record(image).get("id")))
        if frame is not None:
            image_of.setdefault(frame, image["id"])
    tracks = {track.track_id: track for track in labels.clip.tracks}
    next_image, next_id = _next_id(images), _next_id(annotations)
    for row, (frame, person) in enumerate(zip(found.frames.tolist(), found.tracks.tolist())):
        if frame not in image_of:
            image_of[frame] = next_image
            images.append(_added_image(labels, frame, next_image))
            next_image += 1
        pose = _carried_annotation(labels, tracks[person], found, row, interpolated)
        annotations.append({"id": next_id + row, "image_id": image_of[frame]} | pose)

    used = {str(_record(a).get("image_id")) for a in annotations}
    images = [i for i in images if not _record(i).get("propagated") or str(i.get("id")) in used]
    note = _record(content.get("propagation"))
    if numbering.first is not None:
        before = _record(note.get("first_frame"))
        note = note | {"first_frame": before | {labels.video: numbering.first}}
    note = note | {"labels": _digest(annotations, labels.clip.name)}
    whole = content | {"images": images, "annotations": annotations, "propagation": note}
    text = json.dumps(whole, allow_nan=False)
    return write_beside(Path(path), lambda beside: beside.write_text(text, encoding="utf-8"))
