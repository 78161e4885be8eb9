"""Sparse labels of a video: a COCO file with the poses of some of its frames, read, and written
back with the poses that were carried to the frames between them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, pairwise
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
    unclear: dict[str, str] = field(default_factory=dict)  # why an image has no number, by its id


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

    def error(self, problem: str, remedy: str) -> BadRecord:
        return BadRecord(problem, record=f"image {self.id} ({self.picture.name})", remedy=remedy)


@dataclass(frozen=True)
class _Label:
    """An annotation that no program carried."""

    place: int  # in the file
    id: str
    image: str
    stated: dict  # the file's record
    frame: int = -1
    row: int | None = None  # of its pose; None: it has no joints, or none that can be used
    who: str | None = None  # the person's id

    def error(self, problem: str, remedy: str | None = None) -> BadRecord:
        return BadRecord(problem, record=f"annotation {self.id}", remedy=remedy)


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
    keyframe = _record(annotation.get("attributes")).get("keyframe")
    return bool(annotation.get("propagated")) or keyframe is False


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
        problem = "holds NaN or Infinity, or is nested too deeply"
        raise BadFile(problem, file=path, remedy="correct the file") from None
    for kind in ("images", "annotations"):
        checks.table(content, kind, path)
        for record in _records(content, kind):
            ids = {key: record[key] for key in ("id", "image_id") if key in record}
            record.update({key: checks.integral(value) for key, value in ids.items()})
    return content


def _given(content: dict) -> tuple[list[_Label], list]:
    """The labels of people, and what is no annotation. Ids that restart in every image are told
    apart by the image's.
    """
    jointless = [c.get("id") for c in _records(content, "categories") if not c.get("keypoints")]
    labels, broken = [], []
    for place, annotation in enumerate(content["annotations"]):
        a = _record(annotation)
        other = a and not a.get("keypoints") and a.get("category_id") in jointless
        if "id" in a and not (_carried(a) or other):
            labels.append(_Label(place, str(a["id"]), str(a.get("image_id")), a))
        elif "id" not in a:
            broken.append(annotation)
    images = Counter(key for key, _ in {(label.id, label.image) for label in labels})
    return [
        replace(x, id=f"{x.id} of image {x.image}") if images[x.id] > 1 else x for x in labels
    ], broken


def _for_coco(label: _Label) -> dict:
    """The annotation under its label's id; one without a box or area gets that around its joints,
    as PoseTrack draws them, at least a pixel.
    """
    annotation = label.stated
    if " of image " in label.id:
        annotation = annotation | {"id": label.id}
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


# --- names of images ------------------------------------------------------------------------------


def before_export(name: str) -> PurePosixPath:
    """An image's name as it was before Roboflow's export."""
    return PurePosixPath(re.sub(ROBOFLOW, r".\1", name).replace("\\", "/"))


class SplitName(NamedTuple):
    """A name cut around one of its numbers."""

    before: str
    digits: str
    behind: str

    @property
    def number(self) -> int:
        """-1 where it has more digits than a time in ns."""
        return int(self.digits) if len(self.digits) < 20 else -1


def split_names(stems: Sequence[str], highest: int | None = None) -> list[SplitName | None]:
    """Names cut around the number that changes between those of as many numbers (in a name alone:
    any); None where there is none.

    Of several, it is the last. Where the `highest` number that a frame may have is stated, it is
    the one that never exceeds it, and None where that leaves several. The eight hex digits that
    Label Studio puts before names count as text: a letter in one of them gives them away.
    """
    heads = [re.match(LABEL_STUDIO, stem) for stem in stems]
    hashed = any(re.search("[a-f]", head[0]) for head in heads if head)
    names = []
    for stem, head in zip(stems, heads):
        start = head.end() if head and hashed else 0
        text, *others = re.split(r"(\d+)", stem[start:])
        names.append((stem[:start] + text, *others))

    def cut(parts: Sequence[str], place: int) -> SplitName:
        return SplitName("".join(parts[:place]), parts[place], "".join(parts[place + 1 :]))

    place_of = {}
    for n in {len(parts) for parts in names}:
        alike = [parts for parts in names if len(parts) == n]
        numbers = {i: {cut(parts, i).number for parts in alike} for i in range(1, n, 2)}
        places = [i for i in numbers if len(numbers[i]) > 1] or list(numbers)
        if highest is not None and len(places) > 1:
            places = [i for i in places if max(numbers[i]) <= highest]
            places = places if len(places) == 1 else []
        place_of[n] = places[-1] if places else None
    places = [place_of[len(parts)] for parts in names]
    return [None if place is None else cut(parts, place) for parts, place in zip(names, places)]


# --- which of several videos ----------------------------------------------------------------------


class _Video(NamedTuple):
    """What tells a video's images from those of others."""

    folder: tuple[str, ...] = ()
    title: str | None = None
    prefix: str | None = None  # of the names, up to the number that changes

    def __str__(self) -> str:
        title = [self.title] if self.title else []
        return "/".join((*self.folder, *title, self.prefix or ""))


