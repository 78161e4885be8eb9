"""Named identity modules at the places one wants to look at, and `record()`, which catches what
passes through them.

    self.attention_map = Tap("b head joint joint")
    with record(model, ["encoder.0.attention_map"]) as taps:
        model(xy, mask)
    taps["encoder.0.attention_map"]          # detached tensor

Without `record()` a tap is nothing: the compiled graph has the same operations with and without it.
"""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from .errors import TapError, unknown
from .resources import write_beside


class Tap(nn.Module):
    """Identity. `axes` names the axes of what passes, e.g. "b head joint joint": views draw
    bones only between joints.
    """

    def __init__(self, axes: str):
        super().__init__()
        self.axes = tuple(axes.split())

    def forward(self, x: Tensor) -> Tensor:
        return x

    def in_parts(self, parts: Iterable[Tensor], dim: int) -> Iterable[Tensor]:
        """The tap of `parts` stacked along `dim`, for who needs one part at a time: they are only
        assembled where somebody looks, and else made one after the other, as they are asked for.
        """
        if not self._forward_hooks:
            return parts
        return self(torch.stack(list(parts), dim)).unbind(dim)

    def extra_repr(self) -> str:
        return " ".join(self.axes)


def unwrap(model: nn.Module) -> nn.Module:
    """The module behind `torch.compile` and data-parallel wrappers."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ in ("DistributedDataParallel", "DataParallel"):
            inner = model.module
        if inner is None:
            return model
        model = inner


def tap_table(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Name -> axes of every tap of a model, in the order of definition."""
    return {name: m.axes for name, m in modules_by_name(model).items() if isinstance(m, Tap)}


class Recording(Mapping):
    """What `record()` or `capture_attention()` caught. `rec[name]` is the last call's output,
    `rec.calls(name)` all of them, in order.
    """

    def __init__(self, axes: dict[str, tuple[str, ...]]):
        self.axes = axes
        self._calls: dict[str, list] = {name: [] for name in axes}

    def add(self, name: str, value: object, axes: tuple[str, ...] = ()) -> None:
        """One more call's output. `axes` counts for a name that is new."""
        self.axes.setdefault(name, axes)
        self._calls.setdefault(name, []).append(value)

    def calls(self, name: str) -> list:
        if name not in self._calls:
            raise unknown("recorded tap", name, self._calls)
        return self._calls[name]

    def __getitem__(self, name: str):
        calls = self.calls(name)
        if not calls:
            raise TapError(
                f"tap {name!r} has not fired yet",
                remedy="run the model inside the `with record(...)` block",
            )
        return calls[-1]

    def __contains__(self, name: object) -> bool:
        return name in self._calls

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def save(self, path: str | Path) -> Path:
        """Writes each tap's last tensor, and its axes under "<name>:axes", to an npz (no pickle
        in it).
        """
        arrays = {}
        for name in self:
            value = self[name]
            if not isinstance(value, Tensor):
                raise TapError(f"{name!r} gave {type(value).__name__}, only tensors are saved")
            value = value.float() if value.dtype == torch.bfloat16 else value
            arrays[name] = value.cpu().numpy()
            arrays[f"{name}:axes"] = np.array(" ".join(self.axes[name]))
        return save_arrays(path, arrays)


def save_arrays(path: str | Path, arrays: Mapping[str, object]) -> Path:
    """Writes an npz, its folder and ending if they lack, by `resources.write_beside`."""
    path = Path(path)
    path = path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")

    def write(beside: Path) -> None:
        with open(beside, "wb") as file:  # given a path, numpy would add an ending
            np.savez_compressed(file, **arrays)

    return write_beside(path, write)


def _edited(name: str, edit: Callable[[Tensor], Tensor], output: object) -> Tensor:
    if not isinstance(output, Tensor):
        raise TapError(f"{name!r} gives {type(output).__name__}, only tensors can be edited")
    changed = edit(output.clone())
    came = _describe(changed) if isinstance(changed, Tensor) else type(changed).__name__
    if came != _describe(output):
        raise TapError(f"the edit of {name!r} gave {came}, expected {_describe(output)}")
    return changed


