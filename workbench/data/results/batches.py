"""MMPose 0.x: pickles and npz of batches, which are only read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import BadFile, BadRecord
from ...geometry import cxcywh_to_xyxy
from ..checks import numbers_of, texts_of
from ..releases import named
from ..safe import MAX_FILE_BYTES, read_npz
from .rows import Document, Place, Row

BOX_UNIT_PX = 200  # MMPose states box sizes in units of 200 px
COLUMNS = ("preds", "boxes", "image_paths", "bbox_ids")


def _batch_ids(value: object) -> list[int]:
    value = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if type(value) not in (list, tuple) or not all(
        type(v) in (int, np.int32, np.int64) and -(2**63) <= v < 2**63 for v in value
    ):
        raise BadRecord("bbox_ids is not a list of 64-bit integers")
    return list(map(int, value))


def _batch(batch: object, k: int | None) -> list[Row]:
    """The rows of one batch {preds [b k 3], boxes [b 6], image_paths, bbox_ids}."""
    if type(batch) is not dict:
        raise BadRecord(f"{type(batch).__name__}, a dict with {', '.join(COLUMNS)} expected")
    preds = numbers_of(batch.get("preds"), "preds", (None, k, 3)).astype(np.float32)
    n, k = preds.shape[:2]
    if not k:
        raise BadRecord("preds have no joints")
    boxes = numbers_of(batch.get("boxes"), "boxes", (n, 6))
    images = texts_of(batch.get("image_paths"), "image_paths")
    ids = _batch_ids(batch.get("bbox_ids"))
    for key, column in (("image_paths", images), ("bbox_ids", ids)):
        if len(column) != n:
            raise BadRecord(f"{key} has {len(column)} entries, {n} expected")
    with np.errstate(over="ignore"):
        cxcywh = boxes[:, :4] * (1, 1, BOX_UNIT_PX, BOX_UNIT_PX)
        corners = cxcywh_to_xyxy(cxcywh).astype(np.float32)
        scores = (boxes[:, 5] * preds[:, :, 2].mean(1)).astype(np.float32)
    area = np.isfinite(corners).all(1) & (corners[:, 2:] > corners[:, :2]).all(1)
    checks = {
        "box of bbox_id {} has size <= 0": (boxes[:, 2:4] > 0).all(1),
        "box of bbox_id {} is beyond what float32 can hold": area,
        "score of bbox_id {} is beyond what float32 can hold": np.isfinite(scores),
    }
    for problem, good in checks.items():
        if not good.all():
            raise BadRecord(problem.format(ids[good.argmin()]))
    return [
        Row(str(ids[i]), preds[i], None, Place(images[i]), corners[i], scores[i]) for i in range(n)
    ]


def batch_rows(document: Document) -> Iterator[Row]:
    """Rows of all batches, which the content names, in the order of bbox_ids."""
    (content,) = document.contents.values()
    if not content:
        raise BadFile("holds no batches")
    rows = []
    for record, batch in content.items():
        with named(document.path, record):
            rows += _batch(batch, len(rows[0].keypoints) if rows else None)
            if rows and len(rows) * rows[0].keypoints.nbytes > 4 * MAX_FILE_BYTES:
                raise BadFile("more rows than a file of its size can hold")
    rows.sort(key=lambda row: int(row.id))
    doubles = [ident for ident, times in Counter(row.id for row in rows).items() if times > 1]
    if doubles:
        raise BadRecord(
            f"{len(doubles)} bbox_ids stand more than once",
            record=f"bbox_id {doubles[0]}",
            remedy="keep one row of each (distributed evaluation pads its last batch with repeats)",
        )
    used = document.first_of(len(rows[0].keypoints)) if rows else []
    for row in rows:
        document.seen.append(row.place)
        yield row._replace(keypoints=row.keypoints[used])


def read_batches(path: Path, content: object = None) -> dict[str, object]:
    """{batch's name: its dict, unchecked}. content: of a pickle."""
    if path.suffix.lower() == ".npz":
        return {"arrays": read_npz(path, (), COLUMNS)}
    if type(content) is not list:
        raise BadFile(
            f"holds a {type(content).__name__}, a list of MMPose result batches expected", file=path
        )
    return {f"batch {i}": batch for i, batch in enumerate(content)}
