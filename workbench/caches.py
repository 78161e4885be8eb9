"""What the workbench makes or fetches once and keeps in the user's cache: rendered worlds, trained
models, heatmaps, data sets.

A folder that is written is sealed with the sums of its files, and looked at against them when a
process first reads it: a flipped bit is an error, not a number.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pooch
from tqdm.auto import tqdm

from .errors import BadFile, unknown
from .outputs import alone, leftovers, write_text

SUMS = "sums.json"
MODEL = "model.safetensors"
WORLDS, TRAINED = "worlds", "trained"
REMEDY = "remove it (`workbench cache clean --damaged`); it is made anew"


def cache_root() -> Path:
    """The user's cache of this project."""
    return Path(pooch.os_cache("occlusion-workbench"))


# --- seals ----------------------------------------------------------------------------------------


def sha256_of_file(path: Path) -> str:
    """Of its content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(folder: Path) -> None:
    """Writes the sums of a folder's files into it, when it is whole."""
    sums = {path.name: sha256_of_file(path) for path in sorted(folder.iterdir())}
    write_text(folder / SUMS, json.dumps(sums))


_checked: set[Path] = set()


def check_seal(folder: Path) -> None:
    """`BadFile` where a file of a sealed folder is not what was written; looked at once a process.
    Folders without sums, of earlier versions, are taken as they are.
    """
    if folder in _checked or not (folder / SUMS).exists():
        return
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        wrong = [name for name, known in sums.items() if sha256_of_file(folder / name) != known]
    except (OSError, ValueError, AttributeError) as error:
        raise BadFile(f"damaged in the cache: {error}", file=folder, remedy=REMEDY) from None
    if wrong:
        problem = f"damaged in the cache: {', '.join(wrong)} is not what was written"
        raise BadFile(problem, file=folder, remedy=REMEDY)
    _checked.add(folder)


# --- looking at all of it -------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """An entry of the cache: a world's split, a trained model, heatmaps, a data set."""

    name: str  # its path below the cache's folder
    path: Path
    kind: str  # "clips", "model", "unfinished training", "heatmaps", "data", "left behind"
    bytes: int
    holds: int  # clips, or files


def _of(root: Path, path: Path, kind: str, holds: int | None = None) -> Kept:
    files = [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return Kept(str(path.relative_to(root)), path, kind, size, holds or len(files))


def _folders(path: Path) -> list[Path]:
    """Those that are whole: what is hidden is being written, or a lock."""
    inner = sorted(path.iterdir()) if path.is_dir() else ()
    return [p for p in inner if p.is_dir() and not p.name.startswith(".")]


def _trained_kind(folder: Path) -> str:
    if (folder / MODEL).exists():
        return "model"
    return "heatmaps" if (folder / SUMS).exists() else "unfinished training"


def kept(root: Path | None = None) -> Iterator[Kept]:
    """All entries; last what killed processes have left."""
    root = root or cache_root()
    for world in _folders(root / WORLDS):
        for split in _folders(world):
            yield _of(root, split, "clips", len(_folders(split)))
    for method in _folders(root / TRAINED):
        for folder in _folders(method):
            yield _of(root, folder, _trained_kind(folder))
    for folder in _folders(root):
        if folder.name not in (WORLDS, TRAINED):
            yield _of(root, folder, "data")
    places = {root, *(p for p in root.rglob("*") if p.is_dir())} if root.is_dir() else ()
    for place in sorted(places):
        for left in leftovers(place) if place.exists() else ():
            yield _of(root, left, "left behind")


def damage(entry: Kept, *, progress: bool = False) -> list[tuple[Path, str]]:
    """What of an entry is not what was written: folder or file, and why. Data sets are looked at by
    `data.manifest.verify`.
    """
    from .checkpoint import read_tensors  # and torch

    wrong = []
    places = _folders(entry.path) if entry.kind == "clips" else [entry.path]
    for place in tqdm(places, desc=entry.name, disable=not progress, leave=False):
        _checked.discard(place)
        try:
            if entry.kind == "model":
                read_tensors(place / MODEL)
            else:
                check_seal(place)
        except BadFile as error:
            wrong.append((place, error.problem))
    return wrong


def clean(
    names: tuple[str, ...] = (), *, damaged: bool = False, root: Path | None = None
) -> list[Kept]:
    """Removes entries by their names (or the beginnings of names, as "worlds"), of `damaged` ones
    what is damaged, and always what killed processes have left; what was removed.

    Errors: `UnknownName` for a name that no entry has; `Busy` where somebody trains.
    """
    root = root or cache_root()
    every = list(kept(root))
    for name in names:
        if not any(_begins(entry, name) for entry in every):
            raise unknown("entry of the cache", name, [entry.name for entry in every])
    gone = []
    for entry in every:
        if entry.kind == "left behind" or any(_begins(entry, name) for name in names):
            with alone(entry.path, "a training", wait=False):
                shutil.rmtree(entry.path)
            entry.path.with_name(f".{entry.path.name}.lock").unlink(missing_ok=True)
            gone.append(entry)
        elif damaged:
            for place, _ in damage(entry):
                gone.append(_of(root, place, entry.kind))
                shutil.rmtree(place)
    return gone


def _begins(entry: Kept, name: str) -> bool:
    return entry.name == name or entry.name.startswith(name.rstrip("/") + "/")
