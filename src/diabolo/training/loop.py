"""The loop: epochs of steps, each of which goes from a batch to new weights."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from diabolo.config import require
from diabolo.devices import DTYPES
from diabolo.errors import DivergedError
from diabolo.evaluation.terms import CHUNK
from diabolo.models.engine import FusedEngine
from diabolo.models.objectives import Batch, Meter
from diabolo.models.own_modules import blamed, untrained
from diabolo.storage.checkpoint import WEIGHTS
from diabolo.storage.generation import file_of
from diabolo.training.augmentation import Augmentation
from diabolo.training.callbacks import Callback, Interrupted, Stop
from diabolo.training.gradients import StepResult
from diabolo.training.optimizers import learning_rate, players, set_rate
from diabolo.training.shared_evaluation import distributed_averages
from diabolo.training.speed.compile_policy import CompilePolicy
from diabolo.training.speed.precision_policy import FIRST_LOOK, NOISE, PrecisionChoice, rounding, too_much
from diabolo.training.state import CHECKPOINT, Training

__all__ = ["CHECKPOINT", "Trainer"]

log = logging.getLogger("diabolo")


@dataclass
class Trainer(Training):
    """A training that can be run: see `Training` for its arguments.

    >>> from diabolo.runs import make_run_config, start
    >>> trainer = start(make_run_config("digits", epochs=1, batch_size=64, widths=(8,), validation=0.1)).training
    >>> trainer.run()
    >>> trainer.epochs, trainer.steps
    (1, 23)
    """

    callbacks: Sequence[Callback] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._stop = Stop()
        self._speaks = self.processes.is_first
        self._in_parts = self.shared_step.is_needed
        self._next_look = FIRST_LOOK
        self._policy: CompilePolicy | None = None
        self._augmentation: Augmentation | None = None
        if self.settings.augment not in ("none", "auto"):  # a run has put what fits its data in the place of auto
            preprocess = self.model.preprocess
            self._augmentation = Augmentation(self.settings.augment, preprocess.layout, preprocess.event_shape)
            require(self.processes.count == 1, "augment", "none among several processes", self.settings.augment)
        self._requests = (False, False)  # of any process, in the last step: to stop, and to save

    def run(self) -> None:
        """Trains to the end, or until told to stop; then the model holds the weights that are to be kept.

        Raises:
            DivergedError: a term or a weight is no longer finite; the last good checkpoint stands.
            Interrupted: somebody asked to stop.
            TrainingError: another process was lost, or memory does not suffice for one example.
        """
        with self.processes.guarded(self._how_to_go_on()):
            self._tell("start")
            self._start_in(self.choice)
            try:
                with self._stop.listening(), self.threads:
                    if self.start_counts and not self.steps:
                        self._look_at_start()
                    while self.epochs < self.settings.epochs and not self._out_of_patience():
                        self._epoch()
                if self.saved != (self.steps, self.epochs):  # patience ran out between two checkpoints
                    self.save()
            finally:
                self._tell("end")
            self.keeper.keep(self.has_best, self.folder and file_of(self.folder, WEIGHTS))

    def save(self) -> None:
        self._require_finite_weights()
        super().save()

    def _look_at_start(self) -> None:
        """Takes the weights before the first step for the best so far, where examples are held out to tell."""
        name, indices = self.watched
        if name == "validation" and len(indices):
            loss = float(self.evaluate(indices).averages["loss"])
            if math.isfinite(loss):
                self.best_loss = loss
                self.keeper.ended_epoch(is_best=True)

    def _start_in(self, choice: PrecisionChoice) -> None:
        engine = FusedEngine() if choice.engine == "fused" else None
        self.replica.model.start_training(DTYPES[choice.precision], engine)

    # One epoch

    def _epoch(self) -> None:
        started = time.monotonic()
        if not self.batch_in_epoch:
            self.meter = Meter()
        self.replica.model.train()
        self._policy = self.compilation if self.compilation.is_active else None
        for batch in self.batches.epoch(self.epochs, self.batch_in_epoch):
            loss = self._step(batch)
            if time.monotonic() >= self.threads.next_look:
                self.threads.look()
            if self.callbacks:
                self._tell("step", loss)
            stop, save = self._requests if self.processes.count > 1 else (self._stop.is_requested, self._is_due())
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
        is_due = self.processes.is_first and self._is_due()
        if not self.settings.checkpoint_seconds or self.processes.any(is_due):
            self.save()
        with self.threads.aside():
            self._tell("epoch", line)
        if self.choice.is_open and self.steps >= self._next_look:
            self._next_look = 2 * self.steps
            self._check_rounding()

    def _check_rounding(self) -> None:
        """Leaves bf16 where, after so much training, what it rounds off is no longer little."""
        if self.precision == "float32":
            return
        batches = self.drawn_batches() if self.processes.is_first else []
        own = rounding(self.model, batches, self.generator) if len(batches) > 1 else 0.0
        share = self.processes.broadcast(own)
        if share > NOISE:
            self.choice = PrecisionChoice("float32", self.choice.engine, too_much(share))
            self._start_in(self.choice)
            self.compilation.again()
            if self.processes.is_first:
                log.warning("From epoch %d on in float32: %s.", self.epochs + 1, too_much(share))

    def _epoch_line(self, seconds: float) -> dict[str, Any]:
        """One line of the history; it also remembers the best epoch so far."""
        name, indices = self.watched
        line: dict[str, Any] = {
            "kind": "epoch",
            "epoch": self.epochs,
            "step": self.steps,
            "seconds": round(seconds, 3),
            "lr": learning_rate(self.settings, self.steps - 1, self.steps_per_epoch, self.plateau.drops),
            "weights": self.weights,
            "train": distributed_averages(self.meter, self.model, self.weights, self.processes),
        }
        if "kl" in self.weights:
            line["beta"] = self.weights["kl"]
        if len(indices):
            with self.averaged():
                line[name] = self.evaluate(indices).line()
            if not math.isfinite(line[name]["loss"]):
                some = indices[:CHUNK]
                self._diverged(f"the loss of the {name} split became {line[name]['loss']}", lambda: self.evaluate(some))
        is_best = name == "validation" and line[name]["loss"] < self.best_loss
        if is_best:
            self.best_loss, self.best_epoch = line[name]["loss"], self.epochs
        if name == "validation":
            self.plateau.ended_epoch(self.settings, self.epochs, self.best_epoch)
        self.keeper.ended_epoch(is_best)
        return line

    # One step

    def _step(self, batch: Batch) -> float:
        settings, model, policy = self.settings, self.replica.model, self._policy
        begun = time.perf_counter()
        if not model.training:  # a callback looked at it
            model.train()
        if self._augmentation is not None:
            batch = replace(batch, x=self._augmentation(batch.x, self.generator))
        model.epoch = self.steps / self.steps_per_epoch
        model.generator = self.generator
        rate = learning_rate(settings, self.steps, self.steps_per_epoch, self.plateau.drops)
        compiled = policy.step_for(batch) if policy is not None else None
        result = compiled(batch, rate, model.epoch) if compiled is not None else self._gradients(batch)
        value = result.value if self.processes.count == 1 else self._agreed(result)
        if not math.isfinite(value):
            bad = [name for name, average in self._averages(result).items() if not math.isfinite(average)]
            again = functools.partial(self.model, batch.x, batch.y, batch.index)
            self._diverged(f"the term {' and '.join(bad) or 'loss'} became {value}", again, self.steps + 1)
        if compiled is None:
            self._update(rate)
        if result.statistics:
            model.update(result.statistics, self.generator)
        result.count_in(self.meter)
        self.weights = result.weights
        self.steps += 1
        self.batch_in_epoch += 1
        if self.keeper.average is not None:
            self.keeper.follow(self.steps)
        if settings.log_every and self.steps % settings.log_every == 0:
            averages = self._averages(result)
            hidden = sum(
                result.weights.get(name, 1.0) * averages.get(name, 0) for name in model.objective.training_only
            )
            terms = {"loss": value - hidden, **averages}
            self.history.add({"kind": "step", "step": self.steps, "lr": rate, "train": terms})
        if policy is not None:
            steps_left = settings.epochs * self.steps_per_epoch - self.steps
            if note := policy.took(batch, time.perf_counter() - begun, steps_left):
                self._tell("note", note)
        return value

    def _gradients(self, batch: Batch) -> StepResult:
        """The gradients of the mean loss over a batch, left in the parameters; none where the loss is not finite."""
        if self._in_parts:
            return self.shared_step.take(batch, self.steps, self.batch_in_epoch)
        try:
            loss = self.replica.model(batch.x, batch.y, batch.index)
            total = loss.total
            value = float(total.item())
            if math.isfinite(value):
                self.optimizer.zero_grad(set_to_none=True)
                with self.replica.model.differentiating():
                    total.backward()
        except torch.OutOfMemoryError:
            self.shared_step.halve(len(batch))
            self._in_parts = True
            return self.shared_step.take(batch, self.steps, self.batch_in_epoch)
        return StepResult(
            value,
            loss.weights,
            lambda meter: meter.add(loss),
            lambda: {name: float(term.mean().item()) for name, term in loss.terms.items()},
            {name: total.detach() for name, total in loss.statistics.items()},
        )

    def _update(self, rate: float) -> None:
        """New weights from the gradients."""
        for note in untrained(self.model) if self.model.of_users and not self.steps and self._speaks else ():
            log.warning(note)
        if self.settings.clip is not None:
            for parameters in players(self.optimizer):
                torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip)
        set_rate(self.optimizer, rate)
        self.optimizer.step()

    def _agreed(self, result: StepResult) -> float:
        """The batch's loss; with it the processes tell each other who was asked to stop or has to save."""
        is_due = self.processes.is_first and self._is_due()
        value, stop, save = self.processes.all_reduce([result.value, self._stop.is_requested, is_due])
        self._requests = (stop > 0, save > 0)
        return value

    def _averages(self, result: StepResult) -> dict[str, float]:
        """Name -> average of a term over the batch of all processes."""
        own = result.terms()
        if self.processes.count == 1:
            return own
        return dict(zip(own, self.processes.all_reduce(list(own.values())), strict=True))

    # Stopping

    def _out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.has_best and self.epochs - self.best_epoch >= patience

    def _is_due(self) -> bool:
        seconds = self.settings.checkpoint_seconds
        return bool(self.folder and seconds) and time.monotonic() - self.saved_at >= seconds

    def _require_finite_weights(self) -> None:
        bad = next((name for name, value in self.replica.own() if not bool(torch.isfinite(value).all())), None)
        first_bad = next(filter(None, self.processes.all_gather(bad)), None)
        if first_bad is not None:
            self._diverged(f"the weight {first_bad} is no longer finite")

    def _diverged(self, what: str, again: Callable[[], object] | None = None, step: int | None = None) -> None:
        """Says what diverged, and which part of the user's own did, where computing it `again` tells."""
        who = "" if again is None or self.processes.count > 1 else blamed(self.model, again)
        step = self.steps if step is None else step  # the last one taken, or the one under way
        epoch = max(1, math.ceil(step / self.steps_per_epoch))
        is_kept = self.folder is not None and (self.folder / CHECKPOINT).exists()
        last_good = f" The last good checkpoint is kept in {self.folder}." if is_kept else ""
        raise DivergedError(
            f"Training diverged: at step {step} (epoch {epoch}) {what}.{who and f' {who}'}{last_good} "
            f"Try a lower lr (it is {self.settings.lr:g}), clip=1, or precision='float32'."
        )

    def _how_to_go_on(self) -> str:
        """What to do when another process is lost."""
        if self.folder is None:
            return "Nothing was saved, since the run has no folder."
        command = f"torchrun --nproc-per-node {self.processes.here} -m diabolo resume {self.folder}"
        return f"What was saved is kept. To go on, with as many processes as you like: {command}"

    def _tell(self, event: str, *arguments: Any) -> None:
        if self._speaks:
            for callback in self.callbacks:
                getattr(callback, event)(self, *arguments)
