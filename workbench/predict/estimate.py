"""VisSimCC, OTPose and STDPose: pictures and boxes in, poses in px of the picture out."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from tqdm.auto import tqdm

from .. import geometry
from ..codecs import expected_bin, expected_place, transform
from ..data.checks import numbers_of
from ..data.hugging_face import VitPose
from ..data.safe import read_npy
from ..data.windows import WindowConfig, Windows, loader, normalised
from ..errors import BadParameter
from ..models.otpose import OTPose
from ..models.stdpose import STDPose
from ..models.vissimcc import VisSimCC
from ..records import Detections, Prediction
from ..skeletons import skeleton
from .base import Predictor


@dataclass(frozen=True)
class Estimated:
    """n people, each in its crop."""

    xy_crop: Float[np.ndarray, "n k 2"]  # px
    confidence: Float[np.ndarray, "n k"]
    visibility: Float[np.ndarray, "n k"] | None = None  # VisNet's probability of being visible


class PoseEstimator(Predictor):
    """A single-frame estimator with what it needs around it: a picture and boxes in, px of the
    picture out.

    padding: how far a box grows before it is cropped, as in training. mirror: the mean of the crop
    and its mirror image.
    """

    explained = ("x", "y", "confidence")
    reach = 0  # frames that it looks at before and after its own
    batch = 128  # crops that `read` shows the model at once

    def __init__(
        self,
        model: VisSimCC | OTPose | STDPose,
        name: str = "vissimcc",
        padding: float = 1.25,
        mirror: bool = True,
    ):
        super().__init__(model, name, model.config.skeleton)
        self.padding = padding
        self.mirror = mirror

    @classmethod
    def from_card(cls, model: nn.Module, card: Mapping, name: str) -> Predictor:
        """Around a model, as its weight file's card says; `KeyError` for what it leaves out."""
        return cls(model, name, card["padding"])

    def crops(
        self, frame: UInt8[np.ndarray, "h w 3"], boxes_xyxy: Float[np.ndarray, "n 4"]
    ) -> tuple[Float[Tensor, "n 3 y x"], Float[np.ndarray, "n 2 3"]]:
        """Normalised crops of an RGB picture, and their maps xy_frame -> xy_crop. `BadParameter`
        for a box without area.
        """
        w, h = self.model.config.size
        boxes = geometry.enlarge(np.asarray(boxes_xyxy, np.float64), self.padding, w / h)
        affine = geometry.frame_to_crop(boxes, (w, h), self.model.config.alignment)
        pixels = np.zeros((len(boxes), h, w, 3), np.uint8)
        for crop, a in zip(pixels, affine):
            crop[:] = cv2.warpAffine(frame, a, (w, h))
        return normalised(torch.from_numpy(pixels)), affine

    def _answer(self, found: Mapping[str, Tensor]) -> list[np.ndarray]:
        """xy_crop, confidence and, where the model has it, visibility of a batch."""
        answer = [*self.model.decode(found)]
        if "visibility" in found:
            answer.append(found["visibility"])
        return [part.float().cpu().numpy() for part in answer]

    def read(self, crops: Float[Tensor, "n ..."], **given) -> Estimated:
        """Poses of crops, `batch` at a time. given: what else `forward` takes."""
        k = len(self.skeleton)
        parts = []
        with self.inference():
            for start in range(0, len(crops), self.batch):
                rows = slice(start, start + self.batch)
                parts.append(self._answer(self.forward(crops[rows], rows, **given)))
        if not parts:
            parts.append([np.zeros((0, k, 2), np.float32), np.zeros((0, k), np.float32)])
        return Estimated(*map(np.concatenate, zip(*parts)))

    def forward(
        self,
        crops: Float[Tensor, "b 3 y x"],
        rows: slice,
        *,
        visibility: Int[np.ndarray, "n k"] | None = None,
        source: str | None = None,
    ) -> Mapping[str, Tensor]:
        """The model's answer to these rows of all crops. source and visibility: what the mask
        follows, see `VisibilityReasoning`; the model's own by default.
        """
        images = crops.to(self.device)
        if visibility is not None:
            visibility = torch.as_tensor(np.asarray(visibility)[rows], device=self.device)
        model = self.model.flip_test if self.mirror else self.model
        return model(images, visibility, source=source)

    def held(self) -> tuple[str, ...]:
        """The mask of reasoning: who is heard is decided by a threshold."""
        masked = getattr(self.model, "reasoning", None) is not None
        return ("reasoning.mask",) if masked else ()

    def value_of(
        self, found: Mapping[str, Tensor], own: Mapping[str, Tensor], joint: int, axis: str
    ) -> Float[Tensor, "m"]:
        """A coordinate: the expected one, px of the crop, because the highest bin or pixel has no
        gradient. The confidence: the value at the bins or pixel that are highest in `own`.
        """
        if axis == "confidence":
            parts = [name for name in ("heatmaps", "x", "y") if name in found]
            at = [own[name][0, joint].argmax() for name in parts]
            values = [found[name][:, joint].flatten(1)[:, i] for name, i in zip(parts, at)]
            return torch.stack(values).amin(0)
        if "heatmaps" in found:
            xy_heatmap = expected_place(found["heatmaps"][:, [joint]])
            return transform(self.model.to_crop, xy_heatmap)[:, 0, "xy".index(axis)]
        return expected_bin(found[axis][:, joint]) / self.model.config.split

    def estimate(
        self,
        frame: UInt8[np.ndarray, "*t h w 3"],
        boxes_xyxy: Float[np.ndarray, "n 4"],
        *,
        numbers: Sequence[int] | Int[np.ndarray, "t"] | None = None,
        image: str = "",
    ) -> Detections:
        """The pose in each box of an RGB picture, or of the middle one of 2 `reach` + 1 frames.

        numbers: of these frames in their video, one after the other by default. A frame that
        stands in for one beyond the video's border keeps its own number: the network is told how
        far away it really is.
        """
        frames = frame[None] if frame.ndim == 3 else frame
        if len(frames) != 2 * self.reach + 1:
            raise BadParameter(
                f"{len(frames)} frames, {2 * self.reach + 1} expected",
                remedy="give the frames around it",
            )
        parts = [self.crops(one, boxes_xyxy) for one in frames]
        crops = torch.stack([part for part, _ in parts], 1)
        if self.reach:
            numbers = np.arange(len(frames)) if numbers is None else np.asarray(numbers)
            found = self.read(crops, distance=np.abs(numbers - numbers[self.reach]))
        else:
            found = self.read(crops[:, 0])
        to_frame = geometry.invert(parts[0][1])
        return Detections(
            self.skeleton.name,
            geometry.apply(to_frame, found.xy_crop.astype(np.float64)),
            found.confidence,
            boxes_xyxy,
            images=(image,) * len(crops),
            source=self.name,
        )


