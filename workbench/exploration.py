"""One way into every explorer: a method, or a model of one's own, and what it should look at.

workbench.explore("vissimcc", image="street.jpg", boxes=[(40, 20, 180, 400)]).show()
workbench.explore("stdpose", video="clip.mp4", keypoints="results.json").show()
workbench.explore(my_torch_model, inputs).show()
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .attention import capture_attention
from .data.frames import PICTURE_SUFFIXES, Frames, open_frames
from .data.results import on_video, read_detections
from .data.tracks import check_tracks, link, track_of
from .data.windows import WindowConfig, Windows
from .errors import BadParameter, BadRecord, unknown
from .predict import OF_PICTURES, Predictor, load, weights_joints
from .records import Clip, Detections, Pose
from .skeletons import Skeleton
from .skeletons import skeleton as skeleton_of
from .taps import Recording, unwrap
from .train import choose_device
from .view.attention import AttentionView, Axis, attention_arguments
from .view.explorer import Explorer
from .view.live import Live
from .view.stage import NAMES, Scene, Stage, over_time, without_covered

SHOWN_FRAMES = 48  # of a clip on the stage
INTERVALS = (2, 3, 5, 7, 15)  # frames between two labels of STDPose, as far as a video reaches
NAIVE = "naive"  # beside VisSimCC
WHO = 'say who is there: boxes "x,y,w,h" in px, or a file of keypoints'
Boxes = str | Sequence  # "x,y,w,h", numbers, or one sequence of them a person


# --- what the user brings -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Own:
    """A user's picture or video. people: None: nobody says who is there. boxes: xyxy px, one a
    person, the same in all frames. notes: how it was taken, and what is odd about it.
    """

    source: Path
    frames: Frames
    people: Detections | None
    boxes: np.ndarray | None
    notes: Sequence[str] = ()

    def clip(self, joints: Skeleton) -> Clip:
        """The people as tracks of these joints; what nobody says about them is not labelled."""
        n = len(self.frames)
        video = replace(self.frames.video, n_frames=n)
        if self.people is None:
            if self.boxes is None:
                raise BadParameter(f"nobody is known in {self.source.name}", remedy=WHO)
            shape = (len(self.boxes), len(joints))
            nobody = Pose(joints.name, np.zeros((*shape, 2)), np.zeros(shape), self.boxes)
            rows = [dict.fromkeys(range(n), i) for i in range(len(self.boxes))]
            tracks = [track_of(nobody, i, row, n) for i, row in enumerate(rows)]
            return Clip(video, tracks, name=self.source.name)
        poses = _in_joints(self.people, joints)
        tracks = []
        for track in np.unique(self.people.tracks).tolist():
            rows = np.flatnonzero(self.people.tracks == track)
            row_of = dict(zip(self.people.frames[rows].tolist(), rows.tolist()))
            tracks.append(track_of(poses, track, row_of, n))
        return Clip(video, tracks, name=self.source.name)

    def detections(self) -> Detections:
        """Who is where and when; of boxes alone no joint is known."""
        if self.people is not None:
            return self.people
        if self.boxes is None:
            raise BadParameter(f"nobody is known in {self.source.name}", remedy=WHO)
        n, people = len(self.frames), len(self.boxes)
        joints = skeleton_of("coco17")
        return Detections(
            joints.name,
            np.zeros((n * people, len(joints), 2)),
            np.zeros((n * people, len(joints))),
            np.tile(self.boxes, (n, 1)),
            frames=np.repeat(np.arange(n), people),
            tracks=np.tile(np.arange(people), n),
        )


def boxes_of(text: Boxes) -> np.ndarray:
    """Boxes (x, y, width, height) px as xyxy, [n 4]: numbers, or "x,y,w,h", several apart by
    blanks or semicolons.
    """
    try:
        if isinstance(text, str):
            text = [part.split(",") for part in text.replace(";", " ").split()]
        xywh = np.atleast_2d(np.array(text, float))
    except ValueError:
        xywh = np.zeros((0, 0))
    fits = xywh.ndim == 2 and xywh.shape[1] == 4 and np.isfinite(xywh).all()
    if not fits or not len(xywh) or not (xywh[:, 2:] > 1).all():
        remedy = "give x,y,width,height in px for each, sides above 1"
        raise BadParameter(f"boxes are {text!r}", remedy=remedy)
    return np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:] - 1), 1)


def own(
    image: str | Path | None = None,
    video: str | Path | None = None,
    boxes: Boxes | None = None,
    keypoints: str | Path | Detections | None = None,
    skeleton: str | None = None,
    first_frame: int | None = None,
) -> Own:
    """A picture or a video, and who is in it. Errors: `BadParameter` for both or none of them, and
    for nobody in sight; what the readers raise; `BadRecord` for results of other pictures.
    """
    if (image is None) == (video is None):
        raise BadParameter("an image or a video", remedy="give one of them")
    if boxes is not None and keypoints is not None:
        raise BadParameter("boxes and keypoints", remedy="give one of them")
    source = Path(image if video is None else video)
    frames = open_frames(source)
    if image is not None and len(frames) != 1:
        raise BadParameter(f"{source.name} holds {len(frames)} pictures", remedy="call it a video")
    picture = source.is_file() and source.suffix.lower() in PICTURE_SUFFIXES
    if video is not None and picture and len(frames) == 1:
        raise BadParameter("a picture, no video", file=source, remedy="give it as the image")
    if boxes is not None:
        boxes = boxes_of(boxes)
        _check_in_sight(boxes, frames, all)
    people, notes = None, [*map(str, frames.warnings)]
    if keypoints is not None:
        people, notes = _people(keypoints, frames, skeleton, first_frame)
        _check_in_sight(people.boxes_xyxy, frames, any)
        if image is not None:
            people = replace(people, tracks=np.arange(len(people)))
        elif people.tracks is None:
            people = link(people)
        check_tracks(people)
    return Own(source, frames, people, boxes, notes)


def _people(
    keypoints: str | Path | Detections,
    frames: Frames,
    skeleton: str | None,
    first_frame: int | None,
) -> tuple[Detections, list[str]]:
    """Results on the frames that they belong to, and what is said about them. Records say it
    themselves, of a picture all are its.
    """
    if not isinstance(keypoints, Detections):
        taken = on_video(keypoints, frames, skeleton=skeleton, first_frame=first_frame)
        return taken.detections, [*taken.notes, *map(str, taken.warnings)]
    n = len(frames)
    at = np.zeros(len(keypoints), np.int64) if n == 1 else keypoints.frames
    if at is None or not ((at >= 0) & (at < n)).all():
        problem = "no frames" if at is None else f"frames {at.min()} to {at.max()}"
        raise BadRecord(f"records of {problem}", remedy=f"state frames from 0 to {n - 1}")
    return replace(keypoints, frames=at), [*map(str, frames.warnings)]


def _check_in_sight(boxes: np.ndarray, frames: Frames, enough: Callable) -> None:
    """`BadParameter` where not `enough` (any, all) of the boxes (xyxy px) touch the first picture;
    others may be of another size.
    """
    size = np.array(frames.size_of(0))
    inside = ((boxes[:, :2] <= size - 0.5) & (boxes[:, 2:] >= -0.5)).all(1)
    if len(boxes) and not enough(inside):
        out = boxes[np.flatnonzero(~inside)[0]].round(1).tolist()
        raise BadParameter(
            f"a box from {out[:2]} to {out[2:]} px lies outside {size[0]} x {size[1]} px",
            file=frames.video.source,
            remedy="give px of this picture, from its upper left corner",
        )


def _read(keypoints: str | Path | Detections, skeleton: str | None) -> Detections:
    if isinstance(keypoints, Detections):
        return keypoints
    return read_detections(keypoints, skeleton=skeleton)


def _in_joints(people: Detections, joints: Skeleton) -> Pose:
    """Detections as poses of these joints, by name. Confidence 0 is not there; nobody says what is
    occluded. `BadParameter` where fewer than half of theirs are among these.
    """
    theirs = skeleton_of(people.skeleton).joints
    if 2 * len(set(theirs) & set(joints.joints)) < len(theirs):
        raise BadParameter(
            f"detections are {people.skeleton}, the model knows {joints.name}",
            file=people.source or None,
            remedy=f"give keypoints of a skeleton like {joints.name}",
        )
    xy = np.zeros((len(people), len(joints), 2), np.float32)
    flags = np.zeros(xy.shape[:2], np.int8)
    for j, name in enumerate(joints.joints):
        if name in theirs:
            i = theirs.index(name)
            xy[:, j] = people.xy_frame[:, i]
            flags[:, j] = 2 * (people.confidence[:, i] > 0)
    return Pose(joints.name, xy, flags, people.boxes_xyxy, occlusion_known=False)


# --- models ---------------------------------------------------------------------------------------


def models(
    method: str, weights: Any, skeleton: str | None, device: str
) -> tuple[Predictor, Predictor | None, tuple[str, str]]:
    """A predictor, the one to compare it with (None: random weights), and what they are called.
    weights: None, a file, or two.
    """
    given = list(weights) if isinstance(weights, list | tuple) else [weights]
    if not 0 < len(given) <= 2:
        raise BadParameter(f"{len(given)} checkpoints", remedy="give one or two")
    by_joints = method not in OF_PICTURES and skeleton is not None
    if by_joints and method == "hanet":
        skeleton = weights_joints(skeleton)
    joints = {"skeleton": skeleton} if by_joints else {}
    loaded = [load(method, weights=file, device=device, **joints) for file in given]
    if len(loaded) == 1:
        return loaded[0], None, ("trained", "random")
    names = [Path(file).stem if file else "shipped" for file in given]
    if names[0] == names[1] or NAIVE in names:  # a third model's name
        names = [f"A {names[0]}", f"B {names[1]}"]
    return loaded[0], loaded[1], tuple(names)


# --- several methods on one stage ----------------------------------------------------------------


def together(
    methods: Sequence[str],
    mine: Own | None,
    weights: Any = None,
    device: str = "cpu",
    *,
    first: int = 0,
    count: int = SHOWN_FRAMES,
    delta: float | None = None,
    **options,
) -> Live:
    """Methods beside each other on one clip, with a brush: who breaks under the paint, and who
    recovers. Refiners of poses are given the detector's joints that are not painted over; methods
    that read pictures see the paint. first: of at most `count` frames; delta: PORT's; person: the
    number of one who is shown alone.
    """
    from .predict.own_video import refined_people
    from .view.chapters.own_video import OnePerson

    if weights is not None:
        raise BadParameter("weights of several methods", remedy="explore them one by one")
    if len(set(methods)) < len(methods):
        raise BadParameter(f"methods are {', '.join(methods)}", remedy="name each once")
    refiners = [method for method in methods if method not in OF_PICTURES]
    if refiners and mine is not None and mine.people is None:
        problem = f"keypoints are what {' and '.join(refiners)} would refine"
        raise BadParameter(problem, remedy="give a file of keypoints")
    people, frames, truth = _demo() if mine is None else (mine.detections(), mine.frames, None)
    everybody = people
    if not 0 <= first < len(frames):
        remedy = f"give a frame from 0 to {len(frames) - 1}"
        raise BadParameter(f"first is {first}", remedy=remedy)
    last = min(first + count, len(frames))
    use = (people.frames >= first) & (people.frames < last)
    if not use.any():
        raise BadParameter(f"nobody is in frames {first} to {last - 1}", remedy="choose first")
    people = people.select(use)
    people = replace(people, frames=people.frames - first)
    shown = [np.asarray(frames[t]) for t in range(first, last)]
    sizes = {frame.shape[1::-1] for frame in shown}
    if len(sizes) > 1:
        problem = f"pictures of {', '.join(f'{w} x {h}' for w, h in sorted(sizes))} px"
        raise BadParameter(problem, file=mine.source, remedy="give pictures of one size")
    predictors = {method: models(method, None, people.skeleton, device)[0] for method in methods}
    if "port" in predictors:  # ranks of confidence are those of the whole file
        predictors["port"] = predictors["port"].fitted(everybody)

    def ask(scene: Scene, painted: list[np.ndarray], mask: np.ndarray) -> dict:
        seen = without_covered(people, mask)
        answers = {"detector": over_time(seen, len(painted))}
        for method, predictor in predictors.items():
            found = refined_people(predictor, painted, seen, delta)
            answers[NAMES[method]] = over_time(found, len(painted))
        return answers

    name = "made clip" if mine is None else mine.source.name
    scene = Scene(shown, name=name)
    if truth is not None:
        whole, here = Scene.of(truth, frames, name=name), slice(first, last)
        flags = whole.visibility[here]
        scene = replace(whole, frames=shown, truth=whole.truth[here], visibility=flags)
    lines = ("detector", *(NAMES[method] for method in methods))
    roles = dict(zip(lines, ("detector", "ours", "rival", 1, 3)))
    options = {"roles": roles, "apart": True, "grid": 5} | options
    kind = OnePerson if "person" in options else Stage
    options |= {"first": first} if kind is OnePerson else {}
    return _made(kind, options, skeleton_of(people.skeleton), [scene], ask)


def _demo() -> tuple[Detections, np.ndarray, Clip]:
    """A made clip, and what a simulated detector says about it, person by person as in the clip."""
    from .data.tracks import poses_of
    from .made.noise import DetectorNoise
    from .made.worlds import WORLDS, sample_clip

    world = replace(WORLDS["synthetic"], name="shown", n_frames=24, people=(2, 2))
    made = sample_clip(world, "test", 2)
    truth, frames = poses_of(made.clip)
    there = np.stack([track.visibility.any(1) for track in made.clip.tracks], 1)
    people = DetectorNoise().apply(truth, np.random.default_rng(0))
    return replace(people, frames=frames, tracks=np.nonzero(there)[1]), made.frames, made.clip


# --- explorers of the methods ---------------------------------------------------------------------

SET_INSIDE = ("beside", "code", "last_frame", "name")  # of explorers, by themselves or `explore`


def _check_options(options: Mapping, *calls: Callable, but: Collection[str] = ()) -> None:
    """`UnknownName` for an option that is no keyword of any of these."""
    keywords = [p for call in calls for p in signature(call).parameters.values()]
    known = {p.name for p in keywords if p.kind is p.KEYWORD_ONLY} - {*but}
    for name in options:
        if name not in known:
            raise unknown("option of this explorer", name, known)


def _made(kind: type[Explorer], options: Mapping, *given, **ours) -> Explorer:
    """An explorer with what is given and the reader's options, which must be its own."""
    inits = [vars(each)["__init__"] for each in kind.__mro__ if "__init__" in vars(each)]
    _check_options(options, *inits, but={*ours, *SET_INSIDE})
    return kind(*given, **ours, **options)


