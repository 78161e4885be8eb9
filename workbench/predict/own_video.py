"""A user's video: people read or found, linked, refined; overlay, results and table written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from ..data.finder import BOXES_ALONE, FINDER, find_people, load_finder
from ..data.frames import Frames, open_frames
from ..data.hugging_face import HUB, VitPose
from ..data.manifest import manifests
from ..data.results import on_video
from ..data.tracks import link
from ..errors import BadParameter, WorkbenchError, unknown
from ..film import LONG_SIDE, Pace, result_places, save_results, write_video
from ..metrics import joint_distances
from ..outputs import check_new, free_name
from ..records import Detections, Prediction
from ..skeletons import skeleton as skeleton_of
from .base import Predictor
from .estimate import PoseEstimator, estimate_people
from .poses import PortRefiner, refine_people
from .sequences import SequenceRefiner, refine_tracks, stand_ins, weights_joints
from .weights import OF_PICTURES, SHIPPED, described, load

# whoever finds people finds them in these joints
FOUND_JOINTS = "coco17"
# the estimator that is the finder itself
ITSELF = "finder"
# method and joints of shipped weights that real answers have not shown to help -> what they said
UNSHOWN = {
    ("port", "coco17"): "on 68 real people it changed OKS by +0.001, 95 % from -0.005 to +0.006",
}
_RENDERED = (
    "{0}'s shipped weights learned from rendered people: on real ones their OKS is {1}, that of a "
    "small public estimator {2}; {3}"
)
_BETTER = "for real pictures use --estimator vitpose_base_simple, or results of your own"
# method -> what its shipped weights do on real people (RESULTS.md, On real pictures)
ON_REAL = {
    "vissimcc": _RENDERED.format("vissimcc", 21, 56, "--weights vitpose_base_simple reads others"),
    "vissimcc-reasoning": _RENDERED.format("vissimcc-reasoning", 20, 56, _BETTER),
    "vissimcc-baseline": _RENDERED.format("vissimcc-baseline", 20, 56, _BETTER),
    "otpose": _RENDERED.format("otpose", 23, 55, _BETTER),
    "stdpose": _RENDERED.format("stdpose", 24, 55, _BETTER),
    "hanet": "hanet learned from made detectors: on real clips it moved joints that an estimator "
    "was sure of by 6.57 % of the person's size, a Savitzky-Golay filter by 3.35 %",
}


@dataclass(frozen=True)
class VideoResult:
    """What became of a video's people, and the files that were written."""

    prediction: Prediction
    frames: int
    written: dict[str, Path]  # "results", "table", "overlay"
    pace: Pace  # of the overlay
    notes: tuple[str, ...] = ()  # what was taken how
    warnings: tuple[WorkbenchError, ...] = ()

    def row(self) -> dict[str, int | float]:
        """Counts, and how far the replaced joints that were there have moved (mean, px)."""
        found = self.prediction.detections
        away = joint_distances(self.prediction.xy_frame, found.xy_frame)
        moved = away[self.prediction.replaced & (found.confidence > 0)]
        return {
            "frames": self.frames,
            "persons": len(set(found.tracks.tolist())),
            "poses": len(found),
            "joints": found.confidence.size,
            "replaced": int(self.prediction.replaced.sum()),
            "moved, px": float(moved.mean()) if moved.size else 0.0,
        }


def recorded(camera: Frames, path: Path, n: int, *, progress: bool = False) -> Path:
    """The next n frames of a camera, as a webm."""
    with camera:
        frames = islice(camera, n)
        return write_video(path, frames, fps=camera.video.fps, total=n, progress=progress)


def refined_people(
    predictor: Predictor,
    frames: Iterable[np.ndarray],
    detections: Detections,
    delta: float | None = None,
    missing_alone: bool = False,
    progress: bool = False,
) -> Prediction:
    """A video's people by any method: pose by pose, track by track, or estimated anew in the
    frames. delta, missing_alone: as of `refine_people`.
    """
    match predictor:
        case PortRefiner():
            how = {"delta": delta, "missing_alone": missing_alone}
            return refine_people(predictor, detections, **how)
        case SequenceRefiner():
            return refine_tracks(predictor, detections)
        case _:
            return estimate_people(predictor, frames, detections, progress=progress)


