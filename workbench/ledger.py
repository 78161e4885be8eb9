"""`papers.yaml`: what of each paper stands where, which test pins it, where it is shown, and
what was not run.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import BadFile, unknown

PATH = Path(__file__).with_name("papers.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Item(_Strict):
    """An equation, table or figure.

    symbol: "workbench.module:Name" that implements it. test: "tests/path.py::name" that pins it.
    shown: a notebook cell ("notebooks/02_port.ipynb#cell-id") or a command ("workbench ...").
    status, by kind: equations are `implemented` or a mere `definition`; tables and figures are
    `reproduced` on the paper's own data, shown in `direction` only (note says on what), `waiting`
    for data that the user must bring, or an `illustration`.
    """

    name: str
    title: str
    status: Literal[
        "implemented", "definition", "reproduced", "direction", "waiting", "illustration"
    ]
    symbol: str | None = None
    test: str | None = None
    shown: str | None = None
    needs: str | None = None
    note: str | None = None
    rows: list[dict[str, Any]] = []


class Erratum(_Strict):
    """Where the paper and its released code, or the paper and itself, disagree; what we follow,
    and why.
    """

    where: str
    says: str
    follow: str


class Paper(_Strict):
    title: str
    authors: str
    venue: str
    equations: list[Item] = []
    tables: list[Item] = []
    figures: list[Item] = []
    errata: list[Erratum] = []
    choices: list[str] = []  # where the paper is silent

    def table(self, name: str) -> Item:
        """A table by its name in the paper."""
        for item in self.tables:
            if item.name == name:
                return item
        raise unknown("table", name, [t.name for t in self.tables])


class Ledger(_Strict):
    schema_version: Literal[1]
    papers: dict[str, Paper]


@cache
def ledger() -> Ledger:
    """The whole ledger, checked against its schema."""
    try:
        return Ledger.model_validate(yaml.safe_load(PATH.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise BadFile(f"the ledger breaks its schema: {error}", file=PATH) from None


def paper(key: str) -> Paper:
    """One paper by its short name."""
    papers = ledger().papers
    if key not in papers:
        raise unknown("paper", key, papers)
    return papers[key]
