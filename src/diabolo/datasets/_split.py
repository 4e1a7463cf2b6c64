"""Random splits into training, validation and test: of single examples in memory, of runs of examples on disk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diabolo.datasets._store import BLOCK, Indices, Store

__all__ = ["Split", "split_rows", "split_runs"]


@dataclass(frozen=True, eq=False)
class Split:
    """The indices of the training, validation and test examples: sorted int64 arrays, disjoint, together all examples.

    >>> import numpy as np
    >>> split = Split(np.array([0, 2]), np.array([1]), np.array([3]))
    >>> len(split.train), len(split.validation), len(split.test)
    (2, 1, 1)
    """

    train: Indices
    validation: Indices
    test: Indices


def split_rows(count: int, official_test: Indices | None, seed: int, validation: float, test: float) -> Split:
    """A split of single examples; a published test part becomes the test part."""
    official = np.empty(0, np.int64) if official_test is None else np.unique(official_test)
    pool = np.setdiff1d(np.arange(count, dtype=np.int64), official)
    shuffled = np.random.default_rng(seed).permutation(pool)
    tested = 0 if len(official) else min(round(test * len(pool)), len(pool) - 1)
    validated = min(round(validation * len(pool)), len(pool) - 1 - tested)
    test_rows = np.sort(shuffled[:tested])
    return Split(
        train=np.sort(shuffled[tested + validated :]),
        validation=np.sort(shuffled[tested : tested + validated]),
        test=official.astype(np.int64) if len(official) else test_rows,
    )


def split_runs(store: Store, seed: int, validation: float, test: float) -> Split:
    """A split of runs of neighbouring examples, so that a part is read from disk at about its own size.

    The last run of a part is cut, so that the numbers of examples are exact.
    """
    count = len(store)
    longest = max(1, min(BLOCK // store.example_bytes, count // 1000))
    starts = np.concatenate(
        [np.arange(a, b, longest) for a, b in zip(store.blocks[:-1].tolist(), store.blocks[1:].tolist(), strict=True)]
    )
    lengths = np.diff(np.append(starts, count))
    order = np.random.default_rng(seed).permutation(len(starts))
    ends = np.cumsum(lengths[order])
    tested = min(round(test * count), count - 1)
    validated = min(round(validation * count), count - 1 - tested)
    part = np.zeros(count, np.uint8)
    for run, end in zip(order.tolist(), ends.tolist(), strict=True):
        start, first = int(starts[run]), end - int(lengths[run])  # in the data, and in the order of the runs
        if first >= tested + validated:
            break
        of_test = max(0, min(end, tested) - first)
        of_both = min(end, tested + validated) - first
        part[start : start + of_test] = 2
        part[start + of_test : start + of_both] = 1
    return Split(*(np.flatnonzero(part == number).astype(np.int64, copy=False) for number in (0, 1, 2)))
