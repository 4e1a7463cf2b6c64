"""The prior of a variant: the density on latent codes that its training holds them near.

It is asked for in one place, `Objective.prior()`: samples, bounds, likelihoods, planes and pictures take what that
gives. The standard normal distribution is written here and nowhere else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diabolo.models.distributions import Posterior

__all__ = ["CodePrior", "OfEncoder", "StandardNormal", "divergence", "summed"]

DRAWN = 10_000  # latent codes that tell quantiles without a closed form


class CodePrior(ABC):
    """p(z), a density on latent codes of d numbers, as torch computes it, so that gradients pass.

    Attributes:
        name: what a person calls it.

    >>> class Shifted(CodePrior):
    ...     name = "N(3, I)"
    ...     def log_prob(self, z):
    ...         return StandardNormal(2).log_prob(z - 3)
    ...     def draw(self, n, generator=None):
    ...         return 3 + StandardNormal(2).draw(n, generator)
    >>> Shifted().sample(1000, seed=0).mean().round(1), Shifted().quantiles(np.array([0.5])).round(1).tolist()
    (np.float32(3.0), [[3.0], [3.0]])
    """

    name: str

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z) in nats, (...), of latent codes, (..., d)."""

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Latent codes, (n, d)."""

    def given(self, net: Any, y: Tensor | None) -> CodePrior:
        """The prior as the present weights and labels have it, where it depends on them.

        Args:
            net: the model (`objectives.Net`), whose encoder it may use.
            y: (B,) int64, of the examples whose codes it is asked about, or None; it then has a row for each.
        """
        return self

    def kl(self, posterior: Posterior) -> Tensor | None:
        """KL(q(z | x) || p) in nats, of each dimension, (B, d), or of the whole code, (B,).

        None where there is no closed form: then `divergence` estimates it from the codes that are drawn.
        """
        return None

    def moments(self) -> tuple[Tensor, Tensor]:
        """The mean and the deviation of each dimension, (d,) each; from draws, where none are known."""
        codes = torch.from_numpy(self.sample(DRAWN, seed=0))
        return codes.mean(0), codes.std(0)

    def sample(self, n: int, seed: int | None = None) -> npt.NDArray[np.float32]:
        """Latent codes, (n, d), float32; the same for the same seed."""
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        with torch.no_grad():
            codes: npt.NDArray[np.float32] = self.draw(n, generator).float().cpu().numpy()
        return codes

    def quantiles(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The quantiles of each dimension by itself, (d, k), at k probabilities; from draws, where none are known."""
        found: npt.NDArray[np.float64] = np.quantile(self.sample(DRAWN, seed=0).astype(np.float64), probabilities, 0).T
        return found


class OfEncoder(CodePrior):
    """A prior that the present weights of a model's encoder make: without these it has a name alone.

    Args:
        name: what a person calls it.
        make: the prior, of a net.
    """

    def __init__(self, name: str, make: Callable[[Any], CodePrior]) -> None:
        self.name, self.make = name, make

    def given(self, net: Any, y: Tensor | None) -> CodePrior:
        return self.make(net)

    def log_prob(self, z: Tensor) -> Tensor:
        raise NotImplementedError(f"{self.name} is given by an encoder: Model.prior() has it")

    draw = log_prob  # type: ignore[assignment]


class StandardNormal(CodePrior):
    """N(0, I).

    Args:
        latent_dim: d.

    >>> prior = StandardNormal(2)
    >>> prior.log_prob(torch.zeros(1, 2)), prior.sample(3, seed=0).shape
    (tensor([-1.8379]), (3, 2))
    """

    name = "N(0, I)"

    def __init__(self, latent_dim: int) -> None:
        self.latent_dim = latent_dim

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        device = None if generator is None else generator.device
        return torch.randn(n, self.latent_dim, generator=generator, device=device)

    def kl(self, posterior: Posterior) -> Tensor | None:
        """Of each dimension, (B, d), for a diagonal Gaussian (Kingma & Welling 2014, appendix B)."""
        log_variance = posterior.log_variance
        if log_variance is None:
            return None
        return 0.5 * (posterior.mean.square() + log_variance.exp() - 1 - log_variance)

    def moments(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(self.latent_dim), torch.ones(self.latent_dim)

    def sample(self, n: int, seed: int | None = None) -> npt.NDArray[np.float32]:
        return np.random.default_rng(seed).standard_normal((n, self.latent_dim)).astype(np.float32)

    def quantiles(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        from scipy.special import ndtri

        return np.tile(ndtri(probabilities), (self.latent_dim, 1))


def divergence(posterior: Posterior, prior: CodePrior, codes: Sequence[Tensor]) -> Tensor:
    """KL(q(z | x) || p) in nats: in closed form, (B, d) or (B,), else the mean of log q - log p over codes, (B,).

    Args:
        posterior: of B examples.
        prior: p.
        codes: drawn from the posterior, (B, d) each; at least one where there is no closed form.

    >>> from diabolo.models.distributions import DiagonalGaussian
    >>> posterior = DiagonalGaussian(torch.ones(1, 1), torch.zeros(1, 1))
    >>> divergence(posterior, StandardNormal(1), [])
    tensor([[0.5000]])
    """
    exact = prior.kl(posterior)
    if exact is not None:
        return exact
    return torch.stack([posterior.log_prob(z) - prior.log_prob(z) for z in codes]).mean(0)


def summed(kl: Tensor) -> Tensor:
    """A divergence of the whole code, (B,): the sum over dimensions where it is of each."""
    return kl.sum(1) if kl.dim() == 2 else kl
