"""PORT's equations on values that can be checked by hand."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from tests.models.by_hand import (
    attention,
    close,
    heads_side_by_side,
    layer_norm,
    linear,
    mlp,
    part,
    perturbed,
    relu,
)
from tests.models.tiny import tiny
from workbench.errors import BadParameter
from workbench.models import build
from workbench.models.layers import (
    Attention,
    attention_weights,
    count_parameters,
    merge_heads,
    split_heads,
)
from workbench.models.port import (
    MSGC,
    EncoderLayer,
    JointEmbedding,
    Port,
    PortConfig,
    RegressionHead,
    adjacency_powers,
    closeness,
    closeness_loss,
    leak_free_embedding,
    masked_joint_distance,
    masked_joint_nll,
    msgc,
    normalised_adjacency,
    occluded_joints,
    replace_occluded,
)

CHAIN = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])  # three joints in a row
# with itself each joint has 2, 3 and 2 neighbours: their roots divide rows and columns
NORMALISED = torch.tensor(
    [
        [1 / 2, 1 / math.sqrt(6), 0],
        [1 / math.sqrt(6), 1 / 3, 1 / math.sqrt(6)],
        [0, 1 / math.sqrt(6), 1 / 2],
    ]
)


def hand_msgc(state, a, x):
    """Eq. 4 with K = {1, 2}: the mean of A~ X W_1 and A~ A~ X W_2, and a bias."""
    first = torch.einsum("nm,bmc,cd->bnd", a, x, state["weight"][0])
    second = torch.einsum("nl,lm,bmc,cd->bnd", a, a, x, state["weight"][1])
    return (first + second) / 2 + state["bias"]


@pytest.fixture
def layer():
    """An encoder layer of three joints, of which nothing vanishes; D = 5, three heads of 7."""
    torch.manual_seed(1)
    config = PortConfig(dim=5, heads=3, head_dim=7)
    return perturbed(EncoderLayer(adjacency_powers(CHAIN, (1, 2)), config))


def test_adjacency_is_normalised_symmetrically():
    a = normalised_adjacency(CHAIN)
    torch.testing.assert_close(a, NORMALISED)
    powers = adjacency_powers(CHAIN, (1, 2))
    torch.testing.assert_close(powers[1], a @ a)
    assert powers[1, 0, 2] > 0 and powers[0, 0, 2] == 0, "the second power reaches two bones away"
    torch.testing.assert_close(adjacency_powers(CHAIN, ()), torch.eye(3)[None])


def test_msgc_is_the_mean_over_powers_as_printed():
    """PORT Eq. 4, summed term by term; with one W for all powers, and for none a linear layer."""
    torch.manual_seed(1)
    powers, a = adjacency_powers(CHAIN, (1, 2)), NORMALISED
    x, w, bias = torch.randn(2, 3, 5), torch.randn(2, 5, 7), torch.randn(7)
    close(msgc(powers, x, w, bias), hand_msgc({"weight": w, "bias": bias}, a, x))
    close(msgc(powers, x, w), (a @ x @ w[0] + a @ a @ x @ w[1]) / 2)
    one = MSGC(powers, 5, 7, shared=True)
    close(one(x), (a + a @ a) @ x @ one.weight[0] / 2 + one.bias)
    close(msgc(adjacency_powers(CHAIN, ()), x, w[:1]), x @ w[0])
    third = torch.linalg.multi_dot([a, a, a])
    close(msgc(adjacency_powers(CHAIN, (1, 3)), x, w), (a @ x @ w[0] + third @ x @ w[1]) / 2)


def test_attention_is_softmax_over_keys(layer):
    """PORT Eq. 7 on two joints: logits (0, ln 3) give weights 1/4 and 3/4. A layer divides by the
    root of a head's width.
    """
    q = torch.tensor([[[[2.0]]]])
    k = torch.tensor([[[[0.0], [math.log(3)]]]])
    torch.testing.assert_close(attention_weights(q, k, 0.5), torch.tensor([[[[0.25, 0.75]]]]))
    blocked = torch.tensor([[[[False, True]]]])
    torch.testing.assert_close(
        attention_weights(q, k, 0.5, blocked), torch.tensor([[[[1.0, 0.0]]]])
    )
    attend = Attention(scale=0.5)
    v = torch.tensor([[[[4.0], [8.0]]]])
    torch.testing.assert_close(attend(q, k, v), torch.tensor([[[[0.25 * 4 + 0.75 * 8]]]]))
    q, k, v = torch.randn(3, 2, 5, 7)
    each = layer.attention(q[None], k[None], v[None])
    close(each[0], attention(q, k, v))
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(split_heads(x, 3)[:, 1, 2], x[:, 2, 4:8])
    torch.testing.assert_close(merge_heads(split_heads(x, 3)), x)


def test_heads_divide_by_the_root_of_the_dimension():
    model = Port()
    assert {layer.attention.scale for layer in model.encoder} == {1 / 8.0}


def test_table_ii_half_a_million_parameters():
    """PORT Table II prints 0.5 M. Six readings of Eq. 4 to 9 come to that, of heads as wide as D
    all, with W of their own for each power or one; so it decides between none of them.
    """
    assert count_parameters(Port()) == 532_050
    counts = {}
    for width, shared, ratio in product((16, 64), (False, True), (1, 2, 4, 8)):
        model = Port(PortConfig(head_dim=width, shared_weight=shared, mlp_ratio=ratio))
        counts[width, shared, ratio, True] = count_parameters(model)
        after_heads = sum(count_parameters(layer.project) for layer in model.encoder)
        # the mean of heads as wide as D asks for no projection
        counts[width, shared, ratio, False] = count_parameters(model) - after_heads
    fitting = {reading: n for reading, n in counts.items() if round(n / 1e6, 1) == 0.5}
    assert fitting == {
        (64, False, 1, True): 499_026,
        (64, False, 2, True): 532_050,
        (64, True, 8, True): 533_458,
        (64, False, 2, False): 466_258,
        (64, False, 4, False): 532_306,
        (64, True, 8, False): 467_666,
    }
    assert counts[16, True, 2, True] == 136_402, "heads of D / 4 and one W"


def test_nll_is_over_masked_joints_only():
    """PORT Eq. 12: (5^2 + 1^2) / 2; the network's own loss is that of its answer."""
    truth = torch.ones(1, 3, 2)
    recon = truth + torch.tensor([[[3.0, -4.0], [100.0, 0.0], [0.0, -1.0]]])
    mask = torch.tensor([[True, False, True]])
    assert masked_joint_nll(recon, truth, mask).item() == 13.0
    assert masked_joint_nll(recon, truth, torch.zeros_like(mask)).item() == 0.0
    torch.manual_seed(1)
    model = build("port", tiny("port")).eval()
    xy, truth = torch.randn(2, 2, 21, 2)
    mask = torch.rand(2, 21) < 0.3
    found = model(xy, mask, truth)
    apart = [((found["xy"] - truth)[i, n] ** 2).sum() for i, n in mask.nonzero().tolist()]
    close(found["loss.nll"], sum(apart) / len(apart))


