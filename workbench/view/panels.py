"""What an explorer shows, as plain arrays: pictures with people and heat, lines, bars. Drawn by
panels.js in a browser, and by `paper` without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8

from ..errors import BadParameter
from ..skeletons import Skeleton
from . import style

SLIDES = "application/x.workbench.slides+json"  # what a run's gallery takes of an output
ROLES = (*style.ROLES["light"], *style.PAPER["light"])
# What a joint's mark says; NaN coordinates and 0 are not drawn.
NOTHING, VISIBLE, HIDDEN, NEWLY_HIDDEN, OUTSIDE = range(5)
PAINT = (118, 122, 128)  # of the brush: a grey that is nobody's shirt
SAYS = ("visible", "hidden", "newly hidden", "labelled, nothing said")


@dataclass(frozen=True, eq=False)
class People:
    """Who somebody says is where.

    name: "truth", "detector", "STDPose", ...; role: a role of `style`, or a number that picks a
    neutral colour. xy: px of the panel's box, [k 2], [p k 2] or [t p k 2]. marks: of the same
    shape without the last axis, see above. flags: True: joints have the colours of visibility
    instead of the role's. For `paper` alone: confidence: of the joints, which gives them their
    colours; numbers: joints show their index; skeleton: their own.
    """

    name: str
    role: str | int
    xy: Num[np.ndarray, "*n k 2"]
    marks: Int[np.ndarray, "*n k"] | None = None
    flags: bool = False
    small: bool = False
    confidence: Float[np.ndarray, "*n k"] | None = None
    numbers: bool = False
    skeleton: Skeleton | None = None

    def at(self, frame: int) -> tuple[Num[np.ndarray, "p k 2"], Int[np.ndarray, "p k"]]:
        """Everybody's places and marks in a frame; 0 where there is no place."""
        xy = np.asarray(self.xy, float)
        marks = np.full(xy.shape[:-1], VISIBLE) if self.marks is None else np.asarray(self.marks)
        whole = (1,) * (4 - xy.ndim) + xy.shape
        step = min(frame, whole[0] - 1)
        xy = xy.reshape(whole)[step]
        return xy, np.where(np.isfinite(xy).all(-1), marks.reshape(whole[:3])[step], NOTHING)


@dataclass(frozen=True, eq=False)
class Heat:
    """A map over a picture. values: [y x] or [t y x]; affine: (column, row) of the map -> px of the
    panel's box, [2 3]; low, high: what the ends of the scale stand for, which the bar says.
    diverging: on the scale about the middle of both, else from nothing to much. ends: words at the
    ends of the scale, by default low and high.
    """

    values: Num[np.ndarray, "*t y x"]
    affine: Num[np.ndarray, "2 3"]
    label: str
    low: float | int = 0
    high: float | int = 1
    diverging: bool = False
    ends: Sequence[str] = ()

    def at(self, frame: int) -> Num[np.ndarray, "y x"]:
        """The map of a frame."""
        values = np.asarray(self.values, float)
        return values if values.ndim == 2 else values[min(frame, len(values) - 1)]


@dataclass(frozen=True, eq=False)
class Arrows:
    """ends: x and y where each begins, x and y where it ends, px of the box, and its width in px of
    the screen, [n 5]. name: in the key of `paper`; "" has none.
    """

    role: str | int
    ends: Num[np.ndarray, "n 5"]
    name: str = ""


@dataclass(frozen=True)
class Click:
    """What a click on a panel changes.

    how: "set": the control becomes the joint's name; "toggle": its number goes into the list or
    out. needs: as of a `Control`.
    """

    control: str
    how: str = "set"
    needs: str = "model"


