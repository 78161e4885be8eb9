from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest
import torch

from tests.models.by_hand import (
    attention,
    close,
    layer_norm,
    linear,
    mlp,
    part,
    perturbed,
    relu,
    silu,
)
from tests.models.tiny import tiny
from workbench import checkpoint
from workbench.codecs import encode_heatmaps, encode_simcc
from workbench.errors import BadParameter
from workbench.models import build, config_of, entry
from workbench.models.layers import count_parameters
from workbench.models.vissimcc import (
    RELEASED,
    VisibilityReasoning,
    VisNet,
    VisSimCC,
    VisSimCCConfig,
    label_mask,
    masked_features,
    released_visibility_loss,
    visibility_loss,
    visibility_mask,
)
from workbench.skeletons import skeleton
from workbench.taps import record, tap_table

TINY = tiny("vissimcc")
LABELS = torch.tensor([[0, 1, 2]])
MODULE = VisSimCCConfig(skeleton="crowdpose14", dim=6, layers=2, visnet=(5, 3))


def example(config: VisSimCCConfig, batch: int = 3):
    return entry("vissimcc").example(config, batch, torch.Generator().manual_seed(5))


# --- equations ---


def module_by_hand(labels=None):
    """A module of which nothing vanishes, features, what its taps saw, and its tensors."""
    torch.manual_seed(2)
    module = perturbed(VisibilityReasoning(7, MODULE))
    feature = torch.randn(2, 14, 7)
    with torch.no_grad(), record(module) as taps:
        module(feature, labels)
    return feature, taps, module.state_dict()


def hand_visibility(state, feature):
    """sigmoid(V(x)): three linear maps, ReLU between them."""
    hidden = mlp(part(state, "visnet"), feature, relu)
    logits = linear(part(state, "visnet.4"), relu(hidden))[..., 0]
    return 1 / (1 + (-logits).exp())


def test_the_mask_keeps_visible_joints_although_eq_3_prints_the_opposite():
    assert visibility_mask(torch.tensor([[0.49, 0.5, 0.9]])).tolist() == [
        [pytest.approx(0.01), 1, 1]
    ]
    assert visibility_mask(torch.tensor([[0.6, 0.8]]), 0.2, 0.7).tolist() == [
        [pytest.approx(0.2), 1]
    ]
    assert label_mask(LABELS).tolist() == [[pytest.approx(0.01), pytest.approx(0.01), 1]]
    assert label_mask(LABELS, raw=True).tolist() == [[pytest.approx(0.01), 1, 0]], (
        "as released: inverted"
    )
    feature, taps, state = module_by_hand()
    probability = hand_visibility(state, feature)
    close(taps["visibility"], probability)
    close(taps["mask"], torch.where(probability < 0.5, 0.01, 1.0))
    assert (
        0 < (probability < 0.5).float().mean() < 1 and (probability[probability > 0.5] < 0.7).any()
    )


def test_masked_features_are_scaled_joint_by_joint():
    feature = torch.tensor([[[2.0, 3], [4, 5], [-6, 7]]])
    masked = masked_features(feature, torch.tensor([[1, 0.5, 0.25]]))
    assert masked.tolist() == [[[2, 3], [2, 2.5], [-1.5, 1.75]]]
    feature, taps, _ = module_by_hand()
    close(taps["masked"], torch.einsum("bkf,bk->bkf", feature, taps["mask"]))


def test_visibility_loss_is_binary_joint_by_joint():
    logits, visible = torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([[True, True, False]])
    expected = (math.log(2) + math.log(1 + math.exp(-3)) + math.log(1 + math.exp(1))) / 3
    assert visibility_loss(logits, visible).item() == pytest.approx(expected, rel=1e-5)
    assert released_visibility_loss(logits, visible) > 0.6, "in a softmax both cannot be visible"


