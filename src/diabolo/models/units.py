"""Codes whose numbers are mostly zero, written as the others: what dictionaries are decoded from."""

from __future__ import annotations

import threading
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["RECORDING", "Units", "is_recorded", "sums_of"]


class _Recording(threading.local):
    """Whether this thread records operations for a compiler."""

    is_on = False


RECORDING = _Recording()


def is_recorded() -> bool:
    """Whether operations are recorded, for a compiler, of which no size may depend on values."""
    return RECORDING.is_on or torch.compiler.is_compiling()


class Units(NamedTuple):
    """The active units of B codes, example by example.

    Dense codes that are made of them pass a gradient to these units alone.

    Attributes:
        values: (n,), their activations.
        numbers: (n,) int64, which units they are, below `width`.
        offsets: (B + 1,) int64, where the units of each example begin, and n.
        width: the numbers of a code, d.

    >>> units = Units(torch.tensor([5.0, 6.0, 7.0]), torch.tensor([0, 2, 1]), torch.tensor([0, 2, 3]), 3)
    >>> units.dense().tolist(), units.rows.tolist()
    ([[5.0, 0.0, 6.0], [0.0, 7.0, 0.0]], [0, 0, 1])
    """

    values: Tensor
    numbers: Tensor
    offsets: Tensor
    width: int

    @classmethod
    def at(cls, features: Tensor, flat: Tensor) -> Units:
        """The units at some places of (B, d) numbers, which are counted row by row, ascending, (n,)."""
        count, width = features.shape
        rows = torch.div(flat, width, rounding_mode="floor")
        counts = torch.zeros(count, dtype=torch.int64, device=rows.device).index_add(0, rows, torch.ones_like(rows))
        values = features.flatten().gather(0, flat)
        return cls(values, flat - rows * width, F.pad(counts.cumsum(0), (1, 0)), width)

    @classmethod
    def of(cls, values: Tensor, numbers: Tensor, width: int) -> Units:
        """As many units of each example: (B, k) activations, and (B, k) int64, which units they are."""
        count, k = numbers.shape
        offsets = torch.arange(0, count * k + 1, k, device=numbers.device)
        return cls(values.flatten(), numbers.flatten(), offsets, width)

    @property
    def rows(self) -> Tensor:
        """The example of each unit, (n,) int64."""
        examples = torch.arange(len(self.offsets) - 1, device=self.numbers.device)
        return examples.repeat_interleave(self.offsets.diff(), output_size=len(self.numbers))

    def dense(self) -> Tensor:
        """The codes as rows of numbers, (B, d)."""
        count = len(self.offsets) - 1
        zeros = self.values.new_zeros(count * self.width)
        return zeros.scatter(0, self.rows * self.width + self.numbers, self.values).view(count, self.width)


def sums_of(numbers: Tensor, rows: Tensor, weights: Tensor, table: Tensor, width: int) -> Tensor:
    """For each unit the weighted sum of the rows of a table that belong to it, (width, D); zero where there are none.

    Args:
        numbers: (n,) int64, units.
        rows: (n,) int64, rows of the table.
        weights: (n,).
        table: (B, D).
        width: the number of units.

    >>> sums_of(torch.tensor([2, 0, 2]), torch.tensor([0, 1, 1]), torch.ones(3), torch.tensor([[1.0], [10.0]]), 3)
    tensor([[10.],
            [ 0.],
            [11.]])
    """
    order = numbers.argsort(stable=True)
    offsets = F.pad(torch.bincount(numbers, minlength=width).cumsum(0), (1, 0))
    return F.embedding_bag(
        rows[order], table, offsets, mode="sum", per_sample_weights=weights[order], include_last_offset=True
    )
