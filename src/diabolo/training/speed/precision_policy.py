"""Which precision to train in: measured on the run's own batches, before the first step and now and then after it."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from diabolo.devices import DTYPES, Precision, has_native_bf16
from diabolo.models.model import Model

__all__ = ["BATCHES", "FIRST_LOOK", "NOISE", "PrecisionChoice", "choose", "is_worth_measuring", "rounding", "too_much"]

Chosen = Literal["float32", "bf16"]

FASTER = 1.1  # bf16 has to be so many times as fast
COMPILED = 0.85  # where compiled steps are likely: in them conversions cost next to nothing
NOISE = 0.3  # and what it rounds off a gradient at most this part of what another batch changes in it
WORTH = 1e11  # operations of a whole training, from which on it is measured
FIRST_LOOK = 200  # steps after which rounding is looked at again, and then after twice as many each time
BATCHES = 5  # with which rounding is measured
SECONDS = 0.5  # of measuring


@dataclass(frozen=True)
class PrecisionChoice:
    """A precision, and why.

    Attributes:
        precision: float32 or bf16.
        reason: one line for a person; empty where nothing was measured.
        is_open: whether it was measured, so that it may be measured again.
    """

    precision: Chosen
    reason: str = ""
    is_open: bool = False


def is_worth_measuring(model: Model, examples: int) -> bool:
    """Whether training takes more than about a second, and the processor has bf16: what is less stays float32.

    It goes by the number of operations, so that small runs are the same every time, whatever a clock would say.

    Args:
        model: on its device.
        examples: how many are trained on, each time they are.
    """
    device = next(model.parameters()).device
    if not has_native_bf16(device):
        return False
    training, shape = model.training, (2, *model.preprocess.model_shape)
    model.eval()  # there the layers are called one by one, and can be counted
    with FlopCounterMode(display=False) as counter:
        model.decode(model.encode(torch.zeros(shape, device=device)).mean)
    model.train(training)
    return bool(3 * counter.get_total_flops() / 2 * examples >= WORTH)


def choose(
    precision: Precision,
    model: Model,
    batches: Sequence[Tensor],
    generator: torch.Generator,
    is_compiled: Callable[[float], bool] = lambda seconds: False,
) -> PrecisionChoice:
    """`auto`: bf16 where it is faster, and its rounding drowns in the noise of the batches.

    Nothing that training goes on from is changed: neither weights nor statistics nor generators.

    Args:
        precision: what was asked for.
        model: on its device.
        batches: some, (B, *event), to measure with; fewer than two decide for float32.
        generator: of the codes' noise.
        is_compiled: whether steps are likely to be, if one takes so many seconds.
    """
    if precision != "auto":
        return PrecisionChoice(precision)
    if len(batches) < 2:
        return PrecisionChoice("float32")
    with _undisturbed(model, generator):
        seconds = _seconds(model, batches[0])
    ratio, compiled = seconds["float32"] / seconds["bf16"], is_compiled(min(seconds.values()))
    if ratio < (COMPILED if compiled else FASTER):
        return PrecisionChoice("float32", f"float32: bf16 would be {ratio:.2f} times as fast.", is_open=True)
    share = rounding(model, batches, generator)
    if share > NOISE:
        return PrecisionChoice("float32", f"float32: bf16 would be {ratio:.1f} times as fast, but {too_much(share)}.")
    gain = f"{ratio:.1f} times as fast as float32{', more so in compiled steps,' if compiled else ''}"
    return PrecisionChoice("bf16", f"bf16 is {gain} and rounds off {share:.0%} of the batches' noise.", True)


def rounding(model: Model, batches: Sequence[Tensor], generator: torch.Generator) -> float:
    """How much bf16 changes the gradient of a batch, as a part of what another batch changes in it (of one: 1/sqrt 2).

    The median over pairs of batches that follow each other, since a batch with an outlier says little; all have the
    same noise. The norm is that of all parameters together.
    """
    with _undisturbed(model, generator):
        state, common = generator.get_state(), torch.random.get_rng_state()

        def gradient(batch: Tensor, name: Chosen) -> Tensor:
            generator.set_state(state)
            torch.random.set_rng_state(common)  # of which dropout draws
            return _gradient(model, batch, DTYPES[name])

        shares, exact = [], gradient(batches[0], "float32")
        for batch, following in itertools.pairwise(batches):
            rounded, other = gradient(batch, "bf16"), gradient(following, "float32")
            share = (rounded - exact).norm() / ((other - exact).norm() / 2**0.5).clamp(min=1e-30)
            shares.append(share.item() if bool(share.isfinite()) else math.inf)
            exact = other
    return statistics.median(shares)


def too_much(share: float) -> str:
    """What is said of too large a part."""
    return f"bf16 rounds off {share:.0%} of the batches' noise"


def _gradient(model: Model, batch: Tensor, dtype: torch.dtype) -> Tensor:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.train_in(dtype)
    gradients = torch.autograd.grad(model(batch).total, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])


def _seconds(model: Model, batch: Tensor) -> dict[str, float]:
    """The least that a forward and a backward pass take in each precision; in turns, since machines have moods."""
    least = dict.fromkeys(DTYPES, math.inf)
    for dtype in DTYPES.values():
        _gradient(model, batch, dtype)
    begun = time.perf_counter()
    while time.perf_counter() - begun < SECONDS or math.inf in least.values():
        for name, dtype in DTYPES.items():
            started = time.perf_counter()
            _gradient(model, batch, dtype)
            if batch.device.type == "cuda":
                torch.cuda.synchronize(batch.device)
            least[name] = min(least[name], time.perf_counter() - started)
    return least


@contextmanager
def _undisturbed(model: Model, generator: torch.Generator) -> Iterator[None]:
    """While it lasts the model trains; afterwards its precision, its statistics and all generators are as before."""
    dtype, buffers = model.dtype, [buffer.clone() for buffer in model.buffers()]
    state, training, before = generator.get_state(), model.training, model.generator
    epoch, model.epoch = model.epoch, 0.0
    model.generator = generator
    model.train()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        model.train_in(dtype)
        model.train(training)
        model.epoch, model.generator = epoch, before
        generator.set_state(state)
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(value)
