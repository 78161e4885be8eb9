"""The recipe of a world of rendered people, its digest, and its generators.

A `World` is frozen; (recipe, split, index) gives one clip, always the same. Every clip draws its
own people, motions and room from generators that nobody else uses, so train, val and test share
none of them; motion capture is dealt out to the splits by what is done and how.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

from ..errors import BadParameter, unknown
from ..skeletons import skeleton
from .bodies import BODY_SKELETONS
from .gaits import GAITS

RENDERER = 1  # counts changes of anything that changes a pixel or a label: part of every digest
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class World:
    """A recipe. Ranges are inclusive; what is drawn at random is drawn once a clip."""

    name: str
    motion: str = "gaits"  # or "mocap": BVH files of the data set `data`
    data: str | None = None  # NAME or NAME:PATH of a manifest
    size_wh: tuple[int, int] = (320, 240)  # px
    n_frames: int = 21
    fps: float = 15.0
    people: tuple[int, int] = (1, 4)
    occluders: tuple[int, int] = (0, 3)
    moving_camera: float = 0.5  # share of clips
    # at most so many are averaged within the shutter, as few as motion needs; 1: no motion blur
    sub_frames: int = 7
    shutter: tuple[float, float] = (0.05, 0.6)  # of the time between two frames
    skeleton: str = "coco17"
    label_stride: int = 1  # every such frame is labelled
    label_first: int = 0  # from this one on
    gaits: tuple[str, ...] = ()  # what people do, of `GAITS`; empty: any of them
    # people who run and things that fly cross the view near the camera, before somebody in the
    # middle of the clip
    passing: bool = False
    seed: int = 0

    def __post_init__(self):
        if skeleton(self.skeleton).name not in BODY_SKELETONS:
            raise unknown("body skeleton", self.skeleton, BODY_SKELETONS)
        captured = self.motion == "mocap"
        valid = {
            "n_frames": self.n_frames > 0,
            "fps": self.fps > 0,
            "people": 1 <= self.people[0] <= self.people[1],
            "occluders": 0 <= self.occluders[0] <= self.occluders[1],
            "shutter": 0 <= self.shutter[0] <= self.shutter[1],
            "motion": self.motion in ("gaits", "mocap") and captured == bool(self.data),
            "label_stride": self.label_stride > 0,
            "label_first": 0 <= self.label_first < self.n_frames,
            "gaits": set(self.gaits) <= set(GAITS) and not (self.gaits and captured),
            "size_wh": min(self.size_wh) >= 16,
            "sub_frames": self.sub_frames % 2 == 1,
        }
        wrong = [f"{name}={getattr(self, name)!r}" for name, good in valid.items() if not good]
        if wrong:
            raise BadParameter(
                f"world {self.name!r} cannot have {', '.join(wrong)}",
                remedy="counts from 1, ranges as (low, high), 16 px and more, odd sub_frames, "
                "data with mocap alone",
            )

    def digest(self) -> str:
        """Hexadecimal hash of the recipe and the renderer: equal digests mean equal pixels and
        labels.
        """
        younger = ("label_first", "gaits", "passing")  # they count where they are used
        fields = {
            name: value for name, value in asdict(self).items() if value or name not in younger
        }
        recipe = json.dumps({"renderer": RENDERER, **fields}, sort_keys=True)
        return hashlib.sha256(recipe.encode()).hexdigest()[:16]

    def stream(self, split: str, index: int, role: str) -> np.random.Generator:
        """The generator of one role ("room", "person 0", ...) in one clip; no two clips, splits or
        roles share one.

        It follows from the world's name and seed alone: the same scene may be filmed larger, or
        without motion blur. `UnknownName` for another split.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        key = f"{self.name}/{self.seed}/{split}/{index}/{role}"
        return np.random.default_rng(
            np.frombuffer(hashlib.sha256(key.encode()).digest(), np.uint32)
        )
