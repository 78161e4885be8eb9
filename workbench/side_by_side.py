"""Five methods on the same people of the same clips: how well each does by visibility and by
occlusion, what it costs, and which to take when.

The clips are those of the frozen world "passing_people" made longer (`WORLD`), because HANet reads
tracks. Everybody gets the same pictures, the true box in the frame that is judged, and, who
refines joints, the joints of one single-frame estimator: VisSimCC's plain one, `SINGLE`, which is
the rival of every row. Only the joints that all methods have are judged. Synthetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int

from . import metrics
from .bench import Bench
from .data.tracks import poses_of
from .data.windows import WindowConfig, Windows
from .errors import unknown
from .geometry import enlarge
from .made.worlds import WORLDS, cached_clips
from .models.layers import count_parameters, forward_cost, peak_bytes
from .predict import (
    Predictor,
    Propagator,
    estimate_people,
    load,
    refine_people,
    refine_tracks,
    refined_people,
)
from .propagate import linear
from .recipes.base import SCHEMA_VERSION, Scores, paired, rows
from .recipes.crops import PADDING
from .recipes.otpose import SingleFrame
from .recipes.stdpose import single_frame
from .records import Clip, Detections, Pose, Prediction
from .skeletons import Skeleton, own_skeleton, skeleton
from .threads import hardware_in_words, threads_in_words
from .train import choose_device
from .view.explorer import Control, Explorer, choice, switch
from .view.explorer import number as dial
from .view.panels import HIDDEN as HIDDEN_MARK
from .view.panels import NOTHING, Bar, Bars, Click, Lines, Picture, Tabs
from .view.panels import VISIBLE as VISIBLE_MARK
from .view.panels import People as Shown
from .view.stage import Played, Scene, Stage, over_time

# the clips of "passing_people" with more frames, all of them labelled  # ours
WORLD = replace(
    WORLDS["passing_people"], name="side_by_side", n_frames=15, label_stride=1, label_first=0
)
MIDDLE = WORLD.n_frames // 2  # the frame that is judged
APART = 3  # frames from it to those that STDPose looks at, and whose labels it may be told
NEAR = 2  # frames to both sides that OTPose looks at
REACH = {"OTPose": NEAR, "STDPose": APART}
CLIPS = 120  # of the rows that are shipped
HIT = metrics.PCK_THRESHOLD  # of the longer side of the person's box

SINGLE = "single frame"


@dataclass(frozen=True)
class Method:
    """A row: what it needs, and what it starts from.

    weights, joints: of `predict.load`, "" where there is no network. base: the row that it goes on
    from. needs: of `HAVE`. reads, cannot, learned (from what): for readers. role: its colour, which
    means nothing else beside the others.
    """

    weights: str
    base: str
    needs: frozenset[str]
    reads: str
    cannot: str
    learned: str
    role: str | int
    joints: str | None = None


JOINTS, TRACK, PICTURE, FRAMES, LABELS = "joints", "track", "picture", "frames", "labels"
HAVE = (JOINTS, TRACK, PICTURE, FRAMES, LABELS)
LINE, TOLD = "straight line", "STDPose, labels told"
ALWAYS = "PORT, never abstaining"
METHODS = {
    SINGLE: Method(
        "vissimcc-baseline",
        "",
        frozenset({PICTURE}),
        "one picture",
        "look at another frame",
        "single pictures, rendered",
        "detector",
    ),
    "PORT": Method(
        "port",
        SINGLE,
        frozenset({JOINTS}),
        "joints of one frame and their confidences",
        "see pixels or other frames",
        "drawn skeletons",
        "outside",
        "coco17",
    ),
    ALWAYS: Method(
        "port",
        SINGLE,
        frozenset({JOINTS}),
        "the same; replaces the less confident half of all joints (PORT Eq. 13, 14)",
        "see pixels or other frames",
        "drawn skeletons",
        "outside",
        "coco17",
    ),
    "HANet": Method(
        "hanet",
        SINGLE,
        frozenset({JOINTS, TRACK}),
        f"joints of {WORLD.n_frames} frames",
        "see pixels, or say which joint is doubtful",
        "motion at 30 frames a second (here 12)",
        "newly_hidden",
    ),
    "VisSimCC": Method(
        "vissimcc",
        SINGLE,
        frozenset({PICTURE}),
        "one picture",
        "look at another frame",
        "single pictures, rendered",
        "rival",
    ),
    "OTPose": Method(
        "otpose",
        "OTPose's single frame",
        frozenset({FRAMES}),
        f"pictures of {2 * NEAR + 1} frames in a row",
        "follow somebody who leaves the box",
        "clips of this very kind",
        "ours",
    ),
    "STDPose": Method(
        "stdpose",
        "STDPose's single frame",
        frozenset({FRAMES}),
        f"3 pictures, {APART} frames apart",
        "do without frames on both sides",
        "clips of fast people",
        3,
    ),
    LINE: Method(
        "",
        SINGLE,
        frozenset({LABELS}),
        f"people's labels in two frames, {APART} frames away; no network",
        "see pixels",
        "nothing",
        2,
    ),
    TOLD: Method(
        "stdpose",
        LINE,
        frozenset({FRAMES, LABELS}),
        f"3 pictures, and people's labels in the outer two, {APART} frames away",
        "do without labels on both sides",
        "clips of fast people",
        4,
    ),
}
FIVE = tuple(name for name in METHODS if name not in (ALWAYS, LINE, TOLD))  # and the single frame
# what methods go on from, where that is not the common single frame
OWN = ("OTPose's single frame", "STDPose's single frame")


def shared_joints() -> tuple[str, ...]:
    """The joints that every method has, in the order of COCO's."""
    known = [set(skeleton(name).joints) for name in ("coco17", "posetrack15", "jhmdb15")]
    return tuple(j for j in skeleton("coco17").joints if all(j in joints for joints in known))


