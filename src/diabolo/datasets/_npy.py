"""Stores of .npy files larger than memory, one or several in a row, read by offset and not mapped.

The pages of a memory map count as memory of the process until the system wants them back; what is read by offset does
not.
"""

from __future__ import annotations

import hashlib
import itertools
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.datasets._store import Array, Indices, Store, even_blocks
from diabolo.errors import DataError, ShapeError
from diabolo.storage.foreign import reading, require_file
from diabolo.storage.npy import read_npy_header

__all__ = ["AGAIN", "NpyStore", "npy_store", "store_of_map"]

_GAP = 1 << 16  # bytes: over a smaller gap it is cheaper to read on than to seek


@dataclass(frozen=True)
class _File:
    """One .npy file: its header, the offset of its values, and its length when it was opened."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    length: int


class NpyStore(Store):
    """A store of the examples of one .npy file or of several in a row, with the values as they are in the files."""

    def __init__(self, files: Sequence[_File], name: str) -> None:
        self.files = tuple(files)
        self.kind = files[0].dtype
        shape = (sum(one.shape[0] for one in files), *files[0].shape[1:])
        super().__init__(shape, self.kind, even_blocks(shape, self.kind.itemsize), name)
        self.parts = np.cumsum([0, *(one.shape[0] for one in files)], dtype=np.int64)
        self._row = self.kind.itemsize * int(np.prod(shape[1:], dtype=np.int64))

    def where(self, index: int) -> str:
        number = int(np.searchsorted(self.parts, index, "right")) - 1
        return f"Example {index} ({self.files[number].path}, row {index - int(self.parts[number])})"

    def probe(self, digest: hashlib.blake2b) -> None:
        digest.update(str([one.shape[0] for one in self.files]).encode())
        super().probe(digest)

    def _take(self, indices: Indices, out: Array) -> None:
        for a, b in _runs(indices, max(1, _GAP // self._row)):
            first, last = int(indices[a]), int(indices[b - 1]) + 1
            whole = last - first == b - a and out[a:b].flags.c_contiguous
            span = out[a:b] if whole else np.empty((last - first, *self.shape[1:]), self.kind)
            self._read(first, last, span)
            if not whole:
                out[a:b] = span[indices[a:b] - first]

    def _read(self, start: int, stop: int, out: Array) -> None:
        view = out.reshape(-1).view(np.uint8).data
        first = int(np.searchsorted(self.parts, start, "right")) - 1
        for number in range(first, len(self.files)):
            low, high = max(start, int(self.parts[number])), min(stop, int(self.parts[number + 1]))
            if low >= high:
                return
            part = view[(low - start) * self._row : (high - start) * self._row]
            self._read_file(self.files[number], (low - int(self.parts[number])) * self._row, part)

    def _read_file(self, file: _File, position: int, view: memoryview) -> None:
        try:
            with file.path.open("rb", buffering=0) as stream:
                length = stream.seek(0, 2)
                stream.seek(file.offset + position)
                filled = 0
                while length == file.length and filled < len(view) and (count := stream.readinto(view[filled:])):
                    filled += count
        except FileNotFoundError as error:
            raise DataError(f"{file.path} is missing, and was there before. {AGAIN}") from error
        except OSError as error:
            raise DataError(f"{file.path} cannot be read: {error.strerror or error}. {AGAIN}") from error
        if filled < len(view):
            raise DataError(
                f"{file.path} has {length:,} bytes, and had {file.length:,} when it was opened: it was cut off or "
                f"written anew. {AGAIN}"
            )


AGAIN = "Put it back as it was; a run in a folder then goes on where it was last saved: diabolo resume RUN"
"""The advice of a message about a file that is gone or damaged in the middle of an epoch."""


def npy_store(paths: Sequence[Path], name: str) -> NpyStore:
    """The store of .npy files in a row, with values of the files' own type.

    Raises:
        DataError: a file cannot be read, holds no numbers, or lies in Fortran's order.
        ShapeError: their examples differ in shape or type.
    """
    files = [_open(path) for path in paths]
    first = files[0]
    for other in files[1:]:
        if (other.shape[1:], other.dtype) != (first.shape[1:], first.dtype):
            raise ShapeError(
                f"{other.path} holds examples of shape {other.shape[1:]} ({other.dtype}), and {first.path} of shape "
                f"{first.shape[1:]} ({first.dtype}). All pieces of a set must agree; save them anew or choose some."
            )
    return NpyStore([one for one in files if one.shape[0]] or files[:1], name)


def store_of_map(x: np.memmap[Any, Any], name: str) -> NpyStore | None:
    """The store of the file behind a memory map, or None where the map is only a part of it or in Fortran's order."""
    base: object = x.base
    whole = isinstance(base, mmap.mmap) and x.flags.c_contiguous and x.ndim > 1 and x.dtype.kind in "biuf"
    if not whole or x.filename is None:
        return None
    path = Path(x.filename)
    return NpyStore([_File(path, int(x.offset), x.shape, x.dtype, path.stat().st_size)], name)


def _open(path: Path) -> _File:
    """The entry of one .npy file, from its header."""
    with reading(path, DataError, form=".npy", remedy="It is damaged or of another format."):
        require_file(path)
        with path.open("rb") as stream:
            shape, fortran, dtype = read_npy_header(stream)
            offset = stream.tell()
            length = stream.seek(0, 2)
    if dtype.kind not in "biuf":
        raise DataError(f"{path} holds {dtype}, and examples are made of numbers. Convert them first.")
    if fortran and len(shape) > 1:
        raise DataError(
            f"{path} lies in Fortran's order, its examples all over the file. Save it with np.ascontiguousarray."
        )
    if len(shape) < 2:
        raise ShapeError(f"{path} has the shape {shape}; examples need axes of their own, (N, ...). Reshape it.")
    promise = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if length < promise:
        raise DataError(f"{path} is cut off: its header promises {promise:,} bytes, and it has {length:,}. {AGAIN}")
    return _File(path, offset, tuple(shape), dtype, length)


def _runs(indices: Indices, gap: int) -> Iterator[tuple[int, int]]:
    """The bounds of runs of `indices` that are read at once: gaps of up to `gap` examples are read too."""
    cuts = np.flatnonzero(np.diff(indices) > gap) + 1
    bounds = [0, *cuts.tolist(), len(indices)]
    return ((a, b) for a, b in itertools.pairwise(bounds) if b > a)
