"""Visibility: VisNet says which joints are seen, the others' features are masked, a transformer
over joints reasons.

Sun, Gu, Wang, Yang, Yao: Rethinking Visibility in Human Pose Estimation: Occluded Pose Reasoning
via Transformers (WACV 2024). The losses of Eq. 1 and 2 stand in `workbench.codecs`. Visibility
labels are 0 not labelled, 1 occluded, 2 visible; a joint counts as visible where they are 2. Where
the released program disagrees with the paper, a switch of the configuration says so; `released`
sets them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .. import codecs
from ..errors import BadParameter, check_choice
from ..skeletons import skeleton
from ..taps import Tap
from .backbones import (
    HEATMAP_STD,
    SMALL_BACKBONE,
    Backbone,
    HeatmapEstimator,
    HeatmapHead,
    KeypointMaps,
)
from .entry import LATER, Entry
from .layers import MLP, Attention, merge_heads, residual, split_heads

SOURCES = ("predicted", "truth", "none")


@dataclass(frozen=True)
class VisSimCCConfig:
    """`VisSimCCConfig()` reads the paper as printed; the last group is what the released program
    does instead.
    """

    skeleton: str = "coco17"
    size: tuple[int, int] = (192, 256)  # (width, height) px of the crop; SimCC's
    backbone: str = "resnet50"  # Visibility Table 2; HRNet-W32 has deconv ()
    widths: tuple[int, ...] = ()  # another size than timm's, see `backbones.Backbone`
    depths: tuple[int, ...] = ()
    deconv: tuple[int, ...] = (256, 256, 256)  # of the heatmap head; SimpleBaseline's
    head_kernel: int = 1
    head_upsample: int = 1
    output: str = "simcc"  # or "heatmap"
    split: float = 2.0  # bins a px; SimCC's
    sigma: float = 6.0  # bins, of the labels; SimCC's at 192 x 256
    heatmap_sigma: float = 1.0  # heatmap px; Visibility Sec. 3.1
    alignment: str = "udp"  # of heatmaps in the crop  # unstated; ours
    reasoning: bool = True  # Visibility Table 5: False is the plain estimator
    # Table 6: or "truth"; "none" is Table 5's reasoning without masking
    visibility: str = "predicted"
    dim: int = 512  # d  # unstated; ours, as released
    layers: int = 3  # unstated; ours, as released
    heads: int = 2  # h  # unstated; ours, as released
    mlp_ratio: int = 2  # unstated; ours, as released
    visnet: tuple[int, int] = (64, 32)  # hidden channels  # unstated; ours, as released
    hidden: float = 0.01  # the mask of an occluded joint; Eq. 3
    threshold: float = 0.5  # Eq. 3
    visibility_weight: float = 1.0  # lambda of Eq. 8, Sec. 5.1
    # a learned vector a joint, or masked joints could not be told apart  # unstated; ours
    joint_embedding: bool = True
    residual: str = "masked"  # added to the transformer's output; "none"  # unstated; ours
    # --- paper | ours, to see what a part is worth
    # Eq. 5 and 6 | False: a block is its MLP alone, no joint hears of another
    attention: bool = field(default=True, metadata=LATER)
    # --- paper | released
    # Sec. 4.3 | False: the norm follows each module (and there is no joint embedding)
    pre_norm: bool = True
    # Eq. 5: d x d | True: one d_h x d_h matrix each for Q, K, V serves all heads
    shared_heads: bool = False
    # | True: adds the feature before masking, so that occluded ones reach the head
    unmasked_residual: bool = False
    # Eq. 7 joint by joint | True: a softmax over joints of their probabilities
    softmax_visibility: bool = False
    # | True: masks made of labels 0, 1, 2 as if they were 0 and 1: visible joints become 0
    raw_labels: bool = False
    # | False: the flip test gives the mirrored picture the labels of the other side
    mirror_labels: bool = True
    head_bias: bool = True  # SimCC's classifiers | False: none
    # Eq. 1 and 2 are sums | True: means over pixels (and half of it) or bins
    mean_loss: bool = False
    # | True: SimCC's densities cut at the border, heatmaps cut at three sigmas
    released_labels: bool = False

    def __post_init__(self):
        check_choice("output", self.output, ("simcc", "heatmap"))
        check_choice("visibility", self.visibility, SOURCES)
        check_choice("residual", self.residual, ("masked", "none"))
        if self.dim % self.heads:
            raise BadParameter(
                f"{self.heads} heads of {self.dim} channels", remedy="make dim a multiple of heads"
            )


RELEASED = {
    "visibility": "truth",
    "joint_embedding": False,
    "pre_norm": False,
    "shared_heads": True,
    "unmasked_residual": True,
    "softmax_visibility": True,
    "raw_labels": True,
    "mirror_labels": False,
    "head_bias": False,
    "mean_loss": True,
    "released_labels": True,
    "alignment": "msra",
}


# --- equations ------------------------------------------------------------------------------------


def visibility_mask(
    probability: Float[Tensor, "b k"], hidden: float = 0.01, threshold: float = 0.5
) -> Float[Tensor, "b k"]:
    """1 for joints as likely visible as the threshold or more, else `hidden`. Visibility Eq. 3, its
    inequality turned round: as printed it would mask the visible joints, against Sec. 4.2 and the
    released program.
    """
    return torch.where(probability >= threshold, 1.0, hidden).to(probability.dtype)


def label_mask(
    visibility: Int[Tensor, "b k"], hidden: float = 0.01, raw: bool = False
) -> Float[Tensor, "b k"]:
    """The mask of true labels: 1 for visible joints (2), else `hidden`. Visibility Table 6, Ground
    Truth.

    raw: what the released program makes of labels that it takes for 0 and 1: 2 becomes 0, 1 becomes
    1, 0 `hidden`.
    """
    seen = torch.where(visibility == (1 if raw else 2), 1.0, hidden)
    return torch.where(visibility == 2, 0.0, seen) if raw else seen


def masked_features(
    feature: Float[Tensor, "b k f"], mask: Float[Tensor, "b k"]
) -> Float[Tensor, "b k f"]:
    """Each joint's feature times its mask. Visibility Eq. 4."""
    return feature * mask[..., None]


