"""Shipped weights, which learned from made people, on real pictures: still people whose joints are
labelled, and clips about which only an estimator has said anything.

Where nobody labelled a clip, what an answer keeps is measured: how still it is, whether bones keep
their lengths, and how far it is from what the estimator says with confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from .. import metrics, propagate
from ..data.coco import find_pictures
from ..data.frames import open_frames, read_picture
from ..data.manifest import locate
from ..data.results import on_video, results_beside_videos
from ..data.tracks import link, track_of
from ..errors import MissingData
from ..made import motion
from ..predict import SequenceRefiner, estimate_people, refine_tracks
from ..predict.base import Predictor
from ..records import Clip, Detections, Pose, Prediction
from ..skeletons import skeleton
from .base import Options, Recipe, Scores, Task, loaded
from .bodies import read_in_truth_boxes
from .filters import Filter, chosen_filters, filtered, near
from .measures import SUBSETS, person_oks

INPUT = "estimator"  # whose answers the user has; the rival of all rows
SURE, UNSURE = 0.5, 0.3  # of the estimator's confidences; ours
BLOCK = 12  # frames of one person that are drawn together; ours
COMPARED = ("oks", "jitter", "bones", "unsure, to next", "sure, moved", "away")
EVERY = 8  # frames from one label to the next, where labels are carried; ours


def _shipped(recipe: Recipe, options: Options) -> dict:
    """Who answers: the shipped weights, or those that are named."""
    return {
        "variants": options.variants or tuple(recipe.shipped.values()),
        "learn": lambda name, _case: loaded(recipe, name, options),
    }


# --- still people ---------------------------------------------------------------------------------


def _estimated(estimator: Predictor, folder: Path, people: Detections) -> Detections:
    """Each person of pictures estimated in the stated box; of methods that read several frames,
    the picture stands for all of them.
    """
    xy, replaced = people.xy_frame.copy(), np.zeros(people.confidence.shape, bool)
    images = np.array(people.images)
    for name in dict.fromkeys(people.images):
        rows = np.flatnonzero(images == name)
        alone = replace(people.select(rows), frames=np.zeros(len(rows), np.int64))
        found = estimate_people(estimator, [read_picture(folder / name)], alone)
        xy[rows], replaced[rows] = found.xy_frame, found.replaced
    return replace(people, xy_frame=xy, confidence=replaced.astype(np.float32))


def _still_scores(name: str, answer: Detections, truth: Pose) -> list[Scores]:
    """Of every person: OKS and the mean error of joints, percent."""
    areas = metrics.person_areas(truth, None)
    away = metrics.joint_distances(answer.xy_frame, truth.xy_frame) / np.sqrt(areas)[:, None]
    found = []
    for subset, joints in SUBSETS.items():
        use = metrics.joints_of(truth, joints)
        some = use.any(1)
        error = np.where(use, away, 0).sum(1)[some] / use.sum(1)[some]
        oks = person_oks(answer, truth, joints)[some]
        values = {"oks": 100 * oks, "error": 100 * error}
        words = {"method": name, "subset": subset}
        found.append(Scores(words, int(some.sum()), values, np.array(truth.images)[some]))
    return found


def stills(
    recipe: Recipe, options: Options, *, alone: Callable[[Predictor], Predictor] | None = None
) -> Task:
    """Real people in their true boxes, beside what an estimator said of them. alone: the
    single-frame estimator inside a method that reads several frames.
    """
    _, truth, said = read_in_truth_boxes(options.data)
    folder = find_pictures(locate("coco")[1], truth.images)
    if folder is None:
        remedy = "lay them beside the annotations, or name COCO's folder with WORKBENCH_DATA"
        raise MissingData(
            "the pictures of COCO's people are not here", record="coco", remedy=remedy
        )
    people = replace(said, boxes_xyxy=truth.boxes_xyxy, images=truth.images)

    def scores(_case, predictors: Mapping[str, Predictor]) -> dict[str, list[Scores]]:
        if alone is not None:
            first = next(iter(predictors.values()))
            predictors = {"single frame": alone(first), **predictors}
        answers = {name: _estimated(one, folder, people) for name, one in predictors.items()}
        known = next(iter(answers.values())).confidence > 0
        judged = replace(truth, visibility=truth.visibility * known)
        answers = {INPUT: people, **answers}
        return {name: _still_scores(name, answer, judged) for name, answer in answers.items()}

    protocol = (
        f"{len(truth)} real people of {len(set(truth.images))} pictures of COCO in their true "
        "boxes; a picture stands for all frames of a method that reads several; joints that the "
        f"method knows by name. oks: of each person by COCO, percent; error: of labelled joints "
        f"over the root of the person's area, percent; means over people, 95 % by picture; "
        f"{INPUT}: what the file says of them; answers in {options.precision}"
    )
    return Task(
        scores=scores,
        protocol=protocol,
        rival=INPUT,
        boxes="ground truth",
        **_shipped(recipe, options),
    )


# --- clips ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RealClip:
    """A video, and its people as an estimator says: frames, tracks, confidences."""

    name: str
    video: Path
    people: Detections

    @property
    def sizes(self) -> Float[np.ndarray, n]:
        """Of each pose: the longer side of the person's usual box, px."""
        sides = (self.people.boxes_xyxy[:, 2:] - self.people.boxes_xyxy[:, :2]).max(1)
        tracks = self.people.tracks
        usual = {track: np.median(sides[tracks == track]) for track in np.unique(tracks)}
        return np.maximum([usual[track] for track in tracks.tolist()], 1e-3)

    @property
    def groups(self) -> np.ndarray:
        """What is drawn whole: so many frames of a person."""
        blocks = self.people.frames // BLOCK
        return np.array([f"{self.name} {t} {b}" for t, b in zip(self.people.tracks, blocks)])

    def rows_after(self, steps: int) -> np.ndarray:
        """Of each pose the row of the same person's so many frames later, -1 where there is
        none.
        """
        places = zip(self.people.tracks.tolist(), self.people.frames.tolist())
        row_of = {place: row for row, place in enumerate(places)}
        return np.array([row_of.get((track, frame + steps), -1) for track, frame in row_of])


