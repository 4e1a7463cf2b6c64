"""The layers of a model, with the shapes of what they give and their parameters, as tutorials print them."""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diabolo.models.engine import FLOAT32
from diabolo.models.model import Model

__all__ = ["Layer", "Summary", "summary_of"]

PARTS = ("encoder", "decoder")


class Layer(NamedTuple):
    """A layer.

    Attributes:
        part: `encoder` or `decoder`.
        name: within the part.
        kind: its class.
        shape: of what it gives for an example; () where it gives no tensor.
        parameters: its own; those that were counted before are 0.
    """

    part: str
    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


class Summary(NamedTuple):
    """The layers of a model in the order in which an example meets them.

    Attributes:
        layers: of the encoder, then of the decoder.
        parameters: of the whole model, with those of the variant and the likelihood.
    """

    layers: tuple[Layer, ...]
    parameters: int

    def __repr__(self) -> str:
        """A table."""
        rows = [("layer", "kind", "output", "parameters")]
        for part in PARTS:
            own = [layer for layer in self.layers if layer.part == part]
            rows += [
                (f"{part}.{one.name}", one.kind, " x ".join(map(str, one.shape)), f"{one.parameters:,}") for one in own
            ]
        rest = self.parameters - sum(layer.parameters for layer in self.layers)
        rows += [("others", "", "", f"{rest:,}")] * bool(rest) + [("all", "", "", f"{self.parameters:,}")]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["{:<{}}  {:<{}}  {:<{}}  {:>{}}".format(*chain(*zip(row, widths, strict=True))) for row in rows]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


@torch.no_grad()
def summary_of(model: Model) -> Summary:
    """The layers that an example of zeros meets on its way through a model: modules without modules in them.

    >>> from diabolo.models import Preprocess, build_model
    >>> flat = Preprocess(event_shape=(6,), layout="F", scale="standard")
    >>> summary_of(build_model(flat, model="autoencoder", latent_dim=2, options={"network": {"widths": (3,)}}))
    layer             kind    output  parameters
    ...
    """
    layers: list[Layer] = []
    counted: set[int] = set()

    def note(part: str, name: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            if any((layer.part, layer.name) == (part, name) for layer in layers):
                return
            own = [one for one in module.parameters() if id(one) not in counted]
            counted.update(map(id, own))
            shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
            layers.append(Layer(part, name, type(module).__name__, shape, sum(one.numel() for one in own)))

        return hook

    hooks = [
        module.register_forward_hook(note(part, name or "forward"))
        for part in PARTS
        for name, module in getattr(model, part).named_modules()
        if not [*module.children()]
    ]
    modes, arithmetic = [(module, module.training) for module in model.modules()], model.evaluation_arithmetic
    model.eval()
    model.evaluation_arithmetic = FLOAT32  # layer by layer
    try:
        device = next((one.device for one in model.parameters()), torch.device("cpu"))
        model.passed(model.prepare(torch.zeros(2, *model.preprocess.event_shape, device=device).to(torch.float32)))
    finally:
        for hook in hooks:
            hook.remove()
        model.evaluation_arithmetic = arithmetic
        for module, mode in modes:
            module.training = mode
    order = sorted(layers, key=lambda layer: PARTS.index(layer.part))
    return Summary(tuple(order), sum(one.numel() for one in model.parameters()))