def test_an_attention_head_is_eq_5_and_heads_are_joined_by_eq_6():
    """With the residual and the norms before both modules that Sec. 4.3 has."""
    torch.manual_seed(3)
    block = perturbed(VisibilityReasoning(7, MODULE).blocks[0])
    z, state = torch.randn(2, 14, 6), block.state_dict()

    def attend(x):
        q, k, v = (linear(part(state, name), x) for name in ("query", "key", "value"))
        # d_h = 3: columns of the projections belong to one head
        heads = [attention(*(x[..., i : i + 3] for x in (q, k, v))) for i in (0, 3)]
        return linear(part(state, "project"), torch.cat(heads, -1))

    close(block.attend(z), attend(z))
    y = z + attend(layer_norm(part(state, "norm1"), z))
    close(block(z), y + mlp(part(state, "mlp"), layer_norm(part(state, "norm2"), y), silu))


def hand_distribution(at, bins: int, sigma: float):
    """SimCC's label: exp(-(i - at)^2 / (2 sigma^2)), divided by its sum over the bins."""
    heights = torch.exp(-((torch.arange(bins) - at[..., None]) ** 2) / (2 * sigma**2))
    return heights / heights.sum(-1, keepdim=True)


@pytest.mark.parametrize("output", ["simcc", "heatmap"])
def test_the_loss_is_eq_8(output):
    """Pose by Eq. 2 or 1 over labelled joints, lambda times visibility by Eq. 7: a joint that is
    not labelled counts as occluded there.
    """
    config = replace(TINY, visibility_weight=3.0, output=output)
    torch.manual_seed(1)
    model, inputs = VisSimCC(config).eval(), example(config)
    found, labels = model(**inputs), inputs["visibility"]
    assert set(labels.unique().tolist()) == {0, 1, 2}
    if output == "simcc":
        joints = 0
        for axis, at, pixels in zip("xy", inputs["xy_crop"].unbind(-1), config.size):
            target = hand_distribution(at * 1.5, round(pixels * 1.5), config.sigma)
            joints = joints + torch.xlogy(target, target / found[axis]).sum(-1)
        pose = torch.where(labels > 0, joints, 0).mean()
    else:
        at = inputs["xy_crop"] * torch.tensor([3 / 31, 7 / 63])  # from corner to corner: udp
        x, y = (torch.arange(n) - p[..., None] for n, p in zip((4, 8), at.unbind(-1)))
        target = torch.exp(-(y[..., :, None] ** 2 + x[..., None, :] ** 2) / 2)
        error = ((found["heatmaps"] - target) ** 2).sum((-2, -1))
        pose = torch.where(labels > 0, error, 0).sum() / 3
    close(found["loss.pose"], pose)
    p = found["visibility"]
    likelihood = torch.where(labels == 2, p, 1 - p)
    close(found["loss.visibility"], -3 * likelihood.log().mean())
    assert {k for k in found if k.startswith("loss.")} == {"loss.pose", "loss.visibility"}


# --- the module ---


def test_visnet_at_the_papers_size_is_under_a_megabyte():
    assert 4 * count_parameters(VisNet(48 * 64)) < 1e6


def test_visnet_learns_without_moving_the_estimator():
    model = build("vissimcc", tiny("vissimcc"))
    found = model(**example(TINY))
    found["loss.visibility"].backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert moved and all(name.startswith("reasoning.visnet.") for name in moved)
    model.zero_grad()
    model(**example(TINY))["loss.pose"].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.reasoning.visnet.parameters())


def test_three_sources_of_visibility():
    torch.manual_seed(2)
    module = VisibilityReasoning(7, MODULE).eval()
    feature, labels = torch.randn(2, 14, 7), torch.randint(0, 3, (2, 14))

    def mask(source):
        with record(module, ["mask"]) as taps:
            module(feature, labels, source)
        return taps["mask"]

    assert torch.equal(mask("truth"), label_mask(labels))
    assert (mask("none") == 1).all()
    assert torch.equal(mask("predicted"), visibility_mask(module(feature)["visibility"]))
    assert torch.equal(mask(None), mask("predicted"))
    with pytest.raises(BadParameter, match="no labels were given"):
        module(feature, None, "truth")
    blind = VisibilityReasoning(7, replace(MODULE, visibility="none"))
    assert blind.visnet is None and "visibility" not in blind(feature)
    with pytest.raises(BadParameter, match="no VisNet"):
        blind(feature, labels, "predicted")


