"""Refined people drawn over their video: pictures, a webm that browsers play, result files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from tqdm.auto import tqdm

from .data.frames import Frames
from .data.results import write_coco_results, write_like, write_table
from .errors import BadFile, BadParameter, CannotWrite
from .geometry import apply, crop_to_heatmap
from .outputs import check_new, folder_beside, free_bytes, put
from .records import Prediction
from .skeletons import skeleton

Frame = UInt8[np.ndarray, "h w 3"]
# Okabe and Ito's palette without black, RGB; persons take them in turn.
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
LIGHT, DARK = (255, 255, 255), (20, 20, 20)
LONG_SIDE = 1920  # px; larger pictures are written at this size
USUAL_FPS = 25.0  # of a video made from pictures, unstated; ours
LEGEND = "one colour a person   thick: refined   ring: replaced   thin white: as detected"
_SUBPIXEL = 4  # bits
Spot = tuple[int, int]  # x, y, in parts of a pixel


@dataclass(frozen=True)
class _Pen:
    """Draws on one picture, in sizes that follow its longest side; everything has a dark rim."""

    picture: Frame

    def px(self, size: int, least: int = 1) -> int:
        """A size in px of a picture of `LONG_SIDE`, here."""
        return max(least, round(size * max(self.picture.shape[:2]) / LONG_SIDE))

    def line(self, a: Spot, b: Spot, colour, width: int) -> None:
        rim = width + self.px(2)
        cv2.line(self.picture, a, b, DARK, rim, cv2.LINE_AA, _SUBPIXEL)
        cv2.line(self.picture, a, b, colour, width, cv2.LINE_AA, _SUBPIXEL)

    def joint(self, at: Spot, colour, ring: bool) -> None:
        """A disc, or a ring."""
        radius = self.px(8, 4) << _SUBPIXEL
        wide = max(1, self.px(5, 2) // 2)
        discs = [(radius + (2 << _SUBPIXEL), DARK, -1), (radius, LIGHT if ring else colour, -1)]
        if ring:
            discs.append((radius, colour, wide))
        for r, fill, width in discs:
            cv2.circle(self.picture, at, r, fill, width, cv2.LINE_AA, _SUBPIXEL)

    def legend(self, text: str) -> None:
        """Text in the upper left corner; where the picture is too narrow for it, a row for each
        part between three spaces, as far as a third of the height goes.
        """
        font, width = cv2.FONT_HERSHEY_SIMPLEX, self.px(2)
        letters = max(0.45, 1.1 * max(self.picture.shape[:2]) / LONG_SIDE)
        (w, h), below = cv2.getTextSize(text, font, letters, width)
        high, rows = 2 * h + below, [text]
        if w + h > self.picture.shape[1]:
            rows = text.split("   ")[: max(1, self.picture.shape[0] // 3 // high)]
        w = max(cv2.getTextSize(row, font, letters, width)[0][0] for row in rows)
        for i, row in enumerate(rows):
            top = i * high
            cv2.rectangle(self.picture, (0, top), (w + h, top + high), DARK, -1)
            start = (h // 2, top + h + h // 2)
            cv2.putText(self.picture, row, start, font, letters, LIGHT, width, cv2.LINE_AA)


def _spots(xy: Float[np.ndarray, "k 2"]) -> list[Spot]:
    """Points as OpenCV draws them, in parts of a pixel."""
    inside = np.clip(xy, -(2**15), 2**15)
    return [(x, y) for x, y in np.round(inside * 2**_SUBPIXEL).astype(int).tolist()]


def _draw_person(
    pen: _Pen,
    edges: Iterable[tuple[int, int]],
    xy: Float[np.ndarray, "k 2"],
    seen: Bool[np.ndarray, "k"],
    replaced: Bool[np.ndarray, "k"],
    detected: Float[np.ndarray, "k 2"] | None,
    colour: tuple[int, int, int],
) -> None:
    at, drawn = _spots(xy), (seen | replaced).tolist()
    seen, replaced = seen.tolist(), replaced.tolist()
    for a, b in edges:
        if drawn[a] and drawn[b]:
            pen.line(at[a], at[b], colour, pen.px(5, 2))
    before = [] if detected is None else _spots(detected)
    for a, b in edges if before else ():
        if seen[a] and seen[b] and (replaced[a] or replaced[b]):
            pen.line(before[a], before[b], LIGHT, pen.px(2))
    for j, spot in enumerate(at):
        if drawn[j]:
            pen.joint(spot, colour, replaced[j])


def draw_refined(frame: Frame, people: Prediction, *, legend: str = "") -> Frame:
    """The frame with one skeleton a row of `people` (those of this frame), coloured by track.

    Replaced joints are rings, others discs; where a joint was replaced, a thin white line shows
    what was detected. Joints of confidence 0 that nothing replaced are not drawn.
    """
    pen = _Pen(frame.copy())
    edges, found = skeleton(people.skeleton).edges, people.detections
    for i in range(len(people)):
        person = i if found is None or found.tracks is None else int(found.tracks[i])
        _draw_person(
            pen,
            edges,
            people.xy_frame[i],
            people.confidence[i] > 0,
            people.replaced[i],
            None if found is None else found.xy_frame[i],
            COLOURS[person % len(COLOURS)],
        )
    if legend:
        pen.legend(legend)
    return pen.picture


def by_frame(prediction: Prediction) -> Callable[[int], Prediction]:
    """frame number -> the people in it; finds them without a walk over all rows."""
    if prediction.detections is None or prediction.detections.frames is None:
        raise BadParameter("the prediction does not say which frame its rows belong to")
    frames = prediction.detections.frames
    order = np.argsort(frames, kind="stable")
    ordered = frames[order]
    return lambda i: prediction.select(order[slice(*np.searchsorted(ordered, (i, i + 1)))])


def shrunk(picture: Frame, long_side: int) -> UInt8[np.ndarray, "new_h new_w 3"]:
    """Scaled to at most `long_side` px, with even sides, as encoders want them; as it is where it
    is no larger.
    """
    longest = max(picture.shape[:2])
    if longest <= long_side:
        return picture
    height, width = (max(2, s * long_side // longest // 2 * 2) for s in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def fitted(picture: Frame, width: int, height: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Scaled to fit, in the upper left corner of a black picture where the shape differs."""
    h, w = picture.shape[:2]
    if (w, h) == (width, height):
        return picture
    scale = min(width / w, height / h)
    size = min(width, round(w * scale)), min(height, round(h * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    out = np.zeros((height, width, 3), np.uint8)
    out[: small.shape[0], : small.shape[1]] = small
    return out


def _writer(path: Path, fps: float, width: int, height: int) -> cv2.VideoWriter:
    """VP8, which is four times as fast to write as VP9. OpenCV warns on stderr about a tag that
    it then uses anyway.
    """
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        writer = cv2.VideoWriter(
            str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), fps, (width, height)
        )
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
    if not writer.isOpened():
        raise BadFile(
            "this OpenCV has no VP8 encoder",
            file=path.name,
            remedy="install opencv-python from PyPI, whose wheel has one",
        )
    return writer


@dataclass(frozen=True)
class Pace:
    """How fast a video was written. The encoder works beside what reads and draws: near a share of
    1 the others wait for it, near 0 it waits for them.
    """

    frames: int
    seconds: float
    encoding: float  # s in which the encoder was busy

    @property
    def rate(self) -> float:
        """Frames/s."""
        return self.frames / self.seconds

    @property
    def encoding_share(self) -> float:
        """Of the time, 0 to 1."""
        return self.encoding / self.seconds


class _Encoder:
    """Encodes one frame while the next one is read and drawn; all take the first one's size."""

    def __init__(self, path: Path, fps: float, long_side: int):
        self.frames, self.busy = 0, 0.0  # busy: s
        self._path, self._fps, self._long_side = path, fps, long_side
        self._thread, self._encoded = ThreadPoolExecutor(1), None
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: Frame) -> None:
        picture = shrunk(frame, self._long_side)
        if self._writer is None:
            self._height, self._width = picture.shape[:2]
            self._writer = _writer(self._path, self._fps, self._width, self._height)
        bgr = cv2.cvtColor(fitted(picture, self._width, self._height), cv2.COLOR_RGB2BGR)
        if self._encoded is not None:
            self._encoded.result()
        self._encoded = self._thread.submit(self._timed, self._writer.write, bgr)
        self.frames += 1

    def _timed(self, step: Callable, *arguments) -> None:
        start = perf_counter()
        step(*arguments)
        self.busy += perf_counter() - start

    def close(self) -> None:
        self._thread.shutdown()
        if self._writer is not None:
            self._timed(self._writer.release)


