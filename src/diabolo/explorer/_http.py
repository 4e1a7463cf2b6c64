"""Requests and answers: arrays travel as .npy or as JSON, errors as one sentence, and every computation in a thread.

FastAPI is imported in this file alone: `pip install 'diabolo[explorer]'`.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from diabolo.errors import DataError, DiaboloError, MissingExtraError
from diabolo.runs.tables import to_npy
from diabolo.storage.npy import load_numpy

try:
    from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
    from fastapi.concurrency import run_in_threadpool
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse
    from starlette.exceptions import HTTPException as AnyHTTPException
    from starlette.requests import ClientDisconnect
except ImportError as error:
    raise MissingExtraError(error.name or "fastapi", "explorer", "The server") from error

__all__ = [
    "MOST_EXAMPLES",
    "NPY",
    "APIRouter",
    "Desk",
    "FastAPI",
    "HTMLResponse",
    "HTTPException",
    "JSONResponse",
    "Query",
    "Request",
    "Response",
    "add_errors",
    "array_of",
    "in_binary",
]

MOST_EXAMPLES = 10_000  # in one request
NPY = "application/x-npy"
DEEPEST = 8  # lists inside one another, in JSON


class Desk:
    """Where computations are handed in: one at a time, since torch shares its threads among them anyway."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    async def array(self, request: Request, work: Callable[[np.ndarray], np.ndarray]) -> Response:
        """Answers with what `work` makes of the array in the request's body."""
        body, told, accept = await request.body(), request.headers.get("content-type", ""), _accepted(request)

        def done() -> Response:
            x = array_of(body, told)
            with self.lock:
                made = work(x)
            return _written(made, accept)

        return await run_in_threadpool(done)

    async def made(self, request: Request, work: Callable[[], np.ndarray]) -> Response:
        """Answers with the array that `work` makes of nothing."""
        accept = _accepted(request)

        def done() -> Response:
            with self.lock:
                made = work()
            return _written(made, accept)

        return await run_in_threadpool(done)


def add_errors(app: FastAPI) -> None:
    """Every error as JSON with one sentence, and none as a traceback."""

    @app.exception_handler(DiaboloError)
    def mistake(_: Request, error: DiaboloError) -> JSONResponse:
        return JSONResponse({"error": str(error), "kind": type(error).__name__}, 400)

    @app.exception_handler(AnyHTTPException)
    def refused(_: Request, error: AnyHTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    def parameter(_: Request, error: RequestValidationError) -> JSONResponse:
        parts = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()[:5]]
        return JSONResponse({"error": "; ".join(parts), "kind": "ParameterError"}, 422)

    @app.exception_handler(ClientDisconnect)
    def gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        """Nobody reads this, unless it was the guard that cut off a body that is too large."""
        return JSONResponse({"error": "The body did not end, or is too large: send fewer examples at a time."}, 413)

    @app.exception_handler(MemoryError)
    def memory(_: Request, __: MemoryError) -> JSONResponse:
        return JSONResponse({"error": "There is not enough memory for so many examples: send fewer."}, 413)


def array_of(body: bytes, content_type: str) -> np.ndarray:
    """The array in a request's body.

    Raises:
        DataError: there is none, or one that cannot be used.
    """
    kind = content_type.partition(";")[0].strip().lower()
    found = _from_npy(body) if kind == NPY or body[:6] == b"\x93NUMPY" else _from_json(body)
    if found.dtype.kind not in "fiub" or found.ndim == 0:
        raise DataError(f"The body should hold an array of numbers, and holds {found.dtype} of shape {found.shape}.")
    if not 1 <= len(found) <= MOST_EXAMPLES:
        raise DataError(f"A request takes 1 to {MOST_EXAMPLES:,} examples, and was given {len(found):,}.")
    return found


def in_binary(made: np.ndarray) -> Response:
    """An array as .npy."""
    return Response(to_npy(made), media_type=NPY)


def _accepted(request: Request) -> str:
    return request.headers.get("accept", "")


def _from_npy(body: bytes) -> np.ndarray:
    try:
        return np.asarray(load_numpy(io.BytesIO(body)))
    except (ValueError, OSError, EOFError, TypeError, SyntaxError, MemoryError, OverflowError) as error:
        raise DataError(f"The body is no .npy array of numbers: {error}.") from error


def _from_json(body: bytes) -> np.ndarray:
    try:
        value = json.loads(body)
        data = value["data"] if isinstance(value, dict) else value
        if _depth(data) > DEEPEST:
            raise ValueError(f"more than {DEEPEST} lists inside one another")
        return np.asarray(data)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        reason = "there is no entry data" if isinstance(error, KeyError) else str(error)[:200]
        raise DataError(
            f'The body should be JSON such as {{"data": [[0.1, 0.2], ...]}}, or a .npy file sent as {NPY}: {reason}.'
        ) from error


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value and depth <= DEEPEST:
        depth, value = depth + 1, value[0]
    return depth


def _written(made: np.ndarray, accept: str) -> Response:
    if NPY in accept:
        return in_binary(made)
    if not np.isfinite(made).all():  # JSON has no word for these
        words = made.astype(object)
        words[~np.isfinite(made)] = None
        made = words
    return JSONResponse({"shape": list(made.shape), "data": made.tolist()})
