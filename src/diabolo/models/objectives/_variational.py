"""What variants with a Gaussian posterior share: draws, the evidence lower bound, its weight and warm-up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor

from diabolo.config import require
from diabolo.models.distributions import DiagonalGaussian, Posterior
from diabolo.models.objectives._base import Batch, Loss, Net, Objective, ramp
from diabolo.models.priors.own import CodePrior, StandardNormal, divergence, summed

__all__ = ["Variational"]


class Variational(Objective):
    """The evidence lower bound of a Gaussian posterior, with a weight on its KL: the base of variants that change it.

    Args:
        beta: the weight of the KL.
        warmup: epochs over which beta rises from 0.
        draws: latent codes drawn for each input in training, whose terms are averaged.
        log_variance: the least and the largest logarithm of a variance of the posterior.

    >>> class Cold(Variational):
    ...     equation = "E_q(z|x)[-log p(x | z)] + KL(q(z | x) || N(0, I)) / 10"
    ...     source = "nobody"
    ...     def __init__(self):
    ...         super().__init__(beta=0.1)
    >>> Cold().beta
    0.1
    """

    posterior_family: ClassVar[type[Posterior]] = DiagonalGaussian

    def __init__(
        self,
        *,
        beta: float = 1.0,
        warmup: float = 0.0,
        draws: int = 1,
        log_variance: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        require(beta >= 0, "beta", "a number of at least 0", beta)
        require(warmup >= 0, "warmup", "a number of epochs of at least 0", warmup)
        require(draws >= 1, "draws", "a number of at least 1", draws)
        ends = log_variance or (0.0, 1.0)
        fits = len(ends) == 2 and ends[0] < ends[1] and all(map(math.isfinite, ends))
        require(fits, "log_variance", "two numbers, the lower one first, such as -6,2", log_variance)
        self.beta, self.warmup, self.draws, self.log_variance = beta, warmup, draws, log_variance

    def prior(self) -> CodePrior:
        return StandardNormal(self.space.latent_dim)

    def prior_of(self, batch: Batch, net: Net) -> CodePrior:
        """The prior of the codes of a batch."""
        return cast(CodePrior, net.prior(batch.y))

    def posterior(self, features: Tensor, batch: Batch) -> Posterior:
        free = super().posterior(features, batch)
        return self.held(free) if isinstance(free, DiagonalGaussian) else free

    def held(self, free: DiagonalGaussian) -> DiagonalGaussian:
        """A Gaussian whose variances are cut to `log_variance`."""
        if self.log_variance is None:
            return free
        least, largest = self.log_variance
        return DiagonalGaussian(free.mean, free.log_variance.clamp(least, largest))

    def drawn(self, posterior: DiagonalGaussian, generator: torch.Generator | None) -> Tensor:
        """A latent code of each input, (B, d)."""
        return posterior.sample(generator)

    def further(self, kl: Tensor, beta: float) -> tuple[dict[str, Tensor], dict[str, float]]:
        """More terms, (B,) each, and their weights, from the KL of each dimension, (B, d), or of the code, (B,)."""
        return {}, {}

    def decoded(self, codes: Sequence[Tensor], batch: Batch, net: Net) -> tuple[Tensor, Tensor]:
        """The output for the first of K codes of each example, (B, d) each, and log p(x | z) of all, (K, B)."""
        x, y, draws = batch.x, batch.y, len(codes)
        if draws == 1 or not self.training:  # without gradients one after the other is as fast, and takes less memory
            outputs = (net.decode(z, y) for z in codes)
            output = next(outputs)
            logs = [net.log_likelihood(output, x), *(net.log_likelihood(other, x) for other in outputs)]
            return output, torch.stack(logs)
        output = net.decode(torch.cat(list(codes)), None if y is None else y.repeat(draws))
        each = net.log_likelihood(output, x.repeat(draws, *[1] * (x.dim() - 1)))
        return output[: len(x)], each.view(draws, -1)

    def loss(self, batch: Batch, net: Net) -> Loss:
        return self.bound(batch, net, self.draws if self.training else 1)

    def bound(self, batch: Batch, net: Net, draws: int) -> Loss:
        """The terms of the evidence lower bound, from some codes of each example."""
        posterior = cast(DiagonalGaussian, net.encode(batch.x, batch.y))
        codes = [self.drawn(posterior, net.generator) for _ in range(draws)]
        output, logs = self.decoded(codes, batch, net)
        kl = divergence(posterior, self.prior_of(batch, net), codes)
        beta = self.beta * ramp(net.epoch, self.warmup)
        terms, weights = self.further(kl, beta)
        log_likelihood = logs[0] if draws == 1 else logs.mean(0)
        terms = {"reconstruction": -log_likelihood, "kl": summed(kl), **terms}
        return Loss(terms, posterior, output, {"kl": beta, **weights})