class ClipEstimator(PoseEstimator):
    """OTPose with what it needs around it: five frames and boxes of the middle one in, px of the
    middle one out.
    """

    reach = 2
    batch = 16
    stays = ("maps",)

    def __init__(self, model: OTPose, name: str = "otpose", padding: float = 1.25):
        super().__init__(model, name, padding, mirror=False)

    def rough(self, crops: Float[Tensor, "n 5 3 y x"]) -> Float[Tensor, "n 5 k h w"]:
        """The single-frame estimator's heatmaps of every crop, on the model's device."""
        return self.model.heatmaps_of(crops.to(self.device))

    def forward(
        self,
        crops: Float[Tensor, "b 5 ..."],
        rows: slice,
        *,
        distance: Int[np.ndarray, "5"] | None = None,
        heatmaps: bool = False,
    ) -> Mapping[str, Tensor]:
        """The model's answer, for the middle crops. distance: of each from the middle one, frames;
        2, 1, 0, 1, 2 by default. heatmaps: what `rough` gives stands in the place of crops.
        """
        if distance is not None:
            chosen = [self.reach + offset for offset in self.model.config.frames]
            distance = torch.as_tensor(distance[chosen], device=self.device)
            distance = distance.expand(len(crops), -1)
        maps = crops.to(self.device) if heatmaps else self.rough(crops)
        return self.model(heatmaps=maps, distance=distance)

    def read_heatmaps(self, heatmaps: Float[np.ndarray, "n 5 k h w"] | str | Path) -> Estimated:
        """Poses from what any single-frame estimator saw in the five crops, on the model's grid, or
        from an npy file of that.

        Errors: `BadRecord` for another shape or a value that is not finite, `BadFile` for what is
        no npy file of numbers.
        """
        w, h = self.model.config.grid
        file = None if isinstance(heatmaps, np.ndarray) else Path(heatmaps)
        stated = read_npy(file) if file else heatmaps
        shape = (None, 5, len(self.skeleton), h, w)
        maps = numbers_of(stated, "heatmaps", shape, file=file).astype(np.float32)
        return self.read(torch.from_numpy(maps), heatmaps=True)


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
    k = len(windows.skeleton)
    tracks = [windows.pairs[pair][0].tracks[n].track_id for pair, n, _ in windows.items]
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


