"""Labels of data sets on their pictures: panels for figures, and what the flags say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data.coco import find_pictures
from ..data.frames import open_frames
from ..data.windows import clips_of
from ..errors import WorkbenchError
from ..records import Clip, Reading
from ..skeletons import Skeleton, skeleton
from .panels import Picture, flagged, marks_of


def clip_panel(
    clip: Clip, picture: np.ndarray, t: int, caption: str, *, before: Clip | None = None
) -> Picture:
    """Frame t of a clip with its labels; before: the same clip ahead of an occlusion."""
    flags, earlier = (
        None if of is None else np.stack([track.visibility[t] for track in of.tracks])
        for of in (clip, before)
    )
    marks = marks_of(flags, earlier, known=all(track.occlusion_known for track in clip.tracks))
    xy = np.stack([track.xy_frame[t] for track in clip.tracks])
    return Picture(caption, [picture], [flagged(xy, marks, skeleton(clip.tracks[0].skeleton))])


def labelled_picture(
    reading: Reading, place: Path, caption: str, *, among: int = 60
) -> Picture | None:
    """The frame whose labels show most, in the first clips or pictures that can be read below
    `place`, as a panel.

    Most: the largest number of hidden joints that comes with as many visible ones, then of labelled
    joints. None where no picture can be read.
    """
    found = []
    for clip in clips_of(reading, first=among):
        for t in (
            np.flatnonzero(np.any([track.labelled for track in clip.tracks], 0)).tolist()
            if clip.pictures
            else ()
        ):
            counts = sum(np.bincount(track.visibility[t], minlength=3) for track in clip.tracks)
            found.append((min(counts[1:]), counts[1:].sum(), -len(found), clip, t))
    folder = find_pictures(place, [clip.pictures[t].name for *_, clip, t in found])
    for *_, clip, t in sorted(found, reverse=True, key=lambda item: item[:3])[:among]:
        try:
            return clip_panel(clip, open_frames(clip, folder or place)[t], t, caption)
        except WorkbenchError:  # not here, or not readable: the next one will do
            continue
    return None


def label_flags(reading: Reading) -> tuple[Skeleton, np.ndarray, bool] | None:
    """Skeleton, flags [n k] of everybody with a labelled joint, and whether they know occlusion;
    None without labels.
    """
    records = ([reading.poses] if reading.poses is not None else []) + [
        t for c in reading.clips for t in c.tracks
    ]
    if not records:
        return None
    flags = np.concatenate([record.visibility for record in records])
    return skeleton(records[0].skeleton), flags[flags.any(1)], records[0].occlusion_known
