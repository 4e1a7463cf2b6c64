"""Priors fitted afterwards: a density on the codes of a trained model, from which new codes can be drawn.

A plain autoencoder's codes follow no prior, and a VAE's do not quite follow theirs. Fitting a density to the codes of
the training examples and decoding what is drawn from it mends both (Ghosh et al. 2020, "From variational to
deterministic autoencoders", https://arxiv.org/abs/1903.12436).
"""

from __future__ import annotations

import os
from typing import Any

from diabolo.config import Registry
from diabolo.errors import ConfigError, RunError
from diabolo.models.priors._base import FORMAT, Prior
from diabolo.models.priors.flow import FlowPrior
from diabolo.models.priors.gaussian import GaussianPrior
from diabolo.models.priors.mixture import MixturePrior
from diabolo.storage.checkpoint import load_tensors

__all__ = ["FlowPrior", "GaussianPrior", "MixturePrior", "Prior", "fit_prior", "load_prior", "priors"]

priors: Registry[Prior] = Registry("prior")
for _prior in (GaussianPrior, MixturePrior, FlowPrior):
    priors.register(_prior.kind, _prior)


def fit_prior(kind: str, codes: Any, *, seed: int = 0, **options: Any) -> Prior:
    """Fits a density to codes: `fit_prior("gmm", codes, components=20)`.

    Args:
        kind: gaussian, gmm or flow.
        codes: (n, d), a trained model's codes of its training examples.
        seed: of the tenth of the codes that is held out, and of the fit.
        **options: of the kind, see its class.

    Raises:
        ConfigError: an unknown kind or option, or a value that cannot be.
        ShapeError, DataError: the codes cannot be used, or are too few.
        MissingExtraError: a flow was asked for, and zuko is not installed.
    """
    return priors.create(kind, options).fit(codes, seed)


def load_prior(path: str | os.PathLike[str]) -> Prior:
    """Reads what `Prior.save` wrote; it draws and answers bit for bit as it did when it was saved.

    Raises:
        RunError: the file is not there, is truncated or edited, or was written by a newer diabolo.
    """
    tensors, header = load_tensors(path)
    version = header.get("format", FORMAT)
    if isinstance(version, int) and version > FORMAT:
        raise RunError(
            f"{path} was written in format {version}, by a newer diabolo; this one reads up to format {FORMAT}. "
            "Upgrade it: pip install --upgrade diabolo"
        )
    try:
        prior = priors.create(header["prior"], header["options"])
        return prior.restore({name: tensor.numpy() for name, tensor in tensors.items()}, header["info"])
    except KeyError as error:
        raise RunError(
            f"{path} is not the file of a prior: it does not say its {error}. Remove it, and fit the prior again."
        ) from error
    except (ConfigError, RunError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{path} cannot be read as a prior: {error} It was edited; remove it, and fit the prior again."
        ) from error
