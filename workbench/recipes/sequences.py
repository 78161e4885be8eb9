"""Sequences with an estimator's answer, and what answers on them are judged by.

jhmdb, h36m, threedpw, aist (HANet Tables 1 and 2): the files that DeciWatch's authors prepared and
the user brings. threedpw_smpl, aist_smpl: the SMPL parameters in the same files, refined as 6D
rotations and measured by angle; their MPJPE needs the SMPL body model, whose licence keeps it out
of here, and is not measured. mocap3d: motion capture in camera space. sparse: several people of
whom every fourth frame is labelled (Table 3), made here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from .. import metrics
from ..data.deciwatch import read_deciwatch, read_smpl
from ..data.manifest import locate
from ..data.posetrack import protocol_frames
from ..errors import MissingData
from ..made import motion
from ..made.motion import JOINTS, WORLD
from ..predict import SequenceRefiner
from ..train import Batch, BatchSource

THRESHOLDS = (0.05, 0.1, 0.2)
PARTS = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")  # HANet Tables 1 and 3
# The 2D detector, calmer: on training clips the input has MPJPE 65 and Accel 19, as the estimators
# of Table 2 (55 / 19, 79 / 26).
WORLD_3D = replace(
    WORLD, renewal=1 / 24, lasting=(0.985, 0.99), noise=(("scale", 0.024), ("miss", -2.4))
)
# head size of PCKh over the person's box, for people without head boxes  # unstated; ours
HEAD_SHARE = 0.1
SCENE_PEOPLE = 3  # of the sparse stand-in; ours
SCENE_SPREAD_PX = 40.0

Measured = tuple[dict[str, np.ndarray], np.ndarray]  # values by case, and the clip of each


@dataclass(frozen=True, eq=False)
class Known:
    """One sequence and what an estimator says of it, in px, mm, or 6D rotations."""

    name: str  # CLIP/...: intervals resample clips
    truth: Float[np.ndarray, "t k d"]
    detected: Float[np.ndarray, "t k d"]
    labelled: Bool[np.ndarray, "t k"]
    sizes: Float[np.ndarray, t] | None = None  # px, of the person's box
    hidden: Bool[np.ndarray, "t k"] | None = None
    scores: Float[np.ndarray, "t k"] | None = None


def clips_of(test: Sequence) -> np.ndarray:
    """The clip of each sequence."""
    return np.array([s.name.partition("/")[0] for s in test])


def framed(detected: np.ndarray, truth: np.ndarray, **more: np.ndarray) -> Batch:
    """Windows [b t k d] in the frame of their detections, as HANet takes them."""
    centre, scale = SequenceRefiner.frame(detected)
    arrays = {"xy": (detected - centre) / scale, "truth": (truth - centre) / scale, **more}
    return {
        key: torch.tensor(v.reshape(*v.shape[:2], -1), dtype=torch.float32)
        for key, v in arrays.items()
    }


def known_batches(pool: Sequence[Known], window: int, size: int) -> BatchSource:
    """Windows of known sequences, each frame as likely as another, in the frame of their
    detections; labels alone weigh.
    """
    lengths = np.array([len(s.truth) for s in pool], float)

    def source(_step: int, rng: np.random.Generator) -> Batch:
        parts = []
        for i in rng.choice(len(pool), size, p=lengths / lengths.sum()):
            s, t = pool[i], len(pool[i].truth)
            at = np.arange(window) + rng.integers(max(t - window, 0) + 1)
            inside = np.minimum(at, t - 1)
            parts.append((s.detected[inside], s.truth[inside], s.labelled[inside], at < t))
        detected, truth, labelled, valid = (np.stack(column) for column in zip(*parts))
        batch = framed(detected, truth, weight=labelled)
        return batch | {"valid": torch.tensor(valid)}

    return source


def digest_of(pool: Sequence[Known]) -> str:
    """Of training sequences, for the reuse of trained models."""
    digest = hashlib.sha256()
    for s in pool:
        digest.update(s.name.encode() + s.truth.tobytes() + s.detected.tobytes())
    return digest.hexdigest()[:16]


def error(xy: np.ndarray, s: Known) -> float:
    """Mean distance of labelled joints, negative: what filters' settings are chosen by."""
    return -float(np.linalg.norm(xy - s.truth, axis=-1)[s.labelled].mean())


# --- measures -------------------------------------------------------------------------------------


