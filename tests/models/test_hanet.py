from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.models.by_hand import close, layer_norm, linear, mlp, multihead, part, perturbed
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
    far, further = neighbours(LINE, 2)
    assert far.flatten().tolist() == [0, 0, 0, 1, 4]
    assert further.flatten().tolist() == [4, 9, 16, 16, 16]
    v = velocity(LINE, far, 2)  # Eq. 2 divides by d_t
    assert v.flatten()[2:].tolist() == [2.0, 4.0, 6.0]
    assert acceleration(v, v.flip(1), 2).flatten().tolist() == [-3.0, -1.75, 0.0, 1.75, 3.0]


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
    """Errors 3, 8, 1, 5 and 2: their mean, and lambda times the mean of the two largest."""
    prediction, target = torch.zeros(1, 2, 10), torch.full((1, 2, 10), 2.0)
    prediction[0] = target[0] + torch.tensor([1.0, -2, -6, 2, 0, 1, 5, 0, -1, -1])
    weight = torch.ones(1, 2, 5)
    weight[0, 1, 1] = 0  # the second joint is seen once
    prediction[0, 1, 2] += 100
    errors = joint_errors(prediction, target, weight)
    assert errors.tolist() == [3, 8, 1, 5, 2]
    assert weighted_loss(errors, 0.25).item() == pytest.approx(19 / 5 + 0.25 * (8 + 5) / 2)
    assert joint_errors(prediction, target, weight, 2).tolist() == [5, 40, 1, 25, 2]


def test_the_worse_learns_from_the_better_and_not_the_other_way():
    truth = torch.zeros(1, 2, 4)
    # better at joint 0, worse at joint 1, which the second frame does not show
    final = torch.tensor([[[1.0, 0, 6, 0], [1, 0, 0, 0]]], requires_grad=True)
    refined = torch.tensor([[[4.0, 0, 3, 0], [2, 0, 9, 0]]], requires_grad=True)
    weight = torch.tensor([[[1.0, 1], [1, 0]]])
    for norm, values, slope in ((1, [2, 3], 1), (2, [5, 9], 6)):
        errors = online_errors(final, refined, truth, weight, norm)
        final.grad = refined.grad = None
        errors.sum().backward()
        assert errors.tolist() == values
        assert final.grad.tolist() == [[[0, 0, slope, 0], [0, 0, 0, 0]]]
        moved = [[slope / 2, 0, 0, 0], [0.5 if norm == 1 else 1, 0, 0, 0]]
        assert refined.grad[0].tolist() == moved


def test_nothing_is_detached_in_the_released_loss():
    final = torch.tensor([[[1.0, 0, 5, 0]]], requires_grad=True)
    refined = torch.tensor([[[2.0, 0, 4, 0]]], requires_grad=True)
    real = torch.ones(1, 1, dtype=torch.bool)
    terms = released_terms(final, refined, torch.zeros(1, 1, 4), real, real)
    assert terms[:, 2].tolist() == [0.25, 0, 0.25, 0]
    terms[:, 2].sum().backward()
    assert final.grad.flatten().tolist() == [-0.25, 0, 0.25, 0], "both move"
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


# --- the network, equation by equation ---


