"""Named identity modules at the places one wants to look at, and `record()`, which catches what
passes through them.

    self.attention_map = Tap("b head joint joint")
    with record(model, ["encoder.0.attention_map"]) as taps:
        model(xy, mask)
    taps["encoder.0.attention_map"]          # detached tensor

Without `record()` a tap is nothing: the compiled graph has the same operations with and without it.
"""

from __future__ import annotations

import copy
import fnmatch
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .errors import TapError, unknown
from .outputs import write_beside


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

    def save(self, path: str | Path, *, over: bool = False) -> Path:
        """Writes each tap's last output, and its axes under "<name>:axes", to an npz (no pickle in
        it); over one that is there where `over` says so.

        A tensor is saved under the tap's name; what holds several of them by place or key:
        "<name>.0", "<name>.1", "<name>.logits". A sparse tensor is saved as its indices, values and
        shape, a nested one as its parts; bfloat16 as float32. None is passed over. `TapError` for
        what is neither a tensor, a number, text nor made of them, and where two have one name.
        """
        arrays = {}
        for name in self:
            try:
                named = [*_arrays(name, self[name])]
            except RecursionError:
                raise TapError(f"{name!r} gave what holds itself, or too deep a tree") from None
            for key, value in (*named, (f"{name}:axes", " ".join(self.axes[name]))):
                if key in arrays:
                    raise TapError(f"two outputs would be saved as {key!r}")
                arrays[key] = np.array(value)
        return save_arrays(path, arrays, over=over)


def _arrays(name: str, value: object) -> Iterator[tuple[str, object]]:
    """What is saved of an output, each array or plain value with its name."""
    if isinstance(value, Tensor):
        yield from _arrays_of_tensor(name, value)
        return
    if isinstance(value, np.ndarray | np.generic | int | float | complex | str | bytes):
        yield name, value
        return
    if value is None:
        parts = {}
    elif isinstance(value, Mapping):
        parts = value
    elif isinstance(value, Sequence):
        parts = dict(enumerate(value))
    elif is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
    elif isinstance(getattr(value, "__dict__", None), dict) and not callable(value):
        parts = vars(value)
    else:
        raise TapError(
            f"{name!r} gave {type(value).__name__}, which an npz cannot hold",
            remedy="take the tensors out of it (taps[name]), and save them",
        )
    for key, part in parts.items():
        yield from _arrays(f"{name}.{key}", part)


def _arrays_of_tensor(name: str, tensor: Tensor) -> Iterator[tuple[str, object]]:
    """A dense tensor is one array; sparse and nested ones are several."""
    if tensor.is_nested:
        yield from _arrays(name, tensor.unbind())
    elif tensor.layout is not torch.strided:
        entries = tensor.to_sparse_coo().coalesce()
        parts = {"indices": entries.indices(), "values": entries.values()}
        yield from _arrays(name, parts | {"shape": np.array(tensor.shape)})
    else:
        try:
            yield name, _array(tensor)
        except (TypeError, RuntimeError) as error:
            problem = f"{name!r} gave {_describe(tensor)}, which numpy cannot hold: {error}"
            raise TapError(problem, remedy="convert it (taps[name]), and save that") from None


def _array(tensor: Tensor) -> np.ndarray:
    """Floats that numpy does not know, such as bfloat16, become float32."""
    tensor = tensor.cpu().resolve_conj().resolve_neg()
    small = tensor.is_floating_point() and tensor.dtype.itemsize <= 2
    return (tensor.float() if small and tensor.dtype != torch.float16 else tensor).numpy()


def save_arrays(path: str | Path, arrays: Mapping[str, object], *, over: bool = False) -> Path:
    """Writes an npz, its folder and ending if they lack, by `outputs.write_beside`."""
    path = Path(path)
    path = path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")

    def write(beside: Path) -> None:
        with open(beside, "wb") as file:  # given a path, numpy would add an ending
            np.savez_compressed(file, **arrays)

    return write_beside(path, write, over=over)


