"""Whether the step is compiled: asked for, or found to pay by timing a few steps without and with it."""

from __future__ import annotations

import functools
import statistics
import time
from typing import Any

import torch
from torch import nn

from diabolo.errors import ConfigError
from diabolo.models.objectives import Batch
from diabolo.storage.machine import recall, remember
from diabolo.training.replica import Replica
from diabolo.training.settings import Settings
from diabolo.training.speed.compiled_step import CompiledStep, NotCompiled

__all__ = ["CompilePolicy"]

FASTER = 1.1  # a compiled step has to be so many times as fast to be kept
MARGIN = 1.5  # and what is expected to be saved so many times what compiling costs, to be tried
SKIPPED, TIMED = 5, 25  # steps that are not timed, and that are
REMEMBERED = "compiling"  # the name under which costs are kept
USUAL = (20.0, 1.4)  # seconds of compiling on an idle machine and times as fast, until some were measured here


class CompilePolicy:
    """Chooses between compiled and other steps.

    `auto` tries it where it is expected to save more of the steps that are left, at the rate of the last ones, than it
    costs: what it cost and gained before is remembered for this machine. That is where all that is learned belongs to
    affine layers and the objective is one of diabolo's, whose time goes into many small operations; convolutions do not
    gain, and take minutes to be compiled.

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
        self._compiled = functools.partial(CompiledStep, replica.model, optimizer, settings, generator)
        self._size = size
        self._insists = settings.compile == "on"
        alone = replica.processes.count == 1 and settings.accumulate == 1
        if self._insists and not (alone and replica.device.type in ("cpu", "cuda")):
            raise ConfigError(
                "compile='on' is for one process on a processor or a GPU of CUDA, and for whole batches "
                f"(accumulate=1); here are {replica.processes.count} process(es), the device {replica.device.type} and "
                f"accumulate={settings.accumulate}: leave compile out, or change these."
            )
        self._is_open = self._insists or (settings.compile == "auto" and alone)
        self._why_not = "" if self._insists or not self._is_open else _why_not(replica)
        self._step: CompiledStep | None = None
        self._eager = 0.0  # seconds of a step that was not compiled
        self._wall = 0.0  # seconds that compiling took
        self._cost = 0.0  # and would have taken on an idle machine
        # What compiling costs and gains depends on how much there is to compile, and to compute, for a step.
        parameters = sum(value.numel() for value in replica.model.parameters())
        self._kind = f"{parameters.bit_length()}-{size.bit_length()}"
        self._known: dict[str, list[float]] = _costs() if self._is_open else {}
        self._start_timing()

    @property
    def is_active(self) -> bool:
        """Whether a step has to ask: for a compiled step, or to be timed."""
        return self._is_open or self._step is not None

    @property
    def is_used(self) -> bool:
        """Whether steps are compiled now."""
        return self._step is not None

    def is_likely(self, seconds: float) -> bool:
        """Whether steps will be compiled where they take so many seconds in all, on an idle machine."""
        return self._is_open and not self._why_not and (self._insists or self._pays(seconds, 1.0))

    def again(self) -> None:
        """Forgets a compiled step, because the precision has changed."""
        self._is_open = self._is_open or self.is_used
        self._step = None
        self._start_timing()

    def step_for(self, batch: Batch) -> CompiledStep | None:
        """The compiled step for a batch; None where it is to be taken otherwise."""
        return self._step if self._step is not None and self._step.fits(batch) else None

    def took(self, batch: Batch, seconds: float, left: int) -> str:
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
        share = self._share_of_processors()
        self._start_timing()
        if self._step is not None:
            return self._judge(typical)
        if not self._pays(typical * left, share):
            self._is_open = self._pays(2 * typical * left, 1.0)  # near it, or where others leave, look again
            return ""
        if self._why_not:
            self._is_open = False
            return f"Steps are not compiled: {self._why_not}."
        self._eager = typical
        return self._compile(batch, share)

    def _pays(self, seconds: float, share: float) -> bool:
        """Whether compiling is expected to save more of so many seconds of steps than it costs.

        Args:
            seconds: of the steps that are left, as they are now.
            share: the part of the processors' time that this process gets: compiling takes the longer, the less.
        """
        cost, times = self._expected()
        return seconds * (1 - 1 / max(times, 1.0)) > MARGIN * cost / share

    def _expected(self) -> tuple[float, float]:
        """Seconds of compiling on an idle machine, and how many times as fast compiled steps are."""
        if self._kind in self._known:
            return self._known[self._kind][0], self._known[self._kind][1]
        return statistics.median([USUAL[0], *(cost for cost, _ in self._known.values())]), USUAL[1]

    def _start_timing(self) -> None:
        self._seconds: list[float] = []  # of the last steps of a full batch
        self._since = time.monotonic(), time.process_time()

    def _share_of_processors(self) -> float:
        """The part of its threads' time that this process was computing since timing began: less on a busy machine."""
        wall, own = time.monotonic() - self._since[0], time.process_time() - self._since[1]
        return min(1.0, max(own / max(wall, 1e-9) / torch.get_num_threads(), 0.01))

    def _compile(self, batch: Batch, share: float = 1.0) -> str:
        begun = time.monotonic()
        try:
            self._step = self._compiled(batch)
        except NotCompiled as error:
            self._is_open = False
            if self._insists:
                raise ConfigError(f"The step cannot be compiled: {error} Leave compile out, or say 'off'.") from error
            return f"Steps are not compiled: {error}"
        self._wall = time.monotonic() - begun
        self._cost = self._wall * share
        self._is_open = not self._insists
        self._start_timing()
        return f"Steps are compiled, which took {self._wall:.0f} s." if self._insists else ""

    def _judge(self, compiled: float) -> str:
        self._is_open = False
        ratio = self._eager / compiled
        # Read again: another process may have learned something since.
        remember(REMEMBERED, {**_costs(), self._kind: [round(self._cost, 2), round(ratio, 3)]})
        times = f"{self._eager * 1e3:.2f} ms, compiled {compiled * 1e3:.2f} ms"
        if ratio < FASTER:
            self._step = None
            return f"Steps are not compiled: a step takes {times}."
        return (
            f"Steps are compiled, {ratio:.1f} times as fast: a step takes {times}; compiling took {self._wall:.0f} s."
        )


def _why_not(replica: Replica) -> str:
    """Why a compiled step is not likely to be faster; empty where it is."""
    if replica.device.type != "cpu":
        return f"on {replica.device.type} only where asked for (compile='on')"
    model = replica.model
    if not type(model.objective).__module__.startswith("diabolo."):
        return "the variant is not diabolo's (compile='on' tries it)"
    learned = {id(value) for value in model.parameters() if value.requires_grad}
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    affine = {id(value) for layer in layers for value in layer.parameters()}
    own = (id(value) for value in (*model.objective.parameters(), *model.likelihood.parameters()))
    return "" if learned <= affine | set(own) else "it gains where layers are affine (compile='on' tries it)"


def _costs() -> dict[str, list[float]]:
    """What is remembered of this machine: kind -> [seconds of compiling, times as fast]."""
    return recall(REMEMBERED, _are_costs) or {}


def _are_costs(value: Any) -> bool:
    """Whether a value is what `_costs` gives."""
    if not isinstance(value, dict):
        return False
    pairs = [pair for pair in value.values() if isinstance(pair, list) and len(pair) == 2]
    numbers = [number for pair in pairs for number in pair]
    return len(pairs) == len(value) and all(isinstance(one, int | float) and 0 <= one < 1e6 for one in numbers)
