"""Whether bf16 can be had here, and be trusted."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

KERNELS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
# of the norm; what bf16 rounds, 8 bits at a time, comes to half a hundredth
FAR = 0.05


def computes_bf16(device: str) -> bool:
    """Whether the device has bf16 itself: a processor without imitates it, at a hundredth of
    fp32's rate.
    """
    if device != "cpu":
        return True
    return any(there and "bf16" in name for name, there in torch.cpu.get_capabilities().items())


def wrong_kernels(model: nn.Module, batch: Mapping[str, Tensor]) -> list[str]:
    """Names of the model's linear maps and convolutions which, for what they are given of this
    batch, answer or learn otherwise in bf16 than in fp32: torch 2.15 has one on processors with
    AMX (`models.layers.Patches`). On the CPU; the model stays as it is.
    """
    model = copy.deepcopy(model).train().requires_grad_(True)  # frozen parts, too
    given: dict[str, Tensor] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, KERNELS):

            def keep(_module: nn.Module, inputs: tuple, name: str = name) -> None:
                given.setdefault(name, inputs[0].detach())

            hooks.append(module.register_forward_pre_hook(keep))
    with torch.random.fork_rng(devices=[]):
        model(**batch)
    for hook in hooks:
        hook.remove()
    modules = dict(model.named_modules())
    return [name for name, x in given.items() if _differs(modules[name], x)]


def _differs(module: nn.Module, x: Tensor) -> bool:
    exact, rounded = (_answers(module, x, mixed) for mixed in (False, True))
    return any(
        (a - b.to(a.dtype)).norm() > FAR * a.norm() for a, b in zip(exact, rounded, strict=True)
    )


def _answers(module: nn.Module, x: Tensor, mixed: bool) -> list[Tensor]:
    """The output, and the gradients of the input and of the weights for one of its own."""
    x = x.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        out = module(x)
    towards = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
    return [out, *torch.autograd.grad(out, (x, module.weight), towards.to(out.dtype))]
