"""Work given to processes of their own. Not by `multiprocessing`: these need no main guard in the
user's script, and what they are told and answer is text.
"""

from __future__ import annotations

import os
import sys
from subprocess import DEVNULL, PIPE, Popen


def start(function: str, stdout: int = PIPE) -> Popen:
    """This Python calls "workbench.module:function" in a process of its own, with the modules that
    are found here; its standard input is an open pipe. stdout: as of `subprocess.Popen`.
    """
    module, _, name = function.partition(":")
    command = [sys.executable, "-c", f"from {module} import {name}; {name}()"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": PIPE, "stdout": stdout, "stderr": DEVNULL}
    return Popen(command, env=environment, text=True, **pipes)
