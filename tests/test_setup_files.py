"""The set-up files agree with each other, and `make` never takes an environment for whole when
it is not.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from PIL import Image

from tests.browser.lab import CHROMIUM
from workbench.cli import app

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [
    Requirement(r) for r in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
]
EXTRA = [Requirement(r) for r in PROJECT["optional-dependencies"]["animal"]]  # not pinned
IMPORTED_AS = {
    "pillow": "PIL",
    "ipython": "IPython",
    "opencv-python": "cv2",
    "pyyaml": "yaml",
}


def _pins(python: str) -> dict[str, Version]:
    """What is pinned for a Python, "3.11.2"; a name that is pinned twice for it is an error."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not (text := line.partition("#")[0].strip()):
            continue
        pin = Requirement(text)
        names = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
        if pin.marker is None or pin.marker.evaluate(names):
            (exact,) = pin.specifier
            name = canonicalize_name(pin.name)
            assert exact.operator == "==" and name not in found
            found[name] = Version(exact.version)
    return found


def test_every_python_has_the_same_names_pinned():
    pythons = ("3.11.0", "3.11.2", "3.11.7", "3.12.1", "3.13.0")
    first, *others = (_pins(python) for python in pythons)
    assert all(set(pins) == set(first) for pins in others)
    # Soup Sieve 3 wants Python 3.11.5, Debian 12 has 3.11.2
    assert first["soupsieve"] < Version("3") <= others[-1]["soupsieve"]


def test_environment_yml_holds_python_pip_and_the_project_alone():
    python, pip, project = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert pip == "pip"
    assert project == {"pip": ["-e .[test]"]}
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])


def test_the_makefile_takes_the_same_pythons():
    fits = SpecifierSet(PROJECT["requires-python"])
    assert [minor for minor in range(30) if f"3.{minor}.1" in fits] == [11, 12, 13]
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in (ROOT / "Makefile").read_text()


def test_every_pin_satisfies_its_declared_range():
    pins = _pins(platform.python_version())
    wrong = [
        r
        for r in DECLARED
        if canonicalize_name(r.name) not in pins
        or pins[canonicalize_name(r.name)] not in r.specifier
    ]
    assert not wrong


def test_what_estimators_need_is_tested_in_the_same_range():
    wanted = [Requirement(r) for r in PROJECT["optional-dependencies"]["estimators"]]
    assert [r.name for r in wanted] == ["transformers", "huggingface-hub"]
    assert set(map(str, wanted)) <= set(map(str, DECLARED))


def test_every_import_is_declared():
    declared = {IMPORTED_AS.get(r.name, r.name.replace("-", "_")) for r in DECLARED + EXTRA} | {
        "workbench",
        "tests",
    }
    files = [*(ROOT / "workbench").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    missing = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in files
        for name in _imports(path) - declared
    }
    assert not missing


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names


# A python that answers the Makefile's three questions and records installations instead of making
# them.
FAKE = """#!/bin/sh
case "$1 $2" in
  "-c import"*) [ -n "$UNFIT" ] && exit 1; echo "$0" ;;
  "-m venv") [ "$3" = --clear ] && rm -rf "$4"
    mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; echo venv >> log ;;
  "-m pip") echo pip >> log; exit "${PIP_FAILS:-0}" ;;
  "-m workbench.cli") echo "workbench $3 $4" >> log ;;
  "-m pytest") echo pytest >> log ;;
  ".ci/pictures.py "*) echo pictures >> log ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """A folder with a space in its name that holds what `make` reads, and a stand-in for Python."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    fake = folder / "fake python"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    return folder


