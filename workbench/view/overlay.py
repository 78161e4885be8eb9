"""Refined people inside a notebook: pictures, and a video that plays in the page."""

from __future__ import annotations

import base64
import html
import os
from pathlib import Path

from IPython.display import HTML, display

from ..film import Frame
from .panels import jpeg

SHOWN_PX = 960  # longest side in a notebook
EMBED_MB = 16  # a longer video is shown by one picture and a link; ours


def show_video(
    path: str | Path, *, poster: Frame | None = None, limit_mb: float = EMBED_MB
) -> None:
    """Plays a webm inside the notebook, its bytes in the page; above `limit_mb` the poster and a
    link stand there.
    """
    path, size = Path(path), os.path.getsize(path) / 1e6
    still = "" if poster is None else base64.b64encode(jpeg(poster, SHOWN_PX)).decode()
    still = still and f"data:image/jpeg;base64,{still}"
    if size <= limit_mb:
        source = base64.b64encode(path.read_bytes()).decode()
        look = f'controls loop muted playsinline width="{SHOWN_PX}" poster="{still}"'
        display(HTML(f'<video {look} src="data:video/webm;base64,{source}"></video>'))
        return
    name, link = html.escape(path.name), html.escape(os.path.relpath(path))
    tag = f'<p>{size:.0f} MB, too long to stand in the notebook: <a href="{link}">{name}</a></p>'
    picture = f'<img width="{SHOWN_PX}" alt="one frame of {name}" src="{still}">' if still else ""
    display(HTML(tag + picture))
