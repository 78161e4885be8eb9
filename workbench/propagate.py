"""Labels carried from the labelled frames of a video to all frames between them: on a line, by
optical flow, by STDPose.

Every way answers for `Windows` with keys "between" labels, so that all see the same frames, labels
and boxes.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from tqdm.auto import tqdm

from .data.frames import Frames
from .data.windows import Windows
from .errors import BadParameter, BadRecord
from .predict import Propagator, poses_between, windows_between
from .records import Clip, Detections, Prediction, Track
from .skeletons import skeleton, titled

FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
FLOW_SIDE = 640  # px of a frame's longer side; ours
FLOWS_KEPT = 64  # ours
KEPT_BYTES = 2**28  # of decoded frames: 43 in full HD; ours
# xy_frame, and how far the labels say so: 0, 0.5 or 1
Places = tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, "k"]]

# --- ways without a network -----------------------------------------------------------------------


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
    sides = np.einsum("sk,skc->kc", weights, np.stack([left, right]))
    mixed = sides / np.maximum(total, 1e-9)[:, None]
    return np.where(total[:, None] > 0, mixed, middle), (labelled[0] + labelled[1]) / 2


def _each(windows: Windows, guess: Callable, source: str) -> Detections:
    """guess(pair, number of the track, left, key, right) -> the pose as the left label says it,
    and as the right one does.
    """
    places = []
    for index, (box, (pair, n, key)) in enumerate(zip(windows.boxes(), windows.items.tolist())):
        track = windows.pairs[pair][0].tracks[n]
        left, _, right = windows.frames_of(index).tolist()
        labelled = [(track.visibility[t] > 0).astype(float) for t in (left, right)]
        guesses = guess(pair, n, left, key, right)
        share = (key - left) / (right - left)
        places.append(joined(*guesses, share, labelled, box.reshape(2, 2).mean(0)))
    xy, confidence = zip(*places) if places else ((), ())
    return poses_between(windows, xy, confidence, source)


def linear(windows: Windows, *, progress: bool = True) -> Detections:
    """Every joint on the straight line between its labels: what annotation programs do."""

    def guess(pair, n, left, key, right):
        xy_frame = windows.pairs[pair][0].tracks[n].xy_frame
        return xy_frame[left], xy_frame[right]

    return _each(windows, guess, "linear")


class _Flow:
    """Dense optical flow between neighbouring frames, which are looked at with at most `FLOW_SIDE`
    px; the last ones are kept.
    """

    def __init__(self, windows: Windows, kept: int):
        self.windows = windows
        self.grey = lru_cache(kept)(self._grey)
        self.between = lru_cache(kept)(self._between)

    def _grey(self, pair: int, t: int) -> tuple[UInt8[np.ndarray, "h w"], float]:
        picture = cv2.cvtColor(self.windows.frame(pair, t), cv2.COLOR_RGB2GRAY)
        scale = min(1.0, FLOW_SIDE / max(picture.shape))
        return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale

    def _between(self, pair: int, one: int, other: int) -> Float[np.ndarray, "h w 2"]:
        (a, scale), (b, other_scale) = self.grey(pair, one), self.grey(pair, other)
        if (a.shape, scale) != (b.shape, other_scale):
            raise BadRecord(
                f"frames {one} and {other} differ in size",
                file=self.windows.pairs[pair][0].video.source,
                remedy="scale the pictures alike, or choose another method",
            )
        return cv2.calcOpticalFlowFarneback(a, b, None, **FARNEBACK)

    def path(
        self, pair: int, xy: Float[np.ndarray, "p k 2"], start: int, end: int
    ) -> Iterator[tuple[int, Float[np.ndarray, "p k 2"]]]:
        """Frame by frame where points of the first one are, xy_frame px."""
        step = 1 if end > start else -1
        for t in range(start, end, step):
            scale = self.grey(pair, t)[1]
            at = (xy + 0.5) * scale - 0.5
            flow = self.between(pair, t, t + step)
            moved = cv2.remap(flow, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            xy = xy + moved / scale
            yield t + step, xy


def farneback(
    windows: Windows, *, progress: bool = True, flows_kept: int = FLOWS_KEPT
) -> Detections:
    """Labels carried forward and backward by dense optical flow (Farnebäck 2003, OpenCV), frame by
    frame, and joined by distance. Frames are looked at with at most `FLOW_SIDE` px.
    """
    people = defaultdict(dict)  # all of a gap go together: its flows are computed once
    for i, (pair, n, _) in enumerate(windows.items.tolist()):
        left, _, right = windows.frames_of(i).tolist()
        people[pair, left, right][n] = windows.pairs[pair][0].tracks[n].xy_frame
    flow, carried = _Flow(windows, flows_kept), {}
    bar = tqdm(sorted(people), desc="flow", unit="gap", disable=not progress, leave=False)
    for pair, left, right in bar:
        tracks = people[pair, left, right]
        for start, end in ((left, right), (right, left)):
            labels = np.stack([xy[start] for xy in tracks.values()])
            for t, xy in flow.path(pair, labels, start, end):
                carried |= {(pair, n, start, t): joints for n, joints in zip(tracks, xy)}

    def guess(pair, n, left, key, right):
        return carried[pair, n, left, key], carried[pair, n, right, key]

    return _each(windows, guess, "farneback")


WAYS = {"linear": linear, "farneback": farneback}

# --- carrying -------------------------------------------------------------------------------------


class KeptFrames:
    """A video's frames, decoded once and in order as far as `kept_bytes` reach: windows in the
    order of their key frames look ahead to the next label and come back.
    """

    def __init__(self, frames: Frames, kept_bytes: int = KEPT_BYTES):
        self.frames, self.next = frames, 0
        self.held: OrderedDict[int, np.ndarray] = OrderedDict()
        size = 3 * (frames.video.width or 1) * (frames.video.height or 1)
        self.room = max(kept_bytes // size, 2)

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


def gaps(track: Track) -> list[tuple[int, int]]:
    """Labelled frames with frames between them to fill. A label without joints says that the person
    is absent: nothing is carried over it.
    """
    seen = (track.visibility > 0).any(1)
    boxed = (track.boxes_xyxy[:, 2:] > track.boxes_xyxy[:, :2]).all(1)
    at = np.flatnonzero(track.labelled & (boxed | ~seen)).tolist()
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


def _to_fill(clip: Clip, windows: Windows, max_gap: int | None) -> np.ndarray:
    """The windows whose frames lie in gaps that are to be filled, frame by frame."""
    inside = np.zeros((len(clip.tracks), clip.video.n_frames), bool)
    for n, track in enumerate(clip.tracks):
        for left, right in gaps(track):
            inside[n, left + 1 : right] = max_gap is None or right - left - 1 <= max_gap
    _, tracks, keys = windows.items.T
    rows = np.flatnonzero(inside[tracks, keys])
    if not len(rows):
        remedy = "label a person in two frames or more, with frames between them"
        if max_gap is not None:
            remedy += f", at most {max_gap}, or allow longer gaps (--max-gap)"
        file = clip.name or clip.video.source
        raise BadRecord("there is nothing between labels", file=file, remedy=remedy)
    return rows[np.argsort(keys[rows], kind="stable")]


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
    by name; the others stay on the line, with half their confidence. frames: of the clip, as for
    `Windows`. max_gap: at most so many frames between two labels are filled. Errors: `BadRecord`
    where there is nothing to fill, `BadParameter` for a network that knows none of the joints.
    """
    frames = KeptFrames(frames) if isinstance(frames, Frames) else frames
    windows = windows_between([(clip, frames)])
    rows = _to_fill(clip, windows, max_gap)
    windows = windows.select(rows)
    if not isinstance(way, Propagator):
        return WAYS[way](windows, progress=progress)
    if len(unknown_joints(windows.skeleton.name, way)) == len(windows.skeleton):
        raise BadParameter(
            f"{way.name} knows none of {titled(windows.skeleton.name)}",
            remedy="choose --method farneback, which carries any joints",
        )
    known = replace(clip, tracks=[renamed(track, way.skeleton.name) for track in clip.tracks])
    found = way.carry(way.windows([(known, frames)]).select(rows), progress=progress)
    line = linear(windows)
    # what the network does not know is worth less
    xy, confidence = line.xy_frame.copy(), line.confidence / 2
    for j, name in enumerate(windows.skeleton.joints):
        if name in way.skeleton.joints:
            at = way.skeleton.index(name)
            xy[:, j], confidence[:, j] = found.xy_frame[:, at], found.confidence[:, at].clip(0, 1)
    return replace(line, xy_frame=xy, confidence=confidence, source=way.name)


def all_poses(clip: Clip, found: Detections) -> Prediction:
    """Labels and what was carried, for pictures; joints that were carried count as replaced."""
    at = [(track, t) for track in clip.tracks for t in np.flatnonzero(track.visibility.any(1))]
    labels = {
        "xy_frame": [track.xy_frame[t] for track, t in at],
        "confidence": [track.visibility[t] > 0 for track, t in at],
        "boxes_xyxy": [track.boxes_xyxy[t] for track, t in at],
        "frames": [t for _, t in at],
        "tracks": [track.track_id for track, _ in at],
    }
    both = {name: [*rows, *getattr(found, name)] for name, rows in labels.items()}
    poses = Detections(found.skeleton, **both)
    carried = np.arange(len(poses)) >= len(at)
    replaced = np.broadcast_to(carried[:, None], poses.confidence.shape)
    return Prediction(
        found.skeleton, poses.xy_frame, poses.confidence, replaced, found.source, poses
    )
