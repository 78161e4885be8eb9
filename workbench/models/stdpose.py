"""STDPose: three frames' features are fused and their heatmaps merged, a mask of what moves
stresses the maps, and heatmap tokens attend to image tokens to give the key frame's joints.

Jiao, Wang, Wu, Fan, Liu, Xu, Wu: SpatioTemporal Learning for Human Pose Estimation in
Sparsely-Labeled Videos (AAAI 2025). No program was released. Frames stand in the order left, key,
right; maps lie in heatmap space.

One model serves both tasks. Estimation: three pictures. Propagation: the annotations of the left
and right frame are given too, and their Gaussians take the place of the maps that the network
itself made of those two frames, joint by joint; nothing else changes. The paper gives annotations
at inference alone (Sec. 4.2); training may give them or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from .. import codecs
from ..errors import BadParameter, check_choice
from ..skeletons import skeleton
from ..taps import Tap
from .backbones import HEATMAP_STD, SMALL_BACKBONE, Backbone, HeatmapEstimator, HeatmapHead
from .entry import LATER, Entry
from .layers import MLP, MultiheadAttention, Patches

PATCH = 16  # px of the crop to a token
RIDGE = 1e-3  # added to variances of 1 where information is counted  # unstated; ours
MI_ESTIMATORS = ("gaussian", "variational", "printed")


@dataclass(frozen=True)
class STDPoseConfig:
    """`PAPER` is the paper's; 384 x 288 and 224 x 168 (height x width, Table 6) are other sizes.

    16 does not divide 168: crops are padded to `padded` by zeros on the right and below, which the
    heatmaps cover too.
    """

    skeleton: str = "posetrack15"
    size: tuple[int, int] = (192, 256)  # (width, height) px of the crops; Sec. 4.1
    # a standard ViT, Sec. 4.1; its size is  # unstated; ours
    backbone: str = "vit_base_patch16_224"
    widths: tuple[int, ...] = ()  # another size than timm's, see `backbones.Backbone`
    depths: tuple[int, ...] = ()
    # of image tokens cut from a backbone's finer maps, such as HRNet's; None: ViT's own
    token_channels: int | None = None
    # backbone and its head stay as they are in training: they know poses already
    frozen: bool = False
    deconv: tuple[int, ...] = (256, 256)  # two layers of upsampling, Eq. 13; ViTPose's classic head
    sigma: float = 2.0  # heatmap px, of labels and annotations  # unstated; ours, ViTPose's
    alignment: str = "udp"  # of heatmaps in the crop  # unstated; ours, ViTPose's
    tff: bool = True  # the parts of Table 4: see `TABLE_4`
    tks: bool = True
    dam: bool = True
    stda: bool = True
    # what the mask compares: "used", all frames' maps with labels in the place of some, or "own",
    # the network's own maps of all three. A label's Gaussian peaks at 1, an estimate lower, so that
    # "used" sees doubt where nothing moves; the paper does not say  # unstated; ours
    dam_reads: str = field(default="used", metadata=LATER)
    mi: bool = True
    layers: int = 2  # of TFF  # unstated; ours
    blocks: int = 2  # N of Eq. 13  # unstated; ours
    heads: int = 12  # of both, ViT-B's  # unstated; ours
    mlp_ratio: int = 4  # unstated; ours, ViT's
    joint_channels: int = 4  # of each joint while its three frames are merged  # unstated; ours
    tks_channels: int = 64  # while joints are merged  # unstated; ours
    k: float = 1.5  # Sec. 3.2, Table 5
    theta: float = 0.5
    forward_weight: float = 1.0  # of the residual to the left frame in the mask  # unstated; ours
    backward_weight: float = 1.0  # of that to the right frame
    alpha: float = 0.1  # Eq. 11, Sec. 4.1
    beta: float = 0.01
    # how information is counted, one of `MI_ESTIMATORS`; files that do not say it learned with
    # "printed"
    mi_estimator: str = field(default="printed", metadata=LATER)
    # above 0: each term of information pulls with this share of the heatmap loss's gradient, at
    # what was fused and at what was merged, in the place of alpha and beta  # ours
    mi_share: float = field(default=0.0, metadata=LATER)
    mi_channels: int = 64  # directions of features, of "printed"  # unstated; ours
    # of a loss on the key frame's own heatmaps, for backbones that do not know poses; Eq. 5 has
    # none
    frame_weight: float = 0.0
    # of a loss on heatmaps that a head of its own reads off the fused feature: nothing else asks
    # that feature where joints are, as long as merged heatmaps tell it. Eq. 5 has none  # ours
    fused_weight: float = field(default=0.0, metadata=LATER)

    def __post_init__(self):
        check_choice("dam_reads", self.dam_reads, ("used", "own"))
        check_choice("mi_estimator", self.mi_estimator, MI_ESTIMATORS)
        if self.tff and self.tks and not self.stda:
            raise BadParameter(
                "TFF and TKS without STDA",
                remedy="switch STDA on, which joins them, or one of them off",
            )
        if self.dam and not self.stda:
            raise BadParameter(
                "a mask without STDA, which uses it", remedy="switch both on or both off"
            )
        if self.mi and not (self.tff or self.tks):
            raise BadParameter(
                "information of nothing fused", remedy="switch TFF or TKS on, or the objective off"
            )

    @property
    def joints(self) -> int:
        """J."""
        return len(skeleton(self.skeleton))

    @property
    def padded(self) -> tuple[int, int]:
        """(width, height) px that the backbone sees: the size, or the next multiples of 16."""
        return tuple(-(-n // PATCH) * PATCH for n in self.size)

    @property
    def grid(self) -> tuple[int, int]:
        """(width, height) of the heatmaps."""
        return tuple(n // PATCH * 2 ** len(self.deconv) for n in self.padded)


TABLE_4 = {  # row -> fields; (f) is the whole model
    # the key frame's own heatmaps
    "a": {"tff": False, "tks": False, "stda": False, "dam": False, "mi": False},
    # the head reads the fused feature
    "b": {"tks": False, "stda": False, "dam": False, "mi": False},
    # the merged heatmaps are the result
    "c": {"tff": False, "stda": False, "dam": False, "mi": False},
    "d": {"dam": False, "mi": False},
    "e": {"mi": False},
    "f": {},
}


# --- equations ------------------------------------------------------------------------------------


def modified_sigmoid(
    x: Float[Tensor, "*s"], k: float = 1.5, theta: float = 0.5
) -> Float[Tensor, "*s"]:
    """1 / (1 + exp(-k (|x| - theta))): small but not 0 at rest, alike for both signs. STDPose
    Eq. 3.
    """
    return torch.sigmoid(k * (x.abs() - theta))


def residuals(frames: Float[Tensor, "b 3 k h w"]) -> Float[Tensor, "b 2 k h w"]:
    """Forward and backward pose residual: the key frame's heatmaps minus the left's, and minus the
    right's. STDPose Sec. 3.2.

    Which is subtracted from which is not said, and the modified sigmoid does not care.  # unstated;
    ours
    """
    return frames[:, 1:2] - frames[:, ::2]


def distance_weights(distance: Num[Tensor, "b 2"]) -> Float[Tensor, "b 2"]:
    """Weights of left and right frame, sum 2: the nearer counts for more, in proportion, as DCPose
    has it.

    1 and 1 where both are as far, also where one is missing and stands 0 frames away: its residual
    says nothing. # unstated; ours
    """
    total = distance.sum(1, keepdim=True)
    return torch.where(
        (distance > 0).all(1, keepdim=True), 2 * distance.flip(1) / total.clamp_min(1), 1.0
    )


def whitened(z: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Directions without a mean at any place, each of variance 1 over all people and places, and
    in order: a direction holds what those before it do not (Cholesky). `RIDGE` stands on the
    variances.
    """
    z = z.float() - z.float().mean(0)
    z = z / z.square().mean((0, 1)).clamp_min(1e-12).sqrt()
    flat = z.flatten(0, 1)
    r = flat.mT @ flat / len(flat) + RIDGE * torch.eye(flat.shape[1], device=z.device)
    lower = torch.linalg.cholesky(r)
    return torch.linalg.solve_triangular(lower, flat.mT, upper=False).mT.unflatten(0, z.shape[:2])


