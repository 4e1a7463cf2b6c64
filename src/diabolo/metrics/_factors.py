"""Disentanglement: how well the dimensions of the latent code separate the known factors that made the examples.

All measures take latent codes, (n, d), and factors, (n, F), one column for each factor: whole numbers or text. Put a
continuous factor into bins first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.config import require
from diabolo.errors import DataError, ShapeError
from diabolo.metrics._check import Floats, class_indices, matrix

__all__ = ["DCI", "dci", "factor_vae_score", "mig", "sap"]

LEAST = 10  # examples
TREES = 10
HALF = 5000  # examples that forests are fitted to, and that they are tested on, at most
CONSTANT = 1e-10  # of the largest variance of any dimension: one that varies less is constant but for rounding
CHUNK = 2_000_000  # values of codes at a time

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DCI:
    """The three scores of `dci`.

    Attributes:
        disentanglement: whether each dimension tells about one factor only, 0 to 1.
        completeness: whether one dimension only tells about each factor, 0 to 1.
        informativeness: how much the whole code tells about the factors: accuracy on held-out examples, 0 to 1.
        importance: (d, F), of each dimension for each factor; each column sums to 1.

    >>> factors = np.random.default_rng(0).integers(0, 3, size=(200, 2))
    >>> scores = dci(factors.astype(float), factors)
    >>> scores.importance.shape, round(scores.informativeness, 2)
    ((2, 2), 1.0)
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: Floats


def mig(codes: Any, factors: Any, *, bins: int = 20) -> float:
    """The mutual information gap, 0 to 1.

    Chen, Li, Grosse, Duvenaud 2018, "Isolating sources of disentanglement in variational autoencoders", equation 6,
    https://arxiv.org/abs/1802.04942: for each factor, the information of the dimension that tells most about it less
    that of the next one, in entropies of the factor; the mean over factors. Each dimension is put into `bins` bins of
    equal width between its extremes, as Locatello et al. 2019 do (https://arxiv.org/abs/1811.12359). A code of one
    dimension has no next one, and the gap is the information itself.

    Args:
        codes: (n, d).
        factors: (n, F).
        bins: for each dimension.

    Raises:
        ConfigError: fewer than two bins.
        ShapeError: not a row of factors for each code.
        DataError: fewer than 10 examples; factors that are missing, continuous or constant; NaN codes.

    >>> factors = np.random.default_rng(0).integers(0, 3, size=(200, 2))
    >>> round(mig(factors.astype(float), factors), 1), round(mig(factors @ [[1.0, 1.0], [1.0, 1.0]], factors), 1)
    (1.0, 0.0)
    """
    require(bins >= 2, "bins", "a number of at least 2", bins)
    z, columns = _checked(codes, factors)
    low, high = z.min(0), z.max(0)
    places = (z - low) / np.where(high > low, high - low, 1) * bins
    binned = np.minimum(places.astype(np.int64), bins - 1)
    gaps = []
    for column in columns:
        information = np.sort([_information(row, column, bins) for row in binned.T])
        second = information[-2] if len(information) > 1 else 0.0
        gaps.append((information[-1] - second) / _entropy(np.bincount(column)))
    return float(np.mean(gaps))


def dci(codes: Any, factors: Any, *, seed: int = 0) -> DCI:
    """Disentanglement, completeness and informativeness, by random forests that predict each factor from the code.

    Eastwood, Williams 2018, "A framework for the quantitative evaluation of disentangled representations",
    https://openreview.net/forum?id=By-7dz-AZ. For each factor a forest of 10 trees (all dimensions tried at each split)
    is fitted to one half of the examples, at most 5,000, and tested on as many of the other half. With R the
    importance of dimension i for factor j (mean decrease of impurity): disentanglement is 1 - H(R_i. / sum) in units of
    log F, averaged over dimensions by their share of all importance; completeness is 1 - H(R_.j / sum) in units of
    log d, averaged over factors. With one factor, disentanglement is 1, and with one dimension completeness is.

    Args:
        codes: (n, d).
        factors: (n, F).
        seed: of the halves and of the forests.

    Raises:
        ConfigError: a negative seed.
        ShapeError: not a row of factors for each code.
        DataError: fewer than 10 examples; factors that are missing, continuous or constant; NaN codes.

    >>> factors = np.random.default_rng(0).integers(0, 3, size=(200, 2))
    >>> round(dci(factors.astype(float), factors).disentanglement, 2)
    1.0
    """
    from sklearn.ensemble import RandomForestClassifier

    require(seed >= 0, "seed", "a number of at least 0", seed)
    z, columns = _checked(codes, factors)
    train, test = _halves(len(z), seed)
    importance = np.zeros((z.shape[1], len(columns)))
    accuracy = []
    for number, column in enumerate(columns):
        forest = RandomForestClassifier(TREES, max_features=None, random_state=seed)
        forest.fit(z[train], column[train])
        importance[:, number] = forest.feature_importances_
        accuracy.append(float(forest.score(z[test], column[test])))
    share = importance.sum(1)
    return DCI(
        float(_purity(importance) @ (share / max(float(share.sum()), 1e-300))),
        float(_purity(importance.T).mean()),
        float(np.mean(accuracy)),
        importance,
    )