def _make(folder: Path, *words: str, **env: str) -> tuple[int, list[str]]:
    """Exit status of make, and what the stand-in was asked to do since the last call."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "PYTHON"))
    }
    command = ["make", *words, f"PYTHON={folder / 'fake python'}"]
    done = subprocess.run(
        command, cwd=folder, env={**environment, **env}, capture_output=True, text=True
    )
    return done.returncode, log.read_text().splitlines() if log.exists() else []


def test_make_installs_once_and_again_when_the_pins_change(clone):
    assert _make(clone, "run") == (0, ["venv", "pip", "workbench run --all"])
    assert _make(clone, "run") == (0, ["workbench run --all"])
    with open(clone / "constraints.txt", "a") as file:
        file.write("something==1\n")
    assert _make(clone, "lab") == (0, ["pip", "workbench lab "])


README = (ROOT / "README.md").read_text(encoding="utf-8")
DOES = {"run": "workbench run --all", "lab": "workbench lab ", "pictures": "pictures"}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.M))))
def test_readme_s_make_commands_do_what_they_say_as_the_first_one(clone, target):
    assert _make(clone, target) == (0, ["venv", "pip", DOES[target]])


def test_readme_s_pictures_are_those_that_the_command_takes():
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    files = [ROOT / name for name in shown]
    assert all(file.exists() for file in files)
    assert {file.stem for file in files} == pictures().SHOWN.keys()
    chapters = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {file.stem for file in files} == chapters
    there = [*(ROOT / "notebooks" / "pictures").iterdir()]
    assert sorted(there) == sorted(files)
    assert sum(file.stat().st_size for file in files) <= pictures().MOST_BYTES


def test_readme_is_short_and_its_links_lead_somewhere():
    text = re.sub(r"```.*?```|^\|.*?$", "", README, flags=re.S | re.M)
    assert len(text.split()) <= 600
    for file in (ROOT / "README.md", ROOT / "notebooks" / "HOW_TO.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", file.read_text(encoding="utf-8")):
            assert (file.parent / link).exists(), link


def test_the_guide_s_python_is_python():
    guide = (ROOT / "notebooks" / "HOW_TO.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, re.S)
    assert len(blocks) >= 5
    for block in blocks:
        ast.parse(block)


def test_the_guide_s_commands_are_commands():
    guide = (ROOT / "notebooks" / "HOW_TO.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(?!workbench)([a-z-]+)", guide.split("## Commands")[1], re.M)
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert set(rows) <= known and {"run", "lab", "side-by-side"} <= set(rows)


def pictures():
    """The script that takes README's pictures, as a module."""
    spec = importlib.util.spec_from_file_location("pictures", ROOT / ".ci" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"no chromium at {CHROMIUM}")
def test_a_picture_is_of_the_first_thing_in_sight(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMIUM", CHROMIUM)
    box = "<div class='wb-sheet' style='width:800px;height:{}px;background:{}'></div>"
    page = f"<details>{box.format(99, 'red')}</details>{box.format(900, 'rgb(0,128,0)')}"
    (tmp_path / "02_port.html").write_text(f"<body style='margin:0'>{page}")
    assert pictures().take(tmp_path, tmp_path / "out", ["02_port"]) > 0
    with Image.open(tmp_path / "out" / "02_port.webp") as picture:
        assert picture.size == (560, 420)
        red, green, blue = picture.convert("RGB").getpixel((280, 200))
    assert green > 100 > max(red, blue)
    (tmp_path / "02_port.html").write_text("nothing")
    with pytest.raises(SystemExit, match="nothing to show"):
        pictures().take(tmp_path, tmp_path / "out", ["02_port"])


def test_a_dry_run_does_nothing(clone):
    before = {path.name for path in clone.iterdir()}
    assert _make(clone, "-n", "run") == (0, [])
    assert {path.name for path in clone.iterdir()} == before


def test_an_interrupted_installation_is_made_anew(clone):
    status, log = _make(clone, "run", PIP_FAILS="1")
    assert status != 0
    assert log == ["venv", "pip"]
    assert _make(clone, "run") == (0, ["venv", "pip", "workbench run --all"])


def test_an_interrupted_update_is_made_anew(clone):
    _make(clone, "run")
    with open(clone / "pyproject.toml", "a") as file:
        file.write("\n# changed\n")
    assert _make(clone, "run", PIP_FAILS="1")[0] != 0
    assert _make(clone, "run") == (0, ["venv", "pip", "workbench run --all"])


def test_a_moved_environment_is_made_anew(clone):
    _make(clone, "run")
    assert _make(clone.rename(clone.with_name("moved")), "run") == (
        0,
        ["venv", "pip", "workbench run --all"],
    )


def test_a_python_that_does_not_fit_is_refused_in_words(clone):
    done = subprocess.run(
        ["make", "run", f"PYTHON={clone / 'fake python'}"],
        cwd=clone,
        env={"PATH": os.environ["PATH"], "UNFIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "No working Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (clone / ".venv").exists()


def test_a_shim_that_only_fails_is_passed_over(clone, tmp_path):
    shims = tmp_path / "shims"
    shims.mkdir()
    for name, text in (
        ("python3", "#!/bin/sh\nexit 127\n"),
        ("python3.13", "#!/bin/sh\nexit 127\n"),
        ("python3.12", FAKE),
    ):
        (shims / name).write_text(text)
        (shims / name).chmod(0o755)
    command = ["make", "-s", "interpreter"]
    env = {"PATH": f"{shims}:{os.environ['PATH']}"}
    assert subprocess.run(
        command, cwd=clone, env=env, capture_output=True, text=True
    ).stdout.strip() == str(shims / "python3.12")


def test_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_continuous_integration_lets_nothing_skip():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    for line in (
        "set -euo pipefail",
        "WORKBENCH_REQUIRE=realdata,parity,browser",
        "make test",
        "chromium",
    ):
        assert line in text