def test_the_distance_loss_is_a_distance():
    truth = torch.zeros(1, 2, 2)
    recon = torch.tensor([[[3.0, 4.0], [99.0, 0.0]]])
    mask = torch.tensor([[True, False]])
    assert masked_joint_distance(recon, truth, mask).item() == pytest.approx(5.0, abs=1e-4)


def test_confidence_is_a_channel_only_where_configured():
    torch.manual_seed(1)
    xy, mask = torch.randn(1, 21, 2), torch.zeros(1, 21, dtype=torch.bool)
    for config, matters in (("paper", False), ("denoise", True)):
        model = build("port", config).eval()
        a, b = (model(xy, mask, confidence=torch.full((1, 21), c))["xy"] for c in (0.2, 0.9))
        assert torch.equal(a, b) != matters
    with pytest.raises(BadParameter, match="frame is 'box'"):
        PortConfig(frame="box")


def test_refinement_replaces_below_delta_only():
    """PORT Eq. 13 and 14."""
    confidence = torch.tensor([[0.1, 0.3, 0.29]])
    mask = occluded_joints(confidence, 0.3)
    assert mask.tolist() == [[True, False, True]]
    assert occluded_joints(confidence, torch.tensor([0.0, 0.5, 0.5])).tolist() == [
        [False, True, True]
    ]
    xy, recon = torch.tensor([[[1.0, 2], [3, 4], [5, 6]]]), torch.arange(7.0, 13).view(1, 3, 2)
    assert replace_occluded(xy, recon, mask).tolist() == [[[7, 8], [3, 4], [11, 12]]]


