"""A Gaussian as a prior."""

from __future__ import annotations

from typing import Literal

import numpy as np

from diabolo.config import require
from diabolo.models.priors._base import Arrays, Prior
from diabolo.models.priors._gaussians import coloured, factor_of, log_density

__all__ = ["GaussianPrior"]


class GaussianPrior(Prior):
    """A Gaussian of full covariance: the mean and covariance of the codes, in closed form.

    Args:
        shrinkage: of the correlations towards 0, from 0 to 1; `auto` chooses by the number of codes (Ledoit & Wolf
            2004). It is at least 1e-6, so that codes in a plane have a density too.

    >>> prior = GaussianPrior().fit(np.random.default_rng(0).standard_normal((100, 3)))
    >>> prior.sample(2, seed=0).shape
    (2, 3)
    """

    kind = "gaussian"

    def __init__(self, *, shrinkage: float | Literal["auto"] = "auto") -> None:
        fits = shrinkage == "auto" if isinstance(shrinkage, str) else 0 <= shrinkage <= 1
        require(fits, "shrinkage", "a number from 0 to 1, or 'auto'", shrinkage)
        self.shrinkage = shrinkage

    def _fit(self, codes: np.ndarray, held_out: np.ndarray, seed: int) -> tuple[Arrays, list[str]]:
        return {"factor": factor_of(codes, None if isinstance(self.shrinkage, str) else self.shrinkage)}, []

    def _shapes(self, dim: int) -> dict[str, tuple[int, ...]]:
        return {"factor": (dim, dim)}

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        factor = self._fitted()["factor"]
        return coloured(rng.standard_normal((n, len(factor))), factor)

    def _log_prob(self, codes: np.ndarray) -> np.ndarray:
        return log_density(codes, np.zeros(codes.shape[1]), self._fitted()["factor"])
