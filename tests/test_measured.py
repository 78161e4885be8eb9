"""RESULTS.md is what its rows say."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from workbench import cli, measured
from workbench.errors import BadFile, BadParameter, MissingFile

LINE = {
    "method": "port",
    "subset": "all joints",
    "kind": "measured",
    "seed": 0,
    "n": 1482,
    "metrics": {"oks": 56.18},
    "intervals": {"oks": [48.82, 66.33]},
    "against": {"plain": {"oks": {"rival": "plain", "difference": 2, "interval": [1.04, 3]}}},
    "paired": {"oks": {"rival": "detector", "difference": 0.12, "interval": [-0.46, 0.61]}},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rows").mkdir()
    other = LINE | {"subset": "occluded joints", "metrics": {"oks": 36.5}}
    paper = LINE | {"kind": "paper"}
    (tmp_path / "rows" / "one.json").write_text(json.dumps({"rows": [LINE, other, paper]}))
    return tmp_path


def template(folder, text):
    (folder / measured.TEMPLATE).write_text(text)
    return measured.rendered(folder)


def test_numbers_are_those_of_the_row(folder):
    ask = 'row("one", method="port", subset="all joints")'
    text = template(
        folder,
        f'{{{{ {ask}.n }}}}: {{{{ {ask}.interval("oks") }}}}, {{{{ {ask}.paired("oks", 2) }}}}\n',
    )
    assert text == "1,482: 56.2 [48.8, 66.3], +0.12 [-0.46, +0.61]\n"
    assert template(folder, f'{{{{ {ask}.change("oks") }}}}') == "+56.2 [+48.8, +66.3]"
    assert template(folder, f'{{{{ {ask}.against("plain", "oks") }}}}') == "+2.0 [+1.0, +3.0]"


def test_seeds_stand_one_by_one_or_as_their_mean(folder):
    for name, first in (("a", 0), ("b", 2)):
        lines = [LINE | {"seed": first + i, "metrics": {"oks": 50 + first + i}} for i in (1, 0)]
        (folder / "rows" / f"{name}.json").write_text(json.dumps({"rows": lines}))
    ask = 'seeds(["b", "a"], method="port")'
    assert template(folder, f'{{{{ {ask}.values("oks", 0) }}}}') == "50, 51, 52, 53"
    assert template(folder, f'{{{{ {ask}.mean("oks") }}}}') == "51.5 (50.0 to 53.0)"
    assert template(folder, f'{{{{ {ask}.paired("oks") }}}}').count("+0.1 [-0.5, +0.6]") == 4
    assert template(folder, '{{ seeds("a", seed=1).mean("oks") }}') == "51.0"
    assert template(folder, '{{ seeds("a").count }}') == "2"


@pytest.mark.parametrize(
    "ask, error, words",
    [
        ('row("two", method="port")', MissingFile, "two.json"),
        ('row("one", method="port")', BadParameter, "2 rows with method = port"),
        ('row("one", method="hanet")', BadParameter, "0 rows"),
        ('row("one", subset="all joints").value("ap")', BadParameter, "known: oks"),
        ('row("one", subset="occluded joints").interval("ap")', BadParameter, "no intervals"),
        ('seeds("one", method="hanet")', BadParameter, "0 rows"),
        ('seeds(["one", "one"], subset="all joints")', BadParameter, "one a seed"),
        ('row("one", subset="all joints").against("port", "oks")', BadParameter, "known: plain"),
        ('row("one", subset="all joints").against("plain", "ap")', BadParameter, "against plain"),
        ("unknown", BadFile, "unknown"),
        ("{", BadFile, "RESULTS.md.j2"),
    ],
)
def test_what_no_row_says_is_an_error(folder, ask, error, words):
    with pytest.raises(error, match=words):
        template(folder, f"{{{{ {ask} }}}}")
    (folder / "rows" / "one.json").write_text("[]")
    if error is BadParameter:
        with pytest.raises(BadFile, match="not what evaluate --json writes"):
            template(folder, f"{{{{ {ask} }}}}")


def test_results_in_the_tree_are_what_the_rows_say(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    told = CliRunner().invoke(cli.app, ["results", "--check"])
    assert told.exit_code == 0, "run `workbench results`"
    out = tmp_path / "mine.md"
    assert CliRunner().invoke(cli.app, ["results", "--out", str(out)]).exit_code == 0
    assert out.read_text() == (ROOT / "RESULTS.md").read_text()
    out.write_text(out.read_text() + "by hand\n")
    wrong = CliRunner().invoke(cli.app, ["results", "--check", "--out", str(out)])
    assert isinstance(wrong.exception, BadFile)
