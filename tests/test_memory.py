"""What the allocator keeps, asked of glibc itself."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# bytes of a new array of 20 MB that were mapped for it alone
MAPPED = """
import ctypes
import sys
import numpy as np

class Statistics(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd",
        "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Statistics
exec(sys.argv[1])
before = libc.mallinfo2().hblkhd
array = np.empty(20_000_000, np.uint8)
print(libc.mallinfo2().hblkhd - before)
"""


def mapped(what: str) -> int:
    command = [sys.executable, "-c", MAPPED, what]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
@pytest.mark.parametrize(
    "what",
    [
        "from workbench.memory import keep_freed; keep_freed()",
        "import workbench; workbench.load('port')",
    ],
)
def test_large_arrays_come_from_memory_that_is_kept(what):
    assert mapped(what) == 0 < 20_000_000 <= mapped("import workbench.memory")
