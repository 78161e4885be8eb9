"""What there is in a file or folder, as plain values: the readers' reading, counted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import BadRecord, MissingFile, WorkbenchError
from ..records import Clip, Detections, Motion, Picture, Pose, Reading, Track
from .annotations import OCCLUSION_STATED
from .checks import check_on_bad
from .coco import CROWD_EDGES_EVALUATOR, crowd_bins, find_pictures
from .readers import Contents, Reader, known_manifests, recognise

_LAY_THEM = "labels are read without; lay the pictures beside them"


def describe(
    path: str | Path,
    reader: str | None = None,
    *,
    on_bad: str = "raise",
    skeleton: str | None = None,
    unit: str | float | None = None,
) -> dict:
    """What there is at a path, as plain values under stable keys (`schema_version` 1); what there
    is none of is None.

    people: annotated persons or hands, one a frame; `labelled` those with a labelled joint. joints:
    how many have visibility 0, 1, 2; `visibility` is the manifest's word on what the set's own
    flags mean. Nothing here needs boxes, so people in boxes of no area are counted, with a warning.
    skeleton, unit: as of the reader. Errors: those of `readers.read`.
    """
    check_on_bad(on_bad)
    file, chosen = recognise(path, reader)
    keep_flat = True if chosen.takes("keep_flat") else None
    reading = chosen.read(file, on_bad, skeleton=skeleton, unit=unit, keep_flat=keep_flat)
    poses, clips, detections = reading.poses, reading.clips, reading.detections
    motions, boxes = reading.motions, reading.boxes
    tracks = [track for clip in clips for track in clip.tracks]
    labelled = [*tracks] if poses is None else [poses, *tracks]
    posed = labelled if detections is None else [*labelled, detections]
    pictures = [*reading.pictures, *(picture for clip in clips for picture in clip.pictures)]
    # a still is no sequence: groups that are more than a picture each
    groups = None if poses is None or poses.groups == poses.images else _distinct(poses.groups)
    n_frames = [clip.video.n_frames for clip in clips] + [len(m.xyz_mm) for m in motions]
    description = {
        "schema_version": 1,
        "path": str(file.path),
        "kind": chosen.kind,
        "reader": reading.reader,
        "skeletons": sorted({pose.skeleton for pose in posed}),
        "images": len(pictures) or (None if poses is None else _distinct(poses.images)),
        "labelled_images": sum(p.labelled for p in pictures) if pictures else None,
        "sequences": len(clips) + len(motions) or groups,
        "frames": sum(n_frames) or None,
        **_people(labelled),
        "tracks": len(tracks) or None,
        "crowds": None if poses is None or poses.crowd is None else int(poses.crowd.sum()),
        "crowd_index": _crowd_index(reading.pictures),
        "in_space": bool(motions) or any(p.xyz_camera_mm is not None for p in labelled),
        "size": _sizes(pictures, clips),
        "fps": _range([clip.video.fps for clip in clips] + [m.fps for m in motions]),
        "visibility": _meaning_of_flags(chosen, reading.reader, labelled),
        "detections": None if detections is None else _detected(detections),
        "boxes": None
        if boxes is None
        else {"people": len(boxes), "images": _distinct(boxes.images)},
        "motion": _motion(motions) if motions else None,
        "cameras": len(reading.cameras) or None,
        "members": None,
    }
    if isinstance(reading, Contents):
        description["members"] = {"count": reading.n_members, "names": list(reading.members)}
    warnings = _warnings([*reading.warnings, *_absent(reading, file.path)])
    return description | {"warnings": warnings}


def _detected(detections: Detections) -> dict:
    return {
        "people": len(detections),
        "images": _distinct(detections.images),
        "frames": _distinct(detections.frames),
        "tracks": _distinct(detections.tracks),
        "confidence": _range(detections.confidence.ravel().tolist()),
    }


def _motion(motions: Sequence[Motion]) -> dict:
    return {
        "motions": len(motions),
        "joints": sorted({len(m.joints) for m in motions}),
        "seconds": sum(len(m.xyz_mm) / m.fps for m in motions if m.fps) or None,
        "height_mm": _range([round(m.height_mm, 1) for m in motions]),
        "detected": sum(m.detected is not None for m in motions),
        "labels": sorted({label for m in motions for label in m.labels}),
    }


def _warnings(warnings: Sequence[WorkbenchError]) -> dict:
    fields = ("file", "record", "problem", "remedy")
    records = [
        {"error": type(warning).__name__, **{name: getattr(warning, name) for name in fields}}
        for warning in warnings
    ]
    return {"count": len(warnings), "records": records}


def _range(values: Iterable) -> dict[str, int | float] | None:
    stated = [value for value in values if value is not None]
    return {"min": min(stated), "max": max(stated)} if stated else None


def _distinct(values: Sequence | np.ndarray | None) -> int | None:
    return None if values is None else len(set(values))


def _people(labelled: Sequence[Pose | Track]) -> dict:
    """Counts of people and joints, of tracks in the frames with labels."""
    if not labelled:
        return dict.fromkeys(("people", "labelled", "joints", "occlusion_known"))
    flags = [
        pose.visibility[pose.labelled] if isinstance(pose, Track) else pose.visibility
        for pose in labelled
    ]
    counts = sum(np.bincount(f.ravel(), minlength=3) for f in flags).tolist()
    known = {pose.occlusion_known for pose in labelled}
    return {
        "people": sum(map(len, flags)),
        "labelled": sum(int((f > 0).any(1).sum()) for f in flags),
        "joints": {str(flag): n for flag, n in enumerate(counts)},
        "occlusion_known": known.pop() if len(known) == 1 else None,
    }


def _crowd_index(pictures: Iterable[Picture]) -> dict | None:
    """How many pictures are easy, medium and hard in CrowdPose's sense."""
    crowded = [p.crowd_index for p in pictures if p.crowd_index is not None]
    if not crowded:
        return None
    bins = np.bincount(crowd_bins(np.array(crowded)), minlength=3).tolist()
    return {**dict(zip(("easy", "medium", "hard"), bins)), "edges": list(CROWD_EDGES_EVALUATOR)}


