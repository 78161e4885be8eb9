"""The commands as a user meets them: rows, files, and one line for what is refused."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from workbench import cli, film, predict
from workbench.cli import app, print_rows
from workbench.data.frames import open_frames
from workbench.errors import WorkbenchError
from workbench.film import write_video
from workbench.recipes import port

run = CliRunner().invoke


@pytest.fixture
def few_hands(tmp_path):
    """PORT's recipe with few hands, for the command line."""
    own = replace(port.DATA, test=101, ship=53, files=2)
    return {"port": replace(port.RECIPE, own=own, folder=tmp_path / "trained")}


def test_evaluate_prints_and_writes_its_rows(tmp_path, few_hands):
    words = ["evaluate", "port", "--data", "synthetic", "--json", str(tmp_path / "rows.json")]
    found = run(app, words, obj=few_hands)
    assert found.exit_code == 0, found.output
    assert "shrink_control" in found.output and "synthetic hands" in found.output
    written = json.loads((tmp_path / "rows.json").read_text())
    methods = {r["method"] for r in written["rows"]}
    assert written["schema_version"] == 1 and methods == {
        "detector",
        "port",
        "shrink_control",
        "shrink_control_each",
    }
    assert all(r["kind"] == "measured" and r["n"] == 101 for r in written["rows"])


def test_options_of_other_methods_are_refused():
    for words, told in (
        (["evaluate", "port", "--precision", "bf16"], "has no --precision"),
        (["evaluate", "otpose", "--precision", "half"], "choose fp32"),
        (["evaluate", "hanet", "--task", "pseudo", "--boxes", "x.json"], "has no --task, --boxes"),
        (["evaluate", "otpose", "--boxes", "x.json"], "no detector's boxes"),
        (["evaluate", "vissimcc", "--boxes", "x.json"], "no detector's boxes"),
        (["evaluate", "port", "--weights", "x.pth", "--size", "9x9"], "has no --weights, --size"),
        (["evaluate", "vissimcc", "--size", "192"], "size is '192'"),
        (["evaluate", "hanet", "--detections", "x.json"], "has no --detections"),
        (["evaluate", "port", "--skeleton", "hand21"], "name them by --detections FILE"),
        (["evaluate", "port", "--detections", "x.json"], "synthetic, not files to read"),
    ):
        with pytest.raises(WorkbenchError, match=told):
            run(app, words, catch_exceptions=False)


@pytest.mark.parametrize("width", [80, 160])
def test_a_table_keeps_every_number_on_a_narrow_terminal(capsys, width):
    names = [f"metric {i}" for i in range(12)]
    rows = [
        {
            "method": "vissimcc",
            "subset": "all joints",
            "T": 7,
            **{n: 10.25 + i for i, n in enumerate(names)},
            "n": 1482,
        },
        {
            "method": "a paper's",
            "subset": "all joints",
            "metric 0": 77.5,
            "rate": 23456.7,
            "kind": "paper",
            "seed": None,
        },
    ]
    print_rows(rows, width)
    told = capsys.readouterr().out
    assert "…" not in told and max(map(len, told.splitlines())) <= width
    assert [told.count(f"{10.25 + i:.2f}") for i in range(12)] == [1] * 12
    assert "23,457" in told and "1482" in told and "seed" not in told
    assert told.count("a paper's") == 2, "named beside its own numbers alone"


@pytest.mark.parametrize("joints", ["hand21", "coco17"])
def test_train_writes_weights_that_load(tmp_path, few_hands, joints):
    out = tmp_path / "w.safetensors"
    words = ["train", "port", "--steps", "3", "--out", str(out), "--device", "cpu"]
    found = run(app, [*words, "--skeleton", joints], obj=few_hands)
    assert found.exit_code == 0, found.output
    assert str(out) in found.output and predict.load(str(out)).skeleton.name == joints


def test_bench_sets_ours_beside_a_floor(tmp_path):
    out = tmp_path / "bench.json"
    words = ["bench", "--seconds", "0.1", "--device", "cpu", "--json", str(out)]
    found = run(app, words)
    assert found.exit_code == 0, found.output
    result = json.loads(out.read_text())
    assert {"training step", "forward", "refining, px to px"} == {r["what"] for r in result["rows"]}
    assert all(row["ratio"] > 0 and row["beside"] for row in result["rows"])
    assert "threads" in result["protocol"] and "load" in result["protocol"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["evaluate", "prot"], "did you mean 'port'"),
        (["evaluate", "port", "--data", "cooc"], "unknown data of PORT 'cooc'"),
        (["evaluate", "port", "--variants", "best"], "unknown variant of PORT 'best'"),
        (["evaluate", "port", "--device", "tpu"], "choose auto, cpu or cuda"),
        (["train", "hanett"], "unknown method 'hanett'"),
        (["bench", "--method", "prot"], "unknown benchmark 'prot'"),
        (["predict", "prot", "x.mp4"], "did you mean 'port'"),
    ],
)
def test_what_is_refused_is_named(command, said):
    found = run(app, command)
    assert isinstance(found.exception, WorkbenchError) and said in str(found.exception)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ["evaluate", "port", "--json", "{folder}"],
            "BadParameter: {folder}: is a folder. Remedy: name a file",
        ),
        (
            ["train", "port", "--steps", "1", "--out", "{folder}"],
            "BadParameter: {folder}: is a folder. Remedy: name a file",
        ),
        (["evaluate", "port", "--json", "/dev/null/x.json"], "/dev/null"),
        (["run", "start_here", "--out", "/dev/null/x"], "/dev/null"),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_the_work(tmp_path, command, said):
    words = [word.format(folder=tmp_path) for word in command]
    env = {**os.environ, "WORKBENCH_NO_TYPECHECK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "workbench", *words],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    assert (
        done.returncode == 2
        and done.stderr.count("\n") == 1
        and said.format(folder=tmp_path) in done.stderr
    )


