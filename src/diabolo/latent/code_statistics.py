"""The statistics of the latent codes of the training examples, and the Mahalanobis distance from them."""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from diabolo._border import checked_methods
from diabolo.errors import DataError, RunError, ShapeError
from diabolo.storage.checkpoint import load_tensors, save_tensors
from diabolo.storage.foreign import as_array, reading

__all__ = ["LEVELS", "CodeStatistics", "check_format"]

Array = npt.NDArray[np.float64]

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The levels of the quantiles of `CodeStatistics`."""

FORMAT = 1  # of the file; raised when an older diabolo could not read it
DEAD = 1e-2  # of the root mean square of all dimensions' deviations: the least deviation that a distance divides by
LEAST_SHRINKAGE = 1e-4  # with less, dimensions that depend on each other exactly would lead to a division by zero
CHUNK = 10_000  # latent codes at a time


@checked_methods
@dataclass(frozen=True, eq=False)
class CodeStatistics:
    """The mean, covariance, range and quantiles of the latent codes of the training examples, in d dimensions.

    Attributes:
        mean: (d,), float64.
        covariance: (d, d), float64, with the number of codes as its divisor.
        minimum: (d,), float64.
        maximum: (d,), float64.
        quantiles: (7, d), float64, at `LEVELS`: 1, 5, 25, 50, 75, 95 and 99%.
        count: the number of codes.
        shrinkage: of the correlations towards 0, from 0 to 1, for `mahalanobis`.

    >>> codes = np.random.default_rng(0).standard_normal((1000, 2))
    >>> CodeStatistics.fit(codes).mahalanobis([[0.0, 0.0], [3.0, 0.0]]).round()
    array([0., 3.])
    """

    mean: Array
    covariance: Array
    minimum: Array
    maximum: Array
    quantiles: Array
    count: int
    shrinkage: float

    @classmethod
    def fit(cls, codes: Any) -> Self:
        """The statistics of some codes.

        Args:
            codes: (n, d), n at least 2.

        Raises:
            ShapeError: codes of another shape, or fewer than two.
            DataError: NaN or infinite codes.
        """
        points = _checked(codes)
        if len(points) < 2:
            raise ShapeError(f"The statistics of codes need at least 2 of them, and {len(points)} was given.")
        mean = points.mean(0)
        centred = points - mean
        covariance = centred.T @ centred / len(points)
        scaled = centred / _deviations(covariance)
        return cls(
            mean,
            covariance,
            points.min(0),
            points.max(0),
            np.quantile(points, LEVELS, axis=0),
            len(points),
            _shrinkage(scaled),
        )

    @property
    def deviation(self) -> Array:
        """The standard deviation of each dimension, (d,)."""
        deviation: Array = np.sqrt(np.diag(self.covariance))
        return deviation

    def mahalanobis(self, codes: Any) -> Array:
        """The distance of codes from the training codes in their standard deviations, (n,), float64.

        sqrt((z - mean)^T C^-1 (z - mean)) (Mahalanobis 1936), with the covariance C made safe to invert:

        - Each dimension is divided by its own deviation, so that dimensions of small numbers count as much as others. A
          deviation below a hundredth of the root mean square of all is raised to it: a dimension that was constant in
          training counts when it moves as much as the others, not by its rounding errors. Where all are constant, the
          distance is Euclidean.
        - The correlations are shrunk towards 0, by the weight that Ledoit and Wolf derive for this number of codes
          (2004, "A well-conditioned estimator for large-dimensional covariance matrices",
          https://doi.org/10.1016/S0047-259X(03)00096-4), at least 1e-4.

        The distance of a code does not depend on the other codes of the call.

        Args:
            codes: (n, d).

        Raises:
            ShapeError: codes of another dimension.
            DataError: NaN or infinite codes.
        """
        points = _checked(codes, len(self.mean))
        distance = np.empty(len(points))
        for start in range(0, len(points), CHUNK):
            white = (points[start : start + CHUNK] - self.mean) @ self._whitening
            distance[start : start + CHUNK] = np.sqrt(np.square(white).sum(1))
        return distance

    @functools.cached_property
    def _whitening(self) -> Array:
        """W, (d, d), with W W^T = C^-1."""
        scale = _deviations(self.covariance)
        correlation = (1 - self.shrinkage) * self.covariance / np.outer(scale, scale)
        np.fill_diagonal(correlation, 1)
        values, vectors = np.linalg.eigh(correlation)
        whitening: Array = vectors / np.sqrt(np.maximum(values, 1e-12)) / scale[:, None]
        return whitening

    def save(self, path: str | os.PathLike[str], weights: str = "") -> None:
        """Writes the statistics as safetensors, as a whole or not at all; `weights` is the digest of the model's.

        Raises:
            StorageError: the file could not be written.
        """
        import torch

        arrays = ("mean", "covariance", "minimum", "maximum", "quantiles")
        tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in arrays}
        numbers = {"format": FORMAT, "count": self.count, "shrinkage": self.shrinkage}
        save_tensors(path, tensors, numbers, weights)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The statistics in a file of `save`.

        Raises:
            RunError: the file does not exist, is truncated, was edited, or is of a newer version.
        """
        tensors, numbers = load_tensors(path)
        check_format(path, numbers)
        with reading(path):
            arrays = {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}
        dim = len(arrays["mean"]) if arrays.get("mean", np.zeros(())).ndim == 1 else 0
        vector = (dim,)
        shapes = {"mean": vector, "covariance": (dim, dim), "minimum": vector, "maximum": vector}
        shapes["quantiles"] = (len(LEVELS), dim)
        fits = {name: array.shape for name, array in arrays.items()} == shapes and dim > 0
        count, shrinkage = numbers.get("count"), numbers.get("shrinkage")
        if (
            not fits
            or not isinstance(count, int)
            or count < 1
            or not isinstance(shrinkage, float)
            or not 0 <= shrinkage <= 1
        ):
            raise RunError(f"{path} does not hold the statistics of codes: it was edited; restore it or train again.")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise RunError(f"{path} holds numbers that are not finite: it was edited; restore it or train again.")
        return cls(**arrays, count=count, shrinkage=shrinkage)


def _checked(codes: Any, dim: int | None = None) -> Array:
    """Latent codes as float64, (n, d), checked."""
    points = as_array("codes", codes, np.float64)
    if points.ndim != 2 or points.shape[1] != (dim or points.shape[1]) or not points.shape[1]:
        raise ShapeError(f"Codes should have the shape (n, {dim or 'd'}), and were given as {points.shape}.")
    if not np.isfinite(points).all():
        wrong = int((~np.isfinite(points).all(1)).sum())
        raise DataError(f"{wrong:,} of {len(points):,} codes hold NaN or infinite numbers: did training diverge?")
    return points


def _deviations(covariance: Array) -> Array:
    """The divisor of each dimension, (d,): its deviation, or the floor under it."""
    variances = np.diag(covariance)
    common = math.sqrt(variances.mean())
    return np.maximum(np.sqrt(variances), DEAD * common) if common > 0 else np.ones(len(variances))


def _shrinkage(scaled: Array) -> float:
    """The weight of Ledoit and Wolf 2004 (their lemmas 3.2 to 3.4) for centred codes in `_deviations`, (n, d)."""
    count, dim = scaled.shape
    covariance = scaled.T @ scaled / count
    size = np.square(covariance).sum()
    distance = size - np.trace(covariance) ** 2 / dim  # from a multiple of the identity, squared
    if distance <= 0:
        return 0.0 if dim == 1 else LEAST_SHRINKAGE
    error = (np.square(np.square(scaled).sum(1)).mean() - size) / count  # of estimation, squared
    return float(np.clip(error / distance, LEAST_SHRINKAGE, 1))


def check_format(path: str | os.PathLike[str], header: dict[str, Any]) -> None:
    """Checks the format number of a saved file against the newest one that this version reads.

    Raises:
        RunError: no format number, or a newer one.
    """
    version = header.get("format")
    if not isinstance(version, int):
        raise RunError(f"{path} does not say which format it has: it was edited, or diabolo did not write it.")
    if version > FORMAT:
        raise RunError(
            f"{path} was written in format {version}, by a newer diabolo; this one reads up to format {FORMAT}. "
            "Upgrade it: pip install --upgrade diabolo"
        )
