"""Checks that diagnose: they say what an answer seems to have done, and name the failing input with
what was expected and what came. Goals: exercises that are done in an explorer.

The words about each mistake stand in `exercises.yaml`, by exercise and mistake.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from html import escape
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import yaml
from IPython.display import Markdown, display
from torch import Tensor

from ..metrics import p_epe
from ..models.hanet import acceleration, neighbours, online_errors, velocity
from ..models.otpose import keypoint_flows, occlusion_masks
from ..models.port import masked_joint_nll, normalised_adjacency
from ..models.stdpose import modified_sigmoid
from ..models.vissimcc import masked_features, visibility_mask
from ..occlusion import cover
from ..propagate import joined
from ..resources import RUNS
from ..skeletons import skeleton
from .explorer import Explorer

WORDS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
NO_INPUTS = MappingProxyType({})
MOST_ROWS = 4  # of a table of failures


def _say(verdict: str, text: str) -> bool:
    display(Markdown(f"**{verdict}.** {text}"))
    return verdict == "Right"


def _numbers(values) -> Tensor:
    values = values if isinstance(values, Tensor) else np.asarray(values)
    return torch.as_tensor(values, dtype=torch.float64)


def _agree(one, other, tolerance: float = 1e-5) -> bool:
    one, other = _numbers(one), _numbers(other)
    same = one.shape == other.shape
    return same and torch.allclose(one, other, atol=tolerance, rtol=tolerance)


def _untried() -> bool:
    if RUNS in os.environ:
        return _say("To be done in the notebook", "`make lab` opens it, with the cell to fill in.")
    return _say("Not tried yet", "The function returns None: write its body, run the cell again.")


def _compare(
    exercise: str, answer, expected, wrong: Mapping, inputs: Mapping[str, object] = NO_INPUTS
) -> bool:
    """Right, a known mistake in its words, or the largest difference; beside what is wrong the
    failing input. wrong: what each mistake gives, by its name in WORDS; inputs: by name.
    """
    if answer is None:
        return _untried()
    if isinstance(expected, Tensor) and not isinstance(answer, Tensor):
        return _say("Not yet", f"Expected a tensor, got {type(answer).__name__}.")
    answer, expected = _numbers(answer), _numbers(expected)
    if answer.shape != expected.shape:
        sizes = tuple(expected.shape), tuple(answer.shape)
        return _say("Not yet", "Expected shape {}, got {}.".format(*sizes))
    if _agree(answer, expected):
        return _say("Right", "It agrees with the workbench's own function.")
    seems = [WORDS[exercise][name] for name, values in wrong.items() if _agree(answer, values)]
    text = f"The largest difference is {(answer - expected).abs().max():.3g}."
    table = _failing(inputs, expected.numpy(), answer.numpy())
    _pictured(expected.numpy(), answer.numpy())
    return _say("Not yet", f"{(seems or [text])[0]}\n\n{table}")


def _failing(inputs: Mapping[str, object], expected: np.ndarray, got: np.ndarray) -> str:
    """The places that are most wrong as a table: the inputs there, what was expected, what came."""
    apart = np.nan_to_num(np.abs(expected - got), nan=np.inf).ravel()
    order = np.argsort(-apart, kind="stable")[:MOST_ROWS]
    lines = [("", *inputs, "expected", "got"), ("---",) * (3 + len(inputs))]
    for flat in order[apart[order] > 0]:
        place = np.unravel_index(flat, expected.shape)
        at = f"[{', '.join(map(str, place))}]" if place else ""
        own = (_there(value, place) for value in inputs.values())
        lines.append((at, *own, _short(expected[place]), _short(got[place])))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _there(value: object, place: tuple) -> str:
    """Of an input what belongs to a place of the answer: the same place, or the same row."""
    value = np.asarray(value)
    shared = 0
    while shared < min(value.ndim, len(place)) and place[shared] < value.shape[shared]:
        shared += 1
    rest = value[tuple(place[:shared])]
    return _short(rest) if rest.size <= 4 else " × ".join(map(str, value.shape))


def _short(values: object) -> str:
    return np.array2string(np.asarray(values), precision=3, separator=", ", suppress_small=True)


def _pictured(expected: np.ndarray, got: np.ndarray) -> None:
    """Matrices as pictures on one scale: expected, got, and the difference."""
    if expected.ndim < 2 or min(expected.shape[-2:]) < 2 or not np.isfinite(got).all():
        return
    from . import paper  # matplotlib takes its time, and few need it

    pair = [np.reshape(part, (-1, *part.shape[-2:]))[0] for part in (expected, got)]
    grids = np.stack([*pair, pair[1] - pair[0]])
    captions = ["expected", "got", "got - expected"]
    paper.map_grid(grids, captions, per_row=3, title="Where your answer differs").show()


def _check(exercise: str, function: Callable, inputs: tuple, expected, wrong: Mapping) -> bool:
    """Compares what the function makes of copies of the inputs, and names what it raises."""
    names = [*signature(function).parameters][: len(inputs)]
    named = dict(zip(names, inputs))
    try:
        answer = function(*deepcopy(inputs))
    except Exception as error:
        given = "; ".join(f"{name} = `{_short(value)}`" for name, value in named.items())
        text = f"It raises {type(error).__name__}: {escape(str(error))}. The input: {given}"
        return _say("Not yet", text)
    return _compare(exercise, answer, expected, wrong, named)


def _random(*shape: int, draw: Callable = torch.randn) -> Tensor:
    return draw(*shape, generator=torch.Generator().manual_seed(3))


def check_adjacency(function: Callable) -> bool:
    """Exercise of chapter 02: the symmetric normalisation behind PORT Eq. 4."""
    a = torch.tensor([[0.0, 1, 0, 0], [1, 0, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]])
    loops = a + torch.eye(4)
    degree, bare = loops.sum(1), a.sum(1)
    root = (bare[:, None] * bare).sqrt()
    wrong = {
        "no loops": a / root,
        "by rows": loops / degree[:, None],
        "by rows, no loops": a / bare[:, None],
        "by columns, no loops": a / bare,
        "by columns": loops / degree,
        "no root": loops / (degree[:, None] * degree),
        "degrees of A": loops / root,
        "not normalised": loops,
    }
    return _check("adjacency", function, (a,), normalised_adjacency(a), wrong)


def check_masked_loss(function: Callable) -> bool:
    """Exercise of chapter 02: PORT Eq. 12, function(recon, truth, mask)."""
    recon, truth = _random(2, 2, 5, 2)
    mask = torch.tensor([[True, False, True, False, False], [False, True, True, False, False]])
    squared = (recon - truth).square().sum(-1)
    hidden = squared[mask]
    wrong = {
        "over all joints": (squared * mask).mean(),
        "mask turned": squared[~mask].mean(),
        "no mask": squared.mean(),
        "distance": hidden.sqrt().mean(),
        "halved": hidden.mean() / 2,
        "sum": hidden.sum(),
        "sum by person": hidden.sum() / len(recon),
    }
    expected = masked_joint_nll(recon, truth, mask)
    return _check("masked_loss", function, (recon, truth, mask), expected, wrong)


def check_shrink(function: Callable) -> bool:
    """Exercise of chapter 02: function(xy [n, 21, 2], factor) scales hands about their wrists."""
    rng = np.random.default_rng(3)
    truth = rng.normal(300, 40, (7, 21, 2))
    xy = truth + rng.normal(0, 8, truth.shape)
    wrist, mean = xy[:, :1], xy.mean(1, keepdims=True)
    wrong = {
        "about the mean": mean + 0.97 * (xy - mean),
        "about the corner": 0.97 * xy,
        "wrist lost": 0.97 * (xy - wrist),
        "enlarged": wrist + (xy - wrist) / 0.97,
    }
    smaller = wrist + 0.97 * (xy - wrist)
    right = _check("shrink", function, (xy, 0.97), smaller, wrong)
    if right:
        changes = {
            align: [p_epe(x, truth, align=align).mean() for x in (xy, smaller)]
            for align in ("truth_to_pred", "pred_to_truth")
        }
        one, other = ("{:.3f} to {:.3f}".format(*change) for change in changes.values())
        _say("Look", f"P-EPE {one}; prediction aligned to truth {other}.")
    return right


def check_cover(function: Callable) -> bool:
    """Exercise of chapter 01: function(visibility [k], xy [k, 2] px, covered [h, w]) gives the
    new visibility.
    """
    covered = np.zeros((5, 9), bool)
    covered[1, 3:5] = True
    # the seventh joint lies left of the picture, where indices wrap
    x = np.array([3.0, 2.6, 4.0, 3.0, 1.0, 3.4, -5.0, 0.0])
    y = np.array([1.0, 1.2, 1.0, 1.0, 3.0, 1.0, 1.0, 0.0])
    flags, xy = np.array([2, 2, 1, 0, 2, 2, 2, 2]), np.stack((x, y), 1)
    floor_x, floor_y = np.floor(xy.T).astype(int).clip(0)
    x_cut, y_cut = xy.T.astype(int)
    x, y = np.rint(xy.T).astype(int)
    wrapped, inside, seen = covered[y, x], x >= 0, flags == 2
    under = wrapped & inside
    changed = {
        "wrapped": wrapped,
        "cut off": covered[floor_y, floor_x] & inside,
        "rows are x": covered[x.clip(0, 4), y.clip(0, 8)],
        "cover turned": ~under,
    }
    wrong = {name: np.where(which & seen, 1, flags) for name, which in changed.items()}
    wrong["naive"] = np.where(wrapped, 1, flags)
    wrong["naive, cut off"] = np.where(covered[y_cut, x_cut], 1, flags)
    wrong["nobody hidden"] = np.where(under, 1, flags)
    wrong["label lost"] = np.where(under & seen, 0, flags)
    wrong["nothing"] = flags
    return _check("cover", function, (flags, xy, covered), cover(flags, xy, covered), wrong)


def check_posetrack_flags(function: Callable) -> bool:
    """Exercise of chapter 01: function(keypoints [17, 3] of a PoseTrack18 file) gives 0, 1, 2 of
    these records.
    """
    names = skeleton("posetrack17")
    ears = [names.index(f"{side}_ear") for side in ("left", "right")]
    keypoints = np.random.default_rng(3).uniform(20, 600, (17, 3)).round(1)
    keypoints[:, 2] = 1
    keypoints[[*ears, 9], :] = 0
    stated = keypoints[:, 2].astype(int)
    wrong = {
        "as stated": stated,
        "all labelled": np.full(17, 2),
        "ears alone": np.where(np.arange(17) == 9, 2, 2 * stated),
        "turned": 2 - 2 * stated,
    }
    return _check("posetrack_flags", function, (keypoints,), 2 * stated, wrong)


def check_motion(function: Callable) -> bool:
    """Exercise of chapter 03: HANet Eq. 2 with d = 1, function(x [t, c]) gives velocity and
    acceleration [2, t, c].
    """
    x = _random(5, 3)
    around = neighbours(x[None])
    steps = velocity(x[None], around[0]), velocity(around[1], x[None])
    v, v_next, a, previous, following = (
        part[0] for part in (*steps, acceleration(steps[1], steps[0]), *around)
    )
    zero = torch.zeros(1, 3)
    out, ring = torch.cat((zero, x, zero)).diff(dim=0), torch.cat((x[-1:], x, x[:1])).diff(dim=0)
    pairs = {
        "zeros beyond": (out[:-1], out.diff(dim=0)),
        "ring": (ring[:-1], ring.diff(dim=0)),
        "looks ahead": (v_next, v_next - v),
        "late": (v, v - neighbours(v[None])[0][0]),
        "sign": (-v, v - v_next),
        "two frames": ((following - previous) / 2, v_next - v),
    }
    wrong = {name: torch.stack(pair) for name, pair in pairs.items()}
    return _check("motion", function, (x,), torch.stack((v, a)), wrong)


def check_online(function: Callable) -> bool:
    """Exercise of chapter 03: HANet Eq. 10, function(final, refined, truth), each [k], gives the
    loss of each joint.
    """
    truth = torch.zeros(4)
    start = torch.tensor([[1.0, -2.0, 0.5, 4.0], [3.0, 1.0, -0.25, 6.0]])

    def slopes(online) -> tuple[Tensor | None, Tensor]:
        both = start.clone().requires_grad_()
        loss = online(*both, truth)
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            return loss, torch.zeros(2, 4)
        loss.sum().backward()
        return loss.detach(), both.grad

    def ours(*each):
        return online_errors(*(x[None, None] for x in each), torch.ones(1, 1, 4))

    (loss, slope), (expected, right) = slopes(function), slopes(ours)
    apart = start[0] - start[1]
    if not isinstance(loss, Tensor) or not _agree(loss, expected):
        return _compare("online", loss, expected, {"squared": apart.square()})
    wrong = {
        "both learn": torch.stack((apart.sign(), -apart.sign())),
        "nobody learns": torch.zeros(2, 4),
        "wrong one learns": -right.flip(0),
    }
    return _compare("online", slope, right, wrong)


def check_mask(function: Callable) -> bool:
    """Exercise of chapter 04: Visibility Eq. 3 and 4, function(feature [k, f], probability [k])
    gives masked features.
    """
    p, feature = torch.tensor([0.9, 0.5, 0.2, 0.5001, 0.01]), _random(5, 7)
    right = visibility_mask(p[None])[0]
    masks = {
        "as printed": torch.where(p < 0.5, 1.0, 0.01),
        "at 0.5": torch.where(p > 0.5, 1.0, 0.01),
        "zero": (p >= 0.5).float(),
        "zero, at 0.5": (p > 0.5).float(),
        "zero, as printed": (p < 0.5).float(),
        "zero for all": torch.zeros(5),
        "probability": p,
    }
    expected, *others = (
        masked_features(feature[None], m[None])[0] for m in (right, *masks.values())
    )
    wrong = dict(zip(masks, others))
    wrong |= {"mask alone": right[:, None].expand_as(feature), "nothing": feature}
    return _check("mask", function, (feature, p), expected, wrong)


def check_hidden_share(function: Callable) -> bool:
    """Exercise of chapter 04: function(attention [h, q, k], hidden [k]) gives the share that
    hidden joints receive.
    """
    a = _random(2, 5, 5).mul(2).softmax(-1)
    hidden = torch.tensor([True, False, False, True, False])
    given = a[..., hidden]
    share = given.sum(-1).mean()
    wrong = {
        "rows": a[:, hidden].sum() / a.sum(),
        "visible": 1 - share,
        "averaged": given.mean(),
        "sum": given.sum(),
        "sum of rows": given.sum((1, 2)).mean(),
        "first head": given[0].sum(-1).mean(),
        "visible ask": given[:, ~hidden].sum(-1).mean(),
    }
    return _check("hidden_share", function, (a, hidden), share, wrong)


def check_verdict(function: Callable) -> bool:
    """Exercise of chapter 07: function(low, high) of a paired interval gives "helps", "harms" or
    "not shown".
    """
    expected = {(1.0, 3.0): "helps", (-3.0, -1.0): "harms", (-1.0, 2.0): "not shown"}
    expected |= {(-2.0, 1.0): "not shown", (0.0, 2.0): "not shown", (-2.0, 0.0): "not shown"}
    answers = {ends: function(*ends) for ends in expected}
    if set(answers.values()) == {None}:
        return _untried()
    for (low, high), right in expected.items():
        got = answers[low, high]
        if got != right:
            case = f"For an interval from {low:g} to {high:g} it says {got!r}; expected {right!r}."
            why = (
                "Where the whole interval is above 0 it helps; where all of it is below, it harms."
            )
            if low < 0 < high:
                why = "An interval that holds 0 shows nothing, wherever its middle lies."
            elif 0 in (low, high):
                why = "An end that is 0 is not above it: the rule wants all of it on one side."
            return _say("Not yet", f"{case} {why}")
    return _say("Right", "It is the rule that the table of choices is made by.")


def check_flow(function: Callable) -> bool:
    """Exercise of chapter 05: OTPose Eq. 1, function(heatmaps [5, k, h, w]) gives the previous
    flow [k, h, w].
    """
    maps = _random(5, 2, 3, 4, draw=torch.rand)
    flows = keypoint_flows(maps[None], torch.tensor([[2, 1, 0, 1, 2]]))
    previous, (two, one, now) = flows["prev"][0], maps[:3]
    wrong = {
        "subsequent": flows["sub"][0],
        "close": flows["close"][0],
        "not penalised": two + one + now,
        "by d": two / 2 + one + now,
        "order": two / 2 + one / 3 + now,
        "no key frame": two / 3 + one / 2,
        "mean": previous / 3,
        "mean, not penalised": maps[:3].mean(0),
        "mean of all": maps.mean(0),
        "total": maps.sum(0),
    }
    return _check("flow", function, (maps,), previous, wrong)


def check_occlusion_mask(function: Callable) -> bool:
    """Exercise of chapter 05: OTPose Eq. 2, function(flow [k, h, w], total [k, h, w]) gives the
    mask [k, h, w].
    """
    flow, total = _random(2, 3, 2, 5, draw=torch.rand)
    wrong = {
        "own joint": flow * total,
        "flow summed": flow * flow.sum(0),
        "mean": flow * total.mean(0),
        "flow's mean": flow * flow.mean(0),
        "over pixels": flow * total.sum((-2, -1), keepdim=True),
        "added": flow + total.sum(0),
        "total": total * total.sum(0),
    }
    expected = occlusion_masks({"given": flow[None], "total": total[None]})["given"][0]
    return _check("occlusion_mask", function, (flow, total), expected, wrong)


def check_modified_sigmoid(function: Callable) -> bool:
    """Exercise of chapter 06: STDPose Eq. 3, function(x, k, theta)."""
    x, k, theta = torch.tensor([-1.0, -0.3, 0.0, 0.2, 0.9]), 3.0, 0.4
    size = x.abs()
    exponents = {
        "no bars": k * (x - theta),
        "bars around all": k * (x - theta).abs(),
        "sign": -k * (size - theta),
        "theta added": k * (size + theta),
        "bracket": k * size - theta,
        "bracket, no bars": k * x - theta,
        "no k": size - theta,
        "no theta": k * size,
        "exchanged": theta * (size - k),
        "squared": k * (x.square() - theta),
        "no bars, sign": -k * (x - theta),
    }
    wrong = {name: exponent.sigmoid() for name, exponent in exponents.items()}
    wrong["exponent"] = k * (size - theta)
    expected = modified_sigmoid(x, k, theta)
    return _check("modified_sigmoid", function, (x, k, theta), expected, wrong)


def check_line(function: Callable) -> bool:
    """Exercise of chapter 06: function(left [k, 2], right [k, 2], first, key, last), labels of two
    frames and the frames' numbers, gives the pose [k, 2] on the straight line.
    """
    ends, first, key, last = np.random.default_rng(3).uniform(0, 90, (2, 4, 2)), 6, 11, 13
    left, right = ends
    here, gap, way = key - first, last - first, right - left
    shares = {
        "exchanged": 1 - here / gap,
        "middle": 0.5,
        "from 0": key / last,
        "key, not key - first": key / gap,
        "not divided": here,
        "one too few": here / (gap - 1),
        "one too many": here / (gap + 1),
        "sign": -here / gap,
        "left": 0,
        "right": 1,
    }
    wrong = {name: left + share * way for name, share in shares.items()}
    wrong["way alone"] = here / gap * way
    pose = joined(left, right, here / gap, [np.ones(len(left))] * 2, np.zeros(2))[0]
    return _check("line", function, (left, right, first, key, last), pose, wrong)


# --- exercises that are done in an explorer


def goal(
    explorer: Explorer,
    task: str,
    measure: Callable[[Mapping, Any], float],
    *,
    reach: float,
    unit: str = "px",
    higher: bool = False,
    counts: str = "",
    why: str | Callable[[Mapping, Any], str] = "",
) -> Explorer:
    """An exercise that is done in an explorer, whose line says how far the reader is with every
    answer; returns the explorer.

    task: what to do. measure: state and what was computed -> the score in `unit`. reach: the
    score that is enough: at most, or with `higher` at least. counts: what is counted, in words,
    for states whose score is NaN. why: what it teaches, said when it is reached; may be
    made of the state and what was computed.
    """

    def judge(state: Mapping, found: Any) -> str:
        score = float(measure(state, found))
        done = score >= reach if higher else score <= reach
        short = f"{reach:.2f}".rstrip("0").rstrip(".")
        limit = f"at {'least' if higher else 'most'} {short} {unit}"
        if not np.isfinite(score):
            left = f"Not counted: {counts}." if counts else "Nothing to measure here."
            return f"Exercise: {task} {left} The goal: {limit}."
        said = f"Exercise: {task} Now {score:.2f} {unit}, the goal: {limit}."
        if not done:
            return f"{said} Not yet."
        taught = why(state, found) if callable(why) else why
        return f"{said} Reached. {taught}".strip()

    explorer.set_goal(judge)
    return explorer
