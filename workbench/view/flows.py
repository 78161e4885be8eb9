"""OTPose behind the single-frame estimator: flows, masks, attention and offsets as pictures, and
the widget over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Float, UInt8
from plotly.basedatatypes import BaseFigure
from plotly.subplots import make_subplots
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from ..data.windows import Windows, normalised
from ..errors import BadParameter
from ..metrics import joint_distances
from ..models.otpose import N_FEATURES
from ..predict import ClipEstimator
from ..taps import tap_table
from . import figures
from .estimates import COLOURS, SINGLE, Edits, Inside, crop_panel, map_trace, maps_over, peaks
from .explorers import PAINT, show_live

FINAL = "OTPose"
FRAMES = ("t-2", "t-1", "t", "t+1", "t+2")
SOME = {
    "the key frame": (2,),
    "all but it": (0, 1, 3, 4),
    "the frames before": (0, 1),
    "all five": (0, 1, 2, 3, 4),
}


def rough_heatmaps(estimator: ClipEstimator, windows: Windows) -> Float[Tensor, "n 5 k h w"]:
    """What the single-frame estimator sees in all five frames of everybody: all that the rest of
    the network ever sees.
    """
    with torch.inference_mode():
        parts = np.array_split(np.arange(len(windows)), -(-len(windows) // 16))
        return torch.cat([estimator.rough(windows.batch(part)["images"]) for part in parts])


def look_inside(
    estimator: ClipEstimator,
    rough: Float[Tensor, "n 5 k h w"],
    names: Sequence[str] | None = None,
    *,
    distance: Float[Tensor, "1 5"] | None = None,
    edit: Edits | None = None,
) -> Inside:
    """Everything behind the heatmaps. names: taps, None for all; edit: as in `taps.record`;
    distance: instead of the frames'.
    """
    model = estimator.model
    names = [n for n in tap_table(model) if not n.startswith("maps.")] if names is None else names
    distance = None if distance is None else distance.expand(len(rough), -1)
    found, taps = estimator.look(heatmaps=rough, distance=distance, names=names, edit=edit)
    xy, _ = model.decode(found)
    arrays = {name: taps[name].float().cpu().numpy() for name in taps}
    return Inside(xy.float().cpu().numpy(), found["heatmaps"].float().cpu().numpy(), arrays)


def degraded(
    rough: Float[Tensor, "n 5 k h w"],
    strength: float,
    *,
    joint: int | None = None,
    frames: Sequence[int] = range(5),
) -> Float[Tensor, "n 5 k h w"]:
    """Heatmaps as of a worse estimator: of one joint, or of all, blurred (sigma 2 px) and dimmed
    (to a tenth) by 0 ... 1.
    """
    if not strength:
        return rough
    weak = gaussian_blur(rough.flatten(0, 1), [13, 13], [2 * strength] * 2).view_as(rough) * (
        1 - 0.9 * strength
    )
    chosen = torch.zeros(rough.shape[1:3], dtype=torch.bool, device=rough.device)
    chosen[list(frames), slice(None) if joint is None else joint] = True
    return torch.where(chosen[..., None, None], weak, rough)


def painted(
    crops: UInt8[np.ndarray, "5 h w 3"],
    middle: tuple[int, int],
    size: int,
    frames: Sequence[int] = range(5),
) -> UInt8[np.ndarray, "5 h w 3"]:
    """Crops with a grey square of so many px about (x, y) in some of the frames."""
    out, ((x0, y0), (x1, y1)) = (
        crops.copy(),
        ([max(v - size // 2 + side, 0) for v in middle] for side in (0, size)),
    )
    out[list(frames), y0:y1, x0:x1] = PAINT
    return out


def exchanges(taps: Mapping[str, np.ndarray], feature: str, step: int = 1) -> Edits:
    """An edit that takes one of the eight features of all joints from the person `step` rows
    before. Eq. 2 would make masks of the other's flows: they are kept as `taps` have them.
    """
    edits = {feature: lambda x: x.roll(step, 0)}
    if feature.startswith("flow."):
        mask = feature.replace("flow", "mask")
        edits[mask] = lambda x: torch.as_tensor(taps[mask], device=x.device)
    return edits


# --- pictures -------------------------------------------------------------------------------------


def folded(weights: Float[np.ndarray, "c c"], by: str) -> Float[np.ndarray, "a a"]:
    """Attention among joints in flows, all of it or by "joint" or "feature": what is given to
    each kind, mean of who asks.
    """
    each = weights.reshape(-1, N_FEATURES, len(weights) // N_FEATURES, N_FEATURES)
    return {"joint": each.mean(1).sum(-1), "feature": each.mean(0).sum(1)}.get(by, weights)


def fold_names(channels: Sequence[tuple[str, str]], by: str) -> tuple[list[str], dict]:
    """Names along an axis of `folded`, and the axis: its ticks and, where all channels stand,
    their order within a joint.
    """
    joints, features = (
        [joint for joint, _ in channels[::N_FEATURES]],
        [feature for _, feature in channels[:N_FEATURES]],
    )
    names = {"joint": joints, "feature": features}.get(
        by, [" ".join(channel) for channel in channels]
    )
    if by != "all":
        return names, {"tickvals": names, "ticktext": names, "title": {"text": ""}}
    half = N_FEATURES // 2
    order = f"within each joint: {', '.join(features[:half])},<br>{', '.join(features[half:])}"
    ticks = {"tickvals": names[N_FEATURES // 2 :: N_FEATURES], "ticktext": joints}
    return names, ticks | {"title": {"text": order, "font": {"size": 9}}}


def attention_trace(weights: Float[np.ndarray, "a a"], names: Sequence[str], **bar) -> go.Heatmap:
    """A row asks, a column answers."""
    return go.Heatmap(
        z=weights,
        x=names,
        y=names,
        colorscale="Cividis",
        zmin=0,
        zmax=float(weights.max()),
        colorbar={"thickness": 9, "nticks": 4, **bar},
        hovertemplate="%{y} looks at %{x}: %{z:.3f}<extra></extra>",
    )


def attention_maps(
    maps: Mapping[str, Float[np.ndarray, "c c"]],
    channels: Sequence[tuple[str, str]],
    title: str,
    *,
    by: str = "all",
) -> go.Figure:
    """Attention among the channels of a branch, side by side, each on its own scale; by: see
    `folded`.
    """
    figure = make_subplots(
        1, len(maps), subplot_titles=list(maps), horizontal_spacing=0.14, shared_yaxes=True
    )
    names, axis = fold_names(channels, by)
    for col, weights in enumerate(maps.values(), 1):
        side = figure.get_subplot(1, col).xaxis.domain[1] + 0.005
        figure.add_trace(
            attention_trace(folded(weights, by), names, x=side, xanchor="left"), 1, col
        )
    figure.update_xaxes(axis, tickangle=-60, tickfont={"size": 9})
    figure.update_yaxes(axis | {"title": {"text": ""}}, autorange="reversed", tickfont={"size": 9})
    return figures.page_layout(figure, title, 520)


def arrows(
    inside: Inside, joint: int, which: int, dilation: int, to_crop: Float[np.ndarray, "2 3"]
) -> dict:
    """Properties of a line: from the nine places (px of the crop) that a plain convolution of the
    dilation, number `which` of the refinement's, reads around the first person's answer to those
    that it does read. Dots grow with the modulation.
    """
    parts = [inside.taps[f"refine.{name}"][0, which, joint] for name in ("offsets", "modulation")]
    y, x = np.unravel_index(inside.heatmaps[0, joint].argmax(), inside.heatmaps.shape[2:])
    offsets, modulation = (part[..., y, x] for part in parts)  # (dy, dx) heatmap px
    grid = (x, y) + dilation * np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1)), -1).reshape(9, 2)
    read, none = grid + offsets[:, ::-1], np.zeros(9)
    ends = np.stack((grid, read, grid, read, np.full((9, 2), np.nan)), 1).reshape(
        -1, 2
    )  # plotly hides a line's first mark
    size = np.stack((none, 4 + 12 * modulation.clip(0, 1), none, none + 9, none), 1).ravel()
    says = [
        f"modulation {m:.2f}<br>moved ({dx:.1f}, {dy:.1f}) heatmap px"
        for (dy, dx), m in zip(offsets, modulation)
    ]
    dot, arrow = ("circle", figures.DETECTED), ("arrow", figures.REFINED)
    symbol, colour = (list(part) * 9 for part in zip(dot, dot, dot, arrow, dot))
    mark = {
        "symbol": symbol,
        "color": colour,
        "size": size,
        "angleref": "previous",
        "opacity": 1,
        "line": {"width": 0},
    }
    x, y = (ends @ to_crop[:, :2].T + to_crop[:, 2]).T
    return {"x": x, "y": y, "marker": mark, "hovertext": np.repeat(says, 5)}


ARROWS = {
    "mode": "lines+markers",
    "line": {"color": figures.REFINED},
    "hoverinfo": "text",
    "showlegend": False,
}


def offset_figure(
    picture: UInt8[np.ndarray, "h w 3"],
    inside: Inside,
    joint: int,
    dilations: Sequence[int],
    title: str,
    to_crop: Float[np.ndarray, "2 3"],
) -> go.Figure:
    """Where the refinement of the first person reads a joint's map, by dilation."""
    n, moved = len(dilations), inside.taps["refine.moved"][0, joint]
    figure = maps_over(
        [picture] * n, [moved] * n, [f"dilation {d}" for d in dilations], title, to_crop
    )
    for i, d in enumerate(dilations):
        figure.add_trace(go.Scatter(**ARROWS, **arrows(inside, joint, i, d, to_crop)), 1, i + 1)
    return figure


