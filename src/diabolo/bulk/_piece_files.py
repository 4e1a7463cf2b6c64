"""Parquet files of pieces: written part by part, whole or not at all, with a note on their origin."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.errors import DataError
from diabolo.storage.files import named, writing
from diabolo.storage.foreign import parse_json
from diabolo.storage.parquet import pyarrow_for

__all__ = ["count_rows", "digest_file", "read_note", "require_arrow", "writing_piece"]

_KEY = b"diabolo"
_SAMPLES, _SAMPLE = 16, 4096  # blocks in the digest of a file, beside its end, and the bytes of each


def require_arrow() -> Any:
    """The package pyarrow.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    return pyarrow_for("A folder of Parquet pieces")


def count_rows(path: Path) -> int:
    """The number of rows of a Parquet file, from its footer alone.

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
    """A digest of a file that takes the same time at any size: of its length, its end, and blocks at even distances.

    Two files that differ in a few rows may share it; two files of different data do not.
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
    """The note of a piece, with its `rows`; None where the file is damaged or has no note."""
    arrow = require_arrow()
    try:
        metadata = arrow.parquet.read_metadata(path)
        note = parse_json((metadata.metadata or {})[_KEY])
    except Exception:  # noqa: BLE001 (whatever a damaged file makes pyarrow raise)
        return None
    return {**note, "rows": metadata.num_rows} if isinstance(note, dict) else None


@contextlib.contextmanager
def writing_piece(path: Path, note: dict[str, Any]) -> Iterator[Callable[[Mapping[str, np.ndarray]], None]]:
    """Yields a function that appends columns, each (n,) or (n, k), to a piece; the file appears at the end, whole.

    Args:
        path: of the piece.
        note: on the piece's origin, as JSON; written when the block ends, so that it may grow inside the block.

    Raises:
        StorageError: the file could not be written.
    """
    arrow = require_arrow()
    with writing(path) as temporary, contextlib.ExitStack() as stack:
        writer: Any = None

        def append(columns: Mapping[str, np.ndarray]) -> None:
            nonlocal writer
            table = arrow.table({name: _column(arrow, column) for name, column in columns.items()})
            if writer is None:
                file = stack.enter_context(named(temporary))
                writer = stack.enter_context(arrow.parquet.ParquetWriter(file, table.schema))
            writer.write_table(table)

        yield append
        writer.add_key_value_metadata({_KEY: json.dumps(note).encode()})


def _column(arrow: Any, column: np.ndarray) -> Any:
    if column.ndim == 1:
        return arrow.array(column)
    return arrow.FixedSizeListArray.from_arrays(arrow.array(column.reshape(-1)), column.shape[1])
