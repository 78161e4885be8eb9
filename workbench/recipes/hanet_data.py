"""HANet beyond its 2D motion-capture row: what `evaluate hanet --data` runs for the names in
`SETS`.

jhmdb, h36m, threedpw, aist (Tables 1 and 2): sequences with an estimator's answer, in the files
that DeciWatch's authors prepared and the user brings. threedpw_smpl, aist_smpl: the SMPL parameters
in the same files, refined as 6D rotations and measured by angle; their MPJPE needs the SMPL body
model, whose licence keeps it out of here, and is not measured. mocap3d: motion capture in camera
space. sparse: several people of whom every fourth frame is labelled (Table 3), made here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from .. import metrics
from ..data.deciwatch import read_deciwatch, read_smpl
from ..data.manifest import locate
from ..data.posetrack import protocol_frames
from ..errors import MissingData, unknown
from ..ledger import paper
from ..models import build
from ..models.hanet import HANetConfig
from ..predict import SequenceRefiner
from ..train import Batch, TrainConfig, share
from . import hanet

# Estimators: Sec. 4.2. T of 3D and SMPL: Table 2, T and N of sparse labels: Sec. 4.4. Other T and N
# are unstated; as released.
PUBLISHED = {  # name here -> set and estimator in the files, T, N, the set in the paper's tables
    "jhmdb": ("jhmdb", "simplepose", (11,), 10, "Sub-JHMDB"),
    "h36m": ("h36m", "fcn", (51, 101), 5, "Human3.6M"),
    "threedpw": ("pw3d", "pare", (51, 101), 10, "3DPW"),
    "aist": ("aist", "spin", (51, 101), 10, "AIST++"),
}
PARTS = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")  # HANet Tables 1 and 3
# The 2D detector, calmer: on training clips the input has MPJPE 65 and Accel 19, as the estimators
# of Table 2 (55 / 19, 79 / 26).
WORLD_3D = replace(
    hanet.WORLD, renewal=1 / 24, lasting=(0.985, 0.99), noise=(("scale", 0.024), ("miss", -2.4))
)
# head size of PCKh over the person's box, for people without head boxes  # unstated; ours
HEAD_SHARE = 0.1
SCENE_PEOPLE, SCENE_SPREAD_PX = 3, 40.0  # of the sparse stand-in; ours


@dataclass(frozen=True, eq=False)
class Known:
    """One sequence and what an estimator says of it, in px, mm, or 6D rotations."""

    name: str  # CLIP/...: intervals resample clips
    truth: Float[np.ndarray, "t k d"]
    detected: Float[np.ndarray, "t k d"]
    labelled: Bool[np.ndarray, "t k"]
    sizes: Float[np.ndarray, "t"] | None = None  # px, of the person's box
    hidden: Bool[np.ndarray, "t k"] | None = None
    scores: Float[np.ndarray, "t k"] | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """A protocol: sequences, window T and interval N, what is measured, and which rows of the
    paper stand beside it.
    """

    test: Sequence[Known]
    train: Sequence[Known]  # filters choose their settings on these
    windows: tuple[int, ...]
    interval: int
    measure: Callable[
        [Sequence[np.ndarray], Sequence[Known]], tuple[dict[str, np.ndarray], np.ndarray]
    ]
    protocol: str
    key: str  # of the training data, for the reuse of trained models
    paper: list[dict]
    # (window, size) -> source
    batches: Callable[[int, int], Callable[[int, np.random.Generator], Batch]]


def known_batches(
    pool: Sequence[Known], window: int, size: int
) -> Callable[[int, np.random.Generator], Batch]:
    """Windows of known sequences, each frame as likely as another, in the frame of their
    detections; labels alone weigh.
    """
    share = np.array([len(s.truth) for s in pool], float)

    def source(_step: int, rng: np.random.Generator) -> Batch:
        parts = []
        for i in rng.choice(len(pool), size, p=share / share.sum()):
            s, t = pool[i], len(pool[i].truth)
            at = np.arange(window) + rng.integers(max(t - window, 0) + 1)
            parts.append(
                [x[np.minimum(at, t - 1)] for x in (s.detected, s.truth, s.labelled)] + [at < t]
            )
        found, truth, labelled, valid = (np.stack(column) for column in zip(*parts))
        centre, scale = SequenceRefiner.frame(found)
        arrays = {
            "xy": (found - centre) / scale,
            "truth": (truth - centre) / scale,
            "weight": labelled,
        }
        batch = {
            key: torch.tensor(v.reshape(size, window, -1), dtype=torch.float32)
            for key, v in arrays.items()
        }
        return batch | {"valid": torch.tensor(valid)}

    return source


def _of(pool: Sequence[Known]) -> str:
    digest = hashlib.sha256()
    for s in pool:
        digest.update(s.name.encode() + s.truth.tobytes() + s.detected.tobytes())
    return digest.hexdigest()[:16]


# --- measures -------------------------------------------------------------------------------------


def by_part(by_joint: Float[np.ndarray, "k"], joints: Sequence[str]) -> dict[str, float]:
    """Means of left and right by body part, each under its own joint's name (the public program
    shifts them).
    """
    return {
        part: float(np.mean([v for v, j in zip(by_joint, joints) if j.endswith(part)]))
        for part in PARTS
    }


def _clips(test: Sequence[Known]) -> np.ndarray:
    return np.array([s.name.partition("/")[0] for s in test])


def measure_plane(
    predicted: Sequence[np.ndarray], test: Sequence[Known]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """By sequence: PCK in percent by box and by torso, at 0.2 of the box by part, and Accel in
    px a frame squared.
    """
    torso = [hanet.JOINTS.index(j) for j in ("left_shoulder", "right_hip")]
    rows = []
    for xy, s in zip(predicted, test):
        by_joint = 100 * metrics.pck(xy, s.truth, s.sizes, 0.2)
        row = by_part(by_joint, hanet.JOINTS.joints)
        for kind, sizes in (("", s.sizes), ("_torso", metrics.torso_sizes(s.truth, *torso))):
            row |= {
                f"pck_{t:g}{kind}": 100 * metrics.pck(xy, s.truth, sizes, t).mean()
                for t in hanet.THRESHOLDS
            }
        rows.append(row | {"accel": metrics.accel(xy, s.truth).mean() if len(xy) > 2 else np.nan})
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}, _clips(test)


def measure_space(
    predicted: Sequence[np.ndarray], test: Sequence[Known]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """By frame of all sequences, as the public program averages: MPJPE, PA-MPJPE (mm), Accel (mm
    a frame squared); where it is known, MPJPE of joints inside and outside bursts of occlusion.
    """
    rows: dict[str, list[np.ndarray]] = {}
    for xyz, s in zip(predicted, test):
        accel = np.full(len(xyz), np.nan)
        accel[1:-1] = metrics.accel(xyz, s.truth)
        pa = metrics.p_epe(xyz, s.truth, align="pred_to_truth")
        values = {"mpjpe": metrics.epe(xyz, s.truth), "pa_mpjpe": pa, "accel": accel}
        if s.hidden is not None:
            away = metrics.joint_distances(xyz, s.truth)
            for name, use in (("inside", s.hidden), ("outside", ~s.hidden)):
                some = use.any(1)
                values[f"mpjpe_{name}"] = np.where(
                    some, (away * use).sum(1) / np.maximum(use.sum(1), 1), np.nan
                )
        for key, v in values.items():
            rows.setdefault(key, []).append(v)
    return {k: np.concatenate(v) for k, v in rows.items()}, np.repeat(
        _clips(test), [len(x) for x in predicted]
    )


def _matrices(six: Float[np.ndarray, "t k 6"]) -> Float[np.ndarray, "t k 3 3"]:
    """Rotations from their first two columns, made orthonormal."""
    a, b = six[..., :3], six[..., 3:]
    a = a / np.maximum(np.linalg.norm(a, axis=-1, keepdims=True), 1e-9)
    b = b - (a * b).sum(-1, keepdims=True) * a
    b = b / np.maximum(np.linalg.norm(b, axis=-1, keepdims=True), 1e-9)
    return np.stack((a, b, np.cross(a, b)), -1)


def measure_turns(
    predicted: Sequence[np.ndarray], test: Sequence[Known]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """By frame: mean angle between predicted and true joint rotations, degrees; the first
    joint's turn is the body's own.
    """
    rows = []
    for six, s in zip(predicted, test):
        apart = _matrices(six).swapaxes(-1, -2) @ _matrices(s.truth)
        rows.append(
            np.degrees(Rotation.from_matrix(apart.reshape(-1, 3, 3)).magnitude()).reshape(
                len(six), -1
            )
        )
    angle = np.concatenate(rows)
    values = {"angle_deg": angle.mean(1), "body_angle_deg": angle[:, 0]}
    return values, np.repeat(_clips(test), [len(x) for x in predicted])


def measure_people(
    predicted: Sequence[np.ndarray], test: Sequence[Known]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Mean average precision in percent over the labelled frames of all scenes, as PoseTrack
    defines it; one value each.
    """
    scenes: dict[str, list] = {}
    for xy, s in zip(predicted, test):
        scenes.setdefault(s.name.partition("/")[0], []).append(
            (xy, s.scores, s.truth, s.labelled, HEAD_SHARE * s.sizes)
        )
    frames = []
    for people in scenes.values():
        columns = [np.stack(column, 1) for column in zip(*people)]  # [frame person ...]
        frames += [tuple(c[i] for c in columns) for i in protocol_frames(len(columns[0]), "val")]
    by_joint = 100 * metrics.pckh_ap(frames)
    values = {"map": by_joint.mean(), **by_part(by_joint, hanet.JOINTS.joints)}
    return {key: np.array([v]) for key, v in values.items()}, np.array(["all"])