def _check_whole(part: Path, path: Path, written: int) -> None:
    """OpenCV's writer says nothing of frames that found no room, so they are counted."""
    found, video = 0, cv2.VideoCapture(str(part))
    while video.grab():
        found += 1
    video.release()
    if found == written:
        return
    problem = f"{found:,} of {written:,} frames can be read again, {free_bytes(path):,} bytes free"
    remedy = "make room, or choose another disk"
    raise CannotWrite(f"{problem}; nothing was written", file=path, remedy=remedy)


def write_video(
    path: str | Path,
    frames: Iterable[Frame],
    *,
    fps: float | None = None,
    total: int | None = None,
    long_side: int = LONG_SIDE,
    progress: bool = False,
    report: Callable[[Pace], object] | None = None,
) -> Path:
    """RGB frames as a webm (VP8) that browsers play, one at a time, beside its place and renamed
    when it is whole. report: told how fast it was.

    All take the first one's size, at most `long_side` px. `BadFile` where there is none or no
    encoder.
    """
    path = Path(path)
    if path.suffix != ".webm":
        raise BadParameter(f"suffix {path.suffix!r}", file=path, remedy="name a .webm file")
    check_new(path)
    with folder_beside(path) as folder:
        part = folder / path.name
        bar = tqdm(frames, desc=path.name, total=total, unit="frame", disable=not progress)
        encoder, start = _Encoder(part, fps or USUAL_FPS, long_side), perf_counter()
        try:
            for frame in bar:
                encoder.write(frame)
        finally:
            encoder.close()
        if not encoder.frames:
            raise BadFile("there are no frames to write", file=path)
        _check_whole(part, path, encoder.frames)
        put(part, path)
    if report is not None:
        report(Pace(encoder.frames, perf_counter() - start, encoder.busy))
    return path


