"""The base of all explorers: controls, one computation, one picture of it, one sentence.

Who inherits declares `controls`, `compute`, `draw` and `say`, and `attention` where there are maps.
The base observes, supersedes older input, keeps what need not be computed again, stores answers for
pages without a kernel, and says its state as JSON and as code.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import traitlets
from ipywidgets import widget_serialization
from jaxtyping import Float, UInt8

from ..errors import BadParameter, WorkbenchError, unknown
from ..metrics import joint_distances
from ..predict import Predictor
from ..skeletons import Skeleton
from . import style
from .attention import AttentionView, scales
from .live import Live, read_state
from .panels import Bar, Bars, Packer, Tabs, jpeg

IN_SIGHT = 5  # controls; the others stand under "more"
NEEDS = ("nothing", "drawing", "model")
SHOWN_PX = 640  # longest side of a picture in a browser


@dataclass(frozen=True)
class Control:
    """One thing to choose. Its name is its place in the state, a word that the reader sees.

    kind: "choice", "number", "frame" (the scrubber), "switch", "button", or "list": no control but
    what clicks and the brush collect, of `options` where there are any. Numbers are whole where
    `step` is. needs: what a change takes: "nothing" (the browser shows it
    by itself), "drawing" or "model". more: not in sight at once.
    """

    name: str
    kind: str
    value: Any
    options: tuple = ()
    low: float | int = 0
    high: float | int = 1
    step: float | int = 1
    needs: str = "model"
    more: bool = False
    label: str = ""

    def checked(self, value: Any) -> Any:
        """The value as the state holds it; raises where it cannot be chosen."""
        if self.kind == "choice":
            if value not in self.options:
                raise unknown(self.name, str(value), self.options)
        elif self.kind in ("number", "frame"):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            whole = isinstance(self.step, int)
            if not number or not self.low <= value <= self.high or (whole and value % 1):
                kind = "whole number" if whole else "number"
                raise BadParameter(
                    f"{self.name} is {value!r}",
                    remedy=f"give a {kind} from {self.low:g} to {self.high:g}",
                )
            return int(value) if whole else value
        elif self.kind == "switch" and not isinstance(value, bool):
            raise BadParameter(f"{self.name} is {value!r}", remedy="give true or false")
        elif self.kind in ("list", "button") and not isinstance(value, list):
            raise BadParameter(f"{self.name} is {value!r}", remedy="give a list")
        elif self.kind == "list" and self.options:
            known = {json.dumps(option) for option in self.options}
            for item in value:
                if json.dumps(item) not in known:
                    raise unknown(f"item of {self.name}", json.dumps(item), known)
        elif self.name == "brush":
            for stroke in value:
                check_stroke(stroke)
        return value


def check_stroke(stroke: object) -> None:
    """`BadParameter` for what is no stroke of a brush: {"points": [[x, y], ...], "size": px,
    "frames": [first, last]}.
    """
    try:
        first, last = stroke["frames"]
        numbers = [stroke["size"], *(at for x, y in stroke["points"] for at in (x, y))]
        good = type(first) is type(last) is int and all(type(n) in (int, float) for n in numbers)
    except (TypeError, KeyError, ValueError):
        good = False
    if not good:
        raise BadParameter(
            f"a stroke of the brush is {str(stroke)[:80]}",
            remedy='give {"points": [[x, y]], "size": px, "frames": [first, last]}',
        )


def choice(name: str, options: Iterable, value: Any = None, **options_of) -> Control:
    """One of some words; the first where none is named."""
    words = tuple(str(option) for option in options)
    return Control(name, "choice", words[0] if value is None else str(value), words, **options_of)


def number(
    name: str, value: float | int, high: float | int, low: float | int = 0, **options_of
) -> Control:
    """From low to high by `step` (1)."""
    return Control(name, "number", value, low=low, high=high, **options_of)


def scrubber(value: int, last: int, name: str = "frame", needs: str = "nothing") -> Control:
    """Which frame is shown, with a button that plays."""
    return Control(name, "frame", value, high=last, needs=needs)


def switch(name: str, value: bool = False, **options_of) -> Control:
    return Control(name, "switch", value, **options_of)


def collected(name: str, options: Iterable, value: Sequence = ()) -> Control:
    """A list that clicks fill with some of the options."""
    return Control(name, "list", list(value), tuple(options))


def heads_of(taps: Mapping[str, Sequence[str]], heads: int) -> list[tuple[str, int, int]]:
    """Every (maps, layer, head) that can be knocked out. taps: maps -> the taps of their layers."""
    return [
        (maps, layer, head)
        for maps, layers in taps.items()
        for layer, head in np.ndindex(len(layers), heads)
    ]


def far(xy: Float[np.ndarray, "k 2"], other: Float[np.ndarray, "k 2"]) -> np.ndarray:
    """How far each joint of one pose is from where another has it, px."""
    return joint_distances(xy[None], other[None])[0]


def step(before: float, after: float, digits: int = 1, unit: str = "px") -> str:
    """Two errors or distances, and the signed change."""
    return f"{before:.{digits}f} → {after:.{digits}f} {unit} ({after - before:+z.{digits}f})"


class Explorer(Live):
    """See above. name: of the explorer, for files. code: what made it, with "{state}" where its
    state goes: pasted into a fresh kernel it shows the same again; "": only the state is offered.
    notes: lines that stand below, about what is shown.
    state: as `explorer.state`, or as text. Errors: `UnknownName`, `BadParameter` for a state that
    does not fit.
    """

    view = traitlets.Unicode("explorer").tag(sync=True)  # its class in the browser
    name = traitlets.Unicode("explorer").tag(sync=True)
    fps = traitlets.Float(8.0).tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    controls = traitlets.List().tag(sync=True)
    tabs = traitlets.Dict().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    pictures = traitlets.Bytes().tag(sync=True)
    picture_ends = traitlets.List().tag(sync=True)
    skeleton = traitlets.Dict().tag(sync=True)
    scale = traitlets.Dict().tag(sync=True)
    last_frame = traitlets.Int(0).tag(sync=True)
    verdict = traitlets.Unicode().tag(sync=True)
    goal = traitlets.Unicode().tag(sync=True)
    code = traitlets.Unicode().tag(sync=True)
    notes = traitlets.Unicode().tag(sync=True)
    stored = traitlets.List().tag(sync=True)
    attention = traitlets.Instance(AttentionView, allow_none=True).tag(
        sync=True, **widget_serialization
    )

    def __init__(
        self,
        skeleton: Skeleton,
        *,
        name: str,
        state: Mapping | str | None = None,
        code: str = "",
        theme: str = "",
        last_frame: int = 0,
        fps: float = 8.0,
    ):
        self.kin = skeleton
        self.declared = {control.name: control for control in self.declare()}
        sight = [c for c in self.declared.values() if not c.more and c.kind != "list"]
        room = IN_SIGHT - 2 * self.has_attention  # its own two stand beside them
        if len(sight) > room:
            raise BadParameter(f"{len(sight)} controls in sight", remedy=f"leave {room}")
        self._found = None
        self._seen = None
        self._refused: WorkbenchError | None = None  # the last state
        self.forget_pictures()
        super().__init__(
            theme=theme,
            name=name,
            code=code,
            fps=fps,
            last_frame=last_frame,
            skeleton={"joints": list(skeleton.joints), "edges": [list(e) for e in skeleton.edges]},
            scale=scales() | {"sequential": style.sequential()},
            controls=self._declarations(),
            state={"tab": "", **{name: c.value for name, c in self.declared.items()}},
        )
        for control in self.declared.values():
            control.checked(control.value)
        looks = None
        if state is not None:
            self.state, looks = self._checked(state)
        self.recompute()
        self.observe(lambda _: self._changed(), "state")
        if looks:
            self.attention.restore(looks)

    # --- declared by who inherits -----------------------------------------------------------------

    has_attention = False
    judge = staticmethod(lambda state, found: "")  # see `set_goal`
    stores_attention = True  # False: too large for a page to hold it with every stored answer

    def declare(self) -> Sequence[Control]:
        """The controls, in their order."""
        raise NotImplementedError

    def compute(self, state: Mapping) -> Any:
        """Everything that takes a model, as arrays."""
        raise NotImplementedError

    def draw(self, state: Mapping, found: Any) -> Tabs:
        """Panels by tab and row, from what was computed alone."""
        raise NotImplementedError

    def say(self, state: Mapping, found: Any) -> str:
        """One sentence with a signed change: what the reader's choice did."""
        raise NotImplementedError

    def look(self, state: Mapping, found: Any) -> dict | None:
        """Arguments of `AttentionView`: maps, axes, other, skeleton, xy, ..."""
        return getattr(found, "looks", None)

    def set_goal(self, judge: Callable[[Mapping, Any], str]) -> None:
        """An exercise done here: its line below the sentence says how far the reader is, made of
        the state and what was computed, with every answer anew and in a page's stored ones.
        """
        self.judge = judge
        if self._seen is not None:
            self.goal = judge(self._seen, self._found)

    def asks(self) -> Iterable[Mapping]:
        """Changes of the state that a page without a kernel can answer, one at a time."""
        return ()

    def questions(self) -> Iterable[Mapping]:
        """The state and what `asks` makes of it, all other controls named: no stored answer is
        shown beside another state.
        """
        here = {name: self.state[name] for name, c in self.declared.items() if c.needs != "nothing"}
        changes = [change for change in self.asks() if not change.items() <= here.items()]
        if changes:
            yield here
        yield from (here | change for change in changes)

    # --- for those who inherit --------------------------------------------------------------------

    def each(self, *names: str) -> Iterable[Mapping]:
        """Every option of these controls, one after the other."""
        return ({name: option} for name in names for option in self.declared[name].options)

    def bars(
        self,
        title: str,
        unit: str,
        values: Iterable,
        roles: Iterable[str] = repeat("ours"),
        marks: Iterable[str] = repeat(""),
        **look,
    ) -> Bars:
        """A bar for every joint; look: as of `Bars`."""
        bars = map(Bar, self.kin.joints, map(float, values), roles, marks)
        return Bars(title, unit, list(bars), **look)

    # --- state ------------------------------------------------------------------------------------

    def _declarations(self) -> list[dict]:
        return [
            vars(control) | {"options": list(control.options), "label": control.label or name}
            for name, control in self.declared.items()
            if control.kind != "list"
        ]

    def redeclare(self, **changes: Control) -> None:
        """Other limits of a control (say, of frames with another clip), within `compute`."""
        self.declared |= changes
        self.controls = self._declarations()

    def _checked(self, state: Mapping | str) -> tuple[dict, dict | None]:
        """A state that can be shown, the present one where nothing is said, and the attention
        view's, if anything is said about it.
        """
        given = read_state(state)
        looks = given.pop("attention", None) if self.has_attention else None
        for name in given:
            if name not in self.state:
                raise unknown("part of a state", name, self.state)
        for name, control in self.declared.items():
            if name in given:
                given[name] = control.checked(given[name])
        if not isinstance(given.get("tab", ""), str):
            raise BadParameter(f"tab is {given['tab']!r}", remedy="give its name")
        if not isinstance(looks or {}, dict):
            raise BadParameter(f"attention is {looks!r}", remedy="give its parts by name")
        if looks and self.attention is not None:
            self.attention.checked(looks)
        return self.state | given, looks

    def restore(self, state: Mapping | str) -> None:
        """Takes a state over; what it does not name stays. Of a state that is refused nothing is
        taken over.
        """
        before, refused = self.state, self._refused
        self.state, looks = self._checked(state)
        error = self._refused
        if error is not None and error is not refused:
            self.state = before
            raise error
        if looks:
            self.attention.restore(looks)

    def permalink(self) -> str:
        """The whole state as JSON, the attention view's included."""
        own = {"attention": self.attention.state} if self.attention is not None else {}
        return json.dumps({**self.state, **own})

    def choose(self, **changes) -> None:
        """Changes some controls, as the reader would."""
        self.restore(changes)

    def _changed(self) -> None:
        if self._needed() == "nothing" and self._refused is None:
            return
        self.soon()

    def _needed(self) -> str:
        """What the state needs beyond what is shown."""
        changed = [
            control.needs
            for name, control in self.declared.items()
            if self._seen is None or self.state.get(name) != self._seen.get(name)
        ]
        return max(changed, key=NEEDS.index, default="nothing")

    def recompute(self) -> None:
        """Computes what the state needs, and shows it in one message. An error is shown in the line
        above the panels; those that are no named error are raised, too.
        """
        asked = self.asked
        needed = self._needed()
        if needed == "nothing" and self._seen is not None:  # answered already
            if self._refused is not None:  # the state in between
                self._refused = None
                self.verdict = self.say(self._seen, self._found)
            self.answered = asked
            return
        state = dict(self.state)
        try:
            if needed == "model" or self._found is None:
                self._found = self.compute(state)
            answer = self._answer(state, self._found)
            self._seen, self._refused = state, None
        except WorkbenchError as error:
            if self._seen is None:
                raise
            self._refused = error
            answer = {"verdict": str(error)}
        with self.hold_sync():
            for name, value in answer.items():
                setattr(self, name, value)
            self.answered = asked

    def _answer(self, state: Mapping, found: Any) -> dict:
        """Traits that show an answer."""
        packer = Packer(self._number)
        tabs = packer.tabs(self.draw(state, found))
        looks = self.look(state, found)
        if looks is not None:
            self._show_attention(looks)
        ends = np.cumsum([len(piece) for piece in self._jpegs]).tolist()
        return {
            "tabs": tabs,
            "data": packer.data,
            "pictures": b"".join(self._jpegs),
            "picture_ends": ends,
            "verdict": self.say(state, found),
            "goal": self.judge(state, found),
        }

    def _number(self, frame: UInt8[np.ndarray, "h w 3"]) -> int:
        """A picture's number among those in the browser; the same array is sent once."""
        known = self._frames.get(id(frame))
        if known is None or known[0] is not frame:
            known = frame, len(self._jpegs)
            self._frames[id(frame)] = known
            self._jpegs.append(jpeg(np.asarray(frame), SHOWN_PX))
        return known[1]

    def forget_pictures(self) -> None:
        """Drops the pictures of a clip or person that is no longer shown; call in `compute`."""
        self._frames: dict[int, tuple[np.ndarray, int]] = {}
        self._jpegs: list[bytes] = []

    def figure(self, tab: str = ""):
        """A tab as it is now, by default the chosen one, as matplotlib's figure for `paper.save`;
        `UnknownName` for one that is not there.
        """
        from . import paper  # matplotlib takes its time, and few need it

        tabs = self.draw(self._seen, self._found)
        names = [*tabs, *(["attention"] if self.attention is not None else [])]
        if tab and tab not in names:
            raise unknown("tab", tab, names)
        chosen = next((name for name in (tab, self.state["tab"]) if name in names), names[0])
        if chosen not in tabs:
            return self.attention.figure()
        theme = self.theme or "light"
        return paper.panels_figure({chosen: tabs[chosen]}, self.kin, state=self.state, theme=theme)

    # --- attention --------------------------------------------------------------------------------

    def _show_attention(self, looks: Mapping) -> None:
        looks = dict(looks)
        if self.attention is not None:
            self.attention.replace(**looks)
            return
        on_change = None
        if "knocked out" in self.declared or "hidden" in self.declared:
            on_change = self._from_attention
        out = {name: looks.pop(name) for name in ("hidden", "knocked_out") if name in looks}
        self.attention = AttentionView(**looks, on_change=on_change, state=out, brief=True)

    def from_attention(self, looks: Mapping, found: Any) -> dict:
        """Changes of the state for what was hidden or knocked out in the maps. They show who is
        hidden, the state holds whom a click has turned over.
        """
        changes = {"knocked out": looks["knocked_out"]}
        if "hidden" in self.declared:
            turned = set(found.looks["hidden"]) ^ set(looks["hidden"])
            changes["hidden"] = sorted(set(self.state["hidden"]) ^ turned)
        return changes

    def _from_attention(self, looks: Mapping) -> None:
        self.set_trait("state", self._checked(self.from_attention(looks, self._found))[0])
        self.recompute()

    # --- without a kernel -------------------------------------------------------------------------

    def kept(self) -> dict:
        """With the answers to `questions`, and the attention view's own."""
        before = b"" if self.attention is None else self.attention.data
        stored = [self._stored(change, before) for change in self.questions()]
        self.recompute_at(self.state)
        own = base64.b64encode(self.pictures).decode()
        if all(answer["pictures"] == own for answer in stored):  # which the page has
            for answer in stored:
                del answer["pictures"], answer["picture_ends"]
        out = super().kept()
        out["values"]["stored"] = stored
        if self.attention is not None:
            out["attention"] = self.attention.kept()
        return out

    def recompute_at(self, state: Mapping) -> dict:
        """The answer to a state, shown nowhere but in the attention view."""
        self._found = self.compute(state)
        return self._answer(state, self._found)

    def _stored(self, change: Mapping, before: bytes) -> dict:
        answer = self.recompute_at({**self.state, **change})
        out = {"state": dict(change)}
        out |= {name: answer[name] for name in ("tabs", "verdict", "goal")}
        out["data"] = base64.b64encode(answer["data"]).decode()
        out["picture_ends"] = answer["picture_ends"]
        out["pictures"] = base64.b64encode(answer["pictures"]).decode()
        if self.attention is not None and not self.stores_attention:
            words = "" if self.attention.data == before else ", before this change"
            out["attention"] = {"names": [f"{name}{words}" for name in self.attention.names]}
        elif self.attention is not None:
            names = ("names", "data", "other_data", "body", "hidden", "knocked_out")
            kept = self.attention.kept()
            flat = kept["values"] | kept["bytes"]
            out["attention"] = {name: flat[name] for name in names}
        return out


