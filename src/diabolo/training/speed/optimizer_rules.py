"""The rules of the optimizers as operations that a compiler can fuse, and what each remembers of a parameter."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from diabolo.training.settings import Settings

__all__ = ["Memory", "averages", "epsilon", "memory", "pace", "rule"]

Memory = dict[str, Tensor]  # what an optimizer remembers of one parameter, under torch's names


def memory(parameter: Tensor, settings: Settings) -> Memory:
    """What the optimizer remembers of a parameter before the first step; float32.

    RMSprop is Adam that keeps no average of gradients, and whose averages were never new, so that they have no bias.
    """
    first, _ = averages(settings)
    buffer = {"momentum_buffer": torch.zeros_like(parameter)} if first else {}
    if settings.optimizer == "sgd":
        return buffer
    is_rmsprop = settings.optimizer == "rmsprop"
    if is_rmsprop and first:
        return {
            "step": torch.zeros((), device=parameter.device), "square_avg": torch.zeros_like(parameter), **buffer
        }  # fmt: skip
    if settings.optimizer == "adamax":
        return {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_inf": torch.zeros_like(parameter),
        }
    return {
        "step": torch.full((), math.inf if is_rmsprop else 0.0, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


def pace(settings: Settings, rate: float, steps: float) -> tuple[float, float, float]:
    """What the rule of a step takes from its number: apart from it, where a compiler would do so for every few weights.

    Args:
        settings: how to train.
        rate: the learning rate.
        steps: those that a parameter has taken.

    Returns:
        The learning rate; that rate, and the factor of a root mean square, free of the bias of Adam's averages
        (Kingma, Ba 2015, https://arxiv.org/abs/1412.6980, section 3).
    """
    first, second = averages(settings)
    return rate, rate / (1 - first ** (steps + 1)), 1 / math.sqrt(1 - second ** (steps + 1))


def rule(settings: Settings) -> Callable[[Tensor, Tensor, Memory, Tensor], tuple[Tensor, Memory]]:
    """A step of the optimizer as operations that a compiler can fuse, the same as torch's own up to rounding.

    Returns:
        (parameter, gradient, memory, its `pace` as a tensor) -> (parameter, memory), new tensors.
    """
    decay, (first, second), eps = settings.weight_decay, averages(settings), epsilon(settings)

    def sgd(p: Tensor, g: Tensor, m: Memory, pace: Tensor) -> tuple[Tensor, Memory]:
        g = g + decay * p if decay else g
        if first:
            m = {"momentum_buffer": first * m["momentum_buffer"] + g}
        return p - pace[0] * m.get("momentum_buffer", g), m

    def rmsprop(p: Tensor, g: Tensor, m: Memory, pace: Tensor) -> tuple[Tensor, Memory]:
        g = g + decay * p if decay else g
        square = second * m["square_avg"] + (1 - second) * g * g
        move = first * m["momentum_buffer"] + g / (square.sqrt() + eps)
        return p - pace[0] * move, {"step": m["step"] + 1, "square_avg": square, "momentum_buffer": move}

    def adam(p: Tensor, g: Tensor, m: Memory, pace: Tensor) -> tuple[Tensor, Memory]:
        if decay and settings.optimizer == "adamw":
            p = p * (1 - pace[0] * decay)
        elif decay:
            g = g + decay * p
        mean = first * m["exp_avg"] + (1 - first) * g if first else g
        square = second * m["exp_avg_sq"] + (1 - second) * g * g
        move = mean / (square.sqrt() * pace[2] + eps)
        return p - pace[1] * move, {"step": m["step"] + 1, "exp_avg": mean, "exp_avg_sq": square}

    def adamax(p: Tensor, g: Tensor, m: Memory, pace: Tensor) -> tuple[Tensor, Memory]:
        g = g + decay * p if decay else g
        mean = first * m["exp_avg"] + (1 - first) * g
        largest = torch.maximum(second * m["exp_inf"], g.abs() + eps)
        return p - pace[1] * mean / largest, {"step": m["step"] + 1, "exp_avg": mean, "exp_inf": largest}

    if settings.optimizer in ("sgd", "adamax"):
        return sgd if settings.optimizer == "sgd" else adamax
    return rmsprop if settings.optimizer == "rmsprop" and first else adam


def averages(settings: Settings) -> tuple[float, float]:
    """The parts of its averages of gradients and of their squares that the optimizer keeps in a step: beta1, beta2."""
    usual = {"rmsprop": (0.0, 0.99), "sgd": (0.0, 0.0)}.get(settings.optimizer, (0.9, 0.999))
    first = usual[0] if settings.momentum is None else settings.momentum
    second = usual[1] if settings.beta2 is None else settings.beta2
    return first, second


def epsilon(settings: Settings) -> float:
    """What is added to the root that the optimizer divides by."""
    return 1e-8 if settings.eps is None else settings.eps
