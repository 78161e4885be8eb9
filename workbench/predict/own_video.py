"""A user's video: people read or found, linked, refined; overlay, results and table written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from ..data.finder import find_people, load_finder
from ..data.frames import Frames, open_frames
from ..data.results import on_video
from ..data.tracks import link
from ..errors import BadParameter, WorkbenchError, unknown
from ..film import LONG_SIDE, Pace, result_places, save_results, write_video
from ..metrics import joint_distances
from ..records import Detections, Prediction
from ..resources import check_writable
from ..skeletons import skeleton as skeleton_of
from .base import Predictor
from .estimate import estimate_people
from .poses import PortRefiner, refine_people
from .sequences import SequenceRefiner, refine_tracks, stand_ins, weights_joints
from .weights import OF_PICTURES, SHIPPED, described, load

# whoever finds people finds them in these joints
FOUND_JOINTS = "coco17"
# method and joints of shipped weights that real answers have not shown to help -> what they said
UNSHOWN = {
    ("port", "coco17"): "on 68 real people it changed OKS by +0.001, 95 % from -0.005 to +0.006",
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
            return estimate_people(predictor, frames, detections)


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
        f"{', '.join(left)} stay as they are (a gain is measured with made detectors alone)",
    )


def _gaps(frames: Frames) -> list[str]:
    """What became of frames that cannot be decoded."""
    numbers = [str(i) for i in sorted(frames.lost)]
    which = ", ".join(numbers[:8]) + (", ..." if len(numbers) > 8 else "")
    return [f"black in the overlay, because they cannot be decoded: frames {which}"] * bool(which)


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
    find: Callable[[Frames], Detections] | None = None,
    progress: bool = False,
) -> VideoResult:
    """The people of a video refined by a method, and written into the folder `out`.

    source: a video, a folder of pictures, or a camera's number, of which `camera_frames` are
    recorded into `out` first. detections: the user's own, or the file or folder of their results
    (of joints `skeleton`, told by their names or number where it is left out), whose format the new
    results keep, and which are put on frames as `results.on_video` says; None: `find` says who is
    there, torchvision's keypoint detector by default. weights, size, precision: as of `load`.
    delta: as of `refined_people`. first_frame, on_bad: as of `results.on_video`; with "report" a
    frame that cannot be decoded is black in the overlay, and methods that read pictures leave
    people whom they would look for in it as they are. force: also joints that are not missing,
    where weights are `UNSHOWN`. long_side: of the overlay, at most, px.

    Errors: `UnknownName`, `BadParameter`; what the readers, `load` and the method raise. Weights
    that are not there are refused before people are looked for, which takes long; a frame that
    cannot be decoded before anything is written.
    """
    if method not in SHIPPED:
        raise unknown("method for a video", method, SHIPPED)
    if delta is not None and method != "port":
        raise BadParameter(
            f"{method} has no delta: every joint may move", remedy="leave --delta out"
        )
    by_name = method in OF_PICTURES  # joints of any set
    files = {"weights": weights, "precision": precision}
    out = Path(out)
    if detections is None:
        described(method, skeleton=_joints_of(method, FOUND_JOINTS), **files)
        if find is None:
            find = partial(find_people, finder=load_finder(device=device), progress=progress)
    if isinstance(source, int):
        path = out / f"camera_{source}.webm"
        source = recorded(open_frames(source), path, camera_frames, progress=progress)
    like = None if isinstance(detections, Detections) else detections
    result_places(out, str(source), like)
    with open_frames(source, on_bad=on_bad) as frames:
        frames.black = on_bad == "report"
        frames.count(progress=progress)
        notes, warnings = (), frames.warnings
        if detections is None:
            check_writable(out / "results")
            detections = find(frames)
        elif like is not None:
            rule = {"skeleton": skeleton, "first_frame": first_frame, "on_bad": on_bad}
            detections, notes, warnings = on_video(like, frames, **rule)
        said = None if weights is not None or force else UNSHOWN.get((method, detections.skeleton))
        if said and delta is not None:
            raise BadParameter(
                f"a delta for {detections.skeleton}, where no gain is shown: {said}",
                remedy="say --force (force=True) to replace joints all the same",
            )
        people = link(detections) if detections.tracks is None else detections
        joints = people.skeleton if by_name and weights else _joints_of(method, people.skeleton)
        predictor = load(method, skeleton=joints, size=size, device=device, **files)
        prediction = refined_people(predictor, frames, people, delta, bool(said))
        alone = f"{method} replaced missing joints alone: {said}; --force lets it replace others"
        held = [*_stand_ins(predictor, people), *([alone] if said else [])]
        paces, options = [], {"like": like, "long_side": long_side, "progress": progress}
        written = save_results(out, frames, prediction, **options, report=paces.append)
        notes, warnings = (*notes, *held, *_gaps(frames)), (*warnings, *frames.lost.values())
        return VideoResult(prediction, len(frames), written, *paces, notes, warnings)
