"""Detections in, `Prediction` out: the one straight line from px to px."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from . import checkpoint, geometry
from .data.checks import numbers_of
from .data.safe import read_npy
from .data.windows import WindowConfig, Windows, loader, normalised
from .errors import BadParameter, BadRecord, CheckpointMismatch, MissingFile
from .models import build
from .models.hanet import HANet, HANetConfig
from .models.otpose import OTPose, OTPoseConfig
from .models.port import Port, PortConfig, occluded_joints, replace_occluded
from .models.stdpose import STDPose, STDPoseConfig
from .models.vissimcc import VisSimCC, VisSimCCConfig
from .records import Detections, Prediction
from .skeletons import Skeleton, skeleton
from .taps import Recording, record


def pose_weights(
    mask: Bool[np.ndarray, "n k"], confidence: Float[np.ndarray, "n k"], frame: str
) -> Float[np.ndarray, "n k"]:
    """How much each joint counts in the frame of its pose.

    PORT does not say how it normalises.  # unstated; ours
    "visible": joints that are not masked, so that a hidden joint cannot move the frame; all where
    fewer than 3 are left. "confidence": the square of the confidence, masked or not.
    """
    if frame == "confidence":
        return np.square(confidence) + 1e-6
    seen = ~mask
    return np.where(seen.sum(1, keepdims=True) >= 3, seen, True).astype(np.float32)


def pose_frame(
    xy: Float[np.ndarray, "n k 2"], weights: Float[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, "n 1 2"], Float[np.ndarray, "n 1 1"]]:
    """Weighted centre of each pose, and its size: root mean square distance from it, never 0."""
    w = (weights / weights.sum(1, keepdims=True))[..., None]
    centre = (xy * w).sum(1, keepdims=True)
    size = np.sqrt((np.square(xy - centre) * w).sum((1, 2), keepdims=True))
    return centre, np.maximum(size, 1e-3)


@dataclass(frozen=True)
class RefineRule:
    """Which joints PORT replaces and how far it moves them; every number comes from training
    statistics.

    delta: confidence threshold a joint (PORT Eq. 13; the paper has one for all). blend: share of
    the reconstruction in the replaced joint; 1 is PORT Eq. 14. mirror: average over the pose and
    its mirror image. source: where the numbers come from.
    """

    delta: tuple[float, ...]
    blend: float = 1.0
    mirror: bool = False
    source: str = ""


def _check_skeleton(detections: Detections, known: Skeleton) -> None:
    if skeleton(detections.skeleton) is not known:
        raise BadParameter(
            f"detections are {detections.skeleton}, the model knows {known.name}",
            file=detections.source or None,
            remedy=f"load weights trained for {detections.skeleton}",
        )


class PortRefiner:
    """PORT with what it needs around it: normalisation, the rule for delta, and px on both
    sides.
    """

    def __init__(self, model: Port, rule: RefineRule, name: str = "port"):
        self.model, self.rule, self.name = model.eval(), rule, name
        self.skeleton: Skeleton = skeleton(model.config.skeleton)
        if len(rule.delta) != len(self.skeleton):
            raise BadParameter(
                f"the rule has {len(rule.delta)} deltas, {self.skeleton.name} has "
                f"{len(self.skeleton)} joints"
            )

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def to(self, device: str | torch.device) -> PortRefiner:
        self.model.to(device)
        return self

    def mask(self, detections: Detections, delta: float | None = None) -> Bool[np.ndarray, "n k"]:
        """Joints below delta (PORT Eq. 13), the rule's own when none is given."""
        limit = np.array(
            self.rule.delta if delta is None else [delta] * len(self.skeleton), np.float32
        )
        if not np.isfinite(limit).all():
            raise BadParameter(
                f"delta is {delta}", remedy="give a finite number, usually between 0 and 1"
            )
        return occluded_joints(torch.tensor(detections.confidence), torch.tensor(limit)).numpy()

    def _inputs(
        self, detections: Detections, mask: np.ndarray
    ) -> tuple[dict[str, Tensor], Float[np.ndarray, "n 1 2"], Float[np.ndarray, "n 1 1"]]:
        weights = pose_weights(mask, detections.confidence, self.model.config.frame)
        centre, size = pose_frame(detections.xy_frame, weights)
        # what a detector did not find at all has no coordinates worth reading: it starts at the
        # pose's centre
        xy = np.where(detections.confidence[..., None] > 0, detections.xy_frame, centre)
        arrays = {"xy": (xy - centre) / size, "mask": mask, "confidence": detections.confidence}
        return {k: torch.tensor(v, device=self.device) for k, v in arrays.items()}, centre, size

    def reconstruct(
        self, detections: Detections, mask: Bool[np.ndarray, "n k"], batch: int = 128
    ) -> Float[np.ndarray, "n k 2"]:
        """What PORT makes of every joint, px, hidden or not."""
        _check_skeleton(detections, self.skeleton)
        if mask.shape != detections.confidence.shape or mask.dtype != bool:
            raise BadParameter(
                f"the mask is {mask.dtype} {mask.shape}, expected bool "
                f"{detections.confidence.shape}",
                remedy="one truth value for each joint of each row",
            )
        parts = [np.zeros((0, len(self.skeleton), 2), np.float32)]
        sign = torch.tensor([-1.0, 1.0], device=self.device)
        other = torch.tensor(self.skeleton.flip_index, device=self.device)
        for start in range(0, len(detections), batch):
            rows = slice(start, start + batch)
            inputs, centre, size = self._inputs(detections.select(rows), mask[rows])
            with torch.inference_mode():
                recon = self.model(**inputs)["xy"]
                if self.rule.mirror:
                    mirrored = {key: value[:, other] for key, value in inputs.items()}
                    mirrored["xy"] = mirrored["xy"] * sign
                    recon = (recon + self.model(**mirrored)["xy"][:, other] * sign) / 2
            parts.append(recon.float().cpu().numpy() * size + centre)
        return np.concatenate(parts).astype(np.float32)

    def refine(
        self,
        detections: Detections,
        *,
        delta: float | None = None,
        mask: Bool[np.ndarray, "n k"] | None = None,
    ) -> Prediction:
        """Replaces joints below delta, or those of an explicit mask, by their reconstruction
        (PORT Eq. 14).
        """
        _check_skeleton(detections, self.skeleton)
        mask = self.mask(detections, delta) if mask is None else mask
        recon = self.reconstruct(detections, mask)
        moved = detections.xy_frame + self.rule.blend * (recon - detections.xy_frame)
        xy = replace_occluded(
            *(torch.tensor(a) for a in (detections.xy_frame, moved, mask))
        ).numpy()
        return Prediction(
            self.skeleton.name, xy, detections.confidence, mask, self.name, detections
        )

    def look(
        self,
        detections: Detections,
        mask: Bool[np.ndarray, "n k"],
        names: Iterable[str] | None = None,
        edit: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    ) -> tuple[Float[np.ndarray, "n k 2"], Recording]:
        """One pass (without the mirror image) with the taps recorded, and edited if asked: (px,
        recording).
        """
        _check_skeleton(detections, self.skeleton)
        inputs, centre, size = self._inputs(detections, mask)
        with torch.no_grad(), record(self.model, names, edit=edit) as taps:
            recon = self.model(**inputs)["xy"].float().cpu().numpy()
        return (recon * size + centre).astype(np.float32), taps


