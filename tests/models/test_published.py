"""Published names and layouts, on made tensors."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from tests.models.tiny import tiny
from workbench import checkpoint
from workbench.errors import BadParameter, CheckpointMismatch
from workbench.models.backbones import Backbone, HeatmapHead, KeypointMaps
from workbench.models.published import public_model, public_weights
from workbench.models.vissimcc import VisSimCC, VisSimCCConfig


def slim_hrnet(**options):
    backbone = Backbone("hrnet_w18_small", (32, 64), (4, 4, 6, 8, 10), (1, 1, 1, 1, 1))
    torch.manual_seed(11)
    return KeypointMaps(backbone, HeatmapHead(backbone.channels, 5, **options))


def official(maps: KeypointMaps) -> dict[str, torch.Tensor]:
    """The names of HRNet's authors: timm's, and `final_layer` for the heatmaps."""
    names = {"head.final.": "final_layer.", "backbone.net.": ""}
    state = maps.state_dict()
    for ours, theirs in names.items():
        state = {theirs + k[len(ours) :] if k.startswith(ours) else k: v for k, v in state.items()}
    return state


def mmpose(state: dict[str, torch.Tensor], head: str) -> dict[str, torch.Tensor]:
    ends = ("final_layer.", "deconv_layers.", "mlp_head_")
    return {(head if k.startswith(ends) else "backbone.") + k: v for k, v in state.items()}


def test_hrnet_is_the_identity_under_every_publishers_names():
    maps = slim_hrnet()
    theirs, ours = official(maps), maps.state_dict()
    variants = [theirs, {f"module.{k}": v for k, v in theirs.items()}]
    variants += [mmpose(theirs, head) for head in ("keypoint_head.", "head.")]
    variants.append(
        theirs | {f"stage4.0.fuse_layers.{i}.0.0.0.weight": torch.zeros(1) for i in (1, 2, 3)}
    )
    for variant in variants:
        found = public_weights(variant)
        assert found.keys() == ours.keys() and all(torch.equal(found[k], ours[k]) for k in ours)


def test_fusions_of_earlier_modules_are_kept():
    theirs = official(slim_hrnet()) | {"stage4.1.fuse_layers.0.1.0.weight": torch.zeros(1)}
    assert "backbone.net.stage4.0.fuse_layers.1.0.0.0.weight" in public_weights(
        theirs | {"stage4.0.fuse_layers.1.0.0.0.weight": torch.zeros(1)}
    ), "only the last module's coarse outputs are unused"


def test_simcc_of_mmpose():
    state = {
        "conv1.weight": 0,
        "deconv_layers.0.weight": 1,
        "final_layer.weight": 2,
        "mlp_head_x.bias": 3,
    }
    state = {k: torch.tensor(v) for k, v in state.items()}
    ours = {
        "backbone.net.conv1.weight": 0,
        "head.deconv.0.weight": 1,
        "head.final.weight": 2,
        "classify.x.bias": 3,
    }
    for variant in (state, mmpose(state, "head."), mmpose(state, "head.deconv_head.")):
        assert {k: int(v) for k, v in public_weights(variant).items()} == ours


def test_other_networks_are_refused():
    with pytest.raises(CheckpointMismatch, match=r"neither a ResNet.*features\.0"):
        public_weights({"features.0.weight": torch.zeros(1)})


@pytest.mark.parametrize("name", ["backbone.embeddings.position_embeddings", "backbone.pos_embed"])
def test_positions_of_vitpose_take_in_the_class_token(name):
    positions = torch.tensor([[[10.0], [1.0], [2.0]]])
    assert public_weights({name: positions})["backbone.net.pos_embed"].flatten().tolist() == [
        11,
        12,
    ]


# --- which network a file holds ---

RESNET = replace(tiny("vissimcc", "plain"), output="heatmap", deconv=(11, 7, 5), alignment="msra")
HRNET = tiny("vissimcc", "hrnet", alignment="msra", reasoning=False)
SIMCC = tiny("vissimcc", "plain", split=2.0, alignment="msra")
VIT_SIMPLE = tiny("vissimcc", "vit", size=(48, 64))
VIT_CLASSIC = replace(VIT_SIMPLE, deconv=(11, 7), head_kernel=1, head_upsample=1)


def estimator(config: VisSimCCConfig) -> VisSimCC:
    torch.manual_seed(3)
    model = VisSimCC(config).eval()
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            torch.nn.init.normal_(value)
    return model


def authors(model: VisSimCC) -> dict[str, torch.Tensor]:
    """Tensors under the names of SimpleBaseline, HRNet and SimCC."""
    names = (
        (r"^maps\.backbone\.net\.", ""),
        (r"^maps\.head\.deconv\.", "deconv_layers."),
        (r"^maps\.head\.final\.", "final_layer."),
        (r"^classify\.", "mlp_head_"),
    )
    state = model.state_dict()
    for pattern, replacement in names:
        state = {re.sub(pattern, replacement, name): value for name, value in state.items()}
    return state


def with_class_token(positions: torch.Tensor) -> torch.Tensor:
    """Positions as ViTPose stores them: beside that of a class token, which is added to all."""
    token = torch.full_like(positions[:, :1], 0.25)
    return torch.cat((token, positions - token), 1)


def vitpose(model: VisSimCC) -> dict[str, torch.Tensor]:
    """Tensors under the names of ViTPose's authors."""
    theirs = {}
    for name, value in authors(model).items():
        if name == "pos_embed":
            value = with_class_token(value)
        name = re.sub(r"^norm\.", "last_norm.", name)
        head = name.startswith(("deconv_layers.", "final_layer."))
        theirs[("keypoint_head." if head else "backbone.") + name] = value
    return theirs


