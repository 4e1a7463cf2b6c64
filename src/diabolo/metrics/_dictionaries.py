"""Dictionaries beside the true one, and the variance that they explain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["DictionaryScores", "compare_dictionaries", "explained_variance"]

Floats = npt.NDArray[np.floating]


class DictionaryScores(NamedTuple):
    """How well the units of a model are those that made the data.

    Attributes:
        mcc: the mean cosine, or correlation, of units and true ones, matched one to one; of the fewer of the two.
        f1: the mean over units of the F1 score with which each tells that its own true one is active.

    >>> DictionaryScores(mcc=0.92, f1=0.88).f1
    0.88
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
    """1 - the squared error over the variance of the examples, (n, ...) both.

    >>> explained_variance(np.array([[0.0], [2.0]]), np.array([[0.0], [1.0]]))
    0.5
    """
    flat, copies = x.reshape(len(x), -1), reconstructions.reshape(len(x), -1)
    left, spread = np.square(flat - copies).sum(), np.square(flat - flat.mean(0)).sum()
    return float(1 - left / max(float(spread), 1e-30))
