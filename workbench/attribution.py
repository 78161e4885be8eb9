"""Attribution: how much each part of an input, or of what a tap passes on, adds to one number of
the answer. Attention says where a network looks; this says what changes the answer.

    integrated_gradients(lambda x: model(x)[:, 0], images)            # any function of tensors
    attribute(model, {"x": images}, lambda out: out[:, 0], "encoder.3")   # or of a submodule's
    workbench.load("vissimcc").attribute({"images": crop}, "right_wrist")  # or of a joint

Everything is an answer to "instead of what?": the baseline. Sundararajan et al. 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from .errors import BadParameter, IncompleteAttribution, TapError, check_choice
from .taps import record, save_arrays, tap_table
from .threads import threads_for

TOLERANCE = 0.01  # of the output's change
# below this share of the output its change is too small for fp32 to tell its hundredth  # ours
RESOLVED = 1e-4
BLUR = 0.1  # standard deviation over the longer side  # ours
Function = Callable[[Tensor], Float[Tensor, "m"]]


class Shares(NamedTuple):
    """What was attributed to each of n inputs.

    outputs: at the baseline and at the input. completeness: |sum of values - change of the output|
    over |change|, or over `RESOLVED` of the output where that is more.
    """

    values: Float[Tensor, "n ..."]
    outputs: Float[Tensor, "n 2"]
    completeness: Float[Tensor, "n"]


# --- functions of tensors -------------------------------------------------------------------------


def _slopes(function: Function, points: Float[Tensor, "m ..."]) -> Float[Tensor, "m ..."]:
    """Gradients of each row's value. None is left on what the function's own parameters hold."""
    points = points.detach().requires_grad_()
    values = function(points.clone())  # a copy, because an operation in place may follow
    if values.shape != points.shape[:1]:
        raise BadParameter(
            f"{len(points)} inputs gave values of shape {tuple(values.shape)}",
            remedy="a function that gives one number an input",
        )
    slopes = None
    if values.requires_grad:
        (slopes,) = torch.autograd.grad(values.sum(), points, allow_unused=True)
    if slopes is None:
        raise BadParameter(
            "no gradient runs from the value to what it is attributed to",
            remedy="choose what the value depends on smoothly: no argmax, nothing detached between",
        )
    return slopes


class _Line:
    """The straight line from a baseline (0) to an input (1), and a function along it."""

    def __init__(self, function: Function, start: Tensor, end: Tensor, batch: int):
        self.function = function
        self.start = start
        self.gap = end - start
        self.batch = batch

    def value(self, at: float) -> float:
        with torch.no_grad():
            return self.function((self.start + at * self.gap)[None]).item()

    def shares(self, at: np.ndarray, weights: np.ndarray) -> Tensor:
        """The gap times the weighted sum of gradients at these places."""
        total = torch.zeros_like(self.gap)
        for some in range(0, len(at), self.batch):
            part = slice(some, some + self.batch)
            points = torch.stack([self.start + s * self.gap for s in at[part].tolist()])
            slopes = _slopes(self.function, points)
            total += torch.tensordot(torch.tensor(weights[part]).to(slopes), slopes, 1)
        return total * self.gap


class _Piece(NamedTuple):
    """Of a line: its ends, the function there, and what was attributed to it."""

    low: float
    high: float
    before: float
    after: float
    shares: Tensor

    @property
    def miss(self) -> float:
        """What the sum lacks of the function's change."""
        return self.shares.double().sum().item() - (self.after - self.before)


