"""Sources of Arrow columns: the protocol, and Parquet files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diabolo.datasets._store import Array, Indices
from diabolo.errors import DataError, ShapeError
from diabolo.storage.foreign import reading
from diabolo.storage.parquet import Column, ParquetFile

__all__ = ["ParquetSource", "Source", "listed"]


class Source(Protocol):
    """Columns on disk, in blocks of rows that are read together.

    Attributes:
        name: what to call it in messages.
        columns: what it holds.
        blocks: (B + 1,) the bounds of the blocks.
        parts: (P + 1,) the bounds of the files.
    """

    name: str
    columns: list[Column]
    blocks: Indices
    parts: Indices

    def batches(self, block: int, names: Sequence[str]) -> Iterator[Any]:
        """A block's rows, in order, as Arrow's record batches or tables."""

    def values(self, name: str) -> Array:
        """A whole column, (n,)."""

    def class_names(self, name: str) -> tuple[str, ...]:
        """The names of a column's classes, or ()."""

    def where(self, index: int) -> str:
        """The file of a row and its place there, for messages."""

    def probe(self, digest: hashlib.blake2b) -> bool:
        """Updates a digest with a cheap description of the rows; returns False where there is none."""


class ParquetSource:
    """Parquet files in a row; a block is a row group."""

    def __init__(self, paths: Sequence[Path], name: str, keep: Sequence[str] = ()) -> None:
        self.name = name
        self.files = [ParquetFile(path, keep) for path in paths]
        first = self.files[0]
        for other in self.files[1:]:
            if other.columns != first.columns:
                raise ShapeError(
                    f"{other.path} has the columns {listed(other.columns)}, and {first.path} has "
                    f"{listed(first.columns)}. All shards of a set must agree; write them anew or choose some."
                )
        self.columns = first.columns
        self._groups = [(file, group) for file in self.files for group in range(len(file.groups)) if file.groups[group]]
        self.blocks = np.cumsum([0, *(file.groups[group] for file, group in self._groups)], dtype=np.int64)
        self.parts = np.cumsum([0, *(sum(file.groups) for file in self.files)], dtype=np.int64)

    def batches(self, block: int, names: Sequence[str]) -> Iterator[Any]:
        file, group = self._groups[block]
        return file.batches(group, names)

    def values(self, name: str) -> Array:
        return np.concatenate([file.values(name) for file in self.files])

    def class_names(self, name: str) -> tuple[str, ...]:
        return self.files[0].class_names(name)

    def where(self, index: int) -> str:
        number = int(np.searchsorted(self.parts, index, "right")) - 1
        return f"Example {index} ({self.files[number].path}, row {index - int(self.parts[number])})"

    def probe(self, digest: hashlib.blake2b) -> bool:
        """Digests the footer of each file: it has the places and sizes of the columns, and mostly their extremes."""
        for file in self.files:
            with reading(file.path, DataError, form="Parquet"), file.path.open("rb") as stream:
                stream.seek(max(0, file.length - (1 << 14)))
                digest.update(stream.read())
        return True


def listed(columns: Sequence[Column | str]) -> str:
    """The first dozen names of columns, quoted, for messages."""
    names = [repr(column if isinstance(column, str) else column.name) for column in columns]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
