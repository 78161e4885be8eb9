"""What people do: how they travel (`STEPS`), and what they do on the spot (`ACTIONS`).

Timing and stride follow commonly quoted figures of gait (walking: stance 0.62 of a cycle, about 1.3
m/s; running: stance about a third); every number of the tables below is our own choice, judged by
eye.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .bodies import BODY_LIMITS
from .joints import both_sides


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
        *((2.2, 3.6), 0.09, 0.11, _RUN_PITCH, 38, 88, 0.35, 11, (1.15, 0.13), 0.28),
        bounce=0.017,
        height=0.965,
    ),
    "walk_back": Steps((0.6, 1.0), 0.12, 0.03, _BACK_PITCH, 9, 22, 0.3, 5, direction=180),
    "side_step": Steps(
        *((0.4, 0.75), 0.23, 0.04, _FLAT_PITCH, 4, 40, 0.2, 5, (0.45, 0.5), 0.6),
        height=0.97,
        direction=90,
        turning=8,
    ),
    "dance": Steps(
        *((0.05, 0.3), 0.17, 0.05, _FLAT_PITCH, 0, 0, 0, 4, (0.75, 0.6), 0.58, 0.012, 0.955),
        direction=60,
        turning=50,
    ),
}
# Centre and spread of a dancer's angles.
_DANCING_ARM = {"flexion": (60, 55), "abduction": (55, 35), "rotation": (0, 40)}
DANCE = both_sides({f"shoulder_{name}": row for name, row in _DANCING_ARM.items()}) | {
    **both_sides({"elbow": (65, 50)}),
    "trunk_twist": (0, 24),
    "trunk_side": (0, 14),
    "lean": (4, 8),
    "head_turn": (0, 25),
    "head_side": (0, 12),
}

# --- on the spot ----------------------------------------------------------------------------------

# Beside angles: pelvis height (of standing), forward, side; of each foot forward, side, up (of leg
# length) and pitch; heading. What is not named stays as `STAND` has it. Actions are right-handed;
# half of the people mirror them.
STAND = dict.fromkeys(BODY_LIMITS, 0.0) | {
    **{"trunk_bend": 3.0, "head_nod": 3.0, "height": 0.99, "heading": 0.0},
    **{"pelvis_forward": 0.0, "pelvis_side": 0.0},
    **both_sides({"shoulder_abduction": 8.0, "elbow": 15.0, "shoulder_flexion": 2.0}),
    **both_sides(dict.fromkeys(("foot_forward", "foot_side", "foot_up", "foot_pitch"), 0.0)),
}


class Action(NamedTuple):
    """Something done on the spot, again and again: values at `times` (parts of a round), periodic,
    smooth between; fewer values than times come again and again.
    """

    seconds: np.ndarray  # shortest and longest round
    times: np.ndarray
    curves: dict[str, np.ndarray]


def _actions(table: str) -> dict[str, Action]:
    """Blocks of rows: name and seconds; times; curves, "both_" for left and right alike."""
    actions = {}
    for block in table.split("\n\n"):
        rows = [line.split() for line in block.split("\n") if line]
        name, *seconds = rows[0]
        curves = {}
        for curve, *values in rows[2:]:
            keys = np.array(values, float)
            one = curve.removeprefix("both_")
            curves |= {curve: keys} if one == curve else both_sides({one: keys})
        actions[name] = Action(np.array(seconds, float), np.array(rows[1], float), curves)
    return actions


ACTIONS = _actions("""
idle 5 9
0 .35 .5 .85
pelvis_side .06 .06 -.06 -.06
trunk_side 3 3 -3 -3
head_turn 25 -10 -30 5
height .985
right_elbow 20 60 60 25
head_nod 5 14 2 5
right_shoulder_rotation 5 40 40 5

wave 1.6 2.6
0 .125 .25 .375 .5 .625 .75 .875
right_shoulder_abduction 95 100
right_shoulder_flexion 20
right_shoulder_rotation -58 -56
right_elbow 50 105
trunk_side -4 -2
head_turn -6 6