def test_the_mask_embedding_takes_the_row():
    torch.manual_seed(1)
    embed = perturbed(JointEmbedding(adjacency_powers(CHAIN, (1, 2)), PortConfig(dim=7)))
    state, x = embed.state_dict(), torch.randn(2, 3, 2)
    mask = torch.tensor([[False, True, False], [True, False, False]])
    expected = hand_msgc(part(state, "project"), NORMALISED, x)
    expected[0, 1] = expected[1, 0] = state["mask_embedding"]
    close(embed(x, mask), expected)


@pytest.mark.parametrize(("leak_free", "leaks"), [(False, True), (True, False)])
def test_a_masked_joint_leaks_into_its_neighbours_unless_told(leak_free, leaks):
    """Eq. 5 mixes neighbours before the mask embedding is put in: moving a masked joint changes
    the others' rows.
    """
    torch.manual_seed(1)
    model = build("port", "paper", leak_free=leak_free).eval()
    xy = torch.randn(1, 21, 2)
    mask = torch.zeros(1, 21, dtype=torch.bool)
    mask[0, 7] = True
    moved = xy.clone()
    moved[0, 7] += 5
    assert (not torch.equal(model(xy, mask)["xy"], model(moved, mask)["xy"])) == leaks


def test_leak_free_rows_keep_their_weight():
    """With nothing hidden it is Eq. 5; with one neighbour hidden the rest stand for it."""
    torch.manual_seed(1)
    powers, xy, w = adjacency_powers(CHAIN, (1, 2)), torch.randn(1, 3, 2), torch.randn(2, 2, 5)
    none = torch.zeros(1, 3, dtype=torch.bool)
    torch.testing.assert_close(leak_free_embedding(powers, xy, w, none), msgc(powers, xy, w))
    same = xy[:, :1].expand(1, 3, 2)
    hidden = torch.tensor([[False, False, True]])
    torch.testing.assert_close(leak_free_embedding(powers, same, w, hidden), msgc(powers, same, w))
    everything = torch.ones(1, 3, dtype=torch.bool)
    assert torch.equal(leak_free_embedding(powers, xy, w, everything), torch.zeros(1, 3, 5))


def test_the_head_is_eq_10_then_eq_11():
    """Written out: Sigmoid(W2 ReLU(W1 mean)) weighs the channels, then a linear map; without SE
    only the map.
    """
    torch.manual_seed(1)
    head = RegressionHead(PortConfig(dim=8))
    z = torch.randn(3, 5, 8)
    first, second = head.excite[0], head.excite[2]
    squeezed = sum(z[:, n] for n in range(5)) / 5
    hidden = (squeezed @ first.weight.T + first.bias).clamp_min(0)
    gate = 1 / (1 + (-(hidden @ second.weight.T + second.bias)).exp())
    expected = (gate[:, None] * z) @ head.project.weight.T + head.project.bias
    torch.testing.assert_close(head(z), expected)
    assert (squeezed @ first.weight.T + first.bias).min() < 0, "the ReLU is at work"
    plain = RegressionHead(PortConfig(dim=8, se=False))
    torch.testing.assert_close(plain(z), plain.project(z))


def test_residual_starts_from_the_input():
    model = build("port", "denoise").eval()
    torch.nn.init.zeros_(model.head.project.weight), torch.nn.init.zeros_(model.head.project.bias)
    xy = torch.randn(1, 21, 2)
    assert torch.equal(model(xy, torch.zeros(1, 21, dtype=torch.bool))["xy"], xy)


