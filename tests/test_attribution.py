"""Attribution against closed forms, captum, and the change of the output that it must sum to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.models.tiny import tiny
from workbench import load
from workbench.attribution import attribute, gradient_x_input, integrated_gradients
from workbench.errors import BadParameter, IncompleteAttribution, TapError, UnknownName
from workbench.made.motion import sequences
from workbench.made.worlds import sample_clip
from workbench.models import build
from workbench.predict import PortRefiner, PoseEstimator, RefineRule
from workbench.records import Detections
from workbench.taps import Tap

X = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, -7.0]])
ONCE = {"most": 16, "tolerance": math.inf}  # one rule, complete or not
WEIGHTS = torch.tensor([2.0, -3.0, 5.0])


@pytest.mark.parametrize("method", [gradient_x_input, integrated_gradients])
def test_of_a_linear_function_it_is_weights_times_input(method):
    found = method(lambda x: x @ WEIGHTS + 11, X)
    torch.testing.assert_close(found.values, X * WEIGHTS)
    torch.testing.assert_close(
        found.outputs, torch.stack([torch.full((2,), 11.0), X @ WEIGHTS + 11], 1)
    )
    assert found.completeness.max() < 1e-6
    base = torch.tensor([1.0, 1.0, 1.0])
    torch.testing.assert_close(method(lambda x: x @ WEIGHTS, X, base).values, (X - 1) * WEIGHTS)


@pytest.mark.parametrize("power", [2, 3, 5, 6])
def test_polynomials_up_to_twice_the_steps_are_exact(power):
    found = integrated_gradients(lambda x: (x**power).sum(1), X, steps=3, most=3)
    torch.testing.assert_close(found.values, X**power)


def test_a_product_is_shared_and_a_square_counts_twice_at_the_input():
    # x y is shared equally between the two, seen from 0
    found = integrated_gradients(lambda x: x[:, 0] * x[:, 1], X, steps=1)
    torch.testing.assert_close(found.values, torch.tensor([[-1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]))
    twice = gradient_x_input(lambda x: (x**2).sum(1), X)
    torch.testing.assert_close(twice.values, 2 * X**2)
    torch.testing.assert_close(twice.completeness, torch.ones(2))


def kinked(x):
    """Steep beside the baseline alone, where one rule over the whole line sees nothing."""
    return torch.tanh(700 * x).sum(1)


def test_a_line_is_halved_until_it_sums_to_the_change():
    found = integrated_gradients(kinked, X[:1])
    assert found.completeness.item() <= 0.01
    torch.testing.assert_close(found.values, X[:1].sign(), atol=0.02, rtol=0)
    with pytest.raises(IncompleteAttribution, match=r"after 16 steps. Remedy: most=64"):
        integrated_gradients(kinked, X[:1], most=16)
    as_it_is = integrated_gradients(kinked, X[:1], most=16, tolerance=math.inf)
    assert as_it_is.completeness.item() > 0.01
    with pytest.raises(IncompleteAttribution):  # a jump has no gradient anywhere
        integrated_gradients(lambda x: (x > 0.3).sum(1) + x.sum(1), X[:1], most=200)


def test_rows_do_not_see_each_other_nor_the_batch():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 1)).eval()
    found = [
        integrated_gradients(lambda x: model(x)[:, 0], rows, batch=batch).values
        for rows, batch in ((X, 16), (X, 5), (X[1:], 16))
    ]
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0][1:], found[2])


def test_values_that_cannot_be_are_named():
    with pytest.raises(BadParameter, match=r"values of shape \(1,\)"):
        integrated_gradients(lambda x: x[:1, 0], X)
    with pytest.raises(BadParameter, match="no gradient runs"):
        integrated_gradients(lambda x: x.argmax(1).float(), X)
    with pytest.raises(BadParameter, match="0 steps"):
        integrated_gradients(lambda x: x[:, 0], X, steps=0)


def test_captum_says_the_same():
    captum = pytest.importorskip("captum.attr")
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(3, 11), nn.Tanh(), nn.Linear(11, 2)).eval()
    ours = integrated_gradients(lambda x: model(x)[:, 1], X, 0.3, steps=7, tolerance=math.inf)
    theirs = captum.IntegratedGradients(model).attribute(
        X, 0.3, target=1, n_steps=7, method="gausslegendre"
    )
    torch.testing.assert_close(ours.values, theirs.to(ours.values), atol=1e-5, rtol=1e-5)
    ours = gradient_x_input(lambda x: model(x)[:, 1], X)
    theirs = captum.InputXGradient(model).attribute(X.clone().requires_grad_(), target=1)
    torch.testing.assert_close(ours.values, theirs)


# --- models ---------------------------------------------------------------------------------------


class Frames(nn.Module):
    """Two frames side by side, as a backbone sees them, between tapped operations in place."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.features, self.jump = Tap("b frame channel"), Tap("b frame")
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x, scale):
        z = self.relu(self.linear(x.flatten(0, 1)))
        z = self.features(z.unflatten(0, x.shape[:2]))
        jump = self.jump((z.sum(-1) > 1).float())
        return (self.relu(z - 0.2).sum(-1) * (1 + jump)).sum(1) * scale


