from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from workbench.cli import app, main
from workbench.data import manifest as m


def run(*args):
    return CliRunner().invoke(app, ["data", *args])


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(m.pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.delenv("WORKBENCH_DATA", raising=False)


def test_list_says_what_is_here():
    result = run("list")
    assert result.exit_code == 0 and "synthetic" in result.stdout and "needs no" in result.stdout
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)["data"]}
    assert rows["synthetic"]["present"] and not rows["port_panoptic"]["present"]
    assert "non-commercial" in rows["port_panoptic"]["licence"]


def test_show_prints_the_manifest():
    assert "sha256: 71d382267e15f367" in run("show", "port_panoptic").stdout
    assert json.loads(run("show", "synthetic", "--json").stdout)["kind"] == "synthetic"


def test_verify_exits_1_where_something_is_missing(tmp_path):
    result = run("verify", "port_panoptic")
    assert result.exit_code == 1 and "missing" in result.stdout
    assert run("verify", "synthetic").exit_code == 0
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "panoptic_test.json").write_text("{}")
    result = run("verify", f"port_panoptic:{tmp_path}", "--json")
    files = {f["path"].rsplit("/", 1)[1]: f["status"] for f in json.loads(result.stdout)["files"]}
    assert result.exit_code == 1 and files["panoptic_test.json"] == "mismatch"
    assert files["mobilenetv2_panoptic_256x256_test.pkl"] == "missing"


def test_fetch_of_nothing():
    result = run("fetch", "synthetic")
    assert result.exit_code == 0 and "nothing to fetch" in result.stdout


def test_an_unknown_name_is_one_line_and_exit_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["workbench", "data", "show", "port_panoptc"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.strip().endswith("did you mean 'port_panoptic'?")


@pytest.mark.realdata
def test_the_shared_hands_verify(data_root, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(data_root))
    assert run("verify", "port_panoptic").exit_code == 0
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)["data"]}
    assert rows["port_panoptic"]["place"] == str(data_root / "port_panoptic")
