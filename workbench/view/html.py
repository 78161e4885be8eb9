"""A run as HTML that needs nothing but the files themselves: a page for each executed notebook, and
a gallery of them.

Tags of cells say how a page shows them: a run of cells tagged `fold` is folded under its heading,
the first picture of a cell tagged `hero` stands for the chapter in the gallery. Code is hidden
until the reader asks for it.

Figures stand in the page as SVG, or are drawn by one plotly.js inside it, formulas are MathML,
widgets show the static twin that was displayed with them. A content security policy in every page
forbids the browser any request, whatever an output contains.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path

import cv2
import nbformat
import numpy as np
from jinja2 import Environment
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from ..outputs import write_text
from ..runs import METRICS_MIME, Run
from . import style
from .formulas import formula
from .live import PAGE, policy
from .panels import SLIDES
from .tools import CONFIG, PLOTLY_MIME, page_tools

SVG_MIME = "image/svg+xml"
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
SECTIONS_SLOT = "<!-- sections -->"
POLICY_SLOT = "policy-of-this-page"
ENDED = ("completed", "failed")
PAPERMILL_TAG = "papermill-error-cell-tag"  # red headings that papermill adds; the page has its own
INJECTED_TAG = "injected-parameters"  # the cell that papermill adds behind that of the parameters
CSS = "\n".join(
    (
        style.css_variables(),
        style.word_variables(),
        Path(__file__).with_name("page.css").read_text(encoding="utf-8"),
    )
)
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
FOLD = "check it yourself"
HERO_PX = 960  # longest side of a hero picture
HERO_SVG = 400_000  # characters; a drawing of more stands as a picture
# a number and its unit, or a comma and it, stay in one line
UNITS = re.compile(r"(?<=[\d,]) (?=(?:px|ms|s|min|h|%|[kMG]B|mm|cm|fps|Hz)(?!\w))")
BETWEEN_TAGS = re.compile(r"(?<=>)[^<>]+(?=<)")
NOTEBOOK = """{%- extends 'classic/base.html.j2' -%}
{%- block header -%}{{ resources.head }}{%- endblock -%}
{%- block any_cell -%}
{%- set before, after = resources.folds[loop.index0] -%}
{{ before }}{{ super() }}{{ after }}
{%- endblock -%}
{%- block footer -%}{{ resources.following }}</main></body></html>{%- endblock -%}
"""


class _Renderer(IPythonRenderer):
    """Markdown whose formulas are MathML and whose links to notebooks lead to their pages."""

    def inline_math(self, body):
        return formula(body)

    def block_math(self, body):
        return formula(body, block=True)

    def paragraph(self, text):
        """All of it emphasised: who wrote what, and how long it takes."""
        if text.startswith("<em>") and text.endswith("</em>") and text.count("<em>") == 1:
            return f'<p class="byline">{text.removeprefix("<em>").removesuffix("</em>")}</p>\n'
        return super().paragraph(text)

    def latex_environment(self, name, body):
        return formula(rf"\begin{{{name}}}{body}\end{{{name}}}", block=True)

    def text(self, text):
        return UNITS.sub("\u00a0", super().text(text))

    def link(self, text, url, title=None):
        return super().link(text, re.sub(r"^([\w./-]+)\.ipynb(?=#|$)", r"\1.html", url), title)


def _markdown(source: str, attachments: dict | None = None) -> str:
    return MarkdownWithMath(renderer=_Renderer(escape=False, attachments=attachments)).render(
        source
    )


class _Exporter(HTMLExporter):
    def default_filters(self):
        yield from super().default_filters()
        yield "markdown2html", _markdown


def _static(data: dict, ours: list[str]) -> dict:
    """One output's mime bundle for a page without a kernel; ours: gets what has our scripts."""
    if PAGE in data:  # an explorer: the same module, and its arrays
        ours.append(data[PAGE])
        return {"text/html": data[PAGE]}
    if 'class="wb-figure"' in data.get(SVG_MIME, ""):
        return {"text/html": f'<div class="wb-sheet">{data[SVG_MIME]}</div>'}
    if "text/html" in data and "<script" not in data["text/html"]:
        data = data | {"text/html": BETWEEN_TAGS.sub(_unbroken, data["text/html"])}
    if PLOTLY_MIME in data:
        ours.append(_zoomable(data[PLOTLY_MIME]))
        return {"text/html": ours[-1]}
    if METRICS_MIME in data:
        values = {name: value for name, value in data[METRICS_MIME].items() if name != "inputs"}
        return {"text/html": str(PARTS.table(values))}
    if "text/latex" in data and "text/html" not in data:
        latex = data["text/latex"].strip()
        return {"text/html": formula(latex.strip("$"), block=not re.match(r"\$[^$]", latex))}
    live = (WIDGET_MIME, "application/javascript")
    shown = {mime: value for mime, value in data.items() if mime not in live}
    if WIDGET_MIME in data and not any(
        mime.startswith(("image/", "text/html", "text/markdown")) for mime in shown
    ):
        return {"text/html": '<p class="static">A live control stands here in JupyterLab.</p>'}
    return shown


