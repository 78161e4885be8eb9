"""All attention maps of one forward pass in one picture that answers to the pointer by itself.

The same module draws it in JupyterLab and in a page without a kernel. What needs the model (hiding
a joint, knocking out a head) goes through `on_change`.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import traitlets
from jaxtyping import Bool, Float, Num, UInt8

from .. import geometry
from ..errors import BadParameter, unknown
from ..skeletons import Skeleton
from ..taps import Recording
from . import style
from .live import Live, read_state
from .panels import around, jpeg

OPTIONS = {
    "show": ("main", "other", "difference", "ratio"),
    "order": ("model", "entropy", "bones", "change"),
    "fold": ("none", "joint", "flow"),
    "direction": ("in", "out"),
}
MANY = 64  # tokens, of which a printed map has its row alone
Maps = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Axis:
    """What the tokens along one side of a map are.

    kind: "joint", "frame", "joint x flow", "heatmap token", "image token", "token", or whatever the
    model has. grid: rows and columns, where tokens lie on a picture; ahead: tokens before those,
    such as a class token, which have no place there. joints, flows: of an axis that folds to
    either; its labels go through all flows of a joint, then on to the next joint.
    """

    kind: str
    labels: tuple[str, ...]
    grid: tuple[int, int] | None = None
    joints: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()
    ahead: int = 0

    @classmethod
    def of_joints(cls, skeleton: Skeleton) -> Axis:
        return cls("joint", skeleton.joints)

    @classmethod
    def of_channels(cls, skeleton: Skeleton, flows: Sequence[str]) -> Axis:
        """OTPose's tokens: each joint's heatmaps, one for each kind of flow or mask."""
        labels = tuple(f"{joint} · {flow}" for joint in skeleton.joints for flow in flows)
        return cls("joint x flow", labels, None, skeleton.joints, tuple(flows))

    @classmethod
    def of_grid(cls, kind: str, rows: int, columns: int, ahead: int = 0) -> Axis:
        """Tokens that lie on a picture, row by row."""
        before = (f"extra {i}" for i in range(ahead))
        places = (f"y{y} x{x}" for y in range(rows) for x in range(columns))
        return cls(kind, (*before, *places), (rows, columns), ahead=ahead)

    @classmethod
    def numbered(cls, kind: str, count: int) -> Axis:
        return cls(kind, tuple(str(i) for i in range(count)))


@dataclass(frozen=True)
class Answer:
    """What `on_change` gives back: maps, those to compare with where they change as well, and a
    sentence (say, what the change costs in px).
    """

    maps: Maps
    other: Maps | None = None
    sentence: str = ""


def scales() -> dict:
    """The scales of `style`, as the module wants them."""
    return {
        "log2": style.LOG2_RANGE,
        "difference": style.DIFFERENCE_RANGE,
        "ticks": style.attention_ticks(),
        "difference_ticks": style.attention_ticks(difference=True),
        **{theme: [style.rgb(stop) for stop in stops] for theme, stops in style.DIVERGING.items()},
    }


def packed(maps: Maps, allowed: Mapping[str, Bool[np.ndarray, "*a"]] | None = None) -> bytes:
    """Maps as multiples of uniform, half precision, one after the other. The relative error is at
    most 2^-11, and 2^-25 absolute below 6e-5.
    """
    pieces = []
    for name, weights in maps.items():
        mask = None if allowed is None else allowed.get(name)
        times = style.times_uniform(style.by_layer(name, weights), allowed=mask)
        pieces.append(times.astype("<f2").tobytes())
    return b"".join(pieces)


class AttentionView(Live):
    """Layers x heads of attention as thumbnails on one scale, one enlarged, and beside it the body,
    frames or picture that it is about. Point at a row or a joint to see who looks at whom.

    maps: name -> attention weights of one sample, [layer head query key] or [head query key].
    axes: what queries and keys are: a pair for all maps, or name -> pair. other: the same maps of
    another model (random weights, another checkpoint), `names` says what the two are.
    allowed: name -> keys that masks let through, where there are such masks; it broadcasts.
    skeleton, xy: bones, and joints in px of any space, [joint 2]; picture: RGB, what joints, then
    in its px (see `on_picture`), or a grid of tokens lie on. on_change: state -> new maps (or an
    `Answer`; None: shown already), called when a head was knocked out or a joint was hidden; what
    comes while it waits supersedes what came before. state: as `view.state` gave it. theme:
    "light", "dark", or "" to follow JupyterLab or the reader. brief: within an explorer, fewer
    controls are in sight.
    looks: as of `replace`.
    Errors: `BadParameter` for maps and axes that do not fit, `UnknownName` for a bad state.
    """

    data = traitlets.Bytes().tag(sync=True)
    other_data = traitlets.Bytes().tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)
    maps = traitlets.List().tag(sync=True)
    names = traitlets.List().tag(sync=True)
    body = traitlets.Dict().tag(sync=True)
    scale = traitlets.Dict().tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)
    knocked_out = traitlets.List().tag(sync=True)
    hidden = traitlets.List(traitlets.Int()).tag(sync=True)
    verdict = traitlets.Unicode().tag(sync=True)
    answers = traitlets.Bool(False).tag(sync=True)
    brief = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        maps: Maps,
        axes: tuple[Axis, Axis] | Mapping[str, tuple[Axis, Axis]],
        *,
        names: tuple[str, str] = ("trained", "random"),
        on_change: Callable[[dict], Maps | Answer] | None = None,
        state: Mapping | str | None = None,
        verdict: str = "",
        theme: str = "",
        brief: bool = False,
        **looks,
    ):
        if not maps:
            raise BadParameter("no maps", remedy="give at least one, as name -> array")
        self._on_change = None
        answers = on_change is not None
        super().__init__(scale=scales(), verdict=verdict, theme=theme, brief=brief, answers=answers)
        with self.hold_sync():
            self.replace(maps, axes, names=names, **looks)
            self.choice = {
                "head": [self.maps[0]["name"], 0, 0],
                "show": "main",
                "order": "model",
                "fold": "none",
                "direction": "out",
                "focus": 0,
            }
            self.restore(state or {})
        self._on_change = on_change
        self.observe(self._changed, ["knocked_out", "hidden"])

    # --- state ------------------------------------------------------------------------------------

    @property
    def state(self) -> dict:
        """What is chosen, as JSON can hold it: head, what is shown, order, fold, direction, row,
        and who is out. `AttentionView(..., state=view.state)` shows the same again.
        """
        return json.loads(
            json.dumps({**self.choice, "knocked_out": self.knocked_out, "hidden": self.hidden})
        )

    def checked(self, state: Mapping | str) -> dict:
        """A state that can be shown, the present one where nothing is said."""
        known, given = self.state, read_state(state)
        for name in given:
            if name not in known:
                raise unknown("part of a state", name, known)
        new = known | given
        for part, allowed in OPTIONS.items():
            if new[part] not in allowed:
                raise unknown(part, str(new[part]), allowed)
        if type(new["focus"]) is not int or new["focus"] < 0:
            raise BadParameter(f"no row {new['focus']!r}", remedy="give a number from 0")
        for name in ("knocked_out", "hidden"):
            if not isinstance(new[name], list):
                raise BadParameter(f"{name} is {new[name]!r}", remedy="give a list")
        heads = [[m["name"], *at] for m in self.maps for at in np.ndindex(*m["shape"][:2])]
        known = {json.dumps(head) for head in heads}
        for head in [new["head"], *new["knocked_out"]]:
            if json.dumps(head) not in known:
                remedy = "give [name of the maps, layer, head], both from 0"
                raise BadParameter(f"no head {head!r}", remedy=remedy)
        tokens = max(max(one["shape"][2:]) for one in self.maps)
        for token in new["hidden"]:
            if type(token) is not int or not 0 <= token < tokens:
                raise BadParameter(f"no token {token!r}", remedy=f"give 0 to {tokens - 1}")
        return new

    def restore(self, state: Mapping | str) -> None:
        """Takes a state over; what it does not name stays."""
        new = self.checked(state)
        with self.hold_sync():
            self.knocked_out = new.pop("knocked_out")
            self.hidden = new.pop("hidden")
            self.choice = new

    # --- answers ----------------------------------------------------------------------------------

    def show_maps(self, maps: Maps, other: Maps | None = None) -> None:
        """Puts other weights in place of the present ones, of the same shapes, in one message."""
        data = self._checked(maps, self.maps)
        with self.hold_sync():
            self.data = data
            if other is not None:
                self.other_data = self._checked(other, self.maps)

    def replace(
        self,
        maps: Maps,
        axes: tuple[Axis, Axis] | Mapping[str, tuple[Axis, Axis]],
        *,
        other: Maps | None = None,
        names: tuple[str, str] | None = None,
        allowed: Mapping[str, Bool[np.ndarray, "*a"]] | None = None,
        skeleton: Skeleton | None = None,
        xy: Num[np.ndarray, "k 2"] | None = None,
        picture: UInt8[np.ndarray, "h w 3"] | None = None,
        hidden: Sequence[int] | None = None,
        knocked_out: Sequence[Sequence] | None = None,
    ) -> None:
        """Shows another pass, perhaps of another person or of other maps, in one message. Nobody
        is asked for an answer.
        """
        self._allowed = allowed
        self._drawn = skeleton, picture
        layout = _layout(maps, axes)
        on_change, self._on_change = self._on_change, None
        with self.hold_sync():
            self.maps = layout
            self.data = packed(maps, allowed)
            self.other_data = b"" if other is None else self._checked(other, layout)
            self.body = _body(skeleton, xy)
            self.picture = b"" if picture is None else jpeg(picture)
            self.names = list(names or self.names)
            self.hidden = list(self.hidden if hidden is None else hidden)
            self.knocked_out = list(self.knocked_out if knocked_out is None else knocked_out)
        self._on_change = on_change

    # --- figures ----------------------------------------------------------------------------------

    def figure(self):
        """The chosen head now, beside the body that it is about, or among those of its layer, as
        matplotlib's figure, for `paper.save`.
        """
        from . import paper  # matplotlib takes its time, and few need it

        name, layer, head = self.choice["head"]
        show = self.choice["show"] if self.other_data else "main"
        first, second = self.names
        words = {"main": first, "other": second, "difference": f"{first} − {second}"}
        words["ratio"] = f"{first} : {second}"
        own = self.other_data if show == "other" else self.data
        weights, allowed, labels = self._weights(own, name)
        options = {"allowed": allowed, "about": f"{name}, {words[show]}"}
        if show in ("difference", "ratio"):
            options |= {"other": self._weights(self.other_data, name)[0], "show": show}
        heads = [(layer, i) for i in range(weights.shape[1])]
        if max(weights.shape[2:]) > MANY:
            heads = [(layer, head)]
        if self.body["xy"] and labels == (self.body["joints"],) * 2:
            heads = [(layer, head)]
            skeleton, picture = self._drawn
            focus = min(self.choice["focus"] or 0, len(skeleton) - 1)
            options |= {"focus": focus, "inward": self.choice["direction"] == "in"}
            options |= {"skeleton": skeleton, "xy": np.array(self.body["xy"]), "picture": picture}
        titles = [f"{'▸ ' * (i == head)}L{layer + 1} H{i + 1}" for _, i in heads]
        labels = tuple([f"{n[:19]}…" if len(n) > 20 else n for n in side] for side in labels)
        theme = self.theme or "light"
        return paper.attention_figure(
            weights, labels, heads=heads, names=titles, theme=theme, **options
        )

    def _weights(self, data: bytes, name: str) -> tuple[np.ndarray, np.ndarray, tuple]:
        """Maps of a name as they are shown: weights, which keys masks let through, and names of
        queries and keys.
        """
        index = [one["name"] for one in self.maps].index(name)
        sizes = [int(np.prod(one["shape"])) for one in self.maps]
        one = self.maps[index]
        times = np.frombuffer(data, "<f2", sizes[index], 2 * sum(sizes[:index]))
        times = times.reshape(one["shape"]).astype(np.float32)
        times, query = _folded(times, 2, one["query"], self.choice["fold"])
        times, key = _folded(times, 3, one["key"], self.choice["fold"])
        allowed = ~np.isnan(times)
        weights = np.where(allowed, times, 0) / np.maximum(allowed.sum(-1, keepdims=True), 1)
        return weights, allowed, (query, key)

    def _checked(self, maps: Maps, layout: list[dict]) -> bytes:
        shapes = {name: list(style.by_layer(name, weights).shape) for name, weights in maps.items()}
        expected = {one["name"]: list(one["shape"]) for one in layout}
        if list(shapes.items()) != list(expected.items()):
            raise BadParameter(
                f"maps {shapes}, expected {expected}",
                remedy="give the same maps of the same model, in the same order",
            )
        return packed(maps, self._allowed)

    def _changed(self, _change) -> None:
        if self._on_change is not None:
            self.soon()

    def recompute(self) -> None:
        """Calls `on_change` with the present state and shows what it gives. An error is shown in
        the line above the maps, and raised.
        """
        asked = self.asked
        sentence = ""
        try:
            answer = self._on_change(self.state)
            if not isinstance(answer, Answer | None):
                answer = Answer(answer)
            if answer is not None:
                self.show_maps(answer.maps, answer.other)
                sentence = answer.sentence
        except Exception as error:
            sentence = str(error) or type(error).__name__
            raise
        finally:
            with self.hold_sync():
                self.verdict = sentence
                self.answered = asked


def _folded(times: np.ndarray, axis: int, side: Mapping, how: str) -> tuple[np.ndarray, list[str]]:
    """Means over the flows of a joint, or over all joints' tokens of a flow, and their names; as
    maps.js folds.
    """
    if how == "none" or not side["flows"]:
        return times, list(side["labels"])
    split = (len(side["joints"]), len(side["flows"]))
    times = times.reshape(*times.shape[:axis], *split, *times.shape[axis + 1 :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a group that masks forbid stays NaN
        folded = np.nanmean(times, axis + (how == "joint"))
    return folded, list(side["joints" if how == "joint" else "flows"])


def _layout(maps: Maps, axes: tuple | Mapping) -> list[dict]:
    """Name, shape and axes of every map; raises where labels and shapes disagree."""
    layout = []
    for name, weights in maps.items():
        shape = style.by_layer(name, weights).shape
        if isinstance(axes, Mapping) and name not in axes:
            raise unknown("maps with axes", name, axes)
        query, key = axes[name] if isinstance(axes, Mapping) else axes
        for axis, count in ((query, shape[2]), (key, shape[3])):
            if len(axis.labels) != count:
                raise BadParameter(f"{name!r} has {count} tokens for {len(axis.labels)} labels")
            if axis.grid and axis.grid[0] * axis.grid[1] + axis.ahead != count:
                raise BadParameter(f"{name!r} has {count} tokens for a grid of {axis.grid}")
        layout.append(
            {"name": name, "shape": list(shape), "query": asdict(query), "key": asdict(key)}
        )
    # lists for tuples, as they come back from a browser
    return json.loads(json.dumps(layout))


def _body(skeleton: Skeleton | None, xy: np.ndarray | None) -> dict:
    if skeleton is None:
        return {"joints": [], "edges": [], "xy": []}
    if xy is not None and (len(xy) != len(skeleton) or not np.isfinite(xy).all()):
        raise BadParameter(
            f"{len(xy)} places for the {len(skeleton)} joints of {skeleton.name}",
            remedy="give a finite place for every joint",
        )
    return {
        "joints": list(skeleton.joints),
        "edges": [list(edge) for edge in skeleton.edges],
        "xy": [] if xy is None else np.round(xy, 2).tolist(),
    }


# --- from recordings ------------------------------------------------------------------------------


def _title(pattern: str) -> str:
    """ "encoder.*.attention.map" -> "encoder attention"."""
    words = [word for word in pattern.split(".") if word not in ("*", "map")]
    once = [word for word, before in zip(words, [None, *words]) if word != before]
    return " ".join(once).replace("_", " ")


def recorded_maps(
    recording: Recording, *, sample: int = 0
) -> dict[str, tuple[np.ndarray, tuple[str, str]]]:
    """Attention maps of one sample: name -> weights [layer head query key] and names of the last
    two axes.

    Every tap with the axes "b head <query> <key>" counts. Taps whose names differ by a number
    alone, and which have one shape, are the layers of one stack.
    """
    stacks = {}
    for name in recording:
        axes = recording.axes[name]
        if len(axes) != 4 or axes[0][0] != "b" or axes[1] != "head":
            continue
        weights = recording[name][sample].float().cpu().numpy()
        stack = (re.sub(r"\b\d+\b", "*", name), weights.shape, axes[2:])
        stacks.setdefault(stack, []).append(weights)
    if not stacks:
        raise BadParameter(
            f"no attention among {', '.join(recording) or 'no taps'}",
            remedy='record taps whose axes are "b head <query> <key>"',
        )
    found = {}
    for (pattern, _, axes), layers in stacks.items():
        title = _title(pattern)
        while title in found:
            title += "'"
        found[title] = (np.stack(layers), axes)
    return found


def on_picture(
    picture: UInt8[np.ndarray, "h w 3"], xy: Num[np.ndarray, "k 2"], longest: int = 480
) -> tuple[UInt8[np.ndarray, "a b 3"], Float[np.ndarray, "k 2"]]:
    """The part of a picture about joints (px), at most so many px long, and their places in it."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = around(xy)
    x0, x1 = (int(np.clip(x, 0, width - 1)) for x in (x0, x1))
    y0, y1 = (int(np.clip(y, 0, height - 1)) for y in (y0, y1))
    part = picture[y0 : y1 + 1, x0 : x1 + 1]
    zoom = min(longest / max(part.shape[:2]), 4.0)
    size = (max(round(part.shape[1] * zoom), 1), max(round(part.shape[0] * zoom), 1))
    box = np.array([x0 - 0.5, y0 - 0.5, x1 + 0.5, y1 + 0.5])
    moved = geometry.apply(geometry.frame_to_crop(box, size), np.asarray(xy, float))
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA), moved