def place_missing(detections: Detections) -> Detections:
    """Joints of confidence 0, which a file calls missing, moved to the mean of their known
    neighbours on the bones.

    A refiner looks at the place of a joint that it replaces, and files put missing joints at (0,
    0).  # unstated; ours A pose without any known joint stays as it is.
    """
    bones, known = skeleton(detections.skeleton).adjacency, detections.confidence > 0
    xy = np.where(known[..., None], detections.xy_frame, 0)
    for _ in bones:
        count = known @ bones
        new = ~known & (count > 0)
        xy = np.where(
            new[..., None],
            np.einsum("jk,nkc->njc", bones, xy) / np.maximum(count, 1)[..., None],
            xy,
        )
        known = known | new
    return replace(
        detections, xy_frame=np.where(known.any(1)[:, None, None], xy, detections.xy_frame)
    )


def refine_people(
    refiner: PortRefiner, detections: Detections, *, delta: float | None = None
) -> Prediction:
    """`refiner.refine` for results as users have them: missing joints are replaced too, from where
    `place_missing` puts them; poses of fewer than three known joints are left alone.
    `Prediction.detections` are those that were given.
    """
    known = detections.confidence > 0
    placed = place_missing(detections)
    mask = (refiner.mask(placed, delta) | ~known) & (known.sum(1) >= 3)[:, None]
    found = refiner.refine(placed, mask=mask)
    xy = np.where(mask[..., None], found.xy_frame, detections.xy_frame)
    return replace(found, xy_frame=xy, detections=detections)


