"""Windows of a clip around one person: the same crop of a key frame and its neighbours, with
targets, in batches.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from .. import geometry
from ..errors import BadParameter, BadRecord, WorkbenchError, check_choice
from ..records import Clip, PersonBoxes, Picture, Pose, Reading, Track, Video
from ..skeletons import Skeleton, skeleton
from .frames import Frames, open_frames
from .tracks import track_of

Batch = dict[str, Tensor]
# RGB of ImageNet, as every backbone here was trained
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LOWER = ("hip", "knee", "ankle", "foot")


@dataclass(frozen=True)
class Augment:
    """Drawn once a window, the same for all its frames. STDPose App. B; OTPose Sec. IV-B names
    the same four.
    """

    scale: tuple[float, float] = (0.65, 1.35)  # of the box; uniform: unstated; ours
    rotation_degrees: float = 45.0  # either way, uniform: unstated; ours
    half_body: float = 0.3  # probability of cutting to the upper or lower half; HRNet's
    half_body_joints: int = 8  # cut only people with more labelled joints than this; HRNet's
    # of the tight box around that half, in place of `padding`; HRNet's
    half_body_padding: float = 1.5
    flip: float = 0.5  # probability


@dataclass(frozen=True)
class WindowConfig:
    """What a window holds; sizes are (width, height) px."""

    size: tuple[int, int] = (288, 384)
    offsets: tuple[int, ...] = (-2, -1, 0, 1, 2)  # frames from the key frame; OTPose Sec. IV-B
    # instead: (labelled frame before, key, labelled frame after), STDPose Sec. 3, T
    interval: int | None = None
    # key frames: "labelled": those with labelled joints; "all": every frame from a person's first
    # box to the last; "between": at an interval, every frame between two frames whose labels may
    # be used, and these two's boxes alone count
    keys: str = "labelled"
    # every T-th frame counts from the video's first labelled one, not from the person's
    common: bool = False
    # of the key frame's box, once it has the crop's aspect; OTPose Sec. IV-B, STDPose Sec. 3
    padding: float = 1.25
    alignment: str = "udp"
    augment: Augment = field(default_factory=Augment)  # used wherever a generator is given

    def __post_init__(self):
        check_choice("keys", self.keys, ("labelled", "all", "between"))
        if self.keys == "between" and self.interval is None:
            problem = "keys between labels want an interval"
            raise BadParameter(problem, remedy="1 takes every labelled frame")
        if self.interval is None and 0 not in self.offsets:
            raise BadParameter(f"offsets {self.offsets} leave out the key frame, 0")
        if min(self.size) < 2 or (self.interval is not None and self.interval < 1):
            raise BadParameter(f"size {self.size} or interval {self.interval} is too small")

    @property
    def key(self) -> int:
        """Where in the window the key frame stands."""
        return 1 if self.interval is not None else self.offsets.index(0)


@dataclass(frozen=True, eq=False)
class Window:
    """t crops of one person by one affine map."""

    crops: UInt8[np.ndarray, "t h w 3"]
    xy_crop: Float[np.ndarray, "t k 2"]  # px; zeros where nothing is labelled
    visibility: Int[np.ndarray, "t k"]  # 0 also where the joint lies outside the crop
    # xy_frame -> xy_crop; mirrored pictures also exchange left and right joints
    affine: Float[np.ndarray, "2 3"]
    frames: Int[np.ndarray, "t"]  # numbers in the clip


def clips_of(reading: Reading, *, first: int | None = None) -> list[Clip]:
    """The reading's clips, and one clip of one frame for each picture with people; groups marked as
    crowd are no people.

    `track_id` is the row in `reading.poses`. Open a clip's frames below the folder that the file
    names start from. first: the first so many alone.
    """
    clips, poses = list(reading.clips)[:first], reading.poses
    if poses is None:
        return clips
    if not poses.images:
        problem = f"the poses of {reading.source} do not say to which pictures they belong"
        raise BadParameter(problem)
    known = {picture.name: picture for picture in reading.pictures}
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(poses.images):
        if poses.crowd is None or not poses.crowd[row]:
            rows.setdefault(name, []).append(row)
    for name, of_picture in islice(rows.items(), None if first is None else first - len(clips)):
        picture = known.get(name) or Picture(name)
        tracks = [
            Track(
                poses.skeleton,
                row,
                poses.xy_frame[row : row + 1],
                poses.visibility[row : row + 1],
                [True],
                poses.boxes_xyxy[row : row + 1],
                poses.occlusion_known,
            )
            for row in of_picture
        ]
        group = poses.groups[of_picture[0]] if poses.groups else name
        clips.append(Clip(Video("", 1, *(picture.size_wh or ())), tracks, (picture,), group))
    return clips


def _half_body(
    xy_frame: Float[np.ndarray, "k 2"],
    labelled: Bool[np.ndarray, "k"],
    joints: Skeleton,
    config: Augment,
    rng,
) -> Float[np.ndarray, "4"] | None:
    """Box around the labelled joints above or below the hips (whichever is drawn), None where that
    is too little or a skeleton, such as a hand's, has no lower half.
    """
    lower = np.array([any(part in name for part in _LOWER) for name in joints.joints])
    chosen = labelled & (lower if rng.random() < 0.5 else ~lower)
    drawn = rng.random() < config.half_body and labelled.sum() > config.half_body_joints
    if not (drawn and lower.any() and chosen.sum() >= 3):
        return None
    box = geometry.box_of_points(xy_frame, chosen)
    return box if (box[2:] > box[:2]).all() else None


def _boxed(track: Track) -> Bool[np.ndarray, "t"]:
    """Labelled frames with a box that has an area."""
    return track.labelled & (track.boxes_xyxy[:, 2:] > track.boxes_xyxy[:, :2]).all(1)


class Windows:
    """All windows of (clip, frames) pairs, by index; nothing is read before a window is asked for.

    frames: anything indexable by frame number that gives uint8 [h w 3] (`Frames`, an array [t h w
        3]), or the folder below which the clip's frames lie, which is then opened when needed and
        closed again (`open_clips` at a time).
    """

    def __init__(
        self,
        pairs: Iterable[tuple[Clip, object]],
        config: WindowConfig | None = None,
        *,
        open_clips: int = 8,
    ):
        self.pairs = list(pairs)
        self.config = config or WindowConfig()
        self.open_clips = open_clips
        self._open: OrderedDict[int, object] = OrderedDict()
        self._lock = threading.Lock()
        names = sorted({track.skeleton for clip, _ in self.pairs for track in clip.tracks})
        if len(names) > 1:
            problem = f"windows of several skeletons: {', '.join(names)}"
            raise BadParameter(problem, remedy="make one set of each")
        self.skeleton = skeleton(names[0]) if names else None
        self._grids: dict[tuple[int, int], np.ndarray] = {}
        self._boxes: dict[tuple[int, int], tuple[np.ndarray, list[np.ndarray]]] = {}
        items = [
            (pair, n, key)
            for pair, (clip, _) in enumerate(self.pairs)
            for n in range(len(clip.tracks))
            for key in self._keys(pair, n)
        ]
        # pair, track, key frame
        self.items: Int[np.ndarray, "n 3"] = np.array(items, np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self.items)

    def select(self, rows: Bool[np.ndarray, "n"] | Int[np.ndarray, "m"] | Sequence[int]) -> Windows:
        """Some of the windows, by a mask or by their numbers, in this order; sources are opened
        anew.
        """
        chosen = copy.copy(self)
        chosen.items = self.items[np.asarray(rows)]
        chosen._open = OrderedDict()
        chosen._lock = threading.Lock()
        return chosen

    def id(self, index: int) -> str:
        """Clip, person and frame of a window, for people."""
        pair, n, key = self.items[index]
        clip = self.pairs[pair][0]
        picture = f" {clip.pictures[key].name}" if clip.pictures else ""
        person = f"track {clip.tracks[n].track_id} frame {key}"
        return f"{clip.name or clip.video.source}{picture} {person}"

    def poses(self) -> Pose:
        """The people of the key frames as poses, in the order of the windows; a group is a clip.

        images: the picture's name; of a clip without pictures its own, with the frame's number
        where it has several.
        """
        rows, images, groups = [], [], []
        for pair, n, key in self.items:
            clip = self.pairs[pair][0]
            rows.append((clip.tracks[n], key))
            groups.append(clip.name)
            numbered = f"{clip.name}/{key}" if clip.video.n_frames > 1 else clip.name
            images.append(clip.pictures[key].name if clip.pictures else numbered)
        stack = {
            name: np.stack([getattr(track, name)[key] for track, key in rows])
            for name in ("xy_frame", "visibility", "boxes_xyxy", "head_boxes_xyxy")
            if all(getattr(track, name) is not None for track, _ in rows)
        }
        known = all(track.occlusion_known for track, _ in rows)
        return Pose(
            self.skeleton.name, **stack, images=images, groups=groups, occlusion_known=known
        )

    def boxes(self) -> Float[np.ndarray, "n 4"]:
        """The box that every window is cut by, before it is enlarged; px."""
        return np.array([self._box(*item) for item in self.items.tolist()]).reshape(-1, 4)

    def frames_of(self, index: int) -> Int[np.ndarray, "t"]:
        """Numbers of a window's frames in its clip; at its ends the last one stands in for those
        beyond.
        """
        pair, n, key = self.items[index].tolist()
        if self.config.interval is None:
            last = len(self.pairs[pair][0].tracks[n].labelled) - 1
            return (key + np.array(self.config.offsets)).clip(0, last)
        grid = self._grid(pair, n)
        after = int(np.searchsorted(grid, key))
        return np.array([grid[max(after - 1, 0)], key, grid[min(after, len(grid) - 1)]])

    def frame(self, pair: int, number: int) -> UInt8[np.ndarray, "h w 3"]:
        """A whole frame of a clip."""
        return self._frames(pair)[number]

    def affines(self) -> Float[np.ndarray, "n 2 3"]:
        """xy_frame -> xy_crop of every window as it is cut where nothing is augmented; no pixel
        is read.
        """
        config = self.config
        boxes = geometry.enlarge(self.boxes(), config.padding, config.size[0] / config.size[1])
        return geometry.frame_to_crop(boxes, config.size, config.alignment)

    def _grid(self, pair: int, n: int) -> Int[np.ndarray, "m"]:
        """Frames whose labels of this person a window at an interval may use: every T-th from
        the first labelled one.
        """
        if (pair, n) not in self._grids:
            config, tracks = self.config, self.pairs[pair][0].tracks
            use = _boxed if config.keys == "between" else (lambda track: track.labelled)
            labelled = np.flatnonzero(use(tracks[n]))
            begun = tracks if config.common else tracks[n : n + 1]
            first = [np.flatnonzero(use(track))[:1] for track in begun]
            start = min(np.concatenate(first), default=0)
            self._grids[pair, n] = labelled[(labelled - start) % config.interval == 0]
        return self._grids[pair, n]

    def _keys(self, pair: int, n: int) -> Int[np.ndarray, "m"]:
        track = self.pairs[pair][0].tracks[n]
        boxed = _boxed(track)
        if self.config.keys == "between":
            grid = self._grid(pair, n)
            return np.setdiff1d(np.arange(grid[0], grid[-1]) if len(grid) else grid, grid)
        if self.config.keys == "all" and boxed.any():
            first, last = np.flatnonzero(boxed)[[0, -1]]
            keys = np.arange(first, last + 1)
        else:
            keys = np.flatnonzero(boxed & (track.visibility > 0).any(1))
        return keys if self.config.interval is None else np.setdiff1d(keys, self._grid(pair, n))

    def _box(self, pair: int, n: int, key: int) -> Float[np.ndarray, "4"]:
        """The person's box in the key frame, between labelled frames on the line between theirs.
        # unstated; ours
        """
        if (pair, n) not in self._boxes:  # once a track: a window of a long video costs no more
            track = self.pairs[pair][0].tracks[n]
            between = self.config.keys == "between"
            boxed = self._grid(pair, n) if between else np.flatnonzero(_boxed(track))
            sides = [side.astype(float) for side in track.boxes_xyxy[boxed].T]
            self._boxes[pair, n] = boxed.astype(float), sides
        frames, sides = self._boxes[pair, n]
        return np.array([np.interp(key, frames, side) for side in sides])

    def _frames(self, pair: int):
        """The pair's pixels, opened; the source that waited longest is closed."""
        with self._lock:
            frames = self._open.pop(pair, None)
            if frames is None:
                clip, frames = self.pairs[pair]
                if isinstance(frames, str | Path):
                    frames = open_frames(clip, frames)
            self._open[pair] = frames
            old = self._open.popitem(last=False)[1] if len(self._open) > self.open_clips else None
        if isinstance(old, Frames):
            old.close()
        return frames

    def sample(self, index: int, rng: np.random.Generator | None = None) -> Window:
        """Window `index`, augmented if a generator is given: the same state of it gives the same
        window.

        Errors: what reading its frames raises (`BadFile`, `MissingFile`, ...), with the window's id
        as the record.
        """
        pair, n, _ = self.items[index].tolist()
        track, numbers = self.pairs[pair][0].tracks[n], self.frames_of(index)
        affine = self._affine(index, rng)
        try:
            crops = self._crops(pair, numbers, affine)
        except WorkbenchError as error:
            record = ", ".join(filter(None, (self.id(index), error.record)))
            raise type(error)(
                error.problem, file=error.file, record=record, remedy=error.remedy
            ) from error
        xy = geometry.apply(affine, track.xy_frame[numbers])
        visibility = track.visibility[numbers]
        if np.linalg.det(affine[:, :2]) < 0:  # a mirrored picture
            xy = xy[:, self.skeleton.flip_index]
            visibility = visibility[:, self.skeleton.flip_index]
        inside = ((xy >= -0.5) & (xy <= np.array(self.config.size) - 0.5)).all(-1)
        return Window(
            crops=crops,
            xy_crop=np.where((visibility > 0)[..., None], xy, 0).astype(np.float32),
            visibility=visibility * inside,
            affine=affine,
            frames=numbers,
        )

    def _affine(self, index: int, rng: np.random.Generator | None) -> Float[np.ndarray, "2 3"]:
        """xy_frame -> xy_crop of a window, augmented if a generator is given."""
        config, augment = self.config, self.config.augment
        pair, n, key = self.items[index].tolist()
        box, padding = self._box(pair, n, key), config.padding
        angle, mirror = 0.0, False
        if rng is not None:
            track = self.pairs[pair][0].tracks[n]
            labelled = track.visibility[key] > 0
            half = _half_body(track.xy_frame[key], labelled, self.skeleton, augment, rng)
            if half is not None:
                box, padding = half, augment.half_body_padding
            padding *= rng.uniform(*augment.scale)
            angle = np.deg2rad(rng.uniform(-augment.rotation_degrees, augment.rotation_degrees))
            mirror = bool(rng.random() < augment.flip)
        box = geometry.enlarge(box, padding, config.size[0] / config.size[1])
        return geometry.frame_to_crop(box, config.size, config.alignment, float(angle), mirror)

    def _crops(
        self, pair: int, numbers: Int[np.ndarray, "t"], affine: Float[np.ndarray, "2 3"]
    ) -> UInt8[np.ndarray, "t h w 3"]:
        """The frames of these numbers, cut."""
        frames = self._frames(pair)
        if numbers.max() >= len(frames):
            raise BadRecord(f"frame {numbers.max()} of {len(frames)} frames")
        unique, places = np.unique(numbers, return_inverse=True)
        crops = [cv2.warpAffine(frames[i], affine, self.config.size) for i in unique.tolist()]
        return np.stack(crops)[places]

    def batch(
        self,
        indices: Sequence[int] | Int[np.ndarray, "b"],
        rng: np.random.Generator | None = None,
        device: str | torch.device = "cpu",
    ) -> Batch:
        """Windows as tensors on the device, where pixels are normalised and targets made; augmented
        if `rng` is given.

        images [b t 3 h w] normalised RGB, xy_crop [b t k 2], visibility [b t k], weights [b t k] (1
        labelled and inside the crop), affine [b 2 3] frame to crop, frames [b t], index [b].
        Errors: as of `sample`.
        """
        if not len(indices):
            raise BadParameter("a batch of no windows")
        index = np.asarray(indices)
        generators = [None] * len(index)
        if rng is not None:
            seeds = rng.integers(2**63, size=len(index))
            generators = [np.random.default_rng(seed) for seed in seeds]
        windows = [self.sample(i, generator) for i, generator in zip(index.tolist(), generators)]

        def stacked(name: str, dtype=None) -> Tensor:
            values = np.stack([getattr(window, name) for window in windows])
            return torch.from_numpy(values).to(device, dtype)

        names = ("xy_crop", "visibility", "frames")
        batch = {name: stacked(name) for name in names}
        batch["affine"] = stacked("affine", torch.float32)
        batch["images"] = normalised(stacked("crops"))
        batch["weights"] = (batch["visibility"] > 0).to(torch.float32)
        batch["index"] = torch.tensor(index, device=device)
        return batch


