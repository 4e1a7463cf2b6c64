"""The variational autoencoder, with beta, its warm-up and free bits."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor

from diabolo.config import check_choices, require
from diabolo.errors import ConfigError
from diabolo.models.distributions import DiagonalGaussian, Posterior
from diabolo.models.objectives._base import Batch, Loss, Net, Objective, ramp
from diabolo.models.priors.own import CodePrior, StandardNormal, divergence, summed


class VAE(Objective):
    """Learns a Gaussian posterior of the latent code for each input, held near a standard normal prior.

    Args:
        beta: the weight of the KL; 1 is the evidence lower bound.
        warmup: epochs over which beta rises from 0 (Bowman et al. 2016, https://arxiv.org/abs/1511.06349).
        free_bits: nats for each dimension, averaged over the batch, below which its KL costs nothing
            (Kingma et al. 2016, https://arxiv.org/abs/1606.04934).
        draws: latent codes drawn for each input in training; their reconstruction terms are averaged.
        noise_scale: the factor of the noise: the posterior's `deviation`, or its `variance`, as in one well-known
            listing. The KL belongs to `deviation` in both cases, so that `variance` does not give a bound.
        log_variance: the least and the largest logarithm of a variance of the posterior, as -6,2: beyond them it is cut
            and has no gradient (hardtanh; Tomczak, Welling 2018, https://arxiv.org/abs/1705.07120, in their code).
    """

    posterior_family = DiagonalGaussian
    equation = "E_q(z|x)[-log p(x | z)] + beta * KL(q(z | x) || N(0, I))"
    source = (
        "Kingma, Welling 2014, Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114; "
        "Higgins et al. 2017, beta-VAE, https://openreview.net/forum?id=Sy2fzU9gl"
    )

    def __init__(
        self,
        *,
        beta: float = 1.0,
        warmup: float = 0.0,
        free_bits: float = 0.0,
        draws: int = 1,
        noise_scale: Literal["deviation", "variance"] = "deviation",
        log_variance: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        require(beta >= 0, "beta", "a number of at least 0", beta)
        require(warmup >= 0, "warmup", "a number of epochs of at least 0", warmup)
        require(free_bits >= 0, "free_bits", "a number of nats of at least 0", free_bits)
        require(draws >= 1, "draws", "a number of at least 1", draws)
        ends = log_variance or (0.0, 1.0)
        fits = len(ends) == 2 and ends[0] < ends[1] and all(map(math.isfinite, ends))
        require(fits, "log_variance", "two numbers, the lower one first, such as -6,2", log_variance)
        self.beta = beta
        self.warmup = warmup
        self.free_bits = free_bits
        self.draws = draws
        self.noise_scale = noise_scale
        self.log_variance = log_variance
        self.couples = "free_bits, the average of each dimension's KL" if free_bits else ""
        check_choices(self)

    def prior(self) -> CodePrior:
        return StandardNormal(self.space.latent_dim)

    def posterior(self, features: Tensor, batch: Batch) -> Posterior:
        free = super().posterior(features, batch)
        if self.log_variance is None or free.log_variance is None:
            return free
        least, largest = self.log_variance
        return DiagonalGaussian(free.mean, free.log_variance.clamp(least, largest))

    def prior_of(self, batch: Batch, net: Net) -> CodePrior:
        """The prior of the codes of a batch."""
        return cast(CodePrior, net.prior(batch.y))

    def loss(self, batch: Batch, net: Net) -> Loss:
        x, y = batch.x, batch.y
        posterior = cast(DiagonalGaussian, net.encode(x, y))
        draws = self.draws if self.training else 1
        codes = [self._draw(posterior, net.generator) for _ in range(draws)]
        if draws == 1:
            output = net.decode(codes[0], y)
            log_likelihood = net.log_likelihood(output, x)
        else:
            output = net.decode(torch.cat(codes), None if y is None else y.repeat(draws))
            each = net.log_likelihood(output, x.repeat(draws, *[1] * (x.dim() - 1)))
            log_likelihood = each.view(draws, -1).mean(0)
        prior = self.prior_of(batch, net)
        kl = divergence(posterior, prior, codes)
        terms = {"reconstruction": -log_likelihood, "kl": summed(kl)}
        beta = self.beta * ramp(net.epoch, self.warmup)
        weights = {"kl": beta}
        if self.free_bits:
            if kl.dim() == 1:
                raise ConfigError(f"free_bits are nats of each dimension, and {prior.name} has no KL of each.")
            # The shortfall from the free nats is added: its gradient cancels that of the KL, which then costs nothing.
            lacking = (self.free_bits - kl.mean(0)).clamp(min=0).sum()
            terms["free_bits"] = lacking.expand(len(x))
            weights["free_bits"] = beta
        return Loss(terms, posterior, output[: len(x)], weights)

    def _draw(self, posterior: DiagonalGaussian, generator: torch.Generator | None) -> Tensor:
        if self.noise_scale == "deviation":
            return posterior.sample(generator)
        return posterior.mean + torch.exp(posterior.log_variance) * posterior.noise(generator)
