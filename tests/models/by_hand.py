"""What the papers' equations are made of once more, in plain arithmetic on the tensors of a
`state_dict`: a test of an equation asks nothing of the code that it judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = Mapping[str, Tensor]


def perturbed(module: nn.Module, seed: int = 0, scale: float = 0.3) -> nn.Module:
    """The module in eval mode, every parameter and running statistic moved away from where it
    begins: there a norm does nothing, a bias is 0 and so may be a scale.
    """
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(scale * torch.randn(p.shape, generator=g))
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(torch.rand(buffer.shape, generator=g))
    return module.eval()


def part(state: State, name: str) -> dict[str, Tensor]:
    """The tensors of one module inside, by their names there."""
    return {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}


def close(found: Tensor, expected: Tensor) -> None:
    """Equal to 1e-5, of numbers above 1 relative to them."""
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def linear(state: State, x: Tensor) -> Tensor:
    """x W^T + b; without b where there is none."""
    out = torch.einsum("...i,oi->...o", x, state["weight"])
    return out + state["bias"] if "bias" in state else out


def layer_norm(state: State, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred**2).mean(-1, keepdim=True).add(1e-5).sqrt()
    return centred / deviation * state["weight"] + state["bias"]


def batch_norm(state: State, x: Tensor) -> Tensor:
    """By the running statistics."""
    mean, var, weight, bias = (
        state[name][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def convolution(state: State, x: Tensor, groups: int = 1) -> Tensor:
    """3 x 3, of the same size."""
    return F.conv2d(x, state["weight"], state.get("bias"), padding=1, groups=groups)


def relu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0)


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def mlp(state: State, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """Two linear maps around an activation."""
    return linear(part(state, "2"), activation(linear(part(state, "0"), x)))


def softmax(x: Tensor) -> Tensor:
    """Over the last axis."""
    x = (x - x.amax(-1, keepdim=True)).exp()
    return x / x.sum(-1, keepdim=True)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax(q k^T / sqrt(D)) v of one head."""
    logits = torch.einsum("bqd,bkd->bqk", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("bqk,bkd->bqd", softmax(logits), v)


def heads_side_by_side(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attention of each head's own channels, which lie side by side."""
    each = zip(*(x.chunk(heads, -1) for x in (q, k, v)))
    return torch.cat([attention(*head) for head in each], -1)


def multihead(state: State, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Projections in, heads, projection out: the tensors of `layers.MultiheadAttention`."""
    weights, biases = state["in_proj.weight"].chunk(3), state["in_proj.bias"].chunk(3)
    q, k, v = (linear({"weight": w, "bias": b}, x) for x, w, b in zip((q, k, v), weights, biases))
    return linear(part(state, "out_proj"), heads_side_by_side(q, k, v, heads))
