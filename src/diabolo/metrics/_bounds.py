"""The evidence lower bound, the likelihood and bits per value, in nats per example."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from diabolo.evaluation import scores
from diabolo.evaluation.terms import CHUNK, kl_per_dimension
from diabolo.metrics._context import EvaluationContext
from diabolo.metrics._estimates import Estimate, bootstrap
from diabolo.metrics._registry import metric_family
from diabolo.metrics._scorecard import Measurement

__all__ = ["measure_bounds"]

DRAWS = 16  # latent codes drawn for each example's bound


@metric_family("bounds", "reconstruction", "kl", "elbo", "nll", "bits_per_dim")
def measure_bounds(context: EvaluationContext) -> Iterator[Measurement]:
    """Reconstruction, KL, ELBO, NLL and bits per value; for codes that are points, the reconstruction alone."""
    if not context.model.has_bound:
        nats = np.concatenate(
            [scores.reconstruction(context.model.model, batch).cpu().numpy() for _, batch in context.batches()]
        )
        yield _of_examples(context, "reconstruction", "reconstruction", nats, f"-log p(x | z), {context.likelihood}")
        why = "variant has no prior" if context.model.has_density else "codes are points, which have no density"
        context.left_out.append(f"KL, ELBO and likelihood: this model's {why}.")
        return
    reconstruction, kl = _terms(context)
    draws = f"{DRAWS} codes an example"
    yield _of_examples(
        context,
        "reconstruction",
        "reconstruction",
        reconstruction,
        f"E[-log p(x | z)], {draws}, {context.likelihood}",
    )
    prior = str(context.model.own_prior)
    how = f"KL(q(z | x) || {prior}), {'closed form' if 'kl_per_dimension' in context.details else draws}"
    yield _of_examples(context, "kl", "KL", kl, how, like=prior)
    bound = reconstruction + kl
    yield _of_examples(context, "elbo", "negative ELBO", bound, "reconstruction + KL (beta = 1)")
    tightest, name = bound, "the negative ELBO"
    if context.samples and "nll" in context.metrics:
        tightest, measurement = _likelihood(context)
        name = "the likelihood"
        yield measurement
    bits = tightest / (context.model.model.preprocess.values * math.log(2))
    yield Measurement(
        "bits_per_dim",
        "bits per value",
        "bits",
        bootstrap(bits, seed=context.seed),
        "lower",
        f"{name} / (D log 2)",
        context.likelihood,
        bits,
    )


def _of_examples(
    context: EvaluationContext, name: str, title: str, nats: np.ndarray, how: str, like: str | None = None
) -> Measurement:
    estimate = bootstrap(nats, seed=context.seed)
    better = "" if name == "kl" else "lower"
    return Measurement(name, title, "nats", estimate, better, how, context.likelihood if like is None else like, nats)


def _terms(context: EvaluationContext) -> tuple[np.ndarray, np.ndarray]:
    """Reconstruction and KL of each example, (n,); the KL of each dimension goes to the details."""
    parts = []
    total: np.ndarray | None = None
    for number, batch in context.batches():
        model = context.model.model
        parts.append(
            [term.cpu().numpy() for term in scores.bound(model, batch, context.noise(number, DRAWS, len(batch)))]
        )
        kl = kl_per_dimension(model, model.encode(model.prepare(batch.x), batch.y), batch.y)
        if kl is not None:
            total = kl.sum(0, dtype=torch.float64).cpu().numpy() + (0 if total is None else total)
    if total is not None:
        context.details["kl_per_dimension"] = [round(float(value), 6) for value in total / len(context.x)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _likelihood(context: EvaluationContext) -> tuple[np.ndarray, Measurement]:
    """-log p(x) of each example (Burda et al. 2016), (n,), and its mean with both its errors."""
    count = min(context.likelihood_examples, len(context.x))
    steps = sorted({*(10**power for power in range(6) if 10**power < context.samples), context.samples})
    nll = np.empty((len(steps), count))
    variance = np.empty(count)
    for number, batch in context.batches(count):
        noise = context.noise(number, context.samples, len(batch))
        weights = scores.importance_weights(context.model.model, batch, noise).double().cpu()
        part = slice(number * CHUNK, number * CHUNK + len(batch))
        for row, step in enumerate(steps):
            nll[row, part] = (math.log(step) - weights[:step].logsumexp(0)).numpy()
        relative = torch.exp(weights - weights.logsumexp(0) + math.log(len(weights)))
        # The variance of log of a mean of weights, by the delta method: that of the mean over its square.
        variance[part] = relative.var(0, correction=0).numpy() / len(weights)
    sampling = math.sqrt(variance.sum()) / count
    context.details["nll_by_samples"] = {
        step: round(float(row.mean()), 4) for step, row in zip(steps, nll, strict=True)
    }
    context.details["nll_sampling_error"] = round(sampling, 6)
    estimate = bootstrap(nll[-1], seed=context.seed)
    total = math.hypot(estimate.standard_error, sampling)
    estimate = Estimate(estimate.value, estimate.low, estimate.high, total, count)
    how = f"-log p(x), {context.samples} importance samples, first {count:,} examples; sampling error {sampling:.2g}"
    like = f"{context.likelihood}, {context.samples} samples"
    return nll[-1], Measurement("nll", "negative log-likelihood", "nats", estimate, "lower", how, like, nll[-1])
