"""A clip on a stage: a scrubber, one occluder brush, and what everybody answers, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from ..errors import BadParameter
from ..occlusion import cover
from ..records import Clip, Detections, Prediction
from ..skeletons import Skeleton
from .explorer import Control, Explorer, choice, number, scrubber
from .panels import PAINT, Line, Lines, People, Picture, Tabs, marks_of

# what lines and panels are called
NAMES = {
    "port": "PORT",
    "hanet": "HANet",
    "vissimcc": "VisSimCC",
    "otpose": "OTPose",
    "stdpose": "STDPose",
}
PAINT_IN = ("this frame", "this frame on", "all frames")
Number = float | int | np.number
Frames = Sequence[UInt8[np.ndarray, "h w 3"]]


def brush_controls(size_px: int, longest: int, paint_in: str = "all frames") -> list[Control]:
    """The brush: its size in sight, "clear paint" and the frames that it reaches under "more"."""
    return [
        number("size", size_px, longest, 4),
        choice("paint in", PAINT_IN, paint_in, needs="nothing", more=True),
        Control("brush", "button", [], options=([],), more=True, label="clear paint"),
    ]


def patch(x: Number, y: Number, size: Number, frames: tuple[int, int]) -> dict:
    """A square of the brush about (x, y) px in frames first to last."""
    return {"points": [[float(x), float(y)]], "size": float(size), "frames": list(frames)}


def covered(
    brush: Iterable[Mapping], size_wh: tuple[int, int], n_frames: int
) -> Bool[np.ndarray, "t h w"]:
    """What the strokes of a brush cover: squares about their points, px of the pictures."""
    mask = np.zeros((n_frames, size_wh[1], size_wh[0]), bool)
    for stroke in brush:
        first, last = stroke["frames"]
        half = stroke["size"] / 2
        for x, y in stroke["points"]:
            rows = slice(max(ceil(y - half), 0), max(ceil(y + half), 0))
            columns = slice(max(ceil(x - half), 0), max(ceil(x + half), 0))
            mask[max(first, 0) : last + 1, rows, columns] = True
    return mask


def painted(frames: Frames, mask: Bool[np.ndarray, "t h w"]) -> list[np.ndarray]:
    """The frames under the paint; those that it leaves alone are the same arrays."""
    return [
        np.where(under[..., None], np.uint8(PAINT), frame) if under.any() else frame
        for frame, under in zip(frames, mask)
    ]


def patch_grid(
    size_wh: tuple[int, int], size: Number, step_xy: tuple[Number, Number], frames: tuple[int, int]
) -> Iterable[dict]:
    """Patches on a grid over a picture, and none: questions of a page without a kernel."""
    columns, rows = (np.arange(step / 2, side, step) for side, step in zip(size_wh, step_xy))
    for y in rows:
        yield from ({"brush": [patch(x, y, size, frames)]} for x in columns)
    yield {"brush": []}


@dataclass(frozen=True, eq=False)
class Scene:
    """What a stage shows. frames: RGB, of one size. truth, visibility: [t p k 2] px and 0, 1, 2,
    or None where nobody knows; known: whether the flags say anything about occlusion.
    """

    frames: Frames
    truth: Float[np.ndarray, "t p k 2"] | None = None
    visibility: Int[np.ndarray, "t p k"] | None = None
    known: bool = True
    name: str = ""
    given: Sequence[int] = ()  # frames whose labels are given

    @classmethod
    def of(cls, clip: Clip, frames: Frames | UInt8[np.ndarray, "t h w 3"], **given) -> Scene:
        """A clip with its labels."""
        tracks = clip.tracks
        return cls(
            [np.asarray(frames[t]) for t in range(clip.video.n_frames)],
            np.stack([track.xy_frame for track in tracks], 1),
            np.stack([track.visibility for track in tracks], 1),
            all(track.occlusion_known for track in tracks),
            **given,
        )

    @property
    def size_wh(self) -> tuple[int, int]:
        height, width = self.frames[0].shape[:2]
        return width, height


Answers = Mapping[str, Float[np.ndarray, "t p k 2"]]
Ask = Callable[[Scene, list[np.ndarray], Bool[np.ndarray, "t h w"]], Answers]


@dataclass(frozen=True, eq=False)
class Played:
    frames: list[np.ndarray]
    mask: Bool[np.ndarray, "t h w"]
    visibility: Int[np.ndarray, "t p k"] | None
    answers: Answers
    plain: Answers  # without the paint


class Stage(Explorer):
    """Play a clip, paint over it, and see whose flags change, who breaks and who recovers.

    clips: what can be chosen. ask: clip, painted frames, what is covered -> name -> people, NaN
    where nobody is found; None: labels alone. roles: name -> role of `style`. apart: every answer
    in a panel of its own. paints: False: no brush. grid: of `questions`.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        clips: Sequence[Scene],
        ask: Ask | None = None,
        *,
        roles: Mapping[str, str] | None = None,
        apart: bool = False,
        paints: bool = True,
        frame: int = 0,
        size_px: int = 36,
        grid: int = 8,
        name: str = "stage",
        **options,
    ):
        if not clips or not len(clips[0].frames):
            raise BadParameter("no frames", remedy="give at least one clip with a frame")
        self.clips = clips
        self.ask = ask
        self.roles_of = dict(roles or {})
        self.apart = apart
        self.grid = grid
        self.paints = paints
        self.begin = frame, size_px
        self.plain: dict[int, Answers] = {}
        last = len(clips[0].frames) - 1
        super().__init__(skeleton, name=name, last_frame=last, **options)

    def declare(self) -> list[Control]:
        frame, size_px = self.begin
        controls = [scrubber(frame, len(self.clips[0].frames) - 1)]
        if len(self.clips) > 1:
            names = [clip.name or f"clip {i}" for i, clip in enumerate(self.clips)]
            controls.append(choice("clip", names))
        if self.paints:
            longest = max(self.clips[0].size_wh)
            controls += brush_controls(min(size_px, longest), longest)
        if self.ask is not None and self.clips[0].truth is not None:
            joints = ("all joints", *self.kin.joints)
            controls.append(choice("error of", joints, needs="drawing"))
        return controls

    def number_of_clip(self, state: Mapping) -> int:
        if "clip" not in self.declared:
            return 0
        return self.declared["clip"].options.index(state["clip"])

    def compute(self, state: Mapping) -> Played:
        number = self.number_of_clip(state)
        clip = self.clips[number]
        last = len(clip.frames) - 1
        if last != self.last_frame:
            self.last_frame = last
            self.redeclare(frame=replace(self.declared["frame"], high=last))
        if self._found is None or clip.frames is not self.now.frames:
            self.forget_pictures()
        self.now = clip
        mask = covered(state.get("brush", ()), clip.size_wh, len(clip.frames))
        visibility = clip.visibility
        if visibility is not None and mask.any():
            visibility = cover(visibility.swapaxes(0, 1), clip.truth.swapaxes(0, 1), mask).swapaxes(
                0, 1
            )
        if number not in self.plain:
            nothing = np.zeros_like(mask)
            self.plain[number] = {} if self.ask is None else self.ask(clip, clip.frames, nothing)
        frames = painted(clip.frames, mask)
        answers = self.plain[number]
        if mask.any() and self.ask is not None:
            answers = self.ask(clip, frames, mask)
        return Played(frames, mask, visibility, answers, self.plain[number])

    def distances(self, answers: Answers, of: str) -> dict[str, Float[np.ndarray, "t p k"]]:
        """name -> distances from the truth, px; NaN without a label, of other joints than `of`, and
        where nobody was found.
        """
        if self.now.truth is None:
            return {}
        use = self.now.visibility > 0
        if of != "all joints":
            use = use & (np.arange(len(self.kin)) == self.kin.index(of))
        truth = np.where(use[..., None], self.now.truth, np.nan)
        return {name: np.linalg.norm(xy - truth, axis=-1) for name, xy in answers.items()}

    def means(self, state: Mapping, found: Played) -> dict[str, float]:
        """Mean errors, px, of everybody who is found where somebody knows the truth."""
        away = self.distances(found.answers, state.get("error of", "all joints"))
        return {name: float(np.nanmean(px)) for name, px in away.items() if np.isfinite(px).any()}

    def draw(self, state: Mapping, found: Played) -> Tabs:
        truth = []
        if self.now.truth is not None:
            marks = marks_of(found.visibility, self.now.visibility, known=self.now.known)
            flags = self.ask is None
            truth.append(People("truth", "truth", self.now.truth, marks, flags=flags))
        people = [
            People(name, self.roles_of.get(name, i), xy)
            for i, (name, xy) in enumerate(found.answers.items())
        ]
        title = "press to paint; press on paint to move it" if self.paints else "the clip"
        panels = {title: people}
        if self.apart and people:
            panels = {each.name: [each] for each in people}
        look = {"brush": self.paints, "rim": tuple(self.now.given)}
        rows = [
            [
                Picture(title, self.now.frames, [*truth, *group], **look)
                for title, group in panels.items()
            ]
        ]
        if self.means(state, found):
            rows.append([self.curve(state, found)])
        return {"stage": rows}

    def curve(self, state: Mapping, found: Played) -> Lines:
        """Errors by frame; dashed: without the paint."""
        times = np.arange(len(self.now.frames))
        lines = []
        plain = self.distances(found.plain, state["error of"])
        away = self.distances(found.answers, state["error of"])
        for number_, name in enumerate(away):
            role = self.roles_of.get(name, number_)
            lines.append(Line(name, times, by_frame(away[name]), role, "both"))
            if found.mask.any():
                lines.append(Line("", times, by_frame(plain[name]), role, dash=(4, 3)))
        frames = np.flatnonzero(found.mask.any((1, 2)))
        some = 0 < len(frames) < len(times)
        shaded = [(frames[0], frames[-1], "hidden")] if some else []
        title = f"error of {state['error of']}" + "; dashed: without paint" * self.paints
        return Lines(title, "frame", "px", lines, shaded, cursor="frame")

    def say(self, state: Mapping, found: Played) -> str:
        said = []
        if self.now.visibility is not None and self.paints:
            changed = found.visibility != self.now.visibility
            frames = np.flatnonzero(changed.any((1, 2)))
            where = f" in frames {frames[0]} to {frames[-1]}" if len(frames) else ""
            said.append(f"newly hidden by the paint: {changed.sum()} joints{where}")
        if found.answers and self.now.truth is not None:
            said += self.compared(state, found)
        elif found.answers and found.mask.any():
            for name, xy in found.answers.items():
                far = apart(xy, found.plain[name])
                moves = f"moves by {far:.1f} px" if np.isfinite(far) else "is lost"
                said.append(f"{name} {moves}")
        elif found.answers:
            first, *others = found.answers
            for name in others:
                far = apart(found.answers[name], found.answers[first])
                if np.isfinite(far):
                    said.append(f"{name} differs from {first} by {far:.1f} px on average")
                else:
                    said.append(f"{name} and {first} have no joint in common")
        text = "; ".join(said)
        return text[:1].upper() + text[1:]

    def compared(self, state: Mapping, found: Played) -> list[str]:
        """Everybody's mean error over the clip, its change by the paint over the joints that are
        found with and without it, and how many are lost.
        """
        said = []
        now, before = (
            self.distances(each, state["error of"]) for each in (found.answers, found.plain)
        )
        for name, mean in self.means(state, found).items():
            away, plain = now[name], before[name]
            both = np.isfinite(away) & np.isfinite(plain)
            change = (away[both] - plain[both]).mean() if both.any() else 0.0
            lost = int((np.isfinite(plain) & ~np.isfinite(away)).sum())
            words = f", {lost} joints lost" if lost else ""
            changed = f" ({change:+.1f}{words})" if self.paints else ""
            clip = "" if said or self.paints else "mean over the clip: "
            said.append(f"{clip}{name} {mean:.1f} px{changed}")
        return said

    def asks(self) -> Iterable[Mapping]:
        """Patches on a grid, `grid` along the longer side; where there is no brush, whose errors
        are drawn.
        """
        if not self.paints:
            control = self.declared.get("error of")
            return [{"error of": joints} for joints in control.options] if control else ()
        size_wh = self.clips[0].size_wh
        step = max(size_wh) / self.grid
        return patch_grid(size_wh, self.state["size"], (step, step), (0, self.last_frame))