def test_powers_are_not_weights():
    model = Port()
    assert not [k for k in model.state_dict() if "powers" in k]
    assert isinstance(model.embedding.project, MSGC)
    with pytest.raises(BadParameter, match="exponents"):
        PortConfig(exponents=(0, 1))
    with pytest.raises(BadParameter, match="leak_free"):
        PortConfig(leak_free=True, residual=True)


def test_queries_keys_and_values_are_graph_convolutions(layer):
    """PORT Eq. 6: the three come from MSGC of the normalised layer input, heads side by side."""
    full = Port().encoder[0]
    assert isinstance(full.qkv, MSGC) and tuple(full.qkv.weight.shape) == (2, 64, 3 * 4 * 64)
    z, state = torch.randn(2, 3, 5), layer.state_dict()
    seen = {}
    layer.attention.register_forward_pre_hook(lambda _, given: seen.update(qkv=given))
    layer(z)
    by_hand = hand_msgc(part(state, "qkv"), NORMALISED, layer_norm(part(state, "norm1"), z))
    for i, found in enumerate(seen["qkv"][:3]):  # [batch head joint channel]
        for head in range(3):
            begin = 21 * i + 7 * head
            close(found[:, head], by_hand[..., begin : begin + 7])


def test_an_encoder_layer_is_eq_8_then_eq_9(layer):
    z, state = torch.randn(2, 3, 5), layer.state_dict()
    h = layer_norm(part(state, "norm1"), z)
    q, k, v = hand_msgc(part(state, "qkv"), NORMALISED, h).chunk(3, -1)
    middle = z + linear(part(state, "project"), heads_side_by_side(q, k, v, 3))
    h = layer_norm(part(state, "norm2"), middle)
    close(layer(z), middle + mlp(part(state, "mlp"), h, relu))


def test_closeness_is_a_half_one_tolerance_away():
    """1, 1/2 and 1/10 at none, one and three tolerances, of each joint its own."""
    truth = torch.zeros(1, 3, 2)
    xy = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [0.0, 6.0]]])
    near = closeness(xy, truth, torch.tensor([1.0, 5.0, 2.0]))
    torch.testing.assert_close(near, torch.tensor([[1.0, 0.5, 0.1]]))


def test_the_judge_is_right_where_it_expects_the_mean():
    """Cross entropy of 1/4 against 1/4 is the entropy, over the masked joints alone."""
    logits = torch.tensor([[[math.log(1 / 3), math.log(1 / 3)], [9.0, 9.0]]], requires_grad=True)
    close = torch.tensor([[[0.25, 0.25], [0.0, 0.0]]])
    mask = torch.tensor([[True, False]])
    loss = closeness_loss(logits, close, mask)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert loss.item() == pytest.approx(2 * entropy, rel=1e-5)
    loss.backward()
    assert logits.grad.abs().max() < 1e-6


def judged_example():
    torch.manual_seed(1)
    model = build("port", "abstain")
    xy, truth = torch.randn(2, 17, 2), torch.randn(2, 17, 2)
    return model, {"xy": xy, "mask": torch.ones(2, 17, dtype=torch.bool), "truth": truth}


def test_the_judge_moves_no_joint():
    """What it learns does not pull the reconstruction towards what is easily judged."""
    model, inputs = judged_example()
    found = model(**inputs)
    assert found["closeness"].shape == (2, 17, 2)
    found["loss.closeness"].backward()
    assert model.head.project.weight.grad is None
    assert model.judge.layers[0].weight.grad.abs().sum() > 0
    plain = build("port", "denoise", skeleton="coco17")
    assert "closeness" not in plain(inputs["xy"], inputs["mask"])


def test_joints_without_truth_are_not_asked_for():
    model, inputs = judged_example()
    known = torch.ones(2, 17, dtype=torch.bool)
    known[:, 3] = False
    elsewhere = inputs["truth"].clone()
    elsewhere[:, 3] += 99
    a, b = (model(**inputs | {"truth": t, "known": known}) for t in (inputs["truth"], elsewhere))
    for name in ("loss.nll", "loss.distance", "loss.closeness"):
        assert a[name] == b[name] and a[name] != model(**inputs)[name]
