"""Priors fitted after training: densities on the latent codes of a trained model, from which new codes are drawn.

The codes of a plain autoencoder follow no prior, and those of a VAE only nearly. Sampling from a density that was
fitted to the codes of the training examples mends both (Ghosh et al. 2020, "From variational to
deterministic autoencoders", https://arxiv.org/abs/1903.12436).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from diabolo._border import checked
from diabolo._imported import is_path, trust
from diabolo.errors import ConfigError, PartError, RunError, UntrustedError
from diabolo.models.priors._base import FORMAT, Prior, priors
from diabolo.models.priors.autoregressive import AutoregressivePrior
from diabolo.models.priors.flow import FlowPrior
from diabolo.models.priors.gaussian import GaussianPrior
from diabolo.models.priors.mixture import MixturePrior
from diabolo.models.priors.tokens import CategoricalPrior, TokenPrior
from diabolo.models.priors.two_stage import TwoStagePrior
from diabolo.models.rebuilding import ALLOWANCE, Allocating
from diabolo.storage.checkpoint import load_tensors
from diabolo.storage.foreign import check_form, reason

_FORM = {"prior": str, "options": dict, "info": {"count": int, "dim": int, "notes~": [str]}}

__all__ = [
    "AutoregressivePrior",
    "CategoricalPrior",
    "FlowPrior",
    "GaussianPrior",
    "MixturePrior",
    "Prior",
    "TokenPrior",
    "TwoStagePrior",
    "fit_prior",
    "load_prior",
    "make_prior",
    "priors",
]

for _prior in (GaussianPrior, MixturePrior, FlowPrior, TwoStagePrior, CategoricalPrior, AutoregressivePrior):
    priors.register(_prior.kind, _prior)


def make_prior(kind: str | type[Prior] | Prior, options: Mapping[str, Any] | None = None) -> Prior:
    """A prior of some kind that is not fitted yet.

    Args:
        kind: a name, an import path (`module:Class`), a class, or a prior as it is.
        options: of the kind.

    Raises:
        ConfigError: an unknown kind or option, a value out of range, or a class that no file could name.

    >>> make_prior("gmm", {"components": 3})
    gmm (components=3, covariance=full, regularization=1e-06, iterations=200, restarts=1), not fitted
    """
    trust([kind] if is_path(kind) else [])  # whoever names code wants it run
    prior = priors.made(kind, options)
    if prior is kind and options:
        raise ConfigError(f"The prior is made already: its constructor takes the options ({', '.join(options)}).")
    if priors.name_of(prior) is None:
        raise ConfigError(
            f"A prior of the class {type(prior).__qualname__} has no name that its file could say: define the class in "
            "a module that can be imported, with a constructor that keeps its arguments."
        )
    return prior


@checked
def fit_prior(
    kind: str | type[Prior] | Prior, codes: Any, *, seed: int = 0, entries: int | None = None, **options: Any
) -> Prior:
    """A prior of some kind, fitted to latent codes.

    Args:
        kind: gaussian, gmm, flow or two-stage; of tokens categorical or autoregressive; the import path of a class of
            your own, `module:Class`, or the class.
        codes: (n, d), the latent codes of a model's training examples; or their tokens, (n, positions, levels).
        seed: of the choice of the tenth of the codes that is held out, and of the fit.
        entries: how many numbers a token may be.
        **options: of the kind: see its class.

    Raises:
        ConfigError: an unknown kind or option, or a value out of range.
        ShapeError, DataError: the codes cannot be used, or are too few.
        MissingExtraError: the kind is flow, and zuko is not installed.

    >>> import numpy as np
    >>> codes = np.random.default_rng(0).standard_normal((200, 2))
    >>> fit_prior("gmm", codes, components=2).sample(5, seed=0).shape
    (5, 2)
    """
    return make_prior(kind, options).fit(codes, seed, entries)


@checked
def load_prior(path: str | os.PathLike[str]) -> Prior:
    """The prior in a file of `Prior.save`; its samples and densities are those of the saved one, bit for bit.

    Raises:
        RunError: the file does not exist, is truncated or edited, or was written by a newer diabolo.
        UntrustedError: its kind is code of a module that nobody said to trust.

    >>> import tempfile
    >>> prior = fit_prior("gaussian", [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prior.save(f"{folder}/prior.safetensors")
    ...     print(load_prior(f"{folder}/prior.safetensors"))
    gaussian (shrinkage=auto), fitted to 3 codes of 2 numbers
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
        check_form(header, _FORM, "it")
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("it holds numbers that are not finite")
        with Allocating(ALLOWANCE):
            return prior.restore(arrays, header["info"])
    except (UntrustedError, MemoryError):
        raise
    except PartError as error:
        raise RunError(str(error)) from error
    except Exception as error:
        raise RunError(
            f"{path} cannot be read as a prior: {reason(error)}. It was edited; remove it, and fit the prior again."
        ) from error