def correlations(x: Float[Tensor, "b n d"], y: Float[Tensor, "b n e"]) -> Float[Tensor, "b d e"]:
    """Of whitened x with y: first of each person's own pair, then of all people with the next
    person's y, with that of the next but one, and so on.
    """
    strangers = torch.stack([y.roll(-shift, 0) for shift in range(len(y))])
    return torch.einsum("bnd,sbne->sde", x, strangers) / (x.shape[0] * x.shape[1])


def nats_of(r: Float[Tensor, "b d e"]) -> Float[Tensor, "b"]:
    """Mutual information of Gaussians with these correlations between whitened directions."""
    eye = torch.eye(r.shape[1], device=r.device)
    return -0.5 * torch.linalg.slogdet(eye - r @ r.mT)[1]


def less_strangers(nats: Float[Tensor, "b"]) -> Float[Tensor, ""]:
    """The first less the mean of the others: what people's own pairs hold beyond pairs of
    strangers.

    Pairs of strangers hold nothing, so their mean is what chance adds. It is the same sum over the
    same places: right whatever the maps are, where a formula that counts places as independent
    pairs is not.  # ours
    """
    return nats[0] - nats[1:].mean()


def gaussian_information(x: Float[Tensor, "b n d"], y: Float[Tensor, "b n e"]) -> Float[Tensor, ""]:
    """Mutual information of x and y in nats, from b independent people at each of n places: that of
    Gaussians with their correlations. STDPose Eq. 7.

    Places have means of their own and share one covariance; scales do not matter. What correlations
    do not tell is not counted. What chance adds is taken off (`less_strangers`): an estimate of
    nothing may fall below 0. `RIDGE` bounds what one direction can hold to 3.1 nats. 0 where the
    pairs are too few for their covariance.
    """
    if (len(x) - 1) * x.shape[1] < x.shape[2] + y.shape[2]:
        return x.new_zeros(())
    return less_strangers(nats_of(correlations(whitened(x), whitened(y))))


