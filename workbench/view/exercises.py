"""Checks that diagnose: they say what an answer seems to have done, not only that it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
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
from ..skeletons import skeleton


def _say(verdict: str, text: str) -> bool:
    display(Markdown(f"**{verdict}.** {text}"))
    return verdict == "Right"


def _numbers(values) -> Tensor:
    return torch.as_tensor(
        values if isinstance(values, Tensor) else np.asarray(values), dtype=torch.float64
    )


def _compare(answer, expected, mistakes: Sequence[tuple], tolerance: float = 1e-5) -> bool:
    """Right, a known mistake by its text (mistakes: what it gives, and what to say), or the
    largest difference.
    """
    if answer is None:
        return _say(
            "Not tried yet", "The function returns None: write its body, run the cell again."
        )
    if isinstance(expected, Tensor) and not isinstance(answer, Tensor):
        return _say("Not yet", f"Expected a tensor, got {type(answer).__name__}.")
    answer, expected = _numbers(answer), _numbers(expected)
    if answer.shape != expected.shape:
        return _say(
            "Not yet", f"Expected shape {tuple(expected.shape)}, got {tuple(answer.shape)}."
        )
    if torch.allclose(answer, expected, atol=tolerance, rtol=tolerance):
        return _say("Right", "It agrees with the workbench's own function.")
    for wrong, text in mistakes:
        if wrong.shape == answer.shape and torch.allclose(
            answer, _numbers(wrong), atol=tolerance, rtol=tolerance
        ):
            return _say("Not yet", text)
    return _say("Not yet", f"The largest difference is {(answer - expected).abs().max():.3g}.")


def check_adjacency(function: Callable[[Tensor], Tensor | None]) -> bool:
    """Exercise of chapter 02: the symmetric normalisation behind PORT Eq. 4."""
    a = torch.tensor([[0.0, 1, 0, 0], [1, 0, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]])
    loops = a + torch.eye(4)
    degree, bare = loops.sum(1), a.sum(1)
    sums = (
        "This divides each {} by its sum. Symmetric normalisation shares the root between row "
        "and column."
    )
    mistakes = [
        (
            a / (bare[:, None] * bare).sqrt(),
            "Every joint must also keep itself: add the identity before counting.",
        ),
        (loops / degree[:, None], sums.format("row")),
        (loops / degree, sums.format("column")),
        (
            loops / (degree[:, None] * degree),
            "The product of both degrees stands without its square root.",
        ),
        (
            loops / (bare[:, None] * bare).sqrt(),
            "The degrees were counted on A, but A + I is what is normalised.",
        ),
        (loops, "A + I is right, its normalisation is still missing."),
    ]
    return _compare(function(a.clone()), normalised_adjacency(a), mistakes)


def check_masked_loss(function: Callable[[Tensor, Tensor, Tensor], Tensor | None]) -> bool:
    """Exercise of chapter 02: PORT Eq. 12, function(recon, truth, mask)."""
    generator = torch.Generator().manual_seed(3)
    recon, truth = (
        torch.randn(2, 5, 2, generator=generator),
        torch.randn(2, 5, 2, generator=generator),
    )
    mask = torch.tensor([[True, False, True, False, False], [False, True, True, False, False]])
    squared = (recon - truth).square().sum(-1)
    hidden = squared[mask]
    mistakes = [
        (
            (squared * mask).mean(),
            "This averages over all joints, as the public program does; Eq. 12 over the masked.",
        ),
        (
            squared[~mask].mean(),
            "The mask is the wrong way round: Eq. 12 sums over the hidden joints.",
        ),
        (squared.mean(), "Every joint counts here; Eq. 12 sums over the hidden ones only."),
        (
            hidden.sqrt().mean(),
            "This is the distance, not its square: look at the two bars and the 2 in Eq. 12.",
        ),
        (
            hidden.mean() / 2,
            "This also divides by the two coordinates; the norm in Eq. 12 sums over x and y.",
        ),
        (hidden.sum(), "This is the sum over masked joints; divide by how many there are."),
    ]
    answer = function(recon.clone(), truth.clone(), mask.clone())
    return _compare(answer, masked_joint_nll(recon, truth, mask), mistakes)


def check_shrink(function: Callable[[np.ndarray, float], np.ndarray | None]) -> bool:
    """Exercise of chapter 02: function(xy [n, 21, 2], factor) scales hands about their wrists."""
    rng = np.random.default_rng(3)
    truth = rng.normal(300, 40, (7, 21, 2))
    xy = truth + rng.normal(0, 8, truth.shape)
    answer = function(xy.copy(), 0.97)
    wrist, mean = xy[:, :1], xy.mean(1, keepdims=True)
    mistakes = [
        (
            mean + 0.97 * (xy - mean),
            "This scales about the mean of the joints: the wrist moves, root-relative EPE too.",
        ),
        (0.97 * xy, "This scales about the picture's corner: the hand wanders off towards (0, 0)."),
        (0.97 * (xy - wrist), "The wrist is subtracted and never added back."),
        (wrist + (xy - wrist) / 0.97, "This enlarges: multiply by the factor, do not divide."),
    ]
    right = _compare(answer, wrist + 0.97 * (xy - wrist), mistakes)
    if right:
        before, after = (
            [p_epe(x, truth, align=a).mean() for a in ("truth_to_pred", "pred_to_truth")]
            for x in (xy, np.asarray(answer))
        )
        other = f"prediction aligned to truth {before[1]:.3f} to {after[1]:.3f}"
        _say("Look", f"P-EPE {before[0]:.3f} to {after[0]:.3f}; {other}.")
    return right


def check_cover(
    function: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray | None],
) -> bool:
    """Exercise of chapter 01: function(visibility [k], xy [k, 2] px, covered [h, w]) gives the
    new visibility.
    """
    covered = np.zeros((5, 9), bool)
    covered[1, 3:5] = True
    xy = np.array(
        [
            [3.0, 1.0],
            [2.6, 1.2],
            [4.0, 1.0],
            [3.0, 1.0],
            [1.0, 3.0],
            [3.4, 1.0],
            [-5.0, 1.0],
            [0.0, 0.0],
        ]
    )
    # the seventh joint lies left of the picture, where indices wrap
    flags = np.array([2, 2, 1, 0, 2, 2, 2, 2])
    expected = cover(flags, xy, covered)
    x, y = np.rint(xy.T).astype(int)
    wrapped, floored = (
        covered[y, x],
        covered[tuple(np.floor(xy.T).astype(int)[::-1].clip(0))] & (x >= 0),
    )
    under, seen = wrapped & (x >= 0), flags == 2
    turned = covered[x.clip(0, 4), y.clip(0, 8)]

    def after(changed: np.ndarray, flag: int = 1) -> np.ndarray:
        return np.where(changed & seen, flag, flags)

    mistakes = [
        (
            np.where(under, 1, flags),
            "A joint that nobody labelled (0) has become hidden (1): nothing was there.",
        ),
        (
            after(wrapped),
            "A joint left of the picture was looked up at an index that counts from the other end.",
        ),
        (
            after(floored),
            "Coordinates were cut off, not rounded: 2.6 lies in pixel 3, whose centre is 3.",
        ),
        (after(turned), "Rows are y and columns are x: the picture is indexed as covered[y, x]."),
        (
            after(under, 0),
            "A covered joint keeps its label and its coordinates: it becomes 1, not 0.",
        ),
        (after(~under), "The joints outside the cover have changed, and those under it have not."),
        (flags, "Nothing has changed yet."),
    ]
    return _compare(function(flags.copy(), xy.copy(), covered.copy()), expected, mistakes)


def check_posetrack_flags(function: Callable[[np.ndarray], np.ndarray | None]) -> bool:
    """Exercise of chapter 01: function(keypoints [17, 3] of a PoseTrack18 file) gives 0, 1, 2 of
    these records.
    """
    names = skeleton("posetrack17")
    ears = [names.index(f"{side}_ear") for side in ("left", "right")]
    keypoints = np.random.default_rng(3).uniform(20, 600, (17, 3)).round(1)
    keypoints[:, 2] = 1
    keypoints[[*ears, 9], :] = 0
    stated = keypoints[:, 2].astype(int)
    drawn = np.where(np.arange(17) == 9, 2, 2 * stated)
    mistakes = [
        (
            stated,
            "PoseTrack's 1 says labelled, not hidden. Copied as it stands, every joint would count "
            "as occluded.",
        ),
        (np.full(17, 2), "Joints at (0, 0) with flag 0 are not labelled: they stay 0."),
        (
            drawn,
            "Only the ears were left out, but any joint may be without a label: look at the flag.",
        ),
        (
            2 - 2 * stated,
            "The labelled joints count as hidden and the others as visible: it is the other way "
            "round.",
        ),
    ]
    return _compare(function(keypoints.copy()), 2 * stated, mistakes)


def check_motion(function: Callable[[Tensor], Tensor | None]) -> bool:
    """Exercise of chapter 03: HANet Eq. 2 with d = 1, function(x [t, c]) gives velocity and
    acceleration [2, t, c].
    """
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(3))
    around = neighbours(x[None])
    steps = velocity(x[None], around[0]), velocity(around[1], x[None])
    v, v_next, a, previous, following = (
        part[0] for part in (*steps, acceleration(steps[1], steps[0]), *around)
    )
    zeros = torch.cat((torch.zeros(1, 3), x, torch.zeros(1, 3)))
    out, wrapped = zeros[1:] - zeros[:-1], torch.cat((x[-1:], x, x[:1]))
    ring = wrapped[1:] - wrapped[:-1]
    mistakes = [
        (
            torch.stack((out[:-1], out.diff(dim=0))),
            "Zeros stand beyond the ends: the body seems to come from the corner.",
        ),
        (
            torch.stack((ring[:-1], ring.diff(dim=0))),
            "The ends meet: before the first frame comes the last one.",
        ),
        (
            torch.stack((v_next, v_next - v)),
            "This velocity looks ahead; Eq. 2 takes this pose minus the one before.",
        ),
        (
            torch.stack((v, v - neighbours(v[None])[0][0])),
            "v(t) - v(t-1) is one frame late: ask for v(t+1) - v(t).",
        ),
        (torch.stack((-v, v - v_next)), "The sign is turned: later minus earlier."),
        (
            torch.stack(((following - previous) / 2, v_next - v)),
            "This spans two frames; Eq. 2's velocity spans one.",
        ),
    ]
    return _compare(function(x.clone()), torch.stack((v, a)), mistakes)


def check_online(function: Callable[[Tensor, Tensor, Tensor], Tensor | None]) -> bool:
    """Exercise of chapter 03: HANet Eq. 10, function(final, refined, truth), each [k], gives the
    loss of each joint.
    """
    truth, start = torch.zeros(4), ([1.0, -2.0, 0.5, 4.0], [3.0, 1.0, -0.25, 6.0])

    def slopes(online) -> tuple[Tensor | None, Tensor | None]:
        final, refined = (torch.tensor(values, requires_grad=True) for values in start)
        loss = online(final, refined, truth)
        if isinstance(loss, Tensor) and loss.requires_grad:
            loss.sum().backward()
        got = [torch.zeros(4) if x.grad is None else x.grad for x in (final, refined)]
        return loss.detach() if isinstance(loss, Tensor) else loss, torch.stack(got)

    def ours(final, refined, truth):
        return online_errors(*(x[None, None] for x in (final, refined, truth)), torch.ones(1, 1, 4))

    (loss, got), (expected, right) = slopes(function), slopes(ours)
    if (
        not isinstance(loss, Tensor)
        or loss.shape != expected.shape
        or not torch.allclose(loss, expected)
    ):
        squared = (torch.tensor(start[0]) - torch.tensor(start[1])).square()
        text = "Each distance is squared: Eq. 10 with the L1 norm takes it as it is."
        return _compare(loss, expected, [(squared, text)])
    both = (torch.tensor(start[1]) - torch.tensor(start[0])).sign()
    mistakes = [
        (
            torch.stack((-both, both)),
            "The values are right, but both answers get a gradient: detach the one that teaches.",
        ),
        (torch.zeros(2, 4), "Nobody learns: both sides are detached."),
        (-right.flip(0), "The wrong one learns: the better answer is moved towards the worse."),
    ]
    return _compare(got, right, mistakes)


def check_mask(function: Callable[[Tensor, Tensor], Tensor | None]) -> bool:
    """Exercise of chapter 04: Visibility Eq. 3 and 4, function(feature [k, f], probability [k])
    gives masked features.
    """
    p = torch.tensor([0.9, 0.5, 0.2, 0.5001, 0.01])
    feature = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))

    def masked(mask: Tensor) -> Tensor:
        return masked_features(feature[None], mask[None])[0]

    right, seen = visibility_mask(p[None])[0], (p >= 0.5).float()
    mistakes = [
        (
            masked(torch.where(p < 0.5, 1.0, 0.01)),
            "This is Eq. 3 as printed: it hides what is seen and shows what is not.",
        ),
        (
            masked(torch.where(p > 0.5, 1.0, 0.01)),
            "A joint at exactly 0.5 counts as visible: >= and not >.",
        ),
        (
            masked(seen),
            "A hidden joint keeps a hundredth of its feature; here it is multiplied by 0.",
        ),
        (
            masked(p),
            "The features are multiplied by the probability; Eq. 3 makes 0.01 or 1 of it first.",
        ),
        (
            right[:, None].expand_as(feature),
            "This is the mask alone; Eq. 4 multiplies the features by it.",
        ),
        (
            feature,
            "Nothing is masked: a second sigmoid would do that, since no probability is below 0.",
        ),
    ]
    return _compare(function(feature.clone(), p.clone()), masked(right), mistakes)


def check_hidden_share(function: Callable[[Tensor, Tensor], Tensor | None]) -> bool:
    """Exercise of chapter 04: function(attention [h, q, k], hidden [k]) gives the share that
    hidden joints receive.
    """
    a = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(3)).mul(2).softmax(-1)
    hidden = torch.tensor([True, False, False, True, False])
    share = a[..., hidden].sum(-1).mean()
    mistakes = [
        (
            a[:, hidden].sum() / a.sum(),
            "These are the rows of the hidden joints: what they ask. Columns answer.",
        ),
        (1 - share, "This is what the visible joints receive."),
        (
            a[..., hidden].mean(),
            "The weights of several hidden joints are averaged; a share adds them up.",
        ),
        (
            a[..., hidden].sum(),
            "This is a sum over heads and joints that ask; take its mean, every row sums to 1.",
        ),
        (
            a[..., hidden].sum((1, 2)).mean(),
            "Summed over the joints that ask; take their mean, every row sums to 1.",
        ),
        (a[0][:, hidden].sum(-1).mean(), "This is the first head alone."),
        (
            a[:, ~hidden][..., hidden].sum(-1).mean(),
            "Only the visible joints ask here; the share is over all that ask.",
        ),
    ]
    return _compare(function(a.clone(), hidden.clone()), share, mistakes)


def check_flow(function: Callable[[Tensor], Tensor | None]) -> bool:
    """Exercise of chapter 05: OTPose Eq. 1, function(heatmaps [5, k, h, w]) gives the previous
    flow [k, h, w].
    """
    maps = torch.rand(5, 2, 3, 4, generator=torch.Generator().manual_seed(3))
    flows = {
        kind: flow[0]
        for kind, flow in keypoint_flows(maps[None], torch.tensor([[2, 1, 0, 1, 2]])).items()
    }
    two, one, now = maps[:3]
    mistakes = [
        (flows["sub"], "These are the frames after the key frame; the previous flow looks back."),
        (
            flows["close"],
            "This is the close flow, one frame before and one after; the previous flow takes two "
            "before.",
        ),
        (two + one + now, "The frames before are not penalised: each is divided by d + 1."),
        (two / 2 + one + now, "This divides by the distance d; Eq. 1 divides by d + 1."),
        (
            two / 2 + one / 3 + now,
            "The nearer frame weighs less: frames stand in the order of time, t-2 first.",
        ),
        (two / 3 + one / 2, "The key frame is missing: it belongs to the flow, undivided."),
        (flows["prev"] / 3, "This is the mean of the three; a flow is their sum."),
        (maps.sum(0), "This is the total flow: all five frames, not penalised."),
    ]
    return _compare(function(maps.clone()), flows["prev"], mistakes)


def check_occlusion_mask(function: Callable[[Tensor, Tensor], Tensor | None]) -> bool:
    """Exercise of chapter 05: OTPose Eq. 2, function(flow [k, h, w], total [k, h, w]) gives the
    mask [k, h, w].
    """
    generator = torch.Generator().manual_seed(3)
    flow, total = torch.rand(3, 2, 5, generator=generator), torch.rand(3, 2, 5, generator=generator)
    mistakes = [
        (
            flow * total,
            "Each joint is multiplied by its own total flow; Eq. 2 sums that over all joints "
            "first.",
        ),
        (flow * flow.sum(0), "This sums the flow itself; Eq. 2 sums the total flow."),
        (flow * total.mean(0), "A mean over the joints; Eq. 2 has their sum."),
        (
            flow * total.sum((-2, -1), keepdim=True),
            "This sums over pixels; Eq. 2 sums over joints and leaves every pixel.",
        ),
        (flow + total.sum(0), "The two are added; Eq. 2 multiplies them pixel by pixel."),
        (total * total.sum(0), "This is the mask of the total flow; take the flow that was given."),
    ]
    expected = occlusion_masks({"given": flow[None], "total": total[None]})["given"][0]
    return _compare(function(flow.clone(), total.clone()), expected, mistakes)


def check_modified_sigmoid(function: Callable[[Tensor, float, float], Tensor | None]) -> bool:
    """Exercise of chapter 06: STDPose Eq. 3, function(x, k, theta)."""
    x, k, theta = torch.tensor([-1.0, -0.3, 0.0, 0.2, 0.9]), 3.0, 0.4
    size = x.abs()
    mistakes = [
        (
            (k * (x - theta)).sigmoid(),
            "Without the bars |x| a joint that leaves counts as no motion: both signs count.",
        ),
        ((k * (x - theta).abs()).sigmoid(), "The bars stand around x alone, not around x - theta."),
        (
            (-k * (size - theta)).sigmoid(),
            "The exponent's sign: this is high at rest and low where something moves.",
        ),
        ((k * (size + theta)).sigmoid(), "theta is subtracted: it holds the value at rest down."),
        ((k * size - theta).sigmoid(), "k multiplies the whole bracket, theta too."),
        ((size - theta).sigmoid(), "The slope k is missing."),
        ((k * size).sigmoid(), "theta is missing: rest, x = 0, would count for one half."),
        (
            (theta * (size - k)).sigmoid(),
            "k and theta are exchanged: k is the slope, theta the threshold.",
        ),
        (
            (k * (x.square() - theta)).sigmoid(),
            "x is squared; Eq. 3 has |x|, beside which small motion is not lost.",
        ),
        (
            (-k * (x - theta)).sigmoid(),
            "Two things: the bars |x| are missing, and the exponent's sign is turned.",
        ),
        (k * (size - theta), "This is the exponent; 1 / (1 + exp(-...)) is still missing."),
    ]
    return _compare(function(x.clone(), k, theta), modified_sigmoid(x, k, theta), mistakes)


def check_line(
    function: Callable[[np.ndarray, np.ndarray, int, int, int], np.ndarray | None],
) -> bool:
    """Exercise of chapter 06: function(left [k, 2], right [k, 2], first, key, last), labels of two
    frames and the frames' numbers, gives the pose [k, 2] on the straight line.
    """
    ends, first, key, last = np.random.default_rng(3).uniform(0, 90, (2, 4, 2)), 6, 11, 13
    left, right = ends
    here, way = (key - first) / (last - first), right - left
    short = "A gap from first to last is last - first frames long: {} is one too {}."
    mistakes = [
        (right + here * (left - right), "Shares are exchanged: the nearer label counts for more."),
        (ends.mean(0), "This is the middle; the key frame is nearer to one of the two."),
        (left + key / last * way, "Frames are counted from the label on the left, not from 0."),
        (
            left + key / (last - first) * way,
            "The share starts at the label on the left: key - first, not key.",
        ),
        (
            left + (key - first) * way,
            "The way is not divided by the number of frames from label to label.",
        ),
        (left + (key - first) / (last - first - 1) * way, short.format("last - first - 1", "few")),
        (left + (key - first) / (last - first + 1) * way, short.format("last - first + 1", "many")),
        (left - here * way, "A sign is turned: this walks away from the label on the right."),
        (here * way, "This is the way from the left label; add it to where that label is."),
        (
            left,
            "This is the label on the left: // cuts every share between the labels to 0, take /.",
        ),
        (
            right,
            "This is the nearer label; the pose lies between the two, by its share of the way.",
        ),
    ]
    right_one = joined(left, right, here, [np.ones(len(left))] * 2, np.zeros(2))[0]
    return _compare(function(left.copy(), right.copy(), first, key, last), right_one, mistakes)
