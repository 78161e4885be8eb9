from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from typer.testing import CliRunner

from tests.notebooks import write_notebook
from workbench import cli, provenance, runs
from workbench.errors import BadFile, BadParameter, Busy, UnknownName
from workbench.outputs import alone
from workbench.runs import (
    check_parameters,
    find_notebook,
    lab_command,
    load_run,
    resume_run,
    run_notebooks,
)

PARAMETERS = """n = 3
scale = 0.5  # px
name = 'a'
flag = False
sizes = [2, 3]
limit = None
seed = 11
profile = 'fast'"""
METRICS = "display({'application/x.workbench.metrics+json': %s}, raw=True)"


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "the notebooks"
    folder.mkdir()
    write_notebook(
        folder / "01_good.ipynb",
        "# Good",
        METRICS % "{'twice': 2 * n, 'profile': profile}",
        METRICS % "{'bad': [float('nan'), 1.5], 'inputs': {'hands.npz': 'ab'}}",
        parameters=PARAMETERS,
    )
    write_notebook(
        folder / "02_bad.ipynb", "print('before')", "1 / 0", "print('after')", parameters="n = 5"
    )
    return folder


def _run(source, *names, **options):
    return run_notebooks(
        names,
        options.pop("given", None),
        source=source,
        out=source / "runs",
        progress=False,
        **options,
    )


# --- before anything starts


def test_names_are_found_short_or_whole(source):
    assert [find_notebook(name, source) for name in ("good", "01_good", "01_good.ipynb")] == [
        "01_good"
    ] * 3
    with pytest.raises(UnknownName, match="did you mean '01_good'"):
        find_notebook("01_god", source)


def test_text_takes_the_type_of_the_default(source):
    text = {
        "n": "7",
        "scale": "2",
        "name": "7",
        "flag": "true",
        "sizes": "[5]",
        "limit": "none at all",
    }
    typed = check_parameters(source / "01_good.ipynb", text)
    assert typed == {
        "n": 7,
        "scale": 2.0,
        "name": "7",
        "flag": True,
        "sizes": [5],
        "limit": "none at all",
    }
    assert type(typed["scale"]) is float


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("n", "2.5", "int"),
        ("n", True, "int"),
        ("scale", "wide", "float"),
        ("scale", "1e999", "float"),
        ("scale", "9" * 400, "float"),
        ("n", "-" * 50_000 + "1", "int"),
        ("scale", float("nan"), "float"),
        ("name", 5, "str"),
        ("name", Path("a"), "str"),
        ("flag", "1", "bool"),
        ("sizes", "5", "list"),
        ("sizes", "[1e999]", "list"),
        ("limit", "{1, 2}", "NoneType"),
    ],
)
def test_ill_typed_parameters_are_refused_with_notebook_and_type(source, name, value, expected):
    with pytest.raises(BadParameter, match=f"01_good, {name}=.*expected {expected}"):
        check_parameters(source / "01_good.ipynb", {name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"given": {"sead": 1}}, "01_good, sead: unknown parameter .* did you mean 'seed'"),
        ({"given": {"profile": "full"}}, "use --profile full"),
        ({"given": {"seed": "-1"}}, "01_good, seed=-1: a seed is an integer from 0"),
        ({"profile": "quick"}, "none of fast, full, paper"),
        ({"device": "tpu"}, "none of auto, cpu, cuda"),
    ],
)
def test_a_refused_run_leaves_nothing(source, options, message):
    with pytest.raises(BadParameter, match=message):
        _run(source, "good", **options)
    assert not (source / "runs").exists()


def test_no_notebook_is_no_run(source):
    with pytest.raises(BadParameter, match="no notebook to run"):
        _run(source)


def test_a_parameter_that_is_no_literal_is_refused(source):
    path = write_notebook(source / "03_odd.ipynb", parameters="n = max(1, 2)")
    with pytest.raises(BadFile, match="not a literal"):
        check_parameters(path, {})


def test_files_that_cannot_run_as_notebooks_are_named(source):
    path = write_notebook(source / "03_odd.ipynb", parameters="n = 1")
    no_kernel = json.loads(path.read_text()) | {"metadata": {}}
    for text in ("", "{", "[]", "{}", json.dumps(no_kernel)):
        path.write_text(text)
        with pytest.raises(BadFile, match=r"03_odd\.ipynb: not a notebook that can be run"):
            _run(source, "odd")