def visibility_loss(
    logits: Float[Tensor, "b k"], visible: Bool[Tensor, "b k"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy, mean over all joints: those without a label count as occluded.
    Visibility Eq. 7, footnote 1.
    """
    return F.binary_cross_entropy_with_logits(logits, visible.to(logits.dtype))


def released_visibility_loss(
    logits: Float[Tensor, "b k"], visible: Bool[Tensor, "b k"]
) -> Float[Tensor, ""]:
    """The released program's: joints compete in a softmax, whose scores are probabilities
    already.
    """
    return F.cross_entropy(logits.sigmoid(), visible.to(logits.dtype))


# --- modules --------------------------------------------------------------------------------------


class VisNet(nn.Sequential):
    """The MLP V of Sec. 4.2, one for all joints: a feature to the logit of being visible."""

    def __init__(self, features: int, hidden: tuple[int, int] = (64, 32)):
        first, second = hidden
        super().__init__(
            nn.Linear(features, first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, 1),
        )

    def forward(self, feature: Float[Tensor, "b k f"]) -> Float[Tensor, "b k"]:
        return super().forward(feature).squeeze(-1)


class Block(nn.Module):
    """Visibility Eq. 5 and 6 and an MLP, each with its residual; layer norm before each. The
    bias of W_P is ours.
    """

    def __init__(self, config: VisSimCCConfig):
        super().__init__()
        d = config.dim
        self.heads = config.heads
        self.attends = config.attention
        self.pre_norm = config.pre_norm
        self.norm2 = nn.LayerNorm(d)
        if config.attention:
            self.norm1 = nn.LayerNorm(d)
            width = d // self.heads if config.shared_heads else d
            self.query, self.key, self.value = (
                nn.Linear(width, width, bias=False) for _ in range(3)
            )
            self.attention = Attention((d // self.heads) ** -0.5, "b head joint joint")  # Eq. 5
            self.project = nn.Linear(d, d)  # W_P
        self.mlp = MLP(d, config.mlp_ratio * d, nn.SiLU())
        self.out = Tap("b joint channel")

    def attend(self, z: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        """Visibility Eq. 6."""
        layers = (self.query, self.key, self.value)
        if self.query.in_features < z.shape[-1]:  # one small matrix for every head
            heads = split_heads(z, self.heads)
            q, k, v = (layer(heads) for layer in layers)
        else:
            q, k, v = (split_heads(layer(z), self.heads) for layer in layers)
        return self.project(merge_heads(self.attention(q, k, v)))

    def forward(self, z: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        if self.attends:
            z = residual(z, self.attend, self.norm1, self.pre_norm)
        return self.out(residual(z, self.mlp, self.norm2, self.pre_norm))


class VisibilityReasoning(nn.Module):
    """The module of the paper for any estimator that has a feature a joint: [b k f] in, [b k f]
    out.

    VisNet, which is there where the configuration predicts visibility, sees the feature detached:
    it learns without moving the estimator (Sec. 5.1).
    """

    def __init__(self, features: int, config: VisSimCCConfig = VisSimCCConfig()):
        super().__init__()
        self.config = config
        d = config.dim
        self.visnet = VisNet(features, config.visnet) if config.visibility == "predicted" else None
        self.embed = nn.Sequential(nn.Linear(features, d), nn.ReLU())  # unstated; ours, as released
        joints = len(skeleton(config.skeleton))
        self.joints = (
            nn.Parameter(0.02 * torch.randn(joints, d)) if config.joint_embedding else None
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.project = nn.Linear(d, features)
        self.visibility = Tap("b joint") if self.visnet else None
        self.mask = Tap("b joint")
        self.masked = Tap("b joint feature")
        self.out = Tap("b joint feature")

    def forward(
        self,
        feature: Float[Tensor, "b k f"],
        visibility: Int[Tensor, "b k"] | None = None,
        source: str | None = None,
    ) -> dict[str, Tensor]:
        """ "feature" [b k f] after reasoning and, where there is a VisNet, "visibility" [b k] and
        its "logits".

        source: what the mask follows, "predicted", "truth" (`visibility`) or "none"; the
        configuration's by default.
        """
        config = self.config
        answer = {}
        if self.visnet is not None:
            logits = self.visnet(feature.detach())
            answer = {"logits": logits, "visibility": self.visibility(logits.sigmoid())}
        mask = self._mask(feature, visibility, answer.get("visibility"), source)
        masked = self.masked(masked_features(feature, self.mask(mask.to(feature.dtype))))
        z = self.embed(masked)
        z = z if self.joints is None else z + self.joints
        for block in self.blocks:
            z = block(z)
        z = self.project(z)
        if config.unmasked_residual:
            z = z + feature
        elif config.residual == "masked":
            z = z + masked
        return {"feature": self.out(z), **answer}

    def _mask(self, feature, visibility, probability, source: str | None) -> Tensor:
        """The mask by its source, from labels or from what VisNet says."""
        config = self.config
        source = source or self.config.visibility
        if source == "predicted" and probability is not None:
            return visibility_mask(probability, config.hidden, config.threshold)
        if source == "truth" and visibility is not None:
            return label_mask(visibility, config.hidden, config.raw_labels)
        if source == "none":
            return torch.ones_like(feature[..., 0])
        missing = "no labels were given" if source == "truth" else "no VisNet for that"
        raise BadParameter(
            f"visibility by {source!r}: {missing}",
            remedy="truth needs labels, predicted a model configured so; none needs nothing",
        )


class VisSimCC(HeatmapEstimator):
    """A pose estimator with the module between its keypoint features and its output.

    The feature of a joint is its map, flattened. output "simcc": classifiers of both coordinates
    (SimCC); "heatmap": the feature as a map again (SimpleBaseline, HRNet, ViTPose). Without
    reasoning it is the plain estimator. pretrained: the backbone with ImageNet weights, which timm
    fetches.
    """

    def __init__(self, config: VisSimCCConfig = VisSimCCConfig(), pretrained: bool = False):
        super().__init__()
        self.config = config
        joints = len(skeleton(config.skeleton))
        backbone = Backbone(config.backbone, config.size, config.widths, config.depths, pretrained)
        std = HEATMAP_STD if config.output == "heatmap" else None
        head = HeatmapHead(
            backbone.channels, joints, config.deconv, config.head_kernel, config.head_upsample, std
        )
        self.maps = KeypointMaps(backbone, head)
        self.grid = w, h = self.maps.grid
        self.feature = Tap("b joint feature")
        self.reasoning = VisibilityReasoning(w * h, config) if config.reasoning else None
        if config.output == "simcc":
            bins = {axis: round(n * config.split) for axis, n in zip("xy", config.size)}
            self.classify = nn.ModuleDict(
                {axis: nn.Linear(w * h, n, config.head_bias) for axis, n in bins.items()}
            )
            self.distribution = nn.ModuleDict({axis: Tap(f"b joint bin_{axis}") for axis in "xy"})
        else:
            self.heatmaps = Tap("b joint y x")
        cut = 3.0 if config.released_labels else None
        self.place_heatmaps(config.size, self.grid, config.alignment, config.heatmap_sigma, cut)

    def forward(
        self,
        images: Float[Tensor, "b 3 h w"] | None = None,
        visibility: Int[Tensor, "b k"] | None = None,
        xy_crop: Float[Tensor, "b k 2"] | None = None,
        weights: Float[Tensor, "b k"] | None = None,
        source: str | None = None,
        maps: Float[Tensor, "b k y x"] | None = None,
    ) -> dict[str, Tensor]:
        """Distributions "x" and "y" over the bins of each axis, or "heatmaps"; "visibility" where
        it is predicted.

        images: normalised crops of the configured size. visibility: labels; with xy_crop (px) they
        give the terms of Eq. 8, "loss.pose" and "loss.visibility". weights: of the joints in the
        pose loss, by default 1 where there is a label (Table 1 trains on visible joints alone).
        source: see `VisibilityReasoning`. maps: of the keypoints, made before, instead of images.
        """
        if (images is None) == (maps is None):
            raise BadParameter("images or maps", remedy="give one of the two")
        maps = self.maps(images) if maps is None else maps
        # linear maps are slow on channels-last
        feature = self.feature(maps.flatten(2).contiguous())
        found = {} if self.reasoning is None else self.reasoning(feature, visibility, source)
        logits = found.pop("logits", None)
        feature = found.pop("feature", feature)
        if self.config.output == "simcc":
            scores = {axis: layer(feature) for axis, layer in self.classify.items()}
            found |= {
                axis: self.distribution[axis](score.softmax(-1)) for axis, score in scores.items()
            }
        else:
            scores = found["heatmaps"] = self.heatmaps(feature.unflatten(-1, self.grid[::-1]))
        if xy_crop is not None:
            if visibility is None:
                raise BadParameter(
                    "coordinates without visibility",
                    remedy="give both: 0 says that there is no label",
                )
            weights = (visibility > 0).to(xy_crop.dtype) if weights is None else weights
            found["loss.pose"] = self._pose_loss(scores, xy_crop, weights)
            if logits is not None:
                softmax = self.config.softmax_visibility
                loss = (released_visibility_loss if softmax else visibility_loss)(
                    logits.float(), visibility == 2
                )
                found["loss.visibility"] = self.config.visibility_weight * loss
        return found

    def _pose_loss(self, scores, xy_crop: Tensor, weights: Tensor) -> Tensor:
        """Visibility Eq. 1 or 2."""
        config = self.config
        if config.output == "simcc":
            made = config.size, config.split, config.sigma
            if config.released_labels:
                *target, seen = codecs.encode_simcc_released(xy_crop, weights > 0, *made)
                weights = weights * seen
            else:
                target = codecs.encode_simcc(xy_crop, *made)
            logits = scores["x"].float(), scores["y"].float()
            return codecs.simcc_loss(logits, tuple(target), weights, config.mean_loss)
        loss = codecs.heatmap_loss(scores.float(), self.encode(xy_crop, weights), weights)
        return loss / (2 * scores[0].numel()) if config.mean_loss else loss

    def decode(
        self, found: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "b k 2"], Float[Tensor, "b k"]]:
        """See `HeatmapEstimator.decode`; of distributions, too."""
        if self.config.output == "simcc":
            return codecs.decode_simcc(found["x"], found["y"], self.config.split)
        return super().decode(found)

    def flip_test(
        self,
        images: Float[Tensor, "b 3 h w"],
        visibility: Int[Tensor, "b k"] | None = None,
        source: str | None = None,
    ) -> dict[str, Tensor]:
        """`forward` of the picture and of its mirror image, put back and averaged."""
        config = self.config
        other = skeleton(self.config.skeleton).flip_index.tolist()
        mirrored = visibility
        if visibility is not None and config.mirror_labels:
            mirrored = visibility[:, other]
        here = self(images, visibility, source=source)
        there = self(images.flip(-1), mirrored, source=source)
        if config.output == "simcc":
            there["x"], there["y"] = codecs.mirror_simcc(
                there["x"], there["y"], other, config.split
            )
        else:
            there["heatmaps"] = codecs.mirror_heatmaps(there["heatmaps"], other, config.alignment)
        if "visibility" in there:
            there["visibility"] = there["visibility"][:, other]
        return {key: (here[key] + there[key]) / 2 for key in here}


# --- in the register ------------------------------------------------------------------------------

SMALL = VisSimCCConfig(
    **SMALL_BACKBONE,
    deconv=(),
    sigma=3.5,
    dim=64,
    visnet=(48, 24),
)


def _example(config: VisSimCCConfig, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
    w, h = config.size
    k = len(skeleton(config.skeleton))
    return {
        "images": torch.randn(batch, 3, h, w, generator=generator),
        "visibility": torch.randint(0, 3, (batch, k), generator=generator),
        "xy_crop": torch.rand(batch, k, 2, generator=generator) * torch.tensor([w - 1.0, h - 1.0]),
    }


ENTRY = Entry(
    VisSimCC,
    {
        "small": SMALL,
        "paper": VisSimCCConfig(),
        "released": VisSimCCConfig(**RELEASED),
    },
    _example,
)