def _videos(images: Sequence[_Image], content: dict, own: dict[str, str]) -> dict:
    """The images by video: by the ids that they state, by folders, and by what stands before the
    number in a name, where that makes two videos or more with two images each. own: the prefix
    of names that are known.
    """
    names = {checks.integral(v.get("id")): v.get("name") for v in _records(content, "videos")}
    groups, videos = defaultdict(list), defaultdict(list)
    for image in images:
        number = checks.integral(image.stated.get("video_id", image.stated.get("vid_id")))
        title = None if number is None else str(names.get(number) or f"video {number}")
        groups[_Video(image.path.parent.parts, title)].append(image)
    for video, members in groups.items():
        stems = [image.path.stem for image in members]
        split = zip(stems, split_names(stems))
        prefixes = [own.get(stem) or (name.before if name else stem) for stem, name in split]
        sizes = Counter(p for p, image in zip(prefixes, members) if not image.added)
        several = video.title is None and sum(n > 1 for n in sizes.values()) > 1
        for prefix, image in zip(prefixes, members):
            videos[video._replace(prefix=prefix) if several else video].append(image)
    return videos


def _of_video(
    images: Sequence[_Image], content: dict, source: str, path: Path
) -> tuple[list[_Image], str]:
    """The images of one video, and what the file calls it; of several that which is called as the
    source is. Folders and the names that `videos` states are compared from their ends.
    """
    place = Path(os.path.abspath(source))
    suffix = "" if place.is_dir() else place.suffix
    name = place.name.removesuffix(suffix)
    own = {PurePosixPath(picture).stem: name for picture in picture_names(source)}
    videos = _videos(images, content, own)

    def shared(names: Sequence[str]) -> int:
        pairs = zip(reversed(names), reversed((*place.parts[:-1], name)))
        return [*(a == b for a, b in pairs), False].index(False)

    def likeness(video: _Video) -> tuple[int, bool]:
        title = PurePosixPath((video.title or "").removesuffix(suffix)).parts
        bare = re.sub(r"(?i)[\W_]*(frame|image|img)?[\W_]*$", "", video.prefix or "")
        return max(shared(video.folder), shared(title)), name in (bare, video.prefix)

    named = [video for video in videos if video != _Video()]
    best = max(map(likeness, named), default=None)
    chosen = [video for video in named if likeness(video) == best]
    if len(chosen) > 1:
        remedy = "call the video or its folder as the file does, or keep one video in the file"
        names = ", ".join(sorted(map(str, chosen)))
        problem = f"images of several videos, and none is called {name}: {names}"
        raise BadRecord(problem, file=path, remedy=remedy)
    mine = [members for video, members in videos.items() if video in chosen or video not in named]
    return list(chain(*mine)), str(chosen[0]) if len(videos) > 1 else ""


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
        shown |= {} if frame is None else {image.id: frame}
    return shown


def _first_number(
    numbers: Mapping[str, int],
    labelled: Sequence[_Image],
    frames: Frames,
    told: tuple[int | None, int | None],
    path: Path,
) -> int:
    """0 or 1: as is told with the command, as an image proves that has number 0 or the number of
    the frames, or as is told by a note; `BadParameter` where nothing says it.
    """
    n = len(frames)
    end = None if frames.warnings else n  # of a video that was cut nobody knows it
    proven = [first for first, number in ((0, 0), (1, end)) if number in numbers.values()]
    for first in (told[0], *proven, told[1]):
        if first is not None:
            return first
    names = {numbers[i.id]: i.picture.name for i in labelled if 0 < numbers.get(i.id, -1) < n}
    if not names:
        return 0  # no image is of this video, and each is named as such
    ends = sorted({min(names), max(names)})
    zero = ", ".join(f"{names[number]} is frame {number}" for number in ends)
    one = ", ".join(f"{names[number]} is frame {number - 1}" for number in ends)
    raise BadParameter(
        "nothing says whether the number of the video's first frame is 0 or 1",
        file=path,
        remedy=f"say --first-frame 0 ({zero}, of frames 0 to {n - 1}) or --first-frame 1 ({one})",
    )


