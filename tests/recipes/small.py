"""The recipes as tests run them: a few clips, a few thousand parameters, folders of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from tests.data.test_posetrack import content, person, write
from tests.models.tiny import tiny
from workbench import checkpoint
from workbench.models import build
from workbench.models.stdpose import TABLE_4
from workbench.recipes import hanet, otpose, port, stdpose, vissimcc
from workbench.recipes.base import Options, Recipe, Variant
from workbench.recipes.filters import straight_lines

QUICK = Options(steps=2, device="cpu", progress=False)
ASKED = {"steps": 2, "device": "cpu", "progress": False}  # the same for `evaluate`
SETTINGS = {"batch_size": 3, "workers": 0, "precision": "no"}

POSE = tiny("vissimcc")
FRAME = replace(
    tiny("vissimcc", "hrnet"),
    skeleton="posetrack15",
    reasoning=False,
    heatmap_sigma=1.0,
    alignment="udp",
)
CLIP = tiny("otpose")
GAP = replace(tiny("stdpose", "hrnet"), frozen=True)
GAP_FRAME = replace(GAP, **TABLE_4["a"], frozen=False)


def quick(variant: Variant, config) -> Variant:
    """The same variant with another network, in small batches."""
    ship = variant.ship and replace(variant.ship, **SETTINGS)
    return replace(variant, config=config, train=replace(variant.train, **SETTINGS), ship=ship)


def weights_in(folder: Path):
    """Where shipped files lie, for `Recipe.weights`; a file that is named is itself."""
    return lambda name: (
        Path(name) if name.endswith(".safetensors") else folder / f"{name}.safetensors"
    )


def _port(clips: Path, weights: Path) -> dict:
    variants = {name: quick(v, v.config) for name, v in port.VARIANTS.items()}
    candidates = ((0.1, 0.1), (0.2, 0.1))
    sweep = {False: (3, 1, 23), True: (3, 2, 23)}
    own = replace(port.DATA, test=101, ship=53, files=2, candidates=candidates, sweep=sweep)
    return {"variants": variants, "own": own}


def _hanet(clips: Path, weights: Path) -> dict:
    tiny = {"dim": 8, "levels": 1, "decoder_levels": 1}
    variants = {name: quick(v, replace(v.config, **tiny)) for name, v in hanet.VARIANTS.items()}
    filters = {"linear": (straight_lines, [(3,), (5,)])}
    return {"variants": variants, "own": replace(hanet.DATA, limit=5, filters=filters)}


def _rendered(data, clips: Path, **counts: int):
    return replace(data, clips=counts, folder=clips)


def _vissimcc(clips: Path, weights: Path) -> dict:
    kept = ("reasoning", "visibility", "output", "attention")
    variants = {}
    for name, variant in vissimcc.VARIANTS.items():
        config = replace(POSE, **{key: getattr(variant.config, key) for key in kept})
        pictures = variant.data["pictures"] and 3
        variant = replace(variant, data={**variant.data, "pictures": pictures})
        variants[name] = quick(variant, config)
    own = _rendered(vissimcc.DATA, clips, train=7, val=3, test=7)
    return {"variants": variants, "own": own, "paper": POSE}


def _otpose(clips: Path, weights: Path) -> dict:
    start = build("vissimcc", replace(FRAME, skeleton="coco17"))
    file = weights / "vissimcc-baseline.safetensors"
    checkpoint.save(file, start, {"fingerprint": "made"}, over=True)
    parts = ("branches", "occlusion_encoder", "pseudo_label", "window", "temporal")
    variants = {"frame": quick(otpose.VARIANTS["frame"], FRAME)}
    for name, variant in otpose.VARIANTS.items():
        if name != "frame":
            config = replace(CLIP, **{part: getattr(variant.config, part) for part in parts})
            variants[name] = quick(variant, config)
    passing = _rendered(otpose.PASSING, clips, train=2, val=1, test=3)
    own = replace(_rendered(otpose.DATA, clips, train=4, val=2, test=4), passing=passing)
    return {"variants": variants, "own": own, "paper": CLIP}


def _stdpose(clips: Path, weights: Path) -> dict:
    torch.manual_seed(1)
    estimator = torch.nn.ModuleDict({"maps": build("stdpose", GAP_FRAME)})
    checkpoint.save(weights / "otpose.safetensors", estimator, {"frame": "made"}, over=True)
    known = stdpose.VARIANTS
    variants = {name: quick(known[name], GAP_FRAME) for name in ("frame", "pseudo")}
    variants["stdpose"] = quick(known["stdpose"], GAP)
    for row in (*"bcde", "tks_stda", "variational"):
        variants[row] = quick(known[row], replace(GAP, **stdpose.CHANGES[row]))
    own = replace(_rendered(stdpose.DATA, clips, train=2, val=1, test=2), new_clips=2)
    return {"variants": variants, "own": own, "paper": replace(GAP, frozen=False)}


RECIPES = {
    "port": (port.RECIPE, _port),
    "hanet": (hanet.RECIPE, _hanet),
    "vissimcc": (vissimcc.RECIPE, _vissimcc),
    "otpose": (otpose.RECIPE, _otpose),
    "stdpose": (stdpose.RECIPE, _stdpose),
}


def small_recipe(method: str, folder: Path, clips: Path) -> Recipe:
    """A recipe that trains in folder/trained and knows no weights but those in folder/weights.

    clips: where rendered ones are kept.
    """
    recipe, fields = RECIPES[method]
    weights = folder / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    places = {"folder": folder / "trained", "weights": weights_in(weights)}
    return replace(recipe, **fields(clips, weights), **places)


def trained(recipe: Recipe) -> list[Path]:
    """The finished trainings of a small recipe."""
    return sorted(recipe.folder.glob("*/model.safetensors"))


def write_posetrack18(
    root: Path, there=(range(7), range(7)), labelled=range(7), still=False
) -> str:
    """Two halves in PoseTrack18's layout: seven frames of noise, and who is there in which.

    still: nobody moves, and people's boxes lie beside each other.
    """
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        sequence = f"000001_made_{split}"
        people = []
        for t in labelled:
            for i, frames in enumerate(there):
                if t in frames:
                    box = [15 + 5 * i * still, 15, 50, 60]
                    at = 20 + 5 * i + t * (not still)
                    people.append(person(t, i, at=at, bbox=box))
        value = content(*people, labelled=labelled, sequence=sequence)
        for image in value["images"]:
            image["file_name"] = f"images/{split}/{sequence}/{image['frame_id'] % 100:06d}.jpg"
            file = root / image["file_name"]
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), rng.integers(0, 255, (96, 128, 3), np.uint8))
        write(root / "annotations" / split, value, f"{sequence}.json")
    return f"posetrack18:{root}"


def measured(result: dict) -> list[dict]:
    """Our own rows."""
    return [row for row in result["rows"] if row["kind"] == "measured"]
