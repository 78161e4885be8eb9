"""What people do: how they travel (`STEPS`), and what they do on the spot (`ACTIONS`).

Timing and stride follow commonly quoted figures of gait (walking: stance 0.62 of a cycle, about 1.3
m/s; running: stance about a third); every number of the tables below is our own choice, judged by
eye.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .bodies import BODY_LIMITS
from .joints import SIDES


class Steps(NamedTuple):
    """Locomotion: a body that travels, and feet that are put down under it."""

    speed: tuple[float, float]  # m/s for a stature of 1.7 m
    apart: float  # between the feet, of stature
    lift: float  # of the ball of the foot in mid-swing, of stature
    # of the foot by time since its touchdown (0 to 1: stance, to 2: swing); > 0 heel up
    pitch: Mapping[float, float]
    swing: float  # of the arms
    elbow: float  # its bend
    follow: float  # how much that bend follows the swing
    lean: float
    cadence: tuple[float, float] = (0.5, 0.42)  # cycles (two steps) a second: a + b * speed
    duty: float = 0.62  # part of a cycle that a foot stands
    # of the pelvis, of stature; a walker's own comes from the reach of the legs
    bounce: float = 0.0
    height: float = 1.0  # of the pelvis, of standing
    direction: float = 0.0  # of travel, from where the body faces
    turning: float = 20.0  # degrees that the heading wanders to each side


_WALK_PITCH = {0: -17, 0.16: 0, 0.45: 0, 0.75: 21, 1: 56, 1.15: 60, 1.5: 18, 1.82: -15}
_BACK_PITCH = {0: 26, 0.3: 4, 0.45: 0, 0.75: 0, 1: -12, 1.2: 0, 1.6: 28}
_RUN_PITCH = {0: -4, 0.15: 0, 0.4: 3, 0.75: 28, 1: 60, 1.35: 90, 1.65: 35, 1.9: -4}
_FLAT_PITCH = {0: 6, 0.2: 0, 0.7: 0, 1: 14, 1.4: 24}
STEPS = {
    "walk": Steps((0.85, 1.45), 0.1, 0.015, _WALK_PITCH, 22, 20, 0.5, -3),
    "turn": Steps((0.7, 1.2), 0.12, 0.015, _WALK_PITCH, 18, 20, 0.5, -3, turning=75),
    "run": Steps(
        (2.2, 3.6),
        *(0.09, 0.11, _RUN_PITCH, 38, 88, 0.35, 11),
        cadence=(1.15, 0.13),
        duty=0.28,
        bounce=0.017,
        height=0.965,
    ),
    "walk_back": Steps((0.6, 1.0), 0.12, 0.03, _BACK_PITCH, 9, 22, 0.3, 5, direction=180),
    "side_step": Steps(
        (0.4, 0.75),
        *(0.23, 0.04, _FLAT_PITCH, 4, 40, 0.2, 5),
        cadence=(0.45, 0.5),
        duty=0.6,
        height=0.97,
        direction=90,
        turning=8,
    ),
    "dance": Steps(
        (0.05, 0.3),
        *(0.17, 0.05, _FLAT_PITCH, 0, 0, 0, 4),
        cadence=(0.75, 0.6),
        duty=0.58,
        bounce=0.012,
        height=0.955,
        direction=60,
        turning=50,
    ),
}
# Centre and spread of a dancer's angles.
_DANCING_ARM = {"flexion": (60, 55), "abduction": (55, 35), "rotation": (0, 40)}
DANCE = {f"{side}_shoulder_{name}": row for side in SIDES for name, row in _DANCING_ARM.items()} | {
    "left_elbow": (65, 50),
    "right_elbow": (65, 50),
    "trunk_twist": (0, 24),
    "trunk_side": (0, 14),
    "lean": (4, 8),
    "head_turn": (0, 25),
    "head_side": (0, 12),
}

# --- on the spot ----------------------------------------------------------------------------------

Curve = float | tuple[float, ...]  # whole numbers too


class Action(NamedTuple):
    """Something done on the spot, again and again: values at `times` (parts of a round), periodic,
    smooth between; a single value stays.
    """

    seconds: tuple[float, float]  # a round
    times: tuple[float, ...]
    curves: Mapping[str, Curve]


def _both(**curves):
    """The same curves for left and right."""
    return {f"{side}_{name}": curve for side in SIDES for name, curve in curves.items()}


# Beside angles: pelvis height (of standing), forward, side; of each foot forward, side, up (of leg
# length) and pitch; heading. What is not named stays as `STAND` has it. Actions are right-handed;
# half of the people mirror them.
STAND = (
    dict.fromkeys(BODY_LIMITS, 0.0)
    | {"trunk_bend": 3.0, "head_nod": 3.0, "height": 0.99, "heading": 0.0}
    | {"pelvis_forward": 0.0, "pelvis_side": 0.0}
    | _both(shoulder_abduction=8.0, elbow=15.0, shoulder_flexion=2.0)
    | _both(foot_forward=0.0, foot_side=0.0, foot_up=0.0, foot_pitch=0.0)
)
ACTIONS = {
    "idle": Action(
        (5, 9),
        (0, 0.35, 0.5, 0.85),
        {
            "pelvis_side": (0.06, 0.06, -0.06, -0.06),
            "trunk_side": (3, 3, -3, -3),
            "head_turn": (25, -10, -30, 5),
            "height": 0.985,
            "right_elbow": (20, 60, 60, 25),
            "head_nod": (5, 14, 2, 5),
            "right_shoulder_rotation": (5, 40, 40, 5),
        },
    ),
    "wave": Action(
        (1.6, 2.6),
        (0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875),
        {
            "right_shoulder_abduction": (95, 100) * 4,
            "right_shoulder_flexion": 20,
            "right_shoulder_rotation": (-58, -56) * 4,
            "right_elbow": (50, 105) * 4,
            "trunk_side": (-4, -2) * 4,
            "head_turn": (-6, 6) * 4,
        },
    ),
    "sit": Action(
        (4.5, 8),
        (0, 0.15, 0.25, 0.35, 0.62, 0.72, 0.82),
        {
            "height": (0.99, 0.95, 0.72, 0.57, 0.57, 0.72, 0.95),
            "lean": (0, 22, 38, 2, 2, 38, 18),
            "pelvis_forward": (0, -0.12, -0.32, -0.41, -0.41, -0.3, -0.08),
            "trunk_bend": (3, 10, 14, 5, 8, 16, 8),
            **_both(
                shoulder_flexion=(2, 15, 45, 42, 40, 45, 10),
                elbow=(15, 20, 25, 55, 55, 20, 15),
            ),
            "head_nod": (5, 8, 10, 5, 12, 8, 5),
        },
    ),
    "pick_up": Action(
        (2.8, 4.5),
        (0, 0.15, 0.32, 0.42, 0.62, 0.8),
        {
            "height": (0.99, 0.88, 0.6, 0.6, 0.88, 0.99),
            "lean": (0, 22, 38, 38, 20, 0),
            "pelvis_forward": (0, -0.1, -0.17, -0.17, -0.08, 0),
            "trunk_bend": (3, 20, 36, 36, 15, 2),
            "right_shoulder_flexion": (2, 40, 84, 80, 45, 50),
            "right_elbow": (15, 25, 6, 10, 60, 95),
            "left_shoulder_flexion": (2, 10, 45, 45, 15, 5),
            "left_elbow": (15, 35, 70, 70, 30, 15),
            "head_nod": (5, 15, 25, 25, 25, 22),
            "right_foot_forward": 0.1,
            "left_foot_forward": -0.1,
            "left_foot_pitch": (0, 10, 38, 38, 10, 0),
        },
    ),
    "reach": Action(
        (2.6, 4.2),
        (0, 0.25, 0.4, 0.55, 0.8),
        {
            "right_shoulder_flexion": (2, 120, 160, 158, 60),
            "right_elbow": (15, 55, 12, 14, 70),
            "trunk_side": (0, 8, 14, 13, 2),
            "trunk_bend": (3, -4, -8, -8, 4),
            "head_nod": (5, -15, -28, -26, 10),
            "height": (0.985, 0.995, 1.09, 1.09, 0.985),
            "right_foot_pitch": (0, 5, 36, 35, 0),
            "left_foot_pitch": (0, 5, 38, 36, 0),
            "left_shoulder_flexion": (2, 10, 15, 15, 5),
        },
    ),
    "kick": Action(
        (1.7, 2.6),
        (0, 0.2, 0.36, 0.46, 0.56, 0.7, 0.86),
        {
            "right_foot_forward": (-0.15, -0.6, 0.1, 0.8, 0.75, 0.15, -0.15),
            "right_foot_up": (0, 0.22, 0.22, 0.72, 0.6, 0.15, 0),
            "right_foot_pitch": (0, 70, 35, -25, -10, 10, 0),
            "lean": (4, 14, 2, -9, -8, 0, 4),
            "height": (0.96, 0.95, 0.96, 0.985, 0.98, 0.96, 0.96),
            "pelvis_forward": (0, 0.05, 0.06, 0.1, 0.06, 0, 0),
            "trunk_twist": (0, -18, 5, 20, 15, 5, 0),
            "left_shoulder_flexion": (15, 55, 30, 15, 15, 20, 15),
            "right_shoulder_flexion": (15, -25, 25, 55, 50, 25, 15),
            "left_shoulder_abduction": (15, 40, 50, 55, 50, 25, 15),
            "right_shoulder_abduction": (15, 40, 30, 35, 35, 25, 15),
            "left_elbow": (45, 40, 50, 60, 60, 50, 45),
            "right_elbow": (45, 35, 50, 40, 40, 45, 45),
            "pelvis_side": (0.06, 0.1, 0.11, 0.11, 0.1, 0.08, 0.06),
        },
    ),
    "punch": Action(
        (1.1, 1.7),
        (0, 0.16, 0.3, 0.5, 0.66, 0.8),
        {
            "right_shoulder_flexion": (42, 106, 70, 42, 38, 42),
            "right_elbow": (122, 12, 80, 122, 124, 122),
            "left_shoulder_flexion": (58, 50, 54, 58, 104, 78),
            "left_elbow": (112, 118, 116, 112, 8, 75),
            "right_shoulder_rotation": (20, 5, 10, 20, 20, 20),
            "left_shoulder_rotation": (25, 25, 25, 25, 5, 15),
            "trunk_twist": (-12, 30, 15, -12, -22, -16),
            "lean": (7, 12, 9, 7, 10, 8),
            "heading": -22,
            "height": (0.93, 0.92, 0.935, 0.93, 0.92, 0.935),
            "pelvis_forward": (0, 0.09, 0.04, 0, 0.05, 0.02),
            "left_foot_forward": 0.3,
            "right_foot_forward": -0.28,
            "head_turn": (18, -8, 5, 18, 22, 18),
            "right_foot_pitch": (12, 35, 20, 12, 14, 12),
            "trunk_bend": (8, 12, 9, 8, 10, 8),
        },
    ),
    "jump": Action(
        (1.6, 2.0),
        (0, 0.13, 0.22, 0.3, 0.36, 0.41, 0.46, 0.51, 0.58, 0.66, 0.85),
        {
            "height": (0.985, 0.8, 0.76, 0.9, 1.07, 1.2, 1.245, 1.2, 1.05, 0.82, 0.95),
            "pelvis_forward": (0, -0.08, -0.1, -0.04, 0, 0, 0, 0, 0, -0.08, -0.02),
            "lean": (0, 24, 30, 20, 9, 3, 2, 5, 10, 24, 8),
            "trunk_bend": (3, 14, 17, 10, 4, 1, 0, 2, 6, 14, 5),
            **_both(
                foot_up=(0, 0, 0, 0, 0.02, 0.16, 0.22, 0.16, 0.02, 0, 0),
                foot_pitch=(0, 0, 3, 20, 50, 46, 38, 32, 24, 0, 0),
                shoulder_flexion=(5, -22, -28, 20, 80, 125, 145, 142, 110, 55, 15),
                elbow=(15, 20, 22, 30, 30, 24, 20, 20, 28, 38, 20),
            ),
        },
    ),
}
GAITS = (*STEPS, *ACTIONS)
