from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import BadParameter
from workbench.view import notebook, tools


@pytest.fixture
def shown(monkeypatch):
    caught = []
    monkeypatch.setattr(notebook, "display", lambda thing, raw=False: caught.append(thing))
    return caught


def test_setup_says_what_is_here(shown):
    here = notebook.setup(device="cpu", profile="full", seed=3, data=["synthetic"])
    assert here.device == "cpu" and here.full and here.seed == 3
    text = shown[0].data
    for word in ("torch", "cpu", "made on the spot", "port_hand21_synthetic", "full"):
        assert word in text
    line = text[: text.index("</summary>")]
    assert line.startswith("<details><summary><b>Ready.</b> cpu (") and "profile full" in line
    assert "torch" not in line, "details are folded"
    assert here.rng.random() == np.random.default_rng(3).random()


def test_setup_names_what_is_missing_in_its_one_line(shown, monkeypatch):
    monkeypatch.setattr(notebook, "SHOWN", ["numpy", "no<such>package"])
    notebook.setup(device="cpu")
    line = shown[0].data.partition("</summary>")[0]
    assert "Not ready: no&lt;such&gt;package missing." in line and "numpy" not in line


def test_the_tools_of_figures_show_nothing_of_themselves(monkeypatch):
    caught = []
    monkeypatch.setattr(tools, "display", lambda bundle, raw: caught.append(bundle))
    notebook.setup(device="cpu")
    (bundle,) = caught
    assert bundle.pop("application/vnd.jupyter.widget-view+json")
    assert set(bundle.values()) == {""}


@pytest.mark.parametrize("bad", [{"profile": "quick"}, {"device": "tpu"}])
def test_setup_refuses_by_name(shown, bad):
    with pytest.raises(BadParameter, match="choose"):
        notebook.setup(**bad)


def test_report_leaves_metrics_for_the_run(shown, tmp_path):
    (tmp_path / "w").write_bytes(b"abc")
    notebook.report(
        {"epe": np.float32(1.5), "gone": float("nan")},
        protocol="two hands, PCK@0.05",
        inputs=[tmp_path / "w"],
    )
    bundle = shown[0][notebook.METRICS]
    assert (
        bundle["epe"] == 1.5
        and bundle["gone"] is None
        and bundle["protocol"] == "two hands, PCK@0.05"
    )
    assert bundle["inputs"]["w"].startswith("ba7816bf")
    assert "two hands, PCK@0.05" in shown[0]["text/html"], "neither markup nor a mail address"


def test_tables_round_and_leave_gaps(shown):
    notebook.table([{"a": 1.23456, "b": "x"}, {"a": None, "b": "y"}], "caption", digits=2)
    page = shown[0].to_html()
    assert (
        "1.23" in page
        and "1.2345" not in page
        and "nan" not in page.lower().replace("nan_", "")
        and "caption" in page
    )


def test_paper_rows_are_marked_as_the_paper_s(shown):
    notebook.paper_table("port", "Table II")
    page = shown[0].to_html()
    assert "(paper)" in page and ">63.6<" in page and "parameters million" in page, (
        "digits as the paper has them"
    )
    notebook.paper_table("stdpose", "Table 4")
    page = shown[1].to_html()
    assert ">90.9<" in page and ">7<" in page and "7.0<" not in page.replace("16.7", ""), (
        "T is a whole number"
    )
