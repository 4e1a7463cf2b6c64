"""Which precision and which engine to train in: measured on the run's own batches, before the first step."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from diabolo.devices import DTYPES, Precision, has_native_bf16
from diabolo.models.engine import Engine, EngineName, FusedEngine, engine_of
from diabolo.models.model import Model
from diabolo.models.objectives import Batch

__all__ = [
    "BATCHES",
    "FIRST_LOOK",
    "NOISE",
    "PrecisionChoice",
    "choose",
    "has_single_places",
    "is_worth_measuring",
    "rounding",
    "too_much",
]

Chosen = Literal["float32", "bf16"]
Way = tuple[Chosen, EngineName]  # in which a step may be computed

FASTER = 1.1  # another way than the usual has to be so many times as fast
COMPILED = 0.85  # bf16, where compiled steps are likely: in them conversions cost next to nothing
NOISE = 0.3  # and what it rounds off a gradient at most this part of what another batch changes in it
WORTH = 1e11  # operations of a whole training, from which on it is measured
FIRST_LOOK = 200  # steps after which rounding is looked at again, and then after twice as many each time
BATCHES = 5  # with which rounding is measured
SECONDS = 0.5  # of measuring


@dataclass(frozen=True)
class PrecisionChoice:
    """A precision and an engine, and why.

    Attributes:
        precision: float32 or bf16.
        engine: computes the layers: torch or fused.
        reason: one line for a person; empty where nothing was measured.
        is_open: whether the precision was measured, so that it may be measured again.
        seconds: the least that a step's gradients took, where that was measured.
    """

    precision: Chosen
    engine: EngineName
    reason: str = ""
    is_open: bool = False
    seconds: float | None = None


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the floating-point operations of this thread; torch's own counter has hooks that all threads would see."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        operations_of = flop_registry.get(function._overloadpacket)
        if operations_of is not None:
            self.total += operations_of(*args, **(kwargs or {}), out_val=output)
        return output


def is_worth_measuring(model: Model, examples: int) -> bool:
    """Whether training takes more than about a second: what is less stays as it is.

    It goes by the number of operations, so that small runs are the same every time, whatever a clock would say.

    Args:
        model: on its device.
        examples: how many are trained on, each time they are.
    """
    device = next(model.parameters()).device
    training, shape = model.training, (2, *model.preprocess.model_shape)
    model.eval()  # there the layers are called one by one, and can be counted
    with _Operations() as counter:
        model.passed(torch.zeros(shape, device=device))
    model.train(training)
    return bool(3 * counter.total / 2 * examples >= WORTH)


@torch.no_grad()
def has_single_places(model: Model) -> bool:
    """Whether a convolution gets maps of one place: torch's gradient of it in bf16 reads memory that nobody wrote."""
    seen: list[bool] = []

    def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(math.prod(inputs[0].shape[2:]) == 1)

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    hooks = [layer.register_forward_pre_hook(look) for layer in model.modules() if isinstance(layer, kinds)]
    if hooks:
        device, training = next(model.parameters()).device, model.training
        model.eval()
        model.passed(torch.zeros((2, *model.preprocess.model_shape), device=device))
        model.train(training)
    for hook in hooks:
        hook.remove()
    return any(seen)


