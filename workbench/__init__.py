"""The Occlusion Workbench: look inside occlusion-aware pose estimators.

import workbench
refiner = workbench.load("port")              # shipped weights
prediction = refiner.refine(detections)       # records.Detections -> records.Prediction
workbench.explore("port").show()              # look inside, in JupyterLab
"""

import os
import sys

__version__ = "0.1.0"

# read when torch is loaded; see `threads`
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str):
    if name == "load":  # torch is imported only by those who need it
        from .predict import load

        return load
    if name == "explore":
        from .exploration import explore

        return explore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
