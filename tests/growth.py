"""How the cost of work grows with its size, on a machine that does other things, too."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jaxtyping

LINEAR = 8.0  # of work that costs in proportion to its size, `growth` is about 4; of its square 16


@contextmanager
def _bare() -> Iterator[None]:
    """Without what tests add to the cost of a call: shapes are not checked, garbage stays."""
    checked = jaxtyping.config.jaxtyping_disable
    gc.collect()
    gc.disable()
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", checked)
        gc.enable()


def _seconds(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def growth(make: Callable[[int], Callable[[], object]], size: int) -> float:
    """By how many times the CPU time of a call grows where there is four times as much to do.

    make: size -> the call that is measured, with all that it needs made beforehand. Both sizes are
    called in turn, and the fastest of each counts.
    """
    with _bare():
        small, large = make(size), make(4 * size)
        small()
        pairs = [(_seconds(small), _seconds(large)) for _ in range(3)]
    fastest_small, fastest_large = map(min, zip(*pairs))
    return fastest_large / fastest_small
