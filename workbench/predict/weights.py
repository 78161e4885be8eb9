"""Which weights are shipped, and a predictor from a weight file and its card."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import torch

from .. import checkpoint
from ..errors import BadParameter, CheckpointMismatch, MissingFile
from ..models import build, config_of
from ..skeletons import titled
from .base import Predictor

SHIPPED = {  # method -> skeletons with weights of their own, the usual one first
    "port": ("hand21", "coco17"),
    "hanet": ("jhmdb15",),
    "vissimcc": ("coco17",),
    "vissimcc-reasoning": ("coco17",),
    "vissimcc-baseline": ("coco17",),
    "otpose": ("posetrack15",),
    "stdpose": ("posetrack15",),
}
# joints of any set are found by name
OF_PICTURES = {name for name in SHIPPED if name not in ("port", "hanet")}
PREDICTORS = {  # model -> what stands around it, imported when it is asked for
    "port": "poses.PortRefiner",
    "hanet": "sequences.SequenceRefiner",
    "vissimcc": "estimate.PoseEstimator",
    "otpose": "estimate.ClipEstimator",
    "stdpose": "estimate.Propagator",
}


def predictor_of(method: str) -> type[Predictor]:
    """The class that stands around a method's model."""
    home, _, name = PREDICTORS[method].partition(".")
    return getattr(import_module(f"{__package__}.{home}"), name)


def weights_path(name: str = "port", skeleton: str | None = None) -> Path:
    """The shipped weight file of a method for a skeleton (None: the method's usual one), or the
    file that is named.
    """
    path = Path(name)
    if path.suffix == ".safetensors":
        return path
    stem = f"{name}_{skeleton or SHIPPED.get(name, ('',))[0]}_synthetic"
    return Path(__file__).parents[1] / "checkpoints" / f"{stem}.safetensors"


def named_file(weights: str | Path) -> tuple[Path, dict]:
    """The file of weights that a user names: its path, or the `NAME` (or `NAME:FOLDER`) of fetched
    ones; and what the manifest of these says in the place of a card: skeleton, size.

    Errors: `MissingData` for weights of that name that are not here.
    """
    from ..data.manifest import fetched_weights  # slow to import, and not for shipped weights

    path = Path(weights)
    if path.is_file() or (named := fetched_weights(str(weights))) is None:
        return path, {}
    entry, path = named
    return path, {"skeleton": entry.skeleton, "size": entry.crop_wh and tuple(entry.crop_wh)}


def described(
    name: str = "port",
    *,
    skeleton: str | None = None,
    weights: str | Path | None = None,
    precision: str = "fp32",
) -> tuple[Path, dict]:
    """Where a method's weights lie, and their card, of published ones what `named_file` says; no
    weights are read.

    Arguments and errors: as of `load`, as far as they can be told before its work.
    """
    path, told = (weights_path(name, skeleton), {}) if weights is None else named_file(weights)
    if not path.exists():
        shipped = "; ".join(f"{method} for {', '.join(known)}" for method, known in SHIPPED.items())
        whose = titled(skeleton) if weights is None and skeleton else ""
        lacking = f": {name} has none for {whose}" if whose else ""
        raise MissingFile(
            f"no such weights{lacking}", file=path, remedy=f"shipped: {shipped}; or name a file"
        )
    card = checkpoint.read_card(path) if path.suffix == ".safetensors" else {}
    method = card.get("model")
    published = weights is not None and method is None
    if weights is not None and not name.startswith("vissimcc" if published else method):
        raise BadParameter(
            f"{name} from {'published weights' if published else f'weights of {method}'}",
            file=path,
            remedy="vissimcc reads published weights, others what `workbench train` wrote for them",
        )
    if method not in PREDICTORS and not published:
        raise CheckpointMismatch(
            f"the card does not describe a model of the workbench: it says {method!r}",
            file=path,
            remedy=f"known are {', '.join(PREDICTORS)}",
        )
    reads_pictures = published or method in OF_PICTURES
    if precision not in ("fp32", "bf16") or (precision == "bf16" and not reads_pictures):
        raise BadParameter(
            f"{method or name} in {precision!r}",
            remedy="choose fp32, or bf16 for what reads pictures",
        )
    return path, told if published else card


def load(
    name: str = "port",
    *,
    skeleton: str | None = None,
    weights: str | Path | None = None,
    size: tuple[int, int] | None = None,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
) -> Predictor:
    """What a method does, from its shipped weights, or from a safetensors file that the workbench
    wrote.

    skeleton: which of the shipped ones, as `detections.skeleton` says; None is the method's usual
    one; of published weights, the order of their joints where no manifest says it. weights: a file
    in the place of the shipped one; vissimcc also takes published checkpoints of estimators that
    its map knows, or the NAME of those that `workbench data fetch` has brought, for crops of `size`
    (width, height) px where file and manifest leave that open. precision: of estimators
    that read pictures, "fp32" or "bf16" (mixed; faster where the hardware has it, RESULTS.md says
    what it changes). A card holds the model's configuration and what is needed around it (PORT: the
    rule for delta; HANet: the window; VisSimCC: the boxes' padding).

    Errors: `MissingFile`, `MissingData`; `CheckpointMismatch` for a file without the card of a
    known model, or weights that do not fit it; `BadParameter` for a precision or file that the
    method does not take.
    """
    path, card = described(name, skeleton=skeleton, weights=weights, precision=precision)
    if "model" not in card:
        from ..models.published import public_model  # reads pictures: not for all

        tensors = checkpoint.read_public(path)
        size, skeleton = size or card.get("size"), card.get("skeleton") or skeleton
        model = public_model(tensors, size=size, skeleton=skeleton, file=path)
        predictor = predictor_of("vissimcc")(model, name)
    elif size is not None:
        raise BadParameter(
            f"size {size}", file=path, remedy="leave it out: the weights' card states their size"
        )
    else:
        method = card["model"]
        try:  # tuples have become lists in a card
            config = {k: tuple(v) if type(v) is list else v for k, v in card["config"].items()}
            model = build(method, type(config_of(method))(**config))
            predictor = predictor_of(method).from_card(model, card, name)
        except (KeyError, TypeError) as error:
            raise CheckpointMismatch(
                f"the card does not describe {method}: {error}",
                file=path,
                remedy=f"train it with `workbench train {method}`",
            ) from None
        checkpoint.load(path, model)
    predictor.precision = precision
    return predictor.to(device)
