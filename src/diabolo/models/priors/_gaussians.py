"""The maths that priors share: the covariance of codes, and the density of a Gaussian."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["coloured", "factor_of", "log_density", "whitened"]

RIDGE = 1e-6  # the least shrinkage, so that codes on a plane have a density too


def factor_of(codes: np.ndarray, shrinkage: float | None = None) -> np.ndarray:
    """The Cholesky factor, (d, d), of the covariance C of codes, (n, d), of mean 0 and deviation 1.

    C = (1 - s) codes' codes / n + s I. The more numbers a code has and the fewer codes there are, the more s should be;
    by default it is the one that is nearest to the true covariance (Ledoit & Wolf 2004, "A well-conditioned estimator
    for large-dimensional covariance matrices").
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    if shrinkage is None:
        shrinkage = float(ledoit_wolf_shrinkage(codes, assume_centered=True))
    s = max(shrinkage, RIDGE)
    covariance = (1 - s) * (codes.T @ codes) / len(codes) + s * np.eye(codes.shape[1])
    return np.linalg.cholesky(covariance)


def log_density(codes: np.ndarray, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The density log N(z; mean, L L') of codes, (n, d): (n,), in nats.

    Args:
        codes: (n, d).
        mean: (d,).
        factor: L, lower triangular, (d, d), or its diagonal, (d,).
    """
    noise = whitened(codes - mean, factor)
    diagonal = factor if factor.ndim == 1 else np.diag(factor)
    constant = np.log(diagonal).sum() + 0.5 * len(mean) * math.log(2 * math.pi)
    nats: np.ndarray = -0.5 * np.square(noise).sum(1) - constant
    return nats


def whitened(codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Codes of mean 0, (n, d), without the covariance L L': the inverse of `coloured`."""
    from scipy.linalg import solve_triangular

    noise: np.ndarray = codes / factor if factor.ndim == 1 else solve_triangular(factor, codes.T, lower=True).T
    return noise


def coloured(noise: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Standard normal noise, (n, d), with the covariance L L'; `factor` as in `log_density`."""
    made: np.ndarray = noise * factor if factor.ndim == 1 else noise @ factor.T
    return made
