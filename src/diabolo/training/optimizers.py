"""The rules of a step and the schedules of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diabolo.training.settings import Settings

__all__ = ["Memory", "learning_rate", "make_optimizer", "memory", "pace", "rule"]

Memory = dict[str, Tensor]  # what an optimizer remembers of one parameter, under torch's names


def make_optimizer(parameters: list[torch.nn.Parameter], settings: Settings) -> torch.optim.Optimizer:
    """The optimizer, in its fused form, of which RMSprop with momentum has none."""
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    first, second = _kept(settings)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=first, fused=True, **common)
    if settings.optimizer == "rmsprop" and first:
        return torch.optim.RMSprop(parameters, alpha=second, momentum=first, foreach=True, **common)
    adam = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    made = adam(parameters, betas=(first, second), fused=True, **common)
    if settings.optimizer == "rmsprop":
        for parameter in parameters:
            made.state[parameter] = memory(parameter, settings)
    return made


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
    """What the optimizer remembers of a parameter before the first step; float32.

    RMSprop is Adam that keeps no average of gradients, and whose averages were never new, so that they have no bias.
    """
    first, _ = _kept(settings)
    buffer = {"momentum_buffer": torch.zeros_like(parameter)} if first else {}
    if settings.optimizer == "sgd":
        return buffer
    is_rmsprop = settings.optimizer == "rmsprop"
    if is_rmsprop and first:
        return {
            "step": torch.zeros((), device=parameter.device), "square_avg": torch.zeros_like(parameter), **buffer
        }  # fmt: skip
    return {
        "step": torch.full((), math.inf if is_rmsprop else 0.0, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


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
    first, second = _kept(settings)
    return rate, rate / (1 - first ** (taken + 1)), 1 / math.sqrt(1 - second ** (taken + 1))


def rule(settings: Settings) -> Callable[[Tensor, Tensor, Memory, Tensor], tuple[Tensor, Memory]]:
    """A step of the optimizer as operations that a compiler can fuse, the same as torch's own up to rounding.

    Returns:
        (parameter, gradient, memory, its `pace` as a tensor) -> (parameter, memory), new tensors.
    """
    decay, (first, second) = settings.weight_decay, _kept(settings)

    def sgd(p: Tensor, g: Tensor, m: Memory, pace: Tensor) -> tuple[Tensor, Memory]:
        g = g + decay * p if decay else g
        if first:
            m = {"momentum_buffer": first * m["momentum_buffer"] + g}
        return p - pace[0] * m.get("momentum_buffer", g), m

    def rmsprop(p: Tensor, g: Tensor, m: Memory, pace: Tensor) -> tuple[Tensor, Memory]:
        g = g + decay * p if decay else g
        square = second * m["square_avg"] + (1 - second) * g * g
        move = first * m["momentum_buffer"] + g / (square.sqrt() + 1e-8)
        return p - pace[0] * move, {"step": m["step"] + 1, "square_avg": square, "momentum_buffer": move}

    def adam(p: Tensor, g: Tensor, m: Memory, pace: Tensor) -> tuple[Tensor, Memory]:
        if decay and settings.optimizer == "adamw":
            p = p * (1 - pace[0] * decay)
        elif decay:
            g = g + decay * p
        mean = first * m["exp_avg"] + (1 - first) * g if first else g
        square = second * m["exp_avg_sq"] + (1 - second) * g * g
        move = mean / (square.sqrt() * pace[2] + 1e-8)
        return p - pace[1] * move, {"step": m["step"] + 1, "exp_avg": mean, "exp_avg_sq": square}

    if settings.optimizer == "sgd":
        return sgd
    return rmsprop if settings.optimizer == "rmsprop" and first else adam


def _kept(settings: Settings) -> tuple[float, float]:
    """What part of its averages of gradients and of their squares the optimizer keeps in a step."""
    usual = {"adam": (0.9, 0.999), "adamw": (0.9, 0.999), "rmsprop": (0.0, 0.99)}.get(settings.optimizer, (0.0, 0.0))
    asked = (settings.momentum, settings.beta2)
    return asked[0] if asked[0] is not None else usual[0], asked[1] if asked[1] is not None else usual[1]