# --- the same people for all ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class People:
    """Everybody in the middle frames of clips: what all methods are asked about.

    windows: one a person, the middle frame and those `APART` frames away, in the true box.
    """

    pairs: Sequence[tuple[Clip, object]]
    windows: Windows

    @classmethod
    def of(cls, pairs: Iterable[tuple[Clip, object]]) -> People:
        """Everybody with a box and a joint in the middle frames of (clip, frames)."""
        pairs = list(pairs)
        config = WindowConfig(offsets=(-APART, 0, APART), padding=PADDING, keys="labelled")
        windows = Windows(pairs, config)
        return cls(pairs, windows.select(windows.items[:, 2] == MIDDLE))

    @cached_property
    def truth(self) -> Pose:
        return self.windows.poses()

    @property
    def people_of(self) -> list[tuple[int, int]]:
        """Number of the clip and the track of each person."""
        return [(pair, track) for pair, track, _ in self.windows.items.tolist()]

    def asked(self, joints: str) -> list[Detections]:
        """The boxes of each clip's people in the middle frame, with no joints yet."""
        boxes = self.truth.boxes_xyxy
        found = []
        for pair in range(len(self.pairs)):
            mine = [row for row, (clip, _) in enumerate(self.people_of) if clip == pair]
            tracks = [self.people_of[row][1] for row in mine]
            frames = np.full(len(mine), MIDDLE)
            found.append(_nobody(joints, boxes[mine], frames, np.array(tracks, int)))
        return found

    @cached_property
    def hidden_share(self) -> Float[np.ndarray, n]:
        """Of the shared joints of each person that are in sight of the camera or hidden."""
        flags = self.flags
        return (flags == 1).sum(1) / np.maximum((flags > 0).sum(1), 1)

    @cached_property
    def flags(self) -> Int[np.ndarray, "n k"]:
        """Visibility of the shared joints."""
        return self.truth.visibility[:, shared_columns(self.truth.skeleton)]

    @cached_property
    def shown(self) -> Int[np.ndarray, "n k"]:
        """In how many of the four nearest other frames each shared joint is visible."""
        columns, found = shared_columns(self.truth.skeleton), []
        others = [MIDDLE + step for step in range(-NEAR, NEAR + 1) if step]
        for pair, number in self.people_of:
            visible = self.pairs[pair][0].tracks[number].visibility[others] == 2
            found.append(visible.sum(0)[columns])
        return np.array(found)


def shared_columns(joints: str) -> list[int]:
    """Where the shared joints stand in a skeleton."""
    return [skeleton(joints).index(name) for name in shared_joints()]


def _nobody(joints: str, boxes: np.ndarray, frames: np.ndarray, tracks: np.ndarray) -> Detections:
    """Boxes with joints that nobody has estimated yet."""
    n, k = len(boxes), len(skeleton(joints))
    empty = np.zeros((n, k, 2), np.float32)
    return Detections(joints, empty, empty[..., 0], boxes, frames=frames, tracks=tracks)


def read(clips: int = CLIPS, *, progress: bool = True) -> People:
    """The people of the first so many test clips of `WORLD`, rendered once and kept."""
    return People.of(cached_clips(WORLD, "test", clips, progress=progress))


def predictors(device: str = "auto") -> dict[str, Predictor]:
    """Who answers, by the names of `METHODS` and `OWN`: shipped weights."""
    device = choose_device(device)
    found = {
        name: load(method.weights, skeleton=method.joints, device=device)
        for name, method in METHODS.items()
        if name in FIVE
    }
    found["OTPose's single frame"] = SingleFrame(found["OTPose"])
    found["STDPose's single frame"] = single_frame(found["STDPose"])
    return found


# --- answers --------------------------------------------------------------------------------------


def single_frames(estimator: Predictor, people: People) -> list[Detections]:
    """What the single-frame estimator says of every frame of each clip: what PORT and HANet read.
    In the true boxes.
    """
    found = []
    for clip, frames in people.pairs:
        truth, at = poses_of(clip)
        places = [(t, n) for t in range(WORLD.n_frames) for n in range(len(clip.tracks))]
        tracks = [n for t, n in places if clip.tracks[n].visibility[t].any()]
        asked = _nobody(estimator.skeleton.name, truth.boxes_xyxy, at, np.array(tracks, int))
        said = estimate_people(estimator, frames[:], asked)
        found.append(replace(asked, xy_frame=said.xy_frame, confidence=said.confidence))
    return found


def joined(clips: Sequence[Detections]) -> Detections:
    """All clips' people as one file, each person with a number of their own."""
    names = ("xy_frame", "confidence", "boxes_xyxy", "frames")
    arrays = {name: np.concatenate([getattr(clip, name) for clip in clips]) for name in names}
    starts = np.cumsum([0, *(clip.tracks.max(initial=-1) + 1 for clip in clips)])
    arrays["tracks"] = np.concatenate([c.tracks + start for c, start in zip(clips, starts)])
    return Detections(clips[0].skeleton, **arrays)