def _port(mine: Own | None, keypoints, skeleton, weights, device, made, **options) -> Live:
    from .predict import readable
    from .recipes import port as recipe
    from .view.chapters.port import PortExplorer

    if mine is not None and mine.people is None:
        raise BadParameter("PORT repairs keypoints", remedy="give a file of keypoints")
    truth, pictures = options.pop("truth", None), None
    if mine is not None:
        people = mine.people
        pictures = _ByRow(mine.frames, people.frames)
    elif keypoints is not None:
        people = _read(keypoints, skeleton)
    else:
        truth, people = recipe.pairs("synthetic", n=made or 24, seed=options.pop("seed", 3))
    refiner, rival, names = models("port", weights, people.skeleton, device)
    refiner, rival = (each and each.fitted(people) for each in (refiner, rival))
    people = readable(people)
    beside = {"pictures": pictures, "rival": rival, "names": names}
    return _made(PortExplorer, options, refiner, people, truth, **beside)


@dataclass(frozen=True, eq=False)
class _ByRow(Sequence):
    """The picture of every row."""

    frames: Frames
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.frames[int(self.numbers[row])]


def _hanet(mine: Own | None, keypoints, skeleton, weights, device, made, **options) -> Live:
    from .made.motion import sequences
    from .view.chapters.hanet import HANetExplorer

    if mine is None and keypoints is None:
        refiner, rival, names = models("hanet", weights, None, device)
        shown = sequences("synthetic", "test")[: made or None]
        return _made(HANetExplorer, options, refiner, shown, rival=rival, names=names)
    people = mine.people if mine is not None else _read(keypoints, skeleton)
    if people is None:
        raise BadParameter("HANet refines keypoints", remedy="give a file of keypoints")
    if people.tracks is None or people.frames is None:
        people = link(people)
    check_tracks(people)
    refiner, rival, names = models("hanet", weights, people.skeleton, device)
    shown = _motions(refiner, people)
    return _made(HANetExplorer, options, refiner, shown, rival=rival, names=names)


