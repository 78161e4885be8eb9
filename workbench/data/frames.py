"""Pixels of pictures, videos, folders and cameras, read when they are asked for. Frames are RGB
uint8, read-only.
"""

from __future__ import annotations

import io
import itertools
import math
import operator
import os
import re
import struct
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import SupportsIndex

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError
from tqdm import tqdm

from ..errors import BadFile, BadParameter, EmptyFile, MissingFile, UnsafeFile, WorkbenchError
from ..records import Clip, Video
from . import containers
from .checks import check_on_bad
from .safe import file_size, read_bytes

MAX_PIXELS = 80_000_000  # a larger picture is refused by its header, before it is decoded; ours
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm")
ANIMATIONS = ("GIF", "WEBP", "PNG")  # a multi-page TIFF is no film
# EPS and others would start programs
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
CACHED_FRAMES = 5  # a window of the longest kind
_SEEK_AFTER = 32  # frames: a nearer one is reached by decoding on
_EARLIER = 8  # frames: seeks aim before the frame that is wanted, because they may land late
# What a video keeps beside them where it is stepped through backwards, whichever is less; ours
PASSED_FRAMES, PASSED_BYTES = 64, 200_000_000

Frame = UInt8[np.ndarray, "h w 3"]

_ALIVE: weakref.WeakSet[Frames] = weakref.WeakSet()
_INHERITED: list[cv2.VideoCapture] = []


def _disown() -> None:
    """In a forked process: every source is opened anew when it is read. A decoder that was
    inherited is kept for ever, because its release would wait for threads that only the parent has.
    """
    for frames in list(_ALIVE):
        frames._lock = threading.RLock()
        if frames._capture is not None:
            _INHERITED.append(frames._capture)
            frames._capture = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)


# what PIL raises of damaged pictures; TypeError: a TIFF tag of another type. A later picture of an
# animation may state another size than the header does, or end within a number
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    struct.error,
    Image.DecompressionBombError,
)


def _check_size(width: int, height: int, path: Path) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        problem = f"{width}x{height} px, at most {MAX_PIXELS} pixels are read"
        raise BadFile(problem, file=path, remedy="scale it down")


def _open_picture(path: Path) -> Image.Image:
    """The picture with its header read and nothing decoded."""
    raw = read_bytes(path)
    try:
        image = Image.open(io.BytesIO(raw), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise BadFile(str(error), file=path, remedy="scale it down") from None
    except UnidentifiedImageError:
        problem = f"not a picture, or cut in its header; read are {', '.join(_FORMATS)}"
        raise BadFile(problem, file=path) from None
    except _DAMAGE as error:
        raise BadFile(f"truncated or damaged image: {error}", file=path) from None
    _check_size(*image.size, path)
    if image.format == "PNG" and b"IEND\xaeB`\x82" not in raw:
        raise BadFile("truncated image: no IEND chunk", file=path)
    return image


def read_picture(path: str | Path, *, upright: bool = False) -> Frame:
    """A picture, RGB. Grey, palette and 16-bit pictures are converted, alpha is dropped, of an
    animation the first picture is read.

    upright: turned by its EXIF tag, as phones and viewers show it. Data sets annotate the pixels as
    they are stored, which is what comes otherwise.
    Errors: `MissingFile`, `EmptyFile`, `BadFile` where it is truncated, damaged, no picture, or
    above `MAX_PIXELS`.
    """
    path = Path(path)
    with _open_picture(path) as image:
        pixels = _pixels(image, path)
        turn = _orientation(image) if upright else 1
    return np.ascontiguousarray(TURNED[turn](pixels)) if turn > 1 else pixels


def _pixels(image: Image.Image, path: Path) -> Frame:
    """What an opened picture shows, as stored, RGB."""
    try:
        if image.mode.startswith("I;16"):  # conversion by the library would clip at 255
            return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, -1)
        if image.mode in ("I", "F"):
            remedy = "save it as an 8-bit picture"
            raise BadFile("32-bit pixels, 8 or 16 expected", file=path, remedy=remedy)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except _DAMAGE as error:
        kind = "truncated" if "truncated" in str(error).lower() else "damaged or truncated"
        raise BadFile(f"{kind} image: {error}", file=path) from None


# Stored pixels as the EXIF orientation means them to be seen.
TURNED = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


def _orientation(image: Image.Image) -> int:
    try:
        turn = image.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        return 1  # a damaged tag turns nothing
    return turn if turn in TURNED else 1