def _zoomable(figure: dict) -> str:
    """A figure that plotly draws in the page."""
    import plotly.io as pio  # takes its time, and few pages need it

    drawn = {"data": figure["data"], "layout": figure.get("layout", {})}
    rules = {"config": figure.get("config", {}) | CONFIG, "include_plotlyjs": False}
    return pio.to_html(drawn, full_html=False, validate=False, **rules)


def _unbroken(found: re.Match) -> str:
    return UNITS.sub("\u00a0", found[0])


def _title(notebook: nbformat.NotebookNode, default: str) -> str:
    titles = (
        re.search(r"^# (.+)$", c.source, re.M) for c in notebook.cells if c.cell_type == "markdown"
    )
    return next((re.sub(r"[`*$]", "", found[1]).strip() for found in titles if found), default)


def _heading(cell: nbformat.NotebookNode) -> re.Match | None:
    """The heading that a cell begins with."""
    return re.match(r"\s*(#{1,6}) +(.+)\n?", cell.source) if cell.cell_type == "markdown" else None


def _fold(cells: list[nbformat.NotebookNode]) -> list[tuple[str, str]]:
    """What stands before and after every cell: a fold begins with the first of cells that are
    tagged `fold`, and with each heading among them of no lower level than its own. It is called by
    its heading, which leaves the cell. What is tagged `answer` waits for the prediction above it.
    """
    around = [["", ""] for _ in cells]
    level = 0  # of the open fold's heading; 0: none is open
    for i, cell in enumerate(cells):
        tags = cell.metadata.get("tags", [])
        if "fold" not in tags and not (level and INJECTED_TAG in tags):
            level = 0
            if "answer" in tags:
                around[i] = ['<div class="answer">', "</div>"]
            continue
        heading = _heading(cell)
        if not level or (heading and len(heading[1]) <= level):
            level = len(heading[1]) if heading else 6
            around[i][0] = _summary(heading)
            if heading:
                cell.source = cell.source[heading.end() :]
        else:
            around[i - 1][1] = ""
        around[i][1] = "</details>"
    return [(before, after) for before, after in around]


def _summary(heading: re.Match | None) -> str:
    """The opening of a fold. Links to its heading lead here."""
    if heading is None:
        return f'<details class="fold"><summary>{FOLD}</summary>'
    line = _markdown(heading[0])
    found = re.search(r'<h\d id="([^"]*)">(.*?)<a class="anchor-link"', line, re.S)
    anchor, words = found.groups() if found else ("", escape(heading[2]))  # tags that do not fit
    words = words.removeprefix("Check it yourself: ")  # which the label says
    return f'<details class="fold"><summary id="{anchor}"><b>{words}</b> {FOLD}</summary>'