def _motions(refiner: Predictor, people: Detections) -> list:
    """`Motion2D` of what HANet reads of every person, the longest first; hidden are joints of which
    something is missing.
    """
    from .predict import stretches
    from .view.chapters.hanet import Motion2D

    lost = (people.confidence == 0) @ (refiner.means_of(people) > 0).T
    motions = []
    for rows, at, xy in stretches(refiner, people):
        hidden = np.ones(xy.shape[:2], bool)
        hidden[at] = lost[rows]
        first = people.frames[rows[0]]
        name = f"person {people.tracks[rows[0]]}" + (f" from frame {first}" if first else "")
        motions.append(Motion2D(name, xy, hidden=hidden))
    return sorted(motions, key=lambda motion: -len(motion.detected))


def windows_of(mine: Own, estimator: Predictor, offsets: tuple[int, ...]) -> Windows:
    """The user's people, cut as an estimator wants them. `BadParameter` where there is nobody."""
    config = estimator.model.config
    window = WindowConfig(
        config.size,
        offsets,
        keys="all",
        padding=estimator.padding,
        alignment=config.alignment,
    )
    windows = Windows([(mine.clip(estimator.skeleton), mine.frames)], window)
    if not len(windows):
        raise BadParameter(f"nobody is known in {mine.source.name}", remedy=WHO)
    return windows


