"""Anomalies: how far a code lies from those of the training examples, and from which score on an example is one."""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from diabolo.config import require
from diabolo.errors import DataError, RunError, ShapeError, unknown_name
from diabolo.storage.checkpoint import load_tensors, save_tensors
from diabolo.storage.files import read_json, write_json

__all__ = ["LEVELS", "SCORES", "UNITS", "CodeStatistics", "Threshold"]

Array = npt.NDArray[np.float64]

UNITS = {
    "reconstruction": "nats",
    "surprise": "nats",
    "elbo": "nats",
    "likelihood": "nats",
    "latent": "deviations",
}
SCORES = tuple(UNITS)

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The levels of the quantiles that `CodeStatistics` holds."""

FORMAT = 1  # of the statistics' file and the threshold's; raised when an older diabolo could not read it
DEAD = 1e-2  # of the root mean square of all dimensions' deviations: what a smaller deviation is raised to
LEAST_SHRINKAGE = 1e-4  # keeps dimensions that depend on each other exactly from dividing by zero
CHUNK = 10_000  # codes at a time


@dataclass(frozen=True, eq=False)
class CodeStatistics:
    """The mean, the covariance and the range of the codes of the training examples, d numbers each.

    Attributes:
        mean: (d,), float64.
        covariance: (d, d), float64, divided by the number of codes.
        minimum: (d,), float64.
        maximum: (d,), float64.
        quantiles: (7, d), float64, at `LEVELS`: 1, 5, 25, 50, 75, 95 and 99%.
        count: codes that they were taken from.
        shrinkage: how much of the correlations is given up, 0 to 1, for `mahalanobis`.
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
        """Takes them from codes.

        Args:
            codes: (n, d), n at least 2.

        Raises:
            ShapeError: no such array.
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

        - Each dimension is measured in its own deviation, so that one of small numbers counts as much as any. A
          deviation below a hundredth of the root mean square of all is raised to that: what never moved in training
          counts when it moves as the others do, not when it trembles. If none ever moved, the distance is Euclidean.
        - The correlations are shrunk towards none, by the weight that Ledoit and Wolf find best for so many codes
          (2004, "A well-conditioned estimator for large-dimensional covariance matrices",
          https://doi.org/10.1016/S0047-259X(03)00096-4), at least 1e-4.

        A code's distance depends on no other code.

        Args:
            codes: (n, d).

        Raises:
            ShapeError: not d numbers for each code.
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes them as safetensors, whole or not at all.

        Raises:
            StorageError: the file could not be written.
        """
        import torch

        arrays = ("mean", "covariance", "minimum", "maximum", "quantiles")
        tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in arrays}
        save_tensors(path, tensors, {"format": FORMAT, "count": self.count, "shrinkage": self.shrinkage})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote.

        Raises:
            RunError: it is not there, is truncated, was edited, or is of a newer version.
        """
        tensors, numbers = load_tensors(path)
        _check_format(path, numbers)
        arrays = {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}
        dim = len(arrays["mean"]) if arrays.get("mean", np.zeros(())).ndim == 1 else 0
        vector = (dim,)
        shapes = {"mean": vector, "covariance": (dim, dim), "minimum": vector, "maximum": vector}
        shapes["quantiles"] = (len(LEVELS), dim)
        fits = {name: array.shape for name, array in arrays.items()} == shapes and dim > 0
        count, shrinkage = numbers.get("count"), numbers.get("shrinkage")
        if not fits or not isinstance(count, int) or not isinstance(shrinkage, float) or not 0 <= shrinkage <= 1:
            raise RunError(f"{path} does not hold the statistics of codes: it was edited; restore it or train again.")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise RunError(f"{path} holds numbers that are not finite: it was edited; restore it or train again.")
        return cls(**arrays, count=count, shrinkage=shrinkage)


@dataclass(frozen=True)
class Threshold:
    """The score above which an example counts as an anomaly, found on normal examples that were not trained on.

    Attributes:
        kind: which score, one of `SCORES`.
        value: the threshold.
        false_alarms: the probability that a new normal example exceeds it, at most.
        count: n, the normal examples that it was calibrated on.
        draws: codes that the score draws for each example.
        seed: of those draws.
        source: the name of the normal examples.
        scores: (n,), float64, theirs in ascending order.
    """

    kind: str
    value: float
    false_alarms: float
    count: int
    draws: int
    seed: int
    source: str
    scores: Array = field(repr=False, compare=False)

    @classmethod
    def calibrate(
        cls, scores: Any, false_alarms: float, *, kind: str, draws: int = 0, seed: int = 0, source: str = "an array"
    ) -> Self:
        """Takes the ceil((n + 1) (1 - rate))-th smallest of n normal scores, their split-conformal quantile.

        A new example of the same kind exceeds it with a probability of at most the rate, whatever the scores'
        distribution, on average over calibration sets (Vovk, Gammerman, Shafer 2005, Algorithmic learning in a random
        world; Bates et al. 2023, Testing for outliers with conformal p-values, https://arxiv.org/abs/2104.08279).

        Args:
            scores: (n,), of normal examples that were not trained on.
            false_alarms: the rate, above 0 and at most 0.5.
            kind: which score they are.
            draws: codes that the score draws for each example.
            seed: of those draws.
            source: the name of the examples.

        Raises:
            ConfigError: a rate out of range, an unknown kind.
            DataError: NaN or infinite scores, or too few of them for the rate.
        """
        if kind not in SCORES:
            raise unknown_name("score", str(kind), SCORES)
        require(0 < false_alarms <= 0.5, "false_alarms", "a rate above 0 and at most 0.5", false_alarms)
        values = _scores(scores)
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise DataError(
                f"{bad:,} of {len(values):,} calibration scores are NaN or infinite: a threshold needs finite ones. "
                "Look at the examples that they belong to, or choose another kind of score."
            )
        ordered = np.sort(values)
        value = _quantile(ordered, false_alarms)
        return cls(kind, value, float(false_alarms), len(ordered), int(draws), int(seed), str(source), ordered)

    def exceeded(self, scores: Any) -> npt.NDArray[np.bool_]:
        """Whether each score, (n,), is above the threshold; one that is NaN is."""
        above: npt.NDArray[np.bool_] = ~(_scores(scores) <= self.value)
        return above

    def p_values(self, scores: Any) -> Array:
        """The conformal p-value of each score, (n,): (1 + the calibration scores at least as large) / (n + 1).

        For a new normal example it is at most u with a probability of at most u; those at most `false_alarms` are the
        scores that exceed the threshold.
        """
        values = _scores(scores)
        below = np.searchsorted(self.scores, np.where(np.isnan(values), np.inf, values), side="left")
        p: Array = (1 + self.count - below) / (self.count + 1)
        return p

    def config(self) -> dict[str, Any]:
        """Everything but the calibration scores, ready for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "scores"}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as JSON, whole or not at all.

        Raises:
            StorageError: the file could not be written.
        """
        scores = " ".join(map(repr, self.scores.tolist()))
        write_json(path, {"format": FORMAT, **self.config(), "scores": scores})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote.

        Raises:
            RunError: it is not there, is truncated, was edited, or is of a newer version.
        """
        found = read_json(path)
        _check_format(path, found)
        try:
            scores = [float(word) for word in found["scores"].split()]
            names = ("kind", "draws", "seed", "source")
            made = cls.calibrate(scores, found["false_alarms"], **{name: found[name] for name in names})
            if {"format": FORMAT, **made.config(), "scores": found["scores"]} != found or list(made.scores) != scores:
                raise ValueError("its value is not the quantile of its scores")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RunError(
                f"{path} is not a threshold that calibrate made: {error}. It was edited; restore it, or remove it and "
                "calibrate again."
            ) from error
        return made


