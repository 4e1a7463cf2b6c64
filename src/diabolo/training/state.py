"""What a training consists of and how far it has come: what callbacks see, and what a checkpoint holds."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diabolo.datasets import Split
from diabolo.devices import choose_device, has_native_bf16, keep_freed_memory
from diabolo.errors import ConfigError, RunError, StorageError, TrainingError
from diabolo.evaluation.terms import Evaluation
from diabolo.models.engine import requested
from diabolo.models.model import Model
from diabolo.models.objectives import Batch, Meter, checked_labels
from diabolo.models.own_modules import needs_several
from diabolo.storage import checkpoint
from diabolo.storage.checkpoint import CHECKPOINT, WEIGHTS, digest_of, full_tensor, shard_like
from diabolo.storage.generation import file_of, generation
from diabolo.storage.history import HISTORY, History
from diabolo.training.batches import Batches
from diabolo.training.distributed import ProcessGroup
from diabolo.training.gradients import SharedStep
from diabolo.training.memory import require_memory
from diabolo.training.optimizers import Plateau
from diabolo.training.replica import Replica
from diabolo.training.settings import Settings
from diabolo.training.shared_evaluation import evaluate_distributed
from diabolo.training.speed.compile_policy import CompilePolicy
from diabolo.training.speed.optimizer_rules import memory
from diabolo.training.speed.precision_policy import (
    BATCHES,
    PrecisionChoice,
    choose,
    has_single_places,
    is_worth_measuring,
)
from diabolo.training.speed.threads import Threads
from diabolo.training.weight_keeper import WeightKeeper

__all__ = ["CHECKPOINT", "Training"]

COUNTS = ("steps", "epochs", "batch_in_epoch", "best_epoch")

log = logging.getLogger("diabolo")


@dataclass
class Training:
    """A model, its data, and how far it has come.

    Args:
        model: the model; its weights are changed in place.
        x: (N, *event), every example; it stays as it is, bytes as bytes, and is converted batch by batch.
        split: the examples to train on, to validate with, to test with.
        settings: how to train.
        folder: the place of checkpoints and history; nothing is written when left out.
        callbacks: what looks on, see `Callback`.
        processes: those that train it together, each of which makes one of the same model and data.
        y: (N,) int64, the class of each example, -1 where it is not known; for variants that take labels.

    Attributes:
        steps: taken so far.
        epochs: completed so far.
        best_epoch: the epoch of the best validation loss, from 1; 0 before there is one, and for the start.
        best_loss: that loss; infinite before there is one.
        start_counts: whether the weights before the first step may be the best.
        batch_in_epoch: the number of the next batch in the epoch under way.
        meter: sums of the loss's terms in that epoch.
        weights: the factors of the terms in the last step.
        steps_per_epoch: the last of which may be smaller.

    Raises:
        ConfigError: a device that is not there, or batches with fewer examples than there are processes.
        TrainingError: there is nothing to train on.

    >>> from diabolo.runs import make_run_config, start
    >>> training = start(make_run_config("digits", epochs=2, batch_size=64, widths=(8,))).training
    >>> training.steps, training.steps_per_epoch, training.watched[0]
    (0, 23, 'validation')
    """

    model: Model
    x: np.ndarray
    split: Split
    settings: Settings
    folder: Path | None = None
    callbacks: Sequence[Any] = ()
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    y: np.ndarray | None = None
    steps: int = field(default=0, init=False)
    epochs: int = field(default=0, init=False)
    best_epoch: int = field(default=0, init=False)
    best_loss: float = field(default=math.inf, init=False)
    start_counts: bool = field(default=False, init=False)
    batch_in_epoch: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.settings = self.settings.for_examples(len(self.split.train))
        size = self.settings.batch_size
        leaves_one = len(self.split.train) > size and len(self.split.train) % size == 1
        if leaves_one and not self.settings.drop_last and needs_several(self.model):
            self.settings = replace(self.settings, drop_last=True)
            log.warning(
                "The last batch of an epoch would hold one example, which a batch normalisation cannot learn from: it "
                "is left out, another one in each epoch."
            )
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
        whole = self.model.couples
        if whole and (settings.accumulate > 1 or processes.count > 1):
            raise ConfigError(
                f"{whole}, is of a whole batch: with accumulate={settings.accumulate} and {processes.count} "
                f"process{'es' * (processes.count > 1)} it would be another loss. Take accumulate=1 and one process, "
                "or leave it out."
            )
        self.y = checked_labels(self.model.objective, self.y, len(self.x))
        self.device = choose_device(processes.device(settings.device))
        keep_freed_memory()
        if settings.sharding == "none":
            require_memory(self.model, settings, self.device)
        self.replica = Replica(self.model, processes, settings.sharding, self.device)
        self.parameters = self.replica.parameters
        self.optimizer = self.replica.optimizer(settings)
        self.keeper = WeightKeeper(self.model, self.replica, settings, chooses=len(self.split.validation) > 0)
        self.history = History(self.folder and self.folder / HISTORY, processes.is_first)
        self.meter = Meter()
        self.plateau = Plateau()
        self.weights: dict[str, float] = {}
        # Noise is drawn from a generator of the run's own, so that nothing outside can disturb it.
        self.generator = torch.Generator(device=self.device).manual_seed(settings.seed)
        places = self.model.objective.wants_index
        self.batches = Batches(
            self.x, self.split.train, settings, self.device, processes.rank, processes.count, self.y, places
        )
        self.steps_per_epoch = self.batches.count
        self.shared_step = SharedStep(self.replica, self.optimizer, settings, self.generator, len(self.split.train))
        self.compilation = CompilePolicy(self.replica, self.optimizer, settings, self.generator, least)
        self.threads = Threads(settings.threads)
        self.saved_at, self.saved = time.monotonic(), (-1, -1)

    @property
    def precision(self) -> str:
        """The precision of the steps: float32 or bf16."""
        return self.choice.precision

    @property
    def has_best(self) -> bool:
        """Whether there are weights of a best epoch, or of a start that nothing was better than so far."""
        return math.isfinite(self.best_loss)

    @property
    def watched(self) -> tuple[str, np.ndarray]:
        """The split evaluated after each epoch: validation, or test where that is empty (which then picks no epoch)."""
        name = "validation" if len(self.split.validation) else "test"
        return name, getattr(self.split, name)

    @property
    def kept_on(self) -> str:
        """The device of `model`, the whole one: not the device that it was sharded for, since it need not fit there."""
        return "cpu" if self.replica.is_sharded else str(self.device)

    @functools.cached_property
    def choice(self) -> PrecisionChoice:
        """The precision, the engine, and why; what is to be measured is measured at the first call."""
        settings, device = self.settings, self.device
        if self.replica.is_sharded:  # too large to be tried out: a GPU's bf16 is always faster
            on_gpu = settings.precision == "auto" and device.type == "cuda" and has_native_bf16(device)
            return PrecisionChoice("bf16" if on_gpu or settings.precision == "bf16" else "float32", "torch")
        engine, precision = requested(settings.engine, device), settings.precision
        if device.type == "cpu" and precision != "float32" and has_single_places(self.model):
            if precision == "bf16":
                raise ConfigError(
                    "precision='bf16' does not go with convolutions of maps of one place, whose gradients torch gets "
                    "wrong on a processor: take float32, fewer layers (channels) or strides."
                )
            precision = "float32"
        batches: list[Batch] = []
        examples = settings.epochs * len(self.split.train)
        if "auto" in (precision, engine) and is_worth_measuring(self.model, examples):
            batches = self.drawn_batches()
        steps_left = settings.epochs * self.steps_per_epoch - self.steps
        choice = choose(
            precision,
            engine,
            self.model,
            batches,
            self.generator,
            lambda seconds: self.compilation.is_likely(seconds * steps_left),
        )
        return self.processes.broadcast(choice)

    def drawn_batches(self) -> list[Batch]:
        """Some batches to measure with, all of one size."""
        with contextlib.closing(self.batches.epoch(0, 0)) as batches:
            some = [batch.map(torch.clone) for batch in itertools.islice(batches, BATCHES)]
        return [batch for batch in some if 0 < len(batch) == len(some[0])]

    def evaluate(self, indices: np.ndarray) -> Evaluation:
        """The loss's terms over some examples; several processes ask at once and share the work.

        Args:
            indices: (n,), the examples.
        """
        return evaluate_distributed(self.replica.model, self.x, indices, self.settings.seed, self.processes, self.y)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the model holds the averaged weights, where `ema` asks for them."""
        return self.keeper.averaged()

    # On disk

    def save(self) -> None:
        """Writes the kept weights together with the checkpoint, if the run has a folder.

        Raises:
            StorageError: they could not be written; the checkpoint before stands.
        """
        if self.folder is None:
            return
        tensors, numbers = self._collect()
        weights = self.keeper.unsaved()
        try:
            with self.processes.barrier():
                if self.processes.is_first:
                    with generation(self.folder) as files:
                        if weights is not None:
                            epoch = {"epoch": self.best_epoch if self.has_best else self.epochs}
                            checkpoint.save_tensors(files / WEIGHTS, weights, epoch, digest_of(weights))
                        checkpoint.save_tensors(files / CHECKPOINT, tensors, numbers)
        except StorageError as error:
            further = f"The run goes on where it was last saved: diabolo resume {self.folder}"
            raise StorageError(f"{error} {further}") from error
        self.keeper.saved(self.has_best)
        self.saved_at, self.saved = time.monotonic(), (self.steps, self.epochs)

    def resume(self) -> None:
        """Goes back to where the last checkpoint in the folder was written, by any number of processes.

        Raises:
            RunError: there is none, or it does not fit.
        """
        if self.folder is None:
            raise RunError("A run that has no folder cannot be resumed.")
        path = file_of(self.folder, CHECKPOINT)
        tensors, numbers = checkpoint.load_tensors(path)
        checkpoint.fit_tensors(self.model, _group(tensors, "model"), path)
        self.replica.load(_group(tensors, "model"))
        try:
            self._restore(tensors, numbers)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} does not hold what training needs to go on: {error!r}. It was edited.") from error
        self.keeper.saved(self.has_best)
        self.history.cut(self.steps, self.epochs)
        self.saved = (self.steps, self.epochs)

    def _collect(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The state of all processes, each of which calls this; the first one gets the tensors."""
        replica, meter = self.replica, self.meter
        count, *sums = self.processes.all_reduce([meter.count, *(value.item() for value in meter.sums.values())])
        tensors: dict[str, Tensor] = {}
        if replica.is_sharded or self.processes.is_first:
            tensors = {f"model.{name}": full_tensor(value) for name, value in replica.model.state_dict().items()}
            tensors |= checkpoint.optimizer_tensors(self.optimizer)
            tensors |= {f"average.{i}": full_tensor(value) for i, value in enumerate(self.keeper.average or [])}
            tensors["rng.noise"] = self.generator.get_state()
        numbers = {name: getattr(self, name) for name in COUNTS} | {
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "meter_count": int(count),
            "meter_sums": dict(zip(meter.sums, sums, strict=True)),
            "weights": self.weights,
            "plateau": [self.plateau.drops, self.plateau.epoch],
            "precision": self.choice.precision,
            "engine": self.choice.engine,
        }
        return tensors, numbers

    def _restore(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        checkpoint.restore_optimizer(self.optimizer, tensors)
        for parameter, state in self.optimizer.state.items():
            missing = set(memory(parameter, self.settings)) - set(state)
            if missing:
                raise KeyError(f"the optimizer's {min(missing)}")
        self.generator.set_state(_group(tensors, "rng")["noise"])
        averages = _group(tensors, "average")
        for i, value in enumerate(self.keeper.average or []):
            average = averages[str(i)]
            if average.shape != value.shape:
                raise ValueError(f"average.{i} has the shape {tuple(average.shape)} and not {tuple(value.shape)}")
            value.copy_(shard_like(average, value))
        for name in COUNTS:
            setattr(self, name, numbers[name])
        self.best_loss = math.inf if numbers["best_loss"] is None else numbers["best_loss"]
        share = int(self.processes.is_first)  # of the sums so far, to which every process adds what is to come
        self.meter.count = share * numbers["meter_count"]
        sums = numbers["meter_sums"]
        self.meter.sums = {name: torch.tensor(share * value, dtype=torch.float64) for name, value in sums.items()}
        self.weights = numbers["weights"]
        self.plateau = Plateau(*numbers.get("plateau", ()))
        if "precision" in numbers:  # as it began, not as it would be measured now
            self._go_on_in(numbers["precision"], numbers.get("engine", "fused"))

    def _go_on_in(self, precision: Any, engine: Any) -> None:
        """Keeps the arithmetic of the checkpoint where the settings leave it open."""
        if self.settings.precision != "auto":
            precision = self.settings.precision
        device_engine = requested(self.settings.engine, self.device)
        if device_engine != "auto":
            engine = device_engine
        self.choice = PrecisionChoice(precision, engine, is_open=self.settings.precision == "auto")


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix.`, without it."""
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