def test_forcing_a_joint_hidden_keeps_its_feature_from_the_others():
    """A switch of the explorer: what a hidden joint holds changes the others a hundred times
    less.
    """
    torch.manual_seed(4)
    module = VisibilityReasoning(7, MODULE).eval()
    feature = torch.randn(1, 14, 7)
    other = feature.clone()
    other[0, 5] += 1
    elsewhere = [i for i in range(14) if i != 5]
    moved = {}
    for name, value in (("seen", 1.0), ("hidden", 0.0)):

        def force(p, value=value):
            return torch.cat((p[:, :5], torch.full_like(p[:, 5:6], value), p[:, 6:]), 1)

        with record(module, ["mask"], edit={"visibility": force}) as taps:
            pair = [module(f)["feature"] for f in (feature, other)]
        assert taps["mask"][0, 5].item() == pytest.approx(max(value, 0.01))
        moved[name] = (pair[0] - pair[1])[0, elsewhere].abs().max().item()
    assert moved["hidden"] < 0.05 * moved["seen"]


def test_masked_joints_are_told_apart_by_their_embedding():
    module = VisibilityReasoning(7, replace(MODULE, visibility="truth")).eval()
    plain = VisibilityReasoning(
        7, replace(MODULE, visibility="truth", joint_embedding=False)
    ).eval()
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if k != "joints"})
    nothing, hidden = torch.zeros(1, 14, 7), torch.ones(1, 14, dtype=torch.long)
    assert (
        plain(nothing, hidden)["feature"].std(1).max()
        < 1e-6
        < module(nothing, hidden)["feature"].std(1).min()
    )


@pytest.mark.parametrize("residual", ["masked", "none"])
def test_no_way_round_the_mask_but_the_released_one(residual):
    config = replace(MODULE, visibility="truth", hidden=0.0, residual=residual)
    hidden = torch.ones(1, 14, dtype=torch.long)
    a, b = torch.randn(2, 1, 14, 7).unbind()
    module = VisibilityReasoning(7, config).eval()
    assert torch.equal(module(a, hidden)["feature"], module(b, hidden)["feature"])
    released = VisibilityReasoning(7, replace(config, unmasked_residual=True)).eval()
    difference = released(a, hidden)["feature"] - released(b, hidden)["feature"]
    torch.testing.assert_close(difference, a - b)


def test_without_attention_no_joint_hears_of_another():
    feature = torch.randn(1, 14, 7)
    other = feature.clone()
    other[:, 3] += 1
    for heard, moved in ((False, [3]), (True, list(range(14)))):
        config = replace(MODULE, visibility="none", attention=heard)
        module = VisibilityReasoning(7, config).eval()
        away = (module(other)["feature"] - module(feature)["feature"]).abs().amax((0, 2))
        assert torch.nonzero(away).flatten().tolist() == moved
        assert any("query" in name for name in module.state_dict()) == heard


# --- the estimator ---


def test_without_reasoning_it_is_the_plain_estimator():
    model = build("vissimcc", tiny("vissimcc", "plain")).eval()
    images = example(TINY)["images"]
    found = model(images)
    feature = model.maps(images).flatten(2)
    torch.testing.assert_close(
        found["x"], (feature @ model.classify["x"].weight.T + model.classify["x"].bias).softmax(-1)
    )
    plain = VisSimCC(replace(TINY, output="heatmap", reasoning=False)).eval()
    assert torch.equal(plain(images)["heatmaps"], plain.maps(images))


@pytest.mark.parametrize("name", ["coco17", "crowdpose14", "jhmdb15"])
def test_any_number_of_joints(name):
    config = replace(TINY, skeleton=name)
    assert VisSimCC(config)(**example(config))["x"].shape[1] == len(skeleton(name))


