"""Users' results as `Detections`: as their file counts frames, or as the frames of a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ...errors import BadFile, BadParameter, BadRecord, MissingFile, WorkbenchError
from ...geometry import box_of_points
from ...records import Detections, Reading
from ...skeletons import SKELETONS
from ...skeletons import skeleton as skeleton_of
from .. import checks, numbering
from ..frames import Frames
from ..readers import reader
from ..releases import named
from .coco import are_predictions
from .files import OF_PICTURES, holds_results, rows_of, skeletons_of
from .placing import check_pixels, placed_on, told_apart
from .rows import USUAL_SKELETON, Document, Place, Row

# --- arrays of rows -------------------------------------------------------------------------------


def _lost(keypoints: Float[np.ndarray, "*n k 3"]) -> Bool[np.ndarray, "*n k"]:
    """Which joints stand at exactly (0, 0) or (-1, -1): so programs write what was not found."""
    x, y = keypoints[..., 0], keypoints[..., 1]
    return (x == y) & ((x == 0) | (x == -1))


def _known(keypoints: Float[np.ndarray, "n k 3"]) -> Float[np.ndarray, "n k 3"]:
    """With confidence 0 where a joint was not found."""
    lost = _lost(keypoints)
    return np.where(lost[..., None] & (np.arange(3) == 2), np.float32(0), keypoints)


def _box(row: Row, known: np.ndarray) -> np.ndarray:
    """The stated box, or the one around the known joints."""
    if row.box_xyxy is not None:
        return row.box_xyxy
    return box_of_points(row.keypoints[known if known.any() else slice(None), :2])


def _check_tracks(rows: Sequence[Row]) -> None:
    untracked = [row.id for row in rows if row.track is None]
    if 0 < len(untracked) < len(rows):
        raise BadRecord(
            "no track_id, others have one",
            record=untracked[0],
            remedy="give every detection a track_id, or none",
        )


def _tracks(rows: Sequence[Row], document: Document) -> list[int] | None:
    """The persons' ids, numbered in the order in which they come where one is text."""
    ids = [row.track for row in rows]
    if not ids or None in ids:
        return None
    if all(type(who) is int for who in ids):
        return ids
    number = {who: i for i, who in enumerate(dict.fromkeys(ids))}
    told = ", ".join(f"{i} is {who}" for who, i in [*number.items()][:8])
    document.notes.append(f"persons have no numbers as ids; in the table {told}")
    return [number[who] for who in ids]


def _skeleton(rows: Sequence[Row], skeleton: str | None, document: Document) -> str:
    if skeleton is not None:
        return skeleton
    if document.named is not None:
        return document.named.name
    k = len(rows[0].keypoints) if rows else len(SKELETONS["coco17"])
    if k not in USUAL_SKELETON:
        raise BadRecord(f"{k} joints and no skeleton named", remedy=skeletons_of(k))
    return USUAL_SKELETON[k]


def _detections(
    document: Document, rows: Sequence[Row], skeleton: str | None, frames: Sequence[int] | None
) -> Detections:
    _check_tracks(rows)
    name = _skeleton(rows, skeleton, document)
    keypoints = np.array([row.keypoints for row in rows], np.float32)
    keypoints = _known(keypoints.reshape(len(rows), len(skeleton_of(name)), 3))
    known = keypoints[..., 2] > 0
    boxes = [_box(row, seen) for row, seen in zip(rows, known)]
    with np.errstate(over="ignore"):
        scores = [row.keypoints[:, 2].mean() if row.score is None else row.score for row in rows]
        scores = np.array(scores, np.float32)
    return Detections(
        name,
        xy_frame=keypoints[..., :2],
        confidence=keypoints[..., 2],
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        scores=scores,
        images=[_text(row.place) for row in rows],
        ids=[row.id for row in rows],
        source=str(document.path),
        frames=frames,
        tracks=_tracks(rows, document),
    )


