"""What a user's decoder ends in: its outputs must be able to become what the likelihood reads them as."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
from torch import Tensor, nn

from diabolo.errors import ConfigError
from diabolo.models.model import Model

__all__ = ["check_outputs"]

PASSING = (nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd, nn.AlphaDropout)
UNIT, POSITIVE = (0.0, 1.0), (0.0, math.inf)
RANGES: dict[type[nn.Module], tuple[float, float]] = {
    **dict.fromkeys((nn.Sigmoid, nn.Hardsigmoid, nn.Softmax, nn.Softmin, nn.Softmax2d), UNIT),
    **dict.fromkeys((nn.Tanh, nn.Hardtanh, nn.Softsign), (-1.0, 1.0)),
    **dict.fromkeys((nn.ReLU, nn.Softplus), POSITIVE),
    **dict.fromkeys((nn.LogSigmoid, nn.LogSoftmax), (-math.inf, 0.0)),
    nn.ReLU6: (0.0, 6.0),
}
CODES, LARGER = 32, 1e3  # codes that are decoded to see how far outputs go, and how much larger the weights are then
FULL = 1e-3  # of an end, at which an output has reached it
BEYOND = 0.01  # of the values, which may lie where no output comes


@torch.no_grad()
def check_outputs(model: Model, x: Tensor) -> list[str]:
    """What to say of a decoder whose outputs do not reach the values of examples, before it is trained.

    The module that gives the output is the last that is called; where a function follows, outputs with weights that are
    a thousand times as large tell its range.

    Args:
        model: with a decoder of the user's own, untrained.
        x: (n, C, ...), examples as the model sees them.

    Raises:
        ConfigError: the decoder ends in a module that squashes, and the likelihood squashes its outputs again.
    """
    last, outputs = _decoded(model)
    if not bool(torch.isfinite(outputs).all()):
        return []
    if last is None:
        low, high = _range_of(outputs)
        name = "a function like sigmoid or softmax" if low == 0 else "a function like tanh"
    else:
        low, high = RANGES.get(type(last), (-math.inf, math.inf))
        if type(last) is nn.Hardtanh:
            low, high = float(last.min_val), float(last.max_val)
        name = type(last).__name__
    if not math.isfinite(low) and not math.isfinite(high):
        return []
    span = f"[{low:g}, {high:g}]".replace("[-inf", "(-inf").replace("inf]", "inf)")
    if model.likelihood.squashes:
        applied = "is applied twice" if (low, high) == UNIT and name == "Sigmoid" else "comes on top of it"
        sentence = (
            f"The decoder ends in {name}, which gives values in {span}, and the likelihood takes the output through a "
            f"sigmoid of its own: this {applied}, and many values cannot be reached. Take {name} away"
        )
        keeps = (low, high) == UNIT and hasattr(model.likelihood, "inputs")
        sentence += ", or keep it and say inputs='probabilities'." if keeps else "."
        if last is not None:
            raise ConfigError(sentence)
        return [sentence.replace("ends in", "seems to end in")]
    outside = float(((x < low - FULL) | (x > high + FULL)).float().mean())
    if outside < BEYOND:
        return []
    how = "ends" if last is not None else "seems to end"
    return [
        f"The decoder {how} in {name}, which gives values in {span}, and {outside:.0%} of the training values lie "
        f"outside, as the model sees them: it cannot reach these. Take {name} away, or choose another scaling "
        "(--scaling range gives values in [0, 1])."
    ]


def _decoded(model: Model) -> tuple[nn.Module | None, Tensor]:
    """The module that gives a decoder's output, if one does; else outputs that reach the ends of their range."""
    calls: list[tuple[nn.Module, Tensor]] = []

    def called(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not isinstance(module, PASSING):
            calls.append((module, output))

    leaves = [module for module in model.decoder.modules() if not list(module.children())]
    hooks = [leaf.register_forward_hook(called) for leaf in leaves if not isinstance(leaf, torch.jit.ScriptModule)]
    buffers = {name: value.clone() for name, value in model.decoder.named_buffers()}
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(CODES, model.latent_dim, generator=generator).to(model.preprocess.shift.device)
    y = None if model.objective.labels == "none" else torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
    fed = model.objective.embed(codes, y)
    training = model.training
    model.eval()
    try:
        outputs = model.decoder(fed)
    finally:
        for hook in hooks:
            hook.remove()
    larger = {name: LARGER * weight for name, weight in model.decoder.named_parameters()}
    stretched = torch.full_like(outputs, math.inf)
    with contextlib.suppress(Exception):  # a module may not let its weights be replaced
        stretched = torch.func.functional_call(model.decoder, larger, (fed,))
    for name, value in model.decoder.named_buffers():
        value.copy_(buffers[name])
    model.train(training)
    module, output = calls[-1] if calls else (None, outputs)
    is_last = module is not None and output.numel() == outputs.numel()
    if is_last and torch.equal(output.flatten().sort().values, outputs.flatten().sort().values):
        return module, outputs
    return None, stretched


def _range_of(outputs: Tensor) -> tuple[float, float]:
    """The range that outputs fill and do not leave, as those of sigmoid and tanh do."""
    least, most = float(outputs.min()), float(outputs.max())
    for low, high in (UNIT, (-1.0, 1.0)):
        is_full = least <= low + FULL * (high - low) or most >= high - FULL * (high - low)
        if low <= least and most <= high and is_full and least < most:
            return low, high
    return -math.inf, math.inf