def detected_windows(
    pairs: Iterable[tuple[Clip, object]],
    boxes: PersonBoxes,
    joints: str,
    config: WindowConfig | None = None,
    *,
    file: str | Path | None = None,
) -> tuple[Windows, Float[np.ndarray, "n"]]:
    """Windows in the boxes that a detector found, and their scores; what is in them is not known.

    Boxes name pictures by id or file name; they count where somebody is labelled, in a clip without
    people in all frames. `BadRecord` where no box belongs to such a picture, with the file that the
    boxes are from.
    """
    of_picture: dict[str, list[int]] = {}
    for row, name in enumerate(boxes.images):
        of_picture.setdefault(name, []).append(row)
    shape = (len(boxes), len(skeleton(joints)))
    nobody = Pose(joints, np.zeros((*shape, 2)), np.zeros(shape), boxes.boxes_xyxy)
    found, lines_of = [], []
    for clip, frames in pairs:
        lines = _lines_of_boxes(clip, of_picture)
        lines_of.append(lines)
        n_frames = clip.video.n_frames
        tracks = [track_of(nobody, n, line, n_frames) for n, line in enumerate(lines)]
        found.append((replace(clip, tracks=tracks), frames))
    windows = Windows(found, replace(config or WindowConfig(), keys="all"))
    rows = [lines_of[pair][n].get(key, -1) for pair, n, key in windows.items.tolist()]
    rows = np.array(rows, int)
    if not (rows >= 0).any():
        raise BadRecord(
            f"none of {len(boxes)} boxes belongs to a picture of these annotations",
            file=file,
            remedy="image_id must be the picture's id or its file name",
        )
    return windows.select(rows >= 0), boxes.scores[rows[rows >= 0]]


