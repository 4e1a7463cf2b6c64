"""Scores of single examples, in nats: the reconstruction's, the evidence lower bound's, the likelihood's.

Each function takes one chunk of examples, and noise that all examples share, so that the score of an example depends on
the example and the seed of the noise alone.
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
from diabolo.models.objectives import Batch
from diabolo.models.priors.own import CodePrior, divergence, summed

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

# The default numbers of latent codes drawn for each example. The other scores draw none.
DRAWS = {"elbo": 16, "likelihood": 128}


def resolve_draws(kind: str, draws: int | None) -> int:
    """The number of latent codes that a score draws for each example.

    Raises:
        ConfigError: a number that the score cannot use.

    >>> resolve_draws("elbo", None), resolve_draws("latent", None)
    (16, 0)
    """
    if draws is None:
        return DRAWS.get(kind, 0)
    if kind not in DRAWS:
        require(draws == 0, "draws", f"0 or left out for the score {kind!r}, which takes the code's mean", draws)
    least = 1 if kind == "likelihood" else 0
    require(draws >= least, "draws", f"a number of codes of at least {least} for the score {kind!r}", draws)
    return draws


def noise(draws: int, latent_dim: int, seed: int, device: torch.device) -> Tensor:
    """Standard normal noise, (draws, d), the same on every device: NumPy draws it.

    >>> noise(8, latent_dim=2, seed=0, device=torch.device("cpu")).shape
    torch.Size([8, 2])
    """
    require(seed >= 0, "seed", "a number of at least 0", seed)
    rows = np.random.default_rng(seed).standard_normal((draws, latent_dim))
    return torch.from_numpy(rows.astype(np.float32)).to(device)


def reconstruction(model: Model, batch: Batch) -> Tensor:
    """-log p(x | z) at the mean of q(z | x), (B,), in nats.

    >>> from diabolo.models import Preprocess, build_model
    >>> model = build_model(Preprocess(event_shape=(4,), layout="F", scale="none"), model="vae", latent_dim=2)
    >>> batch = Batch(torch.zeros(3, 4))
    >>> reconstruction(model, batch).shape
    torch.Size([3])
    """
    values = model.prepare(batch.x)
    return -model.log_likelihood(model.decode(model.encode(values, batch.y).mean, batch.y), values)


def surprise(model: Model, batch: Batch) -> Tensor:
    """The surprise of each value at the mean of q(z | x), (B, C, ...), in nats: see `Likelihood.surprise`.

    >>> from diabolo.models import Preprocess, build_model
    >>> model = build_model(Preprocess(event_shape=(4,), layout="F", scale="none"), model="vae", latent_dim=2)
    >>> batch = Batch(torch.zeros(3, 4))
    >>> surprise(model, batch).shape
    torch.Size([3, 4])
    """
    values = model.prepare(batch.x)
    return model.likelihood.surprise(model.decode(model.encode(values, batch.y).mean, batch.y), values)


def bound(model: Model, batch: Batch, noise: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The two terms of the negative evidence lower bound: E_q[-log p(x | z)] and KL(q(z | x) || p(z)), (B,) each.

    Args:
        model: one whose posterior has a density, and which has a prior.
        batch: of x (B, *event), with labels where the model takes some.
        noise: K rows of (d,) or (B, d), for the K latent codes of each example; without any, the mean is used.

    Raises:
        ConfigError: the posterior has no density, there is no prior, or its KL takes draws and there are none.

    >>> from diabolo.models import Preprocess, build_model
    >>> model = build_model(Preprocess(event_shape=(4,), layout="F", scale="none"), model="vae", latent_dim=2)
    >>> batch = Batch(torch.zeros(3, 4))
    >>> rows = noise(8, latent_dim=2, seed=0, device=torch.device("cpu"))
    >>> [term.shape for term in bound(model, batch, rows)]
    [torch.Size([3]), torch.Size([3])]
    """
    prior = _prior_of(model, "elbo", batch.y)
    values = model.prepare(batch.x)
    posterior = model.encode(values, batch.y)
    drawn = [posterior.shifted(row) for row in noise]
    if not drawn and prior.kl(posterior) is None:
        raise ConfigError(f"The KL from {prior.name} has no closed form, and takes draws: at least 1.")
    kl, codes = divergence(posterior, prior, drawn), drawn or [posterior.mean]
    errors = torch.stack([-model.log_likelihood(model.decode(z, batch.y), values) for z in codes])
    # Summed in float64 and rounded once, so that the batch size does not change a digit.
    return errors.double().mean(0).float(), summed(kl.double()).float()


