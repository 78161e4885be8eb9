"""Whom a refiner's doubt helps and harms: cases by rule, and errors by PORT's delta. Where there is
no truth: how far joints move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ..metrics import joint_distances
from ..records import Detections, Pose, Prediction
from ..skeletons import skeleton
from .base import Predictor
from .own_video import refined_people
from .poses import place_missing

Frames = Sequence[UInt8[np.ndarray, "h w 3"]] | UInt8[np.ndarray, "t h w 3"]
LEAST = 4  # joints that are placed anew, of the people among whom the cases are found
SEVERAL, NEARER = 3, 0.05  # joints that come nearer by this share of the height, where it helps
BROKEN = 0.1  # of the height: a joint is broken that is farther off
DELTAS = np.linspace(0, 1, 21).round(2).tolist()
READS = (
    " Our weights still read a doubted place, with a mark added (in the paper the mark replaces "
    "it): the answer is a step from there."
)
ESTIMATOR, CONTROL, PORT = "the estimator", "control", "PORT"


def answer(
    predictor: Predictor, frames: Frames, people: Detections, delta: float | None
) -> Prediction:
    """What a method says about a video's people. Where boxes alone were given there is no before:
    its joints are then its detections, and none counts as replaced.
    """
    said = refined_people(predictor, frames, people, delta)
    if (people.confidence > 0).any():
        return said
    found = replace(people, xy_frame=said.xy_frame, confidence=said.confidence)
    return replace(said, replaced=np.zeros_like(said.replaced), detections=found)


class Errors(NamedTuple):
    """Of every person in a frame and joint, px: of the file, of the method; which count; and the
    people's heights, px.
    """

    before: Float[np.ndarray, "n k"]
    after: Float[np.ndarray, "n k"]
    use: Bool[np.ndarray, "n k"]
    tall: Float[np.ndarray, "n"]

    @property
    def nearer(self) -> Bool[np.ndarray, "n k"]:
        """Joints that come nearer to their places by `NEARER` of the height."""
        return self.use & (self.before - self.after >= NEARER * self.tall[:, None])


def errors(refined: Prediction, truth: Pose) -> Errors:
    """Of the joints that are placed anew, stood somewhere before and have a label."""
    found = refined.detections
    pair = (joint_distances(each.xy_frame, truth.xy_frame) for each in (found, refined))
    use = refined.replaced & (found.confidence > 0) & truth.labelled
    return Errors(*pair, use, np.ptp(found.boxes_xyxy[:, 1::2], axis=1))


def moves(refined: Prediction) -> Float[np.ndarray, "n"]:
    """How far the joints of every person that are placed anew move, mean px."""
    known = refined.replaced & (refined.detections.confidence > 0)
    far_ = joint_distances(refined.xy_frame, refined.detections.xy_frame)
    return np.where(known, far_, 0).sum(1) / known.sum(1).clip(1)


def chosen(refined: Prediction, truth: Pose | None = None) -> tuple[list[int], int]:
    """Rows of the cases, and among how many people with at least `LEAST` replaced joints they were
    found. With truth: of those with `SEVERAL` joints `NEARER` to their places, if there are any,
    whose error falls by the largest factor; and who has the joint that is carried farthest from
    its place, as a share of their height. Without: who is moved most, and least. Of fewer than
    three people: who has most such joints.
    """
    count = (refined.replaced & (refined.detections.confidence > 0)).sum(1)
    use = count >= LEAST
    if use.sum() < 3:
        return [int(count.argmax())], int(use.sum())
    if truth is None:
        among = np.flatnonzero(use)
        order = among[np.argsort(moves(refined)[among], kind="stable")].tolist()
        return [order[-1], order[0]], len(order)
    px = errors(refined, truth)
    before, after = (np.where(px.use, each, 0).sum(1) for each in px[:2])
    several = use & (px.nearer.sum(1) >= SEVERAL)
    left = after / np.maximum(before, 1e-9)
    best = np.where(several if several.any() else use, left, np.inf).argmin()
    rise = np.where(px.use & use[:, None], px.after - px.before, -np.inf).max(1) / px.tall
    return [int(best), int(rise.argmax())], int(use.sum())


def rule(
    refined: Prediction, truth: Pose | None, who: str, many: int, data: str, *, first: bool
) -> str:
    """How the first or the second case of `chosen` was found, in words, with its numbers. refined,
    truth: its row; many: as `chosen` says; data: what they are from.
    """
    at = f"frame {refined.detections.frames[0]}"
    if many < 3:
        return f"Chosen because most joints are placed anew, in {at} ({data})."
    among = (
        f"of {many} poses (a person in a frame; {data}) with at least {LEAST} joints that {who} "
        f"places anew, this is in {at}"
    )
    if truth is None:
        moved, most = moves(refined)[0], "most" if first else "least"
        words = f"Chosen because its joints move {most}: {among}; {moved:.1f} px on average."
        return f"{words} Nobody knows the truth."
    if not first:
        return f"Chosen because a joint is carried farthest from its place, by the height: {among}."
    px = errors(refined, truth)
    nearer, before, after = px.nearer.sum(), *(each[px.use].mean() for each in px[:2])
    several = (
        f"at least {SEVERAL} joints come nearer to the truth by a twentieth of the height (here "
        f"{nearer}), and of such poses "
    ) * bool(nearer >= SEVERAL)
    return (
        f"Chosen because {who} helps it most: {among}; {several}the mean error falls by the "
        f"largest factor: {before:.1f} → {after:.1f} px."
    )


def went_by(refined: Prediction, truth: Pose) -> str:
    """What PORT had to go by with one person, in words: how good the doubted places were, and the
    believed.
    """
    believed = truth.labelled & ~refined.replaced
    if not believed.any():
        return " All joints are doubted: PORT has their own doubted places alone to go by."
    px = errors(refined, truth)
    off, others = (px.before[use].mean() / px.tall[0] for use in (px.use, believed))
    return (
        f" The doubted places were off by {off:.0%} of the person's height. PORT sees no picture: "
        f"it fits them to the others, which are off by {others:.0%}."
    )


def said(
    file: float, control: float, ours: float, change: Float[np.ndarray, "n"], refined: Prediction
) -> str:
    """Errors of one pose at one delta, px, and of how many of all poses the error changes by which
    sign, in words. refined: the pose's row.
    """
    stays = ": no neighbour is left, so it moves nothing" * bool(refined.replaced.all())
    return (
        f"Mean error of this pose: {file:.1f} → {ours:.1f} px ({ours - file:+.1f}); control "
        f"{control:.1f} px{stays}.\nOf all {len(change)} poses {(change < 0).sum()} are better "
        f"than before, {(change > 0).sum()} worse."
    )


Curves = Mapping[str, Float[np.ndarray, "d n"]]


def by_delta(
    port: Predictor, frames: Frames, found: Detections, truth: Pose | None = None
) -> tuple[dict[float, Prediction], Curves]:
    """What PORT says at each of `DELTAS`, and by name the mean error of everybody's labelled
    joints, px; without truth how far joints move. The control moves a doubted joint to the mean of
    its neighbours on the bones.
    """
    # a delta of 0 would be the weights' own rule
    answers = {delta: answer(port, frames, found, delta or 1e-9) for delta in DELTAS}
    if truth is None:
        return answers, {PORT: np.stack([moves(each) for each in answers.values()])}
    labelled, curves = truth.labelled, {ESTIMATOR: [], CONTROL: [], PORT: []}
    for refined in answers.values():
        missing = replace(found, confidence=np.where(refined.replaced, 0, found.confidence))
        for people, px in zip((found, place_missing(missing), refined), curves.values()):
            away = np.where(labelled, joint_distances(people.xy_frame, truth.xy_frame), 0)
            px.append(away.sum(1) / labelled.sum(1).clip(1))
    return answers, {name: np.stack(px) for name, px in curves.items()}


def hurt_by_all(px: Float[np.ndarray, "d n"], found: Detections) -> int:
    """Who loses most, as a share of their height, where all joints are doubted and not those of
    the best of `DELTAS`.
    """
    tall = np.ptp(found.boxes_xyxy[:, 1::2], axis=1)
    return int(((px[-1] - px.min(0)) / tall).argmax())


def cost(px: Float[np.ndarray, "d n"], refined: Prediction, truth: Pose) -> str:
    """What too little and too much doubt cost on average in this clip, and the joint that comes off
    worst, in words. px: PORT's errors by delta; refined: its answer where all are doubted.
    """
    mean, each = px.mean(1), errors(refined, truth)
    best, rise = mean.argmin(), np.where(each.use, each.after - each.before, -np.inf)
    row, j = np.unravel_index(rise.argmax(), rise.shape)
    name = skeleton(refined.skeleton).joints[j].replace("_", " ")
    too_much, none = mean[-1] - mean[best], mean[0] - mean[best]
    much = "costs little" if too_much < 0.1 * mean[best] else "costs a lot"
    return (
        f"In this clip doubting too much {much} on average: the mean error (distance of joints "
        f"from the truth) of {len(each.tall)} poses is {mean[best]:.1f} px at delta = "
        f"{DELTAS[best]:g}, {mean[-1]:.1f} px where all joints are doubted ({too_much:+.1f}), "
        f"{mean[0]:.1f} px where none is ({none:+.1f}). It can ruin single joints: {name} "
        f"{each.before[row, j]:.1f} → {each.after[row, j]:.1f} px."
    )


def this_one(px: Float[np.ndarray, "d"]) -> str:
    """A pose's errors by delta, in one sentence."""
    return (
        f"{px[0]:.1f} px where none is doubted, least at delta = {DELTAS[px.argmin()]:g} "
        f"({px.min():.1f} px), {px[-1]:.1f} px where all are."
    )


def all_doubted(px: Float[np.ndarray, "d n"], refined: Prediction, truth: Pose) -> str:
    """What it does to everybody, and to broken and good joints, in words. refined: PORT's answer
    where all are doubted.
    """
    worse, each = px[-1] - px[0], errors(refined, truth)
    broken = each.before > BROKEN * each.tall[:, None]
    parts = [each.use & kind for kind in (broken, ~broken)]
    bad, good = (
        f"{use.sum()}: {each.before[use].mean():.1f} → {each.after[use].mean():.1f} px"
        if use.any()
        else "none"
        for use in parts
    )
    return (
        f"Doubting all is worse than none in {(worse > 0).sum()} of {len(worse)} poses, by at most "
        f"{max(worse.max(), 0):.1f} px. The same joints before and after, where all are doubted: "
        f"broken ones (off by more than {BROKEN:.0%} of the height), {bad}; good ones, {good}. "
        "These weights still read a doubted place."
    )
