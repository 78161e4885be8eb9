"""Detector results as people have them: MMPose pickles and JSON, npz, COCO results, OpenPose
folders, landmark tables.

Nothing in them is executed.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int

from ..errors import BadFile, BadRecord
from ..geometry import box_of_points, cxcywh_to_xyxy
from ..records import Detections
from ..skeletons import SKELETONS
from ..skeletons import skeleton as skeleton_by_name
from .checks import numbers_of, texts_of
from .results import COCO17, Row, parse, rows
from .safe import MAX_FILE_BYTES, read_npz, safe_unpickle

BOX_UNIT_PX = 200  # MMPose states box sizes in units of 200 px
# what is read: heat map peaks dip below 0 and rise above 1, percent and logits do not fit
CONFIDENCE = (-0.01, 10.0)
# what a file without joint names most often means
USUAL_SKELETON = {14: "crowdpose14", 17: "coco17", 21: "hand21"}
_COLUMNS = ("preds", "boxes", "image_paths", "bbox_ids")


# What follows is passed on as the fields of `Detections`, all but its skeleton and source.
Fields = dict[str, object]


def _ids(value: object, **where) -> Int[np.ndarray, "n"]:
    value = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if type(value) not in (list, tuple) or not all(
        type(v) in (int, np.int32, np.int64) for v in value
    ):
        raise BadRecord(
            f"bbox_ids is {'missing' if value is None else 'not a list of numbers'}", **where
        )
    if not all(-(2**63) <= v < 2**63 for v in value):
        raise BadRecord("bbox_ids holds an integer beyond 64 bits", **where)
    return np.array(value, np.int64)


def _from_batches(batches: list[tuple[str, object]], path: Path) -> Fields:
    """Rows of all batches in the order of bbox_ids."""
    parts, k, n_bytes = [], None, 0
    for record, batch in batches:
        where = {"file": path, "record": record}
        if type(batch) is not dict:
            raise BadRecord(
                f"{type(batch).__name__}, a dict with {', '.join(_COLUMNS)} expected", **where
            )
        preds = numbers_of(batch.get("preds"), "preds", (None, k, 3), **where).astype(np.float32)
        n, k = preds.shape[:2]
        if not k:
            raise BadRecord("preds have no joints", **where)
        n_bytes += preds.nbytes
        if n_bytes > 4 * MAX_FILE_BYTES:
            raise BadFile("more rows than a file of its size can hold", **where)
        boxes = numbers_of(batch.get("boxes"), "boxes", (n, 6), **where)
        images, ids = (
            texts_of(batch.get("image_paths"), "image_paths", **where),
            _ids(batch.get("bbox_ids"), **where),
        )
        for key, column in (("image_paths", images), ("bbox_ids", ids)):
            if len(column) != n:
                raise BadRecord(f"{key} has {len(column)} entries, {n} expected", **where)
        with np.errstate(over="ignore"):
            corners = cxcywh_to_xyxy(boxes[:, :4] * (1, 1, BOX_UNIT_PX, BOX_UNIT_PX)).astype(
                np.float32
            )
            scores = (boxes[:, 5] * preds[:, :, 2].mean(1)).astype(np.float32)
        checks = {
            "box of bbox_id {} has size <= 0": (boxes[:, 2:4] > 0).all(1),
            "box of bbox_id {} is beyond what float32 can hold": np.isfinite(corners).all(1)
            & (corners[:, 2:] > corners[:, :2]).all(1),
            "score of bbox_id {} is beyond what float32 can hold": np.isfinite(scores),
        }
        for problem, good in checks.items():
            if not good.all():
                raise BadRecord(problem.format(ids[good.argmin()]), **where)
        parts.append((preds, corners, scores, ids, images))
    if not parts:
        raise BadFile("holds no batches", file=path, remedy="get or export the file again")
    *columns, images = zip(*parts)
    preds, corners, scores, ids = map(np.concatenate, columns)
    images = [*itertools.chain(*images)]
    found, order, counts = np.unique(ids, return_index=True, return_counts=True)
    if len(doubles := found[counts > 1]):
        remedy = "keep one row of each (distributed evaluation pads its last batch with repeats)"
        problem = f"{len(doubles)} bbox_ids stand more than once"
        raise BadRecord(problem, file=path, record=f"bbox_id {doubles[0]}", remedy=remedy)
    return {
        "xy_frame": preds[order, :, :2],
        "confidence": preds[order, :, 2],
        "boxes_xyxy": corners[order],
        "scores": scores[order],
        "images": [images[i] for i in order],
        "ids": found.tolist(),
    }


def _from_pickle(path: Path) -> Fields:
    content = safe_unpickle(path)
    if type(content) is not list:
        raise BadFile(
            f"holds a {type(content).__name__}, a list of MMPose result batches expected", file=path
        )
    return _from_batches([(f"batch {i}", batch) for i, batch in enumerate(content)], path)


def _from_rows(found: Iterable[Row], k: int | None, path: Path) -> Fields:
    """Rows of a results file; a row without a box gets the one around its known joints."""
    found = list(found)
    k = len(found[0].keypoints) if found else k or len(COCO17)
    boxes = np.zeros((len(found), 4), np.float32)
    for box, row in zip(boxes, found):
        known = row.keypoints[:, 2] > 0
        around = box_of_points(row.keypoints[known if known.any() else slice(None), :2])
        box[:] = around if row.box_xyxy is None else row.box_xyxy
    tracked = [row.track is not None for row in found]
    if any(tracked) and not all(tracked):
        remedy = "give every detection a track_id, or none"
        raise BadRecord(
            "no track_id, others have one",
            file=path,
            record=found[tracked.index(False)].id,
            remedy=remedy,
        )
    framed = all(row.frame is not None for row in found)
    with np.errstate(over="ignore"):
        scores = [row.keypoints[:, 2].mean() if row.score is None else row.score for row in found]
    keypoints = np.array([row.keypoints for row in found], np.float32).reshape(-1, k, 3)
    return {
        "xy_frame": keypoints[:, :, :2],
        "confidence": keypoints[:, :, 2],
        "boxes_xyxy": boxes,
        "scores": np.array(scores, np.float32),
        "images": [row.image for row in found],
        "ids": [row.id for row in found],
        "frames": [row.frame for row in found] if framed else None,
        "tracks": [row.track for row in found] if any(tracked) else None,
    }


def read_detections(
    path: str | Path,
    *,
    skeleton: str | None = None,
    size_wh: tuple[int, int] | None = None,
    content: object = None,
) -> Detections:
    """Detected poses of one file or folder, told apart by suffix and content:

    .pkl, .pickle  MMPose 0.x results: a list of batches {preds [b k 3], boxes [b 6], image_paths,
        bbox_ids}
    .npz           the same four arrays, once
    .json          COCO results: [{image_id, category_id, keypoints [3k], score, bbox?, track_id?}]
                   MMPose 1.x: [{frame_id, instances: [{keypoints [k 2], keypoint_scores [k], bbox?,
                   bbox_score?}]}], the same in {meta_info, instance_info}, or one picture's list of
                   instances OpenPose: {people: [{pose_keypoints_2d}]} of BODY_25 or COCO-18
    a folder       one OpenPose file a frame (*_000000000012_keypoints.json), or one MMPose file a
    picture
    .csv           one line a landmark: frame (from 0), person (optional; 0), landmark (name, or
                   MediaPipe's number 0 to 32), x and y (fractions of the picture, which need
                   size_wh) or x_px and y_px, visibility; further columns are left alone; our own
                   tables with joint and confidence are read too

    skeleton: its name; None means crowdpose14, coco17 or hand21 for as many joints, other counts
        must be named. OpenPose, BlazePose, Halpe-26 and COCO-WholeBody joints are reduced to coco17
        (no neck, mid-hip, feet, face, hands).
    size_wh: px of the pictures. content: the JSON, if it has been parsed already.
    Coordinates px in the frame. MMPose boxes (centre, size in 200 px) and COCO boxes (xywh) become
    xyxy; a result without a box gets the one around its joints of confidence above 0. Scores: as
    stated, of batches box score times mean joint confidence, else the mean confidence. Rows stand
    in the order of bbox_ids, of other files in their own. frames: frame_id from 0 (files wrapped
    with meta_info count from 1), the number in an OpenPose file's name, COCO's image_id or the last
    number in it. A joint that the file calls missing keeps its coordinates, with confidence 0.
    Confidences must lie in `CONFIDENCE`. Errors: `UnsafeFile`, `BadFile`, `EmptyFile`,
    `MissingFile`, `UnknownName`, `BadRecord` with batch or row, `BadParameter` for fractions
    without size_wh.
    """
    path = Path(path)
    expected = None if skeleton is None else len(skeleton_by_name(skeleton))
    kind, suffix = "bbox_id", path.suffix.lower()
    if suffix in (".pkl", ".pickle"):
        columns = _from_pickle(path)
    elif suffix == ".npz":
        columns = _from_batches([("arrays", read_npz(path, (), _COLUMNS))], path)
    elif suffix in (".json", ".csv") or os.path.isdir(path):
        kind = "result"
        columns = _from_rows(
            rows(parse(path, content, empty=expected is not None), skeleton, size_wh),
            expected,
            path,
        )
    else:
        known = ".pkl, .pickle, .npz, .json, .csv"
        raise BadFile(f"suffix {suffix!r} is none of {known}", file=path, remedy="rename or export")
    confidence = columns["confidence"]
    outside = (confidence < CONFIDENCE[0]) | (confidence > CONFIDENCE[1])
    if outside.any():
        row, joint = np.argwhere(outside)[0]
        problem = (
            f"confidence {confidence[row, joint]:g} of joint {joint} is outside {list(CONFIDENCE)}"
        )
        record, remedy = f"{kind} {columns['ids'][row]}", "export confidences from 0 to about 1"
        raise BadRecord(problem, file=path, record=record, remedy=remedy)
    k = confidence.shape[1]
    name = skeleton or USUAL_SKELETON.get(k)
    if name is None or expected not in (None, k):
        fitting = ", ".join(s.name for s in SKELETONS.values() if len(s) == k)
        problem = f"{k} joints" + (
            f", {expected} expected by {skeleton}" if skeleton else " and no skeleton named"
        )
        remedy = f"name a skeleton of {k} joints: {fitting or 'none is known'}"
        raise BadRecord(problem, file=path, record="keypoints", remedy=remedy)
    return Detections(name, source=str(path), **columns)
