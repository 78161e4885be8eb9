"""JHMDB, Human3.6M, 3DPW and AIST++ as DeciWatch's authors prepared them; HANet reads these too."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import BadFile, BadParameter, BadRecord, MissingFile, WorkbenchError, unknown
from ..records import Clip, Detections, Reading
from ..skeletons import skeleton
from .checks import numbers_of, texts_of
from .readers import reader
from .releases import (
    choose,
    clip_of_pictures,
    detections_of,
    joined,
    motions_of,
    named,
    read_sequences,
    release,
    track_of,
)
from .safe import read_npz

DECIWATCH = {  # skeleton, frames a second
    "jhmdb": ("jhmdb15", None),
    "h36m": ("h36m17", 50),
    "pw3d": ("h36m17", 30),
    "aist": ("3dpw14", 60),
}


@reader(
    "deciwatch",
    order=340,
    kind="sequences",
    reads="DeciWatch's and HANet's npz",
    recognised="SET_gt_SPLIT.npz",
    fits=lambda file: file.ends(".npz") and "_gt_" in file.path.name,
)
def read_deciwatch(
    path: Path,
    *,
    dataset: str | None = None,
    split: str | None = None,
    estimator: str | None = None,
    on_bad: str = "raise",
) -> Reading:
    """Sequences as DeciWatch's authors prepared them (HANet reads these): ground truth and an
    estimator's answer.

    path: a SET_gt_SPLIT.npz, or the folder that has groundtruth_poses/SET/ and
    detected_poses/SET/ESTIMATOR/. dataset: jhmdb, h36m, pw3d or aist; split: train, test (aist also
    validate). estimator: simplepose, fcn, eft, pare, spin, ..., as its folder is called; None takes
    the first, with a warning. jhmdb: a Clip a sequence (joints_2d px, the file's bbox, which PCK is
    measured by, imgshape), and `detections` without confidence (1 is written), row by row: all
    frames of clip after clip, `frames` the frame. The others: a Motion a sequence, `space="root"`
    (m, relative to the root as stated), `detected` beside it; NaN frames are cut out with a
    warning. A second person of a sequence is NAME#2. SMPL parameters: `read_smpl`. Arrays of
    objects in these files are read as lists; nothing in them is run. Nothing says what is occluded.
    Errors: `MissingFile`, `EmptyFile`, `BadFile`, `UnsafeFile`, `UnknownName` for a set, split or
    estimator, `BadRecord` with the sequence (`on_bad="raise"`: the first, with the file's count).
    """
    pairs = _pairs(path, dataset, split, estimator)
    return joined(path, [_read_file(*pair, on_bad) for pair in pairs])


def read_smpl(
    path: str | Path, *, estimator: str | None = None
) -> list[tuple[str, dict[str, np.ndarray]]]:
    """SMPL parameters in DeciWatch's SET_gt_SPLIT.npz of pw3d and aist, by sequence: its name, and

    pose_rad [t 24 3]: axis-angle of each joint against its parent; shape [t 10], where stated; of
    the estimator beside it (as in `read_deciwatch`), where there is one: detected_pose_rad,
    detected_shape. Errors: those of `read_deciwatch`.
    """
    if not os.path.isfile(path):
        raise MissingFile("no such file", file=path, remedy="name one SET_gt_SPLIT.npz")
    _, file, answer_file, _ = next(_pairs(Path(path), None, None, estimator))
    sequences = _sequences(file, answer_file, ("imgname", "pose"), ("shape",))
    smpl = []
    for i, (truth, answer) in enumerate(sequences):
        record = f"sequence {i}"
        with named(file, record):
            images = texts_of(truth["imgname"], "imgname")
            parameters = _smpl(truth, len(images))
        if answer:
            with named(answer_file, record):
                guess = _smpl(answer, len(images))
            parameters |= {f"detected_{name}": value for name, value in guess.items()}
        smpl.append((_folder(images), parameters))
    return smpl


def _smpl(sequence: Mapping, t: int) -> dict[str, np.ndarray]:
    parameters = {"pose_rad": _array(sequence, "pose", (t, 24, 3))}
    if "shape" in sequence:
        parameters["shape"] = _array(sequence, "shape", (t, 10))
    return parameters


# --- files ----------------------------------------------------------------------------------------


def _pairs(
    path: Path, dataset: str | None, split: str | None, estimator: str | None
) -> Iterator[tuple[str, Path, Path | None, list[WorkbenchError]]]:
    """Data set, ground truth, the estimator's file beside it or None, and a warning where there
    was a choice.
    """
    root, files = release(path, "deciwatch", "groundtruth_poses/*/*_gt_*.npz")
    chosen = []
    for file in files:
        name, _, part = file.stem.partition("_gt_")
        if name in ([dataset] if dataset else DECIWATCH) and split in (None, part):
            chosen.append((file, name, part))
    if not chosen:
        wanted = f"{dataset or 'SET'}_gt_{split or 'SPLIT'}.npz"
        raise unknown("ground truth", wanted, [file.name for file in files], file=path)
    for file, name, part in chosen:
        folder = root / "detected_poses" / name
        answers = {f.parent.name: f for f in sorted(folder.glob(f"*/{name}_*_{part}.npz"))}
        notes = []
        if estimator is not None:
            choose("estimator", estimator, answers, folder)
        first = next(iter(answers), None)
        if estimator is None and len(answers) > 1:
            problem = f"detections of {', '.join(answers)} are there, those of {first} are read"
            notes = [BadParameter(problem, file=folder, remedy="name an estimator")]
        yield name, file, answers.get(estimator or first), notes


def _sequences(
    file: Path, answer_file: Path | None, keys: Sequence[str], optional: Sequence[str] = ()
) -> list[tuple[dict, dict | None]]:
    """Each sequence's values by key: the ground truth's, and the estimator's of the first two."""
    truths = _rows(file, keys, optional)
    answers = [None] * len(truths)
    if answer_file:
        answers = _rows(answer_file, keys[:2], optional, len(truths))
    return list(zip(truths, answers))


def _rows(
    file: Path, keys: Sequence[str], optional: Sequence[str], n: int | None = None
) -> list[dict]:
    """Columns of n sequences, or of as many as imgname has, sequence by sequence."""
    columns = read_npz(file, keys, optional, objects=True)
    sizes = {key: len(c) if getattr(c, "ndim", 1) else -1 for key, c in columns.items()}
    expected = {sizes["imgname"] if n is None else n}
    if set(sizes.values()) != expected or -1 in expected:
        count = "equally many" if n is None else n
        raise BadFile(f"sequences by column {sizes}, {count} expected", file=file)
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


# --- sequences ------------------------------------------------------------------------------------


def _folder(images: Sequence[str]) -> str:
    """The folder of a sequence's pictures, which names the sequence."""
    return images[0].rpartition("/")[0] if images else ""


def _array(sequence: Mapping, key: str, shape: Sequence[int], gaps: bool = False) -> np.ndarray:
    """An array of a sequence in a shape; published files have [t k d] and [t k*d]."""
    value = sequence[key]
    if isinstance(value, np.ndarray) and value.size and value.ndim > 1:
        value = value.reshape(len(value), -1)
    t, *inner = shape
    return numbers_of(value, key, (t, math.prod(inner)), gaps=gaps).reshape(shape)


def _read_file(
    dataset: str,
    file: Path,
    answer_file: Path | None,
    notes: Sequence[WorkbenchError],
    on_bad: str,
) -> Reading:
    joint_set, fps = DECIWATCH[dataset]
    flat = dataset == "jhmdb"
    keys = ("imgname", "joints_2d", "bbox", "imgshape") if flat else ("imgname", "joints_3d")
    pairs = _sequences(file, answer_file, keys)
    people = Counter()  # that were read, by folder of pictures

    def joints_of(sequence: Mapping, images: Sequence[str]) -> np.ndarray:
        if texts_of(sequence["imgname"], "imgname") != images:
            raise BadRecord("its frames are not those of the ground truth")
        shape = (len(images), len(skeleton(joint_set)), 2 if flat else 3)
        return _array(sequence, keys[1], shape, gaps=not flat)

    def read(i: int) -> Reading:
        truth, answer = pairs[i]
        with named(file, f"sequence {i}"):
            images = texts_of(truth["imgname"], "imgname")
            if not images:
                raise BadRecord("has no frames")
        folder = _folder(images)
        record = f"sequence {i} ({folder})"
        with named(file, record):
            joints, guess = joints_of(truth, images), None
        if answer:
            with named(answer_file, record):
                guess = joints_of(answer, images)
        people[folder] += 1
        name = folder if people[folder] == 1 else f"{folder}#{people[folder]}"
        with named(file, record):
            if flat:
                clip, seen = _clip(name, truth, images, joints, guess)
                return Reading(detections=seen, clips=(clip,))
        guess = None if guess is None else 1000 * guess
        motion = {"fps": fps, "space": "root"}
        motions, gaps = motions_of(file, name, joint_set, 1000 * joints, guess, **motion)
        return Reading(motions=motions, warnings=gaps)

    sequences = range(len(pairs))
    return read_sequences(file, sequences, read, on_bad, notes, pictures=False)


def _clip(
    name: str,
    truth: Mapping,
    images: Sequence[str],
    joints: np.ndarray,
    guess: np.ndarray | None,
) -> tuple[Clip, Detections | None]:
    """JHMDB's sequence as a clip, and what the estimator saw."""
    boxes = numbers_of(truth["bbox"], "bbox", (len(images), 4))
    size = numbers_of(truth["imgshape"], "imgshape", (None,))[:2].astype(int).tolist()
    if len(size) < 2 or min(size) < 1:
        raise BadRecord(f"imgshape is {size}, height and width expected")
    height, width = size
    track = track_of("jhmdb15", 0, joints, np.ones(joints.shape[:2], bool), boxes=boxes)
    pictures = [image.rpartition("/")[2] for image in images]
    clip = clip_of_pictures(_folder(images), pictures, [track], name, width=width, height=height)
    if guess is None:
        return clip, None
    # no confidence is stated: 1; ours
    keypoints = np.insert(guess, 2, 1, axis=2)
    return clip, detections_of("jhmdb15", keypoints, images, boxes=boxes)
