"""Images to one map a keypoint: ResNet, HRNet and ViT of timm, the heads of SimpleBaseline, HRNet
and ViTPose.

Nothing is fetched unless `pretrained` asks for it. `published` reads other people's weights. timm,
which takes longer to import than torch, is imported where a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn

from .. import codecs, geometry
from ..errors import BadParameter, MissingData
from ..taps import Tap

# -> what width and height of an image must be multiples of
FAMILIES = {"hrnet": 32, "resnet": 32, "vit": 16}


def _timm(name: str, pretrained: bool = False, **options) -> nn.Module:
    import timm

    try:
        return timm.create_model(name, pretrained, **options)
    except Exception as error:
        if not pretrained:
            raise
        remedy = "connect once, or give weights of your own"
        raise MissingData(
            f"ImageNet weights of {name} could not be fetched: {error}", remedy=remedy
        ) from error


def _hrnet(
    name: str, widths: tuple[int, ...], depths: tuple[int, ...], pretrained: bool
) -> nn.Module:
    from timm.models.hrnet import HighResolutionNetFeatures, cfg_cls

    # the first branch before any classifier: stride 4
    options = {"out_indices": (1,), "feature_location": ""}
    if widths or depths:
        config = dict(cfg_cls[name]) | ({"stem_width": widths[0]} if widths else {})
        stages = [dict(config[f"stage{i}"]) for i in (1, 2, 3, 4)]
        for i, stage in enumerate(stages):
            if widths:
                stage["num_channels"] = widths[:1] if i == 0 else widths[1 : i + 2]
            if depths:
                stage["num_blocks"] = (depths[0],) if i == 0 else (depths[4],) * (i + 1)
                stage["num_modules"] = 1 if i == 0 else depths[i]
        config |= {f"stage{i}": stage for i, stage in enumerate(stages, 1)}
        net = HighResolutionNetFeatures(config, **options)
    else:
        net = _timm(name, pretrained, features_only=True, **options)
    last = net.stage4[-1]
    # the other branches' outputs are used by classifiers alone
    last.fuse_layers = last.fuse_layers[:1]
    return net


# what small configurations read pictures with
SMALL_BACKBONE = {
    "size": (96, 128),
    "backbone": "hrnet_w18_small",
    "widths": (16, 16, 32, 48, 64),
    "depths": (1, 1, 1, 1, 1),
}
# heatmaps are next to nothing almost everywhere, and networks that begin far from that learn late
HEATMAP_STD = 0.001


class Backbone(nn.Module):
    """A network of timm without its classifier, in `net`, and the map of features that pose heads
    take.

    name: timm's, of a ResNet (the last stage, stride 32), an HRNet (the finest branch, stride 4) or
    a ViT with patches of 16 px (tokens as a map, stride 16; a margin of 2 px around the picture as
    ViTPose has it). size: (width, height) px. widths, depths: another size than timm's, whose
    weights then do not fit.
        ResNet: channels and blocks of each of the four stages
        HRNet: channels of the stem and first stage and of the four branches; blocks of the first
            stage, modules of the three others, blocks of a branch
        ViT: (channels, heads) and (blocks,)
    pretrained: ImageNet weights, which timm fetches where they are not yet.
    """

    def __init__(
        self,
        name: str = "resnet50",
        size: tuple[int, int] = (192, 256),
        widths: tuple[int, ...] = (),
        depths: tuple[int, ...] = (),
        pretrained: bool = False,
    ):
        import timm

        super().__init__()
        self.family = next((f for f in FAMILIES if name.startswith(f)), "")
        lengths = {"hrnet": (5, 5), "resnet": (4, 4), "vit": (2, 1)}.get(self.family)
        if lengths is None or not timm.is_model(name):
            raise BadParameter(
                f"the backbone is {name!r}", remedy=f"one of timm's {', '.join(FAMILIES)} networks"
            )
        if any(given and len(given) != n for given, n in zip((widths, depths), lengths)):
            raise BadParameter(
                f"{name} with widths {widths} and depths {depths}",
                remedy=f"give {lengths[0]} and {lengths[1]} or none",
            )
        if pretrained and (widths or depths):
            raise BadParameter(
                "pretrained weights fit timm's own widths and depths alone", remedy="leave one out"
            )
        multiple = FAMILIES[self.family]
        if any(pixels % multiple for pixels in size):
            raise BadParameter(f"images of {size} px for {name}", remedy=f"multiples of {multiple}")
        bare = {"num_classes": 0, "global_pool": ""}
        if self.family == "hrnet":
            self.net = _hrnet(name, widths, depths, pretrained)
            self.stride = 4
            self.channels = self.net.feature_info.channels()[0]
        elif self.family == "resnet":
            given = {k: v for k, v in (("channels", widths), ("layers", depths)) if v}
            self.net = _timm(name, pretrained, zero_init_last=False, **bare, **given)
            self.stride = 32
            self.channels = self.net.num_features
        else:
            given = dict(zip(("embed_dim", "num_heads"), widths)) | dict(zip(("depth",), depths))
            given |= {"img_size": (size[1], size[0])} | bare
            self.net = _timm(name, class_token=False, **given)
            if pretrained:  # timm fits positions to the grid only beside a class token
                weights = _timm(name, pretrained, **given).state_dict()
                del weights["cls_token"]
                self.net.load_state_dict(weights | {"pos_embed": weights["pos_embed"][:, 1:]})
            self.net.patch_embed.proj.padding = (2, 2)
            self.stride = 16
            self.channels = self.net.num_features
        self.grid = (size[0] // self.stride, size[1] // self.stride)

    def forward(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b c h w"]:
        if self.family == "hrnet":
            return self.net(images)[0]
        features = self.net.forward_features(images)
        return features.mT.unflatten(-1, self.grid[::-1]) if self.family == "vit" else features


class HeatmapHead(nn.Module):
    """Features to one map a keypoint: deconvolutions of these widths, each doubling the grid, then
    one convolution.

    SimpleBaseline and SimCC's ResNet (256, 256, 256), ViTPose's classic head (256, 256), HRNet ().
    ViTPose's simple head: (), kernel 3, and upsample 4, which doubles twice by bilinear
    interpolation after a ReLU. std: of the last layer's first weights, `HEATMAP_STD` where its
    answer is the heatmap; None: torch's own.
    """

    def __init__(
        self,
        channels: int,
        joints: int,
        deconv: tuple[int, ...] = (),
        kernel: int = 1,
        upsample: int = 1,
        std: float | None = None,
    ):
        super().__init__()
        self.upsample = upsample
        layers = []
        for width in deconv:
            layers += [
                nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(True),
            ]
            channels = width
        self.deconv = nn.Sequential(*layers)
        self.final = nn.Conv2d(channels, joints, kernel, padding=kernel // 2)
        if std is not None:
            nn.init.normal_(self.final.weight, std=std)
            nn.init.zeros_(self.final.bias)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k hh ww"]:
        x = self.deconv(features)
        if self.upsample > 1:
            x = F.interpolate(
                F.relu(x), scale_factor=self.upsample, mode="bilinear", align_corners=False
            )
        return self.final(x)


class KeypointMaps(nn.Module):
    """A backbone and its heatmap head; `grid` is the (width, height) of the maps."""

    def __init__(self, backbone: Backbone, head: HeatmapHead):
        super().__init__()
        self.backbone, self.head = backbone, head
        scale = 2 ** (len(head.deconv) // 3) * head.upsample
        self.grid = tuple(n * scale for n in backbone.grid)
        self.features = Tap("b channel y x")
        self.out = Tap("b joint y x")

    def forward(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b k h w"]:
        return self.out(self.head(self.features(self.backbone(images))))


class HeatmapEstimator(nn.Module):
    """Base of the models that answer with heatmaps: px of the crop to px of the maps and back."""

    def place_heatmaps(
        self,
        size: tuple[int, int],
        grid: tuple[int, int],
        alignment: str,
        sigma: float,
        cut: float | None = None,
    ) -> None:
        """Says how maps of `grid` lie in crops of `size` (both width and height, px), and what
        labels look like, see `codecs.encode_heatmaps`.
        """
        self.labels = {"size": grid, "sigma": sigma, "quantised": alignment == "msra", "cut": cut}
        to_heatmap = geometry.crop_to_heatmap(size, grid, alignment)
        for name, affine in (("to_heatmap", to_heatmap), ("to_crop", geometry.invert(to_heatmap))):
            self.register_buffer(name, torch.tensor(affine, dtype=torch.float32), persistent=False)

    def encode(
        self, xy_crop: Float[Tensor, "*b k 2"], weights: Num[Tensor, "*b k"]
    ) -> Float[Tensor, "*b k h w"]:
        """Heatmaps of labels, px."""
        xy_heatmap = codecs.transform(self.to_heatmap, xy_crop)
        return codecs.encode_heatmaps(xy_heatmap, weights, **self.labels)

    def decode(
        self, found: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "b k 2"], Float[Tensor, "b k"]]:
        """`xy_crop` px and confidence of what `forward` returned; no loop over joints, on the
        device.
        """
        xy_heatmap, confidence = codecs.decode_heatmaps(found["heatmaps"])
        return codecs.transform(self.to_crop, xy_heatmap), confidence