def _describe(t: Tensor) -> str:
    return f"{tuple(t.shape)} {t.dtype} on {t.device}"


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by name, shared ones under each of their names, without the names that
    compiling inserts.
    """
    found = {}
    for name, module in unwrap(model).named_modules(remove_duplicate=False):
        found.setdefault(".".join(part for part in name.split(".") if part != "_orig_mod"), module)
    return {name: unwrap(module) for name, module in found.items()}


def _resolve(modules: dict[str, nn.Module], names: Iterable[str] | None) -> list[str]:
    taps = [n for n, m in modules.items() if isinstance(m, Tap)]
    if names is None:
        return taps
    if isinstance(names, str):
        names = [names]
    chosen = []
    for name in names:
        found = [name] if name in modules else fnmatch.filter(taps, name)
        if not found:  # patterns choose among taps; other submodules are named one by one
            raise unknown("tap or submodule", name, taps or modules)
        chosen += [f for f in found if f not in chosen]
    return chosen


def eagerly() -> AbstractContextManager:
    """Compiled models run eagerly inside. Where torch's compiler was never loaded nothing is
    compiled, and it stays out: it takes seconds to load.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


@contextmanager
def record(
    model: nn.Module,
    names: Iterable[str] | None = None,
    *,
    edit: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> Iterator[Recording]:
    """Catches the outputs of taps, or of any submodule by name, while the model runs inside the
    block.

    names: tap names, submodule names, or patterns over tap names ("encoder.*.attention_map"); None
    means every tap. edit: name -> function of the tensor, applied before it goes on; it must keep
    the shape. What is recorded is edited. Models compiled before are unwrapped and run eagerly
    inside the block, because hooks added after `torch.compile` record nothing. Tensors are
    detached. Hooks are removed whatever happens. Raises `UnknownName` (with near matches) for a
    name that does not exist, `TapError` if a named one never fired.
    """
    edit = dict(edit or {})
    modules = modules_by_name(model)
    recorded = _resolve(modules, names)
    edited = {}
    for pattern, change in edit.items():
        for name in _resolve(modules, [pattern]):
            if name in edited:
                raise TapError(f"two edits change {name!r}", remedy="make the patterns disjoint")
            edited[name] = change
    caught = Recording({name: getattr(modules[name], "axes", ()) for name in [*recorded, *edited]})
    handles = []

    def hook(name):
        def catch(_module, _inputs, output):
            if name in edited:
                output = _edited(name, edited[name], output)
            # a copy, because an operation in place (ReLU) may follow
            caught.add(name, tree_map_only(Tensor, lambda t: t.detach().clone(), output))
            return output if name in edited else None

        return catch

    try:
        for name in caught:
            handles.append(modules[name].register_forward_hook(hook(name)))
        with eagerly():
            yield caught
        silent = [name for name in caught if not caught.calls(name)]
        if silent:
            raise TapError(
                f"never fired: {', '.join(silent)}",
                remedy="run the model inside the block, with a configuration that uses this part",
            )
    finally:
        for handle in handles:
            handle.remove()


# --- edits ----------------------------------------------------------------------------------------


def uniform(heads: int | Sequence[int] | None = None) -> Callable[[Tensor], Tensor]:
    """An edit of attention [b h q k]: some heads, or every one, look at all tokens alike."""

    def edit(weights: Tensor) -> Tensor:
        weights = weights.clone()
        weights[:, slice(None) if heads is None else heads] = 1 / weights.shape[-1]
        return weights

    return edit


def without_heads(
    knocked_out: Iterable[Sequence], taps: Mapping[str, Sequence[str]]
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Edits of taps that take heads out, so that they look at all tokens alike.

    knocked_out: (maps, layer, head), as the attention view says them. taps: maps -> the taps of
    their layers.
    """
    heads = {}
    for name, layer, head in knocked_out:
        heads.setdefault(taps[name][layer], []).append(head)
    return {tap: uniform(numbers) for tap, numbers in heads.items()}