def _shared(poses: Detections | Prediction | Pose, rows_: np.ndarray | None = None) -> np.ndarray:
    """The shared joints of poses, px."""
    xy = poses.xy_frame[:, shared_columns(poses.skeleton)]
    return xy if rows_ is None else xy[rows_]


def answers(
    people: People, models: Mapping[str, Predictor], *, progress: bool = False
) -> dict[str, Float[np.ndarray, "n k 2"]]:
    """Where each method puts the shared joints of everybody in the middle frames, px of the frame.

    models: as of `predictors`. PORT takes all clips as one file, by whose confidences it ranks.
    """
    said = single_frames(models[SINGLE], people)
    # the rows of the middle frame, in the order of the windows
    row_of = {}
    for pair, clip in enumerate(said):
        for row, place in enumerate(zip(clip.tracks.tolist(), clip.frames.tolist())):
            row_of[pair, *place] = row
    starts = np.cumsum([0, *map(len, said)])
    middle = np.array([starts[p] + row_of[p, n, MIDDLE] for p, n in people.people_of])
    file, port = joined(said), models["PORT"]
    half = float(np.max(port.fitted(file).rule.delta))
    found = {
        SINGLE: _shared(file, middle),
        "PORT": _shared(refine_people(port, file), middle),
        ALWAYS: _shared(refine_people(port, file, delta=half), middle),
        "HANet": _shared(refine_tracks(models["HANet"], file), middle),
    }
    for name in ("VisSimCC", "OTPose", "OTPose's single frame"):
        one = models[name]
        parts = [
            _shared(estimate_people(one, frames[:], asked))
            for (_, frames), asked in zip(people.pairs, people.asked(one.skeleton.name))
        ]
        found[name] = np.concatenate(parts)
    windows = people.windows
    told = {"given": False, "progress": progress}
    found["STDPose"] = _shared(_carried(models["STDPose"], windows, **told))
    own = "STDPose's single frame"
    found[own] = _shared(_carried(models[own], windows, **told))
    found[TOLD] = _shared(_carried(models["STDPose"], windows, given=True, progress=progress))
    found[LINE] = _shared(linear(windows, progress=progress))
    return found


def _carried(model: Propagator, windows: Windows, **how) -> Detections:
    """STDPose in its own crops of the windows."""
    config = model.model.config
    own = Windows(
        windows.pairs,
        replace(windows.config, size=config.size, alignment=config.alignment),
    )
    own.items = windows.items
    return model.carry(own, **how)


# --- pictures -------------------------------------------------------------------------------------


def shared_skeleton() -> Skeleton:
    """The shared joints with the bones between them."""
    names, whole = shared_joints(), skeleton("coco17")
    at = {whole.index(name): i for i, name in enumerate(names)}
    bones = [(at[i], at[j]) for i, j in whole.edges if i in at and j in at]
    return own_skeleton(names, bones)


def most_hidden(people: People) -> int:
    """The person with the most hidden joints that a near frame shows: there is something to see,
    and somewhere to take it from.
    """
    return int(subsets(people)[list(SHOWN)[-1]].sum(1).argmax())


def _around(people: People, person: int) -> tuple[float, ...]:
    """A square about somebody, px."""
    return tuple(enlarge(people.truth.boxes_xyxy[person], PADDING, 1.0).tolist())


def _close(people: People, person: int) -> tuple[float, ...]:
    """Somebody's box with room around, wider than high, px."""
    x, y, right, bottom = people.truth.boxes_xyxy[person]
    high = 1.15 * (bottom - y)
    middle = np.array([(x + right) / 2, (y + bottom) / 2])
    half = np.array([0.75 * high, high / 2])
    return (*(middle - half).tolist(), *(middle + half).tolist())


def panels(
    people: People, found: Mapping[str, Float[np.ndarray, "n k 2"]], person: int
) -> list[Picture]:
    """Somebody in the middle frame, one panel a method, its answer over the truth; crosses are
    hidden joints of the truth.
    """
    frame = people.windows.frame(people.people_of[person][0], MIDDLE)
    flags = people.flags[person]
    marks = np.array([NOTHING, HIDDEN_MARK, VISIBLE_MARK])[flags]
    truth = Shown("truth", "truth", _shared(people.truth)[person], marks)
    box, out = _around(people, person), []
    for name, xy in found.items():
        answer = np.where((flags > 0)[:, None], xy[person], np.nan)
        shown = [truth, Shown(name, METHODS[name].role, answer)]
        out.append(Picture(name, [frame], shown, box=box))
    return out


def errors(
    people: People, found: Mapping[str, Float[np.ndarray, "n k 2"]], person: int
) -> dict[str, float]:
    """The mean error of somebody's labelled joints in the middle frame by each method, px."""
    use, truth = people.flags[person] > 0, _shared(people.truth)[person]
    away = {name: np.linalg.norm(xy[person] - truth, axis=-1) for name, xy in found.items()}
    return {name: float(px[use].mean()) for name, px in away.items()}


FEW = 3  # joints whose names find room in a picture


