from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.models.tiny import tiny
from workbench.errors import BadParameter
from workbench.models import build
from workbench.models.hanet import (
    RELEASED,
    HANet,
    HANetConfig,
    acceleration,
    interpolate,
    joint_errors,
    keypoint_flow,
    neighbours,
    online_errors,
    released_loss,
    released_terms,
    sine_position,
    velocity,
    weighted_loss,
)
from workbench.taps import record

LINE = torch.tensor([0.0, 1.0, 4.0, 9.0, 16.0])[None, :, None]  # t squared


def test_kinematics_of_a_parabola():
    previous, following = neighbours(LINE)
    assert previous.flatten().tolist() == [0, 0, 1, 4, 9] and following.flatten().tolist() == [
        1,
        4,
        9,
        16,
        16,
    ]
    assert keypoint_flow(LINE, previous, following).flatten()[1:4].tolist() == pytest.approx(
        [5 / 3, 14 / 3, 29 / 3]
    )
    v, v_next = velocity(LINE, previous), velocity(following, LINE)
    assert v.flatten()[1:4].tolist() == [1, 3, 5] and v_next.flatten()[1:4].tolist() == [3, 5, 7]
    assert acceleration(v_next, v).flatten()[1:4].tolist() == [2, 2, 2]
    far, _ = neighbours(LINE, 2)
    assert velocity(LINE, far, 2).flatten()[2:].tolist() == [2.0, 4.0, 6.0]  # Eq. 2 divides by d_t


@pytest.mark.parametrize("dense", [False, True])
def test_acceleration_is_of_both_velocities_or_backward_as_printed(dense):
    """Of t^2, read at every second frame: (v_next - v) / d, or with `backward` (v_t - v_(t-d)) / d;
    steps of dense neighbours are frames, otherwise read frames.
    """
    x = (torch.arange(9.0) ** 2)[None, :, None].repeat(1, 1, 2)
    found = {}
    for backward in (False, True):
        config = HANetConfig(
            channels=2, dim=8, levels=1, decoder_levels=1, interval=2,
            dense_neighbours=dense, backward=backward,
        )  # fmt: skip
        model = HANet(config).eval()
        with torch.no_grad(), record(model, ["motion.acceleration"]) as taps:
            model(x)
        found[backward] = taps["motion.acceleration"][0, :, 0].tolist()
    if dense:  # at 0, 2, 4, 6, 8: the ends repeat
        assert found == {False: [1, 2, 2, 2, -15], True: [0, 2, 2, 2, 2]}
    else:
        assert found == {False: [4, 8, 8, 8, -28], True: [0, 4, 8, 8, 8]}


