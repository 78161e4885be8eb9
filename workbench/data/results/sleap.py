"""SLEAP's .slp files and poses in NWB, which sleap-io opens; they are only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import BadFile, BadRecord, MissingData
from ..safe import file_size, intact
from .rows import Document, Place, Row

SUFFIXES = (".slp", ".nwb")


def sleap_io():
    """The package that opens these files; `MissingData` where it is not installed."""
    try:
        import sleap_io
    except ImportError:
        raise MissingData(
            "SLEAP's and NWB's files are opened by sleap-io, which is not installed",
            remedy="pip install sleap-io (or this package with [animal]), or export a CSV in "
            "DeepLabCut's layout",
        ) from None
    return sleap_io


def read_sleap(path: Path) -> object:
    """sleap-io's `Labels`."""
    file_size(path)
    opened = sleap_io()
    with intact("a SLEAP or NWB file", file=path):
        if path.suffix.lower() == ".nwb":
            return opened.load_nwb(str(path))
        return opened.load_slp(str(path), open_videos=False)


def sleap_rows(document: Document) -> Iterator[Row]:
    """What a model found; labels by hand beside it are left out."""
    ((path, labels),) = document.contents.items()
    with intact("a SLEAP or NWB file", file=path):
        frames = [*labels.labeled_frames]
        names = [str(name) for name in labels.skeletons[0].node_names] if labels.skeletons else []
        bones = [tuple(map(int, bone)) for bone in labels.skeletons[0].edge_inds] if names else []
    if frames and len(labels.skeletons) != 1:
        raise BadFile(f"{len(labels.skeletons)} skeletons, one expected")
    used = document.choose(names, bones) if names else []
    document.first_frame = 0
    by_hand = 0
    for i, frame in enumerate(frames):
        place = _place(labels, frame)
        document.seen.append(place)
        for j, instance in enumerate(frame.instances):
            if not hasattr(instance, "score"):
                by_hand += 1
                continue
            row = None
            with document.record(f"frame {int(frame.frame_idx)}, instance {j}", path):
                row = _row(instance, used)
            if row is not None:
                yield row._replace(id=f"{i}.{j}", place=place)
    if by_hand:
        document.note(f"{by_hand} instances labelled by hand are left out")


def _place(labels, frame) -> Place:
    """A picture's name where the video is a list of them; else the frame's number from 0, with the
    video's name where there are several.
    """
    number, name = int(frame.frame_idx), frame.video.filename
    if isinstance(name, list | tuple):
        return Place(str(name[number]))
    if len(labels.videos) > 1:
        return Place(f"{Path(str(name)).stem}/{number}")
    return Place(number=number)


def _row(instance, used: list[int]) -> Row:
    points = np.array(instance.numpy(scores=True), float)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) <= max(used):
        raise BadRecord(f"points have shape {points.shape}, joints of x, y and score expected")
    keypoints = points[used]
    keypoints[~np.isfinite(keypoints[:, :2]).all(1)] = 0
    keypoints[:, 2] = np.nan_to_num(keypoints[:, 2])
    track = None if instance.track is None else str(instance.track.name)
    score = float(instance.score)
    return Row("", keypoints, None, score=score if np.isfinite(score) else None, track=track)
