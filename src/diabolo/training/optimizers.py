"""Optimizers by name, and the schedules of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from diabolo.models.objectives import Group
from diabolo.training.settings import Settings
from diabolo.training.speed.optimizer_rules import averages, epsilon, memory

__all__ = ["Plateau", "learning_rate", "make_optimizer", "players", "rates_of", "set_rate"]

PACE, APART = "pace", "apart"  # of a group, in the optimizer's own record of it


def make_optimizer(groups: Sequence[Group], settings: Settings) -> torch.optim.Optimizer:
    """The optimizer, in its fused form, which Adamax and RMSprop with momentum lack; `set_rate` before each step.

    A pace is for optimizers whose steps do not grow with the gradient; plain SGD's are as long as it is.
    """
    is_plain = settings.optimizer == "sgd"
    parameters = [
        {
            "params": group.parameters,
            PACE: 1.0 if is_plain else group.pace,
            APART: group.is_apart,
            **_averages_of(group, settings),
        }
        for group in groups
    ]
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    first, second = averages(settings)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=first, fused=True, **common)
    common["eps"] = epsilon(settings)
    if settings.optimizer == "rmsprop" and first:
        return torch.optim.RMSprop(parameters, alpha=second, momentum=first, foreach=True, **common)
    if settings.optimizer == "adamax":  # whose count of steps, on a GPU, is where a CUDA graph goes on counting
        on_gpu = any(one.is_cuda for group in groups for one in group.parameters)
        return torch.optim.Adamax(parameters, betas=(first, second), foreach=True, capturable=on_gpu, **common)
    adam = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    optimizer = adam(parameters, betas=(first, second), fused=True, **common)
    if settings.optimizer == "rmsprop":
        for parameter in (one for group in groups for one in group.parameters):
            optimizer.state[parameter] = memory(parameter, settings)
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives each group of parameters its learning rate: the step's, times the group's own pace."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[PACE]


def players(optimizer: torch.optim.Optimizer) -> Iterator[list[torch.Tensor]]:
    """The parameters whose gradients are clipped together: those of each group that is apart, and all the others."""
    yield [parameter for group in optimizer.param_groups if not group[APART] for parameter in group["params"]]
    yield from (group["params"] for group in optimizer.param_groups if group[APART])


def rates_of(optimizer: torch.optim.Optimizer, settings: Settings) -> dict[torch.Tensor, tuple[float, Settings]]:
    """The pace of each parameter, and the settings with its own group's averages."""
    found: dict[torch.Tensor, tuple[float, Settings]] = {}
    for group in optimizer.param_groups:
        betas = group.get("betas", averages(settings))
        own = settings if betas == averages(settings) else replace(settings, momentum=betas[0], beta2=betas[1])
        found |= dict.fromkeys(group["params"], (group[PACE], own))
    return found


def _averages_of(group: Group, settings: Settings) -> dict[str, Any]:
    """The averages of a group that has its own, under torch's names; they are Adam's."""
    if settings.optimizer in ("sgd", "rmsprop") or (group.momentum is None and group.beta2 is None):
        return {}
    usual = averages(settings)
    first = usual[0] if group.momentum is None else group.momentum
    second = usual[1] if group.beta2 is None else group.beta2
    return {"betas": (first, second)}


def learning_rate(settings: Settings, step: int, steps_per_epoch: int, drops: int = 0) -> float:
    """The learning rate of a step: a function of the step alone but for a plateau's, which counts its drops.

    Args:
        settings: how to train.
        step: its number, from 0.
        steps_per_epoch: of the training.
        drops: how often schedule=plateau has multiplied the rate so far.

    >>> settings = Settings(epochs=4, lr=1.0, schedule="milestones", milestones=(1, 3), lr_decay=0.5, lr_warmup=0)
    >>> [learning_rate(settings, step, steps_per_epoch=2) for step in range(8)]
    [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    """
    warmup = max(settings.lr_warmup, 0) * steps_per_epoch
    if step < warmup:
        return settings.lr * (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return settings.lr
    if settings.schedule == "milestones":
        scale = 1 if settings.milestones[0] >= 1 else settings.epochs
        drops = sum(step >= stone * scale * steps_per_epoch for stone in settings.milestones)
    if settings.schedule in ("milestones", "plateau"):
        return settings.lr * settings.lr_decay**drops
    done = (step - warmup) / max(settings.epochs * steps_per_epoch - warmup, 1)
    factor = 0.5 * (1 + math.cos(math.pi * done)) if settings.schedule in ("auto", "cosine") else 1 - done
    return settings.lr * factor


@dataclass
class Plateau:
    """How often the rate has fallen on a plateau of the validation loss: what a checkpoint holds of it.

    Attributes:
        drops: how often.
        epoch: after which epoch it fell last; 0 before.

    >>> plateau, settings = Plateau(), Settings(schedule="plateau", lr_patience=2)
    >>> for epoch in range(1, 6):
    ...     plateau.ended_epoch(settings, epoch, best_epoch=1)
    >>> plateau
    Plateau(drops=2, epoch=5)
    """

    drops: int = 0
    epoch: int = 0

    def ended_epoch(self, settings: Settings, epoch: int, best_epoch: int) -> None:
        """Counts a drop where the loss has not fallen for as many epochs as the settings wait for.

        Args:
            settings: how to train.
            epoch: the number of epochs so far.
            best_epoch: that of the best validation loss.
        """
        if settings.schedule == "plateau" and epoch - max(best_epoch, self.epoch) >= settings.lr_patience:
            self.drops, self.epoch = self.drops + 1, epoch
