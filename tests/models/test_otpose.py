from __future__ import annotations

import math
import resource
import sys
from dataclasses import replace
from functools import partial

import psutil
import pytest
import torch
from torchvision.ops import deform_conv2d

from tests.models.by_hand import (
    close,
    convolution,
    gelu,
    layer_norm,
    mlp,
    part,
    perturbed,
    softmax,
)
from tests.models.tiny import tiny
from workbench.errors import BadParameter
from workbench.models import build, entry
from workbench.models.layers import count_parameters
from workbench.models.otpose import (
    FLOWS,
    RELEASED,
    Block,
    Encoder,
    OTPose,
    OTPoseConfig,
    Refine,
    branch_features,
    differences,
    keypoint_flows,
    modulated_deform,
    occlusion_masks,
    penalised,
    pseudo_label,
    released_errors,
    released_loss,
    sine_position,
    steps_blocks,
)
from workbench.taps import record, tap_table

TINY = tiny("otpose")


def example(config: OTPoseConfig = TINY, batch: int = 2):
    return entry("otpose").example(config, batch, torch.Generator().manual_seed(5))


def made(config: OTPoseConfig = TINY, scale: float = 1.0) -> OTPose:
    torch.manual_seed(3)
    model = OTPose(config).eval()
    for name, p in model.named_parameters():
        if "layer_scale" in name:
            torch.nn.init.constant_(p, scale)
    return model


@pytest.fixture
def maps():
    return torch.rand(2, 5, 3, 4, 6, generator=torch.Generator().manual_seed(1))


# --- equations, by hand ---


def hand_position(channels: int, h: int, w: int):
    """Sine and cosine of the row, sine and cosine of the column, a quarter of the channels each."""
    quarter = math.ceil(channels / 4)
    code = torch.zeros(4 * quarter, h, w)
    for i in range(quarter):
        rate = 10_000 ** (-i / quarter)
        for y in range(h):
            code[i, y], code[quarter + i, y] = math.sin(y * rate), math.cos(y * rate)
        for x in range(w):
            code[2 * quarter + i, :, x] = math.sin(x * rate)
            code[3 * quarter + i, :, x] = math.cos(x * rate)
    return code[:channels]


def hand_attention(state, x, heads: int, position=None):
    """Eq. 5 and what it weighs: weights of each head [b c d], and the sum over heads [b c y x] of
    x [b c y x]. Queries and keys know the position, values do not.
    """
    placed, maps, total = x if position is None else x + position, [], 0
    for head in range(heads):
        q, k, v = (
            convolution({"weight": state[f"{name}.{head}.weight"]}, given, groups=x.shape[1])
            for name, given in (("query", placed), ("key", placed), ("value", x))
        )
        maps.append(softmax(torch.einsum("bcyx,bdyx->bcd", q, k) / math.sqrt(x.shape[1])))
        total = total + torch.einsum("bcd,bdyx->bcyx", maps[-1], v)
    return torch.stack(maps, 1), total


def hand_layer(state, z, heads: int, position=None):
    """Eq. 6 of z [b c y x]; norms and MLP run over the channels of a pixel."""

    def by_pixel(layer, x):
        return layer(x.movedim(1, -1)).movedim(-1, 1)

    x = by_pixel(partial(layer_norm, part(state, "norm1")), z)
    _, attended = hand_attention(state, x, heads, position)
    z = z + state["layer_scale1"][:, None, None] * attended
    x = by_pixel(partial(layer_norm, part(state, "norm2")), z)
    x = by_pixel(lambda x: mlp(part(state, "mlp"), x, gelu), x)
    return z + state["layer_scale2"][:, None, None] * x


def hand_encoder(state, z, layers: int, heads: int):
    """Eq. 6 so many times, the position in the first layer alone."""
    for i in range(layers):
        position = hand_position(*z.shape[1:]) if i == 0 else None
        z = hand_layer(part(state, f"blocks.{i}"), z, heads, position)
    return z


def hand_flows(maps):
    """Eq. 1 and Sec. III-A1 of maps [b 5 k y x]."""
    a, b, now, c, d = maps.unbind(1)
    return {
        "prev": now + b / 2 + a / 3,
        "sub": now + c / 2 + d / 3,
        "close": now + b / 2 + c / 2,
        "far": now + a / 3 + d / 3,
        "total": a + b + now + c + d,
    }