def _text(place: Place) -> str:
    return place.image or ("" if place.number is None else str(place.number))


def in_px(row: Row, size_wh: tuple[int, int]) -> Row:
    """A row of fractions of a picture of this size in its px, also what puts joints back."""
    if not row.fractions:
        return row
    keypoints, box = row.keypoints.astype(np.float64), row.box_xyxy
    stated = ~_lost(keypoints)
    keypoints[stated, :2] = keypoints[stated, :2] * size_wh + row.origin_px
    if box is not None:
        box = box * np.tile(size_wh, 2) + row.origin_px

    def put(j: int, x: float, y: float) -> None:
        row.put(j, *((np.array((x, y)) - row.origin_px) / size_wh))

    keypoints = keypoints.astype(np.float32)
    return row._replace(keypoints=keypoints, box_xyxy=box, put=put, fractions=False)


# --- as the file counts ---------------------------------------------------------------------------


def _numbers(document: Document, rows: Sequence[Row]) -> list[int] | None:
    """The frame of each row as the file counts it: a number that it states, or the one that changes
    between its names; None where one has none. Pictures without a number are counted.
    """
    names = [place.image for place in document.seen if place.image]
    stems = [numbering.stem_of(name) for name in dict.fromkeys(names)]
    cuts = dict(zip(dict.fromkeys(names), numbering.split_names(stems)))
    numbers = []
    for row in rows:
        image, number = row.place
        cut = cuts.get(image)
        numbers.append(cut.number if number is None and cut else number)
    low = min((place.number for place in document.seen if place.number is not None), default=0)
    first = document.counts_from if low else 0
    if document.format in OF_PICTURES and None in numbers:
        order = {place: i for i, place in enumerate(document.seen)}
        return [order[row.place] for row in rows]
    if None in numbers or min(numbers, default=0) < first:
        return None
    return [number - first for number in numbers]


