"""OTPose: five frames' heatmaps become flows and occlusion masks, two transformers over (joint,
flow) channels encode past and future, deformable convolutions refine the key frame's joints.

Jin, Lee, Lee: OTPose: Occlusion-Aware Transformer for Pose Estimation in Sparsely-Labeled Videos
(SMC 2022). Maps lie in heatmap space; frames stand in the order of time, the key frame in the
middle. Where the released program disagrees with the paper, a switch of the configuration says so;
`released` sets them all but the two strided layers behind its temporal encoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
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
from .layers import MLP

Heatmaps = Float[Tensor, "b k h w"]  # of k joints
FLOWS = ("prev", "sub", "close", "far", "total")
# offsets beside the key frame; Sec. III-A1
_MEMBERS = {"prev": (-2, -1), "sub": (1, 2), "close": (-1, 1), "far": (-2, 2)}
N_FEATURES = 8  # N_f, Sec. III-D1


@dataclass(frozen=True)
class OTPoseConfig:
    """`OTPoseConfig()` reads the paper as printed; the last group is what the released program
    does instead.
    """

    skeleton: str = "posetrack15"
    size: tuple[int, int] = (288, 384)  # (width, height) px of the crops; Sec. IV-C2
    backbone: str = "hrnet_w48"  # Sec. IV-B
    widths: tuple[int, ...] = ()  # another size than timm's, see `backbones.Backbone`
    depths: tuple[int, ...] = ()
    deconv: tuple[int, ...] = ()
    sigma: float = 3.0  # heatmap px, of the labels; HRNet's at 288 x 384
    alignment: str = "udp"  # of heatmaps in the crop  # unstated; ours
    occlusion_layers: int = 8  # N_L
    occlusion_heads: int = 1  # Sec. IV-B
    layers: int = 8  # N_L of the temporal encoders; Table V
    heads: int = 2  # Sec. IV-B
    mlp_ratio: int = 4  # unstated; ours, as released
    branches: tuple[str, ...] = ("prev", "sub")  # Table V rows 1 and 2: ("prev",)
    occlusion_encoder: bool = True  # Table V rows 1 and 3: False puts M_total in the place of psi
    pseudo_label: str = "mask"  # Eq. 3; "flow": Table V row 4
    window: int | None = None  # Table V rows 8 and 9: pixels attend to pixels, so many to a window
    refine_channels: int = 32  # of what offsets and masks are made from  # unstated; ours
    refine_blocks: int = 2  # unstated; ours
    dilations: tuple[int, ...] = (3, 6, 9, 12, 15)  # Sec. III-C
    initial_std: float | None = 0.001  # of every weight, Sec. IV-B; None: torch's own
    # --- paper | ours, to see what a part is worth
    # Eq. 5 divides by sqrt(D) | True: by sqrt(L), over whose pixels its products are summed
    pixel_scale: bool = field(default=False, metadata=LATER)
    # Eq. 6 | False: without MSA, so that no channel hears of another before the heads
    attention: bool = field(default=True, metadata=LATER)
    # Sec. III-C | False: both branches' maps and the flow's are added up
    refinement: bool = field(default=True, metadata=LATER)
    # flows, masks and transformers | "difference": a rival without them, see `differences`
    temporal: str = field(default="transformer", metadata=LATER)
    # of the rival's residual blocks, `layers` in number  # unstated; ours
    difference_channels: int = field(default=128, metadata=LATER)
    # --- paper | released
    # | (-2, -1, 0, 1, 1): t+2 is never read, t+1 stands there too
    frames: tuple[int, ...] = (-2, -1, 0, 1, 2)
    # heads see all channels | True: each head sees its own share of them, the others never
    split_joints: bool = False
    scramble: bool = False  # | True: heads are joined with pixels and channels exchanged
    # q, k, v channel by channel | True: three pixels of the flattened rows, then channels mixed
    mixing: bool = False
    # 2D sine code | True: 1D over the flattened pixels, divided by sqrt(D)
    row_position: bool = False
    exchanged: bool = False  # | True: close and far change places in the subsequent branch
    sigmoid: bool = True  # of modulation masks | False: none
    # Eq. 3 normalised, detached | True: (G + M) / 2, gradients run through it
    mean_label: bool = False
    released_loss: bool = False  # Eq. 8 | True: see `released_loss`
    layer_scale: float = 0.0  # Eq. 6 | 1e-4

    def __post_init__(self):
        check_choice("pseudo_label", self.pseudo_label, ("mask", "flow"))
        check_choice("temporal", self.temporal, ("transformer", "difference"))
        if self.temporal == "difference" and self.occlusion_encoder:
            raise BadParameter("differences know no occlusion", remedy="occlusion_encoder=False")
        if not self.branches or set(self.branches) - {"prev", "sub"}:
            raise BadParameter(f"branches are {self.branches}", remedy="choose prev, sub or both")
        if len(self.frames) != 5 or set(self.frames) - {-2, -1, 0, 1, 2}:
            raise BadParameter(f"frames are {self.frames}", remedy="five offsets from -2 to 2")
        if self.window is not None and self.window < 1:
            raise BadParameter(f"a window of {self.window} pixels", remedy="1 or more, or None")
        if self.split_joints and (
            self.joints * N_FEATURES % self.heads or self.joints % self.occlusion_heads
        ):
            raise BadParameter(
                f"{self.heads} heads share {self.joints * N_FEATURES} channels unequally"
            )

    @property
    def joints(self) -> int:
        """N_j."""
        return len(skeleton(self.skeleton))

    @property
    def encoders(self) -> tuple[str, ...]:
        """What looks at several frames: a transformer a branch, or one stack of blocks."""
        return self.branches if self.temporal == "transformer" else ("difference",)

    @property
    def grid(self) -> tuple[int, int]:
        """(width, height) of the heatmaps."""
        return self.size[0] // 4, self.size[1] // 4


RELEASED = {
    "frames": (-2, -1, 0, 1, 1),
    "split_joints": True,
    "scramble": True,
    "mixing": True,
    "row_position": True,
    "exchanged": True,
    "sigmoid": False,
    "mean_label": True,
    "released_loss": True,
    "layer_scale": 1e-4,
    "layers": 6,
    "occlusion_layers": 6,
}


# --- equations ------------------------------------------------------------------------------------


def penalised(
    heatmaps: Float[Tensor, "b t k h w"], distance: Num[Tensor, "#b t"]
) -> Float[Tensor, "b t k h w"]:
    """Each frame's heatmaps by 1 / (d + 1), d its distance from the key frame in frames. OTPose
    Eq. 1.
    """
    return heatmaps / (distance + 1)[..., None, None, None].to(heatmaps)


def keypoint_flows(
    heatmaps: Float[Tensor, "b 5 k h w"], distance: Num[Tensor, "#b 5"]
) -> dict[str, Heatmaps]:
    """The five keypoint flows by kind: sums over frames, all but "total" of penalised heatmaps.
    OTPose Sec. III-A1, Fig. 2.

    heatmaps: of t-2, t-1, t, t+1, t+2. The key frame belongs to every flow; the paper names it for
    prev and sub alone.
    """
    light = penalised(heatmaps, distance)
    flows = {
        kind: heatmaps[:, 2] + sum(light[:, 2 + offset] for offset in _MEMBERS[kind])
        for kind in FLOWS[:-1]
    }
    return flows | {"total": heatmaps.sum(1)}


def differences(
    heatmaps: Float[Tensor, "b 5 k h w"], distance: Num[Tensor, "#b 5"]
) -> Float[Tensor, "b 4*k h w"]:
    """Every other frame's heatmaps less the key frame's, penalised as Eq. 1 penalises frames.

    What the residual fusion of DCPose reads (Liu et al.: Deep Dual Consecutive Network for Human
    Pose Estimation, CVPR 2021), which has two other frames.  # four, and 1 / (d + 1): ours
    """
    away = penalised(heatmaps - heatmaps[:, 2:3], distance)
    return away[:, [0, 1, 3, 4]].flatten(1, 2)


def occlusion_masks(
    flows: Mapping[str, Heatmaps],
) -> dict[str, Heatmaps]:
    """Each flow times the sum over joints of the total flow. OTPose Eq. 2."""
    everyone = flows["total"].sum(1, keepdim=True)
    return {kind: flow * everyone for kind, flow in flows.items()}


def pseudo_label(truth: Heatmaps, mask: Heatmaps) -> Heatmaps:
    """Label plus mask, each joint's map brought to 0 ... 1; carries no gradient. OTPose Eq. 3.

    The paper's sigma is not said; from the lowest to the highest value of a map.  # unstated; ours
    """
    label = (truth + mask).detach()
    low, high = label.amin((-2, -1), keepdim=True), label.amax((-2, -1), keepdim=True)
    return (label - low) / (high - low).clamp_min(1e-6)


def released_errors(
    heatmaps: Heatmaps,
    target: Heatmaps,
    weights: Num[Tensor, "b k"],
    teacher: Heatmaps | None = None,
) -> Float[Tensor, "b k"]:
    """The released program's mean squared error of each map. Joints whose target peaks nowhere in
    the batch also learn from the teacher, which is not detached.
    """

    def error(goal: Tensor) -> Tensor:
        return ((heatmaps - goal) * weights[..., None, None]).square().mean((-2, -1))

    if teacher is None:
        return error(target)
    return error(target) + error(teacher) * (target.amax((0, 2, 3)) != 1)


def released_loss(errors: Float[Tensor, "b k"], hardest: int = 8) -> Float[Tensor, ""]:
    """The released program's: errors summed over joints, plus the mean of half the `hardest`
    joints' of each sample.
    """
    return (0.5 * errors).topk(min(hardest, errors.shape[1])).values.mean() + errors.mean(0).sum()


def sine_position(channels: int, h: int, w: int) -> Float[Tensor, "c h w"]:
    """The 2D sine code: half of the channels count rows, half columns, in pairs of sine and cosine.
    OTPose Sec. III-D2.

    Wavelengths from 2 pi to 20,000 pi px as in Vaswani et al.; the last channels are left out where
    they do not fit.
    """
    quarter = -(-channels // 4)
    rate = 10_000 ** -(torch.arange(quarter) / quarter)
    rows, columns = (torch.arange(n)[:, None] * rate for n in (h, w))
    rows = torch.cat((rows.sin(), rows.cos()), -1).T[:, :, None].expand(-1, -1, w)
    columns = torch.cat((columns.sin(), columns.cos()), -1).T[:, None].expand(-1, h, -1)
    return torch.cat((rows, columns))[:channels].clone()


def row_position(channels: int, h: int, w: int) -> Float[Tensor, "c h w"]:
    """The released program's code: sine and cosine over the flattened pixels, by sqrt(channels)."""
    at = torch.arange(h * w)[:, None] / 10_000 ** (2 * (torch.arange(channels) // 2) / channels)
    code = torch.where(torch.arange(channels) % 2 == 0, at.sin(), at.cos())
    return (code / math.sqrt(channels)).T.unflatten(-1, (h, w)).clone()


# --- encoder --------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """The released program's q, k or v: three neighbours of the flattened rows, a norm, then all
    channels mixed.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(channels, channels)

    def forward(self, z: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
        rows = self.conv(z.flatten(1, 2).mT).mT
        return self.mix(self.norm(rows)).unflatten(1, z.shape[1:3])


class Depthwise(nn.Conv2d):
    """3 x 3 pixels of each channel by itself: what attention calls a joint has seen no other."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, z: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
        return super().forward(z.movedim(-1, 1)).movedim(1, -1)


class Block(nn.Module):
    """OTPose Eq. 5 and 6. A token is one channel, a joint in a flow, and its feature all pixels of
    its map.

    Every head has its own query, key and value of all channels, and their results are added up: A
    stays D x D as Eq. 5 has it. (Heads that share out the channels would cut the joints in two
    groups that never meet: `split_joints`.)
    """

    def __init__(self, channels: int, heads: int, config: OTPoseConfig):
        super().__init__()
        self.heads = heads
        self.attention = config.attention
        self.pixel_scale = config.pixel_scale
        self.window = config.window
        self.scramble = config.scramble
        self.split = config.split_joints and config.window is None
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        sets = 1 if self.split else heads  # one q, k, v that heads share out, or one each
        sets = sets if config.attention else 0
        make = Mixed if config.mixing else Depthwise
        self.query, self.key, self.value = (
            nn.ModuleList(make(channels) for _ in range(sets)) for _ in range(3)
        )
        width = channels // heads if self.split else channels
        axes = "b head channel channel" if config.window is None else "b head window pixel pixel"
        self.scale = width**-0.5
        self.map = Tap(axes) if config.attention else None  # 1 / sqrt(D), as printed
        self.project = nn.Linear(channels, channels) if config.mixing else None
        self.mlp = MLP(channels, config.mlp_ratio * channels, nn.GELU())
        self.layer_scale1, self.layer_scale2 = (
            nn.Parameter(torch.full((channels,), config.layer_scale)) for _ in range(2)
        )
        self.out = Tap("b y x channel")

    def attend(
        self, z: Float[Tensor, "b h w d"], position: Float[Tensor, "h w d"] | None = None
    ) -> Float[Tensor, "b h w d"]:
        """MSA. position: added to what queries and keys are made from, so that the values stay
        heatmaps.
        """
        h, w = z.shape[1:3]
        placed = z if position is None else z + position

        def heads(layers: nn.ModuleList, x: Tensor) -> Iterator[Tensor]:
            """Each head's [b pixels d], made when it is asked for."""
            return (layer(x).flatten(1, 2) for layer in layers)

        q, k, v = heads(self.query, placed), heads(self.key, placed), heads(self.value, z)
        if self.window is not None:
            out = self.by_window(list(q), list(k), list(v))
        else:
            if self.split:
                q, k, v = (next(x).chunk(self.heads, -1) for x in (q, k, v))
            products = torch.stack([one.mT @ other for one, other in zip(q, k)], 1)
            weights = self.attend_to(products, h * w)
            out = self.joined(v, weights)
        out = out.unflatten(1, (h, w))
        return out if self.project is None else self.project(out)

    def joined(
        self, values: Iterable[Tensor], weights: Float[Tensor, "b h c d"]
    ) -> Float[Tensor, "b n e"]:
        """Every head's values by its weights, one head after the other so that they stay in the
        cache; then side by side if heads share out the channels, else added up.
        """
        each = (x @ a.mT for x, a in zip(values, weights.unbind(1)))  # [b pixels channels]
        if self.scramble:
            each = (x.reshape(len(x), -1, x.shape[1]).mT for x in each)
        return torch.cat(list(each), -1) if self.split else reduce(torch.add, each)

    def attend_to(
        self, products: Float[Tensor, "b h c d"], pixels: int
    ) -> Float[Tensor, "b h c d"]:
        """OTPose Eq. 5. Sums over thousands of pixels make it sharp: weights too small for fast
        arithmetic become 0.
        """
        scale = pixels**-0.5 if self.pixel_scale else self.scale
        return self.map(F.threshold((products * scale).softmax(-1), 1e-20, 0.0))

    def by_window(
        self, q: list[Tensor], k: list[Tensor], v: list[Tensor]
    ) -> Float[Tensor, "b n d"]:
        """Pixels attend to the pixels of their own window, row by row; the last window is filled
        up by none.
        """
        n = q[0].shape[1]
        missing = -n % self.window
        q, k, v = (
            F.pad(torch.stack(x, 1), (0, 0, 0, missing)).unflatten(2, (-1, self.window))
            for x in (q, k, v)
        )
        blocked = (torch.arange(n + missing, device=q.device) >= n).view(-1, 1, self.window)
        weights = (q @ k.mT * self.scale).masked_fill(blocked, float("-inf")).softmax(-1)
        return (self.map(weights) @ v).flatten(2, 3)[:, :, :n].sum(1)

    def forward(
        self, z: Float[Tensor, "b h w d"], position: Float[Tensor, "h w d"] | None = None
    ) -> Float[Tensor, "b h w d"]:
        if self.attention:
            z = torch.addcmul(z, self.layer_scale1, self.attend(self.norm1(z), position))
        return self.out(torch.addcmul(z, self.layer_scale2, self.mlp(self.norm2(z))))


class Encoder(nn.Module):
    """`layers` blocks over [b d h w]; the position code enters the first alone. OTPose Sec.
    III-D, patches of one pixel.
    """

    def __init__(self, channels: int, layers: int, heads: int, config: OTPoseConfig):
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, heads, config) for _ in range(layers))
        w, h = config.grid
        self.added = config.row_position
        code = (row_position if self.added else sine_position)(channels, h, w)
        self.register_buffer("position", code.movedim(0, -1).contiguous(), persistent=False)

    def forward(self, maps: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        z = maps.movedim(1, -1).contiguous()
        if self.added:  # as released: into the maps themselves
            z = z + self.position
        for i, block in enumerate(self.blocks):
            z = block(z, self.position if i == 0 and not self.added else None)
        return z.movedim(-1, 1)


# --- refinement -----------------------------------------------------------------------------------


class ConvNorm(nn.Sequential):
    """Convolution that keeps the size, batch norm, and ReLU unless told otherwise."""

    def __init__(self, channels: int, out: int, kernel: int, relu: bool = True):
        layers = [nn.Conv2d(channels, out, kernel, padding=kernel // 2), nn.BatchNorm2d(out)]
        super().__init__(*layers, *([nn.ReLU(True)] if relu else []))


class StepsBlock(nn.Module):
    """Residual steps of RSN (Cai et al. 2020): the n-th of four parts of the channels passes n
    convolutions, each of which also hears the one beside it. The paper says "a stack of 3 x 3
    convolutions"; these are the released program's.
    """

    def __init__(self, channels: int, out: int, shortcut: bool):
        super().__init__()
        part = max(channels * 26 // 64, 1)
        self.first, self.last = (
            ConvNorm(channels, 4 * part, 1),
            ConvNorm(4 * part, out, 1, relu=False),
        )
        self.steps = nn.ModuleList(
            nn.ModuleList(ConvNorm(part, part, 3) for _ in range(n)) for n in range(1, 5)
        )
        self.shortcut = ConvNorm(channels, out, 1, relu=False) if shortcut else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h w"]:
        beside: list[Tensor] = []
        ends = []
        for steps, at in zip(self.steps, self.first(x).chunk(4, 1)):
            row = []
            for i, step in enumerate(steps):
                at = step(at + beside[i] if i < len(beside) else at)
                row.append(at)
            beside = row
            ends.append(at)
        return F.relu(self.last(torch.cat(ends, 1)) + self.shortcut(x))


def steps_blocks(channels: int, out: int, blocks: int) -> nn.Sequential:
    """So many residual steps, the first of which changes the width."""
    return nn.Sequential(
        *(StepsBlock(channels if i == 0 else out, out, shortcut=i == 0) for i in range(blocks))
    )


def tap_positions(h: int, w: int, dilation: int, like: Tensor) -> Float[Tensor, "9 2 h w"]:
    """(y, x) px of the nine taps of a 3 x 3 convolution at every pixel, row by row."""
    side = [torch.arange(n, device=like.device, dtype=like.dtype) for n in (h, w)]
    pixels = torch.stack(torch.meshgrid(*side, indexing="ij"))  # [yx h w]
    step = torch.arange(-1, 2, device=like.device)
    taps = torch.cartesian_prod(step, step)[..., None, None]  # [tap yx 1 1]
    return pixels + dilation * taps


def sample_maps(
    maps: Heatmaps, positions: Float[Tensor, "b k 9 2 h w"]
) -> Float[Tensor, "b k 9 h w"]:
    """Values of each joint's own map at (y, x) px, between pixels bilinear, outside 0."""
    b, k, *_, h, w = positions.shape
    y, x = positions.unbind(3)
    # grid_sample counts from -1 to 1 between the middles of the border pixels, x first; planes of
    # either, as convolutions make them, are faster than pairs
    points = torch.stack((x * (2 / (w - 1)) - 1, y * (2 / (h - 1)) - 1), 2)
    by_map = points.reshape(b * k, 2, -1, w).permute(0, 2, 3, 1)
    values = F.grid_sample(maps.reshape(b * k, 1, h, w), by_map, align_corners=True)
    return values.view(b, k, 9, h, w)


def modulated_deform(
    maps: Heatmaps,
    offsets: Float[Tensor, "b k 9 2 h w"],
    masks: Float[Tensor, "b k 9 h w"],
    dilation: int,
    weight: Float[Tensor, "k k 3 3"],
    bias: Float[Tensor, " k"],
) -> Heatmaps:
    """Modulated deformable convolution 3 x 3; offsets (dy, dx) px of each map's nine taps.

    Equal to `torchvision.ops.deform_conv2d`, which the tests hold it to, and as fast forward; its
    backward takes a ninth of the time on a CPU. As precise as its weights, also where convolutions
    are bf16.
    """
    b, k, h, w = maps.shape
    maps, offsets, masks = (x.to(weight.dtype) for x in (maps, offsets, masks))
    values = sample_maps(maps, offsets + tap_positions(h, w, dilation, maps)) * masks
    columns = values.reshape(b, k * 9, h * w)
    return (weight.flatten(1) @ columns + bias[:, None]).unflatten(-1, (h, w))


class Refine(nn.Module):
    """OTPose Sec. III-C: offsets and modulation masks out of both branches move the flow's maps,
    once a dilation; their mean.

    Taps `offsets` and `modulation` hold all dilations: (dy, dx) px of each joint's nine taps, row
    by row.
    """

    def __init__(self, config: OTPoseConfig, joints: int | None = None):
        super().__init__()
        k = joints or config.joints
        wide = config.refine_channels
        self.config = config
        self.fuse = steps_blocks(k, k, config.refine_blocks)
        self.combine = steps_blocks((len(config.encoders) + 1) * k, wide, config.refine_blocks)

        def dilated(out: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv2d(wide, out, 3, padding=d, dilation=d, bias=False) for d in config.dilations
            )

        self.offset, self.mask = dilated(18 * k), dilated(9 * k)
        self.weight = nn.ParameterList(
            nn.Parameter(torch.empty(k, k, 3, 3)) for _ in config.dilations
        )
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(k)) for _ in config.dilations)
        for weight in self.weight:
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        self.offsets = Tap("b dilation joint tap yx y x")
        self.modulation = Tap("b dilation joint tap y x")
        self.moved = Tap("b joint y x")
        self.warped = Tap("b dilation joint y x")

    def forward(self, total: Heatmaps, encoded: list[Heatmaps]) -> Heatmaps:
        """One dilation after the other, so that its nine taps of a joint stay in the cache."""
        config, k = self.config, total.shape[1]
        maps = self.moved(self.fuse(total))
        mixed = self.combine(torch.cat((*encoded, maps), 1))
        offsets = (conv(mixed).unflatten(1, (k, 9, 2)) for conv in self.offset)
        masks = (conv(mixed).unflatten(1, (k, 9)) for conv in self.mask)
        if config.sigmoid:
            masks = (mask.sigmoid() for mask in masks)
        offsets, masks = self.offsets.in_parts(offsets, 1), self.modulation.in_parts(masks, 1)
        dilations = zip(offsets, masks, config.dilations, self.weight, self.bias)
        warped = [modulated_deform(maps, *dilation) for dilation in dilations]
        return self.warped(torch.stack(warped, 1)).mean(1)


# --- the model ------------------------------------------------------------------------------------


def branch_features(kind: str, exchanged: bool = False) -> tuple[tuple[str, str], ...]:
    """("mask", "flow" or "psi", kind of flow) of a branch's eight features of a joint, in order.
    OTPose Eq. 4.
    """
    two = ("close", "far") if exchanged and kind == "sub" else ("far", "close")
    around = (kind, *two)
    return (
        ("mask", "total"),
        ("psi", "total"),
        *(("flow", n) for n in around),
        *(("mask", n) for n in around),
    )


class OTPose(HeatmapEstimator):
    """The estimator: five crops of a person, or five heatmaps of any estimator, to the heatmaps
    of the middle one.
    """

    def __init__(self, config: OTPoseConfig = OTPoseConfig(), pretrained: bool = False):
        super().__init__()
        self.config = config
        k = config.joints
        backbone = Backbone(config.backbone, config.size, config.widths, config.depths, pretrained)
        self.maps = KeypointMaps(
            backbone, HeatmapHead(backbone.channels, k, config.deconv, std=HEATMAP_STD)
        )
        if self.maps.grid != config.grid:
            raise BadParameter(
                f"{config.backbone} gives maps of {self.maps.grid}, {config.grid} expected"
            )
        self.flow = nn.ModuleDict({kind: Tap("b joint y x") for kind in FLOWS})
        self.mask = nn.ModuleDict({kind: Tap("b joint y x") for kind in FLOWS})
        self.occlusion = (
            Encoder(k, config.occlusion_layers, config.occlusion_heads, config)
            if config.occlusion_encoder
            else None
        )
        self.psi = Tap("b joint y x") if config.occlusion_encoder else None
        channels, encoder = k * N_FEATURES, self._transformer
        if config.temporal == "difference":
            channels, encoder = config.difference_channels, self._residual_stack
        self.branch = nn.ModuleDict({n: encoder(channels) for n in config.encoders})
        self.head = nn.ModuleDict({n: nn.Conv2d(channels, k, 1) for n in config.encoders})
        self.phi = nn.ModuleDict({n: Tap("b joint y x") for n in config.encoders})
        self.refine = Refine(config) if config.refinement else None
        self.out = Tap("b joint y x")
        self.place_heatmaps(config.size, config.grid, config.alignment, config.sigma)
        self.register_buffer("distance", torch.tensor(config.frames).abs(), persistent=False)
        if config.initial_std is not None:
            self._begin_small(config.initial_std)

    def _transformer(self, channels: int) -> nn.Module:
        return Encoder(channels, self.config.layers, self.config.heads, self.config)

    def _residual_stack(self, channels: int) -> nn.Module:
        return steps_blocks(4 * self.config.joints, channels, self.config.layers)

    def _begin_small(self, std: float) -> None:
        """Normal weights and no biases everywhere but in the single-frame estimator. Sec. IV-B."""
        single_frame = {id(p) for p in self.maps.parameters()}
        for part in self.modules():
            if not isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Linear, Refine)):
                continue
            for name, p in part.named_parameters(recurse=isinstance(part, Refine)):
                if id(p) in single_frame:
                    continue
                if "norm" not in name and p.dim() > 1:
                    nn.init.normal_(p, std=std)
                elif name == "bias":
                    nn.init.zeros_(p)

    @property
    def channels(self) -> dict[str, list[tuple[str, str]]]:
        """Branch -> (joint, feature) of each channel of its encoder, as "left_wrist",
        "mask.total".
        """
        names = skeleton(self.config.skeleton).joints
        features = {n: branch_features(n, self.config.exchanged) for n in self.config.branches}
        label = {("psi", "total"): "psi"}
        return {
            n: [(joint, label.get(f, ".".join(f))) for joint in names for f in features[n]]
            for n in features
        }

    def heatmaps_of(self, images: Float[Tensor, "b 5 3 h w"]) -> Float[Tensor, "b 5 k hh ww"]:
        """The single-frame estimator's maps of every crop."""
        return self.maps(images.flatten(0, 1)).unflatten(0, images.shape[:2])

    def forward(
        self,
        images: Float[Tensor, "b 5 3 h w"] | None = None,
        heatmaps: Float[Tensor, "b 5 k hh ww"] | None = None,
        xy_crop: Float[Tensor, "b k 2"] | None = None,
        weights: Num[Tensor, "b k"] | None = None,
        distance: Num[Tensor, "b 5"] | None = None,
    ) -> dict[str, Tensor]:
        """ "heatmaps" of the key frame, "rough" [b 5 k hh ww] of the single-frame estimator and
        "psi".

        images: normalised crops of t-2 ... t+2, or instead heatmaps of any estimator on this grid.
        With labels of the key frame (px) and their weights there are "loss.prediction" and
        "loss.occlusion" (Eq. 8). distance: of the frames from the key frame, in frames; by default
        2, 1, 0, 1, 2.
        """
        config = self.config
        if (images is None) == (heatmaps is None):
            raise BadParameter("images or heatmaps", remedy="give one of the two")
        rough = self.heatmaps_of(images) if heatmaps is None else heatmaps
        used = rough[:, [2 + offset for offset in config.frames]]
        distance = self.distance[None] if distance is None else distance
        flows = {n: self.flow[n](x) for n, x in keypoint_flows(used, distance).items()}
        masks = {n: self.mask[n](x) for n, x in occlusion_masks(flows).items()}
        # Eq. 3
        psi = masks["total"] if self.occlusion is None else self.psi(self.occlusion(flows["total"]))
        if config.temporal == "difference":
            moved, features = penalised(used, distance).sum(1), [differences(used, distance)]
        else:
            known = {"mask": masks, "flow": flows, "psi": {"total": psi}}
            moved, features = flows["total"], [self._features(n, known) for n in self.branch]
        encoded = [
            self.phi[n](self.head[n](encoder(z)))
            for (n, encoder), z in zip(self.branch.items(), features)
        ]
        found = {
            "heatmaps": self.out(self._refined(moved, encoded)),
            "rough": rough,
            "psi": psi,
        }
        if xy_crop is not None:
            weights = torch.ones_like(xy_crop[..., 0]) if weights is None else weights
            truth = self.encode(xy_crop, weights)
            found |= self.losses(found, truth, weights, flows["total"], masks["total"])
        return found

    def _features(
        self, branch: str, known: Mapping[str, Mapping[str, Heatmaps]]
    ) -> Float[Tensor, "b d h w"]:
        """What a branch reads, joint by joint. OTPose Eq. 4."""
        kinds = branch_features(branch, self.config.exchanged)
        return torch.stack([known[what][kind] for what, kind in kinds], 2).flatten(1, 2)

    def _refined(self, flow: Heatmaps, encoded: list[Heatmaps]) -> Heatmaps:
        if self.refine is None:
            return sum(encoded, flow)
        return self.refine(flow, encoded)

    def losses(self, found, truth, weights, flow, mask) -> dict[str, Tensor]:
        """OTPose Eq. 7 and 8."""
        config = self.config
        extra = flow if config.pseudo_label == "flow" else mask
        label = (truth + extra) / 2 if config.mean_label else pseudo_label(truth, extra)
        if config.released_loss:
            errors = released_errors(found["heatmaps"], truth, weights, found["rough"][:, 2])
            losses = {"loss.prediction": released_loss(errors)}
            if self.occlusion is not None:
                losses["loss.occlusion"] = released_loss(
                    released_errors(found["psi"], label, weights)
                )
            return losses
        each = 1 / config.joints
        error = codecs.heatmap_loss(found["heatmaps"], truth, weights)
        losses = {"loss.prediction": N_FEATURES * each * error}
        if self.occlusion is not None:
            losses["loss.occlusion"] = each * codecs.heatmap_loss(found["psi"], label, weights)
        return losses


# --- in the register ------------------------------------------------------------------------------

SMALL = OTPoseConfig(
    **SMALL_BACKBONE,
    sigma=1.5,
    occlusion_layers=2,
    layers=2,
    mlp_ratio=2,
    refine_channels=12,
    refine_blocks=1,
    dilations=(1, 2, 3, 4, 5),
    initial_std=None,
)  # a third of the paper's grid, and a third of its dilations


def _example(config: OTPoseConfig, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
    w, h = config.size
    return {
        "images": torch.randn(batch, 5, 3, h, w, generator=generator),
        "xy_crop": torch.rand(batch, config.joints, 2, generator=generator)
        * torch.tensor([w - 1.0, h - 1.0]),
        "weights": (torch.rand(batch, config.joints, generator=generator) > 0.1).float(),
    }


ENTRY = Entry(
    OTPose,
    {
        "small": SMALL,
        "paper": OTPoseConfig(),
        "released": OTPoseConfig(**RELEASED),
    },
    _example,
    large=frozenset({"paper", "released"}),
)
