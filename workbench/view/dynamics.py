"""STDPose between labelled frames: residuals, masks, attention and carried poses as pictures,
and the widgets over them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import ipywidgets as widgets
import numpy as np
import plotly.express as px
import plotly.graph_objects as go
import torch
from jaxtyping import Bool, Float, Int, UInt8
from plotly.basedatatypes import BaseFigure
from plotly.subplots import make_subplots
from torch import Tensor

from .. import geometry, propagate
from ..data.windows import Windows
from ..metrics import joint_distances
from ..models.stdpose import DynamicAwareMask, STDPose, modified_sigmoid
from ..predict import Propagator, between_inputs
from ..records import Detections
from ..skeletons import Skeleton
from ..taps import tap_table
from . import estimates, figures
from .estimates import COLOURS, FLOW, LINE, SINGLE, Edits, Inside, crop_panel, map_trace
from .explorers import ClipPlayer, show_live

FINAL = "STDPose"
CHOSEN = "#FFD800"  # tokens, on any picture
FRAMES = ("left", "key", "right")
TOLD = {
    "both labels": (1, 1),
    "the left one": (1, 0),
    "the right one": (0, 1),
    "none (estimation)": (0, 0),
}
CROSS = "stda.blocks.{}.cross_attention.attention.map"
# what the network is given of n people, features in the place of pictures
Seen = Mapping[str, Tensor]
# T -> windows, and by name what fills them
Carried = Mapping[int, tuple[Windows, Mapping[str, Detections]]]


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


# --- what the network does ------------------------------------------------------------------------


def see(propagator: Propagator, windows: Windows, rows: Sequence[int] | None = None) -> Seen:
    """The network's arguments for windows (all by default), pictures read by the backbone: what
    is slow, once.
    """
    rows, parts = np.arange(len(windows)) if rows is None else np.asarray(rows), []
    with torch.inference_mode():
        for part in np.array_split(rows, max(-(-len(rows) // 32), 1)):
            inputs = {
                n: v.to(propagator.device) for n, v in between_inputs(windows.batch(part)).items()
            }
            parts.append(inputs | {"features": propagator.model.features_of(inputs.pop("images"))})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def look_inside(
    propagator: Propagator,
    seen: Seen,
    names: Sequence[str] | None = None,
    *,
    told: Sequence[int] = (1, 1),
    edit: Edits | None = None,
) -> Inside:
    """Everything behind the backbone. names: taps, None for all; told: whether the left and the
    right label are given; edit: as in `taps.record`.
    """
    model, known = propagator.model, seen["auxiliary_weights"]
    names = (
        [n for n in tap_table(model) if not n.startswith("backbone.")] if names is None else names
    )
    known = known * torch.tensor(told, dtype=known.dtype, device=known.device)[:, None]
    inputs = {**seen, "auxiliary_weights": known}
    found, taps = propagator.look(**inputs, names=names, edit=edit)
    xy, _ = model.decode(found)
    arrays = {name: taps[name].float().cpu().numpy() for name in taps}
    return Inside(xy.float().cpu().numpy(), found["heatmaps"].float().cpu().numpy(), arrays)


def changed_mask(model: STDPose, **changes: float) -> DynamicAwareMask:
    """The model's mask module with another k, theta, forward_weight or backward_weight."""
    mask = DynamicAwareMask(replace(model.config, **changes))
    mask.load_state_dict(model.dam.state_dict())
    device = next(model.dam.parameters()).device
    return mask.to(device, memory_format=torch.channels_last)  # as predictors keep theirs


def even(x: Tensor) -> Tensor:
    """An edit: the same everywhere, with the same sum."""
    return x.mean((-2, -1), keepdim=True).expand_as(x)


def blanked(chosen: Bool[np.ndarray, "n token"]) -> Edits:
    """An edit: the image tokens of these places say no more than the mean of the picture's
    tokens.
    """

    def edit(fused: Tensor) -> Tensor:
        at = torch.as_tensor(chosen, device=fused.device).view(-1, 1, *fused.shape[2:])
        return torch.where(at, fused.mean((2, 3), keepdim=True), fused)

    return {"tff.out": edit}


def strongest(weights: Float[np.ndarray, "n token"], count: int) -> Bool[np.ndarray, "n token"]:
    """So many highest places of each row; negate the weights for the lowest."""
    return weights.argsort(1).argsort(1) >= weights.shape[1] - count