def conditional_information(
    x: Float[Tensor, "b n d"], y: Float[Tensor, "b n e"], given: Float[Tensor, "b n g"]
) -> Float[Tensor, ""]:
    """I(x; y | given) = I(x; [y, given]) - I(x; given) in nats, as `gaussian_information` counts
    them; for Gaussians this is exact. STDPose Eq. 2 and 8.

    What y holds of x and any linear mixture of `given` holds too adds nothing.
    """
    both = torch.cat((given, y), -1)
    if (len(x) - 1) * x.shape[1] < x.shape[2] + both.shape[2]:
        return x.new_zeros(())
    r = correlations(whitened(x), whitened(both))
    return less_strangers(nats_of(r) - nats_of(r[..., : given.shape[2]]))


# --- mutual information ---------------------------------------------------------------------------


class PlacePredictors(nn.Module):
    """What two readers of the maps know of where the labelled joints are: one reads `given`, one y
    as well; what the second knows beyond is I(x; y | given), bounded by what readers can learn.

    Two predictors of the label whose likelihoods are compared: variational self-distillation
    (Tian et al. 2021), which the paper and FAMI-Pose (Liu et al. 2022) cite. Each is one linear
    layer and a softmax over places, and its likelihood a bound (Barber & Agakov 2003).  # ours
    """

    def __init__(self, channels: int, places: int, joints: int):
        super().__init__()
        # where joints are in all people alike: known to both
        self.usual = nn.Parameter(torch.zeros(places, joints))
        self.of_given = nn.Linear(channels, joints)
        self.of_both = nn.Linear(2 * channels, joints)

    def forward(
        self,
        label: Float[Tensor, "b n k"],
        y: Float[Tensor, "b n c"],
        given: Float[Tensor, "b n c"],
    ) -> Float[Tensor, ""]:
        """Nats of all labelled joints, mean over people. The reader of `given` learns too, and y
        gets no gradient through it.
        """
        label, y, given = (part.to(self.usual) for part in (label, y, given))
        share = label / label.sum(1, keepdim=True).clamp_min(1e-6)  # of each place in the label

        def log_likelihood(scores: Tensor) -> Tensor:
            return (share * (scores + self.usual).log_softmax(1)).sum((1, 2)).mean()

        known = log_likelihood(self.of_given(given))
        gained = log_likelihood(self.of_both(torch.cat((y, given), -1))) - known.detach()
        return gained + known - known.detach()