def stored_size(path: str | Path) -> tuple[tuple[int, int], int]:
    """A picture's width and height as stored, px, and how programs show it by its EXIF tag: 1 as
    stored, 2 to 4 mirrored or upside down, 5 to 8 turned by a quarter. Nothing is decoded. Errors:
    as of `read_picture`.
    """
    with _open_picture(Path(path)) as image:
        return image.size, _orientation(image)


class Frames:
    """Frames of one source by index or in order; only the last few are kept, so memory stays flat.

    `video` describes the source; `warnings` holds what is odd about it, and what
    `on_bad="report"` let pass. Where `black` is set, a frame that cannot be decoded is black, so
    that the others keep their numbers; `lost` says why, by number, of those that were asked for.
    Several threads may read; a frame is theirs to look at, not to write into. `close` lets go of
    files and memory; a later read opens them again.
    """

    cut = False  # whether the source ends before it should, which "report" let pass
    black = False

    def __init__(self, video: Video, reopen: tuple):
        self._video = video
        self.warnings: tuple[BadFile, ...] = ()
        self.lost: dict[int, WorkbenchError] = {}
        self._reopen = reopen
        self._lock = threading.RLock()
        self._capture: cv2.VideoCapture | None = None
        _ALIVE.add(self)
        self._cached = lru_cache(CACHED_FRAMES)(self._frame)

    def __reduce__(self):  # another process opens the source for itself
        return _reopened, (self._reopen, self.black)

    @property
    def video(self) -> Video:
        return self._video

    def count(self, *, progress: bool = False) -> int:
        """How many frames there are. A video file is decoded to know it, once."""
        return self.video.n_frames

    def size_of(self, i: int) -> tuple[int, int]:
        """Width and height of frame i, px."""
        return self.video.width, self.video.height

    def expect(self, n: int) -> None:
        """`BadFile`, here or where it turns out, if there are fewer frames, which an annotation
        states.
        """
        if len(self) < n:
            raise self._fewer(n, len(self))

    def _fewer(self, expected: int, n: int) -> BadFile:
        problem = f"{n} frames, its annotation says {expected}"
        return BadFile(problem, file=self._video.source)

    def _read(self, i: int) -> Frame:
        raise NotImplementedError

    def _frame(self, i: int) -> Frame:
        try:
            frame = self._read(i)
        except (BadFile, EmptyFile, MissingFile) as error:
            if not self.black:
                raise
            self.lost[i] = error
            width, height = self.size_of(i)
            frame = np.zeros((height, width, 3), np.uint8)
        frame.setflags(write=False)
        return frame

    def __len__(self) -> int:
        return self.count()

    def __getitem__(self, i: SupportsIndex) -> Frame:
        """Frame i, from 0 (negative: from the end); IndexError outside, as sequences do."""
        return self._cached(self._place(operator.index(i)))

    def _place(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"frame {i} of {len(self)}")
        return i % len(self)

    def __iter__(self) -> Iterator[Frame]:
        for i in itertools.count():
            try:
                frame = self[i]
            except IndexError:
                return
            yield frame

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self._cached.cache_clear()
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._capture is not None:
            self._capture.release()
        self._capture = None


class _Pictures(Frames):
    """A picture file a frame, with the size that its annotation states, px."""

    def __init__(
        self,
        video: Video,
        pictures: Sequence[tuple[Path, tuple[int, int] | None]],
        reopen: tuple,
        upright: bool,
    ):
        super().__init__(video, reopen)
        self._pictures = pictures
        self._upright = upright

    def size_of(self, i: int) -> tuple[int, int]:
        """Of one whose header cannot be read either, where it is black, the first one's."""
        try:
            return shown_size(self._pictures[i][0], self._upright)
        except (BadFile, EmptyFile, MissingFile):
            if not self.black:
                raise
            return super().size_of(i)

    def _read(self, i: int) -> Frame:
        path, stated = self._pictures[i]
        frame = read_picture(path, upright=self._upright)
        height, width = frame.shape[:2]
        if stated is not None and (width, height) != tuple(stated):
            problem = f"{width}x{height} px, its annotation says {stated[0]}x{stated[1]}"
            remedy = "use the original picture: joints are given in its pixels"
            raise BadFile(problem, file=path, remedy=remedy)
        return frame


def shown_size(path: Path, upright: bool) -> tuple[int, int]:
    """Width and height of a picture, px, upright or as stored."""
    (width, height), turn = stored_size(path)
    return (height, width) if upright and turn > 4 else (width, height)