def sap(codes: Any, factors: Any, *, seed: int = 0) -> float:
    """The separated attribute predictability.

    Kumar, Sattigeri, Balakrishnan 2018, "Variational inference of disentangled latent concepts from unlabeled
    observations", section 3, https://arxiv.org/abs/1711.00848: for each factor and each dimension, the balanced
    accuracy of thresholds on that dimension alone; the gap between the best and the second best; the mean over factors.
    The thresholds are a decision tree's, with as many leaves as the factor has values, fitted to one half of the
    examples (at most 5,000) and tested on the other. As a dimension that tells nothing is right once in K values, the
    most that there can be is 1 - 1/K (0.5 for a factor of two values), or 1 with a single dimension.

    Args:
        codes: (n, d).
        factors: (n, F).
        seed: of the halves.

    Raises:
        ConfigError: a negative seed.
        ShapeError: not a row of factors for each code.
        DataError: fewer than 10 examples; factors that are missing, continuous or constant; NaN codes.

    >>> factors = np.random.default_rng(0).integers(0, 2, size=(200, 2))
    >>> sap(factors.astype(float), factors) > 0.3  # at most 0.5 for factors of two values
    True
    """
    from sklearn.tree import DecisionTreeClassifier

    require(seed >= 0, "seed", "a number of at least 0", seed)
    z, columns = _checked(codes, factors)
    train, test = _halves(len(z), seed)
    gaps = []
    for column in columns:
        scores = [0.0]
        for row in z.T[:, :, None]:
            leaves = max(2, len(np.unique(column[train])))
            tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=seed)
            predicted = tree.fit(row[train], column[train]).predict(row[test])
            scores.append(_balanced_accuracy(column[test], predicted))
        ordered = np.sort(scores)
        gaps.append(ordered[-1] - ordered[-2])
    return float(np.mean(gaps))


def factor_vae_score(
    codes: Any,
    factors: Any,
    *,
    seed: int = 0,
    votes: int = 10_000,
    judged: int = 5_000,
    batch: int = 64,
    threshold: float = 0.0,
) -> float:
    """The accuracy of a majority vote on which factor was held fixed; chance is about 1/F.

    Kim, Mnih 2018, "Disentangling by factorising", section 4, https://arxiv.org/abs/1802.05983. For each vote a factor
    is picked, and one of its values; of `batch` codes with that value (drawn with replacement from all codes), the
    dimension that varies least, measured in its deviation over all codes, votes for the factor. Each dimension then
    stands for the factor that it voted for most often, and is tested on further votes (the numbers of votes are
    those of Locatello et al. 2019). With one factor it is 1.

    Args:
        codes: (n, d).
        factors: (n, F).
        seed: of the draws.
        votes: that the majority is taken from.
        judged: votes on which it is tested.
        batch: codes of one vote.
        threshold: the variance over all codes above which a dimension takes part: 0.05 leaves out what a VAE does not
            use, as Locatello et al. do.

    Raises:
        ConfigError: a setting out of range.
        ShapeError: not a row of factors for each code.
        DataError: fewer than 10 examples; factors that are missing, continuous or constant; codes that are
            NaN or all the same.

    >>> factors = np.random.default_rng(0).integers(0, 3, size=(200, 2))
    >>> factor_vae_score(factors.astype(float), factors, votes=100, judged=100)
    1.0
    """
    for name, number, lowest in (("seed", seed, 0), ("votes", votes, 1), ("judged", judged, 1), ("batch", batch, 2)):
        require(number >= lowest, name, f"a number of at least {lowest}", number)
    require(threshold >= 0, "threshold", "a number of at least 0", threshold)
    z, columns = _checked(codes, factors)
    variance = z.var(0)
    if not variance.max() > threshold:
        raise DataError(
            f"All codes are the same, up to a variance of {variance.max():g}: no dimension can stand for a factor. Was "
            "the model trained?"
        )
    used = variance > max(threshold, CONSTANT * float(variance.max()))
    z = z[:, used] / np.sqrt(variance[used])
    rng = np.random.default_rng(seed)
    fixed = rng.integers(0, len(columns), votes + judged)
    least = np.empty(len(fixed), np.int64)
    for factor, column in enumerate(columns):
        mine = np.flatnonzero(fixed == factor)
        least[mine] = _least_varying(z, column, len(mine), batch, rng)
    table = np.zeros((z.shape[1], len(columns)), np.int64)
    np.add.at(table, (least[:votes], fixed[:votes]), 1)
    return float((table.argmax(1)[least[votes:]] == fixed[votes:]).mean())


