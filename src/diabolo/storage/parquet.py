"""Columns of .parquet files and of Arrow tables, by pyarrow: `pip install 'diabolo[parquet]'`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.errors import DataError, MissingExtraError
from diabolo.storage.files import named, writing
from diabolo.storage.foreign import reading, require_file

__all__ = [
    "Column",
    "ParquetFile",
    "arrow_values",
    "class_names",
    "columns_of",
    "encoded_image",
    "index_columns",
    "pyarrow_for",
    "read_parquet_columns",
    "write_parquet",
]

_ROWS = 8192  # decoded at a time, so that a row group of any size is read in little memory


@dataclass(frozen=True)
class Column:
    """The description of a column.

    Attributes:
        name: its name.
        kind: number, list (of numbers, of one length), image (encoded bytes) or other.
        dtype: of the numbers.
        shape: of one list; -1 where only the values tell how long it is.
        text: Arrow's name of the type.

    >>> Column("age", "number", np.dtype(np.int64), (), "int64").kind
    'number'
    """

    name: str
    kind: str
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    text: str


class ParquetFile:
    """A .parquet file: its columns and its row groups, each of which can be read alone.

    Attributes:
        path: where it lies.
        columns: its columns, without an index that pandas stored.
        groups: how many rows each row group has.
        length: bytes of the file.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: not a Parquet file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_parquet(Path(folder, "x.parquet"), {"age": np.array([3, 4])})
    ...     file = ParquetFile(Path(folder, "x.parquet"))
    ...     file.groups, file.values("age").tolist()
    ([2], [3, 4])
    """

    def __init__(self, path: Path, keep: Sequence[str] = ()) -> None:
        arrow = pyarrow_for("Reading a .parquet file")
        self.path, self.length = path, 0
        with _parquet(path):
            require_file(path)
            self.length = path.stat().st_size
            with named(path) as name, arrow.parquet.ParquetFile(name) as file:
                self._metadata = file.metadata
                self._schema = file.schema_arrow
            index = index_columns(self._schema, keep)
            self.columns = [one for one in columns_of(self._schema) if one.name not in index]
            self.groups = [self._metadata.row_group(i).num_rows for i in range(self._metadata.num_row_groups)]

    def batches(self, group: int, names: Sequence[str], rows: int = _ROWS) -> Iterator[Any]:
        """A row group as Arrow record batches of at most `rows` rows.

        Raises:
            DataError: the file is missing, damaged or other than it was.
        """
        arrow = pyarrow_for("Reading a .parquet file")
        try:
            if self.path.stat().st_size != self.length:
                raise OSError(f"it had {self.length:,} bytes before and has {self.path.stat().st_size:,} now")
            with (
                named(self.path) as name,
                arrow.parquet.ParquetFile(name, metadata=self._metadata, pre_buffer=False) as file,
            ):
                yield from file.iter_batches(rows, row_groups=[group], columns=list(names), use_threads=False)
        except FileNotFoundError as error:
            raise DataError(f"{self.path} is missing, and was there before. {_AGAIN}") from error
        except MemoryError:
            raise
        except Exception as error:
            raise DataError(f"Row group {group} of {self.path} cannot be read: {error}. {_AGAIN}") from error

    def values(self, name: str) -> np.ndarray[Any, Any]:
        """A whole column, (n,)."""
        arrow = pyarrow_for("Reading a .parquet file")
        with _parquet(self.path), named(self.path) as file:
            return np.asarray(arrow.parquet.read_table(file, columns=[name]).column(name).to_numpy())

    def class_names(self, name: str) -> tuple[str, ...]:
        """The names of a column's classes, where Hugging Face's `datasets` stored them, otherwise ()."""
        return class_names(self._schema, name)


def _parquet(path: Path) -> contextlib.AbstractContextManager[None]:
    return reading(path, DataError, form="Parquet", remedy="Is it whole, and of that format?")


_AGAIN = "Put it back as it was; a run in a folder then goes on where it was last saved: diabolo resume RUN"


def read_parquet_columns(path: Path, keep: Sequence[str] = ()) -> dict[str, Any]:
    """The columns of a .parquet file, name -> (n,), without an index that pandas stored.

    Categories come as a column of pandas, where it is installed: that keeps their order.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: not a Parquet file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_parquet(Path(folder, "x.parquet"), {"age": np.array([3, 4])})
    ...     read_parquet_columns(Path(folder, "x.parquet"))
    {'age': array([3, 4])}
    """
    arrow = pyarrow_for("Reading a .parquet file")
    with _parquet(path):
        require_file(path)
        with named(path) as file:
            table = arrow.parquet.read_table(file)
        index = index_columns(table.schema, keep)
        names = [name for name in table.column_names if name not in index]
        return {name: _values(table.column(name)) for name in names}


def _values(column: Any) -> Any:
    if pyarrow_for("Reading a .parquet file").types.is_dictionary(column.type):
        with contextlib.suppress(ImportError):
            return column.to_pandas()
    return column.to_numpy()


def write_parquet(path: Path, columns: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Writes columns, name -> (n,), as a whole or not at all.

    Raises:
        MissingExtraError: pyarrow is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_parquet(Path(folder, "x.parquet"), {"age": np.array([3, 4])})
    ...     [path.name for path in Path(folder).iterdir()]
    ['x.parquet']
    """
    arrow = pyarrow_for("Writing a .parquet file")
    table = arrow.table({name: arrow.array(column) for name, column in columns.items()})
    with writing(path) as temporary, named(temporary) as file:
        arrow.parquet.write_table(table, file)