def _new_names(
    models: Sequence[_Image],
    split: Mapping[str, SplitName | None],
    told: Mapping[str, int],
    numbers: Sequence[int],
    pictures: Sequence[str],
) -> list[str]:
    """Names for images of all frames, numbered so, as those of the models go on, whose numbers are
    told; where they follow no one pattern, as the folder's pictures are called, or frame_000000.
    """
    if not models:
        return []
    path, names = models[0].path, [split[image.id] for image in models]
    offsets = {name and name.number - told[image.id] for image, name in zip(models, names)}
    around = {name and (name.before, name.behind) for name in names}
    if len(offsets) == len(around) == 1 and all(names):
        before, behind = around.pop()
        offset, digits = offsets.pop(), min(len(name.digits) for name in names)
        stems = [f"{before}{number + offset:0{digits}d}{behind}" for number in numbers]
        pictures = [stem + path.suffix for stem in stems]
    elif not pictures:
        pictures = [f"frame_{number:06d}{path.suffix}" for number in numbers]
    return [str(path.parent / name) for name in pictures]


def _numbering(
    images: Sequence[_Image],
    labelled: Sequence[_Image],
    frames: Frames,
    told: tuple[int | None, int | None],
    path: Path,
) -> Numbering:
    """By the rule that `read_labels` states; images: of the video, labelled: of these; told: of
    the first frame's number, with the command and by a note.
    """
    n, pictures = len(frames), picture_names(frames.video.source)
    split = split_names([before_export(name).stem for name in pictures])
    of_number = {name.number: frame for frame, name in enumerate(split) if name}
    of_number = of_number if len(of_number) == n and -1 not in of_number else {}
    shown = _by_picture(images, pictures)
    folders = [image.path.parent for image in images if image.id in shown and not image.added]
    if folders:
        names = [str(folders[0] / name) for name in pictures]
        return Numbering(shown, list(of_number or range(n)), names)

    split = dict(zip((i.id for i in images), split_names([i.path.stem for i in images], n)))
    numbers = {image.id: image.frame_id for image in images if image.frame_id is not None}
    by_id = any(0 <= numbers.get(image.id, -1) <= n for image in labelled)
    if not by_id:
        numbers = {key: name.number for key, name in split.items() if name}
    first = None
    wanted = {numbers[image.id] for image in labelled if image.id in numbers}
    if by_id or told != (None, None) or not of_number or not wanted <= set(of_number):
        first = _first_number(numbers, labelled, frames, told, path)
        of_number = {first + frame: frame for frame in range(n)}
    told_of = {key: number for key, number in numbers.items() if number in of_number}
    models = [i for i in labelled if i.id in told_of] or [i for i in images if i.id in told_of]
    lacking = "no number, or several that change, in its name"
    lacking = "states no frame_id, other labelled images do" if by_id else lacking
    return Numbering(
        frames={key: of_number[number] for key, number in told_of.items()},
        numbers=list(of_number),
        names=_new_names(models, split, told_of, list(of_number), pictures),
        first=first,
        unclear={image.id: lacking for image in images if image.id not in numbers},
    )


def _image_error(image: _Image, numbering: Numbering, frames: Frames) -> BadRecord | None:
    """Of a labelled image of no frame, or whose stated size is not the frame's: its joints are
    given in other pixels.
    """
    frame, stated = numbering.frames.get(image.id), image.picture.size_wh
    if frame is None:
        first, last = numbering.numbers[0], numbering.numbers[-1]
        remedy = f"the video has {len(frames)} frames, here numbered {first} to {last}; name the"
        remedy += " image as its frame, state frame_id, or say --first-frame"
        reason = f"{numbering.unclear[image.id]}: it " if image.id in numbering.unclear else ""
        return image.error(f"{reason}belongs to no frame of the video", remedy)
    size = (frames.video.width, frames.video.height)
    if stated not in (None, size) and os.path.isdir(frames.video.source):
        size = frames[frame].shape[1::-1]  # pictures may differ
    if stated in (None, size):
        return None
    problem = "{}x{} px are stated, the frame has {}x{}".format(*stated, *size)
    remedy = "use the video that was labelled, or scale the labels to this one and correct width "
    return image.error(problem, remedy + "and height")


