"""Priors of tokens: distributions over the codebook entries that codes are written with."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from diabolo.config import require
from diabolo.errors import DataError, RunError, ShapeError
from diabolo.models.priors._base import Arrays, Prior, check_shapes

__all__ = ["CategoricalPrior", "TokenPrior"]


class TokenPrior(Prior):
    """A distribution over tokens, (n, positions, levels): the base of its kinds.

    Attributes:
        info: as of any prior; mean log-likelihoods are in nats per example, and on the tenth that was held out there
            are those of uniform tokens and of each token by itself (`held_out_uniform`, `held_out_categorical`).

    >>> CategoricalPrior.of_tokens
    True
    """

    of_tokens = True
    baselines: ClassVar[dict[str, str]] = {
        "held_out_uniform": "uniform",
        "held_out_categorical": "each token by itself",
    }

    def fit(self, codes: Any, seed: int = 0, entries: int | None = None) -> Self:
        """Fits the distribution to nine tenths of some tokens.

        Args:
            codes: (n, positions, levels), whole numbers from 0.
            seed: of the choice of the tenth that is held out, and of the fit.
            entries: how many numbers a token may be; one more than the largest when left out.

        Raises:
            ShapeError: tokens of another shape.
            DataError: they are too few, or no whole numbers from 0 to `entries` - 1.
        """
        require(seed >= 0, "seed", "a number of at least 0", seed)
        tokens = _checked(codes)
        entries = int(tokens.max()) + 1 if entries is None else entries
        if tokens.max() >= entries:
            raise DataError(f"Tokens are numbers from 0 to {entries - 1}, and {tokens.max()} was given.")
        flat = tokens.reshape(len(tokens), -1)
        self._check_count(*flat.shape)
        order = np.random.default_rng(seed).permutation(len(flat))
        held_out, fitted = flat[order[: len(flat) // 10]], flat[order[len(flat) // 10 :]]
        shape = np.array([*tokens.shape[1:], entries])
        self._arrays = {"shape": shape}
        own, notes = self._fit(fitted, held_out, seed)
        self._arrays = {"shape": shape, **own}
        alone = shares(fitted, entries)
        self.info = {
            "count": len(flat),
            "dim": flat.shape[1],
            "seed": seed,
            "fitted": float(self._log_prob(fitted).mean()),
            "held_out": _average(self._log_prob(held_out)) if len(held_out) else None,
            "held_out_uniform": -flat.shape[1] * float(np.log(entries)) if len(held_out) else None,
            "held_out_categorical": _average(_alone(alone, held_out)) if len(held_out) else None,
            "notes": notes,
        }
        return self

    @property
    def token_shape(self) -> tuple[int, int]:
        """(positions, levels)."""
        positions, levels, _ = self._fitted()["shape"]
        return int(positions), int(levels)

    @property
    def entries(self) -> int:
        """How many numbers a token may be."""
        return int(self._fitted()["shape"][2])

    def sample(self, n: int, seed: int | None = None) -> np.ndarray:
        """Tokens drawn from the distribution, (n, positions, levels), int64.

        Args:
            n: how many.
            seed: of the draw; None draws others each time.
        """
        require(n >= 1, "n", "a number of codes of at least 1", n)
        require(seed is None or seed >= 0, "seed", "a number of at least 0", seed)
        return self._draw(n, np.random.default_rng(seed)).reshape(n, *self.token_shape)

    def log_prob(self, codes: Any) -> Any:
        """The log-probability of tokens, (n, positions, levels): (n,), float64, in nats."""
        tokens = _checked(codes)
        if tokens.shape[1:] != self.token_shape or tokens.max(initial=0) >= self.entries:
            raise ShapeError(
                f"This prior is one of tokens of shape (n, {self.token_shape[0]}, {self.token_shape[1]}), numbers from "
                f"0 to {self.entries - 1}, and was given {tokens.shape}."
            )
        return self._log_prob(tokens.reshape(len(tokens), -1))

    def restore(self, arrays: Arrays, info: dict[str, Any]) -> Self:
        shape = arrays.get("shape", np.empty(0))
        if shape.shape != (3,) or shape.dtype.kind not in "iu" or shape.min() < 1:
            raise RunError("It does not say which tokens it is of.")
        self._arrays, self.info = dict(arrays), dict(info)
        expected = self._shapes(int(shape[0] * shape[1]))
        if expected is not None:
            check_shapes(arrays, {"shape": (3,), **expected})
        return self


class CategoricalPrior(TokenPrior):
    """Each token by itself: the shares of the entries at each position and level, with one example's worth of uniform.

    >>> prior = CategoricalPrior().fit(np.zeros((20, 3, 1), int), entries=4)
    >>> prior.sample(2, seed=0).shape, prior.log_prob(np.zeros((1, 3, 1), int)).round(2).tolist()
    ((2, 3, 1), [-0.12])
    """

    kind = "categorical"

    def _fit(self, codes: np.ndarray, held_out: np.ndarray, seed: int) -> tuple[Arrays, list[str]]:
        return {"shares": shares(codes, self.entries)}, []

    def _shapes(self, dim: int) -> dict[str, tuple[int, ...]]:
        return {"shares": (dim, self.entries)}

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return np.stack([rng.choice(self.entries, n, p=row) for row in self._fitted()["shares"]], 1)

    def _log_prob(self, codes: np.ndarray) -> np.ndarray:
        return _alone(self._fitted()["shares"], codes)


def shares(tokens: np.ndarray, entries: int) -> np.ndarray:
    """The share of each entry in each column of tokens, (n, T): (T, K), none of them zero."""
    counts = np.stack([np.bincount(column, minlength=entries) for column in tokens.T])
    found: np.ndarray = (counts + 1 / entries) / (len(tokens) + 1)
    return found


def _alone(rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.log(rows)[np.arange(tokens.shape[1]), tokens].sum(1)
    return found


def _average(nats: np.ndarray) -> float:
    return float(nats.mean())


def _checked(tokens: Any) -> np.ndarray:
    array = np.asarray(tokens)
    if array.ndim != 3 or 0 in array.shape[1:]:
        raise ShapeError(
            f"Tokens should have the shape (n, positions, levels), and these have {array.shape}: they are the codes of "
            "a model with a codebook, model.tokens(x)."
        )
    if array.dtype.kind not in "iu" or array.min(initial=0) < 0:
        raise DataError(f"Tokens are whole numbers from 0, and these are {array.dtype} from {array.min(initial=0)}.")
    return array.astype(np.int64)