def _edited(name: str, edit: Callable[[Tensor], Tensor], output: object) -> Tensor:
    if not isinstance(output, Tensor):
        raise TapError(f"{name!r} gives {type(output).__name__}, only tensors can be edited")
    changed = edit(output.clone())
    came = _describe(changed) if isinstance(changed, Tensor) else type(changed).__name__
    if came != _describe(output):
        raise TapError(f"the edit of {name!r} gave {came}, expected {_describe(output)}")
    return changed


class _Detached(TorchFunctionMode):
    """Inside, `copy.deepcopy` makes detached copies of tensors, also of those that it else refuses
    because a gradient runs through them.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function == Tensor.__deepcopy__:
            return args[0].detach().clone()
        if function == Tensor.requires_grad.__get__:  # parameters copy themselves
            return False
        return function(*args, **(kwargs or {}))


def _copied(name: str, output: object) -> object:
    """A copy of an output with all that it holds, tensors detached, because an operation in place
    (ReLU) may follow. `TapError` where it holds what cannot be copied.
    """
    if isinstance(output, Tensor):
        return output.detach().clone()
    try:
        with _Detached():
            return copy.deepcopy(output)
    except Exception as error:  # of whatever class, by its own way of copying
        raise TapError(
            f"{name!r} gives {type(output).__name__}, which cannot be copied: {error}",
            remedy="record a module whose output is made of tensors, lists, dicts or objects that "
            "copy.deepcopy copies",
        ) from error


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


def _edits(
    modules: dict[str, nn.Module], edit: Mapping[str, Callable[[Tensor], Tensor]]
) -> dict[str, Callable[[Tensor], Tensor]]:
    """The edit of each name that patterns choose."""
    edited = {}
    for pattern, change in edit.items():
        for name in _resolve(modules, [pattern]):
            if name in edited:
                raise TapError(f"two edits change {name!r}", remedy="make the patterns disjoint")
            edited[name] = change
    return edited


def _check_eager(modules: dict[str, nn.Module], names: Iterable[str]) -> None:
    """`TapError` where the model, or a module of these names, is TorchScript."""
    for name in ("", *names):
        if isinstance(modules[name], torch.jit.ScriptModule):
            raise TapError(
                f"TorchScript hides what it computes: {name or 'the model'} is scripted or traced",
                remedy="record the Python model that it was made from",
            )


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
    the shape. What is recorded is edited. Outputs may be tensors or whatever holds them (lists,
    dicts, named tuples, dataclasses, objects): they are copied whole, tensors detached. Models
    compiled before are unwrapped and run eagerly inside the block, because hooks added after
    `torch.compile` record nothing. Hooks are removed whatever happens. Raises `UnknownName` (with
    near matches) for a name that does not exist, `TapError` if a named one never fired, is
    TorchScript, or gives what cannot be copied (a generator, an open file).
    """
    modules = modules_by_name(model)
    recorded = _resolve(modules, names)
    edited = _edits(modules, edit or {})
    _check_eager(modules, [*recorded, *edited])
    caught = Recording({name: getattr(modules[name], "axes", ()) for name in [*recorded, *edited]})
    handles = []

    def hook(name):
        def catch(_module, _inputs, output):
            if name in edited:
                output = _edited(name, edited[name], output)
            caught.add(name, _copied(name, output))
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


def swapped(step: int = 1, at: Sequence[int] = ()) -> Callable[[Tensor], Tensor]:
    """An edit of [b ...]: everybody's is that of the one `step` rows before; at: only at these
    places of the second axis, none: everywhere.
    """

    def edit(x: Tensor) -> Tensor:
        out = x.roll(step, 0)
        kept = [i for i in range(x.shape[1]) if at and i not in at]
        out[:, kept] = x[:, kept]
        return out

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
