"""The case of chapter 00 follows its rule, and nobody is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.errors import BadParameter
from workbench.made import moving_wrist
from workbench.made.moving_wrist import JOINTS, SHARED, SIDES
from workbench.made.worlds import sample_clip

WORLD = replace(moving_wrist.WORLD, name="hide_test", n_frames=13)


def test_the_case_is_the_first_that_follows_the_rule():
    cases = [
        moving_wrist.chosen(sample_clip(moving_wrist.WORLD, "test", i))
        for i in range(moving_wrist.FIRST + 1)
    ]
    assert [i for i, found in enumerate(cases) if found] == [moving_wrist.FIRST]


def test_the_rule_wants_a_tall_person_with_a_wrist_in_sight_that_moves():
    case = moving_wrist.first_case()
    key, wrist = case.key, JOINTS.index(case.joint)
    hip = JOINTS.index(case.joint.replace("wrist", "hip"))
    near = slice(key - SIDES, key + SIDES + 1)
    assert (case.visibility[near, wrist] == 2).all() and (case.visibility[key, SHARED] > 0).all()
    assert case.height >= case.size_wh[1] / 2
    assert np.linalg.norm(case.xy[key, wrist] - case.xy[key, hip]) >= case.height / 4
    steps = np.linalg.norm(np.diff(case.xy[near, wrist], axis=0), axis=1)
    assert steps.mean() * moving_wrist.WORLD.fps >= 0.6 * case.height


def test_nobody_who_follows_the_rule_is_said():
    small = replace(WORLD, size_wh=(64, 48), people=(1, 1), gaits=("walk",))
    with pytest.raises(BadParameter, match="nobody in 1 clips"):
        moving_wrist.first_case(small, start=0, at_most=1)
