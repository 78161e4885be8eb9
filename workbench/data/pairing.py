"""Annotated people and what a detector says of them, row by row: whatever files both come in."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

import numpy as np

from .. import metrics
from ..errors import BadFile, BadParameter, BadRecord
from ..records import Clip, Detections, Picture, Pose
from ..skeletons import skeleton as skeleton_of
from ..skeletons import titled
from .frames import PICTURE_SUFFIXES
from .numbering import LABEL_STUDIO, before_export
from .readers import read
from .releases import concatenated
from .results import read_detections
from .safe import read_json
from .tracks import poses_of

People = TypeVar("People", Pose, Detections)
OF_JOINTS = ("xy_frame", "visibility", "confidence", "xyz_camera_mm")  # fields with an axis k


class Pairs(NamedTuple):
    """Row i of both is the same person. notes: who was left out, in words."""

    truth: Pose
    detections: Detections
    notes: tuple[str, ...] = ()


def read_pairs(
    truth: str | Path, detections: str | Path | None = None, *, skeleton: str | None = None
) -> Pairs:
    """People with their truth, and a detector's results on them.

    truth: what `readers.read` reads: a file, a folder, or NAME or NAME:PATH of a data set. Poses of
        clips count frame by frame. People without a labelled joint and crowds are left out.
    detections: what `read_detections` reads; None where the truth's own reader gives them row by
        row (port_panoptic, h36m).
    skeleton: whose order of joints they have where the file names none; None: the truth's.
    Whom a result is of: its `annotation_id`, where all state one; else its picture, by id, or by
    the most parts of its name, and of several people there the one of the assignment of the largest
    total OKS (`metrics.match`). Errors: of the readers; `BadFile` where the truth holds no people;
    `BadParameter` without detections; `BadRecord` for results of other joints, of pictures or
    people that the truth does not have, for two of one person, and where there is no pair.
    """
    reading = read(truth)
    people = _of_clips(reading.clips) if reading.poses is None else reading.poses
    counts = np.zeros(0, bool) if people is None else people.labelled.any(1)
    if people is not None and people.crowd is not None:
        counts &= ~people.crowd
    if not counts.any():
        raise BadFile("holds no people with joints", file=truth, remedy="name a file with truth")
    if detections is None:
        if reading.detections is None or len(reading.detections) != len(people):
            problem = "holds truth, and nothing that a detector says of it"
            raise BadParameter(problem, file=truth, remedy="name results by --detections FILE")
        return Pairs(people.select(counts), reading.detections.select(counts))
    file = Path(detections)
    found, ids = _read_results(file, people, reading.pictures, skeleton)
    if ids is not None:
        return _by_person(people, counts, found, ids, file)
    return _by_picture(people.select(counts), found, reading.pictures, file)


def _of_clips(clips: Sequence[Clip]) -> Pose | None:
    """Every labelled pose of clips; pictures have the names of the videos' folders before theirs,
    groups are the clips.
    """
    parts = []
    for clip in clips:
        poses, frames = poses_of(clip)
        names = [picture.name for picture in clip.pictures] or range(clip.video.n_frames)
        images = [f"{clip.video.source}/{names[frame]}" for frame in frames]
        parts.append(replace(poses, images=images, groups=[clip.name] * len(images)))
    return concatenated(parts)


def _read_results(
    file: Path, people: Pose, pictures: Sequence[Picture], skeleton: str | None
) -> tuple[Detections, Sequence[object] | None]:
    """In the truth's order of joints; and where COCO results state it, each one's annotation_id."""
    content = read_json(file) if file.suffix == ".json" else None
    sizes = {picture.size_wh for picture in pictures}
    found = read_detections(
        file,
        skeleton=skeleton or people.skeleton,
        size_wh=sizes.pop() if len(sizes) == 1 else None,
        content=content,
    )
    ids = None
    if type(content) is list and len(content) == len(found):
        ids = [row.get("annotation_id") for row in content if type(row) is dict]
    return in_order_of(found, people.skeleton), ids if ids and any(ids) else None


def in_order_of(people: People, name: str) -> People:
    """The same people, their joints in the order of that skeleton; `BadRecord` where it has
    others.
    """
    own, other = skeleton_of(people.skeleton), skeleton_of(name)
    if own is other:
        return people
    if sorted(own.joints) != sorted(other.joints):
        problem = f"joints of {titled(own.name)}, those of {titled(name)} expected"
        raise BadRecord(problem, remedy="give detections of the truth's joints")
    order = [own.index(joint) for joint in other.joints]
    arrays = {key: getattr(people, key, None) for key in OF_JOINTS}
    changed = {key: value[:, order] for key, value in arrays.items() if value is not None}
    return replace(people, skeleton=name, **changed)


def _told(people: int, results: int, total: int, file: Path) -> tuple[str, ...]:
    """Who has no pair, in words; `BadRecord` where that are all of `total` results."""
    if results == total:
        raise BadRecord("not one result is of a person of the truth", file=file)
    left = {"people without a result": people, "results of nobody": results}
    return tuple(f"{count:,} {what} left out" for what, count in left.items() if count)


# --- by person ------------------------------------------------------------------------------------


def _by_person(
    people: Pose, counts: np.ndarray, found: Detections, ids: Sequence[object], file: Path
) -> Pairs:
    """In the order of the results. ids: each one's annotation_id."""
    texts = ["" if value is None else str(value) for value in ids]
    row_of, stated = {key: row for row, key in enumerate(people.ids)}, Counter(texts)
    for problem, bad in (
        ("is no person's of the truth", [text for text in texts if text not in row_of]),
        ("stands twice", [text for text in texts if stated[text] > 1]),
    ):
        if bad:
            many = f"{len(bad)} results whose annotation_id {problem}"
            remedy = "state every row's annotation_id, as the truth has them"
            raise BadRecord(many, file=file, record=f"annotation_id {bad[0]}", remedy=remedy)
    rows = np.array([row_of[text] for text in texts])
    judged = counts[rows]
    notes = _told(int(counts.sum() - judged.sum()), int((~judged).sum()), len(found), file)
    return Pairs(people.select(rows[judged]), found.select(judged), notes)


