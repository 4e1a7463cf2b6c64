"""Optimizers by name, and the schedules of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from diabolo.models.objectives import Group
from diabolo.training.settings import Settings
from diabolo.training.speed.optimizer_rules import averages, memory

__all__ = ["learning_rate", "make_optimizer", "players", "rates_of", "set_rate"]

PACE, APART = "pace", "apart"  # of a group, in the optimizer's own record of it


def make_optimizer(groups: Sequence[Group], settings: Settings) -> torch.optim.Optimizer:
    """The optimizer, in its fused form, of which RMSprop with momentum has none; `set_rate` before each step.

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
    if settings.optimizer == "rmsprop" and first:
        return torch.optim.RMSprop(parameters, alpha=second, momentum=first, foreach=True, **common)
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


def learning_rate(settings: Settings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0: a function of the step alone, so nothing needs saving."""
    warmup = max(settings.lr_warmup, 0) * steps_per_epoch
    if step < warmup:
        return settings.lr * (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return settings.lr
    done = (step - warmup) / max(settings.epochs * steps_per_epoch - warmup, 1)
    factor = 0.5 * (1 + math.cos(math.pi * done)) if settings.schedule in ("auto", "cosine") else 1 - done
    return settings.lr * factor
