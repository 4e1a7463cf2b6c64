"""The families of metrics that diabolo brings, beside the bounds: pixels, codes, labels, samples, factors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diabolo.errors import ConfigError, DiaboloError
from diabolo.metrics._code_metrics import active_units, knn_correct, mutual_information, probe_correct
from diabolo.metrics._context import EvaluationContext
from diabolo.metrics._estimates import Estimate, bootstrap
from diabolo.metrics._factors import dci, factor_vae_score, mig, sap
from diabolo.metrics._features import Extractor, features
from diabolo.metrics._neighbourhoods import precision_and_recall
from diabolo.metrics._pixels import psnr, squared_error, ssim
from diabolo.metrics._registry import metric_family
from diabolo.metrics._samples import frechet_distance, kernel_distance
from diabolo.metrics._scorecard import Measurement
from diabolo.models.principal import PrincipalComponents

__all__ = [
    "measure_baseline",
    "measure_codes",
    "measure_factors",
    "measure_labels",
    "measure_pixels",
    "measure_samples",
]

NEIGHBOURS = 10
NEAREST = 3  # neighbours that a neighbourhood of samples reaches to
GENERATED = 10_000  # samples from the prior, at most


@metric_family("pixels", "mse", "psnr", "ssim")
def measure_pixels(context: EvaluationContext) -> Iterator[Measurement]:
    """Mean squared error, PSNR and SSIM of reconstructions."""
    error = squared_error(context.scaled(context.x), context.scaled(context.reconstructions))
    yield Measurement(
        "mse", "mean squared error", "per value", bootstrap(error), "lower",
        f"reconstruction of the code's mean{context.scaling}", context.units, error,
    )  # fmt: skip
    if not context.is_image:
        context.left_out.append("PSNR and SSIM: the examples are no images.")
        return
    originals, copies = context.displayed(context.x), context.displayed(context.reconstructions).clip(0, 1)
    ratio = psnr(originals, copies)
    yield Measurement("psnr", "PSNR", "dB", bootstrap(ratio), "higher", "peak 1, mean over images", "", ratio)
    likeness = ssim(originals, copies, context.model.layout)
    how = "Gaussian window of 11 pixels, deviation 1.5"
    yield Measurement("ssim", "SSIM", "", bootstrap(likeness), "higher", how, "", likeness)


@metric_family("baseline", "pca")
def measure_baseline(context: EvaluationContext) -> Iterator[Measurement]:
    """The mean squared error of PCA with as many components as the latent code has dimensions, or uses of many."""
    if context.model.model.objective.entries:
        context.left_out.append("PCA of the code's size: its numbers are written with tokens, and PCA's are not.")
        return
    if context.reference is None:
        context.left_out.append("PCA of the code's size: there are no training examples to fit it to.")
        return
    preprocess = context.model.model.preprocess
    examples = context.reference[0][: PrincipalComponents.most_examples(preprocess.values)]
    count = context.model.latent_dim
    if context.model.model.counts_units:
        count = max(1, round(float(np.count_nonzero(context.codes)) / len(context.codes)))
    components = PrincipalComponents.fit(preprocess, examples, count, context.seed)
    errors = components.errors(preprocess, context.x)
    yield Measurement(
        "pca", "mean squared error of PCA", "per value", bootstrap(errors), "",
        f"{components.count} components of {components.examples:,} training examples, the same examples",
        context.units, errors,
    )  # fmt: skip


@metric_family("codes", "active_units", "mutual_information", "marginal_kl")
def measure_codes(context: EvaluationContext) -> Iterator[Measurement]:
    """Active units; for codes with a density, mutual information and the KL of the average code."""
    codes, d = context.codes.astype(np.float64), context.model.latent_dim
    active = int(np.sum(active_units(codes)))
    rng = np.random.default_rng(context.seed)
    # A bootstrap of a count: resampling by weights turns 200 variances into two products of matrices.
    shares = rng.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=200) / len(codes)
    centred = codes - codes.mean(0)
    counts = (shares @ centred**2 - (shares @ centred) ** 2 > 0.01).sum(1)
    low, high = np.quantile(counts, [0.025, 0.975])
    yield Measurement(
        "active_units", "active units", f"of {d}", Estimate(active, low, high, float(counts.std()), len(codes)), "",
        "variance of the posterior mean above 0.01",
    )  # fmt: skip
    posterior = context.posterior()
    if posterior is None:
        why = "the codes are points" if not context.model.has_density else "it needs independent dimensions"
        context.left_out.append(f"Mutual information: {why}.")
        return
    prior = context.model.own_prior
    shared = mutual_information(*posterior, prior=prior, seed=context.seed)
    yield Measurement(
        "mutual_information", "mutual information", "nats", shared.estimate, "",
        f"of x and z under q, at most log n = {shared.bound:.2f} (Hoffman & Johnson 2016)", "the number of examples",
    )  # fmt: skip
    if prior is None:
        context.left_out.append("KL of the average code: this model's variant has no prior.")
        return
    yield Measurement(
        "marginal_kl", "KL of the average code", "nats", shared.marginal_kl, "lower",
        f"KL(q(z) || {prior}): how far codes drawn from the prior are from the examples'", "the number of examples",
    )  # fmt: skip


@metric_family("labels", "knn", "probe")
def measure_labels(context: EvaluationContext) -> Iterator[Measurement]:
    """The accuracy of nearest neighbours and of a linear probe on latent codes."""
    if context.labels is None or context.reference is None or context.reference[1] is None:
        context.left_out.append("k-NN and linear probe: there are no labels.")
        return
    x, y = context.reference_codes, context.reference[1]
    classifiers = [
        ("knn", f"{NEIGHBOURS}-NN accuracy", knn_correct, {"k": NEIGHBOURS}, f"{NEIGHBOURS} nearest codes"),
        ("probe", "linear probe accuracy", probe_correct, {}, "logistic regression on codes"),
    ]
    for name, title, correct, options, how in classifiers:
        if name not in context.metrics:
            continue
        try:
            right = 100.0 * correct(x, y, context.codes, context.labels, **options)
        except DiaboloError as error:
            context.left_out.append(f"{title}: {error}")
            continue
        how = f"{how}, learned from {len(x):,} training examples"
        yield Measurement(name, title, "%", bootstrap(right), "higher", how, "", right)


@metric_family("samples", "fid", "kid", "precision", "recall")
def measure_samples(context: EvaluationContext) -> Iterator[Measurement]:
    """FID, KID, precision and recall of samples from the prior against the examples."""
    model, count = context.model, min(GENERATED, len(context.x))
    try:
        samples = model.sample(count, seed=context.seed)
    except ConfigError:
        context.left_out.append("Sample quality: nothing to draw codes from (fit_prior fits a prior).")
        return
    extractor = _extractor(context)
    if extractor is None:
        return
    prior = "fitted prior" if model.prior is not None else str(model.own_prior)
    sets = (samples, context.x[:count])
    a, b = (extractor(context.displayed(x) if context.is_image else x, model.layout) for x in sets)
    for name, title, distance, what in (
        ("fid", "FID", frechet_distance, "Frechet distance"),
        ("kid", "KID", kernel_distance, "kernel distance"),
    ):
        if name not in context.metrics:
            continue
        how = f"{what}, {count:,} samples from {prior} against the examples; {extractor.name}"
        yield Measurement(name, title, "", distance(a, b), "lower", how, f"{extractor.name}, {count:,} samples")
    if count <= NEAREST or not {"precision", "recall"} & context.metrics:
        return
    coverage = precision_and_recall(a, b, neighbours=NEAREST)
    for name, inside, how in (
        ("precision", coverage.precise, f"of {count:,} samples from {prior}, those among the examples"),
        ("recall", coverage.recalled, f"of the examples, those among {count:,} samples from {prior}"),
    ):
        how = f"{how}, by {NEAREST} nearest neighbours (Kynkaanniemi et al. 2019); {extractor.name}"
        yield Measurement(
            name, f"{name} of samples", "%", bootstrap(100.0 * inside), "higher", how,
            f"{extractor.name}, {count:,} samples",
        )  # fmt: skip


def _extractor(context: EvaluationContext) -> Extractor | None:
    """The extractor that the context names; a classifier learns from the training examples."""
    model, name = context.model, context.extractor
    has_labels = context.reference is not None and context.reference[1] is not None
    if name == "auto":
        name = "classifier" if has_labels else "random"
    if name == "inception":
        return features("inception", weights=context.weights)
    if name == "random":
        reference = None if context.is_image else context.x
        return features("random", event_shape=model.event_shape, layout=model.layout, reference=reference)
    if context.reference is None or not has_labels:
        raise ConfigError("The classifier's features need labelled training examples: choose random or inception.")
    x, y = context.reference
    return features(
        "classifier", x=context.displayed(x) if context.is_image else x, labels=y, layout=model.layout, seed=0
    )


@metric_family("factors", "mig", "dci_disentanglement", "dci_completeness", "dci_informativeness", "sap", "factor_vae")
def measure_factors(context: EvaluationContext) -> Iterator[Measurement]:
    """Measures of disentanglement, where the factors that made the examples are known."""
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