class _Animation(Frames):
    """The pictures of an animated GIF, WebP or PNG."""

    def __init__(self, path: Path, n: int, reopen: tuple):
        self._path, self._image = path, None
        width, height = stored_size(path)[0]
        super().__init__(Video(str(path), n, width, height), reopen)
        self[1]  # only then all say how long each stands
        rate = self._image.info.get("duration")  # ms
        if type(rate) in (int, float) and rate >= 1:
            self._video = replace(self._video, fps=1000 / rate)

    def _read(self, i: int) -> Frame:
        with self._lock:
            if self._image is None or i < self._image.tell():
                self._image = _open_picture(self._path)  # seeking back fails for some
            try:
                self._image.seek(i)
            except _DAMAGE as error:
                problem = f"picture {i} of this animation is damaged: {error}"
                raise BadFile(problem, file=self._path) from None
            _check_size(*self._image.size, self._path)
            return _pixels(self._image, self._path).copy()

    def _drop(self) -> None:
        super()._drop()
        self._image = None


def animated(path: Path) -> int:
    """How many pictures an animation holds; 1 of any other picture. Errors: as of `read_picture`,
    `BadFile` for an animation that was cut.
    """
    with _open_picture(path) as image:
        if image.format not in ANIMATIONS:
            return 1
        try:
            n = getattr(image, "n_frames", 1)
        except _DAMAGE as error:
            raise BadFile(f"damaged animation: {error}", file=path) from None
        if n == 1:
            return 1
        if image.format == "GIF" and not image.fp.getvalue().rstrip(b"\0").endswith(b";"):
            raise BadFile("this animation was cut: it has no end", file=path)
        return n


def _capture(source: str | int, backend: int) -> cv2.VideoCapture:
    # Read by OpenCV at the first video; its libraries would write their own lines beside our one
    # error.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(source, backend)
    finally:
        cv2.utils.logging.setLogLevel(level)


def _fps(capture) -> float | None:
    fps = capture.get(cv2.CAP_PROP_FPS)
    # 90000 is a clock, not a rate; ours
    return fps if math.isfinite(fps) and 0 < fps <= 1000 else None


def _size(capture) -> tuple[int, int]:
    """Width and height as the header states them, px; 0 where it does not."""
    width, height = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
    return int(capture.get(width)), int(capture.get(height))


