"""Building blocks that more than one method uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple
from weakref import finalize

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..taps import Tap


def attention_weights(
    q: Float[Tensor, "b h q d"],
    k: Float[Tensor, "b h k d"],
    scale: float,
    blocked: Bool[Tensor, "#b #h #q k"] | None = None,
) -> Float[Tensor, "b h q k"]:
    """Softmax(scale * q k^T) over the keys; `blocked` keys get weight 0. PORT Eq. 7 without V,
    with scale = D**-0.5.
    """
    logits = (q @ k.transpose(-2, -1)) * scale
    if blocked is not None:
        logits = logits.masked_fill(blocked, float("-inf"))
    return logits.softmax(-1)


class Attention(nn.Module):
    """Attention whose softmax is open: the weights pass a tap, recorded or not, so that looking
    changes no kernel.
    """

    def __init__(self, scale: float, axes: str = "b head query key"):
        super().__init__()
        self.scale = scale
        self.map = Tap(axes)

    def forward(
        self,
        q: Float[Tensor, "b h q d"],
        k: Float[Tensor, "b h k d"],
        v: Float[Tensor, "b h k e"],
        blocked: Bool[Tensor, "#b #h #q k"] | None = None,
    ) -> Float[Tensor, "b h q e"]:
        return self.map(attention_weights(q, k, self.scale, blocked)) @ v


class Patches(nn.Conv2d):
    """Square patches of a map, each to a token: a convolution whose stride is its size, as the
    matrix product that it is.

    torch 2.15's own convolution gives wrong numbers here on CPUs with AMX, in bf16 with 16 channels
    (tests hold this one to fp32's).
    """

    def __init__(self, channels: int, out: int, size: int):
        super().__init__(channels, out, size, size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o y x"]:
        # [b c y p x q]
        cut = x.unflatten(-1, (-1, self.stride[1])).unflatten(-3, (-1, self.stride[0]))
        tokens = F.linear(
            cut.permute(0, 2, 4, 1, 3, 5).flatten(3), self.weight.flatten(1), self.bias
        )
        return tokens.movedim(-1, 1)


def split_heads(x: Float[Tensor, "b n hd"], heads: int) -> Float[Tensor, "b h n d"]:
    """[b n (h d)] -> [b h n d]: heads are contiguous blocks of channels."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Float[Tensor, "b h n d"]) -> Float[Tensor, "b n hd"]:
    """Inverse of `split_heads`."""
    return x.transpose(1, 2).flatten(-2)


class MultiheadAttention(nn.Module):
    """Attention with one projection for q, k, v (stacked as in torch's own module) and one out;
    its weights are tapped.
    """

    def __init__(self, width: int, heads: int, axes: str = "b head query key"):
        super().__init__()
        self.heads = heads
        self.in_proj = nn.Linear(width, 3 * width)
        self.attention = Attention((width // heads) ** -0.5, axes)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self,
        q: Float[Tensor, "b q d"],
        k: Float[Tensor, "b k d"],
        v: Float[Tensor, "b k d"],
        blocked: Bool[Tensor, "#b #h #q k"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        weights, biases = self.in_proj.weight.chunk(3), self.in_proj.bias.chunk(3)
        parts = (
            split_heads(F.linear(x, w, b), self.heads)
            for x, w, b in zip((q, k, v), weights, biases)
        )
        return self.out_proj(merge_heads(self.attention(*parts, blocked)))


class MLP(nn.Sequential):
    """Two linear maps around an activation; as wide at the end as in the beginning, or `out`.

    Without gradients on a CPU, `rows` at a time: what lies between the two maps is then small
    enough to stay in the cache, and its memory is used again. The numbers are the same.
    """

    rows = 1024  # tokens; the 6,912 of an OTPose encoder take 0.78 to 1.0 of the time  # ours

    def __init__(self, width: int, hidden: int, activation: nn.Module, out: int | None = None):
        super().__init__(nn.Linear(width, hidden), activation, nn.Linear(hidden, out or width))

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b e"]:
        few = x[..., 0].numel() <= self.rows
        # hooks on the layers inside want all tokens at once
        watched = any(part._forward_hooks or part._forward_pre_hooks for part in self)
        if few or watched or x.is_cuda or torch.is_grad_enabled():
            return super().forward(x)
        parts = x.flatten(0, -2).split(self.rows)
        return torch.cat([super(MLP, self).forward(part) for part in parts]).view(*x.shape[:-1], -1)


def residual(z: Tensor, part: Callable[[Tensor], Tensor], norm: nn.Module, pre: bool) -> Tensor:
    """z + part(norm(z)), or norm(z + part(z)) where the norm does not come before (`pre`)."""
    return z + part(norm(z)) if pre else norm(z + part(z))


def count_parameters(model: nn.Module) -> int:
    """Number of learnable values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class Cost(NamedTuple):
    """Of one call: floating-point operations, multiply and add counted apart; and bytes that its
    operations read and write, caches not thought of.
    """

    flops: int
    bytes: int


class _Counted(TorchDispatchMode):
    """Adds up what torch's formulas say of every operation inside, and the tensors that it is given
    and gives; what has no formula is taken apart.

    torch's own FlopCounterMode counts by module, too, and loads the compiler for it: seconds.
    """

    def __init__(self, formulas: Mapping[object, Callable]):
        super().__init__()
        self.formulas = formulas
        self.flops = 0
        self.bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # True would load the compiler
        return False

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        formula = self.formulas.get(operation.overloadpacket)
        if formula is None:
            with self:
                out = operation.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = operation(*args, **kwargs)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        if not operation.is_view:
            tensors = (x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor))
            self.bytes += sum(x.nbytes for x in tensors)
        return out


class _Held(TorchDispatchMode):
    """Counts the bytes of storages that operations inside have made and that are still there."""

    def __init__(self):
        super().__init__()
        self.now = 0
        self.most = 0
        self._tensors: Counter[int] = Counter()  # of each storage

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # True would load the compiler
        return False

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if _stored(x)}
        for tensor in tree_leaves(out):
            if _stored(tensor):
                self._hold(tensor, given)
        return out

    def _hold(self, tensor: Tensor, given: set[int]) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in given and key not in self._tensors:
            return  # a weight or an input, or a view of one
        if not self._tensors[key]:
            self.now += size
            self.most = max(self.most, self.now)
        self._tensors[key] += 1
        finalize(tensor, self._leave, key, size)

    def _leave(self, key: int, size: int) -> None:
        self._tensors[key] -= 1
        if not self._tensors[key]:
            del self._tensors[key]
            self.now -= size


def _stored(x: object) -> bool:
    return isinstance(x, Tensor) and x.layout is torch.strided


def peak_bytes(step: Callable[[], object]) -> int:
    """The most bytes that tensors made inside one call hold at once; what was there before, such
    as weights, and what an operation needs within itself is not counted.
    """
    with _Held() as held:
        step()
    return held.most


def forward_cost(model: Callable, *inputs, **kwargs) -> Cost:
    """Of one call of a model, or of what calls one; operations are counted by torch's formulas."""
    from torch.utils.flop_counter import flop_registry

    with _Counted(flop_registry) as counted, torch.no_grad():
        model(*inputs, **kwargs)
    return Cost(counted.flops, counted.bytes)
