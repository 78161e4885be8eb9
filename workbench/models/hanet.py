"""HANet: pose sequences refined by kinematics, a hierarchical encoder and online mutual learning.

Jin, Lim, Lee, Kang, Lee: Kinematic-aware Hierarchical Attention Network for Human Pose Estimation
in Videos (WACV 2023). A pose is a vector of K x D channels (2D, 3D or SMPL parameters), a sequence
[b t c]; coordinates are in the caller's units. Where the released program disagrees with the paper,
a switch of the configuration says so; `released` sets them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..errors import BadParameter
from ..taps import Tap
from .entry import LATER, Entry
from .layers import MLP, MultiheadAttention, residual

Poses = Float[Tensor, "b t c"]  # of t frames, K x D channels each


@dataclass(frozen=True)
class HANetConfig:
    """`HANetConfig()` reads the paper as printed; the last group is what the released program
    does instead.
    """

    channels: int = 30  # K x D: 15 joints in 2D
    coordinates: int = 2  # D
    interval: int = 5  # N: every N-th frame is read  # unstated; ours
    step: int = 1  # d_t of Eq. 1 and 2, in read frames  # unstated; ours
    dim: int = 64  # C  # unstated; ours
    levels: int = 5  # N_L of the encoder, HANet Table 4
    decoder_levels: int = 5  # and of the decoder, Sec. 4.6
    heads: int = 4  # unstated; ours
    mlp_ratio: float = 1.0  # width of each MLP over its level's  # unstated; ours
    slope: float = 0.01  # of the leaky ReLU  # unstated; ours
    kernel: int = 5  # Conv1D of Eq. 8  # unstated; ours
    # HANet Table 4: otherwise C channels at every level, offsets from the last alone
    hierarchical: bool = True
    flow: bool = True  # HANet Table 5
    velocity: bool = True  # HANet Table 5
    acceleration: bool = True  # HANet Table 5
    affine: bool = True  # HANet Table 5, WB: weight and bias of velocity and acceleration
    neighbours: bool = True  # HANet Table 5, last row: the encoder sees previous and next poses
    top_weight: float = 0.5  # lambda of Eq. 9, Sec. 4.4
    final_weight: float = 1.0  # lambda_s of Eq. 11  # unstated; ours
    # of the online loss, HANet Table 4; () is without mutual learning
    norms: tuple[int, ...] = (1, 2)
    # --- paper | released
    pre_norm: bool = True  # Eq. 5 | False in the released Sub-JHMDB configuration
    first_level: int = 1  # Eq. 4: widths C 2^l from l = 1 on, offsets also from Z_0 | from l = 0 on
    position_in_values: bool = True  # Eq. 4 adds E_pos to Q, K and V | to Q and K alone
    blind: bool = False  # | True: an encoder token may attend to every token but itself
    # | True: previous and next are frames t - 1 and t + 1 of the whole sequence
    dense_neighbours: bool = False
    # Sec. 4.4: a_t is the change from the previous to the next velocity, as released | True: Eq. 2
    # as printed, the change from v_(t-d) to v_t
    backward: bool = field(default=False, metadata=LATER)
    # Eq. 7: w_v, w_a mix channels | one number a channel, and acceleration from embedded velocities
    depthwise: bool = False
    # Eq. 6: each level to K D channels | to C, averaged, then one linear map for all
    shared_offset: bool = False

    def __post_init__(self):
        if self.channels % self.coordinates or min(self.interval, self.step, self.levels) < 1:
            raise BadParameter(
                f"{self.channels} channels of {self.coordinates} coordinates, interval "
                f"{self.interval}, step {self.step}, "
                f"{self.levels} levels",
                remedy="whole joints, and 1 or more of the others",
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level's attention."""
        return tuple(
            self.dim * 2 ** (self.first_level + i if self.hierarchical else 0)
            for i in range(self.levels)
        )


RELEASED = {
    "pre_norm": False,
    "first_level": 0,
    "position_in_values": False,
    "blind": True,
    "dense_neighbours": True,
    "depthwise": True,
    "shared_offset": True,
}


# --- kinematics -----------------------------------------------------------------------------------


def neighbours(x: Poses, step: int = 1) -> tuple[Poses, Poses]:
    """Poses `step` frames earlier and later; the first and last repeat at the ends.  # unstated;
    ours, as released
    """
    t = torch.arange(x.shape[1], device=x.device)
    return x[:, (t - step).clamp_min(0)], x[:, (t + step).clamp_max(x.shape[1] - 1)]