class _VideoFile(Frames):
    """Frame i is the i-th that decodes. A seek is trusted only so far as the time stamp of the
    frame where it landed is one that was seen before, so the first visit of a frame decodes all
    frames before it, later ones do not.

    Decoding goes forth only. A seek to a frame near the one read last therefore begins a block of
    frames before it and keeps them, at most `PASSED_FRAMES` and `PASSED_BYTES`, so that going on
    backwards costs one seek a block. Blocks grow from `_EARLIER` frames, twice the last one each;
    a seek to far away lets go of all that was kept.
    """

    def __init__(self, path: Path, on_bad: str, reopen: tuple):
        self._bytes = file_size(path)
        super().__init__(Video(str(path), 1), reopen)
        self._path, self._on_bad = path, on_bad
        self._times: list[float] = []  # ms, of the frames seen so far
        self._index: dict[float, int] = {}
        self._passed: OrderedDict[int, Frame] = OrderedDict()  # the one used last comes last
        self._last, self._block = -1, 0  # the frame read last; how many a seek keeps
        self._open()
        ok, first = self._capture.retrieve() if self._grab() else (False, None)
        if not ok:
            raise self._unreadable()
        height, width = first.shape[:2]
        self._room = min(PASSED_FRAMES, PASSED_BYTES // first.nbytes)
        claimed = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._claimed = int(claimed) if 0 < claimed < 2**31 else None
        self._video = Video(str(path), 1, width, height, _fps(self._capture))
        self._ended, self._error, self._expected = False, None, 0

    def size_of(self, i: int) -> tuple[int, int]:
        return self._video.width, self._video.height

    def expect(self, n: int) -> None:
        self._expected = n
        if (self._claimed or 0) < n:  # else it is believed until the end is seen
            super().expect(n)

    @property
    def video(self) -> Video:
        self.count()
        return self._video

    def count(self, *, progress: bool = False) -> int:
        """How many frames decode: what the header says proves nothing. Errors: `BadFile` of a file
        that was cut, unless that is to be reported.
        """
        with self._lock:
            if not self._ended:
                if self._capture is None or self._at + 1 < len(self._times):
                    self._open()
                name, hidden = f"counting {self._path.name}", not progress
                with tqdm(total=self._claimed, desc=name, unit="frame", disable=hidden) as bar:
                    while self._grab():
                        bar.update()
                self._end()
            if self._error is not None:
                raise self._error
            return self._video.n_frames

    def _end(self) -> None:
        """Takes down what is known once the last frame has been decoded."""
        n = len(self._times)
        self._ended, self._video = True, replace(self._video, n_frames=n)
        if n < self._expected:
            self._error = self._fewer(self._expected, n)
        if self._claimed is not None and n >= self._claimed:
            return
        self.cut = containers.is_cut(self._path, self._bytes)
        if self._claimed is None and not self.cut:
            return
        remedy = "nothing, if it was trimmed without being encoded again"
        if self.cut:
            remedy = "get the file again, it was cut; on_bad='report' (--on-bad report) reads what "
            remedy += "there is"
        claimed = "more" if self._claimed is None else self._claimed
        problem = f"{claimed} frames by its header, {n} can be decoded"
        error = BadFile(problem, file=self._path, record=f"frame {n}", remedy=remedy)
        if self.cut and self._on_bad == "raise":
            self._error = error
        else:
            self.warnings = (error,)

    def _unreadable(self) -> BadFile:
        if containers.is_av1(self._path):
            problem = "AV1, and this OpenCV has no decoder for it"
            remedy = "convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
        else:
            problem = "video cannot be opened / no frames"
            remedy = "get the file again, it may be cut"
        return BadFile(problem, file=self._path, remedy=remedy)

    def _open(self) -> None:
        self._drop()
        self._capture, self._at = _capture(os.path.abspath(self._path), cv2.CAP_FFMPEG), -1
        self._spent = False  # at its end the decoder lets go of the last frame
        if self._capture.isOpened():
            _check_size(*_size(self._capture), self._path)

    def _grab(self) -> bool:
        """Decodes one frame on; False at the end."""
        if not self._capture.grab():
            self._spent = True
            return False
        self._at += 1
        if self._at == len(self._times):
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            # a stamp that comes twice says nothing
            self._index[time] = -1 if time in self._index else self._at
            self._times.append(time)
        return True

    def _seek(self, i: int) -> None:
        """Somewhere at or before frame i, which was seen before, and before its block, if there is
        one; at worst the start.
        """
        start = max(i - max(self._block, _EARLIER), 0)
        if (
            i > _SEEK_AFTER
            and self._capture.set(cv2.CAP_PROP_POS_FRAMES, start)
            and self._capture.grab()
        ):
            self._at = self._index.get(self._capture.get(cv2.CAP_PROP_POS_MSEC), -1)
            self._spent = False
            if 0 <= self._at <= i:
                return
        self._open()

    def _keep(self, steps: int) -> None:
        """Chooses the block of a seek that leads so many frames on, or back."""
        if abs(steps) <= _SEEK_AFTER:
            self._block = min(max(2 * self._block, _EARLIER), self._room)
        else:
            self._block = 0
            self._passed.clear()

    def _pixels(self) -> Frame | None:
        """The frame decoded last, kept where there is a block; None where it is damaged."""
        frame = self._passed.pop(self._at, None)
        if frame is None:
            ok, frame = self._capture.retrieve()
            if not ok:
                return None
            frame = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if self._block:
            self._passed[self._at] = frame
            while len(self._passed) > self._room:
                self._passed.popitem(last=False)
        return frame

    def _decoded(self, i: int, first: int) -> Frame:
        """Frame i, from where the decoder stands; those from `first` on are kept as they pass."""
        while self._at < i and self._grab():
            if first <= self._at < i:
                self._pixels()
        if self._at < i and self._at + 1 == len(self._times):
            if not self._ended:
                self._end()
            if self._error is not None:
                raise self._error
            raise IndexError(f"frame {i} of {self._at + 1}")
        frame = self._pixels() if self._at == i else None
        if frame is None:
            remedy = "get the file again"
            raise BadFile("cannot be decoded", file=self._path, record=f"frame {i}", remedy=remedy)
        return frame

    def _place(self, i: int) -> int:
        return i if i >= 0 and not self._ended else super()._place(i)

    def _read(self, i: int) -> Frame:
        with self._lock:
            steps, self._last = i - self._last, i
            if i in self._passed:
                self._passed.move_to_end(i)
                return self._passed[i]
            if self._capture is None:  # closed, or this process was forked
                self._open()
            first = i
            passed = self._at + self._spent
            if i < passed or self._at + _SEEK_AFTER < i < len(self._times):
                self._keep(steps)
                self._seek(i)
                first = i - self._block + 1
            return self._decoded(i, first)

    def close(self) -> None:
        with self._lock:
            super().close()
            self._passed.clear()
            self._block = 0


class _Camera(Frames):
    """Frames as they come; there is no going back and no length."""

    def __init__(self, index: int):
        capture = _capture(index, cv2.CAP_ANY)
        if not capture.isOpened():
            remedy = "check that it is plugged in and that no program uses it"
            raise MissingFile(f"no camera {index}", remedy=remedy)
        width, height = (side or None for side in _size(capture))
        video = Video(f"camera {index}", None, width, height, _fps(capture))
        super().__init__(video, (index, None, "raise", True))
        self._capture = capture

    def count(self, *, progress: bool = False) -> int:
        problem = f"{self.video.source} has no length and no index"
        raise BadParameter(problem, remedy="iterate over it")

    def __iter__(self) -> Iterator[Frame]:
        if self._capture is None:
            remedy = "open it again, in the process that reads it"
            raise MissingFile(f"{self.video.source} is closed", remedy=remedy)
        while (read := self._capture.read())[0]:
            yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)


