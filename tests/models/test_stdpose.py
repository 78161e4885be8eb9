from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tests.models.by_hand import (
    batch_norm,
    close,
    convolution,
    gelu,
    layer_norm,
    mlp,
    multihead,
    part,
    perturbed,
    relu,
    softmax,
)
from tests.models.tiny import tiny
from workbench import checkpoint
from workbench.checkpoint import load_into
from workbench.errors import BadParameter
from workbench.made.bodies import skeleton_joints
from workbench.made.gaits import gait_joints_mm
from workbench.models import build, config_of, entry
from workbench.models.backbones import Backbone, HeatmapHead, KeypointMaps
from workbench.models.stdpose import (
    TABLE_4,
    DynamicAwareMask,
    MutualInformation,
    PlacePredictors,
    PoseAggregation,
    SpatioTemporalDynamicsAggregation,
    STDPose,
    STDPoseConfig,
    TemporalFeatureFusion,
    TemporalKeypointsSynthesis,
    conditional_information,
    correlations,
    distance_weights,
    gaussian_information,
    modified_sigmoid,
    nats_of,
    residuals,
    whitened,
)
from workbench.taps import record, tap_table

TINY = tiny("stdpose")
K = TINY.joints


def example(config: STDPoseConfig = TINY, batch: int = 2):
    return entry("stdpose").example(config, batch, torch.Generator().manual_seed(5))


def made(config: STDPoseConfig = TINY) -> STDPose:
    torch.manual_seed(3)
    return STDPose(config).eval()


def row(name: str) -> STDPoseConfig:
    return replace(TINY, **TABLE_4[name])


@pytest.fixture
def frames():
    return torch.rand(2, 3, K, 8, 12, generator=torch.Generator().manual_seed(1))


# --- by hand ---


def hand_conv_block(state, x, groups: int = 1):
    """Conv of Eq. 6: 3 x 3, norm, ReLU, 3 x 3."""
    x = convolution(part(state, "0"), x, groups)
    return convolution(part(state, "3"), relu(batch_norm(part(state, "1"), x)), groups)


def hand_aggregation(state, z, image):
    """PA with Eq. 12 in its middle; two heads."""
    h = layer_norm(part(state, "norm1"), z)
    z = z + multihead(part(state, "self_attention"), h, h, h, 2)
    h = layer_norm(part(state, "norm2"), z)
    z = z + multihead(part(state, "cross_attention"), h, image, image, 2)
    return z + mlp(part(state, "mlp"), layer_norm(part(state, "norm3"), z), gelu)


def hand_head(state, x):
    """Deconvolutions with norm and ReLU, and a convolution of 1 x 1."""
    for i in (0, 3):
        x = F.conv_transpose2d(x, state[f"deconv.{i}.weight"], stride=2, padding=1)
        x = relu(batch_norm(part(state, f"deconv.{i + 1}"), x))
    final = torch.einsum("bcyx,kc->bkyx", x, state["final.weight"][..., 0, 0])
    return final + state["final.bias"][:, None, None]


