"""The loop."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diabolo.datasets import Split
from diabolo.devices import DTYPES, choose_device, has_native_bf16, keep_freed_memory
from diabolo.errors import ConfigError, DivergedError, RunError, StorageError, TrainingError
from diabolo.evaluation.terms import Evaluation
from diabolo.models.model import Model
from diabolo.models.objectives import Meter
from diabolo.storage import checkpoint
from diabolo.storage.checkpoint import WEIGHTS
from diabolo.storage.history import HISTORY, History
from diabolo.training.batches import Batches
from diabolo.training.callbacks import Callback, Interrupted, Stop
from diabolo.training.distributed import ProcessGroup, share
from diabolo.training.gradients import Gradients, Outcome
from diabolo.training.kept_weights import Weights
from diabolo.training.optimizers import learning_rate
from diabolo.training.partial_noise import Part
from diabolo.training.replica import Replica
from diabolo.training.settings import Settings
from diabolo.training.shared_evaluation import averages_together, evaluate_together
from diabolo.training.speed.compile_policy import CompilePolicy
from diabolo.training.speed.precision_policy import (
    BATCHES,
    FIRST_LOOK,
    NOISE,
    PrecisionChoice,
    choose,
    is_worth_measuring,
    rounding,
    too_much,
)
from diabolo.training.speed.threads import Threads
from diabolo.training.state import collect, restore

__all__ = ["CHECKPOINT", "Training"]

log = logging.getLogger("diabolo")

CHECKPOINT = "last.safetensors"  # everything that training needs to go on


@dataclass
class Training:
    """A model, its data, and how far it has come.

    Args:
        model: the model; its weights are changed in place.
        x: (N, *event), every example; it stays as it is, bytes as bytes, and is converted batch by batch.
        split: which examples to train on, to validate with, to test with.
        settings: how to train.
        folder: where checkpoints and history go; nothing is written when left out.
        callbacks: what looks on.
        processes: those that train it together, each of which makes a Training of the same model and data.

    Raises:
        ConfigError: a device that is not there, or batches with fewer examples than there are processes.
        TrainingError: there is nothing to train on.
    """

    model: Model
    x: np.ndarray
    split: Split
    settings: Settings
    folder: Path | None = None
    callbacks: Sequence[Callback] = ()
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    steps: int = field(default=0, init=False)
    epochs: int = field(default=0, init=False)
    best_epoch: int = field(default=0, init=False)
    best_loss: float = field(default=math.inf, init=False)

    def __post_init__(self) -> None:
        settings, processes = self.settings, self.processes
        if len(self.split.train) < 2:
            raise TrainingError(
                f"Training needs at least 2 examples, and the training split has {len(self.split.train)}."
            )
        if (least := min(settings.batch_size, len(self.split.train))) < processes.count:
            raise ConfigError(
                f"A batch should have at least one example for each of the {processes.count} processes, and has "
                f"{least}: take a larger batch_size, more examples, or fewer processes."
            )
        self.device = choose_device(processes.device(settings.device))
        keep_freed_memory()
        self.replica = Replica(self.model, processes, settings.sharding, self.device)
        self.parameters = self.replica.parameters
        self.optimizer = self.replica.optimizer(settings)
        self.kept = Weights(self.model, self.replica, settings, chooses=len(self.split.validation) > 0)
        self.history = History(self.folder and self.folder / HISTORY, processes.is_first)
        self.meter = Meter()
        self.weights: dict[str, float] = {}
        self.batch_in_epoch = 0
        # Noise is drawn from a generator of the run's own, so that nothing outside can disturb it.
        self.generator = torch.Generator(device=self.device).manual_seed(settings.seed)
        self._gradients = Gradients(self.replica, self.optimizer, settings, self.generator)
        self._batches = Batches(self.x, self.split.train, settings, self.device, processes.rank, processes.count)
        self.compilation = CompilePolicy(self.replica, self.optimizer, settings, self.generator, least)
        self._stop = Stop()
        self.threads = Threads(settings.threads)
        self._next_look = FIRST_LOOK
        self._asked = (False, False)  # by any process, in the last step: to stop, and to save
        self._saved_at, self._saved = time.monotonic(), (-1, -1)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch; the last of them may be smaller."""
        return self._batches.count

    @property
    def precision(self) -> str:
        """What the steps are computed in: float32 or bf16."""
        return self.choice.precision

    @functools.cached_property
    def choice(self) -> PrecisionChoice:
        """The precision and why; where it is to be measured, that happens when it is first asked for."""
        if self.replica.is_sharded:  # too large to be tried out: a GPU's bf16 is always faster
            on_gpu = self.settings.precision == "auto" and self.device.type == "cuda" and has_native_bf16(self.device)
            return PrecisionChoice("bf16" if on_gpu or self.settings.precision == "bf16" else "float32")
        batches: list[Tensor] = []
        examples = self.settings.epochs * len(self.split.train)
        if self.settings.precision == "auto" and is_worth_measuring(self.model, examples):
            batches = self._drawn()
        left = self.settings.epochs * self.steps_per_epoch - self.steps
        parts = (self.settings.precision, self.model, batches, self.generator)
        return self.processes.broadcast(choose(*parts, lambda seconds: self.compilation.is_likely(seconds * left)))

    @property
    def watched(self) -> tuple[str, np.ndarray]:
        """What is evaluated after each epoch: the validation split, or the test split (which then chooses nothing)."""
        name = "validation" if len(self.split.validation) else "test"
        return name, getattr(self.split, name)

    @property
    def kept_on(self) -> str:
        """The device of `model`, the whole one: not the device that it was sharded for, since it need not fit there."""
        return "cpu" if self.replica.is_sharded else str(self.device)

    def run(self) -> None:
        """Trains to the end, or until told to stop; then the model holds the weights that are to be kept.

        Raises:
            DivergedError: a term or a weight is no longer finite; the last good checkpoint stands.
            Interrupted: somebody asked to stop.
            TrainingError: another process was lost, or memory does not suffice for one example.
        """
        with self.processes.guarded(self._how_to_go_on()):
            self._tell("start")
            self.replica.model.train_in(DTYPES[self.choice.precision])
            try:
                with self._stop.listening(), self.threads:
                    while self.epochs < self.settings.epochs and not self._out_of_patience():
                        self._epoch()
                if self._saved != (self.steps, self.epochs):  # patience ran out between two checkpoints
                    self.save()
            finally:
                self._tell("end")
            self.kept.keep(self.best_epoch > 0, self.folder and self.folder / WEIGHTS)

    def evaluate(self, indices: np.ndarray) -> Evaluation:
        """The model, as it is, over some of the examples; among several processes all ask at once, and share the work.

        Args:
            indices: which examples.
        """
        return evaluate_together(self.replica.model, self.x, indices, self.settings.seed, self.processes)

    def resume(self) -> None:
        """Goes back to where the last checkpoint in the folder was written, by any number of processes.

        Raises:
            RunError: there is none, or it does not fit.
        """
        if self.folder is None:
            raise RunError("A run that has no folder cannot be resumed.")
        restore(self, self.folder / CHECKPOINT)
        self.kept.saved(self.best_epoch > 0)
        self.history.cut(self.steps, self.epochs)
        self._saved = (self.steps, self.epochs)

    def save(self) -> None:
        """Writes the kept weights and then the checkpoint, if the run has a folder.

        Raises:
            StorageError: they could not be written; the checkpoint before stands.
        """
        self._require_finite_weights()
        if self.folder is None:
            return
        tensors, numbers = collect(self)
        weights = self.kept.unsaved()
        try:
            with self.processes.barrier():
                if self.processes.is_first:
                    if weights is not None:
                        epoch = {"epoch": self.best_epoch or self.epochs}
                        checkpoint.save_tensors(self.folder / WEIGHTS, weights, epoch)
                    checkpoint.save_tensors(self.folder / CHECKPOINT, tensors, numbers)
        except StorageError as error:
            further = f"The run goes on where it was last saved: diabolo resume {self.folder}"
            raise StorageError(f"{error} {further}") from error
        self.kept.saved(self.best_epoch > 0)
        self._saved_at, self._saved = time.monotonic(), (self.steps, self.epochs)

    # One epoch, one step

    def _epoch(self) -> None:
        started = time.monotonic()
        if not self.batch_in_epoch:
            self.meter = Meter()
        self.replica.model.train()
        for batch in self._batches.epoch(self.epochs, self.batch_in_epoch):
            loss = self._step(batch)
            self.threads.look()
            self._tell("step", loss)
            stop, save = self._asked if self.processes.count > 1 else (self._stop.asked, self._due())
            if stop:
                self.save()
                raise Interrupted
            if save:
                self.save()
        self.replica.settle()
        self.epochs += 1
        self.batch_in_epoch = 0
        self._require_finite_weights()
        line = self._epoch_line(time.monotonic() - started)
        self.history.add(line)
        if not self.settings.checkpoint_seconds or self.processes.any(self.processes.is_first and self._due()):
            self.save()
        with self.threads.aside():
            self._tell("epoch", line)
        if self.choice.is_open and self.steps >= self._next_look:
            self._next_look = 2 * self.steps
            self._look_at_rounding()

    def _look_at_rounding(self) -> None:
        """Leaves bf16 where, after so much training, what it rounds off is no longer little."""
        if self.precision == "float32":
            return
        drawn = self._drawn() if self.processes.is_first else []
        own = rounding(self.model, drawn, self.generator) if len(drawn) > 1 else 0.0
        share = self.processes.broadcast(own)
        if share > NOISE:
            self.choice = PrecisionChoice("float32", too_much(share))
            self.replica.model.train_in(DTYPES["float32"])
            self.compilation.again()
            if self.processes.is_first:
                log.warning("From epoch %d on in float32: %s.", self.epochs + 1, too_much(share))

    def _drawn(self) -> list[Tensor]:
        """Some batches to measure with, all of one size."""
        with contextlib.closing(self._batches.epoch(0, 0)) as drawn:
            some = [batch.clone() for batch in itertools.islice(drawn, BATCHES)]
        return [batch for batch in some if 0 < len(batch) == len(some[0])]

    def _step(self, batch: Tensor) -> float:
        settings, model = self.settings, self.replica.model
        begun = time.perf_counter()
        if not model.training:  # a callback looked at it
            model.train()
        model.epoch = self.steps / self.steps_per_epoch
        model.generator = self.generator
        rate = learning_rate(settings, self.steps, self.steps_per_epoch)
        compiled = self.compilation.of(batch)
        if compiled is not None:
            outcome = compiled(batch, rate, model.epoch)
        else:
            outcome = self._gradients.of(batch, self._part(), self.steps)
        value = self._agreed(outcome)
        if not math.isfinite(value):
            bad = [name for name, average in self._averages(outcome).items() if not math.isfinite(average)]
            self._diverged(f"the term {' and '.join(bad) or 'loss'} became {value}", self.steps + 1)
        if compiled is None:
            self._move(rate)
        outcome.count_in(self.meter)
        self.weights = outcome.weights
        self.steps += 1
        self.batch_in_epoch += 1
        self.kept.follow(self.steps)
        if settings.log_every and self.steps % settings.log_every == 0:
            terms = {"loss": value, **self._averages(outcome)}
            self.history.add({"kind": "step", "step": self.steps, "lr": rate, "train": terms})
        left = settings.epochs * self.steps_per_epoch - self.steps
        if note := self.compilation.took(batch, time.perf_counter() - begun, left):
            self._tell("note", note)
        return value

    def _move(self, rate: float) -> None:
        """Takes the step that the gradients ask for."""
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()

    def _part(self) -> Part | None:
        """Which examples of the next batch are this process's; None where all are."""
        if self.processes.count == 1:
            return None
        size, examples = self.settings.batch_size, len(self.split.train)
        of = min(size, examples - self.batch_in_epoch * size)
        return Part(*share(of, self.processes.rank, self.processes.count), of)

    def _agreed(self, outcome: Outcome) -> float:
        """The batch's loss; with it the processes tell each other who was asked to stop or has to save."""
        if self.processes.count == 1:
            return outcome.value
        is_due = self.processes.is_first and self._due()
        value, stop, save = self.processes.all_reduce([outcome.value, self._stop.asked, is_due])
        self._asked = (stop > 0, save > 0)
        return value

    def _averages(self, outcome: Outcome) -> dict[str, float]:
        """Name -> average of a term over the batch of all processes."""
        own = outcome.terms()
        return dict(zip(own, self.processes.all_reduce(list(own.values())), strict=True))

    def _epoch_line(self, seconds: float) -> dict[str, Any]:
        """One line of the history; it also remembers the best epoch so far."""
        name, indices = self.watched
        line: dict[str, Any] = {
            "kind": "epoch",
            "epoch": self.epochs,
            "step": self.steps,
            "seconds": round(seconds, 3),
            "lr": learning_rate(self.settings, self.steps - 1, self.steps_per_epoch),
            "weights": self.weights,
            "train": averages_together(self.meter, self.model, self.weights, self.processes),
        }
        if "kl" in self.weights:
            line["beta"] = self.weights["kl"]
        if len(indices):
            with self.averaged():
                line[name] = self.evaluate(indices).line()
            if not math.isfinite(line[name]["loss"]):
                self._diverged(f"the loss of the {name} split became {line[name]['loss']}")
        is_best = name == "validation" and line[name]["loss"] < self.best_loss
        if is_best:
            self.best_loss, self.best_epoch = line[name]["loss"], self.epochs
        self.kept.ended_epoch(is_best)
        return line

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """While it lasts the model holds the averaged weights, where `ema` asks for them."""
        return self.kept.averaged()

    # Stopping

    def _out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.best_epoch > 0 and self.epochs - self.best_epoch >= patience

    def _due(self) -> bool:
        seconds = self.settings.checkpoint_seconds
        return bool(self.folder and seconds) and time.monotonic() - self._saved_at >= seconds

    def _require_finite_weights(self) -> None:
        bad = next((name for name, value in self.replica.own() if not bool(torch.isfinite(value).all())), None)
        found = next(filter(None, self.processes.all_gather(bad)), None)
        if found is not None:
            self._diverged(f"the weight {found} is no longer finite")

    def _diverged(self, what: str, step: int | None = None) -> None:
        step = self.steps if step is None else step  # the last one taken, or the one under way
        epoch = max(1, math.ceil(step / self.steps_per_epoch))
        is_kept = self.folder is not None and (self.folder / CHECKPOINT).exists()
        kept = f" The last good checkpoint is kept in {self.folder}." if is_kept else ""
        raise DivergedError(
            f"Training diverged: at step {step} (epoch {epoch}) {what}.{kept} "
            f"Try a lower lr (it is {self.settings.lr:g}), clip=1, or precision='float32'."
        )

    def _how_to_go_on(self) -> str:
        """What to do when another process is lost."""
        if self.folder is None:
            return "Nothing was saved, since the run has no folder."
        command = f"torchrun --nproc-per-node {self.processes.here} -m diabolo resume {self.folder}"
        return f"What was saved is kept. To go on, with as many processes as you like: {command}"

    def _tell(self, event: str, *arguments: Any) -> None:
        if self.processes.is_first:
            for callback in self.callbacks:
                getattr(callback, event)(self, *arguments)
