"""The one door to the fused layers: which engine computes the encoder and the decoder, and in which precision.

`torch` calls the layers as they are. `fused` computes the same numbers, but for rounding, in one node of the graph: see
`models.fused`. Which is faster depends on the processor, so that `auto` measures.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from diabolo.config import require
from diabolo.models.fused import FusedLayers, arranged_once, operation
from diabolo.storage.machine import recall, remember

__all__ = [
    "ANSWERING",
    "ENGINES",
    "ENGINE_VARIABLE",
    "FLOAT32",
    "Arithmetic",
    "Engine",
    "EngineName",
    "FusedEngine",
    "answering",
    "default_engine",
    "engine_of",
    "is_traced",
    "is_transformed",
    "operation",
    "requested",
    "why_not_fused",
]

log = logging.getLogger("diabolo")

Engine = Literal["auto", "torch", "fused"]
ENGINES = ("auto", "torch", "fused")
EngineName = Literal["torch", "fused"]
ENGINE_VARIABLE = "DIABOLO_ENGINE"  # the engine where none is named
FASTER = 1.1  # fused layers have to be so many times as fast to be the default
ROUNDS = 40  # of about a millisecond


class FusedEngine:
    """Computes modules by fused layers, planned at the first call and anew whenever a module has changed."""

    def __init__(self) -> None:
        self._plans: dict[tuple[str, torch.dtype], tuple[nn.Module, FusedLayers]] = {}

    def __call__(self, name: str, module: nn.Module, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The output of a module.

        Args:
            name: its part in the model: a plan is kept for each.
            module: the encoder or the decoder.
            x: its input, on the processor.
            dtype: what wide layers are computed in.
        """
        known, layers = self._plans.get((name, dtype), (None, None))
        if layers is None or known is not module or not layers.is_current():
            layers = FusedLayers(module, dtype)
            self._plans[name, dtype] = module, layers
        return layers(x)

    def __reduce__(self) -> tuple[type[FusedEngine], tuple[()]]:
        """A copy, or one that is pickled, has no plans: they hold the layers of this process."""
        return FusedEngine, ()


class Arithmetic(NamedTuple):
    """How layers are computed.

    Attributes:
        dtype: of wide layers: float32 or bfloat16.
        engine: computes them; None calls them as they are.
    """

    dtype: torch.dtype
    engine: FusedEngine | None


FLOAT32 = Arithmetic(torch.float32, None)


class _Answering(threading.local):
    """How this thread computes answers, where somebody says so."""

    arithmetic: Arithmetic | None = None


ANSWERING = _Answering()


@contextlib.contextmanager
def answering(arithmetic: Arithmetic) -> Iterator[None]:
    """While it lasts, this thread computes without gradients in this arithmetic, whatever a model does otherwise."""
    before, ANSWERING.arithmetic = ANSWERING.arithmetic, arithmetic
    try:
        with contextlib.nullcontext() if arithmetic.engine is None else arranged_once():
            yield
    finally:
        ANSWERING.arithmetic = before


def is_transformed() -> bool:
    """Whether operations are recorded or transformed, rather than computed."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or _depth_of_transforms() is not None  # type: ignore[attr-defined, no-untyped-call]


def is_traced(x: Tensor) -> bool:
    """Whether somebody records, transforms or watches operations, for which layers have to be called one by one.

    That is torch.compile, torch.jit, torch.func, forward-mode differentiation, an autocast of the user's own, hooks of
    all modules, and a patched `nn.Module.__call__`; and wherever the arithmetic is not the processor's.
    """
    return (
        not x.is_cpu
        or torch.is_autocast_enabled("cpu")
        or nn.Module.__call__ is not _CALL
        or is_transformed()
        or _has_hooks_of_all_modules()
        or getattr(forward_ad, "_current_level", -1) >= 0
    )


# What torch has no public way to ask; where this version does not answer, the answer is the usual one.
_depth_of_transforms = getattr(getattr(torch._C, "_functorch", None), "maybe_current_level", lambda: None)
_HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")


def _has_hooks_of_all_modules() -> bool:
    """Whether there are hooks that torch calls for every module."""
    return any([getattr(nn.modules.module, f"_global_{name}", None) for name in _HOOKS])  # noqa: C419 (in each step)


_CALL = nn.Module.__call__


def requested(engine: Engine, device: torch.device) -> Engine:
    """The engine that was asked for, by name or by the environment, as far as it is to be had.

    Args:
        engine: `auto` leaves it to the environment variable DIABOLO_ENGINE.
        device: where the arithmetic runs.

    Returns:
        `torch` where fused layers are not to be had here; that is said once.

    Raises:
        ConfigError: the environment names an engine that is not there.
    """
    if engine == "auto":
        engine = cast(Engine, os.environ.get(ENGINE_VARIABLE) or "auto")
        require(engine in ENGINES, f"The environment's {ENGINE_VARIABLE}", "auto, torch or fused", engine)
    if engine == "torch" or (engine == "auto" and device.type != "cpu"):
        return "torch"
    reason = "they are for the processor" if device.type != "cpu" else why_not_fused()
    if reason:
        _say_once(f"engine='fused' is not to be had on {device.type}: {reason}. The layers are torch's own.")
        return "torch"
    return engine


def engine_of(engine: Engine, device: torch.device) -> EngineName:
    """The engine for work that is too short to be measured: as `requested`, or the default of this machine."""
    name = requested(engine, device)
    return default_engine() if name == "auto" else name


@functools.cache
def why_not_fused() -> str:
    """Why fused layers do not compute here what torch's do; empty where they do."""
    with torch.random.fork_rng(devices=[]):  # nobody's random numbers are moved on
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Unflatten(1, (2, 4, 4)), nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Flatten())
        layers.append(nn.Linear(128, 3))
        x = torch.rand(5, 32)
    try:
        with torch.enable_grad():
            expected, values = (
                [outputs, *torch.autograd.grad(outputs.square().sum(), list(layers.parameters()))]
                for outputs in (layers(x), FusedLayers(layers, torch.float32)(x))
            )
        pairs = zip(values, expected, strict=True)
        right = all(torch.allclose(value, other, rtol=1e-3, atol=1e-3) for value, other in pairs)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        return f"torch {torch.__version__} does not carry their operations ({lines[0]})"
    return "" if right else f"torch {torch.__version__} computes them otherwise"


@functools.cache
def default_engine() -> EngineName:
    """The faster engine for a small network in float32 on this machine: measured once, and remembered in the cache."""
    name = recall("engine", lambda value: value in ("torch", "fused"))
    if name is None:
        name = "torch" if why_not_fused() or _times_as_fast() < FASTER else "fused"
        remember("engine", name)
    return cast(EngineName, name)


def _times_as_fast() -> float:
    """Torch's seconds over the fused layers' for forward and backward passes of a small network.

    The least of many short rounds, taken in turns and by one thread: on a busy machine some find a processor free,
    while a team of threads would wait for whichever does not.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            layers = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 20))
            x = torch.rand(64, 784)
            calls: tuple[Callable[[Tensor], Tensor], ...] = (layers, FusedLayers(layers, torch.float32))
            least = [math.inf, math.inf]
            for _ in range(ROUNDS):
                for number, call in enumerate(calls):
                    begun = time.perf_counter()
                    call(x).sum().backward()  # type: ignore[no-untyped-call]
                    least[number] = min(least[number], time.perf_counter() - begun)
    finally:
        torch.set_num_threads(threads)
    return least[0] / least[1]


@functools.cache
def _say_once(text: str) -> None:
    log.warning(text)