# --- executed


@pytest.mark.notebook
def test_a_run_keeps_going_past_a_failure_and_records_everything(source):
    seen = []
    run = _run(
        source,
        "bad",
        "good",
        given={"n": "4"},
        profile="full",
        report=lambda r: seen.append(r.status),
    )
    record = json.loads((run.folder / "run.json").read_text())
    assert (run.status, record["status"], run.left) == ("failed", "failed", ["02_bad"])
    assert seen == ["running", "running", "running", "failed"]
    good, bad = record["notebooks"]["01_good"], record["notebooks"]["02_bad"]
    assert good["metrics"] == {"twice": 8, "profile": "full", "bad": [None, 1.5]}
    assert good["inputs"] == {"hands.npz": "ab"}
    assert (good["status"], good["seed"], good["parameters"]["n"], good["parameters"]["scale"]) == (
        "completed",
        11,
        4,
        0.5,
    )
    assert (bad["status"], bad["error"]["type"]) == ("failed", "ZeroDivisionError")
    partial = nbformat.read(run.folder / "notebooks" / "02_bad.ipynb", 4)
    assert "before" in str(partial)
    assert not [c for c in partial.cells if c.source == "print('after')" and c.outputs]
    provenance = record["provenance"]
    assert provenance["packages"]["papermill"]
    assert provenance["python"] == ".".join(map(str, sys.version_info[:3]))
    assert provenance["hardware"]["cores"] >= 1
    assert provenance["git"] is None or len(provenance["git"]["commit"]) == 40


