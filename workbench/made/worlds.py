"""The frozen worlds of rendered people by name, and their clips, rendered or out of the cache.

Clips have exact joints, visibility, boxes and tracks (`film` says how). Synthetic.

Of the joints hidden in the middle frame of 400 test clips 67, 25 and 8 % are seen in 0, 1-2 and 3-4
of the other four frames in "crossing_people", 29, 25 and 46 % in "passing_people"; joints move by 4
and 9 px a frame.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from .. import processes
from ..caches import cache_root, check_seal, seal
from ..errors import BadFile, Taken, unknown
from ..memory import keep_freed
from ..outputs import folder_beside, named_errors, put
from ..records import Clip, Track, Video
from .film import Rendered, film, scene
from .mocap import motion_files
from .world import World

_CROWD = {"size_wh": (256, 192), "people": (2, 4), "occluders": (1, 4)}
_BLURRED = {"fps": 12.0, "sub_frames": 5, "skeleton": "posetrack15"}
_ACTIVE = ("dance", "kick", "punch", "jump", "wave")
WORLDS = {
    w.name: w
    for w in (
        World("synthetic"),
        World("synthetic_mocap", "mocap", "bandai_namco", n_frames=19, fps=30.0),
        # single pictures, about half of all joints hidden
        World("occluded_people", n_frames=1, sub_frames=1, **_CROWD),
        World(
            "crossing_people",
            n_frames=5,
            shutter=(0.2, 0.9),
            label_stride=5,
            label_first=2,
            **_CROWD,
            **_BLURRED,
        ),  # clips with blur, of which the middle frame alone is labelled
        World(
            "passing_people",
            n_frames=5,
            shutter=(0.05, 0.3),
            label_stride=5,
            label_first=2,
            **{**_CROWD, "occluders": (3, 6)},
            **_BLURRED,
            gaits=("run", "run", "run", "walk", "turn", "side_step", *_ACTIVE),
            passing=True,
        ),  # the same, but what hides somebody passes: most hidden joints are seen in other frames
        World(
            "fast_people",
            size_wh=(256, 192),
            n_frames=16,
            people=(1, 3),
            moving_camera=0.3,
            shutter=(0.3, 0.9),
            **_BLURRED,
            gaits=("turn", "run", *_ACTIVE, "side_step"),
        ),  # longer clips of people who move fast and on curves, all frames labelled
        World(
            "synthetic_tiny",
            size_wh=(96, 80),
            n_frames=3,
            people=(1, 2),
            occluders=(0, 1),
            sub_frames=3,
        ),
    )
}


def world(name: str | World) -> World:
    """The world of that name; `UnknownName` with near matches otherwise."""
    if isinstance(name, World):
        return name
    if name not in WORLDS:
        raise unknown("world", name, WORLDS)
    return WORLDS[name]


def sample_clip(name: str | World, split: str, index: int) -> Rendered:
    """Clip `index` of a split ("train", "val", "test") of a world; the same arguments give the same
    pixels and labels.

    Errors: `UnknownName` for the world or split; `MissingData` where the world's motion capture is
    not on this machine.
    """
    recipe = world(name)
    title = f"{recipe.name}/{split}/{index}"
    rng = recipe.stream(split, index, "sensor")
    return film(scene(recipe, split, index), recipe, rng, title)


# --- cache ----------------------------------------------------------------------------------------

# Of a track; the rest follows from the recipe.
STORED = ("xy_frame", "visibility", "labelled", "boxes_xyxy", "xyz_camera_mm", "head_boxes_xyxy")


@dataclass(frozen=True)
class Stored:
    """An array in a file, mapped anew for every look: any number may be held open, and sent to
    other processes.
    """

    path: Path

    def _mapped(self):
        with _damage_named(self.path):
            return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self._mapped())

    def __getitem__(self, i) -> np.ndarray:
        return np.array(self._mapped()[i])


@contextlib.contextmanager
def _damage_named(path: Path):
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BadFile(
            f"a cached clip is damaged: {error}", file=path, remedy="remove its folder"
        ) from None


@dataclass(frozen=True)
class Clips(Sequence):
    """Clips on disk, as pairs of a `Clip` and its frames, which are read when they are looked
    at.
    """

    recipe: World
    split: str
    folders: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, i: int) -> tuple[Clip, Stored]:
        folder, recipe = self.folders[i], self.recipe
        check_seal(folder)
        with _damage_named(folder), np.load(folder / "tracks.npz", allow_pickle=False) as stored:
            rows = list(zip(*(stored[name] for name in STORED)))
        tracks = [Track(recipe.skeleton, k, **dict(zip(STORED, row))) for k, row in enumerate(rows)]
        title = f"{recipe.name}/{self.split}/{int(folder.name)}"
        video = Video(title, recipe.n_frames, *recipe.size_wh, recipe.fps)
        return Clip(video, tracks, name=title), Stored(folder / "frames.npy")


def store_clip(rendered: Rendered, target: Path) -> None:
    """Writes a clip to its place, whole; what another process has put there meanwhile stays."""
    arrays = {name: np.stack([getattr(t, name) for t in rendered.clip.tracks]) for name in STORED}
    with folder_beside(target) as folder, contextlib.suppress(Taken):
        whole = folder / "clip"
        with named_errors(target, rendered.frames.nbytes):
            whole.mkdir()
            np.save(whole / "frames.npy", rendered.frames)
            np.savez(whole / "tracks.npz", **arrays)
            seal(whole)
        put(whole, target)


def cached_clips(
    name: str | World,
    split: str,
    n: int,
    *,
    folder: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Clips:
    """The first n clips of a split, rendered once and kept under `folder` (default: the user's
    cache) by their recipe.

    workers: processes that render what is missing; None: one for every `FRAMES_EACH` frames, no
    more than the machine has processors.
    """
    recipe = world(name)
    recipe.stream(split, 0, "")  # an unknown split is named before anything is written
    key = f"{recipe.name}-{recipe.digest()}"
    if recipe.data:  # what is drawn depends on which motions are there
        names = " ".join(path.name for path in motion_files(recipe.data, split))
        key += "-" + hashlib.sha256(names.encode()).hexdigest()[:8]
    root = Path(folder) if folder else cache_root() / "worlds"
    folders = tuple(root / key / split / f"{i:06d}" for i in range(n))
    missing = [place for place in folders if not place.is_dir()]
    if missing:
        keep_freed()
    if workers is None:
        workers = min(os.cpu_count() or 1, len(missing) * recipe.n_frames // FRAMES_EACH)
    with tqdm(
        desc=f"{recipe.name} {split}",
        total=len(missing),
        unit="clip",
        disable=not (progress and missing),
        # seconds between lines in a log
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
    ) as bar:
        if workers > 1:
            _render_in_processes(recipe, split, missing, workers, bar)
        for place in missing:  # also what a process could not: here its error is seen
            if not place.is_dir():
                _render(recipe, split, place)
                bar.update()
    return Clips(recipe, split, folders)


def _render(recipe: World, split: str, target: Path) -> None:
    store_clip(sample_clip(recipe, split, int(target.name)), target)


# --- processes ------------------------------------------------------------------------------------

FRAMES_EACH = 30  # they take longer than a process to start  # ours


def _render_in_processes(
    recipe: World, split: str, places: Sequence[Path], workers: int, bar: tqdm
) -> None:
    """Renders clips to their places; a process that fails leaves its own out."""
    read, write = os.pipe()
    with contextlib.ExitStack() as stack:
        clips_done = stack.enter_context(os.fdopen(read))
        started = []
        for _ in range(workers):
            process = processes.start("workbench.made.worlds:render_asked", write)
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append(process)
        os.close(write)
        for k, process in enumerate(started):
            folders = [str(place) for place in places[k::workers]]
            asked = {"recipe": asdict(recipe), "split": split, "folders": folders}
            with contextlib.suppress(BrokenPipeError), process.stdin:
                json.dump(asked, process.stdin)
        for _ in clips_done:  # a line a clip, until all have ended
            bar.update()


def render_asked() -> None:
    """In a process of its own: renders the clips that standard input asks for (JSON), and prints a
    line for each.
    """
    cv2.setNumThreads(1)
    keep_freed()
    asked = json.load(sys.stdin)
    fields = asked["recipe"].items()
    recipe = World(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields})
    for folder in asked["folders"]:
        _render(recipe, asked["split"], Path(folder))
        print(folder, flush=True)
