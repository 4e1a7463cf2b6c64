"""The aggregate of codes, q(z), estimated from all pairs of a batch's codes and posteriors."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.engine import is_transformed

__all__ = ["aggregate"]


def aggregate(z: Tensor, posterior: DiagonalGaussian, logs: Tensor) -> tuple[Tensor, Tensor]:
    """Log q(z) and the sum of log q(z_j), (B,) each, where q is a weighted sum of the posteriors of a batch.

    Args:
        z: (B, d), the codes.
        posterior: of B examples.
        logs: (B, B), the logarithm of the weight of the posterior of example k in q of code i.

    >>> gaussian = DiagonalGaussian(torch.zeros(1, 2), torch.zeros(1, 2))
    >>> aggregate(torch.zeros(1, 2), gaussian, torch.zeros(1, 1))
    (tensor([-1.8379]), tensor([-1.8379]))
    """
    inputs = z, posterior.mean, posterior.log_variance, logs
    if is_transformed():
        return _from_pairs(*inputs)
    joint, marginals = _Aggregate.apply(*inputs)  # type: ignore[no-untyped-call]
    return joint, marginals


def _densities(z: Tensor, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
    """Log q(z_j of i | x of k), (d, B, B), and z_j of i less the mean of k, likewise: sums over k run along memory."""
    z, mean, log_variance = (value.T.contiguous() for value in (z, mean, log_variance))  # or results lie as these do
    away = z[:, :, None] - mean[:, None, :]
    log_variance = log_variance[:, None, :]
    densities = away.square() * (-0.5 * torch.exp(-log_variance)) - 0.5 * (log_variance + math.log(2 * math.pi))
    return densities, away


def _from_pairs(z: Tensor, mean: Tensor, log_variance: Tensor, logs: Tensor) -> tuple[Tensor, Tensor]:
    densities, _ = _densities(z, mean, log_variance)
    return torch.logsumexp(densities.sum(0) + logs, 1), torch.logsumexp(densities + logs, 2).sum(0)


class _Aggregate(torch.autograd.Function):
    """As `_from_pairs`, with one exponential of each pair for the value and its gradient."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, mean: Tensor, log_variance: Tensor, logs: Tensor) -> tuple[Tensor, Tensor]:
        densities, away = _densities(z, mean, log_variance)
        pairs = densities.sum(0).add_(logs)
        joint = torch.logsumexp(pairs, 1)
        densities.add_(logs)
        top = densities.amax(2, keepdim=True)
        sums = densities.sub_(top).exp_().sum(2, keepdim=True)
        ctx.save_for_backward(densities, sums, away, torch.exp(-log_variance.T).contiguous(), pairs, joint)
        return joint, (sums.log() + top).squeeze(2).sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_joint: Tensor, of_marginals: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        shares, sums, away, precision, pairs, joint = ctx.saved_tensors
        of_pairs = (pairs - joint[:, None]).exp_().mul_(of_joint[:, None])  # (B, B)
        weights = torch.addcmul(of_pairs, shares, of_marginals[:, None] / sums)  # of log q(z_j | x_k), (d, B, B)
        total = weights.sum(1)
        first = weights.mul_(away)
        of_z = -(first @ precision[:, :, None]).squeeze(2)
        of_mean = first.sum(1) * precision
        of_log_variance = 0.5 * ((first * away).sum(1) * precision - total)
        return of_z.T, of_mean.T, of_log_variance.T, None
