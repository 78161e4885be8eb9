"""Sparse labels of a video: a COCO file with the poses of some of its frames, read, and written
back with the poses that were carried to the frames between them.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, compress, pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from .. import geometry
from ..errors import BadFile, BadParameter, BadRecord, WorkbenchError
from ..outputs import check_new, write_text
from ..records import Clip, Detections, Pose, Track
from ..skeletons import skeleton
from . import checks, coco, numbering
from .annotations import POSETRACK_BOX
from .frames import PICTURE_SUFFIXES, Frames, open_frames, picture_names, stored_size
from .numbering import SplitName, before_export, split_names, stem_of
from .safe import read_json
from .tracks import link, track_of

MAX_PX = 1e6  # coordinates of any picture; ours
INSIDE = 0.4  # of all joints, at least so many lie in their pictures; ours
USUALLY = 0.9  # where fewer do, it is said; ours
NEAR = 1.5  # a box enlarged so much holds half of its joints or more; ours
LIKE = ("width", "height", "video_id", "vid_id", "nframes")  # what an added image copies

# --- what is read of a file -----------------------------------------------------------------------


@dataclass(frozen=True)
class Labels:
    """Sparse labels of a video, as `read_labels` gives them."""

    content: dict  # of the file, without what was carried earlier
    clip: Clip  # labelled without joints: the person is known to be absent
    frames: dict[str, int]  # that the images show, by image id
    numbers: list[int]  # of all frames, as the file counts them
    first: int | None  # the number of the first frame, where images are counted from one
    people: dict[tuple[int, int], dict]  # annotations with joints by track and frame
    new_images: list[dict]  # what the file would say of an image of every frame, but for its id
    video: str  # as the file tells it from others; "" where there is one
    notes: tuple[str, ...]
    warnings: tuple[WorkbenchError, ...]


@dataclass
class _Image:
    id: str
    name: str
    size_wh: tuple[int, int] | None  # px, where stated
    stated: dict  # the file's record
    cut: SplitName | None = None  # its name, around its number
    number: int | None = None  # of a frame, as it states one
    frame: int | None = None

    def __str__(self) -> str:
        return f"image {self.id} ({self.name})"

    @property
    def path(self) -> PurePosixPath:
        return before_export(self.name)

    @property
    def frame_id(self) -> int | None:
        number = checks.integral(self.stated.get("frame_id"))
        return number if type(number) is int else None


@dataclass
class _Label:
    """An annotation that no program carried."""

    id: str
    image: str
    stated: dict  # the file's record
    frame: int = -1
    row: int | None = None  # of its pose; None: it has no joints, or none that can be used
    who: str | None = None  # the person's id

    def __str__(self) -> str:
        return f"annotation {self.id}"


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


def _given(content: dict) -> list[object]:
    """What no program carried: the labels of people, and what is no annotation, as it is.

    Ids that restart in every image are told apart by the image's.
    """
    jointless = [c.get("id") for c in _records(content, "categories") if not c.get("keypoints")]
    given, images = [], defaultdict(set)
    for annotation in content["annotations"]:
        a = _record(annotation)
        other = a and not a.get("keypoints") and a.get("category_id") in jointless
        if _carried(a) or other:
            continue
        if "id" in a:
            annotation = _Label(str(a["id"]), str(a.get("image_id")), a)
            images[annotation.id].add(annotation.image)
        given.append(annotation)
    for label in given:
        if type(label) is _Label and len(images[label.id]) > 1:
            label.id += f" of image {label.image}"
    return given


def _for_coco(label: object) -> object:
    """The annotation under its label's id; one without a box or area gets that around its joints,
    as PoseTrack draws them, at least a pixel. What is no label stays as it is.
    """
    if type(label) is not _Label:
        return label
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
    x0, y0, x1, y1 = geometry.enlarge(extent, POSETRACK_BOX).tolist()
    return annotation | {"bbox": [x0, y0, max(x1 - x0, 1.0), max(y1 - y0, 1.0)]}


# --- which frame an image shows -------------------------------------------------------------------


def _new_names(
    images: Sequence[_Image], numbers: Sequence[int], pictures: Sequence[str]
) -> list[str]:
    """Names for images of frames of these numbers, as those of the given images go on; where these
    follow no one pattern, as the folder's pictures are called, or frame_000000.
    """
    if not images:
        return []
    cuts = [(image.cut, image.number) for image in images]
    patterns = {cut and (cut.before, cut.behind, cut.number - number) for cut, number in cuts}
    path = images[0].path
    suffix = path.name.removeprefix(stem_of(images[0].name))
    if len(patterns) == 1 and None not in patterns:
        before, behind, offset = patterns.pop()
        digits = min(len(cut.digits) for cut, _ in cuts)
        stems = [f"{before}{number + offset:0{digits}d}{behind}" for number in numbers]
        pictures = [stem + suffix for stem in stems]
    elif not pictures:
        pictures = [f"frame_{number:06d}{suffix}" for number in numbers]
    return [str(path.parent / name) for name in pictures]


# --- who is who -----------------------------------------------------------------------------------


def _strange(xy: Float[np.ndarray, "k 2"], box: Float[np.ndarray, "4"]) -> str | None:
    """Of a pose whose numbers are no pixels, or in a box that is none of its own."""
    x0, y0, x1, y1 = geometry.enlarge(box, NEAR)
    inside = int(((xy >= (x0, y0)) & (xy <= (x1, y1))).all(1).sum())
    if max(np.abs(xy).max(), np.abs(box).max()) > MAX_PX:
        return f"coordinates beyond {MAX_PX:,.0f} px"
    if box.max() < 1:
        return "a box within the first pixel"
    return f"{inside} of {len(xy)} joints lie in or near its box" if 2 * inside < len(xy) else None


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
    tracks: dict[str, int] = {}
    for kind in kinds.values():
        own = poses.select([label.row for label in kind])
        frames = np.array([label.frame for label in kind])
        seen = own.labelled.astype(np.float32)
        people = Detections(own.skeleton, own.xy_frame, seen, own.boxes_xyxy, frames=frames)
        first = max(tracks.values(), default=-1) + 1
        linked = first + link(people, max_gap=n_frames, smoothing=1.0).tracks
        tracks |= dict(zip((label.id for label in kind), linked.tolist()))
    return tracks


# --- reading, step by step ------------------------------------------------------------------------


class _File:
    """What the steps of reading share; what is bad about records, and what else there is to say, is
    collected.
    """

    def __init__(self, path: Path, frames: Frames, joints: str | None, on_bad: str):
        self.path, self.frames = path, frames
        self.n_frames = len(frames)
        self.source = frames.video.source
        self.pictures = picture_names(self.source)  # none of a video file
        self.content = _content(path)
        given = _given(self.content)
        self.labels = [label for label in given if type(label) is _Label]
        used = self.content | {"annotations": [_for_coco(label) for label in given]}
        # nothing here is split by visibility, so that it does not matter what flag 1 means
        options = {"skeleton": joints, "occlusion_known": False, "on_bad": on_bad}
        reading = coco.read_coco(path, content=used, **options)
        self.poses, self.warnings = reading.poses, reading.warnings
        self.n_records = len(self.content["images"]) + len(given)
        stated = {str(image.get("id")): image for image in reversed(_records(used, "images"))}
        self.images = [_Image(p.id, p.name, p.size_wh, stated[p.id]) for p in reading.pictures]
        self.errors: list[BadRecord] = []
        self.notes: list[str] = []

    def bad(self, record: _Image | _Label, problem: str, remedy: str | None = None) -> None:
        self.errors.append(BadRecord(problem, file=self.path, record=record, remedy=remedy))

    def note(self, n: int, what: str) -> None:
        self.notes += [f"{n} {what}"] if n else []

    @property
    def labelled(self) -> list[_Image]:
        ids = {label.image for label in self.labels}
        return [image for image in self.images if image.id in ids]

    def choose_video(self) -> str:
        """Leaves the images of the video, and says what the file calls it."""
        records = _records(self.content, "videos")
        titles = {str(checks.integral(video.get("id"))): video.get("name") for video in records}

        def title(image: _Image) -> str | None:
            stated = image.stated
            number = checks.integral(stated.get("video_id", stated.get("vid_id")))
            return None if number is None else str(titles.get(str(number)) or f"video {number}")

        videos = numbering.videos_of(
            [image.name for image in self.images],
            self.pictures,
            self.source,
            [*map(title, self.images)],
            [image.stated.get("propagated") for image in self.images],
        )
        try:
            chosen = numbering.video_called(videos, self.source)
        except BadRecord as error:
            raise BadRecord(error.problem, file=self.path, remedy=error.remedy) from None
        mine = (chosen, numbering.NAMELESS)
        kept = [image for image, video in zip(self.images, videos) if video in mine]
        self.note(len(videos) - len(kept), "images of other videos are left alone")
        self.images = kept
        return str(chosen) if len(set(videos)) > 1 else ""

    def noted(self, video: str) -> int | None:
        """The number of the first frame, as an earlier run noted it."""
        note = _record(self.content.get("propagation")).get("first_frame")
        note = note.get(video) if type(note) is dict else None if video else note
        note = checks.integral(note)
        return note if type(note) is int and note in (0, 1) else None

    def first_number(self, first_frame: int | None, noted: int | None) -> int:
        """0 or 1: as stated, as an image proves that has number 0 or that of the frames, or as
        noted; `BadParameter` where nothing says it.
        """
        n, numbers = self.n_frames, {image.number for image in self.images}
        proven = [0] if 0 in numbers else []
        if n in numbers and not self.frames.cut:  # the end of a video that was cut is unknown
            proven.append(1)
        for first in (first_frame, *proven, noted):
            if first is not None:
                return first
        inside = [(i.number, i.name) for i in self.labelled if 0 < (i.number or 0) < n]
        if not inside:
            return 0  # no image is of this video, and each is named as such
        zero, one = (
            ", ".join(f"{name} is frame {i - first}" for i, name in (min(inside), max(inside)))
            for first in (0, 1)
        )
        raise BadParameter(
            "nothing says whether the number of the video's first frame is 0 or 1",
            file=self.path,
            remedy=f"say --first-frame 0 ({zero}, of frames 0 to {n - 1}) "
            f"or --first-frame 1 ({one})",
        )

    def find_frames(
        self, first_frame: int | None, noted: int | None
    ) -> tuple[list[int], list[str], int | None]:
        """Says of every image which frame it shows, by the rule that `read_labels` states. Numbers
        of all frames, names for new images of them, and the first number as in `Labels`.
        """
        n, images = self.n_frames, self.images
        of_number = numbering.numbered(self.pictures)
        called = numbering.called(self.pictures)
        for image in images:
            image.frame = numbering.picture_called(image.name, called)
        theirs = [i for i in images if i.frame is not None and not i.stated.get("propagated")]
        if theirs:
            names = [str(theirs[0].path.parent / name) for name in self.pictures]
            return list(of_number or range(n)), names, None

        for image, cut in zip(images, split_names([stem_of(image.name) for image in images], n)):
            image.cut, image.number = cut, image.frame_id
        labelled = self.labelled
        by_id = any(i.number is not None and 0 <= i.number <= n for i in labelled)
        if not by_id:
            for image in images:
                image.number = image.cut.number if image.cut else None
        wanted = {image.number for image in labelled} - {None}
        first = None
        as_pictures = first_frame is noted is None and not by_id and wanted <= set(of_number)
        if not (of_number and as_pictures):
            first = self.first_number(first_frame, noted)
            of_number = {first + frame: frame for frame in range(n)}
        for image in images:
            image.frame = of_number.get(image.number)
        models = [image for image in labelled if image.frame is not None]
        return list(of_number), _new_names(models, list(of_number), self.pictures), first

    def check_images(self, numbers: Sequence[int]) -> set[str]:
        """Which labelled images are wrong: those of no frame, those that mean another one's, which
        then show none, and those whose joints are, or may be, given in other pixels than the
        frame's.
        """
        labelled, wrong, first = self.labelled, set(), {}
        some_ids = any(image.frame_id is not None for image in labelled)
        stray = sum(image.frame is None for image in self.images)
        for image in labelled:
            other = first.setdefault(image.frame, image)
            if image.frame is None:
                stray -= 1
                problem = "belongs to no frame of the video"
                if some_ids and image.frame_id is None:
                    problem = "states no frame_id, other labelled images do: it " + problem
                remedy = f"the video has {self.n_frames} frames, here numbered {numbers[0]} to "
                remedy += f"{numbers[-1]}; name the image as its frame, with one number that "
                remedy += "changes between names, state frame_id, or say --first-frame"
                self.bad(image, problem, remedy)
            elif other.name != image.name:
                problem = f"means frame {image.frame}, and so does {other}"
                self.bad(image, problem, "keep the labels of one, or state frame_id")
                image.frame = None
            elif other_pixels := self.other_pixels(image):
                self.bad(image, *other_pixels)
            else:
                continue
            wrong.add(image.id)
        self.note(stray, "images without labels belong to no frame and are left alone")
        self.frame_of = {i.id: i.frame for i in self.images if i.frame is not None}
        return wrong

    def other_pixels(self, image: _Image) -> tuple[str, str] | None:
        """Problem and remedy, where another size is stated than the frame's."""
        stated, size = image.size_wh, self.frames.size_of(image.frame)
        if stated in (None, size):
            return None
        problem = "{}x{} px are stated, the frame has {}x{}".format(*stated, *size)
        if self.pictures and stated == size[::-1]:
            turn = stored_size(Path(self.source) / self.pictures[image.frame])[1]
            problem += ", as programs show it, by its EXIF tag" if turn > 4 else ""
        remedy = "use the video that was labelled, or scale the labels to this one and correct "
        return problem, remedy + "width and height"

    def find_poses(self, wrong: Collection[str]) -> None:
        """Leaves the labels of the video's frames, and gives them their poses. Those of wrong
        images have none; nor have those whose flags are all 0, unless all are so: PoseTrack's
        joints have coordinates then; nor those whose numbers are no pixels, or whose box is none of
        their own.
        """
        poses = self.poses
        rows = {key: row for row, key in enumerate(poses.ids) if poses.labelled[row].any()}
        labels: dict[str, _Label] = {}  # the first of two with one id
        for label in self.labels:
            if label.image in self.frame_of:
                label.frame = self.frame_of[label.image]
                label.row = None if label.image in wrong else rows.get(label.id)
                labels.setdefault(label.id, label)
        self.labels = list(labels.values())
        posed = [label for label in self.labels if label.row is not None]
        flagged = {label.id for label in posed if (_points(label.stated)[:, 2] > 0).any()}
        for label in posed:
            xy = poses.xy_frame[label.row, poses.labelled[label.row]]
            problem = _strange(xy, poses.boxes_xyxy[label.row].astype(float))
            absent = bool(flagged) and label.id not in flagged
            if problem and not absent:
                remedy = "state joints, and bbox as x, y, width, height, in pixels of the frame, "
                self.bad(label, problem, remedy + "or leave bbox out")
            if problem or absent:
                label.row = None

    def check_pixels(self) -> None:
        """`BadRecord` where most joints lie beside their pictures."""
        inside = total = 0
        for label in self.labels:
            if label.row is None:
                continue
            xy = self.poses.xy_frame[label.row, self.poses.labelled[label.row]]
            size = np.array(self.frames.size_of(label.frame))
            inside += int(((xy >= -0.5) & (xy <= size - 0.5)).all(1).sum())
            total += len(xy)
        if inside < INSIDE * total:
            width, height = self.frames.size_of(self.labels[0].frame)
            raise BadRecord(
                f"{inside} of {total} joints lie in their pictures, of {width}x{height} px",
                file=self.path,
                remedy="use the video that was labelled; pictures are turned by their EXIF tags",
            )
        beside = "of {} joints lie beside their pictures: check that it is this video, of this size"
        self.note((total - inside) * (inside < USUALLY * total), beside.format(total))

    def find_people(self) -> None:
        """Says whose the labels are, as far as this is told. Where nobody has an id, people are
        linked and get a track_id.
        """
        labels, self.labels = self.labels, []
        for label in labels:
            who = _who(label.stated)
            if who is None or type(who) in (int, str):
                label.who = None if who is None else str(who)
                self.labels.append(label)
            else:
                self.bad(label, f"track_id is {who!r}, an integer or text expected"[:80])
        posed = [label for label in self.labels if label.row is not None]
        nameless = [label for label in posed if label.who is None]
        nobody = sum(label.row is None and label.who is None for label in self.labels)
        if len(nameless) < len(posed):
            remedy = "give every person one, or nobody: people are then told apart by place and "
            for label in nameless:
                problem = f"no track_id, {len(posed) - len(nameless)} others have one"
                self.bad(label, problem, remedy + "shape")
        elif posed:
            tracks = _linked(posed, self.poses, self.n_frames)
            for label in posed:
                label.who = str(tracks[label.id])
                label.stated["track_id"] = tracks[label.id]
            n = f"{len(posed)} poses into {len(set(tracks.values()))}"
            note = f"no track_id: people were linked by likeness, {n}; check them, or state ids"
            self.notes.append(note)
        what = "annotations without joints have no track_id: nobody is taken for absent by them"
        self.note(nobody, what)

    def tracks(self) -> dict[int, list[_Label]]:
        """The labels of each person who has a pose, one a frame, with a pose rather than without.
        Tracks are called by the people's ids, where all are whole numbers.
        """
        people = dict.fromkeys(label.who for label in self.labels if label.who is not None)
        whole = all(who.isdecimal() and len(who) < 19 and str(int(who)) == who for who in people)
        track_of = {who: int(who) if whole else i for i, who in enumerate(people)}
        tracks = defaultdict(dict)
        for label in sorted(self.labels, key=lambda label: label.row is None):
            if label.who is None:
                continue
            if tracks[track_of[label.who]].setdefault(label.frame, label) is not label:
                remedy = "give every person in a frame a track_id of their own, or keep one of the "
                self.bad(label, f"two annotations of track {label.who} in a frame", remedy + "two")
        return {
            track: [mine[frame] for frame in sorted(mine)]
            for track, mine in sorted(tracks.items())
            if any(label.row is not None for label in mine.values())
        }

    def annotations(self) -> list:
        """The file's annotations, as labels state them, without what was carried earlier."""
        anew = [
            _carried(annotation) and str(annotation.get("image_id")) in self.frame_of
            for annotation in self.content["annotations"]
        ]
        dropped = [*compress(self.content["annotations"], anew)]
        earlier = sum(bool(annotation.get("propagated")) for annotation in dropped)
        what = "are no labels and are carried anew"
        self.note(earlier, f"poses that were carried earlier {what}")
        self.note(len(dropped) - earlier, f"poses between keyframes (keyframe: false) {what}")
        return [a for a, again in zip(self.content["annotations"], anew) if not again]

    def new_images(self, names: Sequence[str]) -> list[dict]:
        """What the file would say of an image of every frame, but for its id: what all images of
        the video say alike (the size of a video file, where they do not), and their frame_id.
        """
        video = self.frames.video
        folder = os.path.isdir(video.source)
        like = {} if folder else {"width": video.width, "height": video.height}
        ours = [image for image in self.images if image.frame is not None]
        first = ours[0].stated if ours else {}
        for key in LIKE:
            if key in first and all(image.stated.get(key) == first[key] for image in ours):
                like[key] = first[key]
        ids = {None if i.frame_id is None else i.frame_id - i.frame for i in ours}
        start = ids.pop() if len(ids) == 1 else None
        return [
            {"file_name": name, **like, "propagated": True}
            | ({} if start is None else {"frame_id": start + frame})
            for frame, name in enumerate(names)
        ]

    def taken(self, tracks: Mapping[int, Sequence[_Label]]) -> list[str]:
        """For which frames the first and the last image with a pose are taken."""
        names = {image.id: image.name for image in self.images}
        labels = chain(*tracks.values())
        shown = sorted((x.frame, names[x.image]) for x in labels if x.row is not None)
        ends = ", ".join(f"{name} as frame {frame}" for frame, name in shown[:1] + shown[-1:])
        last = self.n_frames - 1
        return [f"taken: {ends} (the video has frames 0 to {last})"] if shown else []


