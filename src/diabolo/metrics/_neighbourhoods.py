"""Precision and recall of samples: how many look like examples, and how many examples they could be."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from diabolo.config import require
from diabolo.metrics._check import Floats, matrix, same_width

__all__ = ["Coverage", "precision_and_recall"]

BLOCK = 1024  # rows whose distances are in memory at a time


class Coverage(NamedTuple):
    """Which samples lie among the examples, and which examples among the samples.

    Attributes:
        precise: (n,), whether each sample lies in the neighbourhood of some example; the mean is the precision.
        recalled: (m,), whether each example lies in the neighbourhood of some sample; the mean is the recall.

    >>> Coverage(np.array([True, False]), np.array([True])).precise.tolist()
    [True, False]
    """

    precise: npt.NDArray[np.bool_]
    recalled: npt.NDArray[np.bool_]


def precision_and_recall(samples: Any, examples: Any, *, neighbours: int = 3) -> Coverage:
    """Precision and recall of samples by neighbourhoods.

    Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing generative models",
    https://arxiv.org/abs/1904.06991, equations 1 and 2. A row's neighbourhood is the ball about it that reaches to its
    k-th nearest neighbour in its own set. Neighbourhoods shrink as sets grow: compare only sets of the same sizes, on
    the same features. Time grows with n m.

    Args:
        samples: (n, f), features of what was drawn.
        examples: (m, f), the same features of the data.
        neighbours: k.

    Raises:
        ConfigError: k is not from 1 to one less than the smaller set.
        ShapeError: two widths, or fewer than two rows.
        DataError: NaN or infinite features.

    >>> rows = np.random.default_rng(0).normal(size=(2, 200, 2))
    >>> alike, far = precision_and_recall(*rows), precision_and_recall(rows[0] + 9, rows[1])
    >>> bool(alike.precise.mean() > 0.8), bool(far.precise.any())
    (True, False)
    """
    a, b = matrix(samples, "samples", 2), matrix(examples, "examples", 2)
    same_width(a, b, "samples")
    most = min(len(a), len(b)) - 1
    require(1 <= neighbours <= most, "neighbours", f"a number from 1 to {most}, one less than the sets", neighbours)
    return Coverage(_inside(a, b, neighbours), _inside(b, a, neighbours))


def _inside(rows: Floats, others: Floats, neighbours: int) -> npt.NDArray[np.bool_]:
    """Whether each row lies in the neighbourhood of some other, (n,)."""
    reach = _concatenated(others, others, lambda squares: np.partition(squares, neighbours, axis=1)[:, neighbours])
    found: npt.NDArray[np.bool_] = _concatenated(rows, others, lambda squares: (squares <= reach * (1 + 1e-9)).any(1))
    return found


def _concatenated(rows: Floats, others: Floats, summary: Any) -> Any:
    """A summary of the squared distances of each row from all others, block by block."""
    from sklearn.metrics.pairwise import euclidean_distances

    blocks = (euclidean_distances(rows[at : at + BLOCK], others, squared=True) for at in range(0, len(rows), BLOCK))
    return np.concatenate([summary(block) for block in blocks])