def tokens_to_crop(model: STDPose) -> Float[np.ndarray, "2 3"]:
    """(column, row) of a token -> px of the crop, its middle."""
    patch, out = 2 ** len(model.config.deconv), model.to_crop.double().cpu().numpy()
    return np.column_stack((out[:, :2] * patch, out @ ((patch - 1) / 2, (patch - 1) / 2, 1)))


def token_places(model: STDPose) -> Float[np.ndarray, "token 2"]:
    """Middles of all tokens in the order of the network, px of the crop."""
    w, h = (n // 2 ** len(model.config.deconv) for n in model.config.grid)
    return geometry.apply(
        tokens_to_crop(model), np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).reshape(-1, 2)
    )


def token_at(model: STDPose, xy_crop: Float[np.ndarray, "*n k 2"]) -> Int[np.ndarray, "*n k"]:
    """Number of the token whose middle is nearest."""
    return np.linalg.norm(token_places(model) - np.asarray(xy_crop)[..., None, :], axis=-1).argmin(
        -1
    )


# --- what is carried ------------------------------------------------------------------------------


def carry_all(
    propagator: Propagator, single: Propagator, windows: Windows
) -> dict[str, Detections]:
    """The poses between labels by everybody; single: sees no labels and no other frames."""
    return {
        LINE: propagate.linear(windows),
        FLOW: propagate.farneback(windows, progress=False),
        SINGLE: single.carry(windows, given=False),
        FINAL: propagator.carry(windows),
    }


def errors(windows: Windows, found: Detections) -> Float[np.ndarray, "n k"]:
    """Distances from the truth, px of the picture; NaN where the truth has no label."""
    truth = windows.poses()
    return np.where(truth.labelled, joint_distances(found.xy_frame, truth.xy_frame), np.nan)


def distances(windows: Windows) -> Int[np.ndarray, "n"]:
    """Frames from each key frame to the nearer label."""
    frames = np.array([windows.frames_of(i) for i in range(len(windows))]).reshape(-1, 3)
    return np.abs(frames[:, ::2] - frames[:, 1:2]).min(1)


def by_distance(windows: Windows, poses: Mapping[str, Detections]) -> list[dict]:
    """Mean errors by distance from a label, for `curves`."""
    away, rows = distances(windows), []
    for name, found in poses.items():
        error = errors(windows, found)
        for d in np.unique(away).tolist():
            rows.append(
                {
                    "who": name,
                    "frames to the nearer label": d,
                    "mean error, px": np.nanmean(error[away == d]),
                }
            )
    return rows


def error_rows(
    answers: Mapping[str, Float[np.ndarray, "n k 2"]],
    truth: Float[np.ndarray, "n k 2"],
    flags: Int[np.ndarray, "n k"],
    fast: Bool[np.ndarray, "n k"],
) -> list[dict]:
    """`estimates.error_rows` with the joints that move fast."""
    rows = estimates.error_rows(answers, truth, flags)
    for row, xy in zip(rows, answers.values()):
        row["blurred joints, px"] = (
            joint_distances(xy, truth)[fast].mean() if fast.any() else np.nan
        )
    return rows


# --- pictures -------------------------------------------------------------------------------------


def curves(rows: Sequence[Mapping], title: str, *, height: int = 400) -> go.Figure:
    """Lines of rows (who, x, y), in this order; their names are the titles of the axes."""
    by, x, y = list(rows[0])[:3]
    figure = px.line(rows, x=x, y=y, color=by, markers=True, color_discrete_map=COLOURS)
    return figures.page_layout(figure, title, height, legend_title_text=by)


def sigmoids(
    settings: Mapping[str, tuple[float, float]], residual: Float[np.ndarray, "..."], title: str
) -> go.Figure:
    """Modified sigmoids, name -> (k, theta); below, how often pixels have which residual."""
    x = np.linspace(-1.2, 1.2, 241)
    rows = [
        {"who": name, "residual x": a, "Sig<sub>m</sub>(x)": b}
        for name, setting in settings.items()
        for a, b in zip(x, modified_sigmoid(torch.from_numpy(x), *setting).tolist())
    ]
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.05)
    figure.add_traces(curves(rows, "").update_traces(mode="lines").data, 1, 1)
    counts, edges = np.histogram(residual, 60, (-1.2, 1.2))
    bars = {
        "x": (edges[1:] + edges[:-1]) / 2,
        "y": counts / residual.size,
        "marker_color": figures.GREY,
    }
    figure.add_bar(name="pixels", **bars, row=2, col=1)
    figure.update_xaxes(title="residual x", row=2, col=1)
    figure.update_yaxes(title="Sig<sub>m</sub>(x)", range=[0, 1], row=1, col=1)
    figure.update_yaxes(title="share (log)", type="log", row=2, col=1)
    return figures.page_layout(figure, title, 520)