FILES = ("refined.json", "joints.csv", "overlay.webm")


def _film(folder, n=3):
    pictures = np.random.default_rng(0).integers(0, 255, (n, 81, 103, 3), np.uint8)
    return str(write_video(folder / "film.webm", pictures))


def _results(folder, frames=(0, 1, 1, 2)):
    flat = [v for j in range(17) for v in (20 + 3 * j, 10 + 4 * j, 0.05 if j in (3, 9) else 0.9)]
    items = [
        {"image_id": f, "category_id": 1, "keypoints": flat, "score": 0.7, "mine": i}
        for i, f in enumerate(frames)
    ]
    (folder / "mine.json").write_text(json.dumps(items))
    return str(folder / "mine.json")


def test_predict_writes_video_results_and_table(tmp_path):
    out = ["--out", str(tmp_path / "out")]
    command = ["predict", "port", _film(tmp_path), "--keypoints", _results(tmp_path), *out]
    refused = run(app, [*command, "--delta", "0.1"])
    assert "--force" in str(refused.exception) and not (tmp_path / "out").exists()
    command += ["--force", "--delta", "0.1"]
    found = run(app, [*command, "--device", "cpu", "--long-side", "50"])
    assert found.exit_code == 0, found.output
    assert "replaced" in found.output and "film_overlay.webm" in found.output
    assert re.search(r"overlay: [\d.,]+ frames/s, \d+ % of the time encoding", found.output)
    assert open_frames(tmp_path / "out" / "film_overlay.webm")[0].shape == (38, 50, 3)
    lines = found.output.split()
    assert [str(tmp_path / "out" / f"film_{n}") for n in FILES] == lines[-3:]
    assert "8" in lines, "joints of four poses are replaced"


def test_overlays_are_at_most_as_large_as_films_usually_are():
    for command in (cli.predict, cli.propagate):
        assert inspect.signature(command).parameters["long_side"].default == film.LONG_SIDE
    refused = run(app, ["predict", "port", "x.mp4", "--long-side", "1"])
    assert refused.exit_code == 2 and "long-side" in refused.output


def test_predict_names_what_is_wrong(tmp_path, monkeypatch):
    film, mine = _film(tmp_path), _results(tmp_path, frames=(0, 9))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    for command, said in (
        ([film, "--keypoints", mine], "result 1: number 9 is frame 9, the video has 3"),
        (["none.mp4", "--keypoints", mine], "no such file"),
        ([film, "--keypoints", "none.json"], "no such file"),
        ([film, "--keypoints", mine, "--skeleton", "hand21"], "length 51 (63 expected)"),
        ([film], "workbench data fetch torchvision_keypointrcnn"),
        ([film, "--estimator", "simcc_res50_coco"], "workbench data fetch simcc_res50_coco"),
        ([film, "--finder", "yolo"], "unknown finder 'yolo'"),
        ([film, "--keypoints", mine, "--finder", "yolo"], "--finder beside --keypoints"),
    ):
        command = [*command, "--force"]
        found = run(app, ["predict", "port", *command, "--out", str(tmp_path / "out")])
        assert isinstance(found.exception, WorkbenchError) and said in str(found.exception), (
            found.exception
        )
    for command, said in (
        (["--keypoints", _results(tmp_path), "--skeleton", "h36m17"], "hanet has none for h36m17"),
        (["--weights", "none.safetensors"], "none.safetensors: no such weights"),
        (["--weights", "simcc_res50_coco"], "workbench data fetch simcc_res50_coco"),
        ([], "workbench data fetch torchvision_keypointrcnn"),
        (["--delta", "0.3"], "hanet has no delta"),
    ):
        found = run(app, ["predict", "hanet", film, *command, "--out", str(tmp_path / "out")])
        assert isinstance(found.exception, WorkbenchError) and said in str(found.exception), (
            found.exception
        )
    assert not (tmp_path / "out").exists()


def test_options_out_of_range_are_refused():
    for command in (
        ["evaluate", "port", "--seed", "-3"],
        ["run", "--all", "--cell-timeout", "0"],
        ["lab", "--port", "0"],
    ):
        assert run(app, command).exit_code == 2


def test_the_program_itself_ends_in_one_line_and_exit_2():
    env = {**os.environ, "WORKBENCH_NO_TYPECHECK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli", "evaluate", "prot"],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(
        "UnknownName: unknown method 'prot'. Remedy:"
    )


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        ([], {"torch", "numpy", "pandas", "scipy", "cv2", "pydantic"}),
        (["--help"], {"torch", "numpy", "pandas", "scipy", "cv2", "pydantic", "rich"}),
        (["data", "list"], {"torch", "pandas", "scipy", "cv2"}),
    ],
)
def test_what_works_without_a_library_loads_none(arguments, unneeded):
    code = f"""
import sys, workbench, workbench.cli
sys.argv = ["workbench", *{arguments}]
try:
    workbench.cli.main() if {arguments} else None
except SystemExit as end:
    assert not end.code
print("loaded:", {unneeded} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: set()"


def test_help_lists_commands_with_whole_sentences():
    said = " ".join(run(app, ["--help"]).stdout.split())
    assert "runs Earlier runs: list, show, verify, compare, rerun, export." in said
    assert "a table of all joints. propagate Carry the labels of" in said
    assert "..." not in said.partition("Commands:")[2]