def notebook_page(
    path: Path, *, error: dict | None = None, duration_s: float | None = None, following: str = ""
) -> str:
    """An executed notebook as one self-contained page; `error` is the run's word on why it
    stopped, `duration_s` on how long it took, `following` the name of the one to read next.
    """
    notebook = nbformat.read(path, 4)
    notebook.cells = [c for c in notebook.cells if PAPERMILL_TAG not in c.metadata.get("tags", [])]
    ours: list[str] = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data = nbformat.from_dict(_static(output.data, ours))
        if "outputs" in cell:  # what shows nothing takes no room
            cell.outputs = [o for o in cell.outputs if any(o.get("data", {"": True}).values())]
    title = _title(notebook, path.stem)
    resources = {
        "folds": _fold(notebook.cells),
        "head": str(PARTS.notebook_head(title, error, duration_s)),
        "following": str(PARTS.next_link(following)),
    }
    exporter = _Exporter(template_name="basic", raw_template=NOTEBOOK)
    page, _ = exporter.from_notebook_node(notebook, resources)
    sections = re.findall(r'<h2 id="([^"]*)">(.*?)<a class="anchor-link"', page)
    links = "".join(f'<a href="#{anchor}">{text}</a>' for anchor, text in sections)
    page = page.replace(SECTIONS_SLOT, links, 1)
    last = f"<script>{SCRIPT}</script>" if links else ""
    zoomable = 'class="plotly-graph-div"' in page
    if zoomable:
        from plotly.offline import get_plotlyjs

        ours.append(f"<script>{get_plotlyjs()}</script>")
        page = page.replace("</head>", f"{ours[-1]}</head>", 1)
    if zoomable or 'class="wb-sheet"' in page:
        last += page_tools()
    head, body = page.rsplit("</body>", 1)
    page = f"{head}{last}</body>{body}"
    ours.append(last)
    return page.replace(POLICY_SLOT, policy(*ours), 1)  # the first is the head's


# --- the gallery ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """A chapter in the gallery. hero: as HTML; "" where its copy holds no picture. reads: what its
    method is given, of the metadata ("workbench": {"reads"}).
    """

    title: str
    trick: str
    hero: str
    reads: str


def _hero(notebook: nbformat.NotebookNode) -> str:
    """The chapter's picture: the first of its cells tagged `hero`, else the first of all: what an
    explorer shows, or a figure of ours, which follows the reader's theme.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "hero" in cell.metadata.get("tags", [])]
    for cell in [*tagged, *code]:
        for output in cell.outputs:
            data = output.get("data", {})
            if drawn := _slides(data.get(SLIDES)) or _picture(data):
                return drawn
    return ""


def _slides(found: object) -> str:
    """Small pictures that follow the pointer, as HTML; "" where an output holds none."""
    try:
        shown = [
            {"words": str(one["words"]), "light": _webp(one["light"]), "dark": _webp(one["dark"])}
            for one in found["slides"]
        ]
        if not shown:
            return ""
        first, right = (int(found.get(name, 0)) % len(shown) for name in ("first", "right"))
        return str(PARTS.slides(shown, first, str(found.get("ask", "")), right))
    except (AttributeError, KeyError, TypeError, ValueError):  # it is a notebook's word
        return ""


def _webp(drawn: str) -> str:
    """A picture as an address. `ValueError` where it is none."""
    raw = base64.b64decode(drawn, validate=True)
    if not raw or cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR) is None:
        raise ValueError("no picture")
    return f"data:image/webp;base64,{base64.b64encode(raw).decode()}"