def _checked(codes: Any, dim: int | None = None) -> Array:
    """Codes as float64, (n, d)."""
    points = np.asarray(codes, np.float64)
    if points.ndim != 2 or points.shape[1] != (dim or points.shape[1]) or not points.shape[1]:
        raise ShapeError(f"Codes should have the shape (n, {dim or 'd'}), and were given as {points.shape}.")
    if not np.isfinite(points).all():
        wrong = int((~np.isfinite(points).all(1)).sum())
        raise DataError(f"{wrong:,} of {len(points):,} codes hold NaN or infinite numbers: did training diverge?")
    return points


def _scores(scores: Any) -> Array:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1:
        raise ShapeError(f"Scores should have the shape (n,), one number for each example, and have {values.shape}.")
    return values


def _deviations(covariance: Array) -> Array:
    """What each dimension is measured in, (d,): its deviation, or the floor under it."""
    variances = np.diag(covariance)
    common = math.sqrt(variances.mean())
    return np.maximum(np.sqrt(variances), DEAD * common) if common > 0 else np.ones(len(variances))


def _shrinkage(scaled: Array) -> float:
    """The weight of Ledoit and Wolf 2004 (their lemmas 3.2 to 3.4) for centred codes in `_deviations`, (n, d)."""
    count, dim = scaled.shape
    covariance = scaled.T @ scaled / count
    size = np.square(covariance).sum()
    distance = size - np.trace(covariance) ** 2 / dim  # of the covariance from a multiple of the identity
    if distance <= 0:
        return 0.0 if dim == 1 else LEAST_SHRINKAGE
    error = (np.square(np.square(scaled).sum(1)).mean() - size) / count  # of the covariance as an estimate
    return float(np.clip(error / distance, LEAST_SHRINKAGE, 1))


def _quantile(ordered: Array, rate: float) -> float:
    """The smallest of the ordered scores that a new one exceeds with a probability of at most `rate`."""
    count = len(ordered)
    above = math.floor(rate * (count + 1) + 1e-9)  # how many of n + 1 may lie above it, the new one among them
    if above < 1:
        needed = math.ceil(1 / rate - 1e-9) - 1
        raise DataError(
            f"A false-alarm rate of {rate:g} needs at least {needed:,} normal examples that were not trained on, and "
            f"{count:,} were given. Give more, or allow a higher rate."
        )
    return float(ordered[count - above])


def _check_format(path: str | os.PathLike[str], found: dict[str, Any]) -> None:
    version = found.get("format")
    if not isinstance(version, int):
        raise RunError(f"{path} does not say which format it has: it was edited, or diabolo did not write it.")
    if version > FORMAT:
        raise RunError(
            f"{path} was written in format {version}, by a newer diabolo; this one reads up to format {FORMAT}. "
            "Upgrade it: pip install --upgrade diabolo"
        )
