"""JSON in pieces: while Python's own decoder or encoder is at one, no other thread of the server runs."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import numpy as np

__all__ = ["array_of_lists", "read_json", "write_json"]

PIECE = 2**15  # characters that are read at once, in a millisecond
VALUES = 2**12  # numbers that are converted or written at once
DEEPEST = 9  # lists and objects inside one another
NUMBERS = re.compile(r'[^\[\]{}"]*+')
SCALARS = re.compile(r'(?:(?:[^\[\]{}",]++|"[^"\\]*+")*+,)*+')  # each with the comma behind it
BLANK = re.compile(r"[ \t\n\r]*")
DECODER = json.JSONDecoder()


def read_json(body: bytes) -> Any:
    """What `json.loads` returns.

    Raises:
        ValueError: it is no JSON, or lists lie too deep inside one another.

    >>> read_json(b'{"data": [[1, 2], [3, 4.5]]}')
    {'data': [[1, 2], [3, 4.5]]}
    """
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    value, end = _value(text, _after(BLANK, text, 0), DEEPEST)
    if _after(BLANK, text, end) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def _after(pattern: re.Pattern[str], text: str, at: int, most: int = sys.maxsize) -> int:
    """Where a run of what a pattern takes ends."""
    match = pattern.match(text, at, min(len(text), at + most))
    return match.end() if match else at


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """The value at a place, and where it ends."""
    mark = text[at : at + 1]
    if mark == "[" and not text.startswith("]", _after(NUMBERS, text, at + 1, PIECE)):
        return _list(text, at, depth)
    return _object(text, at, depth) if mark == "{" else DECODER.raw_decode(text, at)


def _list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    _check(depth)
    values: list[Any] = []
    mark = ","
    while mark == ",":
        at = _after(BLANK, text, at + 1)
        if not values and text.startswith("]", at):
            break
        last = _after(SCALARS, text, at, PIECE) - 1
        if last > at:
            values += DECODER.decode(f"[{text[at:last]}]")
            at = last
        else:
            value, end = _value(text, at, depth - 1)
            values.append(value)
            at = _after(BLANK, text, end)
        mark = text[at : at + 1]
    return values, _closed(text, at, "]")


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    _check(depth)
    values: dict[str, Any] = {}
    mark = ","
    while mark == ",":
        at = _after(BLANK, text, at + 1)
        if not values and text.startswith("}", at):
            break
        if not text.startswith('"', at):
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        name, at = DECODER.raw_decode(text, at)
        at = _closed(text, _after(BLANK, text, at), ":")
        values[name], at = _value(text, _after(BLANK, text, at), depth - 1)
        at = _after(BLANK, text, at)
        mark = text[at : at + 1]
    return values, _closed(text, at, "}")


def _check(depth: int) -> None:
    if depth == 0:
        raise ValueError(f"more than {DEEPEST - 1} lists inside one another")


def _closed(text: str, at: int, mark: str) -> int:
    """Behind a mark that has to be there."""
    if not text.startswith(mark, at):
        raise json.JSONDecodeError(f"Expecting {mark!r}", text, at)
    return at + 1


def array_of_lists(values: list[Any]) -> np.ndarray:
    """What `np.asarray` returns of numbers in lists.

    Raises:
        ValueError: lists differ in their lengths, or hold something else.

    >>> array_of_lists([[1, 2], [3, 4.5]])
    array([[1. , 2. ],
           [3. , 4.5]])
    """
    parts = [array_of_lists(one) if isinstance(one, list) else one for one in values]
    pieces = [np.asarray(parts[start : start + VALUES]) for start in range(0, max(1, len(parts)), VALUES)]
    if any(piece.dtype.kind not in "fiub" for piece in pieces):
        raise ValueError("it holds more than numbers")
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def write_json(array: np.ndarray) -> str:
    """An array as JSON; null stands for NaN and infinity, which JSON has not.

    >>> write_json(np.array([[1.5, np.nan]]))
    '[[1.5,null]]'
    """
    if array.size <= VALUES:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            finite = np.isfinite(array)
            array = array.astype(object)
            array[~finite] = None
        return json.dumps(array.tolist(), separators=(",", ":"), allow_nan=False)
    step = VALUES * len(array) // array.size
    if step < 2:
        return f"[{','.join(map(write_json, array))}]"
    return f"[{','.join(write_json(array[start : start + step])[1:-1] for start in range(0, len(array), step))}]"
