from __future__ import annotations

import pytest
import timm
import torch

from workbench.errors import BadParameter
from workbench.models.backbones import Backbone, HeatmapHead, KeypointMaps

SLIM = {
    "resnet18": ((8, 8, 12, 16), (1, 1, 1, 1)),
    "resnet50": ((4, 4, 4, 8), (1, 1, 1, 1)),
    "hrnet_w18_small": ((4, 4, 6, 8, 10), (1, 1, 1, 1, 1)),
    "vit_tiny_patch16_224": ((12, 2), (2,)),
}


@pytest.mark.parametrize("name", SLIM)
def test_channels_and_grid_are_what_comes_out(name):
    backbone = Backbone(name, (32, 96), *SLIM[name]).eval()
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, 96, 32))
    assert features.shape == (2, backbone.channels, backbone.grid[1], backbone.grid[0])
    assert backbone.grid == (32 // backbone.stride, 96 // backbone.stride)


@pytest.mark.parametrize(
    ("head", "scale"),
    [({}, 1), ({"deconv": (5, 3)}, 4), ({"kernel": 3, "upsample": 4}, 4), ({"deconv": (5,)}, 2)],
)
def test_heads_double_the_grid_with_each_deconvolution(head, scale):
    backbone = Backbone("resnet18", (64, 96), *SLIM["resnet18"])
    maps = KeypointMaps(backbone, HeatmapHead(backbone.channels, 7, **head)).eval()
    assert maps.grid == (2 * scale, 3 * scale)
    with torch.no_grad():
        assert maps(torch.randn(1, 3, 96, 64)).shape == (1, 7, 3 * scale, 2 * scale)


def test_vit_tokens_are_put_back_where_they_come_from():
    backbone = Backbone("vit_tiny_patch16_224", (48, 32), *SLIM["vit_tiny_patch16_224"]).eval()
    tokens = torch.arange(6.0)[None, :, None].expand(1, 6, 12)
    backbone.net.forward_features = lambda images: tokens  # row by row: 3 across, 2 down
    assert backbone(torch.zeros(1, 3, 32, 48))[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("alexnet",), "the backbone is 'alexnet'"),
        (("resnet999",), "the backbone is 'resnet999'"),
        (("resnet18", (60, 64)), r"\(60, 64\) px"),
        (("resnet18", (64, 64), (8, 8)), r"widths \(8, 8\)"),
        (("resnet18", (64, 64), (), (1, 1, 1, 1), True), "pretrained"),
    ],
)
def test_backbones_that_make_no_sense_are_refused(arguments, problem):
    with pytest.raises(BadParameter, match=problem):
        Backbone(*arguments)


@pytest.mark.parametrize("name", ["resnet18", "hrnet_w18_small", "vit_tiny_patch16_224"])
def test_pretrained_weights_are_timms_own(name, monkeypatch):
    """timm's loader is replaced by one that gives random weights, so that nothing is fetched."""
    torch.manual_seed(3)
    published, plain = timm.create_model(name).state_dict(), timm.create_model

    def create(name, pretrained=False, **options):
        model = plain(name, **options)
        own = model.state_dict()
        if pretrained:
            model.load_state_dict(
                {k: v for k, v in published.items() if k in own and v.shape == own[k].shape},
                strict=False,
            )
        return model

    monkeypatch.setattr(timm, "create_model", create)
    loaded = Backbone(name, (96, 128), pretrained=True).net.state_dict()
    assert all(torch.equal(loaded[k], published[k]) for k in loaded if k != "pos_embed")
    assert any(k.startswith(("layer4", "stage4", "blocks.11")) for k in loaded)


def test_every_name_of_the_published_hrnets_has_its_place():
    """timm's whole network has every name of the authors' files but the heatmaps' (1,752 of
    1,754, W32 and W48 alike).
    """
    with torch.device("meta"):
        whole, ours = timm.create_model("hrnet_w32"), Backbone("hrnet_w32").state_dict()
    coarse = (f"stage4.2.fuse_layers.{i}." for i in "123")
    extra = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.", *coarse)
    theirs = {k: v for k, v in whole.state_dict().items() if not k.startswith(extra)}
    assert len(theirs) == 1752
    assert {k: v.shape for k, v in theirs.items()} == {
        k.removeprefix("net."): v.shape for k, v in ours.items()
    }