def _vissimcc(mine: Own | None, keypoints, skeleton, weights, device, made, **options) -> Live:
    from .recipes import vissimcc as recipe
    from .view.chapters.vissimcc import VisSimCCExplorer

    aware, rival, names = models("vissimcc", weights, None, device)
    names = ("aware", "random") if rival is None else names
    naive = load("vissimcc-reasoning", device=device)
    if mine is None:
        windows = recipe.people("test", aware.model.config, made or 12)
    else:
        windows = windows_of(mine, aware, (0,))
    ours = {"rival": rival, "names": names, "labelled": mine is None}
    return _made(VisSimCCExplorer, options, aware, naive, windows, **ours)


def _otpose(mine: Own | None, keypoints, skeleton, weights, device, made, **options) -> Live:
    from .recipes import otpose as recipe
    from .view.chapters.otpose import OTPoseExplorer

    estimator, rival, names = models("otpose", weights, None, device)
    worlds = {data.world.name: data for data in (recipe.DATA, recipe.PASSING)}
    world = options.pop("world", recipe.DATA.world.name)
    if world not in worlds:
        raise unknown("world of otpose", str(world), worlds)
    if mine is None:
        config = estimator.model.config
        windows = recipe.people("test", config, n=made or 6, data=worlds[world])
    else:
        windows = windows_of(mine, estimator, (-2, -1, 0, 1, 2))
    ours = {"rival": rival, "names": names, "labelled": mine is None}
    return _made(OTPoseExplorer, options, estimator, windows, **ours)


