"""What variants share that hold the aggregate of codes, q(z), or their KL, beside the evidence lower bound."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, cast

import torch
from torch import Tensor

from diabolo.errors import ConfigError
from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.objectives._base import Batch, Loss, Net, ramp
from diabolo.models.objectives._variational import Variational
from diabolo.models.priors.own import CodePrior, divergence, summed

__all__ = ["Aggregate", "Codes", "Penalties", "require_batch"]


class Codes(NamedTuple):
    """The codes of a batch of B examples.

    Attributes:
        posterior: q(z | x).
        z: (B, d), one code drawn for each.
        kl: (B,), KL(q(z | x) || p).
        prior: p.
        share: of the penalties that counts by now: it rises from 0 to 1 over `warmup`.
        generator: the source of noise.
    """

    posterior: DiagonalGaussian
    z: Tensor
    kl: Tensor
    prior: CodePrior
    share: float
    generator: torch.Generator | None


class Penalties(NamedTuple):
    """What is added to the reconstruction.

    Attributes:
        terms: beside `reconstruction` and `kl`, (B,) each.
        weights: of all but the reconstruction.
        statistics: see `Loss`.
    """

    terms: dict[str, Tensor]
    weights: dict[str, float]
    statistics: dict[str, Tensor] = {}


class Aggregate(Variational):
    """The evidence lower bound with one code drawn for each example, and terms of the codes of the whole batch.

    Args:
        warmup: epochs over which the weights of all terms but the reconstruction rise from 0.
    """

    def __init__(self, *, warmup: float = 0.0) -> None:
        super().__init__(warmup=warmup)

    @abstractmethod
    def regularised(self, codes: Codes) -> Penalties:
        """What the codes of a batch cost."""

    def loss(self, batch: Batch, net: Net) -> Loss:
        posterior = cast(DiagonalGaussian, net.encode(batch.x, batch.y))
        z = posterior.sample(net.generator)
        output = net.decode(z, batch.y)
        prior = self.prior_of(batch, net)
        kl = summed(divergence(posterior, prior, [z]))
        codes = Codes(posterior, z, kl, prior, ramp(net.epoch, self.warmup), net.generator)
        terms, weights, statistics = self.regularised(codes)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x), "kl": kl, **terms}
        return Loss(terms, posterior, output, weights, statistics if self.training else {})


def require_batch(count: int, least: int, what: str) -> None:
    """Raises a ConfigError for a training batch of fewer examples than a statistic needs."""
    if count < least:
        raise ConfigError(
            f"{what} needs at least {least} examples together, and a batch has {count}: take another batch_size, more "
            "examples, or drop_last=True, which leaves out an epoch's last batch where it is smaller."
        )