def control(kind, description: str, **kw):
    """A widget as wide as the others, with room for its name and its text."""
    look = {"layout": {"width": "300px"}, "style": {"description_width": "115px"}}
    return kind(description=description, **look, **kw)


def side_by_side(controls: Sequence[widgets.Widget]) -> widgets.Box:
    """Controls in rows as long as the page is wide."""
    return widgets.Box(list(controls), layout={"flex_flow": "row wrap"})


def choice(description: str, options, value=None) -> widgets.Dropdown:
    """options: values, or (label, value); the first is taken where none is named."""
    pairs = [o if isinstance(o, tuple) else (str(o), o) for o in options]
    return control(
        widgets.Dropdown, description, options=pairs, value=pairs[0][1] if value is None else value
    )


def number(description: str, value: int, top: int) -> widgets.IntSlider:
    """From 0 to top."""
    return control(widgets.IntSlider, description, value=value, max=top)


def share(description: str, value: float, top: float = 1.0) -> widgets.FloatSlider:
    """From 0 to top in twentieths."""
    return control(
        widgets.FloatSlider, description, value=value, max=top, step=0.05, readout_format=".2f"
    )


class FlowExplorer:
    """One person: choose a map and a joint, make the single frame worse or paint over it, and watch
    what follows.

    Above, the five crops with the single frame's maps of the joint. Below, the key frame with the
    chosen map and three poses; where the refinement reads; who looks at whom. The backbone runs
    once a person, and again for crops that are painted over.
    """

    def __init__(
        self,
        estimator: ClipEstimator,
        windows: Windows,
        *,
        index: int = 0,
        joint: str = "left_wrist",
        seed: int = 0,
    ):
        self.config, table = estimator.model.config, tap_table(estimator.model)
        if self.config.window is not None or self.config.split_joints:
            raise BadParameter(
                "attention is not from channel to channel", remedy="window=None, split_joints=False"
            )
        self.models = {False: estimator, True: estimator.random_control(seed)}
        self.windows, self.skeleton, self.to_crop = (
            windows,
            estimator.skeleton,
            estimator.model.to_crop.cpu().numpy(),
        )
        maps = [n for n in table if n.split(".")[0] in ("flow", "mask", "psi", "phi", "out")]
        self.names = [*maps, "branch.*.map", "refine.offsets", "refine.modulation", "refine.moved"]

        (w, h), n = self.config.size, self.config.layers
        self.person = number("person", index, len(windows) - 1)
        self.joint = choice("joint", self.skeleton.joints, joint)
        self.map, self.opacity = choice("map", maps, "mask.total"), share("opacity", 0.8)
        self.distance, self.weaken = share("distance x", 1.0, 2.0), share("degrade", 0.0)
        self.weights = choice("weights", [("trained", False), ("random (control)", True)])
        self.of = choice("degrade of", [("this joint", True), ("all joints", False)])
        self.frames, self.size = choice("harm in", SOME.items()), number("patch size", 0, w)
        self.x, self.y = number("patch x", w // 2, w - 1), number("patch y", h // 2, h - 1)
        self.branch = choice("branch", self.config.branches)
        self.layer = choice("layer", [(str(i + 1), i) for i in range(n)], n - 1)
        self.head = choice(
            "head", [("mean", -1), *((str(i + 1), i) for i in range(self.config.heads))]
        )
        self.fold = choice("fold by", [("nothing", "all"), "joint", "feature"], "joint")
        self.dilation = choice(
            "dilation", [(str(d), i) for i, d in enumerate(self.config.dilations)]
        )
        self.readout = widgets.HTML()
        self._new_person()
        self.figure = go.FigureWidget(self.static().update_layout(title_text=""))
        self.figure._config = dict(figures.CONFIG)
        controls = [
            self.person,
            self.joint,
            self.map,
            self.opacity,
            self.distance,
            self.weights,
            self.of,
            self.weaken,
            self.frames,
            self.x,
            self.y,
            self.size,
            self.branch,
            self.layer,
            self.head,
            self.fold,
            self.dilation,
        ]
        answers = dict.fromkeys((self.frames, self.x, self.y, self.size), self._paint) | {
            self.person: self._new_person
        }
        answers |= dict.fromkeys(
            (self.distance, self.weights, self.of, self.weaken, self.joint), self._run
        )
        for each in controls:
            each.observe(answers.get(each, self._redraw), "value")
        self.widget = widgets.VBox([side_by_side(controls), self.readout, self.figure])

    # --- state ------------------------------------------------------------------------------------

    def _new_person(self, _change=None) -> None:
        self.window = self.windows.sample(self.person.value)
        self.clean = self._heatmaps(self.window.crops)
        self._paint()

    def _heatmaps(self, crops: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "t k y x"]:
        estimator = self.models[False]
        with torch.inference_mode():
            return estimator.model.maps(normalised(torch.from_numpy(crops)).to(estimator.device))

    def _paint(self, _change=None) -> None:
        frames, self.rough, self.crops = list(self.frames.value), self.clean, self.window.crops
        if self.size.value:
            self.crops = painted(self.crops, (self.x.value, self.y.value), self.size.value, frames)
            self.rough = self.clean.clone()
            self.rough[frames] = self._heatmaps(self.crops[frames])
        self._run()

    def _run(self, _change=None) -> None:
        estimator = self.models[self.weights.value]
        of = self.skeleton.index(self.joint.value) if self.of.value else None
        self.used = degraded(
            self.rough[None], self.weaken.value, joint=of, frames=self.frames.value
        )
        distance = self.distance.value * estimator.model.distance[None].to(self.used)
        self.inside = look_inside(estimator, self.used, self.names, distance=distance)
        truth = crop_panel(self.window, "", self.skeleton, {})["poses"][figures.REAL][0]
        single = peaks(estimator, self.used[:, 2])[0]
        self.poses = {figures.REAL: truth, SINGLE: single, FINAL: self.inside.xy_crop[0]}
        self._redraw()

    def clicked(self, _trace, points, _state) -> None:
        """A click on a crop, the chosen map or a joint in it paints the patch there, at first a
        quarter of the crop wide.
        """
        for x, y in zip(points.xs, points.ys):
            self.x.value, self.y.value = round(x), round(y)
            self.size.value = self.size.value or self.config.size[0] // 4

    def attention(self, by: str) -> Float[np.ndarray, "a a"]:
        """Of the chosen branch, layer and head, folded."""
        maps = self.inside.taps[f"branch.{self.branch.value}.blocks.{self.layer.value}.map"][0]
        return folded(maps.mean(0) if self.head.value < 0 else maps[self.head.value], by)

    # --- drawing ----------------------------------------------------------------------------------

    def _build(self) -> go.Figure:
        figure = make_subplots(
            2,
            15,
            specs=[[{"colspan": 3}, None, None] * 5, [{"colspan": 5}, *[None] * 4] * 3],
            subplot_titles=[*FRAMES, "map", "where the refinement reads", "attention: a row asks"],
            row_heights=[0.4, 0.6],
            vertical_spacing=0.07,
            horizontal_spacing=0.01,
        )
        (w, h), blank = self.config.size, np.zeros((len(self.skeleton), 2))
        for row, col in [*((1, 3 * i + 1) for i in range(5)), (2, 1), (2, 6)]:
            figure.add_trace(map_trace(self.to_crop, np.zeros(self.config.grid[::-1])), row, col)
            figures.picture_axes(
                figure, [-0.5, w - 0.5], [h - 0.5, -0.5], row, col, constrain="domain"
            )
        figure.add_trace(attention_trace(np.zeros((1, 1)), ["-"], len=0.45, y=0.3), 2, 11)
        figure.add_trace(go.Scatter(**ARROWS), 2, 6)
        for name, colour in COLOURS.items():
            if name in self.poses:
                figure.add_traces(figures.pose_traces(blank, self.skeleton, name, colour), 2, 1)
        small = {"tickfont": {"size": 9}}
        figure.update_layout(xaxis8={"tickangle": -60, "domain": [0.77, 1], **small})
        figure.update_layout(yaxis8={"autorange": "reversed", "domain": [0.16, 0.53], **small})
        return figures.page_layout(
            figure, "", 720, figures.PAGE_PX, legend={"orientation": "h", "y": -0.02}
        )

    def _fill(self, figure: BaseFigure) -> None:
        """Brings a figure to the present state."""
        j, taps, i = self.skeleton.index(self.joint.value), self.inside.taps, self.dilation.value
        grids = [
            *self.used[0, :, j].cpu().numpy(),
            taps[self.map.value][0, j],
            taps["refine.moved"][0, j],
        ]
        for trace, grid in zip(figure.data, grids):
            trace.update(z=grid, zmax=max(float(grid.max()), 1e-6), opacity=self.opacity.value)
        names, axis = fold_names(
            self.models[False].model.channels[self.branch.value], self.fold.value
        )
        weights = self.attention(self.fold.value)
        figure.data[7].update(z=weights, x=names, y=names, zmax=float(weights.max()))
        figure.data[8].update(arrows(self.inside, j, i, self.config.dilations[i], self.to_crop))
        lines = [
            part for xy in self.poses.values() for part in (figures.bones(xy, self.skeleton), xy.T)
        ]
        for trace, (x, y) in zip(figure.data[9:], lines):
            trace.update(x=x, y=y)
        w, h = self.config.size
        at = {"x": -0.5, "y": -0.5, "sizex": w, "sizey": h, "sizing": "stretch", "layer": "below"}
        sources = [figures.data_uri(self.crops[t]) for t in (0, 1, 2, 3, 4, 2, 2)]
        axes = [{"xref": f"x{n}", "yref": f"y{n}"} for n in ("", *range(2, 8))]
        figure.layout.images = [at | refs | {"source": s} for refs, s in zip(axes, sources)]
        figure.layout.annotations[5].text = f"{self.map.value}, up to {grids[5].max():.2g}"
        figure.layout.xaxis8.update(axis)
        figure.layout.yaxis8.update(axis | {"title": {"text": ""}})

    def _sentence(self) -> str:
        truth, flags, j = (
            self.poses[figures.REAL],
            self.window.visibility[2],
            self.skeleton.index(self.joint.value),
        )
        away = {name: joint_distances(xy[None], truth[None])[0] for name, xy in self.poses.items()}
        said = [
            f"{name} joints ({use.sum()}) {away[SINGLE][use].mean():.1f} &rarr; "
            f"<b>{away[FINAL][use].mean():.1f}</b>"
            for name, use in (("visible", flags == 2), ("occluded", flags == 1))
            if use.any()
        ]
        maps = {
            n: self.inside.taps[n]
            for n in ("flow.total", "mask.total", "psi")
            if n in self.inside.taps
        }
        tops = {
            n: peaks(self.models[False], torch.from_numpy(grid))[0, j] for n, grid in maps.items()
        }
        tops |= {name: self.poses[name][j] for name in (SINGLE, FINAL)}
        near = "; ".join(f"{name} {np.linalg.norm(xy - truth[j]):.1f}" for name, xy in tops.items())
        row, names = self.attention("joint")[j], self.skeleton.joints
        most = ", ".join(f"{names[i]} ({row[i]:.0%})" for i in np.argsort(-row)[:3])
        return (
            f"<div class='flow-readout'>Error in px of the crop, {SINGLE} &rarr; {FINAL}: "
            f"{'; '.join(said)}.<br>"
            f"<b>{names[j]}</b> ({('no label', 'occluded', 'visible')[flags[j]]}), from the truth "
            "to the highest place of each "
            f"map, px: {near if flags[j] else '-'}.<br>It looks most at {most}.</div>"
        )

    def _redraw(self, _change=None) -> None:
        self.readout.value = self._sentence()
        if hasattr(self, "figure"):
            with self.figure.batch_update():  # one message, one repaint
                self._fill(self.figure)

    def static(self) -> go.Figure:
        """The present picture as a plain figure."""
        figure = self._build()
        self._fill(figure)
        return figure.update_layout(
            title_text=f"Explorer (static copy): person {self.person.value}, {self.joint.value}"
        )

    def show(self) -> None:
        """Displays the live widget, which hears clicks, with its static twin for copies without
        a kernel.
        """
        for trace in (*self.figure.data[:6], *self.figure.data[9:]):
            trace.on_click(self.clicked)
        show_live(self.widget, self.static())