def _least_varying(z: Floats, column: Indices, count: int, batch: int, rng: np.random.Generator) -> Indices:
    """For each of `count` batches of codes with one value of a factor, the dimension that varies least, (count,)."""
    order = np.argsort(column, kind="stable")
    sizes = np.bincount(column)
    starts = np.cumsum(sizes) - sizes
    repeated = np.flatnonzero(sizes[column] > 1)  # a value that stands alone leaves nothing to vary
    values = column[rng.choice(repeated, count)]
    dimensions = np.empty(count, np.int64)
    rows = max(1, CHUNK // (batch * z.shape[1]))
    for start in range(0, count, rows):
        value = values[start : start + rows, None]
        batches = order[starts[value] + (rng.random((len(value), batch)) * sizes[value]).astype(np.int64)]
        dimensions[start : start + rows] = z[batches].var(1).argmin(1)
    return dimensions


def _checked(codes: Any, factors: Any) -> tuple[Floats, list[Indices]]:
    """Codes as float64, and each factor as indices of its values."""
    z = matrix(codes, "codes")
    table = np.asarray(factors)
    if table.ndim != 2 or len(table) != len(z) or not table.shape[1]:
        raise ShapeError(
            f"The factors should have the shape ({len(z)}, F), a row for each code and a column for each factor, and "
            f"have {table.shape}."
        )
    if len(z) < LEAST:
        raise DataError(f"Measures of disentanglement need at least {LEAST} examples, and {len(z)} were given.")
    columns = []
    for number in range(table.shape[1]):
        column, values = class_indices(table[:, number], len(z), f"values of factor {number}")
        if len(values) < 2:
            raise DataError(
                f"Factor {number} has the same value, {values[0]!s}, in all {len(z):,} examples: leave it out."
            )
        if len(values) > len(z) // 2:
            raise DataError(
                f"Factor {number} has {len(values):,} different values in {len(z):,} examples: most stand alone. Put "
                "it into fewer bins, for example with np.digitize, or give more examples."
            )
        columns.append(column)
    return z, columns


def _halves(count: int, seed: int) -> tuple[Indices, Indices]:
    order = np.random.default_rng(seed).permutation(count)
    half = count // 2
    return order[:half][:HALF], order[half:][:HALF]


def _information(binned: Indices, column: Indices, bins: int) -> float:
    """The mutual information of two columns of indices, in nats."""
    size = int(column.max()) + 1
    joint = np.bincount(binned * size + column, minlength=bins * size).reshape(bins, size)
    return _entropy(joint.sum(1)) + _entropy(joint.sum(0)) - _entropy(joint)


def _entropy(counts: npt.NDArray[Any]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _purity(importance: Floats) -> Floats:
    """1 - the entropy of each row's shares in units of its largest, (rows,); 0 for zeros, 1 for a single column."""
    total = importance.sum(1)
    purity: Floats = (total > 0).astype(np.float64)
    if importance.shape[1] > 1:
        share = importance / np.maximum(total, 1e-300)[:, None]
        purity += (share * np.log(np.maximum(share, 1e-300))).sum(1) / np.log(importance.shape[1])
    return purity


def _balanced_accuracy(labels: Indices, predicted: Indices) -> float:
    """The mean over the classes that occur of the share that is right."""
    counts = np.bincount(labels)
    right = np.bincount(labels[labels == predicted], minlength=len(counts))
    return float((right[counts > 0] / counts[counts > 0]).mean())
