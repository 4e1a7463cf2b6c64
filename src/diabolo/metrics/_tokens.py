"""How a codebook is used, over all examples at once: shares of a batch say nothing of rare entries."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diabolo.metrics._context import EvaluationContext
from diabolo.metrics._estimates import Estimate
from diabolo.metrics._registry import metric_family
from diabolo.metrics._scorecard import Measurement

__all__ = ["measure_tokens"]

RESAMPLES = 200


@metric_family("tokens", "usage", "perplexity", "token_bits")
def measure_tokens(context: EvaluationContext) -> Iterator[Measurement]:
    """The entries in use, their perplexity, and the bits that tokens take by their frequencies; for codebooks alone."""
    entries = context.model.model.objective.entries
    if not entries:
        return
    tokens = context.model.tokens(context.x, context.own_labels).reshape(len(context.x), -1)
    each = np.stack([np.bincount(row, minlength=entries) for row in tokens])
    rng = np.random.default_rng(context.seed)
    weights = rng.multinomial(len(each), np.full(len(each), 1 / len(each)), size=RESAMPLES)
    resampled = weights @ each
    for name, title, unit, of in (
        ("usage", "codebook entries in use", f"of {entries}", lambda counts: (counts > 0).sum(-1)),
        ("perplexity", "perplexity of the codebook", f"of {entries}", lambda counts: 2 ** _bits(counts)),
        ("token_bits", "bits of the tokens", "per example", lambda counts: tokens.shape[1] * _bits(counts)),
    ):
        low, high = np.quantile(of(resampled), [0.025, 0.975])
        estimate = Estimate(float(of(each.sum(0))), float(low), float(high), float(of(resampled).std()), len(each))
        how = f"by the frequencies of all {tokens.size:,} tokens of the examples"
        yield Measurement(name, title, unit, estimate, "", how, "the number of examples")


def _bits(counts: np.ndarray) -> np.ndarray:
    """The entropy of the shares along the last axis, in bits."""
    shares = counts / counts.sum(-1, keepdims=True)
    found: np.ndarray = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(-1)
    return found
