"""What all figures stand on: sheets, text, keys, scales, files."""

from __future__ import annotations

import base64
import io
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.style import context
from PIL import Image

from ...errors import BadParameter, check_choice
from ...outputs import check_new, write_beside
from .. import style

INCHES = MappingProxyType({1: 3.5, 2: 7.16})  # by columns of the page: IEEE's
TALLEST = 9.0  # inches that a page has for a figure; ours
WIDEST = 3.0  # inches of one map or picture
DPI = 300
SCREEN, HEAVIEST = 130, 300_000  # dpi and bytes of what a notebook shows
TINY = 5  # pt of names of tokens
FORMATS = ("svg", "pdf", "png")
JOINED = 'stroke-linejoin="round" stroke-linecap="butt"'  # matplotlib's rule for all lines
MOST_NUMBERS = 10_000  # rows of a table that stands in an SVG


def settings(theme: str = "light", size: float | int = 6) -> AbstractContextManager:
    """matplotlib's own defaults with our text, ink and paper, whatever the user has set.

    size: of text, pt; titles of axes are a fifth larger.
    """
    ink, soft, line, paper = (style.colour(n, theme) for n in ("ink", "soft", "line", "paper"))
    ours = {
        "axes.grid.axis": "y",
        "font.size": size,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "pdf.fonttype": 42,  # TrueType, which publishers ask for
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "workbench",  # one figure gives the same bytes each time
    }
    same = {
        True: "axes.axisbelow axes.grid",
        False: "axes.spines.right axes.spines.top legend.frameon text.parse_math",
        0.5: "axes.linewidth grid.linewidth xtick.major.width ytick.major.width",
        2: "axes.labelpad xtick.major.size ytick.major.size",
        ink: "text.color axes.labelcolor xtick.labelcolor ytick.labelcolor",
        soft: "axes.edgecolor xtick.color ytick.color",
        line: "grid.color",
        paper: "figure.facecolor axes.facecolor",
    }
    for value, names in same.items():
        ours |= dict.fromkeys(names.split(), value)
    return context(["default", ours])


class Sheet(Figure):
    """A figure that notebooks show. `numbers`: what it shows, for the toolbar's CSV."""

    numbers: pd.DataFrame | None = None

    def _repr_mimebundle_(self, **_) -> dict[str, str]:
        """An SVG whose colours follow the reader's theme, and a PNG for who has no scripts."""
        about = dict.fromkeys(("Creator", "Format", "Type"))  # else matplotlib's own
        if self.numbers is not None and len(self.numbers) <= MOST_NUMBERS:
            about["Description"] = self.numbers.to_json(orient="split", index=False)
        svg = _encoded(self, "svg", SCREEN, about).decode()
        svg = svg[svg.index("<svg ") :].replace("<svg ", f'<svg class="wb-figure" {JOINED} ', 1)
        svg = re.sub("<style.*?</style>", "", svg, flags=re.DOTALL)  # a page's, too
        return {
            "image/svg+xml": style.followed(svg),
            "image/png": base64.b64encode(png(self)).decode(),
            "text/plain": repr(self),
        }

    def show(self) -> None:
        """Displays the figure where it does not stand last in a cell."""
        display(self)