sit 4.5 8
0 .15 .25 .35 .62 .72 .82
height .99 .95 .72 .57 .57 .72 .95
lean 0 22 38 2 2 38 18
pelvis_forward 0 -.12 -.32 -.41 -.41 -.3 -.08
trunk_bend 3 10 14 5 8 16 8
both_shoulder_flexion 2 15 45 42 40 45 10
both_elbow 15 20 25 55 55 20 15
head_nod 5 8 10 5 12 8 5

pick_up 2.8 4.5
0 .15 .32 .42 .62 .8
height .99 .88 .6 .6 .88 .99
lean 0 22 38 38 20 0
pelvis_forward 0 -.1 -.17 -.17 -.08 0
trunk_bend 3 20 36 36 15 2
right_shoulder_flexion 2 40 84 80 45 50
right_elbow 15 25 6 10 60 95
left_shoulder_flexion 2 10 45 45 15 5
left_elbow 15 35 70 70 30 15
head_nod 5 15 25 25 25 22
right_foot_forward .1
left_foot_forward -.1
left_foot_pitch 0 10 38 38 10 0

reach 2.6 4.2
0 .25 .4 .55 .8
right_shoulder_flexion 2 120 160 158 60
right_elbow 15 55 12 14 70
trunk_side 0 8 14 13 2
trunk_bend 3 -4 -8 -8 4
head_nod 5 -15 -28 -26 10
height .985 .995 1.09 1.09 .985
right_foot_pitch 0 5 36 35 0
left_foot_pitch 0 5 38 36 0
left_shoulder_flexion 2 10 15 15 5

kick 1.7 2.6
0 .2 .36 .46 .56 .7 .86
right_foot_forward -.15 -.6 .1 .8 .75 .15 -.15
right_foot_up 0 .22 .22 .72 .6 .15 0
right_foot_pitch 0 70 35 -25 -10 10 0
lean 4 14 2 -9 -8 0 4
height .96 .95 .96 .985 .98 .96 .96
pelvis_forward 0 .05 .06 .1 .06 0 0
trunk_twist 0 -18 5 20 15 5 0
left_shoulder_flexion 15 55 30 15 15 20 15
right_shoulder_flexion 15 -25 25 55 50 25 15
left_shoulder_abduction 15 40 50 55 50 25 15
right_shoulder_abduction 15 40 30 35 35 25 15
left_elbow 45 40 50 60 60 50 45
right_elbow 45 35 50 40 40 45 45
pelvis_side .06 .1 .11 .11 .1 .08 .06

punch 1.1 1.7
0 .16 .3 .5 .66 .8
right_shoulder_flexion 42 106 70 42 38 42
right_elbow 122 12 80 122 124 122
left_shoulder_flexion 58 50 54 58 104 78
left_elbow 112 118 116 112 8 75
right_shoulder_rotation 20 5 10 20 20 20
left_shoulder_rotation 25 25 25 25 5 15
trunk_twist -12 30 15 -12 -22 -16
lean 7 12 9 7 10 8
heading -22
height .93 .92 .935 .93 .92 .935
pelvis_forward 0 .09 .04 0 .05 .02
left_foot_forward .3
right_foot_forward -.28
head_turn 18 -8 5 18 22 18
right_foot_pitch 12 35 20 12 14 12
trunk_bend 8 12 9 8 10 8

jump 1.6 2.0
0 .13 .22 .3 .36 .41 .46 .51 .58 .66 .85
height .985 .8 .76 .9 1.07 1.2 1.245 1.2 1.05 .82 .95
pelvis_forward 0 -.08 -.1 -.04 0 0 0 0 0 -.08 -.02
lean 0 24 30 20 9 3 2 5 10 24 8
trunk_bend 3 14 17 10 4 1 0 2 6 14 5
both_foot_up 0 0 0 0 .02 .16 .22 .16 .02 0 0
both_foot_pitch 0 0 3 20 50 46 38 32 24 0 0
both_shoulder_flexion 5 -22 -28 20 80 125 145 142 110 55 15
both_elbow 15 20 22 30 30 24 20 20 28 38 20
""")
GAITS = (*STEPS, *ACTIONS)
