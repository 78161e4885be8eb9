from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.data.seeds import SEEDS
from workbench.cli import app, main


def run(*args):
    return CliRunner().invoke(app, ["data", *args])


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
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
    err = capsys.readouterr().err
    assert "did you mean 'port_panoptic'" in err and err.count("\n") == 1


@pytest.mark.realdata
def test_the_shared_hands_verify(data_root, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(data_root))
    assert run("verify", "port_panoptic").exit_code == 0
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)["data"]}
    assert rows["port_panoptic"]["place"] == str(data_root / "port_panoptic")


# --- inspect --------------------------------------------------------------------------------------


@pytest.fixture
def inspect(monkeypatch, capsys):
    """Exit code, stdout and stderr of `workbench data inspect`, as a user sees them."""

    def run(*args):
        monkeypatch.setattr("sys.argv", ["workbench", "data", "inspect", *map(str, args)])
        with pytest.raises(SystemExit) as caught:
            main()
        out = capsys.readouterr()
        return caught.value.code or 0, out.out, out.err

    return run


def test_inspect_says_what_is_there(inspect, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(SEEDS["crowdpose"].raw)
    code, out, err = inspect(path)
    assert (code, err) == (0, "")
    assert (
        "crowdpose14" in out
        and "28 visible (2)" in out
        and "warning: none of its 2 pictures is here" in out
    )
    code, out, _ = inspect(path, "--json")
    found = json.loads(out)
    assert code == 0 and found["schema_version"] == 1 and found["people"] == 2


def test_inspect_tells_a_bad_file_in_one_line(inspect, tmp_path):
    tree = json.loads(SEEDS["coco"].raw)
    tree["annotations"][0]["keypoints"].pop()
    path = tmp_path / "a.json"
    path.write_text(json.dumps(tree))
    for flags in ((), ("--json",)):
        code, out, err = inspect(path, *flags)
        assert (code, out) == (2, "") and err.count("\n") == 1
        assert err.startswith(
            f"BadRecord: {path}, annotation 5: keypoints has length 50 (51 expected). Remedy: "
        )
    assert "(--on-bad report) keeps the others" in err
    code, out, _ = inspect(path, "--on-bad", "report")
    assert code == 0 and "annotation 5" in out
    tree["annotations"] = tree["annotations"][:1]
    path.write_text(json.dumps(tree))
    rows = dict(
        line.split("  ", 1)
        for line in inspect(path, "--on-bad", "report")[1].splitlines()
        if "  " in line
    )
    assert rows["people"].strip() == "0"  # said, not left out
    path.write_bytes(SEEDS["posetrack18"].raw)
    out = inspect(path)[1]
    assert "labelled (2)" in out and "visible (2)" not in out  # where nothing is known of occlusion
    assert inspect(path, "--reader", "cocoo")[2].endswith("did you mean 'coco'?\n")
    assert inspect(tmp_path / "none")[0] == inspect(path, "--on-bad", "x")[0] == 2


def test_inspect_shows_twenty_warnings_and_counts_all(inspect, tmp_path):
    tree = json.loads(SEEDS["coco"].raw)
    tree["annotations"] = [
        tree["annotations"][0] | {"id": i, "bbox": [0, 0, -1, 0]} for i in range(30)
    ]
    path = tmp_path / "a\x1b[31m.json"  # a name that would colour a terminal
    path.write_text(json.dumps(tree))
    code, out, _ = inspect(path, "--on-bad", "report")
    assert (
        code == 0
        and out.count("warning: ") == 20
        and "and 10 more of 30 warnings" in out
        and "\x1b" not in out
    )
    assert (
        len(json.loads(inspect(path, "--on-bad", "report", "--json")[1])["warnings"]["records"])
        == 30
    )


def as_tree(tmp_path, name="coco", **changes):
    tree = json.loads(SEEDS[name].raw)
    for annotation in tree["annotations"]:
        annotation |= changes
    path = tmp_path / "a.json"
    path.write_text(json.dumps(tree))
    return path


def test_inspect_says_that_flags_of_0_and_1_mean_labelled(inspect, tmp_path):
    path = as_tree(tmp_path, keypoints=[5, 6, 1, 7, 8, 0] + [9, 9, 1] * 15)
    code, out, err = inspect(path)
    said = " ".join(out.split())
    assert (code, err) == (0, "") and "warning: no joint has flag 2, so that 1 may mean la" in said
    assert "labelled (2) 32" in said and "occlusion known no" in said
    assert "occluded" not in said and "labelled but not visible" not in said
    found = json.loads(inspect(path, "--json")[1])
    assert found["occlusion_known"] is False and found["visibility"] is None


def test_inspect_counts_people_whose_box_has_no_area(inspect, tmp_path):
    code, out, err = inspect(as_tree(tmp_path, bbox=[5, 6, 0, 7]))
    assert (code, err) == (0, "") and "has no area, the person is kept" in out
    assert json.loads(inspect(tmp_path / "a.json", "--json")[1])["people"] == 2


def test_inspect_takes_options_of_the_reader(inspect, tmp_path):
    path = tmp_path / "a.bvh"
    path.write_bytes(SEEDS["bvh"].raw)
    out = inspect(path)[1]
    # the spine hangs 10 units below the hips, turned
    assert "height (mm) 99.9" in out and "warning: a body 99.92 mm high: BVH states no unit" in out
    out = inspect(path, "--unit", "m")[1]
    assert "height (mm) 9992" in out and "a body 9,992 mm high" in out
    out = inspect(path, "--unit", "100")[1]
    assert "height (mm) 999.2" in out and "warning" not in out
    assert "unit is 'ft'. Remedy: say mm, cm, m, in" in inspect(path, "--unit", "ft")[2]
    assert "skeleton says nothing about motion capture" in inspect(path, "--skeleton", "coco17")[2]
    path = as_tree(tmp_path)
    assert "unit says nothing about COCO-style keypoints" in inspect(path, "--unit", "mm")[2]
    path.write_text(path.read_text().replace('"categories"', '"kinds"'))
    code, _, err = inspect(path)
    assert code == 2 and "no list of categories" in err
    assert "coco17" in inspect(path, "--skeleton", "coco17")[1]


EXPECTED = {  # words of expected.json, and the exit code
    "000000000785.jpg": (0, "picture"),
    "control_ok.json": (0, "17 visible"),
    "truncated.jpg": (2, "truncated image"),
    "zero_byte.png": (2, "empty file"),
    "half.mp4": (2, "video cannot be opened / no frames"),
    "missing_image.json": (0, "missing image does_not_exist.jpg (1 of 2"),
    "keypoints_wrong_length.json": (2, "annotation 442619: keypoints has length 50 (51 expected)"),
    "nan_coordinates.json": (2, "annotation 442619: keypoints has a value that is not finite"),
    "negative_bbox.json": (2, "annotation 442619: bbox width <= 0"),
    "duplicate_annotation_ids.json": (2, "annotation 442619: duplicate annotation id"),
    "latin1.json": (2, "latin1.json: not UTF-8: byte 0xdc"),
    "executes_on_load.pkl": (
        2,
        "refused, nothing of it was run: it asks for the global 'posix.system'",
    ),
    "path_traversal.zip": (
        2,
        "'../../pose_zip_escape_shared.txt': refused as a whole, nothing was written",
    ),
    "cut_mid_motion.bvh": (2, "Frames: says 24, 15 whole rows"),
}


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_bad_file_does_what_is_expected_of_it(inspect, data_root, tmp_path, monkeypatch):
    """Run in a folder of its own, on copies, so that whatever is written would be seen."""
    assert set(json.loads((data_root / "bad" / "expected.json").read_text())) == set(EXPECTED)
    inside = tmp_path / "a" / "b" / "c"
    shutil.copytree(data_root / "bad", inside)
    monkeypatch.chdir(inside)
    before = sorted(tmp_path.rglob("*"))
    for name, (expected_code, words) in EXPECTED.items():
        code, out, err = inspect(name)
        said = " ".join((out + err).split())
        assert code == expected_code and words in said, (name, said)
        assert code == 0 or (out == "" and err.count("\n") == 1)
        json_code, json_out, _ = inspect(name, "--json")
        assert json_code == code and (code or json.loads(json_out)["schema_version"] == 1)
    assert sorted(tmp_path.rglob("*")) == before
    assert not list(Path(tempfile.gettempdir()).glob("pose_*_shared*"))