def hand_masks(flows):
    """Eq. 2."""
    return {kind: flow * flows["total"].sum(1, keepdim=True) for kind, flow in flows.items()}


def hand_label(truth, mask):
    """Eq. 3: the sum, each map from 0 to 1."""
    label = (truth + mask).flatten(2)
    low, high = label.min(-1, keepdim=True).values, label.max(-1, keepdim=True).values
    return ((label - low) / (high - low)).view_as(truth)


@pytest.fixture(scope="module")
def whole():
    """A model of which nothing vanishes, its inputs without pictures, what its taps saw, the
    answer; in double precision, since sums run over hundreds of pixels.
    """
    torch.manual_seed(3)
    model = perturbed(OTPose(TINY), scale=0.1).double()
    inputs = {name: value.double() for name, value in example().items()}
    del inputs["images"]
    w, h = TINY.grid
    heatmaps = torch.rand(2, 5, 15, h, w, generator=torch.Generator().manual_seed(1))
    inputs["heatmaps"] = heatmaps.double()
    inputs["weights"][:, 4] = 0
    with torch.no_grad(), record(model, ["psi", "phi.*"]) as taps:
        found = model(**inputs)
    return model, inputs, taps, found


# --- equations ---


def test_frames_are_penalised_by_their_distance(maps):
    light = penalised(maps, torch.tensor([[2, 1, 0, 1, 2]]))
    torch.testing.assert_close(light[:, 0], maps[:, 0] / 3)
    torch.testing.assert_close(light[:, 3], maps[:, 3] / 2)
    assert torch.equal(light[:, 2], maps[:, 2])
    far = penalised(maps, torch.tensor([[2, 1, 0, 1, 2], [9, 4, 0, 1, 2]]))
    torch.testing.assert_close(far[1, 0], maps[1, 0] / 10), "each window its own distances"


def test_the_five_flows(maps):
    flows = keypoint_flows(maps, torch.tensor([[2, 1, 0, 1, 2]]))
    assert tuple(flows) == FLOWS
    before, now, after = maps[:, 1] / 2, maps[:, 2], maps[:, 3] / 2
    torch.testing.assert_close(flows["prev"], now + before + maps[:, 0] / 3)
    torch.testing.assert_close(flows["sub"], now + after + maps[:, 4] / 3)
    torch.testing.assert_close(flows["close"], now + before + after)
    torch.testing.assert_close(flows["far"], now + maps[:, 0] / 3 + maps[:, 4] / 3)
    torch.testing.assert_close(flows["total"], maps.sum(1)), "the total flow is not penalised"


def test_masks_are_flows_times_everybodys_total(maps):
    flows = keypoint_flows(maps, torch.tensor([[2, 1, 0, 1, 2]]))
    masks = occlusion_masks(flows)
    i, j, y, x = 1, 2, 3, 4
    everyone = sum(maps[i, t, n, y, x] for t in range(5) for n in range(3))
    for kind in FLOWS:
        torch.testing.assert_close(masks[kind][i, j, y, x], flows[kind][i, j, y, x] * everyone)


def test_the_pseudo_label_is_normalised_and_carries_no_gradient(maps, whole):
    """Eq. 3, both halves of it: the occlusion encoder reads the total flow."""
    truth, mask = maps[:, 0].clone().requires_grad_(), (5 * maps[:, 1]).requires_grad_()
    label = pseudo_label(truth, mask)
    assert not label.requires_grad
    close(label, hand_label(truth, mask).detach())
    assert torch.equal(
        pseudo_label(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)), torch.zeros(1, 1, 2, 2)
    )
    model, inputs, taps, _ = whole
    total = inputs["heatmaps"].sum(1)
    close(taps["psi"], hand_encoder(part(model.state_dict(), "occlusion"), total, 1, 1))


