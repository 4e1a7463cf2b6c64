"""The examples of a store in an order that a seed and the number of an epoch set, read ahead by threads.

Blocks are drawn in a random order; those that follow each other in it, up to a buffer's worth, make a window; the
examples of a window are mixed, and batches are cut from the windows without regard to where they end. Every place in
the order can be computed, so that a resumed epoch reads nothing of what it skips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.datasets._ahead import Reading
from diabolo.datasets._store import Store

__all__ = ["Shuffled"]

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]

_LEAST = 8  # batches that a window holds at least


@dataclass(frozen=True, eq=False)
class _Window:
    """Blocks whose examples are mixed: their numbers, and the place of the first example in the epoch's order."""

    blocks: Indices
    first: int


@dataclass(frozen=True, eq=False)
class _Held:
    """A window's examples on their way: the reading, its buffer, and the order in which the rows are given out."""

    reading: Reading
    buffer: Array
    order: Indices


class Shuffled:
    """Batches of a store's examples, each epoch in an order of its own.

    The order is set by the seed, the number of the epoch, the batch size where it is large, and the store with its
    buffer; the number of threads and of ranks do not change it.

    Args:
        store: the examples.
        indices: which of them; sorted.
        batch_size: examples of a batch, those of all ranks together.
        count: batches of an epoch, the first ones of its order; all of them when left out.
        seed: of the order.
        rank: which share of each batch is read here.
        ranks: how many such shares there are.
    """

    def __init__(
        self,
        store: Store,
        indices: Indices,
        *,
        batch_size: int,
        count: int | None = None,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.store, self.batch_size, self.seed, self.rank, self.ranks = store, batch_size, seed, rank, ranks
        self.indices = indices if (indices[1:] >= indices[:-1]).all() else np.sort(indices)
        self.count = -(-len(indices) // batch_size) if count is None else count
        self.window = max(store.buffer // store.example_bytes, _LEAST * batch_size)
        edges = np.searchsorted(self.indices, store.blocks)
        self._starts, self._lengths = edges[:-1], np.diff(edges)
        self._used = np.flatnonzero(self._lengths)
        self._buffers: list[Array] = []

    def order(self, epoch: int) -> Iterator[Indices]:
        """The examples' indices in the order of an epoch, window by window; nothing is read."""
        for number, window in enumerate(self._windows(epoch)):
            rows = self._rows(window)
            yield rows[self._mixed(epoch, number, len(rows))]

    def batches(self, epoch: int, skip: int = 0) -> Iterator[Array]:
        """The batches of an epoch, (B, *event), without the first `skip`: this rank's share of each, perhaps empty.

        Threads read the next window while this one is given out; they end with the iterator, or with their window.

        Raises:
            DataError: a file is missing, damaged or other than it was.
        """
        held: _Held | None = None
        ahead: _Held | None = None
        windows = self._held(epoch, skip)
        try:
            ahead, at = next(windows, None), 0
            for number in range(skip, self.count):
                low, high = self._share(number)
                parts, left = [], high - low
                while left:
                    if held is None or at == len(held.order):
                        self._release(held)
                        held, ahead, at = ahead, None, 0
                        assert held is not None  # noqa: S101 (the windows hold as many examples as the batches)
                        held.reading.wait()
                        ahead = next(windows, None)
                    part = held.order[at : at + left]
                    parts.append(held.buffer[part])
                    at, left = at + len(part), left - len(part)
                yield parts[0] if len(parts) == 1 else self._joined(parts)
        finally:
            for one in (held, ahead):
                if one is not None:
                    one.reading.stop()
                self._release(one)

    def _windows(self, epoch: int) -> list[_Window]:
        """The windows of an epoch, of nearly equal size."""
        blocks = self._used[np.random.default_rng([self.seed, epoch]).permutation(len(self._used))]
        ends = np.cumsum(self._lengths[blocks])
        number = max(1, -(-len(self.indices) // self.window))
        targets = np.linspace(0, len(self.indices), number + 1)[1:-1]
        cuts = np.unique(np.concatenate([[0], np.searchsorted(ends, targets) + 1, [len(blocks)]]))
        return [
            _Window(np.sort(blocks[a:b]), int(ends[a - 1]) if a else 0)
            for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)
        ]

    def _rows(self, window: _Window) -> Indices:
        """The indices of a window's examples, sorted."""
        starts, lengths = self._starts[window.blocks], self._lengths[window.blocks]
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows: Indices = self.indices[np.repeat(starts, lengths) + offsets]
        return rows

    def _mixed(self, epoch: int, number: int, count: int) -> Indices:
        mixed: Indices = np.random.default_rng([self.seed, epoch, number + 1]).permutation(count)
        return mixed

    def _held(self, epoch: int, skip: int) -> Iterator[_Held]:
        """The windows from the batch `skip` on, each being read from the moment it is asked for."""
        for number, window in enumerate(self._windows(epoch)):
            count = int(self._lengths[window.blocks].sum())
            low, high = skip * self.batch_size, self.count * self.batch_size
            if window.first + count <= low or window.first >= high:
                continue
            places = np.arange(window.first, window.first + count)
            mine = self._is_mine(places) & (places >= low) & (places < high)
            mixed = self._mixed(epoch, number, count)[mine]
            wanted = np.zeros(count, np.bool_)
            wanted[mixed] = True
            row_of = np.cumsum(wanted) - 1
            rows = self._rows(window)[wanted]
            buffer = self._buffer()
            yield _Held(Reading(self.store, rows, buffer[: len(rows)]).begin(), buffer, row_of[mixed])

    def _is_mine(self, places: Indices) -> npt.NDArray[np.bool_]:
        """Which places of the epoch's order this rank reads."""
        if self.ranks == 1:
            return np.ones(len(places), np.bool_)
        numbers = places // self.batch_size
        sizes = np.minimum(self.batch_size, len(self.indices) - numbers * self.batch_size)
        within = places - numbers * self.batch_size
        return (within >= sizes * self.rank // self.ranks) & (within < sizes * (self.rank + 1) // self.ranks)

    def _share(self, number: int) -> tuple[int, int]:
        """The bounds of this rank's share within a batch."""
        size = min(self.batch_size, len(self.indices) - number * self.batch_size)
        return size * self.rank // self.ranks, size * (self.rank + 1) // self.ranks

    def _joined(self, parts: list[Array]) -> Array:
        if not parts:
            return np.empty((0, *self.store.shape[1:]), self.store.dtype)
        return np.concatenate(parts)

    def _buffer(self) -> Array:
        """A buffer for any window; those of windows that were given out are used again."""
        windows = max(1, -(-len(self.indices) // self.window))
        most = -(-len(self.indices) // windows) + int(self._lengths.max())
        return self._buffers.pop() if self._buffers else np.empty((most, *self.store.shape[1:]), self.store.dtype)

    def _release(self, held: _Held | None) -> None:
        if held is not None:
            self._buffers.append(held.buffer)