@pytest.fixture
def frames():
    torch.manual_seed(11)
    inputs = {"x": torch.randn(1, 2, 3), "scale": torch.tensor([3.0])}
    return Frames().eval(), inputs


def test_a_foreign_model_s_taps_and_submodules(frames):
    model, inputs = frames
    answer = model(**inputs).item()
    for to, axes in (
        ("x", ("axis 0", "axis 1")),
        ("features", ("frame", "channel")),
        ("linear", ("axis 0", "axis 1")),  # two rows for one sample
        ("scale", ()),
    ):
        found = attribute(model, inputs, lambda out: out, to, held=["jump"])
        assert found.axes == axes and found.values.ndim == len(axes)
        assert found.output == pytest.approx(answer)
        change = found.output - found.output_at_baseline
        assert found.values.sum() == pytest.approx(change, rel=0.01)
    assert found.values == pytest.approx(answer), "linear in its scale"


def test_nothing_is_left_behind(frames):
    model, inputs = frames
    given = {name: x.clone() for name, x in inputs.items()}
    with torch.inference_mode():
        found = attribute(model, inputs, lambda out: out, "features", held=["jump"])
    assert np.isfinite(found.values).all() and not model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(part._forward_hooks for part in model.modules())
    assert all(torch.equal(x, given[name]) and not x.requires_grad for name, x in inputs.items())


def test_models_and_taps_that_cannot_be_are_named(frames):
    model, inputs = frames
    with pytest.raises(BadParameter, match="more than one sample"):
        attribute(model, {"x": X}, lambda out: out, "x")
    with pytest.raises(TapError, match="'relu' fires more than once"):
        attribute(model, inputs, lambda out: out, "relu")
    with pytest.raises(UnknownName, match="did you mean 'features'"):
        attribute(model, inputs, lambda out: out, "feature")
    with pytest.raises(BadParameter, match="choose zeros, mean_colour or blurred"):
        attribute(model, inputs, lambda out: out, "x", baseline="black")
    with pytest.raises(BadParameter, match="blurred of no picture"):
        attribute(model, inputs, lambda out: out, "scale", baseline="blurred")
    model.relu.train()
    with pytest.raises(BadParameter, match="in training"):
        attribute(model, inputs, lambda out: out, "x")


def test_shares_are_summed_by_axis_and_saved(frames, tmp_path):
    model, inputs = frames
    found = attribute(model, inputs, lambda out: out, "features", held=["jump"], of="the sum")
    np.testing.assert_allclose(found.by("frame"), found.values.sum(1))
    np.testing.assert_allclose(found.by("channel", "frame"), found.values.T)
    with pytest.raises(BadParameter, match="choose frame or channel"):
        found.by("joint")
    with np.load(found.save(tmp_path / "one"), allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["values"], found.values)
        assert str(saved["axes"]) == "frame channel" and str(saved["of"]) == "the sum"
    assert "integrated gradients of the sum, to features (frame, channel), baseline zeros" in str(
        found
    )


# --- the five methods -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene():
    return sample_clip("crossing_people", "test", 0)


def crops_of(estimator, scene, numbers):
    box = scene.clip.tracks[0].boxes_xyxy[2:3]
    return torch.stack([estimator.crops(scene.frames[n], box)[0] for n in numbers], 1)


def hand(rng):
    xy = rng.normal(300, 40, (1, 21, 2))
    return Detections("hand21", xy, rng.random((1, 21)), np.array([[0.0, 0, 9, 9]]))


def check(found, axes, shape):
    assert found.axes == axes and found.values.shape == shape
    change = found.output - found.output_at_baseline
    assert abs(found.values.astype(float).sum() - change) <= 0.01 * abs(change)
    assert abs(change) > 1e-3, "nothing to explain would be explained"


