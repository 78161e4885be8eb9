"""A run again: the same bits, what is not the same around it, and what a colleague can open."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.notebooks import write_notebook
from workbench import cli, provenance
from workbench.errors import BadParameter, Taken
from workbench.reruns import differences, export, figures, rerun, verify, write_comparison
from workbench.runs import load_run, run_notebooks

pytestmark = pytest.mark.notebook
CELLS = """import numpy as np
import matplotlib.pyplot as plt
rng = np.random.default_rng(seed)
values = rng.random(5) * scale
plt.plot(values); plt.show()
shown = {"mean": float(values.mean()), "part": {"n": n}, "inputs": {"a.npz": "ab"}}
display({'application/x.workbench.metrics+json': shown}, raw=True)"""
PARAMETERS = "n = 3\nscale = 1.0\nseed = 0\nprofile = 'fast'"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Notebooks, and one run of them with n = 5."""
    source = tmp_path_factory.mktemp("reruns") / "notebooks"
    source.mkdir()
    write_notebook(source / "01_good.ipynb", CELLS, parameters=PARAMETERS)
    write_notebook(source / "02_bad.ipynb", "1 / 0", parameters="n = 5")
    options = {"source": source, "out": source.parent / "runs", "progress": False}
    run = run_notebooks(["good", "bad"], {"n": 5}, **options)
    return run, options


def test_a_record_holds_what_a_repeat_needs(place):
    run, options = place
    entry, origin = run.record["notebooks"]["01_good"], run.record["provenance"]
    assert len(entry["source_sha256"]) == 64
    assert origin["threads"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert {"weights", "trained", "data", "packages", "git"} <= origin.keys()
    before = provenance.sha256_of_source(options["source"] / "01_good.ipynb")
    assert entry["source_sha256"] == before
    copy = run.folder / "notebooks" / "01_good.ipynb"
    assert provenance.sha256_of_source(copy) != before  # has the parameters' cell


def test_what_is_not_committed_is_in_the_record(tmp_path):
    import subprocess

    (tmp_path / "a.py").write_text("a = 1\n")
    for command in ("init -q", "add .", "commit -q -m x"):
        git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", *command.split()]
        subprocess.run(git, cwd=tmp_path, check=True)
    assert provenance._git(tmp_path)["dirty"] is False
    (tmp_path / "a.py").write_text("a = 2\n")
    told = provenance._git(tmp_path)
    assert told["dirty"] and "+a = 2" in told["diff"] and len(told["diff_sha256"]) == 64


def test_a_data_set_is_known_by_what_it_holds(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"same")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    ids = provenance.provenance()["data"]
    assert ids["a"] == ids["b"]
    (tmp_path / "b" / "x").write_bytes(b"Same")
    assert provenance.provenance()["data"]["b"] != ids["b"]


def test_a_repeat_is_bit_equal_here_and_says_so(place):
    run, options = place
    found = verify(run, **options)
    assert found.same_bits and found.holds and found.repeat.id != run.id
    assert {check.metric: check.status for check in found.checks} == {
        "mean": "same",
        "part.n": "same",
    }
    assert found.differs == {}
    told = CliRunner().invoke(cli.app, ["runs", "verify", "nobody", "--out", str(options["out"])])
    assert "unknown run" in str(told.exception)


@pytest.mark.parametrize(("factor", "elsewhere", "holds"), [
    (1 + 1e-5, False, False),  # the same machine owes the same bits
    (1 + 1e-5, True, True),
    (1.01, True, False),
])  # fmt: skip
def test_other_numbers_are_seen(place, tmp_path, factor, elsewhere, holds):
    """As if the run were older: its record says another number, or another processor."""
    run, options = place
    out = tmp_path / "runs"
    shutil.copytree(run.folder, out / run.id)
    record = json.loads((out / run.id / "run.json").read_text())
    record["notebooks"]["01_good"]["metrics"]["mean"] *= factor
    if elsewhere:
        record["provenance"]["hardware"]["cpu"] = "another"
    (out / run.id / "run.json").write_text(json.dumps(record))
    found = verify(load_run(run.id, out), **{**options, "out": out})
    assert (found.same_bits, found.holds) == (not elsewhere, holds)
    assert ("hardware" in found.differs) == elsewhere
    assert [c.status for c in found.checks if c.metric == "mean"] == [
        "close" if factor < 1.001 else "differs"
    ]


def test_changed_code_is_named(place, tmp_path):
    run, options = place
    source = tmp_path / "notebooks"
    shutil.copytree(options["source"], source)
    write_notebook(source / "01_good.ipynb", CELLS + "\n# more", parameters=PARAMETERS)
    found = verify(run, **{**options, "source": source})
    assert found.holds and list(found.differs) == ["code"] and "01_good" in found.differs["code"]


def test_a_run_with_one_parameter_changed(place):
    run, options = place
    again = rerun(run, {"scale": 2.0}, **options)
    entry = again.record["notebooks"]["01_good"]
    assert (entry["parameters"]["n"], entry["parameters"]["scale"]) == (5, 2.0)
    before = run.record["notebooks"]["01_good"]["metrics"]["mean"]
    assert entry["metrics"]["mean"] == pytest.approx(2 * before)
    with pytest.raises(BadParameter, match="scale=wide"):
        rerun(run, {"scale": "wide"}, **options)


def test_runs_stand_side_by_side(place, tmp_path):
    run, options = place
    again = rerun(run, {"scale": 2.0}, **options)
    ids, out = [run.id, again.id], ["--out", str(options["out"])]
    page = tmp_path / "page.html"
    told = CliRunner().invoke(cli.app, ["runs", "compare", *ids, *out, "--html", str(page)])
    assert told.exit_code == 0, told.output
    assert "01_good.mean" in told.output and "01_good.scale" in told.output
    assert "numpy" not in told.output  # no version differs
    text = page.read_text()
    assert text.count("<img") == 2 and "<script" not in text and "01_good.mean" in text
    assert len(figures(run, "01_good")) == 1
    with pytest.raises(Taken):
        write_comparison([run, again], page)
    with pytest.raises(BadParameter, match="one run alone"):
        write_comparison([run], tmp_path / "other.html")


def test_an_export_opens_elsewhere(place, tmp_path):
    run, _ = place
    path = export(run, tmp_path / "run.zip")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pins = archive.read(f"{run.id}/requirements.txt").decode()
    assert {f"{run.id}/run.json", f"{run.id}/notebooks/01_good.ipynb"} <= set(names)
    assert f"numpy=={np.__version__}\n" in pins
    assert not any(Path(name).name.startswith(".") for name in names)
    with pytest.raises(Taken):
        export(run, path)


def test_trees_are_compared_leaf_by_leaf():
    one = {"a": {"b": 1, "c": [1, 2]}, "d": None}
    assert differences(one, {"a": {"b": 1, "c": [1, 3]}}) == {"a.c.1": (2, 3)}
    assert differences(one, one) == {}
