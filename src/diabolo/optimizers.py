"""The rules of a step and the schedules of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diabolo.settings import Settings

__all__ = ["Memory", "learning_rate", "make_optimizer", "memory", "pace", "rule"]

Memory = dict[str, Tensor]  # what an optimizer remembers of one parameter, under torch's names


def make_optimizer(parameters: list[torch.nn.Parameter], settings: Settings) -> torch.optim.Optimizer:
    """The optimizer in its fused form where torch has one (it has none for RMSprop)."""
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    first, second = settings.momentum, settings.averaging
    if settings.optimizer in ("adam", "adamw"):
        adam = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
        return adam(parameters, betas=_betas(settings), fused=True, **common)
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


def memory(parameter: Tensor, settings: Settings) -> Memory:
    """What the optimizer remembers of a parameter before the first step; float32."""
    if settings.optimizer == "sgd":
        return {"momentum_buffer": torch.zeros_like(parameter)} if settings.momentum else {}
    count = {"step": torch.zeros((), device=parameter.device)}
    if settings.optimizer == "rmsprop":
        buffer = {"momentum_buffer": torch.zeros_like(parameter)} if settings.momentum else {}
        return {**count, "square_avg": torch.zeros_like(parameter), **buffer}
    return {**count, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}


def pace(settings: Settings, rate: float, taken: float) -> tuple[float, float, float]:
    """What the rule of a step takes from its number: apart from it, where a compiler would do so for every few weights.

    Args:
        settings: how to train.
        rate: the learning rate.
        taken: the steps that a parameter has taken.

    Returns:
        The learning rate; that rate, and the factor of a root mean square, free of the bias of Adam's averages
        (Kingma, Ba 2015, https://arxiv.org/abs/1412.6980, section 3).
    """
    first, second = _betas(settings)
    return rate, rate / (1 - first ** (taken + 1)), 1 / math.sqrt(1 - second ** (taken + 1))


def rule(settings: Settings) -> Callable[[Tensor, Tensor, Memory, Tensor], tuple[Tensor, Memory]]:
    """A step of the optimizer as operations that a compiler can fuse, the same as torch's own up to rounding.

    Returns:
        (parameter, gradient, memory, its `pace` as a tensor) -> (parameter, memory), new tensors.
    """
    decay, first, second = settings.weight_decay, settings.momentum, settings.averaging

    def sgd(p: Tensor, g: Tensor, m: Memory, pace: Tensor) -> tuple[Tensor, Memory]:
        g = g + decay * p if decay else g
        if first:
            m = {"momentum_buffer": first * m["momentum_buffer"] + g}
        return p - pace[0] * m.get("momentum_buffer", g), m

    def rmsprop(p: Tensor, g: Tensor, m: Memory, pace: Tensor) -> tuple[Tensor, Memory]:
        g = g + decay * p if decay else g
        alpha = 0.99 if second is None else second
        m = {**m, "step": m["step"] + 1, "square_avg": alpha * m["square_avg"] + (1 - alpha) * g * g}
        move = g / (m["square_avg"].sqrt() + 1e-8)
        if first:
            m["momentum_buffer"] = move = first * m["momentum_buffer"] + move
        return p - pace[0] * move, m

    def adam(p: Tensor, g: Tensor, m: Memory, pace: Tensor) -> tuple[Tensor, Memory]:
        one, two = _betas(settings)
        if decay and settings.optimizer == "adam":
            g = g + decay * p
        elif decay:
            p = p * (1 - pace[0] * decay)
        mean, square = one * m["exp_avg"] + (1 - one) * g, two * m["exp_avg_sq"] + (1 - two) * g * g
        move = mean / (square.sqrt() * pace[2] + 1e-8)
        return p - pace[1] * move, {"step": m["step"] + 1, "exp_avg": mean, "exp_avg_sq": square}

    return {"sgd": sgd, "rmsprop": rmsprop}.get(settings.optimizer, adam)


def _betas(settings: Settings) -> tuple[float, float]:
    """How much of their averages of gradients and of squared gradients Adam and AdamW keep in a step."""
    first, second = settings.momentum, settings.averaging
    return 0.9 if first is None else first, 0.999 if second is None else second
