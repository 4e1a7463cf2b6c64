"""The maths of Gaussians that priors share: covariances, densities, whitening."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["coloured", "factor_of", "log_density", "whitened"]

RIDGE = 1e-6  # the least shrinkage: codes in a plane have a singular covariance without it


def factor_of(codes: np.ndarray, shrinkage: float | None = None) -> np.ndarray:
    """The Cholesky factor, (d, d), of the covariance C of standardised codes, (n, d).

    C = (1 - s) codes' codes / n + s I. The shrinkage s should grow with the dimension d and fall with n;
    by default it minimises the expected distance to the true covariance (Ledoit & Wolf 2004, "A well-conditioned
    estimator for large-dimensional covariance matrices").
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
    """Codes of mean 0 and covariance L L', (n, d), as standard normal noise: the inverse of `coloured`."""
    from scipy.linalg import solve_triangular

    noise: np.ndarray = codes / factor if factor.ndim == 1 else solve_triangular(factor, codes.T, lower=True).T
    return noise


def coloured(noise: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Standard normal noise, (n, d), as codes of mean 0 and covariance L L'; `factor` as in `log_density`."""
    codes: np.ndarray = noise * factor if factor.ndim == 1 else noise @ factor.T
    return codes
