"""Cells that take long say so while they run: in a real kernel, as its messages."""

from __future__ import annotations

import re

from jupyter_client.manager import start_new_kernel

WATCH = """
from workbench.view import waiting
waiting.EVERY_S = 0.5
waiting.watch()
waiting.watch()
"""


def said(client, code):
    """Types and words of what a cell shows, in their order."""
    out = []

    def heard(message):
        if message["msg_type"] in ("display_data", "update_display_data"):
            out.append((message["msg_type"], message["content"]["data"].get("text/html", "")))

    reply = client.execute_interactive(code, output_hook=heard, timeout=60)
    assert reply["content"]["status"] == "ok"
    return out


def test_a_long_cell_says_how_long_it_has_been_at_it_and_a_short_one_nothing():
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        assert said(client, WATCH) == []
        assert said(client, "import time; time.sleep(0.3)") == []
        shown = said(client, "time.sleep(3.4)")
        assert said(client, "1 / 1") == [], "the clock stands still"
        kinds, words = zip(*shown)
        assert kinds[0] == "display_data" and set(kinds[1:]) == {"update_display_data"}
        assert len(shown) >= 3, "one line, and it moves"
        assert re.fullmatch(r"<small>computing … [234] s</small>", words[0])
        assert re.fullmatch(r"<small>took [3-6] s</small>", words[-1])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
