"""People in a video: found by torchvision's keypoint detector, put on its frames, and linked
into tracks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import PurePath

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.special import expit
from torch import nn
from tqdm.auto import tqdm

from ..errors import BadParameter, BadRecord, ChecksumMismatch, MissingData
from ..records import Clip, Detections, Pose
from ..skeletons import skeleton
from .manifest import locate, sha256_of

FINDER = "torchvision_keypointrcnn"
OKS_AREA = 0.53  # of a person's box, as where COCO's measure is used without segmentation

# --- finding --------------------------------------------------------------------------------------


def build_finder(**options) -> nn.Module:
    """Keypoint R-CNN (ResNet-50 with FPN, coco17) as torchvision builds it for its published
    weights, without them.
    """
    from torchvision.models.detection import KeypointRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops import FrozenBatchNorm2d

    model = KeypointRCNN(
        resnet_fpn_backbone(backbone_name="resnet50", weights=None), num_classes=2, **options
    )
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0  # which the published weights were trained with
    return model.eval()


def load_finder(spec: str = FINDER, *, device: str | torch.device = "cpu") -> nn.Module:
    """The finder with its published weights, which must be on this machine: nothing is fetched
    here.

    Errors: `MissingData` whose remedy says how to get them; `ChecksumMismatch` where the file's
    sha256 does not begin as its name says.
    """
    try:
        found, folder = locate(spec)
    except MissingData as error:
        remedy = f"{error.remedy}; or bring your own results with --keypoints FILE"
        raise MissingData(error.problem, record=error.record, remedy=remedy) from None
    path = folder / found.downloads[0].path
    stated, got = path.stem.rpartition("-")[2], sha256_of(path)
    if not got.startswith(stated):
        raise ChecksumMismatch(
            f"sha256 {got}, {stated}... expected", file=path, remedy="remove it and fetch again"
        )
    model = build_finder()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.to(device)


def find_people(
    frames: Iterable[np.ndarray],
    finder: nn.Module,
    *,
    batch: int = 4,
    min_score: float = 0.7,  # unstated; ours
    progress: bool = False,
    source: str = FINDER,
) -> Detections:
    """Every person in RGB uint8 frames [h w 3], coco17, px, in the order of frames; runs where the
    finder's weights lie.

    torchvision states a joint's score as a logit: confidence is sigmoid(score - 2).  # unstated;
    ours
    """
    device, stream, found, start = next(finder.parameters()).device, iter(frames), [], 0
    total = getattr(getattr(frames, "video", None), "n_frames", None)
    with (
        tqdm(total=total, desc="finding people", unit="frame", disable=not progress) as bar,
        torch.inference_mode(),
    ):
        while pictures := list(islice(stream, batch)):
            pixels = [
                torch.tensor(p, device=device).permute(2, 0, 1).float() / 255 for p in pictures
            ]
            for i, result in enumerate(finder(pixels), start):
                sure = result["scores"] >= min_score
                keys = ("keypoints", "keypoints_scores", "boxes", "scores")
                part = (result[key][sure].float().cpu().numpy() for key in keys)
                found.append((*part, np.full(int(sure.sum()), i)))
            start += len(pictures)
            bar.update(len(pictures))
    empty = (
        np.zeros((0, 17, 3)),
        np.zeros((0, 17)),
        np.zeros((0, 4)),
        np.zeros(0),
        np.zeros(0, int),
    )
    keypoints, logits, boxes, scores, index = (
        np.concatenate(column) for column in zip(empty, *found)
    )
    ids = tuple(map(str, range(len(index))))
    xy, confidence = keypoints[:, :, :2], expit(logits - 2)
    return Detections("coco17", xy, confidence, boxes, scores, ids=ids, source=source, frames=index)


# --- truth, for clips that have one ---


def poses_of(clip: Clip) -> tuple[Pose, Int[np.ndarray, "n"]]:
    """Every labelled pose of a clip, frame by frame, and the index of its frame."""
    pairs = [
        (t, track)
        for t in range(clip.video.n_frames)
        for track in clip.tracks
        if track.visibility[t].any()
    ]
    xy, flags, boxes = zip(
        *((track.xy_frame[t], track.visibility[t], track.boxes_xyxy[t]) for t, track in pairs)
    )
    known = all(track.occlusion_known for track in clip.tracks)
    return Pose(clip.tracks[0].skeleton, xy, flags, boxes, known), np.array([t for t, _ in pairs])


# --- frames of results ----------------------------------------------------------------------------


def last_number(name: str) -> int:
    """The last whole number in a file's name, -1 where there is none, or one of more digits than
    a time in ns has.
    """
    found = re.findall(r"\d+", PurePath(name).stem)
    return int(found[-1]) if found and len(found[-1]) < 20 else -1


def on_frames(detections: Detections, n_frames: int, names: Sequence[str] = ()) -> Detections:
    """The detections with `frames` as indices from 0 into a source of `n_frames`.

    names: its picture files in order, if it is a folder: results are matched by file name, else by
    the number in it. Results that count from 1, so that the last one is number `n_frames`, are
    shifted by one. `BadRecord` where a result belongs to no frame.
    """
    frames, count = detections.frames, len(names)
    stems = {PurePath(name).stem: i for i, name in enumerate(names)}
    numbers = {last_number(name): i for i, name in enumerate(names)}
    stated = [PurePath(image).stem for image in detections.images]
    if names and stated and all(stem in stems for stem in stated):
        frames = np.array([stems[stem] for stem in stated])
    elif frames is not None and len(numbers) == count > 0 and set(frames.tolist()) <= set(numbers):
        frames = np.array([numbers[i] for i in frames.tolist()], np.int64)
    elif frames is None:
        remedy = "state the frame as image_id, from 0, or use the pictures' file names"
        raise BadRecord(
            "the results do not say which frame they belong to",
            file=detections.source,
            remedy=remedy,
        )
    elif len(frames) and frames.min() >= 1 and frames.max() == n_frames:
        frames = frames - 1
    if (outside := np.flatnonzero((frames < 0) | (frames >= n_frames))).size:
        row = int(outside[0])
        where = {
            "file": detections.source or None,
            "record": f"result {detections.ids[row] if detections.ids else row}",
        }
        remedy = "use the video that the results were made from; frames count from 0"
        raise BadRecord(f"frame {frames[row]}, the video has {n_frames}", remedy=remedy, **where)
    return replace(detections, frames=frames)


# --- tracks ---------------------------------------------------------------------------------------


def _similarity(
    xy: Float[np.ndarray, "m k 2"],
    boxes: Float[np.ndarray, "m 4"],
    seen: np.ndarray,
    new: Detections,
) -> Float[np.ndarray, "m n"]:
    """Mean of box overlap and object keypoint similarity (box overlap alone without sigmas) of
    all pairs.
    """
    from torchvision.ops import box_iou

    iou = (
        box_iou(torch.tensor(boxes, dtype=torch.float32), torch.tensor(new.boxes_xyxy))
        .nan_to_num()
        .numpy()
    )
    sigmas = skeleton(new.skeleton).oks_sigmas
    if sigmas is None:
        return iou
    squared = np.square(xy[:, None] - new.xy_frame).sum(-1)
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1) * OKS_AREA, 1)[:, None, None]
    both = seen[:, None] & (new.confidence > 0)
    oks = np.exp(-squared / (8 * area * np.square(sigmas))) * both
    return (iou + oks.sum(-1) / np.maximum(both.sum(-1), 1)) / 2


def link(
    detections: Detections,
    *,
    max_gap: int = 15,
    min_similarity: float = 0.05,
    smoothing: float = 0.2,
) -> Detections:
    """The detections with `tracks`: people numbered from 0 in the order in which they appear.
    Deterministic.

    Frame by frame, the best one-to-one assignment (Hungarian) between the last pose of every track,
    moved on at its velocity, and the new poses, by the mean of box overlap and keypoint similarity.
    A track ends after `max_gap` frames without a pose; pairs below `min_similarity` are not linked.
    smoothing: the share of the newest step in the velocity; low because detections jitter, 1 for
    exact labels.  # method and all three numbers unstated; ours
    """
    if detections.frames is None:
        raise BadParameter(
            "detections without frames cannot be linked", remedy="state the frame of each"
        )
    frames, boxes = detections.frames, detections.boxes_xyxy.astype(float)
    tracks = np.zeros(len(frames), np.int64)
    # live tracks: row of the last pose, px a frame
    last, velocity, count = np.zeros(0, np.int64), np.zeros((0, 2)), 0
    order = np.argsort(frames, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(frames[order])) + 1):
        if not len(rows):
            break
        gap = frames[rows[0]] - frames[last]
        live = gap <= max_gap + 1
        last, velocity, gap = last[live], velocity[live], gap[live]
        shift = velocity * gap[:, None]
        moved = detections.xy_frame[last] + shift[:, None]
        seen = detections.confidence[last] > 0
        similar = _similarity(moved, boxes[last] + np.tile(shift, 2), seen, detections.select(rows))
        old, new = linear_sum_assignment(similar, maximize=True)
        good = similar[old, new] >= min_similarity
        old, new = old[good], new[good]
        step = (boxes[rows[new]] - boxes[last[old]]).reshape(-1, 2, 2).mean(1) / gap[old, None]
        velocity[old] += smoothing * (step - velocity[old])
        tracks[rows[new]] = tracks[last[old]]
        last[old] = rows[new]
        fresh = np.delete(rows, new)
        tracks[fresh] = np.arange(count, count + len(fresh))
        count += len(fresh)
        last, velocity = (
            np.concatenate((last, fresh)),
            np.concatenate((velocity, np.zeros((len(fresh), 2)))),
        )
    return replace(detections, tracks=tracks)