def keypoint_flow(x: Poses, previous: Poses, following: Poses) -> Poses:
    """Mean of current, next and previous pose. HANet Eq. 1."""
    return (x + following + previous) / 3


def velocity(x: Poses, previous: Poses, step: int = 1) -> Poses:
    """(P_t - P_{t-d}) / d. HANet Eq. 2; of the next frame's pose and this one's it is the next
    velocity (Sec. 4.4).
    """
    return (x - previous) / step


def acceleration(v: Poses, previous: Poses, step: int = 1) -> Poses:
    """(v - previous) / d: HANet Eq. 2 of v_t and v_(t-d), or of the next and the previous velocity
    (Sec. 4.4, as released).
    """
    return (v - previous) / step


def sine_position(at: Int[Tensor, "n"], length: int, width: int) -> Float[Tensor, "n w"]:
    """E_pos of Eq. 4: sines and cosines, interleaved, of frame numbers scaled so that the window
    spans one turn.

    The paper does not say which code; as released.  # unstated; ours
    """
    turn = at.float() / (length - 1 + 1e-6) * 2 * math.pi
    power = torch.arange(width // 2, device=at.device) / (width // 2)
    angle = turn[:, None] * 10_000.0 ** (-2 * power)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)


def interpolate(x: Float[Tensor, "b n c"], interval: int, length: int) -> Poses:
    """Straight lines between poses `interval` frames apart: W_P of Eq. 8. Past the last one it
    stands still.
    """
    at = torch.arange(length, device=x.device) / interval
    low = at.long()
    share = (at - low).to(x.dtype)[:, None]
    return x[:, low] * (1 - share) + x[:, (low + 1).clamp_max(x.shape[1] - 1)] * share


# --- losses ---------------------------------------------------------------------------------------


def joint_errors(
    prediction: Poses,
    target: Poses,
    weight: Float[Tensor, "b t k"],
    norm: int = 1,
) -> Float[Tensor, "k"]:
    """v_j ||G_j - P_j|| averaged over the frames in which joint j is visible; norm 1, or 2
    (squared).
    """
    error = (prediction - target).abs() ** norm
    error = error.unflatten(-1, (weight.shape[-1], -1)).sum(-1) * weight
    return error.sum((0, 1)) / weight.sum((0, 1)).clamp_min(1)


