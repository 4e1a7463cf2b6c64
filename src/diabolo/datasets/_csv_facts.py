"""What the cells of a text table tell: the decimal mark, what each column holds, and what turns its cells into that."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from diabolo.datasets._csv_cells import MISSING, NUMBERS, Cell, boolean_of, cell_of, date_of, number_of
from diabolo.datasets._table_files import not_numeric
from diabolo.errors import DataError, short

__all__ = ["Facts", "converter_of", "decimal_of", "kind_of_column", "maybe_thousands", "refuse_others", "sign_of"]

Facts = dict[Cell, tuple[int, int, str]]  # of a column: each kind of cell -> the first row, its line, its text


def kind_of_column(column: Facts) -> str:
    """What a column holds: number, boolean, date or text."""
    kinds = {"number" if cell.kind in NUMBERS else cell.kind for cell in column} - {"missing"}
    return kinds.pop() if len(kinds) == 1 else "text" if kinds - {"number", "boolean"} else "number"


def refuse_others(path: str, names: Sequence[str], facts: Sequence[Facts]) -> None:
    """Raises a DataError for the first cell that is no number in any form."""
    others = [
        (*first, name, cell.kind)
        for name, column in zip(names, facts, strict=True)
        for cell, first in column.items()
        if cell.kind in ("missing", "date", "text")
    ]
    if others:
        row, line, text, name, kind = min(others, key=operator.itemgetter(0))
        if kind == "missing":
            raise DataError(
                f"The column {name!r} of {path} misses a value in line {line} ({short(text)}). "
                "Every value must be a number: fill it in, leave that row or column out, or have mixed=True (--mixed) "
                "fill it."
            )
        raise not_numeric(path, name, row, text, kind)


def decimal_of(path: str, columns: Sequence[tuple[str, Facts]], chosen: str | None) -> tuple[str, tuple[str, ...]]:
    """The decimal mark of a table, and what to say about it.

    One cell that can be read in one way only, such as 1,5 or 1,234.5, decides for all.

    Raises:
        DataError: cells of both kinds, or only such as 1,234, which may be a thousand.
    """
    first = {
        (cell.kind, mark): f"{short(text)} (line {line}, column {name!r})"
        for name, column in reversed(columns)
        for cell, (_, line, text) in column.items()
        for mark in (cell.marks, "any")
    }
    point, comma = first.get(("point", "any")), first.get(("comma", "any"))
    dots_part = ("comma", ".") in first or ("comma", ".,") in first
    wrong = {",": point, ".": comma}.get(chosen or "")
    if wrong or (point and comma and not chosen):
        other = f"decimal={chosen!r} was given" if chosen else f"the decimal mark of {point} is a point"
        raise DataError(
            f"The decimal mark of {wrong or comma} in {path} is a {'point' if chosen == ',' else 'comma'}, and {other}"
            ". Write all numbers with one mark, or leave one of the columns out with columns=."
        )
    unsure = None if point or (comma and dots_part) else first.get(("either", "." if comma else ","))
    if unsure and not chosen:
        raise DataError(
            f"What {unsure} in {path} means is not clear: its mark may part thousands, or be the decimal one. Say "
            "which: decimal=',' or decimal='.' (--decimal)."
        )
    mark = chosen or ("," if comma else ".")
    if chosen or not (comma or any(kind in ("point", "either") and "," in marks for kind, marks in first)):
        return mark, ()
    parts = comma or next(text for (kind, marks), text in first.items() if "," in marks)
    means = "is a decimal mark" if mark == "," else "parts thousands"
    return mark, (f"the comma {means}, as in {parts} (decimal= names the decimal mark)",)


def maybe_thousands(head: Sequence[list[str]]) -> tuple[str, ...]:
    """A note where all numbers with a point look like 1.234, and none has a comma."""
    first: dict[str, str] = {}
    for cell in itertools.chain.from_iterable(head):
        if "." in cell or "," in cell:
            first.setdefault(cell_of(cell).kind, cell)
            if {"point", "comma"} & first.keys():
                return ()
    if "either" not in first:
        return ()
    return (f"the point is a decimal mark, as in {short(first['either'])} (decimal=',': it parts thousands)",)


def sign_of(column: Facts) -> str:
    return next((cell.sign for cell in column if cell.kind in NUMBERS), "")


def converter_of(path: str, name: str, column: Facts, kind: str, mark: str, mixed: bool) -> Callable[[str], Any]:
    """What turns the cells of a column into what they hold; of mixed kinds, what is missing becomes None.

    Raises:
        DataError: some of its cells have a sign such as %, or are true or false, and others not.
    """
    sorts = {"true and false" if cell.kind == "boolean" else cell.sign: first[2] for cell, first in column.items()
             if cell.kind != "missing"}  # fmt: skip
    if kind in ("number", "boolean") and len(sorts) > 1:
        one, other = itertools.islice(map(short, sorts.values()), 2)
        raise DataError(
            f"The column {name!r} of {path} holds {one} and {other}: numbers of two kinds. Write all in one way, or "
            "leave the column out with columns=."
        )
    convert: Callable[[str], Any] = functools.partial(number_of, decimal=mark, sign=sign_of(column))
    if kind == "boolean":
        convert = (lambda text: bool(boolean_of(text))) if mixed else boolean_of
    elif kind == "date":
        convert = functools.partial(date_of, f"The column {name!r} of {path}")
    elif kind == "text":
        convert = str.strip
    if not mixed:
        return convert
    missing = math.nan if kind == "number" else None
    return lambda text: missing if text.strip().lower() in MISSING else convert(text)