def attention_arguments(
    recording: Recording,
    skeleton: Skeleton | None = None,
    *,
    sample: int = 0,
    other: Recording | None = None,
    axes: Mapping[str, Axis] | None = None,
    **options,
) -> dict:
    """Arguments of `AttentionView` for what `predictor.look` recorded.

    other: the same of another model, such as `predictor.random_control()`. axes: tap's name for an
    axis -> what its tokens are, where "joint" and numbers do not say it. options: of the view.
    """
    known = {} if skeleton is None else {"joint": Axis.of_joints(skeleton)}
    known |= axes or {}
    maps, pairs = {}, {}
    for name, (weights, ends) in recorded_maps(recording, sample=sample).items():
        maps[name] = weights
        pairs[name] = tuple(
            known.get(end) or Axis.numbered(end.replace("_", " "), count)
            for end, count in zip(ends, weights.shape[-2:])
        )
    if other is not None:
        options["other"] = {
            name: weights for name, (weights, _) in recorded_maps(other, sample=sample).items()
        }
    return {"maps": maps, "axes": pairs, "skeleton": skeleton, **options}


def attention_of(
    recording: Recording, skeleton: Skeleton | None = None, **options
) -> AttentionView:
    """The view of what `predictor.look` recorded; options: of `attention_arguments`."""
    return AttentionView(**attention_arguments(recording, skeleton, **options))
