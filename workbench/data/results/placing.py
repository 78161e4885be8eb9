"""Which frame of a video each result belongs to, and whether its numbers are pixels of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import BadParameter, BadRecord
from ...geometry import box_of_points, enlarge
from ...records import Detections
from ...skeletons import skeleton
from .. import numbering
from ..frames import PICTURE_SUFFIXES, Frames, picture_names, stored_size
from ..tracks import check_tracks
from .rows import Document, Place, Row

# Whose pixels; all ours.
INSIDE = 0.5  # so many known joints lie in their picture, or nearly: it reaches so much farther
MARGIN = 0.1
NEGATIVE = 1 / 3  # of fractions, whose joints hardly ever lie left of or above their picture
SMALLEST_PX = 4  # the median of the longer sides of poses
WORLD = "these look like MediaPipe's world landmarks, in metres: save those of the picture"
CORNER, SOME = 0.55, 10  # nothing of so many poses beyond so much of both sides is said
OUTSIDE = 0.1  # more joints beside their pictures are said
EXCHANGED = 0.2  # more steps to another one's place are said
LAID = 0.8  # so many people upside down or on their sides are said
PERCENT = 110  # of a picture: hardly any joint lies farther
NEAR, BESIDE = 1.5, 0.25  # a box enlarged so much holds at least so much of its pose

# --- frames ---------------------------------------------------------------------------------------


def placed_on(
    document: Document, rows: Sequence[Row], frames: Frames, first_frame: int | None
) -> tuple[list[Row], list[int]]:
    """The rows of this video, and the frame of each, by the rule that `on_video` states."""
    pictures = _pictures(frames)
    places = dict.fromkeys([*document.seen, *(row.place for row in rows)])
    places = _of_this_video(document, [*places], frames.video.source, pictures)
    frame_of = _frames_of(document, places, frames, pictures, first_frame)
    frame_of = _inside(frame_of, rows, frames)
    kept = [row for row in rows if row.place in frame_of]
    document.notes += _taken({row.place: frame_of[row.place] for row in kept}, len(frames))
    if not rows:
        document.notes.append("it holds no poses")
    lost = len(rows) - len(kept)
    if lost:
        pictures_lost = len({row.place for row in rows} - frame_of.keys())
        what = f"{lost} results of {pictures_lost} other pictures or videos are left out"
        document.notes.append(what)
    if rows and not kept:
        raise BadRecord(
            f"none of its {len(rows)} results belongs to {frames.video.source}",
            remedy="give the results of this video; names or image_id must say so",
        )
    return kept, [frame_of[row.place] for row in kept]


def _taken(frame_of: dict[Place, int], n_frames: int) -> list[str]:
    """For which frames the first and the last place are taken."""
    places = sorted(frame_of, key=frame_of.__getitem__)
    ends = dict.fromkeys(places[:1] + places[-1:])
    ends = ", ".join(f"{_said(place)} as frame {frame_of[place]}" for place in ends)
    return [f"taken: {ends} (the video has frames 0 to {n_frames - 1})"] if places else []


def _pictures(frames: Frames) -> list[str]:
    """Names of a folder's pictures, or of the one that was opened."""
    source = Path(frames.video.source)
    alone = [source.name] if source.suffix.lower() in PICTURE_SUFFIXES and len(frames) == 1 else []
    return picture_names(source) or alone


def _of_this_video(
    document: Document, places: list[Place], source: str, pictures: Sequence[str]
) -> list[Place]:
    names = [place.image for place in places if place.image]
    if not names:
        return places
    videos = dict(zip(names, numbering.videos_of(names, pictures, source)))
    mine = (numbering.video_called([*videos.values()], source), numbering.NAMELESS)
    return [place for place in places if not place.image or videos[place.image] in mine]


