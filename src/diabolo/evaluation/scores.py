"""Scores of single examples, in nats: the reconstruction's, the evidence lower bound's, the likelihood's.

Every function takes one chunk of examples and noise that all examples share, so that an example's score depends on
nothing but itself and the seed of that noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from diabolo.config import require
from diabolo.errors import ConfigError
from diabolo.models.model import Model

__all__ = [
    "DRAWS",
    "bound",
    "elbo",
    "importance_weights",
    "likelihood",
    "noise",
    "reconstruction",
    "resolve_draws",
    "surprise",
]

# Codes drawn for each example where nothing else is said. The other scores draw none.
DRAWS = {"elbo": 16, "likelihood": 128}


def resolve_draws(kind: str, draws: int | None) -> int:
    """How many codes a score draws for each example.

    Raises:
        ConfigError: a number that the score cannot use.
    """
    if draws is None:
        return DRAWS.get(kind, 0)
    if kind not in DRAWS:
        require(draws == 0, "draws", f"0 or left out for the score {kind!r}, which takes the code's mean", draws)
    least = 1 if kind == "likelihood" else 0
    require(draws >= least, "draws", f"a number of codes of at least {least} for the score {kind!r}", draws)
    return draws


def noise(draws: int, latent_dim: int, seed: int, device: torch.device) -> Tensor:
    """Standard normal noise, (draws, d), the same on every device."""
    require(seed >= 0, "seed", "a number of at least 0", seed)
    drawn = np.random.default_rng(seed).standard_normal((draws, latent_dim))
    return torch.from_numpy(drawn.astype(np.float32)).to(device)


def reconstruction(model: Model, batch: Tensor) -> Tensor:
    """-log p(x | z) at the mean of q(z | x), (B,)."""
    values = model.prepare(batch)
    return -model.log_likelihood(model.decode(model.encode(values).mean), values)


def surprise(model: Model, batch: Tensor) -> Tensor:
    """What each value costs at the mean of q(z | x) above the least that it could cost, (B, C, ...)."""
    values = model.prepare(batch)
    return model.likelihood.surprise(model.decode(model.encode(values).mean), values)


def bound(model: Model, batch: Tensor, noise: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The two terms of the negative evidence lower bound: E_q[-log p(x | z)] and KL(q(z | x) || N(0, I)), (B,) each.

    Args:
        model: one whose codes have a density.
        batch: (B, *event).
        noise: K of (d,) or (B, d), what the K codes of each example are drawn with; without any, the mean stands for
            them all.

    Raises:
        ConfigError: codes are points.
    """
    _require_density(model, "elbo")
    values = model.prepare(batch)
    code = model.encode(values)
    kl = code.kl()
    assert kl is not None  # noqa: S101 (a density has one)
    codes = [code.shifted(row) for row in noise] or [code.mean]
    errors = torch.stack([-model.log_likelihood(model.decode(z), values) for z in codes])
    return errors.double().mean(0).float(), kl.double().sum(1).float()  # whatever the batch, rounded once


def elbo(model: Model, batch: Tensor, noise: Iterable[Tensor]) -> Tensor:
    """The negative evidence lower bound, (B,): the sum of `bound`'s two terms."""
    reconstruction, kl = bound(model, batch, noise)
    return reconstruction + kl


def importance_weights(model: Model, batch: Tensor, noise: Iterable[Tensor]) -> Tensor:
    """The logarithms of the importance weights p(x | z) p(z) / q(z | x) of K codes drawn from q, (K, B).

    Args:
        model: one whose codes have a density.
        batch: (B, *event).
        noise: K of (d,), the same for all examples, or (B, d), each example's own.

    Raises:
        ConfigError: codes are points.
    """
    _require_density(model, "likelihood")
    values = model.prepare(batch)
    code = model.encode(values)
    logs = []
    for row in noise:
        z = code.shifted(row)
        prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
        logs.append(model.log_likelihood(model.decode(z), values) + prior - code.log_prob(z))
    return torch.stack(logs)


def likelihood(model: Model, batch: Tensor, noise: Tensor) -> Tensor:
    """-log p(x), (B,), estimated from K importance-weighted codes (Burda et al. 2016, https://arxiv.org/abs/1509.00519).

    In expectation an upper bound of -log p(x) that falls to it as K grows; K = 1 is the negative ELBO.
    """
    return math.log(len(noise)) - importance_weights(model, batch, noise).double().logsumexp(0).float()


def _require_density(model: Model, kind: str) -> None:
    if not model.objective.posterior_family.density:
        raise ConfigError(
            f"The score {kind!r} needs codes with a density, and those of this model are points: choose "
            "'reconstruction' or 'latent', or train a model whose code is a distribution (model='vae')."
        )
