"""A video in the page, and the frame slider."""

from __future__ import annotations

import time

import cv2
import numpy as np

from tests.test_film import film, predicted
from workbench.data.frames import open_frames
from workbench.view import overlay
from workbench.view.overlay import FrameExplorer, show_video


def shown(monkeypatch):
    bundles = []
    monkeypatch.setattr(overlay, "display", lambda content, raw=False: bundles.append(content))
    return bundles


def test_short_videos_stand_in_the_page_long_ones_are_linked(tmp_path, monkeypatch):
    bundles, path = shown(monkeypatch), film(tmp_path / "v.webm")
    poster = np.zeros((20, 30, 3), np.uint8)
    show_video(path, poster=poster)
    show_video(path, poster=poster, limit_mb=1e-6)
    assert (
        'src="data:video/webm;base64,GkXf' in bundles[0].data
        and 'poster="data:image/jpeg' in bundles[0].data
    )
    assert (
        "data:video" not in bundles[1].data
        and "v.webm</a>" in bundles[1].data
        and "<img" in bundles[1].data
    )


def test_the_slider_redraws_and_its_static_copy_is_a_picture(tmp_path, monkeypatch):
    bundles = shown(monkeypatch)
    with open_frames(film(tmp_path / "v.webm", size=(961, 541))) as frames:
        explorer = FrameExplorer(frames, predicted(), width=480)
        explorer.show()
        first, start = explorer.image.value, time.perf_counter()
        explorer.slider.value = 2
        assert time.perf_counter() - start < 0.5  # about 10 ms where nothing else runs
    assert explorer.image.value != first
    assert cv2.imdecode(np.frombuffer(first, np.uint8), 1).shape == (270, 480, 3)
    assert "image/jpeg" in bundles[0] and "application/vnd.jupyter.widget-view+json" in bundles[0]