class MutualInformation(nn.Module):
    """STDPose Eq. 2, or its form of Eq. 11, by one of `MI_ESTIMATORS`: the paper names none.
    # unstated; ours

    Information is counted at every token's place, between people of the batch (as in Hjelm et al.
    2018): heatmaps and labels are averaged over the token's patch. The key frame's own feature and
    heatmaps stand still. "gaussian" learns nothing and needs no approximation of Eq. 2. "printed"
    is Eq. 11, features seen in fixed random directions, so that a network that turns them out of
    these directions is praised for nothing: shipped weights learned with it.
    """

    def __init__(self, channels: int, tokens: int, config: STDPoseConfig):
        super().__init__()
        self.config = config
        widths = {"feature": channels} if config.tff else {}
        if config.tks:
            widths["heatmap"] = config.joints
        if config.mi_estimator == "printed" and config.tff:
            directions = torch.empty(channels, min(channels, config.mi_channels))
            self.register_buffer("directions", nn.init.orthogonal_(directions))
        if config.mi_estimator == "variational":
            self.readers = nn.ModuleDict(
                {
                    name: PlacePredictors(width, tokens, config.joints)
                    for name, width in widths.items()
                }
            )

    def gain(self, name: str, label: Tensor, fused: Tensor, key: Tensor) -> Tensor:
        """A bracket of Eq. 2, or of Eq. 11."""
        if self.config.mi_estimator == "gaussian":
            return conditional_information(label, fused, key)
        if self.config.mi_estimator == "variational":
            return self.readers[name](label, fused, key)
        if name == "feature":
            fused, key = fused @ self.directions.float(), key @ self.directions.float()
        return gaussian_information(label, fused) - gaussian_information(fused, key)

    def forward(
        self,
        truth: Float[Tensor, "b k h w"],
        feature: tuple[Float[Tensor, "b c y x"], Float[Tensor, "b c y x"]],
        heatmap: tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k h w"]],
    ) -> dict[str, Tensor]:
        """Both terms of the loss. feature, heatmap: fused, and the key frame's own."""
        config = self.config

        def of_maps(maps: Tensor) -> Tensor:
            return F.avg_pool2d(maps.float(), 2 ** len(config.deconv)).flatten(2).mT

        losses = {}
        with torch.autocast(truth.device.type, enabled=False):
            label = of_maps(truth)
            if config.tff:
                fused, key = feature[0].flatten(2).mT.float(), feature[1].detach().flatten(2).mT
                gain = self.gain("feature", label, fused, key.float())
                losses["loss.mutual_feature"] = -config.alpha * gain
            if config.tks:
                fused, key = of_maps(heatmap[0]), of_maps(heatmap[1].detach())
                gain = self.gain("heatmap", label, fused, key)
                losses["loss.mutual_heatmap"] = -config.beta * gain
        return losses


def balanced(
    term: Float[Tensor, ""], task: Float[Tensor, ""], at: Float[Tensor, "..."], share: float
) -> Float[Tensor, ""]:
    """A term of a loss, scaled so that its gradient at a tensor is as long as this share of the
    task's: the adaptive weight of Esser, Rombach and Ommer (2021).  # ours
    """
    if not term.requires_grad:
        return term
    pulls = (torch.autograd.grad(loss, at, retain_graph=True)[0].norm() for loss in (task, term))
    of_task, of_term = pulls
    return term * (share * of_task / of_term.clamp_min(1e-12)).detach()


# --- spatiotemporal representation encoder --------------------------------------------------------