def picture_names(folder: str | Path) -> list[str]:
    """File names of a folder's pictures in natural order ("2.png" before "10.png"); none where
    it is no folder.
    """
    if not os.path.isdir(folder):
        return []
    try:
        # files and links: a broken link is an error of its own when it is read
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if not e.is_dir(follow_symlinks=False)]
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise BadFile(problem, file=folder, remedy="check its permissions") from None
    names = (n for n in names if n.lower().endswith(PICTURE_SUFFIXES) and not n.startswith("."))

    def natural(name: str) -> list[str | int]:
        """Text and numbers in turn."""
        return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]

    return sorted(names, key=natural)


def _picture_path(name: str, folders: Sequence[Path]) -> Path:
    """The picture in the first folder that has it."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        problem = f"picture {name!r} leaves its folder"
        raise UnsafeFile(problem, file=folders[0], remedy="correct the annotation")
    paths = [folder / name for folder in folders]
    return next((path for path in paths if os.path.isfile(path)), paths[0])


def open_frames(
    source: str | Path | int | Clip,
    root: str | Path | None = None,
    on_bad: str = "raise",
    *,
    upright: bool = True,
) -> Frames:
    """Frames of a video file, an animated picture, a picture, a folder of pictures (natural order),
    a `Clip` or a camera (its number).

    root: the folder below which a clip's pictures or video lie, with or without the clip's own
    folder between. on_bad: what a video file does that was cut: "raise" where its length is asked
    for, or the first frame that is not there; or "report" it in `warnings`, and end there.
    upright: pictures are turned by their EXIF tags, as phones and viewers show them; a clip's never
    are, because data sets annotate stored pixels.
    A video's length is that of what decodes; whoever asks for it waits for that. A clip's pictures
    are not touched before they are read. Pictures of a folder may differ in size: `video` states
    the first one's; a clip's must have the size that its annotation states. Errors: `MissingFile`,
    `EmptyFile`, `BadFile`, `UnsafeFile` (a picture's name leads out of its folder).
    """
    check_on_bad(on_bad)
    reopen = (source, root, on_bad, upright)
    if isinstance(source, int):
        return _Camera(source)
    root = Path(root or "")
    if not isinstance(source, Clip):
        return _open_path(root / source, on_bad, reopen)
    path = root / source.video.source
    if source.pictures:
        listed = [(_picture_path(p.name, [path, root]), p.size_wh) for p in source.pictures]
        return _Pictures(source.video, listed, reopen, upright=False)
    frames = _open_path(path, on_bad, (source, root, on_bad, False))
    frames.expect(source.video.n_frames)
    return frames


def _reopened(reopen: tuple, black: bool) -> Frames:
    *place, upright = reopen
    frames = open_frames(*place, upright=upright)
    frames.black = black
    return frames


def _first_size(paths: Sequence[Path], upright: bool, on_bad: str) -> tuple[int, int]:
    """The size of the first picture, or with "report" of the first whose header can be read."""
    for path in paths if on_bad == "report" else ():
        with suppress(BadFile, EmptyFile, MissingFile):
            return shown_size(path, upright)
    return shown_size(paths[0], upright)


def _open_path(path: Path, on_bad: str, reopen: tuple) -> Frames:
    """Of a folder of pictures, a picture, an animation, or a video."""
    if os.path.isdir(path):
        paths = [path / name for name in picture_names(path)]
        if not paths:
            problem = f"no pictures in this folder; looked for {' '.join(PICTURE_SUFFIXES)}"
            raise BadFile(problem, file=path)
    elif path.suffix.lower() in PICTURE_SUFFIXES:
        if (n := animated(path)) > 1:
            return _Animation(path, n, reopen)
        paths = [path]
    else:
        return _VideoFile(path, on_bad, reopen)
    *_, upright = reopen
    video = Video(str(path), len(paths), *_first_size(paths, upright, on_bad))
    return _Pictures(video, [(picture, None) for picture in paths], reopen, upright)
