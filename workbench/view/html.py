"""A run as HTML that needs nothing but the files themselves: a page for each executed notebook, and
an index.

Figures stand in the page as SVG, or are drawn by one plotly.js inside it, formulas are MathML,
widgets show the static twin that was displayed with them. A content security policy in every page
forbids the browser any request, whatever an output contains.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from jinja2 import Environment
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from ..outputs import write_text
from ..runs import METRICS_MIME, Run
from . import style
from .formulas import formula
from .live import PAGE, policy
from .tools import CONFIG, PLOTLY_MIME, page_tools

SVG_MIME = "image/svg+xml"
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
SECTIONS_SLOT = "<!-- sections -->"
POLICY_SLOT = "policy-of-this-page"
ENDED = ("completed", "failed")
PAPERMILL_TAG = "papermill-error-cell-tag"  # red headings that papermill adds; the page has its own
CSS = "\n".join(
    (
        style.css_variables(),
        style.word_variables(),
        Path(__file__).with_name("page.css").read_text(encoding="utf-8"),
    )
)
NOTEBOOK = """{%- extends 'classic/base.html.j2' -%}
{%- block header -%}{{ resources.head }}{%- endblock -%}
{%- block footer -%}</main></body></html>{%- endblock -%}
"""


class _Renderer(IPythonRenderer):
    """Markdown whose formulas are MathML and whose links to notebooks lead to their pages."""

    def inline_math(self, body):
        return formula(body)

    def block_math(self, body):
        return formula(body, block=True)

    def latex_environment(self, name, body):
        return formula(rf"\begin{{{name}}}{body}\end{{{name}}}", block=True)

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


def _title(notebook: nbformat.NotebookNode, default: str) -> str:
    titles = (
        re.search(r"^# (.+)$", c.source, re.M) for c in notebook.cells if c.cell_type == "markdown"
    )
    return next((re.sub(r"[`*$]", "", found[1]).strip() for found in titles if found), default)


def notebook_page(path: Path, *, error: dict | None = None) -> str:
    """An executed notebook as one self-contained page; `error` is the run's word on why it
    stopped.
    """
    notebook = nbformat.read(path, 4)
    notebook.cells = [c for c in notebook.cells if PAPERMILL_TAG not in c.metadata.get("tags", [])]
    ours: list[str] = []
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if "data" in output:
            output.data = nbformat.from_dict(_static(output.data, ours))
    head = {"head": str(PARTS.notebook_head(_title(notebook, path.stem), error))}
    exporter = _Exporter(template_name="basic", raw_template=NOTEBOOK)
    page, _ = exporter.from_notebook_node(notebook, head)
    sections = re.findall(r'<h2 id="([^"]*)">(.*?)<a class="anchor-link"', page)
    links = "".join(f'<a href="#{anchor}">{text}</a>' for anchor, text in sections)
    page = page.replace(SECTIONS_SLOT, links, 1)
    zoomable = 'class="plotly-graph-div"' in page
    if zoomable:
        from plotly.offline import get_plotlyjs

        ours.append(f"<script>{get_plotlyjs()}</script>")
        page = page.replace("</head>", f"{ours[-1]}</head>", 1)
    if zoomable or 'class="wb-sheet"' in page:
        head, body = page.rsplit("</body>", 1)
        ours.append(page_tools())
        page = f"{head}{ours[-1]}</body>{body}"
    return page.replace(POLICY_SLOT, policy(*ours), 1)  # the first is the head's


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
    """The run at a glance: every notebook with its outcome, metrics and parameters, and where it
    all comes from.
    """
    titles = {}
    for name, entry in run.record["notebooks"].items():
        copy = run.folder / "notebooks" / f"{name}.ipynb"
        if entry["status"] in ENDED and copy.exists():
            titles[name] = _title(nbformat.read(copy, 4), name)
    return str(PARTS.index(run, titles)).replace(POLICY_SLOT, policy(), 1)


def publish(run: Run) -> None:
    """Writes the page of every notebook that has ended since, and `index.html`, into the run
    folder.
    """
    for name, entry in run.record["notebooks"].items():
        copy, page = run.folder / "notebooks" / f"{name}.ipynb", run.folder / f"{name}.html"
        fresh = page.exists() and page.stat().st_mtime > copy.stat().st_mtime
        if entry["status"] in ENDED and copy.exists() and not fresh:
            write_text(page, notebook_page(copy, error=entry.get("error")), over=True)
    write_text(run.folder / "index.html", index_page(run), over=True)