@pytest.mark.parametrize("variant", ["", "hrnet"])
def test_a_few_steps_lower_both_terms(variant):
    torch.manual_seed(0)
    config = tiny("vissimcc", variant)
    model, inputs = VisSimCC(config), example(config, 2)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    terms = []
    for _ in range(30):
        found = model(**inputs)
        terms.append([found[f"loss.{name}"].item() for name in ("pose", "visibility")])
        optimizer.zero_grad()
        (found["loss.pose"] + found["loss.visibility"]).backward()
        optimizer.step()
    assert all(last < 0.9 * first for first, last in zip(terms[0], terms[-1])), terms


@pytest.mark.parametrize("variant", ["", "hrnet", "vit"])
def test_the_truth_is_read_back(variant):
    """Outputs made from labels decode to the joints: targets, grids and alignment agree."""
    chosen = tiny("vissimcc", variant)
    model, inputs = VisSimCC(chosen), example(chosen)
    xy = inputs["xy_crop"] = 4 + inputs["xy_crop"] * 0.7
    made = {}
    if chosen.output == "simcc":
        made["x"], made["y"] = encode_simcc(xy, chosen.size, chosen.split, chosen.sigma)
        scores = {axis: made[axis].clamp_min(1e-30).log() for axis in "xy"}
        within = 0.5 / chosen.split
    else:
        at = xy @ model.to_heatmap[:, :2].T + model.to_heatmap[:, 2]
        scores = made["heatmaps"] = encode_heatmaps(
            at, torch.ones(xy.shape[:2]), model.grid, chosen.heatmap_sigma
        )
        within = 0.5 * chosen.size[0] / (model.grid[0] - 1)
    assert (model.decode(made)[0] - xy).abs().max() <= within + 1e-3
    loss = model._pose_loss(scores, xy, torch.ones(xy.shape[:2]))
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_unlabelled_joints_have_no_say_in_the_pose():
    model, inputs = build("vissimcc", tiny("vissimcc")).eval(), example(TINY)
    inputs["visibility"][:, 3] = 0
    moved = inputs | {
        "xy_crop": inputs["xy_crop"].index_add(1, torch.tensor([3]), torch.ones(3, 1, 2))
    }
    assert model(**inputs)["loss.pose"] == model(**moved)["loss.pose"]
    seen = (inputs["visibility"] == 2).float()
    assert model(**inputs, weights=seen)["loss.pose"] < model(**inputs)["loss.pose"], (
        "Table 1: visible joints alone"
    )
    with pytest.raises(BadParameter, match="without visibility"):
        model(inputs["images"], xy_crop=inputs["xy_crop"])


