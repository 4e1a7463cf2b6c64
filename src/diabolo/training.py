"""One loop for every variant: it draws batches, steps, evaluates, logs, keeps checkpoints, and knows none by name."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from diabolo import checkpoint
from diabolo.checkpoint import WEIGHTS
from diabolo.datasets import Split
from diabolo.devices import Precision, autocast, choose_device, choose_precision, keep_freed_memory
from diabolo.errors import DivergedError, RunError, TrainingError
from diabolo.evaluation import Meter, evaluate
from diabolo.history import HISTORY, History
from diabolo.model import Model
from diabolo.optimizers import Optimizer, Schedule, learning_rate, make_optimizer
from diabolo.signature import check_choices, require

__all__ = ["CHECKPOINT", "WEIGHTS", "Callback", "Interrupted", "Settings", "Training"]

CHECKPOINT = "last.safetensors"  # everything that training needs to go on


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train.

    Args:
        epochs: passes over the training split.
        batch_size: examples in a step.
        optimizer: the rule of a step.
        lr: its largest learning rate.
        schedule: how the rate goes on from there: constant, or to zero along a cosine or a line.
        lr_warmup: epochs over which the rate first rises from zero.
        momentum: beta1 of Adam and AdamW, momentum of RMSprop and SGD; torch's default when left out.
        averaging: beta2 of Adam and AdamW, alpha of RMSprop; torch's default when left out.
        weight_decay: the optimizer's weight decay.
        clip: largest norm of the gradient; none when left out.
        ema: decay of an average of the weights that is then used in their place; 0 for none.
        precision: float32, bf16 (products in bf16, sums in float32), or auto: bf16 where the processor has it.
        device: cpu, cuda, ...; auto takes a GPU where there is one.
        seed: of the split, the initial weights, the order of examples and the noise.
        validation: the fraction of examples held out to watch the training and to choose the epoch to keep.
        test: the fraction held out for the end, where the data set has no test part of its own.
        patience: epochs without a better validation loss after which training stops; never when left out.
        keep: which epoch's weights are kept: the one of the best validation loss, or the last.
        log_every: steps between lines of the history beside one per epoch; 0 for none.
        checkpoint_seconds: at most about this much work is lost when the process is killed; 0 saves after every epoch.
    """

    epochs: int = 20
    batch_size: int = 128
    optimizer: Optimizer = "adam"
    lr: float = 1e-3
    schedule: Schedule = "constant"
    lr_warmup: float = 0.0
    momentum: float | None = None
    averaging: float | None = None
    weight_decay: float = 0.0
    clip: float | None = None
    ema: float = 0.0
    precision: Precision = "auto"
    device: str = "auto"
    seed: int = 0
    validation: float = 0.1
    test: float = 0.1
    patience: int | None = None
    keep: Literal["best", "last"] = "best"
    log_every: int = 0
    checkpoint_seconds: float = 20.0

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, name, "a number of at least 1", getattr(self, name))
        require(self.lr > 0, "lr", "a number above 0", self.lr)
        require(0 <= self.ema < 1, "ema", "at least 0 and below 1", self.ema)
        require(self.clip is None or self.clip > 0, "clip", "a number above 0", self.clip)
        require(
            self.patience is None or self.patience >= 1, "patience", "a number of epochs of at least 1", self.patience
        )
        for name in ("lr_warmup", "weight_decay", "log_every", "checkpoint_seconds"):
            require(getattr(self, name) >= 0, name, "a number of at least 0", getattr(self, name))
        for name in ("momentum", "averaging"):
            value = getattr(self, name)
            require(value is None or 0 <= value < 1, name, "at least 0 and below 1", value)
        require(0 <= self.seed < 2**32, "seed", "a whole number from 0 to 2**32 - 1", self.seed)
        for name in ("validation", "test"):
            require(0 <= getattr(self, name) < 1, name, "a fraction of at least 0 and below 1", getattr(self, name))

    def config(self) -> dict[str, Any]:
        """As a JSON object."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


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
        self._batches = _Batches(self.x, self.split.train, settings, self.device)
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
        """Writes the kept weights and then the checkpoint, if the run has a folder."""
        self._require_finite_weights()
        if self.folder is None:
            return
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
        checkpoint.save_tensors(self.folder / CHECKPOINT, tensors, numbers)
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


class _Batches:
    """The training split in a new order for every epoch, set by the seed and the epoch's number alone."""

    def __init__(self, x: np.ndarray, indices: np.ndarray, settings: Settings, device: torch.device) -> None:
        self.indices = torch.from_numpy(indices)
        self.size = settings.batch_size
        self.seed = settings.seed
        self.count = math.ceil(len(indices) / self.size)
        self.device = device
        self.x = x
        # A memory map is read batch by batch; an array in memory is lent to torch; a GPU takes it whole.
        lendable = not isinstance(x, np.memmap) and x.flags.writeable and min(x.strides) >= 0
        self.lent = torch.from_numpy(x).to(device) if lendable else None

    def epoch(self, epoch: int, skip: int) -> Iterator[Tensor]:
        """The batches of an epoch, (B, *event), without the first `skip`."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = self.indices[torch.randperm(len(self.indices), generator=generator)]
        if self.lent is not None:
            order = order.to(self.device)
        for number in range(skip, self.count):
            chosen = order[number * self.size : (number + 1) * self.size]
            if self.lent is not None:
                yield self.lent[chosen]
            else:
                yield torch.from_numpy(self.x[chosen.numpy()]).to(self.device)