def _doubles(labelled: Sequence[_Image], numbering: Numbering) -> dict[str, BadRecord]:
    """Of labelled images that mean a frame that another one, of another name, means too."""
    first, errors = {}, {}
    for image in labelled:
        frame = numbering.frames.get(image.id)
        other = first.setdefault(frame, image)
        if frame is not None and other.picture.name != image.picture.name:
            problem = f"means frame {frame}, and so does image {other.id} ({other.picture.name})"
            errors[image.id] = image.error(problem, "keep the labels of one, or state frame_id")
    return errors


# --- who is who -----------------------------------------------------------------------------------


def _posed(
    labels: Sequence[_Label], poses: Pose, frames: Mapping[str, int], wrong: Collection[str]
) -> list[_Label]:
    """The labels of the video's frames with their poses. Those of wrong images have none; nor have
    those whose flags are all 0, unless all are so: PoseTrack's joints have coordinates then.
    """
    rows = {key: row for row, key in enumerate(poses.ids) if poses.labelled[row].any()}
    first = {}  # of two with one id
    for label in labels:
        if label.image in frames:
            row = None if label.image in wrong else rows.get(label.id)
            first.setdefault(label.id, replace(label, frame=frames[label.image], row=row))
    posed = [label for label in first.values() if label.row is not None]
    unflagged = {label.id for label in posed if not (_points(label.stated)[:, 2] > 0).any()}
    if len(unflagged) == len(posed):
        return [*first.values()]
    return [replace(x, row=None) if x.id in unflagged else x for x in first.values()]


def _pose_error(label: _Label, poses: Pose) -> BadRecord | None:
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
    return label.error(problem, f"{pixels}, or leave bbox out")


def _who(annotation: dict) -> object:
    """The person's track_id, CocoVID's instance_id or the track_id in `attributes`."""
    ids = [annotation.get("track_id"), annotation.get("instance_id")]
    ids.append(_record(annotation.get("attributes")).get("track_id"))
    return checks.integral(next((value for value in ids if value is not None), None))


def _linked(labels: Sequence[_Label], poses: Pose, n_frames: int) -> dict[str, int]:
    """A track for each label, by place and shape, within a category: a left hand is never linked
    to a right one.
    """
    kinds = defaultdict(list)
    for label in labels:
        kinds[str(checks.integral(label.stated.get("category_id")))].append(label)
    track_of = {}
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
        track_of |= dict(zip((label.id for label in kind), tracks.tolist()))
    return track_of


def _identified(
    labels: Sequence[_Label], poses: Pose, n_frames: int
) -> tuple[list[_Label], list[BadRecord], bool]:
    """The labels with their people, as far as these are told; what is bad about ids; and whether
    people were linked, because nobody has an id: they then get a track_id.
    """
    named, errors = [], []
    for label in labels:
        who = _who(label.stated)
        if who is None or type(who) in (int, str):
            named.append(replace(label, who=None if who is None else str(who)))
        else:
            problem = f"track_id is {who!r}, an integer or text expected"
            errors.append(label.error(problem[:80]))
    posed = [label for label in named if label.row is not None]
    nameless = [label for label in posed if label.who is None]
    if len(nameless) < len(posed):
        problem = f"no track_id, {len(posed) - len(nameless)} others have one"
        remedy = "give every person one, or nobody: people are then told apart by place and shape"
        return named, errors + [label.error(problem, remedy) for label in nameless], False
    tracks = _linked(posed, poses, n_frames)
    for i, label in enumerate(named):
        if label.id in tracks:
            stated = label.stated | {"track_id": tracks[label.id]}
            named[i] = replace(label, who=str(tracks[label.id]), stated=stated)
    return named, errors, bool(posed)


def _placed(labels: Sequence[_Label]) -> tuple[dict[tuple[int, int], _Label], list[BadRecord]]:
    """The labels of people by track and frame, one with a pose rather than without; and the errors
    of others. Tracks are the people's ids, where all are whole numbers.
    """
    people = dict.fromkeys(label.who for label in labels if label.who is not None)
    whole = all(who.isdecimal() and len(who) < 19 and str(int(who)) == who for who in people)
    track_of = {who: int(who) if whole else i for i, who in enumerate(people)}
    placed, errors = {}, []
    for label in sorted(labels, key=lambda label: label.row is None):
        place = track_of.get(label.who), label.frame
        if label.who is not None and placed.setdefault(place, label) is not label:
            problem = f"two annotations of track {label.who} in a frame"
            remedy = "give every person in a frame a track_id of their own, or keep one of the two"
            errors.append(label.error(problem, remedy))
    return dict(sorted(placed.items())), errors