@pytest.mark.parametrize("variant", ["", "hrnet"])
def test_the_flip_test_does_not_care_which_side_it_sees_first(variant):
    # with more bins a px the last ones have no mirror image
    chosen = tiny("vissimcc", variant, split=1.0)
    model = VisSimCC(chosen).eval()
    images, other = example(chosen)["images"], skeleton(chosen.skeleton).flip_index.tolist()
    with torch.no_grad():
        xy, _ = model.decode(model.flip_test(images))
        mirrored, _ = model.decode(model.flip_test(images.flip(-1)))
    mirrored = mirrored[:, other]
    torch.testing.assert_close(mirrored[..., 0], chosen.size[0] - 1 - xy[..., 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(mirrored[..., 1], xy[..., 1], atol=1e-3, rtol=0)


def test_the_flip_test_mirrors_the_labels_too():
    model = VisSimCC(replace(TINY, visibility="truth")).eval()
    inputs = example(TINY)
    labels = inputs["visibility"]
    with record(model, ["reasoning.mask"]) as taps:
        model.flip_test(inputs["images"], labels)
    here, there = taps.calls("reasoning.mask")
    assert torch.equal(there, here[:, list(skeleton("coco17").flip_index)]) and not torch.equal(
        there, here
    )
    released = VisSimCC(replace(TINY, visibility="truth", mirror_labels=False)).eval()
    with record(released, ["reasoning.mask"]) as taps:
        released.flip_test(inputs["images"], labels)
    assert torch.equal(*taps.calls("reasoning.mask"))


@pytest.mark.parametrize(
    "switch", sorted(set(RELEASED) - {"mirror_labels", "alignment", "raw_labels"})
)
def test_every_switch_changes_what_comes_out(switch):
    def made(config):
        torch.manual_seed(1)
        model = VisSimCC(config).eval()
        state = {
            k: v
            for k, v in base.state_dict().items()
            if k in model.state_dict() and v.shape == model.state_dict()[k].shape
        }
        model.load_state_dict(model.state_dict() | state)
        return {
            k: v
            for k, v in model(**example(config)).items()
            if k in ("x", "loss.pose", "loss.visibility")
        }

    torch.manual_seed(1)
    base = VisSimCC(TINY)
    one, other = made(TINY), made(replace(TINY, **{switch: RELEASED[switch]}))
    assert any((one[k] - other[k]).abs().max() > 1e-5 for k in other)


def test_released_heatmaps_are_trained_as_simple_baseline_was():
    config = replace(
        TINY,
        output="heatmap",
        reasoning=False,
        mean_loss=True,
        released_labels=True,
        alignment="msra",
        heatmap_sigma=2.0,
    )
    model, inputs = VisSimCC(config).eval(), example(TINY)
    found = model(**inputs)
    scale = inputs["xy_crop"] * torch.tensor([4 / 32, 8 / 64])
    near = (scale + 0.5).floor()
    grid = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(8), indexing="xy"), -1)
    gaps = grid - near[:, :, None, None]
    target = torch.exp(-gaps.square().sum(-1) / 8) * (gaps.abs().amax(-1) <= 6)
    weight = (inputs["visibility"] > 0)[..., None, None]
    expected = ((found["heatmaps"] - target).square() * weight).mean() / 2
    assert found["loss.pose"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_every_tap_of_the_explorer_says_what_its_axes_are():
    table = tap_table(build("vissimcc", tiny("vissimcc")))
    assert table["maps.out"] == ("b", "joint", "y", "x")
    assert table["reasoning.visibility"] == table["reasoning.mask"] == ("b", "joint")
    assert table["reasoning.blocks.1.attention.map"] == ("b", "head", "joint", "joint")
    assert table["distribution.x"] == ("b", "joint", "bin_x")
    assert tap_table(build("vissimcc", tiny("vissimcc", "hrnet")))["heatmaps"] == (
        "b",
        "joint",
        "y",
        "x",
    )


def test_the_small_configuration_can_be_shipped(tmp_path):
    path = checkpoint.save(
        tmp_path / "small.safetensors", build("vissimcc", "small"), {"model": "vissimcc"}
    )
    assert path.stat().st_size < 4e6


@pytest.mark.parametrize("name", entry("vissimcc").configs)
def test_a_configuration_survives_its_card(name):
    config = config_of("vissimcc", name)
    again = json.loads(json.dumps(asdict(config)))
    assert (
        VisSimCCConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in again.items()})
        == config
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"output": "voxels"}, "output is 'voxels'"),
        ({"visibility": "guess"}, "visibility is"),
        ({"heads": 3}, "3 heads"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(change, problem):
    with pytest.raises(BadParameter, match=problem):
        VisSimCCConfig(**change)


def test_maps_made_before_take_the_place_of_images():
    torch.manual_seed(0)
    model, inputs = build("vissimcc", tiny("vissimcc")).eval(), example(TINY)
    with torch.no_grad():
        whole = model(inputs["images"])
        again = model(maps=model.maps(inputs["images"]))
        assert all(torch.equal(whole[key], again[key]) for key in whole)
    for wrong in ({}, {"images": inputs["images"], "maps": model.maps(inputs["images"])}):
        with pytest.raises(BadParameter, match="give one of the two"):
            model(**wrong)
