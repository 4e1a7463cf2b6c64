"""Which rows of a text table hold names and units, and which are examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diabolo.datasets._csv_cells import NUMBERS, cell_of, is_number
from diabolo.datasets._dataset import Array
from diabolo.datasets._match import are_numbers, leaves_out

__all__ = ["Header", "column_notes", "find_header", "row_notes"]

YEARS = (1500, 2200)
_LONGEST_UNIT = 12
_FEW = 12  # rows from which units are told


@dataclass(frozen=True)
class Header:
    """What stands above the examples of a text table.

    Attributes:
        names: of the columns.
        rows: before the first example.
        is_above: whether the names are those of a comment.
        is_told: whether the user said how many rows there are.
        has_index: whether the first column, without a name, holds the names of the rows.
        notes: what was guessed.
    """

    names: tuple[str, ...]
    rows: int
    is_above: bool
    is_told: bool
    has_index: bool
    notes: tuple[str, ...]


def find_header(head: Sequence[list[str]], above: Sequence[str], told: int | None, asked: Sequence[str] = ()) -> Header:
    """The names of a text table.

    Args:
        head: its first rows, at least one.
        above: the cells of a comment above them, which may be names.
        told: how many rows of names and units there are, where the user says it: 0, 1 or 2.
        asked: names of columns that the user or a model asks for.
    """
    first, notes = head[0], []
    rows = int(_holds_names(first, asked) or _is_header(head)) if told is None else int(told)
    if told is None and rows and _counts_up(first):
        notes.append("the first row, 0, 1, 2, ..., was taken for the names of the columns (header=0: for an example)")
    if told is None and rows and _is_units(head):
        rows = 2
        units = ", ".join(cell.strip() for cell in head[1] if cell.strip())[:60]
        notes.append(f"the second row ({units}) was taken for units, and left out (header=1: for an example)")
    is_above = told is None and not rows and bool(above)
    if is_above:
        notes.append("the comment above the first row was taken for the names of the columns (header=0: for a comment)")
    has_index = rows > 0 and _has_index(first, head[rows:])
    if has_index:
        first = ["", *first]
    # An empty cell at the end of every row is none.
    used = [max((at for at, cell in enumerate(row, 1) if cell.strip()), default=1) for row in (first, *head[rows:])]
    width = min(len(first), max(used))
    names = first if rows else above if is_above else tuple(map(str, range(width)))
    names = tuple(name.strip() for name in names[:width])
    return Header(names, rows, is_above, told is not None, has_index, tuple(notes))


def column_notes(header: Header, picked: Sequence[str], asked: Sequence[str] | None) -> tuple[str, ...]:
    """What to say of a first column that holds the names of the rows, and of features without a name.

    Args:
        header: of the table.
        picked: the names of the features.
        asked: what the user says about columns.
    """
    notes = []
    if header.has_index and asked is None:
        words = "rows have a cell more than names: the first was taken for the name of the row, and left out"
        notes.append(f"{words} (columns={',' + picked[0]!r}, with an empty name for it, takes it)")
    nameless = [name for name in picked if name == "" or name.startswith("Unnamed: ")]
    if nameless and nameless[0] not in (asked or ()):
        notes.append(f"a column without a name is among the features: is it an index? ({leaves_out(nameless[0])})")
    return tuple(notes)


def row_notes(x: Array, header: Header) -> tuple[str, ...]:
    """What to say of a first row of numbers that may be names: wavelengths, times, years.

    Args:
        x: the examples, (n, d).
        header: of the table.
    """
    if header.rows or header.is_above or header.is_told or len(x) < 2 or x.shape[1] < 2:
        return ()
    first, others, steps = x[0], x[1:1000], np.diff(x[0])
    is_ordered = len(steps) > 1 and bool((steps > 0).all() or (steps < 0).all())
    are_years = bool(((first >= YEARS[0]) & (first <= YEARS[1]) & (first == np.floor(first))).all())
    is_apart = bool(first.min() > others.max() or first.max() < others.min())
    if not is_apart or not (is_ordered or are_years):
        return ()
    return ("the first row was taken for an example; it may hold the names of the columns (header=1)",)


def _is_header(head: Sequence[list[str]]) -> bool:
    """Whether the first row holds names.

    None of its cells is a number, or one is text above a number, or they are numbers in order after an empty cell.
    """
    first = head[0]
    if _counts_up(first) or not any(map(is_number, first)):
        return True
    # Below names there may be units.
    below = next((row for row in head[1:3] if any(map(is_number, row))), [])
    if not first[0].strip() and below and below[0].strip() and _are_in_order(first[1:]):
        return True
    pairs = zip(first, below, strict=False)
    return any(cell_of(name).kind in ("text", "date") and is_number(cell) for name, cell in pairs)


def _holds_names(first: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether the first row holds names that are asked for: one that is no number, or all of them."""
    cells = {cell.strip() for cell in first}
    names = [name for name in asked if name in cells]
    is_whole = len(names) == len(asked) > 1 and not are_numbers(asked)
    return is_whole or not all(map(is_number, names))


def _is_units(head: Sequence[list[str]]) -> bool:
    """Whether the second row holds units: short texts above columns of numbers, two of them or one in brackets."""
    below = head[2:_FEW]
    if not below or any(is_number(a) and is_number(b) for a, b in zip(head[1], head[2], strict=False)):
        return False
    places = [place for place, cells in enumerate(zip(*below, strict=False)) if _are_numbers(cells)]
    if any(place >= len(head[0]) or not head[0][place].strip() for place in places):
        return False
    cells = [head[1][place].strip() for place in places if place < len(head[1])]
    units = [cell for cell in cells if cell not in ("", "-", "--")]
    are_short = all(cell_of(cell).kind == "text" and len(cell) <= _LONGEST_UNIT for cell in units)
    is_enough = len(units) > 1 or any(unit[0] + unit[-1] in ("()", "[]") for unit in units)
    return bool(units) and len(cells) == len(places) and are_short and is_enough


def _has_index(first: Sequence[str], below: Sequence[list[str]]) -> bool:
    """Whether all rows have one cell more than there are names, at their beginning: R writes the names of rows so."""
    if not below or any(len(row) != len(first) + 1 or not row[-1].strip() for row in below):
        return False
    cells = [row[0] for row in below]
    counts = [str(number) for number in range(1, len(cells) + 1)]
    return (cells == counts and len(first) > 1) or not any(map(is_number, cells))


def _are_numbers(cells: Sequence[str]) -> bool:
    kinds = {cell_of(cell).kind for cell in cells}
    return bool(kinds & {*NUMBERS}) and kinds <= {*NUMBERS, "missing"}


def _are_in_order(cells: Sequence[str]) -> bool:
    try:
        steps = np.diff([float(cell) for cell in cells])
    except ValueError:
        return False
    return len(steps) > 1 and bool((steps > 0).all() or (steps < 0).all())


def _counts_up(cells: Sequence[str]) -> bool:
    """Whether cells are 0, 1, 2, ...: pandas writes these above columns without names, after an empty cell."""
    cells = cells[1:] if cells[0] == "" else cells
    return len(cells) > 2 and list(cells) == [str(i) for i in range(len(cells))]
