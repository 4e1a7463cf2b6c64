"""Shuffled batches of a store, read ahead by threads, in an order that follows from a seed and the number of the epoch.

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

_LEAST = 8  # batches: the least size of a window


@dataclass(frozen=True, eq=False)
class _Window:
    """Blocks whose examples are mixed: their numbers, and the place of the first example in the epoch's order."""

    blocks: Indices
    first: int


@dataclass(frozen=True, eq=False)
class _Load:
    """A window that threads are reading: the reading, its buffer, the order in which rows leave it, their indices."""

    reading: Reading
    buffer: Array
    order: Indices
    rows: Indices


class Shuffled:
    """Batches of a store, in another order for each epoch.

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

    >>> from diabolo.datasets._store import Store, even_blocks
    >>> class Numbers(Store):
    ...     def _take(self, indices, out):
    ...         out[:, 0] = indices
    ...     def where(self, index):
    ...         return f"example {index}"
    >>> store = Numbers((100, 1), np.float32, even_blocks((100, 1), 4), "numbers")
    >>> shuffled = Shuffled(store, np.arange(100), batch_size=32)
    >>> [len(batch) for batch in shuffled.batches(epoch=0)]
    [32, 32, 32, 4]
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
        """The indices of the examples in the order of an epoch, window by window, without reading any."""
        for number, window in enumerate(self._windows(epoch)):
            rows = self._rows(window)
            yield rows[self._permutation(epoch, number, len(rows))]

    def batches(self, epoch: int, skip: int = 0) -> Iterator[Array]:
        """The batches of an epoch, (B, *event), from number `skip` on: of each this rank's share, which may be empty.

        Raises:
            DataError: a file is missing, damaged or other than it was.
        """
        return (batch for batch, _ in self.batches_with_indices(epoch, skip))

    def batches_with_indices(self, epoch: int, skip: int = 0) -> Iterator[tuple[Array, Indices]]:
        """As `batches`, each with the indices of its examples, (B,).

        Threads read the next window while batches are cut from this one; they end with the iterator or their window.

        Raises:
            DataError: a file is missing, damaged or other than it was.
        """
        current: _Load | None = None
        ahead: _Load | None = None
        windows = self._loads(epoch, skip)
        try:
            ahead, at = next(windows, None), 0
            for number in range(skip, self.count):
                low, high = self._share(number)
                parts, places, missing = [], [], high - low
                while missing:
                    if current is None or at == len(current.order):
                        self._release(current)
                        current, ahead, at = ahead, None, 0
                        assert current is not None  # noqa: S101 (the windows hold as many examples as the batches)
                        current.reading.wait()
                        ahead = next(windows, None)
                    part = current.order[at : at + missing]
                    parts.append(current.buffer[part])
                    places.append(current.rows[part])
                    at, missing = at + len(part), missing - len(part)
                rows = np.concatenate([np.empty(0, np.int64), *places])
                yield parts[0] if len(parts) == 1 else self._joined(parts), rows
        finally:
            for one in (current, ahead):
                if one is not None:
                    one.reading.stop()
                self._release(one)

    def _windows(self, epoch: int) -> list[_Window]:
        """The windows of an epoch, of nearly equal size.

        The seed and the epoch alone set them, so that a resumed epoch finds its place without reading what it skips.
        """
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

    def _permutation(self, epoch: int, number: int, count: int) -> Indices:
        order: Indices = np.random.default_rng([self.seed, epoch, number + 1]).permutation(count)
        return order

    def _loads(self, epoch: int, skip: int) -> Iterator[_Load]:
        """The windows from batch `skip` on; threads begin to read each one when the iterator reaches it."""
        for number, window in enumerate(self._windows(epoch)):
            count = int(self._lengths[window.blocks].sum())
            low, high = skip * self.batch_size, self.count * self.batch_size
            if window.first + count <= low or window.first >= high:
                continue
            places = np.arange(window.first, window.first + count)
            mine = self._is_mine(places) & (places >= low) & (places < high)
            order = self._permutation(epoch, number, count)[mine]
            is_read = np.zeros(count, np.bool_)
            is_read[order] = True
            row_of = np.cumsum(is_read) - 1
            rows = self._rows(window)[is_read]
            buffer = self._buffer()
            yield _Load(Reading(self.store, rows, buffer[: len(rows)]).begin(), buffer, row_of[order], rows)

    def _is_mine(self, places: Indices) -> npt.NDArray[np.bool_]:
        """Whether this rank reads each of some places in the epoch's order."""
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
        """A buffer large enough for any window; the buffers of finished windows are used again."""
        windows = max(1, -(-len(self.indices) // self.window))
        most = -(-len(self.indices) // windows) + int(self._lengths.max())
        return self._buffers.pop() if self._buffers else np.empty((most, *self.store.shape[1:]), self.store.dtype)

    def _release(self, load: _Load | None) -> None:
        if load is not None:
            self._buffers.append(load.buffer)
