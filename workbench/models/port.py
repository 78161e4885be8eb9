"""PORT: a transformer over joints that fills in the ones that a detector could not see.

Chi, Chi, Chan, Ramani: Pose Relation Transformer Refine Occlusions for Human Pose Estimation (ICRA
2023). Equations 1 and 2 (heatmap to joint and confidence) stand in `workbench.codecs`; Eq. 3 only
defines masked language modelling. Coordinates here are normalised poses (a few units across);
`workbench.predict` maps px in and out. The authors never released the model; where the paper is
silent the choice is marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import BadParameter, check_choice
from ..skeletons import skeleton
from ..taps import Tap
from .entry import LATER, Entry
from .layers import MLP, Attention, merge_heads, split_heads


@dataclass(frozen=True)
class PortConfig:
    """`PortConfig()` is the paper's; the fields after `se` are our variants, off by default."""

    skeleton: str = "hand21"
    dim: int = 64  # D, PORT Sec. IV-B
    depth: int = 4  # L, PORT Sec. IV-B
    heads: int = 4  # PORT Sec. IV-B
    # unstated; ours: Eq. 7 divides by sqrt(D), so heads have width D
    head_dim: int = 64
    mlp_ratio: int = 2  # unstated; ours: 0.53 M, as other readings give (the ledger, Table II)
    # K, PORT Sec. IV-B; () is the plain linear layer of Table III
    exponents: tuple[int, ...] = (1, 2)
    # one W for all powers as Eq. 4 prints it; False: one for each, a choice of ours
    shared_weight: bool = False
    se: bool = True  # PORT Eq. 10
    se_reduction: int = 4  # unstated; ours
    # remove masked joints before Eq. 5 mixes neighbours; the paper's embedding leaks
    leak_free: bool = False
    # masked joints keep their noisy coordinates: the mask embedding is added, not put in
    denoise: bool = False
    residual: bool = False  # predict an offset from the input instead of a position
    confidence: bool = False  # the detector's confidence is a third input channel beside x and y
    # unstated; ours: poses are normalised by their unmasked joints, or weighted by "confidence"
    frame: str = "visible"
    # a second head says how close the detected and the reconstructed joint are to the truth
    judge: bool = field(default=False, metadata=LATER)
    # confidences enter as the simulated detector's of the same rank in their file
    ranked: bool = field(default=False, metadata=LATER)

    def __post_init__(self):
        if any(k < 1 for k in self.exponents):
            raise BadParameter(
                f"exponents {self.exponents} must be 1 or more",
                remedy="use () for a plain linear layer",
            )
        if self.leak_free and (self.denoise or self.residual):
            raise BadParameter(
                "leak_free hides masked coordinates, denoise and residual use them",
                remedy="choose one or the other",
            )
        check_choice("frame", self.frame, ("visible", "confidence"))


