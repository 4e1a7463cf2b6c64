"""Codes that are written with tokens: their vectors, the numbers of entries that stand for them, and their use."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from diabolo.config import require
from diabolo.errors import DataError, ShapeError
from diabolo.models.distributions import Posterior
from diabolo.models.objectives._base import Batch, Net
from diabolo.models.objectives._parts import Remark

__all__ = [
    "KEPT", "Outputs", "Quantised", "in_use", "outputs_of", "positions_of", "rows_of", "tokens_checked", "vectors_of",
]  # fmt: skip

USUAL = 8  # the most positions of a code without places, where they are left to its size
AT_ONCE = 128  # examples whose codes are quantised at once, before training
UNUSED = 0.01  # of the average share, below which an entry is not in use
KEPT = 0.99  # of the running usage, in a step


class Quantised(Posterior):
    """The entries that stand for an encoder's output: `mean` is their sum, exactly, with the gradient of the output.

    The gradient passes straight through (Bengio et al. 2013, https://arxiv.org/abs/1308.3432).

    Args:
        output: (B, d), the encoder's.
        entries: (B, d), the sum of those that are nearest, without gradient.
        index: (B, positions, levels) int64, which these are.

    >>> code = Quantised(torch.tensor([[0.9]]), torch.tensor([[1.0]]), torch.zeros(1, 1, 1, dtype=torch.int64))
    >>> code.mean, code.kind
    (tensor([[1.]]), 'index')
    """

    kind = "index"
    width = 1

    def __init__(self, output: Tensor, entries: Tensor, index: Tensor) -> None:
        self.output = output
        self.entries = entries
        self.mean = entries + (output - output.detach())
        self.index = index

    @classmethod
    def from_features(cls, features: Tensor) -> Quantised:
        raise NotImplementedError("an index is found by a codebook: see `Objective.posterior`")

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean


class Outputs(Quantised):
    """Entries that stand for an encoder's output, with the output before it was bounded.

    Args:
        output: (B, d), bounded.
        entries: (B, d), what it is rounded to.
        index: (B, positions, levels) int64, which these are.
        rows: (B, positions, dim), the output itself.
    """

    index: Tensor

    def __init__(self, output: Tensor, entries: Tensor, index: Tensor, rows: Tensor) -> None:
        super().__init__(output, entries, index)
        self.rows = rows


def vectors_of(code_shape: tuple[int, ...], positions: int) -> int:
    """How many vectors a code is cut into: one for each place, else as many as are asked for.

    Args:
        code_shape: (d,), or (c, h, w).
        positions: of a code without places; 0 for the most up to 8 that divide d and leave two numbers each.

    Raises:
        ConfigError: they do not divide d, or the code has places.

    >>> vectors_of((16,), 0), vectors_of((10,), 0), vectors_of((3,), 0), vectors_of((4, 8, 8), 0)
    (8, 5, 1, 64)
    """
    d, *places = code_shape
    if places:
        require(not positions, "positions", "left out: the code has a vector at each of its places", positions)
        return math.prod(places)
    count = positions or max(
        number for number in range(1, USUAL + 1) if number == 1 or (d % number == 0 and d // number > 1)
    )
    require(d % count == 0, "positions", f"a divisor of the code's {d} dimensions", count)
    return count


def rows_of(z: Tensor, positions: int) -> Tensor:
    """Codes, (B, d), as vectors, (B, positions, dim): those of the places of a map, channels first."""
    return z.view(z.shape[0], -1, positions).transpose(1, 2)


def positions_of(rows: Tensor) -> Tensor:
    """The inverse of `rows_of`: (B, d)."""
    return rows.transpose(1, 2).flatten(1)


def outputs_of(batch: Batch, net: Net) -> Tensor:
    """What the encoder gives for a batch, before it is quantised, (B, d)."""
    parts = (cast(Quantised, net.encode(part)) for part in torch.split(batch.x, AT_ONCE))
    return torch.cat(
        [part.rows.transpose(1, 2).flatten(1) if isinstance(part, Outputs) else part.output for part in parts]
    )


def tokens_checked(tokens: Tensor, positions: int, levels: int, entries: int) -> Tensor:
    """Tokens, (B, positions, levels) numbers from 0 to `entries` - 1.

    Raises:
        ShapeError, DataError: they are not.
    """
    if tokens.dim() != 3 or tuple(tokens.shape[1:]) != (positions, levels):
        raise ShapeError(
            f"Tokens of this model have the shape (n, {positions}, {levels}), positions and levels, and were given as "
            f"{tuple(tokens.shape)}."
        )
    if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < entries:
        raise DataError(
            f"Tokens of this model are numbers from 0 to {entries - 1}, and numbers from {int(tokens.min())} to "
            f"{int(tokens.max())} were given."
        )
    return tokens


def in_use(usage: Tensor, what: str, cure: str) -> Remark:
    """How many entries a code is written with, in words.

    Args:
        usage: (K,), how often each was used in the last steps.
        what: the entries, in words.
        cure: what to do where many are never used.
    """
    count, shares = len(usage), usage / usage.sum().clamp(min=1e-12)
    used = int((shares > UNUSED / count).sum())
    perplexity = float(torch.xlogy(shares, shares).sum().neg().exp())
    text = f"In the last steps of training they were used as unevenly as {perplexity:.0f} would be at even frequencies."
    if used < count / 2:
        return Remark("note", f"{used} of {count} {what} are in use", f"{text} Take {cure}, or train it for longer.")
    return Remark("good", f"{used} of {count} {what} are in use", text)