def elbo(model: Model, batch: Batch, noise: Iterable[Tensor]) -> Tensor:
    """The negative evidence lower bound, (B,), in nats: the sum of the two terms of `bound`.

    >>> from diabolo.models import Preprocess, build_model
    >>> model = build_model(Preprocess(event_shape=(4,), layout="F", scale="none"), model="vae", latent_dim=2)
    >>> batch = Batch(torch.zeros(3, 4))
    >>> rows = noise(8, latent_dim=2, seed=0, device=torch.device("cpu"))
    >>> elbo(model, batch, rows).shape
    torch.Size([3])
    """
    reconstruction, kl = bound(model, batch, noise)
    return reconstruction + kl


def importance_weights(model: Model, batch: Batch, noise: Iterable[Tensor]) -> Tensor:
    """The logarithms of the importance weights p(x | z) p(z) / q(z | x) of K latent codes drawn from q, (K, B).

    Args:
        model: one whose posterior has a density, and which has a prior.
        batch: of x (B, *event), with labels where the model takes some.
        noise: K rows of (d,), the same for all examples, or of (B, d), one for each.

    Raises:
        ConfigError: the posterior has no density, or there is no prior.

    >>> from diabolo.models import Preprocess, build_model
    >>> model = build_model(Preprocess(event_shape=(4,), layout="F", scale="none"), model="vae", latent_dim=2)
    >>> batch = Batch(torch.zeros(3, 4))
    >>> rows = noise(8, latent_dim=2, seed=0, device=torch.device("cpu"))
    >>> importance_weights(model, batch, rows).shape
    torch.Size([8, 3])
    """
    prior = _prior_of(model, "likelihood", batch.y)
    values = model.prepare(batch.x)
    posterior = model.encode(values, batch.y)
    logs = []
    for row in noise:
        z, log_density = posterior.placed(row)
        logs.append(model.log_likelihood(model.decode(z, batch.y), values) + prior.log_prob(z) - log_density)
    return torch.stack(logs)


def likelihood(model: Model, batch: Batch, noise: Tensor) -> Tensor:
    """-log p(x), (B,), estimated from K importance-weighted codes (Burda et al. 2016, https://arxiv.org/abs/1509.00519).

    An upper bound of -log p(x) in expectation, which falls towards it as K grows; K = 1 is the negative ELBO.

    >>> from diabolo.models import Preprocess, build_model
    >>> model = build_model(Preprocess(event_shape=(4,), layout="F", scale="none"), model="vae", latent_dim=2)
    >>> batch = Batch(torch.zeros(3, 4))
    >>> rows = noise(8, latent_dim=2, seed=0, device=torch.device("cpu"))
    >>> likelihood(model, batch, rows).shape
    torch.Size([3])
    """
    return math.log(len(noise)) - importance_weights(model, batch, noise).double().logsumexp(0).float()


def _prior_of(model: Model, kind: str, y: Tensor | None) -> CodePrior:
    """The prior of a model whose posterior has a density; a ConfigError for any other."""
    if not model.objective.posterior_family.density:
        raise ConfigError(
            f"The score {kind!r} needs codes with a density, and those of this model are points: choose "
            "'reconstruction' or 'latent', or train a model whose code is a distribution (model='vae')."
        )
    prior = model.prior(y)
    if prior is None:
        raise ConfigError(
            f"The score {kind!r} needs the density that codes are held near, and this model's variant has none "
            "(`Objective.prior` gives it): choose 'reconstruction' or 'latent'."
        )
    return prior