def _lines_of_boxes(clip: Clip, of_picture: Mapping[str, Sequence[int]]) -> list[dict[int, int]]:
    """Rows of the boxes by frame of a clip; the n-th boxes of all frames stand in one line, but are
    nobody's.
    """
    everywhere = [np.ones(clip.video.n_frames, bool)]
    counts = np.any([track.labelled for track in clip.tracks] or everywhere, 0)
    lines: list[dict[int, int]] = []
    for frame in np.flatnonzero(counts[: len(clip.pictures)]).tolist():
        picture = clip.pictures[frame]
        names = dict.fromkeys((picture.id, picture.name))
        rows = [row for name in names for row in of_picture.get(name, ())]
        lines += [{} for _ in rows[len(lines) :]]
        for line, row in zip(lines, rows):
            line[frame] = row
    return lines


def normalised(pixels: UInt8[Tensor, "*b h w 3"]) -> Float[Tensor, "*b 3 h w"]:
    """RGB pixels as backbones take them, on whatever device they lie."""
    shift, scale = (torch.tensor(v, device=pixels.device)[:, None, None] * 255 for v in (MEAN, STD))
    planes = pixels.movedim(-1, -3)
    # one copy that converts and lays the channels apart: three times as fast as arithmetic on the
    # interleaved ones
    return torch.empty(planes.shape, device=pixels.device).copy_(planes).sub_(shift).div_(scale)


