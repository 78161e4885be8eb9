"""Small pictures of panels, for the gallery of a run: one moves the pointer over them, from the
first to the last.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ...skeletons import Skeleton
from ..panels import SLIDES, Panel, Picture
from .panels import draw_alone
from .sheets import settings

INCHES = (3.2, 2.0)
DPI = 200


def slides(
    panels: Mapping[str, Panel],
    skeleton: Skeleton | None,
    *,
    state: Mapping = MappingProxyType({}),
    first: int = 0,
    ask: str = "",
    right: int = 0,
) -> dict:
    """Panels with their words as an output of a notebook: {type: {"first": ..., "slides": [...]}}.

    state: as of `panels_figure`. first: number of the one that is shown until somebody points.
    ask: a question whose answer is slide `right`; what stands behind the colons of the words waits
    for the reader's.
    Errors: as of `panels_figure`.
    """
    made = [
        {"words": words, "light": _small(panel, skeleton, state, "light")}
        | {"dark": _small(panel, skeleton, state, "dark")}
        for words, panel in panels.items()
    ]
    return {SLIDES: {"first": first % len(made), "slides": made, "ask": ask, "right": right}}


def _small(panel: Panel, skeleton: Skeleton | None, state: Mapping, theme: str) -> str:
    """As WebP, base64."""
    with settings(theme):
        box = _widened(panel) if isinstance(panel, Picture) else None
        figure = Figure(INCHES, dpi=DPI, layout=None if box else "constrained")
        FigureCanvasAgg(figure)
        draw_alone(figure, panel, skeleton, state, theme, box)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png")
    small = io.BytesIO()
    Image.open(drawn).convert("RGB").save(small, "WEBP", quality=82)
    return base64.b64encode(small.getvalue()).decode()


def _widened(panel: Picture) -> Sequence[float]:
    """A panel's box, px, in the shape of a slide: more of the picture where there is more."""
    x0, y0, x1, y1 = panel.bounds
    ratio = INCHES[0] / INCHES[1]
    if panel.whole is None:
        pad = 0.06 * max(x1 - x0, y1 - y0)
        x0, y0, x1, y1 = x0 - pad, y0 - pad, x1 + pad, y1 + pad
    width, height = max(x1 - x0, ratio * (y1 - y0)), max(y1 - y0, (x1 - x0) / ratio)
    ends = []
    for low, high, size, axis in ((x0, x1, width, 0), (y0, y1, height, 1)):
        start = (low + high - size) / 2
        if panel.whole is not None:
            first, last = panel.whole[axis], panel.whole[axis + 2]
            inside = min(max(start, first), last - size)
            start = inside if size <= last - first else (first + last - size) / 2
        ends.append((start, start + size))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom
