"""Tables of mixed kinds: columns with missing values, categories, booleans and dates as numbers, and back.

A `ColumnCode` says how one column of a source becomes columns of numbers. Codes are fitted to the data of a training,
are kept with the run as JSON, and read every later table in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diabolo.datasets._column_code import ColumnCode
from diabolo.datasets._csv_cells import date_of
from diabolo.datasets._dataset import Array
from diabolo.datasets._match import leaves_out, listed
from diabolo.datasets._scalars import day_of, float_of, kind_of
from diabolo.errors import DataError, short
from diabolo.storage.files import text_of

__all__ = ["coded", "decoded"]

MOST = 100  # categories of a column
_LONGEST = 40  # characters of a category in a message
MISSING = "missing"  # the category of missing values
_MOST_DAYS = 3_000_000  # to the year 9999, and back as far
_EPOCH = np.datetime64("1970-01-01T00:00:00", "s")


def coded(
    source: str, names: Sequence[str], columns: Sequence[Any], codes: Sequence[ColumnCode] | None = None
) -> tuple[Array, tuple[ColumnCode, ...], tuple[str, ...]]:
    """Columns of any kind as numbers, (n, d) float64; their codes; and what to say about them.

    Args:
        source: what to call the table in messages.
        names: of the columns.
        columns: of one length.
        codes: those of a trained model, one for each column; fitted to these columns when left out.

    Raises:
        DataError: a column holds no value, too many categories, or what its code does not take.

    >>> x, codes, notes = coded("t", ["age", "colour"], [[30.0, None, 40.0], ["red", "blue", "red"]])
    >>> x.tolist()
    [[30.0, 0.0, 1.0], [35.0, 1.0, 0.0], [40.0, 0.0, 1.0]]
    """
    parts, found, filled, unknown = [], [], [], []
    for place, (name, column) in enumerate(zip(names, columns, strict=True)):
        values = _Values(source, name, column)
        code = values.code() if codes is None else codes[place]
        part, missing, strange = values.numbers(code)
        if missing and not (code.kind == "category" and MISSING in code.names):
            filled.append((name, f"{name!r} ({missing:,} with {_filling(code)})"))
        if strange:
            unknown.append(f"{name!r} ({_few(sorted(strange))})")
        parts.append(part)
        found.append(code)
    notes: tuple[str, ...] = ()
    if filled:
        words = ", ".join(text for _, text in filled[:12])
        overruled = f" ({leaves_out(filled[0][0])})" if codes is None else ""  # a trained model needs them all
        notes = (f"missing values filled: {words}{overruled}",)
    if unknown:
        notes += (f"categories that the training did not have are none of its: {', '.join(unknown[:12])}",)
    if codes is None:
        categories = [code for code in found if code.kind == "category"]
        dates = [code.name for code in found if code.kind == "date"]
        if categories:
            words = "; ".join(f"{code.name!r} ({_few(code.names)})" for code in categories[:12])
            notes += (f"categories are columns of 0 and 1: {words} ({leaves_out(categories[0].name)})",)
        if dates:
            notes += (f"dates are days since 1970-01-01: {listed(dates)} ({leaves_out(dates[0])})",)
    return np.concatenate(parts, axis=1), tuple(found), notes


def decoded(codes: Sequence[ColumnCode], x: Array) -> dict[str, Array]:
    """Examples, (n, d), as columns by the names of the source: a category by its name, a date as datetime64.

    >>> decoded((ColumnCode("age", "number"), ColumnCode("c", "category", names=("a", "b"))), np.array([[3, 0.2, 0.9]]))
    {'age': array([3.]), 'c': array(['b'], dtype='<U1')}
    """
    columns, start = {}, 0
    for code in codes:
        part = x[:, start : start + len(code.features)]
        start += len(code.features)
        if code.kind == "category":
            columns[code.name] = np.array(code.names)[part.argmax(1)]
        elif code.kind == "boolean":
            columns[code.name] = part[:, 0] >= 0.5
        elif code.kind == "date":
            days = np.clip(part[:, 0].astype(np.float64), -_MOST_DAYS, _MOST_DAYS)
            seconds = np.rint(days * 86400).astype(np.int64)
            columns[code.name] = _EPOCH + seconds.astype("timedelta64[s]")
        else:
            columns[code.name] = part[:, 0]
    return columns


class _Values:
    """The values of a column, whatever library they come from."""

    def __init__(self, source: str, name: str, column: Any) -> None:
        self.source, self.name = source, name
        categories = getattr(getattr(column, "dtype", None), "categories", ())
        self.categories = [str(one) for one in categories] if hasattr(categories, "__iter__") else []
        self.array = np.asarray(column)
        self.is_numeric = self.array.ndim == 1 and self.array.dtype.kind in "iuf" and not self.categories
        self.objects: list[Any] = [] if self.is_numeric else list(self.array)
        self.kinds: list[str] = [kind_of(value) for value in self.objects]

    def code(self) -> ColumnCode:
        """The code that fits the values."""
        if self.is_numeric:
            return self._numeric("number")
        kinds = {*self.kinds} - {"missing"}
        if not kinds:
            raise DataError(f"The column {self.name!r} of {self.source} holds no value. Leave it out with columns=.")
        if "duration" in kinds:
            raise self._refused("duration", "Turn durations into numbers first, such as seconds.")
        if kinds == {"number"} and not self.categories:
            values = [value for value, kind in zip(self.objects, self.kinds, strict=True) if kind == "number"]
            are_booleans = all(isinstance(value, (bool, np.bool_)) for value in values)
            return self._numeric("boolean" if are_booleans else "number")
        return self._numeric("date") if kinds == {"date"} else self._category()

    def _numeric(self, kind: str) -> ColumnCode:
        values = self.numbers(ColumnCode(self.name, kind, np.nan))[0]
        known = values[~np.isnan(values)]
        if not known.size:
            raise DataError(f"The column {self.name!r} of {self.source} holds no value. Leave it out with columns=.")
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is refused by name later
            median = float(np.median(known))
        return ColumnCode(text_of(self.name), kind, float(median >= 0.5) if kind == "boolean" else median)

    def _category(self) -> ColumnCode:
        pairs = enumerate(zip(self.objects, self.kinds, strict=True))
        strange = next(
            (row for row, (one, kind) in pairs if kind == "other" and not isinstance(one, (str, bytes))), None
        )
        if strange is not None and not self.categories:
            raise self._refused("other", "It is no number, text, date or true and false.", strange)
        texts = {_text(value) for value, kind in zip(self.objects, self.kinds, strict=True) if kind != "missing"}
        names = [one for one in self.categories if one in texts] or sorted(texts)
        if len(names) > MOST or (len(names) == len(self.objects) > 20):
            raise DataError(
                f"The column {self.name!r} of {self.source} holds {len(names):,} different texts in "
                f"{len(self.objects):,} rows ({_few(names[:3])}, ...): at most {MOST} are categories, and fewer than "
                "there are rows. Leave it out with columns=, or group them."
            )
        if "missing" in self.kinds and MISSING not in names:
            names.append(MISSING)
        return ColumnCode(text_of(self.name), "category", 0.0, tuple(names))

    def numbers(self, code: ColumnCode) -> tuple[Array, int, set[str]]:
        """The columns of numbers, (n, k); how many values were missing; the categories that the code does not have."""
        if code.kind == "category":
            return self._one_hot(code)
        if self.is_numeric:
            values = self.array.astype(np.float64)
            if code.kind == "date" and not np.isnan(values).all():
                raise self._refused("number", "The training had a date in it.", int(np.isnan(values).argmin()))
        else:
            values = np.array([self._number(row, code) for row in range(len(self.objects))], np.float64)
        missing = np.isnan(values)
        values[missing] = code.fill
        return values[:, None], int(missing.sum()), set()

    def _number(self, row: int, code: ColumnCode) -> float:
        value, kind = self.objects[row], self.kinds[row]
        if kind == "missing":
            return float("nan")
        if code.kind == "date" and isinstance(value, str):
            return day_of(date_of(f"The column {self.name!r} of {self.source}", value))
        if (kind == "date") != (code.kind == "date") or kind not in ("date", "number"):
            raise self._refused(kind, f"The training had a {code.kind} in it.", row)
        return day_of(value) if kind == "date" else float_of(value)

    def _one_hot(self, code: ColumnCode) -> tuple[Array, int, set[str]]:
        places = {name: place for place, name in enumerate(code.names)}
        objects = self.objects or list(self.array)
        kinds = self.kinds or [kind_of(value) for value in objects]
        texts = [MISSING if kind == "missing" else _text(value) for value, kind in zip(objects, kinds, strict=True)]
        at = np.array([places.get(text, -1) for text in texts], np.int64)
        x = np.zeros((len(at), len(places)))
        x[np.flatnonzero(at >= 0), at[at >= 0]] = 1
        strange = {text for text, kind in zip(texts, kinds, strict=True) if text not in places and kind != "missing"}
        return x, kinds.count("missing"), strange

    def _refused(self, kind: str, what: str, row: int | None = None) -> DataError:
        row = self.kinds.index(kind) if row is None else row
        value = self.array[row]
        value = value.item() if isinstance(value, (np.str_, np.number)) else value
        return DataError(
            f"The column {self.name!r} of {self.source} holds {short(value)} in row {row}. {what} Write it "
            "so, or leave the column out with columns=."
        )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else text_of(str(value))


def _few(names: Sequence[str]) -> str:
    """The first dozen names, none of them long."""
    return listed([name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..." for name in names[:13]])


def _filling(code: ColumnCode) -> str:
    if code.kind == "category":
        return "no category"
    if code.kind == "boolean":
        return "true" if code.fill else "false"
    if code.kind == "date" and abs(code.fill) < _MOST_DAYS:
        return f"{np.datetime64(int(code.fill), 'D')}, the median"
    return f"{code.fill:g}, the median"
