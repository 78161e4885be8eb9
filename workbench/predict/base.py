"""What every method shares: a model on its device, looked into, switched, or unlearned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attribution import Attribution, attribute
from ..checkpoint import load_into
from ..errors import BadParameter, check_choice
from ..memory import keep_freed
from ..records import Detections
from ..skeletons import Skeleton, skeleton, titled
from ..taps import Recording, record
from ..threads import threads_for

INPUT_AXES = {  # of what models read, the last ones where it has fewer
    "xy": "frame joint xy",
    "confidence": "joint",
    "images": "frame colour y x",
    "maps": "joint y x",
    "heatmaps": "frame joint y x",
    "features": "frame channel y x",
    "auxiliary_xy_crop": "frame joint xy",
}


def _arranged(model: nn.Module) -> nn.Module:
    """For inference: convolutions over pictures are faster with channels last (STDPose takes 0.79
    of the time on a CPU, VisSimCC 0.69, OTPose 0.94), whatever layout the pictures have.
    """
    return model.to(memory_format=torch.channels_last).eval()


class Predictor:
    """A model with what it needs around it.

    `precision` is "fp32" or "bf16" (mixed), which `load` sets for what reads pictures.
    """

    precision = "fp32"
    # parts of the model that `random_control` leaves as they are
    stays: ClassVar[tuple[str, ...]] = ()
    # what `attribute` explains of a joint
    explained: ClassVar[tuple[str, ...]] = ("x", "y")

    def __init__(self, model: nn.Module, name: str, joints: str):
        keep_freed()
        self.model = _arranged(model)
        self.name = name
        self.skeleton: Skeleton = skeleton(joints)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def to(self, device: str | torch.device) -> Predictor:
        self.model.to(device)
        return self

    def around(self, model: nn.Module, name: str | None = None) -> Predictor:
        """The same predictor around another model, on the same device."""
        other = copy.copy(self)
        other.model = _arranged(model.to(self.device))
        other.name = self.name if name is None else name
        return other

    def autocast(self) -> torch.autocast:
        """Its precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Where its model is called: no gradients, and its precision."""
        with threads_for(self.model), torch.inference_mode(), self.autocast():
            yield

    def check_skeleton(self, detections: Detections) -> None:
        """`BadParameter` for people of other joints."""
        joints = detections.skeleton
        if skeleton(joints) is not self.skeleton:
            raise BadParameter(
                f"detections are {titled(joints)}, the model knows {self.skeleton.name}",
                file=detections.source or None,
                remedy=f"load weights trained for {titled(joints)}",
            )

    # --- looking inside ---------------------------------------------------------------------------

    def one_pass(self, *inputs, **options) -> Any:
        """What `look` looks at: the model's own arguments to the model's own answer."""
        return self.model(*inputs, **options)

    def look(
        self,
        *inputs,
        names: Iterable[str] | None = None,
        edit: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
        **options,
    ) -> tuple[Any, Recording]:
        """`one_pass` with its taps recorded, and edited if asked: (its answer, recording).

        names: taps, None for all of them; edit: as of `taps.record`, whose errors it raises.
        """
        seen = record(self.model, names, edit=edit)
        with threads_for(self.model), torch.no_grad(), self.autocast(), seen as taps:
            answer = self.one_pass(*inputs, **options)
        return answer, taps

    def held(self) -> tuple[str, ...]:
        """Taps that jump, and keep what they have at the input while `attribute` runs."""
        return ()

    def value_of(
        self, found: Mapping[str, Tensor], own: Mapping[str, Tensor], joint: int, axis: str
    ) -> Float[Tensor, "m"]:
        """What `attribute` explains, of m answers. own: the answer to the input itself."""
        return found["xy"][:, joint, "xy".index(axis)]

    def attribute(
        self,
        inputs: Mapping[str, Tensor],
        joint: str,
        axis: str = "x",
        to: str | None = None,
        *,
        frame: int | None = None,
        **options,
    ) -> Attribution:
        """How much each number of an input, or of what a tap passes on, adds to one joint's value.

        inputs: the model's own arguments, a batch of one. axis: "x" or "y", in the model's units;
        "confidence" of models that read pictures. to: an input's or tap's name, None: the first
        input. frame: of a sequence. options, errors: as of `attribution.attribute`. Of one pass,
        without a mirror image.
        """
        check_choice("axis", axis, self.explained)
        place = {} if frame is None else {"frame": frame}
        number = self.skeleton.index(joint)
        inputs = {name: value.to(self.device) for name, value in inputs.items()}
        to = next(iter(inputs)) if to is None else to
        with threads_for(self.model), torch.no_grad():
            own = self.model(**inputs)
        if to in inputs:
            dims = inputs[to].dim() - 1
            options["axes"] = INPUT_AXES.get(to, "").split()[-dims:]
        return attribute(
            self.model,
            inputs,
            lambda found: self.value_of(found, own, number, axis, **place),
            to,
            held=self.held(),
            of=f"{joint} {axis}",
            **options,
        )

    def switched(self, **changes) -> Predictor:
        """The same weights in a model with other switches, such as `blind=True`.

        Weights that the other model has no place for are left out (heads that `split_joints` share
        out the first one's queries, keys and values). `CheckpointMismatch` where a switch asks for
        weights that are not there, or for other shapes.
        """
        model = type(self.model)(replace(self.model.config, **changes))
        places, weights = model.state_dict(), self.model.state_dict()
        load_into(model, {name: weights[name] for name in places if name in weights})
        return self.around(model)

    def random_control(self, seed: int = 0) -> Predictor:
        """The same with fresh random weights: what its pictures look like when nothing is learned.

        A single-frame estimator inside stays as it is.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = type(self.model)(self.model.config)
        for part in self.stays:
            getattr(model, part).load_state_dict(getattr(self.model, part).state_dict())
        return self.around(model, "random weights")
