"""Codes of few active units: how many, which are dead, what they explain, and whether they are the true ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from diabolo.metrics._context import EvaluationContext
from diabolo.metrics._estimates import Estimate, bootstrap
from diabolo.metrics._registry import metric_family
from diabolo.metrics._scorecard import Measurement

__all__ = ["DictionaryScores", "compare_dictionaries", "explained_variance", "measure_units"]

Floats = npt.NDArray[np.floating]

SPARSE = 0.5  # of the numbers of a code are zero at least, where its units are counted
RESAMPLES = 200


class DictionaryScores(NamedTuple):
    """How well the units of a model are those that made the data.

    Attributes:
        mcc: the mean cosine, or correlation, of units and true ones, matched one to one; of the fewer of the two.
        f1: the mean over units of the F1 score with which each tells that its own true one is active.
    """

    mcc: float
    f1: float


def compare_dictionaries(
    codes: Floats, factors: Floats, directions: Floats | None = None, truth: Floats | None = None
) -> DictionaryScores:
    """The scores of SynthSAEBench (Chanin, Garriga-Alonso 2026, https://arxiv.org/abs/2602.14687).

    Args:
        codes: (n, d), activations of the model's units; one is active where its number is not zero.
        factors: (n, F), those that made the examples.
        directions: (d, D), the decoder's, and
        truth: (F, D), the true ones, by which units are matched; without them, by the correlation of activations.

    >>> factors = np.random.default_rng(0).random((200, 3)).clip(0.7) - 0.7
    >>> scores = compare_dictionaries(factors[:, [2, 0, 1]], factors)
    >>> round(scores.mcc, 4), round(scores.f1, 4)
    (1.0, 1.0)
    """
    from scipy.optimize import linear_sum_assignment

    if directions is None or truth is None:
        directions, truth = (columns.T - columns.T.mean(1, keepdims=True) for columns in (codes, factors))
    ours, theirs = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (directions, truth)
    )
    cosines = ours @ theirs.T
    rows, columns = linear_sum_assignment(-np.abs(cosines))
    best = cosines.argmax(1)
    active, wanted = codes != 0, factors[:, best] > 0
    both = (active & wanted).sum(0)
    f1 = 2 * both / np.maximum(active.sum(0) + wanted.sum(0), 1)
    return DictionaryScores(float(np.abs(cosines[rows, columns]).mean()), float(f1.mean()))


def explained_variance(x: Floats, reconstructions: Floats) -> float:
    """1 - the squared error over the variance of the examples, (n, ...) both."""
    flat, copies = x.reshape(len(x), -1), reconstructions.reshape(len(x), -1)
    left, spread = np.square(flat - copies).sum(), np.square(flat - flat.mean(0)).sum()
    return float(1 - left / max(float(spread), 1e-30))


@metric_family("units", "l0", "dead_units", "density", "explained_variance", "unit_f1", "unit_mcc")
def measure_units(context: EvaluationContext) -> Iterator[Measurement]:
    """The active units of codes whose numbers are mostly zero; with known factors, whether they are these."""
    model = context.model.model
    if not model.objective.overcomplete or model.objective.entries or (context.codes == 0).mean() < SPARSE:
        return
    active = context.codes != 0
    count, d = active.shape
    each = active.sum(1)
    how = "numbers of its code that are not zero"
    yield Measurement("l0", "active units", f"of {d}, per example", bootstrap(each), "", how, values=each)
    rng = np.random.default_rng(context.seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float32)
    densities = weights @ active.astype(np.float32) / count
    own = active.mean(0)
    for name, title, unit, better, value, values in (
        ("dead_units", "dead units", f"of {d}", "lower", (own == 0).sum(), (densities == 0).sum(1)),
        ("density", "density", "of examples", "", _median(own), np.array([_median(row) for row in densities])),
    ):
        low, high = np.quantile(values, [0.025, 0.975])
        estimate = Estimate(float(value), float(low), float(high), float(values.std()), count)
        how = "active in none of the examples" if name == "dead_units" else "of a unit: the median of those not dead"
        yield Measurement(name, title, unit, estimate, better, how, "the number of examples")
    x = context.x.reshape(count, -1).astype(np.float64)
    left = np.square(x - context.reconstructions.reshape(count, -1)).sum(1)
    spread = np.square(x - x.mean(0)).sum(1)
    shares = 1 - (weights @ left) / np.maximum(weights @ spread, 1e-30)
    low, high = np.quantile(shares, [0.025, 0.975])
    value = explained_variance(x, context.reconstructions)
    estimate = Estimate(value, float(low), float(high), float(shares.std()), count)
    yield Measurement("explained_variance", "variance explained", "", estimate, "higher", "1 - error / variance")
    if context.factors is None or not (context.factors == 0).any():
        return
    scores = compare_dictionaries(context.codes, context.factors)
    for name, title, value in (("unit_f1", "F1 of units", scores.f1), ("unit_mcc", "MCC of units", scores.mcc)):
        estimate = Estimate(value, value, value, 0.0, count)
        yield Measurement(name, title, "", estimate, "higher", "units and known factors, matched by their activations")


def _median(shares: Floats) -> float:
    """The median of those above zero; 0 where there are none."""
    alive = shares[shares > 0]
    return float(np.median(alive)) if len(alive) else 0.0
