"""Readers of tables: .csv and .tsv by NumPy's C reader, .parquet by pyarrow, data frames column by column.

CSV is read by `numpy.loadtxt`: it is always there, and reads a million rows of ten columns in about two seconds
with no more memory than the result. The `csv` module looks at the first rows, and at all of them only to say which
cell was wrong.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from diabolo.datasets._arrays import kind_of
from diabolo.datasets._dataset import Array
from diabolo.datasets._match import are_numbers, listed, match_columns
from diabolo.datasets._readers import RawData, ReadOptions, register_reader
from diabolo.errors import DataError
from diabolo.storage.parquet import read_parquet_columns

__all__ = ["feature_columns", "read_parquet_table"]

_WHOLE, _DECIMAL = re.compile(r"-?(0|[1-9]\d*)"), re.compile(r"-?(0|[1-9]\d*)?(\.\d*)?([eE][+-]?\d+)?")
LONGEST = 2**26  # characters of a line
_MISSING = {"", "na", "n/a", "null", "none"}


@register_reader("csv", suffixes=(".csv", ".tsv"), takes=("labels", "columns"), rank=30)
def _read_csv(path: Path, options: ReadOptions) -> RawData:
    """A text table, its columns parted by commas, semicolons or tabs (whichever the first line has most of).

    The first row holds the names where it is not numeric; without names the columns are called "0", "1", ...

    Raises:
        DataError: no rows, rows of different lengths, a cell that is not a number, no column of labels by that name.
    """
    delimiter, rows = _first_rows(path)
    headed = _is_header(rows)
    names = tuple(cell.strip() for cell in rows[0]) if headed else tuple(map(str, range(len(rows[0]))))
    if headed and len(rows) == 1:
        raise DataError(f"{path} holds the names of {len(names)} columns and no rows. At least one row is needed.")
    features, labelled, notes = feature_columns(str(path), names, options)
    read = sorted({*features, *([] if labelled is None else [labelled])})
    texts: list[str] = []
    try:
        x = np.loadtxt(
            path,
            dtype=np.float64,
            delimiter=delimiter,
            skiprows=_lines_of_header(path) if headed else 0,
            usecols=None if len(read) == len(names) else read,
            converters=None if labelled is None else {labelled: _set_aside(texts)},
            comments=None,
            quotechar='"',
            encoding="utf-8-sig",
            ndmin=2,
        )
    except ValueError as error:
        raise _bad_cell(path, delimiter, headed, names, features) or DataError(
            f"{path} cannot be read as a table: {error}. Every row must have {len(names)} cells."
        ) from error
    labels = None if labelled is None else _numeric_if_all(np.array(texts))
    if features != read:
        x = x[:, np.searchsorted(read, features)]
    notes += _csv_notes(rows, names) + _index_notes(_pick(names, features), list(x.T))
    return RawData(x=x, name=path.stem, labels=labels, features=_pick(names, features), notes=notes, layout="F")


def _set_aside(texts: list[str]) -> Callable[[str], float]:
    """A converter for the column of labels: it appends the text to `texts` and returns a number for the table.

    `numpy.loadtxt` makes one array of numbers; labels may be text.
    """

    def convert(text: str) -> float:
        texts.append(text)
        return 0.0

    return convert


def read_parquet_table(path: Path, options: ReadOptions) -> RawData:
    """A Parquet file; an index that pandas stored is left out.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: not a Parquet file, or a column that is not numeric.
    """
    columns = read_parquet_columns(path, options.named)
    return _read_columns(path.stem, list(columns), list(columns.values()), options)


def _is_frame(source: Any) -> bool:
    return hasattr(source, "columns") and (hasattr(source, "dtypes") or hasattr(source, "column_names"))


@register_reader("frame", kind="object", accepts=_is_frame, takes=("labels", "columns"), rank=30)
def _read_frame(frame: Any, options: ReadOptions) -> RawData:
    """A pandas data frame, or another one whose columns can be taken by position or by name."""
    if hasattr(frame, "column_names"):  # an Arrow table
        arrays = [column.to_pandas() if hasattr(column, "to_pandas") else column for column in frame.columns]
        return _read_columns("table", [str(name) for name in frame.column_names], arrays, options)
    names = [str(name) for name in frame.columns]
    by_position = hasattr(frame, "iloc")
    columns = [frame.iloc[:, i] if by_position else frame[name] for i, name in enumerate(frame.columns)]
    return _read_columns("table", names, columns, options)


def _read_columns(name: str, names: Sequence[str], columns: Sequence[Array], options: ReadOptions) -> RawData:
    """Columns of one length as a table: uint8 where all are, float32 otherwise.

    Raises:
        DataError: no rows, no feature, a column that is not numeric, no column of labels by that name.
    """
    features, labelled, notes = feature_columns(name, names, options)
    if not len(columns[features[0]]):
        raise DataError(f"{name} holds {len(names)} columns and no rows. At least one row is needed.")
    notes += _index_notes([names[i] for i in features], [columns[i] for i in features])
    numeric = [_numeric(columns[i], names[i], name) for i in features]
    dtype = np.uint8 if all(column.dtype == np.uint8 for column in numeric) else np.result_type(np.float32, *numeric)
    x = np.empty((len(numeric[0]), len(numeric)), dtype)
    with np.errstate(over="ignore"):
        for i, column in enumerate(numeric):
            x[:, i] = column
    labels = None if labelled is None else columns[labelled]
    return RawData(x=x, name=name, labels=labels, features=_pick(names, features), notes=notes, layout="F")


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
            near = difflib.get_close_matches(options.label.lower(), [name.lower() for name in names], n=1, cutoff=0.6)
            meant = [repr(name) for name in names if name.lower() in near]
            hint = f" Did you mean {meant[0]}?" if meant and not at else ""
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
            raise _not_numeric(source, name, row, values[row])
    return np.array([float(v) if kind == "number" else math.nan for v, kind in zip(values, kinds, strict=True)])


def _not_numeric(source: str, name: str, row: int, value: Any) -> DataError:
    kind = kind_of(value)
    hint = {
        "date": "Turn dates into numbers first, such as days since the first one. ",
        "duration": "Turn durations into numbers first, such as seconds. ",
    }.get(kind, "")
    text = repr(value) if len(repr(value)) <= 40 else repr(value)[:40] + "..."
    return DataError(
        f"The column {name!r} of {source} is not numeric: row {row} holds {text}. Every feature must be a number. "
        f"{hint}If it is the label, take it out with labels={name!r}; otherwise remove it or turn it into numbers."
    )


def _numeric_if_all(labels: Array) -> Array:
    """Labels as numbers, where each is one that prints as it was written: 01234 and 1_000 are names."""
    texts = np.char.strip(labels)
    plain = [text for text in texts.tolist() if text.lower() != "nan"]
    for dtype, form in ((np.int64, _WHOLE), (np.float64, _DECIMAL)):
        if plain and all(form.fullmatch(text) for text in plain):
            with contextlib.suppress(ValueError, OverflowError):
                return texts.astype(dtype)
            break  # whole numbers of more digits than 64 bits hold are names
    return texts


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_header(rows: list[list[str]]) -> bool:
    """Whether the first row holds names: none is a number, or one is text above a number, or they are 0, 1, 2, ..."""
    if _counts_up(rows[0]):
        return True
    if not any(_is_number(cell) for cell in rows[0]):
        return True
    if len(rows) < 2:
        return False
    pairs = zip(rows[0], rows[1], strict=False)
    return any(a.strip().lower() not in _MISSING and not _is_number(a) and _is_number(b) for a, b in pairs)


def _counts_up(cells: list[str]) -> bool:
    """Whether cells are 0, 1, 2, ...: pandas writes these above columns without names, after an empty cell."""
    cells = cells[1:] if cells[0] == "" else cells
    return len(cells) > 2 and cells == [str(i) for i in range(len(cells))]


def _csv_notes(rows: list[list[str]], names: tuple[str, ...]) -> tuple[str, ...]:
    notes = []
    if _counts_up(rows[0]):
        notes.append("the first row, 0, 1, 2, ..., was taken for the names of the columns")
    if any(name == "" or name.startswith("Unnamed: ") for name in names):
        notes.append("a column without a name is among the features: is it an index?")
    return tuple(notes)


def _index_notes(names: Sequence[str], columns: Sequence[Any]) -> tuple[str, ...]:
    """A note where the first column counts the rows."""
    if len(columns) < 2 or len(columns[0]) < 3 or are_numbers(names):
        return ()
    first = np.asarray(columns[0])
    counts = first.dtype.kind in "iuf" and first[0] in (0, 1) and bool((np.diff(first) == 1).all())
    return (f"the column {names[0]!r} counts the rows: is it an index? (columns= chooses)",) if counts else ()


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line in the file, cells) of each row that is not blank."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(_lines(stream), delimiter=delimiter)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}. Save it as UTF-8, or name its real format.") from error
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {error}. Is it text, with one row a line?") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _lines(stream: TextIO) -> Iterator[str]:
    """The lines of a text, none of which takes more memory than a row can need."""
    while line := stream.readline(LONGEST):
        if len(line) == LONGEST:
            raise csv.Error(f"a line has more than {LONGEST:,} characters")
        yield line


def _first_rows(path: Path) -> tuple[str, list[list[str]]]:
    """The delimiter and the first one or two rows."""
    for _, first in _rows(path, "\x1f"):
        delimiter = max(",;\t", key="".join(first).count)
        rows = [row for _, (_, row) in zip(range(2), _rows(path, delimiter), strict=False)]
        return delimiter, rows
    raise DataError(f"{path} is empty: it holds no row. At least one row is needed.")


def _lines_of_header(path: Path) -> int:
    """The number of lines of the header, blank lines before it included."""
    for line, _ in _rows(path, ","):
        return line
    return 0


def _bad_cell(
    path: Path, delimiter: str, headed: bool, names: tuple[str, ...], features: list[int]
) -> DataError | None:
    """The error for the first cell that is no number, or the first row of another length."""
    for row, (line, cells) in enumerate(_rows(path, delimiter)):
        if headed and row == 0:
            continue
        if len(cells) != len(names):
            return DataError(
                f"Line {line} of {path} has {len(cells)} cells, and the first row has {len(names)}. "
                "Every row must have as many; repair that line."
            )
        for i in features:
            if cells[i].strip().lower() in _MISSING:
                return DataError(
                    f"The column {names[i]!r} of {path} misses a value in line {line} ({cells[i]!r}). "
                    "Every value must be a number: fill it in, or leave that row or column out."
                )
            if not _is_number(cells[i]):
                return _not_numeric(str(path), names[i], row - headed, cells[i])
    return None