def rescaled(people: Prediction, old: tuple[int, int], new: tuple[int, int]) -> Prediction:
    """Joints on a picture that was scaled from the size `old` to `new` (width, height), px; boxes
    stay.
    """
    if new == old:
        return people
    affine, found = crop_to_heatmap(old, new), people.detections
    moved = replace(found, xy_frame=apply(affine, found.xy_frame))
    return replace(people, xy_frame=apply(affine, people.xy_frame), detections=moved)


def write_overlay(
    path: str | Path,
    frames: Frames,
    prediction: Prediction,
    *,
    legend: str = LEGEND,
    long_side: int = LONG_SIDE,
    progress: bool = False,
    report: Callable[[Pace], object] | None = None,
) -> Path:
    """The whole video with its refined people, frame by frame, so that memory stays flat. Frames
    of more than `long_side` px are scaled down before they are drawn on, so that lines and letters
    keep their widths. report: as of `write_video`.
    """
    people, video = by_frame(prediction), frames.video

    def drawn() -> Iterator[Frame]:
        for i, frame in enumerate(frames):
            picture = shrunk(frame, long_side)
            there = rescaled(people(i), frame.shape[1::-1], picture.shape[1::-1])
            yield draw_refined(picture, there, legend=f"frame {i}   {legend}")

    facts = {"fps": video.fps, "total": video.n_frames, "long_side": long_side}
    return write_video(path, drawn(), **facts, progress=progress, report=report)


def _kept_suffix(like: str | Path | None) -> str | None:
    """Of results whose format is kept, "" of a folder; None of those that are only read."""
    if like is None:
        return None
    suffix = "" if os.path.isdir(like) else Path(like).suffix.lower()
    return suffix if suffix in ("", ".json", ".csv", ".txt") else None


def result_places(out: str | Path, source: str, like: str | Path | None) -> dict[str, Path]:
    """Where `save_results` writes results, table and overlay of a video: named after it, with the
    first number whose three names nothing has.
    """
    place = Path(out) / Path(source).stem.replace(" ", "_")
    suffix = _kept_suffix(like)
    endings = {
        "results": f"_refined{'.json' if suffix is None else suffix}",
        "table": "_joints.csv",
        "overlay": "_overlay.webm",
    }
    places = {kind: Path(f"{place}{ending}") for kind, ending in endings.items()}
    number = 2
    while any(map(os.path.lexists, places.values())):
        places = {kind: Path(f"{place}_{number}{ending}") for kind, ending in endings.items()}
        number += 1
    return places


def save_results(
    out: str | Path,
    frames: Frames,
    prediction: Prediction,
    *,
    like: str | Path | None = None,
    long_side: int = LONG_SIDE,
    progress: bool = False,
    report: Callable[[Pace], object] | None = None,
) -> dict[str, Path]:
    """Overlay video, results and table in the folder `out`, named after the video; returns what was
    written. The overlay comes first: a frame that cannot be decoded ends it, and nothing is there.

    like: the user's own results, whose format and further fields the new ones keep; COCO results
        for a detector's own answer and for formats that are only read (pickles, npz, SLEAP).
        long_side, report: as of `write_overlay`.
    """
    places = result_places(out, frames.video.source, like)
    options = {"long_side": long_side, "progress": progress, "report": report}
    write_overlay(places["overlay"], frames, prediction, **options)
    if _kept_suffix(like) is None:
        refined = replace(prediction.detections, xy_frame=prediction.xy_frame)
        write_coco_results(places["results"], refined)
    else:
        write_like(places["results"], prediction, like, frames.size_of)
    write_table(places["table"], prediction)
    return places