# --- by picture -----------------------------------------------------------------------------------


def _by_picture(people: Pose, found: Detections, pictures: Sequence[Picture], file: Path) -> Pairs:
    found = replace(found, images=_names_of(found.images, people, pictures, file))
    of_people, of_found = Counter(people.images), Counter(found.images)
    several = [name for name in of_people if max(of_people[name], of_found[name]) > 1]
    if not several:
        row_of = {name: row for row, name in enumerate(found.images)}
        rows = np.array([row_of.get(name, -1) for name in people.images])
    elif skeleton_of(people.skeleton).oks_sigmas is None:
        problem = f"several people or results, and {people.skeleton} has no OKS to tell whose"
        remedy = "state annotation_id in COCO results"
        raise BadRecord(problem, file=file, record=f"picture {several[0]}", remedy=remedy)
    else:
        area = "box" if people.areas is None else None
        names = [*dict.fromkeys((*people.images, *found.images))]
        rows = metrics.match(people, found, images=names, area=area)
    matched = rows >= 0
    notes = _told(int((~matched).sum()), len(found) - int(matched.sum()), len(found), file)
    return Pairs(people.select(matched), found.select(rows[matched]), notes)


def _names_of(
    images: Sequence[str], people: Pose, pictures: Sequence[Picture], file: Path
) -> list[str]:
    """What the truth calls the pictures of results, which go by its ids or by names."""
    by_id = {picture.id: picture.name for picture in pictures if picture.id}
    ends = defaultdict(list)
    for name in dict.fromkeys((*people.images, *by_id.values())):
        parts = name_parts(name)
        ends[parts[-1]].append((name, parts))
    name_of = {image: by_id.get(image) or name_by_parts(image, image, ends) for image in {*images}}
    known = {*people.images, *by_id.values()}
    strange = [image for image in images if name_of[image] not in known]
    if strange:
        problem = f"{len(strange)} of {len(images)} results are of pictures that the truth lacks"
        remedy = "give results of the truth's pictures, by their ids or file names"
        raise BadRecord(problem, file=file, record=f"picture {strange[0]}", remedy=remedy)
    return [name_of[image] for image in images]


def name_parts(name: str) -> tuple[str, ...]:
    """Folders and name of a picture, without what tells its format."""
    *folders, last = before_export(name).parts or ("",)
    path = PurePosixPath(last)
    return (*folders, path.stem if path.suffix.lower() in PICTURE_SUFFIXES else last)


def name_by_parts(key: str, name: str, ends: Mapping[str, Sequence[tuple]]) -> str:
    """The key of the picture whose name has most of its last parts in common with this one; of
    several the same key. The name itself where there is none, or several others.

    ends: by the last part of their names, keys of pictures and the names' parts.
    """
    *folders, last = name_parts(name)
    parts = (*folders, last if last in ends else re.sub("^" + LABEL_STUDIO, "", last))
    shared = {}
    for other, other_parts in ends.get(parts[-1], ()):
        pairs = zip(reversed(parts), reversed(other_parts))
        shared[other] = [*(a == b for a, b in pairs), False].index(False)
    best = [other for other, n in shared.items() if n == max(shared.values())]
    if key in best:
        return key
    return best[0] if len(best) == 1 else name
