"""Results written: in the format that they came in, as COCO results, as a table."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ...errors import BadFile
from ...outputs import write_text
from ...records import Detections, Prediction
from ...skeletons import skeleton as skeleton_by_name
from .detections import in_px
from .files import CELLS, LINES, ONLY_READ, rows_of


def _plain(values: np.ndarray) -> list[float]:
    """Shortest decimals that read back as the same float32."""
    return [float(str(v)) for v in np.asarray(values, np.float32).ravel()]


def _save(path: Path, text: str) -> Path:
    return write_text(path, text)


def _csv(lines: Iterable[Iterable]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue()


def write_like(
    path: str | Path,
    prediction: Prediction,
    like: str | Path,
    size_of: Callable[[int], tuple[int, int]] | None = None,
) -> Path:
    """The user's own results file (or folder) again, with nothing changed but the coordinates of
    replaced joints.

    Their confidences stay the detector's. `prediction.detections` are what was read from `like`;
    rows may be fewer. size_of: width and height of a frame, px, which fractions need. MMPose's
    batches (.pkl, .npz) are only read: `BadFile`.
    """
    path, like = Path(path), Path(like)
    document, rows = rows_of(like, prediction.skeleton)
    if document.format in ONLY_READ:
        raise BadFile("this format is only read", file=like, remedy="write COCO results")
    row_of = {row.id: row for row in rows}
    found = prediction.detections
    for i, j in np.argwhere(prediction.replaced).tolist():
        row = row_of[found.ids[i]]
        if row.fractions:
            row = in_px(row, size_of(int(found.frames[i])))
        row.put(j, *_plain(prediction.xy_frame[i, j]))
    for file, content in document.contents.items():
        if document.format in CELLS:
            text = _csv(content)
        elif document.format in LINES:
            text = "".join(" ".join(line) + "\n" for line in content)
        else:
            text = json.dumps(content)
        _save(path / file.name if os.path.isdir(like) else path, text)
    return path


def write_coco_results(path: str | Path, found: Detections) -> Path:
    """COCO results JSON, image_id = frame, with bbox xywh and track_id; `read_detections` reads
    it back.
    """
    results = []
    keypoints = np.concatenate((found.xy_frame, found.confidence[..., None]), -1)
    for i, box in enumerate(found.boxes_xyxy):
        result = {
            "image_id": found.images[i] if found.frames is None else int(found.frames[i]),
            "category_id": 1,
            "keypoints": _plain(keypoints[i]),
            "score": _plain(found.scores[i : i + 1])[0],
        }
        if (box[2:] > box[:2]).all():
            result["bbox"] = _plain(np.concatenate((box[:2], box[2:] - box[:2])))
        if found.tracks is not None:
            result["track_id"] = int(found.tracks[i])
        results.append(result)
    return _save(Path(path), json.dumps(results))


def write_table(path: str | Path, prediction: Prediction) -> Path:
    """One line a joint: frame, person, joint, x_px, y_px, confidence, replaced (0 or 1).
    `read_detections` reads it back.
    """
    found, joints = prediction.detections, skeleton_by_name(prediction.skeleton).joints
    lines = [("frame", "person", "joint", "x_px", "y_px", "confidence", "replaced")]
    for i, frame in enumerate(found.frames):
        keypoints = np.column_stack((prediction.xy_frame[i], prediction.confidence[i]))
        for joint, values, replaced in zip(joints, keypoints, prediction.replaced[i]):
            lines.append((frame, found.tracks[i], joint, *values, int(replaced)))
    return _save(Path(path), _csv(lines))