def path_figure(
    panels: Mapping[str, UInt8[np.ndarray, "h w 3"]],
    paths: Mapping[str, Float[np.ndarray, "t 2"]],
    frames: Sequence[int],
    title: str,
) -> go.Figure:
    """Where a joint goes, frame by frame, by names of COLOURS, over pictures by their captions;
    px of the picture.
    """
    named = [{"picture": picture, "caption": caption} for caption, picture in panels.items()]
    figure = figures.annotated_pictures(named, title, cols=len(panels))
    for col in range(len(panels)):
        for name, xy in paths.items():
            look = {
                "mode": "lines+markers",
                "name": name,
                "legendgroup": name,
                "showlegend": col == 0,
            }
            hover = {
                "text": [f"{name}, frame {t}" for t in frames],
                "hoverinfo": "text",
                "line_color": COLOURS[name],
            }
            figure.add_scatter(x=xy[:, 0], y=xy[:, 1], **look, **hover, row=1, col=col + 1)
    return figure


def draw_poses(
    picture: UInt8[np.ndarray, "h w 3"],
    poses: Mapping[str, Float[np.ndarray, "p k 2"]],
    skeleton: Skeleton,
    *,
    zoom: float = 2.0,
    labelled: bool = False,
) -> UInt8[np.ndarray, "a b 3"]:
    """Poses by names of COLOURS over an enlarged picture; a frame with labels has a broad green
    rim.
    """
    out = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    for name, people in poses.items():
        colour = tuple(bytes.fromhex(COLOURS[name][1:]))
        for xy in np.rint((people + 0.5) * zoom - 0.5).clip(-9999, 9999).astype(int).tolist():
            for a, b in skeleton.edges:
                cv2.line(out, xy[a], xy[b], colour, 2, cv2.LINE_AA)
            for at in xy:
                cv2.circle(out, at, 3, colour, -1, cv2.LINE_AA)
    if labelled:
        cv2.rectangle(
            out,
            (0, 0),
            (out.shape[1] - 1, out.shape[0] - 1),
            tuple(bytes.fromhex(figures.TRUTH[1:])),
            6,
        )
    return out


# --- explorers ------------------------------------------------------------------------------------


