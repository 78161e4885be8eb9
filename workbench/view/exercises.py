"""Checks that diagnose: they say what an answer seems to have done, not only that it is wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from IPython.display import Markdown, display
from torch import Tensor

from ..metrics import p_epe
from ..models.port import masked_joint_nll, normalised_adjacency
from ..occlusion import cover
from ..skeletons import skeleton


def _say(verdict: str, text: str) -> bool:
    display(Markdown(f"**{verdict}.** {text}"))
    return verdict == "Right"


def _compare(answer, expected: Tensor, mistakes: dict[str, Tensor], tolerance: float = 1e-5) -> bool:
    """Right, a known mistake by its name, or the largest difference."""
    if answer is None:
        return _say("Not tried yet", "The function returns None: write its body, run the cell again.")
    if not isinstance(answer, Tensor):
        return _say("Not yet", f"Expected a tensor, got {type(answer).__name__}.")
    if answer.shape != expected.shape:
        return _say("Not yet", f"Expected shape {tuple(expected.shape)}, got {tuple(answer.shape)}.")
    if torch.allclose(answer, expected, atol=tolerance, rtol=tolerance):
        return _say("Right", "It agrees with the workbench's own function.")
    for text, wrong in mistakes.items():
        if wrong.shape == answer.shape and torch.allclose(answer, wrong, atol=tolerance, rtol=tolerance):
            return _say("Not yet", text)
    return _say("Not yet", f"The largest difference is {(answer - expected).abs().max():.3g}.")


def check_adjacency(function: Callable[[Tensor], Tensor | None]) -> bool:
    """Exercise of chapter 02: the symmetric normalisation behind PORT Eq. 4."""
    a = torch.tensor([[0.0, 1, 0, 0], [1, 0, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]])
    loops = a + torch.eye(4)
    degree = loops.sum(1)
    bare = a.sum(1)
    return _compare(
        function(a.clone()),
        normalised_adjacency(a),
        {
            "Every joint must also keep itself: add the identity to A before counting neighbours.": a
            / (bare[:, None] * bare).sqrt(),
            "This divides each row by its sum. Symmetric normalisation shares the root between row and column.": loops
            / degree[:, None],
            "This divides each column by its sum. Symmetric normalisation shares the root between row and column.": loops
            / degree,
            "The product of both degrees stands without its square root.": loops / (degree[:, None] * degree),
            "The degrees were counted on A, but A + I is what is normalised.": loops / (bare[:, None] * bare).sqrt(),
            "A + I is right, its normalisation is still missing.": loops,
        },
    )


def check_masked_loss(function: Callable[[Tensor, Tensor, Tensor], Tensor | None]) -> bool:
    """Exercise of chapter 02: PORT Eq. 12, function(recon, truth, mask)."""
    generator = torch.Generator().manual_seed(3)
    recon, truth = torch.randn(2, 5, 2, generator=generator), torch.randn(2, 5, 2, generator=generator)
    mask = torch.tensor([[True, False, True, False, False], [False, True, True, False, False]])
    squared = (recon - truth).square().sum(-1)
    return _compare(
        function(recon.clone(), truth.clone(), mask.clone()),
        masked_joint_nll(recon, truth, mask),
        {
            "This averages over all joints, as the public program does; Eq. 12 divides by the masked ones.": (
                squared * mask
            ).mean(),
            "The mask is the wrong way round: Eq. 12 sums over the hidden joints.": squared[~mask].mean(),
            "Every joint counts here; Eq. 12 sums over the hidden ones only.": squared.mean(),
            "This is the distance, not its square: look at the two bars and the 2 in Eq. 12.": squared[mask]
            .sqrt()
            .mean(),
            "This also divides by the two coordinates; the norm in Eq. 12 sums over x and y.": squared[mask].mean() / 2,
            "This is the sum over masked joints; divide by how many there are.": squared[mask].sum(),
        },
    )


def check_shrink(function: Callable[[np.ndarray, float], np.ndarray | None]) -> bool:
    """Exercise of chapter 02: function(xy [n, 21, 2], factor) scales hands about their wrists."""
    rng = np.random.default_rng(3)
    truth = rng.normal(300, 40, (7, 21, 2))
    xy = truth + rng.normal(0, 8, truth.shape)
    answer = function(xy.copy(), 0.97)
    wrist, mean = xy[:, :1], xy.mean(1, keepdims=True)
    right = _compare(
        answer if answer is None else torch.as_tensor(np.asarray(answer)),
        torch.tensor(wrist + 0.97 * (xy - wrist)),
        {
            "This scales about the mean of the joints, so the wrist moves: root-relative EPE is not the same.": torch.tensor(
                mean + 0.97 * (xy - mean)
            ),
            "This scales about the picture's corner: the hand wanders off towards (0, 0).": torch.tensor(0.97 * xy),
            "The wrist is subtracted and never added back.": torch.tensor(0.97 * (xy - wrist)),
            "This enlarges: multiply by the factor, do not divide.": torch.tensor(wrist + (xy - wrist) / 0.97),
        },
    )
    if right:
        before, after = (
            [p_epe(x, truth, align=a).mean() for a in ("truth_to_pred", "pred_to_truth")]
            for x in (xy, np.asarray(answer))
        )
        _say(
            "Look",
            f"P-EPE {before[0]:.3f} to {after[0]:.3f}; prediction aligned to truth {before[1]:.3f} to {after[1]:.3f}.",
        )
    return right


def _compare_arrays(answer, expected: np.ndarray, mistakes: dict[str, np.ndarray]) -> bool:
    """`_compare` for numpy answers; flags compare as numbers."""
    if answer is not None:
        answer = torch.as_tensor(np.asarray(answer, np.float64))
    as_tensor = {text: torch.tensor(np.asarray(wrong, np.float64)) for text, wrong in mistakes.items()}
    return _compare(answer, torch.tensor(np.asarray(expected, np.float64)), as_tensor)


def check_cover(function: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray | None]) -> bool:
    """Exercise of chapter 01: function(visibility [k], xy [k, 2] px, covered [h, w]) gives the new visibility."""
    covered = np.zeros((5, 9), bool)
    covered[1, 3:5] = True
    xy = np.array([[3.0, 1.0], [2.6, 1.2], [4.0, 1.0], [3.0, 1.0], [1.0, 3.0], [3.4, 1.0], [-5.0, 1.0], [0.0, 0.0]])
    flags = np.array([2, 2, 1, 0, 2, 2, 2, 2])  # the seventh joint lies left of the picture, where indices wrap
    expected = cover(flags, xy, covered)
    x, y = np.rint(xy.T).astype(int)
    wrapped, floored = covered[y, x], covered[tuple(np.floor(xy.T).astype(int)[::-1].clip(0))]
    under = wrapped & (x >= 0)
    turned = covered[x.clip(0, 4), y.clip(0, 8)]
    return _compare_arrays(
        function(flags.copy(), xy.copy(), covered.copy()),
        expected,
        {
            "A joint that nobody labelled (0) has become hidden (1): without a label there is nothing to hide.": np.where(
                under, 1, flags
            ),
            "A joint left of the picture was looked up at a negative index, which counts from the other end.": np.where(
                wrapped & (flags == 2), 1, flags
            ),
            "Coordinates were cut off, not rounded: integers are pixel centres, so 2.6 lies in pixel 3.": np.where(
                floored & (x >= 0) & (flags == 2), 1, flags
            ),
            "Rows are y and columns are x: the picture is indexed as covered[y, x].": np.where(
                turned & (flags == 2), 1, flags
            ),
            "A covered joint keeps its label and its coordinates: it becomes 1, not 0.": np.where(
                under & (flags == 2), 0, flags
            ),
            "The joints outside the cover have changed, and those under it have not.": np.where(
                ~under & (flags == 2), 1, flags
            ),
            "Nothing has changed yet.": flags,
        },
    )


def check_posetrack_flags(function: Callable[[np.ndarray], np.ndarray | None]) -> bool:
    """Exercise of chapter 01: function(keypoints [17, 3] of a PoseTrack18 file) gives 0, 1, 2 of these records."""
    names = skeleton("posetrack17")
    ears = [names.index(f"{side}_ear") for side in ("left", "right")]
    keypoints = np.random.default_rng(3).uniform(20, 600, (17, 3)).round(1)
    keypoints[:, 2] = 1
    keypoints[[*ears, 9], :] = 0
    stated = keypoints[:, 2].astype(int)
    drawn = np.where(np.arange(17) == 9, 2, 2 * stated)
    return _compare_arrays(
        function(keypoints.copy()),
        2 * stated,
        {
            "PoseTrack's 1 says labelled, not hidden. Copied as it stands, every joint would count as occluded.": stated,
            "Joints at (0, 0) with flag 0 are not labelled: they stay 0.": np.full(17, 2),
            "Only the ears were left out, but any joint may be without a label: look at the flag.": drawn,
            "The labelled joints count as hidden and the others as visible: it is the other way round.": 2 - 2 * stated,
        },
    )
