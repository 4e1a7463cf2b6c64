"""Two lanes of computation: small requests do not wait for large ones, and large ones wait for each other."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import DataError
from diabolo.explorer._guard import SMALL
from diabolo.explorer._http import MOST_EXAMPLES, Request, Response, Table, array_of, in_form

__all__ = ["FEW_VALUES", "Desk", "Lane"]

FEW_VALUES = 2**18  # of the examples that a small request computes: 334 pictures of 28 x 28, a tenth of a second


class Lane:
    """Computes in a thread, one call after another, in the order in which they came.

    Those that wait take no threads: a queue of large requests leaves the event loop's threads to everybody else.

    Args:
        lock: held while it computes.
    """

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self.lock = lock
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[], Any]) -> Any:
        """The result of `work()`."""

        def locked() -> Any:
            with self.lock:
                return work()

        async with self._turn:
            return await asyncio.to_thread(locked)


class Desk:
    """Where requests are computed.

    Diabolo's own parts keep nothing between calls, so that both lanes use a model at once. Parts of the user's own may
    keep something: their models compute one request at a time, in either lane.

    Args:
        models: the trained models.

    Attributes:
        lock: held by the slow lane, and by whoever else computes for long.
        computes_alone: whether a model has parts of the user's own.
        quick: the lane of requests that take a tenth of a second at most.
        slow: the lane of all others.
    """

    def __init__(self, *models: Autoencoder) -> None:
        self.lock = threading.Lock()
        self.computes_alone = any(model.model.of_users for model in models)
        self.quick = Lane(self.lock if self.computes_alone else contextlib.nullcontext())
        self.slow = Lane(self.lock)

    def lane(self, values: int) -> Lane:
        """The lane for examples of so many values in all."""
        return self.quick if values <= FEW_VALUES else self.slow

    async def array(
        self,
        request: Request,
        work: Callable[[np.ndarray], Any],
        values: int,
        most: int = MOST_EXAMPLES,
        read: Callable[[Table], np.ndarray] | None = None,
    ) -> Response:
        """Answers with `work(x)`, x the array in the request's body, of at most so many examples.

        Args:
            request: whose body it is.
            work: from the array to an array, or to columns by name.
            values: that are computed for one example.
            most: examples of a request.
            read: makes the array of a table by the names of its columns, where the body may be one.
        """
        body, kind, accept = await request.body(), request.headers.get("content-type", ""), _accepted(request)

        def opened() -> np.ndarray:
            x = array_of(body, kind, read)
            if len(x) > most:
                raise DataError(f"A request takes 1 to {most:,} examples of this model, and was given {len(x):,}.")
            return x

        is_small = len(body) <= SMALL
        x = await (self.quick if is_small else self.slow).run(opened)
        lane = self.lane(len(x) * values) if is_small else self.slow
        response: Response = await lane.run(lambda: in_form(work(x), accept))
        return response

    async def new_array(self, request: Request, work: Callable[[], Any], values: int) -> Response:
        """Answers with `work()`, which computes so many values."""
        accept = _accepted(request)
        response: Response = await self.lane(values).run(lambda: in_form(work(), accept))
        return response


def _accepted(request: Request) -> str:
    return request.headers.get("accept", "")