def hand_tokens(maps):
    """Means over the 4 x 4 px of each token, [b tokens k]."""
    rows = [
        maps[..., 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean((-2, -1))
        for y in range(maps.shape[-2] // 4)
        for x in range(maps.shape[-1] // 4)
    ]
    return torch.stack(rows, 1)


def hand_nats(x, y):
    """Of Gaussians with the correlations of x and y [people places channels], 0.001 added to each
    variance of 1. In double precision; ours is not.
    """
    pairs, width = torch.cat((x, y), -1).double().detach(), x.shape[-1]
    residue = (pairs - pairs.mean(0)).flatten(0, 1).numpy()
    r = residue.T @ residue / np.outer(*[np.sqrt((residue**2).sum(0))] * 2)
    r += 0.001 * np.eye(len(r))
    whole, own, other = (np.linalg.eigvalsh(m) for m in (r, r[:width, :width], r[width:, width:]))
    return (np.log(own).sum() + np.log(other).sum() - np.log(whole).sum()) / 2


def less_chance(nats, x):
    """Less the mean over pairs of strangers: nats(x of other people)."""
    strangers = [nats(torch.cat((x[i:], x[:i]))) for i in range(1, len(x))]
    return nats(x) - np.mean(strangers)


def hand_information(x, y):
    return less_chance(lambda x: hand_nats(x, y), x)


def hand_gain(label, fused, key):
    """A bracket of Eq. 2."""
    both = torch.cat((key, fused), -1)
    return less_chance(lambda label: hand_nats(label, both) - hand_nats(label, key), label)


def hand_printed_gain(label, fused, key):
    """A bracket of Eq. 11."""
    return hand_information(label, fused) - hand_information(fused, key)


@pytest.fixture(scope="module", params=["gaussian", "printed"])
def whole(request):
    """A model of which nothing vanishes, inputs of nine people without pictures, what its taps saw,
    the answer.
    """
    torch.manual_seed(3)
    changes = {"frame_weight": 0.5, "alpha": 0.3, "beta": 0.2, "mi_estimator": request.param}
    changes["fused_weight"] = 0.7 if request.param == "gaussian" else 0.0
    model = perturbed(STDPose(replace(TINY, **changes)), scale=0.1)
    inputs = example(batch=9)
    del inputs["images"]
    inputs["features"] = torch.randn(9, 3, 12, 3, 2)
    with torch.no_grad(), record(model, ["estimated", "tff.out", "tks.out"]) as taps:
        found = model(**inputs)
    return model, inputs, taps, found


def hand_truth(inputs):
    """Gaussians of the key frame's labels, sigma 1; udp: from corner to corner."""
    at = inputs["xy_crop"] * torch.tensor([7 / 31, 11 / 47])
    x, y = (torch.arange(n) - p[..., None] for n, p in zip((8, 12), at.unbind(-1)))
    truth = torch.exp(-(y[..., :, None] ** 2 + x[..., None, :] ** 2) / 2)
    return truth * inputs["weights"][..., None, None]


def hand_mutual(model, inputs, taps):
    """Both terms of Eq. 2, or of Eq. 11: of what was fused and merged, and the key frame's own."""
    label = hand_tokens(hand_truth(inputs))
    features = [f.flatten(2).mT for f in (taps["tff.out"], inputs["features"][:, 1])]
    gain = hand_gain
    if "mutual.directions" in model.state_dict():
        directions = model.state_dict()["mutual.directions"]
        features = [torch.einsum("bnc,cd->bnd", f, directions) for f in features]
        gain = hand_printed_gain
    maps = [hand_tokens(maps) for maps in (taps["tks.out"], taps["estimated"][:, 1])]
    return {
        "loss.mutual_feature": -0.3 * gain(label, *features),
        "loss.mutual_heatmap": -0.2 * gain(label, *maps),
    }


# --- the mask ---


def test_the_modified_sigmoid_is_eq_3():
    x = torch.tensor([0.0, 0.5, -0.5, 1.0, -1.0])
    by_hand = torch.tensor([0.3208, 0.5, 0.5, 0.6792, 0.6792])
    torch.testing.assert_close(modified_sigmoid(x), by_hand, atol=5e-5, rtol=0)
    rise = modified_sigmoid(torch.linspace(0, 3, 31))
    assert (rise.diff() > 0).all() and rise.max() < 1
    assert modified_sigmoid(torch.zeros(1), 5.0, 0.0).item() == 0.5, (
        "theta and k together set the value at rest"
    )
    torch.testing.assert_close(
        modified_sigmoid(torch.zeros(1), 5.0, 0.7), torch.tensor([1 / (1 + math.exp(3.5))])
    )


def test_residuals_are_the_key_frame_less_its_neighbours(frames):
    forward, backward = residuals(frames).unbind(1)
    assert torch.equal(forward, frames[:, 1] - frames[:, 0]) and torch.equal(
        backward, frames[:, 1] - frames[:, 2]
    )
    assert torch.equal(residuals(frames.flip(1)), residuals(frames).flip(1))


def test_the_nearer_frame_counts_for_more():
    weights = distance_weights(torch.tensor([[2, 5], [3, 3], [0, 0], [4, 0]]))
    torch.testing.assert_close(weights, torch.tensor([[10 / 7, 4 / 7], [1, 1], [1, 1], [1, 1]]))


def test_the_mask_is_a_softmax_over_pixels_of_what_moves(frames):
    torch.manual_seed(0)
    dam = DynamicAwareMask(replace(TINY, forward_weight=0.3, backward_weight=2.0, k=3.0, theta=0.2))
    torch.nn.init.normal_(dam.compress.weight)
    with torch.no_grad(), record(dam) as taps:
        mask = dam(frames)
    w = dam.compress.weight[0, :, 0, 0]
    logits = sum(
        weight
        * torch.einsum(
            "k,bkyx->byx",
            w,
            1 / (1 + torch.exp(-3.0 * ((frames[:, 1] - frames[:, t]).abs() - 0.2))),
        )
        for t, weight in ((0, 0.3), (2, 2.0))
    )
    torch.testing.assert_close(taps["logits"], logits)
    torch.testing.assert_close(mask, logits.flatten(1).softmax(-1).view(2, 8, 12))
    torch.testing.assert_close(mask.sum((1, 2)), torch.ones(2))


def test_the_mask_is_even_at_rest_and_highest_where_a_joint_moves(frames):
    dam = DynamicAwareMask(TINY)
    still = frames[:, 1:2].expand_as(frames)
    with torch.no_grad():
        torch.testing.assert_close(dam(still), torch.full((2, 8, 12), 1 / 96))
        moved = still.clone()
        moved[:, 2, 4, 3, 7] += 0.8
        away = moved.clone()
        away[:, 2, 4, 3, 7] -= 1.6
        assert (dam(moved).flatten(1).argmax(-1) == 3 * 12 + 7).all()
        torch.testing.assert_close(dam(moved), dam(away)), "what leaves counts like what comes"


def test_left_and_right_change_places_with_their_weights(frames):
    one = DynamicAwareMask(replace(TINY, forward_weight=0.3, backward_weight=2.0))
    other = DynamicAwareMask(replace(TINY, forward_weight=2.0, backward_weight=0.3))
    with torch.no_grad():
        torch.testing.assert_close(one(frames), other(frames.flip(1)))
        assert not torch.allclose(one(frames), one(frames.flip(1)), atol=1e-6)
        distance = torch.tensor([[1, 6], [2, 5]])
        torch.testing.assert_close(one(frames, distance), other(frames.flip(1), distance.flip(1)))
        assert not torch.allclose(one(frames, distance), one(frames), atol=1e-6)


def test_still_joints_do_not_move_where_like_is_compared_with_like():
    """A label's Gaussian peaks at 1, an estimate at 0.6: with labels told a mask that reads what is
    used sees 0.4 where nothing moves, and one that reads the network's own maps sees nothing.
    """
    inputs, largest = example(), {}
    inputs["auxiliary_xy_crop"] = inputs["xy_crop"][:, None].expand(-1, 2, -1, -1)
    inputs["auxiliary_weights"] = torch.ones(2, 2, K)
    estimate = 0.6 * made().encode(inputs["xy_crop"], torch.ones(2, K))
    edit = {"estimated": lambda _: estimate[:, None].expand(-1, 3, -1, -1, -1)}
    for reads in ("used", "own"):
        model = made(replace(TINY, dam_reads=reads))
        with torch.no_grad(), record(model, ["dam.residual"], edit=edit) as taps:
            model(**inputs)
        largest[reads] = taps["dam.residual"].abs().max().item()
    assert largest["used"] > 0.3 and largest["own"] == 0


# --- the encoder ---


def test_tks_is_eq_6_joint_by_joint(frames):
    torch.manual_seed(0)
    tks = perturbed(TemporalKeypointsSynthesis(replace(TINY, joint_channels=2))).double()
    frames = frames.double()
    with torch.no_grad(), record(tks) as taps:
        out = tks(frames)
    state, merged = tks.state_dict(), []
    for j in range(K):  # left, key and right map of joint j alone
        own = slice(2 * j, 2 * j + 2)
        names = ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var")
        alone = {n: state[f"in_time.{n}"][own] for n in names}
        alone |= {n: state[f"in_time.{n}"][j : j + 1] for n in ("3.weight", "3.bias")}
        merged.append(hand_conv_block(alone, frames[:, :, j]))
    merged = torch.cat(merged, 1)
    space = hand_conv_block(part(state, "in_space"), merged)
    beside = torch.cat((space, frames[:, 0], frames[:, 1], frames[:, 2]), 1)
    close(taps["time"], merged)
    close(taps["space"], space)
    close(out, hand_conv_block(part(state, "synthesis"), beside))


def test_tff_joins_the_three_tokens_of_a_place():
    torch.manual_seed(0)
    tff = TemporalFeatureFusion(12, 6, replace(TINY, layers=0)).eval()
    features = torch.randn(2, 3, 12, 3, 2)
    with torch.no_grad():
        out = tff(features)
        placed = features.flatten(3).mT + tff.position
        by_hand = tff.mlp(torch.cat([F.layer_norm(placed[:, t], (12,)) for t in range(3)], -1))
    torch.testing.assert_close(out.flatten(2).mT, by_hand)


def test_tff_attends_from_every_token_to_every_frame():
    torch.manual_seed(0)
    tff = TemporalFeatureFusion(12, 6, TINY).eval()
    features = torch.randn(1, 3, 12, 3, 2, requires_grad=True)
    grad = torch.autograd.grad(tff(features)[0, :, 2, 1].square().sum(), features)[0]
    assert (grad.abs().sum(2) > 0).all()
    assert tff.position.shape == (3, 6, 12), "each frame has its own"


# --- the decoder ---


def test_cross_attention_is_eq_12():
    torch.manual_seed(0)
    block = perturbed(PoseAggregation(6, TINY))
    z, image = torch.randn(2, 5, 6), torch.randn(2, 7, 6)
    with torch.no_grad(), record(block) as taps:
        out = block(z, image)
    close(out, hand_aggregation(block.state_dict(), z, image))
    assert taps["cross_attention.attention.map"].shape == (2, 2, 5, 7)
    assert tap_table(block)["cross_attention.attention.map"][-1] == "image_token"


def test_the_heatmaps_are_eq_13():
    """Patches of masked beside plain heatmaps, positions, two blocks that read the image, head."""
    torch.manual_seed(0)
    stda = perturbed(SpatioTemporalDynamicsAggregation(12, 6, replace(TINY, blocks=2)))
    merged, fused = torch.rand(2, K, 12, 8), torch.randn(2, 12, 3, 2)
    mask = softmax(torch.randn(2, 96)).view(2, 12, 8)
    with torch.no_grad(), record(stda, ["masked", "tokens"]) as taps:
        out = stda(merged, mask, fused)
    state, masked = stda.state_dict(), 96 * merged * mask[:, None]
    close(taps["masked"], masked)
    both, z = torch.cat((masked, merged), 1), []
    for i in range(6):  # three rows of two patches
        y, x = 4 * (i // 2), 4 * (i % 2)
        patch = both[..., y : y + 4, x : x + 4]
        z.append(torch.einsum("ckyx,bkyx->bc", state["embed.weight"], patch))
    z = torch.stack(z, 1) + state["embed.bias"] + state["position"]
    close(taps["tokens"], z)
    image = layer_norm(part(state, "norm_image"), fused.flatten(2).mT)
    for i in range(2):
        z = hand_aggregation(part(state, f"blocks.{i}"), z, image)
    z = layer_norm(part(state, "norm"), z)
    close(out, hand_head(part(state, "head"), z.mT.reshape(2, 12, 3, 2)))


def test_an_even_mask_changes_nothing():
    stda = SpatioTemporalDynamicsAggregation(12, 6, TINY).eval()
    merged = torch.rand(2, K, 12, 8)
    with torch.no_grad(), record(stda, ["masked"]) as taps:
        stda(merged, torch.full((2, 12, 8), 1 / 96), torch.randn(2, 12, 3, 2))
    torch.testing.assert_close(taps["masked"], merged)


def test_without_the_mask_only_the_merged_maps_are_embedded():
    assert (
        made(row("d")).stda.embed.in_channels == K
        and made(row("e")).stda.embed.in_channels == 2 * K
    )


# --- information ---


def gaussians(nats: float, dim: int, shape: tuple[int, int], generator: torch.Generator):
    """Pairs whose mutual information is known: correlation rho in each of `dim` coordinates,
    -dim/2 log(1 - rho^2) = nats.
    """
    rho = math.sqrt(1 - math.exp(-2 * nats / dim))
    x, noise = torch.randn(2, *shape, dim, generator=generator)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize(
    "shape", [(16, 48), (32, 192), (256, 1)]
)  # people, places: `small`'s batch, the paper's, plain pairs
@pytest.mark.parametrize(
    ("nats", "dim"), [(0, 1), (0, 15), (0.5, 1), (2, 1), (0.5, 15), (2, 15), (5, 15), (10, 32)]
)
def test_estimates_come_near_known_information(nats, dim, shape):
    """The mean of ten within 0.05 nats and a twentieth, whatever the scales, the places' means
    and the mixing.
    """
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(10):
        x, y = gaussians(nats, dim, shape, generator)
        means = torch.randn(2, 1, shape[1], dim, generator=generator)
        mixing = torch.randn(dim, dim, generator=generator) + 3 * torch.eye(dim)
        found.append(gaussian_information(0.03 * x @ mixing + means[0], 50 * y - means[1]))
    error = torch.stack(found).std() / 10**0.5  # of the mean of ten
    assert torch.stack(found).mean().item() == pytest.approx(
        nats, abs=0.05 + 0.05 * nats + 2 * error.item()
    )


@pytest.mark.parametrize("nats", [0, 0.5, 2])
def test_conditional_information_is_what_is_told_beyond(nats):
    """y tells so much of what `given` leaves open, and repeats the rest: the mean of ten within
    0.05 nats and a twentieth.
    """
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(10):
        open_, y = gaussians(nats, 5, (16, 48), generator)
        given = torch.randn(16, 48, 7, generator=generator)
        label = open_ + given[..., :5]  # more than half of it is given
        turned = torch.cat((y, given), -1) @ torch.randn(12, 12, generator=generator)
        found.append(conditional_information(label, turned, given))
    assert torch.stack(found).mean().item() == pytest.approx(nats, abs=0.05 + 0.05 * nats)


def test_information_of_numbers_that_can_be_done_by_hand():
    x = torch.tensor([-1.0, -1.0, 1.0, 1.0]).view(4, 1, 1)
    y = torch.tensor([-1.0, 1.0, -1.0, 1.0]).view(4, 1, 1)
    assert gaussian_information(x, y).item() == pytest.approx(0, abs=1e-6), "nor are strangers"
    # rho squared is one half of own pairs, of one of the three ways to pair strangers, and else 0
    half = 0.5 * math.log(2)
    found = gaussian_information(x, x + y).item()
    assert found == pytest.approx(half - half / 3, abs=2e-3)
    assert gaussian_information(x, -7 * (x + y) + 2).item() == pytest.approx(found, abs=1e-5)
    assert gaussian_information(x[:2], y[:2]).item() == 0, "of two pairs nothing is known"
    assert conditional_information(x[:2], y[:2], y[:2]).item() == 0


def test_what_correlation_does_not_tell_is_not_counted():
    x = torch.randn(64, 64, 1, generator=torch.Generator().manual_seed(0))
    assert abs(gaussian_information(x, x.square()).item()) < 0.02, "y is known from x, and yet"


def test_a_channel_that_stands_still_is_no_information():
    """A joint that nobody of the batch labels leaves a map of zeros."""
    x, y = gaussians(2, 3, (16, 48), torch.Generator().manual_seed(0))
    plain = gaussian_information(x, y)
    y = torch.cat((y, torch.zeros_like(y[..., :1])), -1).requires_grad_()
    found = gaussian_information(x, y)
    found.backward()
    assert found.item() == pytest.approx(plain.item(), abs=0.02) and y.grad.isfinite().all()


def walkers(people: int, seed: int) -> Float[Tensor, "p 3 48 k"]:
    """Maps of made people in three moments as the small network sees them, by tokens; the first is
    an estimator's, two px beside and half as high.
    """
    model = build("stdpose", replace(config_of("stdpose", "small"), mi=False))
    joints = [gait_joints_mm(3, 6.0, np.random.default_rng((seed, i))) for i in range(people)]
    xy = np.stack([skeleton_joints(each, "posetrack15")[..., :2] for each in joints]) * [1, -1]
    xy -= xy.mean((1, 2), keepdims=True)
    xy = xy / np.abs(xy).max((1, 2, 3), keepdims=True) * 55 + [48, 64]  # px of the crop
    xy[:, 0] += np.random.default_rng(seed).normal(0, 2, xy[:, 0].shape)
    maps = model.encode(torch.from_numpy(xy).float(), torch.ones(people, 3, 15))
    maps[:, 0] /= 2
    return F.avg_pool2d(maps.flatten(0, 1), 4).flatten(2).mT.unflatten(0, (people, 3))


def test_strangers_tell_nothing_of_each_other():
    """Labels of people and maps of others, which are no Gaussians and whose places hang together:
    within 0.08 nats in the mean of 200 batches of eight. A formula that takes each place for a pair
    of its own finds three times as much and more.
    """
    maps, generator = walkers(160, 0), torch.Generator().manual_seed(0)
    nothing, formula = [], []
    for _ in range(200):
        one, other = torch.randperm(160, generator=generator)[:16].split(8)
        label, fused, key = maps[one, 1], maps[other, 2], maps[other, 0]
        pair = gaussian_information(label, fused), conditional_information(label, fused, key)
        nothing.append(torch.stack(pair))
        uncorrected = nats_of(correlations(whitened(label), whitened(fused)))[0]
        chance = torch.digamma((7 * 48 - torch.arange(30)) / 2)
        formula.append(uncorrected + chance.sum() - 2 * chance[:15].sum())
    assert torch.stack(nothing).mean(0).abs().max() < 0.08
    assert torch.stack(formula).mean() > 0.24
    own = maps[other, 1]
    assert gaussian_information(own, fused) > 1 and conditional_information(own, fused, key) > 1


def test_the_printed_form_praises_a_turn_and_the_exact_one_does_not():
    """The key frame's feature turned out of the fixed directions holds nothing new."""
    generator = torch.Generator().manual_seed(0)
    label, key = torch.rand(32, K, 12, 8, generator=generator), torch.randn(32, 12, 3, 2)
    tokens = F.avg_pool2d(label, 4)
    key[:, :6] += 9 * tokens[:, :6]  # half of the channels know something
    turned = key.roll(6, 1)
    gains = {}
    for name in ("printed", "gaussian"):
        torch.manual_seed(0)
        mutual = MutualInformation(
            12, 6, replace(TINY, tks=False, mi_estimator=name, mi_channels=6)
        )
        if name == "printed":
            mutual.directions.copy_(torch.eye(12)[:, 6:])  # they see the other half
        both = (turned, key), (label, label)
        gains[name] = -mutual(label, *both)["loss.mutual_feature"].item() / TINY.alpha
    assert gains["printed"] > 1 and abs(gains["gaussian"]) < 0.05


@pytest.mark.parametrize("estimator", ["gaussian", "variational", "printed"])
def test_what_was_fused_learns_and_the_key_frame_stands_still(estimator):
    torch.manual_seed(0)
    mutual = MutualInformation(12, 6, replace(TINY, mi_estimator=estimator))
    maps = torch.rand(3, 9, K, 12, 8, requires_grad=True)
    features = torch.randn(2, 9, 12, 3, 2, requires_grad=True)
    losses = mutual(maps[0], (features[0], features[1]), (maps[1], maps[2]))
    (losses["loss.mutual_feature"] + losses["loss.mutual_heatmap"]).backward()
    assert maps.grad[1].any() and features.grad[0].any(), "fused"
    assert not maps.grad[2].any() and not features.grad[1].any(), "the key frame's own"


def test_information_is_gained_and_shed_by_eq_11(whole):
    """What is shared with the label is to grow, what is shared with the key frame to shrink; or
    as Eq. 2 says it, what is shared with the label beyond the key frame is to grow.
    """
    model, inputs, taps, found = whole
    for name, expected in hand_mutual(model, inputs, taps).items():
        assert found[name].item() == pytest.approx(expected, abs=5e-5) and abs(expected) > 0.01


@pytest.mark.parametrize("estimator", ["gaussian", "variational"])
def test_descending_eq_2_gains_what_the_key_frame_does_not_know(estimator):
    """Half of the label is in the key frame's feature; the fused one comes to hold the rest."""
    torch.manual_seed(0)
    mutual = MutualInformation(12, 6, replace(TINY, tks=False, mi_estimator=estimator, alpha=1.0))
    maps, key = torch.rand(24, K, 12, 8), torch.randn(24, 12, 3, 2)
    key[:, :6] += 9 * F.avg_pool2d(maps, 4)[:, :6]
    fused, label = key.clone().requires_grad_(), F.avg_pool2d(maps, 4).flatten(2).mT

    def held() -> float:
        seen = [f.detach().flatten(2).mT for f in (fused, key)]
        return conditional_information(label, *seen).item()

    before, optimiser = held(), torch.optim.Adam([fused, *mutual.parameters()], 0.05)
    for _ in range(60):
        optimiser.zero_grad()
        mutual(maps, (fused, key), (maps, maps))["loss.mutual_feature"].backward()
        optimiser.step()
    assert abs(before) < 0.05 and held() > before + 0.5


def test_readers_know_what_their_likelihoods_say():
    """Two joints, four places, readers set by hand: one guesses, the other is told the place."""
    readers = PlacePredictors(1, 4, 2)
    for part_ in readers.parameters():
        torch.nn.init.zeros_(part_)
    with torch.no_grad():
        readers.of_both.weight[:, 0] = math.log(3.0)
    label = torch.tensor([[[0.0, 0], [2, 0], [0, 0], [0, 0]]])  # the second joint has no label
    y, given = label[..., :1] / 2, torch.zeros(1, 4, 1)
    # the right place has odds of 3 against 1 for each of three others, the guess one in four
    assert readers(label, y, given).item() == pytest.approx(math.log(3 / 6) - math.log(1 / 4))
    found = readers(label, y.roll(1, 1), given).item()
    assert found == pytest.approx(math.log(1 / 6) - math.log(1 / 4)), "misled"


def test_readers_learn_nothing_from_strangers():
    """Readers that have learned on some strangers' pairs are no better on others; what all people
    have in common both know.
    """
    torch.manual_seed(0)
    readers = PlacePredictors(K, 48, K)
    optimiser = torch.optim.Adam(readers.parameters(), 0.05)
    maps, generator = walkers(160, 0), torch.Generator().manual_seed(0)
    for _ in range(150):
        one, other = torch.randperm(128, generator=generator).split(64)
        optimiser.zero_grad()
        (-readers(maps[one, 1], maps[other, 2], maps[other, 0])).backward()
        optimiser.step()
    one, other = torch.arange(128, 160).split(16)
    with torch.no_grad():
        strangers = readers(maps[one, 1], maps[other, 2], maps[other, 0])
    assert abs(strangers) < 0.5, "nats of fifteen joints; without `usual` it is more than 5"


def test_terms_of_information_pull_with_their_share():
    """At what was fused and merged, of the heatmap loss's gradient."""
    torch.manual_seed(3)
    model = STDPose(replace(TINY, mi_share=0.3))
    seen, inputs = {}, example(batch=9)
    for name, module in (("feature", model.tff.out), ("heatmap", model.tks.out)):
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
    found = model(**inputs)
    for name, at in seen.items():
        pulls = [
            torch.autograd.grad(found[loss], at, retain_graph=True)[0].norm()
            for loss in ("loss.heatmap", f"loss.mutual_{name}")
        ]
        assert (pulls[1] / pulls[0]).item() == pytest.approx(0.3, rel=1e-4)


# --- the model ---


def test_annotations_take_the_place_of_the_maps_of_their_frames():
    model, inputs = made(), example()
    inputs["auxiliary_weights"][:, 0, 2] = 0
    inputs["auxiliary_weights"][:, 0, 3] = 1
    with torch.no_grad(), record(model, ["estimated", "frames"]) as taps:
        found = model(**inputs)
    own, used = taps["estimated"], taps["frames"]
    assert torch.equal(used, found["frames"]) and torch.equal(used[:, 1], own[:, 1])
    given = model.encode(inputs["auxiliary_xy_crop"], inputs["auxiliary_weights"])
    assert torch.equal(used[:, 0, 3], given[:, 0, 3]) and torch.equal(used[:, 0, 2], own[:, 0, 2])
    known = inputs["auxiliary_weights"] > 0
    assert torch.equal(used[:, ::2][known], given[known]) and torch.equal(
        used[:, ::2][~known], own[:, ::2][~known]
    )
    with torch.no_grad():
        assert torch.equal(model(inputs["images"])["frames"], own), "estimation: none are given"


def test_what_is_wiped_is_asked_of_the_picture():
    """A wiped joint's own maps are 0 in all frames, told labels stay, other joints and the tokens
    are as they were.
    """
    model, inputs = made(), example()
    wiped = torch.zeros(2, K)
    wiped[0, 3] = 1
    inputs["auxiliary_weights"][0, :, 3] = torch.tensor([1.0, 0.0])
    taps = ["estimated", "frames", "tokens"]
    with torch.no_grad():
        with record(model, taps) as plain:
            model(**inputs)
        with record(model, taps) as found:
            model(**inputs, wiped=wiped)
    assert plain["estimated"][0, :, 3].any() and not found["estimated"][0, :, 3].any()
    left, *others = found["frames"][0, :, 3]
    assert torch.equal(left, plain["frames"][0, 0, 3]) and not torch.stack(others).any()
    rest = wiped[:, None, :, None, None] == 0
    assert torch.equal(found["frames"] * rest, plain["frames"] * rest)
    assert torch.equal(found["tokens"], plain["tokens"])
    model = made(replace(TINY, frame_weight=1.0))
    losses = (model(**inputs, wiped=wiped)["loss.frame"], model(**inputs)["loss.frame"])
    assert torch.equal(*losses), "the single frame learns from all joints"


@pytest.mark.parametrize("name", TABLE_4)
def test_rows_of_table_4_look_at_what_they_have(name):
    """(a) sees the key frame alone, (b) also the other pictures, (c) to (f) the annotations too."""
    model, inputs = made(row(name)), example()
    other = inputs["images"].clone()
    other[:, 2] = 0
    with torch.no_grad():
        plain = model(inputs["images"])["heatmaps"]
        pictures = model(other)["heatmaps"]
        told = model(inputs["images"], auxiliary_xy_crop=inputs["auxiliary_xy_crop"])["heatmaps"]
    assert torch.equal(plain, pictures) == (name == "a")
    assert torch.equal(plain, told) == (name in "ab")
    parts = {
        part for part in ("tff", "tks", "dam", "stda", "mutual") if getattr(model, part) is not None
    }
    ticks = {
        "a": "",
        "b": "tff",
        "c": "tks",
        "d": "tff tks stda",
        "e": "tff tks stda dam",
        "f": "tff tks stda dam mutual",
    }
    assert parts == set(ticks[name].split())


def test_the_plain_rows_are_head_and_merged_maps():
    inputs = example()
    with torch.no_grad():
        baseline = made(row("a"))
        alone = baseline.head(baseline.backbone(inputs["images"][:, 1]))
        torch.testing.assert_close(baseline(inputs["images"])["heatmaps"], alone)
        fusing = made(row("b"))
        fused = fusing.tff(fusing.features_of(inputs["images"]))
        torch.testing.assert_close(fusing(inputs["images"])["heatmaps"], fusing.head_fused(fused))
        merging = made(row("c"))
        found = merging(inputs["images"])
        torch.testing.assert_close(found["heatmaps"], merging.tks(found["frames"]))


def test_heads_begin_next_to_zero():
    with torch.no_grad():
        for found in (STDPose(TINY)(example()["images"]), STDPose(row("b"))(example()["images"])):
            assert all(value.abs().max() < 0.05 for value in found.values())


def test_features_made_before_take_the_place_of_pictures():
    model, inputs = made(), example()
    images = inputs.pop("images")
    with torch.no_grad():
        features = model.features_of(images)
        torch.testing.assert_close(
            model(features=features, **inputs)["heatmaps"], model(images, **inputs)["heatmaps"]
        )
    for wrong in ({}, {"images": images, "features": features}):
        with pytest.raises(BadParameter, match="give one of the two"):
            model(**wrong)


def test_the_terms_are_eq_4_and_5(whole):
    """Squared errors of labelled joints, and both of Eq. 2 or Eq. 11; `loss.frame` and `loss.fused`
    are ours.
    """
    model, inputs, taps, found = whole
    truth, v = hand_truth(inputs), inputs["weights"]
    assert 0 < v.sum() < v.numel()
    terms = {"loss.heatmap": (found["heatmaps"], 1), "loss.frame": (taps["estimated"][:, 1], 0.5)}
    for name, (maps, weight) in terms.items():
        close(found[name], weight * (v * ((maps - truth) ** 2).sum((-2, -1))).sum() / 9)
    mutual = hand_mutual(model, inputs, taps)
    for name, expected in mutual.items():
        assert found[name].item() == pytest.approx(expected, abs=5e-5)
    if model.config.fused_weight:
        maps = hand_head(part(model.state_dict(), "head_fused"), taps["tff.out"])
        expected = 0.7 * (v * ((maps - truth) ** 2).sum((-2, -1))).sum() / 9
        close(found["loss.fused"], expected)
        terms["loss.fused"] = ()
    assert {k for k in found if k.startswith("loss.")} == {*terms, *mutual}
    assert "loss.frame" not in made(replace(TINY, frame_weight=0.0))(**example()), "as printed"


@pytest.mark.parametrize(
    ("size", "padded", "grid"),
    [
        ((192, 256), (192, 256), (48, 64)),
        ((288, 384), (288, 384), (72, 96)),
        ((168, 224), (176, 224), (44, 56)),
    ],
)
def test_sizes_that_16_does_not_divide_are_padded(size, padded, grid):
    config = STDPoseConfig(size=size)
    assert config.padded == padded and config.grid == grid


def test_padding_is_on_the_right_and_below_and_places_stay():
    config = tiny("stdpose", "padded", alignment="udp")
    model, inputs = made(config), example(config)
    with torch.no_grad():
        wide = F.pad(inputs["images"], (0, 8, 0, 8))
        expected = model.backbone(wide.flatten(0, 1)).unflatten(0, (2, 3))
        torch.testing.assert_close(model.features_of(inputs["images"]), expected)
    assert config.size == (24, 40) and config.padded == (32, 48) and config.grid == (8, 12)
    by_hand = torch.tensor(
        [[7 / 31, 0, 0], [0, 11 / 47, 0]]
    )  # UDP: first and last pixel of the padded crop and of the grid
    torch.testing.assert_close(model.to_heatmap, by_hand)
    xy = torch.tensor([[[3.0, 5.0], [23.0, 39.0]]])
    peaks = model.encode(xy, torch.ones(1, 2)).flatten(2).argmax(-1)
    assert peaks.tolist() == [[8 * 1 + 1, 8 * 9 + 5]], "23 * 7 / 31 = 5.2, 39 * 11 / 47 = 9.1"
    found, confidence = model.decode({"heatmaps": model.encode(xy, torch.ones(1, 2))})
    assert (found - xy).abs().max() < 2.1 and confidence.min() > 0.7, "to half a heatmap px"


def test_vitpose_weights_fit_backbone_and_head():
    torch.manual_seed(9)
    other = KeypointMaps(
        Backbone(TINY.backbone, TINY.padded, TINY.widths, TINY.depths),
        HeatmapHead(12, K, TINY.deconv),
    )
    model = made()
    report = load_into(model, other.state_dict(), partial=True)
    assert not report.unexpected
    images = example()["images"]
    with torch.no_grad():
        found = model(images)["frames"][:, 0]
        torch.testing.assert_close(found, other.eval()(images[:, 0]))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stda": False, "dam": False}, "switch STDA on"),
        ({"stda": False, "tks": False, "mi": False}, "a mask without"),
        ({"tff": False, "tks": False}, "information of nothing"),
    ],
)
def test_configurations_that_cannot_be(wrong, said):
    with pytest.raises(BadParameter, match=said):
        STDPoseConfig(**wrong)


def test_backbones_without_tokens_and_heads_that_do_not_fit_are_refused():
    with pytest.raises(BadParameter, match="choose a ViT"):
        STDPose(
            replace(
                TINY, size=(32, 64), backbone="resnet18", widths=(8, 8, 12, 16), depths=(1, 1, 1, 1)
            )
        )
    with pytest.raises(BadParameter, match="5 heads of 12"):
        STDPose(replace(TINY, heads=5))


def test_it_works_in_bf16_and_with_channels_last():
    model, inputs = made(), example(batch=3)
    plain = model(**inputs)
    swapped = made().to(memory_format=torch.channels_last)(**inputs)
    torch.testing.assert_close(swapped["heatmaps"], plain["heatmaps"])
    with torch.autocast("cpu", torch.bfloat16):
        found = model(**inputs)
    losses = {k: v for k, v in found.items() if k.startswith("loss.")}
    assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert (found["heatmaps"] - plain["heatmaps"]).abs().max() < 0.1


def test_a_few_steps_lower_the_loss():
    torch.manual_seed(0)
    model, inputs = STDPose(TINY).train(), example(batch=4)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    seen = []
    for _ in range(12):
        found = model(**inputs)
        seen.append([found[f"loss.{name}"].item() for name in ("heatmap", "frame")])
        optimiser.zero_grad()
        sum(v for k, v in found.items() if k.startswith("loss.")).backward()
        optimiser.step()
    assert all(end < 0.9 * begin for begin, end in zip(*(seen[i] for i in (0, -1))))


def test_the_small_configuration_can_be_shipped(tmp_path):
    path = checkpoint.save(
        tmp_path / "small.safetensors", build("stdpose", "small"), {"model": "stdpose"}
    )
    assert path.stat().st_size <= 4_000_000
