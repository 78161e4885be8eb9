"""A video in the page."""

from __future__ import annotations

import numpy as np

from tests.test_film import film
from workbench.view import overlay
from workbench.view.overlay import show_video


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
