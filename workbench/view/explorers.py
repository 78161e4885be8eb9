"""Records and taps become widgets. `static()` of each is the same picture as a plain figure, for copies without a kernel."""

from __future__ import annotations

import html
import json

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from IPython.display import display
from plotly.basedatatypes import BaseFigure
from plotly.subplots import make_subplots

from ..metrics import joint_distances, p_epe
from ..predict import PortRefiner
from ..records import Detections, Pose
from . import figures

PLOTLY = "application/vnd.plotly.v1+json"


def quiet_plotly() -> None:
    """No upload button and no logo on plotly figures; called by a notebook's set-up cell."""
    pio.renderers["plotly_mimetype"].config.update(figures.CONFIG)
    pio.renderers.default = "plotly_mimetype"


def show_live(widget: widgets.Widget, static: go.Figure) -> None:
    """Displays a widget whose output also carries a static figure, for places where no kernel answers.

    JupyterLab shows the widget; the HTML export and viewers without widgets show the figure.
    """
    bundle = dict(widget._repr_mimebundle_())
    bundle[PLOTLY] = {**json.loads(pio.to_json(static, validate=False)), "config": figures.CONFIG}
    display(bundle, raw=True)


class PortExplorer:
    """One hand: click joints to hide them, move delta, watch the refined hand, the attention rows and the error.

    refiner: what repairs; detections: what the detector said; truth: ground truth of the same rows, or None.
    Hidden joints are those below delta, plus or minus the ones that were clicked.
    """

    def __init__(self, refiner: PortRefiner, detections: Detections, truth: Pose | None = None, *, index: int = 0):
        self.refiner, self.detections, self.truth = refiner, detections, truth
        self.skeleton = refiner.skeleton
        self.clicked = np.zeros(len(self.skeleton), bool)
        layers = len(refiner.model.encoder)
        heads = refiner.model.config.heads
        wide, tall = {"width": "340px"}, {"description_width": "70px"}
        self.delta = widgets.FloatSlider(
            float(np.median(refiner.rule.delta)), min=0, max=1, step=0.01, description="delta", readout_format=".2f",
            layout=wide, style=tall,
        )  # fmt: skip
        self.hand = widgets.IntSlider(index, 0, len(detections) - 1, description="hand", layout=wide, style=tall)
        self.layer = widgets.IntSlider(layers, 1, layers, description="layer", layout=wide, style=tall)
        self.head = widgets.Dropdown(
            options=[("mean of heads", -1), *((f"head {h + 1}", h) for h in range(heads))], value=-1, description="head",
            layout=wide, style=tall,
        )  # fmt: skip
        self.clear = widgets.Button(description="undo clicks", layout={"width": "110px"})
        self.readout = widgets.HTML()
        first = self._build()
        self._fill(first, self.compute())
        self.figure = go.FigureWidget(first.update_layout(width=980))
        self.figure._config = dict(figures.CONFIG)
        self._dots = next(t for t in self.figure.data if t.name == "detector" and t.mode == "markers")
        self._dots.on_click(self._on_click)
        for control in (self.delta, self.layer, self.head):
            control.observe(self._redraw, "value")
        self.hand.observe(self._new_hand, "value")
        self.clear.on_click(self._new_hand)
        controls = widgets.VBox(
            [widgets.HBox([self.hand, self.delta, self.clear]), widgets.HBox([self.layer, self.head]), self.readout]
        )
        self.widget = widgets.VBox([controls, self.figure])
        self.readout.value = self._sentence(self.compute())

    # --- state ---------------------------------------------------------------------------------------------------

    def mask(self) -> np.ndarray:
        """Hidden joints of the shown hand [k]: below delta, flipped where clicked."""
        row = self.detections.select([self.hand.value])
        return self.refiner.mask(row, self.delta.value)[0] ^ self.clicked

    def compute(self) -> dict:
        """Everything that the picture shows, as arrays."""
        row = self.detections.select([self.hand.value])
        mask = self.mask()
        tap = f"encoder.{self.layer.value - 1}.attention.map"
        _, taps = self.refiner.look(row, mask[None], [tap])
        attention = taps[tap][0].cpu().numpy()
        refined = self.refiner.refine(row, mask=mask[None]).xy_frame[0]
        attention = attention.mean(0) if self.head.value < 0 else attention[self.head.value]
        result = {
            "xy": row.xy_frame[0], "confidence": row.confidence[0], "refined": refined, "mask": mask, "attention": attention,
        }  # fmt: skip
        if self.truth is not None:
            result["truth"] = self.truth.xy_frame[self.hand.value]
        return result

    # --- drawing -------------------------------------------------------------------------------------------------

    def _build(self) -> go.Figure:
        names = list(self.skeleton.joints)
        figure = make_subplots(
            1, 2, column_widths=[0.48, 0.52], horizontal_spacing=0.12,
            subplot_titles=("click a joint to hide or show it", "attention: row asks, column answers"),
        )  # fmt: skip
        blank = np.zeros((len(names), 2), np.float32)
        if self.truth is not None:
            figure.add_traces(figures.pose_traces(blank, self.skeleton, "ground truth", figures.TRUTH), 1, 1)
        figure.add_traces(figures.pose_traces(blank, self.skeleton, "refined", figures.REFINED), 1, 1)
        figure.add_traces(
            figures.pose_traces(blank, self.skeleton, "detector", figures.GREY, confidence=blank[:, 0]), 1, 1
        )
        for trace in figure.data:
            if trace.name != "detector":  # a click reaches the joint under it, not what lies there too
                trace.hoverinfo = "skip"
        figure.add_trace(
            go.Heatmap(
                z=np.zeros((len(names),) * 2), x=names, y=names, colorscale="Cividis", zmin=0, name="attention",
                colorbar={"title": "weight", "thickness": 10, "len": 0.9},
                hovertemplate="%{y} looks at %{x}: %{z:.3f}<extra></extra>",
            ), 1, 2,
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[], y=[], mode="markers", name="hidden joint", hoverinfo="skip",
                marker={"symbol": "triangle-right", "size": 10, "color": figures.MASKED},
            ), 1, 2,
        )  # fmt: skip
        figure.update_xaxes(visible=False, row=1, col=1)
        figure.update_yaxes(visible=False, scaleanchor="x", row=1, col=1)
        figure.update_xaxes(tickangle=-60, tickfont={"size": 10}, row=1, col=2)
        figure.update_yaxes(autorange="reversed", tickfont={"size": 10}, row=1, col=2)
        return figures._layout(figure, "PORT explorer", 620, legend={"orientation": "h", "y": -0.06})

    def _updates(self, state: dict) -> list[dict[tuple[str, str], dict]]:
        """What changes, in groups of traces with the same properties.

        One `batch_update` over traces with different properties reaches the browser with the missing ones reset, so
        each group is sent by itself.
        """
        names, mask = self.skeleton.joints, state["mask"]
        poses = {"detector": state["xy"], "refined": state["refined"]}
        if "truth" in state:
            poses["ground truth"] = state["truth"]
        places = {}
        for name, xy in poses.items():
            places[name, "lines"] = dict(zip("xy", figures.bones(xy, self.skeleton)))
            places[name, "markers"] = {"x": xy[:, 0], "y": xy[:, 1]}
        hidden = [j for j, m in zip(names, mask) if m]
        places["hidden joint", "markers"] = {"x": [names[0]] * len(hidden), "y": hidden}
        looks = {
            "marker.color": state["confidence"],
            "marker.symbol": ["x" if m else "circle" for m in mask],
            "marker.size": [13 if m else 9 for m in mask],
            "hovertext": [
                f"{j}<br>confidence {c:.2f}{'<br>hidden from PORT' if m else ''}"
                for j, c, m in zip(names, state["confidence"], mask)
            ],
        }
        return [places, {("detector", "markers"): looks}, {("attention", "heatmap"): {"z": state["attention"]}}]

    def _ranges(self, state: dict) -> dict:
        points = np.concatenate([state[k] for k in ("xy", "refined", "truth") if k in state])
        low, high = points.min(0), points.max(0)
        middle, half = (low + high) / 2, (high - low).max() * 0.6 + 1
        x, y = (middle[0] - half, middle[0] + half), (middle[1] + half, middle[1] - half)
        return {"xaxis.range": x, "yaxis.range": y}

    def _fill(self, figure: BaseFigure, state: dict) -> None:
        traces = {(t.name, t.mode if t.type == "scatter" else t.type): t for t in figure.data}
        with figure.batch_update():
            figure.update_layout(self._ranges(state))
        for group in self._updates(state):
            with figure.batch_update():
                for key, values in group.items():
                    traces[key].update(values)

    def _sentence(self, state: dict) -> str:
        hidden = [j for j, m in zip(self.skeleton.joints, state["mask"]) if m]
        text = f"<b>{len(hidden)} hidden</b>: {html.escape(', '.join(hidden)) or 'none'}"
        if "truth" in state:
            truth = state["truth"]
            before, after = (joint_distances(state[k][None], truth[None])[0] for k in ("xy", "refined"))
            own = [float(e[state["mask"]].mean()) if hidden else 0.0 for e in (before, after)]
            whole = [float(p_epe(state[k][None], truth[None], align="pred_to_truth")[0]) for k in ("xy", "refined")]
            text += (
                f"<br>hidden joints' error {own[0]:.2f} &rarr; {own[1]:.2f} px ({own[1] - own[0]:+.2f}); "
                f"P-EPE, prediction aligned to truth, {whole[0]:.2f} &rarr; {whole[1]:.2f} px ({whole[1] - whole[0]:+.2f})"
            )
        return f"<div class='port-readout'>delta {self.delta.value:.2f}. {text}</div>"

    def _redraw(self, _change=None) -> None:
        state = self.compute()
        self._fill(self.figure, state)
        self.readout.value = self._sentence(state)

    def _new_hand(self, _change=None) -> None:
        self.clicked[:] = False
        self._redraw()

    def _on_click(self, _trace, points, _state) -> None:
        for j in points.point_inds:
            self.clicked[j] ^= True
        self._redraw()

    def static(self) -> go.Figure:
        """The present picture as a plain figure."""
        figure, state = self._build(), self.compute()
        self._fill(figure, state)
        figure.layout.title.text = f"PORT explorer (static copy): hand {self.hand.value}, delta {self.delta.value:.2f}"
        return figure

    def show(self) -> None:
        """Displays the live widget with its static twin underneath it for copies without a kernel."""
        show_live(self.widget, self.static())
