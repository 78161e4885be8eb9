"""Hide it yourself: one brush over a made clip, and what five methods make of the person under it.

PORT and HANet get joints, those that a single-frame estimator finds in the unpainted pictures: a
joint under paint is missing. VisSimCC, OTPose and STDPose get the painted pictures; STDPose also
labels of two other frames, as in propagation. All are asked for one frame and in the same box.

Where the rescue comes from is measured: a source (a joint, a frame, a label) is taken away, and the
covered joints are then so much further from the truth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from ... import geometry
from ...errors import BadParameter
from ...made.film import Rendered
from ...made.world import World
from ...made.worlds import WORLDS, sample_clip
from ...occlusion import cover
from ...predict import Predictor, refine_people, stretches
from ...records import Detections
from ...skeletons import skeleton
from ..explorer import Control, Explorer, choice, scrubber
from ..panels import Arrows, Bar, Bars, People, Picture, Tabs, around, marks_of
from ..stage import NAMES, brush_controls, covered, painted, patch, without_covered

SINGLE = "vissimcc-baseline"  # who finds joints for PORT and HANet
JOINTS = skeleton("coco17")
# what all five know: nose and limbs
SHARED = [j for j, name in enumerate(JOINTS.joints) if name in skeleton("posetrack15").joints]
SIDES = 3  # frames from the asked one to STDPose's labels
NEAR = 4  # frames before and after, each of which is taken from HANet
ONE, ALL = SPANS = ("this frame", "all frames")  # as the brush calls them
FAR = 0.05  # of the person's height: a method breaks that is so much further off under the paint
RECOVERS, BREAKS, OFF = "holds", "breaks", "is off even without paint"
OUTCOMES = {RECOVERS: "✓", BREAKS: "✕", OFF: "–"}
LOST = 0.1  # and so far off it has lost the joints without any
# 41 frames, all labelled, of people who move fast; HANet learned at 30 frames a second
WORLD = replace(
    WORLDS["fast_people"],
    n_frames=41,
    fps=30.0,
    label_stride=1,
    label_first=0,
    skeleton=JOINTS.name,
)
FIRST = 7  # the first test clip that follows the rule of `chosen`; a test holds it
NOTES = (
    "Yellow diamond: a joint under your paint. Red cross: a joint that something in the room or "
    "the person's own body hides. Yellow line, for PORT and VisSimCC: from the joint that the "
    "method leans on most.\n"
    "The methods answer for frame {3}; the slider only shows what they saw.\n"
    "Made people (synthetic), so the truth is known. PORT and HANet read joints: what a "
    "single-frame estimator found without paint, less the joints under it. The others read the "
    "painted pictures; STDPose also the labels of frames {0} and {1}. Breaks: the covered joints "
    "are over {2:.1f} px (5 % of the person's height) further from the truth than without paint. "
    "Leans on: without that joint, frame, label or picture the error grows most; the bars say how "
    "much."
)


# --- the case -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """A person in a clip, the middle frame of which is asked for. xy: px, in `JOINTS`; joint: what
    the paint hides at first.
    """

    frames: Sequence[UInt8[np.ndarray, "h w 3"]]
    xy: Float[np.ndarray, "t k 2"]
    visibility: Int[np.ndarray, "t k"]
    boxes_xyxy: Float[np.ndarray, "t 4"]
    joint: str

    @property
    def key(self) -> int:
        return len(self.frames) // 2

    @property
    def size_wh(self) -> tuple[int, int]:
        height, width = self.frames[0].shape[:2]
        return width, height

    @property
    def height(self) -> float:
        """Of the person in the frame that is asked for, px."""
        return float(np.ptp(self.boxes_xyxy[self.key][1::2]))


def chosen(made: Rendered) -> Case | None:
    """The tallest in a clip, if at least half as tall as the picture, one of whose wrists is in
    sight from `SIDES` frames before the middle one to as many after it, is a quarter of the
    person's height or more from its hip, and moves by six tenths of it or more a second; that
    wrist. The person is there in all frames, and whole in the middle one. No method is asked.
    """
    key = made.clip.video.n_frames // 2
    near = slice(key - SIDES, key + SIDES + 1)
    found = []
    for track, side in product(made.clip.tracks, ("left", "right")):
        wrist, hip = (JOINTS.index(f"{side}_{part}") for part in ("wrist", "hip"))
        xy, name = track.xy_frame, JOINTS.joints[wrist]
        case = Case([*made.frames], xy, track.visibility, track.boxes_xyxy, name)
        tall = case.height
        away = np.linalg.norm(xy[key, wrist] - xy[key, hip])
        pace = np.linalg.norm(np.diff(xy[near, wrist], axis=0), axis=1).mean()
        whole = track.boxes_xyxy.any(1).all() and (track.visibility[key, SHARED] > 0).all()
        seen = whole and (track.visibility[near, wrist] == 2).all()
        moves = pace * made.clip.video.fps >= 0.6 * tall
        if seen and tall >= case.size_wh[1] / 2 and away >= tall / 4 and moves:
            found.append(case)
    return max(found, key=lambda case: case.height, default=None)


def first_case(world: World = WORLD, start: int = FIRST, at_most: int = 50) -> Case:
    """The first test clip in which somebody is `chosen`. `BadParameter` where nobody is."""
    for index in range(start, start + at_most):
        case = chosen(sample_clip(world, "test", index))
        if case is not None:
            return case
    raise BadParameter(f"nobody in {at_most} clips follows the rule", remedy="look at more")


# --- five who answer ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Answer:
    """xy: px of the picture, in `JOINTS`; NaN for what a method does not know. without: a source ->
    the same where that is taken away.
    """

    xy: Float[np.ndarray, "k 2"]
    without: Mapping[str, Float[np.ndarray, "k 2"]]


class Contest:
    """What five methods make of a case under paint. Whatever paint does not change is computed
    once. predictors: by their names, and `SINGLE`.
    """

    def __init__(self, case: Case, predictors: Mapping[str, Predictor]):
        self.case = case
        self.predictors = predictors
        self.people = self.detected(predictors[SINGLE])
        self.port = predictors["port"].fitted(self.people)
        self.kept: dict[tuple[str, int], torch.Tensor] = {}  # of unpainted frames

    def detected(self, single: Predictor) -> Detections:
        """The person in every frame, as a single-frame estimator sees them without paint."""
        case = self.case
        parts = [single.estimate(f, b[None]) for f, b in zip(case.frames, case.boxes_xyxy)]
        n = len(parts)
        return Detections(
            single.skeleton.name,
            np.concatenate([part.xy_frame for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            case.boxes_xyxy,
            frames=np.arange(n),
            tracks=np.zeros(n, int),
            source=single.name,
        )

    def answers(self, mask: Bool[np.ndarray, "t h w"]) -> dict[str, Answer]:
        """name -> answer; mask: what is painted over."""
        ways: Mapping[str, Callable] = {
            "port": self.by_joints,
            "hanet": self.by_motion,
            "vissimcc": self.by_picture,
            "otpose": self.by_frames,
            "stdpose": self.by_labels,
        }
        return {NAMES[name]: way(self.predictors[name], mask) for name, way in ways.items()}

    def by_joints(self, _port: Predictor, mask: np.ndarray) -> Answer:
        """PORT replaces what is missing in the frame. Sources: the other joints."""
        row = without_covered(self.people, mask).select([self.case.key])
        known = np.flatnonzero(row.confidence[0] > 0)
        rows = row.select([0] * (1 + len(known)))
        confidence = rows.confidence.copy()
        confidence[np.arange(len(known)) + 1, known] = 0
        found = refine_people(self.port, replace(rows, confidence=confidence), missing_alone=True)
        there = (found.confidence > 0) | found.replaced
        there = there & np.isin(np.arange(len(JOINTS)), SHARED)
        xy = np.where(there[..., None], found.xy_frame, np.nan)
        return Answer(xy[0], dict(zip((JOINTS.joints[j] for j in known), xy[1:])))

    def by_motion(self, hanet: Predictor, mask: np.ndarray) -> Answer:
        """HANet reads the joints of all frames. Sources: frames; a line stands in their place."""
        key, nobody = self.case.key, np.full((len(JOINTS), 2), np.nan)
        found = [
            (at.searchsorted(key - self.people.frames[rows[0]]), xy)
            for rows, at, xy in stretches(hanet, without_covered(self.people, mask))
            if self.people.frames[rows[0]] <= key <= self.people.frames[rows[-1]]
        ]
        if not found:
            return Answer(nobody, {})
        ((place, xy),) = found
        frames = [s for s in range(place - NEAR, place + NEAR + 1) if 0 < s < len(xy) - 1]
        each = np.repeat(xy[None], 1 + len(frames), 0)
        for row, s in zip(each[1:], frames):
            row[s] = (xy[s - 1] + xy[s + 1]) / 2
        inputs = [hanet.inputs(one) for one in each]
        batch = {name: torch.cat([one[name] for one in inputs]) for name in inputs[0]}
        with hanet.inference():
            flat = (
                hanet.model(batch["xy"], batch.get("valid"))["xy"][:, place].float().cpu().numpy()
            )
        centre, size = (part[:, 0] for part in hanet.frame(each))
        xy = _in_joints(flat.reshape(len(each), -1, 2) * size + centre, hanet)
        numbers = [f"frame {s + key - place}" for s in frames]
        return Answer(xy[0], dict(zip(numbers, xy[1:])))

    def seen(self, name: str, mask: np.ndarray, frames: Iterable[int], see: Callable):
        """What `see` makes of the crops of these frames, all in the box of the asked one, side by
        side [1 t ...], and the map xy_crop -> xy_frame. Only painted frames are looked at again.
        """
        parts, to_frame = [], None
        for t in frames:
            crop, affine = self.predictors[name].crops(
                painted([self.case.frames[t]], mask[t : t + 1])[0],
                self.case.boxes_xyxy[[self.case.key]],
            )
            to_frame = geometry.invert(affine[0])
            if (name, t) not in self.kept or mask[t].any():
                with self.predictors[name].inference():
                    part = see(crop.to(self.predictors[name].device))
                if not mask[t].any():
                    self.kept[name, t] = part
            else:
                part = self.kept[name, t]
            parts.append(part)
        return torch.stack(parts, 1), to_frame

    def answer(self, predictor: Predictor, sources: Sequence[str], to_frame, **inputs) -> Answer:
        """Of a batch whose first row is whole, and whose others lack a source each."""
        edits = inputs.pop("edit", None)
        found, _ = predictor.look(**inputs, names=[*(edits or ())], edit=edits)
        xy_crop = predictor.model.decode(found)[0].float().cpu().numpy()
        xy = _in_joints(geometry.apply(to_frame, xy_crop.astype(float)), predictor)
        return Answer(xy[0], dict(zip(sources, xy[1:])))

    def by_picture(self, aware: Predictor, mask: np.ndarray) -> Answer:
        """VisSimCC reads the frame. Sources: joints, which its mask then hides from the others."""
        maps, to_frame = self.seen("vissimcc", mask, [self.case.key], aware.model.maps)
        k = len(aware.skeleton)
        keep = torch.ones(1 + k, k).fill_diagonal_(1)
        keep[torch.arange(k) + 1, torch.arange(k)] = aware.model.config.hidden
        edit = {"reasoning.mask": lambda own: torch.minimum(own, keep.to(own))}
        batch = maps[:, 0].expand(1 + k, -1, -1, -1)
        return self.answer(aware, aware.skeleton.joints, to_frame, maps=batch, edit=edit)

    def by_frames(self, clip: Predictor, mask: np.ndarray) -> Answer:
        """OTPose reads five frames. Sources: the four others; the asked one stands in for them."""
        key, reach = self.case.key, clip.reach
        frames = range(key - reach, key + reach + 1)
        rough, to_frame = self.seen("otpose", mask, frames, clip.model.maps)
        others = [i for i in range(len(frames)) if i != reach]
        batch = rough.repeat(1 + len(others), 1, 1, 1, 1)
        for row, i in zip(batch[1:], others):
            row[i] = row[reach]
        names = [f"frame {frames[i]}" for i in others]
        return self.answer(clip, names, to_frame, heatmaps=batch)

    def by_labels(self, between: Predictor, mask: np.ndarray) -> Answer:
        """STDPose reads three frames and the labels of two. Sources: these labels, and the pictures
        they lie on; the asked frame's stands in for one.
        """
        key, case = self.case.key, self.case
        frames = [key - SIDES, key, key + SIDES]
        crops, to_frame = self.seen("stdpose", mask, frames, self.features)
        xy_crop = geometry.apply(geometry.invert(to_frame), case.xy[frames[::2]].astype(float))
        labels = np.zeros((2, len(between.skeleton), 2), np.float32)
        weights = np.zeros(labels.shape[:2], np.float32)
        for j, name in enumerate(between.skeleton.joints):
            if name in JOINTS.joints:
                labels[:, j] = xy_crop[:, JOINTS.index(name)]
                weights[:, j] = case.visibility[frames[::2], JOINTS.index(name)] > 0
        told = torch.from_numpy(weights).repeat(5, 1, 1)
        told[1, 0] = told[2, 1] = 0
        features = crops.repeat(5, 1, 1, 1, 1)
        features[3, 0] = features[4, 2] = features[0, 1]
        names = [f"{what} {frames[i]}" for what in ("label", "picture") for i in (0, 2)]
        return self.answer(
            between,
            names,
            to_frame,
            features=features,
            auxiliary_xy_crop=torch.from_numpy(labels).repeat(5, 1, 1, 1),
            auxiliary_weights=told,
            distance=torch.full((5, 2), float(SIDES)),
        )

    def features(self, crop: torch.Tensor) -> torch.Tensor:
        """STDPose's backbone on one crop."""
        return self.predictors["stdpose"].model.features_of(crop[None])[:, 0]