def by_part(by_joint: Float[np.ndarray, k], joints: Sequence[str]) -> dict[str, float]:
    """Means of left and right by body part, each under its own joint's name (the public program
    shifts them).
    """
    values = dict(zip(joints, by_joint))
    return {
        part: float(np.mean([v for joint, v in values.items() if joint.endswith(part)]))
        for part in PARTS
    }


def _columns(rows: Sequence[dict]) -> dict[str, np.ndarray]:
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _percent(hits: Bool[np.ndarray, "*n"]) -> float:
    return 100 * (np.count_nonzero(hits) / hits.size) if hits.size else np.nan


def measure_bursts(predicted: Sequence[np.ndarray], test: Sequence[motion.Sequence2D]) -> Measured:
    """By sequence: PCK in percent, Accel in px a frame squared, and error (px) inside and outside
    of bursts.
    """
    rows = []
    for xy, s in zip(predicted, test):
        away, sizes = metrics.joint_distances(xy, s.xy_frame), s.sizes[:, None]
        good = {t: away <= t * sizes for t in THRESHOLDS}
        row = {f"pck_{t:g}": _percent(hits) for t, hits in good.items()}
        row["accel"] = metrics.accel(xy, s.xy_frame).mean() if len(xy) > 2 else np.nan
        for name, use in (("inside", s.hidden), ("outside", ~s.hidden)):
            row[f"epe_{name}"] = away[use].mean() if use.any() else np.nan
            row[f"pck_0.05_{name}"] = _percent(good[0.05][use])
        rows.append(row)
    return _columns(rows), clips_of(test)


def measure_plane(predicted: Sequence[np.ndarray], test: Sequence[Known]) -> Measured:
    """By sequence: PCK in percent by box and by torso, at 0.2 of the box by part, and Accel in px a
    frame squared.
    """
    torso = [JOINTS.index(j) for j in ("left_shoulder", "right_hip")]
    rows = []
    for xy, s in zip(predicted, test):
        by_joint = 100 * metrics.pck(xy, s.truth, s.sizes, 0.2)
        row = by_part(by_joint, JOINTS.joints)
        for kind, sizes in (("", s.sizes), ("_torso", metrics.torso_sizes(s.truth, *torso))):
            for t in THRESHOLDS:
                row[f"pck_{t:g}{kind}"] = 100 * metrics.pck(xy, s.truth, sizes, t).mean()
        row["accel"] = metrics.accel(xy, s.truth).mean() if len(xy) > 2 else np.nan
        rows.append(row)
    return _columns(rows), clips_of(test)


def _space_values(xyz: np.ndarray, s: Known) -> dict[str, np.ndarray]:
    accel = np.full(len(xyz), np.nan)
    accel[1:-1] = metrics.accel(xyz, s.truth)
    values = {
        "mpjpe": metrics.epe(xyz, s.truth),
        "pa_mpjpe": metrics.p_epe(xyz, s.truth, align="pred_to_truth"),
        "accel": accel,
    }
    if s.hidden is None:
        return values
    away = metrics.joint_distances(xyz, s.truth)
    for name, use in (("inside", s.hidden), ("outside", ~s.hidden)):
        mean = (away * use).sum(1) / np.maximum(use.sum(1), 1)
        values[f"mpjpe_{name}"] = np.where(use.any(1), mean, np.nan)
    return values


def measure_space(predicted: Sequence[np.ndarray], test: Sequence[Known]) -> Measured:
    """By frame of all sequences, as the public program averages: MPJPE, PA-MPJPE (mm), Accel (mm a
    frame squared); where it is known, MPJPE of joints inside and outside bursts of occlusion.
    """
    each = [_space_values(xyz, s) for xyz, s in zip(predicted, test)]
    values = {key: np.concatenate([v[key] for v in each]) for key in each[0]}
    return values, np.repeat(clips_of(test), [len(xyz) for xyz in predicted])


def _matrices(six: Float[np.ndarray, "t k 6"]) -> Float[np.ndarray, "t k 3 3"]:
    """Rotations from their first two columns, made orthonormal."""
    a, b = six[..., :3], six[..., 3:]
    a = a / np.maximum(np.linalg.norm(a, axis=-1, keepdims=True), 1e-9)
    b = b - (a * b).sum(-1, keepdims=True) * a
    b = b / np.maximum(np.linalg.norm(b, axis=-1, keepdims=True), 1e-9)
    return np.stack((a, b, np.cross(a, b)), -1)


