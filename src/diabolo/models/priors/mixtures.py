"""Priors that are Gaussians of learned means and variances: one for each code, and mixtures."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diabolo.models.distributions import Posterior
from diabolo.models.priors.own import CodePrior

__all__ = ["GaussianOfEach", "PosteriorMixture"]


class PosteriorMixture(CodePrior):
    """(1/K) sum_k q(z | u_k), the mixture of the Gaussian posteriors of K inputs.

    Computed in float64 where the device has it: as two products of matrices, whose large parts cancel.

    Args:
        name: what a person calls it.
        posterior: of u_1, ..., u_K; with a log-variance.
        without: (B, K), which components are left out for each of B codes; None for none.

    >>> from diabolo.models.distributions import DiagonalGaussian
    >>> ends = DiagonalGaussian(torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1))
    >>> PosteriorMixture("two ends", ends).log_prob(torch.zeros(1, 1))
    tensor([-1.4189])
    """

    def __init__(self, name: str, posterior: Posterior, without: Tensor | None = None) -> None:
        assert posterior.log_variance is not None  # noqa: S101 (of a Gaussian)
        self.name = name
        self.mean, self.log_variance = posterior.mean, posterior.log_variance
        self.without = without

    def log_prob(self, z: Tensor) -> Tensor:
        dtype = torch.float32 if z.device.type == "mps" else torch.float64
        z, mean, log_variance = (part.to(dtype) for part in (z, self.mean, self.log_variance))
        precision = torch.exp(-log_variance)
        scaled = z.square() @ precision.T - 2 * z @ (mean * precision).T + (mean.square() * precision).sum(1)
        logs = -0.5 * (scaled + log_variance.sum(1) + z.shape[-1] * math.log(2 * math.pi))
        count: Tensor | int = len(mean)
        if self.without is not None:
            logs = logs.masked_fill(self.without, -math.inf)
            count = (~self.without).sum(-1)
        total = torch.logsumexp(logs, -1) - torch.log(torch.as_tensor(count, dtype=dtype, device=z.device))
        return total.float()

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        device = None if generator is None else generator.device
        which = torch.randint(len(self.mean), (n,), generator=generator, device=device)
        noise = torch.randn(n, self.mean.shape[1], generator=generator, device=device)
        mean, log_variance = (part.to(noise.device)[which] for part in (self.mean, self.log_variance))
        return mean + torch.exp(0.5 * log_variance) * noise

    def moments(self) -> tuple[Tensor, Tensor]:
        variance = self.log_variance.exp().mean(0) + self.mean.var(0, correction=0)
        return self.mean.mean(0), variance.sqrt()


class GaussianOfEach(CodePrior):
    """N(mean, diag(exp(log_variance))) with a mean and a variance for each of B codes.

    Args:
        name: what a person calls it.
        mean: (B, d).
        log_variance: (B, d).

    >>> GaussianOfEach("two", torch.tensor([[0.0], [3.0]]), torch.zeros(2, 1)).log_prob(torch.zeros(2, 1))
    tensor([-0.9189, -5.4189])
    """

    def __init__(self, name: str, mean: Tensor, log_variance: Tensor) -> None:
        self.name, self.mean, self.log_variance = name, mean, log_variance

    def log_prob(self, z: Tensor) -> Tensor:
        scaled = (z - self.mean).square() * torch.exp(-self.log_variance)
        return -0.5 * (scaled + self.log_variance + math.log(2 * math.pi)).sum(-1)

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Codes for the first n rows, and again from the first."""
        device = None if generator is None else generator.device
        noise = torch.randn(n, self.mean.shape[1], generator=generator, device=device)
        rows = torch.arange(n) % len(self.mean)
        mean, log_variance = (part.to(noise.device)[rows] for part in (self.mean, self.log_variance))
        return mean + torch.exp(0.5 * log_variance) * noise

    def kl(self, posterior: Posterior) -> Tensor | None:
        """Of each dimension, (B, d), for a diagonal Gaussian."""
        if posterior.log_variance is None:
            return None
        surplus = posterior.log_variance - self.log_variance
        distance = (posterior.mean - self.mean).square() * torch.exp(-self.log_variance)
        return 0.5 * (distance + surplus.exp() - 1 - surplus)

    def moments(self) -> tuple[Tensor, Tensor]:
        variance = self.log_variance.exp().mean(0) + self.mean.var(0, correction=0)
        return self.mean.mean(0), variance.sqrt()
