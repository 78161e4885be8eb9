"""What every figure gets, in JupyterLab and in a run's pages: the reader's theme, and a bar
that saves it as SVG, as PNG with 300 dpi, or its numbers as CSV.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
from IPython.display import display

from . import style

MODULE = "\n".join(
    Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("pens.js", "tools.js")
)
CSS = "\n".join(
    (
        style.css_variables(":is(.wb-sheet, .js-plotly-plot)"),
        style.plotly_css(),
        Path(__file__).with_name("tools.css").read_text(encoding="utf-8"),
    )
)
PLOTLY_MIME = "application/vnd.plotly.v1+json"
# The bar saves pictures in print quality; plotly's own camera does not.
CONFIG = {
    "showSendToCloud": False,
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["toImage"],
}


class FigureTools(anywidget.AnyWidget):
    """Takes no room; while it is shown, all figures of JupyterLab's page have the bar."""

    _esm = MODULE
    _css = CSS


def show_tools() -> None:
    """Displays the widget; a copy without a kernel shows nothing in its place."""
    bundle = FigureTools()._repr_mimebundle_()
    widget = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
    display({**widget, "text/html": "", "text/plain": ""}, raw=True)


def page_tools() -> str:
    """The same for a page without a kernel, as HTML for its end."""
    module = MODULE.replace("export default", "const tools =")
    return f'<style>{CSS}</style><script type="module">{module}tools.render();</script>'
