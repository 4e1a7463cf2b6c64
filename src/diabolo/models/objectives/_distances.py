"""Distances between a batch of codes and a prior: each a scalar, with gradients to the codes."""

from __future__ import annotations

import functools
import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diabolo.models.engine import is_transformed
from diabolo.models.objectives._aggregate import require_batch

__all__ = ["cramer_wold", "mmd", "sliced"]

SCALES = 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0  # of the inverse multiquadratic kernel (Tolstikhin et al., in their code)
STEP = 0.5  # of the quadrature over directions


def squares(x: Tensor, y: Tensor) -> Tensor:
    """The squared distances of all pairs, (n, m), of codes (n, d) and (m, d)."""
    lengths = x.square().sum(1)[:, None] + y.square().sum(1)
    return (lengths - 2 * x @ y.T).clamp(min=0)


def mmd(x: Tensor, y: Tensor) -> Tensor:
    """The squared maximum mean discrepancy of two samples of n codes, (n, d) each, by its unbiased estimate.

    Gretton et al. 2012, "A kernel two-sample test", lemma 6, https://jmlr.org/papers/v13/gretton12a.html: the diagonals
    are left out, so that its mean is that of the two distributions, zero where they are the same, and single values lie
    on both sides of it. The kernel is the sum of c / (c + |x - y|^2) over c = 2 d s, s from .1 to 10 (Tolstikhin et al.
    2018, https://arxiv.org/abs/1711.01558).

    >>> codes = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> mmd(codes[:250], codes[250:]).abs() < 0.05, mmd(codes[:250], codes[250:] + 3) > 1
    (tensor(True), tensor(True))
    """
    count, dim = x.shape
    if count < 2 and not torch.is_grad_enabled():  # an evaluation of a single example: there are no pairs
        return x.new_zeros(())
    require_batch(count, 2, "A maximum mean discrepancy")

    widths = x.new_tensor(SCALES)[:, None, None] * (2 * dim)

    def kernel(distances: Tensor) -> Tensor:
        if is_transformed():
            return (widths / (widths + distances)).sum(0)
        return cast(Tensor, _Kernel.apply(distances, widths))  # type: ignore[no-untyped-call]

    own = kernel(squares(x, x)).sum() + kernel(squares(y, y)).sum() - 2 * count * len(SCALES)
    return own / (count * (count - 1)) - 2 * kernel(squares(x, y)).mean()


class _Kernel(torch.autograd.Function):
    """The sum over c of c / (c + squared distance), with its slope at once."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor, widths: Tensor) -> Tensor:
        each = widths / (widths + distances)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((each.square() / widths).sum(0))
        return each.sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_sum: Tensor) -> tuple[Tensor, None]:
        return -of_sum * ctx.saved_tensors[0], None


def sliced(x: Tensor, y: Tensor, slices: int, generator: torch.Generator | None = None) -> Tensor:
    """The squared 2-Wasserstein distance of two samples, (n, d) each, averaged over random directions.

    Along a direction it is the mean squared difference of the sorted projections (Kolouri et al. 2018,
    https://arxiv.org/abs/1804.01947).

    >>> sliced(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [1.0]]), slices=5)
    tensor(1.)
    """
    directions = torch.randn(x.shape[1], slices, generator=generator, device=x.device)
    directions = directions / directions.norm(dim=0)
    difference: Tensor = (x @ directions).sort(0).values - (y @ directions).sort(0).values
    return difference.square().mean()


def cramer_wold(x: Tensor) -> Tensor:
    """The squared Cramer-Wold distance of codes, (n, d), from N(0, I).

    Knop et al. 2020, "Cramer-Wold auto-encoder", https://arxiv.org/abs/1805.09235: the integral of the squared
    difference of the two densities along a direction, smoothed by a Gaussian of Silverman's variance (4 / 3n)^(2/5),
    averaged over all directions. The average is by quadrature, right in any dimension; their formula for many
    dimensions is some 10% off at 8.

    >>> codes = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> cramer_wold(codes) < cramer_wold(codes + 1)
    tensor(True)
    """
    count, dim = x.shape
    width = (4 / (3 * count)) ** 0.4

    def smoothed(distances: Tensor, variance: float) -> Tensor:
        """The mean over directions and pairs of the density of N(0, variance) at a projected distance."""
        each = [weight * torch.exp(distances * (-share / (2 * variance))).mean() for share, weight in _directions(dim)]
        return torch.stack(each).sum() / math.sqrt(2 * math.pi * variance)

    pairs, origin = squares(x, x), x.square().sum(1)
    constant = 1 / math.sqrt(4 * math.pi * (1 + width))
    return smoothed(pairs, 2 * width) + constant - 2 * smoothed(origin, 1 + 2 * width)


@functools.cache
def _directions(dim: int) -> list[tuple[float, float]]:
    """The squared cosine of a random direction with another, and its weight.

    The cosine has the density (1 - c^2)^((d - 3) / 2) up to a factor. With c = 1 / (1 + e^-w) both tails fall
    exponentially in w, and a sum over even steps is right to some 1e-4 for sharp and for flat integrands.
    """
    if dim == 1:
        return [(1.0, 1.0)]
    w = np.arange(-16, 40, STEP)
    logs = (dim - 1) / 2 * -np.log1p(np.exp(w)) + (dim - 3) / 2 * np.log1p(1 / (1 + np.exp(-w))) - np.log1p(np.exp(-w))
    weights = np.exp(logs - logs.max())
    kept = weights > 1e-9
    squared = 1 / (1 + np.exp(-w[kept])) ** 2
    return list(zip(squared.tolist(), (weights[kept] / weights[kept].sum()).tolist(), strict=True))
