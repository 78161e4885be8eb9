"""What a user would otherwise do to a sequence: filters, and how their settings are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.signal import savgol_filter

from ..made.motion import WORLD
from ..models.hanet import interpolate
from ..predict import SequenceRefiner


def one_euro(
    xy: Float[np.ndarray, "t k d"], fps: float, min_cutoff: float = 1.0, beta: float = 0.0
) -> Float[np.ndarray, "t k d"]:
    """The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012), derivative cut at 1 Hz; speed in
    boxes a second.
    """

    def smoothing(cutoff):
        return 1 / (1 + fps / (2 * np.pi * cutoff))

    out, slope = [xy[0]], np.zeros_like(xy[0])
    for x in xy[1:]:
        slope = slope + smoothing(1.0) * ((x - out[-1]) * fps - slope)
        speed = np.linalg.norm(slope, axis=-1, keepdims=True)
        out.append(out[-1] + smoothing(min_cutoff + beta * speed) * (x - out[-1]))
    return np.stack(out)


def straight_lines(xy: Float[np.ndarray, "t k d"], every: int) -> Float[np.ndarray, "t k d"]:
    """Every so many frames read, straight lines between them."""
    read = torch.tensor(xy[::every].reshape(1, -1, xy[0].size))
    return interpolate(read, every, len(xy)).numpy().reshape(xy.shape)


def savgol(xy: Float[np.ndarray, "t k d"], window: int, order: int) -> Float[np.ndarray, "t k d"]:
    """The Savitzky-Golay filter, with a shorter window where the sequence is shorter."""
    window = min(window, len(xy) - 1 + len(xy) % 2)
    return savgol_filter(xy, window, min(order, window - 1), axis=0)


def euro_of_boxes(
    xy: Float[np.ndarray, "t k d"], cutoff: float, beta: float
) -> Float[np.ndarray, "t k d"]:
    """`one_euro` in units of the pose's size."""
    size = SequenceRefiner.frame(xy[None])[1].item()
    return one_euro(xy / size, float(WORLD.fps), cutoff, beta) * size


# name -> (filter, settings that are tried on training sequences)
FILTERS: dict[str, tuple[Callable, list[tuple]]] = {
    "linear": (straight_lines, [(3,), (5,), (10,)]),
    "savgol": (savgol, [(w, p) for w in (5, 9, 13, 17, 21, 31) for p in (1, 2, 3)]),
    "one_euro": (
        euro_of_boxes,
        [(c, b) for c in (0.5, 1.0, 2.0, 4.0, 8.0) for b in (0.0, 1.0, 5.0, 20.0)],
    ),
}


def chosen_filters(
    train_set: Sequence, score: Callable, filters: Mapping = FILTERS
) -> dict[str, tuple[Callable, tuple]]:
    """Each filter with the setting that is best on training sequences by score(xy, sequence)."""

    def best(apply: Callable, tried: list[tuple]) -> tuple:
        def mean(setting: tuple) -> float:
            return float(np.mean([score(apply(s.detected, *setting), s) for s in train_set]))

        return max(tried, key=mean)

    return {name: (apply, best(apply, tried)) for name, (apply, tried) in filters.items()}
