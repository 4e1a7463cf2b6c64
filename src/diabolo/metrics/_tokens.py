"""How a codebook is used, over all examples at once: shares of a batch say nothing of rare entries."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diabolo.metrics._context import EvaluationContext
from diabolo.metrics._estimates import count_from_resamples
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
    count, positions = tokens.shape
    rng = np.random.default_rng(context.seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    # By the tokens, and not by a table of examples and entries: that of 10,000 and 65,536 would take gigabytes.
    resampled = np.stack(
        [np.bincount(tokens.ravel(), np.repeat(row, positions), entries).astype(np.int64) for row in weights]
    )
    own = np.bincount(tokens.ravel(), minlength=entries)
    for name, title, unit, of, least, most in (
        ("usage", "codebook entries in use", f"of {entries}", lambda counts: (counts > 0).sum(-1), 1, entries),
        ("perplexity", "perplexity of the codebook", f"of {entries}", lambda counts: 2 ** _bits(counts), 1, entries),
        ("token_bits", "bits of the tokens", "per example", lambda counts: positions * _bits(counts), 0, math.inf),
    ):
        estimate = count_from_resamples(float(of(own)), of(resampled), count, least, most)
        how = f"by the frequencies of all {tokens.size:,} tokens of the examples"
        yield Measurement(name, title, unit, estimate, "", how, "the number of examples")


def _bits(counts: np.ndarray) -> np.ndarray:
    """The entropy of the shares along the last axis, in bits."""
    shares = counts / counts.sum(-1, keepdims=True)
    found: np.ndarray = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(-1)
    return found