def asked(people: People, person: int) -> Picture:
    """The middle frame, close, with the person's visible joints, which have their names where they
    are few.
    """
    pair, number = people.people_of[person]
    track = people.pairs[pair][0].tracks[number]
    columns = shared_columns(track.skeleton)
    seen = track.visibility[MIDDLE, columns] == 2
    marks = np.where(seen, VISIBLE_MARK, NOTHING)
    truth = Shown("truth", "truth", track.xy_frame[MIDDLE, columns], marks)
    notes = [
        {
            "at": truth.xy[j].tolist(),
            "words": f"{shared_joints()[j].replace('_', ' ')}, visible",
            "aside": 12,
            "ring": 0,
        }
        for j in (np.flatnonzero(seen) if seen.sum() <= FEW else ())
    ]
    frame, box = people.windows.frame(pair, MIDDLE), _close(people, person)
    return Picture(f"frame {MIDDLE}", [frame], [truth], box=box, notes=notes)


def asked_joint(
    people: People, found: Mapping[str, Float[np.ndarray, "n k 2"]], person: int
) -> tuple[str, np.ndarray, dict[str, np.ndarray], float]:
    """Of somebody's hidden joints that a near frame shows the one that the single frame misses by
    most: its name, where it is and where each method puts it, px, who answers as the single frame
    left out; and how far off is a hit, px.
    """
    truth = _shared(people.truth)[person]
    use = (people.flags[person] == 1) & (people.shown[person] > 0)
    away = np.linalg.norm(found[SINGLE][person] - truth, axis=-1)
    j = int(np.where(use, away, -1).argmax())
    places = {name: xy[person, j] for name, xy in found.items()}
    others = {
        name: xy
        for name, xy in places.items()
        if name == SINGLE or not np.array_equal(xy, places[SINGLE])
    }
    reach = HIT * float(metrics.box_sizes(people.truth.boxes_xyxy[[person]])[0])
    return shared_joints()[j], truth[j], others, reach


def stage(people: People, models: Mapping[str, Predictor], person: int, **options) -> Stage:
    """A person's clip to scrub through, everybody's answer in every frame in a panel of its own,
    and errors by frame. No labels are told; STDPose and OTPose look at frames as a video goes by.
    """
    number, track = people.people_of[person]
    clip, frames = people.pairs[number]
    said = single_frames(models[SINGLE], People.of([people.pairs[number]]))[0]
    said = said.select(said.tracks == track)
    truth = clip.tracks[track]
    boxes = truth.boxes_xyxy[truth.visibility.any(1)]
    ends = np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])
    x, y, right, bottom = np.rint(enlarge(ends, 1.1)).astype(int).clip(0, None)
    columns = shared_columns(truth.skeleton)
    scene = Scene(
        [np.ascontiguousarray(frame[y:bottom, x:right]) for frame in frames[:]],
        truth.xy_frame[:, None, columns] - np.array([x, y], np.float32),
        truth.visibility[:, None, columns],
        name=clip.name,
    )

    def ask(scene_: Scene, _seen: Sequence[np.ndarray], _mask: np.ndarray) -> dict:
        found, n = {SINGLE: said}, len(scene_.frames)
        for name in FIVE[1:]:
            found[name] = refined_people(models[name], frames[:], said)
        own, corner = shared_columns(said.skeleton), np.array([x, y], np.float32)
        return {k: over_time(found[k], n)[:, :, own] - corner for k in FIVE}

    roles = {name: METHODS[name].role for name in FIVE}
    options = {"frame": MIDDLE - NEAR, "apart": True, "paints": False, "roles": roles} | options
    return Together(shared_skeleton(), [scene], ask, **options)


class Together(Stage):
    """The stage with the single frame and one method beside it, large enough for a click on a
    joint, which chooses whose error is drawn and is marked. Of everybody there are curves, but for
    who lies on the single frame's in all frames. The middle frame, which readers are asked about,
    is bare until they open it.
    """

    def declare(self) -> list[Control]:
        beside = choice("beside it", FIVE[1:], "OTPose", needs="drawing")
        words = f"open frame {MIDDLE} (first guess, below)"
        return [*super().declare(), beside, switch("open", needs="drawing", label=words)]

    def held(self, state: Mapping, found: Played) -> Played:
        """Without joints and answers in the middle frame, as long as it is not open."""
        if state["open"]:
            return found
        bare = (np.arange(len(found.frames)) == MIDDLE)[:, None, None]
        left = {name: np.where(bare[..., None], np.nan, xy) for name, xy in found.answers.items()}
        flags = np.where(bare, 0, found.visibility)
        return replace(found, visibility=flags, answers=left, plain=left)

    def say(self, state: Mapping, found: Played) -> str:
        without = "" if state["open"] else f", without frame {MIDDLE}"
        return super().say(state, self.held(state, found)) + without

    def draw(self, state: Mapping, found: Played) -> Tabs:
        found = self.held(state, found)
        pictures, (curve,) = super().draw(state, found)["stage"]
        click = Click("error of", needs="drawing")
        two = SINGLE, state["beside it"]
        shown = [replace(each, click=click) for each in pictures if each.title in two]
        if state["error of"] in self.kin.joints:
            chosen = np.arange(len(self.kin)) == self.kin.index(state["error of"])
            shown = [
                replace(each, people=[*each.people, self.marked(state, chosen, each, found)])
                for each in shown
            ]
        return {"stage": [[*shown, replace(curve, wide=1.4)]]}

    def marked(
        self, state: Mapping, chosen: Bool[np.ndarray, "k"], panel: Picture, found: Played
    ) -> Shown:
        """The chosen joint alone, where a panel's method puts it."""
        xy = np.where(chosen[:, None], found.answers[panel.title], np.nan)
        return Shown(state["error of"].replace("_", " "), "ink", xy)

    def curve(self, state: Mapping, found: Played) -> Lines:
        lines = super().curve(state, found)
        first = lines.lines[0]
        same = [
            line.name for line in lines.lines[1:] if np.array_equal(line.y, first.y, equal_nan=True)
        ]
        drawn = [line for line in lines.lines if line.name not in same]
        words = f" ({', '.join(same)}: on the line of the {SINGLE})" if same else ""
        return replace(lines, lines=drawn, title=lines.title + words)

    def asks(self) -> Iterable[Mapping]:
        """Everybody beside the single frame, joint by joint."""
        joints = self.declared["error of"].options
        for beside, joint, is_open in product(FIVE[1:], joints, (False, True)):
            yield {"beside it": beside, "error of": joint, "open": is_open}