class SequenceRefiner:
    """HANet with what it needs around it: windows, their frame, overlaps averaged, and the
    caller's units on both sides.
    """

    def __init__(self, model: HANet, window: int, name: str = "hanet", joints: str = "jhmdb15"):
        self.model, self.window, self.name = model.eval(), window, name
        # of `refine_tracks`; sequences may hold anything
        self.skeleton: Skeleton = skeleton(joints)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def to(self, device: str | torch.device) -> SequenceRefiner:
        self.model.to(device)
        return self

    @staticmethod
    def frame(
        xy: Float[np.ndarray, "n t k d"],
    ) -> tuple[Float[np.ndarray, "n 1 1 d"], Float[np.ndarray, "n 1 1 1"]]:
        """Median place and size (longest side) of the poses of each window; misses cannot move
        them.  # unstated; ours
        """
        size = np.median(np.ptp(xy, axis=2).max(-1), axis=1)[:, None, None, None]
        return np.median(xy, axis=(1, 2), keepdims=True), np.maximum(size, 1e-3)

    def refine(
        self, xy: Float[np.ndarray, "t k d"], *, stride: int | None = None, batch: int = 64
    ) -> Float[np.ndarray, "t k d"]:
        """The sequence after HANet. Windows begin every `stride` frames (an eighth of a window by
        default) and at the end, and overlaps are averaged; a sequence shorter than the window
        stands still behind its end, and that is cut off.
        """
        t, (_, k, d) = self.window, xy.shape
        if k * d != self.model.config.channels:
            raise BadParameter(
                f"poses of {k} x {d} numbers, the model knows {self.model.config.channels}"
            )
        longest = max(len(xy) - t, 0)
        starts = np.unique([*range(0, longest, stride or max(t // 8, 1)), longest])
        windows = xy[np.minimum(starts[:, None] + np.arange(t), len(xy) - 1)]
        valid = torch.tensor(starts[:, None] + np.arange(t) < len(xy))
        centre, size = self.frame(windows[:, : len(xy)])
        flat = torch.tensor(
            ((windows - centre) / size).reshape(len(starts), t, k * d), dtype=torch.float32
        )
        with torch.inference_mode():
            parts = [
                self.model(x.to(self.device), v.to(self.device))["xy"].cpu()
                for x, v in zip(flat.split(batch), valid.split(batch))
            ]
        refined = torch.cat(parts).double().numpy().reshape(windows.shape) * size + centre
        total, count = np.zeros((max(len(xy), t), k, d)), np.zeros(max(len(xy), t))
        for start, window in zip(starts, refined):
            total[start : start + t] += window
            count[start : start + t] += 1
        return (total / count[:, None, None])[: len(xy)]

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
        self.refiner, self.delay, self.stride = refiner, delay, stride
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

    def _leave(self, n: int) -> np.ndarray:
        config = self.refiner.model.config
        poses = [np.mean(self._inside.popleft(), axis=0) for _ in range(n)]
        return np.reshape(poses, (n, config.channels // config.coordinates, config.coordinates))


def refine_tracks(refiner: SequenceRefiner, detections: Detections) -> Prediction:
    """A video's people refined, each track as a sequence. Every joint of a refined pose counts as
    replaced: all may move.

    Missing joints start where `place_missing` puts them. Frames without a pose of at least three
    known joints are gaps: straight lines fill them for the model, and nothing is made up for them:
    a pose goes in, a pose comes out, and those of fewer joints are left alone. A gap as long as the
    window begins another sequence.  # unstated; ours
    """
    _check_skeleton(detections, refiner.skeleton)
    frames, tracks = detections.frames, detections.tracks
    if frames is None or tracks is None:
        raise BadParameter(
            "detections without frames and tracks are no sequences",
            file=detections.source or None,
            remedy="state both, or link frames with `data.tracks.link`",
        )
    placed = place_missing(detections).xy_frame.astype(float)
    xy, used = placed.copy(), (detections.confidence > 0).sum(1) >= 3
    for track in np.unique(tracks):
        rows = np.flatnonzero((tracks == track) & used)
        rows = rows[np.argsort(frames[rows], kind="stable")]
        steps = np.diff(frames[rows])
        if (steps == 0).any():
            raise BadRecord(
                f"two poses of track {track}",
                file=detections.source or None,
                record=f"frame {frames[rows[:-1][steps == 0][0]]}",
                remedy="one pose a person and frame; without tracks, `data.tracks.link` makes them",
            )
        for part in np.split(rows, np.flatnonzero(steps > refiner.window) + 1):
            if len(part):
                at = frames[part] - frames[part[0]]
                line = partial(np.interp, np.arange(at[-1] + 1), at)
                xy[part] = refiner.refine(np.apply_along_axis(line, 0, placed[part]))[at]
    xy = np.where(used[:, None, None], xy, detections.xy_frame)
    replaced = np.broadcast_to(used[:, None], detections.confidence.shape)
    return Prediction(
        detections.skeleton, xy, detections.confidence, replaced, refiner.name, detections
    )


@dataclass(frozen=True)
class Estimated:
    """n people, each in its crop."""

    xy_crop: Float[np.ndarray, "n k 2"]  # px
    confidence: Float[np.ndarray, "n k"]
    visibility: Float[np.ndarray, "n k"] | None = None  # VisNet's probability of being visible


class PoseEstimator:
    """A single-frame estimator with what it needs around it: a picture and boxes in, px of the
    picture out.

    padding: how far a box grows before it is cropped, as in training. mirror: the mean of the crop
    and its mirror image. `precision` is "fp32" or "bf16" (mixed).
    """

    precision = "fp32"
    reach = 0  # frames that it looks at before and after its own

    def __init__(
        self,
        model: VisSimCC | OTPose | STDPose,
        name: str = "vissimcc",
        padding: float = 1.25,
        mirror: bool = True,
    ):
        self.model, self.name, self.padding, self.mirror = model.eval(), name, padding, mirror
        self.skeleton: Skeleton = skeleton(model.config.skeleton)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def to(self, device: str | torch.device) -> PoseEstimator:
        self.model.to(device)
        return self

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Where its model is called: no gradients, and its precision."""
        mixed = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), mixed:
            yield

    def crops(
        self, frame: UInt8[np.ndarray, "h w 3"], boxes_xyxy: Float[np.ndarray, "n 4"]
    ) -> tuple[Float[Tensor, "n 3 y x"], Float[np.ndarray, "n 2 3"]]:
        """Normalised crops of an RGB picture, and their maps xy_frame -> xy_crop. `BadParameter`
        for a box without area.
        """
        size, alignment = self.model.config.size, self.model.config.alignment
        boxes = geometry.enlarge(
            np.asarray(boxes_xyxy, np.float64), self.padding, size[0] / size[1]
        )
        affine = geometry.frame_to_crop(boxes, size, alignment)
        pixels = [cv2.warpAffine(frame, a, size) for a in affine]
        return normalised(
            torch.from_numpy(
                np.stack(pixels) if pixels else np.zeros((0, *size[::-1], 3), np.uint8)
            )
        ), affine

    def read(
        self,
        crops: Float[Tensor, "n 3 y x"],
        *,
        visibility: Int[np.ndarray, "n k"] | None = None,
        source: str | None = None,
        batch: int = 128,
    ) -> Estimated:
        """Poses of crops. source and visibility: what the mask follows, see
        `VisibilityReasoning`; the model's own by default.
        """
        k, parts = len(self.skeleton), []
        flags = (
            None
            if visibility is None
            else torch.as_tensor(np.asarray(visibility), device=self.device)
        )
        with self.inference():
            for start in range(0, len(crops), batch):
                rows = slice(start, start + batch)
                given = None if flags is None else flags[rows]
                images = crops[rows].to(self.device).contiguous(memory_format=torch.channels_last)
                found = (self.model.flip_test if self.mirror else self.model)(
                    images, given, source=source
                )
                told = [found["visibility"]] if "visibility" in found else []
                parts.append(
                    [part.float().cpu().numpy() for part in (*self.model.decode(found), *told)]
                )
        if not parts:
            return Estimated(np.zeros((0, k, 2), np.float32), np.zeros((0, k), np.float32))
        return Estimated(*(np.concatenate(part) for part in zip(*parts)))

    def estimate(
        self,
        frame: UInt8[np.ndarray, "*t h w 3"],
        boxes_xyxy: Float[np.ndarray, "n 4"],
        *,
        image: str = "",
    ) -> Detections:
        """The pose in each box of an RGB picture, or of the middle one of 2 `reach` + 1 frames."""
        frames = frame[None] if frame.ndim == 3 else frame
        if len(frames) != 2 * self.reach + 1:
            raise BadParameter(
                f"{len(frames)} frames, {2 * self.reach + 1} expected",
                remedy="give the frames around it",
            )
        each = [self.crops(one, boxes_xyxy) for one in frames]
        found = self.read(
            torch.stack([crops for crops, _ in each], 1) if self.reach else each[0][0]
        )
        xy = geometry.apply(geometry.invert(each[0][1]), found.xy_crop.astype(np.float64))
        return Detections(
            self.skeleton.name,
            xy,
            found.confidence,
            boxes_xyxy,
            images=(image,) * len(xy),
            source=self.name,
        )

    def _batched(
        self, run: Callable[[Tensor], Mapping[str, Tensor]], crops: Tensor, batch: int
    ) -> Estimated:
        """What run(crops) gives, decoded, so many crops at a time."""
        k = len(self.skeleton)
        parts = [[np.zeros((0, k, 2), np.float32), np.zeros((0, k), np.float32)]]
        with self.inference():
            for part in crops.split(batch) if len(crops) else ():
                parts.append(
                    [value.float().cpu().numpy() for value in self.model.decode(run(part))]
                )
        return Estimated(*(np.concatenate(part) for part in zip(*parts)))


class ClipEstimator(PoseEstimator):
    """OTPose with what it needs around it: five frames and boxes of the middle one in, px of the
    middle one out.
    """

    reach = 2  # frames before and after

    def __init__(self, model: OTPose, name: str = "otpose", padding: float = 1.25):
        super().__init__(model, name, padding, mirror=False)

    def rough(self, crops: Float[Tensor, "n 5 3 y x"]) -> Float[Tensor, "n 5 k h w"]:
        """The single-frame estimator's heatmaps of every crop, on the model's device."""
        flat = crops.to(self.device).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.model.maps(flat).unflatten(0, crops.shape[:2])

    def read(self, crops: Float[Tensor, "n 5 3 y x"], *, batch: int = 16) -> Estimated:
        """Poses of the middle crops."""
        return self._batched(lambda part: self.model(heatmaps=self.rough(part)), crops, batch)

    def read_heatmaps(
        self, heatmaps: Float[np.ndarray, "n 5 k h w"] | str | Path, *, batch: int = 16
    ) -> Estimated:
        """Poses from what any single-frame estimator saw in the five crops, on the model's grid, or
        from an npy file of that.

        Errors: `BadRecord` for another shape or a value that is not finite, `BadFile` for what is
        no npy file of numbers.
        """
        (w, h), k, where = self.model.config.grid, len(self.skeleton), {}
        if not isinstance(heatmaps, np.ndarray):
            heatmaps, where = read_npy(heatmaps), {"file": Path(heatmaps)}
        maps = numbers_of(heatmaps, "heatmaps", (None, 5, k, h, w), **where).astype(np.float32)
        return self._batched(
            lambda part: self.model(heatmaps=part.to(self.device)), torch.from_numpy(maps), batch
        )


def windows_between(
    pairs, size: tuple[int, int] = (96, 128), *, interval: int = 1, **options
) -> Windows:
    """Windows of all frames between labels. interval: 1 takes labels as they come, T every T-th
    frame's; pairs, options: as of `Windows`, `WindowConfig`.
    """
    return Windows(pairs, WindowConfig(size=size, keys="between", interval=interval, **options))


def poses_between(
    windows: Windows, xy_frame: Sequence[np.ndarray], confidence: Sequence[np.ndarray], source: str
) -> Detections:
    """Poses in the order of the windows, with their frames, tracks and the boxes that were used."""
    k, tracks = (
        len(windows.skeleton),
        [windows.pairs[pair][0].tracks[n].track_id for pair, n, _ in windows.items],
    )
    return Detections(
        windows.skeleton.name,
        np.reshape(xy_frame, (-1, k, 2)),
        np.reshape(confidence, (-1, k)),
        windows.boxes(),
        images=windows.poses().images if len(windows) else (),
        frames=windows.items[:, 2],
        tracks=np.array(tracks, np.int64),
        source=source,
    )


class Propagator(PoseEstimator):
    """STDPose with what it needs around it: labelled frames on both sides in, the poses of the
    frames between them out; or with no labels, frames around one in, its poses out.
    """

    # frames before and after where nothing is labelled: the nearest to the paper's T of 7  #
    # unstated; ours
    reach = 3

    def __init__(
        self, model: STDPose, name: str = "stdpose", padding: float = 1.25, reach: int = 3
    ):
        super().__init__(model, name, padding, mirror=False)
        self.reach = reach

    def windows(self, pairs, *, interval: int = 1, **options) -> Windows:
        """`windows_between`, as the network wants them."""
        config = self.model.config
        options = {"padding": self.padding, "alignment": config.alignment} | options
        return windows_between(pairs, config.size, interval=interval, **options)

    def read(self, crops: Float[Tensor, "n t 3 y x"], *, batch: int = 32) -> Estimated:
        """Poses of the middle crops, from these and the outermost; t = 2 reach + 1."""
        distance = torch.full((1, 2), self.reach, device=self.device)

        def run(part: Tensor) -> dict[str, Tensor]:
            images = part[:, :: self.reach].to(self.device)
            return self.model(images=images, distance=distance.expand(len(images), -1))

        return self._batched(run, crops, batch)

    def carry(
        self, windows: Windows, *, given: bool = True, batch: int = 32, progress: bool = False
    ) -> Detections:
        """Poses of all windows' key frames. given: the labels at both sides are told
        (propagation), or not (estimation).
        """
        xy, told = [], []
        bar = tqdm(
            total=len(windows), desc=self.name, unit="pose", disable=not progress, leave=False
        )
        with self.inference(), bar:
            for made in loader(windows, batch, shuffle=False, augment=False, workers=1):
                found = self.model(
                    **{n: v.to(self.device) for n, v in between_inputs(made, given).items()}
                )
                xy_crop, confidence = (
                    part.float().cpu().numpy() for part in self.model.decode(found)
                )
                back = geometry.invert(made["affine"].double().numpy())
                xy.extend(geometry.apply(back, xy_crop.astype(np.float64)))
                told.extend(confidence)
                bar.update(len(xy_crop))
        return poses_between(windows, xy, told, self.name)


def between_inputs(batch: Mapping[str, Tensor], given: bool = True) -> dict[str, Tensor]:
    """What STDPose takes of a batch of windows between labels."""
    inputs = {
        "images": batch["images"],
        "distance": (batch["frames"][:, ::2] - batch["frames"][:, 1:2]).abs(),
    }
    if given:
        inputs |= {
            "auxiliary_xy_crop": batch["xy_crop"][:, ::2],
            "auxiliary_weights": batch["weights"][:, ::2],
        }
    return inputs


def _with_neighbours(frames: Iterable[np.ndarray], reach: int) -> Iterator[np.ndarray]:
    """Each frame, or with a reach each frame among its neighbours [2 reach + 1 h w 3]; the first
    and last are repeated.
    """
    if not reach:
        yield from frames
        return
    held: deque = deque(maxlen=2 * reach + 1)
    for frame in frames:
        held.extend([frame] * (1 if held else reach + 1))
        if len(held) == held.maxlen:
            yield np.stack(held)
    for _ in range(reach if held else 0):
        short = held.maxlen - len(held)  # of a video that is shorter than a window
        held.append(held[-1])
        if short <= 1:
            yield np.stack(held)


def estimate_people(
    estimator: PoseEstimator, frames: Iterable[UInt8[np.ndarray, "h w 3"]], detections: Detections
) -> Prediction:
    """A video's people estimated anew, each in the box that was detected; all joints that were
    count as replaced.

    frames: RGB, in order; the detections say in which they are. Boxes without area are left alone,
    and so are joints that the estimator does not know. Errors: `BadParameter` where it knows less
    than half of them.
    """
    ours, theirs = estimator.skeleton.joints, skeleton(detections.skeleton).joints
    shared = [name for name in theirs if name in ours]
    if 2 * len(shared) < len(theirs):
        _check_skeleton(detections, estimator.skeleton)
    if detections.frames is None:
        raise BadParameter(
            "detections without frames belong to no video", file=detections.source or None
        )
    to, own = [theirs.index(name) for name in shared], [ours.index(name) for name in shared]
    xy, confidence = detections.xy_frame.copy(), detections.confidence.copy()
    boxed = (detections.boxes_xyxy[:, 2:] > detections.boxes_xyxy[:, :2]).all(1)
    for i, frame in enumerate(_with_neighbours(frames, estimator.reach)):
        rows = np.flatnonzero((detections.frames == i) & boxed)
        if len(rows):
            found = estimator.estimate(frame, detections.boxes_xyxy[rows])
            xy[np.ix_(rows, to)], confidence[np.ix_(rows, to)] = (
                found.xy_frame[:, own],
                found.confidence[:, own],
            )
    replaced = boxed[:, None] & np.isin(np.arange(len(theirs)), to)
    return Prediction(detections.skeleton, xy, confidence, replaced, estimator.name, detections)


SHIPPED = {  # method -> skeletons with weights of their own, the usual one first
    "port": ("hand21", "coco17"),
    "hanet": ("jhmdb15",),
    "vissimcc": ("coco17",),
    "vissimcc-reasoning": ("coco17",),
    "vissimcc-baseline": ("coco17",),
    "otpose": ("posetrack15",),
    "stdpose": ("posetrack15",),
}
# joints of any set are found by name
OF_PICTURES = {name for name in SHIPPED if name not in ("port", "hanet")}


def weights_path(name: str = "port", skeleton: str | None = None) -> Path:
    """The shipped weight file of a method for a skeleton (None: the method's usual one), or the
    file that is named.
    """
    path = Path(name)
    if path.suffix == ".safetensors":
        return path
    stem = f"{name}_{skeleton or SHIPPED.get(name, ('',))[0]}_synthetic"
    return Path(__file__).with_name("checkpoints") / f"{stem}.safetensors"


def _config(kind: type, card: Mapping):
    """A model's configuration as a card holds it, where tuples have become lists."""
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in card["config"].items()})


def _port_refiner(card: Mapping, name: str) -> PortRefiner:
    rule = RefineRule(**{**card["rule"], "delta": tuple(card["rule"]["delta"])})
    return PortRefiner(build("port", _config(PortConfig, card)), rule, name)


def _hanet_refiner(card: Mapping, name: str) -> SequenceRefiner:
    model = build("hanet", _config(HANetConfig, card))
    return SequenceRefiner(model, card["window"], name, card.get("skeleton", "jhmdb15"))


def _estimator(card: Mapping, name: str) -> PoseEstimator:
    return PoseEstimator(build("vissimcc", _config(VisSimCCConfig, card)), name, card["padding"])


def _clip_estimator(card: Mapping, name: str) -> ClipEstimator:
    return ClipEstimator(build("otpose", _config(OTPoseConfig, card)), name, card["padding"])


def _propagator(card: Mapping, name: str) -> Propagator:
    model = build("stdpose", _config(STDPoseConfig, card))
    return Propagator(model, name, card["padding"], card.get("reach", Propagator.reach))


_LOADERS = {
    "port": _port_refiner,
    "hanet": _hanet_refiner,
    "vissimcc": _estimator,
    "otpose": _clip_estimator,
    "stdpose": _propagator,
}


def load(
    name: str = "port",
    *,
    skeleton: str | None = None,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
) -> PortRefiner | SequenceRefiner | PoseEstimator:
    """What a method does, from its shipped weights, or from a safetensors file that the workbench
    wrote.

    skeleton: which of the shipped ones, as `detections.skeleton` says; None is the method's usual
    one. precision: of estimators that read pictures, "fp32" or "bf16" (mixed; faster where the
    hardware has it, README says what it changes). Its card holds the model's configuration and what
    is needed around it (PORT: the rule for delta; HANet: the window; VisSimCC: the boxes' padding).
    """
    path = weights_path(name, skeleton)
    if not path.exists():
        shipped = "; ".join(f"{method} for {', '.join(known)}" for method, known in SHIPPED.items())
        raise MissingFile(
            "no such weights", file=path, remedy=f"shipped: {shipped}; or name a file"
        )
    card = checkpoint.read_card(path)
    method = card.get("model")
    if method not in _LOADERS:
        raise CheckpointMismatch(
            f"the card does not describe a model of the workbench: it says {method!r}",
            file=path,
            remedy=f"known are {', '.join(_LOADERS)}",
        )
    try:
        refiner = _LOADERS[method](card, name)
    except (KeyError, TypeError) as error:
        raise CheckpointMismatch(
            f"the card does not describe {method}: {error}",
            file=path,
            remedy=f"train it with `workbench train {method}`",
        ) from None
    if precision != "fp32":
        if precision != "bf16" or not isinstance(refiner, PoseEstimator):
            raise BadParameter(
                f"{method} in {precision!r}", remedy="choose fp32, or bf16 for what reads pictures"
            )
        refiner.precision = precision
    checkpoint.load(path, refiner.model)
    return refiner.to(device)
