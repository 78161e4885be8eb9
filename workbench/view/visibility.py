"""Visibility-aware reasoning behind the backbone: what a crop becomes there, and the widget that
switches joints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Bool, Float, Int, UInt8
from plotly.basedatatypes import BaseFigure
from torch import Tensor

from .. import geometry
from ..data.windows import Windows, normalised
from ..errors import BadParameter
from ..metrics import joint_distances
from ..predict import PoseEstimator
from ..records import Detections, Pose
from ..skeletons import Skeleton
from . import figures
from .explorers import show_live


@dataclass(frozen=True, eq=False)
class Inside:
    """n people in one pass through a SimCC estimator, without the mirror image; px of the crop."""

    xy_crop: Float[np.ndarray, "n k 2"]
    confidence: Float[np.ndarray, "n k"]
    x: Float[np.ndarray, "n k bins_x"]  # SimCC's distributions
    y: Float[np.ndarray, "n k bins_y"]
    probability: Float[np.ndarray, "n k"] | None = None  # VisNet's, of being visible
    mask: Float[np.ndarray, "n k"] | None = None
    # by block and head: row asks, column answers
    attention: Float[np.ndarray, "n l h q k"] | None = None


def feature_maps(
    estimator: PoseEstimator, crops: Float[Tensor, "n 3 h w"]
) -> Float[Tensor, "n k y x"]:
    """One map a joint: all that the rest of the network ever sees of normalised crops. The slow
    half of an estimate.
    """
    with torch.inference_mode():
        return torch.cat(
            [estimator.model.maps(part.to(estimator.device)) for part in crops.split(64)]
        )


def look_inside(
    estimator: PoseEstimator,
    maps: Float[Tensor, "n k y x"],
    *,
    visibility: Int[np.ndarray, "n k"] | None = None,
    source: str | None = None,
    edit: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> Inside:
    """Everything behind `feature_maps`, with what the taps said. visibility, source: as of
    `VisibilityReasoning`, so that flags 2 and 1 with "truth" force a mask; edit: as in
    `taps.record`. `BadParameter` for an estimator of heatmaps.
    """
    model = estimator.model
    if model.config.output != "simcc":
        raise BadParameter(
            f"{estimator.name} answers with {model.config.output}s",
            remedy="look into a SimCC estimator",
        )
    names = (
        ["reasoning.mask", "reasoning.blocks.*.attention.map"]
        if model.reasoning is not None
        else []
    )
    flags = (
        None if visibility is None else torch.as_tensor(np.asarray(visibility), device=maps.device)
    )
    found, taps = estimator.look(maps=maps, visibility=flags, source=source, names=names, edit=edit)
    xy, confidence = model.decode(found)
    parts = {"xy_crop": xy, "confidence": confidence, "x": found["x"], "y": found["y"]}
    if names:
        blocks = [taps[name] for name in taps if name.endswith("attention.map")]
        parts |= {"mask": taps["reasoning.mask"], "attention": torch.stack(blocks, 1)}
    if "visibility" in found:
        parts["probability"] = found["visibility"]
    return Inside(**{name: part.float().cpu().numpy() for name, part in parts.items()})


def _tiles(maps: Float[np.ndarray, "k y x"], cols: int = 5) -> Float[np.ndarray, "a b"]:
    """Maps as one picture, row by row, with lines of NaN between them."""
    k, h, w = maps.shape
    tiles = np.full((-(-k // cols) * cols, h + 1, w + 1), np.nan)
    tiles[:k, :h, :w] = maps
    return tiles.reshape(-1, cols, h + 1, w + 1).swapaxes(1, 2).reshape(-1, cols * (w + 1))


def module_figure(
    picture: UInt8[np.ndarray, "h w 3"],
    taps: Mapping[str, Tensor],
    xy_crop: Float[np.ndarray, "k 2"],
    skeleton: Skeleton,
    title: str,
) -> go.Figure:
    """What one crop becomes: a map a joint, VisNet's word on each (below), masked maps, attention,
    answer, with their shapes. taps: all of them, recorded for this crop alone; xy_crop: the answer.
    Counterpart of Visibility Fig. 1 and 3.
    """
    maps, said, mask, attention = (
        taps[name][0].float().cpu().numpy()
        for name in (
            "maps.out",
            "reasoning.visibility",
            "reasoning.mask",
            "reasoning.blocks.0.attention.map",
        )
    )
    captions = [f"crop<br>3 x {picture.shape[0]} x {picture.shape[1]}"]
    for text, *names in (
        ("a map a joint", "maps.out"),
        ("VisNet: seen?", "reasoning.visibility"),
        ("masked (Eq. 3, 4)", "reasoning.masked"),
        ("attention (Eq. 5)", "reasoning.blocks.0.attention.map"),
        ("columns, rows (Eq. 2)", "distribution.x", "distribution.y"),
    ):
        captions.append(
            f"{text}<br>" + ", ".join(" x ".join(map(str, taps[name].shape[1:])) for name in names)
        )
    figure, (h, w), k, side, tall = go.Figure(), picture.shape[:2], len(maps), 0.13, 0.42
    places = [(0, 0.5), (0.174, 0.5), (0.348, 0), (0.522, 0.5), (0.696, 0.5), (0.87, 0.5)]
    look, top = {"showscale": False, "colorscale": "Cividis"}, float(np.abs(maps).max())
    about_0 = look | {"colorscale": "RdBu_r", "zmin": -top, "zmax": top, "hoverinfo": "skip"}
    said = _tiles(said.reshape(k, 1, 1))[::2, ::2]
    names = np.array([*skeleton.joints, *[""] * (said.size - k)]).reshape(said.shape)
    figure.add_heatmap(z=_tiles(maps), xaxis="x3", yaxis="y3", **about_0)
    figure.add_heatmap(
        z=said,
        xaxis="x4",
        yaxis="y4",
        zmin=0,
        zmax=1,
        xgap=2,
        ygap=2,
        texttemplate="%{z:.2f}",
        text=names,
        hovertemplate="%{text}: %{z:.2f}<extra></extra>",
        **look,
    )
    figure.add_heatmap(z=_tiles(maps * mask.reshape(k, 1, 1)), xaxis="x5", yaxis="y5", **about_0)
    figure.add_heatmap(z=attention.mean(0), xaxis="x6", yaxis="y6", hoverinfo="skip", **look)
    for trace in figures.pose_traces(
        xy_crop, skeleton, "answer", figures.REFINED, show_legend=False
    ):
        figure.add_trace(trace.update(xaxis="x7", yaxis="y7"))
    # of the arrows
    axes = {f"{a}axis": {"domain": [0, 1], "range": [0, 1], "visible": False} for a in "xy"}
    for i, ((x, y), caption) in enumerate(zip(places, captions), 2):
        axes[f"xaxis{i}"] = {"domain": [x, x + side], "anchor": f"y{i}", "visible": False}
        axes[f"yaxis{i}"] = {
            "domain": [y, y + tall],
            "anchor": f"x{i}",
            "visible": False,
            "autorange": "reversed",
        }
        words = {
            "xref": "paper",
            "yref": "paper",
            "showarrow": False,
            "font": {"size": 11},
            "yanchor": "bottom",
        }
        figure.add_annotation(x=x + side / 2, y=y + tall, xanchor="center", text=caption, **words)
    for i in (2, 7):
        axes[f"xaxis{i}"]["range"], axes[f"yaxis{i}"]["range"] = [-0.5, w - 0.5], [h - 0.5, -0.5]
        axes[f"yaxis{i}"]["autorange"] = False
        at = {
            "xref": f"x{i}",
            "yref": f"y{i}",
            "x": -0.5,
            "y": -0.5,
            "sizex": w,
            "sizey": h,
            "sizing": "stretch",
        }
        figure.add_layout_image(source=figures.data_uri(picture), layer="below", **at)
    middle, gap = places[0][1] + tall / 2, 0.004
    for a, b in ((0, 1), (1, 3), (3, 4), (4, 5), (1, 2), (2, 3)):
        start, end = (places[a][0] + side + gap, middle), (places[b][0] - gap, middle)
        if a == 2:
            start, end = (start[0], tall / 2), (places[b][0] + side / 2, places[b][1] - gap)
        elif b == 2:
            start, end = (places[a][0] + side / 2, places[a][1] - gap), (end[0], tall / 2)
        figure.add_annotation(
            x=end[0],
            y=end[1],
            ax=start[0],
            ay=start[1],
            xref="x",
            yref="y",
            axref="x",
            ayref="y",
            text="",
            showarrow=True,
            arrowhead=2,
            arrowcolor=figures.GREY,
            arrowwidth=1.5,
        )
    figure = figures.page_layout(
        figure, title, 480, figures.PAGE_PX, plot_bgcolor="rgba(0,0,0,0)", **axes
    )
    return figure.update_layout(margin={"l": 10, "r": 10, "b": 10})


def placed(inside: Inside, affine: Float[np.ndarray, "n 2 3"], truth: Pose) -> Detections:
    """The answers in px of the pictures, in the order of the truth. affine: xy_frame -> xy_crop."""
    xy = geometry.apply(
        geometry.invert(np.asarray(affine, np.float64)), inside.xy_crop.astype(np.float64)
    )
    return Detections(truth.skeleton, xy, inside.confidence, truth.boxes_xyxy, images=truth.images)


def attention_share(
    attention: Float[np.ndarray, "n l h q k"],
    on: Bool[np.ndarray, "n k"],
    of: Bool[np.ndarray, "n q"],
) -> Float[np.ndarray, "n"]:
    """Share of the attention of the joints `of` that the joints `on` receive, 0 to 1: mean over
    blocks, heads and those who ask. NaN for a person without joints that ask.
    """
    given = (attention * on[:, None, None, None]).sum(-1).mean((1, 2))
    return np.where(of.any(1), (given * of).sum(1) / of.sum(1).clip(1), np.nan)


def exchanged(
    maps: Float[Tensor, "n k y x"], kept: Bool[np.ndarray, "n k"], step: int
) -> Float[Tensor, "n k y x"]:
    """Features, those of all joints that are not kept taken from the person `step` rows before."""
    return torch.where(
        torch.as_tensor(kept, device=maps.device)[..., None, None], maps, maps.roll(step, 0)
    )


def columns(rows: Sequence[Mapping], *more: str) -> list[dict]:
    """Of rows of the recipe the columns that a page has room for."""
    names = ("variant", "subset", "AP", "AP50", "AP75", "AR", "oks", "PCK", *more)
    one_pck = [
        {"PCK" if name.startswith("PCK-") else name: v for name, v in row.items()} for row in rows
    ]
    return [{name: row.get(name) for name in names} for row in one_pck]


def crop_panel(
    windows: Windows, index: int, caption: str, poses: Mapping[str, Float[np.ndarray, "k 2"]]
) -> dict:
    """A person's crop with the true pose and others (px of the picture) by their names in
    COLOURS, for `annotated_pictures`.
    """
    window = windows.sample(index)
    flags, right = window.visibility[0], np.ones(window.visibility.shape[1], bool)
    truth = np.where((flags > 0)[:, None], window.xy_crop[0], np.nan)
    drawn = {
        name: (geometry.apply(window.affine, xy.astype(np.float64)), COLOURS[name], right)
        for name, xy in poses.items()
    }
    drawn = {figures.REAL: (truth, COLOURS[figures.REAL], flags == 2)} | drawn
    return {
        "picture": window.crops[0],
        "caption": caption,
        "skeleton": windows.skeleton,
        "poses": drawn,
    }


NAIVE, AWARE = "without mask", "with mask"
COLOURS = {figures.REAL: figures.TRUTH, NAIVE: figures.DETECTED, AWARE: figures.REFINED}
SWITCH = {"auto": "as VisNet says", "●": "visible", "✖": "hidden"}  # of a joint, 0, 1, 2
# px of the page: a px of the crop, an edge's plot, between them, joints' names
ZOOM, SIDE, GAP, NAMES = 3, 64, 6, 108
# width and opacity of weak, middle and strong lines of attention
EDGES = ((1, 0.4), (2, 0.65), (3.5, 0.9))
STYLE = """<style>.visibility-switches{--jp-widgets-inline-height:24px;--jp-widgets-margin:1px}
.visibility-switches .widget-toggle-buttons{display:flex;gap:6px;white-space:nowrap}
.visibility-switches .widget-label{flex:none;line-height:24px;text-align:right}
.visibility-switches .widget-toggle-button{padding:0;line-height:22px;font-size:11px}
.visibility-switches button:nth-child(2).mod-active{background:#009E73;color:#fff}
.visibility-switches button:nth-child(3).mod-active{background:#D55E00;color:#fff}</style>"""


def attention_edges(
    weights: Float[np.ndarray, "q k"], xy: Float[np.ndarray, "k 2"], threshold: float
) -> list[Float[np.ndarray, "2 m"]]:
    """x and y of lines from each joint that asks most of the way to the one that answers, for
    weights from the threshold on: weak, middle and strong thirds. Nobody is joined to itself.
    """
    w = np.where(np.eye(len(weights), dtype=bool), 0, weights)
    third = np.digitize(w, np.linspace(threshold, max(w.max(), threshold), 4)).clip(max=3)
    lines = []
    for i in (1, 2, 3):
        asks, answers = np.nonzero(third == i)
        ends = xy[asks] + 0.85 * (xy[answers] - xy[asks])
        lines.append(np.stack((xy[asks], ends, np.full_like(ends, np.nan)), 1).reshape(-1, 2).T)
    return lines


class VisibilityExplorer:
    """One person: switch joints between what VisNet says, visible and hidden, and watch the
    transformer's answer.

    Left, a switch a joint with VisNet's probability. In the middle the crop with the poses of the
    naive and of the visibility-aware transformer, who looks at whom as arrows, and along two edges
    the distributions of one joint. Right, the attention from joint to joint. One pass, without the
    mirror image; the backbone runs once a crop.
    """

    def __init__(
        self,
        aware: PoseEstimator,
        naive: PoseEstimator,
        windows: Windows,
        *,
        index: int = 0,
        joint: str = "left_wrist",
        seed: int = 0,
    ):
        if (
            aware.model.reasoning is None
            or aware.model.reasoning.visnet is None
            or naive.model.reasoning is None
        ):
            raise BadParameter(
                "a transformer with VisNet and one without are compared",
                remedy="vissimcc, vissimcc-reasoning",
            )
        self.windows, self.skeleton, self.moving = windows, aware.skeleton, False
        self.models = {
            False: (aware, naive),
            True: tuple(e.random_control(seed) for e in (aware, naive)),
        }
        config, joints = aware.model.config, self.skeleton.joints
        pictures = np.unique(windows.items[:, 0]).tolist()
        self.rows = [np.flatnonzero(windows.items[:, 0] == picture) for picture in pictures]
        first = pictures.index(windows.items[index, 0])

        def control(kind, description: str, width: int = 250, **kw):
            return kind(
                description=description,
                layout={"width": f"{width}px"},
                style={"description_width": "80px"},
                **kw,
            )

        def choice(description: str, options: list, width: int = 250):
            return control(widgets.Dropdown, description, width, options=options)

        self.picture = control(widgets.IntSlider, "picture", value=first, max=len(pictures) - 1)
        self.person = control(widgets.IntSlider, "person", max=0)
        self.joint = control(widgets.Dropdown, "joint", options=joints, value=joint)
        self.whose = choice("attention", [AWARE, NAIVE])
        self.block = choice(
            "block", [("mean", -1), *((f"block {i + 1}", i) for i in range(config.layers))]
        )
        self.head = choice(
            "head", [("mean", -1), *((f"head {i + 1}", i) for i in range(config.heads))]
        )
        self.threshold = control(
            widgets.FloatSlider, "arrows from", value=0.08, max=1, step=0.01, readout_format=".2f"
        )
        self.drawn = choice("arrows of", [("the joint", True), ("all joints", False)])
        self.weights = choice("weights", [("trained", False), ("random (control)", True)])
        self.group = control(widgets.Checkbox, "group the map by mask", 250, indent=False)
        self.switches = [
            widgets.ToggleButtons(
                options=[(label, i) for i, label in enumerate(SWITCH)],
                tooltips=list(SWITCH.values()),
                description=name,
                layout={"width": "232px"},
                style={"description_width": "132px", "button_width": "29px"},
            )
            for name in joints
        ]
        self.set_all = {
            name: widgets.Button(description=name, layout={"width": "112px"}) for name in SETS
        }
        self.readout = widgets.HTML()
        self._new_picture(person=int(np.flatnonzero(self.rows[first] == index)[0]))
        self.figure = go.FigureWidget(self.static().update_layout(title_text=""))
        self.figure._config = dict(figures.CONFIG)
        self._trace(AWARE, "markers").on_click(self._on_click)
        self.picture.observe(self._new_picture, "value")
        for each in (self.person, self.weights):
            each.observe(self._new_crop, "value")
        for each in self.switches:
            each.observe(self._recompute, "value")
        for each in (
            self.joint,
            self.whose,
            self.block,
            self.head,
            self.threshold,
            self.drawn,
            self.group,
        ):
            each.observe(self._redraw, "value")
        for name, button in self.set_all.items():
            button.on_click(lambda _button, name=name: self.set(name))
        rows = [
            [self.picture, self.person, self.joint, self.weights],
            [self.whose, self.block, self.head, self.group],
            [self.drawn, self.threshold, *self.set_all.values()],
        ]
        column = widgets.VBox([widgets.HTML(STYLE), *self.switches])
        column.add_class("visibility-switches")
        self.widget = widgets.VBox(
            [*map(widgets.HBox, rows), self.readout, widgets.HBox([column, self.figure])]
        )

    # --- state ------------------------------------------------------------------------------------

    def seen(self) -> Bool[np.ndarray, "k"]:
        """Which joints the mask lets through, after the switches."""
        switch = np.array([each.value for each in self.switches])
        return np.where(switch == 0, self.auto.mask[0] == 1, switch == 1)

    def set(self, name: str) -> None:
        """Moves all switches: a name of SETS."""
        self.moving = True
        for each, flag in zip(self.switches, self.flags):
            each.value = SETS[name](flag)
        self.moving = False
        self._recompute()

    def compute(self) -> dict:
        """Everything that the picture shows, as arrays; px of the crop."""
        seen, inside = self.seen(), self.auto
        if any(each.value for each in self.switches):
            flags = np.where(seen, 2, 1)[None]
            inside = look_inside(
                self.models[self.weights.value][0], self.maps[0], visibility=flags, source="truth"
            )
        return {"seen": seen, AWARE: inside, NAIVE: self.plain}

    def attention(self) -> Float[np.ndarray, "q k"]:
        """The chosen map, mean of blocks or heads where none is chosen."""
        maps = self.state[self.whose.value].attention[0]
        maps = maps.mean(0) if self.block.value < 0 else maps[self.block.value]
        return maps.mean(0) if self.head.value < 0 else maps[self.head.value]

    def poses(self) -> dict[str, Float[np.ndarray, "k 2"]]:
        """Who says where the joints are, px of the crop; the truth is NaN where there is none."""
        truth = np.where((self.flags > 0)[:, None], self.truth, np.nan)
        return {figures.REAL: truth} | {
            name: self.state[name].xy_crop[0] for name in (NAIVE, AWARE)
        }

    # --- drawing ----------------------------------------------------------------------------------

    def _build(self, attention: bool = True) -> go.Figure:
        """Axes and empty traces, measured in px of the page."""
        w, h = (ZOOM * side for side in self.windows.config.size)
        wide, high = w + GAP + SIDE + attention * (NAMES + h), h + GAP + SIDE
        figure = go.Figure()
        if attention:
            for width, opacity in EDGES:
                name = "asks → answers"
                line = {"color": "#ffe14d", "width": width}
                mark = {
                    "symbol": "arrow",
                    "angleref": "previous",
                    "size": 5 + 2 * width,
                    "color": "#ffe14d",
                }
                figure.add_scatter(
                    mode="lines+markers",
                    name=name,
                    legendgroup=name,
                    line=line,
                    marker=mark,
                    opacity=opacity,
                    showlegend=width == 2,
                    hoverinfo="skip",
                )
        blank = np.zeros((len(self.skeleton), 2))
        for name, colour in COLOURS.items():
            lines, dots = figures.pose_traces(blank, self.skeleton, name, colour)
            dots.hoverinfo = "text" if name == AWARE else "skip"  # a click reaches that one
            figure.add_traces([lines, dots])
        for axis, says in (("2", "x %{x:.1f} px"), ("3", "y %{y:.1f} px")):
            for name, colour in COLOURS.items():
                figure.add_scatter(
                    name=f"{name} {says[0]}",
                    xaxis=f"x{axis}",
                    yaxis=f"y{axis}",
                    mode="lines",
                    showlegend=False,
                    line={"color": colour, "width": 1.5},
                    hovertemplate=f"{name}, {says}<extra></extra>",
                )
        if attention:
            bar = {"thickness": 9, "nticks": 4, "len": 0.7, "y": 0, "yanchor": "bottom"}
            figure.add_heatmap(
                xaxis="x4",
                yaxis="y4",
                colorscale="Cividis",
                zmin=0,
                colorbar=bar,
                hovertemplate="%{text}: %{z:.3f}<extra></extra>",
            )
            ticks = {
                "tickvals": list(range(len(self.skeleton))),
                "tickfont": {"size": 10},
                "zeroline": False,
            }
            side = {"domain": [1 - h / wide, 1], "anchor": "y4", "tickangle": -60, **ticks}
            down = {
                "domain": [0, h / high],
                "anchor": "x4",
                "range": [len(self.skeleton) - 0.5, -0.5],
                **ticks,
            }
            figure.update_layout(xaxis4=side, yaxis4=down)
        across, down = [0, w / wide], [0, h / high]
        texts = [(0, 1, "where the joint is, along the edges")]
        texts += [
            (1 - h / wide, h / high, "attention weights: a row asks, a column answers")
        ] * attention
        for x, y, text in texts:
            at = {
                "x": x,
                "y": y,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "bottom",
            }
            figure.add_annotation(text=text, showarrow=False, font={"size": 11}, **at)
        hidden = {"visible": False}
        figure.update_layout(
            xaxis={"domain": across, "range": [-0.5, w / ZOOM - 0.5], **hidden},
            yaxis={"domain": down, "range": [h / ZOOM - 0.5, -0.5], **hidden},
            xaxis2={"domain": across, "matches": "x", "anchor": "y2", **hidden},
            yaxis2={
                "domain": [(h + GAP) / high, 1],
                "anchor": "x2",
                "rangemode": "tozero",
                **hidden,
            },
            xaxis3={
                "domain": [(w + GAP) / wide, (w + GAP + SIDE) / wide],
                "rangemode": "tozero",
                **hidden,
            },
            yaxis3={"domain": down, "matches": "y", "anchor": "x3", **hidden},
        )
        margin = {"l": 8, "r": 52 if attention else 8, "t": 62, "b": 112}
        legend = {"orientation": "h", "y": -0.16 if attention else -0.02, "yanchor": "top", "x": 0}
        size = high + margin["t"] + margin["b"], wide + margin["l"] + margin["r"]
        return figures.page_layout(figure, "", *size, legend=legend).update_layout(margin=margin)

    def _trace(self, name: str, mode: str, figure: BaseFigure | None = None):
        return next(t for t in (figure or self.figure).data if t.name == name and t.mode == mode)

    def _curves(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """x and y of the lines along the upper and the right edge, in the order of COLOURS."""
        j, split = self.skeleton.index(self.joint.value), self.models[False][0].model.config.split
        lines, found = [], [self.state[name] for name in (NAIVE, AWARE)]
        for axis, name in enumerate("xy"):
            heights = [getattr(inside, name)[0, j] for inside in found]
            at = self.poses()[figures.REAL][j, axis]
            curves = [(np.full(2, at), np.array([0, max(h.max() for h in heights)]))]
            curves += [(np.arange(len(h)) / split, h) for h in heights]
            lines += [line if name == "x" else line[::-1] for line in curves]
        return lines

    def _fill(self, figure: BaseFigure, *, attention: bool = True) -> None:
        """Brings a figure to the present state. Traces of one `batch_update` change the same
        properties, see `PortExplorer`.
        """
        seen, poses, names = self.state["seen"], self.poses(), self.skeleton.joints
        weights, j = self.attention(), self.skeleton.index(self.joint.value)
        order = np.argsort(~seen, kind="stable") if self.group.value else np.arange(len(seen))
        kept = weights * (np.arange(len(seen)) == j)[:, None] if self.drawn.value else weights
        lines = (
            attention_edges(kept, poses[self.whose.value], max(self.threshold.value, 1e-6))
            if attention
            else []
        )
        for xy in poses.values():
            lines += [figures.bones(xy, self.skeleton), xy.T]
        lines += self._curves()
        with figure.batch_update():
            for trace, (x, y) in zip(figure.data, lines):
                trace.update(x=x, y=y)
        told, answer = self.auto.probability[0], self.state[AWARE]
        switched = np.array([each.value > 0 for each in self.switches])
        says = [
            f"{n}<br>confidence {c:.2f}<br>visible with {p:.2f}; let through: "
            f"{'yes' if s else 'no'}"
            for n, c, p, s in zip(names, answer.confidence[0], told, seen)
        ]
        symbols = {figures.REAL: self.flags == 2, NAIVE: np.ones_like(seen), AWARE: seen}
        sizes = {AWARE: np.where(switched, 13, 9)}
        with figure.batch_update():
            for name, circle in symbols.items():
                size = np.where(np.arange(len(seen)) == j, 12, sizes.get(name, 7))
                look = {"symbol": np.where(circle, "circle", "x").tolist(), "size": size.tolist()}
                self._trace(name, "markers", figure).update(marker=look, hovertext=says)
        if attention:
            asks = [[f"{names[q]} looks at {names[k]}" for k in order] for q in order]
            z = weights[order][:, order]
            figure.data[-1].update(z=z, zmax=z.max(), text=asks)
        label = [
            names[i] if seen[i] else f"<span style='color:{figures.REFINED}'>✖ {names[i]}</span>"
            for i in order
        ]
        edge, row = seen.sum() - 0.5, order.tolist().index(j)
        n = len(names) - 0.5
        whole = {
            "type": "rect",
            "xref": "x4",
            "yref": "y4",
            "x0": -0.5,
            "x1": n,
            "y0": -0.5,
            "y1": n,
        }
        shapes = [
            whole | {"y0": row - 0.5, "y1": row + 0.5, "line": {"color": "#fff", "width": 1.5}}
        ]
        if self.group.value and 0 < seen.sum() < len(seen):
            cut = whole | {"line": {"color": figures.REFINED, "width": 2}}
            shapes += [cut | {"x0": edge, "x1": edge}, cut | {"y0": edge, "y1": edge}]
        w, h = self.windows.config.size
        place = {
            "xref": "x",
            "yref": "y",
            "x": -0.5,
            "y": -0.5,
            "sizex": w,
            "sizey": h,
            "sizing": "stretch",
        }
        with figure.batch_update():
            figure.layout.images = [{"source": self.source, "layer": "below", **place}]
            if attention:
                figure.layout.shapes = shapes
                figure.update_layout(
                    xaxis4_ticktext=label, yaxis4_ticktext=label, xaxis4_range=[-0.5, n]
                )

    def _sentence(self) -> str:
        seen, poses, known = self.state["seen"], self.poses(), self.flags > 0
        truth = poses[figures.REAL]
        parts = [("all", known), ("visible", self.flags == 2), ("hidden", self.flags == 1)]
        away = {name: joint_distances(poses[name][None], truth[None])[0] for name in (NAIVE, AWARE)}
        errors = [
            f"{name} ({use.sum()}) {away[NAIVE][use].mean():.1f} &rarr; "
            f"<b>{away[AWARE][use].mean():.1f}</b>"
            for name, use in parts
            if use.any()
        ]
        right = (self.auto.mask[0] == 1) == (self.flags == 2)
        moved = joint_distances(poses[AWARE][None], self.auto.xy_crop).mean()
        share = attention_share(
            self.state[self.whose.value].attention, ~seen[None], np.ones_like(seen)[None]
        )[0]
        j = self.skeleton.index(self.joint.value)
        weights = self.attention()[j]
        most = ", ".join(
            f"{self.skeleton.joints[i]} ({weights[i]:.0%})" for i in np.argsort(-weights)[:3]
        )
        text = (
            f"Error in px of the crop, {NAIVE} &rarr; {AWARE}: {'; '.join(errors)}. VisNet is "
            f"right about {right.sum()} of "
            f"{len(seen)} joints; the switches move the answer by <b>{moved:.2f} px</b>.<br>"
            f"Masked: <b>{(~seen).sum()}</b> joints, which receive <b>{share:.1%}</b> of the "
            f"attention {self.whose.value} "
            f"(all alike: {(~seen).mean():.1%}); {self.joint.value} looks most at {most}"
        )
        return f"<div class='visibility-readout'>{text}</div>"

    def _new_picture(self, _change=None, person: int = 0) -> None:
        self.moving = True
        self.person.max = len(self.rows[self.picture.value]) - 1
        self.person.value = person
        self.moving = False
        self._new_crop()

    def _new_crop(self, change=None) -> None:
        if self.moving:
            return
        window = self.windows.sample(int(self.rows[self.picture.value][self.person.value]))
        size = tuple(ZOOM * side for side in self.windows.config.size)
        self.source = figures.data_uri(
            cv2.resize(window.crops[0], size, interpolation=cv2.INTER_CUBIC)
        )
        self.truth, self.flags = window.xy_crop[0], window.visibility[0]
        images = normalised(torch.from_numpy(window.crops))
        self.maps = [
            feature_maps(estimator, images) for estimator in self.models[self.weights.value]
        ]
        self.auto, self.plain = map(look_inside, self.models[self.weights.value], self.maps)
        self.moving = True
        for each, name, p in zip(self.switches, self.skeleton.joints, self.auto.probability[0]):
            each.description = f"{name} {p:.2f}"
            if change is None or change.owner is not self.weights:
                each.value = 0
        self.moving = False
        self._recompute()

    def _recompute(self, _change=None) -> None:
        if not self.moving:
            self.state = self.compute()
            self._redraw()

    def _redraw(self, _change=None) -> None:
        if self.moving:
            return
        self.readout.value = self._sentence()
        if hasattr(self, "figure"):
            self._fill(self.figure)

    def _on_click(self, _trace, points, _state) -> None:
        self.moving = True  # one picture for both
        for j in points.point_inds:
            self.joint.value = self.skeleton.joints[j]
            self.switches[j].value = (self.switches[j].value + 1) % len(SWITCH)
        self.moving = False
        self._recompute()

    def static(self, attention: bool = True) -> go.Figure:
        """The present picture as a plain figure; without attention: the crop and the
        distributions alone.
        """
        figure = self._build(attention)
        self._fill(figure, attention=attention)
        title = f"picture {self.picture.value}, person {self.person.value}, {self.joint.value}"
        return figure.update_layout(
            title_text=f"Explorer (static copy): {title}" if attention else title
        )

    def show(self) -> None:
        """Displays the live widget with its static twin for copies without a kernel."""
        show_live(self.widget, self.static())


SETS: dict[str, Callable[[int], int]] = {  # what a button makes of a joint's label
    "all predicted": lambda flag: 0,
    "all visible": lambda flag: 1,
    "all hidden": lambda flag: 2,
    "true labels": lambda flag: 1 if flag == 2 else 2,
}
