"""HANet, track by track: windows over a sequence, whole or while it arrives."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..attribution import Attribution
from ..errors import BadParameter, BadRecord
from ..models.hanet import HANet
from ..records import Detections, Prediction
from ..skeletons import skeleton
from .base import Predictor
from .poses import place_missing

# Joints of jhmdb15 that coco17 lacks, as means of such as it has (a name twice counts twice). They
# were fitted to made bodies, from whose motion the shipped weights learned: off by 0.2 to 0.7 px
# (rms) of people of 150 px. On 80 made sequences the twelve shared joints are then off by 3.16 px
# for 3.18 px with the detector's own neck, belly and head (9.73 px before; 95 % of the paired
# difference -0.04 to 0.00), on 30 of motion capture by 4.68 for 4.70 px (9.04). What people label
# as a belly may lie elsewhere; that was not measured.
_SHOULDERS, _HIPS, _EARS = (f"left_{part} right_{part}" for part in ("shoulder", "hip", "ear"))
STAND_INS = {
    ("jhmdb15", "coco17"): {
        "neck": f"{_SHOULDERS} {_EARS}",
        "belly": f"{_SHOULDERS} {_HIPS} {_HIPS}",
        "head": _EARS,
    }
}


def stand_ins(known: str, joints: str) -> dict[str, str]:
    """What stands for the joints of skeleton `known` that poses of `joints` lack."""
    return STAND_INS.get((known, skeleton(joints).name), {})


def weights_joints(joints: str) -> str:
    """The skeleton of the shipped weights that refine poses of these joints."""
    return next((known for known, _ in STAND_INS if stand_ins(known, joints)), joints)


class SequenceRefiner(Predictor):
    """HANet with what it needs around it: windows, their frame, overlaps averaged, and the
    caller's units on both sides.

    window: frames. joints: those of `refine_tracks`; sequences may hold anything.
    """

    def __init__(self, model: HANet, window: int, name: str = "hanet", joints: str = "jhmdb15"):
        super().__init__(model, name, joints)
        self.window = window

    @classmethod
    def from_card(cls, model: HANet, card: Mapping, name: str) -> Predictor:
        return cls(model, card["window"], name, card.get("skeleton", "jhmdb15"))

    def means_of(self, detections: Detections) -> Float[np.ndarray, "m k"]:
        """How the joints that the model knows are means of those of poses: each has a row of
        weights that sum to 1. `BadParameter` for poses from which they cannot be had.
        """
        own = skeleton(detections.skeleton)
        made = stand_ins(self.skeleton.name, own.name)
        if not made and own is not self.skeleton:
            lacking = [joint for joint in self.skeleton.joints if joint not in own.joints]
            others = [theirs for known, theirs in STAND_INS if known == self.skeleton.name]
            raise BadParameter(
                f"detections are {own.name}, the model knows {self.skeleton.name}"
                + (f": they have no {', '.join(lacking)}" if lacking else ""),
                file=detections.source or None,
                remedy=f"load weights trained for {own.name}, or give results of "
                f"{' or '.join([self.skeleton.name, *others])}",
            )
        means = np.zeros((len(self.skeleton), len(own)))
        for row, joint in zip(means, self.skeleton.joints):
            sources = made.get(joint, joint).split()
            for source in sources:
                row[own.index(source)] += 1 / len(sources)
        return means

    @staticmethod
    def size(xy: Float[np.ndarray, "n t k d"]) -> Float[np.ndarray, "n 1 1 1"]:
        """Median longest side of the poses of each window, never 0."""
        by_joint = np.ascontiguousarray(np.moveaxis(xy, 2, 0))  # several times as fast
        sides = (by_joint.max(0) - by_joint.min(0)).max(-1)
        return np.maximum(np.median(sides, axis=1)[:, None, None, None], 1e-3)

    @staticmethod
    def frame(
        xy: Float[np.ndarray, "n t k d"],
    ) -> tuple[Float[np.ndarray, "n 1 1 d"], Float[np.ndarray, "n 1 1 1"]]:
        """Median place and `size` of the poses of each window; misses cannot move them.
        # unstated; ours
        """
        return np.median(xy, axis=(1, 2), keepdims=True), SequenceRefiner.size(xy)

    def _placed(
        self, xy: Float[np.ndarray, "t k d"], numbers: Int[np.ndarray, "n w"]
    ) -> tuple[dict[str, Tensor], Float[np.ndarray, "n 1 1 d"], Float[np.ndarray, "n 1 1 1"]]:
        """What the model reads of windows with these frames, on the CPU, and their `frame`. Behind
        the sequence's end its last pose stands.
        """
        frames, k, d = xy.shape
        if k * d != self.model.config.channels:
            raise BadParameter(
                f"poses of {k} x {d} numbers, the model knows {self.model.config.channels}"
            )
        windows = xy[np.minimum(numbers, frames - 1)]
        centre, size = self.frame(windows[:, :frames])
        flat = ((windows - centre) / size).reshape(*numbers.shape, k * d)
        inputs = {"xy": torch.tensor(flat, dtype=torch.float32)}
        if frames < self.window:  # masks cost, so they are there for shorter sequences alone
            inputs["valid"] = torch.tensor(numbers < frames)
        return inputs, centre, size

    def inputs(self, xy: Float[np.ndarray, "t k d"]) -> dict[str, Tensor]:
        """What the model reads of a sequence as long as the window or shorter, for `attribute`:
        "xy" [1 window c], in the sequence's own `frame`, and "valid" where it is shorter.
        """
        if not 0 < len(xy) <= self.window:
            raise BadParameter(f"{len(xy)} poses", remedy=f"1 to {self.window}: one window")
        return self._placed(xy, np.arange(self.window)[None])[0]

    def value_of(
        self,
        found: Mapping[str, Tensor],
        own: Mapping[str, Tensor],
        joint: int,
        axis: str,
        frame: int | None = None,
    ) -> Float[Tensor, "m"]:
        """As of `Predictor`, in one frame of the window, None: the middle one."""
        xy = found["xy"].unflatten(-1, (-1, self.model.config.coordinates))
        frame = self.window // 2 if frame is None else frame
        if not 0 <= frame < xy.shape[1]:
            raise BadParameter(f"frame {frame}", remedy=f"0 to {xy.shape[1] - 1}")
        return xy[:, frame, joint, "xy".index(axis)]

    def attribute(self, inputs: Mapping[str, Tensor], *args, **options) -> Attribution:
        """As of `Predictor`; frame: of the answer, None: the middle one. To "xy" its axes are
        frame, joint and xy.
        """
        found = super().attribute(inputs, *args, **options)
        if found.to != "xy":
            return found
        values = found.values.reshape(len(found.values), -1, self.model.config.coordinates)
        return replace(found, values=values, axes=("frame", "joint", "xy"))

    def refine(
        self, xy: Float[np.ndarray, "t k d"], *, stride: int | None = None
    ) -> Float[np.ndarray, "t k d"]:
        """The sequence after HANet. Windows begin every `stride` frames (an eighth of a window by
        default) and at the end, and overlaps are averaged; a sequence shorter than the window
        stands still behind its end, and that is cut off.
        """
        t, (frames, k, d) = self.window, xy.shape
        last = max(frames - t, 0)
        starts = np.unique([*range(0, last, stride or max(t // 8, 1)), last])
        numbers = starts[:, None] + np.arange(t)
        inputs, centre, size = self._placed(xy, numbers)
        valid = inputs["valid"].to(self.device) if "valid" in inputs else None
        parts = []
        with self.inference():
            for x in inputs["xy"].split(64):
                parts.append(self.model(x.to(self.device), valid)["xy"].cpu())
        refined = torch.cat(parts).double().numpy().reshape(*numbers.shape, k, d) * size + centre
        total = np.zeros((max(frames, t), k, d))
        np.add.at(total, numbers, refined)
        count = np.bincount(numbers.ravel(), minlength=len(total))
        return (total / count[:, None, None])[:frames]

    one_pass = refine

    def stream(self, delay: int = 8, *, stride: int = 1) -> SequenceStream:
        """A live sequence, pose by pose: each comes out refined `delay` frames after it went in."""
        return SequenceStream(self, delay, stride)


class SequenceStream:
    """A sequence refined while it arrives, one person's, with a constant delay and bounded memory.

    As soon as a pose is due, and then at every `stride`-th frame, the model reads the newest
    window, or all poses there are while these are fewer, in the frame of those poses. A pose leaves
    `delay` frames after it came, as the mean over all readings of it. So a delay of window - 1
    gives what `refine(xy, stride=1)` gives; shorter ones see less of the future. Errors:
    `BadParameter` for a delay outside 0..window - 1, or a stride beyond delay + 1, where poses
    would go unread.
    """

    def __init__(self, refiner: SequenceRefiner, delay: int, stride: int = 1):
        if not 0 <= delay < refiner.window or not 1 <= stride <= delay + 1:
            raise BadParameter(
                f"delay {delay}, stride {stride}, window {refiner.window}",
                remedy=f"a delay of 0 to {refiner.window - 1} frames, a stride of 1 to delay + 1",
            )
        self.refiner = refiner
        self.delay = delay
        self.stride = stride
        self._reset()

    def _reset(self) -> None:
        self._poses: deque = deque(maxlen=self.refiner.window)
        self._inside: deque = deque()  # the readings of every pose that has not left yet
        self._wait = 0  # frames until the next reading

    def push(self, xy: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "n k d"]:
        """Takes one pose, gives the one that came `delay` frames ago; none before there is one."""
        self._poses.append(np.array(xy))
        self._inside.append([])
        if len(self._inside) <= self.delay:
            return self._leave(0)
        if self._wait == 0:
            self._read()
            self._wait = self.stride
        self._wait -= 1
        return self._leave(1)

    def close(self) -> Float[np.ndarray, "n k d"]:
        """The poses that are still inside, at most `delay` of them; what is pushed afterwards is
        another sequence.
        """
        if self._inside and not self._inside[-1]:
            self._read()
        rest = self._leave(len(self._inside))
        self._reset()
        return rest

    def _read(self) -> None:
        refined = self.refiner.refine(np.stack(self._poses))
        for readings, xy in zip(self._inside, refined[-len(self._inside) :]):
            readings.append(xy)

    def _leave(self, n: int) -> Float[np.ndarray, "n k d"]:
        config = self.refiner.model.config
        poses = [np.mean(self._inside.popleft(), axis=0) for _ in range(n)]
        return np.reshape(poses, (n, config.channels // config.coordinates, config.coordinates))


def _sequences_of(detections: Detections, used: np.ndarray, longest_gap: int) -> list[np.ndarray]:
    """Rows of one person after another in the order of frames, cut at longer gaps (frames).

    `BadRecord` for two poses of one person in one frame.
    """
    rows = np.flatnonzero(used)
    rows = rows[np.lexsort((detections.frames[rows], detections.tracks[rows]))]
    tracks, frames = detections.tracks[rows], detections.frames[rows]
    same, steps = np.diff(tracks) == 0, np.diff(frames)
    twice = np.flatnonzero(same & (steps == 0))
    if len(twice):
        raise BadRecord(
            f"two poses of track {tracks[twice[0]]}",
            file=detections.source or None,
            record=f"frame {frames[twice[0]]}",
            remedy="one pose a person and frame; without tracks, `data.tracks.link` makes them",
        )
    cuts = np.flatnonzero(~same | (steps > longest_gap)) + 1
    return np.split(rows, cuts) if len(rows) else []


class Stretch(NamedTuple):
    """A person's poses that are one sequence."""

    rows: Int[np.ndarray, "m"]  # of the detections
    at: Int[np.ndarray, "m"]  # their frames, from the first one's
    xy: Float[np.ndarray, "t k 2"]  # what the model reads, in its own joints, px


