"""A run as HTML that needs nothing but the files themselves: a page for each executed notebook, and
an index.

Figures are drawn by one plotly.js inside the page, formulas are MathML, widgets show the static
twin that was displayed with them. A content security policy in every page forbids the browser any
request, whatever an output contains.
"""

from __future__ import annotations

import re
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import tostring

import nbformat
import plotly.io as pio
from latex2mathml import exceptions as latex_exceptions
from latex2mathml.converter import convert_to_element
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from plotly.offline import get_plotlyjs

from ..runs import METRICS_MIME, Run
from . import style
from .figures import CONFIG
from .live import PAGE, POLICY
from .tools import page_tools

PLOTLY_MIME = "application/vnd.plotly.v1+json"
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
LATEX_ERRORS = tuple(kind for kind in vars(latex_exceptions).values() if isinstance(kind, type))
LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
SECTIONS_SLOT = "<!-- sections -->"
PAPERMILL_TAG = "papermill-error-cell-tag"  # red headings that papermill adds; the page has its own
CSS = "\n".join(
    (
        style.css_variables(),
        style.word_variables(),
        Path(__file__).with_name("page.css").read_text(encoding="utf-8"),
    )
)

HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<title>{title}</title><style>{css}</style></head><body><main>
"""
NAV = f"""<nav><a href="index.html">← all notebooks</a>{SECTIONS_SLOT}
<label><input type="checkbox" id="hide"> hide code</label></nav>
"""
NOTEBOOK = """{%- extends 'classic/base.html.j2' -%}
{%- block header -%}{{ resources.head }}{%- endblock -%}
{%- block footer -%}</main></body></html>{%- endblock -%}
"""


def formula(latex: str, *, block: bool = False) -> str:
    """LaTeX as MathML; what the converter does not know stays visible as its source."""
    source = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{split}", latex.strip())
    source = re.sub(r"\\arg\s*\\(max|min)(?![a-z])", r"\\arg\1", source)
    try:
        root = convert_to_element(source, display="block" if block else "inline")
    except LATEX_ERRORS:
        return f"<code>{escape(latex)}</code>"
    # not needed in HTML, and nbconvert would turn it into prefixes in headings
    del root.attrib["xmlns"]
    for element in root.iter():
        element.text = unescape(element.text or "")
        if element.tag in {*LIMITS, *LIMITS.values()} and unescape(element[0].text or "") in tuple(
            "∑∏⋃⋂"
        ):
            # limits stand below and above a displayed sum
            element.tag = LIMITS.get(element.tag, element.tag)
            element[0].set("class", "sum")
    mathml = tostring(root, encoding="unicode", short_empty_elements=False)
    return f"<code>{escape(latex)}</code>" if "\\" in mathml else mathml


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


def _static(data: dict) -> dict:
    """One output's mime bundle as something that a page without a kernel can show."""
    if PAGE in data:  # an explorer: the same module, and its arrays
        return {"text/html": data[PAGE]}
    if PLOTLY_MIME in data:
        figure = data[PLOTLY_MIME]
        config = {**figure.get("config", {}), **CONFIG}
        figure = {"data": figure["data"], "layout": figure.get("layout", {})}
        return {
            "text/html": pio.to_html(
                figure,
                config=config,
                full_html=False,
                include_plotlyjs=False,
                include_mathjax=False,
                validate=False,
            )
        }
    if METRICS_MIME in data:
        return {
            "text/html": _table(
                {key: value for key, value in data[METRICS_MIME].items() if key != "inputs"}
            )
        }
    if "text/latex" in data and "text/html" not in data:
        latex = data["text/latex"].strip()
        return {"text/html": formula(latex.strip("$"), block=not re.match(r"\$[^$]", latex))}
    shown = {
        mime: value
        for mime, value in data.items()
        if mime not in (WIDGET_MIME, "application/javascript")
    }
    if WIDGET_MIME in data and not any(
        mime.startswith(("image/", "text/html", "text/markdown")) for mime in shown
    ):
        return {"text/html": '<p class="static">A live control stands here in JupyterLab.</p>'}
    return shown


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
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if "data" in output:
            output.data = nbformat.from_dict(_static(output.data))
    head = (
        HEAD.format(policy=POLICY, title=escape(_title(notebook, path.stem)), css=CSS)
        + NAV
        + _failure(error)
    )
    page, _ = _Exporter(template_name="basic", raw_template=NOTEBOOK).from_notebook_node(
        notebook, {"head": head}
    )
    sections = re.findall(r'<h2 id="([^"]*)">(.*?)<a class="anchor-link"', page)
    page = page.replace(
        SECTIONS_SLOT, "".join(f'<a href="#{anchor}">{text}</a>' for anchor, text in sections), 1
    )
    if 'class="plotly-graph-div"' not in page:
        return page
    script = f"<script>{get_plotlyjs()}</script></head>"
    head, body = page.replace("</head>", script, 1).rsplit("</body>", 1)
    return f"{head}{page_tools()}</body>{body}"