def read_detections(
    path: str | Path,
    *,
    skeleton: str | None = None,
    size_wh: tuple[int, int] | None = None,
    content: object = None,
) -> Detections:
    """Detected poses of one file or folder, told apart by suffix and content:

    .pkl, .pickle  MMPose 0.x results: a list of batches {preds [b k 3], boxes [b 6], image_paths,
                   bbox_ids}; MMPose 1.x `--dump`: [{img_path, pred_instances: {keypoints,
                   keypoint_scores, bboxes, bbox_scores}}], of arrays
    .npz           the same four arrays, once
    .json          COCO results: [{image_id, category_id, keypoints [3k], score, bbox?, track_id?}],
                   and AlphaPose's, with box and idx
                   a data set in COCO's layout whose annotations are predictions: {images,
                   annotations, categories}; without scores and with flags 0, 1, 2 they are ground
                   truth, and refused
                   MMPose 1.x: [{frame_id, instances: [{keypoints [k 2], keypoint_scores [k], bbox?,
                   bbox_score?}]}], the same in {meta_info, instance_info}, or one picture's list of
                   instances
                   OpenPose: {people: [{pose_keypoints_2d}]} of BODY_25 or COCO-18
                   Ultralytics' to_json(): one picture's [{name, confidence, box, keypoints: {x, y,
                   visible}, track_id?}], or a list of such lists, one a frame; in px or fractions
    .txt           Ultralytics' save_txt of one picture: lines of class, box, joints, confidence?,
                   id?, told apart as `ultralytics.layout_of` says; fractions, which need size_wh
    a folder       one OpenPose file a frame (*_000000000012_keypoints.json) or picture
                   (PICTURE_keypoints.json), one MMPose or Ultralytics file a picture, or one
                   Ultralytics .txt a frame (VIDEO_12.txt, counted from 1) or picture
    .csv           one line a landmark: frame, person (optional; 0), landmark (name, or MediaPipe's
                   number 0 to 32), x and y (fractions of the picture, which need size_wh) or x_px
                   and y_px, visibility (optional; 1); further columns are left alone; our own
                   tables with joint and confidence are read too
                   DeepLabCut's and Lightning Pose's: lines of titles scorer, individuals?,
                   bodyparts, coords; then a line a frame (from 0) or picture
    .slp, .nwb     SLEAP's, and poses in NWB, if sleap-io is installed

    skeleton: its name; None means the one whose joints the file names, else crowdpose14, coco17 or
        hand21 for as many joints; other counts must be named. OpenPose, BlazePose, Halpe-26 and
        COCO-WholeBody joints are reduced to coco17 (no neck, mid-hip, feet, face, hands).
    size_wh: px of the pictures. content: the JSON, if it has been parsed already.
    Coordinates px in the frame. MMPose boxes (centre, size in 200 px) and COCO boxes (xywh) become
    xyxy; a result without a box gets the one around its joints of confidence above 0. Scores: as
    stated, of batches box score times mean joint confidence, else the mean confidence. Rows stand
    in the order of bbox_ids, of other files in their own. frames: as the file counts them
    (MMPose's demo, which wraps its list, counts from 1; here from 0); `on_video` says which frames
    of a video they are. A joint at exactly (0, 0) or (-1, -1), one with a value that is null or not
    finite, and one that the file calls missing have confidence 0.
    Errors: `UnsafeFile`, `BadFile`, `EmptyFile`, `MissingFile`, `UnknownName`, `BadRecord` with
    batch or row, `BadParameter` for fractions without size_wh.
    """
    path = Path(path)
    document, rows = rows_of(path, skeleton, content)
    checks.settle(document.bad, len(rows) + len(document.bad), "results", "raise", path)
    if size_wh is None and any(row.fractions for row in rows):
        raise BadParameter(
            "x and y are fractions of the picture, whose size is not known",
            file=path,
            remedy="give the picture's size_wh"
            + ", or columns x_px and y_px" * (document.format == "table"),
        )
    with named(path):
        if document.of_nothing and skeleton is None:
            raise BadFile("empty list", remedy="name the skeleton (--skeleton)")
        rows = [in_px(row, size_wh or (1, 1)) for row in rows]
        return _detections(document, rows, skeleton, _numbers(document, rows))


@reader(
    "predictions",
    order=290,
    kind="detections",
    reads="predictions in the layout of a COCO data set",
    recognised="annotations with a score and confidences",
    fits=lambda file: are_predictions(file.fields),
)
@reader(
    "detections",
    order=400,
    kind="detections",
    reads="results: COCO, MMPose, OpenPose, Ultralytics, DeepLabCut, SLEAP, landmarks",
    recognised="keypoints and score; preds and boxes; a JSON or lines a frame; .csv, .slp, .nwb",
    fits=holds_results,
)
def read_results(
    path: Path, *, skeleton: str | None = None, on_bad: str = "raise", content: object = None
) -> Reading:
    """Users' own results; a bad row is an error with either `on_bad`. Landmarks that are fractions
    of a picture of unknown size stay fractions, with a warning.
    """
    options = {"skeleton": skeleton, "content": content}
    try:
        return Reading(detections=read_detections(path, **options))
    except BadParameter as error:
        fractions = read_detections(path, size_wh=(1, 1), **options)
        return Reading(detections=fractions, warnings=(error,))


def file_in_truth_boxes(folder: Path) -> Path:
    """The one *_in_truth_boxes.json of a folder; `MissingFile`."""
    files = sorted(folder.glob("*_in_truth_boxes.json"))
    if len(files) != 1:
        raise MissingFile(
            f"{len(files)} files *_in_truth_boxes.json, one expected",
            file=folder,
            remedy="name a folder with one by real_detections:PATH",
        )
    return files[0]


