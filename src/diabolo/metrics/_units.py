"""The family of metrics of codes of few active units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diabolo.metrics._context import EvaluationContext
from diabolo.metrics._dictionaries import Floats, compare_dictionaries, explained_variance
from diabolo.metrics._estimates import Estimate, bootstrap, count_from_resamples
from diabolo.metrics._registry import metric_family
from diabolo.metrics._scorecard import Measurement

__all__ = ["measure_units"]

SPARSE = 0.5  # of the numbers of a code are zero at least, where its units are counted
RESAMPLES = 200


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
    yield Measurement("l0", "L0, units of an example", f"of {d}", bootstrap(each), "", how, values=each)
    rng = np.random.default_rng(context.seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float32)
    densities = weights @ active.astype(np.float32) / count
    own = active.mean(0)
    for name, title, unit, better, value, values, most in (
        ("dead_units", "dead units", f"of {d}", "lower", (own == 0).sum(), (densities == 0).sum(1), d),
        ("density", "density", "of examples", "", _median(own), np.array([_median(row) for row in densities]), 1),
    ):
        estimate = count_from_resamples(float(value), values, count, 0, most)
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
