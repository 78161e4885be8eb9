"""Five methods asked for one frame of the same person, and again with a source of theirs taken
away: a joint, a frame, a label.

PORT and HANet get joints, those that a single-frame estimator finds in the case's own frames;
VisSimCC, OTPose and STDPose the frames, all in the box of the asked one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8

from .. import geometry
from ..made.moving_wrist import JOINTS, SHARED, SIDES, Case
from ..records import Detections
from .base import Predictor
from .poses import refine_people
from .sequences import stretches

SINGLE = "vissimcc-baseline"  # who finds joints for PORT and HANet
NEAR = 4  # frames before and after, each of which is taken from HANet
Frames = Sequence[UInt8[np.ndarray, "h w 3"]]


@dataclass(frozen=True, eq=False)
class Answer:
    """xy: px of the picture, in `JOINTS`; NaN for what a method does not know. without: a source ->
    the same where that is taken away.
    """

    xy: Float[np.ndarray, "k 2"]
    without: Mapping[str, Float[np.ndarray, "k 2"]]


class Contest:
    """What five methods make of a case under paint. Whatever paint does not change is computed
    once. predictors: by their names, and `SINGLE`.
    """

    def __init__(self, case: Case, predictors: Mapping[str, Predictor]):
        self.case = case
        self.predictors = predictors
        self.people = self.detected(predictors[SINGLE])
        self.port = predictors["port"].fitted(self.people)
        self.kept: dict[tuple[str, int], torch.Tensor] = {}  # of unpainted frames

    def detected(self, single: Predictor) -> Detections:
        """The person in every frame, as a single-frame estimator sees them without paint."""
        case = self.case
        parts = [single.estimate(f, b[None]) for f, b in zip(case.frames, case.boxes_xyxy)]
        n = len(parts)
        return Detections(
            single.skeleton.name,
            np.concatenate([part.xy_frame for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            case.boxes_xyxy,
            frames=np.arange(n),
            tracks=np.zeros(n, int),
            source=single.name,
        )

    def answers(self, frames: Frames, people: Detections) -> dict[str, Answer]:
        """By method. frames: the case's own where nothing is painted over; people: those of
        `people` whose covered joints are missing.
        """
        ways: Mapping[str, Callable] = {
            "port": self.by_joints,
            "hanet": self.by_motion,
            "vissimcc": self.by_picture,
            "otpose": self.by_frames,
            "stdpose": self.by_labels,
        }
        return {
            name: way(self.predictors[name], people if name in ("port", "hanet") else frames)
            for name, way in ways.items()
        }

    def by_joints(self, _port: Predictor, people: Detections) -> Answer:
        """PORT replaces what is missing in the frame. Sources: the other joints."""
        row = people.select([self.case.key])
        known = np.flatnonzero(row.confidence[0] > 0)
        rows = row.select([0] * (1 + len(known)))
        confidence = rows.confidence.copy()
        confidence[np.arange(len(known)) + 1, known] = 0
        found = refine_people(self.port, replace(rows, confidence=confidence), missing_alone=True)
        there = (found.confidence > 0) | found.replaced
        there = there & np.isin(np.arange(len(JOINTS)), SHARED)
        xy = np.where(there[..., None], found.xy_frame, np.nan)
        return Answer(xy[0], dict(zip((JOINTS.joints[j] for j in known), xy[1:])))

    def by_motion(self, hanet: Predictor, people: Detections) -> Answer:
        """HANet reads the joints of all frames. Sources: frames; a line stands in their place."""
        key, nobody = self.case.key, np.full((len(JOINTS), 2), np.nan)
        found = [
            (at.searchsorted(key - self.people.frames[rows[0]]), xy)
            for rows, at, xy in stretches(hanet, people)
            if self.people.frames[rows[0]] <= key <= self.people.frames[rows[-1]]
        ]
        if not found:
            return Answer(nobody, {})
        ((place, xy),) = found
        frames = [s for s in range(place - NEAR, place + NEAR + 1) if 0 < s < len(xy) - 1]
        each = np.repeat(xy[None], 1 + len(frames), 0)
        for row, s in zip(each[1:], frames):
            row[s] = (xy[s - 1] + xy[s + 1]) / 2
        inputs = [hanet.inputs(one) for one in each]
        batch = {name: torch.cat([one[name] for one in inputs]) for name in inputs[0]}
        with hanet.inference():
            flat = (
                hanet.model(batch["xy"], batch.get("valid"))["xy"][:, place].float().cpu().numpy()
            )
        centre, size = (part[:, 0] for part in hanet.frame(each))
        xy = _in_joints(flat.reshape(len(each), -1, 2) * size + centre, hanet)
        numbers = [f"frame {s + key - place}" for s in frames]
        return Answer(xy[0], dict(zip(numbers, xy[1:])))

    def seen(self, name: str, frames: Frames, numbers: Iterable[int], see: Callable):
        """What `see` makes of the crops of these frames, all in the box of the asked one, side by
        side [1 t ...], and the map xy_crop -> xy_frame. Only painted frames are looked at again.
        """
        parts, to_frame = [], None
        for t in numbers:
            crop, affine = self.predictors[name].crops(
                frames[t], self.case.boxes_xyxy[[self.case.key]]
            )
            to_frame = geometry.invert(affine[0])
            own = frames[t] is self.case.frames[t]
            if (name, t) not in self.kept or not own:
                with self.predictors[name].inference():
                    part = see(crop.to(self.predictors[name].device))
                if own:
                    self.kept[name, t] = part
            else:
                part = self.kept[name, t]
            parts.append(part)
        return torch.stack(parts, 1), to_frame

    def answer(self, predictor: Predictor, sources: Sequence[str], to_frame, **inputs) -> Answer:
        """Of a batch whose first row is whole, and whose others lack a source each."""
        edits = inputs.pop("edit", None)
        found, _ = predictor.look(**inputs, names=[*(edits or ())], edit=edits)
        xy_crop = predictor.model.decode(found)[0].float().cpu().numpy()
        xy = _in_joints(geometry.apply(to_frame, xy_crop.astype(float)), predictor)
        return Answer(xy[0], dict(zip(sources, xy[1:])))

    def by_picture(self, aware: Predictor, frames: Frames) -> Answer:
        """VisSimCC reads the frame. Sources: joints, which its mask then hides from the others."""
        maps, to_frame = self.seen("vissimcc", frames, [self.case.key], aware.model.maps)
        k = len(aware.skeleton)
        keep = torch.ones(1 + k, k).fill_diagonal_(1)
        keep[torch.arange(k) + 1, torch.arange(k)] = aware.model.config.hidden
        edit = {"reasoning.mask": lambda own: torch.minimum(own, keep.to(own))}
        batch = maps[:, 0].expand(1 + k, -1, -1, -1)
        return self.answer(aware, aware.skeleton.joints, to_frame, maps=batch, edit=edit)

    def by_frames(self, clip: Predictor, frames: Frames) -> Answer:
        """OTPose reads five frames. Sources: the four others; the asked one stands in for them."""
        key, reach = self.case.key, clip.reach
        numbers = range(key - reach, key + reach + 1)
        rough, to_frame = self.seen("otpose", frames, numbers, clip.model.maps)
        others = [i for i in range(len(numbers)) if i != reach]
        batch = rough.repeat(1 + len(others), 1, 1, 1, 1)
        for row, i in zip(batch[1:], others):
            row[i] = row[reach]
        names = [f"frame {numbers[i]}" for i in others]
        return self.answer(clip, names, to_frame, heatmaps=batch)

    def by_labels(self, between: Predictor, frames: Frames) -> Answer:
        """STDPose reads three frames and the labels of two. Sources: these labels, and the pictures
        they lie on; the asked frame's stands in for one.
        """
        key, case = self.case.key, self.case
        numbers = [key - SIDES, key, key + SIDES]
        crops, to_frame = self.seen("stdpose", frames, numbers, self.features)
        xy_crop = geometry.apply(geometry.invert(to_frame), case.xy[numbers[::2]].astype(float))
        labels = np.zeros((2, len(between.skeleton), 2), np.float32)
        weights = np.zeros(labels.shape[:2], np.float32)
        for j, name in enumerate(between.skeleton.joints):
            if name in JOINTS.joints:
                labels[:, j] = xy_crop[:, JOINTS.index(name)]
                weights[:, j] = case.visibility[numbers[::2], JOINTS.index(name)] > 0
        told = torch.from_numpy(weights).repeat(5, 1, 1)
        told[1, 0] = told[2, 1] = 0
        features = crops.repeat(5, 1, 1, 1, 1)
        features[3, 0] = features[4, 2] = features[0, 1]
        names = [f"{what} {numbers[i]}" for what in ("label", "picture") for i in (0, 2)]
        return self.answer(
            between,
            names,
            to_frame,
            features=features,
            auxiliary_xy_crop=torch.from_numpy(labels).repeat(5, 1, 1, 1),
            auxiliary_weights=told,
            distance=torch.full((5, 2), float(SIDES)),
        )

    def features(self, crop: torch.Tensor) -> torch.Tensor:
        """STDPose's backbone on one crop."""
        return self.predictors["stdpose"].model.features_of(crop[None])[:, 0]


def _in_joints(xy: Float[np.ndarray, "n m 2"], predictor: Predictor) -> Float[np.ndarray, "n k 2"]:
    """Poses of a predictor's joints in `JOINTS`; NaN for those that it does not know."""
    theirs = predictor.skeleton.joints
    out = np.full((len(xy), len(JOINTS), 2), np.nan)
    for j in SHARED:
        if JOINTS.joints[j] in theirs:
            out[:, j] = xy[:, theirs.index(JOINTS.joints[j])]
    return out