def read_clips(data: str) -> list[RealClip]:
    """Videos and the results of the same name, people linked where they have no ids."""
    manifest, root = locate(data)
    found = []
    for name, (video, results) in results_beside_videos(root).items():
        with open_frames(video) as frames:
            people = on_video(results, frames).detections
        people = link(people) if people.tracks is None else people
        found.append(RealClip(name, video, people))
    if not found:
        problem, remedy = f"no video and results of one name in {root}", manifest.instructions
        raise MissingData(problem, record=manifest.name, remedy=remedy)
    return found


Answers = dict[str, list[Prediction]]  # by who answers, one a clip, row by row its people


def _mean_of(values: np.ndarray, use: np.ndarray) -> Float[np.ndarray, n]:
    """Of each row over what is used, NaN where nothing is."""
    total = np.where(use, values, 0).sum(1)
    return np.where(use.any(1), total / np.maximum(use.sum(1), 1), np.nan)


def clip_values(
    xy: Float[np.ndarray, "n k 2"], clip: RealClip, judged: Bool[np.ndarray, k]
) -> dict[str, Float[np.ndarray, n]]:
    """Of every pose, percent of the person's size."""
    said, sizes = clip.people, clip.sizes[:, None]
    before, after = clip.rows_after(-1), clip.rows_after(1)
    step = metrics.joint_distances(xy[before] + xy[after], 2 * xy) / sizes
    inside = ((before >= 0) & (after >= 0))[:, None] & judged
    sure, unsure = said.confidence >= SURE, said.confidence < UNSURE
    later = metrics.joint_distances(xy, said.xy_frame[after]) / sizes
    shown_later = unsure & sure[after] & (after >= 0)[:, None] & judged
    away = metrics.joint_distances(xy, said.xy_frame) / sizes
    found = {
        "jitter": _mean_of(step, inside),
        "bones": _bones(xy, clip, judged),
        "unsure, to next": _mean_of(later, shown_later),
        "sure, moved": _mean_of(away, sure & judged),
    }
    return {key: 100 * values for key, values in found.items()}