def _tracks(poses: Pose, placed: Mapping[tuple[int, int], _Label], n_frames: int) -> list[Track]:
    """One a person who has a pose, labelled where the file has one, and without joints where it
    has an annotation without.
    """
    shape = (n_frames, len(skeleton(poses.skeleton)))
    tracks = []
    for track in dict.fromkeys(track for track, _ in placed):
        mine = [label for (other, _), label in placed.items() if other == track]
        rows = [label.row for label in mine if label.row is not None]
        at = [label.frame for label in mine if label.row is not None]
        xy, flags = np.zeros((*shape, 2)), np.zeros(shape, int)
        boxes, labelled = np.zeros((n_frames, 4)), np.zeros(n_frames, bool)
        xy[at], flags[at] = poses.xy_frame[rows], poses.visibility[rows]
        boxes[at] = poses.boxes_xyxy[rows]
        labelled[[label.frame for label in mine]] = True
        if rows:
            known = poses.occlusion_known
            tracks.append(Track(poses.skeleton, track, xy, flags, labelled, boxes, known))
    return tracks


# --- reading --------------------------------------------------------------------------------------


def _matched(
    pictures: Sequence[Picture],
    content: dict,
    labels: Sequence[_Label],
    frames: Frames,
    first_frame: int | None,
    path: Path,
) -> tuple[list[_Image], str, Numbering, dict[str, BadRecord], dict[str, int]]:
    """The images of the video, what the file calls it, the images' frames, what is wrong with
    those that have labels, and how many others there are.
    """
    records = {str(image.get("id")): image for image in reversed(_records(content, "images"))}
    everywhere = [_Image(picture, records[picture.id]) for picture in pictures]
    images, video = _of_video(everywhere, content, frames.video.source, path)
    noted = _record(content.get("propagation")).get("first_frame")
    noted = noted.get(video) if type(noted) is dict else None if video else noted
    noted = checks.integral(noted)
    noted = noted if type(noted) is int and noted in (0, 1) else None
    ids = {label.image for label in labels}
    labelled = [image for image in images if image.id in ids]
    numbering = _numbering(images, labelled, frames, (first_frame, noted), path)
    wrong = _doubles(labelled, numbering)
    at = {key: frame for key, frame in numbering.frames.items() if key not in wrong}
    for image in labelled:
        error = wrong.get(image.id) or _image_error(image, numbering, frames)
        wrong |= {image.id: error} if error else {}
    others = {
        "images of other videos are left alone": len(everywhere) - len(images),
        "images without labels belong to no frame and are left alone": len(
            {image.id for image in images} - ids - set(at)
        ),
    }
    return images, video, replace(numbering, frames=at), wrong, others


def _taken(placed: Mapping[tuple[int, int], _Label], images: Sequence[_Image], n: int) -> list[str]:
    """For which frames the first and the last image with a pose are taken."""
    names = {image.id: image.picture.name for image in images}
    shown = sorted((x.frame, names[x.image]) for x in placed.values() if x.row is not None)
    ends = ", ".join(f"{name} as frame {frame}" for frame, name in (shown[:1] + shown[-1:]))
    return [f"taken: {ends} (the video has frames 0 to {n - 1})"] if shown else []


def _linking(people: Collection[tuple[int, int]], linked: bool) -> list[str]:
    n = len({track for track, _ in people})
    note = f"no track_id: people were linked by likeness, {len(people)} poses into {n}; check them"
    return [f"{note}, or state ids"] if linked else []


def _counted(
    labels: Sequence[_Label], others: dict[str, int], dropped: Sequence[dict]
) -> list[str]:
    """How many annotations and images are not used, and why."""
    earlier = sum(bool(annotation.get("propagated")) for annotation in dropped)
    counts = {
        "annotations without joints have no track_id: nobody is taken for absent by them": sum(
            label.who is None and label.row is None for label in labels
        ),
        **others,
        "poses that were carried earlier are no labels and are carried anew": earlier,
        "poses between keyframes (keyframe: false) are no labels and are carried anew": len(dropped)
        - earlier,
    }
    return [f"{n} {what}" for what, n in counts.items() if n]