def test_eight_features_a_joint_and_their_order():
    for kind in ("prev", "sub"):
        features = branch_features(kind)
        assert len(set(features)) == 8
        assert set(features) == {("psi", "total"), ("mask", "total")} | {
            (what, k) for what in ("flow", "mask") for k in ("close", "far", kind)
        }
    assert branch_features("prev", True) == branch_features("prev")
    assert branch_features("sub", True)[2:5] == (
        ("flow", "sub"),
        ("flow", "close"),
        ("flow", "far"),
    )
    names = made().channels["prev"]
    assert len(names) == 120 and names[0][0] == names[7][0] == "nose" and names[8][0] != "nose"
    assert [f for _, f in names[:8]] == [
        "mask.total",
        "psi",
        "flow.prev",
        "flow.far",
        "flow.close",
        "mask.prev",
        "mask.far",
        "mask.close",
    ]


def test_channels_carry_what_their_names_say():
    model, inputs = made(), example()
    with torch.no_grad(), record(model, ["flow.*", "mask.*", "psi", "branch.sub"]) as taps:
        caught = {}
        handle = model.branch["sub"].register_forward_pre_hook(
            lambda _, given: caught.update(x=given[0])
        )
        model(inputs["images"])
        handle.remove()
    for i, (joint, feature) in enumerate(model.channels["sub"]):
        at = i // 8
        assert torch.equal(caught["x"][:, i], taps[feature][:, at]), (joint, feature)


@pytest.mark.parametrize("kind", ["prev", "sub"])
def test_a_branch_encodes_its_features_by_eq_4(whole, kind):
    """C, the branch's own mask and flow, eight channels a joint, through encoder and head."""
    model, inputs, taps, _ = whole
    state, flows = model.state_dict(), hand_flows(inputs["heatmaps"])
    masks = hand_masks(flows)
    psi = hand_encoder(part(state, "occlusion"), flows["total"], 1, 1)
    features = [masks["total"], psi]
    features += [flows[n] for n in (kind, "far", "close")]
    features += [masks[n] for n in (kind, "far", "close")]
    by_joint = [feature[:, joint] for joint in range(15) for feature in features]
    z = hand_encoder(part(state, f"branch.{kind}"), torch.stack(by_joint, 1), 2, 2)
    head = state[f"head.{kind}.weight"][..., 0, 0]
    phi = torch.einsum("bcyx,kc->bkyx", z, head) + state[f"head.{kind}.bias"][:, None, None]
    close(taps[f"phi.{kind}"], phi)


def test_attention_is_softmax_over_channels_by_the_root_of_their_number():
    torch.manual_seed(0)
    block = perturbed(Block(5, 2, TINY))
    z, position = torch.randn(2, 5, 3, 4), torch.randn(5, 3, 4)
    with torch.no_grad(), record(block, ["map"]) as taps:
        out = block.attend(z.movedim(1, -1), position.movedim(0, -1))
    weights, expected = hand_attention(block.state_dict(), z, 2, position)
    close(taps["map"], weights)
    close(out.movedim(-1, 1), expected)


@pytest.mark.parametrize("channels", [7, 12])
def test_a_layer_is_eq_6(channels):
    """Two of them, each with its norms, scales and residuals; the position enters the first."""
    torch.manual_seed(2)
    encoder = perturbed(Encoder(channels, 2, 3, replace(TINY, size=(20, 12), mlp_ratio=2)))
    maps = torch.randn(2, channels, 3, 5)
    with torch.no_grad():
        close(encoder(maps), hand_encoder(encoder.state_dict(), maps, 2, 3))


def test_products_over_pixels_may_be_divided_by_the_root_of_their_number():
    """`pixel_scale`: 1 / sqrt(L); the map is then as sharp on a large grid as on a small one."""
    torch.manual_seed(0)
    config = replace(TINY, pixel_scale=True)
    block = Block(7, 1, config)
    products = torch.randn(2, 1, 7, 7)
    expected = (products / 5).softmax(-1)
    torch.testing.assert_close(block.attend_to(products, 25), expected)
    assert not torch.allclose(Block(7, 1, TINY).attend_to(products, 25), expected)


