"""What all figures stand on: sheets and places in inches, text, keys, scales, files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.style import context
from matplotlib.textpath import text_to_path
from PIL import Image

from ...errors import BadParameter
from ...resources import check_writable, write_beside
from .. import style

INCHES = MappingProxyType({1: 3.5, 2: 7.16})  # by columns of the page: IEEE's
TALLEST = 9.0  # inches that a page has for a figure; ours
DPI = 300
SCREEN, HEAVIEST = 130, 300_000  # dpi and bytes of what a notebook shows
TEXT, SMALL, TINY = 7, 6, 5  # pt of titles, of numbers and legends, of names of tokens
LINE, GAP = 0.14, 0.06  # inches of a line of text, and between maps
WIDEST = 3.0  # inches of one map or picture
FORMATS = ("svg", "pdf", "png")


def settings(theme: str = "light") -> AbstractContextManager:
    """matplotlib's own defaults with our text, ink and paper, whatever the user has set."""
    ink, soft, paper = (style.colour(role, theme) for role in ("ink", "soft", "paper"))
    ours = {
        "axes.axisbelow": True,
        "axes.labelpad": 2,
        "axes.titlepad": 3,
        "font.size": TEXT,
        "grid.alpha": 0.3,
        "legend.frameon": False,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "pdf.fonttype": 42,  # TrueType, which publishers ask for
        "text.parse_math": False,  # a dollar in a name is a dollar
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "workbench",  # one figure gives the same bytes each time
    }
    same = {
        False: "axes.spines.right axes.spines.top",
        0.5: "axes.linewidth grid.linewidth xtick.major.width ytick.major.width",
        2: "xtick.major.size ytick.major.size",
        SMALL: "legend.fontsize xtick.labelsize ytick.labelsize",
        TEXT: "axes.titlesize axes.labelsize",
        ink: "text.color axes.labelcolor axes.titlecolor xtick.labelcolor ytick.labelcolor",
        soft: "axes.edgecolor grid.color xtick.color ytick.color",
        paper: "figure.facecolor axes.facecolor",
    }
    for value, names in same.items():
        ours |= dict.fromkeys(names.split(), value)
    return context(["default", ours])


def sheet(columns: int, height: float) -> Figure:
    """An empty figure, as wide as so many columns and `height` inches high."""
    if height > TALLEST + 1e-6:
        problem = f"a figure {height:.1f} in high, and a page has {TALLEST:g}"
        raise BadParameter(problem, remedy="draw fewer panels, or several figures")
    figure = Figure((INCHES[columns], height))
    FigureCanvasAgg(figure)
    return figure


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the upper left corner."""
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))


def framed(axes: Axes) -> Axes:
    """Axes with a thin frame, without ticks."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    return axes


def box_about(points: np.ndarray, ratio: float = 1.0) -> tuple[float, float, float, float]:
    """A box about points with a tenth to spare on each side, `ratio` times as wide as high."""
    low, high = points.min(0), points.max(0)
    (x, y), (width, height) = (low + high) / 2, 1.2 * (high - low) + 1e-6
    half = max(height, width / ratio) / 2
    return x - ratio * half, y - half, x + ratio * half, y + half


def show_box(axes: Axes, box: Sequence[float]) -> None:
    """Shows a box of px, whose y points down."""
    axes.set(xlim=(box[0], box[2]), ylim=(box[3], box[1]))


def scale_bar(figure: Figure, where: Sequence[float], colours: np.ndarray, ends: Sequence) -> Axes:
    """Colours of a scale as a bar at a place (left, top, width, height in inches)."""
    axes = framed(axes_at(figure, *where))
    axes.imshow(colours[None], aspect="auto", extent=(*ends, 0, 1))
    return axes


def key_of(name: str, colour: str, marker: str = "s", **look) -> Line2D:
    """What stands beside a name in a legend."""
    look = {"linestyle": "", "markersize": 4} | look
    return Line2D([], [], color=colour, marker=marker, label=name, **look)


def add_legend(owner: Figure | Axes, keys: Sequence[Line2D], **look) -> None:
    """Names beside their keys, above a figure or where `look` says."""
    look = {"loc": "upper center", "ncols": 4, "borderaxespad": 0.3} | look
    legend = owner.legend(keys, [" "] * len(keys), **look)
    for text, key in zip(legend.get_texts(), keys):
        text.set_text(key.get_label())  # matplotlib leaves out names with an underscore ahead


def in_words(name: str) -> str:
    return name.replace("_", " ")


def width_of(names: Sequence[str], size: int = TINY) -> float:
    """Inches that the longest name takes."""
    font = FontProperties(size=size)
    longest = sorted(set(names), key=len)[-8:]
    return max(text_to_path.get_text_width_height_descent(n, font, False)[0] for n in longest) / 72


def label_ticks(axis: Axis, names: list[str], inches: float, focus: int | None = None) -> None:
    """As many names as can be read, at equal steps, among them that of the focus."""
    step = int(np.ceil(1.1 * TINY / 72 * len(names) / inches))
    step += step % 2 == 0 and len(names) > step  # an even one names the joints of one side alone
    first = (focus or 0) % step
    axis.set_ticks(range(first, len(names), step), names[first::step], fontsize=TINY)


# --- files ----------------------------------------------------------------------------------------


def png(figure: Figure, dpi: int = SCREEN, heaviest: int = HEAVIEST) -> bytes:
    """The figure as a PNG, such as an output of a notebook shows, of at most so many bytes: those
    of a photograph have 256 colours, and where that is not enough fewer dots.
    """
    picture = _encoded(figure, "png", dpi)
    if len(picture) <= heaviest:
        return picture
    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    for part in (1, 0.8, 0.6, 0.4, 0.2):
        size = [max(round(part * side), 1) for side in whole.size]
        file = io.BytesIO()
        whole.resize(size).quantize(256).save(file, "PNG", dpi=(part * dpi, part * dpi))
        if file.tell() <= heaviest:
            break
    return file.getvalue()


def save(figure: Figure, path: str | Path, *, dpi: int = DPI, over: bool = False) -> Path:
    """Writes a figure as .svg or .pdf, where maps alone have dots, or as .png; its path.

    Errors: `BadParameter` for other endings, and for a file that is there already unless `over`.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise BadParameter(
            f"no figure is written as {path.suffix or 'a file without an ending'}",
            file=path,
            remedy=f"name a file that ends in .{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}",
        )
    check_writable(path)
    if path.exists() and not over:
        raise BadParameter("is there already", file=path, remedy="name another, or say over=True")
    return write_beside(path, lambda beside: beside.write_bytes(_encoded(figure, kind, dpi)))


def _encoded(figure: Figure, kind: str, dpi: int) -> bytes:
    """Bytes of a file; no date in it, so that the same figure gives the same ones."""
    nothing = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": None}
    file = io.BytesIO()
    with settings():
        figure.savefig(file, format=kind, dpi=dpi, metadata=nothing[kind])
    return file.getvalue()