def _in_joints(xy: Float[np.ndarray, "n m 2"], predictor: Predictor) -> Float[np.ndarray, "n k 2"]:
    """Poses of a predictor's joints in `JOINTS`; NaN for those that it does not know."""
    theirs = predictor.skeleton.joints
    out = np.full((len(xy), len(JOINTS), 2), np.nan)
    for j in SHARED:
        if JOINTS.joints[j] in theirs:
            out[:, j] = xy[:, theirs.index(JOINTS.joints[j])]
    return out


# --- the explorer ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Row:
    """One method under the paint. now, before: mean error of the scored joints with and without
    it, px; NaN where it does not know them. source, worth: what helped most, and by how many px;
    "" where nothing is covered or helps.
    """

    name: str
    xy: Float[np.ndarray, "k 2"]
    now: float
    before: float
    source: str = ""
    worth: float = 0.0


@dataclass(frozen=True, eq=False)
class Found:
    visibility: Int[np.ndarray, "t k"]  # under the paint
    hidden: Bool[np.ndarray, "k"]  # joints under it in the asked frame
    rows: Sequence[Row]


class HideExplorer(Explorer):
    """Paint over a wrist: five small panels show who breaks and who recovers, and the bars from
    which joint, frame or label the rescue came. A page answers for a patch over every joint, in the
    asked frame and in all frames. predictors: as of `Contest`.
    """

    def __init__(self, case: Case, predictors: Mapping[str, Predictor], **options):
        self.case = case
        self.contest = Contest(case, predictors)
        self.limit = FAR * case.height
        self.plain = self.contest.answers(np.zeros((len(case.frames), *case.size_wh[::-1]), bool))
        self.under = lru_cache(64)(self.answered)  # more than a page asks for
        options |= {"name": "hide", "last_frame": len(case.frames) - 1}
        super().__init__(JOINTS, **options)
        sides = case.key - SIDES, case.key + SIDES
        self.notes = NOTES.format(*sides, self.limit, case.key)

    def patch(self, joint: str, span: str = ONE) -> dict:
        """A patch of the brush over a joint, as wide as a fifth of the person is high."""
        key = self.case.key
        frames = (key, key) if span == ONE else (0, len(self.case.frames) - 1)
        x, y = self.case.xy[key, JOINTS.index(joint)].round(1)
        return patch(x, y, round(self.case.height / 5), frames)

    def declare(self) -> list[Control]:
        case = self.case
        size, _, clear = brush_controls(round(case.height / 5), max(case.size_wh), ONE)
        begin = self.patch(case.joint)
        return [
            scrubber(case.key, len(case.frames) - 1),
            choice("paint in", SPANS, needs="nothing"),
            replace(size, more=True, needs="nothing"),
            replace(clear, value=[begin], more=False),
        ]

    def compute(self, state: Mapping) -> Found:
        return self.under(json.dumps(state["brush"]))

    def answered(self, brush: str) -> Found:
        """What everybody makes of the strokes of a brush, as JSON."""
        case, key = self.case, self.case.key
        mask = covered(json.loads(brush), case.size_wh, len(case.frames))
        flags = cover(case.visibility, case.xy, mask)
        under = cover(np.full(len(JOINTS), 2), case.xy[key], mask[key]) == 1
        hidden = under & (case.visibility[key] > 0) & np.isin(np.arange(len(JOINTS)), SHARED)
        answers = self.contest.answers(mask) if mask.any() else self.plain
        rows = [self.row(name, answer, hidden) for name, answer in answers.items()]
        return Found(flags, hidden, rows)

    def error(self, xy: Float[np.ndarray, "k 2"], hidden: Bool[np.ndarray, "k"]) -> float:
        """Mean distance of the hidden joints from the truth, of all where none is hidden, px."""
        case = self.case
        use = hidden if hidden.any() else case.visibility[case.key] > 0
        away = np.linalg.norm(xy - case.xy[case.key], axis=1)[use]
        return float(np.nanmean(away)) if np.isfinite(away).any() else float("nan")

    def row(self, name: str, answer: Answer, hidden: Bool[np.ndarray, "k"]) -> Row:
        """What the paint did to a method, and what helped it most."""
        now, before = (self.error(xy, hidden) for xy in (answer.xy, self.plain[name].xy))
        covered = {JOINTS.joints[j] for j in np.flatnonzero(hidden)}
        cost = {s: self.error(xy, hidden) - now for s, xy in answer.without.items()}
        cost = {s: px for s, px in cost.items() if px > 0 and s not in covered}
        cost = cost if covered else {}
        source = max(cost, key=cost.get, default="")
        return Row(name, answer.xy, now, before, source, cost.get(source, 0.0))

    def errors(self, *patches: Mapping) -> dict[str, float]:
        """name -> mean error of the joints under these patches, px; NaN for who has no answer."""
        found = self.compute({"brush": list(patches)})
        return {row.name: row.now for row in found.rows}

    def outcome(self, row: Row) -> str:
        """Of `OUTCOMES`."""
        if row.before > LOST * self.case.height:
            return OFF
        return RECOVERS if row.now - row.before <= self.limit else BREAKS

    def draw(self, state: Mapping, found: Found) -> Tabs:
        case, key = self.case, self.case.key
        marks = marks_of(found.visibility, case.visibility)
        seen = np.isin(np.arange(len(JOINTS)), SHARED)
        truth = People("truth", "truth", case.xy[:, None], (marks * seen)[:, None])
        sides = (key - SIDES, key + SIDES)
        stage = Picture(
            f"paint here; the methods answer for frame {key}",
            case.frames,
            [truth],
            box=self.room(),
            brush=True,
            rim=sides,
            wide=1.3,
        )
        own = replace(truth, xy=case.xy[key], marks=marks[key] * seen)
        box = around(case.xy[key, SHARED], pad=0.12)
        some = bool(found.hidden.any())
        panels = [
            Picture(
                f"{self.sign(row, some)}{row.name} {row.now:.1f} px",
                case.frames,
                [own, People(row.name, "ours", row.xy)],
                arrows=self.arrows(row, found.hidden),
                box=box,
                at=key,
                brush=True,
            )
            for row in found.rows
        ]
        return {"hide": [[stage, *self.bars_of(found)], panels]}

    def slides(self) -> dict[str, dict]:
        """What is painted, and what each method makes of it."""
        from .. import paper  # matplotlib takes its time, and few need it

        (((stage, *_), answers),) = self.draw(self._seen, self._found).values()
        panels = {panel.title: panel for panel in (stage, *answers)}
        return paper.slides(panels, self.kin, state=self.state)

    def room(self) -> tuple[float, float, float, float]:
        """What is shown to paint on: the person near the asked frame, px."""
        case, near = self.case, slice(self.case.key - SIDES, self.case.key + SIDES + 1)
        x0, y0, x1, y1 = around(case.xy[near][:, SHARED], pad=0.1)
        width, height = case.size_wh
        return max(x0, -0.5), max(y0, -0.5), min(x1, width - 0.5), min(y1, height - 0.5)

    def sign(self, row: Row, some: bool) -> str:
        """Ahead of a method's name, where some joint is covered."""
        return f"{OUTCOMES[self.outcome(row)]} " if some else ""

    def arrows(self, row: Row, hidden: Bool[np.ndarray, "k"]) -> list[Arrows]:
        """From the joint that helped most to those that it helped."""
        if row.source not in JOINTS.joints:
            return []
        start = row.xy[JOINTS.index(row.source)]
        ends = [[*start, *row.xy[j], 2] for j in np.flatnonzero(hidden)]
        return [Arrows("newly_hidden", np.array(ends))] if np.isfinite(ends).all() else []

    def bars_of(self, found: Found) -> list[Bars]:
        """Errors with and without the paint, and what the best source is worth."""
        some = found.hidden.any()
        what = "covered joints" if some else "all joints"
        errors = [
            Bar(f"{row.name}{words}", value, role)
            for row in found.rows
            for words, value, role in (("", row.now, "ours"), (", no paint", row.before, "soft"))
            if some or not words
        ]
        rescue = [
            Bar(f"{row.name}: {row.source or 'nothing'}", row.worth, "ours") for row in found.rows
        ]
        return [
            Bars(f"{what}: px from the truth", "px", errors),
            Bars("error grows by … px without it", "px", rescue if some else [], signed=True),
        ]

    def say(self, state: Mapping, found: Found) -> str:
        if not found.hidden.any():
            means = ", ".join(f"{row.name} {row.now:.1f} px" for row in found.rows)
            return f"Nothing of the person is under paint in frame {self.case.key}: {means}."
        joints = " and ".join(
            JOINTS.joints[j].replace("_", " ") for j in np.flatnonzero(found.hidden)
        )
        said = [
            f"In frame {self.case.key} paint hides the {joints}. Error without paint → with it:"
        ]
        return "\n".join(said + [self.told(row) for row in found.rows])

    def told(self, row: Row) -> str:
        """A line."""
        sign, outcome = self.sign(row, True), self.outcome(row)
        if not np.isfinite(row.now):
            return f"{sign}{row.name} has no answer"
        kind, _, number = row.source.partition(" ")
        source = row.source.replace("_", " ")
        if kind in ("label", "picture"):
            source = f"the {kind} of frame {number}"
        leans = f", leans on {source}" if source else ""
        return f"{sign}{row.name} {row.before:.1f} → {row.now:.1f} px: {outcome}{leans}"

    def asks(self) -> Iterable[Mapping]:
        yield {"brush": []}
        for span in SPANS:
            yield from ({"brush": [self.patch(JOINTS.joints[j], span)]} for j in SHARED)