# --- sets that the user brings --------------------------------------------------------------------


def _published(name: str, spec: str, read: Callable) -> tuple[list[Known], list[Known], str, str]:
    """Training and test sequences of DeciWatch's files, the estimator, and what was left out."""
    found, estimator, *_ = PUBLISHED[name]
    _, colon, path = spec.partition(":")
    root, parts, notes = locate(f"deciwatch{colon}{path}")[1], [], []
    for split in ("train", "test"):
        known, warnings = read(root, found, estimator, split)
        if not known:
            raise MissingData(
                f"no answer of {estimator} beside the ground truth of {split}",
                file=root,
                record=spec,
                remedy=f"get detected_poses/{found}/{estimator} too",
            )
        parts.append(known)
        notes += warnings
    left = f"; {len(notes)} warnings, the first: {notes[0]}" if notes else ""
    return parts[0], parts[1], estimator, left


def _name(title: str, i: int) -> str:
    # a second person and a cut belong to one clip
    return f"{re.split(r'[#[]', title)[0].replace('/', '.')}/{i}"


def _read_plane(root: Path, found: str, estimator: str, split: str) -> tuple[list[Known], Sequence]:
    reading = read_deciwatch(root, dataset=found, split=split, estimator=estimator)
    known, first = [], 0
    for i, clip in enumerate(reading.clips if reading.detections is not None else ()):
        track, last = clip.tracks[0], first + clip.video.n_frames
        xy = [
            x.astype(np.float64) for x in (track.xy_frame, reading.detections.xy_frame[first:last])
        ]
        known.append(
            Known(
                _name(clip.name, i), *xy, track.visibility > 0, metrics.box_sizes(track.boxes_xyxy)
            )
        )
        first = last
    return known, reading.warnings