def stretches(refiner: SequenceRefiner, detections: Detections) -> Iterator[Stretch]:
    """What HANet reads of a video's people, each track a sequence.

    Missing joints start where `place_missing` puts them, and joints that the model knows and
    the poses lack are made of others (`STAND_INS`). Frames without a pose of at least three known
    joints are gaps, which straight lines fill; a gap as long as the window begins another sequence.
    # unstated; ours
    """
    means = refiner.means_of(detections)
    if detections.frames is None or detections.tracks is None:
        raise BadParameter(
            "detections without frames and tracks are no sequences",
            file=detections.source or None,
            remedy="state both, or link frames with `data.tracks.link`",
        )
    placed = means @ place_missing(detections).xy_frame.astype(float)
    used = (detections.confidence > 0).sum(1) >= 3
    for rows in _sequences_of(detections, used, refiner.window):
        at = detections.frames[rows] - detections.frames[rows[0]]
        line = partial(np.interp, np.arange(at[-1] + 1), at)
        yield Stretch(rows, at, np.apply_along_axis(line, 0, placed[rows]))


def refine_tracks(refiner: SequenceRefiner, detections: Detections) -> Prediction:
    """A video's people refined, each of their `stretches`. Every joint of a refined pose that the
    model knows counts as replaced: all may move. Others stay (of coco17 the face), and so do poses
    of fewer than three known joints; nothing is made up for frames without a pose.
    """
    own = skeleton(detections.skeleton).joints
    shared = [joint for joint in refiner.skeleton.joints if joint in own]
    theirs = [refiner.skeleton.index(joint) for joint in shared]
    ours = [own.index(joint) for joint in shared]
    xy = detections.xy_frame.astype(float)
    replaced = np.zeros(detections.confidence.shape, bool)
    for rows, at, read in stretches(refiner, detections):
        xy[rows[:, None], ours] = refiner.refine(read)[at][:, theirs]
        replaced[rows[:, None], ours] = True
    return Prediction(
        detections.skeleton, xy, detections.confidence, replaced, refiner.name, detections
    )
