"""Records and taps become widgets. `static()` of each is the same picture as a plain figure, for
copies without a kernel.
"""

from __future__ import annotations

import json
from pathlib import Path

import anywidget
import cv2
import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import traitlets
from IPython.display import display

from .. import geometry
from ..data.coco import find_pictures
from ..data.frames import open_frames
from ..data.windows import clips_of
from ..errors import WorkbenchError
from ..occlusion import cover
from ..records import Clip, Reading
from ..skeletons import Skeleton, skeleton
from . import figures

PLOTLY = "application/vnd.plotly.v1+json"


def quiet_plotly() -> None:
    """No upload button and no logo on plotly figures; called by a notebook's set-up cell."""
    pio.renderers["plotly_mimetype"].config.update(figures.CONFIG)
    pio.renderers.default = "plotly_mimetype"


def show_live(widget: widgets.Widget, static: go.Figure) -> None:
    """Displays a widget whose output also carries a static figure, for places where no kernel
    answers.

    JupyterLab shows the widget; the HTML export and viewers without widgets show the figure.
    """
    bundle = dict(widget._repr_mimebundle_())
    bundle[PLOTLY] = {**json.loads(pio.to_json(static, validate=False)), "config": figures.CONFIG}
    display(bundle, raw=True)


class Canvas(anywidget.AnyWidget):
    """A picture (JPEG bytes) on a canvas; what the pointer draws on it comes back as strokes of
    (x, y), picture px.
    """

    _esm = Path(__file__).with_name("canvas.js")
    picture = traitlets.Bytes().tag(sync=True)
    strokes = traitlets.List().tag(sync=True)
    paints = traitlets.Bool(False).tag(sync=True)


def clip_panel(
    clip: Clip, picture: np.ndarray, t: int, caption: str, *, before: Clip | None = None
) -> dict:
    """Frame t of a clip as a panel of `figures.annotated_pictures`; before: the same clip ahead
    of an occlusion.
    """
    panel = {
        "picture": np.asarray(picture),
        "caption": caption,
        "skeleton": skeleton(clip.tracks[0].skeleton),
        "xy_frame": np.stack([track.xy_frame[t] for track in clip.tracks]),
        "visibility": np.stack([track.visibility[t] for track in clip.tracks]),
        "known": all(track.occlusion_known for track in clip.tracks),
    }
    return panel | (
        {"before": np.stack([track.visibility[t] for track in before.tracks])} if before else {}
    )


def labelled_picture(
    reading: Reading, place: Path, caption: str, *, among: int = 60
) -> dict | None:
    """The frame whose labels show most, in the first clips or pictures that can be read below
    `place`, as a panel.

    Most: the largest number of hidden joints that comes with as many visible ones, then of labelled
    joints. None where no picture can be read.
    """
    found = []
    for clip in clips_of(reading, first=among):
        for t in (
            np.flatnonzero(np.any([track.labelled for track in clip.tracks], 0)).tolist()
            if clip.pictures
            else ()
        ):
            counts = sum(np.bincount(track.visibility[t], minlength=3) for track in clip.tracks)
            found.append((min(counts[1:]), counts[1:].sum(), -len(found), clip, t))
    folder = find_pictures(place, [clip.pictures[t].name for *_, clip, t in found])
    for *_, clip, t in sorted(found, reverse=True, key=lambda item: item[:3])[:among]:
        try:
            return clip_panel(clip, open_frames(clip, folder or place)[t], t, caption)
        except WorkbenchError:  # not here, or not readable: the next one will do
            continue
    return None


def label_flags(reading: Reading) -> tuple[Skeleton, np.ndarray, bool] | None:
    """Skeleton, flags [n k] of everybody with a labelled joint, and whether they know occlusion;
    None without labels.
    """
    records = ([reading.poses] if reading.poses is not None else []) + [
        t for c in reading.clips for t in c.tracks
    ]
    if not records:
        return None
    flags = np.concatenate([record.visibility for record in records])
    return skeleton(records[0].skeleton), flags[flags.any(1)], records[0].occlusion_known


