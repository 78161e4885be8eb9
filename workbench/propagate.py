"""Labels carried from the labelled frames of a video to all frames between them: on a line, by
optical flow, by STDPose.

Every way answers for `Windows` with keys "between" labels, so that all see the same frames, labels
and boxes. A COCO file of sparse labels comes back with every pose between them added and marked.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from tqdm.auto import tqdm

from . import geometry
from .data import checks, coco
from .data.annotations import POSETRACK_BOX
from .data.frames import PICTURE_SUFFIXES, Frames, picture_names
from .data.people import last_number, link
from .data.safe import read_json
from .data.windows import Windows
from .errors import BadFile, BadParameter, BadRecord, WorkbenchError
from .predict import Propagator, poses_between, windows_between
from .records import Clip, Detections, Picture, Pose, Prediction, Track
from .resources import write_beside
from .skeletons import skeleton

FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
FLOW_SIDE, FLOWS_KEPT = 640, 64  # px of a frame's longer side; ours
KEPT_BYTES = 2**28  # of decoded frames: 43 in full HD; ours
# coordinates of any picture; a box enlarged so much holds half of its joints or more; ours
MAX_PX, NEAR = 1e6, 1.5
# xy_frame, and how far the labels say so: 0, 0.5 or 1
Places = tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, "k"]]


def joined(
    left: Float[np.ndarray, "k 2"],
    right: Float[np.ndarray, "k 2"],
    share: float,
    labelled: Sequence[np.ndarray],
    middle: Float[np.ndarray, "2"],
) -> Places:
    """Two guesses at a pose, the right one's share; a joint that one side does not label is the
    other's, that none labels stands in the middle of the box with confidence 0.
    """
    weights = np.stack([labelled[0] * (1 - share), labelled[1] * share])
    total = weights.sum(0)
    mixed = (
        np.einsum("sk,skc->kc", weights, np.stack([left, right])) / np.maximum(total, 1e-9)[:, None]
    )
    return np.where(total[:, None] > 0, mixed, middle), (labelled[0] + labelled[1]) / 2


def _each(windows: Windows, guess: Callable, source: str) -> Detections:
    """guess(pair, number of the track, left, key, right) -> the pose as the left label says it,
    and as the right one does.
    """
    found, boxes = [], windows.boxes()
    for index, (pair, n, key) in enumerate(windows.items.tolist()):
        track = windows.pairs[pair][0].tracks[n]
        left, _, right = windows.frames_of(index).tolist()
        labelled = [(track.visibility[t] > 0).astype(float) for t in (left, right)]
        middle = boxes[index].reshape(2, 2).mean(0)
        said = guess(pair, n, left, key, right)
        found.append(joined(*said, (key - left) / (right - left), labelled, middle))
    xy, told = zip(*found) if found else ((), ())
    return poses_between(windows, xy, told, source)


def linear(windows: Windows, *, progress: bool = True) -> Detections:
    """Every joint on the straight line between its labels: what annotation programs do."""

    def guess(pair, n, left, key, right):
        xy_frame = windows.pairs[pair][0].tracks[n].xy_frame
        return xy_frame[left], xy_frame[right]

    return _each(windows, guess, "linear")


def farneback(windows: Windows, *, progress: bool = True) -> Detections:
    """Labels carried forward and backward by dense optical flow (Farnebäck 2003, OpenCV), frame by
    frame, and joined by distance. Frames are looked at with at most `FLOW_SIDE` px.
    """

    @lru_cache(FLOWS_KEPT)
    def grey(pair: int, t: int) -> tuple[UInt8[np.ndarray, "h w"], float]:
        picture = cv2.cvtColor(windows.frame(pair, t), cv2.COLOR_RGB2GRAY)
        scale = min(1.0, FLOW_SIDE / max(picture.shape))
        return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale

    @lru_cache(FLOWS_KEPT)
    def flow(pair: int, one: int, other: int) -> Float[np.ndarray, "h w 2"]:
        (a, scale), (b, other_scale) = grey(pair, one), grey(pair, other)
        if (a.shape, scale) != (b.shape, other_scale):
            source, remedy = (
                windows.pairs[pair][0].video.source,
                "scale the pictures alike, or choose another method",
            )
            raise BadRecord(f"frames {one} and {other} differ in size", file=source, remedy=remedy)
        return cv2.calcOpticalFlowFarneback(a, b, None, **FARNEBACK)

    def path(
        pair: int, xy: Float[np.ndarray, "p k 2"], start: int, end: int
    ) -> dict[int, np.ndarray]:
        found, step = {start: xy}, 1 if end > start else -1
        for t in range(start, end, step):
            at = (xy + 0.5) * grey(pair, t)[1] - 0.5
            moved = cv2.remap(
                flow(pair, t, t + step), at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            found[t + step] = xy = xy + moved / grey(pair, t)[1]
        return found

    between, paths = {}, {}  # all people of a gap go together: its flows are computed once
    for i, (pair, n, _) in enumerate(windows.items.tolist()):
        people = between.setdefault((pair, *windows.frames_of(i)[::2].tolist()), {})
        people.setdefault(n, len(people))
    for pair, left, right in tqdm(
        sorted(between), desc="flow", unit="gap", disable=not progress, leave=False
    ):
        people = [windows.pairs[pair][0].tracks[n].xy_frame for n in between[pair, left, right]]
        ends = (left, right), (right, left)
        paths[pair, left, right] = [
            path(pair, np.stack([xy[a] for xy in people]), a, b) for a, b in ends
        ]

    def guess(pair, n, left, key, right):
        return tuple(side[key][between[pair, left, right][n]] for side in paths[pair, left, right])

    return _each(windows, guess, "farneback")


WAYS = {"linear": linear, "farneback": farneback}


# --- carrying -------------------------------------------------------------------------------------


class _Kept:
    """A video's frames, decoded once and in order as far as `KEPT_BYTES` reach: windows in the
    order of their key frames look ahead to the next label and come back.
    """

    def __init__(self, frames: Frames):
        self.frames, self.held, self.next = frames, OrderedDict(), 0
        self.room = max(
            KEPT_BYTES // (3 * (frames.video.width or 1) * (frames.video.height or 1)), 2
        )

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        if i not in self.held:
            for t in range(self.next if 0 <= i - self.next < self.room else i, i + 1):
                self.held[t] = self.frames[t]
                if len(self.held) > self.room:
                    self.held.popitem(last=False)
            self.next = i + 1
        self.held.move_to_end(i)
        return self.held[i]


def gaps(track: Track, *, over_absence: bool = False) -> list[tuple[int, int]]:
    """Labelled frames with frames between them to fill. A label without joints says that the person
    is absent: nothing is carried over it, unless that is asked.
    """
    seen = (track.visibility > 0).any(1)
    boxed = (track.boxes_xyxy[:, 2:] > track.boxes_xyxy[:, :2]).all(1)
    at = np.flatnonzero(boxed & seen if over_absence else track.labelled & (boxed | ~seen)).tolist()
    return [
        (left, right)
        for left, right in pairwise(at)
        if right - left > 1 and seen[left] and seen[right]
    ]


def renamed(track: Track, joints: str) -> Track:
    """The same person with the joints of another skeleton, by name; what it does not have is not
    labelled.
    """
    have, wanted = skeleton(track.skeleton).joints, skeleton(joints).joints
    at = np.array([have.index(name) if name in have else -1 for name in wanted])
    visibility = np.where(at >= 0, track.visibility[:, at], 0)
    xy = np.where(visibility[..., None] > 0, track.xy_frame[:, at], 0)
    return replace(track, skeleton=joints, xy_frame=xy, visibility=visibility, xyz_camera_mm=None)


def unknown_joints(joints: str, way: str | Propagator) -> list[str]:
    """Joints that a network does not know by name, which therefore stay on the line."""
    known = way.skeleton.joints if isinstance(way, Propagator) else skeleton(joints).joints
    return [name for name in skeleton(joints).joints if name not in known]


def propagate(
    clip: Clip,
    frames,
    way: str | Propagator = "linear",
    *,
    max_gap: int | None = None,
    progress: bool = True,
) -> Detections:
    """Poses of everybody in all frames between their labels, in the joints of the labels, frame by
    frame.

    way: "linear", "farneback" or a `Propagator`, which is told the joints that its skeleton knows
    by name; the others stay on the line. frames: of the clip, as for `Windows`. max_gap: at most so
    many frames between two labels are filled.
    """
    frames = _Kept(frames) if isinstance(frames, Frames) else frames
    plain = windows_between([(clip, frames)])
    filled = np.zeros((len(clip.tracks), clip.video.n_frames), bool)
    for n, track in enumerate(clip.tracks):
        for left, right in gaps(track):
            filled[n, left + 1 : right] = max_gap is None or right - left - 1 <= max_gap
    rows = np.flatnonzero(filled[plain.items[:, 1], plain.items[:, 2]])
    rows = rows[np.argsort(plain.items[rows, 2], kind="stable")]
    if not len(rows):
        remedy = "label a person in two frames or more, with frames between them"
        remedy += (
            "" if max_gap is None else f", at most {max_gap}, or allow longer gaps (--max-gap)"
        )
        raise BadRecord(
            "there is nothing between labels", file=clip.name or clip.video.source, remedy=remedy
        )
    plain.items = plain.items[rows]
    if not isinstance(way, Propagator):
        return WAYS[way](plain, progress=progress)
    windows = way.windows(
        [
            (
                replace(clip, tracks=[renamed(track, way.skeleton.name) for track in clip.tracks]),
                frames,
            )
        ]
    )
    windows.items = windows.items[rows]
    found, out = way.carry(windows, progress=progress), linear(plain)
    # what the network does not know is worth less
    xy, confidence = out.xy_frame.copy(), out.confidence / 2
    for j, name in enumerate(plain.skeleton.joints if plain.skeleton else ()):
        if name in way.skeleton.joints:
            at = way.skeleton.index(name)
            xy[:, j], confidence[:, j] = found.xy_frame[:, at], found.confidence[:, at].clip(0, 1)
    return replace(out, xy_frame=xy, confidence=confidence, source=way.name)


def all_poses(clip: Clip, found: Detections) -> Prediction:
    """Labels and what was carried, for pictures; joints that were carried count as replaced."""
    at = [(track, t) for track in clip.tracks for t in np.flatnonzero(track.visibility.any(1))]
    given = Detections(
        found.skeleton,
        [track.xy_frame[t] for track, t in at],
        [(track.visibility[t] > 0).astype(np.float32) for track, t in at],
        [track.boxes_xyxy[t] for track, t in at],
        frames=[t for _, t in at],
        tracks=[track.track_id for track, _ in at],
    )
    both = {
        name: np.concatenate((getattr(given, name), getattr(found, name)))
        for name in ("xy_frame", "confidence", "boxes_xyxy", "frames", "tracks")
    }
    carried = np.repeat(
        np.arange(len(at) + len(found)) >= len(at), len(skeleton(found.skeleton))
    ).reshape(both["confidence"].shape)
    poses = Detections(found.skeleton, **both)
    return Prediction(
        found.skeleton, poses.xy_frame, poses.confidence, carried, found.source, poses
    )


# --- files of sparse labels -----------------------------------------------------------------------


@dataclass(frozen=True)
class Numbering:
    """Which frame each image of a file shows, and how the file would number and name an image of
    every frame.
    """

    frames: dict[str, int]  # by image id
    numbers: list[int]
    names: list[str]
    first: int | None = None  # the number of the first frame, where images are counted from one
    assumed: bool = False  # nothing in the file says whether its first frame is number 0 or 1
    lacking: frozenset[str] = frozenset()  # labelled images without a frame_id, where others' count


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


def _path(picture: Picture) -> PurePosixPath:
    """The name of an image's file, as it was before Roboflow's export."""
    name = re.sub(r"(?i)_(jpe?g|png|bmp|webp)\.rf\.[0-9a-z]+\.\w+$", r".\1", picture.name)
    return PurePosixPath(name.replace("\\", "/"))


def _parts(picture: Picture) -> tuple[str, str, str] | None:
    """What stands before, in and behind the last number of a name; None where it has no number."""
    found = re.fullmatch(r"(.*\D|)(\d+)(\D*)", _path(picture).stem, re.DOTALL)
    return found and found.groups()


def _carried(annotation: object) -> bool:
    """Whether a program put it between labels: an earlier run, or CVAT, which says "keyframe":
    false.
    """
    if type(annotation) is not dict:
        return False
    attributes = annotation.get("attributes")
    return bool(annotation.get("propagated")) or (
        type(attributes) is dict and attributes.get("keyframe") is False
    )


def _of_video(
    pictures: Sequence[Picture], stated: dict, content: dict, source: str, path: Path
) -> tuple[list[Picture], str]:
    """The pictures of one video, and what the file calls it; of several those that are called as
    the source is.

    Videos are told apart by their ids, whose names `videos` may state, by folders, compared from
    their ends, and by what stands before the number in a name, where that makes two videos or more
    with two pictures each.
    """
    own, theirs = (
        Path(os.path.abspath(source)),
        {PurePosixPath(name).stem for name in picture_names(source)},
    )
    suffix = "" if own.is_dir() else own.suffix
    own = (*own.parts[:-1], own.name.removesuffix(suffix))
    table = content["videos"] if type(content.get("videos")) is list else []
    titles = {
        str(checks.integral(v.get("id"))): str(v.get("name") or "")
        for v in table
        if type(v) is dict
    }
    groups: dict[tuple, list[Picture]] = {}
    for picture in pictures:
        video = checks.integral(
            stated[picture.id].get("video_id", stated[picture.id].get("vid_id"))
        )
        key = _path(picture).parent.parts, None if video is None else str(video), None
        groups.setdefault(key, []).append(picture)
    for key, members in list(groups.items()):
        stems = {p.id: _path(p).stem for p in members}
        before = {
            p.id: own[-1] if stems[p.id] in theirs else (_parts(p) or [stems[p.id]])[0]
            for p in members
        }
        many = Counter(before[p.id] for p in members if not stated[p.id].get("propagated"))
        if key[1] is None and sorted(many.values())[-2:-1] > [1]:
            del groups[key]
            for picture in members:
                groups.setdefault((*key[:2], before[picture.id]), []).append(picture)

    def called(key: tuple) -> str:
        return "/".join(
            (*key[0], *([titles.get(key[1]) or f"video {key[1]}"] if key[1] else []), key[2] or "")
        )

    def shared(names: Sequence[str]) -> int:
        same = [a == b for a, b in zip(reversed(names), reversed(own))]
        return [*same, False].index(False)

    def likeness(key: tuple) -> tuple[int, bool]:
        title = PurePosixPath(titles.get(key[1], "").removesuffix(suffix)).parts
        before = re.sub(r"(?i)[\W_]*(frame|image|img)?[\W_]*$", "", key[2] or "")
        return max(shared(key[0]), shared(title)), own[-1] in (before, key[2])

    named = [key for key in groups if key != ((), None, None)]
    best = max(map(likeness, named), default=None)
    chosen = [key for key in named if likeness(key) == best]
    if len(chosen) > 1:
        remedy = "call the video or its folder as the file does, or keep one video in the file"
        problem = f"images of several videos, and none is called {own[-1]}: {', '.join(sorted(map(called, chosen)))}"
        raise BadRecord(problem, file=path, remedy=remedy)
    mine = [
        picture
        for key, members in groups.items()
        if key in chosen or key not in named
        for picture in members
    ]
    return mine, called(chosen[0]) if len(groups) > 1 else ""


def _numbering(
    pictures: Sequence[Picture],
    stated: dict,
    labelled: set[str],
    frames: Frames,
    first: int | None,
    noted: int | None,
) -> Numbering:
    """By the names of the video's pictures, else by frame_id, else by the numbers in file names:
    those of the pictures, or counted from the first frame's number, which is given, certain, noted
    by an earlier run, or assumed to be 0.
    """
    n, names = len(frames), picture_names(frames.video.source)
    at = {PurePosixPath(name).stem: i for i, name in enumerate(names)} | {
        name: i for i, name in enumerate(names)
    }

    def frame_of(path: PurePosixPath) -> int | None:
        # which puts eight digits before a name
        label_studio = re.sub(r"^[0-9a-f]{8}-", "", path.stem)
        return next((at[name] for name in (path.name, path.stem, label_studio) if name in at), None)

    found = {p.id: frame for p in pictures if (frame := frame_of(_path(p))) is not None}
    counted = {last_number(name): i for i, name in enumerate(names)}
    counted = counted if len(counted) == n and -1 not in counted else {}
    if any(not stated[key].get("propagated") for key in found):
        folder = next(_path(p).parent for p in pictures if p.id in found)
        return Numbering(found, list(counted or range(n)), [str(folder / name) for name in names])
    written = {p.id: last_number(_path(p).name) for p in pictures}
    ids = {p.id: checks.integral(stated[p.id].get("frame_id")) for p in pictures}
    ids = {key: number for key, number in ids.items() if type(number) is int}
    by_id = any(0 <= ids.get(key, -1) <= n for key in labelled)
    told, assumed, start = ids if by_id else written, False, None
    if by_id or not (
        first is noted is None and counted and {told[key] for key in labelled} <= set(counted)
    ):
        last = None if frames.warnings else n  # of a video that was cut nobody knows it
        certain = [base for base, number in ((0, 0), (1, last)) if number in told.values()]
        assumed = first is noted is None and not certain
        start = next(number for number in (first, *certain, noted, 0) if number is not None)
        counted = {start + i: i for i in range(n)}
    found = {key: counted[number] for key, number in told.items() if number in counted}
    numbers, lacking = list(counted), frozenset(labelled - set(ids) if by_id else ())
    shown = [p for p in pictures if p.id in found]
    shown = [p for p in shown if p.id in labelled] or shown
    if not shown:
        return Numbering({}, numbers, [], start, assumed, lacking)
    offsets, parts = (
        {written[p.id] - numbers[found[p.id]] for p in shown},
        [_parts(p) for p in shown],
    )
    model, called = (
        _path(shown[0]),
        names or [f"frame_{number:06d}{_path(shown[0]).suffix}" for number in numbers],
    )
    if all(parts) and len(offsets) == 1 == len({(before, behind) for before, _, behind in parts}):
        (before, _, behind), offset, digits = (
            parts[0],
            offsets.pop(),
            min(len(part[1]) for part in parts),
        )
        called = [
            f"{before}{number + offset:0{digits}d}{behind}{model.suffix}" for number in numbers
        ]
    return Numbering(
        found, numbers, [str(model.parent / name) for name in called], start, assumed, lacking
    )


def _points(annotation: dict) -> Float[np.ndarray, "k 3"]:
    """Joints and flags as the file has them; none where they cannot be read."""
    try:
        return np.reshape(np.array(annotation["keypoints"], float), (-1, 3))
    except (KeyError, TypeError, ValueError, OverflowError):
        return np.zeros((0, 3))


def _with_box(annotation: object) -> object:
    """The annotation; one without a box or area gets that around its joints, as PoseTrack draws
    them, at least a pixel.
    """
    box = annotation.get("bbox") if type(annotation) is dict else 0
    if not (box in (None, []) or (type(box) is list and len(box) == 4 and 0 in box[2:])):
        return annotation
    points = _points(annotation)
    if not points.any():
        return annotation | {"bbox": [0, 0, 1, 1]}  # of nobody
    seen = points[:, 2] > 0
    extent = geometry.box_of_points(points[:, :2], seen if seen.any() else points.any(1))
    x0, y0, x1, y1 = geometry.enlarge(extent, POSETRACK_BOX).tolist()
    return annotation | {"bbox": [x0, y0, max(x1 - x0, 1.0), max(y1 - y0, 1.0)]}


def _who(annotation: dict, path: Path) -> str | None:
    """The person's track_id, CocoVID's instance_id or the track_id in `attributes`; None where
    there is none.
    """
    attributes = annotation.get("attributes")
    told = [annotation.get("track_id"), annotation.get("instance_id")]
    told += [attributes.get("track_id")] if type(attributes) is dict else []
    who = checks.integral(next((value for value in told if value is not None), None))
    if who is not None and type(who) not in (int, str):
        where = {"file": path, "record": f"annotation {annotation.get('id')}"}
        raise BadRecord(f"track_id is {who!r}, an integer or text expected"[:80], **where)
    return None if who is None else str(who)


def _tracks(
    poses: Pose, rows: dict[tuple[int, int], int], absent: set, n_frames: int
) -> list[Track]:
    """One a person, labelled where the file has a pose (rows by track and frame), and without
    joints where it has none.
    """
    shape, tracks = (n_frames, len(skeleton(poses.skeleton))), []
    for track in sorted({track for track, _ in rows}):
        at = [frame for who, frame in rows if who == track]
        mine = [rows[track, frame] for frame in at]
        xy, flags, boxes = np.zeros((*shape, 2)), np.zeros(shape, int), np.zeros((n_frames, 4))
        xy[at], flags[at], boxes[at] = (
            poses.xy_frame[mine],
            poses.visibility[mine],
            poses.boxes_xyxy[mine],
        )
        labelled = np.isin(
            np.arange(n_frames), at + [frame for who, frame in absent if who == track]
        )
        tracks.append(
            Track(poses.skeleton, track, xy, flags, labelled, boxes, poses.occlusion_known)
        )
    return tracks


def _image_error(
    picture: Picture, numbering: Numbering, frames: Frames, path: Path
) -> BadRecord | None:
    """Of a labelled picture of no frame, or whose stated size is not the frame's: its joints are
    given in other pixels.
    """
    where = {"file": path, "record": f"image {picture.id} ({picture.name})"}
    if picture.id not in numbering.frames:
        remedy = f"the video has {len(frames)} frames, here numbered {numbering.numbers[0]} to {numbering.numbers[-1]}"
        remedy += "; name the image as its frame, state frame_id, or say --first-frame"
        missing = (
            "states no frame_id, other labelled images do: it "
            if picture.id in numbering.lacking
            else ""
        )
        return BadRecord(f"{missing}belongs to no frame of the video", remedy=remedy, **where)
    size = (frames.video.width, frames.video.height)
    # whose pictures may differ
    if picture.size_wh not in (None, size) and os.path.isdir(frames.video.source):
        size = frames[numbering.frames[picture.id]].shape[1::-1]
    if picture.size_wh in (None, size):
        return None
    problem = "{}x{} px are stated, the frame has {}x{}".format(*picture.size_wh, *size)
    remedy = "use the video that was labelled, or scale the labels to this one and correct width and height"
    return BadRecord(problem, remedy=remedy, **where)


def _doubles(pictures: Sequence[Picture], numbering: Numbering, path: Path) -> dict[str, BadRecord]:
    """Labelled pictures that mean a frame that another one, of another name, means too."""
    first, bad, remedy = {}, {}, "keep the labels of one, or state frame_id"
    for p in (p for p in pictures if p.id in numbering.frames):
        other = first.setdefault(numbering.frames[p.id], p)
        if other.name != p.name:
            problem = (
                f"means frame {numbering.frames[p.id]}, and so does image {other.id} ({other.name})"
            )
            bad[p.id] = BadRecord(
                problem, file=path, record=f"image {p.id} ({p.name})", remedy=remedy
            )
    return bad


def _pose_error(poses: Pose, row: int, path: Path) -> BadRecord | None:
    """Of a pose whose numbers are no pixels, or in a box that is none of its own."""
    xy, box = poses.xy_frame[row, poses.labelled[row]], poses.boxes_xyxy[row].astype(float)
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
    remedy = (
        "state joints, and bbox as x, y, width, height, in pixels of the frame, or leave bbox out"
    )
    return BadRecord(problem, file=path, record=f"annotation {poses.ids[row]}", remedy=remedy)


def _whose(
    people: Sequence[dict],
    poses: Pose,
    row_of: dict[str, int],
    at: dict[str, int],
    n_frames: int,
    path: Path,
) -> tuple[dict[str, str], bool, list[BadRecord]]:
    """The person of each annotation by its id, as far as it is told; whether those with a pose had
    to be linked, which then get a track_id; and what is bad about the ids.
    """
    whose, bad = {}, []
    for a in people:
        try:
            whose[str(a["id"])] = _who(a, path)
        except BadRecord as error:
            bad.append(error)
    posed = [a for a in people if str(a["id"]) in row_of and str(a["id"]) in whose]
    nameless = [a for a in posed if whose[str(a["id"])] is None]
    linked = bool(posed) and len(nameless) == len(posed)
    if linked:
        kinds, n = {}, 0
        for a in posed:
            kinds.setdefault(str(checks.integral(a.get("category_id"))), []).append(a)
        for kind in kinds.values():  # a left hand is never linked to a right one
            own = poses.select([row_of[str(a["id"])] for a in kind])
            found = Detections(
                own.skeleton,
                own.xy_frame,
                (own.visibility > 0).astype(np.float32),
                own.boxes_xyxy,
                frames=np.array([at[str(a["image_id"])] for a in kind], np.int64),
            )
            tracks = n + link(found, max_gap=n_frames, smoothing=1.0).tracks
            n = int(tracks.max()) + 1
            for a, track in zip(kind, tracks.tolist()):
                a["track_id"], whose[str(a["id"])] = track, str(track)
    else:
        remedy = "give every person one, or nobody: people are then told apart by place and shape"
        problem = f"no track_id, {len(posed) - len(nameless)} others have one"
        bad += [
            BadRecord(problem, file=path, record=f"annotation {a['id']}", remedy=remedy)
            for a in nameless
        ]
    return {key: who for key, who in whose.items() if who is not None}, linked, bad


def read_labels(
    path: str | Path,
    frames: Frames,
    joints: str | None = None,
    *,
    first_frame: int | None = None,
    on_bad: str = "raise",
) -> Labels:
    """A COCO file of labels of some frames of a video.

    Images belong to frames by the names of the pictures where the video is a folder of them, else
    by a whole number `frame_id`, or the last number in `file_name`. Of a file of several videos,
    the images are read whose video, folder or name up to the number is called as the video (or its
    folder). People are told apart by `track_id` (a whole number or text, also in `attributes`) or
    `instance_id`, or where nobody has one by place and shape, within a category: they then get one.
    Annotations that were carried earlier ("propagated", and what CVAT put between its keyframes)
    are no labels and are dropped. An annotation without joints (or with flags of 0 alone, where
    others have higher ones) says that the person is absent; so does, with `on_bad="report"`, one
    that is left out. joints: the skeleton; None: told by the file. first_frame: the number of the
    first frame, 0 or 1; None: 0 or 1 where an image has number 0 or as high a one as there are
    frames; else what an earlier run noted; else 0, and `notes` say so. on_bad: "report" also reads
    a video to its end, which may come before its header says. Errors: those of `read_coco`;
    `BadFile`: NaN or Infinity in it; `BadRecord`: a labelled image of no frame, of another one's or
    of another size, images of several videos of which none is this one, people of whom some have a
    track_id, two annotations of one person in a frame, joints that lie far from their box or from
    any picture.
    """
    path = Path(path)
    content = read_json(path)
    try:
        json.dumps(content, allow_nan=False)
    except (ValueError, RecursionError):
        raise BadFile(
            "holds NaN or Infinity, or is nested too deeply", file=path, remedy="correct the file"
        ) from None
    for key, fields in (("images", ("id",)), ("annotations", ("id", "image_id"))):
        for record in checks.table(content, key, path):
            if type(record) is dict:
                record.update(
                    {field: checks.integral(record[field]) for field in fields if field in record}
                )
    images, annotations = content["images"], content["annotations"]
    if on_bad == "report":
        with suppress(WorkbenchError):
            frames[len(frames) - 1]
    categories = content["categories"] if type(content.get("categories")) is list else []
    plain = [c.get("id") for c in categories if type(c) is dict and not c.get("keypoints")]

    def of_person(a: object) -> bool:
        other = type(a) is dict and not a.get("keypoints") and a.get("category_id") in plain
        return not (_carried(a) or other)

    given = [a for a in annotations if of_person(a)]
    used = {**content, "annotations": [_with_box(a) for a in given]}
    reading = coco.read_coco(path, skeleton=joints, content=used, on_bad=on_bad)
    stated = {str(image.get("id")): image for image in reversed(images) if type(image) is dict}
    own, video = _of_video(reading.pictures, stated, content, frames.video.source, path)
    labelled = {str(a.get("image_id")) for a in given if type(a) is dict}
    noted = (
        content["propagation"].get("first_frame")
        if type(content.get("propagation")) is dict
        else None
    )
    noted = checks.integral(
        noted.get(video) if type(noted) is dict else noted if not video else None
    )
    noted = noted if type(noted) is int and noted in (0, 1) else None
    with_labels = [p for p in own if p.id in labelled]
    numbering = _numbering(own, stated, {p.id for p in with_labels}, frames, first_frame, noted)
    doubles = _doubles(with_labels, numbering, path)
    wrong = {
        p.id: doubles.get(p.id) or _image_error(p, numbering, frames, path) for p in with_labels
    }
    wrong = {key: error for key, error in wrong.items() if error is not None}
    at = {key: frame for key, frame in numbering.frames.items() if key not in doubles}
    row_of = {
        key: row for row, key in enumerate(reading.poses.ids) if reading.poses.labelled[row].any()
    }
    mine = {}  # annotations of this video by id, of two with one id the first
    for a in given:
        if type(a) is dict and "id" in a and str(a.get("image_id")) in at:
            mine.setdefault(str(a["id"]), a)
    row_of = {
        key: row
        for key, row in row_of.items()
        if key in mine and str(mine[key]["image_id"]) not in wrong
    }
    flagged = {key: row for key, row in row_of.items() if (_points(mine[key])[:, 2] > 0).any()}
    row_of = flagged or row_of  # PoseTrack's joints of flag 0 have coordinates
    strange = {
        key: error
        for key, row in row_of.items()
        if (error := _pose_error(reading.poses, row, path))
    }
    row_of = {key: row for key, row in row_of.items() if key not in strange}
    whose, linked, bad = _whose([*mine.values()], reading.poses, row_of, at, len(frames), path)
    bad = [*wrong.values(), *strange.values(), *bad]
    known = dict.fromkeys(whose.values())
    whole = all(who.isdecimal() and len(who) < 19 and str(int(who)) == who for who in known)
    track_of = {who: int(who) if whole else i for i, who in enumerate(known)}
    rows, people, absent = {}, {}, set()
    for key in sorted(whose, key=lambda key: key not in row_of):  # poses first
        who, a = whose[key], mine[key]
        place = track_of[who], at[str(a["image_id"])]
        if place in rows or place in absent:
            remedy = "give every person in a frame a track_id of their own, or keep one of the two"
            problem = f"two annotations of track {who} in a frame"
            bad.append(BadRecord(problem, file=path, record=f"annotation {key}", remedy=remedy))
        elif key in row_of:
            rows[place], people[place] = row_of[key], a
        else:
            absent.add(place)
    checks.settle(bad, len(images) + len(given), "images and annotations", on_bad, path)

    notes, shown = [], sorted((at[str(a["image_id"])], str(a["image_id"])) for a in people.values())
    if shown:
        first, last = (
            f"{stated[key]['file_name']} as frame {frame}" for frame, key in (shown[0], shown[-1])
        )
        note = f"taken: {first}, {last} (the video has frames 0 to {len(frames) - 1})"
        if numbering.assumed:
            note += "; assumed that the first frame is number 0: say --first-frame 1 if it is 1"
        notes.append(note)
    if linked:
        n = len({track for track, _ in rows})
        notes.append(
            f"no track_id: people were linked by likeness, {len(rows)} poses into {n}; check them, "
            "or state ids"
        )
    if unknown := sum(key not in whose and key not in row_of for key in mine):
        notes.append(
            f"{unknown} annotations without joints have no track_id: nobody is taken for absent by "
            "them"
        )
    if others := len(reading.pictures) - len(own):
        notes.append(f"{others} images of other videos are left alone")
    if stray := sum(picture.id not in at and picture.id not in labelled for picture in own):
        notes.append(f"{stray} images without labels belong to no frame and are left alone")
    kept = [a for a in annotations if not _carried(a) or str(a.get("image_id")) not in at]
    earlier = sum(
        bool(a.get("propagated"))
        for a in annotations
        if _carried(a) and str(a.get("image_id")) in at
    )
    between = len(annotations) - len(kept) - earlier
    for n, which in (
        (earlier, "that were carried earlier"),
        (between, "between keyframes (keyframe: false)"),
    ):
        notes += [f"{n} poses {which} are no labels and are carried anew"] if n else []
    tracks = _tracks(reading.poses, rows, absent, len(frames))
    shut = [
        (t.track_id, *gap)
        for t in tracks
        for gap in sorted({*gaps(t, over_absence=True)} - {*gaps(t)})
    ]
    if shut:
        who = next(key for key, track in track_of.items() if track == shut[0][0])
        note = f"{len(shut)} gaps stay open, because an annotation without joints says that the person is absent; the first"
        notes.append(f"{note} is that of track {who} between frames {shut[0][1]} and {shut[0][2]}")
    ours = [stated[picture.id] for picture in own if picture.id in at]
    like = (
        {}
        if os.path.isdir(frames.video.source)
        else {"width": frames.video.width, "height": frames.video.height}
    )
    for key in ("width", "height", "video_id", "vid_id", "nframes"):
        if ours and key in ours[0] and all(image.get(key) == ours[0][key] for image in ours):
            like[key] = ours[0][key]
    ids = [(checks.integral(image.get("frame_id")), at[str(image["id"])]) for image in ours]
    base = {number - frame if type(number) is int else None for number, frame in ids}
    return Labels(
        content={**content, "annotations": kept},
        clip=Clip(frames.video, tracks, name=path.stem),
        numbering=replace(numbering, frames=at),
        people=people,
        like=like,
        video=video,
        frame_id=base.pop() if len(base) == 1 else None,
        notes=tuple(notes),
        warnings=(*frames.warnings, *reading.warnings, *bad),
    )


def _digest(annotations: Sequence[object], name: str) -> str:
    """Of the annotations that no program carried, and of the file of labels: says whether
    somebody changed one since.
    """
    kept = [name, *(a for a in annotations if not _carried(a))]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


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
    if not out.is_file() or not out.stat().st_size:
        return
    try:
        content = read_json(out)
        there = checks.table(content, "annotations", out)
    except BadFile:
        raise BadParameter("is there, and no COCO file", file=out, remedy=another) from None
    noted = content.get("propagation")
    if type(noted) is dict and noted.get("labels") == _digest(there, labels.stem):
        return  # as it was written
    known = {
        json.dumps(a, sort_keys=True)
        for a in checks.table(read_json(labels), "annotations", labels)
    }
    if any(json.dumps(a, sort_keys=True) not in known for a in there if not _carried(a)):
        raise BadParameter(
            "holds corrections", file=out, remedy="give it as --labels, or name another --out"
        )


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
    content = {
        key: list(v) if key in ("images", "annotations") else v for key, v in labels.content.items()
    }
    images, numbering = {}, labels.numbering
    for image in content["images"]:
        if (
            type(image) is dict
            and (frame := numbering.frames.get(str(image.get("id")))) is not None
        ):
            images.setdefault(frame, image["id"])
    ids = (
        [str(r.get("id")) for r in content[kind] if type(r) is dict]
        for kind in ("images", "annotations")
    )
    next_image, next_id = (
        1 + max((int(i) for i in known if i.isdecimal() and len(i) < 19), default=0)
        for known in ids
    )
    seen_by = {track.track_id: track.visibility > 0 for track in labels.clip.tracks}
    labelled_at = {person: np.flatnonzero(seen.any(1)) for person, seen in seen_by.items()}
    for row, (frame, person) in enumerate(zip(found.frames.tolist(), found.tracks.tolist())):
        if frame not in images:
            image = {
                "id": next_image,
                "file_name": numbering.names[frame],
                **labels.like,
                "propagated": True,
            }
            content["images"].append(
                image if labels.frame_id is None else image | {"frame_id": labels.frame_id + frame}
            )
            images[frame], next_image = next_image, next_image + 1
        seen, after = seen_by[person], int(np.searchsorted(labelled_at[person], frame))
        sides = labelled_at[person][after - 1 : after + 1].tolist()
        left, right = (labels.people[person, side] for side in sides)
        flags = np.stack([_points(a)[:, 2] for a in (left, right)]).astype(int)
        flags = np.where(seen[sides].all(0), flags.min(0), (flags * seen[sides]).sum(0))
        told = seen[sides].any(0)
        x0, y0, x1, y1 = (round(float(v), 2) for v in found.boxes_xyxy[row])
        width, height = (max(round(side, 2), 1.0) for side in (x1 - x0, y1 - y0))
        joints = np.concatenate((found.xy_frame[row].round(2) * told[:, None], flags[:, None]), 1)
        scores = found.confidence[row].astype(float).round(4)
        category = {"category_id": left["category_id"]} if "category_id" in left else {}
        who = {key: left[key] for key in ("track_id", "instance_id") if left.get(key) is not None}
        who = who or {"attributes": {"track_id": left["attributes"]["track_id"]}}
        line = [
            name
            for name, known in zip(skeleton(found.skeleton).joints, told)
            if known and name in interpolated
        ]
        content["annotations"].append(
            {
                "id": next_id,
                "image_id": images[frame],
                **category,
                **who,
                "keypoints": [round(float(v), 2) for v in joints.ravel()],
                "num_keypoints": int((flags > 0).sum()),
                "bbox": [x0, y0, width, height],
                "area": round(width * height, 2),
                "iscrowd": 0,
                "propagated": True,
                "method": found.source,
                "between": [numbering.numbers[side] for side in sides],
                "scores": scores.tolist(),
                "score": round(float(scores[told].mean()) if told.any() else 0.0, 4),
                **({"interpolated": line} if line else {}),
            }
        )
        next_id += 1
    used = {str(a.get("image_id")) for a in content["annotations"] if type(a) is dict}
    content["images"] = [
        i
        for i in content["images"]
        if type(i) is not dict or not i.get("propagated") or str(i.get("id")) in used
    ]
    noted = content["propagation"] if type(content.get("propagation")) is dict else {}
    if numbering.first is not None:
        before = noted["first_frame"] if type(noted.get("first_frame")) is dict else {}
        noted = noted | {"first_frame": before | {labels.video: numbering.first}}
    content["propagation"] = noted | {"labels": _digest(content["annotations"], labels.clip.name)}
    return write_beside(
        Path(path), lambda p: p.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    )