# --- rows -----------------------------------------------------------------------------------------

# people by the share of their shared joints that is hidden, from and up to
LEVELS = {
    "people hidden up to a third": (0.0, 1 / 3),
    "people hidden up to two thirds": (1 / 3, 2 / 3),
    "people hidden by more": (2 / 3, 1.0),
}
# hidden joints by how many of the four nearest other frames show them
SHOWN = {
    "hidden joints that no near frame shows": (0, 0),
    "hidden joints that a near frame shows": (1, 4),
}
ALL, VISIBLE, HIDDEN = "all joints", "visible joints", "hidden joints"


def subsets(people: People) -> dict[str, Bool[np.ndarray, "n k"]]:
    """Which shared joints of whom count in each row."""
    flags, share = people.flags, people.hidden_share
    found = {ALL: flags > 0, VISIBLE: flags == 2, HIDDEN: flags == 1}
    for name, (low, high) in LEVELS.items():
        inside = (share <= high) & ((share > low) if low else True)
        found[name] = (flags > 0) & inside[:, None]
    for name, (low, high) in SHOWN.items():
        found[name] = (flags == 1) & (low <= people.shown) & (people.shown <= high)
    return found


def scores_of(
    name: str, xy: Float[np.ndarray, "n k 2"], people: People, columns: Sequence[int]
) -> list[Scores]:
    """By person: "PCK", percent of the joints within `HIT` of the longer side of the person's box,
    and "error", the mean distance in percent of that side. columns: of the truth's joints.
    """
    truth, groups = people.truth, np.array(people.truth.groups)
    sizes = metrics.box_sizes(truth.boxes_xyxy)[:, None]
    away = metrics.joint_distances(xy, truth.xy_frame[:, columns]) / sizes
    found = []
    for subset, use in subsets(people).items():
        some = use.any(1)
        count = use[some].sum(1)
        values = {
            "PCK": 100 * ((away <= HIT) & use).sum(1)[some] / count,
            "error": 100 * np.where(use, away, 0).sum(1)[some] / count,
        }
        words = {"method": name, "subset": subset}
        found.append(Scores(words, int(use.sum()), values, groups[some]))
    return found


def measured(people: People, found: Mapping[str, Float[np.ndarray, "n k 2"]]) -> list[dict]:
    """A row a method and subset; differences to the common single frame under "paired", and to
    what the method goes on from under "against". 95 % by clip.
    """
    columns = shared_columns(people.truth.skeleton)
    scores = {name: scores_of(name, xy, people, columns) for name, xy in found.items()}
    lines = rows(scores, rival=SINGLE)
    parts = [part for each in scores.values() for part in each]
    for line, part in zip(lines, parts, strict=True):
        base = METHODS[line["method"]].base if line["method"] in METHODS else ""
        if base:
            other = next(s for s in scores[base] if s.words["subset"] == line["subset"])
            line["against"] = {base: paired(part, other, base)}
    return lines


def _in_words(change: Mapping) -> str:
    """As "+9.3 [+6.3, +12.3]"."""
    low, high = change["interval"]
    return f"{change['difference']:+.1f} [{low:+.1f}, {high:+.1f}]"


def table_of(lines: Iterable[Mapping], chosen: Sequence[str]) -> list[dict]:
    """Rows for readers, subset by subset: PCK, error, and the differences of PCK with their
    intervals; where a method starts from the single frame both are the same.
    """
    found = []
    for line in sorted(
        (line for line in lines if line["subset"] in chosen),
        key=lambda x: chosen.index(x["subset"]),
    ):
        row = {"joints": line["subset"], "method": line["method"], "n": line["n"]} | line["metrics"]
        for title, rival in (
            ("PCK, against single frame", SINGLE),
            ("PCK, against its start", next(iter(line.get("against", {})), None)),
        ):
            change = change_of(line, rival) if rival else None
            row[title] = change and _in_words(change)
            if change and title.endswith("start") and rival != SINGLE:
                row[title] += f", {rival}"
        found.append(row)
    return found


def summary(lines: Iterable[Mapping]) -> list[dict]:
    """A row a method of `METHODS`: PCK of visible and hidden joints, and its changes."""
    parts = {kind: table_of(lines, (kind,)) for kind in (VISIBLE, HIDDEN)}
    found = []
    for name in METHODS:
        row = {"method": name}
        for kind, table in parts.items():
            own = next(each for each in table if each["method"] == name)
            word = kind.partition(" ")[0]
            row |= {f"{word}: {key}": own.get(key) for key in own if key.startswith("PCK")}
        found.append(row)
    return found


