"""How many threads torch computes with, and what they do while they wait.

Its OpenMP threads spin at every barrier unless told otherwise before torch is loaded: beside other
work two of them burn both cores and get nowhere. So importing the package, and every kernel that it
starts, asks for sleep (`OMP_WAIT_POLICY=PASSIVE`), and what is small computes on one thread. The
user's own settings win.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

SMALL = 5e6  # parameters; the released HANet (18 M) gains a third from a second thread  # ours
USUAL = torch.get_num_threads()  # as torch chose it, or OMP_NUM_THREADS


def is_small(model: nn.Module) -> bool:
    """Whether a second thread costs more than it brings: no convolutions over pictures, and few
    parameters.
    """
    if any(isinstance(part, nn.Conv2d) for part in model.modules()):
        return False
    return sum(p.numel() for p in model.parameters()) < SMALL


@contextmanager
def threads_for(model: nn.Module, usual: int = USUAL) -> Iterator[None]:
    """One thread for a small model inside; else, and where OMP_NUM_THREADS or a call of
    `torch.set_num_threads` says how many, as it is.

    usual: how many torch itself chose; another number now is the user's.
    """
    chosen = "OMP_NUM_THREADS" in os.environ or torch.get_num_threads() != usual
    if chosen or usual == 1 or not is_small(model):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def hardware_in_words(device: str) -> str:
    """The GPU's name, or as in "2 cores, x86_64"."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}"


def threads_in_words() -> str:
    """As in "2 threads, which sleep while they wait"."""
    asleep = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    how = "sleep" if asleep else "spin (set OMP_WAIT_POLICY=PASSIVE before torch is imported)"
    return f"{torch.get_num_threads()} threads, which {how} while they wait"