@pytest.mark.parametrize("name", ["attention", "refinement"])
def test_a_part_can_be_left_out_with_its_weights(name):
    torch.manual_seed(0)
    whole, without = (
        build("otpose", replace(TINY, layer_scale=0.5, **{name: value})).eval()
        for value in (True, False)
    )
    assert count_parameters(without) < count_parameters(whole)
    maps = torch.rand(2, 5, whole.config.joints, *whole.config.grid[::-1])
    with record(without, ["phi.*", "flow.total"]) as taps:
        found = without(heatmaps=maps)["heatmaps"]
    if name == "attention":
        assert not any(tap.endswith(".map") for tap in tap_table(without))
        mixed = without.branch["prev"].blocks[0]
        z = torch.rand(1, 3, 4, whole.config.joints * 8)
        expected = z + 0.5 * mixed.mlp(mixed.norm2(z))
        torch.testing.assert_close(mixed(z), expected)
    else:
        parts = [taps[f"phi.{branch}"] for branch in ("prev", "sub")]
        torch.testing.assert_close(found, taps["flow.total"] + sum(parts))


def test_the_rival_reads_differences_from_the_key_frame(maps):
    """One over the distance and one more, four frames' maps side by side."""
    found = differences(maps, torch.tensor([[2, 1, 0, 1, 2]]))
    a, b, now, c, d = maps.unbind(1)
    expected = torch.cat(((a - now) / 3, (b - now) / 2, (c - now) / 2, (d - now) / 3), 1)
    torch.testing.assert_close(found, expected)


def test_the_rival_moves_the_weighted_sum_and_has_no_transformer():
    torch.manual_seed(0)
    model = build("otpose", tiny("otpose", "difference")).eval()
    taps = tap_table(model)
    assert "phi.difference" in taps and not any(name.endswith(".map") for name in taps)
    rough, caught = torch.rand(2, 5, 15, *TINY.grid[::-1]), {}
    model.refine.register_forward_pre_hook(lambda _, given: caught.update(given=given))
    with torch.no_grad(), record(model, ["phi.difference"]) as taps:
        model(heatmaps=rough)
    moved, encoded = caught["given"]
    a, b, now, c, d = rough.unbind(1)
    torch.testing.assert_close(moved, now + (b + c) / 2 + (a + d) / 3)
    assert len(encoded) == 1 and torch.equal(encoded[0], taps["phi.difference"])
    with pytest.raises(BadParameter, match="know no occlusion"):
        replace(TINY, temporal="difference")


def test_queries_of_a_joint_have_seen_no_other():
    block = Block(6, 2, TINY)
    z = torch.randn(1, 3, 4, 6, requires_grad=True)
    grad = torch.autograd.grad(block.query[1](z)[..., 4].sum(), z)[0]
    assert grad[..., 4].abs().sum() > 0 and grad[..., [0, 1, 2, 3, 5]].abs().sum() == 0


def test_heads_that_share_out_the_channels_keep_the_joints_apart():
    """The released program's split: the first half of the channels never hears the second."""
    z = torch.randn(1, 3, 4, 6, requires_grad=True)
    for config, apart in ((replace(TINY, split_joints=True), True), (TINY, False)):
        torch.manual_seed(1)
        block = Block(6, 2, replace(config, mixing=False))
        out = block.attend(z)[..., :3].square().sum()
        grad = torch.autograd.grad(out, z)[0]
        assert bool(grad[..., 3:].abs().sum() == 0) == apart


def test_scrambled_heads_put_channels_on_other_pixels():
    torch.manual_seed(1)
    plain = Block(8, 1, replace(TINY, heads=1, split_joints=True))
    other = Block(8, 1, replace(TINY, heads=1, split_joints=True, scramble=True))
    other.load_state_dict(plain.state_dict())
    z = torch.randn(1, 2, 3, 8)
    with torch.no_grad():
        right, wrong = plain.attend(z).flatten(1, 2), other.attend(z).flatten(1, 2)
    assert torch.equal(right.flatten().sort().values, wrong.flatten().sort().values), (
        "the same values, elsewhere"
    )
    assert wrong[0, 1, 0] == right[0, 0, 1], (
        "pixel 1 of channel 0 holds what channel 1 has at pixel 0"
    )


