"""Arrays of panels: bones as one line, runs of frames, what labels say."""

from __future__ import annotations

import cv2
import numpy as np

from workbench.skeletons import skeleton
from workbench.view import panels
from workbench.view.panels import HIDDEN, NEWLY_HIDDEN, NOTHING, OUTSIDE, VISIBLE

HAND = skeleton("hand21")


def test_bones_are_one_line_with_gaps(rng):
    xy = rng.normal(100, 30, (21, 2))
    x, y = panels.bones(xy, HAND)
    assert len(x) == 3 * len(HAND.edges)
    assert np.isnan(x[2::3]).all() and np.isnan(y).sum() == len(HAND.edges)
    assert (x[0], x[1]) == (xy[0, 0], xy[1, 0])
    labelled = np.arange(21) != 0
    both = sum(0 not in edge for edge in HAND.edges)
    assert panels.bones(xy, HAND, labelled).shape == (2, 3 * both)


def test_runs_of_frames_have_ends():
    assert panels.spans(np.array([1, 1, 0, 0, 1], bool)) == [(0, 1), (4, 4)]
    assert panels.spans(np.zeros(3, bool)) == []


def test_a_label_has_a_mark():
    marks = panels.marks_of(np.array([0, 1, 2, 1]), np.array([0, 1, 2, 2]))
    assert marks.tolist() == [NOTHING, HIDDEN, VISIBLE, NEWLY_HIDDEN]
    assert panels.marks_of(np.array([2, 0]), known=False).tolist() == [OUTSIDE, NOTHING]


def test_pictures_keep_their_colours_and_are_scaled_down(rng):
    picture = np.full((30, 50, 3), (200, 40, 10), np.uint8)
    raw = np.frombuffer(panels.jpeg(picture, 25), np.uint8)
    back = cv2.imdecode(raw, cv2.IMREAD_COLOR)[..., ::-1]
    assert back.shape == (15, 25, 3)
    assert np.abs(back.mean((0, 1)) - picture.mean((0, 1))).max() < 3, "red stays red"
