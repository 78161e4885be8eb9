"""What all widgets share: the newest input supersedes what waits, and the same module draws in a
page without a kernel.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from IPython.display import display

from ..errors import BadParameter, unknown
from ..resources import RUNS
from . import style

PAGE = "application/x.workbench.page+html"  # what a run's page takes of an output
FILES = ("pens.js", "maps.js", "attention.js", "panels.js", "explorer.js", "teach.js")
MODULE = "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in FILES)
CSS = "\n".join(
    (
        style.css_variables(".workbench-view"),
        Path(__file__).with_name("view.css").read_text(encoding="utf-8"),
    )
)
# of pages: no browser asks anybody for anything, whatever they hold
POLICY = (
    "default-src 'none'; script-src {}; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data: blob:; font-src data:; worker-src blob:"
)
SCRIPT = re.compile(r"<script(?![^>]*application/json)[^>]*>(.*?)</script>", re.S)
PLACE = """
const place = document.querySelector('[data-view="%s"]:empty');
mount(storedModel(JSON.parse(place.nextElementSibling.textContent)), place);
"""


def policy(*ours: str) -> str:
    """A page's policy: the scripts in these pieces of it run, known by their sums, and nothing
    else that files or outputs hold; no handler does. (plotly makes functions of text.)
    """
    sums = (hashlib.sha256(s.encode()).digest() for piece in ours for s in SCRIPT.findall(piece))
    names = dict.fromkeys(f"'sha256-{base64.b64encode(one).decode()}'" for one in sums)
    return POLICY.format(" ".join((*names, "'unsafe-eval'")) if names else "'none'")


def read_state(state: Mapping | str) -> dict:
    """A state, or the text of one, as JSON alone: lists for tuples and arrays, no NaN.
    `BadParameter` where it is none.
    """

    def plain(value: object) -> object:
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} in it")

    try:
        given = json.loads(state) if isinstance(state, str) else state
        if not isinstance(given, Mapping):
            raise TypeError(f"{type(given).__name__}, names and values expected")
        return json.loads(json.dumps(dict(given), default=plain, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        remedy = 'give what "copy state" or permalink() gave'
        raise BadParameter(f"the state cannot be read: {error}", remedy=remedy) from None


class Live(anywidget.AnyWidget):
    """A widget that a page can hold. `live` is False there."""

    _esm = f"{MODULE}\nexport default {{ render: ({{ model, el }}) => mount(model, el) }};"
    _css = CSS

    _waiting = None

    theme = traitlets.Unicode().tag(sync=True)
    live = traitlets.Bool(True).tag(sync=True)
    asked = traitlets.Int(0).tag(sync=True)
    answered = traitlets.Int(0).tag(sync=True)

    def __init__(self, *, theme: str = "", **traits):
        if theme not in ("", *style.ROLES):
            raise unknown("theme", theme, style.ROLES)
        super().__init__(theme=theme, **traits)

    def soon(self) -> None:
        """Answers at once in plain Python. Where an event loop runs, input that waits is let in
        first, so that only the newest is answered.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.recompute()
            return
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = loop.call_later(0.02, self.recompute)

    def recompute(self) -> None:
        """Answers the present state."""
        raise NotImplementedError

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        super().close()

    # --- without a kernel -------------------------------------------------------------------------

    def kept(self) -> dict:
        """Everything that the page needs, bytes apart: {"values": ..., "bytes": ...}."""
        skipped = {"layout", "tabbable", "tooltip", "live", "_esm", "_css", "attention"}
        values, raw = {}, {}
        for name in self.keys:
            if name in skipped or name.startswith("_"):
                continue
            value = getattr(self, name)
            if isinstance(value, bytes):
                raw[name] = base64.b64encode(value).decode()
            else:
                values[name] = value
        return {"values": values, "bytes": raw}

    def figure(self):
        """What is shown now, as matplotlib's figure, for `paper.save`."""
        raise NotImplementedError

    def png(self) -> bytes:
        """What viewers without scripts show; empty where a page has no room for it."""
        from . import paper  # matplotlib takes its time, and few need it

        try:
            return paper.png(self.figure())
        except BadParameter:
            return b""

    def fragment(self) -> str:
        """The view as HTML that stands anywhere in a page: module, styles and arrays inside. What
        needs a kernel says so.
        """
        text = json.dumps(self.kept(), ensure_ascii=True).replace("<", "\\u003c")
        place = hashlib.sha256(text.encode()).hexdigest()[:16]
        return (
            f"<style>{CSS}</style>"
            f'<div class="workbench-view-page" data-view="{place}"></div>'
            f'<script type="application/json">{text}</script>'
            f'<script type="module">{MODULE}{PLACE % place}</script>'
            f"<noscript>{self.without_scripts()}</noscript>"
        )

    def without_scripts(self) -> str:
        """HTML that stands in the view's place where a browser runs no scripts."""
        return "<p>This view needs scripts, which this browser does not run.</p>"

    def page(self, title: str = "Occlusion Workbench") -> str:
        """One self-contained HTML page that asks nobody for anything; its policy forbids it to."""
        theme, fragment = f' data-theme="{self.theme}"' if self.theme else "", self.fragment()
        return (
            f'<!DOCTYPE html>\n<html lang="en"{theme}><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy(fragment)}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title>'
            f"<style>{style.css_variables()}\nbody {{ margin: 0; background: var(--wb-paper); }}"
            f"</style></head><body>{fragment}</body></html>\n"
        )

    def show(self) -> None:
        """Displays the widget; viewers without a kernel show a picture. Executed by `workbench run`
        the output also holds the page that goes on answering, which takes a while to store.
        """
        bundle = self._repr_mimebundle_()
        widget = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
        if RUNS in os.environ:
            widget |= {PAGE: self.fragment(), **self.slides()}
        display(widget | self.twin(), raw=True)

    def slides(self) -> dict[str, dict]:
        """By type what a gallery shows: `paper.slides`."""
        return {}

    def twin(self) -> dict[str, str]:
        """By type what viewers without a kernel and scripts show."""
        picture = self.png()
        return {"image/png": base64.b64encode(picture).decode()} if picture else {}