def load_estimator(name: str, *, device: str = "cpu") -> PoseEstimator | VitPose:
    """Who says the joints of people in boxes: fetched weights (a manifest's NAME, or NAME:FOLDER)
    in our network, or transformers:NAME_OR_FOLDER.

    Errors: `UnknownName`, `MissingData`; what `load` and `VitPose` raise.
    """
    kind = name.partition(":")[0]
    if kind == HUB:
        return VitPose(name, device)
    known = {n for n, entry in manifests().items() if entry.kind == "weights"} - {FINDER}
    if kind not in known:
        raise unknown("estimator", name, {*known, ITSELF, f"{HUB}:NAME"})
    estimator = load("vissimcc", weights=name, device=device)
    estimator.name = name
    return estimator


def people_finder(
    finder: str | Callable[[Frames], Detections] | None = None,
    estimator: str | None = None,
    *,
    device: str = "cpu",
    progress: bool = False,
) -> Callable[[Frames], Detections]:
    """What says who is in frames: a finder's people, with its own joints or an estimator's. Both
    are loaded here, so that what is missing is refused before the long work.

    finder: one of `finder.FINDERS`, torchvision's by default, or a function. estimator: as of
    `load_estimator`; None or "finder": the finder itself. Errors: `BadParameter` for a finder of
    boxes alone without an estimator; what `load_finder` and `load_estimator` raise.
    """
    search, reader = finder or FINDER, None
    if estimator not in (None, ITSELF):
        reader = load_estimator(estimator, device=device)
    if isinstance(search, str):
        if reader is None and search.partition(":")[0] in BOXES_ALONE:
            raise BadParameter(
                f"{search} finds boxes alone",
                remedy="say who finds the joints in them: --estimator, such as vitpose_base_simple",
            )
        model = load_finder(search, device=device)
        search = partial(find_people, finder=model, progress=progress)
    if reader is None:
        return search

    def find(frames: Frames) -> Detections:
        people = search(frames)
        answer = estimate_people(reader, frames, people, progress=progress)
        joints = {"xy_frame": answer.xy_frame, "confidence": answer.confidence}
        return replace(people, **joints, source=f"{people.source}, {reader.name}")

    return find


def _check_options(method: str, delta: float | None, given: bool, **people: object) -> None:
    """Options of a video that contradict each other; `people`: who finds whom."""
    if method not in SHIPPED:
        raise unknown("method for a video", method, SHIPPED)
    if delta is not None and method != "port":
        raise BadParameter(
            f"{method} has no delta: every joint may move", remedy="leave --delta out"
        )
    asked = [f"--{name}" for name, value in people.items() if value is not None]
    if given and asked:
        raise BadParameter(
            f"{' and '.join(asked)} beside --keypoints, which say who is there",
            remedy=f"leave {' and '.join(asked)} out, or --keypoints",
        )


def _joints_of(method: str, joints: str) -> str | None:
    """Whose weights of a method are for poses of these joints; None: its usual ones."""
    if method in OF_PICTURES:
        return None
    return weights_joints(joints) if method == "hanet" else joints


def _stand_ins(predictor: Predictor, people: Detections) -> tuple[str, ...]:
    """What HANet does about joints that differ from its own."""
    known = predictor.skeleton
    made = stand_ins(known.name, people.skeleton)
    if not made or not isinstance(predictor, SequenceRefiner):
        return ()
    left = [j for j in skeleton_of(people.skeleton).joints if j not in known.joints]
    return (
        f"{predictor.name} knows {known.name}: {', '.join(made)} are means of other joints for it; "
        f"{', '.join(left)} stay as they are",
    )


def _missing_alone(method: str, joints: str, delta: float | None, held: bool) -> tuple[str, ...]:
    """That only missing joints are replaced, where weights are `UNSHOWN` and nobody forces them;
    `BadParameter` for a delta then.
    """
    said = UNSHOWN.get((method, joints)) if held else None
    if said is None:
        return ()
    if delta is not None:
        raise BadParameter(
            f"a delta for {joints}, where no gain is shown: {said}",
            remedy="say --force (force=True) to replace joints all the same",
        )
    return (f"{method} replaced missing joints alone: {said}; --force lets it replace others",)


