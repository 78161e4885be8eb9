"""HANet's explorer without a browser: hand-checkable parts, and controls that change what is
computed and drawn.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from workbench import metrics
from workbench.models import build
from workbench.models.hanet import HANetConfig
from workbench.predict import SequenceRefiner
from workbench.recipes.hanet import JOINTS, Sequence2D
from workbench.view import figures, trajectories

CONFIG = HANetConfig(interval=3, dim=8, levels=2, decoder_levels=1)


@pytest.fixture
def refiner():
    torch.manual_seed(3)
    return SequenceRefiner(build("hanet", CONFIG), 13)


@pytest.fixture
def sequences(rng):
    def made(name: str, t: int) -> Sequence2D:
        xy = rng.normal(150, 40, (1, len(JOINTS), 2)) + np.linspace(0, 20, t)[:, None, None]
        hidden = np.zeros((t, len(JOINTS)), bool)
        hidden[2:5, 11] = True
        return Sequence2D(name, xy, xy + rng.normal(0, 3, xy.shape), hidden)

    return [made("a/0", 17), made("b/0", 11)]


@pytest.fixture
def explorer(refiner, sequences):
    return trajectories.TrajectoryExplorer(refiner, sequences)


def test_the_inside_adds_up_in_pixels(refiner, sequences):
    detected = sequences[0].detected[:13]
    inside = trajectories.look_inside(refiner, detected)
    assert inside.read.tolist() == [0, 3, 6, 9, 12] and inside.offsets.shape == (3, 5, 15, 2)
    np.testing.assert_allclose(
        detected[inside.read] + inside.offsets.sum(0), inside.refined, atol=1e-3
    )
    np.testing.assert_allclose(inside.final, refiner.refine(detected), atol=1e-9)
    assert {m.shape[1:] for name, m in inside.attention.items() if name.startswith("levels")} == {
        (5, 5)
    }


def test_a_sequence_shorter_than_the_window_shows_no_padding(refiner, sequences):
    inside = trajectories.look_inside(refiner, sequences[1].detected)
    assert (
        inside.final.shape[0] == 11
        and inside.read.tolist() == [0, 3, 6, 9]
        and inside.refined.shape[0] == 4
    )
    first = inside.attention["levels.0.attention.attention.map"]
    assert first.shape == (4, 4, 4)
    np.testing.assert_allclose(first.sum(-1), 1, atol=1e-6)


def test_released_offsets_come_to_pixels_through_the_shared_map(sequences):
    model = build(
        "hanet", HANetConfig(interval=3, dim=8, levels=2, decoder_levels=1, shared_offset=True)
    )
    model.to_pose.bias.data.zero_()
    detected = sequences[0].detected[:13]
    inside = trajectories.look_inside(SequenceRefiner(model, 13), detected)
    np.testing.assert_allclose(
        detected[inside.read] + inside.offsets.sum(0), inside.refined, atol=1e-3
    )


def test_a_switch_keeps_the_weights(refiner, sequences):
    detected = sequences[0].detected[:13]
    same, blind = (refiner.switched(blind=value) for value in (False, True))
    np.testing.assert_array_equal(same.refine(detected), refiner.refine(detected))
    maps = trajectories.look_inside(blind, detected).attention
    first = maps["levels.0.attention.attention.map"]
    assert (np.diagonal(first, axis1=1, axis2=2) == 0).all(), "no frame looks at itself"
    assert np.abs(blind.refine(detected) - refiner.refine(detected)).max() > 1e-4


def test_an_edit_makes_one_head_look_everywhere_alike():
    a = torch.rand(2, 3, 5, 5)
    kept = a.clone()
    one = trajectories.uniform(1)(a)
    assert (
        (one[:, 1] == 0.2).all()
        and torch.equal(one[:, [0, 2]], a[:, [0, 2]])
        and torch.equal(a, kept)
    )
    assert (trajectories.uniform()(a) == 0.2).all()


def test_motion_is_eq_2():
    x = np.array([0.0, 0, 3, 3])[:, None, None] * np.ones((1, 1, 2))
    v, a = trajectories.motion(x)
    assert v[:, 0, 0].tolist() == [0, 0, 3, 0] and a[:, 0, 1].tolist() == [0, 3, -3, 0]


def test_errors_over_time_average_to_the_metrics(sequences):
    s = sequences[0]
    error, accel = trajectories.errors_over_time(s.detected, s.xy_frame)
    assert error.mean() == pytest.approx(metrics.epe(s.detected, s.xy_frame).mean())
    np.testing.assert_allclose(accel[1:-1], metrics.accel(s.detected, s.xy_frame))


def test_what_if_rows_start_from_the_first(refiner, sequences):
    tried = {"plain": (refiner, None), "flat": (refiner, {"levels.*map": trajectories.uniform()})}
    plain, flat = trajectories.what_if(tried, sequences)
    assert plain["answer moves, px"] == 0 < flat["answer moves, px"]
    expected = np.mean(
        [metrics.epe(refiner.refine(s.detected[:13]), s.xy_frame[:13]).mean() for s in sequences]
    )
    assert plain["error, px"] == pytest.approx(expected)


def test_levels_and_maps_have_names():
    assert trajectories.offset_names(3, CONFIG) == ["Z<sub>0</sub>", "level 1", "level 2"]
    assert trajectories.offset_names(2, CONFIG) == ["level 1", "level 2"]
    assert trajectories.attention_name("levels.1.attention.attention.map") == "encoder level 2"
    assert (
        trajectories.attention_name("decoder.0.cross_attention.attention.map")
        == "decoder layer 1, read motion"
    )


def line(explorer, name):
    return next(t for t in explorer.over.data if t.name == name)


def test_a_drag_hides_the_joint_in_these_frames_and_the_answer_follows(explorer):
    before = np.array(line(explorer, figures.FINAL).y)
    assert not explorer.hidden().any()
    drag = SimpleNamespace(xrange=(7.4, 3.6))
    explorer._on_drag(None, SimpleNamespace(point_inds=[]), drag)
    explorer._on_drag(None, SimpleNamespace(point_inds=[4]), None)
    assert not explorer.hidden().any(), "the other plots and a lifted selection change nothing"
    explorer._on_drag(None, SimpleNamespace(point_inds=[4]), drag)
    joint = JOINTS.index("right_wrist")
    assert np.argwhere(explorer.hidden()).tolist() == [[t, joint] for t in range(4, 8)]
    assert explorer.span.value == (4, 7) and explorer.hide.value == trajectories.ONE
    given = explorer.state["input"]
    np.testing.assert_array_equal(given[4:8, joint], explorer.lost[4:8, joint])
    np.testing.assert_array_equal(
        np.delete(given, joint, 1), np.delete(explorer.detected, joint, 1)
    )
    assert np.abs(np.array(line(explorer, figures.FINAL).y) - before).max() > 1e-3
    assert figures.GREY in [s.fillcolor for s in explorer.over.layout.shapes]


def test_hidden_joints_can_stand_still_and_come_with_neighbours(explorer):
    explorer.hide.value, explorer.span.value, explorer.says.value = (
        trajectories.LIMB,
        (4, 6),
        trajectories.HELD,
    )
    joints = np.flatnonzero(explorer.hidden()[5])
    assert [JOINTS.joints[j] for j in joints] == ["right_elbow", "right_wrist"]
    np.testing.assert_array_equal(
        explorer.state["input"][4:7, joints], explorer.detected[[3, 3, 3]][:, joints]
    )


def test_the_frame_moves_pose_and_row_but_computes_nothing(explorer):
    state = explorer.state
    explorer.frame.value = 11
    assert explorer.state is state
    np.testing.assert_allclose(explorer.beside.data[1].x, explorer.truth[11, :, 0])
    assert explorer.over.layout.shapes[-1].x0 == 11
    asking = explorer.beside.layout.shapes[0]
    assert (asking.y0, asking.y1) == (10.5, 13.5), "the read frame nearest to 11 is 12"
    assert "frame 12 looks most at" in explorer.readout.value


def test_axis_and_joint_choose_what_is_drawn(explorer):
    explorer.joint.value, explorer.axis.value = "left_ankle", 1
    j = JOINTS.index("left_ankle")
    np.testing.assert_allclose(line(explorer, figures.REAL).y, explorer.truth[:, j, 1])
    assert explorer.over.layout.yaxis.title.text == "y, px"


def test_switches_say_what_they_cost(explorer):
    assert "switches" not in explorer.readout.value
    explorer.blind.value = True
    assert "the switches move the answer by" in explorer.readout.value
    weights = np.array(explorer.beside.data[-1].z)
    assert (np.diagonal(weights) == 0).all()
    explorer.blind.value, explorer.flat.value = False, True
    np.testing.assert_allclose(explorer.attention()[0], 0.2)
    explorer.flat.value, explorer.weights.value = False, True
    assert "switches" in explorer.readout.value


def test_a_new_sequence_has_its_own_frames(explorer):
    assert explorer.start.max == 4
    explorer.start.value = 4
    np.testing.assert_array_equal(explorer.truth, explorer.sequences[0].xy_frame[4:])
    explorer.index.value = 1
    assert (explorer.start.max, explorer.start.value, explorer.frame.max, len(explorer.truth)) == (
        0,
        0,
        10,
        11,
    )
    assert explorer.span.max == 10 and list(explorer.beside.data[-1].x) == [0, 3, 6, 9]


def test_the_twin_holds_both_figures(explorer):
    twin = explorer.static()
    assert len(twin.data) == len(explorer.over.data) + len(explorer.beside.data)
    np.testing.assert_array_equal(twin.data[-1].z, explorer.beside.data[-1].z)
    assert "right_wrist" in twin.layout.title.text
    assert [
        t for t in twin.layout if t.startswith("yaxis")
    ] and twin.layout.yaxis.title.text == "x, px"
