"""What a user would otherwise do to a sequence: filters, and how their settings are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import solveh_banded
from scipy.ndimage import median_filter
from scipy.signal import savgol_filter

from .. import metrics
from ..made.motion import WORLD, Sequence2D
from ..models.hanet import interpolate
from ..predict import SequenceRefiner

AT_ONCE = 64  # sequences; ours
Poses = Sequence[Float[np.ndarray, "_ k d"]]  # one a sequence, each of its own length
Filter = Callable[..., Poses]  # (sequences, *setting) -> as many, filtered


def one_euro(
    xy: Float[np.ndarray, "t *b k d"], fps: float, min_cutoff: float = 1.0, beta: float = 0.0
) -> Float[np.ndarray, "t *b k d"]:
    """The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012), derivative cut at 1 Hz; speed in
    boxes a second.
    """

    def smoothing(cutoff):
        return 1 / (1 + fps / (2 * np.pi * cutoff))

    out, slope, of_slope = [xy[0]], np.zeros_like(xy[0]), smoothing(1.0)
    for x in xy[1:]:
        step = x - out[-1]
        slope = slope + of_slope * (step * fps - slope)
        speed = np.sqrt((slope * slope).sum(-1, keepdims=True))
        out.append(out[-1] + smoothing(min_cutoff + beta * speed) * step)
    return np.stack(out)


# --- filters of many sequences --------------------------------------------------------------------


def straight_lines(sequences: Poses, every: int) -> Poses:
    """Every so many frames read, straight lines between them."""
    lines = []
    for xy in sequences:
        read = torch.tensor(xy[::every].reshape(1, -1, xy[0].size))
        lines.append(interpolate(read, every, len(xy)).numpy().reshape(xy.shape))
    return lines


def savgol(sequences: Poses, window: int, order: int) -> Poses:
    """The Savitzky-Golay filter, with a shorter window where the sequence is shorter."""
    windows = [min(window, len(xy) - 1 + len(xy) % 2) for xy in sequences]
    smooth = list(sequences)
    for own in set(windows):
        rows = [i for i, w in enumerate(windows) if w == own]
        found = _savgol([sequences[i] for i in rows], own, min(order, own - 1))
        for i, xy in zip(rows, found):
            smooth[i] = xy
    return smooth


def _savgol(sequences: Poses, window: int, order: int) -> Poses:
    """`savgol` of sequences as long as the window or longer. What stands behind the end of one
    reaches half a window back: these frames are fitted from the last window alone.
    """
    whole = savgol_filter(_beside(sequences), window, order, axis=0)
    last = np.stack([xy[-window:] for xy in sequences], 1)
    ends = savgol_filter(last, window, order, axis=0)[window - window // 2 :]
    return [
        np.concatenate((whole[: len(xy) - window // 2, i], ends[:, i]))
        for i, xy in enumerate(sequences)
    ]


def median(sequences: Poses, window: int) -> Poses:
    """The median of so many frames around each; the first and last frame stand for those beyond."""
    size = (window, 1, 1)
    return [median_filter(xy, size, mode="nearest") for xy in sequences]


def kalman(sequences: Poses, stiffness: float) -> Poses:
    """The Kalman smoother (Rauch, Tung, Striebel) of a joint that goes on at its velocity, which
    changes at random: all of the sequence is known, and nothing of where it begins.

    stiffness: variance of the detections over that of the changes. Its answer has the least sum of
    squared errors and stiffness times squared changes of velocity, which is solved at once.
    """
    return [_least_squares(xy, stiffness) for xy in sequences]


def _least_squares(xy: Float[np.ndarray, "t k d"], stiffness: float) -> np.ndarray:
    t = len(xy)
    if t < 3:
        return xy
    change = np.zeros((3, t))  # the diagonals of D'D, D of second differences
    for offset, weights in enumerate(((1, 4, 1), (-2, -2), (1,))):
        for i, weight in enumerate(weights):
            change[2 - offset, i + offset : t - 2 + i + offset] += weight
    change *= stiffness
    change[2] += 1
    return solveh_banded(change, xy.reshape(t, -1)).reshape(xy.shape)


def euro_of_boxes(sequences: Poses, cutoff: float, beta: float) -> Poses:
    """`one_euro` in units of each sequence's size."""
    sizes = [SequenceRefiner.size(xy[None]).item() for xy in sequences]
    boxes = _beside([xy / size for xy, size in zip(sequences, sizes)])
    calm = one_euro(boxes, float(WORLD.fps), cutoff, beta)
    return [calm[: len(xy), i] * sizes[i] for i, xy in enumerate(sequences)]


def _beside(sequences: Poses) -> Float[np.ndarray, "t b k d"]:
    """Sequences side by side in time, with zeros behind the shorter ones."""
    array = np.zeros((max(map(len, sequences)), len(sequences), *sequences[0].shape[1:]))
    for i, xy in enumerate(sequences):
        array[: len(xy), i] = xy
    return array


def filtered(apply: Filter, sequences: Poses, setting: tuple) -> Poses:
    """Sequences after a filter, some at a time, so that many long ones need little memory."""
    some = (sequences[i : i + AT_ONCE] for i in range(0, len(sequences), AT_ONCE))
    return [xy for part in some for xy in apply(part, *setting)]


# name -> (filter, settings that are tried on training sequences)
FILTERS: dict[str, tuple[Filter, list[tuple]]] = {
    "linear": (straight_lines, [(3,), (5,), (10,)]),
    "savgol": (savgol, [(w, p) for w in (5, 9, 13, 17, 21, 31) for p in (1, 2, 3)]),
    "median": (median, [(w,) for w in (3, 5, 7, 9, 13, 17, 21)]),
    "kalman": (kalman, [(s,) for s in (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0)]),
    "one_euro": (
        euro_of_boxes,
        [(c, b) for c in (0.5, 1.0, 2.0, 4.0, 8.0) for b in (0.0, 1.0, 5.0, 20.0)],
    ),
}


def near(xy: Float[np.ndarray, "t k 2"], s: Sequence2D) -> float:
    """PCK@0.05 of a made sequence, by which settings are chosen."""
    return metrics.hits(xy, s.xy_frame, s.sizes, 0.05).mean()


def chosen_filters(
    train_set: Sequence, score: Callable, filters: Mapping = FILTERS
) -> dict[str, tuple[Filter, tuple]]:
    """Each filter with the setting that is best on training sequences by score(xy, sequence)."""
    detected = [s.detected for s in train_set]

    def best(apply: Filter, tried: list[tuple]) -> tuple:
        def mean(setting: tuple) -> float:
            smooth = filtered(apply, detected, setting)
            return float(np.mean([score(xy, s) for xy, s in zip(smooth, train_set)]))

        return max(tried, key=mean)

    return {name: (apply, best(apply, tried)) for name, (apply, tried) in filters.items()}