@dataclass(frozen=True, eq=False)
class Condition:
    """What a propagator is kept from.

    wiped: joints of which the network's own maps are to say nothing. strangers: each person's
    tokens are those of somebody else's picture, of another clip where there are many windows.
    """

    wiped: Bool[np.ndarray, "n k"] | None = None
    strangers: bool = False

    def inputs(self, rows: Int[np.ndarray, "b"], device: torch.device) -> dict[str, Tensor]:
        """What the network takes of it, for these windows of all."""
        found = {}
        if self.wiped is not None:
            found["wiped"] = torch.from_numpy(self.wiped[rows]).float().to(device)
        if self.strangers:
            found["tokens_of"] = torch.arange(len(rows), device=device).roll(1)
        return found


class Propagator(PoseEstimator):
    """STDPose with what it needs around it: labelled frames on both sides in, the poses of the
    frames between them out; or with no labels, frames around one in, its poses out.

    reach: frames before and after where nothing is labelled.
    """

    reach = 3  # the nearest to the paper's T of 7  # unstated; ours
    batch = 32
    stays = ("backbone", "head")

    def __init__(
        self, model: STDPose, name: str = "stdpose", padding: float = 1.25, reach: int = 3
    ):
        super().__init__(model, name, padding, mirror=False)
        self.reach = reach

    @classmethod
    def from_card(cls, model: nn.Module, card: Mapping, name: str) -> Predictor:
        return cls(model, name, card["padding"], card.get("reach", cls.reach))

    def windows(self, pairs, **options) -> Windows:
        """`windows_between`, as the network wants them."""
        config = self.model.config
        options = {"padding": self.padding, "alignment": config.alignment} | options
        return windows_between(pairs, config.size, **options)

    def forward(
        self,
        crops: Float[Tensor, "b t 3 y x"],
        rows: slice,
        *,
        distance: Int[np.ndarray, "t"] | None = None,
    ) -> Mapping[str, Tensor]:
        """The model's answer, for the middle crops, from these and the outermost; t = 2 reach + 1.

        distance: of each from the middle one, frames; `reach` of the outermost by default.
        """
        outermost = (self.reach, self.reach) if distance is None else distance[[0, -1]]
        apart = torch.as_tensor(outermost, device=self.device).expand(len(crops), -1)
        return self.model(images=crops[:, :: self.reach].to(self.device), distance=apart)

    def carry(self, windows: Windows, *, given: bool = True, progress: bool = False) -> Detections:
        """Poses of all windows' key frames. given: the labels at both sides are told
        (propagation), or not (estimation).
        """
        return self.carry_each(windows, {"": Condition()}, given=given, progress=progress)[""]

    def carry_each(
        self,
        windows: Windows,
        conditions: Mapping[str, Condition],
        *,
        given: bool = True,
        progress: bool = False,
    ) -> dict[str, Detections]:
        """`carry` under several conditions, by their names; the backbone reads pictures once."""
        n, batch = len(windows), self.batch
        order = np.arange(n)
        if any(condition.strangers for condition in conditions.values()):
            # in a batch people stand as far from each other as they can, and nobody alone
            order = np.argsort(order % -(-n // batch), kind="stable")
            batch -= n % batch == 1
        xy = {name: np.zeros((n, len(self.skeleton), 2)) for name in conditions}
        confidence = {name: np.zeros(xy[name].shape[:2], np.float32) for name in conditions}
        bar = tqdm(total=n, desc=self.name, unit="pose", disable=not progress, leave=False)
        with self.inference(), bar:
            parts = loader(windows.select(order), batch, shuffle=False, augment=False, workers=1)
            for step, each in enumerate(parts):
                rows = order[step * batch : (step + 1) * batch]
                inputs = {k: v.to(self.device) for k, v in between_inputs(each, given).items()}
                if len(conditions) > 1:
                    inputs["features"] = self.model.features_of(inputs.pop("images"))
                to_frame = geometry.invert(each["affine"].double().numpy())
                for name, condition in conditions.items():
                    found = self.model(**inputs, **condition.inputs(rows, self.device))
                    xy_crop, confidence[name][rows] = self._answer(found)
                    xy[name][rows] = geometry.apply(to_frame, xy_crop.astype(np.float64))
                bar.update(len(rows))
        return {
            name: poses_between(windows, [*xy[name]], [*confidence[name]], self.name)
            for name in conditions
        }


def between_inputs(batch: Mapping[str, Tensor], given: bool = True) -> dict[str, Tensor]:
    """What STDPose takes of a batch of windows between labels."""
    inputs = {
        "images": batch["images"],
        "distance": (batch["frames"][:, ::2] - batch["frames"][:, 1:2]).abs(),
    }
    if given:
        inputs["auxiliary_xy_crop"] = batch["xy_crop"][:, ::2]
        inputs["auxiliary_weights"] = batch["weights"][:, ::2]
    return inputs


def frame_windows(
    frames: Iterable[np.ndarray], reach: int
) -> Iterator[tuple[tuple[int, ...], tuple[np.ndarray, ...]]]:
    """Each frame in the middle of its neighbours: numbers and frames, 2 reach + 1 of both.

    The first and last frame are repeated, under their own numbers, beyond the video's borders.
    """
    held: deque = deque(maxlen=2 * reach + 1)
    for pair in chain(enumerate(frames), repeat(None, reach)):
        if pair or held:
            held.extend([pair or held[-1]] * (1 if held else 1 + reach))
        if len(held) == held.maxlen:
            yield tuple(zip(*held))


def estimate_people(
    estimator: PoseEstimator | VitPose,
    frames: Iterable[UInt8[np.ndarray, "h w 3"]],
    detections: Detections,
    *,
    progress: bool = False,
) -> Prediction:
    """A video's people estimated anew, each in the box that was detected; all joints that were
    count as replaced.

    frames: RGB, in order; the detections say in which they are. Boxes without area are left alone,
    and so are joints that the estimator does not know, and people where one of the frames that it
    looks at was `lost`. Errors: `BadParameter` where it knows less than half of the joints.
    """
    ours = estimator.skeleton.joints
    theirs = skeleton(detections.skeleton).joints
    to = [j for j, name in enumerate(theirs) if name in ours]
    if 2 * len(to) < len(theirs):
        estimator.check_skeleton(detections)
    if detections.frames is None:
        source = detections.source or None
        raise BadParameter("detections without frames belong to no video", file=source)
    known = [ours.index(theirs[j]) for j in to]
    xy, confidence = detections.xy_frame.copy(), detections.confidence.copy()
    boxed = (detections.boxes_xyxy[:, 2:] > detections.boxes_xyxy[:, :2]).all(1)
    rows_of, lost = defaultdict(list), getattr(frames, "lost", {})
    for row in np.flatnonzero(boxed).tolist():
        rows_of[int(detections.frames[row])].append(row)
    bar = tqdm(frames, desc=estimator.name, unit="frame", disable=not progress, leave=False)
    for numbers, window in frame_windows(bar, estimator.reach):
        rows = rows_of.get(int(numbers[estimator.reach]))
        if rows and not lost.keys().isdisjoint(numbers):
            boxed[rows] = False
        elif rows:
            boxes = detections.boxes_xyxy[rows]
            found = estimator.estimate(np.stack(window), boxes, numbers=numbers)
            xy[np.ix_(rows, to)] = found.xy_frame[:, known]
            confidence[np.ix_(rows, to)] = found.confidence[:, known]
    replaced = boxed[:, None] & np.isin(np.arange(len(theirs)), to)
    return Prediction(detections.skeleton, xy, confidence, replaced, estimator.name, detections)
