"""Cells of text tables: what a cell is, and numbers as the world writes them: 1.5, 1,5, 1 234, 12 %, $3."""

from __future__ import annotations

import contextlib
import datetime
import functools
import re
from typing import NamedTuple

import numpy as np

from diabolo.datasets._dataset import Array
from diabolo.errors import DataError, short

__all__ = [
    "BOOLEANS",
    "MISSING",
    "NUMBERS",
    "Cell",
    "boolean_of",
    "cell_of",
    "date_of",
    "is_float",
    "is_number",
    "label_values",
    "number_of",
]

MISSING = {"", "na", "n/a", "#n/a", "#na", "<na>", "null", "none", "?", "-", "--", ".", "\\n"}
BOOLEANS = {"true": 1.0, "false": 0.0}
NUMBERS = ("plain", "point", "comma", "either")
_CACHED = 64  # characters of a cell that is remembered
_MONEY, _BLANKS = "$€£¥₹", " \u00a0\u202f'\u2019"
_WHOLE, _DECIMAL = re.compile(r"-?(0|[1-9]\d*)"), re.compile(r"-?(0|[1-9]\d*)?(\.\d*)?([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}[-/.]\d\d?[-/.]\d\d?([T ].*)?|\d\d?[-/.]\d\d?[-/.](\d\d){1,2}( .*)?|\d\d?:\d\d(:\d\d.*)?")


def _form(decimal: str, group: str) -> re.Pattern[str]:
    """A number with this decimal mark, whose thousands may be parted by `group`, blanks or apostrophes."""
    grouped = (
        rf"[1-9]\d{{0,2}}(?P<g>{group}|[{_BLANKS}])\d{{3}}(?:(?P=g)\d{{3}})*|[1-9]\d?(?:{group}\d\d)+{group}\d{{3}}"
    )
    body = rf"(?:{grouped}|\d+)(?:{decimal}\d*)?|{decimal}\d+"
    return re.compile(
        rf"(?P<minus>[+-]?)(?P<before>[{_MONEY}]?)\s?(?P<body>(?:{body})(?:[eE][+-]?\d+)?)\s?(?P<behind>[%‰°{_MONEY}]?)"
    )


_FORMS = {".": _form(r"\.", ","), ",": _form(",", r"\.")}


class Cell(NamedTuple):
    """What a cell is.

    Attributes:
        kind: plain (a number without marks), point or comma (a number that has only this decimal mark), either (1,234
            or 1.234: a thousand, or one and a fraction), boolean, missing, date or text.
        marks: the points and commas of a number, each once, in their order.
        sign: of per cent, degrees or money, which stands before or behind a number.
    """

    kind: str
    marks: str = ""
    sign: str = ""


def cell_of(text: str) -> Cell:
    """What a cell is.

    >>> [cell_of(text).kind for text in ("3", "1.5", "1,5", "1,234", "1.234,5", "True", "n/a", "2020-01-31", "x")]
    ['plain', 'point', 'comma', 'either', 'comma', 'boolean', 'missing', 'date', 'text']
    >>> cell_of("12 %")
    Cell(kind='plain', marks='', sign='%')
    """
    return _cell_of(text) if len(text) <= _CACHED else _cell_of.__wrapped__(text)


@functools.lru_cache(maxsize=1 << 14)
def _cell_of(text: str) -> Cell:
    text = text.strip()
    word = text.lower()
    if word in MISSING or word in BOOLEANS:
        return Cell("missing" if word in MISSING else "boolean")
    point, comma = (form.fullmatch(text.replace("\u2212", "-")) for form in _FORMS.values())
    number = point or comma
    if number is None:
        return Cell("plain" if is_float(text) else "date" if _DATE.fullmatch(text) else "text")
    marks = "".join(mark for mark in dict.fromkeys(text) if mark in ".,")
    kind = "plain" if not marks else "either" if point and comma else "point" if point else "comma"
    return Cell(kind, marks, number["before"] + number["behind"])


