"""Tiny models of transformers, written as `hf download` brings them; theirs and ours of one weight
file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models.test_published import VIT_SIMPLE, estimator
from tests.models.test_published import transformers as as_transformers
from workbench.models.vissimcc import VisSimCC

SIZE = (96, 128)  # px, of crops; heatmaps are 24 x 32
PATCHES = 48  # of 16 x 16 px
CHANNELS, HEADS = 384, 12  # the smallest ViTPose's
INNER = [6 * row + column for row in range(1, 7) for column in range(1, 5)]  # patches


def peaked() -> VisSimCC:
    """A ViTPose whose heatmaps have one clear peak each: joint j's lies in the j-th inner patch,
    because each position has a channel of its own. The picture moves it a little.
    """
    model = estimator(replace(VIT_SIMPLE, size=SIZE, widths=(CHANNELS, HEADS), depths=(1,)))
    net, final = model.maps.backbone.net, model.maps.head.final
    kernel = torch.tensor([1.0, 2.0, 1.0])
    with torch.no_grad():
        net.pos_embed.copy_(9 * torch.eye(PATCHES, CHANNELS)[None])
        final.weight.zero_()
        final.bias.zero_()
        for joint, patch in enumerate(INNER[: len(final.weight)]):
            slopes = torch.tensor([1.0, 1.0, 1.1 + 0.05 * joint])  # to one side of the patch
            final.weight[joint, patch] = kernel[:, None] * kernel / slopes / slopes[:, None] / 170
    return model


def save_vitpose(folder: Path, model: VisSimCC | None = None, **options) -> Path:
    """Our ViTPose as transformers' model with its processor, in a folder; None: a random mixture of
    two experts. options: of its configuration.
    """
    library = pytest.importorskip("transformers")
    width, height = SIZE
    backbone = library.VitPoseBackboneConfig(
        image_size=[height, width],
        patch_size=[16, 16],
        hidden_size=CHANNELS,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        out_indices=[1],
        **({"num_experts": 2, "part_features": 13} if model is None else {}),
    )
    config = library.VitPoseConfig(backbone_config=backbone, **{"num_labels": 17} | options)
    torch.manual_seed(5)
    theirs = library.VitPoseForPoseEstimation(config)
    if model is not None:
        theirs.load_state_dict(as_transformers(model))
    theirs.save_pretrained(folder)
    library.VitPoseImageProcessor(size={"height": height, "width": width}).save_pretrained(folder)
    return folder


def save_detector(folder: Path, labels: tuple[str, ...] = ("dog", "person")) -> Path:
    """A tiny YOLOS that sees the last of its labels five times, in the middle half of a picture."""
    library = pytest.importorskip("transformers")
    config = library.YolosConfig(
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=14,
        image_size=[64, 64],
        patch_size=16,
        num_detection_tokens=5,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = library.YolosForObjectDetection(config)
    classes, box = model.class_labels_classifier.layers[-1], model.bbox_predictor.layers[-1]
    with torch.no_grad():
        for parameter in (*classes.parameters(), *box.parameters()):
            parameter.zero_()
        classes.bias[len(labels) - 1] = 2.0
    model.save_pretrained(folder)
    size = {"shortest_edge": 48, "longest_edge": 64}
    library.YolosImageProcessor(size=size).save_pretrained(folder)
    return folder