def transformers(model: VisSimCC) -> dict[str, torch.Tensor]:
    """Tensors under transformers' names of ViTPose: query, key and value apart."""
    names = (
        (r"^backbone\.pos_embed$", "backbone.embeddings.position_embeddings"),
        (r"^backbone\.patch_embed\.proj\.", "backbone.embeddings.patch_embeddings.projection."),
        (r"^backbone\.last_norm\.", "backbone.layernorm."),
        (r"^backbone\.blocks\.", "backbone.encoder.layer."),
        (r"\.norm1\.", ".layernorm_before."),
        (r"\.norm2\.", ".layernorm_after."),
        (r"\.attn\.proj\.", ".attention.output.dense."),
        (r"^keypoint_head\.final_layer\.", "head.conv."),
        (r"^keypoint_head\.deconv_layers\.0\.", "head.deconv1."),
        (r"^keypoint_head\.deconv_layers\.1\.", "head.batchnorm1."),
        (r"^keypoint_head\.deconv_layers\.3\.", "head.deconv2."),
        (r"^keypoint_head\.deconv_layers\.4\.", "head.batchnorm2."),
    )
    theirs = {}
    for name, value in vitpose(model).items():
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        if ".attn.qkv." in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3)):
                theirs[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = piece
        else:
            theirs[name] = value
    return theirs


FILES = {
    "resnet": (RESNET, authors, {"size": RESNET.size, "skeleton": "coco17"}),
    "bottlenecks": (
        replace(RESNET, backbone="resnet50", widths=(4, 4, 4, 8)),
        authors,
        {"size": RESNET.size, "skeleton": "coco17"},
    ),
    "hrnet": (HRNET, authors, {"size": HRNET.size, "skeleton": "crowdpose14"}),
    "hrnet, udp": (
        replace(HRNET, alignment="udp"),
        authors,
        {"size": HRNET.size, "skeleton": "crowdpose14", "alignment": "udp"},
    ),
    "simcc": (SIMCC, authors, {"skeleton": "coco17"}),
    "simcc without deconvolutions": (
        replace(SIMCC, deconv=(), split=3.0, head_bias=False),
        authors,
        {"skeleton": "coco17", "size": SIMCC.size},
    ),
    "simcc of hrnet": (replace(HRNET, output="simcc"), authors, {"skeleton": "crowdpose14"}),
    "mpii needs no skeleton": (
        replace(RESNET, skeleton="mpii16"),
        authors,
        {"size": RESNET.size},
    ),
    "vitpose, simple": (VIT_SIMPLE, transformers, {"skeleton": "coco17", "heads": 2}),
    "vitpose, classic": (VIT_CLASSIC, transformers, {"skeleton": "coco17", "heads": 2}),
    "vitpose by its authors": (VIT_CLASSIC, vitpose, {"skeleton": "coco17", "heads": 2}),
    "vitpose, square": (
        replace(VIT_CLASSIC, size=(64, 64)),
        vitpose,
        {"skeleton": "coco17", "heads": 2, "size": (64, 64)},
    ),
}


@pytest.mark.parametrize(("config", "names", "options"), FILES.values(), ids=FILES)
def test_a_file_says_which_network_it_is(config, names, options, tmp_path):
    source = estimator(config)
    torch.save({"state_dict": names(source)}, tmp_path / "theirs.pth")
    model = public_model(checkpoint.read_public(tmp_path / "theirs.pth"), **options)
    for field in ("size", "split", "deconv", "output", "alignment", "skeleton", "head_bias"):
        if field != "split" or config.output == "simcc":
            assert getattr(model.config, field) == getattr(config, field), field
    assert not model.training
    width, height = config.size
    images = torch.randn(2, 3, height, width)
    with torch.no_grad():
        ours, theirs = model(images), source(images)
        assert ours.keys() == theirs.keys()
        for key in ours:
            torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=1e-6)
        torch.testing.assert_close(model.decode(ours), source.decode(theirs), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("file", "options", "problem"),
    [
        ("resnet", {"skeleton": "coco17"}, "does not tell size"),
        ("hrnet", {"skeleton": "crowdpose14"}, "does not tell size"),
        ("resnet", {"size": (32, 64)}, r"17 joints: .* skeleton \(coco17 or posetrack17"),
        ("resnet", {"size": (32, 64), "skeleton": "mpii16"}, "mpii16, the file has 17 joints"),
        ("resnet", {"size": (32, 60), "skeleton": "coco17"}, "multiples of 32"),
        ("simcc", {"skeleton": "coco17", "size": (64, 64)}, "classifiers are for"),
        ("vitpose, simple", {"skeleton": "coco17"}, "does not tell heads"),
        ("vitpose, square", {"skeleton": "coco17", "heads": 2}, "does not tell size"),
        ("vitpose, simple", {"skeleton": "coco17", "size": (64, 64)}, "12 patches"),
    ],
)
def test_what_a_file_does_not_tell_is_asked_for(file, options, problem):
    config, names, _ = FILES[file]
    with pytest.raises(BadParameter, match=problem):
        public_model(names(estimator(config)), **options)


def dropped(state, part):
    return {name: value for name, value in state.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: dropped(s, "layer2."), "no whole pose network"),
        (lambda s: dropped(s, "layer1.0.conv2"), "1 missing"),
        (lambda s: s | {"layer1.0.experts.weight": torch.zeros(1)}, "1 unexpected"),
        (lambda s: s | {"conv1.weight": torch.zeros(64, 4, 7, 7)}, "1 misshapen"),
        (lambda s: s | {"final_layer.weight": torch.zeros(17)}, "no whole pose network"),
        (lambda s: dropped(s, "final_layer"), "neither a ResNet, HRNet nor ViT"),
        (lambda s: {}, "neither a ResNet, HRNet nor ViT"),
    ],
)
def test_files_of_anything_else_are_refused(change, problem):
    tensors = change(authors(estimator(RESNET)))
    with pytest.raises(CheckpointMismatch, match=problem):
        public_model(tensors, size=RESNET.size, skeleton="coco17", file="theirs.pth")