def _bones(
    xy: Float[np.ndarray, "n k 2"], clip: RealClip, judged: Bool[np.ndarray, k]
) -> Float[np.ndarray, n]:
    """How far the lengths of each pose's bones are from their medians in the person's answers."""
    limbs = [pair for pair in skeleton(clip.people.skeleton).edges if judged[list(pair)].all()]
    one, other = np.array(limbs).T
    lengths = metrics.joint_distances(xy[:, one], xy[:, other])
    usual = np.zeros_like(lengths)
    for track in np.unique(clip.people.tracks):
        rows = clip.people.tracks == track
        usual[rows] = np.median(lengths[rows], axis=0)
    return np.abs(lengths - usual).mean(1) / clip.sizes


def _clip_scores(
    name: str,
    answers: Sequence[Detections | Prediction],
    known: Sequence[RealClip],
    judged: Bool[np.ndarray, k],
) -> list[Scores]:
    parts = [clip_values(one.xy_frame, clip, judged) for one, clip in zip(answers, known)]
    values = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    groups = np.concatenate([clip.groups for clip in known])
    whole = {"poses with such joints": float(np.isfinite(values["unsure, to next"]).sum())}
    return [Scores({"method": name}, len(groups), values, groups, whole)]


MEASURES = (
    "jitter: change of a joint's step; sure, moved: of joints that the estimator says with "
    f"confidence {SURE} or more, how far the answer is from it; unsure, to next: of joints below "
    f"{UNSURE} that it says with {SURE} or more one frame later, how far the answer is from there; "
    "bones: how far their lengths are from the person's medians in the answer; percent of the "
    "longer side of the person's usual box, means over poses, 95 % by a person's blocks of "
    f"{BLOCK} frames. Nobody labelled these clips: what is near the estimator is not therefore "
    "right"
)


def _clips_text(known: Sequence[RealClip]) -> str:
    told = [
        f"{clip.name} ({len(set(clip.people.frames.tolist()))} frames, "
        f"{len(set(clip.people.tracks.tolist()))} tracks)"
        for clip in known
    ]
    return f"real clips {', '.join(told)} as an estimator's answers say"


class _Filtered(SequenceRefiner):
    """A filter in a refiner's place: the same sequences, read and put back alike."""

    def __init__(self, like: SequenceRefiner, name: str, apply: Filter, setting: tuple):
        super().__init__(like.model, like.window, name, like.skeleton.name)
        self.apply, self.setting = apply, setting

    def refine(self, xy: Float[np.ndarray, "t k d"], **_) -> Float[np.ndarray, "t k d"]:
        return filtered(self.apply, [xy], self.setting)[0]


def _refined(known: Sequence[RealClip], refiners: Mapping[str, SequenceRefiner]) -> Answers:
    """Of filters, their settings chosen on made motion, and of refiners."""
    first = next(iter(refiners.values()))
    chosen = chosen_filters(motion.sequences("synthetic", "train", cameras=1, seed=1), near)
    everyone = {name: _Filtered(first, name, *how) for name, how in chosen.items()} | dict(refiners)
    return {
        name: [refine_tracks(one, clip.people) for clip in known] for name, one in everyone.items()
    }


def _seen(
    known: Sequence[RealClip],
    predictors: Mapping[str, Predictor],
    alone: Callable[[Predictor], Predictor],
) -> Answers:
    """Of the single frame and of estimators, in the boxes of the estimator."""
    everyone = {"single frame": alone(next(iter(predictors.values()))), **predictors}
    found: Answers = {name: [] for name in everyone}
    for clip in known:
        for name, one in everyone.items():
            with open_frames(clip.video) as frames:
                found[name].append(estimate_people(one, frames, clip.people))
    return found


