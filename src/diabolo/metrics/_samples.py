"""Distances of a set of samples from a set of examples: FID and KID, on features of both.

Their values compare only with values on the same features, the same examples and sets of the same size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.config import require
from diabolo.errors import DataError, ShapeError
from diabolo.metrics._check import Floats, matrix, same_width
from diabolo.metrics._estimates import Estimate

__all__ = ["frechet_distance", "frechet_distance_of_gaussians", "kernel_distance"]

NORMAL = 1.96  # standard errors from the middle of a 95% interval to its ends


def frechet_distance(features_a: Any, features_b: Any, *, groups: int = 10, seed: int = 0) -> Estimate:
    """The Frechet distance of two sets of features (FID), as if each were of a Gaussian.

    Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
    https://arxiv.org/abs/1706.08500:

        |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))

    It is too large for small sets, by about what the noise of the covariances makes of it, and the more so the more
    features there are: sets should be of the same size throughout a comparison, and much larger than the number of
    features. Fewer examples than features make covariances of low rank, on which the distance is defined all the same.

    The standard error is a delete-a-group jackknife's: one tenth of each set, chosen at random, is left out in turn.
    The interval is 1.96 of it on either side, and at least 0. It says how much other sets of the same sizes would
    differ, and nothing about what their size adds. Of fewer than 4 rows it is infinite.

    Args:
        features_a: (n, f).
        features_b: (m, f).
        groups: of the jackknife.
        seed: of the choice of groups.

    Raises:
        ConfigError: fewer than two groups.
        ShapeError: two widths, or fewer than two rows.
        DataError: NaN or infinite features.

    >>> features = np.random.default_rng(0).normal(size=(500, 4))
    >>> round(frechet_distance(features, features).value, 6), round(frechet_distance(features, features + 1).value, 6)
    (0.0, 4.0)
    """
    require(groups >= 2, "groups", "a number of at least 2", groups)
    a, b = _features(features_a, features_b)

    def distance(left: Floats, right: Floats) -> float:
        roots = _root(left), _root(right)
        return _distance(left.mean(0), roots[0], right.mean(0), roots[1])

    value = distance(a, b)
    groups = min(groups, len(a) // 2, len(b) // 2)
    of_a, of_b = _groups(len(a), groups, seed), _groups(len(b), groups, seed + 1)
    masks = [(of_a != group, of_b != group) for group in range(groups if groups > 1 else 0)]
    without = [distance(a[left], b[right]) for left, right in masks]
    return _estimate(value, np.array(without), min(len(a), len(b)), least=0.0)


def frechet_distance_of_gaussians(mean_a: Any, covariance_a: Any, mean_b: Any, covariance_b: Any) -> float:
    """The Frechet distance (squared 2-Wasserstein) of two Gaussians, in closed form.

    Dowson, Landau 1982, "The Frechet distance between multivariate normal distributions",
    https://doi.org/10.1016/0047-259X(82)90077-X. The trace of (C_a C_b)^(1/2) is the sum of the singular values of
    C_a^(1/2) C_b^(1/2), which is real and exact for covariances of any rank.

    Args:
        mean_a: (f,).
        covariance_a: (f, f), symmetric, without negative eigenvalues.
        mean_b: (f,).
        covariance_b: (f, f).

    Raises:
        ShapeError: shapes that do not fit.
        DataError: NaN or infinite numbers, or a matrix that is no covariance.

    >>> round(frechet_distance_of_gaussians([0.0], [[1.0]], [3.0], [[4.0]]), 6)  # 3^2 + (2 - 1)^2
    10.0
    """
    means = [matrix(np.atleast_2d(mean), "means")[0] for mean in (mean_a, mean_b)]
    covariances = [matrix(covariance, "covariances") for covariance in (covariance_a, covariance_b)]
    width = len(means[0])
    shapes = [means[1].shape, *(covariance.shape for covariance in covariances)]
    if shapes != [(width,), (width, width), (width, width)]:
        raise ShapeError(
            f"Two Gaussians of {width} dimensions have means of shape ({width},) and covariances of shape "
            f"({width}, {width}), and the second mean and the covariances have {', '.join(map(str, shapes))}."
        )
    roots = [_root_of_covariance(covariance) for covariance in covariances]
    return _distance(means[0], roots[0], means[1], roots[1])


def kernel_distance(
    features_a: Any, features_b: Any, *, groups: int = 20, limit: int = 10_000, seed: int = 0
) -> Estimate:
    """The squared maximum mean discrepancy of two sets of features under a cubic kernel (KID), without bias.

    Binkowski, Sutherland, Arbel, Gretton 2018, "Demystifying MMD GANs", https://arxiv.org/abs/1801.01401:

        mean k(a, a') + mean k(b, b') - 2 mean k(a, b),   k(x, y) = (x . y / f + 1)^3

    over all pairs of different rows. In expectation it is 0 for two sets of one distribution, whatever their size, so
    that it may come out a little below 0. All pairs of the two sets count, where the paper averages over subsets of
    1,000: the same number, with less noise. Time grows with n^2: of more than `limit` rows a random subset is taken.

    The standard error is a delete-a-group jackknife's, with random groups; the interval is 1.96 of it on
    either side. Of fewer than 4 rows it is infinite.

    Args:
        features_a: (n, f).
        features_b: (m, f).
        groups: of the jackknife.
        limit: rows of each that are taken, at most.
        seed: of the choice of rows and of groups.

    Raises:
        ConfigError: a setting out of range.
        ShapeError: two widths, or fewer than two rows.
        DataError: NaN or infinite features.

    >>> a, b = np.random.default_rng(0).normal(size=(2, 300, 4))
    >>> abs(kernel_distance(a, b).value) < 0.1 < kernel_distance(a, b + 1).value
    True
    """
    require(groups >= 2, "groups", "a number of at least 2", groups)
    require(limit >= 4, "limit", "a number of at least 4", limit)
    a, b = _features(features_a, features_b)
    rng = np.random.default_rng(seed)
    a, b = (rows if len(rows) <= limit else rows[rng.choice(len(rows), limit, replace=False)] for rows in (a, b))
    groups = max(1, min(groups, len(a) // 2, len(b) // 2))
    parts = [
        [rows[labels == group] for group in range(groups)]
        for rows, labels in ((a, _groups(len(a), groups, seed)), (b, _groups(len(b), groups, seed + 1)))
    ]
    within = [_within(part) for part in parts]
    between = np.array([[_kernel(x, y).sum() for y in parts[1]] for x in parts[0]])
    sizes = [np.array([len(rows) for rows in part], float) for part in parts]

    def distance(mask: npt.NDArray[np.bool_]) -> float:
        counts = [size[mask].sum() for size in sizes]
        same = [sums[np.ix_(mask, mask)].sum() / (n * (n - 1)) for sums, n in zip(within, counts, strict=True)]
        return float(same[0] + same[1] - 2 * between[np.ix_(mask, mask)].sum() / (counts[0] * counts[1]))

    value = distance(np.ones(groups, bool))
    without = np.array([distance(np.arange(groups) != group) for group in range(groups)]) if groups > 1 else np.empty(0)
    return _estimate(value, without, min(len(a), len(b)), least=-math.inf)


def _features(features_a: Any, features_b: Any) -> tuple[Floats, Floats]:
    a, b = matrix(features_a, "features", 2), matrix(features_b, "features", 2)
    same_width(a, b, "features")
    return a, b


def _root(rows: Floats) -> Floats:
    """S with S^T S the covariance of the rows (divided by n - 1): (min(n, f), f)."""
    centred: Floats = (rows - rows.mean(0)) / math.sqrt(len(rows) - 1)
    return centred if len(centred) <= centred.shape[1] else _root_of_covariance(centred.T @ centred)


def _root_of_covariance(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    size = max(float(np.abs(covariance).max()), np.finfo(float).tiny)
    if values[0] < -1e-6 * size * len(values) or np.abs(covariance - covariance.T).max() > 1e-6 * size:
        raise DataError(
            f"A covariance is symmetric and has no negative eigenvalue, and this matrix has an eigenvalue of "
            f"{values[0]:g} or is not symmetric."
        )
    root: Floats = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    return root


def _distance(mean_a: Floats, root_a: Floats, mean_b: Floats, root_b: Floats) -> float:
    """The distance of two Gaussians whose covariances are S^T S."""
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    traces = np.square(root_a).sum() + np.square(root_b).sum()
    return max(0.0, float(np.square(mean_a - mean_b).sum() + traces - 2 * shared))


def _kernel(x: Floats, y: Floats) -> Floats:
    values: Floats = x @ y.T
    values /= x.shape[1]
    values += 1
    values *= values * values
    return values


def _within(parts: list[Floats]) -> Floats:
    """The sums of the kernel over pairs of different rows, for each pair of groups, (G, G)."""
    sums = np.zeros((len(parts), len(parts)))
    for i, x in enumerate(parts):
        same = _kernel(x, x)
        sums[i, i] = same.sum() - np.trace(same)
        for j in range(i):
            sums[i, j] = sums[j, i] = _kernel(x, parts[j]).sum()
    return sums


def _groups(count: int, groups: int, seed: int) -> npt.NDArray[np.int64]:
    """The group of each row, (n,): of equal sizes, and random, since rows may come sorted by class."""
    labels: npt.NDArray[np.int64] = np.random.default_rng(seed).permutation(np.arange(count) % max(groups, 1))
    return labels


def _estimate(value: float, without: Floats, count: int, least: float) -> Estimate:
    """A number with the jackknife's error, from the numbers without each group."""
    groups = len(without)
    if groups < 2:
        return Estimate(value, least, math.inf, math.inf, count)
    error = math.sqrt((groups - 1) / groups * float(np.square(without - without.mean()).sum()))
    return Estimate(value, max(least, value - NORMAL * error), value + NORMAL * error, error, count)