# --- what it costs --------------------------------------------------------------------------------


def ways(
    people: People, models: Mapping[str, Predictor], person: int = 0
) -> dict[str, Callable[[], object]]:
    """What each method does to place one person in the middle frame, from pixels to px. Nothing is
    kept from earlier frames but the joints that HANet reads.
    """
    pair, track = people.people_of[person]
    frames = people.pairs[pair][1][:]
    box = people.truth.boxes_xyxy[[person]]
    single, port = models[SINGLE], models["PORT"]
    near = {name: frames[MIDDLE - n : MIDDLE + n + 1] for name, n in REACH.items()}
    said = single_frames(single, People.of([people.pairs[pair]]))[0]
    port = port.fitted(said)
    joints = said.select(said.tracks == track)

    def estimate(name: str) -> Detections:
        return models[name].estimate(near.get(name, frames[MIDDLE]), box)

    def refined() -> Prediction:
        return refine_people(port, estimate(SINGLE))

    def tracked() -> Prediction:
        estimate(SINGLE)
        return refine_tracks(models["HANet"], joints)

    found = {name: partial(estimate, name) for name in (SINGLE, "VisSimCC", "OTPose", "STDPose")}
    return found | {"PORT": refined, "HANet": tracked}


def costs(people: People, models: Mapping[str, Predictor], seconds: float = 3.0) -> list[dict]:
    """A row a method: what it takes to place one person in one frame (`ways`), all in turn in one
    process. Parameters count what joints come from, too. "ms" has the middle half of the calls in
    the place of an interval, and so has "times", the ratio to the single frame called beside it.
    """
    steps = ways(people, models)
    for step in steps.values():
        step()
    times = Bench(seconds=seconds).times(*steps.values())
    found = []
    for (name, step), taken in zip(steps.items(), times):
        own = count_parameters(models[name].model)
        if JOINTS in METHODS[name].needs:
            own += count_parameters(models[SINGLE].model)
        values = {"ms": 1e3 * taken, "times": taken / times[0]}
        middle = {key: np.quantile(v, (0.25, 0.75)).tolist() for key, v in values.items()}
        measures = {key: float(np.median(v)) for key, v in values.items()}
        measures |= {"parameters": own, "GFLOP": forward_cost(step).flops / 1e9}
        measures["MB"] = peak_bytes(step) / 1e6
        row = {"method": name, "subset": COST, "kind": "measured", "n": len(taken)}
        found.append({**row, "metrics": measures, "intervals": middle})
    return found


COST = "one person in one frame"

# --- when to take which ---------------------------------------------------------------------------

HELPS, HARMS, OPEN = "helps", "harms", "no difference shown"
MARKS = {HELPS: "✓", HARMS: "✕"}


def verdict(line: Mapping, rival: str) -> str:
    """What the paired interval of PCK says: it helps where the lower end is above 0, harms where
    the upper end is below 0, and nothing is shown otherwise.
    """
    change = change_of(line, rival)
    if change is None:
        return OPEN
    low, high = change["interval"]
    return HELPS if low > 0 else HARMS if high < 0 else OPEN


def change_of(line: Mapping, rival: str = SINGLE) -> Mapping | None:
    """{difference, interval}: the paired one of PCK, where there are two clips to draw from."""
    pairs = line.get("paired", {}) if rival == SINGLE else line.get("against", {}).get(rival, {})
    return pairs.get("PCK")


def line_of(lines: Iterable[Mapping], method: str, subset: str) -> Mapping:
    """The row of a method and subset; `UnknownName` where there is none."""
    lines = list(lines)
    for line in lines:
        if (line["method"], line["subset"]) == (method, subset):
            return line
    known = {f"{line['method']}, {line['subset']}" for line in lines}
    raise unknown("row", f"{method}, {subset}", known)


def ruled(lines: Iterable[Mapping], name: str, subset: str) -> str:
    """What a method's row says against the common single frame."""
    return verdict(line_of(lines, name, subset), SINGLE)


def judged(lines: Sequence[Mapping]) -> list[dict]:
    """Of each method what its rows say about visible and hidden joints, against the common single
    frame and against what it goes on from.
    """
    found = []
    for name, method in METHODS.items():
        if not method.base:
            continue
        row = {"method": name}
        for subset in (VISIBLE, HIDDEN):
            row[f"{subset}, against the {SINGLE}"] = ruled(lines, name, subset)
        row["goes on from"] = method.base
        for subset in (VISIBLE, HIDDEN, *SHOWN):
            row[f"{subset}, against that"] = verdict(line_of(lines, name, subset), method.base)
        found.append(row)
    return found


SITUATIONS = {  # what a reader has
    "joints of one picture alone": {JOINTS},
    "joints of a video alone": {JOINTS, TRACK},
    "one picture": {JOINTS, PICTURE},
    "a video": {JOINTS, TRACK, PICTURE, FRAMES},
    "a video with labels near by": set(HAVE),
}
STAY = "stay with what you have: no gain is shown"


