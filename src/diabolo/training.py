"""One loop for every variant: it draws batches, steps, evaluates, logs, keeps checkpoints, and knows none by name."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diabolo import checkpoint
from diabolo.batches import Batches
from diabolo.checkpoint import WEIGHTS
from diabolo.datasets import Split
from diabolo.devices import autocast, choose_device, choose_precision, keep_freed_memory
from diabolo.errors import DivergedError, RunError, StorageError, TrainingError
from diabolo.evaluation import Meter, evaluate
from diabolo.history import HISTORY, History
from diabolo.model import Model
from diabolo.optimizers import learning_rate, make_optimizer
from diabolo.settings import Settings

__all__ = ["CHECKPOINT", "WEIGHTS", "Callback", "Interrupted", "Settings", "Training"]

CHECKPOINT = "last.safetensors"  # everything that training needs to go on


class Callback:
    """What may look on while a model trains; every method does nothing until it is overridden."""

    def start(self, training: Training) -> None:
        """Before the first step."""

    def step(self, training: Training, loss: float) -> None:
        """After each step; `loss` is that of its batch."""

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        """After each epoch, with its line of the history."""

    def end(self, training: Training) -> None:
        """When training is over, in whatever way."""


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop (Ctrl-C, SIGTERM). What was done so far is saved where the run has a folder."""


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
    """

    model: Model
    x: np.ndarray
    split: Split
    settings: Settings
    folder: Path | None = None
    callbacks: Sequence[Callback] = ()
    steps: int = field(default=0, init=False)
    epochs: int = field(default=0, init=False)
    best_epoch: int = field(default=0, init=False)
    best_loss: float = field(default=math.inf, init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        if len(self.split.train) < 2:
            raise TrainingError(
                f"Training needs at least 2 examples, and the training split has {len(self.split.train)}."
            )
        self.device = choose_device(settings.device)
        keep_freed_memory()
        self.precision = choose_precision(settings.precision, self.device)
        self.model.to(self.device).use_channels_last()
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = make_optimizer(self.parameters, settings)
        self.average = [parameter.detach().clone() for parameter in self.parameters] if settings.ema else None
        self.history = History(self.folder and self.folder / HISTORY)
        self.meter = Meter()
        self.weights: dict[str, float] = {}
        self.batch_in_epoch = 0
        self._batches = Batches(self.x, self.split.train, settings, self.device)
        self._best: dict[str, Tensor] | None = None
        self._best_is_saved = False
        self._stop_asked = False
        self._saved_at, self._saved = time.monotonic(), (-1, -1)
        # Noise is drawn from a generator of the run's own, so that nothing outside can disturb it.
        self._generator = torch.Generator(device=self.device).manual_seed(settings.seed)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch; the last of them may be smaller."""
        return self._batches.count

    @property
    def watched(self) -> tuple[str, np.ndarray]:
        """What is evaluated after each epoch: the validation split, or the test split (which then chooses nothing)."""
        name = "validation" if len(self.split.validation) else "test"
        return name, getattr(self.split, name)

    def run(self) -> None:
        """Trains to the end, or until told to stop; then the model holds the weights that are to be kept.

        Raises:
            DivergedError: a term or a weight is no longer finite; the last good checkpoint stands.
            Interrupted: somebody asked to stop.
        """
        self._tell("start")
        try:
            with self._signals():
                while self.epochs < self.settings.epochs and not self._out_of_patience():
                    self._epoch()
            if self._saved != (self.steps, self.epochs):  # patience ran out between two checkpoints
                self.save()
        finally:
            self._tell("end")
        self._keep()

    def resume(self) -> None:
        """Goes back to where the last checkpoint in the folder was written.

        Raises:
            RunError: there is none, or it does not fit.
        """
        if self.folder is None:
            raise RunError("A run that has no folder cannot be resumed.")
        path = self.folder / CHECKPOINT
        tensors, numbers = checkpoint.load_tensors(path)
        groups = ("model", "average", "rng")
        parts = {
            group: {k[len(group) + 1 :]: v for k, v in tensors.items() if k.startswith(group + ".")} for group in groups
        }
        checkpoint.load_weights(self.model, parts["model"], path)
        try:
            checkpoint.restore_optimizer(self.optimizer, tensors)
            self._generator.set_state(parts["rng"]["noise"])
            if self.average is not None:
                self.average = [parts["average"][str(i)].to(self.device) for i in range(len(self.parameters))]
            self.steps, self.epochs, self.batch_in_epoch = (numbers[k] for k in ("steps", "epochs", "batch_in_epoch"))
            self.best_epoch = numbers["best_epoch"]
            self.best_loss = math.inf if numbers["best_loss"] is None else numbers["best_loss"]
            self.meter.count = numbers["meter_count"]
            self.meter.sums = {k: torch.tensor(v, dtype=torch.float64) for k, v in numbers["meter_sums"].items()}
            self.weights = numbers["weights"]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} does not hold what training needs to go on: {error!r}. It was edited.") from error
        self._best_is_saved = self.best_epoch > 0
        self.history.cut(self.steps, self.epochs)
        self._saved = (self.steps, self.epochs)

    def save(self) -> None:
        """Writes the kept weights and then the checkpoint, if the run has a folder.

        Raises:
            StorageError: they could not be written; the checkpoint before stands.
        """
        self._require_finite_weights()
        if self.folder is not None:
            try:
                self._write(self.folder)
            except StorageError as error:
                further = f"The run goes on where it was last saved: diabolo resume {self.folder}"
                raise StorageError(f"{error} {further}") from error

    def _write(self, folder: Path) -> None:
        if self.settings.keep == "last" or not len(self.split.validation):
            self._save_weights(self._current())
        elif self._best is not None and not self._best_is_saved:
            self._save_weights(self._best)
            self._best_is_saved = True
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= checkpoint.optimizer_tensors(self.optimizer)
        tensors |= {f"average.{i}": value for i, value in enumerate(self.average or [])}
        tensors["rng.noise"] = self._generator.get_state()
        numbers = {
            "steps": self.steps,
            "epochs": self.epochs,
            "batch_in_epoch": self.batch_in_epoch,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "meter_count": self.meter.count,
            "meter_sums": {name: value.item() for name, value in self.meter.sums.items()},
            "weights": self.weights,
        }
        checkpoint.save_tensors(folder / CHECKPOINT, tensors, numbers)
        self._saved_at, self._saved = time.monotonic(), (self.steps, self.epochs)

    # One epoch, one step

    def _epoch(self) -> None:
        started = time.monotonic()
        if not self.batch_in_epoch:
            self.meter = Meter()
        self.model.train()
        for batch in self._batches.epoch(self.epochs, self.batch_in_epoch):
            loss = self._step(batch)
            self._tell("step", loss)
            if self._stop_asked:
                self.save()
                raise Interrupted
            if self.folder and self.settings.checkpoint_seconds and self._due():
                self.save()
        self.epochs += 1
        self.batch_in_epoch = 0
        self._require_finite_weights()
        line = self._epoch_line(time.monotonic() - started)
        self.history.add(line)
        if not self.settings.checkpoint_seconds or self._due():
            self.save()
        self._tell("epoch", line)

    def _step(self, batch: Tensor) -> float:
        settings, model = self.settings, self.model
        model.epoch = self.steps / self.steps_per_epoch
        model.generator = self._generator
        rate = learning_rate(settings, self.steps, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with autocast(self.device, self.precision):
            loss = model(batch)
        total = loss.total
        value = float(total.item())
        if not math.isfinite(value):
            bad = [name for name, term in loss.terms.items() if not bool(torch.isfinite(term).all())]
            self._diverged(f"the term {' and '.join(bad) or 'loss'} became {value}", self.steps + 1)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        if settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        self.optimizer.step()
        self.meter.add(loss)
        self.weights = loss.weights
        self.steps += 1
        self.batch_in_epoch += 1
        if self.average is not None:
            decay = min(settings.ema, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self.parameters], 1 - decay)
        if settings.log_every and self.steps % settings.log_every == 0:
            terms = {name: float(term.mean().item()) for name, term in loss.terms.items()}
            self.history.add({"kind": "step", "step": self.steps, "lr": rate, "train": {"loss": value, **terms}})
        return value

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
            "train": self.meter.averages(self.model, self.weights),
        }
        if "kl" in self.weights:
            line["beta"] = self.weights["kl"]
        if len(indices):
            with self.averaged():
                line[name] = evaluate(self.model, self.x, indices, seed=self.settings.seed).line()
            if not math.isfinite(line[name]["loss"]):
                self._diverged(f"the loss of the {name} split became {line[name]['loss']}")
        if name == "validation" and line[name]["loss"] < self.best_loss:
            self.best_loss, self.best_epoch = line[name]["loss"], self.epochs
            self._best = {key: value.detach().clone() for key, value in self._current().items()}
            self._best_is_saved = False
        return line

    # Weights

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """While it lasts the model holds the averaged weights, where `ema` asks for them."""
        if self.average is None:
            yield
            return
        own = [parameter.detach().clone() for parameter in self.parameters]
        self._put(self.average)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def _current(self) -> dict[str, Tensor]:
        with self.averaged():
            return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _keep(self) -> None:
        """Puts the weights that are to be kept into the model."""
        self.model.epoch, self.model.generator = math.inf, None
        if self.settings.keep == "best" and self.best_epoch:
            if self._best is not None:
                self.model.load_state_dict(self._best)
            elif self.folder is not None:
                path = self.folder / WEIGHTS
                checkpoint.load_weights(self.model, checkpoint.load_tensors(path)[0], path)
        elif self.average is not None:
            self._put(self.average)
        self.model.eval()

    def _save_weights(self, tensors: dict[str, Tensor]) -> None:
        if self.folder is not None:
            checkpoint.save_tensors(self.folder / WEIGHTS, tensors, {"epoch": self.best_epoch or self.epochs})

    # Stopping

    def _out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.best_epoch > 0 and self.epochs - self.best_epoch >= patience

    def _due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.settings.checkpoint_seconds

    def _require_finite_weights(self) -> None:
        for name, value in self.model.named_parameters():
            if not bool(torch.isfinite(value).all()):
                self._diverged(f"the weight {name} is no longer finite")

    def _diverged(self, what: str, step: int | None = None) -> None:
        step = self.steps if step is None else step  # the last one taken, or the one under way
        epoch = max(1, math.ceil(step / self.steps_per_epoch))
        is_kept = self.folder is not None and (self.folder / CHECKPOINT).exists()
        kept = f" The last good checkpoint is kept in {self.folder}." if is_kept else ""
        raise DivergedError(
            f"Training diverged: at step {step} (epoch {epoch}) {what}.{kept} "
            f"Try a lower lr (it is {self.settings.lr:g}), clip=1, or precision='float32'."
        )

    def _tell(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM ask to stop after the step that is under way; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(*_: object) -> None:
            if self._stop_asked:
                raise KeyboardInterrupt
            self._stop_asked = True

        before: dict[int, Callable[..., Any] | int | None] = {
            number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
