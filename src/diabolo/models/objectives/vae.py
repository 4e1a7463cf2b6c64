"""The variational autoencoder, with beta, its warm-up and free bits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diabolo.config import check_choices, require
from diabolo.errors import ConfigError
from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.objectives._variational import Variational


class VAE(Variational):
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

    equation = "E_q(z|x)[-log p(x | z)] + beta * KL(q(z | x) || N(0, I))"
    formula = r"\mathbb{E}_{q(z \mid x)}[-\log p(x \mid z)] + \beta \, \mathrm{KL}(q(z \mid x) \| \mathcal{N}(0, I))"
    when = (
        "Take it to draw new examples, for codes without gaps between them, and for a bound of the likelihood. "
        "Not for the sharpest reconstructions: its codes carry noise."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "kl": "encoder", "free_bits": "encoder"}
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
        require(free_bits >= 0, "free_bits", "a number of nats of at least 0", free_bits)
        super().__init__(beta=beta, warmup=warmup, draws=draws, log_variance=log_variance)
        self.free_bits = free_bits
        self.noise_scale = noise_scale
        check_choices(self)
        self.couples = "free_bits, the average of each dimension's KL" if free_bits else ""

    def drawn(self, posterior: DiagonalGaussian, generator: torch.Generator | None) -> Tensor:
        if self.noise_scale == "deviation":
            return posterior.sample(generator)
        return posterior.mean + torch.exp(posterior.log_variance) * posterior.noise(generator)

    def further(self, kl: Tensor, beta: float) -> tuple[dict[str, Tensor], dict[str, float]]:
        if not self.free_bits:
            return {}, {}
        if kl.dim() == 1:
            raise ConfigError(f"free_bits are nats of each dimension, and {self.prior().name} has no KL of each.")
        # The shortfall from the free nats is added: its gradient cancels that of the KL, which then costs nothing.
        lacking = (self.free_bits - kl.mean(0)).clamp(min=0).sum()
        return {"free_bits": lacking.expand(len(kl))}, {"free_bits": beta}