def columns_of(schema: Any) -> list[Column]:
    """The descriptions of the columns of an Arrow schema.

    >>> import pyarrow
    >>> [column.kind for column in columns_of(pyarrow.schema({"age": pyarrow.int32(), "face": pyarrow.binary()}))]
    ['number', 'image']
    """
    return [_column(field.name, field.type) for field in schema]


def arrow_values(array: Any, column: Column, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An Arrow array of numbers, or of lists of them, as a NumPy array, (n, *shape).

    Raises:
        ValueError: a list is missing or of another length, or a byte, which has no NaN, is missing.

    >>> import pyarrow
    >>> column = Column("x", "list", np.dtype(np.int64), (2,), "list<int64>")
    >>> arrow_values(pyarrow.array([[1, 2], [3, 4]]), column, (2,)).tolist()
    [[1, 2], [3, 4]]
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
    """The encoded bytes of an image in a binary column, or in one of Hugging Face's {bytes, path}.

    Raises:
        ValueError: the row has no image.

    >>> import pyarrow
    >>> encoded_image(pyarrow.array([{"bytes": b"png", "path": None}]), 0)
    b'png'
    """
    value = array[row].as_py()
    if isinstance(value, dict):
        data, path = value.get("bytes"), value.get("path")
        value = Path(path).read_bytes() if data is None and path else data
    if not value:
        raise ValueError("it holds no image")
    return bytes(value)


def index_columns(schema: Any, keep: Sequence[str] = ()) -> set[str]:
    """The names of the columns of an Arrow schema that are an index of pandas, by its own description.

    Args:
        schema: of a table.
        keep: names of columns that are asked for, whatever they are.

    >>> import pandas
    >>> import pyarrow
    >>> index_columns(pyarrow.Table.from_pandas(pandas.DataFrame({"a": [1]}, index=[7])).schema)
    {'__index_level_0__'}
    """
    try:
        described = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        index = {name for name in described if isinstance(name, str)}
    except (KeyError, TypeError, ValueError):
        index = set()
    index |= {name for name in schema.names if name.startswith("__index_level_")}
    return index - set(keep) if len(index) < len(schema.names) else set()


def class_names(schema: Any, name: str) -> tuple[str, ...]:
    """The names of a column's classes in an Arrow schema, where Hugging Face's `datasets` stored them, otherwise ().

    >>> import pyarrow
    >>> class_names(pyarrow.schema({"label": pyarrow.int64()}), "label")
    ()
    """
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
        MissingExtraError: it is not installed; the message begins with `purpose`.

    >>> pyarrow_for("Reading a .parquet file").__name__
    'pyarrow'
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", purpose) from error
    return pyarrow