class TemporalFeatureFusion(nn.Module):
    """TFF, STDPose Sec. 3.1: tokens of all frames attend to each other, an MLP makes one token of a
    place's three.

    The attention is timm's, with the fused kernel, over three times as many tokens as a frame has.
    """

    def __init__(self, channels: int, tokens: int, config: STDPoseConfig):
        from timm.models.vision_transformer import Block

        super().__init__()
        self.position = nn.Parameter(0.02 * torch.randn(3, tokens, channels))
        layers = (
            Block(channels, config.heads, config.mlp_ratio, qkv_bias=True)
            for _ in range(config.layers)
        )
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(channels)
        self.mlp = MLP(3 * channels, channels, nn.GELU(), channels)
        self.out = Tap("b channel y x")

    def forward(self, features: Float[Tensor, "b 3 c y x"]) -> Float[Tensor, "b c y x"]:
        z = features.flatten(3).mT + self.position
        z = self.norm(self.blocks(z.flatten(1, 2))).unflatten(1, z.shape[1:3])
        fused = self.mlp(z.transpose(1, 2).flatten(2))
        return self.out(fused.mT.unflatten(-1, features.shape[-2:]))


def conv_block(channels: int, hidden: int, out: int, groups: int = 1) -> nn.Sequential:
    """3 x 3 convolution, batch norm, ReLU, 3 x 3 convolution: Conv of Eq. 6.  # unstated; ours"""
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 3, padding=1, groups=groups, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(True),
        nn.Conv2d(hidden, out, 3, padding=1, groups=groups),
    )


class TemporalKeypointsSynthesis(nn.Module):
    """TKS, STDPose Eq. 6: each joint by itself in time, then all joints, then these beside the
    three frames.

    Every joint has its own convolutions in time; they are groups of one.
    """

    def __init__(self, config: STDPoseConfig):
        super().__init__()
        k = config.joints
        wide = config.tks_channels
        self.in_time = conv_block(3 * k, config.joint_channels * k, k, groups=k)
        self.in_space, self.synthesis = conv_block(k, wide, k), conv_block(4 * k, wide, k)
        self.time, self.space, self.out = (Tap("b joint y x") for _ in range(3))

    def forward(self, frames: Float[Tensor, "b 3 k h w"]) -> Float[Tensor, "b k h w"]:
        time = self.time(self.in_time(frames.transpose(1, 2).flatten(1, 2)))
        space = self.space(self.in_space(time))
        return self.out(self.synthesis(torch.cat((space, frames.flatten(1, 2)), 1)))


# --- pose decoder ---------------------------------------------------------------------------------


class DynamicAwareMask(nn.Module):
    """DAM, STDPose Sec. 3.2: both residuals, activated (Eq. 3), each to one channel, added with
    weights, and a softmax.

    One 1 x 1 convolution serves both directions and begins as the sum over joints; the softmax runs
    over the pixels. # unstated; ours
    """

    def __init__(self, config: STDPoseConfig):
        super().__init__()
        self.config = config
        self.compress = nn.Conv2d(config.joints, 1, 1, bias=False)
        nn.init.ones_(self.compress.weight)
        weights = torch.tensor((config.forward_weight, config.backward_weight))
        self.register_buffer("weights", weights, persistent=False)
        self.residual = Tap("b direction joint y x")
        self.active = Tap("b direction joint y x")
        self.logits = Tap("b y x")
        self.out = Tap("b y x")

    def forward(
        self, frames: Float[Tensor, "b 3 k h w"], distance: Num[Tensor, "b 2"] | None = None
    ) -> Float[Tensor, "b h w"]:
        """M, which sums to 1. distance: of the left and right frame from the key frame, see
        `distance_weights`.
        """
        active = self.active(
            modified_sigmoid(self.residual(residuals(frames)), self.config.k, self.config.theta)
        )
        motion = self.compress(active.flatten(0, 1)).unflatten(0, active.shape[:2]).squeeze(2)
        weights = self.weights if distance is None else self.weights * distance_weights(distance)
        logits = self.logits((motion * weights.to(motion)[..., None, None]).sum(1))
        return self.out(logits.flatten(1).softmax(-1).unflatten(1, logits.shape[1:]))


