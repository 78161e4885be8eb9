"""Chapter 01: a rendered joint on its way from the picture to a label, and what data sets and
metrics make of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from ...data.tracks import poses_of
from ...film import COLOURS
from ...made.film import Rendered
from ...made.noise import DetectorNoise
from ...made.render import BACKGROUND, OCCLUDER
from ...metrics import box_sizes, pck_by_visibility
from ...metrics.distances import PCK_THRESHOLD, hits
from ...occlusion import cover
from ...records import Clip
from ...skeletons import Skeleton, skeleton
from ..explorer import Control, Explorer
from ..panels import Arrows, Bar, Bars, People, Picture, Tabs, around, marks_of
from ..stage import Scene, brush_controls, covered, patch_grid
from ..steps import Case, Step, Stepper

PIPELINE = ("picture", "pixel", "flag", "data sets", "metric")
DETECTOR = DetectorNoise(scale=0.02)  # simulated, of the steps and under the brush
SEEN = 6  # visible joints, at least, of the people among whose joints the cases are found
NOBODY, THINGS = (205, 209, 214), (60, 66, 74)  # RGB in a map of owners


@dataclass(frozen=True)
class Flags:
    """What a data set's file writes for a labelled joint that is hidden and for one that is
    visible, by its manifest, and whether its reader may say which of them are hidden.
    """

    name: str
    hidden: int | None
    visible: int | None
    known: bool

    def writes(self, flag: int) -> str:
        """What the file holds for one of our flags."""
        written = self.visible if flag == 2 else self.hidden
        return "no flag" if written is None else str(written)


DATA_SETS = (
    Flags("COCO", 1, 2, True),
    Flags("CrowdPose", 1, 2, True),
    Flags("PoseTrack18", 1, 1, False),
    Flags("H36M", 1, 1, False),
    Flags("JHMDB", None, None, False),
)


def owners(owner: Int[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Whom each pixel belongs to, as colours: light nobody, dark things, then people."""
    palette = np.array([NOBODY, THINGS, *COLOURS], np.uint8)
    person = 2 + owner % len(COLOURS)
    return palette[np.select([owner == BACKGROUND, owner == OCCLUDER], [0, 1], person)]


