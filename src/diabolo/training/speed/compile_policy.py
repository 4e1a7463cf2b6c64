"""Whether the step is compiled: asked for, or found to pay by timing a few steps without and with it."""

from __future__ import annotations

import functools
import statistics
import time

import torch
from torch import Tensor, nn

from diabolo.errors import ConfigError
from diabolo.training.replica import Replica
from diabolo.training.settings import Settings
from diabolo.training.speed.compiled_step import CompiledStep, NotCompiled

__all__ = ["CompilePolicy"]

WORTH = 60.0  # seconds of steps that are left, from which on compiling is tried: it takes some 15 itself
FASTER = 1.1  # a compiled step has to be so many times as fast
SKIPPED, TIMED = 5, 25  # steps that are not timed, and that are


class CompilePolicy:
    """Chooses between compiled and other steps.

    `auto` tries it where all that is learned belongs to affine layers and the objective is one of diabolo's: their time
    goes into many small operations. Convolutions do not gain, and take minutes to be compiled.

    Args:
        replica: the model.
        optimizer: of its parameters.
        settings: how to train.
        generator: where noise is drawn from.
        size: examples in a full batch.

    Attributes:
        is_used: whether the last step of a full batch was compiled.

    Raises:
        ConfigError: compiled steps were asked for where there are none.
    """

    def __init__(
        self,
        replica: Replica,
        optimizer: torch.optim.Optimizer,
        settings: Settings,
        generator: torch.Generator,
        size: int,
    ) -> None:
        self._made = functools.partial(CompiledStep, replica.model, optimizer, settings, generator)
        self._size = size
        self._insists = settings.compile == "on"
        alone = replica.processes.count == 1 and settings.accumulate == 1
        if self._insists and not (alone and replica.device.type in ("cpu", "cuda")):
            raise ConfigError(
                "compile='on' is for one process on a processor or a GPU of CUDA, and for whole batches "
                f"(accumulate=1); here are {replica.processes.count} process(es), the device {replica.device.type} and "
                f"accumulate={settings.accumulate}: leave compile out, or change these."
            )
        self._is_open = self._insists or (settings.compile == "auto" and alone and _gains(replica))
        self._step: CompiledStep | None = None
        self._seconds: list[float] = []  # of the last steps of a full batch
        self._eager = 0.0  # seconds of a step that was not compiled
        self._took = 0.0  # seconds of compiling

    @property
    def is_used(self) -> bool:
        """Whether steps are compiled now."""
        return self._step is not None

    def is_likely(self, seconds: float) -> bool:
        """Whether steps are likely to be compiled, if those that are left would take so long."""
        return self._is_open and (self._insists or seconds >= WORTH)

    def again(self) -> None:
        """Forgets a compiled step, because the precision has changed."""
        self._is_open = self._is_open or self.is_used
        self._step, self._seconds = None, []

    def of(self, batch: Tensor) -> CompiledStep | None:
        """The compiled step for a batch; None where it is to be taken otherwise."""
        return self._step if self._step is not None and self._step.fits(batch) else None

    def took(self, batch: Tensor, seconds: float, left: int) -> str:
        """Counts a step, and from time to time decides something.

        Args:
            batch: its batch.
            seconds: how long it took.
            left: how many are left.

        Returns:
            What was decided, for a person; mostly nothing.

        Raises:
            ConfigError: compiled steps were asked for, and there is no compiler or no way to compile the model.
        """
        if not self._is_open or len(batch) != self._size:
            return ""
        self._seconds.append(seconds)
        if self._step is None and self._insists:
            return self._compile(batch)
        if len(self._seconds) < SKIPPED + TIMED:
            return ""
        typical = statistics.median(self._seconds[SKIPPED:])
        self._seconds = []
        if self._step is not None:
            return self._judge(typical)
        if typical * left < WORTH:
            self._is_open = typical * left > WORTH / 2  # near it, look again
            return ""
        self._eager = typical
        return self._compile(batch)

    def _compile(self, batch: Tensor) -> str:
        begun = time.monotonic()
        try:
            self._step = self._made(batch)
        except NotCompiled as error:
            self._is_open = False
            if self._insists:
                raise ConfigError(f"The step cannot be compiled: {error} Leave compile out, or say 'off'.") from error
            return f"Steps are not compiled: {error}"
        self._took = time.monotonic() - begun
        self._is_open = not self._insists
        return f"Steps are compiled, which took {self._took:.0f} s." if self._insists else ""

    def _judge(self, compiled: float) -> str:
        self._is_open = False
        ratio = self._eager / compiled
        times = f"{self._eager * 1e3:.2f} ms, compiled {compiled * 1e3:.2f} ms"
        if ratio < FASTER:
            self._step = None
            return f"Steps are not compiled: a step takes {times}."
        return (
            f"Steps are compiled, {ratio:.1f} times as fast: a step takes {times}; compiling took {self._took:.0f} s."
        )


def _gains(replica: Replica) -> bool:
    """Whether a compiled step is likely to be faster."""
    model = replica.model
    learned = {id(value) for value in model.parameters() if value.requires_grad}
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    affine = {id(value) for layer in layers for value in layer.parameters()}
    own = (id(value) for value in (*model.objective.parameters(), *model.likelihood.parameters()))
    return (
        replica.device.type == "cpu"
        and type(model.objective).__module__.startswith("diabolo.")
        and learned <= affine | set(own)
    )
