"""Poses of people through a video: put on its frames, and linked into tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from ..errors import BadParameter, BadRecord
from ..records import Clip, Detections, Pose, Track
from ..skeletons import skeleton

OKS_AREA = 0.53  # of a person's box, as where COCO's measure is used without segmentation


def poses_of(clip: Clip) -> tuple[Pose, Int[np.ndarray, "n"]]:
    """Every labelled pose of a clip, frame by frame, and the index of its frame."""
    labelled = [
        (t, track)
        for t in range(clip.video.n_frames)
        for track in clip.tracks
        if track.visibility[t].any()
    ]
    poses = Pose(
        clip.tracks[0].skeleton,
        xy_frame=[track.xy_frame[t] for t, track in labelled],
        visibility=[track.visibility[t] for t, track in labelled],
        boxes_xyxy=[track.boxes_xyxy[t] for t, track in labelled],
        occlusion_known=all(track.occlusion_known for track in clip.tracks),
    )
    return poses, np.array([t for t, _ in labelled])


def track_of(
    poses: Pose, track_id: int, row_of: Mapping[int, int], n_frames: int, absent: Sequence[int] = ()
) -> Track:
    """A person, whose pose in some frames is a row of the poses; in others they are known to be
    absent.
    """
    frames = np.fromiter(row_of, int, len(row_of))
    rows = np.fromiter(row_of.values(), int, len(row_of))
    labelled = np.zeros(n_frames, bool)
    labelled[[*row_of, *absent]] = True

    def spread(values: np.ndarray) -> np.ndarray:
        everywhere = np.zeros((n_frames, *values.shape[1:]), values.dtype)
        everywhere[frames] = values[rows]
        return everywhere

    heads = poses.head_boxes_xyxy
    return Track(
        skeleton=poses.skeleton,
        track_id=track_id,
        xy_frame=spread(poses.xy_frame),
        visibility=spread(poses.visibility),
        labelled=labelled,
        boxes_xyxy=spread(poses.boxes_xyxy),
        occlusion_known=poses.occlusion_known,
        head_boxes_xyxy=None if heads is None else spread(heads),
    )


def check_tracks(detections: Detections) -> None:
    """`BadRecord` where a person stands twice in a frame."""
    places = np.stack((detections.tracks, detections.frames), 1)
    once, rows = np.unique(places, axis=0, return_index=True)
    if len(once) < len(places):
        row = int(np.setdiff1d(np.arange(len(places)), rows)[0])
        track, frame = places[row].tolist()
        raise BadRecord(
            f"person {track} stands twice in frame {frame}",
            file=detections.source or None,
            record=f"result {detections.ids[row] if detections.ids else row}",
            remedy="correct the track ids, or leave them out: people are then linked anew",
        )


# --- tracks ---------------------------------------------------------------------------------------


def _overlap(
    boxes: Float[np.ndarray, "m 4"], others: Float[np.ndarray, "n 4"]
) -> Float[np.ndarray, "m n"]:
    """Intersection over union of all pairs; 0 for boxes without area."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    with np.errstate(over="ignore", invalid="ignore"):
        shared = np.maximum(high - low, 0).prod(-1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        other_area = (others[:, 2:] - others[:, :2]).prod(1)
        return np.nan_to_num(shared / (area[:, None] + other_area - shared))


def _similarity(
    xy: Float[np.ndarray, "m k 2"],
    boxes: Float[np.ndarray, "m 4"],
    seen: np.ndarray,
    new: Detections,
) -> Float[np.ndarray, "m n"]:
    """Mean of box overlap and object keypoint similarity (box overlap alone without sigmas) of
    all pairs.
    """
    overlap = _overlap(boxes.astype(np.float32), new.boxes_xyxy)
    sigmas = skeleton(new.skeleton).oks_sigmas
    if sigmas is None:
        return overlap
    squared = np.square(xy[:, None] - new.xy_frame).sum(-1)
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1) * OKS_AREA, 1)[:, None, None]
    both = seen[:, None] & (new.confidence > 0)
    oks = np.exp(-squared / (8 * area * np.square(sigmas))) * both
    return (overlap + oks.sum(-1) / np.maximum(both.sum(-1), 1)) / 2


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
    from scipy.optimize import linear_sum_assignment

    if detections.frames is None:
        raise BadParameter(
            "detections without frames cannot be linked", remedy="state the frame of each"
        )
    frames, boxes = detections.frames, detections.boxes_xyxy.astype(float)
    tracks = np.zeros(len(frames), np.int64)
    # live tracks: the row of the last pose, and px a frame
    last, velocity = np.zeros(0, np.int64), np.zeros((0, 2))
    count = 0
    order = np.argsort(frames, kind="stable")
    starts = np.flatnonzero(np.diff(frames[order])) + 1
    for rows in np.split(order, starts) if len(order) else ():
        gap = frames[rows[0]] - frames[last]
        live = gap <= max_gap + 1
        last, velocity, gap = last[live], velocity[live], gap[live]
        shift = velocity * gap[:, None]
        similar = _similarity(
            detections.xy_frame[last] + shift[:, None],
            boxes[last] + np.tile(shift, 2),
            detections.confidence[last] > 0,
            detections.select(rows),
        )
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
        last = np.concatenate((last, fresh))
        velocity = np.concatenate((velocity, np.zeros((len(fresh), 2))))
    return replace(detections, tracks=tracks)
