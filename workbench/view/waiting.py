"""A line below a cell that takes long: how long it has been at it, and at last how long it took."""

from __future__ import annotations

import time
from contextvars import copy_context
from threading import Event, Thread

from IPython import get_ipython
from IPython.display import HTML, display

AFTER_S = 2.0  # shorter cells say nothing
EVERY_S = 1.0


class _Clock:
    """Of the cell that runs."""

    def __init__(self):
        self.done, self.thread = Event(), None

    def start(self, info: object = None) -> None:
        self.done = Event()
        # a thread of its own context belongs to the cell that started it
        self.thread = Thread(target=copy_context().run, args=(self.tell, self.done), daemon=True)
        self.thread.start()

    def stop(self, result: object = None) -> None:
        self.done.set()
        if self.thread is not None:
            self.thread.join(EVERY_S)

    def tell(self, done: Event) -> None:
        began = time.monotonic()
        if done.wait(AFTER_S):
            return
        line = display(_words("computing … ", began), display_id=True)
        while not done.wait(EVERY_S):
            line.update(_words("computing … ", began))
        line.update(_words("took ", began))


def _words(what: str, began: float) -> HTML:
    return HTML(f"<small>{what}{time.monotonic() - began:.0f} s</small>")


CLOCK = _Clock()


def watch() -> None:
    """From the next cell on, where cells are run by IPython; again changes nothing."""
    shell = get_ipython()
    if shell is None or CLOCK.start in shell.events.callbacks["pre_run_cell"]:
        return
    shell.events.register("pre_run_cell", CLOCK.start)
    shell.events.register("post_run_cell", CLOCK.stop)
