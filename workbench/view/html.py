"""A run as HTML that needs nothing but the file itself: executed notebooks, and the index of the run folder.

Figures are drawn by one plotly.js inside the page, formulas are MathML, widgets show the static twin that was displayed
with them. A content security policy in every page forbids the browser any request, whatever an output contains.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import nbformat
import plotly.io as pio
from latex2mathml.converter import convert
from latex2mathml.exceptions import (
    DenominatorNotFoundError,
    DoubleSubscriptsError,
    DoubleSuperscriptsError,
    ExtraLeftOrMissingRightError,
    InvalidAlignmentError,
    InvalidStyleForGenfracError,
    InvalidWidthError,
    LimitsMustFollowMathOperatorError,
    MissingEndError,
    MissingSuperScriptOrSubscriptError,
    NoAvailableTokensError,
    NumeratorNotFoundError,
)
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from plotly.offline import get_plotlyjs

from ..runs import METRICS_MIME, Run
