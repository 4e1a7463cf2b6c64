"""Reading of a store by threads, ahead of its use."""

from __future__ import annotations

import concurrent.futures
import itertools
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Readable", "Reading"]

_TASK = 4 << 20  # bytes of examples that one thread reads at a time


class Readable(Protocol):
    """The part of a `Store` that `Reading` uses."""

    blocks: npt.NDArray[np.int64]
    workers: int

    @property
    def example_bytes(self) -> int:
        """Bytes of one example in memory."""

    def take(self, indices: npt.NDArray[np.int64], out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Reads the examples at `indices` (in ascending order) into `out`."""


class Reading:
    """A read of examples into `out` by the threads of a store, which end with the last example.

    Args:
        store: where they are read.
        indices: which ones, in ascending order.
        out: (len(indices), *event).
    """

    def __init__(self, store: Readable, indices: npt.NDArray[np.int64], out: npt.NDArray[Any]) -> None:
        bounds = _tasks(store, indices)
        pairs = list(itertools.pairwise(bounds))
        self._work = (store, indices, out, pairs)
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._futures: list[concurrent.futures.Future[Any]] = []

    def begin(self) -> Reading:
        """Starts the threads and returns at once."""
        store, indices, out, pairs = self._work
        self._pool = concurrent.futures.ThreadPoolExecutor(store.workers, thread_name_prefix="diabolo-read")
        self._futures = [self._pool.submit(store.take, indices[a:b], out[a:b]) for a, b in pairs]
        # The pool takes no more tasks, so its threads end with the last one, even where nobody calls `wait` or `stop`.
        self._pool.shutdown(wait=False)
        return self

    def wait(self) -> None:
        """Waits until everything is read, and raises the error of a thread.

        Raises:
            DataError: a file is missing, damaged or other than it was.
        """
        store, indices, out, pairs = self._work
        if self._pool is None and (store.workers == 1 or len(pairs) < 2):
            store.take(indices, out)
            return
        if self._pool is None:
            self.begin()
        try:
            for future in self._futures:
                future.result()
        finally:
            self.stop()

    def stop(self) -> None:
        """Cancels the tasks that have not begun, and waits for the threads to end."""
        for future in self._futures:
            future.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=True)


def _tasks(store: Readable, indices: npt.NDArray[np.int64]) -> list[int]:
    """The bounds of tasks within `indices`: a few megabytes each, and no block is split between two threads."""
    if not len(indices):
        return [0, 0]
    within = store.blocks[np.searchsorted(store.blocks, indices[0], "right") :]
    ends = np.unique(np.searchsorted(indices, within[: np.searchsorted(within, indices[-1], "right") + 1]))
    step = max(1, _TASK // store.example_bytes)
    bounds = [0]
    for end in ends.tolist():
        if end - bounds[-1] >= step or end == len(indices):
            bounds.append(end)
    return bounds
