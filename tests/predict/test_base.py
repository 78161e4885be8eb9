"""What every method can do: be looked into, switched and unlearned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.models.tiny import tiny
from workbench import load
from workbench.errors import BadParameter, CheckpointMismatch, UnknownName
from workbench.models import build, entry
from workbench.predict import (
    ClipEstimator,
    PortRefiner,
    PoseEstimator,
    Propagator,
    RefineRule,
    SequenceRefiner,
)
from workbench.predict.weights import predictor_of
from workbench.records import Detections


def hands(rng, n=5):
    xy = rng.normal(300, 40, (n, 21, 2))
    return Detections("hand21", xy, rng.random((n, 21)), np.tile([0.0, 0, 9, 9], (n, 1)))


def equal(a: torch.nn.Module, b: torch.nn.Module) -> dict[str, bool]:
    return {name: bool(torch.equal(p, b.state_dict()[name])) for name, p in a.state_dict().items()}


def test_looking_gives_what_refining_gives(rng):
    refiner, one = load("port"), hands(rng)
    mask = refiner.mask(one)
    xy, taps = refiner.look(one, mask, names=["recon"])
    assert taps["recon"].shape == (5, 21, 2)
    single = PortRefiner(refiner.model, RefineRule(refiner.rule.delta))
    np.testing.assert_allclose(xy, single.reconstruct(one, mask), atol=1e-3)
    moved, _ = refiner.look(one, mask, names=[], edit={"encoder.0.attention.map": torch.zeros_like})
    assert np.abs(moved - xy).max() > 0.1
    people = Detections("coco17", np.zeros((1, 17, 2)), np.zeros((1, 17)), np.zeros((1, 4)))
    with pytest.raises(BadParameter, match="detections are coco17"):
        refiner.look(people, np.zeros((1, 17), bool))


def test_looking_into_a_sequence_gives_what_refining_gives(rng):
    refiner, xy = load("hanet"), rng.normal(100, 30, (20, 15, 2))
    same, taps = refiner.look(xy, names=["refined"])
    np.testing.assert_array_equal(same, refiner.refine(xy))
    assert torch.isfinite(taps["refined"]).all()


def test_looking_keeps_no_gradients_and_takes_the_precision(rng):
    estimator = load("vissimcc-baseline", precision="bf16")
    w, h = estimator.model.config.size
    images = torch.rand(1, 3, h, w)
    found, taps = estimator.look(images, names=["maps.out"])
    assert not found["x"].requires_grad and taps["maps.out"].dtype == torch.bfloat16
    with pytest.raises(UnknownName, match="maps"):
        estimator.look(images, names=["maps.ot"])


def test_a_switch_keeps_the_weights_and_all_that_stands_around_them(rng):
    estimator = ClipEstimator(build("otpose", tiny("otpose")), "mine", padding=1.5)
    assert estimator.model.config.sigmoid
    other = estimator.switched(sigmoid=False)
    assert (other.name, other.padding, other.model.config.sigmoid) == ("mine", 1.5, False)
    assert all(equal(other.model, estimator.model).values()) and not other.model.training
    maps = rng.random((1, 5, 15, 16, 8)).astype(np.float32)
    one, two = (e.read_heatmaps(maps).confidence for e in (estimator, other))
    assert estimator.model.config.sigmoid and np.abs(one - two).max() > 0
    heads = estimator.switched(split_joints=True).model.state_dict()
    assert set(heads) < set(estimator.model.state_dict())
    with pytest.raises(CheckpointMismatch, match="misshapen"):
        estimator.switched(refine_channels=7)


def tiny_predictor(method):
    model = build(method, tiny(method))
    around = {
        "port": lambda: PortRefiner(model, RefineRule((0.3,) * 21)),
        "hanet": lambda: SequenceRefiner(model, 13),
        "vissimcc": lambda: PoseEstimator(model),
        "otpose": lambda: ClipEstimator(model),
        "stdpose": lambda: Propagator(model),
    }
    return around[method]()


@pytest.mark.parametrize("method", ["port", "hanet", "vissimcc", "otpose", "stdpose"])
def test_random_weights_are_the_seed_s_and_leave_the_single_frame_alone(method):
    torch.manual_seed(5)
    trained, before = tiny_predictor(method), torch.get_rng_state()
    one, same, other = (trained.random_control(seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state()), "nobody else's numbers are touched"
    assert one.name == "random weights" and type(one) is type(trained)
    assert all(equal(one.model, same.model).values())
    changed = {name for name, alike in equal(one.model, other.model).items() if not alike}
    learned = {name for name, alike in equal(one.model, trained.model).items() if alike}
    assert changed and not changed & learned
    stay = tuple(f"{part}." for part in trained.stays)
    assert not {name for name in changed if name.startswith(stay)}
    assert {name for name in one.model.state_dict() if name.startswith(stay)} <= learned


def test_a_control_reaches_as_far(rng):
    far = Propagator(build("stdpose", tiny("stdpose")), reach=2)
    far.precision = "bf16"
    control = far.random_control()
    assert (control.reach, control.precision) == (2, "bf16")


@pytest.mark.parametrize("method", ["vissimcc", "otpose", "stdpose"])
def test_weights_lie_channels_last_and_answer_the_same(method):
    torch.manual_seed(5)
    model = build(method, tiny(method)).eval()
    inputs = entry(method).example(tiny(method), 2, torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = model(**inputs)
        predictor = predictor_of(method)(model)
        after = model(**inputs)
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=1e-5, atol=1e-5)
    assert predictor.model is model
    for one in (predictor, predictor.random_control(), predictor.switched(sigma=2.5)):
        wide = [p for p in one.model.parameters() if p.dim() == 4]
        assert wide and all(p.is_contiguous(memory_format=torch.channels_last) for p in wide)
