"""Columns in .parquet files and in Arrow's tables, by pyarrow: `pip install 'diabolo[parquet]'`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.errors import DataError, MissingExtraError
from diabolo.storage.files import writing

__all__ = [
    "Column",
    "ParquetFile",
    "arrow_values",
    "class_names",
    "columns_of",
    "encoded_image",
    "pyarrow_for",
    "read_parquet_columns",
    "write_parquet",
]

_ROWS = 8192  # that are decoded at a time: a row group of any size is read in little memory


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes:
        name: its name.
        kind: number, list (of numbers, of one length), image (encoded bytes) or other.
        dtype: of the numbers.
        shape: of one list; -1 where only the values tell how long it is.
        text: Arrow's name of the type.
    """

    name: str
    kind: str
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    text: str


class ParquetFile:
    """One file: its columns, and its row groups, of which any can be read.

    Attributes:
        path: where it lies.
        columns: what it holds; an index that pandas stored is left out.
        groups: how many rows each row group has.
        length: bytes of the file.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: not a Parquet file.
    """

    def __init__(self, path: Path) -> None:
        arrow = pyarrow_for("Reading a .parquet file")
        self.path, self.length = path, 0
        try:
            self.length = path.stat().st_size
            with arrow.parquet.ParquetFile(path) as file:
                self._metadata = file.metadata
                self._schema = file.schema_arrow
        except (arrow.ArrowException, OSError) as error:
            raise self.broken(error) from error
        self.columns = [one for one in columns_of(self._schema) if not one.name.startswith("__index_level_")]
        self.groups = [self._metadata.row_group(i).num_rows for i in range(self._metadata.num_row_groups)]

    def batches(self, group: int, names: Sequence[str], rows: int = _ROWS) -> Iterator[Any]:
        """The row group in Arrow's record batches of at most `rows` rows.

        Raises:
            DataError: the file is missing, damaged or other than it was.
        """
        arrow = pyarrow_for("Reading a .parquet file")
        try:
            if self.path.stat().st_size != self.length:
                raise OSError(f"it had {self.length:,} bytes before and has {self.path.stat().st_size:,} now")
            with arrow.parquet.ParquetFile(self.path, metadata=self._metadata, pre_buffer=False) as file:
                yield from file.iter_batches(rows, row_groups=[group], columns=list(names), use_threads=False)
        except FileNotFoundError as error:
            raise DataError(f"{self.path} is missing, and was there before. {_AGAIN}") from error
        except (arrow.ArrowException, OSError) as error:
            raise DataError(f"Row group {group} of {self.path} cannot be read: {error}. {_AGAIN}") from error

    def values(self, name: str) -> np.ndarray[Any, Any]:
        """A whole column, (n,)."""
        arrow = pyarrow_for("Reading a .parquet file")
        try:
            return np.asarray(arrow.parquet.read_table(self.path, columns=[name]).column(name).to_numpy())
        except (arrow.ArrowException, OSError) as error:
            raise self.broken(error) from error

    def class_names(self, name: str) -> tuple[str, ...]:
        """The names of a column's classes, where Hugging Face's `datasets` wrote them beside it."""
        return class_names(self._schema, name)

    def broken(self, error: Exception) -> DataError:
        """The error for a file that cannot be opened."""
        return DataError(f"{self.path} cannot be read as Parquet: {error}. Is it whole, and of that format?")


_AGAIN = "Put it back as it was; a run in a folder then goes on where it was last saved: diabolo resume RUN"


def read_parquet_columns(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Name -> column of a Parquet file, (n,); an index that pandas stored is left out.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: not a Parquet file.
    """
    arrow = pyarrow_for("Reading a .parquet file")
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
    arrow = pyarrow_for("Writing a .parquet file")
    with writing(path) as temporary:
        arrow.parquet.write_table(
            arrow.table({name: arrow.array(column) for name, column in columns.items()}), temporary
        )


def columns_of(schema: Any) -> list[Column]:
    """What the columns of one of Arrow's schemas hold."""
    return [_column(field.name, field.type) for field in schema]


def arrow_values(array: Any, column: Column, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Numbers or lists of them, (n, *shape), of one of Arrow's arrays.

    Raises:
        ValueError: a list is missing or of another length, or a number that has no NaN is missing.
    """
    array = array.combine_chunks() if hasattr(array, "combine_chunks") else array
    array = getattr(array, "storage", array)
    rows = len(array)
    for length in shape:
        if array.null_count:
            raise ValueError(f"the column {column.name!r} misses a value")
        if hasattr(array, "value_lengths"):
            lengths = np.asarray(array.value_lengths())
            wrong = lengths[lengths != length]
            if len(wrong):
                raise ValueError(f"a list of {column.name!r} has {wrong[0]} values, and the first of all has {length}")
        array = array.flatten()
    if array.null_count and column.dtype == np.uint8:
        raise ValueError(f"the column {column.name!r} misses a value")
    return np.asarray(array.to_numpy(zero_copy_only=False)).reshape(rows, *shape)


def encoded_image(array: Any, row: int) -> bytes:
    """The encoded bytes of one image: of a binary column, or of Hugging Face's {bytes, path}.

    Raises:
        ValueError: there are none.
    """
    value = array[row].as_py()
    if isinstance(value, dict):
        data, path = value.get("bytes"), value.get("path")
        value = Path(path).read_bytes() if data is None and path else data
    if not value:
        raise ValueError("it holds no image")
    return bytes(value)


def class_names(schema: Any, name: str) -> tuple[str, ...]:
    """The names of a column's classes, where Hugging Face's `datasets` wrote them into the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[name]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def _column(name: str, kind: Any) -> Column:
    types = pyarrow_for("Reading a .parquet file").types
    text, shape = str(kind), []
    kind = getattr(kind, "storage_type", kind)
    if types.is_struct(kind):
        image = any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return Column(name, "image" if image else "other", None, (), text)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return Column(name, "image", None, (), text)
    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        shape.append(kind.list_size if types.is_fixed_size_list(kind) else -1)
        kind = kind.value_type
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        return Column(name, "other", None, (), text)
    return Column(name, "list" if shape else "number", np.dtype(kind.to_pandas_dtype()), tuple(shape), text)


def pyarrow_for(purpose: str) -> Any:
    """The package pyarrow.

    Raises:
        MissingExtraError: it is not installed; `purpose` says what it was wanted for.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", purpose) from error
    return pyarrow
