"""`Store`: examples that stay on disk and are read on demand, for sources larger than memory."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.datasets._ahead import Reading
from diabolo.errors import DataError

__all__ = ["BLOCK", "BUFFER", "DECODERS", "Cast", "Store", "StoreView", "as_store", "even_blocks"]

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]

BUFFER = 256_000_000
"""Bytes of examples among which the order of training is mixed, unless a source was opened with another buffer."""

BLOCK = 1 << 18
"""Bytes of a block where any examples could be read: large enough for a disk, small enough to be mixed."""

DECODERS = min(8, os.cpu_count() or 1)
"""Threads of a store whose examples are decoded, unless another number is given."""

_PROBES = 256  # examples that a digest reads
_PARTS = 400  # files of which a digest reads the first and the last example


class Store(ABC):
    """A read-only array on disk, (N, *event), of uint8 or float32; what is read of it is an ordinary array.

    `store[3]`, `store[10:20]`, `store[[5, 1, 5]]` and `store[mask]` read those examples; `np.asarray(store)` reads
    all. Floats are checked when they are read. Any number of threads may read at the same time.

    Attributes:
        shape: (N, *event).
        dtype: uint8 or float32.
        blocks: (B + 1,) int64, increasing from 0 to N: the bounds of runs of examples that are cheap to read together.
        parts: (P + 1,) int64: the bounds of the files.
        name: what to call it in messages.
        buffer: bytes of examples among which the order of training is mixed.
        workers: how many threads read and decode.

    >>> class Squares(Store):
    ...     def _take(self, indices, out):
    ...         out[:, 0] = indices**2
    ...     def where(self, index):
    ...         return f"example {index} of {self.name}"
    >>> store = Squares((1000, 1), np.float32, even_blocks((1000, 1), 4), "squares")
    >>> store[[3, 1, 3]].ravel()
    array([9., 1., 9.], dtype=float32)
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, blocks: Indices, name: str) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.blocks = blocks
        self.parts: Indices = np.array([0, shape[0]], np.int64)
        self.name = name
        self.buffer = BUFFER
        self.workers = min(2, os.cpu_count() or 1)

    @abstractmethod
    def _take(self, indices: Indices, out: Array) -> None:
        """Reads the examples at `indices` (in ascending order) into `out`, (len(indices), *event)."""

    @abstractmethod
    def where(self, index: int) -> str:
        """The file of an example and its place there, for messages."""

    def probe(self, digest: hashlib.blake2b) -> None:
        """Updates a digest with samples of the examples, so that other data have another digest."""
        probes = self.probes()
        step = max(1, (1 << 24) // self.example_bytes)
        for start in range(0, len(probes), step):
            digest.update(self.take(probes[start : start + step]).data)

    def probes(self) -> Indices:
        """The indices of the examples that a digest reads: spread over all, with the ends of each of a few files."""
        spread = np.linspace(0, len(self) - 1, _PROBES).astype(np.int64)
        ends = np.concatenate([self.parts[:-1], self.parts[1:] - 1]) if len(self.parts) <= _PARTS else spread[:0]
        return np.unique(np.concatenate([spread, ends]))

    def take(self, indices: Indices, out: Array | None = None) -> Array:
        """The examples at `indices` (in range, in ascending order), read into `out` or a new array.

        Raises:
            DataError: a file is missing, damaged or other than it was; a value is NaN or infinite.
        """
        out = np.empty((len(indices), *self.shape[1:]), self.dtype) if out is None else out
        self._take(indices, out)
        if self.dtype == np.float32 and not np.isfinite(out).all():
            row = int(np.flatnonzero(~np.isfinite(out).reshape(len(out), -1).all(axis=1))[0])
            raise DataError(
                f"{self.where(int(indices[row]))} holds a value that is NaN or infinite, and every value must be "
                "finite. Remove that example or fill the value in."
            )
        return out

    def read(self, start: int, stop: int) -> Array:
        """The examples from `start` up to `stop`."""
        return self._gather(np.arange(start, stop, dtype=np.int64))

    def digest(self) -> bytes:
        """A digest of type, shape and samples: the same for the same data, wherever the files lie."""
        digest = hashlib.blake2b(f"{self.dtype.str}{self.shape}".encode(), digest_size=20)
        self.probe(digest)
        return digest.digest()

    @property
    def ndim(self) -> int:
        """The number of axes, the examples' included."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all examples in memory."""
        return self.size * self.itemsize

    @property
    def example_bytes(self) -> int:
        """Bytes of one example in memory."""
        return max(1, self.nbytes // self.shape[0])

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.dtype} {self.shape} on disk>"

    def __getitem__(self, key: Any) -> Array:
        if isinstance(key, tuple):
            values = self[key[0]]
            return np.asarray(values[key[1:] if isinstance(key[0], (int, np.integer)) else (slice(None), *key[1:])])
        if isinstance(key, slice):
            return self._gather(np.arange(*key.indices(len(self)), dtype=np.int64))
        indices = np.asarray(key)
        if indices.dtype == np.bool_:
            if indices.shape != (len(self),):
                raise IndexError(f"A mask for {len(self):,} examples has the shape {indices.shape}.")
            indices = np.flatnonzero(indices)
        if indices.size == 0:
            return np.empty((*indices.shape, *self.shape[1:]), self.dtype)
        if indices.dtype.kind not in "iu":
            raise IndexError(f"Examples are chosen by whole numbers, a slice or a mask, not by {indices.dtype}.")
        low, high = int(indices.min()), int(indices.max())
        if low < -len(self) or high >= len(self):
            raise IndexError(f"There is no example {low if low < -len(self) else high} among {len(self):,}.")
        indices = np.where(indices < 0, indices + len(self), indices).astype(np.int64)
        if indices.ndim == 0:
            return np.asarray(self.take(indices.reshape(1))[0])
        return self._gather(indices.ravel()).reshape(*indices.shape, *self.shape[1:])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("An array that lies on disk cannot be had without a copy.")
        memory = _physical_memory()
        if self.nbytes > memory / 2:
            raise DataError(
                f"{self.name} takes {self.nbytes / 1e9:.1f} GB as one array, and this machine has {memory / 1e9:.1f} "
                "GB of memory. Take a part of it: x[:10000], or Dataset.subset."
            )
        values = self._gather(np.arange(len(self), dtype=np.int64))
        return values if dtype is None else np.asarray(values, dtype)

    def _gather(self, indices: Indices) -> Array:
        """The examples at any indices in range, in that order; threads share reads of more than a few megabytes.

        A store reads forwards, each example once: the indices are sorted here, and the result is put back in order.
        """
        back = None
        if (indices[1:] < indices[:-1]).any():
            indices, back = np.unique(indices, return_inverse=True)
        out = np.empty((len(indices), *self.shape[1:]), self.dtype)
        Reading(self, indices, out).wait()
        return out if back is None else out[back.reshape(-1)]


class Cast(Store):
    """A store with the values of another one as float32, multiplied by a factor."""

    def __init__(self, base: Store, factor: float = 1.0) -> None:
        super().__init__(base.shape, np.float32, base.blocks, base.name)
        self.parts, self.buffer, self.workers = base.parts, base.buffer, base.workers
        self.base = base
        self.factor = np.float32(factor)

    def _take(self, indices: Indices, out: Array) -> None:
        with np.errstate(over="ignore"):
            out[...] = self.base.take(indices)
        if self.factor != 1:
            out *= self.factor

    def where(self, index: int) -> str:
        return self.base.where(index)

    def probe(self, digest: hashlib.blake2b) -> None:
        self.base.probe(digest)


class StoreView(Store):
    """Some examples of another store, in any order."""

    def __init__(self, base: Store, indices: Indices) -> None:
        shape = (len(indices), *base.shape[1:])
        super().__init__(shape, base.dtype, even_blocks(shape, base.itemsize), base.name)
        self.base, self.indices = base, indices
        self.buffer, self.workers = base.buffer, base.workers

    def _take(self, indices: Indices, out: Array) -> None:
        rows = self.indices[indices]
        order = np.argsort(rows, kind="stable")
        out[order] = self.base.take(rows[order])

    def where(self, index: int) -> str:
        return self.base.where(int(self.indices[index]))


def as_store(x: object) -> Store | None:
    """`x` where it is a `Store`, otherwise None.

    >>> import numpy as np
    >>> as_store(np.zeros(3)) is None
    True
    """
    return x if isinstance(x, Store) else None


def even_blocks(shape: tuple[int, ...], itemsize: int) -> Indices:
    """The bounds of blocks of a quarter of a megabyte, for files in which any example can be read alone."""
    step = max(1, BLOCK // max(1, itemsize * int(np.prod(shape[1:], dtype=object))))
    return np.append(np.arange(0, shape[0], step, dtype=np.int64), shape[0])


def _physical_memory() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float("inf")
