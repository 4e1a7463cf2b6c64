"""The gradients of a batch in parts, which several processes compute, or one after another."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diabolo.errors import TrainingError
from diabolo.models.objectives import Batch, Meter
from diabolo.training.distributed import share
from diabolo.training.partial_noise import Part, PartialNoise
from diabolo.training.replica import Replica
from diabolo.training.settings import Settings

__all__ = ["SharedStep", "StepResult", "include"]

log = logging.getLogger("diabolo")


@dataclass(frozen=True)
class StepResult:
    """The loss of a batch; where there are several processes, this one's contribution to it.

    Attributes:
        value: the loss.
        weights: the factors of its terms.
        count_in: adds the terms to a meter.
        terms: name -> average over the batch.
        statistics: name -> sum over the batch of all processes, see `Objective.update`.
    """

    value: float
    weights: dict[str, float]
    count_in: Callable[[Meter], None]
    terms: Callable[[], dict[str, float]]
    statistics: dict[str, Tensor]


class SharedStep:
    """The gradients of a batch that several processes share, or that one process computes in parts, one after another.

    What is summed over examples does not depend on the number of parts or processes, noise included. A term that is a
    statistic of its batch, such as a batch normalisation of the user's, is that of the part; a variant with one says so
    (`Objective.couples`), and is refused.

    Args:
        replica: the model.
        optimizer: that of its parameters.
        settings: how to train.
        generator: of the noise.
        examples: how many are trained on.
    """

    def __init__(
        self,
        replica: Replica,
        optimizer: torch.optim.Optimizer,
        settings: Settings,
        generator: torch.Generator,
        examples: int,
    ) -> None:
        self.replica = replica
        self.optimizer = optimizer
        self.settings = settings
        self.generator = generator
        self.examples = examples
        self.parts = settings.accumulate

    @property
    def is_needed(self) -> bool:
        """Whether a batch is not computed at once by one process."""
        return self.parts > 1 or self.replica.processes.count > 1

    def take(self, batch: Batch, step: int, batch_in_epoch: int) -> StepResult:
        """The gradients of the mean loss over a batch, left in the parameters; none where the loss is not finite.

        Args:
            batch: of x (B, *event), the examples of this process.
            step: the number of the step.
            batch_in_epoch: the number of the batch in its epoch.

        Raises:
            TrainingError: not even one example at a time fits into the device's memory.
        """
        part = self._part(batch, batch_in_epoch)
        noise = self.generator.get_state()
        while True:
            result = self._tried(batch, part, step)
            if result is not None:
                return result
            self.halve(math.ceil(part.of / self.replica.processes.count))
            self.generator.set_state(noise)

    def _part(self, batch: Batch, batch_in_epoch: int) -> Part:
        """The place of this process's examples in the batch of all processes."""
        processes, size = self.replica.processes, self.settings.batch_size
        if processes.count == 1:
            return Part(0, len(batch), len(batch))
        whole = min(size, self.examples - batch_in_epoch * size)
        return Part(*share(whole, processes.rank, processes.count), whole)

    def _tried(self, batch: Batch, part: Part, step: int) -> StepResult | None:
        """What a batch gave in the present number of parts; None where memory ran out, in whichever process."""
        result = None
        is_tried = self.replica.is_tried
        try:
            result = self._in_parts(batch, part, step)
        except torch.OutOfMemoryError as error:
            if self.replica.processes.count > 1 and not is_tried:
                raise TrainingError(
                    f"{self._out_of_memory()} while others wait for its gradients. Go on with more parts to a batch: "
                    f"--accumulate {2 * self.parts}"
                ) from error
        if is_tried and self.replica.processes.any(result is None):
            result = None
        if result is None:
            return None
        self.replica.stepped()
        return replace(result, statistics=self.replica.processes.all_reduce_sum(result.statistics))

    def _in_parts(self, batch: Batch, part: Part, step: int) -> StepResult:
        self.optimizer.zero_grad(set_to_none=True)
        ranks = self.replica.processes.count
        pieces = min(self.parts, math.ceil(part.of / ranks))  # as many in each process
        noise = self.generator.get_state()
        meter, value, weights = Meter(), torch.zeros((), dtype=torch.float64), dict[str, float]()
        statistics: dict[str, Tensor] = {}
        for number in range(pieces):
            first, last = share(part.count, number, pieces)
            piece = Part(part.start + first, part.start + last, part.of)
            examples = batch[first:last]
            if not len(examples):  # the engine waits for every process: one example that counts for nothing
                examples = batch.map(lambda part: part.new_zeros((1, *part.shape[1:])))
            self.generator.set_state(noise)
            with self.replica.quiet(number == pieces - 1):
                with self._drawing(piece, step):
                    loss = self.replica(examples)
                total = loss.total * (piece.count / part.of)
                with self.replica.model.differentiating():
                    (total * ranks).backward()  # type: ignore[no-untyped-call]
            value += total.detach().cpu()
            weights = loss.weights
            if piece.count:
                meter.add(loss)
            for name, total in loss.statistics.items():
                own = total.detach().contiguous() * bool(piece.count)
                statistics[name] = statistics[name] + own if name in statistics else own
            for name in loss.terms:
                meter.sums.setdefault(name, torch.zeros((), dtype=torch.float64))
        return StepResult(
            value.item(),
            weights,
            lambda running: include(running, meter),
            lambda: {name: total.item() / part.of for name, total in meter.sums.items()},
            statistics,
        )

    def _drawing(self, piece: Part, step: int) -> contextlib.AbstractContextManager[object]:
        if piece.is_whole:
            return contextlib.nullcontext()
        return PartialNoise(self.generator, piece, (self.settings.seed, step))

    def halve(self, most: int) -> None:
        """Twice as many parts from now on.

        Raises:
            TrainingError: there are as many as this process has examples in a step.
        """
        self.optimizer.zero_grad(set_to_none=True)
        if whole := self.replica.model.couples:
            raise TrainingError(
                f"{self._out_of_memory()}, and {whole}, is of a whole batch, which so is not computed in parts: take a "
                f"smaller batch_size than {self.settings.batch_size}, a smaller network, or device='cpu'."
            )
        if self.parts >= most:
            raise TrainingError(
                f"{self._out_of_memory()}, and not even one example at a time fits: take a smaller network, "
                "precision='bf16', or device='cpu'."
            )
        self.parts = min(2 * self.parts, most)
        if self.replica.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.replica.processes.is_first:
            log.warning(
                "%s: each batch of %d is now computed in %d parts, with the same result (accumulate=%d).",
                self._out_of_memory(), self.settings.batch_size, self.parts, self.parts,
            )  # fmt: skip

    def _out_of_memory(self) -> str:
        count = self.replica.processes.count
        who = f"Process {self.replica.processes.rank} of {count}: " if count > 1 else ""
        return f"{who}{self.replica.device} ran out of memory"


def include(running: Meter, meter: Meter) -> None:
    """Adds the sums of one meter to another's."""
    for name, total in meter.sums.items():
        running.sums[name] = running.sums[name] + total if name in running.sums else total
    running.count += meter.count