def _integrated(line: _Line, steps: int, most: int, tolerance: float) -> _Piece:
    """The whole line from pieces, halved where they miss most until their sum misses no more than
    the tolerance, nor their root of squares: misses of both signs can cancel by chance.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    nodes, weights = (nodes + 1) / 2, weights / 2

    def piece(low: float, high: float, before: float, after: float) -> _Piece:
        long = high - low
        return _Piece(low, high, before, after, line.shares(low + long * nodes, long * weights))

    ends = line.value(0.0), line.value(1.0)
    pieces = [piece(0.0, 1.0, *ends)]
    used = steps
    allowed = tolerance * _scale(*ends)
    while used + 2 * steps <= most:
        misses = [p.miss for p in pieces]
        if max(abs(sum(misses)), math.hypot(*misses)) <= allowed:
            break
        worst = pieces.pop(int(np.abs(misses).argmax()))
        middle = (worst.low + worst.high) / 2
        between = line.value(middle)
        pieces.append(piece(worst.low, middle, worst.before, between))
        pieces.append(piece(middle, worst.high, between, worst.after))
        used += 2 * steps
    return _Piece(0.0, 1.0, *ends, sum(p.shares for p in pieces))


def _scale(before: float, after: float) -> float:
    """What a miss is measured by: the change, as far as fp32 tells it."""
    return max(abs(after - before), RESOLVED * max(abs(before), abs(after)), 1e-30)


def _gathered(wholes: Iterable[_Piece]) -> Shares:
    """From what was found for each input."""
    wholes = list(wholes)
    errors = [abs(whole.miss) / _scale(whole.before, whole.after) for whole in wholes]
    outputs = [(whole.before, whole.after) for whole in wholes]
    return Shares(
        torch.stack([whole.shares for whole in wholes]),
        torch.tensor(outputs),
        torch.tensor(errors),
    )


def _lines(function: Function, inputs: Tensor, baseline, batch: int) -> Iterator[_Line]:
    inputs = inputs.detach().clone()
    start = torch.as_tensor(baseline, dtype=inputs.dtype, device=inputs.device).expand_as(inputs)
    for low, high in zip(start, inputs):
        yield _Line(function, low, high, batch)


def gradient_x_input(
    function: Function, inputs: Float[Tensor, "n ..."], baseline: float | Tensor = 0.0
) -> Shares:
    """(input - baseline) times the gradient at the input: one backward pass. It sums to the
    change of the output where the function is linear; `completeness` says how far from that.
    """
    with torch.inference_mode(False), torch.enable_grad():
        one = np.ones(1)
        return _gathered(
            _Piece(0.0, 1.0, line.value(0.0), line.value(1.0), line.shares(one, one))
            for line in _lines(function, inputs, baseline, 1)
        )


def integrated_gradients(
    function: Function,
    inputs: Float[Tensor, "n ..."],
    baseline: float | Tensor = 0.0,
    *,
    steps: int = 16,
    most: int = 2048,
    batch: int = 16,
    tolerance: float = TOLERANCE,
) -> Shares:
    """(input - baseline) times the gradient's mean on the straight line between them, by the
    Gauss-Legendre rule: exact for polynomials of degree 2 steps. Sundararajan et al. 2017 Eq. 1.

    Every piece of the line must sum to the change of the output along it: one that does not is
    halved, and each half gets as many steps. That is quick where gradients are high near the
    baseline alone, as behind layer norms.  # ours

    function: m inputs to m values, row by row, such as a model in evaluation. steps: of a piece;
    most: of one input's pieces, halved ones included. batch: points that the function sees at once.
    tolerance: share of the change that the sum may miss; infinite: never halved, never refused.
    Errors: `IncompleteAttribution` where it misses more; `BadParameter` where no gradient arrives.
    """
    if min(steps, batch) < 1 or most < steps:
        raise BadParameter(
            f"{steps} steps, at most {most}, {batch} at once", remedy="1 or more, most >= steps"
        )
    with torch.inference_mode(False), torch.enable_grad():
        found = _gathered(
            _integrated(line, steps, most, tolerance)
            for line in _lines(function, inputs, baseline, batch)
        )
    worst = found.completeness.max().item()
    if not worst <= tolerance:
        raise IncompleteAttribution(
            f"the sum misses the change of the output by {worst:.1%} after {most} steps",
            remedy=f"most={4 * most}, another baseline where the output hardly changes, or held "
            "taps where it jumps; tolerance=math.inf takes it as it is",
        )
    return found


# --- baselines ------------------------------------------------------------------------------------


def _blurred(x: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b h w"]:
    from torchvision.transforms.functional import gaussian_blur

    sigma = BLUR * max(x.shape[-2:])
    # beyond two deviations there is little, and padding mirrors less than a whole side
    size = [2 * min(math.ceil(2 * sigma), n - 1) + 1 for n in x.shape[-1:-3:-1]]
    return gaussian_blur(x.reshape(-1, 1, *x.shape[-2:]), size, [sigma] * 2).view_as(x)


BASELINES = {  # which are sensible is  # unstated; ours
    # of normalised pictures ImageNet's mean colour, of normalised poses their own centre
    "zeros": torch.zeros_like,
    "mean_colour": lambda x: x.mean((-2, -1), keepdim=True).expand_as(x),  # or of each map
    "blurred": _blurred,  # pictures or maps
}

METHODS = {
    "integrated_gradients": integrated_gradients,
    "gradient_x_input": gradient_x_input,
}


# --- models ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Attribution:
    """What one value of an answer owes to each number of an input or of a tap.

    axes: of `values`, by name. of, to, method, baseline: in words. output: the value, and at the
    baseline; values sum to the difference but for `completeness`, a share of it.
    """

    values: Float[np.ndarray, "..."]
    axes: tuple[str, ...]
    of: str
    to: str
    method: str
    baseline: str
    output: float
    output_at_baseline: float
    completeness: float

    def by(self, *axes: str) -> Float[np.ndarray, "..."]:
        """Summed over all other axes: `by("joint")`, `by("y", "x")`, in the order of `axes`."""
        for axis in axes:
            check_choice("an axis", axis, self.axes)
        others = tuple(i for i, axis in enumerate(self.axes) if axis not in axes)
        left = [axis for axis in self.axes if axis in axes]
        return self.values.sum(others).transpose([left.index(axis) for axis in axes])

    def save(self, path: str | Path, *, over: bool = False) -> Path:
        """Writes an npz (no pickle in it), axes as one text; over one that is there where `over`
        says so.
        """
        return save_arrays(path, {**vars(self), "axes": " ".join(self.axes)}, over=over)

    def __str__(self) -> str:
        return (
            f"{self.method} of {self.of}, to {self.to} ({', '.join(self.axes)}), baseline "
            f"{self.baseline}: {self.output_at_baseline:.4g} -> {self.output:.4g}, sum off by "
            f"{self.completeness:.2%} of the change"
        )


def _copies(value: Tensor, rows: int) -> Tensor:
    """One sample's, for so many rows."""
    return value.expand(rows, *value.shape[1:])