class _Between:
    """A person in a frame between two labels. The backbone runs once a person, frame and gap; the
    rest with every change.

    Who inherits has `_controls` (widgets, and what answers them), `_run`, `_build`, `_fill` and
    `_sentence`.
    """

    title = ""

    def __init__(
        self,
        propagator: Propagator,
        sets: Mapping[int, Windows],
        *,
        interval: int = 7,
        index: int = 0,
        joint: str = "left_wrist",
        seed: int = 0,
    ):
        self.sets, self.skeleton, self.config = sets, propagator.skeleton, propagator.model.config
        self.models = {False: propagator, True: propagator.random_control(seed)}
        self.to_crop, j = propagator.model.to_crop.cpu().numpy(), joint
        common = set.intersection(
            *({tuple(item) for item in w.items[:, :2].tolist()} for w in sets.values())
        )
        self.people = sorted(common)
        pair, n, key = sets[interval].items[index].tolist()
        last = int(max(w.items[:, 2].max() for w in sets.values()))
        self.person = number("person", self.people.index((pair, n)), len(self.people) - 1)
        self.gap, self.frame = choice("gap T", sets, interval), number("frame", key, last)
        self.joint, self.told = (
            choice("joint", self.skeleton.joints, j),
            choice("told", TOLD.items(), (1, 1)),
        )
        self.opacity = share("opacity", 0.8)
        controls, answers = self._controls()
        self.readout = widgets.HTML()
        self._new_window()
        first = self.static()
        first.update_layout(title_text="", margin_t=50, height=first.layout.height - 40)
        self.figure = go.FigureWidget(first)
        self.figure._config = dict(figures.CONFIG)
        controls = [self.person, self.gap, self.frame, self.joint, *controls]
        answers |= dict.fromkeys((self.person, self.gap, self.frame), self._new_window) | {
            self.told: self._new_labels
        }
        for each in controls:
            each.observe(answers.get(each, self._redraw), "value")
        self.widget = widgets.VBox([side_by_side(controls), self.readout, self.figure])

    def _new_window(self, _change=None) -> None:
        windows, person = self.sets[self.gap.value], self.people[self.person.value]
        own = np.flatnonzero((windows.items[:, :2] == person).all(1))
        # labelled frames have no window
        row = int(own[np.abs(windows.items[own, 2] - self.frame.value).argmin()])
        self.window, self.seen = windows.sample(row), see(self.models[False], windows, [row])
        self.sources = [figures.data_uri(crop) for crop in self.window.crops]
        self._new_labels()

    def _new_labels(self, _change=None) -> None:
        self.shipped = self.look(False)
        self._run()

    def look(self, blank: bool, names: Sequence[str] | None = None, **kw) -> Inside:
        """With trained or random weights."""
        return look_inside(self.models[blank], self.seen, names, told=self.told.value, **kw)

    def away(self, inside: Inside) -> Float[np.ndarray, "k"]:
        """Errors of an answer, px of the crop; NaN without a label."""
        truth, flags = self.window.xy_crop[1], self.window.visibility[1]
        return np.where(flags > 0, joint_distances(inside.xy_crop, truth[None])[0], np.nan)

    def poses(self, inside: Inside) -> dict[str, Float[np.ndarray, "k 2"]]:
        """Truth, the single frame's answer and another, px of the crop."""
        single = estimates.peaks(
            self.models[False], torch.from_numpy(self.shipped.taps["estimated"][:, 1])
        )[0]
        truth = crop_panel(self.window, "", self.skeleton, {})["poses"][figures.REAL][0]
        return {figures.REAL: truth, SINGLE: single, FINAL: inside.xy_crop[0]}

    def _panels(
        self,
        cols: int,
        names: Sequence[str],
        maps: Sequence[tuple[np.ndarray, tuple[int, int]]],
        poses_in: int,
    ) -> go.Figure:
        """Crops below see-through maps (their affine and shape); where there are more names than
        maps, a plot is the last. Behind the maps stand the traces of the poses, in one of the
        panels.
        """
        rows = -(-len(names) // cols)
        figure = make_subplots(
            rows, cols, subplot_titles=names, horizontal_spacing=0.02, vertical_spacing=0.08
        )
        (w, h), blank = self.config.size, np.zeros((len(self.skeleton), 2))
        at = [{"row": i // cols + 1, "col": i % cols + 1} for i in range(len(maps))]
        for (affine, shape), place in zip(maps, at):
            figure.add_trace(map_trace(affine, np.zeros(shape)), **place)
            figures.picture_axes(
                figure, [-0.5, w - 0.5], [h - 0.5, -0.5], **place, constrain="domain"
            )
        for name in (figures.REAL, SINGLE, FINAL):
            for trace in figures.pose_traces(blank, self.skeleton, name, COLOURS[name], width=1.5):
                # a click reaches what lies under it
                figure.add_trace(trace.update(hoverinfo="skip"), **at[poses_in])
        figure.update_annotations(font_size=12)
        figure = figures.page_layout(
            figure, "", 150 + 300 * rows, figures.PAGE_PX, legend={"orientation": "h", "y": -0.03}
        )
        return figure.update_layout(margin_t=90)

    def _draw(
        self,
        figure: BaseFigure,
        grids: Sequence[np.ndarray],
        times: Sequence[int],
        least: Mapping[int, float] = {},
    ) -> None:
        """Maps, poses and, where they are others, pictures. least: where a map's scale ends at the
        earliest.

        Nothing is set twice: plotly drops the second value within a `batch_update` if it is the one
        before both.
        """
        for i, (trace, grid) in enumerate(zip(figure.data, grids)):
            trace.update(
                z=grid, zmax=max(float(grid.max()), least.get(i, 1e-6)), opacity=self.opacity.value
            )
        lines = [
            part
            for xy in self.poses(self.inside).values()
            for part in (figures.bones(xy, self.skeleton), xy.T)
        ]
        for trace, (x, y) in zip(figure.data[len(grids) :], lines):
            trace.update(x=x, y=y)
        (w, h), sources = self.config.size, [self.sources[t] for t in times]
        if [image.source for image in figure.layout.images] != sources:
            at = {
                "x": -0.5,
                "y": -0.5,
                "sizex": w,
                "sizey": h,
                "sizing": "stretch",
                "layer": "below",
            }
            axes = [{"xref": f"x{n}", "yref": f"y{n}"} for n in ("", *range(2, len(times) + 1))]
            figure.layout.images = [at | refs | {"source": s} for refs, s in zip(axes, sources)]

    def _redraw(self, _change=None) -> None:
        (left, key, right), asked = self.window.frames.tolist(), self.frame.value
        flag = ("no label", "occluded", "visible")[
            self.window.visibility[1, self.skeleton.index(self.joint.value)]
        ]
        where = (
            f"Key frame {key} between labels {left} and {right}; <b>{self.joint.value}</b>: {flag}."
        )
        if asked != key:
            why = "is labelled" if asked in (left, right) else "has no labels on both sides"
            where = f"Frame {asked} {why}; the nearest between labels is {key}. {where}"
        self.readout.value = f"<div class='between-readout'>{where}<br>{self._sentence()}</div>"
        if hasattr(self, "figure"):
            with self.figure.batch_update():  # one message, one repaint
                self._fill(self.figure)

    def static(self) -> go.Figure:
        """The present picture as a plain figure."""
        figure = self._build()
        self._fill(figure)
        about = (
            f"person {self.person.value}, frame {self.window.frames[1]}, T = {self.gap.value}, "
            f"{self.joint.value}"
        )
        return figure.update_layout(title_text=f"{self.title} (static copy, synthetic): {about}")

    def show(self) -> None:
        """Displays the live widget with its static twin for copies without a kernel."""
        show_live(self.widget, self.static())


MERGED = {
    "what the mask leaves": "stda.masked",
    "TKS: merged in time": "tks.time",
    "TKS: merged in space": "tks.space",
    "TKS: synthesis": "tks.out",
}


class MaskExplorer(_Between):
    """The dynamic-aware mask: k, theta, both weights and the gap, and what becomes of curve,
    residuals, mask and answer; and the steps of the keypoints' synthesis that the mask is laid on.
    """

    title = "The dynamic-aware mask"

    def _controls(self) -> tuple[list, dict]:
        self.k, self.theta = share("k", self.config.k, 10.0), share("theta", self.config.theta)
        self.forward, self.backward = (
            share(f"{name} weight", getattr(self.config, f"{name}_weight"), 4.0)
            for name in ("forward", "backward")
        )
        self.weights = choice("weights", [("trained", False), ("random (control)", True)])
        self.working = {blank: copy.deepcopy(p) for blank, p in self.models.items()}
        self.merged = choice("merged", list(MERGED))
        run = [self.k, self.theta, self.forward, self.backward, self.weights]
        return [*run, self.told, self.merged, self.opacity], dict.fromkeys(run, self._run)

    def _new_labels(self, _change=None) -> None:
        # by weights: the answer of an even mask, whatever k, theta and the two weights are
        self.flat = {}
        super()._new_labels()

    def _run(self, _change=None) -> None:
        changes = {"k": self.k.value, "theta": self.theta.value}
        changes |= {"forward_weight": self.forward.value, "backward_weight": self.backward.value}
        blank = self.weights.value
        own = self.working[blank]
        own.model.dam = changed_mask(self.models[blank].model, **changes)
        names = ["dam.residual", "dam.out", "frames", *MERGED.values()]
        self.inside = look_inside(own, self.seen, names, told=self.told.value)
        if blank not in self.flat:
            self.flat[blank] = self.look(blank, (), edit={"dam.out": even})
        self._redraw()

    def _build(self) -> go.Figure:
        captions = [
            *(f"{name} frame" for name in FRAMES),
            "|forward residual|",
            "|backward residual|",
            "mask",
        ]
        names = [*captions, "what the mask leaves", "modified sigmoid (Eq. 3)"]
        figure = self._panels(4, names, [(self.to_crop, self.config.grid[::-1])] * 7, 5)
        figure.add_scatter(mode="lines", line_color=figures.REFINED, showlegend=False, row=2, col=4)
        dots = {
            "mode": "markers",
            "marker_size": 10,
            "name": "largest residuals",
            "showlegend": False,
        }
        figure.add_scatter(**dots, marker_color=[figures.DETECTED, figures.MASKED], row=2, col=4)
        return figure.update_layout(
            yaxis8={"range": [0, 1], "side": "right"}, xaxis8={"title": "residual"}
        )

    def _fill(self, figure: BaseFigure) -> None:
        j, taps = (
            self.skeleton.index(self.joint.value),
            {name: tap[0] for name, tap in self.inside.taps.items()},
        )
        residual = np.abs(taps["dam.residual"][:, j])
        times, merged = (
            taps["dam.out"] * taps["dam.out"].size,
            np.abs(taps[MERGED[self.merged.value]][j]),
        )
        maps = [*taps["frames"][:, j], *residual, times, merged]
        self._draw(figure, maps, (0, 1, 2, 1, 1, 1, 1), {5: 4.0})  # an even mask is pale
        x, largest = np.linspace(-1.2, 1.2, 121), residual.max((1, 2)).astype(float)
        for trace, at in zip(figure.data[-2:], (x, largest)):
            trace.update(
                x=at,
                y=modified_sigmoid(torch.from_numpy(at), self.k.value, self.theta.value).numpy(),
            )
        figure.layout.annotations[5].text = f"mask: {times.min():.1f} to {times.max():.1f} x even"
        figure.layout.annotations[6].text = f"|{self.merged.value}|<br>up to {merged.max():.2g}"

    def _sentence(self) -> str:
        j, mask = self.skeleton.index(self.joint.value), self.inside.taps["dam.out"][0]
        told = {"this mask": self.inside, "the mask as shipped": self.shipped}
        told["an even mask"] = self.flat[self.weights.value]
        away = {name: self.away(inside) for name, inside in told.items()}
        said = ", ".join(
            f"{name} <b>{np.nanmean(a):.2f}</b> ({a[j]:.1f})" for name, a in away.items()
        )
        information = -(mask * np.log(mask)).sum() / np.log(mask.size)
        return (
            f"Mean error (and this joint's), px of the crop: {said}.<br>The mask's entropy is "
            f"{information:.1%} of an even "
            f"one's; its highest place is {mask.max() * mask.size:.2f} times as high."
        )


class LookExplorer(_Between):
    """Click a place (or move the token by joint and slider): a heatmap token, and the image
    tokens that it looks at.
    """

    title, names = (
        "Where a heatmap token looks",
        ("it looks at (trained)", "random weights (control)"),
    )

    def _controls(self) -> tuple[list, dict]:
        self.places = token_places(self.models[False].model)
        self.shape = tuple(n // 2 ** len(self.config.deconv) for n in self.config.grid[::-1])
        n, blocks = len(self.places), range(self.config.blocks)
        self.token = number("token", 0, n - 1)
        self.block = choice("block", [(str(i + 1), i) for i in blocks], blocks[-1])
        self.head = choice(
            "head", [("mean", -1), *((str(i + 1), i) for i in range(self.config.heads))]
        )
        self.count = number("blank out", 0, n)
        self.of = choice(
            "of them", [("most looked at", 1), ("least looked at", -1), ("at random", 0)]
        )
        run = [self.token, self.block, self.head, self.count, self.of]
        return [*run, self.told, self.opacity], dict.fromkeys(run, self._run) | {
            self.joint: self._to_joint
        }

    def _new_labels(self, _change=None) -> None:
        self.shipped, self.blank = self.look(False), self.look(True, [CROSS.format("*")])
        self._to_joint()

    def _to_joint(self, _change=None) -> None:
        at = int(
            token_at(self.models[False].model, self.shipped.xy_crop[0])[
                self.skeleton.index(self.joint.value)
            ]
        )
        moved, self.token.value = self.token.value != at, at
        if not (moved and hasattr(self, "figure")):  # else the slider has said so already
            self._run()

    def attention(self, inside: Inside) -> Float[np.ndarray, "token"]:
        """Of the chosen token, block and head to all image tokens."""
        maps = inside.taps[CROSS.format(self.block.value)][0, :, self.token.value]
        return maps.mean(0) if self.head.value < 0 else maps[self.head.value]

    def _run(self, _change=None) -> None:
        order = self.attention(self.shipped) * self.of.value
        order = order if self.of.value else np.random.default_rng(0).random(len(order))
        self.chosen = strongest(order[None], self.count.value)
        self.inside = self.look(False, (), edit=blanked(self.chosen))
        self._redraw()

    def _build(self) -> go.Figure:
        maps = [
            (self.to_crop, self.config.grid[::-1]),
            *[(tokens_to_crop(self.models[False].model), self.shape)] * 2,
        ]
        figure = self._panels(3, ["TKS", *self.names], maps, 0)
        figure.data[0].hoverinfo = "skip"
        (x, y), text = self.places.T, [f"token {i}" for i in range(len(self.places))]
        for col, symbol in ((1, "square-open-dot"), (2, "x")):
            dots = {
                "x": x,
                "y": y,
                "mode": "markers",
                "showlegend": False,
                "hovertext": text,
                "hoverinfo": "text",
            }
            look = {
                "symbol": symbol,
                "size": 11,
                "color": CHOSEN,
                "line": {"color": "#000000", "width": 1.5},
            }
            figure.add_scatter(**dots, marker=look, row=1, col=col)
        return figure.update_layout(hoverdistance=40)

    def _fill(self, figure: BaseFigure) -> None:
        maps = [self.attention(inside).reshape(self.shape) for inside in (self.shipped, self.blank)]
        own = np.abs(self.shipped.taps["tks.out"][0, self.skeleton.index(self.joint.value)])
        self._draw(figure, [own, *maps], (1, 1, 1))
        here, (asks, blanked_out) = (
            np.arange(len(self.places)) == self.token.value,
            figure.data[-2:],
        )
        asks.marker.color = np.where(here, CHOSEN, "rgba(255,255,255,0.6)").tolist()
        asks.marker.symbol = np.where(here, "square", "square-open-dot").tolist()
        blanked_out.marker.opacity = self.chosen[0].astype(float)
        figure.layout.annotations[
            0
        ].text = f"|TKS| of {self.joint.value}, up to {own.max():.2g};<br>click a token"
        for told, name, grid in zip(figure.layout.annotations[1:], self.names, maps):
            told.text = f"{name}<br>up to {grid.max():.3f}, even {1 / grid.size:.3f}"

    def _sentence(self) -> str:
        j = self.skeleton.index(self.joint.value)
        before, after = (self.away(inside) for inside in (self.shipped, self.inside))
        moved = joint_distances(self.inside.xy_crop, self.shipped.xy_crop)[0]
        weights, change = (
            self.attention(self.shipped),
            np.abs(self.inside.heatmaps - self.shipped.heatmaps).max(),
        )
        return (
            f"{self.count.value} image tokens ({weights[self.chosen[0]].sum():.0%} of its "
            "attention) blanked out: mean error "
            f"{np.nanmean(before):.2f} &rarr; <b>{np.nanmean(after):.2f}</b> crop px, this joint's "
            f"{before[j]:.1f} &rarr; "
            f"{after[j]:.1f}, moved by {moved[j]:.1f}; heatmaps by up to {change:.2g}."
        )

    def clicked(self, _trace, points, _state) -> None:
        """A click on one of the dots."""
        for i in points.point_inds:
            self.token.value = int(i)

    def show(self) -> None:
        """Displays the live widget, which hears clicks, with its static twin."""
        self.figure.data[-2].on_click(self.clicked)
        super().show()


class PropagationPlayer(ClipPlayer):
    """A clip with labels of every T-th frame: play it, choose whose poses are drawn, and see the
    error along the time line.

    carried: T -> windows of the same clips, and who fills them.
    """

    def __init__(
        self,
        carried: Carried,
        *,
        interval: int = 7,
        pair: int = 0,
        frame: int = 0,
        zoom: float = 2.0,
    ):
        self.carried, clips = carried, next(iter(carried.values()))[0].pairs
        self.away = {
            t: {name: errors(w, found) for name, found in poses.items()}
            for t, (w, poses) in carried.items()
        }
        self.gap, self.pair = (
            choice("gap T", carried, interval),
            number("clip", pair, len(clips) - 1),
        )
        box = {"indent": False, "layout": {"width": "130px"}}
        shown = (figures.REAL, LINE, FINAL)
        self.who = {
            name: widgets.Checkbox(name in shown, description=name, **box) for name in COLOURS
        }
        super().__init__(*clips[pair], frame=frame, zoom=zoom)
        self.play.interval = 250  # ms a frame: slow enough to watch
        self.lines = go.FigureWidget(self._time_line())
        self.lines._config = dict(figures.CONFIG)
        for control in (self.gap, self.pair):
            control.observe(self._new_clip, "value")
        for control in self.who.values():
            control.observe(self._redraw, "value")
        rows = [[self.pair, self.gap], [self.play, self.frame], [*self.who.values()]]
        self.widget.children = [*map(side_by_side, rows), self.picture, self.lines]

    def _new_clip(self, _change=None) -> None:
        self.clip = self.carried[self.gap.value][0].pairs[self.pair.value][0]
        self.frame.max = self.play.max = self.clip.video.n_frames - 1
        with self.lines.batch_update():
            for trace, new in zip(self.lines.data, self._time_line().data):
                trace.update(x=new.x, y=new.y)
        self._redraw()

    def _rows(self) -> Int[np.ndarray, "m"]:
        """Windows of the clip."""
        return np.flatnonzero(self.carried[self.gap.value][0].items[:, 0] == self.pair.value)

    def labelled(self) -> Int[np.ndarray, "m"]:
        """Frames of the clip whose labels are given to somebody."""
        windows = self.carried[self.gap.value][0]
        return np.unique([windows.frames_of(i)[::2] for i in self._rows().tolist()])

    def state(self, t: int | None = None) -> dict:
        """Of a frame, by default the shown one: picture, poses by name [p k 2], whether it is
        labelled, mean errors, px.
        """
        t, (windows, poses) = self.frame.value if t is None else t, self.carried[self.gap.value]
        own = self._rows()
        own, given = own[windows.items[own, 2] == t], t in self.labelled()
        shown = {
            name: found.xy_frame[own]
            for name, found in poses.items()
            if self.who[name].value and len(own)
        }
        if given or self.who[figures.REAL].value:
            people = [track.xy_frame[t] for track in self.clip.tracks if track.labelled[t]]
            shown[figures.REAL] = np.reshape(people, (-1, len(self.skeleton), 2))
        away = {
            name: float(np.nanmean(e[own]))
            for name, e in self.away[self.gap.value].items()
            if len(own)
        }
        picture = draw_poses(
            windows.frame(self.pair.value, t), shown, self.skeleton, zoom=self.zoom, labelled=given
        )
        return {"frame": t, "picture": picture, "poses": shown, "labelled": given, "errors": away}

    def _time_line(self) -> go.Figure:
        own, windows = self._rows(), self.carried[self.gap.value][0]
        figure, times = go.Figure(), np.arange(self.clip.video.n_frames)
        rows = [own[windows.items[own, 2] == t] for t in times]
        # legend
        figure.add_scatter(
            x=[None], y=[None], name=figures.REAL, mode="lines", line_color=figures.TRUTH
        )
        for name, error in self.away[self.gap.value].items():
            y = [np.nanmean(error[r]) if len(r) else None for r in rows]
            figure.add_scatter(
                x=times, y=y, name=name, mode="lines+markers", line_color=COLOURS[name]
            )
        mark = {"symbol": "diamond", "size": 12, "color": figures.TRUTH}
        labels = self.labelled()
        look = {"mode": "markers", "marker": mark, "cliponaxis": False}
        figure.add_scatter(x=labels, y=0 * labels, name="labelled frames", **look)
        figure.add_vline(x=self.frame.value, line={"color": figures.GREY, "dash": "dot"})
        figure.update_xaxes(title="frame", range=[-0.5, len(times) - 0.5], ticklabelstandoff=6)
        figure.update_yaxes(title="mean error, px", rangemode="tozero")
        return figures.page_layout(figure, "", 300, figures.PAGE_PX).update_layout(margin_t=20)

    def _redraw(self, _change=None) -> None:
        state = self.state()
        self.canvas.picture = figures.jpeg(state["picture"])
        said = [
            f"<b style='color:{COLOURS[n]}'>{n}</b>: {v:.1f} px" for n, v in state["errors"].items()
        ]
        kind = (
            "labels are given here"
            if state["labelled"]
            else "mean error of all people between labels"
        )
        said = "<br>".join([f"frame {state['frame']}: {kind}", *said])
        self.readout.value = f"<div class='player-readout'>{said}</div>"
        if hasattr(self, "lines"):
            self.lines.layout.shapes[0].update(x0=state["frame"], x1=state["frame"])

    def static(self) -> go.Figure:
        """The shown frame between its labels, or the middle of a gap, and the time line, as a
        plain figure.
        """
        labels, t = self.labelled(), self.frame.value
        gap = np.searchsorted(labels, t, "right").clip(1, len(labels) - 1)
        left, right = labels[[gap - 1, gap]].tolist()
        states = [
            self.state(at) for at in (left, t if left < t < right else (left + right) // 2, right)
        ]
        names = [f"frame {s['frame']}{', labelled' if s['labelled'] else ''}" for s in states]
        spaces = {"horizontal_spacing": 0.01, "vertical_spacing": 0.06, "row_heights": [0.6, 0.4]}
        figure = make_subplots(
            2, 3, specs=[[{}] * 3, [{"colspan": 3}, None, None]], subplot_titles=names, **spaces
        )
        for col, (h, w, _) in enumerate((s["picture"].shape for s in states), 1):
            at = {"x": 0, "y": 0, "sizex": w, "sizey": h, "sizing": "stretch", "layer": "below"}
            figure.add_layout_image(
                at | {"source": figures.data_uri(states[col - 1]["picture"])}, row=1, col=col
            )
            figures.picture_axes(figure, [0, w], [h, 0], 1, col, constrain="domain")
        figure.add_traces(self._time_line().data, rows=2, cols=1)
        figure.update_xaxes(title="frame", ticklabelstandoff=6, row=2, col=1)
        figure.update_yaxes(title="mean error, px", rangemode="tozero", row=2, col=1)
        title = (
            f"Labels {self.gap.value} frames apart, carried (static copy, synthetic): "
            f"clip {self.pair.value}"
        )
        return figures.page_layout(
            figure, title, 560, figures.PAGE_PX, legend={"orientation": "h", "y": -0.18}
        )