def _frames_of(
    document: Document,
    places: Sequence[Place],
    frames: Frames,
    pictures: Sequence[str],
    first_frame: int | None,
) -> dict[Place, int]:
    """The frame of each place that is one."""
    names = [place for place in places if place.image]
    if names and len(names) < len(places):
        raise BadRecord(
            f"{len(names)} of {len(places)} pictures are named, the others numbered",
            remedy="state image_id in one way",
        )
    called = numbering.called(pictures)
    by_name = {place: numbering.picture_called(place.image, called) for place in names}
    by_name = {place: frame for place, frame in by_name.items() if frame is not None}
    if by_name:
        return by_name
    of_picture = numbering.numbered(pictures)
    if len(frames) == 1 and pictures:
        return _of_picture(places, of_picture)
    numbers = _numbers_of(names, len(frames)) if names else {p: p.number for p in places}
    if names and first_frame is None and of_picture.keys() >= {*numbers.values()}:
        return {place: of_picture[number] for place, number in numbers.items()}
    if first_frame is None and document.of_video in (None, numbering.name_of(frames.video.source)):
        first_frame = document.first_frame
    firsts = [first_frame]
    if first_frame is None:
        firsts = numbering.possible_firsts([*numbers.values()], len(frames), open_end=frames.cut)
    readings = [{place: n - first for place, n in numbers.items()} for first in firsts]
    if of_picture and first_frame is None and of_picture.keys() >= {*numbers.values()}:
        readings.append({place: of_picture[number] for place, number in numbers.items()})
    return _only(readings, frames, numbers)


def _of_picture(places: Sequence[Place], of_picture: dict[int, int]) -> dict[Place, int]:
    """Those of a single picture: by its number, or because the file has no others."""
    mine = {place: 0 for place in places if place.number in of_picture}
    return mine or ({places[0]: 0} if len(places) == 1 and not places[0].image else {})


def _numbers_of(names: Sequence[Place], n_frames: int) -> dict[Place, int]:
    """The number that changes between names."""
    stems = [numbering.stem_of(place.image) for place in names]
    cuts = numbering.split_names(stems, highest=n_frames)
    for place, cut in zip(names, cuts):
        if cut is None:
            raise BadRecord(
                f"{place.image} does not say which frame it is",
                remedy="names need one number that changes from frame to frame; or state the frame "
                "as a number in image_id (seconds are no frames)",
            )
    return {place: cut.number for place, cut in zip(names, cuts)}


def _only(
    readings: Sequence[dict[Place, int]], frames: Frames, numbers: dict[Place, int]
) -> dict[Place, int]:
    """The reading of numbers that is the only one, as they are where none fits; `BadParameter` of
    several.
    """
    n = len(frames)
    different = [r for i, r in enumerate(readings) if r not in readings[:i]]
    if len(different) > 1:
        place, number = min(numbers.items(), key=lambda item: item[1])
        ways = ", or ".join(
            f"--first-frame {number - reading[place]}, if {_said(place)} is frame {reading[place]}"
            for reading in different
        )
        raise BadParameter(
            f"nothing says what the number of the first frame is: its numbers {number} to "
            f"{max(numbers.values())} are frames of this video (0 to {n - 1}) in several ways",
            remedy=f"say {ways} (frames count from 0)",
        )
    return different[0] if different else numbers


def _inside(frame_of: dict[Place, int], rows: Sequence[Row], frames: Frames) -> dict[Place, int]:
    """Without what lies beyond the end of a video that was cut; `BadRecord` of another one."""
    n = len(frames)
    inside = {place: frame for place, frame in frame_of.items() if 0 <= frame < n}
    if len(inside) < len(frame_of) and not frames.cut:
        lost = next((row for row in rows if row.place in frame_of.keys() - inside.keys()), None)
        place = lost.place if lost else next(iter(frame_of.keys() - inside.keys()))
        raise BadRecord(
            f"{_said(place)} is frame {frame_of[place]}, the video has {n}",
            record=f"result {lost.id}" if lost else None,
            remedy="use the video that the results were made from; frames count from 0, or from 1, "
            "or as --first-frame says",
        )
    return inside


def _said(place: Place) -> str:
    return place.image or f"number {place.number}"


# --- pixels ---------------------------------------------------------------------------------------


