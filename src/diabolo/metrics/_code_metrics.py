"""Metrics of latent codes: active dimensions, information about the examples, classes that can be read off."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diabolo.config import require
from diabolo.errors import DataError, ShapeError
from diabolo.metrics._check import Floats, class_indices, matrix, same_width
from diabolo.metrics._estimates import Estimate, bootstrap
from diabolo.models.priors.own import CodePrior, StandardNormal

__all__ = [
    "MutualInformation",
    "active_units",
    "knn_correct",
    "marginal_kl",
    "mutual_information",
    "probe_correct",
]

CHUNK = 2_000_000  # pairs of examples at a time
ITERATIONS = 10_000  # of the linear probe, at most


@dataclass(frozen=True, eq=False)
class MutualInformation:
    """The information of latent codes about their examples, as `mutual_information` gives it.

    Attributes:
        estimate: I_q(x; z), in nats.
        bound: log n, the most that n examples can show; an estimate near it says only that there is more than that.
        marginal_kl: KL(q(z) || p(z)), in nats: the distance of the average posterior from the prior. `estimate` and it
            add up to the average KL(q(z | x) || p(z)).
        values: (n,), the terms of single examples; `estimate` is their mean.
        marginal_values: (n,), the same for `marginal_kl`.

    >>> result = mutual_information(np.array([[-9.0], [9.0]]), np.zeros((2, 1)))
    >>> round(result.estimate.value, 3), round(result.bound, 3)  # posteriors far apart: log 2 nats
    (0.693, 0.693)
    """

    estimate: Estimate
    bound: float
    marginal_kl: Estimate
    values: Floats
    marginal_values: Floats


def active_units(means: Any, threshold: float = 0.01) -> npt.NDArray[np.bool_]:
    """Whether each latent dimension is in use, (d,): the variance of its posterior mean exceeds `threshold`.

    Burda, Grosse, Salakhutdinov 2016, "Importance weighted autoencoders", section 5.2,
    https://arxiv.org/abs/1509.00519.

    Args:
        means: (n, d), the posterior means of examples.
        threshold: the variance above which a dimension is active.

    Raises:
        ConfigError: a negative threshold.
        ShapeError: no such array.
        DataError: NaN or infinite means.

    >>> means = np.random.default_rng(0).normal(size=(100, 3)) * [1.0, 0.5, 0.01]
    >>> active_units(means).tolist()
    [True, True, False]
    """
    require(threshold >= 0, "threshold", "a number of at least 0", threshold)
    active: npt.NDArray[np.bool_] = matrix(means, "means").var(0) > threshold
    return active


def mutual_information(
    means: Any,
    log_variances: Any,
    *,
    prior: CodePrior | None = None,
    draws: int = 1,
    seed: int = 0,
    limit: int = 5000,
    chunk: int = CHUNK,
) -> MutualInformation:
    """The information of latent codes about their examples, and the distance of their average from the prior.

    Hoffman, Johnson 2016, "ELBO surgery: yet another way to carve up the variational evidence lower bound": with
    q(z) = 1/n sum_j q(z | x_j) over the n examples themselves,

        I = E_i E_q(z|x_i) [log q(z | x_i) - log q(z)],   KL(q(z) || p) = E_i E_q(z|x_i) [log q(z) - log p(z)]

    I is at most log n. Time grows with n^2: of more than `limit` examples a random subset is taken, and both the
    numbers and the bound are those of the subset. The errors are those of the mean over examples.

    Args:
        means: (n, d), of the Gaussians q(z | x).
        log_variances: (n, d), of the same.
        prior: p(z); N(0, I) when left out.
        draws: latent codes drawn for each example.
        seed: of the draws, and of the choice of examples.
        limit: examples that are taken, at most.
        chunk: pairs of examples held in memory at a time.

    Raises:
        ConfigError: a setting out of range.
        ShapeError: no such arrays, or fewer than two examples.
        DataError: NaN or infinite numbers.

    >>> result = mutual_information(np.zeros((50, 2)), np.zeros((50, 2)))  # every posterior is the prior
    >>> abs(round(result.estimate.value, 6)), abs(round(result.marginal_kl.value, 6))
    (0.0, 0.0)
    """
    for name, number, least in (("draws", draws, 1), ("seed", seed, 0), ("limit", limit, 2), ("chunk", chunk, 1)):
        require(number >= least, name, f"a number of at least {least}", number)
    mean, log_variance = matrix(means, "means", 2), matrix(log_variances, "log-variances", 2)
    if mean.shape != log_variance.shape:
        raise ShapeError(
            f"There should be a log-variance for each mean, and the means have the shape {mean.shape}, the "
            f"log-variances {log_variance.shape}."
        )
    rng = np.random.default_rng(seed)
    if len(mean) > limit:
        subset = np.sort(rng.choice(len(mean), limit, replace=False))
        mean, log_variance = mean[subset], log_variance[subset]
    information, marginal = np.zeros(len(mean)), np.zeros(len(mean))
    for _ in range(draws):
        noise = rng.standard_normal(mean.shape)
        z = mean + np.exp(0.5 * log_variance) * noise
        own = -0.5 * (np.square(noise) + log_variance + math.log(2 * math.pi)).sum(1)
        average = _log_average(z, mean, log_variance, own, chunk)
        with torch.no_grad():
            log_prior = (prior or StandardNormal(z.shape[1])).log_prob(torch.from_numpy(z)).double().cpu().numpy()
        information += (own - average) / draws
        marginal += (average - log_prior) / draws
    return MutualInformation(
        bootstrap(information, seed=seed),
        math.log(len(mean)),
        bootstrap(marginal, seed=seed),
        information,
        marginal,
    )


def marginal_kl(means: Any, log_variances: Any, **options: Any) -> Estimate:
    """KL(q(z) || p(z)) of the average posterior, in nats; arguments and errors as in `mutual_information`.

    >>> means = np.random.default_rng(0).normal(size=(500, 1)) + 3.0  # codes that the prior hardly ever draws
    >>> marginal_kl(means, np.full((500, 1), -2.0)).value > 3
    True
    """
    return mutual_information(means, log_variances, **options).marginal_kl


def _log_average(z: Floats, mean: Floats, log_variance: Floats, own: Floats, chunk: int) -> Floats:
    """Log of 1/n sum_j q(z_i | x_j) for each i, (n,).

    The square (z - m)^2 is expanded, so that all pairs become two products of matrices. That loses digits where the
    square is small, which is at i = j: those entries are replaced by `own`, log q(z_i | x_i), which is exact.
    """
    count, dim = mean.shape
    centre = mean.mean(0)
    z, mean = z - centre, mean - centre
    precision = np.exp(-log_variance)
    constant = (np.square(mean) * precision + log_variance).sum(1) + dim * math.log(2 * math.pi)
    linear, squares = (mean * precision).T, precision.T
    average = np.empty(count)
    rows = max(1, chunk // count)
    for start in range(0, count, rows):
        part = slice(start, min(start + rows, count))
        logs = z[part] @ linear - 0.5 * (np.square(z[part]) @ squares + constant)
        places = np.arange(part.start, part.stop)
        logs[places - start, places] = own[part]
        most = logs.max(1, keepdims=True)
        average[part] = most[:, 0] + np.log(np.exp(logs - most).sum(1))
    return average - math.log(count)


def knn_correct(train_codes: Any, train_labels: Any, test_codes: Any, test_labels: Any, k: int = 10) -> Floats:
    """Whether the k nearest training codes vote for the class of each test example: 1 or 0, (n,).

    Distances are Euclidean in the codes as they are; of classes with as many votes, the one that sorts first wins. A
    class that no training example has is never right.

    Args:
        train_codes: (m, d).
        train_labels: (m,), their classes.
        test_codes: (n, d).
        test_labels: (n,), their classes.
        k: neighbours that vote.

    Raises:
        ConfigError: k below 1.
        ShapeError: shapes that do not fit.
        DataError: fewer than k training examples, labels that are missing, continuous or all the same, NaN codes.

    >>> codes, labels = [[0.0], [0.1], [5.0], [5.1]], ["a", "a", "b", "b"]
    >>> knn_correct(codes, labels, [[0.2], [4.0]], ["a", "a"], k=2).tolist()
    [1.0, 0.0]
    """
    require(k >= 1, "k", "a number of at least 1", k)
    from sklearn.neighbors import KNeighborsClassifier

    task = _Task.of(train_codes, train_labels, test_codes, test_labels)
    if len(task.train) < k:
        raise DataError(
            f"{k} nearest neighbours need at least {k} training examples, and {len(task.train)} were given: give more, "
            "or choose a smaller k."
        )
    return task.correct(KNeighborsClassifier(k).fit(task.train, task.train_labels).predict(task.test))


def probe_correct(train_codes: Any, train_labels: Any, test_codes: Any, test_labels: Any) -> Floats:
    """Whether a linear classifier that was trained on training codes gets each test example's class: 1 or 0, (n,).

    Multinomial logistic regression with an L2 penalty (C = 1) on codes that are brought to mean 0 and deviation 1 in
    each dimension by the training codes' statistics, run until it converges. A class that no training example has is
    never right.

    Args:
        train_codes: (m, d).
        train_labels: (m,), their classes.
        test_codes: (n, d).
        test_labels: (n,), their classes.

    Raises:
        ShapeError: shapes that do not fit.
        DataError: labels that are missing, continuous or all the same; NaN codes; a fit that does not converge.

    >>> codes, labels = [[0.0], [0.1], [5.0], [5.1]], ["a", "a", "b", "b"]
    >>> probe_correct(codes, labels, [[0.2], [4.0]], ["a", "b"]).tolist()
    [1.0, 1.0]
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    task = _Task.of(train_codes, train_labels, test_codes, test_labels)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            probe.fit(task.train, task.train_labels)
        except ConvergenceWarning as error:
            raise DataError(
                f"The linear probe did not converge in {ITERATIONS:,} steps: are there codes of enormous size?"
            ) from error
    return task.correct(probe.predict(task.test))