def _read_space(root: Path, found: str, estimator: str, split: str) -> tuple[list[Known], Sequence]:
    """Both relative to the root joint, or to the middle of the hips where there is none, as the
    public protocol does.
    """
    reading = read_deciwatch(root, dataset=found, split=split, estimator=estimator)
    known = []
    for i, m in enumerate(m for m in reading.motions if m.detected is not None):
        at = [
            m.joints.index(j)
            for j in (("root",) if "root" in m.joints else ("left_hip", "right_hip"))
        ]
        xyz = [x - x[:, at].mean(1, keepdims=True) for x in (m.xyz_mm, m.detected)]
        known.append(Known(_name(m.name, i), *xyz, np.ones(xyz[0].shape[:2], bool)))
    return known, reading.warnings


def _read_turns(root: Path, found: str, estimator: str, split: str) -> tuple[list[Known], Sequence]:
    file = root / "groundtruth_poses" / found / f"{found}_gt_{split}.npz"
    known = []
    for i, (name, own) in enumerate(read_smpl(file, estimator=estimator)):
        if "detected_pose_rad" in own:
            turns = [
                Rotation.from_rotvec(own[k].reshape(-1, 3)).as_matrix()
                for k in ("pose_rad", "detected_pose_rad")
            ]
            six = [x[:, :, :2].swapaxes(1, 2).reshape(-1, 24, 6) for x in turns]
            known.append(Known(_name(name, i), *six, np.ones(six[0].shape[:2], bool)))
    return known, ()


