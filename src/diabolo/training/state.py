"""All that training needs to go on, as tensors and numbers, whatever the number of processes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diabolo.errors import RunError
from diabolo.storage import checkpoint
from diabolo.storage.checkpoint import gathered, placed
from diabolo.training.optimizers import memory
from diabolo.training.speed.precision_policy import PrecisionChoice

if TYPE_CHECKING:
    from diabolo.training.loop import Training

__all__ = ["collect", "restore"]

COUNTS = ("steps", "epochs", "batch_in_epoch")


def collect(training: Training) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of a training by all of its processes, each of which asks for it; the first one gets the tensors."""
    replica, meter = training.replica, training.meter
    count, *sums = training.processes.all_reduce([meter.count, *(value.item() for value in meter.sums.values())])
    tensors: dict[str, Tensor] = {}
    if replica.is_sharded or training.processes.is_first:
        tensors = {f"model.{name}": gathered(value) for name, value in replica.model.state_dict().items()}
        tensors |= checkpoint.optimizer_tensors(training.optimizer)
        tensors |= {f"average.{i}": gathered(value) for i, value in enumerate(training.kept.average or [])}
        tensors["rng.noise"] = training.generator.get_state()
    numbers = {name: getattr(training, name) for name in COUNTS} | {
        "best_epoch": training.best_epoch,
        "best_loss": training.best_loss if math.isfinite(training.best_loss) else None,
        "meter_count": int(count),
        "meter_sums": dict(zip(meter.sums, sums, strict=True)),
        "weights": training.weights,
        "precision": training.precision,
    }
    return tensors, numbers


def restore(training: Training, path: Path) -> None:
    """Puts a training where the checkpoint at `path` was written.

    Raises:
        RunError: there is none, or it does not fit.
    """
    tensors, numbers = checkpoint.load_tensors(path)
    groups = ("model", "average", "rng")
    parts = {
        group: {k[len(group) + 1 :]: v for k, v in tensors.items() if k.startswith(group + ".")} for group in groups
    }
    checkpoint.fit_tensors(training.model, parts["model"], path)
    training.replica.load(parts["model"])
    try:
        checkpoint.restore_optimizer(training.optimizer, tensors)
        for parameter, held in training.optimizer.state.items():
            missing = set(memory(parameter, training.settings)) - set(held)
            if missing:
                raise KeyError(f"the optimizer's {min(missing)}")
        training.generator.set_state(parts["rng"]["noise"])
        if training.kept.average is not None:
            for i, value in enumerate(training.kept.average):
                kept = parts["average"][str(i)]
                if kept.shape != value.shape:
                    raise ValueError(f"average.{i} has the shape {tuple(kept.shape)} and not {tuple(value.shape)}")
                value.copy_(placed(kept, value))
        for name in COUNTS:
            setattr(training, name, numbers[name])
        training.best_epoch = numbers["best_epoch"]
        training.best_loss = math.inf if numbers["best_loss"] is None else numbers["best_loss"]
        share = int(training.processes.is_first)  # of the sums so far, to which every process adds what is to come
        training.meter.count = share * numbers["meter_count"]
        sums = numbers["meter_sums"]
        training.meter.sums = {name: torch.tensor(share * value, dtype=torch.float64) for name, value in sums.items()}
        training.weights = numbers["weights"]
        if training.settings.precision == "auto" and "precision" in numbers:
            training.choice = PrecisionChoice(numbers["precision"], is_open=True)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} does not hold what training needs to go on: {error!r}. It was edited.") from error
