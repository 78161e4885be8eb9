"""Labels carried from the labelled frames of a video to all frames between them: on a line, by optical flow, by STDPose.

Every way answers for `Windows` with keys "between" labels, so that all see the same frames, labels and boxes. A COCO file of
sparse labels comes back with every pose between them added and marked.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from tqdm.auto import tqdm

from . import geometry
from .data import coco
from .data.frames import Frames, picture_names
from .data.people import last_number, link, on_frames
from .data.windows import Windows
from .errors import BadRecord
from .predict import Propagator, poses_between, windows_between
from .records import Clip, Detections, Pose, Prediction, Track
from .resources import write_beside
from .skeletons import skeleton

FARNEBACK = {"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.2, "flags": 0}
FLOW_SIDE, FLOWS_KEPT = 640, 64  # px of a frame's longer side; ours
Places = tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, "k"]]  # xy_frame, and how far the labels say so: 0, 0.5 or 1


def joined(
    left: Float[np.ndarray, "k 2"], right: Float[np.ndarray, "k 2"], share: float,
    labelled: Sequence[np.ndarray], middle: Float[np.ndarray, "2"],
) -> Places:  # fmt: skip
    """Two guesses at a pose, the right one's share; a joint that one side does not label is the other's, that none labels
    stands in the middle of the box with confidence 0.
    """
    weights = np.stack([labelled[0] * (1 - share), labelled[1] * share])
    total = weights.sum(0)
    mixed = np.einsum("sk,skc->kc", weights, np.stack([left, right])) / np.maximum(total, 1e-9)[:, None]
    return np.where(total[:, None] > 0, mixed, middle), (labelled[0] + labelled[1]) / 2


def _each(windows: Windows, guess: Callable, source: str) -> Detections:
    """guess(pair, number of the track, left, key, right) -> the pose as the left label says it, and as the right one does."""
    found, boxes = [], windows.boxes()
    for index, (pair, n, key) in enumerate(windows.items.tolist()):
        track = windows.pairs[pair][0].tracks[n]
        left, _, right = windows.frames_of(index).tolist()
        labelled = [(track.visibility[t] > 0).astype(float) for t in (left, right)]
        middle = boxes[index].reshape(2, 2).mean(0)
        said = guess(pair, n, left, key, right)
        found.append(joined(*said, (key - left) / (right - left), labelled, middle))
    xy, told = zip(*found) if found else ((), ())
    return poses_between(windows, xy, told, source)


def linear(windows: Windows, *, progress: bool = True) -> Detections:
    """Every joint on the straight line between its labels: what annotation programs do."""

    def guess(pair, n, left, key, right):
        xy_frame = windows.pairs[pair][0].tracks[n].xy_frame
        return xy_frame[left], xy_frame[right]

    return _each(windows, guess, "linear")


def farneback(windows: Windows, *, progress: bool = True) -> Detections:
    """Labels carried forward and backward by dense optical flow (Farnebäck 2003, OpenCV), frame by frame, and joined by
    distance. Frames are looked at with at most `FLOW_SIDE` px.
    """

    @lru_cache(FLOWS_KEPT)
    def grey(pair: int, t: int) -> tuple[UInt8[np.ndarray, "h w"], float]:
        picture = cv2.cvtColor(windows.frame(pair, t), cv2.COLOR_RGB2GRAY)
        scale = min(1.0, FLOW_SIDE / max(picture.shape))
        return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale

    @lru_cache(FLOWS_KEPT)
    def flow(pair: int, one: int, other: int) -> Float[np.ndarray, "h w 2"]:
        return cv2.calcOpticalFlowFarneback(grey(pair, one)[0], grey(pair, other)[0], None, **FARNEBACK)

    def path(pair: int, xy: Float[np.ndarray, "k 2"], start: int, end: int) -> dict[int, np.ndarray]:
        found, step = {start: xy}, 1 if end > start else -1
        for t in range(start, end, step):
            at = (xy + 0.5) * grey(pair, t)[1] - 0.5
            moved = cv2.remap(
                flow(pair, t, t + step), at[None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            found[t + step] = xy = xy + moved[0] / grey(pair, t)[1]
        return found

    items = [(pair, n, *windows.frames_of(i)[::2].tolist()) for i, (pair, n, _) in enumerate(windows.items.tolist())]
    between, paths = sorted(set(items), key=lambda item: (item[0], item[2:])), {}
    for pair, n, left, right in tqdm(between, desc="flow", unit="gap", disable=not progress, leave=False):
        xy_frame = windows.pairs[pair][0].tracks[n].xy_frame
        paths[pair, n, left] = path(pair, xy_frame[left], left, right), path(pair, xy_frame[right], right, left)

    def guess(pair, n, left, key, right):
        forward, backward = paths[pair, n, left]
        return forward[key], backward[key]

    return _each(windows, guess, "farneback")


WAYS = {"linear": linear, "farneback": farneback}


# --- files of sparse labels ---------------------------------------------------------------------------------------


def _tracks(poses: Pose, found: Detections, n_frames: int, path: Path) -> list[Track]:
    """One a person, labelled where the file has a pose; a box that is missing is the joints' extent."""
    shape, tracks = (n_frames, len(skeleton(poses.skeleton))), []
    extent = geometry.box_of_points(poses.xy_frame, poses.visibility > 0)
    area = (poses.boxes_xyxy[:, 2:] > poses.boxes_xyxy[:, :2]).all(1)
    boxes_xyxy = np.where(area[:, None], poses.boxes_xyxy, extent)
    for track in np.unique(found.tracks).tolist():
        rows = np.flatnonzero(found.tracks == track)
        at = found.frames[rows]
        if len(set(at.tolist())) < len(at):
            twice = poses.ids[rows[np.flatnonzero(np.bincount(at)[at] > 1)[0]]]
            remedy = "give every person in a frame a track_id of their own"
            raise BadRecord(
                f"two poses of track {track} in a frame", file=path, record=f"annotation {twice}", remedy=remedy
            )
        xy, flags, boxes = np.zeros((*shape, 2)), np.zeros(shape, int), np.zeros((n_frames, 4))
        xy[at], flags[at], boxes[at] = poses.xy_frame[rows], poses.visibility[rows], boxes_xyxy[rows]
        labelled = np.isin(np.arange(n_frames), at)
        tracks.append(Track(poses.skeleton, track, xy, flags, labelled, boxes, poses.occlusion_known))
    return tracks