@dataclass(frozen=True, eq=False)
class Picture:
    """frames: RGB pictures, one or one a frame; none: an empty box. box: x0, y0, x1, y1 px of what
    is shown; by default the picture. at: the frame that it always shows; None: the scrubber's.
    brush: the explorer's occluder is drawn here, and painted by the pointer. rim: frames that
    stand out (given labels). wide: share of the row. outline: x0, y0, x1, y1 px of a box that
    `paper` draws. notes: words at places: {"at": x, y in px of the box, "words", "aside": px of
    the screen from there}.
    """

    title: str
    frames: Sequence[UInt8[np.ndarray, "h w 3"]] = ()
    people: Sequence[People] = ()
    heat: Heat | None = None
    arrows: Sequence[Arrows] = ()
    box: tuple[float, float, float, float] | None = None
    at: int | None = None
    click: Click | None = None
    brush: bool = False
    rim: Sequence[int] = ()
    outline: Sequence[float | int] | None = None
    notes: Sequence[Mapping] = ()
    wide: float | int = 1
    kind: str = "picture"

    @property
    def whole(self) -> tuple[float, float, float, float] | None:
        """The box of the picture, px, where there is one."""
        if not len(self.frames):
            return None
        height, width = self.frames[0].shape[:2]
        return (-0.5, -0.5, width - 0.5, height - 0.5)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The box that is shown, px; `BadParameter` where nothing says it."""
        box = self.whole if self.box is None else self.box
        if box is None:
            raise BadParameter(f"{self.title!r} has no picture", remedy="give it a box")
        return tuple(float(end) for end in box)


@dataclass(frozen=True, eq=False)
class Line:
    """name: "" has no key. role: as of `People`. look: "line", "dots" or "both". trail: in a
    browser, points of lines with the same one stay; "": none do.
    """

    name: str
    x: Num[np.ndarray, "n"]
    y: Num[np.ndarray, "n"]
    role: str | int | None = None
    look: str = "line"
    dash: Sequence[int] = ()
    trail: str = ""


@dataclass(frozen=True, eq=False)
class Lines:
    """x, y: titles of the axes, with units. shaded: (first, last, role). cursor: the control whose
    value a line marks.
    """

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    shaded: Sequence[tuple[float | int | np.integer, float | int | np.integer, str]] = ()
    cursor: str = ""
    x_range: tuple[float | int, float | int] | None = None
    y_range: tuple[float | int, float | int] | None = None
    wide: float | int = 1
    kind: str = "lines"


@dataclass(frozen=True)
class Bar:
    """ends: of an interval about the value, in its unit."""

    label: str
    value: float | int | np.number
    role: str | int
    mark: str = ""
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bars:
    """unit: of the values. range: ends of the axis; by default 0 and what the values need. signed:
    values are changes, and have a sign also where none is below 0. limit: a line across all bars.
    """

    title: str
    unit: str
    bars: Sequence[Bar]
    range: tuple[float | int, float | int] | None = None
    signed: bool = False
    limit: float | int | None = None
    click: Click | None = None
    wide: float | int = 1
    kind: str = "bars"


Panel = Picture | Lines | Bars
Tabs = Mapping[str, Sequence[Sequence[Panel]]]  # name of a tab -> rows of panels


def around(
    *points: Num[np.ndarray, "*_ 2"], pad: float = 0.15
) -> tuple[float, float, float, float]:
    """A box about all finite points; pad: share of its longer side that stays free."""
    flat = np.concatenate([np.asarray(each, float).reshape(-1, 2) for each in points])
    flat = flat[np.isfinite(flat).all(1)]
    if not len(flat):
        return (0.0, 0.0, 1.0, 1.0)
    low, high = flat.min(0), flat.max(0)
    free = pad * max((high - low).max(), 1.0)
    return (*(low - free).tolist(), *(high + free).tolist())


def flagged(
    xy: Num[np.ndarray, "p k 2"], marks: Int[np.ndarray, "p k"], skeleton: Skeleton, **look
) -> People:
    """People whose joints have the colours of what their labels say."""
    small = len(xy) > 4
    return People("", "truth", xy, marks, flags=True, small=small, skeleton=skeleton, **look)


def marks_of(
    visibility: Int[np.ndarray, "*n k"],
    before: Int[np.ndarray, "*n k"] | None = None,
    *,
    known: bool = True,
) -> Int[np.ndarray, "*n k"]:
    """Marks of flags 0, 1, 2. before: flags ahead of an occlusion on purpose; known: False where
    the labels say nothing about occlusion.
    """
    marks = np.where(visibility == 2, VISIBLE if known else OUTSIDE, HIDDEN)
    if before is not None:
        marks = np.where((visibility == 1) & (before == 2), NEWLY_HIDDEN, marks)
    return np.where(visibility > 0, marks, NOTHING)


def bones(
    xy: Num[np.ndarray, "*p k 2"],
    skeleton: Skeleton,
    labelled: Bool[np.ndarray, "*p k"] | None = None,
) -> Num[np.ndarray, "2 m"]:
    """x and y of one line through all bones, or those between labelled joints, with gaps (NaN)
    between them.
    """
    ends = np.array(skeleton.edges)
    segments = xy[..., ends, :].astype(float)
    if labelled is not None:
        segments = segments[labelled[..., ends].all(-1)]
    segments = segments.reshape(-1, 2, 2)
    gaps = np.full_like(segments[:, :1], np.nan)
    return np.concatenate((segments, gaps), 1).reshape(-1, 2).T


def spans(flags: Bool[np.ndarray, "t"]) -> list[tuple[int, int]]:
    """First and last frame of every run of True."""
    edges = np.flatnonzero(np.diff(np.pad(flags.astype(np.int8), 1)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2])]


def jpeg(picture: UInt8[np.ndarray, "h w 3"], longest: int | None = None) -> bytes:
    """An RGB picture as the bytes of a JPEG file, scaled down to a longest side of so many px."""
    if longest and (scale := longest / max(picture.shape[:2])) < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


# --- for the browser ------------------------------------------------------------------------------


class Packer:
    """Panels as JSON whose arrays stand, one after the other, in `data`; pictures are numbered by
    `number`.
    """

    def __init__(self, number):
        self.number = number
        self.pieces: list[bytes] = []
        self.places: dict[bytes, int] = {}
        self.length = 0

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def array(self, values: np.ndarray, *, half: bool = False) -> dict:
        piece = np.ascontiguousarray(values, "<f2" if half else "<f4").tobytes()
        piece += bytes(-len(piece) % 4)
        at = self.places.setdefault(piece, self.length)
        if at == self.length:  # what stands there already is not sent again
            self.pieces.append(piece)
            self.length += len(piece)
        return {"at": at, "shape": list(np.shape(values)), "half": half}

    def tabs(self, tabs: Tabs) -> dict:
        return {name: self.plain(rows) for name, rows in tabs.items()}

    def plain(self, part: object) -> object:
        """A panel, or a part of one, as JSON can hold it."""
        if isinstance(part, list | tuple):
            return [self.plain(each) for each in part]
        if isinstance(part, np.generic):
            return part.item()
        if not is_dataclass(part):
            return part
        out = {field.name: getattr(part, field.name) for field in fields(part)}
        out |= getattr(self, f"_{type(part).__name__.lower()}", lambda _: {})(part)
        return {name: self.plain(value) for name, value in out.items()}

    def _picture(self, panel: Picture) -> dict:
        frames = [self.number(frame) for frame in panel.frames]
        return {"whole": panel.whole, "box": panel.bounds, "frames": frames}

    def _lines(self, panel: Lines) -> dict:
        return {
            "x_range": panel.x_range or _range([line.x for line in panel.lines], 0.0),
            "y_range": panel.y_range or _range([line.y for line in panel.lines], 0.06),
        }

    def _line(self, line: Line) -> dict:
        return {"x": self.array(line.x), "y": self.array(line.y), "dash": line.dash or None}

    def _bar(self, bar: Bar) -> dict:
        return {"value": float(bar.value) if np.isfinite(bar.value) else None}

    def _people(self, people: People) -> dict:
        shape = (1,) * (4 - np.ndim(people.xy)) + np.shape(people.xy)
        out = {"says": SAYS, "xy": self.array(np.reshape(people.xy, shape))}
        if people.marks is not None:
            out["marks"] = self.array(np.reshape(people.marks, shape[:3]), half=True)
        return out

    def _heat(self, heat: Heat) -> dict:
        values = np.asarray(heat.values)
        whole = values if values.ndim == 3 else values[None]
        return {"values": self.array(whole, half=True), "affine": np.asarray(heat.affine).tolist()}

    def _arrows(self, arrows: Arrows) -> dict:
        return {"ends": self.array(arrows.ends)}


def _range(values: Sequence[np.ndarray], free: float) -> tuple[float, float]:
    """Ends of an axis that shows all values, and a share of their span that stays free."""
    flat = np.concatenate([np.ravel(each) for each in values] or [np.zeros(0)]).astype(float)
    flat = flat[np.isfinite(flat)]
    low, high = (float(flat.min()), float(flat.max())) if len(flat) else (0.0, 1.0)
    if high == low:
        return low - 1.0, high + 1.0
    pad = free * (high - low)
    return low - pad, high + pad