class PoseAggregation(nn.Module):
    """PA, STDPose Sec. 3.2: self-attention, cross-attention to image tokens (Eq. 12) and an MLP, a
    norm before each.

    Eq. 12 is each head's, with the D of a head. The biases are ours.  # unstated; ours
    """

    def __init__(self, channels: int, config: STDPoseConfig):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.self_attention = MultiheadAttention(channels, config.heads, "b head token token")
        self.cross_attention = MultiheadAttention(
            channels, config.heads, "b head token image_token"
        )
        self.mlp = MLP(channels, config.mlp_ratio * channels, nn.GELU())
        self.out = Tap("b token channel")

    def forward(
        self, z: Float[Tensor, "b n c"], image: Float[Tensor, "b m c"]
    ) -> Float[Tensor, "b n c"]:
        x = self.norm1(z)
        z = z + self.self_attention(x, x, x)
        z = z + self.cross_attention(self.norm2(z), image, image)
        return self.out(z + self.mlp(self.norm3(z)))


class SpatioTemporalDynamicsAggregation(nn.Module):
    """STDA, STDPose Eq. 13. A token is a patch of the heatmaps where the backbone has one of the
    picture.

    M is multiplied by the number of pixels, so that an even mask is 1: a factor that E_patch, being
    linear, could learn as well, but not soon. Norms on the image tokens and before the head are
    ours.  # unstated; ours
    """

    def __init__(self, channels: int, tokens: int, config: STDPoseConfig):
        super().__init__()
        k = config.joints
        patch = 2 ** len(config.deconv)
        self.embed = Patches((1 + config.dam) * k, channels, patch)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, channels))
        self.blocks = nn.ModuleList(PoseAggregation(channels, config) for _ in range(config.blocks))
        self.norm_image = nn.LayerNorm(channels)
        self.norm = nn.LayerNorm(channels)
        self.head = HeatmapHead(channels, k, config.deconv, std=HEATMAP_STD)
        self.masked = Tap("b joint y x") if config.dam else None
        self.tokens = Tap("b token channel")

    def forward(
        self,
        merged: Float[Tensor, "b k h w"],
        mask: Float[Tensor, "b h w"] | None,
        fused: Float[Tensor, "b c y x"],
    ) -> Float[Tensor, "b k h w"]:
        if mask is not None:
            merged = torch.cat((self.masked(merged * mask[:, None] * mask[0].numel()), merged), 1)
        z = self.tokens(self.embed(merged).flatten(2).mT + self.position)
        image = self.norm_image(fused.flatten(2).mT)
        for block in self.blocks:
            z = block(z, image)
        return self.head(self.norm(z).mT.unflatten(-1, fused.shape[-2:]))


# --- the model ------------------------------------------------------------------------------------


def without(
    maps: Float[Tensor, "b t k h w"], wiped: Num[Tensor, "b k"]
) -> Float[Tensor, "b t k h w"]:
    """Maps that say nothing of the wiped joints (1)."""
    return maps * (1 - wiped)[:, None, :, None, None]