def _stdpose(mine: Own | None, keypoints, skeleton, weights, device, made, **options) -> Live:
    from .recipes import stdpose as recipe
    from .view.chapters.stdpose import LookExplorer, MaskExplorer, PropagationPlayer, carry_all

    propagator, rival, names = models("stdpose", weights, None, device)
    kinds = {"mask": MaskExplorer, "attention": LookExplorer, "player": PropagationPlayer}
    show = options.pop("show") or "mask"
    if show not in kinds:
        raise unknown("explorer of stdpose", show, kinds)
    gaps = options.pop("gaps", None)
    if mine is None:
        config = propagator.model.config
        sets = {t: recipe.people("test", t, config, n=made or 4) for t in gaps or (3, 7)}
    else:
        pairs = [(mine.clip(propagator.skeleton), mine.frames)]
        sets = {t: propagator.windows(pairs, interval=t) for t in gaps or INTERVALS}
        sets = {t: windows for t, windows in sets.items() if len(windows)}
        if not sets:
            raise BadParameter(
                f"no frames between two known ones in {mine.source.name}",
                remedy="give a video of at least three frames, and who is there in them",
            )
    options = {"interval": max((t for t in sets if t <= 7), default=min(sets))} | options
    if show == "player":
        single = recipe.single_frame(propagator)
        carried = {t: (each, carry_all(propagator, single, each)) for t, each in sets.items()}
        return _made(PropagationPlayer, options, carried, labelled=mine is None)
    ours = {"rival": rival, "names": names, "labelled": mine is None}
    return _made(kinds[show], options, propagator, sets, **ours)


