"""A mixture of Gaussians as a prior: scikit-learn fits it, sampling and density need NumPy alone."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from diabolo.config import check_choices, require
from diabolo.errors import DataError
from diabolo.models.priors._base import Arrays, Prior, at_least
from diabolo.models.priors._gaussians import coloured, log_density

__all__ = ["MixturePrior"]


class MixturePrior(Prior):
    """A mixture of Gaussians, fitted by expectation maximisation (Dempster et al. 1977), as in Ghosh et al. 2020.

    log p(z) = log sum over k of w_k N(z; m_k, C_k).

    Args:
        components: the number of Gaussians.
        covariance: of each: any (full), along the axes (diag), round (spherical), or one for all (tied).
        regularization: added to each variance, in units of the codes' variances.
        iterations: the most iterations.
        restarts: the number of starts; the best fit wins.

    >>> codes = np.repeat([[0.0], [10.0]], 50, axis=0) + np.random.default_rng(0).standard_normal((100, 1))
    >>> prior = MixturePrior(components=2).fit(codes)
    >>> bool(prior.log_prob([[0.0]]) > prior.log_prob([[5.0]]))
    True
    """

    kind = "gmm"

    def __init__(
        self,
        *,
        components: int = 10,
        covariance: Literal["full", "diag", "spherical", "tied"] = "full",
        regularization: float = 1e-6,
        iterations: int = 200,
        restarts: int = 1,
    ) -> None:
        require(components >= 1, "components", "a number of at least 1", components)
        require(regularization >= 0, "regularization", "a number of at least 0", regularization)
        require(iterations >= 1, "iterations", "a number of at least 1", iterations)
        require(restarts >= 1, "restarts", "a number of at least 1", restarts)
        self.components = components
        self.covariance = covariance
        self.regularization = regularization
        self.iterations = iterations
        self.restarts = restarts
        check_choices(self)

    def _check_count(self, count: int, dim: int) -> None:
        each = dim + 1 if self.covariance == "full" else 2
        least = max(self.components * each, dim + 1 if self.covariance == "tied" else 2)
        what = f"A mixture of {self.components} Gaussians with {self.covariance} covariance on codes of {dim} numbers"
        cheaper = "" if self.covariance in ("diag", "spherical") else ", or covariance='diag'"
        at_least(least, count, what, f"Give more codes, or take fewer components{cheaper}.")

    def _fit(self, codes: np.ndarray, held_out: np.ndarray, seed: int) -> tuple[Arrays, list[str]]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(
            self.components,
            covariance_type=self.covariance,
            reg_covar=self.regularization,
            max_iter=self.iterations,
            n_init=self.restarts,
            random_state=seed % 2**32,
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                mixture.fit(codes)
        except ValueError as error:
            raise DataError(
                f"A Gaussian of the mixture shrank to a point or a plane: {error} "
                f"Take fewer components, or a regularization above {self.regularization:g}."
            ) from error
        notes = [] if mixture.converged_ else [f"it had not converged after {self.iterations} iterations"]
        factors = self._factors(mixture.covariances_, codes.shape[1])
        return {"weights": mixture.weights_, "means": mixture.means_, "factors": factors}, notes

    def _factors(self, covariances: np.ndarray, dim: int) -> np.ndarray:
        """Scikit-learn's covariances as Cholesky factors, (k, d, d), or as deviations, (k, d)."""
        if self.covariance in ("diag", "spherical"):
            deviations = np.sqrt(covariances.reshape(self.components, -1))
            return np.array(np.broadcast_to(deviations, (self.components, dim)))
        return np.array(np.broadcast_to(np.linalg.cholesky(covariances), (self.components, dim, dim)))

    def _shapes(self, dim: int) -> dict[str, tuple[int, ...]]:
        each = (dim,) if self.covariance in ("diag", "spherical") else (dim, dim)
        count = self.components
        return {"weights": (count,), "means": (count, dim), "factors": (count, *each)}

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        arrays = self._fitted()
        component = rng.choice(self.components, n, p=arrays["weights"] / arrays["weights"].sum())
        codes = rng.standard_normal((n, arrays["means"].shape[1]))
        for number, (mean, factor) in enumerate(zip(arrays["means"], arrays["factors"], strict=True)):
            codes[component == number] = mean + coloured(codes[component == number], factor)
        return codes

    def _log_prob(self, codes: np.ndarray) -> np.ndarray:
        from scipy.special import logsumexp

        arrays = self._fitted()
        parts = zip(arrays["weights"], arrays["means"], arrays["factors"], strict=True)
        terms = [np.log(weight) + log_density(codes, mean, factor) for weight, mean, factor in parts]
        nats: np.ndarray = logsumexp(terms, axis=0)
        return nats