def _closed(tracks: Mapping[int, Sequence[_Label]]) -> list[str]:
    """How many gaps between two poses of a person stay open, because they are absent there."""
    closed = []
    for labels in tracks.values():
        posed = [i for i, label in enumerate(labels) if label.row is not None]
        closed += [(labels[i], labels[j]) for i, j in pairwise(posed) if j - i > 1]
    if not closed:
        return []
    left, right = closed[0]
    note = f"{len(closed)} gaps stay open, because an annotation without joints says that the "
    note += f"person is absent; the first is that of track {left.who} between frames "
    return [f"{note}{left.frame} and {right.frame}"]


def open_labelled(source: str | Path, labels: str | Path, on_bad: str = "raise") -> Frames:
    """The frames of a labelled video. Pictures are turned as programs show them, by their EXIF
    tags, unless the labels state the sizes of the pictures as they are stored.
    """
    called = numbering.called(picture_names(source))
    names = picture_names(source)
    for image in _records(_content(Path(labels)), "images") if names else ():
        frame = numbering.picture_called(str(image.get("file_name")), called)
        if frame is None:
            continue
        with suppress(WorkbenchError):  # what cannot be read is told when it is looked at
            size, turn = stored_size(Path(source) / names[frame])
            stated = (image.get("width"), image.get("height"))
            if turn > 4 and size[0] != size[1] and stated == size:
                return open_frames(source, on_bad=on_bad, upright=False)
    return open_frames(source, on_bad=on_bad)


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

    joints: the skeleton; None: told by the file. Errors: those of `read_coco`; `BadFile`: NaN or
    Infinity in it; `BadRecord`: a labelled image of no frame, of another one's or of another size,
    images of several videos of which none is this one, people of whom some have a track_id, two
    annotations of one person in a frame, joints that lie far from their box or mostly beside their
    pictures.
    """
    file = _File(Path(path), frames, joints, on_bad)
    video = file.choose_video()
    numbers, names, first = file.find_frames(first_frame, file.noted(video))
    file.find_poses(file.check_images(numbers))
    file.check_pixels()
    file.find_people()
    tracks = file.tracks()
    checks.settle(file.errors, file.n_records, "images and annotations", on_bad, file.path)

    people, clip_tracks = {}, []
    for track, mine in tracks.items():
        posed = [label for label in mine if label.row is not None]
        people |= {(track, label.frame): label.stated for label in posed}
        row_of = {label.frame: label.row for label in posed}
        stated = [label.frame for label in mine]
        clip_tracks.append(track_of(file.poses, track, row_of, file.n_frames, stated))
    kept = file.annotations()
    return Labels(
        content=file.content | {"annotations": kept},
        clip=Clip(frames.video, clip_tracks, name=file.path.stem),
        frames=file.frame_of,
        numbers=numbers,
        first=first,
        people=people,
        new_images=file.new_images(names),
        video=video,
        notes=(*file.taken(tracks), *file.notes, *_closed(tracks)),
        warnings=(*frames.warnings, *file.warnings, *file.errors),
    )


# --- writing --------------------------------------------------------------------------------------


def check_places(source: str, out: Path, overlay: Path | None) -> None:
    """`Taken` where `out` or `overlay` is there already; `BadParameter` where they are the same,
    would lie among the video's pictures, or `overlay` has a suffix that cannot be written.
    """
    another = "name another file"
    for path in filter(None, (out, overlay)):
        check_new(path)
        place = path.resolve()
        if place.parent == Path(source).resolve() and place.suffix.lower() in PICTURE_SUFFIXES:
            raise BadParameter("would lie among the video's pictures", file=path, remedy=another)
    if overlay is None:
        return
    if overlay.suffix != ".webm":
        raise BadParameter(f"suffix {overlay.suffix!r}", file=overlay, remedy="name a .webm file")
    if overlay.resolve() == out.resolve():
        raise BadParameter("would write over --out", file=overlay, remedy=another)


def _next_id(records: Sequence[object]) -> int:
    ids = [str(record.get("id")) for record in records if type(record) is dict]
    return 1 + max((int(i) for i in ids if i.isdecimal() and len(i) < 19), default=0)


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
        "between": [labels.numbers[side] for side in sides],
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
    content = labels.content
    images, annotations = list(content["images"]), list(content["annotations"])
    image_of = {}  # a frame's first
    for image in images:
        frame = labels.frames.get(str(_record(image).get("id")))
        if frame is not None:
            image_of.setdefault(frame, image["id"])
    tracks = {track.track_id: track for track in labels.clip.tracks}
    next_image, next_id = _next_id(images), _next_id(annotations)
    for row, (frame, person) in enumerate(zip(found.frames.tolist(), found.tracks.tolist())):
        if frame not in image_of:
            image_of[frame] = next_image
            images.append({"id": next_image} | labels.new_images[frame])
            next_image += 1
        pose = _carried_annotation(labels, tracks[person], found, row, interpolated)
        annotations.append({"id": next_id + row, "image_id": image_of[frame]} | pose)

    used = {str(_record(a).get("image_id")) for a in annotations}
    images = [i for i in images if not _record(i).get("propagated") or str(i.get("id")) in used]
    note = _record(content.get("propagation"))
    if labels.first is not None:
        before = _record(note.get("first_frame"))
        note = note | {"first_frame": before | {labels.video: labels.first}}
    whole = content | {"images": images, "annotations": annotations, "propagation": note}
    text = json.dumps(whole, allow_nan=False)
    return write_text(Path(path), text)