def _named(axes: Iterable[str], dims: int) -> tuple[str, ...]:
    """The last axes' names, or numbers where there are too few."""
    names = tuple(axes)
    if len(names) < dims:
        return tuple(f"axis {i}" for i in range(dims))
    return names[len(names) - dims :]


def _baseline(chosen: str | float | Tensor, own: Float[Tensor, "1 ..."]) -> tuple[Tensor, str]:
    """What stands for nothing, and what it is called."""
    if isinstance(chosen, str):
        check_choice("baseline", chosen, BASELINES)
        if chosen != "zeros" and own.dim() < 3:
            raise BadParameter(f"baseline {chosen} of no picture", remedy="zeros, or a tensor")
        return BASELINES[chosen](own), chosen.replace("_", " ")
    given = torch.as_tensor(chosen, dtype=own.dtype, device=own.device)
    return given.expand_as(own), "given" if given.dim() else f"{given.item():g}"


def _at_input(
    model: nn.Module, inputs: Mapping[str, Tensor], names: list[str]
) -> dict[str, Float[Tensor, "..."]]:
    """What taps or submodules pass on for this sample."""
    with torch.no_grad(), record(model, names) as seen:
        model(**inputs)
    for name in names:
        if not isinstance(seen[name], Tensor) or not seen[name].is_floating_point():
            raise TapError(f"{name!r} passes no tensor of real numbers")
        if len(seen.calls(name)) > 1:
            raise TapError(f"{name!r} fires more than once", remedy="choose one that fires once")
    return {name: seen[name] for name in names}


def attribute(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    value: Callable[[Any], Float[Tensor, "m"]],
    to: str,
    *,
    method: str = "integrated_gradients",
    baseline: str | float | Tensor = "zeros",
    held: Iterable[str] = (),
    axes: Iterable[str] = (),
    of: str = "the value",
    **options,
) -> Attribution:
    """Of a model's answer to one sample, to one of its inputs or to the output of a tap or
    submodule, in whose place stands what lies between it and the baseline (`taps.record`).

    inputs: keyword arguments of `forward`, a batch of one each. value: the model's answer to m
    samples -> one number a sample. held: taps with a batch axis that keep what they have at the
    input, where they jump. axes: of the input, without the batch. options: steps, most, batch and
    tolerance of `integrated_gradients`, whose errors it raises. In fp32, whatever a predictor's
    precision. Errors: `BadParameter` for a model in training or more than one sample; `TapError`
    for a tap that fires more than once.
    """
    check_choice("method", method, METHODS)
    if any(part.training for part in model.modules()):
        raise BadParameter("the model is in training", remedy="call its eval() first")
    if any(len(x) != 1 for x in inputs.values()):
        raise BadParameter("more than one sample", remedy="a batch of one, and a call for each")
    inside = to not in inputs
    with torch.inference_mode(False), threads_for(model):
        inputs = {name: x.detach().clone() for name, x in inputs.items()}
        seen = _at_input(model, inputs, [*held, *[to] * inside])
        own = seen[to] if inside else inputs[to]
        # several rows for one sample, as frames are for a backbone: a tensor of its own
        many = len(own) > 1
        own = own[None] if many else own
        keep = {name: (lambda x, kept=seen[name]: _copies(kept, len(x))) for name in held}

        def function(points: Tensor) -> Tensor:
            rows = {name: _copies(x, len(points)) for name, x in inputs.items()}
            edit = keep | {to: lambda _: points[0] if many else points} if inside else keep
            with record(model, [], edit=edit):
                return value(model(**(rows if inside else rows | {to: points})))

        start, words = _baseline(baseline, own)
        one_by_one = {"batch": 1} if many and method == "integrated_gradients" else {}
        found = METHODS[method](function, own, start, **options | one_by_one)
    values = found.values[0].cpu().numpy()
    names = tap_table(model).get(to, ()) if inside else axes
    return Attribution(
        values,
        _named(names, values.ndim),
        of,
        to,
        method.replace("_", " "),
        words,
        found.outputs[0, 1].item(),
        found.outputs[0, 0].item(),
        found.completeness.item(),
    )
