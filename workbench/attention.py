"""The attention weights of anybody's torch model, named by module path.

    with capture_attention(model) as maps:
        model(x)
    maps["encoder.layers.0.self_attn"]       # detached tensor [batch head query key]

Seen are `nn.MultiheadAttention` (and what is built of it), whatever calls
`F.scaled_dot_product_attention`, and timm's attentions that call it only if their `fused_attn` is
set. The weights are computed beside the call, before dropout; the call itself is left alone. An
attention that is written out by hand stays unseen: put a `taps.Tap` after its softmax.
"""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from .errors import BadParameter, TapError, unknown
from .taps import Recording, eagerly, modules_by_name

AXES = ("batch", "head", "query", "key")
SEEN = (
    "nn.MultiheadAttention, F.scaled_dot_product_attention and timm's attention are seen; for "
    "transformers choose attn_implementation='sdpa', after a softmax of your own put a Tap and "
    "record() it; flash_attn and flex_attention keep their weights to themselves"
)
# torch runs these by a kernel of their own in eval mode
FAST = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
SOFTMAX = {Tensor.softmax, torch.softmax, F.softmax}
MHA_SIGNATURE = inspect.signature(F.multi_head_attention_forward)


def sdpa_weights(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The weights [... query key] that `F.scaled_dot_product_attention` gives its values, before
    dropout, in float32 at least. A row that is masked throughout is NaN. Arguments as there.
    """
    if query.is_nested or type(attn_mask) not in (type(None), Tensor, nn.Parameter):
        kind = "a nested query" if query.is_nested else f"a mask of type {type(attn_mask).__name__}"
        raise TapError(f"attention with {kind}", remedy="give padded tensors and a mask of numbers")
    precision = torch.promote_types(query.dtype, torch.float32)
    if enable_gqa:  # neighbouring query heads share one key head
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    with torch.autocast(query.device.type, enabled=False):
        scores = (query.to(precision) * scale) @ key.to(precision).mT
        if is_causal:  # counted from the top left corner, whatever the number of keys
            attn_mask = torch.ones_like(scores, dtype=torch.bool).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        return scores.softmax(-1)


def mha_weights(*args, **kwargs) -> Tensor:
    """The weights [batch head query key] inside a call of `F.multi_head_attention_forward`, before
    dropout. Arguments as there; its own code computes them.
    """
    call = MHA_SIGNATURE.bind(*args, **kwargs)
    call.apply_defaults()
    options = call.arguments
    # torch then drops the mask and lets query i see the first i + 1 keys, added ones included
    causal = options["is_causal"] and not options["need_weights"]
    causal = causal and options["key_padding_mask"] is None
    if causal:
        query, key = options["query"], options["key"]
        size = (query.shape[0], key.shape[0])
        options["attn_mask"] = torch.ones(size, dtype=torch.bool, device=query.device).triu(1)
    options.update(training=False, need_weights=True, average_attn_weights=False)
    weights = F.multi_head_attention_forward(*call.args, **call.kwargs)[1]
    if causal:
        weights = weights.tril()
        weights = weights / weights.sum(-1, keepdim=True)
    return weights if weights.ndim == 4 else weights[None]


def _four_axes(weights: Tensor) -> Tensor:
    """Leading axes beyond [batch head] become batch; what has no head axis gets one of size 1."""
    if weights.ndim < 4:
        return weights.reshape(-1, 1, *weights.shape[-2:])
    return weights.flatten(0, -4)


class _Watch(TorchFunctionMode):
    """Knows which modules are running, and records the weights of the attention calls in them.

    modules: by name. wanted: the names to record.
    """

    def __init__(self, modules: dict[str, nn.Module], wanted: set[str]):
        super().__init__()
        self.maps = Recording({})
        self.modules = {id(module): module for module in modules.values()}
        self.names: dict[int, list[str]] = {}
        for name, module in modules.items():
            self.names.setdefault(id(module), []).append(name)
        self.wanted = wanted
        self.seen: set[str] = set()
        self.running: list[nn.Module] = []
        self.handles: list[RemovableHandle] = []

    def hook(self, fast: bool) -> None:
        """`fast`: whether torch's own layers answer as they would without anybody looking."""
        for module in self.modules.values():
            self.handles.append(module.register_forward_pre_hook(self.enter, prepend=True))
            if fast and isinstance(module, FAST):
                answer = self.answer_as_ever
                hook = module.register_forward_hook(answer, with_kwargs=True, prepend=True)
                self.handles.append(hook)
            self.handles.append(module.register_forward_hook(self.leave, always_call=True))

    def unhook(self) -> None:
        while self.handles:
            self.handles.pop().remove()

    def enter(self, module: nn.Module, _args) -> None:
        self.running.append(module)

    def leave(self, module: nn.Module, _args, _output) -> None:
        if self.running and self.running[-1] is module:
            self.running.pop()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            self.look(lambda: _four_axes(sdpa_weights(*args, **kwargs)), output)
        elif func is F.multi_head_attention_forward:
            self.look(lambda: mha_weights(*args, **kwargs), output[0])
        elif func in SOFTMAX and getattr(self.innermost(), "fused_attn", True) is False:
            self.look(lambda: _four_axes(output.clone()), output)
        return output

    def innermost(self) -> nn.Module | None:
        """The module whose code calls; an `nn.Softmax` calls for the one around it."""
        around = [m for m in self.running[-2:] if not isinstance(m, nn.Softmax)]
        return around[-1] if around else None

    def look(self, weights: Callable[[], Tensor], output: Tensor) -> None:
        names = self.names.get(id(self.innermost()), [])
        self.seen.update(names)
        if self.wanted.isdisjoint(names):
            return
        with torch.no_grad():
            caught = weights()
            caught = caught.to(torch.promote_types(caught.dtype, torch.float32))
            if not output.isnan().any():  # torch answers rows that are masked throughout by zeros
                caught.nan_to_num_(0.0)
        for name in sorted(self.wanted.intersection(names)):
            self.maps.add(name, caught, AXES)

    def answer_as_ever(self, module: nn.Module, args, kwargs, _output):
        """The output of torch's own layers in eval mode, without anybody looking: their kernel
        gives other numbers at padded positions.
        """
        if sum(isinstance(m, FAST) for m in self.running) != 1:
            return None  # the outermost answers for those inside
        self.unhook()
        try:
            inside = list(module.modules())[1:]
            if module.training or any(m.training for m in inside):
                return None
            if any(m._forward_hooks or m._forward_pre_hooks for m in inside):
                return None  # they fire once, and keep torch from its kernel, too
            with torch._C.DisableTorchFunction(), _fast_path(True):
                return module.forward(*args, **kwargs)
        finally:
            self.hook(fast=True)


@contextmanager
def _fast_path(on: bool) -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(on)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _matching(modules: dict[str, nn.Module], patterns: list[str]) -> set[str]:
    names = set()
    for pattern in patterns:
        matches = [pattern] if pattern in modules else fnmatch.filter(modules, pattern)
        if not matches:
            raise unknown("module", pattern, modules)
        names.update(matches)
    return names


def _check_seen(watch: _Watch, patterns: list[str]) -> None:
    """`TapError` where nothing was seen, or nothing under one of the patterns."""
    if not watch.seen:
        raise TapError("no attention was seen", remedy=f"run the model inside the block; {SEEN}")
    for pattern in patterns:
        if pattern not in watch.seen and not fnmatch.filter(watch.seen, pattern):
            near = unknown("attention", pattern, watch.seen).remedy
            raise TapError(f"no attention was seen in {pattern!r}", remedy=near)


@contextmanager
def capture_attention(model: nn.Module, names: Iterable[str] | None = None) -> Iterator[Recording]:
    """Catches the weights of every attention of a model while it runs inside the block, as
    tensors [batch head query key], in float32 at least, under the path of the innermost module
    that makes the call ("" is the model itself).

    names: paths, or patterns over them ("encoder.*"); None means all. `maps[name]` is the last
    call's, `maps.calls(name)` holds all, in order; a module that has several paths answers to each.
    Outputs, random numbers and gradients stay as they are: the weights are computed beside the
    call, and torch's own layers, whose fast path hides them, run a second time with it. Compiled
    models run eagerly. Raises `BadParameter` for TorchScript, `UnknownName` for a path that does
    not exist, `TapError` (with near matches) where no attention was seen.
    """
    modules = modules_by_name(model)
    scripted = [n for n, m in modules.items() if isinstance(m, torch.jit.ScriptModule)]
    if scripted:
        raise BadParameter(
            f"TorchScript hides what it calls: {scripted[0] or 'the model'} is scripted or traced",
            remedy="give the eager model that torch.jit.script or torch.jit.trace was given",
        )
    patterns = ["*"] if names is None else [names] if isinstance(names, str) else list(names)
    watch = _Watch(modules, _matching(modules, patterns))
    try:
        watch.hook(fast=torch.backends.mha.get_fastpath_enabled())
        with eagerly(), _fast_path(False), watch:
            yield watch.maps
        _check_seen(watch, patterns)
    finally:
        watch.unhook()
