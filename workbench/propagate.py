"""Labels carried from the labelled frames of a video to all frames between them: on a line, by
optical flow, by STDPose.

Every way answers for `Windows` with keys "between" labels, so that all see the same frames, labels
and boxes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from tqdm.auto import tqdm

from .data.frames import Frames
from .data.windows import Windows
from .errors import BadRecord
from .predict import Propagator, poses_between, windows_between
from .records import Clip, Detections, Prediction, Track
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