def choose(
    precision: Precision,
    engine: Engine,
    model: Model,
    batches: Sequence[Batch],
    generator: torch.Generator,
    is_compiled: Callable[[float], bool] = lambda seconds: False,
) -> PrecisionChoice:
    """The engine that is faster in float32; bf16 where that is faster still, and drowns in the noise of the batches.

    Nothing that training goes on from is changed: neither weights nor statistics nor generators.

    Args:
        precision: as requested; auto measures.
        engine: as requested; auto measures.
        model: on its device.
        batches: some, of x (B, *event), to measure with; fewer than two leave float32 and the machine's default engine.
        generator: of the latent codes' noise.
        is_compiled: whether steps are likely to be, if one takes so many seconds.
    """
    device = next(model.parameters()).device
    usual = engine_of(engine, device) if engine == "auto" else engine
    engines: tuple[EngineName, ...] = ("torch", "fused") if engine == "auto" else (usual,)
    if precision != "auto" and len(engines) == 1:
        return PrecisionChoice(precision, usual)
    if len(batches) < 2:
        return PrecisionChoice("float32" if precision == "auto" else precision, usual)
    precisions: list[Chosen] = [precision] if precision != "auto" else ["float32"]
    ways: list[Way] = [(name, one) for name in precisions for one in engines]
    if precision == "auto" and has_native_bf16(device):
        ways.append(("bf16", "fused" if "fused" in engines else "torch"))
    if len(ways) == 1:
        return PrecisionChoice(ways[0][0], usual)
    with _undisturbed(model, generator):
        seconds = _seconds(model, batches[0], ways)
    first = precisions[0]
    other = next((one for one in engines if one != usual), usual)
    if seconds[first, usual] > FASTER * seconds[first, other]:
        usual, other = other, usual
    comparison = _compared(seconds, first, usual, other)
    if ways[-1][0] == first:  # there was no choice of a precision
        return PrecisionChoice(first, usual, comparison, seconds=seconds[first, usual])
    exact = seconds["float32", usual]
    ratio, compiled = exact / seconds[ways[-1]], is_compiled(min(seconds.values()))
    if ratio < (COMPILED if compiled else FASTER):
        reason = f"float32: bf16 would be {ratio:.2f} times as fast.{comparison}"
        return PrecisionChoice("float32", usual, reason, True, exact)
    share = rounding(model, batches, generator, ways[-1][1])
    if share > NOISE:
        reason = f"float32: bf16 would be {ratio:.1f} times as fast, but {too_much(share)}.{comparison}"
        return PrecisionChoice("float32", usual, reason, seconds=exact)
    gain = f"{ratio:.1f} times as fast as float32{', more so in compiled steps,' if compiled else ''}"
    reason = f"bf16 is {gain} and rounds off {share:.0%} of the batches' noise."
    return PrecisionChoice("bf16", ways[-1][1], reason, True, seconds[ways[-1]])


def _compared(seconds: Mapping[Way, float], precision: Chosen, usual: EngineName, other: EngineName) -> str:
    """What is said of the engines, where both were measured."""
    if usual == other:
        return ""
    ratio = seconds[precision, other] / seconds[precision, usual]
    return f" The {usual} engine takes a step {ratio:.2f} times as fast as {other}'s."


def rounding(model: Model, batches: Sequence[Batch], generator: torch.Generator, engine: EngineName = "fused") -> float:
    """How much bf16 changes the gradient of a batch, as a part of what another batch changes in it (of one: 1/sqrt 2).

    The median over pairs of batches that follow each other, since a batch with an outlier says little; all have the
    same noise. The norm is that of all parameters together.
    """
    with _undisturbed(model, generator):
        state, common = generator.get_state(), torch.random.get_rng_state()
        layers = FusedEngine() if engine == "fused" else None

        def gradient(batch: Batch, name: Chosen) -> Tensor:
            generator.set_state(state)
            torch.random.set_rng_state(common)  # of which dropout draws
            return _gradient(model, batch, DTYPES[name], layers)

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


def _gradient(model: Model, batch: Batch, dtype: torch.dtype, engine: FusedEngine | None) -> Tensor:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.start_training(dtype, engine)
    gradients = torch.autograd.grad(
        model(batch.x, batch.y, batch.index).total, parameters, allow_unused=True, materialize_grads=True
    )
    return torch.cat([gradient.flatten() for gradient in gradients])


def _seconds(model: Model, batch: Batch, ways: Sequence[Way]) -> dict[Way, float]:
    """The least that a forward and a backward pass take in each way; in turns, since machines have moods."""
    least = dict.fromkeys(ways, math.inf)
    engines = {"torch": None, "fused": FusedEngine()}
    for precision, engine in ways:
        _gradient(model, batch, DTYPES[precision], engines[engine])
    begun = time.perf_counter()
    while time.perf_counter() - begun < SECONDS or math.inf in least.values():
        for way in ways:
            started = time.perf_counter()
            _gradient(model, batch, DTYPES[way[0]], engines[way[1]])
            if batch.x.device.type == "cuda":
                torch.cuda.synchronize(batch.x.device)
            least[way] = min(least[way], time.perf_counter() - started)
    return least


@contextmanager
def _undisturbed(model: Model, generator: torch.Generator) -> Iterator[None]:
    """While it lasts the model trains; afterwards its precision, its statistics and all generators are as before."""
    arithmetic, buffers = model.training_arithmetic, [buffer.clone() for buffer in model.buffers()]
    state, training, before = generator.get_state(), model.training, model.generator
    epoch, model.epoch = model.epoch, 0.0
    model.generator = generator
    model.train()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        model.start_training(*arithmetic)
        model.train(training)
        model.epoch, model.generator = epoch, before
        generator.set_state(state)
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(value)