def _closed(placed: Mapping[tuple[int, int], _Label]) -> list[str]:
    """How many gaps between two poses of a person stay open, because they are absent there."""
    closed = []
    for _, mine in groupby(placed.items(), key=lambda item: item[0][0]):
        labels = [label for _, label in mine]
        posed = [i for i, label in enumerate(labels) if label.row is not None]
        closed += [(labels[i], labels[j]) for i, j in pairwise(posed) if j - i > 1]
    if not closed:
        return []
    left, right = closed[0]
    return [
        f"{len(closed)} gaps stay open, because an annotation without joints says that the person "
        f"is absent; the first is that of track {left.who} between frames {left.frame} and "
        f"{right.frame}"
    ]


def _alike(images: Sequence[_Image], frames: Frames) -> dict:
    """What all images state alike; the size of a video file, where they state none."""
    video = frames.video
    size = {} if os.path.isdir(video.source) else {"width": video.width, "height": video.height}
    first = images[0].stated if images else {}
    return size | {
        key: first[key]
        for key in LIKE
        if key in first and all(image.stated.get(key) == first[key] for image in images)
    }


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
    must state then. Else the number in `file_name` that changes between the names: in a folder of
    numbered pictures it is a picture's number. Other numbers count from the first frame's, which is
    0 or 1: `first_frame`, else what the file proves (an image of number 0, or of the number of the
    frames), else what an earlier run noted. `BadParameter` where nothing says it.

    Of a file of several videos, the images are read whose video, folder or name up to the number
    is called as the video (or its folder). People are told apart by `track_id` (a whole number or
    text, also in `attributes`) or `instance_id`, or where nobody has one by place and shape, within
    a category: they then get one. Annotations that were carried earlier ("propagated", and what
    CVAT put between its keyframes) are no labels and are dropped. An annotation without joints (or
    with flags of 0 alone, where others have higher ones) says that the person is absent; so does,
    with `on_bad="report"`, one that is left out.

    joints: the skeleton; None: told by the file. on_bad: "report" also reads a video to its end,
    which may come before its header says. Errors: those of `read_coco`; `BadFile`: NaN or Infinity
    in it; `BadRecord`: a labelled image of no frame, of another one's or of another size, images of
    several videos of which none is this one, people of whom some have a track_id, two annotations
    of one person in a frame, joints that lie far from their box or from any picture.
    """
    path = Path(path)
    content = _content(path)
    if on_bad == "report":
        with suppress(WorkbenchError):
            frames[len(frames) - 1]
    labels, broken = _given(content)
    given = content | {"annotations": [*map(_for_coco, labels), *broken]}
    reading = coco.read_coco(path, skeleton=joints, content=given, on_bad=on_bad)
    matched = _matched(reading.pictures, content, labels, frames, first_frame, path)
    images, video, numbering, wrong, others = matched
    poses, at = reading.poses, numbering.frames

    labels = _posed(labels, poses, at, wrong)
    strange = {x.id: error for x in labels if (error := _pose_error(x, poses))}
    labels = [replace(x, row=None) if x.id in strange else x for x in labels]
    labels, unnamed, linked = _identified(labels, poses, len(frames))
    placed, twice = _placed(labels)
    people = {place: label.stated for place, label in placed.items() if label.row is not None}
    errors = [
        type(error)(error.problem, file=path, record=error.record, remedy=error.remedy)
        for error in (*wrong.values(), *strange.values(), *unnamed, *twice)
    ]
    n = len(content["images"]) + len(given["annotations"])
    checks.settle(errors, n, "images and annotations", on_bad, path)

    stated = {label.place: label.stated for label in labels}
    kept, dropped = [], []
    for i, annotation in enumerate(content["annotations"]):
        anew = _carried(annotation) and str(annotation.get("image_id")) in at
        (dropped if anew else kept).append(stated.get(i, annotation))
    shown = [image for image in images if image.id in at]
    first_ids = {i.frame_id if i.frame_id is None else i.frame_id - at[i.id] for i in shown}
    return Labels(
        content=content | {"annotations": kept},
        clip=Clip(frames.video, _tracks(poses, placed, len(frames)), name=path.stem),
        numbering=numbering,
        people=people,
        like=_alike(shown, frames),
        frame_id=first_ids.pop() if len(first_ids) == 1 else None,
        video=video,
        notes=(
            *_taken(placed, images, len(frames)),
            *_linking(people, linked),
            *_counted(labels, others, dropped),
            *_closed(placed),
        ),
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
