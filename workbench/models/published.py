"""Published weights of SimpleBaseline, HRNet, ViTPose and SimCC: their names, and which network a
file holds.

A file holds tensors by name and nothing else. What these do not tell (the size of the crops of a
convolutional network, the order of the joints) is asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import compare_keys, load_into
from ..errors import BadParameter, CheckpointMismatch
from ..skeletons import SKELETONS
from ..skeletons import skeleton as find_skeleton
from .vissimcc import VisSimCC, VisSimCCConfig

# --- names ----------------------------------------------------------------------------------------

_PREFIXES = (
    (r"^((module|backbone)\.)+", ""),
    (r"^(keypoint_head|head)\.(deconv_head\.)?", ""),
)
_CONVOLUTIONAL = (
    *_PREFIXES,
    (r"^deconv_layers\.", "head.deconv."),
    (r"^final_layer\.", "head.final."),
    (r"^mlp_head_([xy])\.", r"classify.\1."),
    (r"^(?!head\.|classify\.)", "backbone.net."),
)
_VITPOSE = (  # its authors' names
    *_CONVOLUTIONAL,
    (r"^backbone\.net\.last_norm\.", "backbone.net.norm."),
)
_TRANSFORMERS = (  # transformers' names of ViTPose
    (r"^backbone\.embeddings\.patch_embeddings\.projection\.", "backbone.net.patch_embed.proj."),
    (r"^backbone\.embeddings\.position_embeddings$", "backbone.net.pos_embed"),
    (r"^backbone\.encoder\.layer\.", "backbone.net.blocks."),
    (r"^backbone\.layernorm\.", "backbone.net.norm."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.attention\.query\.", ".attn.qkv."),
    (r"^head\.conv\.", "head.final."),
    (r"^head\.deconv1\.", "head.deconv.0."),
    (r"^head\.batchnorm1\.", "head.deconv.1."),
    (r"^head\.deconv2\.", "head.deconv.3."),
    (r"^head\.batchnorm2\.", "head.deconv.4."),
)
_POSITIONS = "backbone.net.pos_embed"


def renamed(
    tensors: Mapping[str, Tensor], pairs: Sequence[tuple[str, str | Callable[[re.Match], str]]]
) -> dict[str, Tensor]:
    """Tensors under names in which every pattern is replaced, in order."""
    ours = {}
    for name, tensor in tensors.items():
        for pattern, replacement in pairs:
            name = re.sub(pattern, replacement, name)
        ours[name] = tensor
    return ours


def _stacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers' query, key and value of each block as one tensor, in the query's place."""
    stacked = {}
    for name, tensor in tensors.items():
        if ".attention.attention.query." in name:
            parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
            stacked[name] = torch.cat([tensors[part] for part in parts])
        elif not re.search(r"\.attention\.attention\.(key|value)\.", name):
            stacked[name] = tensor
    return stacked


def public_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published pose weights under the names of `backbones.KeypointMaps`; SimCC's classifiers as
    `classify.x` and `classify.y`.

    Knows SimpleBaseline, HRNet and SimCC as their authors and as MMPose name them, and ViTPose as
    its authors and as transformers do. HRNet's names are timm's, so the map is the identity but for
    prefixes and the head; fusions into the coarse branches of the last module, which some files
    carry, are left out. ViTPose's position of an absent class token is added to the others.
    Errors: `CheckpointMismatch` for anything else.
    """
    if "backbone.embeddings.position_embeddings" in tensors:
        ours = renamed(_stacked(tensors), _TRANSFORMERS)
    else:
        ours = renamed(tensors, _VITPOSE)
    if _POSITIONS in ours:
        positions = ours[_POSITIONS]
        ours[_POSITIONS] = positions[:, 1:] + positions[:, :1]
    elif not {"head.final.weight", "backbone.net.conv1.weight"} <= ours.keys():
        raise CheckpointMismatch(
            f"neither a ResNet, HRNet nor ViT pose network: {', '.join(list(tensors)[:3])}, ...",
            remedy="name a file of SimpleBaseline, HRNet or SimCC (theirs or MMPose's) or of "
            "ViTPose (theirs or transformers')",
        )
    last = _count(ours, "backbone.net.stage4.") - 1
    coarse = re.compile(rf"backbone\.net\.stage4\.{last}\.fuse_layers\.[1-9]")
    return {name: tensor for name, tensor in ours.items() if not coarse.match(name)}


def estimator_weights(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of `public_weights` as `VisSimCC` has them."""
    return renamed(ours, ((r"^(?!classify\.)", "maps."),))