def _picture(data: Mapping) -> str:
    """One output as a small picture, as HTML; "" where it is none."""
    drawn = data.get(SVG_MIME, "")
    if 'class="wb-figure"' in drawn and len(drawn) <= HERO_SVG and PAGE not in data:
        return drawn
    raw = np.frombuffer(base64.b64decode(data.get("image/png", "")), np.uint8)
    picture = cv2.imdecode(raw, cv2.IMREAD_COLOR) if len(raw) else None
    if picture is None:
        return ""
    scale = min(1.0, HERO_PX / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    data = base64.b64encode(cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, 85])[1])
    return f'<img alt="" src="data:image/webp;base64,{data.decode()}">'


def _trick(notebook: nbformat.NotebookNode, title: str) -> tuple[str, str]:
    """The chapter's name, and its trick in one line: of its metadata ("workbench": {"trick"}), or
    what stands behind the colon of its title, or its first bold words.
    """
    name, _, behind = title.partition(": ")
    if said := _said(notebook, "trick"):
        return name, said.rstrip(".")
    if behind:
        return name, behind
    bold = re.search(
        r"\*\*(.+?)\*\*", "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    )
    return name, bold[1].rstrip(".") if bold else ""


def _said(notebook: nbformat.NotebookNode, name: str) -> str:
    """A line of its metadata; "" where there is none."""
    own = notebook.metadata.get("workbench")
    said = own.get(name) if isinstance(own, Mapping) else ""
    return said.strip() if isinstance(said, str) else ""


@lru_cache(maxsize=64)
def _card(path: Path, _changed: int) -> Card:
    """Of an executed copy; read once as long as it is the same."""
    notebook = nbformat.read(path, 4)
    title, trick = _trick(notebook, _title(notebook, path.stem))
    return Card(title, trick, _hero(notebook), _said(notebook, "reads"))


def _cards(run: Run) -> Iterator[tuple[str, Card]]:
    for name, entry in run.record["notebooks"].items():
        copy = run.folder / "notebooks" / f"{name}.ipynb"
        if entry["status"] in ENDED and copy.exists():
            yield name, _card(copy, copy.stat().st_mtime_ns)


def _words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return "–" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def _flat(values: dict, prefix: str = "") -> dict:
    """Nested dictionaries as one with dotted names."""
    flat = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _parted(values: dict) -> tuple[dict, dict]:
    """Values with dotted names, and lists of records among them with the same columns in each."""
    plain, records = _flat(values), {}
    for name, rows in list(plain.items()):
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            flat = [_flat(row) for row in plain.pop(name)]
            columns = dict.fromkeys(key for row in flat for key in row)
            records[name] = [columns | row for row in flat]
    return plain, records


def _parts():
    """The macros of `page.html.j2`."""
    environment = Environment(autoescape=True, trim_blocks=True)
    environment.filters |= {"words": _words, "parted": _parted}
    shared = {"policy": POLICY_SLOT, "css": CSS, "sections_slot": SECTIONS_SLOT}
    source = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source, shared).module


PARTS = _parts()


def index_page(run: Run) -> str:
    """The run as a gallery of its chapters; behind it metrics and parameters of every notebook,
    and where it all comes from.
    """
    cards = dict(_cards(run))
    script = ""
    if any('class="slides"' in card.hero for card in cards.values()):
        script = f"<script>{SCRIPT}</script>"
    return str(PARTS.index(run, cards, script)).replace(POLICY_SLOT, policy(script), 1)


def publish(run: Run) -> None:
    """Writes the page of every notebook that has ended since, and `index.html`, into the run
    folder.
    """
    names = list(run.record["notebooks"])
    for (name, entry), following in zip(run.record["notebooks"].items(), [*names[1:], ""]):
        copy, page = run.folder / "notebooks" / f"{name}.ipynb", run.folder / f"{name}.html"
        fresh = page.exists() and page.stat().st_mtime > copy.stat().st_mtime
        if entry["status"] in ENDED and copy.exists() and not fresh:
            about = {"error": entry.get("error"), "duration_s": entry.get("duration_s")}
            text = notebook_page(copy, **about, following=following)
            write_text(page, text, over=True)
    write_text(run.folder / "index.html", index_page(run), over=True)