def clips(
    recipe: Recipe, options: Options, *, alone: Callable[[Predictor], Predictor] | None = None
) -> Task:
    """People of real clips: refined track by track beside filters, or estimated anew beside the
    single-frame estimator that `alone` finds in a method.
    """
    known = read_clips(options.data)

    def scores(_case, predictors: Mapping[str, Predictor]) -> dict[str, list[Scores]]:
        seen = _seen(known, predictors, alone) if alone else _refined(known, predictors)
        judged = next(iter(seen.values()))[0].replaced.any(0)
        answers = {INPUT: [clip.people for clip in known], **seen}
        return {name: _clip_scores(name, parts, known, judged) for name, parts in answers.items()}

    rivals = "its single frame, in the estimator's boxes" if alone else "filters"
    protocol = f"{recipe.title} and {rivals}, on {_clips_text(known)}; {MEASURES}"
    rival = "single frame" if alone else "savgol"
    return Task(scores=scores, protocol=protocol, rival=rival, **_shipped(recipe, options))


# --- labels carried -------------------------------------------------------------------------------


def _labelled_clip(clip: RealClip, frames) -> Clip:
    """What the estimator says with confidence in every `EVERY`-th frame, as if it were labels."""
    people = clip.people
    sure = people.confidence >= SURE
    chosen = (people.frames % EVERY == 0) & sure.any(1)
    labels = Pose(
        people.skeleton,
        xy_frame=np.where(sure[..., None], people.xy_frame, 0),
        visibility=2 * sure,
        boxes_xyxy=people.boxes_xyxy,
        occlusion_known=False,
    )
    tracks = []
    for track in np.unique(people.tracks[chosen]).tolist():
        rows = np.flatnonzero(chosen & (people.tracks == track)).tolist()
        row_of = {int(people.frames[row]): row for row in rows}
        tracks.append(track_of(labels, track, row_of, len(frames)))
    return Clip(frames.video, tracks, name=clip.name)


def _carried(way, known: Sequence[RealClip]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each clip the distances of what was carried from what the estimator says with confidence,
    shares of the person's size, and the blocks that they are of.
    """
    for clip in known:
        with open_frames(clip.video) as frames:
            frames.count()
            labels = _labelled_clip(clip, frames)
            found = propagate.propagate(labels, frames, way, progress=False)
        places = zip(clip.people.tracks.tolist(), clip.people.frames.tolist())
        row_of = {place: row for row, place in enumerate(places)}
        pairs = [
            (i, row_of[place])
            for i, place in enumerate(zip(found.tracks.tolist(), found.frames.tolist()))
            if place in row_of
        ]
        at, rows = np.array(pairs, int).reshape(-1, 2).T
        away = metrics.joint_distances(found.xy_frame[at], clip.people.xy_frame[rows])
        sure = clip.people.confidence[rows] >= SURE
        yield _mean_of(away / clip.sizes[rows, None], sure), clip.groups[rows]


def carried(recipe: Recipe, options: Options) -> Task:
    """Labels of every so many frames carried through real clips: a line, optical flow, and the
    network.
    """
    known = [clip for clip in read_clips(options.data) if (clip.people.frames >= EVERY).any()]

    def scores(_case, predictors: Mapping[str, Predictor]) -> dict[str, list[Scores]]:
        found = {}
        for name, way in {**{way: way for way in propagate.WAYS}, **predictors}.items():
            away, groups = map(np.concatenate, zip(*_carried(way, known)))
            use = np.isfinite(away)
            values = {"away": 100 * away[use]}
            found[name] = [Scores({"method": name}, int(use.sum()), values, groups[use])]
        return found

    protocol = (
        f"labels carried through {_clips_text(known)}: what the estimator says with confidence "
        f"{SURE} or more in every {EVERY}th frame stands for labels; away: how far joints between "
        f"them are from what it says there with {SURE} or more, percent of the longer side of the "
        f"person's usual box, means over poses, 95 % by a person's blocks of {BLOCK} frames"
    )
    return Task(scores=scores, protocol=protocol, rival="farneback", **_shipped(recipe, options))
