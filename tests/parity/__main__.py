"""`python -m tests.parity FILE...`: exit 1 when a difference is above |a-b| <= 1e-5 + 1e-6 |b|,
2 for what cannot be read.
"""

from __future__ import annotations

import sys

from workbench.errors import WorkbenchError

from . import hanet, otpose, port, simcc, visibility, vitpose
from .harness import compare_file

CHECKS = [
    port.CHECK,
    hanet.NETWORK,
    hanet.LOSS,
    hanet.METRICS,
    simcc.CHECK,
    vitpose.CHECK,
    visibility.CHECK,
    *otpose.CHECKS,
]


def main(paths: list[str]) -> int:
    if not paths:
        print(__doc__)
        return 2
    status = 0
    for path in paths:
        try:
            name, lines, left_out = compare_file(path, CHECKS)
        except WorkbenchError as error:
            print(error, file=sys.stderr)
            status = 2
            continue
        print(f"{path}: {name}")
        for line in sorted(lines, key=lambda line: -line.excess):
            verdict = "ok  " if line.ok else "FAIL"
            text = f"  {verdict} {line.name:<40} worst |a-b| {line.worst:.3g}  {line.note}"
            print(text.rstrip())
        for key, reason in sorted(left_out.items()):
            print(f"  not compared {key}: {reason}")
        if lines:
            worst = max(lines, key=lambda line: line.excess)
            print(
                f"  worst of {len(lines)}: {worst.name}, {worst.excess:.3g} of what is allowed; "
                f"{len(left_out)} not compared"
            )
        if not lines or not all(line.ok for line in lines):
            status = max(status, 1)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