class ClipPlayer:
    """A clip with its labels frame by frame: play it, or move through it.

    clip: tracks of one skeleton; frames: [t h w 3] RGB, or whatever gives such a frame by its
    number.
    """

    def __init__(
        self, clip: Clip, frames, *, frame: int = 0, zoom: float = 2.0, paints: bool = False
    ):
        self.clip, self.frames, self.zoom = clip, frames, zoom
        self.skeleton = skeleton(clip.tracks[0].skeleton)
        self.xy = np.stack([track.xy_frame for track in clip.tracks])  # [p t k 2]
        self.before = np.stack([track.visibility for track in clip.tracks])
        end = clip.video.n_frames - 1
        self.frame = widgets.IntSlider(
            frame, 0, end, description="frame", layout={"width": "340px"}
        )
        pace = round(1000 / (clip.video.fps or 10))
        self.play = widgets.Play(
            value=frame, min=0, max=end, interval=max(pace, 80), show_repeat=False
        )
        widgets.jslink((self.play, "value"), (self.frame, "value"))
        self.canvas = Canvas(paints=paints)
        self.readout = widgets.HTML(layout={"width": "330px", "margin": "0 0 0 16px"})
        self.frame.observe(self._redraw, "value")
        self.picture = widgets.HBox([self.canvas, self.readout])
        self.widget = widgets.VBox([widgets.HBox([self.play, self.frame]), self.picture])
        self._redraw()

    def state(self) -> dict:
        """What is shown: frame number, picture, coordinates and flags of the people in it."""
        t, flags = self.frame.value, self.before[:, self.frame.value]
        picture = np.asarray(self.frames[t])
        return {
            "frame": t,
            "picture": picture,
            "xy": self.xy[:, t],
            "visibility": flags,
            "before": flags,
        }

    def _redraw(self, _change=None) -> None:
        state = self.state()
        known = self.clip.tracks[0].occlusion_known
        states = figures.joint_states(state["visibility"], state["before"], known=known)
        drawn = figures.draw_people(
            state["picture"], state["xy"], states, self.skeleton, zoom=self.zoom
        )
        self.canvas.picture = figures.jpeg(drawn)
        self.readout.value = self._sentence(state, states)

    def _sentence(self, state: dict, states: np.ndarray) -> str:
        legend = "".join(
            f"<br><b style='color:{colour}'>{mark} {name}</b>: {(states == name).sum()}"
            for mark, (name, (colour, *_)) in zip("●✖◆■", figures.LOOKS.items())
            if (states == name).any() or mark in "●✖"
        )
        return (
            f"<div class='clip-readout'>frame {state['frame']}{legend}"
            f"<br>no label (0): {(states == '').sum()}</div>"
        )

    def static(self) -> go.Figure:
        """Six frames of the clip as a plain figure."""
        some = np.linspace(0, self.clip.video.n_frames - 1, 6).round().astype(int).tolist()
        panels = [clip_panel(self.clip, self.frames[t], t, f"frame {t}") for t in some]
        return figures.annotated_pictures(panels, "The clip (static copy)")

    def show(self) -> None:
        """Displays the live widget with its static twin for copies without a kernel."""
        show_live(self.widget, self.static())


