"""One way into every explorer: the user's own pictures, videos, checkpoints and models, and what is
refused. README's tasks run as they stand on a real picture and a real clip.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import nbformat
import numpy as np
import pytest
import timm
import torch
from torch import nn
from typer.testing import CliRunner

import workbench
from tests.conftest import ROOT
from workbench.cli import app
from workbench.data.frames import open_frames
from workbench.data.results import on_video, read_detections
from workbench.data.tracks import link
from workbench.errors import BadParameter, BadRecord, MissingFile, Taken, UnknownName
from workbench.exploration import again, boxes_of, explore, foreign, fresh, own
from workbench.made import worlds
from workbench.made.motion import sequences
from workbench.predict import refine_people, stretches
from workbench.recipes import port as recipe
from workbench.records import Detections
from workbench.skeletons import skeleton as skeleton_of
from workbench.view import paper, stage
from workbench.view.attention import AttentionView
from workbench.view.chapters import labels
from workbench.view.chapters.port import PortExplorer
from workbench.view.explorer import IN_SIGHT, Explorer
from workbench.view.stage import over_time

PICTURE = "000000397133.jpg"


@pytest.fixture(scope="module")
def mine(tmp_path_factory, data_root):
    """A folder as a user has it: a picture, a clip, and what a real estimator says of both."""
    folder = tmp_path_factory.mktemp("mine")
    pictures = data_root / "coco_mini" / "val2017"
    found = data_root / "real_detections"
    shutil.copy(pictures / PICTURE, folder / PICTURE)
    shutil.copy(pictures / PICTURE, folder / "picture.jpg")
    shutil.copy(data_root / "clips" / "two_people_hug.mp4", folder / "clip.mp4")
    shutil.copy(found / "two_people_hug.json", folder / "results.json")
    people = json.loads((found / "coco_mini_in_truth_boxes.json").read_text())
    (folder / "all.json").write_text(json.dumps(people))
    one = [row for row in people if row["image_id"] == int(PICTURE.removesuffix(".jpg"))]
    (folder / "people.json").write_text(json.dumps(one))
    shutil.copy(workbench.predict.weights_path("port", "coco17"), folder / "first.safetensors")
    return folder


def tasks():
    """README's snippets below "Explore"."""
    section = (ROOT / "README.md").read_text().split("## Explore", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```python\n(.*?)```", section, re.S)


def checked(explorer):
    """What every explorer holds to."""
    assert isinstance(explorer, Explorer) and "nan" not in explorer.verdict
    sight = [c for c in explorer.controls if not c["more"]]
    assert len(sight) + 2 * explorer.has_attention <= IN_SIGHT
    assert explorer.data and explorer.verdict and explorer.tabs
    return explorer


@pytest.mark.realdata
@pytest.mark.parametrize("task", range(5))
def test_readme_s_tasks_are_short_and_run(mine, monkeypatch, task):
    monkeypatch.chdir(mine)
    code = tasks()[task]
    assert len(code.strip().splitlines()) <= 5
    picture = cv2.resize(cv2.imread("picture.jpg")[..., ::-1], (224, 224))
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    names = {"workbench": workbench, "paper": paper, "timm": timm}
    exec(code, names | {"picture": picture, "pixels": pixels})
    if task == 2:
        assert (mine / "attention.svg").stat().st_size > 5_000
        assert cv2.imread("pose.png").shape[1] >= 3.5 * 300 - 2


def commands():
    """README's commands for the terminal, in blocks and within sentences."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.S)).splitlines()
    blocks = [line.partition("#")[0].strip() for line in lines]
    inline = re.findall(r"`((?:workbench|make) [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return [line for line in dict.fromkeys([*blocks, *inline]) if line]


OURS = [command for command in commands() if command.startswith("workbench ")]


@pytest.mark.realdata
@pytest.mark.parametrize("command", OURS)
def test_readme_s_commands_run(mine, tmp_path, monkeypatch, command):
    folder = shutil.copytree(mine, tmp_path / "mine")
    monkeypatch.chdir(folder)
    before = set(folder.iterdir())
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    assert done.output.strip()
    assert bool(set(folder.iterdir()) - before) == ("--out" in command or "--html" in command)


def test_readme_has_no_command_that_no_test_executes():
    others = [command for command in commands() if command not in OURS]
    assert len(OURS) >= 3 and others
    # `tests/test_setup_files.py` executes these
    assert [command for command in others if not re.fullmatch(r"make [a-z-]+", command)] == []


@pytest.mark.realdata
def test_an_occluder_changes_the_attention_of_the_named_head(mine):
    explorer = explore("vissimcc", image=mine / "picture.jpg", keypoints=mine / "people.json")
    checked(explorer)
    name = explorer.attention.maps[0]["name"]
    explorer.restore({"attention": {"head": [name, 0, 1]}})
    before, verdict = explorer.attention.data, explorer.verdict
    w, h = 96, 128
    explorer.choose(brush=[{"points": [[w / 2, h / 3]], "size": 60, "frames": [0, 0]}])
    assert explorer.attention.choice["head"] == [name, 0, 1]
    assert explorer.attention.data != before and explorer.verdict != verdict
    explorer.choose(brush=[])
    assert explorer.attention.data == before and explorer.verdict == verdict


@pytest.mark.realdata
@pytest.mark.parametrize("method", ["otpose", "stdpose"])
def test_a_clip_of_one_s_own(mine, method):
    explorer = explore(method, video=mine / "clip.mp4", keypoints=mine / "results.json")
    checked(explorer)
    again = explore(
        method,
        video=mine / "clip.mp4",
        keypoints=mine / "results.json",
        state=explorer.permalink(),
    )
    assert again.data == explorer.data and again.verdict == explorer.verdict


@pytest.mark.realdata
@pytest.mark.parametrize("method", ["vissimcc", "otpose", "stdpose"])
def test_a_box_is_enough_for_what_reads_pictures(mine, method):
    source = (
        {"image": mine / "picture.jpg"} if method == "vissimcc" else {"video": mine / "clip.mp4"}
    )
    checked(explore(method, **source, boxes="388,70,109,277"))


@pytest.mark.realdata
def test_hanet_is_shown_what_it_refines_also_of_other_joints(mine):
    explorer = explore("hanet", video=mine / "clip.mp4", keypoints=mine / "results.json")
    checked(explorer)
    with open_frames(mine / "clip.mp4") as frames:
        people = link(on_video(mine / "results.json", frames).detections)
    read = max((one.xy for one in stretches(workbench.load("hanet"), people)), key=len)
    np.testing.assert_array_equal(explorer.sequences[0].detected, read)


@pytest.mark.realdata
def test_hanet_stands_on_a_stage_with_people_of_other_joints(mine):
    given = {"video": mine / "clip.mp4", "keypoints": mine / "results.json", "count": 30}
    stage = checked(explore(["port", "hanet"], **given))
    moved = np.abs(stage.plain[0]["HANet"] - stage.plain[0]["detector"])
    moved = np.nanmax(moved, axis=(0, 1, 3))
    assert moved[skeleton_of("coco17").index("left_wrist")] > 0.5
    assert moved[0] == 0, "the face is left as it is"


def test_hanet_does_not_know_hands(files):
    hands = results(files / "hands.json", [(0, 20, {"k": 21})])
    with pytest.raises(MissingFile, match="hanet has none for hand21"):
        explore("hanet", keypoints=hands)


def test_frames_without_a_pose_are_hidden_ones_for_hanet():
    made = sequences("synthetic", "test")[0]
    kept = np.delete(np.arange(30), [5, 6, 7])
    n, k = len(kept), made.detected.shape[1]
    boxes, tracks = np.tile([0.0, 0, 100, 100], (n, 1)), np.zeros(n, np.int64)
    where = {"frames": kept, "tracks": tracks}
    people = Detections("jhmdb15", made.detected[kept], np.ones((n, k)), boxes, **where)
    (shown,) = explore("hanet", keypoints=people).sequences
    assert np.flatnonzero(shown.hidden.any(1)).tolist() == [5, 6, 7]
    np.testing.assert_allclose(shown.detected[kept], made.detected[kept], rtol=1e-5)


def test_port_shows_missing_joints_as_predict_fills_them_in():
    _, detected = recipe.pairs("synthetic", n=6, seed=3, skeleton="coco17")
    lost = np.isin(np.arange(17), [13, 15])
    people = replace(
        detected,
        confidence=np.where(lost, 0, detected.confidence).astype(np.float32),
        xy_frame=np.where(lost[:, None], 0, detected.xy_frame).astype(np.float32),
    )
    explorer = explore("port", keypoints=people)
    explorer.choose(delta=0.0, hidden=[13, 15])
    expected = refine_people(workbench.load("port", skeleton="coco17"), people, missing_alone=True)
    np.testing.assert_allclose(explorer._found.refined[lost], expected.xy_frame[0, lost], atol=0.01)


@pytest.mark.realdata
def test_the_code_that_is_copied_shows_the_same(mine):
    explorer = explore("port", image=mine / PICTURE, keypoints=mine / "all.json")
    explorer.choose(hidden=[3, 7])
    same(explorer, pasted(explorer))


@pytest.mark.realdata
def test_results_of_many_pictures_are_told_apart_by_name(mine):
    people = read_detections(mine / "all.json")
    chosen = own(mine / PICTURE, keypoints=mine / "all.json").people
    assert 0 < len(chosen) < len(people) and chosen.tracks.tolist() == list(range(len(chosen)))
    with pytest.raises(BadRecord, match=r"none of its 68 results belongs to .*picture.jpg"):
        own(mine / "picture.jpg", keypoints=mine / "all.json")


@pytest.mark.realdata
def test_the_command_writes_a_live_page_and_nothing_over(mine):
    page = mine / "page.html"
    asked = ["explore", "port", "--image", str(mine / "picture.jpg")]
    asked += ["--keypoints", str(mine / "people.json"), "--html", str(page)]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert "mount(storedModel(" in text and not re.search(r"(src|href)=[\"']?https?:", text)
    again = CliRunner().invoke(app, asked)
    assert isinstance(again.exception, Taken)
    assert page.read_text() == text


# --- copied code of chapters: pasted into an empty namespace it shows the same


def pasted(explorer):
    """What the explorer's "copy as code" makes."""
    code = explorer.code.replace("{state}", repr(explorer.permalink())).removesuffix(".show()")
    lines = code.splitlines()
    assert len(lines) <= 8
    names = {}
    exec("\n".join([*lines[:-1], f"again = {lines[-1]}"]), names)
    return names["again"]


def same(explorer, again):
    assert again.name == explorer.name and again.state == explorer.state
    assert again.data == explorer.data and again.verdict == explorer.verdict
    assert again.tabs == explorer.tabs and again.pictures == explorer.pictures


def executed(chapter, names, *cells):
    """The names after some cells of a notebook."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", 4)
    sources = {cell.id: cell.source for cell in notebook.cells}
    for cell in cells:
        exec(sources[cell], names)
    return names


@pytest.fixture(scope="module")
def stdpose_chapter():
    """Chapter 06 with one clip, as far as its explorers need it."""
    names = {"profile": "fast", "device": "cpu", "seed": 3, "clips": 1, "interval": 7, "gaps": [5]}
    names |= {"person": -1, "joint": ""}
    return executed("06_stdpose", names, "setup", "world", "window", "dam-explorer")


@pytest.mark.parametrize(
    ("cell", "name", "change"),
    [
        ("dam-explorer", "explorer", {"k": 4.0, "key frame": 3, "gap T": "5"}),
        ("look", "looker", {"brush": [stage.patch(40, 60, 32, (0, 0))], "hidden": [1]}),
        ("player", "player", {"gap T": "5", "frame": 2, "error of": "nose"}),
    ],
)
def test_the_code_of_chapter_06_shows_the_same(stdpose_chapter, cell, name, change):
    explorer = executed("06_stdpose", stdpose_chapter, cell)[name]
    explorer.choose(**change)
    again = pasted(explorer)
    same(explorer, again)
    if explorer.attention is not None:
        assert again.attention.data == explorer.attention.data
        assert again.attention.other_data == explorer.attention.other_data


def test_the_code_of_chapter_05_shows_the_same():
    names = {"profile": "fast", "device": "cpu", "seed": 3, "clips": 4, "person": -1, "joint": ""}
    explorer = executed("05_otpose", names, "setup", "world", "explorer")["explorer"]
    explorer.choose(joint="nose", degrade=0.5)
    same(explorer, pasted(explorer))
    with pytest.raises(UnknownName, match="did you mean 'passing_people'"):
        explore("otpose", world="passing_persons")


def test_the_code_of_chapter_01_shows_the_same():
    rendered = worlds.sample_clip("synthetic", "train", 3)
    own = skeleton_of(rendered.clip.tracks[0].skeleton)
    names = {"world": "synthetic", "most": 3, "frame": 4, "own": own, "stage": stage}
    names["chapter"] = labels
    names |= {"clip": rendered.clip, "frames": rendered.frames}
    executed("01_data_and_occlusion", names, "brush")
    assert names["brush"].state["brush"], "a knee is painted over"
    same(names["brush"], pasted(names["brush"]))


@pytest.mark.realdata
@pytest.mark.parametrize("given", ["file", "program"])
def test_the_code_of_chapter_08_shows_the_same(mine, given):
    frames = open_frames(mine / "clip.mp4")
    found = link(on_video(mine / "results.json", frames).detections)
    names = {"frames": frames, "limit": 0.6, "methods": ["port"], "explore": explore}
    keypoints = found if given == "program" else str(mine / "results.json")
    names |= {"given": {"video": str(mine / "clip.mp4"), "keypoints": keypoints}}
    row = int(np.flatnonzero(found.frames == 30)[0])
    names |= {"here": SimpleNamespace(device="cpu"), "np": np, "found": found}
    chosen = np.arange(len(found))[:, None] != row
    names |= {"source": "clip.mp4", "refined": SimpleNamespace(replaced=chosen)}
    shown = executed("08_your_own_video", names, "slider")["shown"]
    refined = refine_people(workbench.load("port", skeleton=found.skeleton), found, delta=0.6)
    first = names["first"]
    refined = refined.select(np.flatnonzero(found.tracks == found.tracks[row]))
    expected = over_time(refined, len(frames))[first : first + 12]
    np.testing.assert_allclose(shown.plain[0]["PORT"], expected, equal_nan=True)
    assert shown.verdict.startswith("Frame 30: none of this person's joints")
    if given == "program":
        assert shown.code == "", "no code says what a program has found"
    else:
        shown.choose(size=9)
        same(shown, pasted(shown))


def test_code_says_numbers_words_and_paths_alone():
    code = again("port", index=np.int64(3), image=Path("a.jpg"), made=None, show="", delta=0.5)
    call = "workbench.explore('port', index=3, image='a.jpg', delta=0.5, state={state}).show()"
    assert code == f"import workbench\n\n{call}"
    assert "boxes=[[1.0, 2.0]]" in again("vissimcc", boxes=np.array([[1.0, 2.0]]))
    assert again("port", keypoints=object()) == again("port", weights=[object()]) == ""


# --- made people


def test_port_on_made_hands():
    explorer = checked(explore("port"))
    assert "mean error" in explorer.verdict and explorer.code.count("{state}") == 1


def test_made_people_are_a_chapter_s_and_stand_in_the_code():
    truth, detected = recipe.pairs("synthetic", n=5, seed=1)
    chapter = PortExplorer(workbench.load("port"), detected, truth, index=2)
    again = explore("port", made=5, seed=1, index=2)
    assert again.data == chapter.data and again.verdict == chapter.verdict
    assert "made=5, index=2, seed=1, state=" in again.code or "seed=1, index=2" in again.code


def test_methods_on_one_stage_are_compared_person_by_person():
    stage = explore(["port", "vissimcc"])
    truth = stage.now.truth
    for xy in stage.plain[0].values():
        other = np.nanmedian(np.linalg.norm(xy - truth[:, ::-1], axis=-1))
        assert np.nanmedian(np.linalg.norm(xy - truth, axis=-1)) < other / 3
    assert {panel["title"] for panel in stage.tabs["stage"][0]} == {"detector", "PORT", "VisSimCC"}


def test_detections_of_one_s_own_program():
    _, people = recipe.pairs("synthetic", n=3, skeleton="coco17")
    explorer = checked(explore("port", keypoints=people))
    assert explorer.declared["pose"].high == 2 and "moves them by" in explorer.verdict


def test_a_track_of_one_s_own_in_hanet():
    made = sequences("synthetic", "test")[0]
    n, k = made.detected.shape[:2]
    frames, tracks = np.arange(n), np.zeros(n, np.int64)
    boxes = np.tile([0.0, 0, 100, 100], (n, 1))
    certain = np.ones((n, k))
    people = Detections("jhmdb15", made.detected, certain, boxes, frames=frames, tracks=tracks)
    checked(explore("hanet", keypoints=people))


def test_two_checkpoints_are_called_by_their_names(tmp_path):
    path = tmp_path / "mine.safetensors"
    shutil.copy(workbench.predict.weights_path("port", "hand21"), path)
    explorer = explore("port", weights=[path, None])
    assert explorer.attention.names == ["mine", "shipped"]
    assert explorer.attention.data == explorer.attention.other_data  # the same weights
    assert explore("port").attention.names == ["trained", "random"]


# --- refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"what": "pose"}, "did you mean"),
        ({"what": "port", "image": "a.jpg", "video": "b.mp4"}, "give one of them"),
        ({"what": "vissimcc", "boxes": "1,2,3,4"}, "reads pictures"),
        ({"what": "port", "show": "mask"}, "leave show out"),
        ({"what": "port", "weights": ["a", "b", "c"]}, "give one or two"),
        ({"what": "port", "weights": []}, "give one or two"),
        ({"what": "port", "boxes": "1,2,3,4"}, "an image or a video"),
        ({"what": "port", "inputs": 3}, "by name"),
        ({"what": "port", "index": 24}, "from 0 to 23"),
        ({"what": "port", "device": "cuda"}, "no accelerator"),
        ({"what": "port", "device": "gpu"}, "use auto, cpu or cuda"),
        ({"what": "port", "indx": 2}, "did you mean 'index'"),
        ({"what": "port", "gaps": [3]}, "unknown option of this explorer 'gaps'"),
        ({"what": "port", "rival": 3}, "choose one of: fps, index, joint"),
        ({"what": "hanet", "jiont": "neck"}, "did you mean 'joint'"),
        ({"what": ["port"], "siz_px": 3}, "did you mean 'size_px'"),
        ({"what": nn.Identity(), "inputs": 3, "label": []}, "did you mean 'labels'"),
        ({"what": []}, "unknown method"),
        ({"what": ["port", "port"]}, "name each once"),
        ({"what": ["port", "vissimcc"], "weights": "a"}, "one by one"),
        ({"what": ["port", "vissimcc"], "show": "mask"}, "leave show out"),
        ({"what": ["port", "vissimcc"], "first": -1}, "from 0 to 23"),
        ({"what": nn.Identity(), "inputs": 3, "boxes": "1,2,3,4"}, "with boxes"),
    ],
)
def test_what_is_not_clear_is_refused(options, words):
    if options.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("an accelerator is there")
    with pytest.raises((BadParameter, UnknownName), match=words):
        explore(**options)


def test_the_made_clip_may_begin_at_a_later_frame():
    whole, later = (explore(["port"], first=first, count=4).clips[0] for first in (0, 2))
    np.testing.assert_array_equal(later.truth[:2], whole.truth[2:])
    np.testing.assert_array_equal(later.frames[0], whole.frames[2])
    assert later.visibility.shape[:1] == (4,) and later.known == whole.known


@pytest.mark.parametrize(
    "text",
    ["1,2,3", "a,b,c,d", "1,2,0,4", "", [(1, 2, 3)], "1,2,3,nan", "inf,0,9,9", "0.1,0.2,0.3,0.4"],
)
def test_boxes_that_are_none(text):
    with pytest.raises(BadParameter, match="x,y,width,height"):
        boxes_of(text)


def test_boxes_are_xywh():
    xyxy = [[10, 20, 39, 59], [0, 0, 1, 1]]
    assert boxes_of("10,20,30,40; 0,0,2,2").tolist() == xyxy
    assert boxes_of([(10, 20, 30, 40), (0, 0, 2, 2)]).tolist() == xyxy
    assert boxes_of((10, 20, 30, 40)).tolist() == xyxy[:1]


@pytest.mark.realdata
def test_a_picture_without_anybody_is_refused(mine):
    with pytest.raises(BadParameter, match="say who is there"):
        explore("vissimcc", image=mine / "picture.jpg")
    with pytest.raises(BadParameter, match="file of keypoints"):
        explore("port", image=mine / "picture.jpg")


@pytest.fixture
def files(tmp_path, rng):
    """A grey picture, a clip of three frames, and results about them, by name."""
    picture = rng.integers(0, 255, (150, 200, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    clip = cv2.VideoWriter(
        str(tmp_path / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (200, 150)
    )
    for _ in range(3):
        clip.write(picture)
    clip.release()
    return tmp_path


def results(path, rows):
    """COCO results of (picture, x of the left joints, more) each."""
    people = []
    for picture, x, more in rows:
        joints = [v for j in range(more.pop("k", 17)) for v in (x + 5 * (j % 5), 10 + 7 * j, 0.9)]
        people.append({"image_id": picture, "category_id": 1, "keypoints": joints, "score": 0.9})
        people[-1] |= more
    path.write_text(json.dumps(people))
    return path


def test_people_out_of_sight_are_refused(files):
    with pytest.raises(BadParameter, match="lies outside 200 x 150 px"):
        own(files / "picture.png", boxes="20,10,100,120 5000,10,100,120")
    far = results(files / "far.json", [(0, -500, {})])
    with pytest.raises(BadRecord, match="only 0 % of the joints lie in pictures of 200x150 px"):
        own(files / "picture.png", keypoints=far)
    both = results(files / "both.json", [(0, -500, {}), (0, 20, {})])
    assert len(own(files / "picture.png", keypoints=both).people) == 2
    assert own(files / "picture.png", boxes="-50,-50,400,400").boxes.tolist() == [
        [-50, -50, 349, 349]
    ]


@pytest.mark.parametrize("methods", ["port", ["port"]])
def test_what_is_said_about_results_stands_below_the_explorer(files, methods):
    bad = "<img src=x onerror=alert(1)>"
    rows = [(f"{bad}/0001.png", 20, {}), ("clip/0001.png", 20, {}), ("clip/0002.png", 24, {})]
    path = results(files / "rows.json", rows)
    options = {"video": files / "clip.mp4", "keypoints": path, "first_frame": 1}
    explorer = explore(methods, **options)
    with open_frames(files / "clip.mp4") as frames:
        taken = on_video(path, frames, first_frame=1)
    assert explorer.notes.splitlines() == list(taken.notes)
    assert "1 results of 1 other pictures or videos are left out" in explorer.notes
    assert "first_frame=1" in explorer.code
    assert explore("port", made=2).notes == ""


def test_warnings_about_a_video_stand_below_the_explorer(files, monkeypatch):
    def warned(source, **options):
        frames = open_frames(source, **options)
        frames.warnings = (BadRecord("it is <b>odd</b>"),)
        return frames

    monkeypatch.setattr("workbench.exploration.open_frames", warned)
    explorer = explore("vissimcc", image=files / "picture.png", boxes="20,10,100,120")
    assert "it is <b>odd</b>" in explorer.notes and "<b>odd" not in explorer.page()
    people = read_detections(results(files / "r.json", [(0, 20, {})]))
    assert "odd" in explore("port", image=files / "picture.png", keypoints=people).notes


def test_boxes_and_keypoints_are_not_both_taken(files):
    people = results(files / "people.json", [(0, 20, {})])
    with pytest.raises(BadParameter, match="boxes and keypoints"):
        own(files / "picture.png", boxes="1,2,30,40", keypoints=people)


def test_a_picture_is_no_video(files):
    with pytest.raises(BadParameter, match="a picture, no video"):
        own(video=files / "picture.png", boxes="20,10,100,120")


def test_results_of_another_or_of_several_pictures_are_refused(files):
    other = results(files / "other.json", [("a/other.png", 20, {})])
    same = results(files / "same.json", [("a/picture.png", 20, {}), ("b/picture.png", 90, {})])
    for path, words in ((other, "none of its 1 results"), (same, "of several videos")):
        with pytest.raises(BadRecord, match=words):
            own(files / "picture.png", keypoints=path)


def test_results_of_two_videos_are_refused(files):
    two = results(files / "two.json", [("a/0001.png", 20, {}), ("b/0001.png", 90, {})])
    words = "images of several videos, and none is called clip: a/, b/"
    with pytest.raises(BadRecord, match=words):
        own(video=files / "clip.mp4", keypoints=two)


def test_a_person_stands_once_in_a_frame(files):
    rows = ((0, 20, 1), (0, 90, 2), (1, 20, 1), (1, 90, 1))
    twice = [(t, x, {"track_id": who}) for t, x, who in rows]
    with pytest.raises(BadRecord, match="person 1 stands twice in frame 1"):
        own(video=files / "clip.mp4", keypoints=results(files / "twice.json", twice))


def test_hands_are_no_people(files):
    hands = results(files / "hands.json", [(0, 20, {"k": 21})])
    with pytest.raises(BadParameter, match="detections are hand21"):
        explore("vissimcc", image=files / "picture.png", keypoints=hands)


def test_weights_of_other_joints_are_refused(files):
    people = results(files / "people.json", [(0, 20, {})])
    weights = workbench.predict.weights_path("port", "hand21")
    with pytest.raises(BadParameter, match="the model knows hand21"):
        explore("port", keypoints=people, weights=weights)


def test_nobody_is_refused(files):
    (files / "nobody.json").write_text("[]")
    with pytest.raises(BadParameter, match="nobody to show"):
        explore("port", keypoints=files / "nobody.json", skeleton="coco17")


def test_refiners_beside_others_want_keypoints(files):
    with pytest.raises(BadParameter, match="what port would refine"):
        explore(["port", "vissimcc"], video=files / "clip.mp4", boxes="20,10,100,120")
    alone = explore(["vissimcc"], video=files / "clip.mp4", boxes="20,10,100,120")
    assert alone.name == "stage"


def test_a_checkpoint_called_naive_is_not_the_naive_model(tmp_path):
    path = tmp_path / "naive.safetensors"
    shutil.copy(workbench.predict.weights_path("vissimcc"), path)
    explorer = explore("vissimcc", weights=[None, path], made=1)
    assert list(explorer.models) == ["A shipped", "naive", "B naive"]


def test_painted_pictures_do_not_pile_up(files):
    explorer = explore("vissimcc", image=files / "picture.png", boxes="20,10,100,120")
    for x in (10, 20, 30):
        explorer.choose(brush=[{"points": [[x, 20]], "size": 8, "frames": [0, 0]}])
    assert len(explorer.picture_ends) == 1


def test_tracks_of_one_s_own_are_kept_in_hanet():
    made = sequences("synthetic", "test")[0]
    n, k = 20, made.detected.shape[1]
    people = Detections(
        "jhmdb15",
        np.concatenate((made.detected[:n], made.detected[:n])),
        np.ones((2 * n, k)),
        np.tile([0.0, 0, 100, 100], (2 * n, 1)),
        frames=np.tile(np.arange(n), 2),
        tracks=np.repeat([7, 9], n),
    )
    explorer = explore("hanet", keypoints=people)
    assert [one.name for one in explorer.sequences] == ["person 7", "person 9"]


def test_a_head_in_the_state_leaves_the_hidden_joints_to_the_maps():
    plain = explore("port", made=3)
    name = plain.attention.maps[0]["name"]
    explorer = explore("port", made=3, state={"attention": {"head": [name, 0, 1]}})
    assert plain.attention.hidden and explorer.attention.hidden == plain.attention.hidden
    assert explorer.attention.choice["head"] == [name, 0, 1]
    again = explore("port", made=3, state=explorer.permalink())
    assert json.loads(again.permalink()) == json.loads(explorer.permalink())


# --- anybody's model


def test_a_torch_encoder_beside_random_weights():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, batch_first=True)
    model = nn.TransformerEncoder(layer, 3).eval()
    x = torch.randn(2, 5, 16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    view = explore(model, x, labels=list("abcde"), sample=1)
    assert isinstance(view, AttentionView) and view.maps[0]["shape"] == [3, 2, 5, 5]
    assert view.maps[0]["key"]["labels"] == list("abcde")
    assert view.names == ["this model", "random weights"] and view.other_data != view.data
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_tokens_of_a_vit_lie_on_its_picture(rng):
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64).eval()
    picture = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    view = foreign(model, pixels, picture=picture)
    key = view.maps[0]["key"]
    assert view.maps[0]["shape"] == [12, 3, 17, 17]
    assert key["grid"] == [4, 4] and key["ahead"] == 1 and key["labels"][:2] == ["extra 0", "y0 x0"]


def test_two_models_and_arguments_by_name():
    first, second = (nn.MultiheadAttention(8, 2, batch_first=True).eval() for _ in range(2))
    x = torch.randn(1, 4, 8)
    view = foreign(
        first, {"query": x, "key": x, "value": x}, other=second, called=("mine", "theirs")
    )
    assert view.names == ["mine", "theirs"] and view.data != view.other_data


def test_fresh_weights_are_other_weights_and_the_same_each_time():
    model = nn.MultiheadAttention(8, 2)
    one, two = fresh(model), fresh(model)
    assert torch.equal(one.in_proj_weight, two.in_proj_weight)
    assert not torch.equal(one.in_proj_weight, model.in_proj_weight)
    assert fresh(nn.Identity()) is None
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32).eval()
    same = [n for (n, a), b in zip(vit.named_parameters(), fresh(vit).parameters()) if a.equal(b)]
    assert not [name for name in same if "pos_embed" in name or "qkv.weight" in name]


class Own(nn.Module):
    """Attention, and what else a model of somebody's has."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.5)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x, times=1):
        for _ in range(times):
            x = self.dropout(self.norm(x.mT).mT)
            x = self.attention(x, x, x)[0]
        return x


def test_a_model_is_left_as_it_was():
    model, x = Own().train(), torch.randn(2, 5, 8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    numbers = torch.get_rng_state()
    foreign(model, x)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert torch.get_rng_state().equal(numbers) and all(m.training for m in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_every_call_of_a_shared_layer_is_shown():
    model, x = Own().eval(), torch.randn(2, 5, 8)
    view = foreign(model, (x, 3))
    assert [one["shape"] for one in view.maps] == [[3, 2, 5, 5]]
    assert view.data[:100] == foreign(model, x).data


def test_a_model_that_cannot_be_copied_stands_alone():
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    model.more = model.in_proj_weight * 2  # no leaf
    assert fresh(model) is None
    view = foreign(model, (torch.randn(1, 4, 8),) * 3)
    assert view.data and not view.other_data


@pytest.mark.parametrize("wrapped", [False, True])
def test_tokens_lie_where_their_patches_do(wrapped):
    options = {"pretrained": False, "img_size": 64, "dynamic_img_size": True}
    model = timm.create_model("vit_tiny_patch16_224", **options).eval()
    model = nn.Sequential(model) if wrapped else model
    picture = np.zeros((32, 128, 3), np.uint8)
    view = foreign(model, torch.zeros(1, 3, 32, 128), picture=picture)
    assert view.maps[0]["key"]["grid"] == [2, 8]  # not 4 x 4, which are as many


def test_tokens_of_windows_have_no_place_on_the_picture():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(3, 1, batch_first=True)

        def forward(self, pixels):
            windows = pixels.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 4, 5, 1)
            x = windows.reshape(-1, 4, 3)
            return self.attention(x, x, x)

    picture = np.zeros((8, 8, 3), np.uint8)
    view = foreign(Windows().eval(), torch.zeros(1, 3, 8, 8), picture=picture)
    assert view.maps[0]["shape"] == [1, 1, 4, 4] and view.maps[0]["key"]["grid"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sample": 2}, "sample is 2"),
        ({"labels": ["a"]}, "1 labels"),
        ({"grid": (3, 3)}, "a grid of"),
        ({"picture": np.zeros((9, 9, 3))}, "the picture is float64"),
        ({"picture": np.zeros((9, 9), np.uint8)}, "the picture is uint8"),
        ({"state": "{"}, "cannot be read"),
        ({"state": {"knocked_out": 3}}, "give a list"),
        ({"state": {"hidden": ["a"]}}, "no token"),
        ({"state": {"hidden": [5]}}, "no token 5"),
        ({"state": {"head": ["", 0.5, 0]}}, "no head"),
    ],
)
def test_options_that_fit_no_map_are_refused(options, words):
    model, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(2, 5, 8)
    with pytest.raises(BadParameter, match=words):
        explore(model, (x, x, x), **options)


def test_a_model_without_inputs_is_refused():
    with pytest.raises(BadParameter, match="what the model is called with"):
        explore(nn.MultiheadAttention(8, 2))


# --- chapter 08, filled in


def test_without_a_page_jupyterlab_opens_chapter_08_filled_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    called = []
    monkeypatch.setattr(os, "execv", lambda program, words: called.append(words))
    asked = ["explore", "vissimcc", "--image", "a.jpg", "--boxes", "1,2,3,4", "--weights", "w.st"]
    for name in ("explore_vissimcc.ipynb", "explore_vissimcc_2.ipynb"):
        CliRunner().invoke(app, asked)
        notebook = nbformat.read(tmp_path / name, 4)
        injected = next(
            cell.source for cell in notebook.cells if "injected-parameters" in cell.metadata.tags
        )
        assert 'method = "vissimcc"' in injected and 'boxes = "1,2,3,4"' in injected
        assert f'image = "{tmp_path / "a.jpg"}"' in injected and "keypoints" not in injected
        assert any(word.endswith(f"/lab/tree/{name}") for word in called[-1])
    assert any(cell.id == "inside" for cell in notebook.cells)