def _task(read: Callable, measure: Callable, said: str, table: str, spec: str) -> Task:
    name = spec.partition(":")[0].removesuffix("_smpl")
    train, test, estimator, left = _published(name, spec, read)
    protocol = f"HANet on {len(test)} test sequences of {spec.partition(':')[0]}, input from {estimator}: {said}{left}"
    *_, windows, interval, title = PUBLISHED[name]
    rows, batches = paper_rows(table, title), partial(known_batches, train)
    return Task(test, train, windows, interval, measure, protocol, _of(train), rows, batches)


# --- motion capture in space ----------------------------------------------------------------------


def camera_space(
    xyz_mm: Float[np.ndarray, "t k 3"], rng: np.random.Generator
) -> Float[np.ndarray, "t k 3"]:
    """A body before a random camera (x right, y down, z away), relative to its root joint, mm."""
    xyz = hanet.turn(xyz_mm, rng, WORLD_3D)
    return xyz - xyz[:, hanet.JOINTS.root, None]


def detect_space(
    xyz_mm: Float[np.ndarray, "n t k 3"],
    hidden: Bool[np.ndarray, "n t k"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "n t k 3"]:
    """What a 3D estimator says: the 2D detector's errors seen from the front, and its horizontal
    ones seen from the side as errors in depth; the root, which everything is relative to, has
    none.  # unstated; ours
    """
    front = hanet.detect(xyz_mm[..., :2], hidden, rng, WORLD_3D)
    side = hanet.detect(xyz_mm[..., 2:0:-1], hidden, rng, WORLD_3D)
    found = np.concatenate((front, side[..., :1]), -1)
    found[:, :, hanet.JOINTS.root] = 0
    return found


def space_sequences(spec: str, split: str, *, cameras: int = 3, seed: int = 0) -> list[Known]:
    """`hanet.sequences` in camera space; spec as in `hanet.motions`."""
    rng, found = np.random.default_rng((seed, 8, split == "test")), []
    for name, xyz in hanet.motions(spec, split, seed=seed):
        for camera in range(cameras):
            truth = camera_space(xyz, rng)
            hidden = hanet.bursts(1, len(truth), rng, WORLD_3D)
            answer, all_of = (
                detect_space(truth[None], hidden, rng)[0],
                np.ones(hidden[0].shape, bool),
            )
            found.append(Known(f"{name}/{camera}", truth, answer, all_of, hidden=hidden[0]))
    return found


def _mocap3d(spec: str) -> Task:
    motion = spec.replace("mocap3d", "mocap", 1)
    moves, test = hanet.motions(motion, "train", copies=4), space_sequences(motion, "test")
    train = space_sequences(motion, "train", cameras=1, seed=1)
    protocol = (
        f"HANet in 3D on {len(test)} sequences (motion capture, test styles, 3 cameras each), "
        "estimator simulated (world "
        f"{WORLD_3D.digest()}): MPJPE and PA-MPJPE mm relative to the root, Accel mm a frame "
        "squared, inside and outside of "
        "bursts of occlusion"
    )
    batches = partial(
        hanet.window_batches, [xyz for _, xyz in moves], see=camera_space, answer=detect_space
    )
    return Task(
        test,
        train,
        (hanet.WINDOW,),
        hanet.SMALL.interval,
        measure_space,
        protocol,
        _of(train),
        [],
        batches,
    )


# --- sparse labels --------------------------------------------------------------------------------


def scenes(spec: str, split: str, *, seed: int = 0) -> list[Known]:
    """Three people in one picture, of whom every fourth frame is labelled, and there only the
    joints that nothing hides.
    """
    rng, found = np.random.default_rng((seed, 9, split == "test")), []
    moves = hanet.motions(spec, split, copies=2, seed=seed)
    for first in range(0, len(moves) - SCENE_PEOPLE + 1, SCENE_PEOPLE):
        group = [xyz for _, xyz in moves[first : first + SCENE_PEOPLE]]
        t = min(len(xyz) for xyz in group)
        aside = rng.normal(0, SCENE_SPREAD_PX, (SCENE_PEOPLE, 1, 1, 1)) * [1, 0]
        xy = np.stack([hanet.photograph(xyz[:t], rng) for xyz in group]) + aside
        hidden = hanet.bursts(SCENE_PEOPLE, t, rng)
        answer, scores = hanet.detect_scored(xy, hidden, rng)
        labelled = ~hidden & np.isin(np.arange(t), protocol_frames(t, "val"))[:, None]
        sizes = hanet.WORLD.box * np.ptp(xy, axis=2).max(-1)
        columns = zip(xy, answer, labelled, sizes, hidden, scores.astype(np.float64))
        found += [Known(f"{moves[first][0]}/{i}", *own) for i, own in enumerate(columns)]
    return found


def _sparse(spec: str) -> Task:
    motion = spec.partition(":")[2] or "synthetic"
    train, test = scenes(motion, "train"), scenes(motion, "test")
    protocol = (
        f"HANet with sparse labels on {len(test)} people in scenes of {SCENE_PEOPLE} ({motion} "
        "motion, every fourth frame "
        f"labelled, detector simulated, world {hanet.WORLD.digest()}): PoseTrack's mAP of labelled "
        "joints within half of "
        f"{HEAD_SHARE:g} times the person's box, percent; scores are the detector's; the paper's "
        "rows are PoseTrack"
    )
    rows = paper_rows("Table 3")
    return Task(
        test,
        train,
        (5,),
        1,
        measure_people,
        protocol,
        _of(train),
        rows,
        partial(known_batches, train),
    )


_PLANE = (
    "PCK of the file's box and of the torso (left shoulder to right hip), percent, means over "
    "sequences; by part at 0.2 of "
    "the box, each part under its own name (the public program's columns by part hold other "
    "joints); Accel px a frame squared"
)
_SPACE = "MPJPE and PA-MPJPE mm relative to the root, Accel mm a frame squared, means over frames"
_JOINTS = "; from the files' joints (the paper refines SMPL parameters and measures joints of the body model)"
_TURNS = (
    "mean angle of the joint rotations, degrees, of SMPL parameters as 6D rotations; the paper's "
    "MPJPE needs the SMPL body "
    "model, which you would have to bring, and is not measured"
)
SETS: dict[str, Callable[[str], Task]] = {
    "jhmdb": partial(_task, _read_plane, measure_plane, _PLANE, "Table 1"),
    "h36m": partial(_task, _read_space, measure_space, _SPACE, "Table 2"),
    "threedpw": partial(_task, _read_space, measure_space, _SPACE + _JOINTS, "Table 2"),
    "aist": partial(_task, _read_space, measure_space, _SPACE + _JOINTS, "Table 2"),
    "threedpw_smpl": partial(_task, _read_turns, measure_turns, _TURNS, "Table 2"),
    "aist_smpl": partial(_task, _read_turns, measure_turns, _TURNS, "Table 2"),
    "mocap3d": _mocap3d,
    "sparse": _sparse,
}


# --- rows -----------------------------------------------------------------------------------------

# Columns of the paper's tables, as ours are called.
_COLUMNS = dict(zip(("Sho", "Elb", "Wri", "Ank"), ("shoulder", "elbow", "wrist", "ankle")))
_COLUMNS |= {f"PCK@{t:g}": f"pck_{t:g}" for t in hanet.THRESHOLDS}


def paper_rows(table: str, data: str | None = None) -> list[dict]:
    """The paper's rows of a table, of one data set if named, as `evaluate` prints them."""
    rows = []
    for own in paper("hanet").table(table).rows:
        if data in (None, own["data"]):
            head = {"method": own["method"], "subset": own["data"], "kind": "paper"}
            head |= {"T": own["T"]} if "T" in own else {}
            said = {
                _COLUMNS.get(k, k.lower()): v
                for k, v in own.items()
                if k not in ("method", "data", "T")
            }
            rows.append(head | {"metrics": said})
    return rows


def _score(xy: np.ndarray, s: Known) -> float:
    return -float(np.linalg.norm(xy - s.truth, axis=-1)[s.labelled].mean())


def evaluate(
    data: str,
    variants: Sequence[str] | None,
    settings: TrainConfig,
    *,
    device: str = "auto",
    progress: bool = True,
) -> dict:
    """The protocol of one of `SETS`: {schema_version, protocol, rows}; what `hanet.evaluate` does
    for these names.

    variants: of `hanet.VARIANTS`, and "paper", the paper's own size; "plain" and "hanet" by
    default. Each is trained on the training split with every T of the protocol.
    """
    name, known = data.partition(":")[0], {**hanet.VARIANTS, "paper": HANetConfig()}
    for variant in variants or ():
        if variant not in known:
            raise unknown("variant of HANet", variant, known)
    task = SETS[name](data)
    _, k, d = task.test[0].truth.shape
    detected, rows = [s.detected for s in task.test], []

    def add(method: str, predicted: Sequence[np.ndarray], **more) -> None:
        rows.append(
            hanet.row(
                method, *task.measure(predicted, task.test), len(task.test), settings.seed, **more
            )
        )

    add("input", detected)
    some = task.train[:: max(len(task.train) // 50, 1)]
    for method, (apply, setting) in hanet.chosen_filters(some, _score).items():
        add(method, [apply(xy, *setting) for xy in detected], setting=list(setting))
    for variant in variants or ("plain", "hanet"):
        for window in task.windows:
            config = replace(known[variant], channels=k * d, coordinates=d, interval=task.interval)
            card = {
                "model": "hanet",
                "config": asdict(config),
                "window": window,
                "data": name,
                "key": task.key,
            }
            torch.manual_seed(settings.seed)
            refiner, _ = hanet.train_on(
                task.batches(window, share(settings.batch_size)),
                build("hanet", config),
                card,
                settings,
                device=device,
                progress=progress,
                label=f"{variant}, T = {window}",
            )
            add(variant, [refiner.refine(xy) for xy in detected], T=window)
    protocol = (
        f"{task.protocol}; N = {task.interval}; 95 % intervals by clip; filters' settings have the "
        "least mean error on "
        f"training sequences; networks: {settings.steps:,} steps of {settings.batch_size} windows"
    )
    return {"schema_version": hanet.SCHEMA_VERSION, "protocol": protocol, "rows": rows + task.paper}
