"""Pieces of Parquet: written part by part, whole or not there; what they say about themselves."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.errors import DataError
from diabolo.storage.files import writing
from diabolo.storage.parquet import pyarrow_for

__all__ = ["count_rows", "digest_file", "read_note", "require_arrow", "writing_piece"]

_KEY = b"diabolo"
_SAMPLES, _SAMPLE = 16, 4096  # blocks of a file that its digest covers, beside its end, and the bytes of each


def require_arrow() -> Any:
    """The package pyarrow.

    Raises:
        MissingExtraError: it is not installed.
    """
    return pyarrow_for("A folder of Parquet pieces")


def count_rows(path: Path) -> int:
    """The rows of a Parquet file, from its footer alone.

    Raises:
        DataError: the file is no Parquet file, or its end is missing.
    """
    arrow = require_arrow()
    try:
        return int(arrow.parquet.read_metadata(path).num_rows)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path} cannot be read as Parquet: {error}. It is truncated or of another format: write it again, or take "
            "it out of the folder. Nothing was computed."
        ) from error


def digest_file(path: Path) -> str:
    """A digest of a file that costs the same at any size: its length, its end, and blocks at even distances.

    Two files that differ in a few rows alone may share it; two that were written from different data will not.
    """
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as stream:
        for number in range(_SAMPLES):
            stream.seek(size * number // _SAMPLES)
            digest.update(stream.read(_SAMPLE))
        stream.seek(max(0, size - (1 << 16)))
        digest.update(stream.read())
    return digest.hexdigest()


def read_note(path: Path) -> dict[str, Any] | None:
    """What `writing_piece` noted in a piece, with its `rows`; None where the file is damaged or no such piece."""
    arrow = require_arrow()
    try:
        metadata = arrow.parquet.read_metadata(path)
        note = json.loads((metadata.metadata or {})[_KEY])
    except (arrow.ArrowException, OSError, KeyError, ValueError):
        return None
    return {**note, "rows": metadata.num_rows} if isinstance(note, dict) else None


@contextlib.contextmanager
def writing_piece(path: Path, note: dict[str, Any]) -> Iterator[Callable[[Mapping[str, np.ndarray]], None]]:
    """Yields a function that appends columns, each (n,) or (n, k), to a piece; it takes its place at the end, whole.

    Args:
        path: of the piece.
        note: what the piece shall say about itself, as JSON; it is read when the block ends, so that it may grow.

    Raises:
        StorageError: it could not be written.
    """
    arrow = require_arrow()
    with writing(path) as temporary, contextlib.ExitStack() as stack:
        writer: Any = None

        def append(columns: Mapping[str, np.ndarray]) -> None:
            nonlocal writer
            table = arrow.table({name: _column(arrow, column) for name, column in columns.items()})
            if writer is None:
                writer = stack.enter_context(arrow.parquet.ParquetWriter(os.fspath(temporary), table.schema))
            writer.write_table(table)

        yield append
        writer.add_key_value_metadata({_KEY: json.dumps(note).encode()})


def _column(arrow: Any, column: np.ndarray) -> Any:
    if column.ndim == 1:
        return arrow.array(column)
    return arrow.FixedSizeListArray.from_arrays(arrow.array(column.reshape(-1)), column.shape[1])
