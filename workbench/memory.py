"""What the C library's allocator does with memory that is freed."""

from __future__ import annotations

import numpy as np


def keep_freed() -> None:
    """Has glibc's allocator keep some 64 MB of what is freed, for the next arrays and tensors.

    Until a process has freed a large block, it gives back what a layer's result or a picture took,
    and the next one waits for pages to be mapped afresh: PORT took 1.2 to 1.5 times as long, a
    rendered picture 1.1 to 1.2 times. A large block, never touched, is freed here; other allocators
    take no notice.
    """
    np.empty(32_000_000, np.uint8)  # bytes: near the largest that glibc learns from