def measure_turns(predicted: Sequence[np.ndarray], test: Sequence[Known]) -> Measured:
    """By frame: mean angle between predicted and true joint rotations, degrees; the first joint's
    turn is the body's own.
    """
    angles = []
    for six, s in zip(predicted, test):
        apart = _matrices(six).swapaxes(-1, -2) @ _matrices(s.truth)
        turned = Rotation.from_matrix(apart.reshape(-1, 3, 3)).magnitude()
        angles.append(np.degrees(turned).reshape(len(six), -1))
    angle = np.concatenate(angles)
    values = {"angle_deg": angle.mean(1), "body_angle_deg": angle[:, 0]}
    return values, np.repeat(clips_of(test), [len(six) for six in predicted])


def measure_people(predicted: Sequence[np.ndarray], test: Sequence[Known]) -> Measured:
    """Mean average precision in percent over the labelled frames of all scenes, as PoseTrack
    defines it; one value each.
    """
    scenes: dict[str, list] = {}
    for xy, s in zip(predicted, test):
        person = (xy, s.scores, s.truth, s.labelled, HEAD_SHARE * s.sizes)
        scenes.setdefault(s.name.partition("/")[0], []).append(person)
    frames = []
    for people in scenes.values():
        columns = [np.stack(column, 1) for column in zip(*people)]  # [frame person ...]
        frames += [tuple(c[i] for c in columns) for i in protocol_frames(len(columns[0]), "val")]
    by_joint = 100 * metrics.pckh_ap(frames)
    values = {"map": by_joint.mean(), **by_part(by_joint, JOINTS.joints)}
    return {key: np.array([v]) for key, v in values.items()}, np.array(["all"])


# --- sets that the user brings --------------------------------------------------------------------


def _name(title: str, i: int) -> str:
    # a second person and a cut belong to one clip
    return f"{re.split(r'[#[]', title)[0].replace('/', '.')}/{i}"


def read_plane(root: Path, name: str, estimator: str, split: str) -> tuple[list[Known], Sequence]:
    """2D sequences of DeciWatch's files, px."""
    reading = read_deciwatch(root, dataset=name, split=split, estimator=estimator)
    known, first = [], 0
    for i, clip in enumerate(reading.clips if reading.detections is not None else ()):
        track, last = clip.tracks[0], first + clip.video.n_frames
        truth = track.xy_frame.astype(np.float64)
        detected = reading.detections.xy_frame[first:last].astype(np.float64)
        sizes = metrics.box_sizes(track.boxes_xyxy)
        title = _name(clip.name, i)
        known.append(Known(title, truth, detected, track.visibility > 0, sizes))
        first = last
    return known, reading.warnings


def read_space(root: Path, name: str, estimator: str, split: str) -> tuple[list[Known], Sequence]:
    """3D sequences, mm, relative to the root joint, or to the middle of the hips where there is
    none, as the public protocol does.
    """
    reading = read_deciwatch(root, dataset=name, split=split, estimator=estimator)
    known = []
    for i, m in enumerate(m for m in reading.motions if m.detected is not None):
        middle = ("root",) if "root" in m.joints else ("left_hip", "right_hip")
        at = [m.joints.index(j) for j in middle]
        truth, detected = (
            xyz - xyz[:, at].mean(1, keepdims=True) for xyz in (m.xyz_mm, m.detected)
        )
        known.append(Known(_name(m.name, i), truth, detected, np.ones(truth.shape[:2], bool)))
    return known, reading.warnings


def read_turns(root: Path, name: str, estimator: str, split: str) -> tuple[list[Known], Sequence]:
    """Joint rotations of SMPL parameters, 6D."""
    file = root / "groundtruth_poses" / name / f"{name}_gt_{split}.npz"
    known = []
    for i, (title, values) in enumerate(read_smpl(file, estimator=estimator)):
        if "detected_pose_rad" not in values:
            continue
        turns = (values[key].reshape(-1, 3) for key in ("pose_rad", "detected_pose_rad"))
        matrices = [Rotation.from_rotvec(turn).as_matrix() for turn in turns]
        six = [m[:, :, :2].swapaxes(1, 2).reshape(-1, 24, 6) for m in matrices]
        known.append(Known(_name(title, i), *six, np.ones(six[0].shape[:2], bool)))
    return known, ()


@dataclass(frozen=True)
class PublishedSet:
    """A set in DeciWatch's files. Estimators: HANet Sec. 4.2. T of 3D and SMPL: Table 2; others
    and N are unstated; as released.
    """

    files: str  # the set's name in the files
    estimator: str
    windows: tuple[int, ...]  # T
    interval: int  # N
    title: str  # in the paper's tables


