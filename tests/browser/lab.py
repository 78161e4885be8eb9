"""A real JupyterLab on loopback with a private configuration, and a chromium that can reach nothing
else.

Use `page.wait_for_timeout`, never `time.sleep`, once a page is open: playwright's handlers only run
inside its calls.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(os.environ.get("WORKBENCH_SCREENSHOTS") or ROOT / "runs" / "browser")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
LOOPBACK_ALONE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
HOME = ("data:", "blob:", "about:", "file:")
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"autoStartDefaultKernel": True, "windowingMode": "none"},
}


@contextmanager
def jupyterlab(root: Path, private: Path) -> Iterator[str]:
    """JupyterLab that serves `root`; yields the address of its documents, to be followed by path
    and query.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    for plugin, values in SETTINGS.items():
        file = private / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    env = os.environ | {
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_DATA_DIR": str(private / "data"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        "IPYTHONDIR": str(private / "ipython"),
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        "--allow-root",
    ]
    command += [
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={root}",
    ]
    command += [
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    log = private / "lab.log"
    with open(log, "wb") as output:
        server = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 90
        while not _answers(f"http://127.0.0.1:{port}/api/status?token={token}"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/doc/tree/{{path}}?token={token}&reset"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=2).status == 200
    except OSError:
        return False


@contextmanager
def chromium(
    *, width: int = 1400, height: int = 1300, home: str = ""
) -> Iterator[tuple[Page, list[str]]]:
    """A page, and the growing list of addresses that it asked for outside of `home` and of
    itself.
    """
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, LOOPBACK_ALONE])
        page = browser.new_page(viewport={"width": width, "height": height})
        outside: list[str] = []
        local = (*HOME, home) if home else HOME
        page.context.on(
            "request", lambda r: None if r.url.startswith(local) else outside.append(r.url)
        )
        sockets = home.replace("http", "ws", 1) or None
        page.on(
            "websocket",
            lambda w: None if sockets and w.url.startswith(sockets) else outside.append(w.url),
        )
        try:
            yield page, outside
        finally:
            browser.close()


class OpenNotebook:
    """A notebook open in JupyterLab's page."""

    def __init__(self, page: Page, url: str, *, timeout_s: float = 90):
        self.page = page
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell", timeout=timeout_s * 1000)
        self.wait(
            lambda: page.locator("#jp-main-statusbar :text-matches('\\\\| Idle$')").count(),
            timeout_s,
            "idle kernel",
        )

    def wait(self, condition: Callable[[], object], timeout_s: float, what: str) -> None:
        """Until the condition holds, closing dialogs that stand in the way."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {what} within {timeout_s} s")
            dialog = self.page.locator(".jp-Dialog button.jp-mod-accept")
            if dialog.count():
                dialog.first.click()
            self.page.wait_for_timeout(100)

    def run_all(self, timeout_s: float = 600) -> None:
        """Runs every cell and waits until none is waiting and the kernel has been idle for half
        a second.
        """
        self.page.locator('#jp-MainMenu .lm-MenuBar-item:has-text("Run")').first.click()
        item = '.lm-Menu .lm-Menu-item:has(.lm-Menu-itemLabel:text-is("Run All Cells"))'
        self.page.locator(item).first.click()
        quiet = []

        def settled() -> bool:
            quiet.append(self._idle())
            return len(quiet) >= 5 and all(quiet[-5:])

        self.wait(settled, timeout_s, "end of all cells")

    def _idle(self) -> bool:
        return self.page.evaluate(
            """() => {
            const indicator = document.querySelector('.jp-Notebook-ExecutionIndicator');
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
            return indicator?.dataset.status === 'idle' &&
                !prompts.some(prompt => prompt.textContent.includes('*'));
            }"""
        )

    def errors(self) -> list[str]:
        """Texts of the errors that cells show. JupyterLab 4.6 gives them the type of stderr, which
        progress bars have, too.
        """
        outputs = self.page.locator(".jp-OutputArea-output").all_inner_texts()
        return [text for text in outputs if "Traceback (most recent call last)" in text]

    def slider(self, label: str) -> Locator:
        """The slider with this description, scrolled into view."""
        slider = self.page.locator(f'.widget-slider:has(.widget-label:text-is("{label}"))').first
        slider.scroll_into_view_if_needed()
        return slider

    def press(self, slider: Locator, key: str) -> str:
        """Presses a key on the slider's handle; the value that its readout then shows."""
        slider.locator(".noUi-handle").first.focus()
        self.page.keyboard.press(key)
        return slider.locator(".widget-readout").inner_text()

    def output_around(self, slider: Locator) -> Locator:
        """The cell output that the slider stands in."""
        return self.page.locator(".jp-OutputArea-child", has=slider).last

    def settle(self, output: Locator, timeout_s: float = 60) -> None:
        """Until the kernel is idle and the output looks the same for a second: what still
        redraws drops a drag.
        """
        shots: list[bytes] = []

        def still() -> bool:
            shots.append(output.screenshot(animations="disabled", caret="hide"))
            self.page.wait_for_timeout(300)
            return len(shots) > 3 and len(set(shots[-4:])) == 1 and self._idle()

        self.wait(still, timeout_s, "rest in the output")

    def click(self, place: tuple[float, float]) -> None:
        """On a place on the page, px, after a rest there: plotly finds what is under a pointer
        that rests.
        """
        self.page.mouse.move(*place)
        self.page.wait_for_timeout(500)
        self.page.mouse.click(*place)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the mouse, from place to place on the page, px, as slowly as a hand."""
        self.page.mouse.move(*start)
        self.page.wait_for_timeout(200)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=8)
        self.page.wait_for_timeout(200)
        self.page.mouse.up()

    def pixels_without(self, output: Locator, slider: Locator) -> bytes:
        """The output as a picture with the slider masked: what is left changes only if the
        kernel redrew it.
        """
        return output.screenshot(mask=[slider], animations="disabled", caret="hide")
