"""Formulas as MathML, which browsers show without a script."""

from __future__ import annotations

import re
from html import escape, unescape
from xml.etree.ElementTree import tostring

from latex2mathml import exceptions as latex_exceptions
from latex2mathml.converter import convert_to_element

from . import style

LATEX_ERRORS = tuple(kind for kind in vars(latex_exceptions).values() if isinstance(kind, type))
ROLES = {*style.ROLES["light"], *style.PAPER["light"]}
LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}


def formula(latex: str, *, block: bool = False) -> str:
    """LaTeX as MathML; what the converter does not know stays visible as its source.

    A term whose colour is a role's, \\color{hidden}{M}, has that role's colour in both themes.
    """
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
        if element.get("mathcolor") in ROLES:
            role = element.attrib.pop("mathcolor").replace("_", "-")
            element.set("style", f"color: var(--wb-{role})")
    mathml = tostring(root, encoding="unicode", short_empty_elements=False)
    return f"<code>{escape(latex)}</code>" if "\\" in mathml else mathml
