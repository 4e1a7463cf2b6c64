"""The reader of text tables: .csv, .tsv, and .txt, .dat, .data.

Rows come from the `csv` module. Where every cell is a number as Python writes it, one pass makes the array. Otherwise
the cells are looked at first: which mark is the decimal one, which columns hold true and false, per cent or money;
what is sure is read and said in a note, and what is not is refused by its name.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diabolo.datasets._csv_cells import Cell, cell_of, is_float, label_values
from diabolo.datasets._csv_facts import (
    Facts,
    converter_of,
    decimal_of,
    kind_of_column,
    maybe_thousands,
    refuse_others,
    sign_of,
)
from diabolo.datasets._csv_header import column_notes, find_header, row_notes
from diabolo.datasets._csv_text import TextTable, encoding_of, find_form, western
from diabolo.datasets._match import leaves_out, listed
from diabolo.datasets._read_options import ReadOptions
from diabolo.datasets._readers import RawData, register_reader
from diabolo.datasets._table_files import feature_columns, index_notes, mixed_data
from diabolo.errors import DataError

__all__: list[str] = []

_HEAD = 64  # rows from which names and widths are told
_LOOK = 10_000  # rows that are looked at before all are
_CELLS = 2**18  # that are looked at before all are, in wide tables
_CHUNK = 2**15  # cells that are held as text at a time

_PLAIN, _POINT = Cell("plain"), Cell("point", ".")


@register_reader(
    "csv",
    suffixes=(".csv", ".tsv", ".txt", ".dat", ".data"),
    takes=("labels", "columns", "encoding", "separator", "decimal", "header", "comments", "mixed"),
    rank=30,
)
def _read_csv(path: Path, options: ReadOptions) -> RawData:
    """A text table. Without names the columns are called "0", "1", ...

    Raises:
        DataError: no rows, rows of different lengths, a cell that is not a number, no column of labels by that name.
    """
    encoding, notes = encoding_of(path) if options.encoding is None else (options.encoding, ())
    try:
        return _read(path, options, encoding, notes)
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {error}. Is it text, with one row a line?") from error
    except UnicodeError as error:
        if options.encoding is not None or encoding != "utf-8-sig":
            raise DataError(
                f"{path} is not {encoding} text. Name its encoding: encoding='utf-8', 'cp1252' or 'gbk' for example "
                "(--encoding)."
            ) from error
    return _read(path, options, *western(path))


def _read(path: Path, options: ReadOptions, encoding: str, notes: tuple[str, ...]) -> RawData:
    form = find_form(path, encoding, options.separator, options.decimal, options.comments)
    table = TextTable(path, form)
    head = list(itertools.islice(table, 3))
    if not head:
        raise DataError(f"{path} is empty: it holds no row. At least one row is needed.")
    head = list(itertools.islice(table, min(_HEAD, max(3, _CELLS // len(head[0])))))
    header = find_header(head, form.names, options.header, options.named)
    names = header.names
    features, labelled, chosen = feature_columns(str(path), names, options)
    if header.has_index and options.columns is None:
        features = [place for place in features if place] or features
    table.width = 0 if 0 in features or options.comments else len(names)
    rows = _Rows(table, header.rows, len(names))
    reading = (rows, names, features, labelled, options)
    read = _Read()
    if options.decimal != "," and not options.mixed:
        read = _plain(rows, features, labelled)
    if read.x is None and not options.mixed:
        with contextlib.suppress(ValueError):
            read = _written(*reading, most=min(_LOOK, max(_HEAD, _CELLS // len(names))))
    if read.x is None:
        read = _written(*reading, most=None)
    x = read.x
    columns = x if options.mixed else list(x.T)
    if not len(columns[0]):
        raise DataError(f"{path} holds the names of {len(names)} columns and no rows. At least one row is needed.")
    picked = tuple(names[i] for i in features)
    notes += form.notes + header.notes + column_notes(header, picked, options.columns) + chosen + read.notes
    if options.decimal is None and form.separator != ",":
        notes += maybe_thousands(head[header.rows :])
    notes += _left_out(rows, header.is_above, options.comments)
    labels = None if labelled is None else label_values(np.array(read.texts), options.decimal)
    if labels is not None and labels.dtype.kind == "f" and any("," in text for text in read.texts):
        notes += ("the comma is a decimal mark in the labels (decimal='.' takes them for names)",)
    if options.mixed:
        raw = mixed_data(path.stem, picked, columns, labels, notes, options)
        return dataclasses.replace(raw, decimal=read.decimal)
    notes += row_notes(x, header) + index_notes(picked, columns)
    return RawData(x=x, name=path.stem, labels=labels, features=picked, notes=notes, layout="F", decimal=read.decimal)


class _Read(NamedTuple):
    """What was read of a text table.

    Attributes:
        x: the numbers of the features, (n, d), or their columns, where kinds are mixed; or None.
        texts: of the labels.
        notes: what was guessed.
        decimal: the decimal mark, where a cell tells it.
    """

    x: Any = None
    texts: Sequence[str] = ()
    notes: tuple[str, ...] = ()
    decimal: str | None = None


def _left_out(rows: _Rows, is_above: bool, sign: str | None) -> tuple[str, ...]:
    """Notes on the lines and cells that the last iteration left out; one comment may have the names."""
    notes, table = [], rows.table
    for count, words in (
        (table.comments - is_above, "left out" if sign else "taken for comments (comments='none': for rows)"),
        (table.rows, f"taken for rows, as they have as many cells (comments={table.form.sign!r}: for comments)"),
    ):
        if count:
            lines = f"{count:,} line{'s' * (count > 1)} that begin{'s' * (count == 1)} with {table.form.sign}"
            notes.append(f"{lines} {words}")
    if table.empty:
        notes.append(f"{table.empty:,} row{'s' * (table.empty > 1)} without any value left out")
    if rows.cut:
        notes.append("the empty cell at the end of each row left out")
    return tuple(notes)


class _Rows:
    """The rows of examples of a text table, all of one length.

    Attributes:
        cut: rows of the last iteration that ended with empty cells beyond the columns.
    """

    def __init__(self, table: TextTable, start: int, width: int) -> None:
        self.table, self.start, self.width, self.cut = table, start, width, 0

    def __iter__(self) -> Iterator[list[str]]:
        self.cut = 0
        for row in itertools.islice(iter(self.table), self.start, None):
            yield row if len(row) == self.width else self._cut(row)

    def _cut(self, row: list[str]) -> list[str]:
        if len(row) < self.width or any(map(str.strip, row[self.width :])):
            is_comma = self.table.form.separator == "," and len(row) == 2 * self.width
            hint = " If its commas belong to numbers, say decimal=',' or another separator=." if is_comma else ""
            raise DataError(
                f"Line {self.table.line} of {self.table.path} has {len(row)} cells, and the first row has "
                f"{self.width}. Every row must have as many; repair that line, or put cells with separators in quotes."
                f"{hint}"
            )
        self.cut += 1
        return row[: self.width]

    def chunks(self, places: Sequence[int]) -> Iterator[list[Sequence[str]]]:
        """The cells at some places of each row, of some thousand rows at a time."""
        pick: Any = operator.itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
        rows = map(pick, self)
        while chunk := list(itertools.islice(rows, max(1, _CHUNK // self.width))):
            yield chunk


def _plain(rows: _Rows, features: list[int], labelled: int | None) -> _Read:
    """The numbers of the features and the labels, where all numbers are written as Python writes them."""
    parts, texts, count = [np.empty((0, len(features)))], [], len(features)
    try:
        for chunk in rows.chunks([*features, *([] if labelled is None else [labelled])]):
            texts += [] if labelled is None else [row[-1] for row in chunk]
            cells = itertools.chain.from_iterable(chunk if labelled is None else (row[:-1] for row in chunk))
            parts.append(np.fromiter(map(float, cells), np.float64, len(chunk) * count).reshape(-1, count))
    except DataError:
        raise
    except ValueError:
        return _Read()
    return _Read(np.concatenate(parts), texts)


def _written(
    rows: _Rows,
    names: Sequence[str],
    features: list[int],
    labelled: int | None,
    options: ReadOptions,
    most: int | None,
) -> _Read:
    """The numbers, however they are written, and the texts of the labels.

    Columns of mixed kinds are arrays of what they hold: numbers, or objects: booleans, dates, texts and None.

    Args:
        rows: of the table.
        names: of all columns.
        features: the places of those that are read.
        labelled: the place of the labels.
        options: the decimal mark, where the user says it; and whether kinds are mixed.
        most: rows that are looked at; all where it is None.

    Raises:
        ValueError: a row that was not looked at holds other cells.
    """
    facts = [Facts() for _ in features]
    for number, row in enumerate(itertools.islice(rows, most)):
        for place, column in zip(features, facts, strict=True):
            if not (_PLAIN in column and row[place].isdecimal()) and not (_POINT in column and is_float(row[place])):
                column.setdefault(cell_of(row[place]), (number, rows.table.line, row[place]))
    path, named = str(rows.table.path), [names[place] for place in features]
    codes = options.mixed if isinstance(options.mixed, tuple) else ()
    kinds = [kind_of_column(column) for column in facts]
    if codes:  # 1 and 2 may be the names of categories
        kinds = ["text" if code.kind == "category" else kind for code, kind in zip(codes, kinds, strict=True)]
    if not options.mixed:
        refuse_others(path, named, facts)
    numeric = [(name, column) for name, column, kind in zip(named, facts, kinds, strict=True) if kind == "number"]
    mark, notes = decimal_of(path, numeric, options.decimal)
    decimal = mark if notes else options.decimal
    converters = [
        converter_of(path, name, column, kind, mark, bool(options.mixed))
        for name, column, kind in zip(named, facts, kinds, strict=True)
    ]
    types = [np.float64 if kind == "number" or not options.mixed else object for kind in kinds]
    columns, texts = [[np.empty(0, dtype)] for dtype in types], []
    for chunk in rows.chunks([*features, *([] if labelled is None else [labelled])]):
        texts += [] if labelled is None else [row[-1] for row in chunk]
        for parts, dtype, convert, cells in zip(columns, types, converters, zip(*chunk, strict=True), strict=False):
            parts.append(np.array(list(map(convert, cells)), dtype))
    signed = [name for name, column in numeric if sign_of(column)]
    if signed:
        signs = sorted({sign_of(column) for _, column in numeric} - {""})
        words = f"{', '.join(signs)} left out in {listed(signed)}: 12 {signs[0]} is 12"
        notes += (f"{words} ({leaves_out(signed[0])})",)
    booleans = [name for name, kind in zip(named, kinds, strict=True) if kind == "boolean"]
    if booleans:
        notes += (f"true is 1 and false is 0 in {listed(booleans)} ({leaves_out(booleans[0])})",)
    whole = [np.concatenate(parts) for parts in columns]
    return _Read(whole if options.mixed else np.stack(whole, 1), texts, notes, decimal)
