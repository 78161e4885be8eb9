"""Chapter 01: joints found by the stated rule, flags as readers make them, the exercise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data import seeds
from workbench.data import readers
from workbench.made.worlds import sample_clip
from workbench.view.chapters import labels
from workbench.view.stage import patch


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
    clear = next(one for one in found if one.depth <= 0)
    step = labels.Told(clear, np.random.default_rng(0)).metric("metric")
    bars = step.panels[1].bars
    assert [bar.label for bar in bars] == ["PCK-All", "PCK-Visible", "PCK-Occluded"]
    assert (
        bars[1].value != bars[2].value
        and "PCK@0.05, all frames of this clip" in step.panels[1].title
    )
    assert f"{bars[1].value:.0f}% of visible, {bars[2].value:.0f}% of hidden" in step.title


def test_the_row_of_hidden_joints_holds_two_kinds(made, found):
    deep = max(found, key=lambda one: one.depth)
    step = labels.Told(deep, np.random.default_rng(0)).metric("metric")
    own = sum(owner_at(one) == made[0].clip.tracks[one.person].track_id for one in found)
    assert [bar.value for bar in step.panels[1].bars] == [own, len(found) - own]
    assert 0 < own < len(found) and f"{own} of this clip's {len(found)} hidden" in step.title
    assert "no other person and no thing is in front" in step.words


def words_of(panel, row):
    return [note["words"] for note in panel.notes if note["at"][1] == 6 * row + 4]


def test_a_table_of_data_sets_says_who_tells_hidden_joints_apart(found):
    panel = labels.Told(found[0], np.random.default_rng(0)).data_sets("data sets").panels[1]
    assert words_of(panel, 1) == ["COCO", "1", "2", "✓"]
    assert words_of(panel, 3) == ["PoseTrack18", "1", "1", "–"]
    assert words_of(panel, 5) == ["JHMDB", "no flag", "no flag", "–"]


@pytest.fixture(scope="module")
def brush(made):
    explorer = labels.Labels(made[0].clip, made[0].frames, 10)
    explorer.set_goal(explorer.judged)
    return explorer


def test_the_scores_follow_the_flags_and_collapse_where_a_set_cannot_tell(made, brush):
    tracks = made[0].clip.tracks
    flags, xy = (np.stack([getattr(t, n)[10] for t in tracks]) for n in ("visibility", "xy_frame"))
    side = np.stack([np.ptp(t.boxes_xyxy[10].reshape(2, 2), axis=0).max() for t in tracks])
    good = np.linalg.norm(brush.said - xy, axis=-1) <= 0.05 * side[:, None]
    before = brush.compute(brush.state | {"brush": []})
    for at in xy[flags == 2][:6].round():
        found = brush.compute(brush.state | {"brush": [patch(*at, 16, (0, 0))]})
        off = np.rint(xy) - at
        inside = ((off >= -8) & (off < 8)).all(-1) & (flags > 0)
        np.testing.assert_array_equal(found.under, inside)
        now = np.where(inside, 1, flags)
        np.testing.assert_array_equal(found.flags, now)
        right = [good[now[:, j] == 2, j].mean() for j in range(17) if (now[:, j] == 2).any()]
        assert found.scores["PCK-Visible"] == pytest.approx(100 * np.mean(right))
        assert found.scores["PCK-All"] == before.scores["PCK-All"]
        (((picture,), _, (bars,)),) = brush.draw(brush.state, found).values()
        ends = [
            (name, *(each.scores[kind] for each in (before, found)))
            for name, kind in (
                ("COCO Visible", "PCK-Visible"),
                ("COCO Occluded", "PCK-Occluded"),
                ("PoseTrack18 All", "PCK-All"),
                ("JHMDB All", "PCK-All"),
            )
        ]
        labels_ = [f"{name} {first:.1f} → {last:.1f}" for name, first, last in ends]
        assert [bar.label for bar in bars.bars] == labels_
        assert [bar.value for bar in bars.bars] == [last - first for _, first, last in ends]
        assert not bars.bars[2].value and picture.brush
        assert "PCK@0.05 of this frame" in bars.title and bars.range[0] == -bars.range[1]
        newly = inside & (flags == 2)
        words = f"but {(newly & good).sum()} hit"
        change = found.scores["PCK-Visible"] - before.scores["PCK-Visible"]
        said = brush.say(brush.state, found)
        assert words in said and f" {(newly & ~good).sum()} miss" in said
        assert f"PCK-Visible moves by {change:+z.1f} points." in said
    said = brush.say(brush.state, before)
    assert said.startswith("No flag changes")
    misses = (~good & (flags > 0)).sum()
    assert len(brush.misses.ends) == misses


def test_a_table_says_which_flags_flip_under_the_paint(made, brush):
    tracks = made[0].clip.tracks
    flags, xy = (np.stack([getattr(t, n)[10] for t in tracks]) for n in ("visibility", "xy_frame"))
    seen = set()
    for was in (2, 1, 2, 1):
        who, j = next(at for at in np.argwhere(flags == was).tolist() if tuple(at) not in seen)
        seen.add((who, j))
        found = brush.compute(brush.state | {"brush": [patch(*xy[who, j], 1, (0, 0))]})
        panel = brush.written(found)
        assert panel.title.endswith(brush.kin.joints[j].replace("_", " "))
        rows = [[note["words"] for note in panel.notes[i : i + 4]] for i in range(0, 16, 4)]
        assert rows[1] == ["COCO", str(was), "1", "flips" if was == 2 else "stays"]
        assert rows[2:] == [
            ["PoseTrack18", "1", "1", "stays"],
            ["JHMDB", "no flag", "no flag", "stays"],
        ]
        ringed = [note["words"] for note in panel.notes if "ring" in note]
        assert ringed == ["1"] * (was == 2)
        assert "ring" in panel.notes[6] or was == 1
    nothing = brush.written(brush.compute(brush.state | {"brush": []}))
    assert "no joint" in nothing.title


def test_a_page_answers_near_every_place_and_all_goals_can_be_reached(brush):
    asks = [ask["brush"] for ask in brush.asks()]
    assert [] in asks
    places = np.array([one["points"][0] for (one,) in filter(None, asks)])
    everywhere = np.random.default_rng(0).uniform((0, 0), brush.scene.size_wh, (99, 2))
    nearest = np.abs(everywhere[:, None] - places).max(-1).min(1)
    assert nearest.max() <= brush.size_px / 4
    wrist = other = shifted = 0
    for strokes in asks:
        state = brush.state | {"brush": strokes}
        found = brush.compute(state)
        first, second, third = brush.judged(state, found).split("\n")
        changed = np.argwhere(found.flags != brush.before)
        names = [brush.kin.joints[j] for _, j in changed]
        assert first.startswith("✓") == (len(names) == 1 and "wrist" in names[0])
        assert second.startswith("✓") == (not names and bool(found.under.any()))
        wrist, other = wrist + first.startswith("✓"), other + second.startswith("✓")
        shift = found.scores["PCK-Visible"] - brush.unpainted["PCK-Visible"]
        assert third.startswith("✓") == (abs(shift) >= labels.POINTS)
        shifted += third.startswith("✓")
    assert wrist and other and shifted
    assert "size" not in [control["name"] for control in brush.controls], "of one size"


def test_a_ring_is_at_the_joint_and_the_person_is_outlined(made, found):
    for joint in (min(found, key=lambda one: one.depth), max(found, key=lambda one: one.depth)):
        told = labels.Told(joint, np.random.default_rng(0))
        for panel in told.picture("picture").panels:
            (note,) = panel.notes
            assert note["ring"] and note["at"] == told.xy.tolist() and note["words"] == told.joint
        mine = joint.made.owner[joint.t] == told.track.track_id
        changed = (told.outlined != told.frame).any(-1)
        assert changed.any() and not (changed & ~mine).any(), "on the rim of the person"


def test_the_second_case_says_why_its_flag_misleads(made):
    tells, misleads = (
        [step["words"] for step in case["steps"]]
        for case in labels.trick(made, np.random.default_rng(0)).cases
    )
    assert "another part of the same body" in misleads[2] and "body" not in tells[2]
    assert "no other person and no thing is in front" in misleads[4]
    assert "inside it" in misleads[1]
    assert all(one != other for one, other in zip(tells[1:3], misleads[1:3]))


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
            written = one.hidden if flag == 1 else one.visible
            person["keypoints"][2::3] = [written] * (len(person["keypoints"]) // 3)
            person["keypoints"][2] = one.visible  # of one joint
        path = seeds.put(tmp_path, f"{flag}.json", seeds.as_json(tree))
        reading = readers.read(path)
        records = [t for c in reading.clips for t in c.tracks] or [reading.poses]
        for record in records:
            others = record.visibility[:, 1:]
            labelled = others[others > 0]
            assert set(labelled.tolist()) == {flag if one.known else 2}
            assert record.occlusion_known == one.known