def by_frame(away: Float[np.ndarray, "t p k"]) -> Float[np.ndarray, "t"]:
    """Means over people and joints, NaN where there is none."""
    known = np.isfinite(away)
    total = np.where(known, away, 0).sum((1, 2))
    return np.divide(
        total, known.sum((1, 2)), out=np.full(len(away), np.nan), where=known.any((1, 2))
    )


def apart(one: Float[np.ndarray, "*n 2"], other: Float[np.ndarray, "*n 2"]) -> float:
    """Mean distance of joints that both have, px; NaN where there is none."""
    far = np.linalg.norm(one - other, axis=-1)
    return float(far[np.isfinite(far)].mean()) if np.isfinite(far).any() else float("nan")


def over_time(people: Detections | Prediction, n_frames: int) -> Float[np.ndarray, "t p k 2"]:
    """People of a video by frame and person, px; NaN where somebody is not there, and at joints
    that nobody found. They, or the detections behind a prediction, need frames and tracks.
    """
    found = people.confidence > 0
    of = people
    if isinstance(people, Prediction):
        of = people.detections
        found = found | people.replaced
    tracks, person = np.unique(of.tracks, return_inverse=True)
    xy = np.full((n_frames, len(tracks), *people.xy_frame.shape[1:]), np.nan, np.float32)
    xy[of.frames, person] = np.where(found[..., None], people.xy_frame, np.nan)
    return xy


def without_covered(people: Detections, mask: Bool[np.ndarray, "t h w"]) -> Detections:
    """The detections of somebody who does not see through paint: a joint under it is missing.
    # unstated; ours
    """
    height, width = mask.shape[1:]
    x, y = np.moveaxis(np.rint(people.xy_frame).astype(int), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    frames = np.broadcast_to(people.frames[:, None], x.shape)
    under = mask[frames, y.clip(0, height - 1), x.clip(0, width - 1)] & inside
    return replace(people, confidence=np.where(under, 0, people.confidence).astype(np.float32))