PUBLISHED = {
    "jhmdb": PublishedSet("jhmdb", "simplepose", (11,), 10, "Sub-JHMDB"),
    "h36m": PublishedSet("h36m", "fcn", (51, 101), 5, "Human3.6M"),
    "threedpw": PublishedSet("pw3d", "pare", (51, 101), 10, "3DPW"),
    "aist": PublishedSet("aist", "spin", (51, 101), 10, "AIST++"),
}


def read_published(
    spec: str, published: PublishedSet, read: Callable
) -> tuple[list[Known], list[Known], str]:
    """Training and test sequences of DeciWatch's files, and what was left out, in words."""
    _, colon, path = spec.partition(":")
    root, parts, notes = locate(f"deciwatch{colon}{path}")[1], [], []
    for split in ("train", "test"):
        known, warnings = read(root, published.files, published.estimator, split)
        if not known:
            remedy = f"get detected_poses/{published.files}/{published.estimator} too"
            problem = f"no answer of {published.estimator} beside the ground truth of {split}"
            raise MissingData(problem, file=root, record=spec, remedy=remedy)
        parts.append(known)
        notes += warnings
    left = f"; {len(notes)} warnings, the first: {notes[0]}" if notes else ""
    return *parts, left


# --- motion capture in space ----------------------------------------------------------------------


def camera_space(
    xyz_mm: Float[np.ndarray, "t k 3"], rng: np.random.Generator
) -> Float[np.ndarray, "t k 3"]:
    """A body before a random camera (x right, y down, z away), relative to its root joint, mm."""
    xyz = motion.turn(xyz_mm, rng, WORLD_3D)
    return xyz - xyz[:, JOINTS.root, None]


def detect_space(
    xyz_mm: Float[np.ndarray, "n t k 3"],
    hidden: Bool[np.ndarray, "n t k"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "n t k 3"]:
    """What a 3D estimator says: the 2D detector's errors seen from the front, and its horizontal
    ones seen from the side as errors in depth; the root, which everything is relative to, has none.

    # unstated; ours
    """
    front = motion.detect(xyz_mm[..., :2], hidden, rng, WORLD_3D)
    side = motion.detect(xyz_mm[..., 2:0:-1], hidden, rng, WORLD_3D)
    detected = np.concatenate((front, side[..., :1]), -1)
    detected[:, :, JOINTS.root] = 0
    return detected


def space_sequences(spec: str, split: str, *, cameras: int = 3, seed: int = 0) -> list[Known]:
    """`motion.sequences` in camera space; spec as in `motion.motions`."""
    rng = np.random.default_rng((seed, 8, split == "test"))
    out = []
    for name, xyz in motion.motions(spec, split, seed=seed):
        for camera in range(cameras):
            truth = camera_space(xyz, rng)
            hidden = motion.bursts(1, len(truth), rng, WORLD_3D)
            detected = detect_space(truth[None], hidden, rng)[0]
            everywhere = np.ones(hidden[0].shape, bool)
            out.append(Known(f"{name}/{camera}", truth, detected, everywhere, hidden=hidden[0]))
    return out


# --- sparse labels --------------------------------------------------------------------------------


def scenes(spec: str, split: str, *, seed: int = 0, limit: int | None = None) -> list[Known]:
    """Three people in one picture, of whom every fourth frame is labelled, and there only the
    joints that nothing hides. limit: of the first so many motions alone.
    """
    rng = np.random.default_rng((seed, 9, split == "test"))
    moves = motion.motions(spec, split, copies=2, seed=seed, limit=limit)
    out = []
    for first in range(0, len(moves) - SCENE_PEOPLE + 1, SCENE_PEOPLE):
        group = [xyz for _, xyz in moves[first : first + SCENE_PEOPLE]]
        t = min(len(xyz) for xyz in group)
        aside = rng.normal(0, SCENE_SPREAD_PX, (SCENE_PEOPLE, 1, 1, 1)) * [1, 0]
        xy = np.stack([motion.photograph(xyz[:t], rng) for xyz in group]) + aside
        hidden = motion.bursts(SCENE_PEOPLE, t, rng)
        detected, scores = motion.detect_scored(xy, hidden, rng)
        judged = np.isin(np.arange(t), protocol_frames(t, "val"))[:, None]
        sizes = WORLD.box * np.ptp(xy, axis=2).max(-1)
        columns = (xy, detected, ~hidden & judged, sizes, hidden, scores.astype(np.float64))
        for i, person in enumerate(zip(*columns)):
            out.append(Known(f"{moves[first][0]}/{i}", *person))
    return out