def test_positions_span_one_turn():
    code = sine_position(torch.tensor([0, 3, 6]), 7, 8)
    torch.testing.assert_close(code[0], torch.tensor([0.0, 1] * 4))
    torch.testing.assert_close(code[1, :2], torch.tensor([0.0, -1.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(code[2, :2], torch.tensor([0.0, 1.0]), atol=1e-5, rtol=0)


def test_straight_lines_between_read_poses():
    x = torch.tensor([0.0, 6.0, 0.0])[None, :, None]
    assert interpolate(x, 3, 8).flatten().tolist() == pytest.approx([0, 2, 4, 6, 4, 2, 0, 0])


def test_the_weighted_loss_adds_the_worse_half():
    prediction, target = torch.zeros(1, 2, 6), torch.zeros(1, 2, 6)
    prediction[0, :, 0], prediction[0, 0, 2], prediction[0, :, 4] = 3.0, 8.0, 1.0
    weight = torch.ones(1, 2, 3)
    weight[0, 1, 1] = 0  # the second joint is seen once
    errors = joint_errors(prediction, target, weight)
    assert errors.tolist() == [3, 8, 1]
    # half of three joints is one
    assert weighted_loss(errors, 0.5).item() == pytest.approx(4 + 0.5 * 8)
    assert joint_errors(prediction, target, weight, 2).tolist() == [9, 64, 1]


def test_the_worse_learns_from_the_better_and_not_the_other_way():
    truth = torch.zeros(1, 1, 4)
    # better at joint 0, worse at joint 1
    final = torch.tensor([[[1.0, 0, 5, 0]]], requires_grad=True)
    refined = torch.tensor([[[2.0, 0, 4, 0]]], requires_grad=True)
    errors = online_errors(final, refined, truth, torch.ones(1, 1, 2))
    errors.sum().backward()
    assert errors.tolist() == [1, 1]
    assert final.grad.flatten().tolist() == [0, 0, 1, 0] and refined.grad.flatten().tolist() == [
        1,
        0,
        0,
        0,
    ]
    terms = released_terms(
        final,
        refined,
        truth,
        torch.ones(1, 1, dtype=torch.bool),
        torch.ones(1, 1, dtype=torch.bool),
    )
    assert terms[:, 2].tolist() == [0.25, 0, 0.25, 0]
    final.grad = refined.grad = None
    terms[:, 2].sum().backward()
    assert final.grad.flatten().tolist() == [-0.25, 0, 0.25, 0], (
        "nothing is detached there: both move"
    )
    by_channel, top = released_loss(terms.detach(), 2.0, 1.0)
    assert by_channel.shape == (4,) and top == by_channel.topk(2).values.mean()


def test_unlabelled_joints_have_no_say():
    model, config = build("hanet", tiny("hanet")), tiny("hanet")
    truth = torch.randn(2, 7, config.channels)
    weight = torch.ones(2, 7, 5)
    weight[:, :, 3] = 0
    other = truth.clone()
    other[:, :, 6:8] += 100
    a, b = (model(truth, truth=t, weight=weight) for t in (truth, other))
    for key in ("loss.refined", "loss.final", "loss.online"):
        torch.testing.assert_close(a[key], b[key])


def test_padding_has_no_say():
    model = build("hanet", tiny("hanet")).eval()
    xy = torch.randn(1, 13, 10)
    valid = torch.arange(13)[None] < 10
    other = torch.where(valid[..., None], xy, xy + 50)
    a, b = (model(x, valid=valid)["xy"] for x in (xy, other))
    torch.testing.assert_close(a, b)
    assert (a - model(other)["xy"]).abs().max() > 0.1


@pytest.mark.parametrize(
    "change", [{"interval": 3}, {"interval": 1}, {"interval": 3, "blind": True}]
)
def test_reading_only_what_counts_gives_the_same_poses(change):
    torch.manual_seed(3)
    base = HANetConfig(channels=10, dim=8, levels=3, decoder_levels=2, heads=2)
    config = replace(base, **{**RELEASED, "blind": False, **change})
    model = HANet(config).eval()
    xy = torch.randn(2, 11, 10)
    fast, dense = model(xy), model(xy, dense=True)
    torch.testing.assert_close(fast["xy"], dense["xy"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        fast["refined"], dense["refined"][:, :: config.interval], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("switch", list(RELEASED))
def test_every_switch_changes_what_comes_out(switch):
    config = tiny("hanet")
    torch.manual_seed(1)
    one = HANet(config).eval()
    other = HANet(replace(config, **{switch: RELEASED[switch]})).eval()
    same = {
        k: v
        for k, v in one.state_dict().items()
        if k in other.state_dict() and v.shape == other.state_dict()[k].shape
    }
    other.load_state_dict({**other.state_dict(), **same})
    xy = torch.randn(2, 7, 10)
    assert (one(xy)["xy"] - other(xy)["xy"]).abs().max() > 1e-3


def test_the_network_is_the_paper_s_equations():
    """Eq. 3 to 8 and 11 put together by hand from the modules, as printed: pre-norm, C 2^l from
    l = 1 on, offsets from Z_0 on.
    """
    torch.manual_seed(2)
    config = HANetConfig(
        channels=10, dim=8, levels=2, decoder_levels=1, heads=2, interval=3, final_weight=0.7
    )
    model, xy, truth = HANet(config).eval(), torch.randn(2, 7, 10), torch.randn(2, 7, 10)
    with torch.no_grad(), record(model) as taps:
        out = model(xy, truth=truth)
        x = xy[:, ::3]  # T / N poses
        previous, following = neighbours(x)
        flow = keypoint_flow(x, previous, following)
        # Eq. 3; our W_0 has the last two the other way round
        z = torch.cat((flow, x, following, previous), -1)
        torch.testing.assert_close(
            taps["volume"], z[..., [*range(20), *range(30, 40), *range(20, 30)]]
        )
        features = [model.embed(taps["volume"])]
        for i, level in enumerate(model.levels):  # Eq. 4 and 5
            position = sine_position(torch.tensor([0, 3, 6]), 7, 8 * 2 ** (i + 1))
            z = level.widen(features[-1]) + position
            h = level.norm1(z)
            z = z + level.attention(h, h, h, None)
            features.append(z + level.mlp(level.norm2(z)))
            torch.testing.assert_close(taps[f"levels.{i}.out"], features[-1])
        offsets = [
            conv(f.transpose(1, 2)).transpose(1, 2)
            for conv, f in zip(model.offsets, features, strict=True)
        ]
        refined = x + sum(offsets) / 2  # Eq. 6: three offsets over N_L
        torch.testing.assert_close(out["refined"], refined)
        v, v_next = velocity(x, previous), velocity(following, x)
        # Eq. 7
        s = [model.motion._affine(k, m) for k, m in (("previous", v), ("following", v_next))]
        s.append(model.motion._affine("acceleration", acceleration(v_next, v).square()))
        torch.testing.assert_close(taps["motion_in"], torch.cat((sum(offsets) / 2, *s), -1))
        line = interpolate(refined, 3, 7)  # Eq. 8: W_P, Conv1D, W_M, W_D
        torch.testing.assert_close(taps["line"], line)
        torch.testing.assert_close(taps["memory"], model.motion_embed(taps["motion_in"]))
        torch.testing.assert_close(out["xy"], model.head(taps["decoded"]) + line)
        weight = torch.ones(2, 7, 5)
        both = [  # Eq. 11: truth in the norm of Eq. 9, the mutual term in both
            weighted_loss(joint_errors(p, t, weight[:, : p.shape[1]]))
            for p, t in ((refined, truth[:, ::3]), (out["xy"], truth))
        ]
        online = (
            online_errors(out["xy"][:, ::3], refined, truth[:, ::3], weight[:, :3], n)
            for n in (1, 2)
        )
    assert out["loss.refined"].item() == pytest.approx(both[0].item(), rel=1e-5)
    assert out["loss.final"].item() == pytest.approx(0.7 * both[1].item(), rel=1e-5)
    assert out["loss.online"].item() == pytest.approx(
        sum(weighted_loss(e) for e in online).item(), rel=1e-5
    )


def test_a_blind_token_does_not_see_itself():
    config = replace(tiny("hanet"), blind=True)
    model = HANet(config).eval()
    with record(model, ["levels.0.attention.attention.map"]) as taps:
        model(torch.randn(1, 7, 10))
    weights = taps["levels.0.attention.attention.map"]
    assert weights.diagonal(dim1=-2, dim2=-1).abs().max() == 0 and weights.sum(-1).min() > 0.99
    with pytest.raises(BadParameter, match="one read frame"):
        model(torch.randn(1, 3, 10))


def test_parameters_that_make_no_sense_are_refused():
    with pytest.raises(BadParameter, match="31 channels of 2 coordinates"):
        HANetConfig(channels=31)