class OcclusionBrush(ClipPlayer):
    """Cover parts of a clip and see at once which flags change.

    A square patch stands at (x, y) and moves by sliders; dragging on the picture moves it and
    leaves its paint behind. Patch and paint stand still in all frames, in front of everything.
    """

    def __init__(self, clip: Clip, frames, *, frame: int = 0, zoom: float = 2.0, size_px: int = 30):
        h, w = np.asarray(frames[0]).shape[:2]
        self.size_wh, self.sizes, self.moving = (w, h), [], False
        self.to_canvas = geometry.frame_to_crop(
            np.array([0.0, 0.0, w, h]), (round(w * zoom), round(h * zoom))
        )
        place = {"layout": {"width": "340px"}, "continuous_update": True}
        self.x = widgets.IntSlider(w // 2, 0, w - 1, description="patch x", **place)
        self.y = widgets.IntSlider(h // 2, 0, h - 1, description="patch y", **place)
        self.size = widgets.IntSlider(size_px, 1, max(w, h), description="patch size", **place)
        self.clear = widgets.Button(description="remove paint", layout={"width": "130px"})
        super().__init__(clip, frames, frame=frame, zoom=zoom, paints=True)
        for control in (self.x, self.y, self.size):
            control.observe(self._redraw, "value")
        self.canvas.observe(self._painted, "strokes")
        self.clear.on_click(lambda _: self.canvas.set_trait("strokes", []))
        rows = [
            widgets.HBox([self.play, self.frame, self.clear]),
            widgets.HBox([self.x, self.y]),
            self.size,
        ]
        self.widget.children = [*rows, self.picture]

    def _redraw(self, _change=None) -> None:
        if not self.moving:
            super()._redraw()

    def covered(self) -> np.ndarray:
        """What patch and paint cover, [h w]."""
        mask = np.zeros(self.size_wh[::-1], np.uint8)
        for size, stroke in zip(self.sizes, self.canvas.strokes):
            way = np.rint(self._in_frame(stroke)).astype(np.int32)
            cv2.polylines(mask, [np.concatenate((way[:1], way))], False, 1, size)
        x, y = (max(v.value - self.size.value // 2, 0) for v in (self.x, self.y))
        x1, y1 = (v.value - self.size.value // 2 + self.size.value for v in (self.x, self.y))
        mask[y:y1, x:x1] = 1
        return mask > 0

    def _in_frame(self, stroke: list) -> np.ndarray:
        return geometry.apply(geometry.invert(self.to_canvas), np.array(stroke, float))

    def _painted(self, change) -> None:
        strokes = change["new"]
        self.sizes = self.sizes[: len(strokes)] + [self.size.value] * (
            len(strokes) - len(self.sizes)
        )
        if strokes:
            x, y = (
                np.rint(self._in_frame(strokes[-1][-1:])[0])
                .clip(0, np.array(self.size_wh) - 1)
                .astype(int)
            )
            self.moving = True  # one picture for both sliders
            self.x.value, self.y.value = int(x), int(y)
            self.moving = False
        self._redraw()

    def state(self) -> dict:
        """What is shown, with the flags under the cover, in this frame and (`whole`) in all."""
        state = super().state()
        covered = self.covered()
        whole = cover(
            self.before, self.xy, np.broadcast_to(covered, (len(self.before[0]), *covered.shape))
        )
        picture = np.where(covered[..., None], np.uint8(PAINT), state["picture"])
        return state | {"picture": picture, "visibility": whole[:, state["frame"]], "whole": whole}

    def _sentence(self, state: dict, states: np.ndarray) -> str:
        gone = [
            ", ".join(np.array(self.skeleton.joints)[row]) for row in states == figures.NEWLY_HIDDEN
        ]
        people = "".join(f"<br>person {p}: {joints}" for p, joints in enumerate(gone) if joints)
        flags = [
            " / ".join(f"{(f == v).sum()}" for v in (0, 1, 2))
            for f in (state["before"], state["visibility"])
        ]
        here, everywhere = (
            (state["visibility"] != state["before"]).sum(),
            (state["whole"] != self.before).sum(),
        )
        return (
            f"{super()._sentence(state, states)}<hr><div class='brush-readout'><b>{here} flags "
            f"change</b>{people}"
            f"<br>flags 0 / 1 / 2: {flags[0]} &rarr; {flags[1]}<br>in all {self.before.shape[1]} "
            "frames "
            f"{everywhere} change</div>"
        )

    def static(self) -> go.Figure:
        """This frame before and under the cover, as a plain figure."""
        state, t = self.state(), self.frame.value
        after = {
            "picture": state["picture"],
            "visibility": state["visibility"],
            "before": state["before"],
        }
        changed = int((state["visibility"] != state["before"]).sum())
        first = clip_panel(self.clip, self.frames[t], t, f"frame {t} as rendered")
        panels = [
            first,
            first | after | {"caption": f"under patch and paint: {changed} flags change"},
        ]
        return figures.annotated_pictures(panels, "Occlusion brush (static copy)", cols=2)


PAINT = (118, 122, 128)  # of the brush: a grey that is nobody's shirt
