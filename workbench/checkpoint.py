"""Weights in and out as safetensors, with a card in the header and a report of every key.
Nothing in a file can execute.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize_tensors
from torch import Tensor, nn

from .errors import BadFile, CheckpointMismatch, EmptyFile, MissingFile
from .outputs import write_beside

SCHEMA_VERSION = 1
# of batch norms; nothing reads it, and published files may lack it
_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class KeyReport:
    """What became of every key when weights met a model."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # the model has them, the file does not
    unexpected: tuple[str, ...]  # the file has them, the model does not
    misshapen: tuple[str, ...]  # "key: file (3, 4), model (3, 5)"

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.misshapen)

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} loaded"]
        for name in ("missing", "unexpected", "misshapen"):
            keys = getattr(self, name)
            if keys:
                more = f", ... and {len(keys) - 5} more" if len(keys) > 5 else ""
                parts.append(f"{len(keys)} {name} ({'; '.join(keys[:5])}{more})")
        return ", ".join(parts)


def save(
    path: str | Path, model: nn.Module, card: Mapping | None = None, *, over: bool = False
) -> Path:
    """Writes a model's state with its card (any JSON: model name, config, recipe, seed, data,
    metrics) in the header, and the sha256 of the tensors, which `read_tensors` checks. The same
    state and card are the same bytes. over: as of `outputs.write_beside`.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    words = {
        "schema_version": str(SCHEMA_VERSION),
        "card": json.dumps(dict(card or {}), sort_keys=True),
    }
    header, tensors = _parts(serialize_tensors(state))
    words["sha256"] = hashlib.sha256(tensors).hexdigest()
    # safetensors writes the words in any order
    text = json.dumps({"__metadata__": words, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    content = b"".join((len(text).to_bytes(8, "little"), text, tensors))
    return write_beside(Path(path), lambda part: part.write_bytes(content), over=over)


def _parts(content: bytes) -> tuple[dict, memoryview]:
    """What the header of a safetensors file says of its tensors, and their bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), memoryview(content)[end:]


def _open(path: str | Path):
    path = Path(path)
    if not path.exists():
        raise MissingFile("no such weight file", file=path)
    if path.stat().st_size == 0:
        raise EmptyFile("weight file of 0 bytes", file=path, remedy="fetch or train it again")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise BadFile(
            f"not a whole safetensors file: {error}",
            file=path,
            remedy="fetch or train it again; other formats are not read",
        ) from None


def read_header(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file, {} if it has none."""
    with _open(path) as f:
        return dict(f.metadata() or {})


def read_card(path: str | Path) -> dict:
    """The card that `save` wrote; {} for files of others."""
    try:
        return json.loads(read_header(path).get("card", "{}"))
    except json.JSONDecodeError as error:
        raise BadFile(f"the card in the header is not JSON: {error}", file=path) from None


_whole: set[tuple] = set()  # files whose sums this process has checked


def _check_sum(path: Path) -> None:
    """`BadFile` where the tensors are not those that `save` wrote; looked at once a process."""
    known, facts = read_header(path).get("sha256"), path.stat()
    key = (path.resolve(), facts.st_size, facts.st_mtime_ns)
    if known is None or key in _whole:
        return
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != known:
        problem = f"its tensors are not those that were written: sha256 {found[:16]}, of these "
        raise BadFile(problem + known[:16], file=path, remedy="fetch or train it again")
    _whole.add(key)


def read_tensors(path: str | Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors whose names begin with prefix, without it. Errors: `BadFile` where bits of what
    `save` wrote have turned.
    """
    _check_sum(Path(path))
    with _open(path) as f:
        return {k.removeprefix(prefix): f.get_tensor(k) for k in f.keys() if k.startswith(prefix)}


def read_public(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a published weight file: safetensors, or a torch file, of which nothing is
    executed.

    Torch files of whole trainings keep them under "state_dict". Errors: `BadFile` for anything but
    tensors by name.
    """
    path = Path(path)
    if path.suffix == ".safetensors" or not path.exists() or not path.stat().st_size:
        return read_tensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        content = content.get("state_dict", content)
        return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    except Exception as error:  # bytes of another kind trip an unpickler in any way
        problem = str(error).partition("\n")[0]
        raise BadFile(
            f"no torch file of plain tensors: {type(error).__name__}: {problem}",
            file=path,
            remedy="save its state_dict as safetensors where you trust it; nothing of it was "
            "executed",
        ) from None


def compare_keys(model: nn.Module, tensors: Mapping[str, Tensor]) -> KeyReport:
    """How these tensors fit the model, by name and shape."""
    own = model.state_dict()
    misshapen = {k for k in own.keys() & tensors.keys() if own[k].shape != tensors[k].shape}
    return KeyReport(
        loaded=tuple(k for k in own if k in tensors and k not in misshapen),
        missing=tuple(k for k in own if k not in tensors and not k.endswith(_COUNTER)),
        unexpected=tuple(k for k in tensors if k not in own),
        misshapen=tuple(
            f"{k}: file {tuple(tensors[k].shape)}, model {tuple(own[k].shape)}"
            for k in own
            if k in misshapen
        ),
    )


def load_into(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    partial: bool = False,
    file: str | Path | None = None,
) -> KeyReport:
    """Copies tensors into a model and reports every key.

    partial: load what fits, and say so in the report; without it anything that does not fit raises
    `CheckpointMismatch` and the model is left as it was.
    """
    report = compare_keys(model, tensors)
    if not report.complete and not partial:
        raise CheckpointMismatch(
            f"weights do not fit {type(model).__name__}: {report}",
            file=file,
            remedy="build the model from the file's card, or ask for partial=True",
        )
    model.load_state_dict({k: tensors[k] for k in report.loaded}, strict=False)
    return report


def load(path: str | Path, model: nn.Module, **options) -> KeyReport:
    """`load_into` from a safetensors file."""
    return load_into(model, read_tensors(path), file=path, **options)