def sheet(columns: int, height: float | int = TALLEST) -> Sheet:
    """An empty figure, as wide as so many columns, that finds room for all that is on it."""
    check_choice("columns", columns, INCHES)
    figure = Sheet((INCHES[columns], height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def fit(
    figure: Figure,
    rows: Sequence[Sequence[tuple[Axes, float, float]]],
    grid: GridSpec | None = None,
) -> None:
    """Makes a figure as high as its rows of axes need, and its layout final.

    rows: axes, what their height is of their width, and the inches that it is at most; all shrink
    where a page has no room. grid: whose rows they are, unless they are equally high.
    Errors: `BadParameter` where less than a third of the heights would be left.
    """
    with warnings.catch_warnings(action="ignore"):  # of no room at all, which is refused below
        figure.get_layout_engine().execute(figure)
    wide, high = figure.get_size_inches()
    needed, given = [], []
    for row in rows:
        boxes = [axes.get_position(original=True) for axes, *_ in row]
        sizes = zip(boxes, row)
        needed.append(max(min(ratio * wide * box.width, most) for box, (_, ratio, most) in sizes))
        given.append(high * boxes[0].height)
    part = min(sum(given) / sum(needed), 1)
    if part < 1 / 3:
        problem = f"{len(rows)} rows of {max(needed):.1f} in, and a page has {TALLEST:g}"
        raise BadParameter(problem, remedy="draw fewer panels, or several figures")
    spare = np.array(given) - part * np.array(needed)
    if grid is not None:
        grid.set_height_ratios(high / len(rows) - spare)
    figure.set_figheight(high - spare.sum())
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")


def framed(axes: Axes) -> Axes:
    """Axes with a thin frame, without ticks."""
    axes.set(xticks=[], yticks=[], anchor="N")
    axes.grid(False)
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


def colours_of(theme: str, stops: Sequence | None = None) -> ListedColormap:
    """A scale of `style`, by default the diverging one, as matplotlib wants it."""
    return ListedColormap(style.scale_colours(np.linspace(-1, 1, 257), theme, stops) / 255)


def add_legend(figure: Figure, title: str = "") -> None:
    """What all axes name, each once, lines first, above them and below a title."""
    named = [axes.get_legend_handles_labels() for axes in figure.axes]
    keys = {name: key for keys, names in named for key, name in zip(keys, names)}
    if not keys and not title:
        return
    lines = sorted(keys, key=lambda name: not isinstance(keys[name], Line2D))
    per_line = int(figure.get_figwidth() / (max(map(len, keys), default=0) / 20 + 0.4)) or 1
    handles = [keys[name] for name in lines]
    title = textwrap.fill(title, int(15 * figure.get_figwidth()))
    figure.legend(
        handles,
        lines,
        loc=f"outside upper {'left' if title else 'center'}",
        ncols=per_line,
        title=title,
        title_fontproperties={"weight": "bold", "size": 7},
        alignment="left",
    )


def in_words(name: str) -> str:
    return name.replace("_", " ")


def label_ticks(axis: Axis, names: list[str], inches: float, focus: int | None = None) -> None:
    """As many names as can be read, at equal steps, among them that of the focus."""
    step = int(np.ceil(1.2 * TINY / 72 * len(names) / inches))
    step += step % 2 == 0 and len(names) > step  # an even one names the joints of one side alone
    first = (focus or 0) % step
    axis.set_ticks(range(first, len(names), step), names[first::step], fontsize=TINY)


# --- files ----------------------------------------------------------------------------------------


def png(figure: Figure, dpi: float | int = SCREEN, heaviest: int = HEAVIEST) -> bytes:
    """The figure as a PNG, such as an output of a notebook shows; where it is of too many bytes
    with 256 colours, and then with fewer dots.
    """
    picture = _encoded(figure, "png", dpi)
    if len(picture) <= heaviest or dpi < 20:
        return picture
    file = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256).save(file, "PNG", dpi=(dpi, dpi))
    fits = file.tell() <= heaviest
    return file.getvalue() if fits else png(figure, 0.8 * dpi, heaviest)


def save(figure: Figure, path: str | Path, *, dpi: int = DPI, over: bool = False) -> Path:
    """Writes a figure as .svg or .pdf, where maps alone have dots, or as .png; its path.

    Errors: `BadParameter` for other endings; `CannotWrite` for a file that is there already unless
    `over`.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    check_choice(f"ending of {path.name}", kind, FORMATS)
    check_new(path, over=over)
    picture = _encoded(figure, kind, dpi)
    return write_beside(path, lambda part: part.write_bytes(picture), over=over)


def _encoded(
    figure: Figure, kind: str, dpi: float | int, about: Mapping = MappingProxyType({})
) -> bytes:
    """Bytes of a file, with words about it; no date in it, so that the same figure gives the same
    ones.
    """
    nothing = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    file = io.BytesIO()
    with settings():
        figure.savefig(file, format=kind, dpi=dpi, metadata=nothing[kind] | about)
    return file.getvalue()
