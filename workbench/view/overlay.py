"""Refined people drawn over their video: pictures, a webm that plays inside JupyterLab, a frame
slider, result files.
"""

from __future__ import annotations

import base64
import html
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import ipywidgets as widgets
import numpy as np
from IPython.display import HTML, Image, display
from jaxtyping import UInt8
from tqdm.auto import tqdm

from ..data.frames import Frames
from ..data.results import write_coco_results, write_like, write_table
from ..errors import BadFile, BadParameter
from ..records import Prediction
from ..skeletons import skeleton
from .figures import data_uri, jpeg

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
SHOWN_PX = 960  # longest side in a notebook
EMBED_MB = 16  # a longer video is shown by one picture and a link; ours
LEGEND = "thick: refined   ring: replaced   thin white: as detected"
_SUBPIXEL = 4  # bits


def draw_refined(frame: Frame, people: Prediction, *, legend: str = "") -> Frame:
    """The frame with one skeleton a row of `people` (those of this frame), coloured by track.

    Replaced joints are rings, others discs; where a joint was replaced, a thin white line shows
    what was detected. Joints of confidence 0 that nothing replaced are not drawn.
    """
    picture = frame.copy()
    joints, size = skeleton(people.skeleton), max(frame.shape[:2]) / LONG_SIDE
    wide, thin, radius = max(2, round(5 * size)), max(1, round(2 * size)), max(4, round(8 * size))
    found = people.detections

    def spot(xy):
        return tuple(int(v) for v in np.round(np.clip(xy, -(2**15), 2**15) * 2**_SUBPIXEL))

    def line(a, b, colour, width):
        for c, w in ((DARK, width + max(1, round(2 * size))), (colour, width)):
            cv2.line(picture, spot(a), spot(b), c, w, cv2.LINE_AA, _SUBPIXEL)

    for i, (xy, confidence, replaced) in enumerate(
        zip(people.xy_frame, people.confidence, people.replaced)
    ):
        person = i if found is None or found.tracks is None else int(found.tracks[i])
        colour, seen = COLOURS[person % len(COLOURS)], confidence > 0
        for a, b in joints.edges:
            if (seen | replaced)[[a, b]].all():
                line(xy[a], xy[b], colour, wide)
        if found is not None:
            for a, b in joints.edges:
                if seen[[a, b]].all() and replaced[[a, b]].any():
                    line(found.xy_frame[i, a], found.xy_frame[i, b], LIGHT, thin)
        for j in np.flatnonzero(seen | replaced):
            middle, r = spot(xy[j]), radius << _SUBPIXEL
            cv2.circle(picture, middle, r + (2 << _SUBPIXEL), DARK, -1, cv2.LINE_AA, _SUBPIXEL)
            cv2.circle(
                picture, middle, r, LIGHT if replaced[j] else colour, -1, cv2.LINE_AA, _SUBPIXEL
            )
            if replaced[j]:
                cv2.circle(picture, middle, r, colour, max(1, wide // 2), cv2.LINE_AA, _SUBPIXEL)
    if legend:
        font, letters, pen = (
            cv2.FONT_HERSHEY_SIMPLEX,
            max(0.45, 1.1 * size),
            max(1, round(2 * size)),
        )
        (width, height), below = cv2.getTextSize(legend, font, letters, pen)
        cv2.rectangle(picture, (0, 0), (width + height, 2 * height + below), DARK, -1)
        cv2.putText(
            picture,
            legend,
            (height // 2, height + height // 2),
            font,
            letters,
            LIGHT,
            pen,
            cv2.LINE_AA,
        )
    return picture


def by_frame(prediction: Prediction) -> Callable[[int], Prediction]:
    """frame number -> the people in it; finds them without a walk over all rows."""
    if prediction.detections is None or prediction.detections.frames is None:
        raise BadParameter("the prediction does not say which frame its rows belong to")
    frames = prediction.detections.frames
    order = np.argsort(frames, kind="stable")
    ordered = frames[order]
    return lambda i: prediction.select(order[slice(*np.searchsorted(ordered, (i, i + 1)))])


def _fitted(picture: Frame, width: int, height: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
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
        return cv2.VideoWriter(
            str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), fps, (width, height)
        )
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def write_video(
    path: str | Path,
    frames: Iterable[Frame],
    *,
    fps: float | None = None,
    total: int | None = None,
    progress: bool = False,
) -> Path:
    """RGB frames as a webm (VP8) that browsers play, one at a time, beside its place and renamed
    when it is whole.

    All take the first one's size, at most `LONG_SIDE` px. `BadFile` where there is none or no
    encoder.
    """
    path, writer = Path(path), None
    if path.suffix != ".webm":
        raise BadParameter(f"suffix {path.suffix!r}", file=path, remedy="name a .webm file")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".video-") as folder:
        part = Path(folder) / path.name
        try:
            for frame in tqdm(
                frames, desc=path.name, total=total, unit="frame", disable=not progress
            ):
                if writer is None:
                    scale = min(1, LONG_SIDE / max(frame.shape[:2]))
                    height, width = (max(2, round(s * scale)) for s in frame.shape[:2])
                    writer = _writer(part, fps or USUAL_FPS, width, height)
                    if not writer.isOpened():
                        remedy = "install opencv-python from PyPI, whose wheel has one"
                        raise BadFile("this OpenCV has no VP8 encoder", file=path, remedy=remedy)
                writer.write(np.ascontiguousarray(_fitted(frame, width, height)[..., ::-1]))
        finally:
            if writer is not None:
                writer.release()
        if writer is None:
            raise BadFile("there are no frames to write", file=path)
        os.replace(part, path)
    return path


def write_overlay(
    path: str | Path,
    frames: Frames,
    prediction: Prediction,
    *,
    legend: str = LEGEND,
    progress: bool = False,
) -> Path:
    """The whole video with its refined people, frame by frame, so that memory stays flat."""
    people = by_frame(prediction)
    drawn = (
        draw_refined(frame, people(i), legend=f"frame {i}   {legend}")
        for i, frame in enumerate(frames)
    )
    return write_video(
        path, drawn, fps=frames.video.fps, total=frames.video.n_frames, progress=progress
    )


def save_results(
    out: str | Path,
    frames: Frames,
    prediction: Prediction,
    *,
    like: str | Path | None = None,
    progress: bool = False,
) -> dict[str, Path]:
    """Overlay video, results and table in the folder `out`, named after the video; returns what was
    written.

    like: the user's own results, whose format and further fields the new ones keep; COCO results
        for a detector's own answer and for formats that are only read (pickles, npz).
    """
    out, stem, video = Path(out), Path(frames.video.source).stem.replace(" ", "_"), frames.video
    size_wh = (video.width, video.height) if video.width else None
    suffix = "" if like is None or os.path.isdir(like) else Path(like).suffix.lower()
    if like is not None and suffix in ("", ".json", ".csv"):
        results = write_like(out / f"{stem}_refined{suffix}", prediction, like, size_wh)
    else:
        refined = replace(prediction.detections, xy_frame=prediction.xy_frame)
        results = write_coco_results(out / f"{stem}_refined.json", refined)
    return {
        "results": results,
        "table": write_table(out / f"{stem}_joints.csv", prediction),
        "overlay": write_overlay(
            out / f"{stem}_overlay.webm", frames, prediction, progress=progress
        ),
    }


def show_pictures(*pictures: np.ndarray) -> None:
    """RGB pictures side by side, as one JPEG that every copy of a notebook shows."""
    height, width = pictures[0].shape[:2]
    display(Image(jpeg(np.hstack([_fitted(p, width, height) for p in pictures]), SHOWN_PX)))


def show_video(
    path: str | Path, *, poster: Frame | None = None, limit_mb: float = EMBED_MB
) -> None:
    """Plays a webm inside the notebook, its bytes in the page; above `limit_mb` the poster and a
    link stand there.
    """
    path, size = Path(path), os.path.getsize(path) / 1e6
    still = "" if poster is None else data_uri(poster, SHOWN_PX)
    if size <= limit_mb:
        source = base64.b64encode(path.read_bytes()).decode()
        poster_is = f' poster="{still}"' if still else ""
        tag = (
            f'<video controls loop muted playsinline width="{SHOWN_PX}"{poster_is} '
            f'src="data:video/webm;base64,{source}"></video>'
        )
    else:
        name, link = html.escape(path.name), html.escape(os.path.relpath(path))
        tag = (
            f'<p>{size:.0f} MB, too long to stand in the notebook: <a href="{link}">{name}</a></p>'
        )
        tag += f'<img width="{SHOWN_PX}" alt="one frame of {name}" src="{still}">' if still else ""
    display(HTML(tag))


class FrameExplorer:
    """A slider through a video with its refined people; copies without a kernel show the first
    picture.
    """

    def __init__(
        self, frames: Frames, prediction: Prediction, *, index: int = 0, width: int = SHOWN_PX
    ):
        self.frames, self.people, self.width = frames, by_frame(prediction), width
        self.slider = widgets.IntSlider(
            index,
            0,
            len(frames) - 1,
            description="frame",
            layout={"width": f"{width}px"},
            style={"description_width": "60px"},
        )
        self.image = widgets.Image(
            value=self.picture(index), format="jpeg", layout={"max_width": f"{width}px"}
        )
        self.slider.observe(self._redraw, "value")
        self.widget = widgets.VBox([self.slider, self.image])

    def picture(self, i: int) -> bytes:
        """Frame i with its people, as a JPEG."""
        return jpeg(
            draw_refined(self.frames[i], self.people(i), legend=f"frame {i}   {LEGEND}"), self.width
        )

    def _redraw(self, _change) -> None:
        self.image.value = self.picture(self.slider.value)

    def show(self) -> None:
        """Displays the slider, with its picture for places where no kernel answers."""
        bundle = dict(self.widget._repr_mimebundle_())
        bundle["image/jpeg"] = base64.b64encode(self.image.value).decode()
        display(bundle, raw=True)
