"""Requests and answers: arrays as .npy or as JSON, errors as one sentence.

Only this file imports FastAPI: `pip install 'diabolo[explorer]'`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from diabolo.errors import DataError, DiaboloError, MissingExtraError
from diabolo.explorer._json import array_of_lists, read_json, write_json
from diabolo.runs.tables import to_npy
from diabolo.storage.foreign import reading
from diabolo.storage.npy import load_numpy

try:
    from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse
    from pydantic import StrictInt
    from starlette.exceptions import HTTPException as AnyHTTPException
    from starlette.requests import ClientDisconnect
except ImportError as error:
    raise MissingExtraError(error.name or "fastapi", "explorer", "The server") from error

__all__ = [
    "MOST_EXAMPLES",
    "MOST_VALUES",
    "NPY",
    "APIRouter",
    "FastAPI",
    "HTMLResponse",
    "HTTPException",
    "JSONResponse",
    "Query",
    "Request",
    "Response",
    "StrictInt",
    "Table",
    "add_errors",
    "array_of",
    "in_binary",
    "in_form",
]

MOST_EXAMPLES = 10_000  # in one request
MOST_VALUES = 2**23  # of the examples of one request; a single one may have more
MOST_IN_JSON = 2**21
MOST_LISTS = 500_000  # in a body of JSON: each takes 20 times what its brackets take, and Python looks at all of them
NPY = "application/x-npy"


def _in_ascii(content: dict[str, str], status: int, headers: Any = None) -> Response:
    """JSON of ASCII: it holds also what a request said that UTF-8 cannot, lone surrogates."""
    return Response(json.dumps(content), status, headers, "application/json")


def add_errors(app: FastAPI) -> None:
    """Answers every error with one sentence as JSON, and never with a traceback."""

    @app.exception_handler(DiaboloError)
    def mistake(_: Request, error: DiaboloError) -> Response:
        return _in_ascii({"error": str(error), "kind": type(error).__name__}, 400)

    @app.exception_handler(AnyHTTPException)
    def refused(_: Request, error: AnyHTTPException) -> Response:
        return _in_ascii({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    def parameter(_: Request, error: RequestValidationError) -> Response:
        parts = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()[:5]]
        return _in_ascii({"error": "; ".join(parts), "kind": "ParameterError"}, 422)

    @app.exception_handler(ClientDisconnect)
    def gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        """The client is gone, or the guard has cut off a body that is too large."""
        return JSONResponse({"error": "The body did not end, or is too large: send fewer examples at a time."}, 413)

    @app.exception_handler(MemoryError)
    def memory(_: Request, __: MemoryError) -> JSONResponse:
        return JSONResponse({"error": "There is not enough memory for so many examples: send fewer."}, 413)


class Table(dict[str, list[Any]]):
    """Columns by name in a request's body.

    Args:
        columns: name -> values, as JSON has them.

    Raises:
        ValueError: they are no lists of one length, of numbers, texts, true, false and null.
    """

    def __init__(self, columns: Any) -> None:
        if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
            raise ValueError('columns are no lists by name, such as {"columns": {"age": [30], "colour": ["red"]}}')
        lengths = {len(values) for values in columns.values()}
        if len(lengths) != 1 or not 1 <= min(lengths) <= MOST_EXAMPLES:
            raise ValueError(f"columns should have one length, of 1 to {MOST_EXAMPLES:,} examples")
        if any(isinstance(value, (list, dict)) for values in columns.values() for value in values):
            raise ValueError("columns hold lists or objects")
        super().__init__(columns)


def array_of(body: bytes, content_type: str, read: Callable[[Table], np.ndarray] | None = None) -> np.ndarray:
    """The array in a request's body.

    Args:
        body: of the request.
        content_type: as its header says.
        read: makes the array of a table by the names of its columns, where the body may be one.

    Raises:
        DataError: there is no array, or one of another kind.
    """
    kind = content_type.partition(";")[0].strip().lower()
    array = _from_npy(body) if kind == NPY or body[:6] == b"\x93NUMPY" else _from_json(body)
    if isinstance(array, Table):
        if read is None:
            raise DataError('The body should hold an array, {"data": ...}, and holds columns of a table.')
        array = read(array)
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise DataError(f"The body should hold an array of numbers, and holds {array.dtype} of shape {array.shape}.")
    if not 1 <= len(array) <= MOST_EXAMPLES:
        raise DataError(f"A request takes 1 to {MOST_EXAMPLES:,} examples, and was given {len(array):,}.")
    return array


def in_binary(array: np.ndarray) -> Response:
    """An array as .npy."""
    return Response(to_npy(array), media_type=NPY)


def _from_npy(body: bytes) -> np.ndarray:
    with reading("The body", DataError, form=".npy", remedy="Send an array of numbers as numpy.save writes it."):
        if body[:2] == b"PK":
            raise ValueError("it is an archive, .npz")
        array = load_numpy(io.BytesIO(body))
    return cast(np.ndarray, array)


def _from_json(body: bytes) -> np.ndarray | Table:
    form = 'JSON such as {"data": [[0.1, 0.2], ...]}'
    with reading("The body", DataError, form=form, remedy=f"It may also be a .npy file, sent as {NPY}."):
        if body.count(b"[") + body.count(b"{") > MOST_LISTS:
            raise ValueError(f"it holds more than {MOST_LISTS:,} lists")
        value = read_json(body)
        if isinstance(value, dict) and "columns" in value and "data" not in value:
            return Table(value["columns"])
        data = value["data"] if isinstance(value, dict) else value
        if not isinstance(data, list):
            raise ValueError("data is no array of numbers")
        if not 1 <= len(data) <= MOST_EXAMPLES:
            raise ValueError(f"a request takes a list of 1 to {MOST_EXAMPLES:,} examples")
        return array_of_lists(data)


def in_form(array: Any, accept: str) -> Response:
    """An array, or columns by name, in the form that a request accepts: .npy or JSON.

    Raises:
        DataError: it is too large for JSON.
    """
    if isinstance(array, dict):
        columns = {name: values.astype(str) if values.dtype.kind == "M" else values for name, values in array.items()}
        texts = [f"{json.dumps(name)}:{write_json(values)}" for name, values in columns.items()]
        return Response(f'{{"columns":{{{",".join(texts)}}}}}', media_type="application/json")
    if NPY in accept:
        return in_binary(array)
    if array.size > MOST_IN_JSON:
        raise DataError(
            f"The answer has {array.size:,} numbers, and as JSON at most {MOST_IN_JSON:,}: ask for fewer examples, or "
            f"for .npy (Accept: {NPY})."
        )
    text = f'{{"shape":{json.dumps(array.shape)},"data":{write_json(array)}}}'
    return Response(text, media_type="application/json")
