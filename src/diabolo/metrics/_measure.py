"""Every metric that applies to a model and its data, in one scorecard."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.config import as_path, as_whole_number, require
from diabolo.errors import DataError, ShapeError, unknown_name
from diabolo.metrics import _bounds, _families, _tokens, _units  # noqa: F401 (each registers its families on import)
from diabolo.metrics._context import EvaluationContext
from diabolo.metrics._registry import families, resolve_metrics
from diabolo.metrics._scorecard import Scorecard

__all__ = ["measure_model"]

REFERENCE = 10_000  # training examples that a probe learns from
MOST = 1_000_000  # importance samples of an example
EXTRACTORS = ("auto", "classifier", "random", "inception")


def measure_model(  # noqa: PLR0913
    model: Autoencoder,
    x: Any,
    *,
    labels: Any = None,
    reference: Any = None,
    reference_labels: Any = None,
    factors: Any = None,
    metrics: Sequence[str] | None = None,
    samples: int = 100,
    likelihood_examples: int = 1000,
    extractor: str = "auto",
    weights: str | None = None,
    seed: int = 0,
    name: str = "model",
    data: str = "an array",
    protocol: Sequence[str] = (),
) -> Scorecard:
    """Measures a model on examples that it was not trained on.

    Args:
        model: the trained model.
        x: (n, *event), the examples.
        labels: (n,), their classes, where they have some.
        reference: (m, *event), training examples, from which probes and features learn.
        reference_labels: (m,), their classes.
        factors: (n, F), the known factors that made the examples, for measures of disentanglement.
        metrics: names of metrics or families; everything that applies when left out.
        samples: importance samples for the likelihood; 0 leaves it out.
        likelihood_examples: how many examples it is estimated on.
        extractor: of the features of FID and KID: auto (classifier where there are labels, else random), classifier,
            random or inception.
        weights: a file of Inception's weights.
        seed: of all that is drawn.
        name: the model's, in the table.
        data: the data's, in the table.
        protocol: sentences about the data, for the table.

    Raises:
        ConfigError: an unknown metric or extractor.
        ShapeError: labels or factors that are not one for each example.
        DataError: fewer than two examples.

    >>> import diabolo
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> card = measure_model(model, model.examples, metrics=["pixels"])
    >>> [measurement.name for measurement in card.measurements], card["mse"].estimate.count
    (['mse', 'psnr', 'ssim'], 100)
    """
    names = resolve_metrics(metrics)
    require(0 <= as_whole_number("samples", samples) <= MOST, "samples", f"a number between 0 and {MOST:,}", samples)
    count = as_whole_number("likelihood_examples", likelihood_examples)
    require(count >= 1, "likelihood_examples", "a number of at least 1", likelihood_examples)
    require(as_whole_number("seed", seed) >= 0, "seed", "a number of at least 0", seed)
    seed = as_whole_number("seed", seed) % 2**32  # scikit-learn takes no larger ones
    if weights is not None:
        as_path("weights", weights)
    if extractor not in EXTRACTORS:
        raise unknown_name("feature extractor", extractor, EXTRACTORS)
    values = np.asarray(x)
    if len(values) < 2:
        raise DataError(f"An evaluation needs at least 2 examples, and was given {len(values)}.")
    training = None
    if reference is not None:
        column = _column(reference_labels, len(reference), "reference labels")
        training = (np.asarray(reference)[:REFERENCE], None if column is None else column[:REFERENCE])
    table = None if factors is None else np.asarray(factors)
    if table is not None and len(table) != len(values):
        raise ShapeError(f"There are {len(table):,} rows of factors for {len(values):,} examples: give one for each.")
    context = EvaluationContext(
        model,
        values,
        _column(labels, len(values), "labels"),
        training,
        table,
        samples,
        likelihood_examples,
        extractor,
        weights,
        names,
        seed,
    )
    measurements = [one for family in families.values() for one in family.measurements(context)]
    digest = hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=10).hexdigest()
    return Scorecard(
        name,
        data,
        len(values),
        digest,
        (
            *protocol,
            f"Errors are standard errors over the examples (1,000 bootstrap resamples); seed {seed}; the examples' "
            f"fingerprint {digest}.",
        ),
        tuple(measurements),
        tuple(context.left_out),
        context.details,
    )


def _column(labels: Any, count: int, what: str) -> np.ndarray | None:
    if labels is None:
        return None
    column = np.asarray(labels)
    if column.shape != (count,):
        raise ShapeError(f"The {what} should have the shape ({count},), one for each example, and have {column.shape}.")
    return column