class STDPose(HeatmapEstimator):
    """The estimator and propagator: three crops of a person, or their features, to the heatmaps of
    the key frame.

    Without TFF the key frame's feature stands for the fused one, without TKS its heatmaps for the
    merged ones. Without both the left and right frame are not looked at, and "frames" holds the key
    frame's maps alone; with TFF alone the annotations have no way in.
    """

    def __init__(self, config: STDPoseConfig = STDPoseConfig(), pretrained: bool = False):
        super().__init__()
        self.config = config
        self.backbone = Backbone(
            config.backbone, config.padded, config.widths, config.depths, pretrained
        )
        fine = self.backbone.channels
        patch = PATCH // self.backbone.stride
        channels = config.token_channels or fine
        tokens = math.prod(n // PATCH for n in config.padded)
        if not patch or (patch == 1) != (config.token_channels is None):
            remedy = "choose a ViT, or HRNet with token_channels"
            raise BadParameter(
                f"{config.backbone} with token_channels {config.token_channels}", remedy=remedy
            )
        if channels % config.heads:
            raise BadParameter(
                f"{config.heads} heads of {channels} channels", remedy="let heads divide channels"
            )
        # finer maps: their own head needs no upsampling if they are as fine as the heatmaps
        cut = patch > 1
        self.cut = Patches(fine, channels, patch) if cut and (config.tff or config.stda) else None
        self.head = HeatmapHead(
            fine, config.joints, config.deconv[int(math.log2(patch)) :], std=HEATMAP_STD
        )
        asked = config.tff and (config.fused_weight or not config.stda)  # the last: Table 4 (b)
        self.head_fused = (
            HeatmapHead(channels, config.joints, config.deconv, std=HEATMAP_STD) if asked else None
        )
        self.features = Tap("b frame channel y x")
        self.estimated = Tap("b frame joint y x")
        self.frames = Tap("b frame joint y x")  # the same, or annotations in their place
        self.tokens = Tap("b frame channel y x") if config.tff or config.stda else None
        self.tff = TemporalFeatureFusion(channels, tokens, config) if config.tff else None
        self.tks = TemporalKeypointsSynthesis(config) if config.tks else None
        self.dam = DynamicAwareMask(config) if config.dam else None
        self.stda = (
            SpatioTemporalDynamicsAggregation(channels, tokens, config) if config.stda else None
        )
        self.mutual = MutualInformation(channels, tokens, config) if config.mi else None
        self.out = Tap("b joint y x")
        self.place_heatmaps(config.padded, config.grid, config.alignment, config.sigma)

        for part in (self.backbone, self.head) if config.frozen else ():
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> STDPose:
        super().train(mode)
        for part in (self.backbone, self.head) if self.config.frozen else ():
            part.eval()
        return self

    def features_of(self, images: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t c y x"]:
        """The backbone's features of every crop."""
        (w, h), (wide, high) = self.config.size, self.config.padded
        pixels = F.pad(images.flatten(0, 1), (0, wide - w, 0, high - h))
        return self.backbone(pixels).unflatten(0, images.shape[:2])

    def _annotated(self, frames: Tensor, xy_crop: Tensor, weights: Tensor | None) -> Tensor:
        """Labels of the left and right frame in the place of the maps of labelled joints."""
        weights = torch.ones_like(xy_crop[..., 0]) if weights is None else weights
        labels = self.encode(xy_crop, weights).to(frames)
        left, right = torch.where(weights[..., None, None] > 0, labels, frames[:, ::2]).unbind(1)
        return torch.stack((left, frames[:, 1], right), 1)

    def forward(
        self,
        images: Float[Tensor, "b 3 3 h w"] | None = None,
        features: Float[Tensor, "b 3 c y x"] | None = None,
        auxiliary_xy_crop: Float[Tensor, "b 2 k 2"] | None = None,
        auxiliary_weights: Num[Tensor, "b 2 k"] | None = None,
        distance: Num[Tensor, "b 2"] | None = None,
        wiped: Num[Tensor, "b k"] | None = None,
        tokens_of: Int[Tensor, "b"] | None = None,
        xy_crop: Float[Tensor, "b k 2"] | None = None,
        weights: Num[Tensor, "b k"] | None = None,
    ) -> dict[str, Tensor]:
        """ "heatmaps" of the key frame, and "frames" [b 3 k h w], which they were made of.

        images: normalised crops of the left, key and right frame, all by the key frame's box; or
        instead the features that `features_of` makes. auxiliary_xy_crop: annotations of the left
        and right frame, px; joints of weight 0 keep the network's own maps. distance: of the left
        and right frame from the key frame, in frames; the paper gives none. wiped: 1 where the
        network's own maps of a joint are to say nothing, so that the picture must.  # ours
        tokens_of: whose tokens, of the batch, stand in the place of one's own: somebody else's
        picture, where nothing else changes.  # ours

        With labels of the key frame (px) and their weights there are the terms of Eq. 5:
        "loss.heatmap" (Eq. 4), "loss.mutual_feature" and "loss.mutual_heatmap" (Eq. 2), and
        "loss.frame" and "loss.fused" where they have a weight.
        """
        config = self.config
        if (images is None) == (features is None):
            raise BadParameter("images or features", remedy="give one of the two")
        looks = slice(None) if config.tff or config.tks or config.dam else slice(1, 2)
        features = self.features(
            self.features_of(images[:, looks]) if features is None else features[:, looks]
        )
        b, t = features.shape[:2]
        key = t // 2
        estimates = self.head(features.flatten(0, 1)).unflatten(0, (b, t))
        own = self.estimated(estimates if wiped is None else without(estimates, wiped))
        frames = own
        if auxiliary_xy_crop is not None and t == 3:
            frames = self._annotated(own, auxiliary_xy_crop, auxiliary_weights)
        frames = self.frames(frames)
        if self.cut is not None:
            features = self.cut(features.flatten(0, 1)).unflatten(0, (b, t))
        features = features if tokens_of is None else features[tokens_of]
        if self.tokens is not None:
            features = self.tokens(features)
        fused = features[:, key] if self.tff is None else self.tff(features)
        merged = frames[:, key] if self.tks is None else self.tks(frames)
        if self.stda is not None:
            read = {"own": own, "used": frames}[config.dam_reads]
            mask = None if self.dam is None else self.dam(read, distance)
            heatmaps = self.stda(merged, mask, fused)
        else:
            heatmaps = merged if self.head_fused is None else self.head_fused(fused)
        found = {"heatmaps": self.out(heatmaps), "frames": frames}
        if xy_crop is not None:
            weights = torch.ones_like(xy_crop[..., 0]) if weights is None else weights
            sides = (fused, features[:, key]), (merged, own[:, key])
            found |= self._losses(xy_crop, weights, heatmaps, estimates[:, key], *sides)
        return found

    def _losses(
        self,
        xy_crop: Tensor,
        weights: Tensor,
        heatmaps: Tensor,
        estimate: Tensor,
        feature: tuple[Tensor, Tensor],
        heatmap: tuple[Tensor, Tensor],
    ) -> dict[str, Tensor]:
        """The terms of Eq. 5. feature, heatmap: fused, and the key frame's own."""
        config = self.config
        truth = self.encode(xy_crop, weights)
        task = codecs.heatmap_loss(heatmaps.float(), truth, weights)
        losses = {"loss.heatmap": task}
        if config.frame_weight:
            frame = codecs.heatmap_loss(estimate.float(), truth, weights)
            losses["loss.frame"] = config.frame_weight * frame
        if config.fused_weight and self.stda is not None and self.head_fused is not None:
            maps = self.head_fused(feature[0]).float()
            losses["loss.fused"] = config.fused_weight * codecs.heatmap_loss(maps, truth, weights)
        terms = {} if self.mutual is None else self.mutual(truth, feature, heatmap)
        if config.mi_share and torch.is_grad_enabled():
            at = {"loss.mutual_feature": feature[0], "loss.mutual_heatmap": heatmap[0]}
            terms = {n: balanced(term, task, at[n], config.mi_share) for n, term in terms.items()}
        return losses | terms


# --- in the register ------------------------------------------------------------------------------

PAPER = STDPoseConfig(mi_estimator="gaussian")
SMALL = STDPoseConfig(  # of the shipped weights
    **SMALL_BACKBONE,
    token_channels=96,
    frozen=True,
    deconv=(40, 24),
    sigma=1.5,
    layers=2,
    blocks=2,
    heads=4,
    mlp_ratio=2,
    tks_channels=32,
    mi_channels=32,
)


def _example(config: STDPoseConfig, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
    w, h = config.size
    xy_crop = torch.rand(batch, 3, config.joints, 2, generator=generator) * torch.tensor(
        [w - 1.0, h - 1.0]
    )
    weights = (torch.rand(batch, 3, config.joints, generator=generator) > 0.1).float()
    return {
        "images": torch.randn(batch, 3, 3, h, w, generator=generator),
        "auxiliary_xy_crop": xy_crop[:, ::2],
        "auxiliary_weights": weights[:, ::2],
        "distance": torch.randint(1, 7, (batch, 2), generator=generator),
        "xy_crop": xy_crop[:, 1],
        "weights": weights[:, 1],
    }


ENTRY = Entry(
    STDPose,
    {"small": SMALL, "paper": PAPER},
    _example,
    large=frozenset({"paper"}),
)