def check_pixels(found: Detections, frames: Frames, *, fractions: bool = False) -> list[BadRecord]:
    """Warnings of what is odd about where the joints lie. `BadRecord` where they are no pixels of
    these frames: most of them lie outside, poses are as small as fractions and metres are, or they
    lie in the stated boxes only if these began at (0, 0).

    Warned of, because it may be right, are y upwards (people on their heads), x and y exchanged or
    pictures that were turned (people who lie), a smaller resolution and percent (people in the
    upper left alone). x mirrored cannot be told: a body looks like its mirror image. Nor can a
    resolution that is little smaller.
    fractions: the file states those of pictures.
    """
    known = found.confidence > 0
    if not known.any():
        problem = "no joint has a confidence above 0: nobody is refined"
        return [BadRecord(problem, file=found.source)] if len(found) else []
    sizes = {frame: frames.size_of(frame) for frame in np.unique(found.frames).tolist()}
    size = np.array([sizes[frame] for frame in found.frames.tolist()], float)[:, None]
    xy = found.xy_frame.astype(float)
    inside = ((xy >= -MARGIN * size) & (xy <= (1 + MARGIN) * size)).all(-1)
    low, high = xy[known].min(0), xy[known].max(0)
    where = f"x from {low[0]:.4g} to {high[0]:.4g}, y from {low[1]:.4g} to {high[1]:.4g}"
    width, height = size[0, 0].astype(int)
    picture = f"pictures of {width}x{height} px"
    several = known.sum(1) > 1
    low_high = box_of_points(xy[several], known[several]).reshape(-1, 2, 2)
    sides = np.ptp(low_high, axis=1).max(-1)
    if len(sides) and np.median(sides) < SMALLEST_PX:
        raise BadRecord(
            f"poses are {np.median(sides):.2g} px large: {where}, in {picture}",
            remedy="these look like fractions of a picture, or metres: give px of its pictures",
        )
    share = inside[known].mean()
    if share < INSIDE or (fractions and (xy[known] < -0.5).any(-1).mean() > NEGATIVE):
        raise BadRecord(
            f"only {100 * share:.0f} % of the joints lie in {picture}: {where}",
            remedy=WORLD if fractions else _whose(low, high, frames, int(found.frames[0])),
        )
    problems = [*_beside_boxes(found), *_laid(found), *_odd(found, high, size)]
    return [BadRecord(text, file=found.source, remedy=remedy) for text, remedy in problems]


def _whose(low: np.ndarray, high: np.ndarray, frames: Frames, frame: int) -> str:
    """What to do about joints that lie outside."""
    pictures = _pictures(frames)
    if pictures:
        source = Path(frames.video.source)
        path = source / pictures[frame] if source.is_dir() else source
        (width, height), turn = stored_size(path)
        if turn > 4 and (high <= (1 + MARGIN) * np.array((width, height))).all():
            return (
                "pictures are shown turned, by their EXIF tag, the joints lie in the stored ones: "
                "make the results from turned pictures, or remove the tag (exiftool -Orientation=)"
            )
    if low.min() < 0 and max(-low.min(), high.max()) < 5:
        return WORLD
    return "use the pictures that the results were made from, or scale the results to these"


def _beside_boxes(found: Detections) -> list[tuple[str, str]]:
    """Of poses that lie far from their own boxes, which only a file can state; `BadRecord` where
    they lie in boxes of that size at (0, 0).
    """
    known = found.confidence > 0
    boxes = found.boxes_xyxy.astype(float)

    def inside(boxes: np.ndarray) -> np.ndarray:
        """Which share of a pose lies in or near its box."""
        low, high = np.split(enlarge(boxes, NEAR)[:, None], 2, axis=-1)
        within = ((found.xy_frame >= low) & (found.xy_frame <= high)).all(-1)
        return (within & known).sum(1) / np.maximum(known.sum(1), 1)

    beside = known.any(1) & (inside(boxes) < BESIDE)
    within_crops = beside & (inside(boxes - np.tile(boxes[:, :2], 2)) > 1 - BESIDE)
    n = len(found)
    if 2 * within_crops.sum() > n:
        raise BadRecord(
            f"{within_crops.sum()} of {n} poses lie far from their boxes, and in them if these "
            "began at (0, 0)",
            remedy="these look like coordinates within crops: add the corners of their boxes",
        )
    if 2 * beside.sum() <= n:
        return []
    remedy = "give joints and boxes in px of the pictures, or leave the boxes out"
    return [(f"{beside.sum()} of {n} poses lie far from their boxes", remedy)]


