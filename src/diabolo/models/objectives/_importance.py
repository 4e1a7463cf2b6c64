"""Importance-weighted bounds: how much each of several codes of an example counts, and for whom."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["FARTHEST", "Shares", "log_mean_weight", "shares_of"]

FARTHEST = 80.0  # nats that the weights of one repeat may lie below those of all: beyond, a share would be 0 times inf


class Shares(NamedTuple):
    """How much each code counts: (repeats, draws, B), without gradients; and what the bound is.

    Attributes:
        bound: its negative, (B,).
        decoder: in the terms, and so for the decoder and the prior.
        passed: the factor of the gradient that passes from the decoder's side through a code to the encoder; None: 1.
        direct: for the encoder where the density of a code depends on it, the code itself being held; None: 0.
    """

    bound: Tensor
    decoder: Tensor
    passed: Tensor | None
    direct: Tensor | None


def log_mean_weight(logs: Tensor) -> Tensor:
    """Log (1/K) sum_k w_k from log w, (K, ...): (...).

    >>> log_mean_weight(torch.tensor([1.0, 3.0]).log()).exp()
    tensor(2.)
    """
    return torch.logsumexp(logs, 0) - math.log(len(logs))


def shares_of(logs: Tensor, estimator: str, share: float) -> Shares:
    """The shares under which sums over codes have the gradient of an estimator.

    Args:
        logs: log w = log p(x, z) - log q(z | x), (repeats, draws, B).
        estimator: iwae; dreg (Tucker et al. 2019); piwae or ciwae (Rainforth et al. 2018).
        share: of the plain bound in ciwae.

    >>> shares_of(torch.tensor([[[1.0], [3.0]]]).log(), "iwae", 0.5).decoder.flatten()
    tensor([0.2500, 0.7500])
    """
    logs = logs.detach()
    repeats, draws, _ = logs.shape
    each = log_mean_weight(logs.transpose(0, 1))  # of each repeat
    normalised = torch.softmax(logs, 1)
    groups = normalised / repeats
    if estimator == "dreg":
        return Shares(-each.mean(0), groups, normalised, None)
    if estimator == "piwae":
        all_of_them = log_mean_weight(logs.flatten(0, 1))
        passed = (all_of_them - each).clamp(max=FARTHEST).exp()[:, None].expand_as(logs)
        return Shares(-all_of_them, torch.softmax(logs.flatten(0, 1), 0).view_as(logs), passed, groups)
    if estimator == "ciwae":
        mixed = share / (repeats * draws) + (1 - share) * groups
        return Shares(-share * logs.mean((0, 1)) - (1 - share) * each.mean(0), mixed, None, mixed)
    return Shares(-each.mean(0), groups, None, groups)
