"""Recipes of worlds: what they may say, their digests, their generators."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.errors import BadParameter, UnknownName
from workbench.made.world import SPLITS, World
from workbench.made.worlds import WORLDS

TINY = WORLDS["synthetic_tiny"]


def test_a_digest_says_every_part_of_the_recipe():
    changes = {
        "name": "b",
        "n_frames": 5,
        "fps": 9.0,
        "people": (1, 9),
        "seed": 1,
        "sub_frames": 5,
        "label_stride": 2,
        "label_first": 1,
        "gaits": ("kick",),
        "passing": True,
    }
    digests = [
        World("a").digest(),
        *(replace(World("a"), **{k: v}).digest() for k, v in changes.items()),
    ]
    assert len(set(digests)) == len(digests) and World("a").digest() == World("a").digest()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n_frames": 0}, "n_frames=0"),
        ({"fps": -1.0}, "fps"),
        ({"people": (0, 2)}, "people"),
        ({"occluders": (3, 1)}, "occluders"),
        ({"sub_frames": 2}, "sub_frames"),
        ({"size_wh": (9, 99)}, "size_wh"),
        ({"motion": "mocap"}, "motion"),
        ({"data": "bandai_namco"}, "motion"),
        ({"motion": "films"}, "motion"),
    ],
)
def test_worlds_that_cannot_be(change, match):
    with pytest.raises(BadParameter, match=match):
        replace(TINY, **change)


@pytest.mark.parametrize("name", ["coco", "hand21"])
def test_unknown_skeletons(name):
    with pytest.raises(UnknownName, match="skeleton"):
        replace(TINY, skeleton=name)


def test_no_two_clips_splits_or_roles_share_a_generator():
    roles = ("scene", "room", "count", "sensor", "person 0", "person 1", "motion 0", "motion 1")
    drawn = [
        TINY.stream(split, i, role).bytes(16)
        for split in SPLITS
        for i in range(29)
        for role in roles
    ]
    assert len(set(drawn)) == len(drawn)
    with pytest.raises(UnknownName, match="train"):
        TINY.stream("trian", 0, "room")
