"""Optimizers by name, and the schedules of the learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch

from diabolo.training.settings import Settings
from diabolo.training.speed.optimizer_rules import averages, memory

__all__ = ["learning_rate", "make_optimizer"]


def make_optimizer(parameters: list[torch.nn.Parameter], settings: Settings) -> torch.optim.Optimizer:
    """The optimizer, in its fused form, of which RMSprop with momentum has none."""
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    first, second = averages(settings)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=first, fused=True, **common)
    if settings.optimizer == "rmsprop" and first:
        return torch.optim.RMSprop(parameters, alpha=second, momentum=first, foreach=True, **common)
    adam = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    optimizer = adam(parameters, betas=(first, second), fused=True, **common)
    if settings.optimizer == "rmsprop":
        for parameter in parameters:
            optimizer.state[parameter] = memory(parameter, settings)
    return optimizer


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
