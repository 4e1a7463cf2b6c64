"""Bytes from outside: whatever a reader of them raises becomes one error that names them and says what is wrong.

Files are truncated, edited, of another kind or made to harm. Readers (json, NumPy, zipfile, safetensors, pyarrow) then
raise what they like: ValueError, KeyError, RecursionError, struct.error, UnicodeDecodeError. Each of them is called
inside `reading`, and what a JSON text holds is compared with a form before anything works with it.
"""

from __future__ import annotations

import contextlib
import json
import math
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from diabolo.errors import LARGEST, DataError, DiaboloError, MissingExtraError, RunError, short

__all__ = ["MOST_DEFLATED", "as_array", "check_form", "parse_json", "read_into", "reading", "reason", "require_file"]

MOST_DEFLATED = 1032  # bytes that a byte of gzip or zip can stand for

DEEPEST = 40  # lists and objects inside one another, in JSON
EDITED = "It was truncated or edited; restore it."


@contextlib.contextmanager
def reading(
    what: object, error: type[DiaboloError] = RunError, *, form: str = "", remedy: str = EDITED
) -> Iterator[None]:
    """A context in which bytes from outside are read: what fails inside raises one error that names them.

    MemoryError and errors of diabolo pass as they are; but to a run's file, only other RunErrors do: whatever else is
    said of its contents, a run is broken.

    Args:
        what: a path, or another name of the bytes.
        error: the error that is raised.
        form: what they should be, such as JSON.
        remedy: a sentence on what to do.

    >>> with reading("x.json", form="JSON"):
    ...     json.loads("[")
    Traceback (most recent call last):
    diabolo.errors.RunError: x.json cannot be read as JSON: Expecting value: ... It was truncated or edited; restore it.
    """
    passing = RunError if error is RunError else DiaboloError
    try:
        yield
    except (passing, MissingExtraError, MemoryError):
        raise
    except Exception as failure:
        as_form = f" as {form}" if form else ""
        raise error(f"{what} cannot be read{as_form}: {reason(failure)}. {remedy}") from failure


def as_array(what: str, value: Any, dtype: Any = None) -> np.ndarray[Any, Any]:
    """What a user hands over as an array of any shape, and of any type if none is named.

    Raises:
        DataError: no array can be made of it: its rows differ in length, or its numbers are too large.

    >>> as_array("labels", [[1], [2, 3]])
    Traceback (most recent call last):
    diabolo.errors.DataError: labels cannot be read as an array: row 0 has the shape (1,), and row 1 (2,). ...
    """
    with reading(what, DataError, form="an array", remedy="Every row should have the same shape; pad, cut or resize."):
        try:
            return np.asarray(value, dtype)
        except ValueError as error:
            raise ValueError(_differing(value) or str(error)) from error


def _differing(value: Any) -> str:
    """The words for the first row whose shape is another one than that of row 0; empty where none is told."""
    shapes = []
    for row, item in enumerate(value):
        try:
            shapes.append(tuple(map(int, np.shape(item))))
        except ValueError:
            return f"row {row} holds rows of several lengths"
        if shapes[row] != shapes[0]:
            return f"row 0 has the shape {shapes[0]}, and row {row} {shapes[row]}"
    return ""


def reason(failure: Exception) -> str:
    """The words for what a reader raised, in one line of at most 300 characters, without a full stop.

    >>> reason(KeyError("x")), reason(RecursionError("maximum recursion depth exceeded"))
    ("it has no 'x'", 'it is nested too deeply')
    """
    text = " ".join(str(failure).split()).rstrip(".")
    if isinstance(failure, OSError):
        text = failure.strerror or text
    elif isinstance(failure, KeyError):
        text = f"it has no {text}"
    elif isinstance(failure, RecursionError):
        text = "it is nested too deeply"
    elif isinstance(failure, UnicodeDecodeError):
        text = f"byte {failure.start} is not UTF-8 text"
    elif isinstance(failure, struct.error):
        text = "it ends too early"
    elif "integer string conversion" in text:
        text = "it holds a whole number of thousands of digits"
    elif isinstance(failure, (TypeError, AttributeError, IndexError)):
        text = f"an entry is missing, or is of another type ({text})"
    text = text or type(failure).__name__
    return text if len(text) <= 300 else text[:300] + "..."


