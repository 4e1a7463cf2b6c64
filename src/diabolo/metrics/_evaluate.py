"""`evaluate`: every metric that applies to a model and its data, in one scorecard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.config import require
from diabolo.errors import ConfigError, DataError, DiaboloError, ShapeError, unknown_name
from diabolo.metrics._bounds import measure_bounds
from diabolo.metrics._code_metrics import active_units, knn_correct, mutual_information, probe_correct
from diabolo.metrics._context import FAMILIES, EvaluationContext
from diabolo.metrics._estimates import Estimate, bootstrap
from diabolo.metrics._factors import dci, factor_vae_score, mig, sap
from diabolo.metrics._features import Extractor, features
from diabolo.metrics._pixels import psnr, squared_error, ssim
from diabolo.metrics._samples import frechet_distance, kernel_distance
from diabolo.metrics._scorecard import Measurement, Scorecard

__all__ = ["evaluate_model", "metric_names"]

NEIGHBOURS = 10
REFERENCE = 10_000  # training examples that a probe learns from
GENERATED = 10_000
EXTRACTORS = ("auto", "classifier", "random", "inception")


def metric_names() -> tuple[str, ...]:
    """What may be asked for: families and single metrics."""
    return (*FAMILIES, *(name for names in FAMILIES.values() for name in names))


def evaluate_model(  # noqa: PLR0913
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
        reference: (m, *event), training examples: what probes learn from, and what features are trained on.
        reference_labels: (m,), their classes.
        factors: (n, F), the known factors that made the examples, for measures of disentanglement.
        metrics: what to measure, by name or family; everything that applies when left out.
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
    """
    wanted = _wanted(metrics)
    require(samples >= 0, "samples", "a number of at least 0", samples)
    require(likelihood_examples >= 1, "likelihood_examples", "a number of at least 1", likelihood_examples)
    require(seed >= 0, "seed", "a number of at least 0", seed)
    if extractor not in EXTRACTORS:
        raise unknown_name("feature extractor", extractor, EXTRACTORS)
    values = np.asarray(x)
    if len(values) < 2:
        raise DataError(f"An evaluation needs at least 2 examples, and was given {len(values)}.")
    learned = None
    if reference is not None:
        learned = (np.asarray(reference)[:REFERENCE], _column(reference_labels, len(reference), "reference labels"))
        learned = (learned[0], None if learned[1] is None else learned[1][:REFERENCE])
    table = None if factors is None else np.asarray(factors)
    if table is not None and len(table) != len(values):
        raise ShapeError(f"There are {len(table):,} rows of factors for {len(values):,} examples: give one for each.")
    context = EvaluationContext(
        model,
        values,
        _column(labels, len(values), "labels"),
        learned,
        table,
        samples,
        likelihood_examples,
        extractor,
        weights,
        wanted,
        seed,
    )
    found = [
        measurement
        for family, measure in _MEASURES.items()
        if context.wants(family)
        for measurement in measure(context)
        if measurement.name in wanted
    ]
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
        tuple(found),
        tuple(context.left_out),
        context.details,
    )


def _wanted(metrics: Sequence[str] | None) -> frozenset[str]:
    if metrics is None:
        return frozenset(name for names in FAMILIES.values() for name in names)
    wanted: set[str] = set()
    for name in metrics:
        if name not in metric_names():
            raise unknown_name("metric", name, metric_names())
        wanted.update(FAMILIES.get(name, (name,)))
    if not wanted:
        raise ConfigError("No metric was named: leave metrics out to measure all that apply.")
    return frozenset(wanted)


def _column(labels: Any, count: int, what: str) -> np.ndarray | None:
    if labels is None:
        return None
    column = np.asarray(labels)
    if column.shape != (count,):
        raise ShapeError(f"The {what} should have the shape ({count},), one for each example, and have {column.shape}.")
    return column


def _pixels(context: EvaluationContext) -> Iterator[Measurement]:
    x = context.x / np.float32(255) if context.x.dtype == np.uint8 else context.x
    error = squared_error(x, context.rebuilt)
    yield Measurement(
        "mse", "mean squared error", "per value", bootstrap(error), "lower", "reconstruction of the code's mean",
        "the units of the data", error,
    )  # fmt: skip
    if not context.is_image:
        context.left_out.append("PSNR and SSIM: the examples are no images.")
        return
    shown, again = context.shown(context.x), context.shown(context.rebuilt).clip(0, 1)
    ratio = psnr(shown, again)
    yield Measurement("psnr", "PSNR", "dB", bootstrap(ratio), "higher", "peak 1, mean over images", "", ratio)
    likeness = ssim(shown, again, context.model.layout)
    how = "Gaussian window of 11 pixels, deviation 1.5"
    yield Measurement("ssim", "SSIM", "", bootstrap(likeness), "higher", how, "", likeness)