def _gaps(frames: Frames) -> tuple[str, ...]:
    """What became of frames that cannot be decoded."""
    numbers = [str(i) for i in sorted(frames.lost)]
    which = ", ".join(numbers[:8]) + (", ..." if len(numbers) > 8 else "")
    return (f"black in the overlay, because they cannot be decoded: frames {which}",) * bool(which)


def video(
    source: str | Path | int,
    detections: Detections | str | Path | None = None,
    *,
    method: str = "port",
    out: str | Path = "predictions",
    skeleton: str | None = None,
    weights: str | Path | None = None,
    size: tuple[int, int] | None = None,
    delta: float | None = None,
    first_frame: int | None = None,
    on_bad: str = "raise",
    force: bool = False,
    camera_frames: int = 150,
    long_side: int = LONG_SIDE,
    precision: str = "fp32",
    device: str = "cpu",
    finder: str | Callable[[Frames], Detections] | None = None,
    estimator: str | None = None,
    progress: bool = False,
) -> VideoResult:
    """The people of a video refined by a method, and written into the folder `out`.

    source: a video, a folder of pictures, or a camera's number, of which `camera_frames` are
    recorded into `out` first. detections: the user's own, or the file or folder of their results
    (of joints `skeleton`, told by their names or number where it is left out), whose format the new
    results keep, and which are put on frames as `results.on_video` says; None: `finder` and
    `estimator` say who is there, as of `people_finder`. weights, size, precision: as of `load`.
    delta: as of `refined_people`. first_frame, on_bad: as of `results.on_video`; with "report" a
    frame that cannot be decoded is black in the overlay, and methods that read pictures leave
    people whom they would look for in it as they are. force: also joints that are not missing,
    where weights are `UNSHOWN`. long_side: of the overlay, at most, px.

    Errors: `UnknownName`, `BadParameter`; what the readers, `load` and the method raise. Weights
    that are not there are refused before people are looked for, which takes long; a frame that
    cannot be decoded before anything is written.
    """
    _check_options(method, delta, detections is not None, finder=finder, estimator=estimator)
    by_name = method in OF_PICTURES  # joints of any set
    files = {"weights": weights, "precision": precision}
    out = Path(out)
    if detections is None:
        described(method, skeleton=_joints_of(method, FOUND_JOINTS), **files)
        find = people_finder(finder, estimator, device=device, progress=progress)
    if isinstance(source, int):
        path = free_name(out / f"camera_{source}.webm")
        source = recorded(open_frames(source), path, camera_frames, progress=progress)
    like = None if isinstance(detections, Detections) else detections
    result_places(out, str(source), like)
    with open_frames(source, on_bad=on_bad) as frames:
        frames.black = on_bad == "report"
        frames.count(progress=progress)
        notes, warnings = (), frames.warnings
        if detections is None:
            check_new(out / "results")
            detections = find(frames)
        elif like is not None:
            rule = {"skeleton": skeleton, "first_frame": first_frame, "on_bad": on_bad}
            detections, notes, warnings = on_video(like, frames, **rule)
        shipped = weights is None
        alone = _missing_alone(method, detections.skeleton, delta, shipped and not force)
        people = link(detections) if detections.tracks is None else detections
        joints = people.skeleton if by_name and weights else _joints_of(method, people.skeleton)
        predictor = load(method, skeleton=joints, size=size, device=device, **files)
        prediction = refined_people(predictor, frames, people, delta, bool(alone), progress)
        paces, options = [], {"like": like, "long_side": long_side, "progress": progress}
        written = save_results(out, frames, prediction, **options, report=paces.append)
        held = (*_stand_ins(predictor, people), *alone, *_gaps(frames))
        if shipped and method in ON_REAL:
            held = (*held, ON_REAL[method])
        warnings = (*warnings, *frames.lost.values())
        return VideoResult(prediction, len(frames), written, *paces, (*notes, *held), warnings)