def outlined(
    frame: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The frame with a white line about what the mask holds."""
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.array(frame), lines, -1, (255, 255, 255), 1)


def table(
    title: str, rows: Sequence, columns: Sequence[int], across: float = 100.0, **look
) -> Picture:
    """Words in rows; columns: the middle of each, of `across`."""
    notes = [
        {"at": [x, 6 * i + 4], "words": word}
        for i, row in enumerate(rows)
        for x, word in zip(columns, row)
    ]
    return Picture(title, notes=notes, box=(0.0, 0.0, across, 6.0 * len(rows) + 2), **look)


# --- one joint, step by step ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Joint:
    """A hidden joint of a rendered clip. depth: px to the nearest pixel that does not belong to
    their own person; negative: to the nearest that does.
    """

    made: Rendered
    t: int
    person: int
    joint: int
    depth: float


def hidden_joints(made: Sequence[Rendered]) -> list[Joint]:
    """All joints of flag 1, of people with at least `SEEN` visible ones, in all frames."""
    found = []
    for one in made:
        for person, track in enumerate(one.clip.tracks):
            enough = (track.visibility == 2).sum(1) >= SEEN
            for t in np.flatnonzero(enough & (track.visibility == 1).any(1)).tolist():
                body = (one.owner[t] == track.track_id).astype(np.uint8)
                inside, outside = (
                    cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
                    for mask in (body, 1 - body)
                )
                for joint in np.flatnonzero(track.visibility[t] == 1).tolist():
                    x, y = np.rint(track.xy_frame[t, joint]).astype(int)
                    y, x = min(y, len(body) - 1), min(x, body.shape[1] - 1)
                    depth = float(inside[y, x] - outside[y, x])
                    found.append(Joint(one, t, person, joint, depth))
    return found


def trick(made: Sequence[Rendered], rng: np.random.Generator, **options) -> Stepper:
    """A joint step by step: the hidden one that is farthest from all visible pixels of its person,
    and the hidden one that is deepest among them. rng: of the simulated detector.
    """
    among = hidden_joints(made)
    far, deep = (pick(among, key=lambda one: one.depth) for pick in (min, max))
    start = f"How this joint was found: of {len(among)} hidden joints (synthetic, {len(made)} "
    start += f"clips) of people with at least {SEEN} visible ones, it is the one "
    rules = (
        ("the flag tells", far, f"farthest from all pixels of its person: {-far.depth:.0f} px."),
        (
            "the flag misleads",
            deep,
            f"deepest among pixels of its own person: {deep.depth:.0f} px to the edge.",
        ),
    )
    cases = [Case(name, start + rule, Told(joint, rng).steps) for name, joint, rule in rules]
    kin = skeleton(made[0].clip.tracks[0].skeleton)
    return Stepper(kin, PIPELINE, cases, **{"name": "label_steps", **options})


@dataclass(frozen=True, eq=False)
class Told:
    """One joint told in five steps; px of the frame."""

    of: Joint
    rng: np.random.Generator

    @property
    def steps(self) -> list[Step]:
        told = (self.picture, self.pixel, self.flag, self.data_sets, self.metric)
        return [tell(box) for tell, box in zip(told, PIPELINE)]

    @property
    def track(self):
        return self.of.made.clip.tracks[self.of.person]

    @property
    def kin(self) -> Skeleton:
        return skeleton(self.track.skeleton)

    @property
    def joint(self) -> str:
        return self.kin.joints[self.of.joint].replace("_", " ")

    @property
    def xy(self) -> Float[np.ndarray, "2"]:
        return self.track.xy_frame[self.of.t, self.of.joint]

    @property
    def frame(self) -> UInt8[np.ndarray, "h w 3"]:
        return self.of.made.frames[self.of.t]

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """The person's box with some room, within the frame."""
        box = around(self.track.boxes_xyxy[self.of.t].reshape(2, 2))
        return tuple(np.clip(box, -0.5, np.tile(self.frame.shape[1::-1], 2) - 0.5).tolist())

    @property
    def ring(self) -> dict:
        """Where the joint is."""
        return {"at": self.xy.tolist(), "words": self.joint, "ring": 8, "aside": 14, "role": "ink"}

    @cached_property
    def outlined(self) -> UInt8[np.ndarray, "h w 3"]:
        """The frame with a line about what is seen of the person."""
        return outlined(self.frame, self.of.made.owner[self.of.t] == self.track.track_id)

    @property
    def marks(self) -> Int[np.ndarray, "k"]:
        return marks_of(self.track.visibility[self.of.t])

    @property
    def inside(self) -> bool:
        """Whether the joint's pixel belongs to their own body."""
        return self.of.depth > 0

    def shown(self, title: str, *people: People, frame=None) -> Picture:
        frames = [self.frame if frame is None else frame]
        return Picture(title, frames, list(people), notes=[self.ring], box=self.box)

    def whole(self, title: str) -> Picture:
        return Picture(title, [self.outlined], notes=[self.ring], wide=1.4)

    def picture(self, box: str) -> Step:
        words = (
            f"In the ring is the {self.joint} of the outlined person. Can you see it? A label "
            "says where it is, and whether it is seen."
        )
        whole = self.whole("the whole frame")
        close = self.shown("this person", frame=self.outlined)
        return Step("A picture", words, box, [whole, close])

    def pixel(self, box: str) -> Step:
        x, y = np.rint(self.xy).astype(int)
        owner = self.of.made.owner[self.of.t]
        names = {BACKGROUND: "the room", OCCLUDER: "a thing", self.track.track_id: "their own body"}
        words = (
            "A renderer knows how far away everything is, and so to whom each pixel belongs. "
            f"At the place of the {self.joint} the nearest surface is "
            f"{names.get(int(owner[y, x]), 'another person')}"
        )
        words += f": the joint lies {self.of.depth:.0f} px inside it." if self.inside else "."
        panels = [
            self.shown("what the camera sees"),
            self.shown("a colour a person, dark: things", frame=owners(owner)),
        ]
        return Step("Whom the pixel belongs to", words, box, panels)

    def flag(self, box: str) -> Step:
        x, y = self.xy
        flags = self.track.visibility[self.of.t]
        words = (
            f"The label of this joint is x = {x:.1f} px, y = {y:.1f} px and the flag v = "
            f"{flags[self.of.joint]}: labelled, but hidden. A joint is visible (2) where the "
            "nearest surface is a limb that meets there, and hidden (1) behind anything else. "
        )
        words += (
            "Here it is another part of the same body."
            if self.inside
            else "A hidden joint keeps its place."
        )
        xy = self.track.xy_frame[self.of.t]
        pose = People("labels, ✕ hidden", "truth", xy, self.marks)
        panels = [self.shown("this joint"), self.shown("all joints of this person", pose)]
        equation = r"({\color{truth} x}, {\color{truth} y}, {\color{hidden} v})"
        return Step("Three numbers: x, y, v", words, box, panels, equation)

    def data_sets(self, box: str) -> Step:
        rows = [("data set", "hidden", "visible", "tells them apart")]
        for one in DATA_SETS:
            rows.append((one.name, one.writes(1), one.writes(2), "✓" if one.known else "–"))
        told = sum(one.known for one in DATA_SETS)
        words = (
            f"{told} of these {len(DATA_SETS)} data sets can say that a labelled joint is hidden "
            "(✓). The others write the same for both, and afterwards nobody can tell."
        )
        written = table("what files hold for a labelled joint", rows, (16, 40, 58, 82), wide=1.4)
        return Step(
            "What data sets would write", words, box, [self.whole("the same joint"), written]
        )

    def metric(self, box: str) -> Step:
        if self.inside:
            return self.mixed(box)
        truth, frame = poses_of(self.of.made.clip)
        said = DETECTOR.apply(truth, self.rng)
        same = (frame == self.of.t) & (truth.xy_frame[:, self.of.joint] == self.xy).all(1)
        row = int(np.flatnonzero(same)[0])
        answer = said.xy_frame[row, self.of.joint]
        off = float(np.hypot(*(answer - self.xy)))
        limit = PCK_THRESHOLD * float(box_sizes(truth.boxes_xyxy)[row])
        scores = pck_by_visibility(said.xy_frame, truth)
        bars = [Bar(kind, 100 * v, _KINDS[kind]) for kind, v in scores.items()]
        seen, hidden = (scores[f"PCK-{kind}"] for kind in ("Visible", "Occluded"))
        words = (
            f"A simulated detector is {off:.1f} px off, the limit of PCK is {limit:.1f} px: a "
            f"{'hit' if off <= limit else 'miss'}, among the hidden joints."
        )
        true = People("truth, ✕ hidden", "truth", truth.xy_frame[row], self.marks)
        miss = Arrows("detector", np.array([[*self.xy, *answer, 3.0]]))
        panels = [
            replace(self.shown("from the truth to the detector", true), arrows=[miss]),
            Bars(
                f"PCK@{PCK_THRESHOLD:g}, all frames of this clip ({len(truth)} poses), %",
                "%",
                bars,
                range=(0.0, 100.0),
            ),
        ]
        title = f"Hits at {seen:.0%} of visible, {hidden:.0%} of hidden joints"
        return Step(title, words, box, panels)

    def mixed(self, box: str) -> Step:
        """What hides the joints that a metric takes together."""
        depths = np.array([one.depth for one in hidden_joints([self.of.made])])
        own = int((depths > 0).sum())
        bars = [
            Bar("their own body", own, "hidden"),
            Bar("anything else", len(depths) - own, "hidden"),
        ]
        words = (
            f"The {self.joint} has flag 1, but no other person and no thing is in front of it. A "
            "metric counts it beside joints behind somebody else: no flag tells these apart."
        )
        panels = [
            self.whole(f"the {self.joint} of the outlined person"),
            Bars("hidden joints of this clip, and what hides them", "", bars),
        ]
        title = f"{own} of this clip's {len(depths)} hidden joints lie behind their own body"
        return Step(title, words, box, panels)


_KINDS = {"PCK-All": "soft", "PCK-Visible": "visible", "PCK-Occluded": "hidden"}


# --- an exercise under the brush ------------------------------------------------------------------


SETS = DATA_SETS[::2]  # whose flags are shown and scored under the brush
POINTS = 1.5  # of PCK-Visible, that the flags alone are to move


@dataclass(frozen=True, eq=False)
class Painted:
    flags: Int[np.ndarray, "p k"]
    under: Bool[np.ndarray, "p k"]  # labelled joints under the paint
    scores: Mapping[str, float]  # percent, by these flags


class Labels(Explorer):
    """Labels of frame `t` under a brush, and how they score the answers of a simulated detector,
    which stay as they are. A page answers for patches of one size all over the frame.
    """

    def __init__(
        self, clip: Clip, frames: UInt8[np.ndarray, "t h w 3"], t: int, size_px: int = 16, **options
    ):
        self.scene, self.size_px = Scene.of(clip, frames), size_px
        self.frame, self.truth, self.before = (
            of[t] for of in (self.scene.frames, self.scene.truth, self.scene.visibility)
        )
        poses, at = poses_of(clip)
        self.poses = poses.select(at == t)
        self.said = DETECTOR.apply(self.poses, np.random.default_rng(0)).xy_frame
        sizes = box_sizes(self.poses.boxes_xyxy)
        self.hit = hits(self.said, self.poses.xy_frame, sizes, PCK_THRESHOLD)
        self.unpainted = self.scores(self.before)
        super().__init__(skeleton(poses.skeleton), **{"name": "labels", **options})

    def declare(self) -> list[Control]:
        size, _, clear = brush_controls(self.size_px, max(self.scene.size_wh))
        return [replace(size, needs="nothing"), replace(clear, more=False)]

    def _declarations(self) -> list[dict]:
        return [one for one in super()._declarations() if one["name"] != "size"]  # of one size

    def scores(self, flags: Int[np.ndarray, "p k"]) -> dict[str, float]:
        """PCK of all, visible and hidden joints, percent."""
        truth = replace(self.poses, visibility=flags[self.before.any(1)])
        return {kind: 100 * v for kind, v in pck_by_visibility(self.said, truth).items()}

    def compute(self, state: Mapping) -> Painted:
        (mask,) = covered(state["brush"], self.scene.size_wh, 1)
        under = cover(np.full_like(self.before, 2), self.truth, mask) == 1
        flags = cover(self.before, self.truth, mask)
        return Painted(flags, under & (self.before > 0), self.scores(flags))

    @property
    def misses(self) -> Arrows:
        """From the true place of each labelled joint that the detector misses to its answer."""
        miss = ~self.hit & (self.poses.visibility > 0)
        thick = np.full((*miss.shape, 1), 2.5)
        return Arrows("detector", np.concatenate((self.poses.xy_frame, self.said, thick), 2)[miss])

    def draw(self, state: Mapping, found: Painted) -> Tabs:
        marks = marks_of(found.flags, self.before)
        people = [People("truth: ✕ hidden, ◇ by your patch", "truth", self.truth, marks)]
        look = {"brush": True, "wide": 1.35, "arrows": [self.misses]}
        picture = Picture("press on a joint; arrows: misses", [self.frame], people, **look)
        return {"flags": [[picture], [self.written(found)], [self.scored(found)]]}

    def written(self, found: Painted) -> Picture:
        """The flag of one joint under the paint in each data set, before and now."""
        under = [*np.argwhere(found.flags != self.before), *np.argwhere(found.under)]
        if not under:
            return table("no joint is under the paint", [("press on a joint",)], (50,))
        who, j = under[0]
        ends = int(self.before[who, j]), int(found.flags[who, j])
        rows = [("data set", "before", "now", "")]
        for one in SETS:
            before, now = map(one.writes, ends)
            rows.append((one.name, before, now, "stays" if before == now else "flips"))
        name = self.kin.joints[j].replace("_", " ")
        panel = table(f"what files say of the {name}", rows, (11, 27, 37, 49), 56.0)
        for i, row in enumerate(rows):
            if row[3] == "flips":
                panel.notes[4 * i + 2] |= {"ring": 14, "role": "newly_hidden"}
        return panel

    def scored(self, found: Painted) -> Bars:
        """What the paint makes of each score."""
        bars = []
        for one in SETS:
            for kind in _KINDS:
                if one.known == (kind == "PCK-All"):
                    continue
                before, now = self.unpainted[kind], found.scores.get(kind, np.nan)
                ends = f"{before:.1f} → {now:.1f}".replace("nan", "none")
                words = f"{one.name} {kind.removeprefix('PCK-')} {ends}"
                bars.append(Bar(words, now - before, _KINDS[kind]))
        top = np.nanmax([5.0, *(abs(bar.value) for bar in bars)])
        title = f"PCK@{PCK_THRESHOLD:g} of this frame, %; bar: change"
        return Bars(title, "points", bars, range=(-top, top))

    def newly(self, found: Painted) -> list[str]:
        """Names of joints that the patch hides."""
        changed = np.argwhere(found.flags != self.before)
        return [self.kin.joints[j].replace("_", " ") for _, j in changed]

    def moved(self, found: Painted) -> float:
        """Points by which the flags alone move PCK-Visible; NaN where no visible joint is left."""
        return found.scores.get("PCK-Visible", np.nan) - self.unpainted["PCK-Visible"]

    def say(self, state: Mapping, found: Painted) -> str:
        newly, shift = self.newly(found), self.moved(found)
        if not newly:
            return "No flag changes: no visible joint is under the paint."
        left = (found.flags != self.before)[self.before.any(1)]
        good, bad = int((left & self.hit).sum()), int((left & ~self.hit).sum())
        return (
            f"Newly hidden: {', '.join(newly)}. The detector's answers stay, but {good} hit"
            f"{'s' * (good != 1)} and {bad} miss{'es' * (bad != 1)} left the visible joints: "
            f"PCK-Visible moves by {shift:+z.1f} points."
        )

    def judged(self, state: Mapping, found: Painted) -> str:
        """The lines of the exercise."""
        newly, shift = self.newly(found), abs(self.moved(found))
        move = f"Move PCK-Visible by {POINTS} points without moving one joint"
        goals = (
            (len(newly) == 1 and "wrist" in newly[0], "Hide one wrist and nothing else"),
            (found.under.any() and not newly, "Cover a joint so that no flag changes"),
            (shift >= POINTS, move),
        )
        why = (
            "PoseTrack18 and JHMDB never learn of it",
            "covered twice is still hidden, 1 stays 1",
            "a score is no better than its flags",
        )
        return "\n".join(
            f"✓ {goal}: {words}." if done else f"○ {goal}."
            for (done, goal), words in zip(goals, why)
        )

    def asks(self) -> Iterable[Mapping]:
        step = self.size_px / 2
        yield from patch_grid(self.scene.size_wh, self.size_px, (step, step), (0, 0))