def _codes(context: EvaluationContext) -> Iterator[Measurement]:
    codes, d = context.codes.astype(np.float64), context.model.latent_dim
    active = int(np.sum(active_units(codes)))
    rng = np.random.default_rng(context.seed)
    picked = rng.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=200) / len(codes)
    centred = codes - codes.mean(0)
    resampled = (picked @ centred**2 - (picked @ centred) ** 2 > 0.01).sum(1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    yield Measurement(
        "active_units", "active units", f"of {d}", Estimate(active, low, high, float(resampled.std()), len(codes)), "",
        "variance of the posterior mean above 0.01",
    )  # fmt: skip
    posterior = context.posterior()
    if posterior is None:
        context.left_out.append("Mutual information: the codes are points.")
        return
    estimate = mutual_information(*posterior, seed=context.seed)
    yield Measurement(
        "mutual_information", "mutual information", "nats", estimate.estimate, "",
        f"of x and z under q, at most log n = {estimate.bound:.2f} (Hoffman & Johnson 2016)", "the number of examples",
    )  # fmt: skip
    yield Measurement(
        "marginal_kl", "KL of the average code", "nats", estimate.marginal_kl, "lower",
        "KL(q(z) || N(0, I)): how far codes drawn from the prior are from the examples'", "the number of examples",
    )  # fmt: skip


def _labels(context: EvaluationContext) -> Iterator[Measurement]:
    if context.labels is None or context.reference is None or context.reference[1] is None:
        context.left_out.append("k-NN and linear probe: there are no labels.")
        return
    x, y = context.reference_codes, context.reference[1]
    judged = [
        ("knn", f"{NEIGHBOURS}-NN accuracy", knn_correct, {"k": NEIGHBOURS}, f"{NEIGHBOURS} nearest codes"),
        ("probe", "linear probe accuracy", probe_correct, {}, "logistic regression on codes"),
    ]
    for name, title, judge, options, how in judged:
        if name not in context.wanted:
            continue
        try:
            right = 100.0 * judge(x, y, context.codes, context.labels, **options)
        except DiaboloError as error:
            context.left_out.append(f"{title}: {error}")
            continue
        how = f"{how}, learned from {len(x):,} training examples"
        yield Measurement(name, title, "%", bootstrap(right), "higher", how, "", right)


def _samples(context: EvaluationContext) -> Iterator[Measurement]:
    model, count = context.model, min(GENERATED, len(context.x))
    try:
        made = model.sample(count, seed=context.seed)
    except ConfigError:
        context.left_out.append("Sample quality: nothing to draw codes from (fit_prior fits a prior).")
        return
    extractor = _extractor(context)
    if extractor is None:
        return
    real, own = context.x[:count], "fitted prior" if model.prior is not None else "N(0, I)"
    a, b = (extractor(context.shown(part) if context.is_image else part, model.layout) for part in (made, real))
    for name, title, distance, what in (
        ("fid", "FID", frechet_distance, "Frechet distance"),
        ("kid", "KID", kernel_distance, "kernel distance"),
    ):
        how = f"{what}, {count:,} samples from {own} against the examples; {extractor.name}"
        yield Measurement(name, title, "", distance(a, b), "lower", how, f"{extractor.name}, {count:,} samples")


def _extractor(context: EvaluationContext) -> Extractor | None:
    """The features that are asked for; trained ones learn from the training examples."""
    model, wanted = context.model, context.extractor
    labelled = context.reference is not None and context.reference[1] is not None
    if wanted == "auto":
        wanted = "classifier" if labelled else "random"
    if wanted == "inception":
        return features("inception", weights=context.weights)
    if wanted == "random":
        known = None if context.is_image else context.x
        return features("random", event_shape=model.event_shape, layout=model.layout, reference=known)
    if context.reference is None or not labelled:
        raise ConfigError("The classifier's features need labelled training examples: choose random or inception.")
    x, y = context.reference
    return features("classifier", x=context.shown(x) if context.is_image else x, labels=y, layout=model.layout, seed=0)


def _factors(context: EvaluationContext) -> Iterator[Measurement]:
    if context.factors is None:
        return
    codes, factors, seed = context.codes, context.factors, context.seed
    parts = dci(codes, factors, seed=seed)
    rows = [
        ("mig", "MIG", mig(codes, factors), "mutual information gap (Chen et al. 2018)"),
        ("dci_disentanglement", "DCI disentanglement", parts.disentanglement, "Eastwood & Williams 2018"),
        ("dci_completeness", "DCI completeness", parts.completeness, "Eastwood & Williams 2018"),
        ("dci_informativeness", "DCI informativeness", parts.informativeness, "Eastwood & Williams 2018"),
        ("sap", "SAP", sap(codes, factors), "separated attribute predictability (Kumar et al. 2018)"),
        ("factor_vae", "FactorVAE score", factor_vae_score(codes, factors, seed=seed), "Kim & Mnih 2018"),
    ]
    for name, title, value, how in rows:
        yield Measurement(name, title, "", _exact(float(value), len(codes)), "higher", how)


def _exact(value: float, count: int) -> Estimate:
    return Estimate(value, value, value, float("nan"), count)


_MEASURES: dict[str, Callable[[EvaluationContext], Iterator[Measurement]]] = {
    "bounds": measure_bounds,
    "pixels": _pixels,
    "codes": _codes,
    "labels": _labels,
    "samples": _samples,
    "factors": _factors,
}
