"""Refined people inside a notebook: pictures, a video that plays in the page, a frame slider."""

from __future__ import annotations

import base64
import html
import os
from pathlib import Path

import ipywidgets as widgets
import numpy as np
from IPython.display import HTML, Image, display

from ..data.frames import Frames
from ..film import LEGEND, Frame, by_frame, draw_refined, fitted
from ..records import Prediction
from .figures import data_uri, jpeg

SHOWN_PX = 960  # longest side in a notebook
EMBED_MB = 16  # a longer video is shown by one picture and a link; ours


def show_pictures(*pictures: np.ndarray) -> None:
    """RGB pictures side by side, as one JPEG that every copy of a notebook shows."""
    height, width = pictures[0].shape[:2]
    display(Image(jpeg(np.hstack([fitted(p, width, height) for p in pictures]), SHOWN_PX)))


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
        tag = f'<video controls loop muted playsinline width="{SHOWN_PX}"'
        tag += f' poster="{still}"' if still else ""
        tag += f' src="data:video/webm;base64,{source}"></video>'
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
