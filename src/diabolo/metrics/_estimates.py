"""Means with errors: over examples, and of the difference of two models on the same examples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from diabolo.config import require
from diabolo.errors import ShapeError
from diabolo.metrics._check import Floats, pair

__all__ = ["Estimate", "bootstrap", "count_from_resamples", "paired_difference"]

GROUPS = 20_000  # units of a resample: single examples, or this many random groups of more
BLOCK = 2_000_000  # draws held in memory at a time


@dataclass(frozen=True)
class Estimate:
    """A number from a sample, with its standard error and its 95% interval.

    Attributes:
        value: the number.
        low: the lower end of the interval.
        high: the upper end.
        standard_error: its standard deviation over samples of this size.
        count: the examples in the sample.

    >>> estimate = bootstrap([1.0, 2.0, 3.0])
    >>> estimate.value, round(estimate.standard_error, 3), estimate.count
    (2.0, 0.577, 3)
    """

    value: float
    low: float
    high: float
    standard_error: float
    count: int


def bootstrap(values: Any, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Estimate:
    """The mean over examples, with its error.

    The interval is the percentile bootstrap's (Efron 1979, "Bootstrap methods: another look at the jackknife"): that of
    the means of `resamples` samples with replacement. More than 20,000 examples are first put into 20,000 random
    groups, and whole groups are resampled: the same error, in less time. The standard error is s / sqrt(n), to which
    the deviation of those means tends as they grow in number. The error of a single example is infinite.

    Args:
        values: (n,), a number for each example.
        resamples: the number of resamples.
        level: of the interval.
        seed: of the resamples.

    Raises:
        ConfigError: a setting out of range.
        ShapeError: no such array, or an empty one.
        DataError: NaN or infinite numbers.

    >>> estimate = bootstrap(np.arange(100.0))
    >>> estimate.value, estimate.low < 49.5 < estimate.high
    (49.5, True)
    """
    require(resamples >= 1, "resamples", "a number of at least 1", resamples)
    require(0 < level < 1, "level", "a number between 0 and 1", level)
    require(seed >= 0, "seed", "a number of at least 0", seed)
    numbers = _column(values, values)[0]
    value, count = float(numbers.mean()), len(numbers)
    if count == 1:
        return Estimate(value, -math.inf, math.inf, math.inf, 1)
    rng = np.random.default_rng(seed)
    centred = numbers - value  # sums of small numbers keep more digits than sums of large ones
    sizes = np.ones(count)
    if count > GROUPS:
        starts = np.linspace(0, count, GROUPS, endpoint=False).astype(int)
        centred = np.add.reduceat(rng.permutation(centred), starts)
        sizes = np.diff(np.append(starts, count)).astype(float)
    means = np.empty(resamples)
    rows = max(1, BLOCK // len(sizes))
    for start in range(0, resamples, rows):
        part = slice(start, min(start + rows, resamples))
        resample = rng.integers(0, len(sizes), (part.stop - part.start, len(sizes)))
        means[part] = centred[resample].sum(1) / (sizes[resample].sum(1) if count > GROUPS else count)
    low, high = value + np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), float(numbers.std(ddof=1)) / math.sqrt(count), count)


def count_from_resamples(value: float, resamples: Floats, count: int, least: float, most: float) -> Estimate:
    """A count of what occurs among examples, or a number that depends on it, with the spread of its resamples.

    A resample lacks a third of the examples, and what is rare with them: all of its counts may lie on one side of the
    value. So their spread alone is taken, about the value.

    Args:
        value: the number, of all examples.
        resamples: (R,), of samples with replacement.
        count: the examples.
        least: the least that it may be.
        most: the most.

    >>> estimate = count_from_resamples(10.0, np.array([4.0, 5.0, 6.0]), 20, 0, 10)
    >>> round(estimate.low, 2), estimate.high
    (9.05, 10.0)
    """
    low, high = (value + np.quantile(resamples - resamples.mean(), [0.025, 0.975])).clip(least, most)
    return Estimate(float(value), min(float(low), value), max(float(high), value), float(resamples.std()), count)


def paired_difference(a: Any, b: Any, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Estimate:
    """The mean of a - b over the same examples, with its error.

    Examples that are hard for both models cancel, so that a difference shows that the errors of the two means would
    hide. Where the interval holds 0, the examples do not tell the models apart.

    Args:
        a: (n,), one model's number for each example.
        b: (n,), the other's, in the same order.
        resamples: as in `bootstrap`.
        level: as in `bootstrap`.
        seed: as in `bootstrap`.

    Raises:
        ConfigError, ShapeError, DataError: as in `bootstrap`; also when there are not as many of one as of the other.

    >>> nats = np.random.default_rng(0).normal(100, 30, size=200)  # easy and hard examples
    >>> difference = paired_difference(nats, nats + 1)
    >>> round(difference.value, 6), difference.standard_error < 1e-6
    (-1.0, True)
    """
    first, second = _column(a, b)
    return bootstrap(first - second, resamples=resamples, level=level, seed=seed)


def _column(a: Any, b: Any) -> tuple[Floats, Floats]:
    first, second = (values.astype(np.float64) for values in pair(a, b, "numbers"))
    if first.ndim != 1:
        raise ShapeError(f"The numbers should have the shape (n,), one for each example, and have {first.shape}.")
    return first, second
