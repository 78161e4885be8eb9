"""PORT for bodies, whose detectors nobody has measured: what it learns from, the rule it ships, and
how both are judged.

Hands have published detections; for bodies every user brings another detector. So training draws
another detector for every batch (`made.detectors`), confidences enter as ranks in their file, and a
joint is replaced only where PORT's own estimate says that this brings it closer to the truth. All
of it is ours, not the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from .. import metrics
from ..data.manifest import locate
from ..data.pairing import read_pairs
from ..data.results import file_in_truth_boxes
from ..made.bodies import photographed, sample_bodies
from ..made.detectors import Detector
from ..made.gaits import gait_joints_mm
from ..made.snapshots import cut
from ..models.port import PortConfig
from ..predict import PortRefiner, RefineRule, as_simulated, pose_frame, pose_weights
from ..records import Detections, Pose
from ..skeletons import skeleton
from ..train import Batch, BatchSource, TrainConfig
from .base import Scores

File = tuple[Pose, Detections]  # n people, and what one detector says about them

TRAIN = TrainConfig(
    steps=2_000,
    batch_size=64,
    lr=5e-4,
    warmup_steps=100,
    clip_norm=1.0,
    ema=0.998,
    save_every=250,
)
LOSSES = {"distance": 1.0, "closeness": 0.3}  # unstated; ours
SHEAR = 0.1  # std of a small linear distortion of every pose; ours
FILES = (1, 4, 16, 64)  # people of a file, among whom confidences are ranked; ours
MASKED = (0.05, 0.7)  # shares of a batch's joints that are hidden, the least confident; ours
SHARE = 0.5  # of a file's joints that may be replaced, the least confident ones; ours
MARGINS = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3)  # of which one is chosen; ours
PEOPLE = 64  # of a made file
FLOORS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
PROMISE = -0.003  # the lower end of a file's change of OKS that a rule may have; ours
KEPT = 0.95  # of the files of every kind keep it; ours


# --- made files -----------------------------------------------------------------------------------


def sample_people(n: int, rng: np.random.Generator) -> Pose:
    """Bodies as pictures show them: varied, cut off, covered."""
    return cut(sample_bodies(n, rng, varied=True), rng)


def sample_file(n: int, rng: np.random.Generator) -> File:
    """n people and what one detector, another with every call, says about them."""
    pose = sample_people(n, rng)
    return pose, Detector.draw(rng).apply(pose, rng)


def _moving_people(n: int, rng: np.random.Generator) -> Pose:
    """People in the middle of what they do (`made.gaits`), of which training has seen nothing."""
    shown = [gait_joints_mm(30, 10.0, rng) for _ in range(n)]
    moments = rng.integers(30, size=n)
    names = [name for name in shown[0] if not name.endswith("toes")]
    joints = {
        name: np.stack([each[name][t] for each, t in zip(shown, moments, strict=True)])
        for name in names
    }
    return cut(photographed(joints, rng, varied=True), rng)


def _worse_file(n: int, rng: np.random.Generator) -> File:
    """A detector that blunders more than any in training and whose confidence says less."""
    pose = sample_people(n, rng)
    detector = Detector.draw(rng, level=rng.uniform(1.0, 1.5), blind=rng.uniform(0.5, 1.5))
    return pose, detector.apply(pose, rng)


def _better_file(n: int, rng: np.random.Generator) -> File:
    """A detector that errs less than any in training."""
    pose = sample_people(n, rng)
    detector = Detector.draw(rng, level=0.0)
    noise = replace(detector.noise, scale=0.003, slope=0.2)
    return pose, replace(detector, noise=noise).apply(pose, rng)


def _other_file(n: int, rng: np.random.Generator) -> File:
    pose = _moving_people(n, rng)
    return pose, Detector.draw(rng).apply(pose, rng)


# what a rule is chosen on: detectors as in training, and three kinds that training does not know
KINDS = {
    "alike": sample_file,
    "other bodies": _other_file,
    "worse": _worse_file,
    "better": _better_file,
}


def made_files(
    files: int, seed: int, kinds: Sequence[str] = tuple(KINDS)
) -> Iterator[tuple[str, File]]:
    """So many files of each kind of `KINDS`, with the kind's name; no training batch's stream."""
    for number, (kind, sample) in enumerate(KINDS.items()):
        for i in range(files if kind in kinds else 0):
            yield kind, sample(PEOPLE, np.random.default_rng((seed, 11, number, i)))


# --- batches --------------------------------------------------------------------------------------


def _calibrated(confidence: np.ndarray, people: int) -> np.ndarray:
    """Confidences by their rank among those of so many rows each."""
    parts = np.split(confidence, range(people, len(confidence), people))
    return np.concatenate([as_simulated(part, np.sort(part, axis=None)) for part in parts])


def file_batches(
    config: PortConfig,
    size: int,
    sample: Callable[[int, np.random.Generator], File] = sample_file,
) -> BatchSource:
    """A detector's people in, joints below a random quantile of confidence marked, truth out; only
    labelled joints are asked for.
    """

    def source(_step: int, rng: np.random.Generator) -> Batch:
        pose, detected = sample(size, rng)
        linear = np.eye(2) + SHEAR * rng.standard_normal((size, 2, 2))
        truth, xy = (each.astype(float) @ linear for each in (pose.xy_frame, detected.xy_frame))
        confidence = _calibrated(detected.confidence, int(rng.choice(FILES)))
        mask = confidence < np.quantile(confidence, rng.uniform(*MASKED, size))[:, None]
        centre, scale = pose_frame(xy, pose_weights(mask, confidence, config.frame))
        arrays = {"xy": (xy - centre) / scale, "truth": (truth - centre) / scale}
        batch = {key: torch.tensor(v, dtype=torch.float32) for key, v in arrays.items()}
        flags = {"mask": torch.tensor(mask), "known": torch.tensor(pose.labelled)}
        return batch | flags | {"confidence": torch.tensor(confidence)}

    return source


# --- what an answer is worth ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Worth:
    """Answers about n people. error: of labelled joints, over the root of the person's area
    (the scale of OKS), NaN elsewhere.
    """

    oks: Float[np.ndarray, n]
    error: Float[np.ndarray, "n k"]


def worth(xy_frame: Float[np.ndarray, "n k 2"], truth: Pose) -> Worth:
    """Of people with a labelled joint each. Made people state no area: theirs is 0.53 of the
    box.
    """
    areas = metrics.person_areas(truth, "box" if truth.areas is None else None)
    sigmas = np.array(skeleton(truth.skeleton).oks_sigmas)
    person = (truth.xy_frame, truth.labelled, areas, sigmas, truth.boxes_xyxy)
    away = metrics.joint_distances(xy_frame, truth.xy_frame) / np.sqrt(areas)[:, None]
    return Worth(metrics.paired_oks(xy_frame, *person), np.where(truth.labelled, away, np.nan))


# --- the rule -------------------------------------------------------------------------------------


def _changes(
    refiner: PortRefiner, truth: Pose, detected: Detections
) -> tuple[float, Float[np.ndarray, "m 5"]]:
    """Of a file: PORT's disagreement with it, and for each of `MARGINS` the mean change of OKS, the
    lower end of its 95 % (normal) interval, the sum of the replaced joints' changes of error,
    how many labelled ones they are, and the share of all joints that is replaced.
    """
    fitted = refiner.fitted(detected)
    mask = fitted.mask(detected)
    judged = fitted.judged(detected, mask)
    before, rows = worth(detected.xy_frame, truth), []
    for margin in MARGINS:
        replaced = mask & (judged.gain > margin)
        xy = np.where(replaced[..., None], judged.xy_frame, detected.xy_frame)
        after = worth(xy, truth)
        oks = after.oks - before.oks
        error = (after.error - before.error)[replaced & truth.labelled]
        low = oks.mean() - 1.96 * oks.std(ddof=1) / np.sqrt(len(oks))
        rows.append((oks.mean(), low, error.sum(), len(error), replaced.mean()))
    return judged.disagreement(detected.confidence > 0), np.array(rows)


Table = dict[str, list[tuple[float, Float[np.ndarray, "m 5"]]]]  # of kinds, a file each


def change_table(refiner: PortRefiner, files: Iterable[tuple[str, File]]) -> Table:
    """`_changes` of every file by its kind."""
    table: Table = {}
    for kind, (truth, detected) in files:
        table.setdefault(kind, []).append(_changes(refiner, truth, detected))
    return table


def choose_limits(table: Table) -> tuple[float, float]:
    """Of the floors and margins that keep the promise with `KEPT` of the files of every kind, and
    bring the replaced joints of every kind closer in the mean, the ones that gain the most OKS in
    the mean of the kinds; a margin of 1, which replaces nothing, where none does.
    """
    best, chosen = 0.0, (0.0, 1.0)
    for floor in FLOORS:
        kinds = [
            np.stack([rows * (apart >= floor) for apart, rows in files]) for files in table.values()
        ]
        for i, margin in enumerate(MARGINS):
            good = all(
                np.mean(rows[:, i, 1] >= PROMISE) >= KEPT and rows[:, i, 2].sum() <= 0
                for rows in kinds
            )
            gain = float(np.mean([rows[:, i, 0].mean() for rows in kinds]))
            if good and gain > best:
                best, chosen = gain, (floor, margin)
    return chosen


def choose_rule(refiner: PortRefiner, files: int, seed: int) -> RefineRule:
    """The rule that is shipped, chosen on made files alone."""
    rule = open_rule(len(refiner.skeleton))
    table = change_table(PortRefiner(refiner.model, rule), made_files(files, seed))
    floor, margin = choose_limits(table)
    source = (
        f"the less confident {SHARE:.0%} of a file's joints, where PORT expects to be closer by "
        f"the margin, in files that it disagrees with by the floor; of those that lose no more "
        f"OKS than {-PROMISE} at the lower end in {KEPT:.0%} of made files of {PEOPLE} people the "
        f"best, {files} files each of {', '.join(KINDS)}, seed {seed}"
    )
    return replace(rule, floor=floor, margin=margin, source=source)


def open_rule(joints: int) -> RefineRule:
    """The rule before its limits are chosen. Delta is the simulated detector's, until a file gives
    its own.
    """
    return RefineRule((SHARE,) * joints, mirror=True, share=SHARE, margin=0.0)


# --- rows -----------------------------------------------------------------------------------------

# who answers -> options of `PortRefiner.refine`; None: the detector as it is
ANSWERS = {"detector": None, "port": {}, "port, without abstaining": {"abstain": False}}
PROTOCOL = (
    "oks: object keypoint similarity of each person, percent; error: distance of labelled joints "
    "over the root of the person's area, percent; means over people. replaced_share: of all "
    "joints, 0 to 1, replaced_share_labelled: of labelled ones; replaced_error: of labelled "
    "joints that are replaced, percent, replaced_change: what replacing does to it. Intervals: "
    "95 % bootstrap by {groups}, changes paired. Without abstaining: every joint below delta is "
    "replaced (PORT Eq. 13 and 14), with the same weights"
)


def file_scores(
    files: Sequence[File], refiner: PortRefiner, subset: str, groups: Sequence[Sequence[str]]
) -> dict[str, list[Scores]]:
    """Rows of the detector, of PORT, and of PORT that replaces all that it may. groups: of every
    file's people, drawn whole.
    """
    people = np.concatenate([np.asarray(each) for each in groups])
    before = [worth(detected.xy_frame, truth) for truth, detected in files]
    found = {}
    for name, options in ANSWERS.items():
        words = {"method": name, "subset": subset}
        if options is None:
            found[name] = [Scores(words, len(people), _values(before), people)]
            continue
        answers = [refiner.refine(detected, **options) for _, detected in files]
        after = [worth(a.xy_frame, truth) for a, (truth, _) in zip(answers, files, strict=True)]
        replaced = np.concatenate([answer.replaced for answer in answers])
        whole, ends = _replaced(replaced, before, after, people)
        found[name] = [Scores(words, len(people), _values(after), people, whole, ends=ends)]
    return found


def _values(parts: Sequence[Worth]) -> dict[str, Float[np.ndarray, n]]:
    """Measures of each person, percent."""
    return {
        "oks": 100 * np.concatenate([part.oks for part in parts]),
        "error": 100 * np.concatenate([np.nanmean(part.error, axis=1) for part in parts]),
    }


def _replaced(
    replaced: Bool[np.ndarray, "n k"],
    before: Sequence[Worth],
    after: Sequence[Worth],
    people: np.ndarray,
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Measures of the replaced joints, errors in percent, and the interval of their change."""
    first, last = (100 * np.concatenate([w.error for w in part]) for part in (before, after))
    labelled = np.isfinite(first)
    use = replaced & labelled
    whole = {
        "replaced_share": float(replaced.mean()),
        "replaced_share_labelled": float(use.sum() / labelled.sum()),
    }
    groups = np.broadcast_to(people[:, None], use.shape)[use]
    if len(set(groups.tolist())) < 2:
        return whole, {}
    change = (last - first)[use]
    whole |= {
        "replaced_error": float(last[use].mean()),
        "replaced_error_detector": float(first[use].mean()),
        "replaced_change": float(change.mean()),
    }
    ends = metrics.bootstrap_interval(change, groups, np.random.default_rng(0))
    return whole, {"replaced_change": ends}


def made_scores(refiner: PortRefiner, files: int, seed: int) -> dict[str, list[Scores]]:
    """Rows on made files, kind by kind."""
    rows: dict[str, list[Scores]] = {}
    made = list(made_files(files, seed))
    for kind in KINDS:
        chosen = [file for name, file in made if name == kind]
        groups = [[f"{kind} {i}"] * len(truth) for i, (truth, _) in enumerate(chosen)]
        for name, scores in file_scores(chosen, refiner, kind, groups).items():
            rows.setdefault(name, []).extend(scores)
    return rows


# --- real pictures --------------------------------------------------------------------------------


def read_in_truth_boxes(data: str) -> tuple[Path, Pose, Detections]:
    """COCO's people and what an estimator says of them in their true boxes, row by row; and the
    file.

    data: "real_detections" or "real_detections:PATH": a folder with one *_in_truth_boxes.json, COCO
    results whose rows state an annotation_id. The truth is that of the manifest `coco`. People
    without a labelled joint are left out.
    """
    file = file_in_truth_boxes(locate(data)[1])
    pairs = read_pairs("coco", file)
    return file, pairs.truth, pairs.detections