def _hide(mine: Own | None, keypoints, skeleton, weights, device, made, **options) -> Live:
    from .made.moving_wrist import first_case
    from .predict.contest import SINGLE
    from .view.chapters.hide import HideExplorer

    if mine is not None or keypoints is not None or weights is not None or made:
        remedy = "for your own video name the methods: explore(['port', 'otpose'], video=...)"
        raise BadParameter("hide shows a made clip and shipped weights", remedy=remedy)
    joints = {"port": {"skeleton": "coco17"}}
    loaded = {name: load(name, device=device, **joints.get(name, {})) for name in (*NAMES, SINGLE)}
    return _made(HideExplorer, options, first_case(), loaded)


MAKERS: Mapping[str, Callable[..., Live]] = {
    "hide": _hide,
    "port": _port,
    "hanet": _hanet,
    "vissimcc": _vissimcc,
    "otpose": _otpose,
    "stdpose": _stdpose,
}


def explore(
    what: str | Sequence[str] | nn.Module = "port",
    inputs: Any = None,
    *,
    image: str | Path | None = None,
    video: str | Path | None = None,
    boxes: Boxes | None = None,
    keypoints: str | Path | Detections | None = None,
    skeleton: str | None = None,
    first_frame: int | None = None,
    weights: str | Path | Sequence[str | Path | None] | None = None,
    show: str = "",
    made: int = 0,
    state: Mapping | str | None = None,
    device: str = "cpu",
    theme: str = "",
    **options,
) -> Live:
    """The explorer of a method on the user's own picture, video, keypoints or checkpoints, or on
    the project's synthetic people; or the attention of any torch model. `.show()` displays it,
    `.page()` is the live page, `.state` what is chosen.

    what: port, hanet, vissimcc, otpose, stdpose, a list of them (on one stage, see `together`),
    "hide" (the five of them on a made clip with a brush), or a torch model, then `inputs` are its
    arguments (one, a tuple, or a dictionary) and options those of `foreign`.
    boxes: (x, y, width, height) px, one a person; keypoints: results of a detector,
    as `read_detections` takes them, of joints `skeleton`, on frames as `results.on_video` says,
    with its `first_frame`. weights: a checkpoint, or two to compare. show: of stdpose, "mask",
    "attention" or "player". made: how many people or clips are made where none are given. state: as
    `explorer.state`, or as text. options: of the explorer (index, joint, seed; of stdpose also
    gaps, the frames between two labels, of otpose world, "crossing_people" or "passing_people",
    of port truth, a `Pose` of the same rows as the keypoints).
    How results were taken, and what is odd about them or the video, stands below the explorer
    (`.notes`). Errors: `UnknownName`, also for an option that the
    explorer does not have, `BadParameter` where it is not clear who or what should be shown, or for
    a device that is not here; what readers and `load` raise.
    """
    data = {"image": image, "video": video, "boxes": boxes, "keypoints": keypoints}
    data |= {"skeleton": skeleton, "first_frame": first_frame, "weights": weights}
    data |= {"show": show or None, "made": made or None}
    if isinstance(what, nn.Module):
        said = [name for name, value in data.items() if value is not None]
        if said:
            raise BadParameter(f"a torch model with {', '.join(said)}", remedy="give its inputs")
        _check_options(options, foreign)
        return foreign(what, inputs, state=state, theme=theme, **options)
    methods = list(what) if isinstance(what, list | tuple) else [what]
    known = [*MAKERS] if methods == [what] else [*NAMES]
    for method in methods or [""]:
        if method not in known:
            raise unknown("method", str(method), known)
    if inputs is not None:
        raise BadParameter(
            f"inputs of {what}", remedy="give an image, a video or keypoints by name"
        )
    device = _found_device(device)
    code = again(what, **data | {k: v for k, v in options.items() if k != "truth"})
    mine = None
    if image is not None or video is not None:
        mine = own(image, video, boxes, keypoints, skeleton, first_frame)
    elif boxes is not None or (keypoints is not None and what not in ("port", "hanet")):
        words = "boxes lie on" if what in ("port", "hanet") else f"{what} reads"
        raise BadParameter(f"{words} pictures", remedy="give an image or a video, too")
    options |= {"state": state, "theme": theme}
    if what == "stdpose":
        options["show"] = show
    elif show:
        raise BadParameter(f"{what} has one explorer", remedy="leave show out")
    if methods != [what]:
        explorer = together(methods, mine, weights, device, **options)
    else:
        explorer = MAKERS[what](mine, keypoints, skeleton, weights, device, made, **options)
    explorer.code = code
    if mine is not None:
        explorer.notes = "\n".join(mine.notes)
    return explorer


