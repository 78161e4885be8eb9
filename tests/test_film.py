"""Drawn people, written videos and result files."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.growth import LINEAR, growth
from workbench.data.frames import open_frames
from workbench.data.results import read_detections
from workbench.errors import BadFile, BadParameter
from workbench.film import (
    COLOURS,
    DARK,
    LONG_SIDE,
    Pace,
    by_frame,
    draw_refined,
    rescaled,
    save_results,
    shrunk,
    write_overlay,
    write_video,
)
from workbench.records import Detections, Prediction

POSE = np.stack((20 + np.arange(17) % 4 * 12.0, 12 + np.arange(17) * 4.0), 1)


def predicted(frames=(0, 0, 2), tracks=(1, 0, 1)) -> Prediction:
    n = len(frames)
    xy = POSE + 3 * np.arange(n)[:, None, None]
    confidence = np.full((n, 17), 0.9)
    confidence[:, 3] = 0
    boxes = np.concatenate((xy.min(1), xy.max(1)), 1)
    ids = tuple(str(i) for i in range(n))
    found = Detections(
        "coco17", xy, confidence, boxes, ids=ids, frames=np.array(frames), tracks=np.array(tracks)
    )
    replaced = np.zeros((n, 17), bool)
    replaced[:, 9] = True
    moved = xy.copy()
    moved[:, 9] = (90, 100)
    return Prediction("coco17", moved, confidence, replaced, "test", found)


def film(path, n=3, size=(97, 89), fps=7.0):
    rng = np.random.default_rng(0)
    base = cv2.resize(rng.integers(0, 255, (5, 5, 3), np.uint8), size)
    return write_video(path, (np.roll(base, 3 * i, 1) for i in range(n)), fps=fps)


def test_people_are_drawn_where_they_are_in_their_colour():
    frame = np.full((107, 101, 3), 127, np.uint8)
    people = by_frame(predicted())(0)
    picture = draw_refined(frame, people)
    assert (frame == 127).all() and picture.shape == frame.shape
    for person, row in ((1, 0), (0, 1)):
        x, y = people.xy_frame[row, 16].round().astype(int)
        assert draw_refined(frame, people.select([row]))[y, x].tolist() == list(COLOURS[person])
    assert picture[100, 90].min() > 230  # hollow: replaced
    x, y = people.xy_frame[0, 3].astype(int)
    alone = draw_refined(frame, people.select([0]))
    assert alone[y, x].tolist() == [127, 127, 127]  # confidence 0 and not replaced: not there
    assert (draw_refined(frame, people.select([])) == 127).all()


def test_far_away_coordinates_are_harmless():
    people = predicted((0,), (0,))
    wild = Prediction(
        "coco17", people.xy_frame * 1e9, people.confidence, people.replaced, "", people.detections
    )
    assert draw_refined(np.zeros((53, 47, 3), np.uint8), wild).shape == (53, 47, 3)


def test_people_of_a_frame():
    people = by_frame(predicted((5, 0, 5)))
    assert [len(people(i)) for i in (0, 1, 5, 6)] == [1, 0, 2, 0]
    assert people(5).detections.ids == ("0", "2")
    with pytest.raises(BadParameter, match="which frame"):
        by_frame(Prediction("coco17", POSE[None], np.ones((1, 17)), np.ones((1, 17), bool)))


def test_a_written_video_has_the_frames_that_went_in(tmp_path, capfd):
    path = film(tmp_path / "new" / "v.webm", n=5)
    frames = open_frames(path)
    assert [len(frames), frames.video.width // 2, frames.video.height // 2, frames.video.fps] == [
        5,
        48,
        44,
        7.0,
    ]
    assert len(list(frames)) == 5
    assert path.read_bytes()[:4] == b"\x1a\x45\xdf\xa3" and b"V_VP8" in path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ["v.webm"]
    assert capfd.readouterr().err == ""


def test_pictures_of_other_sizes_are_fitted(tmp_path):
    shapes = ((48, 128), (96, 48), (7, 6))
    pictures = (np.full((*shape, 3), 255, np.uint8) for shape in shapes)
    path = write_video(tmp_path / "v.webm", pictures, long_side=64)
    wide, tall, small = open_frames(path)
    assert wide.shape == (24, 64, 3) and wide.min() > 230
    assert tall[:, :10].min() > 200 > 50 > tall[:, 20:].max()
    assert small[:, :16].mean() > 200 > 50 > small[:, 32:].max()


def test_a_picture_is_scaled_down_to_even_sides_and_never_up():
    sizes = {(1080, 1920): (540, 960), (1920, 1080): (960, 540), (89, 97): (89, 97)}
    sizes |= {(7, 2000): (2, 960), (1001, 1003): (958, 960)}
    for old, new in sizes.items():
        assert shrunk(np.zeros((*old, 3), np.uint8), 960).shape == (*new, 3)
    wide = np.zeros((1080, 1920, 3), np.uint8)
    assert shrunk(wide, LONG_SIDE) is wide
    assert shrunk(wide, 501).shape == (280, 500, 3)


def test_joints_keep_their_places_on_a_scaled_picture():
    people = predicted((0,), (0,))
    xy = people.xy_frame.copy()
    xy[0, :3] = (0, 0), (639, 359), (-0.5, 359.5)
    small = rescaled(replace(people, xy_frame=xy), (640, 360), (320, 90))
    np.testing.assert_allclose(
        small.xy_frame[0, :3], [(-0.25, -0.375), (319.25, 89.375), (-0.5, 89.5)]
    )
    np.testing.assert_allclose(small.detections.xy_frame, (POSE[None] + 0.5) * (0.5, 0.25) - 0.5)
    assert rescaled(people, (640, 360), (640, 360)) is people


def test_an_overlay_is_drawn_at_the_size_that_it_is_written_in(tmp_path):
    spots = np.stack((100 + np.arange(17) % 6 * 200.0, 300 + np.arange(17) // 6 * 150.0), 1)
    people = predicted((0,), (0,))
    found = replace(people.detections, xy_frame=spots[None])
    people = replace(people, xy_frame=spots[None], detections=found)
    grey = (np.full((720, 1280, 3), 127, np.uint8) for _ in range(2))
    with open_frames(write_video(tmp_path / "v.webm", grey)) as frames:
        path = write_overlay(tmp_path / "small.webm", frames, people, long_side=641)
        wide = write_overlay(tmp_path / "wide.webm", frames, people, long_side=9999)
    small, large = open_frames(path)[0].astype(int), open_frames(wide)[0]
    assert small.shape == (360, 640, 3) and large.shape == (720, 1280, 3)
    x, y = ((spots[16] + 0.5) / 2 - 0.5).round().astype(int)
    # a disc is as wide as on any picture of this size: four px, and a rim
    assert np.abs(small[y, x] - COLOURS[0]).max() < 50
    assert np.abs(small[y - 6, x] - DARK).max() < 90 and np.abs(small[y - 11, x] - 127).max() < 20


def test_a_legend_too_wide_for_its_picture_takes_rows():
    def rows(width, height):
        """Heights at which there are letters, in runs."""
        frame = np.full((height, width, 3), 127, np.uint8)
        people = by_frame(predicted())(1)
        drawn = draw_refined(frame, people, legend="one one one   two two two   three three three")
        light = (drawn > 200).all(-1).any(1)
        dark = (drawn == DARK).all(-1).any(1)
        return int((np.diff(light.astype(int), prepend=0) == 1).sum()), int(dark.sum())

    assert rows(900, 300)[0] == 1 and rows(200, 300)[0] == 3
    assert rows(200, 60)[0] == 1 and rows(200, 300)[1] < 100


def test_the_pace_of_writing_is_reported(tmp_path, monkeypatch):
    paces = []
    with open_frames(film(tmp_path / "v.webm", n=5)) as frames:
        write_overlay(tmp_path / "o.webm", frames, predicted(), report=paces.append)
    (pace,) = paces
    assert pace.frames == 5 and 0 < pace.encoding < pace.seconds < 60
    assert Pace(30, 2.0, 0.5).rate == 15 and Pace(30, 2.0, 0.5).encoding_share == 0.25

    def late():
        for _ in range(3):
            time.sleep(0.2)
            yield np.zeros((16, 16, 3), np.uint8)

    write_video(tmp_path / "late.webm", late(), report=paces.append)
    assert paces[1].seconds > 0.6 and paces[1].encoding_share < 0.5


def test_a_video_that_fails_leaves_nothing_behind(tmp_path):
    def broken():
        yield np.zeros((16, 16, 3), np.uint8)
        raise BadFile("cut")

    with pytest.raises(BadFile, match="cut"):
        write_video(tmp_path / "v.webm", broken())
    with pytest.raises(BadFile, match="no frames"):
        write_video(tmp_path / "v.webm", iter(()))
    with pytest.raises(BadParameter, match=r"\.webm"):
        write_video(tmp_path / "v.mp4", iter(()))
    assert list(tmp_path.iterdir()) == []


def test_results_are_saved_in_the_form_of_the_input(tmp_path):
    prediction = predicted()
    found = prediction.detections
    keypoints = np.concatenate((found.xy_frame, found.confidence[..., None]), -1).reshape(3, -1)
    items = [
        {"image_id": int(f), "keypoints": k.tolist(), "score": 0.5, "x": i}
        for i, (f, k) in enumerate(zip(found.frames, keypoints))
    ]
    like = tmp_path / "mine.json"
    like.write_text(json.dumps(items))
    with open_frames(film(tmp_path / "my clip.webm")) as frames:
        written = save_results(tmp_path / "out", frames, prediction, like=like)
        own = save_results(tmp_path / "own", frames, prediction)
    assert {k: p.name for k, p in written.items()} == {
        "results": "my_clip_refined.json",
        "table": "my_clip_joints.csv",
        "overlay": "my_clip_overlay.webm",
    }
    assert [item["x"] for item in json.loads(written["results"].read_text())] == [0, 1, 2]
    assert len(written["table"].read_text().splitlines()) == 1 + 3 * 17
    for path in (written["results"], own["results"], own["table"]):
        order = np.lexsort(read_detections(path).xy_frame[:, 0].T)
        np.testing.assert_allclose(
            read_detections(path).xy_frame[order], prediction.xy_frame, rtol=1e-6
        )
    assert len(open_frames(own["overlay"])) == 3


def test_people_of_every_frame_cost_in_proportion_to_the_frames():
    def make(n):
        people = by_frame(predicted(range(n), [0] * n))
        return lambda: [people(i) for i in range(n)]

    assert growth(make, 100) < LINEAR
