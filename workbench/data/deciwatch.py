"""JHMDB, Human3.6M, 3DPW and AIST++ as DeciWatch's authors prepared them; HANet reads these too."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import BadFile, BadParameter, BadRecord, MissingFile, WorkbenchError, unknown
from ..records import Reading
from ..skeletons import skeleton
from .checks import numbers_of, texts_of
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
# columns of the ground truth; an estimator's file has the first two
TRUTH = dict.fromkeys(DECIWATCH, ("imgname", "joints_3d"))
TRUTH["jhmdb"] = ("imgname", "joints_2d", "bbox", "imgshape")


def read_deciwatch(
    path: str | Path,
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
    path = Path(path)
    readings = []
    for name, file, answer_file, notes in _pairs(path, dataset, split, estimator):
        truth = _columns(file, TRUTH[name])
        answer = answer_file and _columns(answer_file, TRUTH[name][:2], n=len(truth))
        read = partial(_read_sequence, name, truth, answer, Counter())
        sequences = range(len(truth))
        reading = read_sequences("deciwatch", file, sequences, read, on_bad, notes, pictures=False)
        readings.append(reading)
    return joined("deciwatch", path, readings)


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
    truth = _columns(file, ("imgname", "pose"), ("shape",))
    sources = {"": truth}
    if answer_file:
        sources["detected_"] = _columns(answer_file, ("imgname", "pose"), ("shape",), len(truth))
    sequences = []
    for i in range(len(truth)):
        record = f"sequence {i}"
        with named(file, record):
            images = truth.images(i)
        parameters = {}
        for prefix, columns in sources.items():
            with named(columns.file, record):
                pose = columns.array(i, "pose", (len(images), 24, 3))
                parameters[f"{prefix}pose_rad"] = pose
                if "shape" in columns.columns:
                    parameters[f"{prefix}shape"] = columns.array(i, "shape", (len(images), 10))
        sequences.append((_folder(images), parameters))
    return sequences


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


@dataclass(frozen=True)
class _Columns:
    """Columns of an npz, each with an entry for each sequence. Errors name neither file nor
    sequence.
    """

    file: Path
    columns: Mapping[str, np.ndarray | list]

    def __len__(self) -> int:
        return len(self.columns["imgname"])

    def images(self, i: int) -> list[str]:
        return texts_of(self.columns["imgname"][i], "imgname")

    def array(self, i: int, key: str, shape: Sequence[int], gaps: bool = False) -> np.ndarray:
        """Sequence i of a column in a shape; published files have [t k d] and [t k*d]."""
        value = self.columns[key][i]
        if isinstance(value, np.ndarray) and value.size and value.ndim > 1:
            value = value.reshape(len(value), -1)
        t, *inner = shape
        return numbers_of(value, key, (t, math.prod(inner)), gaps=gaps).reshape(shape)


def _columns(
    file: Path, keys: Sequence[str], optional: Sequence[str] = (), n: int | None = None
) -> _Columns:
    """Columns of n sequences, or of as many as imgname has."""
    columns = read_npz(file, keys, optional, objects=True)
    sizes = {
        key: len(column) if getattr(column, "ndim", 1) else -1 for key, column in columns.items()
    }
    expected = {sizes["imgname"] if n is None else n}
    if set(sizes.values()) != expected or -1 in expected:
        count = "equally many" if n is None else n
        raise BadFile(f"sequences by column {sizes}, {count} expected", file=file)
    return _Columns(file, columns)


# --- sequences ------------------------------------------------------------------------------------


def _folder(images: Sequence[str]) -> str:
    """The folder of a sequence's pictures, which names the sequence."""
    return images[0].rpartition("/")[0] if images else ""


def _read_sequence(
    dataset: str, truth: _Columns, answer: _Columns | None, people: Counter, i: int
) -> Reading:
    """Sequence i. people: how many were read of each folder of pictures; counted on here."""
    with named(truth.file, f"sequence {i}"):
        images = truth.images(i)
        if not images:
            raise BadRecord("has no frames")
    folder = _folder(images)
    record = f"sequence {i} ({folder})"
    joint_set, fps = DECIWATCH[dataset]
    key = TRUTH[dataset][1]
    flat = key == "joints_2d"
    shape = (len(images), len(skeleton(joint_set)), 2 if flat else 3)
    with named(truth.file, record):
        joints = truth.array(i, key, shape, gaps=not flat)
    guess = None
    if answer:
        with named(answer.file, record):
            guess = answer.array(i, key, shape, gaps=not flat)
            if answer.images(i) != images:
                raise BadRecord("its frames are not those of the ground truth")
    people[folder] += 1
    name = folder if people[folder] == 1 else f"{folder}#{people[folder]}"
    with named(truth.file, record):
        if flat:
            return _clip(name, images, truth, i, joints, guess)
    guess = None if guess is None else 1000 * guess
    motions, gaps = motions_of(
        truth.file, name, joint_set, 1000 * joints, guess, fps=fps, space="root"
    )
    return Reading("deciwatch", str(truth.file), motions=motions, warnings=gaps)


def _clip(
    name: str,
    images: Sequence[str],
    truth: _Columns,
    i: int,
    joints: np.ndarray,
    guess: np.ndarray | None,
) -> Reading:
    """JHMDB's sequence i as a clip, with what the estimator saw."""
    boxes = numbers_of(truth.columns["bbox"][i], "bbox", (len(images), 4))
    size = numbers_of(truth.columns["imgshape"][i], "imgshape", (None,))[:2].astype(int).tolist()
    if len(size) < 2 or min(size) < 1:
        raise BadRecord(f"imgshape is {size}, height and width expected")
    height, width = size
    track = track_of("jhmdb15", 0, joints, np.ones(joints.shape[:2], bool), boxes=boxes)
    pictures = [image.rpartition("/")[2] for image in images]
    clip = clip_of_pictures(_folder(images), pictures, [track], name, width=width, height=height)
    seen = None
    if guess is not None:  # no confidence is stated: 1; ours
        keypoints = np.insert(guess, 2, 1, axis=2)
        seen = detections_of("jhmdb15", keypoints, np.arange(len(images)), images, boxes=boxes)
    return Reading("deciwatch", str(truth.file), None, seen, clips=(clip,))
