"""Player and brush without a browser: controls change what is computed, and the twins show the
same.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from workbench.data.coco import read_coco
from workbench.records import Clip, Reading, Track, Video
from workbench.skeletons import skeleton
from workbench.view import explorers, figures


@pytest.fixture
def clip():
    """Two people, three frames of 60x40 px; joint j of person p stands at (2 + 3 j, 10 + 20 p),
    a px further each frame.
    """
    tracks = []
    for p in (0, 1):
        xy = np.stack([2.0 + 3 * np.arange(17), np.full(17, 10.0 + 20 * p)], -1) + np.arange(3)[
            :, None, None
        ] * [1, 0]
        flags = np.full((3, 17), 2)
        flags[:, 1], flags[:, 2], xy[:, 2] = 1, 0, 0
        tracks.append(
            Track("coco17", p, xy, flags, np.ones(3, bool), np.tile([0.0, 0.0, 59.0, 39.0], (3, 1)))
        )
    return Clip(Video("made", 3, 60, 40, 5.0), tuple(tracks))


@pytest.fixture
def frames(rng):
    return rng.integers(0, 255, (3, 40, 60, 3)).astype(np.uint8)


def shown(explorer):
    return cv2.imdecode(np.frombuffer(explorer.canvas.picture, np.uint8), cv2.IMREAD_COLOR)


def test_the_player_shows_each_frame_with_its_labels(clip, frames):
    player = explorers.ClipPlayer(clip, frames, zoom=3.0)
    first = shown(player)
    assert first.shape == (120, 180, 3) and "visible (2)</b>: 30" in player.readout.value
    player.frame.value = 2
    assert (
        "frame 2" in player.readout.value and np.abs(shown(player).astype(int) - first).max() > 50
    )
    captions = [a.text for a in player.static().layout.annotations]
    assert captions[0] == "frame 0" and captions[-1] == "frame 2"


def test_show_displays_the_widget_with_its_twin(clip, frames, monkeypatch):
    shown = []
    monkeypatch.setattr(explorers, "display", lambda bundle, raw: shown.append(bundle))
    explorers.ClipPlayer(clip, frames).show()
    assert {"application/vnd.jupyter.widget-view+json", explorers.PLOTLY} <= set(shown[0])
    assert shown[0][explorers.PLOTLY]["config"]["showSendToCloud"] is False


def test_the_patch_hides_visible_joints_under_it_and_moves_by_its_sliders(clip, frames):
    brush = explorers.OcclusionBrush(clip, frames, size_px=7)
    # px 5 to 11: joints 1 (hidden), 2 (no label) and 3 (visible) of person 0
    brush.x.value, brush.y.value = 8, 10
    state = brush.state()
    assert np.argwhere(state["visibility"] != state["before"]).tolist() == [[0, 3]]
    assert "1 flags change" in brush.readout.value and "person 0: left_ear" in brush.readout.value
    assert brush.covered().sum() == 49
    assert (state["whole"] != brush.before).sum() == 1, (
        "in the other frames the joint has left the patch"
    )
    assert (state["picture"][brush.covered()] == explorers.PAINT).all() and (
        frames[0, 10, 8] != explorers.PAINT
    ).any()
    before = shown(brush)
    brush.size.value = 40
    assert (
        brush.state()["visibility"].tolist() != state["visibility"].tolist()
        and (shown(brush) != before).any()
    )
    assert brush.covered().any() and brush.covered().shape == (40, 60)


def test_paint_stays_and_the_patch_follows_the_pointer(clip, frames):
    brush = explorers.OcclusionBrush(clip, frames, zoom=2.0, size_px=5)
    redrawn = []
    brush.canvas.observe(redrawn.append, "picture")
    brush.canvas.strokes = [[[22.5, 60.5], [80.5, 60.5]]]  # canvas px: frame (11, 30) to (40, 30)
    assert (brush.x.value, brush.y.value) == (40, 30) and len(redrawn) == 1, "one picture a message"
    gone = np.argwhere(brush.state()["visibility"] != brush.before[:, 0])
    assert gone[:, 0].tolist() == [1] * 11 and gone[:, 1].tolist() == list(range(3, 14))
    brush.size.value = 9
    assert brush.covered()[30, 11] and not brush.covered()[26, 20], (
        "what is painted keeps the width of its brush"
    )
    brush.clear.click()
    assert brush.canvas.strokes == [] and not brush.covered()[30, 20] and brush.covered()[30, 40]
    brush.canvas.strokes = [[[-50.0, 500.0]]]
    assert (brush.x.value, brush.y.value) == (0, 39), (
        "a pointer that leaves the picture keeps the patch inside"
    )


def test_the_brush_s_twin_shows_before_and_after(clip, frames):
    brush = explorers.OcclusionBrush(clip, frames, size_px=7)
    brush.x.value, brush.y.value = 8, 10
    figure = brush.static()
    assert "1 flags change" in figure.layout.annotations[1].text and len(figure.layout.images) == 2
    new = [t for t in figure.data if t.name == figures.NEWLY_HIDDEN]
    assert len(new) == 1 and (new[0].x[0], new[0].y[0]) == (11, 10)


def coco_file(folder: Path, names: list[str]) -> Path:
    """A person in each picture, with one hidden joint more from picture to picture; all pictures
    are 60x40 px.
    """
    people = []
    for i in range(len(names)):
        flags = [1] * i + [2] * (17 - i)
        joints = [value for j, v in enumerate(flags) for value in (2 + 3 * j, 20, v)]
        people.append(
            {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 10, 52, 20], "keypoints": joints}
        )
    images = [
        {"id": i, "file_name": name, "width": 60, "height": 40} for i, name in enumerate(names)
    ]
    category = {"id": 1, "name": "person", "keypoints": list(skeleton("coco17").joints)}
    path = folder / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": people, "categories": [category]}))
    return path


def test_the_picture_with_most_to_say_that_is_there(tmp_path, frames):
    (tmp_path / "images").mkdir()
    reading = read_coco(coco_file(tmp_path, ["a.png", "b.png", "c.png"]))
    assert explorers.labelled_picture(reading, tmp_path, "x") is None
    for name, frame in zip("ab", frames):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(figures.jpeg(frame))
        (tmp_path / "images" / f"{name}.jpg").rename(tmp_path / "images" / f"{name}.png")
    panel = explorers.labelled_picture(reading, tmp_path, "x")
    assert panel["caption"] == "x" and (panel["visibility"] == 1).sum() == 1, (
        "b.png: c.png is not there"
    )
    assert panel["picture"].shape == (40, 60, 3) and panel["known"]


def test_flags_are_those_of_people_with_labels(tmp_path, clip):
    joints, flags, known = explorers.label_flags(read_coco(coco_file(tmp_path, ["a.png", "b.png"])))
    assert joints.name == "coco17" and flags.shape == (2, 17) and known and (flags == 1).sum() == 1
    empty = replace(clip.tracks[0], visibility=np.zeros((3, 17)))
    reading = Reading("made", "made", clips=(replace(clip, tracks=(clip.tracks[1], empty)),))
    assert explorers.label_flags(reading)[1].shape == (3, 17)
    assert explorers.label_flags(Reading("made", "made")) is None