def number_of(text: str, decimal: str, sign: str = "") -> float:
    """The number in a cell that is written with this decimal mark and this sign of per cent, degrees or money.

    Raises:
        ValueError: it holds no such number.

    >>> number_of("1.234,5 %", ",", "%"), number_of("-$1,234", ".", "$"), number_of("1 234", ".")
    (1234.5, -1234.0, 1234.0)
    """
    text = text.strip()
    if not sign and (decimal == "." or "." not in text):
        try:
            return float(text if decimal == "." else text.replace(",", "."))
        except ValueError:
            pass
    number = _FORMS[decimal].fullmatch(text.replace("\u2212", "-"))
    if number is None or number["before"] + number["behind"] != sign:
        raise ValueError(f"{text!r} is no number of this form")
    digits = re.sub(rf"[{_BLANKS}{',' if decimal == '.' else '.'}]", "", number["body"])
    return float(number["minus"] + digits.replace(",", "."))


def boolean_of(text: str) -> float:
    """1 for true and 0 for false, in any case.

    Raises:
        ValueError: it is neither.

    >>> boolean_of(" TRUE"), boolean_of("false")
    (1.0, 0.0)
    """
    value = BOOLEANS.get(text.strip().lower())
    if value is None:
        raise ValueError(f"{text!r} is neither true nor false")
    return value


def date_of(column: str, text: str) -> datetime.datetime:
    """The date in a cell that begins with the year.

    Args:
        column: the words for its column.
        text: of the cell.

    Raises:
        DataError: another form, in which day and month cannot be told.

    >>> date_of("The column 'a'", "2020-01-31 12:00")
    datetime.datetime(2020, 1, 31, 12, 0)
    """
    day, mark, time = (
        re.sub(r"^(\d{4})[/.](\d\d?)[/.](\d\d?)", r"\1-\2-\3", text.strip()).replace("T", " ").partition(" ")
    )
    try:
        year, month, date = day.split("-")
        return datetime.datetime.fromisoformat(f"{year:0>4}-{month:0>2}-{date:0>2}{mark}{time}".strip())
    except ValueError:
        raise DataError(
            f"{column} holds {short(text)}: which date that is cannot be told for sure. Write dates as 2020-01-31, or "
            "2020-01-31 12:30, or leave the column out with columns=."
        ) from None


def is_number(text: str) -> bool:
    """Whether a cell may stand in a column of numbers, however it is written.

    >>> is_number("1,5"), is_number("false"), is_number("width"), is_number("")
    (True, True, False, False)
    """
    return cell_of(text).kind in (*NUMBERS, "boolean")


def label_values(labels: Array, decimal: str | None = None) -> Array:
    """Labels as numbers, where each is one that prints as it was written: 01234 and 1_000 are names.

    Where one can only be a number with a decimal comma, all are, unless `decimal` is a point.

    >>> label_values(np.array(["1,5", "2"])).tolist(), label_values(np.array(["01", "2"])).tolist()
    ([1.5, 2.0], ['01', '2'])
    """
    texts = np.char.strip(labels)
    plain = [text for text in texts.tolist() if text.lower() != "nan"]
    kinds = {cell_of(text).kind for text in plain}
    if (
        decimal != "."
        and "comma" in kinds
        and kinds <= {"comma", "plain", "either"}
        and not any("." in text for text in plain)
    ):
        texts = np.char.replace(texts, ",", ".")
        plain = texts.tolist()
    for dtype, form in ((np.int64, _WHOLE), (np.float64, _DECIMAL)):
        if plain and all(form.fullmatch(text) for text in plain):
            with contextlib.suppress(ValueError, OverflowError):
                return texts.astype(dtype)
            break  # whole numbers of more digits than 64 bits hold are names
    return texts


def is_float(text: str) -> bool:
    """Whether Python reads a text as a number.

    >>> is_float("1e5"), is_float("1,5")
    (True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True
