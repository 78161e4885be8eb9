"""Labels on their pictures: the one with most to say, and what the flags say."""

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
from workbench.view import labelling
from workbench.view.panels import HIDDEN, OUTSIDE, VISIBLE, jpeg


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
    assert labelling.labelled_picture(reading, tmp_path, "x") is None
    for name, frame in zip("ab", frames):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(jpeg(frame))
        (tmp_path / "images" / f"{name}.jpg").rename(tmp_path / "images" / f"{name}.png")
    panel = labelling.labelled_picture(reading, tmp_path, "x")
    (people,) = panel.people
    assert panel.title == "x" and (people.marks == HIDDEN).sum() == 1, "b.png: c.png is not there"
    assert panel.frames[0].shape == (40, 60, 3) and VISIBLE in people.marks
    assert OUTSIDE not in people.marks, "the labels know about occlusion"


def test_flags_are_those_of_people_with_labels(tmp_path, clip):
    joints, flags, known = labelling.label_flags(read_coco(coco_file(tmp_path, ["a.png", "b.png"])))
    assert joints.name == "coco17" and flags.shape == (2, 17) and known and (flags == 1).sum() == 1
    empty = replace(clip.tracks[0], visibility=np.zeros((3, 17)))
    reading = Reading("made", "made", clips=(replace(clip, tracks=(clip.tracks[1], empty)),))
    assert labelling.label_flags(reading)[1].shape == (3, 17)
    assert labelling.label_flags(Reading("made", "made")) is None