def _failure(error: dict | None) -> str:
    return (
        f'<p class="failure">{escape(error["type"])}: {escape(error["message"])}</p>'
        if error
        else ""
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "–" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def _cell(value: object) -> str:
    kind = ' class="number"' if isinstance(value, int | float) else ""
    return f"<td{kind}>{escape(_text(value))}</td>"


def _flat(values: dict, prefix: str = "") -> dict:
    """Nested dictionaries as one with dotted names."""
    flat = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": value}
        )
    return flat


def _table(values: dict) -> str:
    """Names and values; a list of records becomes a table of its own below."""
    flat = _flat(values)
    records = {
        k: v
        for k, v in flat.items()
        if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)
    }
    rows = "".join(
        f"<tr><th>{escape(k)}</th>{_cell(v)}</tr>" for k, v in flat.items() if k not in records
    )
    return (f"<table>{rows}</table>" if rows else "") + "".join(
        _records(k, v) for k, v in records.items()
    )


def _records(name: str, records: list[dict]) -> str:
    flat = [_flat(record) for record in records]
    columns = list(dict.fromkeys(key for record in flat for key in record))
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(_cell(record.get(c)) for c in columns)}</tr>" for record in flat)
    return (
        f"<table><caption>{escape(name)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _folded(summary: str, values: dict) -> str:
    return f"<details><summary>{summary}</summary>{_table(values)}</details>" if values else ""


def _state(status: str) -> str:
    return f'<span class="state {status}">{status}</span>'


def _seconds(entry: dict) -> str:
    return f"{entry['duration_s']:.1f} s" if "duration_s" in entry else ""


def index_page(run: Run) -> str:
    """The run at a glance: every notebook with its outcome, metrics and parameters, and where it
    all comes from.
    """
    record, provenance = run.record, run.record["provenance"]
    machine, git = provenance["hardware"], provenance["git"]
    rows, cards = "", ""
    for name, entry in record["notebooks"].items():
        done, copy = (
            entry["status"] in ("completed", "failed"),
            run.folder / "notebooks" / f"{name}.ipynb",
        )
        title, links = escape(name), ""
        if done and copy.exists():
            title = escape(_title(nbformat.read(copy, 4), name))
            page, source = quote(f"{name}.html"), quote(f"notebooks/{name}.ipynb")
            title, links = (
                f'<a href="{page}">{title}</a>',
                f'<a href="{source}">{escape(name)}.ipynb</a>',
            )
        state, took = _state(entry["status"]), _seconds(entry)
        rows += (
            f"<tr><td>{title}</td><td>{state}</td><td class=number>{took}</td><td>{links}</td></tr>"
        )
        cards += f"<h2>{title} {state}</h2>{_failure(entry.get('error'))}"
        cards += _table(entry.get("metrics", {}))
        cards += _folded("parameters", entry["parameters"]) + _folded(
            "input files, sha256", entry.get("inputs", {})
        )
    changed = ", with uncommitted changes" if git and git["dirty"] else ""
    facts = {
        "started": record["started"],
        "duration": _seconds(record),
        "profile": record["profile"],
        "device": record["device"],
        "code": git["commit"][:12] + changed if git else "not from a clone",
        "machine": f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB",
        "gpu": machine["gpu"] or "none",
        "system": f"{machine['platform']}, Python {provenance['python']}",
    }
    stale = (
        " when this page was written; see <code>workbench runs list</code>"
        if run.status == "running"
        else ""
    )
    head = HEAD.format(policy=POLICY, title=f"Run {escape(run.id)}", css=CSS)
    return (
        f"{head}<h1>Occlusion Workbench</h1><p class=soft>Run {escape(run.id)} "
        f"{_state(run.status)}{stale}</p>"
        "<table><thead><tr><th>notebook</th><th>outcome</th><th>time</th><th>executed "
        "copy</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{cards}<h2>Where this comes from</h2>{_table(facts)}"
        f"{_folded('shipped weights, sha256', provenance['weights'])}"
        f"{_folded('packages', provenance['packages'])}"
        '<p class=soft>The same as data: <a href="run.json">run.json</a></p></main></body></html>'
    )


def publish(run: Run) -> None:
    """Writes the page of every notebook that has ended since, and `index.html`, into the run
    folder.
    """
    for name, entry in run.record["notebooks"].items():
        copy, page = run.folder / "notebooks" / f"{name}.ipynb", run.folder / f"{name}.html"
        fresh = page.exists() and page.stat().st_mtime > copy.stat().st_mtime
        if entry["status"] in ("completed", "failed") and copy.exists() and not fresh:
            _write(page, notebook_page(copy, error=entry.get("error")))
    _write(run.folder / "index.html", index_page(run))


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