def hand_position(frames, length: int, width: int):
    """E_pos: sine and cosine in turn of angles that make one turn over the window."""
    code = torch.zeros(len(frames), width)
    for row, frame in enumerate(frames):
        for pair in range(width // 2):
            angle = 2 * math.pi * frame / (length - 1) / 10_000 ** (2 * pair / (width // 2))
            code[row, 2 * pair], code[row, 2 * pair + 1] = math.sin(angle), math.cos(angle)
    return code


def hand_level(state, z, position, heads: int, slope: float):
    """Eq. 4 and 5."""
    z = linear(part(state, "widen"), z) + position
    h = layer_norm(part(state, "norm1"), z)
    z = z + multihead(part(state, "attention"), h, h, h, heads)
    h = layer_norm(part(state, "norm2"), z)
    return z + mlp(part(state, "mlp"), h, lambda x: torch.where(x > 0, x, slope * x))


def hand_layer(state, v, keys, memory, heads: int, slope: float):
    """A layer of Eq. 8's decoder."""
    h = layer_norm(part(state, "norm1"), v)
    v = v + multihead(part(state, "self_attention"), h, h, h, heads)
    h = layer_norm(part(state, "norm2"), v)
    v = v + multihead(part(state, "cross_attention"), h, keys, memory, heads)
    h = layer_norm(part(state, "norm3"), v)
    return v + mlp(part(state, "mlp"), h, lambda x: torch.where(x > 0, x, slope * x))


def hand_line(refined, interval: int, length: int):
    """W_P: from one refined pose straight to the next; the last stands still."""
    rows, last = [], refined.shape[1] - 1
    for t in range(length):
        low, share = t // interval, t % interval / interval
        rows.append((1 - share) * refined[:, low] + share * refined[:, min(low + 1, last)])
    return torch.stack(rows, 1)


def hand_loss(a, b, weight, norm: int, top_weight: float):
    """Eq. 9."""
    error = ((a - b).abs() ** norm).unflatten(-1, (5, 2)).sum(-1)
    by_joint = (weight * error).sum((0, 1)) / weight.sum((0, 1))
    worse_half = by_joint.sort(descending=True).values[:2]
    return by_joint.mean() + top_weight * worse_half.mean()


@pytest.fixture(scope="module")
def network():
    """A network of which nothing vanishes, what its taps saw, and Eq. 3 to 8 of the same poses by
    hand: d_t = 2, so that divisions by it count; a frame behind the last that is read.
    """
    config = HANetConfig(
        channels=10, dim=6, levels=2, decoder_levels=2, heads=2, interval=3, step=2, slope=0.2,
        kernel=3, top_weight=0.3, final_weight=0.7,
    )  # fmt: skip
    torch.manual_seed(2)
    model = perturbed(HANet(config))
    xy, truth = torch.randn(2, 2, 17, 10)
    weight = (torch.rand(2, 17, 5) > 0.3).float()
    with torch.no_grad(), record(model) as taps:
        out = model(xy, truth=truth, weight=weight)
    inputs = {"xy": xy, "truth": truth, "weight": weight}
    return taps, out, inputs, hand_network(model.state_dict(), xy)


def hand_network(state, xy):
    """Eq. 1 to 8 of `network`'s configuration, stage by stage."""
    read = list(range(0, 17, 3))
    x = xy[:, read]
    previous, following = x[:, [0, 0, 0, 1, 2, 3]], x[:, [2, 3, 4, 5, 5, 5]]
    volume = torch.cat(((x + following + previous) / 3, x, previous, following), -1)
    features = [linear(part(state, "embed"), volume)]
    for i, width in enumerate((12, 24)):
        level, position = part(state, f"levels.{i}"), hand_position(read, 17, width)
        features.append(hand_level(level, features[-1], position, 2, 0.2))
    offsets = [
        torch.einsum("btc,oc->bto", z, state[f"offsets.{i}.weight"][..., 0])
        + state[f"offsets.{i}.bias"]
        for i, z in enumerate(features)
    ]
    offset = sum(offsets) / 2
    refined = x + offset
    v, v_next = (x - previous) / 2, (following - x) / 2
    kinds = {"previous": v, "following": v_next, "acceleration": ((v_next - v) / 2) ** 2}
    motion = [
        torch.einsum("btc,oc->bto", m, state[f"motion.embed.{kind}.weight"][..., 0])
        + state[f"motion.embed.{kind}.bias"]
        for kind, m in kinds.items()
    ]
    motion = torch.cat((offset, *motion), -1)
    stages = {"embedded": features[0], "features": features, "offsets": offsets}
    stages |= {"refined": refined, "motion": motion}
    return stages | hand_decoder(state, refined, motion, read)


def hand_decoder(state, refined, motion, read):
    """Eq. 8 of `network`'s configuration, stage by stage."""
    memory = linear(part(state, "motion_embed"), motion)
    line = hand_line(refined, 3, 17)
    value = F.conv1d(line.mT, state["value_embed.weight"], state["value_embed.bias"], padding=1).mT
    v = value + hand_position(range(17), 17, 6)
    keys = memory + hand_position(read, 17, 6)
    for i in range(2):
        v = hand_layer(part(state, f"decoder.{i}"), v, keys, memory, 2, 0.2)
    decoded = layer_norm(part(state, "decoder_norm"), v)
    final = linear(part(state, "head"), decoded) + line
    return {"memory": memory, "line": line, "value": value, "decoded": decoded, "final": final}


def test_flow_and_poses_are_embedded_by_eq_3(network):
    """Our W_0 has previous and next poses the other way round than the print."""
    taps, _, _, hand = network
    close(taps["embedded"], hand["embedded"])


def test_the_levels_are_eq_4_and_5(network):
    """Pre-norm, C 2^l from l = 1 on, E_pos in queries, keys and values."""
    taps, _, _, hand = network
    for i in range(2):
        close(taps[f"levels.{i}.out"], hand["features"][i + 1])


def test_offsets_and_refined_poses_are_eq_6(network):
    """Offsets from Z_0 on, three of them over N_L = 2."""
    taps, out, _, hand = network
    for i, offset in enumerate(hand["offsets"]):
        close(taps[f"offset_taps.{i}"], offset)
    close(out["refined"], hand["refined"])


def test_motion_is_weighed_by_eq_7(network):
    """Both velocities and the squared acceleration, each by a matrix and a bias of its own."""
    taps, _, _, hand = network
    close(taps["motion_in"], hand["motion"])


def test_the_decoder_is_eq_8(network):
    """W_P, Conv1D, E_pos, W_M, two layers that hear the motion, W_D; lines are added."""
    taps, out, _, hand = network
    for stage in ("line", "value", "memory", "decoded"):
        close(taps[stage], hand[stage])
    close(out["xy"], hand["final"])


def test_the_loss_is_eq_11(network):
    """Truth in L1, the mutual term in L1 and squared."""
    _, out, inputs, hand = network
    truth, weight = inputs["truth"], inputs["weight"]
    refined, final = hand["refined"], hand["final"]
    then = truth[:, ::3], weight[:, ::3]
    close(out["loss.refined"], hand_loss(refined, *then, 1, 0.3))
    close(out["loss.final"], 0.7 * hand_loss(final, truth, weight, 1, 0.3))
    both = [hand_loss(final[:, ::3], refined, then[1], norm, 0.3) for norm in (1, 2)]
    close(out["loss.online"], both[0] + both[1])
    terms = {name for name in out if name.startswith("loss.")}
    assert terms == {"loss.refined", "loss.final", "loss.online"}


def test_a_blind_token_does_not_see_itself():
    config = replace(tiny("hanet"), blind=True)
    model = HANet(config).eval()
    with record(model, ["levels.0.attention.attention.map"]) as taps:
        model(torch.randn(1, 7, 10))
    weights = taps["levels.0.attention.attention.map"]
    assert weights.diagonal(dim1=-2, dim2=-1).abs().max() == 0 and weights.sum(-1).min() > 0.99
    with pytest.raises(BadParameter, match="one read frame"):
        model(torch.randn(1, 3, 10))


def test_the_only_read_frame_of_a_short_sequence_sees_itself():
    """In a batch with a longer one, whose tokens stay blind."""
    config = replace(tiny("hanet"), blind=True, interval=3)
    model = HANet(config).eval()
    valid = torch.ones(2, 7, dtype=torch.bool)
    valid[0, 3:] = False
    with record(model, ["levels.0.attention.attention.map"]) as taps:
        found = model(torch.randn(2, 7, 10), valid=valid)
    short, long = taps["levels.0.attention.attention.map"].diagonal(dim1=-2, dim2=-1)
    assert short[:, 0].min() == 1 and long.abs().max() == 0
    assert found["xy"].isfinite().all()


def test_parameters_that_make_no_sense_are_refused():
    with pytest.raises(BadParameter, match="31 channels of 2 coordinates"):
        HANetConfig(channels=31)