def read_in_truth_boxes(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """What an estimator says of people in their true boxes, as the manifest real_detections lays
    it.
    """
    checks.check_on_bad(on_bad)
    return Reading(detections=read_detections(file_in_truth_boxes(Path(path)), skeleton="coco17"))


def results_beside_videos(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Videos of a folder, or of its folder clips, and the results of the same name beside them, or
    in its folder real_detections: by name.
    """
    videos, results = (
        {path.stem: path for place in places for path in sorted(folder.glob(place))}
        for places in (("*.mp4", "clips/*.mp4"), ("*.json", "real_detections/*.json"))
    )
    return {name: (videos[name], results[name]) for name in sorted(videos.keys() & results.keys())}


def read_clip_results(path: str | Path, *, on_bad: str = "raise") -> Reading:
    """What an estimator says of the people of videos that nobody labelled, one video after another,
    as the manifest real_clips lays it; images: the videos' names.
    """
    checks.check_on_bad(on_bad)
    found = [
        replace(people, images=(name,) * len(people))
        for name, (_, file) in results_beside_videos(Path(path)).items()
        for people in [read_detections(file, skeleton="coco17")]
    ]
    if not found:
        raise MissingFile("no video and results of one name", file=path, remedy="lay both there")
    columns = ("xy_frame", "confidence", "boxes_xyxy", "scores")
    joined = {name: np.concatenate([getattr(each, name) for each in found]) for name in columns}
    images = tuple(name for each in found for name in each.images)
    return Reading(detections=Detections("coco17", **joined, images=images, source=str(path)))


# --- as the frames of a video ---------------------------------------------------------------------


def _somebody(rows: Sequence[Row], document: Document) -> list[Row]:
    """Without poses none of whose joints was found, unless all are such."""
    there = [row for row in rows if not _lost(row.keypoints).all()]
    if not 0 < len(there) < len(rows):
        return [*rows]
    document.notes.append(f"{len(rows) - len(there)} poses without a joint are left out")
    return there


class OnVideo(NamedTuple):
    """A user's results as the frames of their video."""

    detections: Detections
    notes: tuple[str, ...]  # what was taken how, and what was left out
    warnings: tuple[WorkbenchError, ...]


def on_video(
    path: str | Path,
    frames: Frames,
    *,
    skeleton: str | None = None,
    first_frame: int | None = None,
    on_bad: str = "raise",
) -> OnVideo:
    """The results of a file or folder, as `read_detections` reads them, on the frames of a video or
    of a folder of pictures.

    Which frame a result belongs to: where the video is a folder of pictures and the result names
    one, that picture. Else the number in its name that changes between names (of a picture in a
    folder of numbered ones: that picture), else `image_id`, `frame_id` or `frame`. Numbers count
    from the first frame's, which is 0 or 1: `first_frame`, else as the file proves it, because with
    the other some would be no frame's. Of results of several videos those are read whose folder,
    or name up to the number, is called as the video. Fractions are of each frame's own size.
    on_bad: "report" leaves out bad results, and such beyond the end of a video that was cut.
    Errors: of `read_detections`; `BadParameter` where nothing says what the first frame's number
    is; `BadRecord` for results of no frame, of several videos, or whose numbers are no pixels of
    these frames (`placing.check_pixels`, which also says what cannot be told), and for a person who
    stands twice in a frame.
    """
    path = Path(path)
    document, rows = rows_of(path, skeleton)
    checks.settle(document.bad, len(rows) + len(document.bad), "results", on_bad, path)
    with named(path):
        rows, numbers = placed_on(document, _somebody(rows, document), frames, first_frame)
        fractions = any(row.fractions for row in rows)
        rows = [in_px(row, frames.size_of(frame)) for row, frame in zip(rows, numbers)]
        detections = told_apart(_detections(document, rows, skeleton, numbers), document.notes)
        odd = check_pixels(detections, frames, fractions=fractions)
    return OnVideo(detections, tuple(document.notes), (*frames.warnings, *document.bad, *odd))
