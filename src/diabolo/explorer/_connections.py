"""Connections of the server: so many at a time, each of which has to send a whole request in time.

Only this file imports uvicorn: `pip install 'diabolo[explorer]'`.
"""

from __future__ import annotations

import asyncio

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["MOST_CONNECTIONS", "SECONDS", "Connection", "uvicorn"]

MOST_CONNECTIONS = 512
SECONDS = 10.0  # for the head of a request, and between two requests


class Connection(H11Protocol):
    """HTTP/1.1 by h11, but a connection is closed when too many are open, or when no request comes in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keeps a connection, where there is room for it."""
        super().connection_made(transport)
        self._answered: object = self.cycle
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self.loop.call_later(SECONDS, self._look)

    def _look(self) -> None:
        """Closes the connection where no request has begun since the last look; a WebSocket is no longer its own."""
        if self not in self.connections or self.transport.is_closing():
            return
        is_busy = self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]
        if not is_busy and self.cycle is self._answered:
            self.transport.close()
            return
        self._answered = None if is_busy else self.cycle
        self.loop.call_later(SECONDS, self._look)