def prefetched(make: Callable[[int], Batch], steps: Iterable[int], workers: int) -> Iterator[Batch]:
    """make(step) for each step, in order, made by that many threads at most two batches a thread
    ahead; 0: here and now.

    Decoding, warping and tensors let other threads run, so threads do; a process each would hold
    its own open files.
    """
    if workers < 1:
        yield from map(make, steps)
        return
    waiting = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for step in steps:
            waiting.append(pool.submit(make, step))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def loader(
    windows: Windows,
    batch_size: int,
    *,
    seed: int | Sequence[int] = 0,
    workers: int = 0,
    shuffle: bool = True,
    augment: bool = True,
    device: str | torch.device = "cpu",
) -> Iterator[Batch]:
    """Every window once, in batches (the last may be smaller): the same for a seed whatever the
    number of workers.

    For another epoch give another seed, such as (seed, epoch). An evaluation sets shuffle and
    augment to False.
    """
    order = np.arange(len(windows))
    if shuffle:
        order = np.random.default_rng(seed).permutation(len(windows))
    entropy = np.atleast_1d(np.asarray(seed, np.int64)).tolist()

    def make(step: int) -> Batch:
        rng = np.random.default_rng([*entropy, step, 1]) if augment else None
        return windows.batch(order[step * batch_size : (step + 1) * batch_size], rng, device)

    return prefetched(make, range(-(-len(windows) // batch_size)), workers)