@pytest.mark.notebook
def test_kernels_see_the_run_folder_the_package_and_inline_figures(source, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    write_notebook(
        source / "03_where.ipynb",
        "import os, workbench, matplotlib.pyplot as plt\nplt.plot([1, 2])",
        METRICS % "{'cwd': os.getcwd(), 'package': workbench.__file__}",
    )
    run = _run(source, "where")
    metrics = run.record["notebooks"]["03_where"]["metrics"]
    assert metrics == {
        "cwd": str(run.folder / "notebooks"),
        "package": str(Path(runs.__file__).parent / "__init__.py"),
    }
    assert "image/png" in str(nbformat.read(run.folder / "notebooks" / "03_where.ipynb", 4))
    assert os.environ["MPLBACKEND"] == "agg"


@pytest.mark.notebook
def test_a_slow_cell_and_a_dead_kernel_are_failures(source):
    write_notebook(source / "03_slow.ipynb", "import time\ntime.sleep(30)")
    write_notebook(source / "04_dead.ipynb", "import os\nos._exit(3)")
    entries = _run(source, "slow", "dead", cell_timeout_s=1).record["notebooks"]
    assert [(e["status"], e["error"]["type"]) for e in entries.values()] == [
        ("failed", "CellTimeoutError"),
        ("failed", "DeadKernelError"),
    ]


@pytest.mark.notebook
def test_metrics_that_are_no_object_and_named_errors_are_failures_in_words(source):
    write_notebook(source / "03_list.ipynb", METRICS % "[1]")
    write_notebook(
        source / "04_named.ipynb",
        "from workbench.errors import BadParameter\nraise BadParameter('n is 0')",
    )
    entries = _run(source, "list", "named").record["notebooks"]
    listed, named = (entry["error"] for entry in entries.values())
    assert (
        listed["type"] == "BadFile"
        and "cell 0: displayed metrics and their inputs must be objects" in listed["message"]
    )
    assert (named["type"], named["message"]) == ("BadParameter", "n is 0")


@pytest.mark.notebook
def test_a_killed_run_says_what_is_left_and_resumes(source, tmp_path):
    """The second notebook waits for a file, so that the kill lands between the first one's end
    and its own.
    """
    flag = tmp_path / "flag"
    write_notebook(
        source / "02_bad.ipynb",
        f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(.05)",
    )
    call = f"run_notebooks(['good', 'bad'], {{'n': 2}}, source=Path({str(source)!r}), out='runs')"
    code = f"from workbench.runs import *; {call}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    out = tmp_path / "runs"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.05)
        found = runs.list_runs(out)
        if found and found[0].record["notebooks"]["02_bad"]["status"] == "running":
            break
    assert found[0].status == "running"
    with pytest.raises(BadParameter, match="still running"):
        resume_run(found[0].id, out=out, source=source, progress=False)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = load_run(found[0].id, out)
    assert (run.status, run.left) == ("interrupted", ["02_bad"])
    listed = CliRunner().invoke(cli.app, ["runs", "list", "--out", str(out)])
    assert f"{run.id}  interrupted 1/2  left: 02_bad" in listed.output
    with alone(run.folder / "run.json", "this run"), pytest.raises(Busy, match="this run by"):
        resume_run(run.id, out=out, source=source, progress=False)
    flag.touch()
    first = run.record["notebooks"]["01_good"]
    done = resume_run(run.id, out=out, source=source, progress=False)
    assert done.status == "completed"
    assert done.record["notebooks"]["01_good"] == first
    assert done.record["earlier"][0]["process"]["pid"] == process.pid
    assert done.record["notebooks"]["02_bad"]["status"] == "completed"
    assert [entry["start"] for entry in done.record["notebooks"].values()] == [0, 1]
    before = (done.folder / "run.json").read_bytes()
    with pytest.raises(BadParameter, match="nothing is left to run"):
        resume_run(run.id, out=out, source=source, progress=False)
    assert (done.folder / "run.json").read_bytes() == before


MEET = """import os, time
open(f'../met_{me}', 'w').close()
while not os.path.exists(f'../met_{other}'):
    time.sleep(.05)"""


@pytest.mark.notebook
def test_two_jobs_run_at_the_same_time_and_share_the_processors(source, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    told = METRICS % "{'threads': os.environ['OMP_NUM_THREADS'], 'me': me}"
    for me, other in ((3, 4), (4, 3)):
        parameters = f"me = {me}\nother = {other}"
        write_notebook(source / f"0{me}_meet.ipynb", MEET, told, parameters=parameters)
    seen = []
    run = _run(
        source,
        "03_meet",
        "04_meet",
        "bad",
        jobs=2,
        cell_timeout_s=60,
        report=lambda r: seen.append(r.status),
    )
    entries = run.record["notebooks"]
    assert [entry["status"] for entry in entries.values()] == ["failed", "completed", "completed"]
    threads = str(max(1, os.cpu_count() // 2))
    for me in (3, 4):
        assert entries[f"0{me}_meet"]["metrics"] == {"threads": threads, "me": me}
    assert entries["02_bad"]["error"]["type"] == "ZeroDivisionError"
    assert seen == ["running"] * 4 + ["failed"] and run.left == ["02_bad"]
    assert run.record["duration_s"] < sum(entry["duration_s"] for entry in entries.values())
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.notebook
def test_a_job_that_is_killed_is_a_failure_and_the_others_go_on(source):
    write_notebook(source / "03_dead.ipynb", "import os, signal\nos.kill(os.getppid(), 9)")
    run = _run(source, "dead", "good", jobs=2)
    dead = run.record["notebooks"]["03_dead"]
    assert (dead["status"], dead["error"]["type"]) == ("failed", "DeadProcess")
    assert run.record["notebooks"]["01_good"]["status"] == "completed"


@pytest.mark.notebook
def test_jobs_end_with_the_process_that_started_them(source, tmp_path):
    for me in (3, 4):
        code = f"import os, time\nopen('../{me}.pid', 'w').write(str(os.getppid()))\ntime.sleep(60)"
        write_notebook(source / f"0{me}_long.ipynb", code)
    names = "['03_long', '04_long']"
    call = f"run_notebooks({names}, source=Path({str(source)!r}), out='runs', jobs=2)"
    code = f"from workbench.runs import *; {call}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    jobs = []
    deadline = time.monotonic() + 60
    while len(jobs) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        texts = [path.read_text() for path in tmp_path.glob("runs/*/*.pid")]
        jobs = [psutil.Process(int(text)) for text in texts if text]
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(jobs, timeout=20)
    assert len(jobs) == 2 and not alive


# --- run folders


def test_unknown_and_foreign_runs_are_refused(tmp_path):
    folder = tmp_path / "20260101-000000-abcd"
    folder.mkdir()
    (folder / "run.json").write_text('{"schema_version": 99}')
    with pytest.raises(BadFile, match="schema_version 1"):
        load_run(folder.name, tmp_path)
    (folder / "run.json").write_text('{"schema_ver')
    with pytest.raises(BadFile, match="not JSON"):
        load_run(folder.name, tmp_path)
    with pytest.raises(UnknownName, match="did you mean '20260101-000000-abcd'"):
        load_run("20260101-000000-abce", tmp_path)


@pytest.fixture
def stopped(source, monkeypatch):
    """An interrupted run and its record."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runs.papermill, "execute_notebook", stop)
        with pytest.raises(KeyboardInterrupt):
            _run(source, "good")
    (run,) = runs.list_runs(source / "runs")
    return run


def test_a_run_stopped_by_an_error_reads_as_interrupted(stopped):
    assert (stopped.status, stopped.left) == ("interrupted", ["01_good"])
    stopped.record["notebooks"]["01_good"]["status"] = "completed"
    assert stopped.status == "completed"  # nothing is left that a resumption could finish


def _without(record, *keys):
    return {key: value for key, value in record.items() if key not in keys}


DAMAGE = {
    "nearly empty": lambda record: {"schema_version": 1},
    "list": lambda record: [],
    "no process": lambda record: _without(record, "process"),
    "process": lambda record: record | {"process": {"pid": -1, "host": "x", "created": 0}},
    "status": lambda record: record | {"status": "fine"},
    "notebooks": lambda record: record | {"notebooks": []},
    "entry": lambda record: record | {"notebooks": {"01_good": {}}},
    "error": lambda record: (
        record | {"notebooks": {"01_good": record["notebooks"]["01_good"] | {"error": "x"}}}
    ),
    "not finite": lambda record: record | {"more": float("nan")},
}


@pytest.mark.parametrize("name", [*DAMAGE, "nested", "folder"])
def test_a_damaged_run_is_named_and_hides_no_other(source, stopped, name):
    out = source / "runs"
    bad = out / "20000101-000000-0000" / "run.json"
    bad.parent.mkdir()
    if name == "folder":
        bad.mkdir()
    else:
        bad.write_text(
            "[" * 200_000 if name == "nested" else json.dumps(DAMAGE[name](stopped.record))
        )
    for act in (
        load_run,
        lambda name, out: resume_run(name, out=out, source=source, progress=False),
    ):
        with pytest.raises(BadFile) as caught:
            act(bad.parent.name, out)
        assert caught.value.file == str(bad)
    assert [(run.status, bool(run.problem)) for run in runs.list_runs(out)] == [
        ("damaged", True),
        ("interrupted", False),
    ]
    listed = CliRunner().invoke(cli.app, ["runs", "list", "--out", str(out)])
    assert listed.exit_code == 0 and "damaged" in listed.output and stopped.id in listed.output


@pytest.mark.parametrize("name", ["", ".", "../runs", "x" * 5000, "a\0b"])
def test_what_names_no_run_is_unknown(source, stopped, name):
    with pytest.raises(UnknownName):
        load_run(name, source / "runs")


def test_a_run_whose_notebook_is_gone_does_not_start(source, stopped):
    before = (stopped.folder / "run.json").read_bytes()
    (source / "01_good.ipynb").unlink()
    with pytest.raises(UnknownName, match="01_good"):
        resume_run(stopped.id, out=source / "runs", source=source, progress=False)
    assert (stopped.folder / "run.json").read_bytes() == before


def test_a_wheel_inside_somebody_elses_clone_claims_no_commit(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "site-packages").mkdir()
    assert provenance._git(tmp_path / "site-packages") is None


# --- command line


@pytest.mark.notebook
def test_the_command_exits_1_when_a_notebook_failed_and_writes_the_pages(source, monkeypatch):
    monkeypatch.setattr(runs, "resource", lambda _: source)
    result = CliRunner().invoke(
        cli.app, ["run", "--all", "-p", "scale=0.25", "--out", str(source / "runs")]
    )
    assert result.exit_code == 1
    (folder,) = (source / "runs").iterdir()
    assert {"index.html", "01_good.html", "02_bad.html", "run.json", "notebooks"} == {
        p.name for p in folder.iterdir()
    }
    assert "ZeroDivisionError: division by zero" in result.output
    assert f"workbench run --resume {folder.name}" in result.output
    shown = CliRunner().invoke(
        cli.app, ["runs", "show", folder.name, "--out", str(source / "runs")]
    )
    assert "scale = 0.25" in shown.output


@pytest.mark.parametrize(
    "words",
    [["run"], ["run", "good", "--all"], ["run", "good", "-p", "n"], ["run", "good", "-p", "n=x"]],
)
def test_the_command_refuses_bad_input_before_it_starts(source, monkeypatch, words):
    monkeypatch.setattr(runs, "resource", lambda _: source)
    result = CliRunner().invoke(cli.app, [*words, "--out", str(source / "runs")])
    assert isinstance(result.exception, BadParameter)
    assert not (source / "runs").exists()


def test_lab_stays_on_loopback_with_its_token(tmp_path):
    command = lab_command(tmp_path / "00_first.ipynb", port=8899)
    assert "--ServerApp.ip=127.0.0.1" in command
    assert f"--ServerApp.root_dir={tmp_path}" in command
    assert "--LabApp.default_url=/lab/tree/00_first.ipynb" in command
    assert not [word for word in command if "token" in word.lower() or "password" in word.lower()]


# --- copies that readers run, change and save


@pytest.fixture
def lab(source, tmp_path, monkeypatch):
    """`workbench lab` beside these chapters, up to where JupyterLab starts: what it said, and the
    command.
    """
    monkeypatch.setattr(runs, "resource", lambda _: source)
    monkeypatch.chdir(tmp_path)
    started = []
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))

    def call(*words):
        words = words or ("lab", "--no-browser")
        result = CliRunner().invoke(cli.app, words, catch_exceptions=False)
        return result.output, started.pop()

    return call


def test_lab_opens_copies_and_the_chapters_stay_as_they_are(source, lab, tmp_path):
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    said, command = lab()
    work = tmp_path / "work"
    assert not said and f"--ServerApp.root_dir={work}" in command
    assert "--LabApp.default_url=/lab/tree/01_good.ipynb" in command
    copies = {path.name: path.read_bytes() for path in work.glob("*.ipynb")}
    assert copies == {name: text for name, text in before.items() if name.endswith("ipynb")}
    (work / "01_good.ipynb").write_text("run and saved")
    (work / "02_bad.ipynb").unlink()
    assert lab()[0] == ""
    assert (work / "01_good.ipynb").read_text() == "run and saved"
    assert (work / "02_bad.ipynb").read_bytes() == before["02_bad.ipynb"]
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before


def test_explore_hide_opens_the_copy_of_the_first_chapter(lab, tmp_path):
    _, command = lab("explore", "hide")
    assert f"--ServerApp.root_dir={tmp_path / 'work'}" in command
    assert "--LabApp.default_url=/lab/tree/01_good.ipynb" in command


def test_copies_follow_their_chapters_until_somebody_changes_them(source, lab, tmp_path):
    lab()
    work = tmp_path / "work"
    (work / "01_good.ipynb").write_text("mine")
    for name in ("01_good.ipynb", "02_bad.ipynb"):
        (source / name).write_text("a new version")
    said, _ = lab()
    assert (work / "01_good.ipynb").read_text() == "mine"
    assert (work / "02_bad.ipynb").read_text() == "a new version"
    assert "01_good.ipynb keeps your changes; the chapter has changed since" in said
    assert "02_bad.ipynb follows the chapter" in said
    # it is said every time, until the copy makes room
    assert lab()[0].splitlines() == said.splitlines()[:1]
    (work / "01_good.ipynb").rename(work / "mine.ipynb")
    assert lab()[0] == "" and (work / "01_good.ipynb").read_text() == "a new version"
    assert (work / "mine.ipynb").read_text() == "mine"


def test_what_was_there_before_is_not_ours(source, lab, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "01_good.ipynb").write_text("somebody's own")
    (work / "02_bad.ipynb").symlink_to(work / "nowhere")
    lab()
    assert (work / "01_good.ipynb").read_text() == "somebody's own"
    assert (work / "02_bad.ipynb").is_symlink() and not (work / "nowhere").exists()
    (work / ".chapters.json").write_text("[")
    with pytest.raises(BadFile, match=r"\.chapters\.json"):
        lab()


def test_the_clone_ignores_the_copies():
    ignored = (Path(__file__).parents[1] / ".gitignore").read_text(encoding="utf-8")
    assert "work/" in ignored.splitlines()
