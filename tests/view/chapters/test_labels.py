"""Chapter 01: joints found by the stated rule, flags as readers make them, the exercise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data import seeds
from workbench.data import readers
from workbench.made.worlds import sample_clip
from workbench.skeletons import skeleton
from workbench.view.chapters import labels
from workbench.view.stage import Scene, patch


@pytest.fixture(scope="module")
def made():
    return [sample_clip("synthetic", "train", 3)]


@pytest.fixture(scope="module")
def found(made):
    return labels.hidden_joints(made)


def owner_at(one):
    x, y = np.rint(one.made.clip.tracks[one.person].xy_frame[one.t, one.joint]).astype(int)
    return one.made.owner[one.t, y, x]


def test_hidden_joints_are_all_of_flag_1_with_the_distance_to_their_own_body(made, found):
    tracks = made[0].clip.tracks
    expected = {
        (p, t, j)
        for p, track in enumerate(tracks)
        for t, j in zip(*np.nonzero(track.visibility == 1))
        if (track.visibility[t] == 2).sum() >= labels.SEEN
    }
    assert {(one.person, one.t, one.joint) for one in found} == expected and expected
    for one in found[::37]:
        mine = made[0].owner[one.t] == tracks[one.person].track_id
        at = np.rint(tracks[one.person].xy_frame[one.t, one.joint])
        y, x = np.nonzero(~mine if one.depth > 0 else mine)
        nearest = np.hypot(x - at[0], y - at[1]).min()
        assert abs(one.depth) == pytest.approx(nearest, abs=0.01)


def test_the_first_joint_lies_outside_of_its_person_and_the_second_within(made, found):
    far, deep = (pick(found, key=lambda one: one.depth) for pick in (min, max))
    assert owner_at(far) != far.made.clip.tracks[far.person].track_id and far.depth < -3
    assert owner_at(deep) == deep.made.clip.tracks[deep.person].track_id and deep.depth > 3
    tells, misleads = labels.trick(made, np.random.default_rng(0)).cases
    assert f"{-far.depth:.0f} px" in tells["rule"] and str(len(found)) in tells["rule"]
    assert f"{deep.depth:.0f} px" in misleads["rule"]
    assert "their own body" in misleads["steps"][1]["words"]
    assert "their own body" not in tells["steps"][1]["words"]


def test_the_metric_knows_hidden_joints_with_exact_flags_alone(found):
    bars = labels.Told(found[0], np.random.default_rng(0)).metric("metric").panels[1].bars
    names = [bar.label for bar in bars]
    assert names == [
        "exact flags: PCK-All",
        "exact flags: PCK-Visible",
        "exact flags: PCK-Occluded",
        "PoseTrack18's: PCK-All",
    ]
    assert bars[0].value == pytest.approx(bars[3].value), "the same joints, counted together"
    assert bars[1].value != bars[2].value


def test_the_exercise_judges_its_frame_alone_and_a_page_can_do_both_parts(made):
    scene = Scene.of(made[0].clip, made[0].frames)
    stage = labels.Labels(
        skeleton(made[0].clip.tracks[0].skeleton), [scene], frame=10, size_px=16, name="brush"
    )
    parts = set()
    for change in stage.asks():
        state = stage.state | change
        found = stage.compute(state)
        names, under = stage.changed(found), stage.under(found)
        words = stage.judged(state, found)
        one = len(names) == 1 and "wrist" in names[0]
        assert ("nothing else: reached" in words) == one
        assert ("flag changes: reached" in words) == (under > 0 and not names)
        said = stage.say(state, found)
        changed = found.visibility != scene.visibility
        assert f"hidden by the paint: {changed.sum()} joints" in said, "of all frames"
        top = changed.sum((0, 1))
        name = stage.kin.joints[top.argmax()].replace("_", " ")
        assert (f"Most often: {name} ({top.max()})" in said) == changed.any()
        assert "frame 10 " not in said, "the slider may stand elsewhere"
        parts |= {part for part, done in (("wrist", one), ("same", under and not names)) if done}
    assert parts == {"wrist", "same"}
    (((picture,),),) = stage.draw(stage.state, stage.compute(stage.state)).values()
    assert picture.rim == (10,) and picture.brush
    x, y = scene.truth[10, 0, 9].round()
    other = stage.state | {"brush": [patch(x, y, 16, (11, 12))]}
    found = stage.compute(other)
    assert stage.changed(found) == [] and stage.under(found) == 0, "another frame"


def test_an_arrow_with_a_head_ends_at_the_joint_and_the_person_is_outlined(made, found):
    for joint in (min(found, key=lambda one: one.depth), max(found, key=lambda one: one.depth)):
        told = labels.Told(joint, np.random.default_rng(0))
        ends = told.pointer.ends
        assert ends.shape == (3, 5) and np.allclose(ends[:, 2:4], told.xy)
        mine = joint.made.owner[joint.t] == told.track.track_id
        changed = (told.outlined != told.frame).any(-1)
        assert changed.any() and not (changed & ~mine).any(), "on the rim of the person"


def test_the_second_case_says_why_its_flag_misleads(made):
    tells, misleads = (
        [step["words"] for step in case["steps"]]
        for case in labels.trick(made, np.random.default_rng(0)).cases
    )
    assert "misleads" in misleads[2] and "misleads" not in tells[2]
    assert "inside it" in misleads[1] and "own body" in misleads[3]
    assert all(one != other for one, other in zip(tells[1:4], misleads[1:4]))


@pytest.mark.parametrize(
    ("name", "skeleton_name", "seed"),
    [("COCO", "coco17", "coco"), ("CrowdPose", "crowdpose14", "coco"), ("PoseTrack18", "", "")],
)
def test_flags_of_data_sets_are_what_their_readers_make_of_them(
    name, skeleton_name, seed, tmp_path
):
    """Two files, whose joints are all visible, or all hidden but one, by the table."""
    one = next(each for each in labels.DATA_SETS if each.name == name)
    for flag in (1, 2):
        tree = seeds.posetrack() if not seed else seeds.coco(skeleton_name)
        for person in tree["annotations"]:
            person["keypoints"][2::3] = [one.written(flag)] * (len(person["keypoints"]) // 3)
            person["keypoints"][2] = one.written(2)  # of one joint
        path = seeds.put(tmp_path, f"{flag}.json", seeds.as_json(tree))
        reading = readers.read(path)
        records = [t for c in reading.clips for t in c.tracks] or [reading.poses]
        for record in records:
            others = record.visibility[:, 1:]
            labelled = others[others > 0]
            assert set(labelled.tolist()) == {one.becomes(flag)}
            assert record.occlusion_known == one.known
