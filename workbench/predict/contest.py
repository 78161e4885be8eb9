"""Five methods asked for one frame of the same person, and again with what may help taken away.

PORT and HANet get joints, those that a single-frame estimator finds in the case's own frames;
VisSimCC, OTPose and STDPose the frames, all in the box of the asked one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
SOURCES = {  # what may help, and is taken away
    "port": "other joints",
    "hanet": "other frames",
    "vissimcc": "other joints",
    "otpose": "other frames",
    "stdpose": "both labels",
}
SAME = 0.1  # px, no difference
Frames = Sequence[UInt8[np.ndarray, "h w 3"]]


@dataclass(frozen=True, eq=False)
class Answer:
    """xy: px of the picture, in `JOINTS`; NaN for what a method does not know. bare: the same where
    its source (`SOURCES`) is taken away.
    """

    xy: Float[np.ndarray, "k 2"]
    bare: Float[np.ndarray, "k 2"]


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
        """PORT replaces what is missing in the frame."""
        rows = people.select([self.case.key] * 2)
        confidence = rows.confidence.copy()
        confidence[1] = 0
        found = refine_people(self.port, replace(rows, confidence=confidence), missing_alone=True)
        there = (found.confidence > 0) | found.replaced
        there = there & np.isin(np.arange(len(JOINTS)), SHARED)
        return Answer(*np.where(there[..., None], found.xy_frame, np.nan))

    def by_motion(self, hanet: Predictor, people: Detections) -> Answer:
        """HANet reads the joints of all frames."""
        only = np.arange(len(people)) == self.case.key
        alone = replace(people, confidence=np.where(only[:, None], people.confidence, 0))
        return Answer(self.moving(hanet, people), self.moving(hanet, alone))

    def moving(self, hanet: Predictor, people: Detections) -> Float[np.ndarray, "k 2"]:
        """The asked frame of a track; NaN where HANet cannot answer."""
        key = self.case.key
        for rows, at, xy in stretches(hanet, people):
            first = self.people.frames[rows[0]]
            if len(xy) > 1 and first <= key <= self.people.frames[rows[-1]]:
                return _in_joints(hanet.refine(xy)[None, at.searchsorted(key - first)], hanet)[0]
        return np.full((len(JOINTS), 2), np.nan)

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

    def answer(self, predictor: Predictor, to_frame, **inputs) -> Answer:
        """Of a batch whose first row is whole, and whose second lacks the source."""
        edits = inputs.pop("edit", None)
        found, _ = predictor.look(**inputs, names=[*(edits or ())], edit=edits)
        xy_crop = predictor.model.decode(found)[0].float().cpu().numpy()
        return Answer(*_in_joints(geometry.apply(to_frame, xy_crop.astype(float)), predictor))

    def by_picture(self, aware: Predictor, frames: Frames) -> Answer:
        """VisSimCC reads the frame. Without the other joints its mask turns all of them down."""
        maps, to_frame = self.seen("vissimcc", frames, [self.case.key], aware.model.maps)
        keep = torch.ones(2, len(aware.skeleton))
        keep[1] = aware.model.config.hidden
        edit = {"reasoning.mask": lambda own: torch.minimum(own, keep.to(own))}
        return self.answer(aware, to_frame, maps=maps[:, 0].expand(2, -1, -1, -1), edit=edit)

    def by_frames(self, clip: Predictor, frames: Frames) -> Answer:
        """OTPose reads five frames. Without the others the asked one stands in for them."""
        key, reach = self.case.key, clip.reach
        numbers = range(key - reach, key + reach + 1)
        rough, to_frame = self.seen("otpose", frames, numbers, clip.model.maps)
        batch = torch.cat([rough, rough[:, [reach] * len(numbers)]])
        return self.answer(clip, to_frame, heatmaps=batch)

    def by_labels(self, between: Predictor, frames: Frames) -> Answer:
        """STDPose reads three frames and the labels of two."""
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
        told = torch.from_numpy(weights)
        return self.answer(
            between,
            to_frame,
            features=crops.repeat(2, 1, 1, 1, 1),
            auxiliary_xy_crop=torch.from_numpy(labels).repeat(2, 1, 1, 1),
            auxiliary_weights=torch.stack([told, torch.zeros_like(told)]),
            distance=torch.full((2, 2), float(SIDES)),
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


# --- what is said about it ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Row:
    """One method under the paint. now, before: mean error of the scored joints with and without
    it, px; NaN where it does not know them. source: what may help it; bare, lost: the answer and
    the error under the paint without that.
    """

    name: str
    xy: Float[np.ndarray, "k 2"]
    now: float
    before: float
    source: str
    bare: Float[np.ndarray, "k 2"]
    lost: float


def told_gone(rows: Sequence[Row], held: Collection[str]) -> str:
    """What is taken away, and to whom of those who hold without that makes no difference."""
    gone = {r.source: [o.name for o in rows if o.source == r.source] for r in rows}
    said = ", ".join(f"{source} ({', '.join(names)})" for source, names in gone.items())
    same = [r.name for r in rows if r.name in held and abs(r.lost - r.now) < SAME]
    rest = f". No difference to {' and '.join(same)}: the pictures suffice here" if same else ""
    return f". Gone: {said}{rest}"


def told_allowed(rows: Sequence[Row], held: Collection[str], limit: float) -> str:
    """Of joints that no frame shows: who of those who read other frames holds, and by how much."""
    rises = [
        f"{r.name}'s error rises by {max(r.now - r.before, 0):.1f} px"
        for r in rows
        if r.name in held and r.source == "other frames"
    ]
    end = f": a rise of {limit:.1f} px still counts as holding"
    return f". {' and '.join(rises)}{end}" if rises else ""