def _found_device(device: str | torch.device) -> str | torch.device:
    """A device that torch finds here; `BadParameter`."""
    if device in ("auto", "cpu", "cuda"):
        return choose_device(device)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError):
        problem = f"device is {device!r}, which torch does not find here"
        raise BadParameter(problem, remedy="use auto, cpu or cuda") from None
    return device


def again(what: str | Sequence[str], **said) -> str:
    """Code that calls `explore` with these arguments, "{state}" where the state goes. None and ""
    are left out. "" where no code says an argument, such as detections from a program.
    """
    words = _literal(what)
    for name, value in said.items():
        if value is None or (isinstance(value, str) and not value):
            continue
        literal = _literal(value)
        if not literal:
            return ""
        words += f", {name}={literal}"
    return f"import workbench\n\nworkbench.explore({words}, state={{state}}).show()"


def _literal(value: Any) -> str:
    """The value as code, or "" for what has none."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, list | tuple):
        parts = [_literal(each) for each in value]
        return f"[{', '.join(parts)}]" if all(parts) else ""
    return repr(value) if isinstance(value, int | float | str | None) else ""


# --- anybody's model ------------------------------------------------------------------------------


def foreign(
    model: nn.Module,
    inputs: Any,
    *,
    names: Sequence[str] | None = None,
    other: nn.Module | None = None,
    called: tuple[str, str] = ("this model", "random weights"),
    sample: int = 0,
    picture: np.ndarray | None = None,
    grid: tuple[int, int] | None = None,
    labels: Sequence[str] = (),
    state: Mapping | str | None = None,
    theme: str = "",
) -> AttentionView:
    """The attention of any torch model while it reads `inputs`: a tensor, a tuple, or keyword
    arguments.

    names: paths of modules, or patterns. other: a model to compare with; None: the same with fresh
    random weights, where its parts know how to reset themselves. The model runs in the mode that it
    is in; mode, buffers and random numbers are left as they were. A module that is called several
    times has a layer for every call. sample: of the batch. picture: RGB, what image tokens lie on;
    grid: their rows and columns, by default as `_grid_of` finds them; tokens ahead of them (a class
    token) have no place. labels: what tokens are called. Errors: of `capture_attention`;
    `BadParameter` for what fits no map.
    """
    if inputs is None:
        raise BadParameter("no inputs", remedy="give what the model is called with")
    shape = np.shape(picture)
    if picture is not None and (len(shape) != 3 or shape[2] != 3 or picture.dtype != np.uint8):
        problem = f"the picture is {getattr(picture, 'dtype', type(picture).__name__)} {shape}"
        raise BadParameter(problem, remedy="give RGB, uint8 [height, width, 3]")
    maps = _looked(model, inputs, names)
    random = other if other is not None else fresh(model)
    compared = None if random is None else _looked(random, inputs, names)
    batches = {len(maps[name]) for name in maps}
    if not -min(batches) <= sample < min(batches):
        remedy = f"the maps are of {min(batches)}, counted from 0"
        raise BadParameter(f"sample is {sample}", remedy=remedy)
    layout = attention_arguments(maps, sample=sample, other=compared)
    counts = {n for weights in layout["maps"].values() for n in weights.shape[-2:]}
    grids = {n: _grid_of(n, grid, model, inputs, picture, batches) for n in counts}
    if labels and len(labels) not in counts:
        raise BadParameter(f"{len(labels)} labels", remedy=f"maps have {sorted(counts)} tokens")
    if grid is not None and not any(grids.values()):
        raise BadParameter(f"a grid of {grid}", remedy=f"maps have {sorted(counts)} tokens")
    axes = {n: _axis(n, grids[n], labels) for n in counts}
    layout["axes"] = {
        name: tuple(axes[n] for n in weights.shape[-2:]) for name, weights in layout["maps"].items()
    }
    return AttentionView(
        **layout, names=called, picture=picture, state=state, theme=theme, brief=False
    )


@contextmanager
def _left_alone(model: nn.Module) -> Iterator[None]:
    """Random numbers, and a model's buffers (means of batch norms), are put back at the end."""
    before = [
        (part, name, buffer, buffer.clone())
        for part in model.modules()
        for name, buffer in part.named_buffers(recurse=False)
        if not is_lazy(buffer)
    ]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for part, name, buffer, value in before:
            buffer.data = value
            setattr(part, name, buffer)