@pytest.mark.parametrize("window", [4, 5, 12, 40])
def test_window_attention_stays_in_its_window(window):
    torch.manual_seed(1)
    block = Block(6, 2, replace(TINY, window=window))
    # without neighbours, to see the window alone
    for conv in (*block.query, *block.key, *block.value):
        with torch.no_grad():
            conv.weight[:, :, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0
    z = torch.randn(2, 3, 4, 6, requires_grad=True)
    with record(block, ["map"]) as taps:
        out = block.attend(z).flatten(1, 2)
    seen = torch.autograd.grad(out[:, 4].square().sum(), z)[0].flatten(1, 2).abs().sum((0, 2)) > 0
    begin = 4 // window * window
    assert seen.nonzero().flatten().tolist() == list(range(begin, min(begin + window, 12)))
    assert taps["map"].shape == (2, 2, -(-12 // window), window, window)


def test_an_encoder_begins_as_identity_and_its_scales_are_zero():
    encoder = Encoder(10, 3, 2, OTPoseConfig(size=(24, 16)))
    maps = torch.randn(2, 10, 4, 6)
    assert torch.equal(encoder(maps), maps)
    scales = [p for n, p in encoder.named_parameters() if "layer_scale" in n]
    assert len(scales) == 6 and all(p.shape == (10,) and not p.any() for p in scales)


def test_the_position_code_enters_the_first_layer_alone():
    config = replace(TINY, size=(24, 16))
    torch.manual_seed(2)
    encoder = Encoder(10, 2, 2, config).eval()
    for name, p in encoder.named_parameters():
        if "layer_scale" in name:
            torch.nn.init.ones_(p)
    maps, given = torch.randn(1, 10, 4, 6), []
    for block in encoder.blocks:
        block.register_forward_pre_hook(lambda _, args: given.append(args[1]))
    encoder(maps)
    assert torch.equal(given[0], encoder.position) and given[1] is None


def test_the_sine_code_tells_rows_from_columns():
    code = sine_position(10, 4, 6)
    assert code.shape == (10, 4, 6) and code.abs().max() <= 1
    rows, columns = code[:6], code[6:]
    assert torch.equal(rows[:, :, 0], rows[:, :, 5]) and torch.equal(columns[:, 0], columns[:, 3])
    torch.testing.assert_close(rows[0, :, 0], torch.arange(4.0).sin())
    flat = sine_position(120, 32, 24).flatten(1).T
    assert torch.cdist(flat, flat).add(1e3 * torch.eye(len(flat))).min() > 0.1, (
        "no two pixels alike"
    )


@pytest.mark.parametrize("dilation", [1, 2])
def test_deformable_convolutions_are_torchvisions(dilation):
    """Values and gradients, with offsets that leave the picture, in double precision."""
    g, kwargs = torch.Generator().manual_seed(4), {"dtype": torch.float64}
    maps, masks = (
        torch.rand(shape, generator=g, **kwargs) for shape in ((2, 3, 6, 5), (2, 3, 9, 6, 5))
    )
    offsets = 3 * torch.randn(2, 3, 9, 2, 6, 5, generator=g, **kwargs)
    weight = torch.randn(3, 3, 3, 3, generator=g, **kwargs)
    bias = torch.randn(3, generator=g, **kwargs)
    given = [x.requires_grad_() for x in (maps, offsets, masks, weight, bias)]
    ours = modulated_deform(maps, offsets, masks, dilation, weight, bias)
    place = {"padding": dilation, "dilation": dilation, "mask": masks.flatten(1, 2)}
    theirs = deform_conv2d(maps, offsets.flatten(1, 3), weight, bias, **place)
    torch.testing.assert_close(ours, theirs)
    weighed = torch.randn(ours.shape, generator=g, **kwargs)
    for mine, other in zip(
        *(torch.autograd.grad((out * weighed).sum(), given) for out in (ours, theirs))
    ):
        torch.testing.assert_close(mine, other)


def test_offsets_move_the_maps_they_belong_to():
    """With one tap of weight 1, a constant offset of (dy, dx) px and open masks, refinement is a
    shift of each joint.
    """
    torch.manual_seed(0)
    config = replace(TINY, dilations=(2,))
    refine = Refine(config).eval()
    k = config.joints
    with torch.no_grad():
        refine.weight[0].zero_()
        refine.weight[0][torch.arange(k), torch.arange(k), 1, 1] = 1
        refine.bias[0].zero_()
    total, encoded = torch.rand(1, k, 16, 8), [torch.rand(1, k, 16, 8)] * 2

    def shift(offsets):
        offsets = torch.zeros_like(offsets)
        # joint 4: 2 px down, 1 px to the left
        offsets[:, :, 4, :, 0], offsets[:, :, 4, :, 1] = 2, -1
        return offsets

    with (
        torch.no_grad(),
        record(refine, edit={"offsets": shift, "modulation": torch.ones_like}) as taps,
    ):
        out = refine(total, encoded)
    moved = taps["moved"]
    # coordinates are scaled to -1 ... 1 and back
    close = partial(torch.testing.assert_close, atol=1e-5, rtol=0)
    close(out[:, 3], moved[:, 3])
    close(out[0, 4, 3, 4], moved[0, 4, 5, 3])
    assert refine.offset[0].dilation == (2, 2) and refine.mask[0].dilation == (2, 2)


def test_masks_are_probabilities_only_with_the_papers_sigmoid():
    inputs = example()
    for config, bounded in ((TINY, True), (replace(TINY, sigmoid=False), False)):
        model = made(config)
        for conv in model.refine.mask:
            torch.nn.init.normal_(conv.weight, std=5.0)
        with torch.no_grad(), record(model, ["refine.modulation"]) as taps:
            model(inputs["images"])
        mask = taps["refine.modulation"]
        assert bool((mask >= 0).all() and (mask <= 1).all()) == bounded


def test_residual_steps_have_the_published_size():
    blocks = steps_blocks(15, 8, 2)
    assert blocks[0].first[0].out_channels == 4 * 6 and len(blocks[0].steps[3]) == 4
    assert isinstance(blocks[1].shortcut, torch.nn.Identity)


# --- losses ---


def test_the_losses_are_eq_7_and_8(whole):
    """v_j leaves joints out; 8 of 15 and 1 of 15 times the squared errors, and no third term."""
    _, inputs, _, found = whole
    v = inputs["weights"]
    assert 0 < v.sum() < v.numel() - 2
    at = inputs["xy_crop"] * torch.tensor([7 / 31, 15 / 63])  # from corner to corner: udp
    x, y = (torch.arange(n) - p[..., None] for n, p in zip(TINY.grid, at.unbind(-1)))
    truth = torch.exp(-(y[..., :, None] ** 2 + x[..., None, :] ** 2) / 2)  # sigma 1
    truth = truth * v[..., None, None]
    label = hand_label(truth, hand_masks(hand_flows(inputs["heatmaps"]))["total"])
    pred = 8 / 15 * (v * ((found["heatmaps"] - truth) ** 2).sum((-2, -1))).sum() / 2
    occ = 1 / 15 * (v * ((found["psi"] - label) ** 2).sum((-2, -1))).sum() / 2
    close(found["loss.prediction"], pred)
    close(found["loss.occlusion"], occ)
    terms = {name for name in found if name.startswith("loss.")}
    assert terms == {"loss.prediction", "loss.occlusion"}


def test_the_label_of_the_occlusion_encoder_moves_nobody():
    """Detached, the occlusion loss reaches the estimator through psi alone; as released through
    its label too.
    """
    inputs = example()
    for config, moves in ((TINY, False), (replace(TINY, mean_label=True), True)):
        model = made(config)
        maps = model.heatmaps_of(inputs["images"]).detach().requires_grad_()
        given = {k: v for k, v in inputs.items() if k != "images"}

        def stop(x):
            return x.detach()

        with record(model, ["psi"], edit={"psi": stop}):
            loss = model(heatmaps=maps, **given)["loss.occlusion"]
        assert loss.requires_grad == moves


def test_released_errors_learn_absent_joints_from_the_teacher():
    maps, teacher = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    target = torch.zeros(2, 3, 4, 4)
    target[:, :2, 1, 1] = 1
    errors = released_errors(maps, target, torch.ones(2, 3), teacher)
    torch.testing.assert_close(errors, torch.tensor([[1 / 16, 1 / 16, 1.0]] * 2))
    torch.testing.assert_close(released_loss(errors, 1), torch.tensor(0.5 + 1 + 2 / 16))


# --- the model ---


def test_heatmaps_from_elsewhere_take_the_place_of_pictures():
    model, inputs = made(), example()
    with torch.no_grad():
        from_pictures = model(inputs["images"])
        from_maps = model(heatmaps=from_pictures["rough"])
    torch.testing.assert_close(from_maps["heatmaps"], from_pictures["heatmaps"])
    for wrong in ({}, {"images": inputs["images"], "heatmaps": from_pictures["rough"]}):
        with pytest.raises(BadParameter, match="give one of the two"):
            model(**wrong)


def test_the_released_frames_never_read_the_last_one():
    inputs = example()
    other = inputs["images"].clone()
    other[:, 4] = 0
    for config, reads in ((TINY, True), (replace(TINY, frames=RELEASED["frames"]), False)):
        model = made(config)
        with torch.no_grad():
            a, b = (model(images)["heatmaps"] for images in (inputs["images"], other))
        assert torch.equal(a, b) != reads


def test_without_an_encoder_the_mask_stands_for_psi():
    model, inputs = made(tiny("otpose", "no_encoder")), example()
    with torch.no_grad(), record(model, ["mask.total"]) as taps:
        found = model(**inputs)
    assert torch.equal(found["psi"], taps["mask.total"])
    assert "loss.occlusion" not in found and "psi" not in tap_table(model)


def test_one_branch_is_half_the_encoders():
    model = made(tiny("otpose", "one_branch"))
    assert list(model.branch) == ["prev"] and list(model.channels) == ["prev"]
    assert model.refine.combine[0].first[0].in_channels == 30


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pseudo_label": "truth"}, "choose mask or flow"),
        ({"branches": ()}, "choose prev"),
        ({"frames": (-3, -1, 0, 1, 2)}, "five offsets"),
        ({"window": 0}, "1 or more"),
        ({"temporal": "flow"}, "choose transformer or difference"),
        ({"split_joints": True, "heads": 7}, "unequally"),
    ],
)
def test_configurations_that_cannot_be(wrong, said):
    with pytest.raises(BadParameter, match=said):
        OTPoseConfig(**wrong)


def test_a_few_steps_lower_both_terms():
    torch.manual_seed(0)
    model, inputs = OTPose(TINY).train(), example(batch=4)
    # the estimator's own maps begin next to zero
    given = torch.rand(4, 5, TINY.joints, *TINY.grid[::-1]) ** 6
    inputs = {"heatmaps": given} | {
        name: value for name, value in inputs.items() if name != "images"
    }
    optimiser = torch.optim.Adam(
        (p for n, p in model.named_parameters() if not n.startswith("maps.")), 3e-3
    )
    seen = []
    for _ in range(40):
        found = model(**inputs)
        seen.append([found["loss.prediction"].item(), found["loss.occlusion"].item()])
        optimiser.zero_grad()
        (found["loss.prediction"] + found["loss.occlusion"]).backward()
        optimiser.step()
    assert seen[-1][0] < 0.9 * seen[0][0] and seen[-1][1] < 0.9 * seen[0][1]


def test_the_papers_initialisation():
    config = replace(TINY, initial_std=0.001)
    torch.manual_seed(0)
    model = OTPose(config)
    head = model.head["prev"].weight
    assert 0.0009 < head.std() < 0.0011 and not model.head["prev"].bias.any()
    assert 0.0008 < model.refine.weight[0].std() < 0.0012
    assert model.branch["prev"].blocks[0].norm1.weight.eq(1).all()
    assert model.maps.backbone.net.conv1.weight.std() > 0.01, "the estimator keeps its own"


def test_the_small_configuration_can_be_shipped(tmp_path):
    from workbench import checkpoint

    path = checkpoint.save(
        tmp_path / "small.safetensors", build("otpose", "small"), {"model": "otpose"}
    )
    assert path.stat().st_size <= 4_000_000


def test_the_paper_s_size_runs_on_a_cpu_within_24_gib():
    """HRNet-W48, five crops of 288 x 384, eight layers of D = 120."""
    before, model = psutil.Process().memory_info().rss, build("otpose", "paper").eval()
    with torch.inference_mode():
        found = model(images=torch.zeros(1, 5, 3, 384, 288))
    assert found["heatmaps"].shape == (1, 15, 96, 72)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before < 24 * 2**30