def _odd(found: Detections, high: np.ndarray, size: np.ndarray) -> list[tuple[str, str]]:
    """Of joints beside their pictures, or in one corner of them alone."""
    xy, known = found.xy_frame, found.confidence > 0
    beside = ((xy < -0.5) | (xy > size - 0.5)).any(-1)[known].mean()
    if beside > OUTSIDE:
        remedy = "check that the results are of these pictures, of this resolution, turned like "
        remedy += "these, x to the right and y down from their upper left"
        return [(f"{100 * beside:.0f} % of the joints lie beside their pictures", remedy)]
    if len(found) >= SOME and (high < CORNER * size.min((0, 1))).all():
        width, height = size[0, 0].astype(int)
        problem = f"no joint of {len(found)} poses lies beyond x = {high[0]:.0f}, y = {high[1]:.0f}"
        remedy = "check that the results are of this resolution"
        remedy += ", and no percent" if high.max() <= PERCENT else ""
        return [(f"{problem} of {width}x{height} px", remedy)]
    return []


# what may be the matter where people are laid so
LIE = {
    "upside down": "check that y counts downwards; where it does not, give height - 1 - y",
    "on their sides": "check that x and y are not exchanged, and that the results are of pictures "
    "that are turned like these",
}


def _laid(found: Detections) -> list[tuple[str, str]]:
    """Of nearly all people who are upside down, or lie on their sides."""
    joints = skeleton(found.skeleton).joints
    head = next((name for name in ("nose", "head", "head_top") if name in joints), None)
    if head is None or not {"left_hip", "right_hip"} <= {*joints}:
        return []
    used = [joints.index(name) for name in (head, "left_hip", "right_hip")]
    whole = (found.confidence[:, used] > 0).all(1)
    top, *hips = found.xy_frame[whole][:, used].swapaxes(0, 1)
    x, y = (top - sum(hips) / 2).T
    laid = {"upside down": y > np.abs(x), "on their sides": np.abs(x) > np.abs(y)}
    return [
        (f"{which.sum()} of {len(which)} people are {how}", LIE[how])
        for how, which in laid.items()
        if len(which) >= SOME and which.mean() > LAID
    ]


# --- who ------------------------------------------------------------------------------------------


def told_apart(found: Detections, notes: list[str]) -> Detections:
    """Without ids where these are all alike, though several people stand in a frame; what is odd
    about them is noted. `BadRecord` where a person stands twice in a frame.
    """
    if not len(found):
        return found
    rows = np.column_stack((found.frames, found.xy_frame.reshape(len(found), -1)))
    _, first, times = np.unique(rows, axis=0, return_index=True, return_counts=True)
    if len(first) < len(found) and found.confidence[first[times > 1]].any():
        again, which = len(found) - len(first), found.ids[first[times > 1].min()]
        notes.append(f"{again} poses are the same as others of their frame, as result {which}")
    if found.tracks is None:
        return found
    n_people, n_frames = len(np.unique(found.tracks)), len(np.unique(found.frames))
    if n_people == 1 and n_frames < len(found):
        notes.append(f"all ids are {found.tracks[0]}, also of people in one frame: linked anew")
        return replace(found, tracks=None)
    check_tracks(found)
    if n_frames > 1 and n_people == len(found):
        notes.append("no id comes twice: do ids count poses? without them, people are linked")
    elif share := _exchanged(found):
        notes.append(
            f"in {100 * share:.0f} % of the steps people change places with others: do ids count "
            "the people of each picture? without ids, people are linked"
        )
    return found


def _exchanged(found: Detections) -> float:
    """How many steps of a person to the next frame lead farther than their box is large, to where
    somebody else was; 0 of few.
    """
    boxes = found.boxes_xyxy.astype(float)
    at, large = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).min(1) / 2
    rows_of = defaultdict(dict)
    for row, (frame, track) in enumerate(zip(found.frames.tolist(), found.tracks.tolist())):
        rows_of[frame][track] = row
    steps = exchanged = 0
    for frame, people in rows_of.items():
        before = rows_of.get(frame - 1, {})
        for track in people.keys() & before.keys():
            here, others = people[track], [row for who, row in before.items() if who != track]
            own = np.linalg.norm(at[here] - at[before[track]])
            away = np.linalg.norm(at[here] - at[others], axis=1)
            steps += 1
            exchanged += own > large[here] and bool((away < own / 2).any())
    share = exchanged / max(steps, 1)
    return share if share > EXCHANGED else 0.0
