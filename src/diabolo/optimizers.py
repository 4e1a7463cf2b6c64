"""The rules of a step and the schedules of the learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch

from diabolo.settings import Settings

__all__ = ["learning_rate", "make_optimizer"]


def make_optimizer(parameters: list[torch.nn.Parameter], settings: Settings) -> torch.optim.Optimizer:
    """The optimizer in its fused form where torch has one (it has none for RMSprop)."""
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    first, second = settings.momentum, settings.averaging
    if settings.optimizer in ("adam", "adamw"):
        betas = (0.9 if first is None else first, 0.999 if second is None else second)
        adam = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
        return adam(parameters, betas=betas, fused=True, **common)
    if settings.optimizer == "rmsprop":
        alpha = 0.99 if second is None else second
        return torch.optim.RMSprop(parameters, alpha=alpha, momentum=first or 0.0, foreach=True, **common)
    return torch.optim.SGD(parameters, momentum=first or 0.0, fused=True, **common)


def learning_rate(settings: Settings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0: a function of the step alone, so nothing needs saving."""
    warmup = settings.lr_warmup * steps_per_epoch
    if step < warmup:
        return settings.lr * (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return settings.lr
    done = (step - warmup) / max(settings.epochs * steps_per_epoch - warmup, 1)
    left = 0.5 * (1 + math.cos(math.pi * done)) if settings.schedule == "cosine" else 1 - done
    return settings.lr * left