class Compared(Explorer):
    """Explores a predictor beside another one of its kind.

    own: the predictor; count: how many people, poses or clips there are to be shown. rival: the
    other predictor, by default with random weights; names: of both;
    beside: name -> further ones. labelled: False where labels are only somebody's detections: no
    truth is drawn, and no error is said. index, joint: what is shown first. seed: of random
    weights, and of what is chosen at random. Errors: `BadParameter` for nobody, and for an index
    beyond them.
    """

    def __init__(
        self,
        own: Predictor,
        count: int,
        *,
        rival: Predictor | None = None,
        names: tuple[str, str] = ("trained", "random"),
        beside: Mapping[str, Predictor] | None = None,
        labelled: bool = True,
        index: int = 0,
        joint: str = "left_wrist",
        seed: int = 0,
        **options,
    ):
        if not count:
            raise BadParameter("nobody to show", remedy="give at least one person")
        number("index", index, count - 1).checked(index)
        self.own = own
        self.names = names
        rival = rival or own.random_control(seed)
        self.models = {names[0]: own, **(beside or {}), names[1]: rival}
        self.labelled = labelled
        self.first = index
        self.first_joint = joint
        self.seed = seed
        self.check()
        super().__init__(own.skeleton, **options)

    def check(self) -> None:
        """Raises where these models cannot be explored."""

    def joints(self, **options) -> Control:
        """Whose joint is shown."""
        known = self.first_joint in self.kin.joints
        return choice("joint", self.kin.joints, self.first_joint if known else None, **options)


def opacity(value: float) -> Control:
    """Of maps over pictures."""
    return number("opacity", value, 1.0, step=0.05, needs="nothing", more=True)
