"""A person of a made clip whose moving wrist is in sight: chapter 00 asks five methods about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float, Int, UInt8

from ..errors import BadParameter
from ..skeletons import skeleton
from .film import Rendered
from .world import World
from .worlds import WORLDS, sample_clip

JOINTS = skeleton("coco17")
# what all five methods know: nose and limbs
SHARED = [j for j, name in enumerate(JOINTS.joints) if name in skeleton("posetrack15").joints]
SIDES = 3  # frames from the asked one to STDPose's labels
# 41 frames, all labelled, of people who move fast; HANet learned at 30 frames a second
WORLD = replace(
    WORLDS["fast_people"],
    n_frames=41,
    fps=30.0,
    label_stride=1,
    label_first=0,
    skeleton=JOINTS.name,
)
FIRST = 7  # the first test clip that follows the rule of `chosen`; a test holds it


@dataclass(frozen=True, eq=False)
class Case:
    """A person in a clip, the middle frame of which is asked for. xy: px, in `JOINTS`; joint: what
    the paint hides at first.
    """

    frames: Sequence[UInt8[np.ndarray, "h w 3"]]
    xy: Float[np.ndarray, "t k 2"]
    visibility: Int[np.ndarray, "t k"]
    boxes_xyxy: Float[np.ndarray, "t 4"]
    joint: str

    @property
    def key(self) -> int:
        return len(self.frames) // 2

    @property
    def size_wh(self) -> tuple[int, int]:
        height, width = self.frames[0].shape[:2]
        return width, height

    @property
    def height(self) -> float:
        """Of the person in the frame that is asked for, px."""
        return float(np.ptp(self.boxes_xyxy[self.key][1::2]))


def chosen(made: Rendered) -> Case | None:
    """The tallest in a clip, if at least half as tall as the picture, one of whose wrists is in
    sight from `SIDES` frames before the middle one to as many after it, is a quarter of the
    person's height or more from its hip, and moves by six tenths of it or more a second; that
    wrist. The person is there in all frames, and whole in the middle one. No method is asked.
    """
    key = made.clip.video.n_frames // 2
    near = slice(key - SIDES, key + SIDES + 1)
    found = []
    for track, side in product(made.clip.tracks, ("left", "right")):
        wrist, hip = (JOINTS.index(f"{side}_{part}") for part in ("wrist", "hip"))
        xy, name = track.xy_frame, JOINTS.joints[wrist]
        case = Case([*made.frames], xy, track.visibility, track.boxes_xyxy, name)
        tall = case.height
        away = np.linalg.norm(xy[key, wrist] - xy[key, hip])
        pace = np.linalg.norm(np.diff(xy[near, wrist], axis=0), axis=1).mean()
        whole = track.boxes_xyxy.any(1).all() and (track.visibility[key, SHARED] > 0).all()
        seen = whole and (track.visibility[near, wrist] == 2).all()
        moves = pace * made.clip.video.fps >= 0.6 * tall
        if seen and tall >= case.size_wh[1] / 2 and away >= tall / 4 and moves:
            found.append(case)
    return max(found, key=lambda case: case.height, default=None)


def first_case(world: World = WORLD, start: int = FIRST, at_most: int = 50) -> Case:
    """The first test clip in which somebody is `chosen`. `BadParameter` where nobody is."""
    for index in range(start, start + at_most):
        case = chosen(sample_clip(world, "test", index))
        if case is not None:
            return case
    raise BadParameter(f"nobody in {at_most} clips follows the rule", remedy="look at more")