@dataclass(frozen=True, eq=False)
class _Task:
    """Training and test codes with their classes; a class of the test codes alone has index -1."""

    train: Floats
    train_labels: npt.NDArray[np.int64]
    test: Floats
    test_labels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, train_codes: Any, train_labels: Any, test_codes: Any, test_labels: Any) -> _Task:
        train, test = matrix(train_codes, "training codes"), matrix(test_codes, "test codes")
        same_width(train, test, "codes")
        train_indices, classes = class_indices(train_labels, len(train), "training labels")
        test_indices, others = class_indices(test_labels, len(test), "test labels")
        if len(classes) < 2:
            raise DataError(
                f"All {len(train):,} training labels are {classes[0]!s}: there is nothing to tell apart. Give examples "
                "of at least two classes; are the examples sorted, and only their beginning was taken?"
            )
        index = {name: place for place, name in enumerate(classes.tolist())}
        places = np.array([index.get(name, -1) for name in others.tolist()], np.int64)
        if (places < 0).all():
            raise DataError(
                f"None of the test labels ({others[0]!r}, ...) is among the training labels ({classes[0]!r}, ...): "
                "were they written in two ways?"
            )
        return cls(train, train_indices, test, places[test_indices])

    def correct(self, predicted: npt.NDArray[Any]) -> Floats:
        right: Floats = (predicted == self.test_labels).astype(np.float64)
        return right