def test_port_by_joints_and_tokens(rng):
    port, one = load("port"), hand(rng)
    inputs = port.inputs(one, port.mask(one))
    finger = port.skeleton.joints[8]
    check(port.attribute(inputs, finger, "y"), ("joint", "xy"), (21, 2))
    check(port.attribute(inputs, finger, to="confidence"), ("joint",), (21,))
    found = port.attribute(inputs, finger, to="encoder.1.out", **ONCE)
    assert found.axes == ("joint", "channel") and found.of == f"{finger} x"


def test_what_port_does_not_read_has_no_share(rng):
    config = replace(tiny("port", "leak_free"), residual=False)
    port, one = PortRefiner(build("port", config), RefineRule((0.3,) * 21)), hand(rng)
    mask = port.mask(one)
    found = port.attribute(port.inputs(one, mask), port.skeleton.joints[8])
    assert mask.any() and not found.values[mask[0]].any() and found.values[~mask[0]].all()


@pytest.fixture(scope="module")
def steps():
    return sequences("synthetic", "test")[0].detected


def test_hanet_by_frames_and_joints(steps):
    hanet, xy = load("hanet"), steps
    inputs = hanet.inputs(xy[: hanet.window])
    found = hanet.attribute(inputs, "left_knee")
    check(found, ("frame", "joint", "xy"), (hanet.window, 15, 2))
    middle = hanet.attribute(inputs, "left_knee", frame=hanet.window // 2)
    np.testing.assert_array_equal(found.values, middle.values)
    other = hanet.attribute(inputs, "left_knee", frame=3, **ONCE)
    assert np.abs(other.values - found.values).max() > 0.01
    short = hanet.attribute(hanet.inputs(xy[:9]), "left_knee", frame=2, **ONCE)
    assert not short.values[9:].any(), "padding stands for the last pose"
    for frame, say in ((99, "frame 99"), (-1, "frame -1")):
        with pytest.raises(BadParameter, match=say):
            hanet.attribute(inputs, "left_knee", frame=frame)


def test_hanet_reads_what_refining_reads(steps):
    hanet = load("hanet")
    xy = steps[: hanet.window]
    found = hanet.attribute(hanet.inputs(xy), "left_knee", "y", **ONCE)
    centre, size = hanet.frame(xy[None])
    refined = hanet.refine(xy)[hanet.window // 2, hanet.skeleton.index("left_knee"), 1]
    assert found.output * size.item() + centre[0, 0, 0, 1] == pytest.approx(refined, abs=1e-3)


def test_vissimcc_by_pixels_and_features(scene):
    estimator = load("vissimcc")
    images = crops_of(estimator, scene, [2])[:, 0]
    found = estimator.attribute({"images": images}, "right_wrist", "confidence", baseline="blurred")
    check(found, ("colour", "y", "x"), (3, 128, 96))
    assert found.by("y", "x").shape == (128, 96) and found.baseline == "blurred"
    confidence = PoseEstimator(estimator.model, mirror=False).read(images).confidence
    wrist = estimator.skeleton.index("right_wrist")
    assert found.output == pytest.approx(confidence[0, wrist], rel=1e-4)
    found = estimator.attribute({"images": images}, "right_wrist", to="reasoning.masked")
    check(found, ("joint", "feature"), (17, 768))
    with pytest.raises(BadParameter, match="choose x, y or confidence"):
        estimator.attribute({"images": images}, "right_wrist", "z")


def test_otpose_by_heatmaps(scene):
    estimator = load("otpose")
    with torch.inference_mode():
        maps = estimator.rough(crops_of(estimator, scene, range(5)))
    inputs = {"heatmaps": maps}
    found = estimator.attribute(inputs, "right_wrist", "confidence", baseline="blurred")
    check(found, ("frame", "joint", "y", "x"), (5, 15, 32, 24))
    own = np.abs(found.by("frame", "joint")).max(0).argmax()
    assert own == estimator.skeleton.index("right_wrist"), "its own maps count most"


def test_stdpose_by_pixels_and_label_heatmaps(scene):
    propagator = load("stdpose")
    inputs = {"images": crops_of(propagator, scene, [0, 2, 4])}
    found = propagator.attribute(inputs, "right_wrist", "confidence")
    check(found, ("frame", "colour", "y", "x"), (3, 3, 128, 96))
    with torch.no_grad():
        xy, _ = propagator.model.decode(propagator.model(**inputs))
    inputs["auxiliary_xy_crop"] = xy[:, None].expand(1, 2, 15, 2)
    found = propagator.attribute(inputs, "right_wrist", "x", to="frames")
    check(found, ("frame", "joint", "y", "x"), (3, 15, 32, 24))
    wrist = propagator.skeleton.index("right_wrist")
    assert abs(found.output - xy[0, wrist, 0].item()) < 4, "the expected place is near the highest"
