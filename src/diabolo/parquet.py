"""Columns in .parquet files, by pyarrow: `pip install 'diabolo[parquet]'`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.errors import DataError, MissingExtraError
from diabolo.files import writing

__all__ = ["read_parquet_columns", "write_parquet"]


def read_parquet_columns(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Name -> column of a Parquet file, (n,); an index that pandas stored is left out.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: not a Parquet file.
    """
    arrow = _pyarrow("Reading a .parquet file")
    try:
        table = arrow.parquet.read_table(path)
        names = [name for name in table.column_names if not name.startswith("__index_level_")]
        return {name: table.column(name).to_numpy() for name in names}
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}. Is it whole, and of that format?") from error


def write_parquet(path: Path, columns: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Writes columns, each (n,), whole or not at all.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    arrow = _pyarrow("Writing a .parquet file")
    with writing(path) as temporary:
        arrow.parquet.write_table(
            arrow.table({name: arrow.array(column) for name, column in columns.items()}), temporary
        )


def _pyarrow(purpose: str) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", purpose) from error
    return pyarrow
