"""HANet over time: what one window becomes inside the model, and the widget that moves through
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int
from plotly.basedatatypes import BaseFigure
from plotly.subplots import make_subplots
from torch import Tensor

from ..made.motion import JOINTS, Sequence2D, detect
from ..metrics import joint_distances
from ..models.hanet import HANetConfig, acceleration, neighbours, velocity
from ..predict import SequenceRefiner
from ..taps import uniform
from . import figures
from .explorers import show_live

TAPS = ("refined", "offset_taps.*", "*attention.map")


@dataclass(frozen=True, eq=False)
class Inside:
    """One window of T frames, of which n are read, on its way through HANet; px."""

    read: Int[np.ndarray, "n"]  # numbers of the read frames
    refined: Float[np.ndarray, "n k d"]  # P' of Eq. 6
    # what each encoder level adds to the input, as averaged in Eq. 6
    offsets: Float[np.ndarray, "l n k d"]
    final: Float[np.ndarray, "t k d"]  # P_s of Eq. 8
    attention: dict[str, Float[np.ndarray, "h q m"]]  # tap -> by head, row asks, column answers


def look_inside(
    refiner: SequenceRefiner,
    detected: Float[np.ndarray, "t k d"],
    *,
    edit: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> Inside:
    """Refines at most one window and keeps what the taps said. edit: as in `taps.record`."""
    model, t = refiner.model, len(detected)
    final, taps = refiner.look(detected, names=TAPS, edit=edit)
    centre, size = (part[0, 0] for part in refiner.frame(detected[None]))
    rows, n = (
        len(range(0, refiner.window, model.config.interval)),
        len(range(0, t, model.config.interval)),
    )

    def px(x: Tensor) -> np.ndarray:
        return x[0, :n].reshape(n, *detected.shape[1:]).double().cpu().numpy() * size

    parts = [taps[name] for name in taps if name.startswith("offset_taps")]
    # released: one linear map for all levels; its bias belongs to none
    if model.to_pose is not None:
        parts = [part @ model.to_pose.weight.detach().T for part in parts]
    share = model.config.levels if model.config.hierarchical else 1
    kept = {rows: n, refiner.window: t}
    maps = {
        name: taps[name][0].double().cpu().numpy()
        for name in taps
        if name.endswith("attention.map")
    }
    return Inside(
        np.arange(n) * model.config.interval,
        px(taps["refined"]) + centre,
        np.stack([px(part) for part in parts]) / share,
        final,
        {name: m[:, : kept[m.shape[1]], : kept[m.shape[2]]] for name, m in maps.items()},
    )


def motion(
    xy: Float[np.ndarray, "t k d"],
) -> tuple[Float[np.ndarray, "t k d"], Float[np.ndarray, "t k d"]]:
    """Velocity (units a frame) and acceleration (a frame squared) of every frame, as HANet Eq. 2
    takes them.
    """
    x = torch.from_numpy(np.ascontiguousarray(xy, np.float64)).flatten(1)[None]
    previous, following = neighbours(x)
    v = velocity(x, previous)
    both = v, acceleration(velocity(following, x), v)
    return tuple(part[0].numpy().reshape(xy.shape) for part in both)


def errors_over_time(
    xy: Float[np.ndarray, "t k d"], truth: Float[np.ndarray, "t k d"]
) -> tuple[Float[np.ndarray, "t"], Float[np.ndarray, "t"]]:
    """Of every frame: mean joint error, and mean error of the acceleration (the mean of frames 1
    to t - 2 is Accel).
    """
    return joint_distances(xy, truth).mean(-1), joint_distances(
        motion(xy)[1], motion(truth)[1]
    ).mean(-1)


def what_if(
    tried: Mapping[str, tuple[SequenceRefiner, Mapping[str, Callable[[Tensor], Tensor]] | None]],
    sequences: Sequence[Sequence2D],
) -> list[dict]:
    """Errors over the first window of each sequence, a row for each (refiner, edit); the first
    row is what others move from.
    """
    t, rows, start = next(iter(tried.values()))[0].window, [], None
    windows = [(s.detected[:t], s.xy_frame[:t], s.hidden[:t]) for s in sequences]
    for name, (refiner, edit) in tried.items():
        answers = [refiner.look(part, names=(), edit=edit)[0] for part, *_ in windows]
        start = start or answers
        away = [joint_distances(xy, truth) for xy, (_, truth, _) in zip(answers, windows)]
        moved = [joint_distances(xy, before).mean() for xy, before in zip(answers, start)]
        inside = np.concatenate([d[hidden] for d, (*_, hidden) in zip(away, windows)])
        accel = [
            errors_over_time(xy, truth)[1][1:-1].mean()
            for xy, (_, truth, _) in zip(answers, windows)
        ]
        values = {
            "answer moves, px": moved,
            "error, px": [d.mean() for d in away],
            "error in bursts, px": inside,
        }
        values["Accel, px/frame²"] = accel
        rows.append({"what": name} | {key: float(np.mean(value)) for key, value in values.items()})
    return rows


def attention_name(tap: str) -> str:
    """ "encoder level 1" of "levels.0.attention.attention.map"."""
    part, number, which = tap.split(".")[:3]
    of = {"attention": "", "self_attention": ", frames", "cross_attention": ", read motion"}[which]
    return f"{'encoder level' if part == 'levels' else 'decoder layer'} {int(number) + 1}{of}"


def offset_names(n: int, config: HANetConfig) -> list[str]:
    """Of n offsets of Eq. 6: Z_0's, where the paper takes it, and every level's."""
    return [
        f"level {i + (n == config.levels)}" if i or n == config.levels else "Z<sub>0</sub>"
        for i in range(n)
    ]


NOTHING, ONE, LIMB, ALL = "nothing", "this joint", "it and its neighbours", "all joints"
LOST, HELD = "a hidden joint's guess", "no move"


class TrajectoryExplorer:
    """One window of a sequence over time: move through it, look inside, and hide joints by dragging
    over a plot.

    Left, over the frames: the chosen coordinate as detected, refined by the encoder and final, its
    velocity and acceleration, what each encoder level adds, and the errors of all joints. Right:
    the pose at the frame, and who looks at whom: frames, never joints.
    """

    def __init__(
        self,
        refiner: SequenceRefiner,
        sequences: Sequence[Sequence2D],
        *,
        index: int = 0,
        joint: str = "right_wrist",
        seed: int = 0,
    ):
        self.refiner, self.sequences, self.seed = refiner, sequences, seed
        self.models = {
            (random, blind): model.switched(blind=blind)
            for random, model in ((False, refiner), (True, refiner.random_control(seed)))
            for blind in (False, True)
        }
        self.skeleton, self.moving = JOINTS, False
        config, t = refiner.model.config, refiner.window

        def control(kind, description: str, width: int = 300, **kw):
            return kind(
                description=description,
                layout={"width": f"{width}px"},
                style={"description_width": "92px"},
                **kw,
            )

        maps = list(look_inside(refiner, self._window(index, 0)[1]).attention)
        heads = [("mean of heads", -1), *((f"head {h + 1}", h) for h in range(config.heads))]
        self.index = control(widgets.IntSlider, "sequence", value=index, max=len(sequences) - 1)
        self.start = control(widgets.IntSlider, "from frame", max=0)
        self.frame = control(widgets.IntSlider, "frame", value=t // 2, max=t - 1)
        self.play = widgets.Play(value=t // 2, max=t - 1, interval=200, show_repeat=False)
        widgets.jslink((self.play, "value"), (self.frame, "value"))
        joints = self.skeleton.joints
        self.joint = control(widgets.Dropdown, "joint", options=joints, value=joint)
        self.axis = control(widgets.Dropdown, "axis", 180, options=[("x, px", 0), ("y, px", 1)])
        named = [(attention_name(tap), tap) for tap in maps]
        self.layer = control(
            widgets.Dropdown, "attention", options=named, value=maps[config.levels - 1]
        )
        self.head = control(widgets.Dropdown, "head", options=heads)
        self.hide = control(widgets.Dropdown, "hide", options=[NOTHING, ONE, LIMB, ALL])
        self.span = control(widgets.IntRangeSlider, "in frames", value=(t // 3, t // 2), max=t - 1)
        self.says = control(widgets.Dropdown, "detector says", options=[LOST, HELD])
        self.weights = control(
            widgets.Dropdown, "weights", options=[("trained", False), ("random (control)", True)]
        )
        self.blind = control(widgets.Checkbox, "blind to itself (erratum)", 250, indent=False)
        self.flat = control(
            widgets.Checkbox, "this attention looks everywhere alike", 310, indent=False
        )
        self.readout = widgets.HTML()
        self._new_sequence()
        over, beside = self._over(), self._beside()
        self._fill(over, beside)
        self.over = go.FigureWidget(
            over.update_layout(width=660, dragmode="select", selectdirection="h")
        )
        self.beside = go.FigureWidget(beside.update_layout(width=420))
        for figure in (self.over, self.beside):
            figure._config = dict(figures.CONFIG)
        for trace in self.over.data:
            if trace.name == figures.INPUT:
                trace.on_selection(self._on_drag)
        for each in (
            self.joint,
            self.axis,
            self.hide,
            self.span,
            self.says,
            self.weights,
            self.blind,
            self.flat,
        ):
            each.observe(self._recompute, "value")
        for each in (self.layer, self.head):  # what is flattened changes with them
            each.observe(
                lambda change: self._recompute(change) if self.flat.value else self._redraw(),
                "value",
            )
        self.frame.observe(self._scrub, "value")
        self.start.observe(self._recompute, "value")
        self.index.observe(self._new_sequence, "value")
        rows = [
            [self.index, self.start, self.joint, self.axis],
            [self.hide, self.span, self.says],
            [self.layer, self.head, self.weights],
            [self.play, self.frame, self.blind, self.flat],
        ]
        self.widget = widgets.VBox(
            [*map(widgets.HBox, rows), self.readout, widgets.HBox([self.over, self.beside])]
        )

    # --- state ------------------------------------------------------------------------------------

    def _window(self, index: int, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Truth, detections and bursts of a window, px."""
        of, rows = self.sequences[index], slice(start, start + self.refiner.window)
        return of.xy_frame[rows], of.detected[rows], of.hidden[rows]

    def hidden(self) -> np.ndarray:
        """What is hidden on purpose [t k]."""
        j, n = self.skeleton.index(self.joint.value), len(self.skeleton)
        joints = {
            NOTHING: np.zeros(n, bool),
            ONE: np.arange(n) == j,
            LIMB: self.skeleton.adjacency[j] > 0,
            ALL: np.ones(n, bool),
        }[self.hide.value]
        if self.hide.value == LIMB:
            joints = joints | (np.arange(n) == j)
        low, high = self.span.value
        frames = np.arange(len(self.truth))
        return ((frames >= low) & (frames <= high))[:, None] & joints

    def compute(self) -> dict:
        """Everything that the picture shows, as arrays; px."""
        hidden = self.hidden()
        held = self.detected[max(self.span.value[0] - 1, 0)]
        detected = np.where(
            hidden[..., None], self.lost if self.says.value == LOST else held, self.detected
        )
        edit = None
        if self.flat.value:
            edit = {self.layer.value: uniform(None if self.head.value < 0 else self.head.value)}
        inside = look_inside(self.models[self.weights.value, self.blind.value], detected, edit=edit)
        plain = inside.final
        if edit or self.blind.value or self.weights.value:
            plain = self.refiner.refine(detected)
        return {"input": detected, "hidden": hidden, "inside": inside, "plain": plain}

    def attention(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights [q k] of the chosen map and head, frames that ask, frames that answer."""
        maps = self.state["inside"].attention[self.layer.value]
        weights = maps.mean(0) if self.head.value < 0 else maps[self.head.value]
        numbers = {
            len(self.state["inside"].read): self.state["inside"].read,
            len(self.truth): np.arange(len(self.truth)),
        }
        return weights, *(numbers[n] for n in weights.shape)

    def poses(self) -> dict[str, np.ndarray]:
        """Who says where the joints are [t k 2], px."""
        return {
            figures.REAL: self.truth,
            figures.INPUT: self.state["input"],
            figures.FINAL: self.state["inside"].final,
        }

    def panels(self) -> dict[str, dict]:
        """Title of y -> name -> (frames, values): what is drawn over time."""
        j, axis, inside = (
            self.skeleton.index(self.joint.value),
            self.axis.value,
            self.state["inside"],
        )
        frames = np.arange(len(self.truth))
        voices = self.poses()
        place = {name: (frames, xy[:, j, axis]) for name, xy in voices.items()}
        place[figures.ENCODED] = inside.read, inside.refined[:, j, axis]
        moves = {name: motion(xy) for name, xy in voices.items()}
        v, a = ({name: (frames, m[i][:, j, axis]) for name, m in moves.items()} for i in (0, 1))
        names = offset_names(len(inside.offsets), self.refiner.model.config)
        levels = {name: (inside.read, x[:, j, axis]) for name, x in zip(names, inside.offsets)}
        wrong = {n: errors_over_time(voices[n], self.truth) for n in (figures.INPUT, figures.FINAL)}
        error, accel = ({name: (frames, e[i]) for name, e in wrong.items()} for i in (0, 1))
        return {
            f"{'xy'[axis]}, px": place,
            "velocity,<br>px/frame": v,
            "acceleration,<br>px/frame²": a,
            "offset by<br>level, px": levels,
            "error of all<br>joints, px": error,
            "error of<br>accel., px/frame²": accel,
        }

    # --- drawing ----------------------------------------------------------------------------------

    def _over(self) -> go.Figure:
        """What happens over time."""
        figure = figures.time_panels(self.panels(), "Drag over a plot to hide the joint there")
        for name, colour in (
            ("burst on this joint", figures.MASKED),
            ("hidden on purpose", figures.GREY),
        ):
            figure.add_trace(figures.shade_key(name, colour))
        figure.update_traces(unselected={"marker": {"opacity": 1}})  # dragging dims nothing
        figure.update_yaxes(title_font_size=11)
        figure.update_xaxes(range=[-1, len(self.truth)])
        faint = {"line": {"color": figures.GREY, "width": 1, "dash": "dot"}}
        title = {"y": 0.99, "yanchor": "top"}
        return figure.update_layout(
            height=940, margin={"l": 70, "t": 130, "r": 10}, newselection=faint, title=title
        )

    def _beside(self) -> go.Figure:
        """Where the joints are at the frame, and who looks at whom."""
        titles = ("pose at the frame", "attention from frame to frame")
        figure = make_subplots(
            2, 1, subplot_titles=titles, row_heights=[0.45, 0.55], vertical_spacing=0.1
        )
        for name, xy in self.poses().items():
            colour = figures.VOICES[name][0]
            figure.add_traces(
                figures.pose_traces(xy[0], self.skeleton, name, colour, show_legend=False)
            )
        weights, asks, answers = self.attention()
        figure.add_trace(
            figures.frame_map(weights, asks, answers, {"title": "weight", "len": 0.5, "y": 0.25}),
            2,
            1,
        )
        figures.picture_axes(figure, *self.ranges)
        figure.update_xaxes(title="frame that answers", row=2, col=1)
        figure.update_yaxes(title="frame that asks", row=2, col=1)
        return figures.page_layout(figure, "", 940).update_layout(margin={"t": 60, "l": 60, "r": 0})

    def _fill(self, over: BaseFigure, beside: BaseFigure, *, scrub: bool = False) -> None:
        """Brings both figures to the present state; scrub: only the frame has moved.

        Traces of one `batch_update` change the same properties, see `PortExplorer`.
        """
        t, joint = self.frame.value, self.skeleton.index(self.joint.value)
        weights, asks, answers = self.attention()
        row, half = asks[np.abs(asks - t).argmin()], np.diff(asks).min() / 2
        now = {
            "type": "line",
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "x0": t,
            "x1": t,
            "line": {"color": "#444", "width": 1},
        }
        asking = {
            "type": "rect",
            "xref": "x2 domain",
            "x0": 0,
            "x1": 1,
            "yref": "y2",
            "y0": row - half,
            "y1": row + half,
            "line": {"color": figures.REFINED, "width": 2},
        }
        cover = figures.shade(figures.spans(self.state["hidden"].any(1)), figures.GREY)
        bursts = figures.shade(figures.spans(self.bursts[:, joint]))
        with over.batch_update():
            over.layout.shapes = [*bursts, *cover, now]
            if not scrub:
                panels = self.panels()
                for trace, (x, y) in zip(
                    over.data, (line for lines in panels.values() for line in lines.values())
                ):
                    trace.update(x=x, y=y)
                for axis, title in zip(over.select_yaxes(), panels):
                    axis.title.text = title
        with beside.batch_update():
            beside.layout.shapes = [asking]
            for i, xy in enumerate(self.poses().values()):
                for trace, (x, y) in zip(
                    beside.data[2 * i :], (figures.bones(xy[t], self.skeleton), xy[t].T)
                ):
                    trace.update(x=x, y=y)
            x, y = self.ranges
            beside.update_layout(
                {
                    "xaxis.range": x,
                    "yaxis.range": y,
                    "yaxis2.range": [asks[-1] + half, asks[0] - half],
                }
            )
        if not scrub:
            with beside.batch_update():
                beside.data[-1].update(x=answers, y=asks, z=weights, zmax=weights.max())

    def _sentence(self) -> str:
        state, inside = self.state, self.state["inside"]
        inputs, final = (errors_over_time(xy, self.truth) for xy in (state["input"], inside.final))
        lost = state["hidden"] | self.bursts
        away = [joint_distances(xy, self.truth) for xy in (state["input"], inside.final)]
        text = (
            f"<b>{self.sequences[self.index.value].name}</b>, frames {self.start.value} to "
            f"{self.start.value + len(self.truth) - 1}: error {inputs[0].mean():.1f} &rarr; "
            f"<b>{final[0].mean():.1f} px</b>, "
            f"Accel {inputs[1][1:-1].mean():.1f} &rarr; <b>{final[1][1:-1].mean():.1f} "
            "px/frame²</b>"
        )
        if lost.any():
            text += (
                f"; {lost.sum()} hidden joints {away[0][lost].mean():.1f} &rarr; "
                f"<b>{away[1][lost].mean():.1f} px</b>"
            )
        if state["plain"] is not inside.final:
            moved = joint_distances(inside.final, state["plain"]).mean()
            before = joint_distances(state["plain"], self.truth).mean()
            text += (
                f"<br>the switches move the answer by <b>{moved:.2f} px</b>: its error was "
                f"{before:.2f} px and is now <b>{away[1].mean():.2f} px</b>"
            )
        weights, asks, answers = self.attention()
        row = np.abs(asks - self.frame.value).argmin()
        most = ", ".join(
            f"{answers[i]} ({weights[row, i]:.1%})" for i in np.argsort(-weights[row])[:3]
        )
        text += (
            f"<br>frame {asks[row]} looks most at frames {most}; "
            f"all alike would be {1 / len(answers):.1%}"
        )
        return f"<div class='hanet-readout'>{text}</div>"

    def _new_sequence(self, _change=None) -> None:
        of = self.sequences[self.index.value]
        whole = np.ones((1, *of.hidden.shape), bool)
        self.all_lost = detect(of.xy_frame[None], whole, np.random.default_rng(self.seed))[0]
        self.moving = True
        self.start.max = max(len(of.xy_frame) - self.refiner.window, 0)
        self.start.value = 0
        self.moving = False
        self._recompute()

    def _recompute(self, _change=None) -> None:
        if self.moving:
            return
        self.truth, self.detected, self.bursts = self._window(self.index.value, self.start.value)
        self.lost = self.all_lost[self.start.value :][: len(self.truth)]
        self.ranges = figures.around(self.truth, pad=0.12)
        self.frame.max = self.play.max = self.span.max = len(self.truth) - 1
        self.state = self.compute()
        self._redraw()

    def _redraw(self) -> None:
        self.readout.value = self._sentence()
        if hasattr(self, "beside"):
            self._fill(self.over, self.beside)

    def _scrub(self, _change=None) -> None:
        self.readout.value = self._sentence()
        self._fill(self.over, self.beside, scrub=True)

    def _on_drag(self, _trace, points, selector) -> None:
        if selector is None or not points.point_inds:  # the other plots answer too
            return
        low, high = (round(x) for x in sorted(selector.xrange))
        self.moving = True
        if self.hide.value == NOTHING:
            self.hide.value = ONE
        self.span.value = max(low, 0), min(high, len(self.truth) - 1)
        self.moving = False
        self._recompute()

    def static(self) -> go.Figure:
        """The present picture as one plain figure."""
        over, beside = self._over(), self._beside()
        self._fill(over, beside)
        n, at = len(self.panels()), {"row": len(self.panels()) // 2, "col": 2}
        cells = [[{}, {"rowspan": at["row"] - 1}]] + [[{}, None] for _ in range(n - 1)]
        cells[at["row"] - 1][1] = {"rowspan": n - at["row"] + 1}
        figure = make_subplots(n, 2, specs=cells, column_widths=[0.62, 0.38], vertical_spacing=0.04)
        for trace in over.data:
            figure.add_trace(trace, int((trace.yaxis or "y")[1:] or 1), 1)
        for trace in beside.data:
            figure.add_trace(trace, **(at if trace.type == "heatmap" else {"row": 1, "col": 2}))
        for row, axis in enumerate(over.select_yaxes(), 1):
            figure.update_yaxes(title=axis.title, row=row, col=1)
        figure.update_xaxes(range=[-1, len(self.truth)], showticklabels=False, col=1)
        figure.update_xaxes(title="frame", showticklabels=True, row=n, col=1)
        figures.picture_axes(figure, *self.ranges, 1, 2)
        map_x, map_y = ([*getattr(beside, f"select_{axis}axes")()][-1] for axis in "xy")
        figure.update_xaxes(title=map_x.title, **at).update_yaxes(
            title=map_y.title, range=map_y.range, **at
        )
        heat = figure.data[-1].update(colorbar={"y": 0.3, "len": 0.4})
        asking = {
            **beside.layout.shapes[0].to_plotly_json(),
            "xref": f"{heat.xaxis} domain",
            "yref": heat.yaxis,
        }
        shapes = [*(shape.to_plotly_json() for shape in over.layout.shapes), asking]
        title = (
            f"HANet explorer (static copy): {self.sequences[self.index.value].name}, "
            f"{self.joint.value}<br>pose and line at frame {self.frame.value}; "
            f"{attention_name(self.layer.value)}, {self.head.label}"
        )
        return figures.page_layout(
            figure, title, 960, legend=over.layout.legend.to_plotly_json(), shapes=shapes
        ).update_layout(margin_t=120, title={"y": 0.99, "yanchor": "top"})

    def show(self) -> None:
        """Displays the live widget with its static twin for copies without a kernel."""
        show_live(self.widget, self.static())
