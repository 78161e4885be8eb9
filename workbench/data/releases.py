"""What the readers of released data sets share: files of a release, records named in errors,
tracks, and the readings of its sequences as one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from glob import glob
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float

from ..errors import BadFile, BadRecord, MissingFile, WorkbenchError, unknown
from ..geometry import box_of_points, project
from ..records import Camera, Clip, Detections, Motion, Picture, Pose, Reading, Track, Video
from ..skeletons import skeleton as skeleton_by_name
from .checks import each, numbers_of
from .safe import read_bytes, safe_unpickle

Rows = TypeVar("Rows", Detections, Pose)
NEAR_MM = 1.0  # joints nearer to the camera's plane are not projected; unstated; ours


# --- files ----------------------------------------------------------------------------------------


def release(path: Path, data_set: str, *patterns: str) -> tuple[Path, list[Path]]:
    """The folder of a release, and its files of the first pattern that any matches, without hidden
    ones; or one such file, and the folder that it lies in by the first pattern.

    data_set: the manifest that shows the layout. Errors: `MissingFile`.
    """
    if os.path.isfile(path):
        above = [".."] * patterns[0].count("/")
        return Path(os.path.normpath(path.absolute().parent.joinpath(*above))), [path]
    for pattern in patterns:
        names = glob(pattern, root_dir=path, recursive=True)
        if names:
            return path, [path / name for name in sorted(map(Path, names))]
    raise MissingFile(
        f"no such file, or a folder without {patterns[0]}",
        file=path,
        remedy=f"name one of its files, or see `workbench data show {data_set}` for the layout",
    )


def first_file(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    """The first of these names that is a file in the folders, tried folder by folder."""
    paths = (folder / name for folder in folders for name in names)
    return next(filter(os.path.isfile, paths), None)


def text_lines(path: Path) -> list[str]:
    """Lines of a text file, stripped, without empty ones."""
    lines = map(str.strip, read_bytes(path).decode("latin1").splitlines())
    return list(filter(None, lines))


def read_pickled_dict(path: Path) -> Mapping:
    """The dict in a pickle, as `safe_unpickle`; `BadFile` where it holds another thing."""
    content = safe_unpickle(path)
    with named(path):
        return mapping_of(content)


# --- records --------------------------------------------------------------------------------------


@contextmanager
def named(file: Path | None, record: str | None = None) -> Iterator[None]:
    """Errors that come up inside name this file and record, where they name none."""
    try:
        yield
    except WorkbenchError as error:
        where = {"file": error.file or file, "record": error.record or record}
        raise type(error)(error.problem, remedy=error.remedy, **where) from None


def choose(kind: str, name: str, known: Iterable[str], path: Path) -> str:
    """The name, where it is a known one; `UnknownName` otherwise."""
    if name not in known:
        raise unknown(kind, name, known, file=path)
    return name


def mapping_of(content: object) -> Mapping:
    """A value of a file that must be a dict; `BadFile` otherwise."""
    if type(content) is not dict:
        raise BadFile(
            f"holds a {type(content).__name__}, a dict expected", remedy="check the layout"
        )
    return content


def array_of(record: Mapping, key: str, shape: tuple, **options) -> np.ndarray:
    """The array of a record under `key`. shape, options, errors: those of `numbers_of`."""
    return numbers_of(record.get(key), key, shape, **options)


def arrays_of(record: Mapping, shapes: Mapping[str, tuple], **options) -> list[np.ndarray]:
    """The arrays of a record under several keys, each in its shape; as `array_of`."""
    return [array_of(record, key, shape, **options) for key, shape in shapes.items()]


# --- tracks, motions, detections ------------------------------------------------------------------


def boxes_around(
    xy: Float[np.ndarray, "n k 2"], labelled: Bool[np.ndarray, "n k"]
) -> Float[np.ndarray, "n 4"]:
    """Tight boxes around labelled joints; zeros where there is none."""
    return np.where(labelled.any(1)[:, None], box_of_points(xy, labelled), 0)


def track_of(
    skeleton: str,
    number: int,
    xy: Float[np.ndarray, "t k 2"],
    labelled: Bool[np.ndarray, "t k"],
    xyz_mm: Float[np.ndarray, "t k 3"] | None = None,
    boxes: Float[np.ndarray, "t 4"] | None = None,
) -> Track:
    """A track whose labelled joints are visible as far as anybody knows. boxes: None draws them
    tight around the joints (ours).
    """
    frames = labelled.any(1)
    boxes = boxes_around(xy, labelled) if boxes is None else boxes
    return Track(
        skeleton,
        number,
        np.where(labelled[..., None], xy, 0),
        2 * labelled,
        frames,
        np.where(frames[:, None], boxes, 0),
        occlusion_known=False,
        xyz_camera_mm=None if xyz_mm is None else np.where(labelled[..., None], xyz_mm, 0),
    )


def projected(
    camera: Camera, xyz_mm: Float[np.ndarray, "t k 3"], usable: Bool[np.ndarray, "t #k"] | bool
) -> tuple[Float[np.ndarray, "t k 2"], Bool[np.ndarray, "t k"]]:
    """Where joints in camera space appear, px, and which do: those that are usable and in front
    of the camera. The others are (0, 0).
    """
    ahead = usable & (xyz_mm[..., 2] > NEAR_MM)
    xy = np.zeros((*ahead.shape, 2))
    xy[ahead] = project(camera, xyz_mm[ahead])
    return xy, ahead


def clip_of_pictures(
    folder: str | Path, pictures: Sequence[str], tracks: Sequence[Track], name: str, **video
) -> Clip:
    """A clip whose frames are picture files in a folder. video: further fields of `Video`."""
    frames = Video(str(folder), len(pictures), **video)
    return Clip(frames, tracks, tuple(map(Picture, pictures)), name)


def motions_of(
    file: Path,
    name: str,
    skeleton: str,
    xyz_mm: Float[np.ndarray, "t k 3"],
    detected: Float[np.ndarray, "t k 3"] | None = None,
    **motion,
) -> tuple[list[Motion], list[BadRecord]]:
    """The motion, cut where a frame has a NaN, as published files do, and a warning of such
    frames. Parts are called NAME[first:end]. motion: further fields of `Motion`.
    """
    whole = np.isfinite(xyz_mm if detected is None else xyz_mm + detected).all((1, 2))
    body = skeleton_by_name(skeleton)
    motions, warnings = [], []
    for part in np.ma.clump_masked(np.ma.array(whole, mask=whole)):
        motion["name"] = name if whole.all() else f"{name}[{part.start}:{part.stop}]"
        motion["detected"] = None if detected is None else detected[part]
        motions.append(Motion(body.joints, body.parents, xyz_mm[part], **motion))
    if not whole.all():
        gaps = f"{(~whole).sum()} of {len(whole)} frames have a NaN, the first is {whole.argmin()}"
        warnings = [BadRecord(f"{gaps}: not labelled", file=file, record=name)]
    return motions, warnings


def detections_of(
    skeleton: str,
    keypoints: Float[np.ndarray, "t k 3"],
    images: Sequence[str],
    person: int = 0,
    boxes: Float[np.ndarray, "t 4"] | None = None,
) -> Detections:
    """What a detector saw of one person of a video, x px, y px, confidence: a row for each frame
    without NaN in which it found a joint. boxes: None draws them around such joints (ours).
    """
    known = keypoints[..., 2] > 0
    frames = np.flatnonzero(np.isfinite(keypoints).all((1, 2)) & known.any(1))
    xy, confidence = keypoints[frames, :, :2], keypoints[frames, :, 2]
    return Detections(
        skeleton,
        xy,
        confidence,
        box_of_points(xy, known[frames]) if boxes is None else boxes[frames],
        images=[images[frame] for frame in frames],
        frames=frames,
        tracks=np.full(len(frames), person),
    )


def concatenated(parts: Iterable[Rows | None], **changed) -> Rows | None:
    """All rows of the parts; None where there is none. changed: fields to set."""
    parts = [part for part in parts if part]
    if not parts:
        return None
    for f in fields(parts[0]):
        values = [getattr(part, f.name) for part in parts]
        if any(value is None for value in values):
            changed[f.name] = None
        elif isinstance(values[0], np.ndarray):
            changed[f.name] = np.concatenate(values)
        elif isinstance(values[0], tuple):
            changed[f.name] = tuple(chain.from_iterable(values))
    return replace(parts[0], **changed)


# --- readings -------------------------------------------------------------------------------------


def read_sequences(
    path: Path,
    sequences: Sequence,
    read: Callable[[object], Reading],
    on_bad: str,
    warnings: Sequence[WorkbenchError] = (),
    pictures: bool = True,
) -> Reading:
    """The readings of sequences as one. Those that cannot be read are errors or warnings, by
    `on_bad`. warnings: further ones. pictures: warn of clips whose pictures are not there.
    """
    readings, bad = each(sequences, read, "sequences", on_bad, path)
    warnings = [*bad, *warnings]
    if pictures:
        warnings += _absent_pictures(readings, path)
    return joined(path, readings, warnings)


def joined(
    path: Path, readings: Sequence[Reading], warnings: Sequence[WorkbenchError] = ()
) -> Reading:
    """Readings as one. warnings: those that stand before the readings' own."""

    def together(name: str) -> tuple:
        return tuple(chain.from_iterable(getattr(reading, name) for reading in readings))

    return Reading(
        detections=concatenated((r.detections for r in readings), source=str(path)),
        clips=together("clips"),
        motions=together("motions"),
        cameras={name: camera for r in readings for name, camera in r.cameras.items()},
        warnings=(*warnings, *together("warnings")),
    )


def _absent_pictures(readings: Sequence[Reading], path: Path) -> list[MissingFile]:
    """One warning of all clips whose video, or last picture, is not where they say."""
    clips = [clip for reading in readings for clip in reading.clips]
    absent = [
        clip.name
        for clip in clips
        if not os.path.isfile(Path(clip.video.source, *(p.name for p in clip.pictures[-1:])))
    ]
    if not absent:
        return []
    problem = f"{len(absent)} of {len(clips)} clips lack pictures or video"
    return [MissingFile(problem, file=path, record=absent[0], remedy="only pixels need them")]