def _image_frames(images: Sequence[dict], joints: str, frames: Frames, path: Path) -> dict[str, int]:
    """Image id -> frame."""
    names = picture_names(frames.video.source) if Path(frames.video.source).is_dir() else ()
    files = [str(image.get("file_name", "")) for image in images]
    numbers = [image.get("frame_id") for image in images]
    if names or not all(type(n) is int and 0 <= n <= len(frames) for n in numbers):
        numbers = [last_number(name) for name in files]
    ids, n, k = [str(image["id"]) for image in images], len(images), len(skeleton(joints))
    if not names and min(numbers, default=0) < 0:
        remedy = "state frame_id, from 0, or number the files"
        raise BadRecord("no frame is told", file=path, record=f"image {ids[int(np.argmin(numbers))]}", remedy=remedy)
    nobody = Detections(
        joints, np.zeros((n, k, 2)), np.zeros((n, k)), np.zeros((n, 4)), images=files, ids=ids,
        frames=np.array(numbers, np.int64), source=str(path),
    )  # fmt: skip
    return dict(zip(ids, on_frames(nobody, len(frames), names).frames.tolist()))


def read_labels(path: str | Path, frames: Frames, joints: str | None = None) -> tuple[dict, Clip, dict[str, int]]:
    """A COCO file of labels of some frames of a video: its content, every person with a `track_id`; the people; and the
    frame of each image by its id.

    Images belong to frames by the names of the pictures where the video is a folder of them, else by a whole number
    `frame_id`, or the last number in `file_name`; from 0, or from 1 where the last one is as high as there are frames.
    People are told apart by `track_id`, or where that is missing by place and shape. joints: the skeleton; None: told by
    the file. Errors: those of `read_coco`; `BadRecord`: an image of no frame, two poses of one person in a frame.
    """
    path = Path(path)
    content = copy.deepcopy(coco.read_json(path))
    poses = coco.read_coco(path, skeleton=joints, content=content).poses
    poses = poses.select(poses.labelled.any(1))
    image_frames = _image_frames(content["images"], poses.skeleton, frames, path)
    people = {str(a["id"]): a for a in content["annotations"]}
    people = [people[i] for i in poses.ids]
    found = Detections(
        poses.skeleton, poses.xy_frame, (poses.visibility > 0).astype(np.float32), poses.boxes_xyxy,
        frames=np.array([image_frames[str(a["image_id"])] for a in people], np.int64),
    )  # fmt: skip
    if all(type(a.get("track_id")) is int for a in people):
        found = replace(found, tracks=np.array([a["track_id"] for a in people], np.int64))
    else:
        found = link(found, max_gap=len(frames))
    for annotation, track in zip(people, found.tracks.tolist()):
        annotation["track_id"] = track
    return content, Clip(frames.video, _tracks(poses, found, len(frames), path), name=path.stem), image_frames


def renamed(track: Track, joints: str) -> Track:
    """The same person with the joints of another skeleton, by name; what it does not have is not labelled."""
    have, wanted = skeleton(track.skeleton).joints, skeleton(joints).joints
    at = np.array([have.index(name) if name in have else -1 for name in wanted])
    visibility = np.where(at >= 0, track.visibility[:, at], 0)
    xy = np.where(visibility[..., None] > 0, track.xy_frame[:, at], 0)
    return replace(track, skeleton=joints, xy_frame=xy, visibility=visibility, xyz_camera_mm=None)