def choices(lines: Sequence[Mapping], *, harm: float | int = 0) -> list[dict]:
    """When to take which, by rules. A method can be taken where a reader has what it needs, it
    helps hidden joints against the single frame, and is not shown to cost visible ones more than
    `harm` points of PCK: its interval does not lie below -harm as a whole. Of several the one
    whose gain has the highest lower end is taken; beside it stands what it goes on from, where
    that can be taken, too, and no difference between the two is shown.
    """
    gains, harmful = {}, set()
    for name, method in METHODS.items():
        if not method.base:
            continue
        if ruled(lines, name, HIDDEN) == HELPS:
            gains[name] = change_of(line_of(lines, name, HIDDEN))
        cost = change_of(line_of(lines, name, VISIBLE))
        if cost is not None and cost["interval"][1] < -harm:
            harmful.add(name)
    found = []
    for have, what in SITUATIONS.items():
        fit = [name for name in gains if METHODS[name].needs <= what]
        good = [name for name in fit if name not in harmful]
        best = max(good, key=lambda name: gains[name]["interval"][0], default=None)
        row = {"you have": have, "take": best or STAY, "or, no difference shown": ""}
        row[f"hidden joints against the {SINGLE}, PCK"] = ""
        if best:
            row[f"hidden joints against the {SINGLE}, PCK"] = _in_words(gains[best])
            base = METHODS[best].base
            if base in good and verdict(line_of(lines, best, HIDDEN), base) == OPEN:
                row["or, no difference shown"] = base
        row["helps, too"] = ", ".join(name for name in good if name != best)
        harms = ", ".join(name for name in fit if name in harmful)
        row["helps hidden joints, but harms visible ones"] = harms
        found.append(row)
    return found


def _rise(lines: Sequence[Mapping], name: str, subset: str) -> str:
    """As "45.1 → 54.4", PCK of the single frame and of a method; "" where nobody knows."""
    ends = [line_of(lines, who, subset).get("metrics", {}).get("PCK") for who in (SINGLE, name)]
    return "" if None in ends else " → ".join(f"{end:.1f}" for end in ends)


READ = {  # heads of the table of all methods
    JOINTS: "joints",
    TRACK: "joints of other frames",
    PICTURE: "this picture",
    FRAMES: "other pictures",
    LABELS: "labels",
}


def overview(lines: Sequence[Mapping]) -> list[dict]:
    """A row a method: what it reads, what it has learned from, and what its rows say of hidden and
    visible joints against the single frame, points of PCK.
    """
    found = []
    for name, method in METHODS.items():
        if name in (SINGLE, ALWAYS):
            continue
        reads = method.needs | ({PICTURE} if FRAMES in method.needs else set())
        row = {"method": name, **{head: "✓" * (what in reads) for what, head in READ.items()}}
        row["learned from"] = method.learned
        for subset in (HIDDEN, VISIBLE):
            line = line_of(lines, name, subset)
            mark = MARKS.get(verdict(line, SINGLE), "·")
            row[f"{subset}, points"] = f"{mark} {change_of(line)['difference']:+z.1f}"
            if not any(change_of(line)["interval"]):
                row[f"{subset}, points"] = "0, replaces nothing"
        found.append(row)
    return found


VIEWS = {  # what is drawn of the rows
    "hidden | visible joints": (HIDDEN, VISIBLE),
    "by how much is hidden": (*LEVELS,),
    "by near frames": (*SHOWN,),
}
MOST_HARM = 20  # points of PCK that can be accepted


class Choice(Explorer):
    """Say what you have and how much harm to visible joints you accept, and see whom the rule of
    `choices` takes, and the rows that it follows from, on one scale. Who can be used has a bar,
    grey where the harm is more than that, but for those that answer as the single frame.

    lines: as of `measured`.
    """

    def __init__(self, lines: Sequence[Mapping], **options):
        self.lines = lines
        self.rows = {
            (row["you have"], harm): row
            for harm in range(MOST_HARM + 1)
            for row in choices(lines, harm=harm)
        }
        self.names = [name for name in METHODS if name not in (SINGLE, ALWAYS)]
        still = [
            name
            for name in self.names
            if not any(any(self.ends_at(name, subset)) for subset in (HIDDEN, VISIBLE))
        ]
        self.names = [name for name in self.names if name not in still]
        self.ends = {view: self.ends_of(subsets_) for view, subsets_ in VIEWS.items()}
        super().__init__(shared_skeleton(), **{"name": "choice", **options})
        self.notes = "\n".join(f"{name}: 0, replaces nothing here." for name in still)

    def declare(self) -> list[Control]:
        return [
            choice("you have", SITUATIONS, "a video", needs="drawing"),
            dial("harm", 0, MOST_HARM, needs="drawing", label="sure harm I accept, points"),
            choice("show", VIEWS, needs="drawing"),
        ]

    def ends_at(self, name: str, subset: str) -> Sequence[float]:
        """Ends of a method's interval."""
        return change_of(line_of(self.lines, name, subset))["interval"]

    def ends_of(self, drawn: Iterable[str]) -> tuple[float, float]:
        """Ends of an axis for all intervals of some subsets."""
        ends = [0.0, *(end for one in product(self.names, drawn) for end in self.ends_at(*one))]
        return min(ends) - 1, max(ends) + 1

    def row(self, state: Mapping) -> dict:
        return self.rows[state["you have"], state["harm"]]

    def compute(self, state: Mapping) -> None:
        """The rows are there."""

    def draw(self, state: Mapping, found: None) -> Tabs:
        panels, fit = [], SITUATIONS[state["you have"]]
        for subset in VIEWS[state["show"]]:
            bars = [self.bar(state, n, subset) for n in self.names if METHODS[n].needs <= fit]
            look = {"range": self.ends[state["show"]], "signed": True}
            title, limit = titled(subset), None
            if subset == VISIBLE:
                title, limit = f"{title}; dashed: the sure harm that I accept", -state["harm"]
            panels.append(Bars(title, "points of PCK", bars, limit=limit, **look))
        return {"choice": [[panel] for panel in panels]}  # one zero, one below the other

    def bar(self, state: Mapping, name: str, subset: str) -> Bar:
        """A method's change and its interval."""
        line = line_of(self.lines, name, subset)
        ruled_by = subset in (HIDDEN, VISIBLE)
        taken = ruled_by and name == self.row(state)["take"]
        dear = ruled_by and self.ends_at(name, VISIBLE)[1] < -state["harm"]
        mark, change = MARKS.get(verdict(line, SINGLE), "·"), change_of(line)
        look = "none" if dear else METHODS[name].role, mark, tuple(change["interval"])
        return Bar(f"take {name}" if taken else name, change["difference"], *look)

    def say(self, state: Mapping, found: None) -> str:
        row = self.row(state)
        taken, other = row["take"], row["or, no difference shown"]
        said = "stay with what you have. Nothing that you can use may be taken by the rule."
        if taken in METHODS:
            line, base = line_of(self.lines, taken, HIDDEN), METHODS[taken].base
            beside = f", or the {other}" if other else ""
            rise = f"{_rise(self.lines, taken, HIDDEN)} ({_in_words(change_of(line))})"
            said = f"take {taken}{beside}. Hidden joints, PCK: {rise}."
            if base in METHODS and base != SINGLE:
                against = f"{_in_words(change_of(line, base))}, {verdict(line, base)}"
                said += f" Against the {base}: {against}."
        out = row["helps hidden joints, but harms visible ones"]
        if out:
            said += f" Too dear at visible joints: {out}."
        return f"With {state['you have']}: {said}"

    def asks(self) -> Iterable[Mapping]:
        for have, harm, view in product(SITUATIONS, range(MOST_HARM + 1), VIEWS):
            yield {"you have": have, "harm": harm, "show": view}