def parse_json(data: bytes | str) -> Any:
    """The value of a JSON text; call it inside `reading`.

    Raises:
        ValueError: not JSON, not UTF-8, nested too deeply, a number or text that no other JSON could hold.

    >>> parse_json('{"epochs": 3}')
    {'epochs': 3}
    >>> parse_json("[1e999]")
    Traceback (most recent call last):
    ValueError: it holds a number that is not finite
    """
    try:
        value = json.loads(data if isinstance(data, str) else data.decode("utf-8"), parse_constant=float)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        if isinstance(item, dict):
            waiting += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            waiting += [(part, depth + 1) for part in item]
        elif isinstance(item, str):
            item.encode()  # a lone surrogate could not be written again
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError("it holds a number that is not finite")
        elif isinstance(item, int) and abs(item) > LARGEST:
            raise ValueError("it holds a whole number that is too large")
    return value


def require_file(path: Path, most: float = math.inf) -> None:
    """Checks that a path is a file, since a device or a pipe may go on without an end; call it inside `reading`.

    Args:
        path: the file.
        most: the bytes that it may have.

    Raises:
        ValueError: it is a folder, a device or a pipe, or is larger.
        OSError: it is not there.

    >>> require_file(Path("/dev/null"))
    Traceback (most recent call last):
    ValueError: it is no regular file
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file")
    if status.st_size > most:
        raise ValueError(f"it has {status.st_size:,} bytes, and at most {most:,.0f} are read")


def read_into(stream: IO[bytes], values: np.ndarray[Any, Any]) -> int:
    """Fills an array of bytes from a stream, and returns how many there were.

    >>> import io
    >>> read_into(io.BytesIO(b"123"), np.empty(5, np.uint8))
    3
    """
    view, filled = values.data, 0
    while filled < len(view) and (count := stream.readinto(view[filled:])):  # type: ignore[attr-defined]
        filled += count
    return filled


def check_form(value: Any, form: Any, where: str) -> list[str]:
    """Compares a JSON value with a form; returns a sentence on each entry whose absence should be said.

    A form is a type, or a tuple of forms; None for null; a list of one form; an object of any names, {str: form}; or an
    object of these names, {"epochs": int, "test?": form, "notes~": form}: of those with a question mark none need be
    there, and of those with a tilde neither, but that is said. Other names are left alone. A whole number counts as a
    float; true and false are no numbers.

    Args:
        value: of the text.
        form: what it should be.
        where: the words for the value, such as the file's name.

    Raises:
        ValueError: they differ; it says where.

    >>> check_form({"epochs": 3}, {"epochs": int, "test?": float, "seed~": int}, "settings")
    ["settings has no 'seed'"]
    >>> check_form({"epochs": "3"}, {"epochs": int}, "settings")
    Traceback (most recent call last):
    ValueError: settings.epochs should be a whole number, and is '3'
    """
    forms = form if isinstance(form, tuple) else (form,)
    fitting = [one for one in forms if _is_of(value, one)]
    if not fitting:
        raise ValueError(f"{where} should be {_words(forms)}, and is {short(value)}")
    if isinstance(fitting[0], list):
        return [word for at, item in enumerate(value) for word in check_form(item, fitting[0][0], f"{where}[{at}]")]
    return _check_entries(value, fitting[0], where) if isinstance(fitting[0], dict) else []


def _check_entries(value: dict[str, Any], form: dict[Any, Any], where: str) -> list[str]:
    absent: list[str] = []
    for name, part in form.items():
        plain = name.rstrip("?~") if name is not str else None
        for key in value if plain is None else {plain} & value.keys():
            absent += check_form(value[key], part, f"{where}.{key}")
        if plain is not None and plain not in value and not name.endswith("?"):
            if not name.endswith("~"):
                raise ValueError(f"{where} has no {plain!r}")
            absent.append(f"{where} has no {plain!r}")
    return absent


_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def _is_of(value: Any, form: Any) -> bool:
    if form is None:
        return value is None
    if form is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if form is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, form if isinstance(form, type) else type(form))


def _words(forms: tuple[Any, ...]) -> str:
    kinds = ["null" if one is None else _WORDS[one if isinstance(one, type) else type(one)] for one in forms]
    return " or ".join(dict.fromkeys(kinds))
