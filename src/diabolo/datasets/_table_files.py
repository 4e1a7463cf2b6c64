"""Tables: their columns of features and labels, .parquet files by pyarrow, and data frames column by column."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.datasets._dataset import Array
from diabolo.datasets._match import are_numbers, did_you_mean, leaves_out, listed, match_columns
from diabolo.datasets._mixed import coded
from diabolo.datasets._read_options import ReadOptions
from diabolo.datasets._readers import RawData, register_reader
from diabolo.datasets._scalars import float_of, kind_of
from diabolo.errors import DataError
from diabolo.storage.parquet import index_columns, read_parquet_columns

_ID = r"(^|[ _.])([iI][dD]|idx|index|uid|guid|key)$|[a-z]I[dD]$"  # how columns are called that name the rows

__all__ = ["feature_columns", "index_notes", "mixed_data", "not_numeric", "read_parquet_table"]


def read_parquet_table(path: Path, options: ReadOptions) -> RawData:
    """A Parquet file; an index that pandas stored is left out.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: not a Parquet file, or a column that is not numeric.
    """
    columns = read_parquet_columns(path, options.named)
    return _read_columns(path.stem, list(columns), list(columns.values()), options)


def _is_frame(source: Any) -> bool:
    """Whether a source is a table with names: of a library, a structured array, or lists by name."""
    if isinstance(source, Mapping):
        return bool(source) and all(isinstance(column, (list, tuple, np.ndarray)) for column in source.values())
    is_frame = hasattr(source, "columns") and (hasattr(source, "dtypes") or hasattr(source, "column_names"))
    has_names = bool(getattr(getattr(source, "dtype", None), "names", None))
    return is_frame or (has_names and getattr(source, "ndim", 0) == 1)


@register_reader("frame", kind="object", accepts=_is_frame, takes=("labels", "columns", "mixed"), rank=30)
def _read_frame(frame: Any, options: ReadOptions) -> RawData:
    """A data frame, whose columns can be taken by position or by name; or another table with names."""
    if isinstance(frame, Mapping):
        names, columns = [str(name) for name in frame], [_listed(column) for column in frame.values()]
        if len({len(column) for column in columns}) > 1:
            lengths = ", ".join(f"{name!r} {len(column):,}" for name, column in zip(names[:6], columns, strict=False))
            raise DataError(f"The columns of a table should have one length, and these differ: {lengths}.")
        return _read_columns("table", names, columns, options)
    if hasattr(frame, "column_names"):  # an Arrow table
        index = index_columns(frame.schema, options.named)
        pairs = [pair for pair in zip(frame.column_names, frame.columns, strict=True) if pair[0] not in index]
        arrays = [column.to_pandas() if hasattr(column, "to_pandas") else column for _, column in pairs]
        return _read_columns("table", [str(name) for name, _ in pairs], arrays, options)
    keys = frame.columns if hasattr(frame, "columns") else frame.dtype.names
    by_position = hasattr(frame, "iloc")
    columns = [frame.iloc[:, i] if by_position else frame[name] for i, name in enumerate(keys)]
    return _read_columns("table", [str(name) for name in keys], columns, options)


def _listed(column: Any) -> Array:
    """A list as an array of objects, which keeps what each value is; an array unchanged."""
    if isinstance(column, np.ndarray):
        return column
    values = np.empty(len(column), object)
    values[:] = column
    return values


def _read_columns(name: str, names: Sequence[str], columns: Sequence[Array], options: ReadOptions) -> RawData:
    """Columns of one length as a table: uint8 where all are, float32 otherwise.

    Raises:
        DataError: no rows, no feature, a column that is not numeric, no column of labels by that name.
    """
    features, labelled, notes = feature_columns(name, names, options)
    if not len(columns[features[0]]):
        raise DataError(f"{name} holds {len(names)} columns and no rows. At least one row is needed.")
    picked, labels = _pick(names, features), None if labelled is None else columns[labelled]
    if options.mixed:
        return mixed_data(name, picked, [columns[i] for i in features], labels, notes, options)
    notes += index_notes(picked, [columns[i] for i in features])
    numeric = [_numeric(columns[i], names[i], name) for i in features]
    dtype = np.uint8 if all(column.dtype == np.uint8 for column in numeric) else np.result_type(np.float32, *numeric)
    x = np.empty((len(numeric[0]), len(numeric)), dtype)
    with np.errstate(over="ignore"):
        for i, column in enumerate(numeric):
            x[:, i] = column
    return RawData(x=x, name=name, labels=labels, features=picked, notes=notes, layout="F")


def mixed_data(
    name: str,
    names: Sequence[str],
    columns: Sequence[Any],
    labels: Any,
    notes: tuple[str, ...],
    options: ReadOptions,
) -> RawData:
    """A table of mixed kinds as numbers."""
    x, codes, said = coded(name, names, columns, options.mixed if isinstance(options.mixed, tuple) else None)
    notes += index_notes(names, columns)
    features = tuple(feature for code in codes for feature in code.features)
    return RawData(x=x, name=name, labels=labels, features=features, notes=notes + said, layout="F", codes=codes)


def feature_columns(
    source: str, names: Sequence[str], options: ReadOptions
) -> tuple[list[int], int | None, tuple[str, ...]]:
    """The places of the feature columns, that of the column of labels or None, and notes.

    Raises:
        DataError: there is no such column, or several; or no feature is left.
    """
    labelled = None
    if options.label is not None:
        at = [i for i, name in enumerate(names) if name == options.label]
        if len(at) != 1:
            hint = "" if at else did_you_mean(options.label, names)
            count = f"{len(at)} columns are" if at else "no column is"
            raise DataError(
                f"labels={options.label!r}: {count} named so in {source}.{hint} Its columns: {listed(names)}."
            )
        labelled = at[0]
    features = [i for i in range(len(names)) if i != labelled]
    if not features:
        why = ": there is none beside the labels" if options.label else ""
        raise DataError(f"{source} has no feature column{why}: add at least one.")
    if options.columns is None:
        return features, labelled, ()
    places, notes = match_columns([names[i] for i in features], options.columns, source)
    return [features[place] for place in places], labelled, notes


def _pick(names: Sequence[str], positions: list[int]) -> tuple[str, ...]:
    return tuple(names[i] for i in positions)


def _numeric(column: Array, name: str, source: str) -> Array:
    """A column as numbers, with NaN for missing values."""
    column = np.asarray(column)
    if column.ndim == 1 and column.dtype.kind in "biuf":
        return column
    values = list(column)
    kinds = [kind_of(value) for value in values]
    for row, kind in enumerate(kinds):
        if kind not in ("number", "missing"):
            raise not_numeric(source, name, row, values[row], kind)
    return np.array([float_of(v) if kind == "number" else math.nan for v, kind in zip(values, kinds, strict=True)])


def not_numeric(source: str, name: str, row: int, value: Any, kind: str) -> DataError:
    """The error for a value that is no number.

    Args:
        source: what to call the table.
        name: of the column.
        row: where the value stands.
        value: the value.
        kind: what it is: date, duration or another word.
    """
    hint = "Turn durations into numbers first, such as seconds. " if kind == "duration" else ""
    text = repr(value) if len(repr(value)) <= 40 else repr(value)[:40] + "..."
    return DataError(
        f"The column {name!r} of {source} is not numeric: row {row} holds {text}. Every feature must be a number. "
        f"{hint}If it is the label, take it out with labels={name!r}; mixed=True (--mixed) turns categories and dates "
        "into numbers; otherwise leave it out with columns=."
    )


def index_notes(names: Sequence[str], columns: Sequence[Any]) -> tuple[str, ...]:
    """Notes on columns that may be an index: the first counts the rows, or one is called id and has no number twice."""
    if len(columns) < 2 or len(columns[0]) < 3 or are_numbers(names):
        return ()
    notes = []
    for place, name in enumerate(names):
        is_id = re.search(_ID, name) is not None
        values = np.asarray(columns[place]) if is_id or place == 0 else np.empty(0)
        if values.ndim != 1 or values.dtype.kind not in "iuf":
            continue
        if place == 0 and values[0] in (0, 1) and bool((np.diff(values) == 1).all()):
            notes.append(f"the column {name!r} counts the rows: is it an index? ({leaves_out(name)})")
        elif is_id and len(np.unique(values)) == len(values) and bool((values == np.floor(values)).all()):
            words = f"the column {name!r} has another number in each row: is it an index?"
            notes.append(f"{words} ({leaves_out(name)})")
    return tuple(notes)