# --- which network it is --------------------------------------------------------------------------

KNOWN = "SimpleBaseline, HRNet, SimCC and ViTPose are known, without other parts"
# ViTPose S, B, L and H: channels -> heads, which no tensor tells
VIT_HEADS = {384: 12, 768: 12, 1024: 16, 1280: 16}


def _count(ours: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered parts there are, "0" up to the highest, behind a prefix."""
    numbers = [re.match(r"(\d+)\.", n.removeprefix(prefix)) for n in ours if n.startswith(prefix)]
    return max((int(number[1]) + 1 for number in numbers if number), default=0)


def _hrnet(ours: Mapping[str, Tensor]) -> dict[str, Any]:
    net = "backbone.net."
    branches = range(_count(ours, f"{net}stage4.0.branches."))
    modules = [_count(ours, f"{net}stage{i}.") for i in (2, 3, 4)]
    blocks = _count(ours, f"{net}stage2.0.branches.0.")
    widths = [len(ours[f"{net}stage4.0.branches.{i}.0.bn1.weight"]) for i in branches]
    return {
        "backbone": "hrnet_w32",
        "widths": (len(ours[f"{net}layer1.0.bn1.weight"]), *widths),
        "depths": (_count(ours, f"{net}layer1."), *modules, blocks),
    }


def _resnet(ours: Mapping[str, Tensor]) -> dict[str, Any]:
    stages = [f"backbone.net.layer{i}." for i in (1, 2, 3, 4)]
    bottlenecks = f"{stages[0]}0.conv3.weight" in ours
    return {
        "backbone": "resnet50" if bottlenecks else "resnet18",
        "widths": tuple(len(ours[f"{stage}0.bn1.weight"]) for stage in stages),
        "depths": tuple(_count(ours, stage) for stage in stages),
    }


def _vit(
    ours: Mapping[str, Tensor], size: tuple[int, int] | None, heads: int | None
) -> dict[str, Any]:
    _, tokens, channels = ours[_POSITIONS].shape
    if size is None:  # ViTPose's crops are a third higher than wide
        columns = math.isqrt(tokens * 3 // 4)
        size = (16 * columns, 16 * (tokens // max(columns, 1)))
        if 4 * size[0] != 3 * size[1]:
            raise _undecided(f"a crop of {tokens} patches, not three to four", "size")
    if (size[0] // 16) * (size[1] // 16) != tokens:
        raise BadParameter(
            f"size is {size[0]} x {size[1]} px, the file has {tokens} patches of 16 x 16 px",
            remedy="give the size that it was trained with",
        )
    heads = heads or VIT_HEADS.get(channels)
    if heads is None:
        raise _undecided(f"a ViT of {channels} channels", "heads")
    return {
        "size": size,
        "backbone": "vit_base_patch16_224",
        "widths": (channels, heads),
        "depths": (_count(ours, "backbone.net.blocks."),),
        "alignment": "udp",
    }


def _simcc(ours: Mapping[str, Tensor], stride: int) -> dict[str, Any]:
    """What the classifiers tell: n bins an axis from maps of `stride` px to a pixel."""
    (x_bins, pixels), (y_bins, _) = (ours[f"classify.{axis}.weight"].shape for axis in "xy")
    split = math.sqrt(x_bins * y_bins / pixels) / stride
    return {
        "size": (round(x_bins / split), round(y_bins / split)),
        "split": split,
        "head_bias": "classify.x.bias" in ours,
        "output": "simcc",
    }


def _undecided(what: str, option: str) -> BadParameter:
    return BadParameter(f"the file holds {what}: it does not tell {option}", remedy=f"say {option}")


def _skeleton_of(joints: int, name: str | None) -> str:
    known = [s.name for s in SKELETONS.values() if len(s) == joints]
    if name is not None:
        if len(find_skeleton(name)) != joints:
            raise BadParameter(
                f"skeleton is {name}, the file has {joints} joints",
                remedy=f"choose one of: {', '.join(known) or '(none has so many)'}",
            )
        return find_skeleton(name).name
    if len(known) != 1:
        raise _undecided(f"{joints} joints", f"skeleton ({' or '.join(known) or 'none is known'})")
    return known[0]


def public_config(
    tensors: Mapping[str, Tensor],
    *,
    size: tuple[int, int] | None = None,
    skeleton: str | None = None,
    alignment: str | None = None,
    heads: int | None = None,
) -> VisSimCCConfig:
    """The configuration of the network whose tensors these are, under `public_weights`' names.

    See `public_model`.
    """
    joints, _, kernel, _ = tensors["head.final.weight"].shape
    deconv = [f"head.deconv.{i}.weight" for i in range(0, _count(tensors, "head.deconv."), 3)]
    fields = {
        "deconv": tuple(tensors[name].shape[1] for name in deconv),
        "head_kernel": kernel,
        "output": "heatmap",
        "alignment": "msra",
        "size": size,
    }
    if _POSITIONS in tensors:
        fields |= _vit(tensors, size, heads)
        fields["head_upsample"] = 1 if deconv else 4
    elif _count(tensors, "backbone.net.stage4."):
        fields |= _hrnet(tensors)
        stride = 4
    else:
        fields |= _resnet(tensors)
        stride = 32
    if "classify.x.weight" in tensors:
        fields |= _simcc(tensors, stride // 2 ** len(deconv))
        if size is not None and size != fields["size"]:
            raise BadParameter(
                f"size is {size}, the classifiers are for {fields['size']}", remedy="leave it out"
            )
    if fields["size"] is None:
        raise _undecided("a convolutional network", "size")
    if alignment is not None:
        fields["alignment"] = alignment
    return VisSimCCConfig(skeleton=_skeleton_of(joints, skeleton), reasoning=False, **fields)


def public_model(
    tensors: Mapping[str, Tensor],
    *,
    size: tuple[int, int] | None = None,
    skeleton: str | None = None,
    alignment: str | None = None,
    heads: int | None = None,
    file: object = None,
) -> VisSimCC:
    """The estimator whose published weights these are (`checkpoint.read_public`), ready to
    estimate: SimpleBaseline, HRNet or ViTPose with heatmaps, or SimCC on ResNet or HRNet.

    size: (width, height) px of the crops that it was trained on. Heatmaps of a ResNet or an HRNet
    do not tell it; SimCC's classifiers do, and ViTPose's positions of crops three to four.
    skeleton: the order of its joints, where more than one skeleton has so many.
    alignment: of heatmaps in the crop. No file tells it: by default `udp` for ViTPose and `msra`
    for the others, as their authors trained them; MMPose's files with "udp" in their names: `udp`.
    heads: of a ViT that is none of ViTPose's four.
    Errors: `CheckpointMismatch` for a file of anything else, `BadParameter` with the option that
    decides where the file does not tell. A ResNet of SimpleBaseline's "caffe" kind looks the same
    and is not told apart.
    """
    ours = public_weights(tensors)
    try:
        config = public_config(ours, size=size, skeleton=skeleton, alignment=alignment, heads=heads)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointMismatch(
            f"no whole pose network: {type(error).__name__}: {error}", file=file, remedy=KNOWN
        ) from None
    model = VisSimCC(config)
    weights = estimator_weights(ours)
    report = compare_keys(model, weights)
    if not report.complete:
        raise CheckpointMismatch(
            f"tensors of no {config.backbone} with widths {config.widths} and depths "
            f"{config.depths}: {report}",
            file=file,
            remedy=KNOWN,
        )
    load_into(model, weights, file=file)
    return model.eval()
