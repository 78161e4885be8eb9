"""Procedural gaits: rigid limbs, planted feet, smooth in time, inside the joint limits, and each
recognisable as itself.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from workbench.errors import BadParameter, UnknownName
from workbench.made.bodies import BODY_LIMITS, body_joints_mm, skeleton_joints
from workbench.made.gaits import GAITS, Size, gait_joints_mm, plan_gait, solve_legs

FPS, T, SEEDS = 30.0, 97, (0, 3, 4, 7)
AIR = ("run", "jump")  # kinds that leave the floor


@pytest.fixture(scope="module")
def people():
    return {
        kind: [gait_joints_mm(T, FPS, np.random.default_rng(seed), kind) for seed in SEEDS]
        for kind in GAITS
    }


def one(kind: str, n: int = 307, seed: int = 11):
    return gait_joints_mm(n, FPS, np.random.default_rng(seed), kind)


def toes(joints):
    return np.stack([joints["left_toes"], joints["right_toes"]], 1)


def facing(joints):
    """Unit vector ahead of the hips, on the floor."""
    ahead = np.cross(joints["left_hip"] - joints["right_hip"], [0.0, 1, 0]) * [1, 0, 1]
    return ahead / np.linalg.norm(ahead, axis=1, keepdims=True)


def speed_ahead(joints):
    """Mean m/s ahead and to the left."""
    step, ahead = np.diff(joints["pelvis"], axis=0) * FPS / 1000, facing(joints)[:-1]
    left = np.stack([ahead[:, 2], 0 * ahead[:, 0], -ahead[:, 0]], -1)
    return (step * ahead).sum(1).mean(), (step * left).sum(1).mean()


def test_names_are_those_of_body_joints_and_the_balls_of_the_feet(people):
    names = {*body_joints_mm(1, np.random.default_rng(0)), "left_toes", "right_toes"}
    for kind, several in people.items():
        for joints in several:
            assert set(joints) == names, kind
            assert all(xyz.shape == (T, 3) and xyz.dtype == np.float64 for xyz in joints.values())
    assert skeleton_joints(people["walk"][0], "jhmdb15").shape == (T, 15, 3)


def test_the_same_seed_gives_the_same_numbers_and_a_longer_clip_begins_alike():
    a, b, c = (gait_joints_mm(31, FPS, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert all((a[j] == b[j]).all() for j in a)
    assert max(np.abs(a[j] - c[j]).max() for j in a) > 50
    for kind in GAITS:
        short, long = one(kind, 31), one(kind, 61)
        assert max(np.abs(short[j] - long[j][:31]).max() for j in short) < 1e-6, kind


def test_limbs_are_rigid(people):
    bones = [
        ("left_hip", "right_hip"),
        ("neck", "nose"),
        ("neck", "head_top"),
        ("left_eye", "right_ear"),
    ]
    bones += [("pelvis", "belly"), ("belly", "thorax")]
    for side in ("left", "right"):
        for chain in ("shoulder elbow wrist", "hip knee ankle toes"):
            names = [f"{side}_{j}" for j in chain.split()]
            bones += itertools.pairwise(names)
    lengths = []
    for several in people.values():
        for joints in several:
            length = [np.linalg.norm(joints[a] - joints[b], axis=1) for a, b in bones]
            assert np.ptp(length, axis=1).max() < 1e-9
            lengths.append(np.mean(length, axis=1))
    # proportions vary between persons
    assert (np.std(lengths, axis=0) / np.mean(lengths, axis=0) > 0.02).all()


@pytest.mark.parametrize("kind", GAITS)
def test_the_lower_foot_is_on_the_floor_and_does_not_slide(people, kind):
    for joints in people[kind]:
        feet = toes(joints)
        low = feet[..., 1].min(1)
        assert low.min() > 5  # mm: the ball of a foot is about 20 above its sole
        if kind in AIR:
            assert (low > 40).any()
            planted = np.flatnonzero(low < 25)[1:-1]
            planted = planted[(low[planted - 1] < 25) & (low[planted + 1] < 25)]
        else:
            assert low.max() < 45
            planted = np.arange(1, T - 1)
        # At each moment one foot stands; the ball of a foot only moves as the foot rolls over heel
        # or ball.
        speed = (
            np.linalg.norm(feet[2:, :, ::2] - feet[:-2, :, ::2], axis=-1).min(1)[planted - 1]
            * FPS
            / 2
        )
        # mm/s, of a body that goes at 1,000 to 3,600
        assert np.median(speed) < (250 if kind in AIR else 60), kind
        if kind not in AIR:
            assert speed.max() < 130, kind


@pytest.mark.parametrize("kind", GAITS)
def test_motion_is_smooth(people, kind):
    limit = {
        "idle": 8,
        "sit": 40,
        "pick_up": 40,
        "reach": 50,
        "wave": 80,
        "jump": 250,
        "run": 220,
    }.get(kind, 160)
    for joints in people[kind]:
        acceleration = np.diff([*joints.values()], n=2, axis=1) * FPS**2 / 1000
        # m/s^2; a leap by 10 cm would be 180
        assert np.linalg.norm(acceleration, axis=-1).max() < limit, kind
        assert np.linalg.norm(acceleration, axis=-1).max() > 0.3, kind


@pytest.mark.parametrize("kind", GAITS)
def test_twice_the_frame_rate_is_the_same_motion(kind):
    slow = gait_joints_mm(31, 30.0, np.random.default_rng(3), kind)
    fast = gait_joints_mm(61, 60.0, np.random.default_rng(3), kind)
    assert max(np.abs(slow[j] - fast[j][::2]).max() for j in slow) < 2


@pytest.mark.parametrize("kind", GAITS)
def test_the_plans_hardly_need_their_angles_cut_at_the_limits(kind):
    size = Size(stature=1700.0, thigh=415.0, shank=420.0, hip=100.0)
    for seed in SEEDS:
        plan = plan_gait(kind, np.arange(T) / FPS, size, np.random.default_rng(seed))
        angles, _ = solve_legs(plan, size)
        for name, (low, high) in BODY_LIMITS.items():
            assert low - 6 < angles[name].min() and angles[name].max() < high + 6, name


def test_each_kind_does_what_it_says():
    ahead = {kind: speed_ahead(one(kind)) for kind in GAITS}
    assert (
        0.7 < ahead["walk"][0] < 1.7
        and 1.8 < ahead["run"][0] < 4.2
        and -1.2 < ahead["walk_back"][0] < -0.5
    )
    assert 0.3 < abs(ahead["side_step"][1]) < 1 and abs(ahead["side_step"][0]) < 0.1
    for kind in ("idle", "wave", "sit", "reach", "kick", "punch", "pick_up", "jump"):
        assert np.hypot(*ahead[kind]) < 0.1, kind
    # mm from the origin
    assert all(np.linalg.norm(one(kind)["pelvis"][0] * [1, 0, 1]) < 600 for kind in GAITS)
    assert all(facing(one(kind))[0, 2] > 0.8 for kind in GAITS)
    turned = np.unwrap(np.arctan2(*facing(one("turn"))[:, [0, 2]].T))
    assert np.ptp(turned) > np.radians(60)

    def height(kind, joint):
        return one(kind)[joint][:, 1]

    assert height("sit", "pelvis").min() < 0.68 * height("sit", "pelvis").max()
    lowest_hand = np.minimum(
        height("pick_up", "left_wrist"), height("pick_up", "right_wrist")
    ).min()
    assert lowest_hand < 0.15 * height("pick_up", "head_top").max()
    for kind in ("reach", "wave"):
        hand = np.maximum(height(kind, "left_wrist"), height(kind, "right_wrist"))
        assert (hand > height(kind, "head_top") - 150).any(), kind
    assert height("jump", "pelvis").max() > 1.15 * np.median(height("jump", "pelvis"))
    assert toes(one("kick"))[..., 1].max() > 500
    joints = one("punch")
    reach = [
        np.linalg.norm(joints[f"{s}_wrist"] - joints[f"{s}_shoulder"], axis=1)
        for s in ("left", "right")
    ]
    assert all(np.ptp(r) > 0.4 * r.max() for r in reach)  # both fists go out and come back


def test_left_and_right_handed_people_are_about_as_many():
    left = [
        (joints["left_wrist"][:, 1] > joints["right_wrist"][:, 1]).mean() > 0.5
        for joints in (one("wave", 7, seed) for seed in range(40))
    ]
    assert 10 <= sum(left) <= 30
    for joints in (one("wave", 7, seed) for seed in range(5)):
        # mirrored, not turned around
        assert (joints["left_shoulder"][:, 0] > joints["right_shoulder"][:, 0]).all()


def test_what_cannot_be_made_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(UnknownName, match="'walk'"):
        gait_joints_mm(3, FPS, rng, "walking")
    for frames, fps in (
        (0, 30.0),
        (-1, 30.0),
        (10**9, 30.0),
        (3, 0.0),
        (3, float("nan")),
        (3, float("inf")),
    ):
        with pytest.raises(BadParameter, match="frames at"):
            gait_joints_mm(frames, fps, rng, "walk")
    assert len(gait_joints_mm(1, FPS, rng, "dance")["nose"]) == 1