def _looked(model: nn.Module, inputs: Any, names: Sequence[str] | None) -> Recording:
    """Every attention of one pass, call by call."""
    with torch.no_grad(), _left_alone(model), capture_attention(model, names) as maps:
        if isinstance(inputs, Mapping):
            model(**inputs)
        else:
            model(*(inputs if isinstance(inputs, tuple | list) else (inputs,)))
    every = Recording({})
    for name in maps:
        calls = maps.calls(name)
        for i, weights in enumerate(calls):
            every.add(name if len(calls) == 1 else f"{name}.{i}", weights, maps.axes[name])
    return every


def fresh(model: nn.Module, seed: int = 0) -> nn.Module | None:
    """A copy with fresh random weights: layers reset themselves, other parameters are shuffled;
    None where no part can reset itself, or the model cannot be copied.
    """
    try:
        copied = copy.deepcopy(model)
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    parts = [part for part in copied.modules() if hasattr(part, "reset_parameters")]
    if not parts:
        return None
    with _left_alone(model):
        torch.manual_seed(seed)
        for part in parts:
            part.reset_parameters()
        own = {id(weight) for part in parts for weight in part.parameters(recurse=False)}
        for weight in copied.parameters():
            if id(weight) not in own:  # of no layer, such as places of tokens: in another order
                shuffled = weight.detach().flatten()[torch.randperm(weight.numel())]
                weight.data = shuffled.view_as(weight)
    return copied


def _grid_of(
    count: int,
    grid: tuple[int, int] | None,
    model: nn.Module,
    inputs: Any,
    picture: np.ndarray | None,
    batches: set[int],
) -> tuple[int, int] | None:
    """Rows and columns of `count` tokens: those that are said; of `patch_embed`, where the pixels
    have the size that it was made for; else patches of a square, at most one token ahead, that fill
    the pixels, or the picture, exactly. None where none fits, and where the maps are not of whole
    pictures (windows).
    """
    values = inputs.values() if isinstance(inputs, Mapping) else inputs
    values = values if isinstance(inputs, Mapping | tuple | list) else (inputs,)
    pixels = [v for v in values if isinstance(v, torch.Tensor) and v.ndim == 4 and v.shape[1] < 5]
    size = pixels[0].shape[-2:] if pixels else np.shape(picture)[:2]
    patches = getattr(unwrap(model), "patch_embed", None)
    made = tuple(getattr(patches, "img_size", None) or ())
    known = getattr(patches, "grid_size", None)
    if grid is None and known is not None and (not pixels or tuple(size) == made):
        grid = tuple(int(side) for side in known)
    if grid is not None:
        return tuple(grid) if 0 <= count - grid[0] * grid[1] < 8 else None
    if not len(size) or (pixels and batches != {len(pixels[0])}):
        return None
    for patched in (count, count - 1):
        rows = round((patched * size[0] / size[1]) ** 0.5)
        if rows and patched % rows == 0 and rows * size[1] == patched // rows * size[0]:
            return rows, patched // rows
    return None


def _axis(count: int, grid: tuple[int, int] | None, labels: Sequence[str]) -> Axis:
    """What `count` tokens are: labelled, of a picture, or numbered."""
    if len(labels) == count:
        return Axis("token", tuple(map(str, labels)))
    if grid is not None:
        return Axis.of_grid("image token", *grid, ahead=count - grid[0] * grid[1])
    return Axis.numbered("token", count)