def _sizes(pictures: Iterable[Picture], clips: Iterable[Clip]) -> dict | None:
    sizes = [picture.size_wh for picture in pictures if picture.size_wh]
    sizes += [(clip.video.width, clip.video.height) for clip in clips if clip.video.width]
    if not sizes:
        return None
    widths, heights = zip(*sizes)
    return {"width": _range(widths), "height": _range(heights)}


def _meaning_of_flags(chosen: Reader, name: str, labelled: Sequence[Pose | Track]) -> str | None:
    """What the manifest of the labels' set says about visibility: the set of that name, else of
    reader and skeleton. Nothing of flags that the set itself would not have.
    """
    if any(p.skeleton in OCCLUSION_STATED and not p.occlusion_known for p in labelled):
        return None
    skeletons = {pose.skeleton for pose in labelled}
    if chosen.kind == "data set":
        skeletons.add(None)  # a set of several skeletons names none
    manifests = known_manifests().values()
    sets = [m for m in manifests if m.kind == "dataset" and m.skeleton in skeletons]
    sets.sort(key=lambda m: (m.name not in (chosen.name, name), m.reader != chosen.address))
    return sets[0].visibility if sets else None


def _absent(reading: Reading, path: Path) -> list[WorkbenchError]:
    """Pictures that are not beside the annotations: one warning for those of sequences, and
    where none is; else one each.
    """
    frames = [Path(clip.video.source) / p.name for clip in reading.clips for p in clip.pictures]
    lost = [frame for frame in frames if not os.path.isfile(frame)]
    if lost:
        count = f"{len(lost)} of the {len(frames)} pictures of its sequences are missing"
        return [MissingFile(f"{count}, {lost[0]} the first", file=path, remedy=_LAY_THEM)]
    if reading.poses is None:
        return []
    names = list(dict.fromkeys(reading.poses.images))
    if reading.poses.skeleton == "h36m17":
        # Human3.6M's pictures lie by subject and clip, which names may leave away
        names = [
            n if "/" in n else f"{n.partition('_')[0]}/{n.rpartition('_')[0]}/{n}" for n in names
        ]
    folder = find_pictures(path, names)
    if names and folder is None:
        problem = f"none of its {len(names)} pictures is here"
        return [MissingFile(problem, file=path, remedy=_LAY_THEM)]
    away = [name for name in names if os.path.isabs(name) or ".." in Path(name).parts]
    lost = [name for name in names if name not in away and not os.path.isfile(folder / name)]
    count = f"{len(lost)} of {len(names)} pictures are missing in {folder}"
    return [
        *(MissingFile(f"missing image {name} ({count})", file=path, record=name) for name in lost),
        *(BadRecord("the picture's name leaves the folder", file=path, record=n) for n in away),
    ]
