"""A sixth method in the five steps of CONTRIBUTING.md, without a line of the package changed.

"centre" says where all joints are: at their mean, moved by what it has learned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from workbench import checkpoint, metrics, models
from workbench.made.bodies import sample_bodies
from workbench.models import build
from workbench.models.entry import Entry
from workbench.recipes.base import (
    Learned,
    Options,
    Recipe,
    Scores,
    Task,
    Training,
    Variant,
    fresh,
    paper_rows,
)
from workbench.train import Batch, BatchSource, TrainConfig

# --- 1: models/centre.py with its ENTRY, and its name in models.MODELS ----------------------------


@dataclass(frozen=True)
class CentreConfig:
    skeleton: str = "coco17"
    joints: int = 17


class Centre(nn.Module):
    """forward: xy [b k 2], and with the truth [b k 2] also "loss.x"."""

    def __init__(self, config: CentreConfig):
        super().__init__()
        self.config = config
        self.offset = nn.Parameter(torch.zeros(config.joints, 2))

    def forward(self, xy: Tensor, truth: Tensor | None = None) -> dict[str, Tensor]:
        answer = xy.mean(1, keepdim=True) + self.offset
        out = {"xy": answer}
        if truth is not None:
            out["loss.x"] = (answer - truth).square().mean()
        return out


def example(config: CentreConfig, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
    xy = torch.randn(batch, config.joints, 2, generator=generator)
    return {"xy": xy, "truth": xy}


ENTRY = Entry(Centre, {"paper": CentreConfig(), "tiny": CentreConfig()}, example)


# --- 2: a predictor, predict.CentreEstimator ------------------------------------------------------


class CentreEstimator:
    """Poses of bodies."""

    def __init__(self, model: Centre, name: str = "centre"):
        self.model = model.eval()
        self.name = name

    def estimate(self, xy: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.model(torch.tensor(xy, dtype=torch.float32))["xy"].numpy()


# --- 3: recipes/centre.py declares a Recipe -------------------------------------------------------


def bodies(n: int, rng: np.random.Generator) -> np.ndarray:
    """Procedural bodies, in units of their size."""
    xy = sample_bodies(n, rng).xy_frame
    return (xy - xy.mean(1, keepdims=True)) / np.ptp(xy, axis=1, keepdims=True)


def batches(size: int) -> BatchSource:
    def source(_step: int, rng: np.random.Generator) -> Batch:
        xy = torch.tensor(bodies(size, rng), dtype=torch.float32)
        return {"xy": xy, "truth": xy}

    return source


def training(recipe: Recipe, name: str, options: Options) -> Training:
    variant = recipe.variants[name]
    settings = options.settings(variant.train)
    model = fresh("centre", variant.config, settings.seed)
    return Training("centre", model, batches, settings, {"x": 1.0}, {"variant": name}, name)


def synthetic(recipe: Recipe, options: Options) -> Task:
    truth = bodies(recipe.own, np.random.default_rng(1))

    def row(name: str, answer: np.ndarray) -> list[Scores]:
        error = metrics.joint_distances(answer, truth).mean(1)
        groups = [str(i) for i in range(len(truth))]
        return [Scores({"method": name, "subset": "all"}, len(truth), {"error": error}, groups)]

    def scores(_case, predictors) -> dict[str, list[Scores]]:
        out = {"mean": row("mean", np.broadcast_to(truth.mean(1, keepdims=True), truth.shape))}
        return out | {name: row(name, p.estimate(truth)) for name, p in predictors.items()}

    return Task(
        variants=options.variants or ("centre",),
        learn=lambda name, _case: recipe.train(name, options),
        scores=scores,
        protocol=f"{len(truth)} synthetic bodies, error in body sizes",
        rival="mean",
        paper=paper_rows("port", "Table II"),
        seed=options.seed,
        steps=True,
    )


def card(recipe: Recipe, variant: str, learned: Learned, options: Options) -> dict:
    rows = recipe.evaluate(variants=(variant,), steps=options.steps, device="cpu", progress=False)
    return {
        "metrics": {r["method"]: r["metrics"] for r in rows["rows"] if r["kind"] == "measured"},
        "metrics_data": f"synthetic, {recipe.own} bodies",
        "licence": "Apache-2.0; trained on procedural bodies alone",
    }


RECIPE = Recipe(
    name="centre",
    title="Centre",
    variants={"centre": Variant(CentreConfig(), TrainConfig(steps=200, batch_size=8, lr=0.02))},
    training=training,
    predictor=lambda model, name, card: CentreEstimator(model, name),
    tasks={"synthetic": synthetic},
    shipped={"centre": "centre"},
    card=card,
    skeletons=("coco17",),
    steps=200,
    own=101,
    compared=("error",),
)


# --- what comes of it -----------------------------------------------------------------------------


@pytest.fixture
def recipe(monkeypatch, tmp_path) -> Recipe:
    """The recipe in temporary folders, the model in a temporary registry."""
    monkeypatch.setitem(models.MODELS, "centre", __name__)
    places = {
        "folder": tmp_path / "trained",
        "weights": lambda name: tmp_path / f"{name}.safetensors",
    }
    return replace(RECIPE, **places)


def test_it_is_trained_and_measured_beside_a_rival(recipe):
    result = recipe.evaluate(device="cpu", progress=False)
    middle, ours, *paper = result["rows"]
    assert (middle["method"], ours["method"], ours["steps"]) == ("mean", "centre", 200)
    assert ours["metrics"]["error"] < middle["metrics"]["error"]
    pair = ours["paired"]["error"]
    assert pair["rival"] == "mean" and pair["interval"][1] < 0, "learned, not by chance"
    assert "synthetic bodies" in result["protocol"] and {r["kind"] for r in paper} == {"paper"}
    table = recipe.flat(result)
    assert table[1]["error, against mean"].startswith("-")


def test_it_is_shipped_and_not_trained_again(recipe, tmp_path):
    options = Options(steps=20, device="cpu", progress=False)
    path = recipe.ship(recipe.weights("centre"), options)
    header = checkpoint.read_card(path)
    assert header["command"] == "workbench train centre --seed 0 --steps 20"
    assert header["metrics"]["centre"]["error"] > 0 and header["skeleton"] == "coco17"
    elsewhere = replace(recipe, folder=tmp_path / "elsewhere")
    assert elsewhere.train("centre", options).weights == path
    assert not (tmp_path / "elsewhere").exists()
    model = build("centre", CentreConfig())
    checkpoint.load(path, model)
    assert model.offset.abs().max() > 0
