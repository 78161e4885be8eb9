from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import UnknownName
from workbench.skeletons import ALIASES, RHD_FROM_HAND21, SKELETONS, skeleton, skeleton_of_joints

COUNTS = {
    "coco17": 17,
    "posetrack17": 17,
    "posetrack15": 15,
    "crowdpose14": 14,
    "jhmdb15": 15,
    "h36m17": 17,
    "smpl24": 24,
    "3dpw14": 14,
    "mpii16": 16,
    "hand21": 21,
    "hand21_rhd": 21,
}


def test_every_skeleton_is_there():
    assert {name: len(s) for name, s in SKELETONS.items()} == COUNTS
    assert skeleton("aist17") is SKELETONS["coco17"] and skeleton("fphb21") is SKELETONS["hand21"]
    assert all(target in SKELETONS for target in ALIASES.values())


@pytest.mark.parametrize("name", COUNTS)
def test_bones_and_pairs_are_sound(name):
    s = skeleton(name)
    assert len(set(s.joints)) == len(s)
    assert len({frozenset(e) for e in s.edges}) == len(s.edges)
    reached, edge = {s.root}, set(s.edges)
    while grown := {b for a, b in edge if a in reached} | {a for a, b in edge if b in reached}:
        if grown <= reached:
            break
        reached |= grown
    assert reached == set(range(len(s))), "every joint hangs on the root by bones"
    for left, right in s.flip_pairs:
        assert s.joints[left].replace("left", "right") == s.joints[right]
    assert sum("right" in j for j in s.joints) == len(s.flip_pairs)
    np.testing.assert_array_equal(s.flip_index[s.flip_index], np.arange(len(s)))
    if s.oks_sigmas is not None:
        assert (
            len(s.oks_sigmas) == len(s)
            and min(s.oks_sigmas) > 0
            and not s.sigma_source.startswith("none")
        )


def test_published_constants():
    coco = dict(zip(skeleton("coco17").joints, skeleton("coco17").oks_sigmas))
    assert (coco["nose"], coco["right_hip"], coco["left_ankle"]) == (0.026, 0.107, 0.089)
    crowd = dict(zip(skeleton("crowdpose14").joints, skeleton("crowdpose14").oks_sigmas))
    assert (crowd["head"], crowd["neck"], crowd["left_wrist"]) == (0.079, 0.079, 0.062)
    jhmdb = skeleton("jhmdb15")
    assert jhmdb.index("right_shoulder") == 3 and jhmdb.index("left_ankle") == 14
    h36m = skeleton("h36m17")
    assert (h36m.index("left_hip"), h36m.index("right_hip"), h36m.index("head")) == (1, 4, 10)


def test_rhd_counts_from_the_tip():
    panoptic, rhd = skeleton("hand21"), skeleton("hand21_rhd")
    assert (
        rhd.joints[1] == "thumb4"
        and rhd.joints[4] == "thumb1"
        and rhd.joints[20] == "pinky_finger1"
    )
    assert tuple(panoptic.joints[i] for i in RHD_FROM_HAND21) == rhd.joints
    order = np.array(RHD_FROM_HAND21)
    np.testing.assert_array_equal(panoptic.adjacency[np.ix_(order, order)], rhd.adjacency)


def test_names_are_found_or_refused():
    assert skeleton_of_joints(list(skeleton("posetrack17").joints)).name == "posetrack17"
    coco = skeleton("coco17").joints
    assert skeleton_of_joints([name.replace("_", " ").title() for name in coco]).name == "coco17"
    with pytest.raises(UnknownName, match="coco17's joints in another order") as error:
        skeleton_of_joints(sorted(coco))
    assert error.value.remedy.startswith("write them as nose, left_eye")
    with pytest.raises(UnknownName, match="no known skeleton"):
        skeleton_of_joints(["a", "b"])
    with pytest.raises(UnknownName, match="did you mean 'coco17'"):
        skeleton("coco-17")
    with pytest.raises(UnknownName, match="left_wrist"):
        skeleton("coco17").index("left_wirst")


def test_chains_are_fingers_and_limbs():
    assert skeleton("hand21").chains == (
        (1, 2, 3, 4),
        (5, 6, 7, 8),
        (9, 10, 11, 12),
        (13, 14, 15, 16),
        (17, 18, 19, 20),
    )
    assert skeleton("hand21_rhd").chains[0] == (4, 3, 2, 1)
    names = [[skeleton("jhmdb15").joints[i] for i in c] for c in skeleton("jhmdb15").chains]
    assert ["right_shoulder", "right_elbow", "right_wrist"] in names and ["head"] in names


def test_parents_lead_to_the_root():
    assert skeleton("hand21").parents[:6] == (-1, 0, 1, 2, 3, 0)
    assert skeleton("hand21_rhd").parents[:6] == (-1, 2, 3, 4, 0, 6)
    for s in SKELETONS.values():
        assert s.parents[s.root] == -1 and s.parents.count(-1) == 1
        for joint in range(len(s)):
            steps = 0
            while joint != s.root:
                assert s.adjacency[joint, s.parents[joint]]
                joint, steps = s.parents[joint], steps + 1
                assert steps < len(s)