def normalised_adjacency(adjacency: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """D^-1/2 (A + I) D^-1/2: the symmetric normalisation of PORT Sec. III-B (Kipf and Welling
    2017).
    """
    a = adjacency + torch.eye(len(adjacency), dtype=adjacency.dtype, device=adjacency.device)
    inverse_root = a.sum(-1).rsqrt()
    return inverse_root[:, None] * a * inverse_root


def adjacency_powers(
    adjacency: Float[Tensor, "n n"], exponents: Sequence[int]
) -> Float[Tensor, "p n n"]:
    """Powers of the normalised adjacency; the identity alone for no exponents, which makes MSGC
    a linear layer.
    """
    a = normalised_adjacency(adjacency)
    return torch.stack([torch.linalg.matrix_power(a, k) for k in exponents or (0,)])


def msgc(
    powers: Float[Tensor, "p n n"],
    x: Float[Tensor, "b n c"],
    weight: Float[Tensor, "p c d"],
    bias: Float[Tensor, "d"] | None = None,
) -> Float[Tensor, "b n d"]:
    """Multi-scale graph convolution, mean over k of A~^k X W_k. PORT Eq. 4.

    The paper prints one W for all k; pass it expanded over p. The bias is ours.
    """
    mixed = torch.einsum("pnm,bmc->bnpc", powers / len(powers), x)
    # one product over (k, channel)
    return F.linear(mixed.flatten(-2), weight.flatten(0, 1).T, bias)


def leak_free_embedding(
    powers: Float[Tensor, "p n n"],
    x: Float[Tensor, "b n c"],
    weight: Float[Tensor, "p c d"],
    mask: Bool[Tensor, "b n"],
) -> Float[Tensor, "b n d"]:
    """Eq. 5 over visible neighbours only: each row is rescaled to the weight it would have had.
    # ours, not the paper's
    """
    seen = (~mask)[..., None].to(x.dtype)
    left = torch.einsum("pnm,bmo->bnp", powers, seen)
    rescale = torch.where(
        left > 1e-6, powers.sum(-1).T / left.clamp_min(1e-6), torch.zeros_like(left)
    )
    mixed = torch.einsum("pnm,bmc->bnpc", powers, x * seen) * rescale[..., None] / len(powers)
    return F.linear(mixed.flatten(-2), weight.flatten(0, 1).T)


def squeeze_excitation_input(z: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
    """Mean over joints, what Eq. 10 squeezes."""
    return z.mean(-2)


def masked_joint_nll(
    recon: Float[Tensor, "b n 2"], truth: Float[Tensor, "b n 2"], mask: Bool[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """Squared distance averaged over the masked joints of the batch. PORT Eq. 12.

    As printed: the negative Gaussian log-likelihood up to constants, sigma = 1 in the units of the
    coordinates.
    """
    squared = (recon - truth).square().sum(-1)
    return (squared * mask).sum() / mask.sum().clamp_min(1)


def masked_joint_distance(
    recon: Float[Tensor, "b n 2"],
    truth: Float[Tensor, "b n 2"],
    mask: Bool[Tensor, "b n"],
    smooth: float = 0.01,
) -> Float[Tensor, ""]:
    """Distance (not squared) averaged over the masked joints, smooth at 0: far misses count
    less.  # ours, not the paper's
    """
    distance = ((recon - truth).square().sum(-1) + smooth**2).sqrt()
    return (distance * mask).sum() / mask.sum().clamp_min(1)


def occluded_joints(
    confidence: Float[Tensor, "b n"], delta: float | Float[Tensor, "n"]
) -> Bool[Tensor, "b n"]:
    """m_n: joints whose confidence is below delta. PORT Eq. 13."""
    return confidence < delta


def replace_occluded(
    xy: Float[Tensor, "b n 2"], recon: Float[Tensor, "b n 2"], mask: Bool[Tensor, "b n"]
) -> Float[Tensor, "b n 2"]:
    """(1 - M) * J + M * J_recon. PORT Eq. 14."""
    return torch.where(mask[..., None], recon, xy)


# Size of a person in units of its pose's frame: of OKS, the root of the area (0.53 of the box).
# About that of procedural bodies; ours.
OBJECT_SIZE = 1.9


def closeness(
    xy: Float[Tensor, "b n 2"], truth: Float[Tensor, "b n 2"], tolerance: Float[Tensor, "n"]
) -> Float[Tensor, "b n"]:
    """1 at the truth, 1/2 one tolerance away from it, near 0 far off.  # ours, not the paper's

    It falls as object keypoint similarity does, with a longer tail: a miss by ten tolerances that
    becomes one by three is better, too.
    """
    return 1 / (1 + (xy - truth).square().sum(-1) / tolerance.square())


def closeness_loss(
    logits: Float[Tensor, "b n 2"], close: Float[Tensor, "b n 2"], mask: Bool[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """Cross entropy of what the judge expects against what came true, over the masked joints: least
    where it expects the mean closeness.  # ours, not the paper's
    """
    each = F.binary_cross_entropy_with_logits(logits, close, reduction="none").sum(-1)
    return (each * mask).sum() / mask.sum().clamp_min(1)


class MSGC(nn.Module):
    """PORT Eq. 4 with its learned weights; a bias is added.  # unstated; ours"""

    def __init__(self, powers: Tensor, d_in: int, d_out: int, shared: bool):
        super().__init__()
        self.register_buffer("powers", powers, persistent=False)
        self.weight = nn.Parameter(torch.empty(1 if shared else len(powers), d_in, d_out))
        self.bias = nn.Parameter(torch.zeros(d_out))
        for w in self.weight:
            nn.init.xavier_uniform_(w)

    def expanded_weight(self) -> Tensor:
        return self.weight.expand(len(self.powers), -1, -1)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
        return msgc(self.powers, x, self.expanded_weight(), self.bias)


class JointEmbedding(nn.Module):
    """PORT Eq. 5 and the mask embedding of Sec. III-D; x holds x, y and, if so configured, the
    confidence.
    """

    def __init__(self, powers: Tensor, config: PortConfig):
        super().__init__()
        self.leak_free = config.leak_free
        self.denoise = config.denoise
        self.project = MSGC(powers, 3 if config.confidence else 2, config.dim, config.shared_weight)
        self.mask_embedding = nn.Parameter(torch.randn(config.dim) * 0.02)
        self.out = Tap("b joint channel")

    def forward(
        self, x: Float[Tensor, "b n c"], mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b n d"]:
        p = self.project
        if self.leak_free:
            z = leak_free_embedding(p.powers, x, p.expanded_weight(), mask) + p.bias
        else:
            z = p(x)
        m = mask[..., None]
        z = z + m * self.mask_embedding if self.denoise else torch.where(m, self.mask_embedding, z)
        return self.out(z)


class EncoderLayer(nn.Module):
    """PORT Eq. 6 to 9: Q, K, V by graph convolution, multi-head attention, MLP; layer norm
    before each.
    """

    def __init__(self, powers: Tensor, config: PortConfig):
        super().__init__()
        width = config.heads * config.head_dim
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.qkv = MSGC(powers, config.dim, 3 * width, config.shared_weight)  # Eq. 6
        self.attention = Attention(config.head_dim**-0.5, "b head joint joint")  # Eq. 7
        self.project = nn.Linear(width, config.dim)
        self.mlp = MLP(config.dim, config.mlp_ratio * config.dim, nn.ReLU())
        self.out = Tap("b joint channel")

    def forward(self, z: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        q, k, v = (split_heads(t, self.heads) for t in self.qkv(self.norm1(z)).chunk(3, -1))
        z = z + self.project(merge_heads(self.attention(q, k, v)))  # Eq. 8
        return self.out(z + self.mlp(self.norm2(z)))  # Eq. 9


class RegressionHead(nn.Module):
    """PORT Eq. 10 and 11: channels weighed by squeeze-and-excitation, then a linear map to x, y."""

    def __init__(self, config: PortConfig):
        super().__init__()
        self.excite = self.gate = None
        if config.se:
            hidden = max(config.dim // config.se_reduction, 1)
            self.excite = nn.Sequential(*MLP(config.dim, hidden, nn.ReLU()), nn.Sigmoid())
            self.gate = Tap("b channel")
        self.project = nn.Linear(config.dim, 2)

    def forward(self, z: Float[Tensor, "b n d"]) -> Float[Tensor, "b n 2"]:
        if self.excite is not None:
            z = self.gate(self.excite(squeeze_excitation_input(z)))[:, None] * z
        return self.project(z)


class JudgeHead(nn.Module):
    """How close a joint's two answers are expected to be to the truth, as logits: the detector's
    and the reconstruction. Ours, not the paper's.

    It reads what the encoder knows of the joint and how far apart the two are, in tolerances.
    """

    def __init__(self, config: PortConfig):
        super().__init__()
        sigmas = skeleton(config.skeleton).oks_sigmas
        tolerance = 2 * OBJECT_SIZE * torch.tensor(sigmas, dtype=torch.float32)
        self.register_buffer("tolerance", tolerance, persistent=False)
        self.layers = MLP(config.dim + 1, config.dim, nn.ReLU(), 2)
        self.out = Tap("b joint answer")

    def forward(
        self, z: Float[Tensor, "b n d"], offset: Float[Tensor, "b n 2"]
    ) -> Float[Tensor, "b n 2"]:
        apart = (offset.square().sum(-1) / self.tolerance.square()).log1p()
        return self.out(self.layers(torch.cat((z, apart[..., None].to(z.dtype)), -1)))


class Port(nn.Module):
    """The whole of PORT: embedding, encoder, regression head."""

    def __init__(self, config: PortConfig = PortConfig()):
        super().__init__()
        self.config = config
        powers = adjacency_powers(
            torch.tensor(skeleton(config.skeleton).adjacency), config.exponents
        )
        self.embedding = JointEmbedding(powers, config)
        self.encoder = nn.ModuleList(EncoderLayer(powers, config) for _ in range(config.depth))
        self.head = RegressionHead(config)
        self.judge = JudgeHead(config) if config.judge else None
        self.recon = Tap("b joint xy")

    def forward(
        self,
        xy: Float[Tensor, "b n 2"],
        mask: Bool[Tensor, "b n"],
        truth: Float[Tensor, "b n 2"] | None = None,
        confidence: Float[Tensor, "b n"] | None = None,
        known: Bool[Tensor, "b n"] | None = None,
    ) -> dict[str, Tensor]:
        """Reconstructs every joint from the unmasked ones.

        xy: normalised coordinates; mask: True where the joint is hidden from the model (or, with
        `denoise`, known to be unreliable); confidence: the detector's, used where the configuration
        says so (absent: 0 where masked, else 1). known: joints whose truth is known (absent: all).
        Returns "xy", with a judge "closeness" [b n 2] of detection and reconstruction, and, when
        the truth is given, "loss.nll" (Eq. 12), "loss.distance" and with a judge "loss.closeness".
        """
        x = xy
        if self.config.confidence:
            c = (~mask).to(xy.dtype) if confidence is None else confidence
            x = torch.cat((xy, (2 * c - 1)[..., None]), -1)
        z = self.embedding(x, mask)
        for layer in self.encoder:
            z = layer(z)
        out = self.head(z).to(xy.dtype)
        recon = self.recon(xy + out if self.config.residual else out)
        result = {"xy": recon}
        judged = None if self.judge is None else self.judge(z, (recon - xy).detach())
        if judged is not None:
            result["closeness"] = judged.sigmoid()
        if truth is not None:
            counted = mask if known is None else mask & known
            result["loss.nll"] = masked_joint_nll(recon.float(), truth, counted)
            result["loss.distance"] = masked_joint_distance(recon.float(), truth, counted)
            if judged is not None:
                answers = (xy, recon.detach().float())
                close = [closeness(each, truth, self.judge.tolerance) for each in answers]
                loss = closeness_loss(judged.float(), torch.stack(close, -1), counted)
                result["loss.closeness"] = loss
        return result


# --- in the register ------------------------------------------------------------------------------


def _example(config: PortConfig, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
    n = len(skeleton(config.skeleton))
    xy = torch.randn(batch, n, 2, generator=generator)
    mask = torch.zeros(batch, n, dtype=torch.bool)
    mask[:, ::3] = True
    truth = xy + 0.1 * torch.randn(batch, n, 2, generator=generator)
    return {
        "xy": xy,
        "mask": mask,
        "truth": truth,
        "confidence": torch.rand(batch, n, generator=generator),
    }


DENOISE = PortConfig(denoise=True, residual=True, confidence=True, frame="confidence")
ENTRY = Entry(
    Port,
    {
        "paper": PortConfig(),
        "denoise": DENOISE,
        # for bodies, of detectors that nobody has measured
        "abstain": replace(DENOISE, skeleton="coco17", judge=True, ranked=True),
    },
    _example,
)