def propagate(clip: Clip, frames, way: str | Propagator = "linear", *, progress: bool = True) -> Detections:
    """Poses of everybody in all frames between their labels, in the joints of the labels.

    way: "linear", "farneback" or a `Propagator`, which is told the joints that its skeleton knows by name; the others stay
    on the line. frames: of the clip, as for `Windows`.
    """
    plain = windows_between([(clip, frames)])
    if not len(plain):
        remedy = "label a person in two frames or more, with frames between them"
        raise BadRecord("there is nothing between labels", file=clip.name or clip.video.source, remedy=remedy)
    if not isinstance(way, Propagator):
        return WAYS[way](plain, progress=progress)
    known = replace(clip, tracks=[renamed(track, way.skeleton.name) for track in clip.tracks])
    found, out = way.carry(way.windows([(known, frames)]), progress=progress), linear(plain)
    xy, confidence = out.xy_frame.copy(), out.confidence / 2  # what the network does not know is worth less
    for j, name in enumerate(plain.skeleton.joints if plain.skeleton else ()):
        if name in way.skeleton.joints:
            at = way.skeleton.index(name)
            xy[:, j], confidence[:, j] = found.xy_frame[:, at], found.confidence[:, at]
    return replace(out, xy_frame=xy, confidence=confidence, source=way.name)


def all_poses(clip: Clip, found: Detections) -> Prediction:
    """Labels and what was carried, for pictures; joints that were carried count as replaced."""
    at = [(track, t) for track in clip.tracks for t in np.flatnonzero(track.labelled)]
    given = Detections(
        found.skeleton, [track.xy_frame[t] for track, t in at],
        [(track.visibility[t] > 0).astype(np.float32) for track, t in at], [track.boxes_xyxy[t] for track, t in at],
        frames=[t for _, t in at], tracks=[track.track_id for track, _ in at],
    )  # fmt: skip
    both = {
        name: np.concatenate((getattr(given, name), getattr(found, name)))
        for name in ("xy_frame", "confidence", "boxes_xyxy", "frames", "tracks")
    }
    carried = np.repeat(np.arange(len(at) + len(found)) >= len(at), len(skeleton(found.skeleton))).reshape(
        both["confidence"].shape
    )
    poses = Detections(found.skeleton, **both)
    return Prediction(found.skeleton, poses.xy_frame, poses.confidence, carried, found.source, poses)


def write_propagated(
    path: str | Path, content: dict, clip: Clip, image_frames: dict[str, int], found: Detections,
    names: Sequence[str] = (),
) -> Path:  # fmt: skip
    """What `read_labels` gave, with an annotation for each pose that was carried, and an image where a frame had none.

    What was there stays as it was. New annotations say "propagated": true, the labelled frames that they lie between, the
    confidence of each joint ("scores") and their mean ("score"); a joint's flag is the lower one of its two labels, the one
    there is, or 0. names: of the pictures, in order.
    """
    content = copy.deepcopy(content)
    images = {image_frames[str(image["id"])]: image["id"] for image in content["images"]}
    next_image, next_id = (
        1 + max((r["id"] for r in content[kind] if type(r["id"]) is int), default=0)
        for kind in ("images", "annotations")
    )
    category = next((a["category_id"] for a in content["annotations"] if "category_id" in a), 1)
    tracks = {track.track_id: track for track in clip.tracks}
    size = {"width": clip.video.width, "height": clip.video.height} if clip.video.width else {}
    for row, (frame, person) in enumerate(zip(found.frames.tolist(), found.tracks.tolist())):
        if frame not in images:
            name = names[frame] if names else f"frame_{frame:06d}"
            content["images"].append({"id": next_image, "file_name": name, **size, "frame_id": frame})
            images[frame], next_image = next_image, next_image + 1
        track = tracks[person]
        at = np.flatnonzero(track.labelled)
        left, right = at[at < frame][-1], at[at > frame][0]
        flags = track.visibility[[left, right]]
        flags = np.where((flags > 0).all(0), flags.min(0), flags.max(0))
        x0, y0, x1, y1 = (round(float(v), 2) for v in found.boxes_xyxy[row])
        joints = np.concatenate((found.xy_frame[row].round(2) * (flags > 0)[:, None], flags[:, None]), 1)
        scores = found.confidence[row].astype(float).round(4)
        content["annotations"].append({
            "id": next_id, "image_id": images[frame], "category_id": category, "track_id": person,
            "keypoints": [round(float(v), 2) for v in joints.ravel()], "num_keypoints": int((flags > 0).sum()),
            "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0, "propagated": True,
            "method": found.source, "between": [int(left), int(right)], "scores": scores.tolist(),
            "score": round(float(scores[flags > 0].mean()) if (flags > 0).any() else 0.0, 4),
        })  # fmt: skip
        next_id += 1
    return write_beside(Path(path), lambda p: p.write_text(json.dumps(content), encoding="utf-8"))