def price(bench: Choice, name: str) -> Callable[[Mapping, object], float]:
    """The score of an exercise with a `Choice`: how much more harm is accepted than the least with
    which the rule takes this method; NaN where it does not.
    """
    taken = [harm for (_, harm), row in bench.rows.items() if row["take"] == name]

    def score(state: Mapping, _found: object) -> float:
        fits = bench.row(state)["take"] == name
        return float(state["harm"] - min(taken)) if fits else float("nan")

    return score


def titled(subset: str) -> str:
    return f"{subset}: ←\N{NO-BREAK SPACE}worse | better\N{NO-BREAK SPACE}→"


def veiled(bench: Choice) -> tuple[dict[str, str], list[Bars], list[Bars]]:
    """A question about a `Choice` as it begins: letter -> method; the bars of these methods by
    letter, all in one colour and without verdicts, and by name.
    """
    fit = [name for name in bench.names if METHODS[name].needs <= SITUATIONS["a video"]]
    names = dict(zip("ABCDEFGH", sorted(fit)))
    asked, named = [], []
    for subset in (HIDDEN, VISIBLE):
        bars = [bench.bar(bench.state, name, subset) for name in names.values()]
        blind = [
            replace(bar, label=letter, role="soft", mark="") for letter, bar in zip(names, bars)
        ]
        look = {"range": bench.ends[bench.state["show"]], "signed": True}
        for panels_, each in ((asked, blind), (named, bars)):
            panels_.append(Bars(titled(subset), "points of PCK", each, **look))
    return names, asked, named


def examples() -> Bars:
    """How a bar and its line are read, on made-up numbers."""
    made = {
        "helps: left end > 0": (6, "✓", (2.0, 10.0)),
        "sure harm: right end": (-6, "✕", (-10.0, -2.0)),
        "not shown": (1, "·", (-3.0, 5.0)),
    }
    bars = [Bar(name, value, "soft", *rest) for name, (value, *rest) in made.items()]
    return Bars("made-up: how lines are read", "points", bars, range=(-12, 12), signed=True)


# --- all of it ------------------------------------------------------------------------------------


def protocol(people: People, seconds: float) -> str:
    """How the rows were measured, in words."""
    return (
        f"{len(people.truth)} people of {len(people.pairs)} clips {WORLD.name} {WORLD.digest()} "
        f"(passing_people with {WORLD.n_frames} frames; synthetic), the middle frame, in true "
        f"boxes; the {len(shared_joints())} joints that all methods have; PORT and HANet read the "
        f"joints of VisSimCC's plain network, the {SINGLE}; shipped weights; PCK: within {HIT:.0%} "
        "of the longer side of the box, percent, error: percent of that side, means over people, "
        f"95 % by clip; costs: all in turn in one process, {seconds:g} s, medians and middle "
        f"halves, {threads_in_words()}"
    )


def compare(
    clips: int = CLIPS, *, seconds: float = 10.0, device: str = "auto", progress: bool = True
) -> dict:
    """{schema_version, protocol, hardware, rows}: accuracy and costs of all methods on the first so
    many clips.
    """
    people, models = read(clips, progress=progress), predictors(device)
    lines = measured(people, answers(people, models, progress=progress))
    return {
        "schema_version": SCHEMA_VERSION,
        "protocol": protocol(people, seconds),
        "hardware": hardware_in_words(choose_device(device)),
        "rows": [*lines, *costs(people, models, seconds)],
    }