def weighted_loss(errors: Float[Tensor, "k"], top_weight: float = 0.5) -> Float[Tensor, ""]:
    """Mean over the joints plus lambda times the mean over the worse half. HANet Eq. 9 (N_k:
    Sec. 4.4).
    """
    worst = errors.topk(max(len(errors) // 2, 1)).values
    return errors.mean() + top_weight * worst.mean()


def online_errors(
    final: Poses,
    refined: Poses,
    truth: Poses,
    weight: Float[Tensor, "b t k"],
    norm: int = 1,
) -> Float[Tensor, "k"]:
    """Joint by joint, the worse of the two learns from the better, which is a target and gets no
    gradient. HANet Eq. 10.

    In the released program nothing is detached, so that its choice of a target has no effect.
    """
    with torch.no_grad():
        better = joint_errors(final, truth, weight, norm) < joint_errors(
            refined, truth, weight, norm
        )
    return torch.where(
        better,
        joint_errors(refined, final.detach(), weight, norm),
        joint_errors(final, refined.detach(), weight, norm),
    )


def released_terms(
    final: Poses,
    refined: Poses,
    truth: Poses,
    read: Bool[Tensor, "b t"],
    real: Bool[Tensor, "b t"],
    norm: int = 1,
) -> Float[Tensor, "c 3"]:
    """The released program's loss by channel: final, refined (read frames), mutual (read frames),
    not detached.

    All three are divided by the count of ALL real values, as it does; Eq. 9 divides each by its
    own.
    """
    pairs = ((final, truth, real), (refined, truth, real & read), (final, refined, real & read))
    terms = [((a - b).abs() ** norm * use[..., None]).sum((0, 1)) for a, b, use in pairs]
    return torch.stack(terms, -1) / (real.sum() * final.shape[-1])


def released_loss(
    terms: Float[Tensor, "c 3"], final_weight: float, refined_weight: float
) -> tuple[Float[Tensor, "c"], Float[Tensor, ""]]:
    """By channel, and the mean of the largest: single channels, 2 (C // 4) of them. The loss is
    their sum's sum.

    Eq. 9 takes joints, half of them, with lambda; being means of terms already divided by all
    values, these weigh C times less.
    """
    by_channel = terms @ terms.new_tensor([final_weight, refined_weight, refined_weight])
    return by_channel, by_channel.topk(2 * (len(by_channel) // 4)).values.mean()


# --- modules --------------------------------------------------------------------------------------


def level_mlp(width: int, config: HANetConfig) -> nn.Sequential:
    """The MLP of a level so wide."""
    return MLP(width, round(width * config.mlp_ratio), nn.LeakyReLU(config.slope))


class EncoderLevel(nn.Module):
    """HANet Eq. 4 and 5: widen, add the position, attend from frame to frame, MLP."""

    def __init__(self, before: int, width: int, config: HANetConfig):
        super().__init__()
        self.config = config
        self.widen = (
            None if before == width and config.first_level == 0 else nn.Linear(before, width)
        )
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = MultiheadAttention(width, config.heads, "b head frame frame")
        self.mlp = level_mlp(width, config)
        self.out = Tap("b frame channel")

    def forward(self, z: Tensor, position: Tensor, blocked: Tensor | None) -> Tensor:
        z = z if self.widen is None else self.widen(z)
        inside = self.config.position_in_values
        z = z + position if inside else z

        def attend(h: Tensor) -> Tensor:
            placed = h if inside else h + position
            return self.attention(placed, placed, h, blocked)

        z = residual(z, attend, self.norm1, self.config.pre_norm)
        return self.out(residual(z, self.mlp, self.norm2, self.config.pre_norm))


class DecoderLayer(nn.Module):
    """A transformer decoder layer of Eq. 8: attention within the sequence, then to the read
    frames' motion, MLP.
    """

    def __init__(self, config: HANetConfig):
        super().__init__()
        self.pre_norm = config.pre_norm
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(config.dim) for _ in range(3))
        self.self_attention = MultiheadAttention(config.dim, config.heads, "b head frame frame")
        self.cross_attention = MultiheadAttention(
            config.dim, config.heads, "b head frame read_frame"
        )
        self.mlp = level_mlp(config.dim, config)

    def forward(
        self,
        v: Tensor,
        memory: Tensor,
        position: Tensor | None,
        memory_keys: Tensor,
        blocked: Tensor | None,
        memory_blocked: Tensor | None,
    ) -> Tensor:
        """position: added to what queries and keys are made from; None where v holds it."""

        def place(h: Tensor) -> Tensor:
            return h if position is None else h + position

        def attend(h: Tensor) -> Tensor:
            placed = place(h)
            return self.self_attention(placed, placed, h, blocked)

        def attend_to_memory(h: Tensor) -> Tensor:
            return self.cross_attention(place(h), memory_keys, memory, memory_blocked)

        v = residual(v, attend, self.norm1, self.pre_norm)
        v = residual(v, attend_to_memory, self.norm2, self.pre_norm)
        return residual(v, self.mlp, self.norm3, self.pre_norm)


class Motion(nn.Module):
    """HANet Eq. 7: previous and next velocity and squared acceleration, each with a weight and
    bias.
    """

    def __init__(self, config: HANetConfig):
        super().__init__()
        self.config = config
        c = config.channels
        kinds = ["previous", "following"] * config.velocity + ["acceleration"] * config.acceleration
        groups = c if config.depthwise else 1
        self.embed = nn.ModuleDict(
            {k: nn.Conv1d(c, c, 1, groups=groups) for k in kinds if config.affine}
        )
        self.velocity = Tap("b frame channel")
        self.acceleration = Tap("b frame channel")

    def forward(
        self, x: Tensor, previous: Tensor, following: Tensor, earlier: Tensor
    ) -> list[Tensor]:
        """earlier: the poses before the previous ones."""
        d = self.config.step
        v, v_next = self.velocity(velocity(x, previous, d)), velocity(following, x, d)
        embedded = [self._affine("previous", v), self._affine("following", v_next)]
        pair = embedded if self.config.depthwise else [v, v_next]
        if self.config.backward:
            pair = [velocity(previous, earlier, d), v]
        a = self.acceleration(acceleration(pair[1], pair[0], d))
        parts = embedded if self.config.velocity else []
        if self.config.acceleration:
            parts = [*parts, self._affine("acceleration", a.square())]
        return parts

    def _affine(self, kind: str, x: Tensor) -> Tensor:
        if kind not in self.embed:
            return x
        return self.embed[kind](x.transpose(1, 2)).transpose(1, 2)


class HANet(nn.Module):
    """The whole of HANet: kinematics, hierarchical encoder, decoder."""

    def __init__(self, config: HANetConfig = HANetConfig()):
        super().__init__()
        self.config = config
        c = config.channels
        parts = 1 + config.flow + 2 * config.neighbours
        self.embed = nn.Linear(parts * c, config.dim)  # W_0 of Eq. 3
        before = (config.dim, *config.widths[:-1])
        self.levels = nn.ModuleList(
            EncoderLevel(b, w, config) for b, w in zip(before, config.widths)
        )
        sources = config.widths if config.hierarchical else config.widths[-1:]
        sources = (config.dim, *sources) if config.hierarchical and config.first_level else sources
        self.offsets = nn.ModuleList(
            nn.Conv1d(w, config.dim if config.shared_offset else c, 1) for w in sources
        )
        self.offset_taps = nn.ModuleList(Tap("b frame channel") for _ in sources)
        self.to_pose = nn.Linear(config.dim, c) if config.shared_offset else None
        self.motion = Motion(config)
        width = config.dim if config.shared_offset else c
        # W_M
        self.motion_embed = nn.Linear(
            width + c * (2 * config.velocity + config.acceleration), config.dim
        )
        self.value_embed = nn.Conv1d(c, config.dim, config.kernel, padding=config.kernel // 2)
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_levels))
        self.decoder_norm = nn.LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, c)  # W_D
        self.volume = Tap("b frame channel")
        self.embedded = Tap("b frame channel")
        self.motion_in = Tap("b frame channel")
        self.memory = Tap("b frame channel")
        self.line, self.value, self.decoded = (Tap("b frame channel") for _ in range(3))
        self.flow, self.refined, self.final = (Tap("b frame channel") for _ in range(3))

    def forward(
        self,
        xy: Poses,
        valid: Bool[Tensor, "b t"] | None = None,
        truth: Poses | None = None,
        weight: Float[Tensor, "b t k"] | None = None,
        dense: bool = False,
    ) -> dict[str, Tensor]:
        """Refines a window of poses, of which every N-th frame is read.

        valid: False marks padding behind a sequence shorter than the window; what it holds does not
        matter. weight: visibility of each joint in each frame, 0 where there is no label (sparse
        labels); 1 everywhere by default. dense: carry the frames that are not read through the
        encoder too, as the released program does: the same final poses at several times the cost,
        and "refined" for every frame instead of the read ones. Returns "xy" [b t c], "refined" [b n
        c] and, when the truth is given, the terms of Eq. 11: "loss.refined", "loss.final",
        "loss.online".
        """
        config = self.config
        t = xy.shape[1]
        frames = torch.arange(t, device=xy.device)
        read = frames[:: config.interval]
        if config.blind and len(read) < 2:
            raise BadParameter(
                f"a window of {t} frames has one read frame",
                remedy="longer windows: a token cannot see itself",
            )
        if valid is not None:  # padding stands still at the last real pose, whatever it holds
            last = torch.where(valid, frames, 0).amax(1, keepdim=True)
            xy = xy.gather(1, torch.minimum(frames[None], last)[..., None].expand_as(xy))
        at = frames if dense else read
        # masks only where there is something to mask: filling them is a seventh of a forward pass
        padding = None if valid is None else ~valid[:, None, None]
        masks = [] if valid is None else [padding[..., at]]
        masks += [(at % config.interval != 0)[None, None, None]] * dense
        masks += [torch.eye(len(at), dtype=torch.bool, device=xy.device)[None, None]] * config.blind
        blocked = reduce(torch.logical_or, masks) if masks else None
        if config.blind and valid is not None:
            # the only read frame of a short sequence sees itself  # unstated; ours
            blocked = blocked & ~(blocked.all(-1, keepdim=True) & masks[-1])
        x, previous, following, earlier = self._read(xy, read, at)
        offset = self._encode(x, previous, following, at, t, blocked)
        refined = self.refined(x + (self.to_pose(offset) if self.to_pose else offset))  # Eq. 6

        rows = slice(None, None, config.interval if dense else 1)
        parts = self.motion(x, previous, following, earlier)
        motion = self.motion_in(torch.cat((offset, *parts), -1))
        memory = self.memory(self.motion_embed(motion))
        final = self._decode(refined[:, rows], memory[:, rows], read, t, padding)
        result = {"xy": final, "refined": refined}
        if truth is not None:
            result |= self._losses(final, refined[:, rows], truth, weight, valid, read)
        return result

    def _read(self, xy: Tensor, read: Tensor, at: Tensor) -> tuple[Tensor, ...]:
        """Pose, previous, next and the one before the previous at the frames `at`; zeros in frames
        that are not read.
        """
        dense = self.config.dense_neighbours
        poses, step = (xy, 1) if dense else (xy[:, read], self.config.step)
        previous, following = neighbours(poses, step)
        earlier = neighbours(previous, step)[0] if self.config.backward else previous
        parts = [poses, previous, following, earlier]
        parts = [part[:, read] for part in parts] if dense else parts
        if len(at) == len(read):
            return tuple(parts)
        return tuple(torch.zeros_like(xy).index_copy(1, read, part) for part in parts)

    def _encode(self, x, previous, following, at, length: int, blocked: Tensor | None) -> Tensor:
        """Mean offset, C or K D channels. HANet Eq. 3 to 6."""
        config = self.config
        flow = self.flow(keypoint_flow(x, previous, following))
        parts = [flow] * config.flow + [x] + [previous, following] * config.neighbours
        z = self.embedded(self.embed(self.volume(torch.cat(parts, -1))))
        features = [z]
        for level in self.levels:
            z = level(
                z, sine_position(at, length, level.norm1.normalized_shape[0]).to(z.dtype), blocked
            )
            features.append(z)
        offsets = [
            # as a convolution of width 1, without its two transposes
            tap(F.linear(f, conv.weight[..., 0], conv.bias))
            for conv, f, tap in zip(self.offsets, features[-len(self.offsets) :], self.offset_taps)
        ]
        return sum(offsets) / (config.levels if config.hierarchical else 1)

    def _decode(
        self, refined: Tensor, memory: Tensor, read: Tensor, t: int, blocked: Tensor | None
    ) -> Tensor:
        """Final poses of every frame from the refined read ones, interpolated in time, and their
        motion. HANet Eq. 8.

        Eq. 8 prints no sum with the interpolated poses; the released program adds them, and so do
        we.
        """
        config = self.config
        line = self.line(interpolate(refined, config.interval, t))
        v = self.value(self.value_embed(line.transpose(1, 2)).transpose(1, 2))
        position = sine_position(torch.arange(t, device=v.device), t, config.dim).to(v.dtype)
        keys = memory + position[read]
        keys_blocked = None if blocked is None else blocked[..., read]
        if config.position_in_values:
            v = v + position
            position = None
        for layer in self.decoder:
            v = layer(v, memory, position, keys, blocked, keys_blocked)
        return self.final(self.head(self.decoded(self.decoder_norm(v))) + line)

    def _losses(self, final, refined, truth, weight, valid, read) -> dict[str, Tensor]:
        """The three terms of Eq. 11: truth in L1 (Eq. 9), the mutual one in every norm of the
        configuration (Table 4).
        """
        config = self.config
        if weight is None:
            joints = config.channels // config.coordinates
            weight = torch.ones(*truth.shape[:2], joints, dtype=truth.dtype, device=truth.device)
        weight = weight if valid is None else weight * valid[..., None]
        then = truth[:, read], weight[:, read]

        def total(errors) -> Tensor:
            return weighted_loss(errors, config.top_weight)

        losses = {
            "loss.refined": total(joint_errors(refined, *then)),
            "loss.final": config.final_weight * total(joint_errors(final, truth, weight)),
        }
        if config.norms:
            online = (
                total(online_errors(final[:, read], refined, *then, norm)) for norm in config.norms
            )
            losses["loss.online"] = sum(online)
        return losses


# --- in the register ------------------------------------------------------------------------------


def _example(config: HANetConfig, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
    t = 2 * config.interval + 1
    truth = torch.randn(batch, t, config.channels, generator=generator)
    xy = truth + 0.3 * torch.randn(batch, t, config.channels, generator=generator)
    weight = (
        torch.rand(batch, t, config.channels // config.coordinates, generator=generator) > 0.1
    ).float()
    return {"xy": xy, "truth": truth, "weight": weight}


ENTRY = Entry(
    HANet,
    {
        "paper": HANetConfig(),
        # the Sub-JHMDB weights have dim 256: 287 M parameters
        "released": HANetConfig(mlp_ratio=4.0, **RELEASED),
    },
    _example,
)
